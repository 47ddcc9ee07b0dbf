//! `cargo xtask bench`: what a release build costs and how fast it is, beside what is aimed at.
//!
//! A missed aim is marked and fails nothing: figures of a machine that does something else at the time say little. All
//! of it stays on this machine. The figures are also written as JSON below target/bench.
//!
//! Parts are named: `cargo xtask bench setup cost`. Without any, all are measured but the laboratories of sound, which
//! take long.

mod cost;
mod load;
mod offline;
mod process;
mod python;
mod relay;
mod setup;
mod sound;
mod turn;

use crate::build;
use crate::demo::fresh;
use crate::system::{self, Purpose};
use anyhow::{Result, bail};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
pub struct Options {
    /// Installs nothing; names the system packages that are missing.
    #[arg(long)]
    no_install: bool,
    /// Builds nothing: with the programs that are there.
    #[arg(long)]
    no_build: bool,
    /// With the programs of this profile of cargo's; figures of any but `release` say little.
    #[arg(long, default_value = "release", value_parser = ["release", "dev"])]
    profile: String,
    /// What is measured.
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// `cost`: one call of so many minutes, and its memory and delay in each.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: Option<u64>,
    #[command(flatten)]
    sound: sound::Wanted,
    #[command(flatten)]
    offline: offline::Laboratory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Accept to the first sound, in 30 calls.
    Setup,
    /// Calls over bad paths, live: delay, quality, cost.
    Sound,
    /// The same in virtual time, with many more calls, and what each mechanism is worth.
    Offline,
    /// An endpoint's processor time and memory.
    Cost,
    /// The server's memory for each idle signed-in connection.
    Idle,
    /// Relayed signaling messages.
    Relay,
    /// 10,000 people who lose their sockets and sign in again all at once.
    Storm,
    /// Those of older apps, and memory of their connections, beside Node's own Socket.IO server.
    OlderRelay,
    /// Packets of sound by the relay, beside coturn.
    Turn,
}

const ALL: &[Part] = &[Part::Setup, Part::Cost, Part::Idle, Part::Relay, Part::Storm, Part::OlderRelay, Part::Turn];

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// At most this, where something is aimed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<f64>,
    /// How it was measured, where the name does not say it.
    pub note: String,
}

impl Figure {
    pub fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, aim: None, note: String::new() }
    }

    pub fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    fn verdict(&self) -> &'static str {
        match self.aim {
            None => "",
            Some(aim) if self.value <= aim => "met",
            Some(_) => "MISSED",
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    at_unix_ms: u128,
    cores: usize,
    figures: &'a [Figure],
}

pub fn run(options: &Options) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("The bench reads /proc and uses PulseAudio: it needs Linux.");
    }
    if options.parts == [Part::Offline] {
        return offline::run(&options.offline, &options.sound.only, options.sound.write, options.no_install);
    }
    println!("set-up");
    let parts = if options.parts.is_empty() { ALL } else { &options.parts };
    let (cargo_profile, profile) = if options.profile == "dev" { ("dev", "debug") } else { ("release", "release") };
    let of_endpoints = |part: &Part| matches!(part, Part::Setup | Part::Sound | Part::Cost);
    let mut purposes = vec![Purpose::Engine, Purpose::Speech, Purpose::VirtualSound, Purpose::Relays];
    let mut packages = vec!["bellwire-server", "bellwire-client"];
    let mut examples = ["--example", "load", "--example", "older_load", "--example", "turn_load"].as_slice();
    if parts.iter().all(|part| matches!(part, Part::OlderRelay | Part::Turn)) {
        purposes = vec![Purpose::Relays];
        packages.pop();
        examples = &["--example", "older_load", "--example", "turn_load"];
    } else if parts.iter().all(of_endpoints) {
        purposes = vec![Purpose::Engine, Purpose::Speech, Purpose::VirtualSound];
        examples = &[];
    }
    if parts.contains(&Part::Sound) || options.minutes.is_some() {
        purposes.extend([Purpose::Network, Purpose::RecordedSpeech]);
        purposes.extend(options.sound.against.map(|_| Purpose::Browser));
    }
    if profile != "release" && !parts.iter().all(of_endpoints) {
        bail!("The server is measured as a release build alone.");
    }
    system::provide(&purposes, options.no_install)?;
    if !options.no_build {
        build::programs(cargo_profile, &packages, examples)?;
    }
    println!("  build        done");
    // Of this run alone: two benches at once spoil their figures, but not their files.
    let dir = fresh(&xtask::target().join(format!("bench/run-{}", std::process::id())))?;
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(match part {
            Part::Setup => setup::measure(&dir, profile)?,
            Part::Sound => sound::measure(&dir, profile, &options.sound)?,
            Part::Offline => bail!("the offline laboratory runs by itself: cargo xtask bench offline"),
            Part::Cost => match options.minutes {
                None => cost::measure(&dir, profile)?,
                Some(minutes) => sound::steady::measure(&dir, profile, minutes)?,
            },
            Part::Idle => load::idle(&dir)?,
            Part::Relay => load::relay(&dir)?,
            Part::Storm => load::storm(&dir)?,
            Part::OlderRelay => relay::measure(&dir)?,
            Part::Turn => turn::measure(&dir)?,
        });
    }
    // Else kept only where something went wrong.
    if options.sound.keep {
        println!("all of it is in {}", dir.display());
    } else {
        std::fs::remove_dir_all(&dir)?;
    }
    table(&figures);
    write(&figures)
}

fn table(figures: &[Figure]) {
    println!("\n{:<44} {:>10} {:<12} {:>10}  ", "", "measured", "", "aim");
    for figure in figures {
        let aim = figure.aim.map_or_else(String::new, |aim| format!("<= {aim}"));
        let Figure { name, value, unit, note, .. } = figure;
        println!("{name:<44} {value:>10.2} {unit:<12} {aim:>10}  {:<7} {note}", figure.verdict());
    }
}

fn write(figures: &[Figure]) -> Result<()> {
    let at_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let json = serde_json::to_string_pretty(&Report { at_unix_ms, cores, figures })?;
    let file = xtask::target().join("bench").join(format!("{at_unix_ms}.json"));
    std::fs::write(&file, json)?;
    println!("\nwritten to {}", file.display());
    Ok(())
}
