//! The telephone exchange: who is linked, which calls are live, and what each command does to them.
//!
//! The server owns one of these and feeds it from sockets, the store and a clock; it never asks for anything itself.
//! After each input, [`Exchange::poll_effect`] is drained in order: a [`Effect::Save`] must be stored before a later
//! [`Effect::Deliver`] goes out, so that no app has seen what a restarted server does not know.

use crate::booked_call::{BookedCall, Outcome};
use crate::booking::Booking;
use crate::fault::{Fault, planted};
use crate::sides::Sides;
use bellwire_signaling::{
    AttemptId, BookingId, CallId, Command, CommandId, DeviceId, EndReason, ErrorCode, Event, Presence, Reply, Side,
    UnixMs, UserId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ended calls are kept this long, so that a device that was away learns how its call ended.
pub const RECENT_MS: u64 = 10 * 60_000;
/// A call of which neither device was heard of for this long is over.
pub const ABSENT_MS: u64 = 10 * 60_000;
/// Events for a device that lost its link are made for this long; then it is forgotten until it comes back.
pub const DEVICE_MS: u64 = bellwire_signaling::limits::RESUME_SECONDS * 1_000;
/// "Away since" is remembered this long.
pub const AWAY_MS: u64 = 24 * 60 * 60_000;
/// A device that has come back has this long to say what it hears before its silence counts.
const SPEAK_MS: u64 = 5_000;
/// Commands of a device whose answers are remembered for a repeat. A link's window is far smaller.
const REMEMBERED_COMMANDS: usize = 32;

/// A device of a person: where events go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    pub user: UserId,
    pub device: DeviceId,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Store this call as it now is, before any later effect goes out. An ended call is saved once and never again.
    Save(Box<BookedCall>),
    /// To this device's session.
    Deliver { to: Who, event: Event },
    /// Tell the other party of each of this person's open bookings.
    PresenceChanged(UserId),
}

/// Why a timeout is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The deadline of a call's state.
    Call(CallId),
    /// Neither device of the call came back.
    Abandoned(CallId),
    /// The call ended long enough ago.
    Recent(CallId),
    /// The device's link was lost long enough ago.
    Device(Who),
    /// The person was away long enough.
    Person(UserId),
}

#[derive(Default)]
pub struct Exchange {
    people: BTreeMap<UserId, PersonHere>,
    calls: BTreeMap<CallId, BookedCall>,
    /// The one live call of a booking.
    live: BTreeMap<BookingId, CallId>,
    /// Since when neither device of a live call has a link.
    alone: BTreeMap<CallId, UnixMs>,
    /// Every moment at which something may be due; looked at again when it comes.
    agenda: BTreeSet<(UnixMs, Due)>,
    effects: VecDeque<Effect>,
}

#[derive(Default)]
struct PersonHere {
    devices: Vec<DeviceHere>,
    away_since: Option<UnixMs>,
    /// The call this person calls out in or talks in.
    engaged: Option<CallId>,
    /// Calls kept here of which this person is a party.
    calls: Vec<CallId>,
}

struct DeviceHere {
    device: DeviceId,
    link: DeviceLink,
    /// An app of an older system: in its calls the caller offers.
    older: bool,
    answered: VecDeque<(CommandId, Result<Reply, ErrorCode>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum DeviceLink {
    UpSince(UnixMs),
    DownSince(UnixMs),
}

impl Exchange {
    pub fn new() -> Self {
        Self::default()
    }

    /// After a start: the calls that are live, or ended within [`RECENT_MS`], as the store has them. Nobody is linked yet.
    pub fn restore(&mut self, calls: Vec<BookedCall>, now: UnixMs) {
        for mut call in calls {
            call.restored(now);
            self.adopt(call, now);
        }
    }

    // What happens to links.

    /// A device signed in on a socket, in a new session or a resumed one. `older` if it speaks a gateway's protocol.
    pub fn link_up(&mut self, who: &Who, older: bool, now: UnixMs) {
        let person = self.people.entry(who.user.clone()).or_default();
        let was_away = !person.is_linked();
        person.away_since = None;
        match person.devices.iter_mut().find(|d| d.device == who.device) {
            Some(device) => device.link = DeviceLink::UpSince(now),
            None => person.devices.push(DeviceHere {
                device: who.device.clone(),
                link: DeviceLink::UpSince(now),
                older,
                answered: VecDeque::new(),
            }),
        }
        let calls = person.calls.clone();
        if was_away {
            self.effects.push_back(Effect::PresenceChanged(who.user.clone()));
        }
        for id in calls {
            self.show(&id, who);
            self.note_links(&id, now);
        }
    }

    /// The device's socket is gone. No call ends by it.
    pub fn link_down(&mut self, who: &Who, now: UnixMs) {
        let Some(person) = self.people.get_mut(&who.user) else { return };
        let Some(device) = person.devices.iter_mut().find(|d| d.device == who.device) else { return };
        device.link = DeviceLink::DownSince(now);
        self.agenda.insert((now.plus(DEVICE_MS), Due::Device(who.clone())));
        let calls = person.calls.clone();
        if !person.is_linked() {
            person.away_since = Some(now);
            self.agenda.insert((now.plus(AWAY_MS), Due::Person(who.user.clone())));
            self.effects.push_back(Effect::PresenceChanged(who.user.clone()));
        }
        for id in calls {
            self.note_links(&id, now);
            if planted(Fault::LinkLossEnds) {
                self.step_alone(&id, now, |call, now| call.abandon(now));
            }
        }
    }

    // Commands.

    /// Calls the other party of `booking`, as the store has it now. A call that is made gets the id `fresh`; `known` is the
    /// call the store has for this press of the button, if any. The other party's invite that crosses ours is accepted.
    #[allow(clippy::too_many_arguments)]
    pub fn invite(
        &mut self,
        who: &Who,
        id: &CommandId,
        booking: &Booking,
        attempt: &AttemptId,
        fresh: CallId,
        known: Option<CallId>,
        now: UnixMs,
    ) -> Result<Reply, ErrorCode> {
        if let Some(answer) = self.answered(who, id) {
            return answer;
        }
        let answer = self.place(who, booking, attempt, fresh, known, now).map(|call| Reply::Call { call });
        self.remember(who, id, &answer);
        answer
    }

    /// Any other command that names a call. One who is no party learns nothing: it is not found.
    pub fn command(&mut self, who: &Who, id: &CommandId, command: &Command, now: UnixMs) -> Result<Reply, ErrorCode> {
        if let Some(answer) = self.answered(who, id) {
            return answer;
        }
        let call = command.call().ok_or(ErrorCode::WrongState)?;
        let answer = self.step(who, call, command, now).map(|()| Reply::Done {});
        self.remember(who, id, &answer);
        answer
    }

    /// A booking is another one now. A call that still rings ends if the booking was cancelled; one that was accepted goes on.
    pub fn booking_changed(&mut self, booking: &Booking, now: UnixMs) {
        if booking.state == bellwire_signaling::BookingState::Cancelled
            && let Some(id) = self.live.get(&booking.id).cloned()
        {
            self.step_alone(&id, now, |call, now| call.withdraw(EndReason::BookingCancelled, now));
        }
    }

    // Time.

    /// Does what is due at `now`.
    pub fn timeout(&mut self, now: UnixMs) {
        while let Some((at, _)) = self.agenda.first()
            && *at <= now
            && let Some((_, due)) = self.agenda.pop_first()
        {
            match due {
                Due::Call(id) => {
                    let linked = self.linked(&id, now.minus(SPEAK_MS));
                    self.step_alone(&id, now, |call, now| call.expire(linked, now));
                }
                Due::Abandoned(id) => {
                    if self.alone.get(&id).is_some_and(|since| since.plus(ABSENT_MS) <= now) {
                        self.step_alone(&id, now, |call, now| call.abandon(now));
                    }
                }
                Due::Recent(id) => self.drop_call(&id),
                Due::Device(who) => self.forget_device(&who, now),
                Due::Person(user) => self.forget_person(&user, now),
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<(UnixMs, Due)> {
        self.agenda.first().cloned()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    // What is so.

    /// Whether `user` can be reached, as the other party of `seen_from` may know it.
    pub fn presence(&self, user: &UserId, seen_from: &BookingId) -> Presence {
        let Some(person) = self.people.get(user) else { return Presence::Away { since: None } };
        let elsewhere =
            person.engaged.as_ref().and_then(|id| self.calls.get(id)).is_some_and(|call| call.booking() != seen_from);
        if elsewhere {
            Presence::InAnotherCall {}
        } else if person.is_linked() {
            Presence::Online {}
        } else {
            Presence::Away { since: person.away_since }
        }
    }

    pub fn live_calls(&self) -> usize {
        self.live.len()
    }

    /// A call that is live or ended not long ago.
    pub fn call(&self, id: &CallId) -> Option<&BookedCall> {
        self.calls.get(id)
    }

    /// Whether this person has a call that is not over.
    pub fn has_live_call(&self, user: &UserId) -> bool {
        let calls = self.people.get(user).map_or(&[][..], |person| &person.calls);
        calls.iter().filter_map(|id| self.calls.get(id)).any(|call| !call.is_ended())
    }

    // Inviting.

    fn place(
        &mut self,
        who: &Who,
        booking: &Booking,
        attempt: &AttemptId,
        fresh: CallId,
        known: Option<CallId>,
        now: UnixMs,
    ) -> Result<CallId, ErrorCode> {
        let role = booking.role_of(&who.user).ok_or(ErrorCode::NotFound)?;
        if let Some(known) = known {
            self.calls.get(&known).ok_or(ErrorCode::WrongState)?;
            self.show(&known, who);
            return Ok(known);
        }
        booking.admits(&who.user, now)?;
        if let Some(live) = self.live.get(&booking.id).cloned() {
            return self.join(who, &live, now);
        }
        if self.engaged(&who.user).is_some() {
            return Err(ErrorCode::InAnotherCall);
        }
        let call = BookedCall::invite(fresh.clone(), attempt.clone(), booking, role, who.device.clone(), now);
        let busy = self.engaged(&call.party(Side::Callee).user).is_some();
        self.adopt(call, now);
        if busy {
            self.step_alone(&fresh, now, |call, now| call.withdraw(EndReason::Busy, now));
        } else {
            self.publish(&fresh, now);
        }
        Ok(fresh)
    }

    /// An invite for a booking that has a live call already.
    fn join(&mut self, who: &Who, live: &CallId, now: UnixMs) -> Result<CallId, ErrorCode> {
        let call = self.calls.get(live).ok_or(ErrorCode::Internal)?;
        let side = call.side_of(&who.user).ok_or(ErrorCode::NotFound)?;
        if side == Side::Callee && call.is_ringing() {
            self.step(who, live, &Command::Accept { call: live.clone() }, now)?;
        } else if call.device(side) == Some(&who.device) {
            self.show(live, who);
        } else {
            return Err(ErrorCode::OnAnotherDevice);
        }
        Ok(live.clone())
    }

    // Stepping a call.

    fn step(&mut self, who: &Who, id: &CallId, command: &Command, now: UnixMs) -> Result<(), ErrorCode> {
        let call = self.calls.get_mut(id).ok_or(ErrorCode::NotFound)?;
        let side = call.side_of(&who.user).ok_or(ErrorCode::NotFound)?;
        let accepts = matches!(command, Command::Accept { .. });
        if accepts && self.engaged(&who.user).is_some_and(|other| other != id) {
            return Err(ErrorCode::InAnotherCall);
        }
        let older = accepts && self.is_older_between(id, who);
        let call = self.calls.get_mut(id).ok_or(ErrorCode::NotFound)?;
        if older {
            call.caller_offers();
        }
        let outcome = call.step(side, &who.device, command, now);
        let relay_to = call
            .device(side.other())
            .map(|device| Who { user: call.party(side.other()).user.clone(), device: device.clone() });
        match outcome {
            Ok(Outcome::Unchanged) => Ok(()),
            Ok(Outcome::Changed) => {
                self.publish(id, now);
                if accepts {
                    self.turn_others_away(id, now);
                }
                Ok(())
            }
            Ok(Outcome::Relay(event)) => {
                if let Some(to) = relay_to {
                    self.effects.push_back(Effect::Deliver { to, event });
                }
                Ok(())
            }
            Err(code) => {
                // Whoever is refused has an old view.
                self.show(id, who);
                Err(code)
            }
        }
    }

    /// Whether the device that accepts, or the caller's, is an app of an older system.
    fn is_older_between(&self, id: &CallId, accepting: &Who) -> bool {
        let Some(call) = self.calls.get(id) else { return false };
        let caller = (&call.party(Side::Caller).user, call.device(Side::Caller));
        let is_older = |user: &UserId, device: &DeviceId| {
            let devices = self.people.get(user).map_or(&[][..], |person| &person.devices);
            devices.iter().any(|here| here.older && here.device == *device)
        };
        is_older(&accepting.user, &accepting.device) || caller.1.is_some_and(|device| is_older(caller.0, device))
    }

    /// A step that nobody asked for.
    fn step_alone(&mut self, id: &CallId, now: UnixMs, step: impl FnOnce(&mut BookedCall, UnixMs) -> Outcome) {
        let Some(call) = self.calls.get_mut(id) else { return };
        match step(call, now) {
            Outcome::Changed => self.publish(id, now),
            Outcome::Unchanged | Outcome::Relay(_) => {}
        }
    }

    /// The two of an accepted call are busy for whoever else calls them.
    fn turn_others_away(&mut self, accepted: &CallId, now: UnixMs) {
        let Some(call) = self.calls.get(accepted) else { return };
        let users = [Side::Caller, Side::Callee].map(|side| call.party(side).user.clone());
        for user in users {
            let others = self.people.get(&user).map(|person| person.calls.clone()).unwrap_or_default();
            for id in others.iter().filter(|id| *id != accepted) {
                self.step_alone(id, now, |call, now| call.withdraw(EndReason::Busy, now));
            }
        }
    }

    /// The call changed: store it, show it to all devices of both, and set its clocks.
    fn publish(&mut self, id: &CallId, now: UnixMs) {
        let Some(call) = self.calls.get(id) else { return };
        self.effects.push_back(Effect::Save(Box::new(call.clone())));
        for side in [Side::Caller, Side::Callee] {
            let user = &call.party(side).user;
            let devices = self.people.get(user).map_or(&[][..], |person| &person.devices);
            for DeviceHere { device, .. } in devices {
                let to = Who { user: user.clone(), device: device.clone() };
                let event = Event::Call { view: call.view(side, device) };
                self.effects.push_back(Effect::Deliver { to, event });
            }
        }
        self.keep_books(id, now);
    }

    /// What follows from the state of a call: its place among the live ones, its deadline, who is engaged.
    fn keep_books(&mut self, id: &CallId, now: UnixMs) {
        let Some(call) = self.calls.get(id) else { return };
        if let Some(at) = call.deadline() {
            self.agenda.insert((at, Due::Call(id.clone())));
        }
        if let Some((at, _)) = call.ended() {
            if self.live.get(call.booking()) == Some(id) {
                self.live.remove(call.booking());
            }
            self.agenda.insert((at.plus(RECENT_MS), Due::Recent(id.clone())));
        }
        let talks = !call.is_ended() && !call.is_ringing();
        let calls_out = call.is_ringing();
        let parties = [
            (call.party(Side::Caller).user.clone(), talks || calls_out),
            (call.party(Side::Callee).user.clone(), talks),
        ];
        for (user, engaged) in parties {
            let person = self.people.entry(user.clone()).or_default();
            let was = person.engaged.as_ref() == Some(id);
            if was != engaged && (engaged || was) {
                person.engaged = engaged.then(|| id.clone());
                self.effects.push_back(Effect::PresenceChanged(user));
            }
        }
        self.note_links(id, now);
    }

    fn adopt(&mut self, call: BookedCall, now: UnixMs) {
        let id = call.id().clone();
        if !call.is_ended() {
            self.live.insert(call.booking().clone(), id.clone());
        }
        for side in [Side::Caller, Side::Callee] {
            self.people.entry(call.party(side).user.clone()).or_default().calls.push(id.clone());
        }
        self.calls.insert(id.clone(), call);
        self.keep_books(&id, now);
    }

    /// Notes since when neither device of a call that was accepted has a link.
    fn note_links(&mut self, id: &CallId, now: UnixMs) {
        let talks = self.calls.get(id).is_some_and(|call| !call.is_ended() && !call.is_ringing());
        let linked = self.linked(id, now);
        if !talks || linked.caller || linked.callee {
            self.alone.remove(id);
        } else if !self.alone.contains_key(id) {
            self.alone.insert(id.clone(), now);
            self.agenda.insert((now.plus(ABSENT_MS), Due::Abandoned(id.clone())));
        }
    }

    fn show(&mut self, id: &CallId, who: &Who) {
        let Some(call) = self.calls.get(id) else { return };
        let Some(side) = call.side_of(&who.user) else { return };
        let event = Event::Call { view: call.view(side, &who.device) };
        self.effects.push_back(Effect::Deliver { to: who.clone(), event });
    }

    /// Which side's device is linked, and has been since `by`: one that has just come back may not have spoken.
    fn linked(&self, id: &CallId, by: UnixMs) -> Sides<bool> {
        let Some(call) = self.calls.get(id) else { return Sides::default() };
        let linked = |side| {
            let devices = self.people.get(&call.party(side).user).map_or(&[][..], |person| &person.devices);
            let device = devices.iter().find(|d| call.device(side) == Some(&d.device));
            device.is_some_and(|d| match d.link {
                DeviceLink::UpSince(at) => at <= by,
                DeviceLink::DownSince(_) => false,
            })
        };
        Sides { caller: linked(Side::Caller), callee: linked(Side::Callee) }
    }

    fn engaged(&self, user: &UserId) -> Option<&CallId> {
        self.people.get(user).and_then(|person| person.engaged.as_ref())
    }

    // Repeats.

    fn answered(&self, who: &Who, id: &CommandId) -> Option<Result<Reply, ErrorCode>> {
        let device = self.people.get(&who.user)?.devices.iter().find(|d| d.device == who.device)?;
        device.answered.iter().find(|(known, _)| known == id).map(|(_, answer)| answer.clone())
    }

    fn remember(&mut self, who: &Who, id: &CommandId, answer: &Result<Reply, ErrorCode>) {
        let Some(person) = self.people.get_mut(&who.user) else { return };
        let Some(device) = person.devices.iter_mut().find(|d| d.device == who.device) else { return };
        if device.answered.len() == REMEMBERED_COMMANDS {
            device.answered.pop_front();
        }
        device.answered.push_back((id.clone(), answer.clone()));
    }

    // Forgetting.

    fn drop_call(&mut self, id: &CallId) {
        if !self.calls.get(id).is_some_and(BookedCall::is_ended) {
            return;
        }
        if let Some(call) = self.calls.remove(id) {
            for side in [Side::Caller, Side::Callee] {
                if let Some(person) = self.people.get_mut(&call.party(side).user) {
                    person.calls.retain(|kept| kept != id);
                }
                self.drop_person_if_empty(&call.party(side).user);
            }
        }
    }

    fn forget_device(&mut self, who: &Who, now: UnixMs) {
        let Some(person) = self.people.get_mut(&who.user) else { return };
        person.devices.retain(|d| match d.link {
            DeviceLink::UpSince(_) => true,
            DeviceLink::DownSince(at) => d.device != who.device || at.plus(DEVICE_MS) > now,
        });
    }

    fn forget_person(&mut self, user: &UserId, now: UnixMs) {
        if let Some(person) = self.people.get_mut(user)
            && person.away_since.is_some_and(|at| at.plus(AWAY_MS) <= now)
        {
            person.away_since = None;
        }
        self.drop_person_if_empty(user);
    }

    fn drop_person_if_empty(&mut self, user: &UserId) {
        let empty = self
            .people
            .get(user)
            .is_some_and(|person| person.devices.is_empty() && person.calls.is_empty() && person.away_since.is_none());
        if empty {
            self.people.remove(user);
        }
    }
}

impl PersonHere {
    fn is_linked(&self) -> bool {
        self.devices.iter().any(|d| matches!(d.link, DeviceLink::UpSince(_)))
    }
}
