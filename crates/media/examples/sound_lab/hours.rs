//! One long call: neither memory nor delay may grow.

use crate::Result;
use crate::call::Call;
use bellwire_media::pipeline::Mechanisms;
use bellwire_media::{FRAME, RATE};
use std::time::{Duration, Instant};
use xtask::lab::ways::Way;

/// Loss, jitter and two clocks, so that everything that holds something holds it.
const BUSY: Way = Way {
    name: "hours",
    title: "hours of loss, jitter and drift",
    changes: &[(-1e9, "delay 40 15 overtaking"), (-1e9, "loss 0.05")],
    drift_ppm: 100.0,
    passes: 1,
    chromium: None,
    aim: None,
};
const EACH: Duration = Duration::from_secs(600);
/// What is compared: the last so much that was played, with what was said up to so much before.
const PIECE: f64 = 3.0;
const LONGEST: f64 = 1.0;
/// Buffers, also the laboratory's own, have grown to the size they need by then;
const SETTLED: Duration = Duration::from_secs(1800);
/// from then on this is all the growth allowed.
const MEMORY_MIB: f64 = 2.0;
const DELAY_MS: f64 = 40.0;

pub fn watch(hours: f64, mechanisms: Mechanisms, voices: [&[f32]; 2]) -> Result<()> {
    let end = Duration::from_secs_f64(hours * 3600.0);
    let clip = voices[0].len() as f64 / f64::from(RATE);
    let busy = Way { passes: (hours * 3600.0 / clip).ceil() as u32 + 1, ..BUSY };
    let mut call = Call::new(&busy, mechanisms, 1, voices)?;
    let begun = Instant::now();
    println!("{:>8} {:>12} {:>12} {:>12} {:>10}", "minutes", "memory MiB", "a to b ms", "b to a ms", "CPU s");
    let mut first: Option<(f64, [f64; 2])> = None;
    let mut faults = Vec::new();
    let mut next = EACH.min(end);
    while next <= end {
        let keep = Duration::from_secs_f64(PIECE + 1.0);
        while call.now() + keep < next {
            call.run_until((call.now() + Duration::from_secs(5)).min(next - keep));
            for party in call.parties() {
                party.forget();
            }
        }
        call.run_until(next);
        let delays = [0, 1].map(|from| delay_ms(&mut call, from, voices[from]));
        let memory = memory_mib()?;
        let minutes = next.as_secs() / 60;
        let cpu = begun.elapsed().as_secs_f64();
        println!("{minutes:>8} {memory:>12.1} {:>12.0} {:>12.0} {cpu:>10.1}", delays[0], delays[1]);
        next += EACH;
        if next <= SETTLED {
            continue;
        }
        let (memory_before, delays_before) = *first.get_or_insert((memory, delays));
        if memory > memory_before + MEMORY_MIB {
            faults.push(format!("after {minutes} min there are {:.1} MiB more", memory - memory_before));
        }
        for (before, now) in delays_before.iter().zip(delays) {
            if now > before + DELAY_MS || now.is_nan() {
                faults.push(format!("after {minutes} min the delay is {now:.0} ms, and was {before:.0}"));
            }
        }
    }
    println!("{:.0} times as fast as life", end.as_secs_f64() / begun.elapsed().as_secs_f64());
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

/// From the one's microphone to the other's speaker just now; not a number where nothing was recognised.
fn delay_ms(call: &mut Call, from: usize, voice: &[f32]) -> f64 {
    let (ends, played) = call.parties()[1 - from].last_played((PIECE * f64::from(RATE)) as usize);
    let played = slowed(played);
    // All of the voice that may be in it, the latest first.
    let whole = voice.len() / FRAME * FRAME;
    let latest = call.parties()[from].spoken_by(ends);
    let earliest = latest.saturating_sub(((PIECE + LONGEST) * f64::from(RATE)) as usize);
    let said: Vec<f32> = (earliest..latest).map(|at| voice[at % whole]).collect();
    let said = slowed(&said);
    let mut best = (0.3, f64::NAN);
    for lag in 0..=said.len().saturating_sub(played.len()) {
        let other = &said[said.len() - lag - played.len()..said.len() - lag];
        let product: f32 = played.iter().zip(other).map(|(a, b)| a * b).sum();
        let like = product / (power(&played) * power(other)).sqrt().max(1e-9);
        if like > best.0 {
            best = (like, lag as f64 * 1000.0 / f64::from(SLOW));
        }
    }
    best.1
}

const SLOW: u32 = 8_000;

/// Each sample is the mean of those it stands for.
fn slowed(samples: &[f32]) -> Vec<f32> {
    let step = (RATE / SLOW) as usize;
    samples.chunks_exact(step).map(|part| part.iter().sum::<f32>() / step as f32).collect()
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}

/// What this program holds in memory that is its own.
#[cfg(target_os = "linux")]
fn memory_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("no RssAnon")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

#[cfg(not(target_os = "linux"))]
fn memory_mib() -> Result<f64> {
    Err("memory is read from Linux's /proc alone".into())
}
