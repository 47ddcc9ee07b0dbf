//! When the next connection is asked for, and by which route it goes.

use super::*;

const TIMES: Times = Times { pace_ms: &[1_000, 1_000, 2_000, 4_000], setup_ms: 5_000, unanswered_ms: 10_000 };
const RELAYED: Relays = Relays { only: false, granted: true };

/// A way and its clock.
struct Told {
    way: Way,
    relays: Relays,
}

fn at(ms: u64) -> Monotonic {
    Monotonic(ms)
}

impl Told {
    /// The first connection stands and is heard.
    fn hearing(relayed: bool) -> Self {
        let mut told = Self { way: Way::new(TIMES, at(0)), relays: RELAYED };
        told.next(1, true, 0);
        told.way.goes_by(1, relayed, at(0));
        told.way.flows(1, at(0));
        told
    }

    #[track_caller]
    fn next(&mut self, generation: u32, lost: bool, now: u64) -> Route {
        self.way.advance(generation, lost, at(now));
        self.way.open(self.relays, at(now))
    }

    /// Lets time pass until the next request, and says when that is.
    #[track_caller]
    fn asks(&mut self, expected: u64) {
        let due = self.way.next_due(self.relays, true).expect("nothing is wanted");
        assert_eq!(due.max(at(0)), at(expected));
        assert!(!self.way.is_due(self.relays, true, at(expected - 1)), "too early");
        assert!(self.way.is_due(self.relays, true, at(expected)));
    }

    #[track_caller]
    fn asks_nothing(&mut self, until: u64) {
        assert!(!self.way.is_due(self.relays, true, at(until)), "something was asked for");
    }
}

#[test]
fn after_each_loss_the_route_is_the_other_one() {
    let mut told = Told::hearing(false);
    told.way.ceases(1, at(10_000));
    told.asks(10_000);
    assert_eq!(told.next(2, true, 10_100), Route::RelayOnly);
    told.way.ceases(2, at(10_200));
    told.asks(11_000);
    assert_eq!(told.next(3, true, 11_100), Route::Any);
    // Without a relay there is no other route.
    told.way.ceases(3, at(11_200));
    told.relays.granted = false;
    told.asks(13_000);
    assert_eq!(told.next(4, true, 13_100), Route::Any);
}

#[test]
fn one_under_way_gets_its_time_whoever_asked_for_it() {
    let mut told = Told::hearing(false);
    told.way.ceases(1, at(10_000));
    told.next(2, true, 10_000);
    told.way.begins(at(10_300));
    told.asks_nothing(15_299);
    // The pair of candidates is known: the rest takes time as well.
    told.way.goes_by(2, false, at(15_299));
    told.asks(20_299);
}

#[test]
fn what_the_other_side_does_not_answer_is_given_up_later() {
    let mut told = Told::hearing(false);
    told.way.ceases(1, at(10_000));
    told.next(2, true, 10_000);
    told.asks(20_000);
    // The server says nothing to that.
    told.asks(24_000);
}

#[test]
fn an_older_one_that_is_heard_again_makes_all_well() {
    let mut told = Told::hearing(false);
    told.way.ceases(1, at(10_000));
    told.asks(10_000);
    told.next(2, true, 10_100);
    told.way.flows(1, at(11_000));
    assert!(told.way.hears());
    told.asks_nothing(300_000);
    // The newer one came to nothing; when the older ends as well, the next is wanted at once.
    told.way.ceases(2, at(300_000));
    told.asks_nothing(400_000);
    told.way.ceases(1, at(400_000));
    assert!(told.way.is_due(RELAYED, true, at(400_000)));
}

#[test]
fn another_network_asks_at_once_then_once_a_second_and_goes_any_way() {
    let mut told = Told::hearing(false);
    told.way.network_changed(at(5_000));
    told.asks(5_000);
    told.way.network_changed(at(5_300));
    told.way.network_changed(at(5_600));
    told.asks(6_000);
    assert_eq!(told.next(2, true, 6_200), Route::Any);
    // What was opened after the change is of the new network.
    told.way.network_changed(at(6_300));
    told.next(3, false, 6_400);
    told.asks_nothing(7_500);
}

#[test]
fn a_relay_is_left_at_growing_intervals_and_a_try_that_fails_is_not_spoken_of() {
    let mut told = Told::hearing(true);
    told.asks(15_000);
    assert_eq!(told.next(2, false, 15_100), Route::Any);
    told.way.ceases(2, at(25_000));
    assert!(told.way.hears());
    told.asks(135_100);
    told.next(3, false, 135_200);
    told.way.ceases(3, at(145_000));
    told.asks(735_200);
    told.next(4, false, 735_300);
    told.way.goes_by(4, false, at(735_400));
    told.way.flows(4, at(735_500));
    told.asks_nothing(u64::MAX / 2);
}

#[test]
fn another_network_is_a_reason_to_try_again_soon() {
    let mut told = Told::hearing(true);
    told.asks(15_000);
    told.next(2, false, 15_100);
    told.way.ceases(2, at(25_000));
    told.way.network_changed(at(60_000));
    told.asks(60_000);
    told.next(3, false, 60_100);
    told.way.ceases(3, at(70_000));
    told.asks(75_100);
}

#[test]
fn one_that_goes_by_relays_by_wish_stays_there() {
    let mut told = Told::hearing(true);
    told.relays.only = true;
    told.asks_nothing(1_000_000);
    told.way.network_changed(at(1_000_000));
    told.asks(1_000_000);
    assert_eq!(told.next(2, false, 1_000_100), Route::RelayOnly);
}

#[test]
fn a_refused_request_is_made_again_when_the_server_says() {
    let mut told = Told::hearing(false);
    told.way.network_changed(at(5_000));
    told.asks(5_000);
    told.way.refused(1, at(8_000));
    told.asks(8_000);
    // In a new session nobody knows of it.
    told.way.begin_session(at(8_100));
    told.asks(8_100);
}
