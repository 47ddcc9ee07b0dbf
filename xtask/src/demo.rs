//! `cargo xtask demo`: a server, a booking that is open now, and its two parties.
//!
//! With a display they are two windows, for two people or one with two hands; without one they are two `bellwire-cli`
//! that speak by themselves, and what each heard is compared with what the other said.

mod headless;
mod windows;

use crate::build;
use crate::system::{self, Purpose};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xtask::server::Server;

#[derive(clap::Args)]
pub struct Options {
    /// Two programs without windows, which speak by themselves.
    #[arg(long)]
    headless: bool,
    /// Installs nothing; names the system packages that are missing.
    #[arg(long)]
    no_install: bool,
    /// How long the call without windows lasts, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3600))]
    duration: u64,
}

pub fn run(options: &Options) -> Result<()> {
    let headless = options.headless || !has_display();
    if headless && !options.headless {
        println!("There is no display here, so the call is made without windows.");
    }
    println!("set-up");
    if headless {
        system::provide(&[Purpose::Engine, Purpose::Speech], options.no_install)?;
        build::programs("dev", &["bellwire-server", "bellwire-echo", "bellwire-client"], &["--example", "recording"])?;
    } else {
        system::provide(&[Purpose::Engine, Purpose::App], options.no_install)?;
        build::programs("dev", &["bellwire-server", "bellwire-echo", "bellwire"], &[])?;
    }
    println!("  build        done");
    let dir = fresh(&xtask::target().join("demo"))?;
    let server = Server::start("debug", &dir)?;
    println!("  server       listens on {}", server.address);
    let seeded = server.seed_demo()?;
    println!("  booking      {} is open now", seeded.booking);
    if headless {
        headless::run(&dir, &server, &seeded, Duration::from_secs(options.duration))
    } else {
        windows::run(&dir, &server, &seeded)
    }
}

/// An empty folder of this name.
pub fn fresh(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("{} cannot be emptied", dir.display()))?;
    }
    std::fs::create_dir_all(dir)?;
    Ok(dir.to_owned())
}

#[cfg(target_os = "linux")]
fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(not(target_os = "linux"))]
fn has_display() -> bool {
    true
}
