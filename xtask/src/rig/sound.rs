//! A private PulseAudio with virtual devices: what is played into a microphone, what comes out of a speaker.

use super::{Process, tethered, wait_for};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_CAP: Duration = Duration::from_secs(20);
const RATE: u32 = 48_000;

/// A sound server of its own, with no devices until they are plugged in.
pub struct Sound {
    socket: PathBuf,
    dir: PathBuf,
    process: Process,
}

/// A module that stands for a device; see [`Sound::unplug`].
#[derive(Clone, Copy, Debug)]
pub struct Plugged(u32);

impl Sound {
    pub fn start(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let socket = dir.join("native");
        // The server lets everybody in, but takes a client for broken that has no cookie of this length.
        std::fs::write(dir.join("cookie"), [0; 256])?;
        // Of a server of 44,100 Hz, some programs ask for that rate of every device.
        std::fs::create_dir_all(dir.join("pulse"))?;
        std::fs::write(dir.join("pulse/daemon.conf"), format!("default-sample-rate = {RATE}\n"))?;
        let mut command = tethered("pulseaudio");
        command
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-target=stderr"])
            .args(["--disable-shm=yes", "--realtime=yes", "--high-priority=yes"])
            .arg(format!("--load=module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()))
            .envs([("HOME", dir), ("XDG_RUNTIME_DIR", dir), ("XDG_CONFIG_HOME", dir), ("PULSE_RUNTIME_PATH", dir)]);
        let mut process = Process::spawn(command, "pulseaudio", &dir.join("pulseaudio.log"))
            .context("the sound server did not start (package pulseaudio)")?;
        wait_for("the sound server answers", START_CAP, || {
            if process.has_ended() {
                bail!("pulseaudio ended at once; see {}", process.log().display());
            }
            Ok(socket.exists().then_some(()))
        })?;
        Ok(Self { socket, dir: dir.to_owned(), process })
    }

    /// What a program needs to find this server and no other.
    pub fn env(&self) -> [(&'static str, OsString); 3] {
        let mut server = OsString::from("unix:");
        server.push(&self.socket);
        [
            ("PULSE_SERVER", server),
            ("PULSE_COOKIE", self.dir.join("cookie").into()),
            ("XDG_RUNTIME_DIR", self.dir.clone().into_os_string()),
        ]
    }

    /// A speaker named `NAME`, from now on the default one, whose sound [`record`](Self::record) hears.
    pub fn plug_speaker(&self, name: &str) -> Result<Plugged> {
        let speaker =
            self.load(&["module-null-sink", &format!("sink_name={name}"), &described("sink_properties", name), RATED])?;
        self.pactl(&["set-default-sink", name])?;
        Ok(speaker)
    }

    /// A microphone named `NAME`, from now on the default one, that hears what is [`play`](Self::play)ed into it.
    pub fn plug_microphone(&self, name: &str) -> Result<[Plugged; 2]> {
        let throat = throat(name);
        let sink = self.load(&[
            "module-null-sink",
            &format!("sink_name={throat}"),
            &described("sink_properties", &throat),
            RATED,
        ])?;
        let source = self.load(&[
            "module-remap-source",
            &format!("source_name={name}"),
            &format!("master={throat}.monitor"),
            &described("source_properties", name),
        ])?;
        self.pactl(&["set-default-source", name])?;
        Ok([source, sink])
    }

    /// Pulls a device out.
    pub fn unplug(&self, device: Plugged) -> Result<()> {
        self.pactl(&["unload-module", &device.0.to_string()]).map(drop)
    }

    /// Plays a WAV file into a microphone, until its end or until the value is dropped.
    pub fn play(&self, microphone: &str, wav: &Path) -> Result<Process> {
        self.play_into(&throat(microphone), wav)
    }

    /// As [`play`](Self::play), into a sink.
    pub fn play_into(&self, sink: &str, wav: &Path) -> Result<Process> {
        let mut command = tethered("paplay");
        command.arg(format!("--device={sink}")).arg(wav).envs(self.env());
        Process::spawn(command, "paplay", &self.dir.join("paplay.log")).context("package pulseaudio-utils")
    }

    /// Records what a speaker gives, from now until [`Recording::stop`].
    pub fn record(&self, speaker: &str, wav: &Path) -> Result<Recording> {
        let mut command = tethered("parec");
        command
            .arg(format!("--device={speaker}.monitor"))
            .args(["--file-format=wav", "--format=s16le", "--channels=1", "--latency-msec=20"])
            .arg(format!("--rate={RATE}"))
            .arg(wav)
            .envs(self.env());
        let process =
            Process::spawn(command, "parec", &self.dir.join("parec.log")).context("package pulseaudio-utils")?;
        wait_for("the recorder hears something", START_CAP, || {
            let heard = std::fs::metadata(wav).is_ok_and(|file| file.len() > 1000);
            Ok(heard.then_some(()))
        })?;
        Ok(Recording { process, wav: wav.to_owned() })
    }

    /// Runs `pactl` against this server and returns what it printed.
    pub fn pactl(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("pactl").args(args).envs(self.env()).output().context("package pulseaudio-utils")?;
        if !output.status.success() {
            bail!("pactl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The sound server's own process, whose time a measurement may have to leave out.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Loads a PulseAudio module.
    pub fn load(&self, module: &[&str]) -> Result<Plugged> {
        let printed = self.pactl(&[&["load-module"], module].concat())?;
        Ok(Plugged(printed.trim().parse().with_context(|| format!("pactl printed {printed:?}"))?))
    }
}

const RATED: &str = "rate=48000";

/// The sink that one plays into to speak into a microphone.
fn throat(microphone: &str) -> String {
    format!("{microphone}_throat")
}

fn described(property: &str, name: &str) -> String {
    format!("{property}=device.description={name}")
}

/// A recording that goes on.
pub struct Recording {
    process: Process,
    wav: PathBuf,
}

impl Recording {
    /// Ends it and says where it is.
    pub fn stop(mut self) -> PathBuf {
        self.process.end();
        self.wav.clone()
    }
}
