//! Measures what a call or a room costs: `cost VOICE.wav [SECONDS [PEOPLE]]` runs so many engines (2) in one process, each
//! connected to each, all processing on, files as devices, and prints the processor time of one of them and the memory of
//! the process (Linux): while all speak, and then while all are muted. Before that what the pipeline alone costs, as fast
//! as it runs.

use bellwire_media::pipeline::{Arrival, Form, ReceiveSide, SendSide};
use bellwire_media::{Command, Config, DeviceChoice, Engine, Event, FRAME, Leg, Processing, Route, Sound};
use std::net::{IpAddr, Ipv4Addr};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(voice) = arguments.first() else {
        eprintln!("usage: cost VOICE.wav [SECONDS]");
        std::process::exit(2);
    };
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok());
    let (seconds, people) = (Duration::from_secs(number(1).unwrap_or(15).into()), number(2).unwrap_or(2));
    pipeline_alone(voice);
    let mut room: Vec<_> = (0..people)
        .map(|at| {
            Engine::start(Config {
                input: DeviceChoice::Wav(voice.into()),
                output: DeviceChoice::Wav(std::env::temp_dir().join(format!("bellwire-cost-{at}.wav"))),
                bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                ..Config::default()
            })
        })
        .collect();
    let begun = Instant::now();
    for first in 0..people {
        for second in first + 1..people {
            let (a, b) = (&room[first as usize].0, &room[second as usize].0);
            a.command(Command::Open { leg: Leg(second), generation: 1, route: Route::Any });
            b.command(Command::Open { leg: Leg(first), generation: 1, route: Route::Any });
            a.command(Command::Offer { leg: Leg(second), generation: 1 });
        }
    }
    let mut flowing = 0;
    while flowing < people * (people - 1) {
        flowing += pass_on(&mut room).await;
    }
    println!("{people} people hear each other {:?} after the start", begun.elapsed());
    pass_on_for(&mut room, Duration::from_secs(2)).await;
    for muted in [false, true] {
        room.iter().for_each(|(engine, _)| engine.command(Command::Mute(muted)));
        // The pause begins.
        pass_on_for(&mut room, Duration::from_secs(1)).await;
        let (since, before) = (Instant::now(), processor_seconds());
        pass_on_for(&mut room, seconds).await;
        let share = (processor_seconds() - before) / since.elapsed().as_secs_f64() / f64::from(people);
        let state = if muted { "all muted" } else { "all speaking" };
        println!("{:.2} % of a core for each endpoint, {} legs, {state}", share * 100.0, people - 1);
    }
    for line in std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default().lines() {
        if line.starts_with("Pss:") || line.starts_with("Rss:") {
            println!("{line}");
        }
    }
    for (engine, _) in room {
        engine.shutdown().await;
    }
}

type Member = (Engine, mpsc::Receiver<Event>);

async fn pass_on_for(room: &mut [Member], time: Duration) {
    let _ = tokio::time::timeout(time, async {
        loop {
            pass_on(room).await;
        }
    })
    .await;
}

/// Passes the next event on, which each names by the other's place; the number of connections that flow by it.
async fn pass_on(room: &mut [Member]) -> u32 {
    let next = std::future::poll_fn(|context| {
        for (at, (_, events)) in room.iter_mut().enumerate() {
            if let Poll::Ready(Some(event)) = events.poll_recv(context) {
                return Poll::Ready((at, event));
            }
        }
        Poll::Pending
    });
    let (from, event) = next.await;
    let to = |to: Leg| (&room[to.0 as usize].0, Leg(from as u32));
    match event {
        Event::Description { leg, generation, kind, sdp } => {
            let (engine, leg) = to(leg);
            engine.command(Command::SetRemote { leg, generation, kind, sdp });
        }
        Event::Candidates { leg, generation, candidates, .. } => {
            let (engine, leg) = to(leg);
            engine.command(Command::AddCandidates { leg, generation, candidates });
        }
        Event::Flowing { .. } => return 1,
        Event::Failed { why, .. } => println!("failed: {why}"),
        _ => {}
    }
    0
}

/// Twenty seconds of the voice, its samples taken as they are.
fn pipeline_alone(voice: &str) {
    let mut reader = hound::WavReader::open(voice).expect("a WAV file");
    let samples: Vec<f32> = reader.samples::<i16>().map_while(Result::ok).map(|s| f32::from(s) / 32_768.0).collect();
    let frames: Vec<[f32; FRAME]> =
        samples.chunks_exact(FRAME).cycle().take(2_000).map(|chunk| chunk.try_into().unwrap_or([0.0; FRAME])).collect();
    let off = Processing::OFF;
    for (name, processing) in [("with", Processing::default()), ("without", off)] {
        let (Ok(mut send), Ok(mut receive)) = (SendSide::new(processing, 0), ReceiveSide::new()) else { return };
        let mut receiving = Duration::ZERO;
        let begun = Instant::now();
        for (i, frame) in frames.iter().enumerate() {
            let now = Duration::from_millis(10 * i as u64);
            send.played(&Sound::mono(frames[frames.len() - 1 - i]));
            let packet = send.captured(&mut Sound::mono(*frame));
            let half = Instant::now();
            if let Some(packet) = packet {
                let (sequence, timestamp) = (packet.sequence, packet.timestamp);
                receive.insert(Arrival {
                    at: now,
                    ssrc: 1,
                    form: Form::Opus,
                    sequence,
                    timestamp,
                    payload: packet.payload,
                });
            }
            receive.playout(now, &mut { Sound::SILENCE });
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
