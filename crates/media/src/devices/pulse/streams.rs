//! The sound thread's ends of the server's streams. Sound is floats at the engine's rate, which the server converts better
//! than we do.

use super::connection::{Connection, Line, Message, name, properties};
use crate::devices::ends::{KEPT_MS, MOST_WAITING_MS, Margin};
use crate::devices::realtime::Heartbeat;
use crate::devices::{DeviceFault, Sink, Source};
use crate::{FRAME, RATE, Sound};
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    ChannelMap, Command, CreatePlaybackStreamReply, CreateRecordStreamReply, PlaybackStreamParams, RecordStreamParams,
    SampleFormat, SampleSpec,
};
use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// How much sound is in one message from a microphone,
const CAPTURE_MS: u32 = 10;
/// how much a speaker asks for at once,
const PLAYOUT_MS: u32 = 5;
/// and how much of what it plays the server holds. With less than 20 ms, or with messages of less than 10 ms from a
/// microphone, it runs the device at the least that it can: PulseAudio 16 then handles 1,400 pieces a second for each
/// stream, which takes a core.
const HELD_MS: u32 = 20;
/// What the server asks for may come so much later, as it still holds as much,
const LATE_MS: i64 = 10;
/// less the margin, which grows to so much: then 40 ms are sent that nobody asked for yet.
const MOST_MARGIN_MS: usize = 50;
/// No server asks for more than this at once.
const MOST_OWED_MS: u32 = 500;
const SAMPLE_BYTES: u32 = size_of::<f32>() as u32;

/// Ends when it is dropped.
pub struct Stream {
    socket: UnixStream,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn bytes(channels: u8, milliseconds: u32) -> u32 {
    RATE / 1000 * milliseconds * u32::from(channels) * SAMPLE_BYTES
}

fn spec(channels: u8) -> SampleSpec {
    SampleSpec { format: SampleFormat::Float32Le, channels, sample_rate: RATE }
}

fn map(channels: u8) -> ChannelMap {
    if channels == 1 { ChannelMap::mono() } else { ChannelMap::stereo() }
}

fn flags() -> StreamFlags {
    StreamFlags { adjust_latency: true, no_move: true, ..StreamFlags::default() }
}

pub struct Microphone {
    line: Line,
    channel: u32,
    channels: usize,
    /// When the connection was read last.
    looked: Option<Instant>,
    waiting: VecDeque<f32>,
    heartbeat: Heartbeat,
}

impl Microphone {
    /// Opens one by the server's name for it, with one channel or two; `broken` is called when the stream has ended by itself.
    pub fn open(
        source: &str,
        channels: u8,
        broken: impl FnOnce() + Send + 'static,
    ) -> Result<(Stream, Self), DeviceFault> {
        let mut connection = Connection::open()?;
        let fragment_size = bytes(channels, CAPTURE_MS);
        let created: CreateRecordStreamReply = connection.ask(&Command::CreateRecordStream(RecordStreamParams {
            sample_spec: spec(channels),
            channel_map: map(channels),
            source_name: Some(name(source)?),
            buffer_attr: BufferAttr { max_length: u32::MAX, fragment_size, ..BufferAttr::default() },
            flags: flags(),
            props: properties(),
            ..RecordStreamParams::default()
        }))?;
        let line = connection.into_line(broken)?;
        let stream = Stream { socket: line.socket()? };
        let microphone = Self {
            line,
            channel: created.channel,
            channels: channels.into(),
            looked: None,
            waiting: VecDeque::new(),
            heartbeat: Heartbeat::default(),
        };
        Ok((stream, microphone))
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    fn look(&mut self, now: Instant) {
        if self.looked.replace(now) == Some(now) {
            return;
        }
        self.line.receive(|message| {
            if let Message::Sound { channel, bytes } = message
                && channel == self.channel
            {
                self.heartbeat.beat();
                self.waiting.extend(bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)));
            }
        });
        let samples = |milliseconds: usize| RATE as usize / 1000 * milliseconds * self.channels;
        if self.waiting.len() > samples(MOST_WAITING_MS) {
            self.waiting.drain(..self.waiting.len() - samples(KEPT_MS));
        }
    }
}

impl Source for Microphone {
    fn read(&mut self, now: Instant, sound: &mut Sound) -> bool {
        self.look(now);
        let samples = FRAME * self.channels;
        if self.waiting.len() < samples {
            return false;
        }
        sound.read_interleaved(self.channels, self.waiting.drain(..samples));
        true
    }

    fn discard(&mut self, now: Instant) {
        self.look(now);
        self.waiting.clear();
    }

    fn expects_sound(&self) -> bool {
        true
    }
}

pub struct Speaker {
    line: Line,
    channel: u32,
    channels: usize,
    /// When the connection was read last.
    looked: Option<Instant>,
    /// Frames that were asked for and not sent yet; negative when more was sent.
    owed: i64,
    margin: Margin,
    samples: Vec<f32>,
    heartbeat: Heartbeat,
}

const fn frames(milliseconds: i64) -> i64 {
    RATE as i64 / 1000 * milliseconds
}

impl Speaker {
    /// Opens one by the server's name for it, with one channel or two; `broken` is called when the stream has ended by itself.
    pub fn open(
        sink: &str,
        channels: u8,
        broken: impl FnOnce() + Send + 'static,
    ) -> Result<(Stream, Self), DeviceFault> {
        let mut connection = Connection::open()?;
        let piece = bytes(channels, PLAYOUT_MS);
        let created: CreatePlaybackStreamReply =
            connection.ask(&Command::CreatePlaybackStream(PlaybackStreamParams {
                sample_spec: spec(channels),
                channel_map: map(channels),
                sink_name: Some(name(sink)?),
                buffer_attr: BufferAttr {
                    max_length: u32::MAX,
                    target_length: bytes(channels, HELD_MS),
                    // After an underrun the server waits for one piece. With none it would ask for what is overdue as well,
                    // and throw it away.
                    pre_buffering: piece,
                    minimum_request_length: piece,
                    ..BufferAttr::default()
                },
                flags: flags(),
                props: properties(),
                ..PlaybackStreamParams::default()
            }))?;
        let mut line = connection.into_line(broken)?;
        let stream = Stream { socket: line.socket()? };
        // It begins with silence, so that it runs before there is anything to play.
        let asked = created.requested_bytes.min(bytes(channels, MOST_OWED_MS));
        line.send(created.channel, &vec![0.0; (asked / SAMPLE_BYTES) as usize]);
        let speaker = Self {
            line,
            channel: created.channel,
            channels: channels.into(),
            looked: None,
            owed: 0,
            margin: Margin::new(0, MOST_MARGIN_MS),
            samples: Vec::with_capacity(2 * FRAME),
            heartbeat: Heartbeat::default(),
        };
        Ok((stream, speaker))
    }

    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    fn look(&mut self, now: Instant) {
        if self.looked.replace(now) == Some(now) {
            return;
        }
        let frame = i64::from(SAMPLE_BYTES) * self.channels as i64;
        self.line.receive(|message| match message {
            Message::Command(Command::Request(request)) if request.channel == self.channel => {
                self.heartbeat.beat();
                let most = frames(MOST_OWED_MS.into());
                self.owed = (self.owed + i64::from(request.length) / frame).min(most);
            }
            Message::Command(Command::Underflow(_)) => self.margin.note_underruns(1),
            Message::Command(_) | Message::Sound { .. } => {}
        });
    }
}

impl Sink for Speaker {
    fn wants(&mut self, now: Instant) -> bool {
        self.look(now);
        self.owed >= frames(LATE_MS) - self.margin.samples(RATE as usize) as i64
    }

    fn take_underruns(&mut self) -> u32 {
        self.margin.take_underruns()
    }

    fn write(&mut self, sound: &Sound) {
        self.margin.note_written();
        self.owed -= FRAME as i64;
        self.samples.clear();
        sound.write_interleaved(self.channels, &mut self.samples);
        self.line.send(self.channel, &self.samples);
    }
}
