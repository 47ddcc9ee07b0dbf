//! Which played frames go with which captured one.
//!
//! The canceller counts: it takes it that between two captured frames one was played. What comes in bursts, two played
//! and then two captured, is the same to it. What is not the same is a count that grows apart, by two clocks or by a
//! device that loses sound; then one frame is left out or done without, rarely, and the canceller finds the new delay.

use super::LowFrame;
use std::collections::VecDeque;

#[derive(Default)]
pub struct Pairing {
    played: VecDeque<LowFrame>,
    /// Captured frames that came before the played one that goes with them.
    owed: usize,
    /// The fewest frames that waited, and the fewest that were owed, in this stretch.
    least: Option<(usize, usize)>,
    captured: u32,
}

/// More than that is no burst: whoever captured stood still. The oldest go.
const MOST_PLAYED: usize = 16;
/// Captured frames that may run ahead: what is played waits in the canceller's own buffer for at least so long.
const MOST_OWED: usize = 4;
/// A count that is apart for so many captured frames is no burst.
const STRETCH: u32 = 200;
/// Frames that may wait for good: devices want their buffers filled before the first is captured.
const LASTING: usize = 2;

impl Pairing {
    pub fn played(&mut self, low: &LowFrame) {
        if self.played.len() == MOST_PLAYED {
            self.played.pop_front();
        }
        self.played.push_back(*low);
    }

    /// The played frames that go with one that is captured now.
    pub fn captured(&mut self) -> impl Iterator<Item = LowFrame> + '_ {
        let wanted = 1 + self.owed;
        let there = wanted.min(self.played.len());
        self.owed = (wanted - there).min(MOST_OWED);
        let left = (self.played.len() - there, self.owed);
        let least = self.least.map_or(left, |least| (least.0.min(left.0), least.1.min(left.1)));
        self.least = Some(least);
        self.captured += 1;
        if self.captured == STRETCH {
            (self.captured, self.least) = (0, None);
            let (waited, owed) = least;
            for _ in LASTING..waited {
                self.played.pop_front();
            }
            self.owed -= owed.min(self.owed);
        }
        self.played.drain(..there.min(self.played.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processing::LOW;

    /// Numbers of the played frames that go with each captured one, after `p` and `c` in this order.
    fn pairs(events: &str) -> Vec<Vec<usize>> {
        let mut pairing = Pairing::default();
        let mut number = 0;
        let mut pairs = Vec::new();
        for event in events.chars() {
            if event == 'p' {
                pairing.played(&[number as f32; LOW]);
                number += 1;
            } else {
                pairs.push(pairing.captured().map(|low| low[0] as usize).collect());
            }
        }
        pairs
    }

    #[test]
    fn bursts_make_no_difference_to_the_count() {
        assert_eq!(pairs("ppccpcppcc"), [vec![0], vec![1], vec![2], vec![3], vec![4]]);
        assert_eq!(pairs("pccppc"), [vec![0], vec![], vec![1, 2]]);
    }

    #[test]
    fn a_captured_clock_that_runs_ahead_is_forgiven_and_pairs_go_on() {
        let pairs = pairs(&("c".to_owned() + &"cp".repeat(1000)));
        assert!(pairs[900..].iter().all(|pair| pair.len() == 1));
        assert!(pairs.windows(2).all(|two| two[1].len() <= MOST_OWED + 1));
    }

    #[test]
    fn what_waits_for_good_is_left_out_but_for_a_little() {
        let pairs = pairs(&("p".repeat(9) + &"pc".repeat(1000)));
        let last = pairs.last().and_then(|pair| pair.first()).copied();
        assert_eq!(last, Some(1009 - 1 - LASTING));
    }
}
