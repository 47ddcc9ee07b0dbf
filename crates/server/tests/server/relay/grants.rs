//! Who is told of relays, and that what is told opens them.

use super::client::{ALL, By, Turn, connect, now_s};
use super::{Relay, start_in};
use crate::common::call::{connect as connect_call, hang_up};
use crate::common::{Party, data_dir};
use bellwire_signaling::*;
use std::sync::Arc;

async fn ask(party: &mut Party, purpose: Purpose) -> Result<(Vec<IceServer>, u64), ErrorCode> {
    match party.ask(Command::IceServers { purpose }).await {
        Ok(Reply::IceServers { servers, lifetime_ms }) => Ok((servers, lifetime_ms)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.code),
    }
}

fn of_call(call: &CallId) -> Purpose {
    Purpose::Call { call: call.clone() }
}

#[tokio::test]
async fn parties_of_a_live_call_get_relays_and_nobody_else() {
    let relay = Relay::start("");
    let (server, demo) = (&relay.server, relay.server.seed());
    let mut client = Party::sign_in(server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(server, &demo.provider.link_parts().1, "p").await;
    let mut stranger = Party::sign_in(server, &server.seed().client.token, "s").await;
    let nothing = CallId::from_bits(7);
    assert_eq!(ask(&mut client, of_call(&nothing)).await, Err(ErrorCode::NotFound));
    let call = connect_call(&mut client, &mut provider, &demo.booking).await;
    assert_eq!(ask(&mut stranger, of_call(&call)).await, Err(ErrorCode::NotFound));
    let mut opened = Vec::new();
    for party in [&mut client, &mut provider] {
        let (servers, lifetime_ms) = ask(party, of_call(&call)).await.expect("relays");
        assert_eq!(lifetime_ms, 20 * 60 * 1_000);
        let at = &server.address;
        let turn = [
            format!("turn:{at}?transport=udp"),
            format!("turn:{at}?transport=tcp"),
            format!("turns:{at}?transport=tcp"),
        ];
        assert_eq!(servers[0], IceServer { urls: vec![format!("stun:{at}")], username: None, credential: None });
        assert_eq!(servers[1].urls, turn);
        let username = servers[1].username.clone().expect("a username");
        let credential = servers[1].credential.clone().expect("a credential");
        for user in [&demo.client, &demo.provider] {
            assert!(!username.contains(user.id.as_str()), "{username} names nobody");
        }
        let expires: u64 = username.split(':').next().expect("a time").parse().expect("a number");
        assert!((now_s() + 1_190..=now_s() + 1_200).contains(&expires));
        for by in ALL {
            let carrier = connect(by, at, &relay.certificate).await;
            let mut turn = Turn::with(carrier, username.clone(), credential.reveal().to_owned());
            turn.allocate().await.expect("an allocation");
            opened.push(turn);
        }
    }
    hang_up(&mut client, &mut provider, &call).await;
    assert_eq!(ask(&mut client, of_call(&call)).await, Err(ErrorCode::NotFound), "it is over");
    opened[0].refresh(600).await.expect("what lives goes on");
    let log = server.log();
    assert!(opened.iter().all(|turn| !log.contains(&turn.credential) && !log.contains(&turn.username)));
}

#[tokio::test]
async fn members_of_a_room_get_relays_while_they_are_in_it() {
    let relay = Relay::start("");
    let mut ana = Party::sign_in(&relay.server, &relay.server.token("ana", "client", "60s"), "a").await;
    let mut ben = Party::sign_in(&relay.server, &relay.server.token("ben", "client", "60s"), "b").await;
    for party in [&mut ana, &mut ben] {
        party.ok(Command::Search {}).await;
    }
    let in_room = |event: &Event| match event {
        Event::Room { view } => Some(view.room.clone()),
        _ => None,
    };
    let room = ana.event("a match", in_room).await;
    ben.event("a match", in_room).await;
    let mut stranger = Party::sign_in(&relay.server, &relay.server.token("cem", "client", "60s"), "c").await;
    let purpose = || Purpose::Room { room: room.clone() };
    assert_eq!(ask(&mut stranger, purpose()).await, Err(ErrorCode::NotFound));
    for party in [&mut ana, &mut ben] {
        assert_eq!(ask(party, purpose()).await.expect("relays").0.len(), 2);
    }
    ana.ok(Command::LeaveRoom { room: room.clone() }).await;
    assert_eq!(ask(&mut ana, purpose()).await, Err(ErrorCode::NotFound));
}

/// The servers that a call's party is told of, under these settings.
async fn told(settings: &str) -> Vec<IceServer> {
    let dir = data_dir();
    super::certify(dir.path());
    let server = start_in(Arc::new(dir), settings);
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect_call(&mut client, &mut provider, &demo.booking).await;
    ask(&mut client, of_call(&call)).await.expect("an answer").0
}

#[tokio::test]
async fn what_the_operator_sets_is_what_is_told() {
    let elsewhere = "turn:relay.example:3478?transport=udp";
    let coturn = format!("turn_secret = {:?}\nturn_urls = [{elsewhere:?}]\n", super::SECRET);
    let only = told(&coturn).await;
    assert_eq!((only.len(), &only[0].urls), (1, &vec![elsewhere.to_owned()]));
    let both = told(&format!("{coturn}relay = true\npublic_url = \"wss://calls.example\"\n")).await;
    assert!(both[0].urls[0].starts_with("stun:calls.example:"), "{both:?}");
    assert_eq!(both[1].urls.len(), 4);
    assert!(told("relay = false\n").await.is_empty());
    let address = told("relay_address = \"192.0.2.10\"\n").await;
    assert!(address[0].urls[0].starts_with("stun:192.0.2.10:"), "{address:?}");
}

#[tokio::test]
async fn relay_can_have_a_place_of_its_own_on_ipv6() {
    let dir = data_dir();
    super::certify(dir.path());
    let server = start_in(Arc::new(dir), "relay_listen = \"[::1]:0\"\n");
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect_call(&mut client, &mut provider, &demo.booking).await;
    let (servers, _) = ask(&mut client, of_call(&call)).await.expect("relays");
    let place = servers[0].urls[0].strip_prefix("stun:").expect("a place").to_owned();
    assert!(place.starts_with("[::1]:") && place != server.address, "{place}");
    let (username, credential) = (servers[1].username.clone(), servers[1].credential.clone());
    let certificate = server.dir.path().join("cert.pem");
    let mut held = Vec::new();
    for by in [By::Udp, By::Tcp, By::Tls] {
        let carrier = connect(by, &place, &certificate).await;
        let mut turn = Turn::with(
            carrier,
            username.clone().expect("a name"),
            credential.clone().expect("one").reveal().to_owned(),
        );
        assert_eq!(turn.allocate().await.expect("an allocation").ip().to_string(), "::1");
        held.push(turn);
    }
    // No HTTP there.
    let http = reqwest::get(format!("http://{place}/livez")).await;
    assert!(http.is_err());
}
