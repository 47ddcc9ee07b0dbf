//! The one place that maps errors to HTTP: a status, a code and a sentence.

use crate::store::StoreError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use tracing::error;
use utoipa::ToSchema;

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    pub code: ApiCode,
    /// A sentence for developers.
    #[schema(value_type = String)]
    pub message: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiCode {
    /// The request cannot be read.
    BadRequest,
    /// It can be read, but a value in it cannot be.
    Invalid,
    /// The operator's key is missing or wrong.
    Unauthenticated,
    NotFound,
    MethodNotAllowed,
    /// The booking is over or cancelled.
    BookingOver,
    NotReschedulable,
    /// The Idempotency-Key was used for another request.
    KeyTaken,
    TooLarge,
    /// The server cannot serve this now; try again.
    Unavailable,
    Internal,
}

#[derive(Debug)]
pub struct ApiError {
    code: ApiCode,
    message: Cow<'static, str>,
}

impl ApiError {
    fn new(code: ApiCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ApiCode::BadRequest, message)
    }
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ApiCode::Invalid, message)
    }
    pub fn unauthenticated() -> Self {
        Self::new(ApiCode::Unauthenticated, "the header X-Operator-Key is missing or wrong")
    }
    pub fn not_found() -> Self {
        Self::new(ApiCode::NotFound, "there is nothing here")
    }
    pub fn method_not_allowed() -> Self {
        Self::new(ApiCode::MethodNotAllowed, "this method does not work here")
    }
    pub fn booking_over() -> Self {
        Self::new(ApiCode::BookingOver, "the booking is over or cancelled")
    }
    pub fn not_reschedulable() -> Self {
        Self::new(ApiCode::NotReschedulable, "the booking cannot be rescheduled")
    }
    pub fn key_taken() -> Self {
        Self::new(ApiCode::KeyTaken, "the Idempotency-Key was used for another request")
    }
    pub fn too_large() -> Self {
        Self::new(ApiCode::TooLarge, "the request is too large")
    }
    pub fn unavailable() -> Self {
        Self::new(ApiCode::Unavailable, "the server cannot serve this now")
    }
    pub fn internal() -> Self {
        Self::new(ApiCode::Internal, "the server failed")
    }

    fn status(&self) -> StatusCode {
        match self.code {
            ApiCode::BadRequest => StatusCode::BAD_REQUEST,
            ApiCode::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ApiCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ApiCode::NotFound => StatusCode::NOT_FOUND,
            ApiCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiCode::BookingOver | ApiCode::NotReschedulable | ApiCode::KeyTaken => StatusCode::CONFLICT,
            ApiCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ApiCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ApiCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        error!(error = %e, "a request found the store failing");
        match e {
            StoreError::Failed(_) => Self::unavailable(),
            StoreError::Unreadable(_) => Self::internal(),
        }
    }
}

impl From<crate::switchboard::Stopped> for ApiError {
    fn from(_: crate::switchboard::Stopped) -> Self {
        Self::unavailable()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(ErrorBody { code: self.code, message: self.message })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
