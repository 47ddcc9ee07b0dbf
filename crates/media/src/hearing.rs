//! What is heard of the far sides: a receive side for each connection, one voice for each leg, and the sum of them.
//!
//! Of the connections of a leg the newest that flows is heard, and while none does the one that was heard last: it may come
//! back. A change fades over 10 ms, as does the end of what is forgotten. The legs are added up; keeping the sum within full
//! scale is left to whoever plays it.

use crate::audio::{ConnectionId, Note, Packet};
use crate::opus::OpusError;
use crate::pipeline::ReceiveSide;
use crate::voice::Voice;
use crate::{FRAME, Frame, Leg, SILENCE};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A connection flows with so many packets decoded in a row,
const FLOWING_PACKETS: u32 = 3;
/// and has stalled when none came for so long.
const STALL: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Hearing {
    legs: BTreeMap<Leg, FarSide>,
    /// Where legs that are gone were cut off.
    cut: f32,
}

/// The connections of one leg, oldest first.
#[derive(Default)]
struct FarSide {
    connections: Vec<Receiving>,
    heard: Option<ConnectionId>,
    /// The last sample that was heard.
    last: f32,
    voice: Voice,
}

struct Receiving {
    id: ConnectionId,
    side: ReceiveSide,
    last_packet: Option<Instant>,
    flowing: bool,
    /// The 10 ms decoded last.
    sound: Frame,
}

impl Hearing {
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// From now on sound of this connection may come.
    pub fn receive(&mut self, id: ConnectionId) -> Result<(), OpusError> {
        let receiving = Receiving { id, side: ReceiveSide::new()?, last_packet: None, flowing: false, sound: SILENCE };
        let connections = &mut self.legs.entry(id.leg).or_default().connections;
        connections.push(receiving);
        connections.sort_by_key(|receiving| receiving.id);
        Ok(())
    }

    pub fn forget(&mut self, id: ConnectionId, say: &mut impl FnMut(Note)) {
        let Some(far_side) = self.legs.get_mut(&id.leg) else { return };
        far_side.connections.retain(|receiving| receiving.id != id);
        far_side.heard = far_side.heard.filter(|heard| *heard != id);
        if far_side.connections.is_empty() {
            if let Some(speaking) = far_side.voice.end() {
                say(Note::Speaking { id: Some(id), speaking });
            }
            self.cut += far_side.last;
            self.legs.remove(&id.leg);
        }
    }

    /// Takes a packet that is read now.
    pub fn insert(&mut self, packet: Packet, now: Instant) {
        let far_side = self.legs.get_mut(&packet.id.leg);
        if let Some(receiving) = far_side.and_then(|far_side| far_side.connection(packet.id)) {
            receiving.last_packet = Some(now);
            receiving.side.insert(packet.arrival);
        }
    }

    /// Adds the next 10 ms of all legs to a silent frame; `time` counts as the arrivals of packets do.
    pub fn play(&mut self, time: Duration, frame: &mut Frame, say: &mut impl FnMut(Note)) {
        for far_side in self.legs.values_mut() {
            far_side.play(time, frame, say);
        }
        let cut = std::mem::take(&mut self.cut);
        if cut != 0.0 {
            frame.iter_mut().enumerate().for_each(|(i, sample)| *sample += cut * (1.0 - fade(i)));
        }
    }

    pub fn watch(&mut self, now: Instant, say: &mut impl FnMut(Note)) {
        for receiving in self.legs.values_mut().flat_map(|far_side| &mut far_side.connections) {
            let quiet = receiving.last_packet.is_some_and(|last| now - last >= STALL);
            if receiving.flowing && quiet {
                receiving.flowing = false;
                receiving.side.stalled();
                say(Note::Stalled(receiving.id));
            }
        }
    }

    pub fn say_figures(&mut self, sent_packets: u32, sent_bytes: u32, say: &mut impl FnMut(Note)) {
        for receiving in self.legs.values_mut().flat_map(|far_side| &mut far_side.connections) {
            let received = receiving.side.take_received();
            say(Note::Second { id: receiving.id, received, sent_packets, sent_bytes });
        }
    }
}

/// The weight of the new at this sample of a frame.
fn fade(at: usize) -> f32 {
    at as f32 / FRAME as f32
}

impl FarSide {
    fn connection(&mut self, id: ConnectionId) -> Option<&mut Receiving> {
        self.connections.iter_mut().find(|receiving| receiving.id == id)
    }

    /// Decodes 10 ms of every connection and lets the newest that flows be heard.
    fn play(&mut self, time: Duration, frame: &mut Frame, say: &mut impl FnMut(Note)) {
        for receiving in &mut self.connections {
            receiving.side.playout(time, &mut receiving.sound);
            if !receiving.flowing && receiving.side.decoded_in_row() >= FLOWING_PACKETS {
                receiving.flowing = true;
                say(Note::Flowing(receiving.id));
            }
        }
        let newest_flowing = self.connections.iter().rfind(|receiving| receiving.flowing);
        let newest_flowing = newest_flowing.map(|receiving| receiving.id);
        let to = newest_flowing.or(self.heard).or(self.connections.first().map(|receiving| receiving.id));
        let sound = |id: Option<ConnectionId>| {
            self.connections.iter().find(|receiving| Some(receiving.id) == id).map(|receiving| &receiving.sound)
        };
        // One that was forgotten is held where it was cut off.
        let held = [self.last; FRAME];
        let faded: Frame;
        let new = sound(to).unwrap_or(&SILENCE);
        let heard = if to == self.heard {
            new
        } else {
            let old = sound(self.heard).unwrap_or(&held);
            faded = std::array::from_fn(|i| old[i] * (1.0 - fade(i)) + new[i] * fade(i));
            &faded
        };
        self.last = heard[FRAME - 1];
        for (sample, heard) in frame.iter_mut().zip(heard) {
            *sample += heard;
        }
        if let Some(speaking) = self.voice.hear(heard) {
            say(Note::Speaking { id: to, speaking });
        }
        self.heard = to;
    }
}
