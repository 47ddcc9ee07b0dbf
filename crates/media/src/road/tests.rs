//! A road and a simulated link in virtual time, without a codec: packets have the size that the plan asks for.

use super::*;
use crate::congestion::Congestion;
use std::collections::VecDeque;

const MS: Duration = Duration::from_millis(1);
const ALL: Abilities = Abilities { red: true, nack: true, dred: true, reports: true };
const BROWSER: Abilities = Abilities { red: true, nack: false, dred: false, reports: false };

/// What a link does to packets.
#[derive(Clone, Copy)]
struct Link {
    /// Bits a second; `None` carries all at once.
    rate: Option<u32>,
    delay_ms: u64,
    jitter_ms: u64,
    loss: f32,
    /// Packets of a gap.
    gap: u32,
    /// Milliseconds of sound that can wait before packets are dropped.
    queue_ms: f32,
}

const CLEAN: Link = Link { rate: None, delay_ms: 20, jitter_ms: 0, loss: 0.0, gap: 1, queue_ms: 2000.0 };

/// A party that sends speech by a road, and one that hears it.
struct Trip {
    road: Road,
    link: Link,
    pauses: bool,
    now: Duration,
    chance: u64,
    next_packet: Duration,
    sequence: u16,
    timestamp: u32,
    plan: Plan,
    /// When the link is free again.
    free: Duration,
    gap_left: u32,
    arriving: VecDeque<(Duration, Outbound, u32)>,
    congestion: Congestion,
    reports: bool,
    /// Of the report under way.
    sent: u32,
    lost: u32,
    gaps: u32,
    report_at: Duration,
    report_sent: Duration,
    answers: VecDeque<(Duration, Feedback)>,
    resends: bool,
    asked: VecDeque<(Duration, u16, u32)>,
    /// Of the whole trip.
    queue_ms: Vec<f32>,
    offered: Vec<(Duration, usize)>,
    plans: Vec<(Duration, Plan, u8)>,
    dropped: u32,
}

impl Trip {
    fn new(abilities: Abilities, link: Link) -> Self {
        Self {
            road: Road::new(abilities),
            link,
            pauses: false,
            now: Duration::from_secs(100),
            chance: 7,
            next_packet: Duration::from_secs(100),
            sequence: 0xFFF0,
            timestamp: 0xFFFF_0000,
            plan: Plan::default(),
            free: Duration::ZERO,
            gap_left: 0,
            arriving: VecDeque::new(),
            congestion: Congestion::default(),
            reports: abilities.reports,
            sent: 0,
            lost: 0,
            gaps: 0,
            report_at: Duration::from_secs(101),
            report_sent: Duration::from_secs(100),
            answers: VecDeque::new(),
            resends: abilities.nack,
            asked: VecDeque::new(),
            queue_ms: Vec::new(),
            offered: Vec::new(),
            plans: Vec::new(),
            dropped: 0,
        }
    }

    /// 0 to 1, the same in every run.
    fn chance(&mut self) -> f32 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 40) as f32 / (1 << 24) as f32
    }

    fn run(&mut self, seconds: f32) {
        let end = self.now + Duration::from_secs_f32(seconds);
        while self.now < end {
            self.now += MS;
            if self.now >= self.next_packet {
                self.speak();
            }
            while self.arriving.front().is_some_and(|(at, _, _)| *at <= self.now) {
                if let Some((at, packet, samples)) = self.arriving.pop_front() {
                    self.congestion.arrived(at, packet.timestamp, samples, packet.payload.len() + OVERHEAD);
                }
            }
            while self.asked.front().is_some_and(|(at, _, _)| *at <= self.now) {
                if let Some((_, sequence, samples)) = self.asked.pop_front() {
                    for packet in self.road.resend(&[sequence], self.now) {
                        self.send(packet, samples);
                    }
                }
            }
            self.report();
            while self.answers.front().is_some_and(|(at, _)| *at <= self.now) {
                if let Some((_, feedback)) = self.answers.pop_front() {
                    self.road.heed(&feedback, self.now);
                }
            }
        }
    }

    fn speak(&mut self) {
        // The packet that ends now has the length that was chosen when it began.
        let packet_ms = self.plan.packet_ms;
        let plan = self.road.plan(self.now);
        self.plan = plan;
        self.plans.push((self.now, plan, self.road.choice.copies.len() as u8));
        self.next_packet += MS * u32::from(plan.packet_ms);
        // Speech varies by a third, over some packets, and one second of four is a pause.
        let pause = self.pauses && self.now.as_secs_f32() % 4.0 > 3.0;
        let shape = if pause { 0.1 } else { 1.0 + 0.3 * (self.now.as_secs_f32() * 9.0).sin() };
        let bytes = plan.bitrate as f32 * f32::from(packet_ms) / 8000.0 * shape;
        let samples = u32::from(packet_ms) * 48;
        let payload = bytes::Bytes::from(vec![0; bytes as usize]);
        let encoded = Encoded { sequence: self.sequence, timestamp: self.timestamp, marker: false, samples, payload };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples);
        let packet = self.road.pack(&encoded, self.now);
        self.sent += 1;
        if !self.send(packet, samples) {
            self.lost += 1;
            if self.resends {
                // Missed when the next one arrives.
                let asked = self.now + MS * (20 + 2 * self.link.delay_ms as u32);
                self.asked.push_back((asked, encoded.sequence, samples));
            }
        }
    }

    fn send(&mut self, packet: Outbound, samples: u32) -> bool {
        let bytes = packet.payload.len() + OVERHEAD;
        if self.gap_left > 0 {
            self.gap_left -= 1;
            return false;
        }
        if self.chance() < self.link.loss / self.link.gap as f32 {
            self.gap_left = self.link.gap - 1;
            self.gaps += 1;
            return false;
        }
        self.offered.push((self.now, bytes));
        let waits = self.free.saturating_sub(self.now).as_secs_f32() * 1000.0;
        if waits > self.link.queue_ms {
            self.dropped += 1;
            self.gaps += 1;
            return false;
        }
        let takes = self.link.rate.map_or(0.0, |rate| bytes as f32 * 8.0 / rate as f32);
        self.free = self.free.max(self.now) + Duration::from_secs_f32(takes);
        self.queue_ms.push(waits);
        let jitter = (self.chance() * self.link.jitter_ms as f32) as u32;
        let at = self.free + Duration::from_millis(self.link.delay_ms) + MS * jitter;
        let place = self.arriving.iter().position(|(other, _, _)| *other > at).unwrap_or(self.arriving.len());
        self.arriving.insert(place, (at, packet, samples));
        true
    }

    /// As the receiving side reports: each second, sooner while a queue grows; a browser each five, plainly.
    fn report(&mut self) {
        let bandwidth = if self.reports { self.congestion.bandwidth(self.now) } else { None };
        let urgent = bandwidth.is_some_and(|limit| {
            self.now >= self.report_sent + MS * 250 && limit < self.road.limit().unwrap_or(u32::MAX) / 10 * 9
        });
        if self.sent == 0 || (self.now < self.report_at && !urgent) {
            return;
        }
        self.report_at = self.now + if self.reports { MS * 1000 } else { MS * 5000 };
        self.report_sent = self.now;
        let queue = self.free.saturating_sub(self.now).as_secs_f32() * 1000.0;
        let gap = self.lost as f32 / self.gaps.max(1) as f32 * f32::from(self.plan.packet_ms);
        let feedback = Feedback {
            loss: self.lost as f32 / self.sent as f32,
            burst_ms: (self.reports && self.lost > 0).then_some(gap),
            round_trip_ms: Some(2.0 * self.link.delay_ms as f32 + queue),
            bandwidth,
            ..Feedback::default()
        };
        (self.sent, self.lost, self.gaps) = (0, 0, 0);
        self.answers.push_back((self.now + Duration::from_millis(self.link.delay_ms), feedback));
    }

    /// Bits a second that came to where the link is narrow in its last seconds.
    fn rate(&self, seconds: f32) -> f32 {
        let from = self.now - Duration::from_secs_f32(seconds);
        let bytes: usize = self.offered.iter().filter(|(at, _)| *at > from).map(|(_, bytes)| bytes).sum();
        bytes as f32 * 8.0 / seconds
    }

    /// Forgets the queue of before.
    fn rest(&mut self) {
        self.queue_ms.clear();
        self.plans.clear();
    }

    /// A queue that so large a share of packets did not see.
    fn queue_below(&self, share: f32) -> f32 {
        let mut sorted = self.queue_ms.clone();
        sorted.sort_by(f32::total_cmp);
        sorted[((sorted.len() - 1) as f32 * share) as usize]
    }

    fn protection(&mut self) -> Protection {
        self.road.take_figures().protection
    }

    /// How often something of the plan was another than the packet before.
    fn changes<T: PartialEq>(&self, of: impl Fn(&(Duration, Plan, u8)) -> T) -> usize {
        self.plans.windows(2).filter(|pair| of(&pair[0]) != of(&pair[1])).count()
    }
}

#[test]
fn a_clean_way_gets_plain_packets_of_the_full_rate() {
    for jitter_ms in [0, 40] {
        let mut trip = Trip::new(ALL, Link { jitter_ms, ..CLEAN });
        trip.run(30.0);
        assert_eq!(trip.road.limit(), None, "no limit was met with {jitter_ms} ms of jitter");
        let protection = trip.protection();
        assert_eq!((protection.copies, protection.fec, protection.dred_ms), (0, false, 0));
        assert_eq!(trip.plan.packet_ms, 20);
    }
}

#[test]
fn a_narrow_link_is_filled_and_not_flooded() {
    for (rate, packet_ms) in [(24_000, 60), (40_000, 40), (64_000, 20)] {
        let mut trip = Trip::new(ALL, Link { rate: Some(rate), ..CLEAN });
        trip.run(10.0);
        trip.rest();
        trip.run(60.0);
        let used = trip.rate(60.0) / rate as f32;
        println!(
            "{rate}: used {used:.2}, queue 50 % {:.0} 90 % {:.0} 99 % {:.0} ms, {} changes of length, codec {}",
            trip.queue_below(0.5),
            trip.queue_below(0.9),
            trip.queue_below(0.99),
            trip.changes(|(_, plan, _)| plan.packet_ms),
            trip.plan.bitrate,
        );
        assert!((0.75..1.0).contains(&used), "{used} of {rate} is used");
        assert!(trip.queue_below(0.95) < 60.0, "a queue of {} ms on {rate}", trip.queue_below(0.95));
        assert_eq!(trip.plan.packet_ms, packet_ms, "on {rate}");
        assert!(trip.changes(|(_, plan, _)| plan.packet_ms) <= 2, "the length of packets flaps on {rate}");
    }
}

#[test]
fn a_link_that_narrows_is_followed_down_at_once_and_up_in_seconds() {
    let mut trip = Trip::new(ALL, Link { rate: Some(200_000), ..CLEAN });
    trip.run(20.0);
    assert_eq!(trip.road.limit(), None);
    trip.link.rate = Some(40_000);
    trip.run(1.2);
    assert!(trip.road.limit().is_some_and(|limit| limit < 40_000), "{:?}", trip.road.limit());
    trip.run(2.5);
    trip.rest();
    trip.run(20.0);
    println!("narrow: queue 50 % {:.0} 99 % {:.0}", trip.queue_below(0.5), trip.queue_below(0.99));
    assert!(trip.queue_below(0.5) < 30.0, "the queue went away: {}", trip.queue_below(0.5));
    trip.link.rate = Some(200_000);
    let mut seconds = 0.0;
    while trip.plan.packet_ms > 20 || trip.plan.bitrate < 30_000 {
        trip.run(0.5);
        seconds += 0.5;
        assert!(seconds < 20.0, "still {:?}", trip.plan);
    }
    println!("up again after {seconds} s");
    assert!(seconds <= 12.0, "up again after {seconds} s");
}

#[test]
fn a_way_that_becomes_longer_is_not_narrow() {
    for (longer_ms, jitter_ms, rate) in [(50, 0, None), (50, 40, None), (150, 0, None), (50, 0, Some(200_000))] {
        let mut trip = Trip::new(ALL, Link { rate, jitter_ms, ..CLEAN });
        trip.pauses = true;
        trip.run(20.0);
        trip.link.delay_ms += longer_ms;
        let mut seconds = 0.0;
        while seconds < 1.0 || trip.plan.packet_ms > 20 || trip.plan.bitrate < 36_000 {
            trip.run(0.5);
            seconds += 0.5;
            assert!(seconds < 30.0, "{longer_ms} ms longer, jitter {jitter_ms}: still {:?}", trip.plan);
        }
        println!("{longer_ms} ms longer, jitter {jitter_ms}, link {rate:?}: whole again after {seconds} s");
        assert!(seconds <= 7.0, "{seconds} s");
        trip.rest();
        trip.run(60.0);
        let lowest = trip.plans.iter().map(|(_, plan, _)| plan.bitrate).min();
        assert!(lowest >= Some(30_000), "{longer_ms} ms longer, jitter {jitter_ms}, link {rate:?}: {lowest:?}");
    }
}

#[test]
fn a_way_that_becomes_longer_and_uneven_at_once_is_not_narrow() {
    let mut unsettled = 0;
    for chance in 1..=50 {
        let mut trip = Trip::new(ALL, CLEAN);
        trip.chance = chance;
        trip.run(2.5);
        trip.link = Link { delay_ms: CLEAN.delay_ms + 30, jitter_ms: 40, ..CLEAN };
        trip.run(5.0);
        if trip.road.limit().is_some() {
            unsettled += 1;
            println!("{chance}: {:?} {:?}", trip.road.limit(), trip.plan);
        }
    }
    assert_eq!(unsettled, 0, "of 50 ways are taken for narrow after 5 s");
}

#[test]
fn no_more_than_the_link_carries_is_sent_once_the_far_side_spoke() {
    for abilities in [ALL, Abilities { red: false, nack: false, dred: false, reports: true }] {
        let mut trip = Trip::new(abilities, Link { rate: Some(40_000), loss: 0.1, ..CLEAN });
        trip.run(3.0);
        for _ in 0..60 {
            trip.run(1.0);
            assert!(trip.rate(2.0) < 40_000.0 * 1.15, "{} of 40000 at {:?}", trip.rate(2.0), trip.now);
        }
    }
}

#[test]
fn a_browser_says_little_and_still_its_queue_goes_away() {
    let mut trip = Trip::new(BROWSER, Link { rate: Some(40_000), ..CLEAN });
    trip.run(60.0);
    trip.rest();
    trip.run(120.0);
    let used = trip.rate(120.0) / 40_000.0;
    println!("browser: used {used:.2}, queue 50 % {:.0} 90 % {:.0}", trip.queue_below(0.5), trip.queue_below(0.9));
    assert!((0.5..1.0).contains(&used), "{used} is used");
    assert!(trip.queue_below(0.5) < 150.0, "a queue of {} ms", trip.queue_below(0.5));
}

#[test]
fn where_the_way_is_short_copies_join_when_loss_is_more_than_a_little() {
    for (loss, copies) in [(0.01, 0), (0.06, 2), (0.3, 3)] {
        let mut trip = Trip::new(ALL, Link { loss, ..CLEAN });
        trip.run(40.0);
        let protection = trip.protection();
        assert_eq!(protection.copies, copies, "at {loss}");
        assert!(protection.resending && !protection.fec);
    }
}

#[test]
fn where_the_way_is_long_copies_come_first_and_go_last() {
    let mut trip = Trip::new(ALL, Link { loss: 0.03, delay_ms: 150, ..CLEAN });
    trip.run(20.0);
    assert_eq!(trip.protection().copies, 1);
    trip.link.loss = 0.0;
    trip.run(30.0);
    assert_eq!(trip.protection().copies, 0);
    assert_eq!(trip.protection().why, crate::ProtectionReason::Clean);
}

#[test]
fn long_gaps_on_a_long_way_are_bridged_by_far_copies_and_deep_redundancy() {
    let mut trip = Trip::new(ALL, Link { loss: 0.1, gap: 6, delay_ms: 150, ..CLEAN });
    trip.run(30.0);
    let protection = trip.protection();
    assert_eq!(protection.why, crate::ProtectionReason::Bursts);
    assert!(protection.reach_ms >= 120, "{protection:?}");
    assert!((200..=1000).contains(&protection.dred_ms), "{protection:?}");
}

#[test]
fn a_far_side_that_knows_none_of_it_gets_plain_opus_with_its_own_copy() {
    let mut trip = Trip::new(Abilities::default(), Link { loss: 0.2, ..CLEAN });
    trip.run(20.0);
    let protection = trip.protection();
    assert!(protection.fec && !protection.resending);
    assert_eq!((protection.copies, protection.dred_ms), (0, 0));
}

#[test]
fn nothing_flaps_at_a_threshold() {
    for loss in [0.01, 0.05, 0.08, 0.17] {
        for delay_ms in [20, 45, 150] {
            let mut trip = Trip::new(ALL, Link { loss, delay_ms, ..CLEAN });
            trip.run(120.0);
            let changes = trip.changes(|(_, _, copies)| *copies);
            assert!(changes <= 12, "{changes} changes of copies in 120 s at {loss}, {delay_ms} ms");
        }
    }
}

#[test]
fn copies_that_fill_a_link_with_a_short_queue_are_taken_back() {
    let mut trip = Trip::new(BROWSER, Link { rate: Some(60_000), queue_ms: 15.0, loss: 0.03, ..CLEAN });
    trip.run(120.0);
    let most = trip.plans.iter().filter(|(_, _, copies)| *copies > 0).count();
    assert!(most * 3 < trip.plans.len(), "copies in {most} of {} packets", trip.plans.len());
}

#[test]
fn what_is_asked_for_twice_within_a_round_trip_goes_once() {
    let mut road = Road::new(ALL);
    let at = Duration::from_secs(5);
    road.heed(&Feedback { round_trip_ms: Some(100.0), ..Feedback::default() }, at);
    let payload = bytes::Bytes::from_static(&[1, 2, 3, 4]);
    let packet = |sequence| Encoded { sequence, timestamp: 0, marker: false, samples: 960, payload: payload.clone() };
    let first = road.pack(&packet(65_535), at);
    road.pack(&packet(0), at);
    let again = road.resend(&[65_535, 7], at + MS * 120);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].sequence, &again[0].payload, again[0].form), (65_535, &first.payload, first.form));
    assert!(road.resend(&[65_535], at + MS * 180).is_empty());
    assert_eq!(road.resend(&[65_535, 0], at + MS * 230).len(), 2);
    assert!(road.resend(&[0], at + MS * 2000).is_empty(), "too old to be of use");
}

#[test]
fn copies_lie_where_their_offset_says() {
    let mut trip = Trip::new(ALL, Link { loss: 0.3, ..CLEAN });
    trip.run(30.0);
    let mut road = trip.road;
    let mut last = None;
    for i in 0..4u16 {
        let payload = bytes::Bytes::from(vec![i as u8; 40]);
        let timestamp = (u32::MAX - 1000).wrapping_add(u32::from(i) * 960);
        let encoded = Encoded { sequence: 5 + i, timestamp, marker: false, samples: 960, payload };
        last = Some(road.pack(&encoded, trip.now + MS * 20 * u32::from(i)));
    }
    let packet = last.unwrap();
    assert_eq!(packet.form, Form::Red);
    let blocks = red::read(&packet.payload).unwrap();
    let seen: Vec<_> = blocks.iter().map(|block| (block.offset, block.payload[0])).collect();
    assert_eq!(seen, [(2880, 0), (1920, 1), (960, 2), (0, 3)]);
}

#[test]
fn the_worst_of_several_roads_decides_for_the_encoder() {
    let mut narrow = Trip::new(ALL, Link { rate: Some(40_000), ..CLEAN });
    let mut lossy = Trip::new(Abilities::default(), Link { loss: 0.2, ..CLEAN });
    narrow.run(20.0);
    lossy.run(20.0);
    let plan = Plan::join([narrow.plan, lossy.plan]).unwrap();
    assert_eq!(plan.packet_ms, 40);
    assert!(plan.fec && plan.bitrate == narrow.plan.bitrate && plan.bitrate < lossy.plan.bitrate, "{plan:?}");
    assert!(plan.expected_loss >= 10);
}

#[test]
fn without_any_of_it_a_road_is_plain() {
    let none =
        Mechanisms { resend: false, copies: false, fec: false, dred: false, rate: false, ..Mechanisms::default() };
    let mut trip = Trip::new(ALL, Link { loss: 0.2, rate: Some(40_000), ..CLEAN });
    trip.road = Road::with(ALL, none);
    trip.run(10.0);
    let protection = trip.protection();
    assert_eq!((protection.copies, protection.fec, protection.dred_ms, protection.resending), (0, false, 0, false));
    assert_eq!((trip.plan.bitrate, trip.plan.packet_ms), (40_000, 20));
}
