//! The thread itself: what it holds, and what it does each time it wakes.

use super::{ConnectionId, Inbox, Incoming, Note, Order, Ours, Sent};
use crate::devices::{DeviceEvent, Pacer, Sink, Source};
use crate::hearing::Hearing;
use crate::limiter::Limiter;
use crate::meter::Meter;
use crate::muted::MutedVoice;
use crate::pipeline::{Abilities, Encoded, Plan, Road, SendSide};
use crate::tones::Tones;
use crate::voice::Voice;
use crate::{FRAME, Processing, Sound, Tone};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const WAKE: Duration = Duration::from_millis(5);
const SILENT: Duration = Duration::from_secs(2);
/// A device that neither gives nor takes for so long is stood in for until it does again.
const HUNG: Duration = Duration::from_millis(200);
/// A wake that is later than this is counted: what the speaker holds is used up about then.
const LATE: Duration = Duration::from_millis(20);
/// How often the encoder is told what the roads ask for, beside whenever a far side said something.
const PLAN_EACH: Duration = Duration::from_millis(100);
const LEVEL_EACH: Duration = Duration::from_millis(100);
const FIGURES_EACH: Duration = Duration::from_secs(1);

/// Digital silence is said to be as loud as this: below 24 bits.
const QUIETEST_DBFS: f64 = -144.0;

pub struct Thread {
    orders: Receiver<Order>,
    inbox: Inbox,
    epoch: Instant,
    send: SendSide,
    roads: BTreeMap<ConnectionId, Lane>,
    original: bool,
    muted: bool,
    notes: mpsc::Sender<Note>,
    /// Notes that must not be lost and found no room.
    unsaid: VecDeque<Note>,
    sent: mpsc::Sender<Sent>,
    /// What is sent: squares and how many.
    power: (f64, u32),
    late: u32,
    plan_due: Instant,
    input: Input,
    output: Output,
    ring: RingOutput,
    hearing: Hearing,
    limiter: Limiter,
    /// Ours, as it is sent,
    voice: Voice,
    /// and what is not sent.
    muted_voice: MutedVoice,
    tones: Tones,
    melody: bool,
    level_due: Instant,
    figures_due: Instant,
}

/// A connection's way out.
struct Lane {
    road: Road,
    abilities: Abilities,
}

struct Input {
    source: Option<Box<dyn Source>>,
    /// Since when it has given nothing.
    idle: Option<Instant>,
    pacer: Pacer,
    meter: Meter,
    /// Since when only zeros came, and whether that was said.
    zeros: Option<Instant>,
    silent: bool,
}

struct Output {
    sink: Option<Box<dyn Sink>>,
    /// Since when it has wanted nothing.
    idle: Option<Instant>,
    pacer: Pacer,
    meter: Meter,
}

/// The speaker that rings, apart from the one that is spoken on.
#[derive(Default)]
struct RingOutput {
    sink: Option<Box<dyn Sink>>,
    tones: Tones,
}

impl RingOutput {
    fn play(&mut self, now: Instant) {
        let Some(sink) = &mut self.sink else { return };
        while sink.wants(now) {
            let mut sound = Sound::SILENCE;
            self.tones.mix(&mut sound.mid);
            sink.write(&sound);
        }
    }
}

impl Thread {
    pub fn new(
        orders: Receiver<Order>,
        inbox: Inbox,
        epoch: Instant,
        send: SendSide,
        processing: Processing,
        notes: mpsc::Sender<Note>,
        sent: mpsc::Sender<Sent>,
    ) -> Self {
        Self {
            orders,
            inbox,
            epoch,
            send,
            roads: BTreeMap::new(),
            original: processing.original_sound,
            muted: false,
            notes,
            unsaid: VecDeque::new(),
            sent,
            power: (0.0, 0),
            late: 0,
            plan_due: epoch,
            input: Input {
                source: None,
                idle: None,
                pacer: Pacer::new(epoch),
                meter: Meter::default(),
                zeros: None,
                silent: false,
            },
            output: Output { sink: None, idle: None, pacer: Pacer::new(epoch), meter: Meter::default() },
            ring: RingOutput::default(),
            hearing: Hearing::default(),
            limiter: Limiter::default(),
            voice: Voice::default(),
            muted_voice: MutedVoice::default(),
            tones: Tones::default(),
            melody: false,
            level_due: epoch,
            figures_due: epoch,
        }
    }

    pub fn run(mut self) {
        let mut next = Instant::now();
        loop {
            while let Ok(order) = self.orders.try_recv() {
                if !self.carry_out(order) {
                    return;
                }
            }
            let now = Instant::now();
            self.listen(now);
            // Played first, so that the echo canceller knows it when it comes back.
            self.play(now);
            self.ring.play(now);
            self.capture(now);
            self.watch(now);
            next += WAKE;
            if !self.working() {
                // Nothing to do at all: sleep until told otherwise.
                let Ok(order) = self.orders.recv() else { return };
                if !self.carry_out(order) {
                    return;
                }
                self.resume(&mut next);
            } else if !self.rest(next) {
                return;
            } else {
                let behind = next.elapsed();
                if behind > LATE {
                    self.late += 1;
                }
                if behind > WAKE {
                    next = Instant::now();
                }
            }
        }
    }

    /// Takes what came from the network.
    fn listen(&mut self, now: Instant) {
        while let Ok(incoming) = self.inbox.incoming.try_recv() {
            self.take(incoming, now);
        }
        self.answer(now);
    }

    /// Sleeps until then, but for what is urgent. Whether the thread goes on.
    fn rest(&mut self, until: Instant) -> bool {
        while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            match self.inbox.woken.recv_timeout(rest) {
                Ok(()) => self.listen(Instant::now()),
                Err(RecvTimeoutError::Timeout) => break,
                // Every handle is gone: nobody can stop it any more.
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    fn take(&mut self, incoming: Incoming, now: Instant) {
        let time = now - self.epoch;
        match incoming {
            Incoming::Packet(packet) => self.hearing.insert(packet, now),
            Incoming::Asked(id, sequences) => {
                let again = self.roads.get_mut(&id).map(|lane| lane.road.resend(&sequences, time));
                again.into_iter().flatten().for_each(|packet| hand_over(&self.sent, Sent::Packet(id, packet)));
            }
            Incoming::Told(id, feedback) => {
                let Some(lane) = self.roads.get_mut(&id) else { return };
                lane.road.heed(&feedback, time);
                if lane.abilities.nack && feedback.round_trip_ms.is_some() {
                    self.hearing.set_round_trip(id, feedback.round_trip_ms);
                }
                self.plan(now);
            }
        }
    }

    /// Tells the far sides what is due: what is missing, and how their packets come.
    fn answer(&mut self, now: Instant) {
        let (roads, sent) = (&self.roads, &self.sent);
        let asks = |id: ConnectionId| roads.get(&id).is_some_and(|lane| lane.abilities.nack);
        self.hearing.answer(now - self.epoch, asks, &mut |answer| hand_over(sent, answer));
    }

    fn plan(&mut self, now: Instant) {
        self.plan_due = now + PLAN_EACH;
        let time = now - self.epoch;
        if let Some(plan) = Plan::join(self.roads.values_mut().map(|lane| lane.road.plan(time))) {
            self.send.follow(plan);
        }
    }

    fn working(&self) -> bool {
        !self.roads.is_empty()
            || self.input.source.is_some()
            || self.output.sink.is_some()
            || self.ring.sink.is_some()
            || !self.hearing.is_empty()
            || self.tones.playing()
            || !self.unsaid.is_empty()
    }

    fn resume(&mut self, next: &mut Instant) {
        *next = Instant::now();
        self.input.pacer = Pacer::new(*next);
        self.output.pacer = Pacer::new(*next);
    }

    /// Whether the thread goes on.
    fn carry_out(&mut self, order: Order) -> bool {
        match order {
            Order::Source(source) => {
                self.input.source = source;
                self.input.idle = None;
                self.input.pacer = Pacer::new(Instant::now());
                self.input.zeros = None;
                self.input.silent = false;
            }
            Order::Sink(sink) => {
                self.output.sink = sink;
                self.output.idle = None;
                self.output.pacer = Pacer::new(Instant::now());
            }
            Order::RingSink(sink) => self.ring.sink = sink,
            Order::Ring(rings) => {
                if self.ring.tones.playing() != rings {
                    self.ring.tones.set(rings.then_some(Tone::Ring));
                }
            }
            Order::Receive(id) => {
                if self.hearing.is_empty() {
                    self.figures_due = Instant::now() + FIGURES_EACH;
                }
                if let Err(error) = self.hearing.receive(id) {
                    tracing::warn!(%error, ?id, "no decoder");
                }
            }
            Order::Road(id, abilities) => {
                let mut road = Road::new(abilities);
                road.set_original(self.original);
                self.roads.insert(id, Lane { road, abilities });
                if !abilities.nack
                    && let Err(error) = self.hearing.ask_nothing(id)
                {
                    tracing::warn!(%error, ?id, "no decoder");
                }
                self.plan(Instant::now());
            }
            Order::Forget(id) => {
                self.hearing.forget(id, &mut sayer(&self.notes, &mut self.unsaid));
                self.roads.remove(&id);
                if self.roads.is_empty() {
                    self.end_voice();
                }
            }
            Order::Mute(muted) => {
                self.muted = muted;
                self.send.set_muted(muted);
                self.muted_voice.forget();
                if muted {
                    self.end_voice();
                }
                self.input.pacer = Pacer::new(Instant::now());
                self.input.zeros = None;
            }
            Order::Processing(processing) => {
                self.send.set_processing(processing);
                self.original = processing.original_sound;
                self.roads.values_mut().for_each(|lane| lane.road.set_original(processing.original_sound));
                self.plan(Instant::now());
            }
            Order::Tone(tone) => self.tones.set(tone),
            Order::Melody => {
                self.tones.melody();
                self.melody = true;
            }
            Order::Stop => return false,
        }
        true
    }

    fn capture(&mut self, now: Instant) {
        let mut sound = Sound::SILENCE;
        while self.captured(now, &mut sound) {
            let sending = !self.roads.is_empty();
            if !sending && self.input.source.is_none() {
                continue;
            }
            let packet = if sending {
                let packet = self.send.captured(&mut sound);
                self.power.0 += sound.mid.iter().map(|sample| f64::from(sample * sample)).sum::<f64>();
                self.power.1 += FRAME as u32;
                if !self.muted {
                    self.hearing.sent(&sound.mid, now - self.epoch);
                }
                if let Some(speaking) = self.voice.hear(&sound.mid) {
                    self.say(Note::Speaking { id: None, speaking });
                }
                packet
            } else {
                self.send.idle(&mut sound);
                None
            };
            if let Some(packet) = packet {
                self.send_out(&packet, now);
            }
        }
    }

    fn send_out(&mut self, encoded: &Encoded, now: Instant) {
        for (id, lane) in &mut self.roads {
            hand_over(&self.sent, Sent::Packet(*id, lane.road.pack(encoded, now - self.epoch)));
        }
    }

    /// Fills in the sound if 10 ms more are due: from the microphone, or silence while there is none or it is muted. What a
    /// muted microphone gives is heard by one that tells the person, and by nobody else.
    fn captured(&mut self, now: Instant, sound: &mut Sound) -> bool {
        let input = &mut self.input;
        match &mut input.source {
            Some(source) => {
                if !source.read(now, sound) {
                    *sound = Sound::SILENCE;
                    return stands_in(&mut input.idle, &mut input.pacer, now);
                }
                input.idle = None;
                if self.muted {
                    self.send.muted(sound);
                    let said = !self.roads.is_empty() && self.muted_voice.hear(sound, now - self.epoch);
                    *sound = Sound::SILENCE;
                    if said {
                        self.say(Note::SpeakingMuted);
                    }
                    return true;
                }
                input.meter.add(&sound.mid);
                let zero = source.expects_sound() && sound.mid.iter().all(|sample| *sample == 0.0);
                let event = if !zero {
                    input.zeros = None;
                    std::mem::take(&mut input.silent).then_some(DeviceEvent::InputHeard)
                } else if !input.silent && now - *input.zeros.get_or_insert(now) >= SILENT {
                    input.silent = true;
                    Some(DeviceEvent::InputSilent)
                } else {
                    None
                };
                if let Some(event) = event {
                    self.say(Note::Device(event));
                }
                true
            }
            None => {
                *sound = Sound::SILENCE;
                input.pacer.due(now)
            }
        }
    }

    fn play(&mut self, now: Instant) {
        loop {
            let output = &mut self.output;
            let heard = output.sink.as_mut().is_some_and(|sink| sink.wants(now));
            let wanted = heard
                || match output.sink {
                    Some(_) => stands_in(&mut output.idle, &mut output.pacer, now),
                    None => output.pacer.due(now),
                };
            if heard {
                output.idle = None;
            }
            if !wanted {
                return;
            }
            let mut sound = Sound::SILENCE;
            let mut say = sayer(&self.notes, &mut self.unsaid);
            self.hearing.play(now - self.epoch, &mut sound, &mut say);
            self.tones.mix(&mut sound.mid);
            self.limiter.limit(&mut sound);
            self.output.meter.add(&sound.mid);
            if heard && let Some(sink) = &mut self.output.sink {
                self.send.played(&sound);
                sink.write(&sound);
            }
        }
    }

    fn watch(&mut self, now: Instant) {
        self.hearing.watch(now, &mut sayer(&self.notes, &mut self.unsaid));
        if self.melody && !self.tones.playing() {
            self.melody = false;
            self.say(Note::MelodyDone);
        }
        if now >= self.plan_due {
            self.plan(now);
        }
        if now >= self.level_due && (self.input.source.is_some() || self.output.sink.is_some()) {
            self.level_due = now + LEVEL_EACH;
            let (input, output) = (self.input.meter.take(), self.output.meter.take());
            self.say(Note::Level { input, output });
        }
        if now >= self.figures_due && !self.hearing.is_empty() {
            self.figures_due = now + FIGURES_EACH;
            let ours = self.take_ours();
            let roads = &mut self.roads;
            let road = |id: ConnectionId| roads.get_mut(&id).map(|lane| lane.road.take_figures());
            self.hearing.say_figures(ours, road, &mut sayer(&self.notes, &mut self.unsaid));
        }
        while let Some(note) = self.unsaid.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(note)) = self.notes.try_send(note) {
                self.unsaid.push_front(note);
                break;
            }
        }
    }

    fn take_ours(&mut self) -> Ours {
        let (power, samples) = std::mem::take(&mut self.power);
        let mean = power / f64::from(samples.max(1));
        Ours {
            microphone_dbfs: (10.0 * mean.log10()).max(QUIETEST_DBFS) as f32,
            echo_return_loss_db: self.send.echo_return_loss_db(),
            late_ticks: std::mem::take(&mut self.late),
            underruns: self.output.sink.as_mut().map_or(0, |sink| sink.take_underruns()),
        }
    }

    fn end_voice(&mut self) {
        if let Some(speaking) = self.voice.end() {
            self.say(Note::Speaking { id: None, speaking });
        }
    }

    fn say(&mut self, note: Note) {
        sayer(&self.notes, &mut self.unsaid)(note);
    }
}

fn hand_over(sent: &mpsc::Sender<Sent>, what: Sent) {
    if sent.try_send(what).is_err() {
        tracing::debug!("network task is behind, packet dropped");
    }
}

/// Says notes to the engine's loop: those that a later one makes up for at once or never, the others as soon as there is room.
fn sayer<'a>(notes: &'a mpsc::Sender<Note>, unsaid: &'a mut VecDeque<Note>) -> impl FnMut(Note) + 'a {
    |note| match note {
        Note::Level { .. } | Note::Second { .. } => drop(notes.try_send(note)),
        Note::Flowing(_)
        | Note::Stalled(_)
        | Note::Speaking { .. }
        | Note::Device(_)
        | Note::SpeakingMuted
        | Note::MelodyDone => {
            unsaid.push_back(note);
        }
    }
}

/// Whether the engine's clock says that 10 ms are due in place of a device that does nothing for too long.
fn stands_in(idle: &mut Option<Instant>, pacer: &mut Pacer, now: Instant) -> bool {
    let since = *idle.get_or_insert(now);
    if now - since < HUNG {
        *pacer = Pacer::new(now);
        return false;
    }
    pacer.due(now)
}
