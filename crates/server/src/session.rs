//! A session: what one signed-in device has been told, so that it can lose its socket and go on.

use crate::auth::Scope;
use crate::closing::Closing;
use bellwire_signaling::limits::{RESUME_MESSAGES, RESUME_SECONDS};
use bellwire_signaling::{Event, Resume, ServerFrame, SessionId, UnixMs};
use std::collections::VecDeque;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Frames that wait for a socket to be written. A socket that lets more pile up is closed; its session keeps the events.
pub const OUT_QUEUE: usize = 256;
/// Bytes of events kept for a resume. When there are more, the oldest go, and a resume that needs them is none.
const RESUME_BYTES: usize = 256 * 1024;

/// What a socket is to do.
#[derive(Debug)]
pub enum Outgoing {
    Frame(Utf8Bytes),
    /// Say why and close.
    Close(Closing),
}

/// The way to one socket.
#[derive(Debug)]
pub struct Line {
    pub number: u64,
    pub out: mpsc::Sender<Outgoing>,
}

#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub line: Option<Line>,
    /// Since when it has no socket.
    pub lost_at: UnixMs,
    /// What its token is good for.
    pub scope: Scope,
    pub expires_at: UnixMs,
    seq: u64,
    kept: VecDeque<(u64, Utf8Bytes)>,
    kept_bytes: usize,
}

impl Session {
    pub fn new(id: SessionId, scope: Scope, expires_at: UnixMs, now: UnixMs) -> Self {
        Self { id, line: None, lost_at: now, scope, expires_at, seq: 0, kept: VecDeque::new(), kept_bytes: 0 }
    }

    /// Numbers the event, keeps it, and gives the frame to send.
    pub fn event(&mut self, event: Event) -> Result<Utf8Bytes, serde_json::Error> {
        let seq = self.seq + 1;
        let frame = frame(&ServerFrame::Event { seq, event })?;
        self.seq = seq;
        self.kept_bytes += frame.len();
        self.kept.push_back((seq, frame.clone()));
        while self.kept.len() > RESUME_MESSAGES || self.kept_bytes > RESUME_BYTES {
            let Some((_, oldest)) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.len();
        }
        Ok(frame)
    }

    /// The frames that this client missed; none if the session cannot go on for it.
    pub fn resume(&self, resume: &Resume, scope: &Scope, now: UnixMs) -> Option<Vec<Utf8Bytes>> {
        let same = bool::from(self.id.reveal().as_bytes().ct_eq(resume.session.reveal().as_bytes()));
        let complete = resume.seen <= self.seq && self.seq - resume.seen <= self.kept.len() as u64;
        if !same || self.scope != *scope || self.is_over(now) || !complete {
            return None;
        }
        Some(self.kept.iter().filter(|(seq, _)| *seq > resume.seen).map(|(_, frame)| frame.clone()).collect())
    }

    pub fn is_over(&self, now: UnixMs) -> bool {
        self.line.is_none() && now.since(self.lost_at) > RESUME_SECONDS * 1_000
    }

    /// Whether this is the socket that the session has now.
    pub fn is_on(&self, number: u64) -> bool {
        self.line.as_ref().is_some_and(|line| line.number == number)
    }
}

pub fn frame(frame: &ServerFrame) -> Result<Utf8Bytes, serde_json::Error> {
    serde_json::to_string(frame).map(Utf8Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_signaling::{BookingId, Presence};

    fn session() -> Session {
        Session::new(SessionId::new("s1").expect("an id"), Scope::Person, UnixMs(u64::MAX), UnixMs(0))
    }

    fn presence() -> Event {
        Event::Presence { booking: BookingId::new("b1").expect("an id"), presence: Presence::Online {} }
    }

    fn resume(session: &str, seen: u64) -> Resume {
        Resume { session: SessionId::new(session).expect("an id"), seen }
    }

    #[test]
    fn resume_gives_exactly_what_was_missed() {
        let mut session = session();
        for _ in 0..5 {
            session.event(presence()).expect("a frame");
        }
        let check = |name: &str, seen, expected: Option<usize>| {
            let missed = session.resume(&resume(name, seen), &Scope::Person, UnixMs(1)).map(|frames| frames.len());
            assert_eq!(missed, expected, "{name} {seen}");
        };
        check("s1", 0, Some(5));
        check("s1", 3, Some(2));
        check("s1", 5, Some(0));
        check("s1", 6, None);
        check("s2", 3, None);
    }

    #[test]
    fn resume_needs_all_that_was_missed_and_comes_in_time() {
        let mut session = session();
        for _ in 0..RESUME_MESSAGES + 1 {
            session.event(presence()).expect("a frame");
        }
        assert!(session.resume(&resume("s1", 0), &Scope::Person, UnixMs(1)).is_none());
        assert_eq!(session.resume(&resume("s1", 1), &Scope::Person, UnixMs(1)).map(|f| f.len()), Some(RESUME_MESSAGES));
        assert!(session.resume(&resume("s1", 1), &Scope::Person, UnixMs(RESUME_SECONDS * 1_000 + 1)).is_none());
        let other = Scope::Booking(BookingId::new("b2").expect("an id"));
        assert!(session.resume(&resume("s1", 1), &other, UnixMs(1)).is_none());
    }
}
