//! The two windows: `main`, and `incoming`, which stands in front of everything while somebody calls.
//!
//! Closing `incoming` by hand answers nothing: the ring goes on in `main`. Closing `main` ends the app; in a call it
//! takes a second time (see [`Controller`](crate::controller::Controller)). Where windows stood is not remembered.

use crate::controller::{Ask, Controls};
use crate::platform;
use crate::view_model::{Level, View};
use std::path::PathBuf;
use std::time::SystemTime;
use tauri::{
    AppHandle, Emitter, Manager, UserAttentionType, WebviewUrl, WebviewWindow, WebviewWindowBuilder, WindowEvent,
};
use tauri_plugin_opener::OpenerExt;
use time::OffsetDateTime;
use time::macros::format_description;

const MAIN: &str = "main";
const INCOMING: &str = "incoming";

pub struct Windows {
    app: AppHandle,
    controls: Controls,
    /// Where the webview keeps its data, if not in the system's place.
    data: Option<PathBuf>,
    rings: bool,
}

impl Windows {
    /// Opens the main window.
    pub fn open(app: AppHandle, controls: Controls, data: Option<PathBuf>) -> tauri::Result<Self> {
        let windows = Self { app, controls, data, rings: false };
        let main = windows.builder(MAIN).inner_size(400.0, 720.0).min_inner_size(360.0, 560.0).build()?;
        let controls = windows.controls.clone();
        main.on_window_event(move |event| {
            if let WindowEvent::CloseRequested { api, .. } = event {
                api.prevent_close();
                controls.ask_from_outside(Ask::CloseMain);
            }
        });
        Ok(windows)
    }

    pub fn view(&self, view: &View) {
        self.emit(MAIN, "view", view);
        if self.rings {
            self.emit(INCOMING, "view", view);
        }
    }

    pub fn level(&self, level: Level) {
        self.emit(MAIN, "level", level);
    }

    /// Opens or closes the window of an incoming call. Closing one that is gone does nothing.
    pub fn ring(&mut self, rings: bool) {
        if rings == self.rings {
            return;
        }
        self.rings = rings;
        if !rings {
            if let Some(window) = self.app.get_webview_window(INCOMING) {
                log_failure("closed", window.destroy());
            }
            return;
        }
        match self.open_incoming() {
            Ok(window) => {
                log_failure("brought to the front", window.set_focus());
                log_failure("pointed out", window.request_user_attention(Some(UserAttentionType::Critical)));
            }
            // The main window shows the ring as well.
            Err(error) => tracing::warn!(%error, "the window of an incoming call cannot be opened"),
        }
    }

    pub fn come_forward(&self) {
        if let Some(main) = self.app.get_webview_window(MAIN) {
            log_failure("brought back", main.unminimize());
            log_failure("brought to the front", main.set_focus());
        }
    }

    pub fn open_microphone_settings(&self) {
        if let Some(page) = platform::MICROPHONE_SETTINGS
            && let Err(error) = self.app.opener().open_url(page, None::<&str>)
        {
            tracing::warn!(%error, "the system's settings cannot be opened");
        }
    }

    /// A file in the downloads folder that is not there yet; in the home folder where the system names no other.
    pub fn report_path(&self) -> Result<PathBuf, String> {
        let paths = self.app.path();
        let dir = paths.download_dir().or_else(|_| paths.home_dir()).map_err(|error| error.to_string())?;
        Ok(dir.join(report_name(SystemTime::now())))
    }

    pub fn end(&self) {
        self.app.exit(0);
    }

    fn open_incoming(&self) -> tauri::Result<WebviewWindow> {
        let window = self
            .builder(INCOMING)
            .inner_size(360.0, 480.0)
            .min_inner_size(320.0, 400.0)
            .always_on_top(true)
            .visible_on_all_workspaces(true)
            .focused(true)
            .center()
            .build()?;
        let controls = self.controls.clone();
        window.on_window_event(move |event| {
            if let WindowEvent::CloseRequested { .. } = event {
                controls.ask_from_outside(Ask::RingWindowClosed);
            }
        });
        Ok(window)
    }

    fn builder(&self, label: &str) -> WebviewWindowBuilder<'_, tauri::Wry, AppHandle> {
        let builder = WebviewWindowBuilder::new(&self.app, label, WebviewUrl::default()).title("Bellwire");
        match &self.data {
            Some(data) => builder.data_directory(data.clone()),
            None => builder,
        }
    }

    fn emit(&self, window: &str, event: &str, value: impl serde::Serialize + Clone) {
        if let Err(error) = self.app.emit_to(window, event, value) {
            tracing::warn!(%error, window, event, "a window cannot be told");
        }
    }
}

fn report_name(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let format = format_description!("bellwire-report-[year]-[month]-[day]-[hour][minute][second].txt");
    // A name without its date is still a name.
    at.format(format).unwrap_or_else(|_| "bellwire-report.txt".to_owned())
}

fn log_failure(what: &str, result: tauri::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a window cannot be {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_report_is_named_after_its_moment() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_268_805);
        assert_eq!(report_name(at), "bellwire-report-2026-01-01-120005.txt");
    }
}
