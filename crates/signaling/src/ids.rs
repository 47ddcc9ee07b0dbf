//! Typed ids. Every id is a short printable text; those that the server makes hold 128 random bits.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an id has 1 to {} letters, digits or any of -_.:@|+", crate::limits::ID)]
pub struct BadId;

fn check(text: &str) -> Result<(), BadId> {
    let fits = (1..=crate::limits::ID).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@|+".contains(&b));
    if fits && plain { Ok(()) } else { Err(BadId) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            pub fn new(text: impl AsRef<str>) -> Result<Self, BadId> {
                check(text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }
            /// An id of 128 bits, as 32 hexadecimal digits after this kind's letter.
            pub fn from_bits(bits: u128) -> Self {
                Self(format!("{}{bits:032x}", &stringify!($name)[..1].to_ascii_lowercase()).into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A person, as the operator's system names them (the token's `sub`). Never shown to the other party.
    UserId
);
id!(
    /// One installation of one app; chosen by the app at its first start and kept.
    DeviceId
);
id!(BookingId);
id!(CallId);
id!(RoomId);
id!(
    /// One check before a call.
    CheckId
);
id!(
    /// Names a person to the others, for one booking, room or match; useless elsewhere.
    Handle
);
id!(
    /// A command of a client, so that a repeat is known as one. Unique for its device.
    CommandId
);
id!(
    /// One press of the call button: an invite that is repeated makes no second call.
    AttemptId
);

/// What resumes a session. A secret: whoever holds it is that session.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

/// What a client proves itself with. A secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

macro_rules! secret {
    ($name:ident, $limit:expr) => {
        impl $name {
            pub fn new(text: impl Into<String>) -> Result<Self, BadSecret> {
                let text = text.into();
                let plain = text.bytes().all(|b| b.is_ascii_graphic());
                if plain && (1..=$limit).contains(&text.len()) { Ok(Self(text)) } else { Err(BadSecret) }
            }
            /// The secret itself: for the wire and for checking, never for a log.
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadSecret;
            fn try_from(text: String) -> Result<Self, BadSecret> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(secret: $name) -> String {
                secret.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}
/// What a TURN server asks for beside a username. A secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Credential(String);

secret!(SessionId, crate::limits::ID);
secret!(Credential, crate::limits::ID);
secret!(Token, crate::limits::TOKEN);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token or session is 1 to {} printable letters without spaces", crate::limits::TOKEN)]
pub struct BadSecret;

/// A moment by the server's clock: milliseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    pub fn minus(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
    /// Milliseconds from `earlier` to this moment; 0 if it is not earlier.
    pub fn since(self, earlier: UnixMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
