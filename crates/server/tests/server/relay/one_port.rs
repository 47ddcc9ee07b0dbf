//! One port for HTTP, TURN and both over TLS; those who say nothing, or nonsense.

use super::client::{ALL, By, Turn, tls};
use super::{Relay, SECRET, certify, start_in};
use crate::common::{CAP, data_dir};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const GET: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// Everything until the server closes the connection.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    timeout(CAP, stream.read_to_end(&mut said)).await.expect("the server closes the connection").ok();
    said
}

#[tokio::test]
async fn http_is_served_in_clear_and_over_tls_beside_turn() {
    let relay = Relay::start("");
    let mut plain = TcpStream::connect(&relay.server.address).await.expect("a connection");
    plain.write_all(GET).await.expect("written");
    assert!(rest(&mut plain).await.starts_with(b"HTTP/1.1 200"));
    let mut secret = tls(&relay.server.address, &relay.certificate).await.expect("a handshake");
    secret.write_all(GET).await.expect("written");
    assert!(rest(&mut secret).await.starts_with(b"HTTP/1.1 200"));
    for by in ALL {
        relay.client(by, "ana").await.allocate().await.expect("an allocation");
    }
}

#[tokio::test]
async fn binding_is_answered_with_the_senders_address_and_little_more() {
    let relay = Relay::start("");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&BINDING, &relay.server.address).await.expect("sent");
    let mut answer = [0; 2_048];
    let (length, _) = timeout(CAP, socket.recv_from(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(answer[..2], [1, 1]);
    assert!(length <= 2 * BINDING.len(), "{length} bytes are no way to multiply a forged packet");
    let port = u16::from_be_bytes([answer[26] ^ 0x21, answer[27] ^ 0x12]);
    assert_eq!(port, socket.local_addr().expect("an address").port());
}

#[tokio::test]
async fn changed_certificate_is_shown_to_the_next_connection() {
    let relay = Relay::start("");
    let old = relay.server.dir.path().join("old.pem");
    std::fs::copy(&relay.certificate, &old).expect("a copy");
    tls(&relay.server.address, &old).await.expect("the first certificate");
    certify(relay.server.dir.path());
    let began = Instant::now();
    while tls(&relay.server.address, &relay.certificate).await.is_err() {
        assert!(began.elapsed() < CAP, "the new certificate is shown");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // What cannot be used changes nothing.
    let good = std::fs::read(&relay.certificate).expect("a file");
    std::fs::write(&old, &good).expect("a file");
    std::fs::write(&relay.certificate, &good[..good.len() / 2]).expect("a file");
    let began = Instant::now();
    while !relay.server.log().contains("cannot be used") {
        tls(&relay.server.address, &old).await.expect("the certificate before");
        assert!(began.elapsed() < CAP, "the broken certificate is noticed");
    }
    tls(&relay.server.address, &old).await.expect("the certificate before");
}

#[tokio::test]
async fn silence_halves_and_nonsense_are_closed() {
    let relay = Relay::start("");
    let began = Instant::now();
    let mut all = Vec::new();
    for start in [&b""[..], &[0], &BINDING[..10], &[0x16, 3, 1, 2, 0], &[0, 1, 0xFF, 0xFF, 0, 0, 0, 0], &[0, 1, 0, 3]] {
        let mut stream = TcpStream::connect(&relay.server.address).await.expect("a connection");
        stream.write_all(start).await.expect("written");
        all.push(tokio::spawn(async move { rest(&mut stream).await }));
    }
    for start in [&b""[..], &BINDING[..10], &[0, 1, 0xFF, 0xFF]] {
        let mut stream = tls(&relay.server.address, &relay.certificate).await.expect("a handshake");
        stream.write_all(start).await.expect("written");
        stream.flush().await.expect("written");
        all.push(tokio::spawn(async move { rest(&mut stream).await }));
    }
    // Answered, and then closed when nothing more comes.
    let mut idle = TcpStream::connect(&relay.server.address).await.expect("a connection");
    idle.write_all(&BINDING).await.expect("written");
    for stream in all {
        assert!(stream.await.expect("it ends").is_empty());
    }
    assert!(rest(&mut idle).await.starts_with(&[1, 1]));
    assert!(began.elapsed() < CAP);
    relay.client(By::Tls, "ana").await.allocate().await.expect("the server is well");
}

#[tokio::test]
async fn malformed_packets_over_udp_harm_nobody() {
    let relay = Relay::start("");
    let mut client = relay.client(By::Udp, "ana").await;
    client.allocate().await.expect("an allocation");
    // An attribute whose padding would lie behind the end; empty and short ones; a channel that promises more.
    let mut short = BINDING.to_vec();
    short.extend([0, 0x14, 0, 1, b'a']);
    for length in [5, 8, 0] {
        short[3] = length;
        client.send(&short).await;
    }
    for length in 0..20 {
        client.send(&BINDING[..length]).await;
    }
    client.send(&[0x40, 0, 0xFF, 0xFF, 1]).await;
    client.send(&[0xFF; 2_048]).await;
    client.send(&[0; 4_000]).await;
    client.refresh(600).await.expect("it goes on");
    assert!(!relay.server.log().contains("panicked"));
}

#[tokio::test]
async fn connections_of_one_address_are_counted_for_turn_as_well() {
    let dir = data_dir();
    let config = dir.path().join("bellwire.toml");
    std::fs::write(&config, format!("connections_per_address = 2\nturn_secret = {SECRET:?}\n")).expect("a file");
    let server = crate::common::Server::start_in(Arc::new(dir), &["--config", config.to_str().expect("a path")]);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Turn::new(super::connect(By::Tcp, &server.address, &config).await, SECRET, "ana");
        client.allocate().await.expect("an allocation");
        held.push(client);
    }
    let mut third = TcpStream::connect(&server.address).await.expect("the system's handshake");
    third.write_all(&BINDING).await.ok();
    assert!(rest(&mut third).await.is_empty());
}

#[tokio::test]
async fn server_that_stops_does_not_wait_for_relay_connections() {
    let mut relay = Relay::start("");
    let mut held = Vec::new();
    for by in ALL {
        let mut client = relay.client(by, "ana").await;
        client.allocate().await.expect("an allocation");
        held.push(client);
    }
    let silent = TcpStream::connect(&relay.server.address).await.expect("a connection");
    assert!(relay.server.stop().success());
    assert!(!relay.server.log().contains("were cut"), "{}", relay.server.log());
    drop(silent);
}

#[tokio::test]
async fn without_a_relay_the_port_speaks_http_alone() {
    let dir = data_dir();
    certify(dir.path());
    let server = start_in(Arc::new(dir), "relay = false\n");
    let mut stream = TcpStream::connect(&server.address).await.expect("a connection");
    stream.write_all(&BINDING).await.expect("written");
    assert!(!rest(&mut stream).await.starts_with(&[1, 1]));
    UdpSocket::bind(&server.address).await.expect("the port of UDP is free");
}
