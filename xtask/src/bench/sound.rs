//! Microphone to speaker, through two endpoints in a call over virtual devices.
//!
//! The microphone of one and the speaker of the other are the two channels of one virtual wire, so that one recorder
//! with one clock hears what goes in and what comes out.

use super::{Figure, delay};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use xtask::cli::{Cli, Setup, Task};
use xtask::rig::{Process, Sound, tethered};
use xtask::server::{Person, Seeded, Server};
use xtask::speech::{Voice, speak_for};

const CAP: Duration = Duration::from_secs(60);
/// Until the jitter buffer has settled.
const SETTLING: Duration = Duration::from_secs(5);
const RECORDED: Duration = Duration::from_secs(15);

pub fn measure(dir: &Path) -> Result<Vec<Figure>> {
    println!("microphone to speaker: about {} s", ((RECORDED + SETTLING) * 2).as_secs());
    let dir = crate::demo::fresh(&dir.join("sound"))?;
    let (says, answers) = (dir.join("client-says.wav"), dir.join("provider-says.wav"));
    speak_for(Voice::Client, &says, 60)?;
    speak_for(Voice::Provider, &answers, 60)?;
    let wire = Wire::lay(&dir)?;
    let own = wire.own_delay(&dir, &says)?;

    let server = Server::start("release", &dir)?;
    let seeded = server.seed_demo()?;
    let mut provider = wire.endpoint(&dir, &server, &seeded, Task::Answer)?;
    let mut client = wire.endpoint(&dir, &server, &seeded, Task::Call)?;
    for endpoint in [&mut client, &mut provider] {
        endpoint.wait_for_state("connected", CAP)?;
    }
    let _talk = [wire.sound.play_into(IN, &says)?, wire.sound.play(OTHER_MICROPHONE, &answers)?];
    std::thread::sleep(SETTLING);
    let delays = wire.recorded_delays(&dir.join("call.raw"))?;
    client.end();
    provider.wait(CAP)?;

    let spread = format!("{} pieces of speech, {:.0} to {:.0} ms", delays.len(), delays[0], delays[delays.len() - 1]);
    Ok(vec![
        Figure::new("microphone to speaker, median", delay::median(&delays)?, "ms").aim(100.0).note(spread),
        Figure::new("the virtual devices' own loop, median", delay::median(&own)?, "ms")
            .note("the same recording with PulseAudio's loopback in place of the call; part of the line above"),
    ])
}

/// What the client's microphone hears is played here; the provider's speaker is the other channel.
const IN: &str = "client_in";
const MICROPHONE: &str = "client_microphone";
const SPEAKER: &str = "provider_speaker";
const OTHER_MICROPHONE: &str = "provider_microphone";
const OTHER_SPEAKER: &str = "client_speaker";

struct Wire {
    sound: Sound,
}

impl Wire {
    fn lay(dir: &Path) -> Result<Self> {
        let sound = Sound::start(&dir.join("sound"))?;
        let map = "channel_map=front-left,front-right";
        sound.load(&["module-null-sink", "sink_name=wire", "channels=2", map, "rate=48000"])?;
        let half = |module: &str, kind: &str, name: &str, master: &str, channel: &str| {
            sound.load(&[
                module,
                &format!("{kind}_name={name}"),
                &format!("master={master}"),
                "channels=1",
                "channel_map=mono",
                &format!("master_channel_map={channel}"),
                "remix=no",
                &format!("{kind}_properties=device.description={name}"),
            ])
        };
        half("module-remap-sink", "sink", IN, "wire", "front-left")?;
        half("module-remap-sink", "sink", SPEAKER, "wire", "front-right")?;
        half("module-remap-source", "source", MICROPHONE, "wire.monitor", "front-left")?;
        sound.plug_microphone(OTHER_MICROPHONE)?;
        sound.plug_speaker(OTHER_SPEAKER)?;
        Ok(Self { sound })
    }

    /// The same way without a call: from the microphone straight to the speaker.
    fn own_delay(&self, dir: &Path, speech: &Path) -> Result<Vec<f64>> {
        let source = format!("source={MICROPHONE}");
        let sink = format!("sink={SPEAKER}");
        let loopback = self.sound.load(&["module-loopback", &source, &sink, "latency_msec=1"])?;
        let _talk = self.sound.play_into(IN, speech)?;
        std::thread::sleep(SETTLING);
        let delays = self.recorded_delays(&dir.join("loop.raw"))?;
        self.sound.unplug(loopback)?;
        Ok(delays)
    }

    fn recorded_delays(&self, raw: &Path) -> Result<Vec<f64>> {
        let mut command = tethered("parec");
        command.args(["--device=wire.monitor", "--raw", "--format=s16le", "--rate=48000", "--channels=2"]);
        command.args(["--latency-msec=20"]).envs(self.sound.env());
        let mut recorder = Process::spawn_apart(command, "parec", raw, &raw.with_extension("log"))?;
        std::thread::sleep(RECORDED);
        recorder.end();
        delay::delays(&std::fs::read(raw)?)
    }

    fn endpoint(&self, dir: &Path, server: &Server, seeded: &Seeded, task: Task) -> Result<Cli> {
        let (name, person, input, output): (&str, &Person, &str, &str) = match task {
            Task::Call => ("client", &seeded.client, MICROPHONE, OTHER_SPEAKER),
            Task::Answer => ("provider", &seeded.provider, OTHER_MICROPHONE, SPEAKER),
        };
        Cli::start(Setup {
            profile: "release",
            dir,
            name,
            task,
            server,
            person,
            booking: &seeded.booking,
            input: listed(&self.sound, input)?,
            output: listed(&self.sound, output)?,
            extra: Vec::new(),
            env: self.sound.env().to_vec(),
        })
    }
}

/// A device's name as `bellwire-cli devices` has it.
pub fn listed(sound: &Sound, name: &str) -> Result<String> {
    let output =
        Command::new(xtask::built("release", "bellwire-cli")).args(["devices", "--json"]).envs(sound.env()).output()?;
    let devices: Vec<Value> = serde_json::from_slice(&output.stdout).context("no list of devices")?;
    let names: Vec<&str> = devices.iter().filter_map(|device| device["name"].as_str()).collect();
    names
        .iter()
        .find(|listed| **listed == name)
        .map(|found| (*found).to_owned())
        .with_context(|| format!("{name} is not among {names:?}"))
}
