//! Microphone and speaker: what is chosen, what is wrong with them, what became of them.

use super::*;
use bellwire_client::NoiseSuppression;

#[test]
fn the_check_has_one_verdict() {
    let check = |input: DeviceState, output: DeviceState| {
        World::new().then(Known::begin_check).with(|snapshot| (snapshot.input, snapshot.output) = (input, output))
    };
    let missing = |why| DeviceState::Missing { why };
    let verdict = |input| outline(&check(input, open("S")).view_after(0)).lines().nth(1).unwrap().to_owned();
    assert_eq!(verdict(DeviceState::Closed), "verdict check_listening");
    assert_eq!(verdict(open("M")), "verdict check_listening");
    assert_eq!(verdict(missing(DeviceFault::NoDevice)), "verdict check_no_microphone");
    assert_eq!(verdict(missing(DeviceFault::PermissionRefused)), "verdict check_permission");
    assert_eq!(verdict(missing(DeviceFault::InUse)), "verdict check_in_use");
    assert_eq!(verdict(missing(DeviceFault::Other("EIO".into()))), r#"verdict check_fault(why "EIO")"#);
    let silent = DeviceState::Open { name: "M".into(), fallback: false, silent: true };
    assert_eq!(verdict(silent), "verdict check_silent");

    let mut world = check(open("M"), missing(DeviceFault::NoDevice));
    for _ in 0..2 {
        world.known.take(Update::Level { input: 0.5, output: 0.0 });
    }
    assert!(outline(&world.view_after(0)).contains("check_listening"), "a knock is no speech");
    world.known.take(Update::Level { input: 0.5, output: 0.0 });
    world.shows(
        "check
         verdict check_heard
         speaker speaker_none
         announce check_heard
         [test-sound, start-check, *check-done]",
    );
}

#[test]
fn faults_of_devices_are_said_in_a_call() {
    let notice = |input: DeviceState| {
        let world = World::new().in_call().with(|snapshot| snapshot.input = input);
        let outline = outline(&world.view_after(0));
        outline.lines().find_map(|line| line.strip_prefix("notice ")).map(ToOwned::to_owned)
    };
    let missing = |why| DeviceState::Missing { why };
    assert_eq!(notice(open("Microphone")), None);
    assert_eq!(notice(missing(DeviceFault::NoDevice)).as_deref(), Some("microphone_unplugged"));
    assert_eq!(notice(missing(DeviceFault::PermissionRefused)).as_deref(), Some("microphone_permission"));
    assert_eq!(notice(missing(DeviceFault::InUse)).as_deref(), Some("microphone_in_use"));
    let fallback = DeviceState::Open { name: "Built-in".into(), fallback: true, silent: false };
    assert_eq!(notice(fallback).as_deref(), Some(r#"microphone_fallback(device "Built-in")"#));
    let silent = DeviceState::Open { name: "M".into(), fallback: false, silent: true };
    assert_eq!(notice(silent.clone()).as_deref(), Some("microphone_silent"));

    let muted = World::new().in_call().mutes(true, false).with(|snapshot| snapshot.input = silent);
    assert!(!outline(&muted.view_after(0)).contains("microphone_silent"), "a muted microphone is silent by itself");
    let never = World::new()
        .with(|snapshot| snapshot.input = missing(DeviceFault::NoDevice))
        .calling(State::Connecting, Side::Caller);
    assert!(outline(&never.view_after(0)).contains("notice microphone_missing"));
    let deaf = World::new().in_call().with(|snapshot| snapshot.output = missing(DeviceFault::NoDevice));
    assert!(outline(&deaf.view_after(0)).contains("notice speaker_missing"));
}

#[test]
fn devices_are_offered_with_the_one_that_is_chosen() {
    let device = |name: &str, kind| DeviceInfo { name: name.into(), kind, is_default: false };
    let listed = vec![
        device("Built-in", DeviceKind::Input),
        device("USB", DeviceKind::Input),
        device("Loud", DeviceKind::Output),
    ];
    let inputs = |choice: DeviceChoice| {
        let world = World::new().in_call().then(|known| known.devices = Some(Ok(listed.clone())));
        let world = world.with(|snapshot| snapshot.input_choice = choice);
        let options = world.view_after(0).sound.unwrap().inputs;
        let words =
            options.iter().map(|option| format!("{}{}", if option.chosen { "*" } else { "" }, said(&option.label)));
        words.collect::<Vec<_>>().join(" ")
    };
    let named = |name: &str| format!("device_named(device {name:?})");
    let (built_in, usb) = (named("Built-in"), named("USB"));
    assert_eq!(inputs(DeviceChoice::Default), format!("*device_default {built_in} {usb}"));
    assert_eq!(inputs(DeviceChoice::Named("USB".into())), format!("device_default {built_in} *{usb}"));
    let gone = format!("device_default {built_in} {usb} *{}", named("Gone"));
    assert_eq!(inputs(DeviceChoice::Named("Gone".into())), gone);
    assert_eq!(inputs(DeviceChoice::Wav("a.wav".into())), format!("device_default {built_in} {usb} *device_file"));
}

#[test]
fn the_ring_has_a_speaker_of_its_own_or_that_of_calls() {
    let listed = vec![DeviceInfo { name: "Loud".into(), kind: DeviceKind::Output, is_default: true }];
    let rings = |choice: Option<DeviceChoice>| {
        let world = World::new().then(Known::begin_check).then(|known| known.devices = Some(Ok(listed.clone())));
        let world = world.with(|snapshot| snapshot.ring_choice = choice);
        let options = world.view_after(0).sound.unwrap().rings;
        let words =
            options.iter().map(|option| format!("{}{}", if option.chosen { "*" } else { "" }, said(&option.label)));
        words.collect::<Vec<_>>().join(" ")
    };
    let loud = r#"device_named(device "Loud")"#;
    assert_eq!(rings(None), format!("*device_of_calls device_default {loud}"));
    assert_eq!(rings(Some(DeviceChoice::Default)), format!("device_of_calls *device_default {loud}"));
    assert_eq!(rings(Some(DeviceChoice::Named("Loud".into()))), format!("device_of_calls device_default *{loud}"));
}

#[test]
fn what_processing_is_chosen_stays_chosen_under_original_sound() {
    let world = World::new().in_call().with(|snapshot| {
        snapshot.processing.noise_suppression = NoiseSuppression::Strong;
        snapshot.processing.original_sound = true;
    });
    let sound = world.view_after(0).sound.unwrap();
    assert!(sound.original_sound && sound.echo_cancellation);
    assert_eq!(sound.noise_suppression, NoiseSuppression::Strong);
}

/// The notices, and what is read out.
fn told(world: &World, later: u64) -> String {
    let outline = outline(&world.view_after(later));
    let lines = outline.lines().filter(|line| line.starts_with("notice ") || line.starts_with("announce "));
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn who_speaks_while_muted_is_told_for_some_seconds_and_can_unmute() {
    let speaks = |world: World| {
        let at = world.at;
        world.then(|known| {
            let _ = known.take(Update::SpeakingMuted { at });
        })
    };
    let muted = speaks(World::new().in_call().mutes(true, false));
    let said = "notice you_speak_muted [do_unmute], announce you_speak_muted";
    assert_eq!(told(&muted, 0), said);
    assert_eq!(told(&muted, 4_900), said);
    assert_eq!(told(&muted, 5_000), "announce in_call_with");
    assert_eq!(told(&muted.mutes(false, false), 100), "announce in_call_with", "gone when unmuted");
    assert_eq!(told(&speaks(World::new().in_call()), 0), "announce in_call_with", "never while not muted");
    // The next call has nothing of it.
    let ended = speaks(World::new().in_call().mutes(true, false)).ended(EndReason::HungUp, Side::Caller, None, None);
    let next = ended.with(|snapshot| snapshot.call = None).in_call().mutes(true, false);
    assert_eq!(told(&next, 0), "announce in_call_with");
}

#[test]
fn a_headset_that_is_gone_leaves_the_choice_to_the_person() {
    let held = World::new().in_call().with(|s| s.output = DeviceState::Held { name: "Laptop".into() });
    let said = r#"notice speaker_held [do_play_on(device "Laptop")], announce speaker_held"#;
    assert_eq!(told(&held, 0), said);
    assert_eq!(told(&held, 60_000), said, "until it is decided");
    let chosen = held.with(|snapshot| snapshot.output = open("Laptop"));
    assert_eq!(told(&chosen, 0), r#"notice speaker_now(device "Laptop"), announce speaker_now(device "Laptop")"#);
}

#[test]
fn a_device_that_comes_or_changes_is_told_for_some_seconds() {
    let missing = || DeviceState::Missing { why: DeviceFault::NoDevice };
    let stands_in = |name: &str| DeviceState::Open { name: name.into(), fallback: true, silent: false };
    let both = |sentence: &str| format!("notice {sentence}, announce {sentence}");
    let quiet = "announce in_call_with";

    // Gone and back.
    let world = World::new().in_call().with(|snapshot| snapshot.input = missing());
    assert_eq!(told(&world, 0), both("microphone_unplugged"));
    let world = world.with(|snapshot| snapshot.input = open("Microphone"));
    assert_eq!(told(&world, 0), both(r#"microphone_back(device "Microphone")"#));
    assert_eq!(told(&world, 8_000), quiet);

    // Another stands in for the one that was chosen, which then comes back.
    let named = DeviceChoice::Named("Speaker".into());
    let world = World::new().with(|snapshot| snapshot.output_choice = named).in_call();
    let world = world.with(|snapshot| snapshot.output = stands_in("Laptop"));
    assert_eq!(told(&world, 0), format!(r#"notice speaker_fallback(device "Laptop"), {quiet}"#));
    let world = world.with(|snapshot| snapshot.output = open("Speaker"));
    assert_eq!(told(&world, 0), both(r#"speaker_back(device "Speaker")"#));

    // The system's default is another one.
    let world = World::new().in_call().with(|snapshot| snapshot.output = missing());
    let world = world.with(|snapshot| snapshot.output = open("Laptop"));
    assert_eq!(told(&world, 0), both(r#"speaker_now(device "Laptop")"#));

    // What this person chooses is no news to them.
    let world = World::new().in_call().with(|snapshot| {
        snapshot.input_choice = DeviceChoice::Named("USB".into());
        snapshot.input = open("USB");
    });
    assert_eq!(told(&world, 0), quiet);
    assert_eq!(told(&World::new().in_call(), 0), quiet);
}
