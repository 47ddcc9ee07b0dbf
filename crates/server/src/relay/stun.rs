//! What a relay between its own allocations needs of STUN and TURN (RFC 8489, RFC 8656): `stun-types` and `turn-types` read and
//! write the bytes, here stands what is listened to.
//!
//! Reading is strict: a message whose lengths or whose fingerprint do not fit is no message, and what stands behind the
//! integrity is not looked at. Nothing here keeps a state.

use super::credentials::Key;
use std::net::SocketAddr;
use stun_types::attribute::{
    AttributeType, ErrorCode, MessageIntegrity, MessageIntegritySha256, Nonce, RawAttribute, Realm, UnknownAttributes,
    Username,
};
use stun_types::message::{
    IntegrityAlgorithm, Message as Stun, MessageClass, MessageHeader, MessageType, MessageWriteVec, StunParseError,
    TransactionId,
};
use stun_types::prelude::{
    Attribute as _, AttributeFromRaw, AttributeStaticType, AttributeWrite, MessageWrite as _, MessageWriteExt as _,
};
use turn_types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
};
use turn_types::channel::ChannelData;
use turn_types::message as method;

/// No packet of a call is larger; what is, is dropped.
pub const PACKET_MOST: usize = 2_048;
pub const CHANNEL_HEADER: usize = 4;
/// RFC 8656, section 12.
pub const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;
/// Types in one answer about attributes that are not understood.
const UNKNOWN_MOST: usize = 8;

/// Attributes that must be understood, and are. The last two are ICE's, sent by some with a plain Binding.
const UNDERSTOOD: [AttributeType; 12] = [
    Username::TYPE,
    MessageIntegrity::TYPE,
    ChannelNumber::TYPE,
    Lifetime::TYPE,
    XorPeerAddress::TYPE,
    Data::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    RequestedAddressFamily::TYPE,
    RequestedTransport::TYPE,
    AttributeType::new(0x0024),
    AttributeType::new(0x0025),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Binding,
    Allocate,
    Refresh,
    CreatePermission,
    ChannelBind,
}

#[derive(Debug)]
pub enum Packet<'a> {
    Request(Method, Message<'a>),
    /// A Send indication.
    Send(Message<'a>),
    Channel(ChannelData<'a>),
}

/// A message whose form was checked.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a>(Stun<'a>);

impl<'a> Packet<'a> {
    /// None for what a relay is not told: responses, other methods, and everything that is not well formed.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        if let Ok(channel) = ChannelData::parse(bytes) {
            return CHANNELS.contains(&channel.id()).then_some(Self::Channel(channel));
        }
        let message = Message::read(bytes)?;
        let kind = (message.0.class(), message.0.method());
        let request = |method| Some(Self::Request(method, message));
        match kind {
            (MessageClass::Request, stun_types::message::BINDING) => request(Method::Binding),
            (MessageClass::Request, method::ALLOCATE) => request(Method::Allocate),
            (MessageClass::Request, method::REFRESH) => request(Method::Refresh),
            (MessageClass::Request, method::CREATE_PERMISSION) => request(Method::CreatePermission),
            (MessageClass::Request, method::CHANNEL_BIND) => request(Method::ChannelBind),
            (MessageClass::Indication, method::SEND) => Some(Self::Send(message)),
            (MessageClass::Request | MessageClass::Indication | MessageClass::Success | MessageClass::Error, _) => None,
        }
    }

    /// The length of the packet that these first bytes of a stream begin, and of its padding; none if no packet begins so.
    pub fn length_in_stream(first: [u8; CHANNEL_HEADER]) -> Option<(usize, usize)> {
        let length = usize::from(u16::from_be_bytes([first[2], first[3]]));
        let whole = match first[0] {
            0..0x40 if length.is_multiple_of(4) => MessageHeader::LENGTH + length,
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
        // The library lets more bytes pass than the header tells of.
        let length = usize::from(MessageHeader::from_bytes(bytes).ok()?.data_length());
        (bytes.len() == MessageHeader::LENGTH + length && length.is_multiple_of(4)).then_some(())?;
        Some(Self(Stun::from_bytes(bytes).ok()?))
    }

    /// None where it is missing or has another form.
    pub fn get<'s, A: AttributeFromRaw<'s> + AttributeStaticType>(&'s self) -> Option<A> {
        self.0.attribute().ok()
    }

    /// None where it is missing.
    pub fn given<'s, A: AttributeFromRaw<'s> + AttributeStaticType>(&'s self) -> Option<Result<A, StunParseError>> {
        self.0.has_attribute(A::TYPE).then(|| self.0.attribute())
    }

    /// Each that is named; none for what is no address.
    pub fn peers(&self) -> impl Iterator<Item = Option<SocketAddr>> {
        let peers = self.0.iter_attributes().filter(|(_, each)| each.get_type() == XorPeerAddress::TYPE);
        peers.map(|(_, each)| Some(XorPeerAddress::from_raw(each).ok()?.addr(self.transaction())))
    }

    pub fn transaction(&self) -> TransactionId {
        self.0.transaction_id()
    }

    /// Attributes that would have to be understood.
    pub fn unknown(&self) -> Vec<AttributeType> {
        let kinds = self.0.iter_attributes().map(|(_, each)| each.get_type());
        // The one that may follow the integrity.
        let kinds = kinds.filter(|kind| !(self.has_integrity() && *kind == MessageIntegritySha256::TYPE));
        kinds.filter(|kind| kind.comprehension_required() && !UNDERSTOOD.contains(kind)).take(UNKNOWN_MOST).collect()
    }

    pub fn has_integrity(&self) -> bool {
        self.0.has_attribute(MessageIntegrity::TYPE)
    }

    /// Whether who made the message has this key.
    pub fn is_from(&self, key: &Key) -> bool {
        matches!(self.0.validate_integrity_with_key(key), Ok(IntegrityAlgorithm::Sha1))
    }
}

/// A message being written into `out`, whose room it uses again.
pub struct Writing<'b> {
    out: &'b mut Vec<u8>,
    message: MessageWriteVec,
}

impl<'b> Writing<'b> {
    pub fn success(out: &'b mut Vec<u8>, to: &Message<'_>) -> Self {
        Self::answer(out, MessageClass::Success, to)
    }

    pub fn error(out: &'b mut Vec<u8>, to: &Message<'_>, code: u16, reason: &str) -> Self {
        let writing = Self::answer(out, MessageClass::Error, to);
        match ErrorCode::new(code, reason) {
            Ok(error) => writing.with(&error),
            // For what is no error's number.
            Err(_) => writing,
        }
    }

    /// A Data indication.
    pub fn data(out: &'b mut Vec<u8>, transaction: TransactionId, from: SocketAddr, data: &[u8]) {
        let kind = MessageType::from_class_method(MessageClass::Indication, method::DATA);
        let writing = Self::begin(out, kind, transaction);
        writing.with(&XorPeerAddress::new(from, transaction)).with(&RawAttribute::new(Data::TYPE, data)).end();
    }

    fn answer(out: &'b mut Vec<u8>, class: MessageClass, to: &Message<'_>) -> Self {
        Self::begin(out, MessageType::from_class_method(class, to.0.method()), to.transaction())
    }

    fn begin(out: &'b mut Vec<u8>, kind: MessageType, transaction: TransactionId) -> Self {
        out.clear();
        let mut message = MessageWriteVec::new();
        std::mem::swap(&mut *message, out);
        Self { out, message: Stun::builder(kind, transaction, message) }
    }

    pub fn with(mut self, attribute: &dyn AttributeWrite) -> Self {
        let added = self.message.add_attribute(attribute);
        debug_assert!(added.is_ok(), "there is room in a Vec, and the integrity comes last");
        self
    }

    pub fn text(self, kind: AttributeType, text: &str) -> Self {
        self.with(&RawAttribute::new(kind, text.as_bytes()))
    }

    pub fn unknown(self, kinds: &[AttributeType]) -> Self {
        self.with(&UnknownAttributes::new(kinds))
    }

    /// Ends it, with integrity for who has the key.
    pub fn finish(mut self, key: Option<&Key>) {
        let sealed = key.map(|key| self.message.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1));
        let marked = self.message.add_fingerprint();
        debug_assert!(sealed.is_none_or(|sealed| sealed.is_ok()) && marked.is_ok(), "there is room in a Vec");
        self.end();
    }

    fn end(self) {
        *self.out = self.message.finish();
    }
}

pub fn write_channel(out: &mut Vec<u8>, number: u16, data: &[u8]) {
    out.clear();
    out.resize(CHANNEL_HEADER + data.len(), 0);
    ChannelData::new(number, data).write_into_unchecked(out);
}

#[cfg(test)]
mod tests;
