//! The sound laboratory: calls in virtual time on recorded speech, as fast as they run.
//!
//! `cargo xtask bench offline` builds the clips, runs this and scores what it writes; docs/sound.md tells of the results.
//!
//! ```text
//! sound_lab --clips FOLDER --out FOLDER [--seeds N] [--way NAME]... [--without MECHANISM]
//! sound_lab --clips FOLDER --hours N
//! ```
//! Clips are `SEED-a.wav` and `SEED-b.wav`, what the two say. For each direction of each call a line of JSON goes to
//! standard output, and what was heard to a WAV file in the folder. With `--hours` one long call is watched for what
//! grows.

mod call;
mod hours;
mod party;

use bellwire_media::pipeline::{Mechanisms, Received};
use call::{Call, Heard};
use serde_json::json;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use xtask::lab::ways::{self, Way};

/// Calls at a time.
const THREADS: usize = 2;
const DEFAULT_SEEDS: u64 = 3;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Default)]
struct Options {
    clips: PathBuf,
    out: PathBuf,
    seeds: u64,
    ways: Vec<&'static Way>,
    without: Option<String>,
    hours: Option<f64>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sound_lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { seeds: DEFAULT_SEEDS, ..Options::default() };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--clips" => options.clips = value.into(),
            "--out" => options.out = value.into(),
            "--seeds" => options.seeds = value.parse()?,
            "--way" => options.ways.push(ways::by_name(&value).ok_or_else(|| format!("no way is called {value}"))?),
            "--without" => options.without = Some(value),
            "--hours" => options.hours = Some(value.parse()?),
            _ => return Err(format!("{word} is not known").into()),
        }
    }
    if options.ways.is_empty() {
        options.ways = ways::WAYS.iter().collect();
    }
    Ok(options)
}

fn run(options: &Options) -> Result<()> {
    let mechanisms = mechanisms(options.without.as_deref())?;
    if let Some(hours) = options.hours {
        return hours::watch(hours, mechanisms, [&clip(&options.clips, 0, 'a')?, &clip(&options.clips, 0, 'b')?]);
    }
    std::fs::create_dir_all(&options.out)?;
    let calls: Vec<(&Way, u64)> =
        options.ways.iter().flat_map(|way| (0..options.seeds).map(move |seed| (*way, seed))).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let (begun, spoken) = (Instant::now(), Mutex::new(0.0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((way, seed)) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match one(options, way, mechanisms, *seed) {
                        Ok(seconds) => *spoken.lock().unwrap_or_else(|lock| lock.into_inner()) += seconds,
                        Err(error) => {
                            next.store(calls.len(), Ordering::Relaxed);
                            *failed.lock().unwrap_or_else(|lock| lock.into_inner()) = Some(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(|lock| lock.into_inner()) {
        return Err(error);
    }
    let spoken = spoken.into_inner().unwrap_or_else(|lock| lock.into_inner());
    let took = begun.elapsed().as_secs_f64();
    eprintln!(
        "{} calls, {spoken:.0} s of them in {took:.0} s: {:.0} times as fast as life",
        calls.len(),
        spoken / took
    );
    Ok(())
}

/// All but the one named.
fn mechanisms(without: Option<&str>) -> Result<Mechanisms> {
    let mut mechanisms = Mechanisms::default();
    let Some(without) = without else { return Ok(mechanisms) };
    for name in without.split(',') {
        *match name {
            "resend" => &mut mechanisms.resend,
            "copies" => &mut mechanisms.copies,
            "fec" => &mut mechanisms.fec,
            "dred" => &mut mechanisms.dred,
            "deep-plc" => &mut mechanisms.deep_plc,
            "stretch" => &mut mechanisms.stretch,
            "rate" => &mut mechanisms.rate,
            _ => return Err(format!("no mechanism is called {name}").into()),
        } = false;
    }
    Ok(mechanisms)
}

/// Runs a call and tells of it; the answer is how long it was.
fn one(options: &Options, way: &Way, mechanisms: Mechanisms, seed: u64) -> Result<f64> {
    let voices = [clip(&options.clips, seed, 'a')?, clip(&options.clips, seed, 'b')?];
    let call = Call::new(way, mechanisms, seed, [&voices[0], &voices[1]])?;
    let length = call.length();
    for (heard, who) in call.finish().iter().zip(['a', 'b']) {
        let name = format!("{}-{}-{seed}-{who}", way.name, options.without.as_deref().unwrap_or("all"));
        let file = options.out.join(format!("{name}.wav"));
        write(&file, &heard.played)?;
        let line = json!({
            "way": way.name,
            "without": options.without,
            "clip": format!("{seed}-{who}"),
            "heard": file,
            "offset": heard.offset,
            "speaker_clock": heard.speaker_clock,
            "listener_clock": heard.listener_clock,
            "lead": call::LEAD,
            "figures": figures(heard),
        });
        writeln!(std::io::stdout().lock(), "{line}")?;
    }
    Ok(length)
}

/// Shares are of the sound played, or of the packets sent.
fn figures(heard: &Heard) -> serde_json::Value {
    let received = &heard.listener.received;
    let sum = |of: fn(&Received) -> u32| received.iter().map(|second| f64::from(of(second))).sum::<f64>();
    let mean = |of: fn(&Received) -> f32| {
        received.iter().map(|second| f64::from(of(second))).sum::<f64>() / received.len().max(1) as f64
    };
    let plans = &heard.speaker.plans;
    let of_plans =
        |of: fn(&bellwire_media::pipeline::Plan) -> f64| plans.iter().map(of).sum::<f64>() / plans.len().max(1) as f64;
    let played = sum(|second| second.played).max(1.0);
    let expected = sum(|second| second.counts.expected).max(1.0);
    let kbits = |bytes: usize| bytes as f64 * 8.0 / heard.seconds / 1000.0;
    json!({
        "made_up": sum(|second| second.made_up) / played,
        "stretched": sum(|second| second.stretched) / played,
        "resent": sum(|second| second.recovered.resent) / played,
        "copied": sum(|second| second.recovered.copied) / played,
        "fec": sum(|second| second.recovered.fec) / played,
        "deep": sum(|second| second.recovered.deep) / played,
        "late": sum(|second| second.counts.late) / expected,
        "buffer_ms": mean(|second| second.buffer_ms),
        "target_ms": mean(|second| second.target_ms),
        "sound_kbits": kbits(heard.speaker.sound_bytes),
        "control_kbits": kbits(heard.speaker.control_bytes),
        "sent_again": f64::from(heard.speaker.resent) / f64::from(heard.speaker.packets.max(1)),
        "dropped": heard.dropped as f64 / heard.sent.max(1) as f64,
        "codec_kbits": of_plans(|plan| f64::from(plan.bitrate) / 1000.0),
        "packet_ms": of_plans(|plan| f64::from(plan.packet_ms)),
        "dred_ms": of_plans(|plan| f64::from(plan.dred_ms)),
    })
}

fn clip(folder: &Path, seed: u64, who: char) -> Result<Vec<f32>> {
    let file = folder.join(format!("{seed}-{who}.wav"));
    let mut reader = hound::WavReader::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let samples: std::result::Result<Vec<i16>, _> = reader.samples().collect();
    Ok(samples?.into_iter().map(|sample| f32::from(sample) / 32_768.0).collect())
}

fn write(file: &Path, samples: &[f32]) -> Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: bellwire_media::RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file, spec)?;
    for sample in samples {
        writer.write_sample((sample * 32_767.0).clamp(-32_768.0, 32_767.0) as i16)?;
    }
    Ok(writer.finalize()?)
}
