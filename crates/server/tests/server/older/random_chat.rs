//! The random chat gateway, as its document walks through it: the handshake, the queue, the signals, quality, the ends.

use super::apps::{answer, app, candidate, kinds, metric_is, next_second, offer, someone};
use super::{Client, Options};
use crate::common::Server;
use serde_json::json;

const NAMESPACE: &str = "/random-chat";

async fn chatter(server: &Server, user: &str, options: &Options) -> Client {
    let mut app = app(server, user, options.clone().namespace(NAMESPACE)).await;
    assert_eq!(app.wait_for("connection-quality").await, json!({ "quality": "excellent" }));
    app
}

async fn pair(server: &Server, options: &Options) -> (Client, Client) {
    let mut ana = chatter(server, &someone(), options).await;
    let mut ben = chatter(server, &someone(), options).await;
    ana.emit_args("find-partner", vec![]).await;
    let waiting = ana.wait_for("waiting-for-partner").await;
    assert_eq!(waiting["queuePosition"], 1);
    assert!(waiting["timestamp"].as_u64().is_some(), "{waiting}");
    ben.emit_args("find-partner", vec![]).await;
    for (app, role) in [(&mut ana, "receiver"), (&mut ben, "initiator")] {
        let found = app.wait_for("match-found").await;
        assert_eq!(found["role"], role, "the newer one offers");
        assert!(found["partnerName"].is_string() && found["timestamp"].as_u64().is_some(), "{found}");
    }
    (ana, ben)
}

#[tokio::test]
async fn only_a_good_token_is_let_in_wherever_it_stands() {
    let server = Server::dev();
    let token = server.token("ana", "client", "1h").reveal().to_owned();
    for options in kinds() {
        let options = options.namespace(NAMESPACE);
        let bare = Client::refused(&server.address, options.clone()).await;
        assert_eq!(bare["data"]["code"], "unauthenticated", "{bare}");
        let bad = Client::refused(&server.address, options.clone().auth(json!({ "token": format!("{token}x") }))).await;
        assert_eq!(bad["data"]["code"], "unauthenticated", "{bad}");
        let header = options.header("Authorization", &format!("Bearer {token}"));
        let mut app = Client::connect(&server.address, header).await;
        app.wait_for("connection-quality").await;
        app.disconnect().await;
    }
}

#[tokio::test]
async fn two_are_matched_and_signals_are_acknowledged_and_candidates_batched() {
    let server = Server::dev();
    for options in kinds() {
        let (mut ana, mut ben) = pair(&server, &options).await;
        ben.emit("signal-offer", json!({ "offer": offer("b") })).await;
        ben.wait_for("signal-offer-ack").await;
        assert_eq!(ana.wait_for("signal-offer").await, json!({ "offer": offer("b") }));
        ana.emit("signal-answer", json!({ "answer": answer("a") })).await;
        ana.wait_for("signal-answer-ack").await;
        assert_eq!(ben.wait_for("signal-answer").await, json!({ "answer": answer("a") }));
        let seven = (0..7).map(|n| json!({ "candidate": candidate(n) })).collect();
        ben.emit_many("signal-ice-candidate", seven).await;
        // Five at once or what came in time; the rest after the delay; in order, none alone as an event of its own.
        let mut came = Vec::new();
        while came.len() < 7 {
            let batch = ana.wait_for("signal-ice-candidates-batch").await;
            let batch = batch["candidates"].as_array().expect("candidates").clone();
            assert!((1..=5).contains(&batch.len()), "{}", batch.len());
            came.extend(batch);
        }
        assert_eq!(came, (0..7).map(candidate).collect::<Vec<_>>());
        assert!(!ana.seen("signal-ice-candidate"));
        ana.disconnect().await;
        assert!(ben.wait_for("match-ended").await["reason"].is_string());
        metric_is(&server, "bellwire_matches", 0.0).await;
        ben.disconnect().await;
    }
}

#[tokio::test]
async fn searches_are_limited_and_never_doubled() {
    let server = Server::dev();
    let mut ana = chatter(&server, "ana", &Options::new()).await;
    ana.emit_args("find-partner", vec![]).await;
    ana.wait_for("waiting-for-partner").await;
    ana.emit_args("leave-pool", vec![]).await;
    ana.wait_for("left-pool").await;
    ana.emit_args("find-partner", vec![]).await;
    let limited = ana.wait_for("rate-limited").await;
    let retry_after = limited["retryAfter"].as_u64().expect("milliseconds");
    assert!((1..=1_000).contains(&retry_after) && limited["message"].is_string(), "{limited}");

    let (mut ben, mut cleo) =
        (chatter(&server, "ben", &Options::new()).await, chatter(&server, "cleo", &Options::before()).await);
    ben.emit_args("find-partner", vec![]).await;
    ben.wait_for("waiting-for-partner").await;
    let said = search_until_error(&mut ben).await;
    assert_eq!(said, "Already in queue");
    cleo.emit_args("find-partner", vec![]).await;
    cleo.wait_for("match-found").await;
    ben.wait_for("match-found").await;
    assert_eq!(search_until_error(&mut ben).await, "Already in a match");
    assert!(!ben.seen("match-found") && !ben.seen("waiting-for-partner"));
}

/// Searches again and again, as long as that is only too soon.
async fn search_until_error(app: &mut Client) -> String {
    loop {
        app.emit_ack_args("find-partner", vec![]).await;
        if app.seen("error") {
            return app.wait_for("error").await["message"].as_str().expect("a message").to_owned();
        }
        let wait = app.wait_for("rate-limited").await["retryAfter"].as_u64().expect("milliseconds");
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    }
}

#[tokio::test]
async fn heartbeats_are_answered_and_quality_is_told_when_it_changes() {
    let server = Server::dev();
    let (mut ana, mut ben) = pair(&server, &Options::before().websocket()).await;
    ben.emit("signal-offer", json!({ "offer": offer("b") })).await;
    ben.wait_for("signal-offer-ack").await;
    ben.emit_args("heartbeat", vec![]).await;
    assert_eq!(ben.wait_for("heartbeat-ack").await["quality"], "excellent");
    assert!(!ben.seen("connection-quality"), "it has not changed");
    // One that sends nothing but heartbeats is good at best.
    ana.emit_args("heartbeat", vec![]).await;
    assert_eq!(ana.wait_for("heartbeat-ack").await["quality"], "good");
    assert_eq!(ana.wait_for("connection-quality").await, json!({ "quality": "good" }));
    ana.emit("report-quality", json!({ "quality": "poor" })).await;
    assert_eq!(ana.wait_for("connection-quality").await, json!({ "quality": "poor" }));
    assert!(ben.wait_for("partner-quality-poor").await["message"].is_string());
}

#[tokio::test]
async fn skip_leave_and_block_end_the_match_and_the_same_two_do_not_meet_again() {
    let server = Server::dev();
    let (mut ana, mut ben) = pair(&server, &Options::new()).await;
    next_second().await;
    ana.emit_args("skip-partner", vec![]).await;
    assert_eq!(ben.wait_for("match-ended").await["reason"], "partner_skipped");
    ana.wait_for("waiting-for-partner").await;
    next_second().await;
    ben.emit_args("find-partner", vec![]).await;
    ben.wait_for("waiting-for-partner").await;
    let mut cleo = chatter(&server, "cleo", &Options::new()).await;
    cleo.emit_args("find-partner", vec![]).await;
    cleo.wait_for("match-found").await;
    ana.wait_for("match-found").await;
    assert!(!ben.seen("match-found"), "the oldest waits longest");
    cleo.emit_ack("report-partner", json!({ "reason": "spam" })).await;
    cleo.emit_ack_args("block-partner", vec![]).await;
    ana.wait_for("match-ended").await;
    assert!(!cleo.seen("error"));
    // Gone from the queue with its socket.
    ben.disconnect().await;
    metric_is(&server, "bellwire_searchers", 0.0).await;
    ana.emit("signal-offer", json!({ "offer": offer("late") })).await;
    assert_eq!(ana.wait_for("error").await["message"], "Not in a match");
}

#[tokio::test]
async fn app_of_the_relay_meets_one_of_the_chat_and_signals_change_their_names() {
    let server = Server::dev();
    for relay_first in [true, false] {
        let mut relay = app(&server, &someone(), Options::new()).await;
        let mut chat = chatter(&server, &someone(), &Options::before()).await;
        if relay_first {
            relay.emit("find_partner", json!({ "userName": "Ana" })).await;
            relay.wait_for("waiting_for_partner").await;
            chat.emit_args("find-partner", vec![]).await;
        } else {
            chat.emit_args("find-partner", vec![]).await;
            chat.wait_for("waiting-for-partner").await;
            relay.emit("find_partner", json!({ "userName": "Ana" })).await;
        }
        assert_eq!(chat.wait_for("match-found").await["partnerName"], "Ana");
        let found = relay.wait_for("partner_found").await;
        let to = found["socketId"].clone();
        relay.emit("webrtc_offer", json!({ "to": to, "offer": offer("r") })).await;
        assert_eq!(chat.wait_for("signal-offer").await["offer"], offer("r"));
        chat.emit("signal-answer", json!({ "answer": answer("c") })).await;
        assert_eq!(relay.wait_for("webrtc_answer").await, json!({ "answer": answer("c"), "from": to }));
        relay.emit("ice_candidate", json!({ "to": to, "candidate": candidate(1) })).await;
        assert_eq!(chat.wait_for("signal-ice-candidates-batch").await, json!({ "candidates": [candidate(1)] }));
        chat.emit("signal-ice-candidate", json!({ "candidate": candidate(2) })).await;
        assert_eq!(relay.wait_for("ice_candidate").await, json!({ "candidate": candidate(2), "from": to }));
        relay.disconnect().await;
        chat.wait_for("match-ended").await;
        chat.disconnect().await;
    }
}
