//! The queue for the next partner: who waits, who is matched with whom, and who is never to meet again.
//!
//! The server owns one [`MatchQueue`] and feeds it commands, links that come and go, and the time. After each input
//! [`MatchQueue::poll_effect`] is drained. Whoever can be matched is, at once: a newcomer with the one who has waited
//! longest among those they may meet. Two may meet unless they are one person, one blocked the other (for ever), one
//! skipped the other within [`REMATCH_MS`], or one's link is away.
//!
//! ```text
//!            search                      matched
//!  Idle ----------------> Waiting ------------------> Matched
//!   ^                        |                          | |
//!   |  stop, gone            |                          | | skip: the one who skipped waits again,
//!   +------------------------+                          | |       the other is idle
//!   +---------------------------------------------------+-+
//!      leave_match, block, gone: both idle
//! ```
//!
//! A person searches or is matched from one link at a time. What it costs, with n waiting: those who wait and are not
//! away are all at odds with each other, so the search for a partner passes over at most those with whom the searcher is at
//! odds and stops at the next: O(log n + the searcher's blocks and pauses) for search, skip and back. The places of the
//! first [`PLACES_SHOWN`] are compared after each input that moved the queue. [`MatchQueue::state`] of one who waits is
//! O(place). All else is O(log n).
//!
//! Left out: the room of a match, who may search at all, how long blocks are kept (the server stores and restores them).

use crate::fault::{Fault, planted};
use crate::rooms::LinkId;
use bellwire_signaling::{UnixMs, UserId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use thiserror::Error;

/// Two of whom one skipped the other are not matched again for this long.
pub const REMATCH_MS: u64 = 10 * 60_000;
/// A person may search, or skip, once in this time.
pub const SEARCH_EVERY_MS: u64 = 1_000;
/// So many of those who wait are told when their place changes. One further back is told the place at the beginning.
pub const PLACES_SHOWN: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searcher {
    pub link: LinkId,
    pub user: UserId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEffect {
    /// Waits, at this place; counts from 1.
    Waiting { link: LinkId, place: u32 },
    /// `first` came to the queue later; it is the one to make the offer.
    Matched { first: LinkId, second: LinkId },
    /// A match is over; said once for each. `link` ended it (left, skipped, blocked, is gone), `partner` stays behind.
    /// Neither is in it any more.
    Parted { link: LinkId, partner: LinkId, why: PartedWhy },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartedWhy {
    Left,
    Skipped,
    /// The link is gone, or its person searches from another now.
    Gone,
    Blocked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueRefusal {
    #[error("one search a second; again in {retry_after_ms} ms")]
    RateLimited { retry_after_ms: u64 },
    #[error("this person is searching already")]
    AlreadySearching,
    #[error("this person is in a match already")]
    AlreadyMatched,
    #[error("this link is in no match")]
    NotMatched,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchState {
    Idle,
    /// `place` counts from 1.
    Waiting {
        place: u32,
        since: UnixMs,
    },
    Matched {
        partner: LinkId,
        since: UnixMs,
    },
}

/// Where one stands in the queue: who came earlier has the lower number.
type Number = u64;

#[derive(Default)]
pub struct MatchQueue {
    /// Those who wait or are matched.
    seekers: HashMap<LinkId, Seeker>,
    by_user: HashMap<UserId, LinkId>,
    waiting: BTreeMap<Number, LinkId>,
    /// Those of `waiting` whose link is here. After each input no two of them may meet.
    ready: BTreeMap<Number, LinkId>,
    next: Number,
    blocks: HashSet<Two>,
    pauses: HashMap<Two, UnixMs>,
    pause_ends: BTreeSet<(UnixMs, Two)>,
    searched: HashMap<UserId, UnixMs>,
    /// `searched` in the order of time, to be forgotten.
    searches: VecDeque<(UnixMs, UserId)>,
    /// The first [`PLACES_SHOWN`], as they were last told.
    shown: Vec<LinkId>,
    /// `waiting` was changed since.
    moved: bool,
    effects: VecDeque<QueueEffect>,
}

struct Seeker {
    user: UserId,
    away: bool,
    since: UnixMs,
    standing: Standing,
}

#[derive(Clone, Copy)]
enum Standing {
    Waiting(Number),
    /// With this one.
    Matched(LinkId),
}

/// Two people, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Two(UserId, UserId);

impl Two {
    fn new(one: &UserId, other: &UserId) -> Self {
        let (lower, higher) = if one <= other { (one, other) } else { (other, one) };
        Self(lower.clone(), higher.clone())
    }
}

impl MatchQueue {
    pub fn new() -> Self {
        Self::default()
    }

    /// What people blocked before the server started. Ends no match.
    pub fn restore_blocks(&mut self, blocks: Vec<(UserId, UserId)>) {
        self.blocks.extend(blocks.iter().filter(|(one, other)| one != other).map(|(one, other)| Two::new(one, other)));
    }

    // Commands.

    /// Joins the queue, at its end. A search of the same person from another link whose app is away is over by this, as
    /// is a match of that link.
    pub fn search(&mut self, searcher: Searcher, now: UnixMs) -> Result<(), QueueRefusal> {
        self.may_search(&searcher.user, now)?;
        for link in [Some(searcher.link), self.by_user.get(&searcher.user).copied()].into_iter().flatten() {
            let Some(seeker) = self.seekers.get(&link) else { continue };
            match seeker.standing {
                _ if seeker.away && link != searcher.link => self.drop_out(link, PartedWhy::Gone),
                Standing::Waiting(_) => return Err(QueueRefusal::AlreadySearching),
                Standing::Matched(_) => return Err(QueueRefusal::AlreadyMatched),
            }
        }
        self.join(searcher, now);
        self.tell_places();
        Ok(())
    }

    /// Leaves the queue; false for one who did not wait. A match goes on: see [`MatchQueue::leave_match`].
    pub fn stop(&mut self, link: LinkId, now: UnixMs) -> bool {
        let _ = now;
        let waits = self.seekers.get(&link).is_some_and(|seeker| matches!(seeker.standing, Standing::Waiting(_)));
        if waits {
            self.drop_out(link, PartedWhy::Left);
            self.tell_places();
        }
        waits
    }

    /// Leaves the match and joins the queue again, at its end. The partner is idle.
    pub fn skip(&mut self, link: LinkId, now: UnixMs) -> Result<(), QueueRefusal> {
        let (user, partner) = self.match_of(link).ok_or(QueueRefusal::NotMatched)?;
        self.may_search(&user, now)?;
        if let Some(other) = self.seekers.get(&partner)
            && !planted(Fault::QueueForgetsSkip)
        {
            let two = Two::new(&user, &other.user);
            let until = now.plus(REMATCH_MS);
            if let Some(before) = self.pauses.insert(two.clone(), until) {
                self.pause_ends.remove(&(before, two.clone()));
            }
            self.pause_ends.insert((until, two));
        }
        self.drop_out(link, PartedWhy::Skipped);
        self.join(Searcher { link, user }, now);
        self.tell_places();
        Ok(())
    }

    /// Both are idle. Nothing for one who is in no match.
    pub fn leave_match(&mut self, link: LinkId, now: UnixMs) {
        let _ = now;
        if self.match_of(link).is_some() {
            self.drop_out(link, PartedWhy::Left);
        }
    }

    /// These two never meet again; a match of theirs is over, and both are idle.
    pub fn block(&mut self, by: &UserId, other: &UserId, now: UnixMs) {
        let _ = now;
        if by == other {
            return;
        }
        if !planted(Fault::QueueForgetsBlock) {
            self.blocks.insert(Two::new(by, other));
        }
        let link = self.by_user.get(by).copied();
        let matched = link.and_then(|link| Some((link, self.match_of(link)?.1)));
        if let Some((link, partner)) = matched
            && self.seekers.get(&partner).is_some_and(|seeker| seeker.user == *other)
        {
            self.drop_out(link, PartedWhy::Blocked);
        }
    }

    // Links.

    /// The link is lost for now: it keeps its place, or its match, and is matched with nobody.
    pub fn away(&mut self, link: LinkId) {
        let Some(seeker) = self.seekers.get_mut(&link) else { return };
        seeker.away = true;
        if let Standing::Waiting(number) = seeker.standing {
            self.ready.remove(&number);
        }
    }

    pub fn back(&mut self, link: LinkId, now: UnixMs) {
        let Some(seeker) = self.seekers.get_mut(&link).filter(|seeker| seeker.away) else { return };
        seeker.away = false;
        if let Standing::Waiting(number) = seeker.standing {
            self.ready.insert(number, link);
            self.find_partner(link, now);
            self.tell_places();
        }
    }

    /// The link will not come back.
    pub fn gone(&mut self, link: LinkId, now: UnixMs) {
        let _ = now;
        self.drop_out(link, PartedWhy::Gone);
        self.tell_places();
    }

    /// Looks again at those who wait and whose pause has run out, who has waited longest first.
    pub fn timeout(&mut self, now: UnixMs) {
        let mut free = BTreeSet::new();
        while let Some((until, two)) = self.pause_ends.first().cloned()
            && until <= now
        {
            self.pause_ends.pop_first();
            self.pauses.remove(&two);
            let numbers = [&two.0, &two.1].map(|user| self.ready_number(user));
            if let [Some(one), Some(other)] = numbers {
                free.insert(one.min(other));
            }
        }
        if planted(Fault::QueueSleeps) {
            return;
        }
        for number in free {
            if let Some(link) = self.ready.get(&number).copied() {
                self.find_partner(link, now);
            }
        }
        self.tell_places();
    }

    /// The end of the next pause.
    pub fn poll_timeout(&self) -> Option<UnixMs> {
        self.pause_ends.first().map(|(until, _)| *until)
    }

    pub fn poll_effect(&mut self) -> Option<QueueEffect> {
        self.effects.pop_front()
    }

    // What is known.

    pub fn state(&self, link: LinkId) -> SearchState {
        let Some(seeker) = self.seekers.get(&link) else { return SearchState::Idle };
        match seeker.standing {
            Standing::Waiting(number) => {
                SearchState::Waiting { place: self.waiting.range(..=number).count() as u32, since: seeker.since }
            }
            Standing::Matched(partner) => SearchState::Matched { partner, since: seeker.since },
        }
    }

    /// Whom this link searches or is matched for.
    pub fn user(&self, link: LinkId) -> Option<&UserId> {
        self.seekers.get(&link).map(|seeker| &seeker.user)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Matches that go on.
    pub fn matches(&self) -> usize {
        (self.seekers.len() - self.waiting.len()) / 2
    }

    // Below: how it is done.

    fn may_search(&mut self, user: &UserId, now: UnixMs) -> Result<(), QueueRefusal> {
        while let Some((at, user)) = self.searches.front()
            && now.since(*at) >= SEARCH_EVERY_MS
        {
            if self.searched.get(user) == Some(at) {
                self.searched.remove(user);
            }
            self.searches.pop_front();
        }
        if let Some(at) = self.searched.get(user) {
            let retry_after_ms = SEARCH_EVERY_MS.saturating_sub(now.since(*at)).max(1);
            return Err(QueueRefusal::RateLimited { retry_after_ms });
        }
        self.searched.insert(user.clone(), now);
        self.searches.push_back((now, user.clone()));
        Ok(())
    }

    /// The person of this link and the link of their partner.
    fn match_of(&self, link: LinkId) -> Option<(UserId, LinkId)> {
        let seeker = self.seekers.get(&link)?;
        match seeker.standing {
            Standing::Matched(partner) => Some((seeker.user.clone(), partner)),
            Standing::Waiting(_) => None,
        }
    }

    fn join(&mut self, searcher: Searcher, now: UnixMs) {
        let Searcher { link, user } = searcher;
        let number = self.next;
        self.next += 1;
        self.by_user.insert(user.clone(), link);
        let standing = Standing::Waiting(number);
        self.seekers.insert(link, Seeker { user, away: false, since: now, standing });
        self.waiting.insert(number, link);
        self.ready.insert(number, link);
        self.moved = true;
        let matched = self.find_partner(link, now);
        if !matched && self.waiting.len() > PLACES_SHOWN {
            self.effects.push_back(QueueEffect::Waiting { link, place: self.waiting.len() as u32 });
        }
    }

    /// Matches one who waits with the first of the ready whom they may meet.
    fn find_partner(&mut self, link: LinkId, now: UnixMs) -> bool {
        let Some(seeker) = self.seekers.get(&link) else { return false };
        let Standing::Waiting(number) = seeker.standing else { return false };
        let meets =
            |other: &LinkId| self.seekers.get(other).is_some_and(|other| self.may_meet(&seeker.user, &other.user));
        let found = if planted(Fault::QueueNewestFirst) {
            self.ready.iter().rev().find(|(_, other)| meets(other))
        } else if planted(Fault::QueueMatchesAway) {
            self.waiting.iter().find(|(_, other)| meets(other))
        } else {
            self.ready.iter().find(|(_, other)| meets(other))
        };
        let Some((other_number, other)) = found.map(|(number, link)| (*number, *link)) else { return false };
        let (first, second) = if number > other_number { (link, other) } else { (other, link) };
        self.pair(link, other, number, now);
        self.pair(other, link, other_number, now);
        self.effects.push_back(QueueEffect::Matched { first, second });
        true
    }

    /// One half of a match.
    fn pair(&mut self, link: LinkId, partner: LinkId, number: Number, now: UnixMs) {
        let Some(seeker) = self.seekers.get_mut(&link) else { return };
        if planted(Fault::QueueOneSided) && number.is_multiple_of(16) {
            return;
        }
        seeker.standing = Standing::Matched(partner);
        seeker.since = now;
        if planted(Fault::QueueTwice) && number.is_multiple_of(16) {
            return;
        }
        self.waiting.remove(&number);
        self.ready.remove(&number);
        self.moved = true;
    }

    fn may_meet(&self, one: &UserId, other: &UserId) -> bool {
        let two = Two::new(one, other);
        one != other && !self.blocks.contains(&two) && !self.pauses.contains_key(&two)
    }

    fn ready_number(&self, user: &UserId) -> Option<Number> {
        let seeker = self.seekers.get(self.by_user.get(user)?)?;
        match seeker.standing {
            Standing::Waiting(number) => self.ready.contains_key(&number).then_some(number),
            Standing::Matched(_) => None,
        }
    }

    /// This link is idle; so is its partner, if it has one.
    fn drop_out(&mut self, link: LinkId, why: PartedWhy) {
        let Some(standing) = self.forget(link) else { return };
        match standing {
            Standing::Waiting(_) => {}
            Standing::Matched(partner) => {
                self.forget(partner);
                self.effects.push_back(QueueEffect::Parted { link, partner, why });
            }
        }
    }

    fn forget(&mut self, link: LinkId) -> Option<Standing> {
        let seeker = self.seekers.remove(&link)?;
        if self.by_user.get(&seeker.user) == Some(&link) {
            self.by_user.remove(&seeker.user);
        }
        if let Standing::Waiting(number) = seeker.standing {
            self.waiting.remove(&number);
            self.ready.remove(&number);
            self.moved = true;
        }
        Some(seeker.standing)
    }

    /// Tells the first of those who wait where they stand now, if that is new for them.
    fn tell_places(&mut self) {
        if !std::mem::take(&mut self.moved) {
            return;
        }
        let first: Vec<_> = self.waiting.values().take(PLACES_SHOWN).copied().collect();
        for (n, link) in first.iter().enumerate() {
            if self.shown.get(n) != Some(link) {
                self.effects.push_back(QueueEffect::Waiting { link: *link, place: n as u32 + 1 });
            }
        }
        self.shown = first;
    }
}

#[cfg(test)]
mod tests;
