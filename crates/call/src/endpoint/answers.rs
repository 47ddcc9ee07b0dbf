//! What the server answers to a device's commands.

use super::{Call, Endpoint, MediaCommand, Monotonic, Notice, Stage, State};
use crate::outbox;
use bellwire_signaling::{CallId, Command, CommandId, EndReason, ErrorCode, Reply, WireError};

impl Endpoint {
    pub(super) fn handle_reply(&mut self, id: &CommandId, result: Result<Reply, WireError>, now: Monotonic) {
        let Some(command) = self.outbox.answered(id) else { return };
        match result {
            Ok(Reply::Done {}) => {}
            Ok(Reply::Call { call }) => self.invite_answered(id, call, now),
            Ok(Reply::Bookings { bookings }) => self.bookings = bookings,
            Ok(Reply::History { calls }) => self.notice(Notice::History(calls)),
            Ok(Reply::IceServers { servers, lifetime_ms }) => {
                if self.grant.answered(id, &servers, lifetime_ms, now) {
                    self.media(MediaCommand::IceServers(servers));
                }
            }
            Ok(Reply::Check { .. }) => {}
            Err(error) => self.refused(id, command, &error, now),
        }
    }

    fn invite_answered(&mut self, id: &CommandId, call_id: CallId, now: Monotonic) {
        let taken_back = self.taken_back.iter().position(|taken| taken == id);
        if let Some(at) = taken_back {
            self.taken_back.remove(at);
            self.remember_over(call_id.clone());
            self.outbox.push(Command::HangUp { call: call_id.clone() });
        }
        if let Some(call) = self.call.as_mut().filter(|call| call.invite.as_ref() == Some(id)) {
            call.invite = None;
            call.now.call = Some(call_id.clone());
            if let Some(view) = self.others.remove(&call_id) {
                self.handle_view(view, now);
            }
        }
        self.take_waiting(now);
    }

    fn refused(&mut self, id: &CommandId, command: Command, error: &WireError, now: Monotonic) {
        let again = matches!(error.code, ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::Internal);
        if again && outbox::outlives_a_session(&command) {
            return self.outbox.again(id.clone(), command, now.plus(error.retry_after_ms.unwrap_or(1_000)));
        }
        self.taken_back.retain(|taken| taken != id);
        match command {
            Command::Invite { .. } => {
                if self.call.as_ref().is_some_and(|call| call.invite.as_ref() == Some(id)) {
                    let over = self.call.as_ref().is_some_and(Call::is_over);
                    self.call = None;
                    self.close();
                    if !over {
                        self.notice(Notice::Refused { code: error.code, retry_after_ms: error.retry_after_ms });
                    }
                    self.take_waiting(now);
                }
            }
            Command::Bookings {} | Command::History { .. } => {
                self.notice(Notice::Refused { code: error.code, retry_after_ms: error.retry_after_ms });
            }
            Command::Accept { call } | Command::Decline { call, .. } | Command::HangUp { call } => {
                self.lost_from_server(&call, error.code, now);
                if error.code == ErrorCode::InAnotherCall
                    && let Some(current) = self.call.as_mut().filter(|now| now.now.call.as_ref() == Some(&call))
                    && let Stage::Before { accepted, .. } = &mut current.stage
                {
                    *accepted = false;
                    current.now.state = State::Ringing;
                    self.notice(Notice::Refused { code: error.code, retry_after_ms: None });
                }
            }
            Command::Ringing { call }
            | Command::Ready { call, .. }
            | Command::Describe { call, .. }
            | Command::Candidates { call, .. }
            | Command::Hearing { call, .. }
            | Command::Muted { call, .. }
            | Command::KeepChat { call, .. }
            | Command::ChatLines { call, .. } => self.lost_from_server(&call, error.code, now),
            Command::Renew { call, generation } => {
                if again && let Some(talking) = self.talking(&call) {
                    talking.renewal_refused(generation, now.plus(error.retry_after_ms.unwrap_or(1_000)));
                }
                self.lost_from_server(&call, error.code, now);
            }
            Command::IceServers { .. } => self.grant.refused(id, error.retry_after_ms, now),
            Command::EnterRoom { .. }
            | Command::LeaveRoom { .. }
            | Command::RoomMuted { .. }
            | Command::LockRoom { .. }
            | Command::RemoveMember { .. }
            | Command::RenewMember { .. }
            | Command::DescribeTo { .. }
            | Command::CandidatesTo { .. }
            | Command::Search {}
            | Command::StopSearching {}
            | Command::Skip {}
            | Command::Block { .. }
            | Command::Report { .. }
            | Command::Health { .. }
            | Command::Quality { .. }
            | Command::Readiness { .. }
            | Command::StartCheck {}
            | Command::CheckOffer { .. }
            | Command::EndCheck { .. }
            | Command::ServeChecks {}
            | Command::AnswerCheck { .. } => {}
        }
    }

    /// The server no longer knows this call. It tells everything else by a view.
    fn lost_from_server(&mut self, id: &CallId, code: ErrorCode, now: Monotonic) {
        let ours = self.call.as_ref().is_some_and(|call| call.now.call.as_ref() == Some(id) && !call.is_over());
        if code == ErrorCode::NotFound && ours {
            let reason = self.call.as_ref().map_or(EndReason::MediaLost, Call::reason_to_give_up);
            self.end_here(reason, None, now);
        }
    }
}
