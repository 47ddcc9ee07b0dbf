//! The echo peer as a child process: started from beside this program, restarted when it dies, ended with the server.
//!
//! Its token goes through its standard input, which stays open: when this process is gone, however it ended, the child
//! reads the end of it and ends as well.

use crate::app::App;
use crate::auth::{ECHO_USER, Grant, Keyring, Scope, TokenRole};
use crate::clock;
use anyhow::{Context, Result};
use bellwire_signaling::{Token, UserId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

const PROGRAM: &str = "bellwire-echo";
/// A child's token; with it ends the child's session, and a new child gets a new one.
const TOKEN_MS: u64 = 24 * 60 * 60_000;
/// Between the end of a child and the next: doubled for each that did not live for long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LONG_LIFE: Duration = Duration::from_secs(60);
/// A child that does not end by itself is killed.
const ENDS: Duration = Duration::from_secs(2);

/// The program, if it stands beside this one.
pub fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let beside = own.with_file_name(format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX));
    beside.is_file().then_some(beside)
}

/// A token for an echo peer.
pub fn token(keyring: &Keyring) -> Result<Token> {
    let now = clock::now();
    let grant = Grant {
        user: UserId::new(ECHO_USER)?,
        role: TokenRole::Operator,
        name: None,
        scope: Scope::Echo,
        expires_at: now.plus(TOKEN_MS),
    };
    keyring.grant(&grant, now)
}

/// Keeps a child running until told to stop.
pub async fn keep(app: Arc<App>, listens: SocketAddr, program: PathBuf, stop: CancellationToken) {
    let mut wait = FIRST_WAIT;
    while !stop.is_cancelled() {
        let began = Instant::now();
        match start(&app, listens, &program).await {
            Ok((mut child, input)) => {
                tokio::select! {
                    status = child.wait() => match status {
                        Ok(status) => warn!(%status, "the echo peer has ended"),
                        Err(e) => warn!(error = %e, "the echo peer is lost"),
                    },
                    () = stop.cancelled() => return end(child, input).await,
                }
                drop(input);
            }
            Err(e) => warn!(error = %e, "the echo peer could not be started"),
        }
        wait = if began.elapsed() >= LONG_LIFE { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
}

async fn start(app: &App, listens: SocketAddr, program: &Path) -> Result<(Child, ChildStdin)> {
    let token = token(&app.keyring)?;
    let mut command = Command::new(program);
    // This server's settings, secrets among them, are none of the child's business.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("BELLWIRE_") && name != "BELLWIRE_LOG") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .arg("--server")
        .arg(format!("ws://{}", reachable(listens)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} does not start", program.display()))?;
    let mut stdin = child.stdin.take().context("the child has no input")?;
    stdin.write_all(format!("{}\n", token.reveal()).as_bytes()).await?;
    stdin.flush().await?;
    info!(pid = child.id(), "the echo peer has been started");
    // The input is held apart from the child, whose `wait` would close it: it stays open for as long as the child is wanted.
    Ok((child, stdin))
}

async fn end(mut child: Child, input: ChildStdin) {
    drop(input);
    if tokio::time::timeout(ENDS, child.wait()).await.is_err() {
        debug!("the echo peer is killed");
        child.kill().await.ok();
    }
}

/// From this machine.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}
