//! The sound thread: it owns the pipeline and moves sound between devices and connections.
//!
//! It wakes each 5 ms, takes what the microphone has captured and writes what the speaker wants. So the microphone's clock
//! paces what is sent and the speaker's clock what is played; the jitter buffers on both sides absorb the drift between
//! them. Where there is no device, the engine's clock stands in, so that a call without one goes on.
//!
//! What is captured is encoded once, however many far sides there are; each connection has a road of its own, which protects
//! it as the way needs. What is played is the sum of all, with the tones, held within full scale; it is also what the echo
//! canceller knows.
//!
//! Packets wait for that, but one that tells of a gap wakes the thread, as the far side's own requests do: what is asked for
//! again is asked for and goes out at once. What goes the other way, to the network, passes one channel of [`Sent`].

mod thread;

use crate::devices::{DeviceEvent, Sink, Source};
use crate::opus::OpusError;
use crate::pipeline::{Abilities, Arrival, Feedback, Outbound, Received, RoadFigures, SendSide};
use crate::{Generation, Leg, Processing, Tone};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use thread::Thread;
use tokio::sync::mpsc;

/// One connection. A call after this one may use the same legs and generations, so these are numbered as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId {
    pub leg: Leg,
    pub generation: Generation,
    pub serial: u64,
}

impl ConnectionId {
    pub fn place(self) -> (Leg, Generation) {
        (self.leg, self.generation)
    }
}

/// What the sound thread can be told.
pub enum Order {
    Source(Option<Box<dyn Source>>),
    Sink(Option<Box<dyn Sink>>),
    /// Another speaker, for the ring alone.
    RingSink(Option<Box<dyn Sink>>),
    /// Whether it rings there.
    Ring(bool),
    /// A connection's sound may come.
    Receive(ConnectionId),
    /// Packets are wanted on this connection, by a far side that can do this much. Said again, the road begins anew.
    Road(ConnectionId, Abilities),
    Forget(ConnectionId),
    Mute(bool),
    Processing(Processing),
    Tone(Option<Tone>),
    Melody,
    Stop,
}

/// What the sound thread says.
pub enum Note {
    Flowing(ConnectionId),
    Stalled(ConnectionId),
    Second {
        id: ConnectionId,
        heard: Heard,
        /// `None` while nothing is sent on it.
        road: Option<RoadFigures>,
        ours: Ours,
    },
    /// A far side, by the connection that is heard, or we.
    Speaking {
        id: Option<ConnectionId>,
        speaking: bool,
    },
    Level {
        input: f32,
        output: f32,
    },
    Device(DeviceEvent),
    /// Somebody speaks into the muted microphone.
    SpeakingMuted,
    /// The melody is over.
    MelodyDone,
}

/// What a second of a connection brought.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub received: Received,
    /// Mean length of the gaps that loss left.
    pub burst_ms: f32,
    /// Our own voice comes back on this leg, so many decibels weaker.
    pub own_voice_back_db: Option<f32>,
}

/// What a second of the sound thread was like, whichever connection.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// RMS of what is sent.
    pub microphone_dbfs: f32,
    pub echo_return_loss_db: Option<f32>,
    /// Wakes that came too late.
    pub late_ticks: u32,
    /// Times that the speaker had nothing to play.
    pub underruns: u32,
}

/// What goes to the network.
pub enum Sent {
    Packet(ConnectionId, Outbound),
    /// These packets of the far side are to be asked for again.
    Missing(ConnectionId, Vec<u16>),
    /// What it is to be told of its packets.
    Feedback(ConnectionId, Feedback),
}

/// What comes from the network.
enum Incoming {
    Packet(Packet),
    /// The far side asks for these of our packets again.
    Asked(ConnectionId, Vec<u16>),
    /// What it says of our packets.
    Told(ConnectionId, Feedback),
}

/// Orders are few; whoever sends one waits, for 5 ms at most, when so many are unread.
const ORDERS: usize = 128;
/// Packets of all connections, and what their far sides say, between two wakes; more are dropped, as the network would.
const PACKETS: usize = 512;
/// What is on its way to the network, a second of it in a full room; when it is full the newest is dropped, as the network
/// would: what is lost is asked for again, and what is told is told again a second later.
pub const SENT: usize = 512;
/// Notes to the engine's loop; when it is full levels and seconds are dropped and the others wait here.
pub const NOTES: usize = 128;

/// Where the thread finds what came from the network, and what wakes it for that.
struct Inbox {
    incoming: Receiver<Incoming>,
    woken: Receiver<()>,
}

/// A packet of a connection.
pub struct Packet {
    pub id: ConnectionId,
    pub arrival: Arrival,
}

/// Handles to the thread. Cloning gives another way in.
#[derive(Clone)]
pub struct Audio {
    orders: SyncSender<Order>,
    packets: Way,
    epoch: Instant,
}

/// Where a connection's packets go.
#[derive(Clone)]
enum Way {
    Thread {
        to: SyncSender<Incoming>,
        wake: SyncSender<()>,
    },
    /// A check listens itself, without a sound thread.
    Tap(mpsc::Sender<Packet>),
}

impl Audio {
    /// Hands over packets as they come, and plays nothing. Times count from now.
    pub fn tap() -> (Self, mpsc::Receiver<Packet>, Instant) {
        let (tap, packets) = mpsc::channel(PACKETS);
        let (orders, _) = sync_channel(1);
        let epoch = Instant::now();
        (Self { orders, packets: Way::Tap(tap), epoch }, packets, epoch)
    }

    /// Starts the thread; it ends with [`Order::Stop`].
    pub fn start(
        processing: Processing,
        start: u32,
        notes: mpsc::Sender<Note>,
        sent: mpsc::Sender<Sent>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), StartError> {
        let (orders, order_inbox) = sync_channel(ORDERS);
        let (to, incoming) = sync_channel(PACKETS);
        let (wake, woken) = sync_channel(1);
        let epoch = Instant::now();
        let send = SendSide::new(processing, start)?;
        let thread = std::thread::Builder::new().name("bellwire-sound".into()).spawn(move || {
            Thread::new(order_inbox, Inbox { incoming, woken }, epoch, send, processing, notes, sent).run();
        })?;
        Ok((Self { orders, packets: Way::Thread { to, wake }, epoch }, thread))
    }

    pub fn order(&self, order: Order) {
        // The thread reads its orders each 5 ms, whatever else happens; it is gone only after `Stop`.
        let _ = self.orders.send(order);
    }

    /// The time now, as arrivals have it.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Hands over a packet, which may be `in_order`, so that nothing has to be done at once.
    pub fn packet(&self, id: ConnectionId, arrival: Arrival, in_order: bool) {
        self.hand_over(id, Incoming::Packet(Packet { id, arrival }));
        if !in_order {
            self.wake();
        }
    }

    /// The far side asks for these of our packets again.
    pub fn asked(&self, id: ConnectionId, sequences: Vec<u16>) {
        self.hand_over(id, Incoming::Asked(id, sequences));
        self.wake();
    }

    /// The far side said this of our packets.
    pub fn told(&self, id: ConnectionId, feedback: Feedback) {
        self.hand_over(id, Incoming::Told(id, feedback));
    }

    fn wake(&self) {
        if let Way::Thread { wake, .. } = &self.packets {
            // One that is already told will take all there is.
            let _ = wake.try_send(());
        }
    }

    fn hand_over(&self, id: ConnectionId, incoming: Incoming) {
        let full = match (&self.packets, incoming) {
            (Way::Thread { to, .. }, incoming) => matches!(to.try_send(incoming), Err(TrySendError::Full(_))),
            (Way::Tap(to), Incoming::Packet(packet)) => {
                matches!(to.try_send(packet), Err(mpsc::error::TrySendError::Full(_)))
            }
            (Way::Tap(_), Incoming::Asked(..) | Incoming::Told(..)) => false,
        };
        if full {
            tracing::debug!(?id, "sound thread is behind, packet dropped");
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Opus(#[from] OpusError),
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}
