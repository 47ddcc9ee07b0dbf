//! Everything that the page shows, as one value.
//!
//! The page holds no call logic: which screen, which sentences, which buttons and which of them is the primary one all
//! stand here. [`show`](crate::show::show) makes a [`View`] from what the shell knows; the controller emits it whenever
//! it has changed. `ui/bindings.d.ts` is made from these types and checked for drift by a test.
//!
//! Words are left out: a [`Sentence`](crate::sentence::Sentence) is an id with what it speaks of, and `ui/messages.en.js`
//! holds its words. Moments are milliseconds since 1970 (UTC), shown in the local time zone by the page.

mod network;
mod rooms;

pub use network::*;
pub use rooms::*;

use crate::sentence::Sentence;
use bellwire_client::NoiseSuppression;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct View {
    pub screen: Screen,
    /// Read out by a screen reader when it changes.
    pub announce: Option<Sentence>,
    /// Small strips above the screen, most important first.
    pub notices: Vec<Notice>,
    /// The bar at the bottom, in reading order. At most one is primary.
    pub actions: Vec<Action>,
    /// Who is signed in, and may sign out.
    pub you: Option<You>,
    /// Devices and processing, where they can be chosen.
    pub sound: Option<Sound>,
    /// Text beside the voice, where there is any.
    pub text: Option<TextPanel>,
    /// Where there is a call to report on.
    pub report: Option<ReportPart>,
}

/// Its name is also `document.body.dataset.screen`.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Screen {
    SignIn(SignIn),
    Home(Home),
    /// Devices and settings.
    Check(Check),
    /// Sound and network are being checked, or have been.
    Trial(Trial),
    /// The other one is being called, or their app rings.
    Calling(Calling),
    Incoming(Incoming),
    Connecting(Connecting),
    InCall(Talk),
    /// In a call whose sound is lost.
    Reconnecting(Talk),
    /// Another device of this person has the call.
    Elsewhere(Elsewhere),
    Ended(Ended),
    /// In the queue for the next partner.
    Queue(Queue),
    /// In a conversation that the queue made.
    Match(Conversation),
    MatchOver(Parted),
    /// A link led to a room; this person is not in it.
    Door(Door),
    Room(Room),
    RoomOver(RoomOver),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct SignIn {
    /// Signing in goes on: nothing can be typed meanwhile.
    pub busy: bool,
    pub problem: Option<Sentence>,
    /// Development only: who can be picked, in the order of [`Ask::SignInAs`](crate::controller::Ask).
    pub people: Vec<Person>,
    /// Development only: the server whose people can be asked for.
    pub server: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Person {
    pub name: String,
    pub role: Sentence,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct You {
    pub name: String,
    /// Signing out is offered.
    pub sign_out: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct Home {
    pub next: Option<Card>,
    /// Instead of a next booking: what to do.
    pub empty: Option<Sentence>,
    pub later: Vec<Card>,
    pub history: Vec<Past>,
    /// There may be more.
    pub more_history: bool,
}

/// A booking.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Card {
    pub booking: String,
    pub peer: Peer,
    pub topic: String,
    pub starts_at: u64,
    pub ends_at: u64,
    /// Where its join window stands: opens in, open, over, cancelled.
    pub window: Sentence,
    pub open: bool,
    /// Whether the other one is there; only where it matters.
    pub presence: Option<Presence>,
    /// What the other one's app found; no details.
    pub readiness: Option<Sentence>,
    /// What this one found by itself.
    pub own_check: Option<OwnCheck>,
    /// It has a call button of its own.
    pub call: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Presence {
    pub here: bool,
    pub text: Sentence,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Peer {
    pub name: String,
    /// One or two letters.
    pub initials: String,
}

/// A call of the history.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Past {
    pub call: String,
    pub peer: Peer,
    pub topic: String,
    pub at: u64,
    pub what: Sentence,
    pub missed: bool,
    pub duration_s: Option<u32>,
    /// How it sounded here.
    pub quality: Option<Sentence>,
    /// The text that both wanted kept.
    pub text: Vec<TextLine>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Check {
    pub verdict: Sentence,
    pub mood: Mood,
    /// What to do about the speaker.
    pub speaker: Sentence,
    /// Calls go by the relay alone, so that the other person does not learn this machine's address.
    pub relay_only: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Calling {
    pub peer: Peer,
    pub topic: String,
    pub line: Sentence,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Incoming {
    pub peer: Peer,
    pub topic: String,
    pub starts_at: Option<u64>,
    /// Why one may decline, beside "not now".
    pub reasons: Vec<Reason>,
    /// What accepting ends.
    pub leaves: Option<Sentence>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Reason {
    pub because: Because,
    pub text: Sentence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    NotNow,
    InTwoMinutes,
    WrongTime,
    Unwell,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Talk {
    pub peer: Peer,
    pub topic: String,
    pub elapsed_s: u32,
    pub remaining: Option<Sentence>,
    pub muted: bool,
    /// What to know about who is muted.
    pub mute_line: Option<Sentence>,
    /// Sound has been lost for so many seconds.
    pub lost_s: Option<u32>,
    pub lost: Option<Sentence>,
    pub quality: Option<Sentence>,
    pub mood: Mood,
    /// Nothing while all is well, or while the sound is lost.
    pub trouble: Option<Trouble>,
    pub figures: Vec<Figure>,
}

/// A line of the details panel.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Figure {
    pub label: Sentence,
    pub value: Sentence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Calm,
    Good,
    Warning,
    Bad,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Elsewhere {
    pub peer: Peer,
    pub line: Sentence,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Ended {
    pub peer: Peer,
    pub topic: String,
    pub reason: Sentence,
    /// The reason as the server stores it, the same on both sides.
    pub code: String,
    /// Nothing if the two were never connected.
    pub duration_s: Option<u32>,
    pub quality: Option<Sentence>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Notice {
    pub mood: Mood,
    pub text: Sentence,
    /// The one thing that helps.
    pub offer: Option<Offer>,
}

/// A button beside a notice.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Offer {
    pub act: OfferAct,
    pub label: Sentence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum OfferAct {
    /// Opens the system's page for the microphone's permission.
    OpenSettings,
    Unmute,
    /// Plays on the loudspeaker that is left.
    PlayAloud,
}

/// A button of the bar.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Action {
    pub press: Press,
    pub label: Sentence,
    pub color: Color,
    pub primary: bool,
    pub enabled: bool,
    /// The booking to call.
    pub booking: Option<String>,
    /// Of a button that stays pressed.
    pub pressed: Option<bool>,
}

/// What a button of the bar does; its kebab-case name is the button's id (`Call` has the class `call` instead).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum Press {
    SignIn,
    CancelSignIn,
    Call,
    Check,
    CheckDone,
    TestSound,
    StartCheck,
    StopCheck,
    Cancel,
    Accept,
    Decline,
    Mute,
    HangUp,
    CallAgain,
    Dismiss,
    Search,
    StopSearching,
    NextPerson,
    FindNext,
    Back,
    Leave,
    EnterRoom,
    TurnBack,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    Accent,
    /// Of accepting a call alone.
    Green,
    /// Of ending one alone.
    Red,
    Plain,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct Sound {
    pub inputs: Vec<DeviceOption>,
    pub outputs: Vec<DeviceOption>,
    /// Where it rings.
    pub rings: Vec<DeviceOption>,
    pub echo_cancellation: bool,
    #[ts(type = "\"off\" | \"standard\" | \"strong\"")]
    pub noise_suppression: NoiseSuppression,
    pub gain_control: bool,
    /// While it is on, nothing of the three above applies.
    pub original_sound: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct DeviceOption {
    pub pick: Pick,
    pub label: Sentence,
    pub chosen: bool,
}

/// Which device, as the page may choose it: files are for the command line alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pick {
    Default {},
    Named {
        name: String,
    },
    /// Of the ring alone: where calls are heard.
    OfCalls {},
    /// What the command line chose; it can be kept, not picked anew.
    File {},
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct ProcessingChoice {
    pub echo_cancellation: bool,
    #[ts(type = "\"off\" | \"standard\" | \"strong\"")]
    pub noise_suppression: NoiseSuppression,
    pub gain_control: bool,
    pub original_sound: bool,
}

/// The second event: how loud both sides are now, 0 to 1; ten times a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, TS)]
pub struct Level {
    pub input: f32,
    pub output: f32,
}
