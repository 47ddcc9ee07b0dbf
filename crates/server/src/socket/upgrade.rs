//! From a request to a socket (RFC 6455, 4.2).

use super::{Origin, serve};
use crate::app::App;
use crate::http::error::ApiError;
use crate::rate::Place;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bellwire_signaling::SUBPROTOCOL;
use hyper::upgrade::Upgraded;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

pub async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let is_page = request.headers().contains_key(header::ORIGIN);
    let origin = Origin { is_local: from.ip().to_canonical().is_loopback() && !is_page };
    let served = app.clone();
    switch(&app, request, Some(SUBPROTOCOL), move |io| serve(served, io, origin))
}

/// Answers a request for a WebSocket, and has `serve` serve it once it is one. Until then the socket counts as a
/// connection of its address.
pub(crate) fn switch<F: Future<Output = ()> + Send>(
    app: &App,
    mut request: Request,
    subprotocol: Option<&'static str>,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError> {
    let key = check(request.headers(), subprotocol)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| ApiError::internal())?;
    if app.draining.is_cancelled() {
        return Err(ApiError::unavailable());
    }
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    app.tasks.spawn(async move {
        match upgraded.await {
            Ok(io) => serve(io).await,
            Err(e) => debug!(error = %e, "an upgrade failed"),
        }
        drop(place);
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    Ok(response)
}

/// The client's key, if these are the headers of an upgrade to this protocol.
fn check<'a>(headers: &'a HeaderMap, subprotocol: Option<&str>) -> Result<&'a str, ApiError> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(ApiError::bad_request("this address is a WebSocket: ask for an upgrade"));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(ApiError::bad_request("WebSocket version 13 is spoken here"));
    }
    if let Some(subprotocol) = subprotocol
        && !has(header::SEC_WEBSOCKET_PROTOCOL, subprotocol)
    {
        return Err(ApiError::bad_request(format!("the subprotocol {subprotocol} is spoken here")));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.ok_or_else(|| ApiError::bad_request("Sec-WebSocket-Key is missing"))
}
