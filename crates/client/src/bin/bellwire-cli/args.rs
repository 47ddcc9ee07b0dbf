//! The command line, read and checked before anything is started.

use crate::session::Role;
use bellwire_client::{
    BookingId, Config, DeviceChoice, DeviceId, IceServer, JoinLink, NoiseSuppression, Processing, RoomId, Token, Url,
    media,
};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use rand::RngExt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Parser)]
#[command(name = "bellwire-cli", version, about = "Voice calls, rooms and matches, without a window")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
pub enum Task {
    /// Lists microphones and speakers.
    Devices {
        #[arg(long)]
        json: bool,
    },
    /// Calls the other party of a booking as soon as they can be reached.
    Call(SessionOptions),
    /// Waits for the other party's call and accepts it.
    Answer(SessionOptions),
    /// Enters a room and stays until told otherwise.
    Room(RoomOptions),
    /// Joins the queue for the next partner and talks to them.
    Match(MatchOptions),
    /// Checks microphone, speaker and network before a call, with the server's echo peer.
    Check(CheckOptions),
}

/// Who signs in where, and with which sound.
#[derive(Args)]
struct DeviceOptions {
    /// ws://HOST:PORT or wss://HOST
    #[arg(long, value_name = "URL", value_parser = server, required_unless_present = "link")]
    server: Option<Url>,
    /// A file that holds the token to sign in with.
    #[arg(long, value_name = "FILE", required_unless_present = "link")]
    token_file: Option<PathBuf>,
    /// A join link, instead of server and token. Other users of this machine can read a command line.
    #[arg(long, value_name = "LINK", conflicts_with_all = ["server", "token_file"])]
    link: Option<String>,
    /// A microphone as `devices` lists it, or a WAV file to speak.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    input: Option<DeviceChoice>,
    /// A speaker as `devices` lists it, or a WAV file to record into.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    output: Option<DeviceChoice>,
    /// A speaker to ring on, if not the one of calls.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    ring: Option<DeviceChoice>,
    /// How to say what happens.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    events: Format,
    /// No echo cancellation.
    #[arg(long)]
    no_aec: bool,
    /// How much of the room's noise is taken away; `standard` unless told.
    #[arg(long, value_name = "STRENGTH", value_enum, conflicts_with = "no_ns")]
    noise_suppression: Option<Strength>,
    /// The same as `--noise-suppression off`.
    #[arg(long)]
    no_ns: bool,
    /// No gain control.
    #[arg(long)]
    no_agc: bool,
    /// For music: stereo, unprocessed, at a higher bit rate; whatever the options before say.
    #[arg(long)]
    original_sound: bool,
    /// STUN and TURN servers: a JSON array of {"urls": [..], "username": "..", "credential": ".."}.
    #[arg(long, value_name = "FILE")]
    ice_servers: Option<PathBuf>,
    /// Carry sound over this address of this machine alone.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Act on lines of standard input; docs/cli.md lists them.
    #[arg(long)]
    control: bool,
    /// Play the ring and the other tones on the speaker.
    #[arg(long)]
    tones: bool,
    /// Send sound by a relay alone, so that the others learn no address of this machine.
    #[arg(long)]
    relay_only: bool,
    /// Write this to the others as soon as they can read; more than once for more lines.
    #[arg(long, value_name = "TEXT")]
    say: Vec<String>,
}

#[derive(Args)]
pub struct SessionOptions {
    #[command(flatten)]
    device: DeviceOptions,
    /// Without it: `call` takes the one booking that is open now, `answer` any.
    #[arg(long, value_name = "ID")]
    booking: Option<BookingId>,
    /// Hang up so long after the call is connected.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
    /// Want the text of the call kept in its record.
    #[arg(long)]
    keep_chat: bool,
    /// At the end, write what happened in the call into this file; it holds no names, addresses or secrets.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// How long to stay, and with whom.
#[derive(Args)]
struct StayOptions {
    /// Begin muted.
    #[arg(long)]
    mute: bool,
    /// Leave so long after getting in.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    stays: Option<Duration>,
    /// Leave so long after the expected members were heard.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    leave_after: Option<Duration>,
    /// How long the expected members are waited for, from getting in.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, default_value = "60")]
    expect_within: Duration,
}

#[derive(Args)]
pub struct RoomOptions {
    #[command(flatten)]
    device: DeviceOptions,
    /// The room, where no link says it.
    #[arg(long, value_name = "ID", required_unless_present = "link")]
    room: Option<RoomId>,
    #[command(flatten)]
    stay: StayOptions,
    /// So many others have to be heard, or the status says that they were not.
    #[arg(long, value_name = "N")]
    expect_members: Option<usize>,
}

#[derive(Args)]
pub struct MatchOptions {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    stay: StayOptions,
    /// Talk to so many partners, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1)]
    matches: u32,
    /// Go on to the next partner so long after the match, where one is still to come.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    skip_after: Option<Duration>,
}

#[derive(Args)]
pub struct CheckOptions {
    #[command(flatten)]
    device: DeviceOptions,
    /// Play nothing and ask for no sentence.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strength {
    Off,
    Standard,
    Strong,
}

impl From<Strength> for NoiseSuppression {
    fn from(strength: Strength) -> Self {
        match strength {
            Strength::Off => Self::Off,
            Strength::Standard => Self::Standard,
            Strength::Strong => Self::Strong,
        }
    }
}

/// A run of `call` or `answer` that can begin.
pub struct Plan {
    pub role: Role,
    pub device: Device,
    pub booking: Option<BookingId>,
    pub duration: Option<Duration>,
    pub keep_chat: bool,
    pub report: Option<PathBuf>,
}

/// A run of `room` or `match` that can begin.
pub struct StayPlan {
    pub device: Device,
    pub aim: Aim,
    pub mute: bool,
    pub stays: Option<Duration>,
    pub leave_after: Option<Duration>,
    pub expect_members: usize,
    pub expect_within: Duration,
}

/// A run of `check` that can begin.
pub struct CheckPlan {
    pub device: Device,
    pub quick: bool,
}

pub enum Aim {
    Room(RoomId),
    Match { matches: u32, skip_after: Option<Duration> },
}

pub struct Device {
    pub config: Config,
    pub format: Format,
    pub control: bool,
    pub say: Vec<String>,
}

pub enum Usage {
    /// Help or the version, as asked for.
    Help(String),
    /// What is wrong, in a sentence.
    Bad(String),
}

pub fn read() -> Result<Task, Usage> {
    Options::try_parse().map(|options| options.task).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Usage::Help(error.to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Usage::Bad(
            "say what to do: devices, call or answer, room or match, check (bellwire-cli --help tells more)".into(),
        ),
        _ => Usage::Bad(sentence(&error.to_string())),
    })
}

/// The first paragraph of clap's error, on one line.
fn sentence(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

impl SessionOptions {
    pub fn plan(self, role: Role) -> Result<Plan, String> {
        let (device, room) = self.device.plan()?;
        if room.is_some() {
            return Err("this link leads to a room: give it to bellwire-cli room".into());
        }
        let (booking, duration, keep_chat) = (self.booking, self.duration, self.keep_chat);
        Ok(Plan { role, device, booking, duration, keep_chat, report: self.report })
    }
}

impl RoomOptions {
    pub fn plan(self) -> Result<StayPlan, String> {
        let (device, linked) = self.device.plan()?;
        let room = self.room.or(linked).ok_or("this link leads to no room: say which with --room")?;
        Ok(self.stay.plan(device, Aim::Room(room), self.expect_members.unwrap_or_default()))
    }
}

impl MatchOptions {
    pub fn plan(self) -> Result<StayPlan, String> {
        let (device, _) = self.device.plan()?;
        if self.matches == 0 {
            return Err("--matches wants at least 1".into());
        }
        let aim = Aim::Match { matches: self.matches, skip_after: self.skip_after };
        Ok(self.stay.plan(device, aim, 1))
    }
}

impl CheckOptions {
    pub fn plan(self) -> Result<CheckPlan, String> {
        let (device, _) = self.device.plan()?;
        Ok(CheckPlan { device, quick: self.quick })
    }
}

impl StayOptions {
    fn plan(self, device: Device, aim: Aim, expect_members: usize) -> StayPlan {
        let Self { mute, stays, leave_after, expect_within } = self;
        StayPlan { device, aim, mute, stays, leave_after, expect_members, expect_within }
    }
}

impl DeviceOptions {
    /// The device, and the room that its link leads to.
    fn plan(self) -> Result<(Device, Option<RoomId>), String> {
        let (input, output) = (self.input.unwrap_or_default(), self.output.unwrap_or_default());
        check_input(&input)?;
        check_output(&output)?;
        self.ring.as_ref().map(check_output).transpose()?;
        let media = media::Config {
            input,
            output,
            processing: Processing {
                echo_cancellation: !self.no_aec,
                noise_suppression: match self.noise_suppression {
                    Some(strength) => strength.into(),
                    None if self.no_ns => NoiseSuppression::Off,
                    None => NoiseSuppression::default(),
                },
                gain_control: !self.no_agc,
                original_sound: self.original_sound,
            },
            ring: self.ring,
            ice_servers: self.ice_servers.as_deref().map(ice_servers).transpose()?.unwrap_or_default(),
            bind: self.bind,
        };
        let (server, token, room) = match (self.link, self.server, self.token_file) {
            (Some(link), _, _) => {
                // Not read by clap, whose error would repeat the token.
                let link = JoinLink::parse(&link).map_err(|why| why.to_string())?;
                (link.server, link.token, link.room)
            }
            (None, Some(server), Some(file)) => (server, token(&file)?, None),
            (None, _, _) => return Err("say where to sign in: --server and --token-file, or --link".into()),
        };
        let device = DeviceId::from_bits(rand::rng().random());
        let config = Config {
            server,
            token,
            device,
            media,
            tones: self.tones,
            relay_only: self.relay_only,
            checks_by_itself: false,
        };
        Ok((Device { config, format: self.events, control: self.control, say: self.say }, room))
    }
}

fn server(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "it is no address; write ws://HOST:PORT or wss://HOST".to_owned())?;
    match url.scheme() {
        "ws" | "wss" if url.host_str().is_some() => Ok(url),
        _ => Err("it has to begin with ws:// or wss://".into()),
    }
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    match text.strip_prefix("wav:") {
        Some("") => Err("wav: wants the name of a file".into()),
        Some(file) => Ok(DeviceChoice::Wav(file.into())),
        None if text.is_empty() => Err("a device has a name".into()),
        None => Ok(DeviceChoice::Named(text.into())),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number of seconds".to_owned())?;
    if (0.0..=86_400.0).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("it has to be between 0 and 86400 seconds".into())
    }
}

fn token(path: &Path) -> Result<Token, String> {
    let text = read_file(path, "the token file")?;
    Token::new(text.trim()).map_err(|_| format!("{} holds no token", path.display()))
}

fn ice_servers(path: &Path) -> Result<Vec<IceServer>, String> {
    let text = read_file(path, "the list of ICE servers")?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no list of ICE servers: {error}", path.display()))
}

fn read_file(path: &Path, what: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{what} {} cannot be read: {error}", path.display()))
}

fn check_input(choice: &DeviceChoice) -> Result<(), String> {
    match choice {
        DeviceChoice::Wav(path) => std::fs::File::open(path)
            .map(drop)
            .map_err(|error| format!("the input file {} cannot be read: {error}", path.display())),
        DeviceChoice::Default | DeviceChoice::Named(_) => Ok(()),
    }
}

fn check_output(choice: &DeviceChoice) -> Result<(), String> {
    match choice {
        DeviceChoice::Wav(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            match folder {
                Some(folder) if !folder.is_dir() => {
                    Err(format!("the output file's folder {} does not exist", folder.display()))
                }
                Some(_) | None => Ok(()),
            }
        }
        DeviceChoice::Default | DeviceChoice::Named(_) => Ok(()),
    }
}
