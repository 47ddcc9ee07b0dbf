//! Rooms and matches: who is in which, who connects with whom and how, and to whom a signal goes.
//!
//! The server owns one [`Rooms`] and feeds it commands, losses of links and the time. After each input
//! [`Rooms::poll_effect`] is drained; each effect names a link and what is new for it, and [`Rooms::view`] is what that
//! link may see now. [`Rooms::receivers`] says where a signal goes; its body never enters here.
//!
//! Two kinds of rooms are entered by id: a *planned* one ([`Rooms::plan`]) admits those on its list and stands, also
//! empty, until it closes; any other is opened by the first who may, and is dropped as soon as it is empty. A *pair*
//! ([`Rooms::open_pair`]) is a match: nobody enters it, and it is over for both when one goes.
//!
//! Left out: names and limits of the wire, how fast a link may send, and who may open rooms ([`Entrant::may_open`]).

mod room;
#[cfg(test)]
mod tests;

use crate::fault::{Fault, planted};
use bellwire_signaling::{Departure, Handle, RoomId, RoomView, UnixMs, UserId, limits};
use room::{Kind, Room};
use smallvec::SmallVec;
use std::collections::{BTreeSet, HashMap, VecDeque};
use thiserror::Error;

/// A member whose link is down keeps the seat this long: as long as the session can come back. Sound needs no link.
pub const GRACE_MS: u64 = limits::RESUME_SECONDS * 1_000;
/// Rooms that one link may be in at once.
pub const ROOMS_A_LINK: usize = 4;
/// Candidates of one direction that an app of an older system may send after each of its offers: those apps trickle each
/// on its own and renegotiate within a generation.
pub const CANDIDATES_OF_OLDER_APPS: u32 = 10_000;

/// One connection of one app to the server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// How an app decides who makes the offer. [`Member`] pairs are settled by this table, first line first:
///
/// | of the two                | offers                                                    |
/// |---------------------------|-----------------------------------------------------------|
/// | a pair (match)            | the first of it                                           |
/// | either is `LowerIdOffers` | who has the lower handle: to those apps it is the user id |
/// | either is `NewcomerOffers`| who entered later                                         |
/// | both are `Native`         | who has the lower handle                                  |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Does as the view says.
    Native,
    /// Offers to those whose id is greater than its own.
    LowerIdOffers,
    /// Offers to those it finds in the room, and to nobody who comes later.
    NewcomerOffers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    pub link: LinkId,
    pub user: UserId,
    /// How the others in the room know this link. Public, unguessable, useless elsewhere.
    pub handle: Handle,
    pub name: String,
    pub habit: Habit,
    /// A room that is not there is opened by this one.
    pub may_open: bool,
}

/// A room made ahead: only those listed may enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPlan {
    pub id: RoomId,
    pub topic: String,
    pub listed: Vec<Guest>,
    /// Members at once.
    pub most: usize,
    pub closes_at: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    pub user: UserId,
    pub host: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub link: LinkId,
    pub user: UserId,
    pub handle: Handle,
    pub name: String,
    pub habit: Habit,
    pub joined_at: UnixMs,
    pub host: bool,
    pub muted: bool,
    pub linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    Offer,
    Answer,
    /// So many candidates.
    Candidates(u32),
    Other,
}

/// Who gets a signal, and with which generation. Up to a full room it needs no allocation.
pub type Receivers = SmallVec<[(LinkId, u32); limits::ROOM_MEMBERS]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEffect {
    pub to: LinkId,
    pub room: RoomId,
    pub notice: Notice,
}

/// What is new for a link in a room. After each but `Over` the view of that link is worth sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// You are in; said again to one who enters again.
    Entered,
    Joined(Handle),
    Departed(Handle, Departure),
    /// Anything else in the view.
    Changed,
    /// You are out: exactly one for each `Entered` that was not a repeat, also for those whose link is gone.
    Over(Departure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RoomRefusal {
    /// No such room, or no right to it, not a member of it, locked, removed: one answer for all.
    #[error("there is no such room for this person")]
    NotFound,
    #[error("there is no such other member")]
    NoSuchMember,
    #[error("the room has no place left")]
    Full,
    #[error("this link is in as many rooms as it may be")]
    TooManyRooms,
    #[error("only a host may do this")]
    NotHost,
    #[error("this generation is not the newest")]
    StaleGeneration,
    #[error("too many candidates in one generation")]
    RateLimited,
}

/// Counts since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomTotals {
    pub opened: u64,
    pub closed: u64,
    pub joins: u64,
    /// One for each receiver.
    pub relayed: u64,
}

/// When something is due by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A link has been down for the time of grace.
    Lost(LinkId),
    /// A planned room closes.
    Closes(RoomId),
}

#[derive(Default)]
pub struct Rooms {
    rooms: HashMap<RoomId, Room>,
    links: HashMap<LinkId, Link>,
    timers: BTreeSet<(UnixMs, Due)>,
    effects: VecDeque<RoomEffect>,
    totals: RoomTotals,
}

/// A link that is in a room.
#[derive(Default)]
struct Link {
    rooms: SmallVec<[RoomId; ROOMS_A_LINK]>,
    /// Down; the seats are kept until then.
    lost_at: Option<UnixMs>,
}

impl Rooms {
    pub fn new() -> Self {
        Self::default()
    }

    // What the operator does.

    /// Plans a room, or changes the plan of one. Those in it who are not listed are out.
    pub fn plan(&mut self, plan: RoomPlan) {
        let id = plan.id.clone();
        let due = Due::Closes(id.clone());
        let room = self.rooms.entry(id.clone()).or_insert_with(|| {
            self.totals.opened += 1;
            Room::new(Kind::Open, String::new(), limits::ROOM_MEMBERS)
        });
        if let Kind::Planned { closes_at, .. } = &room.kind {
            self.timers.remove(&(*closes_at, due.clone()));
        }
        self.timers.insert((plan.closes_at, due));
        let unlisted = room.follow(plan);
        let changed: Vec<_> = room.members().map(|member| member.link).collect();
        changed.into_iter().for_each(|link| self.tell(link, &id, Notice::Changed));
        for link in unlisted {
            self.part(link, &id, Departure::Removed);
        }
    }

    /// Takes a planned room back: it is over for all in it. Any other room stays.
    pub fn unplan(&mut self, room: &RoomId) {
        if self.rooms.get(room).is_some_and(|room| matches!(room.kind, Kind::Planned { .. })) {
            self.end(room, Departure::Closed);
        }
    }

    // What members do.

    /// Enters a room, or opens it. Who is in it already stays as they are and is told [`Notice::Entered`] again. Another
    /// link of the same person is out with [`Departure::Replaced`]; the new one has its rights.
    pub fn enter(&mut self, id: &RoomId, entrant: Entrant, now: UnixMs) -> Result<(), RoomRefusal> {
        if self.rooms.get(id).is_some_and(|room| room.member(entrant.link).is_some()) {
            self.link_up(entrant.link);
            self.tell(entrant.link, id, Notice::Entered);
            return Ok(());
        }
        if self.links.get(&entrant.link).is_some_and(|link| link.rooms.len() >= ROOMS_A_LINK) {
            return Err(RoomRefusal::TooManyRooms);
        }
        let mut host = false;
        match self.rooms.get(id) {
            Some(room) => {
                room.admits(&entrant, now)?;
                if let Some(old) = room.seat_of(&entrant.user) {
                    host = room.member(old).is_some_and(|member| member.host);
                    // The room is kept: somebody enters it right now.
                    self.part_keeping(old, id, Departure::Replaced);
                }
            }
            None if entrant.may_open => {
                self.open(id, Room::new(Kind::Open, String::new(), limits::ROOM_MEMBERS));
                host = true;
            }
            None if planted(Fault::RoomRefusalTells) => return Err(RoomRefusal::NoSuchMember),
            None => return Err(RoomRefusal::NotFound),
        }
        self.seat(id, entrant, host, now);
        Ok(())
    }

    /// Opens a room for a match: exactly these two, and the first offers. A room of that id must not be there yet; if it
    /// is, it is over first. No limit of rooms applies, so that no match fails; entrants of one link or handle are none.
    pub fn open_pair(&mut self, id: RoomId, first: Entrant, second: Entrant, now: UnixMs) {
        self.end(&id, Departure::Closed);
        if first.link == second.link || first.handle == second.handle {
            return;
        }
        self.open(&id, Room::new(Kind::Pair, String::new(), 2));
        self.seat(&id, first, false, now);
        self.seat(&id, second, false, now);
    }

    pub fn leave(&mut self, link: LinkId, room: &RoomId, now: UnixMs) -> Result<(), RoomRefusal> {
        let _ = now;
        self.room_of(link, room)?;
        self.part(link, room, Departure::Left);
        Ok(())
    }

    /// Who gets this signal, and with which generation of the connection between the two; `to` of `None` means all
    /// others. An app that knows generations names one, and it must be the newest. An app of an older system names none;
    /// a second offer of it is a renegotiation within the generation. O(1) for a named receiver, without allocation.
    pub fn receivers(
        &mut self,
        from: LinkId,
        room: &RoomId,
        to: Option<&Handle>,
        signal: SignalKind,
        generation: Option<u32>,
    ) -> Result<Receivers, RoomRefusal> {
        let room = self.rooms.get_mut(room).ok_or(RoomRefusal::NotFound)?;
        let sender = match room.member(from) {
            Some(member) => member,
            None if planted(Fault::RoomOutsiderHeard) => room.members().next().ok_or(RoomRefusal::NotFound)?,
            None => return Err(RoomRefusal::NotFound),
        };
        let (from, most) = match sender.habit {
            Habit::Native => (sender.link, limits::CANDIDATES_A_GENERATION as u32),
            Habit::LowerIdOffers | Habit::NewcomerOffers => (sender.link, CANDIDATES_OF_OLDER_APPS),
        };
        let receivers = match to {
            Some(handle) => {
                let to = room.link_of(handle).filter(|to| *to != from).ok_or(RoomRefusal::NoSuchMember)?;
                SmallVec::from_iter([room.pass(from, to, signal, generation, most)?])
            }
            None => room.pass_to_all(from, signal, generation, most)?,
        };
        self.totals.relayed += receivers.len() as u64;
        Ok(receivers)
    }

    pub fn mute(&mut self, link: LinkId, id: &RoomId, muted: bool) -> Result<(), RoomRefusal> {
        let room = self.room_of(link, id)?;
        if room.set_muted(link, muted) {
            self.tell_others(link, id, Notice::Changed);
        }
        Ok(())
    }

    /// Hosts only. Nobody enters a locked room but another link of one who is in it.
    pub fn lock(&mut self, link: LinkId, id: &RoomId, locked: bool) -> Result<(), RoomRefusal> {
        let room = self.room_of(link, id)?;
        room.host(link)?;
        if room.set_locked(locked) {
            self.tell(link, id, Notice::Changed);
            self.tell_others(link, id, Notice::Changed);
        }
        Ok(())
    }

    /// Hosts only, and of others only. The person cannot enter this room again.
    pub fn remove(&mut self, link: LinkId, id: &RoomId, member: &Handle, now: UnixMs) -> Result<(), RoomRefusal> {
        let _ = now;
        let room = self.room_of(link, id)?;
        room.host(link)?;
        let other = room.link_of(member).filter(|other| *other != link).ok_or(RoomRefusal::NoSuchMember)?;
        room.bar(other);
        self.part(other, id, Departure::Removed);
        Ok(())
    }

    /// The connection of this generation with that member is lost: the next one begins. An older number is what the
    /// other of the two has said already, and is ignored.
    pub fn renew(&mut self, link: LinkId, id: &RoomId, member: &Handle, generation: u32) -> Result<(), RoomRefusal> {
        let room = self.room_of(link, id)?;
        let other = room.link_of(member).filter(|other| *other != link).ok_or(RoomRefusal::NoSuchMember)?;
        if room.renew(link, other, generation)? {
            self.tell(link, id, Notice::Changed);
            self.tell(other, id, Notice::Changed);
        }
        Ok(())
    }

    // What becomes of links and rooms.

    /// The link is lost; its seats are kept for [`GRACE_MS`].
    pub fn link_down(&mut self, link: LinkId, now: UnixMs) {
        let Some(known) = self.links.get_mut(&link) else { return };
        if known.lost_at.is_some() {
            return;
        }
        let lost_at = now.plus(GRACE_MS);
        known.lost_at = Some(lost_at);
        self.timers.insert((lost_at, Due::Lost(link)));
        self.show_linked(link, false);
    }

    /// The link is back.
    pub fn link_up(&mut self, link: LinkId) {
        let Some(lost_at) = self.links.get_mut(&link).and_then(|known| known.lost_at.take()) else { return };
        self.timers.remove(&(lost_at, Due::Lost(link)));
        self.show_linked(link, true);
    }

    /// The link will not come back, for this reason: it is out of all its rooms.
    pub fn gone(&mut self, link: LinkId, why: Departure, now: UnixMs) {
        let _ = now;
        let rooms = self.links.get(&link).map(|known| known.rooms.clone()).unwrap_or_default();
        for room in rooms {
            self.part(link, &room, why);
        }
    }

    /// The room is over for all in it, planned or not.
    pub fn close(&mut self, room: &RoomId, why: Departure, now: UnixMs) {
        let _ = now;
        self.end(room, why);
    }

    pub fn timeout(&mut self, now: UnixMs) {
        while let Some((at, due)) = self.timers.first().cloned()
            && at <= now
        {
            self.timers.pop_first();
            match due {
                Due::Lost(link) => self.gone(link, Departure::Lost, now),
                Due::Closes(room) => self.end(&room, Departure::Closed),
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<UnixMs> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn poll_effect(&mut self) -> Option<RoomEffect> {
        self.effects.pop_front()
    }

    // What is known.

    /// What this link may know of the room; `None` for one who is not in it.
    pub fn view(&self, room: &RoomId, link: LinkId) -> Option<RoomView> {
        self.rooms.get(room)?.view(room, link)
    }

    pub fn rooms_of(&self, link: LinkId) -> impl Iterator<Item = &RoomId> {
        self.links.get(&link).into_iter().flat_map(|link| link.rooms.iter())
    }

    /// In the order in which they entered. Empty for a room that is not there. Asks for no membership: for the server's
    /// own use.
    pub fn members(&self, room: &RoomId) -> impl Iterator<Item = &Member> {
        self.rooms.get(room).into_iter().flat_map(Room::members)
    }

    pub fn member(&self, room: &RoomId, link: LinkId) -> Option<&Member> {
        self.rooms.get(room)?.member(link)
    }

    pub fn totals(&self) -> RoomTotals {
        self.totals
    }

    /// Rooms there are now, empty planned ones included.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    // Below: how it is done.

    /// The room, for one who is in it.
    fn room_of(&mut self, link: LinkId, id: &RoomId) -> Result<&mut Room, RoomRefusal> {
        self.rooms.get_mut(id).filter(|room| room.member(link).is_some()).ok_or(RoomRefusal::NotFound)
    }

    fn open(&mut self, id: &RoomId, room: Room) {
        self.rooms.insert(id.clone(), room);
        self.totals.opened += 1;
    }

    fn seat(&mut self, id: &RoomId, entrant: Entrant, host: bool, now: UnixMs) {
        let (link, handle) = (entrant.link, entrant.handle.clone());
        self.link_up(link);
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.seat(entrant, host, now);
        self.links.entry(link).or_default().rooms.push(id.clone());
        self.totals.joins += 1;
        self.tell(link, id, Notice::Entered);
        self.tell_others(link, id, Notice::Joined(handle));
    }

    /// One is out; with them a room that has thereby ended.
    fn part(&mut self, link: LinkId, id: &RoomId, why: Departure) {
        self.part_keeping(link, id, why);
        let Some(room) = self.rooms.get(id) else { return };
        match room.kind {
            Kind::Pair => self.end(id, seen_by_partner(why)),
            Kind::Open if room.is_empty() && !planted(Fault::RoomEmptyKept) => self.end(id, Departure::Closed),
            Kind::Open | Kind::Planned { .. } => {}
        }
    }

    fn part_keeping(&mut self, link: LinkId, id: &RoomId, why: Departure) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(member) = room.unseat(link) else { return };
        let pair = matches!(room.kind, Kind::Pair);
        self.forget(link, id);
        self.tell(link, id, Notice::Over(why));
        if planted(Fault::RoomOverTwice) && why == Departure::Removed {
            self.tell(link, id, Notice::Over(why));
        }
        if !pair {
            self.tell_others(link, id, Notice::Departed(member.handle, why));
        }
    }

    /// The room is no more.
    fn end(&mut self, id: &RoomId, why: Departure) {
        let Some(room) = self.rooms.remove(id) else { return };
        self.totals.closed += 1;
        if let Kind::Planned { closes_at, .. } = room.kind {
            self.timers.remove(&(closes_at, Due::Closes(id.clone())));
        }
        for member in room.members() {
            self.forget(member.link, id);
            self.tell(member.link, id, Notice::Over(why));
        }
    }

    /// The link is in this room no more; with its last room it is forgotten.
    fn forget(&mut self, link: LinkId, id: &RoomId) {
        let Some(known) = self.links.get_mut(&link) else { return };
        known.rooms.retain(|room| room != id);
        if known.rooms.is_empty() {
            if let Some(lost_at) = known.lost_at {
                self.timers.remove(&(lost_at, Due::Lost(link)));
            }
            self.links.remove(&link);
        }
    }

    fn show_linked(&mut self, link: LinkId, linked: bool) {
        let rooms = self.links.get(&link).map(|known| known.rooms.clone()).unwrap_or_default();
        for id in rooms {
            if self.rooms.get_mut(&id).is_some_and(|room| room.set_linked(link, linked)) {
                self.tell_others(link, &id, Notice::Changed);
            }
        }
    }

    fn tell(&mut self, to: LinkId, room: &RoomId, notice: Notice) {
        self.effects.push_back(RoomEffect { to, room: room.clone(), notice });
    }

    fn tell_others(&mut self, than: LinkId, id: &RoomId, notice: Notice) {
        let Some(room) = self.rooms.get(id) else { return };
        for member in room.members().filter(|member| member.link != than) {
            self.effects.push_back(RoomEffect { to: member.link, room: id.clone(), notice: notice.clone() });
        }
    }
}

/// Why a match is over for the one who stayed.
fn seen_by_partner(why: Departure) -> Departure {
    match why {
        Departure::Left | Departure::Removed | Departure::Lost | Departure::Replaced | Departure::PartnerLeft => {
            Departure::PartnerLeft
        }
        Departure::Skipped => Departure::Skipped,
        Departure::Closed => Departure::Closed,
    }
}
