//! What may be sent on a way: by the far side's word, or by our own guess where it says nothing.

use crate::pipeline::Feedback;
use std::time::Duration;

/// What may be sent on a way, bits a second of whole packets.
#[derive(Default)]
pub struct Budget {
    limit: Option<f32>,
    guess: Guess,
}

/// From round trips alone: what a browser's receiver reports let one know.
#[derive(Default)]
struct Guess {
    heard: Option<Duration>,
    /// The shortest round trip, which leaks upward in case the way became longer.
    shortest: Option<f32>,
    longer: f32,
}

/// So much longer, in milliseconds, a round trip shows a queue: more than jitter and a late report make.
const QUEUE: f32 = 80.0;
/// A round trip that shrinks by this shows that the queue goes away.
const SHRINKS: f32 = 0.75;
/// What is sent then, of what arrived: a report comes each five seconds, so the queue of five is to go away in five.
const LOWER: f32 = 0.7;
/// A second's growth while there is no queue.
const GROWTH: f32 = 0.08;
/// Nothing that is sent takes more, so this is no limit.
const UNLIMITED: f32 = 240_000.0;
/// The narrowest sound: 10 kbit/s in packets of 60 ms.
const LEAST: f32 = 16_000.0;
/// By which the shortest round trip is taken for longer, milliseconds a second.
const LEAK: f32 = 1.0;

impl Budget {
    pub fn limit(&self) -> Option<u32> {
        self.limit.map(|limit| limit as u32)
    }

    /// `told`: the far side says what the way carries, or that it met no limit. `sent` is what was sent of late, bits a second
    /// of whole packets.
    pub fn heed(&mut self, feedback: &Feedback, told: bool, sent: f32, now: Duration) {
        if told || feedback.bandwidth.is_some() {
            self.limit = feedback.bandwidth.map(|limit| (limit as f32).max(LEAST));
        } else {
            self.limit = self.guess.heed(feedback, self.limit, sent, now);
        }
    }

    /// What was tried did not pass.
    pub fn lower(&mut self, to: f32) {
        self.limit = Some(self.limit.unwrap_or(UNLIMITED).min(to).max(LEAST));
    }
}

impl Guess {
    fn heed(&mut self, feedback: &Feedback, limit: Option<f32>, sent: f32, now: Duration) -> Option<f32> {
        let passed = self.heard.map_or(0.0, |heard| now.saturating_sub(heard).as_secs_f32());
        self.heard = Some(now);
        let Some(round_trip) = feedback.round_trip_ms.filter(|ms| ms.is_finite()) else { return limit };
        let shortest = self.shortest.map_or(round_trip, |shortest| (shortest + LEAK * passed).min(round_trip));
        self.shortest = Some(shortest);
        let before = std::mem::replace(&mut self.longer, round_trip - shortest);
        if self.longer > QUEUE {
            if before > QUEUE && self.longer < before * SHRINKS {
                return limit;
            }
            let arrived = sent * (1.0 - feedback.loss.clamp(0.0, 1.0));
            return Some((limit.unwrap_or(UNLIMITED).min(arrived) * LOWER).max(LEAST));
        }
        limit.map(|limit| limit * (1.0 + GROWTH * passed.min(5.0))).filter(|limit| *limit < UNLIMITED)
    }
}
