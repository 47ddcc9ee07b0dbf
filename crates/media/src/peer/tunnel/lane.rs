//! One way to a TURN server: a socket, and a task that moves whole packets over it.
//!
//! A lane over UDP does not end by itself once it has answered: an interface that is away for a moment is none of its
//! affairs. One over TCP or TLS ends when its connection does.

use super::message::{Splitter, framed};
use super::repeats::Repeats;
use crate::RelayTransport;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Packets on their way to a server that takes none just now, a second of speech; when it is full the newest is dropped.
const OUTBOUND: usize = 64;
/// A connection that is not made in this time is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After an error of a UDP socket, which says little: the next packet may pass.
const UDP_ERROR_PAUSE: Duration = Duration::from_millis(50);
const LARGEST_PACKET: usize = 64 * 1024;

/// Dropping it ends the lane.
pub struct Lane {
    pub number: usize,
    pub transport: RelayTransport,
    outbound: mpsc::Sender<Vec<u8>>,
    task: tokio::task::JoinHandle<()>,
}

pub struct LaneNote {
    pub lane: usize,
    pub event: LaneEvent,
}

pub enum LaneEvent {
    Ready,
    Packet(Vec<u8>),
    Ended,
}

impl Lane {
    /// `number` tells its notes from those of others.
    pub fn start(
        number: usize,
        transport: RelayTransport,
        host: String,
        address: SocketAddr,
        notes: mpsc::Sender<LaneNote>,
    ) -> Self {
        let (outbound, inbox) = mpsc::channel(OUTBOUND);
        let task = tokio::spawn(async move {
            let lane = Running { number, notes, outbound: inbox };
            lane.run(transport, host, address).await;
        });
        Self { number, transport, outbound, task }
    }

    /// Whether the packet is on its way.
    pub fn send(&self, packet: Vec<u8>) -> bool {
        let sent = self.outbound.try_send(packet).is_ok();
        if !sent {
            tracing::debug!(transport = ?self.transport, "the way to the relay is full, packet dropped");
        }
        sent
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Running {
    number: usize,
    notes: mpsc::Sender<LaneNote>,
    outbound: mpsc::Receiver<Vec<u8>>,
}

impl Running {
    async fn run(mut self, transport: RelayTransport, host: String, address: SocketAddr) {
        let ended = match transport {
            RelayTransport::Udp => self.udp(address).await,
            RelayTransport::Tcp => match timely(connect(address)).await {
                Ok(stream) => self.stream(stream).await,
                Err(error) => Err(error),
            },
            RelayTransport::Tls => match timely(connect_tls(host, address)).await {
                Ok(stream) => self.stream(stream).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, ?transport, "a way to the relay ended");
            self.say(LaneEvent::Ended).await;
        }
    }

    async fn udp(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        self.say(LaneEvent::Ready).await;
        let mut buffer = vec![0; LARGEST_PACKET];
        let (mut answered, mut repeats) = (false, Repeats::default());
        loop {
            let due = repeats.due();
            let result = tokio::select! {
                packet = self.outbound.recv() => match packet {
                    Some(packet) => {
                        repeats.sent(&packet, Instant::now());
                        socket.send(&packet).await.map(drop)
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    match repeats.next(Instant::now()) {
                        Some(packet) => socket.send(&packet).await.map(drop),
                        None => Ok(()),
                    }
                }
                length = socket.recv(&mut buffer) => match length {
                    Ok(length) => {
                        answered = true;
                        repeats.came(&buffer[..length]);
                        self.say(LaneEvent::Packet(buffer[..length].to_vec())).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(()) => {}
                Err(_) if answered => tokio::time::sleep(UDP_ERROR_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn stream(&mut self, stream: impl AsyncRead + AsyncWrite) -> std::io::Result<()> {
        self.say(LaneEvent::Ready).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (notes, number) = (self.notes.clone(), self.number);
        let read = async {
            let (mut splitter, mut buffer) = (Splitter::default(), vec![0; LARGEST_PACKET]);
            loop {
                let length = reader.read(&mut buffer).await?;
                if length == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                splitter.add(&buffer[..length]);
                while let Some(packet) = splitter.next_packet().map_err(std::io::Error::other)? {
                    let _ = notes.send(LaneNote { lane: number, event: LaneEvent::Packet(packet) }).await;
                }
            }
        };
        let write = async {
            while let Some(packet) = self.outbound.recv().await {
                if let Some(packet) = framed(packet) {
                    writer.write_all(&packet).await?;
                    writer.flush().await?;
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = read => ended,
            ended = write => ended,
        }
    }

    async fn say(&self, event: LaneEvent) {
        let _ = self.notes.send(LaneNote { lane: self.number, event }).await;
    }
}

async fn timely<T>(connecting: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(std::io::Error::from)?
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect_tls(host: String, address: SocketAddr) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    // Reading the system's certificates takes a moment, and may block.
    let (config, stream) = tokio::join!(tokio::task::spawn_blocking(tls), connect(address));
    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
    TlsConnector::from(config.map_err(std::io::Error::other)??).connect(name, stream?).await
}

/// Servers are trusted as those of the signaling are: by the roots of the system, or those that SSL_CERT_FILE names.
fn tls() -> std::io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(std::io::Error::other("the system has no certificates to trust servers by"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}
