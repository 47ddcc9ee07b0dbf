//! What the relay counts. Never who.

use super::allocations::{Refusal, Way};
use metrics::{Counter, Gauge, counter, gauge};

/// Why a packet went nowhere.
pub mod lost {
    pub const MALFORMED: usize = 0;
    pub const RATE: usize = 1;
    pub const STRANGER: usize = 2;
    pub const UNHEARD: usize = 3;
    pub const BANDWIDTH: usize = 4;
    pub const QUEUE: usize = 5;
    pub const SEND: usize = 6;
    pub(super) const WORDS: [&str; 7] =
        ["malformed", "rate", "no_allocation", "not_permitted", "bandwidth", "queue_full", "not_sent"];
}

/// Why a request was refused. The first request of each client comes without credentials.
pub mod refused {
    use super::Refusal;

    pub const NONE: usize = 0;
    pub const CREDENTIALS: usize = 1;
    pub(super) const WORDS: [&str; 8] =
        ["without_credentials", "credentials", "malformed", "peer", "mismatch", "not_supported", "quota", "full"];

    pub fn of(refusal: Refusal) -> usize {
        match refusal {
            Refusal::Wrong => CREDENTIALS,
            Refusal::Bad => 2,
            Refusal::Forbidden | Refusal::Family => 3,
            Refusal::Mismatch => 4,
            Refusal::Transport | Refusal::NoFamily => 5,
            Refusal::Quota => 6,
            Refusal::Full => 7,
        }
    }
}

/// Looked up once: a packet costs additions alone.
pub struct Figures {
    living: Gauge,
    made: Counter,
    packets: Counter,
    bytes: Counter,
    relayed_packets: Counter,
    relayed_bytes: Counter,
    refused: [Counter; refused::WORDS.len()],
    lost: [Counter; lost::WORDS.len()],
}

impl Figures {
    pub fn new() -> Self {
        Self {
            living: gauge!("bellwire_relay_allocations"),
            made: counter!("bellwire_relay_allocations_made_total"),
            packets: counter!("bellwire_relay_received_packets_total"),
            bytes: counter!("bellwire_relay_received_bytes_total"),
            relayed_packets: counter!("bellwire_relay_packets_total"),
            relayed_bytes: counter!("bellwire_relay_bytes_total"),
            refused: refused::WORDS.map(|reason| counter!("bellwire_relay_refused_total", "reason" => reason)),
            lost: lost::WORDS.map(|reason| counter!("bellwire_relay_dropped_total", "reason" => reason)),
        }
    }

    pub fn came(&self, bytes: usize) {
        self.packets.increment(1);
        self.bytes.increment(bytes as u64);
    }

    pub fn relayed(&self, bytes: usize) {
        self.relayed_packets.increment(1);
        self.relayed_bytes.increment(bytes as u64);
    }

    pub fn made(&self, living: usize) {
        self.made.increment(1);
        self.living(living);
    }

    pub fn living(&self, living: usize) {
        self.living.set(living as f64);
    }

    pub fn refused(&self, why: usize) {
        self.refused[why].increment(1);
    }

    /// Counts it; the packet goes nowhere.
    pub fn lost(&self, why: usize) -> Option<Way> {
        self.lost[why].increment(1);
        None
    }
}
