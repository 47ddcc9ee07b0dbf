//! Which tokens are accepted: in development, in production, and while a socket lives.

use crate::common::call::{connect, hang_up};
use crate::common::{Demo, Party, Server, data_dir};
use bellwire_server::clock;
use bellwire_signaling::*;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Claims that are accepted, changed by `change`: a null takes a claim away.
fn claims(sub: &str, change: Value) -> Value {
    let now = clock::now().0 / 1_000;
    let mut claims = json!({"sub": sub, "iss": "bellwire", "aud": "bellwire", "exp": now + 600, "role": "client"});
    for (name, value) in change.as_object().expect("an object") {
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(name),
            value => claims.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> Token {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    Token::new(encode(&header, claims, key).expect("a token")).expect("a token")
}

fn dev_key(server: &Server) -> EncodingKey {
    EncodingKey::from_secret(&std::fs::read(server.data().join("dev.key")).expect("the development key"))
}

/// A good token of a development server, made here.
pub fn dev_token(server: &Server, sub: &str) -> Token {
    signed(Algorithm::HS256, None, &dev_key(server), &claims(sub, json!({})))
}

fn unsigned(claims: &Value) -> Token {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    Token::new(format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))).expect("a token")
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * n)) as usize & 63]));
        }
    }
    text
}

async fn check(server: &Server, what: &str, token: &Token, expected: Result<(), ErrorCode>) {
    match (Party::hello(server, token, "d", None).await, expected) {
        (Ok(_), Ok(())) => {}
        (Err(closed), Err(code)) => {
            let error = closed.error.unwrap_or_else(|| panic!("{what}: closed without a word"));
            assert_eq!(error.code, code, "{what}");
            let close = if code == ErrorCode::TokenExpired { 4004 } else { 4003 };
            assert_eq!(closed.code, Some(close), "{what}");
        }
        (Ok(_), Err(code)) => panic!("{what} was accepted instead of {code:?}"),
        (Err(closed), Ok(())) => panic!("{what} was refused: {closed:?}"),
    }
}

#[tokio::test]
async fn development_tokens_are_checked_claim_by_claim() {
    use ErrorCode::{NotFound, TokenExpired, TokenNotYetValid, Unauthenticated};
    let server = Server::dev();
    let Demo { client, booking, .. } = server.seed();
    let foreign = server.seed().booking;
    let now = clock::now().0 / 1_000;
    let key = dev_key(&server);
    for (what, change, expected) in [
        ("a good token", json!({}), Ok(())),
        ("a good token of a list's audience", json!({"aud": ["other", "bellwire"]}), Ok(())),
        ("expired within the leeway", json!({"exp": now - 20}), Ok(())),
        ("expired", json!({"exp": now - 60}), Err(TokenExpired)),
        ("not valid yet", json!({"nbf": now + 120}), Err(TokenNotYetValid)),
        ("valid soon, within the leeway", json!({"nbf": now + 10}), Ok(())),
        ("wrong audience", json!({"aud": "others"}), Err(Unauthenticated)),
        ("wrong issuer", json!({"iss": "mallory"}), Err(Unauthenticated)),
        ("no exp", json!({"exp": null}), Err(Unauthenticated)),
        ("no iss", json!({"iss": null}), Err(Unauthenticated)),
        ("no aud", json!({"aud": null}), Err(Unauthenticated)),
        ("no sub", json!({"sub": null}), Err(Unauthenticated)),
        ("empty sub", json!({"sub": ""}), Err(Unauthenticated)),
        ("a sub that is no id", json!({"sub": "a b"}), Err(Unauthenticated)),
        ("unknown role", json!({"role": "king"}), Err(Unauthenticated)),
        ("a name of two lines", json!({"name": "a\nb"}), Err(Unauthenticated)),
        ("the own booking", json!({"booking": booking}), Ok(())),
        ("somebody else's booking", json!({"booking": foreign}), Err(NotFound)),
        ("a booking that does not exist", json!({"booking": "b0"}), Err(NotFound)),
        ("a booking that is no id", json!({"booking": "*"}), Err(Unauthenticated)),
    ] {
        let token = signed(Algorithm::HS256, None, &key, &claims(client.id.as_str(), change));
        check(&server, what, &token, expected).await;
    }
    let good = claims(client.id.as_str(), json!({}));
    let other = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    check(&server, "another key", &signed(Algorithm::HS256, None, &other, &good), Err(Unauthenticated)).await;
    check(&server, "alg none", &unsigned(&good), Err(Unauthenticated)).await;
    check(&server, "another algorithm", &signed(Algorithm::HS512, None, &key, &good), Err(Unauthenticated)).await;
    let unknown = signed(Algorithm::HS256, Some("unknown"), &key, &good);
    check(&server, "an unknown key id", &unknown, Err(Unauthenticated)).await;
    for text in ["x", "a.b.c", "..", "eyJhbGciOiJIUzI1NiJ9.e30."] {
        check(&server, text, &Token::new(text).expect("a token"), Err(Unauthenticated)).await;
    }
}

#[tokio::test]
async fn production_accepts_its_key_set_and_no_shared_secrets() {
    const ISSUER: &str = "https://login.example";
    let ed = EncodingKey::from_ed_der(&ed25519([7; 32]));
    let ec = EncodingKey::from_ec_pem(include_bytes!("keys/ec.pem")).expect("a key");
    let rsa = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem")).expect("a key");
    let keys = [(&ed, Algorithm::EdDSA, "ed"), (&ec, Algorithm::ES256, "ec"), (&rsa, Algorithm::RS256, "rsa")];
    let jwks = JwkSet {
        keys: keys
            .iter()
            .map(|(key, algorithm, id)| {
                let mut jwk = Jwk::from_encoding_key(key, *algorithm).expect("a public key");
                jwk.common.key_id = Some((*id).to_owned());
                jwk
            })
            .collect(),
    };
    let dir = Arc::new(data_dir());
    let set = serde_json::to_string(&jwks).expect("a key set");
    std::fs::write(dir.path().join("jwks.json"), &set).expect("a file");
    let config = dir.path().join("bellwire.toml");
    let text = format!(
        "issuer = \"{ISSUER}\"\naudience = \"calls\"\njwks_file = {:?}\n",
        dir.path().join("jwks.json").display().to_string()
    );
    std::fs::write(&config, text).expect("a file");
    // Made before the server runs, and so with a development key.
    let demo = crate::common::seed(&dir.path().join("data"));
    let server = Server::start_in(dir, &["--config", config.to_str().expect("a path")]);
    let good = claims(demo.client.id.as_str(), json!({"iss": ISSUER, "aud": "calls"}));
    for (key, algorithm, id) in keys {
        check(&server, id, &signed(algorithm, Some(id), key, &good), Ok(())).await;
        check(&server, "no key id", &signed(algorithm, None, key, &good), Ok(())).await;
        let own = claims(demo.client.id.as_str(), json!({}));
        check(&server, "the server's issuer", &signed(algorithm, Some(id), key, &own), Err(ErrorCode::Unauthenticated))
            .await;
        for other in ["ed", "ec", "rsa"].into_iter().filter(|other| *other != id) {
            let crossed = signed(algorithm, Some(other), key, &good);
            check(&server, "another key's id", &crossed, Err(ErrorCode::Unauthenticated)).await;
        }
    }
    let n = jwks.keys[2].clone();
    for secret in [set.clone(), serde_json::to_string(&n).expect("a key"), rsa_public_pem()] {
        let shared = EncodingKey::from_secret(secret.as_bytes());
        for id in [None, Some("rsa")] {
            let token = signed(Algorithm::HS256, id, &shared, &good);
            check(&server, "HS256 with a public key", &token, Err(ErrorCode::Unauthenticated)).await;
        }
    }
    check(&server, "a development token", &demo.client.token, Err(ErrorCode::Unauthenticated)).await;
    check(&server, "alg none", &unsigned(&good), Err(ErrorCode::Unauthenticated)).await;
    // While it runs in production, what is made beside it is signed with the server's own Ed25519 key.
    let demo = server.seed();
    check(&server, "the server's own token", &demo.client.token, Ok(())).await;
    check(&server, "a join link", &demo.client.link_parts().1, Ok(())).await;
}

#[tokio::test]
async fn socket_ends_with_its_token_and_not_before_its_call() {
    let server = Server::dev();
    let demo = server.seed();
    let key = dev_key(&server);
    let soon = clock::now().0 / 1_000 - 20;
    let token = |sub: &UserId| signed(Algorithm::HS256, None, &key, &claims(sub.as_str(), json!({"exp": soon})));
    let mut idle = Party::sign_in(&server, &token(&demo.client.id), "idle").await;
    let mut client = Party::sign_in(&server, &token(&demo.client.id), "c").await;
    let mut provider = Party::sign_in(&server, &demo.provider.token, "p").await;
    let call = connect(&mut client, &mut provider, &demo.booking).await;
    // 30 s of leeway from `soon`, and some more: the call must outlive it.
    while clock::now().0 / 1_000 < soon + 34 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.bookings().await;
    }
    let ending = hang_up(&mut client, &mut provider, &call).await;
    assert_eq!(ending.reason, EndReason::HungUp);
    for party in [&mut client, &mut idle] {
        let closed = party.closed().await;
        assert_eq!((closed.error.map(|e| e.code), closed.code), (Some(ErrorCode::TokenExpired), Some(4004)));
    }
    provider.bookings().await;
}

fn ed25519(seed: [u8; 32]) -> Vec<u8> {
    let head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [&head[..], &seed[..]].concat()
}

/// What an attacker would take for a shared secret.
fn rsa_public_pem() -> String {
    String::from_utf8_lossy(include_bytes!("keys/rsa_public.pem")).into_owned()
}
