//! What the page shows of the way that sound takes: trouble in a call, the check before one, the report after it.

use super::{Mood, Peer};
use crate::sentence::Sentence;
use serde::Serialize;
use ts_rs::TS;

/// The other one has answered; nothing is heard yet.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Connecting {
    pub peer: Peer,
    pub line: Sentence,
    pub trouble: Option<Trouble>,
}

/// Why sound is bad and on whose side, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Trouble {
    pub text: Sentence,
    pub advice: Sentence,
    /// The button beside it, where the app can help.
    pub remedy: Option<Remedy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Leads to the choice of a microphone, or of a speaker.
    Microphone,
    Speaker,
    /// Opens the system's page for the microphone's permission.
    Permission,
}

/// The check of sound and network: going on, or what it found.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Trial {
    /// What happens now, or the verdict.
    pub line: Sentence,
    pub mood: Mood,
    /// One's own level moves: one is asked to speak.
    pub speak: bool,
    /// How far it is; nothing once there is a verdict, as of the steps.
    pub percent: Option<u32>,
    pub steps: Vec<Step>,
    pub faults: Vec<Fault>,
    pub paths: Vec<PathTried>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Step {
    pub label: Sentence,
    pub state: StepState,
    /// The same in words, for those who do not see the mark.
    pub said: Sentence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Waits,
    Now,
    Done,
}

/// Something that the check found, and what mends it.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Fault {
    pub what: Sentence,
    pub fix: Sentence,
}

/// One way through the network, and how it fared.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct PathTried {
    pub label: Sentence,
    pub result: Sentence,
}

/// What the check that ran by itself found for a booking.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct OwnCheck {
    pub text: Sentence,
    /// What was found first; there is more to look at.
    pub fault: Option<Sentence>,
}

/// A report of the call can be saved.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct ReportPart {
    /// Where it is, or why it is nowhere.
    pub saved: Option<Sentence>,
}
