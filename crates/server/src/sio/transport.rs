//! What comes over one transport: packets put together, checked, counted against its rate, and brought to the gateways.

use super::hub::{Eio, Hub, Registered};
use super::packet::{self, BadPacket, Kind};
use super::socket::{Recovery, Socket};
use super::{AckId, ConnectRefusal, Gone, Hello, Incoming, MESSAGE};
use crate::rate::{Bucket, Rate, cost_of};
use axum::extract::ConnectInfo;
use axum::http::header;
use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::{DisconnectReason, Str};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::debug;

/// What one transport may send. 5,000 messages at once are no abuse.
const RATE: Rate = Rate { burst: 8_000.0, a_second: 1_000.0 };
/// Bytes of a namespace's name that gets an answer.
const NAME: usize = 128;
/// Between two words about the rate.
const WARN_EACH: Duration = Duration::from_secs(1);
/// Events dropped one after the other, with less than a second between them, before the transport is closed.
const DROPPED: u32 = 20_000;

#[derive(Default)]
pub struct Transport {
    number: AtomicU64,
    given_up: AtomicBool,
    reading: Mutex<Reading>,
}

/// Held while one message is worked on: two polling requests at once do not mix.
#[derive(Default)]
struct Reading {
    is_lost: bool,
    /// At most one for each namespace.
    sockets: SmallVec<[Arc<Socket>; 1]>,
    unfinished: Option<Box<Unfinished>>,
    bucket: Option<Bucket>,
    over: Option<Over>,
}

/// A packet whose attachments are still coming.
struct Unfinished {
    text: Str,
    wanted: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
}

/// Over the rate, since when something was last allowed for a second.
struct Over {
    dropped: u32,
    last: Instant,
    warned: Instant,
}

impl Transport {
    /// True once.
    pub fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::AcqRel)
    }

    /// Whether no namespace is connected.
    pub fn is_unused(&self) -> bool {
        let number = self.number();
        !self.reading().sockets.iter().any(|socket| socket.is_carried_by(number))
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EngineIoHandler for Hub {
    type Data = Transport;

    fn on_connect(self: Arc<Self>, eio: Arc<Eio>) {
        let number = self.enter(&eio);
        eio.data.number.store(number, Ordering::Release);
        if self.is_draining() {
            eio.close(DisconnectReason::ClosingServer);
        }
    }

    fn on_disconnect(&self, eio: Arc<Eio>, reason: DisconnectReason) {
        debug!(transport = eio.data.number(), ?reason, "a transport is lost");
        self.transport_lost(&eio);
    }

    fn on_message(self: &Arc<Self>, text: Str, eio: Arc<Eio>) {
        let mut reading = eio.data.reading();
        if !reading.is_lost
            && let Err(bad) = self.text(&eio, &mut reading, text)
        {
            refuse(&eio, bad);
        }
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, eio: Arc<Eio>) {
        let mut reading = eio.data.reading();
        if !reading.is_lost
            && let Err(bad) = self.attachment(&eio, &mut reading, data)
        {
            refuse(&eio, bad);
        }
    }
}

fn refuse(eio: &Eio, bad: BadPacket) {
    metrics::counter!("bellwire_socketio_bad_packets_total").increment(1);
    debug!(transport = eio.data.number(), %bad, "a bad packet");
    eio.close(DisconnectReason::PacketParsingError);
}

impl Hub {
    /// Its sockets are away, or gone if the server stops.
    pub fn transport_lost(&self, eio: &Arc<Eio>) {
        let number = eio.data.number();
        let sockets = {
            let mut reading = eio.data.reading();
            reading.is_lost = true;
            reading.unfinished = None;
            std::mem::take(&mut reading.sockets)
        };
        self.leave(number);
        for socket in sockets {
            let _turn = socket.turn();
            if !socket.is_carried_by(number) {
                continue;
            }
            if self.is_draining() {
                if socket.finish(None) {
                    socket.ended(Gone::ServerClosed);
                }
            } else if let Some(loss) = socket.lose() {
                self.lost(&socket, loss);
                socket.registered().gateway.away(&socket);
            }
        }
    }

    fn text(self: &Arc<Self>, eio: &Arc<Eio>, reading: &mut Reading, text: Str) -> Result<(), BadPacket> {
        if reading.unfinished.is_some() {
            return Err(BadPacket::Attachments);
        }
        let packet = packet::parse(&text)?;
        match packet.kind {
            Kind::Event { attachments, .. } | Kind::Ack { attachments } if attachments > 0 => {
                let bytes = text.len();
                let text = text.clone();
                let unfinished = Unfinished { text, wanted: attachments, attachments: Vec::new(), bytes };
                reading.unfinished = Some(Box::new(unfinished));
                Ok(())
            }
            Kind::Event { event, ack, .. } => {
                self.event(eio, reading, packet.namespace, (event, ack), Vec::new(), text.len())
            }
            Kind::Ack { .. } => self.spend(eio, reading, packet.namespace, text.len()).map(|_| ()),
            Kind::Connect(auth) => self.connect(eio, reading, packet.namespace, auth, text.len()),
            Kind::Disconnect => self.disconnect(eio, reading, packet.namespace, text.len()),
        }
    }

    fn attachment(self: &Arc<Self>, eio: &Arc<Eio>, reading: &mut Reading, data: Bytes) -> Result<(), BadPacket> {
        let unfinished = reading.unfinished.as_mut().ok_or(BadPacket::Unexpected)?;
        unfinished.bytes += data.len();
        if unfinished.bytes > MESSAGE {
            return Err(BadPacket::Attachments);
        }
        unfinished.attachments.push(data);
        if unfinished.attachments.len() < unfinished.wanted {
            return Ok(());
        }
        let Some(unfinished) = reading.unfinished.take() else { return Ok(()) };
        let Unfinished { text, attachments, bytes, .. } = *unfinished;
        let packet = packet::parse(&text)?;
        match packet.kind {
            Kind::Event { event, ack, .. } => {
                self.event(eio, reading, packet.namespace, (event, ack), attachments, bytes)
            }
            Kind::Ack { .. } => self.spend(eio, reading, packet.namespace, bytes).map(|_| ()),
            Kind::Connect(_) | Kind::Disconnect => Err(BadPacket::Unexpected),
        }
    }

    fn event(
        &self,
        eio: &Arc<Eio>,
        reading: &mut Reading,
        namespace: &str,
        (event, ack): (packet::Event<'_>, Option<AckId>),
        attachments: Vec<Bytes>,
        bytes: usize,
    ) -> Result<(), BadPacket> {
        if !self.spend(eio, reading, namespace, bytes)? {
            return Ok(());
        }
        let socket = reading.socket(namespace)?;
        let _turn = socket.turn();
        // Else this side has just ended it, or the client has come back elsewhere.
        if socket.is_carried_by(eio.data.number()) {
            let event = Incoming { name: &event.name, args: &event.args, attachments, ack };
            socket.registered().gateway.event(socket, event);
        }
        Ok(())
    }

    fn connect(
        self: &Arc<Self>,
        eio: &Arc<Eio>,
        reading: &mut Reading,
        name: &str,
        auth: Option<&RawValue>,
        bytes: usize,
    ) -> Result<(), BadPacket> {
        self.spend_or_fail(reading, bytes)?;
        let number = eio.data.number();
        let Some(registered) = self.namespace(name) else {
            if name.len() > NAME {
                return Err(BadPacket::Malformed);
            }
            let prefix = packet::prefix(name);
            answer_refusal(eio, &prefix, &ConnectRefusal::new("Invalid namespace"));
            return Ok(());
        };
        reading.sockets.retain(|socket| socket.is_carried_by(number));
        if reading.socket(name).is_ok() {
            return Err(BadPacket::Unexpected);
        }
        let hello = hello(eio, auth);
        if let Some(socket) = self.recover(eio, registered, &hello) {
            reading.sockets.push(socket);
            return Ok(());
        }
        let socket = Socket::new(self.clone(), registered.clone(), self.socket_number(), number);
        let _turn = socket.turn();
        if let Err(refusal) = registered.gateway.connect(&socket, &hello) {
            socket.refuse();
            answer_refusal(eio, &registered.prefix, &refusal);
            return Ok(());
        }
        self.remember(&socket);
        if socket.begin(eio, &Hub::pid(&socket)) {
            reading.sockets.push(socket.clone());
        } else {
            answer_refusal(eio, &registered.prefix, &ConnectRefusal::new("closed"));
            socket.ended(Gone::ServerClosed);
        }
        Ok(())
    }

    /// The socket that this client had before, with what it missed.
    fn recover(&self, eio: &Arc<Eio>, registered: &Arc<Registered>, hello: &Hello<'_>) -> Option<Arc<Socket>> {
        let claim: Claim<'_> = serde_json::from_str(hello.auth?.get()).ok()?;
        let socket = self.find(registered, &claim.pid?)?;
        let offset = claim.offset.map_or(Some(0), |offset| offset.parse().ok())?;
        let turn = socket.turn();
        if !registered.gateway.may_recover(&socket, hello) {
            metrics::counter!("bellwire_socketio_recoveries_total", "outcome" => "refused").increment(1);
            return None;
        }
        let number = eio.data.number();
        let outcome = match socket.recover(eio, number, &Hub::pid(&socket), offset) {
            Recovery::Back(was) => {
                if let Some(was) = was {
                    // The client knew before us.
                    registered.gateway.away(&socket);
                    was.close(DisconnectReason::TransportError);
                }
                registered.gateway.back(&socket);
                "back"
            }
            Recovery::Missed(was) => {
                if let Some(was) = was {
                    was.close(DisconnectReason::TransportError);
                }
                if socket.finish(None) {
                    socket.ended(Gone::Lost);
                }
                "missed"
            }
            Recovery::Over => "over",
        };
        metrics::counter!("bellwire_socketio_recoveries_total", "outcome" => outcome).increment(1);
        drop(turn);
        (outcome == "back").then_some(socket)
    }

    fn disconnect(&self, eio: &Arc<Eio>, reading: &mut Reading, name: &str, bytes: usize) -> Result<(), BadPacket> {
        self.spend_or_fail(reading, bytes)?;
        let number = eio.data.number();
        let Some(at) = reading.sockets.iter().position(|socket| socket.registered().name == name) else {
            return Err(BadPacket::Unexpected);
        };
        let socket = reading.sockets.remove(at);
        if reading.sockets.is_empty() {
            self.expect_namespace(eio);
        }
        let _turn = socket.turn();
        if socket.is_carried_by(number) && socket.finish(None) {
            socket.ended(Gone::ClientLeft);
        }
        Ok(())
    }

    /// Whether the rate allows this; if not, the client is told now and then.
    fn spend(&self, eio: &Arc<Eio>, reading: &mut Reading, name: &str, bytes: usize) -> Result<bool, BadPacket> {
        let now = Instant::now();
        let bucket = reading.bucket.get_or_insert_with(|| Bucket::full(RATE, now));
        let Err(wait) = bucket.take(RATE, cost_of(bytes), now) else { return Ok(true) };
        metrics::counter!("bellwire_socketio_rate_limited_total").increment(1);
        let is_new = reading.over.as_ref().is_none_or(|over| now - over.last > WARN_EACH);
        if is_new {
            reading.over = Some(Over { dropped: 0, last: now, warned: now });
        }
        let Some(over) = &mut reading.over else { return Ok(false) };
        over.dropped += 1;
        over.last = now;
        if over.dropped > DROPPED {
            debug!(transport = eio.data.number(), "a transport over its rate for long");
            eio.close(DisconnectReason::TransportError);
            return Ok(false);
        }
        if is_new || now - over.warned > WARN_EACH {
            over.warned = now;
            let retry_after = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            reading.socket(name)?.emit("error", &json!({"message": "rate limited", "retryAfter": retry_after}));
        }
        Ok(false)
    }

    /// For packets that cannot be dropped.
    fn spend_or_fail(&self, reading: &mut Reading, bytes: usize) -> Result<(), BadPacket> {
        let now = Instant::now();
        let bucket = reading.bucket.get_or_insert_with(|| Bucket::full(RATE, now));
        bucket.take(RATE, cost_of(bytes), now).map_err(|_| BadPacket::Unexpected)
    }
}

impl Reading {
    fn socket(&self, namespace: &str) -> Result<&Arc<Socket>, BadPacket> {
        let found = self.sockets.iter().find(|socket| socket.registered().name == namespace);
        found.ok_or(BadPacket::Unexpected)
    }
}

/// What a client of 4.6 or later puts beside its own auth data.
#[derive(Deserialize)]
struct Claim<'a> {
    #[serde(borrow, default)]
    pid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    offset: Option<Cow<'a, str>>,
}

fn hello<'a>(eio: &'a Eio, auth: Option<&'a RawValue>) -> Hello<'a> {
    let parts = &eio.req_parts;
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let address = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |from| from.0.ip().to_canonical());
    let is_page = parts.headers.contains_key(header::ORIGIN);
    Hello { auth, headers: &parts.headers, address, is_local: address.is_loopback() && !is_page }
}

fn answer_refusal(eio: &Eio, prefix: &str, refusal: &ConnectRefusal) {
    let mut json = json!({"message": refusal.message});
    if let Some(data) = &refusal.data {
        json["data"] = data.clone();
    }
    eio.emit(packet::refusal_text(prefix, &json.to_string())).ok();
}
