//! The receiver's estimate of what a way carries.

use std::time::Duration;

/// What a way carries, by how packets arrive on it.
#[derive(Default)]
pub struct Congestion {
    newest: Option<(Duration, u32)>,
}

impl Congestion {
    /// A packet of so many bytes, headers included, came at `at`. `timestamp` is that of its RTP header, and it plays
    /// `samples` from there.
    pub fn arrived(&mut self, at: Duration, timestamp: u32, _samples: u32, _bytes_on_the_wire: usize) {
        self.newest = Some((at, timestamp));
    }

    /// Bits a second of whole packets that the way seems to carry; `None` while no limit was met.
    pub fn bandwidth(&mut self, _now: Duration) -> Option<u32> {
        let _ = self.newest;
        None
    }
}
