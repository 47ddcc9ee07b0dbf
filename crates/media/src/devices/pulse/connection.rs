//! A connection to the server: it is asked one thing after the other, and then either watched by a thread of its own or
//! read and written by the sound thread, which never waits for it.

use crate::devices::DeviceFault;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, Command, CommandReply, Descriptor, Prop, Props, ProtocolError, PulseError,
    SetClientNameReply, SubscriptionMask, TagStructReader,
};
use std::ffi::{CStr, CString};
use std::io::{BufReader, ErrorKind, Read, Write};
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
/// Before each message: its length, channel, offset and flags.
const DESCRIPTOR_BYTES: usize = 20;
/// What may wait to be written, a second of stereo: a server that asks for more and takes nothing is broken.
const MOST_UNWRITTEN: usize = 512 * 1024;
const NAME: &CStr = c"Bellwire";

pub enum Message<'a> {
    Command(&'a Command),
    Sound { channel: u32, bytes: &'a [u8] },
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

pub struct Connection {
    reader: BufReader<UnixStream>,
    version: u16,
    sequence: u32,
    /// An answer failed to come.
    pub broken: bool,
}

impl Connection {
    pub fn open() -> Result<Self, DeviceFault> {
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

    pub fn ask<T: CommandReply>(&mut self, command: &Command) -> Result<T, DeviceFault> {
        let reply = self.answer(command)?;
        TagStructReader::new(&mut reply.as_slice(), self.version).read().map_err(fault)
    }

    pub fn tell(&mut self, command: &Command) -> Result<(), DeviceFault> {
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

    /// Gives the connection to the sound thread; `broken` is called when it has ended by itself.
    pub fn into_line(self, broken: impl FnOnce() + Send + 'static) -> Result<Line, DeviceFault> {
        let early = self.reader.buffer().to_vec();
        let socket = self.reader.into_inner();
        socket.set_nonblocking(true).map_err(|error| fault(error.into()))?;
        Ok(Line {
            socket,
            version: self.version,
            inbox: early,
            buffer: vec![0; BUFFER].into(),
            outbox: Vec::new(),
            broken: Some(Box::new(broken)),
        })
    }
}

/// A connection that is read and written without waiting.
pub struct Line {
    socket: UnixStream,
    version: u16,
    /// What came and is no whole message yet.
    inbox: Vec<u8>,
    buffer: Box<[u8]>,
    /// What the socket had no room for.
    outbox: Vec<u8>,
    /// Taken when it is.
    broken: Option<Box<dyn FnOnce() + Send>>,
}

impl Line {
    /// Another handle, to end it with.
    pub fn socket(&self) -> Result<UnixStream, DeviceFault> {
        self.socket.try_clone().map_err(|error| fault(error.into()))
    }

    /// Hands over the messages that have come by now.
    pub fn receive(&mut self, mut each: impl FnMut(Message)) {
        if self.broken.is_none() {
            return;
        }
        if let Err(error) = self.read(&mut each).and_then(|()| self.flush()) {
            self.fail(&error);
        }
    }

    fn read(&mut self, each: &mut impl FnMut(Message)) -> Result<(), ProtocolError> {
        loop {
            let read = match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.inbox.extend_from_slice(&self.buffer[..read]);
            let mut rest = self.inbox.as_slice();
            while let Some((descriptor, end)) = first(rest)? {
                hand_over(&descriptor, &rest[DESCRIPTOR_BYTES..end], self.version, each)?;
                rest = &rest[end..];
            }
            let taken = self.inbox.len() - rest.len();
            self.inbox.drain(..taken);
            if read < self.buffer.len() {
                return Ok(());
            }
        }
    }

    /// Sends samples to a stream.
    pub fn send(&mut self, channel: u32, samples: &[f32]) {
        if self.broken.is_none() {
            return;
        }
        let length = size_of_val(samples) as u32;
        let descriptor = Descriptor { length, channel, offset: 0, flags: protocol::DescriptorFlags::empty() };
        let begun = protocol::write_descriptor(&mut self.outbox, &descriptor);
        self.outbox.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        if let Err(error) = begun.and_then(|()| self.flush()) {
            self.fail(&error);
        }
    }

    fn flush(&mut self) -> Result<(), ProtocolError> {
        while !self.outbox.is_empty() {
            match self.socket.write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.outbox.len() <= MOST_UNWRITTEN => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: &ProtocolError) {
        tracing::debug!(%error, "sound stream ended");
        if let Some(broken) = self.broken.take() {
            broken();
        }
    }
}

/// What comes first and how many bytes it has in all, if it is there to its end.
fn first(bytes: &[u8]) -> Result<Option<(Descriptor, usize)>, ProtocolError> {
    if bytes.len() < DESCRIPTOR_BYTES {
        return Ok(None);
    }
    let descriptor = read_descriptor(&mut &*bytes)?;
    let end = DESCRIPTOR_BYTES + descriptor.length as usize;
    Ok((bytes.len() >= end).then_some((descriptor, end)))
}

fn hand_over(
    descriptor: &Descriptor,
    payload: &[u8],
    version: u16,
    each: &mut impl FnMut(Message),
) -> Result<(), ProtocolError> {
    if descriptor.channel != u32::MAX {
        each(Message::Sound { channel: descriptor.channel, bytes: payload });
        return Ok(());
    }
    // What this version of the crate does not know is nothing that a stream needs.
    let Ok((_, command)) = Command::read_tag_prefixed(&mut &*payload, version) else { return Ok(()) };
    match command {
        Command::PlaybackStreamKilled(_) | Command::RecordStreamKilled(_) => {
            Err(ProtocolError::ServerError(PulseError::Killed))
        }
        // It was not to be moved; where it plays now nobody knows.
        Command::PlaybackStreamMoved(_) | Command::RecordStreamMoved(_) => {
            Err(ProtocolError::Invalid("the stream was moved to another device".into()))
        }
        other => {
            each(Message::Command(&other));
            Ok(())
        }
    }
}

/// Calls back for each change until it is dropped; ends, with its thread, then.
pub struct Watch {
    socket: UnixStream,
    dropped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
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

/// Calls back whenever a device came, went or changed or another became the default, and once when the server is gone.
pub fn watch(changed: impl Fn() + Send + 'static) -> Result<Watch, DeviceFault> {
    let mut connection = Connection::open()?;
    connection
        .tell(&Command::Subscribe(SubscriptionMask::SINK | SubscriptionMask::SOURCE | SubscriptionMask::SERVER))?;
    let Connection { mut reader, version, .. } = connection;
    let io = |error: std::io::Error| fault(error.into());
    reader.get_ref().set_read_timeout(None).map_err(io)?;
    let socket = reader.get_ref().try_clone().map_err(io)?;
    let dropped = Arc::new(AtomicBool::new(false));
    let wanted = Arc::clone(&dropped);
    let work = move || {
        let mut payload = Vec::with_capacity(BUFFER);
        let mut each = |message: Message| {
            if let Message::Command(Command::SubscribeEvent(_)) = message {
                changed();
            }
        };
        let error = loop {
            let one = receive(&mut reader, &mut payload)
                .and_then(|descriptor| hand_over(&descriptor, &payload, version, &mut each));
            if let Err(error) = one {
                break error;
            }
        };
        if !wanted.load(Ordering::Relaxed) {
            tracing::debug!(%error, "sound server is gone");
            changed();
        }
    };
    let thread = std::thread::Builder::new().name("bellwire-devices".into()).spawn(work).map_err(io)?;
    Ok(Watch { socket, dropped, thread: Some(thread) })
}

fn receive(reader: &mut BufReader<UnixStream>, payload: &mut Vec<u8>) -> Result<Descriptor, ProtocolError> {
    let descriptor = read_descriptor(reader)?;
    payload.resize(descriptor.length as usize, 0);
    reader.read_exact(payload)?;
    Ok(descriptor)
}

fn read_descriptor(from: &mut impl Read) -> Result<Descriptor, ProtocolError> {
    let descriptor = protocol::read_descriptor(from)?;
    if descriptor.length > LONGEST {
        return Err(ProtocolError::Invalid("a message is too long".into()));
    }
    Ok(descriptor)
}

pub fn properties() -> Props {
    let mut properties = Props::new();
    properties.set(Prop::ApplicationName, NAME);
    properties.set(Prop::MediaName, NAME);
    properties.set(Prop::MediaRole, c"phone");
    properties
}

pub fn name(device: &str) -> Result<CString, DeviceFault> {
    CString::new(device).map_err(|_| DeviceFault::NoDevice)
}

pub fn fault(error: ProtocolError) -> DeviceFault {
    match error {
        ProtocolError::ServerError(PulseError::AccessDenied | PulseError::AuthKey) => DeviceFault::PermissionRefused,
        ProtocolError::ServerError(PulseError::NoEntity | PulseError::ConnectionRefused) => DeviceFault::NoDevice,
        ProtocolError::ServerError(PulseError::Busy) => DeviceFault::InUse,
        other => DeviceFault::Other(format!("the sound server: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn line(ended: impl FnOnce() + Send + 'static) -> (Line, UnixStream) {
        let (socket, server) = UnixStream::pair().unwrap();
        let reader = BufReader::with_capacity(BUFFER, socket);
        let connection = Connection { reader, version: protocol::MAX_VERSION, sequence: 0, broken: false };
        (connection.into_line(ended).unwrap(), server)
    }

    fn message(channel: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = payload.len() as u32;
        let descriptor = Descriptor { length, channel, offset: 0, flags: protocol::DescriptorFlags::empty() };
        protocol::write_descriptor(&mut bytes, &descriptor).unwrap();
        assert_eq!(bytes.len(), DESCRIPTOR_BYTES);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let (mut line, mut server) = line(|| panic!("it has not ended"));
        let mut bytes = message(3, &[1; 1920]);
        protocol::write_command_message(&mut bytes, u32::MAX, &Command::Started(3), protocol::MAX_VERSION).unwrap();
        bytes.extend(message(3, &[2; 40_000]));
        for piece in [1, 7, 1000, bytes.len()] {
            let mut came = Vec::new();
            for part in bytes.chunks(piece) {
                server.write_all(part).unwrap();
                line.receive(|message| {
                    came.push(match message {
                        Message::Sound { channel, bytes } => (channel, bytes.to_vec()),
                        Message::Command(Command::Started(channel)) => (*channel, Vec::new()),
                        Message::Command(_) => panic!("nothing else was sent"),
                    })
                });
            }
            assert_eq!(came, [(3, vec![1; 1920]), (3, vec![]), (3, vec![2; 40_000])], "in pieces of {piece}");
        }
    }

    #[test]
    fn it_ends_once_when_the_server_goes_kills_it_or_is_out_of_step() {
        let mut killed = Vec::new();
        let command = Command::RecordStreamKilled(3);
        protocol::write_command_message(&mut killed, u32::MAX, &command, protocol::MAX_VERSION).unwrap();
        let nonsense = vec![0xff; DESCRIPTOR_BYTES];
        for last in [Vec::new(), killed, nonsense] {
            let (tell, ended) = channel();
            let (mut line, mut server) = line(move || tell.send(()).unwrap());
            line.receive(|_| panic!("nothing was sent"));
            assert!(ended.try_recv().is_err());
            server.write_all(&last).unwrap();
            drop(server);
            (0..3).for_each(|_| line.receive(|_| ()));
            line.send(3, &[0.0; 480]);
            assert_eq!(ended.try_iter().count(), 1);
        }
    }

    #[test]
    fn what_a_server_does_not_take_waits_but_not_for_ever() {
        let (tell, ended) = channel();
        let (mut line, mut server) = line(move || tell.send(()).unwrap());
        let piece = [0.5; 4800];
        let mut sent = 0;
        while line.outbox.is_empty() {
            line.send(3, &piece);
            sent += 1;
        }
        server.set_nonblocking(true).unwrap();
        let (mut taken, mut buffer) = (0, vec![0; BUFFER]);
        while taken < sent * (size_of_val(&piece) + DESCRIPTOR_BYTES) {
            taken += server.read(&mut buffer).unwrap_or(0);
            line.receive(|_| ());
        }
        assert!(line.outbox.is_empty() && ended.try_recv().is_err());
        (0..100).for_each(|_| line.send(3, &piece));
        assert_eq!(ended.try_iter().count(), 1);
        assert!(line.outbox.len() < 2 * MOST_UNWRITTEN);
    }
}
