//! Noise suppression in two strengths: statistical and light on the voice, or by a neural network and thorough.

use super::split::Split;
use super::{LOW, LowFrame, SIXTEEN_BIT, Stage};
use crate::{FRAME, Frame};
use nnnoiseless::DenoiseState;
use sonora_ns::config::{NsConfig, OVERLAP_SIZE, SuppressionLevel};
use sonora_ns::noise_suppressor::NoiseSuppressor;

/// WebRTC's, below 8 kHz; what lies above goes down with it.
pub struct Standard {
    split: Split<OVERLAP_SIZE>,
    suppressor: NoiseSuppressor,
}

impl Default for Standard {
    fn default() -> Self {
        let config = NsConfig { target_level: SuppressionLevel::K12dB };
        // Two bands: otherwise it does not say what is to become of the upper one.
        Self { split: Split::default(), suppressor: NoiseSuppressor::new_with_bands(config, 2) }
    }
}

impl Stage for Standard {
    fn process(&mut self, frame: &mut Frame) {
        self.split.process(frame, |low| {
            let mut scaled: LowFrame = low.map(|sample| sample * SIXTEEN_BIT);
            self.suppressor.analyze(&scaled);
            self.suppressor.process(&mut scaled);
            for k in 0..LOW {
                low[k] = scaled[k] / SIXTEEN_BIT;
            }
            self.suppressor.upper_band_gain()
        });
    }
}

/// RNNoise (J.-M. Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement", 2018).
pub struct Strong {
    network: Box<DenoiseState<'static>>,
    before: Frame,
}

/// So much of the sound as it was stays (-26 dB): the room does not vanish between words, and a voice that the network
/// takes for noise is still heard.
const DRY: f32 = 0.05;

impl Default for Strong {
    fn default() -> Self {
        Self { network: DenoiseState::new(), before: [0.0; FRAME] }
    }
}

impl Stage for Strong {
    fn process(&mut self, frame: &mut Frame) {
        let scaled = frame.map(|sample| sample * SIXTEEN_BIT);
        let mut clean = [0.0; FRAME];
        self.network.process_frame(&mut clean, &scaled);
        // The network gives back what it was given one frame earlier.
        let dry = std::mem::replace(&mut self.before, *frame);
        for k in 0..FRAME {
            frame[k] = (1.0 - DRY) * clean[k] / SIXTEEN_BIT + DRY * dry[k];
        }
    }
}
