//! Child processes that never outlive their value.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// How long a process has to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A command whose process the kernel ends when this one dies, where it can.
#[cfg(not(target_os = "linux"))]
pub fn tethered(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// A command whose process the kernel ends when this one dies.
#[cfg(target_os = "linux")]
pub fn tethered(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// As [`tethered`], in a network namespace of that name.
pub fn tethered_in(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = tethered("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// A running program; dropping it ends it.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// What the program writes goes to `log`.
    pub fn spawn(mut command: Command, name: &str, log: &Path) -> Result<Self> {
        let file = log_file(log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::start(command, name, log)
    }

    /// As [`spawn`](Self::spawn), with the standard output for [`stdout`](Self::stdout).
    pub fn spawn_piped(mut command: Command, name: &str, log: &Path) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(log_file(log)?);
        Self::start(command, name, log)
    }

    /// With what it prints in one file and what it logs in another.
    pub fn spawn_apart(mut command: Command, name: &str, output: &Path, log: &Path) -> Result<Self> {
        command.stdout(log_file(output)?).stderr(log_file(log)?);
        Self::start(command, name, log)
    }

    /// Starts a program that says on its standard output's first line where it can be found.
    pub fn spawn_saying(command: Command, name: &str, log: &Path, cap: Duration) -> Result<(Self, String)> {
        let mut process = Self::spawn_piped(command, name, log)?;
        let Some(stdout) = process.stdout() else { bail!("{name} has no output") };
        let (tell, told) = sync_channel(1);
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = tell.send(line);
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
        match told.recv_timeout(cap) {
            Ok(line) if !line.trim().is_empty() => Ok((process, line.trim().to_owned())),
            Ok(_) => bail!("{name} ended before it said anything:\n{}", tail(log, 20)),
            Err(_) => bail!("{name} said nothing within {} s; see {}", cap.as_secs(), log.display()),
        }
    }

    fn start(mut command: Command, name: &str, log: &Path) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits for the program's own end.
    pub fn wait(&mut self, cap: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > cap {
                bail!("{} still runs after {} s; see {}", self.name, cap.as_secs(), self.log.display());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Stops the program where it is, until it is told to [go on](Self::go_on).
    pub fn pause(&self) -> Result<()> {
        signal(&self.child, Order::Pause)
    }

    pub fn go_on(&self) -> Result<()> {
        signal(&self.child, Order::GoOn)
    }

    /// Ends the program without a warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the program to end, then makes it.
    pub fn end(&mut self) {
        if self.has_ended() {
            return;
        }
        ask_to_end(&self.child);
        if self.wait(GRACE).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until `look` sees something, and says what it waited for if it never does.
pub fn wait_for<T>(what: &str, cap: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if begun.elapsed() > cap {
            bail!("{what}: not within {} s", cap.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// The last lines of a log, or why there are none.
pub fn tail(log: &Path, lines: usize) -> String {
    match std::fs::read(log) {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("({} cannot be read: {error})", log.display()),
    }
}

fn log_file(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::create(log).with_context(|| format!("{} cannot be written", log.display()))
}

#[derive(Clone, Copy)]
enum Order {
    End,
    Pause,
    GoOn,
}

fn ask_to_end(child: &Child) {
    let _ = signal(child, Order::End);
}

#[cfg(unix)]
fn signal(child: &Child, order: Order) -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match order {
        Order::End => Signal::TERM,
        Order::Pause => Signal::STOP,
        Order::GoOn => Signal::CONT,
    };
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process without an id")?;
    Ok(kill_process(id, signal)?)
}

/// Windows has no such requests for a program without a window.
#[cfg(not(unix))]
fn signal(_child: &Child, order: Order) -> Result<()> {
    match order {
        Order::End | Order::Pause | Order::GoOn => bail!("this system has no such signal"),
    }
}
