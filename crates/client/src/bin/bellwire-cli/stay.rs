//! One stay in a room, or some matches one after the other, from signing in to the exit status.

use crate::args::{Aim, StayPlan};
use crate::control::{self, Line};
use crate::events::{Event, Events, Usage, refusal_sentence, text_events};
use crate::interrupt::Interrupt;
use crate::session::at;
use crate::{Exit, bad_usage, usage};
use bellwire_client::{
    Client, Departure, Handle, Link, MemberNow, MemberSound, Request, RoomNow, SearchView, Snapshot, Stats, Stop,
    Update,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

pub async fn run(plan: StayPlan) -> Exit {
    let mut interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return bad_usage(&format!("the system gives no signals: {error}")),
    };
    let mut lines = plan.device.control.then(control::lines);
    let events = Events::start(plan.device.format);
    let (client, mut updates) = Client::start(plan.device.config.clone());
    let mut stay = Stay {
        say: plan.device.say.clone(),
        plan,
        client,
        events,
        begun: Instant::now(),
        asked: false,
        matches: 0,
        in_room: None,
        room_time: (Duration::ZERO, Some(Duration::ZERO)),
        all_heard: false,
        expects_until: None,
        skips_at: None,
        leaves_at: None,
        stats: BTreeMap::new(),
        shown: None,
        exit: None,
    };
    let exit = loop {
        tokio::select! {
            update = updates.next() => match update {
                Some(update) => stay.update(update),
                None => stay.leave(Exit::Refused),
            },
            line = control::next(&mut lines) => match line {
                Some(line) => stay.line(line),
                None => lines = None,
            },
            () = interrupt.next() => stay.leave(Exit::Normal),
            () = at(stay.expects_until) => stay.waited_in_vain(),
            () = at(stay.skips_at) => stay.skip(),
            () = at(stay.leaves_at) => stay.leave(Exit::Normal),
        }
        if let Some(exit) = stay.exit {
            break exit;
        }
    };
    stay.tell_figures();
    stay.client.shutdown().await;
    exit
}

struct Stay {
    plan: StayPlan,
    client: Client,
    events: Events,
    begun: Instant,
    /// To be written, once there is somebody to read it.
    say: Vec<String>,
    /// The room or the queue has been asked for.
    asked: bool,
    matches: u32,
    /// In a room since then, and the processor time until then.
    in_room: Option<(Instant, Option<Duration>)>,
    /// Of rooms that are over: time, and processor time.
    room_time: (Duration, Option<Duration>),
    all_heard: bool,
    expects_until: Option<Instant>,
    skips_at: Option<Instant>,
    leaves_at: Option<Instant>,
    /// The newest of each member there was.
    stats: BTreeMap<Handle, Box<Stats>>,
    shown: Option<Box<Snapshot>>,
    exit: Option<Exit>,
}

impl Stay {
    fn update(&mut self, update: Update) {
        match update {
            Update::Snapshot(snapshot) => self.snapshot(snapshot),
            Update::MemberStats { member, stats } => {
                self.stats.insert(member, stats);
            }
            Update::Device(event) => self.events.say(&Event::Device(event)),
            Update::Refused { code, retry_after_ms } => {
                self.events.say(&Event::Refused { code, retry_after_ms });
                let outside = self.shown.as_ref().is_none_or(|shown| shown.room.is_none());
                let waiting = self.shown.as_ref().is_some_and(|shown| shown.search != SearchView::Idle {});
                if self.asked && outside && !waiting {
                    self.leave(Exit::Refused);
                }
            }
            Update::Stopped(stop) => self.stopped(stop),
            Update::NetworkChanged => self.events.say(&Event::NetworkChanged),
            Update::SpeakingMuted { at: _ } => self.events.say(&Event::SpeakingMuted),
            Update::Stats(_)
            | Update::Flowing { .. }
            | Update::Level { .. }
            | Update::History(_)
            | Update::Devices(_)
            | Update::ReportSaved(_) => {}
        }
    }

    fn snapshot(&mut self, new: Box<Snapshot>) {
        let old = self.shown.replace(new.clone());
        let old = old.as_deref();
        if old.is_none_or(|old| old.link != new.link) {
            self.events.say(&Event::link(&new.link));
        }
        if !self.asked && new.link == Link::Up {
            self.asked = true;
            self.client.request(match &self.plan.aim {
                Aim::Room(room) => Request::EnterRoom(room.clone()),
                Aim::Match { .. } => Request::Search,
            });
        }
        if old.is_none_or(|old| old.search != new.search) {
            self.tell_search(&new.search);
        }
        let before = old.and_then(|old| old.room.as_ref());
        match &new.room {
            Some(room) => {
                let before = before.filter(|before| before.room == room.room && before.over.is_none());
                self.follow(before, room);
            }
            None => self.outside(),
        }
    }

    fn tell_search(&mut self, search: &SearchView) {
        match search {
            SearchView::Idle {} => {}
            SearchView::Waiting { place, .. } => self.events.say(&Event::InQueue { place: *place }),
            SearchView::Matched { room, partner, .. } => {
                self.events.say(&Event::Matched { room: room.clone(), partner: partner.clone() });
            }
        }
    }

    // In a room.

    fn follow(&mut self, before: Option<&RoomNow>, room: &RoomNow) {
        if room.over.is_some() && self.in_room.is_none() {
            return;
        }
        if before.is_none() {
            self.entered(room);
        }
        let members = before.map_or(&[][..], |before| &before.members);
        let was = |handle: &Handle| members.iter().find(|member| member.member == *handle);
        for gone in members.iter().filter(|old| room.members.iter().all(|new| new.member != old.member)) {
            self.events.say(&Event::MemberLeft { member: gone.member.clone() });
        }
        for member in &room.members {
            self.tell_member(was(&member.member), member);
        }
        if before.is_some_and(|before| before.muted != room.muted) {
            self.events.say(&Event::Muted { muted: room.muted });
        }
        if before.map_or(room.speaking, |before| before.speaking != room.speaking) {
            self.events.say(&Event::Speaking { member: None, speaking: room.speaking });
        }
        if before.map_or(room.locked, |before| before.locked != room.locked) {
            self.events.say(&Event::Locked { locked: room.locked });
        }
        let known = before.map_or(&[][..], |before| &before.chat);
        text_events(known, &room.chat).iter().for_each(|event| self.events.say(event));
        if let Some(why) = room.over {
            self.events.say(&Event::RoomOver { room: room.room.clone(), why });
            return self.over(why);
        }
        self.act_on(room);
    }

    fn tell_member(&self, old: Option<&MemberNow>, new: &MemberNow) {
        let member = || new.member.clone();
        if old.is_none() {
            self.events.say(&Event::MemberJoined { member: member(), host: new.host, muted: new.muted });
        }
        let heard = |member: &MemberNow| member.sound == MemberSound::Heard;
        match (old.is_some_and(heard), new.sound) {
            (false, MemberSound::Heard) => self.events.say(&Event::MemberHeard { member: member() }),
            (true, MemberSound::Lost | MemberSound::Connecting) => {
                self.events.say(&Event::MemberLost { member: member() });
            }
            (true, MemberSound::Heard) | (false, MemberSound::Lost | MemberSound::Connecting) => {}
        }
        if let Some(path) = new.path.as_ref().filter(|path| old.and_then(|old| old.path.as_ref()) != Some(path)) {
            self.events.say(&Event::member_path(member(), path));
        }
        if old.is_some_and(|old| old.muted != new.muted) {
            self.events.say(&Event::MemberMuted { member: member(), muted: new.muted });
        }
        if old.map_or(!new.linked, |old| old.linked != new.linked) {
            self.events.say(&Event::MemberLinked { member: member(), linked: new.linked });
        }
        if old.map_or(new.can_read, |old| old.can_read != new.can_read) {
            self.events.say(&Event::MemberReads { member: member(), reads: new.can_read });
        }
        if old.map_or(new.speaking, |old| old.speaking != new.speaking) {
            self.events.say(&Event::Speaking { member: Some(member()), speaking: new.speaking });
        }
    }

    fn entered(&mut self, room: &RoomNow) {
        let (host, matched) = (room.host, room.matched);
        self.events.say(&Event::RoomEntered { room: room.room.clone(), you: room.you.clone(), host, matched });
        let now = Instant::now();
        self.in_room = Some((now, usage::cpu()));
        self.matches += 1;
        self.all_heard = false;
        if self.plan.expect_members > 0 {
            self.expects_until = Some(now + self.plan.expect_within);
        }
        if self.plan.mute {
            self.client.request(Request::Mute(true));
        }
        match self.plan.aim {
            Aim::Room(_) => self.leaves_at = self.plan.stays.map(|stays| now + stays),
            Aim::Match { matches, skip_after } if self.matches < matches => {
                self.skips_at = skip_after.map(|after| now + after);
            }
            Aim::Match { .. } => self.leaves_at = self.plan.stays.map(|stays| now + stays),
        }
    }

    /// What the plan says for a room as it is now.
    fn act_on(&mut self, room: &RoomNow) {
        let expected = self.plan.expect_members.max(1);
        let count = |is: fn(&MemberNow) -> bool| room.members.iter().filter(|member| is(member)).count();
        if !self.all_heard && count(|member| member.sound == MemberSound::Heard) >= expected {
            self.all_heard = true;
            self.expects_until = None;
            let last = match self.plan.aim {
                Aim::Room(_) => true,
                Aim::Match { matches, .. } => self.matches >= matches,
            };
            if let (Some(after), true) = (self.plan.leave_after, last) {
                self.leaves_at = Some(Instant::now() + after);
            }
        }
        if count(|member| member.can_read) >= expected {
            std::mem::take(&mut self.say).into_iter().for_each(|text| self.client.request(Request::Say(text)));
        }
    }

    fn over(&mut self, why: Departure) {
        self.outside();
        if self.next_match() {
            return self.client.request(Request::Search);
        }
        self.leave(match why {
            Departure::Left | Departure::Closed | Departure::PartnerLeft | Departure::Skipped => Exit::Normal,
            Departure::Removed => Exit::Refused,
            Departure::Replaced => Exit::NotAnswered,
            Departure::Lost => Exit::MediaFailed,
        });
    }

    fn next_match(&self) -> bool {
        match self.plan.aim {
            Aim::Room(_) => false,
            Aim::Match { matches, .. } => self.matches < matches,
        }
    }

    fn outside(&mut self) {
        if let Some((since, cpu_before)) = self.in_room.take() {
            self.room_time.0 += since.elapsed();
            self.room_time.1 = cpu_spent(self.room_time.1, cpu_before);
            (self.expects_until, self.skips_at) = (None, None);
        }
    }

    // What this side does.

    fn line(&mut self, line: Result<Line, String>) {
        match line {
            Ok(Line::Mute) => self.press("mute", Request::Mute(true)),
            Ok(Line::PlayAloud) => self.press("play-aloud", Request::UseHeldOutput),
            Ok(Line::Unmute) => self.press("unmute", Request::Mute(false)),
            Ok(Line::HangUp) => self.leave(Exit::Normal),
            Ok(Line::Stats) => self.tell_stats(),
            Ok(Line::Say(text)) => self.press("say", Request::Say(text)),
            Ok(Line::Lock(locked)) => self.press(if locked { "lock" } else { "unlock" }, Request::LockRoom(locked)),
            Ok(Line::Remove(member)) => self.press("remove", Request::RemoveMember(member)),
            Ok(Line::Skip) => self.skip(),
            Ok(Line::Block) => match self.partner() {
                Some(partner) => self.press("block", Request::Block(partner)),
                None => self.events.error("there was no match yet"),
            },
            Ok(Line::Report(complaint)) => match self.partner() {
                Some(partner) => self.press("report", Request::Report(partner, complaint)),
                None => self.events.error("there was no match yet"),
            },
            Ok(Line::Accept | Line::Decline | Line::KeepChat(_)) => self.events.error("this is for calls"),
            Err(sentence) => self.events.error(sentence),
        }
    }

    fn skip(&mut self) {
        self.skips_at = None;
        self.press("skip", Request::Skip);
    }

    /// Of the match, or the one that has just ended.
    fn partner(&self) -> Option<Handle> {
        let room = self.shown.as_ref()?.room.as_ref().filter(|room| room.matched)?;
        room.members.first().map(|member| member.member.clone())
    }

    fn press(&self, command: &'static str, request: Request) {
        self.events.say(&Event::Command { command });
        self.client.request(request);
    }

    // The end.

    fn waited_in_vain(&mut self) {
        self.expects_until = None;
        self.events.error(format!("not all of the {} expected members were heard in time", self.plan.expect_members));
        self.leave(Exit::MediaFailed);
    }

    fn stopped(&mut self, stop: Stop) {
        match stop {
            Stop::TokenRefused { code } => {
                self.events.say(&Event::Refused { code, retry_after_ms: None });
                self.events.error(refusal_sentence(code));
                self.leave(Exit::Refused);
            }
            Stop::Replaced | Stop::VersionUnsupported => {
                self.events.error(stop.to_string());
                self.leave(Exit::Refused);
            }
            Stop::BadAddress => {
                self.events.error(stop.to_string());
                self.leave(bad_usage(&stop.to_string()));
            }
        }
    }

    /// Ends this run now. Whoever was expected and not heard makes it a failure.
    fn leave(&mut self, exit: Exit) {
        let heard = self.plan.expect_members == 0 || self.all_heard;
        let exit = match (exit, heard, self.matches) {
            (Exit::Normal, false, 0) => Exit::NotAnswered,
            (Exit::Normal, false, _) => Exit::MediaFailed,
            (exit, _, _) => exit,
        };
        self.exit.get_or_insert(exit);
    }

    fn tell_stats(&self) {
        if self.stats.is_empty() {
            self.events.error("there are no statistics yet");
        }
        for (member, stats) in &self.stats {
            self.events.say(&Event::MemberStats { member: member.clone(), stats: stats.clone() });
        }
    }

    fn tell_figures(&mut self) {
        if !self.stats.is_empty() {
            self.tell_stats();
        }
        self.outside();
        let seconds = |time: Option<Duration>| time.map(|time| time.as_millis() as f64 / 1000.0);
        self.events.say(&Event::Usage(Usage {
            seconds: seconds(Some(self.begun.elapsed())).unwrap_or_default(),
            cpu_seconds: seconds(usage::cpu()),
            room_seconds: seconds(Some(self.room_time.0)).unwrap_or_default(),
            room_cpu_seconds: seconds(self.room_time.1),
            pss_kib: usage::pss_kib(),
        }));
    }
}

fn cpu_spent(so_far: Option<Duration>, before: Option<Duration>) -> Option<Duration> {
    Some(so_far? + usage::cpu()?.saturating_sub(before?))
}
