//! Tones made sample by sample: ring, ringback, the cue for lost sound, and the melody of the speaker check.
//!
//! A [`Tones`] adds what it plays to a frame; a tone goes on until it is replaced, a melody ends by itself.

use crate::{Frame, RATE, Tone};
use std::f32::consts::TAU;

/// One note: pitch in hertz, start and length in seconds, loudness 0 to 1.
struct Note {
    pitch: f32,
    start: f32,
    length: f32,
    loudness: f32,
}

const fn note(pitch: f32, start: f32, length: f32, loudness: f32) -> Note {
    Note { pitch, start, length, loudness }
}

/// Two warm notes, a fourth apart, twice within each three seconds.
const RING: [Note; 4] = [
    note(587.33, 0.0, 0.55, 0.22),
    note(783.99, 0.22, 0.75, 0.22),
    note(587.33, 1.0, 0.55, 0.22),
    note(783.99, 1.22, 0.75, 0.22),
];
const RINGBACK: [Note; 1] = [note(440.0, 0.0, 1.0, 0.08)];
const LOST: [Note; 1] = [note(220.0, 0.0, 0.5, 0.07)];
const MELODY: [Note; 4] = [
    note(523.25, 0.0, 0.5, 0.2),
    note(659.26, 0.25, 0.5, 0.2),
    note(783.99, 0.5, 0.5, 0.2),
    note(1046.5, 0.75, 0.9, 0.2),
];

#[derive(Default)]
pub struct Tones {
    tone: Option<(Tone, u64)>,
    melody: Option<u64>,
}

impl Tones {
    pub fn set(&mut self, tone: Option<Tone>) {
        self.tone = tone.map(|tone| (tone, 0));
    }

    pub fn melody(&mut self) {
        self.melody = Some(0);
    }

    /// Whether anything sounds or will sound again.
    pub fn playing(&self) -> bool {
        self.tone.is_some() || self.melody.is_some()
    }

    /// Adds the next 10 ms to a frame.
    pub fn mix(&mut self, frame: &mut Frame) {
        if let Some((tone, at)) = &mut self.tone {
            let (notes, period): (&[Note], f32) = match tone {
                Tone::Ring => (&RING, 3.0),
                Tone::Ringback => (&RINGBACK, 4.0),
                Tone::Lost => (&LOST, f32::INFINITY),
            };
            add(notes, period, at, frame);
        }
        if let Some(at) = &mut self.melody {
            add(&MELODY, f32::INFINITY, at, frame);
            if *at > u64::from(RATE) * 2 {
                self.melody = None;
            }
        }
    }
}

fn add(notes: &[Note], period: f32, at: &mut u64, frame: &mut Frame) {
    for sample in frame.iter_mut() {
        let mut seconds = (*at as f64 / f64::from(RATE)) as f32;
        if period.is_finite() {
            seconds %= period;
        }
        *sample += notes.iter().map(|note| note.sample(seconds)).sum::<f32>();
        *at += 1;
    }
}

impl Note {
    /// A soft attack, a bell's decay, and a little of the octave for warmth.
    fn sample(&self, seconds: f32) -> f32 {
        let t = seconds - self.start;
        if !(0.0..self.length).contains(&t) {
            return 0.0;
        }
        let attack = (t / 0.02).min(1.0);
        let release = ((self.length - t) / 0.05).min(1.0);
        let decay = (-3.0 * t / self.length).exp();
        let wave = (TAU * self.pitch * t).sin() + 0.25 * (TAU * 2.0 * self.pitch * t).sin();
        self.loudness * attack * release * decay * wave
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SILENCE;

    fn loud_frames(tones: &mut Tones, frames: usize) -> usize {
        let mut loud = 0;
        for _ in 0..frames {
            let mut frame = SILENCE;
            tones.mix(&mut frame);
            assert!(frame.iter().all(|sample| sample.abs() < 0.8), "clips");
            loud += usize::from(frame.iter().any(|sample| sample.abs() > 0.002));
        }
        loud
    }

    #[test]
    fn ring_repeats_ringback_is_sparse_and_the_lost_cue_sounds_once() {
        let mut tones = Tones::default();
        tones.set(Some(Tone::Ring));
        let (first, second) = (loud_frames(&mut tones, 300), loud_frames(&mut tones, 300));
        assert!(first > 100 && first.abs_diff(second) <= 2);
        tones.set(Some(Tone::Ringback));
        assert!((60..=100).contains(&loud_frames(&mut tones, 400)));
        tones.set(Some(Tone::Lost));
        assert!(loud_frames(&mut tones, 100) > 20);
        assert_eq!(loud_frames(&mut tones, 600), 0);
        tones.set(None);
        assert!(!tones.playing());
    }

    #[test]
    fn melody_ends_by_itself() {
        let mut tones = Tones::default();
        tones.melody();
        assert!(loud_frames(&mut tones, 250) > 100);
        assert!(!tones.playing());
    }
}
