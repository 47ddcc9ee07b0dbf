//! How booking calls of older apps end, and what is refused.

use super::*;

#[tokio::test]
async fn rejected_call_says_so_to_the_caller_and_can_be_made_again() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    callee.wait_for("call:incoming").await;
    ok(&callee, "call:reject", with(&demo, json!({ "reason": "in_two_minutes" }))).await;
    let rejected = caller.wait_for("call:rejected").await;
    assert_eq!((&rejected["reason"], &rejected["because"]), (&json!("declined"), &json!("in_two_minutes")));
    let ended = callee.wait_for("call:ended").await;
    assert_eq!((&ended["reason"], &ended["endedBy"]), (&json!("declined"), &json!("you")));
    assert!(!caller.seen("call:ended") && !callee.seen("call:missed"));
    begin(&demo, &mut callee, &mut caller).await;
    negotiate(&demo, &mut callee, &mut caller, "1").await;
    end(&demo, &mut caller, &mut callee).await;
}

#[tokio::test]
async fn cancelled_call_is_a_missed_one_for_the_callee() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    callee.wait_for("call:incoming").await;
    ok(&caller, "call:end", with(&demo, json!({}))).await;
    assert_eq!(caller.wait_for("call:ended").await["reason"], "cancelled");
    assert_eq!(callee.wait_for("call:ended").await["endedBy"], "peer");
    let missed = callee.wait_for("call:missed").await;
    assert_eq!((&missed["reason"], &missed["callerName"]), (&json!("cancelled"), &json!(demo.client.name)));
    ok(&caller, "call:end", with(&demo, json!({}))).await;
    assert_eq!(refused(&caller, "call:offer", offer(&demo, "1")).await, "wrong_state");
    // One who comes later learns of it, too.
    let mut later = app(&server, &demo.provider, Options::new()).await;
    assert_eq!(later.wait_for("call:missed").await["callId"], missed["callId"]);
    assert!(!later.seen("call:incoming") && !later.seen("call:ended"));
}

#[tokio::test]
async fn callee_in_another_call_is_busy() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    let other = rest::book(&server, "stranger", demo.provider.id.as_str()).await;
    let mut stranger = app_of(&server, &server.token("stranger", "client", "1h"), Options::new()).await;
    begin(&demo, &mut caller, &mut callee).await;
    ok(&stranger, "call:start", json!({ "bookingId": other })).await;
    let rejected = stranger.wait_for("call:rejected").await;
    assert_eq!((&rejected["reason"], &rejected["endedBy"]), (&json!("busy"), &Value::Null));
    assert_eq!(callee.wait_for("call:missed").await["reason"], "busy");
    assert_eq!(refused(&callee, "call:start", json!({ "bookingId": other })).await, "in_another_call");
    negotiate(&demo, &mut caller, &mut callee, "1").await;
    end(&demo, &mut caller, &mut callee).await;
}

#[tokio::test]
async fn all_devices_ring_and_the_first_to_accept_has_the_call() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut phone) = both(&server, &demo).await;
    let mut tablet = app(&server, &demo.provider, Options::before()).await;
    let mut desk = Party::sign_in(&server, &demo.provider.token, "desk").await;
    ok(&caller, "call:start", with(&demo, json!({}))).await;
    let incoming = tablet.wait_for("call:incoming").await;
    phone.wait_for("call:incoming").await;
    ok(&phone, "call:accept", with(&demo, json!({}))).await;
    assert_eq!(tablet.wait_for("call:answered-elsewhere").await["callId"], incoming["callId"]);
    desk.view("elsewhere", |phase| matches!(phase, Phase::Elsewhere {})).await;
    assert_eq!(refused(&tablet, "call:accept", with(&demo, json!({}))).await, "on_another_device");
    assert_eq!(refused(&tablet, "call:answer", answer(&demo, "1")).await, "on_another_device");
    caller.wait_for("call:accepted").await;
    negotiate(&demo, &mut caller, &mut phone, "1").await;
    end(&demo, &mut caller, &mut phone).await;
    assert!(!tablet.seen("call:offer") && !tablet.seen("call:ice-candidate"));
}

#[tokio::test]
async fn two_who_call_each_other_at_once_are_in_one_call() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    let first = ok(&caller, "call:start", with(&demo, json!({}))).await;
    assert_eq!(first["role"], "caller");
    callee.wait_for("call:incoming").await;
    let second = ok(&callee, "call:start", with(&demo, json!({}))).await;
    assert_eq!((&second["callId"], &second["role"]), (&first["callId"], &json!("callee")));
    caller.wait_for("call:accepted").await;
    negotiate(&demo, &mut caller, &mut callee, "1").await;
    assert!(!callee.seen("call:accepted"));
    end(&demo, &mut callee, &mut caller).await;
}

#[tokio::test]
async fn without_rights_a_booking_that_exists_and_one_that_does_not_are_the_same() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    let stranger = app_of(&server, &server.token("stranger", "client", "1h"), Options::new()).await;
    begin(&demo, &mut caller, &mut callee).await;
    for event in [
        "call:start",
        "call:ringing",
        "call:accept",
        "call:reject",
        "call:end",
        "call:offer",
        "call:answer",
        "call:ice-candidate",
        "call:mute",
        "call:reconnect",
    ] {
        let mut body = offer(&demo, "1");
        body["answer"] = answer(&demo, "1")["answer"].clone();
        body["candidate"] = ice(&demo, 1)["candidate"].clone();
        body["muted"] = json!(true);
        let theirs = stranger.emit_ack(event, body.clone()).await;
        for none in ["no-such-booking", "not even an id"] {
            body["bookingId"] = json!(none);
            assert_eq!(stranger.emit_ack(event, body.clone()).await, theirs, "{event}");
        }
        assert_eq!(theirs["error"]["code"], "not_found", "{event}");
    }
    negotiate(&demo, &mut caller, &mut callee, "1").await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_answered_with_a_sentence_and_never_with_silence() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    begin(&demo, &mut caller, &mut callee).await;
    let video = format!("{}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", sdp_text("1"));
    let video = with(&demo, json!({ "offer": { "type": "offer", "sdp": video } }));
    let broken = with(&demo, json!({ "candidate": { "candidate": "candidate:rubbish", "sdpMid": "0" } }));
    for (event, body, code) in [
        ("call:offer", video, "bad_description"),
        ("call:offer", with(&demo, json!({})), "bad_description"),
        ("call:ice-candidate", broken, "bad_candidate"),
        ("call:mute", with(&demo, json!({ "muted": "yes" })), "bad_frame"),
        ("call:end", json!({}), "bad_frame"),
        ("call:end", Value::Null, "bad_frame"),
        ("call:dance", with(&demo, json!({})), "bad_frame"),
        ("call:offer", with(&demo, json!({ "offer": "v=0", "filler": "x".repeat(70_000) })), "too_large"),
    ] {
        assert_eq!(refused(&caller, event, body.clone()).await, code, "{event}");
        caller.emit(event, body).await;
        let error = caller.wait_for("call:error").await;
        assert_eq!((&error["code"], &error["event"]), (&json!(code), &json!(event)));
    }
    caller.emit_args("call:end", Vec::new()).await;
    assert_eq!(caller.wait_for("call:error").await["code"], "bad_frame");
    for end in [Value::Null, json!(""), json!({ "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0 })] {
        ok(&caller, "call:ice-candidate", with(&demo, json!({ "candidate": end }))).await;
    }
    negotiate(&demo, &mut caller, &mut callee, "1").await;
}

#[tokio::test]
async fn too_many_events_are_refused_with_the_time_to_wait() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, _callee) = both(&server, &demo).await;
    caller.emit_many("call:end", vec![with(&demo, json!({})); 280]).await;
    loop {
        let error = caller.wait_for("call:error").await;
        if error["code"] == "rate_limited" {
            assert!(error["retryAfter"].as_u64().is_some_and(|ms| ms > 0), "{error}");
            return;
        }
        assert_eq!(error["code"], "not_found");
    }
}

#[tokio::test]
async fn link_for_one_booking_rings_for_it_alone() {
    let server = Server::dev();
    let demo = server.seed();
    let (_, token) = demo.provider.link_parts();
    let mut guest = app_of(&server, &token, Options::new()).await;
    let other = rest::book(&server, "stranger", demo.provider.id.as_str()).await;
    let stranger = app_of(&server, &server.token("stranger", "client", "1h"), Options::new()).await;
    ok(&stranger, "call:start", json!({ "bookingId": other })).await;
    assert_eq!(refused(&guest, "call:start", json!({ "bookingId": other })).await, "not_found");
    assert_eq!(refused(&guest, "call:accept", json!({ "bookingId": other })).await, "not_found");
    let client = app(&server, &demo.client, Options::new()).await;
    ok(&client, "call:start", with(&demo, json!({}))).await;
    assert_eq!(guest.wait_for("call:incoming").await["bookingId"], json!(demo.booking));
    assert!(!guest.seen("call:incoming"));
}

#[tokio::test]
async fn calls_of_older_apps_outlive_a_restart_of_the_server() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut caller, mut callee) = both(&server, &demo).await;
    begin(&demo, &mut caller, &mut callee).await;
    negotiate(&demo, &mut caller, &mut callee, "1").await;
    ok(&caller, "call:mute", with(&demo, json!({ "muted": true }))).await;
    callee.wait_for("call:peer-muted").await;
    let server = server.crash_and_restart();
    let (mut caller, mut callee) = both(&server, &demo).await;
    assert_eq!(callee.wait_for("call:peer-muted").await["muted"], true);
    // A round trip, after which all that was said at first has come.
    ok(&caller, "call:mute", with(&demo, json!({ "muted": false }))).await;
    assert_eq!(callee.wait_for("call:peer-muted").await["muted"], false);
    assert!(!caller.seen("call:accepted") && !caller.seen("call:reconnect"), "it goes on as it is");
    // One of them has lost the connection: both make another.
    ok(&callee, "call:reconnect", with(&demo, json!({}))).await;
    assert_eq!(caller.wait_for("call:reconnect").await["offers"], true);
    assert_eq!(callee.wait_for("call:reconnect").await["offers"], false);
    negotiate(&demo, &mut caller, &mut callee, "2").await;

    // Without a word of it, by another offer; and in the midst of being made.
    let server = server.crash_and_restart();
    let (mut caller, mut callee) = both(&server, &demo).await;
    caller.emit("call:offer", offer(&demo, "3")).await;
    callee.wait_for("call:reconnect").await;
    assert_eq!(callee.wait_for("call:offer").await["offer"]["sdp"], sdp_text("3"));
    ok(&callee, "call:answer", answer(&demo, "3")).await;
    caller.wait_for("call:answer").await;
    end(&demo, &mut caller, &mut callee).await;
    begin(&demo, &mut caller, &mut callee).await;
    let server = server.crash_and_restart();
    let (mut caller, mut callee) = both(&server, &demo).await;
    caller.wait_for("call:reconnect").await;
    callee.wait_for("call:reconnect").await;
    negotiate(&demo, &mut caller, &mut callee, "4").await;
    end(&demo, &mut callee, &mut caller).await;
}
