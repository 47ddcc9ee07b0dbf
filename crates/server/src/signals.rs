//! When the system asks the server to stop.

/// Completes at SIGTERM or Ctrl-C.
#[cfg(unix)]
pub async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return ctrl_c().await };
    tokio::select! {
        _ = term.recv() => {}
        () = ctrl_c() => {}
    }
}

/// Completes at Ctrl-C.
#[cfg(windows)]
pub async fn stop() {
    ctrl_c().await;
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
