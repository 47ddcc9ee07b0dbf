//! Whole calls between two `bellwire-cli`, through the real server and real WebRTC on loopback, with speech from files.

mod stand;

use bellwire_client::recording::{Voice, best_correlation, level_dbfs, write_speech};
use bellwire_client::{CallRecord, Client, Config, DeviceId, EndReason, Request, Token, Update, media};
use serde_json::Value;
use stand::{Cli, Stand, alone, is};
use std::path::Path;
use std::time::{Duration, Instant};

/// From here on a recording holds a speech, and below the other it does not.
const HEARD: f32 = 0.5;
const NOT_HEARD: f32 = 0.4;

fn assert_heard(reference: &Path, other: &Path, recording: &Path) {
    let found = best_correlation(reference, recording).unwrap();
    let control = best_correlation(other, recording).unwrap();
    println!("{}: {found:?}, negative control {control:?}", recording.display());
    assert!(found.correlation > HEARD && found.heard_ms >= 2_000, "{}: {found:?}", recording.display());
    assert!(control.correlation < NOT_HEARD, "{}: negative control {control:?}", recording.display());
}

fn assert_ended(events: &[Value], reason: &str) -> u64 {
    let ended: Vec<&Value> = events.iter().filter(|event| is(event, "ended")).collect();
    assert_eq!(ended.len(), 1, "{events:#?}");
    assert_eq!(ended[0]["reason"], reason);
    assert_eq!(ended[0]["confirmed"], true, "{}", ended[0]);
    ended[0]["duration_ms"].as_u64().unwrap()
}

/// The calls of this person, as the server has them.
fn history(stand: &Stand, person: &str) -> Vec<CallRecord> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let token = Token::new(std::fs::read_to_string(stand.path(&format!("{person}.token"))).unwrap()).unwrap();
        let device = DeviceId::new("history").unwrap();
        let (client, mut updates) = Client::start(Config {
            server: stand.url(),
            token,
            device,
            media: media::Config::default(),
            tones: false,
            relay_only: false,
            checks_by_itself: false,
        });
        client.request(Request::History { before: None });
        loop {
            match updates.next().await.expect("the client goes on") {
                Update::History(calls) => return calls,
                update => drop(update),
            }
        }
    })
}

fn states(events: &[Value]) -> Vec<&str> {
    events.iter().filter(|event| is(event, "state")).filter_map(|event| event["state"].as_str()).collect()
}

#[test]
fn both_recordings_hold_the_others_speech_and_both_sides_have_the_same_end() {
    let _alone = alone();
    let stand = Stand::start();
    let (low, high) = (stand.path("low.wav"), stand.path("high.wav"));
    write_speech(&low, Voice::Low, 20.0).unwrap();
    write_speech(&high, Voice::High, 20.0).unwrap();

    let mut caller = stand.cli("call", "client", &["--duration", "8"], Some(&low), Some("caller.wav"));
    caller.wait("waiting", |event| is(event, "waiting"));
    let mut callee = stand.cli("answer", "provider", &["--booking", &stand.booking], Some(&high), Some("callee.wav"));
    caller.wait("connected", |event| event["state"] == "connected");
    callee.wait("flowing", |event| is(event, "flowing"));
    let (caller, callee) = (caller.finish(), callee.finish());

    assert_eq!((caller.status, callee.status), (Some(0), Some(0)));
    let durations = [assert_ended(&caller.events, "hung_up"), assert_ended(&callee.events, "hung_up")];
    assert_eq!(durations[0], durations[1]);
    assert!(durations[0] >= 7_900, "{durations:?}");
    for events in [&caller.events, &callee.events] {
        let path = events.iter().find(|event| is(event, "path")).expect("the way that sound goes");
        assert_eq!((&path["relay"], &path["ipv6"]), (&Value::Null, &Value::Bool(false)), "{path}");
        for health in ["health", "peer_health"] {
            let last = events.iter().rfind(|event| is(event, health)).expect(health);
            assert_eq!((&last["microphone"], &last["receives"]), (&"works".into(), &"sound".into()), "{last}");
        }
    }
    for (events, ringing) in [(&caller.events, "inviting"), (&callee.events, "ringing")] {
        let states = states(events);
        assert_eq!(states.first(), Some(&ringing));
        assert!(states.ends_with(&["connecting", "connected", "ended"]), "{states:?}");
        let stats: Vec<&Value> = events.iter().filter(|event| is(event, "stats")).collect();
        assert!(stats.len() >= 5, "{} stats", stats.len());
        let last = stats[stats.len() - 1];
        assert!(
            last["packets_in"].as_u64() > Some(100) && last["bitrate_in"].is_u64() && last["mos"].is_number(),
            "{last}"
        );
    }
    for run in [&caller, &callee] {
        assert!(!run.stderr.contains("ERROR") && !run.stderr.contains("panicked"), "{}", run.stderr);
        for secret in stand.secrets() {
            assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "a line holds a token or name");
        }
    }
    assert_heard(&high, &low, &stand.path("caller.wav"));
    assert_heard(&low, &high, &stand.path("callee.wav"));
}

#[test]
fn a_declined_call_ends_both_with_status_4() {
    let _alone = alone();
    let stand = Stand::start();
    let mut callee = stand.cli("answer", "client", &["--control"], None, None);
    let mut caller = stand.cli("call", "provider", &[], None, None);
    caller.wait("ringing", |event| event["state"] == "ringing");
    callee.wait("ringing", |event| event["state"] == "ringing");
    callee.say("stats");
    callee.wait("no statistics", |event| is(event, "error"));
    callee.say("decline");
    for run in [caller.finish(), callee.finish()] {
        assert_eq!(run.status, Some(4), "{}", run.stdout);
        assert_eq!(assert_ended(&run.events, "declined"), 0);
    }
}

#[test]
fn a_caller_who_gives_up_is_done_and_the_callee_was_not_reached() {
    let _alone = alone();
    let stand = Stand::start();
    let mut callee = stand.cli("answer", "client", &["--control"], None, None);
    let mut caller = stand.cli("call", "provider", &["--control"], None, None);
    callee.wait("ringing", |event| event["state"] == "ringing");
    caller.wait("ringing", |event| event["state"] == "ringing");
    caller.say("hangup");
    let (caller, callee) = (caller.finish(), callee.finish());
    assert_eq!((caller.status, callee.status), (Some(0), Some(4)));
    assert_ended(&caller.events, "cancelled");
    assert_ended(&callee.events, "cancelled");
}

#[test]
fn a_token_or_booking_that_the_server_does_not_know_ends_with_status_3() {
    let _alone = alone();
    let mut stand = Stand::start();
    stand.log = Some("trace");
    std::fs::write(stand.path("stranger.token"), "not.a.token").unwrap();
    let run = stand.cli("call", "stranger", &[], None, None).finish();
    assert_eq!(run.status, Some(3), "{}", run.stdout);
    assert!(
        run.events.iter().any(|event| is(event, "refused") && event["code"] == "unauthenticated"),
        "{}",
        run.stdout
    );
    let run = stand.cli("call", "client", &["--booking", "b0"], None, None).finish();
    assert_eq!(run.status, Some(3), "{}", run.stdout);
    assert!(run.events.iter().any(|event| is(event, "refused") && event["code"] == "not_found"), "{}", run.stdout);
    for secret in stand.secrets() {
        assert!(!run.stderr.contains(&secret), "a log holds a token or name");
    }
}

#[test]
fn a_call_outlives_a_server_that_is_killed_and_started_again() {
    let _alone = alone();
    let mut stand = Stand::start();
    let (low, high) = (stand.path("low.wav"), stand.path("high.wav"));
    write_speech(&low, Voice::Low, 40.0).unwrap();
    write_speech(&high, Voice::High, 40.0).unwrap();
    let mut callee = stand.cli("answer", "provider", &[], Some(&high), Some("callee.wav"));
    let mut caller = stand.cli("call", "client", &["--control"], Some(&low), Some("caller.wav"));
    for cli in [&mut caller, &mut callee] {
        cli.wait("connected", |event| event["state"] == "connected");
        cli.wait("statistics", |event| is(event, "stats"));
    }
    stand.kill_server();
    for cli in [&mut caller, &mut callee] {
        cli.wait("link down", |event| is(event, "link") && event["state"] == "down");
        // Sound goes on without a server.
        let before = cli.wait("statistics", |event| is(event, "stats"));
        let after = cli.wait("statistics", |event| is(event, "stats"));
        assert!(after["packets_in"].as_u64() > before["packets_in"].as_u64(), "{before} {after}");
    }
    stand.restart_server();
    for cli in [&mut caller, &mut callee] {
        cli.wait("link up", |event| is(event, "link") && event["state"] == "up");
    }
    for _ in 0..5 {
        caller.wait("statistics", |event| is(event, "stats"));
    }
    caller.say("hangup");
    let (caller, callee) = (caller.finish(), callee.finish());
    assert_eq!((caller.status, callee.status), (Some(0), Some(0)), "{}\n{}", caller.stdout, callee.stdout);
    let duration_ms = assert_ended(&caller.events, "hung_up");
    assert_eq!(duration_ms, assert_ended(&callee.events, "hung_up"));
    for person in ["client", "provider"] {
        // What the app says of its call is its last word; the server may still be writing it down.
        let began = Instant::now();
        let calls = loop {
            let calls = history(&stand, person);
            if calls.iter().all(|call| call.quality.is_some()) || began.elapsed() > Duration::from_secs(20) {
                break calls;
            }
        };
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!((calls[0].ending.reason, calls[0].ending.duration_ms), (EndReason::HungUp, duration_ms));
        let quality = calls[0].quality.expect("how it sounded was told");
        assert_eq!((quality.reconnects, quality.relayed), (0, false), "{quality:?}");
        assert!(quality.mos_x10 >= 30 && quality.loss_in_percent <= 5, "{quality:?}");
    }
    for run in [&caller, &callee] {
        assert!(!states(&run.events).contains(&"reconnecting"), "sound was lost: {:?}", states(&run.events));
        assert!(!run.stderr.contains("ERROR"), "{}", run.stderr);
    }
    assert_heard(&high, &low, &stand.path("caller.wav"));
    assert_heard(&low, &high, &stand.path("callee.wav"));
    assert_without_a_gap(&caller.events);
    assert_without_a_gap(&callee.events);
}

/// In each second of the call packets came, and what was played was not made up.
fn assert_without_a_gap(events: &[Value]) {
    let seconds: Vec<&Value> = events.iter().filter(|event| is(event, "stats")).collect();
    assert!(seconds.len() >= 5, "{} seconds", seconds.len());
    for pair in seconds.windows(2) {
        let came = pair[1]["packets_in"].as_u64().unwrap() - pair[0]["packets_in"].as_u64().unwrap();
        let made_up = pair[1]["concealed"].as_f64().unwrap();
        assert!(came >= 25 && made_up < 0.25, "{came} packets, {made_up} made up: {}", pair[1]);
    }
}

#[test]
fn text_reaches_the_other_and_stays_in_the_record_if_both_want_it() {
    let _alone = alone();
    let stand = Stand::start();
    let mut callee = stand.cli("answer", "provider", &["--say", "from the callee", "--keep-chat"], None, None);
    let mut caller = stand.cli("call", "client", &["--control", "--say", "from the caller"], None, None);
    for (cli, text) in [(&mut caller, "from the callee"), (&mut callee, "from the caller")] {
        cli.met("the text", |event| is(event, "text") && event["text"] == text);
        cli.met("delivered", |event| is(event, "text_delivered"));
    }
    caller.say("keep");
    callee.met("both want it", |event| is(event, "keep_chat") && event["you"] == true && event["peer"] == true);
    caller.say("say one more");
    callee.wait("one more", |event| is(event, "text") && event["text"] == "one more");
    caller.wait("delivered", |event| is(event, "text_delivered") && event["text"] == "one more");
    caller.say("hangup");
    for run in [caller.finish(), callee.finish()] {
        assert_eq!(run.status, Some(0), "{}", run.stdout);
    }
    let calls = history(&stand, "client");
    let mut texts: Vec<&str> = calls[0].chat.iter().map(|line| line.text.as_str()).collect();
    texts.sort();
    assert_eq!(texts, ["from the callee", "from the caller", "one more"]);
}

#[test]
fn control_lines_accept_mute_unmute_and_hang_up() {
    let _alone = alone();
    let stand = Stand::start();
    let high = stand.path("high.wav");
    write_speech(&high, Voice::High, 60.0).unwrap();
    let mut callee = stand.cli("answer", "client", &["--control"], Some(&high), None);
    let mut caller = stand.cli("call", "provider", &[], None, Some("caller.wav"));
    callee.say("sing");
    callee.wait("what a line may be", |event| is(event, "error"));
    callee.wait("ringing", |event| event["state"] == "ringing");
    callee.say("accept");
    callee.wait("connected", |event| event["state"] == "connected");
    let opened = caller.wait("the speaker", |event| event["device"] == "output_opened");
    caller.wait("connected", |event| event["state"] == "connected");
    let connected = caller.wait("sound", |event| is(event, "stats"));
    for _ in 0..4 {
        caller.wait("statistics", |event| is(event, "stats"));
    }
    callee.say("mute");
    callee.wait("muted", |event| is(event, "muted") && event["muted"] == true);
    let muted = caller.wait("peer muted", |event| is(event, "peer_muted") && event["muted"] == true);
    for _ in 0..4 {
        caller.wait("statistics", |event| is(event, "stats"));
    }
    callee.say("stats");
    callee.say("unmute");
    let unmuted = caller.wait("peer unmuted", |event| is(event, "peer_muted") && event["muted"] == false);
    for _ in 0..4 {
        caller.wait("statistics", |event| is(event, "stats"));
    }
    callee.say("hangup");
    let (caller, callee) = (caller.finish(), callee.finish());
    assert_eq!((caller.status, callee.status), (Some(0), Some(0)));
    assert_ended(&caller.events, "hung_up");
    assert_ended(&callee.events, "hung_up");

    // The recording began when the speaker was opened.
    let at = |event: &Value| event["at_ms"].as_u64().unwrap().saturating_sub(opened["at_ms"].as_u64().unwrap());
    let level = |from: u64, to: u64| level_dbfs(&stand.path("caller.wav"), from, to).unwrap();
    let before = level(at(&connected), at(&muted) - 1_000);
    let between = level(at(&muted) + 1_000, at(&unmuted) - 500);
    let after = level(at(&unmuted) + 1_000, at(&unmuted) + 3_500);
    println!("level before {before:.1}, muted {between:.1}, after {after:.1} dBFS");
    assert!(before > -40.0 && after > -40.0 && between < -65.0, "{before} {between} {after}");
}

#[cfg(unix)]
#[test]
fn a_terminated_program_hangs_up_and_finishes_its_recording() {
    let _alone = alone();
    let stand = Stand::start();
    let low = stand.path("low.wav");
    write_speech(&low, Voice::Low, 30.0).unwrap();
    let mut callee = stand.cli("answer", "provider", &[], Some(&low), None);
    let mut caller = stand.cli("call", "client", &[], None, Some("caller.wav"));
    callee.wait("connected", |event| event["state"] == "connected");
    for _ in 0..3 {
        caller.wait("statistics", |event| is(event, "stats"));
    }
    caller.terminate();
    let (caller, callee): (stand::Run, stand::Run) = (Cli::finish(caller), Cli::finish(callee));
    assert_eq!((caller.status, callee.status), (Some(0), Some(0)));
    assert_ended(&callee.events, "hung_up");
    let found = best_correlation(&low, &stand.path("caller.wav")).unwrap();
    assert!(found.correlation > HEARD, "{found:?}");
}
