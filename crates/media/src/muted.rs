//! Somebody speaks into a muted microphone.
//!
//! It takes a voice, not noise: loud enough, and speech by the judgement of a small network (RNNoise's, which says how
//! likely each 10 ms are speech), for about a second of the last two. Sound is given as the echo canceller leaves it, or a
//! loudspeaker would be taken for its listener. Nothing of it leaves this module, and [`MutedVoice::forget`] forgets the few
//! milliseconds that the network works on.

use crate::{FRAME, Sound};
use nnnoiseless::DenoiseState;
use std::time::Duration;

/// Listens to the microphone while it is muted, 10 ms at a time.
#[derive(Default)]
pub struct MutedVoice {
    network: Option<Box<DenoiseState<'static>>>,
    /// Frames of speech, less what the pauses took.
    speech: f32,
    /// Frames since the last that was loud enough.
    quiet: u32,
    said: Option<Duration>,
}

/// Power of a voice near a microphone (-48 dBFS); others in the room are mostly below.
const LOUD: f32 = 1.6e-5;
/// Frames after the last loud one during which the network goes on, so that it hears whole words.
const LISTENS: u32 = 30;
/// What the network has to say of a frame.
const SPEECH: f32 = 0.85;
/// Frames of speech that are somebody speaking; each frame without takes a third of one away.
const ENOUGH: f32 = 70.0;
const PAUSE: f32 = 0.33;
/// Who was told once has heard it.
const APART: Duration = Duration::from_secs(10);

impl MutedVoice {
    /// Whether it is time to say that somebody speaks. `now` counts from any fixed moment.
    pub fn hear(&mut self, sound: &Sound, now: Duration) -> bool {
        let power = sound.mid.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
        self.quiet = if power >= LOUD { 0 } else { self.quiet.saturating_add(1) };
        let speech = self.quiet <= LISTENS && self.likely(sound) >= SPEECH && power >= LOUD;
        self.speech = if speech { self.speech + 1.0 } else { (self.speech - PAUSE).max(0.0) };
        if self.speech < ENOUGH || self.said.is_some_and(|said| now < said + APART) {
            return false;
        }
        self.speech = 0.0;
        self.said = Some(now);
        true
    }

    /// The microphone is not muted any more, or begins to be.
    pub fn forget(&mut self) {
        *self = Self { said: self.said, ..Self::default() };
    }

    /// How likely this frame is speech, 0 to 1.
    fn likely(&mut self, sound: &Sound) -> f32 {
        let network = self.network.get_or_insert_with(DenoiseState::new);
        let scaled = sound.mid.map(|sample| sample * 32_768.0);
        network.process_frame(&mut [0.0; FRAME], &scaled)
    }
}
