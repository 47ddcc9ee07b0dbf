//! The screens of a room, and of its door.

use super::{Shown, bare, button, gone_by, peer, plain};
use crate::known::{Door as KnownDoor, RoomNews, live_room, seconds_down};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::{Departure, MemberNow, MemberSound, RoomNow};

impl Shown<'_> {
    /// At the door: being let in, turned away, or outside again.
    pub(super) fn door(&self, door: &KnownDoor) -> View {
        let (line, again) = match &door.refused {
            Some(why) => (why.clone(), Some(Sentence::DoTryAgain {})),
            None if door.left && self.snapshot.entering.is_none() => {
                (Sentence::RoomOverLeft {}, Some(Sentence::DoEnterAgain {}))
            }
            None => (Sentence::EnteringRoom {}, None),
        };
        let busy = again.is_none();
        let actions = match again {
            Some(label) => vec![turn_back(), self.enter(label)],
            None => vec![button(Press::TurnBack, Sentence::DoCancel {}).primary(Color::Plain)],
        };
        bare(Screen::Door(Door { line: line.clone(), busy }), Some(line), actions)
    }

    pub(super) fn room(&self, room: &RoomNow) -> View {
        let others = room.members.iter().map(|member| self.member(room, member));
        let door = match (room.locked, room.host) {
            (true, _) => Some(Sentence::RoomLocked {}),
            (false, true) => Some(Sentence::RoomUnlocked {}),
            (false, false) => None,
        };
        let topic = plain(&room.topic);
        let news = self.known.room_news.as_ref().map(|news| match news {
            RoomNews::Came(name) => Sentence::MemberCame { name: plain(name) },
            RoomNews::Went(name) => Sentence::MemberWent { name: plain(name) },
        });
        let announce = self.text_came().or(news).unwrap_or(Sentence::InRoom { topic: topic.clone() });
        let screen = Screen::Room(Room {
            topic,
            elapsed_s: self.elapsed_s(room),
            empty: room.members.is_empty().then_some(Sentence::RoomEmpty {}),
            members: std::iter::once(self.own_row(room)).chain(others).collect(),
            mute_line: self.own_mute_line(room.muted),
            door,
            locked: room.host.then_some(room.locked),
        });
        let view = bare(screen, Some(announce), vec![self.text_button(), leave(), self.mute(room.muted)]);
        View { sound: Some(self.sound()), text: Some(self.room_text(room)), ..view }
    }

    pub(super) fn room_over(&self, room: &RoomNow, why: Departure) -> View {
        let (reason, again) = match why {
            Departure::Left => (Sentence::RoomOverLeft {}, true),
            Departure::Removed => (Sentence::RoomOverRemoved {}, false),
            Departure::Lost => (Sentence::RoomOverLost {}, true),
            Departure::Replaced => (Sentence::RoomOverReplaced {}, true),
            // The last two end matches alone.
            Departure::Closed | Departure::PartnerLeft | Departure::Skipped => (Sentence::RoomOverClosed {}, false),
        };
        // The link of this sign-in leads here and nowhere else.
        let at_door = self.known.door.is_some();
        let done = if at_door { turn_back() } else { button(Press::Back, Sentence::DoDismiss {}) };
        let actions = if again && at_door {
            vec![done, self.enter(Sentence::DoEnterAgain {})]
        } else {
            vec![done.primary(Color::Accent)]
        };
        let over = RoomOver { topic: plain(&room.topic), reason: reason.clone(), code: code(why).to_owned() };
        bare(Screen::RoomOver(over), Some(reason), actions)
    }

    pub(super) fn elapsed_s(&self, room: &RoomNow) -> u32 {
        seconds_down(room.since_ms.saturating_add(gone_by(self.snapshot, self.now)))
    }

    /// Held to speak is still muted: the button stays as it will be when Space is let go.
    pub(super) fn mute(&self, muted: bool) -> Action {
        let mute = button(Press::Mute, Sentence::DoMute {}).primary(Color::Plain).enabled(true);
        Action { pressed: Some(muted || self.known.talking), ..mute }
    }

    pub(super) fn own_mute_line(&self, muted: bool) -> Option<Sentence> {
        match (self.known.talking, muted) {
            (true, _) => Some(Sentence::YouTalkWhileHeld {}),
            (false, true) => Some(Sentence::YouAreMuted {}),
            (false, false) => None,
        }
    }

    /// What accepting a call would end.
    pub(super) fn accepting_leaves(&self) -> Option<Sentence> {
        live_room(self.snapshot).map(|_| Sentence::AcceptLeavesRoom {})
    }

    fn enter(&self, label: Sentence) -> Action {
        button(Press::EnterRoom, label).primary(Color::Accent).enabled(self.linked())
    }

    fn own_row(&self, room: &RoomNow) -> Member {
        let name = self.snapshot.you.as_ref().map(|you| you.name.as_str());
        let host = room.host.then_some(Sentence::MemberHost {});
        let muted = room.muted.then_some(Sentence::MemberMuted {});
        Member {
            member: String::new(),
            own: true,
            peer: peer(name),
            tags: std::iter::once(Sentence::MemberYou {}).chain(host).chain(muted).collect(),
            speaking: room.speaking && !room.muted,
            remove: None,
        }
    }

    fn member(&self, room: &RoomNow, member: &MemberNow) -> Member {
        let peer = peer(Some(&member.name));
        let name = || peer.name.clone();
        let sound = match (member.sound, member.linked) {
            (MemberSound::Heard, _) => None,
            (MemberSound::Connecting | MemberSound::Lost, false) => Some(Sentence::MemberAway {}),
            (MemberSound::Connecting, true) => Some(Sentence::MemberConnecting {}),
            (MemberSound::Lost, true) => Some(Sentence::MemberNotHeard {}),
        };
        let host = member.host.then_some(Sentence::MemberHost {});
        let muted = member.muted.then_some(Sentence::MemberMuted {});
        let remove = (room.host && self.linked()).then(|| Confirm {
            open: Sentence::RemoveOpen { name: name() },
            what: Sentence::RemoveWhat { name: name() },
            act: Sentence::DoRemove { name: name() },
        });
        Member {
            member: member.member.to_string(),
            own: false,
            tags: sound.into_iter().chain(host).chain(muted).collect(),
            speaking: member.speaking && member.sound == MemberSound::Heard,
            remove,
            peer,
        }
    }
}

pub(super) fn leave() -> Action {
    button(Press::Leave, Sentence::DoLeave {}).colored(Color::Red)
}

fn turn_back() -> Action {
    button(Press::TurnBack, Sentence::DoDismiss {})
}

/// As it travels on the wire.
pub(super) fn code(why: Departure) -> &'static str {
    match why {
        Departure::Left => "left",
        Departure::Removed => "removed",
        Departure::Lost => "lost",
        Departure::Replaced => "replaced",
        Departure::PartnerLeft => "partner_left",
        Departure::Skipped => "skipped",
        Departure::Closed => "closed",
    }
}
