//! `cargo xtask`: set-up, demo, tests, bench, bundles and tidy checks. `cargo xtask help` lists them.
//!
//! Runs cargo and other programs as child processes; what they print goes to target/xtask/logs.

mod bench;
mod build;
mod bundle;
mod demo;
mod fuzz;
mod laboratory;
mod node;
mod step;
mod suite;
mod system;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "What is done with this repository")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts a server, makes a booking that is open now, and lets its two parties meet.
    Demo(demo::Options),
    /// Runs every check and test there is.
    Test(suite::Options),
    /// Measures a release build.
    Bench(bench::Options),
    /// Looks for packets that break the jitter buffer or the readers of RTP payloads.
    Fuzz(fuzz::Options),
    /// Calls behind translators and firewalls and on bad paths, and their interruptions; as root, on Linux.
    Lab(laboratory::Options),
    /// What a laboratory that has ended leaves to be taken away.
    #[command(hide = true, name = xtask::lab::SWEEP)]
    LabSweep { process: u32 },
    /// Carries packets between two namespaces until standard input ends, whose lines are conditions of that path.
    #[command(hide = true)]
    LabEmulator(laboratory::Path),
    /// Makes this system's installers.
    Bundle(bundle::Options),
    /// Checks the rules of the repository: who depends on whom, what is documented, what is allowed.
    Tidy(tidy::Options),
}

fn main() -> ExitCode {
    let result = match Options::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => suite::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Lab(options) => laboratory::run(&options),
        Task::LabSweep { process } => xtask::lab::net::sweep(process),
        Task::LabEmulator(path) => laboratory::carry(&path),
        Task::Bundle(options) => bundle::run(&options),
        Task::Tidy(options) => tidy::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}
