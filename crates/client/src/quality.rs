//! How a call sounded on this side, gathered second by second and told once, after its end.

use bellwire_media::Stats;
use bellwire_signaling::{CallQuality, Cause};
use std::collections::BTreeMap;

/// Round trips are counted in steps of this many milliseconds, up to the last.
const STEP_MS: f32 = 5.0;
const STEPS: usize = 400;
/// What was explained for less than this many seconds in all was not what was wrong with the call.
const CAUSE_SECONDS: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Gathered {
    mos: Mean,
    loss_in: Mean,
    loss_out: Mean,
    round_trips: Vec<u32>,
    reconnects: u16,
    reconnecting_ms: u64,
    causes: BTreeMap<Cause, u32>,
}

#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f32) {
        if value.is_finite() {
            self.sum += f64::from(value);
            self.count += 1;
        }
    }

    fn get(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

impl Gathered {
    /// A second in which sound went.
    pub(crate) fn second(&mut self, stats: &Stats) {
        stats.mos.into_iter().for_each(|mos| self.mos.add(mos));
        self.loss_in.add(stats.loss_in);
        stats.loss_out.into_iter().for_each(|loss| self.loss_out.add(loss));
        if let Some(ms) = stats.round_trip_ms.filter(|ms| ms.is_finite() && *ms >= 0.0) {
            self.round_trips.resize(STEPS, 0);
            self.round_trips[((ms / STEP_MS) as usize).min(STEPS - 1)] += 1;
        }
    }

    /// Something was explained for a second.
    pub(crate) fn explained(&mut self, cause: Cause) {
        *self.causes.entry(cause).or_default() += 1;
    }

    pub(crate) fn sound_lost(&mut self) {
        self.reconnects = self.reconnects.saturating_add(1);
    }

    /// For so long, until it was back or the call was over.
    pub(crate) fn sound_was_lost_for(&mut self, ms: u64) {
        self.reconnecting_ms += ms;
    }

    /// Nothing if there was no second with sound.
    pub(crate) fn summary(&self, relayed: bool) -> Option<CallQuality> {
        let mos = self.mos.get()?;
        let percent = |mean: &Mean| (mean.get().unwrap_or_default() * 100.0).round().clamp(0.0, 100.0) as u8;
        let longest = self.causes.iter().filter(|(_, seconds)| **seconds >= CAUSE_SECONDS).max_by_key(|(_, s)| **s);
        Some(CallQuality {
            mos_x10: (mos * 10.0).round().clamp(10.0, 45.0) as u8,
            loss_in_percent: percent(&self.loss_in),
            loss_out_percent: percent(&self.loss_out),
            round_trip_ms: self.median_round_trip_ms(),
            reconnects: self.reconnects,
            reconnecting_ms: u32::try_from(self.reconnecting_ms).unwrap_or(u32::MAX),
            relayed,
            cause: longest.map(|(cause, _)| *cause),
        })
    }

    fn median_round_trip_ms(&self) -> u16 {
        let all: u32 = self.round_trips.iter().sum();
        let mut below = 0;
        let step = self.round_trips.iter().position(|count| {
            below += count;
            below * 2 >= all && all > 0
        });
        step.map_or(0, |step| (step as f32 * STEP_MS) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_holds_means_the_median_and_what_was_explained_longest() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.summary(false), None);
        for (mos, loss_in, round_trip_ms) in
            [(4.0, 0.0, 20.0), (4.0, 0.1, 22.0), (3.0, 0.1, 900.0), (3.0, 0.0, f32::NAN)]
        {
            let (mos, round_trip_ms) = (Some(mos), Some(round_trip_ms));
            gathered.second(&Stats { mos, loss_in, loss_out: Some(0.02), round_trip_ms, ..Stats::default() });
        }
        for (cause, seconds) in [(Cause::Delay, 3), (Cause::Loss, 5), (Cause::Echo, 2)] {
            (0..seconds).for_each(|_| gathered.explained(cause));
        }
        gathered.sound_lost();
        gathered.sound_was_lost_for(1_200);
        gathered.sound_was_lost_for(300);
        let expected = CallQuality {
            mos_x10: 35,
            loss_in_percent: 5,
            loss_out_percent: 2,
            round_trip_ms: 20,
            reconnects: 1,
            reconnecting_ms: 1_500,
            relayed: true,
            cause: Some(Cause::Loss),
        };
        assert_eq!(gathered.summary(true), Some(expected));
    }

    #[test]
    fn what_was_explained_for_a_moment_is_no_cause() {
        let mut gathered = Gathered::default();
        gathered.second(&Stats { mos: Some(4.4), ..Stats::default() });
        gathered.explained(Cause::Jitter);
        let summary = gathered.summary(false).unwrap();
        assert_eq!((summary.cause, summary.round_trip_ms), (None, 0));
    }
}
