//! The bytes of STUN and TURN (RFC 8489, RFC 8656), as far as a relay between its own allocations needs them.
//!
//! Reading is strict: a message whose lengths do not add up exactly is no message, and what stands behind the integrity is
//! not looked at. Nothing here keeps a state.

use super::credentials::{Key, hmac_sha1};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq as _;

/// No packet of a call is larger; what is, is dropped.
pub const PACKET_MOST: usize = 2_048;
/// Of a STUN message; a channel's is [`CHANNEL_HEADER`].
pub const HEADER: usize = 20;
pub const CHANNEL_HEADER: usize = 4;
/// RFC 8656, section 12.
pub const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const FINGERPRINT_XOR: u32 = 0x5354_554E;

pub mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    pub const LIFETIME: u16 = 0x000D;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const DATA: u16 = 0x0013;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const FINGERPRINT: u16 = 0x8028;
}
use attribute::{FINGERPRINT, MESSAGE_INTEGRITY};

/// Attributes that must be understood, and are. The last three are ICE's, sent by some with a plain Binding.
const UNDERSTOOD: [u16; 12] = [
    attribute::USERNAME,
    MESSAGE_INTEGRITY,
    attribute::CHANNEL_NUMBER,
    attribute::LIFETIME,
    attribute::XOR_PEER_ADDRESS,
    attribute::DATA,
    attribute::REALM,
    attribute::NONCE,
    attribute::REQUESTED_ADDRESS_FAMILY,
    attribute::REQUESTED_TRANSPORT,
    0x0024,
    0x0025,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Binding,
    Allocate,
    Refresh,
    CreatePermission,
    ChannelBind,
}

#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    Request(Method, Message<'a>),
    /// A Send indication.
    Send(Message<'a>),
    Channel {
        number: u16,
        data: &'a [u8],
    },
}

/// A message whose form was checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins, or the message ends.
    end: usize,
    integrity: Option<&'a [u8]>,
}

impl Method {
    fn number(self) -> u16 {
        match self {
            Self::Binding => 1,
            Self::Allocate => 3,
            Self::Refresh => 4,
            Self::CreatePermission => 8,
            Self::ChannelBind => 9,
        }
    }
}

impl<'a> Packet<'a> {
    /// None for what a relay is not told: responses, other methods, and everything that is not well formed.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let kind = u16::from_be_bytes(bytes.first_chunk().copied()?);
        if CHANNELS.contains(&kind) {
            let length = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
            let data = bytes.get(CHANNEL_HEADER..CHANNEL_HEADER + length)?;
            return Some(Self::Channel { number: kind, data });
        }
        let message = Message::read(bytes)?;
        let request = |method| Some(Self::Request(method, message));
        match kind {
            0x0001 => request(Method::Binding),
            0x0003 => request(Method::Allocate),
            0x0004 => request(Method::Refresh),
            0x0008 => request(Method::CreatePermission),
            0x0009 => request(Method::ChannelBind),
            0x0016 => Some(Self::Send(message)),
            0x0002 | 0x0005..=0x0007 | 0x000A..=0x0015 | 0x0017.. | 0 => None,
        }
    }

    /// The length of the packet that these first bytes of a stream begin, and of its padding; none if no packet begins so.
    pub fn length_in_stream(first: [u8; CHANNEL_HEADER]) -> Option<(usize, usize)> {
        let length = usize::from(u16::from_be_bytes([first[2], first[3]]));
        let whole = match first[0] {
            0..0x40 if length.is_multiple_of(4) => HEADER + length,
            0x40..0x50 => CHANNEL_HEADER + length,
            _ => return None,
        };
        (whole <= PACKET_MOST).then(|| (whole, padding(whole)))
    }
}

/// Bytes up to the next multiple of four.
pub fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
        let is_whole = bytes.len() == HEADER + length && length.is_multiple_of(4) && bytes.get(4..8)? == COOKIE;
        is_whole.then_some(())?;
        let mut message = Self { bytes, end: bytes.len(), integrity: None };
        let mut at = HEADER;
        while at < bytes.len() {
            let (kind, value, next) = message.attribute(at)?;
            if kind == MESSAGE_INTEGRITY && message.integrity.is_none() {
                (value.len() == 20).then_some(())?;
                message.integrity = Some(value);
                message.end = at;
            }
            at = next;
        }
        Some(message)
    }

    fn attribute(&self, at: usize) -> Option<(u16, &'a [u8], usize)> {
        let head: [u8; 4] = self.bytes.get(at..at + 4)?.try_into().ok()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = self.bytes.get(at + 4..at + 4 + length)?;
        let next = at + 4 + length + padding(length);
        (next <= self.bytes.len()).then(|| (u16::from_be_bytes([head[0], head[1]]), value, next))
    }

    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let (message, mut at) = (*self, HEADER);
        std::iter::from_fn(move || {
            let (kind, value, next) = (at < message.end).then(|| message.attribute(at)).flatten()?;
            at = next;
            Some((kind, value))
        })
    }

    pub fn transaction(&self) -> [u8; 12] {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        id
    }

    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(each, _)| *each == kind).map(|(_, value)| value)
    }

    pub fn text(&self, kind: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The addresses of this kind; none for each that is not one.
    pub fn addresses(&self, kind: u16) -> impl Iterator<Item = Option<SocketAddr>> {
        let transaction = self.transaction();
        self.attributes().filter(move |(each, _)| *each == kind).map(move |(_, value)| unmask(value, &transaction))
    }

    /// Attributes that would have to be understood.
    pub fn unknown(&self) -> Vec<u16> {
        let mut unknown: Vec<u16> = self.attributes().map(|(kind, _)| kind).filter(|kind| *kind < 0x8000).collect();
        unknown.retain(|kind| !UNDERSTOOD.contains(kind));
        unknown.truncate(8);
        unknown
    }

    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether who made the message has this key.
    pub fn is_from(&self, key: &Key) -> bool {
        let Some(integrity) = self.integrity else { return false };
        let length = ((self.end - HEADER + 24) as u16).to_be_bytes();
        let expected = hmac_sha1(key, &[&self.bytes[..2], &length, &self.bytes[4..self.end]]);
        bool::from(expected.ct_eq(integrity))
    }
}

/// A message being written into `out`, which is emptied first.
pub struct Writing<'b> {
    out: &'b mut Vec<u8>,
    transaction: [u8; 12],
}

impl<'b> Writing<'b> {
    pub fn success(out: &'b mut Vec<u8>, method: Method, to: &Message<'_>) -> Self {
        Self::begin(out, 0x0100 | method.number(), to.transaction())
    }

    pub fn error(out: &'b mut Vec<u8>, method: Method, to: &Message<'_>, code: u16, reason: &str) -> Self {
        let mut writing = Self::begin(out, 0x0110 | method.number(), to.transaction());
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        writing.attribute(attribute::ERROR_CODE, &value);
        writing
    }

    /// A Data indication.
    pub fn data(out: &'b mut Vec<u8>, transaction: [u8; 12], from: SocketAddr, data: &[u8]) {
        let mut writing = Self::begin(out, 0x0017, transaction);
        writing.address(attribute::XOR_PEER_ADDRESS, from);
        writing.attribute(attribute::DATA, data);
        writing.set_length(0);
    }

    fn begin(out: &'b mut Vec<u8>, kind: u16, transaction: [u8; 12]) -> Self {
        out.clear();
        out.extend(kind.to_be_bytes());
        out.extend([0, 0]);
        out.extend(COOKIE);
        out.extend(transaction);
        Self { out, transaction }
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.out.extend(kind.to_be_bytes());
        self.out.extend((value.len() as u16).to_be_bytes());
        self.out.extend(value);
        self.out.extend(&[0; 3][..padding(value.len())]);
    }

    pub fn address(&mut self, kind: u16, address: SocketAddr) {
        let value = mask(address, &self.transaction);
        self.attribute(kind, &value);
    }

    /// Ends it, with integrity for who has the key.
    pub fn finish(mut self, key: Option<&Key>) {
        if let Some(key) = key {
            self.set_length(24);
            let integrity = hmac_sha1(key, &[self.out]);
            self.attribute(MESSAGE_INTEGRITY, &integrity);
        }
        self.set_length(8);
        let sum = crc32fast::hash(self.out) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &sum.to_be_bytes());
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.out.len() - HEADER + more) as u16;
        self.out[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

pub fn write_channel(out: &mut Vec<u8>, number: u16, data: &[u8]) {
    out.clear();
    out.extend(number.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
}

/// RFC 8489, section 14.2: the cookie and the transaction's id hide addresses from middle boxes that rewrite them.
fn mask(address: SocketAddr, transaction: &[u8; 12]) -> Vec<u8> {
    let (family, octets) = match address.ip() {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(address.port().to_be_bytes().iter().zip(COOKIE).map(|(a, b)| a ^ b));
    value.extend(octets.iter().zip(COOKIE.iter().chain(transaction)).map(|(a, b)| a ^ b));
    value
}

fn unmask(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([value.get(2)? ^ COOKIE[0], value.get(3)? ^ COOKIE[1]]);
    let octets: Vec<u8> = value[4..].iter().zip(COOKIE.iter().chain(transaction)).map(|(a, b)| a ^ b).collect();
    let address: IpAddr = match (value[1], value.len()) {
        (1, 8) => <[u8; 4]>::try_from(octets).ok()?.into(),
        (2, 20) => <[u8; 16]>::try_from(octets).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [7; 16];

    /// A request, written by hand.
    fn request(kind: u16, attributes: &[(u16, &[u8])], key: Option<&Key>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writing = Writing::begin(&mut out, kind, [3; 12]);
        for (kind, value) in attributes {
            writing.attribute(*kind, value);
        }
        writing.finish(key);
        out
    }

    fn message(bytes: &[u8]) -> Message<'_> {
        match Packet::read(bytes) {
            Some(Packet::Request(_, message) | Packet::Send(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_masked_as_in_the_samples_of_rfc_5769() {
        // Section 2.2.
        let v4 = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        assert_eq!(unmask(&v4, &id), Some("192.0.2.1:32853".parse().expect("an address")));
        assert_eq!(mask("192.0.2.1:32853".parse().expect("an address"), &id), v4);
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        assert_eq!(unmask(&mask(v6, &id), &id), Some(v6));
    }

    #[test]
    fn integrity_is_of_the_key_and_of_every_byte_before_it() {
        let bytes = request(3, &[(attribute::USERNAME, b"12:ana")], Some(&KEY));
        assert!(message(&bytes).is_from(&KEY) && !message(&bytes).is_from(&[8; 16]));
        assert!(!message(&request(3, &[], None)).is_from(&KEY));
        for at in [8, 25, 30] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(!message(&bytes).is_from(&KEY), "byte {at}");
        }
    }

    #[test]
    fn what_stands_behind_the_integrity_is_not_seen() {
        let mut bytes = request(4, &[], Some(&KEY));
        bytes.extend([0, 0x0D, 0, 4, 0, 0, 0, 0]);
        let length = (bytes.len() - HEADER) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        assert!(message(&bytes).is_from(&KEY));
        assert_eq!(message(&bytes).number(attribute::LIFETIME), None);
    }

    #[test]
    fn lengths_that_do_not_add_up_are_no_message() {
        let good = request(1, &[(attribute::REALM, b"abcde")], None);
        assert!(Packet::read(&good).is_some());
        for length in 0..good.len() {
            assert!(Packet::read(&good[..length]).is_none(), "{length}");
        }
        // An attribute whose padding would lie behind the end.
        let mut short = good[..HEADER].to_vec();
        short.extend([0, 0x14, 0, 1, b'a']);
        for claimed in 0..16 {
            short[3] = claimed;
            assert!(Packet::read(&short).is_none(), "{claimed}");
        }
        assert!(Packet::read(&[0x40, 0, 0, 9, 1]).is_none());
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        for seed in 0..20_000_u64 {
            let mut rng = fastrand_like(seed);
            let mut bytes = request((rng() % 32) as u16, &[(rng() as u16, b"xyz"), (0x12, &[0, 1, 2, 3])], Some(&KEY));
            for _ in 0..rng() % 6 {
                let at = rng() as usize % bytes.len();
                bytes[at] = rng() as u8;
            }
            bytes.truncate(1 + rng() as usize % bytes.len());
            if let Some(Packet::Request(_, message) | Packet::Send(message)) = Packet::read(&bytes) {
                message.is_from(&KEY);
                message.unknown();
                message.addresses(attribute::XOR_PEER_ADDRESS).count();
            }
        }
    }

    /// A xorshift, so that a failure can be repeated.
    fn fastrand_like(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    #[test]
    fn streams_are_cut_where_packets_end() {
        assert_eq!(Packet::length_in_stream([0, 1, 0, 8]), Some((28, 0)));
        assert_eq!(Packet::length_in_stream([0x40, 0, 0, 5]), Some((9, 3)));
        assert_eq!(Packet::length_in_stream([0x40, 0, 0xFF, 0xFF]), None);
        assert_eq!(Packet::length_in_stream([0x80, 0, 0, 4]), None);
        assert_eq!(Packet::length_in_stream([0, 1, 0, 7]), None);
    }
}
