//! What `cargo xtask` and the whole-system tests have in common: a rig of private virtual devices,
//! Bellwire's programs under test, and speech.
//!
//! Nothing here knows Bellwire's own crates: programs are started as programs, so that `cargo xtask` builds in seconds.

pub mod cli;
pub mod lab;
pub mod rig;
pub mod server;
pub mod speech;

use std::path::{Path, PathBuf};

/// The checkout that this program was built from.
pub fn root() -> &'static Path {
    // invariant: xtask lies one folder below the root of the workspace.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds; everything that a run writes lies below it.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A program that cargo built, by its name and profile folder (`debug`, `release`).
pub fn built(profile: &str, name: &str) -> PathBuf {
    target().join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
