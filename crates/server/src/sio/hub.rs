//! All transports and sockets of one path, and the three things that time does to them: a transport that connects to no
//! namespace is closed, a lost socket is given up, and what is kept for one grows old.

use super::packet;
use super::socket::Socket;
use super::transport::Transport;
use super::{Builder, CONNECT_TIMEOUT, Gone, Namespace, Numbers, Origins, RECOVERY};
use engineioxide::sid::Sid;
use engineioxide::{DisconnectReason, TransportType};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tracing::debug;

/// An Engine.IO session: one client's transport, or two while it changes from polling to WebSocket.
pub type Eio = engineioxide::Socket<Transport>;

/// Between two looks at the deadlines.
pub const LOOK: Duration = Duration::from_millis(250);
/// Between two looks at what is kept.
const PRUNE: Duration = Duration::from_secs(30);
/// For a change to WebSocket to be done, when the server stops: some round trips, and less than the server waits for all.
const UPGRADE: Duration = Duration::from_secs(2);
/// Changes that are known of. One more is cut when the server stops.
const UPGRADES: usize = 4_096;

pub struct Hub {
    pub path: String,
    pub origins: Origins,
    namespaces: Vec<Arc<Registered>>,
    numbers: Numbers,
    last_transport: AtomicU64,
    draining: AtomicBool,
    transports: Mutex<HashMap<u64, Weak<Eio>>>,
    /// Who changes from polling to WebSocket, since when. The old ones are removed with each look.
    upgrades: Mutex<HashMap<Sid, Instant>>,
    /// Those that a gateway knows, so also those that are away.
    sockets: Mutex<HashMap<u64, Arc<Socket>>>,
    deadlines: Mutex<Deadlines>,
}

/// A gateway under its name.
pub struct Registered {
    pub name: String,
    /// Before the body of its packets.
    pub prefix: String,
    pub gateway: Arc<dyn Namespace>,
}

/// Each queue has one length of time, so its order is that of the deadlines.
#[derive(Default)]
struct Deadlines {
    /// Transports that must have a namespace by then.
    connect: VecDeque<(Instant, Weak<Eio>)>,
    /// Sockets lost, with the number of that loss.
    recovery: VecDeque<(Instant, Weak<Socket>, u64)>,
    prune: Option<Instant>,
}

impl Hub {
    pub fn new(builder: Builder) -> Arc<Self> {
        let Builder { path, origins, namespaces, numbers } = builder;
        let registered = namespaces.into_iter().map(|(name, gateway)| {
            let prefix = packet::prefix(&name);
            Arc::new(Registered { name, prefix, gateway })
        });
        let own = AtomicU64::new(1);
        Arc::new(Self {
            path,
            origins,
            namespaces: registered.collect(),
            numbers: numbers.unwrap_or_else(|| Box::new(move || own.fetch_add(1, Ordering::Relaxed))),
            last_transport: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            transports: Mutex::default(),
            upgrades: Mutex::default(),
            sockets: Mutex::default(),
            deadlines: Mutex::default(),
        })
    }

    pub fn namespace(&self, name: &str) -> Option<&Arc<Registered>> {
        self.namespaces.iter().find(|one| one.name == name)
    }

    pub fn socket_number(&self) -> u64 {
        (self.numbers)()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A transport is there. Its number is never 0.
    pub fn enter(&self, eio: &Arc<Eio>) -> u64 {
        let number = self.last_transport.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.transports).insert(number, Arc::downgrade(eio));
        metrics::gauge!("bellwire_socketio_transports").increment(1);
        self.expect_namespace(eio);
        number
    }

    /// It has to connect to a namespace from now on, in time.
    pub fn expect_namespace(&self, eio: &Arc<Eio>) {
        lock(&self.deadlines).connect.push_back((Instant::now() + CONNECT_TIMEOUT, Arc::downgrade(eio)));
    }

    pub fn leave(&self, transport: u64) {
        if lock(&self.transports).remove(&transport).is_some() {
            metrics::gauge!("bellwire_socketio_transports").decrement(1);
        }
    }

    /// A session's change to WebSocket begins.
    pub fn upgrades(&self, session: Sid) {
        let mut upgrades = lock(&self.upgrades);
        if upgrades.len() < UPGRADES {
            upgrades.insert(session, Instant::now());
        }
    }

    /// A gateway knows it from now on.
    pub fn remember(&self, socket: &Arc<Socket>) {
        lock(&self.sockets).insert(socket.number(), socket.clone());
        metrics::gauge!("bellwire_socketio_sockets").increment(1);
    }

    pub fn forget(&self, socket: u64) {
        if lock(&self.sockets).remove(&socket).is_some() {
            metrics::gauge!("bellwire_socketio_sockets").decrement(1);
        }
    }

    /// What brings this socket back: where to find it, and the secret.
    pub fn pid(socket: &Socket) -> String {
        format!("{:x}.{:032x}", socket.number(), u128::from_be_bytes(socket.secret()))
    }

    /// The socket of this namespace that this `pid` brings back.
    pub fn find(&self, registered: &Arc<Registered>, pid: &str) -> Option<Arc<Socket>> {
        let (number, secret) = pid.split_once('.')?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let secret = u128::from_str_radix(secret, 16).ok()?.to_be_bytes();
        let socket = lock(&self.sockets).get(&number).cloned()?;
        let is_it = bool::from(socket.secret().ct_eq(&secret)) && Arc::ptr_eq(socket.registered(), registered);
        is_it.then_some(socket)
    }

    /// The transport of this socket was lost; it may come back.
    pub fn lost(&self, socket: &Arc<Socket>, loss: u64) {
        let until = Instant::now() + RECOVERY;
        lock(&self.deadlines).recovery.push_back((until, Arc::downgrade(socket), loss));
    }

    /// The client does not read what it is sent.
    pub fn too_slow(self: &Arc<Self>, eio: &Arc<Eio>) {
        if !eio.data.give_up() {
            return;
        }
        metrics::counter!("bellwire_socketio_too_slow_total").increment(1);
        eio.close(DisconnectReason::TransportError);
        // Its writer may hang in the client's full window; its sockets need not wait for that.
        let (hub, eio) = (self.clone(), eio.clone());
        tokio::spawn(async move { hub.transport_lost(&eio) });
    }

    /// What is due now.
    pub fn look(&self, now: Instant) {
        while let Some(eio) = self.due_transport(now) {
            if eio.data.is_unused() {
                debug!("a transport without a namespace");
                eio.close(DisconnectReason::TransportClose);
            }
        }
        while let Some((socket, loss)) = self.due_socket(now) {
            let turn = socket.turn();
            if socket.finish(Some(loss)) {
                socket.ended(Gone::Lost);
            }
            drop(turn);
        }
        lock(&self.upgrades).retain(|_, since| now < *since + UPGRADE);
        if self.is_draining() {
            self.close_transports();
        }
        let mut deadlines = lock(&self.deadlines);
        if deadlines.prune.is_none_or(|at| at <= now) {
            deadlines.prune = Some(now + PRUNE);
            drop(deadlines);
            self.all_sockets().iter().for_each(|socket| socket.prune(now));
        }
    }

    fn due_transport(&self, now: Instant) -> Option<Arc<Eio>> {
        let mut deadlines = lock(&self.deadlines);
        loop {
            let (at, eio) = deadlines.connect.front()?;
            let eio = eio.upgrade();
            if eio.is_some() && *at > now {
                return None;
            }
            deadlines.connect.pop_front();
            if eio.is_some() {
                return eio;
            }
        }
    }

    fn due_socket(&self, now: Instant) -> Option<(Arc<Socket>, u64)> {
        let mut deadlines = lock(&self.deadlines);
        loop {
            let (at, socket, loss) = deadlines.recovery.front()?;
            let (socket, loss) = (socket.upgrade(), *loss);
            if socket.is_some() && *at > now {
                return None;
            }
            deadlines.recovery.pop_front();
            if let Some(socket) = socket {
                return Some((socket, loss));
            }
        }
    }

    /// The server stops: every socket is gone, every transport closed now or with the next looks.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for socket in self.all_sockets() {
            let turn = socket.turn();
            if socket.finish(None) {
                socket.ended(Gone::ServerClosed);
            }
            drop(turn);
        }
        self.close_transports();
    }

    /// Closes each once. Those that change to WebSocket are let finish: the older apps' library hears of no end that comes
    /// between the server's answer to its probe and its own last word, and waits for its next ping.
    fn close_transports(&self) {
        let transports: Vec<_> = lock(&self.transports).values().filter_map(Weak::upgrade).collect();
        let upgrades = lock(&self.upgrades).clone();
        let changes = |eio: &Eio| eio.transport_type() == TransportType::Polling && upgrades.contains_key(&eio.id);
        for eio in transports.into_iter().filter(|eio| !changes(eio)) {
            if eio.data.give_up() {
                eio.close(DisconnectReason::ClosingServer);
            }
        }
    }

    /// Whether no transport is left.
    pub fn is_empty(&self) -> bool {
        lock(&self.transports).is_empty()
    }

    fn all_sockets(&self) -> Vec<Arc<Socket>> {
        lock(&self.sockets).values().cloned().collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("path", &self.path).finish_non_exhaustive()
    }
}
