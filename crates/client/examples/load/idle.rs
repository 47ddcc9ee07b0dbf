//! People who are signed in and do nothing.

use crate::bookings::pairs;
use crate::peer::Peer;
use crate::{AT_ONCE, next_line, say};
use anyhow::{Context, Result};
use futures_util::StreamExt;
use tokio::task::JoinSet;

pub async fn run(address: &str, key: &str, people: usize) -> Result<()> {
    let pairs = pairs(address, key, people.div_ceil(2)).await?;
    say("booked")?;
    next_line().await?;
    let tokens = pairs.into_iter().flat_map(|pair| [pair.client, pair.provider]).take(people);
    let mut held = JoinSet::new();
    let mut signing_in = JoinSet::new();
    for token in tokens {
        if signing_in.len() >= AT_ONCE {
            hold(&mut signing_in, &mut held).await?;
        }
        let address = address.to_owned();
        signing_in.spawn(async move { Peer::sign_in(&address, &token).await });
    }
    while !signing_in.is_empty() {
        hold(&mut signing_in, &mut held).await?;
    }
    say("ready")?;
    // What the server sends (presence, pings) is read until there is no more input.
    next_line().await?;
    Ok(())
}

async fn hold(signing_in: &mut JoinSet<Result<Peer>>, held: &mut JoinSet<()>) -> Result<()> {
    let mut peer = signing_in.join_next().await.context("nobody signs in")???;
    held.spawn(async move { while matches!(peer.socket.next().await, Some(Ok(_))) {} });
    Ok(())
}
