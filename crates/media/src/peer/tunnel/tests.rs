//! A tunnel between a library and a relay that are both played by the test.

use super::*;
use crate::peer::tunnel::message::{Splitter, error_code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No test waits longer for anything.
const CAP: Duration = Duration::from_secs(30);
const BINDING: u16 = 0x0001;

fn message(kind: u16, transaction: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xA4, 0x42]);
    message.extend([transaction; 12]);
    message.extend(attributes);
    message
}

fn refused(request: &[u8], code: u16) -> Vec<u8> {
    message::refusal(Header::read(request).unwrap(), code)
}

/// A permission for 192.0.2.LAST.
fn permission(transaction: u8, last: u8) -> Vec<u8> {
    let peer = [0, 0x12, 0, 8, 0, 1, 0, 0, 0x21 ^ 192, 0x12, 0xA4 ^ 2, 0x42 ^ last];
    message(CREATE_PERMISSION, transaction, &peer)
}

struct Library {
    socket: UdpSocket,
    tunnel: Tunnel,
}

impl Library {
    async fn new(urls: &[String]) -> Self {
        let server = IceServer { urls: urls.to_vec(), username: "1:a".into(), credential: "secret".into() };
        let mut tunnels = open(&[server]).await;
        assert_eq!(tunnels.len(), 1);
        let tunnel = tunnels.remove(0);
        Self { socket: other(&tunnel).await, tunnel }
    }

    async fn send(&self, packet: &[u8]) {
        self.socket.send(packet).await.unwrap();
    }

    async fn receive(&self) -> Vec<u8> {
        receive(&self.socket).await.0
    }
}

/// Another socket of this machine that talks to the tunnel.
async fn other(tunnel: &Tunnel) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, tunnel.port)).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2000];
    let received = tokio::time::timeout(CAP, socket.recv_from(&mut buffer)).await;
    let (length, from) = received.expect("nothing came").unwrap();
    (buffer[..length].to_vec(), from)
}

async fn udp_relay() -> (UdpSocket, String) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("turn:127.0.0.1:{}?transport=udp", socket.local_addr().unwrap().port());
    (socket, url)
}

async fn tcp_relay() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("turn:127.0.0.1:{}?transport=tcp", listener.local_addr().unwrap().port());
    (listener, url)
}

/// The next packet of a stream.
async fn next_of(stream: &mut TcpStream, splitter: &mut Splitter) -> Vec<u8> {
    loop {
        if let Some(packet) = splitter.next_packet().unwrap() {
            return packet;
        }
        let mut buffer = [0; 2000];
        let length = tokio::time::timeout(CAP, stream.read(&mut buffer)).await.expect("nothing came").unwrap();
        assert!(length > 0, "the tunnel closed the connection");
        splitter.add(&buffer[..length]);
    }
}

#[tokio::test]
async fn only_the_socket_that_asks_for_an_allocation_first_is_served() {
    let (relay, url) = udp_relay().await;
    let library = Library::new(&[url]).await;
    // Before and after: whoever asks for its reflexive address is refused at once.
    let stranger = other(&library.tunnel).await;
    let binding = message(BINDING, 9, &[]);
    stranger.send(&binding).await.unwrap();
    assert_eq!(error_code(&receive(&stranger).await.0), Some(400));
    let allocate = message(ALLOCATE, 1, &[]);
    library.send(&allocate).await;
    let (request, from) = receive(&relay).await;
    assert_eq!(request, allocate);
    relay.send_to(&refused(&request, 401), from).await.unwrap();
    assert_eq!(error_code(&library.receive().await), Some(401));
    stranger.send(&message(ALLOCATE, 8, &[])).await.unwrap();
    assert_eq!(error_code(&receive(&stranger).await.0), Some(400));
    stranger.send(&[0x40, 1, 0, 1, 7]).await.unwrap();
    library.send(&[0x40, 1, 0, 1, 5]).await;
    assert_eq!(receive(&relay).await.0, [0x40, 1, 0, 1, 5]);
    let state = library.tunnel.state();
    assert_eq!(state.carried, Some(RelayTransport::Udp));
    assert_eq!(state.library, Some(library.socket.local_addr().unwrap().port()));
}

#[tokio::test]
async fn on_a_stream_a_repeated_request_passes_once_and_its_end_is_the_tunnels() {
    let ((_silent, udp), (listener, tcp)) = (udp_relay().await, tcp_relay().await);
    let library = Library::new(&[udp, tcp]).await;
    let allocate = message(ALLOCATE, 1, &[]);
    library.send(&allocate).await;
    let (mut relay, _) = tokio::time::timeout(CAP, listener.accept()).await.unwrap().unwrap();
    library.send(&allocate).await;
    let mut splitter = Splitter::default();
    let request = next_of(&mut relay, &mut splitter).await;
    assert_eq!(request, allocate);
    relay.write_all(&refused(&request, 401)).await.unwrap();
    assert_eq!(error_code(&library.receive().await), Some(401));
    let second = message(ALLOCATE, 2, &[]);
    for packet in [&second, &second, &vec![0x40, 1, 0, 1, 5]] {
        library.send(packet).await;
    }
    assert_eq!(next_of(&mut relay, &mut splitter).await, second);
    assert_eq!(next_of(&mut relay, &mut splitter).await, [0x40, 1, 0, 1, 5]);
    assert_eq!(library.tunnel.state().carried, Some(RelayTransport::Tcp));
    let ended = library.tunnel.ended();
    drop(relay);
    assert!(tokio::time::timeout(CAP, ended).await.expect("the tunnel does not notice"));
}

#[tokio::test]
async fn a_peer_that_the_relay_refused_is_not_asked_for_again() {
    let (relay, url) = udp_relay().await;
    let library = Library::new(&[url]).await;
    library.send(&message(ALLOCATE, 1, &[])).await;
    let (request, from) = receive(&relay).await;
    relay.send_to(&refused(&request, 401), from).await.unwrap();
    library.receive().await;
    library.send(&permission(2, 7)).await;
    let (request, from) = receive(&relay).await;
    relay.send_to(&refused(&request, 403), from).await.unwrap();
    assert_eq!(error_code(&library.receive().await), Some(403));
    library.send(&permission(3, 7)).await;
    let again = library.receive().await;
    assert_eq!((error_code(&again), Header::read(&again).unwrap().transaction), (Some(403), [3; 12]));
    library.send(&permission(4, 8)).await;
    assert_eq!(receive(&relay).await.0, permission(4, 8));
}

#[tokio::test]
async fn the_end_of_its_handle_is_the_end_of_a_tunnel_but_what_was_sent_before_arrives() {
    let (relay, url) = udp_relay().await;
    let library = Library::new(&[url]).await;
    library.send(&message(ALLOCATE, 1, &[])).await;
    let (request, from) = receive(&relay).await;
    relay.send_to(&refused(&request, 401), from).await.unwrap();
    library.receive().await;
    let ended = library.tunnel.ended();
    library.send(&message(4, 2, &[])).await;
    drop(library.tunnel);
    assert_eq!(receive(&relay).await.0, message(4, 2, &[]));
    assert!(!tokio::time::timeout(CAP, ended).await.expect("the tunnel goes on"));
}
