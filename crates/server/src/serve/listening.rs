//! The sockets: TCP for everything, and the relay's on the same port of UDP, or at a place of its own.

use crate::config::Config;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use tokio::net::{TcpListener, UdpSocket};

/// A port that the system chose for TCP can be taken on UDP.
const TRIES: usize = 32;

pub struct Listening {
    pub main: TcpListener,
    /// The relay's own, where it has one.
    pub relay: Option<TcpListener>,
    pub udp: Option<UdpSocket>,
}

impl Listening {
    pub async fn open(config: &Config) -> Result<Self> {
        match (config.relays(), &config.relay_listen) {
            (false, _) => Ok(Self { main: tcp(&config.listen).await?, relay: None, udp: None }),
            (true, None) => {
                let (main, udp) = both(&config.listen).await?;
                Ok(Self { main, relay: None, udp: Some(udp) })
            }
            (true, Some(place)) => {
                let (relay, udp) = both(place).await?;
                Ok(Self { main: tcp(&config.listen).await?, relay: Some(relay), udp: Some(udp) })
            }
        }
    }
}

async fn tcp(place: &str) -> Result<TcpListener> {
    TcpListener::bind(place).await.with_context(|| format!("cannot listen on {place}"))
}

/// The same port of TCP and UDP.
async fn both(place: &str) -> Result<(TcpListener, UdpSocket)> {
    let mut refused = Vec::new();
    loop {
        let listener = tcp(place).await?;
        let address = listener.local_addr()?;
        match UdpSocket::bind(address).await {
            Ok(udp) => return Ok((listener, udp)),
            // The refused are kept until the end, so that each try gets another port.
            Err(e) if e.kind() == ErrorKind::AddrInUse && place.ends_with(":0") && refused.len() < TRIES => {
                refused.push(listener);
            }
            Err(e) => {
                let hint = "the relay needs it; `relay = false` does without";
                return Err(e).with_context(|| format!("cannot listen on UDP {address}: {hint}"));
            }
        }
    }
}
