//! Measures the delay from microphone to speaker through two engines, on virtual devices of a PulseAudio server.
//!
//! `delay MICROPHONE SPEAKER CLICK-SINK` plays clicks on the sink that feeds the microphone, and compares when they come
//! out of the two monitors: that of the click sink and that of the speaker. Device events are printed as they come, so
//! the example also shows what happens when a device is taken away. `--seconds N` ends it.

use bellwire_media::{Command, Config, DeviceChoice, Engine, Event, Leg, Processing, Route};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, SampleFormat, StreamConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [microphone, speaker, click_sink, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: delay MICROPHONE SPEAKER CLICK-SINK [SECONDS]");
        std::process::exit(2);
    };
    let seconds = rest.first().and_then(|text| text.parse().ok()).unwrap_or(15);
    for device in bellwire_media::devices().unwrap_or_default() {
        println!("{device:?}");
    }
    let named = |name: &String| DeviceChoice::Named(name.clone());
    let silent = DeviceChoice::Wav(std::env::temp_dir().join("no-such-folder/silence.wav"));
    let off = Processing { echo_cancellation: true, ..Processing::OFF };
    let bind = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let config = |input, output| Config { input, output, bind, processing: off, ..Config::default() };
    let (a, mut at_a) = Engine::start(config(named(microphone), silent.clone()));
    let (b, mut at_b) = Engine::start(config(silent, named(speaker)));
    for engine in [&a, &b] {
        engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    }
    a.command(Command::Offer { leg: Leg::CALL, generation: 1 });

    let (clicks, heard) = mpsc::channel();
    let host = cpal::host_from_id(cpal::HostId::PulseAudio).expect("a PulseAudio server");
    let spoken = listen(&host, &format!("{click_sink}.monitor"), clicks.clone(), "spoken");
    let played = listen(&host, &format!("{speaker}.monitor"), clicks, "heard");
    let clicking = click(&host, click_sink);

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut last = None;
    let begun = Instant::now();
    while Instant::now() < end {
        let (event, to, who) = tokio::select! {
            Some(event) = at_a.recv() => (event, &b, 'a'),
            Some(event) = at_b.recv() => (event, &a, 'b'),
            () = tokio::time::sleep(Duration::from_millis(20)) => { report(&heard, &mut last); continue }
        };
        match event {
            Event::Description { generation, kind, sdp, .. } => {
                to.command(Command::SetRemote { leg: Leg::CALL, generation, kind, sdp })
            }
            Event::Candidates { generation, candidates, .. } => {
                to.command(Command::AddCandidates { leg: Leg::CALL, generation, candidates })
            }
            Event::Device(event) => println!("{:6} ms {who}: {event:?}", begun.elapsed().as_millis()),
            Event::Flowing { .. } => println!("{:6} ms {who}: flowing", begun.elapsed().as_millis()),
            Event::Stats { stats, .. } if who == 'b' => println!(
                "{:6} ms b: buffer {:.0} ms, concealed {:.3}, loss {:.3}",
                begun.elapsed().as_millis(),
                stats.buffer_ms,
                stats.concealed,
                stats.loss_in
            ),
            _ => {}
        }
        report(&heard, &mut last);
    }
    drop((spoken, played, clicking));
    a.shutdown().await;
    b.shutdown().await;
}

fn report(heard: &mpsc::Receiver<(&'static str, Instant)>, last: &mut Option<Instant>) {
    while let Ok((what, at)) = heard.try_recv() {
        if what == "spoken" {
            *last = Some(at);
        } else if let Some(spoken) = last.take() {
            println!("        microphone to speaker {:.1} ms", (at - spoken).as_secs_f64() * 1000.0);
        }
    }
}

fn stream_config() -> StreamConfig {
    StreamConfig { channels: 1, sample_rate: 48_000, buffer_size: BufferSize::Fixed(240) }
}

/// Says when a burst begins, to a sample of the buffer in which it comes.
fn listen(
    host: &cpal::Host,
    name: &str,
    clicks: mpsc::Sender<(&'static str, Instant)>,
    what: &'static str,
) -> cpal::Stream {
    let device = find(host, name);
    let mut quiet = 48_000;
    let stream = device
        .build_input_stream_raw(
            stream_config(),
            SampleFormat::F32,
            move |data, _| {
                let now = Instant::now();
                let samples = data.as_slice::<f32>().unwrap_or_default();
                for (i, sample) in samples.iter().enumerate() {
                    if sample.abs() < 0.03 {
                        quiet += 1;
                    } else {
                        if quiet > 9_600 {
                            let before = Duration::from_nanos((samples.len() - i) as u64 * 1_000_000_000 / 48_000);
                            let _ = clicks.send((what, now - before));
                        }
                        quiet = 0;
                    }
                }
            },
            |error| eprintln!("{error}"),
            None,
        )
        .expect("a monitor");
    stream.play().expect("a running monitor");
    stream
}

/// A burst of a voice-like tone each second.
fn click(host: &cpal::Host, name: &str) -> cpal::Stream {
    let device = find(host, name);
    let mut at = 0u32;
    let stream = device
        .build_output_stream_raw(
            stream_config(),
            SampleFormat::F32,
            move |data, _| {
                for sample in data.as_slice_mut::<f32>().unwrap_or_default() {
                    let t = (at % 48_000) as f32 / 48_000.0;
                    *sample = if t < 0.2 { 0.5 * (std::f32::consts::TAU * 300.0 * t).sin() } else { 0.0 };
                    at += 1;
                }
            },
            |error| eprintln!("{error}"),
            None,
        )
        .expect("a sink");
    stream.play().expect("a running sink");
    stream
}

fn find(host: &cpal::Host, name: &str) -> cpal::Device {
    let fits = |device: &cpal::Device| device.id().is_ok_and(|id| id.id() == name);
    host.devices().expect("devices").find(fits).unwrap_or_else(|| panic!("no device {name}"))
}
