//! This device's sound: the media engine, made when it is first needed, and what is known of its devices.
//!
//! It translates between the words of endpoint and meeting and the engine's, which serves both: a call may ring while its
//! person is in a room. What an engine makes is checked here before it may
//! travel: a description that fails the check is a connection that fails, a candidate that fails it is left out.

use crate::DeviceState;
use crate::probe::stun_server;
use bellwire_call::meeting::SoundCommand;
use bellwire_call::{MediaCommand, MediaEvent, Route};
use bellwire_media as media;
use bellwire_media::{DeviceEvent, Engine, Leg, Tone};
use bellwire_signaling::{Candidate, CandidateLine, DescriptionKind, IceServer, Sdp, limits};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::mpsc;

/// What the loop has to know of what the engine said.
pub(crate) enum Heard {
    /// Of the other party of the call.
    Call(MediaEvent),
    /// Of a member of the room.
    Member {
        leg: u32,
        event: MediaEvent,
    },
    TextOpen {
        leg: u32,
    },
    Text {
        leg: u32,
        text: String,
    },
    /// `None`: this person.
    Speaking {
        leg: Option<u32>,
        speaking: bool,
    },
    /// This person, into the muted microphone.
    SpeakingMuted,
    Level {
        input: f32,
        output: f32,
    },
    Stats {
        leg: u32,
        stats: Box<media::Stats>,
    },
    Device(DeviceEvent),
}

impl Heard {
    /// The far side that this is of.
    fn leg(&self) -> Option<u32> {
        match self {
            Self::Call(_) => Some(Leg::CALL.0),
            Self::Member { leg, .. } | Self::TextOpen { leg } | Self::Text { leg, .. } | Self::Stats { leg, .. } => {
                Some(*leg)
            }
            Self::Speaking { leg, .. } => *leg,
            Self::SpeakingMuted | Self::Level { .. } | Self::Device(_) => None,
        }
    }
}

pub(crate) struct Sound {
    /// As last asked for: an engine that is made later starts with it.
    config: media::Config,
    /// The STUN and TURN servers that this device was set up with.
    own_servers: Vec<media::IceServer>,
    engine: Option<(Engine, mpsc::Receiver<media::Event>)>,
    /// Whether each kind of need for the devices is there.
    calling: bool,
    meeting: bool,
    checking: bool,
    tone: Option<Tone>,
    /// A room's word counts while there is one, else the call's.
    call_muted: bool,
    room_muted: bool,
    /// What the engine was told last.
    muted: bool,
    /// The newest connection of each far side.
    legs: BTreeMap<u32, Newest>,
    /// Closings that the engine has not answered: until then it may still tell of connections that are gone.
    closings: u32,
    /// The same of endings of the call beside a room that goes on.
    call_drops: u32,
    heard: VecDeque<Heard>,
    pub input: DeviceState,
    pub output: DeviceState,
}

#[derive(Default)]
struct Newest {
    generation: media::Generation,
    /// Candidates that were handed out for it.
    candidates: usize,
    /// The ways of the last connections, and which of them carries the sound.
    paths: VecDeque<(media::Generation, media::PathInfo)>,
    flows: Option<media::Generation>,
}

/// Ways of so many connections are remembered: the newest may not carry the sound yet.
const PATHS: usize = 4;

impl Sound {
    pub(crate) fn new(config: media::Config) -> Self {
        Self {
            own_servers: config.ice_servers.clone(),
            config,
            engine: None,
            calling: false,
            meeting: false,
            checking: false,
            tone: None,
            call_muted: false,
            room_muted: false,
            muted: false,
            legs: BTreeMap::new(),
            closings: 0,
            call_drops: 0,
            heard: VecDeque::new(),
            input: DeviceState::Closed,
            output: DeviceState::Closed,
        }
    }

    pub(crate) fn config(&self) -> &media::Config {
        &self.config
    }

    /// The way that a far side's sound goes.
    pub(crate) fn path(&self, leg: u32) -> Option<media::PathInfo> {
        let newest = self.legs.get(&leg)?;
        let flows = newest.flows?;
        newest.paths.iter().find(|(generation, _)| *generation == flows).map(|(_, path)| *path)
    }

    /// `host:port` of a server that answers STUN requests, where one is known.
    pub(crate) fn stun_server(&self) -> Option<String> {
        self.config.ice_servers.iter().flat_map(|server| &server.urls).find_map(|url| stun_server(url))
    }

    pub(crate) fn is_checking(&self) -> bool {
        self.checking
    }

    /// What the endpoint wants done.
    pub(crate) fn call(&mut self, command: MediaCommand) {
        let leg = Leg::CALL;
        match command {
            MediaCommand::Warm => {
                self.calling = true;
                self.tell(media::Command::Warm);
            }
            MediaCommand::IceServers(servers) => self.set_granted(servers),
            MediaCommand::Open { generation, route } => {
                self.calling = true;
                self.open(leg, generation, route);
            }
            MediaCommand::Offer { generation } => self.tell(media::Command::Offer { leg, generation }),
            MediaCommand::SetRemote { generation, kind, sdp } => self.describe(leg, generation, kind, sdp),
            MediaCommand::AddCandidates { generation, candidates } => self.add(leg, generation, candidates),
            MediaCommand::Mute(muted) => {
                self.call_muted = muted;
                self.tell_muted();
            }
            MediaCommand::Close => {
                self.calling = false;
                self.tone(None);
                if self.meeting {
                    self.call_drops += u32::from(self.engine.is_some());
                    self.drop_leg(leg);
                } else {
                    self.close();
                }
            }
        }
    }

    /// What the meeting wants done.
    pub(crate) fn room(&mut self, command: SoundCommand) {
        match command {
            SoundCommand::Warm => {
                self.meeting = true;
                self.tell_muted();
                self.tell(media::Command::Warm);
            }
            SoundCommand::IceServers(servers) => self.set_granted(servers),
            SoundCommand::Open { leg, generation, route } => self.open(Leg(leg), generation, route),
            SoundCommand::Offer { leg, generation } => self.tell(media::Command::Offer { leg: Leg(leg), generation }),
            SoundCommand::SetRemote { leg, generation, kind, sdp } => self.describe(Leg(leg), generation, kind, sdp),
            SoundCommand::AddCandidates { leg, generation, candidates } => self.add(Leg(leg), generation, candidates),
            SoundCommand::Drop { leg } => self.drop_leg(Leg(leg)),
            SoundCommand::Mute(muted) => {
                self.room_muted = muted;
                self.tell_muted();
            }
            SoundCommand::Close => {
                self.meeting = false;
                self.tell_muted();
                if self.calling {
                    let members: Vec<u32> = self.legs.keys().copied().filter(|leg| *leg != Leg::CALL.0).collect();
                    members.into_iter().for_each(|leg| self.drop_leg(Leg(leg)));
                } else {
                    self.close();
                }
            }
        }
    }

    pub(crate) fn send_text(&mut self, leg: u32, text: String) {
        self.tell_if_made(media::Command::SendText { leg: Leg(leg), text });
    }

    /// What the server granted is used beside the servers that this device was set up with.
    fn set_granted(&mut self, granted: Vec<IceServer>) {
        let own = self.own_servers.iter().cloned();
        let servers: Vec<_> = own.chain(granted.into_iter().map(server_for_media)).collect();
        if self.config.ice_servers != servers {
            self.config.ice_servers = servers.clone();
            self.tell_if_made(media::Command::SetIceServers(servers));
        }
    }

    fn open(&mut self, leg: Leg, generation: media::Generation, route: Route) {
        let newest = self.legs.entry(leg.0).or_default();
        (newest.generation, newest.candidates) = (generation, 0);
        self.tell(media::Command::Open { leg, generation, route: route_for_media(route) });
    }

    fn describe(&mut self, leg: Leg, generation: media::Generation, kind: DescriptionKind, sdp: Sdp) {
        let (kind, sdp) = (kind_for_media(kind), String::from(sdp));
        self.tell(media::Command::SetRemote { leg, generation, kind, sdp });
    }

    fn add(&mut self, leg: Leg, generation: media::Generation, candidates: Vec<Candidate>) {
        let candidates = candidates.into_iter().map(candidate_for_media).collect();
        self.tell(media::Command::AddCandidates { leg, generation, candidates });
    }

    fn drop_leg(&mut self, leg: Leg) {
        self.legs.remove(&leg.0);
        self.heard.retain(|heard| heard.leg() != Some(leg.0));
        self.tell_if_made(media::Command::Drop { leg });
    }

    /// The last that needed connections needs none.
    fn close(&mut self) {
        self.legs.clear();
        self.heard.retain(|heard| matches!(heard, Heard::Level { .. } | Heard::Device(_)));
        self.closings += u32::from(self.engine.is_some());
        self.tell_if_made(media::Command::Close);
        self.note_closed();
    }

    fn tell_muted(&mut self) {
        let muted = if self.meeting { self.room_muted } else { self.call_muted };
        if std::mem::replace(&mut self.muted, muted) != muted {
            self.tell_if_made(media::Command::Mute(muted));
        }
    }

    pub(crate) fn set_input(&mut self, choice: media::DeviceChoice) {
        self.config.input = choice.clone();
        self.tell_if_made(media::Command::SetInput(choice));
    }

    pub(crate) fn set_output(&mut self, choice: media::DeviceChoice) {
        self.config.output = choice.clone();
        self.tell_if_made(media::Command::SetOutput(choice));
    }

    pub(crate) fn set_ring(&mut self, choice: Option<media::DeviceChoice>) {
        self.config.ring = choice.clone();
        self.tell_if_made(media::Command::SetRing(choice));
    }

    pub(crate) fn use_held_output(&mut self) {
        self.tell_if_made(media::Command::UseHeldOutput);
    }

    pub(crate) fn set_processing(&mut self, processing: media::Processing) {
        self.config.processing = processing;
        self.tell_if_made(media::Command::SetProcessing(processing));
    }

    pub(crate) fn check(&mut self, checking: bool) {
        if checking == self.checking {
            return;
        }
        self.checking = checking;
        self.tell(media::Command::Check(checking));
        self.note_closed();
    }

    pub(crate) fn test_sound(&mut self) {
        self.tell(media::Command::TestSound);
    }

    /// Plays this tone from now on, or none; asking for the tone that plays changes nothing.
    pub(crate) fn tone(&mut self, tone: Option<Tone>) {
        if self.tone != tone {
            self.tone = tone;
            match tone {
                Some(_) => self.tell(media::Command::Tone(tone)),
                None => self.tell_if_made(media::Command::Tone(tone)),
            }
        }
    }

    /// What the engine says next. Safe to cancel; pending for ever while there is no engine.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let Some((_, events)) = &mut self.engine else {
                return std::future::pending().await;
            };
            match events.recv().await {
                Some(event) => self.translate(event),
                None => self.engine_is_gone(),
            }
        }
    }

    pub(crate) async fn shutdown(self) {
        if let Some((engine, _)) = self.engine {
            engine.shutdown().await;
        }
    }

    fn tell(&mut self, command: media::Command) {
        if self.engine.is_none() {
            let (engine, events) = Engine::start(self.config.clone());
            if self.muted {
                engine.command(media::Command::Mute(true));
            }
            self.engine = Some((engine, events));
        }
        self.tell_if_made(command);
    }

    fn tell_if_made(&mut self, command: media::Command) {
        if let Some((engine, _)) = &self.engine {
            engine.command(command);
        }
    }

    fn note_closed(&mut self) {
        if !self.calling && !self.meeting && !self.checking {
            self.input = DeviceState::Closed;
            self.output = DeviceState::Closed;
        }
    }

    /// The engine ended by itself, which it should not: the next need makes a new one.
    fn engine_is_gone(&mut self) {
        tracing::error!("the media engine has ended");
        self.engine = None;
        (self.closings, self.call_drops) = (0, 0);
        self.checking = false;
        self.tone = None;
        for (leg, newest) in std::mem::take(&mut self.legs) {
            self.say(Leg(leg), MediaEvent::Failed { generation: newest.generation });
        }
    }

    fn translate(&mut self, event: media::Event) {
        if self.is_of_the_past(&event) {
            return;
        }
        match event {
            media::Event::Closed => self.closings = self.closings.saturating_sub(1),
            media::Event::Dropped { leg } if leg == Leg::CALL => self.call_drops = self.call_drops.saturating_sub(1),
            media::Event::Dropped { .. } => {}
            media::Event::Opened { leg, generation } => self.say(leg, MediaEvent::Opened { generation }),
            media::Event::Description { leg, generation, kind, sdp } => match Sdp::new(sdp) {
                Ok(sdp) => {
                    let kind = kind_from_media(kind);
                    self.say(leg, MediaEvent::Description { generation, kind, sdp });
                }
                Err(fault) => {
                    tracing::debug!(generation, %fault, "our description is not fit to be sent");
                    self.say(leg, MediaEvent::Failed { generation });
                }
            },
            media::Event::Candidates { leg, generation, candidates, done } => {
                self.take_candidates(leg, generation, candidates, done);
            }
            media::Event::Path { leg, generation, path } => {
                let relayed = path.is_relayed();
                tracing::debug!(leg = leg.0, generation, relayed, "path");
                self.note_path(leg, generation, path);
                self.say(leg, MediaEvent::Path { generation, relayed });
            }
            media::Event::Flowing { leg, generation } => {
                if let Some(newest) = self.legs.get_mut(&leg.0) {
                    newest.flows = Some(generation);
                }
                self.say(leg, MediaEvent::Flowing { generation });
            }
            media::Event::Stalled { leg, generation } => self.say(leg, MediaEvent::Stalled { generation }),
            media::Event::Failed { leg, generation, why } => {
                tracing::info!(leg = leg.0, generation, why, "connection failed");
                self.say(leg, MediaEvent::Failed { generation });
            }
            media::Event::TextOpen { leg } => self.heard.push_back(Heard::TextOpen { leg: leg.0 }),
            media::Event::Text { leg, text } => self.heard.push_back(Heard::Text { leg: leg.0, text }),
            media::Event::Speaking { leg, speaking } => {
                self.heard.push_back(Heard::Speaking { leg: leg.map(|leg| leg.0), speaking });
            }
            media::Event::Stats { leg, stats } => self.heard.push_back(Heard::Stats { leg: leg.0, stats }),
            media::Event::SpeakingMuted if self.muted => self.heard.push_back(Heard::SpeakingMuted),
            // On its way from before the microphone was on again.
            media::Event::SpeakingMuted => {}
            media::Event::Level { input, output } => self.heard.push_back(Heard::Level { input, output }),
            media::Event::Device(event) => {
                self.note_device(&event);
                self.heard.push_back(Heard::Device(event));
            }
        }
    }

    /// Whether the event is of a connection that was ended meanwhile, whose numbers may be in use again.
    fn is_of_the_past(&self, event: &media::Event) -> bool {
        match event {
            media::Event::Opened { leg, .. }
            | media::Event::Description { leg, .. }
            | media::Event::Candidates { leg, .. }
            | media::Event::Path { leg, .. }
            | media::Event::Flowing { leg, .. }
            | media::Event::Stalled { leg, .. }
            | media::Event::Failed { leg, .. }
            | media::Event::TextOpen { leg }
            | media::Event::Text { leg, .. }
            | media::Event::Stats { leg, .. } => {
                self.closings > 0 || !self.legs.contains_key(&leg.0) || self.is_dropped(*leg)
            }
            media::Event::Speaking { leg: Some(leg), .. } => self.closings > 0 || self.is_dropped(*leg),
            media::Event::Speaking { leg: None, .. } => self.closings > 0,
            media::Event::Closed
            | media::Event::Dropped { .. }
            | media::Event::SpeakingMuted
            | media::Event::Level { .. }
            | media::Event::Device(_) => false,
        }
    }

    fn is_dropped(&self, leg: Leg) -> bool {
        leg == Leg::CALL && self.call_drops > 0
    }

    fn say(&mut self, leg: Leg, event: MediaEvent) {
        self.heard.push_back(if leg == Leg::CALL { Heard::Call(event) } else { Heard::Member { leg: leg.0, event } });
    }

    fn take_candidates(
        &mut self,
        leg: Leg,
        generation: media::Generation,
        candidates: Vec<media::Candidate>,
        done: bool,
    ) {
        let Some(newest) = self.legs.get_mut(&leg.0).filter(|newest| newest.generation == generation) else { return };
        let room = limits::CANDIDATES_A_GENERATION.saturating_sub(newest.candidates);
        let fit: Vec<Candidate> = candidates.into_iter().filter_map(candidate_from_media).take(room).collect();
        newest.candidates += fit.len();
        let mut batches: Vec<_> = fit.chunks(limits::CANDIDATES_A_MESSAGE).map(<[Candidate]>::to_vec).collect();
        if batches.is_empty() && done {
            batches.push(Vec::new());
        }
        let last = batches.len().saturating_sub(1);
        for (n, candidates) in batches.into_iter().enumerate() {
            let done = done && n == last;
            self.say(leg, MediaEvent::Candidates { generation, candidates, done });
        }
    }

    fn note_path(&mut self, leg: Leg, generation: media::Generation, path: media::PathInfo) {
        let Some(newest) = self.legs.get_mut(&leg.0) else { return };
        newest.paths.retain(|(known, _)| *known != generation);
        newest.paths.push_back((generation, path));
        if newest.paths.len() > PATHS {
            newest.paths.pop_front();
        }
    }

    fn note_device(&mut self, event: &DeviceEvent) {
        if !self.calling && !self.meeting && !self.checking {
            // For a sound to test with, or on its way from before the devices were closed.
            return;
        }
        match event {
            DeviceEvent::InputOpened { name, fallback } => {
                self.input = DeviceState::Open { name: name.clone(), fallback: *fallback, silent: false };
            }
            DeviceEvent::OutputOpened { name, fallback } => {
                self.output = DeviceState::Open { name: name.clone(), fallback: *fallback, silent: false };
            }
            DeviceEvent::InputMissing { why } => self.input = DeviceState::Missing { why: why.clone() },
            DeviceEvent::OutputMissing { why } => self.output = DeviceState::Missing { why: why.clone() },
            DeviceEvent::OutputHeld { name } => self.output = DeviceState::Held { name: name.clone() },
            DeviceEvent::InputSilent => self.note_silent(true),
            DeviceEvent::InputHeard => self.note_silent(false),
        }
    }

    fn note_silent(&mut self, now_silent: bool) {
        if let DeviceState::Open { silent, .. } = &mut self.input {
            *silent = now_silent;
        }
    }
}

fn candidate_from_media(candidate: media::Candidate) -> Option<Candidate> {
    match CandidateLine::new(candidate.candidate) {
        Ok(line) => Some(Candidate { candidate: line, sdp_mid: candidate.mid, sdp_m_line_index: candidate.index }),
        Err(fault) => {
            tracing::debug!(%fault, "a candidate of ours is not fit to be sent");
            None
        }
    }
}

fn candidate_for_media(candidate: Candidate) -> media::Candidate {
    let line = String::from(candidate.candidate);
    media::Candidate { candidate: line, mid: candidate.sdp_mid, index: candidate.sdp_m_line_index }
}

fn server_for_media(server: IceServer) -> media::IceServer {
    media::IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.map(|secret| secret.reveal().to_owned()).unwrap_or_default(),
    }
}

fn route_for_media(route: Route) -> media::Route {
    match route {
        Route::Any => media::Route::Any,
        Route::RelayOnly => media::Route::RelayOnly,
    }
}

fn kind_from_media(kind: media::DescriptionKind) -> DescriptionKind {
    match kind {
        media::DescriptionKind::Offer => DescriptionKind::Offer,
        media::DescriptionKind::Answer => DescriptionKind::Answer,
    }
}

fn kind_for_media(kind: DescriptionKind) -> media::DescriptionKind {
    match kind {
        DescriptionKind::Offer => media::DescriptionKind::Offer,
        DescriptionKind::Answer => media::DescriptionKind::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sound: &mut Sound, event: media::Event) -> bool {
        sound.translate(event);
        sound.heard.pop_front().is_some()
    }

    #[test]
    fn a_loudspeaker_that_waits_to_be_allowed_is_shown_with_its_name_until_it_is_used() {
        let mut sound = Sound::new(media::Config::default());
        sound.calling = true;
        let held = media::Event::Device(DeviceEvent::OutputHeld { name: "Laptop".into() });
        assert!(said(&mut sound, held));
        assert_eq!(sound.output, DeviceState::Held { name: "Laptop".into() });
        let used = DeviceEvent::OutputOpened { name: "Laptop".into(), fallback: true };
        assert!(said(&mut sound, media::Event::Device(used)));
        assert!(matches!(&sound.output, DeviceState::Open { fallback: true, .. }));
    }

    #[test]
    fn speech_is_told_only_while_muted() {
        let mut sound = Sound::new(media::Config::default());
        assert!(!said(&mut sound, media::Event::SpeakingMuted));
        sound.muted = true;
        assert!(said(&mut sound, media::Event::SpeakingMuted));
    }

    #[test]
    fn an_engine_that_is_made_later_rings_where_was_asked_for() {
        let mut sound = Sound::new(media::Config::default());
        sound.set_ring(Some(media::DeviceChoice::Named("Loud".into())));
        assert_eq!(sound.config().ring, Some(media::DeviceChoice::Named("Loud".into())));
        assert!(sound.engine.is_none());
    }
}
