//! The switchboard's sessions: signing in and on, losing sockets, expiry.

use super::SignIn;
use super::desk::{Desk, Tie};
use crate::auth::{LEEWAY_SECONDS, Scope};
use crate::clock;
use crate::closing::{Closing, close, refusal_until};
use crate::session::{Outgoing, Session, frame};
use bellwire_call::{Booking, Who};
use bellwire_signaling::limits::{FRAME, PING_SECONDS, RESUME_SECONDS};
use bellwire_signaling::{BookingId, ErrorCode, Limits, ServerFrame, SessionId, UnixMs, UserId, You};
use rand::RngExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::{debug, error};

/// Sockets that are closed because the server stops come back within this, spread out.
const COME_BACK_MS: std::ops::Range<u64> = 500..5_000;

impl Desk {
    /// Gives the session, resumed or new, this socket, and welcomes it.
    pub(super) fn attach(&mut self, sign_in: SignIn, now: UnixMs) {
        let SignIn { who, name, scope, expires_at, resume, line, .. } = sign_in;
        let old = self.sessions.remove(&who);
        let missed = match (&old, &resume) {
            (Some(old), Some(resume)) => old.resume(resume, &scope, now),
            (Some(_) | None, _) => None,
        };
        let resumed = missed.is_some();
        let mut session = match old {
            Some(mut old) => {
                if let Some(line) = old.line.take() {
                    let closing = Closing::new(close::REPLACED, ErrorCode::Replaced);
                    line.out.try_send(Outgoing::Close(closing)).ok();
                }
                if resumed { old } else { fresh_session(scope, expires_at, now) }
            }
            None => fresh_session(scope, expires_at, now),
        };
        session.expires_at = expires_at;
        session.line = Some(line);
        let welcome = ServerFrame::Welcome {
            session: session.id.clone(),
            resumed,
            server_time: now,
            you: You { user: who.user.clone(), name },
            limits: Limits {
                frame_bytes: FRAME as u32,
                ping_seconds: PING_SECONDS as u16,
                resume_seconds: RESUME_SECONDS as u16,
            },
        };
        metrics::counter!("bellwire_sign_ins_total", "resumed" => if resumed { "yes" } else { "no" }).increment(1);
        debug!(user = %who.user, device = %who.device, resumed, "signed in");
        self.people.entry(who.user.clone()).or_default().devices.insert(who.device.clone());
        self.sessions.insert(who.clone(), session);
        self.send(&who, &welcome);
        for frame in missed.unwrap_or_default() {
            self.send_text(&who, frame);
        }
    }

    /// The socket of this number is gone.
    pub(super) fn lost(&mut self, who: &Who, number: u64, now: UnixMs) {
        if let Some(session) = self.sessions.get_mut(who).filter(|session| session.is_on(number)) {
            session.line = None;
            session.lost_at = now;
            self.exchange.link_down(who, now);
        }
    }

    pub(super) fn send(&mut self, who: &Who, message: &ServerFrame) {
        match frame(message) {
            Ok(text) => self.send_text(who, text),
            Err(e) => error!(error = %e, "a frame could not be written"),
        }
    }

    /// To the session's socket, if it has one. A socket that does not keep up is given up.
    pub(super) fn send_text(&mut self, who: &Who, text: Utf8Bytes) {
        let Some(session) = self.sessions.get_mut(who) else { return };
        let Some(line) = &session.line else { return };
        match line.out.try_send(Outgoing::Frame(text)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                metrics::counter!("bellwire_sockets_too_slow_total").increment(1);
                self.overflow(who);
            }
            // The socket has ended; its word of it is under way.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Dropping the line tells the socket to close.
    fn overflow(&mut self, who: &Who) {
        let now = clock::now();
        if let Some(number) = self.sessions.get(who).and_then(|s| s.line.as_ref()).map(|line| line.number) {
            debug!(user = %who.user, device = %who.device, "a socket does not keep up");
            self.lost(who, number, now);
        }
    }

    /// Forgets sessions that cannot be resumed any more, closes those whose token has expired, tries the spool.
    pub(super) async fn sweep(&mut self) {
        let now = clock::now();
        let over: Vec<Who> =
            self.sessions.iter().filter(|(_, session)| session.is_over(now)).map(|(who, _)| who.clone()).collect();
        for who in over {
            self.sessions.remove(&who);
            if let Some(person) = self.people.get_mut(&who.user) {
                person.devices.remove(&who.device);
                if person.devices.is_empty() {
                    self.people.remove(&who.user);
                }
            }
        }
        let good_until = now.minus(LEEWAY_SECONDS * 1_000);
        for (who, session) in &mut self.sessions {
            if session.expires_at < good_until
                && !self.exchange.has_live_call(&who.user)
                && let Some(line) = &session.line
            {
                let closing = Closing::new(close::TOKEN_EXPIRED, ErrorCode::TokenExpired);
                line.out.try_send(Outgoing::Close(closing)).ok();
            }
        }
        self.ready.forget_closed(now);
        metrics::gauge!("bellwire_calls_live").set(self.exchange.live_calls() as f64);
        metrics::gauge!("bellwire_sessions").set(self.sessions.len() as f64);
        self.retry_spool().await;
    }

    pub(super) fn close_all(&mut self) {
        for session in self.sessions.values_mut() {
            if let Some(line) = session.line.take() {
                let error = refusal_until(ErrorCode::Unavailable, rand::rng().random_range(COME_BACK_MS));
                line.out.try_send(Outgoing::Close(Closing { code: close::RESTART, error })).ok();
            }
        }
    }

    pub(super) fn note_ties(&mut self, user: &UserId, bookings: &[Booking]) {
        let ties = bookings.iter().filter_map(|booking| {
            let peer = booking.person(booking.role_of(user)?.other()).user.clone();
            Some(Tie { booking: booking.id.clone(), peer, closes_at: booking.closes_at() })
        });
        self.people.entry(user.clone()).or_default().ties = ties.collect();
    }

    pub(super) fn devices_of(&self, user: &UserId) -> Vec<Who> {
        let devices = self.people.get(user).into_iter().flat_map(|person| &person.devices);
        devices.map(|device| Who { user: user.clone(), device: device.clone() }).collect()
    }

    /// Whether a device of this person is linked that may know of this booking.
    pub(super) fn is_reachable(&self, user: &UserId, booking: &BookingId) -> bool {
        self.devices_of(user)
            .iter()
            .filter_map(|who| self.sessions.get(who))
            .any(|session| session.line.is_some() && session.scope.admits_booking(booking))
    }
}

fn fresh_session(scope: Scope, expires_at: UnixMs, now: UnixMs) -> Session {
    let text = format!("s{:032x}", rand::random::<u128>());
    // invariant: a letter and 32 hexadecimal digits are always a session's id.
    let id = SessionId::try_from(text).unwrap_or_else(|_| unreachable!("a session's id is printable"));
    Session::new(id, scope, expires_at, now)
}
