//! The server under load, made by the example `load` of bellwire-client on this machine.

use super::{Figure, process};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use xtask::server::Server;

const PEOPLE: u32 = 5_000;
const STORM: u32 = 10_000;
const CALLS: u32 = 500;
/// A little below what the server lets one socket send at once.
const MESSAGES: u32 = 120;
/// What each program may open: the soft limit alone, which needs no privilege.
pub(super) const FILES: &str = "--nofile=20000:";

pub fn idle(dir: &Path) -> Result<Vec<Figure>> {
    println!("memory of {PEOPLE} idle connections");
    let (server, key) = start(dir, "idle")?;
    let mut load = Load::start("load", &["idle", &server.address, &key, &PEOPLE.to_string()])?;
    load.expect("booked")?;
    let before = process::settled_rss_kib(server.process_id())?;
    load.go_on()?;
    load.expect("ready")?;
    let after = process::settled_rss_kib(server.process_id())?;
    let each = (after - before) / f64::from(PEOPLE);
    Ok(vec![Figure::new("server memory for each idle connection", each, "KiB").aim(12.0).note(format!(
        "RSS {:.1} MB with {} bookings, {:.1} MB with {PEOPLE} people signed in",
        before / 1024.0,
        PEOPLE / 2,
        after / 1024.0
    ))])
}

#[derive(Deserialize)]
struct Relayed {
    relayed: u32,
    seconds: f64,
}

pub fn relay(dir: &Path) -> Result<Vec<Figure>> {
    println!("relayed messages of {CALLS} calls at once");
    let (server, key) = start(dir, "relay")?;
    let mut load = Load::start("load", &["relay", &server.address, &key, &CALLS.to_string(), &MESSAGES.to_string()])?;
    load.expect("booked")?;
    load.go_on()?;
    load.expect("ready")?;
    let before = process::cpu_seconds(server.process_id())?;
    load.go_on()?;
    let result: Relayed = serde_json::from_str(&load.line()?)?;
    let spent = process::cpu_seconds(server.process_id())? - before;
    let messages = f64::from(result.relayed);
    Ok(vec![
        Figure::new("relayed signaling messages", messages / result.seconds, "a second").note(format!(
            "{} candidates in {:.1} s; the load takes its share of the same cores",
            result.relayed, result.seconds
        )),
        Figure::new("server time for each relayed message", spent / messages * 1e6, "us")
            .note("received, checked, acknowledged, passed on"),
    ])
}

#[derive(Deserialize)]
struct Storm {
    people: u32,
    seconds: f64,
    refused: u32,
    refused_most: u32,
    unconnected: u32,
    out_of_order: u32,
    neighbour_median_ms: f64,
    neighbour_p99_ms: f64,
}

pub fn storm(dir: &Path) -> Result<Vec<Figure>> {
    println!("{STORM} people who sign in again at once");
    let (server, key) = start(dir, "storm")?;
    let mut load = Load::start("load", &["storm", &server.address, &key, &STORM.to_string()])?;
    load.expect("booked")?;
    load.go_on()?;
    load.expect("ready")?;
    load.go_on()?;
    let storm: Storm = serde_json::from_str(&load.line()?)?;
    let Storm { people, seconds, refused, refused_most, unconnected, out_of_order, .. } = storm;
    if people != STORM {
        bail!("{people} of {STORM} came back");
    }
    Ok(vec![
        Figure::new("all signed in again", seconds, "s").note(format!(
            "{refused} told to come again, {refused_most} times at most; {unconnected} attempts found no connection"
        )),
        Figure::new("told earlier and in a second later", f64::from(out_of_order), "people").aim(0.0),
        Figure::new("answer to one who stayed, median", storm.neighbour_median_ms, "ms"),
        Figure::new("answer to one who stayed, p99", storm.neighbour_p99_ms, "ms")
            .note("the load has the same two cores"),
    ])
}

fn start(dir: &Path, name: &str) -> Result<(Server, String)> {
    let dir = crate::demo::fresh(&dir.join(name))?;
    let server = Server::start("release", &dir)?;
    raise_limit(server.process_id())?;
    let key = server.seed_demo()?.operator_key;
    Ok((server, key))
}

pub(super) fn raise_limit(process_id: u32) -> Result<()> {
    let raised = Command::new("prlimit").args(["--pid", &process_id.to_string(), FILES]).status();
    if !raised.is_ok_and(|status| status.success()) {
        bail!("the server may not open as many sockets as this needs: raise the limit of open files");
    }
    Ok(())
}

/// A running load, an example of one of our crates; it ends when its input does.
pub(super) struct Load {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Load {
    pub(super) fn start(example: &str, arguments: &[&str]) -> Result<Self> {
        let program = xtask::target().join("release/examples").join(example);
        let mut command = Command::new("prlimit");
        command.args([FILES, "setpriv", "--pdeathsig", "TERM", "--"]).arg(program).args(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the load cannot start")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the load has no output")?;
        Ok(Self { child, input, lines: BufReader::new(output).lines() })
    }

    pub(super) fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().context("the load ended early; its fault stands above")??)
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let line = self.line()?;
        if line != word {
            bail!("the load said {line:?} instead of {word:?}");
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        self.order("go")
    }

    pub(super) fn order(&mut self, order: &str) -> Result<()> {
        let input = self.input.as_mut().context("the load has no input")?;
        Ok(writeln!(input, "{order}")?)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
