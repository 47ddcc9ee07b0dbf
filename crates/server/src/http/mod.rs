//! HTTP: the operator's REST, health and figures, and the way to the socket.
//!
//! `/v1/bookings`, `/v1/calls`, `/v1/rooms` and `/v1/reports` want the operator's key in `X-Operator-Key`, or an operator's token as
//! `Authorization: Bearer`. The OpenAPI document is made from the
//! handlers, served at `/v1/openapi.json` and checked in as `openapi.json`.

pub mod bookings;
pub mod calls;
pub mod error;
pub mod extract;
pub mod ops;
pub mod rooms;
pub mod times;

use crate::app::App;
use crate::auth::TokenRole;
use crate::config::waits;
use crate::gateways;
use crate::socket;
use crate::store::PersonRole;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use bellwire_signaling::{SOCKET_PATH, Token};
use error::ApiError;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub const OPERATOR_KEY: &str = "x-operator-key";
/// Bytes of a request's body.
const BODY: usize = 16 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bellwire",
        description = "Bookings, join links and the history of calls, for the operator. Times are RFC 3339.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    modifiers(&OperatorKey),
    security(("operator_key" = []))
)]
struct Document;

struct OperatorKey;

impl utoipa::Modify for OperatorKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Operator-Key")));
        document.components.get_or_insert_with(Default::default).add_security_scheme("operator_key", scheme);
    }
}

/// The whole of what is served.
pub fn router(app: Arc<App>) -> Router {
    let (rest, document) = rest().split_for_parts();
    let document = document_text(&document);
    let rest = rest.route_layer(middleware::from_fn_with_state(app.clone(), operators_only));
    let served = Router::new()
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .route("/v1/openapi.json", get(move || ops::openapi(document.clone())))
        .merge(rest)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, waits::REQUEST))
        .layer(DefaultBodyLimit::max(BODY));
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    Router::new()
        .route(SOCKET_PATH, get(socket::upgrade))
        .merge(gateways::router(&app))
        .merge(served)
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn(count))
                .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .layer(set(header::CACHE_CONTROL, "no-store"))
                .layer(set(header::REFERRER_POLICY, "no-referrer"))
                .layer(set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
                .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(ApiError::internal()))),
        )
        .with_state(app)
}

/// The OpenAPI document as it is served.
pub fn openapi() -> String {
    document_text(&rest().into_openapi())
}

fn rest() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(bookings::create, bookings::list))
        .routes(routes!(bookings::read, bookings::reschedule))
        .routes(routes!(bookings::cancel))
        .routes(routes!(bookings::links))
        .routes(routes!(calls::list))
        .routes(routes!(rooms::create))
        .routes(routes!(rooms::read, rooms::close))
        .routes(routes!(rooms::reports))
}

fn document_text(document: &utoipa::openapi::OpenApi) -> String {
    // The document is a value of its own kind; that it can be written is tested.
    document.to_pretty_json().map(|text| text + "\n").unwrap_or_default()
}

/// The operator's key, or a token of a person whom the store knows as an operator.
async fn operators_only(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, ApiError> {
    let given = request.headers().get(OPERATOR_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let has_key = bool::from(given.ct_eq(app.operator_key.reveal().as_bytes()));
    if !has_key && !is_operator(&app, request.headers()).await? {
        metrics::counter!("bellwire_operator_key_refused_total").increment(1);
        return Err(ApiError::unauthenticated());
    }
    Ok(next.run(request).await)
}

async fn is_operator(app: &App, headers: &HeaderMap) -> Result<bool, ApiError> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|text| text.strip_prefix("Bearer ")).and_then(|text| Token::new(text).ok());
    let Some(identity) = token.and_then(|token| app.check_token(&token).ok()) else { return Ok(false) };
    let known = app.store.person(&identity.user).await?;
    Ok(identity.role == Some(TokenRole::Operator) && known.is_some_and(|p| p.role == PersonRole::Operator))
}

async fn count(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<axum::extract::MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    let path = path.unwrap_or_else(|| "other".into());
    let status = response.status().as_u16().to_string();
    metrics::counter!("bellwire_http_requests_total", "path" => path, "status" => status).increment(1);
    metrics::histogram!("bellwire_http_seconds").record(began.elapsed());
    response
}
