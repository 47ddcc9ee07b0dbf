//! What goes into a client and what comes out of it.

use crate::LinkFault;
use bellwire_call::State;
use bellwire_media::{DeviceChoice, DeviceEvent, DeviceFault, DeviceInfo, Processing, Stats};
use bellwire_signaling::{
    Because, BookingId, BookingView, CallId, CallRecord, DeviceId, ErrorCode, Peer, Side, Token, UnixMs, You,
};
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
}

/// What a person, or a program in their place, can ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Call the other party of a booking.
    Call(BookingId),
    Accept,
    Decline(Because),
    HangUp,
    Mute(bool),
    /// Leave the ended call: it is shown no more.
    Dismiss,
    RefreshBookings,
    /// Ended calls before a moment, newest first. Answered by [`Update::History`].
    History {
        before: Option<UnixMs>,
    },
    SetInput(DeviceChoice),
    SetOutput(DeviceChoice),
    SetProcessing(Processing),
    /// Open the devices for the microphone's meter, outside a call; or no longer.
    Check(bool),
    TestSound,
    /// Answered by [`Update::Devices`].
    ListDevices,
}

/// What a client says.
#[derive(Clone, Debug)]
pub enum Update {
    /// All there is to show, whenever something in it has changed.
    Snapshot(Box<Snapshot>),
    /// Ten times a second while the devices are open; 0 to 1. A newer one replaces one that was not read.
    Level {
        input: f32,
        output: f32,
    },
    /// Once a second while a connection stands. A newer one replaces one that was not read.
    Stats(Box<Stats>),
    /// Frames of the other party are being decoded and played; once for each connection.
    Flowing {
        generation: u32,
    },
    /// A request of this person was refused by the server.
    Refused {
        code: ErrorCode,
        retry_after_ms: Option<u64>,
    },
    History(Vec<CallRecord>),
    Devices(Result<Vec<DeviceInfo>, DeviceFault>),
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
    /// The server's clock minus this machine's, in milliseconds, at the last welcome.
    pub server_time_offset_ms: i64,
    pub input: DeviceState,
    pub output: DeviceState,
    pub input_choice: DeviceChoice,
    pub output_choice: DeviceChoice,
    pub processing: Processing,
    /// The devices are open for a check.
    pub checking: bool,
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
        aligned == *other
    }
}

/// Makes two running times equal, if both run.
fn align(mine: &mut Option<u64>, theirs: Option<u64>) {
    if mine.is_some() && theirs.is_some() {
        *mine = theirs;
    }
}
