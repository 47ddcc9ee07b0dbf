//! What is said on standard output: one line for each event, as JSON or as text. docs/cli.md lists them.
//! People's names and tokens are in none of them.

use crate::args::Format;
use crate::check::{Checked, stage_sentence};
use bellwire_client::{
    Action, Because, Blame, BookingId, CallId, Cause, ChatNow, Departure, DeviceEvent, DeviceFault, EndReason, Ending,
    ErrorCode, Explanation, Figure, Handle, Health, Link, PathInfo, Presence, Protection, ProtectionReason, RoomId,
    Side, Stage, State, Stats,
};
use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line: `at_ms` counts from here, which was then by this machine's clock.
    Started {
        unix_ms: u64,
    },
    Link {
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u64>,
    },
    /// This person's bookings came or changed: how many, and which can be called now.
    Bookings {
        count: usize,
        open: Vec<BookingId>,
    },
    /// `call` waits for the other party of this booking.
    Waiting {
        booking: BookingId,
        presence: Presence,
    },
    /// A button was pressed, by a control line or by the program itself.
    Command {
        command: &'static str,
    },
    State {
        state: &'static str,
        booking: BookingId,
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        you: Side,
    },
    /// The other party's sound is being decoded and played, on this connection of the call.
    Flowing {
        generation: u32,
    },
    Stats(Box<Stats>),
    Device(DeviceEvent),
    /// Addresses or routes changed, or this machine has slept.
    NetworkChanged,
    /// Somebody speaks into the muted microphone.
    SpeakingMuted,
    /// The way that sound goes.
    Path(PathInfo),
    /// What this device finds of itself, and the other party's of itself.
    Health(Health),
    PeerHealth(Health),
    /// Why it sounds bad; all null when it does no more.
    Explanation {
        cause: Option<Cause>,
        side: Option<Blame>,
        action: Option<Action>,
        figure: Option<Figure>,
    },
    /// Another connection is being tried, the so-manyth since sound was lost.
    Trying {
        connections: u32,
    },
    Muted {
        muted: bool,
    },
    PeerMuted {
        muted: bool,
    },
    Refused {
        code: ErrorCode,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// `confirmed`: the server said so. If not, it could not be asked in time.
    Ended {
        reason: EndReason,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Side>,
        #[serde(skip_serializing_if = "Option::is_none")]
        because: Option<Because>,
        duration_ms: u64,
        confirmed: bool,
    },
    /// Who wants the text of the call kept in its record.
    KeepChat {
        you: bool,
        peer: bool,
    },
    /// A line of somebody else.
    Text {
        from: Handle,
        text: String,
    },
    /// A line of ours is on every screen that can be reached.
    TextDelivered {
        text: String,
    },
    RoomEntered {
        room: RoomId,
        you: Handle,
        host: bool,
        matched: bool,
    },
    MemberJoined {
        member: Handle,
        host: bool,
        muted: bool,
    },
    /// Their sound is being played, for the first time or again.
    MemberHeard {
        member: Handle,
    },
    /// The way that their sound goes.
    MemberPath {
        member: Handle,
        #[serde(flatten)]
        path: PathInfo,
    },
    MemberLost {
        member: Handle,
    },
    MemberMuted {
        member: Handle,
        muted: bool,
    },
    /// Their app has lost its link to the server, or has it again.
    MemberLinked {
        member: Handle,
        linked: bool,
    },
    /// Text reaches them, or no longer.
    MemberReads {
        member: Handle,
        reads: bool,
    },
    MemberLeft {
        member: Handle,
    },
    /// Without a member: this device.
    Speaking {
        #[serde(skip_serializing_if = "Option::is_none")]
        member: Option<Handle>,
        speaking: bool,
    },
    Locked {
        locked: bool,
    },
    RoomOver {
        room: RoomId,
        why: Departure,
    },
    #[serde(rename = "waiting")]
    InQueue {
        place: u32,
    },
    Matched {
        room: RoomId,
        partner: Handle,
    },
    /// The newest statistics of the connection with a member.
    MemberStats {
        member: Handle,
        #[serde(flatten)]
        stats: Box<Stats>,
    },
    /// What a check does now.
    CheckStage {
        stage: Stage,
    },
    /// What it came to.
    Check(Box<Checked>),
    /// What this process used until it left.
    Usage(Usage),
    Error {
        message: String,
    },
}

/// Seconds of processor time and KiB of memory; `None` where the system does not say.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    pub seconds: f64,
    pub cpu_seconds: Option<f64>,
    /// The part of both that was spent in rooms.
    pub room_seconds: f64,
    pub room_cpu_seconds: Option<f64>,
    /// The proportional share of memory (PSS), at the end.
    pub pss_kib: Option<u64>,
}

#[derive(Serialize)]
struct Line<'a> {
    at_ms: u64,
    #[serde(flatten)]
    event: &'a Event,
}

/// Where events are written. Each line goes out at once; that nobody reads them stops nothing.
pub struct Events {
    format: Format,
    started: Instant,
}

impl Events {
    pub fn start(format: Format) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let events = Self { format, started: Instant::now() };
        events.say(&Event::Started { unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) });
        events
    }

    pub fn say(&self, event: &Event) {
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = match self.format {
            Format::Json => serde_json::to_string(&Line { at_ms, event }).unwrap_or_default(),
            Format::Text => format!("{:>9.3}  {event}", at_ms as f64 / 1000.0),
        };
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    pub fn error(&self, message: impl Into<String>) {
        self.say(&Event::Error { message: message.into() });
    }
}

impl Event {
    pub fn link(link: &Link) -> Self {
        match link {
            Link::Connecting => Self::Link { state: "connecting", why: None, retry_in_ms: None },
            Link::Up => Self::Link { state: "up", why: None, retry_in_ms: None },
            Link::Down { retry_in_ms, why } => {
                let retry_in_ms = Some(*retry_in_ms).filter(|ms| *ms != u64::MAX);
                Self::Link { state: "down", why: Some(why.to_string()), retry_in_ms }
            }
        }
    }

    pub fn path(path: &PathInfo) -> Self {
        Self::Path(*path)
    }

    pub fn member_path(member: Handle, path: &PathInfo) -> Self {
        Self::MemberPath { member, path: *path }
    }

    pub fn explanation(explanation: Option<Explanation>) -> Self {
        let Some(Explanation { cause, side, action, figure }) = explanation else {
            return Self::Explanation { cause: None, side: None, action: None, figure: None };
        };
        Self::Explanation { cause: Some(cause), side: Some(side), action: Some(action), figure }
    }

    pub fn ended(ending: &Ending, confirmed: bool) -> Self {
        let Ending { reason, by, because, duration_ms } = ending.clone();
        Self::Ended { reason, by, because, duration_ms, confirmed }
    }
}

/// What is new in the lines of a call or room.
pub fn text_events(old: &[ChatNow], new: &[ChatNow]) -> Vec<Event> {
    let same = |a: &ChatNow, b: &ChatNow| a.from == b.from && a.text == b.text;
    let begins = |at: usize| old.len() - at <= new.len() && old[at..].iter().zip(new).all(|(a, b)| same(a, b));
    // The oldest may have been forgotten.
    let forgotten = (0..=old.len()).find(|at| begins(*at)).unwrap_or(old.len());
    let known = &old[forgotten..];
    let mut events = Vec::new();
    for (n, line) in new.iter().enumerate() {
        let before = known.get(n);
        match &line.from {
            Some(from) if before.is_none() => {
                events.push(Event::Text { from: from.clone(), text: line.text.clone() });
            }
            None if line.delivered && before.is_none_or(|before| !before.delivered) => {
                events.push(Event::TextDelivered { text: line.text.clone() });
            }
            Some(_) | None => {}
        }
    }
    events
}

pub fn state_name(state: &State) -> &'static str {
    match state {
        State::Inviting => "inviting",
        State::Ringing => "ringing",
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Reconnecting { .. } => "reconnecting",
        State::Elsewhere => "elsewhere",
        State::Ended { .. } => "ended",
    }
}

/// What is wrong with a device, and what to do.
pub fn device_sentence(fault: &DeviceFault) -> String {
    match fault {
        DeviceFault::NoDevice => "there is no such device: plug one in, or choose another".into(),
        DeviceFault::PermissionRefused => {
            "the system does not let this program use it: allow it in its settings".into()
        }
        DeviceFault::InUse => "another program holds it: close that one, or choose another device".into(),
        DeviceFault::File(why) => format!("the file cannot be used: {why}"),
        DeviceFault::Other(why) => format!("it cannot be opened: {why}"),
    }
}

/// What was refused, and what to do.
pub fn refusal_sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthenticated => "the server does not know this token: get a new join link",
        ErrorCode::TokenExpired => "this token has expired: get a new join link",
        ErrorCode::TokenNotYetValid => "this token is not valid yet: check this machine's clock, or try later",
        ErrorCode::NotFound => "there is no such booking for this person",
        ErrorCode::TooEarly => "the booking cannot be called yet: try again when its time comes",
        ErrorCode::TooLate => "the booking's time is over: make a new one",
        ErrorCode::BookingCancelled => "the booking was cancelled",
        ErrorCode::InAnotherCall => "this person is in another call: end that one first",
        ErrorCode::OnAnotherDevice => "this person is in this call on another device",
        ErrorCode::RoomFull => "the room has no place left",
        ErrorCode::AlreadySearching => "this person searches already, or is matched",
        ErrorCode::Replaced => "this device has signed in again elsewhere",
        ErrorCode::UnsupportedVersion => "the server speaks another version of the protocol: update this program",
        ErrorCode::RateLimited | ErrorCode::Unavailable => "the server is busy: try again later",
        ErrorCode::BadFrame
        | ErrorCode::TooLarge
        | ErrorCode::HelloExpected
        | ErrorCode::WrongState
        | ErrorCode::StaleGeneration
        | ErrorCode::Internal => "the server could not do this: try again",
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { .. } => f.write_str("started"),
            Self::Link { state, why: None, .. } => write!(f, "server: {state}"),
            Self::Link { why: Some(why), retry_in_ms: Some(ms), .. } => {
                write!(f, "{why}; trying again in {:.1} s", *ms as f64 / 1000.0)
            }
            Self::Link { why: Some(why), retry_in_ms: None, .. } => f.write_str(why),
            Self::Bookings { count, open } => write!(f, "bookings: {count}, open now: {}", open.len()),
            Self::Waiting { booking, presence } => match presence {
                Presence::Online {} => write!(f, "the other party of booking {booking} is there"),
                Presence::InAnotherCall {} => write!(f, "the other party of booking {booking} is in another call"),
                Presence::Away { .. } => write!(f, "waiting for the other party of booking {booking}"),
            },
            Self::Command { command } => f.write_str(command),
            Self::State { state, .. } => f.write_str(state),
            Self::Flowing { generation } => write!(f, "sound flows (connection {generation})"),
            Self::Stats(stats) => write_stats(f, stats),
            Self::Device(event) => write_device(f, event),
            Self::NetworkChanged => f.write_str("the network is another one"),
            Self::SpeakingMuted => f.write_str("somebody speaks, but this side is muted"),
            Self::Path(path) => write_path(f, path),
            Self::MemberPath { member, path } => {
                write!(f, "{member}: ")?;
                write_path(f, path)
            }
            Self::Health(health) => write_health(f, "this side", health),
            Self::PeerHealth(health) => write_health(f, "the other side", health),
            Self::Explanation { cause: Some(cause), side, action, .. } => {
                write!(f, "{} ({}): {}", word(cause), word(side), word(action))
            }
            Self::Explanation { cause: None, .. } => f.write_str("all is well again"),
            Self::Trying { connections } => write!(f, "trying connection {connections} since sound was lost"),
            Self::Muted { muted } => f.write_str(if *muted { "muted" } else { "unmuted" }),
            Self::PeerMuted { muted: true } => f.write_str("the other party is muted"),
            Self::PeerMuted { muted: false } => f.write_str("the other party is not muted any more"),
            Self::Refused { code, .. } => write!(f, "refused: {}", refusal_sentence(*code)),
            Self::Ended { reason, duration_ms, .. } => {
                write!(f, "ended: {}, after {:.1} s", word(reason), *duration_ms as f64 / 1000.0)
            }
            Self::KeepChat { you, peer } => {
                let wish = |wants: &bool| if *wants { "wants" } else { "does not want" };
                write!(f, "this side {} the text kept, the other {} it", wish(you), wish(peer))
            }
            Self::Text { from, text } => write!(f, "{from}: {text}"),
            Self::TextDelivered { text } => write!(f, "delivered: {text}"),
            Self::RoomEntered { room, matched: false, .. } => write!(f, "in room {room}"),
            Self::RoomEntered { room, matched: true, .. } => write!(f, "in the match's room {room}"),
            Self::MemberJoined { member, .. } => write!(f, "{member} is in the room"),
            Self::MemberHeard { member } => write!(f, "{member} is heard"),
            Self::MemberLost { member } => write!(f, "{member} is not heard any more"),
            Self::MemberMuted { member, muted: true } => write!(f, "{member} is muted"),
            Self::MemberMuted { member, muted: false } => write!(f, "{member} is not muted any more"),
            Self::MemberLinked { member, linked: true } => write!(f, "the server has its link to {member} again"),
            Self::MemberLinked { member, linked: false } => write!(f, "the server has lost its link to {member}"),
            Self::MemberReads { member, reads: true } => write!(f, "{member} can read"),
            Self::MemberReads { member, reads: false } => write!(f, "{member} cannot read"),
            Self::MemberLeft { member } => write!(f, "{member} is gone"),
            Self::Speaking { member, speaking } => {
                let who = member.as_ref().map_or("this side", Handle::as_str);
                write!(f, "{who} {}", if *speaking { "speaks" } else { "is silent" })
            }
            Self::Locked { locked: true } => f.write_str("the room is locked"),
            Self::Locked { locked: false } => f.write_str("the room is open"),
            Self::RoomOver { room, why } => write!(f, "room {room} is over: {}", word(why)),
            Self::InQueue { place } => write!(f, "waiting, place {place}"),
            Self::Matched { partner, .. } => write!(f, "matched with {partner}"),
            Self::MemberStats { member, stats } => {
                write!(f, "{member}: ")?;
                write_stats(f, stats)
            }
            Self::CheckStage { stage } => f.write_str(stage_sentence(*stage)),
            Self::Check(checked) => write!(f, "{checked}"),
            Self::Usage(usage) => write!(
                f,
                "{:.1} s, {:.2} s of processor time, {} KiB of memory",
                usage.seconds,
                usage.cpu_seconds.unwrap_or_default(),
                usage.pss_kib.unwrap_or_default()
            ),
            Self::Error { message } => write!(f, "error: {message}"),
        }
    }
}

fn write_stats(f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
    let measured = |value: Option<f32>, unit: &str| value.map_or("-".into(), |value| format!("{value:.1}{unit}"));
    write!(
        f,
        "round trip {}, loss in {:.1} % out {}, jitter {:.1} ms, buffer {:.0} ms of {:.0}, recovered {:.1} %, made up {:.1} %, \
         out {} kbit/s against {}, MOS {}",
        measured(stats.round_trip_ms, " ms"),
        stats.loss_in * 100.0,
        measured(stats.loss_out.map(|loss| loss * 100.0), " %"),
        stats.jitter_in_ms,
        stats.buffer_ms,
        stats.target_ms,
        stats.recovered * 100.0,
        stats.concealed * 100.0,
        stats.bitrate_out / 1_000,
        against(&stats.protection),
        measured(stats.mos, ""),
    )
}

/// What the way out needs protection from, and what is done.
fn against(protection: &Protection) -> String {
    let Protection { why, resending, copies, reach_ms: _, fec, dred_ms, packet_ms, codec_bitrate: _ } = protection;
    let parts = [
        resending.then(|| "resending".to_owned()),
        (*copies > 0).then(|| format!("{copies} copies")),
        fec.then(|| "FEC".to_owned()),
        (*dred_ms > 0).then(|| format!("DRED {dred_ms} ms")),
        (*packet_ms > 20).then(|| format!("packets of {packet_ms} ms")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let against = match why {
        ProtectionReason::Clean => "nothing",
        ProtectionReason::Loss => "loss",
        ProtectionReason::Bursts => "bursts of loss",
        ProtectionReason::Narrow => "a narrow way",
    };
    if parts.is_empty() { against.to_owned() } else { format!("{against} ({})", parts.join(", ")) }
}

fn write_path(f: &mut fmt::Formatter<'_>, path: &PathInfo) -> fmt::Result {
    let PathInfo { local, remote, relay, ipv6 } = path;
    let by = relay.map(|relay| format!(" over {}", word(&relay))).unwrap_or_default();
    let family = if *ipv6 { "IPv6" } else { "IPv4" };
    write!(f, "sound goes {} to {}{by}, {family}", local.as_str(), remote.as_str())
}

fn write_health(f: &mut fmt::Formatter<'_>, whose: &str, health: &Health) -> fmt::Result {
    let Health { microphone, speaker, receives, access, hears_itself } = health;
    write!(f, "{whose}: microphone {}, speaker {}, receives {}", word(microphone), word(speaker), word(receives))?;
    if *hears_itself {
        f.write_str(", hears itself")?;
    }
    match access {
        Some(access) => write!(f, ", to the server {} ms, {} % lost", access.round_trip_ms, access.loss_percent),
        None => Ok(()),
    }
}

fn write_device(f: &mut fmt::Formatter<'_>, event: &DeviceEvent) -> fmt::Result {
    let instead = |fallback: &bool| if *fallback { ", because the chosen one is not there" } else { "" };
    match event {
        DeviceEvent::InputOpened { name, fallback } => write!(f, "microphone: {name}{}", instead(fallback)),
        DeviceEvent::OutputOpened { name, fallback } => write!(f, "speaker: {name}{}", instead(fallback)),
        DeviceEvent::InputMissing { why } => write!(f, "no microphone: {}", device_sentence(why)),
        DeviceEvent::OutputMissing { why } => write!(f, "no speaker: {}", device_sentence(why)),
        DeviceEvent::OutputHeld { name } => {
            write!(f, "the headset is gone, and nothing is played on {name} until that is allowed")
        }
        DeviceEvent::InputSilent => {
            f.write_str("the microphone gives only silence: allow it in the system's settings, or switch it on")
        }
        DeviceEvent::InputHeard => f.write_str("the microphone is heard"),
    }
}

/// The wire's own word for a unit variant.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}
