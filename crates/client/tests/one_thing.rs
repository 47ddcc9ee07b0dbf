//! One thing at a time: calls, rooms and the queue on one device, against a server that the test plays.

mod common;

use bellwire_client::signaling::{
    CallView, ClientFrame, Command, CommandId, Connection, ErrorCode, Event, Phase, Reply, RoomMember, RoomView,
    ServerFrame, WireError,
};
use bellwire_client::{
    BookingId, CallId, Client, Departure, DeviceChoice, Handle, MemberSound, Peer, Request, Role, RoomId, SearchView,
    Side, State, UnixMs, Update, Updates, media,
};
use common::{Server, Socket, snapshot_where, start_with, wait_for};

/// A signed-in client; its sound goes into files.
struct Desk {
    client: Client,
    updates: Updates,
    socket: Socket,
    seq: u64,
    _dir: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let output = DeviceChoice::Wav(dir.path().join("out.wav"));
        let (client, updates) = start_with(server.url(), media::Config { output, ..Default::default() });
        let socket = server.welcome("s", false).await;
        Self { client, updates, socket, seq: 0, _dir: dir }
    }

    async fn event(&mut self, event: Event) {
        self.seq += 1;
        self.socket.send_event(self.seq, event).await;
    }

    /// The client's next command but those of connections and what they go by, which are acknowledged.
    async fn command(&mut self) -> (CommandId, Command) {
        loop {
            match self.socket.receive().await {
                ClientFrame::Command { id, command: Command::DescribeTo { .. } | Command::CandidatesTo { .. } } => {
                    self.ack(id).await;
                }
                ClientFrame::Command { id, command: Command::Health { .. } } => self.ack(id).await,
                ClientFrame::Command { id, command: Command::IceServers { .. } } => {
                    let reply = Reply::IceServers { servers: Vec::new(), lifetime_ms: 1_200_000 };
                    self.socket.send(&ServerFrame::Ack { id, reply }).await;
                }
                ClientFrame::Command { id, command } => return (id, command),
                other => panic!("no command: {other:?}"),
            }
        }
    }

    async fn ack(&mut self, id: CommandId) {
        self.socket.send(&ServerFrame::Ack { id, reply: Reply::Done {} }).await;
    }

    async fn refused(&mut self) -> ErrorCode {
        wait_for(&mut self.updates, "a refusal", |update| match update {
            Update::Refused { code, .. } => Some(code),
            _ => None,
        })
        .await
    }

    async fn rings(&mut self, version: u32, phase: Phase) {
        let peer = Peer { handle: Handle::new("p").unwrap(), name: "Ben".into(), role: Role::Client };
        let (call, booking) = (CallId::new("c").unwrap(), BookingId::new("b").unwrap());
        let keep_chat = Default::default();
        let view = CallView { call, booking, version, you: Side::Callee, peer, keep_chat, phase };
        self.event(Event::Call { view }).await;
    }
}

fn id() -> RoomId {
    RoomId::new("r").unwrap()
}

fn room() -> Event {
    let member = RoomMember {
        member: Handle::new("m").unwrap(),
        name: "Mia".into(),
        host: false,
        muted: false,
        linked: true,
        generation: 1,
        offers: false,
    };
    let (topic, you) = ("Choir".into(), Handle::new("me").unwrap());
    let view = RoomView { room: id(), version: 1, topic, you, host: true, locked: false, members: vec![member] };
    Event::Room { view }
}

fn since() -> UnixMs {
    UnixMs(1_000_000)
}

#[tokio::test]
async fn a_call_rings_in_a_room_and_accepting_it_leaves_the_room() {
    let mut desk = Desk::new().await;
    desk.client.request(Request::EnterRoom(id()));
    let entering = |s: &bellwire_client::Snapshot| s.entering == Some(id()) && s.room.is_none();
    snapshot_where(&mut desk.updates, "on the way in", entering).await;
    let (command, asked) = desk.command().await;
    assert_eq!(asked, Command::EnterRoom { room: id() });
    desk.ack(command).await;
    desk.event(room()).await;
    let snapshot = snapshot_where(&mut desk.updates, "inside", |s| s.room.is_some()).await;
    let shown = snapshot.room.as_ref().unwrap();
    assert_eq!((shown.topic.as_str(), shown.host, shown.matched, shown.over), ("Choir", true, false, None));
    assert_eq!((shown.members[0].name.as_str(), shown.members[0].sound), ("Mia", MemberSound::Connecting));
    assert!(!shown.members[0].can_read && snapshot.entering.is_none());

    desk.client.request(Request::Say("to whom it may concern".into()));
    let said = |s: &bellwire_client::Snapshot| s.room.as_ref().is_some_and(|room| room.chat.len() == 1);
    let snapshot = snapshot_where(&mut desk.updates, "the line", said).await;
    assert!(!snapshot.room.unwrap().chat[0].delivered, "nobody can read it");

    desk.rings(1, Phase::Inviting { since: since() }).await;
    desk.rings(2, Phase::Ringing { since: since() }).await;
    let both =
        |s: &bellwire_client::Snapshot| s.room.is_some() && s.call.as_ref().is_some_and(|c| c.state == State::Ringing);
    snapshot_where(&mut desk.updates, "a ring in the room", both).await;
    assert!(matches!(desk.command().await.1, Command::Ringing { .. }));
    desk.client.request(Request::Accept);
    assert_eq!(desk.command().await.1, Command::LeaveRoom { room: id() });
    assert!(matches!(desk.command().await.1, Command::Accept { .. }));
    snapshot_where(&mut desk.updates, "outside", |s| s.room.is_none()).await;
}

#[tokio::test]
async fn in_a_call_no_room_is_entered_and_no_partner_searched() {
    let mut desk = Desk::new().await;
    desk.client.request(Request::Say("hello?".into()));
    assert_eq!(desk.refused().await, ErrorCode::WrongState);
    desk.rings(1, Phase::Connecting { connection: Connection { generation: 1, offers: false, go: false } }).await;
    let connecting = |s: &bellwire_client::Snapshot| s.call.as_ref().is_some_and(|c| c.state == State::Connecting);
    snapshot_where(&mut desk.updates, "in a call", connecting).await;
    for request in [Request::EnterRoom(id()), Request::Search] {
        desk.client.request(request);
        assert_eq!(desk.refused().await, ErrorCode::InAnotherCall);
    }
    // The first that the server hears is of the call.
    assert!(matches!(desk.command().await.1, Command::Ready { .. }));
    let long = "x".repeat(5_000);
    desk.client.request(Request::Say(long));
    assert_eq!(desk.refused().await, ErrorCode::TooLarge);
}

#[tokio::test]
async fn a_match_is_shown_until_it_is_dismissed_and_a_room_that_is_closed_says_why() {
    let mut desk = Desk::new().await;
    desk.client.request(Request::Search);
    let (command, asked) = desk.command().await;
    assert_eq!(asked, Command::Search {});
    desk.ack(command).await;
    desk.event(Event::Search { view: SearchView::Waiting { place: 3, since: since() } }).await;
    let waiting = |s: &bellwire_client::Snapshot| matches!(s.search, SearchView::Waiting { place: 3, .. });
    snapshot_where(&mut desk.updates, "a place", waiting).await;
    let (partner, name) = (Handle::new("m").unwrap(), "Mia".to_owned());
    let matched = SearchView::Matched { room: id(), partner: partner.clone(), name, since: since() };
    desk.event(Event::Search { view: matched }).await;
    desk.event(room()).await;
    let snapshot = snapshot_where(&mut desk.updates, "a match", |s| s.room.is_some()).await;
    assert!(snapshot.room.unwrap().matched);
    desk.client.request(Request::Block(partner.clone()));
    assert_eq!(desk.command().await.1, Command::Block { partner });
    desk.event(Event::RoomOver { room: id(), why: Departure::PartnerLeft }).await;
    let over =
        |s: &bellwire_client::Snapshot| s.room.as_ref().is_some_and(|room| room.over == Some(Departure::PartnerLeft));
    snapshot_where(&mut desk.updates, "over", over).await;
    desk.client.request(Request::Dismiss);
    snapshot_where(&mut desk.updates, "nothing", |s| s.room.is_none()).await;

    desk.client.request(Request::EnterRoom(id()));
    let (id, _) = desk.command().await;
    let error = WireError { code: ErrorCode::NotFound, message: "no".into(), retry_after_ms: None };
    desk.socket.send(&ServerFrame::Refused { id: Some(id), error }).await;
    assert_eq!(desk.refused().await, ErrorCode::NotFound);
}
