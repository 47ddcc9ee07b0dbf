//! The server of a simulated world: its store, its sessions, and the exchange between them.

use super::world::{Relays, World, id, phase_of};
use crate::BookedCall;
use crate::exchange::{Effect, Exchange, Who};
use bellwire_signaling::limits::{RESUME_MESSAGES, RESUME_SECONDS};
use bellwire_signaling::*;
use std::collections::{BTreeMap, VecDeque};

#[derive(Default)]
pub(super) struct Server {
    pub(super) exchange: Exchange,
    pub(super) down: bool,
    pub(super) store: BTreeMap<CallId, BookedCall>,
    attempts: BTreeMap<(BookingId, AttemptId), CallId>,
    pub(super) sessions: BTreeMap<u64, Session>,
    made: u128,
}

pub(super) struct Session {
    pub(super) who: Who,
    seq: u64,
    ring: VecDeque<(u64, Event)>,
    pub(super) lost_at: Option<u64>,
}

impl World {
    // The server.

    pub(super) fn greet(&mut self, device: usize) -> Result<(), String> {
        let (now, who) = (self.now, self.devices[device].who.clone());
        let resume = self.devices[device].session;
        let found = resume.and_then(|(session, seen)| {
            let kept = self.server.sessions.get(&session)?;
            let alive = kept.lost_at.is_none_or(|at| now - at < RESUME_SECONDS * 1_000);
            let whole = kept.ring.front().is_none_or(|(first, _)| *first <= seen + 1);
            (kept.who == who && alive && whole).then_some((session, seen))
        });
        let resumed = found.is_some();
        self.server.sessions.retain(|id, s| s.who != who || Some(*id) == found.map(|(id, _)| id));
        let (session, seen) = found.unwrap_or_else(|| {
            self.made += 1;
            let fresh = Session { who: who.clone(), seq: 0, ring: VecDeque::new(), lost_at: None };
            self.server.sessions.insert(self.made, fresh);
            (self.made, 0)
        });
        let welcome = ServerFrame::Welcome {
            session: SessionId::new(session.to_string()).map_err(|e| e.to_string())?,
            resumed,
            server_time: self.unix(),
            you: You { user: who.user.clone(), name: String::new() },
            limits: Limits { frame_bytes: 0, ping_seconds: 0, resume_seconds: 0 },
        };
        self.send(device, welcome);
        if let Some(kept) = self.server.sessions.get_mut(&session) {
            kept.lost_at = None;
            let missed: Vec<_> = kept.ring.iter().filter(|(seq, _)| *seq > seen).cloned().collect();
            for (seq, event) in missed {
                self.send(device, ServerFrame::Event { seq, event });
            }
        }
        let now = self.unix();
        // Some devices speak an older protocol; to the rules that must make no difference.
        let older = who.device.as_str().bytes().map(u32::from).sum::<u32>().is_multiple_of(3);
        self.server.exchange.link_up(&who, older, now);
        self.drain_server()
    }

    pub(super) fn serve(&mut self, device: usize, frame: ClientFrame) -> Result<(), String> {
        let ClientFrame::Command { id, command } = frame else { return Err("no command".into()) };
        let (who, now) = (self.devices[device].who.clone(), self.unix());
        self.ghost.said(device, &command);
        let result = match &command {
            Command::Bookings {} | Command::History { .. } => Ok(Reply::Done {}),
            Command::IceServers { purpose } => self.grant(&who, purpose),
            Command::Invite { booking, attempt } => {
                let stored = self.bookings.iter().find(|b| b.id == *booking).cloned();
                let key = (booking.clone(), attempt.clone());
                let known = self.server.attempts.get(&key).cloned();
                self.server.made += 1;
                let fresh = CallId::from_bits(self.server.made);
                match stored {
                    None => Err(ErrorCode::NotFound),
                    Some(stored) => {
                        let seen = self.server.exchange.invite(&who, &id, &stored, attempt, fresh, known, now);
                        self.ghost.invited(&seen);
                        seen
                    }
                }
            }
            _ => self.server.exchange.command(&who, &id, &command, now),
        };
        self.drain_server()?;
        let slow = matches!(command, Command::IceServers { .. }) && self.relays == Relays::Slow;
        let answer = match result {
            Ok(reply) => ServerFrame::Ack { id, reply },
            Err(code) => ServerFrame::Refused {
                id: Some(id),
                error: WireError { code, message: String::new(), retry_after_ms: None },
            },
        };
        if slow {
            self.send_late(device, answer);
        } else {
            self.send(device, answer);
        }
        Ok(())
    }

    /// What relays there are, for a party of a live call.
    fn grant(&mut self, who: &Who, purpose: &Purpose) -> Result<Reply, ErrorCode> {
        let Purpose::Call { call } = purpose else { return Err(ErrorCode::NotFound) };
        let stored = self.server.store.get(call).filter(|call| !call.is_ended());
        if stored.is_none_or(|call| call.side_of(&who.user).is_none()) {
            return Err(ErrorCode::NotFound);
        }
        let server = |url: &str| IceServer { urls: vec![url.to_owned()], username: None, credential: None };
        let lifetime_ms = 40_000;
        match self.relays {
            Relays::None => Ok(Reply::IceServers { servers: Vec::new(), lifetime_ms }),
            Relays::Granted | Relays::Slow => {
                Ok(Reply::IceServers { servers: vec![server("turn:relay:3478?transport=udp")], lifetime_ms })
            }
            Relays::Refused => Err(ErrorCode::Unavailable),
        }
    }

    pub(super) fn drain_server(&mut self) -> Result<(), String> {
        while let Some(effect) = self.server.exchange.poll_effect() {
            match effect {
                Effect::Save(call) => {
                    let now = self.unix();
                    self.ghost.saved(&call, &self.server.store, &self.bookings, &self.sound, &self.devices, now)?;
                    self.note(|w| format!("{:>7} server {}", w.now, phase_of(&call)));
                    self.server.attempts.insert((call.booking().clone(), call.attempt().clone()), call.id().clone());
                    self.server.store.insert(call.id().clone(), *call);
                }
                Effect::Deliver { to, event } => {
                    self.ghost.delivered(&to, &event, &self.server.store)?;
                    self.deliver(&to, event);
                }
                Effect::PresenceChanged(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, to: &Who, event: Event) {
        let Some((_, session)) = self.server.sessions.iter_mut().find(|(_, s)| s.who == *to) else { return };
        session.seq += 1;
        session.ring.push_back((session.seq, event.clone()));
        if session.ring.len() > RESUME_MESSAGES {
            session.ring.pop_front();
        }
        let (seq, live) = (session.seq, session.lost_at.is_none());
        if let Some(device) = self.devices.iter().position(|d| d.who == *to)
            && live
        {
            self.send(device, ServerFrame::Event { seq, event });
        }
    }

    pub(super) fn try_stranger(&mut self, command: Command) -> Result<(), String> {
        if self.server.down {
            return Ok(());
        }
        let who = Who { user: id("mallory"), device: id("mallory-1") };
        self.made += 1;
        let (command_id, now) = (CommandId::from_bits(u128::MAX - u128::from(self.made)), self.unix());
        let result = match &command {
            Command::Invite { booking, attempt } => {
                let Some(stored) = self.bookings.iter().find(|b| b.id == *booking).cloned() else { return Ok(()) };
                let fresh = CallId::from_bits(u128::from(self.made));
                self.server.exchange.invite(&who, &command_id, &stored, attempt, fresh, None, now)
            }
            other => self.server.exchange.command(&who, &command_id, other, now),
        };
        if result != Err(ErrorCode::NotFound) {
            return Err(format!("rule 2: a stranger's {command:?} was answered {result:?}"));
        }
        self.drain_server()
    }
}
