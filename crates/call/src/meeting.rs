//! One device in a room: what it shows, what it tells the server, what it has its sound do.
//!
//! The owner feeds [`Meeting::handle`] and drains [`Meeting::poll_output`] after each input; when
//! [`Meeting::poll_timeout`] is due it hands in [`Input::Timeout`]. The meeting follows the server's newest view of the
//! room: each member gets a leg of the sound engine as soon as it is seen, the next generation of it when the server
//! says so, and none when it is gone. A room is entered because the person wishes it, or, while they search for a partner,
//! because the server matched them.
//!
//! ```text
//!   Outside --Enter--> Entering --the server's view--> Inside --the server's word--> Over --Dismiss--> Outside
//!      \________________Search, matched__________________/ \__Leave, Skip, StopSearching__> Outside
//! ```
//!
//! Without a link the members that are heard stay heard. After a new session the room is entered anew; who is the same
//! in it, on the same connection, is not interrupted.
//!
//! Left out: text, and calls: whoever owns both sees to it that one thing goes on at a time.

mod answers;
mod interface;
mod leg;
mod stay;
#[cfg(test)]
mod tests;

pub use interface::*;

use crate::endpoint::{MediaEvent, Monotonic};
use crate::grant::Grant;
use crate::outbox::Outbox;
use bellwire_signaling::{
    Command, CommandId, Departure, ErrorCode, Event, Handle, Purpose, RoomId, RoomView, SearchView,
};
use stay::{Doing, Signal, Stay};
use std::collections::VecDeque;

/// Rooms that were left here, so that a late view does not bring one back.
const REMEMBERED_ROOMS: usize = 16;

pub struct Meeting {
    outbox: Outbox,
    linked: bool,
    place: Place,
    search: SearchView,
    /// The server may put this device into a room.
    searching: bool,
    muted: bool,
    relay_only: bool,
    grant: Grant,
    legs_made: u32,
    left: VecDeque<RoomId>,
    outputs: VecDeque<Output>,
}

enum Place {
    Outside,
    Entering { room: RoomId, command: CommandId },
    Inside(Stay),
    Over(RoomShown),
}

impl Meeting {
    /// `nonce`: random, once a process, and not that of an endpoint. Ids of commands are made of it and a counter.
    pub fn new(nonce: u128) -> Self {
        Self {
            outbox: Outbox::new(nonce),
            linked: false,
            place: Place::Outside,
            search: SearchView::Idle {},
            searching: false,
            muted: false,
            relay_only: false,
            grant: Grant::default(),
            legs_made: 0,
            left: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, input: Input, now: Monotonic) {
        match input {
            Input::Wish(wish) => self.handle_wish(wish, now),
            Input::LinkUp { resumed } => self.handle_link_up(resumed, now),
            Input::LinkDown => {
                self.linked = false;
                self.outbox.link_lost();
            }
            Input::Server(event) => self.handle_event(event, now),
            Input::Reply { id, result } => self.handle_reply(&id, result, now),
            Input::Media { leg, event } => self.handle_media(leg, event, now),
            Input::NetworkChanged => {
                if let Place::Inside(stay) = &mut self.place {
                    stay.network_changed(now);
                }
            }
            Input::Timeout => {}
        }
        self.tend(now);
        self.flush(now);
    }

    // Inputs.

    fn handle_wish(&mut self, wish: Wish, now: Monotonic) {
        match wish {
            Wish::Enter(room) => self.enter(room),
            Wish::Leave => self.leave(),
            Wish::Lock(locked) => {
                if let Some(room) = self.inside() {
                    self.outbox.push(Command::LockRoom { room, locked });
                }
            }
            Wish::Remove(member) => {
                if let Some(room) = self.inside() {
                    self.outbox.push(Command::RemoveMember { room, member });
                }
            }
            Wish::Mute(muted) => self.mute(muted),
            Wish::Search => self.search(),
            Wish::StopSearching => self.stop_searching(),
            Wish::Skip => self.skip(),
            Wish::Block(partner) => {
                self.outbox.push(Command::Block { partner });
            }
            Wish::Report(partner, complaint) => {
                self.outbox.push(Command::Report { partner, complaint });
            }
            Wish::RelayOnly(only) => {
                self.relay_only = only;
                if let Place::Inside(stay) = &mut self.place {
                    stay.go_by_relays(only, now);
                }
            }
            Wish::Dismiss => {
                if let Place::Over(_) = self.place {
                    self.place = Place::Outside;
                }
            }
        }
    }

    fn handle_link_up(&mut self, resumed: bool, now: Monotonic) {
        self.linked = true;
        if resumed {
            return;
        }
        self.outbox.new_session();
        self.grant.begin_session(now);
        match &mut self.place {
            Place::Entering { room, command } => {
                *command = self.outbox.push(Command::EnterRoom { room: room.clone() });
            }
            Place::Inside(stay) => {
                stay.enter_anew(&mut self.outbox, now);
                if self.muted {
                    let room = stay.room().clone();
                    self.outbox.push(Command::RoomMuted { room, muted: true });
                }
            }
            Place::Outside | Place::Over(_) => {
                if self.searching {
                    self.outbox.push(Command::Search {});
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Monotonic) {
        match event {
            Event::Room { view } => self.handle_view(view, now),
            Event::RoomOver { room, why } => self.handle_over(&room, why),
            Event::DescriptionFrom { room, member, generation, kind, sdp } => {
                self.handle_signal(&room, member, generation, Signal::Description(kind, sdp));
            }
            Event::CandidatesFrom { room, member, generation, candidates, done: _ } => {
                if !candidates.is_empty() {
                    self.handle_signal(&room, member, generation, Signal::Candidates(candidates));
                }
            }
            Event::Search { view } => self.handle_search(view),
            // Calls are not this machine's.
            Event::Call { .. }
            | Event::Description { .. }
            | Event::Candidates { .. }
            | Event::Bookings { .. }
            | Event::Presence { .. }
            | Event::Readiness { .. }
            | Event::Health { .. }
            | Event::CheckAnswer { .. }
            | Event::CheckOffered { .. }
            | Event::CheckOver { .. } => {}
        }
    }

    fn handle_view(&mut self, view: RoomView, now: Monotonic) {
        // From before this device left: what the server says later belongs to the next time.
        if self.outbox.awaits(|command| matches!(command, Command::LeaveRoom { room } if *room == view.room)) {
            return;
        }
        match &mut self.place {
            Place::Inside(stay) if *stay.room() == view.room => {
                if view.version > stay.version() {
                    let doing = stay.follow(view, &mut self.legs_made, now);
                    self.act(doing);
                }
            }
            Place::Entering { room, .. } if *room == view.room => self.begin(view, false, now),
            Place::Outside | Place::Entering { .. } | Place::Inside(_) | Place::Over(_) => {
                if self.left.contains(&view.room) {
                    return;
                }
                if self.searching {
                    self.begin(view, true, now);
                } else {
                    // Matched while the search was being called off.
                    self.remember_left(view.room.clone());
                    self.outbox.push(Command::LeaveRoom { room: view.room });
                }
            }
        }
    }

    fn handle_over(&mut self, room: &RoomId, why: Departure) {
        match &self.place {
            // `Left` answers this device alone, which is outside by then, or in again.
            Place::Inside(stay) if stay.room() == room && why != Departure::Left => self.end(why),
            Place::Outside | Place::Entering { .. } | Place::Inside(_) | Place::Over(_) => {}
        }
    }

    fn handle_signal(&mut self, room: &RoomId, member: Handle, generation: u32, signal: Signal) {
        if let Place::Inside(stay) = &mut self.place
            && stay.room() == room
        {
            let doing = stay.signal(member, generation, signal);
            self.act(doing);
        }
    }

    fn handle_search(&mut self, view: SearchView) {
        let called_off = self.outbox.awaits(|command| matches!(command, Command::StopSearching {}));
        let asked = self.outbox.awaits(|command| matches!(command, Command::Search {} | Command::Skip {}));
        match &view {
            SearchView::Idle {} => self.searching &= asked,
            SearchView::Waiting { .. } => self.searching |= !called_off,
            SearchView::Matched { room, .. } => {
                self.searching |= !called_off;
                if let Place::Inside(stay) = &mut self.place
                    && stay.room() == room
                {
                    stay.matched = true;
                }
            }
        }
        self.search = view;
    }

    fn handle_media(&mut self, leg: u32, event: MediaEvent, now: Monotonic) {
        if let Place::Inside(stay) = &mut self.place {
            let doing = stay.media(leg, event, now);
            self.act(doing);
        }
    }

    // Wishes of the person.

    fn enter(&mut self, room: RoomId) {
        match &self.place {
            Place::Entering { room: there, .. } if *there == room => return,
            Place::Inside(stay) if *stay.room() == room => return,
            Place::Outside | Place::Over(_) => {}
            Place::Entering { .. } | Place::Inside(_) => self.leave(),
        }
        if self.searching {
            self.stop_searching();
        }
        self.left.retain(|left| *left != room);
        let command = self.outbox.push(Command::EnterRoom { room: room.clone() });
        self.place = Place::Entering { room, command };
        self.sound(SoundCommand::Warm);
    }

    fn leave(&mut self) {
        match &self.place {
            Place::Inside(stay) if stay.matched => self.stop_searching(),
            Place::Entering { room, .. } => {
                let room = room.clone();
                self.outbox.push(Command::LeaveRoom { room });
                self.go_outside();
            }
            Place::Inside(stay) => {
                let room = stay.room().clone();
                self.outbox.push(Command::LeaveRoom { room });
                self.go_outside();
            }
            Place::Outside | Place::Over(_) => {}
        }
    }

    fn search(&mut self) {
        match &self.place {
            Place::Inside(stay) if stay.matched => return self.refuse(ErrorCode::AlreadySearching, None),
            Place::Entering { .. } | Place::Inside(_) => return self.refuse(ErrorCode::InAnotherCall, None),
            Place::Outside | Place::Over(_) => {}
        }
        self.place = Place::Outside;
        self.searching = true;
        self.outbox.push(Command::Search {});
    }

    fn stop_searching(&mut self) {
        let matched = matches!(&self.place, Place::Inside(stay) if stay.matched);
        if self.searching || matched || self.search != (SearchView::Idle {}) {
            self.searching = false;
            self.outbox.withdraw(|command| matches!(command, Command::Search {} | Command::Skip {}));
            self.outbox.push(Command::StopSearching {});
        }
        if matched {
            self.go_outside();
        }
        if matches!(self.place, Place::Outside) {
            self.unmute();
        }
        self.search = SearchView::Idle {};
    }

    fn skip(&mut self) {
        if matches!(&self.place, Place::Inside(stay) if stay.matched) {
            self.searching = true;
            self.outbox.push(Command::Skip {});
            self.go_outside();
        } else {
            self.refuse(ErrorCode::WrongState, None);
        }
    }

    fn mute(&mut self, muted: bool) {
        self.muted = muted;
        self.sound(SoundCommand::Mute(muted));
        if let Some(room) = self.inside() {
            self.outbox.push(Command::RoomMuted { room, muted });
        }
    }

    // From place to place.

    fn begin(&mut self, view: RoomView, matched: bool, now: Monotonic) {
        if let Place::Inside(_) = &self.place {
            self.go_outside();
        }
        self.sound(SoundCommand::Warm);
        if self.muted {
            self.outbox.push(Command::RoomMuted { room: view.room.clone(), muted: true });
        }
        // Before this device was in, there was no relay for it.
        self.grant.ask_anew(now);
        let (stay, doing) = Stay::begin(view, matched, self.relay_only, &mut self.legs_made, now);
        self.place = Place::Inside(stay);
        self.act(doing);
    }

    /// By this person's wish: nothing of the room is shown any more.
    fn go_outside(&mut self) {
        let room = match &self.place {
            Place::Entering { room, .. } => room.clone(),
            Place::Inside(stay) => stay.room().clone(),
            Place::Outside | Place::Over(_) => return,
        };
        self.remember_left(room);
        self.place = Place::Outside;
        self.close();
    }

    /// By the server's word.
    fn end(&mut self, why: Departure) {
        let Some(mut shown) = self.room() else { return };
        // Whether another partner is looked for is the person's to say, or the server's by its next word.
        self.searching &= !shown.matched;
        shown.over = Some(why);
        for member in shown.members.iter_mut().filter(|member| member.sound == MemberSound::Heard) {
            member.sound = MemberSound::Lost;
        }
        self.remember_left(shown.room.clone());
        self.place = Place::Over(shown);
        self.close();
    }

    fn close(&mut self) {
        self.sound(SoundCommand::Close);
        // Whoever goes on to the next partner stays muted.
        if !self.searching {
            self.unmute();
        }
    }

    fn unmute(&mut self) {
        if std::mem::take(&mut self.muted) {
            self.sound(SoundCommand::Mute(false));
        }
    }

    fn remember_left(&mut self, room: RoomId) {
        if !self.left.contains(&room) {
            self.left.push_back(room);
        }
        if self.left.len() > REMEMBERED_ROOMS {
            self.left.pop_front();
        }
    }

    // Outputs.

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The earliest moment at which [`Input::Timeout`] shall be handed in.
    pub fn poll_timeout(&self) -> Option<(Monotonic, Due)> {
        let stay = match &self.place {
            Place::Inside(stay) => Some(stay),
            Place::Outside | Place::Entering { .. } | Place::Over(_) => None,
        };
        let opens = stay.and_then(Stay::opens_by).map(|at| (at, Due::Servers));
        let asks = [
            self.outbox.resends_at().map(|at| (at, Due::Resend)),
            self.grant.asks_at().map(|at| (at, Due::Grant)),
            stay.and_then(|stay| stay.renews_at(&self.grant)).map(|at| (at, Due::Renew)),
        ];
        opens.into_iter().chain(asks.into_iter().flatten().filter(|_| self.linked)).min()
    }

    /// The room that is asked for, until the server has answered.
    pub fn entering(&self) -> Option<&RoomId> {
        match &self.place {
            Place::Entering { room, .. } => Some(room),
            Place::Outside | Place::Inside(_) | Place::Over(_) => None,
        }
    }

    pub fn room(&self) -> Option<RoomShown> {
        match &self.place {
            Place::Inside(stay) => Some(stay.shown(self.muted)),
            Place::Over(shown) => Some(shown.clone()),
            Place::Outside | Place::Entering { .. } => None,
        }
    }

    pub fn search_view(&self) -> &SearchView {
        &self.search
    }

    /// Whether the server may put this device into a room.
    pub fn is_searching(&self) -> bool {
        self.searching
    }

    pub fn muted(&self) -> bool {
        self.muted
    }

    fn inside(&self) -> Option<RoomId> {
        match &self.place {
            Place::Inside(stay) => Some(stay.room().clone()),
            Place::Outside | Place::Entering { .. } | Place::Over(_) => None,
        }
    }

    fn act(&mut self, doing: Vec<Doing>) {
        for one in doing {
            match one {
                Doing::Say(command) => {
                    self.outbox.push(command);
                }
                Doing::Sound(command) => self.sound(command),
            }
        }
    }

    fn sound(&mut self, command: SoundCommand) {
        self.outputs.push_back(Output::Sound(command));
    }

    fn refuse(&mut self, code: ErrorCode, retry_after_ms: Option<u64>) {
        self.outputs.push_back(Output::Refused { code, retry_after_ms });
    }

    /// Opens what can be opened, and asks for what is due.
    fn tend(&mut self, now: Monotonic) {
        let room = match &self.place {
            Place::Entering { room, .. } => Some(room),
            Place::Inside(stay) => Some(stay.room()),
            Place::Outside | Place::Over(_) => None,
        };
        self.grant.follow(room.cloned().map(|room| Purpose::Room { room }), now);
        if self.linked
            && let Some(purpose) = self.grant.wanted(now)
        {
            let id = self.outbox.push(Command::IceServers { purpose });
            self.grant.ask(id);
        }
        if let Place::Inside(stay) = &mut self.place {
            let mut doing = stay.opening(&self.grant, now);
            if self.linked {
                doing.extend(stay.due(&self.grant, now));
            }
            self.act(doing);
        }
    }

    /// What waits for the link is sent.
    fn flush(&mut self, now: Monotonic) {
        if self.linked {
            while let Some(frame) = self.outbox.next(now) {
                self.outputs.push_back(Output::Send(frame));
            }
        }
    }
}
