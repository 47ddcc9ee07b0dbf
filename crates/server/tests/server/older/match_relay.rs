//! Random match with relay, as its document draws it: two who search, the cards, the signals; and each way in which that
//! system lost messages without a word.

use super::apps::{answer, app, candidate, kinds, metric_is, next_second, offer, someone};
use super::{Client, Options};
use crate::common::Server;
use serde_json::{Value, json};

/// Two new people: nobody may search twice within a second, or is matched with the same partner again after a skip.
async fn pair(server: &Server, options: &Options) -> (Client, Client) {
    let mut ana = app(server, &someone(), options.clone()).await;
    let mut ben = app(server, &someone(), options.clone()).await;
    ana.emit("find_partner", json!({})).await;
    ana.wait_for("waiting_for_partner").await;
    ben.emit("find_partner", json!({})).await;
    ana.wait_for("partner_found").await;
    ben.wait_for("partner_found").await;
    (ana, ben)
}

async fn fault(app: &mut Client, event: &str, message: Value) -> String {
    app.emit(event, message).await;
    let said = app.wait_for("webrtc_error").await;
    assert_eq!(said["event"], event, "{said}");
    assert!(said["message"].is_string() && said["timestamp"].is_string(), "{said}");
    said["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn two_who_search_get_each_others_card_and_exchange_signals() {
    let server = Server::dev();
    for options in kinds() {
        let user = someone();
        let mut ana = app(&server, &user, options.clone()).await;
        let mut ben = app(&server, &someone(), options).await;
        let card =
            json!({ "userName": "Ana", "userAge": 31, "userLocation": "Lisbon", "userPicture": "https://x/a.png" });
        ana.emit("find_partner", card).await;
        assert_eq!(ana.wait_for("waiting_for_partner").await["position"], 1);
        ben.emit_args("find_partner", vec![]).await;
        let of_ben = ana.wait_for("partner_found").await;
        let of_ana = ben.wait_for("partner_found").await;
        let (ana_id, ben_id) = (ana.id().await, ben.id().await);
        assert_eq!(of_ana["userName"], "Ana");
        assert_eq!((&of_ana["userAge"], &of_ana["userLocation"]), (&json!(31), &json!("Lisbon")));
        assert_eq!(of_ana["userPicture"], "https://x/a.png");
        assert_eq!((&of_ben["userAge"], &of_ben["userLocation"]), (&json!(18), &json!("Unknown")));
        assert_eq!((&of_ben["userName"], &of_ben["userPicture"]), (&json!("Anonymous"), &json!(null)));
        assert_eq!((&of_ana["socketId"], &of_ben["socketId"]), (&json!(ana_id), &json!(ben_id)));
        assert_eq!(of_ana["sessionId"], of_ben["sessionId"]);
        assert_ne!(of_ana["partnerId"], *user, "no user id is told to a stranger");
        metric_is(&server, "bellwire_matches", 1.0).await;

        ana.emit("webrtc_offer", json!({ "to": ben_id, "offer": offer("a") })).await;
        assert_eq!(ben.wait_for("webrtc_offer").await, json!({ "offer": offer("a"), "from": ana_id }));
        ben.emit("webrtc_answer", json!({ "to": ana_id, "answer": answer("b") })).await;
        assert_eq!(ana.wait_for("webrtc_answer").await, json!({ "answer": answer("b"), "from": ben_id }));
        for n in 0..50 {
            ana.emit("ice_candidate", json!({ "to": ben_id, "candidate": candidate(n) })).await;
            ben.emit("ice_candidate", json!({ "to": ana_id, "candidate": candidate(n) })).await;
        }
        for n in 0..50 {
            assert_eq!(ben.wait_for("ice_candidate").await, json!({ "candidate": candidate(n), "from": ana_id }));
            assert_eq!(ana.wait_for("ice_candidate").await, json!({ "candidate": candidate(n), "from": ben_id }));
        }
        ana.disconnect().await;
        let left = ben.wait_for("partner_left").await;
        assert_eq!(left["sessionId"], of_ana["sessionId"]);
        metric_is(&server, "bellwire_matches", 0.0).await;
        ben.disconnect().await;
    }
}

#[tokio::test]
async fn signal_without_a_good_receiver_is_answered_never_lost() {
    let server = Server::dev();
    for options in [Options::new(), Options::before()] {
        let mut early = app(&server, "early", options.clone()).await;
        let sent = json!({ "to": "whoever", "candidate": candidate(1) });
        assert_eq!(fault(&mut early, "ice_candidate", sent).await, "no_partner", "before partner_found");
        let (mut ana, mut ben) = pair(&server, &options).await;
        let (ana_id, early_id) = (ana.id().await, early.id().await);
        for missing in [
            json!({ "offer": offer("a") }),
            json!({ "to": null, "offer": offer("a") }),
            json!({ "to": "", "offer": 1 }),
        ] {
            assert_eq!(fault(&mut ana, "webrtc_offer", missing).await, "missing_to");
        }
        for foreign in [early_id.as_str(), ana_id.as_str(), "nobody"] {
            let sent = json!({ "to": foreign, "answer": answer("a") });
            assert_eq!(fault(&mut ana, "webrtc_answer", sent).await, "not_your_partner");
        }
        for malformed in [json!("text"), json!({ "to": ben.id().await }), json!({ "to": 5, "candidate": {} })] {
            assert_eq!(fault(&mut ana, "ice_candidate", malformed).await, "invalid_message");
        }
        // One that arrives shows that none of those did.
        ana.emit("webrtc_offer", json!({ "to": ben.id().await, "offer": offer("good") })).await;
        assert_eq!(ben.wait_for("webrtc_offer").await["offer"], offer("good"));
        assert!(!ben.seen("webrtc_answer") && !ben.seen("ice_candidate"));
        assert!(!early.seen("webrtc_offer") && !early.seen("webrtc_answer"));

        let partner = ben.id().await;
        ben.disconnect().await;
        assert_eq!(ana.wait_for("partner_left").await["reason"], "partner_disconnected");
        let sent = json!({ "to": partner, "candidate": candidate(1) });
        assert_eq!(fault(&mut ana, "ice_candidate", sent).await, "no_partner", "the partner is gone");
        ana.disconnect().await;
    }
}

#[tokio::test]
async fn guests_match_only_where_the_operator_lets_them() {
    let server = Server::start(&["--dev", "--older", "match", "--guests"]);
    let mut ana = Client::connect(&server.address, Options::new()).await;
    let mut ben = Client::connect(&server.address, Options::before()).await;
    ana.emit("find_partner", json!({ "userName": "Guest" })).await;
    ben.emit("find_partner", json!({})).await;
    assert_eq!(ben.wait_for("partner_found").await["userName"], "Guest");
    ana.wait_for("partner_found").await;
    let strict = Server::start(&["--older", "match"]);
    let refused = Client::refused(&strict.address, Options::new()).await;
    assert_eq!(refused["data"]["code"], "unauthenticated", "{refused}");
    let bad = Client::refused(&server.address, Options::new().auth(json!({ "token": "x.y.z" }))).await;
    assert_eq!(bad["data"]["code"], "unauthenticated", "{bad}");
}

#[tokio::test]
async fn who_searches_again_goes_to_the_next_partner_and_not_back() {
    let server = Server::dev();
    let (mut ana, mut ben) = pair(&server, &Options::new()).await;
    let mut cleo = app(&server, "cleo", Options::before()).await;
    next_second().await;
    ana.emit("find_partner", json!({})).await;
    assert_eq!(ben.wait_for("partner_left").await["reason"], "partner_skipped");
    cleo.emit("find_partner", json!({})).await;
    assert_eq!(ana.wait_for("partner_found").await["socketId"], json!(cleo.id().await));
    cleo.wait_for("partner_found").await;
    let blocked = cleo.emit_ack("block_partner", json!({})).await;
    assert_eq!(blocked["ok"], true, "{blocked}");
    ana.wait_for("partner_left").await;
    assert_eq!(ana.emit_ack("report_partner", json!({})).await["ok"], false, "there is no partner any more");
}

#[tokio::test]
async fn socket_id_of_another_opens_nothing() {
    let server = Server::dev();
    let http = reqwest::Client::new();
    for options in [Options::new().polling(), Options::new().websocket()] {
        let (mut ana, ben) = pair(&server, &options).await;
        let handle = ben.id().await;
        let url = server.url(&format!("/socket.io/?EIO=4&transport=polling&sid={handle}"));
        assert_eq!(http.get(&url).send().await.expect("an answer").status(), 400, "reads as ben");
        let forged = format!("42{}", json!(["webrtc_offer", { "to": ana.id().await, "offer": offer("forged") }]));
        assert_eq!(http.post(&url).body(forged).send().await.expect("an answer").status(), 400, "posts as ben");
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={handle}", server.address);
        let mut socket = super::Plain::open(&url, json!({}), &[]).await;
        assert_eq!(socket.wait_for("refused").await, 400, "upgrades ben's transport");
        // Nor does it as what brings a lost connection back.
        let claim = json!({ "pid": handle, "offset": "0", "token": super::apps::auth(&server, "eve")["token"] });
        let eve = Client::connect(&server.address, Options::new().auth(claim)).await;
        assert_ne!(eve.id().await, handle);
        ben.emit("webrtc_offer", json!({ "to": ana.id().await, "offer": offer("real") })).await;
        assert_eq!(ana.wait_for("webrtc_offer").await["offer"], offer("real"), "nothing forged came before");
        ana.disconnect().await;
        ben.disconnect().await;
    }
}

#[tokio::test]
async fn match_outlives_a_short_loss_of_the_network() {
    let server = Server::dev();
    let (ana, mut ben) = pair(&server, &Options::new().websocket()).await;
    let mut ana = ana;
    let (ana_id, ben_id) = (ana.id().await, ben.id().await);
    ana.reconnection(false).await;
    ana.kill_transport().await;
    ana.wait_for("disconnect").await;
    for n in 0..20 {
        ben.emit("ice_candidate", json!({ "to": ana_id, "candidate": candidate(n) })).await;
    }
    assert_eq!(ben.emit_ack("webrtc_offer", json!({ "to": ana_id, "offer": offer("b") })).await["ok"], true);
    ana.reconnection(true).await;
    assert_eq!(ana.connect_again(None).await, ana_id);
    for n in 0..20 {
        assert_eq!(ana.wait_for("ice_candidate").await["candidate"], candidate(n));
    }
    ana.emit("webrtc_answer", json!({ "to": ben_id, "answer": answer("a") })).await;
    ben.wait_for("webrtc_answer").await;
    assert!(!ben.seen("partner_left"));
}
