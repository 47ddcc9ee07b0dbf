//! Keeps a sum of voices within full scale without clipping it.
//!
//! Sound that is within full scale passes unchanged, bit for bit. A peak beyond it lowers the gain in a ramp that ends with
//! the peak, for which the limiter looks ahead within the 10 ms that it is given, so it adds no delay; then the gain comes
//! back slowly, without pumping between syllables.

use crate::{FRAME, Sound};

pub struct Limiter {
    gain: f32,
}

/// The gain falls by so much a sample towards a peak: from full to half in 1 ms.
const ATTACK: f32 = 0.5 / 48.0;
/// The share of what it is short of full that the gain comes back a sample: half of it in 200 ms.
const RELEASE: f32 = 0.7 / 9600.0;
/// From here the rest is not heard.
const FULL: f32 = 0.999;

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    /// Afterwards no sample is beyond -1 to 1.
    pub fn limit(&mut self, sound: &mut Sound) {
        // The louder of the two channels.
        let peak = |sound: &Sound, i: usize| sound.mid[i].abs() + sound.side[i].abs();
        if self.gain == 1.0 && (0..FRAME).all(|i| peak(sound, i) <= 1.0) {
            return;
        }
        let mut most = [1.0f32; FRAME];
        let mut ahead = f32::INFINITY;
        for (i, most) in most.iter_mut().enumerate().rev() {
            ahead = (ahead + ATTACK).min(1.0 / peak(sound, i).max(1.0));
            *most = ahead;
        }
        for (i, most) in most.into_iter().enumerate() {
            self.gain = (self.gain + (1.0 - self.gain) * RELEASE).min(most);
            sound.mid[i] = (sound.mid[i] * self.gain).clamp(-1.0, 1.0);
            sound.side[i] *= self.gain;
        }
        if self.gain >= FULL {
            self.gain = 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32, frequency: f32, at: usize) -> Sound {
        Sound::mono(std::array::from_fn(|i| {
            amplitude * (((at * FRAME + i) as f32) * frequency * std::f32::consts::TAU / 48_000.0).sin()
        }))
    }

    #[test]
    fn within_full_scale_every_bit_is_kept() {
        let mut limiter = Limiter::default();
        for at in 0..100 {
            let sound = tone(1.0, 440.0, at);
            let mut limited = sound;
            limiter.limit(&mut limited);
            assert_eq!(limited.mid.map(f32::to_bits), sound.mid.map(f32::to_bits));
        }
    }

    #[test]
    fn a_sum_beyond_full_scale_is_made_quieter_and_not_cut_off() {
        let mut limiter = Limiter::default();
        for at in 0..100 {
            let sound = tone(2.5, 200.0, at);
            let mut limited = sound;
            limiter.limit(&mut limited);
            assert!(limited.mid.iter().all(|sample| sample.abs() <= 1.0));
            if at > 0 {
                // A cut wave would stay at full scale for two thirds of the time; this one keeps its form.
                let full = limited.mid.iter().filter(|sample| sample.abs() > 0.999).count();
                assert!(full < FRAME / 10, "{full} samples at full scale in frame {at}");
                let (dot, power) = sound
                    .mid
                    .iter()
                    .zip(&limited.mid)
                    .fold((0.0, (0.0, 0.0)), |(dot, (x, y)), (a, b)| (dot + a * b, (x + a * a, y + b * b)));
                assert!(dot / (power.0 * power.1).sqrt() > 0.999);
            }
        }
    }

    #[test]
    fn after_a_peak_the_gain_comes_back_slowly_and_in_full() {
        let mut limiter = Limiter::default();
        limiter.limit(&mut tone(2.0, 1000.0, 0));
        let levels: Vec<f32> = (0..300)
            .map(|_| {
                let mut sound = Sound::mono([0.5; FRAME]);
                limiter.limit(&mut sound);
                sound.mid[FRAME - 1]
            })
            .collect();
        assert!(levels.windows(2).all(|two| two[1] >= two[0] && two[1] - two[0] < 0.02));
        assert!((0.3..0.45).contains(&levels[19]), "{} after 200 ms", levels[19]);
        assert_eq!(levels[299], 0.5);
    }
}
