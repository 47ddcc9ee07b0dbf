//! What a meeting has with one member: a leg of the sound engine, and the way to the member.

use super::interface::MemberSound;
use crate::endpoint::Monotonic;
use crate::way::{Times, Way};

/// Nothing ends a room after a while without sound, so the pace slows down. A connection that does not flow for so long is
/// given up here, whatever its engine still hopes: of the other side's part nothing is known.
const TIMES: Times =
    Times { pace_ms: &[1_000, 1_000, 2_000, 4_000, 8_000, 16_000], setup_ms: 10_000, unanswered_ms: 20_000 };

pub(super) struct Leg {
    pub(super) number: u32,
    pub(super) offers: bool,
    pub(super) way: Way,
    /// The newest connection is still to be opened: when the relays are known, or at the latest then.
    pub(super) open_by: Option<Monotonic>,
    was_heard: bool,
    /// The member was there when last seen.
    linked: bool,
}

impl Leg {
    pub(super) fn new(number: u32, now: Monotonic) -> Self {
        Self { number, offers: false, way: Way::new(TIMES, now), open_by: None, was_heard: false, linked: false }
    }

    pub(super) fn generation(&self) -> u32 {
        self.way.generation()
    }

    pub(super) fn sound(&self) -> MemberSound {
        match (self.way.hears(), self.was_heard) {
            (true, _) => MemberSound::Heard,
            (false, true) => MemberSound::Lost,
            (false, false) => MemberSound::Connecting,
        }
    }

    /// The server named the next connection.
    pub(super) fn advance(&mut self, generation: u32, offers: bool, open_by: Monotonic, now: Monotonic) {
        self.way.advance(generation, !self.way.hears(), now);
        self.offers = offers;
        self.open_by = Some(open_by);
    }

    pub(super) fn flows(&mut self, generation: u32, now: Monotonic) {
        self.way.flows(generation, now);
        self.was_heard |= self.way.hears();
    }

    pub(super) fn see(&mut self, linked: bool, now: Monotonic) {
        let was = std::mem::replace(&mut self.linked, linked);
        if linked && !was {
            self.way.reached_again(now);
        }
    }
}
