//! A server for one socket at a time, whose every frame the test decides.

// Each test program uses its part of this.
#![allow(dead_code)]

use bellwire_client::signaling::{
    ClientFrame, Command, CommandId, Event, Limits, SUBPROTOCOL, ServerFrame, SessionId, limits,
};
use bellwire_client::{Client, Config, DeviceId, Snapshot, Token, UnixMs, Update, Updates, Url, UserId, You, media};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

/// What a loaded machine may take for anything here.
const CAP: Duration = Duration::from_secs(30);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(CAP, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing for {CAP:?}"),
    }
}

pub struct Server {
    pub listener: TcpListener,
}

pub struct Socket(WebSocketStream<TcpStream>);

impl Server {
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn url(&self) -> Url {
        format!("ws://{}", self.listener.local_addr().unwrap()).parse().unwrap()
    }

    pub async fn accept(&self) -> Socket {
        let (stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        #[allow(clippy::result_large_err)]
        let answer = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/v1/socket");
            assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], SUBPROTOCOL);
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        Socket(within("a handshake", tokio_tungstenite::accept_hdr_async(stream, answer)).await.unwrap())
    }

    /// A connection that has said its hello and was welcomed to a session of this name.
    pub async fn welcome(&self, session: &str, resumed: bool) -> Socket {
        let mut socket = self.accept().await;
        let hello = socket.receive().await;
        assert!(matches!(hello, ClientFrame::Hello { .. }), "{hello:?}");
        socket.send_welcome(session, resumed).await;
        socket
    }
}

impl Socket {
    pub async fn receive(&mut self) -> ClientFrame {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next command, but for those that ask which relays there are.
    pub async fn command(&mut self) -> (CommandId, Command) {
        loop {
            match self.receive().await {
                ClientFrame::Command { command: Command::IceServers { .. }, .. } => {}
                ClientFrame::Command { id, command } => return (id, command),
                frame => panic!("no command: {frame:?}"),
            }
        }
    }

    pub async fn message(&mut self) -> Message {
        within("a frame", self.0.next()).await.unwrap().unwrap()
    }

    pub async fn send(&mut self, frame: &ServerFrame) {
        self.send_raw(Message::text(serde_json::to_string(frame).unwrap())).await;
    }

    /// To a client that may have let go of this socket.
    pub async fn try_send(&mut self, frame: &ServerFrame) {
        let _ = self.0.send(Message::text(serde_json::to_string(frame).unwrap())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    pub async fn send_event(&mut self, seq: u64, event: Event) {
        self.send(&ServerFrame::Event { seq, event }).await;
    }

    pub async fn send_welcome(&mut self, session: &str, resumed: bool) {
        let welcome = ServerFrame::Welcome {
            session: SessionId::new(session).unwrap(),
            resumed,
            server_time: UnixMs(1_000_000),
            you: You { user: UserId::new("ada").unwrap(), name: "Ada".into() },
            limits: Limits { frame_bytes: limits::FRAME as u32, ping_seconds: 25, resume_seconds: 120 },
        };
        self.send(&welcome).await;
    }
}

pub fn start(server: Url) -> (Client, Updates) {
    start_with(server, media::Config::default())
}

pub fn start_with(server: Url, media: media::Config) -> (Client, Updates) {
    let token = Token::new("a.test.token").unwrap();
    let device = DeviceId::new("device-1").unwrap();
    Client::start(Config { server, token, device, media, tones: false, relay_only: false, checks_by_itself: false })
}

/// The first update of which `pick` makes something.
pub async fn wait_for<T>(updates: &mut Updates, what: &str, mut pick: impl FnMut(Update) -> Option<T>) -> T {
    let search = async {
        loop {
            let Some(update) = updates.next().await else { panic!("{what}: the updates ended") };
            if let Some(found) = pick(update) {
                return found;
            }
        }
    };
    within(what, search).await
}

pub async fn snapshot_where(updates: &mut Updates, what: &str, fits: impl Fn(&Snapshot) -> bool) -> Box<Snapshot> {
    wait_for(updates, what, |update| match update {
        Update::Snapshot(snapshot) if fits(&snapshot) => Some(snapshot),
        _ => None,
    })
    .await
}
