//! The system's microphones and speakers, by cpal.
//!
//! Streams run at 48 kHz with buffers of 5 or 10 ms where the device allows it; anything else is converted here. On Linux the
//! sound server is used when it answers, else ALSA.

#[cfg(target_os = "linux")]
use super::pulse;
use super::realtime::{self, CaptureEnd, PlayoutEnd};
use super::resample::Resampler;
use super::{DeviceFault, DeviceInfo, DeviceKind, Sink, Source};
use crate::{FRAME, RATE, Sound};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, Device, ErrorKind, Host, SampleFormat, Stream, StreamConfig, SupportedBufferSize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a device may take to open before it counts as broken.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// A sound server keeps two buffers, so each of these counts twice in the delay. Recording in smaller pieces costs far more
/// processor time (PulseAudio sends a message for each, and its client clears a mebibyte for each message).
const CAPTURE_BUFFER_MS: u32 = 10;
const PLAYOUT_BUFFER_MS: u32 = 5;
/// The most that may wait in a ring; beyond it the oldest is dropped.
const MOST_WAITING_MS: usize = 60;

/// Ten seconds without an underrun.
const CALM_FRAMES: usize = 1000;

/// A device that is there, and how the system knows it.
pub struct Found {
    device: Device,
    pub id: String,
    pub name: String,
    /// Not the one that was asked for.
    pub fallback: bool,
}

/// A stream that runs until it is dropped.
pub enum Running {
    Cpal(Stream),
    #[cfg(target_os = "linux")]
    Pulse(#[expect(dead_code, reason = "it ends when it is dropped")] pulse::Stream),
}

impl Running {
    fn begin(stream: Stream) -> Result<Self, DeviceFault> {
        stream.play().map_err(fault)?;
        Ok(Self::Cpal(stream))
    }

    pub fn set_paused(&self, paused: bool) -> Result<(), DeviceFault> {
        match self {
            Self::Cpal(stream) => if paused { stream.pause() } else { stream.play() }.map_err(fault),
            #[cfg(target_os = "linux")]
            Self::Pulse(_) => Ok(()),
        }
    }
}

/// The sound system, connected to once and kept.
pub struct System(Host);

impl System {
    pub fn connect() -> Self {
        Self(host())
    }

    /// The device of this name, or the default one when it is not there or none is named.
    pub fn find(&self, name: Option<&str>, kind: DeviceKind) -> Result<Found, DeviceFault> {
        if let Some(name) = name
            && let Some(found) = self.named(name, kind)
        {
            return Ok(found);
        }
        let fallback = name.is_some();
        let default = match kind {
            DeviceKind::Input => self.0.default_input_device(),
            DeviceKind::Output => self.0.default_output_device(),
        };
        let default = default.and_then(|device| describe(device, kind)).map(|found| found.id);
        let mut all = self.all(kind);
        // Where the default is no microphone, any other will do.
        let at = all.iter().position(|found| Some(&found.id) == default.as_ref()).unwrap_or(0);
        (at < all.len())
            .then(|| all.swap_remove(at))
            .map(|found| Found { fallback, ..found })
            .ok_or(DeviceFault::NoDevice)
    }

    fn named(&self, name: &str, kind: DeviceKind) -> Option<Found> {
        self.all(kind).into_iter().find(|found| found.name == name || found.id == name || bare(&found.id) == name)
    }

    /// All of a kind; where two have one name, the system's own names tell them apart.
    fn all(&self, kind: DeviceKind) -> Vec<Found> {
        let Ok(devices) = self.0.devices() else { return Vec::new() };
        let mut all: Vec<Found> = devices.filter_map(|device| describe(device, kind)).collect();
        let names: Vec<String> = all.iter().map(|found| found.name.clone()).collect();
        for found in &mut all {
            if names.iter().filter(|name| **name == found.name).count() > 1 {
                found.name = format!("{} ({})", found.name, bare(&found.id));
            }
        }
        all
    }
}

pub fn devices() -> Result<Vec<DeviceInfo>, DeviceFault> {
    let system = System::connect();
    system.0.devices().map_err(fault)?;
    let mut list = Vec::new();
    for kind in [DeviceKind::Input, DeviceKind::Output] {
        let default = system.find(None, kind).map(|found| found.id).ok();
        list.extend(system.all(kind).into_iter().map(|found| DeviceInfo {
            is_default: Some(&found.id) == default.as_ref(),
            name: found.name,
            kind,
        }));
    }
    Ok(list)
}

/// The name within its system: `mic` of `pulseaudio:mic`.
fn bare(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, bare)| bare)
}

/// What a device is called, unless it does not do this kind of thing.
fn describe(device: Device, kind: DeviceKind) -> Option<Found> {
    let id = device.id().ok()?.to_string();
    let fits = match kind {
        // A monitor hears what the speaker plays: as a microphone it would send the far side its own voice.
        DeviceKind::Input => device.supports_input() && !id.ends_with(".monitor"),
        DeviceKind::Output => device.supports_output(),
    };
    let name = device.description().ok()?.name().to_owned();
    fits.then_some(Found { device, id, name, fallback: false })
}

impl Found {
    /// Opens as a microphone; `broken` is called, from some thread, when the stream has ended by itself.
    pub fn capture(
        &self,
        broken: impl Fn() + Send + Clone + 'static,
    ) -> Result<(Running, Box<dyn Source>), DeviceFault> {
        let (config, format) = self.format(DeviceKind::Input)?;
        let mut last = DeviceFault::NoDevice;
        for buffer_size in buffers(&config) {
            let config = StreamConfig { buffer_size, ..config };
            let (callback, end) = realtime::capture(config.sample_rate, config.channels.into());
            match self.input_stream(config, format, callback, broken.clone()) {
                Ok(stream) => {
                    let source = Microphone {
                        end,
                        resampler: Resampler::new(config.sample_rate, RATE)?,
                        rate: config.sample_rate as usize,
                        chunk: vec![0.0; (config.sample_rate / 100) as usize],
                        ready: VecDeque::with_capacity(2 * FRAME),
                    };
                    return Ok((stream, Box::new(source)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Opens as a speaker.
    pub fn playout(&self, broken: impl Fn() + Send + Clone + 'static) -> Result<(Running, Box<dyn Sink>), DeviceFault> {
        let (config, format) = self.format(DeviceKind::Output)?;
        let mut last = DeviceFault::NoDevice;
        for buffer_size in buffers(&config) {
            let config = StreamConfig { buffer_size, ..config };
            let (callback, end) = realtime::playout(config.sample_rate, config.channels.into());
            match self.output_stream(config, format, callback, broken.clone()) {
                Ok(stream) => {
                    let sink = Speaker {
                        end,
                        resampler: Resampler::new(RATE, config.sample_rate)?,
                        rate: config.sample_rate as usize,
                        extra: 0,
                        calm: 0,
                        converted: Vec::new(),
                    };
                    return Ok((stream, Box::new(sink)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Mono floats at 48 kHz from a sound server, which converts better than we do; else what the device is used to, at
    /// 48 kHz if it can.
    fn format(&self, kind: DeviceKind) -> Result<(StreamConfig, SampleFormat), DeviceFault> {
        let (usual, all): (_, Vec<_>) = match kind {
            DeviceKind::Input => (
                self.device.default_input_config().map_err(fault)?,
                self.device.supported_input_configs().map_err(fault)?.collect(),
            ),
            DeviceKind::Output => (
                self.device.default_output_config().map_err(fault)?,
                self.device.supported_output_configs().map_err(fault)?.collect(),
            ),
        };
        let wished = |channels: u16, format: SampleFormat| {
            all.iter()
                .find(|range| {
                    range.channels() == channels && range.sample_format() == format && range.contains_rate(RATE)
                })
                .map(|range| range.with_sample_rate(RATE))
        };
        let chosen = converts(&self.id)
            .then(|| wished(1, SampleFormat::F32))
            .flatten()
            .or_else(|| (usual.sample_rate() == RATE && supported(usual.sample_format())).then_some(usual))
            .or_else(|| wished(usual.channels(), SampleFormat::F32))
            .or_else(|| wished(usual.channels(), SampleFormat::I16))
            .unwrap_or(usual);
        if !supported(chosen.sample_format()) {
            return Err(DeviceFault::Other(format!("sample format {} is not known", chosen.sample_format())));
        }
        let mut config = chosen.config();
        let wished = chosen.sample_rate() / 1000
            * match kind {
                DeviceKind::Input => CAPTURE_BUFFER_MS,
                DeviceKind::Output => PLAYOUT_BUFFER_MS,
            };
        config.buffer_size = BufferSize::Fixed(match chosen.buffer_size() {
            SupportedBufferSize::Range { min, max } => wished.clamp(*min, (*max).max(*min)),
            SupportedBufferSize::Unknown => wished,
        });
        Ok((config, chosen.sample_format()))
    }

    fn input_stream(
        &self,
        config: StreamConfig,
        format: SampleFormat,
        mut callback: realtime::Capture,
        broken: impl Fn() + Send + 'static,
    ) -> Result<Running, DeviceFault> {
        #[cfg(target_os = "linux")]
        if converts(&self.id) {
            return pulse::record(bare(&self.id), layout(&config), callback, broken).map(Running::Pulse);
        }
        macro_rules! build {
            ($sample:ty) => {
                self.device.build_input_stream::<$sample, _, _>(
                    config,
                    move |data, _| callback.take(data),
                    on_error(broken),
                    Some(OPEN_TIMEOUT),
                )
            };
        }
        match format {
            SampleFormat::I16 => build!(i16),
            SampleFormat::I32 => build!(i32),
            SampleFormat::U8 => build!(u8),
            SampleFormat::U16 => build!(u16),
            _ => build!(f32),
        }
        .map_err(fault)
        .and_then(Running::begin)
    }

    fn output_stream(
        &self,
        config: StreamConfig,
        format: SampleFormat,
        mut callback: realtime::Playout,
        broken: impl Fn() + Send + 'static,
    ) -> Result<Running, DeviceFault> {
        #[cfg(target_os = "linux")]
        if converts(&self.id) {
            return pulse::play(bare(&self.id), layout(&config), callback, broken).map(Running::Pulse);
        }
        macro_rules! build {
            ($sample:ty) => {
                self.device.build_output_stream::<$sample, _, _>(
                    config,
                    move |data, _| callback.fill(data),
                    on_error(broken),
                    Some(OPEN_TIMEOUT),
                )
            };
        }
        match format {
            SampleFormat::I16 => build!(i16),
            SampleFormat::I32 => build!(i32),
            SampleFormat::U8 => build!(u8),
            SampleFormat::U16 => build!(u16),
            _ => build!(f32),
        }
        .map_err(fault)
        .and_then(Running::begin)
    }
}

fn supported(format: SampleFormat) -> bool {
    matches!(format, SampleFormat::F32 | SampleFormat::I16 | SampleFormat::I32 | SampleFormat::U8 | SampleFormat::U16)
}

/// The wished buffer first, then whatever the system likes.
fn buffers(config: &StreamConfig) -> [BufferSize; 2] {
    [config.buffer_size, BufferSize::Default]
}

fn on_error(broken: impl Fn() + Send + 'static) -> impl FnMut(cpal::Error) + Send + 'static {
    move |error| match error.kind() {
        // The stream goes on.
        ErrorKind::Xrun | ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {
            tracing::debug!(%error, "sound stream hiccup");
        }
        _ => {
            tracing::info!(%error, "sound stream ended");
            broken();
        }
    }
}

fn fault(error: cpal::Error) -> DeviceFault {
    match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => DeviceFault::NoDevice,
        ErrorKind::PermissionDenied => DeviceFault::PermissionRefused,
        ErrorKind::DeviceBusy => DeviceFault::InUse,
        _ => DeviceFault::Other(error.to_string()),
    }
}

struct Microphone {
    end: CaptureEnd,
    resampler: Resampler,
    rate: usize,
    chunk: Vec<f32>,
    ready: VecDeque<f32>,
}

impl Source for Microphone {
    fn read(&mut self, _now: Instant, sound: &mut Sound) -> bool {
        if self.end.available() > self.rate * MOST_WAITING_MS / 1000 {
            self.end.drop_oldest(self.rate / 50);
        }
        while self.ready.len() < FRAME {
            if !self.end.read(&mut self.chunk) {
                return false;
            }
            self.resampler.convert(&self.chunk, &mut self.ready);
        }
        *sound = Sound::SILENCE;
        for (to, from) in sound.mid.iter_mut().zip(self.ready.drain(..FRAME)) {
            *to = from;
        }
        true
    }

    fn discard(&mut self, _now: Instant) {
        self.end.drop_oldest(0);
        self.ready.clear();
        self.resampler.reset();
    }

    fn expects_sound(&self) -> bool {
        true
    }
}

struct Speaker {
    end: PlayoutEnd,
    resampler: Resampler,
    rate: usize,
    /// Added to what waits in the ring, after the callback found too little; taken back when all has been well.
    extra: usize,
    calm: usize,
    converted: Vec<f32>,
}

impl Sink for Speaker {
    fn wants(&mut self, _now: Instant) -> bool {
        let most = self.rate * MOST_WAITING_MS / 1000;
        if self.end.take_underruns() > 0 {
            self.extra = (self.extra + self.rate / 200).min(most);
            self.calm = 0;
        }
        // A whole callback must be there when it comes, and the sound thread looks each 5 ms.
        let callback = self.end.callback().max(self.rate / 200);
        self.end.waiting() < (callback + self.rate / 200 + self.extra).min(most.max(callback))
    }

    fn write(&mut self, sound: &Sound) {
        self.calm += 1;
        if self.calm >= CALM_FRAMES {
            self.calm = 0;
            self.extra = self.extra.saturating_sub(self.rate / 400);
        }
        self.converted.clear();
        self.resampler.convert(&sound.mid, &mut self.converted);
        self.end.write(&self.converted);
    }
}

#[cfg(target_os = "linux")]
fn host() -> Host {
    cpal::host_from_id(cpal::HostId::PulseAudio).unwrap_or_else(|error| {
        tracing::debug!(%error, "no sound server, using ALSA");
        cpal::host_from_id(cpal::HostId::Alsa).unwrap_or_else(|_| cpal::default_host())
    })
}

#[cfg(not(target_os = "linux"))]
fn host() -> Host {
    cpal::default_host()
}

#[cfg(target_os = "linux")]
fn layout(config: &StreamConfig) -> pulse::Layout {
    let piece = match config.buffer_size {
        BufferSize::Fixed(frames) => frames,
        BufferSize::Default => config.sample_rate / 50,
    };
    pulse::Layout { rate: config.sample_rate, channels: config.channels as u8, piece }
}

/// Whether the system converts rates and channels for us.
#[cfg(target_os = "linux")]
fn converts(id: &str) -> bool {
    id.starts_with("pulseaudio")
}

#[cfg(not(target_os = "linux"))]
fn converts(_id: &str) -> bool {
    false
}
