//! Native apps in the lobby: their commands, and what they are told, as events of their session.
//!
//! A device has one link, made when it first asks for something and kept while its session can come back.

use super::{Body, Card, Lobby, Person, QueueNews, Signal, State, System, Voice, What};
use crate::auth::Scope;
use crate::clock;
use crate::closing::{refusal, refusal_until};
use crate::switchboard::Switchboard;
use bellwire_call::Who;
use bellwire_call::matching::QueueRefusal;
use bellwire_call::rooms::{GRACE_MS, Habit, LinkId, Notice, RoomEffect, RoomRefusal, Rooms};
use bellwire_signaling::{
    Candidate, CandidateLine, Command, Concern, Departure, DescriptionKind, ErrorCode, Event, Handle, Reply, RoomId,
    Sdp, UnixMs, WireError,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use tracing::{debug, warn};

/// One who searches and whose app loses its link waits no longer after this.
const WAITING_GRACE_MS: u64 = 15_000;

/// A signed-in device that asks for something.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    pub who: &'a Who,
    /// Of its socket.
    pub number: u64,
    pub name: &'a str,
    pub scope: &'a Scope,
}

/// The link of a device, and the socket that it has or had last.
pub(super) struct NativeLink {
    link: LinkId,
    number: u64,
    lost_at: Option<UnixMs>,
}

impl Lobby {
    /// Carries out a command of a native device. The answer is final; what else follows comes as events.
    pub fn command(
        &self,
        switchboard: &Switchboard,
        device: &Device<'_>,
        command: &Command,
    ) -> Result<Reply, WireError> {
        let Device { who, number, name, scope } = *device;
        let admitted = match command.concern() {
            Concern::Room(room) => scope.admits_room(room),
            Concern::Queue | Concern::Person | Concern::Call(_) | Concern::Check => *scope == Scope::Person,
        };
        if !admitted {
            return Err(refusal(ErrorCode::NotFound));
        }
        let link = self.native_link(switchboard, who, number, name);
        let answer = match command {
            Command::EnterRoom { room } => self.enter(link, room, *scope == Scope::Person).map_err(code_of),
            Command::LeaveRoom { room } => self.leave(link, room).map_err(code_of),
            Command::RoomMuted { room, muted } => self.mute(link, room, *muted).map_err(code_of),
            Command::LockRoom { room, locked } => self.lock_room(link, room, *locked).map_err(code_of),
            Command::RemoveMember { room, member } => self.remove(link, room, member).map_err(code_of),
            Command::RenewMember { room, member, generation } => {
                self.renew(link, room, member, *generation).map_err(code_of)
            }
            Command::DescribeTo { room, member, generation, kind, sdp } => {
                let body = Body::Description { kind: *kind, sdp };
                self.signal(link, room, Some(member), Some(*generation), body).map(drop).map_err(code_of)
            }
            Command::CandidatesTo { room, member, generation, candidates, done } => {
                let body = Body::Candidates { candidates, done: *done };
                self.signal(link, room, Some(member), Some(*generation), body).map(drop).map_err(code_of)
            }
            Command::Search {} => return self.search(link).map(|()| Reply::Done {}).map_err(queue_refusal),
            Command::StopSearching {} => {
                self.stop_searching(link);
                Ok(())
            }
            Command::Skip {} => return self.skip(link).map(|()| Reply::Done {}).map_err(queue_refusal),
            Command::Block { partner } => self.block(link, partner).map_err(code_of),
            Command::Report { partner, complaint } => self.report(link, partner, *complaint).map_err(code_of),
            Command::Bookings {}
            | Command::History { .. }
            | Command::Invite { .. }
            | Command::Ringing { .. }
            | Command::Accept { .. }
            | Command::Decline { .. }
            | Command::HangUp { .. }
            | Command::Ready { .. }
            | Command::Describe { .. }
            | Command::Candidates { .. }
            | Command::Hearing { .. }
            | Command::Renew { .. }
            | Command::Muted { .. }
            | Command::KeepChat { .. }
            | Command::ChatLines { .. }
            | Command::Health { .. }
            | Command::Quality { .. }
            | Command::Readiness { .. }
            | Command::IceServers { .. }
            | Command::StartCheck {}
            | Command::CheckOffer { .. }
            | Command::EndCheck { .. }
            | Command::ServeChecks {}
            | Command::AnswerCheck { .. } => Err(ErrorCode::WrongState),
        };
        answer.map(|()| Reply::Done {}).map_err(refusal)
    }

    /// Whether this device is in the room now.
    pub fn is_in_room(&self, device: &Device<'_>, room: &RoomId) -> bool {
        let state = self.lock();
        let link = state.natives.get(device.who).map(|native| native.link);
        device.scope.admits_room(room) && link.is_some_and(|link| state.rooms.member(room, link).is_some())
    }

    /// The device's socket of this number is lost; its session may come back.
    pub fn native_lost(&self, who: &Who, number: u64) {
        let link = {
            let mut state = self.lock();
            let native = state.natives.get_mut(who).filter(|native| native.number == number);
            native.map(|native| {
                native.lost_at = Some(clock::now());
                native.link
            })
        };
        if let Some(link) = link {
            self.away(link);
        }
    }

    /// The device has a socket again. In a session that was not resumed it enters its room anew.
    pub fn native_back(&self, who: &Who, number: u64) {
        let link = self.lock().natives.get_mut(who).map(|native| {
            (native.number, native.lost_at) = (number, None);
            native.link
        });
        if let Some(link) = link {
            self.back(link);
        }
    }

    /// Devices whose session cannot come back are gone; those that waited for a partner wait no longer.
    pub(super) fn forget_lost_natives(&self, state: &mut State, now: UnixMs) {
        let lost_for = |native: &NativeLink| native.lost_at.map_or(0, |at| now.since(at));
        let waiting = state.natives.values().filter(|native| lost_for(native) > WAITING_GRACE_MS);
        let waiting: Vec<LinkId> = waiting.map(|native| native.link).collect();
        for link in waiting {
            if state.queue.stop(link, now) {
                state.tell(link, &QueueNews::Idle);
            }
        }
        let gone = state.natives.iter().filter(|(_, native)| lost_for(native) > GRACE_MS);
        let gone: Vec<(Who, LinkId)> = gone.map(|(who, native)| (who.clone(), native.link)).collect();
        for (who, link) in gone {
            state.queue.gone(link, now);
            state.rooms.gone(link, Departure::Lost, now);
            self.settle(state, now);
            state.links.remove(&link);
            state.natives.remove(&who);
        }
    }

    fn native_link(&self, switchboard: &Switchboard, who: &Who, number: u64, name: &str) -> LinkId {
        let known = self.lock().natives.get(who).map(|native| native.link);
        if let Some(link) = known {
            return link;
        }
        let voice = Native { who: who.clone(), switchboard: switchboard.clone() };
        let person = Person {
            user: who.user.clone(),
            handle: Handle::from_bits(rand::random()),
            card: Card { name: Some(name.to_owned()), ..Card::default() },
            habit: Habit::Native,
            guest: false,
        };
        let link = self.connect(Arc::new(voice), person);
        self.lock().natives.insert(who.clone(), NativeLink { link, number, lost_at: None });
        link
    }
}

fn code_of(refusal: RoomRefusal) -> ErrorCode {
    match refusal {
        RoomRefusal::NotFound | RoomRefusal::NoSuchMember => ErrorCode::NotFound,
        RoomRefusal::Full => ErrorCode::RoomFull,
        RoomRefusal::NotHost => ErrorCode::WrongState,
        RoomRefusal::StaleGeneration => ErrorCode::StaleGeneration,
        RoomRefusal::RateLimited => ErrorCode::RateLimited,
        RoomRefusal::TooManyRooms => ErrorCode::WrongState,
    }
}

fn queue_refusal(refused: QueueRefusal) -> WireError {
    match refused {
        QueueRefusal::RateLimited { retry_after_ms } => refusal_until(ErrorCode::RateLimited, retry_after_ms),
        QueueRefusal::AlreadySearching | QueueRefusal::AlreadyMatched => refusal(ErrorCode::AlreadySearching),
        QueueRefusal::NotMatched => refusal(ErrorCode::WrongState),
    }
}

struct Native {
    who: Who,
    switchboard: Switchboard,
}

impl Native {
    fn say(&self, event: Event) {
        if !self.switchboard.event(self.who.clone(), event) {
            // The next view holds the whole of the room, and a connection that a lost signal leaves unmade is renewed.
            warn!("a word of the lobby is lost: the switchboard is behind");
        }
    }
}

impl Voice for Native {
    fn system(&self) -> System {
        System::Native
    }

    fn room(&self, rooms: &Rooms, effect: &RoomEffect) {
        match effect.notice {
            Notice::Entered | Notice::Joined(_) | Notice::Departed(..) | Notice::Changed => {
                if let Some(view) = rooms.view(&effect.room, effect.to) {
                    self.say(Event::Room { view });
                }
            }
            Notice::Over(why) => self.say(Event::RoomOver { room: effect.room.clone(), why }),
        }
    }

    fn signal(&self, signal: &Signal<'_>) {
        let (room, member, generation) = (signal.room.clone(), signal.from.handle.clone(), signal.generation);
        match signal.body {
            Body::Description { kind, sdp } => {
                self.say(Event::DescriptionFrom { room, member, generation, kind, sdp: sdp.clone() });
            }
            Body::Candidates { candidates, done } => {
                self.say(Event::CandidatesFrom { room, member, generation, candidates: candidates.to_vec(), done });
            }
            Body::Raw { what: What::Candidate, value, .. } => match candidate_of(value) {
                Some(candidate) => {
                    let candidates = vec![candidate];
                    self.say(Event::CandidatesFrom { room, member, generation, candidates, done: false });
                }
                None => debug!("a candidate that cannot be read is left out"),
            },
            Body::Raw { what, value, .. } => match description_of(value) {
                Some(sdp) => {
                    let kind = if what == What::Offer { DescriptionKind::Offer } else { DescriptionKind::Answer };
                    self.say(Event::DescriptionFrom { room, member, generation, kind, sdp });
                }
                None => debug!("a description that cannot be read is left out"),
            },
        }
    }

    fn queue(&self, news: &QueueNews<'_>) {
        self.say(Event::Search { view: news.view() });
    }
}

/// A description as browsers write it, an object with `sdp`, or as a text.
fn description_of(value: &RawValue) -> Option<Sdp> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Object { sdp: String },
    }
    let text = match serde_json::from_str(value.get()).ok()? {
        Written::Text(text) | Written::Object { sdp: text } => text,
    };
    Sdp::with_any_sections(text).ok()
}

/// A candidate as browsers write it. The one that says that there are no more is none.
fn candidate_of(value: &RawValue) -> Option<Candidate> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        candidate: String,
        #[serde(default)]
        sdp_mid: Option<String>,
        #[serde(default, rename = "sdpMLineIndex")]
        sdp_m_line_index: Option<u16>,
    }
    let written: Written = serde_json::from_str(value.get()).ok()?;
    Some(Candidate {
        candidate: CandidateLine::new(written.candidate).ok()?,
        sdp_mid: written.sdp_mid.filter(|mid| mid.len() <= 16),
        sdp_m_line_index: written.sdp_m_line_index.unwrap_or(0),
    })
}
