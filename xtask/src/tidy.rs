//! The rules of the repository that a compiler does not check.
//!
//! Each check looks at files that git tracks and says, for each breach, where it is and what the rule is.

mod arrows;
mod licences;
mod page;
mod source;

use crate::{build, node, step};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Options {
    /// Writes the generated files anew instead of checking them.
    #[arg(long)]
    bless: bool,
    /// Leaves out what needs a build: the generated files.
    #[arg(long, conflicts_with = "bless")]
    static_only: bool,
}

/// The tests that compare a generated, committed file with what the code says now: package, a part of their names, and
/// the variable with which they write it.
const GENERATED: &[(&str, &str, &str)] =
    &[("bellwire-server", "openapi", "BELLWIRE_WRITE_OPENAPI"), ("bellwire", "generated", "BELLWIRE_UPDATE")];

pub fn run(options: &Options) -> Result<()> {
    let mut breaches = 0;
    for (name, result) in checks() {
        breaches += usize::from(!report(name, result));
    }
    if !options.static_only {
        for (package, test, variable) in GENERATED {
            let bless = options.bless.then_some(*variable);
            breaches += usize::from(!report(test, generated(package, test, bless)));
        }
    }
    if breaches > 0 {
        bail!("{breaches} tidy checks failed");
    }
    Ok(())
}

/// All checks that need no build, with what each found.
pub fn checks() -> Vec<(&'static str, Result<Vec<String>>)> {
    let metadata =
        cargo_metadata::MetadataCommand::new().current_dir(xtask::root()).exec().context("cargo metadata gave nothing");
    let (arrows, licences) = match &metadata {
        Ok(metadata) => (Ok(arrows::check(metadata)), Ok(licences::check(metadata))),
        Err(error) => (Err(anyhow::anyhow!("{error:#}")), Err(anyhow::anyhow!("{error:#}"))),
    };
    vec![
        ("arrows", arrows),
        ("licences", licences),
        ("source", tracked().and_then(|files| source::check(&files))),
        ("page", tracked().and_then(|files| page::check(&files))),
        ("page types", page_types()),
    ]
}

/// Prints what a check found, and says whether it passed.
pub fn report(name: &str, found: Result<Vec<String>>) -> bool {
    let begun = Instant::now();
    match found {
        Ok(breaches) if breaches.is_empty() => {
            println!("  tidy         {name}: ok");
            true
        }
        Ok(breaches) => {
            println!("  tidy         {name}: {} to put right ({:.1} s)", breaches.len(), begun.elapsed().as_secs_f32());
            for breach in breaches {
                println!("               {breach}");
            }
            false
        }
        Err(error) => {
            println!("  tidy         {name}: cannot be checked: {error:#}");
            false
        }
    }
}

/// A file that git tracks, by its path from the root, and its text.
pub struct Tracked {
    pub path: String,
    pub text: String,
}

fn tracked() -> Result<Vec<Tracked>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(xtask::root()).output()?;
    if !output.status.success() {
        bail!("git cannot list its files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut files = Vec::new();
    for path in String::from_utf8(output.stdout)?.split('\0').filter(|path| !path.is_empty()) {
        // What is no text (a picture) has no lines to look at; what was deleted and not committed is gone.
        if let Ok(text) = std::fs::read_to_string(xtask::root().join(path)) {
            files.push(Tracked { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

fn page_types() -> Result<Vec<String>> {
    let configuration = xtask::root().join("ui/jsconfig.json");
    if !configuration.exists() {
        return Ok(vec!["ui/jsconfig.json is not there, so the page's types cannot be checked".to_owned()]);
    }
    let tsc: PathBuf = node::provide(node::Tool::TypeScript)?;
    let log = step::log("tsc");
    let passed = step::run_to_log("tsc", Command::new(tsc).arg("--noEmit").arg("--project").arg(configuration), &log)?;
    if passed {
        return Ok(Vec::new());
    }
    Ok(std::fs::read_to_string(log)?.lines().skip(1).map(str::to_owned).collect())
}

fn generated(package: &str, test: &str, bless: Option<&str>) -> Result<Vec<String>> {
    let name = format!("tidy-{test}");
    let mut command = build::cargo();
    command.args(["test", "--package", package, test]);
    if let Some(variable) = bless {
        command.env(variable, "1");
    }
    let log = step::log(&name);
    let passed = step::run_to_log(&name, &mut command, &log)?;
    let text = std::fs::read_to_string(&log)?;
    let ran: usize = text.lines().filter_map(crate::suite::result_line).map(|counts| counts.passed).sum();
    match (passed, ran) {
        (true, 0) => Ok(vec![format!("{package} has no test named after `{test}`")]),
        (true, _) => Ok(Vec::new()),
        (false, _) => {
            Ok(vec![format!("a generated file is out of date: `cargo xtask tidy --bless`; see {}", log.display())])
        }
    }
}
