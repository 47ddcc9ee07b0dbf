//! A TURN client over UDP, TCP and TLS, on another project's codec, so that both sides do not share one mistake.

use crate::common::CAP;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stun::agent::TransactionId;
use stun::attributes::*;
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{Getter, Message, Setter};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

pub const ALLOCATE: u16 = 3;
pub const REFRESH: u16 = 4;
pub const CREATE_PERMISSION: u16 = 8;
pub const CHANNEL_BIND: u16 = 9;
const SEND: u16 = 0x16;
const DATA: u16 = 0x17;
/// A request over UDP is sent again after this.
const AGAIN: Duration = Duration::from_secs(1);

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub enum Carrier {
    Udp(UdpSocket),
    Stream(Box<dyn Io>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Udp,
    Tcp,
    Tls,
}

pub const ALL: [By; 3] = [By::Udp, By::Tcp, By::Tls];

/// What came from the relay.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    Data { from: SocketAddr, data: Vec<u8> },
    Channel { number: u16, data: Vec<u8> },
}

pub struct Turn {
    carrier: Carrier,
    pub username: String,
    pub credential: String,
    challenge: Option<(String, String)>,
    came: Vec<Came>,
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

pub fn credential(secret: &str, username: &str) -> String {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(username.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// `certificate` is what the server shows for TLS.
pub async fn connect(by: By, server: &str, certificate: &Path) -> Carrier {
    match by {
        By::Udp => {
            let address: SocketAddr = server.parse().expect("an address");
            let socket = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).await.expect("a socket");
            socket.connect(address).await.expect("a route");
            Carrier::Udp(socket)
        }
        By::Tcp => Carrier::Stream(Box::new(TcpStream::connect(server).await.expect("a connection"))),
        By::Tls => Carrier::Stream(Box::new(tls(server, certificate).await.expect("a handshake"))),
    }
}

pub async fn tls(server: &str, certificate: &Path) -> std::io::Result<impl Io + use<>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

impl Turn {
    pub fn new(carrier: Carrier, secret: &str, handle: &str) -> Self {
        Self::until(carrier, secret, handle, now_s() + 600)
    }

    pub fn until(carrier: Carrier, secret: &str, handle: &str, expires_s: u64) -> Self {
        let username = format!("{expires_s}:{handle}");
        let credential = credential(secret, &username);
        Self::with(carrier, username, credential)
    }

    pub fn with(carrier: Carrier, username: String, credential: String) -> Self {
        Self { carrier, username, credential, challenge: None, came: Vec::new() }
    }

    /// An allocation, and where it seems to be.
    pub async fn allocate(&mut self) -> Result<SocketAddr, u16> {
        let answer = self.ask(ALLOCATE, &[(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0])], &[]).await?;
        Ok(address(&answer, ATTR_XOR_RELAYED_ADDRESS))
    }

    pub async fn permit(&mut self, peers: &[SocketAddr]) -> Result<(), u16> {
        self.ask(CREATE_PERMISSION, &[], peers).await.map(drop)
    }

    pub async fn bind(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let value = (u32::from(number) << 16).to_be_bytes();
        self.ask(CHANNEL_BIND, &[(ATTR_CHANNEL_NUMBER, &value)], &[peer]).await.map(drop)
    }

    pub async fn refresh(&mut self, lifetime_s: u32) -> Result<(), u16> {
        self.ask(REFRESH, &[(ATTR_LIFETIME, &lifetime_s.to_be_bytes())], &[]).await.map(drop)
    }

    /// Asks, with credentials as soon as the server named its realm and nonce. The code of a refusal.
    pub async fn ask(
        &mut self,
        kind: u16,
        attributes: &[(AttrType, &[u8])],
        peers: &[SocketAddr],
    ) -> Result<Message, u16> {
        let is_first = self.challenge.is_none();
        match self.ask_once(kind, attributes, peers).await {
            Err(401) if is_first && self.challenge.is_some() => self.ask_once(kind, attributes, peers).await,
            answer => answer,
        }
    }

    pub async fn ask_once(
        &mut self,
        kind: u16,
        attributes: &[(AttrType, &[u8])],
        peers: &[SocketAddr],
    ) -> Result<Message, u16> {
        let mut request = begin(kind, attributes, peers);
        let mut integrity = None;
        if let Some((realm, nonce)) = &self.challenge {
            for (kind, text) in [(ATTR_USERNAME, &self.username), (ATTR_REALM, realm), (ATTR_NONCE, nonce)] {
                TextAttribute::new(kind, text.clone()).add_to(&mut request).expect("written");
            }
            let made = MessageIntegrity::new_long_term_integrity(
                self.username.clone(),
                realm.clone(),
                self.credential.clone(),
            );
            made.add_to(&mut request).expect("written");
            integrity = Some(made);
        }
        let mut answer = self.answer_to(&request).await;
        let class = answer.typ.value() & 0x0110;
        if class == 0x0110 {
            let mut code = ErrorCodeAttribute::default();
            code.get_from(&answer).expect("a code");
            let text = |kind| TextAttribute::get_from_as(&answer, kind).map(|found| found.text);
            if let (Ok(realm), Ok(nonce)) = (text(ATTR_REALM), text(ATTR_NONCE)) {
                self.challenge = Some((realm, nonce));
            }
            return Err(code.code.0);
        }
        assert_eq!(class, 0x0100, "{answer}");
        integrity.expect("only who has credentials gets something").check(&mut answer).expect("the server's integrity");
        Ok(answer)
    }

    async fn answer_to(&mut self, request: &Message) -> Message {
        let found = timeout(CAP, async {
            loop {
                self.send(&request.raw).await;
                while let Ok(Some(packet)) = timeout(AGAIN, self.receive()).await {
                    match message(&packet) {
                        Some(found) if found.transaction_id == request.transaction_id => return found,
                        _ => self.keep(&packet),
                    }
                }
            }
        });
        found.await.expect("an answer")
    }

    pub async fn send_to(&mut self, peer: SocketAddr, data: &[u8]) {
        let indication = begin(SEND, &[(ATTR_DATA, data)], &[peer]);
        self.send(&indication.raw).await;
    }

    pub async fn send_on(&mut self, number: u16, data: &[u8]) {
        let mut packet = number.to_be_bytes().to_vec();
        packet.extend((data.len() as u16).to_be_bytes());
        packet.extend(data);
        if matches!(self.carrier, Carrier::Stream(_)) {
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        self.send(&packet).await;
    }

    /// What comes next from a peer.
    pub async fn next(&mut self) -> Came {
        timeout(CAP, async {
            while self.came.is_empty() {
                let packet = self.receive().await.expect("the connection stays");
                self.keep(&packet);
            }
            self.came.remove(0)
        })
        .await
        .expect("something comes")
    }

    fn keep(&mut self, packet: &[u8]) {
        if packet[0] >= 0x40 {
            let number = u16::from_be_bytes([packet[0], packet[1]]);
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            self.came.push(Came::Channel { number, data: packet[4..4 + length].to_vec() });
        } else if let Some(found) = message(packet).filter(|found| found.typ.value() == DATA) {
            let data = found.get(ATTR_DATA).expect("data");
            self.came.push(Came::Data { from: address(&found, ATTR_XOR_PEER_ADDRESS), data });
        }
    }

    pub async fn send(&mut self, packet: &[u8]) {
        match &mut self.carrier {
            Carrier::Udp(socket) => drop(socket.send(packet).await),
            Carrier::Stream(stream) => {
                stream.write_all(packet).await.expect("sent");
                stream.flush().await.expect("sent");
            }
        }
    }

    /// One packet, without padding; none if the connection is over.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        match &mut self.carrier {
            Carrier::Udp(socket) => {
                let mut packet = vec![0; 2_048];
                let length = socket.recv(&mut packet).await.ok()?;
                packet.truncate(length);
                Some(packet)
            }
            Carrier::Stream(stream) => {
                let mut packet = vec![0; 4];
                stream.read_exact(&mut packet).await.ok()?;
                let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                let rest = if packet[0] < 0x40 { 16 + length } else { length.next_multiple_of(4) };
                packet.resize(4 + rest, 0);
                stream.read_exact(&mut packet[4..]).await.ok()?;
                Some(packet)
            }
        }
    }
}

fn begin(kind: u16, attributes: &[(AttrType, &[u8])], peers: &[SocketAddr]) -> Message {
    let mut message = Message::new();
    message.typ.read_value(kind);
    message.write_header();
    TransactionId::new().add_to(&mut message).expect("written");
    for (kind, value) in attributes {
        message.add(*kind, value);
    }
    for peer in peers {
        let peer = XorMappedAddress { ip: peer.ip(), port: peer.port() };
        peer.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS).expect("written");
    }
    message
}

fn message(packet: &[u8]) -> Option<Message> {
    let mut message = Message::new();
    message.unmarshal_binary(packet).ok().map(|()| message)
}

fn address(message: &Message, kind: AttrType) -> SocketAddr {
    let mut found = XorMappedAddress::default();
    found.get_from_as(message, kind).expect("an address");
    SocketAddr::new(found.ip, found.port)
}
