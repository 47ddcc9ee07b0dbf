//! What stands between two pages: it serves each, and hands what the one says to the other.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xtask::lab::in_namespace;

/// How long a page that wants to hear something is kept waiting before it has to ask again.
const PATIENCE: Duration = Duration::from_secs(1);
/// A page may take as long for a request.
const READ_CAP: Duration = Duration::from_secs(5);
/// The largest body that is read: a description has a few kilobytes.
const BODY: usize = 1 << 20;

pub struct Hub {
    addresses: [SocketAddr; 2],
    shared: Arc<Shared>,
}

struct Shared {
    pages: [String; 2],
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What each is still to hear: a description, and no more in a call.
    for_side: [VecDeque<String>; 2],
    stats: [Value; 2],
    fault: Option<String>,
}

impl Hub {
    /// In these two namespaces.
    pub fn open(namespaces: [&str; 2], pages: [String; 2]) -> Result<Self> {
        let (state, changed, ended) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { pages, state, changed, ended });
        let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 2];
        for side in [0, 1] {
            let listener = in_namespace(namespaces[side], || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
            listener.set_nonblocking(true)?;
            addresses[side] = listener.local_addr()?;
            let shared = shared.clone();
            std::thread::Builder::new().name("hub".into()).spawn(move || serve(&listener, side, &shared))?;
        }
        Ok(Self { addresses, shared })
    }

    pub fn url(&self, side: usize) -> String {
        format!("http://{}/", self.addresses[side])
    }

    pub fn connected(&self) -> bool {
        self.shared.lock().stats.iter().all(|stats| stats["state"] == "connected")
    }

    /// What went wrong in a page.
    pub fn fault(&self) -> Option<String> {
        self.shared.lock().fault.clone()
    }

    pub fn stats(&self) -> [Value; 2] {
        self.shared.lock().stats.clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread for each connection: two pages have a handful.
fn serve(listener: &TcpListener, side: usize, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    // A page that goes away has no use for an error.
                    let _ = talk(&stream, side, &shared);
                });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// One request (RFC 9112), and then the connection is over.
fn talk(stream: &TcpStream, side: usize, shared: &Shared) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(READ_CAP))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).context("no request")?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>()?.min(BODY);
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, kind, answer) = answer(&path, String::from_utf8(body)?, side, shared)?;
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}", answer.len());
    Ok((&*stream).write_all(format!("{head}\r\nConnection: close\r\n\r\n{answer}").as_bytes())?)
}

fn answer(path: &str, body: String, side: usize, shared: &Shared) -> Result<(&'static str, &'static str, String)> {
    const NOTHING: (&str, &str, String) = ("204 No Content", "text/plain", String::new());
    match path {
        "/" => return Ok(("200 OK", "text/html", shared.pages[side].clone())),
        "/say" => shared.lock().for_side[1 - side].push_back(body),
        "/hear" => {
            let waiting = |state: &mut State| state.for_side[side].is_empty();
            let heard = shared.changed.wait_timeout_while(shared.lock(), PATIENCE, waiting);
            let (mut state, _) = heard.unwrap_or_else(PoisonError::into_inner);
            if let Some(said) = state.for_side[side].pop_front() {
                return Ok(("200 OK", "application/json", said));
            }
        }
        "/tell" => {
            let told: Value = serde_json::from_str(&body)?;
            let mut state = shared.lock();
            if let Some(fault) = told["fault"].as_str() {
                state.fault = Some(fault.to_owned());
            }
            state.stats[side] = told["stats"].clone();
        }
        _ => return Ok(("404 Not Found", "text/plain", String::new())),
    }
    shared.changed.notify_all();
    Ok(NOTHING)
}
