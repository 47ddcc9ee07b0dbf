//! What is kept of rooms and matches: planned rooms, blocks, reports; and, for an hour, the sessions of matches.

use super::{Answer, StoreError};
use bellwire_signaling::{Complaint, RoomId, UnixMs, UserId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// Most reports in one answer.
pub const REPORTS_PAGE: u32 = 500;
/// The life of a match's record, from its start.
pub const SESSION_MS: u64 = 60 * 60_000;

/// A room that the operator made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRoom {
    pub id: RoomId,
    pub topic: String,
    pub people: Vec<KeptGuest>,
    pub closes_at: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptGuest {
    pub user: UserId,
    pub name: String,
    pub host: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReport {
    /// Who complained, and of whom.
    pub person: UserId,
    pub other: UserId,
    pub complaint: Complaint,
    pub made_at: UnixMs,
}

pub trait Company: Send + Sync {
    /// Stores the room as it now is.
    fn put_room<'a>(&'a self, room: &'a KeptRoom) -> Answer<'a, ()>;
    fn room<'a>(&'a self, id: &'a RoomId) -> Answer<'a, Option<KeptRoom>>;
    /// Rooms that close after `now`; those that closed before are forgotten.
    fn open_rooms(&self, now: UnixMs) -> Answer<'_, Vec<KeptRoom>>;
    /// Whether there was one.
    fn drop_room<'a>(&'a self, id: &'a RoomId) -> Answer<'a, bool>;
    /// A repeat changes nothing.
    fn add_block<'a>(&'a self, person: &'a UserId, other: &'a UserId, now: UnixMs) -> Answer<'a, ()>;
    fn blocks(&self) -> Answer<'_, Vec<(UserId, UserId)>>;
    fn add_report<'a>(&'a self, report: &'a KeptReport) -> Answer<'a, ()>;
    /// The newest first.
    fn reports(&self, limit: u32) -> Answer<'_, Vec<KeptReport>>;
}

/// The record of one match while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchSession {
    /// Names the session to both, and is the room's id.
    pub id: RoomId,
    pub first: UserId,
    pub second: UserId,
    pub started_at: UnixMs,
}

/// What many servers would have to share, and a restart may forget.
pub trait LiveState: Send + Sync {
    /// Adds the session to the active ones; its record lives [`SESSION_MS`] from `now`.
    fn open_session(&self, session: &MatchSession, now: UnixMs) -> Result<(), StoreError>;
    /// Takes it from the active ones; the record lives on until its time.
    fn end_session(&self, id: &RoomId) -> Result<(), StoreError>;
    /// The record, unless its time is over.
    fn session(&self, id: &RoomId, now: UnixMs) -> Result<Option<MatchSession>, StoreError>;
    fn active_sessions(&self) -> Result<Vec<RoomId>, StoreError>;
}

/// The live state of a server that is alone.
#[derive(Default)]
pub struct InProcess(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    records: HashMap<RoomId, MatchSession>,
    by_age: BTreeSet<(UnixMs, RoomId)>,
    active: BTreeSet<RoomId>,
}

impl InProcess {
    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveState for InProcess {
    fn open_session(&self, session: &MatchSession, now: UnixMs) -> Result<(), StoreError> {
        let mut sessions = self.sessions();
        while let Some((at, _)) = sessions.by_age.first()
            && now.since(*at) >= SESSION_MS
            && let Some((_, id)) = sessions.by_age.pop_first()
        {
            sessions.records.remove(&id);
        }
        sessions.by_age.insert((now, session.id.clone()));
        sessions.active.insert(session.id.clone());
        sessions.records.insert(session.id.clone(), session.clone());
        Ok(())
    }

    fn end_session(&self, id: &RoomId) -> Result<(), StoreError> {
        self.sessions().active.remove(id);
        Ok(())
    }

    fn session(&self, id: &RoomId, now: UnixMs) -> Result<Option<MatchSession>, StoreError> {
        let found = self.sessions().records.get(id).cloned();
        Ok(found.filter(|session| now.since(session.started_at) < SESSION_MS))
    }

    fn active_sessions(&self) -> Result<Vec<RoomId>, StoreError> {
        Ok(self.sessions().active.iter().cloned().collect())
    }
}

pub fn complaint_name(complaint: Complaint) -> &'static str {
    match complaint {
        Complaint::Abusive => "abusive",
        Complaint::Unsafe => "unsafe",
        Complaint::Spam => "spam",
        Complaint::Other => "other",
    }
}

pub(super) fn complaint_of(name: &str) -> Option<Complaint> {
    [Complaint::Abusive, Complaint::Unsafe, Complaint::Spam, Complaint::Other]
        .into_iter()
        .find(|complaint| complaint_name(*complaint) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_is_active_until_its_end_and_its_record_lives_an_hour() {
        let live = InProcess::default();
        let session = |n: u128, started_at| MatchSession {
            id: RoomId::from_bits(n),
            first: UserId::from_bits(1),
            second: UserId::from_bits(2),
            started_at,
        };
        let (one, other) = (session(1, UnixMs(1_000)), session(2, UnixMs(2_000)));
        for session in [&one, &other] {
            live.open_session(session, session.started_at).expect("kept");
        }
        assert_eq!(live.active_sessions().expect("known").len(), 2);
        live.end_session(&one.id).expect("ended");
        live.end_session(&one.id).expect("a repeat changes nothing");
        assert_eq!(live.active_sessions().expect("known"), std::slice::from_ref(&other.id));
        let hour = 60 * 60_000;
        let record = |at| live.session(&one.id, UnixMs(at)).expect("known");
        assert_eq!(record(1_000 + hour - 1), Some(one.clone()), "it outlives its match");
        assert_eq!(record(1_000 + hour), None);
        let late = session(3, UnixMs(1_500 + hour));
        live.open_session(&late, late.started_at).expect("kept");
        assert_eq!(record(1_000), None, "what is over is forgotten");
        assert_eq!(live.session(&other.id, UnixMs(2_000)).expect("known"), Some(other));
    }
}
