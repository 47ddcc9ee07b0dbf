//! The screens of a call.

use super::details::figures;
use super::trouble::{is_own_device, spoken};
use super::{Shown, bare, button, gone_by, peer, plain};
use crate::known::seconds_down;
use crate::quality::Grade;
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::{BookingView, CurrentCall, EndReason, Ending, Explanation, Side, State};

impl Shown<'_> {
    pub(super) fn call(&self, call: &CurrentCall) -> View {
        let booking = self.snapshot.bookings.iter().find(|booking| booking.booking == call.booking);
        let name = call.peer.as_ref().or(booking.map(|booking| &booking.peer)).map(|peer| peer.name.as_str());
        let peer = peer(name);
        let topic = booking.map(|booking| booking.topic.clone()).unwrap_or_default();
        let name = peer.name.clone();
        match (&call.state, call.you) {
            (State::Inviting, _) => calling(peer, topic, Sentence::CallingPeer { name }),
            (State::Ringing, Side::Caller) => calling(peer, topic, Sentence::PeerRings { name }),
            (State::Ringing, Side::Callee) => incoming(peer, topic, booking, self.accepting_leaves()),
            (State::Connecting, _) => {
                let line = Sentence::CallConnecting { name };
                let why = self.explained(call);
                let announce = why.as_ref().map_or(line.clone(), spoken);
                let trouble = why.map(|why| self.trouble(&why));
                bare(Screen::Connecting(Connecting { peer, line, trouble }), Some(announce), vec![hang_up()])
            }
            (State::Connected, _) => self.talk(call, peer, topic, booking, None),
            (State::Reconnecting { .. }, _) => {
                let lost_ms = call.reconnecting_ms.unwrap_or(0).saturating_add(gone_by(self.snapshot, self.now));
                self.talk(call, peer, topic, booking, Some(seconds_down(lost_ms)))
            }
            (State::Elsewhere, _) => {
                let line = Sentence::AnsweredElsewhere { name };
                let screen = Screen::Elsewhere(Elsewhere { peer, line: line.clone() });
                bare(screen, Some(line), vec![dismiss().primary(Color::Accent)])
            }
            (State::Ended { ending, confirmed: _ }, you) => self.ended(ending, you, peer, topic, call, booking),
        }
    }

    fn talk(
        &self,
        call: &CurrentCall,
        peer: Peer,
        topic: String,
        booking: Option<&BookingView>,
        lost_s: Option<u32>,
    ) -> View {
        let name = || peer.name.clone();
        let elapsed_ms = call.connected_ms.map_or(0, |ms| ms.saturating_add(gone_by(self.snapshot, self.now)));
        let quality = &self.known.quality;
        let grade = quality.grade().filter(|_| lost_s.is_none());
        let why = self.explained(call).filter(|_| lost_s.is_none());
        let lost = lost_s.map(|_| match call.trying {
            0 | 1 => Sentence::SoundLost { name: name() },
            2.. => Sentence::SoundLostOtherWay { name: name() },
        });
        let mute_line = match (call.muted, call.peer_muted) {
            _ if self.known.talking => Some(Sentence::YouTalkWhileHeld {}),
            (true, true) => Some(Sentence::BothMuted { name: name() }),
            (true, false) => Some(Sentence::YouAreMuted {}),
            (false, true) => Some(Sentence::PeerMuted { name: name() }),
            (false, false) => None,
        };
        let mute = button(Press::Mute, Sentence::DoMute {});
        // Held to speak is still muted: the button stays as it will be when Space is let go.
        let mute = Action { pressed: Some(call.muted || self.known.talking), ..mute };
        let announce = lost
            .clone()
            .or(why.as_ref().map(spoken))
            .or(self.text_came())
            .unwrap_or_else(|| Sentence::InCallWith { name: name() });
        let text = Some(self.call_text(call, &peer));
        let talk = Talk {
            topic,
            elapsed_s: seconds_down(elapsed_ms),
            remaining: booking.map(|booking| self.remaining(booking)),
            muted: call.muted,
            mute_line,
            lost_s,
            lost,
            quality: grade.map(grade_words),
            mood: match grade {
                None | Some(Grade::Excellent | Grade::Good) => Mood::Calm,
                Some(Grade::Fair) => Mood::Warning,
                Some(Grade::Poor) => Mood::Bad,
            },
            trouble: why.map(|why| self.trouble(&why)),
            figures: quality.newest().map(|stats| figures(stats, call.path.as_ref())).unwrap_or_default(),
            peer,
        };
        let screen = if lost_s.is_some() { Screen::Reconnecting(talk) } else { Screen::InCall(talk) };
        let actions = vec![mute, self.text_button(), hang_up()];
        View { sound: Some(self.sound()), text, report: Some(self.report()), ..bare(screen, Some(announce), actions) }
    }

    /// Why sound is bad, unless a notice says it already.
    fn explained(&self, call: &CurrentCall) -> Option<Explanation> {
        call.explanation.filter(|why| !is_own_device(why) || self.device_notices().is_empty())
    }

    fn report(&self) -> ReportPart {
        let saved = self.known.report.as_ref().map(|saved| match saved {
            Ok(path) => Sentence::ReportSaved { path: plain(&path.to_string_lossy()) },
            Err(why) => Sentence::ReportFailed { why: plain(why) },
        });
        ReportPart { saved }
    }

    fn remaining(&self, booking: &BookingView) -> Sentence {
        let now = self.server_now();
        let end = booking.starts_at.plus(booking.length_ms);
        if now < end {
            Sentence::RemainingTime { seconds: seconds_down(end.since(now)) }
        } else {
            Sentence::OverTime { seconds: seconds_down(now.since(end)) }
        }
    }

    fn ended(
        &self,
        ending: &Ending,
        you: Side,
        peer: Peer,
        topic: String,
        call: &CurrentCall,
        booking: Option<&BookingView>,
    ) -> View {
        let reason = reason(ending, you, peer.name.clone());
        let connected = call.connected_ms.is_some() || ending.duration_ms > 0;
        let quality = self.known.quality.overall().filter(|_| connected).map(|grade| match grade {
            Grade::Excellent | Grade::Good => Sentence::CallQualityGood {},
            Grade::Fair => Sentence::CallQualityFair {},
            Grade::Poor => Sentence::CallQualityPoor {},
        });
        let again = booking.is_some_and(|booking| self.is_open(booking));
        let again = again.then(|| {
            let again = button(Press::CallAgain, Sentence::DoCallAgain {}).of_booking(&call.booking);
            again.primary(Color::Accent).enabled(self.linked())
        });
        let check = self.start_check().enabled(self.linked());
        let actions = match (failed(ending.reason), again) {
            (true, Some(again)) => vec![dismiss(), check, again],
            (true, None) => vec![dismiss(), check.primary(Color::Accent)],
            (false, Some(again)) => vec![dismiss(), again],
            (false, None) => vec![dismiss().primary(Color::Accent)],
        };
        let ended = Ended {
            peer,
            topic,
            reason: reason.clone(),
            code: code(ending.reason).to_owned(),
            duration_s: connected.then(|| seconds_down(ending.duration_ms)),
            quality,
        };
        let report = call.call.is_some().then(|| self.report());
        View { report, ..bare(Screen::Ended(ended), Some(reason), actions) }
    }
}

fn hang_up() -> Action {
    button(Press::HangUp, Sentence::DoHangUp {}).primary(Color::Red)
}

fn dismiss() -> Action {
    button(Press::Dismiss, Sentence::DoDismiss {})
}

fn calling(peer: Peer, topic: String, line: Sentence) -> View {
    let cancel = button(Press::Cancel, Sentence::DoCancel {}).primary(Color::Red);
    let screen = Screen::Calling(Calling { peer, topic, line: line.clone() });
    bare(screen, Some(line), vec![cancel])
}

fn incoming(peer: Peer, topic: String, booking: Option<&BookingView>, leaves: Option<Sentence>) -> View {
    let reasons = [
        (Because::InTwoMinutes, Sentence::ReasonInTwoMinutes {}),
        (Because::WrongTime, Sentence::ReasonWrongTime {}),
        (Because::Unwell, Sentence::ReasonUnwell {}),
    ];
    let announce = Sentence::CallFrom { name: peer.name.clone() };
    let screen = Screen::Incoming(Incoming {
        peer,
        topic,
        starts_at: booking.map(|booking| booking.starts_at.0),
        reasons: reasons.into_iter().map(|(because, text)| Reason { because, text }).collect(),
        leaves,
    });
    let accept = button(Press::Accept, Sentence::DoAccept {}).primary(Color::Green);
    let decline = button(Press::Decline, Sentence::DoDecline {}).colored(Color::Red);
    bare(screen, Some(announce), vec![decline, accept])
}

fn grade_words(grade: Grade) -> Sentence {
    match grade {
        Grade::Excellent => Sentence::QualityExcellent {},
        Grade::Good => Sentence::QualityGood {},
        Grade::Fair => Sentence::QualityFair {},
        Grade::Poor => Sentence::QualityPoor {},
    }
}

fn reason(ending: &Ending, you: Side, name: String) -> Sentence {
    use bellwire_client::Because;
    match (ending.reason, you) {
        (EndReason::HungUp, _) => match ending.by {
            Some(by) if by == you => Sentence::EndedByYou {},
            Some(_) => Sentence::EndedByPeer { name },
            None => Sentence::EndedHungUp {},
        },
        (EndReason::Cancelled, Side::Caller) => Sentence::EndedCancelledByYou {},
        (EndReason::Cancelled, Side::Callee) => Sentence::EndedCancelledByPeer { name },
        (EndReason::Declined, Side::Callee) => Sentence::EndedDeclinedByYou {},
        (EndReason::Declined, Side::Caller) => match ending.because {
            None | Some(Because::NotNow) => Sentence::EndedDeclined { name },
            Some(Because::InTwoMinutes) => Sentence::EndedDeclinedInTwoMinutes { name },
            Some(Because::WrongTime) => Sentence::EndedDeclinedWrongTime { name },
            Some(Because::Unwell) => Sentence::EndedDeclinedUnwell { name },
        },
        (EndReason::NoAnswer, Side::Caller) => Sentence::EndedNoAnswer { name },
        (EndReason::NoAnswer, Side::Callee) => Sentence::EndedMissed { name },
        (EndReason::Busy, Side::Caller) => Sentence::EndedBusy { name },
        (EndReason::Busy, Side::Callee) => Sentence::EndedWhileYouWereBusy { name },
        (EndReason::MediaFailed, _) => Sentence::EndedMediaFailed {},
        (EndReason::MediaLost, _) => Sentence::EndedMediaLost {},
        (EndReason::BookingCancelled, _) => Sentence::EndedBookingCancelled {},
    }
}

/// Whether the network ended it.
fn failed(reason: EndReason) -> bool {
    match reason {
        EndReason::MediaFailed | EndReason::MediaLost => true,
        EndReason::HungUp
        | EndReason::Cancelled
        | EndReason::Declined
        | EndReason::NoAnswer
        | EndReason::Busy
        | EndReason::BookingCancelled => false,
    }
}

/// As it travels on the wire.
fn code(reason: EndReason) -> &'static str {
    match reason {
        EndReason::HungUp => "hung_up",
        EndReason::Cancelled => "cancelled",
        EndReason::Declined => "declined",
        EndReason::NoAnswer => "no_answer",
        EndReason::Busy => "busy",
        EndReason::MediaFailed => "media_failed",
        EndReason::MediaLost => "media_lost",
        EndReason::BookingCancelled => "booking_cancelled",
    }
}
