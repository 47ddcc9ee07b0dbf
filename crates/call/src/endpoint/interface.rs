//! The boundary of an endpoint: what goes in, what comes out, what it shows.

use bellwire_signaling::{
    Because, BookingId, CallId, CallQuality, CallRecord, Candidate, ClientFrame, CommandId, DescriptionKind, Ending,
    ErrorCode, Event, Health, IceServer, KeepChat, Peer, Reply, Sdp, Side, UnixMs, WireError,
};

/// Milliseconds since some moment before the app's start; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

impl Monotonic {
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    pub fn since(self, earlier: Monotonic) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    Command(UserCommand),
    /// The socket is signed in. `resumed`: nothing of what was said or sent before got lost.
    LinkUp {
        resumed: bool,
    },
    LinkDown,
    Server(Event),
    Reply {
        id: CommandId,
        result: Result<Reply, WireError>,
    },
    Media(MediaEvent),
    /// The device's addresses or its way out are others than before, or it has slept.
    NetworkChanged,
    Timeout,
}

/// What a person can want.
#[derive(Clone, Debug, PartialEq)]
pub enum UserCommand {
    Call(BookingId),
    Accept,
    Decline(Because),
    HangUp,
    Mute(bool),
    /// Whether the text of this call shall be in its record.
    KeepChat(bool),
    /// Delivered lines of this person, while both want them kept.
    ChatLines(Vec<String>),
    /// Leave the screen of a call that is over.
    Dismiss,
    RefreshBookings,
    History {
        before: Option<UnixMs>,
    },
    /// Whether connections go by relays alone, so that the other party learns no address of this device.
    RelayOnly(bool),
    /// What this device finds of itself; to be said as often as it is looked at.
    Health(Health),
    /// How an ended call sounded here; to be said once.
    Quality {
        call: CallId,
        quality: CallQuality,
    },
}

/// Which ways a connection may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    #[default]
    Any,
    /// By a relay alone.
    RelayOnly,
}

/// What the sound engine says. After a [`MediaCommand::Close`] its owner hands in nothing of what was closed: the next call
/// counts its generations from one again.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    Opened {
        generation: u32,
    },
    Description {
        generation: u32,
        kind: DescriptionKind,
        sdp: Sdp,
    },
    Candidates {
        generation: u32,
        candidates: Vec<Candidate>,
        done: bool,
    },
    Flowing {
        generation: u32,
    },
    Stalled {
        generation: u32,
    },
    Failed {
        generation: u32,
    },
    /// Whether this connection goes by a relay, of either side: when that is known, and when it becomes otherwise.
    Path {
        generation: u32,
        relayed: bool,
    },
}

/// What the sound engine shall do.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaCommand {
    /// A call is near: open the devices.
    Warm,
    /// The relays of connections that are opened from now on.
    IceServers(Vec<IceServer>),
    Open {
        generation: u32,
        route: Route,
    },
    Offer {
        generation: u32,
    },
    SetRemote {
        generation: u32,
        kind: DescriptionKind,
        sdp: Sdp,
    },
    AddCandidates {
        generation: u32,
        candidates: Vec<Candidate>,
    },
    Mute(bool),
    /// Everything of the call: connections and devices.
    Close,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Send(ClientFrame),
    Media(MediaCommand),
    Notice(Notice),
}

/// Said once, to the person.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// What the person asked for was refused.
    Refused {
        code: ErrorCode,
        retry_after_ms: Option<u64>,
    },
    History(Vec<CallRecord>),
}

/// Why a timeout is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// No link, and the call would be over by now.
    GiveUp,
    /// Ask for the next connection.
    Renew,
    /// The server did not say in time which relays there are: go on without.
    Servers,
    /// Ask for relays.
    Grant,
    /// Say how this device is.
    Health,
    /// A command that the server could not take is sent again.
    Resend,
    /// The end of a call was shown for long enough to show the next one that rings.
    NextRing,
}

/// The one call this device is concerned with.
#[derive(Clone, Debug, PartialEq)]
pub struct CallNow {
    /// Unknown until the server has answered the invite.
    pub call: Option<CallId>,
    pub booking: BookingId,
    pub you: Side,
    pub peer: Option<Peer>,
    pub state: State,
    pub muted: bool,
    pub peer_muted: bool,
    pub keep_chat: KeepChat,
    /// When it was first connected here.
    pub connected_at: Option<Monotonic>,
    /// What the other party's device last said of itself.
    pub peer_health: Option<Health>,
    /// Whether sound goes by a relay.
    pub relayed: Option<bool>,
    /// Connections that were begun since sound was lost, or before there was any beside the first.
    pub trying: u32,
}

/// What a person sees of a call.
///
/// ```text
///   Call(booking)                    the other party calls
///        |                                   |
///    Inviting --their app rings--> Ringing   Ringing (incoming) ----> Elsewhere: another device answered
///        \___________________________/ |         |  \
///                                      |       Accept  Decline / 60 s / they cancel -> Ended
///                                      v         v
///                                     Connecting <
///                                          |
///                        the server: both hear each other
///                                          |
///                                      Connected <----> Reconnecting
///
///   HangUp, or the server's word, from each: Ended { confirmed }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Inviting,
    /// As caller: their app rings. As callee: it rings here.
    Ringing,
    Connecting,
    Connected,
    Reconnecting {
        since: Monotonic,
    },
    /// Another device of this person has the call.
    Elsewhere,
    /// `confirmed`: the server said so, and it is the reason that both sides have.
    Ended {
        ending: Ending,
        confirmed: bool,
    },
}
