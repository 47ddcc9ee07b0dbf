//! What the loop shows.

use super::Loop;
use crate::{CurrentCall, MemberNow, RoomNow, Snapshot, State};
use bellwire_call::meeting::RoomShown;
use bellwire_media::Leg;
use std::time::Instant;

impl Loop {
    pub(super) fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let config = self.sound.config();
        let figures = self.measuring.figures.as_ref();
        let call = self.endpoint.call().map(|call| CurrentCall {
            call: call.call.clone(),
            booking: call.booking.clone(),
            peer: call.peer.clone(),
            you: call.you,
            state: call.state.clone(),
            muted: call.muted,
            peer_muted: call.peer_muted,
            connected_ms: call.connected_at.map(|since| now.0.saturating_sub(since.0)),
            reconnecting_ms: match call.state {
                State::Reconnecting { since } => Some(now.0.saturating_sub(since.0)),
                State::Inviting
                | State::Ringing
                | State::Connecting
                | State::Connected
                | State::Elsewhere
                | State::Ended { .. } => None,
            },
            trying: call.trying,
            path: self.sound.path(Leg::CALL.0),
            health: figures.map(|figures| figures.health).unwrap_or_default(),
            peer_health: call.peer_health,
            explanation: figures.and_then(|figures| figures.explanation),
            chat: self.texts.of_call(),
            chat_open: self.texts.reaches_callee(),
            keep_chat: call.keep_chat,
        });
        Snapshot {
            at: Instant::now(),
            link: self.link_state.clone(),
            you: self.you.clone(),
            bookings: self.endpoint.bookings().to_vec(),
            bookings_known: self.bookings_known,
            call,
            entering: self.meeting.entering().cloned(),
            room: self.meeting.room().map(|room| self.room_now(room)),
            search: self.meeting.search_view().clone(),
            server_time_offset_ms: self.server_time_offset_ms,
            input: self.sound.input.clone(),
            output: self.sound.output.clone(),
            input_choice: config.input.clone(),
            output_choice: config.output.clone(),
            ring_choice: config.ring.clone(),
            processing: config.processing,
            checking: self.sound.is_checking(),
            check: self.checks.now(self.now()),
            relay_only: self.relay_only,
        }
    }

    fn room_now(&self, room: RoomShown) -> RoomNow {
        let goes_on = room.over.is_none();
        let members = room.members.into_iter().map(|member| MemberNow {
            speaking: goes_on && self.speaking.contains(&Some(member.leg)),
            can_read: goes_on && self.texts.reaches_member(member.leg),
            member: member.member,
            name: member.name,
            host: member.host,
            muted: member.muted,
            linked: member.linked,
            sound: member.sound,
            path: self.sound.path(member.leg),
        });
        RoomNow {
            room: room.room,
            topic: room.topic,
            you: room.you,
            host: room.host,
            locked: room.locked,
            members: members.collect(),
            muted: room.muted,
            speaking: goes_on && self.speaking.contains(&None),
            chat: self.texts.of_room(),
            since_ms: self.now().since(room.since),
            matched: room.matched,
            over: room.over,
        }
    }
}
