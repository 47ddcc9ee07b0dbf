//! WAV files as microphone and speaker, paced by the engine's clock.
//!
//! Reading takes any rate, any number of channels, integers and floats; after the end comes silence. Writing makes 48 kHz
//! with 16 bits; the header is brought up to date each second, so that a recording survives its process. Both are mono
//! unless original sound is wanted: then what is read has the file's first two channels, and what is written has two.

use super::resample::Resampler;
use super::{DeviceFault, Pacer, Sink, Source};
use crate::{FRAME, RATE, Sound};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::time::Instant;

pub struct WavSource {
    reader: WavReader<BufReader<File>>,
    /// Channels that are kept: 1 or 2.
    lanes: usize,
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
    pub fn open(path: &Path, stereo: bool, now: Instant) -> Result<Self, DeviceFault> {
        let reader = WavReader::open(path).map_err(|error| fault(path, &error))?;
        let spec = reader.spec();
        if spec.sample_rate == 0 || spec.channels == 0 {
            return Err(DeviceFault::File(format!("{}: no rate or no channels", path.display())));
        }
        let lanes = if stereo { spec.channels.min(2).into() } else { 1 };
        Ok(Self {
            resampler: Resampler::new(spec.sample_rate, RATE, lanes)?,
            reader,
            lanes,
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
        let (chunk, stereo) = (&mut self.chunk, self.lanes == 2);
        let mut sum = 0.0;
        let mut count = 0;
        let mut take = |sample: f32| {
            let channel = count % channels;
            count += 1;
            if stereo {
                if channel < 2 {
                    chunk.push(sample);
                }
                return;
            }
            sum += sample;
            if channel + 1 == channels {
                chunk.push(std::mem::take(&mut sum) / channels as f32);
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
        self.chunk.resize(frames * self.lanes, 0.0);
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
    fn read(&mut self, now: Instant, sound: &mut Sound) -> bool {
        if !self.pacer.due(now) {
            return false;
        }
        self.catch_up();
        let wanted = FRAME * self.lanes;
        while self.ready.len() < wanted && !self.ended {
            self.advance();
        }
        let have = self.ready.len().min(wanted);
        sound.read_interleaved(self.lanes, self.ready.drain(..have));
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
    channels: usize,
    samples: Vec<f32>,
    pacer: Pacer,
    unflushed: usize,
}

impl WavSink {
    /// Begins a recording, or goes on with one that this engine made, with the channels that it has.
    pub fn open(path: &Path, append: bool, stereo: bool, now: Instant) -> Result<Self, DeviceFault> {
        let channels = if stereo { 2 } else { 1 };
        let spec = WavSpec { channels, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = if append && path.exists() { WavWriter::append(path) } else { WavWriter::create(path, spec) }
            .map_err(|error| fault(path, &error))?;
        writer.flush().map_err(|error| fault(path, &error))?;
        let channels = writer.spec().channels.into();
        Ok(Self { writer: Some(writer), channels, samples: Vec::new(), pacer: Pacer::new(now), unflushed: 0 })
    }
}

impl Sink for WavSink {
    fn wants(&mut self, now: Instant) -> bool {
        self.pacer.due(now)
    }

    fn write(&mut self, sound: &Sound) {
        let Some(writer) = &mut self.writer else { return };
        let mut result = Ok(());
        self.samples.clear();
        sound.write_interleaved(self.channels, &mut self.samples);
        for sample in &self.samples {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;
    use std::path::PathBuf;
    use std::time::Duration;

    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("bellwire-wav-{name}-{}.wav", std::process::id())))
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// Half a second of a tone of 0.5, on the first channel only.
    fn write_tone(path: &Path, spec: WavSpec) {
        let mut writer = WavWriter::create(path, spec).unwrap();
        for i in 0..spec.sample_rate / 2 {
            let sample = 0.5 * (TAU * 500.0 * i as f32 / spec.sample_rate as f32).sin();
            for channel in 0..spec.channels {
                let sample = if channel == 0 { sample } else { 0.0 };
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(sample).unwrap(),
                    SampleFormat::Int => {
                        let full = ((1i64 << (spec.bits_per_sample - 1)) - 1) as f32;
                        writer.write_sample((sample * full) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
    }

    fn read_all(source: &mut WavSource, from: Instant, milliseconds: u64) -> Vec<f32> {
        let mut sound = Vec::new();
        let mut read = Sound::SILENCE;
        while source.read(from + Duration::from_millis(milliseconds), &mut read) {
            sound.extend_from_slice(&read.mid);
        }
        sound
    }

    fn rms(sound: &[f32]) -> f32 {
        (sound.iter().map(|s| s * s).sum::<f32>() / sound.len() as f32).sqrt()
    }

    #[test]
    fn any_format_is_read_in_real_time_and_silence_follows() {
        let formats =
            [(8_000, 1, 16), (16_000, 2, 16), (44_100, 2, 24), (48_000, 1, 32), (96_000, 1, 8), (48_000, 2, 0)];
        for (sample_rate, channels, bits) in formats {
            let file = File::new(&format!("{sample_rate}-{channels}-{bits}"));
            let (bits_per_sample, sample_format) =
                if bits == 0 { (32, SampleFormat::Float) } else { (bits, SampleFormat::Int) };
            write_tone(&file.0, WavSpec { channels, sample_rate, bits_per_sample, sample_format });
            let now = Instant::now();
            let mut source = WavSource::open(&file.0, false, now).unwrap();
            assert!(source.expects_sound());
            let sound = read_all(&mut source, now, 1_000);
            assert_eq!(sound.len(), RATE as usize, "a second of frames in a second");
            let expected = 0.3536 / f32::from(channels);
            let heard = rms(&sound[4_800..19_200]);
            assert!((heard - expected).abs() < 0.02, "{sample_rate} Hz, {channels} channels, {bits} bits: {heard}");
            assert!(rms(&sound[26_000..]) < 0.001 && !source.expects_sound());
        }
    }

    #[test]
    fn what_is_discarded_is_never_read_and_the_position_moves_on() {
        let file = File::new("discard");
        let spec = WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::create(&file.0, spec).unwrap();
        for second in [0i16, 8_000, 16_000] {
            (0..16_000).for_each(|_| writer.write_sample(second).unwrap());
        }
        writer.finalize().unwrap();
        let now = Instant::now();
        let mut source = WavSource::open(&file.0, false, now).unwrap();
        assert!(rms(&read_all(&mut source, now, 500)) < 0.001);
        (500..2_500).step_by(10).for_each(|at| source.discard(now + Duration::from_millis(at)));
        let after = read_all(&mut source, now, 2_900);
        assert!((rms(&after[2_400..]) - 0.488).abs() < 0.01, "{}", rms(&after[2_400..]));
        // To the frame, but for what the conversion reads ahead.
        assert!((46_400..47_000).contains(&source.position()));
        (2_900..9_000).step_by(10).for_each(|at| source.discard(now + Duration::from_millis(at)));
        assert!(rms(&read_all(&mut source, now, 10_000)) < 0.001 && !source.expects_sound());
    }

    #[test]
    fn a_recording_is_readable_though_its_writer_never_finished() {
        let file = File::new("killed");
        let mut sink = WavSink::open(&file.0, false, false, Instant::now()).unwrap();
        assert_eq!(WavReader::open(&file.0).unwrap().len(), 0);
        (0..250).for_each(|_| sink.write(&Sound::mono([0.25; FRAME])));
        std::mem::forget(sink);
        let reader = WavReader::open(&file.0).unwrap();
        assert_eq!((reader.len(), reader.spec().sample_rate), (96_000, RATE));
    }

    #[test]
    fn a_recording_of_this_engine_is_continued_and_another_is_replaced() {
        let file = File::new("continued");
        for (append, frames) in [(false, 100), (true, 200), (false, 100)] {
            let mut sink = WavSink::open(&file.0, append, false, Instant::now()).unwrap();
            (0..100).for_each(|_| sink.write(&Sound::SILENCE));
            drop(sink);
            assert_eq!(WavReader::open(&file.0).unwrap().len() as usize, frames * FRAME);
        }
    }

    #[test]
    fn with_original_sound_both_channels_are_read_and_written() {
        let (file, copy) = (File::new("stereo"), File::new("stereo-copy"));
        let spec = WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        write_tone(&file.0, spec);
        let now = Instant::now();
        let mut source = WavSource::open(&file.0, true, now).unwrap();
        let mut sink = WavSink::open(&copy.0, false, true, now).unwrap();
        let mut sound = Sound::SILENCE;
        while source.read(now + Duration::from_millis(500), &mut sound) {
            assert!(sound.stereo);
            sink.write(&sound);
        }
        drop(sink);
        let samples = |file: &File| WavReader::open(&file.0).unwrap().samples::<i16>().flatten().collect::<Vec<_>>();
        let (original, copied) = (samples(&file), samples(&copy));
        assert_eq!(WavReader::open(&copy.0).unwrap().spec().channels, 2);
        assert!(copied.len() == original.len() && rms_of_side(&copied) > 0.1);
        assert!(original.iter().zip(&copied).all(|(a, b)| (a - b).abs() <= 1));
    }

    fn rms_of_side(samples: &[i16]) -> f32 {
        let side: Vec<f32> = samples.chunks_exact(2).map(|f| (f32::from(f[0]) - f32::from(f[1])) / 65_536.0).collect();
        rms(&side)
    }

    #[test]
    fn what_is_no_wav_file_is_a_fault_with_its_name() {
        let file = File::new("broken");
        std::fs::write(&file.0, b"RIFFxxxx").unwrap();
        let Err(DeviceFault::File(text)) = WavSource::open(&file.0, false, Instant::now()) else { panic!("it opened") };
        assert!(text.contains("bellwire-wav-broken"));
    }
}
