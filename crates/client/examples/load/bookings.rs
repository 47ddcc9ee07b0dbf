//! Bookings that are open now, and the tokens of their people.

use crate::AT_ONCE;
use anyhow::{Context, Result, ensure};
use bellwire_signaling::BookingId;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Two people and their booking.
pub struct Pair {
    pub booking: BookingId,
    pub client: String,
    pub provider: String,
}

/// Makes bookings that are open now, and the tokens of their people.
pub async fn pairs(address: &str, key: &str, count: usize) -> Result<Vec<Pair>> {
    let (address, key) = (Arc::<str>::from(address), Arc::<str>::from(key));
    let starts_at = time::OffsetDateTime::from(SystemTime::now())
        .replace_nanosecond(0)?
        .format(&time::format_description::well_known::Rfc3339)?;
    let mut making = JoinSet::new();
    let mut made = Vec::with_capacity(count);
    for n in 0..count {
        if making.len() >= AT_ONCE {
            made.push(making.join_next().await.context("no booking")???);
        }
        let (address, key, starts_at) = (address.clone(), key.clone(), starts_at.clone());
        making.spawn(async move { pair(&address, &key, &starts_at, n).await });
    }
    while let Some(pair) = making.join_next().await {
        made.push(pair??);
    }
    Ok(made)
}

async fn pair(address: &str, key: &str, starts_at: &str, n: usize) -> Result<Pair> {
    let person = |role: &str| json!({ "id": format!("{role}-{n}"), "name": format!("{role} {n}") });
    let new = json!({
        "client": person("client"), "provider": person("provider"), "starts_at": starts_at, "length_minutes": 60,
        "topic": "load"
    });
    let booking = post(address, key, "/v1/bookings", &new).await?;
    let id = booking["id"].as_str().context("a booking without an id")?;
    let links = post(address, key, &format!("/v1/bookings/{id}/links"), &json!({})).await?;
    let token = |role: &str| -> Result<String> {
        let link = url::Url::parse(links[role]["link"].as_str().context("no link")?)?;
        let token = link.query_pairs().find(|(name, _)| name == "token").context("a link without a token")?;
        Ok(token.1.into_owned())
    };
    Ok(Pair { booking: BookingId::new(id)?, client: token("client")?, provider: token("provider")? })
}

/// One request on a connection of its own (RFC 9112): enough for a server that is ours and near.
async fn post(address: &str, key: &str, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nX-Operator-Key: {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    ensure!(head.starts_with("HTTP/1.1 20"), "POST {path}: {}", head.lines().next().unwrap_or_default());
    Ok(serde_json::from_str(body)?)
}
