//! The sound of a check: a thread that opens the devices for a stage, listens, records or plays, and closes them again.
//!
//! What was recorded stays in memory, 6 s at most, and is wiped when the check is over.

use super::measure::{self, Ear, EchoFigures, MicrophoneFigures};
use crate::devices::{DeviceEvent, DeviceFault, End, Pacer, Role, Sink, Slot, SlotOrder, Source};
use crate::meter::Meter;
use crate::pipeline::{Encoded, Outbound, SendSide};
use crate::processing::Processor;
use crate::{Config, DeviceChoice, FRAME, NoiseSuppression, Processing, SILENCE, Sound};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub enum EarsOrder {
    /// Opens the devices, listens to the room, closes them. Answered by [`EarsNote::Room`].
    Room,
    /// Waits for a voice and sends it as packets ([`EarsNote::Packet`]) until it is enough. Answered by
    /// [`EarsNote::Spoke`].
    Speak,
    /// Plays this and listens. Answered by [`EarsNote::Listened`].
    Listen(Vec<f32>),
    Stop,
}

pub enum EarsNote {
    Room {
        microphone: Result<MicrophoneFigures, DeviceFault>,
        speaker: Result<(), DeviceFault>,
    },
    Packet(Outbound),
    /// Of the microphone, while a voice is waited for and recorded; as [`Event::Level`](crate::Event::Level).
    Level(f32),
    /// `from`: the timestamp of the first packet of the sentence.
    Spoke {
        microphone: MicrophoneFigures,
        from: Option<u32>,
    },
    Listened(Option<EchoFigures>),
}

enum Inner {
    Order(EarsOrder),
    End(End),
    Device(DeviceEvent),
}

/// Orders, and what the devices' threads say; these wait when it is full.
const INNER: usize = 64;
/// Notes; a packet that finds no room is lost, as the network would lose it, and so is a level.
const NOTES: usize = 64;

const WAKE: Duration = Duration::from_millis(5);
/// A device that has not opened by then counts as missing.
const OPENS: Duration = Duration::from_secs(4);
const ROOM: Duration = Duration::from_secs(2);
/// For so long a voice is waited for, and so long is a sentence at most, and at least before a pause ends it.
const WAIT_FOR_VOICE: Duration = Duration::from_secs(9);
const SENTENCE_FRAMES: usize = 500;
const SENTENCE_LEAST: usize = 250;
const PAUSE_FRAMES: usize = 80;
const LEVEL_FRAMES: usize = 10;
/// What of the time before the voice belongs to the sentence.
const BEFORE: usize = 30;
/// After what is played, the microphone is listened to for so long.
const AFTER_FRAMES: usize = 60;

/// A handle to the thread, which closes the devices, wipes what it holds and ends when this is dropped.
pub struct Ears {
    orders: SyncSender<Inner>,
}

impl Ears {
    pub fn start(config: &Config) -> std::io::Result<(Self, mpsc::Receiver<EarsNote>)> {
        let (orders, inbox) = sync_channel(INNER);
        let (notes, outbox) = mpsc::channel(NOTES);
        let slot = |role| {
            let (ends, events) = (orders.clone(), orders.clone());
            // The thread empties its inbox each 5 ms; after its end nobody is interested.
            Slot::start(
                role,
                move |end| drop(ends.send(Inner::End(end))),
                move |event| drop(events.send(Inner::Device(event))),
            )
        };
        let thread = Thread {
            inbox,
            notes,
            config: config.clone(),
            input: slot(Role::Microphone)?,
            output: slot(Role::Speaker)?,
            source: None,
            sink: None,
            opened: [None, None],
        };
        std::thread::Builder::new().name("bellwire-check".into()).spawn(move || thread.run())?;
        Ok((Self { orders }, outbox))
    }

    pub fn order(&self, order: EarsOrder) {
        if self.orders.try_send(Inner::Order(order)).is_err() {
            tracing::warn!("the check's sound does not listen");
        }
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        let _ = self.orders.send(Inner::Order(EarsOrder::Stop));
    }
}

struct Thread {
    inbox: Receiver<Inner>,
    notes: mpsc::Sender<EarsNote>,
    config: Config,
    input: Slot,
    output: Slot,
    source: Option<Box<dyn Source>>,
    sink: Option<Box<dyn Sink>>,
    /// What became of the microphone and of the speaker, since they were last asked for.
    opened: [Option<Result<(), DeviceFault>>; 2],
}

/// Why a stage ends early: another order, or nobody listens.
type Next = Result<(), EarsOrder>;

impl Thread {
    fn run(mut self) {
        let mut next = None;
        loop {
            let order = match next.take() {
                Some(order) => order,
                None => match self.wait() {
                    Some(order) => order,
                    None => return,
                },
            };
            let done = match order {
                EarsOrder::Room => self.room(),
                EarsOrder::Speak => self.speak(),
                EarsOrder::Listen(mut sound) => {
                    let done = self.listen(&sound);
                    wipe(&mut sound);
                    done
                }
                EarsOrder::Stop => return,
            };
            self.want(false);
            next = done.err();
        }
    }

    /// The next order.
    fn wait(&mut self) -> Option<EarsOrder> {
        loop {
            match self.inbox.recv().ok()? {
                Inner::Order(order) => return Some(order),
                other => self.take(other),
            }
        }
    }

    fn take(&mut self, inner: Inner) {
        match inner {
            Inner::Order(_) => {}
            Inner::End(End::Source(source)) => self.source = source,
            Inner::End(End::Sink(sink)) => self.sink = sink,
            Inner::Device(DeviceEvent::InputOpened { .. }) => self.opened[0] = Some(Ok(())),
            Inner::Device(DeviceEvent::OutputOpened { .. }) => self.opened[1] = Some(Ok(())),
            Inner::Device(DeviceEvent::InputMissing { why }) => self.opened[0] = Some(Err(why)),
            Inner::Device(DeviceEvent::OutputMissing { why }) => self.opened[1] = Some(Err(why)),
            Inner::Device(DeviceEvent::InputSilent | DeviceEvent::InputHeard | DeviceEvent::OutputHeld { .. }) => {}
        }
    }

    fn want(&mut self, open: bool) {
        if open {
            self.opened = [None, None];
        }
        let wanted = |choice: &DeviceChoice| SlotOrder::Want(open.then(|| choice.clone()));
        self.input.order(wanted(&self.config.input));
        self.output.order(wanted(&self.config.output));
    }

    /// Opens both devices and waits until each stands or does not.
    fn open(&mut self) -> Next {
        self.want(true);
        let until = Instant::now() + OPENS;
        while self.opened.iter().any(Option::is_none) {
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Inner::Order(order)) => return Err(order),
                Ok(other) => self.take(other),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(EarsOrder::Stop),
            }
        }
        Ok(())
    }

    /// Sleeps 5 ms and takes in what was said.
    fn tick(&mut self) -> Next {
        std::thread::sleep(WAKE);
        while let Ok(inner) = self.inbox.try_recv() {
            match inner {
                Inner::Order(order) => return Err(order),
                other => self.take(other),
            }
        }
        Ok(())
    }

    fn read(&mut self, now: Instant, sound: &mut Sound) -> Option<bool> {
        let source = self.source.as_mut()?;
        source.read(now, sound).then(|| source.expects_sound())
    }

    fn room(&mut self) -> Next {
        self.open()?;
        let outcome = |opened: &Option<Result<(), DeviceFault>>| opened.clone().unwrap_or(Err(DeviceFault::NoDevice));
        let (microphone, speaker) = (outcome(&self.opened[0]), outcome(&self.opened[1]));
        let mut ear = Ear::default();
        let until = Instant::now() + ROOM;
        let mut sound = Sound::SILENCE;
        while microphone.is_ok() && Instant::now() < until {
            self.tick()?;
            self.play_silence();
            while let Some(expected) = self.read(Instant::now(), &mut sound) {
                ear.hear(&sound.mid, expected);
            }
        }
        let microphone = microphone.map(|()| ear.figures(false));
        self.say(EarsNote::Room { microphone, speaker })
    }

    fn play_silence(&mut self) {
        if let Some(sink) = &mut self.sink {
            while sink.wants(Instant::now()) {
                sink.write(&Sound::SILENCE);
            }
        }
    }

    fn speak(&mut self) -> Next {
        self.open()?;
        let processing = Processing { gain_control: true, ..self.config.processing };
        let Ok(mut send) = SendSide::new(processing, 0) else {
            return self.say(EarsNote::Spoke { microphone: MicrophoneFigures::default(), from: None });
        };
        let (mut ear, mut frames, mut began, mut quiet) = (Ear::default(), 0usize, None, 0usize);
        let until = Instant::now() + WAIT_FOR_VOICE;
        let mut meter = Meter::default();
        let mut sound = Sound::SILENCE;
        'all: loop {
            self.tick()?;
            self.play_silence();
            while let Some(expected) = self.read(Instant::now(), &mut sound) {
                let begins = ear.hear(&sound.mid, expected);
                if begins && began.is_none() {
                    began = Some(frames);
                }
                quiet = if begins || ear.goes_on() { 0 } else { quiet + 1 };
                frames += 1;
                meter.add(&sound.mid);
                if frames.is_multiple_of(LEVEL_FRAMES) {
                    let _ = self.notes.try_send(EarsNote::Level(meter.take()));
                }
                if let Some(packet) = send.captured(&mut sound).map(Encoded::plain) {
                    // A full mailbox loses the packet.
                    let _ = self.notes.try_send(EarsNote::Packet(packet));
                }
                if let Some(began) = began {
                    let length = frames - began;
                    if length >= SENTENCE_FRAMES || length >= SENTENCE_LEAST && quiet >= PAUSE_FRAMES {
                        break 'all;
                    }
                }
            }
            if began.is_none() && Instant::now() >= until {
                break;
            }
            // A device that went away in the middle of it.
            if Instant::now() >= until + Duration::from_secs(8) {
                break;
            }
        }
        let from = began.map(|began| (began.saturating_sub(BEFORE) * FRAME) as u32);
        self.say(EarsNote::Spoke { microphone: ear.figures(began.is_some()), from })
    }

    fn listen(&mut self, sound: &[f32]) -> Next {
        self.open()?;
        let processing = Processing {
            noise_suppression: NoiseSuppression::Off,
            gain_control: false,
            original_sound: false,
            ..self.config.processing
        };
        let mut processor = Processor::new(processing);
        let (mut played, mut captured, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = sound.chunks(FRAME);
        let frames = sound.len().div_ceil(FRAME) + AFTER_FRAMES;
        let until = Instant::now() + Duration::from_millis(10 * frames as u64 + 1_500);
        let mut pacer = Pacer::new(Instant::now());
        let mut heard = Sound::SILENCE;
        // The two begin together: what a device gathered while the other opened does not count.
        if let Some(source) = &mut self.source {
            source.discard(Instant::now());
        }
        while played.len() < frames * FRAME && Instant::now() < until {
            self.tick()?;
            loop {
                let now = Instant::now();
                let wanted = match &mut self.sink {
                    Some(sink) => sink.wants(now),
                    None => pacer.due(now),
                };
                if !wanted || played.len() >= frames * FRAME {
                    break;
                }
                let mut frame = SILENCE;
                if let Some(chunk) = rest.next() {
                    frame[..chunk.len()].copy_from_slice(chunk);
                }
                let playing = Sound::mono(frame);
                processor.played(&playing);
                if let Some(sink) = &mut self.sink {
                    sink.write(&playing);
                }
                played.extend_from_slice(&frame);
            }
            while let Some(_expected) = self.read(Instant::now(), &mut heard) {
                captured.extend_from_slice(&heard.mid);
                processor.captured(&mut heard);
                cancelled.extend_from_slice(&heard.mid);
            }
        }
        // A file hears no speaker, and may well say the same sentence again.
        let echo = match self.config.input {
            DeviceChoice::Wav(_) => None,
            DeviceChoice::Default | DeviceChoice::Named(_) => measure::echo(&played, &captured, &cancelled),
        };
        [&mut played, &mut captured, &mut cancelled].into_iter().for_each(wipe);
        self.say(EarsNote::Listened(echo))
    }

    fn say(&mut self, note: EarsNote) -> Next {
        self.notes.blocking_send(note).map_err(|_| EarsOrder::Stop)
    }
}

/// Nobody's voice stays in memory that is given back.
pub fn wipe(sound: &mut Vec<f32>) {
    sound.fill(0.0);
    std::hint::black_box(&*sound);
    sound.clear();
}
