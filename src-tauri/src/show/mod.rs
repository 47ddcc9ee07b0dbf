//! From what the shell knows to what the page shows: a pure function, tested state by state.

mod call;
mod details;
mod home;
mod matching;
mod room;
mod sound;
#[cfg(test)]
mod tests;
mod text;
mod trial;
mod trouble;

use crate::known::{Known, Now, is_live, seconds_up, server_fault};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::{CurrentCall, Link, Role, SearchView, Snapshot, State, UnixMs};

/// Everything that the page shows now.
pub fn show(known: &Known, now: Now) -> View {
    let signed_in = known.snapshot.as_ref().filter(|snapshot| snapshot.you.is_some());
    let Some(snapshot) = signed_in else {
        return sign_in(known, now);
    };
    let shown = Shown { known, snapshot, now };
    let mut view = shown.screen();
    view.notices = shown.notices();
    view.announce = shown.announcement().or(view.announce);
    view.you = snapshot
        .you
        .as_ref()
        .map(|you| You { name: plain(&you.name), sign_out: matches!(view.screen, Screen::Home(_)) });
    view
}

/// A person is signed in.
struct Shown<'a> {
    known: &'a Known,
    snapshot: &'a Snapshot,
    now: Now,
}

fn sign_in(known: &Known, now: Now) -> View {
    let link = known.snapshot.as_ref().map(|snapshot| retry_s(snapshot, now));
    let problem = match (known.lost, &known.problem) {
        (Some(why), None) if known.client => Some(server_fault(why, link.flatten())),
        (_, problem) => problem.clone(),
    };
    let busy = known.client || known.finding;
    let people = known.people.iter().map(|person| Person {
        name: plain(&person.name),
        role: match person.role {
            Role::Client => Sentence::RoleClient {},
            Role::Provider => Sentence::RoleProvider {},
        },
    });
    let action = if known.client {
        button(Press::CancelSignIn, Sentence::DoStopSigningIn {}).primary(Color::Plain)
    } else {
        button(Press::SignIn, Sentence::DoSignIn {}).primary(Color::Accent).enabled(!busy)
    };
    View {
        screen: Screen::SignIn(SignIn { busy, problem, people: people.collect(), server: known.dev_server.clone() }),
        announce: busy.then_some(Sentence::SigningIn {}),
        notices: Vec::new(),
        actions: vec![action],
        you: None,
        sound: None,
        text: None,
        report: None,
    }
}

/// Seconds until the link is tried again; 0 while it is being tried.
fn retry_s(snapshot: &Snapshot, now: Now) -> Option<u32> {
    match snapshot.link {
        Link::Up => None,
        Link::Connecting => Some(0),
        Link::Down { retry_in_ms, .. } => Some(seconds_up(retry_in_ms.saturating_sub(gone_by(snapshot, now)))),
    }
}

/// Milliseconds since the snapshot was so.
fn gone_by(snapshot: &Snapshot, now: Now) -> u64 {
    u64::try_from(now.at.saturating_duration_since(snapshot.at).as_millis()).unwrap_or(u64::MAX)
}

impl Shown<'_> {
    /// A call that goes on stands before a room that does, and both before what is over.
    fn screen(&self) -> View {
        let snapshot = self.snapshot;
        if let Some(call) = self.live_call() {
            return self.call(call);
        }
        match (&snapshot.room, &snapshot.search) {
            (Some(room), _) if room.over.is_none() => {
                return if room.matched { self.conversation(Some(room)) } else { self.room(room) };
            }
            (_, SearchView::Waiting { place, since }) => return self.queue(*place, *since),
            (None, SearchView::Matched { .. }) => return self.conversation(None),
            (None | Some(_), SearchView::Idle {} | SearchView::Matched { .. }) => {}
        }
        if let Some(call) = &snapshot.call {
            return self.call(call);
        }
        match (&snapshot.room, snapshot.room.as_ref().and_then(|room| room.over)) {
            (Some(room), Some(why)) if room.matched => self.parted(room, why),
            (Some(room), Some(why)) if snapshot.entering.is_none() => self.room_over(room, why),
            (Some(_), _) | (None, _) => match &self.known.door {
                Some(door) => self.door(door),
                None if self.known.trial => self.trial(),
                None if self.known.checking => self.check(),
                None => self.home(),
            },
        }
    }

    /// By the server's clock, which decides.
    fn server_now(&self) -> UnixMs {
        UnixMs(self.now.unix_ms.saturating_add_signed(self.snapshot.server_time_offset_ms))
    }

    fn linked(&self) -> bool {
        self.snapshot.link == Link::Up
    }

    fn live_call(&self) -> Option<&CurrentCall> {
        self.snapshot.call.as_ref().filter(|call| is_live(&call.state))
    }

    fn notices(&self) -> Vec<Notice> {
        let remark = self.known.remark.clone().map(|text| notice(Mood::Warning, text));
        remark
            .into_iter()
            .chain(self.server_notice(retry_s(self.snapshot, self.now)))
            .chain(self.muted_notice())
            .chain(self.device_notices())
            .collect()
    }

    /// What is wrong, to be read out: without the seconds that run.
    fn announcement(&self) -> Option<Sentence> {
        let wrong = |notice: &Notice| matches!(notice.mood, Mood::Warning | Mood::Bad);
        let remark = self.known.remark.clone();
        remark
            .or_else(|| self.server_notice(None).map(|notice| notice.text))
            .or_else(|| self.muted_notice().map(|notice| notice.text))
            .or_else(|| self.device_notices().into_iter().find(wrong).map(|notice| notice.text))
            .or_else(|| self.device_news().next())
    }

    fn server_notice(&self, retry_s: Option<u32>) -> Option<Notice> {
        let why = self.known.lost.filter(|_| !self.linked())?;
        let text = match self.live_call().map(|call| &call.state) {
            Some(State::Connected) => Sentence::ServerLostInCall {},
            Some(
                State::Inviting
                | State::Ringing
                | State::Connecting
                | State::Reconnecting { .. }
                | State::Elsewhere
                | State::Ended { .. },
            ) => Sentence::ServerLostBeforeCall {},
            None if self.known.live_room().is_some() => Sentence::ServerLostInRoom {},
            None => server_fault(why, retry_s),
        };
        Some(notice(Mood::Warning, text))
    }
}

fn notice(mood: Mood, text: Sentence) -> Notice {
    Notice { mood, text, offer: None }
}

fn button(press: Press, label: Sentence) -> Action {
    Action { press, label, color: Color::Plain, primary: false, enabled: true, booking: None, pressed: None }
}

impl Action {
    fn primary(self, color: Color) -> Self {
        Self { primary: true, color, ..self }
    }
    fn colored(self, color: Color) -> Self {
        Self { color, ..self }
    }
    fn enabled(self, enabled: bool) -> Self {
        Self { enabled, ..self }
    }
    fn of_booking(self, booking: &bellwire_client::BookingId) -> Self {
        Self { booking: Some(booking.to_string()), ..self }
    }
}

/// A screen with nothing around it yet.
fn bare(screen: Screen, announce: Option<Sentence>, actions: Vec<Action>) -> View {
    View { screen, announce, notices: Vec::new(), actions, you: None, sound: None, text: None, report: None }
}

/// The other one, as far as it is known.
fn peer(name: Option<&str>) -> Peer {
    let name = plain(name.unwrap_or_default());
    Peer { initials: initials(&name), name }
}

/// A name without what could turn the text around it: control characters and marks of writing direction.
fn plain(name: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !turns(*c)).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Of the first and the last word of a name.
fn initials(name: &str) -> String {
    let mut letters = name.split(' ').filter_map(|word| word.chars().find(|c| c.is_alphanumeric()));
    let first = letters.next();
    first.into_iter().chain(letters.next_back()).flat_map(char::to_uppercase).collect()
}
