//! Our own voice comes back from a far side.

use crate::Frame;
use std::time::Duration;

/// Compares what is sent with what is heard of one far side.
#[derive(Default)]
pub struct OwnVoice {
    back_db: Option<f32>,
}

impl OwnVoice {
    /// 10 ms that go out, as they are encoded.
    pub fn sent(&mut self, frame: &Frame, now: Duration) {
        let _ = (frame, now);
    }

    /// 10 ms of the far side, as they are played.
    pub fn heard(&mut self, frame: &Frame, now: Duration) {
        let _ = (frame, now);
    }

    /// By how many decibels what comes back is weaker than what was sent; `None` while nothing comes back.
    pub fn back_db(&self) -> Option<f32> {
        self.back_db
    }
}
