//! What the page shows of a call, from the ring to its end.

use super::*;

#[test]
fn a_ring_takes_the_place_of_a_check() {
    let world = World::new().then(Known::begin_check).calling(State::Ringing, Side::Callee);
    assert!(!world.known.checking);
    assert!(outline(&world.view_after(0)).starts_with("incoming"));
}

#[test]
fn calling_says_ringing_only_when_it_rings() {
    let world = World::new().calling(State::Inviting, Side::Caller);
    world.shows("calling: Anna Meier\ncalling_peer\nannounce calling_peer\n[*cancel]");
    let world = world.calling(State::Ringing, Side::Caller);
    world.shows("calling: Anna Meier\npeer_rings\nannounce peer_rings\n[*cancel]");
}

#[test]
fn an_incoming_call_can_be_accepted_or_declined_with_a_reason() {
    World::new().calling(State::Ringing, Side::Callee).shows(
        "incoming: Anna Meier
         reason_in_two_minutes
         reason_wrong_time
         reason_unwell
         announce call_from
         [decline, *accept]",
    );
}

#[test]
fn connecting_claims_nothing_yet() {
    let world = World::new().calling(State::Connecting, Side::Callee);
    world.shows("connecting: Anna Meier\ncall_connecting\nannounce call_connecting\n[*hang-up]");
}

#[test]
fn a_call_shows_its_times_and_nothing_else_while_all_is_well() {
    let world = World::new().in_call();
    world.shows(
        "in-call: Anna Meier
         elapsed 61 s, remaining_time(seconds 3000)
         announce in_call_with
         [mute, text, *hang-up]",
    );
    assert!(outline(&world.view_after(2_600)).contains("elapsed 64 s, remaining_time(seconds 2997)"));
    assert!(outline(&world.view_after(52 * MINUTE)).contains("over_time(seconds 120)"));
}

#[test]
fn a_call_says_who_is_muted() {
    let line = |muted, peer_muted, talking| {
        let world = World::new().in_call().mutes(muted, peer_muted).then(|known| known.talking = talking);
        let outline = outline(&world.view_after(0));
        (outline.lines().nth(2).unwrap().to_owned(), outline.contains("mute pressed"))
    };
    assert_eq!(line(true, false, false), ("you_are_muted".into(), true));
    assert_eq!(line(false, true, false), ("peer_muted".into(), false));
    assert_eq!(line(true, true, false), ("both_muted".into(), true));
    assert_eq!(line(false, false, true), ("you_talk_while_held".into(), true));
}

#[test]
fn lost_sound_and_a_lost_server_are_two_things() {
    let since = Monotonic(0);
    let world = World::new().in_call().with(|snapshot| snapshot.link = down(LinkFault::Closed));
    world.shows(
        "in-call: Anna Meier
         elapsed 61 s, remaining_time(seconds 3000)
         notice server_lost_in_call
         announce server_lost_in_call
         [mute, text, *hang-up]",
    );
    let world = World::new().calling(State::Reconnecting { since }, Side::Caller);
    world.shows(
        "reconnecting: Anna Meier
         elapsed 61 s, remaining_time(seconds 3000)
         sound_lost 4 s
         announce sound_lost
         [mute, text, *hang-up]",
    );
    assert!(outline(&world.view_after(1_000)).contains("sound_lost 5 s"));
    let world = world.with(|snapshot| snapshot.link = down(LinkFault::Closed));
    assert!(outline(&world.view_after(0)).contains("notice server_lost_before_call"));
}

#[test]
fn each_ending_is_told_to_each_side_in_words() {
    use Side::{Callee, Caller};
    let said = |reason, you, by, because| {
        let view = World::new().ended(reason, you, by, because).view_after(0);
        outline(&view).lines().nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(said(EndReason::HungUp, Caller, Some(Caller), None), "ended_by_you");
    assert_eq!(said(EndReason::HungUp, Callee, Some(Caller), None), "ended_by_peer");
    assert_eq!(said(EndReason::HungUp, Callee, None, None), "ended_hung_up");
    assert_eq!(said(EndReason::Cancelled, Caller, Some(Caller), None), "ended_cancelled_by_you");
    assert_eq!(said(EndReason::Cancelled, Callee, Some(Caller), None), "ended_cancelled_by_peer");
    assert_eq!(said(EndReason::Declined, Callee, Some(Callee), None), "ended_declined_by_you");
    assert_eq!(said(EndReason::Declined, Caller, Some(Callee), None), "ended_declined");
    assert_eq!(
        said(EndReason::Declined, Caller, Some(Callee), Some(Because::InTwoMinutes)),
        "ended_declined_in_two_minutes"
    );
    assert_eq!(said(EndReason::Declined, Caller, Some(Callee), Some(Because::WrongTime)), "ended_declined_wrong_time");
    assert_eq!(said(EndReason::Declined, Caller, Some(Callee), Some(Because::Unwell)), "ended_declined_unwell");
    assert_eq!(said(EndReason::NoAnswer, Caller, None, None), "ended_no_answer");
    assert_eq!(said(EndReason::NoAnswer, Callee, None, None), "ended_missed");
    assert_eq!(said(EndReason::Busy, Caller, None, None), "ended_busy");
    assert_eq!(said(EndReason::Busy, Callee, None, None), "ended_while_you_were_busy");
    assert_eq!(said(EndReason::MediaFailed, Caller, None, None), "ended_media_failed");
    assert_eq!(said(EndReason::MediaLost, Callee, None, None), "ended_media_lost");
    assert_eq!(said(EndReason::BookingCancelled, Caller, None, None), "ended_booking_cancelled");
}

#[test]
fn after_a_call_one_can_call_again_while_the_window_is_open() {
    let world = World::new().in_call().then(|known| {
        known.take(Update::Stats(Box::new(second(4.3, 0.0))));
    });
    let world = world.ended(EndReason::HungUp, Side::Caller, Some(Side::Callee), None);
    world.shows(
        "ended: Anna Meier
         ended_by_peer (hung_up)
         duration 183 s
         call_quality_good
         announce ended_by_peer
         [dismiss, *call-again]",
    );
    assert!(outline(&world.view_after(65 * MINUTE)).ends_with("[*dismiss]"), "the window is over");
}

#[test]
fn a_call_taken_on_another_device_says_so() {
    let world = World::new().calling(State::Elsewhere, Side::Callee);
    world.shows("elsewhere: Anna Meier\nanswered_elsewhere\nannounce answered_elsewhere\n[*dismiss]");
}
