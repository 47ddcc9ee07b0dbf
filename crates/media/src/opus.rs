//! A thin, safe wrapping of libopus: one encoder for speech at 48 kHz mono, one decoder with concealment and FEC.
//!
//! Nothing is decided here: what is encoded how, and what is done about a missing packet, is the pipeline's affair.
//! DRED and the deep concealment of libopus stay out until their weights are compiled in; the decoder already asks for
//! the complexity at which libopus uses them.

use opusic_sys as ffi;
use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

/// Samples of the longest packet that Opus allows: 120 ms (RFC 6716, section 3.2.5).
pub const MAX_PACKET_SAMPLES: usize = 5760;
/// Bytes that suffice for any packet that the encoder is asked to make.
pub const MAX_PACKET_BYTES: usize = 1275;

const BITRATE: c_int = 32_000;
/// At 9 the encoder takes more of a core than all processing together, for a gain that speech at this bitrate hardly shows.
const ENCODER_COMPLEXITY: c_int = 5;
/// From 5 up libopus conceals with its neural model, where that is compiled in.
const DECODER_COMPLEXITY: c_int = 5;
/// The encoder hardly spends bits on in-band FEC below this expectation.
const EXPECTED_LOSS_PERCENT: c_int = 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("opus: {0}")]
pub struct OpusError(String);

pub struct Encoder(NonNull<ffi::OpusEncoder>);

// SAFETY: libopus keeps no state outside the encoder; it may be used from any one thread at a time.
unsafe impl Send for Encoder {}

impl Encoder {
    pub fn new() -> Result<Self, OpusError> {
        let mut code = 0;
        // SAFETY: plain values and a pointer to a local.
        let raw = unsafe { ffi::opus_encoder_create(crate::RATE as i32, 1, ffi::OPUS_APPLICATION_VOIP, &mut code) };
        check(code)?;
        let encoder = Self(NonNull::new(raw).ok_or_else(|| OpusError("no memory".into()))?);
        encoder.control(ffi::OPUS_SET_BITRATE_REQUEST, BITRATE)?;
        encoder.control(ffi::OPUS_SET_COMPLEXITY_REQUEST, ENCODER_COMPLEXITY)?;
        encoder.control(ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE)?;
        encoder.control(ffi::OPUS_SET_INBAND_FEC_REQUEST, 1)?;
        encoder.control(ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST, EXPECTED_LOSS_PERCENT)?;
        Ok(encoder)
    }

    /// With DTX, silence costs one small packet each 400 ms.
    pub fn set_dtx(&mut self, on: bool) -> Result<(), OpusError> {
        self.control(ffi::OPUS_SET_DTX_REQUEST, c_int::from(on))
    }

    /// Encodes 2.5 to 60 ms. A result of one or two bytes need not be sent (RFC 7587, section 3.1.3).
    pub fn encode(&mut self, sound: &[f32], packet: &mut [u8]) -> Result<usize, OpusError> {
        // SAFETY: the lengths given are those of the slices.
        let written = unsafe {
            ffi::opus_encode_float(
                self.0.as_ptr(),
                sound.as_ptr(),
                sound.len() as c_int,
                packet.as_mut_ptr(),
                packet.len() as i32,
            )
        };
        check(written)
    }

    fn control(&self, request: c_int, value: c_int) -> Result<(), OpusError> {
        // SAFETY: every request used above takes one int by value.
        check(unsafe { ffi::opus_encoder_ctl(self.0.as_ptr(), request, value) }).map(drop)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by opus_encoder_create and dropped once.
        unsafe { ffi::opus_encoder_destroy(self.0.as_ptr()) }
    }
}

pub struct Decoder(NonNull<ffi::OpusDecoder>);

// SAFETY: as for the encoder.
unsafe impl Send for Decoder {}

impl Decoder {
    pub fn new() -> Result<Self, OpusError> {
        let mut code = 0;
        // SAFETY: plain values and a pointer to a local.
        let raw = unsafe { ffi::opus_decoder_create(crate::RATE as i32, 1, &mut code) };
        check(code)?;
        let decoder = Self(NonNull::new(raw).ok_or_else(|| OpusError("no memory".into()))?);
        // SAFETY: this request takes one int by value.
        check(unsafe {
            ffi::opus_decoder_ctl(decoder.0.as_ptr(), ffi::OPUS_SET_COMPLEXITY_REQUEST, DECODER_COMPLEXITY)
        })?;
        Ok(decoder)
    }

    /// Decodes a packet into the front of `sound`; the samples written.
    pub fn decode(&mut self, packet: &[u8], sound: &mut [f32]) -> Result<usize, OpusError> {
        self.run(packet, sound, false)
    }

    /// Decodes what `packet` carries about the frame before it. `sound` has the length of that frame.
    pub fn decode_fec(&mut self, packet: &[u8], sound: &mut [f32]) -> Result<usize, OpusError> {
        self.run(packet, sound, true)
    }

    /// Makes up sound for a frame that is missing; a multiple of 2.5 ms.
    pub fn conceal(&mut self, sound: &mut [f32]) -> Result<usize, OpusError> {
        self.run(&[], sound, false)
    }

    fn run(&mut self, packet: &[u8], sound: &mut [f32], fec: bool) -> Result<usize, OpusError> {
        let data = if packet.is_empty() { ptr::null() } else { packet.as_ptr() };
        // SAFETY: the lengths given are those of the slices; a null packet asks for concealment.
        let decoded = unsafe {
            ffi::opus_decode_float(
                self.0.as_ptr(),
                data,
                packet.len() as i32,
                sound.as_mut_ptr(),
                sound.len() as c_int,
                c_int::from(fec),
            )
        };
        check(decoded)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by opus_decoder_create and dropped once.
        unsafe { ffi::opus_decoder_destroy(self.0.as_ptr()) }
    }
}

/// How long a packet plays, in samples at 48 kHz; `None` when it is no Opus packet.
pub fn packet_samples(packet: &[u8]) -> Option<usize> {
    if packet.is_empty() {
        return None;
    }
    // SAFETY: the length given is that of the slice.
    let samples = unsafe { ffi::opus_packet_get_nb_samples(packet.as_ptr(), packet.len() as i32, crate::RATE as i32) };
    usize::try_from(samples).ok().filter(|samples| (1..=MAX_PACKET_SAMPLES).contains(samples))
}

/// Whether a packet carries a copy of the frame before it.
pub fn has_fec(packet: &[u8]) -> bool {
    // SAFETY: the length given is that of the slice.
    !packet.is_empty() && unsafe { ffi::opus_packet_has_lbrr(packet.as_ptr(), packet.len() as i32) } == 1
}

/// Whether a packet says no more than that silence goes on.
pub fn is_dtx(packet: &[u8]) -> bool {
    packet.len() <= 2
}

fn check(code: c_int) -> Result<usize, OpusError> {
    usize::try_from(code).map_err(|_| {
        // SAFETY: opus_strerror returns a static string for any code.
        let text = unsafe { CStr::from_ptr(ffi::opus_strerror(code)) };
        OpusError(text.to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_refused_and_not_decoded() {
        let mut decoder = Decoder::new().unwrap();
        let mut sound = vec![0.0; MAX_PACKET_SAMPLES];
        assert!(packet_samples(&[]).is_none());
        assert!(packet_samples(&[0xff, 0xff, 0xff]).is_none());
        assert!(decoder.decode(&[0xff, 0xff, 0xff], &mut sound).is_err());
    }

    #[test]
    fn silence_with_dtx_still_sends_a_packet_each_400_ms() {
        let mut encoder = Encoder::new().unwrap();
        encoder.set_dtx(true).unwrap();
        let (mut gap, mut widest) = (0, 0);
        for _ in 0..150 {
            let mut packet = [0; MAX_PACKET_BYTES];
            let length = encoder.encode(&[0.0; 960], &mut packet).unwrap();
            gap = if is_dtx(&packet[..length]) { gap + 20 } else { 0 };
            widest = widest.max(gap);
        }
        assert!((100..=400).contains(&widest), "widest gap {widest} ms");
    }
}
