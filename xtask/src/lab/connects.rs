//! Whether calls get through: every pair of translators, firewalls, IPv6 alone, bad paths.

use super::call::{Call, Heard, Way, Wish, compare, write_speech};
use super::nat::{Firewall, NATS};
use super::world::{Access, Plan, World};
use super::{Bench, Wanted, report, side_by_side};
use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is said by each, from when the call is connected.
const SPOKEN_SECONDS: &str = "8";
/// On a bad path there must be more of it, for enough to get through.
const SPOKEN_ON_BAD_PATHS: &str = "15";
/// The speech does not end before the call does, whenever that connects.
const SPEECH_SECONDS: u32 = 60;
/// How much of the words must be in what was heard where nothing is in the way,
const CORRELATION: f64 = 0.5;
/// and how much of them must be recognised where much is lost or late. How well it sounds is another question.
const RECOGNISED_MS: u64 = 1_000;
const SEED: u64 = 4;

struct Scenario {
    name: String,
    plan: Plan,
    tls: bool,
    /// The conditions of home a's path, both ways.
    path: &'static [&'static str],
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// Connected on both sides, and each heard the other's words.
    works: bool,
    /// From accepting to the later side's "connected".
    connected_ms: Option<u64>,
    /// The caller's and the callee's, at the end.
    ways: [Way; 2],
    /// How well the caller heard the callee, and the other way round.
    heard: [Heard; 2],
    fault: Option<String>,
}

pub fn run(bench: &Bench, wanted: &Wanted<'_>) -> Result<(usize, usize)> {
    let mut scenarios = scenarios();
    scenarios.retain(|scenario| wanted.rows.is_none_or(|part| scenario.name.contains(part)));
    println!("\ncalls that get through: {} worlds, {} at a time", scenarios.len(), wanted.at_once);
    let speech = [bench.dir.join("caller-says.wav"), bench.dir.join("callee-says.wav")];
    write_speech(bench.profile, "low", SPEECH_SECONDS, &speech[0])?;
    write_speech(bench.profile, "high", SPEECH_SECONDS, &speech[1])?;
    let rows = side_by_side(&scenarios, wanted.at_once, |scenario| {
        let row = one(bench, scenario, &speech);
        println!("  {:<44} {}", row.name, row.verdict());
        row
    })?;
    show(&rows);
    report::write("connects", bench.profile, &rows)?;
    let works = rows.iter().filter(|row| row.works).count();
    Ok((works, rows.len() - works))
}

fn scenarios() -> Vec<Scenario> {
    let plain = |name: String, a: Access, b: Access| Scenario {
        name,
        plan: Plan { a, b, ..Plan::default() },
        tls: false,
        path: &[],
    };
    let mut all = Vec::new();
    for a in NATS {
        for b in NATS {
            let access = |nat| Access { nat, ..Access::default() };
            all.push(plain(format!("{} - {}", a.word(), b.word()), access(a), access(b)));
        }
    }
    let open = Access::default();
    for (firewall, what, tls) in
        [(Firewall::NoUdp, "UDP blocked", false), (Firewall::TlsOnly, "all but TLS 443 blocked", true)]
    {
        let closed = Access { firewall, ..open };
        for (a, b, at) in [(closed, open, "a"), (open, closed, "b"), (closed, closed, "both")] {
            all.push(Scenario { tls, ..plain(format!("{what} at {at}"), a, b) });
        }
    }
    let mut ipv6 = plain("IPv6 only".to_owned(), open, open);
    ipv6.plan.ipv6 = true;
    all.push(ipv6);
    let paths: [(&str, &[&str]); 7] = [
        ("5 % loss", &["loss 0.05"]),
        ("10 % loss", &["loss 0.10"]),
        ("20 % loss", &["loss 0.20"]),
        ("30 % loss", &["loss 0.30"]),
        // One each 2 s of sound, 200 ms long.
        ("bursts of 10 packets, 10 % lost", &["bursts 0.0111 0.1"]),
        ("40 kbit/s", &["rate 40000 500"]),
        ("300 ms each way with 100 ms of jitter", &["delay 300 100"]),
    ];
    for (name, path) in paths {
        let mut scenario = Scenario { path, ..plain(name.to_owned(), open, open) };
        scenario.plan.emulated = Some(SEED);
        all.push(scenario);
    }
    all
}

fn one(bench: &Bench, scenario: &Scenario, speech: &[PathBuf; 2]) -> Row {
    let mut row = Row {
        name: scenario.name.clone(),
        works: false,
        connected_ms: None,
        ways: Default::default(),
        heard: Default::default(),
        fault: None,
    };
    let enough = |heard: &Heard| {
        if scenario.path.is_empty() { heard.correlation >= CORRELATION } else { heard.heard_ms >= RECOGNISED_MS }
    };
    match try_call(bench, scenario, speech, &mut row) {
        Ok(()) if row.heard.iter().all(enough) => row.works = true,
        Ok(()) => row.fault = Some("what was said is not in what was heard".to_owned()),
        Err(error) => row.fault = Some(format!("{error:#}")),
    }
    row
}

fn try_call(bench: &Bench, scenario: &Scenario, speech: &[PathBuf; 2], row: &mut Row) -> Result<()> {
    let dir = bench.dir(&scenario.name)?;
    let world = World::build(&scenario.plan)?;
    for line in scenario.path {
        if let Some(path) = &world.path {
            path.set(line)?;
        }
    }
    let says: [&Path; 2] = [&speech[0], &speech[1]];
    let seconds = if scenario.path.is_empty() { SPOKEN_SECONDS } else { SPOKEN_ON_BAD_PATHS };
    // What is asked is whether sound gets through, not what becomes of two voices that begin at the same moment.
    let extra = [super::interruptions::AS_SPOKEN, &["--duration", seconds]].concat();
    let wish = Wish { tls: scenario.tls, says, extra: &extra };
    let mut call = Call::start(bench, &dir, &world, &wish)?;
    row.connected_ms = Some(call.connected()?.as_millis() as u64);
    let ended = call.wait_for_end();
    row.ways = call.ways()?;
    ended?;
    let [caller_hears, callee_hears] = call.recordings();
    row.heard =
        [compare(bench.profile, &speech[1], &caller_hears)?, compare(bench.profile, &speech[0], &callee_hears)?];
    Ok(())
}

impl Row {
    fn verdict(&self) -> String {
        match (&self.fault, self.connected_ms) {
            (None, Some(ms)) => format!("{ms} ms, {}", self.ways[0].words()),
            (Some(fault), _) => format!("FAILED: {}", fault.lines().next().unwrap_or_default()),
            (None, None) => "FAILED".to_owned(),
        }
    }
}

fn show(rows: &[Row]) {
    let head = ["", "connects", "ms", "caller's path", "callee's path", "heard"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        table.push(vec![
            row.name.clone(),
            if row.works { "yes" } else { "NO" }.to_owned(),
            row.connected_ms.map(|ms| ms.to_string()).unwrap_or_default(),
            row.ways[0].words(),
            row.ways[1].words(),
            format!("{:.2} {:.2}", row.heard[0].correlation, row.heard[1].correlation),
        ]);
    }
    report::table(&table);
    for row in rows.iter().filter(|row| !row.works) {
        println!("  {}: {}", row.name, row.fault.as_deref().unwrap_or_default());
    }
}
