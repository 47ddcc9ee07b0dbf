//! This device's sound: the media engine, made when it is first needed, and what is known of its devices.
//!
//! It translates between the endpoint's words and the engine's. What an engine makes is checked here before it may
//! travel: a description that fails the check is a connection that fails, a candidate that fails it is left out.

use crate::DeviceState;
use bellwire_call::{MediaCommand, MediaEvent};
use bellwire_media as media;
use bellwire_media::{DeviceEvent, Engine, Tone};
use bellwire_signaling::{Candidate, CandidateLine, DescriptionKind, Sdp, limits};
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// What the loop has to know of what the engine said.
pub(crate) enum Heard {
    Media(MediaEvent),
    Level { input: f32, output: f32 },
    Stats(Box<media::Stats>),
    Device(DeviceEvent),
}

pub(crate) struct Sound {
    /// As last asked for: an engine that is made later starts with it.
    config: media::Config,
    engine: Option<(Engine, mpsc::Receiver<media::Event>)>,
    /// Whether each kind of need for the devices is there.
    calling: bool,
    checking: bool,
    tone: Option<Tone>,
    muted: bool,
    generation: Option<media::Generation>,
    /// Closings that the engine has not answered: until then it may still tell of connections that are gone.
    closings: u32,
    /// Candidates that were handed out for `generation`.
    candidates: usize,
    heard: VecDeque<Heard>,
    pub input: DeviceState,
    pub output: DeviceState,
}

impl Sound {
    pub(crate) fn new(config: media::Config) -> Self {
        Self {
            config,
            engine: None,
            calling: false,
            checking: false,
            tone: None,
            muted: false,
            generation: None,
            closings: 0,
            candidates: 0,
            heard: VecDeque::new(),
            input: DeviceState::Closed,
            output: DeviceState::Closed,
        }
    }

    pub(crate) fn config(&self) -> &media::Config {
        &self.config
    }

    pub(crate) fn is_checking(&self) -> bool {
        self.checking
    }

    /// What the endpoint wants done.
    pub(crate) fn command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Warm => {
                self.calling = true;
                self.tell(media::Command::Warm);
            }
            MediaCommand::Open { generation } => {
                self.calling = true;
                self.generation = Some(generation);
                self.candidates = 0;
                self.tell(media::Command::Open { leg: media::Leg::CALL, generation });
            }
            MediaCommand::Offer { generation } => {
                self.tell(media::Command::Offer { leg: media::Leg::CALL, generation })
            }
            MediaCommand::SetRemote { generation, kind, sdp } => {
                let (kind, sdp) = (kind_for_media(kind), String::from(sdp));
                self.tell(media::Command::SetRemote { leg: media::Leg::CALL, generation, kind, sdp });
            }
            MediaCommand::AddCandidates { generation, candidates } => {
                let candidates = candidates.into_iter().map(candidate_for_media).collect();
                self.tell(media::Command::AddCandidates { leg: media::Leg::CALL, generation, candidates });
            }
            MediaCommand::Mute(muted) => {
                self.muted = muted;
                self.tell_if_made(media::Command::Mute(muted));
            }
            MediaCommand::Close => {
                self.calling = false;
                self.generation = None;
                self.tone(None);
                self.heard.retain(|heard| !matches!(heard, Heard::Media(_)));
                self.closings += u32::from(self.engine.is_some());
                self.tell_if_made(media::Command::Close);
                self.note_closed();
            }
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
        if !self.calling && !self.checking {
            self.input = DeviceState::Closed;
            self.output = DeviceState::Closed;
        }
    }

    /// The engine ended by itself, which it should not: the next need makes a new one.
    fn engine_is_gone(&mut self) {
        tracing::error!("the media engine has ended");
        self.engine = None;
        self.closings = 0;
        self.checking = false;
        self.tone = None;
        if let Some(generation) = self.generation.take() {
            self.heard.push_back(Heard::Media(MediaEvent::Failed { generation }));
        }
    }

    fn translate(&mut self, event: media::Event) {
        let heard = match event {
            media::Event::Closed => {
                self.closings = self.closings.saturating_sub(1);
                return;
            }
            media::Event::Opened { .. }
            | media::Event::Description { .. }
            | media::Event::Candidates { .. }
            | media::Event::Flowing { .. }
            | media::Event::Stalled { .. }
            | media::Event::Failed { .. }
            | media::Event::Stats { .. }
                if self.closings > 0 =>
            {
                return;
            }
            media::Event::Opened { generation, .. } => Heard::Media(MediaEvent::Opened { generation }),
            media::Event::Description { generation, kind, sdp, .. } => match Sdp::new(sdp) {
                Ok(sdp) => {
                    let kind = kind_from_media(kind);
                    Heard::Media(MediaEvent::Description { generation, kind, sdp })
                }
                Err(fault) => {
                    tracing::debug!(generation, %fault, "our description is not fit to be sent");
                    Heard::Media(MediaEvent::Failed { generation })
                }
            },
            media::Event::Candidates { generation, candidates, done, .. } => {
                return self.take_candidates(generation, candidates, done);
            }
            media::Event::Flowing { generation, .. } => Heard::Media(MediaEvent::Flowing { generation }),
            media::Event::Stalled { generation, .. } => Heard::Media(MediaEvent::Stalled { generation }),
            media::Event::Failed { generation, why, .. } => {
                tracing::info!(generation, why, "connection failed");
                Heard::Media(MediaEvent::Failed { generation })
            }
            media::Event::Stats { stats, .. } => Heard::Stats(stats),
            // A booked call has one leg, which is never dropped alone; who speaks and text are not shown yet.
            media::Event::TextOpen { .. }
            | media::Event::Text { .. }
            | media::Event::Dropped { .. }
            | media::Event::Speaking { .. } => return,
            media::Event::Level { input, output } => Heard::Level { input, output },
            media::Event::Device(event) => {
                self.note_device(&event);
                Heard::Device(event)
            }
        };
        self.heard.push_back(heard);
    }

    fn take_candidates(&mut self, generation: media::Generation, candidates: Vec<media::Candidate>, done: bool) {
        let room = limits::CANDIDATES_A_GENERATION.saturating_sub(self.candidates);
        let fit: Vec<Candidate> = candidates.into_iter().filter_map(candidate_from_media).take(room).collect();
        self.candidates += fit.len();
        let mut batches: Vec<_> = fit.chunks(limits::CANDIDATES_A_MESSAGE).map(<[Candidate]>::to_vec).collect();
        if batches.is_empty() && done {
            batches.push(Vec::new());
        }
        let last = batches.len().saturating_sub(1);
        for (n, candidates) in batches.into_iter().enumerate() {
            let done = done && n == last;
            self.heard.push_back(Heard::Media(MediaEvent::Candidates { generation, candidates, done }));
        }
    }

    fn note_device(&mut self, event: &DeviceEvent) {
        if !self.calling && !self.checking {
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
