//! When too many want to sign in at once, after a restart say: who comes in now, and when the others shall come again.
//!
//! So many sign-ins at a time are carried out that the store is busy and those who are signed in do not wait. Each of the others
//! is given a moment of its own, one after the other, as they came, and as far apart as sign-ins take on this machine; so
//! they come back spread out and in that order.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sign-ins that are carried out at once.
const AT_ONCE: u32 = 32;
/// Between two that come in: at first, and at least and at most, whatever was measured.
const APART: Duration = Duration::from_millis(2);
const APART_LEAST: Duration = Duration::from_micros(500);
const APART_MOST: Duration = Duration::from_millis(50);
/// Of a new measurement in the average.
const WEIGHT: f64 = 0.1;
/// Nobody is sent away for longer: a server that could not take them all by then takes some of them again.
const LONGEST: Duration = Duration::from_secs(300);

pub struct Crowd(Mutex<Queue>);

/// A sign-in that is carried out; over when this is dropped.
pub struct Inside<'a>(&'a Crowd);

struct Queue {
    inside: u32,
    /// Between two that were done, while there were always others.
    apart: Duration,
    done: Instant,
    /// The first moment that nobody was told to come at.
    next: Instant,
}

impl Crowd {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Queue { inside: 0, apart: APART, done: now, next: now }))
    }

    /// Come in, or come again after so long.
    pub fn admit(&self, now: Instant) -> Result<Inside<'_>, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).admit(now).map(|()| Inside(self))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).leave(Instant::now());
    }
}

impl Queue {
    fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        if self.inside < AT_ONCE {
            self.inside += 1;
            return Ok(());
        }
        let turn = self.next.max(now + self.apart);
        self.next = (turn + self.apart).min(now + LONGEST);
        Err(turn.saturating_duration_since(now))
    }

    fn leave(&mut self, now: Instant) {
        let crowded = self.inside > AT_ONCE / 2;
        self.inside = self.inside.saturating_sub(1);
        let took = now.saturating_duration_since(self.done);
        self.done = now;
        if crowded {
            let apart = self.apart.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT);
            self.apart = apart.clamp(APART_LEAST, APART_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Everybody at the same moment, each taking `each` of a server that does one after the other: when the last was in, how
    /// often somebody was sent away, and the order in which those sent away at first came in.
    fn storm(people: usize, each: Duration) -> (Duration, usize, Vec<usize>) {
        let start = Instant::now();
        let mut queue = Queue { inside: 0, apart: APART, done: start, next: start };
        let mut coming: BTreeSet<(Instant, usize)> = (0..people).map(|n| (start, n)).collect();
        let (mut busy_until, mut leaving) = (start, BTreeSet::new());
        let (mut refused, mut order) = (0, Vec::new());
        while let Some((now, who)) = coming.pop_first() {
            while leaving.first().is_some_and(|at| *at <= now) {
                queue.leave(leaving.pop_first().expect("one who leaves"));
            }
            match queue.admit(now) {
                Ok(()) => {
                    busy_until = busy_until.max(now) + each;
                    leaving.insert(busy_until);
                    order.push(who);
                }
                Err(wait) => {
                    assert!(wait <= LONGEST);
                    refused += 1;
                    coming.insert((now + wait, who));
                }
            }
        }
        (busy_until - start, refused, order)
    }

    #[test]
    fn everybody_comes_in_as_fast_as_the_server_can_and_in_order() {
        for each_us in [300, 1_000, 5_000] {
            let each = Duration::from_micros(each_us);
            let (all_in, refused, order) = storm(10_000, each);
            let best = each * 10_000;
            assert!(all_in < best * 2 + Duration::from_secs(15), "{each:?}: {all_in:?} instead of {best:?}");
            assert!(refused < 30_000, "{each:?}: sent away {refused} times");
            let behind = order.windows(2).filter(|pair| pair[0] > pair[1] + 500).count();
            assert!(behind < 100, "{each:?}: {behind} came in long after those behind them");
        }
    }

    #[test]
    fn nobody_is_sent_away_when_there_is_no_crowd() {
        let crowd = Crowd::new(Instant::now());
        for _ in 0..10_000 {
            assert!(crowd.admit(Instant::now()).is_ok());
        }
    }
}
