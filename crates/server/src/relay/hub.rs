//! The relay at work: the gate, the UDP socket, and the queues of TCP and TLS connections.

use super::allocations::Way;
use super::gate::Gate;
use super::stun::{PACKET_MOST, padding};
use bytes::Bytes;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Packets that wait for one connection: a second of a call. What comes then is dropped, as late sound is worth nothing.
const QUEUE: usize = 64;
/// Packets read from the socket before other tasks get a turn.
const AT_ONCE: usize = 64;
const SWEEP: Duration = Duration::from_secs(1);
/// After the socket failed.
const READ_AGAIN: Duration = Duration::from_millis(100);

pub struct Hub {
    pub gate: Gate,
    udp: UdpSocket,
    streams: RwLock<HashMap<u64, mpsc::Sender<Bytes>>>,
    next: AtomicU64,
}

/// A connection's place in the hub; it is forgotten, and its allocation closed, when this is dropped.
pub struct Stream {
    hub: Arc<Hub>,
    pub way: Way,
    number: u64,
}

impl Hub {
    pub fn new(gate: Gate, udp: UdpSocket) -> Self {
        Self { gate, udp, streams: RwLock::default(), next: AtomicU64::new(0) }
    }

    /// Serves UDP until `end`.
    pub async fn run(self: Arc<Self>, end: CancellationToken) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One more than is taken, to tell a packet that is too large from one that just fits.
        let mut packet = [0; PACKET_MOST + 1];
        let mut out = Vec::with_capacity(PACKET_MOST);
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                _ = sweep.tick() => self.gate.sweep(),
                ready = self.udp.readable() => {
                    if let Err(e) = ready {
                        warn!(error = %e, "the relay's socket failed");
                        sleep(READ_AGAIN).await;
                    }
                    self.read(&mut packet, &mut out);
                }
            }
        }
    }

    fn read(&self, packet: &mut [u8], out: &mut Vec<u8>) {
        for _ in 0..AT_ONCE {
            match self.udp.try_recv_from(packet) {
                Ok((length, from)) if length < packet.len() => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    if let Some(to) = self.gate.packet(Way::Udp(from), from, &packet[..length], out) {
                        self.deliver(to, out);
                    }
                }
                Ok(_) => {
                    self.gate.figures.lost(super::figures::lost::MALFORMED);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // The answer to something sent earlier (Windows, and Linux with some filters): the socket is well.
                Err(e) => debug!(error = %e, "an earlier packet was not delivered"),
            }
        }
    }

    /// Sends or queues it; what does not go at once is dropped.
    pub fn deliver(&self, to: Way, packet: &[u8]) {
        match to {
            Way::Udp(address) => {
                if self.udp.try_send_to(packet, self.for_socket(address)).is_err() {
                    self.gate.figures.lost(super::figures::lost::SEND);
                }
            }
            Way::Stream(number) => {
                let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
                let queued = streams.get(&number).is_some_and(|queue| queue.try_send(padded(packet)).is_ok());
                if !queued {
                    self.gate.figures.lost(super::figures::lost::QUEUE);
                }
            }
        }
    }

    /// A socket for both families wants IPv4 addresses mapped.
    fn for_socket(&self, address: SocketAddr) -> SocketAddr {
        match (address.ip(), self.udp.local_addr()) {
            (IpAddr::V4(v4), Ok(SocketAddr::V6(_))) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => address,
        }
    }

    /// A place for a connection, and what it has to write.
    pub fn enter(self: &Arc<Self>) -> (Stream, mpsc::Receiver<Bytes>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.streams.write().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        (Stream { hub: self.clone(), way: Way::Stream(number), number }, receiver)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.streams.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        self.hub.gate.close(self.way);
    }
}

/// In a stream, what a channel carries is padded to a multiple of four (RFC 8656, section 12.5); messages are so anyway.
fn padded(packet: &[u8]) -> Bytes {
    let mut whole = Vec::with_capacity(packet.len() + 3);
    whole.extend(packet);
    whole.extend(&[0; 3][..padding(packet.len())]);
    whole.into()
}
