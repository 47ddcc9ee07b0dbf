//! The check before a call: which stage it is in, what it wants done next, and what it found.
//!
//! A [`Check`] opens the devices, goes each way through the network to the server's echo peer, lets the person say a
//! sentence and hear it again, and ends in one [`CheckReport`]. Like the other machines it is told the time and what
//! happened, and says what is to be done; nothing is measured here. By itself ([`Kind::Automatic`]) it asks nobody to
//! speak and plays nothing.
//!
//! ```text
//! Devices -> Direct -> RelayUdp -> RelayTcp -> RelayTls -> Speak -> Listen -> Done
//! ```
//! A way for which the server named no relay is passed over; Speak and Listen go by the first way that works, and need a
//! microphone. Each stage has a deadline, so that the check ends whatever hangs.

mod measured;
#[cfg(test)]
mod tests;
mod verdict;

pub use measured::*;
pub use verdict::{CheckFault, CheckReport, Finding, Severity, Verdict, report};

use crate::Monotonic;
use bellwire_signaling::{CheckId, CheckPath, IceServer, Sdp};
use serde::Serialize;
use std::collections::VecDeque;

/// How a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person asked for it, and takes part.
    ByHand,
    /// Before a booking, by itself: nothing is played and nobody is asked to speak.
    Automatic,
}

/// What a check is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Microphone and speaker are opened, and the room is listened to.
    Devices,
    Direct,
    RelayUdp,
    RelayTcp,
    RelayTls,
    /// The person says a sentence, which goes through the network and back.
    Speak,
    /// They hear it again.
    Listen,
    Done,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum CheckInput {
    /// The answer to [`CheckOutput::Start`]; `None` where the server has no echo peer or refuses.
    Started(Option<CheckId>),
    /// The answer to [`CheckOutput::AskServers`].
    Servers(Vec<IceServer>),
    /// The echo peer's answer to the offer of this way.
    Answer {
        path: CheckPath,
        sdp: Sdp,
    },
    /// The socket to the server was lost, or is not there.
    LinkDown,
    /// The server ended the check.
    Over,
    Heard(CheckHeard),
    Timeout,
    /// The person wants no more of it, or a call came: it ends without a report.
    Stop,
}

/// What the sound engine says.
#[derive(Clone, Debug)]
pub enum CheckHeard {
    /// The devices stand, or do not, and the room was listened to.
    Devices { microphone: MicrophoneMeasured, speaker: SpeakerMeasured },
    /// Our offer for this way, with all its candidates.
    Offer { path: CheckPath, sdp: Sdp },
    /// A way was tried and measured.
    Path(PathMeasured),
    /// The sentence was said, or not; what the microphone gave.
    Spoke(MicrophoneMeasured),
    /// The sentence was played.
    Listened(Option<EchoMeasured>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckOutput {
    /// To the server.
    Start,
    AskServers {
        check: CheckId,
    },
    Offer {
        check: CheckId,
        path: CheckPath,
        sdp: Sdp,
    },
    End {
        check: CheckId,
    },
    /// To the sound engine.
    Sound(CheckOrder),
    /// The end. Nothing follows.
    Report(Box<CheckReport>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum CheckOrder {
    /// Answered by [`CheckHeard::Devices`].
    OpenDevices,
    /// With these servers alone; without relays among them, by direct ways alone. Answered by [`CheckHeard::Offer`], and in
    /// the end by [`CheckHeard::Path`].
    OpenPath {
        path: CheckPath,
        servers: Vec<IceServer>,
    },
    Answer {
        path: CheckPath,
        sdp: Sdp,
    },
    ClosePath {
        path: CheckPath,
    },
    /// By this way. Answered by [`CheckHeard::Spoke`].
    Speak {
        path: CheckPath,
    },
    /// Answered by [`CheckHeard::Listened`].
    Listen,
    /// Closes everything and forgets what was recorded.
    Close,
}

/// How long each stage may take, in milliseconds.
mod term {
    pub const DEVICES: u64 = 8_000;
    /// For set-up and measuring together; the sound engine gives up a set-up after 12 s, and measures for 5.5.
    pub const PATH: u64 = 22_000;
    /// For the server's answers, once they are waited for.
    pub const SERVER: u64 = 6_000;
    pub const SPEAK: u64 = 20_000;
    pub const LISTEN: u64 = 12_000;
}

/// How long each stage takes where all goes well, for showing progress.
fn usual_ms(stage: Stage) -> u64 {
    match stage {
        Stage::Devices => 2_500,
        Stage::Direct => 6_500,
        Stage::RelayUdp | Stage::RelayTcp | Stage::RelayTls => 4_500,
        Stage::Speak => 6_000,
        Stage::Listen => 5_500,
        Stage::Done => 0,
    }
}

/// One check. See the module's text.
#[derive(Debug)]
pub struct Check {
    kind: Kind,
    stage: Stage,
    since: Monotonic,
    deadline: Monotonic,
    /// What the server said of the check: `None` until it did.
    server: Server,
    measured: CheckMeasured,
    /// The way that stays open for the sentence.
    kept: Option<CheckPath>,
    outputs: VecDeque<CheckOutput>,
}

#[derive(Debug)]
enum Server {
    Asked,
    Started { check: CheckId },
    Ready { check: CheckId, servers: Vec<IceServer> },
    Gone,
}

impl Check {
    pub fn new(kind: Kind, now: Monotonic) -> Self {
        Self {
            kind,
            stage: Stage::Devices,
            since: now,
            deadline: after(now, term::DEVICES),
            server: Server::Asked,
            measured: CheckMeasured::default(),
            kept: None,
            outputs: [CheckOutput::Start, CheckOutput::Sound(CheckOrder::OpenDevices)].into(),
        }
    }

    pub fn handle(&mut self, input: CheckInput, now: Monotonic) {
        if self.stage == Stage::Done {
            return;
        }
        match input {
            CheckInput::Started(check) => self.handle_started(check, now),
            CheckInput::Servers(servers) => self.handle_servers(servers, now),
            CheckInput::Answer { path, sdp } => {
                if self.path() == Some(path) {
                    self.order(CheckOrder::Answer { path, sdp });
                }
            }
            CheckInput::LinkDown | CheckInput::Over => self.handle_gone(&input, now),
            CheckInput::Heard(heard) => self.handle_heard(heard, now),
            CheckInput::Timeout => self.handle_timeout(now),
            CheckInput::Stop => {
                self.leave();
                self.stage = Stage::Done;
            }
        }
    }

    pub fn poll_output(&mut self) -> Option<CheckOutput> {
        self.outputs.pop_front()
    }

    /// When [`CheckInput::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        (self.stage != Stage::Done).then_some(self.deadline)
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The check's name at the server.
    pub fn check(&self) -> Option<&CheckId> {
        match &self.server {
            Server::Started { check } | Server::Ready { check, .. } => Some(check),
            Server::Asked | Server::Gone => None,
        }
    }

    /// From 0 to 1: by what is usual, and never quite over while a stage goes on.
    pub fn progress(&self, now: Monotonic) -> f32 {
        let all: u64 = self.stages().map(usual_ms).sum();
        let before: u64 = self.stages().take_while(|stage| *stage < self.stage).map(usual_ms).sum();
        let usual = usual_ms(self.stage);
        let here = now.0.saturating_sub(self.since.0).min(usual * 95 / 100);
        if self.stage == Stage::Done { 1.0 } else { (before + here) as f32 / all as f32 }
    }

    fn stages(&self) -> impl Iterator<Item = Stage> + use<> {
        const ALL: [Stage; 7] = [
            Stage::Devices,
            Stage::Direct,
            Stage::RelayUdp,
            Stage::RelayTcp,
            Stage::RelayTls,
            Stage::Speak,
            Stage::Listen,
        ];
        let most = match self.kind {
            Kind::ByHand => 7,
            Kind::Automatic => 5,
        };
        ALL.into_iter().take(most)
    }

    fn handle_started(&mut self, check: Option<CheckId>, now: Monotonic) {
        match (&self.server, check) {
            (Server::Asked, Some(check)) => {
                self.outputs.push_back(CheckOutput::AskServers { check: check.clone() });
                self.server = Server::Started { check };
            }
            (Server::Asked, None) => {
                self.measured.echo_peer = Presence::Missing;
                self.server = Server::Gone;
                self.go_on_without_server(now);
            }
            // Answered too late, or twice.
            (Server::Started { .. } | Server::Ready { .. } | Server::Gone, Some(check)) => {
                if self.check() != Some(&check) {
                    self.outputs.push_back(CheckOutput::End { check });
                }
            }
            (Server::Started { .. } | Server::Ready { .. } | Server::Gone, None) => {}
        }
    }

    fn handle_servers(&mut self, servers: Vec<IceServer>, now: Monotonic) {
        if let Server::Started { check } = &self.server {
            self.measured.echo_peer = Presence::There;
            self.server = Server::Ready { check: check.clone(), servers };
            if self.stage == Stage::Direct {
                self.enter(Stage::Direct, now);
            }
        }
    }

    fn handle_gone(&mut self, input: &CheckInput, now: Monotonic) {
        if matches!(input, CheckInput::LinkDown) && matches!(self.server, Server::Asked | Server::Started { .. }) {
            self.measured.echo_peer = Presence::Unreachable;
        }
        let waited_for = !matches!(self.server, Server::Ready { .. });
        self.server = Server::Gone;
        if waited_for {
            self.go_on_without_server(now);
        }
    }

    /// Ways that are not open already cannot be opened any more.
    fn go_on_without_server(&mut self, now: Monotonic) {
        if self.path().is_some() {
            self.after_paths(now);
        }
    }

    fn handle_heard(&mut self, heard: CheckHeard, now: Monotonic) {
        match heard {
            CheckHeard::Devices { microphone, speaker } => {
                if self.stage == Stage::Devices {
                    (self.measured.microphone, self.measured.speaker) = (microphone, speaker);
                    self.enter(Stage::Direct, now);
                }
            }
            CheckHeard::Offer { path, sdp } => match &self.server {
                Server::Ready { check, .. } if self.path() == Some(path) => {
                    self.outputs.push_back(CheckOutput::Offer { check: check.clone(), path, sdp });
                }
                Server::Ready { .. } | Server::Asked | Server::Started { .. } | Server::Gone => {}
            },
            CheckHeard::Path(measured) => {
                if self.path() == Some(measured.path) {
                    self.note_path(measured, now);
                }
            }
            CheckHeard::Spoke(microphone) => {
                if self.stage == Stage::Speak {
                    self.measured.microphone = microphone.after(&self.measured.microphone);
                    self.measured.asked_to_speak = true;
                    let heard = self.measured.microphone.speech_dbfs.is_some();
                    let plays = self.measured.speaker.state == DeviceState::Opened;
                    if heard && plays { self.enter(Stage::Listen, now) } else { self.finish() }
                }
            }
            CheckHeard::Listened(echo) => {
                if self.stage == Stage::Listen {
                    self.measured.echo = echo;
                    self.finish();
                }
            }
        }
    }

    fn note_path(&mut self, measured: PathMeasured, now: Monotonic) {
        let path = measured.path;
        if measured.connected && self.kept.is_none() {
            self.kept = Some(path);
        } else {
            self.order(CheckOrder::ClosePath { path });
        }
        self.measured.paths.push(measured);
        match next_stage(self.stage) {
            Stage::Speak => self.after_paths(now),
            next => self.enter(next, now),
        }
    }

    fn handle_timeout(&mut self, now: Monotonic) {
        if now < self.deadline {
            return;
        }
        match self.stage {
            Stage::Devices => self.enter(Stage::Direct, now),
            Stage::Direct | Stage::RelayUdp | Stage::RelayTcp | Stage::RelayTls => match (&self.server, self.path()) {
                (Server::Ready { .. }, Some(path)) => self.note_path(PathMeasured::failed(path), now),
                (Server::Ready { .. } | Server::Asked | Server::Started { .. } | Server::Gone, _) => {
                    self.measured.echo_peer = Presence::Unreachable;
                    self.after_paths(now);
                }
            },
            Stage::Speak => {
                self.measured.asked_to_speak = true;
                self.finish();
            }
            Stage::Listen => self.finish(),
            Stage::Done => {}
        }
    }

    /// The way that is being tried.
    fn path(&self) -> Option<CheckPath> {
        match self.stage {
            Stage::Direct => Some(CheckPath::Direct),
            Stage::RelayUdp => Some(CheckPath::RelayUdp),
            Stage::RelayTcp => Some(CheckPath::RelayTcp),
            Stage::RelayTls => Some(CheckPath::RelayTls),
            Stage::Devices | Stage::Speak | Stage::Listen | Stage::Done => None,
        }
    }

    fn enter(&mut self, stage: Stage, now: Monotonic) {
        (self.stage, self.since) = (stage, now);
        match stage {
            Stage::Direct | Stage::RelayUdp | Stage::RelayTcp | Stage::RelayTls => self.enter_path(now),
            Stage::Speak => {
                self.deadline = after(now, term::SPEAK);
                match self.kept {
                    Some(path) => self.order(CheckOrder::Speak { path }),
                    None => self.finish(),
                }
            }
            Stage::Listen => {
                self.deadline = after(now, term::LISTEN);
                self.order(CheckOrder::Listen);
            }
            Stage::Devices | Stage::Done => {}
        }
    }

    fn enter_path(&mut self, now: Monotonic) {
        let Some(path) = self.path() else { return };
        match &self.server {
            Server::Asked | Server::Started { .. } => self.deadline = after(now, term::SERVER),
            Server::Gone => self.after_paths(now),
            Server::Ready { servers, .. } => {
                let servers = servers_for(path, servers);
                if path != CheckPath::Direct && servers.is_empty() {
                    return match next_stage(self.stage) {
                        Stage::Speak => self.after_paths(now),
                        next => self.enter(next, now),
                    };
                }
                self.deadline = after(now, term::PATH);
                self.order(CheckOrder::OpenPath { path, servers });
            }
        }
    }

    fn after_paths(&mut self, now: Monotonic) {
        let microphone = &self.measured.microphone;
        let hears = microphone.state == DeviceState::Opened && !microphone.zeros_only;
        let speaks = self.kind == Kind::ByHand && hears;
        if speaks && self.kept.is_some() { self.enter(Stage::Speak, now) } else { self.finish() }
    }

    fn finish(&mut self) {
        self.leave();
        self.stage = Stage::Done;
        self.outputs.push_back(CheckOutput::Report(Box::new(report(&self.measured))));
    }

    fn leave(&mut self) {
        self.order(CheckOrder::Close);
        if let Some(check) = self.check().cloned() {
            self.outputs.push_back(CheckOutput::End { check });
        }
    }

    fn order(&mut self, order: CheckOrder) {
        self.outputs.push_back(CheckOutput::Sound(order));
    }
}

fn after(now: Monotonic, ms: u64) -> Monotonic {
    Monotonic(now.0 + ms)
}

fn next_stage(stage: Stage) -> Stage {
    match stage {
        Stage::Devices => Stage::Direct,
        Stage::Direct => Stage::RelayUdp,
        Stage::RelayUdp => Stage::RelayTcp,
        Stage::RelayTcp => Stage::RelayTls,
        Stage::RelayTls => Stage::Speak,
        Stage::Speak => Stage::Listen,
        Stage::Listen | Stage::Done => Stage::Done,
    }
}

/// Those of the servers that serve this way (RFC 7065, section 3.2: without a transport a `turn:` server is one of UDP).
pub fn servers_for(path: CheckPath, servers: &[IceServer]) -> Vec<IceServer> {
    let fits = |url: &String| {
        let url = url.to_ascii_lowercase();
        match path {
            CheckPath::Direct => url.starts_with("stun:"),
            CheckPath::RelayUdp => url.starts_with("turn:") && !url.ends_with("transport=tcp"),
            CheckPath::RelayTcp => url.starts_with("turn:") && url.ends_with("transport=tcp"),
            CheckPath::RelayTls => url.starts_with("turns:"),
        }
    };
    let of_path = |server: &IceServer| IceServer {
        urls: server.urls.iter().filter(|url| fits(url)).cloned().collect(),
        ..server.clone()
    };
    servers.iter().map(of_path).filter(|server| !server.urls.is_empty()).collect()
}
