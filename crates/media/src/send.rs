//! Captured sound on its way out: processed, cut into packets, encoded once for all connections.

use crate::opus::{self, Encoder, OpusError};
use crate::pipeline::{Encoded, PACKET, Plan};
use crate::processing::Processor;
use crate::{FRAME, Processing, Sound};
use bytes::Bytes;

/// Captured sound on its way to the network.
pub struct SendSide {
    processor: Processor,
    encoder: Encoder,
    pending: Vec<f32>,
    sequence: u16,
    timestamp: u32,
    muted: bool,
    paused: bool,
    plan: Plan,
}

impl SendSide {
    /// `start` gives the first sequence number and timestamp, which should be random (RFC 3550, section 5.1).
    pub fn new(processing: Processing, start: u32) -> Result<Self, OpusError> {
        Ok(Self {
            processor: Processor::new(processing),
            encoder: Encoder::new()?,
            pending: Vec::with_capacity(PACKET),
            sequence: start as u16,
            timestamp: start,
            muted: false,
            paused: true,
            plan: Plan::default(),
        })
    }

    pub fn set_processing(&mut self, processing: Processing) {
        self.processor.set(processing);
    }

    /// What the ways ask for together; it holds from the next packet.
    pub fn follow(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// While muted whatever is captured counts as silence, and silence is sent as rarely as possible.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        if muted {
            self.pending.fill(0.0);
        }
        if let Err(error) = self.encoder.set_dtx(muted) {
            tracing::warn!(%error, "discontinuous transmission not switched");
        }
    }

    /// What is about to be played, for the echo canceller.
    pub fn played(&mut self, sound: &Sound) {
        self.processor.played(sound);
    }

    /// Takes 10 ms, cleans it in place, and yields a packet with every second call, unless there is none to send.
    pub fn captured(&mut self, sound: &mut Sound) -> Option<Encoded> {
        if self.muted {
            *sound = Sound::SILENCE;
        }
        self.processor.captured(sound);
        if self.muted {
            // The processing still rings with what came before.
            *sound = Sound::SILENCE;
        }
        self.pending.extend_from_slice(&sound.mid);
        if self.pending.len() < PACKET {
            return None;
        }
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(PACKET as u32);
        let mut buffer = [0; opus::MAX_PACKET_BYTES];
        let encoded = self.encoder.encode(&self.pending, &mut buffer);
        self.pending.clear();
        let packet = match encoded {
            Ok(length) => &buffer[..length],
            Err(error) => {
                tracing::warn!(%error, "not encoded");
                return None;
            }
        };
        // The first of a pause is sent, so that the far side knows it for one.
        let silent = opus::is_dtx(packet);
        let (first, marker) = (!self.paused, self.paused && !silent);
        self.paused = silent;
        if silent && !first {
            return None;
        }
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        Some(Encoded { sequence, timestamp, marker, samples: PACKET as u32, payload: Bytes::copy_from_slice(packet) })
    }

    /// Forgets what was captured but not encoded: nobody listens.
    pub fn idle(&mut self, sound: &mut Sound) {
        if self.muted {
            *sound = Sound::SILENCE;
        }
        self.processor.captured(sound);
        if self.muted {
            *sound = Sound::SILENCE;
        }
        self.pending.clear();
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        self.paused = true;
    }
}
