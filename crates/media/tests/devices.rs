//! Devices that go, come back and change while a call runs, on a sound server of the test's own (Linux, package pulseaudio).
//!
//! A program finds its sound server by its environment, so each test runs in a process of its own, which this program
//! starts. No cookie is there: the server knows its own user without one.

#![cfg(target_os = "linux")]

mod common;

use bellwire_media::{Command, Config, DeviceChoice, DeviceEvent, Event, Processing, Tone};
use common::*;
use std::future::Future;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;
use xtask::rig::{Plugged, Process, Recording, Sound, tethered};

const INSIDE: &str = "BELLWIRE_DEVICES_TEST";
/// The aim is 1.5 s; a machine on which this much is not enough is broken.
const BACK: Duration = Duration::from_secs(15);

/// Runs a test's body in a process of its own, with an environment that names a server of its own.
fn apart<F: Future<Output = ()>>(test: &str, body: impl FnOnce(Rig) -> F) {
    if let Some(dir) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(body(Rig::start(PathBuf::from(dir))));
    }
    let folder = Folder::new(test);
    let dir = &folder.0;
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, dir)
        .env("PULSE_SERVER", format!("unix:{}", dir.join("native").display()))
        .env("PULSE_COOKIE", dir.join("no-such-cookie"))
        .env("XDG_RUNTIME_DIR", dir)
        .env("HOME", dir)
        .status()
        .unwrap();
    assert!(status.success(), "{test}: {status}");
}

/// A sound server with what is plugged into it.
struct Rig {
    dir: PathBuf,
    sound: Option<Sound>,
    tone: PathBuf,
}

impl Rig {
    fn start(dir: PathBuf) -> Self {
        let tone = dir.join("tone.wav");
        let sample = |i: usize| 0.4 * (std::f32::consts::TAU * 440.0 * i as f32 / RATE as f32).sin();
        write_wav(&tone, &(0..120 * RATE).map(sample).collect::<Vec<_>>());
        Self { sound: Some(Sound::start(&dir).unwrap()), dir, tone }
    }

    fn sound(&self) -> &Sound {
        self.sound.as_ref().unwrap()
    }

    /// A speaker of this name and kind; it does not become the default by that.
    fn speaker(&self, name: &str, kind: &str) -> Plugged {
        let properties = format!("sink_properties=\"device.description={name} device.form_factor={kind}\"");
        self.sound().load(&["module-null-sink", &format!("sink_name={name}"), &properties, "rate=48000"]).unwrap()
    }

    /// What can be spoken into; see [`Rig::microphone`]. A virtual sink to which nobody listens works in pieces of two seconds,
    /// as no microphone does: so somebody listens as long as the value lives.
    fn throat(&self, name: &str) -> Ear {
        let throat = format!("{name}_throat");
        self.sound().load(&["module-null-sink", &format!("sink_name={throat}"), "rate=48000"]).unwrap();
        self.listen_at(&throat)
    }

    fn microphone(&self, name: &str) -> Plugged {
        let (source, master) = (format!("source_name={name}"), format!("master={name}_throat.monitor"));
        let properties = format!("source_properties=device.description={name}");
        self.sound().load(&["module-remap-source", &source, &master, &properties]).unwrap()
    }

    fn default_speaker(&self, name: &str) {
        self.sound().pactl(&["set-default-sink", name]).unwrap();
    }

    fn default_microphone(&self, name: &str) {
        self.sound().pactl(&["set-default-source", name]).unwrap();
    }

    /// Speaks into a microphone until the value is dropped; with little delay, or what is spoken into would give it on in
    /// pieces of two seconds.
    fn speak(&self, microphone: &str) -> Process {
        let mut command = tethered("paplay");
        command.args(["--latency-msec=20", &format!("--device={microphone}_throat")]).arg(&self.tone);
        command.envs(self.sound().env());
        Process::spawn(command, "paplay", &self.dir.join("paplay.log")).unwrap()
    }

    fn listen_at(&self, speaker: &str) -> Ear {
        let wav = self.dir.join(format!("at-{speaker}.wav"));
        let _ = std::fs::remove_file(&wav);
        Ear { recording: self.sound().record(speaker, &wav).unwrap(), wav }
    }

    /// Kills the server without a warning.
    fn kill_server(&mut self) {
        let id = self.sound().process_id().to_string();
        assert!(std::process::Command::new("kill").args(["-9", &id]).status().unwrap().success());
        self.sound = None;
        let _ = std::fs::remove_file(self.dir.join("native"));
    }
}

/// Hears what a speaker plays.
struct Ear {
    wav: PathBuf,
    #[expect(dead_code, reason = "it goes on as long as it lives")]
    recording: Recording,
}

impl Ear {
    /// Whether the newest 20 ms are loud.
    fn hears(&self) -> bool {
        newest(&self.wav, 1920).is_some_and(|sound| loudness(&sound) > 0.05)
    }
}

fn newest(wav: &Path, bytes: i64) -> Option<Vec<f32>> {
    let mut file = std::fs::File::open(wav).ok()?;
    let length = file.metadata().ok()?.len();
    // After the header, at the beginning of a sample.
    (length > 2 * bytes as u64 + 44).then_some(())?;
    file.seek(SeekFrom::Start((length - bytes as u64) / 2 * 2)).ok()?;
    let mut read = Vec::new();
    file.read_to_end(&mut read).ok()?;
    Some(read.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect())
}

fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|s| s * s).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}

/// Two people in a call: A has the devices, B speaks from a file and says how loud A is heard.
struct Call {
    a: Person,
    b: Person,
}

impl Call {
    async fn start(rig: &Rig, input: DeviceChoice, output: DeviceChoice) -> Self {
        let mut a = Person::new(Config {
            input,
            output,
            ring: Some(DeviceChoice::Named("ringer".into())),
            processing: Processing::OFF,
            ..config(&rig.tone, &rig.dir.join("unused.wav"))
        });
        let mut b = Person::new(Config { processing: Processing::OFF, ..config(&rig.tone, &rig.dir.join("at-b.wav")) });
        connect(&mut a, &mut b, 1).await;
        Self { a, b }
    }

    /// Waits until something is so, and says how long that took.
    async fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < BACK, "{what}: not within {BACK:?}; a said {:?}", told(&self.a.said));
            let moment = Duration::from_millis(10);
            tokio::join!(self.a.listen(moment), self.b.listen(moment));
        }
        begun.elapsed()
    }

    /// Whether B hears A now.
    fn far_hears(&self) -> bool {
        let newest = self.b.said.iter().rev().find_map(|(at, event)| match event {
            Event::Level { output, .. } => Some((*at, *output)),
            _ => None,
        });
        newest.is_some_and(|(at, level)| level > 0.5 && at.elapsed() < Duration::from_millis(200))
    }

    fn far_hears_nothing(&self) -> bool {
        let levels = self.b.said.iter().rev().filter_map(|(_, event)| match event {
            Event::Level { output, .. } => Some(*output),
            _ => None,
        });
        levels.take(5).all(|level| level < 0.2)
    }

    fn said(&self, wanted: &DeviceEvent) -> bool {
        self.a.said.iter().any(|(_, event)| matches!(event, Event::Device(event) if event == wanted))
    }

    async fn end(self) {
        self.a.engine.shutdown().await;
        self.b.engine.shutdown().await;
    }
}

fn named(name: &str) -> DeviceChoice {
    DeviceChoice::Named(name.into())
}

fn input_opened(name: &str, fallback: bool) -> DeviceEvent {
    DeviceEvent::InputOpened { name: name.into(), fallback }
}

fn output_opened(name: &str, fallback: bool) -> DeviceEvent {
    DeviceEvent::OutputOpened { name: name.into(), fallback }
}

fn held(name: &str) -> DeviceEvent {
    DeviceEvent::OutputHeld { name: name.into() }
}

fn report(what: &str, took: Duration) {
    println!("{what}: sound is back after {} ms", took.as_millis());
}

#[test]
fn chosen_devices_that_are_pulled_out_are_stood_in_for_and_come_back() {
    apart("chosen_devices_that_are_pulled_out_are_stood_in_for_and_come_back", |rig| async move {
        let (_, mut first) = (rig.speaker("second", "speaker"), rig.speaker("first", "speaker"));
        rig.default_speaker("second");
        let _throats = (rig.throat("main"), rig.throat("other"));
        let (mut main, _) = (rig.microphone("main"), rig.microphone("other"));
        rig.default_microphone("other");
        let mut call = Call::start(&rig, named("main"), named("first")).await;
        let (at_first, at_second) = (rig.listen_at("first"), rig.listen_at("second"));
        call.until("the chosen speaker plays", |_| at_first.hears()).await;
        assert!(!at_second.hears());
        drop(at_first);
        for round in 1..=3 {
            rig.sound().unplug(first).unwrap();
            report("speaker pulled out", call.until("another speaker plays", |_| at_second.hears()).await);
            assert!(call.said(&output_opened("second", true)));
            call.a.said.clear();
            first = rig.speaker("first", "speaker");
            let ear = rig.listen_at("first");
            report("speaker put in again", call.until("the chosen speaker plays again", |_| ear.hears()).await);
            call.until("it is said", |call| call.said(&output_opened("first", false))).await;
            call.until("the other is quiet", |_| !at_second.hears()).await;

            let voice = rig.speak("main");
            call.until("the chosen microphone is heard", Call::far_hears).await;
            drop(voice);
            call.until("nobody speaks", Call::far_hears_nothing).await;
            let voice = rig.speak("other");
            call.a.said.clear();
            rig.sound().unplug(main).unwrap();
            report("microphone pulled out", call.until("another is heard", Call::far_hears).await);
            assert!(call.said(&input_opened("other", true)), "round {round}: {:?}", told(&call.a.said));
            drop(voice);
            call.until("nobody speaks", Call::far_hears_nothing).await;
            let voice = rig.speak("main");
            main = rig.microphone("main");
            report("microphone put in again", call.until("the chosen one is heard again", Call::far_hears).await);
            assert!(call.said(&input_opened("main", false)), "round {round}: {:?}", told(&call.a.said));
            drop(voice);
            call.until("nobody speaks", Call::far_hears_nothing).await;
            call.a.said.clear();
        }
        call.end().await;
    });
}

#[test]
fn the_default_is_followed_when_it_changes() {
    apart("the_default_is_followed_when_it_changes", |rig| async move {
        rig.speaker("one", "speaker");
        rig.speaker("two", "speaker");
        let _throats = (rig.throat("red"), rig.throat("blue"));
        rig.microphone("red");
        rig.microphone("blue");
        rig.default_speaker("one");
        rig.default_microphone("red");
        let mut call = Call::start(&rig, DeviceChoice::Default, DeviceChoice::Default).await;
        let ears = [rig.listen_at("one"), rig.listen_at("two")];
        call.until("the default plays", |_| ears[0].hears() && !ears[1].hears()).await;
        for (speaker, microphone, at) in [("two", "blue", 1), ("one", "red", 0)] {
            rig.default_speaker(speaker);
            report("default speaker changed", call.until("the new one plays", |_| ears[at].hears()).await);
            call.until("the old one is quiet", |_| !ears[1 - at].hears()).await;
            let voice = rig.speak(microphone);
            rig.default_microphone(microphone);
            report("default microphone changed", call.until("the new one is heard", Call::far_hears).await);
            assert!(call.said(&output_opened(speaker, false)) && call.said(&input_opened(microphone, false)));
            drop(voice);
            call.until("nobody speaks", Call::far_hears_nothing).await;
        }
        call.end().await;
    });
}

#[test]
fn a_sound_server_that_is_killed_is_found_again() {
    apart("a_sound_server_that_is_killed_is_found_again", |mut rig| async move {
        let plug = |rig: &Rig| {
            rig.speaker("speakers", "speaker");
            let throat = rig.throat("mic");
            rig.microphone("mic");
            rig.default_speaker("speakers");
            rig.default_microphone("mic");
            throat
        };
        let mut throat = plug(&rig);
        let mut call = Call::start(&rig, DeviceChoice::Default, DeviceChoice::Default).await;
        for _ in 0..3 {
            let voice = rig.speak("mic");
            let ear = rig.listen_at("speakers");
            call.until("sound both ways", |call| call.far_hears() && ear.hears()).await;
            call.a.said.clear();
            rig.kill_server();
            drop((voice, ear, throat));
            let gone = |call: &Call| {
                let missing = |output: bool| {
                    call.a.said.iter().any(|(_, event)| match event {
                        Event::Device(DeviceEvent::InputMissing { .. }) => !output,
                        Event::Device(DeviceEvent::OutputMissing { .. }) => output,
                        _ => false,
                    })
                };
                missing(true) && missing(false) && call.far_hears_nothing()
            };
            call.until("it is said that they are gone", gone).await;
            rig.sound = Some(Sound::start(&rig.dir).unwrap());
            throat = plug(&rig);
            let _voice = rig.speak("mic");
            let ear = rig.listen_at("speakers");
            // From when the virtual devices work, which takes them up to two seconds.
            let begun = Instant::now();
            call.until("the speaker plays again", |_| ear.hears()).await;
            report("server killed and restarted, speaker", begun.elapsed());
            call.until("the microphone is heard again", Call::far_hears).await;
            report("server killed and restarted, microphone at the latest", begun.elapsed());
            assert!(call.said(&output_opened("speakers", false)) && call.said(&input_opened("mic", false)));
        }
        call.end().await;
    });
}

#[test]
fn what_was_heard_in_a_headset_is_not_played_to_the_room_unasked() {
    apart("what_was_heard_in_a_headset_is_not_played_to_the_room_unasked", |rig| async move {
        rig.speaker("speakers", "speaker");
        let plug = || {
            let headset = rig.speaker("headset", "headset");
            rig.default_speaker("headset");
            headset
        };
        let headset = plug();
        let _throat = rig.throat("mic");
        rig.microphone("mic");
        let mut call = Call::start(&rig, DeviceChoice::Default, DeviceChoice::Default).await;
        let room = rig.listen_at("speakers");
        let ear = rig.listen_at("headset");
        call.until("the headset plays", |_| ear.hears()).await;
        drop(ear);
        // Pulled out: held, and silent, until somebody says so.
        rig.sound().unplug(headset).unwrap();
        call.until("it is held", |call| call.said(&held("speakers"))).await;
        let end = Instant::now() + Duration::from_secs(1);
        call.until("a second goes by", |_| {
            assert!(!room.hears(), "the room hears it");
            Instant::now() > end
        })
        .await;
        call.a.engine.command(Command::UseHeldOutput);
        call.until("the room hears it", |_| room.hears()).await;
        // Back in: it is used. Out again: held again, until it is back by itself.
        for _ in 0..2 {
            call.a.said.clear();
            let headset = plug();
            let ear = rig.listen_at("headset");
            call.until("the headset plays", |call| ear.hears() && call.said(&output_opened("headset", false))).await;
            drop(ear);
            rig.sound().unplug(headset).unwrap();
            call.until("it is held", |call| call.said(&held("speakers"))).await;
        }
        call.until("the room is quiet", |_| !room.hears()).await;
        // Nobody here is heard while muted, so the room may hear.
        call.a.engine.command(Command::Mute(true));
        call.until("the room hears it", |call| room.hears() && call.said(&output_opened("speakers", false))).await;
        // What is chosen is meant.
        call.a.engine.command(Command::Mute(false));
        let headset = plug();
        call.until("the headset is back", |call| call.said(&output_opened("headset", false))).await;
        call.a.engine.command(Command::SetOutput(named("speakers")));
        call.until("the chosen speaker plays", |_| room.hears()).await;
        let _ = headset;
        call.end().await;
    });
}

#[test]
fn it_rings_on_the_ring_s_own_speaker_and_without_it_where_calls_are_heard() {
    apart("it_rings_on_the_ring_s_own_speaker_and_without_it_where_calls_are_heard", |rig| async move {
        rig.speaker("speakers", "speaker");
        rig.default_speaker("speakers");
        let ringer = rig.speaker("ringer", "speaker");
        let mut a = Person::new(Config {
            output: DeviceChoice::Default,
            ring: Some(named("ringer")),
            ..config(&rig.tone, &rig.dir.join("unused.wav"))
        });
        let (bell, room) = (rig.listen_at("ringer"), rig.listen_at("speakers"));
        a.engine.command(Command::Tone(Some(Tone::Ring)));
        let end = Instant::now() + BACK;
        while !bell.hears() {
            assert!(Instant::now() < end, "it does not ring; {:?}", told(&a.said));
            assert!(!room.hears(), "it rings at the wrong place");
            a.listen(Duration::from_millis(10)).await;
        }
        drop(bell);
        rig.sound().unplug(ringer).unwrap();
        while !room.hears() {
            assert!(Instant::now() < end, "it does not ring elsewhere; {:?}", told(&a.said));
            a.listen(Duration::from_millis(10)).await;
        }
        // Another tone is none of the ring's.
        let _ringer = rig.speaker("ringer", "speaker");
        let bell = rig.listen_at("ringer");
        a.engine.command(Command::Tone(Some(Tone::Ringback)));
        a.until(|event| matches!(event, Event::Level { output, .. } if *output > 0.1).then_some(())).await;
        assert!(!bell.hears());
        a.engine.shutdown().await;
    });
}
