//! The queue for the next partner: waiting, talking, and what is offered when they are gone.

use super::rooms::{a_room, somebody};
use super::*;
use bellwire_client::{Departure, MemberSound, RoomId, RoomNow};

impl World {
    /// Signed in as themselves, with no booking.
    pub(super) fn whole() -> Self {
        Self::new().with(|snapshot| snapshot.bookings.clear()).then(|known| known.whole_person = true)
    }

    pub(super) fn waiting(self, place: u32) -> Self {
        self.with(|snapshot| snapshot.search = SearchView::Waiting { place, since: UnixMs(NOON) })
    }

    pub(super) fn found(self, name: &str) -> Self {
        self.with(|snapshot| {
            snapshot.search = SearchView::Matched {
                room: RoomId::new("r1").unwrap(),
                partner: Handle::new("p1").unwrap(),
                name: name.into(),
                since: UnixMs(NOON),
            };
        })
    }

    pub(super) fn matched(self, name: &str) -> Self {
        self.found(name).with(|snapshot| {
            snapshot.room = Some(RoomNow { matched: true, ..a_room(vec![somebody("p1", name)]) });
            (snapshot.input, snapshot.output) = (open("Microphone"), open("Speaker"));
        })
    }

    pub(super) fn parted(self, why: Departure) -> Self {
        self.with(|snapshot| {
            snapshot.search = SearchView::Idle {};
            let room = snapshot.room.as_mut().unwrap();
            room.over = Some(why);
            room.members.clear();
        })
    }
}

#[test]
fn the_queue_is_offered_to_whoever_signed_in_as_themselves() {
    World::whole().shows("home\nempty no_bookings\n[check, search, *start-check]");
    World::new().then(|known| known.whole_person = true).shows(
        "home
         next Anna Meier window_open_until(at 1767272700000), peer_here
         [check, start-check, search, *call]",
    );
    let lost = World::whole().with(|snapshot| snapshot.link = down(LinkFault::Silent));
    assert!(outline(&lost.view_after(0)).contains("search disabled"));
}

#[test]
fn waiting_shows_the_place_in_the_line() {
    let world = World::whole().waiting(3);
    world.shows(
        "queue
         queue_place(place 3) since 1767268800000
         announce queue_place(place 3)
         [*stop-searching]",
    );
    let mut refused = world;
    refused.known.take(Update::Refused { code: ErrorCode::AlreadySearching, retry_after_ms: None });
    assert!(outline(&refused.view_after(0)).contains("notice refused_already_searching"));
}

#[test]
fn a_match_is_a_conversation_of_two() {
    const MENU: &str = "menu do_block, complaint_abusive, complaint_unsafe, complaint_spam, complaint_other";
    let bar = "[text, next-person, leave, *mute]";
    let world = World::whole().waiting(1).found("Bo");
    world.shows(&format!(
        "match: Bo
         matched
         {MENU}
         announce matched
         [text, next-person, leave, *mute disabled]"
    ));
    let world = world.matched("Bo");
    world.shows(&format!("match: Bo\nelapsed 61 s\n{MENU}\nannounce talk_with\n{bar}"));
    let world = world.room(|room| room.muted = true);
    let muted = bar.replace("mute", "mute pressed");
    world.shows(&format!("match: Bo\nelapsed 61 s\nyou_are_muted\n{MENU}\nannounce talk_with\n{muted}"));
    let world = world.room(|room| {
        (room.muted, room.members[0].muted) = (false, true);
        room.members[0].sound = MemberSound::Lost;
    });
    world.shows(&format!("match: Bo\nelapsed 61 s\nsound_lost\npeer_muted\n{MENU}\nannounce sound_lost\n{bar}"));
}

#[test]
fn after_a_match_it_is_said_what_happened_and_the_next_is_offered() {
    let cases = [
        (Departure::PartnerLeft, "parted_left (partner_left)"),
        (Departure::Skipped, "parted_skipped (skipped)"),
        (Departure::Lost, "parted_lost (lost)"),
        (Departure::Left, "parted_by_you (left)"),
        (Departure::Replaced, "parted_replaced (replaced)"),
        (Departure::Closed, "parted_closed (closed)"),
    ];
    for (why, expected) in cases {
        let world = World::whole().matched("Bo").parted(why);
        let outline = outline(&world.view_after(0));
        let lines: Vec<&str> = outline.lines().collect();
        assert_eq!((lines[0], lines[1]), ("match-over: Bo", expected));
        assert_eq!(*lines.last().unwrap(), "[back, *find-next]");
    }
}

#[test]
fn whoever_goes_on_to_the_next_sees_the_queue_again() {
    let world = World::whole().matched("Bo").parted(Departure::Skipped).waiting(2);
    assert!(outline(&world.view_after(0)).starts_with("queue\n"));
    let mut skips = World::whole().matched("Bo");
    skips.known.partner.as_mut().unwrap().skipped = true;
    let skips = skips.parted(Departure::Skipped);
    assert!(outline(&skips.view_after(0)).contains("\nparted_by_you (skipped)\n"), "it was this person who went on");
    let next = world.matched("Cy");
    assert!(outline(&next.view_after(0)).starts_with("match: Cy\n"));
}

#[test]
fn whoever_was_reported_or_blocked_is_not_so_again() {
    let mut world = World::whole().matched("Bo");
    world.known.partner.as_mut().unwrap().reported = true;
    assert!(outline(&world.view_after(0)).contains("\nmenu do_block, reported\n"));
    world.known.partner.as_mut().unwrap().blocked = true;
    let world = world.parted(Departure::PartnerLeft);
    world.shows(
        "match-over: Bo
         parted_blocked (partner_left)
         menu reported
         announce parted_blocked
         [back, *find-next]",
    );
    let mut next = World::whole().matched("Bo").known.snapshot.unwrap();
    if let SearchView::Matched { partner, .. } = &mut next.search {
        *partner = Handle::new("p2").unwrap();
    }
    let other = world.with(|snapshot| *snapshot = next);
    assert!(outline(&other.view_after(0)).contains("\nmenu do_block, complaint_abusive"), "another person");
}
