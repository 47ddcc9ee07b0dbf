//! The virtual devices: the microphone of one and the speaker of the other are the two channels of one wire, so that one
//! recorder with one clock hears what goes in and what comes out.

use super::judge::{LEAD, Tools, WINDOW};
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
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

    /// Both channels from now on, into that file at the end.
    pub fn record(&self, raw: PathBuf) -> Result<Recorder> {
        let mut command = tethered("parec");
        command.args(["--device=wire.monitor", "--raw", "--format=s16le", "--rate=48000", "--channels=2"]);
        command.args(["--latency-msec=20"]).envs(self.sound.env());
        let mut process = Process::spawn_piped(command, "parec", &raw.with_extension("log"))?;
        let mut stdout = process.stdout().context("the recorder has no output")?;
        let heard = Arc::new(AtomicBool::new(false));
        let hears = Arc::clone(&heard);
        // Held in memory: a recorder that waits for a slow disk loses sound.
        let sound = std::thread::spawn(move || {
            let mut sound = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(length) = stdout.read(&mut piece) {
                if length == 0 {
                    break;
                }
                sound.extend_from_slice(&piece[..length]);
                hears.store(true, Ordering::Relaxed);
            }
            sound
        });
        wait_for("the recorder hears something", CAP, || Ok(heard.load(Ordering::Relaxed).then_some(())))?;
        Ok(Recorder { process, sound, raw })
    }

    /// The same way without a call, from the microphone straight to the speaker: its delay in milliseconds.
    pub fn own_delay(&self, tools: &Tools, dir: &Path) -> Result<f64> {
        let dir = crate::demo::fresh(&dir.join("own"))?;
        let speech = tools.speech(&dir, WINDOW)?;
        let [[microphone, _], [_, speaker]] = DEVICES;
        let (source, sink) = (format!("source={microphone}"), format!("sink={speaker}"));
        let loopback = self.sound.load(&["module-loopback", &source, &sink, "latency_msec=20"])?;
        let recorder = self.record(dir.join("loop.raw"))?;
        self.say(&speech[0])?.wait(Duration::from_secs(LEAD + WINDOW) + CAP)?;
        let raw = recorder.stop()?;
        self.sound.unplug(loopback)?;
        let heard = tools.judge(&raw, LEAD..LEAD + WINDOW)?;
        println!("  the rig alone: PESQ {:.2}, {:?} to {:?} ms", heard.pesq, heard.delay_5_ms, heard.delay_95_ms);
        heard.delay_ms.context("the devices are deaf without any call")
    }
}

/// A recording that goes on.
pub struct Recorder {
    process: Process,
    sound: JoinHandle<Vec<u8>>,
    raw: PathBuf,
}

impl Recorder {
    /// Ends it and says where it is.
    pub fn stop(mut self) -> Result<PathBuf> {
        self.process.end();
        let Ok(sound) = self.sound.join() else { bail!("the recorder's reader panicked") };
        std::fs::write(&self.raw, sound)?;
        Ok(self.raw)
    }
}
