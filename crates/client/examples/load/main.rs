//! Load on a server of this machine, for `cargo xtask bench`; it speaks the protocol and nothing else of ours.
//!
//! Each makes its bookings itself, says `booked`, and waits for a line on standard input; signs in, says `ready`, and waits again. It
//! ends with its input.
//! * `load idle ADDRESS OPERATOR-KEY PEOPLE` signs that many people in and holds them.
//! * `load relay ADDRESS OPERATOR-KEY CALLS MESSAGES` brings up calls to the point where candidates may travel, then has both
//!   sides of each send that many messages, and prints `{"relayed","seconds"}`.
//! * `load storm ADDRESS OPERATOR-KEY PEOPLE` has that many people lose their sockets and sign in again all at once, and
//!   says how that went, for them and for one who stayed.

mod bookings;
mod idle;
mod peer;
mod relay;
mod storm;

use anyhow::{Result, bail};
use std::io::Write;
use std::time::Duration;
use tokio::io::AsyncBufReadExt;

/// Requests, and sign-ins, that are under way at once.
const AT_ONCE: usize = 32;
const CAP: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["idle", address, key, people] => idle::run(address, key, people.parse()?).await,
        ["relay", address, key, calls, messages] => relay::run(address, key, calls.parse()?, messages.parse()?).await,
        ["storm", address, key, people] => storm::run(address, key, people.parse()?).await,
        _ => bail!("idle ADDRESS KEY PEOPLE, relay ADDRESS KEY CALLS MESSAGES, or storm ADDRESS KEY PEOPLE"),
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

async fn next_line() -> Result<Option<String>> {
    Ok(tokio::io::BufReader::new(tokio::io::stdin()).lines().next_line().await?)
}
