//! How long after an interruption both hear each other again.
//!
//! Both say a sound without a pause, so that a silence in what the other recorded is the interruption's alone.

use super::call::{Call, Wish};
use super::gap::{Listener, write_hum};
use super::world::{Plan, World};
use super::{Bench, Wanted, report, side_by_side};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// The hum is no speech: what cleans speech would take it away.
pub const AS_SPOKEN: &[&str] = &["--no-aec", "--no-ns", "--no-agc"];
const SAID: Duration = Duration::from_secs(150);
/// Before the interruption.
const SETTLING: Duration = Duration::from_secs(4);
/// Sound that lasts as long has come back.
const LASTING: Duration = Duration::from_secs(2);
/// The longest wait for it, after the path is back.
const CAP: Duration = Duration::from_secs(45);
/// Watched for a gap where none should be, after the server is back and both are linked.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// How long the server is away.
const SERVER_AWAY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    AddressChanged,
    RouteMoved,
    Loss(u64),
    ServerKilled,
    ServerKilledAndLoss,
    Stopped,
}

const ALL: [What; 8] = [
    What::AddressChanged,
    What::RouteMoved,
    What::Loss(2),
    What::Loss(5),
    What::Loss(15),
    What::ServerKilled,
    What::ServerKilledAndLoss,
    What::Stopped,
];

impl What {
    fn name(self) -> String {
        match self {
            Self::AddressChanged => "address changed".to_owned(),
            Self::RouteMoved => "default route moved".to_owned(),
            Self::Loss(seconds) => format!("{seconds} s of total loss"),
            Self::ServerKilled => "server killed and restarted".to_owned(),
            Self::ServerKilledAndLoss => "server killed, and 5 s of total loss".to_owned(),
            Self::Stopped => "one process stopped for 20 s".to_owned(),
        }
    }

    fn aim_ms(self) -> u64 {
        match self {
            Self::AddressChanged | Self::RouteMoved => 1_500,
            Self::Loss(_) | Self::ServerKilledAndLoss | Self::Stopped => 1_000,
            Self::ServerKilled => 0,
        }
    }

    fn measured(self) -> &'static str {
        match self {
            Self::AddressChanged | Self::RouteMoved => "from the change until both hear",
            Self::Loss(_) | Self::ServerKilledAndLoss => "from when the path is back until both hear",
            Self::ServerKilled => "longest silence",
            Self::Stopped => "from when it goes on until both hear",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Run {
    /// What is measured, of the worse side.
    ms: Option<u64>,
    /// The caller's and the callee's.
    each_ms: [Option<u64>; 2],
    /// The longest silence of each from the interruption on.
    gap_ms: [u64; 2],
    fault: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    measured: &'static str,
    median_ms: Option<u64>,
    worst_ms: Option<u64>,
    aim_ms: u64,
    met: bool,
    runs: Vec<Run>,
}

pub fn run(bench: &Bench, wanted: &Wanted<'_>) -> Result<(usize, usize)> {
    let mut kinds = ALL.to_vec();
    kinds.retain(|what| wanted.rows.is_none_or(|part| what.name().contains(part)));
    let runs: Vec<(What, u32)> = kinds.iter().flat_map(|what| (0..wanted.runs).map(|run| (*what, run))).collect();
    println!("\ninterruptions: {} runs, {} at a time", runs.len(), wanted.at_once);
    let hums = [bench.dir.join("caller-hum.wav"), bench.dir.join("callee-hum.wav")];
    write_hum(&hums[0], 150.0, SAID, None)?;
    write_hum(&hums[1], 190.0, SAID, None)?;
    let results = side_by_side(&runs, wanted.at_once, |(what, number)| {
        let run = one(bench, *what, *number, &hums);
        let said = match (&run.fault, run.ms) {
            (Some(fault), _) => format!("FAILED: {}", fault.lines().next().unwrap_or_default()),
            (None, ms) => format!("{} ms (silent {:?} ms)", ms.unwrap_or_default(), run.gap_ms),
        };
        println!("  {:<40} {said}", what.name());
        (*what, run)
    })?;
    let rows: Vec<Row> = kinds.iter().map(|what| row(*what, &results)).collect();
    show(&rows);
    report::write("interruptions", bench.profile, &rows)?;
    // A missed aim is marked; what fails is a call that did not come back.
    let failed = rows.iter().filter(|row| row.runs.iter().any(|run| run.fault.is_some())).count();
    Ok((rows.len() - failed, failed))
}

fn row(what: What, results: &[(What, Run)]) -> Row {
    let runs: Vec<Run> = results.iter().filter(|(of, _)| *of == what).map(|(_, run)| run.clone()).collect();
    let mut times: Vec<u64> = runs.iter().filter_map(|run| run.ms).collect();
    times.sort_unstable();
    let all = times.len() == runs.len();
    // One that never came back is worse than any time.
    let worst_ms = times.last().copied().filter(|_| all);
    Row {
        name: what.name(),
        measured: what.measured(),
        median_ms: times.get(runs.len() / 2).copied(),
        worst_ms,
        aim_ms: what.aim_ms(),
        met: worst_ms.is_some_and(|worst| worst <= what.aim_ms()),
        runs,
    }
}

fn one(bench: &Bench, what: What, number: u32, hums: &[PathBuf; 2]) -> Run {
    let mut run = Run { ms: None, each_ms: [None; 2], gap_ms: [0; 2], fault: None };
    if let Err(error) = interrupt(bench, what, number, hums, &mut run) {
        run.fault = Some(format!("{error:#}"));
    }
    run
}

fn interrupt(bench: &Bench, what: What, number: u32, hums: &[PathBuf; 2], run: &mut Run) -> Result<()> {
    let dir = bench.dir(&format!("{} {number}", what.name()))?;
    // Only a path that is broken on purpose goes by way of the emulator.
    let emulated = matches!(what, What::Loss(_) | What::ServerKilledAndLoss).then(|| u64::from(number));
    let plan = Plan { emulated, second_way: what == What::RouteMoved, ..Plan::default() };
    let world = World::build(&plan)?;
    let says: [&Path; 2] = [&hums[0], &hums[1]];
    let mut call = Call::start(bench, &dir, &world, &Wish { tls: false, says, extra: AS_SPOKEN })?;
    call.connected()?;
    let listeners = call.recordings().map(|file| Listener::start(&file));
    std::thread::sleep(SETTLING);

    let begun = Instant::now();
    let back = disturb(what, &world, &mut call)?;
    let watched_from = if what == What::ServerKilled { begun } else { back };
    let result = wait_until_heard(&listeners, watched_from, run);
    for (gap, listener) in run.gap_ms.iter_mut().zip(&listeners) {
        *gap = listener.longest_gap(begun)?.as_millis() as u64;
    }
    result?;
    run.ms = match what {
        What::ServerKilled => run.gap_ms.iter().max().copied(),
        What::AddressChanged | What::RouteMoved | What::Loss(_) | What::ServerKilledAndLoss | What::Stopped => {
            run.each_ms.iter().flatten().max().copied()
        }
    };
    let reasons = call.hang_up()?;
    if reasons != ["hung_up", "hung_up"] {
        bail!("the call ended with {reasons:?}");
    }
    Ok(())
}

/// Does it; from when on the sound could come back.
fn disturb(what: What, world: &World, call: &mut Call<'_>) -> Result<Instant> {
    let begun = Instant::now();
    let path = || world.path.as_ref().context("a world without a path");
    match what {
        What::AddressChanged => {
            world.move_address()?;
            return Ok(begun);
        }
        What::RouteMoved => {
            world.move_route()?;
            return Ok(begun);
        }
        What::Loss(seconds) => {
            path()?.set("down")?;
            std::thread::sleep(Duration::from_secs(seconds));
            path()?.set("up")?;
        }
        What::ServerKilled => {
            call.kill_server();
            std::thread::sleep(SERVER_AWAY);
            call.start_server_again()?;
            call.linked(2)?;
            std::thread::sleep(AFTERWARDS);
        }
        What::ServerKilledAndLoss => {
            call.kill_server();
            path()?.set("down")?;
            std::thread::sleep(SERVER_AWAY);
            call.start_server_again()?;
            std::thread::sleep(Duration::from_secs(5).saturating_sub(begun.elapsed()));
            path()?.set("up")?;
        }
        What::Stopped => {
            call.caller.pause()?;
            std::thread::sleep(Duration::from_secs(20));
            call.caller.go_on()?;
        }
    }
    Ok(Instant::now())
}

fn wait_until_heard(listeners: &[Listener; 2], back: Instant, run: &mut Run) -> Result<()> {
    let deadline = Instant::now() + CAP;
    loop {
        for (heard, listener) in run.each_ms.iter_mut().zip(listeners) {
            *heard = listener.heard_again(back, LASTING)?.map(|after| after.as_millis() as u64);
        }
        if run.each_ms.iter().all(Option::is_some) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("within {} s not both heard the other again: {:?}", CAP.as_secs(), run.each_ms);
        }
        std::thread::sleep(MS * 300);
    }
}

fn show(rows: &[Row]) {
    let head = ["", "median ms", "worst ms", "aim", "", "measured"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    let number = |ms: Option<u64>| ms.map_or_else(|| "never".to_owned(), |ms| ms.to_string());
    for row in rows {
        table.push(vec![
            row.name.clone(),
            number(row.median_ms),
            number(row.worst_ms),
            format!("<= {}", row.aim_ms),
            if row.met { "met" } else { "MISSED" }.to_owned(),
            row.measured.to_owned(),
        ]);
    }
    report::table(&table);
    for row in rows {
        for run in row.runs.iter().filter(|run| run.fault.is_some()) {
            println!("  {}: {}", row.name, run.fault.as_deref().unwrap_or_default());
        }
    }
}
