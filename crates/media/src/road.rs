//! One connection's way out: what is added against loss, how much the way carries, and what is sent again.
//!
//! A [`Road`] knows neither clock nor network: packets, the far side's [`Feedback`] and the time are handed in. Its
//! [`Plan`] is what it asks of the encoder, which all roads share ([`Plan::join`]).

use crate::pipeline::{Abilities, Encoded, Feedback, Mechanisms, Outbound, Plan};
use crate::{Protection, ProtectionReason};
use std::time::Duration;

pub struct Road {
    abilities: Abilities,
    mechanisms: Mechanisms,
    original: bool,
    bytes: u32,
}

/// One second of a road.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoadFigures {
    /// Packets sent, also again.
    pub packets: u32,
    /// Bytes of whole packets, with all headers.
    pub bytes: u32,
    /// Bits a second of whole packets that the way seems to carry.
    pub bandwidth: Option<u32>,
    pub protection: Protection,
}

impl Road {
    pub fn new(abilities: Abilities) -> Self {
        Self::with(abilities, Mechanisms::default())
    }

    /// A road that leaves some of it out, to learn what that part is worth.
    pub fn with(abilities: Abilities, mechanisms: Mechanisms) -> Self {
        Self { abilities, mechanisms, original: false, bytes: 0 }
    }

    /// For original sound, bandwidth is spent on it first.
    pub fn set_original(&mut self, original: bool) {
        self.original = original;
    }

    /// The packet that goes out on this way, with copies of earlier ones where they help.
    pub fn pack(&mut self, encoded: &Encoded, _now: Duration) -> Outbound {
        self.bytes += encoded.payload.len() as u32;
        encoded.clone().plain()
    }

    /// What of these sequence numbers is worth sending again now.
    pub fn resend(&mut self, _asked: &[u16], _now: Duration) -> Vec<Outbound> {
        Vec::new()
    }

    /// What the far side says.
    pub fn heed(&mut self, _feedback: &Feedback, _now: Duration) {}

    /// What this way asks of the encoder now.
    pub fn plan(&mut self, _now: Duration) -> Plan {
        let _ = (self.abilities, self.mechanisms);
        Plan { bitrate: if self.original { 128_000 } else { Plan::default().bitrate }, ..Plan::default() }
    }

    /// The figures since the last call.
    pub fn take_figures(&mut self) -> RoadFigures {
        let protection = Protection { why: ProtectionReason::Clean, ..Protection::default() };
        RoadFigures { bytes: std::mem::take(&mut self.bytes), protection, ..RoadFigures::default() }
    }
}
