//! One long call: whether memory or delay grow.

use super::bellwire::Pair;
use super::condition::Talk;
use super::judge::{LEAD, Tools, WINDOW};
use super::process;
use super::wire::Wire;
use super::world::World;
use crate::bench::Figure;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};
use xtask::lab::net::Sweeper;

const MINUTE: Duration = Duration::from_secs(60);

/// A call of so many minutes over a path that does nothing, all processing on, both talking in the first
/// third of each minute.
pub fn measure(dir: &Path, profile: &str, minutes: u64) -> Result<Vec<Figure>> {
    if let Some(why) = xtask::lab::why_not() {
        bail!("There is no live laboratory here: {why}.");
    }
    println!("a call of {minutes} min");
    let dir = crate::demo::fresh(&dir.join("steady"))?;
    let _sweeper = Sweeper::start(&crate::laboratory::own_program()?, xtask::lab::SWEEP)?;
    let tools = Tools::provide()?;
    let speech = tools.speech(&dir, WINDOW)?;
    let (world, wire) = (World::build(1)?, Wire::lay(&dir)?);
    let pair = Pair::connect(profile, &dir, &world, &wire, Talk::BothProcessed)?;
    let ids = pair.process_ids();
    let spent = || ids.into_iter().map(process::cpu_seconds).sum::<Result<f64>>();
    let (mut delays, mut memory) = (Vec::new(), Vec::new());
    let (begun, before) = (Instant::now(), spent()?);
    for minute in 1..=minutes {
        let recorder = wire.record(dir.join("minute.raw"))?;
        let mut talk = [wire.say(&speech[0])?, wire.say_back(&speech[1])?];
        for voice in &mut talk {
            voice.wait(MINUTE)?;
        }
        let heard = tools.judge(&recorder.stop()?, LEAD..LEAD + WINDOW)?;
        let delay = heard.delay_ms.with_context(|| format!("nothing was heard in minute {minute}"))?;
        std::thread::sleep((MINUTE * u32::try_from(minute)?).saturating_sub(begun.elapsed()));
        let pss_mib = ids.into_iter().map(process::pss_kib).sum::<Result<f64>>()? / 1024.0 / 2.0;
        println!("  minute {minute:>3}  {delay:>4.0} ms  {pss_mib:.1} MiB");
        delays.push(delay);
        memory.push(pss_mib);
    }
    let cpu = (spent()? - before) / begun.elapsed().as_secs_f64() * 60.0 / 2.0;
    pair.end()?;
    let grown = |values: &[f64]| values.last().zip(values.first()).map_or(0.0, |(last, first)| last - first);
    let note =
        format!("from the first of {minutes} minutes to the last; all processing on, both talk for a third of each");
    Ok(vec![
        Figure::new("processor time of one endpoint", cpu, "s a minute").aim(2.0).note("the mean of both"),
        Figure::new("memory of one endpoint (PSS)", memory.iter().copied().fold(0.0, f64::max), "MiB").aim(40.0),
        Figure::new("growth of memory", grown(&memory), "MiB").note(note.clone()),
        Figure::new("growth of delay", grown(&delays), "ms").note(note),
    ])
}
