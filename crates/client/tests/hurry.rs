//! How a client keeps its socket while a call hangs on it, against a server that the test plays.

mod common;

use bellwire_client::signaling::{
    CallView, ClientFrame, Connection, ErrorCode, Event, Phase, Resume, Role, ServerFrame, SessionId, WireError,
};
use bellwire_client::{
    BookingId, CallId, Client, DeviceChoice, Handle, Link, Peer, Request, Side, State, UnixMs, Update, Updates, media,
};
use common::{Server, Socket, snapshot_where, start, start_with, wait_for};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

fn session(seen: u64) -> Option<Resume> {
    Some(Resume { session: SessionId::new("s").unwrap(), seen })
}

fn resume(frame: ClientFrame) -> Option<Resume> {
    match frame {
        ClientFrame::Hello { resume, .. } => resume,
        other => panic!("no hello: {other:?}"),
    }
}

fn view(version: u32, phase: Phase) -> Event {
    let peer = Peer { handle: Handle::new("h").unwrap(), name: "Ben".into(), role: Role::Provider };
    let view = CallView {
        call: CallId::new("call-1").unwrap(),
        booking: BookingId::new("booking-1").unwrap(),
        version,
        you: Side::Callee,
        peer,
        keep_chat: Default::default(),
        phase,
    };
    Event::Call { view }
}

fn connection() -> Connection {
    Connection { generation: 1, offers: false, go: false }
}

/// A client in a call, whose server has told it so in two events.
struct InCall {
    server: Server,
    socket: Socket,
    _client: Client,
    updates: Updates,
    _dir: tempfile::TempDir,
}

async fn in_call() -> InCall {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let output = DeviceChoice::Wav(dir.path().join("out.wav"));
    let (client, mut updates) = start_with(server.url(), media::Config { output, ..Default::default() });
    let mut socket = server.welcome("s", false).await;
    socket.send_event(1, view(1, Phase::Inviting { since: UnixMs(1_000_000) })).await;
    socket.send_event(2, view(2, Phase::Connecting { connection: connection() })).await;
    let connecting = |s: &bellwire_client::Snapshot| s.call.as_ref().is_some_and(|c| c.state == State::Connecting);
    snapshot_where(&mut updates, "connecting", connecting).await;
    InCall { server, socket, _client: client, updates, _dir: dir }
}

impl InCall {
    async fn sound_is_lost(&mut self) {
        let (connected_at, since) = (UnixMs(1_000_000), UnixMs(1_000_000));
        self.socket
            .send_event(3, view(3, Phase::Connected { connection: connection(), connected_at, peer_muted: false }))
            .await;
        let phase = Phase::Reconnecting { connection: connection(), connected_at, since, peer_muted: false };
        self.socket.send_event(4, view(4, phase)).await;
        let lost = |s: &bellwire_client::Snapshot| {
            s.call.as_ref().is_some_and(|call| matches!(call.state, State::Reconnecting { .. }))
        };
        snapshot_where(&mut self.updates, "reconnecting", lost).await;
    }
}

#[tokio::test]
async fn a_socket_that_is_silent_while_sound_is_lost_is_replaced_and_the_session_goes_on() {
    let mut call = in_call().await;
    call.sound_is_lost().await;
    // From here on nobody reads or answers on the first socket.
    let began = Instant::now();
    let mut second = call.server.accept().await;
    assert_eq!(resume(second.receive().await), session(4));
    println!("replaced after {:?}", began.elapsed());
    second.send_welcome("s", true).await;
    // The first one's last word is about itself.
    let error = WireError { code: ErrorCode::Replaced, message: "elsewhere".into(), retry_after_ms: None };
    call.socket.try_send(&ServerFrame::Refused { id: None, error }).await;
    // It is asked for proof as well, and goes on when it gives it.
    let mut pings = 0;
    while pings < 2 {
        if let Message::Ping(payload) = second.message().await {
            second.send_raw(Message::Pong(payload)).await;
            pings += 1;
        }
    }
    let ended = Phase::Ended {
        ending: bellwire_client::Ending {
            reason: bellwire_client::EndReason::MediaLost,
            by: None,
            because: None,
            duration_ms: 1_000,
        },
    };
    second.send_event(5, view(5, ended)).await;
    let over = |s: &bellwire_client::Snapshot| {
        assert!(!matches!(s.link, Link::Down { .. }), "the link was never down");
        s.call.as_ref().is_some_and(|call| matches!(call.state, State::Ended { .. }))
    };
    snapshot_where(&mut call.updates, "the end", over).await;
}

#[tokio::test]
async fn in_a_call_a_server_that_does_not_answer_is_tried_again_and_again() {
    let call = in_call().await;
    drop(call.socket);
    // Each attempt is taken and left without an answer; they overlap.
    let mut taken = Vec::new();
    let began = Instant::now();
    for _ in 0..2 {
        let accepted = tokio::time::timeout(Duration::from_secs(30), call.server.listener.accept()).await;
        taken.push(accepted.unwrap().unwrap().0);
    }
    println!("the second attempt after {:?}", began.elapsed());
    let mut socket = call.server.accept().await;
    assert_eq!(resume(socket.receive().await), session(2));
}

#[tokio::test]
async fn in_a_call_attempts_come_about_each_second_and_outside_they_back_off() {
    async fn longest(updates: &mut Updates) -> u64 {
        let mut longest = 0;
        for _ in 0..12 {
            let retry_in_ms = wait_for(updates, "link down", |update| match update {
                Update::Snapshot(snapshot) => match snapshot.link {
                    Link::Down { retry_in_ms, .. } => Some(retry_in_ms),
                    Link::Connecting | Link::Up => None,
                },
                _ => None,
            })
            .await;
            longest = longest.max(retry_in_ms);
            if longest > 1_000 {
                return longest;
            }
        }
        longest
    }
    let mut call = in_call().await;
    drop((call.socket, call.server));
    assert!(longest(&mut call.updates).await <= 1_000);

    let server = Server::start().await;
    let (_client, mut updates) = start(server.url());
    let socket = server.welcome("s", false).await;
    snapshot_where(&mut updates, "link up", |s| s.link == Link::Up).await;
    drop((socket, server));
    assert!(longest(&mut updates).await > 1_000);
}

#[tokio::test]
async fn another_network_is_connected_by_at_once_beside_the_old_socket() {
    let server = Server::start().await;
    let (client, mut updates) = start(server.url());
    let mut first = server.welcome("s", false).await;
    snapshot_where(&mut updates, "link up", |s| s.link == Link::Up).await;
    client.request(Request::Reconnect);
    let mut second = server.accept().await;
    // The old one still carries frames until the new one is signed in.
    client.request(Request::History { before: None });
    let asked = first.receive().await;
    assert_eq!(resume(second.receive().await), session(0));
    second.send_welcome("s", true).await;
    // What was not answered is said again.
    assert_eq!(second.receive().await, asked);
    let mut down = false;
    wait_for(&mut updates, "the news", |update| {
        down |= matches!(&update, Update::Snapshot(s) if matches!(s.link, Link::Down { .. }));
        matches!(update, Update::NetworkChanged).then_some(())
    })
    .await;
    assert!(!down);
}

#[tokio::test]
async fn another_network_ends_the_wait_for_the_next_try_but_not_what_the_server_asked_for() {
    let server = Server::start().await;
    let (client, mut updates) = start(server.url());
    let mut socket = server.accept().await;
    socket.receive().await;
    let asked = Duration::from_millis(1_500);
    let error = WireError { code: ErrorCode::Unavailable, message: "busy".into(), retry_after_ms: Some(1_500) };
    let sent = Instant::now();
    socket.send(&ServerFrame::Refused { id: None, error }).await;
    snapshot_where(&mut updates, "link down", |s| matches!(s.link, Link::Down { .. })).await;
    client.request(Request::Reconnect);
    server.welcome("s", false).await;
    assert!(sent.elapsed() >= asked, "{:?}", sent.elapsed());
}
