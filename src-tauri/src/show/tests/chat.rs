//! Text beside the voice, in a call and a room, and what a record kept of it.

use super::rooms::somebody;
use super::*;
use bellwire_client::{ChatLine, ChatNow, MemberSound};

pub(super) fn theirs(name: &str, text: &str) -> ChatNow {
    ChatNow { from: Some(Handle::new("h1").unwrap()), name: name.into(), text: text.into(), delivered: true }
}

pub(super) fn ours(text: &str, delivered: bool) -> ChatNow {
    ChatNow { from: None, name: String::new(), text: text.into(), delivered }
}

impl World {
    pub(super) fn call(self, change: impl FnOnce(&mut CurrentCall)) -> Self {
        self.with(|snapshot| change(snapshot.call.as_mut().unwrap()))
    }

    pub(super) fn reading(self) -> Self {
        self.then(|known| known.text.open(true))
    }
}

/// What the open panel says, line by line.
fn panel(world: &World) -> Vec<String> {
    let lines = outline(&world.view_after(0));
    let first = |line: &&str| !line.starts_with("announce");
    lines.lines().skip(2).take_while(first).map(ToOwned::to_owned).collect()
}

#[test]
fn lines_are_shown_with_who_wrote_them_and_whether_they_came() {
    let world = World::new().in_call().reading();
    assert_eq!(panel(&world), ["text_empty", "keep: keep_neither"]);
    let world = world.call(|call| {
        call.chat = vec![theirs("Anna\u{202e} Meier", "<b>1</b>\u{7}\n2"), ours("so", true), ours("far", false)];
    });
    assert_eq!(
        panel(&world),
        [
            "0. Anna Meier: <b>1</b> ",
            "2",
            "1. text_by_you: so text_delivered",
            "2. text_by_you: far text_undelivered",
            "keep: keep_neither"
        ]
    );
}

#[test]
fn the_button_counts_what_was_not_read() {
    let label = |world: &World| {
        let view = world.view_after(0);
        let text = view.actions.iter().find(|action| action.press == Press::Text).unwrap();
        (said(&text.label), text.pressed.unwrap())
    };
    let world = World::new().in_call();
    assert_eq!(label(&world), ("do_text(unread 0)".into(), false));
    let world = world.call(|call| call.chat = vec![ours("a", true), theirs("Anna Meier", "b"), theirs("Anna", "c")]);
    assert_eq!(label(&world), ("do_text(unread 2)".into(), false));
    assert!(outline(&world.view_after(0)).contains("announce text_came"));
    let world = world.reading();
    assert_eq!(label(&world), ("do_text(unread 0)".into(), true));
    let world = world.call(|call| call.chat.push(theirs("Anna Meier", "d")));
    assert_eq!(label(&world), ("do_text(unread 0)".into(), true));
    let next = world.with(|snapshot| snapshot.call = None).in_call();
    assert_eq!(label(&next), ("do_text(unread 0)".into(), false), "another call begins with the panel closed");
}

#[test]
fn lines_keep_their_number_when_the_oldest_are_forgotten() {
    let world = World::new().in_call().reading();
    let world = world.call(|call| call.chat = vec![theirs("A", "1"), theirs("A", "2")]);
    let world = world.call(|call| call.chat = vec![theirs("A", "2"), theirs("A", "3")]);
    assert_eq!(panel(&world)[..2], ["1. A: 2", "2. A: 3"]);
}

#[test]
fn a_far_app_without_text_is_named() {
    let closed = |state, connected_ms| {
        let world = World::new().calling(state, Side::Caller).reading();
        let world = world.call(|call| (call.chat_open, call.connected_ms) = (false, Some(connected_ms)));
        panel(&world)
    };
    let waits = ["text_connecting", "keep: keep_neither"];
    assert_eq!(closed(State::Connected, 1_000), waits);
    assert_eq!(closed(State::Connected, 6_000), ["text_no_channel", "nothing can be written"]);
    let lost = closed(State::Reconnecting { since: Monotonic(0) }, 60_000);
    assert_eq!(lost[1..], waits);
}

#[test]
fn text_is_kept_only_if_both_agree() {
    let keep = |you, peer| {
        let world = World::new().in_call().reading();
        panel(&world.call(|call| call.keep_chat = KeepChat { you, peer })).pop().unwrap()
    };
    assert_eq!(keep(false, false), "keep: keep_neither");
    assert_eq!(keep(true, false), "kept: keep_yours");
    assert_eq!(keep(false, true), "keep: keep_theirs");
    assert_eq!(keep(true, true), "kept: keep_both");
}

#[test]
fn in_a_room_it_is_said_who_cannot_read() {
    let panel = |can_read: &[bool]| {
        let members = can_read.iter().enumerate().map(|(at, can_read)| {
            let mut member = somebody(&format!("h{at}"), &format!("Guest {at}"));
            member.can_read = *can_read;
            member
        });
        let view = World::at_door().in_room(members.collect()).view_after(0);
        let panel = view.text.unwrap();
        (panel.problem.as_ref().map(said).unwrap_or_default(), panel.can_write)
    };
    assert_eq!(panel(&[]), ("text_nobody_here".into(), false));
    assert_eq!(panel(&[true, true]), (String::new(), true));
    assert_eq!(panel(&[true, false, false]), ("text_unread(others 1)".into(), true));
    assert_eq!(panel(&[false]), ("text_unread(others 0)".into(), false));
    let mut comes = somebody("h1", "Anna Meier");
    (comes.can_read, comes.sound) = (false, MemberSound::Connecting);
    let view = World::at_door().in_room(vec![comes]).view_after(0);
    assert_eq!(view.text.unwrap().problem, Some(Sentence::TextConnecting {}));
}

#[test]
fn a_call_of_the_history_shows_the_text_that_was_kept() {
    let mut record = record("c1", "Anna Meier", Side::Callee, EndReason::HungUp, true);
    let line = |by, text: &str| ChatLine { by, at: record.invited_at, text: text.into() };
    record.chat = vec![line(Side::Caller, "Hello"), line(Side::Callee, "1 < 2")];
    let mut world = World::new();
    world.known.take(Update::History(vec![CallRecord { chat: Vec::new(), ..record.clone() }]));
    world.known.take(Update::History(vec![record]));
    let view = world.view_after(0);
    let Screen::Home(home) = view.screen else { panic!("no home") };
    let lines: Vec<String> = home.history[0].text.iter().map(written).collect();
    assert_eq!(lines, ["0. Anna Meier: Hello", "1. text_by_you: 1 < 2"], "what came later replaces what was known");
}
