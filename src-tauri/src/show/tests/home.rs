//! What home shows: bookings, their windows, the other party, the history.

use super::*;

#[test]
fn home_shows_the_next_booking_and_when_it_opens() {
    World::new().shows(
        "home
         next Anna Meier window_open_until(at 1767272700000), peer_here
         [check, start-check, *call]",
    );
    let at = |minutes| World::new().with(|snapshot| snapshot.bookings = vec![booking("b1", "Anna Meier", minutes)]);
    at(15).shows("home\nnext Anna Meier window_opens_in(seconds 300), peer_here\n[check, *start-check]");
    assert!(outline(&at(15).view_after(1_000)).contains("window_opens_in(seconds 299)"));
    assert!(outline(&at(15).view_after(5 * MINUTE)).contains("*call"), "it opens by itself");
    at(200).shows("home\nnext Anna Meier window_opens_in(seconds 11400)\n[check, *start-check]");
    at(3_000).shows("home\nnext Anna Meier window_opens_at(at 1767448200000)\n[check, *start-check]");
    at(-70).shows("home\nnext Anna Meier window_over\n[check, *start-check]");
}

#[test]
fn home_says_what_became_of_a_booking() {
    let state = |state, minutes| {
        World::new().with(|snapshot| {
            snapshot.bookings = vec![BookingView { state, ..booking("b1", "Anna Meier", minutes) }];
        })
    };
    state(BookingState::Cancelled, 0).shows("home\nnext Anna Meier booking_cancelled\n[check, *start-check]");
    state(BookingState::Done, -70).shows("home\nnext Anna Meier booking_done\n[check, *start-check]");
    state(BookingState::NoShowProvider, -70)
        .shows("home\nnext Anna Meier booking_missed_by_you\n[check, *start-check]");
    state(BookingState::NoShowClient, -70).shows("home\nnext Anna Meier booking_missed_by_peer\n[check, *start-check]");
    World::new().with(|snapshot| snapshot.bookings.clear()).shows("home\nempty no_bookings\n[check, *start-check]");
    let unknown = World::new().with(|snapshot| (snapshot.bookings, snapshot.bookings_known) = (Vec::new(), false));
    unknown.shows("home\n[check, *start-check]");
}

#[test]
fn of_several_bookings_the_one_whose_time_it_is_comes_first() {
    let world = World::new().with(|snapshot| {
        snapshot.bookings = vec![
            booking("b4", "Tomorrow", 1_440),
            booking("b1", "Before", -55),
            booking("b3", "Cancelled", 20),
            booking("b2", "Now", -5),
        ];
        snapshot.bookings[2].state = BookingState::Cancelled;
    });
    world.shows(
        "home
         next Now window_open_until(at 1767272400000), peer_here
         later Before window_open_until(at 1767269400000), peer_here, call
         later Cancelled booking_cancelled
         later Tomorrow window_opens_in(seconds 85800)
         [check, start-check, *call]",
    );
}

#[test]
fn home_says_whether_the_other_one_is_there() {
    let with = |presence| {
        let world = World::new().with(|snapshot| snapshot.bookings[0].presence = presence);
        outline(&world.view_after(0)).lines().nth(1).unwrap().split(", ").nth(1).unwrap().to_owned()
    };
    assert_eq!(with(There::Online {}), "peer_here");
    assert_eq!(with(There::InAnotherCall {}), "peer_in_another_call");
    assert_eq!(with(There::Away { since: None }), "peer_away");
    assert_eq!(with(There::Away { since: Some(UnixMs(NOON)) }), "peer_away_since(at 1767268800000)");
}

#[test]
fn the_history_tells_missed_calls_from_others() {
    let world = World::new().then(|known| {
        known.take(Update::History(vec![
            record("c1", "Anna Meier", Side::Callee, EndReason::NoAnswer, false),
            record("c2", "Anna Meier", Side::Callee, EndReason::Cancelled, false),
            record("c3", "Anna Meier", Side::Callee, EndReason::HungUp, true),
            record("c4", "Anna Meier", Side::Caller, EndReason::HungUp, true),
            record("c5", "Anna Meier", Side::Caller, EndReason::NoAnswer, false),
            record("c6", "Anna Meier", Side::Caller, EndReason::Declined, false),
            record("c7", "Anna Meier", Side::Caller, EndReason::MediaFailed, false),
        ]));
    });
    world.shows(
        "home
         next Anna Meier window_open_until(at 1767272700000), peer_here
         past Anna Meier past_missed missed
         past Anna Meier past_missed missed
         past Anna Meier past_called_you 60 s
         past Anna Meier past_you_called 60 s
         past Anna Meier past_no_answer
         past Anna Meier past_declined_by_peer
         past Anna Meier past_failed
         [check, start-check, *call]",
    );
}

#[test]
fn pages_of_the_history_join_without_doubles() {
    let mut world = World::new();
    let page = |from: u64, count: u64| {
        let calls = (from..from + count).map(|at| {
            let mut call = record(&format!("c{at}"), "Anna", Side::Caller, EndReason::HungUp, true);
            call.ended_at = UnixMs(NOON - at);
            call
        });
        Update::History(calls.collect())
    };
    world.known.take(page(10, 50));
    assert!(world.known.more_history, "a full page is followed by another");
    world.known.take(page(60, 7));
    assert!(!world.known.more_history);
    world.known.take(page(5, 50));
    assert!(!world.known.more_history, "a refresh of the newest page says nothing about the oldest");
    assert_eq!(world.known.history.len(), 62);
    assert!(world.known.history.is_sorted_by_key(|call| u64::MAX - call.ended_at.0));
}

#[test]
fn without_the_server_home_says_so_and_calls_wait() {
    World::new().with(|snapshot| snapshot.link = down(LinkFault::Silent)).shows(
        "home
         next Anna Meier window_open_until(at 1767272700000), peer_here
         notice server_silent(retry_s 4)
         announce server_silent
         [check, start-check disabled, *call disabled]",
    );
}

#[test]
fn a_refusal_is_said_once() {
    let cases = [
        (ErrorCode::TooEarly, None, "refused_too_early"),
        (ErrorCode::TooLate, None, "refused_too_late"),
        (ErrorCode::BookingCancelled, None, "refused_booking_cancelled"),
        (ErrorCode::NotFound, None, "refused_not_found"),
        (ErrorCode::InAnotherCall, None, "refused_in_another_call"),
        (ErrorCode::OnAnotherDevice, None, "refused_on_another_device"),
        (ErrorCode::RateLimited, Some(2_500), "refused_rate_limited(retry_s 3)"),
        (ErrorCode::Unavailable, None, "refused_unavailable"),
        (ErrorCode::WrongState, None, "refused_out_of_date"),
        (ErrorCode::Internal, None, "refused_fault"),
    ];
    for (code, retry_after_ms, expected) in cases {
        let mut world = World::new();
        world.known.take(Update::Refused { code, retry_after_ms });
        let notice = outline(&world.view_after(0)).lines().nth(2).unwrap().to_owned();
        assert_eq!(notice, format!("notice {expected}"));
    }
}
