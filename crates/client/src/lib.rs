//! One signed-in device at work, with no window.
//!
//! A [`Client`] holds the socket to the server, this device's side of the call, and its sound. Start one with
//! [`Client::start`], ask for things with [`Client::request`], and read what happens from [`Updates`]. All state is
//! owned by one loop; a [`Snapshot`] says all of it. The desktop shell and `bellwire-cli` are built on this crate alone
//! and find here what they need of the others.
//!
//! It leaves out: windows and words for people, where tokens and settings are kept, and everything about bookings but
//! showing and calling them.

mod check;
mod client;
mod fault;
mod figures;
mod interface;
mod join;
mod link;
mod network;
mod probe;
mod quality;
mod report;
mod socket;
mod sound;
mod texts;
mod updates;
mod wire;

pub mod recording;

pub use check::CheckNow;
pub use client::Client;
pub use fault::LinkFault;
pub use interface::*;
pub use join::{BadLink, JoinLink};
pub use link::dev_people;
pub use updates::Updates;
pub use wire::{Wire, WireEvent};

pub use bellwire_call::check::{CheckFault, CheckReport, Finding, PathMeasured, Severity, Stage, Verdict};
pub use bellwire_call::explain::{Action, Blame, Explanation, Figure};
pub use bellwire_call::meeting::MemberSound;
pub use bellwire_call::{Monotonic, State};
pub use bellwire_media::{
    self as media, CandidateKind, DeviceChoice, DeviceEvent, DeviceFault, DeviceInfo, DeviceKind, IceServer,
    NoiseSuppression, PathInfo, Processing, Protection, ProtectionReason, RelayTransport, Stats, devices,
};
pub use bellwire_signaling::{
    self as signaling, Because, BookingId, BookingState, BookingView, CallId, CallRecord, Cause, ChatLine, CheckPath,
    Complaint, Departure, DevPerson, DeviceId, EndReason, Ending, ErrorCode, Handle, Health, KeepChat, Peer, Presence,
    Role, RoomId, SearchView, Side, Token, UnixMs, UserId, You,
};
pub use url::Url;
