//! The lobby: rooms and matches, for native apps and for those of the older systems alike.
//!
//! It owns the two pure machines of `bellwire-call`, [`Rooms`] and [`MatchQueue`], and knows for each link the [`Voice`] that
//! says things in its app's words. Nothing here is stored before it is told, so no task stands between a sender and a
//! receiver: a socket's task takes the lock, lets the machine act, and the voices put their messages into the receivers'
//! queues before the lock is given back. So the order in which things are told is that in which they happened.
//!
//! Blocks and reports go to the store behind the caller's back; the records of matches go to the live state.

mod native;
mod record;
mod voice;

pub use native::Device;
pub use voice::{Body, Card, QueueNews, Signal, System, Voice, What};

use crate::clock;
use crate::store::company::{KeptRoom, LiveState, MatchSession};
use crate::store::{Store, StoreError};
use bellwire_call::Who;
use bellwire_call::matching::{MatchQueue, PartedWhy, QueueEffect, QueueRefusal, SearchState, Searcher};
use bellwire_call::rooms::{Entrant, Guest, Habit, LinkId, RoomPlan, RoomRefusal, Rooms, SignalKind};
use bellwire_signaling::{Complaint, Departure, Handle, RoomId, UnixMs, UserId, limits};
use record::Records;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often what is due is looked after: the machines' own times are whole seconds.
const TICK: Duration = Duration::from_millis(250);
/// A former partner can be blocked or reported for so long,
const PARTNER_MS: u64 = 24 * 60 * 60_000;
/// which is looked after this often,
const PARTNERS_LOOK_MS: u64 = 10 * 60_000;
/// and so many of them are remembered for each person.
const PARTNERS: usize = 50;

pub struct Lobby {
    state: Mutex<State>,
    live: Arc<dyn LiveState>,
    records: Records,
    links: AtomicU64,
    /// Rooms that nobody planned are opened by whoever enters first.
    open_rooms: bool,
}

struct State {
    rooms: Rooms,
    queue: MatchQueue,
    links: HashMap<LinkId, Linked>,
    natives: HashMap<Who, native::NativeLink>,
    matches: HashMap<LinkId, Match>,
    partners: HashMap<UserId, VecDeque<Partner>>,
    /// When former partners were last looked through.
    looked_at: UnixMs,
}

/// A link as the lobby knows it.
struct Linked {
    voice: Arc<dyn Voice>,
    person: Person,
}

/// Whom a link belongs to.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: UserId,
    /// How others know this link.
    pub handle: Handle,
    pub card: Card,
    pub habit: Habit,
    /// Nobody's user: what is remembered of them ends with the link.
    pub guest: bool,
}

#[derive(Clone)]
struct Match {
    room: RoomId,
    partner: LinkId,
    partner_handle: Handle,
}

struct Partner {
    handle: Handle,
    user: UserId,
    guest: bool,
    at: UnixMs,
    reported: bool,
}

/// What a link is in, with regard to the queue.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    Idle,
    Waiting,
    Matched { room: RoomId, partner: Handle },
}

impl Lobby {
    /// With the rooms and blocks that the store holds.
    pub async fn open(store: Arc<dyn Store>, live: Arc<dyn LiveState>, open_rooms: bool) -> Result<Self, StoreError> {
        let mut rooms = Rooms::new();
        for room in store.open_rooms(clock::now()).await? {
            rooms.plan(plan_of(&room));
        }
        let mut queue = MatchQueue::new();
        queue.restore_blocks(store.blocks().await?);
        let state = State {
            rooms,
            queue,
            links: HashMap::new(),
            natives: HashMap::new(),
            matches: HashMap::new(),
            partners: HashMap::new(),
            looked_at: UnixMs(0),
        };
        let (records, links) = (Records::start(store), AtomicU64::new(1));
        Ok(Self { state: Mutex::new(state), live, records, links, open_rooms })
    }

    /// Looks after what is due, until the server stops.
    pub async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let mut state = self.lock();
                    let now = clock::now();
                    state.rooms.timeout(now);
                    state.queue.timeout(now);
                    self.settle(&mut state, now);
                    self.forget_lost_natives(&mut state, now);
                    state.forget_partners(now);
                    state.note_totals();
                }
                () = stop.cancelled() => return,
            }
        }
    }

    // Links.

    pub fn connect(&self, voice: Arc<dyn Voice>, person: Person) -> LinkId {
        let link = LinkId(self.links.fetch_add(1, Ordering::Relaxed));
        self.lock().links.insert(link, Linked { voice, person });
        link
    }

    /// The link's socket is lost, but may be back: seats are kept for a while, a search waits.
    pub fn away(&self, link: LinkId) {
        self.act(|state, now| {
            state.rooms.link_down(link, now);
            state.queue.away(link);
        });
    }

    pub fn back(&self, link: LinkId) {
        self.act(|state, now| {
            state.rooms.link_up(link);
            state.queue.back(link, now);
        });
    }

    /// The link is gone for good.
    pub fn disconnect(&self, link: LinkId, why: Departure) {
        self.act(|state, now| {
            state.queue.gone(link, now);
            state.rooms.gone(link, why, now);
        });
        let mut state = self.lock();
        if let Some(gone) = state.links.remove(&link)
            && gone.person.guest
        {
            state.partners.remove(&gone.person.user);
        }
    }

    // Rooms.

    /// A room of the operator's: made, or changed.
    pub fn plan(&self, room: &KeptRoom) {
        self.act(|state, _| state.rooms.plan(plan_of(room)));
    }

    pub fn unplan(&self, room: &RoomId) {
        self.act(|state, _| state.rooms.unplan(room));
    }

    /// `is_person`: not by a token that is for this room alone.
    pub fn enter(&self, link: LinkId, room: &RoomId, is_person: bool) -> Result<(), RoomRefusal> {
        let may_open = is_person && self.open_rooms;
        self.act(|state, now| {
            let linked = state.links.get(&link).ok_or(RoomRefusal::NotFound)?;
            let entrant = linked.entrant(link, may_open);
            state.rooms.enter(room, entrant, now)
        })
    }

    pub fn leave(&self, link: LinkId, room: &RoomId) -> Result<(), RoomRefusal> {
        self.act(|state, now| {
            if state.matches.get(&link).is_some_and(|matched| matched.room == *room) {
                state.queue.leave_match(link, now);
                return Ok(());
            }
            state.rooms.leave(link, room, now)
        })
    }

    pub fn mute(&self, link: LinkId, room: &RoomId, muted: bool) -> Result<(), RoomRefusal> {
        self.act(|state, _| state.rooms.mute(link, room, muted))
    }

    pub fn lock_room(&self, link: LinkId, room: &RoomId, locked: bool) -> Result<(), RoomRefusal> {
        self.act(|state, _| state.rooms.lock(link, room, locked))
    }

    pub fn remove(&self, link: LinkId, room: &RoomId, member: &Handle) -> Result<(), RoomRefusal> {
        self.act(|state, now| state.rooms.remove(link, room, member, now))
    }

    pub fn renew(&self, link: LinkId, room: &RoomId, member: &Handle, generation: u32) -> Result<(), RoomRefusal> {
        self.act(|state, _| state.rooms.renew(link, room, member, generation))
    }

    /// Passes a signal on to one member of the room, or to all others. Says to how many it went.
    pub fn signal(
        &self,
        from: LinkId,
        room: &RoomId,
        to: Option<&Handle>,
        generation: Option<u32>,
        body: Body<'_>,
    ) -> Result<usize, RoomRefusal> {
        self.lock().signal(from, room, to, generation, body)
    }

    /// Passes a signal on to the partner of this link's match.
    pub fn signal_partner(&self, from: LinkId, body: Body<'_>) -> Result<usize, RoomRefusal> {
        let mut state = self.lock();
        let matched = state.matches.get(&from).ok_or(RoomRefusal::NotFound)?.clone();
        state.signal(from, &matched.room, Some(&matched.partner_handle), None, body)
    }

    /// Asks about the rooms as they are.
    pub fn look<T>(&self, ask: impl FnOnce(&Rooms) -> T) -> T {
        ask(&self.lock().rooms)
    }

    /// A line of chat for the others of a room, as the channel relay's apps write it.
    pub fn chat(&self, from: LinkId, room: &RoomId, text: &str) -> Result<(), RoomRefusal> {
        let state = self.lock();
        if state.rooms.member(room, from).is_none() {
            return Err(RoomRefusal::NotFound);
        }
        for member in state.rooms.members(room).filter(|member| member.link != from) {
            if let Some(linked) = state.links.get(&member.link) {
                linked.voice.chat(text);
            }
        }
        Ok(())
    }

    // Matches.

    /// How this link's person is introduced to partners from now on.
    pub fn introduce(&self, link: LinkId, card: Card) {
        if let Some(linked) = self.lock().links.get_mut(&link) {
            linked.person.card = card;
        }
    }

    /// Joins the queue. Being in a match is a refusal.
    pub fn search(&self, link: LinkId) -> Result<(), QueueRefusal> {
        self.act(|state, now| {
            let linked = state.links.get(&link).ok_or(QueueRefusal::NotMatched)?;
            let searcher = Searcher { link, user: linked.person.user.clone() };
            state.queue.search(searcher, now)
        })
    }

    /// Leaves the queue or the match. Whether there was one.
    pub fn stop_searching(&self, link: LinkId) -> bool {
        self.act(|state, now| {
            if state.matches.contains_key(&link) {
                state.queue.leave_match(link, now);
                return true;
            }
            let waited = state.queue.stop(link, now);
            if waited {
                state.tell(link, &QueueNews::Idle);
            }
            waited
        })
    }

    pub fn skip(&self, link: LinkId) -> Result<(), QueueRefusal> {
        self.act(|state, now| state.queue.skip(link, now))
    }

    /// Never to be matched with this partner again.
    pub fn block(&self, link: LinkId, partner: &Handle) -> Result<(), RoomRefusal> {
        self.act(|state, now| {
            let (person, met) = state.met(link, partner, now).ok_or(RoomRefusal::NotFound)?;
            let (user, other, passing) = (person.user.clone(), met.user.clone(), person.guest || met.guest);
            state.queue.block(&user, &other, now);
            if !passing {
                self.records.block(user, other, now);
            }
            Ok(())
        })
    }

    pub fn report(&self, link: LinkId, partner: &Handle, complaint: Complaint) -> Result<(), RoomRefusal> {
        self.act(|state, now| {
            let (person, met) = state.met(link, partner, now).ok_or(RoomRefusal::NotFound)?;
            // One of each to each is enough.
            if !std::mem::replace(&mut met.reported, true) {
                self.records.report(person.user.clone(), met.user.clone(), complaint, now);
            }
            Ok(())
        })
    }

    /// Tells the partner of this link that its connection is poor.
    pub fn tell_partner_of_poor_quality(&self, link: LinkId) {
        let state = self.lock();
        let partner = state.matches.get(&link).and_then(|matched| state.links.get(&matched.partner));
        if let Some(partner) = partner {
            partner.voice.partner_is_poor();
        }
    }

    pub fn standing(&self, link: LinkId) -> Standing {
        let state = self.lock();
        if let Some(Match { room, partner_handle, .. }) = state.matches.get(&link) {
            return Standing::Matched { room: room.clone(), partner: partner_handle.clone() };
        }
        match state.queue.state(link) {
            SearchState::Waiting { .. } => Standing::Waiting,
            SearchState::Idle | SearchState::Matched { .. } => Standing::Idle,
        }
    }

    // The inside.

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acts, and tells all concerned before anybody else acts.
    fn act<T>(&self, act: impl FnOnce(&mut State, UnixMs) -> T) -> T {
        let mut state = self.lock();
        let now = clock::now();
        let answer = act(&mut state, now);
        self.settle(&mut state, now);
        answer
    }

    fn settle(&self, state: &mut State, now: UnixMs) {
        while let Some(effect) = state.queue.poll_effect() {
            match effect {
                QueueEffect::Waiting { link, place } => state.tell_place(link, place),
                QueueEffect::Matched { first, second } => self.pair(state, first, second, now),
                QueueEffect::Parted { link, partner, why } => self.part(state, link, partner, why, now),
            }
            state.tell_rooms();
        }
        state.tell_rooms();
    }

    /// Opens the room of a match and tells both.
    fn pair(&self, state: &mut State, first: LinkId, second: LinkId, now: UnixMs) {
        let (Some(one), Some(other)) = (state.links.get(&first), state.links.get(&second)) else {
            warn!("a match of a link that is not there");
            return;
        };
        // An app of the relay system does not know who of the two shall offer; a native one beside it does.
        let turned = one.voice.system() == System::MatchRelay && other.voice.system() == System::Native;
        let ((first, one), (second, other)) =
            if turned { ((second, other), (first, one)) } else { ((first, one), (second, other)) };
        let room = RoomId::from_bits(rand::random());
        let session = MatchSession {
            id: room.clone(),
            first: one.person.user.clone(),
            second: other.person.user.clone(),
            started_at: now,
        };
        if let Err(e) = self.live.open_session(&session, now) {
            warn!(error = %e, "a match's record could not be kept");
        }
        let entrants = (one.entrant(first, false), other.entrant(second, false));
        let people = [(first, one.person.clone()), (second, other.person.clone())];
        for (mine, theirs) in [(0, 1), (1, 0)] {
            let (link, person) = &people[mine];
            let (partner, partner_person) = &people[theirs];
            let matched =
                Match { room: room.clone(), partner: *partner, partner_handle: partner_person.handle.clone() };
            state.matches.insert(*link, matched);
            state.remember(person, partner_person, now);
            let news = QueueNews::Matched {
                room: &room,
                partner: &partner_person.handle,
                card: &partner_person.card,
                offers: mine == 0,
                since: now,
            };
            state.tell(*link, &news);
        }
        metrics::counter!("bellwire_matches_total").increment(1);
        debug!(session = %room, "matched");
        state.rooms.open_pair(room, entrants.0, entrants.1, now);
    }

    /// `link` ended the match; `partner` stays behind.
    fn part(&self, state: &mut State, link: LinkId, partner: LinkId, why: PartedWhy, now: UnixMs) {
        state.matches.remove(&partner);
        let Some(Match { room, .. }) = state.matches.remove(&link) else { return };
        if let Err(e) = self.live.end_session(&room) {
            warn!(error = %e, "a match's record could not be ended");
        }
        let (departure, own) = match why {
            PartedWhy::Left | PartedWhy::Gone => (Departure::PartnerLeft, Some(QueueNews::Idle)),
            // It waits again, and is told so.
            PartedWhy::Skipped => (Departure::Skipped, None),
            PartedWhy::Blocked => (Departure::Closed, Some(QueueNews::Parted { room: &room, why })),
        };
        if let Some(own) = own {
            state.tell(link, &own);
        }
        state.tell(partner, &QueueNews::Parted { room: &room, why });
        state.rooms.close(&room, departure, now);
    }
}

impl Linked {
    fn entrant(&self, link: LinkId, may_open: bool) -> Entrant {
        let Person { user, handle, card, habit, guest: _ } = &self.person;
        Entrant {
            link,
            user: user.clone(),
            handle: handle.clone(),
            name: card.name.clone().unwrap_or_else(|| user.to_string()),
            habit: *habit,
            may_open,
        }
    }
}

impl State {
    fn signal(
        &mut self,
        from: LinkId,
        room: &RoomId,
        to: Option<&Handle>,
        generation: Option<u32>,
        body: Body<'_>,
    ) -> Result<usize, RoomRefusal> {
        let kind = match body {
            Body::Raw { what: What::Offer, .. } => SignalKind::Offer,
            Body::Raw { what: What::Answer, .. } => SignalKind::Answer,
            Body::Raw { what: What::Candidate, .. } => SignalKind::Candidates(1),
            Body::Description { kind: bellwire_signaling::DescriptionKind::Offer, .. } => SignalKind::Offer,
            Body::Description { kind: bellwire_signaling::DescriptionKind::Answer, .. } => SignalKind::Answer,
            Body::Candidates { candidates, .. } => {
                SignalKind::Candidates(u32::try_from(candidates.len()).unwrap_or(u32::MAX))
            }
        };
        let receivers = self.rooms.receivers(from, room, to, kind, generation)?;
        let member = self.rooms.member(room, from).ok_or(RoomRefusal::NotFound)?;
        for (link, generation) in &receivers {
            if let Some(linked) = self.links.get(link)
                && !self.is_crossing(from, *link, kind)
            {
                linked.voice.signal(&Signal { room, from: member, generation: *generation, body });
            }
        }
        Ok(receivers.len())
    }

    /// In a match of an app of the relay system with a native one the native one offers: an offer of the other that
    /// crosses it is not passed on, since that app could not take its own back.
    fn is_crossing(&self, from: LinkId, to: LinkId, kind: SignalKind) -> bool {
        let system = |link| self.links.get(&link).map(|linked| linked.voice.system());
        kind == SignalKind::Offer && system(from) == Some(System::MatchRelay) && system(to) == Some(System::Native)
    }

    fn tell_rooms(&mut self) {
        while let Some(effect) = self.rooms.poll_effect() {
            if let Some(linked) = self.links.get(&effect.to) {
                linked.voice.room(&self.rooms, &effect);
            }
        }
    }

    fn tell(&self, link: LinkId, news: &QueueNews<'_>) {
        if let Some(linked) = self.links.get(&link) {
            linked.voice.queue(news);
        }
    }

    fn tell_place(&self, link: LinkId, place: u32) {
        if let SearchState::Waiting { since, .. } = self.queue.state(link) {
            self.tell(link, &QueueNews::Waiting { place, since });
        }
    }

    fn remember(&mut self, person: &Person, partner: &Person, at: UnixMs) {
        let partners = self.partners.entry(person.user.clone()).or_default();
        while partners.front().is_some_and(|oldest| at.since(oldest.at) > PARTNER_MS) || partners.len() >= PARTNERS {
            partners.pop_front();
        }
        partners.push_back(Partner {
            handle: partner.handle.clone(),
            user: partner.user.clone(),
            guest: partner.guest,
            at,
            reported: false,
        });
    }

    fn forget_partners(&mut self, now: UnixMs) {
        if now.since(self.looked_at) > PARTNERS_LOOK_MS {
            self.looked_at = now;
            self.partners.retain(|_, met| met.back().is_some_and(|newest| now.since(newest.at) <= PARTNER_MS));
        }
    }

    /// The person of this link, and the one whom they met under this handle.
    fn met(&mut self, link: LinkId, partner: &Handle, now: UnixMs) -> Option<(&Person, &mut Partner)> {
        let person = &self.links.get(&link)?.person;
        let partners = self.partners.get_mut(&person.user)?;
        let met = partners.iter_mut().rev().find(|met| met.handle == *partner && now.since(met.at) <= PARTNER_MS)?;
        Some((person, met))
    }

    fn note_totals(&self) {
        let totals = self.rooms.totals();
        metrics::gauge!("bellwire_rooms").set(self.rooms.len() as f64);
        metrics::counter!("bellwire_rooms_opened_total").absolute(totals.opened);
        metrics::counter!("bellwire_rooms_closed_total").absolute(totals.closed);
        metrics::counter!("bellwire_room_joins_total").absolute(totals.joins);
        metrics::counter!("bellwire_signals_relayed_total").absolute(totals.relayed);
        metrics::gauge!("bellwire_matches").set((self.matches.len() / 2) as f64);
        metrics::gauge!("bellwire_searchers").set(self.queue.waiting() as f64);
    }
}

fn plan_of(room: &KeptRoom) -> RoomPlan {
    RoomPlan {
        id: room.id.clone(),
        topic: room.topic.clone(),
        listed: room.people.iter().map(|guest| Guest { user: guest.user.clone(), host: guest.host }).collect(),
        most: limits::ROOM_MEMBERS,
        closes_at: room.closes_at,
    }
}
