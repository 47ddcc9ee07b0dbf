//! How loud sound is, for meters: RMS over 100 ms on a scale of -60 to 0 dBFS.

use crate::Frame;

/// Collects frames and yields a level each tenth of them.
#[derive(Default)]
pub struct Meter {
    squares: f32,
    frames: u32,
}

const FLOOR_DB: f32 = -60.0;

impl Meter {
    pub fn add(&mut self, frame: &Frame) {
        self.squares += frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len() as f32;
        self.frames += 1;
    }

    /// The level since the last call, 0 to 1; 0 when nothing was added.
    pub fn take(&mut self) -> f32 {
        let power = if self.frames == 0 { 0.0 } else { self.squares / self.frames as f32 };
        *self = Self::default();
        (1.0 - 10.0 * power.max(1e-12).log10() / FLOOR_DB).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FRAME, SILENCE};

    #[test]
    fn silence_is_zero_full_scale_is_one_and_half_way_is_minus_thirty() {
        let mut meter = Meter::default();
        assert_eq!(meter.take(), 0.0);
        meter.add(&SILENCE);
        assert_eq!(meter.take(), 0.0);
        meter.add(&[1.0; FRAME]);
        assert_eq!(meter.take(), 1.0);
        meter.add(&[10f32.powf(-1.5); FRAME]);
        assert!((meter.take() - 0.5).abs() < 0.001);
    }
}
