//! Steps that can be seen: each has a name, a log, a time, and says what failed.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xtask::rig::tail;

/// How often a step that goes on says so where nobody can see a line change.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);
/// The longest that any one child may take: a cold build on a slow machine.
const LIMIT: Duration = Duration::from_secs(40 * 60);
const TAIL_LINES: usize = 40;

/// Where the output of a step goes.
pub fn log(name: &str) -> PathBuf {
    xtask::target().join("xtask/logs").join(format!("{name}.log"))
}

/// Runs a program to its end with its output in the log of that name; fails, with the log's end, if the program did.
pub fn run(name: &str, command: &mut Command) -> Result<()> {
    let log = log(name);
    if run_to_log(name, command, &log)? {
        return Ok(());
    }
    bail!("{}\n\n{name} failed: {}\nIts whole output is in {}", tail(&log, TAIL_LINES), line(command), log.display())
}

/// As [`run`], into a log that is appended to; the answer says whether the program succeeded.
pub fn run_to_log(name: &str, command: &mut Command, log: &Path) -> Result<bool> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
    writeln!(file, "$ {}", line(command))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().with_context(|| format!("{name}: cannot start `{}`", line(command)))?;

    let mut progress = Progress::new(name, log);
    let begun = Instant::now();
    let mut pause = Duration::from_millis(5);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{name}: `{}` was ended after {} min; see {}", line(command), LIMIT.as_secs() / 60, log.display());
        }
        progress.show();
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    };
    progress.clear();
    Ok(status.success())
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.contains(' ') { format!("'{word}'") } else { word.into_owned() }
    }));
    words.join(" ")
}

/// The last line of the log beside the time that has gone by; on a terminal it changes in place.
struct Progress<'a> {
    name: &'a str,
    log: &'a Path,
    begun: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str, log: &'a Path) -> Self {
        Self { name, log, begun: Instant::now(), shown: None, terminal: std::io::stdout().is_terminal() }
    }

    fn show(&mut self) {
        let every = if self.terminal { Duration::from_millis(500) } else { SIGN_OF_LIFE };
        if self.shown.unwrap_or(self.begun).elapsed() < every {
            return;
        }
        self.shown = Some(Instant::now());
        let last: String = tail(self.log, 1).trim().chars().take(80).collect();
        let seconds = self.begun.elapsed().as_secs();
        if self.terminal {
            print!("\r\x1b[K  {:<12} {seconds:>4} s  {last}", self.name);
        } else {
            println!("  {:<12} {seconds:>4} s  {last}", self.name);
        }
        let _ = std::io::stdout().flush();
    }

    fn clear(&self) {
        if self.terminal && self.shown.is_some() {
            print!("\r\x1b[K");
            let _ = std::io::stdout().flush();
        }
    }
}
