#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

use clap::Parser;

fn main() -> anyhow::Result<()> {
    bellwire_shell::run(bellwire_shell::arguments::Arguments::parse())
}
