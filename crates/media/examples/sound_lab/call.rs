//! One call in virtual time: two parties joined by a network that does the same to both directions, each by its own dice.
//!
//! Left out: the devices beyond their 10 ms, processing, the encryption (its bytes are counted), other traffic.

use crate::party::{Figures, PLAYOUT_LAG, Party, Setup, Wire};
use bellwire_media::RATE;
use bellwire_media::pipeline::Mechanisms;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use xtask::lab::emulator::{Change, Direction, Fate, parse};
use xtask::lab::ways::Way;

/// Seconds of each clip until its scored part begins: both ends have settled by then.
pub const LEAD: f64 = 8.0;
/// Played after the last word, so that it is heard.
const AFTER: f64 = 1.0;

/// What one party heard of the last time the other said its clip.
pub struct Heard {
    pub played: Vec<f32>,
    /// Seconds from the first sample of the clip at the one microphone to the first of `played` at the other speaker.
    pub offset: f64,
    /// The length of a second of the clock of who spoke, and of who heard.
    pub speaker_clock: f64,
    pub listener_clock: f64,
    pub seconds: f64,
    /// Of who heard, and of who spoke, since the scored part began.
    pub listener: Figures,
    pub speaker: Figures,
    /// Packets that the network dropped on the way here, and all, in the whole call.
    pub dropped: u64,
    pub sent: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Changes(usize),
    /// The scored part begins.
    Counts,
    /// A packet, by its place in the list, is at this party.
    Arrives(usize, usize),
    Wakes(usize),
}

pub struct Call<'a> {
    parties: [Party<'a>; 2],
    /// From the party of the same number.
    directions: [Direction; 2],
    changes: Vec<Change>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    serial: u64,
    flying: Vec<Option<Wire>>,
    landed: Vec<usize>,
    random: fastrand::Rng,
    now: Duration,
    begins: f64,
    ends: f64,
}

impl<'a> Call<'a> {
    /// Each says its clip `way.passes` times.
    pub fn new(way: &Way, mechanisms: Mechanisms, seed: u64, voices: [&'a [f32]; 2]) -> crate::Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let clocks = [1.0, 1.0 / (1.0 + way.drift_ppm * 1e-6)];
        let mut party = |who: usize| {
            let (ssrc, phase) = (random.u32(..), random.f64() * 0.01);
            Party::new(Setup { mechanisms, voice: voices[who], ssrc, phase, clock: clocks[who] })
        };
        let parties = [party(0)?, party(1)?];
        let directions = [Direction::new(random.u64(..)), Direction::new(random.u64(..))];
        let clip = voices[0].len() as f64 / f64::from(RATE);
        let begins = clip * f64::from(way.passes - 1);
        let mut call = Self {
            parties,
            directions,
            changes: Vec::new(),
            events: BinaryHeap::new(),
            serial: 0,
            flying: Vec::new(),
            landed: Vec::new(),
            random,
            now: Duration::ZERO,
            begins,
            ends: begins + clip + AFTER,
        };
        for (at, change) in way.changes {
            let at = Duration::from_secs_f64((begins + LEAD + at).max(0.0));
            call.changes.push(parse(change)?);
            call.post(at, Event::Changes(call.changes.len() - 1));
        }
        call.post(Duration::from_secs_f64(begins + LEAD), Event::Counts);
        for who in 0..2 {
            call.wakes_again(who);
        }
        Ok(call)
    }

    /// How long it is, in seconds.
    pub fn length(&self) -> f64 {
        self.ends
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn parties(&mut self) -> &mut [Party<'a>; 2] {
        &mut self.parties
    }

    pub fn run_until(&mut self, end: Duration) {
        while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((now, _, event))) = self.events.pop() else { break };
            self.now = now;
            match event {
                Event::Changes(which) => {
                    for direction in &mut self.directions {
                        let mut conditions = direction.conditions();
                        self.changes[which].apply(&mut conditions);
                        direction.set(conditions);
                    }
                }
                Event::Counts => self.parties.iter_mut().for_each(|party| party.count_from(now)),
                Event::Arrives(who, place) => {
                    self.landed.push(place);
                    if let Some(wire) = self.flying[place].take() {
                        self.parties[who].arrived(now, wire);
                    }
                }
                Event::Wakes(who) => self.wakes(who),
            }
        }
        self.now = end;
    }

    /// What each heard of the other: first what the second party heard of the first.
    pub fn finish(mut self) -> [Heard; 2] {
        self.run_until(Duration::from_secs_f64(self.ends));
        let figures = self.parties.each_mut().map(Party::take_figures);
        [0, 1].map(|from| {
            let (speaker, listener) = (self.parties[from].setup(), self.parties[1 - from].setup());
            let rate = f64::from(RATE);
            let first = ((self.begins / listener.clock) * rate) as usize;
            let starts = listener.phase + PLAYOUT_LAG + first as f64 / rate * listener.clock;
            let spoken = speaker.phase + self.begins * speaker.clock;
            let played = self.parties[1 - from].played.get(first..).unwrap_or_default().to_vec();
            let counts = self.directions[from].counts();
            Heard {
                played,
                offset: starts - spoken,
                speaker_clock: speaker.clock,
                listener_clock: listener.clock,
                seconds: (self.now - figures[from].since).as_secs_f64(),
                listener: figures[1 - from].clone(),
                speaker: figures[from].clone(),
                dropped: counts.dropped,
                sent: counts.carried + counts.dropped,
            }
        })
    }

    fn wakes(&mut self, who: usize) {
        let mut out = Vec::new();
        self.parties[who].wake(self.now, &mut out);
        for wire in out {
            if let Fate::Out(at) = self.directions[who].arrive(self.now, wire.bytes()) {
                let place = self.landed.pop().unwrap_or_else(|| {
                    self.flying.push(None);
                    self.flying.len() - 1
                });
                self.flying[place] = Some(wire);
                self.post(at, Event::Arrives(1 - who, place));
            }
        }
        self.wakes_again(who);
    }

    fn wakes_again(&mut self, who: usize) {
        let at = self.parties[who].next_wake(&mut self.random);
        self.post(at, Event::Wakes(who));
    }

    /// What is due at the same time comes in the order of posting.
    fn post(&mut self, at: Duration, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((at, self.serial, event)));
    }
}
