//! What the shell knows at one moment, and how each update of the client changes it. Pure: [`show`](crate::show::show)
//! makes the view from it, the controller keeps it.

use crate::quality::Quality;
use crate::sentence::Sentence;
use bellwire_client::{
    CallRecord, DevPerson, DeviceFault, DeviceInfo, DeviceState, EndReason, ErrorCode, Link, LinkFault, Snapshot,
    State, Stats, Stop, Update,
};
use std::time::Instant;

/// The moment for which a view is made.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub at: Instant,
    /// By this machine's clock, milliseconds since 1970.
    pub unix_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Nobody is signed in, and this is wrong.
    pub problem: Option<Sentence>,
    /// Development: who can be picked.
    pub people: Vec<DevPerson>,
    /// Development: the server whose people can be asked for; empty while none was named.
    pub dev_server: Option<String>,
    /// The people are being asked for.
    pub finding: bool,
    /// A client runs: signing in, or signed in.
    pub client: bool,
    pub snapshot: Option<Snapshot>,
    /// Why the link was lost last.
    pub lost: Option<LinkFault>,
    pub history: Vec<CallRecord>,
    pub more_history: bool,
    pub devices: Option<Result<Vec<DeviceInfo>, DeviceFault>>,
    /// The screen of the check is open.
    pub checking: bool,
    pub heard: Heard,
    pub sound_played: bool,
    pub quality: Quality,
    /// The microphone was open at some time in this call.
    pub microphone_was_open: bool,
    /// Said once, until the next thing that this person does.
    pub remark: Option<Sentence>,
    /// Space is held to speak.
    pub talking: bool,
    /// The system has a page for the microphone's permission.
    pub permission_page: bool,
}

/// Whether speech was heard since the check began.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    loud: u32,
}

/// A level of 0.35 is -39 dBFS: speech near a microphone is well above it, a quiet room well below.
const SPEECH: f32 = 0.35;
/// Tenths of a second.
const SPEECH_LASTS: u32 = 3;

impl Heard {
    pub fn speech(&self) -> bool {
        self.loud >= SPEECH_LASTS
    }

    fn take(&mut self, input: f32) {
        if input > SPEECH {
            self.loud += 1;
        }
    }
}

/// What the controller does about an update, beside showing what is known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    Nothing,
    /// Ask for the newest page of the history.
    FetchHistory,
    /// The client has ended: let it go.
    LetGo,
}

impl Known {
    pub fn take(&mut self, update: Update) -> Follow {
        match update {
            Update::Snapshot(snapshot) => self.take_snapshot(*snapshot),
            Update::Level { input, output: _ } => {
                if self.checking {
                    self.heard.take(input);
                }
                Follow::Nothing
            }
            Update::Stats(stats) => self.take_stats(&stats),
            Update::Flowing { generation: _ } => Follow::Nothing,
            Update::Refused { code, retry_after_ms } => {
                self.remark = Some(refused(code, retry_after_ms));
                Follow::Nothing
            }
            Update::History(calls) => {
                self.take_history(calls);
                Follow::Nothing
            }
            Update::Devices(devices) => {
                self.devices = Some(devices);
                Follow::Nothing
            }
            // The snapshot that comes with it says the same.
            Update::Device(_) => Follow::Nothing,
            Update::Stopped(stop) => {
                self.sign_out();
                self.problem = Some(stopped(stop));
                Follow::LetGo
            }
        }
    }

    /// A client was started.
    pub fn signing_in(&mut self) {
        self.sign_out();
        self.client = true;
    }

    /// The client is gone, and with it all that it said.
    pub fn sign_out(&mut self) {
        *self = Self {
            people: std::mem::take(&mut self.people),
            dev_server: self.dev_server.take(),
            permission_page: self.permission_page,
            ..Self::default()
        };
    }

    /// The other party is in a call with this person, or about to be.
    pub fn in_a_call(&self) -> bool {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.call.as_ref()).is_some_and(|call| is_live(&call.state))
    }

    pub fn begin_check(&mut self) {
        self.checking = true;
        self.heard = Heard::default();
        self.sound_played = false;
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) -> Follow {
        match &snapshot.link {
            Link::Connecting => {}
            Link::Up => self.lost = None,
            Link::Down { why, .. } => self.lost = Some(*why),
        }
        let before = self.snapshot.as_ref();
        let signed_in = before.is_none_or(|before| before.you.is_none()) && snapshot.you.is_some();
        let call = snapshot.call.as_ref();
        let call_before = before.and_then(|before| before.call.as_ref());
        let live = call.is_some_and(|call| is_live(&call.state));
        let was_live = call_before.is_some_and(|call| is_live(&call.state));
        if live && !was_live {
            self.quality = Quality::default();
            self.microphone_was_open = false;
            self.checking = false;
            self.remark = None;
        }
        if was_live && !live {
            self.talking = false;
            self.remark = None;
        }
        if live && matches!(snapshot.input, DeviceState::Open { .. }) {
            self.microphone_was_open = true;
        }
        let gone = call_before.is_some() && call.is_none();
        let ended = was_live && !live;
        self.snapshot = Some(snapshot);
        if signed_in || gone || ended { Follow::FetchHistory } else { Follow::Nothing }
    }

    fn take_stats(&mut self, stats: &Stats) -> Follow {
        self.quality.take(stats);
        Follow::Nothing
    }

    /// A page: older calls are added, newer ones replace what is known of them.
    fn take_history(&mut self, calls: Vec<CallRecord>) {
        // A full page is followed by another, perhaps an empty one; a page after it says so.
        let full = calls.len() >= usize::from(bellwire_client::signaling::limits::HISTORY_PAGE);
        let oldest_known = self.history.last().map(|call| call.ended_at);
        let reaches_further = match (calls.last(), oldest_known) {
            (Some(last), Some(oldest)) => last.ended_at < oldest,
            (Some(_), None) | (None, _) => true,
        };
        if reaches_further {
            self.more_history = full;
        }
        for call in calls {
            if !self.history.iter().any(|known| known.call == call.call) {
                self.history.push(call);
            }
        }
        self.history.sort_by(|a, b| b.ended_at.cmp(&a.ended_at).then_with(|| a.call.cmp(&b.call)));
    }
}

/// A call that can still be ended.
pub fn is_live(state: &State) -> bool {
    match state {
        State::Inviting | State::Ringing | State::Connecting | State::Connected | State::Reconnecting { .. } => true,
        State::Elsewhere | State::Ended { .. } => false,
    }
}

/// Whether this reason means for the callee that a call was missed.
pub fn is_missed(reason: EndReason) -> bool {
    match reason {
        EndReason::Cancelled | EndReason::NoAnswer | EndReason::Busy => true,
        EndReason::HungUp
        | EndReason::Declined
        | EndReason::MediaFailed
        | EndReason::MediaLost
        | EndReason::BookingCancelled => false,
    }
}

fn refused(code: ErrorCode, retry_after_ms: Option<u64>) -> Sentence {
    match code {
        ErrorCode::TooEarly => Sentence::RefusedTooEarly {},
        ErrorCode::TooLate => Sentence::RefusedTooLate {},
        ErrorCode::BookingCancelled => Sentence::RefusedBookingCancelled {},
        ErrorCode::NotFound => Sentence::RefusedNotFound {},
        ErrorCode::InAnotherCall => Sentence::RefusedInAnotherCall {},
        ErrorCode::OnAnotherDevice => Sentence::RefusedOnAnotherDevice {},
        ErrorCode::RateLimited => Sentence::RefusedRateLimited { retry_s: retry_after_ms.map(seconds_up) },
        ErrorCode::Unavailable => Sentence::RefusedUnavailable {},
        ErrorCode::WrongState | ErrorCode::StaleGeneration => Sentence::RefusedOutOfDate {},
        ErrorCode::TokenExpired => Sentence::TokenExpired {},
        ErrorCode::TokenNotYetValid => Sentence::TokenNotYetValid {},
        ErrorCode::Unauthenticated => Sentence::TokenRefused {},
        ErrorCode::Replaced => Sentence::Replaced {},
        ErrorCode::UnsupportedVersion => Sentence::VersionUnsupported {},
        ErrorCode::BadFrame | ErrorCode::TooLarge | ErrorCode::HelloExpected | ErrorCode::Internal => {
            Sentence::RefusedFault {}
        }
    }
}

fn stopped(stop: Stop) -> Sentence {
    match stop {
        Stop::TokenRefused { code: ErrorCode::TokenExpired } => Sentence::TokenExpired {},
        Stop::TokenRefused { code: ErrorCode::TokenNotYetValid } => Sentence::TokenNotYetValid {},
        Stop::TokenRefused { code: _ } => Sentence::TokenRefused {},
        Stop::Replaced => Sentence::Replaced {},
        Stop::VersionUnsupported => Sentence::VersionUnsupported {},
        Stop::BadAddress => Sentence::LinkBadServer {},
    }
}

pub fn server_fault(why: LinkFault, retry_s: Option<u32>) -> Sentence {
    match why {
        LinkFault::Unreachable => Sentence::ServerUnreachable { retry_s },
        LinkFault::Tls => Sentence::ServerCertificate { retry_s },
        LinkFault::NotBellwire => Sentence::ServerNotBellwire { retry_s },
        LinkFault::BadAddress => Sentence::ServerAddressBad {},
        LinkFault::Closed | LinkFault::Silent | LinkFault::Gap => Sentence::ServerSilent { retry_s },
        LinkFault::ServerBusy => Sentence::ServerBusy { retry_s },
        LinkFault::Refused(_) => Sentence::ServerRefused { retry_s },
    }
}

/// Whole seconds, the part of one counted as one.
pub fn seconds_up(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Whole seconds that have gone by.
pub fn seconds_down(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}
