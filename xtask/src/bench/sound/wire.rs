//! The virtual devices: the microphone of one and the speaker of the other are the two channels of one wire, so that one
//! recorder with one clock hears what goes in and what comes out.

use super::judge::{LEAD, Tools, WINDOW};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xtask::rig::{Process, Sound, tethered, wait_for};

const CAP: Duration = Duration::from_secs(20);

/// What the speaking side's microphone hears is played here; the hearing side's speaker is the other channel.
const IN: &str = "a_in";
/// Microphone and speaker of the one who is heard, and of the other.
pub const DEVICES: [[&str; 2]; 2] = [["a_microphone", "a_speaker"], ["b_microphone", "b_speaker"]];

pub struct Wire {
    pub sound: Sound,
}

impl Wire {
    pub fn lay(dir: &Path) -> Result<Self> {
        let sound = Sound::start(&dir.join("pulse"))?;
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
        let [[microphone, other_speaker], [other_microphone, speaker]] = DEVICES;
        half("module-remap-sink", "sink", IN, "wire", "front-left")?;
        half("module-remap-sink", "sink", speaker, "wire", "front-right")?;
        half("module-remap-source", "source", microphone, "wire.monitor", "front-left")?;
        sound.plug_microphone(other_microphone)?;
        sound.plug_speaker(other_speaker)?;
        Ok(Self { sound })
    }

    /// The one who is heard says this.
    pub fn say(&self, wav: &Path) -> Result<Process> {
        self.sound.play_into(IN, wav)
    }

    /// The other says this.
    pub fn say_back(&self, wav: &Path) -> Result<Process> {
        self.sound.play(DEVICES[1][0], wav)
    }

    /// Both channels from now on.
    pub fn record(&self, raw: PathBuf) -> Result<Recorder> {
        let mut command = tethered("parec");
        command.args(["--device=wire.monitor", "--raw", "--format=s16le", "--rate=48000", "--channels=2"]);
        command.args(["--latency-msec=20"]).envs(self.sound.env());
        let process = Process::spawn_apart(command, "parec", &raw, &raw.with_extension("log"))?;
        wait_for("the recorder hears something", CAP, || {
            Ok(std::fs::metadata(&raw).is_ok_and(|file| file.len() > 1000).then_some(()))
        })?;
        Ok(Recorder { process, raw })
    }

    /// The same way without a call, from the microphone straight to the speaker: its delay in milliseconds.
    pub fn own_delay(&self, tools: &Tools, dir: &Path) -> Result<f64> {
        let dir = crate::demo::fresh(&dir.join("own"))?;
        let speech = tools.speech(&dir, WINDOW)?;
        let [[microphone, _], [_, speaker]] = DEVICES;
        let (source, sink) = (format!("source={microphone}"), format!("sink={speaker}"));
        let loopback = self.sound.load(&["module-loopback", &source, &sink, "latency_msec=5"])?;
        let recorder = self.record(dir.join("loop.raw"))?;
        self.say(&speech[0])?.wait(Duration::from_secs(LEAD + WINDOW) + CAP)?;
        let raw = recorder.stop();
        self.sound.unplug(loopback)?;
        tools.judge(&raw, LEAD..LEAD + WINDOW)?.delay_ms.context("the devices are deaf without any call")
    }
}

/// A recording that goes on.
pub struct Recorder {
    process: Process,
    raw: PathBuf,
}

impl Recorder {
    /// Ends it and says where it is.
    pub fn stop(mut self) -> PathBuf {
        self.process.end();
        self.raw.clone()
    }
}
