//! Echo cancellation of the band below 8 kHz: AEC3 where there is an echo, and nothing where there is none.
//!
//! [`Canceller::played`] takes each played frame and [`Canceller::captured`] each captured one, as they happen. The state
//! follows the [evidence](super::evidence):
//!
//! ```text
//!            nothing correlates                 an echo
//! Searching -------------------> Off <------------------------> On
//!     '-------------------------------------------------------->'
//!                              an echo
//! ```
//!
//! AEC3 runs while searching and on. It begins anew when an echo turns up, with the delay that was found and the last half
//! second, so that it is at work within some tens of milliseconds. While the far side is silent and its last
//! echo is over, AEC3 rests.

use super::evidence::{Echo, Evidence};
use super::pairing::Pairing;
use super::split::{Down, Split};
use super::{LOW, LowFrame, Stage, to_low};
use crate::Frame;
use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::config::{EchoCanceller3Config, TransparentModeType};
use std::collections::VecDeque;

pub struct Canceller {
    evidence: Evidence,
    pairing: Pairing,
    down_played: Down,
    /// For the evidence alone, while there is nothing to be cancelled.
    down_captured: Down,
    path: Path,
    /// The path before, while it fades.
    before: Option<Path>,
    past: VecDeque<(Vec<LowFrame>, LowFrame)>,
    figures: Figures,
}

enum Path {
    Through,
    Cancelled(Box<Cancelled>),
}

struct Cancelled {
    split: Split<{ Blocks::DELAY }>,
    blocks: Blocks,
}

/// What a canceller that begins anew is shown of the past: it finds its bearings in that.
const PAST_FRAMES: usize = 50;

impl Default for Canceller {
    fn default() -> Self {
        Self {
            evidence: Evidence::default(),
            pairing: Pairing::default(),
            down_played: Down::default(),
            down_captured: Down::default(),
            path: Path::Cancelled(Box::new(Cancelled::new(STREAM_DELAY_MS))),
            before: None,
            past: VecDeque::with_capacity(PAST_FRAMES),
            figures: Figures::default(),
        }
    }
}

/// Callback buffers and rings of both sides together, until the delay is known.
const STREAM_DELAY_MS: i32 = 40;

impl Canceller {
    pub fn played(&mut self, frame: &Frame) {
        self.pairing.played(&to_low(&mut self.down_played, frame));
    }

    /// Decibels by which the echo is lowered.
    pub fn echo_return_loss_db(&self) -> Option<f32> {
        match self.path {
            Path::Through => None,
            Path::Cancelled(_) => self.figures.db(),
        }
    }

    fn follow(&mut self, echo: Echo) {
        match (echo, &self.path) {
            (Echo::Absent, Path::Cancelled(_)) => {
                self.before = Some(std::mem::replace(&mut self.path, Path::Through));
                self.figures = Figures::default();
            }
            (Echo::Present { frames }, Path::Through) => {
                let mut cancelled = Box::new(Cancelled::new((frames * 10.0) as i32));
                let mut ignored = Figures::default();
                for (played, captured) in &self.past {
                    cancelled.blocks.process(played, &mut captured.clone(), &mut ignored);
                }
                self.before = Some(std::mem::replace(&mut self.path, Path::Cancelled(cancelled)));
            }
            (Echo::Absent, Path::Through)
            | (Echo::Present { .. }, Path::Cancelled(_))
            | (Echo::Unknown, Path::Cancelled(_) | Path::Through) => {}
        }
    }
}

impl Stage for Canceller {
    fn process(&mut self, frame: &mut Frame) {
        let played: Vec<LowFrame> = self.pairing.captured().collect();
        let captured = to_low(&mut self.down_captured, frame);
        let echo = self.evidence.hear(played.last().unwrap_or(&[0.0; LOW]), &captured);
        self.follow(echo);
        let dry = *frame;
        self.path.process(&played, frame, &mut self.figures);
        if let Some(mut before) = self.before.take() {
            let mut old = dry;
            before.process(&played, &mut old, &mut Figures::default());
            super::fade(&old, frame);
        }
        if self.past.len() == PAST_FRAMES {
            self.past.pop_front();
        }
        self.past.push_back((played, captured));
    }
}

impl Path {
    fn process(&mut self, played: &[LowFrame], frame: &mut Frame, figures: &mut Figures) {
        match self {
            Self::Through => {}
            Self::Cancelled(cancelled) => {
                let Cancelled { split, blocks } = &mut **cancelled;
                split.process(frame, |low| {
                    let mut scaled = low.map(|sample| sample * super::SIXTEEN_BIT);
                    let gain = blocks.process(played, &mut scaled, figures);
                    *low = scaled.map(|sample| sample / super::SIXTEEN_BIT);
                    gain
                });
            }
        }
    }
}

impl Cancelled {
    fn new(delay_ms: i32) -> Self {
        Self { split: Split::default(), blocks: Blocks::new(delay_ms) }
    }
}

/// AEC3, and the cutting of frames into its blocks.
struct Blocks {
    aec: BlockProcessor,
    played: Vec<f32>,
    captured: Vec<f32>,
    done: Vec<f32>,
    /// The captured block before: AEC3 gives back what it was given one block earlier.
    before: [f32; BLOCK],
    block: Block,
    linear: Block,
    /// Played frames in a row that were silent.
    silent: u32,
    resting: bool,
    gain: f32,
}

const BLOCK: usize = 64;
/// Frames of 160 and blocks of 64 meet each 32 samples.
const FRAMING: usize = 32;

/// Played sound below this power (-75 dBFS) is silence,
const SILENCE: f32 = 3.2e-8 * super::SIXTEEN_BIT * super::SIXTEEN_BIT;
/// and after so many frames of it (RT60 0.8 s: 60 dB) no echo is left.
const ECHO_FRAMES: u32 = 80;

impl Blocks {
    const DELAY: usize = FRAMING + BLOCK;

    fn new(delay_ms: i32) -> Self {
        let mut aec = BlockProcessor::new(&tuning(), 16_000, 1, 1);
        aec.set_audio_buffer_delay(delay_ms);
        Self {
            aec,
            played: Vec::with_capacity(4 * LOW),
            captured: Vec::with_capacity(2 * LOW),
            done: vec![0.0; FRAMING],
            before: [0.0; BLOCK],
            block: Block::new(1, 1),
            linear: Block::new(1, 1),
            silent: 0,
            resting: false,
            gain: 1.0,
        }
    }

    /// Cancels in place, delayed by [`Self::DELAY`], and says by how much the sound above the band is to be scaled.
    fn process(&mut self, played: &[LowFrame], low: &mut LowFrame, figures: &mut Figures) -> f32 {
        for frame in played {
            self.silent = if power(frame) < SILENCE { self.silent.saturating_add(1) } else { 0 };
            self.played.extend_from_slice(frame);
        }
        let rest = self.silent >= ECHO_FRAMES;
        let loud = low.iter().any(|sample| sample.abs() >= 32_700.0);
        let mut block = [0.0; BLOCK];
        let whole = self.played.len() / BLOCK * BLOCK;
        for block in self.played[..whole].chunks_exact(BLOCK) {
            if !rest {
                self.block.view_mut(0, 0).copy_from_slice(block);
                self.aec.buffer_render(&self.block);
            }
        }
        self.played.drain(..whole);
        self.captured.extend_from_slice(low);
        let whole = self.captured.len() / BLOCK * BLOCK;
        for start in (0..whole).step_by(BLOCK) {
            block.copy_from_slice(&self.captured[start..start + BLOCK]);
            let untouched = std::mem::replace(&mut self.before, block);
            if rest && self.resting {
                self.done.extend_from_slice(&untouched);
                self.gain += 0.25 * (1.0 - self.gain);
                continue;
            }
            self.block.view_mut(0, 0).copy_from_slice(&block);
            self.aec.process_capture(false, loud, Some(&mut self.linear), &mut self.block);
            let cancelled = self.block.view(0, 0);
            if rest != self.resting {
                // From one to the other within the block.
                for (k, (a, b)) in untouched.iter().zip(cancelled).enumerate() {
                    let part = (k + 1) as f32 / BLOCK as f32;
                    let part = if rest { 1.0 - part } else { part };
                    self.done.push(a + (b - a) * part);
                }
                self.resting = rest;
            } else {
                self.done.extend_from_slice(cancelled);
            }
            let gain = treble_gain(&untouched, cancelled);
            // Down at once, up over some blocks, as the suppressor does below.
            self.gain = if gain < self.gain { gain } else { self.gain + 0.25 * (gain - self.gain) };
            figures.add(&block, self.linear.view(0, 0), power(&untouched), power(cancelled));
        }
        self.captured.drain(..whole);
        low.copy_from_slice(&self.done[..LOW]);
        self.done.drain(..LOW);
        self.gain
    }
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
}

/// What became of the upper half of the band; what lies above it shares its fate.
fn treble_gain(before: &[f32], after: &[f32]) -> f32 {
    let treble =
        |samples: &[f32]| samples.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).powi(2)).sum::<f32>();
    let (before, after) = (treble(before), treble(after));
    if before > 1.0 { (after / before).sqrt().min(1.0) } else { 1.0 }
}

/// What is left of a tail's power after a block of 4 ms, where the far side speaks alone: RT60 0.7 s, a hard room. AEC3
/// takes 0.3 s, and lets through what such a room still says after the 50 ms that its filter knows.
const TAIL: f32 = 0.92;
/// The same while the near side speaks, which covers the tail (RT60 80 ms): what is taken away there is taken from the voice.
const COVERED_TAIL: f32 = 0.5;

/// Blocks of 4 ms in which more is heard than the filter's guess before it is a near voice: 80 ms. AEC3 takes 12, and lets
/// through a second of echo when drifting clocks have moved it by a block, so that the guess is wrong for a while.
const VOICE_BLOCKS: i32 = 20;

/// AEC3 as it comes, but for these. An echo alone is suppressed from a third of AEC3's own thresholds on, since two clocks and
/// a distorting loudspeaker make the filter's guess of it too small; near a voice from higher ones. Measured in rooms: 10 dB
/// more of the echo, up to 0.4 more PESQ of a voice that begins when the room is known.
fn tuning() -> EchoCanceller3Config {
    let mut config = EchoCanceller3Config::default();
    config.echo_removal_control.transparent_mode = TransparentModeType::Hmm;
    config.ep_strength.default_len = TAIL;
    config.ep_strength.nearend_len = COVERED_TAIL;
    let alone = &mut config.suppressor.normal_tuning;
    (alone.mask_lf.enr_transparent, alone.mask_lf.enr_suppress) = (0.1, 0.15);
    (alone.mask_hf.enr_transparent, alone.mask_hf.enr_suppress) = (0.03, 0.05);
    let both = &mut config.suppressor.nearend_tuning;
    (both.mask_lf.enr_transparent, both.mask_lf.enr_suppress) = (1.5, 1.6);
    // A filter that has not learned the room yet leaves what looks like a voice.
    config.suppressor.dominant_nearend_detection.use_during_initial_phase = false;
    config.suppressor.dominant_nearend_detection.trigger_threshold = VOICE_BLOCKS;
    config
}

/// How much the echo is lowered, where it is nearly all that is heard: the linear part of the canceller says so, by taking
/// half of it away.
#[derive(Default)]
struct Figures {
    heard: f32,
    left: f32,
    echo: bool,
    blocks: u32,
}

/// Half of what was summed is forgotten after some 3 s of echo.
const FORGET: f32 = 0.999;
/// Power of an echo to speak of: -60 dBFS.
const ECHO: f32 = 1e-6 * super::SIXTEEN_BIT * super::SIXTEEN_BIT;
/// A second of it, before a figure is named.
const ENOUGH_BLOCKS: u32 = 250;

impl Figures {
    /// `left` is what came out of the block before, of which `heard` went in.
    fn add(&mut self, captured: &[f32], linear: &[f32], heard: f32, left: f32) {
        let was_echo =
            std::mem::replace(&mut self.echo, power(captured) > ECHO && 2.0 * power(linear) < power(captured));
        if was_echo && self.echo {
            self.heard = self.heard * FORGET + heard;
            self.left = self.left * FORGET + left;
            self.blocks = self.blocks.saturating_add(1);
        }
    }

    fn db(&self) -> Option<f32> {
        (self.blocks >= ENOUGH_BLOCKS).then(|| 10.0 * (self.heard / self.left.max(self.heard * 1e-6)).log10())
    }
}
