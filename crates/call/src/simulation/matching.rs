//! Ten thousand people in the queue for the next partner, in virtual time, beside a slow and simple account of who may
//! meet whom. `BELLWIRE_FIRST_SEED` sets the seed, `BELLWIRE_STEPS` how much happens.

use super::histories::setting;
use super::world::id;
use crate::fault::{Fault, plant};
use crate::matching::{MatchQueue, QueueEffect, REMATCH_MS, SearchState, Searcher};
use crate::rooms::LinkId;
use bellwire_signaling::{UnixMs, UserId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

const PEOPLE: usize = 10_000;
/// These blocked each other, all of them: so several wait at once, and a newcomer has a choice.
const AT_ODDS: usize = 40;
/// In a crowd of this size the same people meet again and again, so pauses matter.
const SMALL: usize = 46;

#[derive(Default, Debug)]
struct Figures {
    matches: u64,
    skips: u64,
    blocks: u64,
    most_waiting: usize,
    longest_wait_ms: u64,
    /// While somebody waited whom they could meet.
    longest_needless_wait_ms: u64,
}

struct Person {
    user: UserId,
    link: LinkId,
    away: bool,
    partner: Option<usize>,
    /// Waiting since then, with this number in the queue.
    waits: Option<(u64, u64)>,
}

struct Crowd {
    rng: fastrand::Rng,
    now: u64,
    queue: MatchQueue,
    people: Vec<Person>,
    by_link: HashMap<LinkId, usize>,
    waiting: BTreeMap<u64, usize>,
    blocks: HashSet<(usize, usize)>,
    skipped: HashMap<(usize, usize), u64>,
    number: u64,
    links: u64,
    figures: Figures,
}

fn two(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

impl Crowd {
    fn new(seed: u64, size: usize) -> Self {
        let person = |n: usize| Person {
            user: id(&format!("u{n}")),
            link: LinkId(n as u64),
            away: false,
            partner: None,
            waits: None,
        };
        let people: Vec<_> = (0..size).map(person).collect();
        let at_odds = |one| (one + 1..AT_ODDS).map(move |other| (one, other));
        let blocks: HashSet<_> = (0..AT_ODDS).flat_map(at_odds).collect();
        let mut queue = MatchQueue::new();
        let users = |(one, other): &(usize, usize)| (people[*one].user.clone(), people[*other].user.clone());
        queue.restore_blocks(blocks.iter().map(users).collect());
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now: 1_000_000,
            queue,
            by_link: (0..size).map(|n| (LinkId(n as u64), n)).collect(),
            people,
            waiting: BTreeMap::new(),
            blocks,
            skipped: HashMap::new(),
            number: 0,
            links: size as u64,
            figures: Figures::default(),
        }
    }

    fn may_meet(&self, one: usize, other: usize) -> bool {
        let skipped = self.skipped.get(&two(one, other)).is_some_and(|at| self.now < at + REMATCH_MS);
        one != other && !self.blocks.contains(&two(one, other)) && !skipped
    }

    /// All search while nobody's link holds, then come back, in any order.
    fn storm(&mut self) -> Result<(), String> {
        let mut order: Vec<_> = (0..self.people.len()).collect();
        self.rng.shuffle(&mut order);
        for who in order.iter().copied() {
            let (link, user) = (self.people[who].link, self.people[who].user.clone());
            self.queue.search(Searcher { link, user }, UnixMs(self.now)).map_err(|refusal| refusal.to_string())?;
            self.joins(who);
            self.drain(Some(who))?;
            self.people[who].away = true;
            self.queue.away(link);
        }
        self.quiet()?;
        self.rng.shuffle(&mut order);
        for who in order {
            self.now += 1;
            self.people[who].away = false;
            self.queue.back(self.people[who].link, UnixMs(self.now));
            self.drain(Some(who))?;
        }
        self.quiet()
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += self.rng.u64(0..60);
        if self.rng.u16(..) < 40 {
            self.now += self.rng.u64(0..REMATCH_MS / 8);
        }
        let now = UnixMs(self.now);
        if self.queue.poll_timeout().is_some_and(|at| at <= now) {
            self.queue.timeout(now);
            self.drain(None)?;
        }
        // Those at odds act more often, so that they keep a part of the queue.
        let who =
            if self.rng.u8(0..4) == 0 { self.rng.usize(0..AT_ODDS) } else { self.rng.usize(0..self.people.len()) };
        let link = self.people[who].link;
        let partner = self.people[who].partner;
        match self.rng.u8(0..100) {
            0..50 => {
                let searcher = Searcher { link, user: self.people[who].user.clone() };
                if self.queue.search(searcher, now).is_ok() {
                    self.joins(who);
                }
            }
            50..70 => {
                if self.queue.skip(link, now).is_ok() {
                    let partner = partner.ok_or("a skip of no match was taken")?;
                    self.skipped.insert(two(who, partner), self.now);
                    self.figures.skips += 1;
                    self.part(who);
                    self.joins(who);
                }
            }
            70..74 => self.queue.leave_match(link, now),
            74..78 => {
                if self.queue.stop(link, now) {
                    self.stops(who);
                }
            }
            78..80 => {
                let other = partner.unwrap_or_else(|| self.rng.usize(0..self.people.len()));
                let (by, of) = if self.rng.bool() { (who, other) } else { (other, who) };
                if by != of {
                    self.blocks.insert(two(by, of));
                    self.figures.blocks += 1;
                    self.queue.block(&self.people[by].user, &self.people[of].user, now);
                }
            }
            80..86 => {
                self.people[who].away = true;
                self.queue.away(link);
            }
            86..96 => {
                self.people[who].away = false;
                self.queue.back(link, now);
            }
            _ => {
                self.queue.gone(link, now);
                self.stops(who);
                self.by_link.remove(&link);
                self.people[who].link = LinkId(self.links);
                self.people[who].away = false;
                self.by_link.insert(LinkId(self.links), who);
                self.links += 1;
                return self.drain_of(Some((who, link)), None);
            }
        }
        self.drain(Some(who))
    }

    fn joins(&mut self, who: usize) {
        self.stops(who);
        self.people[who].away = false;
        self.number += 1;
        self.people[who].waits = Some((self.now, self.number));
        self.waiting.insert(self.number, who);
    }

    fn stops(&mut self, who: usize) {
        if let Some((_, number)) = self.people[who].waits.take() {
            self.waiting.remove(&number);
        }
    }

    fn part(&mut self, who: usize) -> Option<usize> {
        let partner = self.people[who].partner.take()?;
        self.people[partner].partner = None;
        Some(partner)
    }

    fn drain(&mut self, by: Option<usize>) -> Result<(), String> {
        self.drain_of(None, by)
    }

    /// `gone`: a person whose link was that one until now. `by`: who acted.
    fn drain_of(&mut self, gone: Option<(usize, LinkId)>, by: Option<usize>) -> Result<(), String> {
        let find = |crowd: &Self, link: LinkId| match gone {
            Some((who, old)) if old == link => Ok(who),
            Some(_) | None => crowd.by_link.get(&link).copied().ok_or("told of a link that is gone".to_owned()),
        };
        while let Some(effect) = self.queue.poll_effect() {
            match effect {
                QueueEffect::Waiting { link, place } => {
                    let who = find(self, link)?;
                    if self.people[who].waits.is_none() || place == 0 {
                        return Err("a place of one who does not wait".into());
                    }
                }
                QueueEffect::Matched { first, second } => {
                    let (one, other) = (find(self, first)?, find(self, second)?);
                    self.matched(one, other, by)?;
                }
                QueueEffect::Parted { link, partner, .. } => {
                    let (one, other) = (find(self, link)?, find(self, partner)?);
                    // A skip was accounted for when it was taken.
                    if self.people[one].partner == Some(other) {
                        self.part(one);
                    }
                }
            }
        }
        Ok(())
    }

    fn matched(&mut self, first: usize, second: usize, by: Option<usize>) -> Result<(), String> {
        let [one, other] = [first, second].map(|who| &self.people[who]);
        if one.partner.is_some() || other.partner.is_some() {
            return Err("twice: one was matched who is in a match".into());
        }
        let (Some((since_one, n_one)), Some((since_other, n_other))) = (one.waits, other.waits) else {
            return Err("twice: one was matched who does not wait".into());
        };
        if one.away || other.away {
            return Err("away: one was matched whose link is away".into());
        }
        if self.blocks.contains(&two(first, second)) {
            return Err("block: two were matched who blocked".into());
        }
        if !self.may_meet(first, second) {
            return Err("skip: two were matched again too soon".into());
        }
        if n_one < n_other {
            return Err("order: the first of a match is not the newer".into());
        }
        let partners = [(one.link, other.link), (other.link, one.link)];
        for (link, partner) in partners {
            if !matches!(self.queue.state(link), SearchState::Matched { partner: p, .. } if p == partner) {
                return Err("symmetry: a match is one-sided".into());
            }
        }
        if let Some(by) = by.filter(|by| *by == first || *by == second) {
            let partner = if by == first { second } else { first };
            let oldest = self.waiting.values().find(|who| !self.people[**who].away && self.may_meet(by, **who));
            if oldest != Some(&partner) {
                return Err("fairness: one who has waited longer was passed over".into());
            }
        }
        let waited = self.now - since_one.min(since_other);
        self.figures.longest_wait_ms = self.figures.longest_wait_ms.max(waited);
        self.figures.matches += 1;
        self.stops(first);
        self.stops(second);
        self.people[first].partner = Some(second);
        self.people[second].partner = Some(first);
        Ok(())
    }

    /// Everyone who can be matched is, and both accounts agree.
    fn quiet(&mut self) -> Result<(), String> {
        self.figures.most_waiting = self.figures.most_waiting.max(self.waiting.len());
        if self.queue.waiting() != self.waiting.len() {
            return Err("twice: the queue holds others than those who wait".into());
        }
        let here: Vec<_> = self.waiting.values().copied().filter(|who| !self.people[*who].away).collect();
        for (n, one) in here.iter().enumerate() {
            for other in &here[n + 1..] {
                if self.may_meet(*one, *other) {
                    let since = [one, other].map(|who| self.people[*who].waits.map_or(self.now, |(since, _)| since));
                    let wait = self.now - since[0].max(since[1]);
                    self.figures.longest_needless_wait_ms = self.figures.longest_needless_wait_ms.max(wait);
                    return Err(format!("starved: two wait who may meet, for {wait} ms"));
                }
            }
        }
        Ok(())
    }
}

fn run(seed: u64, size: usize, steps: u64, fault: Option<Fault>) -> Result<Figures, String> {
    plant(fault);
    let mut crowd = Crowd::new(seed, size);
    let mut all = || {
        crowd.storm().map_err(|broken| format!("seed {seed}, storm: {broken}"))?;
        for step in 0..steps {
            crowd.step().map_err(|broken| format!("seed {seed}, step {step}: {broken}"))?;
            if step % 64 == 0 {
                crowd.quiet().map_err(|broken| format!("seed {seed}, step {step}: {broken}"))?;
            }
        }
        Ok(())
    };
    let result = all();
    plant(None);
    result.map(|()| crowd.figures)
}

#[test]
fn ten_thousand_searchers_are_matched_once_fairly_and_all_who_can_be() {
    let steps = setting("BELLWIRE_STEPS", if cfg!(debug_assertions) { 100_000 } else { 1_000_000 });
    let begun = std::time::Instant::now();
    let figures =
        run(setting("BELLWIRE_FIRST_SEED", 1), PEOPLE, steps, None).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{PEOPLE} people, {steps} steps in {:.1} s: {figures:?}", begun.elapsed().as_secs_f32());
    assert!(figures.matches > steps / 10 && figures.skips > 0 && figures.blocks > 0 && figures.most_waiting == PEOPLE);
}

#[test]
fn in_small_crowds_nobody_waits_beside_one_they_may_meet() {
    let first = setting("BELLWIRE_FIRST_SEED", 1);
    for seed in first..first + if cfg!(debug_assertions) { 20 } else { 300 } {
        let figures = run(seed, SMALL, 5_000, None).unwrap_or_else(|broken| panic!("{broken}"));
        assert!(figures.matches > 100 && figures.skips > 10, "seed {seed}: {figures:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_matches() {
    let [one, other] = [(); 2].map(|()| format!("{:?}", run(7, PEOPLE, 5_000, None)));
    assert_eq!(one, other);
}

#[test]
fn each_planted_fault_of_the_queue_is_noticed() {
    let mut seen = BTreeSet::new();
    for (fault, kinds) in [
        (Fault::QueueTwice, ["twice"].as_slice()),
        (Fault::QueueOneSided, &["symmetry"]),
        (Fault::QueueForgetsBlock, &["block"]),
        (Fault::QueueForgetsSkip, &["skip"]),
        (Fault::QueueMatchesAway, &["away", "fairness"]),
        (Fault::QueueSleeps, &["starved"]),
        (Fault::QueueNewestFirst, &["fairness"]),
    ] {
        let broken = (1..20).find_map(|seed| run(seed, SMALL, 20_000, Some(fault)).err());
        let broken = broken.unwrap_or_else(|| panic!("{fault:?} was not noticed"));
        println!("{fault:?}: {broken}");
        assert!(kinds.iter().any(|kind| broken.contains(kind)), "{fault:?} was noticed as something else: {broken}");
        seen.insert(format!("{fault:?}"));
    }
    assert_eq!(seen.len(), 7);
}
