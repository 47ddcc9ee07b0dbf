//! Probes that go to a reflector and back, and what becomes of them.
//!
//! A probe holds its number and the time of its sending. The reflector numbers what it sends back by itself, without
//! gaps: so a gap in its numbers is a loss on the way down, and a probe that is missing without such a gap was lost on
//! the way up.

use crate::pipeline::{Arrival, Form, Outbound};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// As often and as large as speech at 32 kbit/s.
pub const EACH: Duration = Duration::from_millis(20);
const BYTES: usize = 80;
const SAMPLES: u32 = 960;

/// What a way does to packets. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathFigures {
    pub connected: bool,
    /// Milliseconds until packets came back.
    pub setup_ms: u32,
    pub loss_up: f32,
    pub loss_down: f32,
    /// The median.
    pub round_trip_ms: Option<f32>,
    /// The mean difference between the times that two packets in succession took (the D of RFC 3550, A.8).
    pub jitter_ms: f32,
}

#[derive(Default)]
pub struct Probes {
    sent: u32,
    /// From this number on they count: those before it found the far side not ready yet.
    counted_from: Option<u32>,
    came: BTreeSet<u32>,
    /// The reflector's numbers, without wrapping.
    lowest: i64,
    highest: i64,
    /// The last number seen, for counting beyond 16 bits.
    reference: Option<i64>,
    round_trips: Vec<f32>,
    last: Option<(u32, f32)>,
    differences: (f32, u32),
}

impl Probes {
    pub fn next(&mut self, now: Duration) -> Outbound {
        let number = self.sent;
        self.sent += 1;
        let mut payload = vec![0xA5; BYTES];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        payload[4..12].copy_from_slice(&(now.as_micros() as u64).to_be_bytes());
        Outbound {
            form: Form::Opus,
            sequence: number as u16,
            timestamp: number.wrapping_mul(SAMPLES),
            marker: false,
            payload: Bytes::from(payload),
        }
    }

    /// Takes a packet that came back.
    pub fn take(&mut self, packet: &Arrival) {
        let Some((number, sent_at)) = read(&packet.payload) else { return };
        if number >= self.sent {
            return;
        }
        let from = *self.counted_from.get_or_insert(self.sent);
        let sequence = self.unwrap(packet.sequence);
        if number < from || !self.came.insert(number) {
            return;
        }
        if self.came.len() == 1 {
            (self.lowest, self.highest) = (sequence, sequence);
        }
        (self.lowest, self.highest) = (self.lowest.min(sequence), self.highest.max(sequence));
        let round_trip = packet.at.saturating_sub(sent_at).as_secs_f32() * 1000.0;
        self.round_trips.push(round_trip);
        if let Some((before, took)) = self.last
            && number == before + 1
        {
            self.differences.0 += (round_trip - took).abs();
            self.differences.1 += 1;
        }
        self.last = Some((number, round_trip));
    }

    /// Whether anything has come back.
    pub fn flow(&self) -> bool {
        self.counted_from.is_some()
    }

    /// How many of those that count were sent, and came.
    pub fn counts(&self) -> (u32, u32) {
        (self.counted_from.map_or(0, |from| self.sent - from), self.came.len() as u32)
    }

    pub fn figures(&mut self, setup: Duration) -> PathFigures {
        let (sent, came) = self.counts();
        if sent == 0 || came == 0 {
            return PathFigures { setup_ms: 0, ..PathFigures::default() };
        }
        let all = came as f32 / sent as f32;
        let down = came as f32 / (self.highest - self.lowest + 1) as f32;
        self.round_trips.sort_by(f32::total_cmp);
        PathFigures {
            connected: true,
            setup_ms: setup.as_millis() as u32,
            loss_up: (1.0 - all / down).clamp(0.0, 1.0),
            loss_down: (1.0 - down).clamp(0.0, 1.0),
            round_trip_ms: self.round_trips.get(self.round_trips.len() / 2).copied(),
            jitter_ms: self.differences.0 / self.differences.1.max(1) as f32,
        }
    }

    fn unwrap(&mut self, sequence: u16) -> i64 {
        let whole = match self.reference {
            None => i64::from(sequence),
            Some(before) => before + i64::from(sequence.wrapping_sub(before as u16) as i16),
        };
        self.reference = Some(whole);
        whole
    }
}

fn read(payload: &[u8]) -> Option<(u32, Duration)> {
    let number = u32::from_be_bytes(payload.get(..4)?.try_into().ok()?);
    let micros = u64::from_be_bytes(payload.get(4..12)?.try_into().ok()?);
    (payload.len() == BYTES).then(|| (number, Duration::from_micros(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends so many probes through a reflector; `up` and `down` say which packets get through, `delay` how long one takes.
    fn run(count: u32, up: fn(u32) -> bool, down: fn(u16) -> bool, delay: fn(u32) -> u64) -> PathFigures {
        let mut probes = Probes::default();
        let mut reflected = 65_500u16;
        for n in 0..count {
            let at = Duration::from_millis(u64::from(n) * 20);
            let packet = probes.next(at);
            if !up(n) {
                continue;
            }
            reflected = reflected.wrapping_add(1);
            if down(reflected) {
                let at = at + Duration::from_millis(delay(n));
                let (sequence, timestamp, payload) = (reflected, packet.timestamp, packet.payload);
                probes.take(&Arrival { at, ssrc: 1, form: Form::Opus, sequence, timestamp, payload });
            }
        }
        probes.figures(Duration::from_millis(90))
    }

    fn check(figures: PathFigures, up: f32, down: f32, round_trip: f32, jitter: f32) {
        let near = |a: f32, b: f32, by: f32| (a - b).abs() <= by;
        assert!(near(figures.loss_up, up, 0.01), "up {up}: {figures:?}");
        assert!(near(figures.loss_down, down, 0.01), "down {down}: {figures:?}");
        assert!(near(figures.round_trip_ms.unwrap_or(0.0), round_trip, 0.5), "{figures:?}");
        assert!(near(figures.jitter_ms, jitter, 0.5), "{figures:?}");
    }

    #[test]
    fn losses_up_and_down_are_told_apart_across_the_wrap_of_numbers() {
        check(run(200, |_| true, |_| true, |_| 30), 0.0, 0.0, 30.0, 0.0);
        check(run(200, |n| n % 5 != 3, |_| true, |_| 30), 0.2, 0.0, 30.0, 0.0);
        check(run(200, |_| true, |n| n % 10 != 3, |_| 30), 0.0, 0.1, 30.0, 0.0);
        check(run(400, |n| n % 5 != 3, |n| n % 10 != 3, |_| 500), 0.2, 0.1, 500.0, 0.0);
    }

    #[test]
    fn jitter_is_the_mean_difference_in_succession() {
        check(run(200, |_| true, |_| true, |n| if n % 2 == 0 { 30 } else { 50 }), 0.0, 0.0, 50.0, 20.0);
    }

    #[test]
    fn what_never_came_back_is_no_connection() {
        assert!(!run(100, |_| false, |_| true, |_| 1).connected);
    }
}
