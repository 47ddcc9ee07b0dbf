//! How a client keeps its socket, against a server that the test plays.

mod common;

use bellwire_client::signaling::{
    CallView, ClientFrame, Command, Connection, ErrorCode, Event, Phase, Readiness, Reply, Resume, Role, ServerFrame,
    SessionId, WireError,
};
use bellwire_client::{
    BookingId, BookingState, BookingView, CallId, DevPerson, DeviceChoice, EndReason, Ending, Handle, Link, LinkFault,
    Peer, Presence, Request, Side, State, Stop, Token, UnixMs, Update, dev_people, media,
};
use common::{Server, snapshot_where, start, start_with, wait_for, within};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

fn booking(topic: &str) -> BookingView {
    BookingView {
        booking: BookingId::new("booking-1").unwrap(),
        topic: topic.into(),
        starts_at: UnixMs(1_000_000),
        length_ms: 3_600_000,
        opens_at: UnixMs(400_000),
        closes_at: UnixMs(9_000_000),
        state: BookingState::Scheduled,
        you: Role::Client,
        peer: Peer { handle: Handle::new("h").unwrap(), name: "Ben".into(), role: Role::Provider },
        presence: Presence::Online {},
        peer_readiness: Readiness::Unknown,
    }
}

fn bookings(topic: &str) -> Event {
    Event::Bookings { bookings: vec![booking(topic)] }
}

fn refused(code: ErrorCode, retry_after_ms: Option<u64>) -> ServerFrame {
    ServerFrame::Refused { id: None, error: WireError { code, message: "no".into(), retry_after_ms } }
}

fn resume(frame: ClientFrame) -> Option<Resume> {
    match frame {
        ClientFrame::Hello { version: 1, resume, .. } => resume,
        other => panic!("no hello: {other:?}"),
    }
}

fn session(name: &str, seen: u64) -> Option<Resume> {
    Some(Resume { session: SessionId::new(name).unwrap(), seen })
}

#[tokio::test]
async fn a_lost_session_is_resumed_after_the_last_event_that_was_seen() {
    let server = Server::start().await;
    let (_client, mut updates) = start(server.url());
    let mut socket = server.accept().await;
    assert_eq!(resume(socket.receive().await), None);
    socket.send_welcome("first", false).await;
    for seq in 1..=3 {
        socket.send_event(seq, bookings(&format!("topic {seq}"))).await;
    }
    snapshot_where(&mut updates, "the third event", |s| s.bookings.iter().any(|b| b.topic == "topic 3")).await;
    drop(socket);
    snapshot_where(&mut updates, "link down", |s| matches!(s.link, Link::Down { why: LinkFault::Closed, .. })).await;

    let mut socket = server.accept().await;
    assert_eq!(resume(socket.receive().await), session("first", 3));
    socket.send_welcome("first", true).await;
    socket.send_event(3, bookings("old")).await;
    socket.send_event(4, bookings("topic 4")).await;
    let snapshot = snapshot_where(&mut updates, "news", |s| s.bookings[0].topic != "topic 3").await;
    assert_eq!(snapshot.bookings[0].topic, "topic 4", "an event came twice");
    drop(socket);

    // The server has forgotten: its events count from anew.
    let mut socket = server.accept().await;
    assert_eq!(resume(socket.receive().await), session("first", 4));
    socket.send_welcome("second", false).await;
    socket.send_event(1, bookings("topic 5")).await;
    snapshot_where(&mut updates, "a new session", |s| s.bookings[0].topic == "topic 5").await;
    drop(socket);
    assert_eq!(resume(server.accept().await.receive().await), session("second", 1));
}

#[tokio::test]
async fn a_gap_in_the_events_starts_a_new_session() {
    let server = Server::start().await;
    let (_client, mut updates) = start(server.url());
    let mut socket = server.welcome("first", false).await;
    socket.send_event(1, bookings("topic 1")).await;
    socket.send_event(3, bookings("topic 3")).await;
    let mut again = server.accept().await;
    assert_eq!(resume(again.receive().await), None);
    let snapshot = snapshot_where(&mut updates, "the gap", |s| matches!(s.link, Link::Down { .. })).await;
    assert!(matches!(snapshot.link, Link::Down { why: LinkFault::Gap, .. }), "{:?}", snapshot.link);
    assert_eq!(snapshot.bookings[0].topic, "topic 1");
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let server = Server::start().await;
    let (_client, mut updates) = start(server.url());
    let mut socket = server.accept().await;
    socket.receive().await;
    let sent = Instant::now();
    socket.send(&refused(ErrorCode::Unavailable, Some(1_500))).await;
    let snapshot = snapshot_where(&mut updates, "link down", |s| matches!(s.link, Link::Down { .. })).await;
    match snapshot.link {
        Link::Down { why: LinkFault::ServerBusy, retry_in_ms } => assert!(retry_in_ms >= 1_500),
        other => panic!("{other:?}"),
    }
    server.welcome("s", false).await;
    assert!(sent.elapsed() >= Duration::from_millis(1_500));
    snapshot_where(&mut updates, "link up", |s| s.link == Link::Up).await;
}

/// Answers one HTTP request with this text.
async fn answer_http(server: &Server, answer: &str) {
    let (mut stream, _) = within("a connection", server.listener.accept()).await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(within("a request", stream.read_u8()).await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn each_way_of_not_reaching_a_server_has_its_own_word() {
    async fn fault(server: &Server, answer: &str) -> (LinkFault, u64) {
        let (_client, mut updates) = start(server.url());
        answer_http(server, answer).await;
        let snapshot = snapshot_where(&mut updates, "link down", |s| matches!(s.link, Link::Down { .. })).await;
        match snapshot.link {
            Link::Down { why, retry_in_ms } => (why, retry_in_ms),
            Link::Connecting | Link::Up => unreachable!(),
        }
    }
    let server = Server::start().await;
    let (why, retry_in_ms) =
        fault(&server, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(why, LinkFault::ServerBusy);
    assert!(retry_in_ms >= 7_000, "{retry_in_ms}");
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fault(&server, not_found).await.0, LinkFault::NotBellwire);
    assert_eq!(fault(&server, "SSH-2.0-OpenSSH_9.2\r\n\r\n").await.0, LinkFault::NotBellwire);

    let url = server.url();
    drop(server);
    assert_eq!(dev_people(&url).await, Err(LinkFault::Unreachable));
    assert_eq!(dev_people(&"http://localhost".parse().unwrap()).await, Err(LinkFault::BadAddress));
}

#[tokio::test]
async fn a_server_with_an_unknown_certificate_or_none_is_not_trusted() {
    let server = Server::start().await;
    let url = server.url().to_string().replace("ws://", "wss://").parse().unwrap();
    let (client, mut updates) = start(url);
    let (mut stream, _) = within("a connection", server.listener.accept()).await.unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let snapshot = snapshot_where(&mut updates, "link down", |s| matches!(s.link, Link::Down { .. })).await;
    assert!(matches!(snapshot.link, Link::Down { why: LinkFault::Tls, .. }), "{:?}", snapshot.link);
    client.shutdown().await;
}

#[tokio::test]
async fn refusals_of_the_person_stop_the_client_for_good() {
    let expectations = [
        (ErrorCode::Replaced, Stop::Replaced),
        (ErrorCode::UnsupportedVersion, Stop::VersionUnsupported),
        (ErrorCode::Unauthenticated, Stop::TokenRefused { code: ErrorCode::Unauthenticated }),
        (ErrorCode::TokenExpired, Stop::TokenRefused { code: ErrorCode::TokenExpired }),
    ];
    for (code, expected) in expectations {
        for welcomed in [false, true] {
            let server = Server::start().await;
            let (_client, mut updates) = start(server.url());
            let mut socket = server.accept().await;
            socket.receive().await;
            if welcomed {
                socket.send_welcome("s", false).await;
            }
            socket.send(&refused(code, None)).await;
            let stop = wait_for(&mut updates, "the end", |update| match update {
                Update::Stopped(stop) => Some(stop),
                _ => None,
            })
            .await;
            assert_eq!(stop, expected);
            assert!(within("the last update", updates.next()).await.is_none());
            let listener = server.listener.into_std().unwrap();
            assert!(listener.accept().is_err(), "it came back after {code:?}");
        }
    }
}

#[tokio::test]
async fn garbage_from_the_server_is_passed_over() {
    let server = Server::start().await;
    let (_client, mut updates) = start(server.url());
    let mut socket = server.welcome("s", false).await;
    socket.send_event(1, bookings("before")).await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let texts = [
        "",
        "not json",
        "{}",
        "null",
        r#"{"type":"unheard_of"}"#,
        r#"{"type":"event","seq":-1,"event":{"type":"bookings","bookings":[]}}"#,
        r#"{"type":"event","seq":2,"event":{"type":"bookings","bookings":[],"more":1}}"#,
        r#"{"type":"ack","id":"never-asked","reply":{"type":"done"}}"#,
        r#"{"type":"dev_people","people":[]}"#,
        deep.as_str(),
    ];
    for text in texts {
        socket.send_raw(Message::text(text)).await;
    }
    socket.send_raw(Message::binary(vec![0xff; 1000])).await;
    socket.send_event(2, bookings("after")).await;
    snapshot_where(&mut updates, "the event after it", |s| s.bookings.iter().any(|b| b.topic == "after")).await;

    // More than a frame may hold: the connection is not to be trusted any more, the client lives on.
    socket.send_raw(Message::text("x".repeat(70_000))).await;
    let mut socket = server.accept().await;
    assert_eq!(resume(socket.receive().await), session("s", 2));
    socket.send_welcome("s", true).await;
    socket.send_event(3, bookings("again")).await;
    snapshot_where(&mut updates, "a new connection", |s| s.bookings.iter().any(|b| b.topic == "again")).await;
}

#[tokio::test]
async fn a_ping_is_answered() {
    let server = Server::start().await;
    let (_client, _updates) = start(server.url());
    let mut socket = server.welcome("s", false).await;
    socket.send_raw(Message::Ping(b"there?".to_vec().into())).await;
    assert_eq!(socket.message().await, Message::Pong(b"there?".to_vec().into()));
}

#[tokio::test]
async fn a_command_without_an_answer_is_sent_again_under_the_same_id() {
    let server = Server::start().await;
    let (client, mut updates) = start(server.url());
    let mut socket = server.welcome("s", false).await;
    snapshot_where(&mut updates, "link up", |s| s.link == Link::Up).await;
    client.request(Request::History { before: None });
    let first = socket.receive().await;
    assert!(matches!(&first, ClientFrame::Command { command: Command::History { .. }, .. }), "{first:?}");
    drop(socket);
    let mut socket = server.welcome("s", true).await;
    assert_eq!(socket.receive().await, first);
    let ClientFrame::Command { id, .. } = first else { unreachable!() };
    socket.send(&ServerFrame::Ack { id, reply: Reply::History { calls: vec![] } }).await;
    let calls = wait_for(&mut updates, "the history", |update| match update {
        Update::History(calls) => Some(calls),
        _ => None,
    })
    .await;
    assert!(calls.is_empty());
}

#[tokio::test]
async fn a_refused_call_is_told_and_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let output = DeviceChoice::Wav(dir.path().join("out.wav"));
    let input = DeviceChoice::Wav(dir.path().join("none.wav"));
    let (client, mut updates) = start_with(server.url(), media::Config { input, output, ..Default::default() });
    let mut socket = server.welcome("s", false).await;
    socket.send_event(1, bookings("topic")).await;
    snapshot_where(&mut updates, "bookings", |s| s.bookings_known).await;
    client.request(Request::Call(BookingId::new("booking-1").unwrap()));
    let snapshot = snapshot_where(&mut updates, "inviting", |s| s.call.is_some()).await;
    assert_eq!(snapshot.call.unwrap().state, State::Inviting);
    let ClientFrame::Command { id, command: Command::Invite { .. } } = socket.receive().await else {
        panic!("no invite")
    };
    let error = WireError { code: ErrorCode::TooEarly, message: "later".into(), retry_after_ms: Some(60_000) };
    socket.send(&ServerFrame::Refused { id: Some(id), error }).await;
    wait_for(&mut updates, "the refusal", |update| match update {
        Update::Refused { code: ErrorCode::TooEarly, retry_after_ms: Some(60_000) } => Some(()),
        _ => None,
    })
    .await;
    snapshot_where(&mut updates, "no call", |s| s.call.is_none()).await;
    client.shutdown().await;
}

#[tokio::test]
async fn a_client_that_ends_in_a_call_hangs_up_and_says_goodbye() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let output = DeviceChoice::Wav(dir.path().join("out.wav"));
    let (client, mut updates) = start_with(server.url(), media::Config { output, ..Default::default() });
    let mut socket = server.welcome("s", false).await;
    client.request(Request::Call(BookingId::new("booking-1").unwrap()));
    let ClientFrame::Command { id, .. } = socket.receive().await else { panic!("no invite") };
    let call = CallId::new("call-1").unwrap();
    socket.send(&ServerFrame::Ack { id, reply: Reply::Call { call: call.clone() } }).await;
    snapshot_where(&mut updates, "the call", |s| s.call.as_ref().is_some_and(|c| c.call.is_some())).await;
    let ending = tokio::spawn(client.shutdown());
    let (id, command) = socket.command().await;
    assert_eq!(command, Command::HangUp { call });
    socket.send(&ServerFrame::Ack { id, reply: Reply::Done {} }).await;
    assert!(matches!(socket.message().await, Message::Close(_)));
    within("the end", ending).await.unwrap();
    let last = async {
        let mut last = None;
        while let Some(update) = updates.next().await {
            if let Update::Snapshot(snapshot) = update {
                last = snapshot.call.map(|call| call.state);
            }
        }
        last
    };
    let ending = Ending { reason: EndReason::Cancelled, by: Some(Side::Caller), because: None, duration_ms: 0 };
    assert_eq!(within("the updates", last).await, Some(State::Ended { ending, confirmed: false }));
}

#[tokio::test]
async fn a_token_that_runs_out_in_a_call_stops_the_client_only_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let output = DeviceChoice::Wav(dir.path().join("out.wav"));
    let (client, mut updates) = start_with(server.url(), media::Config { output, ..Default::default() });
    let mut socket = server.welcome("s", false).await;
    let phase = Phase::Connecting { connection: Connection { generation: 1, offers: true, go: false } };
    let BookingView { booking, peer, .. } = booking("topic");
    let call = CallId::new("call-1").unwrap();
    let view = |version, phase| Event::Call {
        view: CallView {
            call: call.clone(),
            booking: booking.clone(),
            version,
            you: Side::Callee,
            peer: peer.clone(),
            keep_chat: Default::default(),
            phase,
        },
    };
    socket.send_event(1, view(1, Phase::Inviting { since: UnixMs(1_000_000) })).await;
    socket.send_event(2, view(2, phase)).await;
    let connecting = |s: &bellwire_client::Snapshot| s.call.as_ref().is_some_and(|c| c.state == State::Connecting);
    snapshot_where(&mut updates, "connecting", connecting).await;
    socket.send(&refused(ErrorCode::TokenExpired, None)).await;
    let expired = Link::Down { retry_in_ms: u64::MAX, why: LinkFault::Refused(ErrorCode::TokenExpired) };
    let snapshot = snapshot_where(&mut updates, "link down", |s| s.link == expired).await;
    assert!(connecting(&snapshot));
    client.request(Request::HangUp);
    let (mut ended, mut stop) = (false, None);
    let rest = async {
        while let Some(update) = updates.next().await {
            match update {
                Update::Snapshot(s) => ended |= s.call.is_some_and(|c| matches!(c.state, State::Ended { .. })),
                Update::Stopped(why) => stop = Some(why),
                _ => {}
            }
        }
    };
    within("the end", rest).await;
    assert_eq!((ended, stop), (true, Some(Stop::TokenRefused { code: ErrorCode::TokenExpired })));
}

#[tokio::test]
async fn dropping_every_handle_ends_the_client() {
    let server = Server::start().await;
    let (client, mut updates) = start(server.url());
    let mut socket = server.welcome("s", false).await;
    let clone = client.clone();
    drop(client);
    clone.request(Request::RefreshBookings);
    socket.receive().await;
    drop(clone);
    assert!(matches!(socket.message().await, Message::Close(_)));
    within("the last update", async { while updates.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn people_to_sign_in_as_are_asked_for_in_the_first_frame() {
    let server = Server::start().await;
    let url = server.url();
    let asked = tokio::spawn(async move { dev_people(&url).await });
    let mut socket = server.accept().await;
    assert_eq!(socket.receive().await, ClientFrame::DevPeople {});
    let ada = DevPerson { name: "Ada".into(), role: Role::Client, token: Token::new("t").unwrap() };
    socket.send(&ServerFrame::DevPeople { people: vec![ada.clone()] }).await;
    assert_eq!(within("the answer", asked).await.unwrap(), Ok(vec![ada]));

    let url = server.url();
    let asked = tokio::spawn(async move { dev_people(&url).await });
    let mut socket = server.accept().await;
    socket.receive().await;
    socket.send(&refused(ErrorCode::HelloExpected, None)).await;
    assert_eq!(within("the answer", asked).await.unwrap(), Err(LinkFault::Refused(ErrorCode::HelloExpected)));
}
