//! What a bundle says, and what it does not.

use super::*;
use crate::{CurrentCall, LinkFault};
use bellwire_call::{Action, Blame, Figure, Monotonic};
use bellwire_media::{CandidateKind, DeviceChoice, Protection, ProtectionReason, RelayTransport};
use bellwire_signaling::{
    CandidateLine, Cause, Credential, EndReason, Ending, ErrorCode, Handle, IceServer, KeepChat, MicrophoneHealth,
    Peer, Role, SearchView, You,
};
use std::time::Duration;

const SECRETS: [&str; 9] =
    ["Greta", "Ana Silva", "Sennheiser", "203.0.113.7", "2001:db8", "hunter2", "relay.example", "3f9a1c77", "b-secret"];

fn call(id: Option<&str>, state: State) -> CurrentCall {
    CurrentCall {
        call: id.map(|id| CallId::new(id).unwrap()),
        booking: BookingId::new("b-secret-booking").unwrap(),
        peer: Some(Peer { handle: Handle::new("h-greta").unwrap(), name: "Greta Weber".into(), role: Role::Provider }),
        you: Side::Caller,
        state,
        muted: false,
        peer_muted: false,
        connected_ms: None,
        reconnecting_ms: None,
        trying: 0,
        path: None,
        health: Health::default(),
        peer_health: None,
        explanation: None,
        chat: Vec::new(),
        chat_open: false,
        keep_chat: KeepChat::default(),
    }
}

fn snapshot(call: Option<CurrentCall>) -> Snapshot {
    Snapshot {
        at: Instant::now(),
        link: Link::Up,
        you: Some(You { user: "ana".parse().unwrap(), name: "Ana Silva".into() }),
        bookings: Vec::new(),
        bookings_known: true,
        call,
        entering: None,
        room: None,
        search: SearchView::Idle {},
        server_time_offset_ms: 0,
        input: DeviceState::Open { name: "Ana's Sennheiser".into(), fallback: false, silent: false },
        output: DeviceState::Closed,
        input_choice: DeviceChoice::Named("Ana's Sennheiser".into()),
        output_choice: DeviceChoice::Default,
        ring_choice: None,
        processing: Processing::default(),
        checking: false,
        check: None,
        relay_only: false,
    }
}

fn hung_up() -> State {
    let ending = Ending { reason: EndReason::HungUp, by: Some(Side::Callee), because: None, duration_ms: 61_250 };
    State::Ended { ending, confirmed: true }
}

/// A recorder and a clock that only moves when told.
struct Bench {
    recorder: Recorder,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { recorder: Recorder::default(), now: Instant::now() }
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn shows(&mut self, call: Option<CurrentCall>) {
        self.recorder.note(&Update::Snapshot(Box::new(snapshot(call))), self.now);
    }

    fn text(&self) -> String {
        self.recorder.newest().unwrap()
    }
}

fn candidate(line: &str) -> Candidate {
    Candidate { candidate: CandidateLine::new(line).unwrap(), sdp_mid: None, sdp_m_line_index: 0 }
}

/// A call in which everything happens that a bundle tells of.
fn eventful() -> String {
    let mut bench = Bench::new();
    let id = Some("3f9a1c77aabbccdd");
    bench.shows(Some(call(None, State::Inviting)));
    bench.after(180).shows(Some(call(id, State::Ringing)));
    bench.after(2_000).shows(Some(call(id, State::Connecting)));
    let server = IceServer {
        urls: vec!["turn:relay.example:3478?transport=udp".into(), "turns:relay.example:443?transport=tcp".into()],
        username: Some("1800000000:ana".into()),
        credential: Some(Credential::new("hunter2").unwrap()),
    };
    let now = bench.now;
    let recorder = &mut bench.recorder;
    recorder.note_command(&MediaCommand::IceServers(vec![server]), now);
    recorder.note_command(&MediaCommand::Open { generation: 1, route: Route::Any }, now);
    let ours = [
        "candidate:1 1 udp 2130706431 203.0.113.7 50000 typ host",
        "candidate:2 1 udp 2130706431 2001:db8::7 50001 typ host",
    ];
    let ours = ours.into_iter().map(candidate).collect();
    recorder.note_event(&MediaEvent::Candidates { generation: 1, candidates: ours, done: true }, now);
    recorder.note(&Update::Flowing { generation: 1 }, now);
    let path = PathInfo {
        local: CandidateKind::Relay,
        remote: CandidateKind::Srflx,
        relay: Some(RelayTransport::Tls),
        ipv6: false,
    };
    let connected = CurrentCall { path: Some(path), ..call(id, State::Connected) };
    bench.after(400).shows(Some(connected.clone()));
    for second in 0..70 {
        let loss_in = if second < 60 { 0.0 } else { 0.08 };
        let stats = Stats {
            generation: 1,
            loss_in,
            loss_out: Some(0.005),
            round_trip_ms: Some(40.0),
            mos: Some(4.2),
            recovered: loss_in,
            bitrate_out: 61_800,
            bandwidth_out: Some(96_000),
            buffer_ms: 42.0,
            target_ms: 40.0,
            microphone_dbfs: -23.4,
            echo_return_loss_db: Some(31.0),
            late_ticks: 1,
            underruns: 2,
            protection: Protection {
                why: ProtectionReason::Bursts,
                resending: true,
                copies: 2,
                reach_ms: 120,
                fec: true,
                dred_ms: 400,
                ..Protection::default()
            },
            ..Stats::default()
        };
        bench.after(1_000);
        bench.recorder.note(&Update::Stats(Box::new(stats)), bench.now);
    }
    let explained = Explanation {
        cause: Cause::Loss,
        side: Blame::Here,
        action: Action::SendingCopies,
        figure: Some(Figure::Percent(8)),
    };
    let peer_health = Some(Health { microphone: MicrophoneHealth::Silent, ..Health::default() });
    bench.shows(Some(CurrentCall { explanation: Some(explained), peer_health, ..connected.clone() }));
    bench.recorder.note(&Update::NetworkChanged, bench.now);
    let lost = CurrentCall { trying: 1, path: None, ..call(id, State::Reconnecting { since: Monotonic(0) }) };
    let down = Link::Down { retry_in_ms: 250, why: LinkFault::Silent };
    let gone = DeviceState::Missing { why: DeviceFault::Other("Ana's Sennheiser is gone".into()) };
    let shown = Snapshot { link: down, input: gone, ..snapshot(Some(lost)) };
    bench.after(1_500);
    bench.recorder.note(&Update::Snapshot(Box::new(shown)), bench.now);
    bench.after(900).shows(Some(call(id, hung_up())));
    bench.recorder.note(&Update::Refused { code: ErrorCode::NotFound, retry_after_ms: None }, bench.now);
    bench.text()
}

#[test]
fn a_bundle_tells_a_call_from_its_first_moment_to_its_end() {
    let text = eventful();
    for line in [
        "call         3f9a1c..., as the caller",
        "state        ended: hung_up by the callee after 61.2 s",
        "path         relay to srflx, our relay over tls, IPv4",
        "     0.000  state        inviting",
        "     0.000  microphone   open, microphone number 1",
        "     0.180  state        ringing",
        "     2.180  relays       TURN over UDP, TURN over TLS",
        "     2.180  connection   1 begun, any way",
        "     2.180  candidates   ours for connection 1: 1 host udp, 1 host udp IPv6",
        "     2.180  sound        comes on connection 1",
        "     2.580  path         relay to srflx, our relay over tls, IPv4",
        "    72.580  why          loss here, sending_copies, 8 %",
        "    72.580  their health microphone silent, speaker unknown, receives nothing",
        "    72.580  network      addresses, routes or the machine's sleep",
        "    74.080  link         down: the server does not answer",
        "    74.080  microphone   missing: another fault",
        "    74.080  state        reconnecting",
        "    74.080  trying       connection 1 since sound was lost",
        "round trip 40 ms (median), jitter 0.0 ms",
        "mean opinion score 4.2 of 4.5",
        "   63    1     8.0      0.5   40      0       -       0       62   96 bursts:resend+copies2/120ms+fec+dred400ms",
        "   63     0.0       8.0     42     40 4.2  -23           31          -    1   2",
        "   1:00  in   ___++++++++++",
        "         out  .............",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is missing in\n{text}");
    }
    assert!(!text.contains("not_found"), "what came after the end is no part of it");
}

#[test]
fn a_bundle_holds_nothing_of_people_addresses_and_secrets() {
    let text = eventful();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
}

#[test]
fn the_newest_of_three_calls_is_written_and_older_ones_are_forgotten() {
    let mut bench = Bench::new();
    assert!(bench.recorder.newest().is_none());
    for id in ["aaaaaa1", "bbbbbb2", "cccccc3", "dddddd4"] {
        bench.after(10).shows(Some(call(None, State::Inviting)));
        bench.after(10).shows(Some(call(Some(id), State::Ringing)));
        bench.after(10).shows(Some(call(Some(id), hung_up())));
        bench.after(10).shows(Some(call(Some(id), hung_up())));
    }
    let ids: Vec<&str> =
        bench.recorder.calls.iter().filter_map(|call| call.call.as_ref()).map(CallId::as_str).collect();
    assert_eq!(ids, ["bbbbbb2", "cccccc3", "dddddd4"]);
    assert!(bench.text().contains("call         dddddd..., as the caller"));
}

#[test]
fn a_call_that_changes_for_ever_is_written_from_both_ends() {
    let mut bench = Bench::new();
    bench.shows(Some(call(Some("c1"), State::Connected)));
    for n in 0..10_000_u32 {
        bench.after(100);
        bench.recorder.note(&Update::Flowing { generation: n }, bench.now);
    }
    let text = bench.text();
    let of = |n: u32| text.contains(&format!("comes on connection {n}\n"));
    assert!(of(0) && of(9_999) && !of(5_000));
    assert!(text.contains("lines left out"));
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());
}

#[test]
fn candidates_are_counted_by_kind_whatever_they_hold() {
    let check = |line: &str, expected: &str| assert_eq!(kind_of(line), expected);
    check("candidate:1 1 UDP 1 203.0.113.7 5 typ srflx raddr 10.0.0.1 rport 5", "srflx udp");
    check("candidate:1 1 tcp 1 2001:db8::1 9 typ host tcptype active", "host tcp IPv6");
    check("candidate:1 1 udp 1 secret.local 9 typ hunter2", "other udp");
    check("hunter2", "other other");
}

#[test]
fn members_of_rooms_are_no_part_of_it() {
    let mut recorder = Recorder::default();
    let stats = Box::new(Stats::default());
    recorder.note(&Update::MemberStats { member: Handle::new("h").unwrap(), stats }, Instant::now());
    recorder.note(&Update::Snapshot(Box::new(snapshot(None))), Instant::now());
    assert!(recorder.newest().is_none());
}
