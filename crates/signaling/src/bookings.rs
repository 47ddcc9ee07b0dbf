//! Bookings and ended calls as an app sees them.

use crate::{BookingId, CallId, CallQuality, ChatLine, Ending, Peer, Readiness, Role, Side, UnixMs};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookingView {
    pub booking: BookingId,
    pub topic: String,
    pub starts_at: UnixMs,
    pub length_ms: u64,
    /// Calls can be made from `opens_at` to `closes_at`.
    pub opens_at: UnixMs,
    pub closes_at: UnixMs,
    pub state: BookingState,
    pub you: Role,
    pub peer: Peer,
    pub presence: Presence,
    /// What the other party's app found when it checked sound and network for this booking.
    #[serde(default)]
    pub peer_readiness: Readiness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookingState {
    Scheduled,
    Cancelled,
    Done,
    NoShowClient,
    NoShowProvider,
}

/// Whether the other party's app can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Presence {
    Online {},
    InAnotherCall {},
    /// `since` is unknown for one who was never there.
    Away {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<UnixMs>,
    },
}

/// A call that is over, as one party finds it in the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    pub call: CallId,
    pub booking: BookingId,
    pub topic: String,
    pub you: Side,
    pub peer: Peer,
    pub invited_at: UnixMs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<UnixMs>,
    pub ended_at: UnixMs,
    pub ending: Ending,
    /// How it sounded on this side, if its app said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<CallQuality>,
    /// The text that both wanted kept, in the order in which it came to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chat: Vec<ChatLine>,
}
