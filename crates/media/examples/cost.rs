//! Measures what a call costs: `cost VOICE.wav [SECONDS]` runs two engines in one process, all processing on, files as
//! devices, and prints the processor time of one of them (half of the process) and the memory of the process (Linux);
//! before that what the pipeline alone costs, as fast as it runs.

use bellwire_media::pipeline::{Arrival, ReceiveSide, SendSide};
use bellwire_media::{Command, Config, DeviceChoice, Engine, Event, FRAME, Leg, Processing};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(voice) = arguments.first() else {
        eprintln!("usage: cost VOICE.wav [SECONDS]");
        std::process::exit(2);
    };
    let seconds: u64 = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(15);
    pipeline_alone(voice);
    let bind = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let config = |out: &str| Config {
        input: DeviceChoice::Wav(voice.into()),
        output: DeviceChoice::Wav(std::env::temp_dir().join(out)),
        bind,
        ..Config::default()
    };
    let (a, mut at_a) = Engine::start(config("bellwire-cost-a.wav"));
    let (b, mut at_b) = Engine::start(config("bellwire-cost-b.wav"));
    let begun = Instant::now();
    a.command(Command::Open { leg: Leg::CALL, generation: 1 });
    b.command(Command::Open { leg: Leg::CALL, generation: 1 });
    a.command(Command::Offer { leg: Leg::CALL, generation: 1 });
    let (mut flowing, mut answered, mut from) = (0, None, None);
    let end = begun + Duration::from_secs(seconds + 2);
    while Instant::now() < end {
        let (event, to) = tokio::select! {
            Some(event) = at_a.recv() => (event, &b),
            Some(event) = at_b.recv() => (event, &a),
            () = tokio::time::sleep(Duration::from_millis(100)) => continue,
        };
        match event {
            Event::Description { generation, kind, sdp, .. } => {
                answered = Some(Instant::now());
                to.command(Command::SetRemote { leg: Leg::CALL, generation, kind, sdp });
            }
            Event::Candidates { generation, candidates, .. } => {
                to.command(Command::AddCandidates { leg: Leg::CALL, generation, candidates });
            }
            Event::Flowing { .. } => {
                flowing += 1;
                if let (2, Some(answered)) = (flowing, answered) {
                    println!(
                        "both flow {:?} after the start, {:?} after the answer",
                        begun.elapsed(),
                        answered.elapsed()
                    );
                }
            }
            _ => {}
        }
        if from.is_none() && begun.elapsed() > Duration::from_secs(2) {
            from = Some((Instant::now(), processor_seconds()));
        }
    }
    if let Some((since, before)) = from {
        let share = (processor_seconds() - before) / since.elapsed().as_secs_f64();
        println!("{:.2} % of a core for each endpoint", share * 50.0);
    }
    for line in std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default().lines() {
        if line.starts_with("Pss:") || line.starts_with("Rss:") {
            println!("{line}");
        }
    }
    a.shutdown().await;
    b.shutdown().await;
}

/// Twenty seconds of the voice, its samples taken as they are.
fn pipeline_alone(voice: &str) {
    let mut reader = hound::WavReader::open(voice).expect("a WAV file");
    let samples: Vec<f32> = reader.samples::<i16>().map_while(Result::ok).map(|s| f32::from(s) / 32_768.0).collect();
    let frames: Vec<[f32; FRAME]> =
        samples.chunks_exact(FRAME).cycle().take(2_000).map(|chunk| chunk.try_into().unwrap_or([0.0; FRAME])).collect();
    let off = Processing { echo_cancellation: false, noise_suppression: false, gain_control: false };
    for (name, processing) in [("with", Processing::default()), ("without", off)] {
        let (Ok(mut send), Ok(mut receive)) = (SendSide::new(processing, 0), ReceiveSide::new()) else { return };
        let mut receiving = Duration::ZERO;
        let begun = Instant::now();
        for (i, frame) in frames.iter().enumerate() {
            let now = Duration::from_millis(10 * i as u64);
            send.played(&frames[frames.len() - 1 - i]);
            let packet = send.captured(&mut frame.clone());
            let half = Instant::now();
            if let Some(packet) = packet {
                let (sequence, timestamp) = (packet.sequence, packet.timestamp);
                receive.insert(Arrival { at: now, ssrc: 1, sequence, timestamp, payload: packet.payload });
            }
            receive.playout(now, &mut [0.0; FRAME]);
            receiving += half.elapsed();
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / frames.len() as f64;
        println!(
            "pipeline {name} processing: {:.0} us each 10 ms, {:.0} of them to receive",
            each(begun.elapsed()),
            each(receiving)
        );
    }
}

/// User and system time of this process, from /proc in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
