//! Two engines in one process, over real UDP on the loopback interface, with WAV files as microphones and speakers.

mod common;

use bellwire_media::{Command, Config, DeviceChoice, DeviceEvent, DeviceFault, Event, Leg, Route};
use common::*;
use std::time::Duration;

/// What counts as the same speech, and what another voice stays below.
const SAME: f32 = 0.75;
const OTHER: f32 = 0.5;

/// Two people who take turns, three seconds each.
struct Turns {
    folder: Folder,
    voice_a: Vec<f32>,
    voice_b: Vec<f32>,
}

const TURN: usize = 3 * RATE;

impl Turns {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let (voice_a, voice_b) = (speech(3.0, 1), speech(3.0, 2));
        write_wav(&folder.file("a.wav"), &[&voice_a[..], &vec![0.0; TURN]].concat());
        write_wav(&folder.file("b.wav"), &[&vec![0.0; TURN], &voice_b[..]].concat());
        Self { folder, voice_a, voice_b }
    }

    fn people(&self) -> (Person, Person) {
        let file = |name| self.folder.file(name);
        (Person::new(config(&file("a.wav"), &file("at-a.wav"))), Person::new(config(&file("b.wav"), &file("at-b.wav"))))
    }
}

async fn listen_both(a: &mut Person, b: &mut Person, seconds: u64) {
    let time = Duration::from_secs(seconds);
    tokio::join!(a.listen(time), b.listen(time));
}

/// One engine for a call in which the sound does not matter.
fn quiet(folder: &Folder, name: &str) -> Person {
    let input = folder.file(&format!("{name}-silence.wav"));
    write_wav(&input, &vec![0.0; RATE / 10]);
    Person::new(config(&input, &folder.file(&format!("at-{name}.wav"))))
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_of_each_arrives_at_the_other_and_only_that() {
    let turns = Turns::new("speech");
    let (mut a, mut b) = turns.people();
    connect(&mut a, &mut b, 1).await;
    listen_both(&mut a, &mut b, 7).await;
    let figures: Vec<_> =
        a.said.iter().filter_map(|(_, e)| if let Event::Stats { stats: s, .. } = e { Some(s) } else { None }).collect();
    let last = figures.last().expect("no figures in seven seconds");
    assert!(figures.len() >= 5, "{} figures in seven seconds", figures.len());
    assert!(last.round_trip_ms.is_some_and(|ms| ms < 500.0) && last.loss_out.is_some());
    assert!(last.bitrate_out > 1_000 && last.packets_in > 100 && last.mos.is_some());
    assert!(last.local_candidate.is_some() && last.remote_candidate.is_some());
    assert!(a.said.iter().any(|(_, event)| matches!(event, Event::Level { input, .. } if *input > 0.3)));
    assert!(b.said.iter().any(|(_, event)| matches!(event, Event::Level { output, .. } if *output > 0.3)));
    a.engine.command(Command::Close);
    a.engine.shutdown().await;
    b.engine.shutdown().await;

    let (at_a, at_b) = (read_wav(&turns.folder.file("at-a.wav")), read_wav(&turns.folder.file("at-b.wav")));
    for (spoken, heard, other) in
        [(&turns.voice_a, &at_b[..], &turns.voice_b), (&turns.voice_b, &at_a[TURN..], &turns.voice_a)]
    {
        let (right, delay) = likeness(spoken, heard, 1500);
        let (wrong, _) = likeness(other, heard, 1500);
        println!("likeness {right:.2} at {delay} ms, of the other voice {wrong:.2}");
        assert!(right > SAME, "likeness {right}");
        assert!(wrong < OTHER, "the control, another voice, has likeness {wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_is_heard_as_silence_and_both_sides_go_on_flowing() {
    let folder = Folder::new("mute");
    let voice = speech(20.0, 5);
    write_wav(&folder.file("a.wav"), &voice);
    let mut a = Person::new(config(&folder.file("a.wav"), &folder.file("at-a.wav")));
    let mut b = quiet(&folder, "b");
    // Muted from the beginning: still the call comes to flow, and nothing is heard.
    a.engine.command(Command::Mute(true));
    connect(&mut a, &mut b, 1).await;
    listen_both(&mut a, &mut b, 3).await;
    a.engine.command(Command::Mute(false));
    listen_both(&mut a, &mut b, 3).await;
    a.engine.command(Command::Mute(true));
    listen_both(&mut a, &mut b, 3).await;
    for person in [&a, &b] {
        assert!(!person.said.iter().any(|(_, event)| matches!(event, Event::Stalled { .. } | Event::Failed { .. })));
    }
    a.engine.shutdown().await;
    b.engine.shutdown().await;
    let heard = envelope(&read_wav(&folder.file("at-b.wav")));
    let first = heard.iter().position(|level| *level > 10.0).expect("nothing is heard after the mute ended");
    let last = heard.iter().rposition(|level| *level > 10.0).unwrap();
    assert!(first > 250, "heard after {first}0 ms, while muted");
    assert!(last - first < 400, "heard for {}0 ms of the three seconds without mute", last - first);
    assert!(last - first > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_connection_loses_no_speech() {
    let folder = Folder::new("renewed");
    let voice = speech(12.0, 6);
    write_wav(&folder.file("a.wav"), &voice);
    let mut a = Person::new(config(&folder.file("a.wav"), &folder.file("at-a.wav")));
    let mut b = quiet(&folder, "b");
    connect(&mut a, &mut b, 1).await;
    for generation in 2..=4 {
        listen_both(&mut a, &mut b, 2).await;
        // Each side may be the one that offers.
        if generation % 2 == 0 {
            connect(&mut b, &mut a, generation).await
        } else {
            connect(&mut a, &mut b, generation).await
        }
    }
    listen_both(&mut a, &mut b, 3).await;
    let newest = |person: &Person| {
        person
            .said
            .iter()
            .rev()
            .find_map(|(_, e)| if let Event::Stats { stats: s, .. } = e { Some(s.generation) } else { None })
    };
    assert_eq!((newest(&a), newest(&b)), (Some(4), Some(4)));
    a.engine.shutdown().await;
    b.engine.shutdown().await;
    let heard = read_wav(&folder.file("at-b.wav"));
    let part = &voice[..8 * RATE];
    let (whole, _) = likeness(part, &heard, 2000);
    assert!(whole > SAME, "likeness {whole}");
    // Wherever the voice is loud the recording is, but for what the processing smooths away at its edges.
    let (spoken, heard) = (envelope(part), envelope(&heard));
    let shift = (0..=heard.len() - spoken.len()).max_by(|x, y| {
        let at = |shift: usize| correlation(&spoken, &heard[shift..shift + spoken.len()]);
        at(*x).total_cmp(&at(*y))
    });
    let heard = &heard[shift.unwrap()..];
    let mut gap = 0;
    for (level, heard) in spoken.iter().zip(heard).skip(50) {
        gap = if *level > 25.0 && *heard < 5.0 { gap + 1 } else { 0 };
        assert!(gap < 30, "300 ms of speech are missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_offers_cross_the_side_that_gets_the_other_one_yields() {
    let folder = Folder::new("glare");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    for person in [&a, &b] {
        person.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
        person.engine.command(Command::Offer { leg: Leg::CALL, generation: 1 });
    }
    let offer = |event: &Event| matches!(event, Event::Description { kind, .. } if *kind == OFFER);
    // B's offer is lost on its way, as if A had ignored it; A's reaches B, which has offered already.
    b.until(|event| offer(event).then_some(())).await;
    join(&mut a, &mut b, |a, b| flows(a, 1) && flows(b, 1)).await;
    assert!(b.said.iter().any(|(_, event)| matches!(event, Event::Description { kind, .. } if *kind == ANSWER)));
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_that_come_before_the_description_are_kept() {
    let folder = Folder::new("early");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    a.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    a.engine.command(Command::Offer { leg: Leg::CALL, generation: 1 });
    let offer = a.until(|e| if let Event::Description { sdp, .. } = e { Some(sdp.clone()) } else { None }).await;
    let candidates =
        a.until(|e| if let Event::Candidates { candidates, .. } = e { Some(candidates.clone()) } else { None }).await;
    assert!(!candidates.is_empty());
    b.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    b.engine.command(Command::AddCandidates {
        leg: Leg::CALL,
        generation: 1,
        candidates: vec![candidate("no candidate at all")],
    });
    b.engine.command(Command::AddCandidates { leg: Leg::CALL, generation: 1, candidates });
    // Twice the same does no harm.
    for _ in 0..2 {
        b.engine.command(Command::SetRemote { leg: Leg::CALL, generation: 1, kind: OFFER, sdp: offer.clone() });
    }
    // Nothing of B's candidates reaches A: only those that A sent early can make the connection.
    let answer = b
        .until(|e| match e {
            Event::Description { kind, sdp, .. } if *kind == ANSWER => Some(sdp.clone()),
            _ => None,
        })
        .await;
    a.engine.command(Command::SetRemote { leg: Leg::CALL, generation: 1, kind: ANSWER, sdp: answer });
    let flowing = |event: &Event| matches!(event, Event::Flowing { .. }).then_some(());
    a.until(flowing).await;
    b.until(flowing).await;
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_cannot_be_used_fails_its_connection_alone() {
    let folder = Folder::new("garbage");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    a.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    a.engine.command(Command::Offer { leg: Leg::CALL, generation: 1 });
    let good = a.until(|e| if let Event::Description { sdp, .. } = e { Some(sdp.clone()) } else { None }).await;
    let section = good[good.find("m=audio").unwrap()..].to_owned();
    let bad = [
        "nonsense".to_owned(),
        String::new(),
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n".to_owned(),
        format!("{good}{section}"),
        good.replace("opus/48000/2", "other/8000"),
        good.replace("m=audio", "m=video"),
        good.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 zz"),
        good.replace("a=ice-ufrag:", "a=ice-nothing:"),
    ];
    for (i, sdp) in bad.into_iter().enumerate() {
        let generation = i as u32 + 1;
        b.engine.command(Command::Open { leg: Leg::CALL, generation, route: Route::Any });
        b.engine.command(Command::SetRemote { leg: Leg::CALL, generation, kind: OFFER, sdp });
        b.until(|event| match event {
            Event::Failed { generation: failed, why, .. } if *failed == generation => {
                assert!(!why.is_empty());
                Some(())
            }
            _ => None,
        })
        .await;
    }
    // The engine is as good as before.
    let mut c = quiet(&folder, "c");
    connect(&mut c, &mut b, 20).await;
    for person in [a, b, c] {
        person.engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_vanishes_is_noticed_and_the_next_call_works() {
    let folder = Folder::new("vanish");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    connect(&mut a, &mut b, 1).await;
    b.engine.shutdown().await;
    a.until(|event| matches!(event, Event::Stalled { generation: 1, .. }).then_some(())).await;
    a.engine.command(Command::Close);
    let mut b = quiet(&folder, "b");
    a.said.clear();
    connect(&mut a, &mut b, 1).await;
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_flows_fails_after_ten_seconds() {
    let folder = Folder::new("never");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    a.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    b.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    a.engine.command(Command::Offer { leg: Leg::CALL, generation: 1 });
    let description = |event: &Event| match event {
        Event::Description { sdp, .. } => Some(sdp.clone()),
        _ => None,
    };
    let offer = a.until(description).await;
    b.engine.command(Command::SetRemote { leg: Leg::CALL, generation: 1, kind: OFFER, sdp: offer });
    let answer = b.until(description).await;
    let begun = tokio::time::Instant::now();
    a.engine.command(Command::SetRemote { leg: Leg::CALL, generation: 1, kind: ANSWER, sdp: answer });
    a.until(|event| matches!(event, Event::Failed { generation: 1, .. }).then_some(())).await;
    assert!(begun.elapsed() >= Duration::from_secs(9));
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_without_a_microphone_and_with_a_speaker_of_another_name() {
    let folder = Folder::new("missing");
    let mut a = Person::new(Config {
        input: DeviceChoice::Wav(folder.file("comes-later.wav")),
        output: DeviceChoice::Named("a speaker that nobody has".into()),
        ..config(&folder.file("x"), &folder.file("y"))
    });
    let mut b = quiet(&folder, "b");
    connect(&mut a, &mut b, 1).await;
    let input = |event: &Event| match event {
        Event::Device(DeviceEvent::InputMissing { why }) => Some(why.clone()),
        _ => None,
    };
    let output = |event: &Event| match event {
        // With sound hardware the default stands in; without, there is nothing.
        Event::Device(DeviceEvent::OutputOpened { fallback, .. }) => Some(*fallback),
        Event::Device(DeviceEvent::OutputMissing { .. }) => Some(true),
        _ => None,
    };
    let known: Vec<Event> = a.said.iter().map(|(_, event)| event.clone()).collect();
    let why = match known.iter().find_map(input) {
        Some(why) => why,
        None => a.until(input).await,
    };
    assert!(matches!(why, DeviceFault::File(_)), "{why:?}");
    let fell_back = match known.iter().find_map(output) {
        Some(fell_back) => fell_back,
        None => a.until(output).await,
    };
    assert!(fell_back);
    // What comes later is taken.
    write_wav(&folder.file("comes-later.wav"), &speech(5.0, 8));
    a.until(|event| matches!(event, Event::Device(DeviceEvent::InputOpened { fallback: false, .. })).then_some(()))
        .await;
    b.until(|event| matches!(event, Event::Level { output, .. } if *output > 0.3).then_some(())).await;
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_call_there_are_a_meter_a_melody_and_a_ring() {
    let folder = Folder::new("outside");
    write_wav(&folder.file("a.wav"), &[&speech(2.0, 1)[..], &vec![0.0; 4 * RATE]].concat());
    let mut a = Person::new(config(&folder.file("a.wav"), &folder.file("at-a.wav")));
    a.engine.command(Command::Check(true));
    a.until(|event| matches!(event, Event::Level { input, output } if *input > 0.3 && *output == 0.0).then_some(()))
        .await;
    a.until(|event| matches!(event, Event::Device(DeviceEvent::InputSilent)).then_some(())).await;
    a.engine.command(Command::Check(false));
    a.engine.command(Command::TestSound);
    a.until(|event| matches!(event, Event::Device(DeviceEvent::OutputOpened { .. })).then_some(())).await;
    a.until(|event| matches!(event, Event::Level { output, .. } if *output > 0.3).then_some(())).await;
    a.engine.command(Command::Tone(Some(bellwire_media::Tone::Ring)));
    a.listen(Duration::from_secs(3)).await;
    a.engine.command(Command::Tone(None));
    a.listen(Duration::from_millis(300)).await;
    a.engine.shutdown().await;
    let recorded = envelope(&read_wav(&folder.file("at-a.wav")));
    assert!(recorded.iter().filter(|level| **level > 10.0).count() > 150);
}
