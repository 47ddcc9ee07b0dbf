//! `cargo xtask bench`: what a release build costs and how fast it is, beside what is aimed at.
//!
//! A missed aim is marked and fails nothing: figures of a machine that does something else at the time say little. All
//! of it stays on this machine. The figures are also written as JSON below target/bench.

mod cost;
mod delay;
mod load;
mod process;
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
    /// Measures this alone; may be given more than once.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Accept to the first sound, in 30 calls.
    Setup,
    /// Microphone to speaker.
    Sound,
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

const ALL: &[Part] =
    &[Part::Setup, Part::Sound, Part::Cost, Part::Idle, Part::Relay, Part::Storm, Part::OlderRelay, Part::Turn];

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
    println!("set-up");
    let parts = if options.only.is_empty() { ALL } else { &options.only };
    if parts.iter().all(|part| matches!(part, Part::OlderRelay | Part::Turn)) {
        system::provide(&[Purpose::Relays], options.no_install)?;
        build::programs("release", &["bellwire-server"], &["--example", "older_load", "--example", "turn_load"])?;
    } else {
        let purposes = [Purpose::Engine, Purpose::Speech, Purpose::VirtualSound, Purpose::Relays];
        system::provide(&purposes, options.no_install)?;
        build::programs(
            "release",
            &["bellwire-server", "bellwire-client"],
            &["--example", "load", "--example", "older_load", "--example", "turn_load"],
        )?;
    }
    println!("  build        done");
    // Of this run alone: two benches at once spoil their figures, but not their files.
    let dir = fresh(&xtask::target().join(format!("bench/run-{}", std::process::id())))?;
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(match part {
            Part::Setup => setup::measure(&dir)?,
            Part::Sound => sound::measure(&dir)?,
            Part::Cost => cost::measure(&dir)?,
            Part::Idle => load::idle(&dir)?,
            Part::Relay => load::relay(&dir)?,
            Part::Storm => load::storm(&dir)?,
            Part::OlderRelay => relay::measure(&dir)?,
            Part::Turn => turn::measure(&dir)?,
        });
    }
    // Kept only where something went wrong.
    std::fs::remove_dir_all(&dir)?;
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
