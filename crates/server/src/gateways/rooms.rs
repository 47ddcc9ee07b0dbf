//! Multi-peer rooms: the `webrtc:*` events of `/`.
//!
//! A room is opened by the first who joins it. Signals go to one participant, candidates also to all; both ends have to be
//! in the room. Beyond the old system, the first in the room may lock it and remove participants.

use super::json::{Object, iso_now};
use super::{Kind, RootSocket, first, is_for_all};
use crate::app::App;
use crate::lobby::{Body, Card, Person, QueueNews, Signal, System, Voice, What};
use crate::sio::{Incoming, Socket};
use bellwire_call::rooms::{Habit, LinkId, Member, Notice, RoomEffect, RoomRefusal, Rooms};
use bellwire_signaling::{Departure, DescriptionKind, Handle, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tracing::debug;

/// Bytes of a room's metadata as its first participant gives them.
const METADATA: usize = 4 * 1024;
/// When the metadata of so many rooms are held, those of rooms that are gone are dropped.
const METADATA_KEPT: usize = 1_024;

#[derive(Default)]
pub(super) struct Gateway {
    metadata: Arc<Mutex<HashMap<RoomId, Value>>>,
}

/// What a client sends, whichever event it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    #[serde(borrow)]
    call_room_id: Cow<'a, str>,
    #[serde(borrow, default)]
    target_socket_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    offer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    call_type: Option<Cow<'a, str>>,
    #[serde(default)]
    locked: Option<bool>,
    #[serde(borrow, default)]
    sdp_mid: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "sdpMLineIndex")]
    sdp_m_line_index: Option<&'a RawValue>,
}

impl<'a> Sent<'a> {
    /// What goes along with a signal from one of these apps to another.
    fn beside(&self) -> SmallVec<[(&'static str, &'a RawValue); 3]> {
        let fields = [("sdpMid", self.sdp_mid), ("sdpMLineIndex", self.sdp_m_line_index), ("metadata", self.metadata)];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Why an event was not carried out.
enum Fault {
    Unauthenticated,
    Malformed(&'static str),
    Refused(RoomRefusal),
    AnotherSystem,
    Unknown,
}

impl From<RoomRefusal> for Fault {
    fn from(refusal: RoomRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Gateway {
    pub fn event(&self, app: &Arc<App>, socket: &Arc<Socket>, state: &RootSocket, event: &Incoming<'_>) {
        let message = first(event);
        let sent = serde_json::from_str::<Sent<'_>>(message.get());
        let done = match &sent {
            Ok(sent) => self.carry_out(app, socket, state, event.name, sent, message),
            Err(_) => Err(Fault::Malformed("callRoomId is missing, or a field is not of its kind")),
        };
        match done {
            Ok(()) => {
                if let Some(ack) = event.ack {
                    socket.ack(ack, &json!({ "ok": true }));
                }
            }
            Err(fault) => say_fault(socket, event, sent.ok().as_ref(), &fault),
        }
    }

    fn carry_out(
        &self,
        app: &Arc<App>,
        socket: &Arc<Socket>,
        state: &RootSocket,
        event: &str,
        sent: &Sent<'_>,
        message: &RawValue,
    ) -> Result<(), Fault> {
        let link = self.link(app, socket, state)?;
        let room = RoomId::new(&*sent.call_room_id).map_err(|_| Fault::Malformed("callRoomId is no id"))?;
        let lobby = &app.lobby;
        match event {
            "webrtc:join-room" => self.join(app, link, socket, &room, sent),
            "webrtc:leave-room" => Ok(lobby.leave(link, &room)?),
            "webrtc:offer" => {
                let value = sent.offer.ok_or(Fault::Malformed("offer is missing"))?;
                let body = Body::Raw { what: What::Offer, value, message, beside: &sent.beside() };
                Ok(lobby.signal(link, &room, Some(&target(sent)?), None, body).map(drop)?)
            }
            "webrtc:answer" => {
                let value = sent.answer.ok_or(Fault::Malformed("answer is missing"))?;
                let body = Body::Raw { what: What::Answer, value, message, beside: &sent.beside() };
                Ok(lobby.signal(link, &room, Some(&target(sent)?), None, body).map(drop)?)
            }
            "webrtc:ice-candidate" => {
                let value = sent.candidate.ok_or(Fault::Malformed("candidate is missing"))?;
                let body = Body::Raw { what: What::Candidate, value, message, beside: &sent.beside() };
                let to = sent.target_socket_id.is_some().then(|| target(sent)).transpose()?;
                Ok(lobby.signal(link, &room, to.as_ref(), None, body).map(drop)?)
            }
            "webrtc:lock-room" => {
                let locked = sent.locked.ok_or(Fault::Malformed("locked is missing"))?;
                Ok(lobby.lock_room(link, &room, locked)?)
            }
            "webrtc:remove-participant" => Ok(lobby.remove(link, &room, &target(sent)?)?),
            _ => Err(Fault::Unknown),
        }
    }

    /// The socket's link, made with its first event.
    fn link(&self, app: &Arc<App>, socket: &Arc<Socket>, state: &RootSocket) -> Result<LinkId, Fault> {
        let identity = state.identity.as_ref().filter(|identity| is_for_all(identity)).ok_or(Fault::Unauthenticated)?;
        let (kind, link) = state.link.get_or_init(|| {
            let voice = RoomVoice {
                socket: Arc::downgrade(socket),
                metadata: self.metadata.clone(),
                seen: Mutex::new(HashMap::new()),
            };
            let person = Person {
                user: identity.user.clone(),
                handle: socket.handle().clone(),
                card: Card { name: identity.name.clone(), ..Card::default() },
                habit: Habit::NewcomerOffers,
                guest: false,
            };
            (Kind::Rooms, app.lobby.connect(Arc::new(voice), person))
        });
        if *kind == Kind::Rooms { Ok(*link) } else { Err(Fault::AnotherSystem) }
    }

    fn join(&self, app: &App, link: LinkId, socket: &Socket, room: &RoomId, sent: &Sent<'_>) -> Result<(), Fault> {
        let mut metadata = Map::new();
        if let Some(given) = sent.metadata {
            if given.get().len() > METADATA {
                return Err(Fault::Malformed("metadata is too long"));
            }
            match serde_json::from_str::<Value>(given.get()) {
                Ok(Value::Object(given)) => metadata = given,
                Ok(Value::Null) => {}
                Ok(_) | Err(_) => return Err(Fault::Malformed("metadata is no object")),
            }
        }
        metadata.insert("callType".into(), sent.call_type.as_deref().unwrap_or("audio").into());
        metadata.insert("createdAt".into(), iso_now().into());
        metadata.insert("createdBy".into(), socket.handle().as_str().into());
        let is_new = app.lobby.look(|rooms| rooms.members(room).next().is_none());
        if is_new {
            let mut kept = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= METADATA_KEPT {
                app.lobby.look(|rooms| kept.retain(|room, _| rooms.members(room).next().is_some()));
            }
            kept.insert(room.clone(), Value::Object(metadata));
        }
        Ok(app.lobby.enter(link, room, true)?)
    }
}

/// A target that cannot be a handle is nobody.
fn target(sent: &Sent<'_>) -> Result<Handle, Fault> {
    let target = sent.target_socket_id.as_deref().ok_or(Fault::Malformed("targetSocketId is missing"))?;
    Handle::new(target).map_err(|_| Fault::Refused(RoomRefusal::NoSuchMember))
}

fn say_fault(socket: &Socket, event: &Incoming<'_>, sent: Option<&Sent<'_>>, fault: &Fault) {
    let (error, code, reason) = match fault {
        Fault::Unauthenticated => ("Authentication required", "unauthenticated", "a token is needed for rooms"),
        Fault::Malformed(reason) => ("Invalid message", "invalid_message", *reason),
        Fault::Unknown => ("Invalid message", "unknown_event", "there is no such event"),
        Fault::AnotherSystem => ("Not allowed", "wrong_state", "this connection is in a random match"),
        Fault::Refused(RoomRefusal::NotFound) => {
            ("Room not found", "room_not_found", "there is no such room, or you are not in it or may not be")
        }
        Fault::Refused(RoomRefusal::NoSuchMember) => {
            ("Participant not found", "participant_not_found", "the target is not in this room")
        }
        Fault::Refused(RoomRefusal::Full) => ("Room is full", "room_full", "the room has no place left"),
        Fault::Refused(RoomRefusal::NotHost) => ("Not allowed", "not_host", "only the room's host may do this"),
        Fault::Refused(RoomRefusal::StaleGeneration) => ("Invalid message", "stale", "the connection is an old one"),
        Fault::Refused(RoomRefusal::RateLimited) => ("Rate limited", "rate_limited", "too many candidates"),
        Fault::Refused(RoomRefusal::TooManyRooms) => ("Not allowed", "too_many_rooms", "you are in too many rooms"),
    };
    debug!(event = event.name, code, "a room event was refused");
    metrics::counter!("bellwire_signaling_errors_total", "gateway" => "rooms", "code" => code).increment(1);
    let room = sent.map(|sent| &*sent.call_room_id);
    let target = sent.and_then(|sent| sent.target_socket_id.as_deref());
    let details = json!({
        "event": event.name, "code": code, "reason": reason, "callRoomId": room, "targetSocketId": target,
    });
    if let Some(ack) = event.ack {
        socket.ack(ack, &json!({ "ok": false, "error": error, "details": details }));
    }
    let said = json!({ "error": error, "details": details, "timestamp": iso_now() });
    socket.emit("webrtc:signaling-error", &said);
}

struct RoomVoice {
    socket: Weak<Socket>,
    metadata: Arc<Mutex<HashMap<RoomId, Value>>>,
    /// Participants as they were told, to name one who has left.
    seen: Mutex<HashMap<Handle, Value>>,
}

impl RoomVoice {
    fn participant(&self, member: &Member) -> Value {
        let participant = json!({
            "socketId": member.handle, "userId": user_of(member), "username": member.name, "realName": member.name,
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(member.handle.clone(), participant.clone());
        participant
    }

    fn forget(&self, handle: &Handle) -> Value {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(handle).unwrap_or_else(|| json!({ "socketId": handle }))
    }
}

/// Apps of these rooms know each other by user id; of anybody else they learn the handle alone.
fn user_of(member: &Member) -> &str {
    match member.habit {
        Habit::NewcomerOffers => member.user.as_str(),
        Habit::Native | Habit::LowerIdOffers => member.handle.as_str(),
    }
}

impl Voice for RoomVoice {
    fn system(&self) -> System {
        System::Rooms
    }

    fn room(&self, rooms: &Rooms, effect: &RoomEffect) {
        let Some(socket) = self.socket.upgrade() else { return };
        let room = &effect.room;
        let others = || rooms.members(room).filter(|member| member.link != effect.to);
        match &effect.notice {
            Notice::Entered => {
                let existing: Vec<Value> = others().map(|member| self.participant(member)).collect();
                let metadata = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).get(room).cloned();
                let said = json!({
                    "callRoomId": room,
                    "participantCount": existing.len() + 1,
                    "existingParticipants": existing,
                    "metadata": metadata.unwrap_or_else(|| json!({})),
                    "isHost": rooms.member(room, effect.to).is_some_and(|member| member.host),
                    "timestamp": iso_now(),
                });
                socket.emit("webrtc:room-joined", &said);
            }
            Notice::Joined(handle) => {
                if let Some(member) = others().find(|member| member.handle == *handle) {
                    let participant = self.participant(member);
                    let said = json!({ "callRoomId": room, "participant": participant, "timestamp": iso_now() });
                    socket.emit("webrtc:participant-joined", &said);
                }
            }
            Notice::Departed(handle, why) => {
                let participant = self.forget(handle);
                let said = json!({
                    "callRoomId": room, "participant": participant, "reason": why, "timestamp": iso_now(),
                });
                socket.emit("webrtc:participant-left", &said);
            }
            Notice::Changed => {
                if let Some(view) = rooms.view(room, effect.to) {
                    let muted: Vec<&Handle> = view.members.iter().filter(|m| m.muted).map(|m| &m.member).collect();
                    let said = json!({
                        "callRoomId": room, "locked": view.locked, "isHost": view.host, "muted": muted,
                        "timestamp": iso_now(),
                    });
                    socket.emit("webrtc:room-updated", &said);
                }
            }
            Notice::Over(Departure::Left) => {
                socket.emit("webrtc:room-left", &json!({ "callRoomId": room, "timestamp": iso_now() }));
            }
            Notice::Over(why) => {
                let said = json!({ "callRoomId": room, "reason": why, "timestamp": iso_now() });
                socket.emit("webrtc:room-left", &said);
            }
        }
    }

    fn signal(&self, signal: &Signal<'_>) {
        let Some(socket) = self.socket.upgrade() else { return };
        let head = |name| {
            Object::event(name)
                .put("callRoomId", signal.room.as_str())
                .put("fromSocketId", signal.from.handle.as_str())
                .put("fromUserId", user_of(signal.from))
        };
        match signal.body {
            // The way of nearly all that is relayed: in parts, none of which needs quoting.
            Body::Raw { what, value, beside, .. } => {
                let (head, field) = match what {
                    What::Offer => ("[\"webrtc:offer\",{\"callRoomId\":\"", "\",\"offer\":"),
                    What::Answer => ("[\"webrtc:answer\",{\"callRoomId\":\"", "\",\"answer\":"),
                    What::Candidate => ("[\"webrtc:ice-candidate\",{\"callRoomId\":\"", "\",\"candidate\":"),
                };
                let mut parts: SmallVec<[&str; 24]> = SmallVec::new();
                parts.extend_from_slice(&[head, signal.room.as_str(), "\",\"fromSocketId\":\""]);
                parts.extend_from_slice(&[signal.from.handle.as_str(), "\",\"fromUserId\":\"", user_of(signal.from)]);
                parts.extend_from_slice(&[field, value.get()]);
                for (name, value) in beside {
                    parts.extend_from_slice(&[",\"", name, "\":", value.get()]);
                }
                parts.push("}]");
                socket.emit_parts(&parts, Vec::new());
            }
            Body::Description { kind, sdp } => {
                let (name, field) = match kind {
                    DescriptionKind::Offer => ("webrtc:offer", "offer"),
                    DescriptionKind::Answer => ("webrtc:answer", "answer"),
                };
                let description = json!({ "type": kind, "sdp": sdp });
                socket.emit_raw(&head(name).put(field, &description).done());
            }
            Body::Candidates { candidates, .. } => {
                for candidate in candidates {
                    let said = head("webrtc:ice-candidate")
                        .put("candidate", candidate)
                        .put("sdpMid", &candidate.sdp_mid)
                        .put("sdpMLineIndex", &candidate.sdp_m_line_index);
                    socket.emit_raw(&said.done());
                }
            }
        }
    }

    fn queue(&self, _: &QueueNews<'_>) {
        // These apps never search.
    }
}
