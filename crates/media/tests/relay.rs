//! Relays: which way a connection goes, what gets through where UDP does not, and what nobody learns of us.

mod common;
#[path = "common/relay.rs"]
mod relay;

use bellwire_media::{CandidateKind, Command, Config, Event, IceServer, Leg, PathInfo, RelayTransport, Route};
use common::*;
use relay::{Hole, Relay, SilentTcp, certificate, server};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::Instant;

/// How long a path is down.
const AWAY: Duration = Duration::from_secs(8);

fn person(folder: &Folder, name: &str, servers: &[IceServer]) -> Person {
    let (input, output) = (folder.file(&format!("{name}-says.wav")), folder.file(&format!("{name}-hears.wav")));
    write_wav(&input, &speech(20.0, name.len() as u64));
    Person::new(Config { ice_servers: servers.to_vec(), ..config(&input, &output) })
}

async fn connect_by(a: &mut Person, b: &mut Person, generation: u32, route: Route) {
    for person in [&a, &b] {
        person.engine.command(Command::Open { leg: Leg::CALL, generation, route });
    }
    a.engine.command(Command::Offer { leg: Leg::CALL, generation });
    join(a, b, |a, b| [a, b].iter().all(|said| flows(said, generation) && path(said, generation).is_some())).await;
}

fn path(said: &[(Instant, Event)], wanted: u32) -> Option<PathInfo> {
    said.iter().rev().find_map(|(_, event)| match event {
        Event::Path { generation, path, .. } if *generation == wanted => Some(*path),
        _ => None,
    })
}

fn candidates(said: &[(Instant, Event)]) -> Vec<String> {
    let texts = said.iter().flat_map(|(_, event)| match event {
        Event::Candidates { candidates, .. } => candidates.iter().map(|one| one.candidate.clone()).collect(),
        Event::Description { sdp, .. } => {
            sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:")).map(str::to_owned).collect()
        }
        _ => vec![],
    });
    texts.collect()
}

const RELAYED_BY: fn(RelayTransport) -> PathInfo = |transport| PathInfo {
    local: CandidateKind::Relay,
    remote: CandidateKind::Relay,
    relay: Some(transport),
    ipv6: false,
};

/// Both go by the relay alone, along these ways; what carried it.
async fn goes_by(folder: &Folder, urls: &[String]) -> PathInfo {
    let servers = [server(urls)];
    let (mut a, mut b) = (person(folder, "anna", &servers), person(folder, "ben", &servers));
    connect_by(&mut a, &mut b, 1, Route::RelayOnly).await;
    let found = path(&a.said, 1).unwrap();
    assert_eq!(path(&b.said, 1), Some(found));
    a.engine.shutdown().await;
    b.engine.shutdown().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_carries_the_call_over_udp_and_over_tcp_where_udp_is_lost() {
    let folder = Folder::new("relay-ways");
    let (relay, hole) = (Relay::start(None).await, Hole::new().await);
    assert_eq!(goes_by(&folder, &[relay.udp_url(), relay.tcp_url()]).await, RELAYED_BY(RelayTransport::Udp));
    assert_eq!(goes_by(&folder, &[relay.tcp_url()]).await, RELAYED_BY(RelayTransport::Tcp));
    assert_eq!(goes_by(&folder, &[hole.url(), relay.tcp_url()]).await, RELAYED_BY(RelayTransport::Tcp));
    // What the connections held was given back.
    let end = Instant::now() + CAP;
    while relay.allocations().await > 0 {
        assert!(Instant::now() < end, "allocations are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_the_relay_is_seen_of_one_who_wants_no_other() {
    let folder = Folder::new("relay-only");
    let relay = Relay::start(None).await;
    let servers = [
        server(&[relay.udp_url()]),
        IceServer { urls: vec![format!("stun:127.0.0.1:{}", relay.udp.port())], ..IceServer::default() },
    ];
    let open = |name: &str| {
        let config = Config { bind: None, ..Config::default() };
        let (input, output) = (folder.file(&format!("{name}-says.wav")), folder.file(&format!("{name}-hears.wav")));
        write_wav(&input, &speech(20.0, 3));
        Person::new(Config { ice_servers: servers.to_vec(), bind: config.bind, ..common::config(&input, &output) })
    };
    let (mut a, mut b) = (open("anna"), open("ben"));
    connect_by(&mut a, &mut b, 1, Route::RelayOnly).await;
    for said in [&a.said, &b.said] {
        let candidates = candidates(said);
        assert!(!candidates.is_empty());
        for candidate in candidates {
            assert!(candidate.contains(" 127.0.0.2 "), "not the relay's address: {candidate}");
            assert!(candidate.ends_with(" typ relay raddr 0.0.0.0 rport 0"), "{candidate}");
        }
        for (_, event) in said {
            if let Event::Description { sdp, .. } = event {
                let addresses: Vec<&str> =
                    sdp.split_whitespace().filter(|word| word.matches('.').count() == 3).collect();
                assert!(addresses.iter().all(|address| ["0.0.0.0", "127.0.0.2"].contains(address)), "{addresses:?}");
            }
        }
        assert_eq!(path(said, 1), Some(RELAYED_BY(RelayTransport::Udp)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_way_is_taken_though_there_is_a_relay_and_new_servers_count_from_the_next_connection_on() {
    let folder = Folder::new("relay-direct");
    let relay = Relay::start(None).await;
    let (mut a, mut b) = (person(&folder, "anna", &[]), person(&folder, "ben", &[]));
    for person in [&a, &b] {
        person.engine.command(Command::SetIceServers(vec![server(&[relay.udp_url()])]));
    }
    connect_by(&mut a, &mut b, 1, Route::Any).await;
    for person in [&a, &b] {
        let path = path(&person.said, 1).unwrap();
        assert!(!path.is_relayed() && path.relay.is_none(), "{path:?}");
    }
    assert!(candidates(&a.said).iter().any(|candidate| candidate.contains("typ relay")));
    connect_by(&mut a, &mut b, 2, Route::RelayOnly).await;
    assert_eq!(path(&a.said, 2), Some(RELAYED_BY(RelayTransport::Udp)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_bound_to_an_address_of_ipv6_reaches_a_relay() {
    let folder = Folder::new("relay-ipv6");
    let relay = Relay::start(None).await;
    let servers = [server(&[relay.udp_url()])];
    let open = |name: &str| {
        let (input, output) = (folder.file(&format!("{name}-says.wav")), folder.file(&format!("{name}-hears.wav")));
        write_wav(&input, &speech(20.0, 4));
        let bind = Some("::1".parse().unwrap());
        Person::new(Config { ice_servers: servers.to_vec(), bind, ..config(&input, &output) })
    };
    let (mut a, mut b) = (open("anna"), open("ben"));
    connect_by(&mut a, &mut b, 1, Route::RelayOnly).await;
    assert_eq!(path(&a.said, 1), Some(RELAYED_BY(RelayTransport::Udp)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_a_relay_alone_and_gets_none_is_told_before_patience_ends() {
    let folder = Folder::new("relay-none");
    let relay = Relay::start(None).await;
    let wrong = IceServer { credential: "a guess".into(), ..server(&[relay.udp_url()]) };
    for servers in [&[][..], &[wrong]] {
        let mut a = person(&folder, "anna", servers);
        let begun = Instant::now();
        a.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::RelayOnly });
        a.engine.command(Command::Offer { leg: Leg::CALL, generation: 1 });
        let why = a.until(|event| match event {
            Event::Failed { why, .. } => Some(why.clone()),
            _ => None,
        });
        assert!(why.await.contains("relay"));
        assert!(begun.elapsed() < Duration::from_secs(8), "told after {:?}", begun.elapsed());
        a.engine.shutdown().await;
    }
    assert_eq!(relay.allocations().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_connection_breaks_fails_the_connection_at_once() {
    let folder = Folder::new("relay-broken");
    let relay = Relay::start(None).await;
    let servers = [server(&[relay.tcp_url()])];
    let (mut a, mut b) = (person(&folder, "anna", &servers), person(&folder, "ben", &servers));
    connect_by(&mut a, &mut b, 1, Route::RelayOnly).await;
    relay.road.send_modify(|road| road.cut = true);
    for person in [&mut a, &mut b] {
        let why = person.until(|event| match event {
            Event::Failed { generation: 1, why, .. } => Some(why.clone()),
            _ => None,
        });
        assert!(why.await.contains("relay"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_and_lossy_way_to_the_relay_connects_within_the_patience_of_the_engine() {
    let folder = Folder::new("relay-slow");
    let relay = Relay::start(None).await;
    relay.road.send_modify(|road| (road.delay, road.loss) = (Duration::from_millis(125), 0.3));
    assert_eq!(goes_by(&folder, &[relay.tcp_url()]).await, RELAYED_BY(RelayTransport::Tcp));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_was_down_for_long_carries_sound_again_as_soon_as_it_is_back() {
    let folder = Folder::new("relay-away");
    let relay = Relay::start(None).await;
    let servers = [server(&[relay.tcp_url()])];
    let (mut a, mut b) = (person(&folder, "anna", &servers), person(&folder, "ben", &servers));
    connect_by(&mut a, &mut b, 1, Route::RelayOnly).await;
    relay.road.send_modify(|road| road.lost = true);
    // Longer than the library takes to call it disconnected.
    tokio::join!(a.listen(AWAY), b.listen(AWAY));
    relay.road.send_modify(|road| road.lost = false);
    let back = Instant::now();
    for person in [&mut a, &mut b] {
        assert!(told(&person.said).iter().any(|said| said.starts_with("stalled")));
        person.until(|event| matches!(event, Event::Flowing { generation: 1, .. }).then_some(())).await;
        assert!(!told(&person.said).iter().any(|said| said.starts_with("failed")));
    }
    // An eighth of a second in practice.
    assert!(back.elapsed() < Duration::from_secs(3), "heard {:?} after it was back", back.elapsed());
}

/// The system's certificates are read once in a process, so this one is run again with the one that is to be trusted.
#[test]
fn over_tls_the_relay_is_reached_where_nothing_else_answers_and_only_if_it_is_trusted() {
    const TOLD: &str = "BELLWIRE_TEST_TRUSTED";
    if let Ok(trusted) = std::env::var(TOLD) {
        return tokio::runtime::Runtime::new().unwrap().block_on(by_tls(Path::new(&trusted)));
    }
    let folder = Folder::new("relay-tls");
    let trusted = folder.file("trusted.pem");
    std::fs::write(&trusted, "").unwrap();
    let name = "over_tls_the_relay_is_reached_where_nothing_else_answers_and_only_if_it_is_trusted";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(TOLD, &trusted)
        .env("SSL_CERT_FILE", &trusted)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

async fn by_tls(trusted: &Path) {
    let folder = Folder::new("relay-by-tls");
    let (hole, silent) = (Hole::new().await, SilentTcp::new().await);
    let stranger = Relay::start(Some(certificate(&folder.file("stranger.pem")))).await;
    let relay = Relay::start(Some(certificate(trusted))).await;
    let urls = [hole.url(), silent.url(), stranger.tls_url(), relay.tls_url()];
    let first = Instant::now();
    assert_eq!(goes_by(&folder, &urls).await, RELAYED_BY(RelayTransport::Tls));
    let first = first.elapsed();
    let second = Instant::now();
    assert_eq!(goes_by(&folder, &urls).await, RELAYED_BY(RelayTransport::Tls));
    // 750 ms are waited for the others only once.
    assert!(second.elapsed() < first, "{first:?}, then {:?}", second.elapsed());
    assert_eq!(stranger.allocations().await, 0);
}
