//! Conversion of sound from one fixed rate to another, one channel or several interleaved, at the edge of the engine.

use crate::devices::DeviceFault;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, WindowFunction};

/// Taps of the filter: enough that what folds back stays below -60 dB for speech.
const TAPS: usize = 64;

pub struct Resampler {
    /// `None` when the rates are equal.
    inner: Option<Async<f32>>,
    channels: usize,
    /// Frames that are converted at once.
    chunk: usize,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Resampler {
    pub fn new(from: u32, to: u32, channels: usize) -> Result<Self, DeviceFault> {
        let chunk = (from / 100).max(1) as usize;
        let inner = (from != to)
            .then(|| {
                let filter = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2);
                Async::new_sinc(f64::from(to) / f64::from(from), 1.0, &filter, chunk, channels, FixedAsync::Input)
            })
            .transpose()
            .map_err(|error| DeviceFault::Other(format!("cannot convert {from} Hz to {to} Hz: {error}")))?;
        let output = vec![0.0; channels * inner.as_ref().map_or(0, |inner| inner.output_frames_max())];
        Ok(Self { inner, channels, chunk, input: Vec::with_capacity(2 * chunk * channels), output })
    }

    /// Converts all of `samples` that makes up whole chunks of 10 ms and appends the result; the rest waits.
    pub fn convert(&mut self, samples: &[f32], result: &mut impl Extend<f32>) {
        let Some(inner) = &mut self.inner else {
            result.extend(samples.iter().copied());
            return;
        };
        self.input.extend_from_slice(samples);
        let channels = self.channels;
        while self.input.len() >= self.chunk * channels {
            let frames = self.output.len() / channels;
            let input = InterleavedSlice::new(&self.input[..], channels, self.chunk);
            let output = InterleavedSlice::new_mut(&mut self.output[..], channels, frames);
            let (Ok(input), Ok(mut output)) = (input, output) else { return };
            let written = inner.process_into_buffer(&input, &mut output, None).map_or(0, |(_, written)| written);
            result.extend(self.output[..written * channels].iter().copied());
            self.input.drain(..self.chunk * channels);
        }
    }

    pub fn reset(&mut self) {
        self.input.clear();
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    #[test]
    fn a_tone_keeps_its_pitch_and_loudness_at_any_rate() {
        for from in [8_000, 16_000, 44_100, 48_000, 96_000] {
            let tone: Vec<f32> = (0..from).map(|i| (TAU * 440.0 * i as f32 / from as f32).sin()).collect();
            let mut result = Vec::new();
            Resampler::new(from, 48_000, 1).unwrap().convert(&tone, &mut result);
            assert!(result.len().abs_diff(48_000) < 600, "{from}: {}", result.len());
            let middle = &result[4_800..43_200];
            let rms = (middle.iter().map(|s| s * s).sum::<f32>() / middle.len() as f32).sqrt();
            assert!((rms - 0.707).abs() < 0.01, "{from}: {rms}");
            let crossings = middle.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count();
            assert!(crossings.abs_diff(352) <= 1, "{from}: {crossings}");
        }
    }
}
