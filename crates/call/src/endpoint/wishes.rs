//! What the person wants of an endpoint.

use super::{Call, CallNow, Endpoint, MARGIN_MS, MediaCommand, Monotonic, Notice, Route, Stage, State, UserCommand};
use crate::booked_call::RING_MS;
use crate::fault::{Fault, planted};
use bellwire_signaling::{AttemptId, Because, BookingId, Command, EndReason, Ending, ErrorCode, KeepChat, Side};

impl Endpoint {
    pub(super) fn handle_command(&mut self, command: UserCommand, now: Monotonic) {
        match command {
            UserCommand::Call(booking) => self.invite(booking, now),
            UserCommand::Accept => self.accept(),
            UserCommand::Decline(because) => self.decline(because, now),
            UserCommand::HangUp => self.hang_up(now),
            UserCommand::Mute(muted) => self.mute(muted),
            UserCommand::KeepChat(keep) => {
                if let Some(call) = self.open_call() {
                    self.outbox.push(Command::KeepChat { call, keep });
                }
            }
            UserCommand::ChatLines(lines) => {
                if let Some(call) = self.open_call() {
                    self.outbox.push(Command::ChatLines { call, lines });
                }
            }
            UserCommand::Dismiss => {
                if self.call.as_ref().is_some_and(Call::is_over) {
                    self.call = None;
                    self.take_waiting(now);
                }
            }
            UserCommand::RelayOnly(only) => self.go_by_relays(only, now),
            UserCommand::Health(health) => self.health = Some(health),
            UserCommand::Quality { call, quality } => {
                self.outbox.push(Command::Quality { call, quality });
            }
            UserCommand::RefreshBookings => {
                self.outbox.push(Command::Bookings {});
            }
            UserCommand::History { before } => {
                self.outbox.push(Command::History { before, limit: bellwire_signaling::limits::HISTORY_PAGE });
            }
        }
    }

    fn invite(&mut self, booking: BookingId, now: Monotonic) {
        if self.call.as_ref().is_some_and(|call| !call.is_over()) {
            return self.notice(Notice::Refused { code: ErrorCode::InAnotherCall, retry_after_ms: None });
        }
        let attempt: AttemptId = self.outbox.attempt();
        let id = self.outbox.push(Command::Invite { booking: booking.clone(), attempt });
        let peer = self.bookings.iter().find(|view| view.booking == booking).map(|view| view.peer.clone());
        self.call = Some(Call {
            now: CallNow {
                call: None,
                booking,
                you: Side::Caller,
                peer,
                state: State::Inviting,
                muted: self.muted,
                peer_muted: false,
                keep_chat: KeepChat::default(),
                connected_at: None,
                peer_health: None,
                relayed: None,
                trying: 0,
            },
            version: 0,
            invite: Some(id),
            stage: Stage::Before { until: now.plus(RING_MS + MARGIN_MS), accepted: false },
        });
        self.media(MediaCommand::Warm);
        if planted(Fault::ConnectionBeforeAccept) {
            self.media(MediaCommand::Open { generation: 1, route: Route::Any });
        }
    }

    fn accept(&mut self) {
        let Some(call) = &mut self.call else { return };
        let rings = call.now.you == Side::Callee && matches!(call.stage, Stage::Before { accepted: false, .. });
        let (true, Some(id)) = (rings, call.now.call.clone()) else { return };
        if let Stage::Before { accepted, .. } = &mut call.stage {
            *accepted = true;
        }
        call.now.state = State::Connecting;
        self.outbox.push(Command::Accept { call: id });
    }

    fn decline(&mut self, because: Because, now: Monotonic) {
        let Some(call) = &mut self.call else { return };
        let rings = call.now.you == Side::Callee && matches!(call.stage, Stage::Before { accepted: false, .. });
        let (true, Some(id)) = (rings, call.now.call.clone()) else { return };
        self.outbox.push(Command::Decline { call: id, because });
        let ending =
            Ending { reason: EndReason::Declined, by: Some(Side::Callee), because: Some(because), duration_ms: 0 };
        self.show_end(ending, false, now);
    }

    fn hang_up(&mut self, now: Monotonic) {
        let Some(call) = &self.call else { return };
        match (&call.stage, call.now.you) {
            (Stage::Over { .. }, _) => {}
            (Stage::Before { accepted: false, .. }, Side::Callee) => self.decline(Because::NotNow, now),
            (Stage::Before { .. }, Side::Caller) => self.end_here(EndReason::Cancelled, Some(Side::Caller), now),
            (Stage::Before { .. }, Side::Callee) => self.end_here(EndReason::HungUp, Some(Side::Callee), now),
            (Stage::Talking(_), you) => self.end_here(EndReason::HungUp, Some(you), now),
        }
    }

    fn mute(&mut self, muted: bool) {
        self.muted = muted;
        self.media(MediaCommand::Mute(muted));
        let Some(call) = &mut self.call else { return };
        call.now.muted = muted;
        if let (Stage::Talking(_), Some(id)) = (&call.stage, call.now.call.clone()) {
            self.outbox.push(Command::Muted { call: id, muted });
        }
    }

    fn go_by_relays(&mut self, only: bool, now: Monotonic) {
        let was = std::mem::replace(&mut self.relay_only, only);
        if let Some(Call { stage: Stage::Talking(talking), .. }) = &mut self.call
            && only
            && !was
        {
            talking.go_by_relays(now);
        }
    }
}
