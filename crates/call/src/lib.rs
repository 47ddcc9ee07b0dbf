//! What happens: the pure state machines of both sides of a booked call.
//!
//! [`Exchange`] and its [`BookedCall`]s are the server's side and the one authority; an [`Endpoint`] is one device of one
//! person. [`Rooms`] and the [`MatchQueue`] are the server's side of rooms and matches, a [`Meeting`] a device's. All are
//! told the time, hold no socket, ask for nothing and draw no random numbers, so that thousands of whole calls run in
//! virtual time in the tests (`simulation`). The nine rules of a call stand in docs/architecture.md.

pub mod booked_call;
pub mod booking;
pub mod chat;
pub mod check;
pub mod endpoint;
pub mod exchange;
pub mod explain;
mod fault;
mod grant;
mod kept_chat;
pub mod matching;
pub mod meeting;
mod outbox;
pub mod rooms;
mod sides;
#[cfg(test)]
mod simulation;
mod way;

pub use booked_call::{BookedCall, Party};
pub use booking::*;
pub use chat::{Chat, ChatRefusal};
pub use endpoint::{
    CallNow, Endpoint, Input, MediaCommand, MediaEvent, Monotonic, Notice, Output, Route, State, UserCommand,
};
pub use exchange::{Effect, Exchange, Who};
pub use explain::{Action, Blame, Explainer, Explanation, Figure, Second, Stage};
pub use matching::{MatchQueue, PartedWhy, QueueEffect, QueueRefusal, SearchState, Searcher};
pub use meeting::Meeting;
pub use rooms::{
    Entrant, Guest, Habit, LinkId, Member, Notice as RoomNotice, Receivers, RoomEffect, RoomPlan, RoomRefusal,
    RoomTotals, Rooms, SignalKind,
};
pub use sides::Sides;
