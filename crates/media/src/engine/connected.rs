//! A connection as the engine's loop sees it, and its figures.

use crate::audio::{Heard, Ours};
use crate::emodel;
use crate::peer::{Outgoing, Peer};
use crate::pipeline::{Feedback, OVERHEAD, RoadFigures};
use crate::{Generation, PathInfo, Stats};
use tokio::time::Instant;

/// What came of a connection in a second.
pub struct SecondOf {
    pub heard: Heard,
    pub road: RoadFigures,
    pub ours: Ours,
}

pub struct Connected {
    /// Tells it from one of a call before with the same leg and generation.
    pub serial: u64,
    pub peer: Peer,
    pub outgoing: Option<Outgoing>,
    pub flowed: bool,
    pub text_open: bool,
    /// When it counts as failed if it does not flow before.
    pub deadline: Option<Instant>,
    /// When it counts as failed if not a packet came before.
    pub deaf_at: Option<Instant>,
    /// When it is closed, because a newer one flows.
    pub superseded: Option<Instant>,
    pub report: Option<Feedback>,
    pub path: Option<PathInfo>,
    /// Packets received and sent.
    totals: (u64, u64),
}

impl Connected {
    pub fn new(serial: u64, peer: Peer) -> Self {
        Self {
            serial,
            peer,
            outgoing: None,
            flowed: false,
            text_open: false,
            deadline: None,
            deaf_at: None,
            superseded: None,
            report: None,
            path: None,
            totals: (0, 0),
        }
    }

    /// Nothing has come over it.
    pub fn is_deaf(&self) -> bool {
        !self.flowed && self.totals.0 == 0
    }

    /// Whether our packets go out on it.
    pub fn sends(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Adds a second to the totals.
    pub fn count(&mut self, second: &SecondOf) {
        self.totals.0 += u64::from(second.heard.received.counts.received);
        self.totals.1 += u64::from(second.road.packets);
    }

    pub fn stats(&self, generation: Generation, second: &SecondOf) -> Stats {
        let SecondOf { heard: Heard { received, burst_ms, own_voice_back_db }, road, ours } = second;
        let counts = received.counts;
        let share = |part: u32, whole: u32| if whole == 0 { 0.0 } else { (part as f32 / whole as f32).clamp(0.0, 1.0) };
        let arrived = counts.received.saturating_sub(counts.duplicate + counts.resent);
        let round_trip_ms = self.report.and_then(|report| report.round_trip_ms);
        let heard = emodel::Heard {
            round_trip_ms: round_trip_ms.unwrap_or(0.0),
            packet_ms: packet_ms(counts.expected),
            buffer_ms: received.buffer_ms,
            made_up: share(received.made_up, received.played),
            lost: share(counts.expected.saturating_sub(arrived), counts.expected),
            burst_ms: *burst_ms,
        };
        Stats {
            generation,
            round_trip_ms,
            loss_in: heard.lost,
            loss_out: self.report.map(|report| report.loss),
            jitter_in_ms: received.jitter_ms,
            jitter_out_ms: self.report.map(|report| report.jitter_ms),
            burst_in_ms: heard.burst_ms,
            concealed: heard.made_up,
            recovered: share(received.rebuilt, received.played),
            stretched: share(received.stretched, received.played),
            buffer_ms: received.buffer_ms,
            target_ms: received.target_ms,
            bitrate_in: (counts.bytes + counts.received * OVERHEAD as u32) * 8,
            bitrate_out: road.bytes * 8,
            bandwidth_out: road.bandwidth,
            protection: road.protection,
            packets_in: self.totals.0,
            packets_out: self.totals.1,
            mos: self.flowed.then(|| emodel::mean_opinion_score(&heard)),
            microphone_dbfs: ours.microphone_dbfs,
            echo_return_loss_db: ours.echo_return_loss_db,
            own_voice_back_db: *own_voice_back_db,
            late_ticks: ours.late_ticks,
            underruns: ours.underruns,
            local_candidate: self.path.map(|path| path.local.as_str().to_owned()),
            remote_candidate: self.path.map(|path| path.remote.as_str().to_owned()),
        }
    }
}

/// How long a packet plays of which so many are sent in a second. Of a pause there are fewer than of any; it says nothing.
fn packet_ms(a_second: u32) -> f32 {
    match a_second {
        21..40 => 40.0,
        15..21 => 60.0,
        0..15 | 40.. => 20.0,
    }
}
