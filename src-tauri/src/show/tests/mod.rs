//! Each state of the app, and what the page then shows: an outline that a person can read. The whole views are kept in
//! `src-tauri/preview/views.json`, from which the screens can be looked at without the app.

mod calls;
mod chat;
mod home;
mod matches;
mod network;
mod preview;
mod rooms;
mod sound;

use super::*;
use crate::known::Follow;
use bellwire_client::{
    Because, BookingId, BookingState, BookingView, CallId, CallRecord, CurrentCall, DevPerson, DeviceChoice,
    DeviceFault, DeviceInfo, DeviceKind, DeviceState, EndReason, Ending, ErrorCode, Handle, KeepChat, LinkFault,
    Monotonic, Presence as There, Processing, Side, Stats, Stop, Token, Update, UserId, You as Me,
};
use std::time::{Duration, Instant};

const MINUTE: u64 = 60_000;
/// The moment of all tests by the server's clock: the local one is two minutes behind.
const NOON: u64 = 1_767_268_800_000;
const LONG: &str = "Maximiliana-Theodora von und zu Hohenstein-Waldeckersberg III";

fn outline(view: &View) -> String {
    let mut lines = Vec::new();
    let value = serde_json::to_value(&view.screen).unwrap();
    let screen = value["name"].as_str().unwrap().to_owned();
    lines.push(match serde_json::to_value(&view.screen).unwrap()["peer"]["name"].as_str() {
        Some(name) => format!("{screen}: {name}"),
        None => screen,
    });
    match &view.screen {
        Screen::SignIn(now) => {
            lines.extend(now.problem.as_ref().map(|problem| format!("problem {}", said(problem))));
            lines.extend(now.people.iter().map(|person| format!("pick {} {}", person.name, said(&person.role))));
            lines.extend(now.server.as_ref().map(|server| format!("server {server}")));
        }
        Screen::Home(now) => {
            lines.extend(now.empty.as_ref().map(|empty| format!("empty {}", said(empty))));
            lines.extend(now.next.as_ref().map(|next| format!("next {}", card(next))));
            lines.extend(now.later.iter().map(|later| format!("later {}", card(later))));
            lines.extend(now.history.iter().map(|past| {
                let missed = if past.missed { " missed" } else { "" };
                let length = past.duration_s.map(|s| format!(" {s} s")).unwrap_or_default();
                let sounded = past.quality.as_ref().map(|line| format!(", {}", said(line))).unwrap_or_default();
                format!("past {} {}{length}{missed}{sounded}", past.peer.name, said(&past.what))
            }));
            lines.extend(now.more_history.then(|| "more".to_owned()));
        }
        Screen::Check(now) => {
            lines.push(format!("verdict {}", said(&now.verdict)));
            lines.push(format!("speaker {}", said(&now.speaker)));
            lines.extend(now.relay_only.then(|| "relay only".to_owned()));
        }
        Screen::Trial(now) => {
            let percent = now.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
            lines.push(format!("{}{percent}{}", said(&now.line), if now.speak { " meter" } else { "" }));
            lines.extend(now.steps.iter().map(|step| format!("{} {}", said(&step.label), said(&step.said))));
            lines.extend(now.faults.iter().map(|fault| format!("{}: {}", said(&fault.what), said(&fault.fix))));
            lines.extend(now.paths.iter().map(|path| format!("{}: {}", said(&path.label), said(&path.result))));
        }
        Screen::Calling(now) => lines.push(said(&now.line)),
        Screen::Incoming(now) => lines.extend(now.reasons.iter().map(|reason| said(&reason.text))),
        Screen::Connecting(now) => {
            lines.push(said(&now.line));
            lines.extend(now.trouble.as_ref().map(trouble));
        }
        Screen::InCall(now) | Screen::Reconnecting(now) => {
            let remaining = now.remaining.as_ref().map(said).unwrap_or_default();
            lines.push(format!("elapsed {} s, {remaining}", now.elapsed_s));
            lines.extend(now.lost.as_ref().map(|lost| format!("{} {} s", said(lost), now.lost_s.unwrap())));
            lines.extend(now.mute_line.as_ref().map(said));
            lines.extend(now.quality.as_ref().map(said));
            lines.extend(now.trouble.as_ref().map(trouble));
        }
        Screen::Elsewhere(now) => lines.push(said(&now.line)),
        Screen::Ended(now) => {
            lines.push(format!("{} ({})", said(&now.reason), now.code));
            lines.extend(now.duration_s.map(|s| format!("duration {s} s")));
            lines.extend(now.quality.as_ref().map(said));
        }
        Screen::Queue(now) => lines.push(format!("{} since {}", said(&now.place), now.since)),
        Screen::Match(now) => {
            lines.extend(now.elapsed_s.map(|s| format!("elapsed {s} s")));
            lines.extend(now.line.iter().chain(&now.mute_line).map(said));
            lines.extend(now.partner.as_ref().map(menu));
        }
        Screen::MatchOver(now) => {
            lines.push(format!("{} ({})", said(&now.what), now.code));
            lines.extend(now.partner.as_ref().map(menu));
        }
        Screen::Door(now) => lines.push(format!("{}{}", said(&now.line), if now.busy { " busy" } else { "" })),
        Screen::Room(now) => {
            lines.push(format!("{}, elapsed {} s", now.topic, now.elapsed_s));
            lines.extend(now.members.iter().map(member));
            lines.extend(now.empty.iter().chain(&now.mute_line).chain(&now.door).map(said));
            lines.extend(now.locked.map(|locked| if locked { "can unlock" } else { "can lock" }.to_owned()));
        }
        Screen::RoomOver(now) => lines.push(format!("{} ({})", said(&now.reason), now.code)),
    }
    if let Some(panel) = view.text.as_ref().filter(|panel| panel.open) {
        lines.extend(panel.lines.iter().map(written));
        lines.extend(panel.empty.iter().chain(&panel.problem).map(said));
        lines.extend(
            panel.keep.iter().map(|keep| format!("{} {}", if keep.on { "kept:" } else { "keep:" }, said(&keep.line))),
        );
        lines.extend((!panel.can_write).then(|| "nothing can be written".to_owned()));
    }
    let saved = view.report.as_ref().and_then(|report| report.saved.as_ref());
    lines.extend(saved.map(|saved| format!("report {}", said(saved))));
    lines.extend(view.notices.iter().map(|notice| {
        let offer = notice.offer.as_ref().map(|offer| format!(" [{}]", said(&offer.label))).unwrap_or_default();
        format!("notice {}{offer}", said(&notice.text))
    }));
    lines.extend(view.announce.as_ref().map(|announce| format!("announce {}", said(announce))));
    let buttons = view.actions.iter().map(|action| {
        let press = serde_json::to_value(action.press).unwrap().as_str().unwrap().to_owned();
        let primary = if action.primary { "*" } else { "" };
        let pressed = if action.pressed == Some(true) { " pressed" } else { "" };
        let disabled = if action.enabled { "" } else { " disabled" };
        format!("{primary}{press}{pressed}{disabled}")
    });
    lines.push(format!("[{}]", buttons.collect::<Vec<_>>().join(", ")));
    lines.join("\n")
}

fn said(sentence: &Sentence) -> String {
    let value = serde_json::to_value(sentence).unwrap();
    let fields = value.as_object().unwrap();
    let of = fields.iter().filter(|(key, value)| *key != "id" && *key != "name" && !value.is_null());
    let of: Vec<String> = of.map(|(key, value)| format!("{key} {value}")).collect();
    let id = fields["id"].as_str().unwrap();
    if of.is_empty() { id.to_owned() } else { format!("{id}({})", of.join(", ")) }
}

fn trouble(now: &Trouble) -> String {
    let remedy = now.remedy.map(|remedy| format!(" [{remedy:?}]")).unwrap_or_default();
    format!("{}: {}{remedy}", said(&now.text), said(&now.advice))
}

fn member(member: &Member) -> String {
    let tags: Vec<String> = member.tags.iter().map(|tag| format!(" {}", said(tag))).collect();
    let speaks = if member.speaking { " speaks" } else { "" };
    let remove = if member.remove.is_some() { ", remove" } else { "" };
    format!("- {}{}{speaks}{remove}", member.peer.name, tags.concat())
}

fn menu(menu: &PartnerMenu) -> String {
    let block = menu.block.iter().map(|block| said(&block.act));
    let report = match &menu.reported {
        Some(reported) => vec![said(reported)],
        None => menu.complaints.iter().map(|choice| said(&choice.text)).collect(),
    };
    format!("menu {}", block.chain(report).collect::<Vec<_>>().join(", "))
}

fn written(line: &TextLine) -> String {
    let who = match &line.who {
        Sentence::TextBy { name } => name.clone(),
        who => said(who),
    };
    let state = line.state.as_ref().map(|state| format!(" {}", said(state))).unwrap_or_default();
    format!("{}. {who}: {}{state}", line.number, line.text)
}

fn card(card: &Card) -> String {
    let presence = card.presence.as_ref().map(|presence| format!(", {}", said(&presence.text))).unwrap_or_default();
    let readiness = card.readiness.as_ref().map(|line| format!(", {}", said(line))).unwrap_or_default();
    let own = card.own_check.as_ref().map(|own| {
        let fault = own.fault.as_ref().map(|fault| format!(" {} [look]", said(fault))).unwrap_or_default();
        format!(", {}{fault}", said(&own.text))
    });
    let call = if card.call { ", call" } else { "" };
    format!("{} {}{presence}{readiness}{}{call}", card.peer.name, said(&card.window), own.unwrap_or_default())
}

/// One test's world: signed in, one booking that is open, nothing else.
struct World {
    known: Known,
    at: Instant,
}

impl World {
    fn new() -> Self {
        let at = Instant::now();
        let mut known = Known::default();
        known.signing_in();
        let mut world = Self { known, at };
        let snapshot = world.fresh_snapshot();
        world.known.take(Update::Snapshot(Box::new(snapshot)));
        world
    }

    fn fresh_snapshot(&self) -> Snapshot {
        Snapshot {
            at: self.at,
            link: Link::Up,
            you: Some(Me { user: UserId::new("u1").unwrap(), name: "Dr. Jonas Weber".into() }),
            bookings: vec![booking("b1", "Anna Meier", 0)],
            bookings_known: true,
            call: None,
            entering: None,
            room: None,
            search: SearchView::Idle {},
            server_time_offset_ms: i64::try_from(2 * MINUTE).unwrap(),
            input: DeviceState::Closed,
            output: DeviceState::Closed,
            input_choice: DeviceChoice::Default,
            output_choice: DeviceChoice::Default,
            ring_choice: None,
            processing: Processing::default(),
            checking: false,
            check: None,
            relay_only: false,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Snapshot)) -> Self {
        let mut snapshot = self.known.snapshot.clone().unwrap();
        change(&mut snapshot);
        self.known.take(Update::Snapshot(Box::new(snapshot)));
        self
    }

    fn then(mut self, change: impl FnOnce(&mut Known)) -> Self {
        change(&mut self.known);
        self
    }

    fn calling(self, state: State, you: Side) -> Self {
        self.with(|snapshot| {
            let connected = matches!(state, State::Connected | State::Reconnecting { .. });
            snapshot.call = Some(CurrentCall {
                call: Some(CallId::new("c1").unwrap()),
                booking: BookingId::new("b1").unwrap(),
                peer: Some(them("Anna Meier")),
                you,
                state: state.clone(),
                muted: false,
                peer_muted: false,
                connected_ms: connected.then_some(61_500),
                reconnecting_ms: matches!(state, State::Reconnecting { .. }).then_some(4_200),
                trying: 0,
                path: None,
                health: Default::default(),
                peer_health: None,
                explanation: None,
                chat: Vec::new(),
                chat_open: connected,
                keep_chat: KeepChat::default(),
            });
            if connected {
                snapshot.input = open("Microphone");
                snapshot.output = open("Speaker");
            }
        })
    }

    fn in_call(self) -> Self {
        self.calling(State::Connected, Side::Caller)
    }

    fn ended(self, reason: EndReason, you: Side, by: Option<Side>, because: Option<Because>) -> Self {
        let connected = matches!(reason, EndReason::HungUp | EndReason::MediaLost);
        let duration_ms = if connected { 183_900 } else { 0 };
        let ending = Ending { reason, by, because, duration_ms };
        self.calling(State::Ended { ending, confirmed: true }, you)
    }

    fn mutes(self, muted: bool, peer_muted: bool) -> Self {
        self.with(|snapshot| {
            let call = snapshot.call.as_mut().unwrap();
            (call.muted, call.peer_muted) = (muted, peer_muted);
        })
    }

    /// The view `later` milliseconds after the snapshot, when the server says noon.
    fn view_after(&self, later: u64) -> View {
        let now = Now { at: self.at + Duration::from_millis(later), unix_ms: NOON - 2 * MINUTE + later };
        show(&self.known, now)
    }

    #[track_caller]
    fn shows(&self, expected: &str) {
        let expected = expected.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
        assert_eq!(outline(&self.view_after(0)), expected);
    }
}

fn them(name: &str) -> bellwire_client::Peer {
    bellwire_client::Peer { handle: Handle::new("h1").unwrap(), name: name.into(), role: Role::Client }
}

/// A booking of 50 minutes that begins `minutes` from noon.
fn booking(id: &str, name: &str, minutes: i64) -> BookingView {
    let starts_at = UnixMs(NOON.saturating_add_signed(minutes * 60_000));
    BookingView {
        booking: BookingId::new(id).unwrap(),
        topic: "First consultation".into(),
        starts_at,
        length_ms: 50 * MINUTE,
        opens_at: starts_at.minus(10 * MINUTE),
        closes_at: starts_at.plus(65 * MINUTE),
        state: BookingState::Scheduled,
        you: Role::Provider,
        peer: them(name),
        presence: There::Online {},
        peer_readiness: Default::default(),
    }
}

fn open(name: &str) -> DeviceState {
    DeviceState::Open { name: name.into(), fallback: false, silent: false }
}

fn record(id: &str, name: &str, you: Side, reason: EndReason, connected: bool) -> CallRecord {
    let at = NOON - 90 * MINUTE;
    CallRecord {
        call: CallId::new(id).unwrap(),
        booking: BookingId::new("b0").unwrap(),
        topic: "First consultation".into(),
        you,
        peer: them(name),
        invited_at: UnixMs(at),
        connected_at: connected.then_some(UnixMs(at + 5_000)),
        ended_at: UnixMs(at + 65_000),
        ending: Ending { reason, by: None, because: None, duration_ms: if connected { 60_000 } else { 0 } },
        quality: None,
        chat: Vec::new(),
    }
}

fn second(mos: f32, loss_in: f32) -> Stats {
    Stats {
        mos: Some(mos),
        loss_in,
        loss_out: Some(0.0),
        round_trip_ms: Some(34.0),
        jitter_in_ms: 3.0,
        buffer_ms: 62.0,
        concealed: loss_in,
        bitrate_in: 32_100,
        bitrate_out: 31_800,
        target_ms: 60.0,
        recovered: 0.004,
        echo_return_loss_db: Some(32.0),
        protection: bellwire_client::Protection {
            why: bellwire_client::ProtectionReason::Loss,
            resending: true,
            copies: 1,
            fec: true,
            ..Default::default()
        },
        local_candidate: Some("host".into()),
        remote_candidate: Some("host".into()),
        ..Stats::default()
    }
}

fn down(why: LinkFault) -> Link {
    Link::Down { retry_in_ms: 4_000, why }
}

#[test]
fn nobody_is_signed_in_at_first() {
    let at = Instant::now();
    let now = Now { at, unix_ms: NOON };
    assert_eq!(outline(&show(&Known::default(), now)), "sign-in\n[*sign-in]");
    let known = Known { problem: Some(Sentence::LinkIncomplete {}), ..Known::default() };
    assert_eq!(outline(&show(&known, now)), "sign-in\nproblem link_incomplete\n[*sign-in]");
}

#[test]
fn people_can_be_picked_in_development() {
    let token = Token::new("t").unwrap();
    let known = Known {
        dev_server: Some("ws://h".into()),
        people: vec![DevPerson { name: "Anna".into(), role: Role::Client, token }],
        ..Known::default()
    };
    let view = show(&known, Now { at: Instant::now(), unix_ms: NOON });
    assert_eq!(outline(&view), "sign-in\npick Anna role_client\nserver ws://h\n[*sign-in]");
    assert!(!format!("{}", serde_json::to_value(&view).unwrap()).contains("\"t\""), "no token goes to the page");
}

#[test]
fn signing_in_waits_for_the_server_and_says_why() {
    let world = World::new().with(|snapshot| (snapshot.you, snapshot.link) = (None, Link::Connecting));
    world.shows("sign-in\nannounce signing_in\n[*cancel-sign-in]");
    let world = world.with(|snapshot| snapshot.link = down(LinkFault::Unreachable));
    world.shows("sign-in\nproblem server_unreachable(retry_s 4)\nannounce signing_in\n[*cancel-sign-in]");
    assert!(outline(&world.view_after(1_500)).contains("server_unreachable(retry_s 3)"));
    assert!(outline(&world.view_after(9_000)).contains("server_unreachable(retry_s 0)"));
    let world = world.with(|snapshot| snapshot.link = down(LinkFault::Tls));
    world.shows("sign-in\nproblem server_certificate(retry_s 4)\nannounce signing_in\n[*cancel-sign-in]");
}

#[test]
fn a_client_that_stopped_says_what_to_do() {
    let cases = [
        (Stop::TokenRefused { code: ErrorCode::TokenExpired }, "token_expired"),
        (Stop::TokenRefused { code: ErrorCode::TokenNotYetValid }, "token_not_yet_valid"),
        (Stop::TokenRefused { code: ErrorCode::Unauthenticated }, "token_refused"),
        (Stop::Replaced, "replaced"),
        (Stop::VersionUnsupported, "version_unsupported"),
        (Stop::BadAddress, "link_bad_server"),
    ];
    for (stop, expected) in cases {
        let mut world = World::new().in_call();
        assert_eq!(world.known.take(Update::Stopped(stop)), Follow::LetGo);
        world.shows(&format!("sign-in\nproblem {expected}\n[*sign-in]"));
    }
}

#[test]
fn the_history_is_fetched_when_it_may_have_grown() {
    let mut world = World::new();
    let mut take = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = world.known.snapshot.clone().unwrap();
        change(&mut snapshot);
        world.known.take(Update::Snapshot(Box::new(snapshot)))
    };
    let call = World::new().in_call().known.snapshot.unwrap().call;
    let over = World::new().ended(EndReason::HungUp, Side::Caller, None, None).known.snapshot.unwrap().call;
    assert_eq!(take(&|snapshot| snapshot.you = None), Follow::Nothing);
    assert_eq!(take(&|snapshot| snapshot.you = World::new().known.snapshot.unwrap().you), Follow::FetchHistory);
    assert_eq!(take(&|snapshot| snapshot.call = call.clone()), Follow::Nothing);
    assert_eq!(take(&|snapshot| snapshot.call = over.clone()), Follow::FetchHistory);
    assert_eq!(take(&|snapshot| snapshot.call = None), Follow::FetchHistory);
    assert_eq!(take(&|_| {}), Follow::Nothing);
}

#[test]
fn names_cannot_turn_the_text_around() {
    let cases = [
        ("Anna Meier", "Anna Meier", "AM"),
        ("  Anna\tMaria \n Meier ", "Anna Maria Meier", "AM"),
        ("anna", "anna", "A"),
        ("\u{202e}evil\u{202c} Bob\u{2066}", "evil Bob", "EB"),
        ("<b>Bold & Co</b>", "<b>Bold & Co</b>", "BC"),
        ("محمد علي", "محمد علي", "مع"),
        ("", "", ""),
        ("\u{1}!", "!", ""),
    ];
    for (name, text, letters) in cases {
        let shown = peer(Some(name));
        assert_eq!((shown.name.as_str(), shown.initials.as_str()), (text, letters), "{name:?}");
    }
}
