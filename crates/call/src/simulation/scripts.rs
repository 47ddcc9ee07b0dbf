//! Scripted calls, one behaviour each: what is done, and what every device shows and the server holds, line by line.

use super::world::{Act, World, booking};
use crate::endpoint::UserCommand::{self, *};
use bellwire_signaling::*;

pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;
const BOB_2: usize = 2;

pub(super) fn two_people() -> World {
    world(&[("alice", "alice", "alice-1"), ("bob", "bob", "bob-1")], &[ALICE, BOB])
}

fn two_people_three_devices() -> World {
    world(
        &[("alice", "alice", "alice-1"), ("bob", "bob", "bob-1"), ("bob's other", "bob", "bob-2")],
        &[ALICE, BOB, BOB_2],
    )
}

/// Connected since the third second; what went before is not looked at again.
pub(super) fn two_people_in_a_call() -> World {
    let mut world = two_people().does(1_000, ALICE, call()).does(2_000, BOB, Accept);
    world.run_until(3_000, |_, _| {}).expect("no rule is broken");
    for device in &world.devices {
        assert_eq!(device.shown.as_deref(), Some("connected"), "{}", device.name);
    }
    world.trace = Some(Vec::new());
    world
}

fn world(people: &[(&'static str, &str, &str)], linked: &[usize]) -> World {
    let mut world = World::new(7, people, vec![booking("b1", "alice", "bob", 60_000)]);
    world.delay = 10..11;
    world.trace = Some(Vec::new());
    for device in linked {
        world.at(0, Act::LinkBack(*device));
    }
    world
}

impl World {
    pub(super) fn does(mut self, at: u64, device: usize, command: UserCommand) -> Self {
        self.at(at - self.now, Act::User(device, command));
        self
    }

    pub(super) fn happens(mut self, at: u64, act: Act) -> Self {
        self.at(at - self.now, act);
        self
    }
}

pub(super) fn call() -> UserCommand {
    Call(super::world::id("b1"))
}

/// Runs for `seconds` and compares what devices show and the server holds, in whole seconds.
#[track_caller]
pub(super) fn check(mut world: World, seconds: u64, expected: &str) -> World {
    world.run_until(seconds * 1_000, |_, _| {}).expect("no rule is broken");
    let trace = world.trace.take().unwrap_or_default();
    let seen = |line: &String| {
        let (at, what) = line.trim_start().split_once(' ')?;
        let kept = what.contains(" shows ") || what.contains(" is told ") || what.starts_with("server ended");
        let at: u64 = at.parse().ok()?;
        kept.then(|| format!("{}s {what}", at / 1_000))
    };
    let seen: Vec<_> = trace.iter().filter_map(seen).collect();
    let expected: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(seen, expected, "\n{}", trace.join("\n"));
    world.trace = Some(trace);
    world
}

#[test]
fn accepted_call_connects_and_ends_the_same_on_both_sides() {
    let world = two_people().does(1_000, ALICE, call()).does(4_000, BOB, Accept).does(20_000, BOB, HangUp);
    check(
        world,
        30,
        "1s alice shows inviting
         1s bob shows ringing
         1s alice shows ringing
         4s bob shows connecting
         4s alice shows connecting
         4s alice shows connected
         4s bob shows connected
         20s bob shows ended HungUp (own word)
         20s server ended HungUp by Some(Callee)
         20s alice shows ended HungUp
         20s bob shows ended HungUp",
    );
}

#[test]
fn declined_call_gives_the_reason() {
    let world = two_people().does(1_000, ALICE, call()).does(3_000, BOB, Decline(Because::InTwoMinutes));
    check(
        world,
        10,
        "1s alice shows inviting
         1s bob shows ringing
         1s alice shows ringing
         3s bob shows ended Declined (own word)
         3s server ended Declined by Some(Callee)
         3s alice shows ended Declined
         3s bob shows ended Declined",
    );
}

#[test]
fn cancelled_ring_stops_at_the_callee() {
    let world = two_people().does(1_000, ALICE, call()).does(2_000, ALICE, HangUp);
    check(
        world,
        10,
        "1s alice shows inviting
         1s bob shows ringing
         1s alice shows ringing
         2s alice shows ended Cancelled (own word)
         2s server ended Cancelled by Some(Caller)
         2s alice shows ended Cancelled
         2s bob shows ended Cancelled",
    );
}

#[test]
fn unanswered_ring_ends_after_a_minute_and_can_be_redialled() {
    let world = two_people().does(1_000, ALICE, call()).does(70_000, ALICE, call()).does(71_000, BOB, Accept);
    check(
        world,
        75,
        "1s alice shows inviting
         1s bob shows ringing
         1s alice shows ringing
         61s server ended NoAnswer by None
         61s alice shows ended NoAnswer
         61s bob shows ended NoAnswer
         70s alice shows inviting
         70s bob shows ringing
         70s alice shows ringing
         71s bob shows connecting
         71s alice shows connecting
         71s alice shows connected
         71s bob shows connected",
    );
}

#[test]
fn ring_waits_for_a_callee_who_opens_the_app_later() {
    let world = world(&[("alice", "alice", "alice-1"), ("bob", "bob", "bob-1")], &[ALICE])
        .does(1_000, ALICE, call())
        .happens(30_000, Act::LinkBack(BOB));
    check(
        world,
        31,
        "1s alice shows inviting
         30s bob shows ringing
         30s alice shows ringing",
    );
}

#[test]
fn first_device_to_accept_wins() {
    let world = two_people_three_devices()
        .does(1_000, ALICE, call())
        .does(3_000, BOB, Accept)
        .does(3_005, BOB_2, Accept)
        .does(9_000, ALICE, HangUp);
    check(
        world,
        10,
        "1s alice shows inviting
         1s bob shows ringing
         1s bob's other shows ringing
         1s alice shows ringing
         3s bob shows connecting
         3s bob's other shows connecting
         3s alice shows connecting
         3s bob's other shows elsewhere
         3s alice shows connected
         3s bob shows connected
         9s alice shows ended HungUp (own word)
         9s server ended HungUp by Some(Caller)
         9s alice shows ended HungUp
         9s bob shows ended HungUp",
    );
}

#[test]
fn both_calling_at_once_are_one_call() {
    let world = two_people().does(1_000, ALICE, call()).does(1_002, BOB, call());
    check(
        world,
        5,
        "1s alice shows inviting
         1s bob shows inviting
         1s alice shows connecting
         1s bob shows connecting
         1s alice shows connected
         1s bob shows connected",
    );
}

#[test]
fn a_call_before_the_window_is_refused() {
    let mut world = two_people();
    world.bookings[0].opens_before_ms = 0;
    check(
        world.does(1_000, ALICE, call()),
        5,
        "1s alice shows inviting
         1s alice is told TooEarly
         1s alice shows nothing",
    );
}

#[test]
fn losing_every_link_leaves_the_call_alone() {
    let world = two_people_in_a_call()
        .happens(10_000, Act::LinkLost(ALICE))
        .happens(10_000, Act::LinkLost(BOB))
        .happens(200_000, Act::LinkBack(ALICE))
        .happens(220_000, Act::LinkBack(BOB));
    check(world, 230, "");
}

#[test]
fn a_restarted_server_knows_the_call() {
    let world = two_people_in_a_call()
        .happens(10_000, Act::ServerStops)
        .happens(15_000, Act::ServerStarts)
        .does(40_000, ALICE, HangUp);
    check(
        world,
        45,
        "40s alice shows ended HungUp (own word)
         40s server ended HungUp by Some(Caller)
         40s alice shows ended HungUp
         40s bob shows ended HungUp",
    );
}

#[test]
fn short_loss_of_sound_reconnects() {
    let world = two_people_in_a_call().happens(10_000, Act::Path(BOB, false)).happens(18_000, Act::Path(BOB, true));
    check(
        world,
        30,
        "12s bob shows reconnecting
         12s alice shows reconnecting
         18s alice shows connected
         18s bob shows connected",
    );
}

#[test]
fn long_loss_of_sound_ends_with_its_own_reason() {
    let world = two_people_in_a_call().happens(10_000, Act::Path(BOB, false)).happens(10_000, Act::Path(ALICE, false));
    check(
        world,
        60,
        "12s alice shows reconnecting
         12s bob shows reconnecting
         42s server ended MediaLost by None
         42s alice shows ended MediaLost
         42s bob shows ended MediaLost",
    );
}

#[test]
fn an_app_that_died_takes_its_call_up_again() {
    let world = two_people_in_a_call().happens(10_000, Act::Crash(BOB));
    check(
        world,
        30,
        "12s alice shows reconnecting
         15s bob shows reconnecting
         15s alice shows connected
         15s bob shows connected",
    );
}
