//! `bellwire-echo`: answers checks before a call.
//!
//! It signs in to a server with a token that is good for nothing else, answers each offer that the server hands it, and
//! sends every packet back. No device is opened, nothing is decoded, nothing is kept. `bellwire-server --echo` starts one;
//! others can run elsewhere, with a token of `bellwire-server echo-token`.

mod desk;

use anyhow::{Context, Result, bail};
use bellwire_client::Url;
use bellwire_signaling::{DeviceId, Token};
use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What is logged where `BELLWIRE_LOG` says nothing: the WebRTC crates warn of each step of an ordinary connection's end.
const LOGGED: &str =
    "info,webrtc=off,webrtc_ice=off,webrtc_sctp=off,webrtc_dtls=off,dtls=off,turn=off,bellwire_client=warn";

/// Answers the checks that apps make before a call.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Where the server is: ws://HOST:PORT or wss://HOST.
    #[arg(long, value_name = "URL")]
    server: Url,
    /// A file with the token. Without it the token is the first line of the standard input, and the end of that ends
    /// this program.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Take part by this address alone.
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("BELLWIRE_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(run(cli));
    // A read of the standard input cannot be called back.
    runtime.shutdown_background();
    done
}

async fn run(cli: Cli) -> Result<()> {
    let stop = CancellationToken::new();
    let token = match &cli.token_file {
        Some(file) => {
            tokio::fs::read_to_string(file).await.with_context(|| format!("{} cannot be read", file.display()))?
        }
        None => from_input(stop.clone()).await?,
    };
    let token = Token::new(token.trim()).context("this is no token")?;
    let device = DeviceId::from_bits(rand::random());
    tokio::select! {
        done = desk::serve(cli.server, token, device, cli.bind) => match done {
            Some(why) => bail!("the server does not let this peer in: {why}"),
            None => Ok(()),
        },
        () = stop.cancelled() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// The first line; `stop` is cancelled at the end of the input.
async fn from_input(stop: CancellationToken) -> Result<String> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut token = String::new();
    input.read_line(&mut token).await.context("the standard input cannot be read")?;
    tokio::spawn(async move {
        let mut line = String::new();
        while matches!(input.read_line(&mut line).await, Ok(1..)) {
            line.clear();
        }
        stop.cancel();
    });
    Ok(token)
}
