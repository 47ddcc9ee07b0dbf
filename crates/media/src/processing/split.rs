//! The band below 8 kHz taken out of 48 kHz sound, and put back when something was done to it.
//!
//! What is put back is the difference that was made: sound of which nothing was changed comes out as it went in, to the
//! bit, only later. What lies above 8 kHz is scaled by one number.

use super::{LOW, LowFrame};
use crate::{FRAME, Frame};
use std::f32::consts::PI;

/// Taps of the low-pass filter: 2.4 kHz from pass to stop at 60 dB (Kaiser's formula), around 8 kHz.
const TAPS: usize = 73;
/// The same filled up to whole vectors.
const PADDED: usize = 80;
const PHASES: usize = 3;
const PHASE_TAPS: usize = 32;
/// Samples at 48 kHz by which the filters delay, down and up together.
pub const DELAY: usize = TAPS - 1;

/// The low-pass filter (windowed sinc, Kaiser's beta for 60 dB): J. F. Kaiser, "Nonrecursive digital filter design using
/// the I0-sinh window function", 1974.
fn low_pass() -> [f32; TAPS] {
    const BETA: f32 = 5.65;
    let middle = (TAPS - 1) as f32 / 2.0;
    let mut taps: [f32; TAPS] = std::array::from_fn(|n| {
        let x = n as f32 - middle;
        let sinc = if x == 0.0 { 1.0 / 3.0 } else { (PI * x / 3.0).sin() / (PI * x) };
        sinc * bessel(BETA * (1.0 - (x / (middle + 1.0)).powi(2)).sqrt())
    });
    let sum: f32 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    taps
}

/// The modified Bessel function of order zero, by its power series.
fn bessel(x: f32) -> f32 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..20 {
        term *= (x / (2.0 * k as f32)).powi(2);
        sum += term;
    }
    sum
}

/// Products in eight sums, so that they are made side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// 48 kHz to 16 kHz.
pub struct Down {
    taps: [f32; PADDED],
    /// The end of what came before, then what comes.
    past: [f32; PADDED + FRAME],
}

impl Default for Down {
    fn default() -> Self {
        let mut taps = [0.0; PADDED];
        taps[PADDED - TAPS..].copy_from_slice(&low_pass());
        Self { taps, past: [0.0; PADDED + FRAME] }
    }
}

impl Down {
    pub fn process(&mut self, frame: &Frame, low: &mut LowFrame) {
        self.past.copy_within(FRAME.., 0);
        self.past[PADDED..].copy_from_slice(frame);
        for (k, low) in low.iter_mut().enumerate() {
            let end = PADDED + PHASES * k + 1;
            *low = dot(&self.past[end - PADDED..end], &self.taps);
        }
    }
}

/// 16 kHz to 48 kHz.
pub struct Up {
    phases: [[f32; PHASE_TAPS]; PHASES],
    past: [f32; PHASE_TAPS + LOW],
}

impl Default for Up {
    fn default() -> Self {
        let taps = low_pass();
        // The newest sample is the last of a window, so the taps stand in reverse.
        let phases = std::array::from_fn(|phase| {
            let mut reversed = [0.0; PHASE_TAPS];
            for (back, tap) in taps.iter().skip(phase).step_by(PHASES).enumerate() {
                reversed[PHASE_TAPS - 1 - back] = PHASES as f32 * tap;
            }
            reversed
        });
        Self { phases, past: [0.0; PHASE_TAPS + LOW] }
    }
}

impl Up {
    /// Adds the low band to the frame.
    fn add(&mut self, low: &LowFrame, frame: &mut Frame) {
        self.past.copy_within(LOW.., 0);
        self.past[PHASE_TAPS..].copy_from_slice(low);
        for k in 0..LOW {
            let window = &self.past[k + 1..k + 1 + PHASE_TAPS];
            for (phase, taps) in self.phases.iter().enumerate() {
                frame[PHASES * k + phase] += dot(window, taps);
            }
        }
    }
}

/// One way through: the low band out, something done to it that takes `LATER` samples (at 16 kHz), and back.
pub struct Split<const LATER: usize> {
    down: Down,
    up: Up,
    /// Whole sound, until the low band is done.
    waiting: Box<[f32]>,
    /// The low band as it was.
    before: Box<[f32]>,
    gain: f32,
}

impl<const LATER: usize> Default for Split<LATER> {
    fn default() -> Self {
        Self {
            down: Down::default(),
            up: Up::default(),
            waiting: vec![0.0; DELAY + PHASES * LATER + FRAME].into(),
            before: vec![0.0; LATER + LOW].into(),
            gain: 1.0,
        }
    }
}

impl<const LATER: usize> Split<LATER> {
    /// `change` is given the low band, changes it in place, delayed by `LATER` samples, and says by which factor the upper
    /// band is to be scaled.
    pub fn process(&mut self, frame: &mut Frame, change: impl FnOnce(&mut LowFrame) -> f32) {
        let mut low = [0.0; LOW];
        self.down.process(frame, &mut low);
        self.waiting.copy_within(FRAME.., 0);
        let end = self.waiting.len() - FRAME;
        self.waiting[end..].copy_from_slice(frame);
        self.before.copy_within(LOW.., 0);
        self.before[LATER..].copy_from_slice(&low);
        let to = change(&mut low);
        let step = (to - self.gain) / FRAME as f32;
        for (k, (low, before)) in low.iter_mut().zip(&*self.before).enumerate() {
            *low -= before * (self.gain + step * (PHASES * k) as f32);
        }
        for (k, (sample, waiting)) in frame.iter_mut().zip(&*self.waiting).enumerate() {
            *sample = waiting * (self.gain + step * k as f32);
        }
        self.gain = to;
        self.up.add(&low, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of a sine through `Split`, and the samples of it that went in.
    fn passed(hertz: f32, change: impl Fn(&mut LowFrame) -> f32) -> (Vec<f32>, Vec<f32>) {
        let mut split = Split::<0>::default();
        let sound: Vec<f32> = (0..50 * FRAME).map(|n| (2.0 * PI * hertz * n as f32 / 48_000.0).sin()).collect();
        let mut out = Vec::new();
        for frame in sound.as_chunks::<FRAME>().0 {
            let mut frame = *frame;
            split.process(&mut frame, &change);
            out.extend(frame);
        }
        (sound, out)
    }

    fn power(sound: &[f32]) -> f32 {
        sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32
    }

    #[test]
    fn what_nobody_changes_comes_out_as_it_went_in() {
        for hertz in [100.0, 7_900.0, 15_000.0] {
            let (sound, out) = passed(hertz, |_| 1.0);
            assert_eq!(out[DELAY..], sound[..sound.len() - DELAY]);
        }
    }

    #[test]
    fn a_low_band_that_is_taken_away_is_gone_and_the_upper_one_stays() {
        for (hertz, kept) in [(300.0, 0.0), (5_000.0, 0.0), (11_000.0, 0.5)] {
            let (_, out) = passed(hertz, |low| {
                low.fill(0.0);
                1.0
            });
            assert!((power(&out[4_800..]) - kept).abs() < 1e-3, "{hertz}: {}", power(&out[4_800..]));
        }
    }

    #[test]
    fn the_upper_band_is_scaled_alone() {
        for (hertz, kept) in [(300.0, 0.5), (5_000.0, 0.5), (11_000.0, 0.0)] {
            let (_, out) = passed(hertz, |_| 0.0);
            assert!((power(&out[4_800..]) - kept).abs() < 1e-3, "{hertz}: {}", power(&out[4_800..]));
        }
    }
}
