//! One call, placed or answered, from signing in to the exit status.

use crate::args::Plan;
use crate::control::{self, Line};
use crate::events::{Event, Events, refusal_sentence, state_name, text_events};
use crate::interrupt::Interrupt;
use crate::{Exit, bad_usage};
use bellwire_client::{
    Because, BookingId, BookingState, BookingView, Client, CurrentCall, EndReason, Ending, KeepChat, Link, Presence,
    Request, Side, Snapshot, State, Stats, Stop, UnixMs, Update, Updates,
};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until};

/// How long the server is waited for once this side is done.
const CONFIRMATION: Duration = Duration::from_secs(5);
/// How long the file of the report is waited for.
const REPORT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Calls,
    Answers,
}

pub async fn run(plan: Plan) -> Exit {
    let mut interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return bad_usage(&format!("the system gives no signals: {error}")),
    };
    let mut lines = plan.device.control.then(control::lines);
    let events = Events::start(plan.device.format);
    let (client, mut updates) = Client::start(plan.device.config);
    let mut session = Session {
        role: plan.role,
        booking: plan.booking,
        duration: plan.duration,
        accepts: !plan.device.control,
        keep_chat: plan.keep_chat,
        say: plan.device.say,
        client,
        events,
        in_call: false,
        shown: None,
        stats: None,
        waits_until: None,
        hangs_up_at: None,
        leaving: None,
    };
    let exit = loop {
        let leaves_at = session.leaving.as_ref().map(|leaving| leaving.at);
        tokio::select! {
            update = updates.next() => match update {
                Some(update) => session.update(update),
                None => session.leave(Exit::Refused),
            },
            line = control::next(&mut lines) => match line {
                Some(line) => session.line(line),
                None => lines = None,
            },
            () = interrupt.next() => session.interrupted(),
            () = at(session.waits_until) => session.waited_in_vain(),
            () = at(session.hangs_up_at) => session.hang_up(),
            () = at(leaves_at) => {}
        }
        if let Some(leaving) = session.leaving.take_if(|leaving| leaving.at <= Instant::now()) {
            if let Some((ending, confirmed)) = &leaving.ending {
                session.events.say(&Event::ended(ending, *confirmed));
            }
            break leaving.exit;
        }
    };
    if let Some(path) = plan.report {
        session.report(path, &mut updates).await;
    }
    session.client.shutdown().await;
    exit
}

struct Session {
    role: Role,
    /// The one that was asked for, or chosen.
    booking: Option<BookingId>,
    duration: Option<Duration>,
    /// Accepts without being told to.
    accepts: bool,
    /// To be asked for, and to be written, as soon as the call is connected.
    keep_chat: bool,
    say: Vec<String>,
    client: Client,
    events: Events,
    /// Dialled, or rung by the call that was waited for.
    in_call: bool,
    shown: Option<Box<Snapshot>>,
    stats: Option<Box<Stats>>,
    waits_until: Option<Instant>,
    hangs_up_at: Option<Instant>,
    leaving: Option<Leaving>,
}

/// The end of this run is near.
struct Leaving {
    at: Instant,
    exit: Exit,
    /// How the call ended, to be said when leaving, and whether the server confirmed it.
    ending: Option<(Ending, bool)>,
}

impl Session {
    fn update(&mut self, update: Update) {
        match update {
            Update::Snapshot(snapshot) => self.snapshot(snapshot),
            Update::Stats(stats) => {
                self.events.say(&Event::Stats(stats.clone()));
                self.stats = Some(stats);
            }
            Update::Flowing { generation } => self.events.say(&Event::Flowing { generation }),
            Update::Device(event) => self.events.say(&Event::Device(event)),
            Update::Refused { code, retry_after_ms } => {
                self.events.say(&Event::Refused { code, retry_after_ms });
                let invited = self.call().is_none_or(|call| call.state == State::Inviting);
                if self.role == Role::Calls && self.in_call && invited {
                    self.leave(Exit::Refused);
                }
            }
            Update::Stopped(stop) => self.stopped(stop),
            Update::NetworkChanged => self.events.say(&Event::NetworkChanged),
            Update::SpeakingMuted { at: _ } => self.events.say(&Event::SpeakingMuted),
            Update::Level { .. }
            | Update::MemberStats { .. }
            | Update::History(_)
            | Update::Devices(_)
            | Update::ReportSaved(_) => {}
        }
    }

    fn snapshot(&mut self, new: Box<Snapshot>) {
        let old = self.shown.take();
        let old = old.as_deref();
        if old.is_none_or(|old| old.link != new.link) {
            self.events.say(&Event::link(&new.link));
        }
        if new.bookings_known && old.is_none_or(|old| !old.bookings_known || open(old) != open(&new)) {
            self.events.say(&Event::Bookings { count: new.bookings.len(), open: open(&new) });
        }
        let mut accepts = false;
        if !self.in_call && self.leaving.is_none() {
            accepts = match self.role {
                Role::Calls => self.look_for_callee(old, &new),
                Role::Answers => self.look_for_call(&new),
            };
        }
        if self.in_call {
            self.follow(old.and_then(|old| old.call.as_ref()), new.call.as_ref());
        }
        if accepts {
            self.accept();
        }
        self.shown = Some(new);
    }

    // Until there is a call.

    /// Dials if it can be done now. Whether there is a call to accept instead: they were faster.
    fn look_for_callee(&mut self, old: Option<&Snapshot>, new: &Snapshot) -> bool {
        if new.link != Link::Up || !new.bookings_known {
            return false;
        }
        let Some(booking) = self.booking.clone().or_else(|| self.choose(new)) else { return false };
        self.booking = Some(booking.clone());
        if self.rings_here(new) {
            self.in_call = true;
            return true;
        }
        let view = |snapshot: &Snapshot| snapshot.bookings.iter().find(|view| view.booking == booking).cloned();
        match view(new) {
            Some(view) if is_open(&view, new) && matches!(view.presence, Presence::Away { .. }) => {
                let closes_in = view.closes_at.since(server_time(new));
                self.waits_until = Some(Instant::now() + Duration::from_millis(closes_in));
                if old.is_none_or(|old| !old.bookings_known || self::presence(old, &booking) != Some(view.presence)) {
                    self.events.say(&Event::Waiting { booking, presence: view.presence });
                }
            }
            // What cannot be called is for the server to refuse: it alone knows the time.
            Some(_) | None => self.dial(booking),
        }
        false
    }

    /// The booking to call where none was named.
    fn choose(&mut self, snapshot: &Snapshot) -> Option<BookingId> {
        let open = open(snapshot);
        match &open[..] {
            [one] => Some(one.clone()),
            [] => {
                self.events.error("none of this person's bookings can be called now");
                self.leave(Exit::Refused);
                None
            }
            several => {
                let ids: Vec<&str> = several.iter().map(BookingId::as_str).collect();
                self.fail_usage(&format!(
                    "several bookings can be called now: choose with --booking {}",
                    ids.join(" or ")
                ));
                None
            }
        }
    }

    fn dial(&mut self, booking: BookingId) {
        self.in_call = true;
        self.waits_until = None;
        self.press("call", Request::Call(booking));
    }

    /// Whether there is a call to accept.
    fn look_for_call(&mut self, new: &Snapshot) -> bool {
        self.in_call = self.rings_here(new);
        if self.in_call {
            self.booking = new.call.as_ref().map(|call| call.booking.clone());
        }
        self.in_call && self.accepts
    }

    /// Whether a call comes in that this run is for.
    fn rings_here(&self, snapshot: &Snapshot) -> bool {
        snapshot.call.as_ref().is_some_and(|call| {
            let ours = self.booking.as_ref().is_none_or(|booking| *booking == call.booking);
            ours && call.you == Side::Callee && call.state == State::Ringing
        })
    }

    fn waited_in_vain(&mut self) {
        self.waits_until = None;
        self.events.error("the other party did not come before the booking's time was over");
        self.leave(Exit::NotAnswered);
    }

    // In the call.

    fn follow(&mut self, old: Option<&CurrentCall>, new: Option<&CurrentCall>) {
        let Some(call) = new else {
            // Taken back before the server knew of it.
            if let Some(leaving) = &mut self.leaving {
                leaving.at = Instant::now();
            }
            return;
        };
        let old = old.filter(|old| old.booking == call.booking);
        let state = state_name(&call.state);
        if old.is_none_or(|old| state_name(&old.state) != state) {
            let (booking, id, you) = (call.booking.clone(), call.call.clone(), call.you);
            self.events.say(&Event::State { state, booking, call: id, you });
        }
        self.follow_path(old, call);
        if old.is_some_and(|old| old.muted != call.muted) {
            self.events.say(&Event::Muted { muted: call.muted });
        }
        if old.map_or(call.peer_muted, |old| old.peer_muted != call.peer_muted) {
            self.events.say(&Event::PeerMuted { muted: call.peer_muted });
        }
        if old.map_or(KeepChat::default(), |old| old.keep_chat) != call.keep_chat {
            self.events.say(&Event::KeepChat { you: call.keep_chat.you, peer: call.keep_chat.peer });
        }
        let known = old.map_or(&[][..], |old| &old.chat);
        text_events(known, &call.chat).iter().for_each(|event| self.events.say(event));
        match &call.state {
            State::Connected => {
                if std::mem::take(&mut self.keep_chat) {
                    self.client.request(Request::KeepChat(true));
                }
                std::mem::take(&mut self.say).into_iter().for_each(|text| self.client.request(Request::Say(text)));
                let first = old.is_none_or(|old| old.connected_ms.is_none());
                if let (Some(duration), true) = (self.duration, first) {
                    self.hangs_up_at = Some(Instant::now() + duration);
                }
            }
            State::Ended { ending, confirmed } => {
                let patience = if *confirmed { Duration::ZERO } else { CONFIRMATION };
                let at = self.leaving.as_ref().filter(|_| !confirmed).map(|leaving| leaving.at);
                let at = at.unwrap_or(Instant::now() + patience);
                self.hangs_up_at = None;
                self.leaving =
                    Some(Leaving { at, exit: exit_for(ending, call.you), ending: Some((ending.clone(), *confirmed)) });
            }
            State::Elsewhere => {
                self.events.error("the call was answered on another device of this person");
                self.leave(Exit::NotAnswered);
            }
            State::Inviting | State::Ringing | State::Connecting | State::Reconnecting { .. } => {}
        }
    }

    /// What the network does, and what each side finds of itself.
    fn follow_path(&self, old: Option<&CurrentCall>, call: &CurrentCall) {
        if matches!(call.state, State::Ended { .. }) {
            return;
        }
        if let Some(path) = call.path.as_ref().filter(|path| old.and_then(|old| old.path.as_ref()) != Some(path)) {
            self.events.say(&Event::path(path));
        }
        if call.trying > old.map_or(0, |old| old.trying) {
            self.events.say(&Event::Trying { connections: call.trying });
        }
        if old.map(|old| old.health).unwrap_or_default() != call.health {
            self.events.say(&Event::Health(call.health));
        }
        if let Some(health) = call.peer_health.filter(|health| old.and_then(|old| old.peer_health) != Some(*health)) {
            self.events.say(&Event::PeerHealth(health));
        }
        if old.and_then(|old| old.explanation) != call.explanation {
            self.events.say(&Event::explanation(call.explanation));
        }
    }

    fn line(&mut self, line: Result<Line, String>) {
        let rings = self.shown.as_ref().is_some_and(|shown| self.in_call && self.rings_here(shown));
        match line {
            Ok(Line::Accept) if rings => self.accept(),
            Ok(Line::Decline) if rings => self.press("decline", Request::Decline(Because::NotNow)),
            Ok(Line::Accept | Line::Decline) => self.events.error("no call is coming in"),
            Ok(Line::Mute) => self.press("mute", Request::Mute(true)),
            Ok(Line::PlayAloud) => self.press("play-aloud", Request::UseHeldOutput),
            Ok(Line::Unmute) => self.press("unmute", Request::Mute(false)),
            Ok(Line::HangUp) => self.hang_up(),
            Ok(Line::Say(text)) => self.press("say", Request::Say(text)),
            Ok(Line::KeepChat(keep)) => self.press(if keep { "keep" } else { "forget" }, Request::KeepChat(keep)),
            Ok(Line::Lock(_) | Line::Remove(_) | Line::Skip | Line::Block | Line::Report(_)) => {
                self.events.error("this is for rooms and matches");
            }
            Ok(Line::Stats) => match &self.stats {
                Some(stats) => self.events.say(&Event::Stats(stats.clone())),
                None => self.events.error("there are no statistics yet"),
            },
            Err(sentence) => self.events.error(sentence),
        }
    }

    fn accept(&mut self) {
        self.press("accept", Request::Accept);
    }

    fn hang_up(&mut self) {
        self.hangs_up_at = None;
        self.press("hangup", Request::HangUp);
        if !self.in_call {
            self.leave(Exit::NotAnswered);
        }
    }

    fn interrupted(&mut self) {
        if self.leaving.is_some() || !self.in_call {
            return self.leave(Exit::NotAnswered);
        }
        self.hang_up();
        self.leaving = Some(Leaving { at: Instant::now() + CONFIRMATION, exit: Exit::NotAnswered, ending: None });
    }

    /// Writes the call down, as far as the client is still there to do it.
    async fn report(&self, path: PathBuf, updates: &mut Updates) {
        self.client.request(Request::SaveReport(path));
        let saved = async {
            while let Some(update) = updates.next().await {
                if let Update::ReportSaved(saved) = update {
                    return saved.map(drop);
                }
            }
            Err("the client has ended".into())
        };
        let saved = tokio::time::timeout(REPORT, saved).await.unwrap_or_else(|_| Err("it takes too long".into()));
        if let Err(why) = saved {
            self.events.error(format!("the report could not be written: {why}"));
        }
    }

    fn press(&self, command: &'static str, request: Request) {
        self.events.say(&Event::Command { command });
        self.client.request(request);
    }

    // The end.

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
            Stop::BadAddress => self.fail_usage(&stop.to_string()),
        }
    }

    fn fail_usage(&mut self, sentence: &str) {
        self.events.error(sentence);
        self.leave(bad_usage(sentence));
    }

    /// Ends this run now; an ending that waits to be said is said.
    fn leave(&mut self, exit: Exit) {
        let at = Instant::now();
        match &mut self.leaving {
            Some(leaving) => leaving.at = at,
            None => self.leaving = Some(Leaving { at, exit, ending: None }),
        }
    }

    fn call(&self) -> Option<&CurrentCall> {
        self.shown.as_ref()?.call.as_ref()
    }
}

fn exit_for(ending: &Ending, you: Side) -> Exit {
    match ending.reason {
        EndReason::HungUp => Exit::Normal,
        EndReason::Cancelled if ending.by == Some(you) => Exit::Normal,
        EndReason::Cancelled | EndReason::Declined | EndReason::NoAnswer | EndReason::Busy => Exit::NotAnswered,
        EndReason::MediaFailed | EndReason::MediaLost => Exit::MediaFailed,
        EndReason::BookingCancelled => Exit::Refused,
    }
}

/// The bookings that can be called now, by the server's clock.
fn open(snapshot: &Snapshot) -> Vec<BookingId> {
    let open = snapshot.bookings.iter().filter(|view| is_open(view, snapshot));
    open.map(|view| view.booking.clone()).collect()
}

fn is_open(view: &BookingView, snapshot: &Snapshot) -> bool {
    let now = server_time(snapshot);
    view.state != BookingState::Cancelled && view.opens_at <= now && now < view.closes_at
}

fn presence(snapshot: &Snapshot, booking: &BookingId) -> Option<Presence> {
    snapshot.bookings.iter().find(|view| view.booking == *booking).map(|view| view.presence)
}

fn server_time(snapshot: &Snapshot) -> UnixMs {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    UnixMs(u64::try_from(here).unwrap_or(u64::MAX).saturating_add_signed(snapshot.server_time_offset_ms))
}

pub async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
