//! Captured sound on its way out: processed, cut into packets, encoded once for all connections.

use crate::opus::{self, Content, Encoder, OpusError, Settings};
use crate::pipeline::{Encoded, Plan};
use crate::processing::Processor;
use crate::{FRAME, Processing, Sound};
use bytes::Bytes;

/// Captured sound on its way to the network.
pub struct SendSide {
    processor: Processor,
    encoder: Encoder,
    /// What the packet under way is of, as the encoder takes it.
    pending: Vec<f32>,
    /// Frames of 10 ms in `pending`, and in the packet when it is whole.
    frames: usize,
    whole: usize,
    sequence: u16,
    timestamp: u32,
    muted: bool,
    paused: bool,
    /// Asked for; it becomes so with the next packet.
    plan: Plan,
    content: Content,
}

/// Room for the longest packet: 60 ms of two channels.
const LONGEST: usize = 6 * FRAME * 2;

impl SendSide {
    /// `start` gives the first sequence number and timestamp, which should be random (RFC 3550, section 5.1).
    pub fn new(processing: Processing, start: u32) -> Result<Self, OpusError> {
        let content = content(processing);
        Ok(Self {
            processor: Processor::new(processing),
            encoder: Encoder::new(content)?,
            pending: Vec::with_capacity(LONGEST),
            frames: 0,
            whole: 2,
            sequence: start as u16,
            timestamp: start,
            muted: false,
            paused: true,
            plan: Plan::default(),
            content,
        })
    }

    /// What is processed changes at once, how many channels are sent with the next packet.
    pub fn set_processing(&mut self, processing: Processing) {
        self.processor.set(processing);
        self.content = content(processing);
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
    }

    /// What is about to be played, for the echo canceller.
    pub fn played(&mut self, sound: &Sound) {
        self.processor.played(sound);
    }

    /// What a muted microphone gives, cleaned in place of the echo of what is played, and kept nowhere; silence is what is
    /// then given to [`Self::captured`].
    pub fn muted(&mut self, sound: &mut Sound) {
        self.processor.muted(sound);
    }

    /// By how many decibels the canceller lowers the echo; `None` while there was none to be lowered.
    pub fn echo_return_loss_db(&self) -> Option<f32> {
        self.processor.echo_return_loss_db()
    }

    /// Takes 10 ms, cleans it in place, and yields a packet when one is whole, unless there is none to send.
    pub fn captured(&mut self, sound: &mut Sound) -> Option<Encoded> {
        self.process(sound);
        if self.frames == 0 {
            self.begin();
        }
        self.append(sound);
        if self.frames < self.whole {
            return None;
        }
        let samples = (self.frames * FRAME) as u32;
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(samples);
        let mut buffer = [0; opus::MAX_PACKET_BYTES];
        let encoded = self.encoder.encode(&self.pending, &mut buffer);
        self.clear();
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
        Some(Encoded { sequence, timestamp, marker, samples, payload: Bytes::copy_from_slice(packet) })
    }

    /// Forgets what was captured but not encoded: nobody listens.
    pub fn idle(&mut self, sound: &mut Sound) {
        self.process(sound);
        self.timestamp = self.timestamp.wrapping_add(((self.frames + 1) * FRAME) as u32);
        self.clear();
        self.paused = true;
    }

    fn process(&mut self, sound: &mut Sound) {
        if self.muted {
            *sound = Sound::SILENCE;
        } else {
            self.processor.captured(sound);
        }
    }

    /// A packet begins: what was asked for since the last one becomes so.
    fn begin(&mut self) {
        let Plan { bitrate, packet_ms, expected_loss, fec, dred_ms } = self.plan;
        self.whole = usize::from(packet_ms / 20).clamp(1, 3) * 2;
        if self.encoder.content() != self.content {
            match Encoder::new(self.content) {
                Ok(encoder) => self.encoder = encoder,
                Err(error) => tracing::warn!(%error, "no encoder, the old one goes on"),
            }
        }
        // Less than where nothing limits it: a link is narrow, or not known yet.
        let steady = !self.muted && bitrate < Plan::default().bitrate;
        let settings = Settings { bitrate, expected_loss, fec, dred_ms, steady };
        if let Err(error) = self.encoder.set(settings).and_then(|()| self.encoder.set_dtx(self.muted)) {
            tracing::warn!(%error, "encoder not set");
        }
    }

    fn append(&mut self, sound: &Sound) {
        self.frames += 1;
        match self.encoder.content() {
            Content::Speech => self.pending.extend_from_slice(&sound.mid),
            Content::Original => {
                for (mid, side) in sound.mid.iter().zip(&sound.side) {
                    let side = if sound.stereo { *side } else { 0.0 };
                    self.pending.extend_from_slice(&[mid + side, mid - side]);
                }
            }
        }
    }

    fn clear(&mut self) {
        self.pending.clear();
        self.frames = 0;
    }
}

fn content(processing: Processing) -> Content {
    if processing.original_sound { Content::Original } else { Content::Speech }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hum(at: usize) -> Sound {
        let mut sound = Sound::SILENCE;
        for (i, sample) in sound.mid.iter_mut().enumerate() {
            *sample = ((at * FRAME + i) as f32 * 0.03).sin() * 0.3;
        }
        sound
    }

    #[test]
    fn packets_change_their_length_without_a_gap_in_time_or_number() {
        let mut send = SendSide::new(Processing::OFF, 0xFFFF_FF00).unwrap();
        let (mut before, mut lengths) = (None::<Encoded>, Vec::new());
        for at in 0..120 {
            match at {
                31 => send.follow(Plan { packet_ms: 60, bitrate: 16_000, ..Plan::default() }),
                61 => send.follow(Plan { packet_ms: 40, fec: true, expected_loss: 20, ..Plan::default() }),
                91 => send.set_processing(Processing { original_sound: true, ..Processing::OFF }),
                _ => {}
            }
            let Some(packet) = send.captured(&mut hum(at)) else { continue };
            assert_eq!(opus::packet_samples(&packet.payload), Some(packet.samples as usize));
            if let Some(before) = before {
                assert_eq!(packet.sequence, before.sequence.wrapping_add(1));
                assert_eq!(packet.timestamp, before.timestamp.wrapping_add(before.samples));
            }
            lengths.push(packet.samples / 48);
            before = Some(packet);
        }
        lengths.dedup();
        assert_eq!(lengths, [20, 60, 40]);
    }

    #[test]
    fn what_is_muted_costs_nearly_nothing_whatever_the_plan_is() {
        for plan in [Plan::default(), Plan { packet_ms: 60, bitrate: 16_000, ..Plan::default() }] {
            let mut send = SendSide::new(Processing::OFF, 7).unwrap();
            send.follow(plan);
            (0..60).for_each(|at| drop(send.captured(&mut hum(at))));
            send.set_muted(true);
            // The encoder takes a fifth of a second to believe it.
            (0..50).for_each(|at| drop(send.captured(&mut hum(at))));
            let sent = (0..400).filter_map(|at| send.captured(&mut hum(at))).count();
            // Each 400 ms the noise is described again, and the pause begins again.
            assert!(sent <= 22, "{sent} packets in 4 s of {plan:?}");
        }
    }
}
