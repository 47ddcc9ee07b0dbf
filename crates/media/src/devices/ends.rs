//! The sound thread's ends of an open microphone and an open speaker: rings, conversion, and the bounds on what waits.
//!
//! However long either side stood still, what waits afterwards is no more than before: the microphone's oldest sound is
//! dropped, and the speaker is given no more than it is about to play.

use super::realtime::{CaptureEnd, Heartbeat, PlayoutEnd};
use super::resample::Resampler;
use super::{DeviceFault, Sink, Source};
use crate::{FRAME, RATE, Sound};
use std::collections::VecDeque;
use std::time::Instant;

/// The most that may wait in a ring; beyond it the oldest is dropped,
pub(super) const MOST_WAITING_MS: usize = 60;
/// down to this.
pub(super) const KEPT_MS: usize = 20;
/// How often the sound thread looks.
const LOOK_MS: usize = 5;

/// What is kept ready for a speaker beyond what it asks for: 5 ms more each time that it found too little, half of that
/// less after each minute in which it did not.
pub(super) struct Margin {
    halves: usize,
    most: usize,
    /// Pieces of 10 ms since it changed.
    calm: usize,
    underruns: u32,
}

impl Margin {
    const STEP_MS: usize = 5;
    /// Halves of a step in a second.
    const HALVES: usize = 2 * 1000 / Self::STEP_MS;
    /// A minute: each time that less is tried, an underrun may be heard.
    const CALM: usize = 6000;

    pub fn new(first_ms: usize, most_ms: usize) -> Self {
        let halves = |ms| ms * Self::HALVES / 1000;
        Self { halves: halves(first_ms), most: halves(most_ms), calm: 0, underruns: 0 }
    }

    pub fn samples(&self, rate: usize) -> usize {
        rate * self.halves / Self::HALVES
    }

    /// The speaker found too little, so often since it was looked at last.
    pub fn note_underruns(&mut self, underruns: u32) {
        if underruns > 0 {
            self.underruns = self.underruns.saturating_add(underruns);
            self.halves = (self.halves + 2).min(self.most);
            self.calm = 0;
        }
    }

    /// How often, since the last call.
    pub fn take_underruns(&mut self) -> u32 {
        std::mem::take(&mut self.underruns)
    }

    /// A piece was written.
    pub fn note_written(&mut self) {
        self.calm += 1;
        if self.calm >= Self::CALM {
            self.calm = 0;
            self.halves = self.halves.saturating_sub(1);
        }
    }
}

pub struct Microphone {
    end: CaptureEnd,
    resampler: Resampler,
    rate: usize,
    chunk: Vec<f32>,
    ready: VecDeque<f32>,
}

impl Microphone {
    pub fn new(end: CaptureEnd, rate: u32) -> Result<Self, DeviceFault> {
        let lanes = end.lanes();
        Ok(Self {
            resampler: Resampler::new(rate, RATE, lanes)?,
            rate: rate as usize,
            chunk: vec![0.0; (rate as usize / 100).max(1) * lanes],
            ready: VecDeque::with_capacity(2 * FRAME * lanes),
            end,
        })
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.end.heartbeat()
    }
}

impl Source for Microphone {
    fn read(&mut self, _now: Instant, sound: &mut Sound) -> bool {
        if self.end.available() > self.rate * MOST_WAITING_MS / 1000 {
            self.end.drop_oldest(self.rate * KEPT_MS / 1000);
        }
        let lanes = self.end.lanes();
        while self.ready.len() < FRAME * lanes {
            if !self.end.read(&mut self.chunk) {
                return false;
            }
            self.resampler.convert(&self.chunk, &mut self.ready);
        }
        sound.read_interleaved(lanes, self.ready.drain(..FRAME * lanes));
        true
    }

    fn discard(&mut self, _now: Instant) {
        self.end.drop_oldest(0);
        self.ready.clear();
        self.resampler.reset();
    }

    fn expects_sound(&self) -> bool {
        true
    }
}

pub struct Speaker {
    end: PlayoutEnd,
    resampler: Resampler,
    rate: usize,
    /// Added to what waits in the ring.
    margin: Margin,
    channels: Vec<f32>,
    converted: Vec<f32>,
}

impl Speaker {
    pub fn new(end: PlayoutEnd, rate: u32) -> Result<Self, DeviceFault> {
        Ok(Self {
            resampler: Resampler::new(RATE, rate, end.lanes())?,
            rate: rate as usize,
            margin: Margin::new(LOOK_MS, MOST_WAITING_MS),
            channels: Vec::with_capacity(2 * FRAME),
            converted: Vec::new(),
            end,
        })
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.end.heartbeat()
    }
}

impl Sink for Speaker {
    fn wants(&mut self, _now: Instant) -> bool {
        let (most, look) = (self.rate * MOST_WAITING_MS / 1000, self.rate * LOOK_MS / 1000);
        self.margin.note_underruns(self.end.take_underruns());
        // A whole callback must be there when it comes, wherever between two looks that is.
        let callback = self.end.callback().max(look);
        self.end.waiting() < (callback + look + self.margin.samples(self.rate)).min(most.max(callback))
    }

    fn take_underruns(&mut self) -> u32 {
        self.margin.take_underruns()
    }

    fn write(&mut self, sound: &Sound) {
        self.margin.note_written();
        self.channels.clear();
        sound.write_interleaved(self.end.lanes(), &mut self.channels);
        self.converted.clear();
        self.resampler.convert(&self.channels, &mut self.converted);
        self.end.write(&self.converted);
    }
}

impl Sound {
    /// Takes 10 ms of one channel, or of two in turns. What is missing is silence.
    pub(super) fn read_interleaved(&mut self, channels: usize, mut samples: impl Iterator<Item = f32>) {
        *self = Self::SILENCE;
        self.stereo = channels == 2;
        for (mid, side) in self.mid.iter_mut().zip(&mut self.side) {
            let Some(left) = samples.next() else { return };
            if self.stereo {
                let right = samples.next().unwrap_or(0.0);
                (*mid, *side) = ((left + right) / 2.0, (left - right) / 2.0);
            } else {
                *mid = left;
            }
        }
    }

    /// Appends 10 ms of one channel, or of two in turns.
    pub(super) fn write_interleaved(&self, channels: usize, samples: &mut Vec<f32>) {
        match (channels, self.stereo) {
            (2, true) => {
                samples.extend(self.mid.iter().zip(&self.side).flat_map(|(mid, side)| [mid + side, mid - side]))
            }
            (2, false) => samples.extend(self.mid.iter().flat_map(|mid| [*mid, *mid])),
            (_, _) => samples.extend_from_slice(&self.mid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::realtime::{capture, playout};
    use super::*;

    const PERIOD: usize = 240;

    /// What waits for the speaker after each of so many looks of the sound thread, a callback of 5 ms between two.
    fn look(speaker: &mut Speaker, playout: &mut super::super::realtime::Playout, looks: usize) -> Vec<usize> {
        let now = Instant::now();
        (0..looks)
            .map(|_| {
                playout.fill(&mut [0.0f32; PERIOD]);
                while speaker.wants(now) {
                    speaker.write(&Sound::mono([0.1; FRAME]));
                }
                speaker.end.waiting()
            })
            .collect()
    }

    #[test]
    fn half_a_second_without_the_sound_thread_leaves_no_delay_behind_at_the_speaker() {
        let (mut playout, end) = playout(RATE, 1);
        let mut speaker = Speaker::new(end, RATE).unwrap();
        let before = look(&mut speaker, &mut playout, 200).into_iter().max().unwrap();
        assert!(before <= PERIOD * 4, "{before} samples wait in quiet times");
        (0..100).for_each(|_| playout.fill(&mut [0.0f32; PERIOD]));
        let after = look(&mut speaker, &mut playout, 20).into_iter().max().unwrap();
        assert!(after <= before + PERIOD, "{after} samples wait after the stall, {before} before");
        // And what was added against the next one is taken back.
        let at_last = look(&mut speaker, &mut playout, 40_000).pop().unwrap();
        assert!(at_last <= before, "{at_last} samples wait in the end, {before} before");
    }

    #[test]
    fn half_a_second_without_the_device_leaves_no_delay_behind_at_the_speaker() {
        let (mut playout, end) = playout(RATE, 1);
        let mut speaker = Speaker::new(end, RATE).unwrap();
        let before = look(&mut speaker, &mut playout, 200).into_iter().max().unwrap();
        let now = Instant::now();
        for _ in 0..100 {
            while speaker.wants(now) {
                speaker.write(&Sound::SILENCE);
            }
        }
        assert!(speaker.end.waiting() <= before);
        assert!(look(&mut speaker, &mut playout, 20).into_iter().max().unwrap() <= before);
    }

    #[test]
    fn half_a_second_without_the_sound_thread_leaves_no_delay_behind_at_the_microphone() {
        for stereo in [false, true] {
            let (mut capture, end) = capture(RATE, 2, stereo);
            let mut microphone = Microphone::new(end, RATE).unwrap();
            let (now, mut sound) = (Instant::now(), Sound::SILENCE);
            for i in 0..100 {
                capture.take(&[i as f32 / 1000.0; 2 * PERIOD]);
            }
            let mut read = 0;
            while microphone.read(now, &mut sound) {
                read += 1;
                assert_eq!(sound.stereo, stereo);
            }
            assert!(read <= KEPT_MS / 10, "{read} frames were kept");
            assert!(microphone.end.available() < FRAME);
        }
    }

    #[test]
    fn stereo_comes_through_at_any_rate() {
        for rate in [44_100, 48_000, 96_000] {
            let (mut input, end) = capture(rate, 2, true);
            let (mut output, out) = playout(rate, 2);
            let mut microphone = Microphone::new(end, rate).unwrap();
            let mut speaker = Speaker::new(out, rate).unwrap();
            let (now, mut sound) = (Instant::now(), Sound::SILENCE);
            let mut played = vec![0.0f32; rate as usize / 100 * 2];
            for _ in 0..20 {
                let frame: Vec<f32> = [0.5, -0.25].repeat(rate as usize / 100);
                input.take(&frame);
                while microphone.read(now, &mut sound) {
                    speaker.write(&sound);
                }
                output.fill(&mut played);
            }
            let last = &played[played.len() - 2..];
            assert!((last[0] - 0.5).abs() < 0.02 && (last[1] + 0.25).abs() < 0.02, "{rate} Hz: {last:?}");
        }
    }
}
