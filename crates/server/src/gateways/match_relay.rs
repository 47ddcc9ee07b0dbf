//! Random match with relay: `find_partner` and the `webrtc_*` events of `/`.
//!
//! Two who search are matched; each is given the other's card and handle, and signals go to the partner alone. Whoever
//! names nobody, or somebody else, is told so.

use super::json::{Object, iso_now};
use super::{Kind, RootSocket, first, is_for_all};
use crate::app::App;
use crate::lobby::{Body, Card, Person, QueueNews, Signal, Standing, System, Voice, What};
use crate::sio::{Incoming, Socket};
use bellwire_call::matching::{PartedWhy, QueueRefusal};
use bellwire_call::rooms::{Habit, LinkId, RoomEffect, RoomRefusal, Rooms};
use bellwire_signaling::{Complaint, DescriptionKind, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::{Arc, Weak};
use tracing::debug;

/// Bytes of a card's fields.
const NAME: usize = 100;
const PLACE: usize = 200;
const PICTURE: usize = 2_048;

/// What an app says of its person.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CardIn {
    user_name: Option<String>,
    user_age: Option<u16>,
    user_location: Option<String>,
    user_picture: Option<String>,
}

#[derive(Deserialize)]
struct SignalIn<'a> {
    #[serde(borrow, default)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    offer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidate: Option<&'a RawValue>,
}

struct Fault {
    code: &'static str,
    message: &'static str,
    retry_after: Option<u64>,
}

impl Fault {
    const fn new(code: &'static str, message: &'static str) -> Self {
        Self { code, message, retry_after: None }
    }
}

const NOT_ALLOWED: Fault = Fault::new("not_allowed", "this connection may not search for partners");
const NO_PARTNER: Fault = Fault::new("no_partner", "you have no partner, or the partner is gone");
const NOT_YOUR_PARTNER: Fault = Fault::new("not_your_partner", "`to` is not the socket id of your partner");

pub(super) fn event(app: &Arc<App>, socket: &Arc<Socket>, state: &RootSocket, event: &Incoming<'_>) {
    let message = first(event);
    let done = link(app, socket, state).and_then(|link| match event.name {
        "find_partner" => find(app, link, message),
        "stop_searching" | "leave_session" => {
            app.lobby.stop_searching(link);
            Ok(())
        }
        "block_partner" => with_partner(app, link, |partner| app.lobby.block(link, partner)),
        "report_partner" => {
            let complaint = complaint_of(message);
            with_partner(app, link, |partner| app.lobby.report(link, partner, complaint))
        }
        "webrtc_offer" => relay(app, link, What::Offer, message),
        "webrtc_answer" => relay(app, link, What::Answer, message),
        "ice_candidate" => relay(app, link, What::Candidate, message),
        _ => Err(Fault::new("unknown_event", "there is no such event")),
    });
    match (done, event.ack) {
        (Ok(()), Some(ack)) => socket.ack(ack, &json!({ "ok": true })),
        (Ok(()), None) => {}
        (Err(fault), ack) => {
            metrics::counter!("bellwire_signaling_errors_total", "gateway" => "match", "code" => fault.code)
                .increment(1);
            debug!(event = event.name, code = fault.code, "an event was refused");
            let mut said = json!({
                "event": event.name, "code": fault.code, "message": fault.message, "timestamp": iso_now(),
            });
            if let Some(retry_after) = fault.retry_after {
                said["retryAfter"] = retry_after.into();
            }
            if let Some(ack) = ack {
                socket.ack(ack, &json!({ "ok": false, "error": said }));
            }
            let name = match event.name {
                "webrtc_offer" | "webrtc_answer" | "ice_candidate" => "webrtc_error",
                _ => "match_error",
            };
            socket.emit(name, &said);
        }
    }
}

fn link(app: &App, socket: &Arc<Socket>, state: &RootSocket) -> Result<LinkId, Fault> {
    let allowed = match &state.identity {
        Some(identity) => is_for_all(identity),
        None => app.config.admits_guests(),
    };
    if !allowed {
        return Err(NOT_ALLOWED);
    }
    let (kind, link) = state.link.get_or_init(|| {
        let voice = MatchVoice { socket: Arc::downgrade(socket) };
        let (user, name) = match &state.identity {
            Some(identity) => (identity.user.clone(), identity.name.clone()),
            None => (guest(socket), None),
        };
        let person = Person {
            user,
            handle: socket.handle().clone(),
            card: Card { name, ..Card::default() },
            habit: Habit::NewcomerOffers,
            guest: state.identity.is_none(),
        };
        (Kind::Match, app.lobby.connect(Arc::new(voice), person))
    });
    if *kind == Kind::Match { Ok(*link) } else { Err(Fault::new("wrong_state", "this connection is in a room")) }
}

/// A guest is somebody else on each connection, whom nobody can claim to be.
fn guest(socket: &Socket) -> UserId {
    UserId::from_bits(u128::from(socket.number()) << 64 | u128::from(rand::random::<u64>()))
}

/// Searches; an app that has a partner goes on to the next.
fn find(app: &App, link: LinkId, message: &RawValue) -> Result<(), Fault> {
    let card = match serde_json::from_str::<Option<CardIn>>(message.get()) {
        Ok(card) => card_of(card.unwrap_or_default())?,
        Err(_) => return Err(Fault::new("invalid_message", "a field of the card is not of its kind")),
    };
    if card != Card::default() {
        app.lobby.introduce(link, card);
    }
    let searched = match app.lobby.standing(link) {
        Standing::Matched { .. } => app.lobby.skip(link),
        Standing::Idle | Standing::Waiting => app.lobby.search(link),
    };
    searched.map_err(|refusal| match refusal {
        QueueRefusal::RateLimited { retry_after_ms } => Fault {
            retry_after: Some(retry_after_ms),
            ..Fault::new("rate_limited", "wait a moment before you search again")
        },
        QueueRefusal::AlreadySearching => Fault::new("already_searching", "you are searching already"),
        QueueRefusal::AlreadyMatched => Fault::new("already_matched", "you have a partner already"),
        QueueRefusal::NotMatched => NO_PARTNER,
    })
}

fn card_of(card: CardIn) -> Result<Card, Fault> {
    let short = |text: Option<String>, most: usize| match text.map(|text| text.trim().to_owned()) {
        Some(text) if text.len() > most || text.chars().any(char::is_control) => {
            Err(Fault::new("invalid_message", "a field of the card is too long, or holds more than text"))
        }
        text => Ok(text.filter(|text| !text.is_empty())),
    };
    Ok(Card {
        name: short(card.user_name, NAME)?,
        age: card.user_age,
        place: short(card.user_location, PLACE)?,
        picture: short(card.user_picture, PICTURE)?,
    })
}

fn relay(app: &App, link: LinkId, what: What, message: &RawValue) -> Result<(), Fault> {
    let sent = serde_json::from_str::<SignalIn<'_>>(message.get())
        .map_err(|_| Fault::new("invalid_message", "the event is no object, or a field is not of its kind"))?;
    let value = match what {
        What::Offer => sent.offer,
        What::Answer => sent.answer,
        What::Candidate => sent.candidate,
    };
    let value = value.ok_or(Fault::new("invalid_message", "the offer, answer or candidate is missing"))?;
    let to = sent.to.filter(|to| !to.is_empty()).ok_or(Fault::new("missing_to", "`to` is missing"))?;
    match app.lobby.standing(link) {
        Standing::Matched { partner, .. } if partner.as_str() == to => {}
        Standing::Matched { .. } => return Err(NOT_YOUR_PARTNER),
        Standing::Idle | Standing::Waiting => return Err(NO_PARTNER),
    }
    match app.lobby.signal_partner(link, Body::Raw { what, value, message, beside: &[] }) {
        Ok(_) => Ok(()),
        Err(RoomRefusal::RateLimited) => Err(Fault::new("rate_limited", "too many candidates")),
        Err(_) => Err(NO_PARTNER),
    }
}

fn with_partner(
    app: &App,
    link: LinkId,
    act: impl FnOnce(&bellwire_signaling::Handle) -> Result<(), RoomRefusal>,
) -> Result<(), Fault> {
    match app.lobby.standing(link) {
        Standing::Matched { partner, .. } => act(&partner).map_err(|_| NO_PARTNER),
        Standing::Idle | Standing::Waiting => Err(NO_PARTNER),
    }
}

/// The `reason` of a report, as far as it is one of ours.
pub(super) fn complaint_of(message: &RawValue) -> Complaint {
    #[derive(Deserialize)]
    struct Reason {
        reason: Complaint,
    }
    serde_json::from_str::<Reason>(message.get()).map_or(Complaint::Other, |sent| sent.reason)
}

struct MatchVoice {
    socket: Weak<Socket>,
}

/// As the old system filled what it was not told.
fn card_out(card: &Card) -> (Value, Value, Value, Value) {
    (
        card.name.as_deref().unwrap_or("Anonymous").into(),
        card.age.unwrap_or(18).into(),
        card.place.as_deref().unwrap_or("Unknown").into(),
        card.picture.as_deref().into(),
    )
}

pub(super) fn parted_word(why: PartedWhy) -> &'static str {
    match why {
        PartedWhy::Left => "partner_left",
        PartedWhy::Skipped => "partner_skipped",
        PartedWhy::Gone => "partner_disconnected",
        PartedWhy::Blocked => "ended",
    }
}

impl Voice for MatchVoice {
    fn system(&self) -> System {
        System::MatchRelay
    }

    fn room(&self, _: &Rooms, _: &RoomEffect) {
        // These apps know partners, not rooms.
    }

    fn signal(&self, signal: &Signal<'_>) {
        let Some(socket) = self.socket.upgrade() else { return };
        let from = signal.from.handle.as_str();
        match signal.body {
            Body::Raw { what, value, .. } => {
                let (name, field) = match what {
                    What::Offer => ("webrtc_offer", "offer"),
                    What::Answer => ("webrtc_answer", "answer"),
                    What::Candidate => ("ice_candidate", "candidate"),
                };
                socket.emit_raw(&Object::event(name).raw(field, value).put("from", from).done());
            }
            Body::Description { kind, sdp } => {
                let (name, field) = match kind {
                    DescriptionKind::Offer => ("webrtc_offer", "offer"),
                    DescriptionKind::Answer => ("webrtc_answer", "answer"),
                };
                let description = json!({ "type": kind, "sdp": sdp });
                socket.emit_raw(&Object::event(name).put(field, &description).put("from", from).done());
            }
            Body::Candidates { candidates, .. } => {
                for candidate in candidates {
                    let said = Object::event("ice_candidate").put("candidate", candidate).put("from", from);
                    socket.emit_raw(&said.done());
                }
            }
        }
    }

    fn queue(&self, news: &QueueNews<'_>) {
        let Some(socket) = self.socket.upgrade() else { return };
        match news {
            QueueNews::Idle => socket.emit("search_stopped", &json!({ "timestamp": iso_now() })),
            QueueNews::Waiting { place, .. } => {
                socket.emit("waiting_for_partner", &json!({ "position": place, "timestamp": iso_now() }));
            }
            QueueNews::Matched { room, partner, card, offers, .. } => {
                let (name, age, place, picture) = card_out(card);
                let said = json!({
                    "partnerId": partner,
                    "sessionId": room,
                    "socketId": partner,
                    "userName": name,
                    "userAge": age,
                    "userLocation": place,
                    "userPicture": picture,
                    "initiator": offers,
                });
                socket.emit("partner_found", &said);
            }
            QueueNews::Parted { room, why } => {
                let said = json!({ "sessionId": room, "reason": parted_word(*why), "timestamp": iso_now() });
                socket.emit("partner_left", &said);
            }
        }
    }
}
