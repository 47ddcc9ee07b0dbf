//! What the tests of the older apps share: people with tokens, what they say, and what the server counts.

use super::{Client, Options};
use crate::common::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every library and transport that an older app may have.
pub fn kinds() -> [Options; 4] {
    [Options::new().websocket(), Options::new().polling(), Options::before().websocket(), Options::before().polling()]
}

pub fn auth(server: &Server, user: &str) -> Value {
    json!({ "token": server.token(user, "client", "1h").reveal() })
}

pub async fn app(server: &Server, user: &str, options: Options) -> Client {
    Client::connect(&server.address, options.auth(auth(server, user))).await
}

/// A user id that nobody had before.
pub fn someone() -> String {
    format!("user-{:x}", rand::random::<u64>())
}

/// The time after which one person may search again.
pub async fn next_second() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

pub fn offer(mark: &str) -> Value {
    json!({ "type": "offer", "sdp": format!("v=0 {mark}") })
}

pub fn answer(mark: &str) -> Value {
    json!({ "type": "answer", "sdp": format!("v=0 {mark}") })
}

pub fn candidate(n: usize) -> Value {
    let line = format!("candidate:{n} 1 udp 2130706431 192.0.2.7 {} typ host", 1_024 + n);
    json!({ "candidate": line, "sdpMid": "0", "sdpMLineIndex": 0 })
}

/// What /metrics says of this series; 0 if it is not there yet.
pub async fn metric(server: &Server, name: &str) -> f64 {
    let text = reqwest::get(server.url("/metrics")).await.expect("an answer").text().await.expect("text");
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().expect("a number"))
}

/// Waits until the series is this.
pub async fn metric_is(server: &Server, name: &str, wanted: f64) {
    let began = Instant::now();
    loop {
        let value = metric(server, name).await;
        if value == wanted {
            return;
        }
        assert!(began.elapsed() < crate::common::CAP, "{name} is {value}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
