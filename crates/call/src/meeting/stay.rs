//! The time that a device is in a room: the members, and a leg for each.

use super::interface::{MemberShown, RoomShown, SoundCommand};
use super::leg::Leg;
use crate::endpoint::{MediaEvent, Monotonic};
use crate::fault::{Fault, planted};
use crate::grant::{Grant, PRIVATE_WAIT_MS, WAIT_MS};
use crate::outbox::Outbox;
use crate::way::Relays;
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
    relay_only: bool,
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
    /// `relay_only`: by the person's wish.
    pub(super) fn begin(
        view: RoomView,
        matched: bool,
        relay_only: bool,
        legs_made: &mut u32,
        now: Monotonic,
    ) -> (Self, Vec<Doing>) {
        let mut stay = Self {
            view: view.clone(),
            version: 0,
            since: now,
            matched,
            relay_only,
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
            let stays = !anew && member.is_some_and(|member| member.generation >= leg.generation());
            if !stays && !planted(Fault::MeetingKeepsLegs) {
                doing.push(Doing::Sound(SoundCommand::Drop { leg: leg.number }));
            }
            stays
        });
        let wait = if self.relay_only || self.matched { PRIVATE_WAIT_MS } else { WAIT_MS };
        for member in members {
            let (generation, offers) = (member.generation, member.offers);
            let leg = self.legs.entry(member.member.clone()).or_insert_with(|| {
                *legs_made += 1;
                Leg::new(*legs_made, now)
            });
            if ask_again {
                leg.way.begin_session(now);
            }
            if generation > leg.generation() {
                leg.advance(generation, offers, now.plus(wait), now);
            }
            leg.see(member.linked, now);
        }
        doing
    }

    /// Opens the connections that the server named. With a stranger one goes by relays alone, where one is granted.
    pub(super) fn opening(&mut self, grant: &Grant, now: Monotonic) -> Vec<Doing> {
        let relays = self.relays(grant);
        let known = grant.is_known() || planted(Fault::GrantNotAwaited);
        let mut doing = Vec::new();
        let mut opened = false;
        for leg in self.legs.values_mut() {
            if leg.open_by.is_none_or(|at| now < at && !known) {
                continue;
            }
            leg.open_by = None;
            opened = true;
            let (leg, generation, offers, route) =
                (leg.number, leg.generation(), leg.offers, leg.way.open(relays, now));
            doing.push(Doing::Sound(SoundCommand::Open { leg, generation, route }));
            if offers || planted(Fault::MeetingOffersAlways) {
                doing.push(Doing::Sound(SoundCommand::Offer { leg, generation }));
            }
        }
        if opened {
            for (member, generation, signal) in std::mem::take(&mut self.early) {
                doing.extend(self.signal(member, generation, signal));
            }
        }
        doing
    }

    pub(super) fn opens_by(&self) -> Option<Monotonic> {
        self.legs.values().filter_map(|leg| leg.open_by).min()
    }

    pub(super) fn network_changed(&mut self, now: Monotonic) {
        self.legs.values_mut().for_each(|leg| leg.way.network_changed(now));
    }

    pub(super) fn go_by_relays(&mut self, only: bool, now: Monotonic) {
        let was = std::mem::replace(&mut self.relay_only, only);
        if only && !was {
            let direct = self.legs.values_mut().filter(|leg| leg.way.relayed() != Some(true));
            direct.for_each(|leg| leg.way.want(now));
        }
    }

    fn relays(&self, grant: &Grant) -> Relays {
        let only = self.relay_only || (self.matched && grant.has_relay());
        Relays { only, granted: grant.has_relay() }
    }

    pub(super) fn signal(&mut self, member: Handle, generation: u32, signal: Signal) -> Vec<Doing> {
        match self.legs.get(&member) {
            Some(known) if generation < known.generation() => Vec::new(),
            Some(known) if generation == known.generation() && known.open_by.is_none() => {
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
            MediaEvent::Description { generation, kind, sdp } if generation == leg.generation() => {
                vec![Doing::Say(Command::DescribeTo { room, member, generation, kind, sdp })]
            }
            MediaEvent::Candidates { generation, candidates, done } if generation == leg.generation() => {
                vec![Doing::Say(Command::CandidatesTo { room, member, generation, candidates, done })]
            }
            MediaEvent::Flowing { generation } => {
                leg.flows(generation, now);
                Vec::new()
            }
            MediaEvent::Stalled { generation } | MediaEvent::Failed { generation } => {
                leg.way.ceases(generation, now);
                Vec::new()
            }
            MediaEvent::Path { generation, relayed } => {
                leg.way.goes_by(generation, relayed, now);
                Vec::new()
            }
            MediaEvent::Opened { .. } | MediaEvent::Description { .. } | MediaEvent::Candidates { .. } => Vec::new(),
        }
    }

    /// Asks for the next connections that are wanted by now.
    pub(super) fn due(&mut self, grant: &Grant, now: Monotonic) -> Vec<Doing> {
        let relays = self.relays(grant);
        let mut doing = Vec::new();
        if self.version == 0 {
            return doing;
        }
        for member in &self.view.members {
            let Some(leg) = self.legs.get_mut(&member.member) else { continue };
            if leg.way.is_due(relays, member.linked, now) && !planted(Fault::MeetingNeverRenews) {
                let (room, member) = (self.view.room.clone(), member.member.clone());
                doing.push(Doing::Say(Command::RenewMember { room, member, generation: leg.generation() }));
            }
        }
        doing
    }

    pub(super) fn renews_at(&self, grant: &Grant) -> Option<Monotonic> {
        let relays = self.relays(grant);
        let members = self.view.members.iter().filter(|_| self.version > 0);
        let due = members.filter_map(|member| {
            let leg = self.legs.get(&member.member)?;
            leg.way.next_due(relays, member.linked)
        });
        due.min()
    }

    pub(super) fn renewal_refused(&mut self, member: &Handle, generation: u32, again_at: Monotonic) {
        if let Some(leg) = self.legs.get_mut(member) {
            leg.way.refused(generation, again_at);
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
