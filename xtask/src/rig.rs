//! A private desk for a program under test: a display, a sound server, a session bus, a browser driver.
//!
//! Each part is a process of its own that is ended by its id when its value is dropped, and by the kernel if this
//! process dies first. Nothing of the machine's own desktop is touched or needed. Linux alone: elsewhere a part says
//! so when it is asked to start.

mod driver;
mod process;
mod sound;

pub use driver::{Driver, descendants, free_port};
pub use process::{Process, tail, tethered, tethered_in, wait_for};
pub use sound::{Plugged, Recording, Sound};

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a program needs to think that it runs on a person's own desktop: [`env`](Desk::env) says where all of it is.
pub struct Desk {
    pub dir: PathBuf,
    pub sound: Sound,
    display: Display,
    bus: Bus,
}

impl Desk {
    /// `dir` is made empty first. The desk has no microphone and no speaker until they are plugged in.
    pub fn start(dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("{} cannot be emptied", dir.display()))?;
        }
        for part in ["data", "config", "cache", "run"] {
            std::fs::create_dir_all(dir.join(part))?;
        }
        let dir = dir.canonicalize()?;
        Ok(Self {
            sound: Sound::start(&dir.join("sound"))?,
            display: Display::start(&dir)?,
            bus: Bus::start(&dir)?,
            dir,
        })
    }

    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        let mut env = vec![
            ("HOME", self.dir.clone().into_os_string()),
            ("XDG_DATA_HOME", self.dir.join("data").into()),
            ("XDG_CONFIG_HOME", self.dir.join("config").into()),
            ("XDG_CACHE_HOME", self.dir.join("cache").into()),
            ("DISPLAY", self.display.name.clone().into()),
            ("DBUS_SESSION_BUS_ADDRESS", self.bus.address.clone().into()),
            ("GDK_BACKEND", "x11".into()),
            ("NO_AT_BRIDGE", "1".into()),
            ("WEBKIT_DISABLE_DMABUF_RENDERER", "1".into()),
        ];
        env.extend(self.sound.env());
        env
    }

    /// A picture of what stands on the display.
    pub fn screenshot(&self, to: &Path) -> Result<()> {
        let status = std::process::Command::new("import")
            .args(["-display", &self.display.name, "-window", "root", "-trim", "+repage"])
            .arg(to)
            .status()
            .context("`import` is not there (package imagemagick)")?;
        if !status.success() {
            bail!("no screenshot of display {}: `import` ended with {status}", self.display.name);
        }
        Ok(())
    }
}

/// An X server without a screen, on a display number that it finds itself.
pub struct Display {
    pub name: String,
    _process: Process,
}

impl Display {
    pub fn start(dir: &Path) -> Result<Self> {
        let mut command = tethered("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset"]);
        let (process, number) = Process::spawn_saying(command, "Xvfb", &dir.join("xvfb.log"), Duration::from_secs(20))
            .context("the virtual display did not start (package xvfb)")?;
        Ok(Self { name: format!(":{}", number), _process: process })
    }
}

/// A session bus of its own: two desks never meet.
struct Bus {
    address: String,
    _process: Process,
}

impl Bus {
    fn start(dir: &Path) -> Result<Self> {
        let mut command = tethered("dbus-daemon");
        command.args(["--session", "--nofork", "--nosyslog", "--print-address=1"]);
        command.arg(format!("--address=unix:dir={}", dir.join("run").display()));
        let (process, address) =
            Process::spawn_saying(command, "dbus-daemon", &dir.join("dbus.log"), Duration::from_secs(20))
                .context("the session bus did not start (package dbus)")?;
        Ok(Self { address, _process: process })
    }
}
