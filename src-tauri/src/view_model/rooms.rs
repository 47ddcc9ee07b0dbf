//! What the page shows of rooms, of the queue for the next partner, and of text beside the voice.

use super::Peer;
use crate::sentence::Sentence;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// In the queue for the next partner.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Queue {
    pub place: Sentence,
    pub since: u64,
}

/// In a conversation that the queue made.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Conversation {
    pub peer: Peer,
    /// Nothing before the other one is heard.
    pub elapsed_s: Option<u32>,
    /// What to know about the sound, while the other one is not heard.
    pub line: Option<Sentence>,
    pub mute_line: Option<Sentence>,
    /// Blocking and reporting; not before it is known who the other one is.
    pub partner: Option<PartnerMenu>,
}

/// A conversation of the queue that is over.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Parted {
    pub peer: Peer,
    pub what: Sentence,
    /// Why, as the server says it.
    pub code: String,
    pub partner: Option<PartnerMenu>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct PartnerMenu {
    pub block: Option<Confirm>,
    /// Instead of the complaints.
    pub reported: Option<Sentence>,
    pub complaints: Vec<ComplaintChoice>,
}

/// Something that is asked for once more, in place: what it does, and the button that does it.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Confirm {
    pub open: Sentence,
    pub what: Sentence,
    pub act: Sentence,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct ComplaintChoice {
    pub complaint: Complaint,
    pub text: Sentence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Complaint {
    Abusive,
    Unsafe,
    Spam,
    Other,
}

/// At the door of a room: being let in, or turned away.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Door {
    pub line: Sentence,
    /// The server has not answered yet.
    pub busy: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Room {
    pub topic: String,
    pub elapsed_s: u32,
    /// Instead of other members.
    pub empty: Option<Sentence>,
    /// This person first, then the others in the order in which they came.
    pub members: Vec<Member>,
    pub mute_line: Option<Sentence>,
    /// Who may enter, where that is worth saying.
    pub door: Option<Sentence>,
    /// Hosts only: the room can be locked (`false`) or unlocked (`true`).
    pub locked: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Member {
    /// Their handle in this room; empty for this person.
    pub member: String,
    pub own: bool,
    pub peer: Peer,
    /// What to know about them, most important first.
    pub tags: Vec<Sentence>,
    pub speaking: bool,
    /// Hosts can take them out of the room.
    pub remove: Option<Confirm>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct RoomOver {
    pub topic: String,
    pub reason: Sentence,
    /// Why, as the server says it.
    pub code: String,
}

/// Text beside the voice.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct TextPanel {
    pub open: bool,
    pub lines: Vec<TextLine>,
    /// Instead of lines.
    pub empty: Option<Sentence>,
    pub can_write: bool,
    /// Who cannot read, or why nothing can be written.
    pub problem: Option<Sentence>,
    /// Characters of one line.
    pub longest: u32,
    /// In a call: whether its record keeps the text.
    pub keep: Option<KeepText>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct TextLine {
    /// Grows with each line; those that were forgotten keep theirs.
    pub number: u32,
    pub own: bool,
    pub who: Sentence,
    pub text: String,
    /// Of one's own lines: whether it has been delivered.
    pub state: Option<Sentence>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct KeepText {
    pub on: bool,
    pub line: Sentence,
}
