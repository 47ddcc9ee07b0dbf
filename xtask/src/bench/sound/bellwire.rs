//! Two `bellwire-cli` in a call, each in its home.

use super::condition::Talk;
use super::wire::{DEVICES, Wire};
use super::world::{ENDS, SERVER_IP, World};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;
use xtask::cli::{Cli, Setup, Task, listed};
use xtask::server::{Place, Server};

const CAP: Duration = Duration::from_secs(60);

pub struct Pair {
    sides: [Cli; 2],
    _server: Server,
}

impl Pair {
    pub fn connect(profile: &str, dir: &Path, world: &World, wire: &Wire, talk: Talk) -> Result<Self> {
        // A relay would be a way around the path.
        let env = vec![("BELLWIRE_RELAY", "false".into())];
        let place = Place { namespace: &world.server.name, env, tls: false };
        let server = Server::start_in(place, profile, dir, &["--listen", &format!("{SERVER_IP}:7420")])?;
        let seeded = server.seed_demo()?;
        let start = |side: usize, name, task, person| {
            let mut extra = vec!["--bind".to_owned(), ENDS[side].to_owned()];
            if talk == Talk::OneOriginal {
                extra.extend(["--no-aec", "--no-ns", "--no-agc"].map(str::to_owned));
            }
            let [input, output] = DEVICES[side];
            let setup = Setup {
                profile,
                dir,
                name,
                task,
                server: &server,
                person,
                booking: &seeded.booking,
                input: listed(profile, &wire.sound, input)?,
                output: listed(profile, &wire.sound, output)?,
                extra,
                env: wire.sound.env().to_vec(),
            };
            Cli::start_in(&world.homes[side].name, setup)
        };
        let b = start(1, "b", Task::Answer, &seeded.provider)?;
        let a = start(0, "a", Task::Call, &seeded.client)?;
        let mut sides = [a, b];
        for side in &mut sides {
            side.wait_for_state("connected", CAP)?;
        }
        Ok(Self { sides, _server: server })
    }

    pub fn process_ids(&self) -> [u32; 2] {
        [self.sides[0].process_id(), self.sides[1].process_id()]
    }

    /// Hangs up; what each side said last of its sound.
    pub fn end(mut self) -> Result<[serde_json::Value; 2]> {
        self.sides[0].end();
        let status = self.sides[1].wait(CAP)?;
        if !status.success() {
            bail!("{} ended with {status}", self.sides[1].name);
        }
        let last = |side: &Cli| -> Result<serde_json::Value> {
            let stats = |event: &serde_json::Value| event["event"] == "stats";
            Ok(side.events()?.into_iter().rev().find(stats).unwrap_or_default())
        };
        Ok([last(&self.sides[0])?, last(&self.sides[1])?])
    }
}
