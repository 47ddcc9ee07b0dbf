//! Packets of one connection on their way to the speaker.

use crate::jitter::{Counts, JitterBuffer, Next};
use crate::opus::{self, Decoder, OpusError};
use crate::pipeline::{Arrival, Feedback, Form, PACKET};
use crate::red;
use crate::stretch::{self, Tolerance};
use crate::{FRAME, SILENCE, Sound};
use std::collections::VecDeque;
use std::time::Duration;

/// What came of one second of receiving.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    pub counts: Counts,
    pub jitter_ms: f32,
    pub target_ms: f32,
    /// Samples played, and those of them that were made up.
    pub played: u32,
    pub made_up: u32,
    /// Packets rebuilt from their successor.
    pub rebuilt: u32,
    /// Mean time from arrival to playout of the packets decoded.
    pub buffer_ms: f32,
    /// Samples removed or added to follow the network.
    pub stretched: u32,
}

/// Packets on their way to the speaker.
pub struct ReceiveSide {
    jitter: JitterBuffer,
    decoder: Decoder,
    /// Decoded and not played.
    sound: VecDeque<f32>,
    scratch: Vec<f32>,
    /// Samples concealed in a row.
    missing: usize,
    /// Samples of a pause since the last packet.
    paused: usize,
    /// Samples in a row that nobody hears.
    faint: usize,
    decoded_in_row: u32,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    played: u32,
    made_up: u32,
    rebuilt: u32,
    stretched: u32,
    waited: Duration,
    decoded: u32,
}

/// Concealment of a long loss fades from here,
const FADE_FROM: usize = 60 * 48;
/// and is silence from here.
const FADE_TO: usize = 200 * 48;
/// A pause of which the far side says nothing for so long is none: it would describe its noise again each 400 ms.
const PAUSE_FROM: usize = 1000 * 48;
/// What comes after sound that was faded rises over this.
const RISE: usize = 5 * 48;
/// No sample of what nobody hears is beyond -80 dBFS,
const FAINT: f32 = 1e-4;
/// and after so much of it the decoder rests.
const REST_FROM: usize = 100 * 48;
/// Sound is stretched where it is similar to itself; the farther off, the less similar it has to be.
const FINE: Tolerance = Tolerance(0.85);
const ROUGH: Tolerance = Tolerance(0.4);
const FAR_OFF: i64 = 80 * 48;
/// One change of speed at a time, so that it stays unheard.
const STRETCH_MOST: usize = 480;

/// What is left of made-up sound after so many samples of it.
fn faded(samples: usize, from: usize) -> f32 {
    let at = samples.saturating_sub(from) as f32 / (FADE_TO - FADE_FROM) as f32;
    1.0 - at.min(1.0)
}

impl ReceiveSide {
    pub fn new() -> Result<Self, OpusError> {
        Ok(Self {
            jitter: JitterBuffer::default(),
            decoder: Decoder::new()?,
            sound: VecDeque::with_capacity(4 * PACKET),
            scratch: vec![0.0; opus::MAX_PACKET_SAMPLES],
            missing: 0,
            paused: 0,
            faint: 0,
            decoded_in_row: 0,
            tally: Tally::default(),
        })
    }

    pub fn insert(&mut self, mut packet: Arrival) {
        if packet.form == Form::Red {
            let Some(newest) = red::read(&packet.payload).and_then(|mut blocks| blocks.pop()) else { return };
            packet.payload = newest.payload;
        }
        self.jitter.insert(packet, self.sound.len());
    }

    /// Fills the next 10 ms to be played.
    pub fn playout(&mut self, now: Duration, sound: &mut Sound) {
        while self.sound.len() < FRAME {
            self.step(now);
        }
        *sound = Sound::SILENCE;
        for (sample, decoded) in sound.mid.iter_mut().zip(self.sound.drain(..FRAME)) {
            *sample = decoded;
        }
        self.tally.played += FRAME as u32;
    }

    /// The way there and back, where it was measured: what is asked for again has to come in time.
    pub fn set_round_trip(&mut self, _ms: Option<f32>) {}

    /// Sequence numbers that are worth asking for again now.
    pub fn missing(&mut self, _now: Duration) -> Vec<u16> {
        Vec::new()
    }

    /// What the far side should be told now, if it is time: each second, and sooner when something changed for the worse.
    pub fn feedback(&mut self, _now: Duration) -> Option<Feedback> {
        None
    }

    /// How many packets were decoded since one was missing.
    pub fn decoded_in_row(&self) -> u32 {
        self.decoded_in_row
    }

    /// Nothing came for long: count from the beginning.
    pub fn stalled(&mut self) {
        self.decoded_in_row = 0;
    }

    /// The figures since the last call.
    pub fn take_received(&mut self) -> Received {
        let tally = std::mem::take(&mut self.tally);
        Received {
            counts: self.jitter.take_counts(),
            jitter_ms: self.jitter.jitter_ms(),
            target_ms: self.jitter.target_ms(),
            played: tally.played,
            made_up: tally.made_up,
            rebuilt: tally.rebuilt,
            buffer_ms: if tally.decoded == 0 {
                0.0
            } else {
                tally.waited.as_secs_f32() * 1000.0 / tally.decoded as f32
            },
            stretched: tally.stretched,
        }
    }

    fn step(&mut self, now: Duration) {
        let unplayed = Duration::from_nanos(self.sound.len() as u64 * 1_000_000_000 / u64::from(crate::RATE));
        match self.jitter.next(now) {
            Next::Packet { payload, waited } => match self.decoder.decode(&payload, &mut self.scratch) {
                Ok(samples) => {
                    let from = faded(self.missing, FADE_FROM).min(faded(self.paused, PAUSE_FROM));
                    if from < 1.0 {
                        for (i, sample) in self.scratch[..samples.min(RISE)].iter_mut().enumerate() {
                            *sample *= from + (1.0 - from) * i as f32 / RISE as f32;
                        }
                    }
                    (self.missing, self.paused) = (0, 0);
                    self.decoded_in_row = self.decoded_in_row.saturating_add(1);
                    self.tally.decoded += 1;
                    self.tally.waited += waited + unplayed;
                    self.note_faint(samples);
                    self.append(samples);
                }
                Err(error) => {
                    tracing::debug!(%error, "packet not decoded");
                    self.conceal();
                }
            },
            Next::Rebuild { payload, missing } => {
                let whole = opus::packet_samples(&payload).unwrap_or(PACKET);
                match self.decoder.decode_fec(&payload, &mut self.scratch[..whole]) {
                    Ok(samples) => {
                        self.tally.rebuilt += 1;
                        let missing = missing.min(samples);
                        self.sound.extend(&self.scratch[samples - missing..samples]);
                    }
                    Err(_) => {
                        self.conceal();
                    }
                }
            }
            Next::Conceal => {
                let samples = self.conceal();
                self.jitter.made_up(samples);
            }
            Next::Quiet => {
                // In a pause the decoder goes on with the noise that the far side described last, and rests when there is
                // none: most legs of a room are quiet most of the time.
                if self.faint >= REST_FROM || self.decoder.conceal(&mut self.scratch[..FRAME]).is_err() {
                    self.scratch[..FRAME].fill(0.0);
                }
                for (i, sample) in self.scratch[..FRAME].iter_mut().enumerate() {
                    *sample *= faded(self.paused + i, PAUSE_FROM);
                }
                self.paused = self.paused.saturating_add(FRAME);
                self.note_faint(FRAME);
                self.sound.extend(&self.scratch[..FRAME]);
                self.jitter.made_up(FRAME);
            }
            Next::Wait => self.sound.extend(&SILENCE),
        }
    }

    fn note_faint(&mut self, samples: usize) {
        let heard = self.scratch[..samples].iter().any(|sample| sample.abs() > FAINT);
        self.faint = if heard { 0 } else { self.faint.saturating_add(samples) };
    }

    fn conceal(&mut self) -> usize {
        let made = &mut self.scratch[..FRAME];
        if self.missing >= FADE_TO || self.decoder.conceal(made).is_err() {
            made.fill(0.0);
        }
        for (i, sample) in made.iter_mut().enumerate() {
            *sample *= faded(self.missing + i, FADE_FROM);
        }
        self.sound.extend(&*made);
        self.missing = self.missing.saturating_add(FRAME);
        self.decoded_in_row = 0;
        self.tally.made_up += FRAME as u32;
        FRAME
    }

    /// Puts a decoded packet behind what waits, made longer or shorter where playout is off its target.
    fn append(&mut self, samples: usize) {
        let pressure = self.jitter.pressure();
        if pressure == 0 {
            self.sound.extend(&self.scratch[..samples]);
            return;
        }
        let mut sound = self.scratch[..samples].to_vec();
        let tolerance = if pressure.abs() > FAR_OFF { ROUGH } else { FINE };
        let most = STRETCH_MOST.min(pressure.unsigned_abs() as usize + FRAME / 2);
        let change = if pressure < 0 {
            -(stretch::shorten(&mut sound, most, tolerance) as i64)
        } else {
            stretch::lengthen(&mut sound, most, tolerance) as i64
        };
        self.jitter.stretched(change);
        self.tally.stretched += change.unsigned_abs() as u32;
        self.sound.extend(&sound);
    }
}
