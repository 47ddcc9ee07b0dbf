//! Why sound is bad, on whose side, and what can be done: at most one explanation at a time, none when all is well.
//!
//! Make an [`Explainer`] for each call and hand it one [`Second`] a second from the accept to the end, also while no
//! connection stands. It keeps the windows, decides with the thresholds of docs/quality.md, and shows what it said for
//! long enough to be read. It leaves out the sentences: page and command line have those.

mod rules;
#[cfg(test)]
mod tests;
mod windows;

use crate::Monotonic;
use bellwire_signaling::{Cause, Health, Receives};
use rules::Findings;
use serde::{Deserialize, Serialize};
use windows::{Mean, Often, Silence, Streak};

/// What is known of one second of a call on this side. What was not measured is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    pub stage: Stage,
    /// The socket to the server is signed in.
    pub link_up: bool,
    /// Packets of the other party since the call began. It stands still while none come.
    pub packets_in: u64,
    pub round_trip_ms: Option<f32>,
    /// Interarrival jitter, ours and as the other party reports it.
    pub jitter_in_ms: Option<f32>,
    pub jitter_out_ms: Option<f32>,
    /// Shares, 0 to 1, of the packets of this second.
    pub loss_in: Option<f32>,
    pub loss_out: Option<f32>,
    /// Share, 0 to 1, of what was played that was made up.
    pub concealed: Option<f32>,
    /// From the arrival of a packet to its playout.
    pub buffer_ms: Option<f32>,
    /// Bits per second of sound.
    pub bitrate_in: Option<u32>,
    pub bitrate_out: Option<u32>,
    pub muted: bool,
    pub peer_muted: bool,
    /// What this device finds of itself.
    pub own: Health,
    /// The newest that the other party's device said of itself.
    pub peer: Option<Health>,
    /// The system refuses the microphone to this app.
    pub microphone_refused: bool,
    /// This person's voice comes back from the other party. That the other one's does is in their health.
    pub hears_itself: bool,
    /// Of the 100 audio ticks of a second, how many came too late for the sound card.
    pub late_ticks: Option<u32>,
    /// Packets go out with copies of earlier ones.
    pub sending_copies: bool,
}

/// How far the call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Connecting,
    Connected,
    Reconnecting,
}

/// What is wrong, on whose side, and what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub cause: Cause,
    pub side: Blame,
    pub action: Action,
    pub figure: Option<Figure>,
}

/// On whose side it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    Here,
    There,
    /// On the way, or nobody can tell.
    Between,
}

/// What the person can do, or what the app does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A switch on the microphone or the headset.
    CheckMicrophoneSwitch,
    /// The system's settings refuse the microphone to this app.
    AllowMicrophone,
    ChooseMicrophone,
    ChooseSpeaker,
    TellThemMicrophone,
    TellThemSpeaker,
    MoveCloserToWifi,
    UseCable,
    /// Other programs take the processor.
    CloseOtherPrograms,
    /// Other programs take the network: downloads, backups, video.
    PauseDownloads,
    /// Tell the other party that their network is the trouble.
    TellThemNetwork,
    /// Another network, or without a VPN.
    ChangeNetwork,
    WearHeadset,
    AskThemToWearHeadset,
    /// Their device tells them what they can do.
    TheyAreTold,
    /// Nothing can be done here but to wait.
    Wait,
    /// The app is making another connection.
    SwitchingPath,
    /// The app sends each packet more than once.
    SendingCopies,
}

/// The figure that a sentence may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Percent(u8),
    Milliseconds(u16),
    /// Kilobits per second that get through.
    Kilobits(u16),
}

/// For this long after the call began, or became another one, only that nothing comes is said.
const SETTLES_MS: u64 = 3_000;
/// What is shown stays for this long, as does showing nothing.
const SHOWN_MS: u64 = 4_000;
/// Twilio Voice SDK, statsMonitor: round trip, jitter; loss is raised and cleared by its mean.
const LONG_ROUND_TRIP_MS: f32 = 400.0;
const HIGH_JITTER_MS: f32 = 30.0;
const HIGH_LOSS: f32 = 0.03;
const LOW_LOSS: f32 = 0.01;
/// ITU-T G.114: one way from mouth to ear.
const LONG_DELAY_MS: f32 = 400.0;
/// A round trip that is so much longer than the shortest of the connection waits in a queue. The figure is ours.
const QUEUE_MS: f32 = 200.0;
/// Of 100 audio ticks in a second. The figure is ours.
const MANY_LATE_TICKS: f32 = 5.0;

/// The model of one call.
#[derive(Debug)]
pub struct Explainer {
    /// When the stage became what it is.
    since: Option<(Stage, Monotonic)>,
    packets_in: u64,
    silent: Silence,
    unheard: Streak,
    windows: Windows,
    shown: Option<Explanation>,
    changed_at: Option<Monotonic>,
}

/// What is forgotten when a connection is lost and another carries the sound.
#[derive(Debug)]
struct Windows {
    loss_in: Mean,
    loss_out: Mean,
    too_late: Mean,
    jitter_in: Often,
    jitter_out: Often,
    round_trip: Often,
    delay: Often,
    queued: Often,
    shortest_round_trip_ms: Option<f32>,
    overload: Often,
}

impl Default for Explainer {
    fn default() -> Self {
        Self::new()
    }
}

impl Explainer {
    pub fn new() -> Self {
        Self {
            since: None,
            packets_in: 0,
            silent: Silence::default(),
            unheard: Streak::default(),
            windows: Windows::new(),
            shown: None,
            changed_at: None,
        }
    }

    /// Takes one second in and says what is to be shown from now on.
    pub fn second(&mut self, second: &Second, now: Monotonic) -> Option<Explanation> {
        let since = match self.since {
            Some((stage, since)) if stage == second.stage => since,
            Some(_) | None => {
                self.windows = Windows::new();
                self.since = Some((second.stage, now));
                now
            }
        };
        let settled = now.since(since) >= SETTLES_MS;
        let comes = second.packets_in != self.packets_in;
        self.packets_in = second.packets_in;
        let sure = second.packets_in > 0 && second.own.receives == Receives::Nothing;
        self.silent.push(comes, sure, now);
        self.unheard.push(second.peer.is_some_and(|peer| peer.receives == Receives::Nothing));
        if comes && settled {
            self.windows.push(second);
        }
        let wanted = rules::explain(&self.windows.findings(second, &self.silent, &self.unheard, settled));
        self.show(wanted, now)
    }

    /// What is shown.
    pub fn shown(&self) -> Option<Explanation> {
        self.shown
    }

    /// What was shown stays for a while; but that nothing comes or goes is said at once instead of anything less.
    fn show(&mut self, wanted: Option<Explanation>, now: Monotonic) -> Option<Explanation> {
        let urgent = wanted.is_some_and(is_total) && !self.shown.is_some_and(is_total);
        let held = self.changed_at.is_some_and(|at| now.since(at) < SHOWN_MS);
        if !says_the_same(self.shown, wanted) && (urgent || !held) {
            self.shown = wanted;
            self.changed_at = Some(now);
        }
        self.shown
    }
}

impl Windows {
    fn new() -> Self {
        Self {
            loss_in: Mean::above(HIGH_LOSS, LOW_LOSS),
            loss_out: Mean::above(HIGH_LOSS, LOW_LOSS),
            too_late: Mean::above(HIGH_LOSS, LOW_LOSS),
            jitter_in: Often::above(HIGH_JITTER_MS),
            jitter_out: Often::above(HIGH_JITTER_MS),
            round_trip: Often::above(LONG_ROUND_TRIP_MS),
            delay: Often::above(LONG_DELAY_MS),
            queued: Often::above(QUEUE_MS),
            shortest_round_trip_ms: None,
            overload: Often::above(MANY_LATE_TICKS),
        }
    }

    /// Whoever is muted sends a few packets a second: too few for shares and jitter.
    fn push(&mut self, second: &Second) {
        let unless = |muted: bool, value: Option<f32>| value.filter(|_| !muted);
        self.loss_in.push(unless(second.peer_muted, second.loss_in));
        self.loss_out.push(unless(second.muted, second.loss_out));
        self.jitter_in.push(unless(second.peer_muted, second.jitter_in_ms));
        self.jitter_out.push(unless(second.muted, second.jitter_out_ms));
        let made_up = unless(second.peer_muted, second.concealed);
        self.too_late.push(made_up.map(|share| (share - second.loss_in.unwrap_or(0.0)).max(0.0)));
        self.overload.push(second.late_ticks.map(|ticks| ticks as f32));
        self.round_trip.push(second.round_trip_ms);
        if let Some(now) = second.round_trip_ms {
            let shortest = self.shortest_round_trip_ms.map_or(now, |shortest| shortest.min(now));
            self.shortest_round_trip_ms = Some(shortest);
            self.queued.push(Some(now - shortest));
            self.delay.push(second.buffer_ms.map(|buffer| now / 2.0 + buffer));
        }
    }

    fn findings<'a>(&self, second: &'a Second, silent: &Silence, unheard: &Streak, settled: bool) -> Findings<'a> {
        Findings {
            second,
            silent: silent.raised(),
            unheard: unheard.raised(),
            settled,
            loss_in: self.loss_in.raised(),
            loss_out: self.loss_out.raised(),
            queued: self.queued.raised().is_some(),
            jitter_in_ms: self.jitter_in.raised(),
            jitter_out_ms: self.jitter_out.raised(),
            too_late: self.too_late.raised(),
            round_trip_ms: self.round_trip.raised(),
            delay_ms: self.delay.raised(),
            overloaded: self.overload.raised().is_some(),
        }
    }
}

fn is_total(explanation: Explanation) -> bool {
    matches!(explanation.cause, Cause::NothingComes | Cause::NothingGoes)
}

/// A figure that has hardly changed is no reason to write another sentence.
fn says_the_same(shown: Option<Explanation>, wanted: Option<Explanation>) -> bool {
    match (shown, wanted) {
        (Some(shown), Some(wanted)) => {
            let same_words = Explanation { figure: None, ..shown } == Explanation { figure: None, ..wanted };
            same_words && is_close(shown.figure, wanted.figure)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Within a third of the larger.
fn is_close(shown: Option<Figure>, wanted: Option<Figure>) -> bool {
    let near = |a: u16, b: u16| u32::from(a.abs_diff(b)) * 3 <= u32::from(a.max(b));
    match (shown, wanted) {
        (Some(Figure::Percent(a)), Some(Figure::Percent(b))) => near(a.into(), b.into()),
        (Some(Figure::Milliseconds(a)), Some(Figure::Milliseconds(b)))
        | (Some(Figure::Kilobits(a)), Some(Figure::Kilobits(b))) => near(a, b),
        (None, None) => true,
        (Some(Figure::Percent(_) | Figure::Milliseconds(_) | Figure::Kilobits(_)) | None, _) => false,
    }
}
