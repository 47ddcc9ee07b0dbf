//! Whether a check before a call names what is wrong with a network, and finds the ways that are left.
//!
//! One person in home a checks with the echo peer that the server starts beside itself.

use super::call::{Certificate, start_server, write_speech};
use super::nat::Firewall;
use super::world::{Access, Plan, World};
use super::{Bench, Wanted, report, side_by_side};
use crate::cli::wav;
use crate::rig::{Process, tethered_in, wait_for};
use crate::server::{Seeded, Server};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// The person speaks for as long as the check listens.
const SPEECH_SECONDS: u32 = 60;
/// The program gives up after three minutes itself.
const CHECK_CAP: Duration = Duration::from_secs(240);
const ECHO_CAP: Duration = Duration::from_secs(60);
const SEED: u64 = 4;

struct Scenario {
    name: &'static str,
    firewall: Firewall,
    tls: bool,
    /// The conditions of home a's path, both ways.
    path: &'static [&'static str],
    /// What has to be found; without it, nothing may be.
    fault: Option<&'static str>,
    /// One of these ways has to be left. On a bad path one or the other may not come about in its time.
    by: &'static [&'static str],
}

const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "nothing wrong", firewall: Firewall::Open, tls: false, path: &[], fault: None, by: &["direct"] },
    Scenario {
        name: "15 % loss",
        firewall: Firewall::Open,
        tls: false,
        path: &["loss 0.15"],
        fault: Some("loss"),
        by: &["direct", "relay_udp", "relay_tcp"],
    },
    Scenario {
        name: "UDP blocked",
        firewall: Firewall::NoUdp,
        tls: false,
        path: &[],
        fault: Some("udp_blocked"),
        by: &["relay_tcp"],
    },
    Scenario {
        name: "all but TLS 443 blocked",
        firewall: Firewall::TlsOnly,
        tls: true,
        path: &[],
        fault: Some("udp_blocked"),
        by: &["relay_tls"],
    },
    Scenario {
        name: "500 ms of delay each way",
        firewall: Firewall::Open,
        tls: false,
        path: &["delay 500"],
        fault: Some("delay"),
        by: &["direct", "relay_udp", "relay_tcp"],
    },
];

/// The last event of `bellwire-cli check`, as far as it is looked at.
#[derive(Debug, Deserialize, Serialize)]
struct Checked {
    verdict: String,
    findings: Vec<Finding>,
    paths: Vec<Tried>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Finding {
    fault: String,
    severity: String,
    measured: Option<f64>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Tried {
    path: String,
    connected: bool,
    setup_ms: u64,
    loss_up: f64,
    loss_down: f64,
    round_trip_ms: Option<f64>,
    jitter_ms: f64,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// All that was to be found was, and the way that is left was.
    right: bool,
    said: Option<Checked>,
    seconds: f64,
    fault: Option<String>,
}

pub fn run(bench: &Bench, wanted: &Wanted<'_>) -> Result<(usize, usize)> {
    let mut scenarios: Vec<&Scenario> = SCENARIOS.iter().collect();
    scenarios.retain(|scenario| wanted.rows.is_none_or(|part| scenario.name.contains(part)));
    println!("\nchecks before a call: {} worlds, {} at a time", scenarios.len(), wanted.at_once);
    let speech = bench.dir.join("checker-says.wav");
    write_speech(bench.profile, "low", SPEECH_SECONDS, &speech)?;
    let rows = side_by_side(&scenarios, wanted.at_once, |scenario| {
        let row = one(bench, scenario, &speech);
        println!("  {:<44} {}", row.name, row.verdict());
        row
    })?;
    show(&rows);
    report::write("checks", bench.profile, &rows)?;
    let right = rows.iter().filter(|row| row.right).count();
    Ok((right, rows.len() - right))
}

fn one(bench: &Bench, scenario: &Scenario, speech: &Path) -> Row {
    let mut row = Row { name: scenario.name, right: false, said: None, seconds: 0.0, fault: None };
    match check(bench, scenario, speech) {
        Ok((said, took)) => {
            row.fault = said.is_not(scenario);
            row.right = row.fault.is_none();
            (row.said, row.seconds) = (Some(said), took.as_secs_f64());
        }
        Err(error) => row.fault = Some(format!("{error:#}")),
    }
    row
}

fn check(bench: &Bench, scenario: &Scenario, speech: &Path) -> Result<(Checked, Duration)> {
    let dir = bench.dir(&format!("check {}", scenario.name))?;
    let emulated = (!scenario.path.is_empty()).then_some(SEED);
    let a = Access { firewall: scenario.firewall, ..Access::default() };
    let world = World::build(&Plan { a, emulated, ..Plan::default() })?;
    for line in scenario.path {
        world.path.as_ref().context("no path")?.set(line)?;
    }
    let certificate = scenario.tls.then(|| Certificate::make(&dir, world.server_ip())).transpose()?;
    let server = start_server(bench.profile, &dir, &world, certificate.as_ref())?;
    let seeded = server.seed_demo()?;
    wait_for("an echo peer (bellwire-echo beside bellwire-server)", ECHO_CAP, || {
        let log = std::fs::read_to_string(server.log())?;
        Ok(log.contains("an echo peer answers checks").then_some(()))
    })?;
    let begun = Instant::now();
    let said = ask(bench, &dir, &world, &server, &seeded, certificate.as_ref(), speech)?;
    Ok((said, begun.elapsed()))
}

/// Runs the program to its end.
fn ask(
    bench: &Bench,
    dir: &Path,
    world: &World,
    server: &Server,
    seeded: &Seeded,
    certificate: Option<&Certificate>,
    speech: &Path,
) -> Result<Checked> {
    let file = |end: &str| dir.join(format!("checker{end}"));
    let (token, events, log) = (file(".token"), file("-events.json"), file(".log"));
    std::fs::write(&token, &seeded.client.token)?;
    let mut command = tethered_in(&world.a.name, crate::built(bench.profile, "bellwire-cli"));
    command.args(["check", "--events", "json", "--server", &server.url()]).arg("--token-file").arg(&token);
    command.args(["--input", &wav(speech), "--output", &wav(&file("-hears.wav"))]);
    command.envs(certificate.map(Certificate::client_env).unwrap_or_default());
    let mut process = Process::spawn_apart(command, "bellwire-cli check", &events, &log)?;
    let status = process.wait(CHECK_CAP)?;
    let printed = std::fs::read_to_string(&events)?;
    let last = printed.lines().last().filter(|line| line.contains(r#""event":"check""#));
    let Some(last) = last else { bail!("the check ended with {status} and no verdict; see {}", events.display()) };
    let said: Checked = serde_json::from_str(last).context("the verdict is not understood")?;
    let expected = if said.verdict == "ready" { 0 } else { 6 };
    if status.code() != Some(expected) {
        bail!("the verdict is {:?}, and the program ended with {status}", said.verdict);
    }
    Ok(said)
}

impl Checked {
    /// What of this is not what such a network has to be told about.
    fn is_not(&self, scenario: &Scenario) -> Option<String> {
        let (verdict, named) = match scenario.fault {
            Some(fault) => {
                ("problems", self.findings.iter().any(|found| found.fault == fault && found.severity == "serious"))
            }
            None => ("ready", self.findings.is_empty()),
        };
        if self.verdict != verdict {
            return Some(format!("the verdict is {:?}, not {verdict:?}: {}", self.verdict, self.findings()));
        }
        if !named {
            let fault = scenario.fault.unwrap_or("nothing");
            return Some(format!("{fault} should be found, and this is: {}", self.findings()));
        }
        let connected = self.paths.iter().any(|tried| scenario.by.contains(&tried.path.as_str()) && tried.connected);
        (!connected).then(|| format!("none of {} works", scenario.by.join(", ")))
    }

    fn findings(&self) -> String {
        let word = |found: &Finding| {
            let measured = found.measured.map(|measured| format!(" {measured:.0}")).unwrap_or_default();
            format!("{} ({}{measured})", found.fault, found.severity)
        };
        if self.findings.is_empty() {
            return "none".to_owned();
        }
        self.findings.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    /// Milliseconds until packets came back by this way, if it was tried.
    fn way(&self, path: &str) -> String {
        match self.paths.iter().find(|tried| tried.path == path) {
            Some(tried) if tried.connected => tried.setup_ms.to_string(),
            Some(_) => "no".to_owned(),
            None => "-".to_owned(),
        }
    }
}

impl Row {
    fn verdict(&self) -> String {
        match (&self.fault, &self.said) {
            (None, Some(said)) => format!("{}: {}", said.verdict, said.findings()),
            (Some(fault), _) => format!("FAILED: {}", fault.lines().next().unwrap_or_default()),
            (None, None) => "FAILED".to_owned(),
        }
    }
}

fn show(rows: &[Row]) {
    let head = ["", "right", "verdict", "found", "direct ms", "udp ms", "tcp ms", "tls ms", "s"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let of = |what: &dyn Fn(&Checked) -> String| row.said.as_ref().map(what).unwrap_or_default();
        table.push(vec![
            row.name.to_owned(),
            if row.right { "yes" } else { "NO" }.to_owned(),
            of(&|said| said.verdict.clone()),
            of(&Checked::findings),
            of(&|said| said.way("direct")),
            of(&|said| said.way("relay_udp")),
            of(&|said| said.way("relay_tcp")),
            of(&|said| said.way("relay_tls")),
            format!("{:.0}", row.seconds),
        ]);
    }
    report::table(&table);
    for row in rows.iter().filter(|row| !row.right) {
        println!("  {}: {}", row.name, row.fault.as_deref().unwrap_or_default());
    }
}
