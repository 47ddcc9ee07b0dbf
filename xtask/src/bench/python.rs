//! A Python of the bench's own, with what its measures of sound need.

use crate::step;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// From PyPI: the reference code of ITU-T P.862 and P.862.2, a decoder of G.722, and what they compute with.
const PACKAGES: &[&str] = &["numpy", "scipy", "pesq", "pystoi", "G722"];
const MODULES: &str = "import numpy, scipy, pesq, pystoi, G722";

/// The interpreter; set up below the target folder when it is not there yet, which needs the network and a C compiler.
pub fn provide() -> Result<PathBuf> {
    let folder = xtask::target().join("bench/python");
    let python = folder.join("bin/python");
    let works = Command::new(&python).args(["-c", MODULES]).output().is_ok_and(|output| output.status.success());
    if !works {
        step::run("python", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .context("packages python3 and python3-venv")?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(PACKAGES);
        step::run("python-packages", &mut install)?;
    }
    Ok(python)
}
