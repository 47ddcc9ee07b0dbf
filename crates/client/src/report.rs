//! The support bundle: what happened in a call, as one text that a person can read before they send it.
//!
//! A [`Recorder`] is handed every update as it is said, and the sound engine's commands and events; [`Recorder::newest`]
//! writes the newest call down. It keeps the last [`CALLS`] calls in memory, each bounded (lines and seconds; together about
//! a megabyte), and nothing on disk.
//!
//! It takes in what may be told to a stranger and no more, so that nothing has to be taken out later: no name, text, token,
//! address, description or candidate, devices by number, of a call's id the first letters.

mod machine;
mod seconds;
mod text;

use crate::{DeviceState, Link, Snapshot, State, Update};
use bellwire_call::{Explanation, MediaCommand, MediaEvent, Route};
use bellwire_media::{DeviceFault, PathInfo, Processing, Stats};
use bellwire_signaling::{BookingId, CallId, Candidate, Health, Side};
use seconds::Seconds;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

/// Calls that are remembered; the oldest is forgotten.
const CALLS: usize = 3;
/// Lines of a call's timeline: so many from its beginning, and so many from its end.
const FIRST_LINES: usize = 200;
const LAST_LINES: usize = 400;
/// Of how things stand when a call begins, what is no matter of course.
const AT_FIRST: [&str; 4] = ["state", "link", "microphone", "speaker"];
/// Devices that are told apart by number; others have none.
const DEVICES: usize = 32;

#[derive(Default)]
pub(crate) struct Recorder {
    calls: VecDeque<Recorded>,
    /// Names of devices, to tell them apart. They are never written.
    devices: Vec<String>,
}

/// One call.
struct Recorded {
    booking: BookingId,
    call: Option<CallId>,
    you: Side,
    began: Instant,
    began_at: SystemTime,
    over: bool,
    /// How things stand, by subject: a line is written for what changed.
    stands: Vec<(&'static str, String)>,
    /// The way that sound went last.
    path: Option<PathInfo>,
    first: Vec<Line>,
    last: VecDeque<Line>,
    left_out: usize,
    seconds: Seconds,
}

/// Something that happened.
struct Line {
    ms: u64,
    subject: &'static str,
    what: String,
}

impl Recorder {
    /// Takes in what the client says.
    pub(crate) fn note(&mut self, update: &Update, now: Instant) {
        match update {
            Update::Snapshot(snapshot) => self.note_snapshot(snapshot, now),
            Update::Stats(stats) => self.note_stats(stats, now),
            Update::Flowing { generation } => self.write(now, "sound", format!("comes on connection {generation}")),
            Update::SpeakingMuted { at: _ } => self.write(now, "muted", "spoken into".into()),
            Update::NetworkChanged => self.write(now, "network", "addresses, routes or the machine's sleep".into()),
            Update::Refused { code, retry_after_ms: _ } => self.write(now, "refused", word(code)),
            // What devices do is in the snapshots; the others are no part of a call.
            Update::Device(_)
            | Update::Level { .. }
            | Update::MemberStats { .. }
            | Update::History(_)
            | Update::Devices(_)
            | Update::ReportSaved(_)
            | Update::Stopped(_) => {}
        }
    }

    /// Takes in what the call's sound is told.
    pub(crate) fn note_command(&mut self, command: &MediaCommand, now: Instant) {
        match command {
            MediaCommand::Open { generation, route } => {
                let route = match route {
                    Route::Any => "any way",
                    Route::RelayOnly => "by relay alone",
                };
                self.write(now, "connection", format!("{generation} begun, {route}"));
            }
            MediaCommand::AddCandidates { generation, candidates } => {
                let kinds = kinds(candidates);
                self.write(now, "candidates", format!("theirs for connection {generation}: {kinds}"));
            }
            MediaCommand::IceServers(servers) => {
                let urls = servers.iter().flat_map(|server| &server.urls);
                let schemes: Vec<&str> = urls.map(|url| scheme(url)).collect();
                self.write(now, "relays", if schemes.is_empty() { "none".into() } else { schemes.join(", ") });
            }
            MediaCommand::Close => self.write(now, "connection", "all closed".into()),
            MediaCommand::Warm
            | MediaCommand::Offer { .. }
            | MediaCommand::SetRemote { .. }
            | MediaCommand::Mute(_) => {}
        }
    }

    /// Takes in what the call's sound says.
    pub(crate) fn note_event(&mut self, event: &MediaEvent, now: Instant) {
        match event {
            MediaEvent::Candidates { generation, candidates, done: _ } if !candidates.is_empty() => {
                let kinds = kinds(candidates);
                self.write(now, "candidates", format!("ours for connection {generation}: {kinds}"));
            }
            MediaEvent::Stalled { generation } => {
                self.write(now, "sound", format!("stopped on connection {generation}"))
            }
            MediaEvent::Failed { generation } => self.write(now, "connection", format!("{generation} failed")),
            MediaEvent::Path { generation, relayed } => {
                let how = if *relayed { "by relay" } else { "directly" };
                self.write(now, "connection", format!("{generation} goes {how}"));
            }
            // That sound comes is an update.
            MediaEvent::Flowing { .. }
            | MediaEvent::Opened { .. }
            | MediaEvent::Description { .. }
            | MediaEvent::Candidates { .. } => {}
        }
    }

    /// The newest call as text; none where there was no call.
    pub(crate) fn newest(&self) -> Option<String> {
        self.calls.back().map(text::write)
    }

    fn note_snapshot(&mut self, snapshot: &Snapshot, now: Instant) {
        let Some(call) = &snapshot.call else {
            if let Some(open) = self.open() {
                open.write(now, "state", "left".into());
                open.over = true;
            }
            return;
        };
        let ended = matches!(call.state, State::Ended { .. } | State::Elsewhere);
        let known = self.calls.back().is_some_and(|last| {
            let same_call = last.call.is_none() || call.call.is_none() || last.call == call.call;
            last.booking == call.booking && same_call && (!last.over || ended)
        });
        if !known {
            if self.calls.len() == CALLS {
                self.calls.pop_front();
            }
            self.calls.push_back(Recorded::begin(call.booking.clone(), call.you, now));
        }
        let stands = self.stands(snapshot);
        let Some(last) = self.calls.back_mut() else { return };
        last.call = last.call.take().or_else(|| call.call.clone());
        last.path = call.path.or(last.path);
        last.stand(stands, now);
        last.over = ended;
    }

    fn note_stats(&mut self, stats: &Stats, now: Instant) {
        if let Some(open) = self.open() {
            let second = now.saturating_duration_since(open.began).as_secs();
            open.seconds.push(second, stats);
        }
    }

    fn write(&mut self, now: Instant, subject: &'static str, what: String) {
        if let Some(open) = self.open() {
            open.write(now, subject, what);
        }
    }

    fn open(&mut self) -> Option<&mut Recorded> {
        self.calls.back_mut().filter(|call| !call.over)
    }

    /// All that a line is written for when it changes.
    fn stands(&mut self, snapshot: &Snapshot) -> Vec<(&'static str, String)> {
        let input = self.device("microphone", &snapshot.input);
        let output = self.device("speaker", &snapshot.output);
        let mut stands = vec![
            ("link", link(&snapshot.link)),
            ("microphone", input),
            ("speaker", output),
            ("processing", processing(snapshot.processing)),
            ("relay only", yes(snapshot.relay_only).into()),
        ];
        if let Some(call) = &snapshot.call {
            let health = |health: Option<Health>| health.map_or("unknown".into(), self::health);
            stands.extend([
                ("state", state(&call.state)),
                ("trying", format!("connection {} since sound was lost", call.trying)),
                ("path", call.path.map_or("none".into(), path)),
                ("why", call.explanation.map_or("nothing to explain".into(), explanation)),
                ("our health", health(Some(call.health))),
                ("their health", health(call.peer_health)),
                ("muted", yes(call.muted).into()),
                ("they muted", yes(call.peer_muted).into()),
            ]);
        }
        stands
    }

    fn device(&mut self, kind: &str, device: &DeviceState) -> String {
        match device {
            DeviceState::Closed => "closed".into(),
            DeviceState::Open { name, fallback, silent } => {
                let number = self.number_of(name).map_or("another".into(), |number| format!("number {number}"));
                let fallback = if *fallback { ", instead of the one that was chosen" } else { "" };
                let silent = if *silent { ", nothing but zeros" } else { "" };
                format!("open, {kind} {number}{fallback}{silent}")
            }
            DeviceState::Held { name } => {
                let number = self.number_of(name).map_or("another".into(), |number| format!("number {number}"));
                format!("headset gone, nothing played on {kind} {number}")
            }
            DeviceState::Missing { why } => {
                let why = match why {
                    DeviceFault::NoDevice => "there is none",
                    DeviceFault::PermissionRefused => "permission refused",
                    DeviceFault::InUse => "in use elsewhere",
                    DeviceFault::File(_) => "a fault of its file",
                    DeviceFault::Other(_) => "another fault",
                };
                format!("missing: {why}")
            }
        }
    }

    fn number_of(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.devices.iter().position(|known| known == name) {
            return Some(at + 1);
        }
        if self.devices.len() == DEVICES {
            return None;
        }
        self.devices.push(name.to_owned());
        Some(self.devices.len())
    }
}

impl Recorded {
    fn begin(booking: BookingId, you: Side, now: Instant) -> Self {
        Self {
            booking,
            call: None,
            you,
            began: now,
            began_at: SystemTime::now(),
            over: false,
            stands: Vec::new(),
            path: None,
            first: Vec::new(),
            last: VecDeque::new(),
            left_out: 0,
            seconds: Seconds::default(),
        }
    }

    fn stand(&mut self, stands: Vec<(&'static str, String)>, now: Instant) {
        for (subject, what) in &stands {
            let before = self.stands.iter().find(|(known, _)| known == subject);
            let is_news = match before {
                Some((_, before)) => before != what,
                None => AT_FIRST.contains(subject),
            };
            if is_news {
                self.write(now, subject, what.clone());
            }
        }
        self.stands = stands;
    }

    fn write(&mut self, now: Instant, subject: &'static str, what: String) {
        let ms = u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        let line = Line { ms, subject, what };
        if self.first.len() < FIRST_LINES {
            return self.first.push(line);
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line);
    }

    /// How a subject stands now.
    fn now(&self, subject: &str) -> &str {
        self.stands.iter().find(|(known, _)| *known == subject).map_or("unknown", |(_, what)| what)
    }
}

fn state(state: &State) -> String {
    match state {
        State::Inviting => "inviting".into(),
        State::Ringing => "ringing".into(),
        State::Connecting => "connecting".into(),
        State::Connected => "connected".into(),
        State::Reconnecting { since: _ } => "reconnecting".into(),
        State::Elsewhere => "taken on another device".into(),
        State::Ended { ending, confirmed } => {
            let by = ending.by.map_or(String::new(), |side| format!(" by the {}", word(&side)));
            let because = ending.because.map_or(String::new(), |because| format!(" ({})", word(&because)));
            let seconds = ending.duration_ms as f64 / 1000.0;
            let unconfirmed = if *confirmed { "" } else { ", not confirmed by the server" };
            format!("ended: {}{by}{because} after {seconds:.1} s{unconfirmed}", word(&ending.reason))
        }
    }
}

fn link(link: &Link) -> String {
    match link {
        Link::Connecting => "connecting".into(),
        Link::Up => "up".into(),
        Link::Down { retry_in_ms: _, why } => format!("down: {why}"),
    }
}

fn path(path: PathInfo) -> String {
    let relay = path.relay.map_or(String::new(), |transport| format!(", our relay over {}", word(&transport)));
    let version = if path.ipv6 { "IPv6" } else { "IPv4" };
    format!("{} to {}{relay}, {version}", path.local.as_str(), path.remote.as_str())
}

fn explanation(explanation: Explanation) -> String {
    let Explanation { cause, side, action, figure } = explanation;
    let figure = figure.map_or(String::new(), |figure| match figure {
        bellwire_call::Figure::Percent(n) => format!(", {n} %"),
        bellwire_call::Figure::Milliseconds(n) => format!(", {n} ms"),
        bellwire_call::Figure::Kilobits(n) => format!(", {n} kbit/s"),
    });
    format!("{} {}, {}{figure}", word(&cause), word(&side), word(&action))
}

/// Without the figures of the access, which differ each time.
fn health(health: Health) -> String {
    let Health { microphone, speaker, receives, access: _, hears_itself } = health;
    let itself = if hears_itself { ", hears itself" } else { "" };
    format!("microphone {}, speaker {}, receives {}{itself}", word(&microphone), word(&speaker), word(&receives))
}

fn processing(processing: Processing) -> String {
    let Processing { echo_cancellation, noise_suppression, gain_control, original_sound } = processing;
    format!(
        "echo cancellation {}, noise suppression {}, gain control {}, original sound {}",
        yes(echo_cancellation),
        word(&noise_suppression),
        yes(gain_control),
        yes(original_sound)
    )
}

/// How many of which kind and transport; of a candidate's text nothing else is looked at (RFC 8839, section 5.1).
fn kinds(candidates: &[Candidate]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for candidate in candidates {
        let kind = kind_of(candidate.candidate.as_str());
        match counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if counts.is_empty() { "none".into() } else { counts.join(", ") }
}

fn kind_of(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let one_of = |word: Option<&&str>, known: [&'static str; 4]| {
        word.and_then(|word| known.into_iter().find(|known| word.eq_ignore_ascii_case(known))).unwrap_or("other")
    };
    let transport = one_of(words.get(2), ["udp", "tcp", "tls", "ssltcp"]);
    let at = words.iter().position(|word| *word == "typ").map(|at| at + 1);
    let kind = one_of(at.and_then(|at| words.get(at)), ["host", "srflx", "prflx", "relay"]);
    let version = if words.get(4).is_some_and(|address| address.contains(':')) { " IPv6" } else { "" };
    format!("{kind} {transport}{version}")
}

/// What a server is and how it is reached, of its address nothing.
fn scheme(url: &str) -> &'static str {
    let tcp = url.ends_with("transport=tcp");
    match url.split(':').next() {
        Some("stun" | "stuns") => "STUN",
        Some("turn") if tcp => "TURN over TCP",
        Some("turn") => "TURN over UDP",
        Some("turns") => "TURN over TLS",
        Some(_) | None => "another",
    }
}

fn yes(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// The word of one of our own enums as it travels.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => "other".into(),
    }
}

#[cfg(test)]
mod tests;
