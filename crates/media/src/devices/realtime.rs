//! Everything that runs inside device callbacks: copying between a device's buffer and a ring, and touching atomics.
//!
//! No lock, no allocation, no free, no log, no system call; a test with an allocator that refuses proves the middle two.
//! The other ends of the rings, [`CaptureEnd`] and [`PlayoutEnd`], belong to the sound thread, which keeps their fill
//! within bounds. Rings carry one or two channels, interleaved, at the device's own rate; a frame is one sample of each.

use cpal::{FromSample, Sample};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What both ends of a ring may look at.
#[derive(Default)]
struct Shared {
    /// Frames in the largest callback of the last second or so.
    callback: AtomicU32,
    /// Callbacks of a speaker that found too little.
    underruns: AtomicU32,
    heartbeat: Heartbeat,
}

impl Shared {
    fn called(&self, frames: usize) {
        self.heartbeat.beat();
        // One thread alone writes here, so that reading and writing need not be one step.
        let before = self.callback.load(Ordering::Relaxed);
        self.callback.store((frames as u32).max(before - before.div_ceil(256)), Ordering::Relaxed);
    }
}

/// Whether a device still calls.
#[derive(Clone, Default)]
pub struct Heartbeat(Arc<AtomicU32>);

impl Heartbeat {
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Callbacks so far, wrapping.
    pub fn beats(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The ring holds this much at most. A microphone's newest samples are dropped when it is full; the sound thread drops
/// the oldest long before, so that happens only while that thread stands still.
const RING_MS: u32 = 200;

/// The callback's end of a microphone.
pub struct Capture {
    ring: rtrb::Producer<f32>,
    channels: usize,
    lanes: usize,
    shared: Arc<Shared>,
}

/// The sound thread's end of a microphone.
pub struct CaptureEnd {
    ring: rtrb::Consumer<f32>,
    lanes: usize,
    shared: Arc<Shared>,
}

/// A ring for a device with so many channels: the first two as they are when `stereo`, else all mixed to one.
pub fn capture(rate: u32, channels: usize, stereo: bool) -> (Capture, CaptureEnd) {
    let channels = channels.max(1);
    let lanes = if stereo { channels.min(2) } else { 1 };
    let (producer, consumer) = rtrb::RingBuffer::new(ring_frames(rate) * lanes);
    let shared = Arc::new(Shared::default());
    let end = CaptureEnd { ring: consumer, lanes, shared: Arc::clone(&shared) };
    (Capture { ring: producer, channels, lanes, shared }, end)
}

fn ring_frames(rate: u32) -> usize {
    (rate as usize * RING_MS as usize / 1000).max(1)
}

impl Capture {
    /// The callback: puts what was captured into the ring.
    pub fn take<T: Sample>(&mut self, data: &[T])
    where
        f32: FromSample<T>,
    {
        let frames = data.len() / self.channels;
        self.shared.called(frames);
        let room = frames.min(self.ring.slots() / self.lanes);
        let Ok(chunk) = self.ring.write_chunk_uninit(room * self.lanes) else { return };
        let frames = data.chunks_exact(self.channels);
        if self.lanes == 2 {
            chunk.fill_from_iter(frames.flat_map(|frame| [f32::from_sample_(frame[0]), f32::from_sample_(frame[1])]));
        } else {
            let gain = 1.0 / self.channels as f32;
            let mixed = |frame: &[T]| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>() * gain;
            chunk.fill_from_iter(frames.map(mixed));
        }
    }
}

impl CaptureEnd {
    /// Channels in the ring: 1 or 2.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.shared.heartbeat.clone()
    }

    /// Frames that wait to be read.
    pub fn available(&self) -> usize {
        self.ring.slots() / self.lanes
    }

    /// Fills `samples` if there are so many.
    pub fn read(&mut self, samples: &mut [f32]) -> bool {
        self.ring.pop_entire_slice(samples).is_ok()
    }

    /// Drops the oldest until no more than `keep` frames are left.
    pub fn drop_oldest(&mut self, keep: usize) {
        let excess = self.available().saturating_sub(keep) * self.lanes;
        if let Ok(chunk) = self.ring.read_chunk(excess) {
            chunk.commit_all();
        }
    }
}

/// The callback's end of a speaker.
pub struct Playout {
    ring: rtrb::Consumer<f32>,
    channels: usize,
    lanes: usize,
    shared: Arc<Shared>,
    last: [f32; 2],
    primed: bool,
}

/// The sound thread's end of a speaker.
pub struct PlayoutEnd {
    ring: rtrb::Producer<f32>,
    lanes: usize,
    shared: Arc<Shared>,
}

/// A ring for a device with so many channels, stereo if it has two or more.
pub fn playout(rate: u32, channels: usize) -> (Playout, PlayoutEnd) {
    let channels = channels.max(1);
    let lanes = channels.min(2);
    let (producer, consumer) = rtrb::RingBuffer::new(ring_frames(rate) * lanes);
    let shared = Arc::new(Shared::default());
    let end = PlayoutEnd { ring: producer, lanes, shared: Arc::clone(&shared) };
    (Playout { ring: consumer, channels, lanes, shared, last: [0.0; 2], primed: false }, end)
}

/// What is missing fades from the last sample instead of clicking: 48 samples to a hundredth.
const FADE: f32 = 0.9;

impl Playout {
    /// The callback: takes what is due from the ring. Channels beyond the second stay silent.
    pub fn fill<T: Sample + FromSample<f32>>(&mut self, data: &mut [T]) {
        let frames = data.len() / self.channels;
        self.shared.called(frames);
        let ready = frames.min(self.ring.slots() / self.lanes);
        if ready < frames && self.primed {
            self.shared.underruns.fetch_add(1, Ordering::Relaxed);
        }
        self.primed |= ready > 0;
        let mut out = data.chunks_exact_mut(self.channels);
        if let Ok(chunk) = self.ring.read_chunk(ready * self.lanes) {
            let mut samples = chunk.into_iter();
            for frame in out.by_ref().take(ready) {
                for last in &mut self.last[..self.lanes] {
                    *last = samples.next().unwrap_or(0.0);
                }
                put(frame, self.last);
            }
        }
        for frame in out {
            self.last = self.last.map(|last| last * FADE);
            put(frame, self.last);
        }
    }
}

fn put<T: Sample + FromSample<f32>>(frame: &mut [T], sound: [f32; 2]) {
    let mut sound = sound.into_iter();
    for sample in frame {
        *sample = T::from_sample_(sound.next().unwrap_or(0.0));
    }
}

impl PlayoutEnd {
    /// Channels in the ring: 1 or 2.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.shared.heartbeat.clone()
    }

    /// Frames that wait to be played.
    pub fn waiting(&self) -> usize {
        (self.ring.buffer().capacity() - self.ring.slots()) / self.lanes
    }

    /// Appends whole frames; what does not fit is dropped, which the bound on the fill excludes.
    pub fn write(&mut self, samples: &[f32]) {
        let room = samples.len().min(self.ring.slots() / self.lanes * self.lanes);
        let _ = self.ring.push_partial_slice(&samples[..room]);
    }

    /// Frames in the largest callback of the last second or so; 0 before the first.
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

    /// Long enough to fill one ring and empty the other.
    fn calls_of<T: Sample + FromSample<f32>>(channels: usize, stereo: bool) -> u32
    where
        f32: FromSample<T>,
    {
        let (mut capture, mut heard) = capture(48_000, channels, stereo);
        let (mut playout, mut end) = playout(48_000, channels);
        let (input, mut output) = (vec![T::from_sample_(0.5); 480 * channels], vec![T::EQUILIBRIUM; 960 * channels]);
        end.write(&vec![0.25; 1_000 * end.lanes()]);
        let calls = memory_calls(|| {
            for _ in 0..50 {
                capture.take(&input);
                playout.fill(&mut output);
            }
        });
        let mut frame = vec![0.0; 480 * heard.lanes()];
        assert!(heard.read(&mut frame) && frame.iter().all(|sample| (sample - 0.5).abs() < 0.01));
        assert!(end.take_underruns() > 0 && end.heartbeat().beats() == 50);
        calls
    }

    #[test]
    fn callbacks_neither_allocate_nor_free_whatever_the_device_is_like() {
        for channels in [1, 2, 6] {
            for stereo in [false, true] {
                let calls = calls_of::<f32>(channels, stereo)
                    + calls_of::<i16>(channels, stereo)
                    + calls_of::<i32>(channels, stereo)
                    + calls_of::<u8>(channels, stereo)
                    + calls_of::<u16>(channels, stereo);
                assert_eq!(calls, 0, "{channels} channels, stereo: {stereo}");
            }
        }
        assert!(memory_calls(|| drop(vec![1u8; 10])) >= 2, "the control is not noticed");
    }

    #[test]
    fn a_full_ring_keeps_what_it_has_and_the_oldest_can_be_dropped() {
        for channels in [1, 2] {
            let (mut capture, mut end) = capture(48_000, channels, true);
            for block in 0..30 {
                capture.take(&vec![block as f32 / 100.0; 480 * channels]);
            }
            assert_eq!(end.available(), 9_600);
            end.drop_oldest(480);
            let mut frame = vec![0.0; 480 * channels];
            assert!(end.read(&mut frame));
            assert_eq!(frame[0], 0.19);
            assert!(!end.read(&mut frame));
        }
    }

    #[test]
    fn both_channels_are_kept_apart_where_that_is_wanted_and_mixed_where_not() {
        let data = [0.5f32, -0.25, 9.0, 0.5, -0.25, 9.0];
        let (mut apart, mut end) = capture(48_000, 3, true);
        apart.take(&data);
        let mut frames = [0.0; 4];
        assert!(end.read(&mut frames) && frames == [0.5, -0.25, 0.5, -0.25]);
        let (mut mixed, mut end) = capture(48_000, 2, false);
        mixed.take(&data[..2]);
        let mut frame = [0.0; 1];
        assert!(end.read(&mut frame) && frame == [0.125]);
        let (mut playout, mut end) = playout(48_000, 3);
        end.write(&[0.5, -0.5]);
        let mut output = [9.0f32; 3];
        playout.fill(&mut output);
        assert_eq!(output, [0.5, -0.5, 0.0]);
    }

    #[test]
    fn what_is_missing_fades_in_every_channel() {
        let (mut playout, mut end) = playout(48_000, 2);
        end.write(&[0.5; 200]);
        let mut output = [9.0f32; 400];
        playout.fill(&mut output);
        assert!(output[..200].iter().all(|sample| *sample == 0.5));
        assert!(output[200] < 0.5 && output[399] < 0.001 && output[200] == output[201]);
        assert_eq!(end.waiting(), 0);
    }

    #[test]
    fn a_large_callback_is_forgotten_after_a_while() {
        let (mut playout, end) = playout(48_000, 1);
        playout.fill(&mut [0.0f32; 960]);
        assert_eq!(end.callback(), 960);
        (0..600).for_each(|_| playout.fill(&mut [0.0f32; 240]));
        assert_eq!(end.callback(), 240);
    }
}
