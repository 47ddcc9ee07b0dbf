//! The engine: one loop that owns what was asked for and tells devices, sound and connections what to do about it.

mod connected;
mod handle;
mod tasks;
mod wants;

use crate::audio::{self, Audio, ConnectionId, Note, Order};
use crate::devices::{DeviceEvent, End, Role, Slot, SlotOrder};
use crate::peer::{Identity, Peer, PeerEvent, PeerNote, PeerOrder, PeerSettings};
use crate::{Command, Config, Event, Generation, LONGEST_TEXT, Leg, MOST_LEGS, Route, Tone};
use connected::{Connected, SecondOf};
pub use handle::Engine;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::thread::JoinHandle;
use std::time::Duration;
use tasks::{Targets, send};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use wants::Wants;

/// Events that wait here before connections have to wait with what they say: far sides do not fill the memory with text.
const OUTBOX: usize = 1024;
/// What connections say; they wait when it is full.
const PEER_NOTES: usize = 256;
/// Device events; the device thread waits when it is full.
const DEVICE_EVENTS: usize = 64;

/// A connection that does not flow so long after both descriptions are set has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// One that brings no packet so long after packets could pass has failed. The handshake's last packet is sent once: if it
/// is lost, one side is connected to another that is not.
const PATIENCE_CONNECTED: Duration = Duration::from_secs(4);
/// The older connection is kept so long after a newer one flows and the far side has said that it hears us there: what is
/// under way still arrives.
const OVERLAP: Duration = Duration::from_secs(1);
/// For so long at most if the far side does not say so.
const LONGEST_OVERLAP: Duration = Duration::from_secs(4);
/// Connections of a leg that do not flow yet; when one more is opened the oldest of them goes, of which nothing came.
const MOST_UNPROVEN: usize = 3;

struct Loop {
    config: Config,
    identity: Identity,
    audio: Audio,
    sound_thread: JoinHandle<()>,
    input: Slot,
    output: Slot,
    ring: Slot,
    /// The chosen speaker for the ring is not there.
    ring_missing: bool,
    muted: bool,
    peers: BTreeMap<Place, Connected>,
    opened: u64,
    /// Who was said to speak and not yet to have ended; `None` is us.
    speaking: BTreeSet<Option<Leg>>,
    /// Those being closed; awaited at shutdown.
    closing: tokio::task::JoinSet<()>,
    /// Where packets go now: every connection that stands.
    outgoing: watch::Sender<Targets>,
    wants: Wants,
    /// What the slots were told last.
    told: (bool, bool, bool),
    events: mpsc::Sender<Event>,
    outbox: VecDeque<Event>,
    peer_notes: mpsc::Sender<PeerNote>,
    inboxes: Option<Inboxes>,
}

/// A leg and the generation of one of its connections.
type Place = (Leg, Generation);

struct Inboxes {
    notes: mpsc::Receiver<Note>,
    peers: mpsc::Receiver<PeerNote>,
    devices: mpsc::Receiver<(Role, DeviceEvent)>,
}

impl Loop {
    fn new(config: Config, events: mpsc::Sender<Event>) -> Result<Self, audio::StartError> {
        let (note_sender, notes) = mpsc::channel(audio::NOTES);
        let (peer_notes, peers) = mpsc::channel(PEER_NOTES);
        let (device_sender, devices) = mpsc::channel(DEVICE_EVENTS);
        let (sent_sender, sent) = mpsc::channel(audio::SENT);
        let (audio, sound_thread) = Audio::start(config.processing, rand::random(), note_sender, sent_sender)?;
        let slot = |role| {
            let (audio, events) = (audio.clone(), device_sender.clone());
            let hand_over = move |end| match end {
                End::Source(source) => audio.order(Order::Source(source)),
                End::Sink(sink) if role == Role::Ring => audio.order(Order::RingSink(sink)),
                End::Sink(sink) => audio.order(Order::Sink(sink)),
            };
            Slot::start(role, hand_over, move |event| drop(events.blocking_send((role, event))))
        };
        let (input, output, ring) = (slot(Role::Microphone)?, slot(Role::Speaker)?, slot(Role::Ring)?);
        for slot in [&input, &output] {
            slot.order(SlotOrder::Stereo(config.processing.original_sound));
        }
        let (outgoing, targets) = watch::channel(Targets::new());
        tokio::spawn(send(sent, targets));
        Ok(Self {
            config,
            identity: Identity::default(),
            audio,
            sound_thread,
            input,
            output,
            ring,
            ring_missing: false,
            muted: false,
            peers: BTreeMap::new(),
            opened: 0,
            speaking: BTreeSet::new(),
            closing: tokio::task::JoinSet::new(),
            outgoing,
            wants: Wants::default(),
            told: (false, false, false),
            events,
            outbox: VecDeque::new(),
            peer_notes,
            inboxes: Some(Inboxes { notes, peers, devices }),
        })
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut stopped: oneshot::Receiver<()>) {
        let Some(Inboxes { mut notes, mut peers, mut devices }) = self.inboxes.take() else { return };
        loop {
            let due =
                self.peers.values().flat_map(|peer| [peer.deadline, peer.superseded, peer.deaf_at]).flatten().min();
            let events = self.events.clone();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => break,
                },
                _ = &mut stopped => break,
                Some(note) = peers.recv(), if self.outbox.len() < OUTBOX => self.handle_peer(note),
                Some(note) = notes.recv() => self.handle_note(note),
                Some((role, event)) = devices.recv() => self.handle_device(role, event),
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
        drop((self.input, self.output, self.ring, self.peer_notes));
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
            Command::Open { leg, generation, route } => self.open(leg, generation, route),
            Command::SetIceServers(servers) => self.config.ice_servers = servers,
            Command::Offer { leg, generation } => self.order((leg, generation), PeerOrder::Offer),
            Command::SetRemote { leg, generation, kind, sdp } => {
                self.order((leg, generation), PeerOrder::Remote { kind, sdp });
            }
            Command::AddCandidates { leg, generation, candidates } => {
                self.order((leg, generation), PeerOrder::Candidates(candidates));
            }
            Command::SendText { leg, text } => self.send_text(leg, text),
            Command::Drop { leg } => self.drop_leg(leg),
            Command::Close => self.close(),
            Command::Mute(muted) => {
                self.muted = muted;
                self.audio.order(Order::Mute(muted));
                self.keep_private();
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
            Command::SetRing(choice) => {
                self.config.ring = choice;
                self.told.2 = false;
                self.keep_ring();
            }
            Command::UseHeldOutput => self.output.order(SlotOrder::UseHeld),
            Command::SetProcessing(processing) => {
                self.config.processing = processing;
                self.audio.order(Order::Processing(processing));
                for slot in [&self.input, &self.output] {
                    slot.order(SlotOrder::Stereo(processing.original_sound));
                }
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
                self.keep_ring();
            }
        }
    }

    fn handle_peer(&mut self, PeerNote { id, event }: PeerNote) {
        let (leg, generation) = (id.leg, id.generation);
        let Some(connected) = self.peers.get_mut(&id.place()).filter(|connected| connected.serial == id.serial) else {
            return;
        };
        match event {
            PeerEvent::Opened => self.emit(Event::Opened { leg, generation }),
            PeerEvent::Description { kind, sdp } => self.emit(Event::Description { leg, generation, kind, sdp }),
            PeerEvent::Candidates { candidates, done } => {
                self.emit(Event::Candidates { leg, generation, candidates, done });
            }
            PeerEvent::Described => {
                if !connected.flowed {
                    connected.deadline = Some(Instant::now() + PATIENCE);
                }
            }
            PeerEvent::Connected(outgoing) => {
                let abilities = outgoing.abilities();
                connected.outgoing = Some(outgoing);
                connected.deaf_at = Some(Instant::now() + PATIENCE_CONNECTED);
                self.keep_outgoing();
                self.audio.order(Order::Road(id, abilities));
            }
            PeerEvent::TextOpen => {
                connected.text_open = true;
                if self.carrier(leg) == Some(generation) {
                    self.emit(Event::TextOpen { leg });
                }
            }
            PeerEvent::Text(text) => self.emit(Event::Text { leg, text }),
            PeerEvent::Reported(report) => {
                connected.report = Some(report);
                if connected.flowed {
                    self.supersede_older(id.place());
                }
            }
            PeerEvent::Path(path) => {
                if connected.path.replace(path) != Some(path) {
                    self.emit(Event::Path { leg, generation, path });
                }
            }
            PeerEvent::Failed(why) => self.fail(id.place(), why),
        }
    }

    fn handle_note(&mut self, note: Note) {
        match note {
            Note::Flowing(id) => {
                if self.stands(id) {
                    self.flowing(id.place());
                }
            }
            Note::Stalled(id) => {
                let superseded = |connected: &Connected| connected.superseded.is_some();
                if self.stands(id) && !self.peers.get(&id.place()).is_some_and(superseded) {
                    self.emit(Event::Stalled { leg: id.leg, generation: id.generation });
                }
            }
            Note::SpeakingMuted => self.emit(Event::SpeakingMuted),
            Note::Second { id, heard, road, ours } => {
                if self.stands(id) {
                    self.say_stats(id.place(), &SecondOf { heard, road: road.unwrap_or_default(), ours });
                }
            }
            Note::Speaking { id, speaking } => self.speaking(id, speaking),
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
        self.peers.get(&id.place()).is_some_and(|connected| connected.serial == id.serial)
    }

    fn handle_due(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let old: Vec<Place> = self.peers.iter().filter(|(_, c)| due(c.superseded)).map(|(place, _)| *place).collect();
        old.into_iter().for_each(|place| self.forget(place));
        let late: Vec<Place> = self.peers.iter().filter(|(_, c)| due(c.deadline)).map(|(place, _)| *place).collect();
        for place in late {
            self.fail(place, "no sound came in time".into());
        }
        let deaf: Vec<Place> = self
            .peers
            .iter_mut()
            .filter_map(|(place, c)| c.deaf_at.take_if(|at| *at <= now).filter(|_| c.is_deaf()).map(|_| *place))
            .collect();
        for place in deaf {
            self.fail(place, "no packet came in time".into());
        }
    }

    fn open(&mut self, leg: Leg, generation: Generation, route: Route) {
        if self.peers.contains_key(&(leg, generation)) {
            return self.emit(Event::Opened { leg, generation });
        }
        let newest = self.of_leg(leg).next_back().map(|((_, newest), _)| *newest);
        if newest.is_some_and(|newest| newest > generation) {
            return tracing::debug!(?leg, generation, "not opened, a newer connection stands");
        }
        if newest.is_none() && self.legs().count() >= MOST_LEGS {
            let why = format!("there are {MOST_LEGS} far sides already");
            return self.emit(Event::Failed { leg, generation, why });
        }
        let unproven: Vec<Place> = self.of_leg(leg).filter(|(_, c)| !c.flowed).map(|(place, _)| *place).collect();
        if unproven.len() >= MOST_UNPROVEN {
            self.forget(unproven[0]);
        }
        self.wants.call = true;
        self.keep_devices();
        self.opened += 1;
        let id = ConnectionId { leg, generation, serial: self.opened };
        self.audio.order(Order::Receive(id));
        let settings = PeerSettings {
            ice_servers: self.config.ice_servers.clone(),
            bind: self.config.bind,
            route,
            identity: self.identity.clone(),
            plain: false,
        };
        let peer = Peer::start(id, settings, self.audio.clone(), self.peer_notes.clone());
        self.peers.insert(id.place(), Connected::new(id.serial, peer));
        tracing::info!(leg = leg.0, generation, "connection opened");
    }

    fn order(&mut self, place: Place, order: PeerOrder) {
        let Some(connected) = self.peers.get(&place) else {
            tracing::debug!(?place, "no such connection, command ignored");
            return;
        };
        if !connected.peer.order(order) {
            self.fail(place, "too much was asked of the connection at once".into());
        }
    }

    fn send_text(&mut self, leg: Leg, text: String) {
        let carrier = self.carrier(leg).and_then(|generation| self.peers.get(&(leg, generation)));
        // An empty one closes the channel of a far side that uses the same library.
        let fits = (1..=LONGEST_TEXT).contains(&text.len());
        if !carrier.is_some_and(|connected| fits && connected.peer.order(PeerOrder::Text(text))) {
            tracing::debug!(?leg, fits, "text dropped");
        }
    }

    /// The connection that carries text: the newest that flows, if text is open on it.
    fn carrier(&self, leg: Leg) -> Option<Generation> {
        let (place, connected) = self.of_leg(leg).rfind(|(_, connected)| connected.flowed)?;
        connected.text_open.then_some(place.1)
    }

    fn flowing(&mut self, place: Place) {
        let (leg, generation) = place;
        let before = self.carrier(leg);
        let Some(connected) = self.peers.get_mut(&place) else { return };
        connected.flowed = true;
        connected.deadline = None;
        self.supersede_older(place);
        if self.peers.get(&place).is_some_and(|connected| connected.superseded.is_none()) {
            tracing::info!(leg = leg.0, generation, "sound flows");
            self.emit(Event::Flowing { leg, generation });
        }
        let carrier = self.carrier(leg);
        if carrier.is_some() && carrier != before {
            self.emit(Event::TextOpen { leg });
        }
    }

    /// The connections before this one, which flows, are closed soon.
    fn supersede_older(&mut self, place: Place) {
        let proven = self.peers.get(&place).is_some_and(|connected| connected.report.is_some());
        let until = Instant::now() + if proven { OVERLAP } else { LONGEST_OVERLAP };
        for (_, older) in self.peers.range_mut((place.0, Generation::MIN)..place) {
            older.superseded = Some(older.superseded.map_or(until, |already| already.min(until)));
            older.deadline = None;
        }
    }

    fn speaking(&mut self, id: Option<ConnectionId>, speaking: bool) {
        let leg = id.map(|id| id.leg);
        // Whoever left was said to have ended when that happened; what was on its way says nothing any more.
        let changed = if speaking {
            let stands = id.map_or(self.peers.values().any(Connected::sends), |id| self.stands(id));
            stands && self.speaking.insert(leg)
        } else {
            self.speaking.remove(&leg)
        };
        if changed {
            self.emit(Event::Speaking { leg, speaking });
        }
    }

    fn fail(&mut self, place: Place, why: String) {
        let Some(connected) = self.peers.get(&place) else { return };
        let superseded = connected.superseded.is_some();
        self.forget(place);
        if !superseded {
            let (leg, generation) = place;
            // What it was to replace is kept after all.
            if self.of_leg(leg).all(|(_, older)| older.superseded.is_some()) {
                for (_, older) in self.peers.range_mut((leg, Generation::MIN)..place) {
                    older.superseded = None;
                }
            }
            tracing::info!(leg = leg.0, generation, why, "connection failed");
            self.emit(Event::Failed { leg, generation, why });
        }
    }

    fn forget(&mut self, place: Place) {
        let Some(connected) = self.peers.remove(&place) else { return };
        let (leg, generation) = place;
        self.audio.order(Order::Forget(ConnectionId { leg, generation, serial: connected.serial }));
        self.closing.spawn(connected.peer.close());
        self.keep_outgoing();
        if self.of_leg(leg).next().is_none() {
            self.speaking(Some(ConnectionId { leg, generation, serial: connected.serial }), false);
        }
        if !self.peers.values().any(Connected::sends) {
            self.speaking(None, false);
        }
    }

    fn drop_leg(&mut self, leg: Leg) {
        let places: Vec<Place> = self.of_leg(leg).map(|(place, _)| *place).collect();
        places.into_iter().for_each(|place| self.forget(place));
        self.emit(Event::Dropped { leg });
    }

    fn close(&mut self) {
        let all: Vec<Place> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|place| self.forget(place));
        // Another call shall not be recognised as the same person's by its certificate.
        self.identity = Identity::default();
        self.wants.call = false;
        self.wants.warm = false;
        self.keep_devices();
        self.emit(Event::Closed);
    }

    fn of_leg(&self, leg: Leg) -> impl DoubleEndedIterator<Item = (&Place, &Connected)> {
        self.peers.range((leg, Generation::MIN)..=(leg, Generation::MAX))
    }

    fn legs(&self) -> impl Iterator<Item = Leg> {
        let mut last = None;
        self.peers.keys().map(|(leg, _)| *leg).filter(move |leg| last.replace(*leg) != Some(*leg))
    }

    fn keep_outgoing(&mut self) {
        let standing = self.peers.iter().filter_map(|(place, connected)| {
            let (leg, generation) = *place;
            Some((ConnectionId { leg, generation, serial: connected.serial }, connected.outgoing.clone()?))
        });
        self.outgoing.send_replace(standing.collect());
    }

    fn handle_device(&mut self, role: Role, event: DeviceEvent) {
        if role != Role::Ring {
            return self.emit(Event::Device(event));
        }
        // Where it rings is nothing to be told of, unless it has to ring elsewhere.
        let missing = matches!(event, DeviceEvent::OutputMissing { .. });
        if self.ring_missing != missing {
            self.ring_missing = missing;
            self.keep_tone();
        }
    }

    /// Whether it rings now, on a speaker of its own if that is there.
    fn rings_apart(&self) -> bool {
        self.wants.tone == Some(Tone::Ring) && self.config.ring.is_some()
    }

    fn keep_ring(&mut self) {
        let ring = self.rings_apart();
        if self.told.2 != ring {
            self.ring_missing = false;
            self.ring.order(SlotOrder::Want(self.config.ring.clone().filter(|_| ring)));
            self.told.2 = ring;
        }
        self.keep_tone();
    }

    /// Who plays the tone that is wanted.
    fn keep_tone(&mut self) {
        let apart = self.rings_apart() && !self.ring_missing;
        self.audio.order(Order::Ring(apart));
        self.audio.order(Order::Tone(self.wants.tone.filter(|_| !apart)));
        self.keep_devices();
    }

    /// What is heard in a call is not played to the room unasked, unless nobody in the room is heard either.
    fn keep_private(&mut self) {
        let call = self.wants.warm || self.wants.call;
        self.output.order(SlotOrder::Private(call && !self.muted));
    }

    fn keep_devices(&mut self) {
        self.keep_private();
        let apart = self.rings_apart() && !self.ring_missing;
        let (input, output) = (self.wants.microphone(), self.wants.speaker(apart));
        if self.told.0 != input {
            self.input.order(SlotOrder::Want(input.then(|| self.config.input.clone())));
        }
        if self.told.1 != output {
            self.output.order(SlotOrder::Want(output.then(|| self.config.output.clone())));
        }
        (self.told.0, self.told.1) = (input, output);
    }

    fn say_stats(&mut self, place: Place, second: &SecondOf) {
        let (leg, generation) = place;
        let newest = self.of_leg(leg).rfind(|(_, connected)| connected.sends()).map(|(place, _)| *place);
        let Some(connected) = self.peers.get_mut(&place) else { return };
        connected.count(second);
        if newest == Some(place) {
            let stats = Box::new(connected.stats(generation, second));
            let _ = self.events.try_send(Event::Stats { leg, stats });
        }
    }

    fn emit(&mut self, event: Event) {
        self.outbox.push_back(event);
    }
}
