//! How loss comes on a way, smoothed, and a switch that does not flap.

use crate::pipeline::Feedback;
use std::time::Duration;

/// How loss comes on a way.
#[derive(Default)]
pub struct Pattern {
    heard: Option<Duration>,
    /// Share of packets lost, 0 to 1.
    pub loss: f32,
    /// Mean length of the gaps in milliseconds; 0 while none was told of.
    pub gap_ms: f32,
    pub round_trip_ms: Option<f32>,
    bursts: Switch,
}

/// Loss is believed within about three seconds: fifty packets a second say 10 % only within 4 %;
const RISE: f32 = 3.0;
/// sooner when it is so much more than by chance.
const LEAP: f32 = 0.12;
const LEAP_RISE: f32 = 1.0;
/// It is forgotten over eight, as it comes and goes.
const FALL: f32 = 8.0;
/// Reports come each second, from a browser each five; one that was long awaited says no more than this.
const REPORT_MOST: Duration = Duration::from_secs(5);
const REPORT_FIRST: Duration = Duration::from_secs(1);
/// A gap's mean length jumps, as there are few.
const GAP_SHARE: f32 = 0.3;
const ROUND_TRIP_SHARE: f32 = 0.3;
/// By chance alone a gap has 1 / (1 - loss) packets on average. So many times longer, it is no chance,
const BURSTS_FROM: f32 = 1.7;
const BURSTS_UNTIL: f32 = 1.35;

impl Pattern {
    /// `packet_ms` is how long a packet plays now.
    pub fn heed(&mut self, feedback: &Feedback, packet_ms: f32, now: Duration) {
        let passed = self.heard.map_or(REPORT_FIRST, |heard| now.saturating_sub(heard)).min(REPORT_MOST);
        self.heard = Some(now);
        let loss = if feedback.loss.is_finite() { feedback.loss.clamp(0.0, 1.0) } else { 0.0 };
        let time = match loss - self.loss {
            LEAP.. => LEAP_RISE,
            0.0..LEAP => RISE,
            _ => FALL,
        };
        self.loss += (loss - self.loss) * (1.0 - (-passed.as_secs_f32() / time).exp());
        if let Some(gap) = feedback.burst_ms.filter(|gap| loss > 0.0 && gap.is_finite() && *gap > 0.0) {
            self.gap_ms = if self.gap_ms == 0.0 { gap } else { self.gap_ms + (gap - self.gap_ms) * GAP_SHARE };
        }
        if let Some(new) = feedback.round_trip_ms.filter(|ms| ms.is_finite()) {
            self.round_trip_ms = Some(self.round_trip_ms.map_or(new, |old| old + (new - old) * ROUND_TRIP_SHARE));
        }
        let beyond_chance = self.gap_ms / packet_ms * (1.0 - self.loss);
        self.bursts.turn(beyond_chance, BURSTS_FROM, BURSTS_UNTIL, now);
    }

    /// Several packets in a row are lost, more than by chance.
    pub fn bursts(&self) -> bool {
        self.bursts.on()
    }
}

/// On from one value, off below a lower one, and not off again at once.
#[derive(Default)]
pub struct Switch {
    since: Option<Duration>,
}

impl Switch {
    /// What was switched on stays so long: about as long as it takes to forget what it was switched on for.
    const STAYS: Duration = Duration::from_secs(6);

    pub fn turn(&mut self, value: f32, from: f32, until: f32, now: Duration) -> bool {
        match self.since {
            None if value > from => self.since = Some(now),
            Some(since) if value < until && now >= since + Self::STAYS => self.since = None,
            Some(_) | None => {}
        }
        self.on()
    }

    pub fn on(&self) -> bool {
        self.since.is_some()
    }
}
