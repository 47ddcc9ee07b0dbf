//! Who speaks: a level over a threshold, with hysteresis, and held over the pauses between words.

use crate::{FRAME, Frame};

/// Listens to one voice, 10 ms at a time.
#[derive(Default)]
pub struct Voice {
    speaking: bool,
    /// Frames in a row that were loud enough to begin, or too quiet to go on.
    run: u32,
    /// Frames since the last change.
    since: u32,
}

/// Power from which a voice begins (-45 dBFS) and below which it ends (-51 dBFS): between them nothing changes. What the
/// processing leaves of a quiet room is far below both.
const BEGIN: f32 = 3.2e-5;
const END: f32 = 0.8e-5;
/// A click is no voice,
const BEGIN_FRAMES: u32 = 3;
/// and a pause between words does not end one.
const END_FRAMES: u32 = 30;
/// Changes are this far apart at least, which is five a second.
const APART: u32 = 20;

impl Voice {
    /// Whether the voice begins (`true`) or ends (`false`) with this frame.
    pub fn hear(&mut self, frame: &Frame) -> Option<bool> {
        let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
        let (counts, enough) = if self.speaking { (power < END, END_FRAMES) } else { (power >= BEGIN, BEGIN_FRAMES) };
        self.run = if counts { self.run.saturating_add(1) } else { 0 };
        self.since = self.since.saturating_add(1);
        if self.run < enough || self.since < APART {
            return None;
        }
        (self.run, self.since) = (0, 0);
        self.speaking = !self.speaking;
        Some(self.speaking)
    }

    /// Ends the voice, if it speaks: there is nothing to be heard any more.
    pub fn end(&mut self) -> Option<bool> {
        let spoke = std::mem::take(self).speaking;
        spoke.then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes in a stretch of 10 ms levels, each given with how often it comes: (frame, speaking).
    fn changes(levels: &[(f32, usize)]) -> Vec<(usize, bool)> {
        let mut voice = Voice::default();
        levels
            .iter()
            .flat_map(|(level, times)| std::iter::repeat_n([*level; FRAME], *times))
            .enumerate()
            .filter_map(|(at, frame)| voice.hear(&frame).map(|speaking| (at, speaking)))
            .collect()
    }

    #[test]
    fn a_voice_lasts_over_pauses_between_words_and_ends_300_ms_after_the_last() {
        let words = [(0.0, 50), (0.1, 20), (0.0, 25), (0.1, 20), (0.0, 60)];
        assert_eq!(changes(&words), [(52, true), (144, false)]);
    }

    #[test]
    fn a_click_and_a_quiet_room_are_no_voice() {
        assert_eq!(changes(&[(0.001, 100), (0.9, 2), (0.001, 100)]), []);
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        assert_eq!(changes(&[(0.004, 100)]), []);
        assert_eq!(changes(&[(0.0, 30), (0.1, 10), (0.004, 100)]), [(32, true)]);
    }

    #[test]
    fn whatever_is_heard_there_are_five_changes_a_second_at_most() {
        for (loud, quiet) in [(1, 1), (3, 30), (3, 31), (5, 40), (20, 35)] {
            let restless: Vec<_> = (0..200).flat_map(|_| [(0.5, loud), (0.0, quiet)]).collect();
            let changes = changes(&restless);
            assert!(changes.windows(6).all(|six| six[5].0 - six[0].0 >= 100), "{loud} and {quiet}: {changes:?}");
        }
    }
}
