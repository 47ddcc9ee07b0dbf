//! One call in a world: a server, the one who calls from home a, and the one who answers in home b.

use super::Bench;
use super::world::World;
use crate::cli::{Cli, Setup, Task, wav};
use crate::rig::wait_for;
use crate::server::{Place, Seeded, Server};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PORT: u16 = 7420;
const TLS_PORT: u16 = 443;
/// Signing in, presence and ringing, over a bad path on a busy machine.
const RING_CAP: Duration = Duration::from_secs(60);
/// The product gives up after 30 s itself.
const CONNECT_CAP: Duration = Duration::from_secs(40);
const END_CAP: Duration = Duration::from_secs(60);
/// What a call is made with.
pub struct Wish<'a> {
    /// The server is reached by TLS on port 443.
    pub tls: bool,
    /// What the caller and the callee say.
    pub says: [&'a Path; 2],
    /// More words for both.
    pub extra: &'a [&'a str],
}

/// Parts are ended in this order.
pub struct Call<'a> {
    pub caller: Cli,
    pub callee: Cli,
    server: Server,
    certificate: Option<Certificate>,
    world: &'a World,
    dir: PathBuf,
    profile: &'static str,
}

impl<'a> Call<'a> {
    /// Starts all of it; the callee accepts at once.
    pub fn start(bench: &Bench, dir: &Path, world: &'a World, wish: &Wish<'_>) -> Result<Self> {
        let certificate = wish.tls.then(|| Certificate::make(dir, world.server_ip())).transpose()?;
        let server = start_server(bench.profile, dir, world, certificate.as_ref())?;
        let seeded = server.seed_demo()?;
        let side = |task| start_side(bench, dir, world, &server, &seeded, certificate.as_ref(), wish, task);
        let (callee, caller) = (side(Task::Answer)?, side(Task::Call)?);
        let (dir, profile) = (dir.to_owned(), bench.profile);
        Ok(Self { caller, callee, server, certificate, world, dir, profile })
    }

    /// Waits until both say that they are connected; how long that took from when the call was accepted.
    pub fn connected(&mut self) -> Result<Duration> {
        self.callee.wait_for("an accepted call", RING_CAP, |event| {
            event["event"] == "command" && event["command"] == "accept"
        })?;
        let accepted = at(&self.callee.events()?, |event| event["event"] == "command" && event["command"] == "accept")?;
        let mut last = accepted;
        for side in [&mut self.caller, &mut self.callee] {
            let connected = |event: &Value| event["event"] == "state" && event["state"] == "connected";
            let over = |event: &Value| event["event"] == "ended";
            side.wait_for("connected", CONNECT_CAP, |event| connected(event) || over(event))?;
            let events = side.events()?;
            let Ok(connected) = at(&events, connected) else {
                let reason = events.iter().find(|event| over(event)).map(|event| event["reason"].to_string());
                bail!("{} never connected: {}", side.name, reason.unwrap_or_default());
            };
            last = last.max(connected);
        }
        Ok(Duration::from_secs_f64((last - accepted).max(0.0) / 1000.0))
    }

    /// Waits for the end that was given with the call.
    pub fn wait_for_end(&mut self) -> Result<()> {
        for side in [&mut self.caller, &mut self.callee] {
            let status = side.wait(END_CAP)?;
            if !status.success() {
                bail!("{} ended with {status}", side.name);
            }
        }
        Ok(())
    }

    /// The caller hangs up; why the call ended on both sides.
    pub fn hang_up(&mut self) -> Result<[String; 2]> {
        self.caller.end();
        let _ = self.callee.wait(END_CAP)?;
        let reason = |side: &Cli| -> Result<String> {
            let events = side.events()?;
            let ended = events.iter().rev().find(|event| event["event"] == "ended");
            Ok(ended.and_then(|event| event["reason"].as_str()).unwrap_or("none").to_owned())
        };
        Ok([reason(&self.caller)?, reason(&self.callee)?])
    }

    pub fn kill_server(&mut self) {
        self.server.kill();
    }

    /// At the address and with the data of the one before.
    pub fn start_server_again(&mut self) -> Result<()> {
        self.server = start_server(self.profile, &self.dir, self.world, self.certificate.as_ref())?;
        Ok(())
    }

    /// Waits until both have so many times been linked to the server.
    pub fn linked(&self, times: usize) -> Result<()> {
        for side in [&self.caller, &self.callee] {
            wait_for(&format!("{}: linked again", side.name), RING_CAP, || {
                let up = |event: &&Value| event["event"] == "link" && event["state"] == "up";
                Ok((side.events()?.iter().filter(up).count() >= times).then_some(()))
            })?;
        }
        Ok(())
    }

    /// What each heard.
    pub fn recordings(&self) -> [PathBuf; 2] {
        [recording(&self.dir, &self.caller.name), recording(&self.dir, &self.callee.name)]
    }

    pub fn ways(&self) -> Result<[Way; 2]> {
        Ok([Way::of(&self.caller.events()?), Way::of(&self.callee.events()?)])
    }
}

/// The way of one side's sound, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Way {
    pub local: String,
    pub remote: String,
    /// How this side reaches the relay, where it does.
    pub relay: Option<String>,
    pub ipv6: bool,
}

impl Way {
    fn of(events: &[Value]) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(path) = events.iter().rev().find(|event| event["event"] == "path") {
            return Self {
                local: text(&path["local"]),
                remote: text(&path["remote"]),
                relay: path["relay"].as_str().map(str::to_owned),
                ipv6: path["ipv6"] == true,
            };
        }
        let known = |event: &&Value| event["event"] == "stats" && !event["local_candidate"].is_null();
        match events.iter().rev().find(known) {
            Some(stats) => Self {
                local: text(&stats["local_candidate"]),
                remote: text(&stats["remote_candidate"]),
                ..Self::default()
            },
            None => Self::default(),
        }
    }

    pub fn words(&self) -> String {
        let Self { local, remote, relay, ipv6 } = self;
        let relay = relay.as_deref().map(|relay| format!(" by {relay}")).unwrap_or_default();
        format!("{local}{relay} - {remote}{}", if *ipv6 { " IPv6" } else { "" })
    }
}

/// In the world's server, at its address; with a certificate, where TLS alone may get through.
pub fn start_server(profile: &str, dir: &Path, world: &World, certificate: Option<&Certificate>) -> Result<Server> {
    let listen = world.address(if certificate.is_some() { TLS_PORT } else { PORT });
    let env = certificate.map(Certificate::server_env).unwrap_or_default();
    let place = Place { namespace: &world.server.name, env, tls: certificate.is_some() };
    Server::start_in(place, profile, dir, &["--listen", &listen])
}

#[expect(clippy::too_many_arguments, reason = "all that one side is started with, from one place")]
fn start_side(
    bench: &Bench,
    dir: &Path,
    world: &World,
    server: &Server,
    seeded: &Seeded,
    certificate: Option<&Certificate>,
    wish: &Wish<'_>,
    task: Task,
) -> Result<Cli> {
    let (name, person, home, says) = match task {
        Task::Call => ("caller", &seeded.client, &world.a, wish.says[0]),
        Task::Answer => ("callee", &seeded.provider, &world.b, wish.says[1]),
    };
    let setup = Setup {
        profile: bench.profile,
        dir,
        name,
        task,
        server,
        person,
        booking: &seeded.booking,
        input: wav(says),
        output: wav(&recording(dir, name)),
        extra: wish.extra.iter().map(|word| (*word).to_owned()).collect(),
        env: certificate.map(Certificate::client_env).unwrap_or_default(),
    };
    Cli::start_in(&home.name, setup)
}

fn recording(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-hears.wav"))
}

/// When the first such event was, in milliseconds of Unix time.
fn at(events: &[Value], wanted: impl Fn(&Value) -> bool) -> Result<f64> {
    let began = events.first().and_then(|event| event["unix_ms"].as_f64()).context("no beginning")?;
    let event = events.iter().find(|event| wanted(event)).context("no such event")?;
    Ok(began + event["at_ms"].as_f64().context("an event without a time")?)
}

/// Writes speech-like sound of one of the voices that the example `recording` has.
pub fn write_speech(profile: &str, voice: &str, seconds: u32, file: &Path) -> Result<()> {
    let output = recordings_program(profile).args(["speech", voice, &seconds.to_string()]).arg(file).output();
    let output = output.context("the example `recording` cannot be started")?;
    if !output.status.success() {
        bail!("no speech: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// What of somebody's words is in what was heard.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Heard {
    /// 0 to 1; other speech stays below 0.35.
    pub correlation: f64,
    /// Speech that was recognised; of other speech, next to none.
    pub heard_ms: u64,
}

pub fn compare(profile: &str, speech: &Path, recording: &Path) -> Result<Heard> {
    let output = recordings_program(profile).arg("compare").args([speech, recording]).output();
    let output = output.context("the example `recording` cannot be started")?;
    if !output.status.success() {
        bail!("{}: {}", recording.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("no comparison came of it")
}

fn recordings_program(profile: &str) -> Command {
    Command::new(crate::built(profile, "examples/recording"))
}

/// An authority of one call, and the server's certificate by it.
pub struct Certificate {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub fn make(dir: &Path, ip: &str) -> Result<Self> {
        let file = |name: &str| dir.join(name);
        let (authority, authority_key) = (file("authority.pem"), file("authority-key.pem"));
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        let make = |subject: &str, out: &Path, key: &Path, extensions: &[&str], by: Option<(&Path, &Path)>| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
            command.args(["-days", "2", "-subj", subject, "-out"]).arg(out).arg("-keyout").arg(key);
            extensions.iter().for_each(|extension| {
                command.args(["-addext", extension]);
            });
            if let Some((by, by_key)) = by {
                command.arg("-CA").arg(by).arg("-CAkey").arg(by_key);
            }
            let output = command.output().context("openssl cannot be started")?;
            if !output.status.success() {
                bail!("openssl: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(())
        };
        make("/CN=Bellwire laboratory", &authority, &authority_key, &["keyUsage=critical,keyCertSign"], None)?;
        let names = format!("subjectAltName=IP:{ip}");
        let extensions = [names.as_str(), "basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth"];
        make("/CN=Bellwire server", &certificate, &key, &extensions, Some((&authority, &authority_key)))?;
        Ok(Self { authority, certificate, key })
    }

    fn server_env(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("BELLWIRE_TLS_CERTIFICATE_FILE", self.certificate.clone().into()),
            ("BELLWIRE_TLS_KEY_FILE", self.key.clone().into()),
            // For its echo peer, which reaches the relay by TLS as an app does.
            ("SSL_CERT_FILE", self.authority.clone().into()),
        ]
    }

    pub fn client_env(&self) -> Vec<(&'static str, OsString)> {
        vec![("SSL_CERT_FILE", self.authority.clone().into())]
    }
}
