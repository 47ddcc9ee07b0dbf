//! What is heard of the far sides: a receive side for each connection, one voice for each leg, and the sum of them.
//!
//! Of the connections of a leg the newest that flows is heard, and while none does the one that was heard last: it may come
//! back. A change fades over 10 ms, as does the end of what is forgotten. The legs are added up; keeping the sum within full
//! scale is left to whoever plays it.

use crate::audio::{ConnectionId, Heard, Note, Ours, Packet, Sent};
use crate::opus::OpusError;
use crate::own_voice::OwnVoice;
use crate::pipeline::{Mechanisms, ReceiveSide, RoadFigures};
use crate::voice::Voice;
use crate::{FRAME, Frame, Leg, Sound};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A connection flows with so many packets decoded in a row,
const FLOWING_PACKETS: u32 = 3;
/// and has stalled when none came for so long.
const STALL: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Hearing {
    legs: BTreeMap<Leg, FarSide>,
    /// Where legs that are gone were cut off: mid and side.
    cut: (f32, f32),
}

/// The connections of one leg, oldest first.
#[derive(Default)]
struct FarSide {
    connections: Vec<Receiving>,
    heard: Option<ConnectionId>,
    /// The last sample that was heard: mid and side.
    last: (f32, f32),
    voice: Voice,
    own_voice: OwnVoice,
}

struct Receiving {
    id: ConnectionId,
    side: ReceiveSide,
    last_packet: Option<Instant>,
    flowing: bool,
    /// Mean length of the gaps that loss left, as the far side was told last.
    burst_ms: f32,
    /// The 10 ms decoded last.
    sound: Sound,
}

impl Hearing {
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// From now on sound of this connection may come.
    pub fn receive(&mut self, id: ConnectionId) -> Result<(), OpusError> {
        let receiving = Receiving {
            id,
            side: ReceiveSide::new()?,
            last_packet: None,
            flowing: false,
            burst_ms: 0.0,
            sound: Sound::SILENCE,
        };
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
            self.cut.0 += far_side.last.0;
            self.cut.1 += far_side.last.1;
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

    /// 10 ms that go out to all legs.
    pub fn sent(&mut self, frame: &Frame, time: Duration) {
        self.legs.values_mut().for_each(|far_side| far_side.own_voice.sent(frame, time));
    }

    /// Adds the next 10 ms of all legs to silence; `time` counts as the arrivals of packets do.
    pub fn play(&mut self, time: Duration, sound: &mut Sound, say: &mut impl FnMut(Note)) {
        for far_side in self.legs.values_mut() {
            far_side.play(time, sound, say);
        }
        let cut = std::mem::take(&mut self.cut);
        if cut != (0.0, 0.0) {
            sound.mid.iter_mut().enumerate().for_each(|(i, sample)| *sample += cut.0 * (1.0 - fade(i)));
            sound.side.iter_mut().enumerate().for_each(|(i, sample)| *sample += cut.1 * (1.0 - fade(i)));
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

    /// Nobody sends again on this connection, so what is missing is not waited for.
    pub fn ask_nothing(&mut self, id: ConnectionId) -> Result<(), OpusError> {
        let far_side = self.legs.get_mut(&id.leg);
        let receiving = far_side.and_then(|far_side| far_side.connection(id));
        if let Some(receiving) = receiving.filter(|receiving| receiving.last_packet.is_none()) {
            receiving.side = ReceiveSide::with(Mechanisms { resend: false, ..Mechanisms::default() })?;
        }
        Ok(())
    }

    /// The way there and back: what is missing on this connection is worth asking for if it can come in time.
    pub fn set_round_trip(&mut self, id: ConnectionId, ms: Option<f32>) {
        let far_side = self.legs.get_mut(&id.leg);
        if let Some(receiving) = far_side.and_then(|far_side| far_side.connection(id)) {
            receiving.side.set_round_trip(ms);
        }
    }

    /// What the far sides are to be told now; of those that `asks` names, also what is to be sent again.
    pub fn answer(&mut self, time: Duration, asks: impl Fn(ConnectionId) -> bool, tell: &mut impl FnMut(Sent)) {
        for receiving in self.legs.values_mut().flat_map(|far_side| &mut far_side.connections) {
            let id = receiving.id;
            // It is also what counts losses, whoever can be asked.
            let missing = receiving.side.missing(time);
            if !missing.is_empty() && asks(id) {
                tell(Sent::Missing(id, missing));
            }
            if let Some(feedback) = receiving.side.feedback(time) {
                receiving.burst_ms = feedback.burst_ms.unwrap_or(0.0);
                tell(Sent::Feedback(id, feedback));
            }
        }
    }

    pub fn say_figures(
        &mut self,
        ours: Ours,
        mut road: impl FnMut(ConnectionId) -> Option<RoadFigures>,
        say: &mut impl FnMut(Note),
    ) {
        for far_side in self.legs.values_mut() {
            let own_voice_back_db = far_side.own_voice.back_db();
            for receiving in &mut far_side.connections {
                let (id, received) = (receiving.id, receiving.side.take_received());
                let heard = Heard { received, burst_ms: receiving.burst_ms, own_voice_back_db };
                say(Note::Second { id, heard, road: road(id), ours });
            }
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
    fn play(&mut self, time: Duration, mixed: &mut Sound, say: &mut impl FnMut(Note)) {
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
        let held = Sound { mid: [self.last.0; FRAME], side: [self.last.1; FRAME], stereo: self.last.1 != 0.0 };
        let faded: Sound;
        let new = sound(to).unwrap_or(&Sound::SILENCE);
        let heard = if to == self.heard {
            new
        } else {
            let old = sound(self.heard).unwrap_or(&held);
            faded = Sound {
                mid: std::array::from_fn(|i| old.mid[i] * (1.0 - fade(i)) + new.mid[i] * fade(i)),
                side: std::array::from_fn(|i| old.side[i] * (1.0 - fade(i)) + new.side[i] * fade(i)),
                stereo: old.stereo || new.stereo,
            };
            &faded
        };
        self.last = (heard.mid[FRAME - 1], heard.side[FRAME - 1]);
        mixed.mid.iter_mut().zip(&heard.mid).for_each(|(sample, heard)| *sample += heard);
        if heard.stereo {
            mixed.stereo = true;
            mixed.side.iter_mut().zip(&heard.side).for_each(|(sample, heard)| *sample += heard);
        }
        self.own_voice.heard(&heard.mid, time);
        if let Some(speaking) = self.voice.hear(&heard.mid) {
            say(Note::Speaking { id: to, speaking });
        }
        self.heard = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Arrival, Encoded, Form, SendSide};
    use crate::{Processing, RATE};
    use std::f32::consts::TAU;
    use std::ops::Range;

    const HERTZ: f32 = 300.0;
    const AMPLITUDE: f32 = 0.3;
    /// The widest step from one sample of the tone to the next.
    const STEP: f32 = TAU * HERTZ / RATE as f32 * AMPLITUDE;

    fn id(generation: u32) -> ConnectionId {
        ConnectionId { leg: Leg::CALL, generation, serial: u64::from(generation) }
    }

    /// What came of a call in which a tone is said, in virtual time.
    struct Call {
        hearing: Hearing,
        begun: Instant,
        /// Which connection carries the tone: when packets are sent on it, and how long they are on their way.
        roads: Vec<(u32, Range<u64>, u64)>,
        packets: Vec<(u64, Encoded)>,
        now_ms: u64,
        heard: Vec<f32>,
        flowed: Vec<u32>,
    }

    impl Call {
        fn new(roads: Vec<(u32, Range<u64>, u64)>) -> Self {
            let mut side = SendSide::new(Processing::OFF, 1).unwrap();
            let sample = |i: usize| AMPLITUDE * (TAU * HERTZ * i as f32 / RATE as f32).sin();
            let packets = (0..1000u64).filter_map(|at| {
                let mut sound = Sound::mono(std::array::from_fn(|i| sample(at as usize * FRAME + i)));
                side.captured(&mut sound).map(|packet| (10 * (at + 1), packet))
            });
            let packets = packets.collect();
            let (hearing, begun) = (Hearing::default(), Instant::now());
            Self { hearing, begun, roads, packets, now_ms: 0, heard: vec![], flowed: vec![] }
        }

        fn open(&mut self, generation: u32) {
            self.hearing.receive(id(generation)).unwrap();
        }

        fn forget(&mut self, generation: u32) {
            self.hearing.forget(id(generation), &mut drop);
        }

        fn until(&mut self, end_ms: u64) {
            while self.now_ms < end_ms {
                let (now, time) = (self.begun + Duration::from_millis(self.now_ms), Duration::from_millis(self.now_ms));
                for (generation, open, delay) in &self.roads {
                    let arrived = self.packets.iter().filter(|(sent, _)| {
                        open.contains(sent) && (self.now_ms.saturating_sub(9)..=self.now_ms).contains(&(sent + delay))
                    });
                    for (_, packet) in arrived {
                        let Encoded { sequence, timestamp, payload, .. } = packet.clone();
                        let arrival =
                            Arrival { at: time, ssrc: *generation, form: Form::Opus, sequence, timestamp, payload };
                        self.hearing.insert(Packet { id: id(*generation), arrival }, now);
                    }
                }
                let mut sound = Sound::SILENCE;
                let mut say = |note| {
                    if let Note::Flowing(id) = note {
                        self.flowed.push(id.generation);
                    }
                };
                self.hearing.play(time, &mut sound, &mut say);
                self.hearing.watch(now, &mut say);
                self.heard.extend(sound.mid);
                self.now_ms += 10;
            }
        }

        fn widest_step(&self, ms: Range<usize>) -> f32 {
            let heard = &self.heard[ms.start * 48..ms.end * 48];
            heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
        }

        /// Of the silences in this time, in milliseconds.
        fn longest_silence(&self, ms: Range<usize>) -> usize {
            let pieces = self.heard[ms.start * 48..ms.end * 48].chunks(240);
            let (mut longest, mut run) = (0, 0);
            for piece in pieces {
                let power = piece.iter().map(|sample| sample * sample).sum::<f32>() / 240.0;
                run = if power.sqrt() < AMPLITUDE / 10.0 { run + 5 } else { 0 };
                longest = longest.max(run);
            }
            longest
        }
    }

    #[test]
    fn sound_follows_to_a_newer_connection_without_a_click_and_without_a_gap_however_their_delays_differ() {
        for (old, new) in [(30, 30), (30, 110), (110, 30), (20, 47)] {
            let mut call = Call::new(vec![(1, 0..9_000, old), (2, 2_000..9_000, new)]);
            call.open(1);
            call.until(1_990);
            call.open(2);
            call.until(3_500);
            assert_eq!((call.flowed.as_slice(), call.hearing.legs[&Leg::CALL].heard), (&[1, 2][..], Some(id(2))));
            call.forget(1);
            call.until(5_000);
            let step = call.widest_step(500..5_000);
            assert!(step < 1.3 * STEP, "{old} to {new} ms: a step of {step}, the tone's is {STEP}");
            assert!(call.longest_silence(500..5_000) <= 10, "{old} to {new} ms");
        }
    }

    #[test]
    fn one_that_is_back_is_heard_again_though_a_newer_one_was_tried_in_vain() {
        let mut call = Call::new(vec![(1, 0..2_000, 30), (1, 6_000..9_000, 30)]);
        call.open(1);
        call.until(3_000);
        call.open(2);
        call.until(5_000);
        assert_eq!(call.longest_silence(2_500..5_000), 2_500);
        call.forget(2);
        call.open(3);
        call.until(8_000);
        assert!(call.longest_silence(6_110..8_000) <= 10);
        assert!(call.widest_step(500..8_000) < 1.3 * STEP);
        assert_eq!(call.flowed, [1, 1]);
    }

    #[test]
    fn what_is_cut_off_fades() {
        let mut call = Call::new(vec![(1, 0..9_000, 30), (2, 1_000..9_000, 60)]);
        call.open(1);
        call.open(2);
        // Wherever in the tone that happens: the newer one is lost, then all.
        call.until(2_010);
        call.forget(2);
        call.until(3_020);
        call.forget(1);
        call.until(3_500);
        let step = call.widest_step(500..3_500);
        assert!(step < 1.3 * STEP, "a step of {step}, the tone's is {STEP}");
        assert_eq!(call.longest_silence(3_030..3_500), 470);
    }
}
