//! The thread that keeps one direction, microphone or speaker, as it is wanted.
//!
//! It opens, looks twice a second whether the device is still the right one, falls back and returns, and retries what is
//! missing. It says what it did as [`DeviceEvent`]s and hands the sound thread its ends.

use super::cpal::{Running, System};
use super::wav::{WavSink, WavSource};
use super::{DeviceChoice, DeviceEvent, DeviceFault, DeviceKind, Sink, Source};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// What a slot can be told.
pub enum SlotOrder {
    /// Open this, or nothing.
    Want(Option<DeviceChoice>),
    /// Stop the stream without closing the device.
    Pause(bool),
    /// The stream with this number ended by itself.
    Broken(u64),
    /// Close and end.
    Stop,
}

/// An end for the sound thread; `None` when the device was closed.
pub enum End {
    Source(Option<Box<dyn Source>>),
    Sink(Option<Box<dyn Sink>>),
}

/// Orders come one at a time from the engine's loop and from broken streams; the sender waits when so many are unread.
const ORDERS: usize = 64;
/// A microphone that vanishes is moved by some sound servers onto what the speaker plays: be quick.
const POLL: Duration = Duration::from_millis(500);

/// A handle to the thread, which closes its device and ends when this is dropped.
pub struct Slot {
    orders: SyncSender<SlotOrder>,
}

impl Slot {
    pub fn start(
        kind: DeviceKind,
        hand_over: impl Fn(End) + Send + 'static,
        event: impl Fn(DeviceEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(ORDERS);
        let weak = orders.clone();
        let name = match kind {
            DeviceKind::Input => "bellwire-input",
            DeviceKind::Output => "bellwire-output",
        };
        std::thread::Builder::new().name(name.into()).spawn(move || {
            Keeper {
                kind,
                system: None,
                wanted: None,
                open: None,
                paused: false,
                cannot_pause: false,
                missing: None,
                recorded: HashSet::new(),
                opened: 0,
                orders: weak,
                hand_over: Box::new(hand_over),
                event: Box::new(event),
            }
            .run(&inbox);
        })?;
        Ok(Self { orders })
    }

    pub fn order(&self, order: SlotOrder) {
        // The thread always comes back to its inbox; only a broken sound system could keep it, and then the newest
        // wish is lost rather than the caller held up.
        if self.orders.try_send(order).is_err() {
            tracing::warn!("device thread does not listen");
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.order(SlotOrder::Stop);
    }
}

struct Open {
    id: Id,
    /// Runs until dropped; a file needs none.
    stream: Option<Running>,
    number: u64,
}

#[derive(PartialEq, Eq)]
enum Id {
    File(PathBuf),
    System(String),
}

struct Keeper {
    kind: DeviceKind,
    system: Option<System>,
    wanted: Option<DeviceChoice>,
    open: Option<Open>,
    paused: bool,
    /// This microphone cannot be paused, so it is closed while it should be.
    cannot_pause: bool,
    /// What was said last about why nothing is open.
    missing: Option<DeviceFault>,
    /// Recordings that this engine began: they are continued, not overwritten.
    recorded: HashSet<PathBuf>,
    opened: u64,
    orders: SyncSender<SlotOrder>,
    hand_over: Box<dyn Fn(End) + Send>,
    event: Box<dyn Fn(DeviceEvent) + Send>,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<SlotOrder>) {
        loop {
            match inbox.recv_timeout(POLL) {
                Ok(SlotOrder::Want(wanted)) => {
                    self.cannot_pause &= self.wanted == wanted;
                    self.wanted = wanted;
                }
                Ok(SlotOrder::Pause(paused)) => self.pause(paused),
                Ok(SlotOrder::Broken(number)) => {
                    if self.open.as_ref().is_some_and(|open| open.number == number) {
                        self.close();
                    }
                }
                Ok(SlotOrder::Stop) | Err(RecvTimeoutError::Disconnected) => return self.close(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.keep();
        }
    }

    /// Brings what is open in line with what is wanted.
    fn keep(&mut self) {
        match self.wanted.clone() {
            None => {
                self.missing = None;
                self.close();
            }
            Some(_) if self.open.is_none() && self.paused && self.cannot_pause => {}
            Some(DeviceChoice::Wav(path)) => self.keep_file(path),
            Some(DeviceChoice::Default) => self.keep_device(None),
            Some(DeviceChoice::Named(name)) => self.keep_device(Some(&name)),
        }
    }

    fn keep_file(&mut self, path: PathBuf) {
        let id = Id::File(path.clone());
        if self.open.as_ref().is_some_and(|open| open.id == id) {
            return;
        }
        self.close();
        let now = Instant::now();
        let end = match self.kind {
            DeviceKind::Input => {
                WavSource::open(&path, now).map(|source| End::Source(Some(Box::new(source) as Box<dyn Source>)))
            }
            DeviceKind::Output => WavSink::open(&path, self.recorded.contains(&path), now)
                .map(|sink| End::Sink(Some(Box::new(sink) as Box<dyn Sink>))),
        };
        match end {
            Ok(end) => {
                self.recorded.insert(path.clone());
                self.opened(id, None, end, path.display().to_string(), false);
            }
            Err(why) => self.not_opened(why),
        }
    }

    fn keep_device(&mut self, name: Option<&str>) {
        let system = self.system.get_or_insert_with(System::connect);
        let found = match system.find(name, self.kind) {
            Ok(found) => found,
            Err(why) => {
                // The sound server may have gone, too: connect anew the next time.
                self.system = None;
                self.close();
                return self.not_opened(why);
            }
        };
        let id = Id::System(found.id.clone());
        if self.open.as_ref().is_some_and(|open| open.id == id) {
            return;
        }
        self.close();
        let (orders, number) = (self.orders.clone(), self.opened + 1);
        let broken = move || drop(orders.try_send(SlotOrder::Broken(number)));
        let opened = match self.kind {
            DeviceKind::Input => found.capture(broken).map(|(stream, source)| (stream, End::Source(Some(source)))),
            DeviceKind::Output => found.playout(broken).map(|(stream, sink)| (stream, End::Sink(Some(sink)))),
        };
        match opened.and_then(|(stream, end)| stream.set_paused(self.paused).map(|()| (stream, end))) {
            Ok((stream, end)) => self.opened(id, Some(stream), end, found.name, found.fallback),
            Err(_) if self.paused => self.cannot_pause = true,
            Err(why) => {
                self.system = None;
                self.not_opened(why);
            }
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if let Some(stream) = self.open.as_ref().and_then(|open| open.stream.as_ref())
            && let Err(why) = stream.set_paused(paused)
        {
            // What cannot be paused is closed; what cannot go on is opened anew.
            tracing::debug!(?why, paused, "stream not switched");
            self.cannot_pause |= paused;
            self.close();
        }
    }

    fn opened(&mut self, id: Id, stream: Option<Running>, end: End, name: String, fallback: bool) {
        self.opened += 1;
        self.open = Some(Open { id, stream, number: self.opened });
        self.missing = None;
        (self.hand_over)(end);
        (self.event)(match self.kind {
            DeviceKind::Input => DeviceEvent::InputOpened { name, fallback },
            DeviceKind::Output => DeviceEvent::OutputOpened { name, fallback },
        });
    }

    /// Said once, however often it is tried again.
    fn not_opened(&mut self, why: DeviceFault) {
        if self.missing.as_ref() == Some(&why) {
            return;
        }
        self.missing = Some(why.clone());
        (self.event)(match self.kind {
            DeviceKind::Input => DeviceEvent::InputMissing { why },
            DeviceKind::Output => DeviceEvent::OutputMissing { why },
        });
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            (self.hand_over)(match self.kind {
                DeviceKind::Input => End::Source(None),
                DeviceKind::Output => End::Sink(None),
            });
        }
    }
}
