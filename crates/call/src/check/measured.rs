//! What a check measures.

use bellwire_signaling::CheckPath;
use serde::Serialize;

/// All of one check. What was not measured is `None`, or `Unknown`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckMeasured {
    pub microphone: MicrophoneMeasured,
    pub speaker: SpeakerMeasured,
    /// The person was asked for a sentence.
    pub asked_to_speak: bool,
    /// While their sentence was played.
    pub echo: Option<EchoMeasured>,
    /// Those that were tried, in order.
    pub paths: Vec<PathMeasured>,
    pub echo_peer: Presence,
}

/// Whether there was a peer to check with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    #[default]
    Unknown,
    There,
    /// The server has none.
    Missing,
    /// The server could not be asked.
    Unreachable,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceState {
    #[default]
    Unknown,
    Opened,
    Missing,
    /// The system lets the app not use it.
    Refused,
    /// Another program has it.
    InUse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MicrophoneMeasured {
    pub state: DeviceState,
    /// Open, but nothing except zeros came.
    pub zeros_only: bool,
    /// Level of the voice while it spoke, RMS in dBFS; `None` if none was heard.
    pub speech_dbfs: Option<f32>,
    /// Share of the samples, 0 to 1, at the end of the scale.
    pub clipped: f32,
    /// Level of the quietest tenth, RMS in dBFS.
    pub noise_dbfs: Option<f32>,
}

impl MicrophoneMeasured {
    /// What is known now, where something was known before.
    pub fn after(self, before: &Self) -> Self {
        Self {
            state: if self.state == DeviceState::Unknown { before.state } else { self.state },
            zeros_only: self.zeros_only,
            speech_dbfs: self.speech_dbfs,
            clipped: self.clipped.max(before.clipped),
            noise_dbfs: match (self.noise_dbfs, before.noise_dbfs) {
                (Some(now), Some(before)) => Some(now.min(before)),
                (now, before) => now.or(before),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpeakerMeasured {
    pub state: DeviceState,
}

/// How much of what is played comes back by the microphone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EchoMeasured {
    /// Decibels between what was played and its share in what the microphone took; the more, the better. 60 where none
    /// of it was found.
    pub return_loss_db: f32,
    /// The same behind the echo canceller: what the other party would hear.
    pub cancelled_loss_db: f32,
}

/// One way to the echo peer. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PathMeasured {
    pub path: CheckPath,
    pub connected: bool,
    /// Milliseconds from the offer to packets coming back; 0 if none did.
    pub setup_ms: u32,
    pub loss_up: f32,
    pub loss_down: f32,
    /// The median.
    pub round_trip_ms: Option<f32>,
    /// Interarrival jitter there and back (RFC 3550, A.8).
    pub jitter_ms: f32,
}

impl PathMeasured {
    pub fn failed(path: CheckPath) -> Self {
        Self { path, connected: false, setup_ms: 0, loss_up: 0.0, loss_down: 0.0, round_trip_ms: None, jitter_ms: 0.0 }
    }
}
