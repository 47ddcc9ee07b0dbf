//! The sound system of this machine: which microphones and speakers there are, which of them is the right one, and how
//! it is opened.
//!
//! On Linux that is the sound server when one answers (PulseAudio, or PipeWire, which speaks the same protocol), else ALSA;
//! elsewhere what cpal has for the system.

#[cfg(target_os = "linux")]
use super::pulse;
use super::realtime::Heartbeat;
use super::{DeviceFault, DeviceInfo, DeviceKind, Sink, Source, cpal};

/// What a stream or a system says by itself, from some thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The stream has ended.
    Broken,
    /// Devices came or went, or another is the default.
    Changed,
}

/// A device that is there, and how the system knows it.
pub struct Found {
    pub id: String,
    pub name: String,
    /// Worn on the head; a loudspeaker or not known if not.
    pub worn: bool,
    /// Not the one that was asked for.
    pub fallback: bool,
    place: Place,
}

enum Place {
    Host(Box<cpal::Place>),
    #[cfg(target_os = "linux")]
    Server(pulse::Place),
}

/// A stream that runs until it is dropped.
pub struct Running {
    _stream: Stream,
    /// Whether the device still calls.
    pub heartbeat: Heartbeat,
}

#[expect(dead_code, reason = "they end when they are dropped")]
enum Stream {
    Host(cpal::Stream),
    #[cfg(target_os = "linux")]
    Server(pulse::Stream),
}

/// The sound system, connected to once and kept.
pub struct System(Way);

enum Way {
    Host {
        host: cpal::Host,
        /// Why it is not the sound server.
        refused: Option<DeviceFault>,
    },
    #[cfg(target_os = "linux")]
    Server(pulse::Server),
}

impl System {
    /// The sound server, or what is there without one.
    pub fn connect() -> Self {
        Self::connect_to_server().unwrap_or_else(|why| {
            tracing::debug!(?why, "no sound server");
            let refused = (why != DeviceFault::NoDevice).then_some(why);
            Self(Way::Host { host: cpal::host(), refused })
        })
    }

    /// The sound server, where the system has such a thing.
    #[cfg(target_os = "linux")]
    pub fn connect_to_server() -> Result<Self, DeviceFault> {
        pulse::Server::connect().map(|server| Self(Way::Server(server)))
    }

    #[cfg(not(target_os = "linux"))]
    pub fn connect_to_server() -> Result<Self, DeviceFault> {
        Err(DeviceFault::NoDevice)
    }

    /// Whether this is a sound server, which may be restarted, rather than the system itself.
    pub fn is_server(&self) -> bool {
        match &self.0 {
            Way::Host { .. } => false,
            #[cfg(target_os = "linux")]
            Way::Server(_) => true,
        }
    }

    /// Whether the sound server does not answer any more.
    pub fn is_gone(&self) -> bool {
        match &self.0 {
            Way::Host { .. } => false,
            #[cfg(target_os = "linux")]
            Way::Server(server) => server.is_gone(),
        }
    }

    /// Calls back when something changed, as long as this value lives. Where the system does not say so, nothing happens.
    pub fn watch(&mut self, notice: impl Fn(Notice) + Send + Clone + 'static) {
        match &mut self.0 {
            Way::Host { .. } => drop(notice),
            #[cfg(target_os = "linux")]
            Way::Server(server) => server.watch(move || notice(Notice::Changed)),
        }
    }

    /// The device of this name, or the default one when it is not there or none is named.
    pub fn find(&mut self, name: Option<&str>, kind: DeviceKind) -> Result<Found, DeviceFault> {
        let mut all = self.all(kind)?;
        let fits = |found: &Found, name| found.name == name || found.id == name || bare(&found.id) == name;
        if let Some(at) = name.and_then(|name| all.iter().position(|found| fits(found, name))) {
            return Ok(all.swap_remove(at));
        }
        let default = self.default_id(kind);
        // Where the default is no microphone, any other will do.
        let at = all.iter().position(|found| Some(&found.id) == default.as_ref()).unwrap_or(0);
        if at < all.len() {
            return Ok(Found { fallback: name.is_some(), ..all.swap_remove(at) });
        }
        Err(match &self.0 {
            Way::Host { refused: Some(why), .. } => why.clone(),
            Way::Host { refused: None, .. } => DeviceFault::NoDevice,
            #[cfg(target_os = "linux")]
            Way::Server(_) => DeviceFault::NoDevice,
        })
    }

    /// All of a kind; where two have one name, the system's own names tell them apart.
    fn all(&mut self, kind: DeviceKind) -> Result<Vec<Found>, DeviceFault> {
        let found = |id, name, worn, place| Found { id, name, worn, fallback: false, place };
        let mut all: Vec<Found> = match &mut self.0 {
            Way::Host { host, .. } => cpal::places(host, kind)?
                .into_iter()
                .map(|place| found(place.id.clone(), place.name.clone(), place.worn, Place::Host(Box::new(place))))
                .collect(),
            #[cfg(target_os = "linux")]
            Way::Server(server) => server
                .places(kind)?
                .into_iter()
                .map(|place| found(server_id(&place.id), place.name.clone(), place.worn, Place::Server(place)))
                .collect(),
        };
        let names: Vec<String> = all.iter().map(|found| found.name.clone()).collect();
        for found in &mut all {
            if names.iter().filter(|name| **name == found.name).count() > 1 {
                found.name = format!("{} ({})", found.name, bare(&found.id));
            }
        }
        Ok(all)
    }

    fn default_id(&mut self, kind: DeviceKind) -> Option<String> {
        match &mut self.0 {
            Way::Host { host, .. } => cpal::default_id(host, kind),
            #[cfg(target_os = "linux")]
            Way::Server(server) => server.default_id(kind).map(|id| server_id(&id)),
        }
    }
}

pub fn devices() -> Result<Vec<DeviceInfo>, DeviceFault> {
    let mut system = System::connect();
    let mut list = Vec::new();
    for kind in [DeviceKind::Input, DeviceKind::Output] {
        let default = system.find(None, kind).map(|found| found.id).ok();
        list.extend(system.all(kind)?.into_iter().map(|found| DeviceInfo {
            is_default: Some(&found.id) == default.as_ref(),
            name: found.name,
            kind,
        }));
    }
    Ok(list)
}

#[cfg(target_os = "linux")]
fn server_id(id: &str) -> String {
    format!("pulseaudio:{id}")
}

/// The name within its system: `mic` of `pulseaudio:mic`.
fn bare(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, bare)| bare)
}

impl Found {
    /// Opens as a microphone, with two channels if it has them and `stereo` is wanted.
    pub fn capture(
        &self,
        stereo: bool,
        notice: impl Fn(Notice) + Send + Clone + 'static,
    ) -> Result<(Running, Box<dyn Source>), DeviceFault> {
        Ok(match &self.place {
            Place::Host(place) => {
                let (stream, source) = place.capture(stereo, notice)?;
                (Running { heartbeat: source.heartbeat(), _stream: Stream::Host(stream) }, Box::new(source))
            }
            #[cfg(target_os = "linux")]
            Place::Server(place) => {
                let (stream, source) = place.capture(stereo, notice)?;
                (Running { heartbeat: source.heartbeat(), _stream: Stream::Server(stream) }, Box::new(source))
            }
        })
    }

    /// Opens as a speaker.
    pub fn playout(
        &self,
        notice: impl Fn(Notice) + Send + Clone + 'static,
    ) -> Result<(Running, Box<dyn Sink>), DeviceFault> {
        Ok(match &self.place {
            Place::Host(place) => {
                let (stream, sink) = place.playout(notice)?;
                (Running { heartbeat: sink.heartbeat(), _stream: Stream::Host(stream) }, Box::new(sink))
            }
            #[cfg(target_os = "linux")]
            Place::Server(place) => {
                let (stream, sink) = place.playout(notice)?;
                (Running { heartbeat: sink.heartbeat(), _stream: Stream::Server(stream) }, Box::new(sink))
            }
        })
    }
}
