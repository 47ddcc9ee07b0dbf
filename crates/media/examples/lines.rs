//! An engine on stdin and stdout, for trying it against something else: `lines VOICE.wav|MICROPHONE RECORDING.wav|SPEAKER [BIND]`.
//!
//! Each line in is an object with one of `offer` (true), `remote` ([kind, sdp]), `candidates` ([[text, index]]), `text` or
//! `close`;
//! each line out has one of `description`, `candidates`, `said`. It opens generation 1 at once and ends with its input.

use bellwire_media::{Candidate, Command, Config, DescriptionKind, DeviceChoice, Engine, Event, Leg, Route};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [voice, recording, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: lines VOICE.wav|MICROPHONE RECORDING.wav|SPEAKER [BIND]");
        std::process::exit(2);
    };
    let (engine, mut events) = Engine::start(Config {
        input: choice(voice),
        output: choice(recording),
        bind: rest.first().and_then(|text| text.parse().ok()),
        ..Config::default()
    });
    engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            Ok(line) = lines.next_line() => match line.map(|line| serde_json::from_str::<Value>(&line)) {
                Some(Ok(value)) => commands(&value).into_iter().for_each(|command| engine.command(command)),
                Some(Err(error)) => eprintln!("{error}"),
                None => break,
            },
            Some(event) = events.recv() => println!("{}", said(event)),
        }
    }
    engine.shutdown().await;
}

/// Files end in `.wav`; anything else names a device.
fn choice(text: &str) -> DeviceChoice {
    if text.ends_with(".wav") { DeviceChoice::Wav(text.into()) } else { DeviceChoice::Named(text.to_owned()) }
}

fn commands(value: &Value) -> Vec<Command> {
    let generation = 1;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut commands = Vec::new();
    if value.get("offer").is_some() {
        commands.push(Command::Offer { leg: Leg::CALL, generation });
    }
    if let Some(remote) = value.get("remote") {
        let kind = if remote[0] == "offer" { DescriptionKind::Offer } else { DescriptionKind::Answer };
        commands.push(Command::SetRemote { leg: Leg::CALL, generation, kind, sdp: text(&remote[1]) });
    }
    if let Some(candidates) = value.get("candidates").and_then(Value::as_array) {
        let one = |value: &Value| Candidate { candidate: text(&value[0]), mid: None, index: 0 };
        commands.push(Command::AddCandidates {
            leg: Leg::CALL,
            generation,
            candidates: candidates.iter().map(one).collect(),
        });
    }
    if let Some(text) = value.get("text").and_then(Value::as_str) {
        commands.push(Command::SendText { leg: Leg::CALL, text: text.to_owned() });
    }
    if value.get("close").is_some() {
        commands.push(Command::Close);
    }
    commands
}

fn said(event: Event) -> Value {
    match event {
        Event::Description { kind, sdp, .. } => json!({"description": [kind, sdp]}),
        Event::Candidates { candidates, done, .. } => {
            let texts: Vec<Value> = candidates.iter().map(|one| json!([one.candidate, one.index])).collect();
            json!({"candidates": texts, "done": done})
        }
        Event::Stats { stats, .. } => json!({"said": "stats", "stats": stats}),
        Event::Opened { .. } => json!({"said": "opened"}),
        Event::SpeakingMuted => json!({"said": "speaking muted"}),
        Event::Path { path, .. } => json!({"said": "path", "path": path}),
        Event::Flowing { .. } => json!({"said": "flowing"}),
        Event::Stalled { .. } => json!({"said": "stalled"}),
        Event::Closed => json!({"said": "closed"}),
        Event::Failed { why, .. } => json!({"said": "failed", "why": why}),
        Event::TextOpen { .. } => json!({"said": "text_open"}),
        Event::Text { text, .. } => json!({"said": "text", "text": text}),
        Event::Dropped { .. } => json!({"said": "dropped"}),
        Event::Speaking { leg, speaking } => json!({"said": "speaking", "leg": leg, "speaking": speaking}),
        Event::Level { input, output } => json!({"said": "level", "input": input, "output": output}),
        Event::Device(event) => json!({"said": "device", "event": event}),
    }
}
