//! A PulseAudio server (PipeWire speaks the same protocol): its devices, what it says about them, and streams, each with one
//! thread and one connection.
//!
//! cpal's streams of this host cost more than all the rest of a call: they ask the server for its timing after each piece
//! of sound, and clear two mebibytes for each message. Here a stream blocks in reading its connection, and copies between
//! that and the callback. Messages are read and written by the `pulseaudio` crate.
//!
//! A stream stays on the device that it was opened on: the server would else move it when the device goes, also onto a
//! loudspeaker, or onto a source that hears what the speaker plays. So it ends instead, and whoever opened it looks again for
//! what is right.

use super::ends::{Microphone, Speaker};
use super::realtime;
use super::system::Notice;
use super::worn::is_worn;
use super::{DeviceFault, DeviceKind};
use crate::RATE;
use pulseaudio::protocol::port_info::{PortInfo, PortType};
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, Command, CommandReply, CreatePlaybackStreamReply, CreateRecordStreamReply,
    Descriptor, DescriptorFlags, PlaybackStreamParams, Prop, Props, ProtocolError, PulseError, RecordStreamParams,
    SampleFormat, SampleSpec, ServerInfo, SetClientNameReply, SinkInfoList, SourceInfoList, SubscriptionMask,
    TagStructReader,
};
use std::ffi::{CStr, CString};
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A server that does not answer within this is taken for broken.
const ANSWERS: Duration = Duration::from_secs(3);
/// What the server's cookies have; one of another length is refused before it is looked at.
const COOKIE_BYTES: usize = 256;
/// Bytes read at once, which is far more than a piece of sound.
const BUFFER: usize = 16 * 1024;
/// The longest message that makes sense here; a server that announces more is out of step.
const LONGEST: u32 = 1024 * 1024;
const SAMPLE_BYTES: u32 = 4;
const NAME: &CStr = c"Bellwire";
/// How much sound is in one message,
const CAPTURE_MS: u32 = 10;
const PLAYOUT_MS: u32 = 5;
/// and how many of those that are played the server holds. With less than 20 ms, or with messages of less than 10 ms from a
/// microphone, it runs the device at the least that it can: PulseAudio 16 then handles 1,400 pieces a second for each
/// stream, which takes a core.
const PLAYOUT_HELD: u32 = 4;
/// What the server asks for may come so much later: it still holds more than that.
const LATE_MS: u32 = 10;
/// The sink that a server makes up while there is none: nobody hears it.
const NO_SINK: &str = "auto_null";

/// The server, for questions; asked by one thread alone.
pub struct Server {
    connection: Connection,
    watch: Option<Stream>,
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
        let layout = Layout { channels: if stereo { self.channels.clamp(1, 2) } else { 1 }, milliseconds: CAPTURE_MS };
        let (callback, end) = realtime::capture(RATE, layout.channels.into(), stereo);
        let stream = record(&self.id, layout, callback, move || notice(Notice::Broken))?;
        Ok((stream, Microphone::new(end, RATE)?))
    }

    pub fn playout(&self, notice: impl Fn(Notice) + Send + 'static) -> Result<(Stream, Speaker), DeviceFault> {
        let layout = Layout { channels: self.channels.clamp(1, 2), milliseconds: PLAYOUT_MS };
        let (callback, end) = realtime::playout(RATE, layout.channels.into());
        let stream = play(&self.id, layout, callback, move || notice(Notice::Broken))?;
        Ok((stream, Speaker::before(end, RATE, LATE_MS)?))
    }
}

/// Ends, with its thread, when it is dropped.
pub struct Stream {
    socket: UnixStream,
    dropped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// How a stream's sound is laid out: floats at the engine's rate, which the server converts better than we do.
#[derive(Clone, Copy, Debug)]
struct Layout {
    channels: u8,
    /// In one message.
    milliseconds: u32,
}

impl Layout {
    fn bytes(self) -> u32 {
        RATE / 1000 * self.milliseconds * u32::from(self.channels) * SAMPLE_BYTES
    }

    fn spec(self) -> SampleSpec {
        SampleSpec { format: SampleFormat::Float32Le, channels: self.channels, sample_rate: RATE }
    }

    fn map(self) -> ChannelMap {
        if self.channels == 1 { ChannelMap::mono() } else { ChannelMap::stereo() }
    }
}

fn flags() -> StreamFlags {
    StreamFlags { adjust_latency: true, no_move: true, ..StreamFlags::default() }
}

/// Opens a microphone by the server's name for it; `broken` is called when the stream has ended by itself.
fn record(
    source: &str,
    layout: Layout,
    mut callback: realtime::Capture,
    broken: impl FnOnce() + Send + 'static,
) -> Result<Stream, DeviceFault> {
    let mut connection = Connection::open()?;
    let created: CreateRecordStreamReply = connection.ask(&Command::CreateRecordStream(RecordStreamParams {
        sample_spec: layout.spec(),
        channel_map: layout.map(),
        source_name: Some(name(source)?),
        buffer_attr: BufferAttr { max_length: u32::MAX, fragment_size: layout.bytes(), ..BufferAttr::default() },
        flags: flags(),
        props: properties(),
        ..RecordStreamParams::default()
    }))?;
    let mut samples = Vec::with_capacity(BUFFER);
    connection.run("bellwire-record", broken, move |_, message| {
        if let Message::Sound { channel, bytes } = message
            && channel == created.channel
        {
            samples.clear();
            samples.extend(bytes.as_chunks::<4>().0.iter().map(|sample| f32::from_le_bytes(*sample)));
            callback.take(&samples);
        }
        Ok(())
    })
}

/// Opens a speaker by the server's name for it.
fn play(
    sink: &str,
    layout: Layout,
    mut callback: realtime::Playout,
    broken: impl FnOnce() + Send + 'static,
) -> Result<Stream, DeviceFault> {
    let mut connection = Connection::open()?;
    let created: CreatePlaybackStreamReply = connection.ask(&Command::CreatePlaybackStream(PlaybackStreamParams {
        sample_spec: layout.spec(),
        channel_map: layout.map(),
        sink_name: Some(name(sink)?),
        buffer_attr: BufferAttr {
            max_length: u32::MAX,
            target_length: PLAYOUT_HELD * layout.bytes(),
            // After an underrun the server waits for one piece. With none it would ask for what is overdue as well, and
            // throw it away.
            pre_buffering: layout.bytes(),
            minimum_request_length: layout.bytes(),
            ..BufferAttr::default()
        },
        flags: flags(),
        props: properties(),
        ..PlaybackStreamParams::default()
    }))?;
    let (mut samples, mut packet) = (Vec::new(), Vec::new());
    let mut send = move |socket: &mut UnixStream, bytes: u32, fill: &mut dyn FnMut(&mut [f32])| {
        samples.clear();
        samples.resize((bytes / SAMPLE_BYTES) as usize, 0.0f32);
        fill(&mut samples);
        packet.clear();
        let length = samples.len() as u32 * SAMPLE_BYTES;
        let descriptor = Descriptor { length, channel: created.channel, offset: 0, flags: DescriptorFlags::empty() };
        protocol::write_descriptor(&mut packet, &descriptor)?;
        samples.iter().for_each(|sample| packet.extend_from_slice(&sample.to_le_bytes()));
        socket.write_all(&packet).map_err(ProtocolError::from)
    };
    // It begins with silence, so that it runs before there is anything to play.
    send(connection.reader.get_mut(), created.requested_bytes.min(LONGEST), &mut |_| ()).map_err(fault)?;
    let frame = u32::from(layout.channels) * SAMPLE_BYTES;
    let late = RATE / 1000 * LATE_MS * frame;
    // What was asked for and not sent yet. It is never more than may be late, so that the server goes on asking.
    let mut owed = 0u32;
    connection.run("bellwire-play", broken, move |socket, message| match message {
        Message::Command(Command::Request(request)) if request.channel == created.channel => {
            owed = owed.saturating_add(request.length).min(LONGEST);
            let ready = (callback.ready() as u32).saturating_mul(frame);
            let bytes = owed.min(ready).max(owed.saturating_sub(late)) / frame * frame;
            owed -= bytes;
            if bytes == 0 { Ok(()) } else { send(socket, bytes, &mut |samples| callback.fill(samples)) }
        }
        Message::Command(Command::Underflow(_)) => {
            callback.ran_dry();
            Ok(())
        }
        Message::Command(_) | Message::Sound { .. } => Ok(()),
    })
}

fn watch(changed: impl Fn() + Send + Clone + 'static) -> Result<Stream, DeviceFault> {
    let mut connection = Connection::open()?;
    connection
        .tell(&Command::Subscribe(SubscriptionMask::SINK | SubscriptionMask::SOURCE | SubscriptionMask::SERVER))?;
    let gone = changed.clone();
    connection.run("bellwire-devices", gone, move |_, message| {
        if let Message::Command(Command::SubscribeEvent(_)) = message {
            changed();
        }
        Ok(())
    })
}

/// Where the server listens (pulse-daemon.conf(5) and libpulse): the first of these that is named.
fn address() -> Option<PathBuf> {
    if let Some(servers) = std::env::var_os("PULSE_SERVER").filter(|servers| !servers.is_empty()) {
        let servers = servers.to_string_lossy().into_owned();
        return servers.split_whitespace().find_map(|server| {
            // An entry may begin with the machine that it is meant for, in braces.
            let server = server.rsplit_once('}').map_or(server, |(_, server)| server);
            let path = server.strip_prefix("unix:").or_else(|| server.starts_with('/').then_some(server));
            path.map(PathBuf::from)
        });
    }
    let folder = |variable, below: &str| std::env::var_os(variable).map(|folder| PathBuf::from(folder).join(below));
    [folder("PULSE_RUNTIME_PATH", "native"), folder("XDG_RUNTIME_DIR", "pulse/native")]
        .into_iter()
        .flatten()
        .chain([PathBuf::from("/var/run/pulse/native")])
        .find(|path| path.exists())
}

enum Message<'a> {
    Command(&'a Command),
    Sound { channel: u32, bytes: &'a [u8] },
}

struct Connection {
    reader: BufReader<UnixStream>,
    version: u16,
    sequence: u32,
    broken: bool,
}

impl Connection {
    fn open() -> Result<Self, DeviceFault> {
        let path = address().ok_or(DeviceFault::NoDevice)?;
        let socket = UnixStream::connect(path).map_err(|_| DeviceFault::NoDevice)?;
        let timed = socket.set_read_timeout(Some(ANSWERS)).and_then(|()| socket.set_write_timeout(Some(ANSWERS)));
        timed.map_err(|error| fault(error.into()))?;
        let reader = BufReader::with_capacity(BUFFER, socket);
        let mut connection = Self { reader, version: protocol::MAX_VERSION, sequence: 0, broken: false };
        // Without a cookie the server may still know us by our user.
        let mut cookie =
            pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        cookie.resize(COOKIE_BYTES, 0);
        let auth = AuthParams { version: protocol::MAX_VERSION, supports_shm: false, supports_memfd: false, cookie };
        let reply: AuthReply = connection.ask(&Command::Auth(auth))?;
        connection.version = reply.version.min(protocol::MAX_VERSION);
        let _: SetClientNameReply = connection.ask(&Command::SetClientName(properties()))?;
        Ok(connection)
    }

    fn send(&mut self, command: &Command) -> Result<(), DeviceFault> {
        self.sequence += 1;
        protocol::write_command_message(self.reader.get_mut(), self.sequence, command, self.version).map_err(fault)
    }

    fn ask<T: CommandReply>(&mut self, command: &Command) -> Result<T, DeviceFault> {
        let reply = self.answer(command)?;
        TagStructReader::new(&mut reply.as_slice(), self.version).read().map_err(fault)
    }

    fn tell(&mut self, command: &Command) -> Result<(), DeviceFault> {
        self.answer(command).map(drop)
    }

    /// What follows the number of the answered command.
    fn answer(&mut self, command: &Command) -> Result<Vec<u8>, DeviceFault> {
        self.broken = true;
        self.send(command)?;
        let mut payload = Vec::new();
        loop {
            let descriptor = receive(&mut self.reader, &mut payload).map_err(fault)?;
            if descriptor.channel != u32::MAX {
                continue;
            }
            let mut rest = payload.as_slice();
            match Command::read_tag_prefixed(&mut rest, self.version) {
                Ok((sequence, Command::Reply)) if sequence == self.sequence => {
                    self.broken = false;
                    return Ok(rest.to_vec());
                }
                Ok((sequence, Command::Error(error))) if sequence == self.sequence => {
                    self.broken = false;
                    return Err(fault(ProtocolError::ServerError(error)));
                }
                // Something that nobody asked about.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Reads messages on a thread of its own until the stream ends.
    fn run(
        self,
        thread: &str,
        broken: impl FnOnce() + Send + 'static,
        mut each: impl FnMut(&mut UnixStream, Message) -> Result<(), ProtocolError> + Send + 'static,
    ) -> Result<Stream, DeviceFault> {
        let Self { mut reader, version, .. } = self;
        let io = |error: std::io::Error| fault(error.into());
        reader.get_ref().set_read_timeout(None).map_err(io)?;
        let socket = reader.get_ref().try_clone().map_err(io)?;
        let dropped = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&dropped);
        let work = move || {
            let mut payload = Vec::with_capacity(BUFFER);
            let error = loop {
                if let Err(error) = one(&mut reader, version, &mut payload, &mut each) {
                    break error;
                }
            };
            if !wanted.load(Ordering::Relaxed) {
                tracing::debug!(%error, "sound stream ended");
                broken();
            }
        };
        let thread = std::thread::Builder::new().name(thread.into()).spawn(work).map_err(io)?;
        Ok(Stream { socket, dropped, thread: Some(thread) })
    }
}

fn one(
    reader: &mut BufReader<UnixStream>,
    version: u16,
    payload: &mut Vec<u8>,
    each: &mut impl FnMut(&mut UnixStream, Message) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    let descriptor = receive(reader, payload)?;
    if descriptor.channel != u32::MAX {
        return each(reader.get_mut(), Message::Sound { channel: descriptor.channel, bytes: payload });
    }
    // What this version of the crate does not know is nothing that a stream needs.
    let Ok((_, command)) = Command::read_tag_prefixed(&mut payload.as_slice(), version) else { return Ok(()) };
    match command {
        Command::PlaybackStreamKilled(_) | Command::RecordStreamKilled(_) => {
            Err(ProtocolError::ServerError(PulseError::Killed))
        }
        // It was not to be moved; where it plays now nobody knows.
        Command::PlaybackStreamMoved(_) | Command::RecordStreamMoved(_) => {
            Err(ProtocolError::Invalid("the stream was moved to another device".into()))
        }
        other => each(reader.get_mut(), Message::Command(&other)),
    }
}

fn receive(reader: &mut BufReader<UnixStream>, payload: &mut Vec<u8>) -> Result<Descriptor, ProtocolError> {
    let descriptor = protocol::read_descriptor(reader)?;
    if descriptor.length > LONGEST {
        return Err(ProtocolError::Invalid("a message is too long".into()));
    }
    payload.resize(descriptor.length as usize, 0);
    reader.read_exact(payload)?;
    Ok(descriptor)
}

fn properties() -> Props {
    let mut properties = Props::new();
    properties.set(Prop::ApplicationName, NAME);
    properties.set(Prop::MediaName, NAME);
    properties.set(Prop::MediaRole, c"phone");
    properties
}

fn name(device: &str) -> Result<CString, DeviceFault> {
    CString::new(device).map_err(|_| DeviceFault::NoDevice)
}

fn fault(error: ProtocolError) -> DeviceFault {
    match error {
        ProtocolError::ServerError(PulseError::AccessDenied | PulseError::AuthKey) => DeviceFault::PermissionRefused,
        ProtocolError::ServerError(PulseError::NoEntity | PulseError::ConnectionRefused) => DeviceFault::NoDevice,
        ProtocolError::ServerError(PulseError::Busy) => DeviceFault::InUse,
        other => DeviceFault::Other(format!("the sound server: {other}")),
    }
}
