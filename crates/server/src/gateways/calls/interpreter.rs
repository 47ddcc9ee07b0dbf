//! Between an older app's `call:*` events and the native protocol: what each says becomes what the other understands.
//!
//! A machine without a socket: it is told what the app said ([`Interpreter::said`]) and each frame of its session
//! ([`Interpreter::told`]), and [`Interpreter::poll_action`] gives what is to be done, in order. It outlives the app's
//! connection: with the session it is taken over by the app's next one.

use super::call::{Call, Stage, error_body, missed};
use super::connection::Next;
use super::words::{self, Fault, Name, Said};
use crate::closing::{refusal, word};
use crate::sio::AckId;
use bellwire_signaling::{
    AttemptId, BookingId, CallId, CallView, Command, CommandId, Connection, DescriptionKind, Ending, ErrorCode, Event,
    Phase, Reply, Sdp, ServerFrame, Side,
};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

/// Commands that wait for their answers. The app is told to wait when there are more.
const ASKED: usize = 64;
/// Calls that the app started, of which the views may still be on their way.
const STARTED: usize = 8;
/// Calls that are kept so that a late word of the app finds them.
const CALLS: usize = 64;

#[derive(Debug, PartialEq)]
pub enum Action {
    Emit { event: &'static str, body: Value },
    Ack { ack: AckId, body: Value },
    Command { id: CommandId, command: Command },
}

#[derive(Default)]
pub struct Interpreter {
    calls: HashMap<BookingId, Call>,
    topics: HashMap<BookingId, String>,
    /// In the order in which they were sent.
    asked: VecDeque<Asked>,
    /// The calls that the app started last.
    started: VecDeque<CallId>,
    /// Its answer says that all calls of this session are known.
    opening: Option<CommandId>,
    actions: VecDeque<Action>,
    /// What was said of the calls that are found at the opening is not known here.
    after_restart: bool,
}

/// A command that was sent, for the app or (without `source`) by the seat itself.
struct Asked {
    id: CommandId,
    command: Command,
    source: Option<Source>,
}

/// What of the app's is to be answered.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: Name,
    pub booking: BookingId,
    pub ack: Option<AckId>,
}

impl Interpreter {
    /// For an app whose calls began before the server was started: one that is connected goes on as it is, one whose
    /// signals may be lost begins a new connection.
    pub fn after_restart() -> Self {
        Self { after_restart: true, ..Self::default() }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The seat has signed in: what is not answered is asked again, and the answer to the last question says that all
    /// is known ([`Interpreter::is_open`]).
    pub fn open(&mut self) {
        if let Some(before) = self.opening.take() {
            self.asked.retain(|asked| asked.id != before);
        }
        let again = self.asked.iter().map(|a| Action::Command { id: a.id.clone(), command: a.command.clone() });
        self.actions.extend(again);
        self.opening = Some(self.ask(Command::Bookings {}, None));
    }

    pub fn is_open(&self) -> bool {
        self.opening.is_none()
    }

    /// The app goes on over another connection, and may not have got the last that it was told.
    pub fn move_over(&mut self) {
        for asked in &mut self.asked {
            if let Some(source) = &mut asked.source {
                source.ack = None;
            }
        }
        let mut again = Vec::new();
        for (booking, call) in &mut self.calls {
            if let Some((_, source)) = &mut call.held {
                source.ack = None;
            }
            match call.stage {
                Stage::Rings if call.shown.incoming => {
                    again.push(call.incoming(booking, self.topics.get(booking)));
                }
                Stage::Rings if call.shown.ringing => again.push(call.ringing(booking)),
                Stage::Talks if call.signals.owes_offer() && call.held.is_none() => {
                    again.push(call.accepted(booking));
                }
                Stage::Talks => {
                    if let Some((sdp, candidates)) = call.signals.unanswered() {
                        again.push(call.description(booking, DescriptionKind::Offer, sdp));
                        again.extend(candidates.iter().map(|candidate| call.candidate(booking, candidate)));
                    }
                }
                Stage::Rings | Stage::Elsewhere | Stage::Over => {}
            }
        }
        self.actions.extend(again);
    }

    /// Whether a call is bound to this seat's device: one that it made, or took.
    pub fn holds_call(&self) -> bool {
        self.calls.values().any(|call| match call.stage {
            Stage::Rings => call.you == Side::Caller,
            Stage::Talks => true,
            Stage::Elsewhere | Stage::Over => false,
        })
    }

    /// An event of the app with its first argument.
    pub fn said(&mut self, event: &str, argument: &str, ack: Option<AckId>) {
        let Some(name) = Name::of(event) else {
            let fault = Fault::new("bad_frame", "this server knows no such event");
            return self.fault(Some(event), None, ack, &fault);
        };
        match words::read(name, argument) {
            Ok((booking, said)) => {
                let source = Source { name, booking, ack };
                if let Err((source, fault)) = self.act(said, source) {
                    self.fail(&source, &fault);
                }
            }
            Err(unread) => self.fault(Some(name.as_str()), unread.booking, ack, &unread.fault),
        }
    }

    /// A frame of the seat's session.
    pub fn told(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Ack { id, reply } => self.answered(&id, Ok(reply)),
            ServerFrame::Refused { id: Some(id), error } => self.answered(&id, Err(error.into())),
            ServerFrame::Event { event, .. } => self.happened(event),
            ServerFrame::Refused { id: None, .. } | ServerFrame::Welcome { .. } | ServerFrame::DevPeople { .. } => {}
        }
    }

    /// Says why something was not done: in the ack, if the app asked for one, else as `call:error`.
    pub fn fault(&mut self, event: Option<&str>, booking: Option<String>, ack: Option<AckId>, fault: &Fault) {
        let action = match ack {
            Some(ack) => Action::Ack { ack, body: json!({ "ok": false, "error": fault.body() }) },
            None => Action::Emit { event: "call:error", body: error_body(event, booking, fault) },
        };
        self.actions.push_back(action);
    }

    // What the app says.

    fn act(&mut self, said: Said, source: Source) -> Result<(), (Source, Fault)> {
        if self.asked.len() >= ASKED {
            return Err((source, refusal(ErrorCode::RateLimited).into()));
        }
        if said == Said::Start {
            let (booking, attempt) = (source.booking.clone(), AttemptId::from_bits(rand::random()));
            self.ask(Command::Invite { booking, attempt }, Some(source));
            return Ok(());
        }
        let Some(call) = self.calls.get_mut(&source.booking) else { return Err((source, Fault::not_found())) };
        let id = call.call.clone();
        let command = match said {
            Said::Start => return Ok(()),
            Said::Ringing => Command::Ringing { call: id },
            Said::Accept => Command::Accept { call: id },
            Said::Reject(because) => Command::Decline { call: id, because },
            Said::End => Command::HangUp { call: id },
            Said::Mute(muted) => Command::Muted { call: id, muted },
            Said::Reconnect => Command::Renew { call: id, generation: call.signals.generation },
            Said::Offer(sdp) => return self.offer(sdp, source),
            Said::Answer(sdp) => {
                if let Err(fault) = call.may_signal() {
                    return Err((source, fault));
                }
                match call.signals.take_answer(&sdp) {
                    Ok(Next::Repeat) => self.done(&source),
                    Ok(Next::Now | Next::WhenReady | Next::Renew) => {
                        self.describe(DescriptionKind::Answer, sdp, source);
                    }
                    Err(fault) => return Err((source, fault)),
                }
                return Ok(());
            }
            Said::Candidate(trickled) => {
                if call.stage != Stage::Rings
                    && let Err(fault) = call.may_signal()
                {
                    return Err((source, fault));
                }
                match call.signals.trickle(trickled, call.held.as_ref().map(|(sdp, _)| sdp)) {
                    Ok(None) => {
                        self.done(&source);
                        return Ok(());
                    }
                    Ok(Some(candidate)) => call.candidates(vec![candidate], false),
                    Err(fault) => return Err((source, fault)),
                }
            }
            Said::NoMoreCandidates => {
                if !call.signals.no_more() || call.stage != Stage::Talks {
                    self.done(&source);
                    return Ok(());
                }
                call.candidates(Vec::new(), true)
            }
        };
        self.ask(command, Some(source));
        Ok(())
    }

    fn offer(&mut self, sdp: Sdp, source: Source) -> Result<(), (Source, Fault)> {
        let Some(call) = self.calls.get_mut(&source.booking) else { return Err((source, Fault::not_found())) };
        let next = call.may_signal().and_then(|()| call.signals.take_offer(&sdp));
        let renew = match next {
            Ok(Next::Now) => {
                self.describe(DescriptionKind::Offer, sdp, source);
                return Ok(());
            }
            Ok(Next::Repeat) => {
                self.done(&source);
                return Ok(());
            }
            Ok(Next::WhenReady) => false,
            Ok(Next::Renew) => true,
            Err(fault) => return Err((source, fault)),
        };
        let renewal = Command::Renew { call: call.call.clone(), generation: call.signals.generation };
        let before = call.held.replace((sdp, source));
        if let Some((_, superseded)) = before {
            self.done(&superseded);
        }
        if renew {
            self.ask(renewal, None);
        }
        Ok(())
    }

    /// The app's description, and those of its candidates that waited for it.
    fn describe(&mut self, kind: DescriptionKind, sdp: Sdp, source: Source) {
        let Some(call) = self.calls.get_mut(&source.booking) else { return };
        let batches = call.signals.describe(sdp.clone());
        let candidates: Vec<Command> = batches.into_iter().map(|batch| call.candidates(batch, false)).collect();
        let generation = call.signals.generation;
        let description = Command::Describe { call: call.call.clone(), generation, kind, sdp };
        self.ask(description, Some(source));
        for command in candidates {
            self.ask(command, None);
        }
    }

    fn ask(&mut self, command: Command, source: Option<Source>) -> CommandId {
        let id = CommandId::from_bits(rand::random());
        self.asked.push_back(Asked { id: id.clone(), command: command.clone(), source });
        self.actions.push_back(Action::Command { id: id.clone(), command });
        id
    }

    // What the server answers.

    fn answered(&mut self, id: &CommandId, result: Result<Reply, Fault>) {
        if self.opening.as_ref() == Some(id) {
            self.opening = None;
            self.after_restart = false;
        }
        let Some(at) = self.asked.iter().position(|asked| asked.id == *id) else { return };
        let Some(Asked { command, source, .. }) = self.asked.remove(at) else { return };
        if let Command::Describe { call, generation, kind, sdp: _ } = &command {
            match (&result, kind) {
                // An older app cannot say that it hears; with an answer it can.
                (Ok(_), DescriptionKind::Answer) => self.hears(call, *generation),
                (Ok(_), DescriptionKind::Offer) => {}
                (Err(_), _) => {
                    if let Some((_, here)) = self.find(call)
                        && here.signals.generation == *generation
                    {
                        here.signals.undo_description();
                    }
                }
            }
        }
        if let Ok(Reply::Call { call }) = &result {
            self.started.truncate(STARTED - 1);
            self.started.push_front(call.clone());
        }
        let Some(source) = source else { return };
        match result {
            Ok(Reply::Call { call }) => self.say_started(&source, &call),
            Ok(
                Reply::Done {}
                | Reply::Bookings { .. }
                | Reply::History { .. }
                | Reply::IceServers { .. }
                | Reply::Check { .. },
            ) => self.done(&source),
            // What was on its way when the connection was renewed is of no use any more.
            Err(fault) if is_late_candidate(&command, &fault) => self.done(&source),
            Err(fault) => self.fail(&source, &fault),
        }
    }

    fn say_started(&mut self, source: &Source, call: &CallId) {
        let Some(ack) = source.ack else { return };
        let crossed = self.find(call).is_some_and(|(_, call)| call.you == Side::Callee);
        let role = if crossed { "callee" } else { "caller" };
        self.actions.push_back(Action::Ack { ack, body: json!({ "ok": true, "callId": call, "role": role }) });
    }

    fn done(&mut self, source: &Source) {
        if let Some(ack) = source.ack {
            let call = self.calls.get(&source.booking).map(|call| call.call.clone());
            self.actions.push_back(Action::Ack { ack, body: json!({ "ok": true, "callId": call }) });
        }
    }

    fn fail(&mut self, source: &Source, fault: &Fault) {
        self.fault(Some(source.name.as_str()), Some(source.booking.to_string()), source.ack, fault);
    }

    fn hears(&mut self, call: &CallId, generation: u32) {
        self.ask(Command::Hearing { call: call.clone(), generation, hearing: true }, None);
    }

    // What happens.

    fn happened(&mut self, event: Event) {
        match event {
            Event::Call { view } => self.follow(view),
            Event::Description { call, generation, kind, sdp } => self.description(&call, generation, kind, sdp),
            Event::Candidates { call, generation, candidates, .. } => {
                let Some((booking, here)) = self.find(&call) else { return };
                if here.signals.generation == generation {
                    let now = here.signals.trickled(candidates);
                    let emits: Vec<Action> = now.iter().map(|candidate| here.candidate(&booking, candidate)).collect();
                    self.actions.extend(emits);
                }
            }
            Event::Bookings { bookings } => {
                self.topics = bookings.into_iter().map(|view| (view.booking, view.topic)).collect();
            }
            // Not of this gateway: older apps know no presence, health and checks, and rooms and matches have gateways of their own.
            Event::Presence { .. }
            | Event::Room { .. }
            | Event::RoomOver { .. }
            | Event::DescriptionFrom { .. }
            | Event::CandidatesFrom { .. }
            | Event::Search { .. }
            | Event::Readiness { .. }
            | Event::Health { .. }
            | Event::CheckAnswer { .. }
            | Event::CheckOffered { .. }
            | Event::CheckOver { .. } => {}
        }
    }

    fn description(&mut self, call: &CallId, generation: u32, kind: DescriptionKind, sdp: Sdp) {
        let Some((booking, here)) = self.find(call) else { return };
        if here.signals.generation != generation {
            return;
        }
        let candidates = here.signals.described(sdp.clone());
        let mut emits = vec![here.description(&booking, kind, &sdp)];
        emits.extend(candidates.iter().map(|candidate| here.candidate(&booking, candidate)));
        self.actions.extend(emits);
        match kind {
            DescriptionKind::Answer => self.hears(call, generation),
            DescriptionKind::Offer => {}
        }
    }

    fn follow(&mut self, view: CallView) {
        let CallView { call: id, booking, version, you, peer, keep_chat: _, phase } = view;
        match self.calls.get(&booking) {
            Some(known) if known.call == id && known.version > version => return,
            Some(known) if known.call == id => {}
            known => {
                let busy = known.is_some_and(|call| call.stage != Stage::Over);
                // One that was over as soon as the app made it: the callee is in another call.
                let made_here = you == Side::Caller && (self.is_starting(&booking) || self.started.contains(&id));
                if let Phase::Ended { ending } = &phase
                    && !made_here
                {
                    // A call of which this app knows nothing, and that was over before it came.
                    let missed = missed(&booking, &id, &peer, you, ending);
                    self.actions.extend(missed);
                    if busy {
                        return;
                    }
                }
                self.forget_old();
                let over = matches!(phase, Phase::Ended { .. }) && !made_here;
                let stage = if over { Stage::Over } else { Stage::Rings };
                self.calls.insert(booking.clone(), Call::new(id.clone(), you, peer, stage));
            }
        }
        let Some(call) = self.calls.get_mut(&booking) else { return };
        call.version = version;
        match phase {
            Phase::Inviting { since } | Phase::Ringing { since } if you == Side::Callee => {
                call.started_at = since;
                if !std::mem::replace(&mut call.shown.incoming, true) {
                    let incoming = call.incoming(&booking, self.topics.get(&booking));
                    self.actions.push_back(incoming);
                    // The old app has no word for it: that it was handed the call, connected as it is, is as good.
                    self.ask(Command::Ringing { call: id }, None);
                }
            }
            Phase::Inviting { since } => call.started_at = since,
            Phase::Ringing { since } => {
                call.started_at = since;
                if !std::mem::replace(&mut call.shown.ringing, true) {
                    let ringing = call.ringing(&booking);
                    self.actions.push_back(ringing);
                }
            }
            Phase::Connecting { connection } => {
                let lost = self.after_restart && call.stage == Stage::Rings && connection.go;
                self.talk(&booking, &connection, false);
                if lost {
                    self.ask(Command::Renew { call: id, generation: connection.generation }, None);
                }
            }
            Phase::Connected { connection, peer_muted, .. } | Phase::Reconnecting { connection, peer_muted, .. } => {
                self.talk(&booking, &connection, peer_muted);
            }
            Phase::Elsewhere {} => {
                let told = call.shown.incoming || call.stage == Stage::Talks;
                if call.stage != Stage::Elsewhere && told {
                    self.actions.push_back(call.answered_elsewhere(&booking));
                }
                call.stage = Stage::Elsewhere;
            }
            Phase::Ended { ending } => self.end(&booking, &ending),
        }
    }

    fn talk(&mut self, booking: &BookingId, connection: &Connection, peer_muted: bool) {
        let Some(call) = self.calls.get_mut(booking) else { return };
        let begins = call.stage != Stage::Talks;
        call.stage = Stage::Talks;
        let renewed = call.signals.follow(connection);
        if begins && self.after_restart && connection.go {
            call.signals.go_on();
            call.ready_for = connection.generation;
        } else if begins && self.after_restart {
            // It was renewed while the app was away, or was not made yet.
            self.actions.push_back(call.reconnect(booking));
        } else if begins && call.you == Side::Caller {
            self.actions.push_back(call.accepted(booking));
        } else if renewed && call.held.is_none() {
            self.actions.push_back(call.reconnect(booking));
        }
        if std::mem::replace(&mut call.shown.peer_muted, peer_muted) != peer_muted {
            self.actions.push_back(call.peer_muted(booking, peer_muted));
        }
        if call.ready_for < connection.generation {
            call.ready_for = connection.generation;
            let ready = Command::Ready { call: call.call.clone(), generation: connection.generation };
            self.ask(ready, None);
        }
        if connection.go
            && let Some(call) = self.calls.get_mut(booking)
            && call.signals.owes_offer()
            && let Some((sdp, source)) = call.held.take()
        {
            self.describe(DescriptionKind::Offer, sdp, source);
        }
    }

    fn end(&mut self, booking: &BookingId, ending: &Ending) {
        let Some(call) = self.calls.get_mut(booking) else { return };
        let stage = std::mem::replace(&mut call.stage, Stage::Over);
        if matches!(stage, Stage::Over | Stage::Elsewhere) {
            return;
        }
        let held = call.held.take();
        let ended = call.ended(booking, ending);
        let missed =
            (stage == Stage::Rings).then(|| missed(booking, &call.call, &call.peer, call.you, ending)).flatten();
        self.actions.extend([Some(ended), missed].into_iter().flatten());
        if let Some((_, source)) = held {
            self.fail(&source, &Fault::wrong_state("the call is over"));
        }
    }

    /// Whether the app's press of the button is not answered yet.
    fn is_starting(&self, booking: &BookingId) -> bool {
        let starts = |command: &Command| matches!(command, Command::Invite { booking: of, .. } if of == booking);
        self.asked.iter().any(|asked| starts(&asked.command))
    }

    fn find(&mut self, id: &CallId) -> Option<(BookingId, &mut Call)> {
        let found = self.calls.iter_mut().find(|(_, call)| call.call == *id);
        found.map(|(booking, call)| (booking.clone(), call))
    }

    fn forget_old(&mut self) {
        if self.calls.len() >= CALLS {
            self.calls.retain(|_, call| call.stage != Stage::Over);
        }
    }
}

fn is_late_candidate(command: &Command, fault: &Fault) -> bool {
    matches!(command, Command::Candidates { .. }) && fault.code == word(ErrorCode::StaleGeneration)
}

#[cfg(test)]
mod tests;
