//! A path with faults: what a packet meets on its way, and the way itself between two network namespaces.
//!
//! [`Emulator::start`] joins two namespaces by a pair of TUN devices and carries each packet from one to the other after
//! what the [`Conditions`] of its direction ask for: delay, jitter, stalls, loss at random or in bursts, a rate with a
//! queue, or nothing at all. Conditions can be changed at any time; the same seed meets the same packets with the same fate. What
//! happens to a packet is decided by [`Direction`], which knows neither clock nor device.
//!
//! Left out: duplicates, corrupted packets, links below IP.

mod line;
mod tun;

pub use line::{Change, parse};
pub use tun::{Emulator, End};

use std::time::Duration;

/// What a direction does to its packets. The default does nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    pub delay: Duration,
    /// Each packet's delay is off by up to so much, evenly.
    pub jitter: Duration,
    /// Whether a packet may overtake another. Without it, the late one holds up those behind it, as a queue does.
    pub overtaking: bool,
    pub loss: Loss,
    /// Bits a second of whole IP packets.
    pub rate: Option<u32>,
    /// What would wait longer than this for its turn at that rate is dropped.
    pub queue: Duration,
    pub stalls: Option<Stalls>,
    /// Nothing arrives.
    pub down: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            overtaking: false,
            loss: Loss::None,
            rate: None,
            queue: Duration::from_millis(300),
            stalls: None,
            down: false,
        }
    }
}

/// Shares and probabilities are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    None,
    Random(f64),
    /// Gilbert's model (1960): with these probabilities for each packet, a loss begins and ends; within, all is lost.
    Bursts {
        begin: f64,
        end: f64,
    },
    /// The same in time, however many packets are sent meanwhile: such a mean of what passes, such a mean of what is lost.
    Gaps {
        passes: Duration,
        lost: Duration,
    },
}

/// As on a radio link that repeats or scans: now and then everything is held for so long, and then comes out at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// From one to the next, half as much to one and a half times as much.
    pub every: Duration,
    pub hold: Duration,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes out then.
    Out(Duration),
    Dropped,
}

/// How many packets met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub carried: u64,
    pub dropped: u64,
}

/// One way through the path. Time is counted from any moment that the caller likes.
pub struct Direction {
    conditions: Conditions,
    random: fastrand::Rng,
    in_burst: bool,
    /// When what passes or is lost in [`Loss::Gaps`] changes.
    gap_changes: Duration,
    /// When the current or next of [`Conditions::stalls`] begins.
    stall: Duration,
    /// When the last packet has been sent at the rate.
    sent: Duration,
    /// When the last packet comes out.
    last_out: Duration,
    counts: Counts,
}

impl Direction {
    pub fn new(seed: u64) -> Self {
        Self {
            conditions: Conditions::default(),
            random: fastrand::Rng::with_seed(seed),
            in_burst: false,
            gap_changes: Duration::ZERO,
            stall: Duration::ZERO,
            sent: Duration::ZERO,
            last_out: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    pub fn set(&mut self, conditions: Conditions) {
        if conditions.loss != self.conditions.loss {
            (self.in_burst, self.gap_changes) = (false, Duration::ZERO);
        }
        if conditions.stalls != self.conditions.stalls {
            self.stall = self.last_out;
        }
        self.conditions = conditions;
    }

    pub fn conditions(&self) -> Conditions {
        self.conditions
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A packet of so many bytes comes in.
    pub fn arrive(&mut self, now: Duration, bytes: usize) -> Fate {
        let fate = self.fate(now, bytes);
        match fate {
            Fate::Out(_) => self.counts.carried += 1,
            Fate::Dropped => self.counts.dropped += 1,
        }
        fate
    }

    fn fate(&mut self, now: Duration, bytes: usize) -> Fate {
        // What is lost on the way has taken its time in the queue, as on a real link.
        let Some(sent) = self.pass_queue(now, bytes) else { return Fate::Dropped };
        if self.conditions.down || self.is_lost(now) {
            return Fate::Dropped;
        }
        let jitter = self.conditions.jitter.mul_f64(self.random.f64() * 2.0);
        let mut out = (sent + self.conditions.delay + jitter).saturating_sub(self.conditions.jitter).max(now);
        if let Some(stalls) = self.conditions.stalls {
            out = self.pass_stalls(stalls, out);
        }
        if !self.conditions.overtaking {
            out = out.max(self.last_out);
            self.last_out = out;
        }
        Fate::Out(out)
    }

    fn pass_queue(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(rate) = self.conditions.rate else { return Some(now) };
        let begins = self.sent.max(now);
        if begins - now > self.conditions.queue {
            return None;
        }
        self.sent = begins + Duration::from_secs_f64(bytes as f64 * 8.0 / f64::from(rate.max(1)));
        Some(self.sent)
    }

    fn pass_stalls(&mut self, Stalls { every, hold }: Stalls, out: Duration) -> Duration {
        while out >= self.stall + hold {
            let pause = every.max(Duration::from_millis(1)).mul_f64(0.5 + self.random.f64());
            self.stall += hold + pause;
        }
        if out < self.stall { out } else { self.stall + hold }
    }

    fn is_lost(&mut self, now: Duration) -> bool {
        match self.conditions.loss {
            Loss::None => false,
            Loss::Random(share) => self.random.f64() < share,
            Loss::Bursts { begin, end } => {
                let changes = self.random.f64() < if self.in_burst { end } else { begin };
                self.in_burst ^= changes;
                self.in_burst
            }
            Loss::Gaps { passes, lost } => {
                while now >= self.gap_changes {
                    // What passes comes first.
                    let first = self.gap_changes == Duration::ZERO;
                    self.in_burst = !first && !self.in_burst;
                    let mean = if self.in_burst { lost } else { passes };
                    let length = mean.mul_f64(-(1.0 - self.random.f64()).ln()).max(Duration::from_micros(1));
                    self.gap_changes = if first { now + length } else { self.gap_changes + length };
                }
                self.in_burst
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The fates of a packet of so many bytes each 20 ms.
    fn fates(conditions: Conditions, bytes: usize, count: u32) -> Vec<(Duration, Fate)> {
        let mut direction = Direction::new(7);
        direction.set(conditions);
        (0..count).map(|n| (MS * 20 * n, direction.arrive(MS * 20 * n, bytes))).collect()
    }

    fn lost(fates: &[(Duration, Fate)]) -> Vec<bool> {
        fates.iter().map(|(_, fate)| *fate == Fate::Dropped).collect()
    }

    #[test]
    fn without_conditions_a_packet_comes_out_as_it_comes_in() {
        assert!(fates(Conditions::default(), 100, 50).iter().all(|(at, fate)| *fate == Fate::Out(*at)));
    }

    #[test]
    fn jitter_stays_around_the_delay_and_keeps_the_order_unless_told() {
        let conditions = Conditions { delay: MS * 300, jitter: MS * 100, ..Conditions::default() };
        let outs = |conditions| {
            let fates = fates(conditions, 100, 2_000);
            fates
                .into_iter()
                .map(|(at, fate)| match fate {
                    Fate::Out(out) => (at, out),
                    Fate::Dropped => panic!("dropped"),
                })
                .collect::<Vec<_>>()
        };
        let kept = outs(conditions);
        assert!(kept.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        let overtaking = outs(Conditions { overtaking: true, ..conditions });
        assert!(overtaking.windows(2).any(|pair| pair[0].1 > pair[1].1));
        for (at, out) in kept.iter().chain(&overtaking) {
            assert!((MS * 200..=MS * 400).contains(&(*out - *at)), "{at:?} {out:?}");
        }
        let mean = overtaking.iter().map(|(at, out)| (*out - *at).as_secs_f64()).sum::<f64>() / 2_000.0;
        assert!((mean - 0.3).abs() < 0.01, "{mean}");
    }

    #[test]
    fn random_loss_takes_its_share_and_the_same_seed_takes_the_same_packets() {
        let conditions = Conditions { loss: Loss::Random(0.3), ..Conditions::default() };
        let first = lost(&fates(conditions, 100, 10_000));
        let share = first.iter().filter(|lost| **lost).count() as f64 / 10_000.0;
        assert!((share - 0.3).abs() < 0.02, "{share}");
        assert_eq!(first, lost(&fates(conditions, 100, 10_000)));
    }

    #[test]
    fn bursts_have_their_share_and_their_length() {
        // A burst each 45 packets, of 5: a tenth is lost.
        let conditions = Conditions { loss: Loss::Bursts { begin: 1.0 / 45.0, end: 0.2 }, ..Conditions::default() };
        let lost = lost(&fates(conditions, 100, 100_000));
        let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((share - 0.1).abs() < 0.01, "{share}");
        assert!((share * lost.len() as f64 / bursts - 5.0).abs() < 0.5);
    }

    #[test]
    fn gaps_have_their_share_and_length_in_time_however_much_is_sent() {
        for spacing in [20, 5] {
            let mut direction = Direction::new(3);
            let loss = Loss::Gaps { passes: MS * 1080, lost: MS * 120 };
            direction.set(Conditions { loss, ..Conditions::default() });
            let fates: Vec<bool> =
                (0..2_000_000 / spacing).map(|n| direction.arrive(MS * spacing * n, 100) == Fate::Dropped).collect();
            let gaps = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            let lost = fates.iter().filter(|lost| **lost).count() as f64;
            assert!((lost / fates.len() as f64 - 0.1).abs() < 0.015, "{}", lost / fates.len() as f64);
            // The shortest fall between two packets and are not seen.
            let seen = lost * f64::from(spacing) / gaps;
            assert!((110.0..150.0).contains(&seen), "{seen}");
        }
    }

    #[test]
    fn a_stall_holds_all_packets_and_lets_them_go_together() {
        let stalls = Stalls { every: MS * 1000, hold: MS * 300 };
        let conditions = Conditions { delay: MS * 20, stalls: Some(stalls), ..Conditions::default() };
        let delays: Vec<Duration> = fates(conditions, 100, 5_000)
            .into_iter()
            .map(|(at, fate)| match fate {
                Fate::Out(out) => out - at,
                Fate::Dropped => panic!("dropped"),
            })
            .collect();
        assert!(delays.iter().all(|delay| (MS * 20..=MS * 320).contains(delay)));
        let held = delays.iter().filter(|delay| **delay > MS * 20).count() as f64 / 5_000.0;
        assert!((held - 0.23).abs() < 0.04, "{held}");
        assert!(delays.iter().any(|delay| *delay > MS * 290));
    }

    #[test]
    fn a_rate_delays_up_to_its_queue_and_drops_the_rest() {
        // 100 bytes each 20 ms are exactly 40 kbit/s.
        let conditions = Conditions { rate: Some(40_000), queue: MS * 200, ..Conditions::default() };
        assert!(fates(conditions, 100, 500).iter().all(|(at, fate)| *fate == Fate::Out(*at + MS * 20)));
        let twice = fates(conditions, 200, 500);
        let carried = lost(&twice).iter().filter(|lost| !**lost).count();
        assert!((250..=262).contains(&carried), "{carried}");
        let longest = twice.iter().filter_map(|(at, fate)| match fate {
            Fate::Out(out) => Some(*out - *at),
            Fate::Dropped => None,
        });
        assert!(longest.max().unwrap() <= MS * 240);
    }

    #[test]
    fn nothing_passes_while_it_is_down() {
        let mut direction = Direction::new(1);
        direction.set(Conditions { down: true, ..Conditions::default() });
        assert_eq!(direction.arrive(MS, 100), Fate::Dropped);
        direction.set(Conditions::default());
        assert_eq!(direction.arrive(MS * 2, 100), Fate::Out(MS * 2));
        assert_eq!(direction.counts(), Counts { carried: 1, dropped: 1 });
    }
}
