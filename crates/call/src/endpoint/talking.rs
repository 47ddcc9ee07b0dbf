//! The part of an endpoint that begins when a call is accepted: connections, who hears, and asking for the next one.

use super::{MediaCommand, MediaEvent, Monotonic, Route, State, term};
use crate::fault::{Fault, planted};
use bellwire_signaling::{CallId, Candidate, Command, Connection, DescriptionKind, Sdp};

/// Between two requests for the next connection.
const RENEW_EVERY_MS: u64 = 1_000;

pub(super) struct Talking {
    /// The newest connection that the server named; 0 before the first.
    generation: u32,
    offers: bool,
    offered: bool,
    /// The far side's description of this generation was handed to the media.
    described: bool,
    /// Candidates that came before it, in order.
    early: Vec<Candidate>,
    /// The newest generation on which speech flows to us: we hear.
    flowing: Option<u32>,
    /// When we ceased to hear, or began not to.
    silent_since: Monotonic,
    /// As the server has it: nothing before both heard each other, then whether both do.
    heard: Option<bool>,
    pub(super) connected_at: Option<Monotonic>,
    reconnecting_since: Option<Monotonic>,
    /// The next connection is wanted, from this moment.
    renew_at: Option<Monotonic>,
    renewed_at: Option<Monotonic>,
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
            generation: 0,
            offers: false,
            offered: false,
            described: false,
            early: Vec::new(),
            flowing: None,
            silent_since: now,
            heard: None,
            connected_at: None,
            reconnecting_since: None,
            renew_at: None,
            renewed_at: None,
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
        now: Monotonic,
    ) -> Vec<Doing> {
        let mut doing = Vec::new();
        self.heard = heard;
        let left = std::mem::take(&mut self.left);
        if left {
            // Nothing of this generation is here. The next one is for both to make.
            self.generation = connection.generation;
            self.offered = true;
            doing.push(Doing::Say(self.hearing(call)));
            self.want_renewal(now);
        } else if connection.generation > self.generation {
            self.generation = connection.generation;
            self.offers = connection.offers;
            self.offered = false;
            self.described = false;
            self.early.clear();
            self.renew_at = None;
            doing.push(Doing::Media(MediaCommand::Open { generation: self.generation, route: Route::Any }));
        } else if self.say_again && !self.hears() {
            self.want_renewal(now);
        }
        if std::mem::take(&mut self.say_again) {
            doing.push(Doing::Say(self.hearing(call)));
            self.muted_said = !muted;
        }
        if !std::mem::replace(&mut self.muted_said, true) {
            doing.push(Doing::Say(Command::Muted { call: call.clone(), muted }));
        }
        if connection.go && connection.generation == self.generation && self.offers && !self.offered {
            self.offered = true;
            doing.push(Doing::Media(MediaCommand::Offer { generation: self.generation }));
        }
        self.settle(now);
        doing.extend(self.due(call, now));
        doing
    }

    pub(super) fn remote_description(&mut self, generation: u32, kind: DescriptionKind, sdp: Sdp) -> Vec<Doing> {
        let current = generation == self.generation || planted(Fault::GenerationsMixed);
        // Who offers is fixed: an offer to the offerer is a glare that the other side yields.
        let in_turn = (kind == DescriptionKind::Answer) == self.offers;
        if !current || !in_turn || self.described {
            return Vec::new();
        }
        self.described = true;
        let generation = self.generation;
        let mut doing = vec![Doing::Media(MediaCommand::SetRemote { generation, kind, sdp })];
        let candidates = std::mem::take(&mut self.early);
        if !candidates.is_empty() {
            doing.push(Doing::Media(MediaCommand::AddCandidates { generation, candidates }));
        }
        doing
    }

    pub(super) fn remote_candidates(&mut self, generation: u32, candidates: Vec<Candidate>) -> Vec<Doing> {
        if (generation != self.generation && !planted(Fault::GenerationsMixed)) || candidates.is_empty() {
            return Vec::new();
        }
        if !self.described {
            self.early.extend(candidates);
            return Vec::new();
        }
        vec![Doing::Media(MediaCommand::AddCandidates { generation: self.generation, candidates })]
    }

    pub(super) fn media(&mut self, call: &CallId, event: MediaEvent, now: Monotonic) -> Vec<Doing> {
        let call = call.clone();
        let mut doing = Vec::new();
        let heard_before = self.hears();
        match event {
            MediaEvent::Opened { generation } if generation == self.generation => {
                doing.push(Doing::Say(Command::Ready { call: call.clone(), generation }));
            }
            MediaEvent::Description { generation, kind, sdp } if generation == self.generation => {
                doing.push(Doing::Say(Command::Describe { call: call.clone(), generation, kind, sdp }));
            }
            MediaEvent::Candidates { generation, candidates, done } if generation == self.generation => {
                doing.push(Doing::Say(Command::Candidates { call: call.clone(), generation, candidates, done }));
            }
            MediaEvent::Flowing { generation } if generation <= self.generation => {
                // Once one flows the engine lets go of the older ones, even if they flow again for a moment.
                self.flowing = self.flowing.max(Some(generation));
                if generation == self.generation {
                    self.renew_at = None;
                }
            }
            MediaEvent::Stalled { generation } => {
                self.flowing = self.flowing.filter(|flows| *flows != generation);
                if generation == self.generation {
                    self.want_renewal(now);
                }
            }
            MediaEvent::Failed { generation } => {
                self.flowing = self.flowing.filter(|flows| *flows != generation);
                if generation == self.generation {
                    self.want_renewal(now);
                }
            }
            MediaEvent::Opened { .. }
            | MediaEvent::Description { .. }
            | MediaEvent::Candidates { .. }
            | MediaEvent::Path { .. }
            | MediaEvent::Flowing { .. } => {}
        }
        if heard_before != self.hears() {
            if heard_before {
                self.silent_since = now;
            }
            doing.push(Doing::Say(self.hearing(&call)));
        }
        self.settle(now);
        doing.extend(self.due(&call, now));
        doing
    }

    /// Asks for the next connection if the time has come.
    pub(super) fn due(&mut self, call: &CallId, now: Monotonic) -> Vec<Doing> {
        if self.renew_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.renew_at = None;
        self.renewed_at = Some(now);
        vec![Doing::Say(Command::Renew { call: call.clone(), generation: self.generation })]
    }

    pub(super) fn renews_at(&self) -> Option<Monotonic> {
        self.renew_at
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
        self.flowing.is_some()
    }

    fn hearing(&self, call: &CallId) -> Command {
        let generation = self.flowing.unwrap_or(self.generation);
        Command::Hearing { call: call.clone(), generation, hearing: self.hears() }
    }

    fn want_renewal(&mut self, now: Monotonic) {
        let earliest = self.renewed_at.map_or(now, |at| at.plus(RENEW_EVERY_MS));
        self.renew_at = Some(self.renew_at.unwrap_or(earliest.max(now)));
    }

    /// Connected is what both sides have proved: the server says that both hear, and we do.
    fn settle(&mut self, now: Monotonic) {
        let connected = self.heard == Some(true) && (self.hears() || planted(Fault::ConnectedOneWay));
        if connected {
            self.connected_at.get_or_insert(now);
            self.reconnecting_since = None;
        } else if self.connected_at.is_some() {
            self.reconnecting_since.get_or_insert(now);
        } else if self.heard.is_some() {
            // It was connected before this process took it up.
            self.connected_at = Some(now);
            self.reconnecting_since = Some(now);
        }
    }
}
