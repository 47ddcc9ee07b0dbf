//! Speech-like sound: glottal pulses and noise through moving formants, in syllables with pauses. It means nothing,
//! belongs to nobody, and passes noise suppression and codecs as speech does. The same voice always says the same.

use std::f32::consts::{PI, TAU};
use std::path::Path;

/// Who speaks. Each says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Low,
    High,
    Third,
}

const RATE: f32 = 48_000.0;
/// The first three formants of some vowels, in Hz (Peterson and Barney, "Control Methods Used in a Study of the
/// Vowels", 1952).
const VOWELS: [[f32; 3]; 7] = [
    [270.0, 2290.0, 3010.0],
    [530.0, 1840.0, 2480.0],
    [660.0, 1720.0, 2410.0],
    [730.0, 1090.0, 2440.0],
    [570.0, 840.0, 2410.0],
    [300.0, 870.0, 2240.0],
    [490.0, 1350.0, 1690.0],
];
const FORMANT_WIDTHS: [f32; 3] = [70.0, 100.0, 140.0];
/// RMS of the whole, pauses included: about -24 dBFS.
const LEVEL: f32 = 0.063;

/// Writes that many seconds of speech as mono, 16 bits, 48 kHz.
pub fn write_speech(path: &Path, voice: Voice, seconds: f32) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut speaker = Speaker::new(voice);
    let wanted = (seconds.max(0.0) * RATE) as usize;
    let mut samples = Vec::with_capacity(wanted);
    while samples.len() < wanted {
        speaker.phrase(&mut samples);
    }
    samples.truncate(wanted);
    let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32;
    let gain = LEVEL / power.sqrt().max(1e-9);
    let mut writer = hound::WavWriter::create(path, spec)?;
    for sample in samples {
        writer.write_sample(((sample * gain).clamp(-1.0, 1.0) * 32_767.0) as i16)?;
    }
    writer.finalize()
}

struct Speaker {
    seed: u64,
    pitch: f32,
    /// A shorter throat has higher formants.
    throat: f32,
    phase: f32,
    formants: [Resonator; 3],
    hiss: Resonator,
}

impl Speaker {
    fn new(voice: Voice) -> Self {
        let (seed, pitch, throat) = match voice {
            Voice::Low => (0x9e37_79b9, 112.0, 1.0),
            Voice::High => (0x7f4a_7c15, 205.0, 1.16),
            Voice::Third => (0x1ce4_e5b9, 148.0, 1.07),
        };
        Self { seed, pitch, throat, phase: 0.0, formants: Default::default(), hiss: Resonator::default() }
    }

    /// Three to eight syllables over a falling melody, then a pause.
    fn phrase(&mut self, out: &mut Vec<f32>) {
        let syllables = 3 + (self.chance() * 6.0) as usize;
        for n in 0..syllables {
            let melody = 1.15 - 0.3 * n as f32 / syllables as f32 + 0.1 * (self.chance() - 0.5);
            if self.chance() < 0.5 {
                self.consonant(out);
            }
            self.vowel(out, self.pitch * melody);
        }
        let pause = (0.12 + 0.3 * self.chance()) * RATE;
        out.extend(std::iter::repeat_n(0.0, pause as usize));
    }

    fn consonant(&mut self, out: &mut Vec<f32>) {
        let hz = 1_800.0 + 4_500.0 * self.chance();
        let length = ((0.04 + 0.07 * self.chance()) * RATE) as usize;
        self.hiss.tune(hz, 900.0);
        for n in 0..length {
            let shape = (PI * n as f32 / length as f32).sin();
            let noise = self.chance() - 0.5;
            out.push(0.6 * shape * self.hiss.pass(noise));
        }
    }

    /// A glide from one vowel to another.
    fn vowel(&mut self, out: &mut Vec<f32>, pitch: f32) {
        let from = VOWELS[(self.chance() * VOWELS.len() as f32) as usize % VOWELS.len()];
        let to = VOWELS[(self.chance() * VOWELS.len() as f32) as usize % VOWELS.len()];
        let length = ((0.11 + 0.16 * self.chance()) * RATE) as usize;
        let bend = 0.85 + 0.3 * self.chance();
        let loud = 0.6 + 0.4 * self.chance();
        for n in 0..length {
            let at = n as f32 / length as f32;
            if n % 48 == 0 {
                for (i, formant) in self.formants.iter_mut().enumerate() {
                    formant.tune((from[i] + (to[i] - from[i]) * at) * self.throat, FORMANT_WIDTHS[i]);
                }
            }
            let jitter = 1.0 + 0.02 * (self.chance() - 0.5);
            self.phase += pitch * (1.0 + (bend - 1.0) * at) * jitter / RATE;
            self.phase -= self.phase.floor();
            // The flow opens slowly and closes fast; its noise is the breath.
            let open = self.phase / 0.6;
            let flow = if open < 1.0 { open * open * (1.0 - open) * 6.75 - 0.35 } else { -0.35 };
            let source = flow + 0.04 * (self.chance() - 0.5);
            let throat = self.formants.iter_mut().enumerate().fold(0.0, |sum, (i, formant)| {
                let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
                sum + sign * formant.pass(source) / (1.0 + i as f32)
            });
            let edges = (at * 12.0).min((1.0 - at) * 8.0).min(1.0);
            out.push(loud * edges * throat);
        }
    }

    /// 0 to 1, by xorshift (Marsaglia, 2003).
    fn chance(&mut self) -> f32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 40) as f32 / (1 << 24) as f32
    }
}

/// Two poles.
#[derive(Default)]
struct Resonator {
    gain: f32,
    a: f32,
    b: f32,
    last: [f32; 2],
}

impl Resonator {
    fn tune(&mut self, hz: f32, width: f32) {
        let r = (-PI * width / RATE).exp();
        self.a = 2.0 * r * (TAU * hz / RATE).cos();
        self.b = -r * r;
        self.gain = (1.0 - r) * 2.0;
    }

    fn pass(&mut self, input: f32) -> f32 {
        let out = self.gain * input + self.a * self.last[0] + self.b * self.last[1];
        self.last = [out, self.last[0]];
        out
    }
}
