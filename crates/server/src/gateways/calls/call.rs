//! A call as a seat knows it, and what its app is told of it.

use super::connection::Signals;
use super::interpreter::{Action, Source};
use super::words::Fault;
use crate::clock;
use crate::closing::refusal;
use bellwire_signaling::{
    Because, BookingId, CallId, Candidate, Command, DescriptionKind, EndReason, Ending, ErrorCode, Peer, Sdp, Side,
    UnixMs,
};
use serde_json::{Value, json};

/// A call of a booking, as this seat knows it.
pub struct Call {
    pub call: CallId,
    pub version: u32,
    pub you: Side,
    pub peer: Peer,
    pub stage: Stage,
    pub started_at: UnixMs,
    pub signals: Signals,
    /// An offer that waits for both sides to be ready.
    pub held: Option<(Sdp, Source)>,
    pub ready_for: u32,
    pub shown: Shown,
}

/// ```text
/// Rings -> Talks -> Over
///     \        \-> Elsewhere -> Over
///      `---------------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Rings,
    Talks,
    /// On another device of this person.
    Elsewhere,
    Over,
}

/// What the app was told.
#[derive(Default)]
pub struct Shown {
    pub incoming: bool,
    pub ringing: bool,
    pub peer_muted: bool,
}

impl Call {
    /// As it is before this seat has been told anything of it.
    pub fn new(call: CallId, you: Side, peer: Peer, stage: Stage) -> Self {
        Self {
            call,
            version: 0,
            you,
            peer,
            stage,
            started_at: UnixMs(0),
            signals: Signals::default(),
            held: None,
            ready_for: 0,
            shown: Shown::default(),
        }
    }

    pub fn may_signal(&self) -> Result<(), Fault> {
        match self.stage {
            Stage::Talks => Ok(()),
            Stage::Rings => Err(Fault::wrong_state("the call is not accepted yet: send this again after it is")),
            Stage::Elsewhere => Err(refusal(ErrorCode::OnAnotherDevice).into()),
            Stage::Over => Err(Fault::wrong_state("the call is over")),
        }
    }

    pub fn candidates(&self, candidates: Vec<Candidate>, done: bool) -> Command {
        Command::Candidates { call: self.call.clone(), generation: self.signals.generation, candidates, done }
    }

    pub fn incoming(&self, booking: &BookingId, topic: Option<&String>) -> Action {
        let body = json!({
            "bookingId": booking, "callId": self.call, "from": self.peer.handle, "callerName": self.peer.name,
            "topic": topic, "startedAt": self.started_at,
        });
        Action::Emit { event: "call:incoming", body }
    }

    pub fn ringing(&self, booking: &BookingId) -> Action {
        Action::Emit { event: "call:ringing", body: json!({ "bookingId": booking, "callId": self.call }) }
    }

    pub fn accepted(&self, booking: &BookingId) -> Action {
        let body = json!({ "bookingId": booking, "callId": self.call, "from": self.peer.handle });
        Action::Emit { event: "call:accepted", body }
    }

    pub fn reconnect(&self, booking: &BookingId) -> Action {
        let body = json!({ "bookingId": booking, "callId": self.call, "offers": self.signals.offers });
        Action::Emit { event: "call:reconnect", body }
    }

    pub fn description(&self, booking: &BookingId, kind: DescriptionKind, sdp: &Sdp) -> Action {
        let (event, field) = match kind {
            DescriptionKind::Offer => ("call:offer", "offer"),
            DescriptionKind::Answer => ("call:answer", "answer"),
        };
        let description = json!({ "type": field, "sdp": sdp });
        Action::Emit { event, body: json!({ "bookingId": booking, field: description, "from": self.peer.handle }) }
    }

    pub fn candidate(&self, booking: &BookingId, candidate: &Candidate) -> Action {
        let body = json!({ "bookingId": booking, "candidate": candidate, "from": self.peer.handle });
        Action::Emit { event: "call:ice-candidate", body }
    }

    pub fn answered_elsewhere(&self, booking: &BookingId) -> Action {
        Action::Emit { event: "call:answered-elsewhere", body: json!({ "bookingId": booking, "callId": self.call }) }
    }

    pub fn peer_muted(&self, booking: &BookingId, muted: bool) -> Action {
        let body = json!({ "bookingId": booking, "callId": self.call, "muted": muted });
        Action::Emit { event: "call:peer-muted", body }
    }

    pub fn ended(&self, booking: &BookingId, ending: &Ending) -> Action {
        let body = json!({
            "bookingId": booking, "callId": self.call, "reason": reason(ending.reason),
            "endedBy": by(ending.by, self.you), "because": ending.because.map(because),
            "duration": ending.duration_ms / 1_000,
        });
        let event = match ending.reason {
            EndReason::Declined | EndReason::Busy if self.you == Side::Caller => "call:rejected",
            EndReason::Declined
            | EndReason::Busy
            | EndReason::HungUp
            | EndReason::Cancelled
            | EndReason::NoAnswer
            | EndReason::MediaFailed
            | EndReason::MediaLost
            | EndReason::BookingCancelled => "call:ended",
        };
        Action::Emit { event, body }
    }
}

/// For a callee who did not get to answer.
pub fn missed(booking: &BookingId, call: &CallId, peer: &Peer, you: Side, ending: &Ending) -> Option<Action> {
    let missed = match ending.reason {
        EndReason::NoAnswer | EndReason::Cancelled | EndReason::Busy => you == Side::Callee,
        EndReason::HungUp
        | EndReason::Declined
        | EndReason::MediaFailed
        | EndReason::MediaLost
        | EndReason::BookingCancelled => false,
    };
    let body = json!({
        "bookingId": booking, "callId": call, "from": peer.handle, "callerName": peer.name,
        "reason": reason(ending.reason),
    });
    missed.then_some(Action::Emit { event: "call:missed", body })
}

/// The body of a `call:error`.
pub fn error_body(event: Option<&str>, booking: Option<String>, fault: &Fault) -> Value {
    let mut body = fault.body();
    body["bookingId"] = json!(booking);
    body["event"] = json!(event);
    body["timestamp"] = json!(clock::now());
    body
}

fn by(by: Option<Side>, you: Side) -> Option<&'static str> {
    by.map(|side| if side == you { "you" } else { "peer" })
}

fn reason(reason: EndReason) -> Value {
    serde_json::to_value(reason).unwrap_or_default()
}

fn because(because: Because) -> Value {
    serde_json::to_value(because).unwrap_or_default()
}
