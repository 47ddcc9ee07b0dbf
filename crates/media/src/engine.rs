//! The engine: one loop that owns what was asked for and tells devices, sound and connections what to do about it.

use crate::audio::{self, Audio, ConnectionId, Note, Order};
use crate::devices::{DeviceEvent, DeviceKind, End, Slot, SlotOrder};
use crate::emodel;
use crate::peer::{Identity, Outgoing, Peer, PeerEvent, PeerNote, PeerOrder, PeerSettings, Report};
use crate::pipeline::{Encoded, Received};
use crate::{Command, Config, Event, Generation, Stats, Tone};
use std::collections::{BTreeMap, VecDeque};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Commands that wait for the loop. It never waits for anybody, so they do not pile up; one more than these is lost,
/// with a line in the log.
const COMMANDS: usize = 1024;
/// Events that wait for the caller. When it is full levels and figures are dropped; the others wait in the loop.
const EVENTS: usize = 256;
/// What connections say; they wait when it is full.
const PEER_NOTES: usize = 256;
/// Device events; the device thread waits when it is full.
const DEVICE_EVENTS: usize = 64;

/// A connection that does not flow so long after both descriptions are set has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The older connection is kept so long after a newer one flows: what is under way still arrives.
const OVERLAP: Duration = Duration::from_secs(1);

/// The sound of one device of one person.
pub struct Engine {
    commands: mpsc::Sender<Command>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Starts the engine's tasks on the current tokio runtime, its sound thread and its two device threads.
    ///
    /// The events must be read. [`Event::Level`] and [`Event::Stats`] are dropped when they are not; all others wait.
    /// Dropping the engine ends it as well as [`Engine::shutdown`], but nobody waits then.
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, receiver) = mpsc::channel(EVENTS);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            match Loop::new(config, events.clone()) {
                Ok(engine) => engine.run(inbox, stopped).await,
                Err(error) => refuse(&error.to_string(), inbox, stopped, events).await,
            }
        });
        (Self { commands, stop, task }, receiver)
    }

    /// Hands over a command; never blocks. Commands are carried out in order.
    pub fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("engine is stopped or behind, command lost");
        }
    }

    /// Ends connections, closes devices and finishes recordings.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// A machine on which the sound thread cannot even start: every connection fails with the reason.
async fn refuse(
    why: &str,
    mut commands: mpsc::Receiver<Command>,
    mut stopped: oneshot::Receiver<()>,
    events: mpsc::Sender<Event>,
) {
    tracing::warn!(why, "no sound");
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Open { generation }) => {
                    let _ = events.send(Event::Failed { generation, why: why.to_owned() }).await;
                }
                Some(Command::Close) => {
                    let _ = events.send(Event::Closed).await;
                }
                Some(_) => {}
                None => return,
            },
            _ = &mut stopped => return,
        }
    }
}

struct Loop {
    config: Config,
    identity: Identity,
    audio: Audio,
    sound_thread: JoinHandle<()>,
    input: Slot,
    output: Slot,
    peers: BTreeMap<Generation, Connected>,
    opened: u64,
    /// Those being closed; awaited at shutdown.
    closing: tokio::task::JoinSet<()>,
    /// Where packets go now: every connection that stands.
    outgoing: watch::Sender<Vec<Outgoing>>,
    wants: Wants,
    /// What the slots were told last.
    told: (bool, bool),
    events: mpsc::Sender<Event>,
    outbox: VecDeque<Event>,
    peer_notes: mpsc::Sender<PeerNote>,
    inboxes: Option<Inboxes>,
}

struct Inboxes {
    notes: mpsc::Receiver<Note>,
    peers: mpsc::Receiver<PeerNote>,
    devices: mpsc::Receiver<DeviceEvent>,
}

/// Why devices are open.
#[derive(Default)]
struct Wants {
    warm: bool,
    call: bool,
    check: bool,
    tone: Option<Tone>,
    melody: bool,
}

/// A connection as the loop sees it.
struct Connected {
    serial: u64,
    peer: Peer,
    outgoing: Option<Outgoing>,
    flowed: bool,
    /// When it counts as failed if it does not flow before.
    deadline: Option<Instant>,
    /// When it is closed, because a newer one flows.
    superseded: Option<Instant>,
    report: Option<Report>,
    pair: Option<(String, String)>,
    totals: (u64, u64),
}

impl Loop {
    fn new(config: Config, events: mpsc::Sender<Event>) -> Result<Self, audio::StartError> {
        let (note_sender, notes) = mpsc::channel(audio::NOTES);
        let (peer_notes, peers) = mpsc::channel(PEER_NOTES);
        let (device_sender, devices) = mpsc::channel(DEVICE_EVENTS);
        let (encoded_sender, encoded) = mpsc::channel(audio::ENCODED);
        let (audio, sound_thread) = Audio::start(config.processing, rand::random(), note_sender, encoded_sender)?;
        let slot = |kind| {
            let (audio, events) = (audio.clone(), device_sender.clone());
            let hand_over = move |end| match end {
                End::Source(source) => audio.order(Order::Source(source)),
                End::Sink(sink) => audio.order(Order::Sink(sink)),
            };
            Slot::start(kind, hand_over, move |event| drop(events.blocking_send(event)))
        };
        let (input, output) = (slot(DeviceKind::Input)?, slot(DeviceKind::Output)?);
        let (outgoing, targets) = watch::channel(Vec::new());
        tokio::spawn(send_packets(encoded, targets));
        Ok(Self {
            config,
            identity: Identity::default(),
            audio,
            sound_thread,
            input,
            output,
            peers: BTreeMap::new(),
            opened: 0,
            closing: tokio::task::JoinSet::new(),
            outgoing,
            wants: Wants::default(),
            told: (false, false),
            events,
            outbox: VecDeque::new(),
            peer_notes,
            inboxes: Some(Inboxes { notes, peers, devices }),
        })
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut stopped: oneshot::Receiver<()>) {
        let Some(Inboxes { mut notes, mut peers, mut devices }) = self.inboxes.take() else { return };
        loop {
            let due = self.peers.values().flat_map(|peer| [peer.deadline, peer.superseded]).flatten().min();
            let events = self.events.clone();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => break,
                },
                _ = &mut stopped => break,
                Some(note) = peers.recv() => self.handle_peer(note),
                Some(note) = notes.recv() => self.handle_note(note),
                Some(event) = devices.recv() => self.emit(Event::Device(event)),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.handle_due(),
                permit = events.reserve(), if !self.outbox.is_empty() => match (permit, self.outbox.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    // Nobody listens any more; the engine goes on until it is told to stop.
                    (Err(_), _) => self.outbox.clear(),
                    (Ok(_), None) => {}
                },
                Some(_) = self.closing.join_next() => {}
            }
        }
        drop((notes, peers, devices));
        self.finish().await;
    }

    async fn finish(mut self) {
        self.audio.order(Order::Stop);
        for (_, connected) in std::mem::take(&mut self.peers) {
            self.closing.spawn(connected.peer.close());
        }
        drop((self.input, self.output, self.peer_notes));
        while self.closing.join_next().await.is_some() {}
        let thread = self.sound_thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Warm => {
                self.wants.warm = true;
                self.keep_devices();
            }
            Command::Open { generation } => self.open(generation),
            Command::Offer { generation } => self.order(generation, PeerOrder::Offer),
            Command::SetRemote { generation, kind, sdp } => self.order(generation, PeerOrder::Remote { kind, sdp }),
            Command::AddCandidates { generation, candidates } => {
                self.order(generation, PeerOrder::Candidates(candidates));
            }
            Command::Close => self.close(),
            Command::Mute(muted) => {
                self.audio.order(Order::Mute(muted));
                self.input.order(SlotOrder::Pause(muted));
            }
            Command::SetInput(choice) => {
                self.config.input = choice;
                self.told.0 = false;
                self.keep_devices();
            }
            Command::SetOutput(choice) => {
                self.config.output = choice;
                self.told.1 = false;
                self.keep_devices();
            }
            Command::SetProcessing(processing) => {
                self.config.processing = processing;
                self.audio.order(Order::Processing(processing));
            }
            Command::Check(on) => {
                self.wants.check = on;
                self.keep_devices();
            }
            Command::TestSound => {
                self.wants.melody = true;
                self.audio.order(Order::Melody);
                self.keep_devices();
            }
            Command::Tone(tone) => {
                self.wants.tone = tone;
                self.audio.order(Order::Tone(tone));
                self.keep_devices();
            }
        }
    }

    fn handle_peer(&mut self, PeerNote { id, event }: PeerNote) {
        let generation = id.generation;
        let Some(connected) = self.peers.get_mut(&generation).filter(|connected| connected.serial == id.serial) else {
            return;
        };
        match event {
            PeerEvent::Opened => self.emit(Event::Opened { generation }),
            PeerEvent::Description { kind, sdp } => self.emit(Event::Description { generation, kind, sdp }),
            PeerEvent::Candidates { candidates, done } => {
                self.emit(Event::Candidates { generation, candidates, done });
            }
            PeerEvent::Described => {
                if !connected.flowed {
                    connected.deadline = Some(Instant::now() + PATIENCE);
                }
            }
            PeerEvent::Connected(outgoing) => {
                connected.outgoing = Some(outgoing);
                self.keep_outgoing();
            }
            PeerEvent::Reported(report) => connected.report = Some(report),
            PeerEvent::Pair { local, remote } => connected.pair = Some((local, remote)),
            PeerEvent::Failed(why) => self.fail(generation, why),
        }
    }

    fn handle_note(&mut self, note: Note) {
        match note {
            Note::Flowing(id) => {
                if self.stands(id) {
                    self.flowing(id.generation);
                }
            }
            Note::Stalled(id) => {
                let superseded = |connected: &Connected| connected.superseded.is_some();
                if self.stands(id) && !self.peers.get(&id.generation).is_some_and(superseded) {
                    self.emit(Event::Stalled { generation: id.generation });
                }
            }
            Note::Second { id, received, sent_packets, sent_bytes } => {
                if self.stands(id) {
                    self.say_stats(id.generation, received, sent_packets, sent_bytes);
                }
            }
            Note::Level { input, output } => drop(self.events.try_send(Event::Level { input, output })),
            Note::Device(event) => self.emit(Event::Device(event)),
            Note::MelodyDone => {
                self.wants.melody = false;
                self.keep_devices();
            }
        }
    }

    /// Whether this is a connection of now, not one of a call before with the same generation.
    fn stands(&self, id: ConnectionId) -> bool {
        self.peers.get(&id.generation).is_some_and(|connected| connected.serial == id.serial)
    }

    fn handle_due(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let old: Vec<Generation> = self.peers.iter().filter(|(_, c)| due(c.superseded)).map(|(g, _)| *g).collect();
        old.into_iter().for_each(|generation| self.forget(generation));
        let late: Vec<Generation> = self.peers.iter().filter(|(_, c)| due(c.deadline)).map(|(g, _)| *g).collect();
        for generation in late {
            self.fail(generation, format!("no sound came within {} s", PATIENCE.as_secs()));
        }
    }

    fn open(&mut self, generation: Generation) {
        if self.peers.contains_key(&generation) {
            return self.emit(Event::Opened { generation });
        }
        if self.peers.keys().next_back().is_some_and(|newest| *newest > generation) {
            tracing::debug!(generation, "not opened, a newer connection stands");
            return;
        }
        self.wants.call = true;
        self.keep_devices();
        self.opened += 1;
        let id = ConnectionId { generation, serial: self.opened };
        self.audio.order(Order::Receive(id));
        let settings = PeerSettings {
            ice_servers: self.config.ice_servers.clone(),
            bind: self.config.bind,
            identity: self.identity.clone(),
        };
        let connected = Connected {
            serial: id.serial,
            peer: Peer::start(id, settings, self.audio.clone(), self.peer_notes.clone()),
            outgoing: None,
            flowed: false,
            deadline: None,
            superseded: None,
            report: None,
            pair: None,
            totals: (0, 0),
        };
        self.peers.insert(generation, connected);
        tracing::info!(generation, "connection opened");
    }

    fn order(&mut self, generation: Generation, order: PeerOrder) {
        let Some(connected) = self.peers.get(&generation) else {
            tracing::debug!(generation, "no such connection, command ignored");
            return;
        };
        if !connected.peer.order(order) {
            self.fail(generation, "too much was asked of the connection at once".into());
        }
    }

    fn flowing(&mut self, generation: Generation) {
        let Some(connected) = self.peers.get_mut(&generation) else { return };
        connected.flowed = true;
        connected.deadline = None;
        let until = Instant::now() + OVERLAP;
        for (_, older) in self.peers.range_mut(..generation) {
            older.superseded.get_or_insert(until);
            older.deadline = None;
        }
        if self.peers.get(&generation).is_some_and(|connected| connected.superseded.is_none()) {
            tracing::info!(generation, "sound flows");
            self.emit(Event::Flowing { generation });
        }
    }

    fn fail(&mut self, generation: Generation, why: String) {
        let Some(connected) = self.peers.get(&generation) else { return };
        let superseded = connected.superseded.is_some();
        self.forget(generation);
        if !superseded {
            tracing::info!(generation, why, "connection failed");
            self.emit(Event::Failed { generation, why });
        }
    }

    fn forget(&mut self, generation: Generation) {
        if let Some(connected) = self.peers.remove(&generation) {
            self.audio.order(Order::Forget(ConnectionId { generation, serial: connected.serial }));
            self.closing.spawn(connected.peer.close());
            self.keep_outgoing();
        }
    }

    fn close(&mut self) {
        let all: Vec<Generation> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|generation| self.forget(generation));
        // Another call shall not be recognised as the same person's by its certificate.
        self.identity = Identity::default();
        self.wants.call = false;
        self.wants.warm = false;
        self.keep_devices();
        self.emit(Event::Closed);
    }

    fn keep_outgoing(&mut self) {
        let outgoing: Vec<Outgoing> = self.peers.values().filter_map(|connected| connected.outgoing.clone()).collect();
        self.audio.order(Order::Send(!outgoing.is_empty()));
        self.outgoing.send_replace(outgoing);
    }

    fn keep_devices(&mut self) {
        let wants = &self.wants;
        let call = wants.warm || wants.call;
        let (input, output) = (call || wants.check, call || wants.tone.is_some() || wants.melody);
        if self.told.0 != input {
            self.input.order(SlotOrder::Want(input.then(|| self.config.input.clone())));
        }
        if self.told.1 != output {
            self.output.order(SlotOrder::Want(output.then(|| self.config.output.clone())));
        }
        self.told = (input, output);
    }

    fn say_stats(&mut self, generation: Generation, received: Received, sent_packets: u32, sent_bytes: u32) {
        let newest = self.peers.iter().rev().find(|(_, connected)| connected.outgoing.is_some()).map(|(g, _)| *g);
        let Some(connected) = self.peers.get_mut(&generation) else { return };
        connected.totals.0 += u64::from(received.counts.received);
        if connected.outgoing.is_some() {
            connected.totals.1 += u64::from(sent_packets);
        }
        if newest == Some(generation) {
            let stats = connected.stats(generation, received, sent_bytes);
            let _ = self.events.try_send(Event::Stats(Box::new(stats)));
        }
    }

    fn emit(&mut self, event: Event) {
        self.outbox.push_back(event);
    }
}

impl Connected {
    fn stats(&self, generation: Generation, received: Received, sent_bytes: u32) -> Stats {
        let counts = received.counts;
        let share = |part: u32, whole: u32| if whole == 0 { 0.0 } else { (part as f32 / whole as f32).clamp(0.0, 1.0) };
        let arrived = counts.received.saturating_sub(counts.duplicate);
        let round_trip_ms = self.report.and_then(|report| report.round_trip_ms);
        let concealed = share(received.made_up, received.played);
        let (local_candidate, remote_candidate) = self.pair.clone().unzip();
        Stats {
            generation,
            round_trip_ms,
            loss_in: share(counts.expected.saturating_sub(arrived), counts.expected),
            loss_out: self.report.map(|report| report.loss),
            jitter_in_ms: received.jitter_ms,
            jitter_out_ms: self.report.map(|report| report.jitter_ms),
            concealed,
            buffer_ms: received.buffer_ms,
            bitrate_in: counts.bytes * 8,
            bitrate_out: sent_bytes * 8,
            packets_in: self.totals.0,
            packets_out: self.totals.1,
            mos: self
                .flowed
                .then(|| emodel::mean_opinion_score(round_trip_ms.unwrap_or(0.0), received.buffer_ms, concealed)),
            local_candidate,
            remote_candidate,
        }
    }
}

/// Gives each packet to every connection that stands; while two overlap, both get it, and the far side misses none.
async fn send_packets(mut encoded: mpsc::Receiver<Encoded>, targets: watch::Receiver<Vec<Outgoing>>) {
    while let Some(packet) = encoded.recv().await {
        let outgoing = targets.borrow().clone();
        for target in outgoing {
            target.send(&packet).await;
        }
    }
}
