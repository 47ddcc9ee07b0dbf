//! The first frames of a socket: who is it?

use super::{End, Origin, Peer, Ws, text_of, write};
use crate::app::App;
use crate::auth::{Grant, Scope, TokenRole};
use crate::clock;
use crate::closing::{Closing, close, refusal_until};
use crate::inbound;
use crate::session::{Outgoing, frame};
use crate::sign_in::{Newcomer, SignedIn, refused};
use crate::store::PersonRole;
use bellwire_signaling::limits::HELLO_SECONDS;
use bellwire_signaling::{ClientFrame, DevPerson, DeviceId, ErrorCode, Resume, Role, ServerFrame, Token, VERSION};
use futures_util::StreamExt;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tracing::{error, warn};

/// People whom a development server offers to sign in as, and for how long their tokens are good.
const DEV_PEOPLE: u32 = 50;
const DEV_TOKEN_MS: u64 = 12 * 60 * 60_000;

/// Waits for the hello and signs in. Answers `dev_people` as often as it is asked in that time.
pub(super) async fn hello(app: &App, ws: &mut Ws, origin: Origin) -> Result<(Peer, mpsc::Receiver<Outgoing>), End> {
    let until = Instant::now() + Duration::from_secs(HELLO_SECONDS);
    loop {
        let Ok(message) = timeout_at(until, ws.next()).await else {
            return Err(End::Close(Closing::of_hello(ErrorCode::HelloExpected)));
        };
        let text = match text_of(message) {
            ControlFlow::Continue(Some(text)) => text,
            ControlFlow::Continue(None) => continue,
            ControlFlow::Break(end) => return Err(end),
        };
        match inbound::read(&text) {
            Ok(ClientFrame::Hello { version, token, device, resume }) => {
                if version != VERSION {
                    return Err(End::Close(Closing::of_hello(ErrorCode::UnsupportedVersion)));
                }
                return sign_in(app, &token, device, resume).await.map_err(End::Close);
            }
            Ok(ClientFrame::DevPeople {}) if app.config.dev && origin.is_local => {
                let people = dev_people(app).await.map_err(|code| End::Close(Closing::of_hello(code)))?;
                let text = frame(&ServerFrame::DevPeople { people })
                    .map_err(|_| End::Close(Closing::of_hello(ErrorCode::Internal)))?;
                if let ControlFlow::Break(end) = write(ws, Message::Text(text)).await {
                    return Err(end);
                }
            }
            Ok(ClientFrame::DevPeople {} | ClientFrame::Command { .. }) => {
                return Err(End::Close(Closing::of_hello(ErrorCode::HelloExpected)));
            }
            Err(_) if inbound::speaks_another_version(&text) => {
                return Err(End::Close(Closing::of_hello(ErrorCode::UnsupportedVersion)));
            }
            Err(unread) => {
                return Err(End::Close(Closing { code: close::HELLO_EXPECTED, error: unread.error }));
            }
        }
    }
}

async fn sign_in(
    app: &App,
    token: &Token,
    device: DeviceId,
    resume: Option<Resume>,
) -> Result<(Peer, mpsc::Receiver<Outgoing>), Closing> {
    let identity = app.check_token(token).map_err(refused).map_err(Closing::of_hello)?;
    let _inside = app.crowd.admit(std::time::Instant::now()).map_err(|wait| {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Closing { code: close::RESTART, error: refusal_until(refused(ErrorCode::Unavailable), wait_ms) }
    })?;
    let newcomer = Newcomer { identity, device, resume, older: false };
    let SignedIn { who, name, scope, number, queue } =
        crate::sign_in::sign_in(app, newcomer).await.map_err(Closing::of_hello)?;
    app.lobby.native_back(&who, number);
    Ok((Peer { who, name, scope, number }, queue))
}

async fn dev_people(app: &App) -> Result<Vec<DevPerson>, ErrorCode> {
    let now = clock::now();
    let people = app.store.people(DEV_PEOPLE).await.map_err(|e| {
        warn!(error = %e, "people could not be read");
        ErrorCode::Unavailable
    })?;
    let token = |person: crate::store::KnownPerson| {
        let (role, token_role) = match person.role {
            PersonRole::Client => (Role::Client, TokenRole::Client),
            PersonRole::Provider => (Role::Provider, TokenRole::Provider),
            PersonRole::Operator => return None,
        };
        let expires_at = now.plus(DEV_TOKEN_MS);
        let grant = Grant { user: person.user, role: token_role, name: None, scope: Scope::Person, expires_at };
        match app.keyring.grant(&grant, now) {
            Ok(token) => Some(DevPerson { name: person.name, role, token }),
            Err(e) => {
                error!(error = %e, "a token could not be made");
                None
            }
        }
    };
    Ok(people.into_iter().filter_map(token).collect())
}
