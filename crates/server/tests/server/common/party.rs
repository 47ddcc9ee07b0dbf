//! One device of one person: a socket that speaks the native protocol.

use super::{CAP, Server};
use bellwire_signaling::*;
use futures_util::{SinkExt, StreamExt};
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How the server ended a socket.
#[derive(Debug)]
pub struct Closed {
    pub error: Option<WireError>,
    pub code: Option<u16>,
}

pub struct Party {
    ws: Ws,
    pub session: SessionId,
    pub resumed: bool,
    pub you: You,
    /// The number of the last event that was read from the socket.
    pub seen: u64,
    events: VecDeque<Event>,
    commands: u64,
    device: String,
}

pub fn id<T: TryFrom<String>>(text: &str) -> T {
    T::try_from(text.to_owned()).unwrap_or_else(|_| panic!("{text} is no id"))
}

/// A socket before its hello.
pub async fn open(server: &Server) -> Ws {
    open_with(server, &[]).await.expect("a socket")
}

pub async fn open_with(server: &Server, headers: &[(&'static str, &str)]) -> Result<Ws, Error> {
    let mut request = format!("ws://{}{SOCKET_PATH}", server.address).into_client_request()?;
    let all = request.headers_mut();
    all.insert("sec-websocket-protocol", SUBPROTOCOL.parse().expect("a header"));
    for (name, value) in headers {
        all.insert(*name, value.parse().expect("a header"));
    }
    connect_async(request).await.map(|(ws, _)| ws)
}

pub fn hello(token: &Token, device: &str, resume: Option<Resume>) -> ClientFrame {
    ClientFrame::Hello { version: VERSION, token: token.clone(), device: id(device), resume }
}

pub async fn send(ws: &mut Ws, frame: &ClientFrame) {
    send_text(ws, serde_json::to_string(frame).expect("a frame")).await.expect("sent");
}

pub async fn send_text(ws: &mut Ws, text: String) -> Result<(), Error> {
    ws.send(Message::text(text)).await
}

/// The next frame, or how the socket ended.
pub async fn receive(ws: &mut Ws) -> Result<ServerFrame, Closed> {
    let mut error = None;
    loop {
        let message = timeout(CAP, ws.next()).await.expect("the server says something");
        match message {
            Some(Ok(Message::Text(text))) => {
                let frame: ServerFrame = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                match frame {
                    // The last words before a close.
                    ServerFrame::Refused { id: None, error: said } if closes(&said) => error = Some(said),
                    frame => return Ok(frame),
                }
            }
            Some(Ok(Message::Close(frame))) => {
                return Err(Closed { error, code: frame.map(|CloseFrame { code, .. }| code.into()) });
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(Closed { error, code: None }),
        }
    }
}

/// A bad frame or one over the limit is refused while the socket stays; with other codes the socket's end follows.
fn closes(error: &WireError) -> bool {
    !matches!(error.code, ErrorCode::BadFrame | ErrorCode::RateLimited)
}

impl Party {
    pub async fn sign_in(server: &Server, token: &Token, device: &str) -> Self {
        let signed_in = Self::hello(server, token, device, None).await;
        signed_in.unwrap_or_else(|closed| panic!("not signed in: {closed:?}"))
    }

    pub async fn hello(server: &Server, token: &Token, device: &str, resume: Option<Resume>) -> Result<Self, Closed> {
        let mut ws = open(server).await;
        send(&mut ws, &hello(token, device, resume)).await;
        Self::welcomed(ws, device).await
    }

    pub async fn welcomed(mut ws: Ws, device: &str) -> Result<Self, Closed> {
        match receive(&mut ws).await? {
            ServerFrame::Welcome { session, resumed, you, .. } => Ok(Self {
                ws,
                session,
                resumed,
                you,
                seen: 0,
                events: VecDeque::new(),
                commands: 0,
                device: device.to_owned(),
            }),
            ServerFrame::Refused { error, .. } => {
                let closed = receive(&mut ws).await.expect_err("the socket closes after a refusal");
                Err(Closed { error: Some(error), ..closed })
            }
            other => panic!("a welcome was expected: {other:?}"),
        }
    }

    pub fn resume(&self) -> Resume {
        Resume { session: self.session.clone(), seen: self.seen }
    }

    /// Sends a command and waits for its answer. Events that come before it are kept.
    pub async fn ask(&mut self, command: Command) -> Result<Reply, WireError> {
        let id = self.say(command).await;
        self.answer(&id).await
    }

    pub async fn ok(&mut self, command: Command) -> Reply {
        let what = format!("{command:?}");
        self.ask(command).await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends a command without waiting.
    pub async fn say(&mut self, command: Command) -> CommandId {
        self.commands += 1;
        let id: CommandId = id(&format!("{}-{:x}-{}", self.device, rand::random::<u32>(), self.commands));
        send(&mut self.ws, &ClientFrame::Command { id: id.clone(), command }).await;
        id
    }

    pub async fn answer(&mut self, wanted: &CommandId) -> Result<Reply, WireError> {
        loop {
            match self.frame().await {
                ServerFrame::Ack { id, reply } if id == *wanted => return Ok(reply),
                ServerFrame::Refused { id: Some(id), error } if id == *wanted => return Err(error),
                _ => {}
            }
        }
    }

    /// The next frame; an event is kept, too.
    pub async fn frame(&mut self) -> ServerFrame {
        let frame = receive(&mut self.ws).await;
        let frame = frame.unwrap_or_else(|closed| panic!("{} was closed: {closed:?}", self.device));
        self.keep(&frame);
        frame
    }

    fn keep(&mut self, frame: &ServerFrame) {
        if let ServerFrame::Event { seq, event } = frame {
            assert_eq!(*seq, self.seen + 1, "events are numbered without a gap");
            self.seen = *seq;
            self.events.push_back(event.clone());
        }
    }

    /// Continues the numbering of a resumed session.
    pub fn after(mut self, seen: u64) -> Self {
        self.seen = seen;
        self
    }

    /// The first event for which `pick` finds something, in order; those before it are dropped.
    pub async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let found = timeout(CAP, async {
            loop {
                while let Some(event) = self.events.pop_front() {
                    if let Some(found) = pick(&event) {
                        return found;
                    }
                }
                self.frame().await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{} waits in vain for {what}", self.device))
    }

    /// The next view of a call whose phase is wanted.
    pub async fn view(&mut self, what: &str, mut wanted: impl FnMut(&Phase) -> bool) -> CallView {
        let pick = |event: &Event| match event {
            Event::Call { view } if wanted(&view.phase) => Some(view.clone()),
            _ => None,
        };
        self.event(what, pick).await
    }

    /// How this call ended.
    pub async fn ended(&mut self, call: &CallId) -> Ending {
        let pick = |event: &Event| match event {
            Event::Call { view: CallView { call: of, phase: Phase::Ended { ending }, .. } } if of == call => {
                Some(ending.clone())
            }
            _ => None,
        };
        self.event("an end", pick).await
    }

    pub async fn history(&mut self) -> Vec<CallRecord> {
        match self.ok(Command::History { before: None, limit: 50 }).await {
            Reply::History { calls } => calls,
            other => panic!("{other:?}"),
        }
    }

    pub async fn bookings(&mut self) -> Vec<BookingView> {
        match self.ok(Command::Bookings {}).await {
            Reply::Bookings { bookings } => bookings,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the server closes the socket; its last refusal says why.
    pub async fn closed(&mut self) -> Closed {
        let mut last = None;
        loop {
            match receive(&mut self.ws).await {
                Ok(ServerFrame::Refused { id: None, error }) => last = Some(error),
                Ok(_) => {}
                Err(closed) => return Closed { error: closed.error.or(last), ..closed },
            }
        }
    }

    pub fn socket(&mut self) -> &mut Ws {
        &mut self.ws
    }

    /// The connection is gone, without a word.
    pub fn vanish(self) -> Resume {
        self.resume()
    }
}
