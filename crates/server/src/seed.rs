//! `token` and `seed-demo`: things made in a data directory, whether a server runs on it or not.

use crate::app;
use crate::auth::{Grant, Keyring, Scope, TokenRole};
use crate::clock;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::echo;
use crate::store::{Bookings, KnownPerson, People, PersonRole, Sqlite};
use anyhow::Result;
use bellwire_call::{Booking, CLOSES_AFTER_MS, OPENS_BEFORE_MS, Person};
use bellwire_signaling::{BookingId, BookingState, Handle, Role, Token, UserId};
use rand::seq::IndexedRandom;
use serde::Serialize;
use std::time::Duration;

const DEMO_MS: u64 = 30 * 60_000;
const DEMO_TOKEN_MS: u64 = 12 * 60 * 60_000;
const GIVEN: [&str; 12] =
    ["Ana", "Bruno", "Chiara", "David", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Lina"];
const FAMILY: [&str; 12] = [
    "Moreno",
    "Okafor",
    "Lindqvist",
    "Haddad",
    "Novak",
    "Tanaka",
    "Weber",
    "Silva",
    "Kowalski",
    "Dubois",
    "Rossi",
    "Nguyen",
];

/// What `seed-demo` made.
#[derive(Debug, Serialize)]
pub struct Demo {
    pub booking: BookingId,
    pub client: DemoPerson,
    pub provider: DemoPerson,
    pub operator_key: String,
}

#[derive(Debug, Serialize)]
pub struct DemoPerson {
    pub id: UserId,
    pub name: String,
    pub token: String,
    pub link: String,
}

/// A token for this person, who becomes known as what `role` says.
pub async fn token(data: &DataDir, user: UserId, role: TokenRole, ttl: Duration) -> Result<Token> {
    let now = clock::now();
    let store = app::open_store(data).await?;
    let known_role = match role {
        TokenRole::Client => PersonRole::Client,
        TokenRole::Provider => PersonRole::Provider,
        TokenRole::Operator => PersonRole::Operator,
    };
    if store.person(&user).await?.is_none() {
        let person = KnownPerson { user: user.clone(), name: user.to_string(), role: known_role };
        store.put_person(&person, now).await?;
    }
    store.close().await;
    let expires_at = now.plus(u64::try_from(ttl.as_millis())?);
    keyring(data)?.grant(&Grant { user, role, name: None, scope: Scope::Person, expires_at }, now)
}

/// A token for an echo peer.
pub fn echo_token(data: &DataDir) -> Result<Token> {
    echo::token(&keyring(data)?)
}

/// Two people and a booking that is open now, with all that is needed to call.
pub async fn demo(config: &Config, data: &DataDir) -> Result<Demo> {
    let keyring = keyring(data)?;
    let store = app::open_store(data).await?;
    let made = make(&store, &keyring, config, data).await;
    store.close().await;
    made
}

async fn make(store: &Sqlite, keyring: &Keyring, config: &Config, data: &DataDir) -> Result<Demo> {
    let now = clock::now();
    let [client, provider] = two_people()?;
    let booking = Booking {
        id: BookingId::from_bits(rand::random()),
        client,
        provider,
        starts_at: now,
        length_ms: DEMO_MS,
        topic: "Demo consultation".into(),
        state: BookingState::Scheduled,
        opens_before_ms: OPENS_BEFORE_MS,
        closes_after_ms: CLOSES_AFTER_MS,
        reschedulable: true,
    };
    store.create_booking(&booking, None, now).await?;
    let listen = data.running().map_or_else(|| config.listen.clone(), |running| running.listen);
    let public_url = app::public_url(config, &listen);
    let party = |role| {
        let person = booking.person(role);
        let user = person.user.clone();
        let expires_at = now.plus(DEMO_TOKEN_MS);
        let grant = Grant { user, role: app::token_role(role), name: None, scope: Scope::Person, expires_at };
        let token = keyring.grant(&grant, now)?;
        let (link, _) = app::join_link(keyring, &public_url, &booking, role)?;
        let (id, name) = (person.user.clone(), person.name.clone());
        anyhow::Ok(DemoPerson { id, name, token: token.reveal().to_owned(), link })
    };
    Ok(Demo {
        client: party(Role::Client)?,
        provider: party(Role::Provider)?,
        booking: booking.id.clone(),
        operator_key: app::operator_key(config, data)?.reveal().to_owned(),
    })
}

fn keyring(data: &DataDir) -> Result<Keyring> {
    Keyring::own_only(&data.own_key(data.is_dev())?)
}

/// New ones each time, so that demos do not find each other busy.
fn two_people() -> Result<[Person; 2]> {
    let mut rng = rand::rng();
    let given: Vec<&&str> = GIVEN.sample(&mut rng, 2).collect();
    let family: Vec<&&str> = FAMILY.sample(&mut rng, 2).collect();
    let person = |n: usize| {
        let (given, family) = (given[n], family[n]);
        let short = format!("{:08x}", rand::random::<u32>());
        let user = UserId::new(format!("{}-{short}", given.to_ascii_lowercase()))?;
        anyhow::Ok(Person { user, handle: Handle::from_bits(rand::random()), name: format!("{given} {family}") })
    };
    Ok([person(0)?, person(1)?])
}
