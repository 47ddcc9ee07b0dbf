//! WAV files as microphone and speaker, paced by the engine's clock.
//!
//! Reading takes any rate, any number of channels, integers and floats; after the end comes silence. Writing makes 48 kHz
//! mono with 16 bits; the header is brought up to date each second, so that a recording survives its process.

use super::resample::Resampler;
use super::{DeviceFault, Pacer, Sink, Source};
use crate::{FRAME, Frame, RATE, SILENCE};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::time::Instant;

pub struct WavSource {
    reader: WavReader<BufReader<File>>,
    resampler: Resampler,
    pacer: Pacer,
    /// Converted and not read yet.
    ready: VecDeque<f32>,
    chunk: Vec<f32>,
    /// Frames of 10 ms that went by unread.
    skipped: u64,
    ended: bool,
}

impl WavSource {
    pub fn open(path: &Path, now: Instant) -> Result<Self, DeviceFault> {
        let reader = WavReader::open(path).map_err(|error| fault(path, &error))?;
        let spec = reader.spec();
        if spec.sample_rate == 0 || spec.channels == 0 {
            return Err(DeviceFault::File(format!("{}: no rate or no channels", path.display())));
        }
        Ok(Self {
            resampler: Resampler::new(spec.sample_rate, RATE)?,
            reader,
            pacer: Pacer::new(now),
            ready: VecDeque::new(),
            chunk: Vec::new(),
            skipped: 0,
            ended: false,
        })
    }

    /// Reads and converts the next 10 ms.
    fn advance(&mut self) {
        let spec = self.reader.spec();
        let (channels, frames) = (usize::from(spec.channels), (spec.sample_rate / 100).max(1) as usize);
        self.chunk.clear();
        let mut push = |sum: f32| self.chunk.push(sum / channels as f32);
        let mut sum = 0.0;
        let mut count = 0;
        let mut take = |sample: f32| {
            sum += sample;
            count += 1;
            if count % channels == 0 {
                push(std::mem::take(&mut sum));
            }
        };
        match spec.sample_format {
            SampleFormat::Float => {
                self.reader.samples::<f32>().take(frames * channels).map_while(Result::ok).for_each(&mut take);
            }
            SampleFormat::Int => {
                let scale = 1.0 / (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
                self.reader
                    .samples::<i32>()
                    .take(frames * channels)
                    .map_while(Result::ok)
                    .for_each(|sample| take(sample as f32 * scale));
            }
        }
        if self.chunk.is_empty() {
            self.ended = true;
            return;
        }
        self.chunk.resize(frames, 0.0);
        self.resampler.convert(&self.chunk, &mut self.ready);
    }

    fn catch_up(&mut self) {
        if self.skipped == 0 {
            return;
        }
        let spec = self.reader.spec();
        let unread = (self.reader.len() as usize - self.reader.len().min(self.position()) as usize) as u64;
        let ahead = self.skipped * u64::from(spec.sample_rate) / 100;
        let here = u64::from(self.position()) / u64::from(spec.channels);
        self.skipped = 0;
        self.ready.clear();
        self.resampler.reset();
        if ahead * u64::from(spec.channels) >= unread {
            self.ended = true;
        } else if let Ok(there) = u32::try_from(here + ahead) {
            self.ended = self.reader.seek(there).is_err();
        }
    }

    /// Samples read so far.
    fn position(&mut self) -> u32 {
        match self.reader.spec().sample_format {
            SampleFormat::Float => self.reader.len() - self.reader.samples::<f32>().len() as u32,
            SampleFormat::Int => self.reader.len() - self.reader.samples::<i32>().len() as u32,
        }
    }
}

impl Source for WavSource {
    fn read(&mut self, now: Instant, frame: &mut Frame) -> bool {
        if !self.pacer.due(now) {
            return false;
        }
        self.catch_up();
        while self.ready.len() < FRAME && !self.ended {
            self.advance();
        }
        let have = self.ready.len().min(FRAME);
        *frame = SILENCE;
        for (to, from) in frame.iter_mut().zip(self.ready.drain(..have)) {
            *to = from;
        }
        true
    }

    fn discard(&mut self, now: Instant) {
        while self.pacer.due(now) {
            self.skipped += 1;
        }
    }

    fn expects_sound(&self) -> bool {
        !self.ended
    }
}

pub struct WavSink {
    /// `None` after a write failed: the disk is full, say. The call goes on.
    writer: Option<WavWriter<BufWriter<File>>>,
    pacer: Pacer,
    unflushed: usize,
}

impl WavSink {
    /// Begins a recording, or goes on with one that this engine made.
    pub fn open(path: &Path, append: bool, now: Instant) -> Result<Self, DeviceFault> {
        let spec = WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = if append && path.exists() { WavWriter::append(path) } else { WavWriter::create(path, spec) }
            .map_err(|error| fault(path, &error))?;
        writer.flush().map_err(|error| fault(path, &error))?;
        Ok(Self { writer: Some(writer), pacer: Pacer::new(now), unflushed: 0 })
    }
}

impl Sink for WavSink {
    fn wants(&mut self, now: Instant) -> bool {
        self.pacer.due(now)
    }

    fn write(&mut self, frame: &Frame) {
        let Some(writer) = &mut self.writer else { return };
        let mut result = Ok(());
        for sample in frame {
            result = result.and_then(|()| writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16));
        }
        self.unflushed += FRAME;
        if self.unflushed >= RATE as usize {
            self.unflushed = 0;
            result = result.and_then(|()| writer.flush());
        }
        if let Err(error) = result {
            tracing::warn!(%error, "recording stopped");
            self.writer = None;
        }
    }
}

fn fault(path: &Path, error: &hound::Error) -> DeviceFault {
    DeviceFault::File(format!("{}: {error}", path.display()))
}
