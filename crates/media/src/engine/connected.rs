//! A connection as the engine's loop sees it, and its figures.

use crate::emodel;
use crate::peer::{Outgoing, Peer};
use crate::audio::Ours;
use crate::pipeline::{Feedback, OVERHEAD, Received, RoadFigures};
use crate::{Generation, PathInfo, Stats};
use tokio::time::Instant;

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
    pub fn count(&mut self, received: &Received, road: &RoadFigures) {
        self.totals.0 += u64::from(received.counts.received);
        self.totals.1 += u64::from(road.packets);
    }

    pub fn stats(&self, generation: Generation, received: &Received, road: &RoadFigures, ours: &Ours) -> Stats {
        let counts = received.counts;
        let share = |part: u32, whole: u32| if whole == 0 { 0.0 } else { (part as f32 / whole as f32).clamp(0.0, 1.0) };
        let arrived = counts.received.saturating_sub(counts.duplicate);
        let round_trip_ms = self.report.and_then(|report| report.round_trip_ms);
        let concealed = share(received.made_up, received.played);
        Stats {
            generation,
            round_trip_ms,
            loss_in: share(counts.expected.saturating_sub(arrived), counts.expected),
            loss_out: self.report.map(|report| report.loss),
            jitter_in_ms: received.jitter_ms,
            jitter_out_ms: self.report.map(|report| report.jitter_ms),
            burst_in_ms: 0.0,
            concealed,
            recovered: share(received.rebuilt, received.played),
            stretched: share(received.stretched, received.played),
            target_ms: received.target_ms,
            bandwidth_out: road.bandwidth,
            protection: road.protection,
            microphone_dbfs: ours.microphone_dbfs,
            echo_return_loss_db: ours.echo_return_loss_db,
            own_voice_back_db: None,
            late_ticks: ours.late_ticks,
            buffer_ms: received.buffer_ms,
            bitrate_in: (counts.bytes + counts.received * OVERHEAD as u32) * 8,
            bitrate_out: road.bytes * 8,
            packets_in: self.totals.0,
            packets_out: self.totals.1,
            mos: self
                .flowed
                .then(|| emodel::mean_opinion_score(round_trip_ms.unwrap_or(0.0), received.buffer_ms, concealed)),
            local_candidate: self.path.map(|path| path.local.as_str().to_owned()),
            remote_candidate: self.path.map(|path| path.remote.as_str().to_owned()),
        }
    }
}
