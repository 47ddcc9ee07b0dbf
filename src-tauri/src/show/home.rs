//! The bookings, and the calls there were.

use super::text::kept;
use super::{Shown, bare, button, peer};
use crate::known::{is_missed, seconds_down, seconds_up};
use crate::quality::{Grade, grade};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::signaling::{CallQuality, Cause, Readiness};
use bellwire_client::{BookingState, BookingView, CallRecord, EndReason, Presence as There, Role, Side, UnixMs};

const HOUR_MS: u64 = 3_600_000;
/// The client checks by itself then.
const CHECKED_BEFORE_MS: u64 = 600_000;

/// Where a booking's join window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Cancelled,
    Opens { in_ms: u64 },
    Open,
    Over,
}

impl Shown<'_> {
    pub(super) fn home(&self) -> View {
        let next = self.next_booking();
        let others =
            self.snapshot.bookings.iter().filter(|booking| next.is_none_or(|next| next.booking != booking.booking));
        let mut later: Vec<&BookingView> = others.collect();
        later.sort_by_key(|booking| (booking.starts_at, booking.booking.clone()));
        let settings = button(Press::Check, Sentence::DoCheck {});
        let check = self.start_check().enabled(self.linked());
        let actions = match next.filter(|next| self.window(next) == Window::Open) {
            Some(next) => {
                let name = peer(Some(&next.peer.name)).name;
                let call = button(Press::Call, Sentence::DoCall { name }).of_booking(&next.booking);
                let call = call.primary(Color::Accent).enabled(self.linked());
                [settings, check].into_iter().chain(self.search_button()).chain([call]).collect()
            }
            None => [settings].into_iter().chain(self.search_button()).chain([check.primary(Color::Accent)]).collect(),
        };
        let home = Home {
            next: next.map(|booking| Card {
                call: false,
                own_check: self.own_check().filter(|_| self.was_due(booking)),
                ..self.card(booking)
            }),
            empty: (next.is_none() && self.snapshot.bookings_known).then_some(Sentence::NoBookings {}),
            later: later.into_iter().map(|booking| self.card(booking)).collect(),
            history: self.known.history.iter().map(past).collect(),
            more_history: self.known.more_history,
        };
        bare(Screen::Home(home), None, actions)
    }

    /// The booking whose time it is; else the soonest that begins; else one that is past its end but open; else any.
    fn next_booking(&self) -> Option<&BookingView> {
        let now = self.server_now();
        let rank = |booking: &&BookingView| {
            let end = booking.starts_at.plus(booking.length_ms);
            match self.window(booking) {
                Window::Open if (booking.starts_at..end).contains(&now) => (0, booking.starts_at.0),
                Window::Open if now < booking.starts_at => (1, booking.starts_at.0),
                Window::Open => (2, booking.starts_at.0),
                Window::Opens { .. } => (3, booking.starts_at.0),
                Window::Cancelled if now < booking.closes_at => (4, booking.starts_at.0),
                Window::Cancelled | Window::Over => (5, u64::MAX - booking.starts_at.0),
            }
        };
        self.snapshot.bookings.iter().min_by_key(rank)
    }

    fn window(&self, booking: &BookingView) -> Window {
        let now = self.server_now();
        match booking.state {
            BookingState::Cancelled => Window::Cancelled,
            BookingState::Scheduled
            | BookingState::Done
            | BookingState::NoShowClient
            | BookingState::NoShowProvider => {
                if now < booking.opens_at {
                    Window::Opens { in_ms: booking.opens_at.since(now) }
                } else if now < booking.closes_at {
                    Window::Open
                } else {
                    Window::Over
                }
            }
        }
    }

    /// Whether this booking could be called now.
    pub(super) fn is_open(&self, booking: &BookingView) -> bool {
        self.window(booking) == Window::Open
    }

    /// The check by itself has had its time for this booking.
    fn was_due(&self, booking: &BookingView) -> bool {
        let now = self.server_now();
        (booking.starts_at.minus(CHECKED_BEFORE_MS)..booking.closes_at).contains(&now)
    }

    fn card(&self, booking: &BookingView) -> Card {
        let peer = peer(Some(&booking.peer.name));
        let window = self.window(booking);
        let near = match window {
            Window::Open => true,
            Window::Opens { in_ms } => in_ms <= HOUR_MS,
            Window::Cancelled | Window::Over => false,
        };
        Card {
            booking: booking.booking.to_string(),
            topic: booking.topic.clone(),
            starts_at: booking.starts_at.0,
            ends_at: booking.starts_at.plus(booking.length_ms).0,
            window: window_words(window, booking, &peer.name),
            open: window == Window::Open,
            presence: near.then(|| presence(&booking.presence, &peer.name)),
            readiness: readiness(booking.peer_readiness, &peer.name).filter(|_| near),
            own_check: None,
            call: window == Window::Open && self.linked(),
            peer,
        }
    }
}

fn window_words(window: Window, booking: &BookingView, name: &str) -> Sentence {
    let name = name.to_owned();
    match window {
        Window::Cancelled => Sentence::BookingCancelled { name },
        // Whole minutes while it is far, so that the view does not change each second.
        Window::Opens { in_ms } if in_ms <= HOUR_MS => Sentence::WindowOpensIn { seconds: seconds_up(in_ms) },
        Window::Opens { in_ms } if in_ms <= 24 * HOUR_MS => {
            Sentence::WindowOpensIn { seconds: seconds_up(in_ms).div_ceil(60) * 60 }
        }
        Window::Opens { .. } => Sentence::WindowOpensAt { at: booking.opens_at.0 },
        Window::Open => Sentence::WindowOpenUntil { at: booking.closes_at.0 },
        Window::Over => match (booking.state, booking.you) {
            (BookingState::Scheduled | BookingState::Cancelled, _) => Sentence::WindowOver { name },
            (BookingState::Done, _) => Sentence::BookingDone {},
            (BookingState::NoShowClient, Role::Client) | (BookingState::NoShowProvider, Role::Provider) => {
                Sentence::BookingMissedByYou {}
            }
            (BookingState::NoShowClient, Role::Provider) | (BookingState::NoShowProvider, Role::Client) => {
                Sentence::BookingMissedByPeer { name }
            }
        },
    }
}

fn presence(there: &There, name: &str) -> Presence {
    let name = name.to_owned();
    match there {
        There::Online {} => Presence { here: true, text: Sentence::PeerHere { name } },
        There::InAnotherCall {} => Presence { here: false, text: Sentence::PeerInAnotherCall { name } },
        There::Away { since: Some(UnixMs(at)) } => {
            Presence { here: false, text: Sentence::PeerAwaySince { name, at: *at } }
        }
        There::Away { since: None } => Presence { here: false, text: Sentence::PeerAway { name } },
    }
}

/// What the other one's app told; nothing where it told nothing.
fn readiness(readiness: Readiness, name: &str) -> Option<Sentence> {
    let name = name.to_owned();
    match readiness {
        Readiness::Unknown => None,
        Readiness::Ready => Some(Sentence::PeerReady { name }),
        Readiness::HasProblem => Some(Sentence::PeerHasProblem { name }),
    }
}

/// How a call sounded on this side, in a line: what happened to it, else what it was like.
fn sounded(quality: &CallQuality) -> Sentence {
    if quality.reconnects > 0 {
        let seconds = seconds_up(u64::from(quality.reconnecting_ms));
        return Sentence::PastSoundLost { times: u32::from(quality.reconnects), seconds };
    }
    let grade = grade(f32::from(quality.mos_x10) / 10.0);
    let good = match grade {
        Grade::Excellent | Grade::Good => true,
        Grade::Fair | Grade::Poor => false,
    };
    match quality.cause {
        // Of these the score knows: in a good call they were a moment.
        Some(Cause::Loss | Cause::Delay | Cause::Jitter | Cause::Narrow) | None if good => Sentence::PastSoundGood {},
        Some(Cause::Loss) if quality.loss_out_percent > quality.loss_in_percent => Sentence::PastLossOut {},
        Some(Cause::Loss) => Sentence::PastLossIn {},
        Some(Cause::Delay) => Sentence::PastDelay {},
        Some(Cause::Jitter) => Sentence::PastJitter {},
        Some(Cause::Narrow) => Sentence::PastNarrow {},
        Some(Cause::NothingComes) => Sentence::PastNothingCame {},
        Some(Cause::NothingGoes) => Sentence::PastNothingWent {},
        Some(Cause::MicrophoneSilent) => Sentence::PastMicrophoneSilent {},
        Some(Cause::MicrophoneMissing) => Sentence::PastMicrophoneMissing {},
        Some(Cause::SpeakerMissing) => Sentence::PastSpeakerMissing {},
        Some(Cause::Echo) => Sentence::PastEcho {},
        Some(Cause::Overload) => Sentence::PastOverload {},
        None => match grade {
            Grade::Excellent | Grade::Good => Sentence::PastSoundGood {},
            Grade::Fair => Sentence::PastSoundFair {},
            Grade::Poor => Sentence::PastSoundPoor {},
        },
    }
}

fn past(record: &CallRecord) -> Past {
    let connected = record.connected_at.is_some();
    let reason = record.ending.reason;
    let missed = record.you == Side::Callee && !connected && is_missed(reason);
    let what = match (record.you, reason) {
        _ if missed => Sentence::PastMissed {},
        (Side::Caller, _) if connected => Sentence::PastYouCalled {},
        (Side::Callee, _) if connected => Sentence::PastCalledYou {},
        (_, EndReason::MediaFailed | EndReason::MediaLost) => Sentence::PastFailed {},
        (Side::Caller, EndReason::NoAnswer) => Sentence::PastNoAnswer {},
        (Side::Caller, EndReason::Busy) => Sentence::PastBusy {},
        (Side::Caller, EndReason::Declined) => Sentence::PastDeclinedByPeer {},
        (Side::Callee, EndReason::Declined) => Sentence::PastDeclinedByYou {},
        (Side::Caller, EndReason::Cancelled) => Sentence::PastCancelled {},
        (Side::Caller, EndReason::HungUp | EndReason::BookingCancelled) => Sentence::PastYouCalled {},
        (Side::Callee, _) => Sentence::PastCalledYou {},
    };
    Past {
        call: record.call.to_string(),
        peer: peer(Some(&record.peer.name)),
        topic: record.topic.clone(),
        at: record.invited_at.0,
        what,
        missed,
        duration_s: connected.then(|| seconds_down(record.ending.duration_ms)),
        quality: record.quality.as_ref().filter(|_| connected).map(sounded),
        text: kept(record),
    }
}
