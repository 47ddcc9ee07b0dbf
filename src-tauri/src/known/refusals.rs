//! What is said when the server refuses, cannot be reached, or the client has ended.

use super::seconds_up;
use crate::sentence::Sentence;
use bellwire_client::{ErrorCode, LinkFault, Stop};

/// What was refused, by where this person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Door,
    Room,
    Elsewhere,
}

pub fn refused(code: ErrorCode, retry_after_ms: Option<u64>, place: Where) -> Sentence {
    match (code, place) {
        (ErrorCode::NotFound, Where::Door) => Sentence::RoomRefused {},
        (ErrorCode::RoomFull, Where::Door) => Sentence::RoomFull {},
        (ErrorCode::NotFound, Where::Room) => Sentence::RefusedInRoom {},
        (ErrorCode::NotFound, Where::Elsewhere) => Sentence::RefusedNotFound {},
        (ErrorCode::RoomFull, Where::Room | Where::Elsewhere) => Sentence::RefusedRoomFull {},
        (ErrorCode::AlreadySearching, _) => Sentence::RefusedAlreadySearching {},
        (ErrorCode::TooLarge, _) => Sentence::RefusedTooLong {},
        (ErrorCode::TooEarly, _) => Sentence::RefusedTooEarly {},
        (ErrorCode::TooLate, _) => Sentence::RefusedTooLate {},
        (ErrorCode::BookingCancelled, _) => Sentence::RefusedBookingCancelled {},
        (ErrorCode::InAnotherCall, _) => Sentence::RefusedInAnotherCall {},
        (ErrorCode::OnAnotherDevice, _) => Sentence::RefusedOnAnotherDevice {},
        (ErrorCode::RateLimited, _) => Sentence::RefusedRateLimited { retry_s: retry_after_ms.map(seconds_up) },
        (ErrorCode::Unavailable, _) => Sentence::RefusedUnavailable {},
        (ErrorCode::WrongState | ErrorCode::StaleGeneration, _) => Sentence::RefusedOutOfDate {},
        (ErrorCode::TokenExpired, _) => Sentence::TokenExpired {},
        (ErrorCode::TokenNotYetValid, _) => Sentence::TokenNotYetValid {},
        (ErrorCode::Unauthenticated, _) => Sentence::TokenRefused {},
        (ErrorCode::Replaced, _) => Sentence::Replaced {},
        (ErrorCode::UnsupportedVersion, _) => Sentence::VersionUnsupported {},
        (ErrorCode::BadFrame | ErrorCode::HelloExpected | ErrorCode::Internal, _) => Sentence::RefusedFault {},
    }
}

pub fn stopped(stop: Stop) -> Sentence {
    match stop {
        Stop::TokenRefused { code: ErrorCode::TokenExpired } => Sentence::TokenExpired {},
        Stop::TokenRefused { code: ErrorCode::TokenNotYetValid } => Sentence::TokenNotYetValid {},
        Stop::TokenRefused { code: _ } => Sentence::TokenRefused {},
        Stop::Replaced => Sentence::Replaced {},
        Stop::VersionUnsupported => Sentence::VersionUnsupported {},
        Stop::BadAddress => Sentence::LinkBadServer {},
    }
}

pub fn server_fault(why: LinkFault, retry_s: Option<u32>) -> Sentence {
    match why {
        LinkFault::Unreachable => Sentence::ServerUnreachable { retry_s },
        LinkFault::Tls => Sentence::ServerCertificate { retry_s },
        LinkFault::NotBellwire => Sentence::ServerNotBellwire { retry_s },
        LinkFault::BadAddress => Sentence::ServerAddressBad {},
        LinkFault::Closed | LinkFault::Silent | LinkFault::Gap => Sentence::ServerSilent { retry_s },
        LinkFault::ServerBusy => Sentence::ServerBusy { retry_s },
        LinkFault::Refused(_) => Sentence::ServerRefused { retry_s },
    }
}
