//! Sessions: resumed, replaced, outlived; narrow ones of join links; a crash in the middle of a call.

use crate::common::call::{attempt, connect, hang_up, ring};
use crate::common::party::{self, Party};
use crate::common::{Server, rest};
use bellwire_signaling::*;

#[tokio::test]
async fn lost_socket_is_resumed_with_what_was_missed() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let resume = client.vanish();
    for muted in [true, false] {
        provider.ok(Command::Muted { call: call.clone(), muted }).await;
    }
    let seen = resume.seen;
    let client = Party::hello(&server, &demo.client.token, "c", Some(resume)).await.expect("signed in");
    assert!(client.resumed);
    let mut client = client.after(seen);
    for muted in [true, false] {
        client.view("mute", |p| matches!(p, Phase::Connected { peer_muted, .. } if *peer_muted == muted)).await;
    }
    hang_up(&mut client, &mut provider, &call).await;
}

#[tokio::test]
async fn session_is_not_resumed_by_whoever_is_not_it() {
    let server = Server::dev();
    let demo = server.seed();
    let client = Party::sign_in(&server, &demo.client.token, "c").await;
    let resume = client.vanish();
    let unknown = Resume { session: SessionId::new("s00").expect("an id"), seen: 0 };
    let ahead = Resume { seen: resume.seen + 1, ..resume.clone() };
    for (token, device, resume) in [
        (&demo.provider.token, "c", &resume),
        (&demo.client.token, "other", &resume),
        (&demo.client.token, "c", &unknown),
        (&demo.client.token, "c", &ahead),
    ] {
        let party = Party::hello(&server, token, device, Some(resume.clone())).await.expect("signed in");
        assert!(!party.resumed && party.session != resume.session);
    }
}

#[tokio::test]
async fn same_device_replaces_its_older_socket() {
    let server = Server::dev();
    let demo = server.seed();
    let mut old = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut new = Party::sign_in(&server, &demo.client.token, "c").await;
    let closed = old.closed().await;
    assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::Replaced), Some(4001)));
    assert_eq!(new.bookings().await.len(), 1);
}

#[tokio::test]
async fn call_survives_a_crash_of_the_server() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let resume = client.resume();
    let server = server.crash_and_restart();
    let mut client = Party::hello(&server, &demo.client.token, "c", Some(resume)).await.expect("signed in");
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    assert!(!client.resumed, "sessions are not kept over a restart");
    for party in [&mut client, &mut provider] {
        let view = party.view("the call", |p| matches!(p, Phase::Connected { .. } | Phase::Reconnecting { .. })).await;
        assert_eq!(view.call, call);
    }
    let ending = hang_up(&mut client, &mut provider, &call).await;
    for party in [&mut client, &mut provider] {
        let history = party.history().await;
        assert_eq!(history.iter().map(|r| (&r.call, &r.ending)).collect::<Vec<_>>(), [(&call, &ending)]);
    }
}

#[tokio::test]
async fn join_link_opens_its_booking_and_no_other() {
    let server = Server::dev();
    let demo = server.seed();
    let other = rest::book(&server, demo.client.id.as_str(), "somebody").await;
    let (address, token) = demo.client.link_parts();
    assert_eq!(address, format!("ws://{}", server.address));
    let mut client = Party::sign_in(&server, &token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let shown: Vec<_> = client.bookings().await.into_iter().map(|b| b.booking).collect();
    assert_eq!(shown, std::slice::from_ref(&demo.booking));
    let refused = client.ask(Command::Invite { booking: other.clone(), attempt: attempt() }).await;
    assert_eq!(refused.expect_err("refused").code, ErrorCode::NotFound);

    // A call of the other booking rings elsewhere and stays unknown here.
    let mut whole = Party::sign_in(&server, &demo.client.token, "whole").await;
    let mut somebody = Party::sign_in(&server, &server.token("somebody", "provider", "1h"), "s").await;
    let hidden = ring(&mut somebody, &mut whole, &other).await;
    let refused = client.ask(Command::Accept { call: hidden.clone() }).await;
    assert_eq!(refused.expect_err("refused").code, ErrorCode::NotFound);
    hang_up(&mut somebody, &mut whole, &hidden).await;

    let call = connect(&mut client, &mut provider, &demo.booking).await;
    hang_up(&mut client, &mut provider, &call).await;
    let calls: Vec<_> = client.history().await.into_iter().map(|record| record.call).collect();
    assert_eq!(calls, [call]);
}

#[tokio::test]
async fn a_person_with_a_link_for_another_booking_alone_is_away() {
    let server = Server::dev();
    let demo = server.seed();
    rest::book(&server, demo.client.id.as_str(), "somebody").await;
    let (_, token) = demo.client.link_parts();
    let _client = Party::sign_in(&server, &token, "c").await;
    let mut somebody = Party::sign_in(&server, &server.token("somebody", "provider", "1h"), "s").await;
    assert_eq!(somebody.bookings().await[0].presence, Presence::Away { since: None });
}

#[tokio::test]
async fn development_server_offers_its_people_to_this_machine_alone() {
    let server = Server::dev();
    let demo = server.seed();
    let mut ws = party::open(&server).await;
    party::send(&mut ws, &ClientFrame::DevPeople {}).await;
    let people = match party::receive(&mut ws).await {
        Ok(ServerFrame::DevPeople { people }) => people,
        other => panic!("{other:?}"),
    };
    let client = people.iter().find(|person| person.name == demo.client.name).expect("the client");
    assert_eq!((client.role, people.len()), (Role::Client, 2));
    party::send(&mut ws, &party::hello(&client.token, "c", None)).await;
    let party = Party::welcomed(ws, "c").await.expect("signed in");
    assert_eq!(party.you.user, demo.client.id);

    // A page in a browser on this machine must not get at tokens.
    let mut page = party::open_with(&server, &[("origin", "https://evil.example")]).await.expect("a socket");
    party::send(&mut page, &ClientFrame::DevPeople {}).await;
    let closed = party::receive(&mut page).await.expect_err("closed");
    assert_eq!(closed.error.map(|e| e.code), Some(ErrorCode::HelloExpected));

    let production = Server::start(&[]);
    let mut ws = party::open(&production).await;
    party::send(&mut ws, &ClientFrame::DevPeople {}).await;
    assert_eq!(party::receive(&mut ws).await.expect_err("closed").code, Some(4000));
}
