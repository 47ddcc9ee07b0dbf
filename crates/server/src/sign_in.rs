//! Signing in: what every way in does with a token that was found good, before the switchboard has the device.

use crate::app::App;
use crate::auth::{Identity, Scope};
use crate::clock;
use crate::closing::word;
use crate::session::{Line, OUT_QUEUE, Outgoing};
use crate::store::StoreError;
use crate::switchboard::SignIn;
use bellwire_call::Who;
use bellwire_signaling::{BookingId, DeviceId, ErrorCode, Resume, UserId};
use tokio::sync::mpsc;
use tracing::warn;

/// A device that wants to sign in.
pub struct Newcomer {
    pub identity: Identity,
    pub device: DeviceId,
    pub resume: Option<Resume>,
    /// Its app speaks the protocol of an older system.
    pub older: bool,
}

/// A device that has signed in: what goes to it comes out of the queue, the welcome first.
pub struct SignedIn {
    pub who: Who,
    pub name: String,
    pub scope: Scope,
    /// Names this link to the switchboard.
    pub number: u64,
    pub queue: mpsc::Receiver<Outgoing>,
}

pub async fn sign_in(app: &App, newcomer: Newcomer) -> Result<SignedIn, ErrorCode> {
    let Newcomer { identity, device, resume, older } = newcomer;
    let Identity { user, name: claimed_name, scope, expires_at, .. } = identity;
    let unavailable = |e| {
        warn!(error = %e, "a sign-in could not be looked up");
        refused(ErrorCode::Unavailable)
    };
    let now = clock::now();
    let read_at = app.switchboard.changes();
    let bookings = app.store.open_bookings(&user, now).await.map_err(unavailable)?;
    if let Scope::Booking(only) = &scope {
        let theirs = match bookings.iter().any(|open| open.id == *only) {
            true => true,
            false => is_party(app, only, &user).await.map_err(unavailable)?,
        };
        if !theirs {
            return Err(refused(ErrorCode::NotFound));
        }
    }
    let known = app.store.person(&user).await.map_err(unavailable)?.map(|person| person.name);
    let name = known.or(claimed_name).unwrap_or_else(|| user.to_string());
    let who = Who { user, device };
    let number = app.socket_number();
    let (out, queue) = mpsc::channel(OUT_QUEUE);
    let sign_in = SignIn {
        who: who.clone(),
        name: name.clone(),
        scope: scope.clone(),
        older,
        expires_at,
        resume,
        line: Line { number, out },
        bookings,
        read_at,
    };
    app.switchboard.sign_in(sign_in).await.map_err(|_| ErrorCode::Unavailable)?;
    Ok(SignedIn { who, name, scope, number, queue })
}

/// Counts a refusal.
pub fn refused(code: ErrorCode) -> ErrorCode {
    metrics::counter!("bellwire_sign_ins_refused_total", "code" => word(code)).increment(1);
    code
}

/// Role and booking are the store's to say, not the token's.
async fn is_party(app: &App, booking: &BookingId, user: &UserId) -> Result<bool, StoreError> {
    Ok(app.store.booking(booking).await?.is_some_and(|booking| booking.role_of(user).is_some()))
}
