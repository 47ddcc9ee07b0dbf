//! `cargo xtask test`: every phase, its time, and one sum of passed and failed at the end.
//!
//! All is built once with one set of features; the phases then run the test programs that came of it. A phase that
//! fails does not keep the next from running. Nothing is skipped: what is not there is a failure.

use crate::build::{self, TestProgram};
use crate::system::{self, Purpose};
use crate::{fuzz, laboratory, step, tidy};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::{Duration, Instant};
use xtask::rig::tail;

#[derive(clap::Args)]
pub struct Options {
    /// Format, lints, tidy, unit tests and a short simulation: below three minutes once built.
    #[arg(long, conflicts_with = "only")]
    fast: bool,
    /// Installs nothing; names the system packages that are missing.
    #[arg(long)]
    no_install: bool,
    /// Runs this phase alone; may be given more than once.
    #[arg(long, value_name = "PHASE")]
    only: Vec<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Phase {
    /// rustfmt.
    Fmt,
    /// The rules that no compiler checks.
    Tidy,
    /// clippy, with every warning an error.
    Clippy,
    /// The tests inside the crates, and those of crates that need nothing else.
    Unit,
    /// The tests of bellwire-call: timelines, and random histories against the nine rules.
    Simulation,
    /// The real server and real sockets.
    Server,
    /// What is heard, without a device.
    Media,
    /// The engine against the real server.
    Client,
    /// `bellwire-cli` and a page in Chromium.
    Browser,
    /// Two real windows.
    Windows,
    /// The network laboratory: calls behind translators and firewalls, and their interruptions.
    Network,
    /// The fuzzers, for a minute.
    Fuzz,
}

const ALL: &[Phase] = &[
    Phase::Fmt,
    Phase::Tidy,
    Phase::Clippy,
    Phase::Unit,
    Phase::Simulation,
    Phase::Server,
    Phase::Media,
    Phase::Client,
    Phase::Browser,
    Phase::Windows,
    Phase::Network,
    Phase::Fuzz,
];
const FAST: &[Phase] = &[Phase::Fmt, Phase::Tidy, Phase::Clippy, Phase::Unit, Phase::Simulation];

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Clippy => "clippy",
            Self::Unit => "unit",
            Self::Simulation => "simulation",
            Self::Server => "server",
            Self::Media => "media",
            Self::Client => "client",
            Self::Browser => "browser",
            Self::Windows => "windows",
            Self::Network => "network",
            Self::Fuzz => "fuzz",
        }
    }

    fn needs_build(self) -> bool {
        match self {
            Self::Fmt | Self::Tidy | Self::Clippy | Self::Simulation | Self::Fuzz => false,
            Self::Unit | Self::Server | Self::Media | Self::Client | Self::Browser | Self::Windows | Self::Network => {
                true
            }
        }
    }

    /// Which of the test programs are this phase's. Each integration test belongs to exactly one.
    fn owns(self, test: &TestProgram) -> bool {
        let of = |package: &str| test.is_integration && test.package == package;
        match self {
            Self::Server => of("bellwire-server"),
            Self::Media => of("bellwire-media"),
            Self::Client => of("bellwire-client"),
            Self::Browser => of("bellwire") && test.target == "browser",
            Self::Windows => of("bellwire") && test.target != "browser",
            // The tests inside bellwire-call are the simulation's, which builds them in a faster profile.
            Self::Unit => {
                let simulation = test.package == "bellwire-call";
                (!test.is_integration && !simulation) || of("bellwire-signaling") || of("bellwire-call") || of("xtask")
            }
            Self::Fmt | Self::Tidy | Self::Clippy | Self::Simulation | Self::Network | Self::Fuzz => false,
        }
    }

    /// Windows and browsers want the machine to themselves.
    fn threads(self) -> Option<&'static str> {
        match self {
            Self::Browser | Self::Windows => Some("--test-threads=1"),
            Self::Fmt
            | Self::Tidy
            | Self::Clippy
            | Self::Unit
            | Self::Simulation
            | Self::Server
            | Self::Media
            | Self::Client
            | Self::Network
            | Self::Fuzz => None,
        }
    }
}

/// What a phase came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub ignored: usize,
}

impl Counts {
    const PASSED: Self = Self { passed: 1, failed: 0, ignored: 0 };
    const FAILED: Self = Self { passed: 0, failed: 1, ignored: 0 };

    fn of(passed: bool) -> Self {
        if passed { Self::PASSED } else { Self::FAILED }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

pub fn run(options: &Options) -> Result<()> {
    let phases = match (options.fast, options.only.as_slice()) {
        (true, _) => FAST,
        (false, []) => ALL,
        (false, only) => only,
    };
    let begun = Instant::now();
    println!("set-up");
    system::provide(&purposes(phases), options.no_install)?;

    let mut sum = Counts::default();
    let mut built: Option<Vec<TestProgram>> = None;
    for &phase in phases {
        if phase.needs_build() && built.is_none() {
            built = Some(timed("build", &mut sum, |_| build::everything())?.unwrap_or_default());
        }
        let tests = built.as_deref().unwrap_or_default();
        if phase.needs_build() && tests.is_empty() {
            println!("{:<12} FAILED: nothing was built to run", phase.name());
            sum.failed += 1;
            continue;
        }
        timed(phase.name(), &mut sum, |sum| one(phase, options.fast, tests, sum))?;
    }
    println!("\nall of it took {} s", begun.elapsed().as_secs());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed > 0 {
        bail!("{} failed; the logs are in {}", sum.failed, step::log("x").with_file_name("").display());
    }
    Ok(())
}

fn purposes(phases: &[Phase]) -> Vec<Purpose> {
    let mut purposes = vec![Purpose::Engine];
    let light = |phase: &Phase| matches!(phase, Phase::Fmt | Phase::Simulation);
    if !phases.iter().all(light) {
        purposes.extend([Purpose::App, Purpose::Speech, Purpose::VirtualSound, Purpose::Tests, Purpose::Network]);
    }
    purposes
}

/// Runs a part with its time printed; its failure is counted, not passed on.
fn timed<T>(name: &str, sum: &mut Counts, work: impl FnOnce(&mut Counts) -> Result<T>) -> Result<Option<T>> {
    println!("{name}");
    let begun = Instant::now();
    let mut counts = Counts::default();
    let result = work(&mut counts);
    if let Err(error) = &result {
        println!("{error:#}");
        counts.failed += 1;
    }
    sum.add(counts);
    let word = if counts.failed == 0 { "ok" } else { "FAILED" };
    println!(
        "{name:<12} {word}: {} passed, {} failed, {:.1} s",
        counts.passed,
        counts.failed,
        begun.elapsed().as_secs_f32()
    );
    Ok(result.ok())
}

fn one(phase: Phase, fast: bool, tests: &[TestProgram], sum: &mut Counts) -> Result<()> {
    match phase {
        Phase::Fmt => {
            step::run("fmt", build::cargo().args(["fmt", "--all", "--check"]))?;
            sum.add(Counts::PASSED);
        }
        Phase::Clippy => {
            let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            step::run("clippy", build::cargo().args(lint))?;
            sum.add(Counts::PASSED);
        }
        Phase::Tidy => {
            for (name, found) in tidy::checks() {
                sum.add(Counts::of(tidy::report(name, found)));
            }
        }
        Phase::Simulation => {
            let test = build::crate_tests("sim", "bellwire-call")?;
            run_test(phase, &test, if fast { &[("BELLWIRE_HISTORIES", "2000")] } else { &[] }, sum)?;
        }
        Phase::Unit => {
            for test in tests.iter().filter(|test| phase.owns(test)) {
                run_test(phase, test, &[], sum)?;
            }
            sum.add(doc_tests()?);
        }
        Phase::Network => sum.add(laboratory::in_suite()?),
        Phase::Fuzz => sum.add(Counts { passed: fuzz::in_suite()?, ..Counts::default() }),
        Phase::Server | Phase::Media | Phase::Client | Phase::Browser | Phase::Windows => {
            let mut any = false;
            for test in tests.iter().filter(|test| phase.owns(test)) {
                any = true;
                run_test(phase, test, &[], sum)?;
            }
            if !any {
                bail!("there is no test of this phase");
            }
        }
    }
    Ok(())
}

fn run_test(phase: Phase, test: &TestProgram, env: &[(&str, &str)], sum: &mut Counts) -> Result<()> {
    let name = format!("{}-{}", phase.name(), test.target);
    let log = step::log(&name);
    let mut command = Command::new(&test.program);
    command.current_dir(&test.folder).env("CARGO_MANIFEST_DIR", &test.folder).envs(env.iter().copied());
    command.args(phase.threads());
    let begun = Instant::now();
    let passed = step::run_to_log(&name, &mut command, &log)?;
    let mut counts = counts_in(&std::fs::read_to_string(&log)?);
    // A program that ended without a word of its results has failed, whatever it did before.
    if !passed && counts.failed == 0 {
        counts.failed = 1;
    }
    if counts.ignored > 0 {
        println!("  {} tests of {} are marked as ignored; nothing may be skipped", counts.ignored, test.target);
        counts.failed += counts.ignored;
    }
    sum.add(counts);
    if counts.passed + counts.failed > 0 {
        let seconds = begun.elapsed();
        println!(
            "  {:<36} {} passed, {} failed{}",
            format!("{}/{}", test.package, test.target),
            counts.passed,
            counts.failed,
            slow(seconds)
        );
    }
    if !passed {
        println!("{}\n  {} failed; its whole output is in {}", tail(&log, 60), test.target, log.display());
    }
    Ok(())
}

fn slow(took: Duration) -> String {
    if took < Duration::from_secs(1) { String::new() } else { format!(", {:.1} s", took.as_secs_f32()) }
}

fn doc_tests() -> Result<Counts> {
    step::run("doc-tests", build::cargo().args(["test", "--workspace", "--doc"]))?;
    Ok(counts_in(&std::fs::read_to_string(step::log("doc-tests"))?))
}

fn counts_in(text: &str) -> Counts {
    let mut counts = Counts::default();
    text.lines().filter_map(result_line).for_each(|line| counts.add(line));
    counts
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
pub fn result_line(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        numbers.split("; ").find_map(|part| part.strip_suffix(word)).and_then(|number| number.trim().parse().ok())
    };
    Some(Counts { passed: number("passed")?, failed: number("failed")?, ignored: number("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_read() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(result_line(line), Some(Counts { passed: 12, failed: 1, ignored: 2 }));
        assert_eq!(result_line("test call::rings ... ok"), None);
    }
}
