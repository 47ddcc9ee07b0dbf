//! Ways through the network and what is known of their quality: the values that travel.
//!
//! Relay servers are named as the W3C's RTCIceServer has them, with credentials that live for minutes
//! (draft-uberti-behave-turn-rest-00). What a device finds of itself ([`Health`]) goes to the other party's device, so that
//! each can say on whose side a fault is.

use crate::{CallId, CheckId, Credential, RoomId};
use serde::{Deserialize, Serialize};

/// A STUN or TURN server (W3C WebRTC, section 4.2.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:HOST:PORT`, `turn:HOST:PORT?transport=udp`, the same with `tcp`, `turns:HOST:PORT?transport=tcp` (RFC 7064,
    /// RFC 7065). IPv6 addresses stand in brackets.
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
}

/// What servers are wanted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Purpose {
    Call { call: CallId },
    Room { room: RoomId },
    Check { check: CheckId },
}

/// What a device finds of itself in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    pub microphone: MicrophoneHealth,
    pub speaker: SpeakerHealth,
    pub receives: Receives,
    /// Of this device's own way to the server, where it could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What is said here comes back from the other party: their loudspeaker reaches their microphone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hears_itself: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MicrophoneHealth {
    #[default]
    Unknown,
    Works,
    /// Open, but nothing except zeros comes from it: a refused permission or a switch on the device.
    Silent,
    Missing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerHealth {
    #[default]
    Unknown,
    Works,
    Missing,
}

/// What comes from the other party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receives {
    /// No packet for two seconds.
    #[default]
    Nothing,
    /// Packets, and nothing to be heard in them for a while.
    Silence,
    Sound,
}

/// A device's way to the server, over the last seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Of probes that were not answered.
    pub loss_percent: u8,
    pub round_trip_ms: u16,
}

/// How a call sounded on one side, over all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallQuality {
    /// Estimated mean opinion score times ten, 10 to 45 (ITU-T G.107), averaged over the seconds with sound.
    pub mos_x10: u8,
    pub loss_in_percent: u8,
    pub loss_out_percent: u8,
    /// The median.
    pub round_trip_ms: u16,
    /// How often sound was lost, and for how long in all.
    pub reconnects: u16,
    pub reconnecting_ms: u32,
    /// At the end, sound went by a relay.
    pub relayed: bool,
    /// What was explained for the longest time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// What makes a call bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing comes in or nothing goes out.
    NothingComes,
    NothingGoes,
    MicrophoneSilent,
    MicrophoneMissing,
    SpeakerMissing,
    Loss,
    Delay,
    Jitter,
    /// The link carries less than speech needs.
    Narrow,
    /// One hears oneself.
    Echo,
    /// The machine does not keep up.
    Overload,
}

/// What an app found when it checked sound and network for a booking. Nothing more is told to the other party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    #[default]
    Unknown,
    Ready,
    HasProblem,
}

/// The ways that a check tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPath {
    Direct,
    RelayUdp,
    RelayTcp,
    RelayTls,
}
