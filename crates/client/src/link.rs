//! The socket to the server, kept up for as long as the client lives.
//!
//! One task makes the connection, says hello, resumes the session that was lost, and tries again when it is gone:
//! at once the first time, then after a random share of a time that doubles up to half a minute, and never before the
//! moment that the server asked for. It knows frames and their numbers, and nothing of calls.
//!
//! Each connection has its own queue for frames to be sent, handed out with [`LinkEvent::Up`]. What waits in it when
//! the connection is lost is lost with it; the endpoint says again what was not answered.

use crate::fault::{self, Lost};
use crate::socket::{Heard, Socket, connect, message, parse, receive, send};
use crate::{LinkFault, Stop};
use bellwire_signaling::{
    ClientFrame, CommandId, DevPerson, DeviceId, ErrorCode, Event, Reply, Resume, ServerFrame, SessionId, Token,
    UnixMs, VERSION, WireError, You, limits,
};
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
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
        }
    }
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
    closing: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    pub(crate) fn start(identity: Identity, patience: Patience) -> Self {
        let (sender, events) = mpsc::channel(TO_READ);
        let closing = CancellationToken::new();
        let connector = Connector { identity, patience, events: sender, closing: closing.clone(), session: None };
        let task = tokio::spawn(connector.run());
        Self { events, closing, task }
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
    let mut socket = connect(server, patience.connect).await.map_err(|lost| lost.why)?;
    let deadline = Instant::now() + patience.connect;
    send(&mut socket, &ClientFrame::DevPeople {}, patience.send).await.map_err(|lost| lost.why)?;
    loop {
        match receive(&mut socket, deadline).await.map_err(|lost| lost.why)? {
            ServerFrame::DevPeople { people } => {
                let _ = socket.close(None).await;
                return Ok(people);
            }
            ServerFrame::Refused { error, .. } => return Err(refusal(error).why),
            ServerFrame::Welcome { .. } | ServerFrame::Ack { .. } | ServerFrame::Event { .. } => {}
        }
    }
}

/// Why a connection is over.
enum Over {
    Lost(Lost),
    Stopped(Stop),
    /// The client is closing, or its loop is gone.
    Closed,
}

impl From<Lost> for Over {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// What can be taken up again.
struct Session {
    id: SessionId,
    /// The number of the newest event that was handed on; none was yet in a new session.
    seen: Option<u64>,
}

struct Connector {
    identity: Identity,
    patience: Patience,
    events: mpsc::Sender<LinkEvent>,
    closing: CancellationToken,
    session: Option<Session>,
}

impl Connector {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let over = match self.connection().await {
                ControlFlow::Break(over) => over,
                ControlFlow::Continue(never) => match never {},
            };
            let lost = match over {
                Over::Lost(lost) => lost,
                Over::Stopped(stop) => {
                    tracing::info!(?stop, "link stopped");
                    let _ = self.events.send(LinkEvent::Stopped(stop)).await;
                    return;
                }
                Over::Closed => return,
            };
            if began.elapsed() >= self.patience.steady {
                failures = 0;
            }
            let retry_in = pause(&self.patience, failures, lost.retry_after);
            failures += 1;
            tracing::info!(why = ?lost.why, retry_in_ms = retry_in.as_millis(), "link down");
            if self.say(LinkEvent::Down { retry_in, why: lost.why }).await.is_break() {
                return;
            }
            tokio::select! {
                () = sleep(retry_in) => {}
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// One connection from its making to its end.
    async fn connection(&mut self) -> ControlFlow<Over, std::convert::Infallible> {
        self.say(LinkEvent::Connecting).await?;
        let closing = self.closing.clone();
        let welcome = tokio::select! {
            welcome = self.sign_in() => welcome,
            () = closing.cancelled() => Err(Over::Closed),
        };
        let mut socket = match welcome {
            Ok((socket, up, frames)) => {
                self.say(up).await?;
                (socket, frames)
            }
            Err(over) => return ControlFlow::Break(over),
        };
        ControlFlow::Break(self.carry(&mut socket.0, &mut socket.1).await)
    }

    /// From nothing to a welcome.
    async fn sign_in(&mut self) -> Result<(Socket, LinkEvent, mpsc::Receiver<ClientFrame>), Over> {
        let mut socket = connect(&self.identity.server, self.patience.connect).await.map_err(stop_or_lost)?;
        let resume = self.session.as_ref().map(|s| Resume { session: s.id.clone(), seen: s.seen.unwrap_or_default() });
        let hello = ClientFrame::Hello {
            version: VERSION,
            token: self.identity.token.clone(),
            device: self.identity.device.clone(),
            resume,
        };
        let deadline = Instant::now() + self.patience.connect;
        send(&mut socket, &hello, self.patience.send).await?;
        loop {
            match receive(&mut socket, deadline).await? {
                ServerFrame::Welcome { session, resumed, server_time, you, limits: _ } => {
                    let seen = self.session.take().filter(|_| resumed).and_then(|old| old.seen);
                    self.session = Some(Session { id: session, seen });
                    tracing::info!(resumed, "link up");
                    let (frames, to_send) = mpsc::channel(TO_SEND);
                    return Ok((socket, LinkEvent::Up { frames, resumed, you, server_time }, to_send));
                }
                ServerFrame::Refused { error, .. } => return Err(over_refusal(error)),
                ServerFrame::DevPeople { .. } | ServerFrame::Ack { .. } | ServerFrame::Event { .. } => {
                    tracing::warn!("a frame came before the welcome");
                }
            }
        }
    }

    /// Moves frames both ways until the connection is over.
    async fn carry(&mut self, socket: &mut Socket, to_send: &mut mpsc::Receiver<ClientFrame>) -> Over {
        let mut silent_at = Instant::now() + self.patience.silence;
        loop {
            tokio::select! {
                frame = to_send.recv() => match frame {
                    Some(frame) => if let Err(lost) = send(socket, &frame, self.patience.send).await {
                        return lost.into();
                    },
                    None if self.closing.is_cancelled() => {
                        let _ = socket.close(None).await;
                        return Over::Closed;
                    }
                    None => return Lost::from(LinkFault::Silent).into(),
                },
                heard = timeout_at(silent_at, socket.next()) => {
                    silent_at = Instant::now() + self.patience.silence;
                    match self.heard(socket, heard).await {
                        ControlFlow::Continue(()) => {}
                        ControlFlow::Break(over) => return over,
                    }
                }
            }
        }
    }

    async fn heard(&mut self, socket: &mut Socket, heard: Heard) -> ControlFlow<Over> {
        let message = match message(heard) {
            Ok(message) => message,
            Err(lost) => return ControlFlow::Break(lost.into()),
        };
        match message {
            Message::Text(text) => match parse(&text) {
                Some(frame) => self.frame(frame).await,
                None => ControlFlow::Continue(()),
            },
            Message::Ping(_) => match timeout(self.patience.send, socket.flush()).await {
                Ok(Ok(())) => ControlFlow::Continue(()),
                Ok(Err(_)) => ControlFlow::Break(Lost::from(LinkFault::Closed).into()),
                Err(_) => ControlFlow::Break(Lost::from(LinkFault::Silent).into()),
            },
            Message::Binary(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => ControlFlow::Continue(()),
        }
    }

    async fn frame(&mut self, frame: ServerFrame) -> ControlFlow<Over> {
        match frame {
            ServerFrame::Event { seq, event } => self.event(seq, event).await,
            ServerFrame::Ack { id, reply } => self.say(LinkEvent::Reply { id, result: Ok(reply) }).await,
            ServerFrame::Refused { id: Some(id), error } => self.say(LinkEvent::Reply { id, result: Err(error) }).await,
            ServerFrame::Refused { id: None, error } => ControlFlow::Break(over_refusal(error)),
            ServerFrame::Welcome { .. } | ServerFrame::DevPeople { .. } => {
                tracing::warn!("a frame came that belongs before the session");
                ControlFlow::Continue(())
            }
        }
    }

    async fn event(&mut self, seq: u64, event: Event) -> ControlFlow<Over> {
        let Some(session) = &mut self.session else {
            return ControlFlow::Continue(());
        };
        match session.seen {
            Some(seen) if seq <= seen => return ControlFlow::Continue(()),
            Some(seen) if seq > seen + 1 => {
                tracing::warn!(seen, seq, "events are missing; starting a new session");
                self.session = None;
                return ControlFlow::Break(Lost::from(LinkFault::Gap).into());
            }
            Some(_) | None => session.seen = Some(seq),
        }
        self.say(LinkEvent::Event(event)).await
    }

    async fn say(&self, event: LinkEvent) -> ControlFlow<Over> {
        match self.events.send(event).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) if self.closing.is_cancelled() => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Over::Closed),
        }
    }
}

/// How long to wait before the next try: "full jitter" (Brooker, "Exponential Backoff And Jitter", 2015), on top of what
/// the server asked for, so that those whom it sent away do not come back together.
fn pause(patience: &Patience, failures: u32, retry_after: Option<Duration>) -> Duration {
    let ceiling = patience.first_retry.saturating_mul(1 << failures.min(16)).min(patience.last_retry);
    retry_after.unwrap_or_default() + ceiling.mul_f64(rand::rng().random::<f64>())
}

fn refusal(error: WireError) -> Lost {
    fault::of_refusal(error.code, error.retry_after_ms.map(Duration::from_millis))
}

fn over_refusal(error: WireError) -> Over {
    match error.code {
        ErrorCode::Unauthenticated | ErrorCode::TokenExpired | ErrorCode::TokenNotYetValid => {
            Over::Stopped(Stop::TokenRefused { code: error.code })
        }
        ErrorCode::Replaced => Over::Stopped(Stop::Replaced),
        ErrorCode::UnsupportedVersion => Over::Stopped(Stop::VersionUnsupported),
        ErrorCode::BadFrame
        | ErrorCode::TooLarge
        | ErrorCode::HelloExpected
        | ErrorCode::NotFound
        | ErrorCode::TooEarly
        | ErrorCode::TooLate
        | ErrorCode::BookingCancelled
        | ErrorCode::InAnotherCall
        | ErrorCode::OnAnotherDevice
        | ErrorCode::WrongState
        | ErrorCode::StaleGeneration
        | ErrorCode::RoomFull
        | ErrorCode::AlreadySearching
        | ErrorCode::RateLimited
        | ErrorCode::Unavailable
        | ErrorCode::Internal => Over::Lost(refusal(error)),
    }
}

fn stop_or_lost(lost: Lost) -> Over {
    if lost.why == LinkFault::BadAddress { Over::Stopped(Stop::BadAddress) } else { Over::Lost(lost) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_signaling::SUBPROTOCOL;
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
    use tokio_tungstenite::tungstenite::http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

    #[test]
    fn retries_spread_over_a_time_that_doubles_up_to_the_last_and_come_after_what_was_asked_for() {
        let patience = Patience::default();
        for (failures, most_ms) in [(0, 250), (1, 500), (4, 4_000), (7, 30_000), (u32::MAX, 30_000)] {
            let most = Duration::from_millis(most_ms);
            let pauses: Vec<Duration> = (0..200).map(|_| pause(&patience, failures, None)).collect();
            assert!(pauses.iter().all(|pause| *pause <= most), "{failures}");
            let early = pauses.iter().filter(|pause| **pause < most / 2).count();
            assert!((50..150).contains(&early), "{failures}: {early} of 200 in the first half");
            let asked = Duration::from_secs(60);
            assert!((asked..=asked + most).contains(&pause(&patience, failures, Some(asked))));
        }
    }

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
