//! What an all-seeing observer knows of a history, and the nine rules as it checks them.

use super::sound::Sound;
use super::world::Device;
use crate::booked_call::RING_MS;
use crate::endpoint::{CallNow, MediaCommand, MediaEvent, State};
use crate::exchange::Who;
use crate::{BookedCall, Booking};
use bellwire_signaling::*;
use std::collections::{BTreeMap, BTreeSet};

/// Both have heard each other for this long: then no word of silence can still be on its way.
const SETTLED_MS: u64 = 5_000;

#[derive(Default)]
pub(super) struct Ghost {
    /// Calls that a callee's app said it rings for.
    rang: BTreeSet<CallId>,
    ready: BTreeSet<(CallId, u32, usize)>,
    hung_up: BTreeSet<CallId>,
    declined: BTreeSet<CallId>,
    /// Speech flowed to this device in this call.
    flowed: BTreeSet<(CallId, usize)>,
    carried_on: BTreeMap<CallId, BTreeSet<DeviceId>>,
    /// Connections that were begun while both heard each other.
    begun_well: BTreeMap<CallId, u64>,
    pub(super) tally: BTreeMap<String, u64>,
}

impl Ghost {
    pub(super) fn said(&mut self, device: usize, command: &Command) {
        match command {
            Command::Ringing { call } => {
                self.rang.insert(call.clone());
            }
            Command::Ready { call, generation } => {
                self.ready.insert((call.clone(), *generation, device));
            }
            Command::HangUp { call } => {
                self.hung_up.insert(call.clone());
            }
            Command::Decline { call, .. } => {
                self.declined.insert(call.clone());
            }
            Command::Bookings {}
            | Command::History { .. }
            | Command::Invite { .. }
            | Command::Accept { .. }
            | Command::Describe { .. }
            | Command::Candidates { .. }
            | Command::Hearing { .. }
            | Command::Renew { .. }
            | Command::Muted { .. }
            | Command::KeepChat { .. }
            | Command::ChatLines { .. }
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
            | Command::Health { .. }
            | Command::Quality { .. }
            | Command::Readiness { .. }
            | Command::IceServers { .. }
            | Command::StartCheck {}
            | Command::CheckOffer { .. }
            | Command::EndCheck { .. }
            | Command::ServeChecks {}
            | Command::AnswerCheck { .. } => {}
        }
    }

    pub(super) fn media(&mut self, device: usize, event: &MediaEvent, call: Option<&CallNow>) {
        if let (MediaEvent::Flowing { .. }, Some(id)) = (event, call.and_then(|call| call.call.clone())) {
            self.flowed.insert((id, device));
        }
    }

    /// Rule 1: no connection before the callee accepted, no offer before both are ready.
    pub(super) fn media_told(
        &mut self,
        device: usize,
        command: &MediaCommand,
        devices: &[Device],
        store: &BTreeMap<CallId, BookedCall>,
    ) -> Result<(), String> {
        let call = devices[device].endpoint.call().and_then(|call| call.call.clone());
        let stored = call.as_ref().and_then(|id| store.get(id));
        match command {
            MediaCommand::Open { .. } if stored.is_none_or(BookedCall::is_ringing) => {
                Err("rule 1: a connection was made before the callee accepted".into())
            }
            MediaCommand::Offer { generation } => {
                let ready = self.ready.iter().filter(|(c, g, _)| Some(c) == call.as_ref() && g == generation).count();
                if ready < 2 {
                    return Err("rule 1: an offer was made before both were ready".into());
                }
                Ok(())
            }
            MediaCommand::Open { .. }
            | MediaCommand::Warm
            | MediaCommand::IceServers(_)
            | MediaCommand::SetRemote { .. }
            | MediaCommand::AddCandidates { .. }
            | MediaCommand::Mute(_)
            | MediaCommand::Close => Ok(()),
        }
    }

    pub(super) fn begun_well(&self, call: &CallId) -> u64 {
        self.begun_well.get(call).copied().unwrap_or_default()
    }

    pub(super) fn invited(&mut self, seen: &Result<Reply, ErrorCode>) {
        match seen {
            Ok(_) => self.count("invite taken"),
            Err(code) => self.count(&format!("invite refused {code:?}")),
        }
    }

    pub(super) fn delivered(
        &mut self,
        to: &Who,
        event: &Event,
        store: &BTreeMap<CallId, BookedCall>,
    ) -> Result<(), String> {
        let call = match event {
            Event::Call { view } => &view.call,
            Event::Description { call, .. } | Event::Candidates { call, .. } | Event::Health { call, .. } => call,
            Event::Bookings { .. }
            | Event::Presence { .. }
            | Event::Room { .. }
            | Event::RoomOver { .. }
            | Event::DescriptionFrom { .. }
            | Event::CandidatesFrom { .. }
            | Event::Search { .. }
            | Event::Readiness { .. }
            | Event::CheckAnswer { .. }
            | Event::CheckOffered { .. }
            | Event::CheckOver { .. } => return Ok(()),
        };
        let Some(stored) = store.get(call) else {
            return Err("rule 6: a call was shown before it was stored".into());
        };
        let parties = [Side::Caller, Side::Callee].map(|side| stored.party(side));
        if !parties.iter().any(|party| party.user == to.user) {
            return Err("rule 2: a stranger was told of a call".into());
        }
        if let Event::Call { view } = event
            && parties.iter().any(|party| party.user.as_str() == view.peer.handle.as_str())
        {
            return Err("rule 9: a user's id was shown".into());
        }
        Ok(())
    }

    pub(super) fn saved(
        &mut self,
        call: &BookedCall,
        store: &BTreeMap<CallId, BookedCall>,
        bookings: &[Booking],
        sound: &Sound,
        devices: &[Device],
        now: UnixMs,
    ) -> Result<(), String> {
        let before = store.get(call.id());
        if before.is_some_and(BookedCall::is_ended) {
            return Err("rule 6: a call that had ended was stored again".into());
        }
        let Some(booking) = bookings.iter().find(|b| b.id == *call.booking()) else {
            return Err("a call of no booking".into());
        };
        if before.is_none() && (now < booking.opens_at() || now >= booking.closes_at()) {
            return Err("rule 9: a call began outside the booking's window".into());
        }
        let others = store.values().filter(|c| c.id() != call.id() && !c.is_ended());
        if !call.is_ended() && others.clone().any(|c| c.booking() == call.booking()) {
            return Err("two live calls of one booking".into());
        }
        let caller = call.device(Side::Caller).cloned();
        let shows_ringing = caller
            .as_ref()
            .is_some_and(|device| matches!(call.view(Side::Caller, device).phase, Phase::Ringing { .. }));
        if shows_ringing && !self.rang.contains(call.id()) {
            return Err("rule 4: ringing without an app that rings".into());
        }
        if !call.is_ended() && !call.is_ringing() {
            let carried = self.carried_on.entry(call.id().clone()).or_default();
            carried.extend(call.device(Side::Callee).cloned());
            if carried.len() > 1 {
                return Err("rule 8: two devices of one person took the call".into());
            }
        }
        if call.connected_at().is_some() && before.is_none_or(|b| b.connected_at().is_none()) {
            self.count("connected");
            for side in [Side::Caller, Side::Callee] {
                let carries =
                    |d: &&Device| Some(&d.who.device) == call.device(side) && d.who.user == call.party(side).user;
                let device = devices.iter().position(|d| carries(&d));
                if !device.is_some_and(|d| self.flowed.contains(&(call.id().clone(), d))) {
                    return Err(format!("rule 5: connected, but nothing flowed to the {side:?}"));
                }
            }
        }
        let well = |call: &BookedCall| {
            let device = call.device(Side::Caller)?;
            match call.view(Side::Caller, device).phase {
                Phase::Connected { connection, .. } => Some(connection.generation),
                Phase::Inviting { .. }
                | Phase::Ringing { .. }
                | Phase::Connecting { .. }
                | Phase::Reconnecting { .. }
                | Phase::Elsewhere {}
                | Phase::Ended { .. } => None,
            }
        };
        if let (Some(then), Some(now)) = (before.and_then(well), well(call))
            && now > then
        {
            *self.begun_well.entry(call.id().clone()).or_default() += 1;
            self.count("renewed in good sound");
        }
        match call.ended() {
            Some((_, ending)) => {
                self.count(&format!("ended {:?}", ending.reason));
                self.check_cause(call, before, ending, booking, store, sound, devices, now)
            }
            None => Ok(()),
        }
    }

    /// Rule 7 and its kin: nothing ends without its cause.
    #[allow(clippy::too_many_arguments)]
    fn check_cause(
        &self,
        call: &BookedCall,
        before: Option<&BookedCall>,
        ending: &Ending,
        booking: &Booking,
        store: &BTreeMap<CallId, BookedCall>,
        sound: &Sound,
        devices: &[Device],
        now: UnixMs,
    ) -> Result<(), String> {
        let hung_up = self.hung_up.contains(call.id());
        let fine = match ending.reason {
            EndReason::HungUp | EndReason::Cancelled => hung_up,
            EndReason::Declined => hung_up || self.declined.contains(call.id()),
            EndReason::NoAnswer => now.since(call.invited_at()) >= RING_MS,
            EndReason::BookingCancelled => booking.state == BookingState::Cancelled,
            EndReason::Busy => {
                let callee = &call.party(Side::Callee).user;
                store
                    .values()
                    .filter(|c| c.id() != call.id() && !c.is_ended())
                    .any(|c| c.side_of(callee).is_some_and(|side| side == Side::Caller || !c.is_ringing()))
            }
            EndReason::MediaFailed | EndReason::MediaLost => {
                let hears = |side| {
                    let on = before.and_then(|b| b.device(side));
                    let user = &call.party(side).user;
                    let device = devices.iter().position(|d| Some(&d.who.device) == on && d.who.user == *user);
                    let since = device.and_then(|d| sound.hears_since(d));
                    since.is_some_and(|at| at + SETTLED_MS < now.0 - super::world::BASE)
                };
                !(hears(Side::Caller) && hears(Side::Callee))
            }
        };
        if fine { Ok(()) } else { Err(format!("rule 7: the call ended as {:?} without its cause", ending.reason)) }
    }

    /// What a device shows is what is so.
    pub(super) fn shows(
        &mut self,
        device: usize,
        shown: Option<&CallNow>,
        store: &BTreeMap<CallId, BookedCall>,
        sound: &Sound,
    ) -> Result<(), String> {
        let Some(shown) = shown else { return Ok(()) };
        let stored = shown.call.as_ref().and_then(|id| store.get(id));
        match &shown.state {
            State::Ringing if shown.you == Side::Caller => {
                if shown.call.as_ref().is_some_and(|id| self.rang.contains(id)) {
                    return Ok(());
                }
                Err("rule 4: ringing was shown without an app that rings".into())
            }
            State::Connected => {
                if stored.is_some_and(|call| call.connected_at().is_some()) && sound.hears_since(device).is_some() {
                    return Ok(());
                }
                Err("rule 5: connected was shown without sound".into())
            }
            State::Ended { ending, confirmed: true } => {
                if stored.and_then(|call| call.ended()).is_some_and(|(_, stored)| stored == ending) {
                    return Ok(());
                }
                Err("rule 6: an end was shown that is not the stored one".into())
            }
            State::Ended { ending, confirmed: false } => {
                let alone = matches!(ending.reason, EndReason::MediaLost | EndReason::MediaFailed);
                if alone && sound.hears_since(device).is_some() {
                    return Err("rule 7: a device gave up a call that it hears".into());
                }
                Ok(())
            }
            State::Inviting | State::Ringing | State::Connecting | State::Reconnecting { .. } | State::Elsewhere => {
                Ok(())
            }
        }
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }
}
