//! Devices by cpal: ALSA where Linux has no sound server, Core Audio, WASAPI.
//!
//! Streams run at 48 kHz with small buffers where the device allows it; anything else is converted at the sound thread's
//! end.

use super::ends::{Microphone, Speaker};
use super::realtime;
use super::system::Notice;
use super::worn::is_worn;
use super::{DeviceFault, DeviceKind};
use crate::RATE;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, Device, DeviceType, ErrorKind, SampleFormat, StreamConfig, SupportedBufferSize};
pub use cpal::{Host, Stream};
use std::time::Duration;

/// How long a device may take to open before it counts as broken.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Systems keep two buffers, so each of these counts twice in the delay.
const CAPTURE_BUFFER_MS: u32 = 10;
const PLAYOUT_BUFFER_MS: u32 = 5;

/// A device that does the kind of thing that was asked for.
pub struct Place {
    device: Device,
    pub id: String,
    pub name: String,
    pub worn: bool,
}

#[cfg(target_os = "linux")]
pub fn host() -> Host {
    cpal::host_from_id(cpal::HostId::Alsa).unwrap_or_else(|_| cpal::default_host())
}

#[cfg(not(target_os = "linux"))]
pub fn host() -> Host {
    cpal::default_host()
}

pub fn places(host: &Host, kind: DeviceKind) -> Result<Vec<Place>, DeviceFault> {
    Ok(host.devices().map_err(fault)?.filter_map(|device| describe(device, kind)).collect())
}

pub fn default_id(host: &Host, kind: DeviceKind) -> Option<String> {
    let device = match kind {
        DeviceKind::Input => host.default_input_device(),
        DeviceKind::Output => host.default_output_device(),
    };
    device.and_then(|device| describe(device, kind)).map(|place| place.id)
}

/// What a device is called, unless it does not do this kind of thing.
fn describe(device: Device, kind: DeviceKind) -> Option<Place> {
    let fits = match kind {
        DeviceKind::Input => device.supports_input(),
        DeviceKind::Output => device.supports_output(),
    };
    if !fits {
        return None;
    }
    let id = device.id().ok()?.to_string();
    let description = device.description().ok()?;
    let stated = description.device_type();
    let stated = (!matches!(stated, DeviceType::Unknown | DeviceType::Virtual)).then(|| stated.to_string());
    let worn = is_worn(stated.as_deref(), description.name());
    Some(Place { id, name: description.name().to_owned(), worn, device })
}

impl Place {
    pub fn capture(
        &self,
        stereo: bool,
        notice: impl Fn(Notice) + Send + Clone + 'static,
    ) -> Result<(Stream, Microphone), DeviceFault> {
        let (config, format) = self.format(DeviceKind::Input)?;
        let mut last = DeviceFault::NoDevice;
        for buffer_size in buffers(&config) {
            let config = StreamConfig { buffer_size, ..config };
            let (callback, end) = realtime::capture(config.sample_rate, config.channels.into(), stereo);
            match self.input_stream(config, format, callback, notice.clone()) {
                Ok(stream) => return Ok((stream, Microphone::new(end, config.sample_rate)?)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn playout(&self, notice: impl Fn(Notice) + Send + Clone + 'static) -> Result<(Stream, Speaker), DeviceFault> {
        let (config, format) = self.format(DeviceKind::Output)?;
        let mut last = DeviceFault::NoDevice;
        for buffer_size in buffers(&config) {
            let config = StreamConfig { buffer_size, ..config };
            let (callback, end) = realtime::playout(config.sample_rate, config.channels.into());
            match self.output_stream(config, format, callback, notice.clone()) {
                Ok(stream) => return Ok((stream, Speaker::new(end, config.sample_rate)?)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// What the device is used to, at 48 kHz if it can.
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
        let wished = |format: SampleFormat| {
            all.iter()
                .find(|range| {
                    range.channels() == usual.channels() && range.sample_format() == format && range.contains_rate(RATE)
                })
                .map(|range| range.with_sample_rate(RATE))
        };
        let chosen = (usual.sample_rate() == RATE && supported(usual.sample_format()))
            .then_some(usual)
            .or_else(|| wished(SampleFormat::F32))
            .or_else(|| wished(SampleFormat::I16))
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
        notice: impl Fn(Notice) + Send + 'static,
    ) -> Result<Stream, DeviceFault> {
        macro_rules! build {
            ($sample:ty) => {
                self.device.build_input_stream::<$sample, _, _>(
                    config,
                    move |data, _| callback.take(data),
                    on_error(notice),
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
        .and_then(begun)
        .map_err(fault)
    }

    fn output_stream(
        &self,
        config: StreamConfig,
        format: SampleFormat,
        mut callback: realtime::Playout,
        notice: impl Fn(Notice) + Send + 'static,
    ) -> Result<Stream, DeviceFault> {
        macro_rules! build {
            ($sample:ty) => {
                self.device.build_output_stream::<$sample, _, _>(
                    config,
                    move |data, _| callback.fill(data),
                    on_error(notice),
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
        .and_then(begun)
        .map_err(fault)
    }
}

fn begun(stream: Stream) -> Result<Stream, cpal::Error> {
    stream.play().map(|()| stream)
}

fn supported(format: SampleFormat) -> bool {
    matches!(format, SampleFormat::F32 | SampleFormat::I16 | SampleFormat::I32 | SampleFormat::U8 | SampleFormat::U16)
}

/// The wished buffer first, then whatever the system likes.
fn buffers(config: &StreamConfig) -> [BufferSize; 2] {
    [config.buffer_size, BufferSize::Default]
}

fn on_error(notice: impl Fn(Notice) + Send + 'static) -> impl FnMut(cpal::Error) + Send + 'static {
    move |error| match error.kind() {
        // The stream goes on.
        ErrorKind::Xrun | ErrorKind::RealtimeDenied => tracing::debug!(%error, "sound stream hiccup"),
        ErrorKind::DeviceChanged => notice(Notice::Changed),
        _ => {
            tracing::info!(%error, "sound stream ended");
            notice(Notice::Broken);
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
