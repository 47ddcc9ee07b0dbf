//! The way to one far side, as calls and rooms treat it alike: which of its connections carry sound, when the next one is
//! wanted, and by which route it goes.
//!
//! Each connection has a generation, which the server counts; a newer one is made beside the older. The next is asked for
//!
//! * because sound is lost: when the newest failed or fell silent, or did not come about in the time that it needs. One
//!   under way is not disturbed, whoever asked for it, and an older one that is heard again makes all well;
//! * because the network is another one, or by the person's wish: at once, however good the sound is;
//! * because sound goes by a relay: now and then, to see whether there is a direct path by now. If not, nothing is lost.
//!
//! Whoever owns a way names the time, sends the requests and opens the connections.

#[cfg(test)]
mod tests;

use crate::endpoint::{Monotonic, Route};
use crate::fault::{Fault, planted};
use std::collections::BTreeMap;

/// Between two requests because the network changed. The last change always counts.
const CHANGES_MS: u64 = 1_000;
/// A request that was neither refused nor followed by a newer connection is made again after this.
const ANSWER_MS: u64 = 4_000;
/// Sound by a relay has been good for so long before a direct path is tried, the first, the second and every later time.
const UPGRADE_MS: [u64; 3] = [15_000, 120_000, 600_000];
/// Connections whose path is remembered: the newest, the one before that is heard still, and some that came to nothing.
const REMEMBERED_PATHS: usize = 8;

/// How long is waited for what.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Between two requests because sound is lost, when the last ones came to nothing as often as the place says.
    pub pace_ms: &'static [u64],
    /// What a connection needs at most from the moment that both have begun it, where that is known.
    pub setup_ms: u64,
    /// From when it was opened here, as long as the other side has not.
    pub unanswered_ms: u64,
}

/// What is known of relays, and what the person wants of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Relays {
    /// Connections go by relays alone.
    pub only: bool,
    pub granted: bool,
}

pub(crate) struct Way {
    times: Times,
    /// The newest connection; 0 before the first.
    generation: u32,
    opened_at: Monotonic,
    /// Since when both sides are at it.
    begun_at: Option<Monotonic>,
    /// By which the newest goes.
    route: Route,
    /// It is there because sound was lost.
    after_loss: bool,
    /// It failed or fell silent.
    dead_since: Option<Monotonic>,
    /// The newest generation that is heard.
    flowing: Option<u32>,
    flows_since: Monotonic,
    relayed: BTreeMap<u32, bool>,
    /// Another connection is wanted from then, whatever is heard.
    wanted_at: Option<Monotonic>,
    /// A request that the server has not followed yet.
    asked: Option<Asked>,
    asked_at: Option<Monotonic>,
    changed_at: Option<Monotonic>,
    /// The server takes no request before.
    held_until: Monotonic,
    /// Requests since the newest was heard.
    in_vain: usize,
    /// Direct paths tried since the network was last another one.
    upgrades: usize,
    upgraded_at: Monotonic,
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    BecauseLost,
    ByWish,
}

impl Way {
    pub(crate) fn new(times: Times, now: Monotonic) -> Self {
        Self {
            times,
            generation: 0,
            opened_at: now,
            begun_at: None,
            route: Route::Any,
            after_loss: false,
            dead_since: None,
            flowing: None,
            flows_since: now,
            relayed: BTreeMap::new(),
            wanted_at: None,
            asked: None,
            asked_at: None,
            changed_at: None,
            held_until: Monotonic::default(),
            in_vain: 0,
            upgrades: 0,
            upgraded_at: now,
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn hears(&self) -> bool {
        self.flowing.is_some()
    }

    pub(crate) fn flowing(&self) -> Option<u32> {
        self.flowing
    }

    /// Whether what is heard goes by a relay.
    pub(crate) fn relayed(&self) -> Option<bool> {
        self.relayed.get(&self.flowing?).copied()
    }

    // What happens.

    /// The server named a newer connection. `lost`: not both sides hear.
    pub(crate) fn advance(&mut self, generation: u32, lost: bool, now: Monotonic) {
        self.after_loss = lost && self.generation > 0 && self.asked != Some(Asked::ByWish);
        if !lost && self.relayed() == Some(true) {
            // It is a try, also where the other side asked for it.
            self.upgrades += usize::from(self.asked.is_none());
            self.upgraded_at = now;
        }
        self.generation = generation;
        self.opened_at = now;
        self.begun_at = None;
        self.dead_since = None;
        self.asked = None;
        // It is made after whatever changed.
        self.wanted_at = None;
        while self.relayed.len() > REMEMBERED_PATHS {
            self.relayed.pop_first();
        }
    }

    /// A connection of which this process has nothing: the next one is for both to make.
    pub(crate) fn take_over(&mut self, generation: u32, now: Monotonic) {
        self.generation = generation;
        self.dead_since = Some(now);
    }

    /// The newest connection is opened, by this route.
    pub(crate) fn open(&mut self, relays: Relays, now: Monotonic) -> Route {
        self.opened_at = now;
        let other_way = self.after_loss && relays.granted && self.route == Route::Any;
        self.route = if (relays.only && !planted(Fault::WishForRelaysIgnored)) || other_way {
            Route::RelayOnly
        } else {
            Route::Any
        };
        self.route
    }

    /// Both sides are at the newest connection; its time begins.
    pub(crate) fn begins(&mut self, now: Monotonic) {
        self.begun_at.get_or_insert(now);
    }

    /// The other side is there again, and sees the newest connection as if it were opened now.
    pub(crate) fn reached_again(&mut self, now: Monotonic) {
        self.opened_at = now;
    }

    pub(crate) fn flows(&mut self, generation: u32, now: Monotonic) {
        if generation > self.generation {
            return;
        }
        // Once one flows the engine lets go of the older ones, even if they flow again for a moment.
        let newest = self.flowing.max(Some(generation));
        if newest != self.flowing {
            self.flowing = newest;
            self.flows_since = now;
        }
        if generation == self.generation {
            self.dead_since = None;
            self.in_vain = 0;
        }
    }

    /// It fell silent or failed. One that is not heard while another is does no harm.
    pub(crate) fn ceases(&mut self, generation: u32, now: Monotonic) {
        self.flowing = self.flowing.filter(|flows| *flows != generation);
        if generation == self.generation {
            self.dead_since.get_or_insert(now);
        }
    }

    pub(crate) fn goes_by(&mut self, generation: u32, relayed: bool, now: Monotonic) {
        let first = self.relayed.insert(generation, relayed).is_none();
        if first && generation == self.generation {
            // It comes about: the rest takes its time as well.
            self.begun_at = Some(now);
        }
    }

    pub(crate) fn network_changed(&mut self, now: Monotonic) {
        if self.generation == 0 || planted(Fault::NetworkChangeIgnored) {
            return;
        }
        let earliest = self.changed_at.map_or(now, |at| at.plus(CHANGES_MS)).max(now);
        self.wanted_at.get_or_insert(earliest);
        self.upgrades = 0;
        self.upgraded_at = now;
    }

    /// Another connection is wanted now.
    pub(crate) fn want(&mut self, now: Monotonic) {
        if self.generation > 0 {
            self.wanted_at = Some(now);
        }
    }

    /// The session is a new one: what was said of a connection under way is lost, and so may be a request.
    pub(crate) fn begin_session(&mut self, now: Monotonic) {
        if self.asked.take() == Some(Asked::ByWish) {
            self.wanted_at.get_or_insert(now);
        }
        if !self.hears() && self.generation > 0 {
            self.dead_since.get_or_insert(now);
        }
    }

    /// The server could not take the request for the next one after `generation`: it is made again then.
    pub(crate) fn refused(&mut self, generation: u32, again_at: Monotonic) {
        if generation != self.generation {
            return;
        }
        self.held_until = again_at;
        if self.asked.take() == Some(Asked::ByWish) {
            self.wanted_at.get_or_insert(again_at);
        }
    }

    // Asking for the next.

    /// Whether to ask for the next connection now. `reachable`: there is somebody to make it with.
    pub(crate) fn is_due(&mut self, relays: Relays, reachable: bool, now: Monotonic) -> bool {
        let come = |at: Option<Monotonic>| at.is_some_and(|at| at <= now);
        let wanted = come(self.wish_due());
        let lost = come(self.loss_due(reachable));
        let upgrade = come(self.upgrade_due(relays));
        if !wanted && !lost && !upgrade {
            return false;
        }
        if wanted {
            self.wanted_at = None;
            self.changed_at = Some(now);
        }
        if lost {
            self.in_vain += 1;
        }
        if upgrade {
            self.upgrades += 1;
            self.upgraded_at = now;
        }
        self.asked = Some(if wanted || upgrade { Asked::ByWish } else { Asked::BecauseLost });
        self.asked_at = Some(now);
        true
    }

    pub(crate) fn next_due(&self, relays: Relays, reachable: bool) -> Option<Monotonic> {
        [self.wish_due(), self.loss_due(reachable), self.upgrade_due(relays)].into_iter().flatten().min()
    }

    fn wish_due(&self) -> Option<Monotonic> {
        self.wanted_at.map(|at| at.max(self.held_until))
    }

    fn loss_due(&self, reachable: bool) -> Option<Monotonic> {
        if self.hears() || self.generation == 0 {
            return None;
        }
        let given_up = match (self.dead_since, self.begun_at) {
            (Some(at), _) => at,
            _ if planted(Fault::ImpatientRenewals) => self.opened_at,
            (None, Some(at)) => at.plus(self.times.setup_ms),
            (None, None) if reachable => self.opened_at.plus(self.times.unanswered_ms),
            (None, None) => return None,
        };
        let pace = self.times.pace_ms;
        let every = if self.asked.is_some() { ANSWER_MS } else { pace[self.in_vain.min(pace.len() - 1)] };
        let paced = self.asked_at.filter(|_| !planted(Fault::RenewalsUnpaced)).map(|at| at.plus(every));
        Some(given_up.max(paced.unwrap_or_default()).max(self.held_until))
    }

    fn upgrade_due(&self, relays: Relays) -> Option<Monotonic> {
        if relays.only || self.relayed() != Some(true) || planted(Fault::NeverUpgrades) {
            return None;
        }
        let after = UPGRADE_MS[self.upgrades.min(UPGRADE_MS.len() - 1)];
        // One under way is a try by itself.
        let settled = self.flowing == Some(self.generation) || self.dead_since.is_some();
        let resolved = if settled { self.opened_at } else { self.opened_at.plus(self.times.unanswered_ms) };
        Some(self.flows_since.max(self.upgraded_at).plus(after).max(resolved).max(self.held_until))
    }
}
