//! What can be looked at without the app: `src-tauri/preview/look.mjs` makes pictures of it.

use super::chat::{ours, theirs};
use super::network::found;
use super::rooms::somebody;
use super::*;
use crate::generated;
use bellwire_client::signaling::{CallQuality, Cause, Readiness};
use bellwire_client::{
    Action as Act, Blame, CandidateKind, ChatLine, CheckFault, CheckNow, CheckReport, Departure, Figure as Measured,
    MemberNow, MemberSound, PathInfo, RelayTransport, RoomNow, Stage, Verdict,
};

#[test]
fn the_views_for_looking_at_are_those_the_app_makes() {
    let talk = || {
        World::new().in_call().then(|known| {
            for _ in 0..3 {
                known.take(Update::Stats(Box::new(second(4.3, 0.002))));
            }
        })
    };
    let history = |known: &mut Known| {
        let hours = |call: CallRecord, hours: u64| CallRecord {
            invited_at: UnixMs(call.invited_at.0 - hours * 60 * MINUTE),
            ended_at: UnixMs(call.ended_at.0 - hours * 60 * MINUTE),
            ..call
        };
        known.take(Update::History(vec![
            record("c1", "Anna Meier", Side::Callee, EndReason::NoAnswer, false),
            CallRecord {
                quality: Some(sound(43, 0, None)),
                ..hours(record("c2", "محمد علي", Side::Caller, EndReason::HungUp, true), 20)
            },
            hours(record("c3", "<b>Bold & Co</b>", Side::Caller, EndReason::NoAnswer, false), 90),
            CallRecord {
                quality: Some(sound(28, 2, None)),
                ..hours(record("c4", LONG, Side::Callee, EndReason::HungUp, true), 200)
            },
            CallRecord {
                quality: Some(sound(28, 0, Some(Cause::Loss))),
                ..hours(record("c5", "Anna Meier", Side::Callee, EndReason::HungUp, true), 300)
            },
        ]));
        let line = |by, text: &str| ChatLine { by, at: UnixMs(NOON), text: text.into() };
        known.history[3].chat =
            vec![line(Side::Caller, "The form is called 27-B."), line(Side::Callee, "<b>Thank you</b>, I have it.")];
    };
    let long = |snapshot: &mut Snapshot| {
        snapshot.you.as_mut().unwrap().name = LONG.into();
        snapshot.bookings = vec![booking("b1", LONG, 0), booking("b2", "שרה כהן", 4_000)];
        snapshot.bookings[0].topic = "A topic of some length that needs more than one line in a narrow window".into();
    };
    let now = Now { at: Instant::now(), unix_ms: NOON };
    let signed_out = |known: Known| show(&known, now);
    let person = |name: &str, role| DevPerson { name: name.into(), role, token: Token::new("t").unwrap() };
    let since = Monotonic(0);
    let views = [
        ("sign-in", signed_out(Known::default())),
        ("sign-in-wrong-link", signed_out(Known { problem: Some(Sentence::LinkIncomplete {}), ..Known::default() })),
        (
            "sign-in-development",
            signed_out(Known {
                dev_server: Some("ws://127.0.0.1:8080".into()),
                people: vec![person("Anna Meier", Role::Client), person(LONG, Role::Provider)],
                ..Known::default()
            }),
        ),
        (
            "sign-in-unreachable",
            World::new().with(|s| (s.you, s.link) = (None, down(LinkFault::Unreachable))).view_after(0),
        ),
        ("home-open", World::new().then(history).view_after(0)),
        ("home-early", World::new().with(|s| s.bookings[0] = booking("b1", "Anna Meier", 15)).view_after(0)),
        ("home-cancelled", World::new().with(|s| s.bookings[0].state = BookingState::Cancelled).view_after(0)),
        ("home-over", World::new().with(|s| s.bookings[0] = booking("b1", "Anna Meier", -70)).view_after(0)),
        ("home-empty", World::new().with(|s| s.bookings.clear()).view_after(0)),
        ("home-long", World::new().with(long).then(history).view_after(0)),
        ("home-no-server", World::new().with(|s| s.link = down(LinkFault::Silent)).view_after(0)),
        ("check", World::new().then(Known::begin_check).with(|s| s.input = open("M")).view_after(0)),
        (
            "check-no-microphone",
            World::new()
                .then(Known::begin_check)
                .with(|s| s.input = DeviceState::Missing { why: DeviceFault::NoDevice })
                .view_after(0),
        ),
        ("calling", World::new().calling(State::Inviting, Side::Caller).view_after(0)),
        ("calling-rings", World::new().calling(State::Ringing, Side::Caller).view_after(0)),
        ("incoming", World::new().calling(State::Ringing, Side::Callee).view_after(0)),
        (
            "incoming-long",
            World::new()
                .with(long)
                .calling(State::Ringing, Side::Callee)
                .with(|s| s.call.as_mut().unwrap().peer = Some(them(LONG)))
                .view_after(0),
        ),
        ("connecting", World::new().calling(State::Connecting, Side::Caller).view_after(0)),
        ("in-call", talk().view_after(0)),
        ("in-call-muted", talk().mutes(true, true).view_after(0)),
        (
            "in-call-trouble",
            talk()
                .then(|known| {
                    for _ in 0..7 {
                        known.take(Update::Stats(Box::new(second(2.6, 0.12))));
                    }
                })
                .explained(Cause::Loss, Blame::Here, Act::MoveCloserToWifi, Some(Measured::Percent(12)))
                .with(|s| s.link = down(LinkFault::Closed))
                .view_after(0),
        ),
        (
            "in-call-device-gone",
            talk().with(|s| s.input = DeviceState::Missing { why: DeviceFault::NoDevice }).view_after(0),
        ),
        (
            "in-call-speaks-muted",
            talk()
                .mutes(true, false)
                .then(|known| {
                    let at = known.snapshot.as_ref().unwrap().at;
                    known.take(Update::SpeakingMuted { at });
                })
                .view_after(0),
        ),
        ("in-call-headset-gone", talk().with(|s| s.output = DeviceState::Held { name: LONG.into() }).view_after(0)),
        ("in-call-microphone-now", talk().with(|s| s.input = open("Jabra Evolve 65 Mono")).view_after(0)),
        ("reconnecting", talk().calling(State::Reconnecting { since }, Side::Caller).view_after(0)),
        ("elsewhere", World::new().calling(State::Elsewhere, Side::Callee).view_after(0)),
        ("ended", talk().ended(EndReason::HungUp, Side::Caller, Some(Side::Callee), None).view_after(0)),
        ("ended-no-answer", World::new().ended(EndReason::NoAnswer, Side::Caller, None, None).view_after(0)),
        ("ended-lost", talk().ended(EndReason::MediaLost, Side::Caller, None, None).view_after(0)),
    ];
    let views = views.into_iter().chain(network()).chain(rooms()).chain(matches()).chain(chats());
    let views: serde_json::Map<String, serde_json::Value> =
        views.map(|(name, view)| (name.to_owned(), serde_json::to_value(view).unwrap())).collect();
    generated::check("src-tauri/preview/views.json", &(serde_json::to_string_pretty(&views).unwrap() + "\n"));
}

fn sound(mos_x10: u8, reconnects: u16, cause: Option<Cause>) -> CallQuality {
    CallQuality {
        mos_x10,
        loss_in_percent: 9,
        loss_out_percent: 2,
        round_trip_ms: 34,
        reconnects,
        reconnecting_ms: u32::from(reconnects) * 5_700,
        relayed: false,
        cause,
    }
}

fn network() -> Vec<(&'static str, View)> {
    let talk = || {
        World::new().in_call().then(|known| {
            known.take(Update::Stats(Box::new(second(4.3, 0.002))));
        })
    };
    let lost = |trying| {
        let world = World::new().calling(State::Reconnecting { since: Monotonic(0) }, Side::Caller);
        world.call(|call| call.trying = trying)
    };
    let relay = PathInfo {
        local: CandidateKind::Relay,
        remote: CandidateKind::Host,
        relay: Some(RelayTransport::Tls),
        ipv6: true,
    };
    let automatic = |report| {
        World::new().with(|s| {
            s.bookings[0] = booking("b1", "Anna Meier", 9);
            s.bookings[0].peer_readiness = Readiness::Ready;
            s.check = Some(CheckNow { stage: Stage::Done, progress: 1.0, report: Some(report), automatic: true });
        })
    };
    let many = [
        (CheckFault::NoNetwork, None),
        (CheckFault::Echo, Some(9.0)),
        (CheckFault::Loss, Some(15.0)),
        (CheckFault::Delay, Some(520.0)),
        (CheckFault::Noisy, Some(-36.0)),
    ];
    let remark = CheckReport { verdict: Verdict::Ready, ..found(&[(CheckFault::OnlyRelay, None)]) };
    let saved = |known: &mut Known| {
        known.report = Some(Ok("/home/jonas/Downloads/bellwire-report-2026-01-01-120005.txt".into()));
    };
    vec![
        (
            "connecting-trouble",
            World::new()
                .calling(State::Connecting, Side::Caller)
                .explained(Cause::NothingComes, Blame::Between, Act::SwitchingPath, None)
                .view_after(0),
        ),
        (
            "in-call-their-trouble",
            talk().explained(Cause::Loss, Blame::There, Act::TellThemNetwork, Some(Measured::Percent(8))).view_after(0),
        ),
        ("in-call-echo", talk().explained(Cause::Echo, Blame::Here, Act::WearHeadset, None).view_after(0)),
        ("in-call-their-echo", talk().explained(Cause::Echo, Blame::There, Act::TheyAreTold, None).view_after(0)),
        (
            "in-call-remedy",
            talk().explained(Cause::SpeakerMissing, Blame::Here, Act::ChooseSpeaker, None).view_after(0),
        ),
        ("in-call-relayed", talk().call(|call| call.path = Some(relay)).then(saved).view_after(0)),
        ("reconnecting-other-way", lost(2).view_after(9_000)),
        ("ended-report", talk().ended(EndReason::HungUp, Side::Caller, None, None).then(saved).view_after(0)),
        ("ended-failed", World::new().ended(EndReason::MediaFailed, Side::Caller, None, None).view_after(0)),
        ("home-ready", automatic(found(&[])).view_after(0)),
        (
            "home-problem",
            automatic(found(&many)).with(|s| s.bookings[0].peer_readiness = Readiness::HasProblem).view_after(0),
        ),
        ("settings-relay-only", World::new().then(Known::begin_check).with(|s| s.relay_only = true).view_after(0)),
        (
            "settings-original-sound",
            World::new().then(Known::begin_check).with(|s| s.processing.original_sound = true).view_after(0),
        ),
        ("trial", World::new().checks(Stage::RelayUdp, None).view_after(0)),
        ("trial-speak", World::new().checks(Stage::Speak, None).view_after(0)),
        ("trial-listen", World::new().checks(Stage::Listen, None).view_after(0)),
        ("trial-ready", World::new().checks(Stage::Done, Some(found(&[]))).view_after(0)),
        ("trial-remark", World::new().checks(Stage::Done, Some(remark)).view_after(0)),
        ("trial-problems", World::new().checks(Stage::Done, Some(found(&many))).view_after(0)),
    ]
}

fn rooms() -> Vec<(&'static str, View)> {
    let muted = |member: MemberNow| MemberNow { muted: true, ..member };
    let full = || {
        let mut members = vec![
            MemberNow { speaking: true, ..somebody("h1", "Anna Meier") },
            MemberNow { host: true, ..somebody("h2", "محمد علي") },
            muted(somebody("h3", LONG)),
            MemberNow { sound: MemberSound::Connecting, can_read: false, ..somebody("h4", "<b>Bold & Co</b>") },
            MemberNow { sound: MemberSound::Lost, ..somebody("h5", "שרה כהן") },
            MemberNow { sound: MemberSound::Lost, linked: false, ..somebody("h6", "Zoe") },
        ];
        members.push(muted(MemberNow { host: true, can_read: false, ..somebody("h7", "Oskar Lindqvist") }));
        World::at_door().in_room(members)
    };
    let host = |room: &mut RoomNow| (room.host, room.speaking) = (true, true);
    let lines = vec![theirs("Anna Meier", "The page is 112."), ours("Thank you", true)];
    let over = |why| World::at_door().in_room(Vec::new()).room(|room| room.over = Some(why)).view_after(0);
    let refused = |code| {
        let mut world = World::at_door();
        world.known.take(Update::Refused { code, retry_after_ms: None });
        world.view_after(0)
    };
    let small = || World::at_door().in_room(vec![somebody("h1", "Anna Meier")]);
    vec![
        ("door", World::at_door().view_after(0)),
        ("door-refused", refused(ErrorCode::NotFound)),
        ("door-full", refused(ErrorCode::RoomFull)),
        ("room-empty", World::at_door().in_room(Vec::new()).view_after(0)),
        ("room", full().view_after(0)),
        ("room-host", full().room(host).room(|room| room.topic = LONG.into()).view_after(0)),
        ("room-locked", small().room(|room| (room.locked, room.muted) = (true, true)).view_after(0)),
        ("room-text", full().reading().room(|room| room.chat = lines.clone()).view_after(0)),
        ("room-unread", small().room(|room| room.chat = lines.clone()).view_after(0)),
        ("room-no-server", small().room(host).with(|s| s.link = down(LinkFault::Silent)).view_after(0)),
        ("room-removed", over(Departure::Removed)),
        ("room-lost", over(Departure::Lost)),
        ("room-closed", over(Departure::Closed)),
        ("incoming-in-room", World::new().in_room(Vec::new()).calling(State::Ringing, Side::Callee).view_after(0)),
    ]
}

fn matches() -> Vec<(&'static str, View)> {
    let talk = |name: &str| World::whole().matched(name);
    vec![
        ("home-search", World::new().then(|known| known.whole_person = true).view_after(0)),
        ("home-empty-search", World::whole().view_after(0)),
        ("queue", World::whole().waiting(3).view_after(0)),
        ("match-connecting", World::whole().found("Bo Andersson").view_after(0)),
        ("match", talk("Bo Andersson").view_after(0)),
        ("match-long-muted", talk(LONG).room(|room| room.muted = true).view_after(0)),
        ("match-over", talk("Bo Andersson").parted(Departure::Skipped).view_after(0)),
        (
            "match-blocked",
            talk(LONG)
                .then(|known| {
                    let partner = known.partner.as_mut().unwrap();
                    (partner.blocked, partner.reported) = (true, true);
                })
                .parted(Departure::PartnerLeft)
                .view_after(0),
        ),
    ]
}

fn chats() -> Vec<(&'static str, View)> {
    let long = "A line that is long enough to need several rows in a narrow window, with \
                averyverylongwordwithoutanyplacetobreakitthatstillmustnotmakethepagewider in it.";
    let lines = || {
        vec![
            theirs("Anna Meier", "Can you read this?"),
            ours("Yes.", true),
            theirs("Anna Meier", long),
            ours("<img src=x onerror=alert(1)> is only text", true),
            theirs("Anna Meier", "شكرا جزيلا"),
            ours(long, true),
            theirs("Anna Meier", "Two\nrows"),
            ours("On its way", false),
        ]
    };
    let call = || World::new().in_call();
    vec![
        ("text-empty", call().reading().view_after(0)),
        ("text", call().reading().call(|call| call.chat = lines()).view_after(0)),
        (
            "text-kept",
            call()
                .reading()
                .call(|call| {
                    call.keep_chat = KeepChat { you: true, peer: true };
                    call.chat = lines()[..2].to_vec();
                })
                .view_after(0),
        ),
        ("text-unread", call().call(|call| call.chat = lines()).view_after(0)),
        ("text-no-channel", call().reading().call(|call| call.chat_open = false).view_after(0)),
        (
            "text-reconnecting",
            World::new()
                .calling(State::Reconnecting { since: Monotonic(0) }, Side::Caller)
                .reading()
                .call(|call| call.chat = lines()[..3].to_vec())
                .view_after(0),
        ),
    ]
}
