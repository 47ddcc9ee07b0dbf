//! Two endpoints in a call over virtual devices: microphone to speaker, processor time, memory.
//!
//! The microphone of one and the speaker of the other are the two channels of one virtual wire, so that one recorder
//! with one clock hears what goes in and what comes out.

use super::{Figure, delay, process};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use xtask::cli::{Cli, Setup, Task};
use xtask::rig::{Process, Sound, tethered};
use xtask::server::{Person, Seeded, Server};
use xtask::speech::{Voice, speak};

const CAP: Duration = Duration::from_secs(60);
/// Until the jitter buffer has settled.
const SETTLING: Duration = Duration::from_secs(5);
const RECORDED: Duration = Duration::from_secs(15);
const MEASURED: Duration = Duration::from_secs(30);

pub fn measure(dir: &Path) -> Result<Vec<Figure>> {
    println!("microphone to speaker: about {} s", (RECORDED * 2 + SETTLING * 2 + MEASURED).as_secs());
    let dir = crate::demo::fresh(&dir.join("sound"))?;
    let (says, answers) = (dir.join("client-says.wav"), dir.join("provider-says.wav"));
    speak(Voice::Client, &says)?;
    speak(Voice::Provider, &answers)?;
    let wire = Wire::lay(&dir)?;
    let own = wire.own_delay(&dir, &says)?;

    let server = Server::start("release", &dir)?;
    let seeded = server.seed_demo()?;
    let mut provider = wire.endpoint(&dir, &server, &seeded, Task::Answer)?;
    let mut client = wire.endpoint(&dir, &server, &seeded, Task::Call)?;
    for endpoint in [&mut client, &mut provider] {
        endpoint.wait_for_state("connected", CAP)?;
    }
    let mut talk = [Talk::new(&wire, IN, &says), Talk::new(&wire, OTHER_IN, &answers)];
    talk_for(&mut talk, SETTLING)?;
    let recording = wire.record(&dir.join("call.raw"))?;
    talk_for(&mut talk, RECORDED)?;
    let delays = delay::delays(&recording.stop()?)?;

    let endpoints = [client.process_id(), provider.process_id()];
    let before = [process::cpu_seconds(endpoints[0])?, process::cpu_seconds(endpoints[1])?];
    let begun = Instant::now();
    talk_for(&mut talk, MEASURED)?;
    let seconds = begun.elapsed().as_secs_f64();
    let share = |n: usize| -> Result<f64> { Ok((process::cpu_seconds(endpoints[n])? - before[n]) / seconds * 100.0) };
    let (cpu, other_cpu) = (share(0)?, share(1)?);
    let (pss, other_pss) = (process::pss_kib(endpoints[0])? / 1024.0, process::pss_kib(endpoints[1])? / 1024.0);
    client.end();
    provider.wait(CAP)?;

    let spread = format!("{} pieces of speech, {:.0} to {:.0} ms", delays.len(), delays[0], delays[delays.len() - 1]);
    Ok(vec![
        Figure::new("microphone to speaker, median", delay::median(&delays)?, "ms").aim(100.0).note(spread),
        Figure::new("the virtual devices' own loop, median", delay::median(&own)?, "ms")
            .note("the same recording with PulseAudio's loopback in place of the call; part of the line above"),
        Figure::new("processor time of one endpoint", cpu.max(other_cpu), "% of a core").aim(3.0).note(format!(
            "both talk, all processing on, {:.0} s; the other one {:.1} %",
            seconds,
            cpu.min(other_cpu)
        )),
        Figure::new("memory of one endpoint (PSS)", pss.max(other_pss), "MB")
            .aim(40.0)
            .note(format!("the other one {:.1} MB", pss.min(other_pss))),
    ])
}

/// What the client's microphone hears is played here; the provider's speaker is the other channel.
const IN: &str = "client_in";
const MICROPHONE: &str = "client_microphone";
const SPEAKER: &str = "provider_speaker";
const OTHER_IN: &str = "provider_microphone_throat";
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
        let mut talk = [Talk::new(self, IN, speech)];
        talk_for(&mut talk, SETTLING)?;
        let recording = self.record(&dir.join("loop.raw"))?;
        talk_for(&mut talk, RECORDED)?;
        let delays = delay::delays(&recording.stop()?)?;
        self.sound.unplug(loopback)?;
        Ok(delays)
    }

    fn record(&self, raw: &Path) -> Result<RawRecording> {
        let mut command = tethered("parec");
        command.args(["--device=wire.monitor", "--raw", "--format=s16le", "--rate=48000", "--channels=2"]);
        command.args(["--latency-msec=20"]).envs(self.sound.env());
        let process = Process::spawn_apart(command, "parec", raw, &raw.with_extension("log"))?;
        Ok(RawRecording { process, raw: raw.to_owned() })
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
            input: self.listed(input)?,
            output: self.listed(output)?,
            extra: Vec::new(),
            env: self.sound.env().to_vec(),
        })
    }

    /// A device's name as `bellwire-cli devices` has it.
    fn listed(&self, name: &str) -> Result<String> {
        let output = Command::new(xtask::built("release", "bellwire-cli"))
            .args(["devices", "--json"])
            .envs(self.sound.env())
            .output()?;
        let devices: Vec<Value> = serde_json::from_slice(&output.stdout).context("no list of devices")?;
        let names: Vec<&str> = devices.iter().filter_map(|device| device["name"].as_str()).collect();
        let exact = names.iter().find(|listed| **listed == name);
        let found = exact.or_else(|| names.iter().find(|listed| listed.contains(name) && !listed.contains("onitor")));
        found.map(|found| (*found).to_owned()).with_context(|| format!("{name} is not among {names:?}"))
    }
}

struct RawRecording {
    process: Process,
    raw: std::path::PathBuf,
}

impl RawRecording {
    fn stop(mut self) -> Result<Vec<u8>> {
        self.process.end();
        Ok(std::fs::read(&self.raw)?)
    }
}

/// Speech that begins again when it has ended.
struct Talk<'a> {
    wire: &'a Wire,
    sink: &'a str,
    speech: &'a Path,
    playing: Option<Process>,
}

impl<'a> Talk<'a> {
    fn new(wire: &'a Wire, sink: &'a str, speech: &'a Path) -> Self {
        Self { wire, sink, speech, playing: None }
    }

    fn go_on(&mut self) -> Result<()> {
        if self.playing.as_mut().is_none_or(Process::has_ended) {
            self.playing = Some(self.wire.sound.play_into(self.sink, self.speech)?);
        }
        Ok(())
    }
}

fn talk_for(talk: &mut [Talk<'_>], time: Duration) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        for one in &mut *talk {
            one.go_on()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
