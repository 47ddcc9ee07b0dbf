//! Browser drivers that speak the WebDriver protocol on a free port of this machine.

use super::{Process, tethered, wait_for};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Generous: the machine may be busy with a build.
const START_CAP: Duration = Duration::from_secs(30);

/// A running driver; it serves one session at [`url`](Driver::url).
pub struct Driver {
    pub url: String,
    process: Process,
}

impl Driver {
    /// Drives the app's own webview. What the driver has in its environment, the app gets.
    pub fn webkit(log: &Path, env: impl IntoIterator<Item = (&'static str, OsString)>) -> Result<Self> {
        let port = free_port()?;
        let mut command = tethered("WebKitWebDriver");
        command.arg(format!("--port={port}")).arg("--host=127.0.0.1");
        command.envs(env).env("TAURI_WEBVIEW_AUTOMATION", "true");
        Self::start(command, "WebKitWebDriver", log, port).context("package webkit2gtk-driver")
    }

    /// Drives Chromium.
    pub fn chromium(log: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut command = tethered("chromedriver");
        command.arg(format!("--port={port}"));
        Self::start(command, "chromedriver", log, port).context("package chromium-driver")
    }

    fn start(command: std::process::Command, name: &str, log: &Path, port: u16) -> Result<Self> {
        let mut process = Process::spawn(command, name, log)?;
        wait_for(&format!("{name} listens"), START_CAP, || {
            if process.has_ended() {
                bail!("{name} ended at once; see {}", log.display());
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), process })
    }

    pub fn end(&mut self) {
        self.process.end();
    }
}

/// A TCP port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
