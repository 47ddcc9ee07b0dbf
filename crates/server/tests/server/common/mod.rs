//! The real server, and devices that talk to it over real sockets.

pub mod call;
pub mod party;
pub mod rest;

pub use party::Party;

use bellwire_signaling::{BookingId, Token, UserId};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes this long, whatever else the machine does.
pub const CAP: Duration = Duration::from_secs(60);

/// A data directory, a server on it, and its log. The server ends with this value.
pub struct Server {
    pub address: String,
    pub dir: Arc<TempDir>,
    child: Child,
    log: PathBuf,
    args: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Demo {
    pub booking: BookingId,
    pub client: DemoPerson,
    pub provider: DemoPerson,
    pub operator_key: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct DemoPerson {
    pub id: UserId,
    pub name: String,
    pub token: Token,
    pub link: String,
}

impl DemoPerson {
    /// The parameters of the join link: where the server is, and the token for this booking alone.
    pub fn link_parts(&self) -> (String, Token) {
        let link = url::Url::parse(&self.link).expect("a link");
        let part = |name: &str| {
            let found = link.query_pairs().find(|(key, _)| key == name);
            found.unwrap_or_else(|| panic!("{name} in the link")).1.into_owned()
        };
        (part("server"), Token::new(part("token")).expect("a token"))
    }
}

impl Server {
    pub fn dev() -> Self {
        Self::start(&["--dev"])
    }

    pub fn start(args: &[&str]) -> Self {
        Self::start_in(Arc::new(data_dir()), args)
    }

    pub fn start_in(dir: Arc<TempDir>, args: &[&str]) -> Self {
        let log = dir.path().join("server.log");
        let stderr = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut child = program()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("its stdout");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let Some(address) = line.trim().strip_prefix("listening on ").map(str::to_owned) else {
            panic!("the server said {line:?}, and in its log: {}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        Self { address, dir, child, log, args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends the process at once, as a crash would, and starts another on the same data.
    pub fn crash_and_restart(mut self) -> Self {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("it ends");
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Self::start_in(self.dir.clone(), &args)
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("`kill` is there").success());
    }

    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(began.elapsed() < CAP, "the server does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    pub fn seed(&self) -> Demo {
        seed(&self.data())
    }

    pub fn token(&self, sub: &str, role: &str, ttl: &str) -> Token {
        let data = self.data();
        let output = run(program().args(["token", "--sub", sub, "--role", role, "--ttl", ttl, "--data-dir"]).arg(data));
        Token::new(String::from_utf8(output.stdout).expect("text").trim()).expect("a token")
    }

    pub fn operator_key(&self) -> String {
        std::fs::read_to_string(self.data().join("operator.key")).expect("the operator's key")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn data_dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BELLWIRE_")) {
        command.env_remove(name);
    }
    // No echo peer of its own accord, which would be one more person signed in: tests of checks play theirs.
    command.env("BELLWIRE_ECHO", "false");
    command
}

pub fn seed(data: &Path) -> Demo {
    let output = run(program().args(["seed-demo", "--json", "--data-dir"]).arg(data));
    serde_json::from_slice(&output.stdout).expect("what seed-demo prints")
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
