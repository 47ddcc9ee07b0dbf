//! What to do about loss, and in which shape sound goes: a table of thresholds, each with its reason.

use super::pattern::{Pattern, Switch};
use crate::pipeline::{Abilities, Mechanisms, OVERHEAD, Plan};
use crate::{Protection, ProtectionReason};
use std::time::Duration;

/// What is done now.
pub struct Choice {
    pub plan: Plan,
    /// Each copy's distance in packets, the farthest first.
    pub copies: Vec<u16>,
    pub protection: Protection,
}

/// What it is chosen by.
pub struct Given<'a> {
    pub abilities: Abilities,
    pub mechanisms: Mechanisms,
    pub original: bool,
    pub pattern: &'a Pattern,
    /// Bits a second of whole packets; `None` without a limit.
    pub limit: Option<u32>,
    /// How long the newest packet plays.
    pub packet_ms: u8,
    /// How long this way has been used.
    pub age: Duration,
}

/// Chooses, and remembers what it chose, so that nothing flaps.
#[derive(Default)]
pub struct Chooser {
    swift: Switch,
    first: Switch,
    second: Switch,
    third: Switch,
    fec: Switch,
    dred: Switch,
    /// Copies were tried and are not tried again until then.
    barred: Option<Duration>,
    packet_ms: Option<u8>,
    /// Since when another length would suit better.
    unsuited: Option<Duration>,
    expected_loss: u8,
}

/// Bits a second of codec: speech where nothing limits it (PESQ-WB on recorded speech: 4.45; 4.40 at 32,000, 4.48 at 48,000),
const SPEECH: u32 = 40_000;
/// with deep redundancy, which takes half of it (4.42),
const SPEECH_WITH_DRED: u32 = 48_000;
/// with three copies, which are to take no more than two did (4.38),
const SPEECH_WITH_THREE: u32 = 28_000;
/// the least that speech is lowered to in favour of copies (4.36),
const SPEECH_WITH_COPIES: u32 = 20_000;
/// and at all (3.5).
const SPEECH_LEAST: u32 = 10_000;
/// A way begins with a rate that most carry, in bits a second (PESQ-WB 4.3), and gets so much more each second until it
/// proves narrow: the queue that shows this is short then, and with it the delay of the first half minute.
const BEGIN: u32 = 18_000;
const BEGIN_GROWTH: u32 = 4_000;
/// Original sound, and the least of it that is worth its name.
const ORIGINAL: u32 = 128_000;
const ORIGINAL_LEAST: u32 = 48_000;

/// Below this round trip, in milliseconds, a packet that is sent again comes hardly later than jitter makes a buffer wait,
const SWIFT_BELOW: f32 = 80.0;
/// above this it does not.
const SWIFT_UNTIL: f32 = 100.0;
/// Share lost from which, and until which, one copy, two and three ride along where packets are sent again swiftly: a second
/// loss in a row, of the packet sent again, is still rare below,
const FIRST_IF_SWIFT: (f32, f32) = (0.03, 0.015);
const SECOND_IF_SWIFT: (f32, f32) = (0.04, 0.025);
const THIRD_IF_SWIFT: (f32, f32) = (0.15, 0.1);
/// and where they are not. One in a hundred is heard.
const FIRST: (f32, f32) = (0.01, 0.005);
const SECOND: (f32, f32) = (0.07, 0.045);
const THIRD: (f32, f32) = (0.15, 0.1);
/// As for copies, where there are none: the encoder hardly engages FEC below.
const FEC: (f32, f32) = (0.02, 0.01);
const DRED: (f32, f32) = (0.02, 0.01);
/// The encoder hardly spends bits on FEC below this expectation,
const EXPECTED_LEAST: u8 = 10;
/// and above this more than it gains.
const EXPECTED_MOST: u8 = 25;
/// What is expected changes by so much at once, so that it does not with every report.
const EXPECTED_STEP: u8 = 4;
/// After copies only made loss worse.
const BARRED: Duration = Duration::from_secs(30);
/// Milliseconds back that a copy can lie (RFC 2198: 14 bits of samples).
const REACH: f32 = 320.0;
/// A copy lies so many mean gaps back: most gaps are no longer.
const GAPS_BACK: f32 = 1.3;
/// Milliseconds of the past that a packet describes: so many mean gaps.
const GAPS_DESCRIBED: f32 = 4.0;
/// Part of the limit that is planned for; speech varies.
const FILL: f32 = 0.97;
/// What packets of 20 and of 40 ms have to leave for the codec to be chosen (4.43 and 4.3; 4.2 with what longer ones leave),
/// and the share of it that they have to leave to be kept.
const CHOSEN_20: u32 = 24_000;
const CHOSEN_40: u32 = 17_000;
const KEPT: f32 = 0.9;
/// Longer packets wait for this, as a queue that goes away asks for little for a moment, and a way that became longer is known
/// for one by then ([`crate::congestion`]); shorter ones for this.
const LONGER_AFTER: Duration = Duration::from_millis(1800);
const SHORTER_AFTER: Duration = Duration::from_secs(1);

/// Bits a second that packets of this length spend beside the codec.
pub fn overhead(packet_ms: u8) -> u32 {
    (OVERHEAD as u32 * 8 * 1000) / u32::from(packet_ms.max(10))
}

impl Chooser {
    /// Copies made it worse.
    pub fn bar(&mut self, now: Duration) {
        self.barred = Some(now + BARRED);
    }

    pub fn choose(&mut self, given: &Given, now: Duration) -> Choice {
        let room = given.limit.filter(|_| given.mechanisms.rate).map(|limit| (limit as f32 * FILL) as u32);
        let packet_ms = if given.original { 20 } else { self.packet_ms(room, now) };
        let pattern = given.pattern;
        let resending = given.abilities.nack && given.mechanisms.resend;
        let round_trip = pattern.round_trip_ms.filter(|_| resending).unwrap_or(f32::INFINITY);
        let swift = self.swift.turn(-round_trip, -SWIFT_BELOW, -SWIFT_UNTIL, now);
        let (fullest, least, times) = if given.original {
            (ORIGINAL, ORIGINAL_LEAST, ORIGINAL / SPEECH)
        } else {
            (SPEECH, SPEECH_WITH_COPIES, 1)
        };
        let begun = (BEGIN as f32 + BEGIN_GROWTH as f32 * given.age.as_secs_f32()) as u32 * times;
        let fullest = if given.mechanisms.rate { fullest.min(begun) } else { fullest };

        let (first, second, third) =
            if swift { (FIRST_IF_SWIFT, SECOND_IF_SWIFT, THIRD_IF_SWIFT) } else { (FIRST, SECOND, THIRD) };
        let first = self.first.turn(pattern.loss, first.0, first.1, now);
        let second = self.second.turn(pattern.loss, second.0, second.1, now) && first;
        let third = self.third.turn(pattern.loss, third.0, third.1, now) && second;
        let barred = self.barred.is_some_and(|until| now < until);
        let asked = [first, second, third].map(usize::from).iter().sum();
        let asked = if given.abilities.red && given.mechanisms.copies && !barred { asked } else { 0 };
        let payload = |copies: usize| room.map(|room| room.saturating_sub(overhead(packet_ms)) / (copies as u32 + 1));
        let carried = (0..=asked).rev().find(|copies| payload(*copies).is_none_or(|each| each >= least)).unwrap_or(0);
        let copies = self.distances(carried, given);

        let fullest = if carried > 2 { fullest.min(SPEECH_WITH_THREE * times) } else { fullest };
        let mut bitrate = payload(carried).map_or(fullest, |each| each.min(fullest));
        let spacious = payload(carried).is_none_or(|each| each >= SPEECH_WITH_DRED);
        let late = !swift && pattern.bursts() && given.abilities.dred && given.mechanisms.dred;
        let dred =
            self.dred.turn(if late { pattern.loss } else { 0.0 }, DRED.0, DRED.1, now) && spacious && !given.original;
        let dred_ms = if dred { described(pattern.gap_ms) } else { 0 };
        if dred && bitrate == SPEECH {
            bitrate = SPEECH_WITH_DRED;
        }
        let plain = !given.abilities.red && !given.abilities.nack;
        let wanted = self.fec.turn(pattern.loss, FEC.0, FEC.1, now);
        let unprotected = carried == 0 && (!swift || first);
        let fec = given.mechanisms.fec && !given.original && !dred && (plain || (wanted && unprotected));
        let plan = Plan {
            bitrate: bitrate.max(SPEECH_LEAST) / 500 * 500,
            packet_ms,
            expected_loss: if fec || dred { self.expect(pattern.loss) } else { 0 },
            fec,
            dred_ms,
        };
        let why = if room.is_some_and(|room| room < overhead(20) + SPEECH * 2) && carried < asked.max(1) {
            ProtectionReason::Narrow
        } else if pattern.loss < FIRST.1 {
            ProtectionReason::Clean
        } else if pattern.bursts() {
            ProtectionReason::Bursts
        } else {
            ProtectionReason::Loss
        };
        let protection = Protection {
            why,
            resending,
            copies: copies.len() as u8,
            reach_ms: copies.first().copied().unwrap_or(0) * u16::from(given.packet_ms),
            fec,
            dred_ms,
            packet_ms,
            codec_bitrate: plan.bitrate,
        };
        Choice { plan, copies, protection }
    }

    /// How far back copies lie: right behind each other, or beyond a gap of the mean length.
    fn distances(&self, copies: usize, given: &Given) -> Vec<u16> {
        let packet_ms = f32::from(given.packet_ms.max(10));
        let farthest = (REACH / packet_ms) as u16;
        let beyond = ((given.pattern.gap_ms * GAPS_BACK / packet_ms).ceil() as u16 + 1).clamp(2, farthest);
        match (copies, given.pattern.bursts()) {
            (0, _) => Vec::new(),
            (1, false) => vec![1],
            (1, true) => vec![beyond],
            (2, false) => vec![2, 1],
            (2, true) => vec![beyond, (beyond / 2).max(1)],
            (_, false) => vec![3, 2, 1],
            (_, true) => vec![beyond, (beyond * 2 / 3).max(2), (beyond / 3).max(1)],
        }
    }

    fn packet_ms(&mut self, room: Option<u32>, now: Duration) -> u8 {
        let current = self.packet_ms.unwrap_or(20);
        let leaves = |packet_ms: u8, least: f32| {
            room.is_none_or(|room| room.saturating_sub(overhead(packet_ms)) as f32 >= least)
        };
        let factor = |packet_ms: u8| if packet_ms >= current { KEPT } else { 1.0 };
        let suited = if leaves(20, CHOSEN_20 as f32 * factor(20)) {
            20
        } else if leaves(40, CHOSEN_40 as f32 * factor(40)) {
            40
        } else {
            60
        };
        let since = *self.unsuited.get_or_insert(now);
        let (mut next, wait) = (suited, if suited > current { LONGER_AFTER } else { SHORTER_AFTER });
        if suited == current {
            self.unsuited = None;
        } else if now < since + wait {
            // Only as long as it has to be, so long.
            let fits = |packet_ms: &u8| leaves(*packet_ms, SPEECH_LEAST as f32);
            next = [20, 40, 60].into_iter().filter(|ms| *ms >= current).find(fits).unwrap_or(60);
        } else {
            self.unsuited = None;
        }
        self.packet_ms = Some(next);
        next
    }

    fn expect(&mut self, loss: f32) -> u8 {
        let percent = ((loss * 100.0) as u8).clamp(EXPECTED_LEAST, EXPECTED_MOST);
        if percent.abs_diff(self.expected_loss) >= EXPECTED_STEP {
            self.expected_loss = percent;
        }
        self.expected_loss
    }
}

fn described(gap_ms: f32) -> u16 {
    ((gap_ms * GAPS_DESCRIBED / 100.0).ceil() as u16 * 100).clamp(200, 1000)
}
