//! Two Chromium in a call with each other, each in its home, with pages of their own and nobody's server.
//!
//! A page gets itself, and what the other page has to say, from a small listener inside its own home; a browser gives
//! microphones to pages of its own machine alone.

mod hub;

use super::condition::Talk;
use super::wire::{DEVICES, Wire};
use super::world::World;
use anyhow::{Context, Result, bail};
use hub::Hub;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use xtask::rig::{Process, descendants, tethered_in, wait_for};

/// A cold browser on a busy machine.
const CAP: Duration = Duration::from_secs(60);
const PAGE: &str = include_str!("chromium/page.html");

pub struct Pair {
    /// Before the hub that they talk to.
    sides: [Process; 2],
    hub: Hub,
}

impl Pair {
    pub fn connect(dir: &Path, world: &World, wire: &Wire, talk: Talk) -> Result<Self> {
        let processing = talk == Talk::BothProcessed;
        let pages = [0, 1].map(|side| {
            let [input, output] = DEVICES[side];
            let settings =
                serde_json::json!({ "side": side, "input": input, "output": output, "processing": processing });
            PAGE.replace("SETTINGS", &settings.to_string())
        });
        let hub = Hub::open([&world.homes[0].name, &world.homes[1].name], pages)?;
        let start = |side: usize| {
            let name = ["chromium-a", "chromium-b"][side];
            let profile = dir.join(name);
            std::fs::create_dir_all(&profile)?;
            let mut command = tethered_in(&world.homes[side].name, "chromium");
            command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
            command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
            command.args(["--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"]);
            command.arg("--disable-features=WebRtcHideLocalIpsWithMdns");
            command.arg(format!("--user-data-dir={}", profile.join("data").display()));
            // Without tabs and a bar for addresses, which are pages too.
            command.arg(format!("--app={}", hub.url(side))).env("HOME", &profile).envs(wire.sound.env());
            Process::spawn(command, name, &dir.join(format!("{name}.log"))).context("package chromium")
        };
        let mut sides = [start(0)?, start(1)?];
        wait_for("both pages are connected", CAP, || {
            if let Some(fault) = hub.fault() {
                bail!("a page of Chromium: {fault}");
            }
            for side in &mut sides {
                if side.has_ended() {
                    bail!("Chromium ended at once; see {}", side.log().display());
                }
            }
            Ok(hub.connected().then_some(()))
        })?;
        Ok(Self { sides, hub })
    }

    /// All processes of each.
    pub fn process_ids(&self) -> [Vec<u32>; 2] {
        [0, 1].map(|side: usize| {
            let first = self.sides[side].id();
            [vec![first], descendants(first)].concat()
        })
    }

    /// Ends them; what each page said last of its sound.
    pub fn end(mut self) -> Result<[Value; 2]> {
        let stats = self.hub.stats();
        for side in &mut self.sides {
            side.end();
        }
        Ok(stats)
    }
}
