//! Making the ICE agent check sooner and longer.
//!
//! The ICE agent sends its checks, and the nomination that follows a good one, every 200 ms, or at once when it learns of
//! a candidate. So the offering side, which nominates, tells it of a known candidate again under another guise, a few
//! times in the first moments: the checks go to the same address, only sooner.
//!
//! It also gives an address up after eight checks, which are soon lost on a bad network or on the way by two relays. So it
//! is told of all of them again each second until one has answered.

use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// What the agent is told until it is connected.
pub struct Nudge {
    /// When the next is due.
    pub at: Instant,
    given: usize,
    /// Addresses and ports as candidates have them.
    addresses: Vec<String>,
}

/// Between a nudge and the one before.
const NUDGES: [Duration; 5] = [
    Duration::from_millis(8),
    Duration::from_millis(12),
    Duration::from_millis(25),
    Duration::from_millis(40),
    Duration::from_millis(80),
];

/// When those are over, and so many of them.
const LATER_NUDGES: Duration = Duration::from_secs(1);
const MOST_LATER_NUDGES: usize = 8;
/// Addresses that are told of again; more are left to themselves.
const MOST_NUDGED: usize = 16;

impl Nudge {
    pub fn begin() -> Self {
        Self { at: Instant::now() + NUDGES[0], given: 0, addresses: Vec::new() }
    }

    /// Names are left out: they would be looked up again each time.
    pub fn add(&mut self, candidate: &str) {
        let mut fields = candidate.split(' ').skip(4);
        if let (Some(address), Some(port)) = (fields.next(), fields.next())
            && address.parse::<IpAddr>().is_ok()
            && self.addresses.len() < MOST_NUDGED
        {
            self.addresses.push(format!("{address} {port}"));
        }
    }

    /// The guises: of the lowest priority, so that the pair in use is never one of these.
    pub fn candidates(&self) -> Vec<String> {
        let told = if self.given < NUDGES.len() { 1 } else { MOST_NUDGED };
        let guise =
            |address| format!("candidate:nudge 1 udp 1 {address} typ srflx raddr 0.0.0.0 rport {}", self.given + 1);
        self.addresses.iter().take(told).map(guise).collect()
    }

    /// What is left of them after this one.
    pub fn next(mut self) -> Option<Self> {
        self.given += 1;
        self.at += NUDGES.get(self.given).copied().unwrap_or(LATER_NUDGES);
        (self.given < NUDGES.len() + MOST_LATER_NUDGES).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_told_of_at_once_and_later_all_of_them_but_never_twice_in_the_same_guise() {
        let mut nudge = Nudge::begin();
        for address in ["192.0.2.1 7", "2001:db8::1 8", "a-name.local 9"] {
            nudge.add(&format!("candidate:1 1 udp 2130706431 {address} typ host"));
        }
        let (mut told, mut left) = (Vec::new(), Some(nudge));
        let begun = Instant::now();
        let mut last = begun;
        while let Some(nudge) = left {
            told.push(nudge.candidates());
            last = nudge.at;
            left = nudge.next();
        }
        assert_eq!(told.len(), NUDGES.len() + MOST_LATER_NUDGES);
        assert!(told[..NUDGES.len()].iter().all(|guises| guises.len() == 1));
        assert!(told[NUDGES.len()..].iter().all(|guises| guises.len() == 2));
        assert!((8..10).contains(&(last - begun).as_secs()));
        let mut all = told.concat();
        assert!(all.iter().all(|guise| !guise.contains("local")));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
