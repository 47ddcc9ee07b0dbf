//! A real TURN server for tests, on UDP, TCP and TLS, and servers that take everything and answer nothing.

use bellwire_media::IceServer;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig as TlsConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};

const USER: &str = "1900000000:somebody";
const PASSWORD: &str = "what only this test knows";
const REALM: &str = "bellwire.test";
/// Where allocations are: not where the servers and the engines are.
pub const RELAYED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub struct Relay {
    server: Server,
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub tls: Option<SocketAddr>,
    /// Fronts let bytes pass as this says.
    pub road: watch::Sender<Road>,
}

/// What the way over TCP and TLS is like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Road {
    /// Each way.
    pub delay: Duration,
    /// Share of the writes that come later by another round trip, as what follows a lost packet does.
    pub loss: f32,
    /// All connections are broken.
    pub cut: bool,
    /// Nothing arrives, and nobody is told.
    pub lost: bool,
}

struct OneUser;

impl AuthHandler for OneUser {
    fn auth_handle(&self, username: &str, realm: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        if username == USER { Ok(generate_auth_key(username, realm, PASSWORD)) } else { Err(turn::Error::ErrFakeErr) }
    }
}

/// A certificate for `localhost`, whose text is written so that it can be trusted.
pub fn certificate(trusted: &Path) -> TlsConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(trusted, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap()
}

impl Relay {
    pub async fn start(tls: Option<TlsConfig>) -> Self {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let udp = socket.local_addr().unwrap();
        let generator = RelayAddressGeneratorStatic {
            relay_address: IpAddr::V4(RELAYED),
            address: RELAYED.to_string(),
            net: Arc::new(webrtc_util::vnet::net::Net::new(None)),
        };
        let server = Server::new(ServerConfig {
            conn_configs: vec![ConnConfig { conn: socket, relay_addr_generator: Box::new(generator) }],
            realm: REALM.into(),
            auth_handler: Arc::new(OneUser),
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        })
        .await
        .unwrap();
        let (road, roads) = watch::channel(Road::default());
        let tcp = front(udp, None, roads.clone()).await;
        let tls = match tls {
            Some(config) => Some(front(udp, Some(TlsAcceptor::from(Arc::new(config))), roads).await),
            None => None,
        };
        Self { server, udp, tcp, tls, road }
    }

    pub fn udp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.udp.port())
    }

    pub fn tcp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=tcp", self.tcp.port())
    }

    pub fn tls_url(&self) -> String {
        format!("turns:localhost:{}?transport=tcp", self.tls.unwrap().port())
    }

    /// How many allocations stand.
    pub async fn allocations(&self) -> usize {
        self.server.get_allocations_info(None).await.unwrap().len()
    }
}

pub fn server(urls: &[String]) -> IceServer {
    IceServer { urls: urls.to_vec(), username: USER.into(), credential: PASSWORD.into() }
}

/// A server that takes UDP packets and answers none.
pub struct Hole(UdpSocket);

impl Hole {
    pub async fn new() -> Self {
        Self(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.0.local_addr().unwrap().port())
    }
}

/// A server that takes TCP connections and answers nothing on them.
pub struct SilentTcp(TcpListener);

impl SilentTcp {
    pub async fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=tcp", self.0.local_addr().unwrap().port())
    }
}

/// Puts a stream in front of the UDP server: each connection is a client of its own there.
async fn front(udp: SocketAddr, tls: Option<TlsAcceptor>, road: watch::Receiver<Road>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let (tls, road) = (tls.clone(), road.clone());
            tokio::spawn(async move {
                match tls {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            carry(stream, udp, road).await;
                        }
                    }
                    None => carry(stream, udp, road).await,
                }
            });
        }
    });
    address
}

async fn carry(stream: impl AsyncRead + AsyncWrite, udp: SocketAddr, mut road: watch::Receiver<Road>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(udp).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let roads = (road.clone(), road.clone());
    let up = async {
        let (send, mut receive) = tokio::sync::mpsc::channel(1024);
        let read = async move {
            loop {
                let mut header = [0; 4];
                reader.read_exact(&mut header).await?;
                let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let (whole, padding) =
                    if header[0] < 0x40 { (20 + length, 0) } else { (4 + length, (4 - length % 4) % 4) };
                let mut packet = header.to_vec();
                packet.resize(whole + padding, 0);
                reader.read_exact(&mut packet[4..]).await?;
                packet.truncate(whole);
                let _ = send.send((tokio::time::Instant::now(), packet)).await;
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        };
        let write = async {
            let mut dice = crate::common::Dice::new(1);
            while let Some((at, packet)) = receive.recv().await {
                late(at, &roads.0, &mut dice).await;
                if !roads.0.borrow().lost {
                    socket.send(&packet).await?;
                }
            }
            std::io::Result::Ok(())
        };
        tokio::select! { ended = read => ended, ended = write => ended }
    };
    let down = async {
        let (send, mut receive) = tokio::sync::mpsc::channel(1024);
        let read = async {
            let mut buffer = vec![0; 2000];
            loop {
                let length = socket.recv(&mut buffer).await?;
                let mut packet = buffer[..length].to_vec();
                packet.resize(length.next_multiple_of(4), 0);
                let _ = send.send((tokio::time::Instant::now(), packet)).await;
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        };
        let write = async {
            let mut dice = crate::common::Dice::new(2);
            while let Some((at, packet)) = receive.recv().await {
                late(at, &roads.1, &mut dice).await;
                if !roads.1.borrow().lost {
                    writer.write_all(&packet).await?;
                    writer.flush().await?;
                }
            }
            std::io::Result::Ok(())
        };
        tokio::select! { ended = read => ended, ended = write => ended }
    };
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = road.wait_for(|road| road.cut) => {}
    }
}

/// Waits until what was read then has crossed the road; what is behind it waits as well.
async fn late(at: tokio::time::Instant, road: &watch::Receiver<Road>, dice: &mut crate::common::Dice) {
    let Road { delay, loss, .. } = *road.borrow();
    let more = if dice.roll() < loss { 2 * delay.max(Duration::from_millis(100)) } else { Duration::ZERO };
    tokio::time::sleep_until(at + delay + more).await;
}
