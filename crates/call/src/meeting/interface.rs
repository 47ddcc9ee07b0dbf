//! The boundary of a meeting: what goes in, what comes out, what it shows.

use crate::endpoint::{MediaEvent, Monotonic, Route};
use bellwire_signaling::{
    Candidate, ClientFrame, CommandId, Complaint, Departure, DescriptionKind, ErrorCode, Event, Handle, IceServer,
    Reply, RoomId, Sdp, WireError,
};

#[derive(Clone, Debug)]
pub enum Input {
    Wish(Wish),
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
    Media {
        leg: u32,
        event: MediaEvent,
    },
    /// The device's addresses or its way out are others than before, or it has slept.
    NetworkChanged,
    Timeout,
}

/// What a person can want.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Another room, or the queue, is left first.
    Enter(RoomId),
    /// Leaves the room or match.
    Leave,
    Lock(bool),
    Remove(Handle),
    Mute(bool),
    Search,
    /// Leaves the queue or the match.
    StopSearching,
    Skip,
    Block(Handle),
    Report(Handle, Complaint),
    /// Leave the screen of a room that is over.
    Dismiss,
    /// Whether connections go by relays alone. With a partner of a match they do in any case, where a relay is granted.
    RelayOnly(bool),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Send(ClientFrame),
    Sound(SoundCommand),
    /// What the person asked for was refused.
    Refused {
        code: ErrorCode,
        retry_after_ms: Option<u64>,
    },
}

/// What the sound engine shall do. Each member has a leg of its own, counted from 1; no number is used twice.
#[derive(Clone, Debug, PartialEq)]
pub enum SoundCommand {
    /// Members may come: open the devices.
    Warm,
    /// The relays of connections that are opened from now on.
    IceServers(Vec<IceServer>),
    Open {
        leg: u32,
        generation: u32,
        route: Route,
    },
    Offer {
        leg: u32,
        generation: u32,
    },
    SetRemote {
        leg: u32,
        generation: u32,
        kind: DescriptionKind,
        sdp: Sdp,
    },
    /// They may come before the description; the engine keeps them in order.
    AddCandidates {
        leg: u32,
        generation: u32,
        candidates: Vec<Candidate>,
    },
    /// The member is gone.
    Drop {
        leg: u32,
    },
    Mute(bool),
    /// Everything of the room: connections and devices.
    Close,
}

/// Why a timeout is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Ask for the next connection with a member.
    Renew,
    /// The server did not say in time which relays there are: go on without.
    Servers,
    /// Ask for relays.
    Grant,
    /// A command that the server could not take is sent again.
    Resend,
}

/// The one room this device is in, or was until a moment ago.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomShown {
    pub room: RoomId,
    pub topic: String,
    pub you: Handle,
    pub host: bool,
    pub locked: bool,
    /// In the order in which they entered.
    pub members: Vec<MemberShown>,
    pub muted: bool,
    /// When the server let this device in.
    pub since: Monotonic,
    /// A room of two that the queue made.
    pub matched: bool,
    pub over: Option<Departure>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MemberShown {
    pub member: Handle,
    pub name: String,
    pub host: bool,
    pub muted: bool,
    pub linked: bool,
    /// Who this is to the sound engine.
    pub leg: u32,
    pub sound: MemberSound,
}

/// Whether a member is heard here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberSound {
    /// Not yet heard.
    Connecting,
    Heard,
    /// Was heard; the next connection is being made.
    Lost,
}
