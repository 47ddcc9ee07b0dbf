//! Text beside the voice: the panel in a call and a room, and what a call's record kept of it.

use super::{Shown, button, gone_by, peer};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::signaling::limits::CHAT_TEXT;
use bellwire_client::{CallRecord, ChatNow, CurrentCall, KeepChat, MemberNow, MemberSound, RoomNow, State};

/// A connection's text channel opens within a round trip or two of its sound.
const CHANNEL_OPENS_MS: u64 = 5_000;
/// No character takes more bytes for each unit that an input counts.
const BYTES_A_UNIT: usize = 3;

impl Shown<'_> {
    pub(super) fn text_button(&self) -> Action {
        let text = button(Press::Text, Sentence::DoText { unread: self.known.text.unread });
        Action { pressed: Some(self.known.text.open), ..text }
    }

    pub(super) fn call_text(&self, call: &CurrentCall, peer: &Peer) -> TextPanel {
        let name = || peer.name.clone();
        let connected_ms = call.connected_ms.unwrap_or(0).saturating_add(gone_by(self.snapshot, self.now));
        let connecting = call.state != State::Connected || connected_ms < CHANNEL_OPENS_MS;
        let problem = match (call.chat_open, connecting) {
            (true, _) => None,
            (false, true) => Some(Sentence::TextConnecting {}),
            (false, false) => Some(Sentence::TextNoChannel { name: name() }),
        };
        let KeepChat { you, peer: other } = call.keep_chat;
        let line = match (you, other) {
            (false, false) => Sentence::KeepNeither { name: name() },
            (true, false) => Sentence::KeepYours { name: name() },
            (false, true) => Sentence::KeepTheirs { name: name() },
            (true, true) => Sentence::KeepBoth {},
        };
        let keep = call.chat_open || connecting || !call.chat.is_empty();
        let keep = keep.then_some(KeepText { on: you, line });
        TextPanel { keep, ..self.panel(&call.chat, call.chat_open || connecting, problem) }
    }

    pub(super) fn room_text(&self, room: &RoomNow) -> TextPanel {
        let reads = room.members.iter().any(|member| member.can_read);
        let comes = room.members.iter().any(|member| member.sound != MemberSound::Heard);
        let deaf = |member: &&MemberNow| !member.can_read && member.sound == MemberSound::Heard;
        let unread: Vec<&MemberNow> = room.members.iter().filter(deaf).collect();
        let problem = match unread.split_first() {
            None if room.members.is_empty() => Some(Sentence::TextNobodyHere {}),
            None if !reads => Some(Sentence::TextConnecting {}),
            None => None,
            Some((first, others)) => Some(Sentence::TextUnread {
                name: peer(Some(&first.name)).name,
                others: u32::try_from(others.len()).unwrap_or(u32::MAX),
            }),
        };
        self.panel(&room.chat, reads || comes, problem)
    }

    /// New text that nobody has seen yet.
    pub(super) fn text_came(&self) -> Option<Sentence> {
        if self.known.text.unread == 0 {
            return None;
        }
        let room = self.known.live_room().map(|room| &room.chat);
        let chat = self.live_call().map(|call| &call.chat).or(room)?;
        let newest = chat.iter().rev().find(|line| line.from.is_some())?;
        Some(Sentence::TextCame { name: peer(Some(&newest.name)).name })
    }

    fn panel(&self, chat: &[ChatNow], can_write: bool, problem: Option<Sentence>) -> TextPanel {
        let first = self.known.text.forgotten;
        TextPanel {
            open: self.known.text.open,
            lines: (first..).zip(chat).map(|(number, now)| line(number, now)).collect(),
            empty: (chat.is_empty() && problem.is_none()).then_some(Sentence::TextEmpty {}),
            can_write,
            problem,
            longest: u32::try_from(CHAT_TEXT / BYTES_A_UNIT).unwrap_or(u32::MAX),
            keep: None,
        }
    }
}

fn line(number: u32, now: &ChatNow) -> TextLine {
    let own = now.from.is_none();
    let state = if now.delivered { Sentence::TextDelivered {} } else { Sentence::TextUndelivered {} };
    TextLine {
        number,
        own,
        who: if own { Sentence::TextByYou {} } else { Sentence::TextBy { name: peer(Some(&now.name)).name } },
        text: written(&now.text),
        state: own.then_some(state),
    }
}

/// What a call's record kept.
pub(super) fn kept(record: &CallRecord) -> Vec<TextLine> {
    let line = |(number, line): (u32, &bellwire_client::ChatLine)| {
        let own = line.by == record.you;
        let name = peer(Some(&record.peer.name)).name;
        let who = if own { Sentence::TextByYou {} } else { Sentence::TextBy { name } };
        TextLine { number, own, who, text: written(&line.text), state: None }
    };
    (0..).zip(&record.chat).map(line).collect()
}

/// A line as it was written, without control characters; the page keeps its writing direction to itself.
fn written(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
