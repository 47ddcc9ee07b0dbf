//! The command line, read and checked before anything is started.

use crate::session::Role;
use bellwire_client::{BookingId, Config, DeviceChoice, DeviceId, IceServer, Processing, Token, Url, media};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use rand::RngExt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Parser)]
#[command(name = "bellwire-cli", version, about = "Booked one-to-one voice calls, without a window")]
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
}

#[derive(Args)]
pub struct SessionOptions {
    /// ws://HOST:PORT or wss://HOST
    #[arg(long, value_name = "URL", value_parser = server)]
    server: Url,
    /// A file that holds the token to sign in with.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Without it: `call` takes the one booking that is open now, `answer` any.
    #[arg(long, value_name = "ID")]
    booking: Option<BookingId>,
    /// A microphone as `devices` lists it, or a WAV file to speak.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    input: Option<DeviceChoice>,
    /// A speaker as `devices` lists it, or a WAV file to record into.
    #[arg(long, value_name = "NAME|wav:FILE", value_parser = device)]
    output: Option<DeviceChoice>,
    /// Hang up so long after the call is connected.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    duration: Option<Duration>,
    /// How to say what happens.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    events: Format,
    /// No echo cancellation.
    #[arg(long)]
    no_aec: bool,
    /// No noise suppression.
    #[arg(long)]
    no_ns: bool,
    /// No gain control.
    #[arg(long)]
    no_agc: bool,
    /// STUN and TURN servers: a JSON array of {"urls": [..], "username": "..", "credential": ".."}.
    #[arg(long, value_name = "FILE")]
    ice_servers: Option<PathBuf>,
    /// Carry sound over this address of this machine alone.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Act on lines of standard input: accept, decline, mute, unmute, hangup, stats.
    #[arg(long)]
    control: bool,
    /// Play the ring and the other tones on the speaker.
    #[arg(long)]
    tones: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Text,
}

/// A run of `call` or `answer` that can begin.
pub struct Plan {
    pub role: Role,
    pub config: Config,
    pub booking: Option<BookingId>,
    pub duration: Option<Duration>,
    pub format: Format,
    pub control: bool,
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
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Usage::Bad("say what to do: devices, call or answer (bellwire-cli --help tells more)".into())
        }
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
        let (input, output) = (self.input.unwrap_or_default(), self.output.unwrap_or_default());
        check_input(&input)?;
        check_output(&output)?;
        let media = media::Config {
            input,
            output,
            processing: Processing {
                echo_cancellation: !self.no_aec,
                noise_suppression: !self.no_ns,
                gain_control: !self.no_agc,
            },
            ice_servers: self.ice_servers.as_deref().map(ice_servers).transpose()?.unwrap_or_default(),
            bind: self.bind,
        };
        let device = DeviceId::from_bits(rand::rng().random());
        let token = token(&self.token_file)?;
        let config = Config { server: self.server, token, device, media, tones: self.tones };
        let (booking, duration, format, control) = (self.booking, self.duration, self.events, self.control);
        Ok(Plan { role, config, booking, duration, format, control })
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
