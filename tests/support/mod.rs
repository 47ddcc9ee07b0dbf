//! What the whole-system tests share: a place for their files, speech, pages over HTTP, and patience.

#![allow(dead_code)] // Each test program uses its own part of this.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xtask::speech::{Voice, speak};

/// For whatever depends on another process: long enough for a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A recording holds the speech that it is compared with from here on; other speech stays below 0.35.
pub const HEARD: f32 = 0.5;

/// An empty folder for the files of one test, kept afterwards.
pub fn folder(test: &str) -> Result<PathBuf> {
    let folder = xtask::target().join("tests").join(test);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What each of the two says.
pub struct Speeches {
    pub client: PathBuf,
    pub provider: PathBuf,
}

impl Speeches {
    pub fn make(folder: &Path) -> Result<Self> {
        let speeches = Self { client: folder.join("client-says.wav"), provider: folder.join("provider-says.wav") };
        speak(Voice::Client, &speeches.client)?;
        speak(Voice::Provider, &speeches.provider)?;
        Ok(speeches)
    }
}

/// Fails unless the recording holds the speech.
pub fn assert_heard(who: &str, speech: &Path, recording: &Path) -> Result<()> {
    let found = bellwire_client::recording::best_correlation(speech, recording)?;
    println!("{who}: correlation {:.2}, {} ms of it recognised", found.correlation, found.heard_ms);
    if found.correlation < HEARD {
        bail!("{who}: correlation {:.2} of {} in {}", found.correlation, speech.display(), recording.display());
    }
    Ok(())
}

/// Waits, without a word in between, until `look` sees something.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    loop {
        let seen = look().await;
        match seen {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) if begun.elapsed() > PATIENCE => bail!("{what}: not within {} s", PATIENCE.as_secs()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error).with_context(|| what.to_owned()),
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Makes a room for these people, the first of whom is its host; gives the link of each.
pub fn make_room(server: &str, operator_key: &str, topic: &str, people: &[&str]) -> Result<Vec<String>> {
    let listed: Vec<Value> = (0..).zip(people).map(|(at, name)| guest(at, name)).collect();
    let body = json!({ "topic": topic, "people": listed }).to_string();
    let mut socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(
        socket,
        "POST /v1/rooms HTTP/1.1\r\nHost: {server}\r\nX-Operator-Key: {operator_key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let made = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let made: Value = serde_json::from_str(made).with_context(|| format!("no room was made: {answer}"))?;
    let links = made["links"].as_array().with_context(|| format!("a room without links: {made}"))?;
    links.iter().map(|link| Ok(link["link"].as_str().context("no link")?.to_owned())).collect()
}

fn guest(at: usize, name: &str) -> Value {
    json!({ "user": format!("guest-{at}"), "name": name, "host": at == 0 })
}

/// Serves the files of a folder on a free port of this machine, as long as the test runs.
pub fn serve(folder: &Path) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &folder);
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(mut stream: TcpStream, folder: &Path) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let name = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let name = if name.is_empty() { "index.html" } else { name };
    let kind = if name.ends_with(".js") { "text/javascript" } else { "text/html" };
    match std::fs::read(folder.join(name)) {
        Ok(body) if !name.contains("..") => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len())?;
            stream.write_all(b"Connection: close\r\n\r\n")?;
            stream.write_all(&body)?;
        }
        Ok(_) | Err(_) => {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?
        }
    }
    Ok(())
}
