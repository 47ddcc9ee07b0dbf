//! Makes speech, or looks for it in a recording:
//! `recording speech low|high|third SECONDS FILE`, `recording compare REFERENCE RECORDING` (prints JSON).

use anyhow::{Context, bail};
use bellwire_client::recording::{Voice, best_correlation, write_speech};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["speech", voice, seconds, file] => {
            let voice = match voice {
                "low" => Voice::Low,
                "high" => Voice::High,
                "third" => Voice::Third,
                _ => bail!("there is no voice {voice}; take low, high or third"),
            };
            let seconds = seconds.parse().context("SECONDS is a number")?;
            write_speech(file.as_ref(), voice, seconds)?;
        }
        ["compare", reference, recording] => {
            let found = best_correlation(reference.as_ref(), recording.as_ref())?;
            let line = serde_json::json!({
                "correlation": found.correlation, "heard_ms": found.heard_ms, "delay_ms": found.delay_ms
            });
            println!("{line}");
        }
        _ => bail!("speech low|high|third SECONDS FILE, or compare REFERENCE RECORDING"),
    }
    Ok(())
}
