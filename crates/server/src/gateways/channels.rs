//! The channel relay: JSON over a plain WebSocket, with channels for rooms, chat and signaling.
//!
//! A client subscribes to channels by name and is told what happens on them. Signals go to the user whom they name, if the
//! two are in one room; chat goes to the sender's room. Who sends is what the connection is, not what the message says.
//! Fields stand in the message itself or in its `data`; what this server says has them in both places.

use super::json::{Object, iso_now};
use super::{identify, is_for_all};
use crate::app::App;
use crate::auth::Identity;
use crate::clock;
use crate::config::waits;
use crate::http::error::ApiError;
use crate::lobby::{Body, Card, Person, QueueNews, Signal, System, Voice, What};
use crate::rate::{self, Bucket, Rate};
use crate::socket::switch;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Response, header};
use bellwire_call::rooms::{Habit, LinkId, Member, Notice, RoomEffect, RoomRefusal, Rooms};
use bellwire_signaling::limits::{DEAD_SECONDS, PING_SECONDS};
use bellwire_signaling::{Departure, DescriptionKind, Handle, RoomId, Token, UserId};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tracing::debug;

const ROOMS: &str = "webrtc-dashboard-rooms";
const CHAT: &str = "webrtc-dashboard-chat";
const SIGNALING: &str = "webrtc-signaling";
/// Bytes of one message.
const MESSAGE: usize = 1_000_000;
const READ_BUFFER: usize = 1_024;
/// Messages that wait for a client to read them; one whose queue is full is closed.
const OUT_QUEUE: usize = 8_192;
/// Channels of one client.
const CHANNELS: usize = 16;
/// Messages of one client.
const RATE: Rate = Rate { burst: 8_000.0, a_second: 1_000.0 };

pub(super) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(_): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response<axum::body::Body>, ApiError> {
    if !is_admitted(&app, request.headers()) {
        return Err(ApiError::unauthenticated());
    }
    let identity = identify(&app, None, request.headers()).map_err(|_| ApiError::unauthenticated())?;
    let served = app.clone();
    switch(&app, request, None, move |io| serve(served, io, identity))
}

/// Apps that are no pages send no Origin.
fn is_admitted(app: &App, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let admitted = app.config.admitted_origins();
    admitted.iter().any(|one| one == "*" || one.trim_end_matches('/').as_bytes() == origin.as_bytes())
}

async fn serve(app: Arc<App>, io: Upgraded, identity: Option<Identity>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let mut ws = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
    let (out, mut queue) = mpsc::channel(OUT_QUEUE);
    let voice = Arc::new(ChannelVoice { out, channels: Mutex::default(), user: Mutex::default() });
    let mut client = Client { app: app.clone(), identity, voice, link: None };
    let mut bucket = Bucket::full(RATE, std::time::Instant::now());
    let mut heard = Instant::now();
    let mut ping_at = heard + Duration::from_secs(PING_SECONDS);
    loop {
        let dead_at = heard + Duration::from_secs(DEAD_SECONDS);
        let alive = tokio::select! {
            message = ws.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        match bucket.take(RATE, rate::cost_of(text.len()), std::time::Instant::now()) {
                            Ok(()) => client.take(&text),
                            Err(wait) => client.voice.say_error("rate_limited", "too many messages", Some(wait)),
                        }
                        true
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Binary(_))) => true,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => false,
                }
            }
            out = queue.recv() => match out {
                Some(text) => send(&mut ws, Message::Text(text)).await,
                None => false,
            },
            () = sleep_until(ping_at.min(dead_at)) => {
                ping_at = Instant::now() + Duration::from_secs(PING_SECONDS);
                Instant::now() < dead_at && send(&mut ws, Message::Ping(Default::default())).await
            }
            () = app.draining.cancelled() => false,
        };
        if !alive || client.voice.out.is_closed() || client.is_expired() {
            break;
        }
    }
    if let Some(link) = client.link {
        app.lobby.disconnect(link, Departure::Left);
    }
    timeout(waits::WRITE, ws.close(None)).await.ok();
}

async fn send(ws: &mut WebSocketStream<TokioIo<Upgraded>>, message: Message) -> bool {
    matches!(timeout(waits::WRITE, ws.send(message)).await, Ok(Ok(())))
}

struct Client {
    app: Arc<App>,
    identity: Option<Identity>,
    voice: Arc<ChannelVoice>,
    link: Option<LinkId>,
}

/// A message's fields, wherever they stand.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields<'a> {
    #[serde(borrow)]
    room_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    from_user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    to_user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    offer: Option<&'a RawValue>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    #[serde(borrow)]
    candidate: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

struct Fault(&'static str, &'static str);

const NOT_IN_A_ROOM: Fault = Fault("not_in_room", "you share no room with this user, or no such room");
const NO_SUCH_USER: Fault = Fault("user_not_found", "there is no such user in a room that you are in");
const MALFORMED: Fault = Fault("invalid_message", "the message is no JSON object of a known kind");

impl Client {
    fn take(&mut self, text: &str) {
        if let Err(Fault(code, message)) = self.carry_out(text) {
            debug!(code, "a channel message was refused");
            metrics::counter!("bellwire_signaling_errors_total", "gateway" => "channels", "code" => code).increment(1);
            self.voice.say_error(code, message, None);
        }
    }

    fn is_expired(&self) -> bool {
        let leeway = crate::auth::LEEWAY_SECONDS * 1_000;
        self.identity.as_ref().is_some_and(|identity| identity.expires_at.plus(leeway) < clock::now())
    }

    fn carry_out(&mut self, text: &str) -> Result<(), Fault> {
        let sent: Sent<'_> = serde_json::from_str(text).map_err(|_| MALFORMED)?;
        let outer: Fields<'_> = serde_json::from_str(text).map_err(|_| MALFORMED)?;
        let fields = match sent.data {
            Some(data) if data.get().starts_with('{') => {
                merged(serde_json::from_str(data.get()).map_err(|_| MALFORMED)?, outer).ok_or(MALFORMED)?
            }
            Some(_) | None => outer,
        };
        match &*sent.r#type {
            "auth" => self.authenticate(&fields),
            "subscribe" => self.voice.subscribe(sent.channel.as_deref().ok_or(MALFORMED)?),
            "unsubscribe" => {
                self.voice.channels().remove(sent.channel.as_deref().unwrap_or_default());
                Ok(())
            }
            "ping" => {
                self.voice.say(Object::new().put("type", "pong").put("timestamp", &iso_now()).done());
                Ok(())
            }
            "user-joined-room" => self.join(&fields),
            "user-left-room" => {
                let (link, room) = (self.link.ok_or(NOT_IN_A_ROOM)?, room_of(&fields)?);
                self.app.lobby.leave(link, &room).map_err(fault_of)
            }
            "webrtc-offer" => self.signal(What::Offer, fields.offer, &fields, text),
            "webrtc-answer" => self.signal(What::Answer, fields.answer, &fields, text),
            "webrtc-ice" => self.signal(What::Candidate, fields.candidate, &fields, text),
            _ => match sent.channel.as_deref() {
                Some(CHAT) => self.chat(&fields, text),
                Some(_) | None => Err(MALFORMED),
            },
        }
    }

    /// A page cannot set the Authorization header of a WebSocket, so the token may come as a message.
    fn authenticate(&mut self, fields: &Fields<'_>) -> Result<(), Fault> {
        const REFUSED: Fault = Fault("unauthenticated", "the token is not accepted");
        if self.link.is_some() {
            return Err(Fault("wrong_state", "the token comes before the first room"));
        }
        let token = Token::new(fields.token.as_deref().ok_or(REFUSED)?).map_err(|_| REFUSED)?;
        let identity = self.app.check_token(&token).ok().filter(is_for_all).ok_or(REFUSED)?;
        let said = Object::new().put("type", "authenticated").put("userId", identity.user.as_str());
        self.identity = Some(identity);
        self.voice.say(said.done());
        Ok(())
    }

    fn join(&mut self, fields: &Fields<'_>) -> Result<(), Fault> {
        let room = room_of(fields)?;
        let link = self.link(fields)?;
        self.app.lobby.enter(link, &room, true).map_err(fault_of)
    }

    /// The link, made when the client first says who it is.
    fn link(&mut self, fields: &Fields<'_>) -> Result<LinkId, Fault> {
        const NOT_YOU: Fault = Fault("not_you", "userId is not that of this connection");
        let claimed = fields.user_id.as_deref();
        if let Some(link) = self.link {
            let known = self.voice.user();
            return if claimed.is_none_or(|claimed| *known == *claimed) { Ok(link) } else { Err(NOT_YOU) };
        }
        let (user, address, name) = match &self.identity {
            Some(identity) => {
                if !is_for_all(identity) {
                    return Err(Fault("unauthenticated", "this token is for something else"));
                }
                if claimed.is_some_and(|claimed| claimed != identity.user.as_str()) {
                    return Err(NOT_YOU);
                }
                (identity.user.clone(), identity.user.to_string(), identity.name.clone())
            }
            None if self.app.config.admits_guests() => {
                let claimed = claimed.ok_or(Fault("invalid_message", "userId is missing"))?;
                // Whoever has no token is nobody's user, whatever they call themselves.
                let user = UserId::from_bits(rand::random());
                (user, claimed.to_owned(), None)
            }
            None => return Err(Fault("unauthenticated", "a token is needed: send auth first")),
        };
        let handle = Handle::new(&address).map_err(|_| Fault("invalid_message", "userId is no id"))?;
        let name = fields.user_name.as_deref().map(str::to_owned).or(name).filter(|name| name.len() <= 200);
        let person = Person {
            user,
            handle,
            card: Card { name: Some(name.unwrap_or_else(|| address.clone())), ..Card::default() },
            habit: Habit::LowerIdOffers,
            guest: self.identity.is_none(),
        };
        *self.voice.user.lock().unwrap_or_else(PoisonError::into_inner) = address;
        let link = self.app.lobby.connect(self.voice.clone(), person);
        self.link = Some(link);
        Ok(link)
    }

    fn signal(&self, what: What, value: Option<&RawValue>, fields: &Fields<'_>, text: &str) -> Result<(), Fault> {
        let link = self.link.ok_or(NOT_IN_A_ROOM)?;
        if fields.from_user_id.is_none() {
            return Err(Fault("invalid_message", "fromUserId is missing"));
        }
        self.check_sender(fields)?;
        let value = value.ok_or(Fault("invalid_message", "the offer, answer or candidate is missing"))?;
        let to = fields.to_user_id.as_deref().ok_or(Fault("missing_to", "toUserId is missing"))?;
        let to = Handle::new(to).map_err(|_| NO_SUCH_USER)?;
        let room = self.shared_room(link, fields, &to)?;
        let message: &RawValue = serde_json::from_str(text).map_err(|_| MALFORMED)?;
        let body = Body::Raw { what, value, message, beside: &[] };
        self.app.lobby.signal(link, &room, Some(&to), None, body).map(drop).map_err(fault_of)
    }

    /// The room that the message names, or else the first that both are in.
    fn shared_room(&self, link: LinkId, fields: &Fields<'_>, to: &Handle) -> Result<RoomId, Fault> {
        if fields.room_id.is_some() {
            return room_of(fields);
        }
        let shared = |rooms: &Rooms| {
            let mut mine = rooms.rooms_of(link);
            mine.find(|room| rooms.members(room).any(|member| member.handle == *to)).cloned()
        };
        self.app.lobby.look(shared).ok_or(NO_SUCH_USER)
    }

    fn check_sender(&self, fields: &Fields<'_>) -> Result<(), Fault> {
        let forged = fields.from_user_id.as_deref().is_some_and(|from| *self.voice.user() != *from);
        if forged { Err(Fault("not_you", "fromUserId is not that of this connection")) } else { Ok(()) }
    }

    /// To those of the room who are subscribed to the chat, as it was sent.
    fn chat(&self, fields: &Fields<'_>, text: &str) -> Result<(), Fault> {
        let link = self.link.ok_or(NOT_IN_A_ROOM)?;
        self.check_sender(fields)?;
        if fields.user_id.as_deref().is_some_and(|user| *self.voice.user() != *user) {
            return Err(Fault("not_you", "userId is not that of this connection"));
        }
        let rooms = match &fields.room_id {
            Some(_) => vec![room_of(fields)?],
            None => self.app.lobby.look(|rooms| rooms.rooms_of(link).cloned().collect()),
        };
        if rooms.is_empty() {
            return Err(NOT_IN_A_ROOM);
        }
        for room in rooms {
            self.app.lobby.chat(link, &room, text).map_err(fault_of)?;
        }
        Ok(())
    }
}

/// None if the two say different things: the receiver's app could believe the one that was not checked.
fn merged<'a>(inner: Fields<'a>, outer: Fields<'a>) -> Option<Fields<'a>> {
    fn one<'a>(inner: Option<Cow<'a, str>>, outer: Option<Cow<'a, str>>) -> Option<Option<Cow<'a, str>>> {
        let differs = inner.is_some() && outer.is_some() && inner != outer;
        (!differs).then(|| inner.or(outer))
    }
    Some(Fields {
        room_id: one(inner.room_id, outer.room_id)?,
        user_id: one(inner.user_id, outer.user_id)?,
        user_name: one(inner.user_name, outer.user_name)?,
        from_user_id: one(inner.from_user_id, outer.from_user_id)?,
        to_user_id: one(inner.to_user_id, outer.to_user_id)?,
        token: one(inner.token, outer.token)?,
        offer: inner.offer.or(outer.offer),
        answer: inner.answer.or(outer.answer),
        candidate: inner.candidate.or(outer.candidate),
    })
}

fn room_of(fields: &Fields<'_>) -> Result<RoomId, Fault> {
    let room = fields.room_id.as_deref().ok_or(Fault("invalid_message", "roomId is missing"))?;
    RoomId::new(room).map_err(|_| Fault("invalid_message", "roomId is no id"))
}

fn fault_of(refusal: RoomRefusal) -> Fault {
    match refusal {
        RoomRefusal::NotFound => NOT_IN_A_ROOM,
        RoomRefusal::NoSuchMember => NO_SUCH_USER,
        RoomRefusal::Full => Fault("room_full", "the room has no place left"),
        RoomRefusal::NotHost => Fault("not_host", "only the room's host may do this"),
        RoomRefusal::StaleGeneration => MALFORMED,
        RoomRefusal::RateLimited => Fault("rate_limited", "too many candidates"),
        RoomRefusal::TooManyRooms => Fault("too_many_rooms", "you are in too many rooms"),
    }
}

struct ChannelVoice {
    out: mpsc::Sender<Utf8Bytes>,
    channels: Mutex<BTreeSet<String>>,
    /// The user id that the others see.
    user: Mutex<String>,
}

impl ChannelVoice {
    fn channels(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user(&self) -> std::sync::MutexGuard<'_, String> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, channel: &str) -> Result<(), Fault> {
        if ![ROOMS, CHAT, SIGNALING].contains(&channel) {
            return Err(Fault("unknown_channel", "there is no such channel"));
        }
        let mut channels = self.channels();
        if channels.len() < CHANNELS {
            channels.insert(channel.to_owned());
        }
        Ok(())
    }

    fn say(&self, text: String) {
        if self.out.try_send(text.into()).is_err() {
            debug!("a channel client is too slow, a message is lost");
        }
    }

    fn say_on(&self, channel: &str, text: String) {
        if self.channels().contains(channel) {
            self.say(text);
        }
    }

    fn say_error(&self, code: &str, message: &str, wait: Option<Duration>) {
        let said = Object::new().put("type", "error").put("code", code).put("message", message);
        let said = match wait {
            Some(wait) => said.put("retryAfter", &wait.as_millis()),
            None => said,
        };
        self.say(said.put("timestamp", &iso_now()).done());
    }

    /// What happened on a channel: its fields in the message and in its `data`.
    fn tell(&self, channel: &str, kind: &str, fields: &Value) {
        let mut said = json!({ "type": kind, "channel": channel, "data": fields, "timestamp": iso_now() });
        if let (Some(said), Some(fields)) = (said.as_object_mut(), fields.as_object()) {
            said.extend(fields.clone());
        }
        self.say_on(channel, said.to_string());
    }
}

impl Voice for ChannelVoice {
    fn system(&self) -> System {
        System::Channels
    }

    fn room(&self, rooms: &Rooms, effect: &RoomEffect) {
        let room = &effect.room;
        let ids = |but: &Handle| -> Vec<&str> {
            let others = rooms.members(room).filter(|member| member.handle != *but);
            others.map(|member| member.handle.as_str()).collect()
        };
        let joined = |member: &Member| {
            json!({
                "roomId": room, "userId": member.handle, "userName": member.name,
                "existingParticipants": ids(&member.handle),
            })
        };
        match &effect.notice {
            Notice::Entered => {
                if let Some(member) = rooms.member(room, effect.to) {
                    self.tell(ROOMS, "user-joined-room", &joined(member));
                }
            }
            Notice::Joined(handle) => {
                if let Some(member) = rooms.members(room).find(|member| member.handle == *handle) {
                    self.tell(ROOMS, "user-joined-room", &joined(member));
                }
            }
            Notice::Departed(handle, why) => {
                let fields = json!({ "roomId": room, "userId": handle, "reason": why });
                self.tell(ROOMS, "user-left-room", &fields);
            }
            Notice::Changed => {}
            Notice::Over(why) => {
                let fields = json!({ "roomId": room, "userId": *self.user(), "reason": why });
                self.tell(ROOMS, "user-left-room", &fields);
            }
        }
    }

    fn signal(&self, signal: &Signal<'_>) {
        let tell = |kind: &str, field: &str, value: Value| {
            let mut fields = json!({
                "roomId": signal.room, "fromUserId": signal.from.handle, "toUserId": *self.user(),
            });
            fields[field] = value;
            self.tell(SIGNALING, kind, &fields);
        };
        match signal.body {
            Body::Raw { message, .. } if signal.from.habit == Habit::LowerIdOffers => {
                // As the sender's app wrote it: the sender's name in it was checked.
                self.say_on(SIGNALING, message.get().to_owned());
            }
            Body::Raw { what, value, .. } => {
                let value = serde_json::from_str(value.get()).unwrap_or(Value::Null);
                match what {
                    What::Offer => tell("webrtc-offer", "offer", value),
                    What::Answer => tell("webrtc-answer", "answer", value),
                    What::Candidate => tell("webrtc-ice", "candidate", value),
                }
            }
            Body::Description { kind, sdp } => {
                let description = json!({ "type": kind, "sdp": sdp });
                match kind {
                    DescriptionKind::Offer => tell("webrtc-offer", "offer", description),
                    DescriptionKind::Answer => tell("webrtc-answer", "answer", description),
                }
            }
            Body::Candidates { candidates, .. } => {
                for candidate in candidates {
                    tell("webrtc-ice", "candidate", json!(candidate));
                }
            }
        }
    }

    fn queue(&self, _: &QueueNews<'_>) {
        // These apps never search.
    }

    fn chat(&self, text: &str) {
        self.say_on(CHAT, text.to_owned());
    }
}
