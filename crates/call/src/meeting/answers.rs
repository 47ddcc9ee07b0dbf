//! What the server answers to what a meeting asked for.

use super::{Meeting, Place, SoundCommand};
use crate::endpoint::Monotonic;
use bellwire_signaling::{Command, CommandId, Departure, ErrorCode, Reply, RoomId, WireError};

impl Meeting {
    pub(super) fn handle_reply(&mut self, id: &CommandId, result: Result<Reply, WireError>, now: Monotonic) {
        let Some(command) = self.outbox.answered(id) else { return };
        match result {
            Ok(
                Reply::Done {}
                | Reply::Call { .. }
                | Reply::Bookings { .. }
                | Reply::History { .. }
                | Reply::Check { .. },
            ) => {}
            Ok(Reply::IceServers { servers, lifetime_ms }) => {
                if self.grant.answered(id, &servers, lifetime_ms, now) {
                    self.sound(SoundCommand::IceServers(servers));
                }
            }
            Err(error) => self.refused(id, command, &error, now),
        }
    }

    fn refused(&mut self, id: &CommandId, command: Command, error: &WireError, now: Monotonic) {
        let busy = matches!(error.code, ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::Internal);
        let again = now.plus(error.retry_after_ms.unwrap_or(1_000));
        match &command {
            Command::EnterRoom { .. } => self.enter_refused(id, command, error, now),
            Command::LeaveRoom { .. } | Command::StopSearching {} if busy => {
                self.outbox.again(id.clone(), command, again);
            }
            Command::LeaveRoom { .. } | Command::StopSearching {} => {}
            Command::RoomMuted { room, muted } => {
                // A newer one says it all.
                let newest = self.muted == *muted && self.inside().as_ref() == Some(room);
                if busy && newest {
                    self.outbox.again(id.clone(), command, again);
                } else {
                    self.doubt(&room.clone(), error.code, now);
                }
            }
            Command::RenewMember { room, member, generation } => {
                if let Place::Inside(stay) = &mut self.place
                    && stay.room() == room
                    && busy
                {
                    stay.renewal_refused(member, *generation, again);
                }
                self.doubt(&room.clone(), error.code, now);
            }
            Command::DescribeTo { room, .. } | Command::CandidatesTo { room, .. } => {
                // A connection that thereby fails is renewed.
                self.doubt(&room.clone(), error.code, now);
            }
            Command::IceServers { .. } => self.grant.refused(id, error.retry_after_ms, now),
            Command::LockRoom { .. }
            | Command::RemoveMember { .. }
            | Command::Block { .. }
            | Command::Report { .. } => {
                self.refuse(error.code, error.retry_after_ms);
            }
            // The server takes one a second: the next is a matter of waiting. Called off meanwhile, it is not wanted.
            Command::Search {} | Command::Skip {} if busy => {
                if self.searching {
                    self.outbox.again(id.clone(), command, again);
                }
            }
            Command::Search {} => {
                self.searching = error.code == ErrorCode::AlreadySearching;
                self.refuse(error.code, error.retry_after_ms);
            }
            // The match was over already: what was wanted is the next one.
            Command::Skip {} if error.code == ErrorCode::WrongState && self.searching => {
                self.outbox.push(Command::Search {});
            }
            Command::Skip {} => {
                self.searching = false;
                self.refuse(error.code, error.retry_after_ms);
            }
            // Not this machine's.
            Command::Bookings {}
            | Command::History { .. }
            | Command::Invite { .. }
            | Command::Ringing { .. }
            | Command::Accept { .. }
            | Command::Decline { .. }
            | Command::HangUp { .. }
            | Command::Ready { .. }
            | Command::Describe { .. }
            | Command::Candidates { .. }
            | Command::Hearing { .. }
            | Command::Renew { .. }
            | Command::Muted { .. }
            | Command::KeepChat { .. }
            | Command::ChatLines { .. }
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

    fn enter_refused(&mut self, id: &CommandId, command: Command, error: &WireError, now: Monotonic) {
        match &mut self.place {
            Place::Entering { command, .. } if command == id => {
                self.go_outside();
                self.refuse(error.code, error.retry_after_ms);
            }
            Place::Inside(stay) if stay.is_entering(id) => match error.code {
                ErrorCode::Unavailable | ErrorCode::RateLimited | ErrorCode::Internal => {
                    self.outbox.again(id.clone(), command, now.plus(error.retry_after_ms.unwrap_or(1_000)));
                }
                ErrorCode::NotFound
                | ErrorCode::RoomFull
                | ErrorCode::BadFrame
                | ErrorCode::TooLarge
                | ErrorCode::UnsupportedVersion
                | ErrorCode::HelloExpected
                | ErrorCode::Unauthenticated
                | ErrorCode::TokenExpired
                | ErrorCode::TokenNotYetValid
                | ErrorCode::TooEarly
                | ErrorCode::TooLate
                | ErrorCode::BookingCancelled
                | ErrorCode::InAnotherCall
                | ErrorCode::OnAnotherDevice
                | ErrorCode::WrongState
                | ErrorCode::StaleGeneration
                | ErrorCode::AlreadySearching
                | ErrorCode::Replaced => self.end(Departure::Lost),
            },
            Place::Outside | Place::Entering { .. } | Place::Inside(_) | Place::Over(_) => {}
        }
    }

    /// The server may know no more that this device is in the room; entering again settles it.
    fn doubt(&mut self, room: &RoomId, code: ErrorCode, now: Monotonic) {
        if let Place::Inside(stay) = &mut self.place
            && code == ErrorCode::NotFound
            && stay.room() == room
        {
            stay.doubt(&mut self.outbox, now);
        }
    }
}
