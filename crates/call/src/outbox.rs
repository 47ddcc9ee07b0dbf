//! Commands on their way to the server: kept, in order, until each is answered.

use crate::Monotonic;
use bellwire_signaling::{AttemptId, ClientFrame, Command, CommandId};
use std::collections::VecDeque;

pub(crate) struct Outbox {
    nonce: u128,
    made: u64,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    id: CommandId,
    command: Command,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    New,
    /// Sent on the link that is up; on the next one it is sent again.
    Sent,
    /// Was sent on a link that is lost: the server may have it or not.
    Unsure,
    At(Monotonic),
}

/// Whether a command still means what it did on a server that knows only what it stored.
pub(crate) fn outlives_a_session(command: &Command) -> bool {
    match command {
        Command::Bookings {}
        | Command::History { .. }
        | Command::Invite { .. }
        | Command::Accept { .. }
        | Command::Decline { .. }
        | Command::HangUp { .. }
        | Command::KeepChat { .. }
        | Command::ChatLines { .. }
        | Command::LeaveRoom { .. }
        | Command::StopSearching {}
        | Command::Block { .. }
        | Command::Report { .. }
        | Command::Quality { .. }
        | Command::Readiness { .. } => true,
        Command::Ringing { .. }
        | Command::Ready { .. }
        | Command::Describe { .. }
        | Command::Candidates { .. }
        | Command::Hearing { .. }
        | Command::Renew { .. }
        | Command::Muted { .. }
        | Command::EnterRoom { .. }
        | Command::RoomMuted { .. }
        | Command::LockRoom { .. }
        | Command::RemoveMember { .. }
        | Command::RenewMember { .. }
        | Command::DescribeTo { .. }
        | Command::CandidatesTo { .. }
        | Command::Search {}
        | Command::Skip {}
        | Command::Health { .. }
        | Command::IceServers { .. }
        | Command::StartCheck {}
        | Command::CheckOffer { .. }
        | Command::EndCheck { .. }
        | Command::ServeChecks {}
        | Command::AnswerCheck { .. } => false,
    }
}

impl Outbox {
    pub(crate) fn new(nonce: u128) -> Self {
        Self { nonce, made: 0, waiting: VecDeque::new() }
    }

    pub(crate) fn attempt(&mut self) -> AttemptId {
        AttemptId::from_bits(self.bits())
    }

    pub(crate) fn push(&mut self, command: Command) -> CommandId {
        let id = CommandId::from_bits(self.bits());
        // Only the newest of these counts.
        if matches!(command, Command::Muted { .. } | Command::RoomMuted { .. } | Command::Health { .. }) {
            let kind = std::mem::discriminant(&command);
            self.waiting.retain(|w| w.stage == Stage::Sent || std::mem::discriminant(&w.command) != kind);
        }
        self.waiting.push_back(Waiting { id: id.clone(), command, stage: Stage::New });
        id
    }

    /// Sends a command again at a later moment: the server could not carry it out.
    pub(crate) fn again(&mut self, id: CommandId, command: Command, at: Monotonic) {
        self.waiting.push_back(Waiting { id, command, stage: Stage::At(at) });
    }

    /// The next frame to send on the link that is up.
    pub(crate) fn next(&mut self, now: Monotonic) -> Option<ClientFrame> {
        let waiting = self.waiting.iter_mut().find(|w| match w.stage {
            Stage::New | Stage::Unsure => true,
            Stage::At(at) => at <= now,
            Stage::Sent => false,
        })?;
        waiting.stage = Stage::Sent;
        Some(ClientFrame::Command { id: waiting.id.clone(), command: waiting.command.clone() })
    }

    pub(crate) fn answered(&mut self, id: &CommandId) -> Option<Command> {
        let at = self.waiting.iter().position(|w| w.id == *id)?;
        self.waiting.remove(at).map(|w| w.command)
    }

    /// Takes commands of this kind back that are not on their way.
    pub(crate) fn withdraw(&mut self, kind: impl Fn(&Command) -> bool) {
        self.waiting.retain(|w| match w.stage {
            Stage::New | Stage::At(_) => !kind(&w.command),
            Stage::Sent | Stage::Unsure => true,
        });
    }

    /// Takes a command back if the server cannot have seen it.
    pub(crate) fn unsent(&mut self, id: &CommandId) -> bool {
        let at = self.waiting.iter().position(|w| w.id == *id && w.stage == Stage::New);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// Whether a command of this kind has no answer yet.
    pub(crate) fn awaits(&self, kind: impl Fn(&Command) -> bool) -> bool {
        self.waiting.iter().any(|w| kind(&w.command))
    }

    pub(crate) fn link_lost(&mut self) {
        for waiting in &mut self.waiting {
            if waiting.stage == Stage::Sent {
                waiting.stage = Stage::Unsure;
            }
        }
    }

    pub(crate) fn new_session(&mut self) {
        self.waiting.retain(|w| outlives_a_session(&w.command));
    }

    pub(crate) fn resends_at(&self) -> Option<Monotonic> {
        self.waiting
            .iter()
            .filter_map(|w| match w.stage {
                Stage::At(at) => Some(at),
                Stage::New | Stage::Sent | Stage::Unsure => None,
            })
            .min()
    }

    fn bits(&mut self) -> u128 {
        self.made += 1;
        self.nonce.wrapping_add(u128::from(self.made))
    }
}
