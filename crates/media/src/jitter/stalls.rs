//! Stalls that recur: now and then a way holds everything for so long, and then lets it go at once.
//!
//! Such a moment is too rare for a share of late frames to ask for its delay. But what is made up in it delays playout, and
//! that comes back by speaking faster: twice the harm, and all of it again with the next one. So delay that a second stall
//! needed too is kept for as long as they keep coming. A single one is left to the histograms.

use std::collections::VecDeque;
use std::time::Duration;

/// A packet that takes so many milliseconds longer than the one before it was held: neither jitter that a buffer is made for
/// nor a queue, where each waits little longer than the one before, makes such steps.
const HELD_MS: f32 = 80.0;
/// Stalls recur when the next one comes within this, and have stopped when none did.
const RECUR: Duration = Duration::from_secs(8);
/// Of one stall.
const SAME: Duration = Duration::from_millis(500);
/// It is chance which part of a packet's 20 ms the next stall meets.
const PACKET_MS: f32 = 20.0;

/// The stalls of late.
#[derive(Default)]
pub struct Stalls {
    /// When each ended, and the longest delay in milliseconds that it caused.
    seen: VecDeque<(Duration, f32)>,
    /// The delay of the packet before.
    before: Option<f32>,
    kept_ms: f32,
}

impl Stalls {
    /// A packet came of itself, so many milliseconds later than the fastest. No wait bridges what is longer than `most_ms`.
    pub fn came(&mut self, at: Duration, delay_ms: f32, most_ms: f32) {
        while self.seen.front().is_some_and(|(ended, _)| at.saturating_sub(*ended) > RECUR) {
            self.seen.pop_front();
        }
        let held = self.before.replace(delay_ms).is_some_and(|before| delay_ms - before >= HELD_MS);
        if held {
            match self.seen.back_mut() {
                // What it held came in any order.
                Some((ended, longest)) if at.saturating_sub(*ended) < SAME => *longest = longest.max(delay_ms),
                Some(_) | None => self.seen.push_back((at, delay_ms)),
            }
        }
        let (mut longest, mut second) = (0.0_f32, 0.0_f32);
        for (_, delay) in self.seen.iter().filter(|(_, delay)| *delay <= most_ms) {
            second = second.max(delay.min(longest));
            longest = longest.max(*delay);
        }
        self.kept_ms = self.kept_ms.max(second).min(longest);
    }

    /// The delay that those which recur need; none, when none do.
    pub fn needed_ms(&self) -> f32 {
        if self.kept_ms > 0.0 { self.kept_ms + PACKET_MS } else { 0.0 }
    }

    /// Delays count from elsewhere.
    pub fn restart(&mut self) {
        *self = Self::default();
    }
}
