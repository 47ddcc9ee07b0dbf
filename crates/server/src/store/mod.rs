//! What is kept: people, bookings, calls and how they sounded, planned rooms, blocks and reports.
//!
//! The traits speak the domain and say what is atomic; [`sqlite`] is the embedded implementation. Each method is one
//! transaction. `tests/store_contract.rs` runs against every implementation. What is not kept here: sessions, presence and
//! whatever else a restart may forget; what of that several servers would share is [`company::LiveState`].

pub mod company;
pub mod sqlite;

use bellwire_call::{BookedCall, Booking, Sides};
use bellwire_signaling::{AttemptId, BookingId, BookingState, CallId, CallQuality, UnixMs, UserId};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use thiserror::Error;

pub use sqlite::Sqlite;

/// Most bookings in one page of a list.
pub const BOOKINGS_PAGE: u32 = 500;
/// Most bookings that are sent to an app at once.
pub const OPEN_BOOKINGS: u32 = 100;
/// Most calls in one answer of the operator's list.
pub const CALLS_PAGE: u32 = 500;
/// For how long an Idempotency-Key is remembered.
pub const REPEAT_MS: u64 = 24 * 60 * 60_000;

#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing was changed; it may work later.
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the store holds a {0} that cannot be read")]
    Unreadable(&'static str),
}

pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// All that a server keeps.
pub trait Store: Bookings + CallStore + Qualities + People + company::Company {
    /// Whether it can be written to now.
    fn check(&self) -> Answer<'_, ()>;
}

/// What a person is to the operator. In a booking, the booking says who is what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonRole {
    Client,
    Provider,
    Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPerson {
    pub user: UserId,
    pub name: String,
    pub role: PersonRole,
}

pub trait People: Send + Sync {
    /// Makes a person, or gives one a new name and role. An operator stays one.
    fn put_person<'a>(&'a self, person: &'a KnownPerson, now: UnixMs) -> Answer<'a, ()>;
    fn person<'a>(&'a self, user: &'a UserId) -> Answer<'a, Option<KnownPerson>>;
    /// Clients and providers, the newest first.
    fn people(&self, limit: u32) -> Answer<'_, Vec<KnownPerson>>;
}

/// What came of a wish to make a booking.
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    New(Booking),
    /// The key was used for the same request before: this is what it made.
    Repeat(Booking),
    /// The key was used for another request.
    KeyTaken,
}

/// A repeatable request: its key, and its text to tell whether a repeat is one.
#[derive(Clone, Debug)]
pub struct Repeatable {
    pub key: String,
    pub request: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingChange {
    Reschedule { starts_at: Option<UnixMs>, length_ms: Option<u64> },
    Cancel,
}

/// What came of a wish to change a booking.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    Done(Booking),
    /// It was so already.
    Unchanged(Booking),
    NotFound,
    /// Only a scheduled booking can be changed.
    Over(BookingState),
    NotReschedulable,
}

/// Bookings in the order of their start.
#[derive(Clone, Debug, Default)]
pub struct BookingQuery {
    pub person: Option<UserId>,
    /// Those that start at or after this.
    pub from: Option<UnixMs>,
    /// Those that start before this.
    pub to: Option<UnixMs>,
    /// Those after this one of an earlier page.
    pub after: Option<(UnixMs, BookingId)>,
    pub limit: u32,
}

pub trait Bookings: Send + Sync {
    /// Stores the booking and its two people, and the key if there is one: all or nothing.
    fn create_booking<'a>(
        &'a self,
        booking: &'a Booking,
        repeat: Option<&'a Repeatable>,
        now: UnixMs,
    ) -> Answer<'a, Created>;
    fn booking<'a>(&'a self, id: &'a BookingId) -> Answer<'a, Option<Booking>>;
    fn bookings<'a>(&'a self, query: &'a BookingQuery) -> Answer<'a, Vec<Booking>>;
    /// This person's bookings whose join window is not over, by start, at most [`OPEN_BOOKINGS`].
    fn open_bookings<'a>(&'a self, user: &'a UserId, now: UnixMs) -> Answer<'a, Vec<Booking>>;
    /// Reads, checks and writes in one.
    fn change_booking<'a>(&'a self, id: &'a BookingId, change: BookingChange) -> Answer<'a, Changed>;
}

/// Calls of a booking, of a person, or both; the newest first.
#[derive(Clone, Debug, Default)]
pub struct CallQuery {
    pub person: Option<UserId>,
    pub booking: Option<BookingId>,
    pub limit: u32,
}

pub trait CallStore: Send + Sync {
    /// Stores these calls as they now are, all or none. One that is stored as ended stays as it is.
    fn save_calls<'a>(&'a self, calls: &'a [BookedCall]) -> Answer<'a, ()>;
    fn call_of_attempt<'a>(&'a self, booking: &'a BookingId, attempt: &'a AttemptId) -> Answer<'a, Option<CallId>>;
    /// Calls that are not over, or ended after this.
    fn recent_calls(&self, ended_after: UnixMs) -> Answer<'_, Vec<BookedCall>>;
    /// A person's ended calls, the newest first: those that ended before `before`, and of `booking` alone if given.
    fn ended_calls<'a>(
        &'a self,
        user: &'a UserId,
        booking: Option<&'a BookingId>,
        before: Option<UnixMs>,
        limit: u32,
    ) -> Answer<'a, Vec<BookedCall>>;
    fn calls<'a>(&'a self, query: &'a CallQuery) -> Answer<'a, Vec<BookedCall>>;
}

/// How calls sounded, by call.
pub type CallQualities = HashMap<CallId, Sides<Option<CallQuality>>>;

/// What came of a wish to keep how a call sounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QualityKept {
    Now,
    /// This side has said it before: that stands.
    Already,
    /// The call is not over.
    GoesOn,
    NotFound,
}

pub trait Qualities: Send + Sync {
    /// Reads, checks and writes in one: how an ended call of `user`, of `booking` alone if given, sounded on their side. It
    /// goes when the call goes.
    fn keep_quality<'a>(
        &'a self,
        call: &'a CallId,
        user: &'a UserId,
        booking: Option<&'a BookingId>,
        quality: &'a CallQuality,
    ) -> Answer<'a, QualityKept>;
    /// Of those calls of which anything is known.
    fn qualities<'a>(&'a self, calls: &'a [&'a CallId]) -> Answer<'a, CallQualities>;
}
