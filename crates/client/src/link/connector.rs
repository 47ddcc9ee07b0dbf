//! The task of a link.

use super::dial::dial;
use super::{Identity, LinkEvent, Orders, Patience, TO_SEND, Urgency};
use crate::fault::{self, Lost};
use crate::socket::{Heard, Server, Socket, abandon, message, parse, ping, receive, send, server_address};
use crate::{LinkFault, Stop};
use bellwire_signaling::{ClientFrame, ErrorCode, Event, Resume, ServerFrame, SessionId, VERSION, WireError};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

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

/// How the carrying of frames ends.
enum Carried {
    Over(Over),
    /// This one takes over.
    By(Box<Socket>),
}

/// What can be taken up again.
struct Session {
    id: SessionId,
    /// The number of the newest event that was handed on; none was yet in a new session.
    seen: Option<u64>,
}

/// A socket that is signed in, and what is to go out on it.
struct Live {
    socket: Socket,
    to_send: mpsc::Receiver<ClientFrame>,
}

/// The next socket, made beside one that still stands.
struct Challenger {
    dialled: BoxFuture<'static, Result<Box<Socket>, Lost>>,
    /// The one that stands is not trusted even if something is heard on it: its path is gone.
    replaces: bool,
}

pub(super) struct Connector {
    identity: Identity,
    patience: Patience,
    events: mpsc::Sender<LinkEvent>,
    orders: watch::Receiver<Orders>,
    closing: CancellationToken,
    session: Option<Session>,
}

impl Connector {
    pub(super) fn new(
        identity: Identity,
        patience: Patience,
        events: mpsc::Sender<LinkEvent>,
        orders: watch::Receiver<Orders>,
        closing: CancellationToken,
    ) -> Self {
        Self { identity, patience, events, orders, closing, session: None }
    }

    pub(super) async fn run(mut self) {
        let Some(server) = Server::at(&self.identity.server) else {
            let _ = self.events.send(LinkEvent::Stopped(Stop::BadAddress)).await;
            return;
        };
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let lost = match self.connection(&server).await {
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
            let urgency = self.orders.borrow().urgency;
            let retry_in = pause(&self.patience, urgency, failures, lost.retry_after);
            failures += 1;
            tracing::info!(why = ?lost.why, retry_in_ms = retry_in.as_millis(), "link down");
            if self.say(LinkEvent::Down { retry_in, why: lost.why }).await.is_break() {
                return;
            }
            if self.rest(retry_in, lost.retry_after.unwrap_or_default(), &mut failures).await.is_break() {
                return;
            }
        }
    }

    /// Waits for the next try: a shorter time if there is suddenly more hurry, and none if the network is another one, but
    /// always as long as the server asked for.
    async fn rest(&mut self, retry_in: Duration, asked: Duration, failures: &mut u32) -> ControlFlow<()> {
        let began = Instant::now();
        let mut until = began + retry_in;
        let mut known = *self.orders.borrow_and_update();
        loop {
            tokio::select! {
                () = sleep_until(until) => return ControlFlow::Continue(()),
                () = self.closing.cancelled() => return ControlFlow::Break(()),
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return ControlFlow::Break(());
                    }
                    let orders = *self.orders.borrow_and_update();
                    if orders.renewals != known.renewals || orders.doubts != known.doubts {
                        *failures = 0;
                        until = until.min(began + asked);
                    } else if orders.urgency.hurries() && !known.urgency.hurries() {
                        let hurried = pause(&self.patience, orders.urgency, *failures, None);
                        until = until.min((Instant::now() + hurried).max(began + asked));
                    }
                    known = orders;
                }
            }
        }
    }

    /// Connections that follow on each other without a gap, from the making of the first to the end of the last.
    async fn connection(&mut self, server: &Server) -> Over {
        if self.say(LinkEvent::Connecting).await.is_break() {
            return Over::Closed;
        }
        let closing = self.closing.clone();
        let mut next = tokio::select! {
            dialled = dial(server.clone(), self.patience, self.orders.clone(), self.patience.connect) => match dialled {
                Ok(socket) => socket,
                Err(lost) => return lost.into(),
            },
            () = closing.cancelled() => return Over::Closed,
        };
        loop {
            let signed_in = tokio::select! {
                signed_in = self.sign_in(*next) => signed_in,
                () = closing.cancelled() => return Over::Closed,
            };
            let mut live = match signed_in {
                Ok(live) => live,
                Err(over) => return over,
            };
            next = match self.carry(server, &mut live).await {
                Carried::Over(Over::Closed) => {
                    let _ = live.socket.close(None).await;
                    return Over::Closed;
                }
                Carried::Over(over) => {
                    abandon(live.socket);
                    return over;
                }
                Carried::By(socket) => {
                    tracing::info!("another socket takes over");
                    abandon(live.socket);
                    socket
                }
            };
        }
    }

    /// From a socket to a welcome.
    async fn sign_in(&mut self, mut socket: Socket) -> Result<Live, Over> {
        match self.welcome(&mut socket).await {
            Ok((up, to_send)) => match self.say(up).await {
                ControlFlow::Continue(()) => Ok(Live { socket, to_send }),
                ControlFlow::Break(over) => Err(over),
            },
            Err(over) => {
                abandon(socket);
                Err(over)
            }
        }
    }

    async fn welcome(&mut self, socket: &mut Socket) -> Result<(LinkEvent, mpsc::Receiver<ClientFrame>), Over> {
        let resume = self.session.as_ref().map(|s| Resume { session: s.id.clone(), seen: s.seen.unwrap_or_default() });
        let hello = ClientFrame::Hello {
            version: VERSION,
            token: self.identity.token.clone(),
            device: self.identity.device.clone(),
            resume,
        };
        let hurries = self.orders.borrow().urgency.hurries();
        let within = if hurries { self.patience.hurried_welcome } else { self.patience.connect };
        let deadline = Instant::now() + within;
        send(socket, &hello, within).await?;
        loop {
            match receive(socket, deadline).await? {
                ServerFrame::Welcome { session, resumed, server_time, you, limits: _ } => {
                    let seen = self.session.take().filter(|_| resumed).and_then(|old| old.seen);
                    self.session = Some(Session { id: session, seen });
                    tracing::info!(resumed, "link up");
                    let (frames, to_send) = mpsc::channel(TO_SEND);
                    let server = server_address(socket);
                    return Ok((LinkEvent::Up { frames, resumed, you, server_time, server }, to_send));
                }
                ServerFrame::Refused { error, .. } => return Err(over_refusal(&error)),
                ServerFrame::DevPeople { .. } | ServerFrame::Ack { .. } | ServerFrame::Event { .. } => {
                    tracing::warn!("a frame came before the welcome");
                }
            }
        }
    }

    /// Moves frames both ways until the connection is over or another socket takes its place.
    async fn carry(&mut self, server: &Server, live: &mut Live) -> Carried {
        let Live { socket, to_send } = live;
        let patience = self.patience;
        let mut silent_at = Instant::now() + patience.silence;
        let mut known = *self.orders.borrow_and_update();
        let mut proof = Proof::default();
        proof.follow(known.urgency, Instant::now());
        let mut challenger: Option<Challenger> = None;
        loop {
            tokio::select! {
                frame = to_send.recv() => match frame {
                    Some(frame) => if let Err(lost) = send(socket, &frame, patience.send).await {
                        return Carried::Over(lost.into());
                    },
                    None if self.closing.is_cancelled() => return Carried::Over(Over::Closed),
                    None => return Carried::Over(Lost::from(LinkFault::Silent).into()),
                },
                heard = timeout_at(silent_at, socket.next()) => {
                    silent_at = Instant::now() + patience.silence;
                    proof.given(known.urgency, Instant::now());
                    challenger = challenger.filter(|challenger| challenger.replaces);
                    if let ControlFlow::Break(over) = self.heard(socket, heard).await {
                        return Carried::Over(over);
                    }
                }
                due = proof.due() => match due {
                    Due::Ask => {
                        let asked = ping(socket, patience.proof).await;
                        proof = Proof::Asked { until: Instant::now() + if asked { patience.proof } else { Duration::ZERO } };
                    }
                    Due::Missing => {
                        tracing::info!("the socket is silent; making another");
                        proof = Proof::Missing;
                        challenger.get_or_insert_with(|| self.challenger(server, false));
                    }
                },
                dialled = next_socket(&mut challenger) => match dialled {
                    Ok(socket) => return Carried::By(socket),
                    Err(lost) => return Carried::Over(lost.into()),
                },
                changed = self.orders.changed(), if !self.closing.is_cancelled() => {
                    if changed.is_err() {
                        continue;
                    }
                    let orders = *self.orders.borrow_and_update();
                    if orders.renewals != known.renewals {
                        challenger = Some(self.challenger(server, true));
                    }
                    if orders.doubts != known.doubts && matches!(proof, Proof::NotWanted | Proof::Wanted { .. }) {
                        proof = Proof::Wanted { at: Instant::now() };
                    }
                    if orders.urgency != known.urgency {
                        proof.follow(orders.urgency, Instant::now());
                    }
                    known = orders;
                }
            }
        }
    }

    fn challenger(&self, server: &Server, replaces: bool) -> Challenger {
        // The one that stands counts as lost when this takes longer.
        let within = self.patience.hurried_connect;
        Challenger { dialled: Box::pin(dial(server.clone(), self.patience, self.orders.clone(), within)), replaces }
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
            ServerFrame::Refused { id: None, error } => ControlFlow::Break(over_refusal(&error)),
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

/// Whether the socket is known to work. TCP alone would not say so for a long time: it may wait 13 s after an outage of 15.
///
/// ```text
///   NotWanted --sound is lost, or a doubt--> Wanted --ping--> Asked --nothing for its time--> Missing
///       ^------------anything was heard; Wanted again a little later while sound is lost------------'
/// ```
#[derive(Clone, Copy, Debug, Default)]
enum Proof {
    #[default]
    NotWanted,
    Wanted {
        at: Instant,
    },
    Asked {
        until: Instant,
    },
    Missing,
}

enum Due {
    Ask,
    Missing,
}

/// From one proof to the next while sound is lost.
const PROVEN_FOR: Duration = Duration::from_millis(500);

impl Proof {
    fn follow(&mut self, urgency: Urgency, now: Instant) {
        match (urgency, *self) {
            (Urgency::SoundLost, Self::NotWanted) => *self = Self::Wanted { at: now },
            (Urgency::SoundLost, Self::Wanted { .. } | Self::Asked { .. } | Self::Missing) => {}
            (Urgency::Calm | Urgency::Call, Self::Wanted { .. }) => *self = Self::NotWanted,
            (Urgency::Calm | Urgency::Call, Self::NotWanted | Self::Asked { .. } | Self::Missing) => {}
        }
    }

    fn given(&mut self, urgency: Urgency, now: Instant) {
        *self = match (urgency, *self) {
            (Urgency::SoundLost, _) => Self::Wanted { at: now + PROVEN_FOR },
            (Urgency::Calm | Urgency::Call, _) => Self::NotWanted,
        };
    }

    /// Safe to cancel; pending for ever while nothing is due.
    async fn due(self) -> Due {
        match self {
            Self::NotWanted | Self::Missing => std::future::pending().await,
            Self::Wanted { at } => {
                sleep_until(at).await;
                Due::Ask
            }
            Self::Asked { until } => {
                sleep_until(until).await;
                Due::Missing
            }
        }
    }
}

async fn next_socket(challenger: &mut Option<Challenger>) -> Result<Box<Socket>, Lost> {
    match challenger {
        Some(challenger) => (&mut challenger.dialled).await,
        None => std::future::pending().await,
    }
}

/// How long to wait before the next try: "full jitter" (Brooker, "Exponential Backoff And Jitter", 2015), on top of what
/// the server asked for, so that those whom it sent away do not come back together.
fn pause(patience: &Patience, urgency: Urgency, failures: u32, retry_after: Option<Duration>) -> Duration {
    let last = if urgency.hurries() { patience.hurried_retry } else { patience.last_retry };
    let ceiling = patience.first_retry.saturating_mul(1 << failures.min(16)).min(last);
    retry_after.unwrap_or_default() + ceiling.mul_f64(rand::rng().random::<f64>())
}

fn over_refusal(error: &WireError) -> Over {
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
        | ErrorCode::Internal => Over::Lost(fault::of_wire(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_spread_over_a_time_that_doubles_up_to_the_last_and_come_after_what_was_asked_for() {
        let patience = Patience::default();
        let cases = [
            (Urgency::Calm, 0, 250),
            (Urgency::Calm, 1, 500),
            (Urgency::Calm, 4, 4_000),
            (Urgency::Calm, 7, 30_000),
            (Urgency::Calm, u32::MAX, 30_000),
            (Urgency::Call, 1, 500),
            (Urgency::Call, u32::MAX, 1_000),
            (Urgency::SoundLost, u32::MAX, 1_000),
        ];
        for (urgency, failures, most_ms) in cases {
            let most = Duration::from_millis(most_ms);
            let pauses: Vec<Duration> = (0..200).map(|_| pause(&patience, urgency, failures, None)).collect();
            assert!(pauses.iter().all(|pause| *pause <= most), "{urgency:?} {failures}");
            let early = pauses.iter().filter(|pause| **pause < most / 2).count();
            assert!((50..150).contains(&early), "{urgency:?} {failures}: {early} of 200 in the first half");
            let asked = Duration::from_secs(60);
            assert!((asked..=asked + most).contains(&pause(&patience, urgency, failures, Some(asked))));
        }
    }
}
