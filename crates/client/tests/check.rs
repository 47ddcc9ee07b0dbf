//! Checks before a call by `bellwire-cli check`, with the real server and `bellwire-echo`: what is well is called ready, and
//! each fault that was planted is named.

mod stand;

use anyhow::{Context, Result, ensure};
use bellwire_client::recording::{Voice, best_correlation, write_speech};
use serde_json::Value;
use stand::{Run, Stand, alone, is};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xtask::rig::Sound;

const CAP: Duration = Duration::from_secs(60);

/// A server whose echo peer answers.
fn stand() -> Stand {
    let stand = Stand::start();
    let log = stand.path("server.log");
    let deadline = Instant::now() + CAP;
    loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        if said.contains("an echo peer answers checks") {
            return stand;
        }
        assert!(
            !said.contains("bellwire-echo is not beside this program"),
            "bellwire-echo is missing: run `cargo build -p bellwire-echo` first"
        );
        assert!(Instant::now() < deadline, "no echo peer answers; the server's log:\n{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn report(events: &[Value]) -> &Value {
    events.iter().find(|event| is(event, "check")).unwrap_or_else(|| panic!("no report in {events:?}"))
}

fn faults(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().filter_map(|finding| finding["fault"].as_str()).collect()
}

fn check(stand: &Stand, more: &[&str], input: &Path) -> Run {
    let run = stand.cli("check", "client", more, Some(input), Some("heard.wav")).finish();
    for secret in stand.secrets() {
        assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "a secret was printed");
    }
    run
}

/// The speech of `from`, changed.
fn changed(from: &Path, to: &Path, change: impl Fn(f32) -> f32) {
    let mut reader = hound::WavReader::open(from).unwrap();
    let spec = reader.spec();
    let scale = f32::from(i16::MAX);
    let mut writer = hound::WavWriter::create(to, spec).unwrap();
    for sample in reader.samples::<i16>().map(Result::unwrap) {
        let sample = change(f32::from(sample) / scale).clamp(-1.0, 1.0);
        writer.write_sample((sample * scale) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

#[test]
fn what_is_well_is_called_ready_and_ones_own_voice_comes_back() {
    let _alone = alone();
    let stand = stand();
    let speech = stand.path("speech.wav");
    write_speech(&speech, Voice::Low, 20.0).unwrap();
    let run = check(&stand, &[], &speech);
    let report = report(&run.events);
    assert_eq!((run.status, report["verdict"].as_str()), (Some(0), Some("ready")), "{report}");
    assert_eq!(faults(report), Vec::<&str>::new(), "{report}");
    let paths: Vec<_> = report["paths"].as_array().unwrap().iter().map(|path| path["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["direct", "relay_udp", "relay_tcp"]);
    assert!(report["paths"].as_array().unwrap().iter().all(|path| path["connected"] == true), "{report}");
    let stages: Vec<_> =
        run.events.iter().filter(|e| is(e, "check_stage")).filter_map(|e| e["stage"].as_str()).collect();
    assert_eq!(stages, ["devices", "direct", "relay_udp", "relay_tcp", "speak", "listen", "done"]);
    let heard = best_correlation(&speech, &stand.path("heard.wav")).unwrap();
    assert!(heard.correlation > 0.5, "the sentence was not played back: {heard:?}");
}

#[test]
fn a_quick_check_plays_nothing_and_asks_nobody() {
    let _alone = alone();
    let stand = stand();
    let speech = stand.path("speech.wav");
    write_speech(&speech, Voice::High, 20.0).unwrap();
    let run = check(&stand, &["--quick"], &speech);
    assert_eq!(run.status, Some(0), "{}", report(&run.events));
    assert!(!run.events.iter().any(|event| event["stage"] == "speak" || event["stage"] == "listen"));
}

#[test]
fn a_muted_microphone_is_named() {
    let _alone = alone();
    let stand = stand();
    let (speech, muted) = (stand.path("speech.wav"), stand.path("muted.wav"));
    write_speech(&speech, Voice::Low, 20.0).unwrap();
    changed(&speech, &muted, |_| 0.0);
    let run = check(&stand, &[], &muted);
    let report = report(&run.events);
    assert_eq!(run.status, Some(6), "{report}");
    assert_eq!(faults(report), ["microphone_silent"], "{report}");
}

#[test]
fn clipping_is_named() {
    let _alone = alone();
    let stand = stand();
    let (speech, loud) = (stand.path("speech.wav"), stand.path("loud.wav"));
    write_speech(&speech, Voice::Low, 20.0).unwrap();
    changed(&speech, &loud, |sample| sample * 12.0);
    let run = check(&stand, &[], &loud);
    let report = report(&run.events);
    assert_eq!(run.status, Some(6), "{report}");
    assert_eq!(faults(report)[0], "clipping", "{report}");
}

#[test]
fn a_speaker_that_is_heard_by_the_microphone_is_named_as_echo() {
    let _alone = alone();
    echo_is_named(&stand()).unwrap();
}

/// The microphone hears the sink that is the speaker, and into which the person speaks.
fn echo_is_named(stand: &Stand) -> Result<()> {
    let (speech, talk, murmur) = (stand.path("speech.wav"), stand.path("talk.wav"), stand.path("murmur.wav"));
    write_speech(&speech, Voice::Low, 5.0)?;
    write_speech(&talk, Voice::High, 120.0)?;
    changed(&talk, &murmur, |sample| sample * 0.003);
    let sound = Sound::start(&stand.path("sound"))?;
    sound.plug_microphone("room")?;
    // Without it a virtual microphone gives zeros, as a muted one does.
    let _murmur = sound.play("room", &murmur)?;
    let mut cli = Command::new(env!("CARGO_BIN_EXE_bellwire-cli"))
        .args(["check", "--server", stand.url().as_str(), "--events", "json", "--bind", "127.0.0.1", "--token-file"])
        .arg(stand.path("client.token"))
        .args(["--input", "room", "--output", "room_throat"])
        .envs(sound.env())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut events = Vec::new();
    let mut voice = None;
    for line in BufReader::new(cli.stdout.take().context("its output")?).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        if event["stage"] == "speak" {
            voice = Some(sound.play("room", &speech)?);
        }
        events.push(event);
    }
    let status = cli.wait()?;
    drop(voice);
    let report = report(&events);
    ensure!(status.code() == Some(6) && faults(report).contains(&"echo"), "{report}");
    Ok(())
}
