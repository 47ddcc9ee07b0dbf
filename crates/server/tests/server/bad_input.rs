//! Every client message, spoilt in every way: each is answered with a typed refusal or closed with a reason, and the
//! server's other calls go on.

use crate::common::call::{self, attempt, candidate, connect, hang_up, sdp, sdp_text, some_call};
use crate::common::party::{self, id};
use crate::common::{Party, Server};
use crate::tokens;
use bellwire_signaling::*;
use serde_json::{Value, json};

/// One of each command, good in form.
fn commands(call: &CallId, booking: &BookingId) -> Vec<Command> {
    let call = || call.clone();
    let candidates = vec![candidate("192.0.2.1")];
    let quality = CallQuality {
        mos_x10: 41,
        loss_in_percent: 2,
        loss_out_percent: 0,
        round_trip_ms: 38,
        reconnects: 1,
        reconnecting_ms: 2_400,
        relayed: true,
        cause: Some(Cause::Loss),
    };
    vec![
        Command::Bookings {},
        Command::History { before: Some(UnixMs(1)), limit: 5 },
        Command::Invite { booking: booking.clone(), attempt: attempt() },
        Command::Ringing { call: call() },
        Command::Accept { call: call() },
        Command::Decline { call: call(), because: Because::NotNow },
        Command::HangUp { call: call() },
        Command::Ready { call: call(), generation: 1 },
        Command::Describe { call: call(), generation: 1, kind: DescriptionKind::Offer, sdp: sdp("1") },
        Command::Candidates { call: call(), generation: 1, candidates, done: false },
        Command::Hearing { call: call(), generation: 1, hearing: true },
        Command::Renew { call: call(), generation: 1 },
        Command::Muted { call: call(), muted: true },
        Command::Quality { call: call(), quality },
    ]
}

fn framed(command: &Command) -> Value {
    json!({"type": "command", "id": "spoilt", "command": command})
}

/// Pointers to every field, at every depth.
fn fields(value: &Value, at: &str) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (format!("{at}/{name}"), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, value)| (format!("{at}/{n}"), value)).collect(),
        _ => Vec::new(),
    };
    inner.into_iter().flat_map(|(path, value)| [vec![path.clone()], fields(value, &path)].concat()).collect()
}

fn parent<'a>(value: &'a mut Value, path: &str) -> (&'a mut Value, String) {
    let (parent, name) = path.rsplit_once('/').expect("a pointer");
    (value.pointer_mut(parent).expect("a parent"), name.to_owned())
}

/// May be left out, or be null.
const OPTIONAL: [&str; 4] = ["before", "sdpMid", "resume", "cause"];

/// The frame, spoilt in every way that must be refused.
fn spoilt(good: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for path in fields(good, "") {
        let name = path.rsplit('/').next().expect("a name").to_owned();
        let old = good.pointer(&path).expect("a value");
        let mut values = vec![json!({"surprise": 1}), json!("x".repeat(20_000)), json!(-1), json!(1.5)];
        if !OPTIONAL.contains(&name.as_str()) {
            values.push(Value::Null);
        }
        if !old.is_boolean() {
            values.push(json!(true));
        }
        for value in values {
            let mut frame = good.clone();
            *frame.pointer_mut(&path).expect("a value") = value;
            all.push(frame.to_string());
        }
        let mut deep = good.clone();
        *deep.pointer_mut(&path).expect("a value") = json!("DEEP");
        all.push(deep.to_string().replace("\"DEEP\"", &format!("{}{}", "[".repeat(2_000), "]".repeat(2_000))));
        let mut missing = good.clone();
        let (parent, name) = parent(&mut missing, &path);
        if let Value::Object(map) = parent
            && !OPTIONAL.contains(&name.as_str())
        {
            map.remove(&name);
            all.push(missing.to_string());
        }
        if old.is_object() {
            let mut unknown = good.clone();
            unknown.pointer_mut(&path).expect("a value")["unknown"] = json!("leaked");
            all.push(unknown.to_string());
        }
    }
    let mut unknown = good.clone();
    unknown["unknown"] = json!("leaked");
    all.push(unknown.to_string());
    let text = good.to_string();
    all.push(text[..text.len() - 1].to_owned());
    all.push(format!("{text}{text}"));
    all
}

#[tokio::test]
async fn every_spoilt_command_is_refused_as_a_bad_frame_and_the_socket_goes_on() {
    let server = Server::dev();
    let (demo, neighbours) = (server.seed(), server.seed());
    let mut client = Party::sign_in(&server, &neighbours.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &neighbours.provider.token, "p").await;
    let going = connect(&mut client, &mut provider, &neighbours.booking).await;
    let mut cases = 0;
    for command in commands(&some_call(), &demo.booking) {
        for chunk in spoilt(&framed(&command)).chunks(9) {
            // Each a user of their own: this is no test of how many messages a user may send.
            let token = tokens::dev_token(&server, &format!("bad-{cases}"));
            let mut party = Party::sign_in(&server, &token, "bad").await;
            for text in chunk {
                cases += 1;
                party::send_text(party.socket(), text.clone()).await.expect("sent");
                let (id, error) = loop {
                    match party::receive(party.socket()).await {
                        Ok(ServerFrame::Refused { id, error }) => break (id, error),
                        Ok(ServerFrame::Event { .. }) => {}
                        other => panic!("{other:?} for {text:.300}"),
                    }
                };
                assert_eq!(error.code, ErrorCode::BadFrame, "{text:.300}");
                assert!(error.message.len() < 120, "{}", error.message);
                for secret in ["leaked", "surprise", "unknown\"", "xxxx", "[[", "192.0.2.1"] {
                    assert!(!error.message.contains(secret), "{}", error.message);
                }
                let readable = serde_json::from_str::<Value>(text).is_ok_and(|frame| frame["id"] == "spoilt");
                let there = text.contains(r#""id":"spoilt""#);
                assert!(id.is_some() == readable || (id.is_some() && there), "{id:?} for {text:.300}");
            }
            // The socket still serves.
            assert!(party.bookings().await.is_empty());
        }
    }
    assert!(cases > 400, "{cases} cases");
    let candidates = vec![candidate("192.0.2.1"); limits::CANDIDATES_A_MESSAGE + 1];
    let many = Command::Candidates { call: going.clone(), generation: 1, candidates, done: false };
    assert_eq!(client.ask(many).await.expect_err("refused").code, ErrorCode::BadFrame);
    hang_up(&mut client, &mut provider, &going).await;
}

#[tokio::test]
async fn every_spoilt_first_frame_closes_the_socket_with_a_reason() {
    let server = Server::dev();
    let demo = server.seed();
    let resume = Some(Resume { session: SessionId::new("s1").expect("an id"), seen: 0 });
    let hello = serde_json::to_value(party::hello(&demo.client.token, "d", resume)).expect("a frame");
    let mut frames = spoilt(&hello);
    frames.extend(spoilt(&json!({"type": "dev_people"})));
    frames.push(framed(&Command::Bookings {}).to_string());
    for text in frames {
        // A token is any printable text: this one is only no good.
        let mut ws = party::open(&server).await;
        party::send_text(&mut ws, text.clone()).await.expect("sent");
        let closed = match party::receive(&mut ws).await {
            Ok(ServerFrame::Refused { error, .. }) => {
                let closed = party::receive(&mut ws).await.expect_err("closed");
                party::Closed { error: Some(error), ..closed }
            }
            Ok(other) => panic!("{other:?} for {text:.300}"),
            Err(closed) => closed,
        };
        let error = closed.error.unwrap_or_else(|| panic!("closed without a word for {text:.300}"));
        assert!(
            matches!(
                (error.code, closed.code),
                (ErrorCode::BadFrame | ErrorCode::HelloExpected, Some(4000))
                    | (ErrorCode::UnsupportedVersion, Some(4002))
            ),
            "{error:?} {:?} for {text:.300}",
            closed.code
        );
    }
}

#[tokio::test]
async fn another_version_is_refused_as_one() {
    let server = Server::dev();
    let mut ws = party::open(&server).await;
    let hello = json!({"type": "hello", "version": 2, "token": "t", "device": "d", "more": []});
    party::send_text(&mut ws, hello.to_string()).await.expect("sent");
    let closed = party::receive(&mut ws).await.expect_err("closed");
    assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::UnsupportedVersion), Some(4002)));
}

#[tokio::test]
async fn malformed_descriptions_are_named_and_not_relayed() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let good = sdp_text("7");
    let two = good.replace("a=sendrecv", "m=audio 9 UDP/TLS/RTP/SAVPF 111");
    for (sdp, expected) in [
        (String::new(), "does not begin with v=0"),
        (good.replace("v=0", "v=1"), "does not begin with v=0"),
        (good.replace("s=-", "hello"), "line 3"),
        (good.replace("s=-", "s=a\u{0}b"), "line 3"),
        (two, "2 audio sections"),
        (good.replace("m=audio", "m=video"), "neither audio nor a data channel"),
        (good.replace(call::FINGERPRINT, "a=setup:active"), "fingerprint"),
        (format!("{good}a={}\r\n", "x".repeat(limits::SDP)), "bytes"),
    ] {
        let command = json!({"type": "describe", "call": call, "generation": 1, "kind": "offer", "sdp": sdp});
        let frame = json!({"type": "command", "id": "sdp", "command": command});
        party::send_text(client.socket(), frame.to_string()).await.expect("sent");
        let refused = client.answer(&id("sdp")).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::BadFrame, "{expected}");
        assert!(refused.message.contains(expected), "{} instead of {expected}", refused.message);
    }
    client.ok(Command::Muted { call: call.clone(), muted: true }).await;
    let mut descriptions = 0;
    provider
        .event("mute", |event| match event {
            Event::Description { .. } => {
                descriptions += 1;
                None
            }
            Event::Call { view } => matches!(view.phase, Phase::Connected { peer_muted: true, .. }).then_some(()),
            _ => None,
        })
        .await;
    assert_eq!(descriptions, 0);
    hang_up(&mut client, &mut provider, &call).await;
}

#[tokio::test]
async fn ten_bad_frames_close_the_socket() {
    let server = Server::dev();
    let demo = server.seed();
    let mut party = Party::sign_in(&server, &demo.client.token, "c").await;
    for _ in 0..10 {
        party::send_text(party.socket(), "nonsense".into()).await.expect("sent");
    }
    let closed = party.closed().await;
    assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::BadFrame), Some(1008)));
}

#[tokio::test]
async fn frame_over_the_limit_closes_the_socket_as_too_large() {
    let server = Server::dev();
    let demo = server.seed();
    let mut party = Party::sign_in(&server, &demo.client.token, "c").await;
    party::send_text(party.socket(), "x".repeat(limits::FRAME + 1)).await.ok();
    let closed = party.closed().await;
    assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::TooLarge), Some(1009)));
    let mut ws = party::open(&server).await;
    party::send_text(&mut ws, "x".repeat(limits::FRAME * 4)).await.ok();
    let closed = party::receive(&mut ws).await.expect_err("closed");
    assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::TooLarge), Some(1009)));
}

#[tokio::test]
async fn foreign_things_are_refused_exactly_like_things_that_do_not_exist() {
    let server = Server::dev();
    let (demo, others) = (server.seed(), server.seed());
    let mut client = Party::sign_in(&server, &others.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &others.provider.token, "p").await;
    let going = connect(&mut client, &mut provider, &others.booking).await;
    let mut stranger = Party::sign_in(&server, &demo.client.token, "s").await;
    let nothing: BookingId = id("b00000000000000000000000000000000");
    let real = commands(&going, &others.booking);
    let none = commands(&some_call(), &nothing);
    for (real, none) in real.into_iter().zip(none) {
        if matches!(real, Command::Bookings {} | Command::History { .. }) {
            continue;
        }
        let what = format!("{real:?}");
        let (real, none) = (stranger.ask(real).await, stranger.ask(none).await);
        assert_eq!(real, none, "{what}");
        assert_eq!(real.expect_err("refused").code, ErrorCode::NotFound, "{what}");
    }
    assert!(stranger.history().await.is_empty());
    assert_eq!(stranger.bookings().await.len(), 1, "the own one");
    hang_up(&mut client, &mut provider, &going).await;
}
