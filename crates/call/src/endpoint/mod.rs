//! One device of one person: what it shows, what it tells the server, what it has its sound do.
//!
//! The owner feeds [`Endpoint::handle`] and drains [`Endpoint::poll_output`] after each input; when
//! [`Endpoint::poll_timeout`] is due it hands in [`Input::Timeout`]. The endpoint follows the server's newest view of a call
//! and never decides what both sides must agree on; alone it decides only for its own user: a hang-up shows at once, and
//! with no link a call that has been lost for long enough is over, until the server's word replaces that ([`State::Ended`]).

mod answers;
mod interface;
mod talking;
mod wishes;

pub use interface::*;

use bellwire_signaling::{
    BookingView, CallId, CallView, Command, CommandId, EndReason, Ending, Event, Health, KeepChat, Phase, Purpose, Side,
};
use std::collections::{BTreeMap, VecDeque};
use talking::{Doing, Talking};

use crate::booked_call::{CONNECT_MS, RECONNECT_MS, RING_MS};
use crate::grant::Grant;
use crate::outbox::Outbox;
use crate::way::Relays;

/// Without a link, this device gives a call up this much later than the server would.
const MARGIN_MS: u64 = 5_000;
/// The end of a call is shown for at least this long.
const SHOWN_MS: u64 = 1_500;
/// Calls that are over here, so that a late view does not bring one back.
const REMEMBERED_CALLS: usize = 16;

pub struct Endpoint {
    outbox: Outbox,
    linked: bool,
    call: Option<Call>,
    /// The newest view of each call that is not the one above.
    others: BTreeMap<CallId, CallView>,
    /// Calls that ended here.
    over: VecDeque<CallId>,
    /// Invites that the person took back before the server answered them.
    taken_back: Vec<CommandId>,
    bookings: Vec<BookingView>,
    muted: bool,
    relay_only: bool,
    grant: Grant,
    /// What this device last found of itself.
    health: Option<Health>,
    outputs: VecDeque<Output>,
}

struct Call {
    now: CallNow,
    version: u32,
    /// The invite's command, until it is answered.
    invite: Option<CommandId>,
    stage: Stage,
}

enum Stage {
    /// Inviting or Ringing, given up at `until` if there is no link. `accepted`: this person pressed accept.
    Before {
        until: Monotonic,
        accepted: bool,
    },
    Talking(Box<Talking>),
    /// Elsewhere or Ended.
    Over {
        since: Monotonic,
    },
}

impl Endpoint {
    /// `nonce`: random, once a process. Ids of commands and attempts are made of it and a counter.
    pub fn new(nonce: u128) -> Self {
        Self {
            outbox: Outbox::new(nonce),
            linked: false,
            call: None,
            others: BTreeMap::new(),
            over: VecDeque::new(),
            taken_back: Vec::new(),
            bookings: Vec::new(),
            muted: false,
            relay_only: false,
            grant: Grant::default(),
            health: None,
            outputs: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, input: Input, now: Monotonic) {
        match input {
            Input::Command(command) => self.handle_command(command, now),
            Input::LinkUp { resumed } => self.handle_link_up(resumed, now),
            Input::LinkDown => {
                self.linked = false;
                self.outbox.link_lost();
            }
            Input::Server(event) => self.handle_event(event, now),
            Input::Reply { id, result } => self.handle_reply(&id, result, now),
            Input::Media(event) => self.handle_media(event, now),
            Input::NetworkChanged => {
                if let Some(Call { stage: Stage::Talking(talking), .. }) = &mut self.call {
                    talking.network_changed(now);
                }
            }
            Input::Timeout => self.handle_timeout(now),
        }
        self.tend(now);
        self.flush(now);
    }

    // Inputs.

    fn handle_link_up(&mut self, resumed: bool, now: Monotonic) {
        self.linked = true;
        if resumed {
            return;
        }
        // The server may be another than before: what hung on a generation is said anew once its view came.
        self.outbox.new_session();
        self.grant.begin_session(now);
        self.others.clear();
        if let Some(call) = &mut self.call {
            call.version = 0;
            if let Stage::Talking(talking) = &mut call.stage {
                talking.say_again = true;
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Monotonic) {
        match event {
            Event::Call { view } => self.handle_view(view, now),
            Event::Description { call, generation, kind, sdp } => {
                if let Some(talking) = self.talking(&call) {
                    let doing = talking.remote_description(generation, kind, sdp);
                    self.act(doing);
                }
            }
            Event::Candidates { call, generation, candidates, done: _ } => {
                if let Some(talking) = self.talking(&call) {
                    let doing = talking.remote_candidates(generation, candidates);
                    self.act(doing);
                }
            }
            Event::Health { call, health } => {
                if self.talking(&call).is_some()
                    && let Some(call) = &mut self.call
                {
                    call.now.peer_health = Some(health);
                }
            }
            Event::Bookings { bookings } => self.bookings = bookings,
            Event::Presence { booking, presence } => {
                for view in self.bookings.iter_mut().filter(|view| view.booking == booking) {
                    view.presence = presence;
                }
            }
            Event::Readiness { booking, readiness } => {
                for view in self.bookings.iter_mut().filter(|view| view.booking == booking) {
                    view.peer_readiness = readiness;
                }
            }
            // Rooms and matches are not this machine's.
            Event::Room { .. }
            | Event::RoomOver { .. }
            | Event::DescriptionFrom { .. }
            | Event::CandidatesFrom { .. }
            | Event::Search { .. }
            | Event::CheckAnswer { .. }
            | Event::CheckOffered { .. }
            | Event::CheckOver { .. } => {}
        }
    }

    fn handle_view(&mut self, view: CallView, now: Monotonic) {
        match &mut self.call {
            Some(call) if call.now.call.as_ref() == Some(&view.call) => {
                if view.version > call.version {
                    call.version = view.version;
                    self.follow(view, now);
                }
            }
            Some(_) | None => {
                let newer = self.others.get(&view.call).is_none_or(|known| known.version < view.version);
                if newer {
                    if self.others.len() >= REMEMBERED_CALLS {
                        self.others.retain(|_, view| !matches!(view.phase, Phase::Ended { .. } | Phase::Elsewhere {}));
                    }
                    self.others.insert(view.call.clone(), view);
                    self.take_waiting(now);
                }
            }
        }
    }

    fn handle_media(&mut self, event: MediaEvent, now: Monotonic) {
        let Some(Call { now: shown, stage: Stage::Talking(talking), .. }) = &mut self.call else { return };
        let Some(id) = shown.call.clone() else { return };
        let doing = talking.media(&id, event, now);
        shown.follow(talking);
        self.act(doing);
    }

    fn handle_timeout(&mut self, now: Monotonic) {
        self.take_waiting(now);
        let linked = self.linked;
        let Some(call) = &mut self.call else { return };
        if !linked && call.gives_up_at().is_some_and(|at| at <= now) {
            let reason = call.reason_to_give_up();
            self.end_here(reason, None, now);
        }
    }

    // What time and circumstances ask for.

    /// Opens what can be opened, and says what is due.
    fn tend(&mut self, now: Monotonic) {
        let live = self.call.as_ref().filter(|call| !call.is_over()).and_then(|call| call.now.call.clone());
        self.grant.follow(live.map(|call| Purpose::Call { call }), now);
        if self.linked
            && let Some(purpose) = self.grant.wanted(now)
        {
            let id = self.outbox.push(Command::IceServers { purpose });
            self.grant.ask(id);
        }
        let (relays, known, health) = (self.relays(), self.grant.is_known(), self.health);
        let can_ask = self.can_ask();
        let Some(Call { now: shown, stage: Stage::Talking(talking), .. }) = &mut self.call else { return };
        let Some(id) = shown.call.clone() else { return };
        let mut doing = talking.opening(relays, known, now);
        if can_ask {
            doing.extend(talking.due(&id, relays, health, now));
        }
        self.act(doing);
    }

    /// Whether the server can be asked for something of the call, as it has it.
    fn can_ask(&self) -> bool {
        self.linked && self.call.as_ref().is_some_and(|call| call.version > 0)
    }

    fn relays(&self) -> Relays {
        Relays { only: self.relay_only, granted: self.grant.has_relay() }
    }

    // Following the server.

    /// The view is of our call, and news.
    fn follow(&mut self, view: CallView, now: Monotonic) {
        let Some(call) = &mut self.call else { return };
        call.now.peer = Some(view.peer);
        call.now.you = view.you;
        call.now.keep_chat = view.keep_chat;
        if call.is_over() {
            if let (Phase::Ended { ending }, State::Ended { .. }) = (view.phase, &call.now.state) {
                call.now.state = State::Ended { ending, confirmed: true };
            }
            return;
        }
        match view.phase {
            Phase::Inviting { .. } => {
                if view.you == Side::Callee {
                    self.outbox.push(Command::Ringing { call: view.call });
                }
            }
            Phase::Ringing { .. } => {
                if matches!(call.stage, Stage::Before { accepted: false, .. }) {
                    call.now.state = State::Ringing;
                }
            }
            Phase::Connecting { connection } => self.talk(connection, None, false, now),
            Phase::Connected { connection, peer_muted, .. } => self.talk(connection, Some(true), peer_muted, now),
            Phase::Reconnecting { connection, peer_muted, .. } => self.talk(connection, Some(false), peer_muted, now),
            Phase::Elsewhere {} => {
                call.now.state = State::Elsewhere;
                call.stage = Stage::Over { since: now };
                self.close();
            }
            Phase::Ended { ending } => self.show_end(ending, true, now),
        }
    }

    /// The call is accepted, and this device carries it. `heard`: whether both hear, once they did.
    fn talk(
        &mut self,
        connection: bellwire_signaling::Connection,
        heard: Option<bool>,
        peer_muted: bool,
        now: Monotonic,
    ) {
        let (muted, relays) = (self.muted, self.relays());
        let Some(call) = &mut self.call else { return };
        let Some(id) = call.now.call.clone() else { return };
        let begins = !matches!(call.stage, Stage::Talking(_));
        if begins {
            // A call that this process never talked in was left by an earlier one: its connection is gone.
            let left = heard.is_some() || connection.go || connection.generation > 1;
            call.stage = Stage::Talking(Box::new(Talking::new(now, left, muted)));
        }
        let Stage::Talking(talking) = &mut call.stage else { return };
        let doing = talking.follow(&id, connection, heard, muted, relays, now);
        call.now.follow(talking);
        call.now.peer_muted = peer_muted;
        self.act(doing);
    }

    /// A call that rings, or that this device is said to carry, becomes ours if we have none.
    fn take_waiting(&mut self, now: Monotonic) {
        if self.call.as_ref().is_some_and(|call| call.free_at().is_none_or(|at| now < at)) {
            return;
        }
        let Some(id) = self.waiting() else { return };
        let Some(view) = self.others.remove(&id) else { return };
        self.call = Some(Call {
            now: CallNow {
                call: Some(id),
                booking: view.booking.clone(),
                you: view.you,
                peer: Some(view.peer.clone()),
                state: if view.you == Side::Callee { State::Ringing } else { State::Inviting },
                muted: self.muted,
                peer_muted: false,
                keep_chat: KeepChat::default(),
                connected_at: None,
                peer_health: None,
                relayed: None,
                trying: 0,
            },
            version: view.version,
            invite: None,
            stage: Stage::Before { until: now.plus(RING_MS + MARGIN_MS), accepted: false },
        });
        self.media(MediaCommand::Warm);
        self.follow(view, now);
    }

    /// A call that could become ours.
    fn waiting(&self) -> Option<CallId> {
        // Until the server has answered an invite that was taken back, its call must not be mistaken for a new one.
        let settled = self.taken_back.is_empty();
        let fits = |(id, view): &(&CallId, &CallView)| match view.phase {
            Phase::Inviting { .. } | Phase::Ringing { .. } => {
                (settled || view.you == Side::Callee) && !self.over.contains(id)
            }
            Phase::Connecting { .. } | Phase::Connected { .. } | Phase::Reconnecting { .. } => {
                settled && !self.over.contains(id)
            }
            Phase::Elsewhere {} | Phase::Ended { .. } => false,
        };
        self.others.iter().find(fits).map(|(id, _)| id.clone())
    }

    // Ending.

    /// Ends the call here and tells the server, whose word then replaces ours.
    fn end_here(&mut self, reason: EndReason, by: Option<Side>, now: Monotonic) {
        let Some(call) = &self.call else { return };
        match (&call.now.call, &call.invite) {
            (Some(id), _) => {
                let call = id.clone();
                self.outbox.push(Command::HangUp { call });
            }
            (None, Some(invite)) => {
                if !self.outbox.unsent(invite) {
                    self.taken_back.push(invite.clone());
                }
            }
            (None, None) => {}
        }
        let duration_ms = self.call.as_ref().and_then(|call| call.now.connected_at).map_or(0, |at| now.since(at));
        self.show_end(Ending { reason, by, because: None, duration_ms }, false, now);
    }

    fn show_end(&mut self, ending: Ending, confirmed: bool, now: Monotonic) {
        let Some(call) = &mut self.call else { return };
        call.now.state = State::Ended { ending, confirmed };
        call.stage = Stage::Over { since: now };
        if let Some(id) = call.now.call.clone() {
            self.remember_over(id);
        }
        self.close();
    }

    fn close(&mut self) {
        self.media(MediaCommand::Close);
        if std::mem::take(&mut self.muted) {
            self.media(MediaCommand::Mute(false));
        }
    }

    fn remember_over(&mut self, id: CallId) {
        if !self.over.contains(&id) {
            self.over.push_back(id);
        }
        if self.over.len() > REMEMBERED_CALLS {
            self.over.pop_front();
        }
    }

    // Outputs.

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The earliest moment at which [`Input::Timeout`] shall be handed in.
    pub fn poll_timeout(&self) -> Option<(Monotonic, Due)> {
        let gives_up = self.call.as_ref().filter(|_| !self.linked).and_then(Call::gives_up_at);
        let talking = self.call.as_ref().and_then(|call| match &call.stage {
            Stage::Talking(talking) => Some(&**talking),
            Stage::Before { .. } | Stage::Over { .. } => None,
        });
        let asks = talking.filter(|_| self.can_ask());
        let renews = asks.and_then(|talking| talking.renews_at(self.relays()));
        let health = asks.and_then(|talking| talking.health_due(self.health));
        let opens = talking.and_then(Talking::opens_by);
        let grant = self.grant.asks_at().filter(|_| self.linked);
        let next_ring = self.call.as_ref().and_then(Call::free_at).filter(|_| self.waiting().is_some());
        let resends = self.outbox.resends_at().filter(|_| self.linked);
        [
            gives_up.map(|at| (at, Due::GiveUp)),
            renews.map(|at| (at, Due::Renew)),
            opens.map(|at| (at, Due::Servers)),
            grant.map(|at| (at, Due::Grant)),
            health.map(|at| (at, Due::Health)),
            resends.map(|at| (at, Due::Resend)),
            next_ring.map(|at| (at, Due::NextRing)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn call(&self) -> Option<&CallNow> {
        self.call.as_ref().map(|call| &call.now)
    }

    pub fn bookings(&self) -> &[BookingView] {
        &self.bookings
    }

    pub fn muted(&self) -> bool {
        self.muted
    }

    /// The call, if the server knows it and it goes on.
    fn open_call(&self) -> Option<CallId> {
        self.call.as_ref().filter(|call| !call.is_over())?.now.call.clone()
    }

    fn talking(&mut self, id: &CallId) -> Option<&mut Talking> {
        match &mut self.call {
            Some(Call { now, stage: Stage::Talking(talking), .. }) if now.call.as_ref() == Some(id) => Some(talking),
            Some(_) | None => None,
        }
    }

    fn act(&mut self, doing: Vec<Doing>) {
        for one in doing {
            match one {
                Doing::Say(command) => {
                    self.outbox.push(command);
                }
                Doing::Media(command) => self.media(command),
            }
        }
    }

    fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    fn flush(&mut self, now: Monotonic) {
        if self.linked {
            while let Some(frame) = self.outbox.next(now) {
                self.outputs.push_back(Output::Send(frame));
            }
        }
    }
}

impl CallNow {
    fn follow(&mut self, talking: &Talking) {
        self.state = talking.state();
        self.connected_at = talking.connected_at;
        self.relayed = talking.relayed();
        self.trying = talking.trying;
    }
}

impl Call {
    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over { .. })
    }

    /// When another call may take this one's place.
    fn free_at(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Over { since } => Some(since.plus(SHOWN_MS)),
            Stage::Before { .. } | Stage::Talking(_) => None,
        }
    }

    fn gives_up_at(&self) -> Option<Monotonic> {
        match &self.stage {
            Stage::Before { until, .. } => Some(*until),
            Stage::Talking(talking) => {
                let (since, term) = talking.without_sound()?;
                Some(since.plus(term + MARGIN_MS))
            }
            Stage::Over { .. } => None,
        }
    }

    fn reason_to_give_up(&self) -> EndReason {
        match &self.stage {
            Stage::Before { .. } | Stage::Over { .. } => EndReason::NoAnswer,
            Stage::Talking(talking) if talking.connected_at.is_none() => EndReason::MediaFailed,
            Stage::Talking(_) => EndReason::MediaLost,
        }
    }
}

/// The server's terms, as long as one has no other word.
fn term(connected: bool) -> u64 {
    if connected { RECONNECT_MS } else { CONNECT_MS }
}
