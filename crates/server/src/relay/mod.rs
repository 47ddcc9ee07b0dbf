//! Ways around what blocks a direct connection: relay credentials for those who may have them, and a relay of our own.
//!
//! [`grant`] says which STUN and TURN servers a party may use, with credentials that live for minutes. Whoever calls it has
//! checked that the person is a party of something live.
//!
//! The relay: packets come from the `hub`'s UDP socket or a `stream`, pass the `gate`, which answers them or finds in the
//! `allocations` to whom they go, and leave by the hub. Relayed addresses exist in the table alone: nothing here can send
//! to an address that did not come to this server itself.

mod allocations;
pub mod credentials;
mod figures;
mod gate;
mod hub;
pub(crate) mod stream;
mod stun;

use crate::app::App;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::rate::Rate;
use allocations::Limits;
use anyhow::{Context, Result};
use bellwire_signaling::{Credential, IceServer, UnixMs};
use credentials::{LIFETIME_S, Secrets};
use gate::Gate;
use hub::Hub;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;

pub struct Relay {
    secrets: Arc<Secrets>,
    /// Without credentials.
    stun: Vec<String>,
    turn: Vec<String>,
    hub: Option<Arc<Hub>>,
}

/// The servers that `subject` may use, and for how many milliseconds. Empty: there is no relay.
///
/// The subject is whom the quota counts: a user's id, or for the echo peer the check's. It does not leave the server.
pub fn grant(app: &App, subject: &str, now: UnixMs) -> (Vec<IceServer>, u64) {
    app.relay.grant(subject, now)
}

impl Relay {
    /// `udp` is the relay's socket, if this server has a relay.
    pub fn open(config: &Config, data: &DataDir, udp: Option<UdpSocket>) -> Result<Self> {
        let current = config.turn_secret()?.map_or_else(|| data.turn_secret(), Ok)?;
        let secrets = Arc::new(Secrets::new(current, config.turn_secret_previous()?));
        let (turn, stun): (Vec<_>, Vec<_>) = config.turn_urls.iter().cloned().partition(|url| url.starts_with("turn"));
        let mut relay = Self { secrets, stun, turn, hub: None };
        let Some(udp) = udp else { return Ok(relay) };
        let place = udp.local_addr()?;
        let address = address(config, place)
            .context("this host has no address that the relay could give out: set `relay_address`")?;
        let at = format!("{}:{}", host(config, address), place.port());
        relay.stun.push(format!("stun:{at}"));
        relay.turn.extend([format!("turn:{at}?transport=udp"), format!("turn:{at}?transport=tcp")]);
        relay.turn.extend(config.tls_files().map(|_| format!("turns:{at}?transport=tcp")));
        let limits = Limits { per_handle: config.relay_allocations_per_user, bandwidth: bandwidth(config.relay_kbps) };
        let gate = Gate::new(address, relay.secrets.clone(), limits, config.dev);
        relay.hub = Some(Arc::new(Hub::new(gate, udp)));
        Ok(relay)
    }

    /// This server's own relay, if it has one.
    pub(crate) fn hub(&self) -> Option<Arc<Hub>> {
        self.hub.clone()
    }

    /// As [`grant`].
    pub fn grant(&self, subject: &str, now: UnixMs) -> (Vec<IceServer>, u64) {
        let (username, credential) = self.secrets.issue(subject, now.0 / 1_000);
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), username: None, credential: None });
        }
        if !self.turn.is_empty() {
            let (username, credential) = (Some(username), Credential::new(credential).ok());
            servers.push(IceServer { urls: self.turn.clone(), username, credential });
        }
        (servers, LIFETIME_S * 1_000)
    }
}

/// In bytes, a second of it at once; none for no limit.
fn bandwidth(kbps: u32) -> Option<Rate> {
    let a_second = f64::from(kbps) * 1_000.0 / 8.0;
    (kbps > 0).then_some(Rate { burst: a_second, a_second })
}

/// By what name apps reach the relay: as the operator said, else by its address.
fn host(config: &Config, address: IpAddr) -> String {
    let public = config.public_url.as_ref().and_then(|url| url::Url::parse(url).ok()?.host_str().map(str::to_owned));
    public.unwrap_or_else(|| bracketed(address))
}

/// The relay's own address: what its allocations seem to be at. No socket is ever bound there.
fn address(config: &Config, place: SocketAddr) -> Option<IpAddr> {
    let listens = Some(place.ip().to_canonical()).filter(|address| !address.is_unspecified());
    config.relay_address.or(listens).or_else(|| route_address(place))
}

/// The address that this host would use towards the rest of the world. Nothing is sent.
fn route_address(place: SocketAddr) -> Option<IpAddr> {
    let towards = |from: &str, to: &str| {
        let socket = std::net::UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Addresses for documentation (RFC 5737, RFC 3849): routed like any other.
    towards("0.0.0.0", "192.0.2.1").or_else(|| towards("::", "2001:db8::1").filter(|_| place.is_ipv6()))
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}
