//! The table of the live laboratory, on the screen, as JSON, and in docs/sound.md.

use super::condition::Condition;
use super::{Product, Run, Wanted};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const DOCUMENT: &str = "docs/sound.md";
const BEGIN: &str = "<!-- live: begin -->";
const END: &str = "<!-- live: end -->";

/// Of some runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middle {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Middle {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        // Of an even number the mean of the two in the middle: the larger alone would flatter.
        let (below, above) = (values.get(values.len().saturating_sub(1) / 2)?, values.get(values.len() / 2)?);
        let median = (below + above) / 2.0;
        Some(Self { median, least: *values.first()?, most: *values.last()? })
    }

    fn words(self, digits: usize) -> String {
        let Self { median, least, most } = self;
        let [median, least, most] = [median, least, most].map(|value| format!("{value:.digits$}"));
        if least == most { median } else { format!("{median} ({least} to {most})") }
    }
}

pub fn delay(runs: &[Run], condition: &str, product: Product) -> Option<Middle> {
    middle(runs, condition, product, |run| run.heard.delay_ms)
}

fn middle(runs: &[Run], condition: &str, product: Product, value: impl Fn(&Run) -> Option<f64>) -> Option<Middle> {
    let of = runs.iter().filter(|run| run.condition == condition && run.product == product);
    Middle::of(of.filter_map(value).collect())
}

/// One run, as it comes.
pub fn line(run: &Run) -> String {
    let Run { condition, product, number, heard, cpu_seconds_a_minute, pss_mib, load, .. } = run;
    let ms = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value:.0}"));
    let (low, high) = (ms(heard.delay_5_ms), ms(heard.delay_95_ms));
    let product = format!("{product:?}").to_lowercase();
    format!(
        "{condition:<9} {product:<9} {number}  {:>4} ms ({low} to {high})  PESQ {:.2}  silent {:.2} s  found {} of {}  \
         {cpu_seconds_a_minute:.1} CPU s/min  {pss_mib:.0} MiB  load {load:.1}",
        ms(heard.delay_ms),
        heard.pesq,
        heard.silent_s,
        heard.found,
        heard.speech,
    )
}

pub fn finish(conditions: &[Condition], runs: &[Run], own: f64, options: &Wanted) -> Result<()> {
    let table = table(conditions, runs, options.against);
    let loads: Vec<f64> = runs.iter().map(|run| run.load).collect();
    let load = Middle::of(loads).context("no runs")?;
    let words = format!(
        "{} calls of each product under each condition, {} s of speech scored in each: the median, and from the least to the \
         most. Of each delay, {own:.0} ms are the rig's own. {}The machine had {} cores and a load of {}.\n",
        options.runs,
        options.seconds,
        if options.against.is_some() { "Chromium took turns with Bellwire in the same run. " } else { "" },
        std::thread::available_parallelism().map_or(1, usize::from),
        load.words(1),
    );
    println!("\n{table}\n{words}");
    let at_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let file = xtask::target().join("bench").join(format!("sound-{at_unix_ms}.json"));
    let json = serde_json::json!({ "at_unix_ms": at_unix_ms as u64, "own_delay_ms": own, "runs": runs });
    std::fs::write(&file, serde_json::to_string_pretty(&json)?)?;
    println!("each run is in {}", file.display());
    if options.write {
        write(&format!("{table}\n{words}"))?;
    }
    Ok(())
}

/// In Markdown.
fn table(conditions: &[Condition], runs: &[Run], against: Option<Product>) -> String {
    let products: Vec<Product> = [Some(Product::Bellwire), against].into_iter().flatten().collect();
    let mut rows = vec![head(&products)];
    for condition in conditions {
        let cells = |value: fn(&Run) -> Option<f64>| -> Vec<Option<Middle>> {
            products.iter().map(|product| middle(runs, condition.name, *product, value)).collect()
        };
        let (delays, scores) = (cells(|run| run.heard.delay_ms), cells(|run| Some(run.heard.pesq)));
        let words = |cells: &[Option<Middle>], digits: usize| -> Vec<String> {
            cells.iter().map(|cell| cell.map_or_else(|| "none".to_owned(), |cell| cell.words(digits))).collect()
        };
        let first = |cells: &[Option<Middle>]| cells.first().copied().flatten().map(|cell| cell.median);
        let met = |met: bool| if met { "" } else { ", missed" };
        let (delay_aim, pesq_aim) = condition.aim;
        let delay_met = first(&delays).is_some_and(|delay| delay <= delay_aim);
        let pesq_met = first(&scores).is_some_and(|pesq| pesq >= pesq_aim);
        let mut row = vec![condition.title.to_owned()];
        row.extend(words(&delays, 0));
        row.push(format!("<= {delay_aim}{}", met(delay_met)));
        row.extend(words(&scores, 2));
        row.push(format!(">= {pesq_aim}{}", met(pesq_met)));
        row.extend(words(&cells(|run| Some(run.heard.silent_s)), 1));
        row.extend(words(&cells(|run| Some(run.cpu_seconds_a_minute)), 1));
        rows.push(row);
    }
    markdown(&rows)
}

fn head(products: &[Product]) -> Vec<String> {
    let each = |what: &str| -> Vec<String> { products.iter().map(|product| format!("{what}, {product:?}")).collect() };
    let mut head = vec!["network".to_owned()];
    head.extend(each("delay ms"));
    head.push("aim".to_owned());
    head.extend(each("PESQ"));
    head.push("aim".to_owned());
    head.extend(each("silent s"));
    head.extend(each("CPU s a minute"));
    head
}

fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if n == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

/// Between its two marks.
fn write(what: &str) -> Result<()> {
    let file = xtask::root().join(DOCUMENT);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{DOCUMENT} cannot be read"))?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{DOCUMENT} has no mark {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{DOCUMENT} has no mark {END}"))?;
    Ok(std::fs::write(&file, format!("{before}{BEGIN}\n\n{what}\n{END}{after}"))?)
}
