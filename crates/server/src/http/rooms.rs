//! `/v1/rooms`: make a room with links for its people, read and close it. `/v1/reports`: what people reported of partners.

use super::bookings::checked_text;
use super::error::{ApiError, ErrorBody};
use super::extract::{Body, Query, RoomPath};
use super::times::Moment;
use crate::app::{self, App};
use crate::clock;
use crate::store::company::{KeptGuest, KeptRoom, REPORTS_PAGE};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bellwire_signaling::{Complaint, RoomId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// People on a room's list; so many more than have place in it at once may be invited.
const LISTED: usize = 100;
/// A room closes a day from now, if nothing else is said, and a month from now at the latest.
const OPEN_MS: u64 = 24 * 60 * 60_000;
const LONGEST_MS: u64 = 31 * OPEN_MS;
const NAME_LETTERS: usize = 200;
const TOPIC_LETTERS: usize = 300;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestIn {
    /// As your system names this person.
    #[schema(value_type = String, example = "ana")]
    pub user: UserId,
    #[schema(example = "Ana Moreno")]
    pub name: String,
    /// May lock the room and remove others.
    #[serde(default)]
    pub host: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoom {
    #[serde(default)]
    pub topic: String,
    /// Who may enter; 1 to 100, of whom 8 have place at once.
    pub people: Vec<GuestIn>,
    /// Without it: a day from now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closes_at: Option<Moment>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RoomOut {
    #[schema(value_type = String)]
    pub room: RoomId,
    pub topic: String,
    #[schema(value_type = String, format = DateTime)]
    pub closes_at: Moment,
    pub people: Vec<GuestOut>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct GuestOut {
    #[schema(value_type = String)]
    pub user: UserId,
    pub name: String,
    pub host: bool,
    /// Is in the room now.
    pub here: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RoomLink {
    #[schema(value_type = String)]
    pub user: UserId,
    /// Opens the app and enters the room; good for it alone, until it closes.
    pub link: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Moment,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MadeRoom {
    #[schema(value_type = String)]
    pub room: RoomId,
    pub links: Vec<RoomLink>,
}

/// Makes a room, and a link for each of its people.
#[utoipa::path(post, path = "/v1/rooms", tag = "rooms", request_body = NewRoom,
    responses((status = 201, body = MadeRoom), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn create(
    State(app): State<Arc<App>>,
    Body(new): Body<NewRoom>,
) -> Result<(StatusCode, Json<MadeRoom>), ApiError> {
    let room = kept_room(new)?;
    let links = room.people.iter().map(|guest| {
        let made = app::room_link(&app.keyring, &app.public_url, &room, guest);
        let (link, expires_at) = made.map_err(|e| {
            tracing::error!(error = %e, "a room's link could not be made");
            ApiError::internal()
        })?;
        Ok::<_, ApiError>(RoomLink { user: guest.user.clone(), link, expires_at: Moment(expires_at) })
    });
    let links = links.collect::<Result<_, _>>()?;
    app.store.put_room(&room).await?;
    app.lobby.plan(&room);
    tracing::info!(room = %room.id, people = room.people.len(), "a room was made");
    Ok((StatusCode::CREATED, Json(MadeRoom { room: room.id, links })))
}

/// One room, and who is in it.
#[utoipa::path(get, path = "/v1/rooms/{id}", tag = "rooms", params(("id" = String, Path)),
    responses((status = 200, body = RoomOut), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn read(State(app): State<Arc<App>>, RoomPath(id): RoomPath) -> Result<Json<RoomOut>, ApiError> {
    let room = app.store.room(&id).await?.filter(|room| room.closes_at > clock::now());
    let room = room.ok_or_else(ApiError::not_found)?;
    let here: BTreeSet<UserId> = app.lobby.look(|rooms| rooms.members(&id).map(|m| m.user.clone()).collect());
    let people = room.people.into_iter().map(|guest| GuestOut {
        here: here.contains(&guest.user),
        user: guest.user,
        name: guest.name,
        host: guest.host,
    });
    let people = people.collect();
    Ok(Json(RoomOut { room: room.id, topic: room.topic, closes_at: Moment(room.closes_at), people }))
}

/// Closes a room; whoever is in it is out.
#[utoipa::path(delete, path = "/v1/rooms/{id}", tag = "rooms", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn close(State(app): State<Arc<App>>, RoomPath(id): RoomPath) -> Result<StatusCode, ApiError> {
    if !app.store.drop_room(&id).await? {
        return Err(ApiError::not_found());
    }
    app.lobby.unplan(&id);
    tracing::info!(room = %id, "a room was closed");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportFilter {
    /// 1 to 500; without it 100.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReportOut {
    /// Who complained ...
    #[schema(value_type = String)]
    pub person: UserId,
    /// ... of whom.
    #[schema(value_type = String)]
    pub other: UserId,
    #[schema(value_type = ComplaintOut)]
    pub complaint: Complaint,
    #[schema(value_type = String, format = DateTime)]
    pub at: Moment,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum ComplaintOut {
    Abusive,
    Unsafe,
    Spam,
    Other,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReportList {
    pub reports: Vec<ReportOut>,
}

/// What people reported of those whom they were matched with, the newest first.
#[utoipa::path(get, path = "/v1/reports", tag = "rooms", params(ReportFilter),
    responses((status = 200, body = ReportList), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn reports(
    State(app): State<Arc<App>>,
    Query(filter): Query<ReportFilter>,
) -> Result<Json<ReportList>, ApiError> {
    const PAGE: u32 = 100;
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=REPORTS_PAGE).contains(&limit) {
        return Err(ApiError::invalid("limit is 1 to 500"));
    }
    let reports = app.store.reports(limit).await?;
    let reports = reports.into_iter().map(|report| ReportOut {
        person: report.person,
        other: report.other,
        complaint: report.complaint,
        at: Moment(report.made_at),
    });
    Ok(Json(ReportList { reports: reports.collect() }))
}

fn kept_room(new: NewRoom) -> Result<KeptRoom, ApiError> {
    let now = clock::now();
    let closes_at = new.closes_at.map_or(now.plus(OPEN_MS), |at| at.0);
    if closes_at <= now || closes_at.since(now) > LONGEST_MS {
        return Err(ApiError::invalid("closes_at is later than now, and within 31 days"));
    }
    if !(1..=LISTED).contains(&new.people.len()) {
        return Err(ApiError::invalid("people are 1 to 100"));
    }
    let users: BTreeSet<&UserId> = new.people.iter().map(|guest| &guest.user).collect();
    if users.len() != new.people.len() {
        return Err(ApiError::invalid("each of the people is named once"));
    }
    let guest = |guest: GuestIn| {
        let name = checked_text(&guest.name, NAME_LETTERS, "name")?;
        let name = if name.is_empty() { guest.user.to_string() } else { name };
        Ok(KeptGuest { user: guest.user, name, host: guest.host })
    };
    Ok(KeptRoom {
        id: RoomId::from_bits(rand::random()),
        topic: checked_text(&new.topic, TOPIC_LETTERS, "topic")?,
        people: new.people.into_iter().map(guest).collect::<Result<_, ApiError>>()?,
        closes_at,
    })
}
