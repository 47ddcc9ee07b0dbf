//! Making a stretch of speech a little shorter or longer without changing its pitch: one period is removed or repeated
//! with a cross-fade where the sound repeats itself (overlap-add by waveform similarity: Verhelst and Roelands, 1993).

/// The periods that are looked for, in samples: 2.5 to 10 ms, which covers voices from 100 Hz up; deeper ones match at
/// two periods or are left alone.
const SHORTEST: usize = 120;
const LONGEST: usize = 480;
/// The search runs on every fourth sample.
const STEP: usize = 4;
/// Below this RMS nobody hears a seam: about -56 dBFS.
const QUIET: f32 = 0.0016;

/// What a change may cost: the least similarity, 0 to 1, of the two periods that are cross-faded.
#[derive(Clone, Copy)]
pub struct Tolerance(pub f32);

/// Removes a period of at most `most` samples from the start of `sound`; the samples removed.
pub fn shorten(sound: &mut Vec<f32>, most: usize, tolerance: Tolerance) -> usize {
    let Some(period) = period(sound, most, tolerance) else { return 0 };
    for i in 0..period {
        let weight = i as f32 / period as f32;
        sound[i + period] = sound[i] * (1.0 - weight) + sound[i + period] * weight;
    }
    sound.drain(..period);
    period
}

/// Repeats a period of at most `most` samples near the start of `sound`; the samples added.
pub fn lengthen(sound: &mut Vec<f32>, most: usize, tolerance: Tolerance) -> usize {
    let Some(period) = period(sound, most, tolerance) else { return 0 };
    let repeated: Vec<f32> = (0..period)
        .map(|i| {
            let weight = i as f32 / period as f32;
            sound[period + i] * (1.0 - weight) + sound[i] * weight
        })
        .collect();
    sound.splice(period..period, repeated);
    period
}

/// The lag at which the start of `sound` is most like itself.
fn period(sound: &[f32], most: usize, tolerance: Tolerance) -> Option<usize> {
    let longest = LONGEST.min(most).min(sound.len() / 2);
    if longest < SHORTEST {
        return None;
    }
    let rms = (sound.iter().map(|s| s * s).sum::<f32>() / sound.len() as f32).sqrt();
    if rms < QUIET {
        return Some(longest);
    }
    let window = sound.len() - longest;
    let coarse = (SHORTEST..=longest).step_by(STEP).map(|lag| (lag, similarity(sound, lag, window, STEP)));
    let (near, _) = coarse.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let fine = (near.saturating_sub(STEP - 1).max(SHORTEST)..=(near + STEP - 1).min(longest))
        .map(|lag| (lag, similarity(sound, lag, window, 1)));
    let (lag, best) = fine.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (best >= tolerance.0).then_some(lag)
}

/// Normalised cross-correlation of the first `window` samples with those `lag` later.
fn similarity(sound: &[f32], lag: usize, window: usize, step: usize) -> f32 {
    let window = window.min(sound.len() - lag);
    let (mut dot, mut here, mut there) = (0.0f32, 1e-9f32, 1e-9f32);
    for i in (0..window).step_by(step) {
        let (a, b) = (sound[i], sound[i + lag]);
        dot += a * b;
        here += a * a;
        there += b * b;
    }
    dot / (here * there).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    fn voice(samples: usize) -> Vec<f32> {
        (0..samples).map(|i| 0.3 * (TAU * 150.0 * i as f32 / 48_000.0).sin()).collect()
    }

    fn widest_step(sound: &[f32]) -> f32 {
        sound.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_period_is_removed_or_repeated_without_a_click() {
        let original = voice(960);
        let step = widest_step(&original);
        let mut shorter = original.clone();
        let removed = shorten(&mut shorter, 480, Tolerance(0.9));
        assert_eq!((removed, shorter.len()), (320, 640));
        assert!(widest_step(&shorter) < 1.2 * step);
        let mut longer = original.clone();
        let added = lengthen(&mut longer, 480, Tolerance(0.9));
        assert_eq!((added, longer.len()), (320, 1280));
        assert!(widest_step(&longer) < 1.2 * step);
    }

    #[test]
    fn noise_is_left_alone_unless_the_tolerance_allows_it() {
        let mut seed = 1u32;
        let mut noise: Vec<f32> = (0..960)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / 16_777_216.0 - 0.5
            })
            .collect();
        assert_eq!(shorten(&mut noise, 480, Tolerance(0.8)), 0);
        assert!(shorten(&mut noise, 480, Tolerance(-1.0)) > 0);
    }
}
