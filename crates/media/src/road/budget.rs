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
    /// How much longer the newest was, in milliseconds.
    longer: f32,
    /// What the way carried when there was a queue.
    capacity: Option<f32>,
}

/// So much longer, in milliseconds, a round trip shows a queue: more than jitter and a late report make.
const QUEUE: f32 = 80.0;
/// A queue is to go away within the five seconds until the next report, but sound goes on.
const DRAIN_MS: f32 = 5000.0;
const DRAIN_MOST: f32 = 0.6;
/// What is sent when it is gone, and while it goes away at the most, of what the way carried.
const BACK_TO: f32 = 0.92;
/// A second's growth while there is no queue, up to a little more than what the way carried,
const CAREFUL: f32 = 0.01;
const BEYOND: f32 = 1.1;
/// and from there.
const GROWTH: f32 = 0.05;
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
            if self.longer > before {
                // What was sent in the time, less what still waits.
                let waits = (self.longer - before) / 1000.0;
                let lost = feedback.loss.clamp(0.0, 1.0);
                self.capacity = Some(sent * (1.0 - lost) * passed.max(1.0) / (passed.max(1.0) + waits));
            }
            let share = (1.0 - self.longer / DRAIN_MS).clamp(DRAIN_MOST, BACK_TO);
            return self.capacity.map(|capacity| (capacity * share).max(LEAST)).or(limit);
        }
        let capacity = self.capacity?;
        let limit = limit.unwrap_or(UNLIMITED);
        let next = if before > QUEUE {
            capacity * BACK_TO
        } else if limit < capacity * BEYOND {
            limit * (1.0 + CAREFUL * passed)
        } else {
            limit * (1.0 + GROWTH * passed)
        };
        if next > UNLIMITED {
            self.capacity = None;
        }
        self.capacity.map(|_| next.max(LEAST))
    }
}
