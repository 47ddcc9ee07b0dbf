//! Booking calls as the older apps make them, with each other and with native apps: the flow that their document draws,
//! and each of the faults it lists.

mod endings;

use super::{Client, Options};
use crate::common::call::{attempt, candidate, sdp, sdp_text};
use crate::common::{Demo, DemoPerson, Party, Server, rest};
use bellwire_signaling::*;
use serde_json::{Value, json};

async fn app(server: &Server, person: &DemoPerson, options: Options) -> Client {
    app_of(server, &person.token, options).await
}

async fn app_of(server: &Server, token: &Token, options: Options) -> Client {
    Client::connect(&server.address, options.auth(json!({ "token": token.reveal() }))).await
}

async fn both(server: &Server, demo: &Demo) -> (Client, Client) {
    let client = app(server, &demo.client, Options::new()).await;
    let provider = app(server, &demo.provider, Options::new().websocket()).await;
    (client, provider)
}

fn with(demo: &Demo, mut body: Value) -> Value {
    body["bookingId"] = json!(demo.booking);
    body
}

fn offer(demo: &Demo, mark: &str) -> Value {
    with(demo, json!({ "offer": { "type": "offer", "sdp": sdp_text(mark) }, "to": "whoever" }))
}

fn answer(demo: &Demo, mark: &str) -> Value {
    with(demo, json!({ "answer": { "type": "answer", "sdp": sdp_text(mark) }, "to": "whoever" }))
}

fn ice(demo: &Demo, port: u16) -> Value {
    let line = format!("candidate:1 1 udp 2130706431 192.0.2.7 {port} typ host");
    with(demo, json!({ "candidate": { "candidate": line, "sdpMid": "0", "sdpMLineIndex": 0 }, "to": "whoever" }))
}

fn port_of(event: &Value) -> u16 {
    let line = event["candidate"]["candidate"].as_str().expect("a candidate");
    line.split(' ').nth(5).and_then(|port| port.parse().ok()).expect("a port")
}

async fn ok(app: &Client, event: &str, body: Value) -> Value {
    let answer = app.emit_ack(event, body).await;
    assert_eq!(answer["ok"], true, "{event}: {answer}");
    answer
}

async fn refused(app: &Client, event: &str, body: Value) -> String {
    let answer = app.emit_ack(event, body).await;
    assert_eq!(answer["ok"], false, "{event}: {answer}");
    assert!(answer["error"]["message"].is_string(), "{answer}");
    answer["error"]["code"].as_str().expect("a code").to_owned()
}

/// From the button to the accept; the caller then owes an offer.
async fn begin(demo: &Demo, caller: &mut Client, callee: &mut Client) -> Value {
    let started = ok(caller, "call:start", with(demo, json!({}))).await;
    let incoming = callee.wait_for("call:incoming").await;
    assert_eq!((&incoming["callId"], &incoming["bookingId"]), (&started["callId"], &json!(demo.booking)));
    assert_eq!(caller.wait_for("call:ringing").await["callId"], started["callId"]);
    ok(callee, "call:accept", with(demo, json!({}))).await;
    assert_eq!(caller.wait_for("call:accepted").await["callId"], started["callId"]);
    started["callId"].clone()
}

/// The offer, the answer and candidates both ways.
async fn negotiate(demo: &Demo, caller: &mut Client, callee: &mut Client, mark: &str) {
    ok(caller, "call:offer", offer(demo, mark)).await;
    let heard = callee.wait_for("call:offer").await;
    assert_eq!(heard["offer"], json!({ "type": "offer", "sdp": sdp_text(mark) }));
    caller.emit("call:ice-candidate", ice(demo, 1)).await;
    ok(callee, "call:answer", answer(demo, mark)).await;
    callee.emit("call:ice-candidate", ice(demo, 2)).await;
    assert_eq!(caller.wait_for("call:answer").await["answer"]["sdp"], sdp_text(mark));
    assert_eq!(port_of(&callee.wait_for("call:ice-candidate").await), 1);
    assert_eq!(port_of(&caller.wait_for("call:ice-candidate").await), 2);
}

async fn end(demo: &Demo, by: &mut Client, other: &mut Client) {
    ok(by, "call:end", with(demo, json!({}))).await;
    for (app, who) in [(by, "you"), (other, "peer")] {
        let ended = app.wait_for("call:ended").await;
        assert_eq!((&ended["reason"], &ended["endedBy"]), (&json!("hung_up"), &json!(who)));
        assert!(ended["duration"].is_u64(), "{ended}");
    }
}

async fn history(server: &Server, person: &DemoPerson) -> Vec<CallRecord> {
    Party::sign_in(server, &person.token, "reader").await.history().await
}

#[tokio::test]
async fn two_older_apps_call_each_other_by_either_version_and_transport() {
    let server = Server::dev();
    let demo = server.seed();
    let ways = [
        (Options::new(), Options::new()),
        (Options::new().polling(), Options::before().websocket()),
        (Options::before().polling(), Options::new().websocket()),
    ];
    for (n, (one, other)) in ways.into_iter().enumerate() {
        let mut caller = app(&server, &demo.client, one).await;
        let mut callee = app(&server, &demo.provider, other).await;
        begin(&demo, &mut caller, &mut callee).await;
        assert!(!callee.seen("call:accepted"), "only a caller makes an offer");
        negotiate(&demo, &mut caller, &mut callee, "1").await;
        ok(&caller, "call:mute", with(&demo, json!({ "muted": true }))).await;
        assert_eq!(callee.wait_for("call:peer-muted").await["muted"], true);
        match n % 2 {
            0 => end(&demo, &mut caller, &mut callee).await,
            _ => end(&demo, &mut callee, &mut caller).await,
        }
        let records = history(&server, &demo.client).await;
        assert_eq!(records.len(), n + 1);
        assert!(records[0].connected_at.is_some(), "both heard each other");
        assert!(!caller.seen("call:error") && !callee.seen("call:error"));
        caller.disconnect().await;
        callee.disconnect().await;
    }
}

#[tokio::test]
async fn ring_says_who_calls_and_of_what_and_gives_no_user_away() {
    let server = Server::dev();
    let demo = server.seed();
    let (caller, mut callee) = both(&server, &demo).await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    let incoming = callee.wait_for("call:incoming").await;
    assert_eq!(incoming["callerName"], demo.client.name);
    assert!(incoming["topic"].is_string() && incoming["startedAt"].is_u64(), "{incoming}");
    let from = incoming["from"].as_str().expect("a handle");
    assert!(from != demo.client.id.as_str() && from != caller.id().await, "{from}");
}

#[tokio::test]
async fn older_caller_and_native_callee_connect() {
    let server = Server::dev();
    let demo = server.seed();
    let mut caller = app(&server, &demo.client, Options::new()).await;
    let mut callee = Party::sign_in(&server, &demo.provider.token, "desk").await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    let call = callee.view("an invite", |phase| matches!(phase, Phase::Inviting { .. })).await.call;
    assert!(!caller.seen("call:ringing"), "nobody said that it rings");
    callee.ok(Command::Ringing { call: call.clone() }).await;
    caller.wait_for("call:ringing").await;
    callee.ok(Command::Accept { call: call.clone() }).await;
    caller.wait_for("call:accepted").await;
    // The offer waits until the callee's connection stands.
    caller.emit("call:offer", offer(&demo, "7")).await;
    caller.emit("call:ice-candidate", ice(&demo, 70)).await;
    answer_natively(&mut callee, &call, 1, "7", 70).await;
    assert_eq!(caller.wait_for("call:answer").await["answer"]["sdp"], sdp_text("7"));
    let early = caller.wait_for("call:ice-candidate").await;
    assert_eq!(early["candidate"], serde_json::to_value(candidate("192.0.2.8")).expect("a candidate"));
    callee.ok(Command::Hearing { call: call.clone(), generation: 1, hearing: true }).await;
    callee.view("connected", |phase| matches!(phase, Phase::Connected { .. })).await;

    // The native side loses its connection: both make another.
    callee.ok(Command::Renew { call: call.clone(), generation: 1 }).await;
    assert_eq!(caller.wait_for("call:reconnect").await["offers"], true);
    caller.emit("call:ice-candidate", ice(&demo, 71)).await;
    caller.emit("call:offer", offer(&demo, "8")).await;
    caller.emit("call:ice-candidate", ice(&demo, 72)).await;
    answer_natively(&mut callee, &call, 2, "8", 72).await;
    assert_eq!(caller.wait_for("call:answer").await["answer"]["sdp"], sdp_text("8"));

    // The older app begins anew by itself: an offer that is another one.
    caller.emit("call:offer", offer(&demo, "9")).await;
    caller.emit("call:ice-candidate", ice(&demo, 73)).await;
    answer_natively(&mut callee, &call, 3, "9", 73).await;
    assert_eq!(caller.wait_for("call:answer").await["answer"]["sdp"], sdp_text("9"));
    assert!(!caller.seen("call:reconnect"), "it has its new connection already");

    callee.ok(Command::HangUp { call: call.clone() }).await;
    let ended = caller.wait_for("call:ended").await;
    assert_eq!((&ended["reason"], &ended["endedBy"]), (&json!("hung_up"), &json!("peer")));
    assert!(!caller.seen("call:error"));
}

/// Makes the connection of the generation, sends a candidate ahead of the answer, and finds the offer marked so, then
/// the candidate of this port.
async fn answer_natively(callee: &mut Party, call: &CallId, generation: u32, mark: &str, port: u16) {
    callee
        .view("its turn", |phase| match phase {
            Phase::Connecting { connection }
            | Phase::Connected { connection, .. }
            | Phase::Reconnecting { connection, .. } => connection.generation == generation && !connection.go,
            _ => false,
        })
        .await;
    callee.ok(Command::Ready { call: call.clone(), generation }).await;
    let offer = callee.event("the offer", |event| match event {
        Event::Description { generation: of, kind: DescriptionKind::Offer, sdp, .. } => Some((*of, sdp.clone())),
        Event::Candidates { .. } => panic!("a candidate came before its description"),
        _ => None,
    });
    assert_eq!(offer.await, (generation, sdp(mark)));
    let candidates = vec![candidate("192.0.2.8")];
    callee.ok(Command::Candidates { call: call.clone(), generation, candidates, done: false }).await;
    let (kind, sdp) = (DescriptionKind::Answer, sdp(mark));
    callee.ok(Command::Describe { call: call.clone(), generation, kind, sdp }).await;
    let line = callee.event("a candidate", |event| match event {
        Event::Candidates { generation: of, candidates, .. } if *of == generation => {
            candidates.first().map(|c| c.candidate.as_str().to_owned())
        }
        _ => None,
    });
    assert!(line.await.contains(&format!(" {port} typ")));
}

#[tokio::test]
async fn native_caller_and_older_callee_connect() {
    let server = Server::dev();
    let demo = server.seed();
    let mut callee = app(&server, &demo.provider, Options::before()).await;
    let mut caller = Party::sign_in(&server, &demo.client.token, "desk").await;
    let invite = Command::Invite { booking: demo.booking.clone(), attempt: attempt() };
    let Reply::Call { call } = caller.ok(invite).await else { panic!("a call") };
    assert_eq!(callee.wait_for("call:incoming").await["callId"], json!(call));
    caller.view("ringing", |phase| matches!(phase, Phase::Ringing { .. })).await;
    ok(&callee, "call:accept", with(&demo, json!({}))).await;
    caller
        .view("its turn", |phase| match phase {
            Phase::Connecting { connection } => connection.offers,
            _ => false,
        })
        .await;
    caller.ok(Command::Ready { call: call.clone(), generation: 1 }).await;
    // A candidate ahead of its description: the app gets it after.
    let candidates = vec![candidate("192.0.2.9")];
    caller.ok(Command::Candidates { call: call.clone(), generation: 1, candidates, done: false }).await;
    caller.view("go", |phase| matches!(phase, Phase::Connecting { connection } if connection.go)).await;
    let kind = DescriptionKind::Offer;
    caller.ok(Command::Describe { call: call.clone(), generation: 1, kind, sdp: sdp("3") }).await;
    caller.ok(Command::Candidates { call: call.clone(), generation: 1, candidates: Vec::new(), done: true }).await;
    loop {
        match callee.next().await {
            (event, args) if event == "call:offer" => break assert_eq!(args[0]["offer"]["sdp"], sdp_text("3")),
            (event, _) => assert_ne!(event, "call:ice-candidate", "before its description"),
        }
    }
    callee.wait_for("call:ice-candidate").await;
    ok(&callee, "call:answer", answer(&demo, "3")).await;
    let said = caller.event("the answer", |event| match event {
        Event::Description { kind: DescriptionKind::Answer, sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    assert_eq!(said.await, sdp("3"));
    caller.ok(Command::Hearing { call: call.clone(), generation: 1, hearing: true }).await;
    caller.view("connected", |phase| matches!(phase, Phase::Connected { .. })).await;
    ok(&callee, "call:end", with(&demo, json!({}))).await;
    assert_eq!(caller.ended(&call).await.by, Some(Side::Callee));
    assert_eq!(callee.wait_for("call:ended").await["endedBy"], "you");
}

#[tokio::test]
async fn callee_who_is_not_there_yet_finds_the_call_when_the_app_connects() {
    let server = Server::dev();
    let demo = server.seed();
    let mut caller = app(&server, &demo.client, Options::new()).await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    let mut callee = app(&server, &demo.provider, Options::new()).await;
    callee.wait_for("call:incoming").await;
    caller.wait_for("call:ringing").await;
    ok(&callee, "call:accept", with(&demo, json!({}))).await;
    caller.wait_for("call:accepted").await;
    negotiate(&demo, &mut caller, &mut callee, "2").await;
    end(&demo, &mut caller, &mut callee).await;
}

#[tokio::test]
async fn offer_and_candidates_for_a_callee_who_is_away_are_there_when_it_is_back() {
    let server = Server::dev();
    let demo = server.seed();
    // 4.5 comes back as another socket, and the newest as the same.
    for options in [Options::before().websocket(), Options::new().websocket(), Options::before().polling()] {
        let mut caller = app(&server, &demo.client, Options::new()).await;
        let mut callee = app(&server, &demo.provider, options).await;
        begin(&demo, &mut caller, &mut callee).await;
        callee.reconnection(false).await;
        callee.close_engine().await;
        ok(&caller, "call:offer", offer(&demo, "4")).await;
        ok(&caller, "call:ice-candidate", ice(&demo, 41)).await;
        ok(&caller, "call:ice-candidate", ice(&demo, 42)).await;
        callee.reconnection(true).await;
        callee.connect_again(None).await;
        assert_eq!(callee.wait_for("call:offer").await["offer"]["sdp"], sdp_text("4"));
        for port in [41, 42] {
            assert_eq!(port_of(&callee.wait_for("call:ice-candidate").await), port, "in their order");
        }
        ok(&callee, "call:answer", answer(&demo, "4")).await;
        caller.wait_for("call:answer").await;
        end(&demo, &mut callee, &mut caller).await;
        caller.disconnect().await;
        callee.disconnect().await;
    }
}

#[tokio::test]
async fn answer_for_a_caller_who_is_away_is_there_when_it_is_back() {
    let server = Server::dev();
    let demo = server.seed();
    for options in [Options::before(), Options::new()] {
        let mut caller = app(&server, &demo.client, options.websocket()).await;
        let mut callee = app(&server, &demo.provider, Options::new()).await;
        begin(&demo, &mut caller, &mut callee).await;
        ok(&caller, "call:offer", offer(&demo, "5")).await;
        callee.wait_for("call:offer").await;
        caller.reconnection(false).await;
        caller.kill_transport().await;
        ok(&callee, "call:answer", answer(&demo, "5")).await;
        callee.emit("call:ice-candidate", ice(&demo, 51)).await;
        caller.reconnection(true).await;
        caller.connect_again(None).await;
        assert_eq!(caller.wait_for("call:answer").await["answer"]["sdp"], sdp_text("5"));
        assert_eq!(port_of(&caller.wait_for("call:ice-candidate").await), 51);
        end(&demo, &mut caller, &mut callee).await;
        caller.disconnect().await;
        callee.disconnect().await;
    }
}

#[tokio::test]
async fn whom_a_message_is_for_follows_from_the_call_whatever_to_says() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    let mut stranger = app_of(&server, &server.token("stranger", "client", "1h"), Options::new()).await;
    begin(&demo, &mut caller, &mut callee).await;
    let to = [json!("stranger"), json!(stranger.id().await), Value::Null];
    let said = |mut body: Value, to: &Value| {
        body["to"] = to.clone();
        body
    };
    ok(&caller, "call:offer", said(offer(&demo, "6"), &to[0])).await;
    callee.wait_for("call:offer").await;
    ok(&callee, "call:answer", said(answer(&demo, "6"), &to[1])).await;
    caller.wait_for("call:answer").await;
    for (n, to) in to.iter().enumerate() {
        ok(&caller, "call:ice-candidate", said(ice(&demo, n as u16 + 1), to)).await;
        assert_eq!(usize::from(port_of(&callee.wait_for("call:ice-candidate").await)), n + 1);
    }
    end(&demo, &mut caller, &mut callee).await;
    // A round trip of the stranger's, after which all that was sent to it has come.
    refused(&stranger, "call:end", with(&demo, json!({}))).await;
    for event in ["call:incoming", "call:offer", "call:answer", "call:ice-candidate", "call:ended"] {
        assert!(!stranger.seen(event), "{event}");
    }
}

#[tokio::test]
async fn offer_before_the_accept_is_refused_and_nothing_is_lost() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    callee.wait_for("call:incoming").await;
    assert_eq!(refused(&caller, "call:offer", offer(&demo, "1")).await, "wrong_state");
    // Without an ack it is an event.
    caller.emit("call:offer", offer(&demo, "1")).await;
    let error = caller.wait_for("call:error").await;
    assert_eq!((&error["code"], &error["event"]), (&json!("wrong_state"), &json!("call:offer")));
    assert_eq!(error["bookingId"], json!(demo.booking));
    assert!(error["timestamp"].is_u64() && error["message"].is_string(), "{error}");
    ok(&caller, "call:ice-candidate", ice(&demo, 11)).await;
    ok(&callee, "call:accept", with(&demo, json!({}))).await;
    caller.wait_for("call:accepted").await;
    ok(&caller, "call:offer", offer(&demo, "1")).await;
    callee.wait_for("call:offer").await;
    assert_eq!(port_of(&callee.wait_for("call:ice-candidate").await), 11);
    ok(&callee, "call:answer", answer(&demo, "1")).await;
    caller.wait_for("call:answer").await;
    end(&demo, &mut caller, &mut callee).await;
}

#[tokio::test]
async fn candidates_that_come_before_their_description_follow_it_in_their_order() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    begin(&demo, &mut caller, &mut callee).await;
    for port in 1..=40 {
        caller.emit("call:ice-candidate", ice(&demo, port)).await;
    }
    ok(&caller, "call:offer", offer(&demo, "1")).await;
    callee.emit("call:ice-candidate", ice(&demo, 60)).await;
    let (first, _) = callee.next().await;
    let mut next = first;
    while next != "call:offer" {
        assert_ne!(next, "call:ice-candidate", "before its description");
        next = callee.next().await.0;
    }
    for port in 1..=40 {
        assert_eq!(port_of(&callee.wait_for("call:ice-candidate").await), port);
    }
    assert_eq!(refused(&caller, "call:answer", answer(&demo, "1")).await, "wrong_state");
    ok(&callee, "call:answer", answer(&demo, "1")).await;
    caller.wait_for("call:answer").await;
    assert_eq!(port_of(&caller.wait_for("call:ice-candidate").await), 60);
    end(&demo, &mut callee, &mut caller).await;
}
