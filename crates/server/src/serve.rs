//! Listening, accepting, and stopping in order.
//!
//! axum's own server has no limit for a request's head: a silent connection would stay for ever. So the accept loop is
//! here, with hyper's timer.

use crate::app::{self, App, Started};
use crate::config::{Config, waits};
use crate::data_dir::{DataDir, Running};
use crate::stalling::Stalling;
use crate::{http, metrics};
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tracing::{debug, info, warn};

/// Bytes that hyper holds of one request's head.
const HEAD: usize = 16 * 1024;
/// After an accept failed (no descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop` comes, then drains. `ready` hears where it listens.
pub async fn serve(config: Config, stop: impl Future<Output = ()>, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let data = DataDir::open(&config.data_dir)?;
    let listener =
        TcpListener::bind(&config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let recorder = metrics::install();
    let dev = config.dev;
    let relay_place = config.relays().then_some(address);
    let Started { app, switchboard, sqlite } =
        app::start(config, &data, &address.to_string(), relay_place, recorder).await?;
    let upkeep = tokio::spawn(metrics::upkeep(app.metrics.clone()));
    app.tasks.spawn(app.lobby.clone().keep_time(app.draining.clone()));
    app.tasks.spawn(app.watch.clone().run(app.draining.clone()));
    data.set_running(&Running { listen: address.to_string(), dev })?;
    info!(%address, dev, version = env!("CARGO_PKG_VERSION"), "listening");
    ready(address);
    accept_until(&app, listener, stop).await;
    info!("stopping");
    app.draining.cancel();
    app.tasks.close();
    app.switchboard.stop().await.ok();
    if timeout(waits::DRAIN, app.tasks.wait()).await.is_err() {
        warn!(left = app.tasks.len(), "connections were cut");
    }
    timeout(waits::DRAIN, switchboard).await.ok();
    upkeep.abort();
    timeout(waits::DRAIN, sqlite.close()).await.ok();
    data.clear_running();
    info!("stopped");
    Ok(())
}

async fn accept_until(app: &Arc<App>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let router = http::router(app.clone());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        match accepted {
            Ok((stream, from)) => admit(app, &router, stream, from),
            Err(e) => {
                warn!(error = %e, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves one connection, if its address has a place left.
fn admit(app: &Arc<App>, router: &Router, stream: TcpStream, from: SocketAddr) {
    let Some(place) = app.place(from.ip()) else {
        ::metrics::counter!("bellwire_connections_refused_total").increment(1);
        return;
    };
    let place = Arc::new(place);
    let shared = place.clone();
    stream.set_nodelay(true).ok();
    let service = ServiceBuilder::new()
        .layer(MapRequestLayer::new(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(from));
            request.extensions_mut().insert(shared.clone());
            request
        }))
        .service(router.clone());
    let draining = app.draining.clone();
    app.tasks.spawn(async move {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(waits::HEADER)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(Stalling::new(stream, waits::STALLED)), TowerToHyperService::new(service))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(e) = result {
            debug!(error = %e, "a connection ended");
        }
        drop(place);
    });
}
