//! Recorded speech, and what a recording of a call tells of how it was heard: by `live.py`, with the measures of the
//! offline laboratory.

use crate::bench::python;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds that are said before those that are scored; while they last, rates and buffers settle.
pub const LEAD: u64 = 8;
/// What is scored at once.
pub const WINDOW: u64 = 8;

/// How what was said was heard.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Heard {
    /// Medians of pieces of half a second.
    pub delay_ms: Option<f64>,
    pub delay_5_ms: Option<f64>,
    pub delay_95_ms: Option<f64>,
    /// Wideband, the mean of windows of 8 s.
    pub pesq: f64,
    pub windows: Vec<f64>,
    /// Of speech, where nothing or next to nothing was heard.
    pub silent_s: f64,
    /// Pieces that were found again, and all that were speech.
    pub found: u32,
    pub speech: u32,
}

/// Python with what the measures need.
pub struct Tools {
    python: PathBuf,
}

impl Tools {
    pub fn provide() -> Result<Self> {
        Ok(Self { python: python::provide()? })
    }

    /// Writes what each of the two says, with so many seconds that are scored.
    pub fn speech(&self, dir: &Path, seconds: u64) -> Result<[PathBuf; 2]> {
        self.run(&["speech", &text(dir)?, &seconds.to_string()])?;
        Ok(["a.wav", "b.wav"].map(|name| dir.join(name)))
    }

    /// Judges these seconds of a recording, counted from its first sound.
    pub fn judge(&self, raw: &Path, seconds: Range<u64>) -> Result<Heard> {
        let printed = self.run(&["judge", &text(raw)?, &seconds.start.to_string(), &seconds.end.to_string()])?;
        serde_json::from_str(&printed).context("no judgement came of it")
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        let here = xtask::root().join("xtask/src/bench");
        let mut command = Command::new(&self.python);
        command.arg(here.join("sound/live.py")).args(words).env("BELLWIRE_OFFLINE", here.join("offline"));
        // Nothing is written beside the sources.
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().context("python cannot be started")?;
        if !output.status.success() {
            bail!("live.py {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is no text")?.to_owned())
}
