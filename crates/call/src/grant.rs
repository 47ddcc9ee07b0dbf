//! The relays that the server grants: asked for as soon as there is something to use them for, and again before they
//! expire. A refusal stops nothing: one goes on without and asks again later.

use crate::endpoint::Monotonic;
use bellwire_signaling::{CommandId, IceServer, Purpose};

/// A connection is opened without an answer after this: only a server that is far away, or does not answer, takes as long.
pub(crate) const WAIT_MS: u64 = 2_000;
/// The same where a direct path would tell a stranger this device's address.
pub(crate) const PRIVATE_WAIT_MS: u64 = 3_000;
/// After a refusal that names no time, the first and every later one.
const AGAIN_MS: [u64; 4] = [5_000, 10_000, 20_000, 60_000];
/// However soon they expire, one does not ask more often.
const LEAST_MS: u64 = 10_000;

#[derive(Default)]
pub(crate) struct Grant {
    purpose: Option<Purpose>,
    /// On its way to the server.
    asked: Option<CommandId>,
    ask_at: Option<Monotonic>,
    known: bool,
    /// Refusals in a row.
    refused: usize,
    has_relay: bool,
}

impl Grant {
    /// What relays are wanted for now.
    pub(crate) fn follow(&mut self, purpose: Option<Purpose>, now: Monotonic) {
        if self.purpose != purpose {
            let ask_at = purpose.is_some().then_some(now);
            *self = Self { purpose, ask_at, ..Self::default() };
        }
    }

    /// What to ask for now; to be followed by [`Self::ask`].
    pub(crate) fn wanted(&self, now: Monotonic) -> Option<Purpose> {
        self.asks_at().filter(|at| *at <= now).and(self.purpose.clone())
    }

    pub(crate) fn ask(&mut self, id: CommandId) {
        self.asked = Some(id);
        self.ask_at = None;
    }

    pub(crate) fn asks_at(&self) -> Option<Monotonic> {
        self.ask_at
    }

    /// Whether the answer is that to our question.
    pub(crate) fn answered(&mut self, id: &CommandId, servers: &[IceServer], lifetime_ms: u64, now: Monotonic) -> bool {
        if self.asked.as_ref() != Some(id) {
            return false;
        }
        let relays = |server: &IceServer| server.urls.iter().any(|url| url.starts_with("turn"));
        self.asked = None;
        self.ask_at = Some(now.plus((lifetime_ms / 2).max(LEAST_MS)));
        self.known = true;
        self.refused = 0;
        self.has_relay = servers.iter().any(relays);
        true
    }

    pub(crate) fn refused(&mut self, id: &CommandId, retry_after_ms: Option<u64>, now: Monotonic) {
        if self.asked.as_ref() == Some(id) {
            let usual = AGAIN_MS[self.refused.min(AGAIN_MS.len() - 1)];
            self.asked = None;
            self.ask_at = Some(now.plus(retry_after_ms.unwrap_or(usual)));
            self.known = true;
            self.refused += 1;
        }
    }

    /// What was asked in the old session may be lost.
    pub(crate) fn begin_session(&mut self, now: Monotonic) {
        self.asked = None;
        self.ask_at = self.purpose.is_some().then_some(now);
    }

    /// What was refused is to be had by now.
    pub(crate) fn ask_anew(&mut self, now: Monotonic) {
        if self.refused > 0 && self.asked.is_none() {
            self.known = false;
            self.ask_at = Some(now);
        }
    }

    /// The server has answered, or will not.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    pub(crate) fn has_relay(&self) -> bool {
        self.has_relay
    }
}
