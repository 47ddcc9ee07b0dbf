//! Everybody at once: sockets lost together, and signed in again as the server lets them.

use crate::bookings::pairs;
use crate::peer::{Attempt, Peer};
use crate::{AT_ONCE, next_line, say};
use anyhow::{Context, Result, bail};
use bellwire_signaling::{Command, ServerFrame};
use rand::RngExt;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

/// After a connection that did not come about: the app's own first pauses, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Between two commands of the one who stayed.
const PACE: Duration = Duration::from_millis(20);

struct Back {
    /// From the start of the storm.
    in_after: Duration,
    /// When it was first told to come again.
    told_at: Option<Duration>,
    refused: u32,
    unconnected: u32,
}

pub async fn run(address: &str, key: &str, people: usize) -> Result<()> {
    let pairs = pairs(address, key, people.div_ceil(2) + 1).await?;
    say("booked")?;
    next_line().await?;
    let mut tokens: Vec<String> = pairs.into_iter().flat_map(|pair| [pair.client, pair.provider]).collect();
    let stays = Peer::sign_in(address, &tokens.pop().context("nobody stays")?).await?;
    tokens.truncate(people);
    let (mut before, mut peers) = (JoinSet::new(), Vec::new());
    for token in &tokens {
        if before.len() >= AT_ONCE {
            peers.push(before.join_next().await.context("nobody signs in")???);
        }
        let (address, token) = (address.to_owned(), token.clone());
        before.spawn(async move { Peer::sign_in(&address, &token).await });
    }
    while let Some(peer) = before.join_next().await {
        peers.push(peer??);
    }
    say("ready")?;
    next_line().await?;
    let (over, is_over) = watch::channel(false);
    let neighbour = tokio::spawn(stay(stays, is_over));
    drop(peers);
    let gate = Arc::new(Barrier::new(tokens.len() + 1));
    let mut storm = JoinSet::new();
    for token in tokens {
        let (address, gate) = (address.to_owned(), gate.clone());
        storm.spawn(async move {
            gate.wait().await;
            come_back(&address, &token).await
        });
    }
    gate.wait().await;
    let (mut all, mut held) = (Vec::new(), Vec::new());
    while let Some(back) = storm.join_next().await {
        let (back, peer) = back??;
        all.push(back);
        held.push(peer);
    }
    over.send(true)?;
    let mut waits = neighbour.await??;
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    all.sort_by_key(|back| back.told_at);
    let told: Vec<&Back> = all.iter().filter(|back| back.told_at.is_some()).collect();
    let inverted = told.windows(2).filter(|pair| pair[0].in_after > pair[1].in_after + Duration::from_secs(1)).count();
    let result = json!({
        "people": all.len(),
        "seconds": all.iter().map(|back| back.in_after).max().unwrap_or_default().as_secs_f64(),
        "refused": all.iter().map(|back| back.refused).sum::<u32>(),
        "refused_most": all.iter().map(|back| back.refused).max(),
        "unconnected": all.iter().map(|back| back.unconnected).sum::<u32>(),
        "out_of_order": inverted,
        "neighbour_median_ms": at(0.5),
        "neighbour_p99_ms": at(0.99),
    });
    say(&result.to_string())?;
    next_line().await?;
    drop(held);
    Ok(())
}

/// As the app does: comes again when told to, else after growing pauses of random length.
async fn come_back(address: &str, token: &str) -> Result<(Back, Peer)> {
    let began = Instant::now();
    let mut back = Back { in_after: Duration::ZERO, told_at: None, refused: 0, unconnected: 0 };
    let mut ceiling = FIRST_PAUSE;
    loop {
        let told = match Peer::attempt(address, token).await {
            Ok(Attempt::In(peer)) => {
                back.in_after = began.elapsed();
                return Ok((back, *peer));
            }
            Ok(Attempt::Later(wait)) => {
                back.refused += 1;
                back.told_at.get_or_insert(began.elapsed());
                wait
            }
            Err(_) => {
                back.unconnected += 1;
                Duration::ZERO
            }
        };
        let jitter = ceiling.mul_f64(rand::rng().random::<f64>());
        tokio::time::sleep(told + jitter).await;
        ceiling = (ceiling * 2).min(LAST_PAUSE);
    }
}

/// One who is signed in all the time: how long each answer takes.
async fn stay(mut peer: Peer, mut over: watch::Receiver<bool>) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while !*over.borrow_and_update() {
        let began = Instant::now();
        peer.command(Command::Bookings {}).await?;
        loop {
            match peer.next().await? {
                ServerFrame::Ack { .. } => break,
                ServerFrame::Event { .. } => {}
                other => bail!("the one who stayed was told {other:?}"),
            }
        }
        waits.push(began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    Ok(waits)
}
