//! What the page shows of a room, from its door to its end.

use super::*;
use crate::known::Door as KnownDoor;
use bellwire_client::{Departure, MemberNow, MemberSound, RoomId, RoomNow};

pub(super) fn somebody(handle: &str, name: &str) -> MemberNow {
    MemberNow {
        member: Handle::new(handle).unwrap(),
        name: name.into(),
        host: false,
        muted: false,
        linked: true,
        sound: MemberSound::Heard,
        path: None,
        speaking: false,
        can_read: true,
    }
}

pub(super) fn a_room(members: Vec<MemberNow>) -> RoomNow {
    RoomNow {
        room: RoomId::new("r1").unwrap(),
        topic: "Evening group".into(),
        you: Handle::new("h0").unwrap(),
        host: false,
        locked: false,
        members,
        muted: false,
        speaking: false,
        chat: Vec::new(),
        since_ms: 61_500,
        matched: false,
        over: None,
    }
}

impl World {
    /// Signed in by a link that leads to a room, and waiting to be let in.
    pub(super) fn at_door() -> Self {
        let world = Self::new().with(|snapshot| snapshot.bookings.clear());
        world.then(|known| known.door = Some(KnownDoor::to(RoomId::new("r1").unwrap())))
    }

    pub(super) fn in_room(self, members: Vec<MemberNow>) -> Self {
        self.with(|snapshot| {
            snapshot.room = Some(a_room(members));
            (snapshot.input, snapshot.output) = (open("Microphone"), open("Speaker"));
        })
    }

    pub(super) fn room(self, change: impl FnOnce(&mut RoomNow)) -> Self {
        self.with(|snapshot| change(snapshot.room.as_mut().unwrap()))
    }
}

#[test]
fn a_link_to_a_room_waits_at_its_door_until_it_is_let_in() {
    let world = World::at_door().with(|snapshot| snapshot.entering = Some(RoomId::new("r1").unwrap()));
    world.shows("door\nentering_room busy\nannounce entering_room\n[*turn-back]");
    let world = world.with(|snapshot| snapshot.entering = None).in_room(Vec::new());
    world.shows(
        "room
         Evening group, elapsed 61 s
         - Dr. Jonas Weber member_you
         room_empty
         announce in_room(topic \"Evening group\")
         [text, leave, *mute]",
    );
    assert!(outline(&world.view_after(2_600)).contains("elapsed 64 s"));
}

#[test]
fn signing_in_by_such_a_link_asks_to_be_let_in() {
    let mut world = World::at_door();
    let snapshot = world.known.snapshot.clone().unwrap();
    let out = Snapshot { you: None, ..snapshot.clone() };
    assert_eq!(world.known.take(Update::Snapshot(Box::new(out))), Follow::Nothing);
    assert_eq!(world.known.take(Update::Snapshot(Box::new(snapshot))), Follow::EnterRoom);
}

#[test]
fn a_door_that_stays_shut_says_why_and_can_be_tried_again() {
    let refused = |code| {
        let mut world = World::at_door();
        world.known.take(Update::Refused { code, retry_after_ms: None });
        outline(&world.view_after(0))
    };
    assert_eq!(refused(ErrorCode::NotFound), "door\nroom_refused\nannounce room_refused\n[turn-back, *enter-room]");
    assert!(refused(ErrorCode::RoomFull).contains("\nroom_full\n"));
    assert!(refused(ErrorCode::Unavailable).contains("\nrefused_unavailable\n"));
}

#[test]
fn each_member_is_shown_with_what_there_is_to_know() {
    let mut members = ["Heard", "Speaks", "Host", "Muted", "Comes", "Unheard", "Gone"].map(|name| somebody(name, name));
    members[1].speaking = true;
    members[2].host = true;
    members[3].muted = true;
    (members[4].sound, members[4].can_read) = (MemberSound::Connecting, false);
    (members[5].sound, members[5].speaking) = (MemberSound::Lost, true);
    (members[6].sound, members[6].linked) = (MemberSound::Lost, false);
    World::at_door().in_room(members.into()).room(|room| (room.muted, room.speaking) = (true, true)).shows(
        "room
         Evening group, elapsed 61 s
         - Dr. Jonas Weber member_you member_muted
         - Heard
         - Speaks speaks
         - Host member_host
         - Muted member_muted
         - Comes member_connecting
         - Unheard member_not_heard
         - Gone member_away
         you_are_muted
         announce in_room(topic \"Evening group\")
         [text, leave, *mute pressed]",
    );
}

#[test]
fn a_host_can_lock_the_room_and_remove_members() {
    let world = World::at_door().in_room(vec![somebody("h1", "Anna Meier")]);
    let hosting = |locked| move |room: &mut RoomNow| (room.host, room.locked) = (true, locked);
    let expected = |words: &str| {
        format!(
            "room
             Evening group, elapsed 61 s
             - Dr. Jonas Weber member_you member_host
             - Anna Meier, remove
             {words}
             announce in_room(topic \"Evening group\")
             [text, leave, *mute]"
        )
    };
    let world = world.room(hosting(false));
    world.shows(&expected("room_unlocked\ncan_lock").replace("can_lock", "can lock"));
    let world = world.room(hosting(true));
    world.shows(&expected("room_locked\ncan unlock"));
    let guest = world.room(|room| room.host = false);
    assert!(
        outline(&guest.view_after(0)).contains("- Anna Meier\nroom_locked\nannounce"),
        "a guest is told, and no more"
    );
}

#[test]
fn who_comes_and_goes_is_read_out() {
    let anna = || somebody("h1", "Anna Meier");
    let announced = |world: &World| {
        outline(&world.view_after(0)).lines().find_map(|line| line.strip_prefix("announce ")).unwrap().to_owned()
    };
    let world = World::at_door().in_room(vec![anna()]);
    assert_eq!(announced(&world), "in_room(topic \"Evening group\")", "who was there before is no news");
    let world = world.room(|room| room.members.push(somebody("h2", "Bo")));
    assert_eq!(announced(&world), "member_came");
    let world = world.room(|room| room.muted = true);
    assert_eq!(announced(&world), "member_came");
    let world = world.room(|room| room.members.truncate(1));
    assert_eq!(announced(&world), "member_went");
}

#[test]
fn a_room_that_is_over_says_why_and_what_to_do() {
    let over = |why| outline(&World::at_door().in_room(Vec::new()).room(|room| room.over = Some(why)).view_after(0));
    assert_eq!(
        over(Departure::Removed),
        "room-over\nroom_over_removed (removed)\nannounce room_over_removed\n[*turn-back]"
    );
    assert_eq!(
        over(Departure::Closed),
        "room-over\nroom_over_closed (closed)\nannounce room_over_closed\n[*turn-back]"
    );
    for (why, name) in [(Departure::Lost, "lost"), (Departure::Replaced, "replaced"), (Departure::Left, "left")] {
        let expected =
            format!("room-over\nroom_over_{name} ({name})\nannounce room_over_{name}\n[turn-back, *enter-room]");
        assert_eq!(over(why), expected);
    }
}

#[test]
fn whoever_left_can_enter_again() {
    let world = World::at_door().in_room(Vec::new()).with(|snapshot| snapshot.room = None);
    world.shows("door\nroom_over_left\nannounce room_over_left\n[turn-back, *enter-room]");
    let world = world.with(|snapshot| snapshot.entering = Some(RoomId::new("r1").unwrap()));
    world.shows("door\nentering_room busy\nannounce entering_room\n[*turn-back]");
}

#[test]
fn a_refusal_in_a_room_speaks_of_the_room() {
    let mut world = World::at_door().in_room(Vec::new());
    world.known.take(Update::Refused { code: ErrorCode::NotFound, retry_after_ms: None });
    assert!(outline(&world.view_after(0)).contains("notice refused_in_room"));
    world.known.take(Update::Refused { code: ErrorCode::TooLarge, retry_after_ms: None });
    assert!(outline(&world.view_after(0)).contains("notice refused_too_long"));
}

#[test]
fn a_lost_server_and_a_lost_microphone_are_said_in_a_room() {
    let world = World::at_door().in_room(vec![somebody("h1", "Anna Meier")]).room(|room| room.host = true);
    let world = world.with(|snapshot| snapshot.link = down(LinkFault::Closed));
    let lost = outline(&world.view_after(0));
    assert!(lost.contains("notice server_lost_in_room") && !lost.contains("remove"), "{lost}");
    let deaf = world.with(|snapshot| snapshot.input = DeviceState::Missing { why: DeviceFault::NoDevice });
    assert!(outline(&deaf.view_after(0)).contains("notice microphone_unplugged"));
}

#[test]
fn a_call_that_rings_meanwhile_says_what_accepting_ends() {
    let world = World::new().in_room(vec![somebody("h1", "Bo")]);
    let ringing = world.then(|known| known.text.open(true)).calling(State::Ringing, Side::Callee);
    let view = ringing.view_after(0);
    let Screen::Incoming(incoming) = &view.screen else { panic!("{view:?}") };
    assert_eq!(incoming.leaves, Some(Sentence::AcceptLeavesRoom {}));
    let declined = ringing.ended(EndReason::Declined, Side::Callee, None, None);
    assert!(outline(&declined.view_after(0)).starts_with("room\n"), "the room goes on");
    assert!(declined.known.text.open);
    let left = declined.with(|snapshot| snapshot.room = None);
    assert!(outline(&left.view_after(0)).starts_with("ended"));
}
