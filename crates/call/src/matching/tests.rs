//! Short stories of the queue.

use super::*;

fn at(ms: u64) -> UnixMs {
    UnixMs(1_000_000 + ms)
}

fn user(n: u64) -> UserId {
    format!("u{n}").parse().expect("a test's id")
}

/// Link `n` of the person of that number searches.
fn search(queue: &mut MatchQueue, n: u64, ms: u64) -> Result<(), QueueRefusal> {
    queue.search(Searcher { link: LinkId(n), user: user(n) }, at(ms))
}

/// What was said, as text.
fn said(queue: &mut MatchQueue) -> Vec<String> {
    let line = |effect| match effect {
        QueueEffect::Waiting { link, place } => format!("{} waits at {place}", link.0),
        QueueEffect::Matched { first, second } => format!("{} offers to {}", first.0, second.0),
        QueueEffect::Parted { link, partner, why } => format!("{} parts from {}: {why:?}", link.0, partner.0),
    };
    std::iter::from_fn(|| queue.poll_effect()).map(line).collect()
}

#[test]
fn the_newer_of_two_offers_and_a_skip_parts_them_for_ten_minutes() {
    let mut queue = MatchQueue::new();
    search(&mut queue, 1, 0).expect("a place");
    search(&mut queue, 2, 0).expect("a match");
    assert_eq!(said(&mut queue), ["1 waits at 1", "2 offers to 1"]);
    queue.skip(LinkId(1), at(2_000)).expect("a match");
    search(&mut queue, 2, 2_000).expect("a place");
    assert_eq!(said(&mut queue), ["1 parts from 2: Skipped", "1 waits at 1", "2 waits at 2"]);
    assert_eq!(queue.poll_timeout(), Some(at(2_000 + REMATCH_MS)));
    queue.timeout(at(2_000 + REMATCH_MS));
    assert_eq!(said(&mut queue), ["2 offers to 1"]);
}

#[test]
fn refusals_of_the_queue() {
    let mut queue = MatchQueue::new();
    search(&mut queue, 1, 0).expect("a place");
    assert_eq!(search(&mut queue, 1, 400), Err(QueueRefusal::RateLimited { retry_after_ms: 600 }));
    assert_eq!(search(&mut queue, 1, 1_000), Err(QueueRefusal::AlreadySearching));
    assert_eq!(queue.skip(LinkId(1), at(3_000)), Err(QueueRefusal::NotMatched));
    search(&mut queue, 2, 3_000).expect("a match");
    assert_eq!(search(&mut queue, 1, 5_000), Err(QueueRefusal::AlreadyMatched));
    let elsewhere = Searcher { link: LinkId(9), user: user(1) };
    assert_eq!(queue.search(elsewhere, at(7_000)), Err(QueueRefusal::AlreadyMatched));
}

#[test]
fn a_blocked_partner_is_never_met_again() {
    let mut queue = MatchQueue::new();
    search(&mut queue, 1, 0).expect("a place");
    search(&mut queue, 2, 0).expect("a match");
    queue.block(&user(2), &user(1), at(10));
    search(&mut queue, 1, 2_000).expect("a place");
    search(&mut queue, 2, 2_000).expect("a place");
    queue.timeout(at(100 * REMATCH_MS));
    let story = ["1 waits at 1", "2 offers to 1", "2 parts from 1: Blocked", "1 waits at 1", "2 waits at 2"];
    assert_eq!(said(&mut queue), story);
}

#[test]
fn one_who_is_away_keeps_the_place_and_another_link_of_theirs_takes_over() {
    let mut queue = MatchQueue::new();
    search(&mut queue, 1, 0).expect("a place");
    queue.away(LinkId(1));
    search(&mut queue, 2, 0).expect("a place");
    assert_eq!(said(&mut queue), ["1 waits at 1", "2 waits at 2"]);
    queue.back(LinkId(1), at(10));
    assert_eq!(said(&mut queue), ["2 offers to 1"]);
    queue.away(LinkId(1));
    queue.search(Searcher { link: LinkId(9), user: user(1) }, at(2_000)).expect("a place");
    assert_eq!(said(&mut queue), ["1 parts from 2: Gone", "9 waits at 1"]);
    assert_eq!(queue.state(LinkId(2)), SearchState::Idle);
}

#[test]
fn places_are_told_to_the_first_fifty_alone() {
    let mut queue = MatchQueue::new();
    for n in 0..60 {
        search(&mut queue, n, 0).expect("a place");
        queue.away(LinkId(n));
    }
    assert_eq!(said(&mut queue).last().map(String::as_str), Some("59 waits at 60"));
    queue.gone(LinkId(0), at(1));
    let moved = said(&mut queue);
    assert_eq!((moved.len(), moved[49].as_str()), (50, "50 waits at 50"));
    assert!(matches!(queue.state(LinkId(59)), SearchState::Waiting { place: 59, .. }));
}
