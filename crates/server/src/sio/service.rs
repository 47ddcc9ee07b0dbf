//! The HTTP side: where a Socket.IO path is mounted, which pages may use it (CORS), and its end with the server's.

use super::hub::{Hub, LOOK};
use super::{MESSAGE, PING_INTERVAL, PING_TIMEOUT, SocketIo};
use crate::app::App;
use crate::http::error::ApiError;
use crate::rate::Place;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use engineioxide::config::EngineIoConfig;
use engineioxide::service::EngineIoService;
use engineioxide::sid::Sid;
use hyper::upgrade::OnUpgrade;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// Packets in one transport's queue. A client whose queue is full loses its transport.
const QUEUE: usize = 8_192;
const READ_BUFFER: usize = 1_024;
/// For the body of a polling request to be here.
const BODY: Duration = Duration::from_secs(30);
/// How long a page's browser remembers the answer about CORS.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// The older apps' way in, as the server's own router has it.
pub fn install(app: &Arc<App>, sio: SocketIo) -> Router<Arc<App>> {
    let places = app.clone();
    sio.mount(&app.tasks, app.draining.clone(), Some(Arc::new(move |address| places.place(address))))
}

/// Gives each polling session a place among the connections of its address: one TCP connection could open any number.
type Places = Arc<dyn Fn(IpAddr) -> Option<Place> + Send + Sync>;

impl SocketIo {
    /// Serves the path. When `draining` comes, every transport is closed; `tasks` waits for their end.
    pub fn router<S: Clone + Send + Sync + 'static>(
        self,
        tasks: &TaskTracker,
        draining: CancellationToken,
    ) -> Router<S> {
        self.mount(tasks, draining, None)
    }

    fn mount<S>(self, tasks: &TaskTracker, draining: CancellationToken, places: Option<Places>) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let Self(hub) = self;
        let path = hub.path.trim_end_matches('/').to_owned();
        let config = EngineIoConfig::builder()
            .req_path(path.clone())
            .ping_interval(PING_INTERVAL)
            .ping_timeout(PING_TIMEOUT)
            .max_payload(MESSAGE as u64)
            .ws_max_message_size(MESSAGE)
            .ws_max_frame_size(MESSAGE)
            .ws_read_buffer_size(READ_BUFFER)
            .max_buffer_size(QUEUE)
            .build();
        let engine = EngineIoService::with_config(hub.clone(), config);
        tasks.spawn(watch(hub.clone(), draining));
        Router::new().route(&path, any(serve)).route(&format!("{path}/"), any(serve)).with_state(Served {
            hub,
            engine,
            places,
        })
    }
}

#[derive(Clone)]
struct Served {
    hub: Arc<Hub>,
    engine: EngineIoService<Hub>,
    places: Option<Places>,
}

/// Until the server stops and the last transport is closed.
async fn watch(hub: Arc<Hub>, draining: CancellationToken) {
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => hub.look(Instant::now()),
            () = draining.cancelled(), if !hub.is_draining() => hub.drain(),
        }
        if hub.is_draining() && hub.is_empty() {
            return;
        }
    }
}

async fn serve(State(Served { hub, mut engine, places }): State<Served>, mut request: Request) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if origin.as_ref().is_some_and(|origin| !hub.origins.allow(origin.as_bytes())) {
        // In Engine.IO's own words.
        return (StatusCode::FORBIDDEN, r#"{"code":4,"message":"Forbidden"}"#).into_response();
    }
    let mut response = if *request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else if hub.is_draining() {
        ApiError::unavailable().into_response()
    } else if !take_place(places.as_ref(), &mut request) {
        StatusCode::TOO_MANY_REQUESTS.into_response()
    } else {
        let is_post = *request.method() == Method::POST;
        let session = session(&request);
        let answer = async {
            match engine.call(slim(request)).await {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            }
        };
        let response = if is_post {
            timeout(BODY, answer).await.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
        } else {
            answer.await
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            session.into_iter().for_each(|session| hub.upgrades(session));
        }
        response
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// False if a polling session would be one too many.
fn take_place(places: Option<&Places>, request: &mut Request) -> bool {
    let is_polling =
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "transport=polling"));
    let (Some(places), true) = (places, is_polling && opens(request)) else { return true };
    let Some(ConnectInfo(from)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return true };
    let place = places(from.ip());
    let is_left = place.is_some();
    place.map(|place| request.extensions_mut().insert(Arc::new(place)));
    is_left
}

/// The Engine.IO session that it belongs to.
fn session(request: &Request) -> Option<Sid> {
    request.uri().query()?.split('&').find_map(|part| part.strip_prefix("sid="))?.parse().ok()
}

/// Whether it begins an Engine.IO session.
fn opens(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| !query.split('&').any(|part| part.starts_with("sid=")))
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

/// The request as small as it can be: one that opens a transport is kept as long as that lives, and with it the buffer
/// in which its head was read, unless each part is copied.
fn slim(mut request: Request) -> Request {
    let opens = opens(&request);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let from = request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
    let place = request.extensions_mut().remove::<Arc<Place>>();
    let (parts, body) = request.into_parts();
    let mut slim = Request::new(body);
    *slim.method_mut() = parts.method;
    *slim.version_mut() = parts.version;
    let has_no_use = |name: &str| {
        ["accept", "accept-encoding", "accept-language", "cache-control", "connection", "pragma", "upgrade"]
            .contains(&name)
            || (name.starts_with("sec-") && name != "sec-websocket-key")
    };
    if opens {
        *slim.uri_mut() = parts.uri.to_string().parse().unwrap_or_default();
        for (name, value) in parts.headers.iter().filter(|(name, _)| !has_no_use(name.as_str())) {
            let name = header::HeaderName::from_bytes(name.as_str().as_bytes());
            let value = HeaderValue::from_bytes(value.as_bytes());
            if let (Ok(name), Ok(value)) = (name, value) {
                slim.headers_mut().append(name, value);
            }
        }
    } else {
        *slim.uri_mut() = parts.uri;
        *slim.headers_mut() = parts.headers;
    }
    let extensions = slim.extensions_mut();
    upgrade.map(|upgrade| extensions.insert(upgrade));
    from.map(|from| extensions.insert(from));
    // Until the transport ends it counts as a connection of its address.
    place.map(|place| extensions.insert(place));
    slim
}
