//! Whether what is captured holds what was played: is there an echo at all?
//!
//! A headset has none, and a canceller that looks for one takes away from the voice of whoever speaks at the same time.
//! So captured sound is correlated with played sound at all delays from 0 to 0.7 s, eight times a second while something
//! is played. The spectra are whitened first (the phase transform of C. Knapp and G. Carter, "The generalized correlation
//! method for estimation of time delay", 1976), so that a voice alike in pitch does not look like an echo, and averaged
//! over some blocks: an echo's peak stays where it is and grows out of the rest. A captured block rises from nothing and
//! falls to it (von Hann), since one that is cut off in the middle of a word has an edge where the played one has it too.

use super::LowFrame;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Echo {
    /// Too little was played yet.
    Unknown,
    Absent,
    /// With its delay in captured frames of 10 ms.
    Present {
        frames: f32,
    },
}

/// The rate of the comparison: 8 kHz; voices have little above 4 kHz, and loudspeakers do it less justice.
const HALF: usize = super::LOW / 2;
/// Captured samples of a block: 256 ms,
const BLOCK: usize = 2048;
/// and played ones, up to the longest delay before it.
const SPAN: usize = 8192;
/// Delays that can be told from a block.
const DELAYS: usize = SPAN - BLOCK;
/// Frames from a block to the next: 128 ms.
const HOP: u32 = 13;
/// Of a block's spectrum in the average: the last second or so counts.
const FORGET: f32 = 0.8;
/// From 200 Hz to 3.6 kHz.
const BAND: std::ops::Range<usize> = 200 * SPAN / 8_000..3_600 * SPAN / 8_000;

/// Played sound below this power (-55 dBFS) makes no echo that matters.
const PLAYED: f32 = 3.2e-6;
/// Nor does captured sound of less than a hundred-thousandth (-50 dB) of its power.
const COUPLING: f32 = 1e-5;

pub struct Evidence {
    state: Echo,
    played: Half,
    captured: Half,
    frames: u32,
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    time: Vec<f32>,
    heard: Vec<Complex<f32>>,
    reference: Vec<Complex<f32>>,
    average: Vec<Complex<f32>>,
    /// Where the peak was.
    peak: usize,
    /// Blocks in a row that say the same: an echo at the same place, or none.
    same: u32,
    none: u32,
}

/// A peak so many times the rest (its root mean square) is an echo at once: two voices that begin together come to 21;
const SURE: f32 = 24.0;
/// one of so many is if it stays at the same place for 0.6 s. One block that is alike by chance is forgotten sooner.
const LIKELY: f32 = 10.0;
const AGAIN: u32 = 5;
/// Samples that a peak may move from block to block.
const SAME_PLACE: usize = 4;
/// Blocks without an echo until there is none: at the start,
const NONE_YET: u32 = 4;
/// and after there was one, 10 s of it.
const NONE_ANY_MORE: u32 = 78;

impl Default for Evidence {
    fn default() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, backward) = (planner.plan_fft_forward(SPAN), planner.plan_fft_inverse(SPAN));
        let spectrum = vec![Complex::default(); SPAN / 2 + 1];
        Self {
            state: Echo::Unknown,
            played: Half::new(SPAN),
            captured: Half::new(BLOCK),
            frames: 0,
            forward,
            backward,
            window: (0..BLOCK)
                .map(|n| (std::f32::consts::PI * (n as f32 + 0.5) / BLOCK as f32).sin().powi(2))
                .collect(),
            time: vec![0.0; SPAN],
            heard: spectrum.clone(),
            reference: spectrum.clone(),
            average: spectrum,
            peak: 0,
            same: 0,
            none: 0,
        }
    }
}

impl Evidence {
    /// A pair of frames; samples are of 16-bit size.
    pub fn hear(&mut self, played: &LowFrame, captured: &LowFrame) -> Echo {
        self.played.push(played);
        self.captured.push(captured);
        self.frames += 1;
        if self.frames >= HOP {
            self.frames = 0;
            if let Some((frames, times)) = self.compare() {
                self.judge(frames, times);
            }
        }
        self.state
    }

    /// The delay and height of the highest peak, while something is played.
    fn compare(&mut self) -> Option<(usize, f32)> {
        const SCALE: f32 = 1.0 / (32_768.0 * 32_768.0);
        let played = self.played.power() * SCALE;
        if played < PLAYED {
            return None;
        }
        let quiet = self.captured.power() * SCALE < COUPLING * played;
        self.played.copy(&mut self.time);
        self.forward.process(&mut self.time, &mut self.reference).ok()?;
        // Captured last, so that a delay is a shift to the right.
        self.time[..DELAYS].fill(0.0);
        self.captured.copy(&mut self.time[DELAYS..]);
        self.time[DELAYS..].iter_mut().zip(&self.window).for_each(|(sample, window)| *sample *= window);
        self.forward.process(&mut self.time, &mut self.heard).ok()?;
        for k in BAND {
            let cross = self.reference[k].conj() * self.heard[k];
            let whole = cross.norm();
            let whitened = if whole > 0.0 && !quiet { cross / whole } else { Complex::default() };
            self.average[k] = self.average[k] * FORGET + whitened * (1.0 - FORGET);
        }
        self.heard.fill(Complex::default());
        self.heard[BAND].copy_from_slice(&self.average[BAND]);
        self.backward.process(&mut self.heard, &mut self.time).ok()?;
        let delays = &self.time[..DELAYS];
        let rest = (delays.iter().map(|c| c * c).sum::<f32>() / DELAYS as f32).sqrt();
        let (at, peak) = delays.iter().enumerate().fold(
            (0, 0.0),
            |most, (at, c)| {
                if c.abs() > most.1 { (at, c.abs()) } else { most }
            },
        );
        Some((at, if rest > 0.0 { peak / rest } else { 0.0 }))
    }

    fn judge(&mut self, peak: usize, times: f32) {
        let likely = times >= LIKELY;
        self.same = if likely && peak.abs_diff(self.peak) <= SAME_PLACE { self.same + 1 } else { u32::from(likely) };
        self.none = if likely { 0 } else { self.none + 1 };
        self.peak = peak;
        let found = times >= SURE || self.same >= AGAIN;
        let lost = match self.state {
            Echo::Unknown => self.none >= NONE_YET,
            Echo::Absent => true,
            Echo::Present { .. } => self.none >= NONE_ANY_MORE,
        };
        tracing::trace!(peak, times, ?self.state, "echo");
        let next = if found {
            Echo::Present { frames: peak as f32 / HALF as f32 }
        } else if lost {
            Echo::Absent
        } else {
            self.state
        };
        if std::mem::discriminant(&next) != std::mem::discriminant(&self.state) {
            tracing::info!(from = ?self.state, to = ?next, "echo path");
        }
        self.state = next;
    }
}

/// The last samples at 8 kHz.
struct Half {
    past: Vec<f32>,
    next: usize,
    /// The end of the frame before.
    tail: [f32; Self::TAPS],
}

impl Half {
    const TAPS: usize = 6;

    fn new(samples: usize) -> Self {
        Self { past: vec![0.0; samples], next: 0, tail: [0.0; Self::TAPS] }
    }

    fn push(&mut self, low: &LowFrame) {
        // A half-band filter of seven taps (Hamming): what it lets through is in both sounds alike.
        const SIDE: [f32; 2] = [0.2546, -0.0085];
        let mut with_tail = [0.0; Self::TAPS + super::LOW];
        with_tail[..Self::TAPS].copy_from_slice(&self.tail);
        with_tail[Self::TAPS..].copy_from_slice(low);
        self.tail.copy_from_slice(&low[super::LOW - Self::TAPS..]);
        for k in 0..HALF {
            let x = &with_tail[2 * k..2 * k + 7];
            self.past[self.next] = 0.5 * x[3] + SIDE[0] * (x[2] + x[4]) + SIDE[1] * (x[0] + x[6]);
            self.next = (self.next + 1) % self.past.len();
        }
    }

    fn copy(&self, to: &mut [f32]) {
        let (new, old) = self.past.split_at(self.next);
        to[..old.len()].copy_from_slice(old);
        to[old.len()..].copy_from_slice(new);
    }

    fn power(&self) -> f32 {
        self.past.iter().map(|sample| sample * sample).sum::<f32>() / self.past.len() as f32
    }
}
