//! Where a recording is silent, and which moment of the world a place in it is.
//!
//! `bellwire-cli` writes 10 ms of recording each 10 ms, so a recording's place and the clock go together. By how much
//! they differ is read from how the file grows: it is never ahead of the clock, and right after a write hardly behind.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RATE: usize = 48_000;
const HEADER: usize = 44;
/// One piece that is loud or silent: 10 ms.
const PIECE: usize = RATE / 100;
const PIECE_MS: u64 = 10;
/// RMS of 16-bit samples below which a piece is silent: -45 dBFS. What is spoken here has some -15.
const SILENT: f64 = 184.0;
/// Shorter silences are not counted: nobody hears them.
const SHORTEST: Duration = Duration::from_millis(40);
const POLL: Duration = Duration::from_millis(3);
/// What is looked through for the least lag.
const WINDOW: Duration = Duration::from_secs(1);

/// A recording that is being made.
pub struct Listener {
    file: PathBuf,
    began: Instant,
    /// The least lag of the file behind the clock in each second since `began`, and how many windows there were.
    lags: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub fn start(file: &Path) -> Self {
        let began = Instant::now();
        let lags = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (file, lags, stop) = (file.to_owned(), lags.clone(), stop.clone());
            move || watch(&file, began, &lags, &stop)
        });
        Self { file: file.to_owned(), began, lags, stop, thread: Some(thread) }
    }

    /// How long after `from` sound is heard that then goes on for at least `lasting`; `None`: not so far.
    pub fn heard_again(&self, from: Instant, lasting: Duration) -> Result<Option<Duration>> {
        let recording = Recording::read(&self.file)?;
        let Some(lag) = self.lag_after(from) else { return Ok(None) };
        let place = from.saturating_duration_since(self.began).saturating_sub(lag);
        Ok(recording.sound_from(place, lasting).map(|there| there.saturating_sub(place)))
    }

    /// The longest silence that ended or went on after `from`.
    pub fn longest_gap(&self, from: Instant) -> Result<Duration> {
        let lag = self.lag_after(from).context("the recording did not grow")?;
        let place = from.saturating_duration_since(self.began).saturating_sub(lag);
        Ok(Recording::read(&self.file)?.longest_silence(place))
    }

    /// The lag after that moment, from whole seconds alone: a process that was stopped has lost time before it.
    pub fn lag_after(&self, from: Instant) -> Option<Duration> {
        let first = from.saturating_duration_since(self.began).as_secs() as usize + 1;
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one is not over yet.
        lags.get(first..lags.len().checked_sub(1)?)?.iter().min().copied()
    }

    /// How much the lags of single seconds differ since that moment: the error of what is told of places.
    pub fn spread(&self, from: Instant) -> Option<Duration> {
        let first = from.saturating_duration_since(self.began).as_secs() as usize + 1;
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = lags.get(first..lags.len().checked_sub(1)?)?;
        Some(whole.iter().max()?.saturating_sub(*whole.iter().min()?))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(file: &Path, began: Instant, lags: &Mutex<Vec<Duration>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(about) = std::fs::metadata(file) {
            let now = began.elapsed();
            let samples = (about.len() as usize).saturating_sub(HEADER) / 2;
            let lag = now.saturating_sub(Duration::from_secs_f64(samples as f64 / RATE as f64));
            let window = (now.as_millis() / WINDOW.as_millis()) as usize;
            let mut lags = lags.lock().unwrap_or_else(PoisonError::into_inner);
            let windows = lags.len().max(window + 1);
            lags.resize(windows, Duration::MAX);
            lags[window] = lags[window].min(lag);
        }
        std::thread::sleep(POLL);
    }
}

/// Which 10 ms of it are loud.
struct Recording(Vec<bool>);

impl Recording {
    fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let samples: Vec<i16> = bytes
            .get(HEADER..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        Ok(Self::of(&samples))
    }

    fn of(samples: &[i16]) -> Self {
        let loud = |piece: &[i16]| {
            let power = piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / piece.len() as f64;
            power.sqrt() >= SILENT
        };
        Self(samples.chunks_exact(PIECE).map(loud).collect())
    }

    /// Silences, in pieces, that are long enough to count.
    fn silences(&self) -> Vec<std::ops::Range<usize>> {
        let mut silences = Vec::new();
        let mut begin = None;
        for (n, loud) in self.0.iter().copied().chain([true]).enumerate() {
            match (begin, loud) {
                (None, false) => begin = Some(n),
                (Some(from), true) => {
                    silences.push(from..n);
                    begin = None;
                }
                (None, true) | (Some(_), false) => {}
            }
        }
        silences.retain(|silence| time(silence.len()) >= SHORTEST);
        silences
    }

    fn sound_from(&self, place: Duration, lasting: Duration) -> Option<Duration> {
        let mut from = place;
        for silence in self.silences() {
            if time(silence.end) <= place {
                continue;
            }
            if time(silence.start) >= from + lasting {
                break;
            }
            from = from.max(time(silence.end));
        }
        (time(self.0.len()) >= from + lasting).then_some(from)
    }

    fn longest_silence(&self, place: Duration) -> Duration {
        let silences = self.silences();
        silences
            .iter()
            .filter(|silence| time(silence.end) > place)
            .map(|silence| time(silence.len()))
            .max()
            .unwrap_or_default()
    }
}

fn time(pieces: usize) -> Duration {
    Duration::from_millis(pieces as u64 * PIECE_MS)
}

/// Writes a sound without any pause, as rich as a voice: what interruptions are measured with. `pause` is a silence to be
/// found, from its beginning on for so long.
pub fn write_hum(file: &Path, hz: f64, length: Duration, pause: Option<(Duration, Duration)>) -> Result<()> {
    let count = (length.as_secs_f64() * RATE as f64) as usize;
    let mut bytes = Vec::with_capacity(HEADER + 2 * count);
    let size = u32::try_from(2 * count)?;
    let rate = u32::try_from(RATE)?;
    bytes.extend(b"RIFF");
    bytes.extend((size + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    // PCM, one channel, 16 bits.
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(size.to_le_bytes());
    for n in 0..count {
        let at = n as f64 / RATE as f64;
        let silent = pause.is_some_and(|(from, long)| (from..from + long).contains(&Duration::from_secs_f64(at)));
        let turn = std::f64::consts::TAU * hz * (at + 0.002 * (std::f64::consts::TAU * 4.0 * at).sin());
        let sum: f64 = (1..=8).map(|harmonic| (turn * f64::from(harmonic)).sin() / f64::from(harmonic)).sum();
        let sample = if silent { 0 } else { (sum * 5_000.0) as i16 };
        bytes.extend(sample.to_le_bytes());
    }
    Ok(std::fs::write(file, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Alternately loud and silent for so many milliseconds.
    fn recording(parts: &[usize]) -> Recording {
        let sample = |n: usize| if n.is_multiple_of(2) { 3_000 } else { 0 };
        Recording::of(
            &parts.iter().enumerate().flat_map(|(n, ms)| vec![sample(n); ms * RATE / 1000]).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn sound_counts_from_where_it_lasts() {
        // A silence from 1.0 s to 2.5 s, a short one, one from 3.1 s to 3.3 s.
        let recording = recording(&[1_000, 1_500, 300, 20, 280, 200, 4_000]);
        for (from, expected) in [(500, 3_300), (1_000, 3_300), (3_350, 3_350), (4_000, 4_000)] {
            assert_eq!(recording.sound_from(MS * from, MS * 2_000), Some(MS * expected), "{from}");
        }
        assert_eq!(recording.sound_from(MS * 100, MS * 500), Some(MS * 100));
        assert_eq!(recording.sound_from(MS * 1_200, MS * 500), Some(MS * 2_500));
        assert_eq!(recording.sound_from(MS * 6_000, MS * 2_000), None);
        assert_eq!(recording.longest_silence(Duration::ZERO), MS * 1_500);
        assert_eq!(recording.longest_silence(MS * 2_600), MS * 200);
        assert_eq!(recording.longest_silence(MS * 5_000), Duration::ZERO);
    }

    #[test]
    fn the_hum_has_no_pause_but_the_planted_one() {
        let file = std::env::temp_dir().join(format!("bellwire-hum-{}.wav", std::process::id()));
        write_hum(&file, 180.0, MS * 3_000, Some((MS * 1_000, MS * 700))).unwrap();
        let recording = Recording::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(recording.silences(), vec![100..170]);
    }
}
