//! Booking calls: the `call:*` events of `/`, for the apps of the booking system that came before.
//!
//! Each connection of such an app is a device of the exchange like any other, in a [`Seat`]. The seat's one task signs in,
//! gives what the app says to the [`Interpreter`] and does what that decides; nothing of a call is decided here. The app
//! names a booking, and whom a message is for follows from the booking's live call: its `to` is not looked at.
//!
//! When the app's connection is lost the call goes on. The seat stays for the app: for the same connection, taken up
//! again, or, if it was in a call, for the person's next one ([`LostSeats`]).

mod call;
mod connection;
mod interpreter;
mod lost;
mod words;

pub use lost::LostSeats;

use crate::app::App;
use crate::auth::{Identity, Scope};
use crate::closing::{Closing, close, refusal, refusal_until};
use crate::rate::{self, Bucket};
use crate::session::Outgoing;
use crate::sign_in::{Newcomer, SignedIn, sign_in};
use crate::sio::{AckId, Socket};
use bellwire_signaling::limits::FRAME;
use bellwire_signaling::{BookingId, DeviceId, ErrorCode, Resume, ServerFrame, SessionId, UserId};
use call::error_body;
use interpreter::{Action, Interpreter};
use serde_json::json;
use serde_json::value::RawValue;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};
use words::Fault;

/// Events that wait for the seat's task; each has at most [`FRAME`] bytes. The app is told `rate_limited` of more.
const EVENTS: usize = 64;
/// What an app is told to wait when they are too many, in milliseconds.
const BUSY_MS: u64 = 1_000;
/// Events over the limit, one after the other, before the connection is closed.
const OVER_LIMIT: u32 = 100;

/// One connection of an older app, as a device of the exchange.
pub struct Seat {
    app: Arc<App>,
    socket: Arc<Socket>,
    user: UserId,
    events: mpsc::Sender<Box<Heard>>,
    presence: watch::Sender<Presence>,
    pace: Mutex<Pace>,
}

/// An event, on its way to the task.
struct Heard {
    name: Box<str>,
    argument: Box<RawValue>,
    ack: Option<AckId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Away,
    Gone,
}

struct Pace {
    bucket: Bucket,
    over: u32,
}

impl Seat {
    pub fn start(app: Arc<App>, socket: Arc<Socket>, identity: Identity) -> Self {
        let (events, heard) = mpsc::channel(EVENTS);
        let (presence, watched) = watch::channel(Presence::Here);
        let user = identity.user.clone();
        let task = Task { app: app.clone(), socket: socket.clone(), identity, heard, presence: watched };
        app.tasks.spawn(task.run());
        let pace = Pace { bucket: Bucket::full(rate::SOCKET, Instant::now()), over: 0 };
        Self { app, socket, user, events, presence, pace: Mutex::new(pace) }
    }

    /// An event of the app, with its first argument. Never waits.
    pub fn event(&self, name: &str, argument: &RawValue, ack: Option<AckId>) {
        let size = argument.get().len();
        let refused = self.pay(size).and_then(|()| {
            if size > FRAME {
                return Err(refusal(ErrorCode::TooLarge).into());
            }
            let heard = Heard { name: name.into(), argument: argument.to_owned(), ack };
            self.events.try_send(Box::new(heard)).map_err(|_| refusal_until(ErrorCode::RateLimited, BUSY_MS).into())
        });
        if let Err(fault) = refused {
            metrics::counter!("bellwire_call_events_refused_total").increment(1);
            say_fault(&self.socket, Some(name), ack, &fault);
        }
    }

    /// Its transport is lost.
    pub fn away(&self) {
        self.presence.send_replace(Presence::Away);
    }

    /// It is there again.
    pub fn back(&self) {
        self.presence.send_replace(Presence::Here);
    }

    pub fn gone(&self) {
        self.presence.send_replace(Presence::Gone);
    }

    /// The same limits as a native socket's.
    fn pay(&self, size: usize) -> Result<(), Fault> {
        let now = Instant::now();
        let cost = rate::cost_of(size);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = pace.bucket.take(rate::SOCKET, cost, now);
        let Err(wait) = taken.and_then(|()| self.app.rates.take(&self.user, cost, now)) else {
            pace.over = 0;
            return Ok(());
        };
        pace.over += 1;
        if pace.over == OVER_LIMIT {
            self.socket.disconnect(false);
        }
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Err(refusal_until(ErrorCode::RateLimited, wait_ms).into())
    }
}

/// What outlives a connection of the app.
struct Kept {
    user: UserId,
    device: DeviceId,
    /// Of the token; not known of one that is from before a restart of the server.
    scope: Result<Scope, BookingId>,
    /// The session, once there was one, and the last event of it that was dealt with.
    resume: Option<Resume>,
    interpreter: Interpreter,
}

impl Kept {
    fn new(identity: &Identity) -> Self {
        let text = format!("o{:032x}", rand::random::<u128>());
        Self {
            user: identity.user.clone(),
            // invariant: a letter and 32 hexadecimal digits are always an id.
            device: DeviceId::new(text).unwrap_or_else(|_| unreachable!("a device's id is printable")),
            scope: Ok(identity.scope.clone()),
            resume: None,
            interpreter: Interpreter::default(),
        }
    }

    /// From before a restart: its session is gone, and what of its call had been said.
    fn restored(user: UserId, device: DeviceId, booking: BookingId) -> Self {
        Self { user, device, scope: Err(booking), resume: None, interpreter: Interpreter::after_restart() }
    }

    /// Whether a device with this id is an older app's.
    fn is_seat(device: &DeviceId) -> bool {
        let digits = device.as_str().strip_prefix('o').filter(|digits| digits.len() == 32);
        digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    fn admits(&self, scope: &Scope) -> bool {
        match &self.scope {
            Ok(own) => own == scope,
            Err(booking) => scope.admits_booking(booking),
        }
    }
}

struct Task {
    app: Arc<App>,
    socket: Arc<Socket>,
    identity: Identity,
    /// Boxed: the channel holds place for a block of them even while it is empty.
    heard: mpsc::Receiver<Box<Heard>>,
    presence: watch::Receiver<Presence>,
}

/// How the time on one link to the switchboard ends.
enum End {
    /// The app is away or gone.
    Left,
    /// The switchboard has given the link up, and would take another.
    GivenUp,
    Closed(Closing),
}

impl Task {
    async fn run(mut self) {
        let mut kept = match self.app.lost_seats.newest(&self.identity.user, &self.identity.scope) {
            Some(mut kept) => {
                kept.scope = Ok(self.identity.scope.clone());
                kept.interpreter.move_over();
                kept
            }
            None => Kept::new(&self.identity),
        };
        loop {
            match self.serve(&mut kept).await {
                End::GivenUp => {}
                End::Closed(closing) => {
                    self.leave(kept);
                    return self.close(closing);
                }
                End::Left => match self.wait(kept).await {
                    Some(again) => kept = again,
                    None => return,
                },
            }
        }
    }

    /// Signs in, and translates both ways until the link ends.
    async fn serve(&mut self, kept: &mut Kept) -> End {
        let newcomer = Newcomer {
            identity: self.identity.clone(),
            device: kept.device.clone(),
            resume: kept.resume.clone(),
            older: true,
        };
        // Boxed: what the store's questions need is not held for as long as the seat.
        let signed_in = Box::pin(sign_in(&self.app, newcomer)).await;
        let SignedIn { who, number, mut queue, .. } = match signed_in {
            Ok(signed_in) => signed_in,
            Err(code) => return End::Closed(Closing::of_hello(code)),
        };
        debug!(user = %who.user, device = %who.device, "a seat is taken");
        kept.interpreter.open();
        let link = Link { app: &self.app, socket: &self.socket, who: &who, number };
        let end = loop {
            if link.act(kept).await.is_break() {
                break End::Closed(Closing::new(close::RESTART, ErrorCode::Unavailable));
            }
            let open = kept.interpreter.is_open();
            tokio::select! {
                biased;
                out = queue.recv() => match out {
                    Some(Outgoing::Frame(text)) => take(kept, &text),
                    Some(Outgoing::Close(closing)) => break End::Closed(closing),
                    None => break End::GivenUp,
                },
                heard = self.heard.recv(), if open => match heard {
                    Some(heard) => kept.interpreter.said(&heard.name, heard.argument.get(), heard.ack),
                    None => break End::Left,
                },
                // What the app said before it left is heard first.
                () = left(&mut self.presence) => break End::Left,
            }
        };
        self.app.switchboard.lost(who, number).await.ok();
        end
    }

    /// Until the app is back; none if it is gone, or its seat went to another connection and the server stops.
    async fn wait(&mut self, kept: Kept) -> Option<Kept> {
        let device = kept.device.clone();
        let mut own = self.leave(kept);
        let stop = self.app.draining.clone();
        let presence = tokio::select! {
            presence = self.presence.wait_for(|now| *now != Presence::Away) => presence.map(|now| *now),
            () = stop.cancelled() => return None,
        };
        match presence {
            Ok(Presence::Here) => {
                let seats = &self.app.lost_seats;
                let again = own.take().or_else(|| seats.of_device(&self.identity.user, &device));
                Some(again.unwrap_or_else(|| Kept::new(&self.identity)))
            }
            Ok(Presence::Away | Presence::Gone) | Err(_) => None,
        }
    }

    /// A seat in a call is left where the person's next connection finds it; any other is given back.
    fn leave(&self, kept: Kept) -> Option<Kept> {
        if kept.interpreter.holds_call() {
            self.app.lost_seats.leave(kept);
            return None;
        }
        Some(kept)
    }

    fn close(&self, closing: Closing) {
        debug!(user = %self.identity.user, code = closing.code, "a seat is closed");
        let comes_back = match closing.error.code {
            ErrorCode::Unavailable | ErrorCode::Internal => true,
            ErrorCode::BadFrame
            | ErrorCode::TooLarge
            | ErrorCode::UnsupportedVersion
            | ErrorCode::HelloExpected
            | ErrorCode::Unauthenticated
            | ErrorCode::TokenExpired
            | ErrorCode::TokenNotYetValid
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
            | ErrorCode::Replaced => false,
        };
        say_fault(&self.socket, None, None, &closing.error.into());
        // The library connects again by itself only if its transport is closed.
        self.socket.disconnect(comes_back);
    }
}

/// The two ends between which a seat stands, while it is signed in.
struct Link<'a> {
    app: &'a App,
    socket: &'a Socket,
    who: &'a bellwire_call::Who,
    number: u64,
}

impl Link<'_> {
    /// Does what the interpreter has decided. Breaks if the switchboard is gone.
    async fn act(&self, kept: &mut Kept) -> ControlFlow<()> {
        while let Some(action) = kept.interpreter.poll_action() {
            match action {
                Action::Emit { event, body } => self.socket.emit(event, &body),
                Action::Ack { ack, body } => self.socket.ack(ack, &body),
                Action::Command { id, command } => {
                    let sent = self.app.switchboard.command(self.who.clone(), self.number, id, command).await;
                    if sent.is_err() {
                        return ControlFlow::Break(());
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

async fn left(presence: &mut watch::Receiver<Presence>) {
    presence.wait_for(|now| *now != Presence::Here).await.ok();
}

/// A frame of the session.
fn take(kept: &mut Kept, text: &str) {
    let frame: ServerFrame = match serde_json::from_str(text) {
        Ok(frame) => frame,
        Err(error) => return warn!(%error, "a frame of the switchboard could not be read"),
    };
    match &frame {
        ServerFrame::Welcome { session, resumed, .. } => begin(kept, session, *resumed),
        ServerFrame::Event { seq, .. } => {
            if let Some(resume) = &mut kept.resume {
                resume.seen = *seq;
            }
        }
        ServerFrame::Ack { .. } | ServerFrame::Refused { .. } | ServerFrame::DevPeople { .. } => {}
    }
    kept.interpreter.told(frame);
}

fn begin(kept: &mut Kept, session: &SessionId, resumed: bool) {
    let seen = kept.resume.as_ref().filter(|_| resumed).map_or(0, |resume| resume.seen);
    kept.resume = Some(Resume { session: session.clone(), seen });
}

fn say_fault(socket: &Socket, event: Option<&str>, ack: Option<AckId>, fault: &Fault) {
    match ack {
        Some(ack) => socket.ack(ack, &json!({ "ok": false, "error": fault.body() })),
        None => socket.emit("call:error", &error_body(event, None, fault)),
    }
}
