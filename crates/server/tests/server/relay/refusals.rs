//! Whom the relay gives nothing, and to where it sends nothing.

use super::client::{ALL, ALLOCATE, By, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, Turn, now_s};
use super::{Relay, SECRET, start_in};
use crate::common::Server;
use std::net::SocketAddr;
use stun::attributes::ATTR_REQUESTED_TRANSPORT;
use tokio::net::UdpSocket;

/// Hosts that a relay must not be a way to.
const ELSEWHERE: [&str; 26] = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "93.184.215.14",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:192.0.2.10",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "fc00::1",
    "fe80::1",
    "2002:7f00:1::1",
    "2606:2800:220:1:248:1893:25c8:1946",
];
const HANDLE: &str = "ana";

/// Asks for this peer in each manner there is; all are refused.
async fn asks_in_vain(client: &mut Turn, peer: SocketAddr, what: &str) {
    let refused = |answer: Result<(), u16>| assert!(matches!(answer, Err(403 | 443)), "{what} {peer}: {answer:?}");
    refused(client.permit(&[peer]).await);
    refused(client.bind(0x4000, peer).await);
    client.send_to(peer, b"knock").await;
    client.send_on(0x4000, b"knock").await;
}

#[tokio::test]
async fn peers_elsewhere_are_refused_by_every_way() {
    for own in ["192.0.2.10", "2001:db8::10"] {
        let relay = Relay::start(&format!("relay_address = {own:?}\n"));
        for by in ALL {
            let mut client = relay.client(by, HANDLE).await;
            let at = client.allocate().await.expect("an allocation");
            assert_eq!(at.ip().to_string(), own);
            for host in ELSEWHERE {
                for port in [at.port(), 80] {
                    let peer = SocketAddr::new(host.parse().expect("an address"), port);
                    asks_in_vain(&mut client, peer, &format!("{by:?}, relay at {own}")).await;
                }
            }
            asks_in_vain(&mut client, at, "itself").await;
            asks_in_vain(&mut client, SocketAddr::new(at.ip(), 22), "no allocation").await;
        }
    }
}

#[tokio::test]
async fn socket_on_the_relays_own_host_never_gets_a_packet() {
    // The relay listens on loopback and its allocations seem to be there, too.
    let relay = Relay::start("");
    let victim = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = victim.local_addr().expect("an address").port();
    for by in ALL {
        let mut client = relay.client(by, HANDLE).await;
        let mut other = relay.client(by, "ben").await;
        let at = client.allocate().await.expect("an allocation");
        let friend = other.allocate().await.expect("an allocation");
        assert_eq!(at.ip().to_string(), "127.0.0.1");
        for host in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::1"] {
            asks_in_vain(&mut client, SocketAddr::new(host.parse().expect("an address"), port), "a victim").await;
        }
        // One permission that is given opens the way to no other port.
        client.permit(&[friend]).await.expect("a permission");
        client.send_to(SocketAddr::new(at.ip(), port), b"knock").await;
        client.refresh(0).await.expect("all before was read");
    }
    let own = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    own.send_to(b"the first and only", ("127.0.0.1", port)).await.expect("sent");
    let mut packet = [0; 64];
    let (length, _) = victim.recv_from(&mut packet).await.expect("received");
    assert_eq!(&packet[..length], b"the first and only");
}

#[tokio::test]
async fn without_good_credentials_there_is_nothing() {
    let relay = Relay::start("");
    let cases: [(&str, String, String); 6] = [
        ("wrong", format!("{}:{HANDLE}", now_s() + 600), "d3Jvbmc=".into()),
        ("of another user", format!("{}:{HANDLE}", now_s() + 600), super::client::credential(SECRET, "1:ben")),
        ("of another secret", format!("{}:x", now_s() + 600), {
            super::client::credential(&"x".repeat(32), &format!("{}:x", now_s() + 600))
        }),
        ("expired", format!("{}:{HANDLE}", now_s() - 1), {
            super::client::credential(SECRET, &format!("{}:{HANDLE}", now_s() - 1))
        }),
        ("without a time", HANDLE.into(), super::client::credential(SECRET, HANDLE)),
        ("empty", format!("{}:", now_s() + 600), super::client::credential(SECRET, &format!("{}:", now_s() + 600))),
    ];
    for by in ALL {
        let transport: &[u8] = &[17, 0, 0, 0];
        for kind in [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
            let mut nobody = relay.client(by, HANDLE).await;
            let answer = nobody.ask_once(kind, &[(ATTR_REQUESTED_TRANSPORT, transport)], &[]).await;
            assert_eq!(answer.map(drop), Err(401), "{by:?} {kind}");
        }
        for (what, username, credential) in &cases {
            let mut client = Turn::with(relay.carrier(by).await, username.clone(), credential.clone());
            assert_eq!(client.allocate().await, Err(401), "{by:?}, credentials {what}");
            assert_eq!(client.refresh(600).await, Err(401), "{by:?}, credentials {what}");
        }
        let mut early = relay.client(by, HANDLE).await;
        assert_eq!(early.refresh(600).await, Err(437), "{by:?}: nothing is allocated");
        let mut client = relay.client(by, HANDLE).await;
        client.allocate().await.expect("an allocation");
        let name = client.username.clone();
        client.username = format!("{}:ben", now_s() + 600);
        assert_eq!(client.refresh(600).await, Err(441), "{by:?}: it is another's");
        client.username = name;
        client.credential = "d3Jvbmc=".into();
        assert_eq!(client.refresh(600).await, Err(401), "{by:?}");
    }
}

#[tokio::test]
async fn nobody_takes_more_than_their_allocations() {
    let relay = Relay::start("");
    let mut held = Vec::new();
    for n in 0..24 {
        let mut client = relay.client(ALL[n % 3], HANDLE).await;
        client.allocate().await.expect("within the quota");
        held.push(client);
    }
    for by in ALL {
        for client in &mut held {
            client.refresh(600).await.expect("it is in use");
        }
        // Another expiry is another username, of the same person.
        let mut client = Turn::until(relay.carrier(by).await, SECRET, HANDLE, now_s() + 300);
        assert_eq!(client.allocate().await, Err(486), "{by:?}");
        relay.client(by, "ben").await.allocate().await.expect("another's quota");
    }
    held[0].refresh(0).await.expect("closed");
    relay.client(By::Udp, HANDLE).await.allocate().await.expect("one came back");
}

#[tokio::test]
async fn secret_before_is_good_until_it_is_taken_away() {
    let new = "fedcba9876543210fedcba9876543210";
    let start = |relay: Option<&Server>, settings: String| match relay {
        None => Relay::start("").server,
        Some(server) => start_in(server.dir.clone(), &settings),
    };
    let mut server = start(None, String::new());
    for (settings, old_is_good, new_is_good) in [
        (format!("turn_secret = {SECRET:?}\n"), true, false),
        (format!("turn_secret = {new:?}\nturn_secret_previous = {SECRET:?}\n"), true, true),
        (format!("turn_secret = {new:?}\n"), false, true),
    ] {
        server.stop();
        server = start(Some(&server), settings);
        let relay = Relay { certificate: server.dir.path().join("cert.pem"), server };
        for by in ALL {
            let mut old = Turn::new(relay.carrier(by).await, SECRET, HANDLE);
            let mut fresh = Turn::new(relay.carrier(by).await, new, HANDLE);
            assert_eq!(old.allocate().await.is_ok(), old_is_good, "{by:?}");
            assert_eq!(fresh.allocate().await.is_ok(), new_is_good, "{by:?}");
        }
        server = relay.server;
    }
}

#[tokio::test]
async fn bandwidth_beyond_the_limit_is_dropped_and_counted() {
    let relay = Relay::start("relay_kbps = 64\n");
    let mut ana = relay.client(By::Tcp, "ana").await;
    let mut ben = relay.client(By::Tcp, "ben").await;
    let at_ana = ana.allocate().await.expect("an allocation");
    let at_ben = ben.allocate().await.expect("an allocation");
    ana.bind(0x4000, at_ben).await.expect("a channel");
    ben.bind(0x4000, at_ana).await.expect("a channel");
    for _ in 0..100 {
        ana.send_on(0x4000, &[0; 1_000]).await;
    }
    ana.refresh(600).await.expect("all before was read");
    let figures = reqwest::get(relay.server.url("/metrics")).await.expect("an answer").text().await.expect("text");
    let dropped =
        figures.lines().find_map(|line| line.strip_prefix("bellwire_relay_dropped_total{reason=\"bandwidth\"} "));
    let dropped: u32 = dropped.expect("the figure").parse().expect("a number");
    // Eight a second, of which one second's may pass at once; the rest depends on how long it took.
    assert!((1..=92).contains(&dropped), "{dropped}");
}

#[tokio::test]
async fn flood_without_credentials_is_limited_and_harms_nobody() {
    // Not in development, where this machine is not counted.
    let dir = crate::common::data_dir();
    let config = dir.path().join("bellwire.toml");
    std::fs::write(&config, format!("turn_secret = {SECRET:?}\n")).expect("a file");
    let server = Server::start_in(std::sync::Arc::new(dir), &["--config", config.to_str().expect("a path")]);
    let mut settled = Turn::new(super::connect(By::Udp, &server.address, &config).await, SECRET, "ana");
    settled.allocate().await.expect("an allocation");
    let mut flood = Turn::new(super::connect(By::Udp, &server.address, &config).await, SECRET, "ben");
    let mut request = vec![0, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    request.extend([0; 12]);
    for _ in 0..50 {
        for _ in 0..100 {
            flood.send(&request).await;
        }
        settled.refresh(600).await.expect("it goes on");
        tokio::task::yield_now().await;
        let figures = reqwest::get(server.url("/metrics")).await.expect("an answer").text().await.expect("text");
        let limited = "bellwire_relay_dropped_total{reason=\"rate\"} ";
        let dropped = figures.lines().find_map(|line| line.strip_prefix(limited)).expect("the figure");
        if dropped != "0" {
            return;
        }
    }
    panic!("nothing was limited");
}
