//! Everything that a request or a socket needs, wired once at the start.

use crate::auth::{BadToken, Grant, Identity, Keyring, Scope, TokenRole};
use crate::checks::Checks;
use crate::clock;
use crate::config::{Config, Older, Secret};
use crate::crowd::Crowd;
use crate::data_dir::DataDir;
use crate::gateways::{LostSeats, Watch};
use crate::lobby::Lobby;
use crate::rate::{Addresses, Place, UserRates};
use crate::relay::Relay;
use crate::store::company::{InProcess, KeptGuest, KeptRoom};
use crate::store::{Sqlite, Store};
use crate::switchboard::Switchboard;
use anyhow::{Context, Result};
use bellwire_call::Booking;
use bellwire_signaling::{ErrorCode, Role, Token, UnixMs};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub struct App {
    pub config: Config,
    pub store: Arc<dyn Store>,
    pub keyring: Keyring,
    pub switchboard: Switchboard,
    pub lobby: Arc<Lobby>,
    /// Sockets of older apps, to be closed with their tokens.
    pub watch: Arc<Watch>,
    /// Seats of older apps whose connection was lost in a call.
    pub lost_seats: LostSeats,
    pub health: Arc<Health>,
    pub rates: UserRates,
    pub addresses: Arc<Addresses>,
    pub crowd: Crowd,
    pub checks: Checks,
    pub relay: Arc<Relay>,
    pub operator_key: Secret,
    /// Where join links lead.
    pub public_url: String,
    pub metrics: PrometheusHandle,
    /// Connections and sockets.
    pub tasks: TaskTracker,
    pub draining: CancellationToken,
    sockets: AtomicU64,
}

/// Whether the server can do its work.
#[derive(Debug)]
pub struct Health {
    stored: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self { stored: AtomicBool::new(true) }
    }
}

impl Health {
    /// Whether calls can be stored, as far as is known.
    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    pub fn set_stored(&self, stored: bool) {
        self.stored.store(stored, Ordering::Release);
    }
}

/// The app and what has to be waited for when it stops.
pub struct Started {
    pub app: Arc<App>,
    pub switchboard: JoinHandle<()>,
    pub sqlite: Arc<Sqlite>,
}

/// Opens store and keys and starts the switchboard. `listen` is where the server listens in fact, `udp` is its relay's
/// socket.
pub async fn start(
    config: Config,
    data: &DataDir,
    listen: &str,
    udp: Option<UdpSocket>,
    metrics: PrometheusHandle,
) -> Result<Started> {
    let sqlite = Arc::new(open_store(data).await?);
    let store: Arc<dyn Store> = sqlite.clone();
    let keyring = Keyring::new(&config, &data.own_key(config.dev)?)?;
    let operator_key = operator_key(&config, data)?;
    let health = Arc::new(Health::default());
    let relay = Arc::new(Relay::open(&config, data, udp)?);
    let (switchboard, task) = Switchboard::start(store.clone(), health.clone(), relay.clone(), config.dev).await?;
    let open_rooms = config.speaks(Older::Rooms) || config.speaks(Older::Channels);
    let lobby = Arc::new(Lobby::open(store.clone(), Arc::new(InProcess::default()), open_rooms).await?);
    let lost_seats = LostSeats::of_calls(&store.recent_calls(clock::now()).await?);
    let public_url = public_url(&config, listen);
    let app = App {
        config,
        store,
        keyring,
        switchboard,
        lobby,
        watch: Arc::default(),
        lost_seats,
        health,
        rates: UserRates::default(),
        addresses: Arc::default(),
        crowd: Crowd::new(std::time::Instant::now()),
        checks: Checks::default(),
        relay,
        operator_key,
        public_url,
        metrics,
        tasks: TaskTracker::new(),
        draining: CancellationToken::new(),
        sockets: AtomicU64::new(0),
    };
    Ok(Started { app: Arc::new(app), switchboard: task, sqlite })
}

pub async fn open_store(data: &DataDir) -> Result<Sqlite> {
    let file = data.database();
    Sqlite::open(&file).await.with_context(|| format!("the store {} cannot be opened", file.display()))
}

/// As set, else the data directory's own.
pub fn operator_key(config: &Config, data: &DataDir) -> Result<Secret> {
    config.operator_key()?.map_or_else(|| data.operator_key(), Ok)
}

/// As set, else where the server listens: good on this machine.
pub fn public_url(config: &Config, listen: &str) -> String {
    config.public_url.clone().unwrap_or_else(|| format!("ws://{listen}"))
}

impl App {
    /// A number for a new socket, never used before.
    pub fn socket_number(&self) -> u64 {
        self.sockets.fetch_add(1, Ordering::Relaxed)
    }

    /// A place for a connection from there, if one is left. With `dev` this machine's are not counted.
    pub fn place(&self, address: IpAddr) -> Option<Place> {
        if self.config.dev && address.to_canonical().is_loopback() {
            Some(self.addresses.uncounted())
        } else {
            self.addresses.enter(address, self.config.connections_per_address)
        }
    }

    pub fn check_token(&self, token: &Token) -> Result<Identity, ErrorCode> {
        self.keyring.check(token.reveal()).map_err(|fault| match fault {
            BadToken::Expired => ErrorCode::TokenExpired,
            BadToken::NotYetValid => ErrorCode::TokenNotYetValid,
            BadToken::Refused => ErrorCode::Unauthenticated,
        })
    }
}

/// The link by which one party of a booking joins, and its token: good for this booking, until it closes.
pub fn join_link(keyring: &Keyring, public_url: &str, booking: &Booking, role: Role) -> Result<(String, UnixMs)> {
    let person = booking.person(role);
    let expires_at = booking.closes_at();
    let grant = Grant {
        user: person.user.clone(),
        role: token_role(role),
        name: None,
        scope: Scope::Booking(booking.id.clone()),
        expires_at,
    };
    let token = keyring.grant(&grant, clock::now())?;
    let mut link = url::Url::parse("bellwire://join")?;
    link.query_pairs_mut().append_pair("server", public_url).append_pair("token", token.reveal());
    Ok((link.into(), expires_at))
}

/// The link by which one of its people enters a room, and its token: good for this room, until it closes.
pub fn room_link(keyring: &Keyring, public_url: &str, room: &KeptRoom, guest: &KeptGuest) -> Result<(String, UnixMs)> {
    let grant = Grant {
        user: guest.user.clone(),
        role: TokenRole::Client,
        name: Some(guest.name.clone()),
        scope: Scope::Room(room.id.clone()),
        expires_at: room.closes_at,
    };
    let token = keyring.grant(&grant, clock::now())?;
    let mut link = url::Url::parse("bellwire://room")?;
    let mut query = link.query_pairs_mut();
    query.append_pair("server", public_url).append_pair("token", token.reveal()).append_pair("room", room.id.as_str());
    drop(query);
    Ok((link.into(), room.closes_at))
}

pub fn token_role(role: Role) -> TokenRole {
    match role {
        Role::Client => TokenRole::Client,
        Role::Provider => TokenRole::Provider,
    }
}
