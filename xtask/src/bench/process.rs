//! What a process has used, as /proc tells (proc(5)).

use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Ticks of utime and stime a second: USER_HZ, which Linux keeps at 100 for every program.
const TICKS: f64 = 100.0;

/// Seconds of processor time, in user and kernel, of all its threads.
pub fn cpu_seconds(id: u32) -> Result<f64> {
    let stat = read(id, "stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().collect();
    let ticks = |n: usize| -> Result<f64> { Ok(fields.get(n).context("a short stat")?.parse::<f64>()?) };
    // The 14th and 15th fields, of which the first two were cut off with the name.
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Its memory, with what it shares divided among those who share it.
pub fn pss_kib(id: u32) -> Result<f64> {
    kib(&read(id, "smaps_rollup")?, "Pss:")
}

/// Its memory that is in RAM, once it has stopped growing or shrinking.
pub fn settled_rss_kib(id: u32) -> Result<f64> {
    let begun = Instant::now();
    let mut last = kib(&read(id, "status")?, "VmRSS:")?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = kib(&read(id, "status")?, "VmRSS:")?;
        if (now - last).abs() < 64.0 || begun.elapsed() > Duration::from_secs(20) {
            return Ok(now);
        }
        last = now;
    }
}

fn read(id: u32, file: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{id}/{file}")).with_context(|| format!("process {id} has no {file}"))
}

fn kib(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}
