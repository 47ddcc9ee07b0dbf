//! The receiver's estimate of what a way carries, from how packets arrive on it.
//!
//! A link that is given more than it carries lets packets wait. How long each of them was under way is known but for a
//! constant: its arrival less the moment its last sample was captured. What this lies above its lowest of late is the queue;
//! what arrives while there is one is what the link carries (in the manner of draft-ietf-rmcat-gcc, whose filters are made
//! for video: here are 17 to 50 packets a second). [`Congestion::arrived`] takes every packet, those that were sent again
//! included; [`Congestion::bandwidth`] says what to send: less than the link carries until its queue is gone, then carefully
//! more. It knows nothing of loss: a bad radio link loses packets without being full.

use std::collections::VecDeque;
use std::time::Duration;

/// What a way carries, by how packets arrive on it.
#[derive(Default)]
pub struct Congestion {
    /// Those of the last [`WINDOW`], in the order of their arrival.
    seen: VecDeque<Seen>,
    newest: Option<Newest>,
    lowest: Lowest,
    state: State,
    judged: Duration,
    /// A queue went away since that was asked last.
    drained: bool,
    /// The way became longer since that was asked last.
    longer: bool,
}

/// The packet that ends last.
#[derive(Clone, Copy)]
struct Newest {
    /// Its end, and how many samples after the first's that is.
    end: u32,
    samples: i64,
    /// When the first came.
    began: Duration,
}

struct Seen {
    at: Duration,
    bytes: usize,
    /// How long it was under way but for a constant, in milliseconds; `None` when it was sent again.
    delay: Option<f32>,
}

impl Seen {
    fn low(&self) -> Option<Low> {
        self.delay.map(|delay| Low { delay, bytes: self.bytes as f32 })
    }
}

/// A delay in milliseconds, and the size of what took it.
#[derive(Clone, Copy)]
struct Low {
    delay: f32,
    bytes: f32,
}

impl Low {
    /// Without what a link of so many bits a second takes to carry it: large packets take longer than small ones and are no
    /// queue.
    fn waited(&self, carries: f32) -> f32 {
        self.delay - self.bytes * 8000.0 / carries
    }
}

/// About what something has been since then.
#[derive(Clone, Copy)]
struct Level {
    ms: f32,
    since: Duration,
}

impl Level {
    fn note(self, at: Duration, ms: f32, within: f32) -> Self {
        if (ms - self.ms).abs() < within { self } else { Self { ms, since: at } }
    }
}

#[derive(Clone, Copy, Default)]
enum State {
    /// No limit was met.
    #[default]
    Open,
    Drain(Drain),
    /// The way carries at least `bandwidth`, as of `at`; more than `capacity` it did not carry when it was last tried. Where
    /// that is not known it is infinite.
    Probe {
        at: Duration,
        bandwidth: f32,
        capacity: f32,
    },
}

/// A queue that is to go away.
#[derive(Clone, Copy)]
struct Drain {
    since: Duration,
    /// The queue, and how long packets were under way, at first, in milliseconds,
    first: f32,
    first_whole: f32,
    /// and the queue now.
    queue: f32,
    /// The longest it has been, since then.
    longest: Level,
    /// Since when it has been the same, and since when packets of whatever size have been under way as long.
    level: [Level; 2],
    capacity: f32,
    /// What was sent before; `None` without a limit.
    before: Option<f32>,
}

/// So many samples from the packet before begin another stream, with which nothing compares.
const ANOTHER: i64 = 60 * crate::RATE as i64;
/// Long enough to hold some packets that jitter did not delay, and to outlive a spike of 300 ms; short enough to see a queue
/// within a second.
const WINDOW: Duration = Duration::from_millis(500);
/// Fewer packets in a window say nothing, as in a pause; at 60 ms with a third of them lost there are five.
const FEWEST: usize = 4;
/// A queue is one from here, in milliseconds, on a way without jitter,
const QUEUE: f32 = 15.0;
/// and by so many times the jitter later.
const QUEUE_OF_JITTER: f32 = 1.2;
/// A packet that took so many milliseconds longer than the fastest stood behind another.
const WAITED: f32 = 8.0;
/// The queue is gone when this is left of what made it one.
const GONE: f32 = 0.5;
/// What is left to send while a queue goes away: it takes about a second, whatever its length,
const DRAIN_MOST: f32 = 0.5;
const DRAIN_LEAST: f32 = 0.85;
/// A queue that stays the same for so long, though less is sent, is none: the way has become longer, or a narrower link takes
/// longer for each packet.
const SETTLED_AFTER: Duration = Duration::from_millis(1500);
/// No queue takes longer to go away than one of so many milliseconds.
const LONGEST: f32 = 2000.0;
/// The same within this part of what makes a queue one.
const SAME: f32 = 0.25;
/// What was a queue leaves no more than this of itself, or shortens the time under way by the rest. Else the way is longer:
/// jitter and longer packets alone make a queue of which nothing goes away seem shorter.
const REST: f32 = 0.3;
/// When so little came for so long, nothing waits any more.
const PAUSE: Duration = Duration::from_secs(2);
/// After the queue is gone: no more than the link carries, so that none comes back.
const BACK_TO: f32 = 0.93;
/// A second's growth below and about what the link did not carry when it was last tried,
const CAREFUL: f32 = 0.015;
/// and above, or where nothing is known.
const GROWTH: f32 = 0.08;
/// So far above what was carried it seems to hold no more; a queue of so little takes a second to be seen,
const BEYOND: f32 = 1.04;
/// but so far above it would have been.
const FAR_BEYOND: f32 = 1.15;
/// What does not arrive proves nothing: the estimate does not grow past so much of it.
const PROVEN: f32 = 1.5;
/// Nobody sends more than 128 kbit/s of original sound with its headers and some copies: no limit.
const UNLIMITED: f32 = 240_000.0;
/// No estimate falls below what the narrowest sound takes: 10 kbit/s in packets of 60 ms.
const LEAST: f32 = 16_000.0;

impl Congestion {
    /// A packet of so many bytes, headers included, came at `at`. `timestamp` is that of its RTP header, and it plays
    /// `samples` from there.
    pub fn arrived(&mut self, at: Duration, timestamp: u32, samples: u32, bytes_on_the_wire: usize) {
        let end = timestamp.wrapping_add(samples);
        let mut newest = self.newest.unwrap_or(Newest { end, samples: 0, began: at });
        let mut ahead = i64::from(end.wrapping_sub(newest.end) as i32);
        if ahead.abs() > ANOTHER {
            *self = Self { state: self.state, ..Self::default() };
            (newest, ahead) = (Newest { end, samples: 0, began: at }, 0);
        }
        let delay = (ahead >= 0).then(|| {
            newest = Newest { end, samples: newest.samples + ahead, ..newest };
            self.newest = Some(newest);
            let passed = at.saturating_sub(newest.began).as_secs_f64();
            ((passed - newest.samples as f64 / f64::from(crate::RATE)) * 1000.0) as f32
        });
        while self.seen.front().is_some_and(|seen| seen.at + WINDOW < at) {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at, bytes: bytes_on_the_wire, delay });
        if let Some((low, jitter)) = self.low_and_jitter() {
            let carries = self.carries();
            let lowest = self.lowest.note(at, low, carries);
            self.judge(at, low.delay, low.waited(carries) - lowest, QUEUE + QUEUE_OF_JITTER * jitter, lowest);
        }
    }

    /// Whether a queue went away since the last call: what waited in it says nothing about what comes.
    pub fn take_drained(&mut self) -> bool {
        std::mem::take(&mut self.drained)
    }

    /// Whether the way became longer since the last call: what seemed to be a queue did not go away though less was sent.
    pub fn take_longer(&mut self) -> bool {
        std::mem::take(&mut self.longer)
    }

    /// Bits a second of whole packets that should be sent; `None` while no limit was met.
    pub fn bandwidth(&mut self, now: Duration) -> Option<u32> {
        let bandwidth = match self.state {
            State::Open => return None,
            State::Drain(drain) if now > self.judged + PAUSE => drain.capacity * BACK_TO,
            State::Drain(drain) => drain.bandwidth(),
            State::Probe { bandwidth, .. } => bandwidth,
        };
        Some(bandwidth.max(LEAST) as u32)
    }

    /// Those packets of the window that jitter delayed least, as one, and how much two that follow each other differ, in
    /// milliseconds.
    fn low_and_jitter(&self) -> Option<(Low, f32)> {
        let carries = self.carries();
        let mut lows: Vec<Low> = self.seen.iter().filter_map(Seen::low).collect();
        if lows.len() < FEWEST {
            return None;
        }
        let differ = |pair: &[Low]| (pair[1].waited(carries) - pair[0].waited(carries)).abs();
        let jitter = lows.windows(2).map(differ).sum::<f32>() / (lows.len() - 1) as f32;
        lows.sort_by(|a, b| a.waited(carries).total_cmp(&b.waited(carries)));
        let least = &lows[..lows.len() / 4];
        let mean = |of: fn(&Low) -> f32| least.iter().map(of).sum::<f32>() / least.len() as f32;
        Some((Low { delay: mean(|low| low.delay), bytes: mean(|low| low.bytes) }, jitter))
    }

    /// Bits a second that the narrowest link on the way is taken to carry.
    fn carries(&self) -> f32 {
        match self.state {
            State::Open => f32::INFINITY,
            State::Drain(drain) => drain.capacity,
            // Nothing is taken off for a link of which nothing is known: small packets would seem to wait.
            State::Probe { bandwidth, capacity, .. } => bandwidth.max(capacity),
        }
    }

    /// Bits a second that arrive.
    fn arriving(&self) -> f32 {
        let (Some(first), Some(last)) = (self.seen.front(), self.seen.back()) else { return 0.0 };
        let seconds = (last.at - first.at).as_secs_f32();
        let bytes: usize = self.seen.iter().skip(1).map(|seen| seen.bytes).sum();
        if seconds < WINDOW.as_secs_f32() / 2.0 { 0.0 } else { bytes as f32 * 8.0 / seconds }
    }

    /// Bits a second that the link carries: packets that waited come as fast as it can, the others as they were sent. `None`
    /// where few waited.
    fn carried(&self, lowest: f32) -> Option<f32> {
        let carries = self.carries();
        let (mut bytes, mut seconds) = (0, 0.0);
        for (before, seen) in self.seen.iter().zip(self.seen.iter().skip(1)) {
            if seen.low().is_none_or(|low| low.waited(carries) > lowest + WAITED) {
                bytes += seen.bytes;
                seconds += (seen.at - before.at).as_secs_f32();
            }
        }
        (seconds > WINDOW.as_secs_f32() / 4.0).then(|| bytes as f32 * 8.0 / seconds)
    }

    fn judge(&mut self, at: Duration, whole: f32, queue: f32, limit: f32, lowest: f32) {
        let arriving = self.arriving();
        let carried = self.carried(lowest);
        let found = carried.unwrap_or(arriving);
        if arriving == 0.0 {
            return;
        }
        self.judged = at;
        self.state = match self.state {
            State::Open if queue > limit => State::Drain(Drain::new(at, queue, whole, found, None)),
            State::Open => State::Open,
            State::Probe { bandwidth, .. } if queue > limit => {
                State::Drain(Drain::new(at, queue, whole, arriving, Some(bandwidth)))
            }
            State::Drain(drain) if queue < limit * GONE && drain.shrank(queue, whole) => {
                self.drained = true;
                drain.gone(at)
            }
            State::Drain(drain) if queue < limit * GONE || drain.settled(at) => {
                self.lowest.forget();
                self.longer = !drain.shrank(queue, whole);
                if drain.shrank(queue, whole) { drain.gone(at) } else { drain.was_none(at) }
            }
            State::Drain(drain) => {
                // Of a short queue it is not sure that anything still waits in it.
                State::Drain(drain.note(at, queue, whole, limit * SAME, carried.filter(|_| queue > limit)))
            }
            State::Probe { at: before, bandwidth, capacity } => {
                let known = capacity.is_finite();
                let near = known && bandwidth / capacity < BEYOND;
                let above = known && !near && bandwidth / capacity < FAR_BEYOND;
                let growth = match (near, above) {
                    (true, _) => CAREFUL,
                    (false, true) => GROWTH / 2.0,
                    (false, false) => GROWTH,
                };
                let grown = bandwidth * (1.0 + growth * (at - before).as_secs_f32().min(1.0));
                let bandwidth = if grown < arriving * PROVEN { grown } else { bandwidth };
                let capacity = if near || above { capacity } else { f32::INFINITY };
                if bandwidth > UNLIMITED { State::Open } else { State::Probe { at, bandwidth, capacity } }
            }
        };
    }
}

impl Drain {
    fn new(at: Duration, queue: f32, whole: f32, capacity: f32, before: Option<f32>) -> Self {
        let longest = Level { ms: queue, since: at };
        Self { since: at, first: queue, first_whole: whole, queue, longest, level: [longest; 2], capacity, before }
    }

    /// Bits a second to send meanwhile.
    fn bandwidth(&self) -> f32 {
        self.capacity * (1.0 - self.queue / 1000.0).clamp(DRAIN_MOST, DRAIN_LEAST)
    }

    /// Whether it, or how long packets are under way, has been the same for too long, or it is there though all of it could
    /// have gone away.
    fn settled(&self, at: Duration) -> bool {
        let takes = Duration::from_secs_f32(self.longest.ms.clamp(0.0, LONGEST) / 1000.0 / (1.0 - DRAIN_LEAST));
        at - self.longest.since > SETTLED_AFTER + takes
            || self.level.iter().any(|level| at - level.since > SETTLED_AFTER)
    }

    /// Whether it went away, so that there was one.
    fn shrank(&self, queue: f32, whole: f32) -> bool {
        queue < self.first * REST || whole < self.first_whole - self.first * REST
    }

    fn note(self, at: Duration, queue: f32, whole: f32, same: f32, carried: Option<f32>) -> Self {
        let fresh = at - self.since < WINDOW;
        let first = if fresh { self.first.max(queue) } else { self.first };
        let first_whole = if fresh { self.first_whole.max(whole) } else { self.first_whole };
        let level = [self.level[0].note(at, queue, same), self.level[1].note(at, whole, same)];
        let capacity = self.capacity + (carried.unwrap_or(self.capacity) - self.capacity) * 0.1;
        let longest = if queue > self.longest.ms { Level { ms: queue, since: at } } else { self.longest };
        Self { first, first_whole, queue, longest, level, capacity, ..self }
    }

    /// The way is free, and what it carries is known.
    fn gone(self, at: Duration) -> State {
        State::Probe { at, bandwidth: self.capacity * BACK_TO, capacity: self.capacity }
    }

    /// There was no queue: all is as before it.
    fn was_none(self, at: Duration) -> State {
        match self.before {
            None => State::Open,
            Some(bandwidth) => State::Probe { at, bandwidth, capacity: f32::INFINITY },
        }
    }
}

/// The lowest of the last half minute: long enough to have seen the way without a queue, short enough that clocks that drift
/// apart by 100 parts in a million come to 3 ms.
#[derive(Default)]
struct Lowest {
    /// The lowest of each five seconds, by itself and without what the link took by what was known of it then.
    spans: VecDeque<(Duration, Low, Low)>,
}

impl Lowest {
    const SPAN: Duration = Duration::from_secs(5);
    const SPANS: usize = 6;

    fn note(&mut self, at: Duration, low: Low, carries: f32) -> f32 {
        match self.spans.back_mut() {
            Some((since, whole, waited)) if at < *since + Self::SPAN => {
                if low.delay < whole.delay {
                    *whole = low;
                }
                if low.waited(carries) < waited.waited(carries) {
                    *waited = low;
                }
            }
            Some(_) | None => self.spans.push_back((at, low, low)),
        }
        if self.spans.len() > Self::SPANS {
            self.spans.pop_front();
        }
        let lows = self.spans.iter().flat_map(|(_, whole, waited)| [whole, waited]);
        lows.map(|low| low.waited(carries)).fold(f32::INFINITY, f32::min)
    }

    fn forget(&mut self) {
        self.spans.clear();
    }
}
