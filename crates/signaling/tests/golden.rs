//! Each message as it travels, in `golden/`: one line of JSON for each kind of frame, command, reply, event and phase.
//!
//! A new variant does not compile here until it has a sample; a changed one fails until its golden file is changed; and a
//! golden file fails until `docs/protocol.md` shows it and explains its words. After a wanted change, run with
//! `BELLWIRE_WRITE_GOLDEN=1` and look at the difference.

use bellwire_signaling::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// One sample of each variant, named by it. The match has no `_`: a variant without a sample does not compile.
macro_rules! samples {
    ($kind:ident: $($variant:ident => $sample:expr,)+) => {{
        fn named(value: &$kind) -> &'static str {
            match value {
                $($kind::$variant { .. } => stringify!($variant),)+
            }
        }
        let samples: Vec<$kind> = vec![$($sample),+];
        let names = [$(stringify!($variant)),+];
        assert!(samples.iter().map(named).eq(names), "each sample is of the variant it stands for");
        names.into_iter().zip(samples).collect::<Vec<_>>()
    }};
}

/// All words of an enum of words.
macro_rules! words {
    ($kind:ident: $($variant:ident),+ $(,)?) => {{
        fn _all(value: $kind) {
            match value {
                $($kind::$variant => {})+
            }
        }
        vec![$(word($kind::$variant)),+]
    }};
}

fn id<T: TryFrom<String>>(text: &str) -> T {
    T::try_from(text.to_owned()).unwrap_or_else(|_| panic!("{text} is no id"))
}

fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => panic!("no word: {other:?}"),
    }
}

fn sdp() -> Sdp {
    let lines = [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "",
    ];
    Sdp::new(lines.join("\r\n")).expect("a description")
}

fn candidates() -> Vec<Candidate> {
    let line = "candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host";
    let candidate = CandidateLine::new(line).expect("a candidate");
    vec![Candidate { candidate, sdp_mid: Some("0".into()), sdp_m_line_index: 0 }]
}

fn call() -> CallId {
    id("c5d1")
}

fn peer() -> Peer {
    Peer { handle: id("h77"), name: "Greta Weber".into(), role: Role::Provider }
}

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn booking_view() -> BookingView {
    BookingView {
        booking: id("b42"),
        topic: "Contract".into(),
        starts_at: NOW,
        length_ms: 1_800_000,
        opens_at: NOW.minus(600_000),
        closes_at: NOW.plus(2_700_000),
        state: BookingState::Scheduled,
        you: Role::Client,
        peer: peer(),
        presence: Presence::Away { since: Some(NOW) },
        peer_readiness: Readiness::Ready,
    }
}

fn ending() -> Ending {
    Ending { reason: EndReason::HungUp, by: Some(Side::Callee), because: None, duration_ms: 61_250 }
}

fn record() -> CallRecord {
    CallRecord {
        call: call(),
        booking: id("b42"),
        topic: "Contract".into(),
        you: Side::Caller,
        peer: peer(),
        invited_at: NOW,
        connected_at: Some(NOW.plus(4_000)),
        ended_at: NOW.plus(65_250),
        ending: ending(),
        quality: Some(quality()),
        chat: vec![ChatLine { by: Side::Caller, at: NOW.plus(30_000), text: "Page 4, the second line".into() }],
    }
}

fn quality() -> CallQuality {
    CallQuality {
        mos_x10: 41,
        loss_in_percent: 2,
        loss_out_percent: 0,
        round_trip_ms: 38,
        reconnects: 1,
        reconnecting_ms: 2_400,
        relayed: true,
        cause: Some(Cause::Loss),
    }
}

fn health() -> Health {
    Health {
        microphone: MicrophoneHealth::Works,
        speaker: SpeakerHealth::Missing,
        receives: Receives::Sound,
        access: Some(Access { loss_percent: 8, round_trip_ms: 41 }),
        hears_itself: true,
    }
}

fn servers() -> Vec<IceServer> {
    let turn = ["turn:calls.example:443?transport=udp", "turns:calls.example:443?transport=tcp"].map(str::to_owned);
    vec![
        IceServer { urls: vec!["stun:calls.example:443".into()], username: None, credential: None },
        IceServer {
            urls: turn.to_vec(),
            username: Some("1800001200:u5c".into()),
            credential: Some(id("d2VhayBhbmQgc2hvcnQ=")),
        },
    ]
}

fn check_id() -> CheckId {
    id("c8e")
}

fn room() -> RoomId {
    id("r61")
}

fn room_view() -> RoomView {
    let member = RoomMember {
        member: id("h77"),
        name: "Greta Weber".into(),
        host: true,
        muted: false,
        linked: true,
        generation: 1,
        offers: true,
    };
    let (topic, you) = ("Choir".into(), id("h12"));
    RoomView { room: room(), version: 3, topic, you, host: false, locked: false, members: vec![member] }
}

fn client_frames() -> Vec<(String, ClientFrame)> {
    let resume = Some(Resume { session: id("s9f"), seen: 17 });
    let frames = samples!(ClientFrame:
        Hello => ClientFrame::Hello { version: VERSION, token: id("eyJ.eyJ.sig"), device: id("desktop-1"), resume },
        DevPeople => ClientFrame::DevPeople {},
        Command => ClientFrame::Command { id: id("m1"), command: Command::Bookings {} },
    );
    let commands = samples!(Command:
        Bookings => Command::Bookings {},
        History => Command::History { before: Some(NOW), limit: 50 },
        Invite => Command::Invite { booking: id("b42"), attempt: id("a1") },
        Ringing => Command::Ringing { call: call() },
        Accept => Command::Accept { call: call() },
        Decline => Command::Decline { call: call(), because: Because::InTwoMinutes },
        HangUp => Command::HangUp { call: call() },
        Ready => Command::Ready { call: call(), generation: 1 },
        Describe => Command::Describe { call: call(), generation: 1, kind: DescriptionKind::Offer, sdp: sdp() },
        Candidates => Command::Candidates { call: call(), generation: 1, candidates: candidates(), done: true },
        Hearing => Command::Hearing { call: call(), generation: 1, hearing: true },
        Renew => Command::Renew { call: call(), generation: 1 },
        Muted => Command::Muted { call: call(), muted: true },
        KeepChat => Command::KeepChat { call: call(), keep: true },
        ChatLines => Command::ChatLines { call: call(), lines: vec!["Page 4, the second line".into()] },
        Health => Command::Health { call: call(), health: health() },
        Quality => Command::Quality { call: call(), quality: quality() },
        Readiness => Command::Readiness { booking: id("b42"), readiness: Readiness::HasProblem },
        IceServers => Command::IceServers { purpose: Purpose::Call { call: call() } },
        StartCheck => Command::StartCheck {},
        CheckOffer => Command::CheckOffer { check: check_id(), path: CheckPath::Direct, sdp: sdp() },
        EndCheck => Command::EndCheck { check: check_id() },
        ServeChecks => Command::ServeChecks {},
        AnswerCheck => Command::AnswerCheck { check: check_id(), path: CheckPath::RelayTls, sdp: sdp() },
        EnterRoom => Command::EnterRoom { room: room() },
        LeaveRoom => Command::LeaveRoom { room: room() },
        RoomMuted => Command::RoomMuted { room: room(), muted: true },
        LockRoom => Command::LockRoom { room: room(), locked: true },
        RemoveMember => Command::RemoveMember { room: room(), member: id("h77") },
        RenewMember => Command::RenewMember { room: room(), member: id("h77"), generation: 1 },
        DescribeTo => Command::DescribeTo {
            room: room(), member: id("h77"), generation: 1, kind: DescriptionKind::Offer, sdp: sdp(),
        },
        CandidatesTo => Command::CandidatesTo {
            room: room(), member: id("h77"), generation: 1, candidates: candidates(), done: true,
        },
        Search => Command::Search {},
        StopSearching => Command::StopSearching {},
        Skip => Command::Skip {},
        Block => Command::Block { partner: id("h77") },
        Report => Command::Report { partner: id("h77"), complaint: Complaint::Abusive },
    );
    let purposes = samples!(Purpose:
        Call => Purpose::Call { call: call() },
        Room => Purpose::Room { room: room() },
        Check => Purpose::Check { check: check_id() },
    );
    let purposes = purposes.into_iter().map(|(name, purpose)| {
        let command = Command::IceServers { purpose };
        (file("command_ice_servers", name), ClientFrame::Command { id: id("m1"), command })
    });
    let frames =
        frames.into_iter().filter(|(name, _)| *name != "Command").map(|(name, frame)| (file("client", name), frame));
    let commands = commands
        .into_iter()
        .filter(|(name, _)| *name != "IceServers")
        .map(|(name, command)| (file("command", name), ClientFrame::Command { id: id("m1"), command }));
    frames.chain(commands).chain(purposes).collect()
}

fn server_frames() -> Vec<(String, ServerFrame)> {
    let limits = Limits { frame_bytes: 65_536, ping_seconds: 25, resume_seconds: 120 };
    let you = You { user: id("ana"), name: "Ana Moreno".into() };
    let person = DevPerson { name: "Ana Moreno".into(), role: Role::Client, token: id("eyJ.eyJ.sig") };
    let message = "the booking's join window opens later".to_owned();
    let error = WireError { code: ErrorCode::TooEarly, message, retry_after_ms: Some(90_000) };
    let frames = samples!(ServerFrame:
        Welcome => ServerFrame::Welcome { session: id("s9f"), resumed: false, server_time: NOW, you, limits },
        DevPeople => ServerFrame::DevPeople { people: vec![person] },
        Ack => ServerFrame::Ack { id: id("m1"), reply: Reply::Done {} },
        Refused => ServerFrame::Refused { id: Some(id("m1")), error },
        Event => ServerFrame::Event { seq: 1, event: Event::Bookings { bookings: vec![] } },
    );
    let replies = samples!(Reply:
        Done => Reply::Done {},
        Call => Reply::Call { call: call() },
        Bookings => Reply::Bookings { bookings: vec![booking_view()] },
        History => Reply::History { calls: vec![record()] },
        IceServers => Reply::IceServers { servers: servers(), lifetime_ms: 1_200_000 },
        Check => Reply::Check { check: check_id() },
    );
    let view = |phase| CallView {
        call: call(),
        booking: id("b42"),
        version: 7,
        you: Side::Caller,
        peer: peer(),
        keep_chat: KeepChat { you: true, peer: false },
        phase,
    };
    let events = samples!(Event:
        Call => Event::Call { view: view(Phase::Elsewhere {}) },
        Description => Event::Description { call: call(), generation: 1, kind: DescriptionKind::Answer, sdp: sdp() },
        Candidates => Event::Candidates { call: call(), generation: 1, candidates: candidates(), done: false },
        Bookings => Event::Bookings { bookings: vec![booking_view()] },
        Presence => Event::Presence { booking: id("b42"), presence: Presence::Online {} },
        Readiness => Event::Readiness { booking: id("b42"), readiness: Readiness::Ready },
        Health => Event::Health { call: call(), health: health() },
        CheckAnswer => Event::CheckAnswer { check: check_id(), path: CheckPath::Direct, sdp: sdp() },
        CheckOffered => Event::CheckOffered {
            check: check_id(), path: CheckPath::RelayUdp, sdp: sdp(), servers: servers(),
        },
        CheckOver => Event::CheckOver { check: check_id() },
        Room => Event::Room { view: room_view() },
        RoomOver => Event::RoomOver { room: room(), why: Departure::Removed },
        DescriptionFrom => Event::DescriptionFrom {
            room: room(), member: id("h77"), generation: 1, kind: DescriptionKind::Answer, sdp: sdp(),
        },
        CandidatesFrom => Event::CandidatesFrom {
            room: room(), member: id("h77"), generation: 1, candidates: candidates(), done: false,
        },
        Search => Event::Search { view: SearchView::Idle {} },
    );
    let connection = || Connection { generation: 2, offers: true, go: false };
    let (connected_at, peer_muted) = (NOW.plus(4_000), false);
    let phases = samples!(Phase:
        Inviting => Phase::Inviting { since: NOW },
        Ringing => Phase::Ringing { since: NOW },
        Connecting => Phase::Connecting { connection: connection() },
        Connected => Phase::Connected { connection: connection(), connected_at, peer_muted },
        Reconnecting => Phase::Reconnecting {
            connection: connection(), connected_at, since: NOW.plus(9_000), peer_muted,
        },
        Elsewhere => Phase::Elsewhere {},
        Ended => Phase::Ended { ending: ending() },
    );
    let presences = samples!(Presence:
        Online => Presence::Online {},
        InAnotherCall => Presence::InAnotherCall {},
        Away => Presence::Away { since: Some(NOW) },
    );
    let searches = samples!(SearchView:
        Idle => SearchView::Idle {},
        Waiting => SearchView::Waiting { place: 2, since: NOW },
        Matched => SearchView::Matched { room: room(), partner: id("h77"), name: "Greta Weber".into(), since: NOW },
    );
    let event = |event| ServerFrame::Event { seq: 18, event };
    let mut all = Vec::new();
    for (name, frame) in frames {
        if !matches!(frame, ServerFrame::Ack { .. } | ServerFrame::Event { .. }) {
            all.push((file("server", name), frame));
        }
    }
    all.extend(replies.into_iter().map(|(n, reply)| (file("reply", n), ServerFrame::Ack { id: id("m1"), reply })));
    let shown = |name: &&str| !matches!(*name, "Call" | "Search");
    all.extend(searches.into_iter().map(|(n, view)| (file("event_search", n), event(Event::Search { view }))));
    all.extend(events.into_iter().filter(|(n, _)| shown(n)).map(|(n, e)| (file("event", n), event(e))));
    all.extend(phases.into_iter().map(|(n, p)| (file("event_call", n), event(Event::Call { view: view(p) }))));
    all.extend(
        presences
            .into_iter()
            .map(|(n, presence)| (file("presence", n), event(Event::Presence { booking: id("b42"), presence }))),
    );
    all
}

/// `event_call_hang_up` from `event_call` and `HangUp`.
fn file(kind: &str, variant: &str) -> String {
    let mut name = kind.to_owned();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

fn all_words() -> Vec<String> {
    let error_codes = words!(ErrorCode:
        BadFrame, TooLarge, UnsupportedVersion, HelloExpected, Unauthenticated, TokenExpired, TokenNotYetValid, NotFound,
        TooEarly, TooLate, BookingCancelled, InAnotherCall, OnAnotherDevice, WrongState, StaleGeneration, RoomFull,
        AlreadySearching, RateLimited, Replaced, Unavailable, Internal,
    );
    let reasons = words!(EndReason:
        HungUp, Cancelled, Declined, NoAnswer, Busy, MediaFailed, MediaLost, BookingCancelled,
    );
    let because = words!(Because: NotNow, InTwoMinutes, WrongTime, Unwell);
    let states = words!(BookingState: Scheduled, Cancelled, Done, NoShowClient, NoShowProvider);
    let kinds = words!(DescriptionKind: Offer, Answer);
    let sides = [words!(Side: Caller, Callee), words!(Role: Client, Provider)].concat();
    let departures = words!(Departure: Left, Removed, Lost, Replaced, PartnerLeft, Skipped, Closed);
    let complaints = words!(Complaint: Abusive, Unsafe, Spam, Other);
    let causes = words!(Cause:
        NothingComes, NothingGoes, MicrophoneSilent, MicrophoneMissing, SpeakerMissing, Loss, Delay, Jitter, Narrow, Echo,
        Overload,
    );
    let health = [
        words!(MicrophoneHealth: Unknown, Works, Silent, Missing),
        words!(SpeakerHealth: Unknown, Works, Missing),
        words!(Receives: Nothing, Silence, Sound),
        words!(Readiness: Unknown, Ready, HasProblem),
        words!(CheckPath: Direct, RelayUdp, RelayTcp, RelayTls),
    ]
    .concat();
    [error_codes, reasons, because, states, kinds, sides, departures, complaints, causes, health].concat()
}

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn read(name: &str) -> String {
    let path = golden_dir().join(format!("{name}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()))
}

fn protocol() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    std::fs::read_to_string(path).expect("docs/protocol.md")
}

fn check<T>(samples: &[(String, T)])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    for (name, sample) in samples {
        let text = serde_json::to_string(sample).expect("a frame that can be written");
        if std::env::var_os("BELLWIRE_WRITE_GOLDEN").is_some() {
            std::fs::write(golden_dir().join(format!("{name}.json")), format!("{text}\n")).expect("a golden file");
        }
        let golden = read(name);
        assert_eq!(text, golden.trim_end(), "{name} travels in another form than its golden file");
        let back: T = serde_json::from_str(&golden).unwrap_or_else(|e| panic!("{name} cannot be read: {e}"));
        assert_eq!(back, *sample, "{name}");
    }
}

#[test]
fn every_client_frame_travels_as_its_golden_file_says() {
    check(&client_frames());
}

#[test]
fn every_server_frame_travels_as_its_golden_file_says() {
    check(&server_frames());
}

#[test]
fn no_golden_file_is_left_over() {
    let names = client_frames().into_iter().map(|(n, _)| n).chain(server_frames().into_iter().map(|(n, _)| n));
    let wanted: BTreeSet<String> = names.map(|name| format!("{name}.json")).collect();
    let files = std::fs::read_dir(golden_dir()).expect("the golden files");
    let there: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(there, wanted);
}

#[test]
fn protocol_page_shows_every_message_and_explains_every_word() {
    let page = protocol();
    let mut words: BTreeSet<String> = all_words().into_iter().collect();
    for name in client_frames().iter().map(|(n, _)| n).chain(server_frames().iter().map(|(n, _)| n)) {
        let golden = read(name);
        assert!(page.contains(golden.trim_end()), "docs/protocol.md does not show {name} as it travels:\n{golden}");
        gather(&serde_json::from_str(&golden).expect("JSON"), &mut words);
    }
    for word in words {
        assert!(page.contains(&format!("`{word}`")), "docs/protocol.md does not explain `{word}`");
    }
}

/// The names of all fields, and the words that tell messages apart.
fn gather(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                words.insert(name.clone());
                if let ("type", Value::String(word)) = (name.as_str(), value) {
                    words.insert(word.clone());
                }
                gather(value, words);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| gather(value, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Text travels from app to app, in frames of its own.
#[test]
fn text_frames_travel_as_the_protocol_page_says() {
    let frames = samples!(ChatFrame:
        Text => ChatFrame::Text { id: 1, text: "Page 4, the second line".into() },
        Delivered => ChatFrame::Delivered { id: 1 },
    );
    let page = protocol();
    assert!(page.contains(CHAT_CHANNEL), "docs/protocol.md does not name the data channel");
    for (name, frame) in frames {
        let text = serde_json::to_string(&frame).expect("JSON");
        assert!(page.contains(&text), "docs/protocol.md does not show {name} as it travels:\n{text}");
        assert_eq!(serde_json::from_str::<ChatFrame>(&text).expect("a frame"), frame);
    }
}

/// Most devices hear nothing of themselves, and theirs travels as it did before anybody could say so.
#[test]
fn health_without_a_voice_that_comes_back_does_not_speak_of_it() {
    let text = r#"{"microphone":"works","speaker":"missing","receives":"sound","access":{"loss_percent":8,"round_trip_ms":41}}"#;
    let quiet = Health { hears_itself: false, ..health() };
    assert_eq!(serde_json::to_string(&quiet).expect("JSON"), text);
    assert_eq!(serde_json::from_str::<Health>(text).expect("health"), quiet);
}

#[test]
fn unknown_fields_and_types_are_refused() {
    for text in [
        r#"{"type":"dev_people","more":1}"#,
        r#"{"type":"command","id":"m1","command":{"type":"bookings","more":1}}"#,
        r#"{"type":"command","id":"m1","command":{"type":"bookings"},"more":1}"#,
        r#"{"type":"command","id":"m1","command":{"type":"dance"}}"#,
        r#"{"type":"dance"}"#,
        r#"{"type":"hello","version":1,"token":"t","device":"d","resume":{"session":"s","seen":0,"more":1}}"#,
    ] {
        assert!(serde_json::from_str::<ClientFrame>(text).is_err(), "{text}");
    }
}
