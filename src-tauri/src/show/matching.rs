//! The queue for the next partner, and the conversations that it makes.

use super::room::{code, leave};
use super::{Shown, bare, button, peer};
use crate::known::Partner;
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::{Departure, MemberSound, RoomNow, UnixMs};

impl Shown<'_> {
    /// Offered beside the bookings to whoever has signed in as themselves.
    pub(super) fn search_button(&self) -> Option<Action> {
        let search = button(Press::Search, Sentence::DoSearch {}).enabled(self.linked());
        self.known.whole_person.then_some(search)
    }

    pub(super) fn queue(&self, place: u32, since: UnixMs) -> View {
        let place = Sentence::QueuePlace { place };
        let stop = button(Press::StopSearching, Sentence::DoStopSearching {}).primary(Color::Plain);
        bare(Screen::Queue(Queue { place: place.clone(), since: since.0 }), Some(place), vec![stop])
    }

    /// A match; its room is none for the moment until it has been entered.
    pub(super) fn conversation(&self, room: Option<&RoomNow>) -> View {
        let other = room.and_then(|room| room.members.first());
        let known = self.known.partner.as_ref();
        let name = other.map(|other| other.name.as_str()).or(known.map(|partner| partner.name.as_str()));
        let peer = peer(name);
        let name = || peer.name.clone();
        let sound = other.map_or(MemberSound::Connecting, |other| other.sound);
        let line = match sound {
            MemberSound::Heard => None,
            MemberSound::Connecting => Some(Sentence::Matched { name: name() }),
            MemberSound::Lost => Some(Sentence::SoundLost { name: name() }),
        };
        let muted = room.is_some_and(|room| room.muted);
        let mute_line = match (muted, other.is_some_and(|other| other.muted)) {
            (true, true) if !self.known.talking => Some(Sentence::BothMuted { name: name() }),
            (false, true) if !self.known.talking => Some(Sentence::PeerMuted { name: name() }),
            (_, true | false) => self.own_mute_line(muted),
        };
        let announce = line.clone().or(self.text_came()).unwrap_or_else(|| Sentence::TalkWith { name: name() });
        let conversation = Conversation {
            elapsed_s: room.filter(|_| sound != MemberSound::Connecting).map(|room| self.elapsed_s(room)),
            line,
            mute_line,
            partner: known.map(menu),
            peer,
        };
        let next = button(Press::NextPerson, Sentence::DoNextPerson {}).enabled(self.linked());
        let actions = vec![self.text_button(), next, leave(), self.mute(muted).enabled(room.is_some())];
        let view = bare(Screen::Match(conversation), Some(announce), actions);
        View { sound: Some(self.sound()), text: room.map(|room| self.room_text(room)), ..view }
    }

    pub(super) fn parted(&self, room: &RoomNow, why: Departure) -> View {
        let known = self.known.partner.as_ref();
        let other = room.members.first().map(|other| other.name.as_str());
        let peer = peer(other.or(known.map(|partner| partner.name.as_str())));
        let name = peer.name.clone();
        let what = match why {
            _ if known.is_some_and(|partner| partner.blocked) => Sentence::PartedBlocked { name },
            _ if known.is_some_and(|partner| partner.skipped) => Sentence::PartedByYou { name },
            Departure::Left => Sentence::PartedByYou { name },
            Departure::PartnerLeft => Sentence::PartedLeft { name },
            Departure::Skipped => Sentence::PartedSkipped { name },
            Departure::Lost => Sentence::PartedLost { name },
            Departure::Replaced => Sentence::PartedReplaced {},
            // Nobody is removed from a match.
            Departure::Removed | Departure::Closed => Sentence::PartedClosed { name },
        };
        let back = button(Press::Back, Sentence::DoBack {});
        let find = button(Press::FindNext, Sentence::DoFindNext {}).primary(Color::Accent).enabled(self.linked());
        let parted = Parted { peer, what: what.clone(), code: code(why).to_owned(), partner: known.map(menu) };
        bare(Screen::MatchOver(parted), Some(what), vec![back, find])
    }
}

fn menu(partner: &Partner) -> PartnerMenu {
    let name = || peer(Some(&partner.name)).name;
    let complaints = [
        (Complaint::Abusive, Sentence::ComplaintAbusive {}),
        (Complaint::Unsafe, Sentence::ComplaintUnsafe {}),
        (Complaint::Spam, Sentence::ComplaintSpam {}),
        (Complaint::Other, Sentence::ComplaintOther {}),
    ];
    let block = Confirm {
        open: Sentence::BlockOpen { name: name() },
        what: Sentence::BlockWhat { name: name() },
        act: Sentence::DoBlock { name: name() },
    };
    PartnerMenu {
        block: (!partner.blocked).then_some(block),
        reported: partner.reported.then_some(Sentence::Reported {}),
        complaints: complaints.into_iter().map(|(complaint, text)| ComplaintChoice { complaint, text }).collect(),
    }
}
