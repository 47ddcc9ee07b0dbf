//! The texts of the call and of the room, as JSON frames for the sound engine to carry.

use crate::ChatNow;
use bellwire_call::meeting::RoomShown;
use bellwire_call::{CallNow, Chat, ChatRefusal, State, chat};
use bellwire_media::Leg;
use bellwire_signaling::{CallId, ChatFrame, ErrorCode, Handle, KeepChat, RoomId};
use std::collections::BTreeMap;

/// Bytes of JSON of lines in one command: well below the limit of a frame.
const KEPT_AT_ONCE: usize = 32 * 1024;

#[derive(Default)]
pub(crate) struct Texts {
    call: Option<(CallId, Chat)>,
    /// The other party, once there is somebody to be written to.
    callee: Option<(Handle, String)>,
    room: Option<(RoomId, Chat)>,
    members: BTreeMap<u32, (Handle, String)>,
}

impl Texts {
    pub(crate) fn follow_call(&mut self, call: Option<&CallNow>) {
        let id = call.and_then(|call| call.call.as_ref());
        if self.call.as_ref().map(|(id, _)| id) != id {
            self.call = id.map(|id| (id.clone(), Chat::new()));
            self.callee = None;
        }
        let (Some(call), Some((_, chat))) = (call, &mut self.call) else { return };
        match (talks(call), &call.peer) {
            (true, Some(peer)) if self.callee.is_none() => {
                self.callee = Some((peer.handle.clone(), peer.name.clone()));
                chat.joined(Leg::CALL.0);
            }
            (true, _) => {}
            (false, _) => {
                self.callee = None;
                chat.gone(Leg::CALL.0);
            }
        }
    }

    pub(crate) fn follow_room(&mut self, room: Option<&RoomShown>) {
        let id = room.map(|room| &room.room);
        if self.room.as_ref().map(|(id, _)| id) != id {
            self.room = id.map(|id| (id.clone(), Chat::new()));
            self.members.clear();
        }
        let (Some(room), Some((_, chat))) = (room, &mut self.room) else { return };
        let there = if room.over.is_none() { &room.members[..] } else { &[] };
        self.members.retain(|leg, _| {
            let stays = there.iter().any(|member| member.leg == *leg);
            if !stays {
                chat.gone(*leg);
            }
            stays
        });
        for member in there {
            chat.joined(member.leg);
            self.members.entry(member.leg).or_insert_with(|| (member.member.clone(), member.name.clone()));
        }
    }

    /// What is to be sent now for this line, in the room or else in the call.
    pub(crate) fn say(
        &mut self,
        text: &str,
        in_room: bool,
        call: Option<&CallNow>,
    ) -> Result<Vec<(u32, String)>, ErrorCode> {
        let chat = match (&mut self.room, &mut self.call) {
            (Some((_, chat)), _) if in_room => chat,
            (_, Some((_, chat))) if call.is_some_and(talks) => chat,
            _ => return Err(ErrorCode::WrongState),
        };
        match chat.say(text) {
            Ok(frames) => Ok(frames.iter().filter_map(|(leg, frame)| Some((*leg, json(frame)?))).collect()),
            Err(ChatRefusal::Empty) => Ok(Vec::new()),
            Err(ChatRefusal::TooLong) => Err(ErrorCode::TooLarge),
            Err(ChatRefusal::TooMuchUndelivered) => Err(ErrorCode::RateLimited),
        }
    }

    /// Text reaches this far side: what is to be sent again.
    pub(crate) fn opened(&mut self, leg: u32) -> Vec<String> {
        self.chat(leg).map(|chat| chat.opened(leg)).unwrap_or_default().iter().filter_map(json).collect()
    }

    pub(crate) fn interrupted(&mut self, leg: u32) {
        if let Some(chat) = self.chat(leg) {
            chat.interrupted(leg);
        }
    }

    pub(crate) fn resumed(&mut self, leg: u32) -> Vec<String> {
        self.chat(leg).map(|chat| chat.resumed(leg)).unwrap_or_default().iter().filter_map(json).collect()
    }

    /// What came from this far side: the answer to be sent.
    pub(crate) fn received(&mut self, leg: u32, text: &str) -> Option<String> {
        let Ok(frame) = serde_json::from_str::<ChatFrame>(text) else {
            tracing::debug!(leg, bytes = text.len(), "a text that is no frame of ours");
            return None;
        };
        let of_call = leg == Leg::CALL.0;
        let (from, name) = if of_call { self.callee.clone() } else { self.members.get(&leg).cloned() }?;
        json(&self.chat(leg)?.received(leg, frame, &from, &name)?)
    }

    /// Lines for the record of the call, in parts that fit a frame, each line once for as long as both want them kept.
    pub(crate) fn lines_to_keep(&mut self, call: Option<&CallNow>) -> Vec<Vec<String>> {
        let (Some(call), Some((_, chat))) = (call, &mut self.call) else { return Vec::new() };
        if call.keep_chat != (KeepChat { you: true, peer: true }) {
            chat.take_all_again();
            return Vec::new();
        }
        if !talks(call) {
            return Vec::new();
        }
        let (mut parts, mut bytes): (Vec<Vec<String>>, usize) = (Vec::new(), 0);
        for line in chat.take_delivered() {
            let size = serde_json::to_string(&line).map_or(0, |json| json.len());
            match parts.last_mut() {
                Some(part) if bytes + size <= KEPT_AT_ONCE => {
                    part.push(line);
                    bytes += size;
                }
                Some(_) | None => {
                    parts.push(vec![line]);
                    bytes = size;
                }
            }
        }
        parts
    }

    pub(crate) fn of_call(&self) -> Vec<ChatNow> {
        self.call.as_ref().map(|(_, chat)| shown(chat)).unwrap_or_default()
    }

    pub(crate) fn of_room(&self) -> Vec<ChatNow> {
        self.room.as_ref().map(|(_, chat)| shown(chat)).unwrap_or_default()
    }

    pub(crate) fn reaches_callee(&self) -> bool {
        self.call.as_ref().is_some_and(|(_, chat)| chat.reaches(Leg::CALL.0))
    }

    pub(crate) fn reaches_member(&self, leg: u32) -> bool {
        self.room.as_ref().is_some_and(|(_, chat)| chat.reaches(leg))
    }

    fn chat(&mut self, leg: u32) -> Option<&mut Chat> {
        match leg == Leg::CALL.0 {
            true => self.call.as_mut().map(|(_, chat)| chat),
            false => self.room.as_mut().map(|(_, chat)| chat),
        }
    }
}

/// Whether there is somebody to be written to.
fn talks(call: &CallNow) -> bool {
    match call.state {
        State::Connecting | State::Connected | State::Reconnecting { .. } => true,
        State::Inviting | State::Ringing | State::Elsewhere | State::Ended { .. } => false,
    }
}

fn shown(chat: &Chat) -> Vec<ChatNow> {
    let now = |line: &chat::Line| ChatNow {
        from: line.from.clone(),
        name: line.name.clone(),
        text: line.text.clone(),
        delivered: line.delivered,
    };
    chat.lines().map(now).collect()
}

fn json(frame: &ChatFrame) -> Option<String> {
    serde_json::to_string(frame).ok()
}
