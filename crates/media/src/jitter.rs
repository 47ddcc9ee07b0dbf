//! The jitter buffer: decides what is played next, from packets with the time of their arrival handed in.
//!
//! [`JitterBuffer::insert`] takes a packet as it comes; [`JitterBuffer::next`] says what the decoder does when it has to
//! make sound: decode a packet, rebuild one from its successor, make something up, or go on being quiet. Time is a
//! `Duration` since any fixed moment. The buffer holds no sound; it is told how much decoded sound is still unplayed.
//!
//! How far playout stays behind arrival follows the network. Each packet's relative delay (how much later it came than
//! the fastest of the last two seconds) is measured; the worst of each half second enters a histogram that forgets within
//! seconds. The target covers 95 % of it, and any peak at once, which then fades. The actual distance is measured with each packet; [`JitterBuffer::pressure`]
//! says by how much sound should be stretched to bring it to the target.

use crate::opus;
use crate::pipeline::Arrival;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What the decoder is to do now.
#[derive(Debug)]
pub enum Next {
    /// Decode this packet, which waited so long.
    Packet { payload: Bytes, waited: Duration },
    /// The packet before this one is lost: decode its copy in here and play the last `missing` samples of it.
    Rebuild { payload: Bytes, missing: usize },
    /// Something is missing: make it up.
    Conceal,
    /// Nothing is missing: the far side is silent.
    Quiet,
    /// Nothing has come yet.
    Wait,
}

/// Counted since the last call of [`JitterBuffer::take_counts`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub received: u32,
    /// How many the far side sent, by the sequence numbers (RFC 3550, A.3).
    pub expected: u32,
    pub late: u32,
    pub duplicate: u32,
    pub bytes: u32,
}

const SAMPLES_PER_MS: f32 = 48.0;
/// Playout starts this long after the first packet, or with the second.
const START: Duration = Duration::from_millis(10);
const LEAST_TARGET_MS: f32 = 20.0;
/// A lost packet can be rebuilt only when its successor, 20 ms younger, is there in time.
const LEAST_TARGET_WITH_LOSS_MS: f32 = 35.0;
/// The share of lost packets from which that is worth the delay.
const LOSSY: f32 = 0.02;
const MOST_TARGET_MS: f32 = 400.0;
/// Playout takes 10 ms at a time, so a packet can be due that much earlier than the measure says.
const QUANTUM_MS: f32 = 10.0;
const BUCKET_MS: f32 = 10.0;
const BUCKETS: usize = 50;
const COVERED: f32 = 0.95;
/// A stall delays many packets and is one event, so each half second counts once, by its latest packet.
const INTERVAL: Duration = Duration::from_millis(500);
/// Five seconds until the histogram has half forgotten.
const FORGET: f32 = 0.93;
const PEAK_FADE_SECONDS: f32 = 2.0;
const BASE_WINDOW: Duration = Duration::from_secs(2);
/// Five seconds of packets; the oldest goes when one more comes.
const CAPACITY: usize = 250;
/// A jump of sequence numbers beyond this is a new stream (RFC 3550, A.1, MAX_DROPOUT is 3000).
const JUMP: i64 = 3000;
/// Beyond this much too far behind, packets are skipped instead of played faster.
const SKIP_MS: f32 = 400.0;

struct Waiting {
    at: Duration,
    timestamp: i64,
    samples: usize,
    payload: Bytes,
}

/// The place in the stream up to which sound was made.
struct Position {
    sequence: i64,
    timestamp: i64,
    /// Samples made up since, in place of what belongs at `timestamp`.
    made_up: i64,
    quiet: bool,
}

#[derive(Default)]
pub struct JitterBuffer {
    ssrc: Option<u32>,
    waiting: BTreeMap<i64, Waiting>,
    position: Option<Position>,
    highest: Option<(i64, i64)>,
    relative: RelativeDelay,
    target: Target,
    /// How far playout is behind the arrival of the fastest packets.
    distance_ms: Option<f32>,
    jitter: Jitter,
    /// Share of packets lost lately.
    loss: f32,
    counts: Counts,
    reported_highest: i64,
}

impl JitterBuffer {
    /// Takes a packet; `unplayed` is the decoded sound that waits to be played, in samples.
    pub fn insert(&mut self, packet: Arrival, unplayed: usize) {
        let Some(samples) = opus::packet_samples(&packet.payload) else { return };
        if self.ssrc.is_some_and(|ssrc| ssrc != packet.ssrc) {
            self.restart();
        }
        self.ssrc = Some(packet.ssrc);
        let (mut sequence, mut timestamp) = self.unwrap(&packet);
        if self.highest.is_some_and(|(highest, _)| (sequence - highest).abs() > JUMP) {
            self.restart();
            (sequence, timestamp) = self.unwrap(&packet);
        }
        self.count(sequence, &packet);
        if self.waiting.contains_key(&sequence) {
            self.counts.duplicate += 1;
            return;
        }
        let behind = self.relative.add(packet.at, timestamp);
        self.target.add(behind, packet.at, self.loss > LOSSY);
        self.jitter.add(packet.at, timestamp);
        if let Some(position) = &self.position {
            if timestamp < position.timestamp {
                // Played, rebuilt or made up already; a duplicate of something played also ends here.
                self.counts.late += 1;
                return;
            }
            let wait = (timestamp - position.timestamp - position.made_up + unplayed as i64) as f32 / SAMPLES_PER_MS;
            let distance = wait + behind;
            self.distance_ms = Some(self.distance_ms.map_or(distance, |old| old + (distance - old) / 4.0));
        }
        self.waiting.insert(sequence, Waiting { at: packet.at, timestamp, samples, payload: packet.payload });
        if self.waiting.len() > CAPACITY {
            self.waiting.pop_first();
        }
    }

    /// What to do for the next stretch of sound. After [`Next::Conceal`] and [`Next::Quiet`] the caller says with
    /// [`JitterBuffer::made_up`] how much it made.
    pub fn next(&mut self, now: Duration) -> Next {
        self.skip_excess();
        let Some((&sequence, first)) = self.waiting.first_key_value() else {
            return match &self.position {
                None => Next::Wait,
                Some(position) if position.quiet => Next::Quiet,
                Some(_) => Next::Conceal,
            };
        };
        let waited = now.saturating_sub(first.at);
        let Some(position) = &self.position else {
            return if waited >= START || self.waiting.len() > 1 { self.take(waited) } else { Next::Wait };
        };
        let gap = first.timestamp - position.timestamp;
        let missing = gap - position.made_up;
        if missing <= 0 {
            return self.take(waited);
        }
        // A gap in time that no wait explains is an error of the sender; it must not hold up the sound.
        let too_long = Duration::from_secs_f32((self.target.ms + 100.0) / 1000.0);
        let overdue = waited > too_long && self.distance_ms.is_none_or(|distance| distance < self.target.ms + 100.0);
        if sequence == position.sequence {
            // Nothing is lost: the far side sent nothing for a while. The time to change the distance unheard.
            let surplus = self.excess_ms().max(0.0) * SAMPLES_PER_MS;
            return if missing as f32 <= surplus || overdue { self.take(waited) } else { Next::Quiet };
        }
        if overdue {
            return self.take(waited);
        }
        if missing as usize <= first.samples && opus::has_fec(&first.payload) {
            let (payload, timestamp) = (first.payload.clone(), first.timestamp);
            self.position = Some(Position { sequence, timestamp, made_up: 0, quiet: false });
            return Next::Rebuild { payload, missing: missing as usize };
        }
        Next::Conceal
    }

    /// So many samples were made without a packet.
    pub fn made_up(&mut self, samples: usize) {
        if let Some(position) = &mut self.position {
            position.made_up += samples as i64;
        }
    }

    /// By how many samples sound should become longer (positive) or shorter; 0 when the distance is right.
    pub fn pressure(&self) -> i64 {
        let excess = self.excess_ms();
        if (-TOO_CLOSE_MS..=TOO_FAR_MS).contains(&excess) { 0 } else { (-excess * SAMPLES_PER_MS) as i64 }
    }

    /// Sound was made longer (positive) or shorter by so many samples.
    pub fn stretched(&mut self, samples: i64) {
        if let Some(distance) = &mut self.distance_ms {
            *distance += samples as f32 / SAMPLES_PER_MS;
        }
    }

    pub fn target_ms(&self) -> f32 {
        self.target.ms
    }

    /// Interarrival jitter in milliseconds (RFC 3550, A.8).
    pub fn jitter_ms(&self) -> f32 {
        self.jitter.ms
    }

    pub fn take_counts(&mut self) -> Counts {
        let highest = self.highest.map_or(0, |(highest, _)| highest);
        self.counts.expected = u32::try_from(highest - self.reported_highest).unwrap_or(0);
        self.reported_highest = highest;
        std::mem::take(&mut self.counts)
    }

    fn excess_ms(&self) -> f32 {
        self.distance_ms.map_or(0.0, |distance| distance - self.target.ms)
    }

    fn take(&mut self, waited: Duration) -> Next {
        let Some((sequence, packet)) = self.waiting.pop_first() else { return Next::Wait };
        self.position = Some(Position {
            sequence: sequence + 1,
            timestamp: packet.timestamp + packet.samples as i64,
            made_up: 0,
            quiet: opus::is_dtx(&packet.payload),
        });
        Next::Packet { payload: packet.payload, waited }
    }

    /// After a long stall everything comes at once; nobody wants to hear all of it.
    fn skip_excess(&mut self) {
        while self.excess_ms() > SKIP_MS && self.waiting.len() > 2 {
            let Some((_, skipped)) = self.waiting.pop_first() else { return };
            if let (Some(position), Some((&sequence, first))) = (&mut self.position, self.waiting.first_key_value()) {
                let dropped = first.timestamp - position.timestamp.min(skipped.timestamp);
                position.sequence = sequence;
                position.timestamp = first.timestamp;
                position.made_up = 0;
                self.stretched(-dropped);
            }
        }
    }

    /// The same numbers without wrap-around, near the highest seen.
    fn unwrap(&self, packet: &Arrival) -> (i64, i64) {
        match self.highest {
            // One cycle up, so that an early packet from before the first one stays positive.
            None => (i64::from(packet.sequence) + (1 << 16), i64::from(packet.timestamp) + (1 << 32)),
            Some((sequence, timestamp)) => (
                sequence + i64::from(packet.sequence.wrapping_sub(sequence as u16) as i16),
                timestamp + i64::from(packet.timestamp.wrapping_sub(timestamp as u32) as i32),
            ),
        }
    }

    fn count(&mut self, sequence: i64, packet: &Arrival) {
        self.counts.received += 1;
        self.counts.bytes += packet.payload.len() as u32;
        match &mut self.highest {
            None => {
                self.reported_highest = sequence - 1;
                self.highest = Some((sequence, i64::from(packet.timestamp) + (1 << 32)));
            }
            Some((highest, timestamp)) if sequence > *highest => {
                for at in *highest + 1..=sequence {
                    self.loss += (f32::from(u8::from(at != sequence)) - self.loss) / 100.0;
                }
                *timestamp += i64::from(packet.timestamp.wrapping_sub(*timestamp as u32) as i32);
                *highest = sequence;
            }
            Some(_) => {}
        }
    }

    /// Another source, or the same one begun anew: what the network is like stays known.
    fn restart(&mut self) {
        let target = std::mem::take(&mut self.target);
        let jitter = Jitter { ms: self.jitter.ms, last: None };
        let mut counts = self.take_counts();
        counts.expected = 0;
        *self = Self { target, jitter, counts, ..Self::default() };
    }
}

const TOO_FAR_MS: f32 = 10.0;
const TOO_CLOSE_MS: f32 = 8.0;

/// How much later than the fastest of the last two seconds a packet came.
#[derive(Default)]
struct RelativeDelay {
    recent: VecDeque<(Duration, f64)>,
}

impl RelativeDelay {
    fn add(&mut self, at: Duration, timestamp: i64) -> f32 {
        let transit = at.as_secs_f64() * 1000.0 - timestamp as f64 / f64::from(SAMPLES_PER_MS);
        self.recent.push_back((at, transit));
        while self.recent.front().is_some_and(|(then, _)| at.saturating_sub(*then) > BASE_WINDOW) {
            self.recent.pop_front();
        }
        let fastest = self.recent.iter().map(|(_, transit)| *transit).fold(f64::INFINITY, f64::min);
        (transit - fastest) as f32
    }
}

/// How far playout should stay behind arrival.
struct Target {
    ms: f32,
    /// Shares of half seconds by the latest packet in them.
    histogram: [f32; BUCKETS],
    intervals: u32,
    interval: Option<(Duration, f32)>,
    peak_ms: f32,
    last: Duration,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            ms: LEAST_TARGET_MS,
            histogram: [0.0; BUCKETS],
            intervals: 0,
            interval: None,
            peak_ms: 0.0,
            last: Duration::ZERO,
        }
    }
}

impl Target {
    fn add(&mut self, behind_ms: f32, at: Duration, lossy: bool) {
        let (begun, latest) = *self.interval.get_or_insert((at, 0.0));
        if at.saturating_sub(begun) >= INTERVAL {
            self.enter(latest);
            self.interval = Some((at, behind_ms));
        } else {
            self.interval = Some((begun, latest.max(behind_ms)));
        }
        let faded = self.peak_ms * (-at.saturating_sub(self.last).as_secs_f32() / PEAK_FADE_SECONDS).exp();
        self.peak_ms = faded.max(behind_ms);
        self.last = at;
        let least = if lossy { LEAST_TARGET_WITH_LOSS_MS } else { LEAST_TARGET_MS };
        self.ms = (self.quantile_ms().max(self.peak_ms) + QUANTUM_MS).clamp(least, MOST_TARGET_MS);
    }

    fn enter(&mut self, latest_ms: f32) {
        self.intervals = self.intervals.saturating_add(1);
        // The first count in full, later ones less and less, until each counts 1 - FORGET.
        let keep = FORGET.min(1.0 - 1.0 / self.intervals as f32);
        let bucket = ((latest_ms / BUCKET_MS) as usize).min(BUCKETS - 1);
        for share in &mut self.histogram {
            *share *= keep;
        }
        self.histogram[bucket] += 1.0 - keep;
    }

    fn quantile_ms(&self) -> f32 {
        let mut above = 0.0;
        for (bucket, share) in self.histogram.iter().enumerate().rev() {
            above += share;
            if above > 1.0 - COVERED {
                return (bucket + 1) as f32 * BUCKET_MS;
            }
        }
        0.0
    }
}

/// RFC 3550, A.8.
#[derive(Default)]
struct Jitter {
    ms: f32,
    last: Option<(Duration, i64)>,
}

impl Jitter {
    fn add(&mut self, at: Duration, timestamp: i64) {
        if let Some((then, before)) = self.last {
            let apart = (at.as_secs_f64() - then.as_secs_f64()) * 1000.0;
            let sent = (timestamp - before) as f64 / f64::from(SAMPLES_PER_MS);
            self.ms += ((apart - sent).abs() as f32 - self.ms) / 16.0;
        }
        self.last = Some((at, timestamp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Form;

    fn packet(sequence: u16, timestamp: u32, at_ms: u64) -> Arrival {
        // 0x08: SILK narrow-band, 20 ms, one frame; the rest is never decoded here.
        let payload = Bytes::from_static(&[0x08, 1, 2, 3]);
        Arrival { at: Duration::from_millis(at_ms), ssrc: 1, form: Form::Opus, sequence, timestamp, payload }
    }

    #[test]
    fn numbers_that_wrap_around_stay_in_order() {
        let mut buffer = JitterBuffer::default();
        for i in 0..6u16 {
            let swapped = if i % 2 == 0 { i + 1 } else { i - 1 };
            let (sequence, timestamp) =
                (65533u16.wrapping_add(swapped), (u32::MAX - 1000).wrapping_add(u32::from(swapped) * 960));
            buffer.insert(packet(sequence, timestamp, u64::from(i) * 20), 0);
        }
        for _ in 0..6 {
            assert!(matches!(buffer.next(Duration::from_secs(1)), Next::Packet { .. }));
        }
        assert!(matches!(buffer.next(Duration::from_secs(1)), Next::Conceal));
        let counts = buffer.take_counts();
        assert_eq!((counts.received, counts.late, counts.duplicate), (6, 0, 0));
    }

    #[test]
    fn loss_is_counted_by_sequence_numbers_and_a_pause_is_no_loss() {
        let mut buffer = JitterBuffer::default();
        for i in 0..50u16 {
            if i % 10 != 5 {
                buffer.insert(packet(i, u32::from(i) * 960, u64::from(i) * 20), 0);
            }
        }
        let counts = buffer.take_counts();
        assert_eq!((counts.expected, counts.received), (50, 45));
        buffer.insert(packet(50, 50 * 960 + 19_200, 1400), 0);
        let counts = buffer.take_counts();
        assert_eq!((counts.expected, counts.received), (1, 1));
    }

    #[test]
    fn target_rises_at_once_and_falls_slowly() {
        let mut buffer = JitterBuffer::default();
        let feed = |buffer: &mut JitterBuffer, i: u64, late: u64| {
            buffer.insert(packet(i as u16, i as u32 * 960, 1000 + i * 20 + late), 0);
        };
        (0..100).for_each(|i| feed(&mut buffer, i, 0));
        assert_eq!(buffer.target_ms(), 20.0);
        feed(&mut buffer, 100, 120);
        assert!(buffer.target_ms() >= 120.0);
        (107..150).for_each(|i| feed(&mut buffer, i, 0));
        assert!(buffer.target_ms() > 60.0);
        (150..600).for_each(|i| feed(&mut buffer, i, 0));
        assert_eq!(buffer.target_ms(), 20.0);
    }

    #[test]
    fn another_source_starts_afresh() {
        let mut buffer = JitterBuffer::default();
        buffer.insert(packet(10, 9600, 0), 0);
        assert!(matches!(buffer.next(Duration::from_millis(30)), Next::Packet { .. }));
        buffer.insert(Arrival { ssrc: 2, ..packet(60_000, 5, 40) }, 0);
        assert!(matches!(buffer.next(Duration::from_millis(70)), Next::Packet { .. }));
    }
}
