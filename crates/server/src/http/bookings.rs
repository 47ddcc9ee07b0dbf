//! `/v1/bookings`: make, read, list, reschedule, cancel; and join links.
//!
//! Bookings of one person may overlap: whether that is wanted is the booking system's to say.

use super::error::{ApiError, ErrorBody};
use super::extract::{Body, BookingPath, Query};
use super::times::Moment;
use crate::app::{self, App};
use crate::clock;
use crate::store::{BOOKINGS_PAGE, BookingChange, BookingQuery, Changed, Created, Repeatable};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bellwire_call::{Booking, CLOSES_AFTER_MS, OPENS_BEFORE_MS, Person};
use bellwire_signaling::{BookingId, BookingState, Handle, Role, UnixMs, UserId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

const MINUTE_MS: u64 = 60_000;
const LONGEST_MINUTES: u32 = 24 * 60;
const LONGEST_WINDOW_MINUTES: u32 = 7 * 24 * 60;
/// 1 January of the year 9000: beyond it a time could not be written any more.
const LATEST: UnixMs = UnixMs(221_845_392_000_000);
const NAME_LETTERS: usize = 200;
const TOPIC_LETTERS: usize = 300;
const KEY_LETTERS: usize = 200;
const PAGE: u32 = 100;

/// One of the two people of a booking.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonIn {
    /// As your system names this person: the `sub` of their tokens. 1 to 128 of A-Z a-z 0-9 - _ . : @ | +
    #[schema(value_type = String, example = "ana")]
    pub id: UserId,
    /// Shown to the other party. Without it: the name known from an earlier booking.
    #[schema(example = "Ana Moreno")]
    pub name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBooking {
    pub client: PersonIn,
    pub provider: PersonIn,
    #[schema(value_type = String, format = DateTime, example = "2027-05-01T09:30:00Z")]
    pub starts_at: Moment,
    /// 1 to 1440.
    #[schema(example = 30)]
    pub length_minutes: u32,
    #[serde(default)]
    pub topic: String,
    /// Calls can be made from this many minutes before the start.
    #[schema(default = 10)]
    pub opens_before_minutes: Option<u32>,
    /// ... to this many after the end.
    #[schema(default = 15)]
    pub closes_after_minutes: Option<u32>,
    #[schema(default = true)]
    pub reschedulable: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PersonOut {
    #[schema(value_type = String)]
    pub id: UserId,
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BookingOut {
    #[schema(value_type = String)]
    pub id: BookingId,
    pub client: PersonOut,
    pub provider: PersonOut,
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Moment,
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Moment,
    pub length_minutes: u64,
    pub topic: String,
    #[schema(value_type = BookingStateOut)]
    pub state: BookingState,
    /// Calls can be made from here ...
    #[schema(value_type = String, format = DateTime)]
    pub opens_at: Moment,
    /// ... to here.
    #[schema(value_type = String, format = DateTime)]
    pub closes_at: Moment,
    pub reschedulable: bool,
}

/// The words for a booking's state.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum BookingStateOut {
    Scheduled,
    Cancelled,
    Done,
    NoShowClient,
    NoShowProvider,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BookingPage {
    pub bookings: Vec<BookingOut>,
    /// Give this as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BookingFilter {
    /// Bookings of this person.
    #[param(value_type = Option<String>)]
    person: Option<UserId>,
    /// Those that start at or after this.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Moment>,
    /// Those that start before this.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Moment>,
    /// Of an earlier page's `next`.
    after: Option<String>,
    /// 1 to 500; 100 if absent.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reschedule {
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Moment>,
    length_minutes: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    pub client: Link,
    pub provider: Link,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    #[schema(value_type = String)]
    pub id: UserId,
    /// Opens the app. It holds a token for this booking alone: send it to this person and nobody else.
    pub link: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Moment,
}

/// Makes a booking.
///
/// With the header `Idempotency-Key` a repeat of the request within 24 hours makes no second booking.
#[utoipa::path(post, path = "/v1/bookings", tag = "bookings", request_body = NewBooking,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 200 printable letters")),
    responses(
        (status = 201, body = BookingOut), (status = 200, description = "It was made before", body = BookingOut),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(new): Body<NewBooking>,
) -> Result<(StatusCode, Json<BookingOut>), ApiError> {
    let repeat = repeatable(&headers, &new)?;
    let booking = new_booking(&app, new).await?;
    match app.store.create_booking(&booking, repeat.as_ref(), clock::now()).await? {
        Created::New(booking) => {
            tracing::info!(booking = %booking.id, "a booking was made");
            app.switchboard.booking_changed(booking.clone()).await?;
            Ok((StatusCode::CREATED, Json(shown(booking))))
        }
        Created::Repeat(booking) => Ok((StatusCode::OK, Json(shown(booking)))),
        Created::KeyTaken => Err(ApiError::key_taken()),
    }
}

/// Bookings by start, of one person or of all.
#[utoipa::path(get, path = "/v1/bookings", tag = "bookings", params(BookingFilter),
    responses((status = 200, body = BookingPage), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Query(filter): Query<BookingFilter>,
) -> Result<Json<BookingPage>, ApiError> {
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=BOOKINGS_PAGE).contains(&limit) {
        return Err(ApiError::invalid("limit is 1 to 500"));
    }
    let after = filter.after.as_deref().map(read_cursor).transpose()?;
    let query = BookingQuery {
        person: filter.person,
        from: filter.from.map(|at| at.0),
        to: filter.to.map(|at| at.0),
        after,
        limit,
    };
    let bookings = app.store.bookings(&query).await?;
    let full = bookings.len() == limit as usize;
    let next = bookings.last().filter(|_| full).map(|last| format!("{}:{}", last.starts_at.0, last.id));
    Ok(Json(BookingPage { bookings: bookings.into_iter().map(shown).collect(), next }))
}

/// One booking.
#[utoipa::path(get, path = "/v1/bookings/{id}", tag = "bookings", params(("id" = String, Path)),
    responses((status = 200, body = BookingOut), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn read(State(app): State<Arc<App>>, BookingPath(id): BookingPath) -> Result<Json<BookingOut>, ApiError> {
    find(&app, &id).await.map(|booking| Json(shown(booking)))
}

/// Moves a scheduled booking, or changes its length.
#[utoipa::path(patch, path = "/v1/bookings/{id}", tag = "bookings", params(("id" = String, Path)),
    request_body = Reschedule,
    responses((status = 200, body = BookingOut), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn reschedule(
    State(app): State<Arc<App>>,
    BookingPath(id): BookingPath,
    Body(wish): Body<Reschedule>,
) -> Result<Json<BookingOut>, ApiError> {
    if wish.starts_at.is_none() && wish.length_minutes.is_none() {
        return Err(ApiError::invalid("starts_at or length_minutes is needed"));
    }
    wish.starts_at.map(check_start).transpose()?;
    let length_ms = wish.length_minutes.map(length_ms).transpose()?;
    let change = BookingChange::Reschedule { starts_at: wish.starts_at.map(|at| at.0), length_ms };
    changed(&app, &id, change).await
}

/// Cancels a booking. A call that still rings ends; one that was accepted goes on. Cancelling again changes nothing.
#[utoipa::path(post, path = "/v1/bookings/{id}/cancel", tag = "bookings", params(("id" = String, Path)),
    responses((status = 200, body = BookingOut), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
pub async fn cancel(State(app): State<Arc<App>>, BookingPath(id): BookingPath) -> Result<Json<BookingOut>, ApiError> {
    changed(&app, &id, BookingChange::Cancel).await
}

/// Makes a join link for each party, good for this booking until it closes.
#[utoipa::path(post, path = "/v1/bookings/{id}/links", tag = "bookings", params(("id" = String, Path)),
    responses((status = 200, body = Links), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "The booking is over or cancelled", body = ErrorBody)))]
pub async fn links(State(app): State<Arc<App>>, BookingPath(id): BookingPath) -> Result<Json<Links>, ApiError> {
    let booking = find(&app, &id).await?;
    if booking.state != BookingState::Scheduled || booking.closes_at() <= clock::now() {
        return Err(ApiError::booking_over());
    }
    let link = |role| {
        let made = app::join_link(&app.keyring, &app.public_url, &booking, role);
        let (link, expires_at) = made.map_err(|e| {
            tracing::error!(error = %e, "a join link could not be made");
            ApiError::internal()
        })?;
        Ok::<_, ApiError>(Link { id: booking.person(role).user.clone(), link, expires_at: Moment(expires_at) })
    };
    Ok(Json(Links { client: link(Role::Client)?, provider: link(Role::Provider)? }))
}

async fn find(app: &App, id: &BookingId) -> Result<Booking, ApiError> {
    app.store.booking(id).await?.ok_or_else(ApiError::not_found)
}

async fn changed(app: &App, id: &BookingId, change: BookingChange) -> Result<Json<BookingOut>, ApiError> {
    match app.store.change_booking(id, change).await? {
        Changed::Done(booking) => {
            tracing::info!(booking = %booking.id, state = ?booking.state, "a booking was changed");
            app.switchboard.booking_changed(booking.clone()).await?;
            Ok(Json(shown(booking)))
        }
        Changed::Unchanged(booking) => Ok(Json(shown(booking))),
        Changed::NotFound => Err(ApiError::not_found()),
        Changed::Over(_) => Err(ApiError::booking_over()),
        Changed::NotReschedulable => Err(ApiError::not_reschedulable()),
    }
}

async fn new_booking(app: &App, new: NewBooking) -> Result<Booking, ApiError> {
    if new.client.id == new.provider.id {
        return Err(ApiError::invalid("client and provider are two people"));
    }
    check_start(new.starts_at)?;
    let window = |minutes: Option<u32>, default_ms: u64| match minutes {
        None => Ok(default_ms),
        Some(minutes @ 0..=LONGEST_WINDOW_MINUTES) => Ok(u64::from(minutes) * MINUTE_MS),
        Some(_) => Err(ApiError::invalid("the join window begins and ends within a week of the booking")),
    };
    Ok(Booking {
        id: BookingId::from_bits(rand::random()),
        starts_at: new.starts_at.0,
        length_ms: length_ms(new.length_minutes)?,
        topic: checked_text(&new.topic, TOPIC_LETTERS, "topic")?,
        state: BookingState::Scheduled,
        opens_before_ms: window(new.opens_before_minutes, OPENS_BEFORE_MS)?,
        closes_after_ms: window(new.closes_after_minutes, CLOSES_AFTER_MS)?,
        reschedulable: new.reschedulable.unwrap_or(true),
        client: person(app, new.client, "Client").await?,
        provider: person(app, new.provider, "Provider").await?,
    })
}

async fn person(app: &App, wish: PersonIn, nameless: &str) -> Result<Person, ApiError> {
    let name = match wish.name {
        Some(name) => checked_text(&name, NAME_LETTERS, "name")?,
        None => String::new(),
    };
    let name = match name.is_empty() {
        false => name,
        true => app.store.person(&wish.id).await?.map_or_else(|| nameless.to_owned(), |known| known.name),
    };
    Ok(Person { user: wish.id, handle: Handle::from_bits(rand::random()), name })
}

pub(super) fn checked_text(text: &str, most: usize, what: &'static str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!("{what} is one line of at most {most} letters")));
    }
    Ok(text.to_owned())
}

fn check_start(at: Moment) -> Result<(), ApiError> {
    if at.0 < LATEST { Ok(()) } else { Err(ApiError::invalid("starts_at is too late")) }
}

fn length_ms(minutes: u32) -> Result<u64, ApiError> {
    if (1..=LONGEST_MINUTES).contains(&minutes) {
        return Ok(u64::from(minutes) * MINUTE_MS);
    }
    Err(ApiError::invalid("length_minutes is 1 to 1440"))
}

fn repeatable(headers: &HeaderMap, new: &NewBooking) -> Result<Option<Repeatable>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_LETTERS).contains(&key.len()));
    let key = key.ok_or_else(|| ApiError::bad_request("Idempotency-Key is 1 to 200 printable letters"))?;
    let request = serde_json::to_string(new).map_err(|_| ApiError::internal())?;
    Ok(Some(Repeatable { key: key.to_owned(), request }))
}

fn read_cursor(text: &str) -> Result<(UnixMs, BookingId), ApiError> {
    let read = text.split_once(':').and_then(|(at, id)| Some((UnixMs(at.parse().ok()?), BookingId::new(id).ok()?)));
    read.ok_or_else(|| ApiError::invalid("after is the `next` of an earlier page"))
}

fn shown(booking: Booking) -> BookingOut {
    let person = |person: &Person| PersonOut { id: person.user.clone(), name: person.name.clone() };
    BookingOut {
        client: person(&booking.client),
        provider: person(&booking.provider),
        starts_at: Moment(booking.starts_at),
        ends_at: Moment(booking.starts_at.plus(booking.length_ms)),
        length_minutes: booking.length_ms / MINUTE_MS,
        opens_at: Moment(booking.opens_at()),
        closes_at: Moment(booking.closes_at()),
        state: booking.state,
        reschedulable: booking.reschedulable,
        topic: booking.topic,
        id: booking.id,
    }
}
