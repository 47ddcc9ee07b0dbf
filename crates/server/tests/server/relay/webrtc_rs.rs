//! The relay with the TURN client of the library that our apps use: what it expects of a server, right or not.

use super::client::{credential, now_s};
use super::{Relay, SECRET};
use crate::common::CAP;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

async fn client(relay: &Relay, handle: &str) -> (Client, impl Conn + use<>) {
    let username = format!("{}:{handle}", now_s() + 600);
    let config = ClientConfig {
        stun_serv_addr: relay.server.address.clone(),
        turn_serv_addr: relay.server.address.clone(),
        password: credential(SECRET, &username),
        username,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a socket")),
        vnet: None,
    };
    let client = Client::new(config).await.expect("a client");
    client.listen().await.expect("it listens");
    let allocation = client.allocate().await.expect("an allocation");
    (client, allocation)
}

#[tokio::test]
async fn clients_of_webrtc_rs_hear_each_other_at_every_allocation() {
    let relay = Relay::start("");
    let (ana, at_ana) = client(&relay, "ana").await;
    let mapped = ana.send_binding_request().await.expect("a binding");
    assert!(mapped.ip().is_loopback());
    // The client asks for a permission for the first port alone; the second one has the same address.
    let mut peers = Vec::new();
    for handle in ["ben", "cem"] {
        peers.push(client(&relay, handle).await);
    }
    let ana_address = at_ana.local_addr().expect("an address");
    for (_, peer) in &peers {
        let address = peer.local_addr().expect("an address");
        let mut packet = [0; 1_500];
        let mut hello = 0_u32;
        // As ICE does: both speak until both were heard.
        let (mut heard_there, mut heard_here) = (false, false);
        let exchange = async {
            while !(heard_there && heard_here) {
                hello += 1;
                at_ana.send_to(format!("to {hello}").as_bytes(), address).await.expect("sent");
                peer.send_to(format!("from {hello}").as_bytes(), ana_address).await.expect("sent");
                let soon = std::time::Duration::from_millis(200);
                if let Ok(Ok((length, from))) = timeout(soon, peer.recv_from(&mut packet)).await {
                    assert!(packet[..length].starts_with(b"to ") && from == ana_address);
                    heard_there = true;
                }
                if let Ok(Ok((length, from))) = timeout(soon, at_ana.recv_from(&mut packet)).await {
                    assert!(packet[..length].starts_with(b"from "));
                    heard_here |= from == address;
                }
            }
        };
        timeout(CAP, exchange).await.expect("both are heard");
    }
    for (client, allocation) in peers {
        allocation.close().await.expect("closed");
        client.close().await.expect("closed");
    }
}
