//! What people's apps found when they checked for a booking: kept in memory while the booking is open, and told to the
//! other party alone.

use super::desk::{Desk, Parcel};
use crate::auth::Scope;
use bellwire_call::Who;
use bellwire_signaling::{BookingId, ErrorCode, Event, Readiness, Reply, UnixMs, UserId};
use std::collections::HashMap;

/// The newest word of each party of each booking. It holds no more than twice the open bookings of people who are here.
#[derive(Default)]
pub(super) struct Ready(HashMap<(BookingId, UserId), Told>);

struct Told {
    readiness: Readiness,
    /// When the booking is over.
    until: UnixMs,
}

impl Ready {
    pub fn of(&self, booking: &BookingId, user: &UserId) -> Readiness {
        self.0.get(&(booking.clone(), user.clone())).map_or(Readiness::Unknown, |told| told.readiness)
    }

    pub fn forget_closed(&mut self, now: UnixMs) {
        self.0.retain(|_, told| told.until > now);
    }

    fn set(&mut self, booking: BookingId, user: UserId, told: Told) {
        match told.readiness {
            Readiness::Unknown => drop(self.0.remove(&(booking, user))),
            Readiness::Ready | Readiness::HasProblem => drop(self.0.insert((booking, user), told)),
        }
    }
}

impl Desk {
    /// For a party of an open booking alone; one of others is as one that does not exist.
    pub(super) fn note_readiness(
        &mut self,
        who: &Who,
        scope: &Scope,
        booking: &BookingId,
        readiness: Readiness,
        now: UnixMs,
    ) -> Result<Reply, ErrorCode> {
        let ties = self.people.get(&who.user).map(|person| person.ties.as_slice()).unwrap_or_default();
        let tie = ties.iter().find(|tie| tie.booking == *booking && tie.closes_at > now);
        let tie = tie.filter(|_| scope.admits_booking(booking)).ok_or(ErrorCode::NotFound)?;
        let (peer, until) = (tie.peer.clone(), tie.closes_at);
        if self.ready.of(booking, &who.user) != readiness {
            self.ready.set(booking.clone(), who.user.clone(), Told { readiness, until });
            for to in self.devices_of(&peer) {
                let event = Event::Readiness { booking: booking.clone(), readiness };
                self.outbox.push(Parcel::Event { to, event });
            }
        }
        Ok(Reply::Done {})
    }
}
