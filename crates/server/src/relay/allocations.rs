//! Who may send what to whom through the relay. Pure: no socket, and told the time.
//!
//! An allocation's port is a number in this table and nothing else, so a packet can go to another allocation and to
//! nowhere else, whatever address a client names. An allocation hears another only after it addressed that one's port
//! itself: a stranger with credentials of their own reaches nobody.

use super::credentials::Key;
use crate::rate::{Bucket, Rate};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use stun_types::message::TransactionId;

/// RFC 8656, section 7.2: what a client gets that asks for nothing, and the most that it can get.
const LIFETIME: Duration = Duration::from_secs(600);
const LIFETIME_MOST: Duration = Duration::from_secs(3_600);
/// With refreshes, in all: longer than any call.
const AGE_MOST: Duration = Duration::from_secs(8 * 3_600);
/// RFC 8656, sections 9 and 12.
const PERMISSION: Duration = Duration::from_secs(300);
const BINDING: Duration = Duration::from_secs(600);
/// Ports and channels of one allocation; a connection has a handful.
const PEERS_MOST: usize = 64;
const CHANNELS_MOST: usize = 32;
/// In all; each is a few hundred bytes.
const ALLOCATIONS_MOST: usize = 8_192;
const PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// One that a connection uses says something every few seconds. One that was silent for so long makes place for another of
/// the same person: a changed network leaves allocations behind that nobody can close.
const SILENT: Duration = Duration::from_secs(60);
/// Requests on one allocation.
const REQUESTS: Rate = Rate { burst: 100.0, a_second: 20.0 };

/// From where a client's packets come, and where they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Udp(SocketAddr),
    /// A TCP or TLS connection, by its number.
    Stream(u64),
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub per_handle: u32,
    /// Bytes.
    pub bandwidth: Option<Rate>,
}

/// Why a request is refused; the numbers are RFC 8656's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Bad Request")]
    Bad,
    #[error("Forbidden")]
    Forbidden,
    #[error("Allocation Mismatch")]
    Mismatch,
    #[error("Wrong Credentials")]
    Wrong,
    #[error("Address Family not Supported")]
    NoFamily,
    #[error("Unsupported Transport Protocol")]
    Transport,
    #[error("Peer Address Family Mismatch")]
    Family,
    #[error("Allocation Quota Reached")]
    Quota,
    #[error("Insufficient Capacity")]
    Full,
}

/// Why a packet goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The sender has no allocation.
    Stranger,
    /// It goes to no allocation that hears this one.
    Unheard,
    Bandwidth,
}

#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub to: Way,
    /// The receiver's channel for this sender, if it has one.
    pub channel: Option<u16>,
    pub from_port: u16,
}

pub struct Opening<'a> {
    pub username: &'a str,
    pub handle: &'a str,
    pub key: Key,
    pub transaction: TransactionId,
    pub lifetime_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    pub port: u16,
    pub lifetime_s: u32,
}

pub struct Allocations {
    address: IpAddr,
    limits: Limits,
    by_way: HashMap<Way, Allocation>,
    by_port: HashMap<u16, Way>,
    by_handle: HashMap<Box<str>, u32>,
}

struct Allocation {
    username: Box<str>,
    handle: Box<str>,
    key: Key,
    /// Of the request that made it; the same again is a repeat.
    transaction: TransactionId,
    port: u16,
    since: Instant,
    until: Instant,
    permitted_until: Instant,
    /// When its client last said something.
    heard: Instant,
    /// Ports that it addressed.
    peers: Vec<u16>,
    channels: Vec<Channel>,
    sent: Bucket,
    requests: Bucket,
}

struct Channel {
    number: u16,
    port: u16,
    until: Instant,
}

impl Allocations {
    /// `address` is where the allocations seem to be.
    pub fn new(address: IpAddr, limits: Limits) -> Self {
        let (by_way, by_port, by_handle) = Default::default();
        Self { address, limits, by_way, by_port, by_handle }
    }

    pub fn len(&self) -> usize {
        self.by_way.len()
    }

    /// The key and the name that requests on this allocation must have, if one lives.
    pub fn owner(&self, way: Way) -> Option<(&str, &Key)> {
        self.by_way.get(&way).map(|allocation| (&*allocation.username, &allocation.key))
    }

    /// Whether a request can be looked at now; none if nothing is allocated there.
    pub fn admit(&mut self, way: Way, now: Instant) -> Option<bool> {
        self.by_way.get_mut(&way).map(|allocation| allocation.requests.take(REQUESTS, 1.0, now).is_ok())
    }

    pub fn open(&mut self, way: Way, opening: &Opening<'_>, now: Instant) -> Result<Opened, Refusal> {
        self.close_if_over(way, now);
        if let Some(there) = self.by_way.get(&way) {
            let lifetime_s = there.until.saturating_duration_since(now).as_secs() as u32;
            let is_repeat = there.transaction == opening.transaction && *there.username == *opening.username;
            return is_repeat.then_some(Opened { port: there.port, lifetime_s }).ok_or(Refusal::Mismatch);
        }
        if self.held(opening.handle) >= self.limits.per_handle {
            let silent = self.longest_silent(opening.handle, now).ok_or(Refusal::Quota)?;
            self.close(silent);
        }
        if self.by_way.len() >= ALLOCATIONS_MOST {
            return Err(Refusal::Full);
        }
        let (port, lifetime) = (self.free_port(), lifetime(opening.lifetime_s));
        self.by_port.insert(port, way);
        *self.by_handle.entry(opening.handle.into()).or_default() += 1;
        let rate = self.limits.bandwidth.unwrap_or(REQUESTS);
        let allocation = Allocation {
            username: opening.username.into(),
            handle: opening.handle.into(),
            key: opening.key.clone(),
            transaction: opening.transaction,
            port,
            since: now,
            until: now + lifetime,
            permitted_until: now,
            heard: now,
            peers: Vec::new(),
            channels: Vec::new(),
            sent: Bucket::full(rate, now),
            requests: Bucket::full(REQUESTS, now),
        };
        self.by_way.insert(way, allocation);
        Ok(Opened { port, lifetime_s: lifetime.as_secs() as u32 })
    }

    fn held(&self, handle: &str) -> u32 {
        self.by_handle.get(handle).copied().unwrap_or(0)
    }

    fn longest_silent(&self, handle: &str, now: Instant) -> Option<Way> {
        let silent = |each: &Allocation| *each.handle == *handle && now >= each.heard + SILENT;
        let (way, _) = self.by_way.iter().filter(|(_, each)| silent(each)).min_by_key(|(_, each)| each.heard)?;
        Some(*way)
    }

    /// At random, so that nobody guesses another's. There are twice as many ports as allocations.
    fn free_port(&self) -> u16 {
        loop {
            let port = rand::random_range(PORTS);
            if !self.by_port.contains_key(&port) {
                return port;
            }
        }
    }

    /// The lifetime it has from now; with 0 it is over.
    pub fn refresh(&mut self, way: Way, lifetime_s: Option<u32>, now: Instant) -> Result<u32, Refusal> {
        let allocation = self.living(way, now).ok_or(Refusal::Mismatch)?;
        if lifetime_s == Some(0) {
            self.close(way);
            return Ok(0);
        }
        let lifetime = lifetime(lifetime_s);
        if now + lifetime > allocation.since + AGE_MOST {
            return Err(Refusal::Forbidden);
        }
        allocation.until = now + lifetime;
        Ok(lifetime.as_secs() as u32)
    }

    /// Opens the way to all of these peers, or to none. Port 0 stands for those that were named before.
    pub fn permit(&mut self, way: Way, peers: &[Option<SocketAddr>], now: Instant) -> Result<(), Refusal> {
        if peers.is_empty() {
            return Err(Refusal::Bad);
        }
        let ports = peers.iter().map(|peer| self.port_of(way, *peer)).collect::<Result<Vec<u16>, Refusal>>()?;
        let allocation = self.living(way, now).ok_or(Refusal::Mismatch)?;
        for port in ports.into_iter().filter(|port| *port != 0) {
            allocation.address(port)?;
        }
        allocation.permitted_until = now + PERMISSION;
        Ok(())
    }

    pub fn bind(&mut self, way: Way, number: u16, peer: Option<SocketAddr>, now: Instant) -> Result<(), Refusal> {
        let port = self.port_of(way, peer)?;
        if port == 0 || !super::stun::CHANNELS.contains(&number) {
            return Err(Refusal::Bad);
        }
        let allocation = self.living(way, now).ok_or(Refusal::Mismatch)?;
        allocation.channels.retain(|channel| channel.until > now);
        let until = now + BINDING;
        let is_full = allocation.channels.len() >= CHANNELS_MOST;
        match allocation.channels.iter_mut().find(|channel| channel.number == number || channel.port == port) {
            Some(channel) if channel.number == number && channel.port == port => channel.until = until,
            Some(_) => return Err(Refusal::Bad),
            None if is_full => return Err(Refusal::Full),
            None => {
                allocation.address(port)?;
                allocation.channels.push(Channel { number, port, until });
            }
        }
        allocation.permitted_until = now + PERMISSION;
        Ok(())
    }

    /// The port of a peer that may be asked for: another allocation of this relay. 0 is passed through.
    fn port_of(&self, way: Way, peer: Option<SocketAddr>) -> Result<u16, Refusal> {
        let peer = peer.ok_or(Refusal::Bad)?;
        if peer.is_ipv4() != self.address.is_ipv4() {
            return Err(Refusal::Family);
        }
        let is_other = peer.port() == 0 || self.by_port.get(&peer.port()).is_some_and(|other| *other != way);
        if peer.ip() == self.address && is_other { Ok(peer.port()) } else { Err(Refusal::Forbidden) }
    }

    /// A Send indication.
    pub fn send(&mut self, way: Way, peer: SocketAddr, length: usize, now: Instant) -> Result<Delivery, Lost> {
        let own = peer.ip() == self.address;
        let bandwidth = self.limits.bandwidth;
        let allocation = self.living(way, now).ok_or(Lost::Stranger)?;
        if !own || allocation.permitted_until <= now || allocation.address(peer.port()).is_err() {
            return Err(Lost::Unheard);
        }
        allocation.spend(bandwidth, length, now)?;
        self.deliver(way, peer.port(), now)
    }

    /// ChannelData.
    pub fn channel(&mut self, way: Way, number: u16, length: usize, now: Instant) -> Result<Delivery, Lost> {
        let bandwidth = self.limits.bandwidth;
        let allocation = self.living(way, now).ok_or(Lost::Stranger)?;
        let channel = allocation.channels.iter().find(|channel| channel.number == number && channel.until > now);
        let port = channel.ok_or(Lost::Unheard)?.port;
        allocation.spend(bandwidth, length, now)?;
        self.deliver(way, port, now)
    }

    fn deliver(&self, from: Way, port: u16, now: Instant) -> Result<Delivery, Lost> {
        let from_port = self.by_way.get(&from).ok_or(Lost::Stranger)?.port;
        let to = *self.by_port.get(&port).ok_or(Lost::Unheard)?;
        let receiver = self.by_way.get(&to).filter(|receiver| receiver.hears(from_port, now)).ok_or(Lost::Unheard)?;
        let channel = receiver.channels.iter().find(|channel| channel.port == from_port && channel.until > now);
        Ok(Delivery { to, channel: channel.map(|channel| channel.number), from_port })
    }

    fn living(&mut self, way: Way, now: Instant) -> Option<&mut Allocation> {
        let allocation = self.by_way.get_mut(&way).filter(|allocation| allocation.until > now)?;
        allocation.heard = now;
        Some(allocation)
    }

    /// Forgets what is over.
    pub fn sweep(&mut self, now: Instant) {
        let over: Vec<Way> = self.by_way.iter().filter(|(_, each)| each.until <= now).map(|(way, _)| *way).collect();
        over.into_iter().for_each(|way| self.close(way));
    }

    fn close_if_over(&mut self, way: Way, now: Instant) {
        if self.by_way.get(&way).is_some_and(|allocation| allocation.until <= now) {
            self.close(way);
        }
    }

    pub fn close(&mut self, way: Way) {
        let Some(allocation) = self.by_way.remove(&way) else { return };
        self.by_port.remove(&allocation.port);
        if let Some(held) = self.by_handle.get_mut(&allocation.handle) {
            *held -= 1;
            if *held == 0 {
                self.by_handle.remove(&allocation.handle);
            }
        }
    }
}

impl Allocation {
    /// Notes that it wants to hear this port.
    fn address(&mut self, port: u16) -> Result<(), Refusal> {
        if !self.peers.contains(&port) {
            if self.peers.len() >= PEERS_MOST {
                return Err(Refusal::Full);
            }
            self.peers.push(port);
        }
        Ok(())
    }

    fn hears(&self, port: u16, now: Instant) -> bool {
        self.until > now && self.permitted_until > now && self.peers.contains(&port)
    }

    fn spend(&mut self, bandwidth: Option<Rate>, length: usize, now: Instant) -> Result<(), Lost> {
        let Some(rate) = bandwidth else { return Ok(()) };
        self.sent.take(rate, length as f64, now).map_err(|_| Lost::Bandwidth)
    }
}

impl Refusal {
    pub fn code(self) -> u16 {
        match self {
            Self::Bad => 400,
            Self::Forbidden => 403,
            Self::Mismatch => 437,
            Self::Wrong => 441,
            Self::NoFamily => 440,
            Self::Transport => 442,
            Self::Family => 443,
            Self::Quota => 486,
            Self::Full => 508,
        }
    }
}

/// What is asked for, within bounds.
fn lifetime(asked_s: Option<u32>) -> Duration {
    asked_s.map_or(LIFETIME, |s| Duration::from_secs(s.into()).clamp(LIFETIME, LIFETIME_MOST))
}

#[cfg(test)]
mod tests;
