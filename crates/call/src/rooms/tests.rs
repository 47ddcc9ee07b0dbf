//! Readable tables of what rooms do.

use super::*;

const NOW: UnixMs = UnixMs(1_000_000);

fn id<T: std::str::FromStr<Err = bellwire_signaling::BadId>>(text: &str) -> T {
    text.parse().expect("a test's id")
}

/// Link `n` is the handle `h<n>` of the person `user`.
fn entrant(n: u64, user: &str, habit: Habit) -> Entrant {
    let handle = id(&format!("h{n}"));
    Entrant { link: LinkId(n), user: id(user), handle, name: user.into(), habit, may_open: true }
}

fn room() -> RoomId {
    id("room")
}

/// A room of `n` native apps of as many people, entered in order.
fn filled(n: u64) -> Rooms {
    let mut rooms = Rooms::new();
    for link in 1..=n {
        rooms.enter(&room(), entrant(link, &format!("u{link}"), Habit::Native), NOW).expect("a place");
    }
    told(&mut rooms);
    rooms
}

/// What was told to whom, as text.
fn told(rooms: &mut Rooms) -> Vec<String> {
    std::iter::from_fn(|| rooms.poll_effect()).map(|e| format!("{} {:?}", e.to.0, e.notice)).collect()
}

fn plan(listed: &[&str], most: usize) -> RoomPlan {
    let listed = listed.iter().map(|user| Guest { user: id(user), host: *user == "u1" }).collect();
    RoomPlan { id: room(), topic: "Review".into(), listed, most, closes_at: NOW.plus(60_000) }
}

#[test]
fn who_offers_follows_the_habits_of_the_two() {
    use Habit::*;
    // (handle and user of the one who enters first, of the other) -> the handle that offers
    for (first, second, offers) in [
        ((1, "zoe", Native), (2, "adam", Native), "h1"),
        ((2, "adam", Native), (1, "zoe", Native), "h1"),
        ((1, "zoe", LowerIdOffers), (2, "adam", LowerIdOffers), "h1"),
        ((2, "adam", Native), (1, "zoe", LowerIdOffers), "h1"),
        ((1, "adam", LowerIdOffers), (2, "zoe", Native), "h1"),
        ((1, "zoe", NewcomerOffers), (2, "adam", LowerIdOffers), "h1"),
        ((1, "adam", NewcomerOffers), (2, "zoe", NewcomerOffers), "h2"),
        ((2, "adam", Native), (1, "zoe", NewcomerOffers), "h1"),
        ((1, "adam", NewcomerOffers), (2, "zoe", Native), "h2"),
    ] {
        let mut rooms = Rooms::new();
        for (n, user, habit) in [first, second] {
            rooms.enter(&room(), entrant(n, user, habit), NOW).expect("a place");
        }
        for n in [1, 2] {
            let view = rooms.view(&room(), LinkId(n)).expect("a view");
            assert_eq!(view.members[0].offers, view.you.as_str() == offers, "{first:?} then {second:?}");
        }
    }
}

#[test]
fn in_a_match_the_first_offers_and_both_are_out_when_one_leaves() {
    let mut rooms = Rooms::new();
    rooms.open_pair(room(), entrant(2, "b", Habit::LowerIdOffers), entrant(1, "a", Habit::Native), NOW);
    assert!(rooms.view(&room(), LinkId(2)).is_some_and(|view| view.members[0].offers));
    assert_eq!(rooms.enter(&room(), entrant(3, "a", Habit::Native), NOW), Err(RoomRefusal::NotFound));
    told(&mut rooms);
    rooms.leave(LinkId(2), &room(), NOW).expect("a member");
    assert_eq!(told(&mut rooms), ["2 Over(Left)", "1 Over(PartnerLeft)"]);
    assert!(rooms.is_empty());
}

#[test]
fn one_answer_for_all_that_is_not_ones_own() {
    let enter = |rooms: &mut Rooms, user: &str| rooms.enter(&room(), entrant(9, user, Habit::Native), NOW);
    let mut locked = filled(2);
    locked.lock(LinkId(1), &room(), true).expect("a host");
    let mut removed = filled(2);
    removed.remove(LinkId(1), &room(), &id("h2"), NOW).expect("a host");
    let mut planned = Rooms::new();
    planned.plan(plan(&["u1"], 3));
    let mut nothing = Rooms::new();
    let without = Entrant { may_open: false, ..entrant(9, "u9", Habit::Native) };
    for (why, answer) in [
        ("no such room", nothing.enter(&room(), without, NOW)),
        ("locked", enter(&mut locked, "u9")),
        ("removed", enter(&mut removed, "u2")),
        ("not listed", enter(&mut planned, "u9")),
        ("over", planned.enter(&room(), entrant(1, "u1", Habit::Native), NOW.plus(60_000))),
        ("not a member", locked.mute(LinkId(9), &room(), true)),
        ("not a member", locked.receivers(LinkId(9), &room(), None, SignalKind::Other, None).map(drop)),
    ] {
        assert_eq!(answer, Err(RoomRefusal::NotFound), "{why}");
    }
    // Another link of one who is in a locked room takes the seat, and the rights.
    told(&mut locked);
    enter(&mut locked, "u1").expect("a member");
    assert_eq!(told(&mut locked), ["1 Over(Replaced)", "2 Departed(h1, Replaced)", "9 Entered", "2 Joined(h9)"]);
    assert!(locked.view(&room(), LinkId(9)).is_some_and(|view| view.host));
}

#[test]
fn a_room_has_eight_places_or_as_many_as_planned() {
    let mut open = filled(8);
    assert_eq!(open.enter(&room(), entrant(9, "u9", Habit::Native), NOW), Err(RoomRefusal::Full));
    assert_eq!(open.enter(&room(), entrant(9, "u8", Habit::Native), NOW), Ok(()), "their own seat is replaced");
    let mut planned = Rooms::new();
    planned.plan(plan(&["u1", "u2"], 1));
    planned.enter(&room(), entrant(1, "u1", Habit::Native), NOW).expect("a place");
    assert_eq!(planned.enter(&room(), entrant(2, "u2", Habit::Native), NOW), Err(RoomRefusal::Full));
}

#[test]
fn a_link_is_in_four_rooms_at_most() {
    let mut rooms = Rooms::new();
    let answers: Vec<_> =
        (0..5).map(|n| rooms.enter(&id(&format!("r{n}")), entrant(1, "u1", Habit::Native), NOW)).collect();
    assert_eq!(answers[3..], [Ok(()), Err(RoomRefusal::TooManyRooms)]);
}

#[test]
fn a_generation_is_raised_once_and_an_older_signal_is_refused() {
    let mut rooms = filled(2);
    let (one, other, h1, h2) = (LinkId(1), LinkId(2), id("h1"), id("h2"));
    rooms.renew(one, &room(), &h2, 1).expect("the newest");
    rooms.renew(other, &room(), &h1, 1).expect("said already");
    assert_eq!(rooms.renew(one, &room(), &h2, 9), Err(RoomRefusal::StaleGeneration));
    let mut offer = |generation| rooms.receivers(one, &room(), Some(&h2), SignalKind::Offer, generation);
    assert_eq!(offer(Some(1)), Err(RoomRefusal::StaleGeneration));
    assert_eq!(offer(Some(2)).map(|to| to.to_vec()), Ok(vec![(other, 2)]));
    assert_eq!(offer(None).map(|to| to.to_vec()), Ok(vec![(other, 2)]), "an older app offers again");
}

#[test]
fn candidates_are_counted_for_each_direction_and_generation() {
    let (ours, older) = (limits::CANDIDATES_A_GENERATION as u32, CANDIDATES_OF_OLDER_APPS);
    for (habit, most) in [(Habit::Native, ours), (Habit::LowerIdOffers, older), (Habit::NewcomerOffers, older)] {
        let mut rooms = Rooms::new();
        rooms.enter(&room(), entrant(1, "u1", habit), NOW).expect("a place");
        rooms.enter(&room(), entrant(2, "u2", habit), NOW).expect("a place");
        let send = |rooms: &mut Rooms, from, to: &str, n| {
            rooms.receivers(LinkId(from), &room(), Some(&id(to)), SignalKind::Candidates(n), None).map(|to| to.len())
        };
        assert_eq!(send(&mut rooms, 1, "h2", most), Ok(1));
        assert_eq!(send(&mut rooms, 1, "h2", 1), Err(RoomRefusal::RateLimited));
        assert_eq!(send(&mut rooms, 2, "h1", most), Ok(1));
        rooms.renew(LinkId(1), &room(), &id("h2"), 1).expect("the newest");
        assert_eq!(send(&mut rooms, 1, "h2", 1), Ok(1));
    }
}

#[test]
fn a_lost_link_keeps_its_seat_for_the_time_of_grace() {
    let mut rooms = filled(2);
    rooms.link_down(LinkId(1), NOW);
    assert_eq!(told(&mut rooms), ["2 Changed"]);
    rooms.link_up(LinkId(1));
    rooms.timeout(NOW.plus(GRACE_MS));
    assert_eq!(told(&mut rooms), ["2 Changed"]);
    rooms.link_down(LinkId(1), NOW);
    rooms.timeout(NOW.plus(GRACE_MS - 1));
    assert_eq!(told(&mut rooms), ["2 Changed"]);
    rooms.timeout(NOW.plus(GRACE_MS));
    assert_eq!(told(&mut rooms), ["1 Over(Lost)", "2 Departed(h1, Lost)"]);
    assert!(rooms.view(&room(), LinkId(2)).is_some_and(|view| view.host), "who is here longest is host");
}
