//! The first and the last of the chain: what is below a voice goes, and the voice comes to its level.

use super::Stage;
use crate::{Frame, RATE};
use sonora::config::{AdaptiveDigital, GainController2};
use sonora::{AudioProcessing, Config, StreamConfig};

/// A Butterworth high-pass of the second order at 90 Hz, in transposed direct form II.
pub struct HighPass {
    b: f32,
    a: [f32; 2],
    state: [f32; 2],
}

const HERTZ: f32 = 90.0;

impl Default for HighPass {
    /// Coefficients by R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    fn default() -> Self {
        let w = std::f32::consts::TAU * HERTZ / RATE as f32;
        let alpha = w.sin() * std::f32::consts::FRAC_1_SQRT_2;
        let a0 = 1.0 + alpha;
        Self { b: (1.0 + w.cos()) / 2.0 / a0, a: [-2.0 * w.cos() / a0, (1.0 - alpha) / a0], state: [0.0; 2] }
    }
}

impl Stage for HighPass {
    fn process(&mut self, frame: &mut Frame) {
        for sample in frame {
            let x = self.b * *sample;
            let y = x + self.state[0];
            self.state[0] = -2.0 * x - self.a[0] * y + self.state[1];
            self.state[1] = x - self.a[1] * y;
            *sample = y;
        }
    }
}

/// WebRTC's adaptive digital gain and its limiter.
pub struct Gain {
    control: AudioProcessing,
    scratch: Frame,
}

impl Default for Gain {
    fn default() -> Self {
        let mono = StreamConfig::new(RATE, 1);
        let gain = GainController2 { adaptive_digital: Some(AdaptiveDigital::default()), ..GainController2::default() };
        let config = Config { gain_controller2: Some(gain), ..Config::default() };
        let control = AudioProcessing::builder().config(config).capture_config(mono).render_config(mono).build();
        Self { control, scratch: [0.0; crate::FRAME] }
    }
}

impl Stage for Gain {
    fn process(&mut self, frame: &mut Frame) {
        // The only error is a wrong format, which the types exclude.
        if self.control.process_capture_f32(&[&*frame], &mut [&mut self.scratch]).is_ok() {
            frame.copy_from_slice(&self.scratch);
        }
    }
}
