//! Several engines in one process, each connected to each of the others, as the members of a room are.

mod common;

use bellwire_media::{Command, Config, Event, Leg, MOST_LEGS, Processing, Route};
use common::*;
use std::f32::consts::TAU;
use std::time::Duration;
use tokio::time::Instant;

const SAME: f32 = 0.75;
const OTHER: f32 = 0.5;

/// People whose microphones are these recordings.
fn people(folder: &Folder, sounds: &[Vec<f32>], processing: Processing) -> Vec<Person> {
    let person = |(at, sound): (usize, &Vec<f32>)| {
        let (input, output) = (folder.file(&format!("{at}.wav")), folder.file(&format!("at-{at}.wav")));
        write_wav(&input, sound);
        Person::new(Config { processing, ..config(&input, &output) })
    };
    sounds.iter().enumerate().map(person).collect()
}

fn open_all(people: &[Person]) {
    for first in 0..people.len() {
        (first + 1..people.len()).for_each(|second| open_between(people, first, second, 1));
    }
}

/// Goes on for some time.
async fn go_on(people: &mut [Person], time: Duration) {
    let end = Instant::now() + time;
    gather(people, |_| Instant::now() >= end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_room_of_three_each_hears_the_speech_of_the_two_others_and_not_its_own() {
    const TURN: usize = 3 * RATE;
    let folder = Folder::new("room-speech");
    let voices: Vec<Vec<f32>> = (0..3).map(|at| speech(3.0, 11 + at)).collect();
    // One after the other, after a second in which everybody comes in.
    let begin = |at: usize| RATE + at * TURN;
    let sounds: Vec<Vec<f32>> =
        voices.iter().enumerate().map(|(at, voice)| [&vec![0.0; begin(at)][..], voice].concat()).collect();
    let mut people = people(&folder, &sounds, Processing::default());
    open_all(&people);
    gather(&mut people, all_flow).await;
    go_on(&mut people, Duration::from_secs(11)).await;

    for (at, person) in people.iter().enumerate() {
        // Who speaks is said: the others by their legs, and oneself.
        for of in 0..3 {
            let leg = (of != at).then_some(Leg(of as u32));
            let said: Vec<bool> = person
                .said
                .iter()
                .filter_map(|(_, event)| match event {
                    Event::Speaking { leg: of, speaking } if *of == leg => Some(*speaking),
                    _ => None,
                })
                .collect();
            assert!(said.first() == Some(&true), "{at} was not told that {of} speaks");
            assert!(said.windows(2).all(|two| two[0] != two[1]));
            assert!(said.len() >= 2, "{at} was not told that {of} has ended");
        }
        assert!(!person.said.iter().any(|(_, e)| matches!(e, Event::Failed { .. } | Event::Stalled { .. })));
    }
    for person in people {
        person.engine.shutdown().await;
    }
    for at in 0..3 {
        let heard = read_wav(&folder.file(&format!("at-{at}.wav")));
        for (of, voice) in voices.iter().enumerate() {
            let part = &heard[begin(of)..];
            let (like, delay) = likeness(voice, &part[..part.len().min(TURN + RATE)], 1000);
            println!("{at} hears {of}: {like:.2} at {delay} ms");
            if at == of {
                assert!(like < OTHER, "{at} hears itself: likeness {like}");
            } else {
                assert!(like > SAME, "{at} does not hear {of}: likeness {like}");
            }
        }
    }
}

const TONES: [f32; 3] = [430.0, 710.0, 1130.0];

fn tone(frequency: f32, seconds: usize) -> Vec<f32> {
    (0..seconds * RATE).map(|i| 0.2 * (TAU * frequency * i as f32 / RATE as f32).sin()).collect()
}

/// How loud a frequency is in a recording, as an amplitude.
fn amplitude(sound: &[f32], frequency: f32) -> f32 {
    let (sin, cos) = sound.iter().enumerate().fold((0.0, 0.0), |(sin, cos), (i, sample)| {
        let (s, c) = (TAU * (frequency * i as f32 / RATE as f32).fract()).sin_cos();
        (sin + sample * s, cos + sample * c)
    });
    2.0 * (sin * sin + cos * cos).sqrt() / sound.len() as f32
}

/// Which of the three tones are in the last second of a recording.
fn tones_in(sound: &[f32]) -> Vec<usize> {
    let last = &sound[sound.len().saturating_sub(RATE)..];
    (0..3).filter(|at| amplitude(last, TONES[*at]) > 0.05).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_dropped_is_heard_no_more_the_others_go_on_and_can_take_somebody_in_again() {
    let folder = Folder::new("room-dropped");
    let off = Processing::OFF;
    let sounds: Vec<Vec<f32>> = TONES.iter().map(|frequency| tone(*frequency, 60)).collect();
    let mut three = people(&folder, &sounds, off);
    open_all(&three);
    gather(&mut three, all_flow).await;
    go_on(&mut three, Duration::from_millis(2500)).await;
    for (at, others) in [[1, 2], [0, 2], [0, 1]].iter().enumerate() {
        let heard = read_wav(&folder.file(&format!("at-{at}.wav")));
        assert_eq!(tones_in(&heard), others, "heard by {at} at the same time");
    }

    // The third is killed, and the others told to let go of it.
    three.pop().unwrap().engine.shutdown().await;
    for person in &mut three {
        person.said.clear();
        person.engine.command(Command::Drop { leg: Leg(2) });
        person.until(|event| matches!(event, Event::Dropped { leg: Leg(2) }).then_some(())).await;
    }
    let dropped: Vec<usize> = three.iter().map(|person| person.said.len()).collect();
    go_on(&mut three, Duration::from_millis(2500)).await;
    for (at, other) in [(0, 1), (1, 0)] {
        let said = &three[at].said;
        let ended = |e: &Event| matches!(e, Event::Speaking { leg: Some(Leg(2)), speaking: false });
        assert!(said[..dropped[at]].iter().any(|(_, event)| ended(event)), "its voice has not ended");
        for (_, event) in &said[dropped[at]..] {
            let of = match event {
                Event::Stats { leg, .. } | Event::Stalled { leg, .. } | Event::Failed { leg, .. } => Some(*leg),
                Event::Speaking { leg, .. } => *leg,
                _ => None,
            };
            assert_ne!(of, Some(Leg(2)), "something is said of a leg that was dropped");
        }
        assert!(!said.iter().any(|(_, e)| matches!(e, Event::Failed { .. } | Event::Stalled { .. })));
        assert!(said.iter().any(|(_, e)| matches!(e, Event::Stats { leg, .. } if leg.0 as usize == other)));
        assert_eq!(tones_in(&read_wav(&folder.file(&format!("at-{at}.wav")))), [other]);
    }

    // It comes back as somebody new, with the same numbers.
    three.push(people(&folder, &sounds, off).pop().unwrap());
    for person in &mut three {
        person.said.clear();
    }
    open_between(&three, 2, 0, 1);
    open_between(&three, 1, 2, 1);
    let comes = |person: &Person, of: u32| {
        person.said.iter().any(|(_, e)| matches!(e, Event::Flowing { leg, .. } if *leg == Leg(of)))
    };
    gather(&mut three, |three| {
        comes(&three[0], 2) && comes(&three[1], 2) && comes(&three[2], 0) && comes(&three[2], 1)
    })
    .await;
    for person in three {
        person.engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_far_side_more_than_a_room_holds_is_refused_and_disturbs_nobody() {
    let folder = Folder::new("room-full");
    let mut one = people(&folder, &[vec![0.0; RATE]], Processing::default()).pop().unwrap();
    for at in 0..=MOST_LEGS as u32 {
        one.engine.command(Command::Open { leg: Leg(at), generation: 1, route: Route::Any });
    }
    let why = one
        .until(|event| match event {
            Event::Failed { leg, why, .. } => Some((*leg, why.clone())),
            _ => None,
        })
        .await;
    assert_eq!(why.0, Leg(MOST_LEGS as u32));
    assert!(!why.1.is_empty());
    // Another generation of one that is there is none too many, and whoever goes makes room.
    one.engine.command(Command::Open { leg: Leg(3), generation: 2, route: Route::Any });
    one.until(|event| matches!(event, Event::Opened { leg: Leg(3), generation: 2 }).then_some(())).await;
    one.engine.command(Command::Drop { leg: Leg(0) });
    one.engine.command(Command::Open { leg: Leg(MOST_LEGS as u32), generation: 1, route: Route::Any });
    one.until(|event| matches!(event, Event::Opened { leg, .. } if leg.0 as usize == MOST_LEGS).then_some(())).await;
    one.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_is_dropped_leaves_nothing_running() {
    let folder = Folder::new("room-freed");
    let mut two = people(&folder, &[speech(20.0, 1), speech(20.0, 2)], Processing::default());
    let tasks = |two: &[Person]| two.iter().map(|person| person.engine.tasks()).sum::<usize>();
    for person in &mut two {
        person.engine.command(Command::Warm);
        person.until(|event| matches!(event, Event::Level { .. }).then_some(())).await;
    }
    let before = tasks(&two);
    for _ in 0..3 {
        open_between(&two, 0, 1, 1);
        let text = |person: &Person| person.said.iter().any(|(_, e)| matches!(e, Event::TextOpen { .. }));
        gather(&mut two, |two| all_flow(two) && two.iter().all(text)).await;
        let standing = tasks(&two);
        for (at, person) in two.iter_mut().enumerate() {
            person.engine.command(Command::Drop { leg: Leg(1 - at as u32) });
            person.until(|event| matches!(event, Event::Dropped { .. }).then_some(())).await;
            person.said.clear();
        }
        assert!(standing > before);
        // Closing takes a while.
        let end = Instant::now() + CAP;
        while tasks(&two) > before {
            assert!(Instant::now() < end, "{} tasks of {standing} are left, there were {before}", tasks(&two));
            go_on(&mut two, Duration::from_millis(50)).await;
        }
    }
    for person in two {
        person.engine.shutdown().await;
    }
}
