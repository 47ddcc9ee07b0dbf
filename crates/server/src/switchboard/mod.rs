//! The one task that owns the calls: it feeds the [`Exchange`], stores what changed, then tells those concerned.
//!
//! Everybody else sends it an input through [`Switchboard`]. It takes what has gathered in its mailbox, lets the exchange
//! act on each in order, stores all changed calls in one transaction, delivers the events in order, and only then answers
//! the senders. So nobody is told of what a restarted server would not know, and under load one write serves many.
//!
//! If the store fails, live calls go on: what could not be stored is spooled and tried again each second, new calls are
//! refused as unavailable, and the server is not ready.

mod desk;
mod flush;
mod readiness;
mod sessions;

use crate::app::Health;
use crate::auth::Scope;
use crate::relay::Relay;
use crate::session::Line;
use crate::store::{Store, StoreError};
use bellwire_call::{Booking, Who};
use bellwire_signaling::{Command, CommandId, Event, Resume, UnixMs};
use desk::Desk;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Inputs that wait. When it is full, the sockets wait, and with them their clients.
const MAILBOX: usize = 1_024;

/// The way to the switchboard's task.
#[derive(Clone)]
pub struct Switchboard {
    mailbox: mpsc::Sender<Input>,
    changes: Arc<AtomicU64>,
}

/// A device whose token was found good.
#[derive(Debug)]
pub struct SignIn {
    pub who: Who,
    /// What to call this person.
    pub name: String,
    pub scope: Scope,
    /// The app speaks the protocol of an older system.
    pub older: bool,
    pub expires_at: UnixMs,
    pub resume: Option<Resume>,
    pub line: Line,
    /// This person's open bookings, as they were when [`Switchboard::changes`] was `read_at`.
    pub bookings: Vec<Booking>,
    pub read_at: u64,
}

#[derive(Debug)]
enum Input {
    SignIn(Box<SignIn>),
    /// The socket of this number is gone.
    Lost {
        who: Who,
        number: u64,
    },
    Command {
        who: Who,
        number: u64,
        id: CommandId,
        command: Command,
    },
    BookingChanged(Box<Booking>),
    /// For this device's session, if it has one; the lobby's word, of which nothing is stored.
    Event {
        to: Who,
        event: Event,
    },
    /// Close all sockets and stop.
    Stop,
}

/// The switchboard's task is gone; the server is stopping.
#[derive(Clone, Copy, Debug)]
pub struct Stopped;

impl Switchboard {
    /// Starts the task, with the calls that the store holds.
    pub async fn start(
        store: Arc<dyn Store>,
        health: Arc<Health>,
        relay: Arc<Relay>,
        dev: bool,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let changes = Arc::new(AtomicU64::new(0));
        let (mailbox, inputs) = mpsc::channel(MAILBOX);
        let desk = Desk::open(store, health, relay, changes.clone(), dev).await?;
        let task = tokio::spawn(desk.run(inputs));
        Ok((Self { mailbox, changes }, task))
    }

    /// Grows with each change of a booking: what was read from the store before and used after may be old.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub async fn sign_in(&self, sign_in: SignIn) -> Result<(), Stopped> {
        self.send(Input::SignIn(Box::new(sign_in))).await
    }

    pub async fn lost(&self, who: Who, number: u64) -> Result<(), Stopped> {
        self.send(Input::Lost { who, number }).await
    }

    /// The answer goes to the socket of this number, if the session still has it.
    pub async fn command(&self, who: Who, number: u64, id: CommandId, command: Command) -> Result<(), Stopped> {
        self.send(Input::Command { who, number, id, command }).await
    }

    /// The booking was made or is another one now, and is stored.
    pub async fn booking_changed(&self, booking: Booking) -> Result<(), Stopped> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.send(Input::BookingChanged(Box::new(booking))).await
    }

    /// Tells a device something of which nothing is stored. Whoever calls this must not wait: what finds the mailbox full is
    /// lost, and false returned.
    pub fn event(&self, to: Who, event: Event) -> bool {
        self.mailbox.try_send(Input::Event { to, event }).is_ok()
    }

    pub async fn stop(&self) -> Result<(), Stopped> {
        self.send(Input::Stop).await
    }

    async fn send(&self, input: Input) -> Result<(), Stopped> {
        self.mailbox.send(input).await.map_err(|_| Stopped)
    }
}
