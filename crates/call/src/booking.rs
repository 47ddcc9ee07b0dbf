//! A booking: two people, a time, and the window in which they may call.

use crate::fault::{Fault, planted};
use bellwire_signaling::{BookingId, BookingState, ErrorCode, Handle, Peer, Role, UnixMs, UserId};
use serde::{Deserialize, Serialize};

/// The join window where the operator sets none: 10 minutes before the start to 15 after the end.
pub const OPENS_BEFORE_MS: u64 = 10 * 60_000;
pub const CLOSES_AFTER_MS: u64 = 15 * 60_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    pub id: BookingId,
    pub client: Person,
    pub provider: Person,
    pub starts_at: UnixMs,
    pub length_ms: u64,
    pub topic: String,
    pub state: BookingState,
    pub opens_before_ms: u64,
    pub closes_after_ms: u64,
    pub reschedulable: bool,
}

/// One of the two. The handle is made anew for each booking; it alone is shown to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub user: UserId,
    pub handle: Handle,
    pub name: String,
}

impl Booking {
    pub fn opens_at(&self) -> UnixMs {
        self.starts_at.minus(self.opens_before_ms)
    }

    pub fn closes_at(&self) -> UnixMs {
        self.starts_at.plus(self.length_ms).plus(self.closes_after_ms)
    }

    pub fn person(&self, role: Role) -> &Person {
        match role {
            Role::Client => &self.client,
            Role::Provider => &self.provider,
        }
    }

    /// What this user is in the booking; nothing for a stranger.
    pub fn role_of(&self, user: &UserId) -> Option<Role> {
        [Role::Client, Role::Provider].into_iter().find(|role| self.person(*role).user == *user)
    }

    /// How `role` appears to the other party.
    pub fn peer(&self, role: Role) -> Peer {
        let person = self.person(role);
        Peer { handle: person.handle.clone(), name: person.name.clone(), role }
    }

    /// Whether `user` may call now. A stranger gets the answer of a booking that does not exist.
    pub fn admits(&self, user: &UserId, now: UnixMs) -> Result<Role, ErrorCode> {
        let role = self.role_of(user).ok_or(ErrorCode::NotFound)?;
        match self.state {
            BookingState::Cancelled => Err(ErrorCode::BookingCancelled),
            BookingState::Scheduled
            | BookingState::Done
            | BookingState::NoShowClient
            | BookingState::NoShowProvider => {
                if planted(Fault::WindowIgnored) {
                    Ok(role)
                } else if now < self.opens_at() {
                    Err(ErrorCode::TooEarly)
                } else if now >= self.closes_at() {
                    Err(ErrorCode::TooLate)
                } else {
                    Ok(role)
                }
            }
        }
    }
}
