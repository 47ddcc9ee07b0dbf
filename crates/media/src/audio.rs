//! The sound thread: it owns the pipeline and moves sound between devices and connections.
//!
//! It wakes each 5 ms, takes what the microphone has captured and writes what the speaker wants. So the microphone's clock
//! paces what is sent and the speaker's clock what is played; the jitter buffers on both sides absorb the drift between
//! them. Where there is no device, the engine's clock stands in, so that a call without one goes on.
//!
//! What is captured is encoded once, however many far sides there are. What is played is their sum, with the tones, held
//! within full scale; it is also what the echo canceller knows.

use crate::devices::{DeviceEvent, Pacer, Sink, Source};
use crate::hearing::Hearing;
use crate::limiter::Limiter;
use crate::meter::Meter;
use crate::opus::OpusError;
use crate::pipeline::{Arrival, Encoded, Form, Received, SendSide};
use crate::tones::Tones;
use crate::voice::Voice;
use crate::{Generation, Leg, Processing, Sound, Tone};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// One connection. A call after this one may use the same legs and generations, so these are numbered as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId {
    pub leg: Leg,
    pub generation: Generation,
    pub serial: u64,
}

impl ConnectionId {
    pub fn place(self) -> (Leg, Generation) {
        (self.leg, self.generation)
    }
}

/// What the sound thread can be told.
pub enum Order {
    Source(Option<Box<dyn Source>>),
    Sink(Option<Box<dyn Sink>>),
    /// A connection's sound may come.
    Receive(ConnectionId),
    Forget(ConnectionId),
    /// Somebody is connected, so packets are wanted.
    Send(bool),
    Mute(bool),
    Processing(Processing),
    Tone(Option<Tone>),
    Melody,
    Stop,
}

/// What the sound thread says.
pub enum Note {
    Flowing(ConnectionId),
    Stalled(ConnectionId),
    Second {
        id: ConnectionId,
        received: Received,
        sent_packets: u32,
        sent_bytes: u32,
    },
    /// A far side, by the connection that is heard, or we.
    Speaking {
        id: Option<ConnectionId>,
        speaking: bool,
    },
    Level {
        input: f32,
        output: f32,
    },
    Device(DeviceEvent),
    /// The melody is over.
    MelodyDone,
}

/// Orders are few; whoever sends one waits, for 5 ms at most, when so many are unread.
const ORDERS: usize = 128;
/// Packets of all connections between two wakes; more are dropped, as the network would.
const PACKETS: usize = 512;
/// One second of packets on their way to the network; when it is full the newest is dropped.
pub const ENCODED: usize = 50;
/// Notes to the engine's loop; when it is full levels and seconds are dropped and the others wait here.
pub const NOTES: usize = 128;

const WAKE: Duration = Duration::from_millis(5);
const SILENT: Duration = Duration::from_secs(2);
/// A device that neither gives nor takes for so long is stood in for until it does again.
const HUNG: Duration = Duration::from_millis(200);
const LEVEL_EACH: Duration = Duration::from_millis(100);
const FIGURES_EACH: Duration = Duration::from_secs(1);

/// A packet of a connection.
pub struct Packet {
    pub id: ConnectionId,
    pub arrival: Arrival,
}

/// Handles to the thread. Cloning gives another way in.
#[derive(Clone)]
pub struct Audio {
    orders: SyncSender<Order>,
    packets: Way,
    epoch: Instant,
}

/// Where a connection's packets go.
#[derive(Clone)]
enum Way {
    Thread(SyncSender<Packet>),
    /// A check listens itself, without a sound thread.
    Tap(mpsc::Sender<Packet>),
}

impl Audio {
    /// Hands over packets as they come, and plays nothing. Times count from now.
    pub fn tap() -> (Self, mpsc::Receiver<Packet>, Instant) {
        let (tap, packets) = mpsc::channel(PACKETS);
        let (orders, _) = sync_channel(1);
        let epoch = Instant::now();
        (Self { orders, packets: Way::Tap(tap), epoch }, packets, epoch)
    }

    /// Starts the thread; it ends with [`Order::Stop`].
    pub fn start(
        processing: Processing,
        start: u32,
        notes: mpsc::Sender<Note>,
        encoded: mpsc::Sender<Encoded>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), StartError> {
        let (orders, order_inbox) = sync_channel(ORDERS);
        let (packets, packet_inbox) = sync_channel(PACKETS);
        let epoch = Instant::now();
        let send = SendSide::new(processing, start)?;
        let thread = std::thread::Builder::new().name("bellwire-sound".into()).spawn(move || {
            Thread::new(order_inbox, packet_inbox, epoch, send, notes, encoded).run();
        })?;
        Ok((Self { orders, packets: Way::Thread(packets), epoch }, thread))
    }

    pub fn order(&self, order: Order) {
        // The thread reads its orders each 5 ms, whatever else happens; it is gone only after `Stop`.
        let _ = self.orders.send(order);
    }

    /// Hands over a packet that arrived now.
    pub fn packet(&self, id: ConnectionId, ssrc: u32, sequence: u16, timestamp: u32, payload: bytes::Bytes) {
        let arrival = Arrival { at: self.epoch.elapsed(), ssrc, form: Form::Opus, sequence, timestamp, payload };
        let packet = Packet { id, arrival };
        let full = match &self.packets {
            Way::Thread(to) => matches!(to.try_send(packet), Err(TrySendError::Full(_))),
            Way::Tap(to) => matches!(to.try_send(packet), Err(mpsc::error::TrySendError::Full(_))),
        };
        if full {
            tracing::debug!(?id, "sound thread is behind, packet dropped");
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Opus(#[from] OpusError),
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

struct Thread {
    orders: Receiver<Order>,
    packets: Receiver<Packet>,
    epoch: Instant,
    send: SendSide,
    sending: bool,
    muted: bool,
    notes: mpsc::Sender<Note>,
    /// Notes that must not be lost and found no room.
    unsaid: VecDeque<Note>,
    encoded: mpsc::Sender<Encoded>,
    sent_packets: u32,
    sent_bytes: u32,
    input: Input,
    output: Output,
    hearing: Hearing,
    limiter: Limiter,
    /// Ours, as it is sent.
    voice: Voice,
    tones: Tones,
    melody: bool,
    level_due: Instant,
    figures_due: Instant,
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

impl Thread {
    fn new(
        orders: Receiver<Order>,
        packets: Receiver<Packet>,
        epoch: Instant,
        send: SendSide,
        notes: mpsc::Sender<Note>,
        encoded: mpsc::Sender<Encoded>,
    ) -> Self {
        Self {
            orders,
            packets,
            epoch,
            send,
            sending: false,
            muted: false,
            notes,
            unsaid: VecDeque::new(),
            encoded,
            sent_packets: 0,
            sent_bytes: 0,
            input: Input {
                source: None,
                idle: None,
                pacer: Pacer::new(epoch),
                meter: Meter::default(),
                zeros: None,
                silent: false,
            },
            output: Output { sink: None, idle: None, pacer: Pacer::new(epoch), meter: Meter::default() },
            hearing: Hearing::default(),
            limiter: Limiter::default(),
            voice: Voice::default(),
            tones: Tones::default(),
            melody: false,
            level_due: epoch,
            figures_due: epoch,
        }
    }

    fn run(mut self) {
        let mut next = Instant::now();
        loop {
            while let Ok(order) = self.orders.try_recv() {
                if !self.carry_out(order) {
                    return;
                }
            }
            let now = Instant::now();
            while let Ok(packet) = self.packets.try_recv() {
                self.hearing.insert(packet, now);
            }
            // Played first, so that the echo canceller knows it when it comes back.
            self.play(now);
            self.capture(now);
            self.watch(now);
            next += WAKE;
            match next.checked_duration_since(Instant::now()) {
                Some(rest) if self.working() => std::thread::sleep(rest),
                // Nothing to do at all: sleep until told otherwise.
                Some(_) => {
                    let Ok(order) = self.orders.recv() else { return };
                    if !self.carry_out(order) {
                        return;
                    }
                    self.resume(&mut next);
                }
                None => next = Instant::now(),
            }
        }
    }

    fn working(&self) -> bool {
        self.sending
            || self.input.source.is_some()
            || self.output.sink.is_some()
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
            Order::Receive(id) => {
                if self.hearing.is_empty() {
                    self.figures_due = Instant::now() + FIGURES_EACH;
                }
                if let Err(error) = self.hearing.receive(id) {
                    tracing::warn!(%error, ?id, "no decoder");
                }
            }
            Order::Forget(id) => self.hearing.forget(id, &mut sayer(&self.notes, &mut self.unsaid)),
            Order::Send(sending) => {
                self.sending = sending;
                if !sending {
                    self.end_voice();
                }
            }
            Order::Mute(muted) => {
                self.muted = muted;
                self.send.set_muted(muted);
                if muted {
                    self.end_voice();
                }
                self.input.pacer = Pacer::new(Instant::now());
                self.input.zeros = None;
            }
            Order::Processing(processing) => self.send.set_processing(processing),
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
        if self.muted
            && let Some(source) = &mut self.input.source
        {
            source.discard(now);
        }
        while self.captured(now, &mut sound) {
            if !self.sending && self.input.source.is_none() {
                continue;
            }
            let packet = if self.sending {
                let packet = self.send.captured(&mut sound);
                if let Some(speaking) = self.voice.hear(&sound.mid) {
                    self.say(Note::Speaking { id: None, speaking });
                }
                packet
            } else {
                self.send.idle(&mut sound);
                None
            };
            if let Some(packet) = packet {
                self.sent_packets += 1;
                self.sent_bytes += packet.payload.len() as u32;
                if self.encoded.try_send(packet).is_err() {
                    tracing::debug!("network task is behind, packet dropped");
                }
            }
        }
    }

    /// Fills in the sound if 10 ms more are due: from the microphone, or silence while there is none or it is muted.
    fn captured(&mut self, now: Instant, sound: &mut Sound) -> bool {
        let input = &mut self.input;
        match &mut input.source {
            Some(source) if !self.muted => {
                if !source.read(now, sound) {
                    *sound = Sound::SILENCE;
                    return stands_in(&mut input.idle, &mut input.pacer, now);
                }
                input.idle = None;
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
            Some(_) | None => {
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
        if now >= self.level_due && (self.input.source.is_some() || self.output.sink.is_some()) {
            self.level_due = now + LEVEL_EACH;
            let (input, output) = (self.input.meter.take(), self.output.meter.take());
            self.say(Note::Level { input, output });
        }
        if now >= self.figures_due && !self.hearing.is_empty() {
            self.figures_due = now + FIGURES_EACH;
            let (packets, bytes) = (std::mem::take(&mut self.sent_packets), std::mem::take(&mut self.sent_bytes));
            self.hearing.say_figures(packets, bytes, &mut sayer(&self.notes, &mut self.unsaid));
        }
        while let Some(note) = self.unsaid.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(note)) = self.notes.try_send(note) {
                self.unsaid.push_front(note);
                break;
            }
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

/// Says notes to the engine's loop: those that a later one makes up for at once or never, the others as soon as there is room.
fn sayer<'a>(notes: &'a mpsc::Sender<Note>, unsaid: &'a mut VecDeque<Note>) -> impl FnMut(Note) + 'a {
    |note| match note {
        Note::Level { .. } | Note::Second { .. } => drop(notes.try_send(note)),
        Note::Flowing(_) | Note::Stalled(_) | Note::Speaking { .. } | Note::Device(_) | Note::MelodyDone => {
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
