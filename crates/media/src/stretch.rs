//! Sound in line to be played, made a little shorter or longer without changing its pitch where that is wanted: one period
//! is removed or repeated with a cross-fade where the sound is most like itself (overlap-add by waveform similarity:
//! Verhelst and Roelands, 1993).
//!
//! [`Line`] keeps some of what was played, so that the next piece can be joined to it: what follows by itself is simply
//! appended; before what does not, the line is continued by its own last period, and cross-faded. Both channels always
//! change alike.

use crate::opus::Piece;
use crate::{FRAME, Sound};

/// The periods that are looked for, in samples: 2.5 to 15 ms, which covers voices from 67 Hz up.
const SHORTEST: usize = 120;
const LONGEST: usize = 720;
/// The search runs on every fourth sample.
const STEP: usize = 4;
/// What is compared: 10 ms.
const COMPARED: usize = 480;
/// Cross-fades take 5 ms, or as much as there is.
const FADE: usize = 240;
/// Below this RMS nobody hears a seam: about -56 dBFS.
const QUIET: f32 = 0.0016;
/// What is kept of what was played: two of the longest periods.
const KEPT: usize = 2 * LONGEST;

/// What a change may cost: the least similarity, 0 to 1, of the two stretches that are cross-faded.
#[derive(Clone, Copy)]
pub struct Tolerance(pub f32);

/// Sound to be played next, behind some that was.
pub struct Line {
    /// Channels of the same length: the first `played` samples were played.
    mid: Vec<f32>,
    side: Vec<f32>,
    played: usize,
    /// Samples since the last that had two channels.
    one_channel: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { mid: vec![0.0; KEPT], side: vec![0.0; KEPT], played: KEPT, one_channel: KEPT }
    }
}

impl Line {
    /// How many samples wait.
    pub fn unplayed(&self) -> usize {
        self.mid.len() - self.played
    }

    /// Takes the next 10 ms; what is lacking is silence.
    pub fn take(&mut self, sound: &mut Sound) {
        let end = (self.played + FRAME).min(self.mid.len());
        *sound = Sound { stereo: self.one_channel < KEPT + self.unplayed(), ..Sound::SILENCE };
        sound.mid[..end - self.played].copy_from_slice(&self.mid[self.played..end]);
        sound.side[..end - self.played].copy_from_slice(&self.side[self.played..end]);
        self.played = end;
        let gone = self.played.saturating_sub(KEPT);
        // Now and then, so that most calls move nothing.
        if gone > 4 * KEPT {
            self.mid.drain(..gone);
            self.side.drain(..gone);
            self.played -= gone;
        }
    }

    /// Appends what follows by itself.
    pub fn append(&mut self, piece: &Piece) {
        self.mid.extend_from_slice(&piece.mid);
        if piece.side.is_empty() {
            self.side.resize(self.mid.len(), 0.0);
            self.one_channel = self.one_channel.saturating_add(piece.mid.len());
        } else {
            self.side.extend_from_slice(&piece.side);
            self.one_channel = 0;
        }
    }

    /// Appends what does not follow by itself.
    pub fn join(&mut self, mut piece: Piece) {
        let length = FADE.min(piece.len());
        let period = self.last_period();
        if piece.side.is_empty() && self.one_channel < KEPT {
            piece.side = vec![0.0; piece.len()];
        }
        for (line, channel) in [(&self.mid, &mut piece.mid), (&self.side, &mut piece.side)] {
            let last = &line[line.len() - period..];
            // Even the best period does not fit exactly where it begins anew.
            let off = line[line.len() - 1] - line[line.len() - 1 - period];
            for (i, sample) in channel.iter_mut().take(length).enumerate() {
                let weight = (i + 1) as f32 / (length + 1) as f32;
                let goes_on = last[i % period] + off * (1 + i / period) as f32;
                *sample = goes_on * (1.0 - weight) + *sample * weight;
            }
        }
        self.append(&piece);
    }

    /// Takes a period of at most `most` samples out of `piece`, before it is appended; the samples removed.
    pub fn shorten(&self, piece: &mut Piece, most: usize, tolerance: Tolerance) -> usize {
        let sound = &piece.mid;
        let most = most.min(LONGEST).min(sound.len().saturating_sub(FADE));
        let period = if is_quiet(sound) {
            most
        } else {
            let Some((period, alike)) = best((SHORTEST, most), |lag, step| {
                let compared = COMPARED.min(sound.len() - lag);
                similarity(&sound[..compared], &sound[lag..lag + compared], step)
            }) else {
                return 0;
            };
            if alike < tolerance.0 {
                return 0;
            }
            period
        };
        if period == 0 {
            return 0;
        }
        let fade = (piece.len() - period).min(COMPARED).min(period);
        for channel in [&mut piece.mid, &mut piece.side] {
            if channel.is_empty() {
                continue;
            }
            for i in 0..fade {
                let weight = (i + 1) as f32 / (fade + 1) as f32;
                channel[i + period] = channel[i] * (1.0 - weight) + channel[i + period] * weight;
            }
            channel.drain(..period);
        }
        period
    }

    /// Repeats the last period, of about `least` samples or more, at the start of `piece`, before it is appended; the
    /// samples added.
    pub fn lengthen(&self, piece: &mut Piece, least: usize, tolerance: Tolerance) -> usize {
        let sound = &piece.mid;
        let fade = COMPARED.min(sound.len());
        if fade < SHORTEST {
            return 0;
        }
        // The piece as it goes on, and as it would go on again from a period earlier.
        let mut both = self.mid[self.mid.len() - LONGEST..].to_vec();
        both.extend_from_slice(&sound[..fade]);
        let period = if is_quiet(&both) {
            least.clamp(1, LONGEST)
        } else {
            let shortest = least.clamp(SHORTEST, FRAME);
            let Some((period, alike)) = best((shortest, LONGEST), |lag, step| {
                similarity(&sound[..fade], &both[LONGEST - lag..LONGEST - lag + fade], step)
            }) else {
                return 0;
            };
            if alike < tolerance.0 {
                return 0;
            }
            period
        };
        if piece.side.is_empty() && self.one_channel < KEPT {
            piece.side = vec![0.0; piece.len()];
        }
        for (line, channel) in [(&self.mid, &mut piece.mid), (&self.side, &mut piece.side)] {
            if channel.is_empty() {
                continue;
            }
            let mut again = line[line.len() - period..].to_vec();
            again.append(channel);
            for i in 0..fade {
                let weight = (i + 1) as f32 / (fade + 1) as f32;
                again[i] = again[i + period] * (1.0 - weight) + again[i] * weight;
            }
            *channel = again;
        }
        period
    }

    /// The period that continues the line best: where its last 5 ms are most like those before.
    fn last_period(&self) -> usize {
        let line = &self.mid[self.mid.len() - LONGEST - FADE..];
        let last = &line[LONGEST..];
        best((SHORTEST, LONGEST), |lag, step| similarity(last, &line[LONGEST - lag..LONGEST - lag + FADE], step))
            .map_or(LONGEST, |(period, _)| period)
    }
}

fn is_quiet(sound: &[f32]) -> bool {
    sound.iter().map(|s| s * s).sum::<f32>() < QUIET * QUIET * sound.len() as f32
}

/// The lag of `range` with the greatest likeness, and that; coarsely first, then finely around the best. Of two periods as
/// like the shorter wins.
fn best(range: (usize, usize), likeness: impl Fn(usize, usize) -> f32) -> Option<(usize, f32)> {
    let (shortest, longest) = range;
    let weigh = |(lag, alike): &(usize, f32)| alike - *lag as f32 * 1e-5;
    let greatest = |a: &(usize, f32), b: &(usize, f32)| weigh(a).total_cmp(&weigh(b));
    let (near, _) = (shortest..=longest).step_by(STEP).map(|lag| (lag, likeness(lag, STEP))).max_by(greatest)?;
    ((near + 1).saturating_sub(STEP).max(shortest)..=(near + STEP - 1).min(longest))
        .map(|lag| (lag, likeness(lag, 1)))
        .max_by(greatest)
}

/// Normalised cross-correlation.
fn similarity(one: &[f32], other: &[f32], step: usize) -> f32 {
    let (mut dot, mut here, mut there) = (0.0f32, 1e-9f32, 1e-9f32);
    for (a, b) in one.iter().step_by(step).zip(other.iter().step_by(step)) {
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

    fn voice(samples: usize) -> Piece {
        voice_from(0, samples)
    }

    fn voice_from(at: usize, samples: usize) -> Piece {
        let mid: Vec<f32> = (at..at + samples).map(|i| 0.3 * (TAU * 150.0 * i as f32 / 48_000.0).sin()).collect();
        Piece { side: mid.iter().map(|s| s * 0.5).collect(), mid }
    }

    fn widest_step(sound: &[f32]) -> f32 {
        sound.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_period_is_removed_or_repeated_without_a_click_and_alike_on_both_channels() {
        let step = widest_step(&voice(960).mid);
        let mut line = Line::default();
        line.append(&voice(9600));
        let mut shorter = voice_from(9600, 960);
        assert_eq!((line.shorten(&mut shorter, 480, Tolerance(0.9)), shorter.len()), (320, 640));
        line.append(&shorter);
        let mut longer = voice_from(10_560, 960);
        assert_eq!((line.lengthen(&mut longer, 1, Tolerance(0.9)), longer.len() - 960), (320, 320));
        line.append(&longer);
        assert!(widest_step(&line.mid) < 1.1 * step);
        let uneven = line.mid.iter().zip(&line.side).map(|(mid, side)| (0.5 * mid - side).abs()).fold(0.0, f32::max);
        assert!(uneven < 1e-5, "{uneven}");
    }

    #[test]
    fn what_does_not_follow_is_joined_without_a_click() {
        let step = widest_step(&voice(960).mid);
        for skipped in (0..320).step_by(40) {
            let mut line = Line::default();
            line.append(&voice(4800));
            line.join(voice_from(4800 + skipped, 960));
            line.join(Piece::silence(480));
            assert!(widest_step(&line.mid) < 1.6 * step, "{skipped}");
        }
    }

    #[test]
    fn noise_is_left_alone_unless_the_tolerance_allows_it_and_silence_changes_by_what_is_wanted() {
        let mut seed = 1u32;
        let mid = (0..960)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / 16_777_216.0 - 0.5
            })
            .collect();
        let mut noise = Piece { mid, side: vec![] };
        let line = Line::default();
        assert_eq!(line.shorten(&mut noise, 480, Tolerance(0.8)), 0);
        assert!(line.shorten(&mut noise, 480, Tolerance(-1.0)) > 0);
        let mut silence = Piece::silence(960);
        assert_eq!(line.shorten(&mut silence, 77, Tolerance(0.8)), 77);
        assert_eq!(line.lengthen(&mut silence, 33, Tolerance(0.8)), 33);
        assert_eq!(silence.len(), 960 - 77 + 33);
    }
}
