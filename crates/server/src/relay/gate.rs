//! One packet in, at most one packet out: who sent it is checked here, and nothing is kept of those who are refused.
//!
//! Nonces are made of the time and the sender's address under a key of this process, so a flood of requests without
//! credentials costs a hash each, up to its address' rate, and no memory.

use super::allocations::{Allocations, Limits, Lost, Opened, Opening, Refusal, Way};
use super::credentials::{Claim, Key, REALM, Secrets, hex, hmac_sha1};
use super::figures::{Figures, lost, refused};
use super::stun::{Message, Method, Packet, Writing, write_channel};
use crate::clock;
use crate::rate::{AddressRates, Rate};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use stun_types::AddressFamily;
use stun_types::attribute::{Nonce, Realm, Username, XorMappedAddress};
use stun_types::message::TransactionId;
use stun_types::prelude::AttributeStaticType as _;
use subtle::ConstantTimeEq as _;
use turn_types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedAddressFamily, RequestedTransport, XorRelayedAddress,
};

/// Packets from one address that belong to no allocation, answered or not; and from all of them.
const STRANGERS: Rate = Rate { burst: 200.0, a_second: 50.0 };
const ALL_STRANGERS: Rate = Rate { burst: 20_000.0, a_second: 10_000.0 };
/// A request for an allocation must come with a nonce that is not older.
const NONCE_S: u64 = 3_600;
const NONCE_TIME: usize = 8;

pub struct Gate {
    address: IpAddr,
    secrets: Arc<Secrets>,
    nonce_key: [u8; 20],
    allocations: Mutex<Allocations>,
    strangers: AddressRates,
    /// This machine is not counted.
    dev: bool,
    pub figures: Figures,
}

/// A request, and from where it came.
struct Ask<'m> {
    way: Way,
    from: SocketAddr,
    method: Method,
    message: Message<'m>,
}

/// Who asks, as far as it is proven.
struct Proven {
    username: Username,
    key: Key,
}

enum Unproven {
    /// Credentials are missing, wrong or expired: it may try (again) with this server's nonce.
    Challenge(u16),
    Refused(Refusal),
}

impl Gate {
    pub fn new(address: IpAddr, secrets: Arc<Secrets>, limits: Limits, dev: bool) -> Self {
        let allocations = Mutex::new(Allocations::new(address, limits));
        let strangers = AddressRates::new(STRANGERS, ALL_STRANGERS);
        let nonce_key = std::array::from_fn(|_| rand::random());
        Self { address, secrets, nonce_key, allocations, strangers, dev, figures: Figures::new() }
    }

    /// Takes one packet, without padding, and says where what is in `out` has to go, if anything has.
    pub fn packet(&self, way: Way, from: SocketAddr, bytes: &[u8], out: &mut Vec<u8>) -> Option<Way> {
        let now = Instant::now();
        self.figures.came(bytes.len());
        match Packet::read(bytes) {
            Some(Packet::Channel(channel)) => {
                let delivery = self.allocations().channel(way, channel.id(), channel.data().len(), now);
                self.relay(delivery, channel.data(), 0.into(), out)
            }
            Some(Packet::Send(message)) => {
                let peer = message.peers().next().flatten();
                let (Some(peer), Some(data)) = (peer, message.get::<Data<'_>>()) else {
                    return self.figures.lost(lost::MALFORMED);
                };
                if !message.unknown().is_empty() {
                    return self.figures.lost(lost::MALFORMED);
                }
                let delivery = self.allocations().send(way, peer, data.data().len(), now);
                self.relay(delivery, data.data(), message.transaction(), out)
            }
            Some(Packet::Request(method, message)) => {
                if !self.is_in_time(way, from, now) {
                    return self.figures.lost(lost::RATE);
                }
                self.answer(&Ask { way, from, method, message }, out, now);
                Some(way)
            }
            None => self.figures.lost(lost::MALFORMED),
        }
    }

    /// Whether something is allocated there.
    pub fn has(&self, way: Way) -> bool {
        self.allocations().owner(way).is_some()
    }

    pub fn close(&self, way: Way) {
        let mut allocations = self.allocations();
        allocations.close(way);
        self.figures.living(allocations.len());
    }

    pub fn sweep(&self) {
        let mut allocations = self.allocations();
        allocations.sweep(Instant::now());
        self.figures.living(allocations.len());
    }

    fn relay(
        &self,
        delivery: Result<super::allocations::Delivery, Lost>,
        data: &[u8],
        transaction: TransactionId,
        out: &mut Vec<u8>,
    ) -> Option<Way> {
        match delivery {
            Ok(delivery) => {
                match delivery.channel {
                    Some(number) => write_channel(out, number, data),
                    None => {
                        let from = SocketAddr::new(self.address, delivery.from_port);
                        Writing::data(out, transaction, from, data);
                    }
                }
                self.figures.relayed(data.len());
                Some(delivery.to)
            }
            Err(Lost::Stranger) => self.figures.lost(lost::STRANGER),
            Err(Lost::Unheard) => self.figures.lost(lost::UNHEARD),
            Err(Lost::Bandwidth) => self.figures.lost(lost::BANDWIDTH),
        }
    }

    /// Whether the rate of who asks allows another request.
    fn is_in_time(&self, way: Way, from: SocketAddr, now: Instant) -> bool {
        let known = self.allocations().admit(way, now);
        let is_own = self.dev && from.ip().is_loopback();
        known.unwrap_or_else(|| is_own || self.strangers.take(from.ip(), now))
    }

    fn answer(&self, ask: &Ask<'_>, out: &mut Vec<u8>, now: Instant) {
        let Ask { way: _, from, method, ref message } = *ask;
        let unknown = message.unknown();
        if !unknown.is_empty() {
            return Writing::error(out, message, 420, "Unknown Attribute").unknown(&unknown).finish(None);
        }
        if method == Method::Binding {
            let mapped = XorMappedAddress::new(from, message.transaction());
            return Writing::success(out, message).with(&mapped).finish(None);
        }
        match self.prove(ask) {
            Ok(proven) => match self.fulfil(ask, &proven, out, now) {
                Ok(()) => {}
                Err(refusal) => {
                    self.figures.refused(refused::of(refusal));
                    Writing::error(out, message, refusal.code(), &refusal.to_string()).finish(Some(&proven.key));
                }
            },
            Err(Unproven::Challenge(code)) => {
                self.figures.refused(if message.has_integrity() { refused::CREDENTIALS } else { refused::NONE });
                let reason = if code == 438 { "Stale Nonce" } else { "Unauthorized" };
                let nonce = self.nonce(from, clock::now().0 / 1_000);
                let writing = Writing::error(out, message, code, reason).text(Realm::TYPE, REALM);
                writing.text(Nonce::TYPE, &nonce).finish(None);
            }
            Err(Unproven::Refused(refusal)) => {
                self.figures.refused(refused::of(refusal));
                Writing::error(out, message, refusal.code(), &refusal.to_string()).finish(None);
            }
        }
    }

    fn prove(&self, ask: &Ask<'_>) -> Result<Proven, Unproven> {
        let Ask { way, from, method, message } = ask;
        if !message.has_integrity() {
            return Err(Unproven::Challenge(401));
        }
        let parts = (message.get::<Username>(), message.get::<Nonce>());
        let (Some(username), Some(nonce)) = parts else { return Err(Unproven::Refused(Refusal::Bad)) };
        let Some(claim) = Claim::of(username.username()) else { return Err(Unproven::Challenge(401)) };
        let now_s = clock::now().0 / 1_000;
        let Some(nonce_s) = self.made_at(nonce.nonce(), *from) else { return Err(Unproven::Challenge(438)) };
        // What lives may go on with the credentials that opened it, expired or not.
        let owner = self.allocations().owner(*way).map(|(name, key)| (name == username.username(), key.clone()));
        if let Some((is_owner, key)) = owner {
            return match (is_owner, is_owner && message.is_from(&key)) {
                (true, true) => Ok(Proven { username, key }),
                (true, false) => Err(Unproven::Challenge(401)),
                (false, _) => Err(Unproven::Refused(Refusal::Wrong)),
            };
        }
        if claim.expires_s <= now_s {
            return Err(Unproven::Challenge(401));
        }
        let key =
            self.secrets.keys(username.username()).find(|key| message.is_from(key)).ok_or(Unproven::Challenge(401))?;
        if nonce_s + NONCE_S < now_s {
            return Err(Unproven::Challenge(438));
        }
        if *method == Method::Allocate {
            Ok(Proven { username, key })
        } else {
            Err(Unproven::Refused(Refusal::Mismatch))
        }
    }

    fn fulfil(&self, ask: &Ask<'_>, proven: &Proven, out: &mut Vec<u8>, now: Instant) -> Result<(), Refusal> {
        let Ask { way, from, method, ref message } = *ask;
        let lifetime_s = lifetime_s(message);
        let mut allocations = self.allocations();
        match method {
            Method::Allocate => {
                let Opened { port, lifetime_s } = self.allocate(&mut allocations, way, message, proven, now)?;
                drop(allocations);
                let relayed = SocketAddr::new(self.address, port);
                Writing::success(out, message)
                    .with(&XorRelayedAddress::new(relayed, message.transaction()))
                    .with(&XorMappedAddress::new(from, message.transaction()))
                    .with(&Lifetime::new(lifetime_s))
                    .finish(Some(&proven.key));
                return Ok(());
            }
            Method::Refresh => {
                let lifetime_s = allocations.refresh(way, lifetime_s, now)?;
                self.figures.living(allocations.len());
                drop(allocations);
                Writing::success(out, message).with(&Lifetime::new(lifetime_s)).finish(Some(&proven.key));
                return Ok(());
            }
            Method::CreatePermission => {
                let peers: Vec<_> = message.peers().collect();
                allocations.permit(way, &peers, now)?;
            }
            Method::ChannelBind => {
                let number = message.get::<ChannelNumber>().ok_or(Refusal::Bad)?;
                let peer = message.peers().next().flatten();
                allocations.bind(way, number.channel(), peer, now)?;
            }
            Method::Binding => {}
        }
        Writing::success(out, message).finish(Some(&proven.key));
        Ok(())
    }

    fn allocate(
        &self,
        allocations: &mut Allocations,
        way: Way,
        message: &Message<'_>,
        proven: &Proven,
        now: Instant,
    ) -> Result<Opened, Refusal> {
        // Between relay and peer, however the client comes.
        match message.get::<RequestedTransport>().ok_or(Refusal::Bad)?.protocol() {
            RequestedTransport::UDP => {}
            _ => return Err(Refusal::Transport),
        }
        let own = if self.address.is_ipv4() { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
        match message.given::<RequestedAddressFamily>() {
            Some(Ok(family)) if family.family() == own => {}
            Some(Ok(_) | Err(_)) => return Err(Refusal::NoFamily),
            None => {}
        }
        let claim = Claim::of(proven.username.username()).ok_or(Refusal::Bad)?;
        let opening = Opening {
            username: proven.username.username(),
            handle: claim.handle,
            key: proven.key.clone(),
            transaction: message.transaction(),
            lifetime_s: lifetime_s(message),
        };
        let before = allocations.len();
        let opened = allocations.open(way, &opening, now)?;
        if allocations.len() > before {
            self.figures.made(allocations.len());
        }
        Ok(opened)
    }

    fn nonce(&self, from: SocketAddr, now_s: u64) -> String {
        let time = format!("{:0NONCE_TIME$x}", now_s as u32);
        let seal = hmac_sha1(&self.nonce_key, &[time.as_bytes(), from.to_string().as_bytes()]);
        time + &hex(&seal[..8])
    }

    /// When this server made this nonce for this sender, if it did.
    fn made_at(&self, nonce: &str, from: SocketAddr) -> Option<u64> {
        let made_s = u32::from_str_radix(nonce.get(..NONCE_TIME)?, 16).ok()?.into();
        bool::from(self.nonce(from, made_s).as_bytes().ct_eq(nonce.as_bytes())).then_some(made_s)
    }

    fn allocations(&self) -> MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for.
fn lifetime_s(message: &Message<'_>) -> Option<u32> {
    message.get::<Lifetime>().map(|lifetime| lifetime.seconds())
}

#[cfg(test)]
mod tests;
