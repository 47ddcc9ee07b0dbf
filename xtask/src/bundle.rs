//! `cargo xtask bundle`: this system's installers, by the Tauri command line.
//!
//! Linux: .deb and .rpm. Windows: an NSIS installer. macOS: an app in a disk image. Each is made on its own system, and
//! the latter two by tools that the command line fetches at its first run; the release workflow does both.

use crate::node::{self, Tool};
use crate::step;
use crate::system::{self, Purpose};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Options {
    /// Installs nothing; names the system packages that are missing.
    #[arg(long)]
    no_install: bool,
}

pub fn run(options: &Options) -> Result<()> {
    println!("set-up");
    system::provide(&[Purpose::Engine, Purpose::App, Purpose::Bundle], options.no_install)?;
    let tauri = node::provide(Tool::TauriCli)?;
    println!("build (release) and bundle: {}", TARGETS.join(" and "));
    step::run(
        "bundle",
        Command::new(tauri).args(["build", "--bundles", &TARGETS.join(",")]).current_dir(xtask::root()),
    )?;
    let made = installers(&xtask::target().join("release/bundle"))?;
    if made.is_empty() {
        bail!("no installer came of it; see {}", step::log("bundle").display());
    }
    for installer in made {
        let size = std::fs::metadata(&installer)?.len();
        println!("  {:>6.1} MB  {}", size as f64 / 1e6, installer.display());
    }
    Ok(())
}

#[cfg(target_os = "linux")]
const TARGETS: &[&str] = &["deb", "rpm"];
#[cfg(target_os = "windows")]
const TARGETS: &[&str] = &["nsis"];
#[cfg(target_os = "macos")]
const TARGETS: &[&str] = &["app", "dmg"];
#[cfg(not(any(target_os = "linux", target_os = "windows", target_os = "macos")))]
const TARGETS: &[&str] = &[];

fn installers(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for kind in std::fs::read_dir(folder)?.flatten().filter(|kind| kind.path().is_dir()) {
        for file in std::fs::read_dir(kind.path())?.flatten().map(|file| file.path()) {
            let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if ["deb", "rpm", "exe", "dmg"].contains(&ending) {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}
