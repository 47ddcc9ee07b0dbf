//! Rooms and the queue for the next partner, by native devices; and the text that both parties of a call want kept.

use crate::common::call::{connect, hang_up, sdp};
use crate::common::party::id;
use crate::common::{Party, Server, rest};
use bellwire_signaling::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A room of these people; the first is its host. Their tokens are good for it alone.
async fn make_room(server: &Server, users: &[&str]) -> (RoomId, Vec<Token>) {
    let people: Vec<Value> = users
        .iter()
        .map(|user| json!({ "user": user, "name": format!("{user}'s name"), "host": *user == users[0] }))
        .collect();
    let wish = json!({ "topic": "Choir", "people": people });
    let (status, made) = rest::answer(rest::request(server, Method::POST, "/v1/rooms").json(&wish)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let token = |link: &Value| {
        let link = url::Url::parse(link["link"].as_str().expect("a link")).expect("a link");
        let token = link.query_pairs().find(|(key, _)| key == "token").expect("a token").1.into_owned();
        Token::new(token).expect("a token")
    };
    let tokens = made["links"].as_array().expect("links").iter().map(token).collect();
    (id(made["room"].as_str().expect("an id")), tokens)
}

async fn enter(server: &Server, room: &RoomId, token: &Token, device: &str) -> Party {
    let mut party = Party::sign_in(server, token, device).await;
    party.ok(Command::EnterRoom { room: room.clone() }).await;
    party
}

/// The next view of a room that is as wanted.
async fn view(party: &mut Party, what: &str, wanted: impl Fn(&RoomView) -> bool) -> RoomView {
    let pick = |event: &Event| match event {
        Event::Room { view } if wanted(view) => Some(view.clone()),
        _ => None,
    };
    party.event(what, pick).await
}

async fn over(party: &mut Party) -> Departure {
    let pick = |event: &Event| match event {
        Event::RoomOver { why, .. } => Some(*why),
        _ => None,
    };
    party.event("the end of the room", pick).await
}

async fn search_view(party: &mut Party, what: &str, wanted: impl Fn(&SearchView) -> bool) -> SearchView {
    let pick = |event: &Event| match event {
        Event::Search { view } if wanted(view) => Some(view.clone()),
        _ => None,
    };
    party.event(what, pick).await
}

async fn code(party: &mut Party, command: Command) -> ErrorCode {
    party.ask(command).await.expect_err("a refusal").code
}

#[tokio::test]
async fn three_in_a_room_see_each_other_and_exchange_descriptions_in_pairs() {
    let server = Server::dev();
    let (room, tokens) = make_room(&server, &["ana", "ben", "cleo"]).await;
    let mut parties = Vec::new();
    for (n, token) in tokens.iter().enumerate() {
        parties.push(enter(&server, &room, token, &format!("d{n}")).await);
    }
    let mut views = Vec::new();
    for party in &mut parties {
        views.push(view(party, "all three", |view| view.members.len() == 2).await);
    }
    assert_eq!(views[0].topic, "Choir");
    assert!(views[0].host && !views[1].host);
    for (mine, theirs) in [(0, 1), (0, 2), (1, 2)] {
        let of = |from: usize, to: usize| {
            let member = views[from].members.iter().find(|member| member.member == views[to].you);
            member.expect("the other").clone()
        };
        let (here, there) = (of(mine, theirs), of(theirs, mine));
        assert_ne!(here.offers, there.offers, "one of two offers");
        assert_eq!((here.generation, there.generation), (1, 1));
        let (from, to) = if here.offers { (mine, theirs) } else { (theirs, mine) };
        let describe = |member: &Handle, kind| Command::DescribeTo {
            room: room.clone(),
            member: member.clone(),
            generation: 1,
            kind,
            sdp: sdp("x"),
        };
        let offer = describe(&views[to].you, DescriptionKind::Offer);
        parties[from].ok(offer).await;
        let pick = |event: &Event| match event {
            Event::DescriptionFrom { member, kind, .. } => Some((member.clone(), *kind)),
            _ => None,
        };
        assert_eq!(parties[to].event("the offer", pick).await, (views[from].you.clone(), DescriptionKind::Offer));
        let answer = describe(&views[from].you, DescriptionKind::Answer);
        parties[to].ok(answer).await;
        assert_eq!(parties[from].event("the answer", pick).await, (views[to].you.clone(), DescriptionKind::Answer));
    }
    let (_, shown) = rest::answer(rest::request(&server, Method::GET, &format!("/v1/rooms/{room}"))).await;
    assert!(shown["people"].as_array().expect("people").iter().all(|guest| guest["here"] == true));
}

#[tokio::test]
async fn hosts_lock_and_remove_and_the_operator_closes() {
    let server = Server::dev();
    let (room, tokens) = make_room(&server, &["ana", "ben", "cleo"]).await;
    let mut ana = enter(&server, &room, &tokens[0], "a").await;
    let mut ben = enter(&server, &room, &tokens[1], "b").await;
    assert_eq!(code(&mut ben, Command::LockRoom { room: room.clone(), locked: true }).await, ErrorCode::WrongState);
    ana.ok(Command::LockRoom { room: room.clone(), locked: true }).await;
    let seen = view(&mut ben, "locked", |view| view.locked).await;
    let mut cleo = Party::sign_in(&server, &tokens[2], "c").await;
    assert_eq!(code(&mut cleo, Command::EnterRoom { room: room.clone() }).await, ErrorCode::NotFound);
    ana.ok(Command::LockRoom { room: room.clone(), locked: false }).await;
    cleo.ok(Command::EnterRoom { room: room.clone() }).await;
    ana.ok(Command::RemoveMember { room: room.clone(), member: seen.you.clone() }).await;
    assert_eq!(over(&mut ben).await, Departure::Removed);
    assert_eq!(code(&mut ben, Command::EnterRoom { room: room.clone() }).await, ErrorCode::NotFound);
    view(&mut cleo, "without ben", |view| view.members.len() == 1).await;
    let close = || rest::request(&server, Method::DELETE, &format!("/v1/rooms/{room}")).send();
    assert_eq!(close().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    assert_eq!(over(&mut ana).await, Departure::Closed);
    assert_eq!(over(&mut cleo).await, Departure::Closed);
    assert_eq!(close().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    assert_eq!(code(&mut ana, Command::EnterRoom { room: room.clone() }).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn who_has_no_right_to_a_room_cannot_tell_whether_it_is_there() {
    let server = Server::start(&["--dev", "--older", "booking"]);
    let (room, tokens) = make_room(&server, &["ana"]).await;
    let (other, others) = make_room(&server, &["ben"]).await;
    let _ana = enter(&server, &room, &tokens[0], "a").await;
    let stranger = server.token("stranger", "client", "1h");
    let mut stranger = Party::sign_in(&server, &stranger, "s").await;
    let mut ben = Party::sign_in(&server, &others[0], "b").await;
    let nowhere: RoomId = id("r00000000000000000000000000000000");
    let somebody: Handle = id("h1");
    for party in [&mut stranger, &mut ben] {
        let commands = |room: &RoomId| {
            let (room, member) = (room.clone(), somebody.clone());
            [
                Command::EnterRoom { room: room.clone() },
                Command::LeaveRoom { room: room.clone() },
                Command::LockRoom { room: room.clone(), locked: true },
                Command::RemoveMember { room: room.clone(), member: member.clone() },
                Command::DescribeTo { room, member, generation: 1, kind: DescriptionKind::Offer, sdp: sdp("x") },
            ]
        };
        for (there, not_there) in commands(&room).into_iter().zip(commands(&nowhere)) {
            let (there, not_there) = (party.ask(there).await, party.ask(not_there).await);
            assert_eq!(there.expect_err("a refusal"), not_there.expect_err("a refusal"));
        }
    }
    // A token for one room is good for nothing else.
    assert_eq!(code(&mut ben, Command::Search {}).await, ErrorCode::NotFound);
    assert!(ben.bookings().await.is_empty());
    ben.ok(Command::EnterRoom { room: other }).await;
}

#[tokio::test]
async fn a_room_is_there_after_a_restart() {
    let server = Server::dev();
    let (room, tokens) = make_room(&server, &["ana"]).await;
    let server = server.crash_and_restart();
    let mut ana = enter(&server, &room, &tokens[0], "a").await;
    assert_eq!(view(&mut ana, "the room", |_| true).await.topic, "Choir");
}

#[tokio::test]
async fn searchers_are_matched_skip_block_and_report() {
    let server = Server::dev();
    let mut parties = Vec::new();
    for name in ["ana", "ben", "cleo"] {
        let token = server.token(name, "provider", "1h");
        parties.push(Party::sign_in(&server, &token, name).await);
    }
    let [ana, ben, cleo] = &mut parties[..] else { panic!("three") };
    let is_matched = |view: &SearchView| matches!(view, SearchView::Matched { .. });
    let is_waiting = |view: &SearchView| matches!(view, SearchView::Waiting { .. });
    ana.ok(Command::Search {}).await;
    assert!(matches!(search_view(ana, "a place", is_waiting).await, SearchView::Waiting { place: 1, .. }));
    ben.ok(Command::Search {}).await;
    let SearchView::Matched { room, partner: ana_handle, .. } = search_view(ben, "a match", is_matched).await else {
        panic!("matched")
    };
    let SearchView::Matched { room: same, partner: ben_handle, .. } = search_view(ana, "a match", is_matched).await
    else {
        panic!("matched")
    };
    assert_eq!(room, same);
    let seen = view(ana, "the room of the two", |view| view.room == room).await;
    assert_eq!((&seen.members[0].member, seen.members.len()), (&ben_handle, 1));
    // Nobody else gets in.
    assert_eq!(code(cleo, Command::EnterRoom { room: room.clone() }).await, ErrorCode::NotFound);
    ana.ok(Command::Report { partner: ben_handle.clone(), complaint: Complaint::Spam }).await;
    ana.ok(Command::Block { partner: ben_handle }).await;
    search_view(ben, "the end", |view| matches!(view, SearchView::Idle {})).await;
    assert_eq!(over(ben).await, Departure::Closed);
    // The two wait beside each other; the third is matched with the one who came first.
    let again = async |party: &mut Party| {
        while party.ask(Command::Search {}).await.is_err_and(|error| error.code == ErrorCode::RateLimited) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        search_view(party, "a place", is_waiting).await
    };
    again(ben).await;
    again(ana).await;
    cleo.ok(Command::Search {}).await;
    let SearchView::Matched { partner, .. } = search_view(cleo, "a match", is_matched).await else { panic!("matched") };
    search_view(ben, "a match", is_matched).await;
    assert_ne!(partner, ana_handle);
    // Skipped: the one who skipped waits again, and not for the same.
    while cleo.ask(Command::Skip {}).await.is_err_and(|error| error.code == ErrorCode::RateLimited) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let SearchView::Matched { name, .. } = search_view(cleo, "another match", is_matched).await else {
        panic!("matched")
    };
    assert_eq!(name, "ana");
    assert_eq!(over(ben).await, Departure::Skipped);
    let (_, reports) = rest::answer(rest::request(&server, Method::GET, "/v1/reports")).await;
    assert_eq!(reports["reports"][0]["complaint"], "spam");
    assert_eq!(reports["reports"][0]["other"], "ben");
}

#[tokio::test]
async fn text_is_kept_only_while_both_want_it() {
    let server = Server::dev();
    let demo = server.seed();
    let mut client = Party::sign_in(&server, &demo.client.token, "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    let lines = |text: &str| Command::ChatLines { call: call.clone(), lines: vec![text.to_owned()] };
    let keep = |keep| Command::KeepChat { call: call.clone(), keep };
    assert_eq!(code(&mut client, lines("too early")).await, ErrorCode::WrongState);
    client.ok(keep(true)).await;
    assert_eq!(code(&mut client, lines("still too early")).await, ErrorCode::WrongState);
    let wish = |event: &Event| match event {
        Event::Call { view } if view.keep_chat.peer => Some(view.keep_chat),
        _ => None,
    };
    assert_eq!(provider.event("the wish", wish).await, KeepChat { you: false, peer: true });
    provider.ok(keep(true)).await;
    client.ok(lines("Page 4")).await;
    provider.ok(lines("The second line")).await;
    hang_up(&mut client, &mut provider, &call).await;
    let kept: Vec<(Side, String)> =
        client.history().await[0].chat.iter().map(|line| (line.by, line.text.clone())).collect();
    assert_eq!(kept, [(Side::Caller, "Page 4".into()), (Side::Callee, "The second line".into())]);
}
