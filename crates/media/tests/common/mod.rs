//! What the tests share: a voice made in code, a way to tell recordings apart, and engines joined to one another.

#![allow(dead_code)]

use bellwire_media::{
    Candidate, Command, Config, DescriptionKind, DeviceChoice, Engine, Event, Generation, Leg, Route,
};
use std::f32::consts::TAU;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub const RATE: usize = 48_000;
/// No test waits longer for anything; a machine that is slower than this is broken.
pub const CAP: Duration = Duration::from_secs(60);

/// Numbers that look random and are the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 0 to 1.
    pub fn roll(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Something like speech: syllables of voiced, coloured pulses with changing pitch, hisses, and pauses between words.
/// Another seed says something else.
pub fn speech(seconds: f32, seed: u64) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    let total = (seconds * RATE as f32) as usize;
    let mut sound = Vec::with_capacity(total);
    while sound.len() < total {
        for _ in 0..2 + (dice.roll() * 4.0) as usize {
            syllable(&mut sound, &mut dice);
        }
        sound.extend(std::iter::repeat_n(0.0, ((0.1 + 0.35 * dice.roll()) * RATE as f32) as usize));
    }
    sound.truncate(total);
    sound
}

fn syllable(sound: &mut Vec<f32>, dice: &mut Dice) {
    if dice.roll() < 0.4 {
        let length = ((0.04 + 0.06 * dice.roll()) * RATE as f32) as usize;
        let mut last = 0.0;
        for i in 0..length {
            let white = dice.roll() - 0.5;
            let shape = (std::f32::consts::PI * i as f32 / length as f32).sin();
            sound.push(0.12 * shape * (white - last));
            last = white;
        }
    }
    let length = ((0.1 + 0.15 * dice.roll()) * RATE as f32) as usize;
    let (pitch, glide) = (100.0 + 90.0 * dice.roll(), 0.8 + 0.4 * dice.roll());
    let formants = [300.0 + 500.0 * dice.roll(), 900.0 + 1300.0 * dice.roll(), 2300.0 + 700.0 * dice.roll()];
    let loudness = 0.12 + 0.1 * dice.roll();
    let mut phase = 0.0f32;
    for i in 0..length {
        let part = i as f32 / length as f32;
        let now = pitch * (1.0 + (glide - 1.0) * part);
        phase = (phase + now / RATE as f32).fract();
        let voice: f32 = (1..=24)
            .map(|harmonic| {
                let frequency = now * harmonic as f32;
                let colour: f32 = formants
                    .iter()
                    .enumerate()
                    .map(|(n, f)| (-((frequency - f) / 120.0).powi(2)).exp() / (n + 1) as f32)
                    .sum();
                (colour + 0.03) * (TAU * phase * harmonic as f32).sin()
            })
            .sum();
        sound.push(loudness * (part * std::f32::consts::PI).sin().sqrt() * voice);
    }
}

pub fn write_wav(path: &Path, sound: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in sound {
        writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

pub fn read_wav(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (RATE as u32, 1));
    reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect()
}

/// Loudness each 10 ms, in decibels above a floor, which is what speech is recognised by.
pub fn envelope(sound: &[f32]) -> Vec<f32> {
    sound
        .chunks_exact(RATE / 100)
        .map(|chunk| {
            let power = chunk.iter().map(|s| s * s).sum::<f32>() / chunk.len() as f32;
            (10.0 * power.max(1e-9).log10() + 55.0).max(0.0)
        })
        .collect()
}

/// How alike the loudness of two recordings is, 0 to 1, at the best shift of the second by 0 to `most_ms` milliseconds; and
/// that shift.
pub fn likeness(original: &[f32], recorded: &[f32], most_ms: usize) -> (f32, usize) {
    let (a, b) = (envelope(original), envelope(recorded));
    (0..=most_ms / 10)
        .map(|shift| {
            let n = a.len().min(b.len().saturating_sub(shift));
            (if n < 50 { 0.0 } else { correlation(&a[..n], &b[shift..shift + n]) }, shift * 10)
        })
        .max_by(|x, y| x.0.total_cmp(&y.0))
        .unwrap()
}

pub fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len() as f32;
    let (mean_a, mean_b) = (a.iter().sum::<f32>() / n, b.iter().sum::<f32>() / n);
    let (mut dot, mut aa, mut bb) = (0.0, 1e-9f32, 1e-9f32);
    for (x, y) in a.iter().zip(b) {
        dot += (x - mean_a) * (y - mean_b);
        aa += (x - mean_a).powi(2);
        bb += (y - mean_b).powi(2);
    }
    dot / (aa * bb).sqrt()
}

/// A folder that goes away with its test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bellwire-media-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An engine and everything it said.
pub struct Person {
    pub engine: Engine,
    events: mpsc::Receiver<Event>,
    pub said: Vec<(Instant, Event)>,
}

pub fn config(input: &Path, output: &Path) -> Config {
    Config {
        input: DeviceChoice::Wav(input.to_owned()),
        output: DeviceChoice::Wav(output.to_owned()),
        bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ..Config::default()
    }
}

impl Person {
    pub fn new(config: Config) -> Self {
        let (engine, events) = Engine::start(config);
        Self { engine, events, said: Vec::new() }
    }

    /// The next event, which must come.
    pub async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(CAP, self.events.recv()).await.expect("the engine says nothing any more");
        let event = event.expect("the engine has ended");
        self.said.push((Instant::now(), event.clone()));
        event
    }

    /// Reads events until one fits.
    pub async fn until<T>(&mut self, fits: impl Fn(&Event) -> Option<T>) -> T {
        let end = Instant::now() + CAP;
        loop {
            assert!(Instant::now() < end, "what the test waits for was not said");
            if let Some(found) = fits(&self.next().await) {
                return found;
            }
        }
    }

    /// Reads events for some time.
    pub async fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(event) = tokio::time::timeout_at(end, self.events.recv()).await {
            let event = event.expect("the engine has ended");
            self.said.push((Instant::now(), event));
        }
    }
}

/// Passes on between two what signaling would; stops when `done` says so.
pub async fn join(
    a: &mut Person,
    b: &mut Person,
    mut done: impl FnMut(&[(Instant, Event)], &[(Instant, Event)]) -> bool,
) {
    let end = Instant::now() + CAP;
    while !done(&a.said, &b.said) {
        assert!(
            Instant::now() < end,
            "what the test waits for did not happen; a said {:?}, b said {:?}",
            told(&a.said),
            told(&b.said)
        );
        let (event, to) = tokio::select! {
            event = a.events.recv() => (event.expect("an engine has ended"), true),
            event = b.events.recv() => (event.expect("an engine has ended"), false),
            () = tokio::time::sleep_until(end) => continue,
        };
        let (from, to) = if to { (&mut *a, &*b) } else { (&mut *b, &*a) };
        pass_on(&event, &to.engine);
        from.said.push((Instant::now(), event));
    }
}

/// What was said, without what is said all the time.
pub fn told(said: &[(Instant, Event)]) -> Vec<String> {
    said.iter()
        .filter_map(|(_, event)| match event {
            Event::Opened { leg, generation } => Some(format!("opened {leg:?} {generation}")),
            Event::Description { leg, generation, kind, .. } => Some(format!("{kind:?} {leg:?} {generation}")),
            Event::Candidates { leg, candidates, .. } => Some(format!("{} candidates {leg:?}", candidates.len())),
            Event::Flowing { leg, generation } => Some(format!("flowing {leg:?} {generation}")),
            Event::Stalled { leg, generation } => Some(format!("stalled {leg:?} {generation}")),
            Event::Failed { leg, generation, why } => Some(format!("failed {leg:?} {generation}: {why}")),
            Event::Path { leg, generation, path } => Some(format!("{path:?} {leg:?} {generation}")),
            Event::TextOpen { leg } => Some(format!("text open {leg:?}")),
            Event::Text { leg, text } => Some(format!("text {leg:?} {text}")),
            Event::Dropped { leg } => Some(format!("dropped {leg:?}")),
            Event::Closed => Some("closed".into()),
            Event::Device(event) => Some(format!("{event:?}")),
            Event::Stats { .. } | Event::Level { .. } | Event::Speaking { .. } | Event::SpeakingMuted => None,
        })
        .collect()
}

/// Everybody's next event, and whose it is.
pub async fn next_of(people: &mut [Person]) -> (usize, Event) {
    let next = std::future::poll_fn(|context| {
        for (at, person) in people.iter_mut().enumerate() {
            if let Poll::Ready(event) = person.events.poll_recv(context) {
                return Poll::Ready((at, event.expect("an engine has ended")));
            }
        }
        Poll::Pending
    });
    let (at, event) = tokio::time::timeout(CAP, next).await.expect("nobody says anything any more");
    people[at].said.push((Instant::now(), event.clone()));
    (at, event)
}

/// Passes on among the people of a room, in which each calls the others by their places, until `done` says so.
pub async fn gather(people: &mut [Person], mut done: impl FnMut(&[Person]) -> bool) {
    let end = Instant::now() + CAP;
    while !done(people) {
        let all: Vec<_> = people.iter().map(|person| told(&person.said)).collect();
        assert!(Instant::now() < end, "what the test waits for did not happen; said {all:?}");
        let (from, event) = next_of(people).await;
        if let Event::Description { leg, .. } | Event::Candidates { leg, .. } = &event
            && let Some(to) = people.get(leg.0 as usize)
        {
            pass_on_as(&event, Leg(from as u32), &to.engine);
        }
    }
}

/// Opens a connection between two of a room; the first offers.
pub fn open_between(people: &[Person], first: usize, second: usize, generation: Generation) {
    let leg = |at: usize| Leg(at as u32);
    people[first].engine.command(Command::Open { leg: leg(second), generation, route: Route::Any });
    people[second].engine.command(Command::Open { leg: leg(first), generation, route: Route::Any });
    people[first].engine.command(Command::Offer { leg: leg(second), generation });
}

/// Whether everybody hears everybody else.
pub fn all_flow(people: &[Person]) -> bool {
    let hears = |person: &Person, of: usize| {
        person.said.iter().any(|(_, event)| matches!(event, Event::Flowing { leg, .. } if leg.0 as usize == of))
    };
    (0..people.len()).all(|of| people.iter().enumerate().all(|(at, person)| at == of || hears(person, of)))
}

pub fn pass_on(event: &Event, to: &Engine) {
    pass_on_as(event, Leg::CALL, to);
}

/// Passes on to one who calls the sender `leg`.
pub fn pass_on_as(event: &Event, leg: Leg, to: &Engine) {
    match event.clone() {
        Event::Description { generation, kind, sdp, .. } => {
            to.command(Command::SetRemote { leg, generation, kind, sdp });
        }
        Event::Candidates { generation, candidates, .. } if !candidates.is_empty() => {
            to.command(Command::AddCandidates { leg, generation, candidates });
        }
        _ => {}
    }
}

pub fn flows(said: &[(Instant, Event)], wanted: Generation) -> bool {
    said.iter().any(|(_, event)| matches!(event, Event::Flowing { generation, .. } if *generation == wanted))
}

/// Opens a generation on both sides, lets `a` offer, and waits until sound flows both ways.
pub async fn connect(a: &mut Person, b: &mut Person, generation: Generation) {
    a.engine.command(Command::Open { leg: Leg::CALL, generation, route: Route::Any });
    b.engine.command(Command::Open { leg: Leg::CALL, generation, route: Route::Any });
    a.engine.command(Command::Offer { leg: Leg::CALL, generation });
    join(a, b, |a, b| flows(a, generation) && flows(b, generation)).await;
}

pub fn candidate(text: &str) -> Candidate {
    Candidate { candidate: text.into(), mid: None, index: 0 }
}

pub const OFFER: DescriptionKind = DescriptionKind::Offer;
pub const ANSWER: DescriptionKind = DescriptionKind::Answer;
