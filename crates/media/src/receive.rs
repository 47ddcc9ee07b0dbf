//! Packets of one connection on their way to the speaker.
//!
//! [`ReceiveSide::insert`] takes packets as they come, [`ReceiveSide::playout`] gives 10 ms each time it is called, whatever
//! came. What is missing is asked for ([`ReceiveSide::missing`]), taken from other packets, or made up; the delay follows
//! the network ([`crate::jitter`]). What the far side should know of it is [`ReceiveSide::feedback`].
//!
//! Any sequence of packets and times gives continuous sound, bounded delay and no panic: tests/properties.rs tries what is
//! likely, `cargo fuzz run receive -- -max_total_time=60` in crates/media what is not (on a stable compiler with
//! `RUSTC_BOOTSTRAP=1`).

use crate::FRAME;
use crate::Sound;
use crate::congestion::Congestion;
use crate::jitter::{Counts, JitterBuffer, Next, Way};
use crate::opus::{Decoder, Deep, OpusError, Piece};
use crate::pipeline::{Arrival, Feedback, Mechanisms, OVERHEAD};
use crate::stretch::{Line, Tolerance};
use std::time::Duration;

/// What came of one second of receiving.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    pub counts: Counts,
    pub jitter_ms: f32,
    /// How far playout is to stay behind the fastest packets.
    pub target_ms: f32,
    /// Samples played, and those of them that were made up.
    pub played: u32,
    pub made_up: u32,
    /// Samples that were lost on the way and came after all.
    pub rebuilt: u32,
    /// By which way they came.
    pub recovered: Recovered,
    /// Mean time from arrival to playout of the packets decoded.
    pub buffer_ms: f32,
    /// Samples removed or added to follow the network.
    pub stretched: u32,
}

/// Samples that were lost on the way, and came in packets sent again, in copies, in-band or from deep redundancy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub resent: u32,
    pub copied: u32,
    pub fec: u32,
    pub deep: u32,
}

impl Recovered {
    pub fn total(self) -> u32 {
        self.resent + self.copied + self.fec + self.deep
    }
}

/// Packets on their way to the speaker.
pub struct ReceiveSide {
    mechanisms: Mechanisms,
    jitter: JitterBuffer,
    congestion: Congestion,
    decoder: Decoder,
    deep: Option<Deep>,
    line: Line,
    /// What comes next does not follow what the line ends with.
    broken: bool,
    /// Samples made up in a row.
    missing: usize,
    /// Samples of a pause since the last packet.
    paused: usize,
    /// Samples in a row that nobody hears.
    faint: usize,
    /// Samples in a row that were played too early, and too late.
    early: usize,
    late: usize,
    /// Samples made up of late.
    lacking: f32,
    /// The loudest of late, root of mean square.
    level: f32,
    /// Samples in a row far below it.
    low: usize,
    decoded_in_row: u32,
    tally: Tally,
    /// Samples played and made up since the last feedback.
    told: (u32, u32),
}

#[derive(Default)]
struct Tally {
    played: u32,
    made_up: u32,
    recovered: Recovered,
    stretched: u32,
    waited: Duration,
    decoded: u32,
}

/// Concealment of a long loss fades from here,
const FADE_FROM: usize = 80 * 48;
/// and is silence from here.
const FADE_TO: usize = 220 * 48;
/// A pause of which the far side says nothing for so long is none: it would describe its noise again each 400 ms.
const PAUSE_FROM: usize = 1000 * 48;
/// No sample of what nobody hears is beyond -80 dBFS,
const FAINT: f32 = 1e-4;
/// and after so much of it the decoder rests.
const REST_FROM: usize = 100 * 48;
/// Sound is stretched where it is similar to itself; the farther off, the less similar it has to be.
const FINE: Tolerance = Tolerance(0.85);
const ROUGH: Tolerance = Tolerance(0.4);
/// In a pause nothing is like anything, and nobody hears it.
const ANY: Tolerance = Tolerance(-1.0);
const FAR_OFF: i64 = 60 * 48;
/// Speech is not shortened before playout was too late for so long: a pause comes, there it costs nothing, and who speaks
/// without one waits for no answer (live, with jitter: 10 ms less in a sentence of seven seconds lowered PESQ from 4.4 to
/// 3.2).
const PATIENCE: usize = 10_000 * 48;
/// It is lengthened only while sound is missing, once playout was too early for so long.
const URGENT: usize = 1000 * 48;
/// Sound is missing when so much was made up in about so much time: a packet a second.
const LACKING: f32 = 40.0 * 48.0;
const OF_LATE: f32 = 2000.0 * 48.0;
/// The next change comes so much later.
const AGAIN: usize = 250 * 48;
/// A smaller gain of delay than this is not worth a change where it could be heard.
const WORTH: i64 = 10 * 48;
/// So much below the level of late it is a pause: 32 dB.
const PAUSE: f32 = 0.025;
/// After so much of it it is one between sentences, and not before a consonant.
const BETWEEN: usize = 150 * 48;
/// The level of late is forgotten within two seconds.
const FORGET: f32 = 0.99;
/// One change of speed at a time, so that it stays unheard.
const STRETCH_MOST: usize = 480;

/// What is left of made-up sound after so many samples of it.
fn faded(samples: usize, from: usize) -> f32 {
    let at = samples.saturating_sub(from) as f32 / (FADE_TO - FADE_FROM) as f32;
    1.0 - at.min(1.0)
}

impl ReceiveSide {
    pub fn new() -> Result<Self, OpusError> {
        Self::with(Mechanisms::default())
    }

    /// With these mechanisms alone.
    pub fn with(mechanisms: Mechanisms) -> Result<Self, OpusError> {
        let mut decoder = Decoder::new()?;
        decoder.set_deep(mechanisms.deep_plc)?;
        Ok(Self {
            mechanisms,
            jitter: JitterBuffer::new(mechanisms),
            congestion: Congestion::default(),
            decoder,
            deep: None,
            line: Line::default(),
            broken: false,
            missing: 0,
            paused: 0,
            faint: 0,
            early: 0,
            late: 0,
            lacking: 0.0,
            level: 0.0,
            low: 0,
            decoded_in_row: 0,
            tally: Tally::default(),
            told: (0, 0),
        })
    }

    pub fn insert(&mut self, packet: Arrival) {
        let (at, timestamp, bytes) = (packet.at, packet.timestamp, packet.payload.len() + OVERHEAD);
        if let Some(samples) = self.jitter.insert(packet) {
            self.congestion.arrived(at, timestamp, samples, bytes);
            if self.congestion.take_drained() {
                self.jitter.forget_delays();
            }
            if self.congestion.take_longer() {
                self.jitter.way_is_longer(at);
            }
        }
    }

    /// Fills the next 10 ms to be played.
    pub fn playout(&mut self, now: Duration, sound: &mut Sound) {
        while self.line.unplayed() < FRAME {
            self.step(now);
        }
        self.line.take(sound);
        self.tally.played += FRAME as u32;
        self.told.0 = self.told.0.saturating_add(FRAME as u32);
    }

    /// The way there and back, where it was measured: what is asked for again has to come in time.
    pub fn set_round_trip(&mut self, ms: Option<f32>) {
        self.jitter.set_round_trip(ms);
    }

    /// Sequence numbers that are worth asking for again now.
    pub fn missing(&mut self, now: Duration) -> Vec<u16> {
        self.jitter.missing(now)
    }

    /// What the far side should be told now, if it is time: each second, and sooner when something changed for the worse.
    pub fn feedback(&mut self, now: Duration) -> Option<Feedback> {
        let (played, made_up) = self.told;
        let unrecovered = made_up as f32 / played.max(1) as f32;
        let feedback = self.jitter.feedback(now, unrecovered.min(1.0), self.congestion.bandwidth(now))?;
        self.told = (0, 0);
        Some(feedback)
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
        let waited = tally.waited.as_secs_f32() * 1000.0;
        Received {
            counts: self.jitter.take_counts(),
            jitter_ms: self.jitter.jitter_ms(),
            target_ms: self.jitter.target_ms(),
            played: tally.played,
            made_up: tally.made_up,
            rebuilt: tally.recovered.total(),
            recovered: tally.recovered,
            buffer_ms: if tally.decoded == 0 { 0.0 } else { waited / tally.decoded as f32 },
            stretched: tally.stretched,
        }
    }

    /// Puts more sound into the line.
    fn step(&mut self, now: Duration) {
        let unplayed = self.line.unplayed();
        match self.jitter.next(now, unplayed) {
            Next::Packet { payload, way, skip, waited, leap } => {
                match self.decoder.suit(&payload).and_then(|anew| Ok((anew, self.decoder.decode(&payload)?))) {
                    Ok((anew, piece)) => {
                        self.broken |= anew || leap && self.missing == 0;
                        self.decoded_in_row = self.decoded_in_row.saturating_add(1);
                        self.tally.decoded += 1;
                        self.tally.waited += waited + Duration::from_nanos(unplayed as u64 * 1_000_000 / 48);
                        let recovered = (piece.len() - skip.min(piece.len())) as u32;
                        match way {
                            Way::Itself => {}
                            Way::Resent => self.tally.recovered.resent += recovered,
                            Way::Copy => self.tally.recovered.copied += recovered,
                        }
                        self.play(piece, skip, unplayed);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "packet not decoded");
                        self.conceal(FRAME);
                    }
                }
            }
            Next::Fec { payload, samples, skip } => match self.decoder.decode_fec(&payload, samples) {
                Ok(piece) => {
                    self.tally.recovered.fec += (samples - skip) as u32;
                    self.play(piece, skip, unplayed);
                }
                Err(_) => self.conceal(FRAME),
            },
            Next::Deep { payload, back, samples } => match self.decode_deep(&payload, back, samples) {
                Some(piece) => {
                    self.tally.recovered.deep += samples as u32;
                    self.play(piece, 0, unplayed);
                }
                None => self.conceal(samples),
            },
            Next::Conceal { samples } => self.conceal(samples),
            Next::Quiet => self.rest(),
            Next::Wait => {
                self.broken = true;
                self.put(Piece::silence(FRAME));
                self.broken = true;
            }
        }
    }

    /// Plays what was decoded, but for the first `skip` samples, in the place of which something else was played.
    fn play(&mut self, mut piece: Piece, skip: usize, unplayed: usize) {
        if skip > 0 {
            // The decoder goes on from here as if nothing had been missing; what was played did not.
            piece = piece.split_off(skip);
            self.broken = true;
        }
        if piece.len() == 0 {
            return;
        }
        self.broken |= faded(self.missing, FADE_FROM).min(faded(self.paused, PAUSE_FROM)) < 1.0;
        (self.missing, self.paused) = (0, 0);
        self.note_faint(&piece);
        let mut before = unplayed;
        while piece.len() > 0 {
            let rest = piece.split_off(2 * FRAME);
            let samples = piece.len();
            self.stretch(&mut piece, before);
            before = (before + samples) % FRAME;
            self.put(piece);
            piece = rest;
        }
    }

    /// Makes a piece longer or shorter where playout is off its target.
    fn stretch(&mut self, piece: &mut Piece, unplayed: usize) {
        let surplus = self.jitter.surplus(unplayed);
        self.early = if surplus < 0 { self.early.saturating_add(piece.len()) } else { 0 };
        self.late = if surplus >= WORTH { self.late.saturating_add(piece.len()) } else { 0 };
        self.lacking *= 1.0 - piece.len() as f32 / OF_LATE;
        let level = piece.level();
        self.level = level.max(self.level * FORGET);
        self.low = if level <= PAUSE * self.level { self.low.saturating_add(piece.len()) } else { 0 };
        if !self.mechanisms.stretch || self.broken || surplus == 0 {
            return;
        }
        let (urgent, far) = (surplus < 0 && self.lacking > LACKING, surplus.abs() > FAR_OFF);
        let pause = self.low > if urgent { 0 } else { BETWEEN };
        let waited = self.late >= PATIENCE || urgent && self.early >= URGENT;
        if !pause && !far && !waited {
            return;
        }
        let tolerance = match (pause, far) {
            (true, _) => ANY,
            (false, true) => ROUGH,
            (false, false) => FINE,
        };
        let most = STRETCH_MOST.min(surplus.unsigned_abs() as usize);
        let change = if surplus > 0 {
            -(self.line.shorten(piece, most, tolerance) as i64)
        } else {
            self.line.lengthen(piece, most, tolerance) as i64
        };
        if change != 0 {
            // The next one has to wait again, unless there is a pause.
            (self.early, self.late) = (self.early.min(URGENT - AGAIN), self.late.min(PATIENCE - AGAIN));
            self.jitter.stretched(change);
            self.tally.stretched += change.unsigned_abs() as u32;
        }
    }

    fn put(&mut self, piece: Piece) {
        if std::mem::take(&mut self.broken) {
            self.line.join(piece);
        } else {
            self.line.append(&piece);
        }
    }

    fn decode_deep(&mut self, payload: &[u8], back: usize, samples: usize) -> Option<Piece> {
        if self.deep.is_none() {
            self.deep = Deep::new().ok();
        }
        let deep = self.deep.as_mut()?;
        deep.read(payload)?;
        self.decoder.decode_deep(deep, back, samples).ok()
    }

    /// In a pause the decoder goes on with the noise that the far side described last, and rests when there is none: most
    /// legs of a room are quiet most of the time.
    fn rest(&mut self) {
        let asleep = self.faint >= REST_FROM;
        let made = if asleep { None } else { self.decoder.conceal(FRAME).ok() };
        let mut piece = made.unwrap_or_else(|| Piece::silence(FRAME));
        let paused = self.paused;
        piece.scale(|i| faded(paused + i, PAUSE_FROM));
        self.paused = self.paused.saturating_add(FRAME);
        self.note_faint(&piece);
        self.put(piece);
    }

    fn conceal(&mut self, samples: usize) {
        let made = if self.missing >= FADE_TO { None } else { self.decoder.conceal(samples).ok() };
        let mut piece = made.unwrap_or_else(|| Piece::silence(samples));
        let missing = self.missing;
        piece.scale(|i| faded(missing + i, FADE_FROM));
        self.put(piece);
        self.missing = self.missing.saturating_add(samples);
        self.decoded_in_row = 0;
        self.lacking += samples as f32;
        self.tally.made_up += samples as u32;
        self.told.1 = self.told.1.saturating_add(samples as u32);
    }

    fn note_faint(&mut self, piece: &Piece) {
        self.faint = if piece.peak() > FAINT { 0 } else { self.faint.saturating_add(piece.len()) };
    }
}
