//! Our own voice comes back from a far side: its loudspeaker is heard by its microphone, and only whoever sits there can
//! change that.
//!
//! [`OwnVoice::sent`] takes what goes out and [`OwnVoice::heard`] what one far side sends. Of both, each 10 ms become three
//! levels (below 700 Hz, to 2.2 kHz, above), in decibels: what a codec, a jitter buffer and a canceller that does half its
//! work leave of a voice. Levels heard are correlated with levels sent 50 ms to 2.5 s before, over some 6 s, and only where
//! we spoke at that time; while the far side answers, nothing is learned. Other voices do not follow ours word by
//! word: two that speak at once come to a correlation of 0.4 by chance, an echo to 0.7 and more.

use crate::{FRAME, Frame};
use std::time::Duration;

/// Compares what is sent with what is heard of one far side.
pub struct OwnVoice {
    sent: Ear,
    heard: Ear,
    /// What was sent, by the number of its frame.
    past: Box<[Sent; PAST]>,
    lags: Box<[Lag; LAGS]>,
    spoke: Option<u64>,
    /// The lag that stood out last, and how often in a row.
    best: usize,
    again: u32,
    /// Judgements in a row without an echo.
    without: u32,
    back_db: Option<f32>,
}

const TICK_MS: u128 = 10;
/// Frames kept of what was sent: more than the longest delay.
const PAST: usize = 512;
const BANDS: usize = 3;
/// Delays that are looked at, in frames; codec, buffers and the way take 50 ms at least, and 2.5 s are the worst of networks.
const SHORTEST: usize = 5;
const LAG_FRAMES: usize = 2;
const LAGS: usize = 123;
/// Each second frame is correlated, and each tenth judged.
const CORRELATE: u64 = 2;
const JUDGE: u64 = 10;

/// We speak above this power (-46 dBFS), and for so many frames after.
const SPEAKS: f32 = 2.5e-5;
const HANGS_ON: u64 = 30;
/// Levels below this are the floor of either side.
const FLOOR_DB: f32 = -68.0;
/// What is left of a sum after 20 ms: half of it is from the last 4 s.
const FORGET: f32 = 0.9967;
/// Correlated frames (20 ms) of ours that a judgement needs.
const ENOUGH: f32 = 100.0;
/// Correlation that is an echo, if it is found at one delay for so many judgements in a row,
const ECHO: f32 = 0.65;
const AGAIN: u32 = 10;
/// and below which there is none, after so many.
const NO_ECHO: f32 = 0.45;
const WITHOUT: u32 = 50;
/// Delays that count as one: stretching moves it a little.
const SAME: usize = 3;
/// Levels of a voice go up and down by more than this (squared decibels, three bands together).
const LIVELY: f32 = 30.0;

#[derive(Clone, Copy, Default)]
struct Sent {
    number: u64,
    levels: [f32; BANDS],
    power: f32,
    speaks: bool,
}

/// Sums over the frames in which we spoke so long before.
#[derive(Clone, Copy, Default)]
struct Lag {
    frames: f32,
    x: [f32; BANDS],
    y: [f32; BANDS],
    xx: f32,
    yy: f32,
    xy: f32,
    sent: f32,
    heard: f32,
}

impl Default for OwnVoice {
    fn default() -> Self {
        Self {
            sent: Ear::default(),
            heard: Ear::default(),
            past: Box::new([Sent::default(); PAST]),
            lags: Box::new([Lag::default(); LAGS]),
            spoke: None,
            best: 0,
            again: 0,
            without: 0,
            back_db: None,
        }
    }
}

impl OwnVoice {
    /// 10 ms that go out, as they are encoded. `now` counts from any fixed moment, the same for both directions.
    pub fn sent(&mut self, frame: &Frame, now: Duration) {
        let (number, levels, power) = self.sent.hear(frame, now);
        if power >= SPEAKS {
            self.spoke = Some(number);
        }
        let speaks = self.spoke.is_some_and(|spoke| number - spoke.min(number) <= HANGS_ON);
        self.past[number as usize % PAST] = Sent { number, levels, power, speaks };
    }

    /// 10 ms of the far side, as they are played.
    pub fn heard(&mut self, frame: &Frame, now: Duration) {
        let (number, levels, power) = self.heard.hear(frame, now);
        if number.is_multiple_of(CORRELATE) {
            self.correlate(number, &levels, power);
        }
        if number.is_multiple_of(JUDGE) {
            self.judge();
        }
    }

    /// By how many decibels what comes back is weaker than what was sent; `None` while nothing comes back.
    pub fn back_db(&self) -> Option<f32> {
        self.back_db
    }

    fn correlate(&mut self, number: u64, levels: &[f32; BANDS], power: f32) {
        for (at, lag) in self.lags.iter_mut().enumerate() {
            let Some(before) = number.checked_sub((SHORTEST + LAG_FRAMES * at) as u64) else { return };
            let sent = &self.past[before as usize % PAST];
            if sent.number != before || !sent.speaks {
                continue;
            }
            lag.frames = lag.frames * FORGET + 1.0;
            let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
            for (band, level) in levels.iter().enumerate() {
                let (x, y) = (sent.levels[band], *level);
                lag.x[band] = lag.x[band] * FORGET + x;
                lag.y[band] = lag.y[band] * FORGET + y;
                xx += x * x;
                yy += y * y;
                xy += x * y;
            }
            lag.xx = lag.xx * FORGET + xx;
            lag.yy = lag.yy * FORGET + yy;
            lag.xy = lag.xy * FORGET + xy;
            lag.sent = lag.sent * FORGET + sent.power;
            lag.heard = lag.heard * FORGET + power;
        }
    }

    fn judge(&mut self) {
        let (mut best, mut most) = (0, 0.0);
        for (at, lag) in self.lags.iter().enumerate() {
            let correlation = lag.correlation();
            if correlation > most {
                (best, most) = (at, correlation);
            }
        }
        let echo = most >= ECHO;
        let same = best.abs_diff(self.best) <= SAME;
        self.again = if echo && same { self.again + 1 } else { u32::from(echo) };
        self.without = if most < NO_ECHO { self.without + 1 } else { 0 };
        self.best = best;
        if self.again >= AGAIN {
            let lag = &self.lags[best];
            self.back_db = Some((10.0 * (lag.sent / lag.heard.max(1e-12)).log10()).max(0.0));
        } else if self.without >= WITHOUT {
            self.back_db = None;
        }
    }
}

impl Lag {
    /// Pearson's, with the bands side by side; 0 where there is too little to go by.
    fn correlation(&self) -> f32 {
        if self.frames < ENOUGH {
            return 0.0;
        }
        let about = |a: &[f32; BANDS], b: &[f32; BANDS]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / self.frames;
        let xx = (self.xx - about(&self.x, &self.x)) / self.frames;
        let yy = (self.yy - about(&self.y, &self.y)) / self.frames;
        let xy = (self.xy - about(&self.x, &self.y)) / self.frames;
        if xx < LIVELY || yy < LIVELY { 0.0 } else { xy / (xx * yy).sqrt() }
    }
}

/// Levels of one direction.
#[derive(Default)]
struct Ear {
    number: Option<u64>,
    low: f32,
    middle: f32,
    /// Powers of the two frames before, so that a level is one of 30 ms.
    before: [[f32; BANDS]; 2],
}

/// One-pole filters at 12 kHz: 700 Hz and 2.2 kHz.
const LOW: f32 = 0.307;
const MIDDLE: f32 = 0.684;
const THIN: usize = 4;
/// A clock that is so many frames off has jumped; less is a burst.
const JUMP: u64 = 6;

impl Ear {
    /// The frame's number, its levels and its power.
    fn hear(&mut self, frame: &Frame, now: Duration) -> (u64, [f32; BANDS], f32) {
        let clock = (now.as_millis() / TICK_MS) as u64;
        let number = match self.number {
            Some(last) if (last + 1).abs_diff(clock) <= JUMP => last + 1,
            Some(_) | None => clock,
        };
        self.number = Some(number);
        let mut sums = [0.0; BANDS];
        for samples in frame.chunks_exact(THIN) {
            let sample = samples.iter().sum::<f32>() / THIN as f32;
            self.low += LOW * (sample - self.low);
            self.middle += MIDDLE * (sample - self.middle);
            let bands = [self.low, self.middle - self.low, sample - self.middle];
            for (sum, band) in sums.iter_mut().zip(bands) {
                *sum += band * band;
            }
        }
        let powers = sums.map(|sum| sum * THIN as f32 / FRAME as f32);
        let levels = std::array::from_fn(|band| {
            let mean = (powers[band] + self.before[0][band] + self.before[1][band]) / 3.0;
            (10.0 * mean.max(1e-9).log10()).max(FLOOR_DB)
        });
        self.before = [powers, self.before[0]];
        (number, levels, powers.iter().sum())
    }
}
