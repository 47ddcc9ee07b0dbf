//! Network namespaces by the programs `ip` and `nft`, and their end, whatever happens to this process.
//!
//! A namespace's name begins with the id of the process that made it. What a process leaves behind is taken away by its
//! [`Sweeper`] at once, or by the next run's.

use crate::rig::tethered;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const MARK: &str = "bwlab";

/// A prefix that no other world has, in this process or another.
pub fn prefix() -> String {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    let (id, world) = (std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
    format!("{MARK}{id}-{world}-{:04x}", fastrand::u16(..))
}

/// A namespace with nothing but loopback; dropping it takes it and all its devices away.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new(prefix: &str, role: &str) -> Result<Self> {
        let name = format!("{prefix}-{role}");
        run("ip", &["netns", "add", &name], "")?;
        let namespace = Self { name };
        // Addresses are there at once, without a search for others that have them.
        namespace.nothing_asked_first();
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// `ip` with these words, in this namespace.
    pub fn ip(&self, words: &str) -> Result<()> {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split_whitespace()).collect();
        run("ip", &words, "")
    }

    /// Packet rules (nft(8)).
    pub fn rules(&self, rules: &str) -> Result<()> {
        run("ip", &["netns", "exec", &self.name, "nft", "-f", "-"], rules)
    }

    pub fn forwards(&self) -> Result<()> {
        self.setting("net.ipv4.ip_forward=1")?;
        self.setting("net.ipv6.conf.all.forwarding=1")
    }

    fn nothing_asked_first(&self) {
        for which in ["all", "default"] {
            let _ = self.setting(&format!("net.ipv6.conf.{which}.accept_dad=0"));
        }
    }

    pub fn setting(&self, setting: &str) -> Result<()> {
        let (key, value) = setting.split_once('=').context("a setting has a value")?;
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        crate::lab::system::in_namespace(&self.name, || {
            std::fs::write(&file, value).with_context(|| format!("{file} cannot be set"))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.name], "");
    }
}

/// A cable between two namespaces.
pub fn cable(a: &Namespace, a_device: &str, b: &Namespace, b_device: &str) -> Result<()> {
    a.ip(&format!("link add {a_device} type veth peer name {b_device} netns {}", b.name))?;
    a.ip(&format!("link set {a_device} up"))?;
    b.ip(&format!("link set {b_device} up"))
}

fn run(program: &str, words: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A child process that outlives this one, however it ends, and then takes its namespaces away.
pub struct Sweeper {
    child: Child,
}

impl Sweeper {
    /// `program` does [`sweep`] with the id of this process when told `word`.
    pub fn start(program: &std::path::Path, word: &str) -> Result<Self> {
        for process in owners()? {
            if !std::path::Path::new(&format!("/proc/{process}")).exists() {
                delete_of(process)?;
            }
        }
        let mut command = Command::new(program);
        command.args([word, &std::process::id().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        apart(&mut command);
        Ok(Self { child: command.spawn().context("the sweeper cannot be started")? })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Waits for the end of standard input, which is that of the process that started this one.
pub fn sweep(process: u32) -> Result<()> {
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    delete_of(process)
}

fn delete_of(process: u32) -> Result<()> {
    for name in names()? {
        if owner(&name) == Some(process) {
            run("ip", &["netns", "del", &name], "")?;
        }
    }
    Ok(())
}

fn owners() -> Result<Vec<u32>> {
    let mut owners: Vec<u32> = names()?.iter().filter_map(|name| owner(name)).collect();
    owners.sort_unstable();
    owners.dedup();
    Ok(owners)
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(MARK)?.split_once('-')?.0.parse().ok()
}

fn names() -> Result<Vec<String>> {
    let output = tethered("ip").args(["netns", "list"]).output().context("ip cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Ctrl-C in the terminal is not for the sweeper.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn apart(_command: &mut Command) {}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_tells_whose_it_is() {
        assert_eq!(super::owner(&format!("{}-wan", super::prefix())), Some(std::process::id()));
        assert_eq!(super::owner("somebody-elses"), None);
    }
}
