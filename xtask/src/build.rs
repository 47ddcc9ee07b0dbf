//! Builds by cargo, and what came of them.

use crate::step;
use anyhow::{Context, Result, bail};
use cargo_metadata::{Artifact, Message};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Command;

/// A test program that cargo built.
pub struct TestProgram {
    /// The package's name, and the target's: the library's tests carry the library's name.
    pub package: String,
    pub target: String,
    pub is_integration: bool,
    pub folder: PathBuf,
    pub program: PathBuf,
}

pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(xtask::root());
    // The variables that cargo set for xtask itself would make it rebuild crates that look at them.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds the programs of these packages in this profile.
pub fn programs(profile: &str, packages: &[&str], extra: &[&str]) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--profile", profile, "--bins"]).args(extra);
    for package in packages {
        command.args(["--package", package]);
    }
    step::run(&format!("build-{profile}"), &mut command)
}

/// Builds everything of the workspace once, programs and tests, with one set of features: what the phases then run.
pub fn everything() -> Result<Vec<TestProgram>> {
    let name = "build";
    let mut command = cargo();
    command.args(["build", "--workspace", "--bins", "--tests", "--examples"]);
    step::run(name, &mut command)?;
    // Asked once more for the list alone: now nothing is left to build.
    let mut command = cargo();
    command.args(["build", "--workspace", "--bins", "--tests", "--examples", "--message-format=json", "--quiet"]);
    list("build-list", command)
}

/// Builds the tests inside one crate in a profile of their own.
pub fn crate_tests(profile: &str, package: &str) -> Result<TestProgram> {
    let selection = ["--profile", profile, "--package", package, "--lib"];
    step::run(&format!("build-{profile}"), cargo().args(["test", "--no-run"]).args(selection))?;
    let mut command = cargo();
    command.args(["test", "--no-run", "--message-format=json", "--quiet"]).args(selection);
    let mut programs = list(&format!("build-{profile}-list"), command)?;
    programs.pop().with_context(|| format!("cargo built no tests of {package}"))
}

fn list(name: &str, mut command: Command) -> Result<Vec<TestProgram>> {
    let json = xtask::target().join("xtask/logs").join(format!("{name}.json"));
    if let Some(folder) = json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    command.stdout(File::create(&json)?);
    if !command.status()?.success() {
        bail!("cargo cannot list what it built; see {}", json.display());
    }
    let mut programs = Vec::new();
    for message in Message::parse_stream(BufReader::new(File::open(&json)?)) {
        if let Message::CompilerArtifact(artifact) = message? {
            programs.extend(test_program(artifact)?);
        }
    }
    Ok(programs)
}

fn test_program(artifact: Artifact) -> Result<Option<TestProgram>> {
    let (true, Some(program)) = (artifact.profile.test, artifact.executable) else { return Ok(None) };
    let folder = artifact.manifest_path.parent().context("a manifest without a folder")?;
    let manifest = std::fs::read_to_string(&artifact.manifest_path)?;
    let package = manifest
        .split("[package]")
        .nth(1)
        .and_then(|table| table.lines().find_map(|line| line.strip_prefix("name = ")))
        .map(|name| name.trim_matches('"').to_owned())
        .context("a manifest without a name")?;
    Ok(Some(TestProgram {
        package,
        is_integration: artifact.target.is_test(),
        target: artifact.target.name,
        folder: folder.into(),
        program: program.into(),
    }))
}
