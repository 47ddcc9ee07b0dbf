//! When a check begins by itself, what is told of it, and what ends it: one client, and a server whose every frame is the test's.

mod common;

use bellwire_client::media::{self, DeviceChoice};
use bellwire_client::recording::{Voice, write_speech};
use bellwire_client::signaling::{
    CallView, Command, CommandId, Event, Phase, Readiness, Reply, ServerFrame, WireError,
};
use bellwire_client::{
    BookingId, BookingState, BookingView, CallId, Client, Config, DeviceId, ErrorCode, Handle, KeepChat, Peer,
    Presence, Request, Role, Side, State, Token, UnixMs, Updates, Url, Verdict,
};
use common::{Server, Socket, snapshot_where};
use std::path::Path;

/// What the server's clock shows at the welcome.
const NOW: u64 = 1_000_000;
const MINUTE: u64 = 60_000;

fn peer() -> Peer {
    Peer { handle: Handle::new("handle").unwrap(), name: "Ben".into(), role: Role::Provider }
}

fn booking(id: &str, starts_in: u64) -> BookingView {
    let starts_at = UnixMs(NOW + starts_in);
    BookingView {
        booking: BookingId::new(id).unwrap(),
        topic: "topic".into(),
        starts_at,
        length_ms: 30 * MINUTE,
        opens_at: UnixMs(starts_at.0.saturating_sub(10 * MINUTE)),
        closes_at: starts_at.plus(45 * MINUTE),
        state: BookingState::Scheduled,
        you: Role::Client,
        peer: peer(),
        presence: Presence::Online {},
        peer_readiness: Readiness::Unknown,
    }
}

/// Speaks from a file, so that nothing depends on this machine's devices.
fn start(server: Url, dir: &Path, checks_by_itself: bool) -> (Client, Updates) {
    let speech = dir.join("speech.wav");
    write_speech(&speech, Voice::Low, 20.0).unwrap();
    let media = media::Config {
        input: DeviceChoice::Wav(speech),
        output: DeviceChoice::Wav(dir.join("heard.wav")),
        ..media::Config::default()
    };
    let (token, device) = (Token::new("a.test.token").unwrap(), DeviceId::new("device-1").unwrap());
    Client::start(Config { server, token, device, media, tones: false, relay_only: false, checks_by_itself })
}

async fn refuse(socket: &mut Socket, id: CommandId) {
    let error = WireError { code: ErrorCode::Unavailable, message: "no echo peer".into(), retry_after_ms: None };
    socket.send(&ServerFrame::Refused { id: Some(id), error }).await;
}

#[tokio::test]
async fn a_booking_that_is_near_is_checked_for_once_and_the_other_party_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let (client, mut updates) = start(server.url(), dir.path(), true);
    let mut socket = server.welcome("s1", false).await;
    socket.send_event(1, Event::Bookings { bookings: vec![booking("far", 20 * MINUTE)] }).await;
    snapshot_where(&mut updates, "the bookings", |snapshot| snapshot.bookings.len() == 1).await;
    client.request(Request::RefreshBookings);
    let (id, command) = socket.command().await;
    assert_eq!(command, Command::Bookings {}, "nothing is checked twenty minutes before");

    let bookings = vec![booking("near", 5 * MINUTE), booking("far", 20 * MINUTE)];
    socket.send(&ServerFrame::Ack { id, reply: Reply::Bookings { bookings } }).await;
    let (id, command) = socket.command().await;
    assert_eq!(command, Command::StartCheck {});
    refuse(&mut socket, id).await;
    let (_, command) = socket.command().await;
    let booking = BookingId::new("near").unwrap();
    assert_eq!(command, Command::Readiness { booking, readiness: Readiness::Ready });
    let shown = snapshot_where(&mut updates, "a report", |snapshot| {
        snapshot.check.as_ref().is_some_and(|check| check.automatic && check.report.is_some())
    })
    .await;
    let report = shown.check.and_then(|check| check.report).unwrap();
    assert_eq!(report.verdict, Verdict::Ready);

    client.request(Request::StopCheck);
    client.request(Request::RefreshBookings);
    let (_, command) = socket.command().await;
    assert_eq!(command, Command::Bookings {}, "it is checked for once");
}

#[tokio::test]
async fn a_ring_ends_a_check_and_in_a_call_none_begins() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let (client, mut updates) = start(server.url(), dir.path(), false);
    let mut socket = server.welcome("s1", false).await;
    socket.send_event(1, Event::Bookings { bookings: vec![booking("near", 0)] }).await;
    snapshot_where(&mut updates, "the bookings", |snapshot| snapshot.bookings.len() == 1).await;
    client.request(Request::StartCheck { automatic: false });
    assert_eq!(socket.command().await.1, Command::StartCheck {});
    snapshot_where(&mut updates, "a check", |snapshot| snapshot.check.is_some()).await;
    let view = CallView {
        call: CallId::new("c1").unwrap(),
        booking: BookingId::new("near").unwrap(),
        version: 1,
        you: Side::Callee,
        peer: peer(),
        keep_chat: KeepChat::default(),
        phase: Phase::Ringing { since: UnixMs(NOW) },
    };
    socket.send_event(2, Event::Call { view }).await;
    let rings = |call: &bellwire_client::CurrentCall| call.state == State::Ringing;
    snapshot_where(&mut updates, "a ring without a check", |snapshot| {
        snapshot.check.is_none() && snapshot.call.as_ref().is_some_and(rings)
    })
    .await;
    client.request(Request::StartCheck { automatic: false });
    common::wait_for(&mut updates, "a refusal", |update| match update {
        bellwire_client::Update::Refused { code: ErrorCode::InAnotherCall, .. } => Some(()),
        _ => None,
    })
    .await;
}
