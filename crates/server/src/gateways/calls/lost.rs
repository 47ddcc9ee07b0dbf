//! Seats whose app's connection was lost in a call, until the app is back over this connection or another.

use super::Kept;
use crate::auth::Scope;
use crate::clock;
use bellwire_call::BookedCall;
use bellwire_signaling::limits::RESUME_SECONDS;
use bellwire_signaling::{DeviceId, Side, UnixMs, UserId};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seats kept for one person; of more, the oldest go.
const SEATS: usize = 8;
/// With more people than this, those whose seats are too old are looked for.
const PEOPLE: usize = 1_024;

#[derive(Default)]
pub struct LostSeats(Mutex<HashMap<UserId, Vec<(UnixMs, Kept)>>>);

impl LostSeats {
    /// After a start: of the calls that go on, the seats that older apps had in them.
    pub fn of_calls(calls: &[BookedCall]) -> Self {
        let seats = Self::default();
        for call in calls {
            for side in [Side::Caller, Side::Callee] {
                if let Some(device) = call.device(side).filter(|device| Kept::is_seat(device)) {
                    let user = call.party(side).user.clone();
                    seats.leave(Kept::restored(user, device.clone(), call.booking().clone()));
                }
            }
        }
        seats
    }

    pub(super) fn leave(&self, kept: Kept) {
        let now = clock::now();
        let mut people = self.people();
        if people.len() >= PEOPLE {
            people.retain(|_, seats| {
                seats.retain(|(at, _)| is_good(*at, now));
                !seats.is_empty()
            });
        }
        let seats = people.entry(kept.user.clone()).or_default();
        seats.retain(|(at, _)| is_good(*at, now));
        if seats.len() == SEATS {
            seats.remove(0);
        }
        seats.push((now, kept));
    }

    /// The seat that this person lost last, if this kind of token is good for it.
    pub(super) fn newest(&self, user: &UserId, scope: &Scope) -> Option<Kept> {
        self.take(user, |kept| kept.admits(scope))
    }

    /// This very seat, if nobody took it.
    pub(super) fn of_device(&self, user: &UserId, device: &DeviceId) -> Option<Kept> {
        self.take(user, |kept| kept.device == *device)
    }

    fn take(&self, user: &UserId, is_it: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let now = clock::now();
        let mut people = self.people();
        let seats = people.get_mut(user)?;
        let at = seats.iter().rposition(|(at, kept)| is_good(*at, now) && is_it(kept))?;
        let (_, kept) = seats.remove(at);
        if seats.is_empty() {
            people.remove(user);
        }
        Some(kept)
    }

    fn people(&self) -> MutexGuard<'_, HashMap<UserId, Vec<(UnixMs, Kept)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_good(lost_at: UnixMs, now: UnixMs) -> bool {
    now.since(lost_at) <= RESUME_SECONDS * 1_000
}
