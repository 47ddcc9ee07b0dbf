//! The thread that keeps one device, microphone, speaker or the speaker that rings, as it is wanted.
//!
//! It opens, looks whenever the system says that something changed and twice a second besides, falls back and returns,
//! retries what is missing, and opens anew what has gone dead. It says what it did as [`DeviceEvent`]s and hands the sound
//! thread its ends.
//!
//! What somebody heard on their head is not played to the room by itself: see [`SlotOrder::Private`].

use super::system::{Found, Notice, Running, System};
use super::wav::{WavSink, WavSource};
use super::{DeviceChoice, DeviceEvent, DeviceFault, DeviceKind, Sink, Source};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Microphone,
    Speaker,
    /// Where it rings: the chosen device or none.
    Ring,
}

impl Role {
    fn kind(self) -> DeviceKind {
        match self {
            Self::Microphone => DeviceKind::Input,
            Self::Speaker | Self::Ring => DeviceKind::Output,
        }
    }
}

/// What a slot can be told.
pub enum SlotOrder {
    /// Open this, or nothing.
    Want(Option<DeviceChoice>),
    /// Whether both channels are wanted.
    Stereo(bool),
    /// Whether what is played may not go from a headset to a loudspeaker unasked: in a call, while not muted. Then nothing is
    /// played and [`DeviceEvent::OutputHeld`] is said.
    Private(bool),
    /// Play on what is held back.
    UseHeld,
    /// Something may have changed: look now.
    Look,
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

/// Orders come one at a time from the engine's loop and from streams; what does not fit is lost, and the next look makes up
/// for it.
const ORDERS: usize = 64;
/// Systems that say nothing by themselves are asked so often,
const POLL: Duration = Duration::from_millis(500);
/// and a sound server that has gone: it is restarted within a second or so, and to find no socket costs nothing.
const POLL_SERVER: Duration = Duration::from_millis(50);
/// For so long a sound server that has gone is waited for. The devices are its own: to open them past it would keep it from
/// them.
const SERVER_RESTARTS: Duration = Duration::from_secs(8);
/// Without a server, one is looked for so often.
const SERVER_COMES: Duration = Duration::from_secs(5);
/// Looks without a callback in between, after which a device counts as dead: three seconds.
const DEAD_LOOKS: u32 = 6;

/// A handle to the thread, which closes its device and ends when this is dropped.
pub struct Slot {
    orders: SyncSender<SlotOrder>,
}

impl Slot {
    pub fn start(
        role: Role,
        hand_over: impl Fn(End) + Send + 'static,
        event: impl Fn(DeviceEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(ORDERS);
        let teller = Teller { orders: orders.clone(), told: Arc::default() };
        let name = match role {
            Role::Microphone => "bellwire-input",
            Role::Speaker => "bellwire-output",
            Role::Ring => "bellwire-ring",
        };
        std::thread::Builder::new().name(name.into()).spawn(move || {
            Keeper {
                role,
                system: None,
                server: Server::default(),
                wanted: None,
                stereo: false,
                open: None,
                private: false,
                worn: false,
                held: None,
                missing: None,
                recorded: HashSet::new(),
                opened: 0,
                teller,
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

/// How streams and the system reach the thread.
#[derive(Clone)]
struct Teller {
    orders: SyncSender<SlotOrder>,
    /// A look is on its way: changes come many at once.
    told: Arc<AtomicBool>,
}

impl Teller {
    fn tell(&self, notice: Notice, stream: u64) {
        let order = match notice {
            Notice::Broken => SlotOrder::Broken(stream),
            Notice::Changed if self.told.swap(true, Ordering::Relaxed) => return,
            Notice::Changed => SlotOrder::Look,
        };
        let _ = self.orders.try_send(order);
    }
}

struct Open {
    id: Id,
    /// Runs until dropped; a file needs none.
    stream: Option<Running>,
    number: u64,
    /// Callbacks at the last look, and looks since there was one.
    beats: u32,
    quiet: u32,
}

#[derive(Clone, PartialEq, Eq)]
enum Id {
    File(PathBuf),
    System { id: String, worn: bool, stereo: bool },
}

/// What is known of the sound server.
#[derive(Default)]
struct Server {
    /// When it answered last.
    answered: Option<Instant>,
    /// When it was looked for last, while there was none.
    looked_for: Option<Instant>,
}

struct Keeper {
    role: Role,
    system: Option<System>,
    server: Server,
    wanted: Option<DeviceChoice>,
    stereo: bool,
    open: Option<Open>,
    private: bool,
    /// Whether what was heard last is worn on the head.
    worn: bool,
    /// What would be opened if it were no loudspeaker, as it was said last.
    held: Option<String>,
    /// What was said last about why nothing is open.
    missing: Option<DeviceFault>,
    /// Recordings that this engine began: they are continued, not overwritten.
    recorded: HashSet<PathBuf>,
    opened: u64,
    teller: Teller,
    hand_over: Box<dyn Fn(End) + Send>,
    event: Box<dyn Fn(DeviceEvent) + Send>,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<SlotOrder>) {
        loop {
            match inbox.recv_timeout(self.patience()) {
                Ok(SlotOrder::Want(wanted)) => {
                    self.wanted = wanted;
                    // Whoever chooses a device means it.
                    self.worn = false;
                    self.missing = None;
                }
                Ok(SlotOrder::Stereo(stereo)) => self.stereo = stereo,
                Ok(SlotOrder::Private(private)) => self.private = private,
                Ok(SlotOrder::UseHeld) => self.worn &= self.held.is_none(),
                Ok(SlotOrder::Look) => self.teller.told.store(false, Ordering::Relaxed),
                Ok(SlotOrder::Broken(number)) => {
                    if self.open.as_ref().is_some_and(|open| open.number == number) {
                        self.close();
                    }
                }
                Ok(SlotOrder::Stop) | Err(RecvTimeoutError::Disconnected) => return self.close(),
                Err(RecvTimeoutError::Timeout) => self.listen(),
            }
            self.keep();
        }
    }

    fn patience(&self) -> Duration {
        let gone = self.wanted.is_some() && self.system.is_none() && self.server_restarts();
        if gone { POLL_SERVER } else { POLL }
    }

    fn server_restarts(&self) -> bool {
        self.server.answered.is_some_and(|at| at.elapsed() < SERVER_RESTARTS)
    }

    /// Closes a device that has not called for long: after a sleep of the machine some never do again.
    fn listen(&mut self) {
        let Some(open) = &mut self.open else { return };
        let Some(stream) = &open.stream else { return };
        let beats = stream.heartbeat.beats();
        open.quiet = if beats == open.beats { open.quiet + 1 } else { 0 };
        open.beats = beats;
        if open.quiet >= DEAD_LOOKS {
            tracing::debug!("a device does nothing, it is opened anew");
            self.close();
        }
    }

    /// Brings what is open in line with what is wanted.
    fn keep(&mut self) {
        match self.wanted.clone() {
            None => {
                self.missing = None;
                self.held = None;
                self.close();
                self.system = None;
            }
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
        let end = match self.role.kind() {
            DeviceKind::Input => WavSource::open(&path, self.stereo, now)
                .map(|source| End::Source(Some(Box::new(source) as Box<dyn Source>))),
            DeviceKind::Output => WavSink::open(&path, self.recorded.contains(&path), self.stereo, now)
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
        let found = match self.find(name) {
            Ok(found) => found,
            Err(why) => {
                self.close();
                return self.not_opened(why);
            }
        };
        // Outputs have the channels that the device has; only a microphone is opened by what is wanted.
        let stereo = self.stereo && self.role == Role::Microphone;
        let id = Id::System { id: found.id.clone(), worn: found.worn, stereo };
        if self.open.as_ref().is_some_and(|open| open.id == id) {
            self.worn = found.worn;
            return;
        }
        self.close();
        if self.private && self.worn && !found.worn {
            return self.hold(found.name);
        }
        let (teller, number) = (self.teller.clone(), self.opened + 1);
        let notice = move |notice| teller.tell(notice, number);
        let opened = match self.role.kind() {
            DeviceKind::Input => {
                found.capture(stereo, notice).map(|(stream, source)| (stream, End::Source(Some(source))))
            }
            DeviceKind::Output => found.playout(notice).map(|(stream, sink)| (stream, End::Sink(Some(sink)))),
        };
        match opened {
            Ok((stream, end)) => {
                self.worn = found.worn;
                self.opened(id, Some(stream), end, found.name, found.fallback);
            }
            Err(why) => {
                self.system = None;
                self.not_opened(why);
            }
        }
    }

    /// What should be open. A sound server that has gone is asked anew once.
    fn find(&mut self, name: Option<&str>) -> Result<Found, DeviceFault> {
        for _ in 0..2 {
            let (role, Some(system)) = (self.role, self.connected()) else { break };
            match system.find(name, role.kind()) {
                Ok(found) if found.fallback && role == Role::Ring => return Err(DeviceFault::NoDevice),
                Err(_) if system.is_gone() => self.system = None,
                found => return found,
            }
        }
        Err(DeviceFault::NoDevice)
    }

    /// The sound system, connected to if it is not; `None` while a sound server that was there is not.
    fn connected(&mut self) -> Option<&mut System> {
        let stands = self.system.as_ref().map(System::is_server);
        let looked_for_lately = self.server.looked_for.is_some_and(|at| at.elapsed() < SERVER_COMES);
        let connected = match stands {
            Some(true) => {
                self.server.answered = Some(Instant::now());
                None
            }
            Some(false) if looked_for_lately => None,
            Some(false) => {
                self.server.looked_for = Some(Instant::now());
                System::connect_to_server().ok()
            }
            None if self.server_restarts() => System::connect_to_server().ok(),
            None => {
                self.server.looked_for = Some(Instant::now());
                Some(System::connect())
            }
        };
        if let Some(mut system) = connected {
            let teller = self.teller.clone();
            system.watch(move |notice| teller.tell(notice, 0));
            self.system = Some(system);
        }
        self.system.as_mut()
    }

    fn opened(&mut self, id: Id, stream: Option<Running>, end: End, name: String, fallback: bool) {
        self.opened += 1;
        self.open = Some(Open { id, stream, number: self.opened, beats: 0, quiet: 0 });
        self.missing = None;
        self.held = None;
        (self.hand_over)(end);
        (self.event)(match self.role.kind() {
            DeviceKind::Input => DeviceEvent::InputOpened { name, fallback },
            DeviceKind::Output => DeviceEvent::OutputOpened { name, fallback },
        });
    }

    /// Said once for each device that would be opened.
    fn hold(&mut self, name: String) {
        self.missing = None;
        if self.held.as_ref() != Some(&name) {
            self.held = Some(name.clone());
            (self.event)(DeviceEvent::OutputHeld { name });
        }
    }

    /// Said once, however often it is tried again.
    fn not_opened(&mut self, why: DeviceFault) {
        self.held = None;
        if self.missing.as_ref() == Some(&why) {
            return;
        }
        self.missing = Some(why.clone());
        (self.event)(match self.role.kind() {
            DeviceKind::Input => DeviceEvent::InputMissing { why },
            DeviceKind::Output => DeviceEvent::OutputMissing { why },
        });
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            (self.hand_over)(match self.role.kind() {
                DeviceKind::Input => End::Source(None),
                DeviceKind::Output => End::Sink(None),
            });
        }
    }
}
