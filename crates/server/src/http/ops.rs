//! Health, figures, and the OpenAPI document.

use super::error::ApiError;
use crate::app::App;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::Arc;

/// The process lives.
pub async fn livez() -> &'static str {
    "live\n"
}

/// New sockets and calls can be served.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    if app.draining.is_cancelled() || !app.health.is_stored() {
        return Err(ApiError::unavailable());
    }
    app.store.check().await.map(|()| "ready\n").map_err(|_| ApiError::unavailable())
}

/// In Prometheus' text form.
pub async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

pub async fn openapi(document: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
