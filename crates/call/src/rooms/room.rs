//! One room: its members, and the connection of each two of them.

use super::{Entrant, Habit, LinkId, Member, Receivers, RoomPlan, RoomRefusal, SignalKind};
use crate::fault::{Fault, planted};
use bellwire_signaling::{Handle, RoomId, RoomMember, RoomView, UnixMs, UserId};
use std::collections::{HashMap, HashSet};

pub(super) enum Kind {
    /// Opened by who came first.
    Open,
    /// Each listed person, and whether they are a host.
    Planned { listed: HashMap<UserId, bool>, closes_at: UnixMs },
    /// A match.
    Pair,
}

pub(super) struct Room {
    pub(super) kind: Kind,
    topic: String,
    most: usize,
    version: u32,
    locked: bool,
    removed: HashSet<UserId>,
    /// In the order in which they entered.
    order: Vec<LinkId>,
    members: HashMap<LinkId, Member>,
    handles: HashMap<Handle, LinkId>,
    users: HashMap<UserId, LinkId>,
    /// By the lower link first.
    pairs: HashMap<(LinkId, LinkId), Pair>,
}

/// The connection of two members.
struct Pair {
    generation: u32,
    /// Candidates of this generation sent by the lower link, and by the higher one.
    candidates: [u32; 2],
    /// Who offers.
    offers: LinkId,
}

impl Room {
    pub(super) fn new(kind: Kind, topic: String, most: usize) -> Self {
        Self {
            kind,
            topic,
            most,
            version: 0,
            locked: false,
            removed: HashSet::new(),
            order: Vec::new(),
            members: HashMap::new(),
            handles: HashMap::new(),
            users: HashMap::new(),
            pairs: HashMap::new(),
        }
    }

    /// From now on this is the plan. Returns those who are here and not listed.
    pub(super) fn follow(&mut self, plan: RoomPlan) -> Vec<LinkId> {
        let listed: HashMap<_, _> = plan.listed.into_iter().map(|guest| (guest.user, guest.host)).collect();
        self.topic = plan.topic;
        self.most = plan.most;
        for seat in self.members.values_mut() {
            seat.host = listed.get(&seat.user).copied().unwrap_or(false);
        }
        let unlisted = self.members().filter(|member| !listed.contains_key(&member.user)).map(|member| member.link);
        let unlisted = unlisted.collect();
        self.kind = Kind::Planned { listed, closes_at: plan.closes_at };
        self.changed();
        unlisted
    }

    pub(super) fn admits(&self, entrant: &Entrant, now: UnixMs) -> Result<(), RoomRefusal> {
        let here = self.users.get(&entrant.user);
        let barred = self.removed.contains(&entrant.user) && !planted(Fault::RoomRemovedReturns);
        let may = match &self.kind {
            Kind::Open => true,
            Kind::Planned { listed, closes_at } => listed.contains_key(&entrant.user) && now < *closes_at,
            Kind::Pair => false,
        };
        // A handle is one link's alone; the seat that is about to be replaced does not count.
        let handle_taken = self.handles.get(&entrant.handle).is_some_and(|link| Some(link) != here);
        if barred || !may || (self.locked && here.is_none()) || handle_taken {
            return Err(RoomRefusal::NotFound);
        }
        if here.is_none() && self.members.len() >= self.most {
            return Err(RoomRefusal::Full);
        }
        Ok(())
    }

    pub(super) fn seat(&mut self, entrant: Entrant, host: bool, now: UnixMs) {
        let host = match &self.kind {
            Kind::Open => host,
            Kind::Planned { listed, .. } => listed.get(&entrant.user).copied().unwrap_or(false),
            Kind::Pair => false,
        };
        let Entrant { link, user, handle, name, habit, may_open: _ } = entrant;
        self.handles.insert(handle.clone(), link);
        self.users.insert(user.clone(), link);
        let member = Member { link, user, handle, name, habit, joined_at: now, host, muted: false, linked: true };
        let newcomer = member;
        for other in self.members.values() {
            let offers = if matches!(self.kind, Kind::Pair) { other.link } else { offerer(other, &newcomer) };
            let pair = Pair { generation: 1, candidates: [0, 0], offers };
            self.pairs.insert(key(link, other.link), pair);
        }
        self.members.insert(link, newcomer);
        self.order.push(link);
        self.changed();
    }

    /// In a room that nobody planned the one who is here longest becomes host after a host.
    pub(super) fn unseat(&mut self, link: LinkId) -> Option<Member> {
        let member = self.members.remove(&link)?;
        self.order.retain(|other| *other != link);
        self.handles.remove(&member.handle);
        self.users.remove(&member.user);
        for other in &self.order {
            self.pairs.remove(&key(link, *other));
        }
        if member.host
            && matches!(self.kind, Kind::Open)
            && let Some(next) = self.order.first().and_then(|first| self.members.get_mut(first))
        {
            next.host = true;
        }
        self.changed();
        Some(member)
    }

    /// This person enters no more.
    pub(super) fn bar(&mut self, link: LinkId) {
        if let Some(seat) = self.members.get(&link) {
            self.removed.insert(seat.user.clone());
        }
    }

    /// Lets one signal pass: its receiver and generation.
    pub(super) fn pass(
        &mut self,
        from: LinkId,
        to: LinkId,
        signal: SignalKind,
        generation: Option<u32>,
        most: u32,
    ) -> Result<(LinkId, u32), RoomRefusal> {
        let pair = self.pairs.get_mut(&key(from, to)).ok_or(RoomRefusal::NoSuchMember)?;
        if generation.is_some_and(|named| named != pair.generation) {
            return Err(RoomRefusal::StaleGeneration);
        }
        let sent = &mut pair.candidates[usize::from(from > to)];
        match signal {
            SignalKind::Candidates(more) => {
                let sum = sent.saturating_add(more);
                if sum > most {
                    return Err(RoomRefusal::RateLimited);
                }
                *sent = sum;
            }
            // Within a generation an older app begins its ICE anew by an offer.
            SignalKind::Offer if generation.is_none() => *sent = 0,
            SignalKind::Offer | SignalKind::Answer | SignalKind::Other => {}
        }
        Ok((to, pair.generation))
    }

    /// To all others; refused only if it may go to none of them.
    pub(super) fn pass_to_all(
        &mut self,
        from: LinkId,
        signal: SignalKind,
        generation: Option<u32>,
        most: u32,
    ) -> Result<Receivers, RoomRefusal> {
        let mut receivers = Receivers::new();
        let mut refusal = None;
        for n in 0..self.order.len() {
            let to = self.order[n];
            if to == from {
                if planted(Fault::RoomEcho) {
                    receivers.push((to, 1));
                }
                continue;
            }
            match self.pass(from, to, signal, generation, most) {
                Ok(receiver) => receivers.push(receiver),
                Err(why) => refusal = Some(why),
            }
        }
        match refusal {
            Some(why) if receivers.is_empty() => Err(why),
            Some(_) | None => Ok(receivers),
        }
    }

    /// True if a new generation began.
    pub(super) fn renew(&mut self, link: LinkId, other: LinkId, generation: u32) -> Result<bool, RoomRefusal> {
        let pair = self.pairs.get_mut(&key(link, other)).ok_or(RoomRefusal::NoSuchMember)?;
        if generation > pair.generation {
            return Err(RoomRefusal::StaleGeneration);
        }
        if generation < pair.generation && !planted(Fault::RoomRenewedTwice) {
            return Ok(false);
        }
        pair.generation = pair.generation.saturating_add(1);
        pair.candidates = [0, 0];
        self.changed();
        Ok(true)
    }

    pub(super) fn set_muted(&mut self, link: LinkId, muted: bool) -> bool {
        let seat = self.members.get_mut(&link);
        let new = seat.is_some_and(|seat| std::mem::replace(&mut seat.muted, muted) != muted);
        self.changed_if(new)
    }

    pub(super) fn set_linked(&mut self, link: LinkId, linked: bool) -> bool {
        let seat = self.members.get_mut(&link);
        let new = seat.is_some_and(|seat| std::mem::replace(&mut seat.linked, linked) != linked);
        self.changed_if(new)
    }

    pub(super) fn set_locked(&mut self, locked: bool) -> bool {
        let new = std::mem::replace(&mut self.locked, locked) != locked;
        self.changed_if(new)
    }

    pub(super) fn host(&self, link: LinkId) -> Result<(), RoomRefusal> {
        if self.member(link).is_some_and(|member| member.host) { Ok(()) } else { Err(RoomRefusal::NotHost) }
    }

    pub(super) fn member(&self, link: LinkId) -> Option<&Member> {
        self.members.get(&link)
    }

    pub(super) fn link_of(&self, handle: &Handle) -> Option<LinkId> {
        self.handles.get(handle).copied()
    }

    pub(super) fn seat_of(&self, user: &UserId) -> Option<LinkId> {
        self.users.get(user).copied()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.order.iter().filter_map(|link| self.member(*link))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn view(&self, id: &RoomId, link: LinkId) -> Option<RoomView> {
        let you = self.member(link)?;
        let shown = |member: &Member| {
            let pair = self.pairs.get(&key(link, member.link))?;
            let twisted = planted(Fault::RoomBothOffer) && link > member.link;
            Some(RoomMember {
                member: member.handle.clone(),
                name: member.name.clone(),
                host: member.host,
                muted: member.muted,
                linked: member.linked,
                generation: pair.generation,
                offers: pair.offers == link || twisted,
            })
        };
        Some(RoomView {
            room: id.clone(),
            version: self.version,
            topic: self.topic.clone(),
            you: you.handle.clone(),
            host: you.host,
            locked: self.locked,
            members: self.members().filter(|member| member.link != link).filter_map(shown).collect(),
        })
    }

    fn changed_if(&mut self, new: bool) -> bool {
        if new {
            self.changed();
        }
        new
    }

    fn changed(&mut self) {
        if !planted(Fault::RoomVersionStays) || self.version < 3 {
            self.version = self.version.saturating_add(1);
        }
    }
}

/// Who of two makes the offer: the table of [`Habit`].
fn offerer(earlier: &Member, later: &Member) -> LinkId {
    let has = |habit| earlier.habit == habit || later.habit == habit;
    if has(Habit::NewcomerOffers) && !has(Habit::LowerIdOffers) {
        return later.link;
    }
    if earlier.handle <= later.handle { earlier.link } else { later.link }
}

fn key(one: LinkId, other: LinkId) -> (LinkId, LinkId) {
    if one < other { (one, other) } else { (other, one) }
}
