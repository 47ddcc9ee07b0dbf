//! What is heard: devices, processing, codec, jitter buffer, peer connection.
//!
//! An [`Engine`] holds the sound of one device of one person. It knows no call, no room and no server: it is told to open a
//! connection of a generation to a far side ([`Leg`]), hands out descriptions and candidates, and says when speech flows.
//! Text goes beside the sound, on the same connection.
//! Its caller feeds it [`Command`]s and reads [`Event`]s; nothing else crosses the boundary.
//!
//! Inside, three parties exchange values and share no state:
//! * the engine's loop, a task, which owns what was asked for ([`Engine`]);
//! * the sound thread, which owns the pipeline and turns captured frames into packets and packets into played frames;
//! * the device thread, which opens, watches and closes microphone and speaker, and may block while it does.
//!
//! [`pipeline`] is public so that its sound can be measured without devices, network or clock.

mod audio;
pub mod check;
mod congestion;
mod devices;
mod emodel;
mod engine;
mod hearing;
mod interface;
mod jitter;
mod limiter;
mod meter;
mod muted;
mod opus;
mod own_voice;
mod peer;
pub mod pipeline;
mod processing;
mod receive;
pub mod red;
mod reflector;
mod road;
mod send;
mod stretch;
mod tones;
mod voice;

pub use devices::devices;
pub use engine::Engine;
pub use interface::*;
pub use reflector::{Reflector, ReflectorEnd};

/// The one rate inside the engine. Devices convert at their edge.
pub const RATE: u32 = 48_000;
/// Samples of the 10 ms in which the engine handles sound.
pub const FRAME: usize = 480;
/// Ten milliseconds of one channel, f32 from -1 to 1.
pub type Frame = [f32; FRAME];

pub(crate) const SILENCE: Frame = [0.0; FRAME];

/// Ten milliseconds as they are captured, sent and played: what both channels have in common, and what tells them apart.
/// Left is `mid + side`, right is `mid - side`, so whatever needs one channel alone uses `mid`.
#[derive(Clone, Copy, Debug)]
pub struct Sound {
    pub mid: Frame,
    /// All zero, and not looked at, unless `stereo`.
    pub side: Frame,
    pub stereo: bool,
}

impl Sound {
    pub const SILENCE: Self = Self { mid: SILENCE, side: SILENCE, stereo: false };

    pub fn mono(mid: Frame) -> Self {
        Self { mid, ..Self::SILENCE }
    }
}
