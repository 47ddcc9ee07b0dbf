//! How good a call sounds, in words: a grade that follows the estimated score, and one grade for the whole call. Fed one
//! [`Stats`] a second. Why it is bad is left out: the client explains that.
//!
//! The thresholds are those of Twilio's preflight and the smoothing that of LiveKit's scorer: a call gets worse quickly in
//! what it shows, and better slowly.

use bellwire_client::Stats;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Excellent,
    Good,
    Fair,
    Poor,
}

const FALLS_BY: f32 = 0.8;
const RISES_BY: f32 = 0.4;

#[derive(Clone, Debug, Default)]
pub struct Quality {
    newest: Option<Stats>,
    score: Option<f32>,
    sum: f32,
    scored: u32,
}

impl Quality {
    pub fn take(&mut self, stats: &Stats) {
        self.newest = Some(stats.clone());
        if let Some(mos) = stats.mos {
            let score = self.score.unwrap_or(mos);
            self.score = Some(score + (mos - score) * if mos < score { FALLS_BY } else { RISES_BY });
            self.sum += mos;
            self.scored += 1;
        }
    }

    pub fn newest(&self) -> Option<&Stats> {
        self.newest.as_ref()
    }

    pub fn grade(&self) -> Option<Grade> {
        self.score.map(grade)
    }

    /// Of the whole call.
    pub fn overall(&self) -> Option<Grade> {
        (self.scored > 0).then(|| grade(self.sum / self.scored as f32))
    }
}

pub fn grade(mos: f32) -> Grade {
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
}
