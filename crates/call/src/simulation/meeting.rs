//! Several devices in one room, in virtual time: [`Meeting`]s against [`Rooms`], over sessions that break, are resumed or
//! begin anew, with sound engines that are only pretended and paths between them that open and close.
//!
//! Anything may happen for a while; then peace, and everybody in the room must hear everybody, on the same connection.
//! A failing history prints its seed; `BELLWIRE_MEETING=<seed> cargo test -p bellwire-call --lib replay_a_meeting --
//! --nocapture` runs it again and prints every step. `BELLWIRE_MEETINGS` sets how many are run.

mod server;
mod sound;

use crate::endpoint::{MediaEvent, Monotonic, Route};
use crate::fault::{Fault, plant};
use crate::meeting::{Input, Meeting, MemberSound, Output, SoundCommand, Wish};
use crate::rooms::{Guest, LinkId, RoomPlan, Rooms};
use bellwire_signaling::*;
use sound::{Sounds, Told};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Server time at the start of a history.
const BASE: u64 = 1_800_000_000_000;
/// After this much peace all is well.
const PEACE_MS: u64 = 120_000;
/// For how long the server keeps a session, in these histories.
const RESUME_MS: u64 = 25_000;
/// Until a changed network has brought the next connection, with all that is on the way.
const RENEWED_MS: u64 = 6_000;

struct World {
    now: u64,
    rng: fastrand::Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    made: u64,
    rooms: Rooms,
    devices: Vec<Device>,
    sounds: Sounds,
    /// What the server says of relays: 0 none, 1 a refusal, else one.
    relays: u8,
    removed: BTreeSet<usize>,
    peace: bool,
    /// Who made the offer of a connection: room's life, the two, the generation.
    offered: BTreeMap<(u64, LinkId, LinkId, u32), LinkId>,
    lives: u64,
    trace: Option<Vec<String>>,
    tally: BTreeMap<&'static str, u64>,
}

struct Device {
    meeting: Meeting,
    link: LinkId,
    /// The socket is up; messages of older ones are lost.
    up: bool,
    epoch: u64,
    down_since: u64,
    /// Nothing of the session is left on the server.
    session_lost: bool,
    log: Vec<Event>,
    seen: usize,
    handled: BTreeMap<CommandId, Result<(), ErrorCode>>,
    /// Messages arrive in order.
    last: [u64; 2],
    legs: BTreeSet<u32>,
    timeout: Option<u64>,
    relay_only: bool,
    /// Legs of which a changed network wants the next connection, by then.
    due: BTreeMap<u32, u64>,
}

enum Happening {
    ToServer { device: usize, epoch: u64, id: CommandId, command: Command },
    Event { device: usize, epoch: u64, number: usize },
    Reply { device: usize, epoch: u64, id: CommandId, result: Result<(), ErrorCode> },
    Granted { device: usize, epoch: u64, id: CommandId, result: Result<Vec<IceServer>, ErrorCode> },
    Sound { device: usize, leg: u32, event: MediaEvent },
    Timeout(usize),
    Lost(usize),
    Back(usize),
    Path(usize, usize, bool),
    Direct(usize, usize, bool),
    Address(usize),
    Noticed(usize),
    Whim(usize),
    Restart,
    Tick,
}

fn room() -> RoomId {
    RoomId::new("room").expect("an id")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = rng.usize(2..=5);
        let device = |n: usize| Device {
            meeting: Meeting::new((n as u128 + 1) << 64),
            link: LinkId(n as u64 + 1),
            up: false,
            epoch: 0,
            down_since: 0,
            session_lost: true,
            log: Vec::new(),
            seen: 0,
            handled: BTreeMap::new(),
            last: [0, 0],
            legs: BTreeSet::new(),
            timeout: None,
            relay_only: false,
            due: BTreeMap::new(),
        };
        let mut world = Self {
            now: 0,
            rng,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            made: 1_000,
            rooms: Rooms::new(),
            devices: (0..count).map(device).collect(),
            sounds: Sounds::new(count),
            relays: (seed % 4) as u8,
            removed: BTreeSet::new(),
            peace: false,
            offered: BTreeMap::new(),
            lives: 0,
            trace: None,
            tally: BTreeMap::new(),
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        let listed = (0..self.devices.len()).map(|n| Guest { user: user(n), host: n == 0 }).collect();
        let closes_at = UnixMs(BASE + 100_000_000);
        self.rooms.plan(RoomPlan { id: room(), topic: "topic".into(), listed, most: 8, closes_at });
        self.lives += 1;
    }

    fn run(&mut self) -> Result<(), String> {
        let trouble = self.rng.u64(15_000..80_000);
        let count = self.devices.len();
        for device in 0..count {
            self.at(1, Happening::Back(device));
            let whim = self.rng.u64(10..3_000);
            self.at(whim, Happening::Whim(device));
        }
        for _ in 0..self.rng.usize(0..5) {
            let (at, device) = (self.rng.u64(0..trouble), self.rng.usize(0..count));
            let long = if self.rng.u8(0..4) == 0 { 40_000 } else { 4_000 };
            let back = at + self.rng.u64(20..long);
            self.at(at, Happening::Lost(device));
            self.at(back, Happening::Back(device));
        }
        for _ in 0..self.rng.usize(0..5) {
            let (at, one, other) = (self.rng.u64(0..trouble), self.rng.usize(0..count), self.rng.usize(0..count));
            let back = at + self.rng.u64(100..15_000);
            self.at(at, Happening::Path(one, other, false));
            self.at(back, Happening::Path(one, other, true));
        }
        for _ in 0..self.rng.usize(0..3) {
            let (at, device) = (self.rng.u64(0..trouble), self.rng.usize(0..count));
            self.at(at, Happening::Address(device));
            if self.rng.bool() {
                let back = at + self.rng.u64(50..1_500);
                self.at(at, Happening::Lost(device));
                self.at(back, Happening::Back(device));
            }
        }
        if self.rng.u8(0..3) == 0 {
            let (at, one, other) = (self.rng.u64(0..trouble), self.rng.usize(0..count), self.rng.usize(0..count));
            self.at(at, Happening::Direct(one, other, false));
        }
        if self.rng.u8(0..5) == 0 {
            let at = self.rng.u64(0..trouble);
            self.at(at, Happening::Restart);
        }
        self.at(0, Happening::Tick);
        self.run_until(trouble)?;
        self.peace = true;
        for one in 0..count {
            self.at(5, Happening::Back(one));
            for other in 0..count {
                self.at(5, Happening::Path(one, other, true));
                self.at(5, Happening::Direct(one, other, true));
            }
        }
        self.run_until(trouble + 5_000)?;
        for device in (0..count).filter(|device| !self.removed.contains(device)).collect::<Vec<_>>() {
            self.feed(device, Input::Wish(Wish::Enter(room())))?;
        }
        self.run_until(trouble + PEACE_MS)?;
        self.at_peace()
    }

    fn run_until(&mut self, end: u64) -> Result<(), String> {
        while let Some(Reverse((at, key))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            let Some(happening) = self.happenings.remove(&key) else { continue };
            self.happen(happening)?;
        }
        self.now = end;
        Ok(())
    }

    fn at(&mut self, after: u64, happening: Happening) {
        self.made += 1;
        self.queue.push(Reverse((self.now + after, self.made)));
        self.happenings.insert(self.made, happening);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::ToServer { device, epoch, id, command } => {
                if self.devices[device].epoch == epoch && self.devices[device].up {
                    self.serve(device, id, command)?;
                }
            }
            Happening::Event { device, epoch, number } => {
                let there = &mut self.devices[device];
                if there.epoch == epoch && there.up {
                    there.seen = number + 1;
                    let event = there.log[number].clone();
                    self.note(|| format!("{device} <- {}", brief(&event)));
                    self.feed(device, Input::Server(event))?;
                }
            }
            Happening::Reply { device, epoch, id, result } => {
                if self.devices[device].epoch == epoch && self.devices[device].up {
                    let refused = |code| WireError { code, message: String::new(), retry_after_ms: None };
                    let result = result.map(|()| Reply::Done {}).map_err(refused);
                    self.feed(device, Input::Reply { id, result })?;
                }
            }
            Happening::Granted { device, epoch, id, result } => {
                if self.devices[device].epoch == epoch && self.devices[device].up {
                    let refused = |code| WireError { code, message: String::new(), retry_after_ms: None };
                    let reply = |servers| Reply::IceServers { servers, lifetime_ms: 30_000 };
                    self.feed(device, Input::Reply { id, result: result.map(reply).map_err(refused) })?;
                }
            }
            Happening::Sound { device, leg, event } => {
                if self.sounds.knows(device, leg, &event) {
                    self.note(|| format!("{device} sound {leg} {}", brief(&event)));
                    self.feed(device, Input::Media { leg, event })?;
                }
            }
            Happening::Timeout(device) => {
                if self.devices[device].timeout == Some(self.now) {
                    self.devices[device].timeout = None;
                    self.feed(device, Input::Timeout)?;
                }
            }
            Happening::Lost(device) => self.lose(device)?,
            Happening::Back(device) => self.greet(device)?,
            Happening::Path(one, other, open) => self.sounds.set_path(one, other, open),
            Happening::Direct(one, other, open) => self.sounds.set_direct(one, other, open),
            Happening::Address(device) => {
                self.sounds.change_address(device);
                let noticed = self.rng.u64(0..400);
                self.at(noticed, Happening::Noticed(device));
            }
            Happening::Noticed(device) => {
                self.note(|| format!("{device} has another address"));
                if self.devices[device].up {
                    let legs = self.sounds.legs(device);
                    self.devices[device].due.extend(legs.into_iter().map(|leg| (leg, self.now + RENEWED_MS)));
                }
                self.feed(device, Input::NetworkChanged)?;
            }
            Happening::Whim(device) => self.whim(device)?,
            Happening::Restart => {
                self.note(|| "the server is started again".into());
                self.count("restarts");
                self.rooms = Rooms::new();
                self.removed.clear();
                self.devices.iter_mut().for_each(|device| device.due.clear());
                self.plan();
                for device in 0..self.devices.len() {
                    self.devices[device].session_lost = true;
                    self.lose(device)?;
                    let back = self.rng.u64(50..4_000);
                    self.at(back, Happening::Back(device));
                }
            }
            Happening::Tick => {
                self.rooms.timeout(UnixMs(BASE + self.now));
                self.effects();
                for device in 0..self.devices.len() {
                    let there = &self.devices[device];
                    if there.due.values().any(|due| *due < self.now) {
                        return Err(format!("the network of {device} changed, and no connection was begun"));
                    }
                    if !there.up && !there.session_lost && self.now > there.down_since + RESUME_MS {
                        let link = there.link;
                        self.devices[device].session_lost = true;
                        self.rooms.gone(link, Departure::Lost, UnixMs(BASE + self.now));
                        self.effects();
                    }
                }
                let told = self.sounds.tick(self.now, &mut self.rng);
                self.hear(told);
                self.at(200, Happening::Tick);
            }
        }
        Ok(())
    }

    // The sessions.

    fn lose(&mut self, device: usize) -> Result<(), String> {
        let there = &mut self.devices[device];
        if !std::mem::replace(&mut there.up, false) {
            return Ok(());
        }
        there.down_since = self.now;
        there.due.clear();
        let link = there.link;
        self.rooms.link_down(link, UnixMs(BASE + self.now));
        self.effects();
        self.note(|| format!("{device} loses its link"));
        self.feed(device, Input::LinkDown)
    }

    fn greet(&mut self, device: usize) -> Result<(), String> {
        self.made += 1;
        let fresh = LinkId(self.made);
        let there = &mut self.devices[device];
        if there.up {
            return Ok(());
        }
        there.up = true;
        there.epoch += 1;
        there.last = [self.now, self.now];
        // The server may have forgotten what it sent while it still knows the device.
        let resumed = !there.session_lost && self.rng.u8(0..4) > 0;
        if !resumed {
            there.log.clear();
            there.seen = 0;
            there.handled.clear();
        }
        if std::mem::take(&mut there.session_lost) {
            there.link = fresh;
        }
        let (link, seen, sent) = (there.link, there.seen, there.log.len());
        self.note(|| format!("{device} has a link, resumed {resumed}"));
        self.count(if resumed { "resumed" } else { "new sessions" });
        self.feed(device, Input::LinkUp { resumed })?;
        for number in seen..sent {
            self.deliver(device, number);
        }
        self.rooms.link_up(link);
        self.effects();
        Ok(())
    }

    fn deliver(&mut self, device: usize, number: usize) {
        let (after, epoch) = (self.delay(device, 1), self.devices[device].epoch);
        self.at(after, Happening::Event { device, epoch, number });
    }

    /// Until a message is there: in order, each way.
    fn delay(&mut self, device: usize, way: usize) -> u64 {
        let at = (self.now + self.rng.u64(2..120)).max(self.devices[device].last[way]);
        self.devices[device].last[way] = at;
        at - self.now
    }

    // The devices.

    fn feed(&mut self, device: usize, input: Input) -> Result<(), String> {
        self.devices[device].meeting.handle(input, Monotonic(self.now));
        while let Some(output) = self.devices[device].meeting.poll_output() {
            match output {
                Output::Send(ClientFrame::Command { id, command }) => {
                    self.note(|| format!("{device} -> {}", brief(&command)));
                    if !self.devices[device].up {
                        return Err("a frame was sent without a link".into());
                    }
                    let epoch = self.devices[device].epoch;
                    for _ in 0..=usize::from(self.rng.u8(0..20) == 0) {
                        let after = self.delay(device, 0);
                        let (id, command) = (id.clone(), command.clone());
                        self.at(after, Happening::ToServer { device, epoch, id, command });
                    }
                }
                Output::Send(other) => return Err(format!("a meeting sent {other:?}")),
                Output::Sound(command) => {
                    self.note(|| format!("{device} does {}", brief(&command)));
                    self.check_ways(device, &command)?;
                    if let crate::meeting::SoundCommand::Open { leg, generation, .. } = &command
                        && !self.devices[device].legs.insert(*leg)
                        && !self.sounds.has(device, *leg)
                    {
                        return Err(format!("leg {leg} was used twice, generation {generation}"));
                    }
                    let told = self.sounds.told(device, command, self.now, &mut self.rng)?;
                    self.hear(told);
                }
                Output::Refused { code, .. } => self.note(|| format!("{device} is refused: {code:?}")),
            }
        }
        let due = self.devices[device].meeting.poll_timeout().map(|(at, _)| at.0.max(self.now + 1));
        if due != self.devices[device].timeout {
            self.devices[device].timeout = due;
            if let Some(at) = due {
                self.at(at - self.now, Happening::Timeout(device));
            }
        }
        Ok(())
    }

    fn check_ways(&mut self, device: usize, command: &SoundCommand) -> Result<(), String> {
        let there = &mut self.devices[device];
        match command {
            SoundCommand::Open { leg, route, .. } => {
                there.due.remove(leg);
                if there.relay_only && *route != Route::RelayOnly {
                    return Err("a connection could go directly against the wish".into());
                }
            }
            SoundCommand::Drop { leg } => drop(there.due.remove(leg)),
            SoundCommand::Close => there.due.clear(),
            SoundCommand::Warm
            | SoundCommand::IceServers(_)
            | SoundCommand::Offer { .. }
            | SoundCommand::SetRemote { .. }
            | SoundCommand::AddCandidates { .. }
            | SoundCommand::Mute(_) => {}
        }
        Ok(())
    }

    fn hear(&mut self, told: Vec<Told>) {
        for Told { device, leg, event, after } in told {
            self.at(after, Happening::Sound { device, leg, event });
        }
    }

    fn whim(&mut self, device: usize) -> Result<(), String> {
        if self.peace {
            return Ok(());
        }
        let again = self.rng.u64(500..8_000);
        self.at(again, Happening::Whim(device));
        let shown = self.devices[device].meeting.room().filter(|room| room.over.is_none());
        let wish = match (shown, self.rng.u8(0..100)) {
            (None, 0..70) => Wish::Enter(room()),
            (None, _) => return Ok(()),
            (Some(_), 90..92) => Wish::RelayOnly(self.relays > 1),
            (Some(_), 92..96) => Wish::RelayOnly(false),
            (Some(_), 0..8) => Wish::Leave,
            (Some(_), dice @ 8..20) => Wish::Mute(dice < 14),
            (Some(room), 20..22) if room.host && !room.members.is_empty() => {
                Wish::Remove(room.members[self.rng.usize(0..room.members.len())].member.clone())
            }
            (Some(_), _) => return Ok(()),
        };
        if let Wish::RelayOnly(only) = &wish {
            self.devices[device].relay_only = *only;
        }
        self.note(|| format!("{device} wishes {}", brief(&wish)));
        self.feed(device, Input::Wish(wish))
    }

    // What must hold.

    fn at_peace(&mut self) -> Result<(), String> {
        let there: BTreeMap<LinkId, Handle> =
            self.rooms.members(&room()).map(|member| (member.link, member.handle.clone())).collect();
        for (device, of) in self.devices.iter().enumerate() {
            if of.meeting.entering().is_some() {
                return Err(format!("{device} is entering for ever"));
            }
            let shown = of.meeting.room().filter(|room| room.over.is_none());
            if shown.is_some() != there.contains_key(&of.link) {
                return Err(format!("{device} shows the room: {}, the server otherwise", shown.is_some()));
            }
            let inside = !self.removed.contains(&device);
            if shown.is_some() != inside {
                return Err(format!("{device} is in the room: {}", shown.is_some()));
            }
            let legs: BTreeSet<u32> = shown.iter().flat_map(|room| &room.members).map(|member| member.leg).collect();
            if legs != self.sounds.legs(device) {
                return Err(format!("{device} has legs {:?} and shows {legs:?}", self.sounds.legs(device)));
            }
            let Some(shown) = shown else { continue };
            if shown.members.len() + 1 != there.len() {
                return Err(format!("{device} sees {} of {}", shown.members.len() + 1, there.len()));
            }
            for member in &shown.members {
                if member.sound != MemberSound::Heard {
                    return Err(format!("{device} has {} as {:?}", member.member, member.sound));
                }
            }
            *self.tally.entry("heard").or_default() += shown.members.len() as u64;
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.now, what()));
        }
    }
}

fn user(device: usize) -> UserId {
    UserId::new(format!("user-{device}")).expect("an id")
}

fn brief(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(170).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn meetings_in_random_histories_end_with_everybody_heard() {
    let mut tally = BTreeMap::<_, u64>::new();
    for seed in 1..=setting("BELLWIRE_MEETINGS", 500) {
        let mut world = World::new(seed);
        if let Err(broken) = world.run() {
            panic!(
                "seed {seed} at {} ms: {broken}\nreplay: BELLWIRE_MEETING={seed} cargo test -p bellwire-call --lib \
                 replay_a_meeting -- --nocapture",
                world.now
            );
        }
        world.tally.into_iter().for_each(|(what, n)| *tally.entry(what).or_default() += n);
    }
    tally.iter().for_each(|(what, n)| println!("{n:>8} {what}"));
    for what in ["heard", "renewals", "resumed", "new sessions", "restarts"] {
        assert!(tally.contains_key(what), "no history met {what}");
    }
}

/// A planted fault must be noticed, as what it is.
#[track_caller]
fn caught(fault: Fault, rule: &str) {
    plant(Some(fault));
    let broken = (1..=500).find_map(|seed| World::new(seed).run().err().map(|broken| (seed, broken)));
    plant(None);
    let (seed, broken) = broken.expect("the planted fault was not noticed");
    println!("{fault:?}: seed {seed}: {broken}");
    assert!(broken.contains(rule), "{fault:?} was noticed as something else: {broken}");
}

#[test]
fn a_connection_that_is_never_renewed_is_caught() {
    caught(Fault::MeetingNeverRenews, "as Lost");
}

#[test]
fn a_leg_of_one_who_is_gone_is_caught() {
    caught(Fault::MeetingKeepsLegs, "has legs");
}

#[test]
fn a_device_that_does_not_enter_again_is_caught() {
    caught(Fault::MeetingStaysOut, "the server otherwise");
}

#[test]
fn two_who_both_offer_are_caught() {
    caught(Fault::MeetingOffersAlways, "both offered");
}

#[test]
fn a_changed_network_that_is_ignored_in_a_room_is_caught() {
    caught(Fault::NetworkChangeIgnored, "the network of");
}

#[test]
fn a_wish_for_relays_that_is_ignored_in_a_room_is_caught() {
    caught(Fault::WishForRelaysIgnored, "against the wish");
}

#[test]
fn replay_a_meeting() {
    let mut world = World::new(setting("BELLWIRE_MEETING", 1));
    world.trace = Some(Vec::new());
    let result = world.run();
    println!("{}", world.trace.take().unwrap_or_default().join("\n"));
    assert_eq!(result, Ok(()), "at {} ms", world.now);
}
