//! Why sound is bad, on whose side, and what can be done: at most one explanation at a time, none when all is well.
//!
//! Make an [`Explainer`] for each call and hand it one [`Second`] a second from the accept to the end, also while no
//! connection stands. It keeps the windows, decides with the thresholds of docs/quality.md, and shows what it said for
//! long enough to be read. It leaves out the sentences: page and command line have those.

use crate::Monotonic;
use bellwire_signaling::{Cause, Health};
use serde::{Deserialize, Serialize};

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
    /// Who hears themselves.
    pub echo: EchoHeard,
    /// Of the 100 audio ticks of a second, how many came too late for the sound card.
    pub late_ticks: Option<u32>,
    /// Each packet is sent twice.
    pub sending_twice: bool,
}

/// How far the call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Connecting,
    Connected,
    Reconnecting,
}

/// Whether a loudspeaker goes back into a microphone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EchoHeard {
    #[default]
    Nobody,
    /// Ours does: the other party hears themselves.
    ByThem,
    /// Theirs does: this person hears themselves.
    ByUs,
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
    /// Nothing can be done here but to wait.
    Wait,
    /// The app is making another connection.
    SwitchingPath,
    /// The app sends each packet twice.
    SendingTwice,
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

/// The model of one call.
#[derive(Debug, Default)]
pub struct Explainer {
    shown: Option<Explanation>,
}

impl Explainer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one second in and says what is to be shown from now on.
    pub fn second(&mut self, _second: &Second, _now: Monotonic) -> Option<Explanation> {
        self.shown
    }

    /// What is shown.
    pub fn shown(&self) -> Option<Explanation> {
        self.shown
    }
}
