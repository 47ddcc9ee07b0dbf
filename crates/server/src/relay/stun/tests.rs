use super::*;
use stun_types::message::LongTermCredentials;

fn key(password: &str) -> Key {
    let credentials = LongTermCredentials::new("12:ana".to_owned(), password.to_owned());
    credentials.to_key("bellwire".to_owned()).make_key(IntegrityAlgorithm::Sha1)
}

/// A request of this method with these attributes.
fn request(method: stun_types::message::Method, attributes: &[(AttributeType, &[u8])], key: Option<&Key>) -> Vec<u8> {
    let mut out = Vec::new();
    let kind = MessageType::from_class_method(MessageClass::Request, method);
    let mut writing = Writing::begin(&mut out, kind, 3.into());
    for (kind, value) in attributes {
        writing = writing.with(&RawAttribute::new(*kind, value));
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

/// One more attribute behind all others.
fn longer(bytes: &[u8], attribute: &[u8]) -> Vec<u8> {
    let mut bytes = [bytes, attribute].concat();
    let length = (bytes.len() - MessageHeader::LENGTH) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn sample_of_rfc_5769_is_read_and_its_key_known() {
    // Section 2.4, made by others: user "マトリックス", password "TheMatrIX", realm "example.org".
    let sample = [
        "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000",
        "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341",
        "0014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666",
    ];
    let sample = sample.concat();
    let bytes: Vec<u8> = (0..sample.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&sample[at..at + 2], 16))
        .collect::<Result<_, _>>()
        .expect("hexadecimal");
    let message = message(&bytes);
    let username = message.get::<Username>().expect("a name");
    assert_eq!(username.username(), "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}");
    let key = |password: &str| {
        let credentials = LongTermCredentials::new(username.username().to_owned(), password.to_owned());
        credentials.to_key("example.org".to_owned()).make_key(IntegrityAlgorithm::Sha1)
    };
    assert!(message.is_from(&key("TheMatrIX")) && !message.is_from(&key("TheMatrix")));
}

#[test]
fn integrity_is_of_the_key_and_of_every_byte_before_it() {
    let bytes = request(method::ALLOCATE, &[(Username::TYPE, b"12:ana")], Some(&key("a")));
    assert!(message(&bytes).is_from(&key("a")) && !message(&bytes).is_from(&key("b")));
    assert!(!message(&request(method::ALLOCATE, &[], None)).is_from(&key("a")));
    // Without the fingerprint, which would be wrong as well.
    let bytes = longer(&bytes[..bytes.len() - 8], &[]);
    for at in [8, 25, 30] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert!(!message(&bytes).is_from(&key("a")), "byte {at}");
    }
}

#[test]
fn what_stands_behind_the_integrity_is_not_seen() {
    let bytes = request(method::REFRESH, &[], Some(&key("a")));
    let more = longer(&bytes, &[0, 0x0D, 0, 4, 0, 0, 0, 0]);
    let instead_of_the_fingerprint = longer(&bytes[..bytes.len() - 8], &[0, 0x0D, 0, 4, 0, 0, 0, 0]);
    for bytes in [more, instead_of_the_fingerprint] {
        assert!(message(&bytes).is_from(&key("a")));
        assert!(message(&bytes).get::<Lifetime>().is_none());
        assert!(message(&bytes).unknown().is_empty());
    }
}

#[test]
fn lengths_or_fingerprints_that_do_not_fit_are_no_message() {
    let good = request(stun_types::message::BINDING, &[(Realm::TYPE, b"abcde")], None);
    assert!(Packet::read(&good).is_some());
    for length in 0..good.len() {
        assert!(Packet::read(&good[..length]).is_none(), "{length}");
    }
    assert!(Packet::read(&[&good[..], &[0; 4]].concat()).is_none(), "bytes behind the end");
    // But for the type of the fingerprint: with another one there is none.
    let kind = good.len() - 8;
    for at in (MessageHeader::LENGTH..good.len()).filter(|at| *at != kind && *at != kind + 1) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(Packet::read(&bad).is_none(), "byte {at}");
    }
    // An attribute whose padding would lie behind the end.
    let mut short = good[..MessageHeader::LENGTH].to_vec();
    short.extend([0, 0x14, 0, 1, b'a']);
    for claimed in 0..16 {
        short[3] = claimed;
        assert!(Packet::read(&short).is_none(), "{claimed}");
    }
}

#[test]
fn channels_are_those_of_rfc_8656_and_hold_all_that_they_tell_of() {
    let mut out = Vec::new();
    write_channel(&mut out, 0x4001, b"sound");
    assert_eq!(out, b"\x40\x01\x00\x05sound");
    let Some(Packet::Channel(channel)) = Packet::read(&out) else { panic!("no channel") };
    assert_eq!((channel.id(), channel.data()), (0x4001, &b"sound"[..]));
    for bad in [&[0x40, 0, 0, 9, 1][..], &[0x50, 0, 0, 0], &[0x3F, 0xFF, 0, 0], &[0x40, 0, 0]] {
        assert!(Packet::read(bad).is_none(), "{bad:?}");
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
