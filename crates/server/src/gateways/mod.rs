//! Gateways: the protocols of five older systems, each translated to and from what the server does anyway.
//!
//! Three of them share the Socket.IO namespace `/` and are told apart by the names of their events ([`Root`]); the random
//! chat has a namespace of its own; the channel relay is a plain WebSocket. Booking calls go to the switchboard, the others
//! to the lobby. docs/protocol.md names every event. Which systems are served is the operator's to say (`older`).

mod calls;
mod channels;
mod json;
mod match_relay;
mod random_chat;
mod rooms;
mod watch;

pub use calls::LostSeats;
pub use watch::Watch;

use crate::app::App;
use crate::auth::{Identity, Scope};
use crate::closing::word;
use crate::config::Older;
use crate::sio::{self, ConnectRefusal, Gone, Hello, Incoming, Namespace, Socket, SocketIo};
use axum::Router;
use axum::http::{HeaderMap, header};
use axum::routing::get;
use bellwire_call::rooms::LinkId;
use bellwire_signaling::{Departure, ErrorCode, Token};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Where the channel relay's clients connect.
const CHANNEL_PATHS: [&str; 2] = ["/ws", "/ws/"];

/// The routes of the gateways that the operator has switched on.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let mut router = Router::new();
    let speaks = |older| app.config.speaks(older);
    let root = speaks(Older::Booking) || speaks(Older::Match) || speaks(Older::Rooms);
    if root || speaks(Older::RandomChat) {
        let numbers = app.clone();
        let mut sio =
            SocketIo::builder().origins(app.config.admitted_origins()).numbers(move || numbers.socket_number());
        if root {
            sio = sio.namespace("/", Arc::new(Root { app: app.clone(), rooms: rooms::Gateway::default() }));
        }
        if speaks(Older::RandomChat) {
            sio = sio.namespace(random_chat::NAMESPACE, Arc::new(random_chat::RandomChat::new(app.clone())));
        }
        router = router.merge(sio::install(app, sio.build()));
    }
    if speaks(Older::Channels) {
        for path in CHANNEL_PATHS {
            router = router.route(path, get(channels::upgrade));
        }
    }
    router
}

/// The namespace `/`: booking calls, random match, rooms.
struct Root {
    app: Arc<App>,
    rooms: rooms::Gateway,
}

/// What `/` knows of one socket.
struct RootSocket {
    /// None for a guest.
    identity: Option<Identity>,
    /// Made when the app first asks for a room or a partner.
    link: OnceLock<(Kind, LinkId)>,
    seat: Option<calls::Seat>,
}

/// As what a socket is in the lobby: an app is of one system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Match,
    Rooms,
}

impl Namespace for Root {
    fn connect(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> Result<(), ConnectRefusal> {
        let config = &self.app.config;
        let identity = identify(&self.app, hello.auth, hello.headers)?;
        if identity.is_none() && !(config.admits_guests() && config.speaks(Older::Match)) {
            return Err(refused(ErrorCode::Unauthenticated));
        }
        let calls = identity.as_ref().filter(|_| config.speaks(Older::Booking));
        let seat = calls.map(|identity| calls::Seat::start(self.app.clone(), socket.clone(), identity.clone()));
        // A seat ends by its session, which outlives its token while a call goes on.
        if let Some(identity) = identity.as_ref().filter(|_| seat.is_none()) {
            self.app.watch.add(socket, identity.expires_at);
        }
        socket.set_state(RootSocket { identity, link: OnceLock::new(), seat });
        Ok(())
    }

    fn may_recover(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> bool {
        let known = socket.state::<RootSocket>().and_then(|state| state.identity.as_ref());
        is_same_person(&self.app, known, hello)
    }

    fn event(&self, socket: &Arc<Socket>, event: Incoming<'_>) {
        if refuse_binary(socket, &event) {
            return;
        }
        let Some(state) = socket.state::<RootSocket>() else { return };
        let speaks = |older| self.app.config.speaks(older);
        if event.name.starts_with("call:") {
            if let Some(seat) = &state.seat {
                seat.event(event.name, first(&event), event.ack);
            }
        } else if event.name.starts_with("webrtc:") && speaks(Older::Rooms) {
            self.rooms.event(&self.app, socket, state, &event);
        } else if speaks(Older::Match) {
            match_relay::event(&self.app, socket, state, &event);
        }
    }

    fn away(&self, socket: &Arc<Socket>) {
        let Some(state) = socket.state::<RootSocket>() else { return };
        if let Some(seat) = &state.seat {
            seat.away();
        }
        if let Some((_, link)) = state.link.get() {
            self.app.lobby.away(*link);
        }
    }

    fn back(&self, socket: &Arc<Socket>) {
        let Some(state) = socket.state::<RootSocket>() else { return };
        if let Some(seat) = &state.seat {
            seat.back();
        }
        if let Some((_, link)) = state.link.get() {
            self.app.lobby.back(*link);
        }
    }

    fn gone(&self, socket: &Arc<Socket>, why: Gone) {
        let Some(state) = socket.state::<RootSocket>() else { return };
        if let Some(seat) = &state.seat {
            seat.gone();
        }
        if let Some((_, link)) = state.link.get() {
            self.app.lobby.disconnect(*link, departure(why));
        }
    }
}

fn departure(why: Gone) -> Departure {
    match why {
        Gone::ClientLeft => Departure::Left,
        Gone::Lost | Gone::ServerClosed => Departure::Lost,
    }
}

/// No event of these systems has binary parts; one that does is refused, since it could not be passed on whole.
fn refuse_binary(socket: &Socket, event: &Incoming<'_>) -> bool {
    let refused = !event.attachments.is_empty();
    if refused {
        socket.emit("error", &json!({ "message": "binary parts are not passed on", "event": event.name }));
    }
    refused
}

/// The first argument of an event; `null` if there is none.
fn first<'a>(event: &Incoming<'a>) -> &'a RawValue {
    event.args.first().copied().unwrap_or(RawValue::NULL)
}

/// Who connects, by the token in the `auth` option or the Authorization header; nobody if there is no token. A token for
/// one booking or room alone is not enough for a gateway that knows no such thing.
fn identify(app: &App, auth: Option<&RawValue>, headers: &HeaderMap) -> Result<Option<Identity>, ConnectRefusal> {
    #[derive(Deserialize)]
    struct Auth<'a> {
        #[serde(borrow, default)]
        token: Option<Cow<'a, str>>,
    }
    let given = match auth.map(|auth| serde_json::from_str::<Auth<'_>>(auth.get())) {
        Some(Ok(auth)) => auth.token,
        Some(Err(_)) => return Err(refused(ErrorCode::Unauthenticated)),
        None => None,
    };
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(Cow::Borrowed);
    let Some(text) = given.or(header) else { return Ok(None) };
    let token = Token::new(text.strip_prefix("Bearer ").unwrap_or(&text).trim());
    let identity = token
        .map_err(|_| ErrorCode::Unauthenticated)
        .and_then(|token| app.check_token(&token))
        .map_err(refused_and_counted)?;
    Ok(Some(identity))
}

fn refused_and_counted(code: ErrorCode) -> ConnectRefusal {
    metrics::counter!("bellwire_sign_ins_refused_total", "code" => word(code)).increment(1);
    refused(code)
}

fn refused(code: ErrorCode) -> ConnectRefusal {
    let message = match code {
        ErrorCode::TokenExpired => "the token has expired",
        ErrorCode::TokenNotYetValid => "the token is not valid yet",
        _ => "authentication required",
    };
    ConnectRefusal { message: message.into(), data: Some(json!({ "code": word(code) })) }
}

/// Whether a connection that takes up an old one is that person's, with a token that is still good.
fn is_same_person(app: &App, known: Option<&Identity>, hello: &Hello<'_>) -> bool {
    match (known, identify(app, hello.auth, hello.headers)) {
        (Some(known), Ok(Some(now))) => known.user == now.user && known.scope == now.scope,
        (None, Ok(None)) => true,
        (Some(_) | None, Ok(_) | Err(_)) => false,
    }
}

/// Whether this person may be in rooms and matches by an older app.
fn is_for_all(identity: &Identity) -> bool {
    identity.scope == Scope::Person
}
