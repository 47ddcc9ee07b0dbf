//! This server beside Node's own Socket.IO server, both doing what the older system of rooms does (`xtask/js`): processor
//! time for each relayed candidate, and memory of idle connections.
//!
//! Ours serves that one system, as Node's does; what a connection takes with all systems on is told as well. The two take
//! turns in one run, each started anew for each turn, under the same load (the example `older_load` of bellwire-server);
//! what is told is the median of the turns. Node collects its garbage before its memory is read.

use super::load::{FILES, Load, raise_limit};
use super::{Figure, process};
use crate::demo::fresh;
use crate::step;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xtask::rig::{Process, tethered};
use xtask::server::Server;

const TURNS: usize = 3;
/// Rooms of two, in which each sends to the other.
const PAIRS: usize = 100;
/// A second, of all together.
const PACE: u32 = 5_000;
const PACE_SECONDS: u32 = 10;
/// Candidates of each sender when all send as fast as they arrive.
const MOST: u32 = 700;
const WARM_UP: u32 = 40;
const IDLE: usize = 5_000;
/// Of Node's processor time and memory.
const AIM_CPU: f64 = 0.45;
const AIM_MEMORY: f64 = 1.0;
const START_CAP: Duration = Duration::from_secs(60);

pub fn measure(dir: &Path) -> Result<Vec<Figure>> {
    println!("relay beside Node's Socket.IO server: {TURNS} turns of each, about {} s", TURNS * 75);
    let dir = fresh(&dir.join("beside"))?;
    let node = Node::provide()?;
    let (mut ours, mut theirs, mut all_on) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let folder = dir.join(format!("ours-{turn}"));
        ours.push(turn_of(&folder, &node, |dir| Subject::ours(dir, "rooms"))?);
        // What the other systems add to a connection, above all a seat in the booked calls.
        all_on.push(idle(&folder.join("all"), &node, |dir| Subject::ours(dir, "all"))?);
        theirs.push(turn_of(&dir.join(format!("node-{turn}")), &node, |dir| node.serve(dir))?);
    }
    let figures = |name: [&'static str; 4], of: fn(&Turn) -> f64, unit, aim: Option<f64>| {
        let (ours, theirs) = (median(&ours, of), median(&theirs, of));
        let ratio = Figure::new(name[2], ours / theirs, "x").note(name[3]);
        let ratio = aim.map_or(ratio.clone(), |aim| ratio.aim(aim));
        [Figure::new(name[0], ours, unit), Figure::new(name[1], theirs, unit), ratio]
    };
    let mut all = Vec::new();
    all.extend(figures(
        ["server time for each relayed candidate", "the same of Node", "of Node's, at a steady pace", "5,000 a second"],
        |turn| turn.paced_us,
        "us",
        Some(AIM_CPU),
    ));
    all.extend(figures(
        [
            "the same, as fast as it goes",
            "the same of Node",
            "of Node's, as fast as it goes",
            "with the load beside it",
        ],
        |turn| turn.most_us,
        "us",
        Some(AIM_CPU),
    ));
    all.extend(figures(
        ["relayed candidates, as fast as it goes", "the same of Node", "of Node's", "on the same cores as the load"],
        |turn| turn.most_a_second,
        "a second",
        None,
    ));
    all.extend(figures(
        [
            "memory of an idle Socket.IO connection",
            "the same of Node",
            "of Node's memory",
            "RSS of 5,000 connections; Node's after a collection",
        ],
        |turn| turn.idle_kib,
        "KiB",
        Some(AIM_MEMORY),
    ));
    all_on.sort_by(f64::total_cmp);
    let all_on = all_on[all_on.len() / 2];
    all.push(
        Figure::new("the same with all older systems on", all_on, "KiB")
            .note("each connection can be called, as a device of its person"),
    );
    all.push(Figure::new("of Node's memory", all_on / median(&theirs, |turn| turn.idle_kib), "x").aim(AIM_MEMORY));
    Ok(all)
}

/// What one server needed in one turn.
struct Turn {
    paced_us: f64,
    most_us: f64,
    most_a_second: f64,
    idle_kib: f64,
}

#[derive(Deserialize)]
struct Done {
    relayed: u64,
    seconds: f64,
}

/// KiB of each of [`IDLE`] connections.
fn idle(dir: &Path, node: &Node, start: impl Fn(&Path) -> Result<Subject>) -> Result<f64> {
    let subject = start(&fresh(dir)?)?;
    let tokens = node.tokens(&subject.secret, dir)?;
    let mut load = Load::start("older_load", &[&subject.address, &tokens.display().to_string()])?;
    subject.collect()?;
    let before = process::settled_rss_kib(subject.id)?;
    load.order(&format!("idle {IDLE}"))?;
    load.line()?;
    subject.collect()?;
    Ok((process::settled_rss_kib(subject.id)? - before) / IDLE as f64)
}

fn turn_of(dir: &Path, node: &Node, start: impl Fn(&Path) -> Result<Subject>) -> Result<Turn> {
    let idle_kib = idle(dir, node, &start)?;
    let dir = dir.join("relay");
    let subject = start(&fresh(&dir)?)?;
    let tokens = node.tokens(&subject.secret, &dir)?;
    let mut load = Load::start("older_load", &[&subject.address, &tokens.display().to_string()])?;
    let mut order = |order: &str| -> Result<(Done, f64)> {
        let before = process::cpu_seconds(subject.id)?;
        load.order(order)?;
        let done = serde_json::from_str(&load.line()?)?;
        Ok((done, process::cpu_seconds(subject.id)? - before))
    };
    order(&format!("pairs {PAIRS}"))?;
    order(&format!("most {WARM_UP}"))?;
    let (paced, paced_cpu) = order(&format!("pace {PACE} {PACE_SECONDS}"))?;
    let (most, most_cpu) = order(&format!("most {MOST}"))?;
    let turn = Turn {
        paced_us: paced_cpu / paced.relayed as f64 * 1e6,
        most_us: most_cpu / most.relayed as f64 * 1e6,
        most_a_second: most.relayed as f64 / most.seconds,
        idle_kib,
    };
    let name = subject.name;
    println!(
        "  {name:<10} {:>5.1} us paced, {:>5.1} us at {:>6.0} a second, {:>5.1} KiB idle",
        turn.paced_us, turn.most_us, turn.most_a_second, turn.idle_kib
    );
    Ok(turn)
}

fn median(turns: &[Turn], of: fn(&Turn) -> f64) -> f64 {
    let mut all: Vec<f64> = turns.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A server under load. It ends when this is dropped.
struct Subject {
    name: &'static str,
    address: String,
    id: u32,
    /// The file with the secret of its tokens.
    secret: PathBuf,
    process: Running,
}

enum Running {
    Ours { _server: Server },
    Node { _process: Process },
}

impl Subject {
    fn ours(dir: &Path, older: &str) -> Result<Self> {
        let server = Server::start_with("release", dir, &["--older", older, "--listen", "127.0.0.1:0"])?;
        let id = server.process_id();
        raise_limit(id)?;
        let secret = server.data.join("dev.key");
        let address = server.address.clone();
        Ok(Self { name: "bellwire", address, id, secret, process: Running::Ours { _server: server } })
    }

    fn collect(&self) -> Result<()> {
        match self.process {
            Running::Ours { .. } => Ok(()),
            Running::Node { .. } => {
                let status = Command::new("kill").args(["-USR2", &self.id.to_string()]).status()?;
                if status.success() { Ok(()) } else { bail!("Node takes no signal") }
            }
        }
    }
}

/// A folder with Node's server and its packages.
struct Node {
    folder: PathBuf,
}

impl Node {
    /// Installs what `xtask/js` names, if it is not there.
    fn provide() -> Result<Self> {
        let source = xtask::root().join("xtask/js");
        let folder = xtask::target().join("xtask/node/beside");
        std::fs::create_dir_all(&folder)?;
        let lock = std::fs::read_to_string(source.join("package-lock.json"))?;
        for file in ["package.json", "package-lock.json", "relay-server.mjs", "tokens.mjs"] {
            std::fs::copy(source.join(file), folder.join(file))?;
        }
        let installed = folder.join("installed");
        if std::fs::read_to_string(&installed).ok().as_ref() != Some(&lock) {
            let mut command = Command::new("npm");
            command.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
            step::run("npm-beside", &mut command).context("`npm` brings the server that is compared with")?;
            std::fs::write(&installed, lock)?;
        }
        Ok(Self { folder })
    }

    fn serve(&self, dir: &Path) -> Result<Subject> {
        let secret = dir.join("secret");
        std::fs::write(&secret, "a secret of this bench alone, and of no use")?;
        let mut command = tethered("prlimit");
        command.args([FILES, "node", "--expose-gc"]).arg(self.folder.join("relay-server.mjs")).arg(&secret);
        command.env("NODE_ENV", "production");
        let (process, line) = Process::spawn_saying(command, "node", &dir.join("node.log"), START_CAP)?;
        let address = line.strip_prefix("listening on ").context("Node does not say where it listens")?.to_owned();
        // setpriv and prlimit become what they start: it is one process.
        let id = process.id();
        Ok(Subject { name: "node", address, id, secret, process: Running::Node { _process: process } })
    }

    /// A file with a token for each person.
    fn tokens(&self, secret: &Path, dir: &Path) -> Result<PathBuf> {
        let script = self.folder.join("tokens.mjs");
        let output = Command::new("node").arg(script).arg(secret).arg(IDLE.to_string()).output()?;
        if !output.status.success() {
            bail!("no tokens: {}", String::from_utf8_lossy(&output.stderr));
        }
        let file = dir.join("tokens");
        std::fs::write(&file, output.stdout)?;
        Ok(file)
    }
}
