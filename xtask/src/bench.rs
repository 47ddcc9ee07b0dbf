use anyhow::{Result, bail};

#[derive(clap::Args)]
pub struct Options {}

pub fn run(_options: &Options) -> Result<()> {
    bail!("not there yet");
}
