//! A call between two `bellwire-cli`: its timeline, its figures, and whether each heard the other.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xtask::cli::{Cli, Setup, Task, wav};
use xtask::server::{Seeded, Server};
use xtask::speech::{Voice, speak};

/// Over and above the call itself: signing in, ringing, hanging up, on a busy machine.
const SLACK: Duration = Duration::from_secs(90);
/// From here on a recording holds the speech that it is compared with; other speech stays well below.
const HEARD: f64 = 0.5;

/// One side of the call.
struct Party {
    cli: Cli,
    speech: PathBuf,
    recording: PathBuf,
}

pub fn run(dir: &Path, server: &Server, seeded: &Seeded, duration: Duration) -> Result<()> {
    let mut parties = [
        Party::start(dir, server, seeded, Task::Call, duration)?,
        Party::start(dir, server, seeded, Task::Answer, duration)?,
    ];
    println!("  call         {} s, from client to provider", duration.as_secs());
    let mut faults = Vec::new();
    for Party { cli, .. } in &mut parties {
        match cli.wait(duration + SLACK) {
            Ok(status) if status.success() => {}
            Ok(status) => faults.push(format!("the {} ended with {status}", cli.name)),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    let events = [parties[0].cli.events()?, parties[1].cli.events()?];
    timeline(&parties, &events);
    statistics(&parties, &events);
    faults.extend(recordings(&parties)?);
    faults.extend(endings(&parties, &events));
    faults.extend(error_lines(&[parties[0].cli.log(), parties[1].cli.log(), server.log()])?);
    if faults.is_empty() {
        println!("\nThe call was as it should be.");
        return Ok(());
    }
    bail!("The call was not as it should be:\n  {}\nAll of it is in {}", faults.join("\n  "), dir.display())
}

impl Party {
    fn start(dir: &Path, server: &Server, seeded: &Seeded, task: Task, duration: Duration) -> Result<Self> {
        let (name, voice, person, extra) = match task {
            Task::Call => {
                let duration = vec!["--duration".to_owned(), duration.as_secs().to_string()];
                ("client", Voice::Client, &seeded.client, duration)
            }
            Task::Answer => ("provider", Voice::Provider, &seeded.provider, Vec::new()),
        };
        let (speech, recording) = (dir.join(format!("{name}-says.wav")), dir.join(format!("{name}-hears.wav")));
        speak(voice, &speech)?;
        let (profile, booking, input, output) = ("debug", seeded.booking.as_str(), wav(&speech), wav(&recording));
        let env = Vec::new();
        let setup = Setup { profile, dir, name, task, server, person, booking, input, output, extra, env };
        Ok(Self { cli: Cli::start(setup)?, speech, recording })
    }
}

/// What happened on both sides, in order, from the first event on.
fn timeline(parties: &[Party; 2], events: &[Vec<Value>; 2]) {
    println!("\ntimeline (seconds)");
    let mut lines: Vec<(f64, &str, String)> = Vec::new();
    for (party, events) in parties.iter().zip(events) {
        let began = events.first().and_then(|event| event["unix_ms"].as_f64()).unwrap_or_default();
        for event in events.iter().filter(|event| !["stats", "started"].iter().any(|name| event["event"] == *name)) {
            let at = began + event["at_ms"].as_f64().unwrap_or_default();
            lines.push((at, &party.cli.name, described(event)));
        }
    }
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = lines.first().map_or(0.0, |line| line.0);
    for (at, name, what) in lines {
        println!("  {:>8.3}  {name:<9} {what}", (at - first) / 1000.0);
    }
}

fn described(event: &Value) -> String {
    let mut words = vec![text(&event["event"])];
    if let Some(fields) = event.as_object() {
        let rest = fields.iter().filter(|(name, _)| !["at_ms", "event", "booking", "call"].contains(&name.as_str()));
        words.extend(rest.filter(|(_, value)| !value.is_null()).map(|(name, value)| format!("{name}={}", text(value))));
    }
    words.join(" ")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn statistics(parties: &[Party; 2], events: &[Vec<Value>; 2]) {
    println!("\nthe last second's statistics");
    for (party, events) in parties.iter().zip(events) {
        match events.iter().rev().find(|event| event["event"] == "stats") {
            Some(stats) => println!("  {:<9} {}", party.cli.name, described(stats)),
            None => println!("  {:<9} none", party.cli.name),
        }
    }
}

#[derive(Deserialize)]
struct Match {
    correlation: f64,
    heard_ms: u64,
}

/// Compares what each heard with what the other said, and with what it said itself: the latter must not be in it.
fn recordings(parties: &[Party; 2]) -> Result<Vec<String>> {
    println!("\nrecordings");
    let mut faults = Vec::new();
    for (listener, speaker) in [(&parties[0], &parties[1]), (&parties[1], &parties[0])] {
        let others = compare(&speaker.speech, &listener.recording)?;
        let own = compare(&listener.speech, &listener.recording)?;
        println!("  {}", listener.recording.display());
        println!(
            "    correlation with the {}'s speech {:.2} ({:.1} s of it recognised), with its own {:.2}",
            speaker.cli.name,
            others.correlation,
            others.heard_ms as f64 / 1000.0,
            own.correlation
        );
        if others.correlation < HEARD {
            faults.push(format!("the {} did not hear the {}", listener.cli.name, speaker.cli.name));
        }
        if own.correlation >= HEARD {
            faults.push(format!("the {} heard itself", listener.cli.name));
        }
    }
    Ok(faults)
}

fn compare(speech: &Path, recording: &Path) -> Result<Match> {
    let program = xtask::target().join("debug/examples").join(format!("recording{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(program).arg("compare").arg(speech).arg(recording).output()?;
    if !output.status.success() {
        bail!("{}: {}", recording.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("no comparison came of it")
}

fn endings(parties: &[Party; 2], events: &[Vec<Value>; 2]) -> Vec<String> {
    println!("\nendings");
    let mut faults = Vec::new();
    for (party, events) in parties.iter().zip(events) {
        let ended: Vec<String> =
            events.iter().filter(|event| event["event"] == "ended").map(|event| text(&event["reason"])).collect();
        println!("  {:<9} ({}) {}", party.cli.name, party.cli.task.word(), ended.join(", "));
        if ended != ["hung_up"] {
            faults.push(format!("the {} ended with {ended:?}, not with hung_up alone", party.cli.name));
        }
    }
    faults
}

fn error_lines(logs: &[&Path]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for log in logs {
        let text = std::fs::read_to_string(log).with_context(|| format!("{} cannot be read", log.display()))?;
        for line in text.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")) {
            faults.push(format!("{}: {line}", log.display()));
        }
    }
    Ok(faults)
}
