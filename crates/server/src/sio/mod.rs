//! Socket.IO, as the older apps speak it: protocol 5 on Engine.IO 4, with polling, WebSocket and the upgrade between them.
//!
//! A gateway is a [`Namespace`]. It is registered by name with [`SocketIo::builder`]; [`SocketIo::router`] is what the
//! HTTP side mounts. From then on the gateway is told of connections and events, in the order in which they were sent,
//! and answers through [`Socket`]. Several namespaces share one transport, as the protocol has it.
//!
//! What a client sees as its `socket.id` is a [`Handle`]: public, of one namespace connection, good for naming a party
//! and for nothing else. The id of the Engine.IO session is another one and never leaves its own transport, and what
//! brings a lost connection back (`pid`) is a third.
//!
//! Each event that is emitted carries one argument more than the gateway gave, its offset, as Socket.IO's connection-state
//! recovery has it. A client of 4.6 or later whose transport is lost comes back within [`RECOVERY`] under the same id and
//! gets what it missed; an older client comes back as another socket.
//!
//! Left out: protocol 4 of Socket.IO 2, acks that the server asks for, rooms (the gateways' own matter), and compression.

mod hub;
mod packet;
mod queue;
mod service;
mod socket;
mod transport;

pub use service::install;
pub use socket::Socket;

use axum::http::HeaderMap;
use bytes::Bytes;
use hub::Hub;
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where the clients' library looks if it is told nothing else.
pub const PATH: &str = "/socket.io/";
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
pub const PING_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one message, and of one polling request.
pub const MESSAGE: usize = 1_000_000;
/// How long a transport may stay without a namespace.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);
/// How long a lost connection can be taken up again.
pub const RECOVERY: Duration = Duration::from_secs(15);
/// Binary parts of one event.
pub const ATTACHMENTS: usize = 16;
/// How deep the JSON of an event may be nested.
pub const DEPTH: usize = 64;

/// One gateway. The calls for one socket never overlap and come from whatever task has the news; none may block.
pub trait Namespace: Send + Sync + 'static {
    /// Someone connects. The answer goes out when this returns; what is emitted to `socket` before goes out after it.
    /// After an `Err` nothing else is ever called for this socket.
    fn connect(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> Result<(), ConnectRefusal>;
    /// Whether `socket`, whose transport was lost, may be taken up by this new connection, which knows its secret. The
    /// place to check the token again. A refusal makes it a new connection, by `connect`.
    fn may_recover(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> bool;
    fn event(&self, socket: &Arc<Socket>, event: Incoming<'_>);
    /// The transport is lost. What is emitted is kept; after [`RECOVERY`] comes `gone`, unless `back` comes before.
    fn away(&self, socket: &Arc<Socket>);
    /// The same client is here again, with what it missed.
    fn back(&self, socket: &Arc<Socket>);
    /// The end; also without `away` before it. Never called from within another call of this gateway's.
    fn gone(&self, socket: &Arc<Socket>, why: Gone);
}

/// What a client says when it connects.
#[derive(Clone, Copy)]
pub struct Hello<'a> {
    /// The `auth` option of the client, a JSON object.
    pub auth: Option<&'a RawValue>,
    /// Of the request that opened the transport.
    pub headers: &'a HeaderMap,
    /// The far end of the TCP connection: a proxy's, if there is one.
    pub address: IpAddr,
    /// From this machine, and not from a page in a browser.
    pub is_local: bool,
}

/// Said to the client as `connect_error`: `error.message` and `error.data`.
#[derive(Clone, Debug)]
pub struct ConnectRefusal {
    pub message: String,
    pub data: Option<serde_json::Value>,
}

impl ConnectRefusal {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }
}

/// One event of a client.
pub struct Incoming<'a> {
    pub name: &'a str,
    /// What follows the name. An attachment's place shows `{"_placeholder":true,"num":0}`; each number is that of an
    /// attachment which is there.
    pub args: &'a [&'a RawValue],
    pub attachments: Vec<Bytes>,
    /// The client waits for [`Socket::ack`] with this.
    pub ack: Option<AckId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client said that it leaves this namespace.
    ClientLeft,
    /// The transport was lost and nobody came back in time.
    Lost,
    /// This side ended it: [`Socket::disconnect`], or the server stops.
    ServerClosed,
}

/// The server of all namespaces of one path.
#[derive(Clone)]
pub struct SocketIo(Arc<Hub>);

#[must_use]
pub struct Builder {
    path: String,
    origins: Origins,
    namespaces: Vec<(String, Arc<dyn Namespace>)>,
    numbers: Option<Numbers>,
}

/// Where the sockets' numbers come from.
type Numbers = Box<dyn Fn() -> u64 + Send + Sync>;

/// Which pages of other sites may connect.
#[derive(Clone, Debug, Default)]
struct Origins {
    any: bool,
    exact: Vec<String>,
}

impl Origins {
    fn allow(&self, origin: &[u8]) -> bool {
        self.any || self.exact.iter().any(|one| one.as_bytes() == origin)
    }
}

impl SocketIo {
    pub fn builder() -> Builder {
        Builder { path: PATH.into(), origins: Origins::default(), namespaces: Vec::new(), numbers: None }
    }
}

impl Builder {
    /// Another path than [`PATH`]; begins and ends with a slash.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// The pages that may connect, each as `https://app.example`, or `*` for all. Clients that are no pages always may.
    pub fn origins<T: AsRef<str>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        for origin in origins {
            match origin.as_ref() {
                "*" => self.origins.any = true,
                exact => self.origins.exact.push(exact.trim_end_matches('/').into()),
            }
        }
        self
    }

    /// A gateway under its name: "/" or "/random-chat".
    pub fn namespace(mut self, name: &str, gateway: Arc<dyn Namespace>) -> Self {
        self.namespaces.push((name.into(), gateway));
        self
    }

    /// Where [`Socket::number`]s come from, if others share them: `move || app.socket_number()`. Without it: from 1.
    pub fn numbers(mut self, next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.numbers = Some(Box::new(next));
        self
    }

    pub fn build(self) -> SocketIo {
        SocketIo(Hub::new(self))
    }
}
