//! The laboratory's tables in Markdown, and their place in docs/sound.md.

use super::{Run, Scores, document};
use anyhow::{Context, Result};
use std::fmt::Write;
use xtask::lab::ways::{WAYS, Way};

/// Each way with all mechanisms, or with those that were asked for: means over all clips.
pub fn quality(runs: &[Run], seeds: u32) -> String {
    let mut text = format!(
        "{seeds} calls of each network, both directions scored.\n\n| network | PESQ | aim | libwebrtc, live | PESQ of the first 8 s | ESTOI | delay ms, median (95 %) | made up % | silent % | \
         stretched % | came after all %: resent / copied / FEC / DRED | kbit/s, of which control | packets dropped % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for way in WAYS {
        for without in variants(runs, way) {
            let these = of(runs, way, without.as_deref());
            row(&mut text, way, without.as_deref(), &these);
        }
    }
    text
}

fn row(text: &mut String, way: &Way, without: Option<&str>, these: &[&Run]) {
    let score = |which: fn(&Scores) -> Option<f64>| {
        mean(&these.iter().filter_map(|run| which(&run.scores)).collect::<Vec<_>>())
    };
    let figure = |name: &str| mean(&these.iter().filter_map(|run| run.figures.get(name).copied()).collect::<Vec<_>>());
    let pesq: Vec<f64> = these.iter().map(|run| run.scores.pesq).collect();
    let aim = way
        .aim
        .map_or(String::new(), |(_, aim)| format!("≥ {aim}{}", if mean(&pesq) >= aim { "" } else { " **missed**" }));
    let known = way.chromium.map_or(String::new(), |(_, pesq)| format!("{pesq:.2}"));
    let percent = |name: &str| format!("{:.1}", 100.0 * figure(name));
    let title = without.map_or(way.title.to_owned(), |without| format!("{}, without {without}", way.title));
    let _ = writeln!(
        text,
        "| {title} | {:.2} ± {:.2} | {aim} | {known} | {:.2} | {:.3} | {:.0} ({:.0}) | {} | {:.1} | {} | {} / {} / {} / {} | {:.0}, {:.1} | {} |",
        mean(&pesq),
        interval(&pesq),
        score(|scores| Some(scores.first_pesq)),
        score(|scores| Some(scores.estoi)),
        score(|scores| scores.delay_ms),
        score(|scores| scores.delay_95_ms),
        percent("made_up"),
        100.0 * score(|scores| Some(scores.silent)),
        percent("stretched"),
        percent("resent"),
        percent("copied"),
        percent("fec"),
        percent("deep"),
        figure("sound_kbits") + figure("control_kbits"),
        figure("control_kbits"),
        percent("dropped"),
    );
}

/// What a mechanism is worth: with all, and without it. Empty when nothing was switched off.
pub fn worth(runs: &[Run]) -> String {
    let mut rows = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for mechanism in runs.iter().filter_map(|run| run.without.as_deref()) {
        if !seen.contains(&mechanism) {
            seen.push(mechanism);
        }
    }
    for mechanism in seen {
        for way in WAYS {
            let (with, without) = (of(runs, way, None), of(runs, way, Some(mechanism)));
            if with.is_empty() || without.is_empty() {
                continue;
            }
            let means = |runs: &[&Run]| {
                let pesq = mean(&runs.iter().map(|run| run.scores.pesq).collect::<Vec<_>>());
                let delay = mean(&runs.iter().filter_map(|run| run.scores.delay_ms).collect::<Vec<_>>());
                let made_up =
                    mean(&runs.iter().filter_map(|run| run.figures.get("made_up").copied()).collect::<Vec<_>>());
                (pesq, delay, made_up * 100.0)
            };
            let ((pesq, delay, made_up), (pesq_without, delay_without, made_up_without)) =
                (means(&with), means(&without));
            let _ = writeln!(
                rows,
                "| {mechanism} | {} | {pesq:.2} | {pesq_without:.2} | {:+.2} | {delay:.0} | {delay_without:.0} | {made_up:.1} | {made_up_without:.1} |",
                way.title,
                pesq - pesq_without,
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "| mechanism | network | PESQ with all | without it | it buys | delay ms with all | without it | made up % with all | \
         without it |\n|---|---|---|---|---|---|---|---|---|\n{rows}"
    )
}

/// Puts a table between its two marks in docs/sound.md.
pub fn write(name: &str, table: &str) -> Result<()> {
    let file = document();
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("docs/sound.md has no mark {begin:?}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("docs/sound.md has no mark {end:?}"))?;
    std::fs::write(&file, format!("{before}{begin}{table}{end}{after}"))?;
    println!("written to {}", file.display());
    Ok(())
}

fn variants(runs: &[Run], way: &Way) -> Vec<Option<String>> {
    let mut found: Vec<Option<String>> = Vec::new();
    for run in runs.iter().filter(|run| run.way == way.name) {
        if !found.contains(&run.without) {
            found.push(run.without.clone());
        }
    }
    // Where there is one with all, the other table has the rest.
    if found.contains(&None) { vec![None] } else { found }
}

fn of<'a>(runs: &'a [Run], way: &Way, without: Option<&str>) -> Vec<&'a Run> {
    runs.iter().filter(|run| run.way == way.name && run.without.as_deref() == without).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Half of the range in which the mean lies with 95 %, by the normal distribution.
fn interval(values: &[f64]) -> f64 {
    let (mean, count) = (mean(values), values.len() as f64);
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    1.96 * (variance / count).sqrt()
}
