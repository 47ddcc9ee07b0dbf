//! Every message of the native protocol: JSON text frames, a `type` in each, unknown fields refused.
//!
//! A client sends [`ClientFrame`]s: one hello, then commands, each with an id that makes a repeat harmless. The server
//! answers each command with an ack or a refusal, and sends [`Event`]s, each with a number, so that a client that
//! resumes gets what it missed. An event that shows a call holds the whole of it: the newest replaces the others.

use crate::{
    AttemptId, BookingId, BookingView, CallId, CallQuality, CallRecord, Candidate, CheckId, CheckPath, CommandId,
    Complaint, Departure, DescriptionKind, DeviceId, Handle, Health, IceServer, KeepChat, Presence, Purpose, Readiness,
    RoomId, RoomView, Sdp, SearchView, SessionId, Token, UnixMs, UserId, WireError,
};
use serde::{Deserialize, Serialize};

/// From an app to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// The first frame, within 5 s of the socket's opening.
    Hello {
        version: u16,
        token: Token,
        device: DeviceId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Resume>,
    },
    /// Instead of a hello, and only where the server runs with `--dev`: who is there to sign in as?
    DevPeople {},
    Command {
        id: CommandId,
        command: Command,
    },
}

/// Names the session that was lost and the last event that was seen in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    pub session: SessionId,
    pub seen: u64,
}

/// What a party can ask for. Each is safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// This person's bookings from now on. Answered by [`Reply::Bookings`].
    Bookings {},
    /// This person's ended calls, newest first, those that ended before `before`. Answered by [`Reply::History`].
    History {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<UnixMs>,
        limit: u16,
    },
    /// Calls the other party of a booking. Answered by [`Reply::Call`].
    Invite {
        booking: BookingId,
        attempt: AttemptId,
    },
    /// This device shows and sounds the ring.
    Ringing {
        call: CallId,
    },
    Accept {
        call: CallId,
    },
    Decline {
        call: CallId,
        because: Because,
    },
    /// Ends a call in any state: cancels it while it rings, hangs up later.
    HangUp {
        call: CallId,
    },
    /// The connection of this generation stands here; descriptions may come.
    Ready {
        call: CallId,
        generation: u32,
    },
    Describe {
        call: CallId,
        generation: u32,
        kind: DescriptionKind,
        #[serde(deserialize_with = "Sdp::deserialize_plain")]
        sdp: Sdp,
    },
    /// `done` after this side's last candidate of the generation.
    Candidates {
        call: CallId,
        generation: u32,
        candidates: Vec<Candidate>,
        done: bool,
    },
    /// Whether decoded speech frames of the other party are being played here.
    Hearing {
        call: CallId,
        generation: u32,
        hearing: bool,
    },
    /// The connection of this generation is lost: both shall make the next one.
    Renew {
        call: CallId,
        generation: u32,
    },
    /// This party's microphone is off, or on again; shown to the other.
    Muted {
        call: CallId,
        muted: bool,
    },
    /// This party wants the text of the call kept in its record, or no longer. Kept only while both want it.
    KeepChat {
        call: CallId,
        keep: bool,
    },
    /// Lines that this party wrote, delivered, and both want kept.
    ChatLines {
        call: CallId,
        lines: Vec<String>,
    },
    /// What this device finds of its own microphone, speaker and network, for the other party's device. Not stored.
    Health {
        call: CallId,
        health: Health,
    },
    /// How an ended call sounded here; kept in this party's history. Once: a second one changes nothing.
    Quality {
        call: CallId,
        quality: CallQuality,
    },
    /// What this person's app found when it checked sound and network for a booking; told to the other party.
    Readiness {
        booking: BookingId,
        readiness: Readiness,
    },
    /// STUN and TURN servers for connections of a live call or room of this person, or a check. Answered by
    /// [`Reply::IceServers`].
    IceServers {
        purpose: Purpose,
    },
    /// Asks for a check with the server's echo peer. Answered by [`Reply::Check`]; [`ErrorCode::Unavailable`] where there
    /// is none.
    StartCheck {},
    /// An offer to the echo peer, with all its candidates. [`Event::CheckAnswer`] follows.
    CheckOffer {
        check: CheckId,
        path: CheckPath,
        #[serde(deserialize_with = "Sdp::deserialize_plain")]
        sdp: Sdp,
    },
    EndCheck {
        check: CheckId,
    },
    /// The echo peer alone: this device answers checks from now on.
    ServeChecks {},
    /// The echo peer alone: the answer to [`Event::CheckOffered`], with all its candidates.
    AnswerCheck {
        check: CheckId,
        path: CheckPath,
        #[serde(deserialize_with = "Sdp::deserialize_plain")]
        sdp: Sdp,
    },
    /// Enters a room; being there already is no fault. [`Event::Room`] follows.
    EnterRoom {
        room: RoomId,
    },
    LeaveRoom {
        room: RoomId,
    },
    RoomMuted {
        room: RoomId,
        muted: bool,
    },
    /// Hosts only.
    LockRoom {
        room: RoomId,
        locked: bool,
    },
    /// Hosts only. They cannot enter again.
    RemoveMember {
        room: RoomId,
        member: Handle,
    },
    /// The connection of this generation with this member is lost: both shall make the next one.
    RenewMember {
        room: RoomId,
        member: Handle,
        generation: u32,
    },
    DescribeTo {
        room: RoomId,
        member: Handle,
        generation: u32,
        kind: DescriptionKind,
        /// An answer has the sections of its offer, also those that it refuses.
        sdp: Sdp,
    },
    CandidatesTo {
        room: RoomId,
        member: Handle,
        generation: u32,
        candidates: Vec<Candidate>,
        done: bool,
    },
    /// Joins the queue for the next partner. [`Event::Search`] follows, again whenever the place changes.
    Search {},
    /// Leaves the queue, or the match.
    StopSearching {},
    /// Leaves the match and joins the queue again. The two are not matched again for a while.
    Skip {},
    /// Never to be matched with this partner again; ends the match with them, if it goes on.
    Block {
        partner: Handle,
    },
    /// Tells the operator of a partner, up to a day after the match.
    Report {
        partner: Handle,
        complaint: Complaint,
    },
}

/// What a command is about: which part of a server or an app it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern<'a> {
    /// The person's own bookings and history, and calls that are yet to be made.
    Person,
    Call(&'a CallId),
    Room(&'a RoomId),
    /// The queue for the next partner, and those met through it.
    Queue,
    /// Checks before a call.
    Check,
}

impl Command {
    pub fn concern(&self) -> Concern<'_> {
        match self {
            Self::Bookings {} | Self::History { .. } | Self::Invite { .. } | Self::Readiness { .. } => Concern::Person,
            Self::IceServers { purpose: Purpose::Call { call } } => Concern::Call(call),
            Self::IceServers { purpose: Purpose::Room { room } } => Concern::Room(room),
            Self::IceServers { purpose: Purpose::Check { .. } }
            | Self::StartCheck {}
            | Self::CheckOffer { .. }
            | Self::EndCheck { .. }
            | Self::ServeChecks {}
            | Self::AnswerCheck { .. } => Concern::Check,
            Self::Ringing { call }
            | Self::Accept { call }
            | Self::Decline { call, .. }
            | Self::HangUp { call }
            | Self::Ready { call, .. }
            | Self::Describe { call, .. }
            | Self::Candidates { call, .. }
            | Self::Hearing { call, .. }
            | Self::Renew { call, .. }
            | Self::Muted { call, .. }
            | Self::KeepChat { call, .. }
            | Self::ChatLines { call, .. }
            | Self::Health { call, .. }
            | Self::Quality { call, .. } => Concern::Call(call),
            Self::EnterRoom { room }
            | Self::LeaveRoom { room }
            | Self::RoomMuted { room, .. }
            | Self::LockRoom { room, .. }
            | Self::RemoveMember { room, .. }
            | Self::RenewMember { room, .. }
            | Self::DescribeTo { room, .. }
            | Self::CandidatesTo { room, .. } => Concern::Room(room),
            Self::Search {} | Self::StopSearching {} | Self::Skip {} | Self::Block { .. } | Self::Report { .. } => {
                Concern::Queue
            }
        }
    }

    /// The call that this command names, if it names one.
    pub fn call(&self) -> Option<&CallId> {
        match self.concern() {
            Concern::Call(call) => Some(call),
            Concern::Person | Concern::Room(_) | Concern::Queue | Concern::Check => None,
        }
    }
}

/// Why a callee declines, in the words an app offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    NotNow,
    InTwoMinutes,
    WrongTime,
    Unwell,
}

/// From the server to an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerFrame {
    /// `resumed`: the session goes on, and the events after `seen` follow. If not, the app sends again what it had
    /// said about its call. `server_time` is the only clock that decides.
    Welcome {
        session: SessionId,
        resumed: bool,
        server_time: UnixMs,
        you: You,
        limits: Limits,
    },
    DevPeople {
        people: Vec<DevPerson>,
    },
    Ack {
        id: CommandId,
        reply: Reply,
    },
    /// A command was refused, or (without an id) the frame or the socket itself; the latter is closed after it.
    Refused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        error: WireError,
    },
    Event {
        seq: u64,
        event: Event,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct You {
    pub user: UserId,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevPerson {
    pub name: String,
    pub role: Role,
    pub token: Token,
}

/// What a client needs to know of the server's limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub frame_bytes: u32,
    pub ping_seconds: u16,
    pub resume_seconds: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    Done {},
    Call {
        call: CallId,
    },
    Bookings {
        bookings: Vec<BookingView>,
    },
    History {
        calls: Vec<CallRecord>,
    },
    /// None where this server has no relay. To be asked for again within the lifetime.
    IceServers {
        servers: Vec<IceServer>,
        lifetime_ms: u64,
    },
    Check {
        check: CheckId,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// All that this device may know of a call, now.
    Call {
        view: CallView,
    },
    /// The other party's description or candidates, in the order they were sent.
    Description {
        call: CallId,
        generation: u32,
        kind: DescriptionKind,
        sdp: Sdp,
    },
    Candidates {
        call: CallId,
        generation: u32,
        candidates: Vec<Candidate>,
        done: bool,
    },
    /// This person's bookings, all that are not over; sent after the welcome and when one of them changes.
    Bookings {
        bookings: Vec<BookingView>,
    },
    /// The other party of a booking came, went, or is in another call.
    Presence {
        booking: BookingId,
        presence: Presence,
    },
    /// The other party's app checked sound and network for a booking.
    Readiness {
        booking: BookingId,
        readiness: Readiness,
    },
    /// What the other party's device finds of its own microphone, speaker and network.
    Health {
        call: CallId,
        health: Health,
    },
    /// The echo peer's answer, with all its candidates.
    CheckAnswer {
        check: CheckId,
        path: CheckPath,
        sdp: Sdp,
    },
    /// To the echo peer: an offer to be answered with [`Command::AnswerCheck`], and servers for its connection.
    CheckOffered {
        check: CheckId,
        path: CheckPath,
        sdp: Sdp,
        servers: Vec<IceServer>,
    },
    /// To both: the check is over, or its time is.
    CheckOver {
        check: CheckId,
    },
    /// All that this device may know of the room it is in, now.
    Room {
        view: RoomView,
    },
    /// This device is in the room no more.
    RoomOver {
        room: RoomId,
        why: Departure,
    },
    /// A member's description or candidates for this device, in the order they were sent.
    DescriptionFrom {
        room: RoomId,
        member: Handle,
        generation: u32,
        kind: DescriptionKind,
        sdp: Sdp,
    },
    CandidatesFrom {
        room: RoomId,
        member: Handle,
        generation: u32,
        candidates: Vec<Candidate>,
        done: bool,
    },
    Search {
        view: SearchView,
    },
}

/// A call as one device of one party sees it. Versions only grow; an older one is thrown away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallView {
    pub call: CallId,
    pub booking: BookingId,
    pub version: u32,
    pub you: Side,
    pub peer: Peer,
    pub keep_chat: KeepChat,
    pub phase: Phase,
}

/// Where a call stands, as the server says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// The callee's app has not said that it rings.
    Inviting {
        since: UnixMs,
    },
    Ringing {
        since: UnixMs,
    },
    /// Accepted, on this device: make the connection. `go` once both said ready; then `offers` says who begins.
    Connecting {
        connection: Connection,
    },
    Connected {
        connection: Connection,
        connected_at: UnixMs,
        peer_muted: bool,
    },
    /// Sound was lost at `since`; the connection's generation is a new one.
    Reconnecting {
        connection: Connection,
        connected_at: UnixMs,
        since: UnixMs,
        peer_muted: bool,
    },
    /// Another device of this person took or holds the call.
    Elsewhere {},
    Ended {
        ending: Ending,
    },
}

/// One attempt to carry sound between the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    pub generation: u32,
    /// This device makes the offer.
    pub offers: bool,
    /// Both sides are ready.
    pub go: bool,
}

/// How a call ended: one for both sides, stored once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub reason: EndReason,
    /// Who ended it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Side>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// Milliseconds from connected to the end; 0 if it never was.
    pub duration_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// A party hung up after the call was accepted.
    HungUp,
    /// The caller hung up before that.
    Cancelled,
    Declined,
    /// Nobody accepted within the ring timeout.
    NoAnswer,
    /// The callee is in another call.
    Busy,
    /// Accepted, but no sound ever flowed both ways.
    MediaFailed,
    /// Sound was lost and did not come back in time.
    MediaLost,
    /// The booking was cancelled before the call was accepted.
    BookingCancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Caller,
    Callee,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Client,
    Provider,
}

impl Role {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Provider,
            Self::Provider => Self::Client,
        }
    }
}

/// The other party, as much as one may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    pub handle: Handle,
    pub name: String,
    pub role: Role,
}
