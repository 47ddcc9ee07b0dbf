//! The way of the packets: two TUN devices and one thread that sleeps until a packet comes or is due.

use super::{Change, Conditions, Counts, Direction, Fate};
use crate::lab::system::{self, Tun, Waker};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Orders that wait for the thread; one who gives more waits.
const ORDERS: usize = 16;
/// The largest packet that a device takes.
const MTU: usize = 1_500;

/// Where a device is made, and what it is called there.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub namespace: &'a str,
    pub device: &'a str,
}

/// A path between two namespaces; dropping it takes its devices away. Their addresses are given by whoever made it.
pub struct Emulator {
    orders: SyncSender<Order>,
    waker: Arc<Waker>,
    counts: Arc<Mutex<[Counts; 2]>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// Carried out before the sender goes on.
    Change(Change, SyncSender<()>),
    Stop,
}

impl Emulator {
    pub fn start(a: End<'_>, b: End<'_>, seed: u64) -> Result<Self> {
        let tuns = [Tun::open(a.namespace, a.device)?, Tun::open(b.namespace, b.device)?];
        let waker = Arc::new(Waker::new().context("no way to wake the path's thread")?);
        let (orders, ordered) = sync_channel(ORDERS);
        let counts = Arc::new(Mutex::new([Counts::default(); 2]));
        let path = Path {
            ends: tuns,
            waker: waker.clone(),
            ordered,
            counts: counts.clone(),
            ways: [Direction::new(seed), Direction::new(seed.wrapping_add(1))],
            under_way: BTreeMap::new(),
            came: 0,
            began: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("path".into()).spawn(move || path.carry())?;
        Ok(Self { orders, waker, counts, thread: Some(thread) })
    }

    /// In force when this returns.
    pub fn change(&self, change: Change) -> Result<()> {
        let (tell, told) = sync_channel(1);
        self.orders.send(Order::Change(change, tell)).context("the path's thread has ended")?;
        self.waker.wake();
        told.recv().context("the path's thread has ended")
    }

    /// As [`change`](Self::change), in words.
    pub fn set(&self, line: &str) -> Result<()> {
        self.change(super::parse(line)?)
    }

    /// Packets from a to b, and from b to a.
    pub fn counts(&self) -> [Counts; 2] {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Path {
    ends: [Tun; 2],
    waker: Arc<Waker>,
    ordered: Receiver<Order>,
    counts: Arc<Mutex<[Counts; 2]>>,
    /// From a, and from b.
    ways: [Direction; 2],
    /// By when each is due; of the same moment, as they came.
    under_way: BTreeMap<(Duration, u64), Packet>,
    came: u64,
    began: Instant,
}

struct Packet {
    /// The index of the end that it leaves by.
    to: usize,
    bytes: Vec<u8>,
}

impl Path {
    fn carry(mut self) {
        loop {
            let due = self.under_way.keys().next().map(|(due, _)| due.saturating_sub(self.began.elapsed()));
            if system::wait(&self.ends, &self.waker, due).is_err() {
                return;
            }
            while let Ok(order) = self.ordered.try_recv() {
                match order {
                    Order::Change(change, done) => {
                        self.obey(change);
                        let _ = done.send(());
                    }
                    Order::Stop => return,
                }
            }
            self.take();
            self.deliver();
            *self.counts.lock().unwrap_or_else(PoisonError::into_inner) =
                [self.ways[0].counts(), self.ways[1].counts()];
        }
    }

    fn obey(&mut self, change: Change) {
        for (from, concerned) in [change.from_a, change.from_b].into_iter().enumerate() {
            if concerned {
                let mut conditions: Conditions = self.ways[from].conditions();
                change.apply(&mut conditions);
                self.ways[from].set(conditions);
                if conditions.down {
                    self.under_way.retain(|_, packet| packet.to == from);
                }
            }
        }
    }

    fn take(&mut self) {
        let mut bytes = [0; MTU];
        for from in 0..2 {
            while let Some(length) = self.ends[from].read(&mut bytes) {
                self.came += 1;
                if let Fate::Out(due) = self.ways[from].arrive(self.began.elapsed(), length) {
                    let packet = Packet { to: 1 - from, bytes: bytes[..length].to_vec() };
                    self.under_way.insert((due, self.came), packet);
                }
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.began.elapsed() {
                return;
            }
            let packet = first.remove();
            self.ends[packet.to].write(&packet.bytes);
        }
    }
}
