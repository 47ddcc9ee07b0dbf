//! How far playout should stay behind arrival.
//!
//! Each frame's delay is measured against the fastest packets of the last ten seconds, at its first useful arrival, by
//! whichever way it became known. Two histograms keep these delays, one of the last two seconds, which sees at once that
//! something changed, and one of the last eight, which settles; the larger of their optima is the target, where moving it
//! gains enough. The optimum is where a millisecond more of delay costs as much as the frames that it would still save. Two
//! things that shares of frames do not show ask for more: stalls that recur ([`super::stalls`]), and a queue that grows.

use super::stalls::Stalls;
use crate::pipeline::PACKET;
use std::collections::VecDeque;
use std::time::Duration;

const BUCKET_MS: f32 = 2.0;
const BUCKETS: usize = 256;
/// Frames that the quick histogram looks back,
const QUICK: u32 = 100;
/// and the slow one.
const SLOW: u32 = 400;
/// One percent of frames that have to be made up counts as much as so many milliseconds of delay. By PESQ a percent costs
/// 0.05 to 0.1 (docs/sound.md); by ITU-T G.107 these cost nothing below 150 ms in all, so this rather leans to whole sound.
const PERCENT_MS: f32 = 17.0;
/// Beyond so many milliseconds each costs so much more: with devices and network it comes to what a conversation notices.
const LONG_MS: f32 = 50.0;
const MORE: f32 = 0.5;
/// What is merely late comes in rows, of which a listener misses words, and costs nothing but the wait.
const WEIGHT_OF_LATE: f32 = 4.0;
/// What a queue's packets count when it is gone: there were many of them, so that with more of it the delay stays for longer
/// than the queue did.
const LEFT_OF_QUEUE: f32 = 0.1;
/// A packet of 60 ms counts as three.
const LONGEST_PACKETS: i64 = 3;
/// Waiting for what was lost is worth that much; beyond, only for what is merely late.
pub const MOST_FOR_RECOVERY_MS: f32 = 158.0;
/// Beside what the network does, playout is taken from in pieces of 10 ms by a thread that wakes a little late: without this
/// what comes just in time loses its begin (live, at 5 % loss: PESQ 3.4 without it).
const MARGIN_MS: f32 = 5.0;
/// No target is closer: what a packet may be late without any network.
const LEAST_MS: f32 = 2.0;
const MOST_MS: f32 = 400.0;
/// Until enough is known.
const FIRST_MS: f32 = 6.0;
const ENOUGH: u32 = 10;
/// What a change of the target must gain: each costs a change of speed.
const WORTH_MS: f32 = 8.0;
/// And what the quick histogram, to which chance does much, must see to be heard: two frames of a hundred.
const ALARM_MS: f32 = 20.0;
/// When so many packets in a row were late, all are now.
const ALL: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
/// A way that became longer has been so for at least this long when that is known.
const MOMENT: Duration = Duration::from_secs(1);
/// Of the fastest packets one of each piece of the window is kept.
const PIECE: Duration = Duration::from_millis(250);

/// How a frame became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Itself,
    Recovered,
}

pub struct Target {
    ms: f32,
    /// As the slow histogram has it.
    settled: f32,
    /// The quick one has more.
    alarmed: bool,
    fastest: Fastest,
    /// The longest delay of the same window, negative.
    slowest: Fastest,
    quick: Delays,
    slow: Delays,
    /// By how much the fastest became slower, and the histograms were not told yet.
    slower_ms: f32,
    stalls: Stalls,
    /// The delays of the latest packets.
    latest: VecDeque<f32>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            ms: FIRST_MS,
            settled: FIRST_MS,
            alarmed: false,
            fastest: Fastest::default(),
            slowest: Fastest::default(),
            quick: Delays::new(QUICK),
            slow: Delays::new(SLOW),
            slower_ms: 0.0,
            stalls: Stalls::default(),
            latest: VecDeque::new(),
        }
    }
}

impl Target {
    pub fn ms(&self) -> f32 {
        self.ms.max(self.stalls.needed_ms()).max(self.queue_ms()).min(MOST_MS) + MARGIN_MS
    }

    /// What a queue that grows asks for, before any share of frames does; 0 when there is none.
    fn queue_ms(&self) -> f32 {
        let mut delays = self.latest.iter().copied();
        let (Some(first), Some(last)) = (delays.next(), delays.next_back()) else { return 0.0 };
        let (least, most) = delays.fold((first.min(last), first.max(last)), |(a, b), c| (a.min(c), b.max(c)));
        // After a stall as many are late, each less than the one before it.
        if self.latest.len() == ALL && least > self.ms && last >= first { most } else { 0.0 }
    }

    /// The transit, in milliseconds on an arbitrary scale, from which delays count; `None` before the first packet.
    pub fn base(&self) -> Option<f64> {
        self.fastest.base
    }

    /// A packet with sound from `timestamp` on came of itself. Its transit.
    pub fn arrived(&mut self, at: Duration, timestamp: i64) {
        let before = self.fastest.base;
        let base = self.fastest.add(at, transit(at, timestamp));
        self.slower_ms = (self.slower_ms + (base - before.unwrap_or(base)) as f32).max(-BUCKET_MS);
        // Else a way that became longer once would count twice.
        while self.slower_ms >= BUCKET_MS {
            self.slower_ms -= BUCKET_MS;
            self.quick.shift();
            self.slow.shift();
        }
    }

    /// A packet of so many samples came of itself: what a longer one is late by, more sound is late by.
    pub fn came(&mut self, at: Duration, timestamp: i64, samples: i64) {
        if let Some(base) = self.fastest.base {
            let delay = (transit(at, timestamp) - base) as f32;
            self.stalls.came(at, delay, MOST_MS);
            self.latest.push_back(delay);
            if self.latest.len() > ALL {
                self.latest.pop_front();
            }
        }
        for _ in 0..(samples / PACKET as i64).clamp(1, LONGEST_PACKETS) {
            self.known(at, timestamp, Known::Itself, WEIGHT_OF_LATE);
        }
    }

    /// The frame that begins at `timestamp` can be played since `at`. It counts `weight` times.
    pub fn known(&mut self, at: Duration, timestamp: i64, how: Known, weight: f32) {
        let Some(base) = self.fastest.base else { return };
        let delay = (transit(at, timestamp) - base) as f32;
        let delay = match how {
            Known::Itself => Some(delay),
            Known::Recovered => (delay <= MOST_FOR_RECOVERY_MS).then_some(delay),
        };
        // What was lost comes back by chance as it was lost: nothing about the next second follows from it. What is late once
        // in two seconds is no reason for haste either.
        if how == Known::Itself {
            self.quick.enter(delay, 1.0);
        }
        self.slow.enter(delay, weight);
        if self.quick.entered < ENOUGH {
            self.settled = self.settled.max(delay.unwrap_or(0.0).min(MOST_MS));
            self.ms = self.settled;
            return;
        }
        let (best, gain) = self.slow.best(self.settled);
        if gain > WORTH_MS {
            self.settled = best;
        }
        if let Some(delay) = delay {
            // What did not come for as long as the window needs no waiting for, however often it came before.
            let longest = -self.slowest.add(at, -f64::from(delay)) as f32;
            self.settled = self.settled.min(((longest / BUCKET_MS).floor() + 1.0) * BUCKET_MS);
        }
        let (best, gain) = self.quick.best(self.settled);
        self.alarmed = best > self.settled && gain > if self.alarmed { WORTH_MS } else { ALARM_MS };
        self.ms = if self.alarmed { best } else { self.settled }.clamp(LEAST_MS, MOST_MS);
    }

    /// The queue that packets waited in is gone: how late they were counts for less. Not for nothing, as the next queue is
    /// like the last one.
    pub fn forget(&mut self) {
        self.slow.fade(LEFT_OF_QUEUE);
    }

    /// The way became longer some time ago: delays count from the fastest packets of the last moment. Else they would for
    /// ten seconds from those of before.
    pub fn way_is_longer(&mut self, at: Duration) {
        self.fastest.forget_until(at.saturating_sub(MOMENT));
    }

    /// Another stream: its clock is another, the network is the same.
    pub fn restart(&mut self) {
        self.fastest = Fastest::default();
        self.slowest = Fastest::default();
        self.slower_ms = 0.0;
        self.stalls.restart();
        self.latest.clear();
    }
}

/// Milliseconds from a frame's begin by the far side's clock to `at` by ours.
pub fn transit(at: Duration, timestamp: i64) -> f64 {
    at.as_secs_f64() * 1000.0 - timestamp as f64 * 1000.0 / f64::from(crate::RATE)
}

/// The least transit of a window.
#[derive(Default)]
struct Fastest {
    /// When each piece began, and its least.
    pieces: VecDeque<(Duration, f64)>,
    base: Option<f64>,
}

impl Fastest {
    fn add(&mut self, at: Duration, transit: f64) -> f64 {
        match self.pieces.back_mut() {
            Some((begun, least)) if at.saturating_sub(*begun) < PIECE => *least = least.min(transit),
            Some(_) | None => self.pieces.push_back((at, transit)),
        }
        while self.pieces.len() > 1 && self.pieces.front().is_some_and(|(begun, _)| at.saturating_sub(*begun) > WINDOW)
        {
            self.pieces.pop_front();
        }
        let base = self.pieces.iter().map(|(_, least)| *least).fold(f64::INFINITY, f64::min);
        self.base = Some(base);
        base
    }
}

impl Fastest {
    /// Keeps what began later, and one piece at least.
    fn forget_until(&mut self, then: Duration) {
        while self.pieces.len() > 1 && self.pieces.front().is_some_and(|(begun, _)| *begun < then) {
            self.pieces.pop_front();
        }
    }
}

/// Shares of frames by their delay; they forget.
struct Delays {
    shares: [f32; BUCKETS],
    window: u32,
    entered: u32,
}

impl Delays {
    fn new(window: u32) -> Self {
        Self { shares: [0.0; BUCKETS], window, entered: 0 }
    }

    /// One more frame; `None` when no delay would have helped it.
    fn enter(&mut self, delay_ms: Option<f32>, times: f32) {
        self.entered = (self.entered + 1).min(self.window);
        let weight = 1.0 / self.entered as f32;
        self.shares.iter_mut().for_each(|share| *share *= 1.0 - weight);
        if let Some(delay) = delay_ms {
            self.shares[((delay.max(0.0) / BUCKET_MS) as usize).min(BUCKETS - 1)] += weight * times;
        }
    }

    /// What is not among the first counts so much less.
    fn fade(&mut self, to: f32) {
        self.shares.iter_mut().skip(1).for_each(|share| *share *= to);
    }

    fn shift(&mut self) {
        let first = self.shares[0];
        self.shares.rotate_left(1);
        self.shares[BUCKETS - 1] = 0.0;
        self.shares[0] += first;
    }

    /// The delay that costs the least, and by how much less than `other`.
    fn best(&self, other: f32) -> (f32, f32) {
        let (mut beyond, mut best, mut least, mut others) = (0.0, 0.0, f32::INFINITY, f32::INFINITY);
        for (bucket, share) in self.shares.iter().enumerate().rev() {
            let delay = (bucket + 1) as f32 * BUCKET_MS;
            let cost = delay + MORE * (delay - LONG_MS).max(0.0) + beyond * 100.0 * PERCENT_MS;
            if cost < least {
                (best, least) = (delay, cost);
            }
            if delay >= other {
                others = cost;
            }
            beyond += share;
        }
        (best, others - least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The target after each frame that came with these delays.
    fn targets(delays: impl IntoIterator<Item = f32>) -> Vec<f32> {
        let mut target = Target::default();
        let after = |(i, delay): (usize, f32)| {
            let (at, timestamp) = (Duration::from_secs_f32(1.0 + 0.02 * i as f32 + delay / 1000.0), i as i64 * 960);
            target.arrived(at, timestamp);
            target.came(at, timestamp, PACKET as i64);
            target.ms() - MARGIN_MS
        };
        delays.into_iter().enumerate().map(after).collect()
    }

    #[test]
    fn it_rises_within_a_few_frames_and_falls_within_seconds() {
        let late = |i: usize| if (500..600).contains(&i) && i.is_multiple_of(3) { 70.0 } else { 0.0 };
        let targets = targets((0..2500).map(late));
        assert!(targets[499] <= FIRST_MS);
        assert!(targets[540] >= 70.0, "{}", targets[540]);
        assert!(targets[600] >= 70.0 && targets[2400] < 10.0);
    }

    #[test]
    fn one_late_frame_is_not_worth_its_delay() {
        let targets = targets((0..1000).map(|i| if i == 500 { 60.0 } else { 0.0 }));
        assert!(targets[20..].iter().all(|target| *target <= FIRST_MS));
    }

    /// Frames that arrive together after each stall of 300 ms; these begin at such seconds.
    fn with_stalls(seconds: u32, stalls: &[f32]) -> Vec<f32> {
        let late = |i: u32| {
            let sent = 0.02 * i as f32;
            let held = stalls.iter().find(|begins| (**begins..**begins + 0.3).contains(&sent));
            held.map_or(0.0, |begins| (begins + 0.3 - sent) * 1000.0)
        };
        targets((0..seconds * 50).map(late))
    }

    #[test]
    fn stalls_that_recur_are_waited_for_as_long_as_they_do() {
        // Half as much and one and a half times as much as four seconds apart.
        let targets = with_stalls(80, &[10.0, 14.0, 16.0, 22.0, 26.0, 28.0, 34.0, 38.0, 42.0, 48.0]);
        assert!(targets[50 * 13] < 20.0, "{}", targets[50 * 13]);
        assert!(targets[50 * 15..50 * 49].iter().all(|target| (300.0..=330.0).contains(target)));
        assert!(targets[50 * 64..].iter().all(|target| *target < 20.0), "{}", targets[50 * 64]);
    }

    #[test]
    fn a_single_stall_is_not_waited_for_and_nor_are_rare_ones() {
        let targets = with_stalls(60, &[10.0, 25.0, 40.0]);
        for stall in [10, 25, 40] {
            assert!(targets[50 * (stall + 3)..50 * (stall + 15)].iter().all(|target| *target < 20.0));
        }
    }

    #[test]
    fn a_queue_that_grows_is_followed_while_it_does() {
        // Ten milliseconds more with each frame, 35 times.
        let targets = targets((0..1000).map(|i: u32| (i.clamp(500, 535) - 500) as f32 * 10.0));
        for (grown, target) in targets[500..535].iter().enumerate().skip(ALL) {
            assert!(*target >= (grown - (ALL - 1)) as f32 * 10.0, "{grown}: {target}");
        }
    }

    #[test]
    fn a_way_that_becomes_longer_for_good_is_no_jitter() {
        let targets = targets((0..2000).map(|i| if i < 500 { 10.0 } else { 60.0 }));
        assert!(targets[520] >= 50.0);
        // Ten seconds later the longer way is what delays count from.
        assert!(targets[1100..].iter().all(|target| *target < 10.0), "{}", targets[1100]);
    }
}
