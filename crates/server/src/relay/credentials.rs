//! Credentials that need no store: `EXPIRY:HANDLE`, and its HMAC-SHA1 under a secret that issuer and relay share
//! (draft-uberti-behave-turn-rest-00). Two secrets live at a time, so that one can be replaced without a gap.

use crate::config::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use stun_types::message::{IntegrityAlgorithm, IntegrityKey, LongTermCredentials};

/// For how long a credential opens allocations; those that live then go on.
pub const LIFETIME_S: u64 = 20 * 60;
pub const REALM: &str = "bellwire";
const USERNAME_MOST: usize = 128;
/// Bytes of a handle: enough that two people never share one.
const HANDLE: usize = 10;

/// The key of a message's integrity (RFC 8489, section 9.2.2).
pub type Key = IntegrityKey;

pub struct Secrets {
    current: Secret,
    previous: Option<Secret>,
}

/// What a username says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub expires_s: u64,
    pub handle: &'a str,
}

impl Secrets {
    pub fn new(current: Secret, previous: Option<Secret>) -> Self {
        Self { current, previous }
    }

    /// Username and credential for whoever `subject` names, as the relay sees them: it learns a handle that tells nothing.
    pub fn issue(&self, subject: &str, now_s: u64) -> (String, String) {
        let own = hmac_sha1(self.current.reveal().as_bytes(), &[b"bellwire relay handle"]);
        let handle = hex(&hmac_sha1(&own, &[subject.as_bytes()])[..HANDLE]);
        let username = format!("{}:{handle}", now_s.saturating_add(LIFETIME_S));
        let credential = credential(&self.current, &username);
        (username, credential)
    }

    /// The keys that this username may have, the newest first.
    pub fn keys(&self, username: &str) -> impl Iterator<Item = Key> {
        let secrets = std::iter::once(&self.current).chain(&self.previous);
        secrets.map(move |secret| key(username, &credential(secret, username)))
    }
}

impl<'a> Claim<'a> {
    pub fn of(username: &'a str) -> Option<Self> {
        let (expires, handle) = username.split_once(':')?;
        let is_number = expires.bytes().all(|b| b.is_ascii_digit());
        let is_handle = !handle.is_empty() && handle.bytes().all(|b| b.is_ascii_graphic());
        (username.len() <= USERNAME_MOST && is_number && is_handle).then_some(())?;
        Some(Self { expires_s: expires.parse().ok()?, handle })
    }
}

pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(key) else {
        // HMAC takes keys of any length.
        return [0; 20];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn credential(secret: &Secret, username: &str) -> String {
    BASE64_STANDARD.encode(hmac_sha1(secret.reveal().as_bytes(), &[username.as_bytes()]))
}

fn key(username: &str, credential: &str) -> Key {
    let credentials = LongTermCredentials::new(username.to_owned(), credential.to_owned());
    credentials.to_key(REALM.to_owned()).make_key(IntegrityAlgorithm::Sha1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        text.to_owned().into()
    }

    #[test]
    fn credential_is_what_other_relays_expect() {
        // Computed with OpenSSL: printf 1700000000:alice | openssl dgst -sha1 -hmac SECRET -binary | base64
        assert_eq!(credential(&secret("north"), "1700000000:alice"), "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
    }

    #[test]
    fn handle_is_of_one_person_and_tells_nothing() {
        let secrets = Secrets::new(secret("a"), None);
        let (first, _) = secrets.issue("ana@example.org", 1_000);
        let (again, _) = secrets.issue("ana@example.org", 1_060);
        let (other, _) = secrets.issue("ben", 1_000);
        let handle = |username: &str| Claim::of(username).expect("a claim").handle.to_owned();
        assert_eq!(handle(&first), handle(&again));
        assert_ne!(handle(&first), handle(&other));
        assert!(!first.contains("ana") && first.starts_with("2200:"), "{first}");
    }

    #[test]
    fn previous_secret_still_opens() {
        let (username, credential) = Secrets::new(secret("old"), None).issue("ana", 0);
        let key = key(&username, &credential);
        assert!(Secrets::new(secret("new"), Some(secret("old"))).keys(&username).any(|each| each == key));
        assert!(!Secrets::new(secret("new"), None).keys(&username).any(|each| each == key));
    }

    #[test]
    fn usernames_of_another_form_claim_nothing() {
        for bad in ["", "ana", "12", "12:", ":ana", "1x:ana", "-1:ana", "99999999999999999999999:ana", "1:a b"] {
            assert_eq!(Claim::of(bad), None, "{bad}");
        }
        assert_eq!(Claim::of(&format!("1:{}", "a".repeat(USERNAME_MOST))), None);
        assert_eq!(Claim::of("12:a:b"), Some(Claim { expires_s: 12, handle: "a:b" }));
    }
}
