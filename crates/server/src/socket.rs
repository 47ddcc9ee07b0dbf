//! One socket: the upgrade, the hello, then frames in and out until it ends.
//!
//! Each socket is one task with small buffers. What it reads goes to the switchboard in order; what it is to write comes
//! through one bounded queue. It ends with a refusal that says why and a close code of [`close`](crate::closing::close).

mod hello;
mod upgrade;

pub(crate) use upgrade::switch;
pub use upgrade::upgrade;

use crate::app::App;
use crate::auth::Scope;
use crate::clock;
use crate::closing::{Closing, close, refusal, refusal_until, word};
use crate::config::waits;
use crate::inbound;
use crate::lobby::Device;
use crate::quality;
use crate::rate::{self, Bucket};
use crate::relay;
use crate::session::{Outgoing, frame};
use bellwire_call::Who;
use bellwire_signaling::limits::{DEAD_SECONDS, FRAME, HISTORY_PAGE, PING_SECONDS};
use bellwire_signaling::{
    BookingId, CallId, CallQuality, ClientFrame, Command, CommandId, Concern, ErrorCode, Purpose, Reply, RoomId,
    ServerFrame, UnixMs, UserId, WireError,
};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role as WsRole, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};
use tracing::{debug, warn};

const READ_BUFFER: usize = 1024;
/// Bad frames of one socket before it is closed.
const BAD_FRAMES: u32 = 10;
/// Frames over the limit, one after the other, before it is closed.
const OVER_LIMIT: u32 = 100;
/// What a closed socket's client may still send, and for how long, before the connection is cut.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

type Ws = WebSocketStream<TokioIo<Upgraded>>;

/// How a socket's work ends.
enum End {
    /// The client closed it or is gone.
    Gone,
    Close(Closing),
}

type Flow = ControlFlow<End>;

/// Who is at the other end.
struct Peer {
    who: Who,
    name: String,
    scope: Scope,
    number: u64,
}

/// Where a socket comes from, as far as it decides what it may ask.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// From this machine, and not from a page in a browser.
    pub is_local: bool,
}

/// Serves the socket to its end.
async fn serve(app: Arc<App>, io: Upgraded, origin: Origin) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(FRAME))
        .max_frame_size(Some(FRAME));
    let mut ws = WebSocketStream::from_raw_socket(TokioIo::new(io), WsRole::Server, Some(config)).await;
    metrics::gauge!("bellwire_sockets").increment(1);
    let end = match Box::pin(hello::hello(&app, &mut ws, origin)).await {
        Ok((peer, mut queue)) => {
            let mut socket = Socket { app: &app, ws: &mut ws, peer: &peer, bucket: full_bucket(), bad: 0, over: 0 };
            let end = socket.run(&mut queue).await;
            app.lobby.native_lost(&peer.who, peer.number);
            app.checks.lost(&app, &peer.who, peer.number);
            app.switchboard.lost(peer.who, peer.number).await.ok();
            end
        }
        Err(end) => end,
    };
    metrics::gauge!("bellwire_sockets").decrement(1);
    if let End::Close(closing) = end {
        Box::pin(say_goodbye(ws, closing)).await;
    }
}

fn full_bucket() -> Bucket {
    Bucket::full(rate::SOCKET, std::time::Instant::now())
}

struct Socket<'a> {
    app: &'a App,
    ws: &'a mut Ws,
    peer: &'a Peer,
    bucket: Bucket,
    bad: u32,
    over: u32,
}

impl Socket<'_> {
    async fn run(&mut self, queue: &mut mpsc::Receiver<Outgoing>) -> End {
        let mut heard = Instant::now();
        let mut ping_at = heard + Duration::from_secs(PING_SECONDS);
        loop {
            let dead_at = heard + Duration::from_secs(DEAD_SECONDS);
            let flow = tokio::select! {
                frame = self.ws.next() => {
                    heard = Instant::now();
                    self.take(frame).await
                }
                out = queue.recv() => match out {
                    Some(Outgoing::Frame(text)) => self.write(Message::Text(text)).await,
                    Some(Outgoing::Close(closing)) => ControlFlow::Break(End::Close(closing)),
                    None => ControlFlow::Break(End::Close(Closing::new(close::TOO_SLOW, ErrorCode::RateLimited))),
                },
                () = sleep_until(ping_at.min(dead_at)) => {
                    if Instant::now() >= dead_at {
                        ControlFlow::Break(End::Close(Closing::new(close::DEAD, ErrorCode::Unavailable)))
                    } else {
                        ping_at += Duration::from_secs(PING_SECONDS);
                        self.write(Message::Ping(Default::default())).await
                    }
                }
            };
            if let ControlFlow::Break(end) = flow {
                return end;
            }
        }
    }

    async fn take(&mut self, frame: Option<Result<Message, WsError>>) -> Flow {
        match text_of(frame)? {
            Some(text) => self.take_text(&text).await,
            None => ControlFlow::Continue(()),
        }
    }

    async fn take_text(&mut self, text: &str) -> Flow {
        let now = std::time::Instant::now();
        let cost = rate::cost_of(text.len());
        let taken = self.bucket.take(rate::SOCKET, cost, now);
        if let Err(wait) = taken.and_then(|()| self.app.rates.take(&self.peer.who.user, cost, now)) {
            return self.over_limit(text, wait).await;
        }
        self.over = 0;
        let read = match inbound::read(text) {
            Ok(ClientFrame::Command { id, command }) => return self.command(id, command).await,
            Ok(ClientFrame::Hello { .. } | ClientFrame::DevPeople {}) => {
                let message = "a hello is the first frame, and the only one".into();
                (None, WireError { code: ErrorCode::BadFrame, message, retry_after_ms: None })
            }
            Err(unread) => (unread.id, unread.error),
        };
        self.bad += 1;
        if self.bad >= BAD_FRAMES {
            return ControlFlow::Break(End::Close(Closing { code: close::POLICY, error: read.1 }));
        }
        self.refuse(read.0, read.1).await
    }

    async fn over_limit(&mut self, text: &str, wait: Duration) -> Flow {
        metrics::counter!("bellwire_rate_limited_total").increment(1);
        self.over += 1;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let error = refusal_until(ErrorCode::RateLimited, wait_ms);
        if self.over >= OVER_LIMIT {
            return ControlFlow::Break(End::Close(Closing { code: close::RATE_LIMITED, error }));
        }
        self.refuse(inbound::id_of(text), error).await
    }

    async fn command(&mut self, id: CommandId, command: Command) -> Flow {
        metrics::counter!("bellwire_commands_total", "command" => command_name(&command)).increment(1);
        match command {
            command if command.concern() == Concern::Check || self.peer.scope == Scope::Echo => {
                let Peer { who, name, scope, number } = self.peer;
                let device = Device { who, number: *number, name, scope };
                let answer = match self.app.checks.command(self.app, &device, &command) {
                    Ok(reply) => ServerFrame::Ack { id, reply },
                    Err(error) => ServerFrame::Refused { id: Some(id), error },
                };
                self.say(&answer).await
            }
            Command::History { before, limit } => {
                let answer = match self.history(before, limit).await {
                    Ok(reply) => ServerFrame::Ack { id, reply },
                    Err(error) => ServerFrame::Refused { id: Some(id), error },
                };
                self.say(&answer).await
            }
            Command::Quality { call, quality } => {
                let answer = match self.keep_quality(&call, &quality).await {
                    Ok(reply) => ServerFrame::Ack { id, reply },
                    Err(error) => ServerFrame::Refused { id: Some(id), error },
                };
                self.say(&answer).await
            }
            command if matches!(command.concern(), Concern::Room(_) | Concern::Queue) => {
                let Peer { who, name, scope, number } = self.peer;
                let device = Device { who, number: *number, name, scope };
                let done = match &command {
                    Command::IceServers { purpose: Purpose::Room { room } } => self.relays_of_room(&device, room),
                    command => self.app.lobby.command(&self.app.switchboard, &device, command),
                };
                let answer = match done {
                    Ok(reply) => ServerFrame::Ack { id, reply },
                    Err(error) => ServerFrame::Refused { id: Some(id), error },
                };
                self.say(&answer).await
            }
            command => {
                let Peer { who, number, .. } = self.peer;
                match self.app.switchboard.command(who.clone(), *number, id, command).await {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(End::Close(Closing::new(close::RESTART, ErrorCode::Unavailable))),
                }
            }
        }
    }

    /// For a member of the room alone.
    fn relays_of_room(&self, device: &Device<'_>, room: &RoomId) -> Result<Reply, WireError> {
        if !self.app.lobby.is_in_room(device, room) {
            return Err(refusal(ErrorCode::NotFound));
        }
        let (servers, lifetime_ms) = relay::grant(self.app, device.who.user.as_str(), clock::now());
        Ok(Reply::IceServers { servers, lifetime_ms })
    }

    async fn history(&mut self, before: Option<UnixMs>, limit: u16) -> Result<Reply, WireError> {
        let user: &UserId = &self.peer.who.user;
        let limit = u32::from(limit.min(HISTORY_PAGE));
        let Some(only) = self.own_calls() else { return Ok(Reply::History { calls: Vec::new() }) };
        match quality::history(&*self.app.store, user, only, before, limit).await {
            Ok(calls) => Ok(Reply::History { calls }),
            Err(e) => {
                warn!(error = %e, "a history could not be read");
                Err(refusal(ErrorCode::Unavailable))
            }
        }
    }

    async fn keep_quality(&mut self, call: &CallId, said: &CallQuality) -> Result<Reply, WireError> {
        let Some(only) = self.own_calls() else { return Err(refusal(ErrorCode::NotFound)) };
        quality::keep(&*self.app.store, &self.peer.who.user, only, call, said).await
    }

    /// The calls that this socket may know of: of one booking, of any, or none at all.
    fn own_calls(&self) -> Option<Option<&BookingId>> {
        match &self.peer.scope {
            Scope::Person => Some(None),
            Scope::Booking(only) => Some(Some(only)),
            Scope::Room(_) | Scope::Echo => None,
        }
    }

    async fn refuse(&mut self, id: Option<CommandId>, error: WireError) -> Flow {
        self.say(&ServerFrame::Refused { id, error }).await
    }

    async fn say(&mut self, message: &ServerFrame) -> Flow {
        match frame(message) {
            Ok(text) => self.write(Message::Text(text)).await,
            Err(_) => ControlFlow::Break(End::Close(Closing::new(close::INTERNAL, ErrorCode::Internal))),
        }
    }

    async fn write(&mut self, message: Message) -> Flow {
        write(self.ws, message).await
    }
}

/// The text of a frame, if it is one of ours; what to do about any other.
fn text_of(frame: Option<Result<Message, WsError>>) -> ControlFlow<End, Option<Utf8Bytes>> {
    match frame {
        Some(Ok(Message::Text(text))) => ControlFlow::Continue(Some(text)),
        Some(Ok(Message::Binary(_))) => {
            ControlFlow::Break(End::Close(Closing::new(close::POLICY, ErrorCode::BadFrame)))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_))) => {
            ControlFlow::Continue(None)
        }
        Some(Err(WsError::Capacity(_))) => {
            ControlFlow::Break(End::Close(Closing::new(close::TOO_LARGE, ErrorCode::TooLarge)))
        }
        Some(Err(WsError::Protocol(_) | WsError::Utf8(_))) => {
            ControlFlow::Break(End::Close(Closing::new(close::POLICY, ErrorCode::BadFrame)))
        }
        Some(Err(e)) => {
            debug!(error = %e, "a socket broke");
            ControlFlow::Break(End::Gone)
        }
        None => ControlFlow::Break(End::Gone),
    }
}

async fn write(ws: &mut Ws, message: Message) -> Flow {
    match timeout(waits::WRITE, ws.send(message)).await {
        Ok(Ok(())) => ControlFlow::Continue(()),
        Ok(Err(_)) | Err(_) => ControlFlow::Break(End::Gone),
    }
}

/// Says why, closes, and reads what is still under way for a moment, so that the client gets the words and no reset.
async fn say_goodbye(mut ws: Ws, closing: Closing) {
    let code = closing.code;
    let reason = word(closing.error.code);
    debug!(code, reason, "a socket is closed");
    metrics::counter!("bellwire_sockets_closed_total", "code" => code.to_string()).increment(1);
    if let Ok(text) = frame(&ServerFrame::Refused { id: None, error: closing.error })
        && write(&mut ws, Message::Text(text)).await.is_break()
    {
        return;
    }
    let last = CloseFrame { code: code.into(), reason: reason.into() };
    if write(&mut ws, Message::Close(Some(last))).await.is_break() {
        return;
    }
    let io = ws.get_mut();
    io.shutdown().await.ok();
    let mut rest = vec![0; 2048];
    let mut left = LINGER_BYTES;
    let until = Instant::now() + LINGER;
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout_at(until, io.read(&mut rest)).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}

fn command_name(command: &Command) -> &'static str {
    match command {
        Command::Bookings {} => "bookings",
        Command::History { .. } => "history",
        Command::Invite { .. } => "invite",
        Command::Ringing { .. } => "ringing",
        Command::Accept { .. } => "accept",
        Command::Decline { .. } => "decline",
        Command::HangUp { .. } => "hang_up",
        Command::Ready { .. } => "ready",
        Command::Describe { .. } => "describe",
        Command::Candidates { .. } => "candidates",
        Command::Hearing { .. } => "hearing",
        Command::Renew { .. } => "renew",
        Command::Muted { .. } => "muted",
        Command::KeepChat { .. } => "keep_chat",
        Command::ChatLines { .. } => "chat_lines",
        Command::EnterRoom { .. } => "enter_room",
        Command::LeaveRoom { .. } => "leave_room",
        Command::RoomMuted { .. } => "room_muted",
        Command::LockRoom { .. } => "lock_room",
        Command::RemoveMember { .. } => "remove_member",
        Command::RenewMember { .. } => "renew_member",
        Command::DescribeTo { .. } => "describe_to",
        Command::CandidatesTo { .. } => "candidates_to",
        Command::Search {} => "search",
        Command::StopSearching {} => "stop_searching",
        Command::Skip {} => "skip",
        Command::Block { .. } => "block",
        Command::Report { .. } => "report",
        Command::Health { .. } => "health",
        Command::Quality { .. } => "quality",
        Command::Readiness { .. } => "readiness",
        Command::IceServers { .. } => "ice_servers",
        Command::StartCheck {} => "start_check",
        Command::CheckOffer { .. } => "check_offer",
        Command::EndCheck { .. } => "end_check",
        Command::ServeChecks {} => "serve_checks",
        Command::AnswerCheck { .. } => "answer_check",
    }
}
