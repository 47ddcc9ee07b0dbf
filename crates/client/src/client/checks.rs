//! The loop's part for the check before a call: when one may begin, and what ends it.

use super::{Loop, Next};
use crate::State;
use crate::Update;
use crate::check::{Happened, next_booking};
use bellwire_call::check::Kind;
use bellwire_media::check::CheckEvent;
use bellwire_signaling::{ErrorCode, SearchView, UnixMs};
use std::time::{SystemTime, UNIX_EPOCH};

impl Loop {
    pub(super) fn start_check(&mut self, automatic: bool) -> Next {
        if self.is_occupied() {
            return self.refuse(ErrorCode::InAnotherCall);
        }
        let kind = if automatic { Kind::Automatic } else { Kind::ByHand };
        let booking = next_booking(self.endpoint.bookings(), self.server_now());
        self.checks.start(kind, self.sound.config(), booking, self.frames.is_some(), self.now());
        Next::Changed
    }

    pub(super) fn checked(&mut self, happened: Happened) -> Next {
        if let Happened::Sound(CheckEvent::Level(input)) = happened {
            self.outbox.push(Update::Level { input, output: 0.0 });
            return Next::Same;
        }
        let now = self.now();
        self.checks.take(happened, now);
        Next::Changed
    }

    /// A call ends a check; a booking that is near begins one, where that is wanted.
    pub(super) fn settle_checks(&mut self) {
        let now = self.now();
        let occupied = self.is_occupied();
        if occupied && self.checks.is_running() {
            tracing::info!("a check gives way to a call");
            self.checks.put_away(now);
        }
        let may_begin = !occupied && !self.checks.is_running() && self.bookings_known;
        if may_begin
            && self.frames.is_some()
            && let Some(booking) = self.checks.due(self.endpoint.bookings(), self.server_now())
        {
            self.checks.start(Kind::Automatic, self.sound.config(), Some(booking), true, now);
        }
        for frame in self.checks.take_frames() {
            self.send(frame);
        }
    }

    /// Somebody is heard here, or may be at any moment.
    fn is_occupied(&self) -> bool {
        let in_call = self.endpoint.call().is_some_and(|call| match call.state {
            State::Inviting | State::Ringing | State::Connecting | State::Connected | State::Reconnecting { .. } => {
                true
            }
            State::Elsewhere | State::Ended { .. } => false,
        });
        let searching = match self.meeting.search_view() {
            SearchView::Idle { .. } => false,
            SearchView::Waiting { .. } | SearchView::Matched { .. } => true,
        };
        in_call || searching || self.is_in_room() || self.meeting.entering().is_some()
    }

    fn server_now(&self) -> UnixMs {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let there = i128::try_from(here).unwrap_or(i128::MAX) + i128::from(self.server_time_offset_ms);
        UnixMs(u64::try_from(there).unwrap_or_default())
    }
}
