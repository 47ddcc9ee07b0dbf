//! The connection with one member: its generations, whether it carries sound, and when to ask for the next one.

use super::interface::MemberSound;
use crate::endpoint::Monotonic;

/// Between two requests for the next connection, when the last ones came to nothing as often as the place says.
const RENEW_EVERY_MS: [u64; 6] = [1_000, 1_000, 2_000, 4_000, 8_000, 16_000];
/// A connection that does not flow so long after it was opened is given up here, whatever its engine still hopes.
const NO_SOUND_MS: u64 = 20_000;

pub(super) struct Leg {
    pub(super) number: u32,
    pub(super) generation: u32,
    pub(super) offers: bool,
    /// The newest generation on which this member is heard.
    flowing: Option<u32>,
    was_heard: bool,
    /// The next connection is wanted, from this moment.
    renew_at: Option<Monotonic>,
    renewed_at: Option<Monotonic>,
    /// Requests since this member was last heard.
    in_vain: usize,
    /// When this generation will have failed by itself.
    no_sound_at: Monotonic,
}

impl Leg {
    pub(super) fn new(number: u32, generation: u32, offers: bool, now: Monotonic) -> Self {
        Self {
            number,
            generation,
            offers,
            flowing: None,
            was_heard: false,
            renew_at: None,
            renewed_at: None,
            in_vain: 0,
            no_sound_at: now.plus(NO_SOUND_MS),
        }
    }

    pub(super) fn sound(&self) -> MemberSound {
        match (self.flowing, self.was_heard) {
            (Some(_), _) => MemberSound::Heard,
            (None, true) => MemberSound::Lost,
            (None, false) => MemberSound::Connecting,
        }
    }

    pub(super) fn hears(&self) -> bool {
        self.flowing.is_some()
    }

    /// The server named the next connection.
    pub(super) fn advance(&mut self, generation: u32, offers: bool, now: Monotonic) {
        self.generation = generation;
        self.offers = offers;
        self.renew_at = None;
        self.no_sound_at = now.plus(NO_SOUND_MS);
    }

    pub(super) fn flows(&mut self, generation: u32) {
        if generation > self.generation {
            return;
        }
        // Once one flows the engine lets go of the older ones, even if they flow again for a moment.
        self.flowing = self.flowing.max(Some(generation));
        self.was_heard = true;
        if generation == self.generation {
            self.renew_at = None;
            self.in_vain = 0;
        }
    }

    pub(super) fn fails(&mut self, generation: u32, now: Monotonic) {
        self.flowing = self.flowing.filter(|flows| *flows != generation);
        if generation == self.generation {
            self.want_renewal(now);
        }
    }

    pub(super) fn want_renewal(&mut self, now: Monotonic) {
        let every = RENEW_EVERY_MS[self.in_vain.min(RENEW_EVERY_MS.len() - 1)];
        let earliest = self.renewed_at.map_or(now, |at| at.plus(every)).max(now);
        self.renew_at = Some(self.renew_at.unwrap_or(earliest));
    }

    /// The server could not take the request: it is asked again then.
    pub(super) fn renew_at(&mut self, at: Monotonic) {
        self.renew_at = Some(at);
    }

    /// Whether to ask for the next connection now. `reachable`: there is somebody to make it with.
    pub(super) fn is_due(&mut self, reachable: bool, now: Monotonic) -> bool {
        if self.no_sound_at <= now {
            self.no_sound_at = now.plus(NO_SOUND_MS);
            if self.flowing != Some(self.generation) && reachable {
                self.want_renewal(now);
            }
        }
        let due = self.renew_at.is_some_and(|at| at <= now);
        if due {
            self.renew_at = None;
            self.renewed_at = Some(now);
            self.in_vain += 1;
        }
        due
    }

    pub(super) fn renews_at(&self) -> Option<Monotonic> {
        self.renew_at
    }

    /// When it is to be seen whether this generation has come about.
    pub(super) fn no_sound_at(&self) -> Option<Monotonic> {
        (self.flowing != Some(self.generation)).then_some(self.no_sound_at)
    }
}
