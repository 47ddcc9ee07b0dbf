//! Relays over whatever gets through. The WebRTC library speaks TURN over UDP alone, so every TURN server reaches it as a
//! socket of this machine, behind which a tunnel carries the packets over UDP, TCP or TLS.
//!
//! [`open`] makes a tunnel for each set of credentials; all URLs that come with them are taken as ways to the same relay. The
//! library's first request races along them: it holds no credentials, so it allocates nothing anywhere. UDP begins, TCP
//! follows after 250 ms without an answer, TLS 500 ms later, each with all addresses of its servers at once. Whoever answers
//! first carries everything from then on, and the others are closed. What won is remembered for ten minutes, so that the
//! next connection begins with it beside UDP.
//!
//! A tunnel lives as long as its handle, and a moment more, so that the library can still give back what it holds.
//! The tunnel ends when its TCP or TLS connection does: TURN binds what is allocated to it.
//!
//! Left out: TURN over DTLS, allocations of TCP or IPv6 (the library asks for neither), and proxies.

mod lane;
mod message;
mod race;
mod repeats;
mod url;

use crate::{IceServer, RelayTransport};
use lane::{Lane, LaneEvent};
use message::{ALLOCATE, CREATE_PERMISSION, Header, TransactionId};
use race::{Race, RaceEvent};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use url::TurnUrl;

/// What is open when the handle goes is closed after this: the library gives its allocation back last.
const LINGER: Duration = Duration::from_millis(200);
/// Requests on a stream whose answers are awaited; with more than these a repetition may pass twice.
const MOST_OUTSTANDING: usize = 64;
/// Peers that the relay refused; with more than these the first are asked for again.
const MOST_REFUSED: usize = 64;
const LARGEST_PACKET: usize = 64 * 1024;

const BAD_REQUEST: u16 = 400;
const FORBIDDEN: u16 = 403;
const PEER_FAMILY_MISMATCH: u16 = 443;

/// A tunnel as its connection sees it. Dropping it ends the tunnel.
pub struct Tunnel {
    port: u16,
    username: String,
    credential: String,
    state: watch::Receiver<State>,
    _open: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The port of the library's socket, which stands in its candidate.
    pub library: Option<u16>,
    /// What won the race.
    pub carried: Option<RelayTransport>,
    /// The connection to the relay broke; nothing passes any more.
    pub broken: bool,
}

/// Opens tunnels to the TURN servers among these; those without credentials are left out, as the library does.
pub async fn open(servers: &[IceServer]) -> Vec<Tunnel> {
    let mut groups: Vec<(&str, &str, Vec<TurnUrl>)> = Vec::new();
    for server in servers {
        let urls = server.urls.iter().filter(|url| TurnUrl::is_turn(url)).filter_map(|url| {
            let read = TurnUrl::read(url);
            if read.is_none() {
                tracing::debug!("a relay's address is not understood");
            }
            read
        });
        let (username, credential) = (server.username.as_str(), server.credential.as_str());
        match groups.iter_mut().find(|(known, secret, _)| (*known, *secret) == (username, credential)) {
            Some((_, _, all)) => all.extend(urls),
            None => groups.push((username, credential, urls.collect())),
        }
    }
    let mut tunnels = Vec::new();
    for (username, credential, urls) in groups {
        if urls.is_empty() || username.is_empty() || credential.is_empty() {
            continue;
        }
        match Tunnel::open(urls, username, credential).await {
            Ok(tunnel) => tunnels.push(tunnel),
            Err(error) => tracing::warn!(%error, "no relay, this machine gives no socket for it"),
        }
    }
    tunnels
}

impl Tunnel {
    async fn open(urls: Vec<TurnUrl>, username: &str, credential: &str) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        let (said, state) = watch::channel(State::default());
        let (open, closed) = oneshot::channel();
        tokio::spawn(Carrier::new(socket, urls, said).run(closed));
        Ok(Self { port, username: username.to_owned(), credential: credential.to_owned(), state, _open: open })
    }

    /// The server as the library gets it.
    pub fn server(&self) -> IceServer {
        IceServer {
            urls: vec![format!("turn:127.0.0.1:{}?transport=udp", self.port)],
            username: self.username.clone(),
            credential: self.credential.clone(),
        }
    }

    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits for the end of the tunnel; whether it broke.
    pub fn ended(&self) -> impl Future<Output = bool> + Send + use<> {
        let mut state = self.state.clone();
        async move { state.wait_for(|state| state.broken).await.is_ok() }
    }
}

/// The task of a tunnel.
struct Carrier {
    socket: UdpSocket,
    said: watch::Sender<State>,
    /// The library's socket: the first that asked for an allocation.
    library: Option<SocketAddr>,
    race: Race,
    winner: Option<Lane>,
    /// Requests on a stream that were not answered yet: repeating them there would only do the work twice.
    outstanding: HashSet<TransactionId>,
    /// Permissions that were asked for, and those that the relay refused. The library asks again with each check, and
    /// does nothing else until it is answered.
    asked: HashMap<TransactionId, SocketAddr>,
    refused: HashMap<SocketAddr, u16>,
}

impl Carrier {
    fn new(socket: UdpSocket, urls: Vec<TurnUrl>, said: watch::Sender<State>) -> Self {
        Self {
            socket,
            said,
            library: None,
            race: Race::new(urls),
            winner: None,
            outstanding: HashSet::new(),
            asked: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    async fn run(mut self, mut closed: oneshot::Receiver<()>) {
        let mut buffer = vec![0; LARGEST_PACKET];
        let mut end = None;
        loop {
            tokio::select! {
                _ = &mut closed, if end.is_none() => end = Some(Instant::now() + LINGER),
                () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
                // An error says that a packet of ours found nobody; that the library is gone is said otherwise.
                received = self.socket.recv_from(&mut buffer) => if let Ok((length, from)) = received {
                    self.handle_library(buffer[..length].to_vec(), from).await;
                },
                event = self.race.next() => match event {
                    RaceEvent::Won(lane, answer) => {
                        let transport = lane.transport;
                        tracing::debug!(?transport, "relay answers");
                        self.winner = Some(lane);
                        self.said.send_modify(|state| state.carried = Some(transport));
                        self.pass_to_library(&answer).await;
                    }
                    RaceEvent::Carried(LaneEvent::Packet(packet)) => self.handle_relay(&packet).await,
                    RaceEvent::Carried(LaneEvent::Ready) => {}
                    RaceEvent::Carried(LaneEvent::Ended) => {
                        self.said.send_modify(|state| state.broken = true);
                        return;
                    }
                },
            }
        }
    }

    async fn handle_library(&mut self, packet: Vec<u8>, from: SocketAddr) {
        let header = Header::read(&packet);
        if self.library.is_none() && header.is_some_and(|header| header.is_request_of(ALLOCATE)) {
            self.library = Some(from);
            self.said.send_modify(|state| state.library = Some(from.port()));
        }
        if self.library != Some(from) {
            // The library asks every server for its reflexive address, too, from another socket. What it would learn here
            // is not its address, and it would wait seconds for no answer.
            if let Some(request) = header.filter(|header| header.is_request()) {
                let _ = self.socket.send_to(&message::refusal(request, BAD_REQUEST), from).await;
            }
            return;
        }
        if self.winner.is_some() {
            self.pass_to_relay(packet, header).await;
        } else if let Some(request) = header.filter(|header| header.is_request()) {
            self.race.run(packet, request.transaction);
        }
    }

    async fn pass_to_relay(&mut self, packet: Vec<u8>, header: Option<Header>) {
        let request = header.filter(|header| header.is_request());
        if let Some(request) = request.filter(|request| request.is_request_of(CREATE_PERMISSION))
            && let Some(peer) = message::only_peer(&packet)
        {
            if let Some(code) = self.refused.get(&peer) {
                return self.pass_to_library(&message::refusal(request, *code)).await;
            }
            if self.asked.len() >= MOST_OUTSTANDING {
                self.asked.clear();
            }
            self.asked.insert(request.transaction, peer);
        }
        let Some(winner) = &self.winner else { return };
        let repeats = winner.transport != RelayTransport::Udp
            && request.is_some_and(|request| self.outstanding.contains(&request.transaction));
        if !repeats
            && winner.send(packet)
            && let Some(request) = request
        {
            if self.outstanding.len() >= MOST_OUTSTANDING {
                self.outstanding.clear();
            }
            self.outstanding.insert(request.transaction);
        }
    }

    async fn handle_relay(&mut self, packet: &[u8]) {
        if let Some(response) = Header::read(packet).filter(|header| header.is_response()) {
            self.outstanding.remove(&response.transaction);
            if let Some(peer) = self.asked.remove(&response.transaction)
                && let Some(code @ (FORBIDDEN | PEER_FAMILY_MISMATCH)) = message::error_code(packet)
            {
                if self.refused.len() >= MOST_REFUSED {
                    self.refused.clear();
                }
                self.refused.insert(peer, code);
            }
        }
        self.pass_to_library(packet).await;
    }

    async fn pass_to_library(&self, packet: &[u8]) {
        if let Some(library) = self.library {
            // What does not get to a socket of this machine would be lost on the way to another as well.
            let _ = self.socket.send_to(packet, library).await;
        }
    }
}

#[cfg(test)]
mod tests;
