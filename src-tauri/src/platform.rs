//! What differs between Linux, macOS and Windows in the shell.

use crate::controller::{Ask, Controls};
use tauri::AppHandle;

/// The system's page on which a person allows the microphone.
#[cfg(target_os = "macos")]
pub const MICROPHONE_SETTINGS: Option<&str> =
    Some("x-apple.systempreferences:com.apple.preference.security?Privacy_Microphone");
#[cfg(target_os = "windows")]
pub const MICROPHONE_SETTINGS: Option<&str> = Some("ms-settings:privacy-microphone");
/// Linux desktops have no common one.
#[cfg(not(any(target_os = "macos", target_os = "windows")))]
pub const MICROPHONE_SETTINGS: Option<&str> = None;

/// macOS sends an opened link as an event; Linux and Windows start the app again with it as its argument.
#[cfg(target_os = "macos")]
pub fn watch_links(app: &AppHandle, controls: &Controls) {
    use tauri_plugin_deep_link::DeepLinkExt;
    let controls = controls.clone();
    app.deep_link().on_open_url(move |event| {
        for link in event.urls() {
            controls.ask_from_outside(Ask::OpenLink(link.into()));
        }
    });
}
#[cfg(not(target_os = "macos"))]
pub fn watch_links(_app: &AppHandle, _controls: &Controls) {}

/// Ends the app in good order when the system asks for it: calls hang up, recordings are finished.
#[cfg(unix)]
pub async fn watch_signals(controls: Controls) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be watched; being terminated will end calls without a goodbye");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    controls.ask(Ask::Quit).await;
}
#[cfg(not(unix))]
pub async fn watch_signals(controls: Controls) {
    if tokio::signal::ctrl_c().await.is_ok() {
        controls.ask(Ask::Quit).await;
    }
}
