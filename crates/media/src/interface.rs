//! The boundary of this crate: what an engine can be told and what it says.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// One far side: the other party of a call, or one member of a room. Whoever owns the engine gives the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leg(pub u32);

impl Leg {
    /// The other party of a booked call.
    pub const CALL: Self = Self(0);
}

/// How many far sides there can be at once: a room of eight.
pub const MOST_LEGS: usize = 7;

/// Counts the connections of a leg: a renewed connection is generation n + 1 beside n.
pub type Generation = u32;

/// The label of the data channel that carries text; a channel of another name is none of ours.
pub const CHAT_CHANNEL: &str = "bellwire-chat";
/// Bytes of the longest text that is sent or taken; the shortest has one.
pub const LONGEST_TEXT: usize = 8 * 1024;

/// How an engine is set up. Everything here can be changed later by a [`Command`], except `bind`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub input: DeviceChoice,
    pub output: DeviceChoice,
    /// Where it rings, if not where calls are heard.
    pub ring: Option<DeviceChoice>,
    pub processing: Processing,
    pub ice_servers: Vec<IceServer>,
    /// Offer candidates of this address alone; loopback counts only when it is named here.
    pub bind: Option<IpAddr>,
}

/// Which microphone or speaker to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// Whatever the system calls its default, also when that changes.
    #[default]
    Default,
    /// A device by the name that [`devices`](crate::devices) lists.
    Named(String),
    /// A WAV file: read in real time as a microphone (silence after its end), written as a speaker.
    Wav(PathBuf),
}

/// What is done to the captured sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processing {
    pub echo_cancellation: bool,
    pub noise_suppression: NoiseSuppression,
    /// Digital alone: the system's slider is never moved.
    pub gain_control: bool,
    /// For lessons in music: stereo, full band, 128 kbit/s, and none of the above whatever it says.
    pub original_sound: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSuppression {
    Off,
    /// Takes the room's noise away and leaves the voice as it is.
    #[default]
    Standard,
    /// Takes more away, at some cost to the voice and the processor.
    Strong,
}

impl Processing {
    pub const OFF: Self = Self {
        echo_cancellation: false,
        noise_suppression: NoiseSuppression::Off,
        gain_control: false,
        original_sound: false,
    };
}

impl Default for Processing {
    fn default() -> Self {
        Self {
            echo_cancellation: true,
            noise_suppression: NoiseSuppression::default(),
            gain_control: true,
            original_sound: false,
        }
    }
}

/// A STUN or TURN server, as RTCIceServer has it (W3C WebRTC, section 4.2.4).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    pub urls: Vec<String>,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub credential: String,
}

/// Which ways a connection may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Direct where that works, else by a relay.
    #[default]
    Any,
    /// By a relay alone, so that the far side learns no address of ours.
    RelayOnly,
}

/// The way that a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathInfo {
    pub local: CandidateKind,
    pub remote: CandidateKind,
    /// How we reach our relay, where it is ours that is used.
    pub relay: Option<RelayTransport>,
    pub ipv6: bool,
}

impl PathInfo {
    /// Whether a relay of either side carries the sound.
    pub fn is_relayed(&self) -> bool {
        self.local == CandidateKind::Relay || self.remote == CandidateKind::Relay
    }
}

/// The kinds of candidates (RFC 8445, section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateKind {
    Host,
    Srflx,
    Prflx,
    Relay,
}

impl CandidateKind {
    /// The word that stands in a candidate.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Srflx => "srflx",
            Self::Prflx => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// What carries packets between us and our relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayTransport {
    Udp,
    Tcp,
    Tls,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DescriptionKind {
    Offer,
    Answer,
}

/// What an engine can be told. Commands are carried out in order; those that name a leg or a generation that is gone are
/// ignored.
#[derive(Clone)]
pub enum Command {
    /// Opens the devices, so that the first connection finds them warm. Idempotent.
    Warm,
    /// Makes the connection of this generation beside any older one of its leg, and opens the devices if they are closed.
    /// Answered by [`Event::Opened`] or, when there are [`MOST_LEGS`] others, [`Event::Failed`].
    Open {
        leg: Leg,
        generation: Generation,
        route: Route,
    },
    /// The STUN and TURN servers of connections that are opened from now on.
    SetIceServers(Vec<IceServer>),
    /// Makes the offer of this generation. Answered by [`Event::Description`].
    Offer {
        leg: Leg,
        generation: Generation,
    },
    /// The far side's description. An offer is answered by [`Event::Description`] with our answer.
    /// The same description twice does nothing the second time. An offer that crosses ours replaces ours (we yield).
    ///
    /// One audio section is used; others, and those of video, are refused in the answer. Another offer after the exchange
    /// changes the connection if it is of the same session (`o=`); if not, the far side has begun anew, and so do we.
    SetRemote {
        leg: Leg,
        generation: Generation,
        kind: DescriptionKind,
        sdp: String,
    },
    /// Candidates of the far side, kept in order until its description is known.
    AddCandidates {
        leg: Leg,
        generation: Generation,
        candidates: Vec<Candidate>,
    },
    /// Sends text to a far side, on the newest of its connections that flows. Lost when there is none or text is not
    /// open on it ([`Event::TextOpen`]): whoever sends it knows what was answered, and sends again.
    SendText {
        leg: Leg,
        text: String,
    },
    /// Ends this far side's connections; the others go on, and the devices stay. Answered by [`Event::Dropped`].
    Drop {
        leg: Leg,
    },
    /// Ends all connections and closes the devices (those of a check stay).
    Close,
    /// Silence goes out. What the microphone hears meanwhile is asked one thing, here, and forgotten: whether somebody
    /// speaks ([`Event::SpeakingMuted`]).
    Mute(bool),
    SetInput(DeviceChoice),
    SetOutput(DeviceChoice),
    /// Where it rings; `None`: where calls are heard.
    SetRing(Option<DeviceChoice>),
    /// Play on what was offered by [`DeviceEvent::OutputHeld`].
    UseHeldOutput,
    SetProcessing(Processing),
    /// Opens the microphone for its meter alone, outside a call.
    Check(bool),
    /// Plays a short melody on the speaker, so that a person can hear that it works.
    TestSound,
    /// Plays or stops a tone on the speaker until told otherwise.
    Tone(Option<Tone>),
}

/// Tones are made here, sample by sample: nothing is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Somebody calls: two warm notes, repeated.
    Ring,
    /// The far side's app rings: a soft single note each four seconds.
    Ringback,
    /// Sound was lost: one quiet low cue, then silence.
    Lost,
}

/// An ICE candidate as W3C's RTCIceCandidateInit has it; there is one audio section, so its index is enough.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    pub candidate: String,
    pub mid: Option<String>,
    pub index: u16,
}

/// What an engine says.
#[derive(Clone)]
pub enum Event {
    /// The connection of this generation stands locally; descriptions may be exchanged.
    Opened { leg: Leg, generation: Generation },
    /// Our description, to be sent to the far side.
    Description { leg: Leg, generation: Generation, kind: DescriptionKind, sdp: String },
    /// Our candidates, gathered in batches of 20 ms; `done` after the last.
    Candidates { leg: Leg, generation: Generation, candidates: Vec<Candidate>, done: bool },
    /// Which way this connection goes, as soon as that is known and whenever it becomes another one.
    Path { leg: Leg, generation: Generation, path: PathInfo },
    /// Speech-capable frames of the far side are being decoded and played (the third in a row has been).
    Flowing { leg: Leg, generation: Generation },
    /// No packet for two seconds on a connection that flowed.
    Stalled { leg: Leg, generation: Generation },
    /// This connection will not work: ICE or DTLS failed, or 10 s went by without a frame or 4 s without a packet, or the far side's
    /// description was refused.
    Failed { leg: Leg, generation: Generation, why: String },
    /// Text can be sent to this far side. Said again for each connection that carries text from then on; what was not
    /// answered before may be lost.
    TextOpen { leg: Leg },
    /// The far side sent this text.
    Text { leg: Leg, text: String },
    /// The answer to [`Command::Drop`]: nothing follows that a connection of this leg from before did.
    Dropped { leg: Leg },
    /// The answer to [`Command::Close`]: nothing follows that a connection from before it did. The next call counts its
    /// generations from one again.
    Closed,
    /// Once a second for each leg while a connection of it stands.
    Stats { leg: Leg, stats: Box<Stats> },
    /// A far side, or we when `leg` is `None`, began or ended to speak; five times a second at most for each. We speak only
    /// while somebody is connected. Whoever is dropped or closed while speaking is said to have ended first.
    Speaking { leg: Option<Leg>, speaking: bool },
    /// Somebody speaks into the muted microphone; at most each 10 s. Nothing of it is sent or kept.
    SpeakingMuted,
    /// Ten times a second while the devices are open; 0 to 1, RMS on a scale of -60 to 0 dBFS.
    Level { input: f32, output: f32 },
    /// A device changed, or a fault of one. The engine goes on with what it has.
    Device(DeviceEvent),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "device")]
pub enum DeviceEvent {
    /// In use now. `fallback` when the one that was chosen is not there.
    InputOpened {
        name: String,
        fallback: bool,
    },
    OutputOpened {
        name: String,
        fallback: bool,
    },
    /// There is none that can be opened; retried twice a second.
    InputMissing {
        why: DeviceFault,
    },
    OutputMissing {
        why: DeviceFault,
    },
    /// The headset is gone and what is left is a loudspeaker: nothing is played while we are not muted, until
    /// [`Command::UseHeldOutput`], another choice, or the headset is back.
    OutputHeld {
        name: String,
    },
    /// Open, but nothing except zeros for two seconds: a refused permission or a hardware switch.
    InputSilent,
    /// Not zeros any more.
    InputHeard,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceFault {
    NoDevice,
    PermissionRefused,
    InUse,
    File(String),
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    pub name: String,
    pub kind: DeviceKind,
    pub is_default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    Input,
    Output,
}

/// One second of a connection. Where nothing could be measured yet, the value is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub generation: Generation,
    /// Milliseconds, from LSR and DLSR of the far side's receiver reports (RFC 3550, 6.4.1).
    pub round_trip_ms: Option<f32>,
    /// Share of packets, 0 to 1, that did not reach us in the last second, whatever was recovered of them.
    pub loss_in: f32,
    /// Share of ours, 0 to 1, that did not reach the far side, by its newest receiver report.
    pub loss_out: Option<f32>,
    /// Mean length of the gaps that loss left, in milliseconds, before anything was recovered; 0 when none was.
    pub burst_in_ms: f32,
    /// Interarrival jitter in milliseconds (RFC 3550, A.8), ours and the far side's.
    pub jitter_in_ms: f32,
    pub jitter_out_ms: Option<f32>,
    /// Share of the samples played in the last second, 0 to 1, that were made up,
    pub concealed: f32,
    /// that were recovered, by whichever way,
    pub recovered: f32,
    /// and that were added or removed to follow the network.
    pub stretched: f32,
    /// Milliseconds between the arrival of a frame and its playout, on average.
    pub buffer_ms: f32,
    /// What the jitter buffer aims at.
    pub target_ms: f32,
    /// Bits per second of whole packets, with the headers of RTP, SRTP, UDP and IP.
    pub bitrate_in: u32,
    pub bitrate_out: u32,
    /// What the way out seems to carry, bits per second of whole packets; `None` while no limit was met.
    pub bandwidth_out: Option<u32>,
    /// What we do against loss on the way out, and why.
    pub protection: Protection,
    pub packets_in: u64,
    pub packets_out: u64,
    /// Estimated mean opinion score, 1 to 4.5, by the E-model (ITU-T G.107).
    pub mos: Option<f32>,
    /// RMS of what is sent, dBFS.
    pub microphone_dbfs: f32,
    /// By how many decibels the canceller lowers the echo; `None` while there was none to be lowered.
    pub echo_return_loss_db: Option<f32>,
    /// Our own voice comes back from the far side, by so many decibels weaker than it was sent.
    pub own_voice_back_db: Option<f32>,
    /// Times in the last second that the sound thread was late by more than 20 ms.
    pub late_ticks: u32,
    /// Times in the last second that the speaker wanted sound and there was none.
    pub underruns: u32,
    /// `host`, `srflx`, `prflx` or `relay`, of the pair in use.
    pub local_candidate: Option<String>,
    pub remote_candidate: Option<String>,
}

/// What is done against loss on the way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    pub why: ProtectionReason,
    /// Lost packets are sent again when the far side asks.
    pub resending: bool,
    /// Copies of earlier packets in each (RFC 2198),
    pub copies: u8,
    /// of which the oldest was first sent so many milliseconds before.
    pub reach_ms: u16,
    /// The codec's own copy of the packet before (RFC 6716, section 2.1.7).
    pub fec: bool,
    /// So many milliseconds of the past are described in each packet (deep redundancy).
    pub dred_ms: u16,
    pub packet_ms: u8,
    /// Bits per second that the codec is asked for.
    pub codec_bitrate: u32,
}

/// Why the protection is what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtectionReason {
    /// Nothing is lost.
    #[default]
    Clean,
    /// Single packets are lost,
    Loss,
    /// or several in a row.
    Bursts,
    /// The link carries too little for more.
    Narrow,
}
