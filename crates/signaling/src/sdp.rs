//! Session descriptions and ICE candidates: carried as they are, checked once before they are relayed.
//!
//! The check is no parser: it says that a text has the lines of RFC 8866, one audio section (and at most one data
//! channel), a DTLS fingerprint, and nothing that a line-based reader could mistake. Neither is ever printed.

use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DescriptionKind {
    Offer,
    Answer,
}

/// A session description that passed the check. Apps of older systems may offer more sections than one of audio; what a
/// native app sends has no others ([`Sdp::new`]).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sdp(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadSdp {
    #[error("the description has more than {} bytes", limits::SDP)]
    TooLarge,
    #[error("the description does not begin with v=0")]
    NoVersion,
    #[error("line {0} of the description is not of the form x=text")]
    BadLine(usize),
    #[error("the description has {0} audio sections instead of one")]
    AudioSections(usize),
    #[error("the description has a section that is neither audio nor a data channel")]
    ForeignSection,
    #[error("the description has no SHA-256 fingerprint")]
    NoFingerprint,
}

impl Sdp {
    /// One audio section, and at most one for a data channel.
    pub fn new(text: impl Into<String>) -> Result<Self, BadSdp> {
        let text = text.into();
        check(&text)?.plain()?;
        Ok(Self(text))
    }
    /// At least one audio section, and any others: what a browser may offer.
    pub fn with_any_sections(text: impl Into<String>) -> Result<Self, BadSdp> {
        let text = text.into();
        let sections = check(&text)?;
        if sections.audio == 0 { Err(BadSdp::AudioSections(0)) } else { Ok(Self(text)) }
    }
    /// For serde: a field that takes what [`Sdp::new`] takes.
    pub(crate) fn deserialize_plain<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sections {
    audio: usize,
    data: usize,
    foreign: usize,
}

impl Sections {
    fn plain(self) -> Result<(), BadSdp> {
        if self.foreign > 0 || self.data > 1 {
            return Err(BadSdp::ForeignSection);
        }
        if self.audio == 1 { Ok(()) } else { Err(BadSdp::AudioSections(self.audio)) }
    }
}

fn check(text: &str) -> Result<Sections, BadSdp> {
    if text.len() > limits::SDP {
        return Err(BadSdp::TooLarge);
    }
    let body = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
    let (mut sections, mut fingerprint) = (Sections::default(), false);
    for (n, line) in body.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bytes = line.as_bytes();
        if n == 0 && line != "v=0" {
            return Err(BadSdp::NoVersion);
        }
        let shaped = bytes.len() >= 2 && bytes[0].is_ascii_lowercase() && bytes[1] == b'=';
        if !shaped || line.chars().any(char::is_control) {
            return Err(BadSdp::BadLine(n + 1));
        }
        if let Some(section) = line.strip_prefix("m=") {
            match section.split(' ').next() {
                Some("audio") => sections.audio += 1,
                Some("application") => sections.data += 1,
                Some(_) | None => sections.foreign += 1,
            }
        }
        fingerprint |= line.to_ascii_lowercase().starts_with("a=fingerprint:sha-256 ");
    }
    if fingerprint { Ok(sections) } else { Err(BadSdp::NoFingerprint) }
}

impl TryFrom<String> for Sdp {
    type Error = BadSdp;
    fn try_from(text: String) -> Result<Self, BadSdp> {
        Self::with_any_sections(text)
    }
}

impl From<Sdp> for String {
    fn from(sdp: Sdp) -> String {
        sdp.0
    }
}

impl fmt::Debug for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sdp({} bytes)", self.0.len())
    }
}

/// One ICE candidate (RFC 8839, 5.1), with the media section it belongs to. W3C's RTCIceCandidateInit.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub candidate: CandidateLine,
    #[serde(default, rename = "sdpMid", skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    #[serde(rename = "sdpMLineIndex")]
    pub sdp_m_line_index: u16,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({:?})", self.candidate.reach())
    }
}

/// A `candidate:` line that passed the check.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CandidateLine(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a candidate is one line of at most {} bytes of the form of RFC 8839, 5.1", limits::CANDIDATE)]
pub struct BadCandidate;

/// How far a candidate's address reaches, for the policy of those who relay it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Loopback or unspecified: this machine.
    Machine,
    /// 169.254.0.0/16 or fe80::/10, where clouds keep their metadata service.
    Link,
    /// Anything else that is an address.
    Network,
    /// An mDNS name (`.local`), as browsers make.
    Name,
}

impl CandidateLine {
    pub fn new(text: impl Into<String>) -> Result<Self, BadCandidate> {
        let text = text.into();
        let plain = text.len() <= limits::CANDIDATE && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let line = Self(text);
        if plain && line.is_well_formed() { Ok(line) } else { Err(BadCandidate) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn reach(&self) -> Reach {
        match self.field(4).map(str::parse::<IpAddr>) {
            Some(Ok(address)) => reach_of(address),
            Some(Err(_)) | None => Reach::Name,
        }
    }

    /// `candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type> ...`
    fn is_well_formed(&self) -> bool {
        let number = |n: usize, most: u64| self.field(n).and_then(|f| f.parse::<u64>().ok()).is_some_and(|v| v <= most);
        let address = self.field(4).unwrap_or_default();
        let named = address
            .strip_suffix(".local")
            .is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        self.0.starts_with("candidate:")
            && number(1, 256)
            && self.field(2).is_some_and(|t| t.eq_ignore_ascii_case("udp") || t.eq_ignore_ascii_case("tcp"))
            && number(3, u64::from(u32::MAX))
            && (address.parse::<IpAddr>().is_ok() || named)
            && number(5, 65_535)
            && self.field(6) == Some("typ")
            && matches!(self.field(7), Some("host" | "srflx" | "prflx" | "relay"))
    }

    fn field(&self, n: usize) -> Option<&str> {
        self.0.split(' ').nth(n)
    }
}

fn reach_of(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let link = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if address.is_loopback() || address.is_unspecified() {
        Reach::Machine
    } else if link {
        Reach::Link
    } else {
        Reach::Network
    }
}

impl TryFrom<String> for CandidateLine {
    type Error = BadCandidate;
    fn try_from(text: String) -> Result<Self, BadCandidate> {
        Self::new(text)
    }
}

impl From<CandidateLine> for String {
    fn from(line: CandidateLine) -> String {
        line.0
    }
}

impl fmt::Debug for CandidateLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CandidateLine({:?})", self.reach())
    }
}
