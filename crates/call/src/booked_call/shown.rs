//! What each side is shown of a call: its view while it goes on, its record afterwards.

use super::{BookedCall, State, Talk};
use bellwire_signaling::{CallRecord, CallView, Connection, DeviceId, Peer, Phase, Side};

impl BookedCall {
    /// The call as this device of this side may see it.
    pub fn view(&self, side: Side, device: &DeviceId) -> CallView {
        let phase = match &self.state {
            State::Inviting { from } if side == Side::Callee || from == device => {
                Phase::Inviting { since: self.invited_at }
            }
            State::Ringing { from, .. } if side == Side::Callee || from == device => {
                Phase::Ringing { since: self.invited_at }
            }
            State::Connecting { talk, .. } if talk.on.of(side) == device => {
                Phase::Connecting { connection: self.connection(talk, side) }
            }
            State::Connected { talk, at } if talk.on.of(side) == device => Phase::Connected {
                connection: self.connection(talk, side),
                connected_at: *at,
                peer_muted: *talk.muted.of(side.other()),
            },
            State::Reconnecting { talk, at, since } if talk.on.of(side) == device => Phase::Reconnecting {
                connection: self.connection(talk, side),
                connected_at: *at,
                since: *since,
                peer_muted: *talk.muted.of(side.other()),
            },
            State::Ended { ending, .. } => Phase::Ended { ending: ending.clone() },
            State::Inviting { .. }
            | State::Ringing { .. }
            | State::Connecting { .. }
            | State::Connected { .. }
            | State::Reconnecting { .. } => Phase::Elsewhere {},
        };
        CallView {
            call: self.id.clone(),
            booking: self.booking.clone(),
            version: self.version,
            you: side,
            peer: self.peer(side.other()),
            keep_chat: self.chat.keep_of(side),
            phase,
        }
    }

    /// The call as `side` finds it in the history, once it is over.
    pub fn record_for(&self, side: Side) -> Option<CallRecord> {
        let State::Ended { ending, at, connected_at } = &self.state else { return None };
        Some(CallRecord {
            quality: None,
            call: self.id.clone(),
            booking: self.booking.clone(),
            topic: self.topic.clone(),
            you: side,
            peer: self.peer(side.other()),
            invited_at: self.invited_at,
            connected_at: *connected_at,
            ended_at: *at,
            ending: ending.clone(),
            chat: self.chat.lines().to_vec(),
        })
    }

    fn connection(&self, talk: &Talk, side: Side) -> Connection {
        Connection { generation: talk.generation, offers: side == self.offerer, go: talk.ready.both() }
    }

    fn peer(&self, side: Side) -> Peer {
        let party = self.party(side);
        Peer { handle: party.handle.clone(), name: party.name.clone(), role: party.role }
    }
}
