//! What the operator sets: a TOML file, then the environment, then the command line; the later one wins.
//!
//! Each key `some_key` of the file is `BELLWIRE_SOME_KEY` in the environment. A secret can stand in a file of its own
//! instead: `operator_key_file`. Unknown keys in the file are refused; other `BELLWIRE_` variables are not looked at.

mod relay;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const DEFAULT_LISTEN: &str = "127.0.0.1:7420";
pub const DEFAULT_DATA_DIR: &str = "bellwire-data";

const KEYS: [&str; 28] = [
    "dev",
    "listen",
    "data_dir",
    "public_url",
    "issuer",
    "audience",
    "jwks",
    "jwks_file",
    "operator_key",
    "operator_key_file",
    "connections_per_address",
    "log_format",
    "older",
    "guests",
    "origins",
    "echo",
    "relay",
    "relay_listen",
    "relay_address",
    "relay_allocations_per_user",
    "relay_kbps",
    "turn_urls",
    "turn_secret",
    "turn_secret_file",
    "turn_secret_previous",
    "turn_secret_previous_file",
    "tls_certificate_file",
    "tls_key_file",
];
const SECRET_LETTERS: usize = 32;
/// Keys whose value is a list; in the environment its parts are separated by commas.
const LISTS: [&str; 3] = ["older", "origins", "turn_urls"];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For trying and developing: HS256 tokens, `dev_people`, candidates of this machine.
    pub dev: bool,
    pub listen: String,
    pub data_dir: PathBuf,
    /// How apps reach this server (`wss://calls.example`), for join links. Without it: where it listens.
    pub public_url: Option<String>,
    /// Who issues the tokens that `jwks` checks, and for whom.
    pub issuer: Option<String>,
    pub audience: String,
    /// A JSON Web Key Set (RFC 7517), as text or in a file.
    pub jwks: Option<String>,
    pub jwks_file: Option<PathBuf>,
    /// Without either, a key is made in the data directory.
    pub operator_key: Option<Secret>,
    pub operator_key_file: Option<PathBuf>,
    /// Open connections from one address (one /64 for IPv6). With `dev`, this machine is not counted.
    pub connections_per_address: u32,
    pub log_format: LogFormat,
    /// The older systems whose apps are served as well. With `dev` and without this: all.
    pub older: Vec<Older>,
    /// Whether an app without a token may search for a partner and use channels. Without this: with `dev` alone.
    pub guests: Option<bool>,
    /// Origins (`https://app.example`, or `*`) of web pages that may speak to the older systems' gateways. With `dev` and
    /// without this: any.
    pub origins: Vec<String>,
    /// Whether the server starts an echo peer for checks, `bellwire-echo`, from beside itself. Without this: with `dev`, if the
    /// program is there.
    pub echo: Option<bool>,
    /// Whether the server relays sound itself (TURN). Without this: yes, unless `turn_urls` names others.
    pub relay: Option<bool>,
    /// Where TURN alone listens, on UDP and TCP. Without this: with everything else, at `listen`.
    pub relay_listen: Option<String>,
    /// The public address of the relay, where it is not the one it listens at.
    pub relay_address: Option<IpAddr>,
    /// Living allocations of one person; a call needs several.
    pub relay_allocations_per_user: u32,
    /// Bandwidth of one allocation; 0 is without a limit.
    pub relay_kbps: u32,
    /// Relays elsewhere (coturn) that know `turn_secret`: `turn:HOST:PORT?transport=udp` and the like.
    pub turn_urls: Vec<String>,
    /// What relay credentials are made with. Without it, one is made in the data directory.
    pub turn_secret: Option<Secret>,
    pub turn_secret_file: Option<PathBuf>,
    /// The secret before, accepted until its last credentials have expired.
    pub turn_secret_previous: Option<Secret>,
    pub turn_secret_previous_file: Option<PathBuf>,
    /// PEM files; with them the same port speaks TLS as well. Read again when they change.
    pub tls_certificate_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
}

/// A system whose protocol a gateway speaks (docs/protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Older {
    /// Booking calls: `call:*`.
    Booking,
    /// Random match with relay: `find_partner`.
    Match,
    /// The random chat gateway, namespace `/random-chat`.
    RandomChat,
    /// The channel relay on a plain WebSocket.
    Channels,
    /// Multi-peer rooms: `webrtc:*`.
    Rooms,
    All,
}

impl Older {
    fn word(self) -> &'static str {
        match self {
            Self::Booking => "booking",
            Self::Match => "match",
            Self::RandomChat => "random-chat",
            Self::Channels => "channels",
            Self::Rooms => "rooms",
            Self::All => "all",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// A text that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dev: false,
            listen: DEFAULT_LISTEN.into(),
            data_dir: DEFAULT_DATA_DIR.into(),
            public_url: None,
            issuer: None,
            audience: "bellwire".into(),
            jwks: None,
            jwks_file: None,
            operator_key: None,
            operator_key_file: None,
            connections_per_address: 500,
            log_format: LogFormat::Text,
            older: Vec::new(),
            guests: None,
            origins: Vec::new(),
            echo: None,
            relay: None,
            relay_listen: None,
            relay_address: None,
            relay_allocations_per_user: 24,
            relay_kbps: 512,
            turn_urls: Vec::new(),
            turn_secret: None,
            turn_secret_file: None,
            turn_secret_previous: None,
            turn_secret_previous_file: None,
            tls_certificate_file: None,
            tls_key_file: None,
        }
    }
}

/// What the command line says; it wins over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub dev: bool,
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub older: Vec<Older>,
    pub guests: bool,
    pub origins: Vec<String>,
    pub echo: bool,
}

impl Config {
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self> {
        let mut sources = config::Config::builder();
        if let Some(file) = file {
            sources = sources.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        for key in KEYS {
            if let Ok(value) = std::env::var(format!("BELLWIRE_{}", key.to_ascii_uppercase())) {
                sources = if LISTS.contains(&key) {
                    let parts: Vec<&str> = value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
                    sources.set_override(key, parts)?
                } else {
                    sources.set_override(key, value)?
                };
            }
        }
        let mut config: Config =
            sources.build().and_then(config::Config::try_deserialize).context("the configuration cannot be used")?;
        config.dev |= overrides.dev;
        config.listen = overrides.listen.clone().unwrap_or(config.listen);
        config.data_dir = overrides.data_dir.clone().unwrap_or(config.data_dir);
        if !overrides.older.is_empty() {
            config.older.clone_from(&overrides.older);
        }
        if overrides.guests {
            config.guests = Some(true);
        }
        if overrides.echo {
            config.echo = Some(true);
        }
        if !overrides.origins.is_empty() {
            config.origins.clone_from(&overrides.origins);
        }
        if let Some(url) = &config.public_url {
            check_public_url(url)?;
        }
        if (config.jwks.is_some() || config.jwks_file.is_some()) && config.issuer.is_none() {
            bail!("`jwks` needs `issuer`: the `iss` of the tokens that those keys sign");
        }
        config.check_relay()?;
        Ok(config)
    }

    /// Whether apps of this older system are served.
    pub fn speaks(&self, older: Older) -> bool {
        if self.older.is_empty() { self.dev } else { self.older.contains(&older) || self.older.contains(&Older::All) }
    }

    pub fn admits_guests(&self) -> bool {
        self.guests.unwrap_or(self.dev)
    }

    /// Origins that pages of older systems may come from.
    pub fn admitted_origins(&self) -> Vec<String> {
        if self.origins.is_empty() && self.dev { vec!["*".into()] } else { self.origins.clone() }
    }

    /// The operator's key as set; none if the data directory's is to be used.
    pub fn operator_key(&self) -> Result<Option<Secret>> {
        secret("operator_key", self.operator_key.as_ref(), self.operator_key_file.as_deref())
    }

    /// The key set as text, if there is one.
    pub fn jwks(&self) -> Result<Option<String>> {
        match (&self.jwks, &self.jwks_file) {
            (Some(text), None) => Ok(Some(text.clone())),
            (None, Some(file)) => read(file).map(Some),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => bail!("set `jwks` or `jwks_file`, not both"),
        }
    }

    /// All settings as a TOML file, without secrets.
    pub fn without_secrets(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let list = |parts: Vec<String>| format!("[{}]", parts.join(", "));
        let path = |path: &PathBuf| quoted(&path.display().to_string());
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let lines = [
            ("dev", Some(self.dev.to_string())),
            ("listen", Some(quoted(&self.listen))),
            ("data_dir", Some(path(&self.data_dir))),
            ("public_url", self.public_url.as_deref().map(quoted)),
            ("issuer", self.issuer.as_deref().map(quoted)),
            ("audience", Some(quoted(&self.audience))),
            ("jwks", self.jwks.as_deref().map(quoted)),
            ("jwks_file", self.jwks_file.as_ref().map(path)),
            ("operator_key_file", self.operator_key_file.as_ref().map(path)),
            ("connections_per_address", Some(self.connections_per_address.to_string())),
            ("log_format", Some(quoted(format))),
            ("older", Some(list(self.older.iter().map(|older| quoted(older.word())).collect()))),
            ("guests", self.guests.map(|guests| guests.to_string())),
            ("origins", Some(list(self.origins.iter().map(|origin| quoted(origin)).collect()))),
            ("echo", self.echo.map(|echo| echo.to_string())),
            ("relay", self.relay.map(|relay| relay.to_string())),
            ("relay_listen", self.relay_listen.as_deref().map(quoted)),
            ("relay_address", self.relay_address.map(|address| quoted(&address.to_string()))),
            ("relay_allocations_per_user", Some(self.relay_allocations_per_user.to_string())),
            ("relay_kbps", Some(self.relay_kbps.to_string())),
            ("turn_urls", Some(list(self.turn_urls.iter().map(|url| quoted(url)).collect()))),
            ("turn_secret_file", self.turn_secret_file.as_ref().map(path)),
            ("turn_secret_previous_file", self.turn_secret_previous_file.as_ref().map(path)),
            ("tls_certificate_file", self.tls_certificate_file.as_ref().map(path)),
            ("tls_key_file", self.tls_key_file.as_ref().map(path)),
        ];
        let secrets = [
            ("operator_key", &self.operator_key),
            ("turn_secret", &self.turn_secret),
            ("turn_secret_previous", &self.turn_secret_previous),
        ];
        let mut out = String::new();
        for (key, value) in lines {
            let _ = match value {
                Some(value) => writeln!(out, "{key} = {value}"),
                None => writeln!(out, "# {key} is not set"),
            };
        }
        for (key, secret) in secrets {
            let is = if secret.is_some() { "is set, and not shown" } else { "is not set" };
            let _ = writeln!(out, "# {key} {is}");
        }
        out
    }
}

/// How long things may take before a connection is given up.
pub mod waits {
    use super::Duration;
    /// For the head of a request.
    pub const HEADER: Duration = Duration::from_secs(10);
    /// For the rest of it and the answer.
    pub const REQUEST: Duration = Duration::from_secs(15);
    /// For one write to a socket.
    pub const WRITE: Duration = Duration::from_secs(10);
    /// For a write to make any progress, before its connection is cut.
    pub const STALLED: Duration = Duration::from_secs(60);
    /// For all sockets to close when the server stops.
    pub const DRAIN: Duration = Duration::from_secs(5);
}

/// A secret that stands as text or in a file of its own.
fn secret(key: &str, text: Option<&Secret>, file: Option<&Path>) -> Result<Option<Secret>> {
    let secret = match (text, file) {
        (Some(secret), None) => secret.clone(),
        (None, Some(file)) => Secret(read(file)?.trim().to_owned()),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => bail!("set `{key}` or `{key}_file`, not both"),
    };
    if secret.0.len() < SECRET_LETTERS {
        bail!("`{key}` needs {SECRET_LETTERS} letters or more");
    }
    Ok(Some(secret))
}

fn check_public_url(text: &str) -> Result<()> {
    let url = url::Url::parse(text).context("`public_url` is no URL")?;
    match url.scheme() {
        "ws" | "wss" => Ok(()),
        other => bail!("`public_url` begins with ws:// or wss://, not {other}://"),
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_settings_can_be_read_again_and_hold_no_secret() {
        let secret = "0123456789abcdef0123456789abcdef";
        let config = Config {
            operator_key: Some(Secret(secret.into())),
            turn_secret: Some(Secret(secret.into())),
            turn_secret_previous: Some(Secret(secret.into())),
            relay_address: Some([192, 0, 2, 1].into()),
            public_url: Some("wss://calls.example".into()),
            older: vec![Older::Booking, Older::RandomChat],
            guests: Some(true),
            origins: vec!["https://app.example".into()],
            ..Config::default()
        };
        let printed = config.without_secrets();
        assert!(!printed.contains(secret) && printed.contains("operator_key is set"), "{printed}");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("bellwire.toml");
        std::fs::write(&file, &printed).expect("a file");
        let again = Config::load(Some(&file), &Overrides::default()).expect("settings");
        assert_eq!(again.public_url, config.public_url);
        assert_eq!(again.listen, DEFAULT_LISTEN);
        assert_eq!((again.relay_address, again.relay_kbps), (config.relay_address, 512));
        assert_eq!((again.older, again.guests, again.origins), (config.older, config.guests, config.origins));
    }

    #[test]
    fn older_systems_are_served_only_when_named_or_in_development() {
        let config = |dev, older| Config { dev, older, ..Config::default() };
        let check = |config: Config, booking, rooms, guests| {
            let speaks = (config.speaks(Older::Booking), config.speaks(Older::Rooms), config.admits_guests());
            assert_eq!(speaks, (booking, rooms, guests), "{config:?}");
        };
        check(config(false, vec![]), false, false, false);
        check(config(false, vec![Older::Rooms]), false, true, false);
        check(config(false, vec![Older::All]), true, true, false);
        check(config(true, vec![]), true, true, true);
        check(config(true, vec![Older::Booking]), true, false, true);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("bellwire.toml");
        std::fs::write(&file, "lisen = \"127.0.0.1:1\"\n").expect("a file");
        assert!(Config::load(Some(&file), &Overrides::default()).is_err());
    }
}
