//! Microphones and speakers: opening, watching, falling back, closing.
//!
//! A [`Slot`] is a thread that keeps one direction as it is wanted. Opening may block, so nobody else does it. What is
//! opened has two ends: the stream stays with the slot's thread, and a [`Source`] or [`Sink`] goes to the sound thread.
//! WAV files and the system's devices are two implementations of these traits.

mod cpal;
mod ends;
#[cfg(target_os = "linux")]
mod pulse;
mod realtime;
mod resample;
mod slot;
mod system;
mod wav;
mod worn;

pub use crate::interface::{DeviceChoice, DeviceEvent, DeviceFault, DeviceInfo, DeviceKind};
pub use slot::{End, Role, Slot, SlotOrder};
/// The microphones and speakers of this machine, as the system names them.
pub use system::devices;

use crate::Sound;
use std::time::{Duration, Instant};

/// The sound thread's end of an open microphone.
pub trait Source: Send {
    /// Fills in the sound if 10 ms more have been captured by now.
    fn read(&mut self, now: Instant, sound: &mut Sound) -> bool;
    /// Forgets everything captured until now without looking at it.
    fn discard(&mut self, now: Instant);
    /// Whether nothing but zeros would be remarkable.
    fn expects_sound(&self) -> bool;
}

/// The sound thread's end of an open speaker.
pub trait Sink: Send {
    /// Whether 10 ms more should be written now.
    fn wants(&mut self, now: Instant) -> bool;
    fn write(&mut self, sound: &Sound);
    /// How often since the last call there was nothing to play when it was wanted.
    fn take_underruns(&mut self) -> u32 {
        0
    }
}

/// Says each 10 ms of real time, once, that they are over.
pub struct Pacer {
    next: Instant,
}

const TICK: Duration = Duration::from_millis(10);
/// A clock that jumped, after a sleep of the machine, is not caught up with.
const JUMP: Duration = Duration::from_secs(2);

impl Pacer {
    pub fn new(now: Instant) -> Self {
        Self { next: now + TICK }
    }

    pub fn due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = if now - self.next > JUMP { now } else { self.next + TICK };
        true
    }
}
