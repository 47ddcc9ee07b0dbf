//! Sound on its way out and in, as plain structs driven 10 ms at a time: no device, no task, no clock of their own.
//!
//! ```text
//! captured -> SendSide (process, encode) -> Road, one a connection (protect, pace) -> packets
//! packets -> ReceiveSide, one a connection (reorder, recover, decode, stretch) -> played
//!               |-- missing: sequence numbers to be asked for again  --> Road::resend
//!               '-- feedback: loss, its pattern, what the way carries --> Road::heed --> Plan --> SendSide::follow
//! ```
//!
//! The engine drives them by its devices; the sound laboratory drives them as fast as they run.

pub use crate::jitter::Counts;
pub use crate::muted::MutedVoice;
pub use crate::own_voice::OwnVoice;
pub use crate::processing::Processor;
pub use crate::receive::{ReceiveSide, Received, Recovered};
pub use crate::road::{Road, RoadFigures};
pub use crate::send::SendSide;

use bytes::Bytes;
use std::time::Duration;

/// Samples of a packet where nothing asks for a longer one: 20 ms.
pub const PACKET: usize = 2 * crate::FRAME;

/// The payload types in our descriptions. What a far side numbers differently is translated at the connection.
pub const OPUS_PAYLOAD_TYPE: u8 = 111;
pub const RED_PAYLOAD_TYPE: u8 = 63;

/// Bytes that an RTP packet has beside its payload: IPv4 20, UDP 8, RTP 12, SRTP's tag 10 (RFC 3711).
pub const OVERHEAD: usize = 50;

/// How a payload is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Opus,
    /// Several Opus packets in one (RFC 2198).
    Red,
}

/// An Opus packet and its place in the stream.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub sequence: u16,
    pub timestamp: u32,
    /// First after a pause (RFC 3551, section 4.1).
    pub marker: bool,
    /// How long it plays, in samples.
    pub samples: u32,
    pub payload: Bytes,
}

impl Encoded {
    /// The packet without anything against loss.
    pub fn plain(self) -> Outbound {
        let Self { sequence, timestamp, marker, payload, .. } = self;
        Outbound { form: Form::Opus, sequence, timestamp, marker, payload }
    }
}

/// RTP without the parts that a connection adds.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub form: Form,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Bytes,
}

/// An RTP packet of one source, as it arrived. Times count from any fixed moment.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Duration,
    pub ssrc: u32,
    pub form: Form,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload: Bytes,
}

/// What a far side can do with what we send it, by its description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Reads redundant packets (`audio/red`).
    pub red: bool,
    /// Asks for packets again (`a=rtcp-fb nack`).
    pub nack: bool,
    /// Decodes deep redundancy.
    pub dred: bool,
    /// Says how loss comes and what the way carries, beside the plain receiver report.
    pub reports: bool,
}

/// What a receiver says of the packets it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Feedback {
    /// Share of packets, 0 to 1, lost on the way since the feedback before, whatever was recovered of them.
    pub loss: f32,
    /// The same of sound that had to be made up after all, where the receiver says so.
    pub unrecovered: Option<f32>,
    /// Mean length of the gaps that loss left, in milliseconds, where the receiver says so.
    pub burst_ms: Option<f32>,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f32,
    /// Measured by whoever sends the packets; a receiver leaves it out.
    pub round_trip_ms: Option<f32>,
    /// The most that the way seems to carry, bits a second of whole packets; `None` while no limit was met, or known.
    pub bandwidth: Option<u32>,
    /// The highest sequence number that came, without wrap-around, as a receiver report has it.
    pub highest_sequence: u32,
    /// Packets lost in all.
    pub cumulative_lost: u32,
}

/// What the encoder is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bits a second of Opus payload: 10,000 to 64,000, or 128,000 for original sound.
    pub bitrate: u32,
    /// 20, 40 or 60.
    pub packet_ms: u8,
    /// What the encoder is to expect, percent: it spends bits on [`Plan::fec`] and `dred_ms` accordingly.
    pub expected_loss: u8,
    pub fec: bool,
    /// Deep redundancy, up to 1,000.
    pub dred_ms: u16,
}

impl Default for Plan {
    fn default() -> Self {
        Self { bitrate: 40_000, packet_ms: 20, expected_loss: 0, fec: false, dred_ms: 0 }
    }
}

impl Plan {
    /// What suits all ways: the encoder is one. The smallest rate, the strongest protection. `None` without any.
    pub fn join(plans: impl IntoIterator<Item = Self>) -> Option<Self> {
        plans.into_iter().reduce(|a, b| Self {
            bitrate: a.bitrate.min(b.bitrate),
            packet_ms: a.packet_ms.max(b.packet_ms),
            expected_loss: a.expected_loss.max(b.expected_loss),
            fec: a.fec || b.fec,
            dred_ms: a.dred_ms.max(b.dred_ms),
        })
    }
}

/// What may be done against a bad way. All of it, but where the laboratory asks what each is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Lost packets are asked for again, and sent again.
    pub resend: bool,
    /// Copies of earlier packets ride along (RFC 2198).
    pub copies: bool,
    /// The codec's own copy of the packet before.
    pub fec: bool,
    /// Deep redundancy.
    pub dred: bool,
    /// Concealment by the codec's neural model.
    pub deep_plc: bool,
    /// Playout is made faster and slower to follow the network.
    pub stretch: bool,
    /// The rate follows what the way carries.
    pub rate: bool,
}

impl Default for Mechanisms {
    fn default() -> Self {
        Self { resend: true, copies: true, fec: true, dred: true, deep_plc: true, stretch: true, rate: true }
    }
}
