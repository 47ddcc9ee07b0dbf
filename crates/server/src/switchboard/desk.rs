//! The switchboard's task: its state, its loop, and what it does with each input.

use super::flush::Spool;
use super::readiness::Ready;
use super::{Input, SignIn};
use crate::app::Health;
use crate::auth::Scope;
use crate::clock;
use crate::closing::{refusal, refusal_until};
use crate::relay::Relay;
use crate::session::Session;
use crate::store::{Store, StoreError};
use crate::views;
use bellwire_call::{Booking, Exchange, Who};
use bellwire_signaling::{
    AttemptId, BookingId, CallId, Candidate, Command, CommandId, DeviceId, ErrorCode, Event, Presence, Purpose, Reach,
    Reply, UnixMs, UserId, WireError,
};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

/// Inputs that one write of the store may serve.
const BATCH: usize = 64;
/// How often old sessions, expired tokens and the spool are looked after.
const SWEEP: Duration = Duration::from_secs(1);
/// Without anything due, the exchange is asked again after this.
const IDLE: Duration = Duration::from_secs(3_600);

pub(super) struct Desk {
    pub exchange: Exchange,
    pub store: Arc<dyn Store>,
    pub health: Arc<Health>,
    pub relay: Arc<Relay>,
    pub changes: Arc<AtomicU64>,
    pub dev: bool,
    pub sessions: HashMap<Who, Session>,
    /// The devices that have a session, and the open bookings, of each person who has one.
    pub people: HashMap<UserId, PersonHere>,
    pub outbox: Vec<Parcel>,
    pub presence: BTreeSet<UserId>,
    pub saves: Vec<bellwire_call::BookedCall>,
    pub spool: Spool,
    /// Calls that could not be stored when they began, and were taken back.
    pub undone: HashSet<CallId>,
    pub ready: Ready,
}

#[derive(Default)]
pub(super) struct PersonHere {
    pub devices: BTreeSet<DeviceId>,
    pub ties: Vec<Tie>,
}

/// A booking of a person, as far as telling of presence needs it.
pub(super) struct Tie {
    pub booking: BookingId,
    pub peer: UserId,
    pub closes_at: UnixMs,
}

/// What goes out once all is stored, in this order.
pub(super) enum Parcel {
    Event { to: Who, event: Event },
    Answer { to: Who, number: u64, id: CommandId, result: Result<Reply, WireError>, made: Option<CallId> },
}

impl Desk {
    pub async fn open(
        store: Arc<dyn Store>,
        health: Arc<Health>,
        relay: Arc<Relay>,
        changes: Arc<AtomicU64>,
        dev: bool,
    ) -> Result<Self, StoreError> {
        let now = clock::now();
        let calls = store.recent_calls(now.minus(bellwire_call::exchange::RECENT_MS)).await?;
        let mut exchange = Exchange::new();
        exchange.restore(calls, now);
        if exchange.live_calls() > 0 {
            info!(calls = exchange.live_calls(), "calls go on");
        }
        Ok(Self {
            exchange,
            store,
            health,
            relay,
            changes,
            dev,
            sessions: HashMap::new(),
            people: HashMap::new(),
            outbox: Vec::new(),
            presence: BTreeSet::new(),
            saves: Vec::new(),
            spool: Spool::default(),
            undone: HashSet::new(),
            ready: Ready::default(),
        })
    }

    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = self.due();
            tokio::select! {
                count = inputs.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    metrics::histogram!("bellwire_switchboard_batch").record(count as f64);
                    for input in batch.drain(..) {
                        if self.take(input).await.is_break() {
                            self.flush().await;
                            return self.stop().await;
                        }
                    }
                }
                () = tokio::time::sleep_until(due) => self.exchange.timeout(clock::now()),
                _ = sweep.tick() => self.sweep().await,
            }
            self.flush().await;
        }
    }

    /// When the exchange wants to be called again.
    fn due(&self) -> Instant {
        let wait = match self.exchange.poll_timeout() {
            Some((at, _)) => Duration::from_millis(at.since(clock::now())),
            None => IDLE,
        };
        Instant::now() + wait.min(IDLE)
    }

    async fn take(&mut self, input: Input) -> std::ops::ControlFlow<()> {
        match input {
            Input::SignIn(sign_in) => self.sign_in(*sign_in).await,
            Input::Lost { who, number } => {
                self.flush().await;
                self.lost(&who, number, clock::now());
            }
            Input::Command { who, number, id, command } => self.command(who, number, id, command).await,
            Input::BookingChanged(booking) => self.booking_changed(&booking).await,
            Input::Event { to, event } => self.outbox.push(Parcel::Event { to, event }),
            Input::Stop => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }

    async fn sign_in(&mut self, sign_in: SignIn) {
        // What was said before belongs to the session as it was.
        self.flush().await;
        let now = clock::now();
        let who = sign_in.who.clone();
        let older = sign_in.older;
        let fresh = sign_in.read_at == self.changes.load(std::sync::atomic::Ordering::Acquire);
        let bookings = if fresh { None } else { self.open_bookings(&who.user, now).await.ok() };
        let bookings = bookings.unwrap_or_else(|| sign_in.bookings.clone());
        self.note_ties(&who.user, &bookings);
        self.attach(sign_in, now);
        let event = Event::Bookings { bookings: self.views(&who, &bookings) };
        self.outbox.push(Parcel::Event { to: who.clone(), event });
        self.exchange.link_up(&who, older, now);
        self.flush().await;
    }

    async fn command(&mut self, who: Who, number: u64, id: CommandId, command: Command) {
        let Some(session) = self.sessions.get(&who).filter(|session| session.is_on(number)) else { return };
        let scope = session.scope.clone();
        let now = clock::now();
        let (result, made) = match command {
            Command::Bookings {} => (self.bookings_reply(&who, now).await, None),
            Command::Invite { booking, attempt } => {
                let result = self.invite(&who, &id, &scope, &booking, &attempt, now).await;
                let made = match &result {
                    Ok(Reply::Call { call }) => Some(call.clone()),
                    Ok(
                        Reply::Done {}
                        | Reply::Bookings { .. }
                        | Reply::History { .. }
                        | Reply::IceServers { .. }
                        | Reply::Check { .. },
                    )
                    | Err(_) => None,
                };
                (result, made)
            }
            Command::IceServers { purpose: Purpose::Call { call } } => {
                (self.ice_servers(&who, &scope, &call, now).map_err(refusal), None)
            }
            Command::Readiness { booking, readiness } => {
                (self.note_readiness(&who, &scope, &booking, readiness, now).map_err(refusal), None)
            }
            mut command => {
                if let Command::Candidates { candidates, .. } = &mut command {
                    keep_allowed(candidates, self.dev);
                }
                let result = if self.is_hidden(&scope, &command) {
                    Err(ErrorCode::NotFound)
                } else {
                    self.exchange.command(&who, &id, &command, now)
                };
                (result.map_err(refusal), None)
            }
        };
        // What a command causes is told before its answer.
        self.drain();
        self.outbox.push(Parcel::Answer { to: who, number, id, result, made });
    }

    async fn invite(
        &mut self,
        who: &Who,
        id: &CommandId,
        scope: &Scope,
        booking: &BookingId,
        attempt: &AttemptId,
        now: UnixMs,
    ) -> Result<Reply, WireError> {
        const RETRY_MS: u64 = 2_000;
        if !self.health.is_stored() {
            return Err(refusal_until(ErrorCode::Unavailable, RETRY_MS));
        }
        // Both are looked up whether the booking exists or not, so that the time taken tells nothing.
        let found = self.store.booking(booking).await;
        let known = self.store.call_of_attempt(booking, attempt).await;
        let (found, known) = match (found, known) {
            (Ok(found), Ok(known)) => (found, known),
            (Err(e), _) | (_, Err(e)) => {
                warn!(error = %e, "an invite could not be looked up");
                return Err(refusal_until(ErrorCode::Unavailable, RETRY_MS));
            }
        };
        let Some(found) = found.filter(|booking| scope.admits_booking(&booking.id)) else {
            return Err(refusal(ErrorCode::NotFound));
        };
        let fresh = CallId::from_bits(rand::random());
        match self.exchange.invite(who, id, &found, attempt, fresh, known, now) {
            Ok(Reply::Call { call }) if self.undone.contains(&call) => {
                Err(refusal_until(ErrorCode::Unavailable, RETRY_MS))
            }
            Ok(reply) => Ok(reply),
            Err(ErrorCode::TooEarly) => Err(refusal_until(ErrorCode::TooEarly, found.opens_at().since(now))),
            Err(code) => Err(refusal(code)),
        }
    }

    /// For a party of a live call alone; a call of others is as one that does not exist.
    fn ice_servers(&self, who: &Who, scope: &Scope, call: &CallId, now: UnixMs) -> Result<Reply, ErrorCode> {
        let call = self.exchange.call(call).filter(|call| !call.is_ended() && call.side_of(&who.user).is_some());
        call.filter(|call| scope.admits_booking(call.booking())).ok_or(ErrorCode::NotFound)?;
        let (servers, lifetime_ms) = self.relay.grant(who.user.as_str(), now);
        Ok(Reply::IceServers { servers, lifetime_ms })
    }

    async fn booking_changed(&mut self, booking: &Booking) {
        let now = clock::now();
        self.exchange.booking_changed(booking, now);
        self.drain();
        for user in [&booking.client.user, &booking.provider.user] {
            if !self.people.contains_key(user) {
                continue;
            }
            let Ok(bookings) = self.open_bookings(user, now).await else { continue };
            self.note_ties(user, &bookings);
            for who in self.devices_of(user) {
                let event = Event::Bookings { bookings: self.views(&who, &bookings) };
                self.outbox.push(Parcel::Event { to: who, event });
            }
        }
    }

    async fn bookings_reply(&self, who: &Who, now: UnixMs) -> Result<Reply, WireError> {
        match self.open_bookings(&who.user, now).await {
            Ok(bookings) => Ok(Reply::Bookings { bookings: self.views(who, &bookings) }),
            Err(_) => Err(refusal(ErrorCode::Unavailable)),
        }
    }

    pub async fn open_bookings(&self, user: &UserId, now: UnixMs) -> Result<Vec<Booking>, StoreError> {
        let bookings = self.store.open_bookings(user, now).await;
        bookings.inspect_err(|e| warn!(error = %e, "bookings could not be read"))
    }

    /// What a person may see of these bookings on this device.
    fn views(&self, who: &Who, bookings: &[Booking]) -> Vec<bellwire_signaling::BookingView> {
        let scope = self.sessions.get(who).map(|session| &session.scope);
        let shown = bookings.iter().filter(|booking| scope.is_none_or(|scope| scope.admits_booking(&booking.id)));
        let view = |booking: &Booking| {
            views::booking(booking, &who.user, |peer| {
                (self.presence_of(peer, &booking.id), self.ready.of(&booking.id, peer))
            })
        };
        shown.filter_map(view).collect()
    }

    /// A person whose only devices are signed in for other bookings cannot be reached for this one.
    pub fn presence_of(&self, user: &UserId, booking: &BookingId) -> Presence {
        match self.exchange.presence(user, booking) {
            Presence::Online {} if !self.is_reachable(user, booking) => Presence::Away { since: None },
            presence @ (Presence::Online {} | Presence::InAnotherCall {} | Presence::Away { .. }) => presence,
        }
    }

    /// Whether a session that is not for all of its person's bookings must not know of this command's call.
    fn is_hidden(&self, scope: &Scope, command: &Command) -> bool {
        let admits = |call| self.exchange.call(call).is_none_or(|call| scope.admits_booking(call.booking()));
        !command.call().is_none_or(admits)
    }

    /// Closes every socket; what could not be stored is tried once more.
    async fn stop(&mut self) {
        self.close_all();
        self.store_spool().await;
        let lost = self.spool.len();
        if lost > 0 {
            warn!(calls = lost, "stopped with calls that could not be stored");
        }
        debug!("the switchboard has stopped");
    }
}

/// Addresses of the link and, outside development, of the machine itself are relayed to nobody: they reach services that
/// are not the other party's (a cloud's metadata, say).
fn keep_allowed(candidates: &mut Vec<Candidate>, dev: bool) {
    candidates.retain(|candidate| match candidate.candidate.reach() {
        Reach::Link => false,
        Reach::Machine => dev,
        Reach::Network | Reach::Name => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_signaling::CandidateLine;

    #[test]
    fn candidates_of_the_link_are_never_relayed_and_of_the_machine_in_development_alone() {
        let check = |address: &str, dev: bool, expected: bool| {
            let line = CandidateLine::new(format!("candidate:1 1 udp 1 {address} 9 typ host")).expect("a candidate");
            let mut candidates = vec![Candidate { candidate: line, sdp_mid: None, sdp_m_line_index: 0 }];
            keep_allowed(&mut candidates, dev);
            assert_eq!(!candidates.is_empty(), expected, "{address}, dev: {dev}");
        };
        for (address, in_production, in_dev) in [
            ("192.0.2.1", true, true),
            ("10.0.0.7", true, true),
            ("2001:db8::1", true, true),
            ("1f4712db-ea17-4bcf-a596-105139dfd8bf.local", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("0.0.0.0", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
        ] {
            check(address, false, in_production);
            check(address, true, in_dev);
        }
    }
}
