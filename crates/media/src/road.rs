//! One connection's way out: what is added against loss, how much the way carries, and what is sent again.
//!
//! A [`Road`] knows neither clock nor network: packets, the far side's [`Feedback`] and the time are handed in. Its
//! [`Plan`] is what it asks of the encoder, which all roads share ([`Plan::join`]).
//!
//! Loss is answered by what suits the way: sending again where the way is short, copies where it is long or loses much,
//! the codec's own redundancy where copies do not fit or are not understood, deep redundancy where gaps are long. All of
//! it is paid out of what the way carries; where that is little, the codec's rate and fewer, longer packets come first.

mod budget;
mod choice;
mod history;
mod pattern;

use crate::Protection;
use crate::opus;
use crate::pipeline::{Abilities, Encoded, Feedback, Form, Mechanisms, OPUS_PAYLOAD_TYPE, OVERHEAD, Outbound, Plan};
use crate::red::{self, Block};
use budget::Budget;
use choice::{Choice, Chooser, Given};
use history::History;
use pattern::Pattern;
use std::time::Duration;

#[cfg(test)]
mod tests;

pub struct Road {
    abilities: Abilities,
    mechanisms: Mechanisms,
    original: bool,
    history: History,
    pattern: Pattern,
    budget: Budget,
    chooser: Chooser,
    choice: Choice,
    /// How long the newest packet plays, and when the first went out.
    packet_ms: u8,
    begun: Option<Duration>,
    /// Bytes of whole packets since the last feedback, and when that came.
    since_heard: u32,
    heard: Option<Duration>,
    /// What is left for sending again, in bytes, as of then.
    spare: f32,
    spare_at: Duration,
    trial: Option<Trial>,
    /// Share lost by the newest report.
    lost: f32,
    packets: u32,
    bytes: u32,
}

/// Copies were added: does loss stay what it was?
struct Trial {
    loss: f32,
    until: Duration,
    /// Lost since, in seconds, and of how many: one report of a quarter of a second says nothing.
    lost: f32,
    seconds: f32,
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

/// Part of what a narrow way carries that may go into sending again; more would make the queue it is late in.
const AGAIN_SHARE: f32 = 0.15;
/// Bytes a second for sending again where no limit was met: a far side that asks for everything does not get more.
const AGAIN_MOST: f32 = 12_000.0;
/// What was not used is kept for so long.
const AGAIN_KEPT: Duration = Duration::from_secs(1);
/// So long after copies were added, loss that grew by these is theirs, once it was watched for so many seconds.
const TRIAL: Duration = Duration::from_secs(4);
const TRIAL_LEAST: f32 = 1.0;
const WORSE_BY: f32 = 0.08;
const WORSE_TIMES: f32 = 1.6;

impl Road {
    pub fn new(abilities: Abilities) -> Self {
        Self::with(abilities, Mechanisms::default())
    }

    /// A road that leaves some of it out, to learn what that part is worth.
    pub fn with(abilities: Abilities, mechanisms: Mechanisms) -> Self {
        let mut road = Self {
            abilities,
            mechanisms,
            original: false,
            history: History::default(),
            pattern: Pattern::default(),
            budget: Budget::default(),
            chooser: Chooser::default(),
            choice: Choice { plan: Plan::default(), copies: Vec::new(), protection: Protection::default() },
            packet_ms: 20,
            begun: None,
            since_heard: 0,
            heard: None,
            spare: AGAIN_MOST,
            spare_at: Duration::ZERO,
            trial: None,
            lost: 0.0,
            packets: 0,
            bytes: 0,
        };
        road.choose(Duration::ZERO);
        road
    }

    /// For original sound, bandwidth is spent on it first.
    pub fn set_original(&mut self, original: bool) {
        self.original = original;
    }

    /// The packet that goes out on this way, with copies of earlier ones where they help.
    pub fn pack(&mut self, encoded: &Encoded, now: Duration) -> Outbound {
        self.begun.get_or_insert(now);
        self.packet_ms = (encoded.samples / (crate::RATE / 1000)).clamp(10, 120) as u8;
        let mut blocks: Vec<Block> =
            self.choice.copies.iter().filter_map(|distance| self.history.copy(encoded, *distance)).collect();
        let mut packet = encoded.clone().plain();
        let silent = opus::is_dtx(&encoded.payload);
        if !blocks.is_empty() && !silent {
            blocks.push(Block { offset: 0, payload: encoded.payload.clone() });
            packet.form = Form::Red;
            packet.payload = red::write(OPUS_PAYLOAD_TYPE, &blocks);
        }
        let copy = if self.choice.plan.dred_ms > 0 {
            opus::without_past(&encoded.payload).into()
        } else {
            encoded.payload.clone()
        };
        self.history.note(packet.clone(), copy, now);
        self.count(&packet);
        packet
    }

    /// What of these sequence numbers is worth sending again now.
    pub fn resend(&mut self, asked: &[u16], now: Duration) -> Vec<Outbound> {
        if !self.mechanisms.resend {
            return Vec::new();
        }
        let each_second = match self.limit() {
            Some(limit) => limit as f32 / 8.0 * AGAIN_SHARE,
            None => AGAIN_MOST,
        };
        let passed = now.saturating_sub(self.spare_at).min(AGAIN_KEPT);
        self.spare_at = now;
        self.spare = (self.spare + each_second * passed.as_secs_f32()).min(each_second * AGAIN_KEPT.as_secs_f32());
        let mut packets = Vec::new();
        for sequence in asked {
            let again = self.history.again(*sequence, self.pattern.round_trip_ms, self.spare, now);
            if let Some(packet) = again {
                self.spare -= (packet.payload.len() + OVERHEAD) as f32;
                self.count(&packet);
                packets.push(packet);
            }
        }
        packets
    }

    /// What the far side says.
    pub fn heed(&mut self, feedback: &Feedback, now: Duration) {
        self.pattern.heed(feedback, f32::from(self.packet_ms), now);
        let passed = self.heard.map_or(Duration::from_secs(1), |heard| now.saturating_sub(heard)).as_secs_f32();
        let sent = self.since_heard as f32 * 8.0 / passed.max(0.1);
        (self.heard, self.since_heard) = (Some(now), 0);
        self.budget.heed(feedback, self.abilities.reports, sent, now);
        if let Some(trial) = &mut self.trial {
            trial.lost += feedback.loss.clamp(0.0, 1.0) * passed;
            trial.seconds += passed;
            if trial.seconds >= TRIAL_LEAST && trial.lost / trial.seconds > trial.loss * WORSE_TIMES + WORSE_BY {
                tracing::debug!(before = trial.loss, after = feedback.loss, "copies made loss worse");
                self.chooser.bar(now);
                self.budget.lower(sent * (1.0 - feedback.loss.clamp(0.0, 1.0)));
                self.trial = None;
            } else if now > trial.until {
                self.trial = None;
            }
        }
        self.lost = feedback.loss.clamp(0.0, 1.0);
        self.choose(now);
    }

    /// What this way asks of the encoder now.
    pub fn plan(&mut self, now: Duration) -> Plan {
        self.choose(now);
        self.choice.plan
    }

    /// The figures since the last call.
    pub fn take_figures(&mut self) -> RoadFigures {
        RoadFigures {
            packets: std::mem::take(&mut self.packets),
            bytes: std::mem::take(&mut self.bytes),
            bandwidth: self.limit(),
            protection: self.choice.protection,
        }
    }

    fn limit(&self) -> Option<u32> {
        self.budget.limit().filter(|_| self.mechanisms.rate)
    }

    fn choose(&mut self, now: Duration) {
        let given = Given {
            abilities: self.abilities,
            mechanisms: self.mechanisms,
            original: self.original,
            pattern: &self.pattern,
            limit: self.limit(),
            packet_ms: self.packet_ms,
            age: self.begun.map_or(Duration::ZERO, |begun| now.saturating_sub(begun)),
        };
        let choice = self.chooser.choose(&given, now);
        if choice.copies.len() > self.choice.copies.len() && self.trial.is_none() {
            let loss = self.pattern.loss.max(self.lost);
            self.trial = Some(Trial { loss, until: now + TRIAL, lost: 0.0, seconds: 0.0 });
        }
        if choice.protection != self.choice.protection {
            tracing::debug!(protection = ?choice.protection, limit = ?self.limit(), "protection");
        }
        self.choice = choice;
    }

    fn count(&mut self, packet: &Outbound) {
        let bytes = (packet.payload.len() + OVERHEAD) as u32;
        self.packets += 1;
        self.bytes += bytes;
        self.since_heard += bytes;
    }
}
