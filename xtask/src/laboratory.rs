//! `cargo xtask lab`: the network laboratory by hand. What it does is in the library's `lab`.

use crate::build;
use crate::suite::Counts;
use crate::system::{self, Purpose};
use anyhow::{Context, Result, bail};
use std::io::BufRead;
use std::path::PathBuf;
use xtask::lab::emulator::{Emulator, End};
use xtask::lab::{self, PARTS, Part, Wanted};

/// Runs of each interruption in the suite: whether calls come back, not how fast in the median.
const SUITE_RUNS: u32 = 1;
/// Most of a world's time is waiting.
const SUITE_AT_ONCE: usize = 3;

#[derive(clap::Args)]
pub struct Options {
    /// Installs nothing; names the system packages that are missing.
    #[arg(long)]
    no_install: bool,
    /// Builds nothing: with the programs that are there.
    #[arg(long)]
    no_build: bool,
    /// Runs this alone; may be given more than once.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Runs only the rows of the tables whose name holds this.
    #[arg(long, value_name = "TEXT")]
    rows: Option<String>,
    /// How often each interruption is made.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Worlds at a time.
    #[arg(long, default_value_t = 2)]
    at_once: usize,
    /// With the programs of a release build.
    #[arg(long)]
    release: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if let Some(why) = lab::why_not() {
        return absent(why).map(|_| ());
    }
    println!("set-up");
    system::provide(&[Purpose::Engine, Purpose::Speech, Purpose::Network], options.no_install)?;
    let (cargo_profile, profile) = if options.release { ("release", "release") } else { ("dev", "debug") };
    if !options.no_build {
        build::programs(
            cargo_profile,
            &["bellwire-server", "bellwire-echo", "bellwire-client"],
            &["--example", "recording"],
        )?;
        println!("  build        done");
    }
    let parts = if options.only.is_empty() { PARTS } else { &options.only };
    let (rows, runs, at_once) = (options.rows.as_deref(), options.runs, options.at_once);
    let outcome = lab::run(&Wanted { parts, rows, runs, at_once, profile }, &own_program()?)?;
    println!("\n{} passed, {} failed", outcome.passed, outcome.failed);
    if outcome.failed > 0 {
        bail!("{} failed", outcome.failed);
    }
    Ok(())
}

/// The suite's part of it, with programs that are built already.
pub fn in_suite() -> Result<Counts> {
    if let Some(why) = lab::why_not() {
        return absent(why);
    }
    let wanted = Wanted { parts: PARTS, rows: None, runs: SUITE_RUNS, at_once: SUITE_AT_ONCE, profile: "debug" };
    let outcome = lab::run(&wanted, &own_program()?)?;
    Ok(Counts { passed: outcome.passed, failed: outcome.failed, ignored: 0 })
}

/// Where nobody watches, what is not there is a failure.
fn absent(why: &str) -> Result<Counts> {
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        bail!("there is no network laboratory here: {why}");
    }
    println!("  SKIPPED: the network laboratory, because {why}");
    Ok(Counts::default())
}

#[derive(clap::Args)]
pub struct Path {
    /// NAMESPACE:DEVICE of the one end; the device is made.
    #[arg(long)]
    a: String,
    /// The same of the other.
    #[arg(long)]
    b: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Says `ready`, and `done` after each line; the line `counts` prints packets carried and dropped from a and from b.
pub fn carry(path: &Path) -> Result<()> {
    let end = |text: &str| text.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let (a, b) = end(&path.a).zip(end(&path.b)).context("an end is NAMESPACE:DEVICE")?;
    let a = End { namespace: &a.0, device: &a.1 };
    let b = End { namespace: &b.0, device: &b.1 };
    let emulator = Emulator::start(a, b, path.seed)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        match line?.trim() {
            "counts" => {
                let counts = emulator.counts().map(|counts| format!("{} {}", counts.carried, counts.dropped));
                println!("{}", counts.join(" "));
            }
            line => {
                emulator.set(line)?;
                println!("done");
            }
        }
    }
    Ok(())
}

/// This program's file. A build that replaced it meanwhile leaves the system's word of the old one with a mark at its end.
pub fn own_program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let name = own.to_string_lossy();
    Ok(name.strip_suffix(" (deleted)").map_or_else(|| own.clone(), PathBuf::from))
}
