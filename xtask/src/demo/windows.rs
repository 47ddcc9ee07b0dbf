//! Two windows on the person's own desktop.

use anyhow::Result;
use std::path::Path;
use std::time::Duration;
use xtask::cli::bind_arguments;
use xtask::rig::{Process, tethered};
use xtask::server::{Person, Seeded, Server};

pub fn run(dir: &Path, server: &Server, seeded: &Seeded) -> Result<()> {
    let mut windows = [open(dir, server, "client", &seeded.client)?, open(dir, server, "provider", &seeded.provider)?];
    println!("Two windows are open, one for each party: press Call in one, accept in the other.");
    println!("With a single microphone and speaker in one room, wear headphones.");
    println!("The demo ends when both windows are closed.");
    while windows.iter_mut().any(|window| !window.has_ended()) {
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("The logs are in {}", dir.display());
    Ok(())
}

/// Each with its own settings, so that both are new to the app.
fn open(dir: &Path, server: &Server, name: &str, person: &Person) -> Result<Process> {
    let mut command = tethered(xtask::built("debug", "bellwire"));
    command.arg(&person.link).args(["--server", &server.url()]);
    command.arg("--data-dir").arg(dir.join(name)).args(bind_arguments());
    Process::spawn(command, "bellwire", &dir.join(format!("{name}.log")))
}
