//! A connection that is replaced by a newer one: what is heard while it is, and what happens when the newer one fails.

mod common;

use bellwire_media::{Command, Config, Event, Generation, Leg, Processing, Route};
use common::*;
use std::f32::consts::TAU;
use std::time::Duration;
use tokio::time::Instant;

const OFF: Processing = Processing::OFF;
/// Of the tone.
const HERTZ: f32 = 300.0;
const AMPLITUDE: f32 = 0.3;

fn person(folder: &Folder, name: &str) -> Person {
    let (input, output) = (folder.file(&format!("{name}-says.wav")), folder.file(&format!("{name}-hears.wav")));
    let tone: Vec<f32> = (0..20 * RATE).map(|i| AMPLITUDE * (TAU * HERTZ * i as f32 / RATE as f32).sin()).collect();
    write_wav(&input, &tone);
    Person::new(Config { processing: OFF, ..config(&input, &output) })
}

async fn listen_both(a: &mut Person, b: &mut Person, time: Duration) {
    tokio::join!(a.listen(time), b.listen(time));
}

fn failed(said: &[(Instant, Event)], wanted: Generation) -> bool {
    said.iter().any(|(_, event)| matches!(event, Event::Failed { generation, .. } if *generation == wanted))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_follows_to_one_newer_connection_after_the_other() {
    let folder = Folder::new("swap");
    let (mut a, mut b) = (person(&folder, "anna"), person(&folder, "ben"));
    connect(&mut a, &mut b, 1).await;
    for generation in 2..=4 {
        listen_both(&mut a, &mut b, Duration::from_secs(2)).await;
        connect(&mut a, &mut b, generation).await;
    }
    listen_both(&mut a, &mut b, Duration::from_secs(2)).await;
    a.engine.shutdown().await;
    b.engine.shutdown().await;
    for name in ["anna", "ben"] {
        let heard = read_wav(&folder.file(&format!("{name}-hears.wav")));
        let loud = |sample: &f32| sample.abs() > AMPLITUDE / 2.0;
        let begin = heard.iter().position(loud).unwrap() + RATE / 2;
        let end = heard.iter().rposition(loud).unwrap() - RATE / 2;
        assert!(end - begin > 5 * RATE, "{name} heard {} samples", end - begin);
        let heard = &heard[begin..end];
        let quiet = heard.chunks(RATE / 200).map(|piece| {
            let power = piece.iter().map(|sample| sample * sample).sum::<f32>() / piece.len() as f32;
            power.sqrt() < AMPLITUDE / 10.0
        });
        let longest = quiet.fold((0, 0), |(longest, run), quiet| {
            let run = if quiet { run + 1 } else { 0 };
            (longest.max(run), run)
        });
        // What a swap itself costs is measured in virtual time; here the machine may be slow.
        assert!(longest.0 < 60, "{name} hears nothing for {} ms", 5 * longest.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_newer_connection_fails_the_older_one_goes_on() {
    let folder = Folder::new("swap-fails");
    let (mut a, mut b) = (person(&folder, "anna"), person(&folder, "ben"));
    connect(&mut a, &mut b, 1).await;
    // One is refused at once, one finds no way.
    a.engine.command(Command::Open { leg: Leg::CALL, generation: 2, route: Route::Any });
    a.engine.command(Command::SetRemote {
        leg: Leg::CALL,
        generation: 2,
        kind: OFFER,
        sdp: "nothing that can be used".into(),
    });
    for person in [&a, &b] {
        person.engine.command(Command::Open { leg: Leg::CALL, generation: 3, route: Route::RelayOnly });
    }
    a.engine.command(Command::Offer { leg: Leg::CALL, generation: 3 });
    join(&mut a, &mut b, |a, b| failed(a, 2) && failed(a, 3) && failed(b, 3)).await;
    let packets = |person: &Person| {
        let newest = person.said.iter().rev().find_map(|(_, event)| match event {
            Event::Stats { stats, .. } => Some(stats.packets_in),
            _ => None,
        });
        newest.unwrap_or(0)
    };
    let before = [packets(&a), packets(&b)];
    for (person, before) in [&mut a, &mut b].into_iter().zip(before) {
        let goes_on = |event: &Event| match event {
            Event::Stats { stats, .. } => (stats.generation == 1 && stats.packets_in > before + 50).then_some(()),
            _ => None,
        };
        person.until(goes_on).await;
        assert!(!person.said.iter().any(|(_, event)| matches!(event, Event::Stalled { .. })));
        assert!(!failed(&person.said, 1));
    }
}
