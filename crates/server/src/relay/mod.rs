//! Ways around what blocks a direct connection: relay credentials for those who may have them, and a relay of our own.
//!
//! [`grant`] says which STUN and TURN servers a party may use, with credentials that live for minutes. Whoever calls it has
//! checked that the person is a party of something live.

pub mod credentials;

use crate::app::App;
use crate::config::Config;
use crate::data_dir::DataDir;
use anyhow::Result;
use bellwire_signaling::{Credential, IceServer, UnixMs};
use credentials::{LIFETIME_S, Secrets};
use std::net::{IpAddr, SocketAddr};

pub struct Relay {
    secrets: Secrets,
    /// Without credentials.
    stun: Vec<String>,
    turn: Vec<String>,
}

/// The servers that `subject` may use, and for how many milliseconds. Empty: there is no relay.
///
/// The subject is whom the quota counts: a user's id, or for the echo peer the check's. It does not leave the server.
pub fn grant(app: &App, subject: &str, now: UnixMs) -> (Vec<IceServer>, u64) {
    app.relay.grant(subject, now)
}

impl Relay {
    /// `place` is where the relay of this server listens in fact, if it has one.
    pub fn open(config: &Config, data: &DataDir, place: Option<SocketAddr>) -> Result<Self> {
        let current = config.turn_secret()?.map_or_else(|| data.turn_secret(), Ok)?;
        let secrets = Secrets::new(current, config.turn_secret_previous()?);
        let (turn, stun): (Vec<_>, Vec<_>) = config.turn_urls.iter().cloned().partition(|url| url.starts_with("turn"));
        let mut relay = Self { secrets, stun, turn };
        if let Some((place, host)) = place.and_then(|place| Some((place, host(config, place)?))) {
            let (at, tls) = (format!("{host}:{}", place.port()), config.tls_files().is_some());
            relay.stun.push(format!("stun:{at}"));
            relay.turn.extend([format!("turn:{at}?transport=udp"), format!("turn:{at}?transport=tcp")]);
            relay.turn.extend(tls.then(|| format!("turns:{at}?transport=tcp")));
        }
        Ok(relay)
    }

    fn grant(&self, subject: &str, now: UnixMs) -> (Vec<IceServer>, u64) {
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

/// By what name apps reach the relay: as the operator said, else where it listens.
fn host(config: &Config, place: SocketAddr) -> Option<String> {
    let public = config.public_url.as_ref().and_then(|url| url::Url::parse(url).ok()?.host_str().map(str::to_owned));
    public.or_else(|| Some(bracketed(address(config, place)?)))
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
