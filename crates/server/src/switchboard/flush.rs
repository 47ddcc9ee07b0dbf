//! The switchboard's way out: store first, then tell, then answer.

use super::desk::{Desk, Parcel};
use crate::clock;
use crate::closing::{refusal_until, word};
use crate::store::StoreError;
use crate::store::sqlite::reason_name;
use bellwire_call::{BookedCall, Effect, Who};
use bellwire_signaling::{BookingId, CallId, Command, CommandId, ErrorCode, Event, ServerFrame, Side, UnixMs, UserId};
use std::collections::HashMap;
use std::time::Instant;
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

/// Calls taken back that are remembered; an app asks again within seconds or not at all.
const UNDONE: usize = 1_024;

/// Calls that could not be stored yet, each as it now is. It holds no more than were live when the store failed: no new ones
/// begin until it works again.
#[derive(Default)]
pub(super) struct Spool {
    calls: HashMap<CallId, BookedCall>,
    /// A try that goes on beside the switchboard: a store that hangs must not hold up live calls.
    retry: Option<JoinHandle<Result<Vec<BookedCall>, StoreError>>>,
}

impl Spool {
    pub fn len(&self) -> usize {
        self.calls.len()
    }
}

impl Desk {
    /// Takes what the exchange wants done.
    pub(super) fn drain(&mut self) {
        while let Some(effect) = self.exchange.poll_effect() {
            match effect {
                Effect::Save(call) => self.saves.push(*call),
                Effect::Deliver { to, event } => self.outbox.push(Parcel::Event { to, event }),
                Effect::PresenceChanged(user) => {
                    self.presence.insert(user);
                }
            }
        }
    }

    /// Stores, tells and answers, until nothing is left to do.
    pub(super) async fn flush(&mut self) {
        self.drain();
        while !(self.saves.is_empty() && self.outbox.is_empty() && self.presence.is_empty()) {
            self.store_changes().await;
            for parcel in std::mem::take(&mut self.outbox) {
                self.deliver(parcel);
            }
            self.tell_presence().await;
            // A socket that did not keep up was given up: that has effects too.
            self.drain();
        }
    }

    async fn store_changes(&mut self) {
        if self.saves.is_empty() {
            return;
        }
        // Of several steps of one call the last is the whole of it.
        let mut changed: Vec<BookedCall> = Vec::with_capacity(self.saves.len());
        for call in self.saves.drain(..) {
            match changed.iter_mut().find(|earlier| earlier.id() == call.id()) {
                Some(earlier) => *earlier = call,
                None => changed.push(call),
            }
        }
        if !self.health.is_stored() {
            return self.spool_all(changed);
        }
        let began = Instant::now();
        match self.store.save_calls(&changed).await {
            Ok(()) => {
                metrics::histogram!("bellwire_store_seconds").record(began.elapsed());
                changed.iter().for_each(note_end);
            }
            Err(e) => {
                error!(error = %e, calls = changed.len(), "calls cannot be stored; live ones go on, new ones are refused");
                self.health.set_stored(false);
                let made = self.take_back_invites();
                changed.retain(|call| !made.contains(call.id()));
                self.spool_all(changed);
            }
        }
    }

    fn spool_all(&mut self, calls: Vec<BookedCall>) {
        for call in calls {
            note_end(&call);
            self.spool.calls.insert(call.id().clone(), call);
        }
    }

    /// Sees whether what could not be stored now is, and tries again if not.
    pub(super) async fn retry_spool(&mut self) {
        if self.health.is_stored() || self.spool.retry.as_ref().is_some_and(|retry| !retry.is_finished()) {
            return;
        }
        if let Some(retry) = self.spool.retry.take() {
            match retry.await {
                Ok(Ok(stored)) => self.unspool(&stored),
                Ok(Err(e)) => debug!(error = %e, calls = self.spool.len(), "the store still fails"),
                Err(e) => error!(error = %e, "storing broke off"),
            }
        }
        if !self.health.is_stored() {
            let (store, calls) = (self.store.clone(), self.spooled());
            self.spool.retry = Some(tokio::spawn(async move {
                match calls.is_empty() {
                    true => store.check().await?,
                    false => store.save_calls(&calls).await?,
                }
                Ok(calls)
            }));
        }
    }

    /// The last try, when the server stops.
    pub(super) async fn store_spool(&mut self) {
        if let Some(retry) = self.spool.retry.take() {
            retry.await.ok();
        }
        let calls = self.spooled();
        if !calls.is_empty() && self.store.save_calls(&calls).await.is_ok() {
            self.unspool(&calls);
        }
    }

    fn spooled(&self) -> Vec<BookedCall> {
        self.spool.calls.values().cloned().collect()
    }

    fn unspool(&mut self, stored: &[BookedCall]) {
        for call in stored {
            // One that went on since is stored again.
            if self.spool.calls.get(call.id()).is_some_and(|now| now.version() == call.version()) {
                self.spool.calls.remove(call.id());
            }
        }
        if self.spool.calls.is_empty() {
            self.health.set_stored(true);
            info!(calls = stored.len(), "the store works again");
        }
    }

    /// A call that could not be stored when it began never was: nobody hears of it, and its caller may try again.
    fn take_back_invites(&mut self) -> Vec<CallId> {
        let mut undone = Vec::new();
        for parcel in &mut self.outbox {
            if let Parcel::Answer { to, result, made, .. } = parcel
                && let Some(call) = made.take()
                && self.exchange.call(&call).is_some_and(BookedCall::is_ringing)
            {
                *result = Err(refusal_until(ErrorCode::Unavailable, 2_000));
                undone.push((to.clone(), call));
            }
        }
        let now = clock::now();
        for (who, call) in &undone {
            let id = CommandId::from_bits(rand::random());
            if let Err(code) = self.exchange.command(who, &id, &Command::HangUp { call: call.clone() }, now) {
                warn!(%call, ?code, "a call could not be taken back");
            }
        }
        self.drain();
        let undone: Vec<CallId> = undone.into_iter().map(|(_, call)| call).collect();
        self.saves.retain(|call| !undone.contains(call.id()));
        self.outbox.retain(|parcel| match parcel {
            Parcel::Event { event, .. } => call_of(event).is_none_or(|call| !undone.contains(call)),
            Parcel::Answer { .. } => true,
        });
        if self.undone.len() > UNDONE {
            self.undone.clear();
        }
        self.undone.extend(undone.iter().cloned());
        undone
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Event { to, event } => self.tell(&to, event),
            Parcel::Answer { to, number, id, result, .. } => {
                if !self.sessions.get(&to).is_some_and(|session| session.is_on(number)) {
                    return;
                }
                let frame = match result {
                    Ok(reply) => ServerFrame::Ack { id, reply },
                    Err(error) => {
                        metrics::counter!("bellwire_refusals_total", "code" => word(error.code)).increment(1);
                        ServerFrame::Refused { id: Some(id), error }
                    }
                };
                self.send(&to, &frame);
            }
        }
    }

    /// Keeps the event for the session and sends it, if the session may know of it.
    fn tell(&mut self, to: &Who, event: Event) {
        let booking = self.booking_of(&event);
        let Some(session) = self.sessions.get_mut(to) else { return };
        if let Some(booking) = booking
            && !session.scope.admits_booking(&booking)
        {
            return;
        }
        match session.event(event) {
            Ok(text) => self.send_text(to, text),
            Err(e) => error!(error = %e, "an event could not be written"),
        }
    }

    fn booking_of(&self, event: &Event) -> Option<BookingId> {
        match event {
            Event::Call { view } => Some(view.booking.clone()),
            Event::Presence { booking, .. } | Event::Readiness { booking, .. } => Some(booking.clone()),
            Event::Description { call, .. } | Event::Candidates { call, .. } | Event::Health { call, .. } => {
                self.exchange.call(call).map(|call| call.booking().clone())
            }
            // A session that is for one booking alone is in no room and in no queue.
            Event::Bookings { .. }
            | Event::Room { .. }
            | Event::RoomOver { .. }
            | Event::DescriptionFrom { .. }
            | Event::CandidatesFrom { .. }
            | Event::Search { .. }
            | Event::CheckAnswer { .. }
            | Event::CheckOffered { .. }
            | Event::CheckOver { .. } => None,
        }
    }

    /// Tells the other party of each open booking how these people can be reached.
    async fn tell_presence(&mut self) {
        let now = clock::now();
        for user in std::mem::take(&mut self.presence) {
            for (booking, peer) in self.ties_of(&user, now).await {
                let presence = self.presence_of(&user, &booking);
                for who in self.devices_of(&peer) {
                    self.tell(&who, Event::Presence { booking: booking.clone(), presence });
                }
            }
        }
    }

    async fn ties_of(&self, user: &UserId, now: UnixMs) -> Vec<(BookingId, UserId)> {
        if let Some(person) = self.people.get(user) {
            let open = person.ties.iter().filter(|tie| tie.closes_at > now);
            return open.map(|tie| (tie.booking.clone(), tie.peer.clone())).collect();
        }
        let bookings = self.open_bookings(user, now).await.unwrap_or_default();
        let peer = |booking: &bellwire_call::Booking| {
            Some((booking.id.clone(), booking.person(booking.role_of(user)?.other()).user.clone()))
        };
        bookings.iter().filter_map(peer).collect()
    }
}

fn call_of(event: &Event) -> Option<&CallId> {
    match event {
        Event::Call { view } => Some(&view.call),
        Event::Description { call, .. } | Event::Candidates { call, .. } | Event::Health { call, .. } => Some(call),
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
        | Event::CheckOver { .. } => None,
    }
}

/// Writes down that a call is over: once, since it is saved once as ended.
fn note_end(call: &BookedCall) {
    if let Some((_, ending)) = call.ended() {
        metrics::counter!("bellwire_calls_ended_total", "reason" => reason_name(ending.reason)).increment(1);
        let caller = &call.party(Side::Caller).user;
        info!(call = %call.id(), %caller, reason = ?ending.reason, duration_ms = ending.duration_ms, "a call ended");
    }
}
