//! The live laboratory: speech through two endpoints in a call over a bad path, beside two browsers in the same place.
//!
//! Both products take turns on the same virtual devices, in the same two network namespaces, joined by the same emulated
//! path with the same seeds; one recorder hears microphone and speaker. It needs root. docs/sound.md says how to read
//! the table.

mod bellwire;
mod chromium;
mod condition;
mod judge;
mod report;
pub mod steady;
mod wire;
mod world;

use super::{Figure, process};
use anyhow::{Context, Result, bail};
use condition::{Condition, Talk};
use judge::{Heard, LEAD, Tools};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};
use wire::Wire;
use world::World;
use xtask::lab::net::Sweeper;

/// The longest delay, at the end of a recording.
const REST: Duration = Duration::from_secs(2);
/// A browser goes on starting after its page runs: waited for, so long at most, until both ends together take no more of
/// a core than this over two seconds.
const STARTING: Duration = Duration::from_secs(40);
const STARTED: f64 = 0.6;
const LOOK: Duration = Duration::from_secs(2);
/// What a player may take longer than its speech.
const SLACK: Duration = Duration::from_secs(30);

/// What is wanted of a run.
#[derive(clap::Args)]
#[group(id = "live")]
pub struct Wanted {
    /// `sound`: takes turns with this product.
    #[arg(long, value_name = "PRODUCT")]
    pub against: Option<Product>,
    /// `sound`, `offline`: under this condition alone; may be given more than once.
    #[arg(long, value_name = "CONDITION")]
    pub only: Vec<String>,
    /// `sound`: calls of each product under each condition.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// `sound`: seconds of speech that are scored in each call.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(8..=600))]
    seconds: u64,
    /// `sound`: keeps the recordings of microphone and speaker, 12 MB a minute, and what the programs said.
    #[arg(long)]
    pub keep: bool,
    /// `sound`, `offline`: writes the table into docs/sound.md.
    #[arg(long)]
    pub write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    #[value(skip)]
    Bellwire,
    Chromium,
}

/// One call.
#[derive(Serialize)]
struct Run {
    condition: &'static str,
    product: Product,
    number: u32,
    heard: Heard,
    /// Of one endpoint: the mean of both.
    cpu_seconds_a_minute: f64,
    pss_mib: f64,
    /// What each side said last of its sound.
    said: [serde_json::Value; 2],
    /// Tasks that wanted a processor, over the last minute (proc_loadavg(5)).
    load: f64,
}

/// Where a run is made.
struct Bench<'a> {
    dir: &'a Path,
    profile: &'static str,
    tools: Tools,
    wire: Wire,
    seconds: u64,
    keep: bool,
}

pub fn measure(dir: &Path, profile: &'static str, options: &Wanted) -> Result<Vec<Figure>> {
    if let Some(why) = xtask::lab::why_not() {
        bail!("There is no live laboratory here: {why}.");
    }
    let conditions = wanted(&options.only)?;
    let dir = crate::demo::fresh(&dir.join("sound"))?;
    let _sweeper = Sweeper::start(&crate::laboratory::own_program()?, xtask::lab::SWEEP)?;
    let tools = Tools::provide()?;
    let speech = tools.speech(&dir, options.seconds)?;
    let bench =
        Bench { dir: &dir, profile, wire: Wire::lay(&dir)?, tools, seconds: options.seconds, keep: options.keep };
    let products: Vec<Product> = [Some(Product::Bellwire), options.against].into_iter().flatten().collect();
    let calls = conditions.len() * options.runs as usize * products.len();
    let minutes = calls as u64 * (options.seconds + LEAD + 12) / 60;
    println!("sound: {calls} calls, about {minutes} min");
    let own = bench.wire.own_delay(&bench.tools, &dir)?;
    println!("  the rig's own delay: {own:.0} ms");

    let (mut runs, mut failed) = (Vec::new(), 0);
    for condition in &conditions {
        for number in 1..=options.runs {
            for product in &products {
                // The others may have taken half an hour.
                match bench.call(condition, *product, number, &speech) {
                    Ok(run) => {
                        println!("  {}", report::line(&run));
                        runs.push(run);
                    }
                    Err(fault) => {
                        println!("  {} {product:?} {number} FAILED: {fault:#}", condition.name);
                        failed += 1;
                    }
                }
            }
        }
    }
    report::finish(&conditions, &runs, own, options)?;
    if failed > 0 {
        bail!("{failed} of {calls} calls failed; what the programs said is in {}", dir.display());
    }
    Ok(figures(&conditions, &runs, own))
}

fn wanted(only: &[String]) -> Result<Vec<Condition>> {
    let mut conditions = condition::all();
    if let Some(unknown) = only.iter().find(|name| !conditions.iter().any(|known| known.name == **name)) {
        let known: Vec<&str> = conditions.iter().map(|known| known.name).collect();
        bail!("{unknown} is no condition; there are {}", known.join(", "));
    }
    conditions.retain(|condition| only.is_empty() || only.iter().any(|name| name == condition.name));
    Ok(conditions)
}

/// What stands beside the other parts' figures.
fn figures(conditions: &[Condition], runs: &[Run], own: f64) -> Vec<Figure> {
    let clean = conditions.iter().find(|condition| condition.name == "clean");
    let delay = clean.and_then(|clean| report::delay(runs, clean.name, Product::Bellwire));
    delay
        .zip(clean)
        .map(|(delay, clean)| {
            let note = format!("through virtual devices, {own:.0} ms of it theirs");
            Figure::new("microphone to speaker, median", delay.median, "ms").aim(clean.aim.0).note(note)
        })
        .into_iter()
        .collect()
}

enum Pair {
    Bellwire(Box<bellwire::Pair>),
    Chromium(Box<chromium::Pair>),
}

impl Pair {
    /// All processes of both.
    fn process_ids(&self) -> Vec<u32> {
        match self {
            Self::Bellwire(pair) => pair.process_ids().to_vec(),
            Self::Chromium(pair) => pair.process_ids().concat(),
        }
    }
}

impl Bench<'_> {
    fn call(
        &self,
        condition: &Condition,
        product: Product,
        number: u32,
        speech: &[std::path::PathBuf; 2],
    ) -> Result<Run> {
        let name = format!("{}-{product:?}-{number}", condition.name).to_lowercase();
        let dir = crate::demo::fresh(&self.dir.join(&name))?;
        let world = World::build(u64::from(number))?;
        let pair = match product {
            Product::Bellwire => {
                let pair = bellwire::Pair::connect(self.profile, &dir, &world, &self.wire, condition.talk)?;
                Pair::Bellwire(Box::new(pair))
            }
            Product::Chromium => {
                Pair::Chromium(Box::new(chromium::Pair::connect(&dir, &world, &self.wire, condition.talk)?))
            }
        };
        // A browser's processes come and go; one that has just gone is not counted, in its favour.
        let of_all = |read: fn(u32) -> Result<f64>| -> f64 {
            pair.process_ids().into_iter().filter_map(|id| read(id).ok()).sum()
        };
        let spent = || of_all(process::cpu_seconds);
        settle(spent);
        for line in &condition.path {
            world.path.set(line)?;
        }
        let recorder = self.wire.record(dir.join("call.raw"))?;
        let mut talk = self.wire.say(&speech[0])?;
        let _other = match condition.talk {
            Talk::OneOriginal => None,
            Talk::BothProcessed => Some(self.wire.say_back(&speech[1])?),
        };
        std::thread::sleep(Duration::from_secs(LEAD));
        let (begun, before) = (Instant::now(), spent());
        std::thread::sleep(Duration::from_secs(self.seconds));
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        let cpu_seconds_a_minute = (spent() - before) / minutes / 2.0;
        let pss_kib = of_all(process::pss_kib);
        talk.wait(SLACK)?;
        std::thread::sleep(REST);
        let raw = recorder.stop()?;
        world.path.set("clear")?;
        let said = match pair {
            Pair::Bellwire(pair) => pair.end()?,
            Pair::Chromium(pair) => pair.end()?,
        };
        let heard = self.tools.judge(&raw, LEAD..LEAD + self.seconds)?;
        if !self.keep {
            std::fs::remove_file(&raw)?;
        }
        let (condition, pss_mib) = (condition.name, pss_kib / 1024.0 / 2.0);
        Ok(Run { condition, product, number, heard, cpu_seconds_a_minute, pss_mib, said, load: load()? })
    }
}

/// On a machine that is busy with others this may never come; the call is made all the same.
fn settle(spent: impl Fn() -> f64) {
    let begun = Instant::now();
    while begun.elapsed() < STARTING {
        let (since, before) = (Instant::now(), spent());
        std::thread::sleep(LOOK);
        if spent() - before < STARTED * since.elapsed().as_secs_f64() {
            break;
        }
    }
}

fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("no load")?.parse()?)
}
