//! The real server in a directory of its own, and `bellwire-cli` processes of the two people of a booking, or of those who
//! meet in a room.

// Each test program uses its part of this.
#![allow(dead_code)]

use bellwire_client::{JoinLink, Url};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a loaded machine may take for anything here.
const CAP: Duration = Duration::from_secs(60);

/// Calls want the machine's sound clock: one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

pub struct Stand {
    dir: tempfile::TempDir,
    server: Child,
    pub address: String,
    pub booking: String,
    /// What the processes log, if not what they do by themselves.
    pub log: Option<&'static str>,
    demo: Value,
}

impl Stand {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (server, address) = serve(&dir, "127.0.0.1:0");
        let seeded = Command::new(server_binary())
            .args(["seed-demo", "--json", "--data-dir"])
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        assert!(seeded.status.success(), "seed-demo: {}", String::from_utf8_lossy(&seeded.stderr));
        let demo: Value = serde_json::from_slice(&seeded.stdout).unwrap();
        for person in ["client", "provider"] {
            std::fs::write(dir.path().join(format!("{person}.token")), demo[person]["token"].as_str().unwrap())
                .unwrap();
        }
        let booking = demo["booking"].as_str().unwrap().to_owned();
        Self { dir, server, address, booking, log: None, demo }
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("ws://{}", self.address)).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What no line may hold.
    pub fn secrets(&self) -> Vec<String> {
        let texts = ["client", "provider"].map(|person| &self.demo[person]);
        texts.iter().flat_map(|p| [&p["token"], &p["name"]]).filter_map(Value::as_str).map(String::from).collect()
    }

    /// A room for these people, the first its host. Their tokens are good for it alone.
    pub fn room(&self, people: &[&str]) -> String {
        let listed = people.iter().map(|user| json!({"user": user, "name": user, "host": *user == people[0]}));
        let body = json!({"topic": "A room", "people": listed.collect::<Vec<_>>()});
        let made = self.operator("POST", "/v1/rooms", &body.to_string());
        for link in made["links"].as_array().unwrap() {
            let join = JoinLink::parse(link["link"].as_str().unwrap()).unwrap();
            let file = format!("{}.token", link["user"].as_str().unwrap());
            std::fs::write(self.path(&file), join.token.reveal()).unwrap();
        }
        made["room"].as_str().unwrap().to_owned()
    }

    /// The server's answer to a request of its operator.
    pub fn operator(&self, method: &str, path: &str, body: &str) -> Value {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(CAP)).unwrap();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Operator-Key: {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.demo["operator_key"].as_str().unwrap(),
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Somebody whom the server knows, without a booking.
    pub fn person(&self, name: &str) {
        let made = Command::new(server_binary())
            .args(["token", "--sub", name, "--role", "provider", "--ttl", "1h", "--data-dir"])
            .arg(self.path("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "token: {}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(self.path(&format!("{name}.token")), made.stdout).unwrap();
    }

    /// A process of this person; it speaks silence and records nothing of interest unless told.
    pub fn cli(&self, task: &str, person: &str, more: &[&str], input: Option<&Path>, output: Option<&str>) -> Cli {
        let silence = self.path("silence.wav");
        write_silence(&silence);
        let output = self.path(&output.map_or_else(|| format!("{task}-{person}.wav"), String::from));
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire-cli"));
        command
            .args([task, "--server", &format!("ws://{}", self.address), "--events", "json", "--bind", "127.0.0.1"])
            .arg("--token-file")
            .arg(self.path(&format!("{person}.token")))
            .arg("--input")
            .arg(format!("wav:{}", input.unwrap_or(&silence).display()))
            .arg("--output")
            .arg(format!("wav:{}", output.display()))
            .args(more);
        if let Some(log) = self.log {
            command.env("BELLWIRE_LOG", log);
        }
        Cli::start(format!("{task} of {person}"), command)
    }

    /// As a crash does, or `kill -9`.
    pub fn kill_server(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    pub fn restart_server(&mut self) {
        let (server, address) = serve(&self.dir, &self.address);
        assert_eq!(address, self.address);
        self.server = server;
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn serve(dir: &tempfile::TempDir, listen: &str) -> (Child, String) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("server.log")).unwrap();
    let mut server = Command::new(server_binary())
        .args(["serve", "--dev", "--listen", listen, "--data-dir"])
        .arg(dir.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut first).unwrap();
    match first.trim().strip_prefix("listening on ") {
        Some(address) => (server, address.to_owned()),
        None => {
            let log = std::fs::read_to_string(dir.path().join("server.log")).unwrap_or_default();
            panic!("the server did not come up: {first}{log}");
        }
    }
}

fn server_binary() -> PathBuf {
    let beside = || {
        let this = std::env::current_exe().unwrap();
        this.parent().and_then(Path::parent).unwrap().join(format!("bellwire-server{}", std::env::consts::EXE_SUFFIX))
    };
    let path = std::env::var_os("BELLWIRE_SERVER").map_or_else(beside, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p bellwire-server` first, or name one in BELLWIRE_SERVER",
        path.display()
    );
    path
}

fn write_silence(path: &Path) {
    let header: [u32; 11] = [
        u32::from_le_bytes(*b"RIFF"),
        36 + 9_600,
        u32::from_le_bytes(*b"WAVE"),
        u32::from_le_bytes(*b"fmt "),
        16,
        0x0001_0001,
        48_000,
        96_000,
        0x0010_0002,
        u32::from_le_bytes(*b"data"),
        9_600,
    ];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(bytes.len() + 9_600, 0);
    std::fs::write(path, bytes).unwrap();
}

/// A process, and what it has said so far.
pub struct Cli {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    stderr: JoinHandle<String>,
    heard: Vec<Value>,
    text: String,
}

/// A process that has ended.
pub struct Run {
    pub status: Option<i32>,
    pub events: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    fn start(name: String, mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut pipe = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        });
        let input = child.stdin.take().unwrap();
        Self { name, child, input, lines, stderr, heard: Vec::new(), text: String::new() }
    }

    /// The next event that fits.
    pub fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + CAP;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{} never said {what}; it said:\n{}", self.name, self.text);
            };
            let event = self.take(&line);
            if fits(&event) {
                return event;
            }
        }
    }

    /// The first event of all that fits, whether it has come already or is still to come.
    pub fn met(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        match self.heard.iter().find(|event| fits(event)) {
            Some(event) => event.clone(),
            None => self.wait(what, fits),
        }
    }

    fn take(&mut self, line: &str) -> Value {
        self.text.push_str(line);
        self.text.push('\n');
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["at_ms"].is_u64() && event["event"].is_string(), "{line}");
        self.heard.push(event.clone());
        event
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    #[cfg(unix)]
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Run {
        let deadline = Instant::now() + CAP;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => drop(self.take(&line)),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("{} did not end; it said:\n{}", self.name, self.text)
                }
            }
        }
        let status = self.child.wait().unwrap().code();
        let stderr = std::mem::replace(&mut self.stderr, std::thread::spawn(String::new)).join().unwrap();
        print!("--- {}, status {status:?}\n{}{stderr}", self.name, self.text);
        Run { status, events: std::mem::take(&mut self.heard), stdout: std::mem::take(&mut self.text), stderr }
    }
}

impl Drop for Cli {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
