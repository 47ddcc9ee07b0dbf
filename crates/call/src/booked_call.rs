//! One call of one booking, as the server holds it.

mod shown;

use crate::booking::Booking;
use crate::fault::{Fault, planted};
use crate::kept_chat::KeptChat;
use crate::sides::Sides;
use bellwire_signaling::limits::CANDIDATES_A_GENERATION;
use bellwire_signaling::{
    AttemptId, Because, BookingId, CallId, Command, DescriptionKind, DeviceId, EndReason, Ending, ErrorCode, Event,
    Handle, Role, Side, UnixMs, UserId,
};
use serde::{Deserialize, Serialize};

/// An unanswered call ends after this. RingRTC's ring lasts as long.
pub const RING_MS: u64 = 60_000;
/// From accept to sound both ways; then the call ends with [`EndReason::MediaFailed`].
pub const CONNECT_MS: u64 = 30_000;
/// Without sound both ways after that; then it ends with [`EndReason::MediaLost`].
pub const RECONNECT_MS: u64 = 30_000;

/// The state of a call, in the one place that decides it.
///
/// ```text
///              invite
///                 |
///             Inviting --"it rings here"--> Ringing          caller hangs up    -> cancelled
///                 |                            |             callee declines    -> declined
///                 +------------ accept --------+             60 s               -> no_answer
///                               |                            in another call    -> busy
///                          Connecting                        booking cancelled  -> booking_cancelled
///                               |        \ 30 s -> media_failed
///                       both hear each other
///                               |
///        +----------------- Connected
///   one no longer hears         |
///        |              both hear again
///        +--> Reconnecting -----+
///                  \ 30 s -> media_lost
///
///   from Connecting, Connected, Reconnecting: either party hangs up -> hung_up
/// ```
///
/// Connecting, Connected and Reconnecting hold a [`Talk`]: the one device of each party, and the connection's generation.
/// Whether a talk is connected follows from who hears; nothing else says so. Ended is final.
///
/// A value of this type is the whole truth of a call: it serialises, and a restarted or another server goes on from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BookedCall {
    /// Of the serialised form.
    format: u16,
    id: CallId,
    booking: BookingId,
    topic: String,
    attempt: AttemptId,
    caller: Party,
    callee: Party,
    /// Who makes the offers: fixed from the accept on, so that two never cross.
    offerer: Side,
    #[serde(default)]
    chat: KeptChat,
    version: u32,
    invited_at: UnixMs,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub user: UserId,
    pub handle: Handle,
    pub name: String,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Inviting { from: DeviceId },
    Ringing { from: DeviceId, since: UnixMs },
    Connecting { talk: Talk, since: UnixMs },
    Connected { talk: Talk, at: UnixMs },
    Reconnecting { talk: Talk, at: UnixMs, since: UnixMs },
    Ended { ending: Ending, at: UnixMs, connected_at: Option<UnixMs> },
}

/// What an accepted call has: a device on each side, and their connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Talk {
    on: Sides<DeviceId>,
    generation: u32,
    ready: Sides<bool>,
    hearing: Sides<bool>,
    muted: Sides<bool>,
    /// Candidates relayed in this generation, to bound them.
    #[serde(skip)]
    candidates: Sides<usize>,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing: a repeat.
    Unchanged,
    /// The views of the call are new ones.
    Changed,
    /// Goes to the other side's device as it is.
    Relay(Event),
}

impl BookedCall {
    /// A call that begins now, from a device of the booking's `caller`.
    pub fn invite(
        id: CallId,
        attempt: AttemptId,
        booking: &Booking,
        caller: Role,
        from: DeviceId,
        now: UnixMs,
    ) -> BookedCall {
        let party = |role| {
            let person = booking.person(role);
            Party { user: person.user.clone(), handle: person.handle.clone(), name: person.name.clone(), role }
        };
        let (caller, callee) = (party(caller), party(caller.other()));
        let offerer = if caller.user < callee.user { Side::Caller } else { Side::Callee };
        let state =
            if planted(Fault::RingingAssumed) { State::Ringing { from, since: now } } else { State::Inviting { from } };
        BookedCall {
            format: 1,
            id,
            booking: booking.id.clone(),
            topic: booking.topic.clone(),
            attempt,
            caller,
            callee,
            offerer,
            chat: KeptChat::default(),
            version: 1,
            invited_at: now,
            state,
        }
    }

    /// The caller makes the offers in this call, whoever has the lower id: apps of older systems know it no other way.
    /// To be said before the call is accepted.
    pub fn caller_offers(&mut self) {
        if self.is_ringing() {
            self.offerer = Side::Caller;
        }
    }

    /// A command of a party's device. One that names no call is refused.
    pub fn step(
        &mut self,
        side: Side,
        device: &DeviceId,
        command: &Command,
        now: UnixMs,
    ) -> Result<Outcome, ErrorCode> {
        match command {
            Command::Ringing { .. } => self.rings(side, now),
            Command::Accept { .. } => self.accept(side, device, now),
            Command::Decline { because, .. } => self.decline(side, *because, now),
            Command::HangUp { .. } => self.hang_up(side, device, now),
            Command::Ready { generation, .. } => self.ready(side, device, *generation),
            Command::Describe { generation, kind, sdp, .. } => {
                self.may_describe(side, device, *generation, *kind)?;
                let (call, generation, kind, sdp) = (self.id.clone(), *generation, *kind, sdp.clone());
                Ok(Outcome::Relay(Event::Description { call, generation, kind, sdp }))
            }
            Command::Candidates { generation, candidates, done, .. } => {
                self.may_trickle(side, device, *generation, candidates.len())?;
                let (call, generation, candidates) = (self.id.clone(), *generation, candidates.clone());
                Ok(Outcome::Relay(Event::Candidates { call, generation, candidates, done: *done }))
            }
            Command::Hearing { generation, hearing, .. } => self.hears(side, device, *generation, *hearing, now),
            Command::Renew { generation, .. } => self.renew(side, device, *generation),
            Command::Muted { muted, .. } => self.mutes(side, device, *muted),
            Command::KeepChat { keep, .. } => self.keeps_chat(side, device, *keep),
            Command::ChatLines { lines, .. } => self.keep_lines(side, device, lines, now),
            Command::Health { health, .. } => {
                self.talk(side, device)?;
                Ok(Outcome::Relay(Event::Health { call: self.id.clone(), health: *health }))
            }
            Command::Invite { .. }
            | Command::Bookings {}
            | Command::History { .. }
            | Command::EnterRoom { .. }
            | Command::LeaveRoom { .. }
            | Command::RoomMuted { .. }
            | Command::LockRoom { .. }
            | Command::RemoveMember { .. }
            | Command::RenewMember { .. }
            | Command::DescribeTo { .. }
            | Command::CandidatesTo { .. }
            | Command::Search {}
            | Command::StopSearching {}
            | Command::Skip {}
            | Command::Block { .. }
            | Command::Report { .. }
            | Command::Quality { .. }
            | Command::Readiness { .. }
            | Command::IceServers { .. }
            | Command::StartCheck {}
            | Command::CheckOffer { .. }
            | Command::EndCheck { .. }
            | Command::ServeChecks {}
            | Command::AnswerCheck { .. } => Err(ErrorCode::WrongState),
        }
    }

    /// Ends a call that rings, for a reason that no party gave. Later it stays as it is.
    pub fn withdraw(&mut self, reason: EndReason, now: UnixMs) -> Outcome {
        match self.state {
            State::Inviting { .. } | State::Ringing { .. } => self.end(reason, None, None, now),
            State::Connecting { .. } | State::Connected { .. } | State::Reconnecting { .. } | State::Ended { .. } => {
                Outcome::Unchanged
            }
        }
    }

    /// The call's deadline came. `linked` says whose device the server can ask. An accepted call ends only if a side that
    /// can be asked does not hear: two that have merely lost the server may well be talking (rule 7); they get another term.
    pub fn expire(&mut self, linked: Sides<bool>, now: UnixMs) -> Outcome {
        if self.deadline().is_none_or(|at| now < at) {
            return Outcome::Unchanged;
        }
        let deaf = |talk: &Talk| {
            let deaf = |side| *linked.of(side) && !talk.hearing.of(side);
            deaf(Side::Caller) || deaf(Side::Callee)
        };
        match &mut self.state {
            State::Inviting { .. } | State::Ringing { .. } => self.end(EndReason::NoAnswer, None, None, now),
            State::Connecting { talk, .. } if deaf(talk) => self.end(EndReason::MediaFailed, None, None, now),
            State::Reconnecting { talk, .. } if deaf(talk) => self.end(EndReason::MediaLost, None, None, now),
            State::Connecting { since, .. } | State::Reconnecting { since, .. } => {
                *since = now;
                self.changed()
            }
            State::Connected { .. } | State::Ended { .. } => Outcome::Unchanged,
        }
    }

    /// Both devices were away from the server for too long to believe that they still talk.
    pub fn abandon(&mut self, now: UnixMs) -> Outcome {
        match self.state {
            State::Connecting { .. } => self.end(EndReason::MediaFailed, None, None, now),
            State::Connected { .. } | State::Reconnecting { .. } => self.end(EndReason::MediaLost, None, None, now),
            State::Inviting { .. } | State::Ringing { .. } | State::Ended { .. } => Outcome::Unchanged,
        }
    }

    /// After a restart: time in which nobody could be heard does not count against a call that was accepted.
    pub fn restored(&mut self, now: UnixMs) {
        match &mut self.state {
            State::Connecting { since, .. } | State::Reconnecting { since, .. } => *since = now,
            State::Inviting { .. } | State::Ringing { .. } | State::Connected { .. } | State::Ended { .. } => {}
        }
    }

    /// When [`expire`](Self::expire) is due.
    pub fn deadline(&self) -> Option<UnixMs> {
        match &self.state {
            State::Inviting { .. } | State::Ringing { .. } => Some(self.invited_at.plus(RING_MS)),
            State::Connecting { since, .. } => Some(since.plus(CONNECT_MS)),
            State::Reconnecting { since, .. } => Some(since.plus(RECONNECT_MS)),
            State::Connected { .. } | State::Ended { .. } => None,
        }
    }

    pub fn id(&self) -> &CallId {
        &self.id
    }

    pub fn booking(&self) -> &BookingId {
        &self.booking
    }

    pub fn attempt(&self) -> &AttemptId {
        &self.attempt
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn invited_at(&self) -> UnixMs {
        self.invited_at
    }

    pub fn connected_at(&self) -> Option<UnixMs> {
        match &self.state {
            State::Connected { at, .. } | State::Reconnecting { at, .. } => Some(*at),
            State::Ended { connected_at, .. } => *connected_at,
            State::Inviting { .. } | State::Ringing { .. } | State::Connecting { .. } => None,
        }
    }

    pub fn ended(&self) -> Option<(UnixMs, &Ending)> {
        match &self.state {
            State::Ended { ending, at, .. } => Some((*at, ending)),
            State::Inviting { .. }
            | State::Ringing { .. }
            | State::Connecting { .. }
            | State::Connected { .. }
            | State::Reconnecting { .. } => None,
        }
    }

    pub fn is_ended(&self) -> bool {
        self.ended().is_some()
    }

    /// Nobody accepted it yet, and it is not over.
    pub fn is_ringing(&self) -> bool {
        matches!(self.state, State::Inviting { .. } | State::Ringing { .. })
    }

    pub fn party(&self, side: Side) -> &Party {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    pub fn side_of(&self, user: &UserId) -> Option<Side> {
        if planted(Fault::StrangerObeyed) && self.caller.user != *user {
            return Some(Side::Callee);
        }
        [Side::Caller, Side::Callee].into_iter().find(|side| self.party(*side).user == *user)
    }

    /// The one device that carries this side: the caller's from the start, the callee's once it accepted.
    pub fn device(&self, side: Side) -> Option<&DeviceId> {
        match &self.state {
            State::Inviting { from } | State::Ringing { from, .. } => (side == Side::Caller).then_some(from),
            State::Connecting { talk, .. } | State::Connected { talk, .. } | State::Reconnecting { talk, .. } => {
                Some(talk.on.of(side))
            }
            State::Ended { .. } => None,
        }
    }

    fn rings(&mut self, side: Side, now: UnixMs) -> Result<Outcome, ErrorCode> {
        if side == Side::Caller {
            return Err(ErrorCode::WrongState);
        }
        match &self.state {
            State::Inviting { from } => {
                self.state = State::Ringing { from: from.clone(), since: now };
                Ok(self.changed())
            }
            State::Ringing { .. }
            | State::Connecting { .. }
            | State::Connected { .. }
            | State::Reconnecting { .. }
            | State::Ended { .. } => Ok(Outcome::Unchanged),
        }
    }

    fn accept(&mut self, side: Side, device: &DeviceId, now: UnixMs) -> Result<Outcome, ErrorCode> {
        if side == Side::Caller {
            return Err(ErrorCode::WrongState);
        }
        match &mut self.state {
            State::Inviting { from } | State::Ringing { from, .. } => {
                let talk = Talk {
                    on: Sides { caller: from.clone(), callee: device.clone() },
                    generation: 1,
                    ready: Sides::default(),
                    hearing: Sides::default(),
                    muted: Sides::default(),
                    candidates: Sides::default(),
                };
                self.state = State::Connecting { talk, since: now };
                Ok(self.changed())
            }
            State::Connecting { talk, .. } | State::Connected { talk, .. } | State::Reconnecting { talk, .. } => {
                if talk.on.callee == *device {
                    Ok(Outcome::Unchanged)
                } else if planted(Fault::SecondAcceptWins) {
                    talk.on.callee = device.clone();
                    Ok(self.changed())
                } else {
                    Err(ErrorCode::OnAnotherDevice)
                }
            }
            State::Ended { .. } => Err(ErrorCode::WrongState),
        }
    }

    fn decline(&mut self, side: Side, because: Because, now: UnixMs) -> Result<Outcome, ErrorCode> {
        if side == Side::Caller {
            return Err(ErrorCode::WrongState);
        }
        match &self.state {
            State::Inviting { .. } | State::Ringing { .. } => {
                Ok(self.end(EndReason::Declined, Some(side), Some(because), now))
            }
            State::Connecting { .. } | State::Connected { .. } | State::Reconnecting { .. } => {
                Err(ErrorCode::WrongState)
            }
            State::Ended { .. } => Ok(Outcome::Unchanged),
        }
    }

    fn hang_up(&mut self, side: Side, device: &DeviceId, now: UnixMs) -> Result<Outcome, ErrorCode> {
        match (&self.state, side) {
            (State::Inviting { from } | State::Ringing { from, .. }, Side::Caller) => {
                if from != device {
                    return Err(ErrorCode::OnAnotherDevice);
                }
                Ok(self.end(EndReason::Cancelled, Some(side), None, now))
            }
            (State::Inviting { .. } | State::Ringing { .. }, Side::Callee) => {
                Ok(self.end(EndReason::Declined, Some(side), Some(Because::NotNow), now))
            }
            (State::Connecting { .. } | State::Connected { .. } | State::Reconnecting { .. }, _) => {
                self.talk(side, device)?;
                Ok(self.end(EndReason::HungUp, Some(side), None, now))
            }
            (State::Ended { .. }, _) if planted(Fault::EndedTwice) => {
                Ok(self.end(EndReason::HungUp, Some(side), None, now))
            }
            (State::Ended { .. }, _) => Ok(Outcome::Unchanged),
        }
    }

    fn ready(&mut self, side: Side, device: &DeviceId, generation: u32) -> Result<Outcome, ErrorCode> {
        let talk = self.talk(side, device)?;
        if generation != talk.generation {
            return Err(ErrorCode::StaleGeneration);
        }
        if std::mem::replace(talk.ready.of_mut(side), true) || !talk.ready.both() {
            return Ok(Outcome::Unchanged);
        }
        Ok(self.changed())
    }

    fn may_describe(
        &mut self,
        side: Side,
        device: &DeviceId,
        generation: u32,
        kind: DescriptionKind,
    ) -> Result<(), ErrorCode> {
        let in_turn = (kind == DescriptionKind::Offer) == (side == self.offerer);
        let talk = self.talk_of(side, device, generation)?;
        if talk.ready.both() && in_turn { Ok(()) } else { Err(ErrorCode::WrongState) }
    }

    fn may_trickle(&mut self, side: Side, device: &DeviceId, generation: u32, more: usize) -> Result<(), ErrorCode> {
        let relayed = self.talk_of(side, device, generation)?.candidates.of_mut(side);
        if *relayed + more > CANDIDATES_A_GENERATION {
            return Err(ErrorCode::RateLimited);
        }
        *relayed += more;
        Ok(())
    }

    /// A side hears on any connection that it still holds, so an older generation counts too.
    fn hears(
        &mut self,
        side: Side,
        device: &DeviceId,
        generation: u32,
        hearing: bool,
        now: UnixMs,
    ) -> Result<Outcome, ErrorCode> {
        let talk = self.talk(side, device)?;
        if generation == 0 || generation > talk.generation {
            return Err(ErrorCode::StaleGeneration);
        }
        if std::mem::replace(talk.hearing.of_mut(side), hearing) == hearing {
            return Ok(Outcome::Unchanged);
        }
        let talk = talk.clone();
        let both = talk.hearing.both() || (planted(Fault::ConnectedOneWay) && hearing);
        match (&self.state, both) {
            (State::Connecting { .. }, true) => self.state = State::Connected { talk, at: now },
            (State::Connected { at, .. }, false) => self.state = State::Reconnecting { talk, at: *at, since: now },
            (State::Reconnecting { at, .. }, true) => self.state = State::Connected { talk, at: *at },
            (State::Connecting { .. } | State::Reconnecting { .. }, false)
            | (State::Connected { .. } | State::Inviting { .. } | State::Ringing { .. } | State::Ended { .. }, _) => {}
        }
        Ok(self.changed())
    }

    fn renew(&mut self, side: Side, device: &DeviceId, generation: u32) -> Result<Outcome, ErrorCode> {
        let talk = self.talk(side, device)?;
        if generation > talk.generation {
            return Err(ErrorCode::StaleGeneration);
        }
        if generation < talk.generation {
            return Ok(Outcome::Unchanged);
        }
        talk.generation = generation.saturating_add(1);
        talk.ready = Sides::default();
        talk.candidates = Sides::default();
        Ok(self.changed())
    }

    fn mutes(&mut self, side: Side, device: &DeviceId, muted: bool) -> Result<Outcome, ErrorCode> {
        let talk = self.talk(side, device)?;
        if std::mem::replace(talk.muted.of_mut(side), muted) == muted {
            return Ok(Outcome::Unchanged);
        }
        Ok(self.changed())
    }

    fn keeps_chat(&mut self, side: Side, device: &DeviceId, keep: bool) -> Result<Outcome, ErrorCode> {
        self.talk(side, device)?;
        Ok(if self.chat.set_keep(side, keep) { self.changed() } else { Outcome::Unchanged })
    }

    fn keep_lines(&mut self, by: Side, device: &DeviceId, lines: &[String], at: UnixMs) -> Result<Outcome, ErrorCode> {
        self.talk(by, device)?;
        self.chat.add(by, lines, at)?;
        Ok(self.changed())
    }

    fn talk(&mut self, side: Side, device: &DeviceId) -> Result<&mut Talk, ErrorCode> {
        match &mut self.state {
            State::Connecting { talk, .. } | State::Connected { talk, .. } | State::Reconnecting { talk, .. } => {
                if talk.on.of(side) == device { Ok(talk) } else { Err(ErrorCode::OnAnotherDevice) }
            }
            State::Inviting { .. } | State::Ringing { .. } | State::Ended { .. } => Err(ErrorCode::WrongState),
        }
    }

    fn talk_of(&mut self, side: Side, device: &DeviceId, generation: u32) -> Result<&mut Talk, ErrorCode> {
        let talk = self.talk(side, device)?;
        let mixed = planted(Fault::GenerationsMixed);
        if talk.generation == generation || mixed { Ok(talk) } else { Err(ErrorCode::StaleGeneration) }
    }

    /// The one way to an end.
    fn end(&mut self, reason: EndReason, by: Option<Side>, because: Option<Because>, now: UnixMs) -> Outcome {
        let connected_at = self.connected_at();
        let duration_ms = connected_at.map_or(0, |at| now.since(at));
        self.state = State::Ended { ending: Ending { reason, by, because, duration_ms }, at: now, connected_at };
        self.changed()
    }

    fn changed(&mut self) -> Outcome {
        self.version = self.version.saturating_add(1);
        Outcome::Changed
    }
}
