//! This server's relay beside coturn: processor time for each relayed packet, and the delay that each adds.
//!
//! Both relay between two allocations of their own, under the same load (the example `turn_load` of bellwire-server), in
//! turns in one run; what is told is the median of the turns. Delay is that of packets from socket to socket by the relay
//! less that of packets without one, sent at the same moments.

use super::load::Load;
use super::{Figure, process};
use crate::demo::fresh;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;
use xtask::rig::{Process, tethered, wait_for};
use xtask::server::Server;

const TURNS: usize = 3;
const PAIRS: usize = 50;
/// Of each allocation a second: a packet of sound each 20 ms.
const RATE: usize = 50;
const SECONDS: usize = 10;
const SECRET: &str = "a secret of the bench alone, 0123456789";
const START_CAP: Duration = Duration::from_secs(20);

pub fn measure(dir: &Path) -> Result<Vec<Figure>> {
    println!("relay beside coturn: {TURNS} turns of each, about {} s", TURNS * 2 * (SECONDS + 3));
    let dir = fresh(&dir.join("turn"))?;
    let secret = dir.join("secret");
    std::fs::write(&secret, SECRET)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        ours.push(turn_of(&our_server(&fresh(&dir.join(format!("ours-{turn}")))?)?, &secret)?);
        theirs.push(turn_of(&coturn(&fresh(&dir.join(format!("coturn-{turn}")))?)?, &secret)?);
    }
    let of = |turns: &[Turn], figure: fn(&Turn) -> f64| {
        let mut all: Vec<f64> = turns.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let figures = |name: [&'static str; 3], figure: fn(&Turn) -> f64| {
        let (mine, other) = (of(&ours, figure), of(&theirs, figure));
        [
            Figure::new(name[0], mine, "us").note(format!("{} packets a second", PAIRS * 2 * RATE)),
            Figure::new(name[1], other, "us"),
            Figure::new(name[2], mine / other, "x"),
        ]
    };
    let mut all = Vec::new();
    all.extend(figures(["relay time for each packet", "the same of coturn", "of coturn's"], |turn| turn.cpu_us));
    all.extend(figures(["delay that the relay adds, median", "the same of coturn", "of coturn's"], |turn| {
        turn.median_us
    }));
    all.extend(figures(["delay that the relay adds, p99", "the same of coturn", "of coturn's"], |turn| turn.p99_us));
    let lost = |turns: &[Turn]| turns.iter().map(|turn| turn.lost).sum::<f64>();
    all.push(Figure::new("packets that a relay lost", lost(&ours), "packets").aim(0.0));
    all.push(Figure::new("the same of coturn", lost(&theirs), "packets"));
    Ok(all)
}

struct Turn {
    cpu_us: f64,
    median_us: f64,
    p99_us: f64,
    lost: f64,
}

/// A relay that runs until it is dropped.
struct Subject {
    address: String,
    id: u32,
    _runs: Runs,
}

enum Runs {
    Ours { _server: Server },
    Coturn { _process: Process },
}

fn our_server(dir: &Path) -> Result<Subject> {
    let settings = dir.join("bellwire.toml");
    std::fs::write(&settings, format!("turn_secret = \"{SECRET}\"\n"))?;
    let server =
        Server::start_with("release", dir, &["--listen", "127.0.0.1:0", "--config", &settings.display().to_string()])?;
    Ok(Subject { address: server.address.clone(), id: server.process_id(), _runs: Runs::Ours { _server: server } })
}

fn coturn(dir: &Path) -> Result<Subject> {
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = tethered("turnserver");
    command.args(["-n", "--use-auth-secret", "--realm=bellwire", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"]);
    // Its own allocations are at loopback here.
    command.args(["--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli", "--simple-log", "--log-file=stdout"]);
    command.arg(format!("--static-auth-secret={SECRET}")).arg(format!("--listening-port={port}"));
    command.arg(format!("--pidfile={}", dir.join("turnserver.pid").display()));
    let log = dir.join("turnserver.log");
    let process = Process::spawn(command, "turnserver", &log).context("coturn did not start (package coturn)")?;
    wait_for("coturn listens", START_CAP, || {
        Ok(std::fs::read_to_string("/proc/net/udp")?.contains(&format!(":{port:04X} ")).then_some(()))
    })?;
    Ok(Subject { address: format!("127.0.0.1:{port}"), id: process.id(), _runs: Runs::Coturn { _process: process } })
}

#[derive(Deserialize)]
struct Done {
    sent: f64,
    relayed: Arrived,
    direct: Arrived,
}

#[derive(Deserialize)]
struct Arrived {
    packets: f64,
    median_us: f64,
    p99_us: f64,
}

fn turn_of(subject: &Subject, secret: &Path) -> Result<Turn> {
    let mut load = Load::start("turn_load", &[&subject.address, &secret.display().to_string()])?;
    load.order(&format!("pairs {PAIRS}"))?;
    load.line()?;
    load.order(&format!("run {RATE} 1"))?;
    load.line()?;
    let before = process::cpu_seconds(subject.id)?;
    load.order(&format!("run {RATE} {SECONDS}"))?;
    let done: Done = serde_json::from_str(&load.line()?)?;
    let spent = process::cpu_seconds(subject.id)? - before;
    Ok(Turn {
        cpu_us: spent / done.relayed.packets * 1e6,
        median_us: done.relayed.median_us - done.direct.median_us,
        p99_us: done.relayed.p99_us - done.direct.p99_us,
        lost: done.sent - done.relayed.packets,
    })
}
