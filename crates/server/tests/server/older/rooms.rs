//! Multi-peer rooms, as their document lists them: each event, each error, and what it promises of isolation and clean-up.

use super::apps::{answer, app, auth, candidate, kinds, metric, metric_is, offer};
use super::{Client, Options, Plain};
use crate::common::call::sdp_text;
use crate::common::party::id;
use crate::common::{Party, Server, rest};
use bellwire_signaling::{Candidate, CandidateLine, Command, DescriptionKind, Event, Handle, RoomId, RoomView, Sdp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn join(app: &mut Client, room: &str) -> Value {
    app.emit("webrtc:join-room", json!({ "callRoomId": room })).await;
    app.wait_for("webrtc:room-joined").await
}

/// Two of these people in a room.
async fn two(server: &Server, room: &str, options: &Options) -> (Client, Client) {
    let mut ana = app(server, "ana", options.clone()).await;
    let mut ben = app(server, "ben", options.clone()).await;
    join(&mut ana, room).await;
    join(&mut ben, room).await;
    ana.wait_for("webrtc:participant-joined").await;
    (ana, ben)
}

/// The error that answers this, without what depends on the time.
async fn error(app: &mut Client, event: &str, message: Value) -> Value {
    app.emit(event, message).await;
    let mut said = app.wait_for("webrtc:signaling-error").await;
    let timestamp = said.as_object_mut().expect("an object").remove("timestamp");
    assert!(timestamp.is_some_and(|timestamp| timestamp.is_string()), "{said}");
    assert!(said["error"].is_string() && said["details"].is_object(), "{said}");
    said
}

fn to(room: &str, target: &str, field: &str, value: Value) -> Value {
    let mut message = json!({ "callRoomId": room, "targetSocketId": target });
    message[field] = value;
    message
}

#[tokio::test]
async fn participants_join_with_metadata_signal_and_leave() {
    let server = Server::dev();
    for options in kinds() {
        let mut ana = app(&server, "ana", options.clone()).await;
        let mut ben = app(&server, "ben", options).await;
        let (ana_id, ben_id) = (ana.id().await, ben.id().await);
        let wish = json!({ "callRoomId": "call_123", "callType": "video", "metadata": { "groupId": "group_456" } });
        ana.emit("webrtc:join-room", wish).await;
        let alone = ana.wait_for("webrtc:room-joined").await;
        assert_eq!((&alone["participantCount"], &alone["existingParticipants"]), (&json!(1), &json!([])));
        let seen = join(&mut ben, "call_123").await;
        assert_eq!(seen["participantCount"], 2);
        assert_eq!(seen["existingParticipants"][0]["socketId"], json!(ana_id));
        assert_eq!(seen["existingParticipants"][0]["userId"], "ana");
        let metadata = &seen["metadata"];
        assert_eq!((&metadata["callType"], &metadata["groupId"]), (&json!("video"), &json!("group_456")));
        assert!(metadata["createdAt"].is_string() && metadata["createdBy"] == json!(ana_id), "{metadata}");
        let joined = ana.wait_for("webrtc:participant-joined").await;
        assert_eq!((&joined["callRoomId"], &joined["participant"]["socketId"]), (&json!("call_123"), &json!(ben_id)));

        ben.emit("webrtc:offer", to("call_123", &ana_id, "offer", offer("b"))).await;
        let heard = ana.wait_for("webrtc:offer").await;
        let expected =
            json!({ "callRoomId": "call_123", "fromSocketId": ben_id, "fromUserId": "ben", "offer": offer("b") });
        assert_eq!(heard, expected);
        ana.emit("webrtc:answer", to("call_123", &ben_id, "answer", answer("a"))).await;
        let heard = ben.wait_for("webrtc:answer").await;
        assert_eq!((&heard["answer"], &heard["fromSocketId"]), (&answer("a"), &json!(ana_id)));
        let mut targeted = to("call_123", &ben_id, "candidate", candidate(1));
        targeted["sdpMid"] = json!("0");
        targeted["sdpMLineIndex"] = json!(0);
        ana.emit("webrtc:ice-candidate", targeted).await;
        let heard = ben.wait_for("webrtc:ice-candidate").await;
        assert_eq!(
            (&heard["candidate"], &heard["sdpMid"], &heard["sdpMLineIndex"]),
            (&candidate(1), &json!("0"), &json!(0))
        );

        ben.emit("webrtc:leave-room", json!({ "callRoomId": "call_123" })).await;
        assert_eq!(ben.wait_for("webrtc:room-left").await["callRoomId"], "call_123");
        let left = ana.wait_for("webrtc:participant-left").await;
        assert_eq!((&left["participant"]["socketId"], &left["participant"]["userId"]), (&json!(ben_id), &json!("ben")));
        ana.disconnect().await;
        ben.disconnect().await;
        metric_is(&server, "bellwire_rooms", 0.0).await;
    }
}

#[tokio::test]
async fn candidate_without_a_target_goes_to_all_others_and_a_targeted_one_to_one() {
    let server = Server::dev();
    let (mut ana, mut ben) = two(&server, "r", &Options::new()).await;
    let mut cleo = app(&server, "cleo", Options::before()).await;
    join(&mut cleo, "r").await;
    ana.emit("webrtc:ice-candidate", json!({ "callRoomId": "r", "candidate": candidate(1) })).await;
    ana.emit("webrtc:ice-candidate", to("r", &cleo.id().await, "candidate", candidate(2))).await;
    ana.emit("webrtc:ice-candidate", json!({ "callRoomId": "r", "candidate": candidate(3) })).await;
    for (app, expected) in [(&mut ben, vec![1, 3]), (&mut cleo, vec![1, 2, 3])] {
        for n in expected {
            assert_eq!(app.wait_for("webrtc:ice-candidate").await["candidate"], candidate(n));
        }
    }
    assert!(!ana.seen("webrtc:ice-candidate"), "no echo");
}

#[tokio::test]
async fn each_fault_is_answered_with_its_details() {
    let server = Server::dev();
    for options in kinds() {
        let (mut ana, ben) = two(&server, "r", &options).await;
        let mut outside = app(&server, "outside", options).await;
        let (ana_id, ben_id, outside_id) = (ana.id().await, ben.id().await, outside.id().await);
        for (event, field) in [("offer", "offer"), ("answer", "answer"), ("ice-candidate", "candidate")] {
            let event = format!("webrtc:{event}");
            let said = error(&mut outside, &event, to("r", &ana_id, field, json!({}))).await;
            assert_eq!(
                (&said["error"], &said["details"]["code"]),
                (&json!("Room not found"), &json!("room_not_found"))
            );
            assert_eq!((&said["details"]["callRoomId"], &said["details"]["event"]), (&json!("r"), &json!(event)));
            for target in [outside_id.as_str(), "nobody", "no id at all", &ana_id] {
                let said = error(&mut ana, &event, to("r", target, field, json!({}))).await;
                assert_eq!(said["error"], "Participant not found", "{target}: {said}");
                assert_eq!(said["details"]["targetSocketId"], target);
            }
            for malformed in
                [json!("text"), json!(null), json!({}), json!({ "callRoomId": 5 }), to("r", &ben_id, "other", json!(1))]
            {
                assert_eq!(error(&mut ana, &event, malformed).await["error"], "Invalid message");
            }
        }
        let untargeted = json!({ "callRoomId": "r", "offer": offer("x") });
        assert_eq!(error(&mut ana, "webrtc:offer", untargeted).await["error"], "Invalid message");
        let unknown = error(&mut ana, "webrtc:dance", json!({ "callRoomId": "r" })).await;
        assert_eq!(unknown["details"]["code"], "unknown_event");
        let refused = ana.emit_ack("webrtc:leave-room", json!({ "callRoomId": "elsewhere" })).await;
        assert_eq!((&refused["ok"], &refused["error"]), (&json!(false), &json!("Room not found")));
        for app in [ana, ben, outside] {
            app.disconnect().await;
        }
    }
    let mut guest = Client::connect(&server.address, Options::new()).await;
    let said = error(&mut guest, "webrtc:join-room", json!({ "callRoomId": "r" })).await;
    assert_eq!(
        (&said["error"], &said["details"]["code"]),
        (&json!("Authentication required"), &json!("unauthenticated"))
    );
}

#[tokio::test]
async fn room_without_rights_is_no_other_than_one_that_is_not_there() {
    let server = Server::dev();
    let wish = json!({ "topic": "t", "people": [{ "user": "host", "name": "Host", "host": true }] });
    let (status, made) = rest::answer(rest::request(&server, Method::POST, "/v1/rooms").json(&wish)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let unlisted = made["room"].as_str().expect("an id").to_owned();
    let mut host = app(&server, "host", Options::new()).await;
    join(&mut host, &unlisted).await;
    let mut eve = app(&server, "eve", Options::before()).await;

    // Locked while she is outside, and one that she was removed from.
    join(&mut host, "locked").await;
    host.emit("webrtc:lock-room", json!({ "callRoomId": "locked", "locked": true })).await;
    assert_eq!(host.wait_for("webrtc:room-updated").await["locked"], true);
    join(&mut host, "removed").await;
    join(&mut eve, "removed").await;
    let removal = json!({ "callRoomId": "removed", "targetSocketId": eve.id().await });
    assert_eq!(host.emit_ack("webrtc:remove-participant", removal).await["ok"], true);
    assert_eq!(eve.wait_for("webrtc:room-left").await["callRoomId"], "removed");

    let host_id = host.id().await;
    let events = [
        ("offer", "offer"),
        ("answer", "answer"),
        ("ice-candidate", "candidate"),
        ("leave-room", "none"),
        ("lock-room", "locked"),
    ];
    for (event, field) in events {
        let event = format!("webrtc:{event}");
        let mut answers = Vec::new();
        for room in ["not-there", &unlisted, "locked", "removed"] {
            let said = error(&mut eve, &event, to(room, &host_id, field, json!(true))).await;
            answers.push(said.to_string().replace(room, "ROOM"));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{event}: {answers:#?}");
    }
    // To join one that is not there would open it: the same is compared of a client that may not open rooms there.
    let mut answers = Vec::new();
    for room in [&unlisted, "locked", "removed"] {
        let said = error(&mut eve, "webrtc:join-room", json!({ "callRoomId": room })).await;
        answers.push(said.to_string().replace(room, "ROOM"));
    }
    let said = error(&mut eve, "webrtc:leave-room", json!({ "callRoomId": "not-there" })).await;
    answers.push(said.to_string().replace("not-there", "ROOM").replace("leave-room", "join-room"));
    assert!(
        answers.iter().all(|answer| answer.replace("\"targetSocketId\":null,", "")
            == answers[0].replace("\"targetSocketId\":null,", "")),
        "{answers:#?}"
    );
    assert!(!eve.seen("webrtc:offer") && !host.seen("webrtc:offer"));
}

#[tokio::test]
async fn only_the_host_locks_and_removes() {
    let server = Server::dev();
    let (mut ana, mut ben) = two(&server, "r", &Options::new()).await;
    let (ana_id, ben_id) = (ana.id().await, ben.id().await);
    for (event, message) in [
        ("webrtc:lock-room", json!({ "callRoomId": "r", "locked": true })),
        ("webrtc:remove-participant", json!({ "callRoomId": "r", "targetSocketId": ana_id })),
    ] {
        assert_eq!(error(&mut ben, event, message).await["details"]["code"], "not_host");
    }
    ana.emit("webrtc:lock-room", json!({ "callRoomId": "r", "locked": true })).await;
    assert_eq!(ben.wait_for("webrtc:room-updated").await["locked"], true);
    let mut late = app(&server, "late", Options::before()).await;
    error(&mut late, "webrtc:join-room", json!({ "callRoomId": "r" })).await;
    ana.emit("webrtc:lock-room", json!({ "callRoomId": "r", "locked": false })).await;
    ben.wait_for("webrtc:room-updated").await;
    join(&mut late, "r").await;
    ana.emit("webrtc:remove-participant", json!({ "callRoomId": "r", "targetSocketId": ben_id })).await;
    ben.wait_for("webrtc:room-left").await;
    error(&mut ben, "webrtc:join-room", json!({ "callRoomId": "r" })).await;
    loop {
        let left = late.wait_for("webrtc:participant-left").await;
        if left["participant"]["socketId"] == json!(ben_id) {
            break;
        }
    }
    assert!(!ana.seen("webrtc:room-left"));
}

#[tokio::test]
async fn receiver_that_comes_back_gets_what_it_missed_in_order() {
    let server = Server::dev();
    for options in [Options::new().websocket(), Options::new().polling()] {
        let (ana, mut ben) = two(&server, "r", &options).await;
        let (ana_id, ben_id) = (ana.id().await, ben.id().await);
        ben.reconnection(false).await;
        ben.kill_transport().await;
        ben.wait_for("disconnect").await;
        ana.emit_ack("webrtc:offer", to("r", &ben_id, "offer", offer("a"))).await;
        for n in 0..100 {
            ana.emit("webrtc:ice-candidate", to("r", &ben_id, "candidate", candidate(n))).await;
        }
        assert_eq!(ana.emit_ack("webrtc:offer", to("r", &ben_id, "offer", offer("last"))).await["ok"], true);
        ben.reconnection(true).await;
        assert_eq!(ben.connect_again(None).await, ben_id);
        assert!(ben.recovered().await);
        assert_eq!(ben.wait_for("webrtc:offer").await["offer"], offer("a"));
        for n in 0..100 {
            assert_eq!(ben.wait_for("webrtc:ice-candidate").await["candidate"], candidate(n));
        }
        assert_eq!(ben.wait_for("webrtc:offer").await["offer"], offer("last"));
        let mut ana = ana;
        ben.emit("webrtc:answer", to("r", &ana_id, "answer", answer("b"))).await;
        ana.wait_for("webrtc:answer").await;
        assert!(!ana.seen("webrtc:participant-left"), "the seat was kept");
        ana.disconnect().await;
        ben.disconnect().await;
        metric_is(&server, "bellwire_rooms", 0.0).await;
    }
}

#[tokio::test]
async fn client_of_4_5_that_comes_back_takes_its_seat_again() {
    let server = Server::dev();
    let (mut ana, mut ben) = two(&server, "r", &Options::before().websocket()).await;
    let old = ben.id().await;
    ben.kill_transport().await;
    let new = ben.reconnected().await;
    assert_ne!(new, old);
    let seen = join(&mut ben, "r").await;
    assert_eq!(seen["participantCount"], 2, "the old seat is replaced: {seen}");
    assert_eq!(ana.wait_for("webrtc:participant-left").await["participant"]["socketId"], json!(old));
    assert_eq!(ana.wait_for("webrtc:participant-joined").await["participant"]["socketId"], json!(new));
    ana.emit("webrtc:offer", to("r", &new, "offer", offer("a"))).await;
    assert_eq!(ben.wait_for("webrtc:offer").await["offer"], offer("a"));
}

#[tokio::test]
async fn five_thousand_candidates_in_one_stream_arrive_in_order_and_are_counted() {
    let server = Server::dev();
    for options in [Options::new().websocket(), Options::before().polling()] {
        let (ana, mut ben) = two(&server, "r", &options).await;
        let before = metric(&server, "bellwire_signals_relayed_total").await;
        let ben_id = ben.id().await;
        let all = (0..5_000).map(|n| to("r", &ben_id, "candidate", candidate(n))).collect();
        ana.emit_many("webrtc:ice-candidate", all).await;
        for n in 0..5_000 {
            assert_eq!(ben.wait_for("webrtc:ice-candidate").await["candidate"], candidate(n));
        }
        metric_is(&server, "bellwire_signals_relayed_total", before + 5_000.0).await;
        ana.disconnect().await;
        ben.disconnect().await;
        metric_is(&server, "bellwire_rooms", 0.0).await;
    }
    assert_eq!(metric(&server, "bellwire_rooms_opened_total").await, 2.0);
    assert_eq!(metric(&server, "bellwire_rooms_closed_total").await, 2.0);
    assert_eq!(metric(&server, "bellwire_room_joins_total").await, 4.0);
}

#[tokio::test]
async fn socket_id_of_a_participant_opens_nothing() {
    let server = Server::dev();
    let http = reqwest::Client::new();
    for options in [Options::new().polling(), Options::new().websocket()] {
        let (ana, mut ben) = two(&server, "r", &options).await;
        let (ana_id, ben_id) = (ana.id().await, ben.id().await);
        let url = server.url(&format!("/socket.io/?EIO=4&transport=polling&sid={ana_id}"));
        assert_eq!(http.get(&url).send().await.expect("an answer").status(), 400);
        let forged = format!("42{}", json!(["webrtc:offer", to("r", &ben_id, "offer", offer("forged"))]));
        assert_eq!(http.post(&url).body(forged).send().await.expect("an answer").status(), 400);
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={ana_id}", server.address);
        let mut plain = Plain::open(&url, json!({}), &[]).await;
        assert_eq!(plain.wait_for("refused").await, 400);
        let claim = json!({ "pid": ana_id, "offset": "0", "token": auth(&server, "eve")["token"] });
        let eve = Client::connect(&server.address, Options::new().auth(claim)).await;
        assert_ne!(eve.id().await, ana_id);
        ana.emit("webrtc:offer", to("r", &ben_id, "offer", offer("real"))).await;
        assert_eq!(ben.wait_for("webrtc:offer").await["offer"], offer("real"), "nothing forged came before");
        ana.disconnect().await;
        ben.disconnect().await;
    }
}

#[tokio::test]
async fn app_and_native_device_in_one_room_exchange_descriptions_and_candidates() {
    let server = Server::dev();
    let mut old = app(&server, "ana", Options::new()).await;
    join(&mut old, "r").await;
    let mut native = Party::sign_in(&server, &server.token("ben", "client", "1h"), "d").await;
    let room: RoomId = id("r");
    native.ok(Command::EnterRoom { room: room.clone() }).await;
    let pick = |event: &Event| match event {
        Event::Room { view } if view.members.len() == 1 => Some(RoomView::clone(view)),
        _ => None,
    };
    let view = native.event("the room", pick).await;
    let member: Handle = view.members[0].member.clone();
    assert!(view.members[0].offers, "who came later offers, as these apps have it");
    let joined = old.wait_for("webrtc:participant-joined").await;
    assert_eq!(joined["participant"]["socketId"], json!(view.you));
    let sdp = Sdp::new(sdp_text("native")).expect("a description");
    native
        .ok(Command::DescribeTo {
            room: room.clone(),
            member: member.clone(),
            generation: 1,
            kind: DescriptionKind::Offer,
            sdp,
        })
        .await;
    let heard = old.wait_for("webrtc:offer").await;
    assert_eq!(heard["offer"], json!({ "type": "offer", "sdp": sdp_text("native") }));
    assert_eq!(heard["fromSocketId"], json!(view.you));
    let you = view.you.as_str();
    old.emit("webrtc:answer", to("r", you, "answer", json!({ "type": "answer", "sdp": sdp_text("old") }))).await;
    let pick = |event: &Event| match event {
        Event::DescriptionFrom { member, generation, kind, sdp, .. } => {
            Some((member.clone(), *generation, *kind, sdp.clone()))
        }
        _ => None,
    };
    let (from, generation, kind, sdp) = native.event("the answer", pick).await;
    assert_eq!((from, generation, kind), (member.clone(), 1, DescriptionKind::Answer));
    assert_eq!(sdp, Sdp::new(sdp_text("old")).expect("a description"));
    old.emit("webrtc:ice-candidate", json!({ "callRoomId": "r", "candidate": candidate(7) })).await;
    let pick = |event: &Event| match event {
        Event::CandidatesFrom { candidates, .. } => candidates.first().cloned(),
        _ => None,
    };
    let heard: Candidate = native.event("the candidate", pick).await;
    assert_eq!(json!(heard)["candidate"], candidate(7)["candidate"]);
    let line = CandidateLine::new("candidate:1 1 udp 2130706431 192.0.2.7 4000 typ host").expect("a candidate");
    let sent = Candidate { candidate: line, sdp_mid: Some("0".into()), sdp_m_line_index: 0 };
    native.ok(Command::CandidatesTo { room, member, generation: 1, candidates: vec![sent.clone()], done: false }).await;
    let heard = old.wait_for("webrtc:ice-candidate").await;
    assert_eq!((&heard["candidate"], &heard["sdpMid"]), (&json!(sent), &json!("0")));
}

#[tokio::test]
async fn chat_app_is_matched_with_a_native_searcher() {
    let server = Server::dev();
    let mut native = Party::sign_in(&server, &server.token("ben", "provider", "1h"), "d").await;
    native.ok(Command::Search {}).await;
    let mut chat = app(&server, "ana", Options::new().namespace("/random-chat")).await;
    chat.emit_args("find-partner", vec![]).await;
    let found = chat.wait_for("match-found").await;
    let pick = |event: &Event| match event {
        Event::Room { view } if view.members.len() == 1 => Some(RoomView::clone(view)),
        _ => None,
    };
    let view = native.event("the match's room", pick).await;
    assert_eq!(view.members[0].offers, found["role"] == "receiver", "one of two offers");
    let (room, member) = (view.room.clone(), view.members[0].member.clone());
    chat.emit("signal-offer", json!({ "offer": { "type": "offer", "sdp": sdp_text("chat") } })).await;
    chat.wait_for("signal-offer-ack").await;
    let pick =
        |event: &Event| matches!(event, Event::DescriptionFrom { kind: DescriptionKind::Offer, .. }).then_some(());
    native.event("the offer", pick).await;
    let sdp = Sdp::new(sdp_text("native")).expect("a description");
    native.ok(Command::DescribeTo { room, member, generation: 1, kind: DescriptionKind::Answer, sdp }).await;
    assert_eq!(chat.wait_for("signal-answer").await["answer"]["sdp"], sdp_text("native"));
    chat.emit_args("leave-pool", vec![]).await;
    let pick = |event: &Event| matches!(event, Event::RoomOver { .. }).then_some(());
    native.event("its end", pick).await;
}
