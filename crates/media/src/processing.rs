//! What is done to captured sound: echo cancellation, noise suppression, gain control.
//!
//! Every played frame is given to [`Processor::played`] when it is written to the speaker and every captured one to
//! [`Processor::captured`] when it is read, each once and in the order in which they happen; the canceller finds the delay
//! between them by itself. Everything can be switched at any time without a click. With original sound, or everything off,
//! sound passes untouched, in stereo if it is.
//!
//! ```text
//! captured -> high-pass -> echo canceller (0 or 7.5 ms) -> noise suppression (7.5 or 10 ms) -> gain -> sent
//! played ------------------------'
//! ```

mod canceller;
mod evidence;
mod gain;
mod noise;
mod pairing;
mod split;

use crate::{FRAME, Frame, NoiseSuppression, Processing, Sound};
use canceller::Canceller;
use gain::{Gain, HighPass};
use split::Down;

/// 10 ms at 16 kHz.
const LOW: usize = FRAME / 3;
type LowFrame = [f32; LOW];
/// The scale of AEC3, of both noise suppressors and of nothing else here.
const SIXTEEN_BIT: f32 = 32_768.0;

/// Something that changes sound in place, with a memory.
trait Stage {
    fn process(&mut self, frame: &mut Frame);
}

pub struct Processor {
    wanted: Processing,
    high_pass: Switch<HighPass>,
    canceller: Switch<Canceller>,
    standard: Switch<noise::Standard>,
    strong: Switch<noise::Strong>,
    gain: Switch<Gain>,
    /// How much of the other channel is heard; it goes while sound is processed.
    side: f32,
}

impl Processor {
    pub fn new(wanted: Processing) -> Self {
        let mut processor = Self {
            wanted,
            high_pass: Switch::default(),
            canceller: Switch::default(),
            standard: Switch::default(),
            strong: Switch::default(),
            gain: Switch::default(),
            side: if works(wanted) { 0.0 } else { 1.0 },
        };
        processor.set(wanted);
        processor.high_pass.settle();
        processor.canceller.settle();
        processor.standard.settle();
        processor.strong.settle();
        processor.gain.settle();
        processor
    }

    pub fn set(&mut self, wanted: Processing) {
        self.wanted = wanted;
        let on = !wanted.original_sound;
        self.high_pass.set(works(wanted));
        self.canceller.set(on && wanted.echo_cancellation);
        self.standard.set(on && wanted.noise_suppression == NoiseSuppression::Standard);
        self.strong.set(on && wanted.noise_suppression == NoiseSuppression::Strong);
        self.gain.set(on && wanted.gain_control);
    }

    /// What the speaker is about to play: the reference of the echo canceller.
    pub fn played(&mut self, sound: &Sound) {
        if let Some(canceller) = self.canceller.stage() {
            canceller.played(&sound.mid);
        }
    }

    /// By how many decibels the echo is lowered; `None` while there was none to be lowered.
    pub fn echo_return_loss_db(&self) -> Option<f32> {
        self.canceller.working().and_then(Canceller::echo_return_loss_db)
    }

    /// Cleans captured sound in place.
    pub fn captured(&mut self, sound: &mut Sound) {
        self.high_pass.process(&mut sound.mid);
        self.canceller.process(&mut sound.mid);
        self.standard.process(&mut sound.mid);
        self.strong.process(&mut sound.mid);
        self.gain.process(&mut sound.mid);
        self.narrow(sound);
    }

    /// Takes the echo out of what a muted microphone gives, so that the canceller stays at work and a far voice is not
    /// taken for ours. The other stages rest.
    pub fn muted(&mut self, sound: &mut Sound) {
        self.high_pass.process(&mut sound.mid);
        self.canceller.process(&mut sound.mid);
    }

    /// One channel while sound is processed, both while it is not.
    fn narrow(&mut self, sound: &mut Sound) {
        let to = if works(self.wanted) { 0.0 } else { 1.0 };
        if sound.stereo && (self.side, to) != (1.0, 1.0) {
            let step = (to - self.side) / FRAME as f32;
            for (k, sample) in sound.side.iter_mut().enumerate() {
                *sample *= self.side + step * (k + 1) as f32;
            }
            sound.stereo = (self.side, to) != (0.0, 0.0);
        }
        self.side = to;
    }
}

/// Whether anything is done at all.
fn works(wanted: Processing) -> bool {
    !wanted.original_sound
        && (wanted.echo_cancellation || wanted.noise_suppression != NoiseSuppression::Off || wanted.gain_control)
}

/// A stage that comes and goes without a click: a new one listens for some frames before it is heard, and both ways
/// sound fades from one to the other within a frame.
struct Switch<S> {
    stage: Option<Box<S>>,
    wanted: bool,
    heard: bool,
    /// Frames that a new stage has listened to.
    listened: u32,
}

/// The longest memory that begins with silence has 10 ms.
const LISTEN: u32 = 3;

impl<S> Default for Switch<S> {
    fn default() -> Self {
        Self { stage: None, wanted: false, heard: false, listened: 0 }
    }
}

impl<S: Stage + Default> Switch<S> {
    fn set(&mut self, wanted: bool) {
        self.wanted = wanted;
        if wanted && self.stage.is_none() {
            self.stage = Some(Box::default());
            self.listened = 0;
        }
    }

    /// Nothing was heard yet, so nothing has to fade.
    fn settle(&mut self) {
        self.heard = self.wanted;
    }

    fn stage(&mut self) -> Option<&mut S> {
        self.stage.as_deref_mut()
    }

    fn working(&self) -> Option<&S> {
        self.stage.as_deref().filter(|_| self.heard)
    }

    fn process(&mut self, frame: &mut Frame) {
        let Some(stage) = &mut self.stage else { return };
        let dry = *frame;
        stage.process(frame);
        self.listened = self.listened.saturating_add(1);
        match (self.heard, self.wanted) {
            (true, true) => {}
            (false, true) if self.listened <= LISTEN => *frame = dry,
            (false, true) => {
                self.heard = true;
                fade(&dry, frame);
            }
            (true, false) => {
                let wet = std::mem::replace(frame, dry);
                fade(&wet, frame);
                (self.heard, self.stage) = (false, None);
            }
            (false, false) => {
                *frame = dry;
                self.stage = None;
            }
        }
    }
}

/// From one sound to the other within the frame.
fn fade(from: &Frame, to: &mut Frame) {
    for (k, (from, to)) in from.iter().zip(to).enumerate() {
        let part = 0.5 - 0.5 * (std::f32::consts::PI * (k as f32 + 0.5) / FRAME as f32).cos();
        *to = from + (*to - from) * part;
    }
}

/// Of 16-bit size.
fn to_low(down: &mut Down, frame: &Frame) -> LowFrame {
    let mut low = [0.0; LOW];
    down.process(frame, &mut low);
    low.map(|sample| sample * SIXTEEN_BIT)
}
