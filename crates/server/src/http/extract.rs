//! Reading requests: axum's extractors, with our errors.

use super::error::ApiError;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bellwire_signaling::{BookingId, RoomId};
use serde::de::DeserializeOwned;

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(e)) => Err(ApiError::invalid(e.body_text())),
            Err(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(ApiError::too_large()),
            Err(e) => Err(ApiError::bad_request(e.body_text())),
        }
    }
}

/// The query of the address.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(value)| Self(value)).map_err(|e| ApiError::invalid(e.body_text()))
    }
}

/// The room that the path names. What is no id names nothing.
pub struct RoomPath(pub RoomId);

impl<S: Send + Sync> FromRequestParts<S> for RoomPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let axum::extract::Path(text) = read.map_err(|_| ApiError::not_found())?;
        RoomId::new(&text).map(Self).map_err(|_| ApiError::not_found())
    }
}

/// The booking that the path names. What is no id names nothing.
pub struct BookingPath(pub BookingId);

impl<S: Send + Sync> FromRequestParts<S> for BookingPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let axum::extract::Path(text) = read.map_err(|_| ApiError::not_found())?;
        BookingId::new(&text).map(Self).map_err(|_| ApiError::not_found())
    }
}
