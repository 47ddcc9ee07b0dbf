//! Random histories of several rooms, beside an account of what everybody was told.
//! `BELLWIRE_FIRST_SEED` and `BELLWIRE_HISTORIES` set which are run.

use super::histories::setting;
use super::world::id;
use crate::fault::{Fault, plant};
use crate::rooms::*;
use bellwire_signaling::{Departure, Handle, RoomId, RoomView, UnixMs, UserId};
use std::collections::{BTreeMap, BTreeSet};

const STEPS: usize = 80;
const LINKS: u64 = 9;
/// In no room, on no list, may open none.
const OUTSIDER: u64 = 100;

struct House {
    rng: fastrand::Rng,
    now: u64,
    rooms: Rooms,
    /// When the planned room closes; from then on its id is any other.
    closes_at: u64,
    ids: Vec<RoomId>,
    /// Who was told that they are in, and the newest view they had.
    inside: BTreeMap<(RoomId, LinkId), RoomView>,
    removed: BTreeSet<(RoomId, UserId)>,
    /// What was said, to be said again.
    said: Vec<Say>,
    met: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug)]
enum Say {
    Enter(u64, RoomId),
    Leave(u64, RoomId),
    Mute(u64, RoomId, bool),
    Lock(u64, RoomId, bool),
    Remove(u64, RoomId, Handle),
    Renew(u64, RoomId, Handle, u32),
    Signal(u64, RoomId, Option<Handle>, SignalKind, Option<u32>),
}

fn user_of(link: u64) -> UserId {
    // Two links of each person, but for the last.
    id(&format!("u{}", link / 2))
}

fn handle_of(link: u64) -> Handle {
    id(&format!("h{}", (link * 7) % 10 + if link == OUTSIDER { 100 } else { 0 }))
}

fn entrant(link: u64) -> Entrant {
    let habit = [Habit::Native, Habit::LowerIdOffers, Habit::NewcomerOffers][(link % 3) as usize];
    Entrant {
        link: LinkId(link),
        user: user_of(link),
        handle: handle_of(link),
        name: String::new(),
        habit,
        may_open: link % 4 != 3 && link != OUTSIDER,
    }
}

impl House {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ids: Vec<RoomId> = ["open", "other", "planned", "pair"].into_iter().map(id).collect();
        let mut rooms = Rooms::new();
        let closes_at = 1_000_000 + rng.u64(20_000..200_000);
        rooms.plan(RoomPlan {
            id: ids[2].clone(),
            topic: "T".into(),
            listed: (0..4).map(|n| Guest { user: id(&format!("u{n}")), host: n == 1 }).collect(),
            most: rng.usize(2..4),
            closes_at: UnixMs(closes_at),
        });
        let (inside, removed, said, met) = Default::default();
        Self { rng, now: 1_000_000, rooms, closes_at, ids, inside, removed, said, met }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += [20, 20, 300, 9_000][self.rng.usize(0..4)];
        let now = UnixMs(self.now);
        if self.rooms.poll_timeout().is_some_and(|at| at <= now) {
            self.rooms.timeout(now);
            self.settle()?;
        }
        let link = self.rng.u64(0..LINKS);
        match self.rng.u8(0..100) {
            0..4 => self.rooms.link_down(LinkId(link), now),
            4..10 => self.rooms.link_up(LinkId(link)),
            10..12 => self.rooms.gone(LinkId(link), Departure::Lost, now),
            12..14 => {
                let (one, other) = (link, (link + 2) % LINKS);
                let pair = self.ids[3].clone();
                // A room of that id that anybody opened is over by this, and who was removed from it is not from this one.
                self.removed.retain(|(room, _)| *room != pair);
                self.rooms.open_pair(pair, entrant(one), entrant(other), now);
            }
            14..16 => {
                let room = self.any_room();
                if room != self.ids[2] || !self.planned() {
                    self.rooms.close(&room, Departure::Closed, now);
                }
            }
            // Said twice, or late.
            16..24 if !self.said.is_empty() => {
                let again = self.said[self.rng.usize(0..self.said.len())].clone();
                self.say(again)?;
            }
            24..28 if self.planned() => self.probe()?,
            _ => {
                let what = self.think(link);
                self.said.push(what.clone());
                self.say(what)?;
            }
        }
        self.settle()?;
        self.check_views()
    }

    fn planned(&self) -> bool {
        self.now < self.closes_at
    }

    fn any_room(&mut self) -> RoomId {
        self.ids[self.rng.usize(0..self.ids.len())].clone()
    }

    /// A command of somebody, sensible or not.
    fn think(&mut self, link: u64) -> Say {
        let mut room = self.any_room();
        let mut other = handle_of(self.rng.u64(0..LINKS));
        // Mostly of a room they are in and of one who is there.
        let own: Vec<_> = self.rooms.rooms_of(LinkId(link)).cloned().collect();
        if !own.is_empty() && self.rng.u8(0..4) > 0 {
            room = own[self.rng.usize(0..own.len())].clone();
        }
        let seen = self.inside.get(&(room.clone(), LinkId(link)));
        if let Some(view) = seen.filter(|view| !view.members.is_empty()) {
            other = view.members[self.rng.usize(0..view.members.len())].member.clone();
        }
        let generation = seen.and_then(|view| view.members.iter().find(|m| m.member == other)).map(|m| m.generation);
        match self.rng.u8(0..20) {
            0..7 => Say::Enter(link, self.any_room()),
            7..9 => Say::Leave(link, room),
            9 => Say::Mute(link, room, self.rng.bool()),
            10 => Say::Lock(link, room, self.rng.u8(0..4) == 0),
            11 => Say::Remove(link, room, other),
            12..14 => Say::Renew(link, room, other, generation.unwrap_or(1)),
            14..17 => Say::Signal(link, room, Some(other), SignalKind::Offer, generation),
            17 => Say::Signal(link, room, Some(other), SignalKind::Candidates(self.rng.u32(1..90)), None),
            _ => Say::Signal(link, room, None, SignalKind::Candidates(1), None),
        }
    }

    fn say(&mut self, what: Say) -> Result<(), String> {
        let now = UnixMs(self.now);
        match what {
            Say::Enter(link, room) => {
                let entered = self.rooms.enter(&room, entrant(link), now);
                self.count(if entered.is_ok() { "entered" } else { "refused" });
            }
            Say::Leave(link, room) => drop(self.rooms.leave(LinkId(link), &room, now)),
            Say::Mute(link, room, muted) => drop(self.rooms.mute(LinkId(link), &room, muted)),
            Say::Lock(link, room, locked) => {
                if self.rooms.lock(LinkId(link), &room, locked).is_ok() {
                    self.count("locked");
                }
            }
            Say::Remove(link, room, member) => {
                let user = self.rooms.members(&room).find(|m| m.handle == member).map(|m| m.user.clone());
                if self.rooms.remove(LinkId(link), &room, &member, now).is_ok() {
                    self.count("removed");
                    self.removed.insert((room, user.ok_or("one was removed who is not there")?));
                }
            }
            Say::Renew(link, room, member, generation) => {
                let shown = |house: &Self| {
                    let view = house.rooms.view(&room, LinkId(link))?;
                    view.members.into_iter().find(|m| m.member == member).map(|m| m.generation)
                };
                let before = shown(self);
                let answer = self.rooms.renew(LinkId(link), &room, &member, generation);
                let expected = before.map(|g| g + u32::from(answer.is_ok() && g == generation));
                if shown(self) != expected {
                    return Err("generation: not raised once for the newest number alone".into());
                }
            }
            Say::Signal(link, room, to, kind, generation) => {
                let from = LinkId(link);
                let answer = self.rooms.receivers(from, &room, to.as_ref(), kind, generation);
                let here = self.inside.contains_key(&(room.clone(), from));
                match answer {
                    Ok(_) if !here => return Err("outsider: a signal of one who is not there was relayed".into()),
                    Ok(receivers) => {
                        self.count("relayed");
                        for (to, _) in receivers {
                            if to == from {
                                return Err("echo: a signal came back to its sender".into());
                            }
                            if !self.inside.contains_key(&(room.clone(), to)) {
                                return Err("outsider: a signal went to one who is not there".into());
                            }
                        }
                    }
                    Err(RoomRefusal::NotFound) if here => return Err("a member was not found".into()),
                    Err(RoomRefusal::NotFound) => {}
                    Err(_) if !here => return Err("tells: one who is not there learned something".into()),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// One without rights asks everything of a room that is there and of one that is not.
    fn probe(&mut self) -> Result<(), String> {
        let (now, link) = (UnixMs(self.now), LinkId(OUTSIDER));
        let (there, nowhere) = (self.ids[2].clone(), id::<RoomId>("nowhere"));
        let member = handle_of(self.rng.u64(0..LINKS));
        let mut ask = |room: &RoomId| {
            let rooms = &mut self.rooms;
            let signal = rooms.receivers(link, room, Some(&member), SignalKind::Offer, None).map(drop);
            [
                rooms.enter(room, entrant(OUTSIDER), now),
                rooms.leave(link, room, now),
                rooms.mute(link, room, true),
                rooms.lock(link, room, true),
                rooms.remove(link, room, &member, now),
                rooms.renew(link, room, &member, 1),
                signal,
            ]
        };
        if ask(&there) == ask(&nowhere) {
            Ok(())
        } else {
            Err("tells: a refusal differs by whether a room exists".into())
        }
    }

    /// Takes what everybody is told.
    fn settle(&mut self) -> Result<(), String> {
        while let Some(RoomEffect { to, room, notice }) = self.rooms.poll_effect() {
            let key = (room.clone(), to);
            match notice {
                Notice::Entered => {
                    if self.removed.contains(&(room.clone(), user_of(to.0))) {
                        return Err("removed: one who was removed is in again".into());
                    }
                    // Several things may have happened at once: who is out again is told so by a later effect.
                    if let Some(view) = self.rooms.view(&room, to) {
                        self.inside.insert(key, view);
                    }
                }
                Notice::Joined(_) | Notice::Departed(..) | Notice::Changed => {
                    if !self.inside.contains_key(&key) {
                        return Err("outsider: one was told of a room who is not there".into());
                    }
                }
                Notice::Over(_) => {
                    if self.inside.remove(&key).is_none() {
                        return Err("over: one was told twice that they are out".into());
                    }
                    self.count("over");
                }
            }
        }
        for room in &self.ids {
            if self.rooms.members(room).next().is_none() && (*room != self.ids[2] || !self.planned()) {
                self.removed.retain(|(of, _)| of != room);
            }
        }
        Ok(())
    }

    fn check_views(&mut self) -> Result<(), String> {
        let mut full = 0;
        for room in &self.ids.clone() {
            let members: Vec<_> = self.rooms.members(room).map(|m| (m.link, m.handle.clone())).collect();
            let told: BTreeSet<_> = self.inside.keys().filter(|(of, _)| of == room).map(|(_, link)| *link).collect();
            if told != members.iter().map(|(link, _)| *link).collect() {
                return Err("over: those told that they are in are not those who are".into());
            }
            full += usize::from(!members.is_empty());
            let mut pairs = BTreeMap::new();
            for (link, handle) in &members {
                let view = self.rooms.view(room, *link).ok_or("a member has no view")?;
                if view.members.len() + 1 != members.len() || view.you != *handle {
                    return Err("views: a member sees another set".into());
                }
                for other in &view.members {
                    let key = (handle.clone().min(other.member.clone()), handle.clone().max(other.member.clone()));
                    let sides: &mut Vec<_> = pairs.entry(key).or_default();
                    sides.push((other.generation, other.offers));
                }
                let seen = self.inside.insert((room.clone(), *link), view.clone());
                if let Some(seen) = seen {
                    let same = RoomView { version: view.version, ..seen.clone() } == view;
                    if view.version < seen.version || (!same && view.version == seen.version) {
                        return Err("version: a view changed and its version did not grow".into());
                    }
                }
            }
            for sides in pairs.values() {
                let [(g1, o1), (g2, o2)] = sides[..] else {
                    return Err("views: one sees another, not seen by them".into());
                };
                if g1 != g2 || o1 == o2 {
                    return Err("views: not one of two offers, in one generation".into());
                }
            }
        }
        // The planned room alone stands empty.
        let empty_plan = self.planned() && self.rooms.members(&self.ids[2]).next().is_none();
        if self.rooms.len() != full + usize::from(empty_plan) {
            return Err("empty: an empty room is still there".into());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        for room in self.ids.clone() {
            self.rooms.close(&room, Departure::Closed, UnixMs(self.now));
        }
        self.settle()?;
        let totals = self.rooms.totals();
        if !self.inside.is_empty() || !self.rooms.is_empty() || self.rooms.poll_timeout().is_some() {
            return Err("over: something is left of rooms that are closed".into());
        }
        let over = self.met.get("over").copied().unwrap_or(0);
        if totals.opened != totals.closed || totals.joins != over {
            return Err("over: not one end for each beginning".into());
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }
}

fn history(seed: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut house = House::new(seed);
    for step in 0..STEPS {
        house.step().map_err(|broken| format!("seed {seed}, step {step}: {broken}"))?;
    }
    house.finish().map_err(|broken| format!("seed {seed}, at the end: {broken}"))?;
    Ok(house.met)
}

#[test]
fn rooms_keep_their_rules_in_random_histories() {
    let default = if cfg!(debug_assertions) { 1_000 } else { 5_000 };
    let (first, count) = (setting("BELLWIRE_FIRST_SEED", 1), setting("BELLWIRE_HISTORIES", default));
    let begun = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let mut met = BTreeMap::new();
    std::thread::scope(|scope| {
        let part = |thread: u64| (first + thread..first + count).step_by(threads as usize).map(history);
        let start = |thread| scope.spawn(move || part(thread).collect::<Result<Vec<_>, _>>());
        let running: Vec<_> = (0..threads).map(start).collect();
        for thread in running {
            let histories = thread.join().expect("a thread of histories").unwrap_or_else(|broken| panic!("{broken}"));
            histories.into_iter().flatten().for_each(|(what, n)| *met.entry(what).or_default() += n);
        }
    });
    println!("{count} room histories in {:.1} s: {met:?}", begun.elapsed().as_secs_f32());
    for what in ["entered", "refused", "locked", "removed", "relayed", "over"] {
        assert!(met.get(what).is_some_and(|n: &u64| *n > count / 10), "too few were {what}");
    }
}

#[test]
fn each_planted_fault_of_rooms_is_noticed() {
    for (fault, kinds) in [
        (Fault::RoomOutsiderHeard, ["outsider", "tells"].as_slice()),
        (Fault::RoomEcho, &["echo"]),
        (Fault::RoomBothOffer, &["views"]),
        (Fault::RoomRenewedTwice, &["generation"]),
        (Fault::RoomVersionStays, &["version"]),
        (Fault::RoomEmptyKept, &["empty"]),
        (Fault::RoomRemovedReturns, &["removed"]),
        (Fault::RoomRefusalTells, &["tells"]),
        (Fault::RoomOverTwice, &["over"]),
    ] {
        plant(Some(fault));
        let broken = (1..4_000).find_map(|seed| history(seed).err());
        plant(None);
        let broken = broken.unwrap_or_else(|| panic!("{fault:?} was not noticed"));
        println!("{fault:?}: {broken}");
        assert!(kinds.iter().any(|kind| broken.contains(kind)), "{fault:?} was noticed as something else: {broken}");
    }
}
