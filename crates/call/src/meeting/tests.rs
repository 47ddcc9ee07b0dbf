//! What a meeting says and does, step by step.

use super::*;
use crate::endpoint::{MediaEvent, Route};
use bellwire_signaling::*;

/// Drives a meeting and reads what it puts out as text.
struct Told {
    meeting: Meeting,
    now: u64,
    /// Commands that wait for their answer.
    asked: Vec<(CommandId, Command)>,
    /// How many relays the server grants, at once and unseen; `None`: it does not answer.
    relays: Option<usize>,
}

fn id<T: TryFrom<String, Error = BadId>>(text: &str) -> T {
    T::try_from(text.to_owned()).unwrap()
}

fn member(handle: &str, generation: u32, offers: bool) -> RoomMember {
    let name = handle.to_uppercase();
    RoomMember { member: id(handle), name, host: false, muted: false, linked: true, generation, offers }
}

fn view(version: u32, members: &[RoomMember]) -> RoomView {
    RoomView {
        room: id("r"),
        version,
        topic: "topic".into(),
        you: id("me"),
        host: false,
        locked: false,
        members: members.to_vec(),
    }
}

impl Told {
    fn new() -> Self {
        let mut told = Self { meeting: Meeting::new(1), now: 0, asked: Vec::new(), relays: Some(0) };
        told.check(Input::LinkUp { resumed: false }, "");
        told
    }

    fn inside(members: &[RoomMember]) -> Self {
        let mut told = Self::new();
        told.check(Input::Wish(Wish::Enter(id("r"))), "warm, enter r");
        told.feed(Input::Server(Event::Room { view: view(1, members) }));
        told
    }

    fn feed(&mut self, input: Input) -> String {
        self.meeting.handle(input, Monotonic(self.now));
        let mut said = Vec::new();
        let mut grants = Vec::new();
        while let Some(output) = self.meeting.poll_output() {
            said.push(match output {
                Output::Send(ClientFrame::Command { id, command: Command::IceServers { .. } })
                    if self.relays.is_some() =>
                {
                    grants.push(id);
                    continue;
                }
                Output::Sound(SoundCommand::IceServers(_)) if self.relays.is_some() => continue,
                Output::Send(ClientFrame::Command { id, command }) => {
                    self.asked.push((id, command.clone()));
                    of_command(&command)
                }
                Output::Send(other) => format!("{other:?}"),
                Output::Sound(command) => of_sound(&command),
                Output::Refused { code, .. } => format!("refused {code:?}"),
            });
        }
        for id in grants {
            let answered = self.feed(granted(id, self.relays.unwrap()));
            said.extend((!answered.is_empty()).then_some(answered));
        }
        said.join(", ")
    }

    #[track_caller]
    fn check(&mut self, input: Input, expected: &str) {
        assert_eq!(self.feed(input), expected);
    }

    fn room(&mut self, version: u32, members: &[RoomMember], expected: &str) {
        self.check(Input::Server(Event::Room { view: view(version, members) }), expected);
    }

    fn media(&mut self, leg: u32, event: MediaEvent, expected: &str) {
        self.check(Input::Media { leg, event }, expected);
    }

    fn refuse(&mut self, code: ErrorCode, expected: &str) {
        let (id, _) = self.asked.pop().unwrap();
        let error = WireError { code, message: String::new(), retry_after_ms: None };
        self.check(Input::Reply { id, result: Err(error) }, expected);
    }

    fn sounds(&self) -> String {
        let room = self.meeting.room().unwrap();
        let of = |member: &MemberShown| format!("{} {:?}", member.member, member.sound);
        room.members.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

fn granted(id: CommandId, relays: usize) -> Input {
    let relay = IceServer { urls: vec!["turn:r:3478?transport=udp".into()], username: None, credential: None };
    let servers = vec![relay; relays];
    Input::Reply { id, result: Ok(Reply::IceServers { servers, lifetime_ms: 1_200_000 }) }
}

fn of_command(command: &Command) -> String {
    match command {
        Command::EnterRoom { room } => format!("enter {room}"),
        Command::LeaveRoom { room } => format!("leave {room}"),
        Command::RoomMuted { muted, .. } => format!("say muted {muted}"),
        Command::RenewMember { member, generation, .. } => format!("renew {member} {generation}"),
        Command::DescribeTo { member, generation, kind, .. } => format!("describe {kind:?} to {member} {generation}"),
        Command::CandidatesTo { member, generation, .. } => format!("candidates to {member} {generation}"),
        Command::IceServers { .. } => "relays?".into(),
        other => format!("{other:?}"),
    }
}

fn of_sound(command: &SoundCommand) -> String {
    match command {
        SoundCommand::Warm => "warm".into(),
        SoundCommand::Open { leg, generation, route: Route::Any } => format!("open {leg}.{generation}"),
        SoundCommand::Open { leg, generation, route: Route::RelayOnly } => format!("open {leg}.{generation} by relay"),
        SoundCommand::IceServers(servers) => format!("servers {}", servers.len()),
        SoundCommand::Offer { leg, generation } => format!("offer {leg}.{generation}"),
        SoundCommand::SetRemote { leg, generation, kind, .. } => format!("take {kind:?} {leg}.{generation}"),
        SoundCommand::AddCandidates { leg, generation, .. } => format!("add {leg}.{generation}"),
        SoundCommand::Drop { leg } => format!("drop {leg}"),
        SoundCommand::Mute(muted) => format!("mute {muted}"),
        SoundCommand::Close => "close".into(),
    }
}

fn sdp() -> Sdp {
    Sdp::new("v=0\r\nm=audio 9\r\na=fingerprint:sha-256 00\r\n").unwrap()
}

fn description(member: &str, generation: u32, kind: DescriptionKind) -> Input {
    Input::Server(Event::DescriptionFrom { room: id("r"), member: id(member), generation, kind, sdp: sdp() })
}

#[test]
fn each_member_gets_a_leg_when_seen_and_loses_it_when_gone() {
    let mut told = Told::new();
    told.check(Input::Wish(Wish::Enter(id("r"))), "warm, enter r");
    assert_eq!(told.meeting.entering().map(RoomId::as_str), Some("r"));
    told.room(3, &[member("a", 1, true)], "warm, open 1.1, offer 1.1");
    assert_eq!(told.meeting.entering(), None);
    told.room(4, &[member("a", 1, true), member("b", 1, false)], "open 2.1");
    told.room(3, &[], "");
    told.media(2, MediaEvent::Flowing { generation: 1 }, "");
    assert_eq!(told.sounds(), "a Connecting, b Heard");
    told.room(5, &[member("b", 1, false)], "drop 1");
    told.room(6, &[member("b", 1, false), member("a", 1, true)], "open 3.1, offer 3.1");
    told.check(Input::Wish(Wish::Leave), "close, leave r");
    assert_eq!(told.meeting.room(), None);
    told.room(7, &[], "");
}

#[test]
fn signals_of_old_generations_are_ignored_and_those_of_later_ones_wait() {
    let mut told = Told::inside(&[member("a", 2, false)]);
    told.check(description("a", 1, DescriptionKind::Offer), "");
    told.check(description("a", 2, DescriptionKind::Offer), "take Offer 1.2");
    told.check(description("a", 2, DescriptionKind::Answer), "");
    told.check(description("a", 3, DescriptionKind::Answer), "");
    told.check(description("b", 1, DescriptionKind::Offer), "");
    let both = [member("a", 3, true), member("b", 1, false)];
    told.room(2, &both, "open 1.3, offer 1.3, open 2.1, take Answer 1.3, take Offer 2.1");
}

#[test]
fn lost_sound_asks_for_the_next_connection_once_a_second_at_most() {
    let mut told = Told::inside(&[member("a", 1, true)]);
    told.media(1, MediaEvent::Flowing { generation: 1 }, "");
    told.now = 5_000;
    told.media(1, MediaEvent::Stalled { generation: 1 }, "renew a 1");
    assert_eq!(told.sounds(), "a Lost");
    told.room(2, &[member("a", 2, true)], "open 1.2, offer 1.2");
    told.media(1, MediaEvent::Failed { generation: 1 }, "");
    told.media(1, MediaEvent::Failed { generation: 2 }, "");
    assert_eq!(told.meeting.poll_timeout(), Some((Monotonic(6_000), Due::Renew)));
    told.now = 6_000;
    told.check(Input::Timeout, "renew a 2");
    told.room(3, &[member("a", 3, true)], "open 1.3, offer 1.3");
    told.media(1, MediaEvent::Flowing { generation: 3 }, "");
    let next = Some((Monotonic(600_000), Due::Grant));
    assert_eq!((told.sounds().as_str(), told.meeting.poll_timeout()), ("a Heard", next));
}

#[test]
fn after_a_new_session_the_room_is_entered_anew_and_who_is_the_same_stays_heard() {
    let mut told = Told::inside(&[member("a", 1, true), member("b", 4, false), member("c", 1, true)]);
    told.check(Input::Wish(Wish::Mute(true)), "mute true, say muted true");
    for leg in 1..=2 {
        told.media(leg, MediaEvent::Flowing { generation: if leg == 1 { 1 } else { 4 } }, "");
    }
    told.check(Input::LinkDown, "");
    assert_eq!(told.sounds(), "a Heard, b Heard, c Connecting");
    told.check(Input::LinkUp { resumed: false }, "enter r, say muted true");
    let again = [member("a", 1, true), member("b", 1, false), member("c", 1, true)];
    told.room(1, &again, "drop 2, open 4.1, renew c 1");
    assert_eq!(told.sounds(), "a Heard, b Connecting, c Connecting");
    // Under another name this device is somebody else to them.
    told.check(Input::LinkUp { resumed: false }, "enter r, say muted true");
    let mut other = view(1, &[member("a", 1, true)]);
    other.you = id("me-again");
    told.check(Input::Server(Event::Room { view: other }), "drop 1, drop 4, drop 3, open 5.1, offer 5.1");
}

#[test]
fn a_room_that_does_not_let_one_in_is_refused_and_one_that_is_lost_is_over() {
    let mut told = Told::new();
    told.check(Input::Wish(Wish::Enter(id("r"))), "warm, enter r");
    told.refuse(ErrorCode::NotFound, "close, refused NotFound");
    assert_eq!((told.meeting.entering(), told.meeting.room()), (None, None));

    let mut told = Told::inside(&[member("a", 1, true)]);
    told.check(Input::LinkUp { resumed: false }, "enter r");
    told.refuse(ErrorCode::NotFound, "close");
    assert_eq!(told.meeting.room().unwrap().over, Some(Departure::Lost));
    told.check(Input::Wish(Wish::Dismiss), "");
    assert_eq!(told.meeting.room(), None);
}

#[test]
fn a_match_arrives_by_itself_and_is_skipped_for_the_next() {
    let mut told = Told::new();
    let mut pair = view(1, &[member("a", 1, true)]);
    told.check(Input::Server(Event::Room { view: pair.clone() }), "leave r");
    pair.room = id("m1");
    told.check(Input::Wish(Wish::Search), "Search");
    told.check(Input::Server(Event::Room { view: pair.clone() }), "warm, open 1.1, offer 1.1");
    assert!(told.meeting.room().unwrap().matched);
    told.check(Input::Wish(Wish::Mute(true)), "mute true, say muted true");
    told.check(Input::Wish(Wish::Skip), "close, Skip");
    told.check(Input::Server(Event::Room { view: pair.clone() }), "");
    pair.room = id("m2");
    told.check(Input::Server(Event::Room { view: pair.clone() }), "warm, say muted true, open 2.1, offer 2.1");
    let over = Event::RoomOver { room: id("m2"), why: Departure::PartnerLeft };
    told.check(Input::Server(over), "close, mute false");
    assert_eq!(told.meeting.room().unwrap().over, Some(Departure::PartnerLeft));
    // Nobody is looked for any more, until the server says so or the person does.
    told.check(Input::Wish(Wish::StopSearching), "");
    told.check(Input::LinkUp { resumed: false }, "");
    let waiting = SearchView::Waiting { place: 1, since: UnixMs(0) };
    told.check(Input::Server(Event::Search { view: waiting }), "");
    told.check(Input::Wish(Wish::StopSearching), "StopSearching");
    told.check(Input::Wish(Wish::Skip), "refused WrongState");
}

#[test]
fn with_a_partner_of_a_match_one_goes_by_relays_alone_where_there_is_one() {
    let mut told = Told::new();
    told.relays = None;
    let mut pair = view(1, &[member("a", 1, true)]);
    pair.room = id("m1");
    told.check(Input::Wish(Wish::Search), "Search");
    told.check(Input::Server(Event::Room { view: pair.clone() }), "warm, relays?");
    // A stranger shall not learn an address because the server is slow for a moment.
    told.now = 400;
    told.check(Input::Timeout, "");
    let (asked, _) = told.asked.pop().unwrap();
    told.check(granted(asked, 1), "servers 1, open 1.1 by relay, offer 1.1");
    told.media(1, MediaEvent::Path { generation: 1, relayed: true }, "");
    told.media(1, MediaEvent::Flowing { generation: 1 }, "");
    told.now = 300_000;
    told.check(Input::Timeout, "");
    told.check(Input::Wish(Wish::Skip), "close, Skip");
    // Where there is none, the two are not kept apart by that.
    pair.room = id("m2");
    told.check(Input::Server(Event::Room { view: pair }), "warm, relays?");
    let (asked, _) = told.asked.pop().unwrap();
    told.check(granted(asked, 0), "servers 0, open 2.1, offer 2.1");
}

#[test]
fn a_room_waits_for_the_relays_but_not_for_long_and_what_comes_meanwhile_is_kept() {
    let mut told = Told::new();
    told.relays = None;
    told.check(Input::Wish(Wish::Enter(id("r"))), "warm, enter r, relays?");
    told.room(1, &[member("a", 1, true), member("b", 1, false)], "warm");
    let offer = Event::DescriptionFrom {
        room: id("r"),
        member: id("b"),
        generation: 1,
        kind: DescriptionKind::Offer,
        sdp: sdp(),
    };
    told.check(Input::Server(offer), "");
    assert_eq!(told.meeting.poll_timeout(), Some((Monotonic(2_000), Due::Servers)));
    told.now = 2_000;
    told.check(Input::Timeout, "open 1.1, offer 1.1, open 2.1, take Offer 2.1");
}

#[test]
fn another_network_renews_the_way_to_each_member_at_once_and_the_last_change_counts() {
    let mut told = Told::inside(&[member("a", 1, true), member("b", 1, false)]);
    told.media(1, MediaEvent::Flowing { generation: 1 }, "");
    told.media(2, MediaEvent::Flowing { generation: 1 }, "");
    told.now = 5_000;
    told.check(Input::NetworkChanged, "renew a 1, renew b 1");
    assert_eq!(told.sounds(), "a Heard, b Heard");
    told.now = 5_100;
    told.room(2, &[member("a", 2, true), member("b", 2, false)], "open 1.2, offer 1.2, open 2.2");
    told.now = 5_400;
    told.check(Input::NetworkChanged, "");
    told.now = 5_700;
    told.check(Input::NetworkChanged, "");
    assert_eq!(told.meeting.poll_timeout(), Some((Monotonic(6_000), Due::Renew)));
    told.now = 6_000;
    told.check(Input::Timeout, "renew a 2, renew b 2");
    assert_eq!(told.sounds(), "a Heard, b Heard");
}

#[test]
fn without_a_link_nothing_is_asked_for_and_with_it_at_once() {
    let mut told = Told::inside(&[member("a", 1, true)]);
    told.media(1, MediaEvent::Flowing { generation: 1 }, "");
    told.check(Input::LinkDown, "");
    told.now = 2_000;
    told.check(Input::NetworkChanged, "");
    told.media(1, MediaEvent::Stalled { generation: 1 }, "");
    assert_eq!(told.meeting.poll_timeout(), None);
    told.now = 9_000;
    told.check(Input::LinkUp { resumed: true }, "enter r, renew a 1");
}

#[test]
fn a_search_that_comes_too_soon_waits_its_turn_unless_it_is_called_off() {
    let mut told = Told::new();
    told.check(Input::Wish(Wish::Search), "Search");
    told.refuse(ErrorCode::RateLimited, "");
    assert_eq!(told.meeting.poll_timeout(), Some((Monotonic(1_000), Due::Resend)));
    told.now = 1_000;
    told.check(Input::Timeout, "Search");
    told.refuse(ErrorCode::RateLimited, "");
    told.check(Input::Wish(Wish::StopSearching), "StopSearching");
    assert_eq!(told.meeting.poll_timeout(), None);
    told.check(Input::Wish(Wish::Search), "Search");
    told.refuse(ErrorCode::AlreadySearching, "refused AlreadySearching");
    assert!(told.meeting.is_searching());
}
