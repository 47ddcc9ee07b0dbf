//! Closes the sockets of older apps when their tokens run out, as the switchboard does for its sessions.

use crate::auth::LEEWAY_SECONDS;
use crate::clock;
use crate::sio::Socket;
use bellwire_signaling::UnixMs;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(1);

/// Sockets by the moment at which their token is no longer good.
#[derive(Default)]
pub struct Watch(Mutex<BTreeMap<(UnixMs, u64), Weak<Socket>>>);

impl Watch {
    pub(super) fn add(&self, socket: &Arc<Socket>, expires_at: UnixMs) {
        let until = expires_at.plus(LEEWAY_SECONDS * 1_000);
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.insert((until, socket.number()), Arc::downgrade(socket));
    }

    /// Until the server stops.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => self.close_expired(clock::now()),
                () = stop.cancelled() => return,
            }
        }
    }

    fn close_expired(&self, now: UnixMs) {
        let due = {
            let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let later = sockets.split_off(&(now.plus(1), 0));
            std::mem::replace(&mut *sockets, later)
        };
        for socket in due.into_values().filter_map(|socket| socket.upgrade()) {
            socket.disconnect(true);
        }
    }
}
