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

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static REFUSE: Cell<bool> = const { Cell::new(false) };
        static BROKEN: Cell<u32> = const { Cell::new(0) };
    }

    /// The allocator of this test program: it counts what is asked of it while a thread is in a callback.
    struct Strict;

    impl Strict {
        fn asked() {
            if REFUSE.get() {
                BROKEN.set(BROKEN.get() + 1);
            }
        }
    }

    // SAFETY: passes everything on to the system's allocator.
    unsafe impl GlobalAlloc for Strict {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            Self::asked();
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            Self::asked();
            unsafe { System.dealloc(at, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Strict = Strict;

    /// How often memory was asked for or given back.
    fn memory_calls(callback: impl FnOnce()) -> u32 {
        BROKEN.set(0);
        REFUSE.set(true);
        callback();
        REFUSE.set(false);
        BROKEN.get()
    }

    #[test]
    fn callbacks_neither_allocate_nor_free() {
        let (mut capture, mut capture_end) = capture(48_000, 2);
        let (mut playout, mut playout_end) = playout(48_000, 2);
        let (input, mut output) = (vec![0.5f32; 960], vec![0i16; 4096]);
        playout_end.write(&[0.25; 1_000]);
        let calls = memory_calls(|| {
            // Long enough to fill one ring and empty the other.
            for _ in 0..50 {
                capture.take(&input);
                playout.fill(&mut output);
            }
        });
        assert_eq!(calls, 0);
        assert!(memory_calls(|| drop(vec![1u8; 10])) >= 2, "the control is not noticed");
        let mut frame = [0.0; 480];
        assert!(capture_end.read(&mut frame) && frame == [0.5; 480]);
        assert!(playout_end.take_underruns() > 0);
    }

    #[test]
    fn a_full_ring_keeps_what_it_has_and_the_oldest_can_be_dropped() {
        let (mut capture, mut end) = capture(48_000, 1);
        for block in 0..30 {
            capture.take(&[block as f32 / 100.0; 480]);
        }
        assert_eq!(end.available(), 9_600);
        end.drop_oldest(480);
        let mut frame = [0.0; 480];
        assert!(end.read(&mut frame));
        assert_eq!(frame[0], 0.19);
        assert!(!end.read(&mut frame));
    }

    #[test]
    fn every_channel_gets_the_sound_and_what_is_missing_fades() {
        let (mut playout, mut end) = playout(48_000, 2);
        end.write(&[0.5; 100]);
        let mut output = [9.0f32; 400];
        playout.fill(&mut output);
        assert!(output[..200].iter().all(|sample| *sample == 0.5));
        assert!(output[200] < 0.5 && output[399] < 0.001 && output[200] == output[201]);
        assert_eq!(end.waiting(), 0);
    }
}
