//! What goes into a client and what comes out of it.

use crate::LinkFault;
use crate::check::CheckNow;
use bellwire_call::State;
use bellwire_call::explain::Explanation;
use bellwire_call::meeting::MemberSound;
use bellwire_media::{DeviceChoice, DeviceEvent, DeviceFault, DeviceInfo, PathInfo, Processing, Stats};
use bellwire_signaling::{
    Because, BookingId, BookingView, CallId, CallRecord, Complaint, Departure, DeviceId, ErrorCode, Handle, Health,
    KeepChat, Peer, RoomId, SearchView, Side, Token, UnixMs, You,
};
use std::path::PathBuf;
use std::time::Instant;
use url::Url;

/// How a client is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ws://` or `wss://`, with or without the path of the socket.
    pub server: Url,
    pub token: Token,
    /// One installation of one app; chosen at its first start and kept.
    pub device: DeviceId,
    pub media: bellwire_media::Config,
    /// Play the ring, the ringback and the cue for lost sound on the speaker.
    pub tones: bool,
    /// Sound goes by a relay alone, so that the other party learns no address of this device. Matches do so anyway.
    pub relay_only: bool,
    /// Check sound and network by itself ten minutes before a booking, and tell the other party whether all is well.
    pub checks_by_itself: bool,
}

/// What a person, or a program in their place, can ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Call the other party of a booking.
    Call(BookingId),
    Accept,
    Decline(Because),
    HangUp,
    /// In a call or a room.
    Mute(bool),
    /// Leave the ended call or room: it is shown no more.
    Dismiss,
    /// Refused ([`ErrorCode::InAnotherCall`]) while in a call. Another room is left first.
    EnterRoom(RoomId),
    /// Leaves the room; a match as well.
    LeaveRoom,
    /// Hosts only, as the next.
    LockRoom(bool),
    RemoveMember(Handle),
    /// Join the queue for the next partner. A match's room is entered by the server. Refused
    /// ([`ErrorCode::InAnotherCall`]) while in a call or in a room that is no match.
    Search,
    /// Leave the queue, or the match.
    StopSearching,
    /// Leave the match and search again.
    Skip,
    /// Never to be matched with this partner again.
    Block(Handle),
    Report(Handle, Complaint),
    /// A line of text, in the call or to everybody in the room. Refused with [`ErrorCode::WrongState`] where there is
    /// neither, [`ErrorCode::TooLarge`] above `limits::CHAT_TEXT` bytes, [`ErrorCode::RateLimited`] while too much of
    /// what was said is undelivered.
    Say(String),
    /// Whether the text of the call shall be in its record; kept only while both want it.
    KeepChat(bool),
    /// As [`Config::relay_only`], for connections that are made from now on.
    RelayOnly(bool),
    /// Connect to the server and renew the path of sound now: for those who know that the network is another one, or back.
    Reconnect,
    RefreshBookings,
    /// Ended calls before a moment, newest first. Answered by [`Update::History`].
    History {
        before: Option<UnixMs>,
    },
    SetInput(DeviceChoice),
    SetOutput(DeviceChoice),
    /// Where it rings; `None`: where calls are heard.
    SetRing(Option<DeviceChoice>),
    /// Play on the device that [`DeviceState::Held`] names.
    UseHeldOutput,
    SetProcessing(Processing),
    /// Open the devices for the microphone's meter, outside a call; or no longer.
    Check(bool),
    TestSound,
    /// Checks devices and network, with the server's echo peer. Not while in a call or room, or while one is dialled or
    /// rings: then it is refused ([`ErrorCode::InAnotherCall`]). A ring ends it. [`Snapshot::check`] shows how it goes.
    StartCheck {
        /// Plays nothing and asks nobody to speak.
        automatic: bool,
    },
    /// Ends it, or puts its report away.
    StopCheck,
    /// Write what happened in the newest call into a file, for a person to send to whoever helps: no names, addresses or
    /// secrets are in it. Answered by [`Update::ReportSaved`].
    SaveReport(PathBuf),
    /// Answered by [`Update::Devices`].
    ListDevices,
}

/// What a client says.
#[derive(Clone, Debug)]
pub enum Update {
    /// All there is to show, whenever something in it has changed.
    Snapshot(Box<Snapshot>),
    /// Ten times a second while the devices are open, or a check asks for a sentence; 0 to 1. A newer one replaces one that was not read.
    Level {
        input: f32,
        output: f32,
    },
    /// Once a second while a connection of a call stands. A newer one replaces one that was not read.
    Stats(Box<Stats>),
    /// The same of each connection with a member of a room; a newer one replaces that member's.
    MemberStats {
        member: Handle,
        stats: Box<Stats>,
    },
    /// Somebody speaks into the muted microphone; at most each 10 s. Nothing of it is sent or kept.
    SpeakingMuted {
        at: Instant,
    },
    /// Frames of the other party are being decoded and played; once for each connection.
    Flowing {
        generation: u32,
    },
    /// A request of this person was refused, by the server or here.
    Refused {
        code: ErrorCode,
        retry_after_ms: Option<u64>,
    },
    History(Vec<CallRecord>),
    /// Addresses or routes of this machine have changed, or it has slept: everything is being connected anew.
    NetworkChanged,
    Devices(Result<Vec<DeviceInfo>, DeviceFault>),
    /// Where it is, or why it is not.
    ReportSaved(Result<PathBuf, String>),
    Device(DeviceEvent),
    /// The client has ended for good; nothing follows.
    Stopped(Stop),
}

/// Everything about this device at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When this was so: what is counted in `connected_ms` and `reconnecting_ms` has gone on since.
    pub at: Instant,
    pub link: Link,
    /// Who is signed in; kept while the link is down.
    pub you: Option<You>,
    /// With the presence of each other party.
    pub bookings: Vec<BookingView>,
    /// The server has told them: that there are none means that there are none.
    pub bookings_known: bool,
    pub call: Option<CurrentCall>,
    /// Asked to be let in there; no answer yet.
    pub entering: Option<RoomId>,
    /// Never beside a call that was dialled or accepted; one may ring meanwhile.
    pub room: Option<RoomNow>,
    pub search: SearchView,
    /// The server's clock minus this machine's, in milliseconds, at the last welcome.
    pub server_time_offset_ms: i64,
    pub input: DeviceState,
    pub output: DeviceState,
    pub input_choice: DeviceChoice,
    pub output_choice: DeviceChoice,
    /// `None`: it rings where calls are heard.
    pub ring_choice: Option<DeviceChoice>,
    pub processing: Processing,
    /// The devices are open for a check.
    pub checking: bool,
    /// A check before a call that goes on, or the report of the last one.
    pub check: Option<CheckNow>,
    pub relay_only: bool,
}

/// The one call this device is concerned with.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentCall {
    /// Unknown until the server has answered the invite.
    pub call: Option<CallId>,
    pub booking: BookingId,
    pub peer: Option<Peer>,
    pub you: Side,
    pub state: State,
    pub muted: bool,
    pub peer_muted: bool,
    /// Milliseconds since it was first connected, at [`Snapshot::at`].
    pub connected_ms: Option<u64>,
    /// Milliseconds since sound was lost, at [`Snapshot::at`].
    pub reconnecting_ms: Option<u64>,
    /// Connections that were begun since sound was lost.
    pub trying: u32,
    /// The way that sound goes; nothing until there is one.
    pub path: Option<PathInfo>,
    /// What this device finds of itself, and the other party's device of itself.
    pub health: Health,
    pub peer_health: Option<Health>,
    /// Why it sounds bad, when it does.
    pub explanation: Option<Explanation>,
    /// In the order in which they were written or came; the oldest are forgotten first, as in a room.
    pub chat: Vec<ChatNow>,
    /// Text reaches the other party now. What is said before is sent when it does.
    pub chat_open: bool,
    pub keep_chat: KeepChat,
}

/// The one room this device is in.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomNow {
    pub room: RoomId,
    pub topic: String,
    /// How the others know this device here.
    pub you: Handle,
    pub host: bool,
    pub locked: bool,
    /// The others, in the order in which they entered.
    pub members: Vec<MemberNow>,
    pub muted: bool,
    pub speaking: bool,
    pub chat: Vec<ChatNow>,
    /// Milliseconds since this device got in, at [`Snapshot::at`].
    pub since_ms: u64,
    /// A room of two that the queue made.
    pub matched: bool,
    /// It is over, and why; shown until [`Request::Dismiss`].
    pub over: Option<Departure>,
}

/// Another member of the room.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberNow {
    pub member: Handle,
    pub name: String,
    pub host: bool,
    pub muted: bool,
    /// Their app has its link to the server; sound needs none.
    pub linked: bool,
    pub sound: MemberSound,
    /// The way that their sound goes.
    pub path: Option<PathInfo>,
    pub speaking: bool,
    /// Text reaches them now.
    pub can_read: bool,
}

/// A line of text beside the voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatNow {
    /// Whose it is; `None` where it is this person's.
    pub from: Option<Handle>,
    /// As they were called when it came; empty where it is this person's.
    pub name: String,
    pub text: String,
    /// Ours: it is on every screen that could be reached. Those of others: always.
    pub delivered: bool,
}

/// The socket to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    Connecting,
    Up,
    /// `retry_in_ms` is `u64::MAX` where it is not tried again: the token has run out, and the call goes on without a
    /// server until it ends.
    Down {
        retry_in_ms: u64,
        why: LinkFault,
    },
}

/// What a microphone or speaker is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceState {
    /// Not in use.
    #[default]
    Closed,
    /// `fallback`: not the one that was chosen, which is not there. `silent`: open, but nothing except zeros comes: a
    /// refused permission or a switch on the device.
    Open {
        name: String,
        fallback: bool,
        silent: bool,
    },
    Missing {
        why: DeviceFault,
    },
    /// A speaker alone: the headset is gone, and what is left would be heard by everybody around. Nothing is played on
    /// it until [`Request::UseHeldOutput`], another choice, or the headset is back.
    Held {
        name: String,
    },
}

/// Why a client has ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("the server does not accept this sign-in ({code:?})")]
    TokenRefused { code: ErrorCode },
    #[error("this device has signed in again elsewhere")]
    Replaced,
    #[error("the server speaks another version of the protocol")]
    VersionUnsupported,
    #[error("the server's address is not of the form ws://HOST or wss://HOST")]
    BadAddress,
}

impl Snapshot {
    /// Whether both show the same, apart from the time that has gone by.
    pub(crate) fn shows_the_same_as(&self, other: &Snapshot) -> bool {
        let mut aligned = self.clone();
        aligned.at = other.at;
        if let (Some(mine), Some(theirs)) = (&mut aligned.call, &other.call) {
            align(&mut mine.connected_ms, theirs.connected_ms);
            align(&mut mine.reconnecting_ms, theirs.reconnecting_ms);
        }
        if let (Some(mine), Some(theirs)) = (&mut aligned.room, &other.room) {
            mine.since_ms = theirs.since_ms;
        }
        aligned == *other
    }
}

/// Makes two running times equal, if both run.
fn align(mine: &mut Option<u64>, theirs: Option<u64>) {
    if mine.is_some() && theirs.is_some() {
        *mine = theirs;
    }
}
