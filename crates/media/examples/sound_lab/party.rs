//! One of the two parties: what the engine's sound thread does, on a clock of its own.

use bellwire_media::pipeline::{
    Abilities, Arrival, Feedback, Mechanisms, OVERHEAD, Outbound, Plan, ReceiveSide, Received, Road, SendSide,
};
use bellwire_media::{FRAME, Processing, RATE, Sound};
use std::time::Duration;

/// The engine's sound thread wakes so often,
const WAKE: f64 = 0.005;
/// and up to so much late.
const LATEST: f64 = 0.002;
/// From when the speaker asks for a frame to when it is heard: the longest that it can take to be written.
pub const PLAYOUT_LAG: f64 = WAKE + LATEST;
const FRAME_SECONDS: f64 = 0.01;
const PLAN_EACH: Duration = Duration::from_millis(100);
const SENDER_REPORT_EACH: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
/// IPv4 20, UDP 8 and SRTCP's index and tag 14 (RFC 3711) beside the packet itself.
const CONTROL_OVERHEAD: usize = 42;
/// A sender report without blocks (RFC 3550, section 6.4.1).
const SENDER_REPORT: usize = 28;
/// A receiver report of one block (6.4.2), voice metrics (RFC 3611, section 4.7: 8 + 36) and REMB with one source.
const FEEDBACK: usize = 32 + 44 + 24;
/// A generic NACK (RFC 4585, section 6.2.1) without and with its entries.
const NACK: usize = 12;
const NACK_ENTRY: usize = 4;

const ABLE: Abilities = Abilities { red: true, nack: true, dred: true, reports: true };

/// What goes over the network.
#[derive(Clone, Debug)]
pub enum Wire {
    Sound {
        ssrc: u32,
        packet: Outbound,
    },
    Nack(Vec<u16>),
    SenderReport {
        sent: Duration,
    },
    /// With when the last sender report had been sent and how long ago it came.
    Feedback {
        feedback: Feedback,
        answered: Option<(Duration, Duration)>,
    },
}

impl Wire {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Sound { packet, .. } => packet.payload.len() + OVERHEAD,
            Self::Nack(asked) => CONTROL_OVERHEAD + NACK + NACK_ENTRY * asked.len(),
            Self::SenderReport { .. } => CONTROL_OVERHEAD + SENDER_REPORT,
            Self::Feedback { .. } => CONTROL_OVERHEAD + FEEDBACK,
        }
    }
}

/// What happened to one party since counting began.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub since: Duration,
    /// Bytes of whole packets that were sent: sound, and what is said of the sound that came.
    pub sound_bytes: usize,
    pub control_bytes: usize,
    pub packets: u32,
    pub resent: u32,
    pub received: Vec<Received>,
    pub plans: Vec<Plan>,
}

pub struct Setup<'a> {
    pub mechanisms: Mechanisms,
    /// What is said, again and again.
    pub voice: &'a [f32],
    pub ssrc: u32,
    /// When its devices begin, in seconds; they do so in the first 10 ms.
    pub phase: f64,
    /// The length of a second of its clock.
    pub clock: f64,
}

pub struct Party<'a> {
    setup: Setup<'a>,
    send: SendSide,
    road: Road,
    receive: ReceiveSide,
    captured: usize,
    asked: usize,
    /// What was played, without the first so many samples.
    pub played: Vec<f32>,
    forgotten: usize,
    inbox: Vec<(Duration, Wire)>,
    wakes: u64,
    due: Due,
    /// The far side's last report: when it was sent, when it came.
    reported: Option<(Duration, Duration)>,
    figures: Figures,
}

/// What is done each so often.
#[derive(Default)]
struct Due {
    plan: Duration,
    report: Duration,
    figures: Duration,
}

impl<'a> Party<'a> {
    pub fn new(setup: Setup<'a>) -> crate::Result<Self> {
        Ok(Self {
            send: SendSide::new(Processing::OFF, setup.ssrc)?,
            road: Road::with(ABLE, setup.mechanisms),
            receive: ReceiveSide::with(setup.mechanisms)?,
            captured: 0,
            asked: 0,
            played: Vec::new(),
            forgotten: 0,
            inbox: Vec::new(),
            wakes: 0,
            due: Due::default(),
            reported: None,
            figures: Figures::default(),
            setup,
        })
    }

    pub fn setup(&self) -> &Setup<'a> {
        &self.setup
    }

    /// When the thread wakes next.
    pub fn next_wake(&mut self, random: &mut fastrand::Rng) -> Duration {
        self.wakes += 1;
        Duration::from_secs_f64(self.setup.phase / 2.0 + self.wakes as f64 * WAKE + random.f64() * LATEST)
    }

    pub fn arrived(&mut self, at: Duration, wire: Wire) {
        self.inbox.push((at, wire));
    }

    /// One turn of the thread; what it has to say goes to `out`.
    pub fn wake(&mut self, now: Duration, out: &mut Vec<Wire>) {
        for (at, wire) in std::mem::take(&mut self.inbox) {
            self.handle(at, wire, now, out);
        }
        // Capture: a frame is there when its last sample is.
        while self.devices_time(self.captured + 1) <= now {
            let mut sound = Sound::mono(self.spoken(self.captured));
            self.captured += 1;
            if let Some(encoded) = self.send.captured(&mut sound) {
                let packet = self.road.pack(&encoded, now);
                self.figures.packets += 1;
                out.push(Wire::Sound { ssrc: self.setup.ssrc, packet });
            }
        }
        while self.devices_time(self.asked) <= now {
            let mut sound = Sound::SILENCE;
            self.receive.playout(now, &mut sound);
            self.send.played(&sound);
            self.played.extend_from_slice(&sound.mid);
            self.asked += 1;
        }
        self.ask(now, out);
        if let Some(feedback) = self.receive.feedback(now) {
            let answered = self.reported.map(|(sent, came)| (sent, now - came));
            out.push(Wire::Feedback { feedback, answered });
        }
        if now >= self.due.report {
            self.due.report = now + SENDER_REPORT_EACH;
            out.push(Wire::SenderReport { sent: now });
        }
        if now >= self.due.plan {
            self.plan(now);
        }
        if now >= self.due.figures {
            self.due.figures += SECOND;
            let received = self.receive.take_received();
            self.figures.received.push(received);
        }
        for wire in &*out {
            match wire {
                Wire::Sound { .. } => self.figures.sound_bytes += wire.bytes(),
                Wire::Nack(_) | Wire::SenderReport { .. } | Wire::Feedback { .. } => {
                    self.figures.control_bytes += wire.bytes();
                }
            }
        }
    }

    /// Figures from here on, in whole seconds of receiving.
    pub fn count_from(&mut self, now: Duration) {
        let _ = self.receive.take_received();
        self.due.figures = now + SECOND;
        self.figures = Figures { since: now, ..Figures::default() };
    }

    pub fn take_figures(&mut self) -> Figures {
        std::mem::take(&mut self.figures)
    }

    /// Of what was played only the last seconds are of use.
    pub fn forget(&mut self) {
        self.forgotten += self.played.len();
        self.played.clear();
        self.figures = Figures { since: self.figures.since, ..Figures::default() };
    }

    /// So many of the last samples played, and when the last of them is over.
    pub fn last_played(&self, samples: usize) -> (f64, &[f32]) {
        let heard = (self.forgotten + self.played.len()) as f64 / f64::from(RATE) * self.setup.clock;
        let from = self.played.len().saturating_sub(samples);
        (self.setup.phase + PLAYOUT_LAG + heard, &self.played[from..])
    }

    /// How many samples had come from the microphone by then.
    pub fn spoken_by(&self, seconds: f64) -> usize {
        ((seconds - self.setup.phase) / self.setup.clock * f64::from(RATE)).max(0.0) as usize
    }

    fn handle(&mut self, at: Duration, wire: Wire, now: Duration, out: &mut Vec<Wire>) {
        match wire {
            Wire::Sound { ssrc, packet } => {
                let Outbound { form, sequence, timestamp, marker: _, payload } = packet;
                self.receive.insert(Arrival { at, ssrc, form, sequence, timestamp, payload });
                self.ask(now, out);
            }
            Wire::Nack(asked) => {
                for packet in self.road.resend(&asked, now) {
                    self.figures.resent += 1;
                    out.push(Wire::Sound { ssrc: self.setup.ssrc, packet });
                }
            }
            Wire::SenderReport { sent } => self.reported = Some((sent, at)),
            Wire::Feedback { feedback, answered } => {
                let round_trip_ms = answered.map(|(sent, held)| at.saturating_sub(sent + held).as_secs_f32() * 1000.0);
                if round_trip_ms.is_some() {
                    self.receive.set_round_trip(round_trip_ms);
                }
                self.road.heed(&Feedback { round_trip_ms, ..feedback }, now);
                self.plan(now);
            }
        }
    }

    fn ask(&mut self, now: Duration, out: &mut Vec<Wire>) {
        let missing = self.receive.missing(now);
        if !missing.is_empty() && self.setup.mechanisms.resend {
            out.push(Wire::Nack(missing));
        }
    }

    fn plan(&mut self, now: Duration) {
        self.due.plan = now + PLAN_EACH;
        if let Some(plan) = Plan::join([self.road.plan(now)]) {
            self.send.follow(plan);
            self.figures.plans.push(plan);
        }
    }

    /// When the first sample of that frame is captured or asked for.
    fn devices_time(&self, frame: usize) -> Duration {
        Duration::from_secs_f64(self.setup.phase + frame as f64 * FRAME_SECONDS * self.setup.clock)
    }

    fn spoken(&self, frame: usize) -> [f32; FRAME] {
        let whole = self.setup.voice.len() / FRAME;
        let at = frame.checked_rem(whole).unwrap_or(0) * FRAME;
        let mut spoken = [0.0; FRAME];
        spoken.iter_mut().zip(self.setup.voice.iter().skip(at)).for_each(|(to, from)| *to = *from);
        spoken
    }
}
