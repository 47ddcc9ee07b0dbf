//! A server of one's own, with people and a booking that is open now.

use crate::rig::{Process, tethered, tethered_in};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Generous: the machine may be busy with a build.
const START_CAP: Duration = Duration::from_secs(60);

/// A `bellwire-server --dev` on a free port of this machine; it runs until it is dropped.
pub struct Server {
    /// HOST:PORT
    pub address: String,
    pub data: PathBuf,
    program: PathBuf,
    process: Process,
    scheme: &'static str,
}

/// Where and how a server runs that is not simply on this machine.
pub struct Place<'a> {
    pub namespace: &'a str,
    pub env: Vec<(&'static str, OsString)>,
    /// Apps reach it by TLS.
    pub tls: bool,
}

impl Server {
    /// From the programs of this profile folder (`debug`, `release`), with its data and log below `dir`.
    pub fn start(profile: &str, dir: &Path) -> Result<Self> {
        Self::start_at(profile, dir, "127.0.0.1:0")
    }

    /// At an address of the caller's choice: where an earlier one was, say.
    pub fn start_at(profile: &str, dir: &Path, listen: &str) -> Result<Self> {
        Self::start_with(profile, dir, &["--listen", listen])
    }

    /// With these options beside `--dev` and the data directory.
    pub fn start_with(profile: &str, dir: &Path, options: &[&str]) -> Result<Self> {
        let command = tethered(crate::built(profile, "bellwire-server"));
        Self::start_from(profile, dir, options, command, "ws")
    }

    /// In a network namespace.
    pub fn start_in(place: Place<'_>, profile: &str, dir: &Path, options: &[&str]) -> Result<Self> {
        let mut command = tethered_in(place.namespace, crate::built(profile, "bellwire-server"));
        command.envs(place.env);
        Self::start_from(profile, dir, options, command, if place.tls { "wss" } else { "ws" })
    }

    fn start_from(
        profile: &str,
        dir: &Path,
        options: &[&str],
        mut command: Command,
        scheme: &'static str,
    ) -> Result<Self> {
        let (data, program) = (dir.join("server"), crate::built(profile, "bellwire-server"));
        command.args(["serve", "--dev", "--data-dir"]).arg(&data).args(options);
        let (process, line) = Process::spawn_saying(command, "bellwire-server", &dir.join("server.log"), START_CAP)?;
        let Some(address) = line.strip_prefix("listening on ") else {
            bail!("the server's first line is {line:?}, not where it listens");
        };
        Ok(Self { address: address.to_owned(), data, program, process, scheme })
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn log(&self) -> &Path {
        self.process.log()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn end(&mut self) {
        self.process.end();
    }

    /// Ends it without a warning, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn seed_demo(&self) -> Result<Seeded> {
        let printed = self.tool(&["seed-demo", "--json"])?;
        serde_json::from_str(&printed).context("seed-demo printed no JSON that is understood")
    }

    /// Runs one of the server's own tools on its data and returns what it printed.
    pub fn tool(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .arg("--data-dir")
            .arg(&self.data)
            .output()
            .context("bellwire-server cannot be started")?;
        if !output.status.success() {
            bail!("bellwire-server {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// What `seed-demo --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Seeded {
    pub booking: String,
    pub client: Person,
    pub provider: Person,
    pub operator_key: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    pub id: String,
    pub token: String,
    pub link: String,
}
