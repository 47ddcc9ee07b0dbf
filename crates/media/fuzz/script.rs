//! Bytes as a script of packets and times, for the fuzz target `receive` and for tests/properties.rs.
//!
//! Each two bytes are something that a network, a far side or an attacker may do; [`Script::run`] plays it into a
//! [`ReceiveSide`] and checks after every 10 ms what has to hold whatever came.

#![allow(dead_code)]

use bellwire_media::pipeline::{Arrival, Encoded, Form, Plan, ReceiveSide, Received, SendSide};
use bellwire_media::red::{self, Block};
use bellwire_media::{FRAME, Processing, Sound};
use std::sync::OnceLock;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// Opus may overshoot full scale; more than this is broken.
const LOUDEST: f32 = 8.0;
/// Packets that may come again.
const REMEMBERED: usize = 64;
/// The first packets are of one voice.
const ONE_VOICE: usize = 600;

/// Real packets: short and long ones, with redundancy of each kind, of one channel and two, and of silence.
fn stock() -> &'static [Encoded] {
    static STOCK: OnceLock<Vec<Encoded>> = OnceLock::new();
    STOCK.get_or_init(|| {
        let plans = [
            Plan::default(),
            Plan { packet_ms: 60, bitrate: 16_000, fec: true, ..Plan::default() },
            Plan { packet_ms: 40, bitrate: 40_000, expected_loss: 20, dred_ms: 500, ..Plan::default() },
        ];
        let original = Processing { original_sound: true, ..Processing::OFF };
        let mut packets = Vec::new();
        for (processing, plan, muted) in [
            (Processing::OFF, plans[0], false),
            (Processing::OFF, plans[1], false),
            (Processing::OFF, plans[2], false),
            (Processing::OFF, plans[0], true),
            (original, Plan { bitrate: 128_000, ..plans[0] }, false),
        ] {
            let mut side = SendSide::new(processing, 1).expect("an encoder");
            side.follow(plan);
            side.set_muted(muted);
            let hum = |i: usize, hertz: f32| 0.3 * (std::f32::consts::TAU * hertz * i as f32 / 48_000.0).sin();
            let frames = if packets.is_empty() { 2 * ONE_VOICE } else { 100 };
            packets.extend((0..frames).filter_map(|at| {
                let mut sound = Sound::mono(std::array::from_fn(|i| hum(at * FRAME + i, 150.0)));
                sound.side = std::array::from_fn(|i| hum(at * FRAME + i, 210.0) / 2.0);
                sound.stereo = processing.original_sound;
                side.captured(&mut sound)
            }));
        }
        packets
    })
}

pub struct Script {
    side: ReceiveSide,
    now: Duration,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    next: usize,
    sent: Vec<Arrival>,
    /// What the far side does about packets that are asked for: nothing, or sends them after so long.
    answers: Option<u8>,
    coming: Vec<Arrival>,
    last_feedback: Option<Duration>,
    /// Played since the beginning, when asked for.
    pub heard: Option<Vec<f32>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            side: ReceiveSide::new().expect("a decoder"),
            now: Duration::from_secs(100),
            ssrc: 1,
            sequence: 65_500,
            timestamp: u32::MAX - 48_000,
            next: 0,
            sent: Vec::new(),
            answers: None,
            coming: Vec::new(),
            last_feedback: None,
            heard: None,
        }
    }
}

impl Script {
    /// Plays it all.
    pub fn run(&mut self, mut bytes: &[u8]) {
        while let [what, how, rest @ ..] = bytes {
            bytes = rest;
            match what % 16 {
                0..=4 => self.send(Form::Opus, 0, *how),
                5..=6 => self.send(Form::Red, how % 5, how / 5 % 4),
                7 => self.lose(how % 12 + 1),
                8 => self.again(usize::from(*how)),
                9 => {
                    let (payload, after) = rest.split_at(rest.len().min(usize::from(*how)));
                    bytes = after;
                    self.garbage(payload, if what & 16 == 0 { Form::Opus } else { Form::Red });
                }
                10 => self.pass(u32::from(*how) * 4),
                11 => self.timestamp = self.timestamp.wrapping_add(u32::from(*how) * 960),
                12 => self.leap(*how),
                13 => {
                    self.side.set_round_trip([None, Some(f32::from(*how)), Some(f32::NAN)][usize::from(what >> 4) % 3])
                }
                14 => self.answers = (how % 4 != 0).then_some(*how),
                _ => self.next = usize::from(*how) * 3,
            }
            if what & 0x80 == 0 {
                self.pass(20);
            }
        }
    }

    /// Nothing happens to the packets of one voice, for so many milliseconds; what came of the last two seconds.
    pub fn calm(&mut self, ms: u32) -> Received {
        for left in (0..ms / 20).rev() {
            if left == 100 {
                self.side.take_received();
            }
            self.next %= ONE_VOICE;
            self.send(Form::Opus, 0, 0);
            self.pass(20);
        }
        self.side.take_received()
    }

    fn take(&mut self) -> Encoded {
        let stock = stock();
        let packet = stock[self.next % stock.len()].clone();
        self.next += 1;
        let packet = Encoded { sequence: self.sequence, timestamp: self.timestamp, ..packet };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(packet.samples);
        packet
    }

    /// The next packet, with copies of so many earlier ones, later by so many times 15 ms.
    fn send(&mut self, form: Form, copies: u8, delay: u8) {
        let packet = self.take();
        let payload = match form {
            Form::Opus => packet.payload,
            Form::Red => {
                let mut blocks = vec![Block { offset: 0, payload: packet.payload }];
                for earlier in self.sent.iter().rev().filter(|sent| sent.form == Form::Opus).take(copies.into()) {
                    let offset = packet.timestamp.wrapping_sub(earlier.timestamp);
                    blocks.push(Block { offset, payload: earlier.payload.clone() });
                }
                blocks.reverse();
                red::write(111, &blocks)
            }
        };
        let (sequence, timestamp) = (packet.sequence, packet.timestamp);
        let arrival = Arrival { at: self.now, ssrc: self.ssrc, form, sequence, timestamp, payload };
        self.sent.push(arrival.clone());
        if self.sent.len() > REMEMBERED {
            self.sent.remove(0);
        }
        self.deliver(arrival, delay % 4);
    }

    fn deliver(&mut self, arrival: Arrival, delay: u8) {
        match delay {
            0 => self.side.insert(arrival),
            delay => self.coming.push(Arrival { at: self.now + u32::from(delay) * 15 * MS, ..arrival }),
        }
    }

    fn lose(&mut self, packets: u8) {
        for _ in 0..packets {
            self.take();
        }
    }

    fn again(&mut self, which: usize) {
        if let Some(sent) = self.sent.get(which % self.sent.len().max(1)) {
            self.side.insert(Arrival { at: self.now, ..sent.clone() });
        }
    }

    fn garbage(&mut self, payload: &[u8], form: Form) {
        let payload = payload.to_vec().into();
        let (sequence, timestamp) = (self.sequence, self.timestamp);
        self.sequence = sequence.wrapping_add(1);
        self.timestamp = timestamp.wrapping_add(960);
        self.side.insert(Arrival { at: self.now, ssrc: self.ssrc, form, sequence, timestamp, payload });
    }

    /// Numbers that follow nothing.
    fn leap(&mut self, how: u8) {
        let far = u32::from(how).wrapping_mul(0x0103_0701);
        match how % 4 {
            0 => self.sequence = self.sequence.wrapping_add(far as u16),
            1 => self.timestamp = self.timestamp.wrapping_add(far),
            2 => self.ssrc = self.ssrc.wrapping_add(1),
            _ => (self.sequence, self.timestamp) = (far as u16, far),
        }
    }

    /// Time passes: what is on its way comes, what is asked for is answered, and sound is played.
    fn pass(&mut self, ms: u32) {
        for step in (5..=ms).step_by(5) {
            self.now += 5 * MS;
            let now = self.now;
            for arrival in self.coming.extract_if(.., |arrival| arrival.at <= now) {
                self.side.insert(Arrival { at: now, ..arrival });
            }
            let asked = self.side.missing(now);
            assert!(asked.len() <= 20, "{} asked for at a time", asked.len());
            if let Some(after) = self.answers {
                let again = asked.iter().filter_map(|asked| self.sent.iter().find(|sent| sent.sequence == *asked));
                let again: Vec<Arrival> = again.cloned().collect();
                again.into_iter().for_each(|arrival| self.deliver(arrival, after % 16));
                self.coming.truncate(REMEMBERED);
            }
            if let Some(feedback) = self.side.feedback(now) {
                assert!((0.0..=1.0).contains(&feedback.loss), "{feedback:?}");
                assert!(feedback.burst_ms.is_none_or(|ms| ms.is_finite() && ms >= 0.0), "{feedback:?}");
                assert!(self.last_feedback.is_none_or(|last| now - last >= 250 * MS));
                self.last_feedback = Some(now);
            }
            if step % 10 == 0 {
                self.play();
            }
        }
    }

    fn play(&mut self) {
        let mut sound = Sound::SILENCE;
        self.side.playout(self.now, &mut sound);
        let fits = |sample: &f32| sample.is_finite() && sample.abs() < LOUDEST;
        assert!(sound.mid.iter().chain(&sound.side).all(fits), "no sound");
        if let Some(heard) = &mut self.heard {
            heard.extend(sound.mid);
        }
    }
}
