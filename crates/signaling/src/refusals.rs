//! Why the server refuses something.

use serde::{Deserialize, Serialize};

/// Why something was refused. `message` is a sentence for logs and developers; apps show their own by `code`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireError {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame is no message of this protocol.
    BadFrame,
    TooLarge,
    UnsupportedVersion,
    /// The first frame was none, or came too late.
    HelloExpected,
    Unauthenticated,
    TokenExpired,
    TokenNotYetValid,
    /// There is no such thing for this person. The same answer whether it exists or not.
    NotFound,
    /// The booking's join window opens later.
    TooEarly,
    /// The booking's join window is over.
    TooLate,
    BookingCancelled,
    /// This person is in another call.
    InAnotherCall,
    /// This person is in this call on another device.
    OnAnotherDevice,
    /// The call is in a state in which this cannot be done.
    WrongState,
    /// The generation is not the call's newest.
    StaleGeneration,
    /// The room has no place left.
    RoomFull,
    /// Already searching, or matched.
    AlreadySearching,
    RateLimited,
    /// The same device signed in again; this socket is closed.
    Replaced,
    /// The server cannot serve now; try again after `retry_after_ms`.
    Unavailable,
    Internal,
}
