//! Whether a recording holds a given speech, and speech made on the spot to ask it with.
//!
//! For automation, the demo and tests: play a file into a call, record the far side, and ask [`best_correlation`]
//! whether the speech arrived. It stands delay of any length, gain control, noise suppression, a codec, and a jitter
//! buffer that stretches time. It measures presence, not quality.

mod speech;

pub use speech::{Voice, write_speech};

use std::path::{Path, PathBuf};
use thiserror::Error;

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// 0 to 1. Above 0.5 the recording holds the speech; other speech stays below 0.35.
    pub correlation: f32,
    /// Speech that was recognised, in milliseconds.
    pub heard_ms: u64,
    /// Where the reference's beginning lies in the recording; negative if the recording begins later.
    pub delay_ms: i64,
}

#[derive(Debug, Error)]
pub enum BadRecording {
    #[error("{path} cannot be read as a WAV file: {why}")]
    Unreadable { path: PathBuf, why: hound::Error },
    #[error("{path} has less than a second of sound")]
    TooShort { path: PathBuf },
}

/// Samples a second for comparing waveforms: what carries most of speech's energy.
const RATE: usize = 4_000;
/// One step of the coarse search: 20 ms.
const HOP: usize = RATE / 50;
/// The bands of the coarse search, in Hz.
const BANDS: [f32; 10] = [150.0, 230.0, 320.0, 430.0, 560.0, 720.0, 920.0, 1160.0, 1450.0, 1750.0];
/// The part of speech that is compared at once, and how far it may have been moved against the part before: 500 and 60 ms.
const SEGMENT: usize = RATE / 2;
const MOVE: usize = RATE * 60 / 1000;
/// Alignments that are tried of those that the coarse search found.
const ALIGNMENTS: usize = 3;
/// A segment from here on counts as heard.
const HEARD: f32 = 0.5;
/// Below this, in dBFS, a recording is taken as silence.
const SILENCE_DBFS: f32 = -60.0;

/// Looks for the reference's speech in the recording.
pub fn best_correlation(reference: &Path, recording: &Path) -> Result<Match, BadRecording> {
    let speech = load(reference)?;
    let heard = load(recording)?;
    let mut best = Match { correlation: 0.0, heard_ms: 0, delay_ms: 0 };
    for lag in alignments(&features(&speech), &features(&heard)) {
        let found = compare(&emphasised(&speech), &emphasised(&heard), lag * HOP as isize);
        if found.correlation > best.correlation {
            best = found;
        }
    }
    Ok(best)
}

/// The level of a part of a file, RMS in dBFS: -120 for digital silence, and for a part beyond the end.
pub fn level_dbfs(path: &Path, from_ms: u64, to_ms: u64) -> Result<f32, BadRecording> {
    let samples = load(path)?;
    let at = |ms: u64| usize::try_from(ms).unwrap_or(usize::MAX).saturating_mul(RATE / 1000).min(samples.len());
    Ok(dbfs(&samples[at(from_ms)..at(to_ms).max(at(from_ms))]))
}

fn dbfs(samples: &[f32]) -> f32 {
    let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32;
    10.0 * power.max(1e-12).log10()
}

/// The file as mono at [`RATE`]. Each sample is the mean of those it stands for, which is low-pass enough here.
fn load(path: &Path) -> Result<Vec<f32>, BadRecording> {
    let unreadable = |why| BadRecording::Unreadable { path: path.into(), why };
    let reader = hound::WavReader::open(path).map_err(unreadable)?;
    let spec = reader.spec();
    let full = match spec.sample_format {
        hound::SampleFormat::Float => 1.0,
        hound::SampleFormat::Int => (1_u64 << (spec.bits_per_sample - 1)) as f32,
    };
    let samples: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        hound::SampleFormat::Float => reader.into_samples::<f32>().collect(),
        hound::SampleFormat::Int => reader.into_samples::<i32>().map(|s| s.map(|s| s as f32 / full)).collect(),
    };
    let samples = samples.map_err(unreadable)?;
    let width = spec.sample_rate as usize * usize::from(spec.channels);
    let slowed: Vec<f32> = (0..samples.len() * RATE / width)
        .map(|n| {
            let part = &samples[n * width / RATE..((n + 1) * width / RATE).max(n * width / RATE + 1)];
            part.iter().sum::<f32>() / part.len() as f32
        })
        .collect();
    if slowed.len() < RATE { Err(BadRecording::TooShort { path: path.into() }) } else { Ok(slowed) }
}

/// Log power by band for each hop, each band around its mean.
fn features(samples: &[f32]) -> Vec<[f32; BANDS.len()]> {
    let floor = 10_f32.powf(SILENCE_DBFS / 10.0);
    let mut rows: Vec<[f32; BANDS.len()]> = samples
        .windows(2 * HOP)
        .step_by(HOP)
        .map(|part| BANDS.map(|hz| (power_at(part, hz) + floor * 0.01).log10()))
        .collect();
    for band in 0..BANDS.len() {
        let mean = rows.iter().map(|row| row[band]).sum::<f32>() / rows.len().max(1) as f32;
        rows.iter_mut().for_each(|row| row[band] -= mean);
    }
    rows
}

/// The power of one frequency (Goertzel, "An Algorithm for the Evaluation of Finite Trigonometric Series", 1958).
fn power_at(part: &[f32], hz: f32) -> f32 {
    let c = 2.0 * (std::f32::consts::TAU * hz / RATE as f32).cos();
    let (mut a, mut b) = (0.0_f32, 0.0_f32);
    for sample in part {
        (a, b) = (sample + c * a - b, a);
    }
    (a * a + b * b - c * a * b).max(0.0) / (part.len() * part.len()) as f32
}

/// The hops by which the recording most probably lags behind the reference, best first.
fn alignments(speech: &[[f32; BANDS.len()]], heard: &[[f32; BANDS.len()]]) -> Vec<isize> {
    let least = 1000 / 20;
    let mut scored: Vec<(f32, isize)> = (least - speech.len() as isize..=heard.len() as isize - least)
        .map(|lag| (likeness(speech, heard, lag), lag))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut best: Vec<isize> = Vec::new();
    for (_, lag) in scored {
        if best.len() < ALIGNMENTS && best.iter().all(|known| known.abs_diff(lag) > 2) {
            best.push(lag);
        }
    }
    best
}

/// Correlation of the features where both overlap, less where that is only a small part.
fn likeness(speech: &[[f32; BANDS.len()]], heard: &[[f32; BANDS.len()]], lag: isize) -> f32 {
    let (skip_speech, skip_heard) = ((-lag).max(0) as usize, lag.max(0) as usize);
    let pairs = speech.iter().skip(skip_speech).zip(heard.iter().skip(skip_heard));
    let (mut xy, mut xx, mut yy, mut n) = (0.0_f32, 1e-9_f32, 1e-9_f32, 0_usize);
    for (a, b) in pairs {
        for band in 0..BANDS.len() {
            xy += a[band] * b[band];
            xx += a[band] * a[band];
            yy += b[band] * b[band];
        }
        n += 1;
    }
    let share = n as f32 / speech.len().min(heard.len()) as f32;
    xy / (xx * yy).sqrt() * share.min(0.5)
}

/// Lifts the upper tones: the lowest ones of any two voices look alike.
fn emphasised(samples: &[f32]) -> Vec<f32> {
    samples.windows(2).map(|pair| pair[1] - 0.9 * pair[0]).collect()
}

/// Follows the reference through the recording, segment by segment, from an alignment on.
fn compare(speech: &[f32], heard: &[f32], lag: isize) -> Match {
    let loud = dbfs(speech) - 10.0;
    let mut moved = lag;
    let mut found: Vec<f32> = Vec::new();
    for (n, segment) in speech.chunks_exact(SEGMENT).enumerate() {
        let at = (n * SEGMENT) as isize + moved;
        let inside = at >= 0 && at as usize + SEGMENT <= heard.len();
        if dbfs(segment) < loud || !inside {
            continue;
        }
        let first = (at as usize).saturating_sub(MOVE);
        let last = (at as usize + MOVE).min(heard.len() - SEGMENT);
        let (best, place) = (first..=last)
            .map(|place| (correlation(segment, &heard[place..place + SEGMENT]), place))
            .fold((0.0, at as usize), |best, next| if next.0 > best.0 { next } else { best });
        if best >= HEARD {
            moved = place as isize - (n * SEGMENT) as isize;
        }
        found.push(best);
    }
    found.sort_by(|a, b| b.total_cmp(a));
    let better_half = &found[..found.len().div_ceil(2)];
    let correlation = better_half.iter().sum::<f32>() / better_half.len().max(1) as f32;
    let heard_ms = found.iter().filter(|c| **c >= HEARD).count() * SEGMENT * 1000 / RATE;
    Match { correlation, heard_ms: heard_ms as u64, delay_ms: moved as i64 * 1000 / RATE as i64 }
}

/// Pearson's, of two parts of the same length; 0 where one is silent.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let (mut xy, mut xx, mut yy) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (x, y) in a.iter().zip(b) {
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    if xx.min(yy) < 1e-7 { 0.0 } else { xy / (xx * yy).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, samples: impl Iterator<Item = f32>) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        samples.for_each(|s| writer.write_sample((s.clamp(-1.0, 1.0) * 32_767.0) as i16).unwrap());
        writer.finalize().unwrap();
    }

    fn read(path: &Path) -> Vec<f32> {
        hound::WavReader::open(path).unwrap().samples::<i16>().map(|s| f32::from(s.unwrap()) / 32_768.0).collect()
    }

    #[test]
    fn speech_is_found_late_cut_quieter_and_noisy_but_not_in_other_speech() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let names = [(Voice::Low, "low"), (Voice::High, "high"), (Voice::Third, "third")];
        names.iter().for_each(|(voice, name)| write_speech(&path(name), *voice, 10.0).unwrap());
        let low = read(&path("low"));
        let mut seed = 7_u32;
        let mut noise = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        // 2 s of a low noise, then the speech from its second second on at a third of its level, with the noise.
        let late: Vec<f32> = (0..96_000).map(|_| 0.0).chain(low[48_000..].iter().map(|s| s / 3.0)).collect();
        write(&path("late"), late.into_iter().map(|s| s + 0.003 * noise()));
        let mixed: Vec<f32> = low.iter().zip(read(&path("high"))).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        write(&path("mixed"), mixed.into_iter());
        write(&path("silence"), std::iter::repeat_n(0.0, 480_000));

        let found = best_correlation(&path("low"), &path("late")).unwrap();
        assert!(found.correlation > 0.8 && (found.delay_ms - 1000).abs() < 5 && found.heard_ms > 4000, "{found:?}");
        for name in ["high", "third", "silence"] {
            let found = best_correlation(&path("low"), &path(name)).unwrap();
            assert!(found.correlation < 0.35, "{name}: {found:?}");
        }
        for name in ["low", "high"] {
            let found = best_correlation(&path(name), &path("mixed")).unwrap();
            assert!(found.correlation > 0.5, "{name}: {found:?}");
        }
        assert_eq!(level_dbfs(&path("silence"), 0, 5000).unwrap(), -120.0);
        assert!(level_dbfs(&path("low"), 0, 10_000).unwrap() > -35.0);
    }

    #[test]
    fn a_file_that_is_no_recording_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.wav");
        std::fs::write(&path, "no sound").unwrap();
        let error = best_correlation(&path, &path).unwrap_err().to_string();
        assert!(error.contains("text.wav"), "{error}");
    }
}
