//! Everything that runs inside device callbacks: copying between a device's buffer and a ring, and touching atomics.
//!
//! No lock, no allocation, no free, no log, no system call; a test with an allocator that refuses proves the middle two.
//! The other ends of the rings, [`CaptureEnd`] and [`PlayoutEnd`], belong to the sound thread, which keeps their fill
//! within bounds. Rings carry mono at the device's own rate.

use cpal::{FromSample, Sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What both ends of a ring may look at.
#[derive(Default)]
struct Shared {
    /// Frames in the largest callback so far.
    callback: AtomicU32,
    /// Callbacks of a speaker that found too little.
    underruns: AtomicU32,
}

/// The ring holds this much at most. A microphone's newest samples are dropped when it is full; the sound thread drops
/// the oldest long before, so that happens only while that thread stands still.
const RING_MS: u32 = 200;

/// The callback's end of a microphone.
pub struct Capture {
    ring: rtrb::Producer<f32>,
    channels: usize,
    shared: Arc<Shared>,
}

/// The sound thread's end of a microphone.
pub struct CaptureEnd {
    ring: rtrb::Consumer<f32>,
}

pub fn capture(rate: u32, channels: usize) -> (Capture, CaptureEnd) {
    let (producer, consumer) = rtrb::RingBuffer::new((rate / 1000 * RING_MS) as usize);
    let shared = Arc::new(Shared::default());
    (Capture { ring: producer, channels: channels.max(1), shared }, CaptureEnd { ring: consumer })
}

impl Capture {
    /// The callback: mixes what was captured down to mono and puts it into the ring.
    pub fn take<T: Sample>(&mut self, data: &[T])
    where
        f32: FromSample<T>,
    {
        let frames = data.len() / self.channels;
        self.shared.callback.fetch_max(frames as u32, Ordering::Relaxed);
        let room = frames.min(self.ring.slots());
        if let Ok(chunk) = self.ring.write_chunk_uninit(room) {
            let gain = 1.0 / self.channels as f32;
            chunk.fill_from_iter(
                data.chunks_exact(self.channels)
                    .map(|frame| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>() * gain),
            );
        }
    }
}

impl CaptureEnd {
    pub fn available(&self) -> usize {
        self.ring.slots()
    }

    /// Fills `samples` if there are so many.
    pub fn read(&mut self, samples: &mut [f32]) -> bool {
        self.ring.pop_entire_slice(samples).is_ok()
    }

    /// Drops the oldest until no more than `keep` are left.
    pub fn drop_oldest(&mut self, keep: usize) {
        let excess = self.ring.slots().saturating_sub(keep);
        if let Ok(chunk) = self.ring.read_chunk(excess) {
            chunk.commit_all();
        }
    }
}

/// The callback's end of a speaker.
pub struct Playout {
    ring: rtrb::Consumer<f32>,
    channels: usize,
    shared: Arc<Shared>,
    last: f32,
    primed: bool,
}

/// The sound thread's end of a speaker.
pub struct PlayoutEnd {
    ring: rtrb::Producer<f32>,
    shared: Arc<Shared>,
}

pub fn playout(rate: u32, channels: usize) -> (Playout, PlayoutEnd) {
    let (producer, consumer) = rtrb::RingBuffer::new((rate / 1000 * RING_MS) as usize);
    let shared = Arc::new(Shared::default());
    let end = PlayoutEnd { ring: producer, shared: Arc::clone(&shared) };
    (Playout { ring: consumer, channels: channels.max(1), shared, last: 0.0, primed: false }, end)
}

/// What is missing fades from the last sample instead of clicking: 48 samples to a hundredth.
const FADE: f32 = 0.9;

impl Playout {
    /// The callback: takes what is due from the ring and gives it to every channel.
    pub fn fill<T: Sample + FromSample<f32>>(&mut self, data: &mut [T]) {
        let frames = data.len() / self.channels;
        self.shared.callback.fetch_max(frames as u32, Ordering::Relaxed);
        let ready = frames.min(self.ring.slots());
        if ready < frames && self.primed {
            self.shared.underruns.fetch_add(1, Ordering::Relaxed);
        }
        self.primed |= ready > 0;
        let mut out = data.chunks_exact_mut(self.channels);
        if let Ok(chunk) = self.ring.read_chunk(ready) {
            for (sample, frame) in chunk.into_iter().zip(&mut out) {
                self.last = sample;
                frame.fill(T::from_sample_(sample));
            }
        }
        for frame in out {
            self.last *= FADE;
            frame.fill(T::from_sample_(self.last));
        }
    }
}

impl PlayoutEnd {
    /// Samples that wait to be played.
    pub fn waiting(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots()
    }

    /// Appends; what does not fit is dropped, which the bound on the fill excludes.
    pub fn write(&mut self, samples: &[f32]) {
        let _ = self.ring.push_partial_slice(samples);
    }

    /// Frames in the largest callback so far; 0 before the first.
    pub fn callback(&self) -> usize {
        self.shared.callback.load(Ordering::Relaxed) as usize
    }

    /// Underruns since the last call.
    pub fn take_underruns(&self) -> u32 {
        self.shared.underruns.swap(0, Ordering::Relaxed)
    }
}
