//! What did not come: which numbers to ask for again, and what to tell the far side.
//!
//! A number is missing from the packet on that shows it. If it comes without having been asked for, or sooner than an answer
//! can, or if it comes twice, it was merely overtaken; how long that took says how long to wait before asking the next time.

use crate::pipeline::Feedback;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What is older is forgotten.
const MEMORY: Duration = Duration::from_secs(2);
/// Numbers that are remembered as missing; the oldest goes when one more is.
const CAPACITY: usize = 256;
/// Numbers asked for at a time.
const ASKED_AT_ONCE: usize = 20;
/// An answer that takes longer than that comes too late to be worth its bytes.
const LONGEST_ROUND_TRIP_MS: f32 = 200.0;
/// Where the round trip is not known, it counts as this, until answers show it.
const LIKELY_ROUND_TRIP_MS: f32 = 60.0;
/// No answer comes sooner than in so much of the round trip, less what its measurement may have been late by, in
/// milliseconds.
const SOONEST: f32 = 0.5;
const MEASURED_LATE_MS: f32 = 8.0;
/// What both ends take to notice and to answer, at most: each looks each 5 ms.
const NOTICING_MS: f32 = 10.0;
const MOST_ASKED: u8 = 4;
/// After so many questions without one answer the far side does not know them.
const UNANSWERED: u32 = 50;
/// How long it counts that a packet was overtaken.
const OVERTAKEN_MEMORY: Duration = Duration::from_secs(20);
/// What is not asked for is lost when it is overtaken by that much.
const LOST_AFTER: Duration = Duration::from_millis(100);

/// Feedback is due this often,
const REGULAR: Duration = Duration::from_secs(1);
/// and this often when there is something to tell.
const SOON: Duration = Duration::from_millis(250);
/// The share of loss from which there is.
const LOSSY: f32 = 0.02;

/// A packet that has not come.
struct Missing {
    /// Where its sound begins; a guess.
    timestamp: i64,
    since: Duration,
    asked: u8,
    last_asked: Duration,
    /// It counts as lost.
    lost: bool,
    /// Its sound has come in another packet: nothing is to be asked for.
    copied: bool,
    /// Its sound can be had.
    known: bool,
    /// How many were lost in a row with it.
    row: i64,
}

/// What a packet turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    New,
    Overtaken,
    Resent,
    Duplicate,
}

#[derive(Default)]
pub struct Losses {
    missing: BTreeMap<i64, Missing>,
    /// What was asked for and came, and how long after it was missed: if it comes once more, this one was not the answer.
    answers: VecDeque<(i64, f32)>,
    highest: Option<i64>,
    first: i64,
    round_trip_ms: Option<f32>,
    answered_ms: Option<f32>,
    questions: u32,
    overtaken: Option<(Duration, f32)>,
    /// Packets lost in all, as the far side is told.
    lost: u32,
    gaps: Gaps,
    told: Told,
}

/// Gaps that loss left: their number and length, forgotten with time.
#[derive(Default)]
struct Gaps {
    last: Option<i64>,
    count: f32,
    samples: f32,
}

/// As of the feedback before.
#[derive(Default)]
struct Told {
    at: Option<Duration>,
    lost: u32,
    highest: i64,
    bandwidth: Option<u32>,
}

impl Losses {
    pub fn set_round_trip(&mut self, ms: Option<f32>) {
        self.round_trip_ms = ms.filter(|ms| ms.is_finite() && *ms >= 0.0);
    }

    /// How many the far side sent since the first that came.
    pub fn expected(&self) -> u32 {
        self.highest.map_or(0, |highest| (highest - self.first + 1).clamp(0, i64::from(u32::MAX)) as u32)
    }

    /// Takes note of a packet; where it leaves a gap, [`Losses::gap`] says more of it.
    pub fn arrived(&mut self, sequence: i64, at: Duration) -> Arrived {
        let Some(highest) = self.highest else {
            (self.highest, self.first, self.told.highest) = (Some(sequence), sequence, sequence - 1);
            return Arrived::New;
        };
        if sequence > highest {
            self.highest = Some(sequence);
            return Arrived::New;
        }
        if sequence < self.first {
            self.first = sequence;
            return Arrived::Overtaken;
        }
        let Some(missing) = self.missing.remove(&sequence) else {
            if let Some(place) = self.answers.iter().position(|(answer, _)| *answer == sequence)
                && let Some((_, late)) = self.answers.remove(place)
            {
                self.lost = self.lost.saturating_sub(1);
                self.note_overtaken(at, late);
            }
            return Arrived::Duplicate;
        };
        let took = |since: Duration| at.saturating_sub(since).as_secs_f32() * 1000.0;
        let soonest = (SOONEST * self.round_trip_ms.unwrap_or(0.0) - MEASURED_LATE_MS).min(100.0);
        if missing.asked > 0 && took(missing.last_asked) >= soonest {
            self.answers.push_back((sequence, took(missing.since)));
            if self.answers.len() > CAPACITY {
                self.answers.pop_front();
            }
            self.questions = 0;
            if missing.asked == 1 {
                let answered = took(missing.last_asked);
                self.answered_ms = Some(self.answered_ms.map_or(answered, |old| old + (answered - old) / 8.0));
            }
            return Arrived::Resent;
        }
        if missing.lost {
            self.lost = self.lost.saturating_sub(1);
        }
        self.note_overtaken(at, took(missing.since));
        Arrived::Overtaken
    }

    fn note_overtaken(&mut self, at: Duration, late: f32) {
        let longest = self.overtaken.filter(|(then, _)| at.saturating_sub(*then) < OVERTAKEN_MEMORY);
        self.overtaken = Some((at, longest.map_or(late, |(_, longest)| longest.max(late))));
    }

    /// The packet `sequence` has not come, its sound may begin at `timestamp` and last `samples`; `known` if that can be
    /// had from what did come.
    pub fn gap(&mut self, sequence: i64, timestamp: i64, samples: i64, at: Duration, known: bool, row: i64) {
        let missing =
            Missing { timestamp, since: at, asked: 0, last_asked: at, lost: false, copied: false, known, row };
        self.missing.insert(sequence, missing);
        if self.missing.len() > CAPACITY {
            self.missing.pop_first();
        }
        if self.gaps.last != Some(sequence - 1) {
            self.gaps.count += 1.0;
        }
        self.gaps.last = Some(sequence);
        self.gaps.samples += samples as f32;
    }

    /// The sound of `sequence` came otherwise. If it could not be had before: how many were lost in a row with it.
    pub fn copied(&mut self, sequence: i64) -> Option<i64> {
        let unknown = self.unknown(sequence);
        if let Some(missing) = self.missing.get_mut(&sequence) {
            (missing.copied, missing.known) = (true, true);
        }
        unknown
    }

    /// If the sound of `sequence` is missing, and cannot be had: how many were lost in a row with it.
    pub fn unknown(&self, sequence: i64) -> Option<i64> {
        self.missing.get(&sequence).filter(|missing| !missing.known).map(|missing| missing.row)
    }

    /// What is worth asking for now, where an answer that is there at `at` would be useful for sound that begins at a
    /// timestamp if `useful(at, timestamp)`.
    pub fn ask(&mut self, now: Duration, useful: impl Fn(Duration, i64) -> bool) -> Vec<u16> {
        let round_trip = match (self.round_trip_ms, self.answered_ms) {
            // Both ends' noticing is in what was measured by answers.
            (_, Some(answered)) => answered,
            (Some(round_trip), None) => round_trip + NOTICING_MS,
            (None, None) => LIKELY_ROUND_TRIP_MS,
        };
        let overtaken = self.overtaken.filter(|(then, _)| now.saturating_sub(*then) < OVERTAKEN_MEMORY);
        let patience = millis(overtaken.map_or(0.0, |(_, ms)| (ms + 1.0).min(60.0)));
        self.missing.retain(|_, missing| now.saturating_sub(missing.since) < MEMORY);
        let futile = round_trip > LONGEST_ROUND_TRIP_MS || self.questions >= UNANSWERED;
        let again = millis(round_trip + NOTICING_MS);
        let there = now + millis(round_trip.min(LONGEST_ROUND_TRIP_MS));
        let mut asked = Vec::new();
        for (sequence, missing) in &mut self.missing {
            let waited = now.saturating_sub(missing.since);
            if !missing.lost && waited >= patience.max(if futile { LOST_AFTER } else { Duration::ZERO }) {
                missing.lost = true;
                self.lost = self.lost.saturating_add(1);
            }
            let due = match missing.asked {
                0 => waited >= patience,
                1..MOST_ASKED => now.saturating_sub(missing.last_asked) >= again,
                MOST_ASKED.. => false,
            };
            if due && !futile && !missing.copied && asked.len() < ASKED_AT_ONCE && useful(there, missing.timestamp) {
                missing.asked += 1;
                missing.last_asked = now;
                self.questions += 1;
                asked.push(*sequence as u16);
            }
        }
        asked
    }

    /// What the far side is to be told now, if it is time.
    pub fn feedback(
        &mut self,
        now: Duration,
        jitter_ms: f32,
        unrecovered: f32,
        bandwidth: Option<u32>,
    ) -> Option<Feedback> {
        let highest = self.highest?;
        let since = now.saturating_sub(*self.told.at.get_or_insert(now));
        let expected = highest - self.told.highest;
        let lost = self.lost.saturating_sub(self.told.lost);
        let loss = if expected > 0 { (lost as f32 / expected as f32).min(1.0) } else { 0.0 };
        let changed = match (bandwidth, self.told.bandwidth) {
            (Some(new), Some(old)) => new.abs_diff(old) > old / 20,
            (new, old) => new != old,
        };
        if since < SOON || since < REGULAR && !changed && (loss <= LOSSY || lost < 2) {
            return None;
        }
        self.told = Told { at: Some(now), lost: self.lost.max(self.told.lost), highest, bandwidth };
        let burst = self.gaps.samples / self.gaps.count / 48.0;
        // A gap of the last seconds still counts: the pattern of loss shows in several only.
        let fade = 0.9f32.powf(since.as_secs_f32());
        self.gaps.count *= fade;
        self.gaps.samples *= fade;
        Some(Feedback {
            loss,
            unrecovered: Some(unrecovered),
            burst_ms: (self.gaps.count > 0.2).then_some(burst),
            jitter_ms,
            round_trip_ms: None,
            bandwidth,
            highest_sequence: highest as u32,
            cumulative_lost: self.lost,
        })
    }

    /// Another stream on the same way.
    pub fn restart(&mut self) {
        let Self { round_trip_ms, answered_ms, overtaken, gaps, told, .. } = std::mem::take(self);
        let told = Told { lost: 0, highest: 0, ..told };
        *self = Self { round_trip_ms, answered_ms, overtaken, gaps, told, ..Self::default() };
    }
}

fn millis(ms: f32) -> Duration {
    Duration::from_micros((ms.max(0.0) * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn with_gap(round_trip_ms: Option<f32>) -> Losses {
        let mut losses = Losses::default();
        losses.set_round_trip(round_trip_ms);
        losses.arrived(10, Duration::ZERO);
        losses.arrived(13, 60 * MS);
        losses.gap(11, 960, 960, 60 * MS, false, 2);
        losses.gap(12, 1920, 960, 60 * MS, true, 2);
        losses
    }

    #[test]
    fn what_is_missing_is_asked_for_at_once_and_again_after_a_round_trip() {
        let mut losses = with_gap(Some(30.0));
        let asked: Vec<(u32, Vec<u16>)> =
            (60..300).map(|ms| (ms, losses.ask(ms * MS, |_, _| true))).filter(|(_, asked)| !asked.is_empty()).collect();
        let both = vec![11, 12];
        assert_eq!(asked, [(60, both.clone()), (110, both.clone()), (160, both.clone()), (210, both)]);
    }

    #[test]
    fn what_would_come_too_late_or_has_come_otherwise_is_not_asked_for() {
        let mut losses = with_gap(Some(30.0));
        assert_eq!((losses.copied(11), losses.copied(11), losses.copied(12)), (Some(2), None, None));
        assert!(losses.ask(61 * MS, |_, _| true).is_empty());
        assert_eq!(with_gap(Some(30.0)).ask(61 * MS, |at, timestamp| at == 101 * MS && timestamp > 960), [12]);
        assert!(with_gap(Some(250.0)).ask(61 * MS, |_, _| true).is_empty());
    }

    #[test]
    fn a_far_side_that_never_answers_is_not_asked_for_ever() {
        let mut losses = Losses::default();
        let mut asked = 0;
        for i in 0..2000u32 {
            losses.arrived(i64::from(i) * 2, i * 40 * MS);
            losses.gap(i64::from(i) * 2 - 1, 0, 960, i * 40 * MS, false, 1);
            asked += losses.ask(i * 40 * MS, |_, _| true).len();
        }
        assert!(asked <= 70, "{asked}");
    }

    #[test]
    fn what_was_overtaken_is_no_loss_and_teaches_patience() {
        let mut losses = with_gap(Some(30.0));
        losses.ask(60 * MS, |_, _| true);
        assert_eq!(losses.arrived(11, 66 * MS), Arrived::Overtaken);
        assert_eq!(losses.arrived(12, 95 * MS), Arrived::Resent);
        losses.arrived(15, 120 * MS);
        losses.gap(14, 2880, 960, 120 * MS, false, 1);
        assert!(losses.ask(125 * MS, |_, _| true).is_empty());
        assert_eq!(losses.ask(127 * MS, |_, _| true), [14]);
        losses.feedback(127 * MS, 0.0, 0.0, None);
        let told = losses.feedback(1127 * MS, 0.0, 0.0, None).unwrap();
        assert_eq!((told.highest_sequence, told.cumulative_lost), (15, 2));
    }

    #[test]
    fn an_answer_from_next_door_is_told_from_what_was_overtaken() {
        let mut losses = with_gap(Some(6.0));
        losses.ask(60 * MS, |_, _| true);
        assert_eq!(losses.arrived(11, 61 * MS), Arrived::Resent);
        assert_eq!(losses.arrived(12, 62 * MS), Arrived::Resent);
        losses.feedback(62 * MS, 0.0, 0.0, None);
        assert_eq!(losses.feedback(1062 * MS, 0.0, 0.0, None).unwrap().cumulative_lost, 2);
        // Both came, so the first was the packet itself.
        assert_eq!(losses.arrived(12, 1070 * MS), Arrived::Duplicate);
        assert_eq!(losses.feedback(2070 * MS, 0.0, 0.0, None).unwrap().cumulative_lost, 1);
        losses.arrived(15, 2120 * MS);
        losses.gap(14, 2880, 960, 2120 * MS, false, 1);
        assert!(losses.ask(2122 * MS, |_, _| true).is_empty(), "it waits for what is overtaken");
    }

    #[test]
    fn feedback_says_how_much_is_lost_and_in_gaps_of_what_length() {
        let mut losses = Losses::default();
        losses.feedback(Duration::ZERO, 0.0, 0.0, None);
        losses.arrived(0, Duration::ZERO);
        assert!(losses.feedback(Duration::ZERO, 0.0, 0.0, None).is_none());
        for i in 1..60i64 {
            let at = 20 * i as u32 * MS;
            if i % 10 < 3 {
                losses.gap(i, 960 * i, 960, at, false, 3);
            } else {
                losses.arrived(i, at);
            }
        }
        losses.ask(1180 * MS, |_, _| true);
        let told = losses.feedback(1200 * MS, 3.0, 0.25, Some(40_000)).unwrap();
        assert_eq!((told.cumulative_lost, told.bandwidth), (17, Some(40_000)));
        assert!((told.burst_ms.unwrap() - 17.0 / 6.0 * 20.0).abs() < 0.01);
        assert!((told.loss - 17.0 / 60.0).abs() < 1e-6);
    }
}
