//! What the lobby tells a link, and in whose words: each kind of app has a [`Voice`] of its own.

use bellwire_call::matching::PartedWhy;
use bellwire_call::rooms::{Member, RoomEffect, Rooms};
use bellwire_signaling::{Candidate, DescriptionKind, Handle, RoomId, Sdp, SearchView, UnixMs};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Says things to one link in the words of its app. Called with the lobby's lock held: it must neither wait nor ask the
/// lobby for anything.
pub trait Voice: Send + Sync {
    /// Which system the app is of.
    fn system(&self) -> System;
    /// Something is new for this link in a room; `rooms` says what is so now.
    fn room(&self, rooms: &Rooms, effect: &RoomEffect);
    fn signal(&self, signal: &Signal<'_>);
    fn queue(&self, news: &QueueNews<'_>);
    /// A line of a room's chat, in the words of the channel relay; apps of the other systems have no such thing.
    fn chat(&self, _: &str) {}
    /// The partner's app says that its connection is poor.
    fn partner_is_poor(&self) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Native,
    MatchRelay,
    RandomChat,
    Channels,
    Rooms,
}

/// A signal on its way from one member of a room to another.
pub struct Signal<'a> {
    pub room: &'a RoomId,
    pub from: &'a Member,
    pub generation: u32,
    pub body: Body<'a>,
}

/// What is signalled: as an older app wrote it, or typed and checked.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    Raw {
        what: What,
        /// The description or candidate itself.
        value: &'a RawValue,
        /// The whole message it came in; apps of the same system get what this one sent, where that is their habit.
        message: &'a RawValue,
        /// Fields of the message that go along to apps which know them.
        beside: &'a [(&'static str, &'a RawValue)],
    },
    Description {
        kind: DescriptionKind,
        sdp: &'a Sdp,
    },
    Candidates {
        candidates: &'a [Candidate],
        done: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Offer,
    Answer,
    Candidate,
}

/// How a person introduces themselves to a partner. What is missing is not told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub name: Option<String>,
    pub age: Option<u16>,
    pub place: Option<String>,
    pub picture: Option<String>,
}

/// What is new for a link that searches or is matched.
pub enum QueueNews<'a> {
    Idle,
    Waiting {
        place: u32,
        since: UnixMs,
    },
    Matched {
        room: &'a RoomId,
        /// The partner: their handle, card, and the id by which the match's record names them.
        partner: &'a Handle,
        card: &'a Card,
        /// This link makes the offer.
        offers: bool,
        since: UnixMs,
    },
    Parted {
        room: &'a RoomId,
        why: PartedWhy,
    },
}

impl QueueNews<'_> {
    /// The same, as the native protocol has it.
    pub fn view(&self) -> SearchView {
        match self {
            Self::Idle | Self::Parted { .. } => SearchView::Idle {},
            Self::Waiting { place, since } => SearchView::Waiting { place: *place, since: *since },
            Self::Matched { room, partner, card, since, .. } => SearchView::Matched {
                room: (*room).clone(),
                partner: (*partner).clone(),
                name: card.name.clone().unwrap_or_default(),
                since: *since,
            },
        }
    }
}
