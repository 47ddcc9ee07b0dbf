//! Why something is refused, in words, and why the server closes a socket. One place for both.

use bellwire_signaling::{ErrorCode, WireError};

/// A socket's end as the server says it: a refusal without an id, then this close code.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    pub code: u16,
    pub error: WireError,
}

/// The close codes in use; docs/protocol.md explains them.
pub mod close {
    pub const POLICY: u16 = 1008;
    pub const TOO_LARGE: u16 = 1009;
    pub const INTERNAL: u16 = 1011;
    pub const RESTART: u16 = 1012;
    pub const HELLO_EXPECTED: u16 = 4000;
    pub const REPLACED: u16 = 4001;
    pub const UNSUPPORTED_VERSION: u16 = 4002;
    pub const UNAUTHENTICATED: u16 = 4003;
    pub const TOKEN_EXPIRED: u16 = 4004;
    pub const TOO_SLOW: u16 = 4005;
    pub const DEAD: u16 = 4006;
    pub const RATE_LIMITED: u16 = 4007;
}

impl Closing {
    pub fn new(code: u16, error: ErrorCode) -> Self {
        Self { code, error: refusal(error) }
    }

    /// For a hello that was refused.
    pub fn of_hello(error: ErrorCode) -> Self {
        let code = match error {
            ErrorCode::TokenExpired => close::TOKEN_EXPIRED,
            ErrorCode::Unauthenticated | ErrorCode::TokenNotYetValid | ErrorCode::NotFound => close::UNAUTHENTICATED,
            ErrorCode::UnsupportedVersion => close::UNSUPPORTED_VERSION,
            ErrorCode::TooLarge => close::TOO_LARGE,
            ErrorCode::RateLimited => close::RATE_LIMITED,
            ErrorCode::Unavailable => close::RESTART,
            ErrorCode::Internal => close::INTERNAL,
            ErrorCode::Replaced => close::REPLACED,
            ErrorCode::BadFrame
            | ErrorCode::HelloExpected
            | ErrorCode::TooEarly
            | ErrorCode::TooLate
            | ErrorCode::BookingCancelled
            | ErrorCode::InAnotherCall
            | ErrorCode::OnAnotherDevice
            | ErrorCode::WrongState
            | ErrorCode::StaleGeneration
            | ErrorCode::RoomFull
            | ErrorCode::AlreadySearching => close::HELLO_EXPECTED,
        };
        Self::new(code, error)
    }
}

/// The refusal of this code, with the one sentence that belongs to it.
pub fn refusal(code: ErrorCode) -> WireError {
    let message = match code {
        ErrorCode::BadFrame => "this is no message of this protocol",
        ErrorCode::TooLarge => "the frame is too large",
        ErrorCode::UnsupportedVersion => "this version of the protocol is not spoken here",
        ErrorCode::HelloExpected => "a hello was expected first, in time",
        ErrorCode::Unauthenticated => "the token is not accepted",
        ErrorCode::TokenExpired => "the token has expired",
        ErrorCode::TokenNotYetValid => "the token is not valid yet",
        ErrorCode::NotFound => "there is no such thing for this person",
        ErrorCode::TooEarly => "the booking's join window opens later",
        ErrorCode::TooLate => "the booking's join window is over",
        ErrorCode::BookingCancelled => "the booking was cancelled",
        ErrorCode::InAnotherCall => "this person is in another call",
        ErrorCode::OnAnotherDevice => "this person is in this call on another device",
        ErrorCode::WrongState => "the call is in a state in which this cannot be done",
        ErrorCode::StaleGeneration => "the connection's generation is not the newest",
        ErrorCode::RoomFull => "the room has no place left",
        ErrorCode::AlreadySearching => "a search or a match goes on already",
        ErrorCode::RateLimited => "too many messages",
        ErrorCode::Replaced => "the same device signed in again",
        ErrorCode::Unavailable => "the server cannot serve this now",
        ErrorCode::Internal => "the server failed",
    };
    WireError { code, message: message.into(), retry_after_ms: None }
}

/// The code as it travels.
pub fn word(code: ErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => "unknown".into(),
    }
}

pub fn refusal_until(code: ErrorCode, retry_after_ms: u64) -> WireError {
    WireError { retry_after_ms: Some(retry_after_ms), ..refusal(code) }
}
