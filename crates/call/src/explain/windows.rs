//! What turns single seconds into findings: each window says when it is raised and when it is cleared again.
//!
//! Between the two a window keeps what it said (hysteresis), and a second that was not measured changes nothing.

use crate::Monotonic;
use std::collections::VecDeque;

/// Raised while a limit was passed in 3 of the last 5 samples; cleared when none of the 5 passes it.
#[derive(Debug)]
pub struct Often {
    limit: f32,
    samples: VecDeque<f32>,
    raised: bool,
}

impl Often {
    const SAMPLES: usize = 5;
    const RAISES: usize = 3;

    pub fn above(limit: f32) -> Self {
        Self { limit, samples: VecDeque::with_capacity(Self::SAMPLES), raised: false }
    }

    pub fn push(&mut self, value: Option<f32>) {
        let Some(value) = value else { return };
        push_out(&mut self.samples, Self::SAMPLES, value);
        let passed = self.samples.iter().filter(|sample| **sample > self.limit).count();
        self.raised = passed >= Self::RAISES || (self.raised && passed > 0);
    }

    /// The worst of the samples, while raised.
    pub fn raised(&self) -> Option<f32> {
        self.samples.iter().copied().filter(|_| self.raised).reduce(f32::max)
    }
}

/// Raised when the mean of the last 7 samples is above `raise`, cleared when it is `clear` or less. Samples that are yet
/// to come count as 0, so that much is said at once and little only when it lasts.
#[derive(Debug)]
pub struct Mean {
    raise: f32,
    clear: f32,
    samples: VecDeque<f32>,
    raised: bool,
}

impl Mean {
    const SAMPLES: usize = 7;

    pub fn above(raise: f32, clear: f32) -> Self {
        Self { raise, clear, samples: VecDeque::with_capacity(Self::SAMPLES), raised: false }
    }

    pub fn push(&mut self, value: Option<f32>) {
        let Some(value) = value else { return };
        push_out(&mut self.samples, Self::SAMPLES, value);
        let mean = self.samples.iter().sum::<f32>() / Self::SAMPLES as f32;
        self.raised = mean > if self.raised { self.clear } else { self.raise };
    }

    /// The mean of the samples that came, while raised; never less than what raises it, so that nobody is shown the
    /// figures of its end.
    pub fn raised(&self) -> Option<f32> {
        let mean = self.samples.iter().sum::<f32>() / self.samples.len().max(1) as f32;
        self.raised.then_some(mean.max(self.raise))
    }
}

/// Raised when nothing has come for two seconds, cleared when something came in two samples in a row.
#[derive(Debug, Default)]
pub struct Silence {
    /// When something came last, or the call began.
    came_at: Option<Monotonic>,
    came_before: bool,
    raised: bool,
}

impl Silence {
    /// A sample is taken once a second, and not to the millisecond.
    const RAISES_MS: u64 = 1_900;

    /// `sure`: whoever counts packets, more often than once a second, says that none came for two seconds.
    pub fn push(&mut self, comes: bool, sure: bool, now: Monotonic) {
        let came_at = *self.came_at.get_or_insert(now);
        if comes {
            self.came_at = Some(now);
            self.raised &= !self.came_before;
        } else {
            self.raised |= sure || now.since(came_at) >= Self::RAISES_MS;
        }
        self.came_before = comes;
    }

    pub fn raised(&self) -> bool {
        self.raised
    }
}

/// Raised by two bad samples in a row, cleared by two good ones.
#[derive(Debug, Default)]
pub struct Streak {
    /// How many in a row were not as what is said.
    against: u8,
    raised: bool,
}

impl Streak {
    const SAMPLES: u8 = 2;

    pub fn push(&mut self, bad: bool) {
        self.against = if bad == self.raised { 0 } else { self.against + 1 };
        if self.against >= Self::SAMPLES {
            self.raised = bad;
            self.against = 0;
        }
    }

    pub fn raised(&self) -> bool {
        self.raised
    }
}

fn push_out<T>(samples: &mut VecDeque<T>, most: usize, value: T) {
    if samples.len() == most {
        samples.pop_front();
    }
    samples.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(said: impl Iterator<Item = bool>) -> String {
        said.map(|raised| if raised { '#' } else { '.' }).collect()
    }

    #[test]
    fn three_of_five_raise_and_none_of_five_clear() {
        let mut often = Often::above(400.0);
        let values = [500.0, 300.0, 500.0, 300.0, 500.0, 300.0, 300.0, 300.0, 300.0, 300.0];
        let said = values.map(|value| {
            often.push(Some(value));
            often.push(None);
            often.raised().is_some()
        });
        assert_eq!(marks(said.into_iter()), "....#####.");
    }

    #[test]
    fn a_little_loss_is_said_when_it_lasts_and_much_at_once() {
        let said = |values: &[f32]| {
            let mut mean = Mean::above(0.03, 0.01);
            marks(values.iter().map(|value| {
                mean.push(Some(*value));
                mean.raised().is_some()
            }))
        };
        assert_eq!(said(&[0.04; 7]), ".....##");
        assert_eq!(said(&[0.30; 3]), "###");
        assert_eq!(said(&[0.08, 0.08, 0.08, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), "..#######.");
        assert_eq!(said(&[0.03; 9]), ".........");
    }

    #[test]
    fn silence_is_two_seconds_or_the_word_of_who_knows() {
        let said = |seconds: &str| {
            let mut silence = Silence::default();
            marks(seconds.chars().enumerate().map(|(n, c)| {
                silence.push(c == 'x', c == '!', Monotonic(5_000 + n as u64 * 990));
                silence.raised()
            }))
        };
        assert_eq!(said("..."), "..#", "from the beginning on");
        assert_eq!(said(".x.x...x.xx"), ".....#####.");
        assert_eq!(said("xx.!xx"), "...##.");
    }

    #[test]
    fn two_in_a_row_turn_a_streak() {
        let mut streak = Streak::default();
        let said = "x.xx.x..".chars().map(|c| {
            streak.push(c == 'x');
            streak.raised()
        });
        assert_eq!(marks(said), "...####.");
    }
}
