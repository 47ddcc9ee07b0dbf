//! Rooms, the queue for the next partner, and text beside the voice: the values of theirs that travel.
//!
//! A room is a meeting of up to [`limits::ROOM_MEMBERS`](crate::limits::ROOM_MEMBERS) people, each connected with each. A
//! match is a room of two that the queue opened. Text goes from app to app over the data channel of a connection, as
//! [`ChatFrame`]s; the server sees none of it unless both parties of a call agreed to keep it.

use crate::{Handle, RoomId, Side, UnixMs};
use serde::{Deserialize, Serialize};

/// All that a device may know of the room it is in. Versions only grow; an older one is thrown away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomView {
    pub room: RoomId,
    pub version: u32,
    pub topic: String,
    /// How the others know this device, in this room alone.
    pub you: Handle,
    /// This person may lock the room and remove members.
    pub host: bool,
    /// Nobody else may enter.
    pub locked: bool,
    /// The others, in the order in which they entered.
    pub members: Vec<RoomMember>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomMember {
    pub member: Handle,
    pub name: String,
    pub host: bool,
    pub muted: bool,
    /// Their app has its link to the server now. Sound needs none.
    pub linked: bool,
    /// The connection between this member and this device: made as soon as it is seen here.
    pub generation: u32,
    /// This device makes the offer of that connection.
    pub offers: bool,
}

/// Why somebody is in a room no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    Left,
    /// A host removed them; they cannot enter again.
    Removed,
    /// Their app lost its link and did not come back in time.
    Lost,
    /// The same person entered from another device or window.
    Replaced,
    /// The partner of a match left it.
    PartnerLeft,
    /// One of a match went on to the next partner.
    Skipped,
    /// The room's time is over.
    Closed,
}

/// Where this person stands in the queue for the next partner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SearchView {
    Idle {},
    /// `place` counts from 1.
    Waiting {
        place: u32,
        since: UnixMs,
    },
    /// The room of the two has been entered already.
    Matched {
        room: RoomId,
        partner: Handle,
        name: String,
        since: UnixMs,
    },
}

/// What a person reports of a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Complaint {
    Abusive,
    Unsafe,
    Spam,
    Other,
}

/// A line of text that both parties of a call agreed to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatLine {
    pub by: Side,
    pub at: UnixMs,
    pub text: String,
}

/// Who of the two wants the text of this call kept in its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepChat {
    pub you: bool,
    pub peer: bool,
}

/// What travels on the data channel labelled [`CHAT_CHANNEL`](crate::CHAT_CHANNEL): JSON text, ordered and reliable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChatFrame {
    /// `id` counts from 1 for each sender and connection partner; a repeat is shown once.
    Text { id: u32, text: String },
    /// The text of that id is on the other's screen.
    Delivered { id: u32 },
}
