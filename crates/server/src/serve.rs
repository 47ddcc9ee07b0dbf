//! Listening, accepting, and stopping in order.
//!
//! axum's own server has no limit for a request's head: a silent connection would stay for ever. So the accept loop is
//! here, with hyper's timer. One TCP port serves HTTP and WebSocket, TURN, and both over TLS: what a client says first
//! tells which (`connection`). The same port of UDP is the relay's.

mod connection;
mod listening;

use crate::app::{self, App, Started};
use crate::checks::Checks;
use crate::config::{Config, waits};
use crate::data_dir::{DataDir, Running};
use crate::tls::Tls;
use crate::{echo, http, metrics};
use anyhow::Result;
use connection::Services;
use listening::Listening;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// After an accept failed (no descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop` comes, then drains. `ready` hears where it listens.
pub async fn serve(config: Config, stop: impl Future<Output = ()>, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let data = DataDir::open(&config.data_dir)?;
    let tls = config.tls_files().map(|(certificate, key)| Tls::open(certificate, key)).transpose()?;
    let Listening { main, relay, udp } = Listening::open(&config).await?;
    let address = main.local_addr()?;
    let recorder = metrics::install();
    let dev = config.dev;
    let Started { app, switchboard, sqlite } = app::start(config, &data, &address.to_string(), udp, recorder).await?;
    let upkeep = tokio::spawn(metrics::upkeep(app.metrics.clone()));
    app.tasks.spawn(app.lobby.clone().keep_time(app.draining.clone()));
    app.tasks.spawn(app.watch.clone().run(app.draining.clone()));
    app.tasks.spawn(Checks::keep_time(app.clone(), app.draining.clone()));
    start_echo(&app, address);
    if let Some(hub) = app.relay.hub() {
        app.tasks.spawn(hub.run(app.draining.clone()));
    }
    let services = Services { router: Some(http::router(app.clone())), tls: tls.map(Arc::new) };
    if let Some(relay) = relay {
        let (app, services) = (app.clone(), Services { router: None, ..services.clone() });
        tokio::spawn(async move {
            let stop = app.draining.clone().cancelled_owned();
            accept_until(&app, relay, services, stop).await;
        });
    }
    data.set_running(&Running { listen: address.to_string(), dev })?;
    info!(%address, dev, version = env!("CARGO_PKG_VERSION"), "listening");
    ready(address);
    accept_until(&app, main, services, stop).await;
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

/// Starts the echo peer where it is wanted and there.
fn start_echo(app: &Arc<App>, listens: SocketAddr) {
    if !app.config.echo.unwrap_or(app.config.dev) {
        return;
    }
    match echo::program() {
        Some(program) => {
            app.tasks.spawn(echo::keep(app.clone(), listens, program, app.draining.clone()));
        }
        None if app.config.echo == Some(true) => {
            warn!("bellwire-echo is not beside this program: nothing answers checks");
        }
        None => info!("bellwire-echo is not beside this program: nothing answers checks"),
    }
}

async fn accept_until(app: &Arc<App>, listener: TcpListener, services: Services, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        match accepted {
            Ok((stream, from)) => admit(app, &services, stream, from),
            Err(e) => {
                warn!(error = %e, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves one connection, if its address has a place left.
fn admit(app: &Arc<App>, services: &Services, stream: TcpStream, from: SocketAddr) {
    let Some(place) = app.place(from.ip()) else {
        ::metrics::counter!("bellwire_connections_refused_total").increment(1);
        return;
    };
    stream.set_nodelay(true).ok();
    app.tasks.spawn(services.clone().serve(app.clone(), stream, from, Arc::new(place)));
}
