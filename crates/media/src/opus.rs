//! A thin, safe wrapping of libopus: an encoder for speech in one channel and one for whatever sounds in two, one decoder with concealment and FEC.
//!
//! Nothing is decided here: what is encoded how, and what is done about a missing packet, is the pipeline's affair.

mod decoder;

pub use decoder::{Decoder, Deep, Piece, fec_samples};

use opusic_sys as ffi;
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

/// Samples of the longest packet that Opus allows: 120 ms (RFC 6716, section 3.2.5).
pub const MAX_PACKET_SAMPLES: usize = 5760;
/// Bytes that suffice for any packet that the encoder is asked to make.
pub const MAX_PACKET_BYTES: usize = 1275;

/// At 9 the encoder takes more of a core than all processing together, for a gain that speech at this bitrate hardly shows.
const SPEECH_COMPLEXITY: c_int = 5;
/// Music shows it.
const ORIGINAL_COMPLEXITY: c_int = 9;
/// Bits a second from which speech gets the full band, and below which it goes back to a wide one: at 24 kbit/s, on recorded
/// speech in packets of 40 ms, PESQ-WB is 4.15 with the full and 4.43 with the wide band, and what is above is least missed.
const FULL_BAND_FROM: u32 = 36_000;
const FULL_BAND_UNTIL: u32 = 32_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("opus: {0}")]
pub struct OpusError(String);

/// What is encoded how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bits a second.
    pub bitrate: u32,
    /// Percent of the packets, 0 to 100, that the encoder is to expect lost: it spends bits on the next two accordingly.
    pub expected_loss: u8,
    /// Each packet carries a copy of the one before (RFC 6716, section 2.1.7).
    pub fec: bool,
    /// Each packet describes so many milliseconds of the past; 0 to 1,000, in steps of 10. It is taken out of the bitrate.
    pub dred_ms: u16,
    /// All packets are equally large, so that no link has to hold what a loud syllable takes more; speech costs 0.01 to 0.07
    /// PESQ-WB and twice the time to encode.
    pub steady: bool,
}

/// What is encoded: it cannot be changed in an encoder that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// One channel.
    Speech,
    /// Two channels, whatever sounds.
    Original,
}

pub struct Encoder {
    raw: NonNull<ffi::OpusEncoder>,
    content: Content,
    settings: Option<Settings>,
    full_band: bool,
    dtx: bool,
}

// SAFETY: libopus keeps no state outside the encoder; it may be used from any one thread at a time.
unsafe impl Send for Encoder {}

impl Encoder {
    pub fn new(content: Content) -> Result<Self, OpusError> {
        let (channels, application, complexity, signal) = match content {
            Content::Speech => (1, ffi::OPUS_APPLICATION_VOIP, SPEECH_COMPLEXITY, ffi::OPUS_SIGNAL_VOICE),
            Content::Original => (2, ffi::OPUS_APPLICATION_AUDIO, ORIGINAL_COMPLEXITY, ffi::OPUS_SIGNAL_MUSIC),
        };
        let mut code = 0;
        // SAFETY: plain values and a pointer to a local.
        let raw = unsafe { ffi::opus_encoder_create(crate::RATE as i32, channels, application, &mut code) };
        check(code)?;
        let raw = NonNull::new(raw).ok_or_else(|| OpusError("no memory".into()))?;
        let encoder = Self { raw, content, settings: None, full_band: true, dtx: false };
        encoder.control(ffi::OPUS_SET_COMPLEXITY_REQUEST, complexity)?;
        encoder.control(ffi::OPUS_SET_SIGNAL_REQUEST, signal)?;
        Ok(encoder)
    }

    pub fn content(&self) -> Content {
        self.content
    }

    /// Holds from the next packet. What does not change costs nothing.
    pub fn set(&mut self, settings: Settings) -> Result<(), OpusError> {
        let old = self.settings.replace(settings);
        let Settings { bitrate, expected_loss, fec, dred_ms, steady } = settings;
        if old.map(|old| old.bitrate) != Some(bitrate) {
            self.control(ffi::OPUS_SET_BITRATE_REQUEST, bitrate as c_int)?;
        }
        if old.map(|old| old.expected_loss) != Some(expected_loss) {
            self.control(ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST, c_int::from(expected_loss.min(100)))?;
        }
        if old.map(|old| old.fec) != Some(fec) {
            self.control(ffi::OPUS_SET_INBAND_FEC_REQUEST, c_int::from(fec))?;
        }
        if old.map(|old| old.dred_ms) != Some(dred_ms) {
            // In units of 10 ms; libopus refuses more than 1,040 ms.
            self.control(ffi::OPUS_SET_DRED_DURATION_REQUEST, c_int::from(dred_ms.min(1000) / 10))?;
        }
        if old.map(|old| old.steady) != Some(steady) {
            self.control(ffi::OPUS_SET_VBR_REQUEST, c_int::from(!steady))?;
        }
        // About half of the rate goes into deep redundancy.
        let speech = if dred_ms > 0 { bitrate / 2 } else { bitrate };
        let until = if self.full_band { FULL_BAND_UNTIL } else { FULL_BAND_FROM };
        let full_band = self.content == Content::Original || speech >= until;
        if full_band != self.full_band {
            let band = if full_band { ffi::OPUS_BANDWIDTH_FULLBAND } else { ffi::OPUS_BANDWIDTH_WIDEBAND };
            self.control(ffi::OPUS_SET_MAX_BANDWIDTH_REQUEST, band)?;
            self.full_band = full_band;
        }
        Ok(())
    }

    /// With DTX, silence costs one small packet each 400 ms.
    pub fn set_dtx(&mut self, on: bool) -> Result<(), OpusError> {
        if self.dtx != on {
            self.control(ffi::OPUS_SET_DTX_REQUEST, c_int::from(on))?;
            self.dtx = on;
        }
        Ok(())
    }

    /// Encodes 2.5 to 60 ms; of original sound left and right take turns. A result of one or two bytes need not be sent
    /// (RFC 7587, section 3.1.3).
    pub fn encode(&mut self, sound: &[f32], packet: &mut [u8]) -> Result<usize, OpusError> {
        let samples = match self.content {
            Content::Speech => sound.len(),
            Content::Original => sound.len() / 2,
        };
        // SAFETY: the lengths given are those of the slices.
        let written = unsafe {
            ffi::opus_encode_float(
                self.raw.as_ptr(),
                sound.as_ptr(),
                samples as c_int,
                packet.as_mut_ptr(),
                packet.len() as i32,
            )
        };
        check(written)
    }

    fn control(&self, request: c_int, value: c_int) -> Result<(), OpusError> {
        // SAFETY: every request used above takes one int by value.
        check(unsafe { ffi::opus_encoder_ctl(self.raw.as_ptr(), request, value) }).map(drop)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by opus_encoder_create and dropped once.
        unsafe { ffi::opus_encoder_destroy(self.raw.as_ptr()) }
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

/// The packet without what it says of the past beyond its copy of the frame before: a copy of it that comes later needs none.
pub fn without_past(packet: &[u8]) -> Vec<u8> {
    let mut copy = packet.to_vec();
    // SAFETY: the length given is that of the buffer, in which libopus moves bytes towards the front.
    let length = unsafe { ffi::opus_packet_unpad(copy.as_mut_ptr(), copy.len() as i32) };
    if let Ok(length @ 1..) = usize::try_from(length) {
        copy.truncate(length);
    }
    copy
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
    fn silence_with_dtx_still_sends_a_packet_each_400_ms() {
        let mut encoder = Encoder::new(Content::Speech).unwrap();
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
