//! One client in one namespace, over whatever transports it has in its life.

use super::hub::{Eio, Hub, Registered};
use super::packet;
use super::queue::{Held, Kept, Outgoing};
use super::{AckId, Gone};
use bellwire_signaling::Handle;
use bytes::Bytes;
use engineioxide::DisconnectReason;
use serde::Serialize;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tracing::debug;

/// Bytes on their way to one socket, in the queue of its transport and kept for its recovery. Over this it is too slow:
/// its transport is closed, and what does not fit any more is lost.
const HELD: usize = 4 * 1024 * 1024;
/// Packets emitted before CONNECT is out. More are lost, and the refusal or the connection says nothing of it.
const EARLY: usize = 8_192;

/// A namespace connection of a client. Emitting never blocks; what is emitted from one task arrives in that order.
pub struct Socket {
    number: u64,
    handle: Handle,
    secret: u128,
    hub: Arc<Hub>,
    registered: Arc<Registered>,
    /// The number of the transport whose packets count as this client's; 0 for none.
    carrier: AtomicU64,
    turn: Mutex<()>,
    out: Mutex<Out>,
    held: Held,
    state: OnceLock<Box<dyn Any + Send + Sync>>,
}

struct Out {
    link: Link,
    kept: Kept,
    /// Counts the losses of transport, so that an old deadline is known as such.
    losses: u64,
}

/// ```text
/// Early -> Here <-> Away
///     \      \        \
///      `------`--------`-> Over
/// ```
enum Link {
    /// CONNECT is not out yet.
    Early(Vec<Outgoing>),
    Here(Arc<Eio>),
    Away,
    Over,
}

/// What became of a try to take up a socket again.
pub enum Recovery {
    /// The transport that it had until now, if it was still there.
    Back(Option<Arc<Eio>>),
    /// Not all that was missed is kept. The transport that it has, if any.
    Missed(Option<Arc<Eio>>),
    Over,
}

impl Socket {
    /// Unique; never used twice while the server runs.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the client sees as `socket.id`. May be told to anyone: nobody gets in with it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// An event with one argument.
    pub fn emit(&self, event: &str, arg: &impl Serialize) {
        match serde_json::to_string(&(event, arg)) {
            Ok(array) => self.emit_raw(&array),
            Err(error) => debug!(%error, event, "an event that is no JSON"),
        }
    }

    /// An event as the JSON array of its name and arguments, `["name",1]`: for relays, which have it as text. That it is
    /// one is the caller's duty.
    pub fn emit_raw(&self, array: &str) {
        self.emit_parts(&[array], Vec::new());
    }

    /// The same with attachments; their places in the array are `{"_placeholder":true,"num":0}` and so on, all of them.
    pub fn emit_with(&self, array: &str, attachments: Vec<Bytes>) {
        self.emit_parts(&[array], attachments);
    }

    /// The same with the array in parts, which spares a relay to put it together first:
    /// `&["[\"webrtc_offer\",", body.get(), "]"]`.
    pub fn emit_parts(&self, array: &[&str], attachments: Vec<Bytes>) {
        let mut out = self.out();
        let offset = out.kept.next_offset();
        let text = packet::event_text(&self.registered.prefix, array, attachments.len(), offset);
        let packet = self.held.packet(text, attachments);
        if !matches!(out.link, Link::Over) {
            out.kept.push(packet.clone(), Instant::now());
            self.send(&mut out, packet);
        }
    }

    /// Answers an event that came with an ack, with one argument. It is not kept: an ack lost with the transport is lost.
    pub fn ack(&self, id: AckId, arg: &impl Serialize) {
        match serde_json::to_string(&(arg,)) {
            Ok(array) => self.ack_raw(id, &array),
            Err(error) => debug!(%error, "an ack that is no JSON"),
        }
    }

    /// The same with the JSON array of all arguments.
    pub fn ack_raw(&self, id: AckId, array: &str) {
        let text = packet::ack_text(&self.registered.prefix, id, array);
        self.send(&mut self.out(), self.held.packet(text, Vec::new()));
    }

    /// Ends it, for good. [`Gone::ServerClosed`] comes later, never from within this. With `transport`, the transport
    /// goes as well and the other namespaces on it lose theirs; without, the client is told to leave this one. To be called
    /// on the server's runtime, like everything here.
    pub fn disconnect(self: &Arc<Self>, transport: bool) {
        let mut out = self.out();
        let farewell = self.held.packet(packet::disconnect_text(&self.registered.prefix), Vec::new());
        self.send(&mut out, farewell);
        let was = std::mem::replace(&mut out.link, Link::Over);
        drop(out);
        self.carrier.store(0, Ordering::Release);
        if let Link::Here(eio) = &was
            && transport
        {
            eio.close(DisconnectReason::TransportError);
        }
        match was {
            // While it is early its gateway does not hold it: the refusal, or the hub, sees that it is over.
            Link::Over | Link::Early(_) => {}
            Link::Here(_) | Link::Away => {
                let socket = self.clone();
                tokio::spawn(async move { socket.end(Gone::ServerClosed) });
            }
        }
    }

    /// Whether its transport is there.
    pub fn is_here(&self) -> bool {
        matches!(self.out().link, Link::Here(_))
    }

    /// The gateway's own state of this socket, of the type that [`Socket::set_state`] was given.
    pub fn state<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.state.get()?.downcast_ref()
    }

    /// Once; a second one is refused.
    pub fn set_state<T: Any + Send + Sync>(&self, state: T) -> bool {
        self.state.set(Box::new(state)).is_ok()
    }
}

/// For the hub and the transports.
impl Socket {
    pub(super) fn new(hub: Arc<Hub>, registered: Arc<Registered>, number: u64, carrier: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            handle: Handle::from_bits(rand::random()),
            secret: rand::random(),
            hub,
            registered,
            carrier: AtomicU64::new(carrier),
            turn: Mutex::new(()),
            out: Mutex::new(Out { link: Link::Early(Vec::new()), kept: Kept::default(), losses: 0 }),
            held: Held::default(),
            state: OnceLock::new(),
        })
    }

    pub(super) fn registered(&self) -> &Arc<Registered> {
        &self.registered
    }

    pub(super) fn secret(&self) -> [u8; 16] {
        self.secret.to_be_bytes()
    }

    /// Whoever holds it calls the gateway for this socket.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_carried_by(&self, transport: u64) -> bool {
        self.carrier.load(Ordering::Acquire) == transport
    }

    /// CONNECT, then what was emitted meanwhile. False if it was ended meanwhile.
    pub(super) fn begin(&self, eio: &Arc<Eio>, pid: &str) -> bool {
        let mut out = self.out();
        let Link::Early(early) = &mut out.link else { return false };
        let early = std::mem::take(early);
        out.link = Link::Here(eio.clone());
        self.send(&mut out, self.connected(pid));
        for packet in early {
            self.send(&mut out, packet);
        }
        true
    }

    /// It was refused: nothing reaches it any more.
    pub(super) fn refuse(&self) {
        self.out().link = Link::Over;
    }

    /// Takes it up on another transport, with what was missed after `offset`.
    pub(super) fn recover(&self, eio: &Arc<Eio>, transport: u64, pid: &str, offset: u64) -> Recovery {
        let mut out = self.out();
        let Some(missed) = out.kept.after(offset).map(|missed| missed.cloned().collect::<Vec<_>>()) else {
            return Recovery::Missed(match &out.link {
                Link::Here(eio) => Some(eio.clone()),
                Link::Early(_) | Link::Away | Link::Over => None,
            });
        };
        let was = match std::mem::replace(&mut out.link, Link::Here(eio.clone())) {
            over @ (Link::Over | Link::Early(_)) => {
                out.link = over;
                return Recovery::Over;
            }
            Link::Here(was) => Some(was),
            Link::Away => None,
        };
        out.losses += 1;
        self.carrier.store(transport, Ordering::Release);
        self.send(&mut out, self.connected(pid));
        for packet in missed {
            self.send(&mut out, packet);
        }
        Recovery::Back(was)
    }

    /// Its transport is lost. The number of this loss, if it was there until now.
    pub(super) fn lose(&self) -> Option<u64> {
        let mut out = self.out();
        if !matches!(out.link, Link::Here(_)) {
            return None;
        }
        out.link = Link::Away;
        out.losses += 1;
        self.carrier.store(0, Ordering::Release);
        Some(out.losses)
    }

    /// Over, if it was not already; with `loss`, only if it is still lost in that way.
    pub(super) fn finish(&self, loss: Option<u64>) -> bool {
        let mut out = self.out();
        let applies = match out.link {
            Link::Over | Link::Early(_) => false,
            Link::Away => loss.is_none_or(|loss| loss == out.losses),
            Link::Here(_) => loss.is_none(),
        };
        if applies {
            out.link = Link::Over;
            out.kept = Kept::default();
            self.carrier.store(0, Ordering::Release);
        }
        applies
    }

    /// Tells the gateway and the hub that it is over.
    pub(super) fn end(self: &Arc<Self>, why: Gone) {
        let _turn = self.turn();
        self.ended(why);
    }

    /// The same for who has the turn.
    pub(super) fn ended(self: &Arc<Self>, why: Gone) {
        self.hub.forget(self.number);
        debug!(socket = self.number, ?why, "a socket is gone");
        self.registered.gateway.gone(self, why);
    }

    pub(super) fn prune(&self, now: Instant) {
        self.out().kept.prune(now);
    }

    fn connected(&self, pid: &str) -> Outgoing {
        let json = format!("{{\"sid\":\"{}\",\"pid\":\"{pid}\"}}", self.handle);
        self.held.packet(packet::connect_text(&self.registered.prefix, &json), Vec::new())
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Into the transport's queue, if there is one. A client that is too slow loses its transport.
    fn send(&self, out: &mut Out, packet: Outgoing) {
        match &mut out.link {
            Link::Early(early) if early.len() < EARLY => early.push(packet),
            Link::Here(eio) => {
                if self.held.bytes() > HELD || !enqueue(eio, packet) {
                    self.hub.too_slow(eio);
                }
            }
            Link::Early(_) | Link::Away | Link::Over => {}
        }
    }
}

/// False if the queue is full. A closed one takes everything: its loss is on its way.
fn enqueue(eio: &Eio, packet: Outgoing) -> bool {
    use tokio::sync::mpsc::error::TrySendError;
    match eio.reserve() {
        Ok(permit) if packet.attachments.is_empty() => permit.emit(packet.text),
        Ok(permit) => permit.emit_many(packet.text, VecDeque::from(packet.attachments.into_vec())),
        Err(TrySendError::Full(())) => return false,
        Err(TrySendError::Closed(())) => {}
    }
    true
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("number", &self.number).field("namespace", &self.registered.name).finish()
    }
}
