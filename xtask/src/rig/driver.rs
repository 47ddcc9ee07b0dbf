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

    /// Ends the driver, and what it had started: an app may outlive its session.
    pub fn end(&mut self) {
        let started = descendants(self.process.id());
        self.process.end();
        end_all(&started);
    }

    /// The processes that the driver has started, and those that they have started: the app comes first.
    pub fn descendants(&self) -> Vec<u32> {
        descendants(self.process.id())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
    }
}

/// All processes below this one, as the system lists them now.
pub fn descendants(parent: u32) -> Vec<u32> {
    let mut found = vec![parent];
    let mut next = 0;
    let all = processes();
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
    }
    found.split_off(1)
}

/// Every process with its parent, from /proc (proc(5)); nothing where there is none.
fn processes() -> Vec<(u32, u32)> {
    let Ok(folders) = std::fs::read_dir("/proc") else { return Vec::new() };
    folders
        .flatten()
        .filter_map(|folder| {
            let id = folder.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(folder.path().join("stat")).ok()?;
            // After the name, which may hold anything but ends with the last bracket: state, parent.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect()
}

#[cfg(unix)]
fn end_all(processes: &[u32]) {
    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    let pids: Vec<Pid> = processes.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)).collect();
    for pid in &pids {
        let _ = kill_process(*pid, Signal::TERM);
    }
    let gone = wait_for("the driver's programs end", Duration::from_secs(3), || {
        Ok(pids.iter().all(|pid| test_kill_process(*pid).is_err()).then_some(()))
    });
    if gone.is_err() {
        for pid in &pids {
            let _ = kill_process(*pid, Signal::KILL);
        }
    }
}

#[cfg(not(unix))]
fn end_all(_processes: &[u32]) {}

/// A TCP port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
