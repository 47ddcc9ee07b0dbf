//! The jitter buffer: decides what is played next, from packets with the time of their arrival handed in.
//!
//! [`JitterBuffer::insert`] takes a packet as it comes, whatever it holds; [`JitterBuffer::next`] says what the decoder does
//! when it has to make sound: decode a packet, take from a later one what belongs here, make something up, or go on being
//! quiet. Time is a `Duration` since any fixed moment. The buffer holds no sound; it is told how much decoded sound is
//! still unplayed.
//!
//! Sound is placed by timestamps, so that packets of any length and copies of packets fit together; sequence numbers say
//! what is lost ([`losses`]). How far playout should stay behind arrival is [`target`]'s affair. How far it stays is seen at
//! each packet decoded; [`JitterBuffer::surplus`] says by how much sound may, or has to, be shortened or lengthened.

mod losses;
mod stalls;
mod target;

use crate::opus::{self, Deep};
use crate::pipeline::{Arrival, Feedback, Form, Mechanisms};
use crate::{FRAME, RATE, red};
use bytes::Bytes;
use losses::{Arrived, Losses};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use target::{Known, Target, transit};

/// By which way sound came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Itself,
    /// Asked for.
    Resent,
    /// In a redundant packet.
    Copy,
}

/// What the decoder is to do now.
#[derive(Debug)]
pub enum Next {
    /// Decode this packet and leave out the first `skip` samples, for which something was made up already. It waited so
    /// long. `leap`: it does not follow what was played before.
    Packet { payload: Bytes, way: Way, skip: usize, waited: Duration, leap: bool },
    /// Decode what this packet carries of the `samples` before it, and leave out the first `skip`.
    Fec { payload: Bytes, samples: usize, skip: usize },
    /// Decode `samples` from the deep redundancy of this packet, from so many samples `back`.
    Deep { payload: Bytes, back: usize, samples: usize },
    /// So many samples are missing: make them up.
    Conceal { samples: usize },
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
    /// What came after it should have been played, and was not played otherwise.
    pub late: u32,
    pub duplicate: u32,
    /// Of those received: what was asked for.
    pub resent: u32,
    pub bytes: u32,
}

const SAMPLES_PER_MS: f32 = RATE as f32 / 1000.0;
/// Playout takes 10 ms at a time.
const QUANTUM_MS: f32 = 10.0;
/// Off by so little, nothing changes: each change of speed costs more than it gains (live, on a clean way: PESQ 4.08 with
/// changes for less, 4.4 without).
const SHORT_MS: f32 = 4.0;
/// Playout must be so much too far behind for concealment to be cut short.
const CUT_SHORT_MS: f32 = 60.0;
/// What is late by no more than this, but beyond the target, loses its begin, for which something was made up; what is
/// later is heard as a whole, later.
const LATE_MS: f32 = 20.0;
/// A longer gap is heard more than several short ones: each further packet lost in a row makes each count so much more.
const WEIGHT_OF_ROW: f32 = 0.8;
const MOST_WEIGHT: f32 = 6.0;
/// A gap in time that no wait explains is an error of the sender; it must not hold up the sound for longer than this.
const PATIENCE: Duration = Duration::from_millis(600);
/// An answer may come so much after its sound was due: the target grows if that happens often.
const LATE_ANSWER_MS: f32 = 60.0;
/// Four seconds of packets and as many copies; the oldest goes when one more comes.
const CAPACITY: usize = 400;
/// A jump of sequence numbers beyond this is a new stream (RFC 3550, A.1, MAX_DROPOUT).
const JUMP: i64 = 3000;
/// So is one of time, against the arrival.
const JUMP_MS: f64 = 5000.0;
/// And when a second of packets came that all seem to be old.
const STALE: u32 = 50;
/// Two packets this near to one another tell that it is not a single stray one.
const NEAR: u16 = 16;
/// Beyond this much too far behind, packets are skipped instead of played faster,
const SKIP_FROM_MS: f32 = 400.0;
/// until this is left.
const SKIP_TO_MS: f32 = 200.0;
/// Playout's distance is the least of so many packets: those of the latest calls count.
const DISTANCES: usize = 12;
/// The longest packet that Opus allows.
const LONGEST: i64 = opus::MAX_PACKET_SAMPLES as i64;

struct Waiting {
    at: Duration,
    /// Exact where the packet itself came, else by its neighbours.
    sequence: i64,
    samples: i64,
    way: Way,
    payload: Bytes,
}

/// The place in the stream up to which packets were decoded.
struct Position {
    sequence: i64,
    timestamp: i64,
    /// Samples made up since, in place of what belongs at `timestamp`,
    made_up: i64,
    /// and those for which it is not known yet whether anything belonged there.
    awaiting: i64,
    quiet: bool,
}

impl Position {
    fn made(&self) -> i64 {
        self.timestamp + self.made_up
    }
}

#[derive(Default)]
pub struct JitterBuffer {
    mechanisms: Mechanisms,
    ssrc: Option<u32>,
    /// By timestamp; no two overlap.
    waiting: BTreeMap<i64, Waiting>,
    position: Option<Position>,
    /// The newest packet: sequence number, timestamp, samples.
    newest: Option<(i64, i64, i64)>,
    /// A packet that fits to nothing before it.
    stray: Option<u16>,
    target: Target,
    losses: Losses,
    deep: Option<Deep>,
    /// At the packets decoded last: the transit of what played then, in milliseconds.
    distances: VecDeque<f64>,
    /// Duplicates since the last new packet.
    stale: u32,
    /// Packets were skipped since the last one taken.
    leapt: bool,
    jitter: Jitter,
    counts: Counts,
    reported: u32,
}

impl JitterBuffer {
    pub fn new(mechanisms: Mechanisms) -> Self {
        Self { mechanisms, ..Self::default() }
    }

    pub fn set_round_trip(&mut self, ms: Option<f32>) {
        self.losses.set_round_trip(ms);
    }

    /// Takes a packet. How many samples it plays, if it is a new one of this stream, so that its way can be measured by it.
    pub fn insert(&mut self, packet: Arrival) -> Option<u32> {
        let blocks = match packet.form {
            Form::Opus => Some(vec![red::Block { offset: 0, payload: packet.payload.clone() }]),
            Form::Red => red::read(&packet.payload),
        };
        let (newest, copies) = blocks.as_deref().and_then(<[red::Block]>::split_last)?;
        let samples = samples(&newest.payload)?;
        let (sequence, timestamp) = self.place(&packet)?;
        self.counts.received += 1;
        self.counts.bytes += packet.payload.len() as u32;
        let before = self.newest;
        let unknown = self.losses.unknown(sequence);
        let arrived = self.losses.arrived(sequence, packet.at);
        match arrived {
            Arrived::New => {
                self.stale = 0;
                self.newest = Some((sequence, timestamp, samples));
                self.target.arrived(packet.at, timestamp);
                self.jitter.add(packet.at, timestamp);
                self.note_gap(before, (sequence, timestamp), &newest.payload, packet.at);
                self.target.came(packet.at, timestamp, samples);
            }
            Arrived::Overtaken if unknown.is_some() => {
                self.target.came(packet.at, timestamp, samples);
            }
            Arrived::Overtaken => {}
            Arrived::Resent => {
                self.counts.resent += 1;
                self.note_recovered(packet.at, timestamp, unknown);
            }
            Arrived::Duplicate => {
                self.counts.duplicate += 1;
                self.stale += 1;
                if self.stale >= STALE {
                    self.restart();
                }
                return None;
            }
        }
        let way = if arrived == Arrived::Resent { Way::Resent } else { Way::Itself };
        let payload = newest.payload.clone();
        let fits = self.wait(timestamp, Waiting { at: packet.at, sequence, samples, way, payload });
        self.counts.late += u32::from(!fits);
        if self.mechanisms.copies {
            self.take_copies(copies, sequence, timestamp, packet.at);
        }
        (arrived != Arrived::Resent).then_some(samples as u32)
    }

    /// What to do for the next stretch of sound; `unplayed` samples are decoded and wait.
    pub fn next(&mut self, now: Duration, unplayed: usize) -> Next {
        self.skip_excess(now);
        let target = self.target.ms();
        let Some((&timestamp, first)) = self.waiting.first_key_value() else {
            return match &mut self.position {
                None => Next::Wait,
                Some(position) if position.quiet => Next::Quiet,
                Some(position) => {
                    position.awaiting += FRAME as i64;
                    Next::Conceal { samples: FRAME }
                }
            };
        };
        let behind = self.target.base().map_or(0.0, |base| (transit(now, timestamp) - base) as f32);
        let overdue = now.saturating_sub(first.at) > PATIENCE;
        let enough = self.waiting.len() > 1 || behind >= target || overdue;
        let Some(position) = &mut self.position else {
            return if enough { self.take(now, unplayed) } else { Next::Wait };
        };
        let gap = timestamp - position.timestamp;
        let settled = position.awaiting.min(gap - position.made_up).max(0);
        position.made_up += settled;
        position.awaiting -= settled;
        let missing = gap - position.made_up;
        if first.sequence == position.sequence && gap > 0 || position.quiet && missing > 0 {
            // Nothing is lost: the far side sent nothing for a while. The time to change the distance unheard.
            return if behind >= target || overdue { self.take(now, unplayed) } else { Next::Quiet };
        }
        if missing <= 0 || overdue {
            return self.take(now, unplayed);
        }
        let fec = if self.mechanisms.fec { opus::fec_samples(&first.payload) as i64 } else { 0 };
        if missing <= fec {
            let payload = first.payload.clone();
            let sequence = first.sequence;
            self.position = Some(Position { sequence, timestamp, made_up: 0, awaiting: 0, quiet: false });
            return Next::Fec { payload, samples: fec as usize, skip: (fec - missing) as usize };
        }
        // Concealment is made in pieces that libopus can make.
        let samples = missing.min(FRAME as i64) as usize / 120 * 120;
        let from = position.made();
        if samples == 0 {
            return self.take(now, unplayed);
        }
        let deep = self.mechanisms.dred.then(|| self.find_deep(from, samples)).flatten();
        let Some(position) = &mut self.position else { return Next::Wait };
        if let Some((payload, back)) = deep {
            position.made_up += samples as i64;
            return Next::Deep { payload, back, samples };
        }
        if behind >= target + CUT_SHORT_MS {
            return self.take(now, unplayed);
        }
        position.made_up += samples as i64;
        Next::Conceal { samples }
    }

    /// A queue on the way went away.
    pub fn forget_delays(&mut self) {
        self.target.forget();
    }

    /// The way became longer for good: nothing is late any more that takes as long as all do now.
    pub fn way_is_longer(&mut self, at: Duration) {
        self.target.way_is_longer(at);
    }

    /// By how many samples sound can become shorter at this packet (positive) or has to become longer (negative), where
    /// `unplayed` samples waited before it.
    pub fn surplus(&self, unplayed: usize) -> i64 {
        if self.distances.is_empty() {
            return 0;
        }
        let spare = unplayed as f32 / SAMPLES_PER_MS;
        let excess = -self.shortage_ms(unplayed);
        let quanta = if (-SHORT_MS..QUANTUM_MS + SHORT_MS).contains(&excess) {
            0.0
        } else {
            (excess / QUANTUM_MS).floor() * QUANTUM_MS
        };
        ((spare + quanta) * SAMPLES_PER_MS) as i64
    }

    /// How much nearer to arrival packets are needed than the target wants.
    fn shortage_ms(&self, unplayed: usize) -> f32 {
        let Some(base) = self.target.base() else { return 0.0 };
        let least = self.distances.iter().copied().fold(f64::INFINITY, f64::min);
        if least == f64::INFINITY {
            return 0.0;
        }
        // A packet is needed when less than 10 ms are left, not when nothing is.
        self.target.ms() - ((least - base) as f32 - unplayed as f32 / SAMPLES_PER_MS)
    }

    /// Sound was made longer (positive) or shorter by so many samples.
    pub fn stretched(&mut self, samples: i64) {
        let ms = samples as f64 / f64::from(SAMPLES_PER_MS);
        self.distances.iter_mut().for_each(|distance| *distance += ms);
    }

    /// Numbers worth asking for again.
    pub fn missing(&mut self, now: Duration) -> Vec<u16> {
        let Some(base) = self.target.base() else { return Vec::new() };
        let distance = self.distances.back().map_or(0.0, |distance| (distance - base) as f32).max(self.target.ms());
        let latest = (distance + LATE_ANSWER_MS).min(target::MOST_FOR_RECOVERY_MS).max(distance);
        let useful = |at: Duration, timestamp: i64| (transit(at, timestamp) - base) as f32 <= latest;
        let resend = self.mechanisms.resend;
        self.losses.ask(now, |at, timestamp| resend && useful(at, timestamp))
    }

    pub fn feedback(&mut self, now: Duration, unrecovered: f32, bandwidth: Option<u32>) -> Option<Feedback> {
        self.losses.feedback(now, self.jitter.ms, unrecovered, bandwidth)
    }

    pub fn target_ms(&self) -> f32 {
        self.target.ms()
    }

    /// Interarrival jitter in milliseconds (RFC 3550, A.8).
    pub fn jitter_ms(&self) -> f32 {
        self.jitter.ms
    }

    pub fn take_counts(&mut self) -> Counts {
        let expected = self.losses.expected();
        self.counts.expected = expected.saturating_sub(self.reported);
        self.reported = expected.max(self.reported);
        std::mem::take(&mut self.counts)
    }

    /// The packet's numbers without wrap-around; `None` for one that belongs to no stream yet.
    fn place(&mut self, packet: &Arrival) -> Option<(i64, i64)> {
        if self.ssrc.is_some_and(|ssrc| ssrc != packet.ssrc) {
            self.restart();
        }
        self.ssrc = Some(packet.ssrc);
        let (sequence, timestamp) = self.unwrap(packet);
        let off = self.target.base().map_or(0.0, |base| transit(packet.at, timestamp) - base);
        let jumps = self.newest.is_some_and(|(newest, ..)| (sequence - newest).abs() > JUMP) || off.abs() > JUMP_MS;
        if !jumps {
            self.stray = None;
            return Some((sequence, timestamp));
        }
        let follows = |stray: u16| packet.sequence.wrapping_sub(stray).wrapping_sub(1) < NEAR;
        if !self.stray.replace(packet.sequence).is_some_and(follows) {
            return None;
        }
        self.restart();
        self.ssrc = Some(packet.ssrc);
        Some(self.unwrap(packet))
    }

    /// The same numbers without wrap-around, near the newest seen.
    fn unwrap(&self, packet: &Arrival) -> (i64, i64) {
        match self.newest {
            // One cycle up, so that an early packet from before the first one stays positive.
            None => (i64::from(packet.sequence) + (1 << 16), i64::from(packet.timestamp) + (1 << 32)),
            Some((sequence, timestamp, _)) => (
                sequence + i64::from(packet.sequence.wrapping_sub(sequence as u16) as i16),
                timestamp + i64::from(packet.timestamp.wrapping_sub(timestamp as u32) as i32),
            ),
        }
    }

    /// Says what is missing between the newest packet before and this one.
    fn note_gap(&mut self, before: Option<(i64, i64, i64)>, this: (i64, i64), payload: &Bytes, at: Duration) {
        let Some((sequence, timestamp, samples)) = before else { return };
        let lost = this.0 - sequence - 1;
        let length = this.1 - timestamp - samples;
        if lost <= 0 || length <= 0 {
            return;
        }
        // Where it does not work out, there was a pause, and packets lost of it are not worth much.
        let each = if length / lost <= LONGEST { length / lost } else { samples };
        let fec = if self.mechanisms.fec { opus::fec_samples(payload) as i64 } else { 0 };
        let deep = if self.mechanisms.dred { self.deep().and_then(|deep| deep.reach(payload)) } else { None };
        // What a gap of more than two seconds lost is not worth being remembered one by one.
        for back in (1..=lost.min(100)).rev() {
            let begins = this.1 - back * each;
            let by_deep = deep.is_some_and(|(from, to)| back * each <= from as i64 && (back - 1) * each >= to as i64);
            let known = by_deep || back * each <= fec;
            self.losses.gap(this.0 - back, begins, each, at, known, lost);
            if known {
                self.note_recovered(at, begins, Some(lost));
            }
        }
    }

    /// What was lost with so many others in a row is known at last.
    fn note_recovered(&mut self, at: Duration, timestamp: i64, row: Option<i64>) {
        if let Some(row) = row {
            let weight = (1.0 + (row - 1) as f32 * WEIGHT_OF_ROW).min(MOST_WEIGHT);
            self.target.known(at, timestamp, Known::Recovered, weight);
        }
    }

    fn take_copies(&mut self, copies: &[red::Block], sequence: i64, timestamp: i64, at: Duration) {
        let mut next = (sequence, timestamp);
        for copy in copies.iter().rev() {
            let begins = timestamp - i64::from(copy.offset);
            let Some(samples) = samples(&copy.payload) else { continue };
            // Copies are of packets in a row, or of every other; in a pause they are of none that is missing.
            let back = ((next.1 - begins + samples / 2) / samples).max(1);
            next = (next.0 - back, begins);
            let row = self.losses.copied(next.0);
            self.note_recovered(at, begins, row);
            let payload = copy.payload.clone();
            self.wait(begins, Waiting { at, sequence: next.0, samples, way: Way::Copy, payload });
        }
    }

    /// Keeps sound until it is played; whether it fits in anywhere, or is there already.
    fn wait(&mut self, timestamp: i64, packet: Waiting) -> bool {
        let end = timestamp + packet.samples;
        if self.position.as_ref().is_some_and(|position| timestamp < position.timestamp) {
            return false;
        }
        if let Some(there) = self.waiting.get_mut(&timestamp) {
            if there.way == Way::Copy && packet.way != Way::Copy {
                there.sequence = packet.sequence;
            }
            return true;
        }
        let before = self.waiting.range(..timestamp).next_back();
        if before.is_some_and(|(at, before)| at + before.samples > timestamp)
            || self.waiting.range(timestamp..end).next().is_some()
        {
            return false;
        }
        self.waiting.insert(timestamp, packet);
        if self.waiting.len() > CAPACITY {
            self.waiting.pop_first();
        }
        true
    }

    fn take(&mut self, now: Duration, unplayed: usize) -> Next {
        self.settle_late(unplayed);
        let Some((timestamp, packet)) = self.waiting.pop_first() else { return Next::Wait };
        let made = self.position.as_ref().map_or(timestamp, Position::made);
        let skip = (made - timestamp).clamp(0, packet.samples);
        let leap = std::mem::take(&mut self.leapt)
            || self.position.as_ref().is_some_and(|position| timestamp > position.made());
        let end = timestamp + packet.samples;
        self.position = Some(Position {
            sequence: packet.sequence + 1,
            timestamp: end,
            made_up: (made - end).max(0),
            awaiting: 0,
            quiet: opus::is_dtx(&packet.payload),
        });
        if skip < packet.samples {
            let spare = unplayed as f64 / f64::from(SAMPLES_PER_MS);
            self.distances.push_back(transit(now, timestamp + skip) + spare);
            if self.distances.len() > DISTANCES {
                self.distances.pop_front();
            }
        }
        let waited = now.saturating_sub(packet.at);
        Next::Packet { payload: packet.payload, way: packet.way, skip: skip as usize, waited, leap }
    }

    /// What was made up while a packet was late delays playout as far as the target wants that.
    fn settle_late(&mut self, unplayed: usize) {
        let wanted = self.shortage_ms(unplayed).max(0.0);
        let Some(position) = &mut self.position else { return };
        let late = position.awaiting as f32 / SAMPLES_PER_MS;
        if late <= LATE_MS && late > wanted {
            position.made_up += ((late - wanted) * SAMPLES_PER_MS) as i64;
        }
        position.awaiting = 0;
    }

    /// A packet that waits with deep redundancy for these samples, and how far before it they are.
    fn find_deep(&mut self, from: i64, samples: usize) -> Option<(Bytes, usize)> {
        self.deep()?;
        let deep = self.deep.as_mut()?;
        self.waiting.iter().take_while(|(at, _)| **at - from <= i64::from(RATE)).find_map(|(at, packet)| {
            let back = usize::try_from(at - from).ok()?;
            let (begin, end) = deep.reach(&packet.payload)?;
            (back <= begin && back.saturating_sub(samples) >= end).then(|| (packet.payload.clone(), back))
        })
    }

    fn deep(&mut self) -> Option<&mut Deep> {
        if self.deep.is_none() {
            self.deep = Deep::new().inspect_err(|error| tracing::warn!(%error, "no deep redundancy")).ok();
        }
        self.deep.as_mut()
    }

    /// After a long stall everything comes at once; nobody wants to hear all of it.
    fn skip_excess(&mut self, now: Duration) {
        let (Some(base), target) = (self.target.base(), self.target.ms()) else { return };
        let excess = |timestamp: i64| (transit(now, timestamp) - base) as f32 - target;
        let beyond = |waiting: &BTreeMap<i64, Waiting>, ms: f32| {
            waiting.len() > 1 && waiting.keys().next().is_some_and(|first| excess(*first) > ms)
        };
        if !beyond(&self.waiting, SKIP_FROM_MS) {
            return;
        }
        while beyond(&self.waiting, SKIP_TO_MS) {
            self.waiting.pop_first();
        }
        if let (Some((timestamp, first)), Some(position)) = (self.waiting.first_key_value(), &mut self.position) {
            (position.sequence, position.timestamp) = (first.sequence, *timestamp);
            (position.made_up, position.awaiting) = (0, 0);
        }
        self.leapt = true;
        self.distances.clear();
    }

    /// Another source, or the same one begun anew: what the network is like stays known.
    fn restart(&mut self) {
        let mut counts = self.take_counts();
        counts.expected = 0;
        let old = std::mem::take(self);
        let (mut target, mut losses) = (old.target, old.losses);
        target.restart();
        losses.restart();
        let jitter = Jitter { ms: old.jitter.ms, last: None };
        *self = Self { mechanisms: old.mechanisms, target, losses, jitter, counts, deep: old.deep, ..Self::default() };
    }
}

fn samples(payload: &[u8]) -> Option<i64> {
    opus::packet_samples(payload).map(|samples| samples as i64)
}

/// Interarrival jitter (RFC 3550, A.8).
#[derive(Default)]
struct Jitter {
    ms: f32,
    last: Option<f64>,
}

impl Jitter {
    fn add(&mut self, at: Duration, timestamp: i64) {
        let transit = transit(at, timestamp);
        if let Some(last) = self.last {
            self.ms += ((transit - last).abs() as f32 - self.ms) / 16.0;
        }
        self.last = Some(transit);
    }
}

#[cfg(test)]
#[path = "jitter/tests.rs"]
mod tests;
