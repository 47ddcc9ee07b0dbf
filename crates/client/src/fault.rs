//! Why the server cannot be had now, each so that a person can be told in one sentence.

use bellwire_signaling::{ErrorCode, WireError};
use std::time::Duration;
use thiserror::Error;
use tokio_tungstenite::tungstenite;
use tungstenite::http::{StatusCode, header::RETRY_AFTER};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkFault {
    /// No such name, nobody listens there, or no way to it.
    #[error("the server cannot be reached")]
    Unreachable,
    /// Somebody listens, but not with a certificate that this machine trusts.
    #[error("the server's certificate is not trusted by this machine")]
    Tls,
    /// Something else than a Bellwire server answers there.
    #[error("there is no Bellwire server at this address")]
    NotBellwire,
    /// The address is neither ws:// nor wss://.
    #[error("the server's address is not of the form ws://HOST or wss://HOST")]
    BadAddress,
    /// The connection was lost.
    #[error("the connection to the server was lost")]
    Closed,
    /// Nothing came in for so long that the connection counts as lost.
    #[error("the server does not answer")]
    Silent,
    /// The server asks to come back later.
    #[error("the server is busy")]
    ServerBusy,
    /// The server refused the connection, not the person.
    #[error("the server refused the connection ({0:?})")]
    Refused(ErrorCode),
    /// The server skipped something that it should have told; the state is fetched anew.
    #[error("the server's messages were not complete")]
    Gap,
}

/// A fault, and how long the server wants to be left alone.
#[derive(Debug)]
pub(crate) struct Lost {
    pub why: LinkFault,
    pub retry_after: Option<Duration>,
}

impl From<LinkFault> for Lost {
    fn from(why: LinkFault) -> Self {
        Self { why, retry_after: None }
    }
}

/// What an error means that came before the socket stood.
pub(crate) fn while_connecting(error: tungstenite::Error) -> Lost {
    use tungstenite::Error;
    tracing::debug!(%error, "no socket");
    match error {
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => LinkFault::Tls.into(),
        Error::Io(_) => LinkFault::Unreachable.into(),
        Error::Tls(_) => LinkFault::Tls.into(),
        Error::Http(response) => match response.status() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
                Lost { why: LinkFault::ServerBusy, retry_after }
            }
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => LinkFault::Unreachable.into(),
            _ => LinkFault::NotBellwire.into(),
        },
        Error::Url(_) => LinkFault::BadAddress.into(),
        Error::Protocol(_) | Error::HttpFormat(_) | Error::Utf8(_) | Error::AttackAttempt | Error::Capacity(_) => {
            LinkFault::NotBellwire.into()
        }
        Error::ConnectionClosed | Error::AlreadyClosed | Error::WriteBufferFull(_) => LinkFault::Closed.into(),
    }
}

/// What a refusal of the socket itself means.
pub(crate) fn of_wire(error: &WireError) -> Lost {
    let retry_after = error.retry_after_ms.map(Duration::from_millis);
    let why = match error.code {
        ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Internal => LinkFault::ServerBusy,
        ErrorCode::BadFrame
        | ErrorCode::TooLarge
        | ErrorCode::UnsupportedVersion
        | ErrorCode::HelloExpected
        | ErrorCode::Unauthenticated
        | ErrorCode::TokenExpired
        | ErrorCode::TokenNotYetValid
        | ErrorCode::NotFound
        | ErrorCode::TooEarly
        | ErrorCode::TooLate
        | ErrorCode::BookingCancelled
        | ErrorCode::InAnotherCall
        | ErrorCode::OnAnotherDevice
        | ErrorCode::WrongState
        | ErrorCode::StaleGeneration
        | ErrorCode::RoomFull
        | ErrorCode::AlreadySearching
        | ErrorCode::Replaced => LinkFault::Refused(error.code),
    };
    Lost { why, retry_after }
}
