//! How much later the right channel of a recording says what the left one says.

use anyhow::{Context, Result, bail};

/// Samples a second for the comparison: speech's strongest part, to an eighth of a millisecond.
const RATE: usize = 8_000;
const RECORDED_RATE: usize = 48_000;
/// One piece of speech, and the longest delay that is looked for.
const PIECE: usize = RATE / 2;
const LONGEST: usize = RATE / 2;
/// Pieces that are quieter than this, RMS of full scale, are pauses.
const SPEECH: f32 = 0.02;
/// Where the best place is no more like the piece than this, it was not found.
const LIKE: f32 = 0.6;

/// Delays in milliseconds, one for each piece of speech that was recognised, sorted.
pub fn delays(interleaved: &[u8]) -> Result<Vec<f64>> {
    let (left, right) = (channel(interleaved, 0), channel(interleaved, 1));
    let mut found: Vec<f64> = Vec::new();
    let mut pieces = 0;
    let mut at = 0;
    while at + PIECE + LONGEST < left.len() {
        let piece = &left[at..at + PIECE];
        if power(piece).sqrt() > SPEECH {
            pieces += 1;
            found.extend(best_lag(piece, &right[at..at + PIECE + LONGEST]));
        }
        at += PIECE;
    }
    if found.len() < 5 {
        bail!("of {pieces} pieces of speech only {} came out of the speaker", found.len());
    }
    found.sort_by(f64::total_cmp);
    Ok(found)
}

pub fn median(sorted: &[f64]) -> Result<f64> {
    sorted.get(sorted.len() / 2).copied().context("nothing measured")
}

/// One channel of 16-bit samples, slowed down; each sample is the mean of those it stands for.
fn channel(interleaved: &[u8], which: usize) -> Vec<f32> {
    let samples: Vec<f32> = interleaved
        .chunks_exact(4)
        .map(|frame| f32::from(i16::from_le_bytes([frame[2 * which], frame[2 * which + 1]])) / 32_768.0)
        .collect();
    let step = RECORDED_RATE / RATE;
    samples.chunks_exact(step).map(|part| part.iter().sum::<f32>() / step as f32).collect()
}

fn best_lag(piece: &[f32], within: &[f32]) -> Option<f64> {
    let own = power(piece);
    let (mut best, mut place) = (0.0_f32, 0);
    for lag in 0..=within.len() - piece.len() {
        let other = &within[lag..lag + piece.len()];
        let product: f32 = piece.iter().zip(other).map(|(a, b)| a * b).sum::<f32>() / piece.len() as f32;
        let like = product / (own * power(other)).sqrt().max(1e-9);
        if like > best {
            (best, place) = (like, lag);
        }
    }
    (best > LIKE).then_some(place as f64 * 1000.0 / RATE as f64)
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_delay_is_found() {
        let mut seed = 1_u32;
        let noise: Vec<i16> = (0..RECORDED_RATE * 6)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 16) as i16) / 2
            })
            .collect();
        // Held for eight samples each, so that the slowed-down channels keep something of it.
        let left = |n: usize| noise[n / 8];
        let late = RECORDED_RATE * 70 / 1000;
        let interleaved: Vec<u8> = (0..noise.len())
            .flat_map(|n| {
                let right = if n < late { 0 } else { left(n - late) / 3 };
                [left(n).to_le_bytes(), right.to_le_bytes()].concat()
            })
            .collect();
        let found = delays(&interleaved).unwrap();
        assert!((median(&found).unwrap() - 70.0).abs() < 0.3, "{found:?}");
    }
}
