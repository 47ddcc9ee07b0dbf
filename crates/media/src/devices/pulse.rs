//! A PulseAudio server (PipeWire speaks the same protocol): its devices, what it says about them, and streams, each with one
//! connection.
//!
//! cpal's streams of this host cost more than all the rest of a call: they ask the server for its timing after each piece
//! of sound, and clear two mebibytes for each message. Here the sound thread itself reads and writes the connections, each
//! time it wakes and without waiting ([`streams`]), so that no other thread wakes for them. Messages are read and written by
//! the `pulseaudio` crate.
//!
//! A stream stays on the device that it was opened on: the server would else move it when the device goes, also onto a
//! loudspeaker, or onto a source that hears what the speaker plays. So it ends instead, and whoever opened it looks again for
//! what is right.

mod connection;
mod streams;

use super::system::Notice;
use super::worn::is_worn;
use super::{DeviceFault, DeviceKind};
use connection::{Connection, Watch, watch};
use pulseaudio::protocol::port_info::{PortInfo, PortType};
use pulseaudio::protocol::{Command, Prop, Props, SampleSpec, ServerInfo, SinkInfoList, SourceInfoList};
use std::ffi::CStr;
pub use streams::{Microphone, Speaker, Stream};

/// The sink that a server makes up while there is none: nobody hears it.
const NO_SINK: &str = "auto_null";

/// The server, for questions; asked by one thread alone.
pub struct Server {
    connection: Connection,
    watch: Option<Watch>,
}

/// A device of the server.
pub struct Place {
    pub id: String,
    pub name: String,
    pub worn: bool,
    channels: u8,
}

impl Server {
    pub fn connect() -> Result<Self, DeviceFault> {
        Ok(Self { connection: Connection::open()?, watch: None })
    }

    /// Calls back whenever a device came, went or changed or another became the default, and once when the server is gone.
    pub fn watch(&mut self, changed: impl Fn() + Send + Clone + 'static) {
        match watch(changed) {
            Ok(stream) => self.watch = Some(stream),
            // Whoever uses it looks by itself as well, only later.
            Err(why) => tracing::debug!(?why, "the sound server is not watched"),
        }
    }

    /// Whether an answer failed to come: what comes now could be that of an earlier question.
    pub fn is_gone(&self) -> bool {
        self.connection.broken
    }

    pub fn places(&mut self, kind: DeviceKind) -> Result<Vec<Place>, DeviceFault> {
        match kind {
            DeviceKind::Input => {
                let sources: SourceInfoList = self.connection.ask(&Command::GetSourceInfoList)?;
                // A monitor hears what the speaker plays: as a microphone it would send the far side its own voice.
                let microphones = sources.into_iter().filter(|source| source.monitor_of_sink_index.is_none());
                Ok(microphones
                    .map(|source| {
                        let port = source.ports.get(source.active_port);
                        place(&source.name, source.description.as_deref(), &source.props, port, &source.sample_spec)
                    })
                    .collect())
            }
            DeviceKind::Output => {
                let sinks: SinkInfoList = self.connection.ask(&Command::GetSinkInfoList)?;
                let speakers = sinks.into_iter().filter(|sink| sink.name.as_bytes() != NO_SINK.as_bytes());
                Ok(speakers
                    .map(|sink| {
                        let port = sink.ports.get(sink.active_port);
                        place(&sink.name, sink.description.as_deref(), &sink.props, port, &sink.sample_spec)
                    })
                    .collect())
            }
        }
    }

    pub fn default_id(&mut self, kind: DeviceKind) -> Option<String> {
        let info: ServerInfo = self.connection.ask(&Command::GetServerInfo).ok()?;
        let name = match kind {
            DeviceKind::Input => info.default_source_name,
            DeviceKind::Output => info.default_sink_name,
        };
        name.map(|name| text(&name))
    }
}

fn place(name: &CStr, description: Option<&CStr>, props: &Props, port: Option<&PortInfo>, spec: &SampleSpec) -> Place {
    let shown = text(description.unwrap_or(name));
    // One sink may be loudspeaker and headphones in turns: then it is the port that says which of them is heard.
    let kind = port.and_then(|port| match port.port_type {
        PortType::Headphones | PortType::Headset | PortType::Handset | PortType::Earpiece => Some("headset".to_owned()),
        PortType::Speaker | PortType::Hdmi | PortType::Tv | PortType::Hifi | PortType::Car => {
            Some("speaker".to_owned())
        }
        PortType::Unknown
        | PortType::Aux
        | PortType::Line
        | PortType::Mic
        | PortType::Spdif
        | PortType::Radio
        | PortType::Video
        | PortType::Usb
        | PortType::Bluetooth
        | PortType::Portable
        | PortType::Handsfree
        | PortType::Phone
        | PortType::Network
        | PortType::Analog => None,
    });
    let form = || props.get(Prop::DeviceFormFactor).map(|bytes| String::from_utf8_lossy(bytes).replace('\0', ""));
    let worn = is_worn(kind.or_else(form).as_deref(), &shown);
    Place { id: text(name), name: shown, worn, channels: spec.channels }
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}

impl Place {
    pub fn capture(
        &self,
        stereo: bool,
        notice: impl Fn(Notice) + Send + 'static,
    ) -> Result<(Stream, Microphone), DeviceFault> {
        let channels = if stereo { self.channels.clamp(1, 2) } else { 1 };
        Microphone::open(&self.id, channels, move || notice(Notice::Broken))
    }

    pub fn playout(&self, notice: impl Fn(Notice) + Send + 'static) -> Result<(Stream, Speaker), DeviceFault> {
        Speaker::open(&self.id, self.channels.clamp(1, 2), move || notice(Notice::Broken))
    }
}
