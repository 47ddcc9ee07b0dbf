//! Packets of Socket.IO protocol 5 as text: `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`.
//!
//! [`parse`] checks all that the clients' library checks, and that the JSON is not nested too deep, so that nothing
//! which is relayed can bring down the receiver's parser. Binary parts come and go beside the text.

use super::{ATTACHMENTS, AckId, DEPTH};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Names that the library keeps to itself; a peer that sends one is not one.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A packet that its transport does not survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPacket {
    #[error("no packet of this protocol")]
    Malformed,
    #[error("the JSON is nested too deep")]
    TooDeep,
    #[error("an event with a reserved name")]
    Reserved,
    #[error("attachments that do not fit the packet")]
    Attachments,
    #[error("a packet that does not belong here")]
    Unexpected,
}

#[derive(Debug)]
pub struct Packet<'a> {
    /// "/" if none was named.
    pub namespace: &'a str,
    pub kind: Kind<'a>,
}

#[derive(Debug)]
pub enum Kind<'a> {
    Connect(Option<&'a RawValue>),
    Disconnect,
    /// Its attachments, if any, follow.
    Event {
        event: Event<'a>,
        ack: Option<AckId>,
        attachments: usize,
    },
    /// Nobody here asked for one; its attachments follow all the same.
    Ack {
        attachments: usize,
    },
}

#[derive(Debug)]
pub struct Event<'a> {
    pub name: Cow<'a, str>,
    pub args: SmallVec<[&'a RawValue; 4]>,
}

pub fn parse(text: &str) -> Result<Packet<'_>, BadPacket> {
    let kind = *text.as_bytes().first().ok_or(BadPacket::Malformed)?;
    let rest = text.get(1..).ok_or(BadPacket::Malformed)?;
    let (attachments, rest) = match kind {
        b'5' | b'6' => counted(rest)?,
        _ => (0, rest),
    };
    let (namespace, rest) = match rest.strip_prefix('/') {
        Some(_) => rest.split_once(',').unwrap_or((rest, "")),
        None => ("/", rest),
    };
    let (ack, body) = numbered(rest)?;
    let kind = match (kind, ack) {
        (b'0', None) => Kind::Connect(auth(body)?),
        (b'1', None) if body.is_empty() => Kind::Disconnect,
        (b'2' | b'5', ack) => Kind::Event { event: event(body, attachments)?, ack, attachments },
        (b'3' | b'6', Some(_)) => {
            shallow(body)?;
            serde_json::from_str::<Vec<IgnoredAny>>(body).map_err(|_| BadPacket::Malformed)?;
            Kind::Ack { attachments }
        }
        _ => return Err(BadPacket::Malformed),
    };
    Ok(Packet { namespace, kind })
}

/// The number of attachments, which ends with a hyphen.
fn counted(text: &str) -> Result<(usize, &str), BadPacket> {
    let (count, rest) = text.split_once('-').ok_or(BadPacket::Malformed)?;
    if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadPacket::Malformed);
    }
    match count.parse() {
        Ok(count) if count <= ATTACHMENTS => Ok((count, rest)),
        Ok(_) | Err(_) => Err(BadPacket::Attachments),
    }
}

/// The ack id, if digits stand here.
fn numbered(text: &str) -> Result<(Option<AckId>, &str), BadPacket> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Ok((None, rest));
    }
    let number = number.parse().map_err(|_| BadPacket::Malformed)?;
    Ok((Some(AckId(number)), rest))
}

fn auth(body: &str) -> Result<Option<&RawValue>, BadPacket> {
    if body.is_empty() {
        return Ok(None);
    }
    shallow(body)?;
    let auth: &RawValue = serde_json::from_str(body).map_err(|_| BadPacket::Malformed)?;
    if auth.get().starts_with('{') { Ok(Some(auth)) } else { Err(BadPacket::Malformed) }
}

fn event(body: &str, attachments: usize) -> Result<Event<'_>, BadPacket> {
    shallow(body)?;
    let event: Event<'_> = serde_json::from_str(body).map_err(|_| BadPacket::Malformed)?;
    if RESERVED.contains(&event.name.as_ref()) {
        return Err(BadPacket::Reserved);
    }
    if attachments > 0 {
        let mut places = Places { of: attachments, found: 0 };
        for arg in &event.args {
            places.count(arg)?;
        }
        if places.found != attachments {
            return Err(BadPacket::Attachments);
        }
    }
    Ok(event)
}

/// Brackets alone are looked at: whether it is JSON is for the parser to say.
fn shallow(json: &str) -> Result<(), BadPacket> {
    // `[` and `{` differ in this bit. Most events have few of both, and to count bytes is quicker than to follow strings.
    if json.bytes().filter(|byte| byte | 0x20 == b'{').count() <= DEPTH {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > DEPTH {
                    return Err(BadPacket::TooDeep);
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Event<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event's name and arguments")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Event<'de>, A::Error> {
                #[derive(Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let Name(name) = array.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let mut args = SmallVec::new();
                while let Some(arg) = array.next_element()? {
                    args.push(arg);
                }
                Ok(Event { name, args })
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

/// Counts the objects that stand for attachments.
struct Places {
    of: usize,
    found: usize,
}

impl Places {
    fn count(&mut self, json: &RawValue) -> Result<(), BadPacket> {
        if !json.get().starts_with(['{', '[']) {
            return Ok(());
        }
        let value: Node = serde_json::from_str(json.get()).map_err(|_| BadPacket::Malformed)?;
        self.walk(&value)
    }

    fn walk(&mut self, node: &Node) -> Result<(), BadPacket> {
        match node {
            Node::Array(inner) => inner.iter().try_for_each(|one| self.walk(one)),
            Node::Object { place: None, inner } => inner.iter().try_for_each(|one| self.walk(one)),
            Node::Object { place: Some(number), .. } if *number < self.of as u64 => {
                self.found += 1;
                Ok(())
            }
            Node::Object { place: Some(_), .. } => Err(BadPacket::Attachments),
            Node::True | Node::Number(_) | Node::Other => Ok(()),
        }
    }
}

/// JSON as far as it shows the places of attachments.
enum Node {
    Object { place: Option<u64>, inner: Vec<Node> },
    Array(Vec<Node>),
    True,
    Number(u64),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(if value { Node::True } else { Node::Other })
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Number(value))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Node, A::Error> {
                let mut inner = Vec::new();
                while let Some(node) = array.next_element()? {
                    inner.push(node);
                }
                Ok(Node::Array(inner))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let (mut is_place, mut number, mut inner) = (false, None, Vec::new());
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let value: Node = map.next_value()?;
                    // Of a key that is there twice the last counts, as in the clients.
                    match (key.as_ref(), &value) {
                        ("_placeholder", value) => is_place = matches!(value, Node::True),
                        ("num", Node::Number(n)) => number = Some(*n),
                        ("num", _) => number = None,
                        _ => {}
                    }
                    inner.push(value);
                }
                // A place without a good number is out of range.
                let place = is_place.then(|| number.unwrap_or(u64::MAX));
                Ok(Node::Object { place, inner })
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// What stands before a namespace's packets, after their type: nothing for "/".
pub fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

/// An event as text. The parts make the JSON array of its name and arguments; the offset becomes its last element.
pub fn event_text(prefix: &str, array: &[&str], attachments: usize, offset: u64) -> String {
    let mut text = String::with_capacity(array.iter().map(|part| part.len()).sum::<usize>() + prefix.len() + 32);
    if attachments == 0 {
        text.push('2');
    } else {
        text.push('5');
        text.push_str(itoa(attachments as u64, &mut [0; 20]));
        text.push('-');
    }
    text.push_str(prefix);
    for part in array {
        text.push_str(part);
    }
    if text.ends_with(']') {
        text.pop();
    }
    text.push_str(",\"");
    text.push_str(itoa(offset, &mut [0; 20]));
    text.push_str("\"]");
    text
}

/// `array` is the JSON array of the arguments.
pub fn ack_text(prefix: &str, id: AckId, array: &str) -> String {
    format!("3{prefix}{}{array}", id.0)
}

pub fn disconnect_text(prefix: &str) -> String {
    format!("1{prefix}")
}

/// `json` is an object.
pub fn connect_text(prefix: &str, json: &str) -> String {
    format!("0{prefix}{json}")
}

pub fn refusal_text(prefix: &str, json: &str) -> String {
    format!("4{prefix}{json}")
}

/// Decimal digits without the cost of `format!`.
fn itoa(mut number: u64, room: &mut [u8; 20]) -> &str {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&room[at..]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet in words.
    fn words(text: &str) -> String {
        let Packet { namespace, kind } = match parse(text) {
            Ok(packet) => packet,
            Err(bad) => return format!("{bad:?}"),
        };
        match kind {
            Kind::Connect(auth) => format!("{namespace} connect {}", auth.map_or("-", RawValue::get)),
            Kind::Disconnect => format!("{namespace} disconnect"),
            Kind::Event { event, ack, attachments } => {
                let args: Vec<&str> = event.args.iter().map(|arg| arg.get()).collect();
                let ack = ack.map_or("-".into(), |id| id.0.to_string());
                format!("{namespace} event {} {args:?} ack {ack} +{attachments}", event.name)
            }
            Kind::Ack { attachments } => format!("{namespace} ack +{attachments}"),
        }
    }

    #[test]
    fn packets_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("0", "/ connect -"),
            ("0/random-chat,{\"token\":\"a\"}", "/random-chat connect {\"token\":\"a\"}"),
            ("0/random-chat", "/random-chat connect -"),
            ("1", "/ disconnect"),
            ("1/random-chat,", "/random-chat disconnect"),
            ("2[\"a\"]", "/ event a [] ack - +0"),
            ("2/x,12[\"a\",1,{\"b\":[2]}]", "/x event a [\"1\", \"{\\\"b\\\":[2]}\"] ack 12 +0"),
            ("2[\"caf\\u00e9\"]", "/ event café [] ack - +0"),
            (
                "51-[\"a\",{\"_placeholder\":true,\"num\":0}]",
                "/ event a [\"{\\\"_placeholder\\\":true,\\\"num\\\":0}\"] ack - +1",
            ),
            ("33[]", "/ ack +0"),
            ("61-/x,3[{\"_placeholder\":true,\"num\":0}]", "/x ack +1"),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_clients_parser_refuses_is_refused() {
        for (text, expected) in [
            ("", "Malformed"),
            ("7[]", "Malformed"),
            ("é", "Malformed"),
            ("2", "Malformed"),
            ("2{}", "Malformed"),
            ("2[]", "Malformed"),
            ("2[1]", "Malformed"),
            ("2[\"a\",]", "Malformed"),
            ("2[\"a\"] x", "Malformed"),
            ("299999999999999999999[\"a\"]", "Malformed"),
            ("01[]", "Malformed"),
            ("0[]", "Malformed"),
            ("0\"text\"", "Malformed"),
            ("1[]", "Malformed"),
            ("3[]", "Malformed"),
            ("4{}", "Malformed"),
            ("2[\"disconnect\"]", "Reserved"),
            ("2[\"\\u0063onnect\"]", "Reserved"),
            ("5[\"a\"]", "Malformed"),
            ("5-[\"a\"]", "Malformed"),
            ("517-[\"a\"]", "Attachments"),
            ("51-[\"a\"]", "Attachments"),
            ("51-[\"a\",{\"_placeholder\":true,\"num\":1}]", "Attachments"),
            ("51-[\"a\",{\"_placeholder\":true,\"num\":-1}]", "Attachments"),
            ("51-[\"a\",{\"_placeholder\":true}]", "Attachments"),
            ("51-[\"a\",{\"\\u005fplaceholder\":true,\"num\":7}]", "Attachments"),
            ("51-[\"a\",{\"b\":[{\"num\":0,\"_placeholder\":true},{\"num\":0,\"_placeholder\":true}]}]", "Attachments"),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn json_is_read_down_to_its_allowed_depth() {
        let nested = |levels: usize| format!("2[\"a\",{}{}]", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(DEPTH - 1)).is_ok());
        assert_eq!(words(&nested(DEPTH)), "TooDeep");
        assert_eq!(words(&nested(100_000)), "TooDeep");
        let brackets_in_text = format!("2[\"a\",\"\\\"{}\"]", "[".repeat(1_000));
        assert!(parse(&brackets_in_text).is_ok());
    }

    #[test]
    fn packets_are_written_as_the_protocol_reads_them() {
        assert_eq!(event_text("", &["[\"a\",", "1]"], 0, 7), "2[\"a\",1,\"7\"]");
        assert_eq!(event_text("/x,", &["[\"a\"]"], 2, 1234), "52-/x,[\"a\",\"1234\"]");
        assert_eq!(ack_text("/x,", AckId(5), "[true]"), "3/x,5[true]");
        assert_eq!((prefix("/"), prefix("/x")), (String::new(), "/x,".into()));
    }
}
