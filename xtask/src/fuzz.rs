//! The fuzzers of the media crate, by cargo-fuzz and libFuzzer: what random packets find that no test thought of.
//!
//! Each begins with the corpus in `crates/media/fuzz/corpus`; what it finds beside goes below target/, and an input that breaks
//! something is left there and named. To look further: `cargo xtask fuzz --seconds 3600`.

use crate::{build, step};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// For each target.
const SECONDS: u32 = 30;
const TARGETS: &[&str] = &["receive", "red"];
/// The tool's own version; built once below target/ where the system has none.
const VERSION: &str = "^0.13";
/// A fuzzer that needs more has found a leak.
const MEMORY_MB: u32 = 1024;

#[derive(clap::Args)]
pub struct Options {
    /// For each target.
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
    /// These alone.
    #[arg(long, value_name = "TARGET")]
    only: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let tool = tool()?;
    let wanted = |target: &&&str| options.only.is_empty() || options.only.iter().any(|only| only == **target);
    let targets: Vec<&&str> = TARGETS.iter().filter(wanted).collect();
    if targets.is_empty() {
        bail!("there is no such target; there are {}", TARGETS.join(", "));
    }
    for target in targets {
        fuzz(&tool, target, options.seconds)?;
        println!("  {target:<36} {} s and nothing found", options.seconds);
    }
    Ok(())
}

/// All targets for [`SECONDS`] each; how many found nothing.
pub fn in_suite() -> Result<usize> {
    run(&Options { seconds: SECONDS, only: Vec::new() })?;
    Ok(TARGETS.len())
}

fn fuzz(tool: &PathBuf, target: &str, seconds: u32) -> Result<()> {
    let dir = xtask::root().join("crates/media/fuzz");
    let found = crate::demo::fresh(&xtask::target().join("fuzz-corpus").join(target))?;
    let mut command = Command::new(tool);
    command.current_dir(&dir).env_remove("CARGO_TARGET_DIR").args(["fuzz", "run", "--sanitizer", "none"]);
    command.arg("--target-dir").arg(xtask::target().join("fuzz")).arg(target);
    // The first folder is written to, the others are read.
    command.arg(&found).arg(dir.join("corpus").join(target)).arg("--");
    command.args([format!("-max_total_time={seconds}"), format!("-rss_limit_mb={MEMORY_MB}")]);
    step::run(&format!("fuzz-{target}"), &mut command)
}

fn tool() -> Result<PathBuf> {
    let home = xtask::target().join("tools");
    let installed = home.join("bin").join(format!("cargo-fuzz{}", std::env::consts::EXE_SUFFIX));
    if !installed.exists() {
        let mut install = build::cargo();
        install.args(["install", "cargo-fuzz", "--locked", "--version", VERSION, "--root"]).arg(&home);
        step::run("fuzz-install", &mut install).context("the fuzzers need cargo-fuzz")?;
    }
    Ok(installed)
}
