//! The decoder: packets into sound, and what can be done about those that are missing.
//!
//! Sound is one or two channels, by what the packets carry: it starts with one, and turns to two with the first packet of
//! two ([`Decoder::suit`]). Missing sound comes from the next packet ([`Decoder::decode_fec`]), from any later one
//! ([`Deep`], [`Decoder::decode_deep`]) or from nothing ([`Decoder::conceal`]); libopus joins all of these to one another
//! without a seam, as long as they are decoded in the order of time.

use super::{MAX_PACKET_SAMPLES, OpusError, check};
use opusic_sys as ffi;
use std::ffi::c_int;
use std::ptr::{self, NonNull};

/// From 5 up libopus conceals with its neural model,
const WITH_MODEL: c_int = 5;
/// and below with the means of the codec alone.
const WITHOUT_MODEL: c_int = 4;
/// Twice full scale: what is decoded overshoots it a little.
const LOUDEST: f32 = 2.0;
/// As far back as deep redundancy can reach: 1 s.
const DEEPEST: usize = 48_000;

/// What was decoded: what both channels have in common and, of two channels, what tells them apart (else empty).
#[derive(Clone, Debug, Default)]
pub struct Piece {
    pub mid: Vec<f32>,
    pub side: Vec<f32>,
}

impl Piece {
    pub fn silence(samples: usize) -> Self {
        Self { mid: vec![0.0; samples], side: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.mid.len()
    }

    /// The part from sample `at` on.
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.mid.len());
        let side = if self.side.is_empty() { Vec::new() } else { self.side.split_off(at) };
        Self { mid: self.mid.split_off(at), side }
    }

    pub fn scale(&mut self, gain: impl Fn(usize) -> f32) {
        for channel in [&mut self.mid, &mut self.side] {
            channel.iter_mut().enumerate().for_each(|(i, sample)| *sample *= gain(i));
        }
    }

    /// Root of mean square of what both channels have in common.
    pub fn level(&self) -> f32 {
        (self.mid.iter().map(|s| s * s).sum::<f32>() / self.mid.len().max(1) as f32).sqrt()
    }

    /// The loudest sample of either channel.
    pub fn peak(&self) -> f32 {
        self.mid.iter().chain(&self.side).fold(0.0, |most, sample| most.max(sample.abs()))
    }
}

pub struct Decoder {
    raw: NonNull<ffi::OpusDecoder>,
    channels: usize,
    deep: bool,
    buffer: Vec<f32>,
}

// SAFETY: libopus keeps no state outside the decoder; it may be used from any one thread at a time.
unsafe impl Send for Decoder {}

impl Decoder {
    pub fn new() -> Result<Self, OpusError> {
        Self::with(1)
    }

    fn with(channels: usize) -> Result<Self, OpusError> {
        let mut code = 0;
        // SAFETY: plain values and a pointer to a local.
        let raw = unsafe { ffi::opus_decoder_create(crate::RATE as i32, channels as c_int, &mut code) };
        check(code)?;
        let raw = NonNull::new(raw).ok_or_else(|| OpusError("no memory".into()))?;
        let decoder = Self { raw, channels, deep: true, buffer: vec![0.0; MAX_PACKET_SAMPLES * channels] };
        decoder.set_model(true)?;
        Ok(decoder)
    }

    /// Whether what is missing is made up by the neural model.
    pub fn set_deep(&mut self, deep: bool) -> Result<(), OpusError> {
        self.deep = deep;
        self.set_model(deep)
    }

    /// Makes ready for a packet of two channels; whether it begins anew for it.
    pub fn suit(&mut self, packet: &[u8]) -> Result<bool, OpusError> {
        let begins = is_stereo(packet) && self.channels == 1;
        if begins {
            let deep = self.deep;
            *self = Self::with(2)?;
            self.set_deep(deep)?;
        }
        Ok(begins)
    }

    pub fn decode(&mut self, packet: &[u8]) -> Result<Piece, OpusError> {
        self.run(packet, MAX_PACKET_SAMPLES, false)
    }

    /// What `packet` carries about the `samples` before it; those are as many as [`fec_samples`] says.
    pub fn decode_fec(&mut self, packet: &[u8], samples: usize) -> Result<Piece, OpusError> {
        self.run(packet, samples, true)
    }

    /// Makes up sound for what is missing; a multiple of 2.5 ms.
    pub fn conceal(&mut self, samples: usize) -> Result<Piece, OpusError> {
        self.run(&[], samples, false)
    }

    /// Decodes from deep redundancy the `samples` (a multiple of 2.5 ms) that begin `back` before the packet it came with.
    pub fn decode_deep(&mut self, deep: &Deep, back: usize, samples: usize) -> Result<Piece, OpusError> {
        let samples = samples.min(MAX_PACKET_SAMPLES);
        if !self.deep {
            self.set_model(true)?;
        }
        // SAFETY: the buffer holds as many samples of each channel.
        let decoded = unsafe {
            ffi::opus_decoder_dred_decode_float(
                self.raw.as_ptr(),
                deep.state.as_ptr(),
                back as i32,
                self.buffer.as_mut_ptr(),
                samples as i32,
            )
        };
        if !self.deep {
            self.set_model(false)?;
        }
        check(decoded).map(|samples| self.piece(samples))
    }

    fn run(&mut self, packet: &[u8], samples: usize, fec: bool) -> Result<Piece, OpusError> {
        let data = if packet.is_empty() { ptr::null() } else { packet.as_ptr() };
        // SAFETY: the packet's length is that of the slice, the buffer holds as many samples of each channel; a null packet
        // asks for concealment.
        let decoded = unsafe {
            ffi::opus_decode_float(
                self.raw.as_ptr(),
                data,
                packet.len() as i32,
                self.buffer.as_mut_ptr(),
                samples.min(MAX_PACKET_SAMPLES) as c_int,
                c_int::from(fec),
            )
        };
        check(decoded).map(|samples| self.piece(samples))
    }

    fn piece(&mut self, samples: usize) -> Piece {
        let sound = &mut self.buffer[..samples * self.channels];
        // What no encoder made can be louder than anything, or not a number.
        sound.iter_mut().for_each(|s| *s = if s.is_finite() { s.clamp(-LOUDEST, LOUDEST) } else { 0.0 });
        let sound = &*sound;
        if self.channels == 1 {
            return Piece { mid: sound.to_vec(), side: Vec::new() };
        }
        let pairs = sound.chunks_exact(2);
        Piece {
            mid: pairs.clone().map(|pair| (pair[0] + pair[1]) / 2.0).collect(),
            side: pairs.map(|pair| (pair[0] - pair[1]) / 2.0).collect(),
        }
    }

    fn set_model(&self, model: bool) -> Result<(), OpusError> {
        let complexity = if model { WITH_MODEL } else { WITHOUT_MODEL };
        // SAFETY: this request takes one int by value.
        check(unsafe { ffi::opus_decoder_ctl(self.raw.as_ptr(), ffi::OPUS_SET_COMPLEXITY_REQUEST, complexity) })
            .map(drop)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by opus_decoder_create and dropped once.
        unsafe { ffi::opus_decoder_destroy(self.raw.as_ptr()) }
    }
}

/// The deep redundancy (DRED) of one packet.
pub struct Deep {
    reader: NonNull<ffi::OpusDREDDecoder>,
    state: NonNull<ffi::OpusDRED>,
}

// SAFETY: as for the decoder.
unsafe impl Send for Deep {}

impl Deep {
    pub fn new() -> Result<Self, OpusError> {
        let mut code = 0;
        // SAFETY: a pointer to a local.
        let reader = NonNull::new(unsafe { ffi::opus_dred_decoder_create(&mut code) });
        let reader = reader.ok_or_else(|| OpusError("no memory".into()))?;
        // SAFETY: a pointer to a local.
        let Some(state) = NonNull::new(unsafe { ffi::opus_dred_alloc(&mut code) }) else {
            // SAFETY: made above and dropped once.
            unsafe { ffi::opus_dred_decoder_destroy(reader.as_ptr()) };
            return Err(OpusError("no memory".into()));
        };
        Ok(Self { reader, state })
    }

    /// How many samples before `packet` its redundancy begins and ends; `None` when it has none. That costs little; the
    /// sound can be had after [`Deep::read`] alone.
    pub fn reach(&mut self, packet: &[u8]) -> Option<(usize, usize)> {
        self.parse(packet, true)
    }

    /// Makes the redundancy of `packet` ready to be decoded.
    pub fn read(&mut self, packet: &[u8]) -> Option<(usize, usize)> {
        self.parse(packet, false)
    }

    fn parse(&mut self, packet: &[u8], defer: bool) -> Option<(usize, usize)> {
        if packet.is_empty() {
            return None;
        }
        let mut end = 0;
        // SAFETY: the length given is that of the slice; the other pointers live as long as this.
        let begin = unsafe {
            ffi::opus_dred_parse(
                self.reader.as_ptr(),
                self.state.as_ptr(),
                packet.as_ptr(),
                packet.len() as i32,
                DEEPEST as i32,
                crate::RATE as i32,
                &mut end,
                c_int::from(defer),
            )
        };
        let (begin, end) = (usize::try_from(begin).ok()?, usize::try_from(end).ok()?);
        (begin > end).then_some((begin, end))
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        // SAFETY: both were made in `new` and are dropped once.
        unsafe {
            ffi::opus_dred_free(self.state.as_ptr());
            ffi::opus_dred_decoder_destroy(self.reader.as_ptr());
        }
    }
}

/// How many samples before `packet` its in-band redundancy holds: its first frame's length, or none.
pub fn fec_samples(packet: &[u8]) -> usize {
    if packet.is_empty() {
        return 0;
    }
    // SAFETY: the length given is that of the slice.
    if unsafe { ffi::opus_packet_has_lbrr(packet.as_ptr(), packet.len() as i32) } != 1 {
        return 0;
    }
    // SAFETY: only the first byte is read.
    let samples = unsafe { ffi::opus_packet_get_samples_per_frame(packet.as_ptr(), crate::RATE as i32) };
    usize::try_from(samples).unwrap_or(0)
}

/// By the third-last bit of the first byte (RFC 6716, section 3.1).
fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x04 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opus::packet_samples;

    #[test]
    fn garbage_is_refused_and_not_decoded() {
        let mut decoder = Decoder::new().unwrap();
        assert!(packet_samples(&[]).is_none());
        assert!(packet_samples(&[0xff, 0xff, 0xff]).is_none());
        assert!(decoder.decode(&[0xff, 0xff, 0xff]).is_err());
        assert!(Deep::new().unwrap().reach(&[0xff, 0xff, 0xff]).is_none());
    }

    #[test]
    fn a_packet_of_two_channels_is_decoded_as_such() {
        let mut decoder = Decoder::new().unwrap();
        assert!(decoder.conceal(480).unwrap().side.is_empty());
        // 0xFC: CELT, full band, 20 ms, two channels.
        let packet = [0xFC, 0, 0, 0];
        assert!(decoder.suit(&packet).unwrap() && !decoder.suit(&packet).unwrap());
        let piece = decoder.decode(&packet).unwrap();
        assert_eq!((piece.mid.len(), piece.side.len()), (960, 960));
    }
}
