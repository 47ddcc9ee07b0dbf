//! The channel relay with `ws`, as its document has it: subscribe, join, the lower id offers, signals to one user alone.

use super::Plain;
use super::apps::{answer, candidate, metric_is, offer};
use crate::common::{Party, Server};
use bellwire_signaling::{Command, Event, RoomView};
use serde_json::{Value, json};

const ROOMS: &str = "webrtc-dashboard-rooms";
const CHAT: &str = "webrtc-dashboard-chat";
const SIGNALING: &str = "webrtc-signaling";

async fn subscribed(server: &Server) -> Plain {
    let plain = Plain::connect(&format!("ws://{}/ws", server.address)).await;
    for channel in [ROOMS, CHAT, SIGNALING] {
        plain.send(&json!({ "type": "subscribe", "channel": channel })).await;
    }
    plain
}

fn join(room: &str, user: &str) -> Value {
    let data = json!({ "roomId": room, "userId": user, "userName": user.to_uppercase() });
    json!({ "type": "user-joined-room", "channel": ROOMS, "data": data })
}

async fn joined(server: &Server, room: &str, user: &str) -> Plain {
    let mut plain = subscribed(server).await;
    plain.send(&join(room, user)).await;
    let own = plain.message().await;
    assert_eq!((&own["type"], &own["userId"]), (&json!("user-joined-room"), &json!(user)), "{own}");
    plain
}

fn signal(kind: &str, field: &str, from: &str, to: &str, value: Value) -> Value {
    let mut message = json!({ "type": kind, "channel": SIGNALING, "fromUserId": from, "toUserId": to });
    message[field] = value;
    message
}

/// All that came before the answer to a ping.
async fn until_pong(plain: &mut Plain) -> Vec<Value> {
    plain.send(&json!({ "type": "ping" })).await;
    let mut before = Vec::new();
    loop {
        let message = plain.message().await;
        if message["type"] == "pong" {
            return before;
        }
        before.push(message);
    }
}

async fn error(plain: &mut Plain, message: &Value) -> String {
    plain.send(message).await;
    let said = plain.message().await;
    assert_eq!(said["type"], "error", "{message}: {said}");
    assert!(said["message"].is_string() && said["timestamp"].is_string(), "{said}");
    said["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn both_learn_who_is_there_and_the_lower_id_offers() {
    let server = Server::dev();
    let mut abc = joined(&server, "r1", "user_abc").await;
    let mut xyz = subscribed(&server).await;
    xyz.send(&join("r1", "user_xyz")).await;
    for plain in [&mut abc, &mut xyz] {
        let told = plain.message().await;
        assert_eq!((&told["type"], &told["channel"]), (&json!("user-joined-room"), &json!(ROOMS)));
        assert_eq!((&told["userId"], &told["existingParticipants"]), (&json!("user_xyz"), &json!(["user_abc"])));
        assert_eq!(told["data"]["existingParticipants"], json!(["user_abc"]), "in data as well");
        assert_eq!(told["userName"], "USER_XYZ");
    }
    // user_abc is the lower one: it offers, with the fields in the message or in its data.
    let sent = signal("webrtc-offer", "offer", "user_abc", "user_xyz", offer("a"));
    abc.send(&sent).await;
    assert_eq!(xyz.message().await, sent);
    let data = json!({ "fromUserId": "user_xyz", "toUserId": "user_abc", "answer": answer("x"), "roomId": "r1" });
    let sent = json!({ "type": "webrtc-answer", "channel": SIGNALING, "data": data });
    xyz.send(&sent).await;
    assert_eq!(abc.message().await, sent);
    for n in 0..20 {
        abc.send(&signal("webrtc-ice", "candidate", "user_abc", "user_xyz", candidate(n))).await;
    }
    for n in 0..20 {
        assert_eq!(xyz.message().await["candidate"], candidate(n));
    }
    abc.send(&json!({ "type": "user-left-room", "channel": ROOMS, "roomId": "r1", "userId": "user_abc" })).await;
    let left = xyz.message().await;
    assert_eq!((&left["type"], &left["userId"]), (&json!("user-left-room"), &json!("user_abc")));
    xyz.terminate().await;
    metric_is(&server, "bellwire_rooms", 0.0).await;
}

#[tokio::test]
async fn signals_reach_the_named_user_alone_and_only_inside_a_room() {
    let server = Server::dev();
    let mut a = joined(&server, "r1", "a").await;
    let mut b = joined(&server, "r1", "b").await;
    let mut third = joined(&server, "r1", "third").await;
    let mut outside = joined(&server, "r2", "outside").await;
    let mut nowhere = subscribed(&server).await;
    until_pong(&mut a).await;
    until_pong(&mut b).await;
    a.send(&signal("webrtc-offer", "offer", "a", "b", offer("only b"))).await;
    assert_eq!(b.message().await["offer"], offer("only b"));
    for (kind, field) in [("webrtc-offer", "offer"), ("webrtc-answer", "answer"), ("webrtc-ice", "candidate")] {
        let across = signal(kind, field, "a", "outside", json!({}));
        let nobody = signal(kind, field, "a", "nobody", json!({}));
        let codes = (error(&mut a, &across).await, error(&mut a, &nobody).await);
        assert_eq!(codes, ("user_not_found".into(), "user_not_found".into()), "there or not: one answer");
        let mut missing = signal(kind, field, "a", "b", json!({}));
        missing.as_object_mut().expect("an object").remove("toUserId");
        assert_eq!(error(&mut a, &missing).await, "missing_to");
        let from_nowhere = signal(kind, field, "nowhere", "b", json!({}));
        assert_eq!(error(&mut nowhere, &from_nowhere).await, "not_in_room");
        let mut named = signal(kind, field, "outside", "b", json!({}));
        named["roomId"] = json!("r1");
        assert_eq!(error(&mut outside, &named).await, "not_in_room", "naming the room is not being in it");
    }
    for malformed in
        [json!("text"), json!([]), json!({ "type": 5 }), json!({ "type": "webrtc-offer" }), json!({ "no": "type" })]
    {
        error(&mut a, &malformed).await;
    }
    a.send_data(json!("no JSON")).await;
    assert_eq!(a.message().await["code"], "invalid_message");
    for other in [&mut b, &mut third, &mut outside] {
        let came = until_pong(other).await;
        assert!(came.iter().all(|message| message["channel"] == ROOMS), "{came:?}");
    }
}

#[tokio::test]
async fn nobody_speaks_in_the_name_of_another() {
    let server = Server::dev();
    let mut a = joined(&server, "r1", "a").await;
    let mut b = joined(&server, "r1", "b").await;
    let mut forger = joined(&server, "r1", "forger").await;
    let forged = [
        signal("webrtc-offer", "offer", "a", "b", offer("forged")),
        json!({ "type": "webrtc-offer", "channel": SIGNALING, "fromUserId": "a",
                "data": { "fromUserId": "forger", "toUserId": "b", "offer": offer("forged") } }),
        json!({ "type": "webrtc-offer", "channel": SIGNALING, "fromUserId": "forger",
                "data": { "fromUserId": "a", "toUserId": "b", "offer": offer("forged") } }),
        json!({ "type": "chat-message", "channel": CHAT, "userId": "a", "text": "forged" }),
        json!({ "type": "chat-message", "channel": CHAT, "fromUserId": "a",
                "data": { "fromUserId": "forger", "text": "forged" } }),
        json!({ "type": "user-joined-room", "channel": ROOMS, "roomId": "r1", "userId": "a" }),
    ];
    until_pong(&mut forger).await;
    for message in &forged {
        let code = error(&mut forger, message).await;
        assert!(["not_you", "invalid_message"].contains(&code.as_str()), "{message}: {code}");
    }
    for plain in [&mut a, &mut b] {
        let came = until_pong(plain).await;
        assert!(came.iter().all(|message| message["type"] == "user-joined-room"), "{came:?}");
    }
}

#[tokio::test]
async fn chat_reaches_the_room_and_nobody_else() {
    let server = Server::dev();
    let mut a = joined(&server, "r1", "a").await;
    let mut b = joined(&server, "r1", "b").await;
    let mut outside = joined(&server, "r2", "outside").await;
    let mut quiet = Plain::connect(&format!("ws://{}/ws", server.address)).await;
    quiet.send(&join("r1", "quiet")).await;
    until_pong(&mut quiet).await;
    until_pong(&mut a).await;
    until_pong(&mut b).await;
    let line =
        json!({ "type": "chat-message", "channel": CHAT, "roomId": "r1", "userId": "a", "text": "hello \u{1F600}" });
    a.send(&line).await;
    assert_eq!(b.message().await, line);
    assert!(until_pong(&mut a).await.is_empty(), "no echo");
    assert!(until_pong(&mut outside).await.is_empty());
    assert!(until_pong(&mut quiet).await.is_empty(), "who is not subscribed is told nothing");
    let unknown = json!({ "type": "subscribe", "channel": "secrets" });
    assert_eq!(error(&mut a, &unknown).await, "unknown_channel");
}

#[tokio::test]
async fn tokens_say_who_it_is_and_guests_are_the_operators_choice() {
    let server = Server::start(&["--dev", "--older", "channels"]);
    let token = server.token("ana", "client", "1h").reveal().to_owned();
    let mut ana = subscribed(&server).await;
    ana.send(&json!({ "type": "auth", "token": token })).await;
    let said = ana.message().await;
    assert_eq!((&said["type"], &said["userId"]), (&json!("authenticated"), &json!("ana")));
    assert_eq!(error(&mut ana, &join("r1", "ben")).await, "not_you");
    ana.send(&join("r1", "ana")).await;
    assert_eq!(ana.message().await["userId"], "ana");
    let mut bad = subscribed(&server).await;
    assert_eq!(error(&mut bad, &json!({ "type": "auth", "token": "x.y.z" })).await, "unauthenticated");

    let strict = Server::start(&["--older", "channels"]);
    let mut guest = subscribed(&strict).await;
    assert_eq!(error(&mut guest, &join("r1", "guest")).await, "unauthenticated");
    let url = format!("ws://{}/ws", strict.address);
    let mut refused = Plain::open(&url, json!({ "Authorization": "Bearer x.y.z" }), &[]).await;
    assert_eq!(refused.wait_for("refused").await, 401);
}

#[tokio::test]
async fn native_app_is_in_the_room_beside_them() {
    let server = Server::dev();
    let mut old = joined(&server, "r1", "user_abc").await;
    let mut native = Party::sign_in(&server, &server.token("ana", "client", "1h"), "d").await;
    let room: bellwire_signaling::RoomId = crate::common::party::id("r1");
    native.ok(Command::EnterRoom { room: room.clone() }).await;
    let pick = |event: &Event| match event {
        Event::Room { view } if view.members.len() == 1 => Some(RoomView::clone(view)),
        _ => None,
    };
    let view = native.event("the room", pick).await;
    let told = old.message().await;
    let user = told["userId"].as_str().expect("a user id").to_owned();
    assert_ne!(user, "ana", "a user id is not told to apps of another system");
    let old_offers = *"user_abc" < *user;
    assert_eq!(view.members[0].offers, !old_offers, "the rule of the older app holds for both");
    old.send(&signal("webrtc-offer", "offer", "user_abc", &user, json!({ "type": "offer", "sdp": "v=0\r\n" }))).await;
    if old_offers {
        let pick = |event: &Event| matches!(event, Event::DescriptionFrom { .. }).then_some(());
        native.event("the offer", pick).await;
    }
}
