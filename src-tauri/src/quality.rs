//! How good a call sounds, in words: a grade that follows the estimated score, what troubles the call now and on which
//! side, and one grade for the whole call. Fed one [`Stats`] a second.
//!
//! The thresholds are those of Twilio's voice.js (statsMonitor, preflight) and the smoothing that of LiveKit's scorer: a
//! call gets worse quickly in what it shows, and better slowly.

use bellwire_client::Stats;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Excellent,
    Good,
    Fair,
    Poor,
}

/// What a person could do something about; the first that holds is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Much of the other's sound is lost on its way here.
    LossIn,
    /// Much of ours is lost on its way there.
    LossOut,
    Delay,
    Jitter,
}

const RECENT: usize = 7;
const LATELY: usize = 5;
const LATELY_BAD: usize = 3;
const LOSS_BEGINS: f32 = 0.03;
const LOSS_CLEARS: f32 = 0.01;
const DELAY_MS: f32 = 400.0;
const JITTER_MS: f32 = 30.0;
const FALLS_BY: f32 = 0.8;
const RISES_BY: f32 = 0.4;

#[derive(Clone, Debug, Default)]
pub struct Quality {
    recent: VecDeque<Stats>,
    score: Option<f32>,
    loss_in: bool,
    loss_out: bool,
    sum: f32,
    scored: u32,
}

impl Quality {
    pub fn take(&mut self, stats: &Stats) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(stats.clone());
        if let Some(mos) = stats.mos {
            let score = self.score.unwrap_or(mos);
            self.score = Some(score + (mos - score) * if mos < score { FALLS_BY } else { RISES_BY });
            self.sum += mos;
            self.scored += 1;
        }
        self.loss_in = lossy(self.loss_in, self.recent.iter().map(|stats| stats.loss_in));
        self.loss_out = lossy(self.loss_out, self.recent.iter().filter_map(|stats| stats.loss_out));
    }

    pub fn newest(&self) -> Option<&Stats> {
        self.recent.back()
    }

    pub fn grade(&self) -> Option<Grade> {
        self.score.map(grade)
    }

    pub fn trouble(&self) -> Option<Trouble> {
        let lately = |bad: fn(&Stats) -> bool| {
            self.recent.iter().rev().take(LATELY).filter(|stats| bad(stats)).count() >= LATELY_BAD
        };
        if self.loss_in {
            Some(Trouble::LossIn)
        } else if self.loss_out {
            Some(Trouble::LossOut)
        } else if lately(|stats| stats.round_trip_ms.is_some_and(|ms| ms > DELAY_MS)) {
            Some(Trouble::Delay)
        } else if lately(|stats| stats.jitter_in_ms > JITTER_MS) {
            Some(Trouble::Jitter)
        } else {
            None
        }
    }

    /// Of the whole call.
    pub fn overall(&self) -> Option<Grade> {
        (self.scored > 0).then(|| grade(self.sum / self.scored as f32))
    }
}

fn grade(mos: f32) -> Grade {
    if mos > 4.2 {
        Grade::Excellent
    } else if mos > 3.7 {
        Grade::Good
    } else if mos > 3.1 {
        Grade::Fair
    } else {
        Grade::Poor
    }
}

/// Over a full window only, so that a single lost packet in the first second is no trouble.
fn lossy(before: bool, losses: impl Iterator<Item = f32>) -> bool {
    let losses: Vec<f32> = losses.collect();
    if losses.len() < RECENT {
        return before;
    }
    let mean = losses.iter().sum::<f32>() / losses.len() as f32;
    if before { mean > LOSS_CLEARS } else { mean > LOSS_BEGINS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: impl IntoIterator<Item = Stats>) -> Quality {
        let mut quality = Quality::default();
        for stats in seconds {
            quality.take(&stats);
        }
        quality
    }

    fn mos(mos: f32) -> Stats {
        Stats { mos: Some(mos), ..Stats::default() }
    }

    fn losing(share: f32) -> Stats {
        Stats { loss_in: share, loss_out: Some(0.0), ..Stats::default() }
    }

    #[test]
    fn the_grade_falls_at_once_and_rises_slowly() {
        assert_eq!(after([]).grade(), None);
        assert_eq!(after([mos(4.4)]).grade(), Some(Grade::Excellent));
        assert_eq!(after([mos(4.4), mos(2.0)]).grade(), Some(Grade::Poor));
        assert_eq!(after([mos(2.0), mos(4.4)]).grade(), Some(Grade::Poor));
        assert_eq!(after([mos(2.0), mos(4.4), mos(4.4), mos(4.4)]).grade(), Some(Grade::Good));
    }

    #[test]
    fn the_whole_call_has_the_grade_of_its_mean() {
        assert_eq!(after([]).overall(), None);
        assert_eq!(after([mos(4.4), mos(4.4), mos(4.4), mos(1.0)]).overall(), Some(Grade::Fair));
    }

    #[test]
    fn loss_is_told_when_it_lasts_and_until_it_is_gone() {
        assert_eq!(after((0..6).map(|_| losing(0.5))).trouble(), None, "not before seven seconds");
        assert_eq!(after((0..7).map(|_| losing(0.04))).trouble(), Some(Trouble::LossIn));
        assert_eq!(after((0..7).map(|_| losing(0.02))).trouble(), None);
        let better = |share: f32| (0..7).map(|_| losing(0.04)).chain((0..7).map(move |_| losing(share)));
        assert_eq!(after(better(0.02)).trouble(), Some(Trouble::LossIn));
        assert_eq!(after(better(0.005)).trouble(), None);
        let out = Stats { loss_out: Some(0.1), ..Stats::default() };
        assert_eq!(after((0..7).map(|_| out.clone())).trouble(), Some(Trouble::LossOut));
    }

    #[test]
    fn delay_and_jitter_are_told_when_three_of_five_seconds_have_them() {
        let late = Stats { round_trip_ms: Some(450.0), ..Stats::default() };
        let uneven = Stats { jitter_in_ms: 35.0, ..Stats::default() };
        let calm = Stats::default();
        assert_eq!(after([late.clone(), late.clone(), calm.clone()]).trouble(), None);
        assert_eq!(after([late.clone(), late.clone(), late.clone()]).trouble(), Some(Trouble::Delay));
        assert_eq!(after([late.clone(), late.clone(), late, calm.clone(), calm.clone(), calm.clone()]).trouble(), None);
        assert_eq!(after([uneven.clone(), calm, uneven.clone(), uneven]).trouble(), Some(Trouble::Jitter));
    }
}
