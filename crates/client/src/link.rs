//! The socket to the server, kept up for as long as the client lives.
//!
//! One task makes the connection, says hello, resumes the session that was lost, and tries again when it is gone:
//! after a random share of a time that doubles up to half a minute, and never before the moment that the server asked
//! for. Its owner says how much hangs on it ([`Urgency`]): in a call it is tried about once a second, and while
//! sound is lost a silent socket is put to the proof. A socket whose path is in doubt is kept until another one stands,
//! which takes the session over. It knows frames and their numbers, and nothing of calls.
//!
//! Each connection has its own queue for frames to be sent, handed out with [`LinkEvent::Up`], also when it replaces one
//! that was never said to be down. What waits in it when the connection is lost is lost with it; the endpoint says again
//! what was not answered.

mod connector;
mod dial;

use crate::fault;
use crate::socket::{Server, receive, send};
use crate::{LinkFault, Stop};
use bellwire_signaling::{
    ClientFrame, CommandId, DevPerson, DeviceId, Event, Reply, ServerFrame, Token, UnixMs, WireError, You, limits,
};
use connector::Connector;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Frames that wait to be sent. Full means that the socket takes nothing more: the owner drops its end, and the
/// connection is made anew.
const TO_SEND: usize = 64;
/// Events that wait for the loop. Full: the socket is not read until there is room.
const TO_READ: usize = 64;

/// Longest pauses of a connection that still counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From the first byte to the WebSocket, and from the hello to the welcome.
    pub connect: Duration,
    /// Without a frame of any kind; the server pings far more often.
    pub silence: Duration,
    /// Until the socket takes a frame.
    pub send: Duration,
    /// The first retry comes within this time; each later one within twice as much, up to the last.
    pub first_retry: Duration,
    pub last_retry: Duration,
    /// A connection that held this long starts the retries from the beginning.
    pub steady: Duration,
    /// The same as `connect` and `last_retry` in a call, for TCP alone: after a loss its own retries come after 1, 3 and
    /// 7 s (RFC 6298), those of a new connection at once.
    pub hurried_connect: Duration,
    pub hurried_retry: Duration,
    /// From the hello to the welcome, in a call.
    pub hurried_welcome: Duration,
    /// How soon the answer to a ping has to be there while sound is lost.
    pub proof: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(limits::DEAD_SECONDS),
            send: Duration::from_secs(10),
            first_retry: Duration::from_millis(250),
            last_retry: Duration::from_secs(30),
            steady: Duration::from_secs(10),
            hurried_connect: Duration::from_secs(3),
            hurried_retry: Duration::from_secs(1),
            hurried_welcome: Duration::from_secs(5),
            proof: Duration::from_secs(1),
        }
    }
}

/// How much hangs on the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    #[default]
    Calm,
    /// A call is being connected or goes on.
    Call,
    /// Its sound is lost, and the next connection needs the link.
    SoundLost,
}

impl Urgency {
    fn hurries(self) -> bool {
        match self {
            Self::Calm => false,
            Self::Call | Self::SoundLost => true,
        }
    }
}

/// What the owner wants of the link; only the newest counts.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    urgency: Urgency,
    /// Counts: the network is another one, so connect anew.
    renewals: u64,
    /// Counts: the socket may be dead, so find out.
    doubts: u64,
}

/// Who signs in, and where.
pub(crate) struct Identity {
    pub server: Url,
    pub token: Token,
    pub device: DeviceId,
}

#[derive(Debug)]
pub(crate) enum LinkEvent {
    Connecting,
    Up {
        frames: mpsc::Sender<ClientFrame>,
        resumed: bool,
        you: You,
        server_time: UnixMs,
        /// The server's address; none where it is behind something that hides it.
        server: Option<SocketAddr>,
    },
    Event(Event),
    Reply {
        id: CommandId,
        result: Result<Reply, WireError>,
    },
    /// Tried again after `retry_in`.
    Down {
        retry_in: Duration,
        why: LinkFault,
    },
    /// Nothing follows.
    Stopped(Stop),
}

/// The loop's end of the link.
pub(crate) struct Link {
    pub events: mpsc::Receiver<LinkEvent>,
    orders: watch::Sender<Orders>,
    closing: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    pub(crate) fn start(identity: Identity, patience: Patience) -> Self {
        let (sender, events) = mpsc::channel(TO_READ);
        let (orders, ordered) = watch::channel(Orders::default());
        let closing = CancellationToken::new();
        let connector = Connector::new(identity, patience, sender, ordered, closing.clone());
        let task = tokio::spawn(connector.run());
        Self { events, orders, closing, task }
    }

    /// To be told whenever it changes; the same again changes nothing.
    pub(crate) fn urgency(&self, urgency: Urgency) {
        self.orders.send_if_modified(|orders| std::mem::replace(&mut orders.urgency, urgency) != urgency);
    }

    /// The network is another one: connects anew at once. What the server asked for is still kept to.
    pub(crate) fn renew(&self) {
        self.orders.send_modify(|orders| orders.renewals += 1);
    }

    /// The socket may be dead: finds out with a ping, and connects anew if there is no answer.
    pub(crate) fn doubt(&self) {
        self.orders.send_modify(|orders| orders.doubts += 1);
    }

    /// Sends what waits in `frames`, says goodbye and ends, all within `cap`.
    pub(crate) async fn close(self, frames: Option<mpsc::Sender<ClientFrame>>, cap: Duration) {
        self.closing.cancel();
        drop(frames);
        drop(self.events);
        let abort = self.task.abort_handle();
        if timeout(cap, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Asks a server that runs for development who is there to sign in as.
pub async fn dev_people(server: &Url) -> Result<Vec<DevPerson>, LinkFault> {
    let patience = Patience::default();
    let deadline = Instant::now() + patience.connect;
    let server = Server::at(server).ok_or(LinkFault::BadAddress)?;
    let connect = async { server.upgrade(server.tcp().await?).await };
    let connected = timeout(patience.connect, connect).await.unwrap_or(Err(LinkFault::Unreachable.into()));
    let mut socket = connected.map_err(|lost| lost.why)?;
    send(&mut socket, &ClientFrame::DevPeople {}, patience.send).await.map_err(|lost| lost.why)?;
    loop {
        match receive(&mut socket, deadline).await.map_err(|lost| lost.why)? {
            ServerFrame::DevPeople { people } => {
                let _ = socket.close(None).await;
                return Ok(people);
            }
            ServerFrame::Refused { error, .. } => return Err(fault::of_wire(&error).why),
            ServerFrame::Welcome { .. } | ServerFrame::Ack { .. } | ServerFrame::Event { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_signaling::SUBPROTOCOL;
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
    use tokio_tungstenite::tungstenite::http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

    #[tokio::test]
    async fn a_socket_on_which_nothing_comes_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Url::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        let identity = Identity { server, token: Token::new("t").unwrap(), device: DeviceId::new("d").unwrap() };
        let patience =
            Patience { connect: Duration::from_millis(300), silence: Duration::from_millis(100), ..Default::default() };
        let mut link = Link::start(identity, patience);
        // The first takes the connection and says nothing; the second welcomes and then says nothing.
        let (_silent, _) = listener.accept().await.unwrap();
        assert_eq!(next_fault(&mut link).await, LinkFault::Unreachable);
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, with_subprotocol).await.unwrap();
        let _hello = socket.next().await.unwrap().unwrap();
        let welcome = r#"{"type":"welcome","session":"s","resumed":false,"server_time":1,
            "you":{"user":"u","name":"n"},"limits":{"frame_bytes":65536,"ping_seconds":25,"resume_seconds":120}}"#;
        socket.send(Message::text(welcome)).await.unwrap();
        assert_eq!(next_fault(&mut link).await, LinkFault::Silent);
    }

    #[allow(clippy::result_large_err, clippy::unnecessary_wraps)]
    fn with_subprotocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    }

    async fn next_fault(link: &mut Link) -> LinkFault {
        loop {
            if let LinkEvent::Down { why, .. } = link.events.recv().await.unwrap() {
                return why;
            }
        }
    }
}
