//! `cargo xtask bench offline`: calls in virtual time on recorded speech, scored, as tables beside what is aimed at.
//!
//! Clips are made by offline/corpus.py, calls by the example `sound_lab` of `media`, in the dev profile, which optimises
//! what handles sound; scores by offline/score.py. docs/sound.md tells how each is measured, and holds the tables that
//! `--write` puts there.

mod tables;

use super::python;
use crate::build;
use crate::system::{self, Purpose};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use xtask::lab::ways::{self, WAYS, Way};

#[derive(clap::Args)]
pub struct Laboratory {
    /// `offline`: calls of each way; both directions of each are scored.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// `offline`: without this mechanism (resend, copies, fec, dred, deep-plc, stretch, rate), or several with commas
    /// between; may be given more than once, and each is set beside a run with all.
    #[arg(long, value_name = "MECHANISM")]
    without: Vec<String>,
    /// `offline`: each mechanism switched off in turn, on the ways where it matters.
    #[arg(long)]
    each: bool,
    /// `offline`: one call of so many hours instead, and what grows in it.
    #[arg(long)]
    hours: Option<f64>,
}

/// Where each mechanism is expected to matter.
const WORTH: &[(&str, &[&str])] = &[
    ("resend", &["loss10", "loss20", "burst120", "loss10-far"]),
    ("copies", &["loss10", "loss20", "loss20-far", "burst120-far"]),
    ("fec", &["loss10", "loss20", "loss20-far"]),
    ("dred", &["loss30", "burst120", "burst120-far", "burst200"]),
    ("deep-plc", &["loss20-far", "loss40", "burst120-far"]),
    ("stretch", &["jitter20", "stalls300", "drift"]),
    ("rate", &["link24", "link40", "drop"]),
];

/// One clip as it was heard.
#[derive(Clone, Debug, Deserialize)]
struct Run {
    way: String,
    without: Option<String>,
    figures: BTreeMap<String, f64>,
    scores: Scores,
}

#[derive(Clone, Debug, Deserialize)]
struct Scores {
    pesq: f64,
    first_pesq: f64,
    estoi: f64,
    silent: f64,
    /// Missing where nothing of what was said was recognised.
    delay_ms: Option<f64>,
    delay_95_ms: Option<f64>,
}

/// `only` names ways; all, when it is empty. With `write`, the tables go to docs/sound.md.
pub fn run(wanted: &Laboratory, only: &[String], write: bool, no_install: bool) -> Result<()> {
    let named: Vec<&Way> = only
        .iter()
        .map(|name| {
            let known = WAYS.iter().map(|way| way.name).collect::<Vec<_>>().join(", ");
            ways::by_name(name).with_context(|| format!("no way is called {name:?}; there are {known}"))
        })
        .collect::<Result<_>>()?;
    println!("set-up");
    system::provide(&[Purpose::Engine, Purpose::RecordedSpeech], no_install)?;
    let lab = Lab::ready(wanted.seeds)?;
    if let Some(hours) = wanted.hours {
        return lab.watch(hours);
    }
    let all: Vec<&Way> = if named.is_empty() { WAYS.iter().collect() } else { named.clone() };
    let mut runs = Vec::new();
    // A table of mechanisms needs those ways alone that it shows.
    if !wanted.each || !named.is_empty() || write {
        runs.extend(lab.calls(wanted.seeds, &all, None)?);
    }
    for without in &wanted.without {
        runs.extend(lab.calls(wanted.seeds, &all, Some(without))?);
    }
    if wanted.each {
        let chosen = |names: &[&str]| -> Vec<&Way> {
            let known = names.iter().filter_map(|name| ways::by_name(name));
            known.filter(|way| named.is_empty() || named.iter().any(|one| one.name == way.name)).collect()
        };
        if runs.is_empty() {
            let needed = WAYS.iter().filter(|way| WORTH.iter().any(|(_, names)| names.contains(&way.name)));
            runs.extend(lab.calls(wanted.seeds, &needed.collect::<Vec<_>>(), None)?);
        }
        for (mechanism, names) in WORTH {
            runs.extend(lab.calls(wanted.seeds, &chosen(names), Some(mechanism))?);
        }
    }
    let quality = tables::quality(&runs, wanted.seeds);
    let worth = tables::worth(&runs);
    println!("\n{quality}\n{worth}\neach clip's scores are in {}", lab.scores.display());
    if write {
        tables::write("offline", &quality)?;
        if !worth.is_empty() {
            tables::write("mechanisms", &worth)?;
        }
    }
    Ok(())
}

struct Lab {
    python: PathBuf,
    program: PathBuf,
    clips: PathBuf,
    out: PathBuf,
    /// All that was scored by this run, a line of JSON for each clip.
    scores: PathBuf,
}

impl Lab {
    fn ready(seeds: u32) -> Result<Self> {
        let python = python::provide()?;
        build::programs("dev", &["bellwire-media"], &["--example", "sound_lab"])?;
        let folder = xtask::target().join("bench/offline");
        let lab = Self {
            python,
            program: xtask::target().join("debug/examples").join(format!("sound_lab{}", std::env::consts::EXE_SUFFIX)),
            clips: folder.join("clips"),
            out: folder.join(format!("run-{}", std::process::id())),
            scores: folder.join(format!("scores-{}.jsonl", std::process::id())),
        };
        let status = lab.script("corpus.py").arg(&lab.clips).arg(seeds.to_string()).status()?;
        if !status.success() {
            bail!("corpus.py made no clips");
        }
        println!("  build        done");
        Ok(lab)
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(xtask::root().join("xtask/src/bench/offline").join(name));
        // Nothing is written beside the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn calls(&self, seeds: u32, ways: &[&Way], without: Option<&str>) -> Result<Vec<Run>> {
        if ways.is_empty() {
            return Ok(Vec::new());
        }
        println!("{} ways, {seeds} calls each, {}", ways.len(), mechanisms(without));
        let mut lab = Command::new(&self.program);
        lab.arg("--clips").arg(&self.clips).arg("--out").arg(&self.out).args(["--seeds", &seeds.to_string()]);
        for way in ways {
            lab.args(["--way", way.name]);
        }
        if let Some(without) = without {
            lab.args(["--without", without]);
        }
        let mut lab = lab.stdout(Stdio::piped()).spawn().context("sound_lab cannot be started")?;
        let said = lab.stdout.take().context("no output")?;
        let mut judge = self.script("score.py").arg(&self.clips).stdin(said).stdout(Stdio::piped()).spawn()?;
        let judged = judge.stdout.take().context("no output")?;
        let expected = ways.len() * seeds as usize * 2;
        let mut runs = Vec::with_capacity(expected);
        let mut scores = std::fs::File::options().create(true).append(true).open(&self.scores)?;
        for line in BufReader::new(judged).lines() {
            let line = line?;
            runs.push(serde_json::from_str(&line)?);
            writeln!(scores, "{line}")?;
            progress(runs.len(), expected);
        }
        let (lab, judge) = (lab.wait()?, judge.wait()?);
        let _ = std::fs::remove_dir_all(&self.out);
        if !lab.success() || !judge.success() || runs.len() != expected {
            bail!("{} of {expected} clips were scored; sound_lab ended with {lab}, score.py with {judge}", runs.len());
        }
        Ok(runs)
    }

    fn watch(&self, hours: f64) -> Result<()> {
        let status = Command::new(&self.program)
            .arg("--clips")
            .arg(&self.clips)
            .args(["--hours", &hours.to_string()])
            .status()
            .context("sound_lab cannot be started")?;
        if !status.success() {
            bail!("something grew in a long call");
        }
        Ok(())
    }
}

fn mechanisms(without: Option<&str>) -> String {
    without.map_or_else(|| "all mechanisms".into(), |without| format!("without {without}"))
}

fn progress(done: usize, of: usize) {
    if std::io::stdout().is_terminal() {
        print!("\r  {done} of {of} clips");
        if done == of {
            print!("\r\x1b[K");
        }
        let _ = std::io::stdout().flush();
    }
}

/// Where the tables go.
fn document() -> PathBuf {
    Path::new(xtask::root()).join("docs/sound.md")
}
