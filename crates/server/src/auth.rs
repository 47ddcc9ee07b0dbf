//! Tokens: who may sign in, and the server's own tokens for join links.
//!
//! One algorithm a key; `exp`, `iss`, `aud` and `sub` are required and `nbf` is checked, with 30 s of leeway. What a token
//! says of a role or a booking is a claim: the store decides (RFC 8725 for the rest). HS256 is known only with `--dev`.

use crate::config::Config;
use crate::data_dir::OwnKey;
use anyhow::{Context, Result, bail};
use bellwire_signaling::{BookingId, RoomId, Token, UnixMs, UserId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The issuer of the server's own tokens, and for whom they are.
pub const OWN_ISSUER: &str = "bellwire";
pub const OWN_AUDIENCE: &str = "bellwire";
/// Whom the server's own tokens for echo peers name. Nobody else's token may.
pub const ECHO_USER: &str = "bellwire.echo";
pub const LEEWAY_SECONDS: u64 = 30;
const OWN_KEY_ID: &str = "bellwire-own";
const LONGEST_NAME: usize = 200;

/// Whom a checked token names, and what it claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub user: UserId,
    pub role: Option<TokenRole>,
    pub name: Option<String>,
    pub scope: Scope,
    pub expires_at: UnixMs,
}

/// What a token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All that its person may do.
    #[default]
    Person,
    /// One booking, and nothing else.
    Booking(BookingId),
    /// One room, and nothing else.
    Room(RoomId),
    /// Answering checks, and nothing else: it is nobody's party.
    Echo,
}

impl Scope {
    pub fn admits_booking(&self, booking: &BookingId) -> bool {
        match self {
            Self::Person => true,
            Self::Booking(only) => only == booking,
            Self::Room(_) | Self::Echo => false,
        }
    }

    pub fn admits_room(&self, room: &RoomId) -> bool {
        match self {
            Self::Person => true,
            Self::Booking(_) | Self::Echo => false,
            Self::Room(only) => only == room,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    Client,
    Provider,
    Operator,
}

/// What the server writes into a token of its own.
#[derive(Clone, Debug)]
pub struct Grant {
    pub user: UserId,
    pub role: TokenRole,
    pub name: Option<String>,
    pub scope: Scope,
    pub expires_at: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadToken {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    /// One answer for all other faults: a forger learns nothing from it.
    #[error("the token is not accepted")]
    Refused,
}

pub struct Keyring {
    keys: Vec<Key>,
    own: EncodingKey,
    own_algorithm: Algorithm,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: serde_json::Value,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<TokenRole>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// As the tokens of older systems call the name.
    #[serde(default, skip_serializing)]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    booking: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// Only in the server's own tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    echo: bool,
}

impl Keyring {
    /// The keys of a server with these settings.
    pub fn new(config: &Config, own: &OwnKey) -> Result<Self> {
        let mut ring = Self::own_only(own)?;
        if let Some(text) = config.jwks()? {
            let issuer = config.issuer.as_deref().context("`jwks` needs `issuer`")?;
            let set: JwkSet = serde_json::from_str(&text).context("`jwks` is no JSON Web Key Set")?;
            for jwk in &set.keys {
                ring.keys.push(foreign_key(jwk, issuer, &config.audience)?);
            }
        }
        Ok(ring)
    }

    /// Only the data directory's own key: enough to make tokens.
    pub fn own_only(own: &OwnKey) -> Result<Self> {
        let (algorithm, encoding, decoding) = match own {
            OwnKey::Dev(secret) => {
                let bytes = secret.reveal().as_bytes();
                (Algorithm::HS256, EncodingKey::from_secret(bytes), DecodingKey::from_secret(bytes))
            }
            OwnKey::Signing(seed) => {
                let encoding = EncodingKey::from_ed_der(&ed25519_pkcs8(seed));
                let jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA)?;
                let decoding = DecodingKey::from_jwk(&jwk)?;
                (Algorithm::EdDSA, encoding, decoding)
            }
        };
        let key = Key {
            id: Some(OWN_KEY_ID.to_owned()),
            algorithm,
            key: decoding,
            validation: validation(algorithm, OWN_ISSUER, OWN_AUDIENCE),
        };
        Ok(Self { keys: vec![key], own: encoding, own_algorithm: algorithm })
    }

    pub fn check(&self, token: &str) -> Result<Identity, BadToken> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken::Refused)?;
        let named = |key: &&Key| header.kid.is_none() || header.kid == key.id;
        let mut fault = BadToken::Refused;
        for key in self.keys.iter().filter(|key| key.algorithm == header.alg).filter(named) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation) {
                Ok(data) => return identity(data.claims),
                // Both are said only after the signature was found good.
                Err(e) => match e.kind() {
                    ErrorKind::ExpiredSignature => fault = BadToken::Expired,
                    ErrorKind::ImmatureSignature => fault = BadToken::NotYetValid,
                    _ => {}
                },
            }
        }
        Err(fault)
    }

    pub fn grant(&self, grant: &Grant, now: UnixMs) -> Result<Token> {
        let claims = Claims {
            sub: grant.user.to_string(),
            iss: OWN_ISSUER.into(),
            aud: OWN_AUDIENCE.into(),
            exp: grant.expires_at.0 / 1_000,
            iat: Some(now.0 / 1_000),
            role: Some(grant.role),
            name: grant.name.clone(),
            username: None,
            booking: match &grant.scope {
                Scope::Booking(booking) => Some(booking.to_string()),
                Scope::Person | Scope::Room(_) | Scope::Echo => None,
            },
            room: match &grant.scope {
                Scope::Room(room) => Some(room.to_string()),
                Scope::Person | Scope::Booking(_) | Scope::Echo => None,
            },
            echo: grant.scope == Scope::Echo,
        };
        let header = Header { kid: Some(OWN_KEY_ID.into()), ..Header::new(self.own_algorithm) };
        Ok(Token::new(jsonwebtoken::encode(&header, &claims, &self.own)?)?)
    }
}

fn identity(claims: Claims) -> Result<Identity, BadToken> {
    let name = claims.name.or(claims.username).map(|name| name.trim().to_owned());
    if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME || name.chars().any(char::is_control)) {
        return Err(BadToken::Refused);
    }
    let echo = claims.echo || claims.sub == ECHO_USER;
    if echo && (claims.iss != OWN_ISSUER || !claims.echo || claims.sub != ECHO_USER) {
        return Err(BadToken::Refused);
    }
    Ok(Identity {
        user: UserId::new(&claims.sub).map_err(|_| BadToken::Refused)?,
        role: claims.role,
        name: name.filter(|name| !name.is_empty()),
        scope: if echo { Scope::Echo } else { scope(claims.booking, claims.room)? },
        expires_at: UnixMs(claims.exp.saturating_mul(1_000)),
    })
}

fn scope(booking: Option<String>, room: Option<String>) -> Result<Scope, BadToken> {
    match (booking, room) {
        (None, None) => Ok(Scope::Person),
        (Some(booking), None) => BookingId::new(booking).map(Scope::Booking).map_err(|_| BadToken::Refused),
        (None, Some(room)) => RoomId::new(room).map(Scope::Room).map_err(|_| BadToken::Refused),
        (Some(_), Some(_)) => Err(BadToken::Refused),
    }
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY_SECONDS;
    validation
}

fn foreign_key(jwk: &Jwk, issuer: &str, audience: &str) -> Result<Key> {
    let fits = match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::OctetKeyPair(pair), None | Some(KeyAlgorithm::EdDSA)) => {
            (pair.curve == EllipticCurve::Ed25519).then_some(Algorithm::EdDSA)
        }
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256)) => {
            (key.curve == EllipticCurve::P256).then_some(Algorithm::ES256)
        }
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        _ => None,
    };
    let Some(algorithm) = fits else {
        bail!("a key of `jwks` is neither for EdDSA (Ed25519) nor ES256 nor RS256");
    };
    Ok(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(jwk).context("a key of `jwks` cannot be used")?,
        validation: validation(algorithm, issuer, audience),
    })
}

/// RFC 8410, 7: the one form of an Ed25519 private key.
fn ed25519_pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [&HEAD[..], &seed[..]].concat()
}
