//! What networks do to a call, one interruption each: what both sides see of it, and for how long.

use super::scripts::{ALICE, BOB, call, check, two_people, two_people_in_a_call};
use super::world::{Act, Relays, World};
use crate::endpoint::UserCommand::{self, Accept};
use bellwire_signaling::*;

impl World {
    /// When the trace first says this, in milliseconds.
    #[track_caller]
    fn when(&self, what: &str) -> u64 {
        let trace = self.trace.as_deref().unwrap_or_default();
        let line = trace.iter().find(|line| line.contains(what));
        let line = line.unwrap_or_else(|| panic!("{what} is not in\n{}", trace.join("\n")));
        line.trim_start().split(' ').next().and_then(|at| at.parse().ok()).expect("a line begins with its time")
    }

    fn generations(&self) -> usize {
        let trace = self.trace.as_deref().unwrap_or_default();
        trace.iter().filter(|line| line.contains("alice does Open")).count()
    }
}

/// A call by a relay, as there is no direct path.
fn two_people_by_relay() -> World {
    let mut world = two_people();
    world.relays = Relays::Granted;
    world.sound.set_direct(BOB, false);
    let mut world = world.does(1_000, ALICE, call()).does(2_000, BOB, Accept);
    world.run_until(3_000, |_, _| {}).expect("no rule is broken");
    world.trace = Some(Vec::new());
    assert_eq!(world.devices[ALICE].endpoint.call().and_then(|call| call.relayed), Some(true));
    world
}

#[test]
fn another_address_brings_the_next_connection_before_anyone_sees_a_reconnect() {
    let world = check(two_people_in_a_call().happens(10_000, Act::Address(BOB)), 20, "");
    assert!(world.when("bob sound Flowing { generation: 2 }") <= 11_500);
    assert!(world.when("alice sound Flowing { generation: 2 }") <= 11_500);
    assert_eq!(world.generations(), 1);
}

#[test]
fn another_address_that_takes_the_link_along_is_answered_when_the_link_is_back() {
    let world = two_people_in_a_call()
        .happens(10_000, Act::Address(BOB))
        .happens(10_000, Act::LinkLost(BOB))
        .happens(10_900, Act::LinkBack(BOB));
    let world = check(world, 20, "");
    assert!(world.when("alice sound Flowing { generation: 2 }") <= 11_900);
    assert_eq!(world.generations(), 1);
}

#[test]
fn new_addresses_on_both_sides_and_again_make_no_storm() {
    let mut world = two_people_in_a_call();
    for at in [10_000, 10_100, 10_300, 10_450, 10_700] {
        world = world.happens(at, Act::Address(BOB)).happens(at, Act::Address(ALICE));
    }
    let world = check(world, 20, "");
    assert!((2..=4).contains(&world.generations()), "{} connections", world.generations());
    assert!(world.devices.iter().enumerate().all(|(n, _)| world.sound.hears_since(n).is_some()));
}

#[test]
fn a_network_that_is_away_for_fifteen_seconds_is_taken_up_within_a_second() {
    let world = two_people_in_a_call()
        .happens(10_000, Act::Path(ALICE, false))
        .happens(10_000, Act::Path(BOB, false))
        .happens(25_000, Act::Path(ALICE, true))
        .happens(25_000, Act::Path(BOB, true));
    check(
        world,
        40,
        "12s alice shows reconnecting
         12s bob shows reconnecting
         25s alice shows connected
         25s bob shows connected",
    );
}

#[test]
fn a_slow_network_gets_the_time_that_it_needs() {
    let mut world = two_people_in_a_call();
    world.delay = 200..400;
    world.sound.setup_ms = 3_500..4_500;
    let mut world = world.happens(10_000, Act::Address(BOB));
    world.run_until(30_000, |_, _| {}).expect("no rule is broken");
    assert!(world.devices.iter().all(|device| device.shown.as_deref() == Some("connected")));
    assert!(world.when("alice sound Flowing { generation: 2 }") > 15_000, "not slow at all");
    assert_eq!(world.generations(), 1, "the connection under way was disturbed");
}

#[test]
fn a_device_that_slept_comes_back_into_the_newest_connection() {
    let world = check(
        two_people_in_a_call().happens(10_000, Act::Sleep(BOB, 20_000)),
        40,
        "12s alice shows reconnecting
         30s bob shows reconnecting
         30s alice shows connected
         30s bob shows connected",
    );
    assert!(world.generations() <= 3, "{} connections", world.generations());
}

#[test]
fn after_a_loss_the_next_try_goes_by_relays_alone_and_the_one_after_any_way() {
    let mut world = two_people();
    world.relays = Relays::Granted;
    let mut world = world.does(1_000, ALICE, call()).does(2_000, BOB, Accept);
    world.run_until(3_000, |_, _| {}).expect("no rule is broken");
    let mut world = world.happens(10_000, Act::Path(ALICE, false)).happens(10_000, Act::Path(BOB, false));
    world.run_until(30_000, |_, _| {}).expect("no rule is broken");
    for (generation, route) in [(1, "Any"), (2, "RelayOnly"), (3, "Any"), (4, "RelayOnly")] {
        for name in ["alice", "bob"] {
            world.when(&format!("{name} does Open {{ generation: {generation}, route: {route} }}"));
        }
    }
}

#[test]
fn a_relay_is_left_when_there_is_a_direct_path_and_nobody_notices() {
    let world = two_people_by_relay().happens(8_000, Act::Direct(BOB, true));
    let world = check(world, 30, "");
    let at = world.when("alice sound Path { generation: 2, relayed: false }");
    assert!((17_000..20_000).contains(&at), "at {at}");
    assert_eq!(world.devices[ALICE].endpoint.call().and_then(|call| call.relayed), Some(false));
}

#[test]
fn without_a_direct_path_another_is_tried_after_seconds_then_minutes() {
    let world = check(two_people_by_relay(), 1_000, "");
    // After 15 s, 2 and 10 more minutes.
    assert_eq!(world.generations(), 3);
}

#[test]
fn health_is_said_when_it_changes_and_seen_on_the_other_side() {
    let muffled = Health { microphone: MicrophoneHealth::Silent, ..Health::default() };
    let mut world = two_people_in_a_call()
        .does(5_000, BOB, UserCommand::Health(muffled))
        .does(5_100, BOB, UserCommand::Health(Default::default()))
        .does(5_200, BOB, UserCommand::Health(muffled))
        .does(9_000, BOB, UserCommand::Health(Default::default()));
    let seen = |world: &World| world.devices[ALICE].endpoint.call().and_then(|call| call.peer_health);
    world.run_until(8_000, |_, _| {}).expect("no rule is broken");
    assert_eq!(seen(&world), Some(muffled));
    world.run_until(9_900, |_, _| {}).expect("no rule is broken");
    assert_eq!(seen(&world), Some(bellwire_signaling::Health::default()));
}
