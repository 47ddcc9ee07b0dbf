//! Whole calls over real sockets: the happy way, and each other way a call goes.

use crate::common::call::{accept, attempt, connect, hang_up, invite, ring};
use crate::common::{Demo, Party, Server, rest};
use bellwire_signaling::*;

async fn both(server: &Server, demo: &Demo) -> (Party, Party) {
    let client = Party::sign_in(server, &demo.client.token, "client-1").await;
    let provider = Party::sign_in(server, &demo.provider.token, "provider-1").await;
    (client, provider)
}

#[tokio::test]
async fn a_call_connects_and_both_find_it_in_their_history() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    assert_eq!(client.you, You { user: demo.client.id.clone(), name: demo.client.name.clone() });
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    client.ok(Command::Muted { call: call.clone(), muted: true }).await;
    provider.view("muted", |p| matches!(p, Phase::Connected { peer_muted: true, .. })).await;
    let ending = hang_up(&mut provider, &mut client, &call).await;
    assert_eq!((ending.reason, ending.by), (EndReason::HungUp, Some(Side::Callee)));
    for (party, you, peer) in [(&mut client, Side::Caller, &demo.provider), (&mut provider, Side::Callee, &demo.client)]
    {
        let [record] = &party.history().await[..] else { panic!("one call") };
        assert_eq!((&record.call, &record.booking, record.you), (&call, &demo.booking, you));
        assert_eq!((&record.ending, &record.peer.name), (&ending, &peer.name));
        assert!(record.connected_at.is_some());
    }
}

#[tokio::test]
async fn the_other_party_comes_and_goes_and_is_seen_to() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let [booking] = &client.bookings().await[..] else { panic!("one booking") };
    assert_eq!(booking.presence, Presence::Away { since: None });
    assert_eq!((&booking.peer.name, booking.you), (&demo.provider.name, Role::Client));
    assert!(!booking.peer.handle.as_str().contains(demo.provider.id.as_str()));
    let provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let presence = |event: &Event| match event {
        Event::Presence { presence, .. } => Some(*presence),
        _ => None,
    };
    assert_eq!(client.event("presence", presence).await, Presence::Online {});
    provider.vanish();
    assert!(matches!(client.event("presence", presence).await, Presence::Away { since: Some(_) }));
}

#[tokio::test]
async fn declined_call_can_be_made_again() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    let call = ring(&mut client, &mut provider, &demo.booking).await;
    provider.ok(Command::Decline { call: call.clone(), because: Because::InTwoMinutes }).await;
    let (mine, theirs) = (client.ended(&call).await, provider.ended(&call).await);
    assert_eq!((mine.reason, mine.because, &mine), (EndReason::Declined, Some(Because::InTwoMinutes), &theirs));
    let again = connect(&mut provider, &mut client, &demo.booking).await;
    assert_ne!(call, again);
    hang_up(&mut provider, &mut client, &again).await;
    let reasons: Vec<_> = client.history().await.iter().map(|record| record.ending.reason).collect();
    assert_eq!(reasons, [EndReason::HungUp, EndReason::Declined], "the newest first");
}

#[tokio::test]
async fn caller_cancels_while_it_rings() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    let call = ring(&mut client, &mut provider, &demo.booking).await;
    assert_eq!(hang_up(&mut client, &mut provider, &call).await.reason, EndReason::Cancelled);
}

#[tokio::test]
async fn repeated_invite_makes_no_second_call() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    let press = attempt();
    let command = || Command::Invite { booking: demo.booking.clone(), attempt: press.clone() };
    let first = client.ok(command()).await;
    assert_eq!(client.ok(command()).await, first);
    let Reply::Call { call } = &first else { panic!("{first:?}") };
    hang_up(&mut client, &mut provider, call).await;
    let server = server.crash_and_restart();
    let mut client = Party::sign_in(&server, &demo.client.token, "client-1").await;
    assert_eq!(client.ok(command()).await, first, "even after a restart");
    assert_eq!(client.history().await.len(), 1);
}

#[tokio::test]
async fn callee_in_another_call_is_busy() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    let other = rest::book(&server, "stranger", demo.provider.id.as_str()).await;
    let mut stranger = Party::sign_in(&server, &server.token("stranger", "client", "1h"), "s").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let [view] = &stranger.bookings().await[..] else { panic!("one booking") };
    assert_eq!(view.presence, Presence::InAnotherCall {});
    let refused = invite(&mut stranger, &other).await;
    assert_eq!(stranger.ended(&refused).await.reason, EndReason::Busy);
    let busy = provider.ask(Command::Invite { booking: other, attempt: attempt() }).await;
    assert_eq!(busy.expect_err("refused").code, ErrorCode::InAnotherCall);
    hang_up(&mut client, &mut provider, &call).await;
}

#[tokio::test]
async fn all_devices_ring_and_the_first_to_accept_has_the_call() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut desk) = both(&server, &demo).await;
    let mut laptop = Party::sign_in(&server, &demo.provider.token, "provider-2").await;
    let call = ring(&mut client, &mut desk, &demo.booking).await;
    laptop.view("ringing", |p| matches!(p, Phase::Ringing { .. } | Phase::Inviting { .. })).await;
    accept(&mut client, &mut laptop, &call).await;
    desk.view("elsewhere", |p| matches!(p, Phase::Elsewhere {})).await;
    let late = desk.ask(Command::Accept { call: call.clone() }).await;
    assert_eq!(late.expect_err("refused").code, ErrorCode::OnAnotherDevice);
    let ending = hang_up(&mut client, &mut laptop, &call).await;
    assert_eq!(desk.ended(&call).await, ending);
}

#[tokio::test]
async fn callee_who_comes_later_finds_the_call_ringing() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let call = invite(&mut client, &demo.booking).await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let view = provider.view("an invite", |p| matches!(p, Phase::Inviting { .. })).await;
    assert_eq!(view.call, call);
    accept(&mut client, &mut provider, &call).await;
    hang_up(&mut client, &mut provider, &call).await;
}

#[tokio::test]
async fn booking_window_is_kept() {
    let server = Server::dev();
    let now = bellwire_server::clock::now();
    for (name, start, expected) in
        [("early", now.plus(3_600_000), ErrorCode::TooEarly), ("late", now.minus(7_200_000), ErrorCode::TooLate)]
    {
        let booking = rest::book_at(&server, name, "provider", start).await;
        let mut client = Party::sign_in(&server, &server.token(name, "client", "1h"), name).await;
        let refused = client.ask(Command::Invite { booking, attempt: attempt() }).await.expect_err("refused");
        assert_eq!(refused.code, expected);
        assert_eq!(refused.retry_after_ms.is_some(), expected == ErrorCode::TooEarly);
    }
}

#[tokio::test]
async fn cancelled_booking_ends_a_call_that_rings_and_is_shown_to_both() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    let call = ring(&mut client, &mut provider, &demo.booking).await;
    rest::cancel(&server, &demo.booking).await;
    for party in [&mut client, &mut provider] {
        assert_eq!(party.ended(&call).await.reason, EndReason::BookingCancelled);
        let state = |event: &Event| match event {
            Event::Bookings { bookings } => Some(bookings[0].state),
            _ => None,
        };
        assert_eq!(party.event("the bookings", state).await, BookingState::Cancelled);
    }
    let refused = client.ask(Command::Invite { booking: demo.booking, attempt: attempt() }).await;
    assert_eq!(refused.expect_err("refused").code, ErrorCode::BookingCancelled);
}

fn quality(mos_x10: u8) -> CallQuality {
    CallQuality {
        mos_x10,
        loss_in_percent: 2,
        loss_out_percent: 0,
        round_trip_ms: 38,
        reconnects: 1,
        reconnecting_ms: 2_400,
        relayed: true,
        cause: Some(Cause::Loss),
    }
}

#[tokio::test]
async fn each_side_finds_how_its_call_sounded_and_the_operator_both() {
    let server = Server::dev();
    let demo = server.seed();
    let (mut client, mut provider) = both(&server, &demo).await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let said = |mos| Command::Quality { call: call.clone(), quality: quality(mos) };
    let refusal = client.ask(said(41)).await.expect_err("a call that goes on");
    assert_eq!(refusal.code, ErrorCode::WrongState);
    hang_up(&mut client, &mut provider, &call).await;
    assert_eq!(client.history().await[0].quality, None);
    client.ok(said(41)).await;
    client.ok(said(20)).await;
    assert_eq!(client.history().await[0].quality, Some(quality(41)), "the first word counts");
    assert_eq!(provider.history().await[0].quality, None, "each side has its own");
    provider.ok(said(33)).await;
    assert_eq!(provider.history().await[0].quality, Some(quality(33)));

    let server = server.crash_and_restart();
    let mut client = Party::sign_in(&server, &demo.client.token, "client-1").await;
    assert_eq!(client.history().await[0].quality, Some(quality(41)), "it is kept");
    let (_, list) = rest::answer(rest::request(&server, reqwest::Method::GET, "/v1/calls")).await;
    let shown = &list["calls"][0]["quality"];
    assert_eq!((&shown["caller"]["mos_x10"], &shown["callee"]["mos_x10"]), (&41.into(), &33.into()));
    assert_eq!((&shown["caller"]["cause"], &shown["caller"]["relayed"]), (&"loss".into(), &true.into()));
}

#[tokio::test]
async fn quality_of_others_and_beyond_belief_is_refused() {
    let server = Server::dev();
    let (demo, others) = (server.seed(), server.seed());
    let (mut client, mut provider) = both(&server, &demo).await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    hang_up(&mut client, &mut provider, &call).await;
    let mut stranger = Party::sign_in(&server, &others.client.token, "stranger").await;
    let refused = async |party: &mut Party, quality| {
        let command = Command::Quality { call: call.clone(), quality };
        party.ask(command).await.expect_err("refused").code
    };
    assert_eq!(refused(&mut stranger, quality(41)).await, ErrorCode::NotFound);
    assert_eq!(refused(&mut client, quality(46)).await, ErrorCode::BadFrame);
    let too_much = CallQuality { loss_out_percent: 101, ..quality(41) };
    assert_eq!(refused(&mut client, too_much).await, ErrorCode::BadFrame);
    assert_eq!(client.history().await[0].quality, None);
    let (_, own_link) = demo.client.link_parts();
    let mut guest = Party::sign_in(&server, &own_link, "guest").await;
    guest.ok(Command::Quality { call: call.clone(), quality: quality(30) }).await;
    assert_eq!(guest.history().await[0].quality, Some(quality(30)));
}
