//! The part of an endpoint that begins when a call is accepted: connections, who hears, and asking for the next one.

use super::{MediaCommand, MediaEvent, Monotonic, State, term};
use crate::fault::{Fault, planted};
use crate::grant::{PRIVATE_WAIT_MS, WAIT_MS};
use crate::way::{Relays, Times, Way};
use bellwire_signaling::{CallId, Candidate, Command, Connection, DescriptionKind, Health, Sdp};

const TIMES: Times = Times { pace_ms: &[1_000, 1_000, 2_000, 4_000], setup_ms: 5_000, unanswered_ms: 10_000 };
/// Between two words of this device's health. The newest counts.
const HEALTH_EVERY_MS: u64 = 1_000;

pub(super) struct Talking {
    way: Way,
    /// The newest connection is still to be opened: when the relays are known, or at the latest then.
    open_by: Option<Monotonic>,
    offers: bool,
    /// Both are ready for the newest connection.
    go: bool,
    offered: bool,
    /// The far side's description that came before the connection was opened: who takes a call up again finds the other
    /// side ready.
    held: Option<(DescriptionKind, Sdp)>,
    /// The far side's description of this generation was handed to the media.
    described: bool,
    /// Candidates that came before it, in order.
    early: Vec<Candidate>,
    /// When we ceased to hear, or began not to.
    silent_since: Monotonic,
    /// As the server has it: nothing before both heard each other, then whether both do.
    heard: Option<bool>,
    pub(super) connected_at: Option<Monotonic>,
    reconnecting_since: Option<Monotonic>,
    /// Connections begun since sound was lost.
    pub(super) trying: u32,
    health_said: Option<(Health, Monotonic)>,
    /// The session is a new one: the server may not know what we said in the old.
    pub(super) say_again: bool,
    /// This process has no connection of a call that has one.
    left: bool,
    muted_said: bool,
}

/// What shall be done, in this order.
pub(super) enum Doing {
    Say(Command),
    Media(MediaCommand),
}

impl Talking {
    pub(super) fn new(now: Monotonic, left: bool, muted: bool) -> Self {
        Self {
            way: Way::new(TIMES, now),
            open_by: None,
            offers: false,
            go: false,
            offered: false,
            held: None,
            described: false,
            early: Vec::new(),
            silent_since: now,
            heard: None,
            connected_at: None,
            reconnecting_since: None,
            trying: 0,
            health_said: None,
            say_again: false,
            left,
            muted_said: !muted,
        }
    }

    /// A newer view of the server.
    pub(super) fn follow(
        &mut self,
        call: &CallId,
        connection: Connection,
        heard: Option<bool>,
        muted: bool,
        relays: Relays,
        now: Monotonic,
    ) -> Vec<Doing> {
        let mut doing = Vec::new();
        self.heard = heard;
        let left = std::mem::take(&mut self.left);
        if self.say_again {
            self.way.begin_session(now);
            self.health_said = None;
        }
        if left {
            // Nothing of this generation is here. The next one is for both to make.
            self.way.take_over(connection.generation, now);
            self.offered = true;
            doing.push(Doing::Say(self.hearing(call)));
        } else if connection.generation > self.way.generation() {
            self.trying += u32::from(!self.is_connected() && self.way.generation() > 0);
            self.way.advance(connection.generation, !self.is_connected(), now);
            self.offers = connection.offers;
            self.offered = false;
            self.described = false;
            self.early.clear();
            self.held = None;
            self.open_by = Some(now.plus(if relays.only { PRIVATE_WAIT_MS } else { WAIT_MS }));
        }
        if std::mem::take(&mut self.say_again) {
            doing.push(Doing::Say(self.hearing(call)));
            self.muted_said = !muted;
        }
        if !std::mem::replace(&mut self.muted_said, true) {
            doing.push(Doing::Say(Command::Muted { call: call.clone(), muted }));
        }
        self.go = connection.go && connection.generation == self.way.generation();
        doing.extend(self.offer());
        if connection.go {
            self.way.begins(now);
        }
        self.settle(now);
        doing
    }

    pub(super) fn remote_description(&mut self, generation: u32, kind: DescriptionKind, sdp: Sdp) -> Vec<Doing> {
        let current = generation == self.way.generation() || planted(Fault::GenerationsMixed);
        // Who offers is fixed: an offer to the offerer is a glare that the other side yields.
        let in_turn = (kind == DescriptionKind::Answer) == self.offers;
        if !current || !in_turn || self.described {
            return Vec::new();
        }
        if self.open_by.is_some() {
            self.held.get_or_insert((kind, sdp));
            return Vec::new();
        }
        self.described = true;
        let generation = self.way.generation();
        let mut doing = vec![Doing::Media(MediaCommand::SetRemote { generation, kind, sdp })];
        let candidates = std::mem::take(&mut self.early);
        if !candidates.is_empty() {
            doing.push(Doing::Media(MediaCommand::AddCandidates { generation, candidates }));
        }
        doing
    }

    pub(super) fn remote_candidates(&mut self, generation: u32, candidates: Vec<Candidate>) -> Vec<Doing> {
        if (generation != self.way.generation() && !planted(Fault::GenerationsMixed)) || candidates.is_empty() {
            return Vec::new();
        }
        if !self.described {
            self.early.extend(candidates);
            return Vec::new();
        }
        vec![Doing::Media(MediaCommand::AddCandidates { generation: self.way.generation(), candidates })]
    }

    pub(super) fn media(&mut self, call: &CallId, event: MediaEvent, now: Monotonic) -> Vec<Doing> {
        let call = call.clone();
        let newest = self.way.generation();
        let mut doing = Vec::new();
        let heard_before = self.hears();
        match event {
            MediaEvent::Opened { generation } if generation == newest => {
                doing.push(Doing::Say(Command::Ready { call: call.clone(), generation }));
            }
            MediaEvent::Description { generation, kind, sdp } if generation == newest => {
                doing.push(Doing::Say(Command::Describe { call: call.clone(), generation, kind, sdp }));
            }
            MediaEvent::Candidates { generation, candidates, done } if generation == newest => {
                doing.push(Doing::Say(Command::Candidates { call: call.clone(), generation, candidates, done }));
            }
            MediaEvent::Flowing { generation } => self.way.flows(generation, now),
            MediaEvent::Stalled { generation } | MediaEvent::Failed { generation } => self.way.ceases(generation, now),
            MediaEvent::Path { generation, relayed } => self.way.goes_by(generation, relayed, now),
            MediaEvent::Opened { .. } | MediaEvent::Description { .. } | MediaEvent::Candidates { .. } => {}
        }
        if heard_before != self.hears() {
            if heard_before {
                self.silent_since = now;
            }
            doing.push(Doing::Say(self.hearing(&call)));
        }
        self.settle(now);
        doing
    }

    /// Opens the connection that the server named. `known`: the server has said which relays there are.
    pub(super) fn opening(&mut self, relays: Relays, known: bool, now: Monotonic) -> Vec<Doing> {
        let known = known || planted(Fault::GrantNotAwaited);
        if self.open_by.is_none_or(|at| now < at && !known) {
            return Vec::new();
        }
        self.open_by = None;
        let (generation, route) = (self.way.generation(), self.way.open(relays, now));
        let mut doing = vec![Doing::Media(MediaCommand::Open { generation, route })];
        doing.extend(self.offer());
        if let Some((kind, sdp)) = self.held.take() {
            doing.extend(self.remote_description(generation, kind, sdp));
        }
        doing
    }

    /// The offer, once both are ready and the connection that makes it is open.
    fn offer(&mut self) -> Option<Doing> {
        let now = self.go && self.offers && self.open_by.is_none() && !std::mem::replace(&mut self.offered, true);
        now.then(|| Doing::Media(MediaCommand::Offer { generation: self.way.generation() }))
    }

    pub(super) fn opens_by(&self) -> Option<Monotonic> {
        self.open_by
    }

    /// While the server can be asked: the next connection if its time has come, and how this device is.
    pub(super) fn due(&mut self, call: &CallId, relays: Relays, health: Option<Health>, now: Monotonic) -> Vec<Doing> {
        let mut doing = Vec::new();
        if self.way.is_due(relays, true, now) {
            doing.push(Doing::Say(Command::Renew { call: call.clone(), generation: self.way.generation() }));
        }
        if let Some(health) = health
            && self.health_due(Some(health)).is_some_and(|at| at <= now)
        {
            self.health_said = Some((health, now));
            doing.push(Doing::Say(Command::Health { call: call.clone(), health }));
        }
        doing
    }

    pub(super) fn renews_at(&self, relays: Relays) -> Option<Monotonic> {
        self.way.next_due(relays, true)
    }

    /// When to say it: never what was said last.
    pub(super) fn health_due(&self, health: Option<Health>) -> Option<Monotonic> {
        let health = health?;
        match self.health_said {
            Some((said, _)) if said == health => None,
            Some((_, at)) => Some(at.plus(HEALTH_EVERY_MS)),
            None => Some(Monotonic::default()),
        }
    }

    pub(super) fn network_changed(&mut self, now: Monotonic) {
        self.way.network_changed(now);
    }

    /// From now on by relays alone: what goes directly is replaced.
    pub(super) fn go_by_relays(&mut self, now: Monotonic) {
        if self.way.relayed() != Some(true) {
            self.way.want(now);
        }
    }

    /// The server could not take the request for the next connection.
    pub(super) fn renewal_refused(&mut self, generation: u32, again_at: Monotonic) {
        self.way.refused(generation, again_at);
    }

    pub(super) fn relayed(&self) -> Option<bool> {
        self.way.relayed()
    }

    /// Since when this device hears nothing, and for how long that may last.
    pub(super) fn without_sound(&self) -> Option<(Monotonic, u64)> {
        (!self.hears()).then(|| (self.silent_since, term(self.connected_at.is_some())))
    }

    pub(super) fn state(&self) -> State {
        match (self.connected_at, self.reconnecting_since) {
            (None, _) => State::Connecting,
            (Some(_), None) => State::Connected,
            (Some(_), Some(since)) => State::Reconnecting { since },
        }
    }

    fn hears(&self) -> bool {
        self.way.hears()
    }

    fn is_connected(&self) -> bool {
        self.heard == Some(true) && self.hears()
    }

    fn hearing(&self, call: &CallId) -> Command {
        let generation = self.way.flowing().unwrap_or(self.way.generation());
        Command::Hearing { call: call.clone(), generation, hearing: self.hears() }
    }

    /// Connected is what both sides have proved: the server says that both hear, and we do.
    fn settle(&mut self, now: Monotonic) {
        let connected = self.is_connected() || (self.heard == Some(true) && planted(Fault::ConnectedOneWay));
        if connected {
            self.connected_at.get_or_insert(now);
            self.reconnecting_since = None;
            self.trying = 0;
        } else if self.connected_at.is_some() {
            self.reconnecting_since.get_or_insert(now);
        } else if self.heard.is_some() {
            // It was connected before this process took it up.
            self.connected_at = Some(now);
            self.reconnecting_since = Some(now);
        }
    }
}
