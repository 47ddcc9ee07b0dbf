//! What an endpoint without a window costs in a call: processor time and memory, with all processing on.
//!
//! Measured twice: between files, which is the engine alone, and with virtual devices, where the sound server's habits
//! count too: its null sinks ask for sound in steps of half a millisecond, which no real device does.

use super::{Figure, process};
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};
use xtask::cli::{Cli, Setup, Task, listed, wav};
use xtask::rig::Sound;
use xtask::server::{Seeded, Server};
use xtask::speech::{Voice, speak_for};

const CAP: Duration = Duration::from_secs(60);
const MEASURED: Duration = Duration::from_secs(30);
/// Speech for the call's whole length.
const SPEECH_SECONDS: u32 = 60;

pub fn measure(dir: &Path, profile: &str) -> Result<Vec<Figure>> {
    println!("cost of an endpoint: about {} s", (MEASURED * 2).as_secs());
    let dir = crate::demo::fresh(&dir.join("cost"))?;
    let speeches = [dir.join("client-says.wav"), dir.join("provider-says.wav")];
    speak_for(Voice::Client, &speeches[0], SPEECH_SECONDS)?;
    speak_for(Voice::Provider, &speeches[1], SPEECH_SECONDS)?;
    let server = Server::start(profile, &dir)?;
    let seeded = server.seed_demo()?;

    let hears = [dir.join("client-hears.wav"), dir.join("provider-hears.wav")];
    let between_files =
        call(profile, &dir, &server, &seeded, None, |side| Ok([wav(&speeches[side]), wav(&hears[side])]))?;

    let sound = Sound::start(&dir.join("sound"))?;
    for side in ["client", "provider"] {
        sound.plug_speaker(&format!("{side}_speaker"))?;
        sound.plug_microphone(&format!("{side}_microphone"))?;
    }
    let _talk = [sound.play("client_microphone", &speeches[0])?, sound.play("provider_microphone", &speeches[1])?];
    let with_devices = call(profile, &dir, &server, &seeded, Some(&sound), |side| {
        let name = ["client", "provider"][side];
        Ok([
            listed(profile, &sound, &format!("{name}_microphone"))?,
            listed(profile, &sound, &format!("{name}_speaker"))?,
        ])
    })?;

    let seconds = MEASURED.as_secs();
    Ok(vec![
        Figure::new("processor time of one endpoint", with_devices.cpu_seconds_a_minute, "s a minute")
            .aim(2.0)
            .note(format!("with virtual devices; both talk, all processing on, the mean of both over {seconds} s")),
        Figure::new("the same between files", between_files.cpu_seconds_a_minute, "s a minute"),
        Figure::new("memory of one endpoint (PSS)", with_devices.pss_mib, "MiB")
            .aim(40.0)
            .note(format!("with virtual devices; {:.1} MiB between files", between_files.pss_mib)),
    ])
}

/// The mean of both endpoints of a call.
struct Cost {
    cpu_seconds_a_minute: f64,
    pss_mib: f64,
}

/// `devices` names the microphone and the speaker of the client (0) and the provider (1).
fn call(
    profile: &str,
    dir: &Path,
    server: &Server,
    seeded: &Seeded,
    sound: Option<&Sound>,
    devices: impl Fn(usize) -> Result<[String; 2]>,
) -> Result<Cost> {
    let start = |side: usize, name, task, person| {
        let [input, output] = devices(side)?;
        let booking = seeded.booking.as_str();
        let env = sound.map(|sound| sound.env().to_vec()).unwrap_or_default();
        let extra = Vec::new();
        Cli::start(Setup { profile, dir, name, task, server, person, booking, input, output, extra, env })
    };
    let mut provider = start(1, "provider", Task::Answer, &seeded.provider)?;
    let mut client = start(0, "client", Task::Call, &seeded.client)?;
    for endpoint in [&mut client, &mut provider] {
        endpoint.wait_for_state("connected", CAP)?;
    }
    std::thread::sleep(Duration::from_secs(2));
    let ids = [client.process_id(), provider.process_id()];
    let spent = || -> Result<f64> { Ok(process::cpu_seconds(ids[0])? + process::cpu_seconds(ids[1])?) };
    let (begun, before) = (Instant::now(), spent()?);
    std::thread::sleep(MEASURED);
    let cpu_seconds_a_minute = (spent()? - before) / begun.elapsed().as_secs_f64() * 60.0 / 2.0;
    let pss_mib = (process::pss_kib(ids[0])? + process::pss_kib(ids[1])?) / 1024.0 / 2.0;
    client.end();
    provider.wait(CAP)?;
    Ok(Cost { cpu_seconds_a_minute, pss_mib })
}
