//! What was sent of late: copies are made of it, and it is sent again.

use crate::pipeline::{Encoded, OVERHEAD, Outbound};
use crate::red::{Block, LONGEST_BLOCK, LONGEST_OFFSET};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// What was sent of late, oldest first.
#[derive(Default)]
pub struct History(VecDeque<Sent>);

struct Sent {
    /// As it went out. It goes again byte for byte: another packet of the same number would be enciphered with the same
    /// key stream (RFC 3711, section 9.1).
    packet: Outbound,
    copy: Bytes,
    last: Duration,
    first: Duration,
    again: u8,
}

/// What is older is played, or given up, in any jitter buffer.
const OLD: Duration = Duration::from_secs(1);
/// Packets of 20 ms in that time, and some that were reordered.
const MOST: usize = 56;
/// With 40 % loss each way three of four packets have arrived after so many times.
const TIMES: u8 = 4;
/// A round trip that was measured a little too long must not swallow a request.
const ROUND_TRIP_SHARE: f32 = 0.9;
/// Not known yet.
const ROUND_TRIP_MS: f32 = 50.0;

impl History {
    pub fn note(&mut self, packet: Outbound, copy: Bytes, now: Duration) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Sent { packet, copy, last: now, first: now, again: 0 });
    }

    /// The copy of the packet so many before `encoded`, if it can ride along.
    pub fn copy(&self, encoded: &Encoded, distance: u16) -> Option<Block> {
        let sent = self.find(encoded.sequence.wrapping_sub(distance))?;
        let offset = encoded.timestamp.wrapping_sub(sent.packet.timestamp);
        let fits = (1..=LONGEST_OFFSET).contains(&offset) && (1..=LONGEST_BLOCK).contains(&sent.copy.len());
        fits.then(|| Block { offset, payload: sent.copy.clone() })
    }

    /// The packet of this number, if it is worth sending again now and `room` bytes hold it.
    pub fn again(&mut self, sequence: u16, round_trip_ms: Option<f32>, room: f32, now: Duration) -> Option<Outbound> {
        let wait = Duration::from_secs_f32(round_trip_ms.unwrap_or(ROUND_TRIP_MS).max(0.0) * ROUND_TRIP_SHARE / 1000.0);
        let sent = self.0.iter_mut().rev().find(|sent| sent.packet.sequence == sequence)?;
        let late = now > sent.first + OLD || sent.again == TIMES;
        // Whoever asks cannot know yet what was sent within a round trip.
        let under_way = sent.again > 0 && now < sent.last + wait;
        if late || under_way || (sent.packet.payload.len() + OVERHEAD) as f32 > room {
            return None;
        }
        (sent.last, sent.again) = (now, sent.again + 1);
        Some(sent.packet.clone())
    }

    fn find(&self, sequence: u16) -> Option<&Sent> {
        self.0.iter().rev().find(|sent| sent.packet.sequence == sequence)
    }
}
