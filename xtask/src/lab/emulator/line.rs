//! Conditions in words, for the command line and for standard input.

use super::{Conditions, Loss, Stalls};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// New conditions: of both directions, or of the one that begins at that end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub from_a: bool,
    pub from_b: bool,
    /// What is left out keeps its value.
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Down(bool),
    Clear,
    Loss(Loss),
    Delay(Duration, Duration, bool),
    Rate(Option<u32>, Duration),
    Stalls(Option<Stalls>),
}

impl Change {
    pub fn apply(&self, conditions: &mut Conditions) {
        match self.what {
            What::Down(down) => conditions.down = down,
            What::Clear => *conditions = Conditions::default(),
            What::Loss(loss) => conditions.loss = loss,
            What::Delay(delay, jitter, overtaking) => {
                (conditions.delay, conditions.jitter, conditions.overtaking) = (delay, jitter, overtaking);
            }
            What::Rate(rate, queue) => (conditions.rate, conditions.queue) = (rate, queue),
            What::Stalls(stalls) => conditions.stalls = stalls,
        }
    }
}

/// Reads one of these, for both directions, or after `from-a` or `from-b` for one:
/// `down`, `up`, `clear`, `loss SHARE`, `bursts BEGIN END`, `gaps PASSES_MS LOST_MS`, `delay MS [JITTER_MS [overtaking]]`,
/// `rate BITS_A_SECOND|none QUEUE_MS`, `stalls EVERY_MS HOLD_MS`, `stalls none`.
pub fn parse(line: &str) -> Result<Change> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (from_a, from_b, rest) = match words.as_slice() {
        ["from-a", rest @ ..] => (true, false, rest),
        ["from-b", rest @ ..] => (false, true, rest),
        rest => (true, true, rest),
    };
    let ms = |word: &str| -> Result<Duration> { Ok(Duration::from_millis(number(word)?)) };
    let what = match rest {
        ["down"] => What::Down(true),
        ["up"] => What::Down(false),
        ["clear"] => What::Clear,
        ["loss", share] => What::Loss(Loss::Random(number(share)?)),
        ["bursts", begin, end] => What::Loss(Loss::Bursts { begin: number(begin)?, end: number(end)? }),
        ["gaps", passes, lost] => What::Loss(Loss::Gaps { passes: ms(passes)?, lost: ms(lost)? }),
        ["delay", delay] => What::Delay(ms(delay)?, Duration::ZERO, false),
        ["delay", delay, jitter] => What::Delay(ms(delay)?, ms(jitter)?, false),
        ["delay", delay, jitter, "overtaking"] => What::Delay(ms(delay)?, ms(jitter)?, true),
        ["rate", "none", queue] => What::Rate(None, ms(queue)?),
        ["rate", rate, queue] => What::Rate(Some(number(rate)?), ms(queue)?),
        ["stalls", "none"] => What::Stalls(None),
        ["stalls", every, hold] => What::Stalls(Some(Stalls { every: ms(every)?, hold: ms(hold)? })),
        _ => bail!("{line:?} is no condition of a path"),
    };
    Ok(Change { from_a, from_b, what })
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse().ok().with_context(|| format!("{word:?} is no number that fits here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_and_others_are_refused() {
        let mut conditions = Conditions::default();
        for line in ["loss 0.15", "delay 300 100 overtaking", "rate 40000 200", "down", "up"] {
            let change = parse(line).unwrap();
            assert!(change.from_a && change.from_b);
            change.apply(&mut conditions);
        }
        let expected = Conditions {
            delay: Duration::from_millis(300),
            jitter: Duration::from_millis(100),
            overtaking: true,
            loss: Loss::Random(0.15),
            rate: Some(40_000),
            queue: Duration::from_millis(200),
            stalls: None,
            down: false,
        };
        assert_eq!(conditions, expected);
        let one = parse("from-b bursts 0.02 0.2").unwrap();
        assert!(!one.from_a && one.from_b);
        for line in ["", "loss", "loss much", "sideways", "from-c down"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
