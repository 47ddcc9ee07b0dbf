//! Two to four devices, one server, the links between, in virtual time.

use super::ghost::Ghost;
use super::server::Server;
use super::sound::{Sound, SoundOutput};
use super::ways::Ways;
use crate::endpoint::{Endpoint, Input, MediaCommand, MediaEvent, Monotonic, Notice, Output, State, UserCommand};
use crate::exchange::{Exchange, RECENT_MS, Who};
use crate::{BookedCall, Booking, Person};
use bellwire_signaling::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Server time at the start of a history.
pub(super) const BASE: u64 = 1_800_000_000_000;

pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: fastrand::Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Happening>,
    pub(super) made: u64,
    pub(super) devices: Vec<Device>,
    pub(super) bookings: Vec<Booking>,
    pub(super) server: Server,
    pub(super) ghost: Ghost,
    pub(super) sound: Sound,
    checked_at: u64,
    /// Devices that ought to ring for a call, and since when.
    overdue: BTreeMap<(usize, CallId), u64>,
    server_up_since: u64,
    pub(super) trace: Option<Vec<String>>,
    /// Between a device and the server, one way.
    pub(super) delay: std::ops::Range<u64>,
    /// Of a hundred commands, how many come twice.
    pub(super) doubled: u8,
    pub(super) relays: Relays,
}

/// What the server says when it is asked for relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relays {
    None,
    Granted,
    /// Granted, after a while.
    Slow,
    Refused,
}

pub(super) struct Device {
    pub(super) who: Who,
    pub(super) name: &'static str,
    pub(super) endpoint: Endpoint,
    pub(super) shown: Option<String>,
    pub(super) link: Link,
    /// Counts links; what was under way on an older one is gone.
    epoch: u64,
    /// Counts closings of the sound engine, which says nothing more of what it closed.
    closings: u64,
    /// The session to resume, and the last event seen in it.
    pub(super) session: Option<(u64, u64)>,
    up_at: u64,
    down_at: u64,
    pub(super) ways: Ways,
    /// Until then it takes nothing in.
    asleep_until: u64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Link {
    Down,
    Greeting,
    Up { since: u64 },
}

enum Happening {
    Greet { device: usize, epoch: u64 },
    ToServer { device: usize, epoch: u64, frame: ClientFrame },
    ToDevice { device: usize, epoch: u64, frame: ServerFrame },
    Media { device: usize, closings: u64, event: MediaEvent },
    Feed { device: usize, input: Input },
    Act(Act),
}

/// What a history does from outside.
#[derive(Clone, Debug)]
pub(super) enum Act {
    User(usize, UserCommand),
    LinkLost(usize),
    LinkBack(usize),
    /// The app dies and is started again.
    Crash(usize),
    ServerStops,
    ServerStarts,
    /// Sound from one device's owner to the others gets through, or not.
    Path(usize, bool),
    /// Nothing goes directly to or from this device, or again.
    Direct(usize, bool),
    /// Another address; the app notices.
    Address(usize),
    /// The sound engine fails at once whatever it opens, or no more.
    Broken(usize, bool),
    /// For so many milliseconds the device does nothing, and its clock goes on.
    Sleep(usize, u64),
    Wake(usize),
    Stranger(Command),
    CancelBooking(usize),
    /// A random person does something; see `histories`.
    Whim(usize),
}

impl World {
    pub(super) fn new(seed: u64, people: &[(&'static str, &str, &str)], bookings: Vec<Booking>) -> Self {
        let devices = people.iter().enumerate().map(|(n, (name, user, device))| Device {
            who: Who { user: id(user), device: id(device) },
            name,
            endpoint: Endpoint::new(u128::from(seed) << 32 | (n as u128) << 24),
            shown: None,
            link: Link::Down,
            epoch: 0,
            closings: 0,
            session: None,
            up_at: 0,
            down_at: 0,
            ways: Ways::default(),
            asleep_until: 0,
        });
        let devices: Vec<_> = devices.collect();
        Self {
            now: 0,
            rng: fastrand::Rng::with_seed(seed),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            made: 0,
            sound: Sound::new(devices.len()),
            devices,
            bookings,
            server: Server::default(),
            ghost: Ghost::default(),
            checked_at: 0,
            overdue: BTreeMap::new(),
            server_up_since: 0,
            trace: None,
            delay: 5..60,
            doubled: 0,
            relays: Relays::None,
        }
    }

    pub(super) fn unix(&self) -> UnixMs {
        UnixMs(BASE + self.now)
    }

    pub(super) fn at(&mut self, after: u64, act: Act) {
        self.push(self.now + after, Happening::Act(act));
    }

    /// Runs all that happens before `end`.
    pub(super) fn run_until(&mut self, end: u64, mut whim: impl FnMut(&mut World, usize)) -> Result<(), String> {
        loop {
            let next = self.next_moment();
            if next > end {
                self.now = end;
                return Ok(());
            }
            self.now = self.now.max(next);
            self.tick(&mut whim)?;
        }
    }

    fn next_moment(&self) -> u64 {
        let queued = self.queue.peek().map(|Reverse((at, _))| *at);
        let server = self.server.exchange.poll_timeout().filter(|_| !self.server.down);
        let server = server.map(|(at, _)| at.0.saturating_sub(BASE));
        let due = |d: &Device| d.endpoint.poll_timeout().map(|(at, _)| at.0.max(d.asleep_until));
        let endpoints = self.devices.iter().filter_map(due).min();
        let sound = self.sound.next_moment();
        [queued, server, endpoints, sound].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn tick(&mut self, whim: &mut impl FnMut(&mut World, usize)) -> Result<(), String> {
        if let Some(Reverse((at, n))) = self.queue.peek().copied()
            && at <= self.now
        {
            self.queue.pop();
            if let Some(happening) = self.events.remove(&n) {
                self.happen(happening, whim)?;
            }
        }
        if !self.server.down && self.server.exchange.poll_timeout().is_some_and(|(at, _)| at <= self.unix()) {
            let now = self.unix();
            self.server.exchange.timeout(now);
            self.drain_server()?;
        }
        for n in 0..self.devices.len() {
            let here = &self.devices[n];
            if here.asleep_until <= self.now && here.endpoint.poll_timeout().is_some_and(|(at, _)| at.0 <= self.now) {
                self.feed(n, Input::Timeout)?;
            }
        }
        for SoundOutput { device, event, after } in self.sound.tick(self.now, &mut self.rng) {
            let closings = self.devices[device].closings;
            self.push(self.now + after, Happening::Media { device, closings, event });
        }
        self.check_now()
    }

    fn happen(&mut self, happening: Happening, whim: &mut impl FnMut(&mut World, usize)) -> Result<(), String> {
        if let Some((device, until)) = self.sleeps_through(&happening) {
            self.note(|w| format!("{:>7} {} sleeps", w.now, w.devices[device].name));
            self.push(until, happening);
            return Ok(());
        }
        match happening {
            Happening::Feed { device, input } => self.feed(device, input),
            Happening::Greet { device, epoch } => {
                if self.devices[device].epoch == epoch && !self.server.down {
                    self.greet(device)?;
                } else if self.devices[device].epoch == epoch {
                    self.lose_link(device)?;
                    self.at(2_000, Act::LinkBack(device));
                }
                Ok(())
            }
            Happening::ToServer { device, epoch, frame } => {
                if self.devices[device].epoch == epoch && !self.server.down {
                    self.serve(device, frame)?;
                }
                Ok(())
            }
            Happening::ToDevice { device, epoch, frame } => {
                if self.devices[device].epoch == epoch {
                    self.receive(device, frame)?;
                }
                Ok(())
            }
            Happening::Media { device, closings, event } => {
                if self.devices[device].closings == closings && self.sound.knows(device, &event) {
                    self.note(|w| format!("{:>7} {} sound {}", w.now, w.devices[device].name, brief(&event)));
                    self.ghost.media(device, &event, self.devices[device].endpoint.call());
                    self.feed(device, Input::Media(event))?;
                }
                Ok(())
            }
            Happening::Act(act) => self.act(act, whim),
        }
    }

    fn act(&mut self, act: Act, whim: &mut impl FnMut(&mut World, usize)) -> Result<(), String> {
        if !matches!(act, Act::Whim(_)) {
            self.note(|w| format!("{:>7} * {act:?}", w.now));
        }
        match act {
            Act::User(device, command) => self.feed(device, Input::Command(command)),
            Act::LinkLost(device) => self.lose_link(device),
            Act::LinkBack(device) => {
                if self.devices[device].link == Link::Down {
                    self.devices[device].link = Link::Greeting;
                    self.devices[device].epoch += 1;
                    let epoch = self.devices[device].epoch;
                    self.devices[device].up_at = self.now;
                    self.devices[device].down_at = self.now;
                    let after = self.rng.u64(self.delay.clone());
                    self.push(self.now + after, Happening::Greet { device, epoch });
                }
                Ok(())
            }
            Act::Crash(device) => {
                self.lose_link(device)?;
                self.sound.close(device, self.now);
                let nonce = u128::from(self.rng.u64(..)) << 40;
                let gone = &mut self.devices[device];
                gone.closings += 1;
                gone.endpoint = Endpoint::new(nonce);
                gone.ways = Ways::default();
                gone.session = None;
                gone.shown = None;
                let after = self.rng.u64(200..6_000);
                self.at(after, Act::LinkBack(device));
                Ok(())
            }
            Act::ServerStops => {
                self.server.down = true;
                self.sound.lossy = true;
                self.server.sessions.clear();
                for device in 0..self.devices.len() {
                    self.devices[device].ways.excuse();
                    if self.devices[device].link != Link::Down {
                        self.lose_link(device)?;
                        let after = self.rng.u64(100..3_000);
                        self.at(after, Act::LinkBack(device));
                    }
                }
                Ok(())
            }
            Act::ServerStarts => {
                self.server.exchange = Exchange::new();
                self.server.down = false;
                self.server_up_since = self.now;
                let now = self.unix();
                let kept = |call: &&BookedCall| call.ended().is_none_or(|(at, _)| at.plus(RECENT_MS) > now);
                self.server.exchange.restore(self.server.store.values().filter(kept).cloned().collect(), now);
                self.drain_server()
            }
            Act::Path(device, open) => {
                self.sound.set_path(device, open, self.now);
                Ok(())
            }
            Act::Direct(device, open) => {
                self.sound.set_direct(device, open);
                Ok(())
            }
            Act::Broken(device, broken) => {
                self.sound.set_broken(device, broken);
                Ok(())
            }
            Act::Address(device) => {
                self.sound.change_address(device);
                let noticed = self.rng.u64(0..400);
                self.push(self.now + noticed, Happening::Feed { device, input: Input::NetworkChanged });
                Ok(())
            }
            Act::Sleep(device, for_ms) => {
                let here = &mut self.devices[device];
                here.asleep_until = self.now + for_ms;
                here.ways.excuse();
                self.sound.set_asleep(device, true);
                self.at(for_ms, Act::Wake(device));
                Ok(())
            }
            Act::Wake(device) => {
                if self.devices[device].asleep_until <= self.now {
                    self.sound.set_asleep(device, false);
                }
                Ok(())
            }
            Act::Stranger(command) => self.try_stranger(command),
            Act::CancelBooking(n) => {
                self.bookings[n].state = BookingState::Cancelled;
                if !self.server.down {
                    let (booking, now) = (self.bookings[n].clone(), self.unix());
                    self.server.exchange.booking_changed(&booking, now);
                    self.drain_server()?;
                }
                Ok(())
            }
            Act::Whim(device) => {
                whim(self, device);
                Ok(())
            }
        }
    }

    /// Rule 4: whoever is linked and free shows a call that rings for them. Looked at once a second.
    fn check_now(&mut self) -> Result<(), String> {
        const SETTLED: u64 = 6_000;
        self.devices.iter().try_for_each(|device| device.ways.check(self.now))?;
        if self.server.down || self.now < self.checked_at + 1_000 || self.now < self.server_up_since + SETTLED {
            return Ok(());
        }
        self.checked_at = self.now;
        let mut overdue = BTreeMap::new();
        for call in self.server.store.values().filter(|call| call.is_ringing()) {
            for (n, device) in self.devices.iter().enumerate() {
                if device.who.user != call.party(Side::Callee).user {
                    continue;
                }
                let settled = device.asleep_until + SETTLED < self.now
                    && matches!(device.link, Link::Up { since } if since + SETTLED < self.now);
                let shown = device.endpoint.call();
                let free = shown.is_none_or(|now| matches!(now.state, State::Ended { .. } | State::Elsewhere));
                let ours = shown.is_some_and(|now| now.call.as_ref() == Some(call.id()));
                if settled && free && !ours {
                    let key = (n, call.id().clone());
                    let since = self.overdue.get(&key).copied().unwrap_or(self.now);
                    if self.now >= since + SETTLED {
                        return Err(format!("rule 4: {} is linked and free but does not ring", device.name));
                    }
                    overdue.insert(key, since);
                }
            }
        }
        self.overdue = overdue;
        Ok(())
    }

    // The devices.

    fn receive(&mut self, device: usize, frame: ServerFrame) -> Result<(), String> {
        match frame {
            ServerFrame::Welcome { session, resumed, .. } => {
                let session = session.reveal().parse().map_err(|e| format!("{e}"))?;
                let here = &mut self.devices[device];
                if !resumed {
                    self.sound.lossy |= here.session.is_some();
                    here.session = Some((session, 0));
                }
                here.link = Link::Up { since: self.now };
                self.feed(device, Input::LinkUp { resumed })
            }
            ServerFrame::Event { seq, event } => {
                if let Some((_, seen)) = &mut self.devices[device].session {
                    *seen = seq;
                }
                self.feed(device, Input::Server(event))
            }
            ServerFrame::Ack { id, reply } => self.feed(device, Input::Reply { id, result: Ok(reply) }),
            ServerFrame::Refused { id: Some(id), error } => self.feed(device, Input::Reply { id, result: Err(error) }),
            ServerFrame::Refused { id: None, .. } | ServerFrame::DevPeople { .. } => Ok(()),
        }
    }

    fn feed(&mut self, device: usize, input: Input) -> Result<(), String> {
        if self.devices[device].asleep_until > self.now {
            self.push(self.devices[device].asleep_until, Happening::Feed { device, input });
            return Ok(());
        }
        let slack = 4 * self.delay.end + 6_000;
        let here = &mut self.devices[device];
        let linked = matches!(here.link, Link::Up { .. }) && !self.server.down;
        here.ways.fed(&input, here.endpoint.call(), linked, slack, self.now);
        self.devices[device].endpoint.handle(input, Monotonic(self.now));
        while let Some(output) = self.devices[device].endpoint.poll_output() {
            let here = &mut self.devices[device];
            let call = here.endpoint.call().and_then(|call| call.call.clone());
            here.ways.put_out(&output, call.as_ref(), self.now)?;
            match output {
                Output::Send(frame) => self.transmit(device, frame),
                Output::Media(command) => {
                    self.note(|w| format!("{:>7} {} does {}", w.now, w.devices[device].name, brief(&command)));
                    self.ghost.media_told(device, &command, &self.devices, &self.server.store)?;
                    self.devices[device].closings += u64::from(command == MediaCommand::Close);
                    let outputs = self.sound.told(device, command, self.now, &mut self.rng)?;
                    for SoundOutput { device, event, after } in outputs {
                        let closings = self.devices[device].closings;
                        self.push(self.now + after, Happening::Media { device, closings, event });
                    }
                }
                Output::Notice(notice) => {
                    if let Notice::Refused { code, .. } = notice {
                        self.note(|w| format!("{:>7} {} is told {code:?}", w.now, w.devices[device].name));
                    }
                }
            }
        }
        let here = &self.devices[device];
        let shown = here.endpoint.call().map(|call| describe(&call.state));
        if shown != here.shown {
            self.ghost.shows(device, here.endpoint.call(), &self.server.store, &self.sound)?;
            let text = shown.clone().unwrap_or_else(|| "nothing".into());
            self.note(|w| format!("{:>7} {} shows {text}", w.now, w.devices[device].name));
            self.devices[device].shown = shown;
        }
        Ok(())
    }

    fn transmit(&mut self, device: usize, frame: ClientFrame) {
        let here = &mut self.devices[device];
        let at = here.up_at.max(self.now + self.rng.u64(self.delay.clone()));
        here.up_at = at;
        let epoch = here.epoch;
        if self.rng.u8(0..100) < self.doubled {
            let late = at + self.rng.u64(0..3_000);
            self.push(late, Happening::ToServer { device, epoch, frame: frame.clone() });
        }
        self.push(at, Happening::ToServer { device, epoch, frame });
    }

    pub(super) fn send(&mut self, device: usize, frame: ServerFrame) {
        let here = &mut self.devices[device];
        let at = here.down_at.max(self.now + self.rng.u64(self.delay.clone()));
        here.down_at = at;
        let epoch = here.epoch;
        self.push(at, Happening::ToDevice { device, epoch, frame });
    }

    /// Something that the server takes its time for.
    pub(super) fn send_late(&mut self, device: usize, frame: ServerFrame) {
        let epoch = self.devices[device].epoch;
        let at = self.now + self.rng.u64(self.delay.start..2_500);
        self.push(at, Happening::ToDevice { device, epoch, frame });
    }

    fn lose_link(&mut self, device: usize) -> Result<(), String> {
        let was = std::mem::replace(&mut self.devices[device].link, Link::Down);
        self.devices[device].epoch += 1;
        if was == Link::Down {
            return Ok(());
        }
        let who = self.devices[device].who.clone();
        let now = self.now;
        for session in self.server.sessions.values_mut().filter(|s| s.who == who) {
            session.lost_at = Some(now);
        }
        if !self.server.down {
            let now = self.unix();
            self.server.exchange.link_down(&who, now);
            self.drain_server()?;
        }
        self.feed(device, Input::LinkDown)
    }

    /// Until when, if this is for a device that sleeps.
    fn sleeps_through(&self, happening: &Happening) -> Option<(usize, u64)> {
        let device = match happening {
            Happening::ToDevice { device, .. }
            | Happening::Media { device, .. }
            | Happening::Feed { device, .. }
            | Happening::Act(Act::User(device, _) | Act::LinkBack(device) | Act::Crash(device) | Act::Whim(device)) => {
                *device
            }
            Happening::Greet { .. } | Happening::ToServer { .. } | Happening::Act(_) => return None,
        };
        let until = self.devices[device].asleep_until;
        (until > self.now).then_some((device, until))
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.made += 1;
        self.queue.push(Reverse((at, self.made)));
        self.events.insert(self.made, happening);
    }

    pub(super) fn note(&mut self, line: impl FnOnce(&World) -> String) {
        if self.trace.is_some() {
            let line = line(self);
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }
}

pub(super) fn id<T: std::str::FromStr<Err = BadId>>(text: &str) -> T {
    text.parse().expect("a test's id")
}

pub(super) fn booking(name: &str, client: &str, provider: &str, starts_at: u64) -> Booking {
    let person =
        |user: &str| Person { user: id(user), handle: id(&format!("{name}.h{}", user.len())), name: "N".into() };
    Booking {
        id: id(name),
        client: person(client),
        provider: person(provider),
        starts_at: UnixMs(BASE + starts_at),
        length_ms: 30 * 60_000,
        topic: String::new(),
        state: BookingState::Scheduled,
        opens_before_ms: crate::OPENS_BEFORE_MS,
        closes_after_ms: crate::CLOSES_AFTER_MS,
        reschedulable: true,
    }
}

pub(super) fn describe(state: &State) -> String {
    match state {
        State::Inviting => "inviting".into(),
        State::Ringing => "ringing".into(),
        State::Connecting => "connecting".into(),
        State::Connected => "connected".into(),
        State::Reconnecting { .. } => "reconnecting".into(),
        State::Elsewhere => "elsewhere".into(),
        State::Ended { ending, confirmed } => {
            format!("ended {:?}{}", ending.reason, if *confirmed { "" } else { " (own word)" })
        }
    }
}

pub(super) fn phase_of(call: &BookedCall) -> String {
    let device = call.device(Side::Caller).cloned().unwrap_or_else(|| id("none"));
    match call.view(Side::Caller, &device).phase {
        Phase::Inviting { .. } => "inviting".into(),
        Phase::Ringing { .. } => "ringing".into(),
        Phase::Connecting { connection } => format!("connecting g{} go {}", connection.generation, connection.go),
        Phase::Connected { connection, .. } => format!("connected g{}", connection.generation),
        Phase::Reconnecting { connection, .. } => {
            format!("reconnecting g{} go {}", connection.generation, connection.go)
        }
        Phase::Elsewhere {} => "elsewhere".into(),
        Phase::Ended { ending } => format!("ended {:?} by {:?}", ending.reason, ending.by),
    }
}

fn brief(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.chars().take(60).collect()
}
