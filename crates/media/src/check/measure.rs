//! What a microphone gives, in figures: level of the voice, clipping, noise, zeros, and what comes back of what is played.

use crate::{FRAME, Frame};

/// Of a microphone. Levels are RMS in dBFS.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MicrophoneFigures {
    /// Nothing but zeros came, though something should have.
    pub zeros_only: bool,
    pub speech_dbfs: Option<f32>,
    /// Share of the samples of the loud half, 0 to 1, that lie flat at the end of the scale.
    pub clipped: f32,
    /// The quietest tenth.
    pub noise_dbfs: Option<f32>,
}

/// Decibels by which what is played comes back weaker; [`NO_ECHO`] where nothing of it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EchoFigures {
    pub return_loss_db: f32,
    /// Behind the echo canceller.
    pub cancelled_loss_db: f32,
}

pub const NO_ECHO: f32 = 60.0;

/// A sample from here on is at the end of the scale; two in a row are a flat top, which speech does not have.
const END_OF_SCALE: f32 = 0.97;
/// What nobody hears.
const FLOOR: f32 = -100.0;
/// A voice stands out from the noise by so much, and is above what any usable microphone gives.
const OVER_NOISE: f32 = 10.0;
const FAINTEST: f32 = -60.0;
/// Frames in a row that begin a voice: a click is none.
const BEGIN: usize = 4;

pub fn level(power: f32) -> f32 {
    10.0 * power.max(1e-10).log10()
}

fn power(sound: &[f32]) -> f32 {
    sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len().max(1) as f32
}

/// Collects captured frames of 10 ms.
#[derive(Default)]
pub struct Ear {
    levels: Vec<f32>,
    clipped: usize,
    loud: usize,
    nonzero: bool,
    /// Frames that should have held sound.
    expected: usize,
    /// Frames in a row that stand out.
    run: usize,
}

impl Ear {
    /// Takes a frame; `expected` is false after a recording's end. Says whether a voice begins with it.
    pub fn hear(&mut self, frame: &Frame, expected: bool) -> bool {
        let level = level(power(frame));
        let zeros = frame.iter().all(|sample| *sample == 0.0);
        self.nonzero |= !zeros;
        if !expected {
            return false;
        }
        self.expected += 1;
        let tops = frame.windows(2).filter(|pair| pair.iter().all(|s| s.abs() >= END_OF_SCALE)).count();
        self.clipped += tops;
        if level > -30.0 {
            self.loud += FRAME;
        }
        let noise = self.noise().unwrap_or(FLOOR);
        if !zeros {
            self.levels.push(level);
        }
        let out = level > (noise + OVER_NOISE).max(FAINTEST);
        self.run = if out { self.run + 1 } else { 0 };
        self.run == BEGIN
    }

    /// Whether the last frame stood out.
    pub fn goes_on(&self) -> bool {
        self.run > 0
    }

    /// The level below which the quietest tenth lies.
    fn noise(&self) -> Option<f32> {
        // A few frames are not enough to know what is quiet.
        if self.levels.len() < 20 {
            return None;
        }
        let mut levels = self.levels.clone();
        let (_, noise, _) = levels.select_nth_unstable_by(self.levels.len() / 10, f32::total_cmp);
        Some(*noise)
    }

    pub fn is_silent(&self) -> bool {
        !self.nonzero && self.expected >= 50
    }

    pub fn figures(&self, spoke: bool) -> MicrophoneFigures {
        let noise = self.noise();
        let threshold = (noise.unwrap_or(FLOOR) + OVER_NOISE).max(FAINTEST);
        let active: Vec<f32> = self.levels.iter().copied().filter(|level| *level > threshold).collect();
        let mean = active.iter().map(|level| 10f32.powf(level / 10.0)).sum::<f32>() / active.len().max(1) as f32;
        MicrophoneFigures {
            zeros_only: self.is_silent(),
            speech_dbfs: (spoke && !active.is_empty()).then(|| level(mean)),
            clipped: self.clipped as f32 / self.loud.max(FRAME * 10) as f32,
            noise_dbfs: noise,
        }
    }
}

/// Eight thousand samples a second are enough to know a voice again.
const DECIMATE: usize = 6;
/// The longest way from playing to capturing that is looked for: 0.6 s.
const LONGEST_LAG: usize = 4_800;
/// Two different sentences look as alike as this (as a share of power), so less is no echo.
const ALIKE_BY_CHANCE: f32 = 0.04;
/// Around the lag of the echo, where the canceller's rest is looked for: 4 ms.
const NEAR: usize = 32;

/// Compares what was played with what was captured meanwhile, raw and behind the canceller; all begin at one moment.
pub fn echo(played: &[f32], captured: &[f32], cancelled: &[f32]) -> Option<EchoFigures> {
    let (played, captured, cancelled) = (thin(played), thin(captured), thin(cancelled));
    if level(power(&played)) < FAINTEST {
        return None;
    }
    let (lag, return_loss_db) = loss(&played, &captured, 0..LONGEST_LAG);
    // The canceller needs a moment to learn: its second half counts.
    let from = cancelled.len().min(played.len()) / 2;
    let near = lag.saturating_sub(NEAR)..lag + NEAR;
    let (_, cancelled_loss_db) = match return_loss_db < NO_ECHO {
        true => loss(played.get(from..)?, cancelled.get(from..)?, near),
        false => (0, NO_ECHO),
    };
    Some(EchoFigures { return_loss_db, cancelled_loss_db })
}

fn thin(sound: &[f32]) -> Vec<f32> {
    sound.chunks_exact(DECIMATE).map(|chunk| chunk.iter().sum::<f32>() / DECIMATE as f32).collect()
}

/// The lag at which `heard` is most like `played`, and the loss between them there.
fn loss(played: &[f32], heard: &[f32], lags: std::ops::Range<usize>) -> (usize, f32) {
    let mut best = (0, 0.0f32, 0.0f32);
    for lag in lags {
        let length = played.len().min(heard.len().saturating_sub(lag));
        // Less than a quarter of a second says nothing.
        if length < 2_000 {
            break;
        }
        let (there, back) = (&played[..length], &heard[lag..lag + length]);
        let cross: f32 = there.iter().zip(back).map(|(a, b)| a * b).sum();
        let (energy, returned) = (power(there) * length as f32, power(back) * length as f32);
        let alike = cross * cross / (energy * returned).max(1e-9);
        if alike > best.1 {
            best = (lag, alike, alike * returned / energy.max(1e-9));
        }
    }
    let (lag, alike, share) = best;
    let loss = if alike < ALIKE_BY_CHANCE { NO_ECHO } else { -level(share) };
    (lag, loss.min(NO_ECHO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, seed: u64, gain: f32) -> Vec<f32> {
        let mut state = seed;
        let mut last = 0.0;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Low-passed, as a voice is.
            last = 0.8 * last + 0.2 * ((state >> 40) as f32 / 8_388_608.0 - 1.0);
            last * gain
        };
        (0..length).map(|_| next()).collect()
    }

    fn ear(sound: &[f32]) -> (Ear, bool) {
        let mut ear = Ear::default();
        let mut spoke = false;
        for chunk in sound.chunks_exact(FRAME) {
            spoke |= ear.hear(chunk.try_into().expect("a frame"), true);
        }
        (ear, spoke)
    }

    /// A second of quiet noise, then two of a voice in syllables.
    fn sentence(gain: f32) -> Vec<f32> {
        let mut sound = noise(48_000, 1, 0.002);
        let voice = noise(96_000, 2, 1.0);
        sound.extend(
            voice.iter().enumerate().map(|(n, sample)| if n / 9_600 % 2 == 0 { sample * gain } else { sample * 0.002 }),
        );
        sound
    }

    #[test]
    fn a_voice_is_found_and_measured_above_its_noise() {
        let (ear, spoke) = ear(&sentence(0.5));
        let figures = ear.figures(spoke);
        let expected = level(power(&noise(9_600, 2, 0.5)));
        assert!(spoke && !figures.zeros_only && figures.clipped == 0.0, "{figures:?}");
        assert!(figures.speech_dbfs.is_some_and(|level| (level - expected).abs() < 3.0), "{figures:?}, {expected}");
        assert!(figures.noise_dbfs.is_some_and(|level| level < -55.0), "{figures:?}");
    }

    #[test]
    fn zeros_alone_are_told_and_are_no_voice() {
        let (ear, spoke) = ear(&[0.0; 96_000]);
        assert!(!spoke && ear.figures(spoke).zeros_only);
    }

    #[test]
    fn flat_tops_are_clipping() {
        let loud: Vec<f32> = sentence(6.0).into_iter().map(|sample| sample.clamp(-1.0, 1.0)).collect();
        let (ear, spoke) = ear(&loud);
        assert!(ear.figures(spoke).clipped > 0.01, "{:?}", ear.figures(spoke));
    }

    #[test]
    fn an_echo_is_found_with_its_loss_and_a_strange_voice_is_none() {
        let played = noise(48_000 * 3, 3, 0.5);
        for (delay, gain, loss) in [(4_800, 1.0, 0.0), (14_400, 0.1, 20.0), (960, 0.5, 6.0)] {
            let mut heard = vec![0.0; delay];
            heard.extend(played.iter().map(|sample| sample * gain));
            let rest: Vec<f32> = heard.iter().map(|sample| sample * 0.01).collect();
            let found = echo(&played, &heard, &rest).expect("figures");
            assert!((found.return_loss_db - loss).abs() < 1.0, "{found:?}, expected {loss}");
            assert!(
                (found.cancelled_loss_db - loss - 40.0).abs() < 2.0 || found.cancelled_loss_db == NO_ECHO,
                "{found:?}"
            );
        }
        let other = noise(48_000 * 3, 4, 0.5);
        let found = echo(&played, &other, &other).expect("figures");
        assert_eq!(found, EchoFigures { return_loss_db: NO_ECHO, cancelled_loss_db: NO_ECHO });
        assert_eq!(echo(&[0.0; 48_000], &other, &other), None);
    }
}
