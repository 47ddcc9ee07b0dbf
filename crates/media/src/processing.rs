//! Echo cancellation, noise suppression and gain control of the captured sound, by sonora at 48 kHz.
//!
//! Every played frame is given to [`Processor::played`] and every captured one to [`Processor::captured`], each once
//! and in the order in which they happen; the canceller finds the delay between them by itself.

use crate::{FRAME, Frame, NoiseSuppression as Suppression, Processing, RATE, Sound};
use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression, Pipeline,
    TransparentModeType,
};
use sonora::{AudioProcessing, Config, StreamConfig};

pub struct Processor {
    /// `None` while everything is switched off: then sound passes untouched.
    chain: Option<Box<AudioProcessing>>,
    wanted: Processing,
    scratch: Frame,
}

impl Processor {
    pub fn new(wanted: Processing) -> Self {
        Self { chain: chain(wanted), wanted, scratch: [0.0; FRAME] }
    }

    pub fn set(&mut self, wanted: Processing) {
        if wanted != self.wanted {
            self.wanted = wanted;
            match &mut self.chain {
                Some(chain) if any(wanted) => chain.apply_config(config(wanted)),
                Some(_) | None => self.chain = chain(wanted),
            }
        }
    }

    /// What the speaker is about to play: the reference of the echo canceller.
    pub fn played(&mut self, sound: &Sound) {
        if self.wanted.echo_cancellation
            && let Some(chain) = &mut self.chain
        {
            // The only error is a wrong format, which the types exclude.
            let _ = chain.process_render_f32(&[&sound.mid], &mut [&mut self.scratch]);
        }
    }

    /// By how many decibels the echo is lowered; `None` while there was none to be lowered.
    pub fn echo_return_loss_db(&self) -> Option<f32> {
        None
    }

    /// Cleans captured sound in place.
    pub fn captured(&mut self, sound: &mut Sound) {
        if let Some(chain) = &mut self.chain
            && chain.process_capture_f32(&[&sound.mid], &mut [&mut self.scratch]).is_ok()
        {
            sound.mid.copy_from_slice(&self.scratch);
        }
    }
}

fn any(wanted: Processing) -> bool {
    wanted.echo_cancellation || wanted.noise_suppression != Suppression::Off || wanted.gain_control
}

fn chain(wanted: Processing) -> Option<Box<AudioProcessing>> {
    any(wanted).then(|| {
        let mono = StreamConfig::new(RATE, 1);
        let mut chain =
            AudioProcessing::builder().config(config(wanted)).capture_config(mono).render_config(mono).build();
        // Callback buffers and rings of both sides together; the canceller's own estimate takes over from there.
        let _ = chain.set_stream_delay_ms(STREAM_DELAY_MS);
        Box::new(chain)
    })
}

const STREAM_DELAY_MS: i32 = 40;

/// The canceller first assumes that there is echo and holds the near voice down while the far one speaks. The statistical
/// model notices sooner that there is none: within 5 s of both talking at once, where the other took up to 10.
const TRANSPARENT: TransparentModeType = TransparentModeType::Hmm;

fn config(wanted: Processing) -> Config {
    Config {
        pipeline: Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            multi_channel_render: false,
            multi_channel_capture: false,
            ..Pipeline::default()
        },
        high_pass_filter: Some(HighPassFilter::default()),
        echo_canceller: wanted
            .echo_cancellation
            .then(|| EchoCanceller { transparent_mode: TRANSPARENT, ..EchoCanceller::default() }),
        noise_suppression: (wanted.noise_suppression != Suppression::Off).then(NoiseSuppression::default),
        gain_controller2: wanted.gain_control.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital::default()),
            ..GainController2::default()
        }),
        ..Config::default()
    }
}
