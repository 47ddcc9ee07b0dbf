//! Six `bellwire-cli` in one room on one machine: everyone hears everyone, one is killed, the others go on.
//!
//! They speak one after the other, each something of its own, so that a recording of the mix can be asked for each.

mod stand;

use bellwire_client::recording::{self, Voice};
use serde_json::Value;
use stand::{Cli, Stand, alone, is};
use std::path::{Path, PathBuf};

const SIX: usize = 6;
/// When the first speaks, in seconds from the opening of its microphone: until then all are there.
const BEGIN: usize = 12;
/// From one to the next, and how long each speaks.
const TURN: usize = 6;
const SPEECH: usize = 4;
const RATE: usize = 48_000;

#[test]
fn six_hear_each_other_and_go_on_without_one() {
    let _alone = alone();
    let stand = Stand::start();
    let references = speeches(&stand);
    let names: Vec<String> = (0..SIX).map(|n| format!("member-{n}")).collect();
    let stay = (BEGIN + SIX * TURN + 1).to_string();
    let mut members: Vec<Cli> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        stand.person(name);
        let input = stand.path(&format!("turn-{n}.wav"));
        members.push(stand.cli("room", name, &["--room", "six", "--for", &stay], Some(&input), Some(&recording(n))));
    }
    let handles: Vec<String> = members.iter_mut().map(handle).collect();
    for (n, member) in members.iter_mut().enumerate() {
        for _ in 0..SIX - 1 {
            member.wait("a member that is heard", |event| is(event, "member_heard"));
        }
        println!("member {n} hears all");
    }
    // The first has had its turn when the second begins.
    for member in &mut members[2..] {
        let second =
            |event: &Value| is(event, "speaking") && event["member"] == handles[1] && event["speaking"] == true;
        member.wait("that the second speaks", second);
    }
    let killed = members.remove(0);
    killed.signal("-KILL");
    killed.finish();
    for (n, member) in (1..).zip(members) {
        let run = member.finish();
        assert_eq!(run.status, Some(0), "member {n}");
        let usage = run.events.iter().rev().find(|event| is(event, "usage")).expect("what it cost");
        let share = usage["room_cpu_seconds"].as_f64().zip(usage["room_seconds"].as_f64()).map(|(cpu, all)| cpu / all);
        println!("member {n}: {share:.3?} of a processor, {} KiB", usage["pss_kib"]);
    }
    let mut missed = Vec::new();
    for listener in 1..SIX {
        for (speaker, reference) in references.iter().enumerate() {
            let turn = turn_in(&stand, listener, speaker);
            let found = recording::best_correlation(reference, &turn).unwrap().correlation;
            println!("{listener} hears {speaker}: {found:.2}");
            if (listener == speaker && found > 0.35) || (listener != speaker && found < 0.5) {
                missed.push((listener, speaker, found));
            }
        }
    }
    assert!(missed.is_empty(), "(listener, speaker, correlation): {missed:?}");
}

/// What a listener's recording holds of a speaker's turn. The microphones opened within a second of each other.
fn turn_in(stand: &Stand, listener: usize, speaker: usize) -> PathBuf {
    let heard: Vec<i16> = read(&stand.path(&recording(listener)));
    let begin = BEGIN + speaker * TURN;
    let part = &heard[(begin - 1) * RATE..((begin + SPEECH + 1) * RATE).min(heard.len())];
    let path = stand.path(&format!("turn-{speaker}-in-{listener}.wav"));
    write(&path, 0, part);
    path
}

fn recording(n: usize) -> String {
    format!("heard-{n}.wav")
}

fn handle(member: &mut Cli) -> String {
    let entered = member.wait("room_entered", |event| is(event, "room_entered"));
    entered["you"].as_str().expect("a handle").to_owned()
}

/// Writes what each says in its turn, with silence before, and gives what each says alone.
fn speeches(stand: &Stand) -> Vec<PathBuf> {
    let whole = stand.path("speech.wav");
    let voices = [Voice::Low, Voice::High, Voice::Third];
    let said = |n: usize| {
        recording::write_speech(&whole, voices[n % 3], (2 * SPEECH) as f32).unwrap();
        let samples = read(&whole);
        let from = if n < 3 { 0 } else { SPEECH * RATE };
        samples[from..from + SPEECH * RATE].to_vec()
    };
    (0..SIX)
        .map(|n| {
            let samples = said(n);
            write(&stand.path(&format!("turn-{n}.wav")), BEGIN + n * TURN, &samples);
            let reference = stand.path(&format!("said-{n}.wav"));
            write(&reference, 0, &samples);
            reference
        })
        .collect()
}

fn read(path: &Path) -> Vec<i16> {
    hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
}

fn write(path: &Path, silent_seconds: usize, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    let silence = std::iter::repeat_n(0, silent_seconds * RATE);
    silence.chain(samples.iter().copied()).for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}
