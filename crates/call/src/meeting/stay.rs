//! The time that a device is in a room: the members, and a leg for each.

use super::interface::{Due, MemberShown, RoomShown, SoundCommand};
use super::leg::Leg;
use crate::endpoint::{MediaEvent, Monotonic, Route};
use crate::fault::{Fault, planted};
use crate::outbox::Outbox;
use bellwire_signaling::{Candidate, Command, CommandId, DescriptionKind, Handle, RoomId, RoomView, Sdp, limits};
use std::collections::{BTreeMap, VecDeque};

/// Descriptions and batches of candidates of connections that are not known here yet: enough for a full room at once.
/// What overflows is thrown away oldest first; the connection that lacks it is renewed.
const EARLY: usize = 16 * limits::ROOM_MEMBERS;
/// Between two questions whether this device is in the room still.
const DOUBT_EVERY_MS: u64 = 5_000;

pub(super) struct Stay {
    view: RoomView,
    /// The version from which on a view is news; 0 after a new session.
    version: u32,
    since: Monotonic,
    pub(super) matched: bool,
    legs: BTreeMap<Handle, Leg>,
    early: VecDeque<(Handle, u32, Signal)>,
    /// Asked to be let in again.
    entering: Option<CommandId>,
    doubted_at: Option<Monotonic>,
    /// The session is a new one: what was asked of the server in the old may be lost.
    ask_again: bool,
}

/// From a member, for this device.
pub(super) enum Signal {
    Description(DescriptionKind, Sdp),
    Candidates(Vec<Candidate>),
}

/// What shall be done, in this order.
pub(super) enum Doing {
    Say(Command),
    Sound(SoundCommand),
}

impl Stay {
    pub(super) fn begin(view: RoomView, matched: bool, legs_made: &mut u32, now: Monotonic) -> (Self, Vec<Doing>) {
        let mut stay = Self {
            view: view.clone(),
            version: 0,
            since: now,
            matched,
            legs: BTreeMap::new(),
            early: VecDeque::new(),
            entering: None,
            doubted_at: None,
            ask_again: false,
        };
        let doing = stay.follow(view, legs_made, now);
        (stay, doing)
    }

    pub(super) fn room(&self) -> &RoomId {
        &self.view.room
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// A newer view of the server.
    pub(super) fn follow(&mut self, view: RoomView, legs_made: &mut u32, now: Monotonic) -> Vec<Doing> {
        let mut doing = Vec::new();
        // Under another name this device is another member: the others have let go of what they had with it.
        let anew = view.you != self.view.you;
        self.version = view.version;
        self.view = view;
        let ask_again = std::mem::take(&mut self.ask_again);
        let members = &self.view.members;
        self.legs.retain(|handle, leg| {
            let member = members.iter().find(|member| member.member == *handle);
            let stays = !anew && member.is_some_and(|member| member.generation >= leg.generation);
            if !stays && !planted(Fault::MeetingKeepsLegs) {
                doing.push(Doing::Sound(SoundCommand::Drop { leg: leg.number }));
            }
            stays
        });
        for member in members {
            let (generation, offers) = (member.generation, member.offers);
            let opens = match self.legs.get_mut(&member.member) {
                None => {
                    *legs_made += 1;
                    self.legs.insert(member.member.clone(), Leg::new(*legs_made, generation, offers, now));
                    Some(*legs_made)
                }
                Some(leg) if generation > leg.generation => {
                    leg.advance(generation, offers, now);
                    Some(leg.number)
                }
                Some(leg) => {
                    if ask_again && !leg.hears() {
                        leg.want_renewal(now);
                    }
                    None
                }
            };
            if let Some(leg) = opens {
                doing.push(Doing::Sound(SoundCommand::Open { leg, generation, route: Route::Any }));
                if offers || planted(Fault::MeetingOffersAlways) {
                    doing.push(Doing::Sound(SoundCommand::Offer { leg, generation }));
                }
            }
        }
        for (member, generation, signal) in std::mem::take(&mut self.early) {
            doing.extend(self.signal(member, generation, signal));
        }
        doing
    }

    pub(super) fn signal(&mut self, member: Handle, generation: u32, signal: Signal) -> Vec<Doing> {
        match self.legs.get(&member) {
            Some(known) if generation < known.generation => Vec::new(),
            Some(known) if generation == known.generation => {
                let leg = known.number;
                let command = match signal {
                    // Nobody asked. Whereas any offer may come: apps of older systems change connections by it.
                    Signal::Description(DescriptionKind::Answer, _) if !known.offers => return Vec::new(),
                    Signal::Description(kind, sdp) => SoundCommand::SetRemote { leg, generation, kind, sdp },
                    Signal::Candidates(candidates) => SoundCommand::AddCandidates { leg, generation, candidates },
                };
                vec![Doing::Sound(command)]
            }
            Some(_) | None => {
                if self.early.len() == EARLY {
                    self.early.pop_front();
                }
                self.early.push_back((member, generation, signal));
                Vec::new()
            }
        }
    }

    pub(super) fn media(&mut self, number: u32, event: MediaEvent, now: Monotonic) -> Vec<Doing> {
        let Some((handle, leg)) = self.legs.iter_mut().find(|(_, leg)| leg.number == number) else { return Vec::new() };
        let (room, member) = (self.view.room.clone(), handle.clone());
        match event {
            MediaEvent::Description { generation, kind, sdp } if generation == leg.generation => {
                vec![Doing::Say(Command::DescribeTo { room, member, generation, kind, sdp })]
            }
            MediaEvent::Candidates { generation, candidates, done } if generation == leg.generation => {
                vec![Doing::Say(Command::CandidatesTo { room, member, generation, candidates, done })]
            }
            MediaEvent::Flowing { generation } => {
                leg.flows(generation);
                Vec::new()
            }
            MediaEvent::Stalled { generation } | MediaEvent::Failed { generation } => {
                leg.fails(generation, now);
                Vec::new()
            }
            MediaEvent::Opened { .. }
            | MediaEvent::Description { .. }
            | MediaEvent::Candidates { .. }
            | MediaEvent::Path { .. } => Vec::new(),
        }
    }

    /// Asks for the next connections that are wanted by now.
    pub(super) fn due(&mut self, now: Monotonic) -> Vec<Doing> {
        let mut doing = Vec::new();
        for member in &self.view.members {
            let Some(leg) = self.legs.get_mut(&member.member) else { continue };
            if leg.is_due(member.linked, now) && !planted(Fault::MeetingNeverRenews) {
                let (room, member) = (self.view.room.clone(), member.member.clone());
                doing.push(Doing::Say(Command::RenewMember { room, member, generation: leg.generation }));
            }
        }
        doing
    }

    pub(super) fn next_due(&self) -> Option<(Monotonic, Due)> {
        let renews = self.legs.values().filter_map(Leg::renews_at).map(|at| (at, Due::Renew));
        let silent = self.legs.values().filter_map(Leg::no_sound_at).map(|at| (at, Due::Renew));
        renews.chain(silent).min()
    }

    pub(super) fn renew_later(&mut self, member: &Handle, generation: u32, at: Monotonic) {
        if let Some(leg) = self.legs.get_mut(member).filter(|leg| leg.generation == generation) {
            leg.renew_at(at);
        }
    }

    // Being let in again.

    /// The session is a new one.
    pub(super) fn enter_anew(&mut self, outbox: &mut Outbox, now: Monotonic) {
        self.ask_again = true;
        self.early.clear();
        if !planted(Fault::MeetingStaysOut) {
            self.ask_in(outbox, now);
        }
    }

    pub(super) fn doubt(&mut self, outbox: &mut Outbox, now: Monotonic) {
        if self.doubted_at.is_none_or(|at| now.since(at) >= DOUBT_EVERY_MS) {
            self.ask_in(outbox, now);
        }
    }

    pub(super) fn is_entering(&self, id: &CommandId) -> bool {
        self.entering.as_ref() == Some(id)
    }

    fn ask_in(&mut self, outbox: &mut Outbox, now: Monotonic) {
        self.doubted_at = Some(now);
        self.version = 0;
        self.entering = Some(outbox.push(Command::EnterRoom { room: self.view.room.clone() }));
    }

    pub(super) fn shown(&self, muted: bool) -> RoomShown {
        let members = self.view.members.iter().filter_map(|member| {
            let leg = self.legs.get(&member.member)?;
            Some(MemberShown {
                member: member.member.clone(),
                name: member.name.clone(),
                host: member.host,
                muted: member.muted,
                linked: member.linked,
                leg: leg.number,
                sound: leg.sound(),
            })
        });
        RoomShown {
            room: self.view.room.clone(),
            topic: self.view.topic.clone(),
            you: self.view.you.clone(),
            host: self.view.host,
            locked: self.view.locked,
            members: members.collect(),
            muted,
            since: self.since,
            matched: self.matched,
            over: None,
        }
    }
}
