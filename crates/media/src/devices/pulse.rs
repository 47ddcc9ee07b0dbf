//! Streams of a PulseAudio server (PipeWire speaks the same protocol): one thread and one connection a stream.
//!
//! cpal finds and describes the devices; its own streams of this host cost more than all the rest of a call: they ask the server
//! for its timing after each piece of sound, and clear two mebibytes for each message. Here a stream blocks in reading its
//! connection, and copies between that and the callback. Messages are read and written by the `pulseaudio` crate.
//!
//! A stream that the server ends, or moves to another device than it was opened on, counts as broken: whoever opened it
//! looks again for what is right.

use super::DeviceFault;
use super::realtime::{Capture, Playout};
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, Command, CommandReply, CreatePlaybackStreamReply, CreateRecordStreamReply,
    Descriptor, DescriptorFlags, PlaybackStreamParams, Prop, Props, ProtocolError, PulseError, RecordStreamParams,
    SampleFormat, SampleSpec, SetClientNameReply, SubscriptionMask,
};
use std::ffi::{CStr, CString};
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
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

/// Ends, with its thread, when it is dropped.
pub struct Stream {
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// How a stream's sound is laid out: floats, this many channels and frames a second, this many frames at once.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub rate: u32,
    pub channels: u8,
    pub piece: u32,
}

impl Layout {
    fn bytes(self) -> u32 {
        self.piece * u32::from(self.channels) * SAMPLE_BYTES
    }

    fn spec(self) -> SampleSpec {
        SampleSpec { format: SampleFormat::Float32Le, channels: self.channels, sample_rate: self.rate }
    }

    fn map(self) -> ChannelMap {
        if self.channels == 1 { ChannelMap::mono() } else { ChannelMap::stereo() }
    }
}

/// Opens a microphone by the server's name for it; `broken` is called when the stream has ended by itself.
pub fn record(
    source: &str,
    layout: Layout,
    mut callback: Capture,
    broken: impl FnOnce() + Send + 'static,
) -> Result<Stream, DeviceFault> {
    let mut connection = Connection::open()?;
    let created: CreateRecordStreamReply = connection.ask(&Command::CreateRecordStream(RecordStreamParams {
        sample_spec: layout.spec(),
        channel_map: layout.map(),
        source_name: Some(name(source)?),
        buffer_attr: BufferAttr { max_length: u32::MAX, fragment_size: layout.bytes(), ..BufferAttr::default() },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
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

/// Opens a speaker by the server's name for it. The server holds two pieces.
pub fn play(
    sink: &str,
    layout: Layout,
    mut callback: Playout,
    broken: impl FnOnce() + Send + 'static,
) -> Result<Stream, DeviceFault> {
    let mut connection = Connection::open()?;
    let created: CreatePlaybackStreamReply = connection.ask(&Command::CreatePlaybackStream(PlaybackStreamParams {
        sample_spec: layout.spec(),
        channel_map: layout.map(),
        sink_name: Some(name(sink)?),
        buffer_attr: BufferAttr {
            max_length: u32::MAX,
            target_length: 2 * layout.bytes(),
            // Begin at once: what is not there yet is silence.
            pre_buffering: 0,
            minimum_request_length: layout.bytes(),
            ..BufferAttr::default()
        },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        props: properties(),
        ..PlaybackStreamParams::default()
    }))?;
    let (mut samples, mut packet) = (Vec::new(), Vec::new());
    let mut fill = move |socket: &mut UnixStream, bytes: u32| {
        samples.clear();
        samples.resize((bytes / SAMPLE_BYTES) as usize, 0.0f32);
        callback.fill(&mut samples);
        packet.clear();
        let length = samples.len() as u32 * SAMPLE_BYTES;
        let descriptor = Descriptor { length, channel: created.channel, offset: 0, flags: DescriptorFlags::empty() };
        protocol::write_descriptor(&mut packet, &descriptor)?;
        samples.iter().for_each(|sample| packet.extend_from_slice(&sample.to_le_bytes()));
        socket.write_all(&packet).map_err(ProtocolError::from)
    };
    fill(connection.reader.get_mut(), created.requested_bytes).map_err(fault)?;
    connection.run("bellwire-play", broken, move |socket, message| match message {
        Message::Command(Command::Request(request)) if request.channel == created.channel => {
            fill(socket, request.length.min(LONGEST))
        }
        Message::Command(_) | Message::Sound { .. } => Ok(()),
    })
}

/// Calls back whenever a device came or went or another became the default, until it is dropped, and once when the
/// server is gone.
pub fn watch(changed: impl Fn() + Send + Clone + 'static) -> Result<Stream, DeviceFault> {
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

enum Message<'a> {
    Command(Command),
    Sound { channel: u32, bytes: &'a [u8] },
}

struct Connection {
    reader: BufReader<UnixStream>,
    version: u16,
    sequence: u32,
}

impl Connection {
    fn open() -> Result<Self, DeviceFault> {
        let path = pulseaudio::socket_path_from_env().ok_or(DeviceFault::NoDevice)?;
        let socket = UnixStream::connect(path).map_err(|_| DeviceFault::NoDevice)?;
        let timed = socket.set_read_timeout(Some(ANSWERS)).and_then(|()| socket.set_write_timeout(Some(ANSWERS)));
        timed.map_err(|error| fault(error.into()))?;
        let reader = BufReader::with_capacity(BUFFER, socket);
        let mut connection = Self { reader, version: protocol::MAX_VERSION, sequence: 0 };
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
        self.send(command)?;
        protocol::read_reply_message::<T>(&mut self.reader, self.version).map(|(_, reply)| reply).map_err(fault)
    }

    fn tell(&mut self, command: &Command) -> Result<(), DeviceFault> {
        self.send(command)?;
        protocol::read_ack_message(&mut self.reader).map(drop).map_err(fault)
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
        let work = move || {
            let mut payload = Vec::with_capacity(BUFFER);
            let error = loop {
                if let Err(error) = one(&mut reader, version, &mut payload, &mut each) {
                    break error;
                }
            };
            tracing::debug!(%error, "sound stream ended");
            broken();
        };
        let thread = std::thread::Builder::new().name(thread.into()).spawn(work).map_err(io)?;
        Ok(Stream { socket, thread: Some(thread) })
    }
}

fn one(
    reader: &mut BufReader<UnixStream>,
    version: u16,
    payload: &mut Vec<u8>,
    each: &mut impl FnMut(&mut UnixStream, Message) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    let descriptor = protocol::read_descriptor(reader)?;
    if descriptor.length > LONGEST {
        return Err(ProtocolError::Invalid("a message is too long".into()));
    }
    payload.resize(descriptor.length as usize, 0);
    reader.read_exact(payload)?;
    if descriptor.channel != u32::MAX {
        return each(reader.get_mut(), Message::Sound { channel: descriptor.channel, bytes: payload });
    }
    // What this version of the crate does not know is nothing that a stream needs.
    let Ok((_, command)) = Command::read_tag_prefixed(&mut payload.as_slice(), version) else { return Ok(()) };
    match command {
        Command::PlaybackStreamKilled(_) | Command::RecordStreamKilled(_) => {
            Err(ProtocolError::ServerError(PulseError::Killed))
        }
        Command::PlaybackStreamMoved(_) | Command::RecordStreamMoved(_) => {
            Err(ProtocolError::Invalid("the stream was moved to another device".into()))
        }
        other => each(reader.get_mut(), Message::Command(other)),
    }
}

fn properties() -> Props {
    let mut properties = Props::new();
    properties.set(Prop::ApplicationName, NAME);
    properties.set(Prop::MediaName, NAME);
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
