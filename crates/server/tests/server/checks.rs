//! Checks before a call: what passes between an app and an echo peer, and who is let near; what they found, told to the other.

use crate::common::party::id;
use crate::common::{Party, Server, data_dir, program, run};
use bellwire_signaling::*;
use std::sync::Arc;

/// A development server that starts no echo peer of its own.
fn server() -> Server {
    let dir = Arc::new(data_dir());
    let config = dir.path().join("server.toml");
    std::fs::write(&config, "echo = false\n").expect("written");
    let config = config.to_str().expect("a path").to_owned();
    Server::start_in(dir, &["--dev", "--config", &config])
}

fn echo_token(server: &Server) -> Token {
    let output = run(program().args(["echo-token", "--data-dir"]).arg(server.data()));
    Token::new(String::from_utf8(output.stdout).expect("text").trim()).expect("a token")
}

async fn echo(server: &Server) -> Party {
    let mut echo = Party::sign_in(server, &echo_token(server), "echo-1").await;
    echo.ok(Command::ServeChecks {}).await;
    echo
}

fn sdp(more: &str) -> Sdp {
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\nm=audio 9 X 0\r\n";
    Sdp::new(format!("{head}{more}")).expect("a description")
}

async fn start(party: &mut Party) -> CheckId {
    match party.ok(Command::StartCheck {}).await {
        Reply::Check { check } => check,
        other => panic!("{other:?}"),
    }
}

async fn code(party: &mut Party, command: Command) -> ErrorCode {
    let what = format!("{command:?}");
    party.ask(command).await.expect_err(&what).code
}

#[tokio::test]
async fn an_offer_reaches_the_echo_peer_with_servers_and_its_answer_comes_back() {
    let server = server();
    let demo = server.seed();
    let mut echo = echo(&server).await;
    // A link for one booking is enough.
    let (_, link) = demo.client.link_parts();
    let mut app = Party::sign_in(&server, &link, "laptop").await;
    let check = start(&mut app).await;
    let Reply::IceServers { servers, .. } =
        app.ok(Command::IceServers { purpose: Purpose::Check { check: check.clone() } }).await
    else {
        panic!("no servers");
    };
    assert!(servers.iter().any(|server| server.urls.iter().any(|url| url.starts_with("turn:"))), "{servers:?}");

    for (path, relays) in [(CheckPath::Direct, false), (CheckPath::RelayUdp, true)] {
        app.ok(Command::CheckOffer { check: check.clone(), path, sdp: sdp("") }).await;
        let servers = echo
            .event("an offer", |event| match event {
                Event::CheckOffered { check: of, path: by, servers, .. } if *of == check && *by == path => {
                    Some(servers.clone())
                }
                _ => None,
            })
            .await;
        let has_relays = servers.iter().any(|server| server.urls.iter().any(|url| url.starts_with("turn")));
        assert_eq!(has_relays, relays, "{path:?}: {servers:?}");
        echo.ok(Command::AnswerCheck { check: check.clone(), path, sdp: sdp("a=mid:0\r\n") }).await;
        let answer = app
            .event("an answer", |event| match event {
                Event::CheckAnswer { check: of, path: by, sdp } if *of == check && *by == path => Some(sdp.clone()),
                _ => None,
            })
            .await;
        assert_eq!(answer, sdp("a=mid:0\r\n"));
    }

    app.ok(Command::EndCheck { check: check.clone() }).await;
    echo.event("the end", |event| (*event == Event::CheckOver { check: check.clone() }).then_some(())).await;
    assert_eq!(code(&mut app, Command::EndCheck { check }).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn without_an_echo_peer_there_are_no_checks_and_with_its_end_they_are_over() {
    let server = server();
    let demo = server.seed();
    let mut app = Party::sign_in(&server, &demo.client.token, "laptop").await;
    assert_eq!(code(&mut app, Command::StartCheck {}).await, ErrorCode::Unavailable);
    let echo = echo(&server).await;
    let check = start(&mut app).await;
    drop(echo);
    app.event("the end", |event| (*event == Event::CheckOver { check: check.clone() }).then_some(())).await;
    assert_eq!(code(&mut app, Command::StartCheck {}).await, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_check_is_its_devices_alone_one_at_a_time_and_six_a_minute() {
    let server = server();
    let demo = server.seed();
    let mut echo = echo(&server).await;
    let mut app = Party::sign_in(&server, &demo.client.token, "laptop").await;
    let mut other = Party::sign_in(&server, &demo.provider.token, "desktop").await;
    let first = start(&mut app).await;
    for command in [
        Command::CheckOffer { check: first.clone(), path: CheckPath::Direct, sdp: sdp("") },
        Command::EndCheck { check: first.clone() },
        Command::IceServers { purpose: Purpose::Check { check: first.clone() } },
        Command::AnswerCheck { check: first.clone(), path: CheckPath::Direct, sdp: sdp("") },
        Command::ServeChecks {},
    ] {
        assert_eq!(code(&mut other, command).await, ErrorCode::NotFound);
    }
    // A second one ends the first, for both.
    let mut last = start(&mut app).await;
    app.event("the end", |event| (*event == Event::CheckOver { check: first.clone() }).then_some(())).await;
    echo.event("the end", |event| (*event == Event::CheckOver { check: first.clone() }).then_some(())).await;
    for _ in 2..6 {
        last = start(&mut app).await;
    }
    let refused = app.ask(Command::StartCheck {}).await.expect_err("too many");
    assert!(refused.code == ErrorCode::RateLimited && refused.retry_after_ms.is_some_and(|ms| ms <= 60_000));
    // Who was refused keeps what goes on.
    app.ok(Command::EndCheck { check: last }).await;
}

#[tokio::test]
async fn a_token_of_an_echo_peer_is_good_for_nothing_else() {
    let server = server();
    let demo = server.seed();
    let mut echo = echo(&server).await;
    let call: CallId = id("c1");
    for command in [
        Command::Bookings {},
        Command::History { before: None, limit: 5 },
        Command::Invite { booking: demo.booking.clone(), attempt: id("a1") },
        Command::HangUp { call },
        Command::EnterRoom { room: id("r1") },
        Command::Search {},
        Command::StartCheck {},
        Command::Readiness { booking: demo.booking.clone(), readiness: Readiness::Ready },
    ] {
        assert_eq!(code(&mut echo, command).await, ErrorCode::NotFound);
    }
    // Nobody becomes an echo peer by a name.
    let named = server.token("bellwire.echo", "operator", "1h");
    let closed = Party::hello(&server, &named, "echo-2", None).await.err().expect("refused");
    assert_eq!(closed.error.map(|error| error.code), Some(ErrorCode::Unauthenticated));
}

#[tokio::test]
async fn what_a_check_found_is_told_to_the_other_party_and_to_nobody_else() {
    let server = server();
    let demo = server.seed();
    let stranger = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "laptop").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "desktop").await;
    let mut other = Party::sign_in(&server, &stranger.client.token, "phone").await;
    let booking = demo.booking.clone();
    let said = Command::Readiness { booking: booking.clone(), readiness: Readiness::HasProblem };
    client.ok(said.clone()).await;
    provider
        .event("their readiness", |event| match event {
            Event::Readiness { booking: of, readiness: Readiness::HasProblem } if *of == booking => Some(()),
            _ => None,
        })
        .await;
    assert_eq!(provider.bookings().await[0].peer_readiness, Readiness::HasProblem);
    assert_eq!(client.bookings().await[0].peer_readiness, Readiness::Unknown);
    // Also to one who signs in later.
    let mut later = Party::sign_in(&server, &demo.provider.token, "laptop-2").await;
    assert_eq!(later.bookings().await[0].peer_readiness, Readiness::HasProblem);
    assert_eq!(code(&mut other, said).await, ErrorCode::NotFound);
}
