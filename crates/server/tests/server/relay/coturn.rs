//! The sample configuration for coturn (docs/coturn.conf), against the coturn of this machine: our credentials open it, and
//! it sends nothing to where nobody should get.

use super::SECRET;
use super::client::{By, Carrier, Turn, connect};
use crate::common::{CAP, data_dir};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use stun::attributes::{ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT};
use tempfile::TempDir;
use tokio::net::UdpSocket;

/// What must be refused, with both ends of most ranges.
const DENIED: [&str; 62] = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::169.254.169.254",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:192.168.0.1",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff:ffff:ffff:7f00:1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ffff::1",
];
const ADMITTED: [&str; 4] = ["93.184.215.14", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001::1"];

struct Coturn {
    child: Child,
    place: String,
    version: String,
    dir: TempDir,
}

impl Coturn {
    /// With the sample file, and on the command line what a test must have otherwise.
    async fn start() -> Self {
        let version = Command::new("turnserver").arg("--version").output();
        let version = version.expect("coturn's `turnserver` is needed: install the package coturn").stdout;
        let version = String::from_utf8_lossy(&version).lines().last().unwrap_or_default().trim().to_owned();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coturn.conf");
        let text = std::fs::read_to_string(sample).expect("the sample");
        let (dir, port) = (data_dir(), free_port().await);
        let config = dir.path().join("coturn.conf");
        let secret = "static-auth-secret=put-the-value-of-turn_secret-here";
        assert!(text.contains(secret));
        std::fs::write(&config, text.replace(secret, &format!("static-auth-secret={SECRET}"))).expect("a file");
        let log = std::fs::File::create(dir.path().join("log")).expect("a file");
        let child = Command::new("turnserver")
            .arg("-c")
            .arg(config)
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--relay-ip=::1", "--no-tls", "--no-dtls"])
            .arg(format!("--listening-port={port}"))
            .arg(format!("--userdb={}", dir.path().join("db").display()))
            .arg(format!("--pidfile={}", dir.path().join("pid").display()))
            .arg("--log-file=stdout")
            .stdout(log.try_clone().expect("a handle"))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("coturn starts");
        let coturn = Self { child, place: format!("127.0.0.1:{port}"), version, dir };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(&coturn.place).await.is_err() {
            assert!(began.elapsed() < CAP, "coturn does not listen: {}", coturn.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        coturn
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    async fn carrier(&self, by: By) -> Carrier {
        connect(by, &self.place, Path::new("")).await
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Free on UDP and TCP.
async fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = udp.local_addr().expect("an address");
        if tokio::net::TcpListener::bind(address).await.is_ok() {
            return address.port();
        }
    }
}

/// An allocation whose relayed address is of this family.
async fn allocate(client: &mut Turn, is_v4: bool) -> Result<(), u16> {
    let family: &[u8] = if is_v4 { &[1, 0, 0, 0] } else { &[2, 0, 0, 0] };
    let transport: &[u8] = &[17, 0, 0, 0];
    let attributes = [(ATTR_REQUESTED_TRANSPORT, transport), (ATTR_REQUESTED_ADDRESS_FAMILY, family)];
    client.ask(super::client::ALLOCATE, &attributes, &[]).await.map(drop)
}

#[tokio::test]
async fn sample_configuration_of_coturn_takes_our_credentials_and_no_special_address() {
    let coturn = Coturn::start().await;
    let mut taken = Vec::new();
    for (by, is_v4) in [(By::Udp, true), (By::Udp, false), (By::Tcp, true), (By::Tcp, false)] {
        let mut client = Turn::new(coturn.carrier(by).await, SECRET, "ana");
        allocate(&mut client, is_v4).await.unwrap_or_else(|code| panic!("{code}: {}", coturn.log()));
        for (host, channel) in DENIED.into_iter().chain(ADMITTED).zip(0x4000..) {
            let peer = SocketAddr::new(host.parse().expect("an address"), 80);
            if peer.is_ipv4() != is_v4 {
                continue;
            }
            let permitted = client.permit(&[peer]).await.is_ok();
            let bound = client.bind(channel, peer).await.is_ok();
            assert_eq!(permitted, bound, "{host}");
            // Beside one that is admitted, too.
            let friend = SocketAddr::new(ADMITTED[if is_v4 { 0 } else { 2 }].parse().expect("an address"), 80);
            assert_eq!(client.permit(&[friend, peer]).await.is_ok(), permitted, "{host}");
            taken.extend(permitted.then_some(host));
        }
    }
    // Public addresses are what this relay is for. A version that takes more than these is not held by the sample's rules.
    assert_eq!(taken, [ADMITTED, ADMITTED].concat(), "coturn {}", coturn.version);
    for by in [By::Udp, By::Tcp] {
        let mut bad = Turn::new(coturn.carrier(by).await, &"x".repeat(32), "ana");
        assert_eq!(bad.allocate().await, Err(401), "{by:?}: another secret");
        let mut old = Turn::until(coturn.carrier(by).await, SECRET, "ana", super::client::now_s() - 10);
        assert_eq!(old.allocate().await, Err(401), "{by:?}: expired");
        Turn::new(coturn.carrier(by).await, SECRET, "ana").allocate().await.expect("an allocation");
    }
    let mut held = Vec::new();
    for _ in 0..12 {
        let mut client = Turn::new(coturn.carrier(By::Udp).await, SECRET, "ben");
        client.allocate().await.expect("within the quota");
        held.push(client);
    }
    let mut more = Turn::until(coturn.carrier(By::Udp).await, SECRET, "ben", super::client::now_s() + 300);
    assert_eq!(more.allocate().await, Err(486));
}
