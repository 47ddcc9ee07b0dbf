//! The relay of the real server, by its three ways: what it carries, and what it refuses.

mod client;
mod coturn;
mod grants;
mod one_port;
mod refusals;
mod webrtc_rs;

use crate::common::{Server, data_dir};
use client::{ALL, By, Came, Turn, connect};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A server whose relay the tests have the secret of, and a certificate for TLS.
pub struct Relay {
    pub server: Server,
    pub certificate: PathBuf,
}

impl Relay {
    pub fn start(settings: &str) -> Self {
        let dir = data_dir();
        certify(dir.path());
        let settings = format!("turn_secret = {SECRET:?}\n{settings}");
        let server = start_in(Arc::new(dir), &settings);
        Self { certificate: server.dir.path().join("cert.pem"), server }
    }

    pub async fn client(&self, by: By, handle: &str) -> Turn {
        Turn::new(self.carrier(by).await, SECRET, handle)
    }

    pub async fn carrier(&self, by: By) -> client::Carrier {
        connect(by, &self.server.address, &self.certificate).await
    }
}

/// A development server with these settings, and TLS with the certificate beside them.
pub fn start_in(dir: Arc<tempfile::TempDir>, settings: &str) -> Server {
    let path = |name: &str| dir.path().join(name);
    let (config, cert, key) = (path("bellwire.toml"), path("cert.pem"), path("key.pem"));
    let tls = format!("tls_certificate_file = {cert:?}\ntls_key_file = {key:?}\n");
    std::fs::write(&config, format!("{tls}{settings}")).expect("a file");
    Server::start_in(dir, &["--dev", "--config", config.to_str().expect("a path")])
}

/// A new certificate for `localhost`, and its key.
pub fn certify(dir: &Path) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).expect("a file");
    std::fs::write(dir.join("cert.pem"), certificate.pem()).expect("a file");
}

#[tokio::test]
async fn every_two_ways_exchange_packets_of_any_length() {
    let relay = Relay::start("");
    for (one, other) in ALL.into_iter().flat_map(|one| ALL.map(|other| (one, other))) {
        let mut ana = relay.client(one, "ana").await;
        let mut ben = relay.client(other, "ben").await;
        let at_ana = ana.allocate().await.expect("an allocation");
        let at_ben = ben.allocate().await.expect("an allocation");
        ana.permit(&[at_ben]).await.expect("a permission");
        ben.permit(&[at_ana]).await.expect("a permission");
        ana.send_to(at_ben, b"before a channel").await;
        assert_eq!(
            ben.next().await,
            Came::Data { from: at_ana, data: b"before a channel".to_vec() },
            "{one:?} {other:?}"
        );
        ana.bind(0x4000, at_ben).await.expect("a channel");
        ana.send_on(0x4000, b"half").await;
        assert_eq!(ben.next().await, Came::Data { from: at_ana, data: b"half".to_vec() });
        ben.bind(0x4ABC, at_ana).await.expect("a channel");
        for length in [0, 1, 2, 3, 4, 5, 160, 1_199, 1_200] {
            let data: Vec<u8> = (0..length).map(|n| n as u8).collect();
            ana.send_on(0x4000, &data).await;
            assert_eq!(ben.next().await, Came::Channel { number: 0x4ABC, data: data.clone() }, "{one:?} {other:?}");
            ben.send_on(0x4ABC, &data).await;
            assert_eq!(ana.next().await, Came::Channel { number: 0x4000, data }, "{one:?} {other:?}");
        }
        ana.refresh(0).await.expect("closed");
        ben.refresh(0).await.expect("closed");
    }
}

#[tokio::test]
async fn connection_that_ends_gives_its_allocation_back() {
    let relay = Relay::start("relay_allocations_per_user = 1\n");
    for by in [By::Tcp, By::Tls] {
        let mut first = relay.client(by, "ana").await;
        first.allocate().await.expect("an allocation");
        assert_eq!(relay.client(by, "ana").await.allocate().await, Err(486));
        drop(first);
        let began = std::time::Instant::now();
        while relay.client(by, "ana").await.allocate().await.is_err() {
            assert!(began.elapsed() < crate::common::CAP, "{by:?}: the quota is given back");
        }
    }
}

#[tokio::test]
async fn figures_count_what_is_relayed_and_name_nobody() {
    let relay = Relay::start("");
    let mut ana = relay.client(By::Udp, "ana-handle").await;
    let mut ben = relay.client(By::Tls, "ben-handle").await;
    let at_ana = ana.allocate().await.expect("an allocation");
    let at_ben = ben.allocate().await.expect("an allocation");
    ana.bind(0x4000, at_ben).await.expect("a channel");
    ben.bind(0x4000, at_ana).await.expect("a channel");
    ana.send_on(0x4000, &[7; 100]).await;
    ben.next().await;
    let figures = reqwest::get(relay.server.url("/metrics")).await.expect("an answer").text().await.expect("text");
    for line in [
        "bellwire_relay_allocations 2",
        "bellwire_relay_allocations_made_total 2",
        "bellwire_relay_packets_total 1",
        "bellwire_relay_bytes_total 100",
        "bellwire_relay_refused_total{reason=\"without_credentials\"} 2",
        "bellwire_relay_dropped_total{reason=\"bandwidth\"} 0",
    ] {
        assert!(figures.lines().any(|each| each == line), "{line} in {figures}");
    }
    let log = relay.server.log();
    for secret in ["ana-handle", "ben-handle", SECRET, &ana.credential] {
        assert!(!figures.contains(secret) && !log.contains(secret), "{secret}");
    }
    assert!(!log.contains("ERROR"), "{log}");
}
