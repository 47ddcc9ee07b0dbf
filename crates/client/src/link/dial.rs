//! From nothing to a WebSocket, by as many attempts as it takes.
//!
//! In a call the attempts overlap: a packet that was lost is sent again after 1, 3 and 7 seconds by TCP itself, but a
//! second later by the next attempt, so that one of them gets through as soon as the path is back.

use super::{Orders, Patience};
use crate::LinkFault;
use crate::fault::Lost;
use crate::socket::{Server, Socket};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// Attempts that are under way at once.
const AT_ONCE: usize = 5;
/// A server that took the connection is given this long before another attempt: it may be busy, which more would make worse.
const SLOW_SERVER: Duration = Duration::from_secs(2);

enum Step {
    Connected(Result<TcpStream, Lost>),
    Upgraded(Result<Box<Socket>, Lost>),
}

type Steps = FuturesUnordered<BoxFuture<'static, Step>>;

/// The first WebSocket that stands, or why none does; after `within` it is enough. Begins anew when the orders say that the network is another one.
pub(super) async fn dial(
    server: Server,
    patience: Patience,
    mut orders: watch::Receiver<Orders>,
    within: Duration,
) -> Result<Box<Socket>, Lost> {
    let until = Instant::now() + within;
    let mut begun_for = orders.borrow_and_update().renewals;
    let mut steps = Steps::new();
    let mut next_at = Instant::now();
    loop {
        let hurries = orders.borrow().urgency.hurries();
        if steps.is_empty() || (hurries && next_at <= Instant::now() && steps.len() < AT_ONCE) {
            steps.push(connect(server.clone(), if hurries { patience.hurried_connect } else { patience.connect }));
            next_at = Instant::now() + patience.hurried_retry;
        }
        tokio::select! {
            Some(step) = steps.next() => match step {
                Step::Connected(Ok(stream)) => {
                    steps.push(upgrade(server.clone(), stream, patience.connect));
                    next_at = next_at.max(Instant::now() + SLOW_SERVER);
                }
                Step::Upgraded(Ok(socket)) => return Ok(socket),
                Step::Connected(Err(lost)) | Step::Upgraded(Err(lost)) => {
                    // What somebody answered there counts; of those that reached nobody, the last does.
                    if steps.is_empty() || lost.why != LinkFault::Unreachable {
                        return Err(lost);
                    }
                }
            },
            () = sleep_until(until) => return Err(LinkFault::Unreachable.into()),
            () = sleep_until(next_at), if hurries && steps.len() < AT_ONCE => {}
            changed = orders.changed() => {
                if changed.is_err() {
                    return Err(LinkFault::Closed.into());
                }
                let renewals = orders.borrow_and_update().renewals;
                if std::mem::replace(&mut begun_for, renewals) != renewals {
                    steps.clear();
                }
            }
        }
    }
}

fn connect(server: Server, within: Duration) -> BoxFuture<'static, Step> {
    Box::pin(async move {
        Step::Connected(timeout(within, server.tcp()).await.unwrap_or(Err(LinkFault::Unreachable.into())))
    })
}

fn upgrade(server: Server, stream: TcpStream, within: Duration) -> BoxFuture<'static, Step> {
    Box::pin(async move {
        let upgraded = timeout(within, server.upgrade(stream)).await.unwrap_or(Err(LinkFault::Unreachable.into()));
        Step::Upgraded(upgraded.map(Box::new))
    })
}
