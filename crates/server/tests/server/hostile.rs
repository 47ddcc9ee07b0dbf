//! Those who do not speak, speak too much, or come too often; and what the log keeps of anybody.

use crate::common::call::{connect, hang_up, ring};
use crate::common::party::{self, Party};
use crate::common::{CAP, Server, data_dir};
use bellwire_signaling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Until the server closes the connection; what it said before.
async fn end_of(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let read = timeout(CAP, stream.read_to_end(&mut said)).await.expect("the server closes the connection");
    read.ok();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn silent_and_half_connections_are_closed() {
    let server = Server::dev();
    let began = Instant::now();
    let silent = TcpStream::connect(&server.address).await.expect("a connection");
    let mut half = TcpStream::connect(&server.address).await.expect("a connection");
    half.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("written");
    let mut idle = TcpStream::connect(&server.address).await.expect("a connection");
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut wordless = party::open(&server).await;
    let (_, _, kept, closed) = tokio::join!(end_of(silent), end_of(half), end_of(idle), party::receive(&mut wordless));
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");
    let closed = closed.expect_err("closed");
    assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::HelloExpected), Some(4000)));
    assert!(began.elapsed() < CAP);
    assert!(reqwest::get(server.url("/livez")).await.is_ok_and(|answer| answer.status() == 200));
}

#[tokio::test]
async fn flood_is_limited_and_the_neighbours_call_goes_on() {
    const FLOODS: usize = 4;
    let server = Arc::new(Server::dev());
    let neighbours = server.seed();
    let (stop, limited) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut floods = Vec::new();
    for n in 0..FLOODS {
        let (server, stop, limited) = (server.clone(), stop.clone(), limited.clone());
        let token = server.seed().client.token;
        floods.push(tokio::spawn(async move {
            let frame = r#"{"type":"command","id":"f","command":{"type":"muted","call":"c0","muted":true}}"#;
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut party) = Party::hello(&server, &token, &format!("flood-{n}"), None).await else { continue };
                for _ in 0..2_000 {
                    if party::send_text(party.socket(), frame.to_owned()).await.is_err() {
                        break;
                    }
                }
                let closed = party.closed().await;
                if closed.code == Some(4007) {
                    let error = closed.error.expect("a reason");
                    assert!(error.code == ErrorCode::RateLimited && error.retry_after_ms.is_some(), "{error:?}");
                    limited.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let mut client = Party::sign_in(&server, &neighbours.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &neighbours.provider.token, "p").await;
    let began = Instant::now();
    let mut calls = 0;
    while calls < 5 || limited.load(Ordering::Relaxed) < FLOODS as u64 {
        let call = connect(&mut client, &mut provider, &neighbours.booking).await;
        let ending = hang_up(&mut client, &mut provider, &call).await;
        assert_eq!(ending.reason, EndReason::HungUp);
        calls += 1;
        assert!(began.elapsed() < 2 * CAP, "{calls} calls, {} floods limited", limited.load(Ordering::Relaxed));
    }
    stop.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.await.expect("a flood ends");
    }
}

#[tokio::test]
async fn client_that_reads_nothing_is_given_up_and_finds_its_session_again() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    // More answers than fit into the queue and the system's buffers; none is read.
    let long = r#"{"type":"command","id":"x","command":{"type":"bookings"}}"#;
    let flood = async { while party::send_text(client.socket(), long.to_owned()).await.is_ok() {} };
    timeout(CAP, flood).await.expect("the server gives the socket up");
    let resume = client.vanish();
    let again = Party::hello(&server, &demo.client.token, "c", Some(resume)).await.expect("signed in");
    assert!(again.resumed);
}

#[tokio::test]
async fn connections_of_one_address_are_counted() {
    let dir = data_dir();
    let config = dir.path().join("bellwire.toml");
    std::fs::write(&config, "connections_per_address = 3\n").expect("a file");
    let server = Server::start_in(Arc::new(dir), &["--config", config.to_str().expect("a path")]);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(party::open(&server).await);
    }
    assert!(party::open_with(&server, &[]).await.is_err(), "the fourth is not let in");
    drop(open.pop());
    let began = Instant::now();
    while party::open_with(&server, &[]).await.is_err() {
        assert!(began.elapsed() < CAP, "a place becomes free");
    }
}

#[tokio::test]
async fn log_of_a_whole_call_names_nobody_and_holds_no_secret() {
    let mut server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.client.link_parts().1, "c2").await;
    party::send_text(provider.socket(), "{\"type\":\"hello\",\"token\":\"sesame\"}".into()).await.expect("sent");
    let mut callee = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut callee, &demo.booking).await;
    hang_up(&mut client, &mut callee, &call).await;
    ring(&mut client, &mut callee, &demo.booking).await;
    let sessions = [client.session.clone(), provider.session.clone(), callee.session.clone()];
    assert!(server.stop().success());
    let log = server.log();
    assert!(log.contains(call.as_str()), "the log tells of the call: {log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    let mut secrets = vec![
        demo.client.token.reveal().to_owned(),
        demo.provider.token.reveal().to_owned(),
        demo.client.link_parts().1.reveal().to_owned(),
        demo.client.name.clone(),
        demo.provider.name.clone(),
        demo.operator_key.clone(),
        "sesame".into(),
        "eyJ".into(),
        "a=fingerprint".into(),
        "v=0".into(),
        "candidate:".into(),
        "192.0.2.7".into(),
    ];
    secrets.extend(sessions.iter().map(|session| session.reveal().to_owned()));
    secrets.extend(demo.client.name.split(' ').chain(demo.provider.name.split(' ')).map(str::to_owned));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret:.20} is in the log: {log}");
    }
}
