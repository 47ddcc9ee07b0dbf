//! Rooms made of numbers: what a loudspeaker plays comes back to a microphone, late, reverberant, distorted, and on
//! another clock. Nothing here is random twice.

#![allow(dead_code)]

use bellwire_media::pipeline::Processor;
use bellwire_media::{FRAME, Processing, Sound};
use realfft::RealFftPlanner;

const RATE: f32 = 48_000.0;

/// How a loudspeaker is heard by a microphone.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Seconds in which a sound in the room falls by 60 dB.
    pub rt60: f32,
    /// From the sound being played to its coming back, milliseconds.
    pub delay_ms: f32,
    /// Of the echo against what was played, decibels.
    pub level_db: f32,
    /// Whether the loudspeaker distorts (a soft clip, about 10 % of harmonics at full level).
    pub distorts: bool,
    /// By how many millionths the microphone's clock is faster.
    pub drift_ppm: f32,
}

impl Room {
    pub const SMALL: Self = Self { rt60: 0.25, delay_ms: 60.0, level_db: -6.0, distorts: false, drift_ppm: 0.0 };

    /// What comes back of what is played, as long as that.
    pub fn echo(&self, played: &[f32]) -> Vec<f32> {
        let drive = 4.0;
        let speaker: Vec<f32> = if self.distorts {
            played.iter().map(|x| (drive * x + 0.1).tanh() / drive - 0.1f32.tanh() / drive).collect()
        } else {
            played.to_vec()
        };
        let response = self.response();
        let mut echo = convolve(&speaker, &response);
        echo.truncate(played.len());
        let level = 10f32.powf(self.level_db / 20.0) * (power(played) / power(&echo).max(1e-12)).sqrt();
        let mut back =
            if self.drift_ppm == 0.0 { echo } else { resample(&echo, 1.0 - f64::from(self.drift_ppm) * 1e-6) };
        back.resize(played.len(), 0.0);
        back.iter_mut().for_each(|sample| *sample *= level);
        back
    }

    /// A direct sound and noise that dies away (J. Polack's model of a diffuse field).
    fn response(&self) -> Vec<f32> {
        let mut dice = Dice(0x5EED ^ u64::from((self.rt60 * 1000.0) as u32));
        let start = (self.delay_ms / 1000.0 * RATE) as usize;
        let length = (self.rt60 * RATE) as usize;
        let mut response = vec![0.0; start + length];
        // Energy of the direct sound and of the rest alike: a loudspeaker within arm's reach.
        let decay = 6.908 / (self.rt60 * RATE);
        let energy: f32 = (0..length).map(|n| (-2.0 * decay * n as f32).exp() / 3.0).sum();
        for (n, tap) in response[start..].iter_mut().enumerate() {
            *tap = (2.0 * dice.roll() - 1.0) * (-decay * n as f32).exp() / energy.sqrt();
        }
        response[start] += 1.0;
        response
    }
}

/// The noise of a quiet room, RMS -66 dBFS.
pub fn hum(samples: usize, seed: u64) -> Vec<f32> {
    let mut dice = Dice(seed | 1);
    (0..samples).map(|_| 0.0005 * 3f32.sqrt() * (2.0 * dice.roll() - 1.0)).collect()
}

/// Anything that is told what is played and changes what is captured.
pub trait Chain {
    fn played(&mut self, frame: &[f32; FRAME]);
    fn captured(&mut self, frame: &mut [f32; FRAME]);
}

impl Chain for Processor {
    fn played(&mut self, frame: &[f32; FRAME]) {
        Processor::played(self, &Sound::mono(*frame));
    }

    fn captured(&mut self, frame: &mut [f32; FRAME]) {
        let mut sound = Sound::mono(*frame);
        Processor::captured(self, &mut sound);
        *frame = sound.mid;
    }
}

/// Echo cancellation and nothing else.
pub fn canceller() -> Processor {
    Processor::new(Processing { echo_cancellation: true, ..Processing::OFF })
}

/// What comes out of a chain that is given both, 10 ms of each in turn.
pub fn run(chain: &mut impl Chain, played: &[f32], captured: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(captured.len());
    for (played, captured) in played.as_chunks::<FRAME>().0.iter().zip(captured.as_chunks::<FRAME>().0) {
        chain.played(played);
        let mut frame = *captured;
        chain.captured(&mut frame);
        out.extend(frame);
    }
    out
}

pub fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub fn power(sound: &[f32]) -> f32 {
    sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len().max(1) as f32
}

pub fn decibels(ratio: f32) -> f32 {
    10.0 * ratio.max(1e-12).log10()
}

/// A stretch of time, in seconds.
pub fn part(sound: &[f32], from: f32, to: f32) -> &[f32] {
    &sound[(from * RATE) as usize..((to * RATE) as usize).min(sound.len())]
}

/// By how much a chain lowers what was captured in a stretch of time, decibels.
pub fn lowered_db(captured: &[f32], out: &[f32], from: f32, to: f32) -> f32 {
    decibels(power(part(captured, from, to)) / power(part(out, from, to)))
}

/// How much of a voice is in a sound: of each 20 ms in which it speaks, the gain with which it is found there, in
/// decibels, sorted. The sound may be late by up to 40 ms.
pub fn kept_db(voice: &[f32], sound: &[f32]) -> Vec<f32> {
    let late = (0..1920)
        .step_by(1)
        .max_by(|a, b| overlap(voice, sound, *a).total_cmp(&overlap(voice, sound, *b)))
        .unwrap_or(0);
    let mut gains: Vec<f32> = voice
        .chunks_exact(960)
        .zip(sound[late..].chunks_exact(960))
        .filter(|(voice, _)| power(voice) > 1e-4)
        .map(|(voice, sound)| {
            let along: f32 = voice.iter().zip(sound).map(|(a, b)| a * b).sum::<f32>() / 960.0;
            20.0 * (along / power(voice)).max(1e-3).log10()
        })
        .collect();
    gains.sort_by(f32::total_cmp);
    gains
}

fn overlap(voice: &[f32], sound: &[f32], late: usize) -> f32 {
    voice.iter().zip(&sound[late..]).step_by(7).map(|(a, b)| a * b).sum()
}

fn convolve(sound: &[f32], response: &[f32]) -> Vec<f32> {
    let size = (2 * response.len()).next_power_of_two();
    let step = size - response.len();
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, backward) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let spectrum = |samples: &[f32]| {
        let mut padded = vec![0.0; size];
        padded[..samples.len()].copy_from_slice(samples);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).expect("sizes fit");
        spectrum
    };
    let response = spectrum(response);
    let mut out = vec![0.0; sound.len() + size];
    for (at, block) in sound.chunks(step).enumerate() {
        let mut product: Vec<_> = spectrum(block).iter().zip(&response).map(|(a, b)| a * b).collect();
        let mut samples = vec![0.0; size];
        // Rounding leaves a little in what has to be real.
        product[0].im = 0.0;
        product[size / 2].im = 0.0;
        backward.process(&mut product, &mut samples).expect("sizes fit");
        for (out, sample) in out[at * step..].iter_mut().zip(samples) {
            *out += sample / size as f32;
        }
    }
    out
}

/// Another clock: `ratio` samples of the old one for each new one, by a windowed sinc of 32 taps.
pub fn resample(sound: &[f32], ratio: f64) -> Vec<f32> {
    const HALF: i64 = 16;
    (0..(sound.len() as f64 / ratio) as i64)
        .map(|n| {
            let at = n as f64 * ratio;
            let whole = at.floor() as i64;
            (whole - HALF + 1..=whole + HALF)
                .filter_map(|k| sound.get(usize::try_from(k).ok()?).map(|sample| (k, sample)))
                .map(|(k, sample)| {
                    let x = std::f64::consts::PI * (at - k as f64);
                    let window = 0.5 + 0.5 * (x / HALF as f64).cos();
                    let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
                    sample * (sinc * window) as f32
                })
                .sum()
        })
        .collect()
}

struct Dice(u64);

impl Dice {
    /// 0 to 1 (xorshift).
    fn roll(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}
