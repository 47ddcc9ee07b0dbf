//! What every store must do. Each implementation is one `#[tokio::test]` that runs the whole suite.

use bellwire_call::{BookedCall, Booking, Person};
use bellwire_server::store::company::{
    InProcess, KeptGuest, KeptReport, KeptRoom, LiveState, MatchSession, SESSION_MS,
};
use bellwire_server::store::{
    BookingChange, BookingQuery, Bookings, CallQuery, Changed, Created, KnownPerson, OPEN_BOOKINGS, PersonRole,
    QualityKept, REPEAT_MS, Repeatable, Sqlite, Store,
};
use bellwire_signaling::*;

#[tokio::test]
async fn sqlite() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("bellwire.sqlite");
    suite(&Sqlite::open(&file).await.expect("a store")).await;
    // And it is all there after it was opened again.
    let again = Sqlite::open(&file).await.expect("a store");
    assert!(again.booking(&id("b1")).await.expect("read").is_some());
}

async fn suite(store: &dyn Store) {
    store.check().await.expect("a store that works");
    people_are_made_and_renamed(store).await;
    bookings_are_made_once_and_found(store).await;
    bookings_change_as_a_whole(store).await;
    open_bookings_are_those_whose_window_is_not_over(store).await;
    calls_are_stored_together_and_ended_ones_are_final(store).await;
    quality_is_kept_once_for_each_side_of_an_ended_call(store).await;
    rooms_are_kept_until_they_close(store).await;
    blocks_and_reports_are_kept(store).await;
}

#[test]
fn in_process_live_state() {
    live_suite(&InProcess::default());
}

/// What every live state must do.
fn live_suite(live: &dyn LiveState) {
    let session =
        |name: &str, at| MatchSession { id: id(name), first: id("ana"), second: id("ben"), started_at: UnixMs(at) };
    let open = |name: &str, at| live.open_session(&session(name, at), UnixMs(at)).expect("opened");
    open("m1", START);
    open("m2", START + 1);
    assert_eq!(live.active_sessions().expect("read"), [id("m1"), id("m2")]);
    live.end_session(&id("m1")).expect("ended");
    live.end_session(&id("m1")).expect("ended again");
    assert_eq!(live.active_sessions().expect("read"), [id("m2")]);
    let found = |name: &str, at| live.session(&id(name), UnixMs(at)).expect("read");
    assert_eq!(found("m1", START + SESSION_MS - 1), Some(session("m1", START)), "its record outlives its end");
    assert_eq!(found("m1", START + SESSION_MS), None);
    assert_eq!(found("m3", START), None);
    // What is new makes place for itself.
    open("m4", START + 2 * SESSION_MS);
    assert_eq!(found("m2", START + 2), None);
    assert_eq!(found("m4", START + 2 * SESSION_MS), Some(session("m4", START + 2 * SESSION_MS)));
}

async fn rooms_are_kept_until_they_close(store: &dyn Store) {
    let room = |name: &str, closes_at| KeptRoom {
        id: id(name),
        topic: "Choir".into(),
        people: vec![KeptGuest { user: id("ana"), name: "Ana".into(), host: true }],
        closes_at: UnixMs(closes_at),
    };
    for (name, closes_at) in [("r1", START + 1), ("r2", START + 2), ("r3", START + 3)] {
        store.put_room(&room(name, closes_at)).await.expect("stored");
    }
    store.put_room(&room("r3", START + 9)).await.expect("stored anew");
    assert!(store.drop_room(&id("r2")).await.expect("dropped"));
    assert!(!store.drop_room(&id("r2")).await.expect("nothing to drop"));
    assert_eq!(store.room(&id("r1")).await.expect("read"), Some(room("r1", START + 1)));
    assert_eq!(store.open_rooms(UnixMs(START + 1)).await.expect("read"), [room("r3", START + 9)]);
    assert_eq!(store.room(&id("r1")).await.expect("read"), None, "it closed");
}

async fn blocks_and_reports_are_kept(store: &dyn Store) {
    for at in [1, 2] {
        store.add_block(&id("ana"), &id("ben"), UnixMs(at)).await.expect("stored");
    }
    assert_eq!(store.blocks().await.expect("read"), [(id("ana"), id("ben"))]);
    let report = |complaint, at| KeptReport { person: id("ana"), other: id("ben"), complaint, made_at: UnixMs(at) };
    for (complaint, at) in [(Complaint::Spam, 1), (Complaint::Unsafe, 2)] {
        store.add_report(&report(complaint, at)).await.expect("stored");
    }
    assert_eq!(store.reports(1).await.expect("read"), [report(Complaint::Unsafe, 2)]);
    assert_eq!(store.reports(9).await.expect("read").len(), 2);
}

fn id<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no id"))
}

const START: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

fn booking(name: &str, client: &str, provider: &str, starts_at: u64) -> Booking {
    let person = |user: &str| Person { user: id(user), handle: id(&format!("h-{name}-{user}")), name: user.to_owned() };
    Booking {
        id: id(name),
        client: person(client),
        provider: person(provider),
        starts_at: UnixMs(starts_at),
        length_ms: 30 * MINUTE,
        topic: "Topic".into(),
        state: BookingState::Scheduled,
        opens_before_ms: 10 * MINUTE,
        closes_after_ms: 15 * MINUTE,
        reschedulable: true,
    }
}

async fn people_are_made_and_renamed(store: &dyn Store) {
    let person = |name: &str, role| KnownPerson { user: id("desk"), name: name.into(), role };
    let put = async |person: &KnownPerson| store.put_person(person, UnixMs(1)).await.expect("stored");
    put(&person("Desk", PersonRole::Operator)).await;
    put(&person("Front desk", PersonRole::Client)).await;
    let found = store.person(&id("desk")).await.expect("read");
    assert_eq!(found, Some(person("Front desk", PersonRole::Operator)), "an operator stays one");
    assert_eq!(store.person(&id("nobody")).await.expect("read"), None);
    assert!(store.people(10).await.expect("read").is_empty(), "operators are not offered to sign in as");
}

async fn bookings_are_made_once_and_found(store: &dyn Store) {
    let first = booking("b1", "ana", "bruno", START);
    let key = |request: &str| Repeatable { key: "key".into(), request: request.into() };
    let now = UnixMs(START);
    let create = async |booking: &Booking, repeat: &Repeatable, now| {
        store.create_booking(booking, Some(repeat), now).await.expect("answered")
    };
    assert_eq!(create(&first, &key("r"), now).await, Created::New(first.clone()));
    let second = booking("b2", "ana", "chiara", START + 1);
    assert_eq!(create(&second, &key("r"), now).await, Created::Repeat(first.clone()));
    assert_eq!(create(&second, &key("other"), now).await, Created::KeyTaken);
    assert_eq!(store.booking(&second.id).await.expect("read"), None);
    let later = now.plus(REPEAT_MS + 1);
    assert_eq!(create(&second, &key("r"), later).await, Created::New(second.clone()), "keys are forgotten in the end");
    assert!(store.create_booking(&first, None, now).await.is_err(), "an id is used once");
    assert_eq!(store.booking(&first.id).await.expect("read"), Some(first.clone()));

    let list = async |query: BookingQuery| {
        let found = store.bookings(&BookingQuery { limit: 10, ..query }).await.expect("read");
        found.into_iter().map(|booking| booking.id.to_string()).collect::<Vec<_>>()
    };
    let person = |name: &str| BookingQuery { person: Some(id(name)), ..Default::default() };
    assert_eq!(list(person("ana")).await, ["b1", "b2"]);
    assert_eq!(list(person("chiara")).await, ["b2"]);
    assert_eq!(list(BookingQuery::default()).await, ["b1", "b2"]);
    assert_eq!(list(BookingQuery { from: Some(UnixMs(START + 1)), ..person("ana") }).await, ["b2"]);
    assert_eq!(list(BookingQuery { to: Some(UnixMs(START + 1)), ..person("ana") }).await, ["b1"]);
    assert_eq!(list(BookingQuery { after: Some((first.starts_at, first.id)), ..person("ana") }).await, ["b2"]);
    let one = store.bookings(&BookingQuery { limit: 1, ..person("ana") }).await.expect("read");
    assert_eq!(one.len(), 1);
}

async fn bookings_change_as_a_whole(store: &dyn Store) {
    let made = booking("move", "dora", "emil", START);
    store.create_booking(&made, None, UnixMs(START)).await.expect("stored");
    let change = async |name: &str, change| store.change_booking(&id(name), change).await.expect("answered");
    let moved = BookingChange::Reschedule { starts_at: Some(UnixMs(START + 5)), length_ms: None };
    let expected = Booking { starts_at: UnixMs(START + 5), ..made.clone() };
    assert_eq!(change("move", moved).await, Changed::Done(expected.clone()));
    assert_eq!(change("move", moved).await, Changed::Unchanged(expected.clone()));
    assert_eq!(store.booking(&made.id).await.expect("read"), Some(expected.clone()));
    let cancelled = Booking { state: BookingState::Cancelled, ..expected };
    assert_eq!(change("move", BookingChange::Cancel).await, Changed::Done(cancelled.clone()));
    assert_eq!(change("move", BookingChange::Cancel).await, Changed::Unchanged(cancelled));
    assert_eq!(change("move", moved).await, Changed::Over(BookingState::Cancelled));
    assert_eq!(change("none", moved).await, Changed::NotFound);
    let fixed = Booking { reschedulable: false, ..booking("fixed", "dora", "emil", START) };
    store.create_booking(&fixed, None, UnixMs(START)).await.expect("stored");
    assert_eq!(change("fixed", moved).await, Changed::NotReschedulable);
}

async fn open_bookings_are_those_whose_window_is_not_over(store: &dyn Store) {
    let made = booking("open", "frida", "gil", START);
    store.create_booking(&made, None, UnixMs(START)).await.expect("stored");
    let open = async |user: &str, now| store.open_bookings(&id(user), now).await.expect("read").len();
    let closes = made.closes_at();
    assert_eq!(open("frida", UnixMs(0)).await, 1);
    assert_eq!(open("gil", closes.minus(1)).await, 1);
    assert_eq!(open("gil", closes).await, 0);
    let moved = BookingChange::Reschedule { starts_at: Some(UnixMs(START + 1)), length_ms: None };
    store.change_booking(&made.id, moved).await.expect("moved");
    assert_eq!(open("gil", closes).await, 1, "the window moves with the booking");
    for n in 0..OPEN_BOOKINGS {
        let more = booking(&format!("more{n}"), "frida", "gil", START);
        store.create_booking(&more, None, UnixMs(START)).await.expect("stored");
    }
    assert_eq!(open("frida", UnixMs(0)).await, OPEN_BOOKINGS as usize);
}

async fn calls_are_stored_together_and_ended_ones_are_final(store: &dyn Store) {
    let made = booking("called", "hana", "ivo", START);
    store.create_booking(&made, None, UnixMs(START)).await.expect("stored");
    let invite = |name: &str, attempt: &str, at: u64| {
        BookedCall::invite(id(name), id(attempt), &made, Role::Client, id("d1"), UnixMs(at))
    };
    let end = |mut call: BookedCall, at: u64| {
        let hang_up = Command::HangUp { call: call.id().clone() };
        call.step(Side::Caller, &id("d1"), &hang_up, UnixMs(at)).expect("a call that ends");
        assert!(call.is_ended());
        call
    };
    let recent = async |after| store.recent_calls(UnixMs(after)).await.expect("read");
    let (first, second) = (invite("c1", "a1", START), invite("c2", "a2", START + 10));
    store.save_calls(&[first.clone(), second.clone()]).await.expect("stored");
    assert_eq!(recent(u64::MAX).await.len(), 2, "live calls are always recent");
    assert_eq!(store.call_of_attempt(&made.id, &id("a2")).await.expect("read"), Some(id("c2")));
    assert_eq!(store.call_of_attempt(&made.id, &id("a3")).await.expect("read"), None);
    assert_eq!(store.call_of_attempt(&id("b1"), &id("a2")).await.expect("read"), None);

    let over = end(first.clone(), START + 100);
    store.save_calls(std::slice::from_ref(&over)).await.expect("stored");
    store.save_calls(&[first, end(invite("c1", "a1", START), START + 999)]).await.expect("answered");
    let history = async |user: &str, before| store.ended_calls(&id(user), None, before, 10).await.expect("read");
    for user in ["hana", "ivo"] {
        assert_eq!(history(user, None).await, std::slice::from_ref(&over), "the first end stands");
    }
    assert!(history("ana", None).await.is_empty());
    assert_eq!(recent(START + 99).await.len(), 2);
    assert_eq!(recent(START + 100).await.len(), 1);

    let twin = invite("c3", "a2", START);
    let fresh = invite("c4", "a4", START + 20);
    assert!(store.save_calls(&[fresh, twin]).await.is_err(), "one call for one press of the button");
    assert_eq!(store.call_of_attempt(&made.id, &id("a4")).await.expect("read"), None, "all or none");

    let over2 = end(second, START + 200);
    store.save_calls(std::slice::from_ref(&over2)).await.expect("stored");
    assert_eq!(history("ivo", None).await, [over2.clone(), over.clone()], "the newest first");
    assert_eq!(history("ivo", Some(UnixMs(START + 200))).await, std::slice::from_ref(&over));
    let of = async |booking: &str| {
        let booking: BookingId = id(booking);
        store.ended_calls(&id("ivo"), Some(&booking), None, 10).await.expect("read").len()
    };
    assert_eq!((of("called").await, of("b1").await), (2, 0));
    let query = CallQuery { booking: Some(made.id.clone()), person: Some(id("hana")), limit: 1 };
    assert_eq!(store.calls(&query).await.expect("read"), [over2]);
}

/// Calls `c1`, over, and `c4`, which never was, are from the test before.
async fn quality_is_kept_once_for_each_side_of_an_ended_call(store: &dyn Store) {
    let quality = |mos_x10| CallQuality {
        mos_x10,
        loss_in_percent: 1,
        loss_out_percent: 0,
        round_trip_ms: 40,
        reconnects: 0,
        reconnecting_ms: 0,
        relayed: false,
        cause: Some(Cause::Jitter),
    };
    let keep = async |call: &str, user: &str, only: Option<&str>, mos| {
        let only = only.map(id::<BookingId>);
        store.keep_quality(&id(call), &id(user), only.as_ref(), &quality(mos)).await.expect("answered")
    };
    let live = booking("live", "hana", "ivo", START);
    store.create_booking(&live, None, UnixMs(START)).await.expect("stored");
    let going = BookedCall::invite(id("c9"), id("a9"), &live, Role::Client, id("d1"), UnixMs(START));
    store.save_calls(&[going]).await.expect("stored");
    assert_eq!(keep("c9", "hana", None, 40).await, QualityKept::GoesOn);
    assert_eq!(keep("c4", "hana", None, 40).await, QualityKept::NotFound);
    assert_eq!(keep("c1", "ana", None, 40).await, QualityKept::NotFound, "a stranger");
    assert_eq!(keep("c1", "hana", Some("live"), 40).await, QualityKept::NotFound, "another booking");
    assert_eq!(keep("c1", "hana", Some("called"), 41).await, QualityKept::Now);
    assert_eq!(keep("c1", "hana", None, 12).await, QualityKept::Already);
    assert_eq!(keep("c1", "ivo", None, 22).await, QualityKept::Now);
    assert_eq!(keep("c2", "ivo", None, 33).await, QualityKept::Now);
    let (first, second, going) = (id("c1"), id("c2"), id("c9"));
    let all = store.qualities(&[&first, &second, &going]).await.expect("read");
    let of = |call: &CallId| all.get(call).map(|sides| (sides.caller, sides.callee));
    assert_eq!(of(&first), Some((Some(quality(41)), Some(quality(22)))));
    assert_eq!(of(&second), Some((None, Some(quality(33)))));
    assert_eq!(of(&going), None);
    assert!(store.qualities(&[]).await.expect("read").is_empty());
}
