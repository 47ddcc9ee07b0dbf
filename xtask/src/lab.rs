//! The network laboratory: the real programs in network namespaces, behind translators and firewalls, on bad paths.
//!
//! [`run`] builds worlds, lets two people call each other in each, and tells in three tables whether calls get through, how
//! long an interruption lasts, and whether a check before a call names what is wrong. It needs Linux, root, `ip`, `nft`
//! and `openssl`; nothing of the machine's own network is touched. The programs must have been built: `bellwire-server`,
//! `bellwire-echo`, `bellwire-cli` and the example `recording`.
//! docs/network.md says how to read the tables.

mod call;
mod check;
mod checks;
mod connects;
pub mod emulator;
mod gap;
mod interruptions;
pub mod nat;
pub mod net;
mod report;
mod system;
pub mod ways;
pub mod world;

pub use system::in_namespace;

use anyhow::{Context, Result, bail};
use net::Sweeper;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a run of this program does when started with this word and a process's id: see [`net::sweep`].
pub const SWEEP: &str = "lab-sweep";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The laboratory itself: translators, the emulated path, how exactly gaps are measured.
    Check,
    /// Whether calls get through, by which path, how fast.
    Connects,
    /// How long interruptions last.
    Interruptions,
    /// What a check before a call says of a network.
    Checks,
}

pub const PARTS: &[Part] = &[Part::Check, Part::Connects, Part::Interruptions, Part::Checks];

pub struct Wanted<'a> {
    pub parts: &'a [Part],
    /// Only rows whose name holds this.
    pub rows: Option<&'a str>,
    /// Runs of each interruption.
    pub runs: u32,
    /// Worlds at a time.
    pub at_once: usize,
    /// Profile folder of the programs: `debug`, `release`.
    pub profile: &'static str,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub passed: usize,
    pub failed: usize,
}

/// Why there can be no laboratory here, if so.
pub fn why_not() -> Option<&'static str> {
    system::is_possible().err()
}

/// Runs these parts. `program` is one that does [`net::sweep`] when told [`SWEEP`].
pub fn run(wanted: &Wanted<'_>, program: &Path) -> Result<Outcome> {
    let _sweeper = Sweeper::start(program, SWEEP)?;
    let folder = xtask_folder()?;
    let bench = Bench { dir: folder.join(format!("run-{}", std::process::id())), profile: wanted.profile };
    std::fs::create_dir_all(&bench.dir)?;
    let mut outcome = Outcome::default();
    for part in wanted.parts {
        let (passed, failed) = match part {
            Part::Check => check::run(&bench)?,
            Part::Connects => connects::run(&bench, wanted)?,
            Part::Interruptions => interruptions::run(&bench, wanted)?,
            Part::Checks => checks::run(&bench, wanted)?,
        };
        outcome.passed += passed;
        outcome.failed += failed;
    }
    if outcome.failed == 0 {
        std::fs::remove_dir_all(&bench.dir)?;
    } else {
        println!("\nwhat the programs said and heard is in {}", bench.dir.display());
    }
    Ok(outcome)
}

fn xtask_folder() -> Result<PathBuf> {
    let folder = crate::target().join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// Where one run keeps what it makes, and the programs that it tries.
struct Bench {
    dir: PathBuf,
    profile: &'static str,
}

impl Bench {
    fn dir(&self, name: &str) -> Result<PathBuf> {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let dir = self.dir.join(name.chars().map(word).collect::<String>());
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// Does the work for each, so many at a time, and gives the results in order.
fn side_by_side<T: Sync, R: Send>(items: &[T], at_once: usize, work: impl Fn(&T) -> R + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while let Some((n, item)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    items.get(n).map(|item| (n, item))
                } {
                    let result = work(item);
                    if let Ok(mut results) = results.lock() {
                        results.push((n, result));
                    }
                }
            });
        }
    });
    let Ok(mut results) = results.into_inner() else { bail!("a world ended badly") };
    results.sort_by_key(|(n, _)| *n);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
