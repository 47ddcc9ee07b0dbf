//! Measures what the devices alone cost: `device_cost [SECONDS]` opens the default microphone and speaker as a call would,
//! all processing off and nobody connected, and prints the processor time of this process (Linux). Device events are printed
//! as they come.

use bellwire_media::{Command, Config, Engine, Event, Processing};
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20);
    let (engine, mut events) = Engine::start(Config { processing: Processing::OFF, ..Config::default() });
    engine.command(Command::Warm);
    let mut spent = Vec::new();
    for part in [2, seconds] {
        let (since, before) = (Instant::now(), processor_seconds());
        let _ = tokio::time::timeout(Duration::from_secs(part), async {
            while let Some(event) = events.recv().await {
                if let Event::Device(event) = event {
                    println!("{event:?}");
                }
            }
        })
        .await;
        spent.push((processor_seconds() - before) / since.elapsed().as_secs_f64());
    }
    println!("{:.2} % of a core for microphone and speaker", spent[1] * 100.0);
    engine.shutdown().await;
}

/// User and system time of this process, from /proc in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
