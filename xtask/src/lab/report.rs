//! Tables for people, and the same as JSON.

use anyhow::Result;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Serialize)]
struct Report<'a, R> {
    at_unix_ms: u128,
    profile: &'a str,
    cores: usize,
    rows: &'a [R],
}

/// Written to target/lab/NAME.json, over what was there.
pub fn write<R: Serialize>(name: &str, profile: &str, rows: &[R]) -> Result<()> {
    let at_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let file = crate::target().join("lab").join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&Report { at_unix_ms, profile, cores, rows })?)?;
    println!("\nwritten to {}", file.display());
    Ok(())
}

/// Columns as wide as what stands in them; the first row is the head.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    println!();
    for row in rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("  {}", line.join("  ").trim_end());
    }
}
