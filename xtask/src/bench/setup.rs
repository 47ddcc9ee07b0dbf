//! From accept to the first sound, in calls between files over loopback.

use super::Figure;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use xtask::cli::{Cli, Setup, Task, wav};
use xtask::server::Server;
use xtask::speech::{Voice, speak};

const CALLS: usize = 30;
const CAP: Duration = Duration::from_secs(30);

pub fn measure(dir: &Path, profile: &str) -> Result<Vec<Figure>> {
    println!("accept to first sound: {CALLS} calls");
    let dir = crate::demo::fresh(&dir.join("setup"))?;
    let speech = dir.join("speech.wav");
    speak(Voice::Client, &speech)?;
    let server = Server::start(profile, &dir)?;
    let seeded = server.seed_demo()?;
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = |name, task, person, extra: &[&str]| {
            Cli::start(Setup {
                profile,
                dir: &dir,
                name,
                task,
                server: &server,
                person,
                booking: &seeded.booking,
                input: wav(&speech),
                output: wav(&dir.join(format!("{name}.wav"))),
                extra: extra.iter().chain(&["--bind", "127.0.0.1"]).map(|word| (*word).to_owned()).collect(),
                env: Vec::new(),
            })
        };
        let mut answer = start("answer", Task::Answer, &seeded.provider, &[])?;
        let mut call = start("call", Task::Call, &seeded.client, &["--duration", "0.5"])?;
        call.wait(CAP)?;
        answer.wait(CAP)?;
        took.push(accept_to_sound(&answer.events()?)?);
    }
    took.sort_by(f64::total_cmp);
    let note = format!(
        "{CALLS} calls on loopback between WAV devices, from {:.0} to {:.0} ms; until three frames in a row are decoded",
        took[0],
        took[CALLS - 1]
    );
    Ok(vec![
        Figure::new("accept to first decoded frames, median", took[CALLS / 2], "ms").aim(150.0).note(note),
        Figure::new("accept to first decoded frames, p95", took[CALLS * 95 / 100], "ms").aim(150.0),
    ])
}

/// By the answering side's own clock.
fn accept_to_sound(events: &[Value]) -> Result<f64> {
    let at = |wanted: &dyn Fn(&Value) -> bool, what: &str| {
        let event = events.iter().find(|event| wanted(event)).with_context(|| format!("a call without {what}"))?;
        event["at_ms"].as_f64().context("an event without a time")
    };
    let accepted = at(&|event| event["event"] == "command" && event["command"] == "accept", "accept")?;
    let flowing = at(&|event| event["event"] == "flowing", "sound")?;
    Ok(flowing - accepted)
}
