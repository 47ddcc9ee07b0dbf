use super::*;
use crate::rate::Rate;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use stun_types::attribute::RawAttribute;
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message as Stun, MessageClass, MessageType, MessageWriteVec, Method as Number,
};
use stun_types::prelude::{AttributeWrite, MessageWrite as _, MessageWriteExt as _};
use turn_types::attribute::XorPeerAddress;
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};

const RELAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const RANDOM: u32 = 100_000;
const MUTATED: u32 = 200_000;

/// A gate that counts no requests from loopback, and credentials for it.
struct Place {
    gate: Gate,
    username: String,
    key: Key,
}

/// A packet, and where its integrity ends, if it has one.
struct Sample {
    bytes: Vec<u8>,
    sealed: Option<usize>,
}

impl Place {
    fn new() -> Self {
        let secrets = Arc::new(Secrets::new("of the relay".to_owned().into(), None));
        let (username, _) = secrets.issue("ana", clock::now().0 / 1_000);
        let key = secrets.keys(&username).next().expect("a key");
        let limits = Limits { per_handle: 4, bandwidth: None::<Rate> };
        Self { gate: Gate::new(RELAY, secrets, limits, true), username, key }
    }

    fn send(&self, from: SocketAddr, bytes: &[u8]) -> Option<(Way, Vec<u8>)> {
        let mut out = Vec::new();
        self.gate.packet(Way::Udp(from), from, bytes, &mut out).map(|to| (to, out))
    }

    /// A request of this method, sealed with a nonce for this sender.
    fn request(&self, from: SocketAddr, method: Number, attributes: &[&dyn AttributeWrite]) -> Sample {
        let nonce = self.gate.nonce(from, clock::now().0 / 1_000);
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut message = Stun::builder(kind, 7.into(), MessageWriteVec::new());
        for attribute in attributes {
            message.add_attribute(*attribute).expect("an attribute");
        }
        let texts = [(Username::TYPE, &*self.username), (Realm::TYPE, REALM), (Nonce::TYPE, &*nonce)];
        for (kind, text) in texts {
            message.add_attribute(&RawAttribute::new(kind, text.as_bytes())).expect("a text");
        }
        message.add_message_integrity_with_key(&self.key, IntegrityAlgorithm::Sha1).expect("the integrity");
        let sealed = Some(message.len());
        message.add_fingerprint().expect("the fingerprint");
        Sample { bytes: message.finish(), sealed }
    }

    fn allocate(&self, from: SocketAddr) -> SocketAddr {
        let request = self.request(from, ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]);
        let (_, answer) = self.send(from, &request.bytes).expect("an answer");
        let answer = Stun::from_bytes(&answer).expect("a message");
        let relayed = answer.attribute::<XorRelayedAddress>().expect("a relayed address");
        relayed.addr(answer.transaction_id())
    }
}

fn client(port: u16) -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}

fn plain(class: MessageClass, method: Number, attributes: &[&dyn AttributeWrite]) -> Sample {
    let mut message = Stun::builder(MessageType::from_class_method(class, method), 7.into(), MessageWriteVec::new());
    for attribute in attributes {
        message.add_attribute(*attribute).expect("an attribute");
    }
    Sample { bytes: message.finish(), sealed: None }
}

/// Some bytes of it changed, added or cut off. It can be the same again.
fn mutate(bytes: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..8) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, random.random()),
            2 => bytes.extend([random.random(), random.random(), 0, 4, 1, 2, 3, 4]),
            3 => bytes[at] ^= 1 << random.random_range(0..8),
            4 => bytes[at] = if random.random() { 0 } else { 0xFF },
            5.. => bytes[at] = random.random(),
            ..0 => {}
        }
    }
    // Mostly with a length that fits, so that it comes past the first look.
    if bytes.len() >= 20 && bytes[0] < 0x40 && random.random_range(0..4) > 0 {
        bytes.truncate(bytes.len() / 4 * 4);
        let length = (bytes.len() - 20) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[test]
fn random_bytes_are_never_answered() {
    let place = Place::new();
    let mut random = SmallRng::seed_from_u64(1);
    for n in 0..RANDOM {
        let mut bytes = vec![0; random.random_range(0..200)];
        random.fill(&mut bytes[..]);
        // Half of them look like STUN at first: a request's type, the right length.
        if n % 2 == 0 && bytes.len() >= 20 {
            let length = ((bytes.len() - 20) as u16).to_be_bytes();
            bytes[..4].copy_from_slice(&[0, random.random_range(0..16), length[0], length[1]]);
        }
        assert!(place.send(client(1), &bytes).is_none(), "packet {n}: {bytes:?}");
    }
}

#[test]
fn changed_packets_get_errors_at_most_and_do_no_harm() {
    let place = Place::new();
    let (ana, ben, stranger) = (client(1), client(2), client(3));
    let [of_ana, of_ben] = [place.allocate(ana), place.allocate(ben)];
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    let peer = XorPeerAddress::new(of_ben, 7.into());
    let number = ChannelNumber::new(0x4000);
    for (from, to, number) in [(ana, of_ben, 0x4000), (ben, of_ana, 0x4001)] {
        let peer = XorPeerAddress::new(to, 7.into());
        place
            .send(from, &place.request(from, CHANNEL_BIND, &[&ChannelNumber::new(number), &peer]).bytes)
            .expect("an answer");
    }
    let samples = |from: SocketAddr| {
        [
            place.request(from, ALLOCATE, &[&udp, &RequestedAddressFamily::new(AddressFamily::IPV4)]),
            place.request(from, REFRESH, &[&Lifetime::new(0)]),
            place.request(from, CREATE_PERMISSION, &[&peer]),
            place.request(from, CHANNEL_BIND, &[&number, &peer]),
            plain(MessageClass::Request, BINDING, &[]),
            plain(MessageClass::Request, ALLOCATE, &[&udp]),
            plain(MessageClass::Indication, SEND, &[&peer, &Data::new(b"some sound")]),
            Sample { bytes: b"\x40\x00\x00\x09some sound".to_vec(), sealed: None },
        ]
    };
    let samples = [(ana, samples(ana)), (stranger, samples(stranger))];
    let mut random = SmallRng::seed_from_u64(2);
    let (mut errors, mut relayed) = (0, 0);
    for n in 0..MUTATED {
        let (from, samples) = &samples[usize::from(n % 8 > 0)];
        let Sample { bytes: before, sealed } = &samples[random.random_range(0..samples.len())];
        let bytes = mutate(before, &mut random);
        // What was signed and came whole is no garbage. The length tells of what follows as well.
        let is_genuine =
            sealed.is_some_and(|end| bytes.get(..2) == before.get(..2) && bytes.get(4..end) == before.get(4..end));
        if is_genuine {
            continue;
        }
        let Some((to, answer)) = place.send(*from, &bytes) else { continue };
        if to == Way::Udp(ben) {
            assert_eq!(*from, ana, "packet {n}: a stranger reached somebody");
            relayed += 1;
            continue;
        }
        assert_eq!(to, Way::Udp(*from), "packet {n}");
        let answer = Stun::from_bytes(&answer).expect("an answer is well formed");
        match answer.class() {
            MessageClass::Error => errors += 1,
            MessageClass::Success => assert_eq!(answer.method(), BINDING, "packet {n}: {bytes:?}"),
            MessageClass::Request | MessageClass::Indication => panic!("packet {n}: no answer"),
        }
    }
    assert!(errors > 1_000 && relayed > 1_000, "{errors} errors, {relayed} relayed: the samples reach the gate");
    assert_eq!(place.gate.allocations().len(), 2);
    assert!(place.gate.has(Way::Udp(ana)) && place.gate.has(Way::Udp(ben)));
}
