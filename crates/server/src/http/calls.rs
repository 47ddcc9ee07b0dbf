//! `/v1/calls`: the history of calls with how they sounded, and those that go on.

use super::error::{ApiError, ErrorBody};
use super::extract::Query;
use super::times::Moment;
use crate::app::App;
use crate::quality;
use crate::store::{CALLS_PAGE, CallQuery};
use axum::Json;
use axum::extract::State;
use bellwire_call::{BookedCall, Sides};
use bellwire_signaling::{Because, BookingId, CallId, CallQuality, Cause, EndReason, Side, UserId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

const PAGE: u32 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallFilter {
    /// Calls of this person.
    #[param(value_type = Option<String>)]
    person: Option<UserId>,
    /// Calls of this booking.
    #[param(value_type = Option<String>)]
    booking: Option<BookingId>,
    /// 1 to 500; 100 if absent.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CallOut {
    #[schema(value_type = String)]
    pub id: CallId,
    #[schema(value_type = String)]
    pub booking: BookingId,
    #[schema(value_type = String)]
    pub caller: UserId,
    #[schema(value_type = String)]
    pub callee: UserId,
    #[schema(value_type = String, format = DateTime)]
    pub invited_at: Moment,
    /// When sound first flowed both ways.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub connected_at: Option<Moment>,
    /// Absent while the call goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndOut>,
    /// How it sounded, once an app said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityOut>,
}

/// How a call sounded on each side, as that side's app said.
#[derive(Debug, Serialize, ToSchema)]
pub struct QualityOut {
    #[schema(value_type = Option<SideQualityOut>)]
    pub caller: Option<CallQuality>,
    #[schema(value_type = Option<SideQualityOut>)]
    pub callee: Option<CallQuality>,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub struct SideQualityOut {
    /// Estimated mean opinion score times ten, 10 to 45 (ITU-T G.107).
    mos_x10: u8,
    loss_in_percent: u8,
    loss_out_percent: u8,
    /// The median.
    round_trip_ms: u16,
    /// How often sound was lost, and for how long in all.
    reconnects: u16,
    reconnecting_ms: u32,
    /// At the end, sound went by a relay.
    relayed: bool,
    /// What was explained to this side for the longest time.
    #[schema(value_type = Option<CauseOut>)]
    cause: Option<Cause>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum CauseOut {
    NothingComes,
    NothingGoes,
    MicrophoneSilent,
    MicrophoneMissing,
    SpeakerMissing,
    Loss,
    Delay,
    Jitter,
    Narrow,
    Echo,
    Overload,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EndOut {
    #[schema(value_type = String, format = DateTime)]
    pub at: Moment,
    #[schema(value_type = EndReasonOut)]
    pub reason: EndReason,
    /// Who ended it, where somebody did.
    #[schema(value_type = Option<SideOut>)]
    pub by: Option<Side>,
    /// Why the callee declined.
    #[schema(value_type = Option<BecauseOut>)]
    pub because: Option<Because>,
    /// From connected to the end; 0 if it never was.
    pub duration_ms: u64,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum EndReasonOut {
    HungUp,
    Cancelled,
    Declined,
    NoAnswer,
    Busy,
    MediaFailed,
    MediaLost,
    BookingCancelled,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum SideOut {
    Caller,
    Callee,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum BecauseOut {
    NotNow,
    InTwoMinutes,
    WrongTime,
    Unwell,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CallList {
    pub calls: Vec<CallOut>,
}

/// Calls, the newest first.
#[utoipa::path(get, path = "/v1/calls", tag = "calls", params(CallFilter),
    responses((status = 200, body = CallList), (status = 401, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn list(State(app): State<Arc<App>>, Query(filter): Query<CallFilter>) -> Result<Json<CallList>, ApiError> {
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=CALLS_PAGE).contains(&limit) {
        return Err(ApiError::invalid("limit is 1 to 500"));
    }
    let query = CallQuery { person: filter.person, booking: filter.booking, limit };
    let calls = app.store.calls(&query).await?;
    let qualities = quality::of_calls(&*app.store, &calls).await?;
    Ok(Json(CallList { calls: calls.iter().map(|call| shown(call, qualities.get(call.id()).copied())).collect() }))
}

fn shown(call: &BookedCall, quality: Option<Sides<Option<CallQuality>>>) -> CallOut {
    CallOut {
        id: call.id().clone(),
        booking: call.booking().clone(),
        caller: call.party(Side::Caller).user.clone(),
        callee: call.party(Side::Callee).user.clone(),
        invited_at: Moment(call.invited_at()),
        connected_at: call.connected_at().map(Moment),
        end: call.ended().map(|(at, ending)| EndOut {
            at: Moment(at),
            reason: ending.reason,
            by: ending.by,
            because: ending.because,
            duration_ms: ending.duration_ms,
        }),
        quality: quality.map(|Sides { caller, callee }| QualityOut { caller, callee }),
    }
}
