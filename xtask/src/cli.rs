//! `bellwire-cli` as a program under test: one side of a call, and the events that it prints.

use crate::rig::{Process, Sound, tethered, tethered_in, wait_for};
use crate::server::{Person, Server};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Call,
    Answer,
}

impl Task {
    pub fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Answer => "answer",
        }
    }
}

/// Everything that one run is started with.
pub struct Setup<'a> {
    pub profile: &'a str,
    pub dir: &'a Path,
    /// Names its files, and it in what is said.
    pub name: &'a str,
    pub task: Task,
    pub server: &'a Server,
    pub person: &'a Person,
    pub booking: &'a str,
    /// As after `--input` and `--output`.
    pub input: String,
    pub output: String,
    pub extra: Vec<String>,
    pub env: Vec<(&'static str, OsString)>,
}

/// A running `bellwire-cli`; dropping it ends it.
pub struct Cli {
    pub name: String,
    pub task: Task,
    process: Process,
    events: PathBuf,
}

impl Cli {
    pub fn start(setup: Setup<'_>) -> Result<Self> {
        Self::start_with(setup, tethered, &bind_arguments())
    }

    /// As [`start`](Self::start), in a network namespace of that name.
    pub fn start_in(namespace: &str, setup: Setup<'_>) -> Result<Self> {
        Self::start_with(setup, |program| tethered_in(namespace, program), &[])
    }

    fn start_with(setup: Setup<'_>, command: impl FnOnce(PathBuf) -> Command, bind: &[String]) -> Result<Self> {
        let file = |end: &str| setup.dir.join(format!("{}{end}", setup.name));
        let (token, events, log) = (file(".token"), file("-events.json"), file(".log"));
        std::fs::write(&token, &setup.person.token)?;
        let mut command = command(crate::built(setup.profile, "bellwire-cli"));
        command.args([setup.task.word(), "--server", &setup.server.url(), "--events", "json"]);
        command.args(["--booking", setup.booking, "--input", &setup.input, "--output", &setup.output]);
        command.arg("--token-file").arg(&token).args(bind).args(setup.extra).envs(setup.env);
        let process = Process::spawn_apart(command, "bellwire-cli", &events, &log)?;
        Ok(Self { name: setup.name.to_owned(), task: setup.task, process, events })
    }

    pub fn log(&self) -> &Path {
        self.process.log()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Stops it where it is, as a computer that sleeps.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    pub fn go_on(&self) -> Result<()> {
        self.process.go_on()
    }

    pub fn wait(&mut self, cap: Duration) -> Result<ExitStatus> {
        self.process.wait(cap)
    }

    /// Ends it as Ctrl-C would: it hangs up.
    pub fn end(&mut self) {
        self.process.end();
    }

    /// What it has said so far.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.events)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("{} said no event: {line}", self.name)))
            .collect()
    }

    /// Waits for an event; fails at once if the program ends without it.
    pub fn wait_for(&mut self, what: &str, cap: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(&format!("{}: {what}", self.name), cap, || {
            let ended = self.process.has_ended();
            let found = self.events()?.into_iter().find(|event| wanted(event));
            if found.is_none() && ended {
                bail!("{} ended without it: {what}; see {}", self.name, self.events.display());
            }
            Ok(found)
        })
    }

    pub fn wait_for_state(&mut self, state: &str, cap: Duration) -> Result<Value> {
        self.wait_for(state, cap, |event| event["event"] == "state" && event["state"] == state)
    }
}

/// A device's name as `bellwire-cli devices` has it.
pub fn listed(profile: &str, sound: &Sound, name: &str) -> Result<String> {
    let program = crate::built(profile, "bellwire-cli");
    let output = Command::new(program).args(["devices", "--json"]).envs(sound.env()).output()?;
    let devices: Vec<Value> = serde_json::from_slice(&output.stdout).context("no list of devices")?;
    let names: Vec<&str> = devices.iter().filter_map(|device| device["name"].as_str()).collect();
    let found = names.iter().find(|listed| **listed == name);
    found.map(|found| (*found).to_owned()).with_context(|| format!("{name} is not among {names:?}"))
}

/// A file as a device.
pub fn wav(path: &Path) -> String {
    format!("wav:{}", path.display())
}

/// Where nothing but loopback is up, sound has to be told to go over it.
pub fn bind_arguments() -> Vec<String> {
    if has_network() { Vec::new() } else { vec!["--bind".to_owned(), "127.0.0.1".to_owned()] }
}

pub fn has_network() -> bool {
    // Choosing a route sends nothing. The address is one for documentation (RFC 5737).
    let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).and_then(|()| socket.local_addr()))
        .map(|address| address.ip());
    match own {
        Ok(IpAddr::V4(ip)) => !ip.is_loopback() && !ip.is_unspecified(),
        Ok(IpAddr::V6(_)) | Err(_) => false,
    }
}
