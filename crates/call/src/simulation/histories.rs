//! Random histories: everything that can happen, at any time; then peace, and everything must be well.

use super::world::{Act, Link, Relays, World, booking, describe, id};
use crate::endpoint::{State, UserCommand};
use crate::fault::{Fault, plant};
use bellwire_signaling::*;
use std::collections::BTreeMap;

/// After this much peace every call is connected or over.
const PEACE_MS: u64 = 150_000;

/// How often each thing was met.
type Tally = BTreeMap<String, u64>;

/// Runs one history: what it met, or how a rule was broken; and its steps.
fn history(seed: u64, traced: bool) -> (Result<Tally, String>, Vec<String>) {
    let mut world = random_world(seed);
    world.trace = traced.then(Vec::new);
    let result = run(&mut world);
    let trace = world.trace.take().unwrap_or_default();
    match result {
        Ok(()) => (Ok(world.ghost.tally), trace),
        Err(broken) => (Err(format!("at {} ms: {broken}", world.now)), trace),
    }
}

fn random_world(seed: u64) -> World {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let all = [
        ("alice", "alice", "alice-1"),
        ("bob", "bob", "bob-1"),
        ("bob's other", "bob", "bob-2"),
        ("alice's other", "alice", "alice-2"),
    ];
    let mut people = all[..rng.usize(2..=4)].to_vec();
    let mut bookings = vec![booking("b1", "alice", "bob", rng.u64(0..60_000))];
    match rng.u8(0..10) {
        0..3 if people.len() < 4 => {
            people.push(("carol", "carol", "carol-1"));
            bookings.push(booking("b2", "carol", "bob", 0));
        }
        // A window that opens, or closes, in the middle.
        3 => bookings[0].opens_before_ms = 0,
        4 => {
            bookings[0].starts_at = UnixMs(super::world::BASE - 60 * 60_000);
            bookings[0].closes_after_ms = 30 * 60_000 + rng.u64(0..60_000);
        }
        _ => {}
    }
    let mut world = World::new(seed, &people, bookings);
    world.delay = 2..[20, 80, 600][rng.usize(0..3)];
    world.sound.setup_ms = [0..300, 0..300, 2_000..4_500][rng.usize(0..3)].clone();
    world.doubled = [0, 5, 30][rng.usize(0..3)];
    world.relays = [Relays::None, Relays::Granted, Relays::Granted, Relays::Slow, Relays::Refused][rng.usize(0..5)];
    world
}

fn run(world: &mut World) -> Result<(), String> {
    let devices = world.devices.len();
    let trouble = world.rng.u64(20_000..120_000);
    for device in 0..devices {
        let first = if world.rng.bool() { 0 } else { world.rng.u64(0..20_000) };
        world.at(first, Act::LinkBack(device));
        let whim = world.rng.u64(500..4_000);
        world.at(whim, Act::Whim(device));
    }
    plan_trouble(world, trouble);
    world.run_until(trouble, whim)?;

    // Peace: all that was broken is mended, nobody touches anything.
    if world.server.down {
        world.at(0, Act::ServerStarts);
    }
    for device in 0..devices {
        world.at(1, Act::Path(device, true));
        world.at(1, Act::Direct(device, true));
        world.at(1, Act::Broken(device, false));
        if world.devices[device].link == Link::Down {
            world.at(10, Act::LinkBack(device));
        }
    }
    let end = world.now + PEACE_MS;
    world.run_until(end, |_, _| {})?;
    at_peace(world)
}

fn plan_trouble(world: &mut World, until: u64) {
    let devices = world.devices.len();
    for _ in 0..world.rng.usize(0..6) {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        world.at(at, Act::LinkLost(device));
        let long = if world.rng.u8(0..10) == 0 { 130_000 } else { 15_000 };
        let back = at + world.rng.u64(50..long);
        world.at(back, Act::LinkBack(device));
    }
    for _ in 0..world.rng.usize(0..4) {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        world.at(at, Act::Path(device, false));
        let long = if world.rng.u8(0..3) == 0 { 60_000 } else { 8_000 };
        let back = at + world.rng.u64(50..long);
        world.at(back, Act::Path(device, true));
    }
    if world.rng.u8(0..3) == 0 {
        let at = world.rng.u64(0..until);
        world.at(at, Act::ServerStops);
        let long = if world.rng.u8(0..5) == 0 { 90_000 } else { 4_000 };
        let back = at + world.rng.u64(50..long);
        if back < until {
            world.at(back, Act::ServerStarts);
        }
    }
    if world.rng.u8(0..4) == 0 {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        world.at(at, Act::Crash(device));
    }
    for _ in 0..world.rng.usize(0..3) {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        world.at(at, Act::Address(device));
        if world.rng.bool() {
            world.at(at, Act::LinkLost(device));
            let back = at + world.rng.u64(50..1_500);
            world.at(back, Act::LinkBack(device));
        }
    }
    if world.rng.u8(0..3) == 0 {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        world.at(at, Act::Direct(device, false));
        if world.rng.bool() {
            let back = at + world.rng.u64(50..30_000);
            world.at(back, Act::Direct(device, true));
        }
    }
    if world.rng.u8(0..10) == 0 {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        world.at(at, Act::Broken(device, true));
        let back = at + world.rng.u64(50..20_000);
        world.at(back, Act::Broken(device, false));
    }
    if world.rng.u8(0..4) == 0 {
        let (at, device) = (world.rng.u64(0..until), world.rng.usize(0..devices));
        let for_ms = world.rng.u64(500..25_000);
        if at + for_ms < until {
            world.at(at, Act::Sleep(device, for_ms));
        }
    }
    if world.rng.u8(0..12) == 0 {
        let (at, n) = (world.rng.u64(0..until), world.rng.usize(0..world.bookings.len()));
        world.at(at, Act::CancelBooking(n));
    }
}

/// What a person does next, seeing what the device shows.
fn whim(world: &mut World, device: usize) {
    let again = world.rng.u64(300..6_000);
    world.at(again, Act::Whim(device));
    let dice = world.rng.u8(0..100);
    let shown = world.devices[device].endpoint.call().cloned();
    let command = match shown.as_ref().map(|call| (&call.state, call.you)) {
        None | Some((State::Ended { .. } | State::Elsewhere, _)) if dice < 35 => {
            let user = world.devices[device].who.user.clone();
            let ours: Vec<_> = world.bookings.iter().filter(|b| b.role_of(&user).is_some()).collect();
            let chosen = ours[usize::from(dice) % ours.len()].id.clone();
            Some(UserCommand::Call(chosen))
        }
        Some((State::Ended { .. } | State::Elsewhere, _)) if dice < 60 => Some(UserCommand::Dismiss),
        None | Some((State::Ended { .. } | State::Elsewhere, _)) => None,
        Some((State::Ringing, Side::Callee)) => match dice {
            0..50 => Some(UserCommand::Accept),
            50..60 => Some(UserCommand::Decline(Because::InTwoMinutes)),
            60..63 => Some(UserCommand::HangUp),
            _ => None,
        },
        Some((State::Inviting | State::Ringing, _)) if dice < 8 => Some(UserCommand::HangUp),
        Some((State::Connecting | State::Connected | State::Reconnecting { .. }, _)) => match dice {
            0..5 => Some(UserCommand::HangUp),
            5..15 => Some(UserCommand::Mute(dice < 10)),
            15..17 => Some(UserCommand::RelayOnly(dice == 15)),
            17..30 => Some(UserCommand::Health(Health { receives: Receives::Sound, ..Health::default() })),
            30..40 => Some(UserCommand::Health(Health::default())),
            _ => None,
        },
        Some((State::Inviting | State::Ringing, _)) => None,
    };
    // Rule 2: whoever learned a call's id and is no party of it gets nowhere.
    if dice.is_multiple_of(4)
        && let Some(call) = shown.and_then(|call| call.call)
    {
        let generation = 1;
        let command = match dice / 4 % 5 {
            0 => Command::Accept { call },
            1 => Command::HangUp { call },
            2 => Command::Hearing { call, generation, hearing: true },
            3 => Command::Decline { call, because: Because::NotNow },
            _ => Command::Invite { booking: world.bookings[0].id.clone(), attempt: id("forged") },
        };
        world.at(0, Act::Stranger(command));
    }
    if let Some(command) = command {
        world.at(0, Act::User(device, command));
    }
}

fn at_peace(world: &World) -> Result<(), String> {
    for call in world.server.store.values() {
        for side in [Side::Caller, Side::Callee] {
            let carries = call.device(side);
            for device in world.devices.iter().filter(|d| d.who.user == call.party(side).user) {
                let shown = device.endpoint.call().filter(|shown| shown.call.as_ref() == Some(call.id()));
                if !call.is_ended() && carries == Some(&device.who.device) {
                    let state = shown.map(|call| describe(&call.state));
                    if state.as_deref() != Some("connected") {
                        return Err(format!("at peace {} shows {state:?} of a live call", device.name));
                    }
                }
                let n = world.devices.iter().position(|other| other.who == device.who).unwrap_or_default();
                let by_wish = world.devices.iter().any(|device| device.ways.relay_only);
                let tried = by_wish || world.ghost.begun_well(call.id()) > 0;
                if !call.is_ended() && shown.is_some() && world.sound.is_relayed(n) && !tried {
                    return Err("ways: at peace sound still goes by a relay".into());
                }
                match (shown.map(|call| &call.state), call.is_ended()) {
                    (None | Some(State::Ended { confirmed: true, .. } | State::Elsewhere), true) => {}
                    (Some(state), true) => {
                        return Err(format!("rule 6: at peace {} shows {}", device.name, describe(state)));
                    }
                    (None | Some(_), false) => {}
                }
            }
        }
        if call.is_ringing() {
            return Err("a call still rings at peace".into());
        }
    }
    let live = world.server.store.values().filter(|call| !call.is_ended()).count();
    if world.server.exchange.live_calls() != live {
        return Err("the exchange and the store hold different calls".into());
    }
    Ok(())
}

pub(super) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs histories on all cores. `Err` holds the first seed that broke a rule, and how.
fn run_many(first: u64, count: u64, fault: Option<Fault>) -> Result<Tally, (u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let parts: Vec<_> = std::thread::scope(|scope| {
        let start = |thread: u64| {
            scope.spawn(move || {
                plant(fault);
                let mut tally = Tally::new();
                for seed in (first + thread..first + count).step_by(threads as usize) {
                    match history(seed, false) {
                        (Ok(met), _) => met.into_iter().for_each(|(what, n)| *tally.entry(what).or_default() += n),
                        (Err(broken), _) => return Err((seed, broken)),
                    }
                }
                Ok(tally)
            })
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread of histories")).collect()
    });
    let mut all = Tally::new();
    for part in parts {
        part?.into_iter().for_each(|(what, n)| *all.entry(what).or_default() += n);
    }
    Ok(all)
}

#[test]
fn simulation_keeps_every_rule_in_random_histories() {
    let default = if cfg!(debug_assertions) { 300 } else { 20_000 };
    let (first, count) = (setting("BELLWIRE_FIRST_SEED", 1), setting("BELLWIRE_HISTORIES", default));
    let begun = std::time::Instant::now();
    match run_many(first, count, None) {
        Ok(tally) => {
            println!("{count} histories in {:.1} s", begun.elapsed().as_secs_f32());
            tally.iter().for_each(|(what, n)| println!("{n:>8} {what}"));
            // The histories are worth their name only if they go everywhere.
            for reason in ["HungUp", "Cancelled", "Declined", "NoAnswer", "Busy", "MediaFailed", "MediaLost"] {
                assert!(count < 2_000 || tally.contains_key(&format!("ended {reason}")), "no history met {reason}");
            }
            assert!(tally.get("connected").is_some_and(|n| *n > count / 10), "too few calls were connected");
        }
        Err((seed, broken)) => panic!(
            "seed {seed}: {broken}\nreplay: BELLWIRE_SEED={seed} cargo test --profile sim -p bellwire-call --lib replay -- --nocapture"
        ),
    }
}

#[test]
fn replay() {
    let seed = setting("BELLWIRE_SEED", 1);
    match history(seed, true) {
        (Ok(_), trace) => println!("{}\nseed {seed}: no rule broken", trace.join("\n")),
        (Err(broken), trace) => panic!("{}\nseed {seed}: {broken}", trace.join("\n")),
    }
}

#[test]
fn a_history_of_a_seed_is_always_the_same() {
    for seed in 1..50 {
        assert_eq!(history(seed, true), history(seed, true), "seed {seed}");
    }
}

/// A planted fault must be noticed as a break of the rule it breaks.
#[track_caller]
fn caught(fault: Fault, rule: &str) {
    let result = run_many(1, 4_000, Some(fault));
    let (seed, broken) = result.expect_err("the planted fault was not noticed");
    println!("{fault:?}: seed {seed}: {broken}");
    assert!(broken.contains(rule), "{fault:?} was noticed as something else: {broken}");
}

#[test]
fn a_connection_before_accept_is_caught() {
    caught(Fault::ConnectionBeforeAccept, "rule 1");
}

#[test]
fn an_obeyed_stranger_is_caught() {
    caught(Fault::StrangerObeyed, "rule 2");
}

#[test]
fn mixed_generations_are_caught() {
    caught(Fault::GenerationsMixed, "rule 3");
}

#[test]
fn assumed_ringing_is_caught() {
    caught(Fault::RingingAssumed, "rule 4");
}

#[test]
fn connected_one_way_is_caught() {
    caught(Fault::ConnectedOneWay, "rule 5");
}

#[test]
fn a_second_end_is_caught() {
    caught(Fault::EndedTwice, "rule 6");
}

#[test]
fn an_end_by_link_loss_is_caught() {
    caught(Fault::LinkLossEnds, "rule 7");
}

#[test]
fn a_second_accept_is_caught() {
    caught(Fault::SecondAcceptWins, "rule 8");
}

#[test]
fn a_grant_that_is_not_awaited_is_caught() {
    caught(Fault::GrantNotAwaited, "before the relays could be known");
}

#[test]
fn an_ignored_wish_for_relays_is_caught() {
    caught(Fault::WishForRelaysIgnored, "against the wish");
}

#[test]
fn an_ignored_change_of_the_network_is_caught() {
    caught(Fault::NetworkChangeIgnored, "the network changed");
}

#[test]
fn impatient_renewals_are_caught() {
    caught(Fault::ImpatientRenewals, "too early");
}

#[test]
fn unpaced_renewals_are_caught() {
    caught(Fault::RenewalsUnpaced, "storm");
}

#[test]
fn a_relay_that_is_never_left_is_caught() {
    caught(Fault::NeverUpgrades, "still goes by a relay");
}

#[test]
fn an_ignored_window_is_caught() {
    caught(Fault::WindowIgnored, "rule 9");
}
