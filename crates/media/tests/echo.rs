//! Voices in rooms: echoes go, near voices stay, and whoever should be told is told.

mod common;
#[path = "common/rooms.rs"]
mod rooms;

use bellwire_media::pipeline::{MutedVoice, OwnVoice, Processor};
use bellwire_media::{FRAME, NoiseSuppression, Processing, Sound};
use common::speech;
use rooms::{Chain, Room, add, canceller, decibels, hum, kept_db, lowered_db, part, power, run};
use std::time::Duration;

/// What users have, but for the gain, which would be in the way of measuring.
const CLEAN: Processing = Processing {
    echo_cancellation: true,
    noise_suppression: NoiseSuppression::Standard,
    gain_control: false,
    original_sound: false,
};

fn rooms() -> Vec<Room> {
    let small = Room::SMALL;
    let large = Room { rt60: 0.8, ..small };
    let drifting = Room { distorts: true, drift_ppm: 100.0, ..large };
    vec![
        small,
        Room { distorts: true, ..small },
        Room { distorts: true, drift_ppm: 100.0, ..small },
        Room { distorts: true, drift_ppm: -100.0, ..small },
        large,
        Room { distorts: true, ..large },
        drifting,
        Room { drift_ppm: -100.0, ..drifting },
        Room { level_db: -20.0, ..drifting },
    ]
}

fn frames(sound: &[f32]) -> impl Iterator<Item = (Duration, Sound)> {
    let frames = sound.as_chunks::<FRAME>().0.iter().enumerate();
    frames.map(|(n, frame)| (Duration::from_millis(10 * n as u64), Sound::mono(*frame)))
}

#[test]
fn an_echo_in_any_room_is_lowered_by_20_db_after_3_s_and_by_30_after_10() {
    let far = speech(20.0, 5);
    for room in rooms() {
        let mic = add(&room.echo(&far), &hum(far.len(), 1));
        let mut processor = Processor::new(CLEAN);
        let out = run(&mut processor, &far, &mic);
        let (soon, later) = (lowered_db(&mic, &out, 3.0, 5.0), lowered_db(&mic, &out, 10.0, 20.0));
        assert!(soon >= 20.0 && later >= 30.0, "{room:?}: {soon:.1} and {later:.1} dB");
        let said = processor.echo_return_loss_db().expect("there was an echo");
        assert!((10.0..=60.0).contains(&said), "{room:?}: {said} dB said");
    }
}

#[test]
fn a_near_voice_is_kept_while_the_far_one_is_in_the_room() {
    let (far, near) = (speech(20.0, 5), speech(20.0, 6));
    let begun = 8 * 48_000;
    let near: Vec<f32> = near.iter().enumerate().map(|(n, sample)| if n < begun { 0.0 } else { *sample }).collect();
    let room = Room { level_db: -15.0, ..Room::SMALL };
    let mic = add(&add(&room.echo(&far), &near), &hum(far.len(), 1));
    let out = run(&mut Processor::new(CLEAN), &far, &mic);
    let kept = kept_db(&near[begun..], &out[begun..]);
    let (quarter, half) = (kept[kept.len() / 4], kept[kept.len() / 2]);
    assert!(half > -2.0 && quarter > -6.0, "half of it is below {half:.1} dB, a quarter below {quarter:.1}");
}

#[test]
fn where_there_is_no_echo_the_near_voice_is_left_alone() {
    let (far, near) = (speech(12.0, 5), speech(12.0, 6));
    let mic = add(&near, &hum(near.len(), 1));
    let out = run(&mut canceller(), &far, &mic);
    let kept = kept_db(part(&near, 1.0, 12.0), part(&out, 1.0, 12.0));
    let few = kept[kept.len() / 20];
    assert!(
        few > -1.0,
        "a twentieth of it is below {few:.1} dB, a tenth {:.1}, half {:.1}",
        kept[kept.len() / 10],
        kept[kept.len() / 2]
    );
}

#[test]
fn two_voices_that_speak_at_once_are_no_echo_of_one_another() {
    for seed in 0..8 {
        let (far, near) = (speech(12.0, 300 + seed), speech(12.0, 400 + seed));
        let mic = add(&near, &hum(near.len(), 1));
        let out = run(&mut canceller(), &far, &mic);
        let kept = kept_db(part(&near, 2.0, 12.0), part(&out, 2.0, 12.0));
        let few = kept[kept.len() / 20];
        assert!(few > -1.0, "seed {seed}: a twentieth of it is below {few:.1} dB");
    }
}

#[test]
fn a_loudspeaker_that_is_switched_on_is_cancelled_within_half_a_second() {
    let far = speech(12.0, 5);
    let at = 6 * 48_000;
    let echo = Room::SMALL.echo(&far);
    let echo: Vec<f32> = echo.iter().enumerate().map(|(n, sample)| if n < at { 0.0 } else { *sample }).collect();
    let mic = add(&echo, &hum(far.len(), 1));
    let mut processor = canceller();
    let out = run(&mut processor, &far, &mic);
    assert_eq!(lowered_db(&mic, &out, 3.0, 5.0).round(), 0.0, "there was nothing to be cancelled");
    let lowered = lowered_db(&mic, &out, 6.5, 8.0);
    assert!(lowered > 12.0, "{lowered:.1} dB");
}

#[test]
fn devices_that_give_and_take_in_bursts_make_no_difference() {
    let far = speech(12.0, 5);
    let mic = add(&Room::SMALL.echo(&far), &hum(far.len(), 1));
    let steady = run(&mut canceller(), &far, &mic);
    let mut burst = Vec::new();
    let mut chain = canceller();
    let (mut played, mut captured) = (far.as_chunks::<FRAME>().0.iter(), mic.as_chunks::<FRAME>().0.iter());
    let mut turns = [1, 2, 1, 3, 2, 1].into_iter().cycle();
    loop {
        let count = turns.next().unwrap_or(1);
        played.by_ref().take(count).for_each(|frame| Chain::played(&mut chain, frame));
        let before = burst.len();
        for frame in captured.by_ref().take(count) {
            let mut frame = *frame;
            Chain::captured(&mut chain, &mut frame);
            burst.extend(frame);
        }
        if burst.len() == before {
            break;
        }
    }
    let (steady, burst) = (lowered_db(&mic, &steady, 4.0, 12.0), lowered_db(&mic, &burst, 4.0, 12.0));
    assert!(burst > steady - 1.0, "{burst:.1} dB in bursts, {steady:.1} steady");
}

#[test]
fn noise_goes_down_in_two_strengths_and_the_voice_stays() {
    // A fan: what is low in it is loud.
    let mut fan = 0.0;
    let noise: Vec<f32> = hum(480_000, 9)
        .iter()
        .map(|sample| {
            fan = 0.95 * fan + 3.0 * sample;
            fan
        })
        .collect();
    let voice = speech(10.0, 6);
    let mut lowered = Vec::new();
    for noise_suppression in [NoiseSuppression::Standard, NoiseSuppression::Strong] {
        let wanted = Processing { noise_suppression, ..Processing::OFF };
        lowered.push(lowered_db(&noise, &run(&mut Processor::new(wanted), &noise, &noise), 5.0, 10.0));
        let out = run(&mut Processor::new(wanted), &noise, &add(&voice, &hum(voice.len(), 1)));
        let kept = kept_db(part(&voice, 2.0, 10.0), part(&out, 2.0, 10.0));
        assert!(kept[kept.len() / 2] > -1.5, "{noise_suppression:?}: {:.1} dB", kept[kept.len() / 2]);
    }
    assert!(lowered[0] > 6.0 && lowered[1] > lowered[0] + 3.0, "{lowered:?}");
}

#[test]
fn original_sound_passes_untouched_in_stereo() {
    let wanted = Processing { original_sound: true, ..Processing::default() };
    let mut processor = Processor::new(wanted);
    for (_, mut sound) in frames(&speech(1.0, 7)) {
        sound.stereo = true;
        sound.side = sound.mid.map(|sample| 0.3 * sample);
        let before = sound;
        processor.played(&before);
        processor.captured(&mut sound);
        assert!(sound.stereo && sound.mid == before.mid && sound.side == before.side);
    }
}

#[test]
fn nothing_that_is_switched_clicks() {
    let strong = Processing { noise_suppression: NoiseSuppression::Strong, ..Processing::default() };
    let original = Processing { original_sound: true, ..Processing::default() };
    let turns = [CLEAN, strong, original, Processing::OFF, Processing::default(), original, CLEAN];
    let mut processor = Processor::new(turns[0]);
    let mut last = (0.0, 0.0);
    let mut steepest: f32 = 0.0;
    for n in 0..7 * 60 {
        if n % 60 == 0 {
            processor.set(turns[n / 60]);
        }
        // A low tone of -14 dBFS has no steep edges of its own.
        let tone = |k| 0.2 * (std::f32::consts::TAU * 200.0 * (n * FRAME + k) as f32 / 48_000.0).sin();
        let mut sound = Sound::mono(std::array::from_fn(tone));
        (sound.side, sound.stereo) = (sound.mid.map(|sample| 0.5 * sample), true);
        processor.captured(&mut sound);
        let side = if sound.stereo { sound.side } else { [0.0; FRAME] };
        for (mid, side) in sound.mid.into_iter().zip(side) {
            if n > 30 {
                steepest = steepest.max((mid - last.0).abs()).max((side - last.1).abs());
            }
            last = (mid, side);
        }
    }
    // The tone's own slope is 0.005 a sample, and the gain makes it 50 dB at most louder, within full scale.
    assert!(steepest < 0.05, "{steepest}");
}

#[test]
fn who_speaks_while_muted_is_told_once_in_ten_seconds() {
    let mut muted = MutedVoice::default();
    let told: Vec<_> =
        frames(&speech(25.0, 6)).filter_map(|(now, sound)| muted.hear(&sound, now).then_some(now)).collect();
    assert!(told.len() >= 2 && told[0] < Duration::from_secs(5), "{told:?}");
    assert!(told.windows(2).all(|two| two[1] - two[0] >= Duration::from_secs(10)), "{told:?}");
}

#[test]
fn noise_and_knocks_are_nobody_speaking() {
    let noise: Vec<f32> = hum(960_000, 4).iter().map(|sample| 40.0 * sample).collect();
    let knocks: Vec<f32> = hum(960_000, 4)
        .iter()
        .enumerate()
        .map(|(n, sample)| 300.0 * sample * (-((n % 12_000) as f32) / 300.0).exp())
        .collect();
    for sound in [noise, knocks] {
        let mut muted = MutedVoice::default();
        assert!(!frames(&sound).any(|(now, sound)| muted.hear(&sound, now)));
    }
}

/// What is known of our voice each second, while we send one sound and hear another.
fn comes_back(sent: &[f32], heard: &[f32]) -> Vec<Option<f32>> {
    let mut own = OwnVoice::default();
    let mut known = Vec::new();
    for (n, ((now, sent), (_, heard))) in frames(sent).zip(frames(heard)).enumerate() {
        own.heard(&heard.mid, now);
        own.sent(&sent.mid, now);
        if n % 100 == 99 {
            known.push(own.back_db());
        }
    }
    known
}

#[test]
fn our_own_voice_from_the_far_side_is_noticed_within_ten_seconds() {
    let ours = speech(20.0, 6);
    for (delay_ms, level_db) in [(150.0, -10.0), (700.0, -20.0), (1_900.0, -26.0)] {
        let room = Room { delay_ms, level_db, rt60: 0.4, distorts: true, drift_ppm: 50.0 };
        let heard = add(&room.echo(&ours), &hum(ours.len(), 1));
        let known = comes_back(&ours, &heard);
        let found = known[9].unwrap_or_else(|| panic!("nothing after 10 s at {delay_ms} ms and {level_db} dB"));
        assert!((found + level_db).abs() < 4.0, "{found} dB of {level_db}");
        let louder = decibels(power(&ours) / power(&heard));
        assert!((found - louder).abs() < 4.0, "{found} dB of {louder}");
    }
}

#[test]
fn our_own_voice_is_noticed_although_the_far_side_speaks_now_and_then() {
    let (ours, theirs) = (speech(30.0, 6), speech(30.0, 16));
    let room = Room { delay_ms: 400.0, level_db: -12.0, rt60: 0.4, distorts: false, drift_ppm: 0.0 };
    // Two seconds in ten.
    let theirs: Vec<f32> =
        theirs.iter().enumerate().map(|(n, sample)| if n % 480_000 < 96_000 { *sample } else { 0.0 }).collect();
    let known = comes_back(&ours, &add(&room.echo(&ours), &theirs));
    assert!(known[10..].iter().any(Option::is_some), "{known:?}");
}

#[test]
fn other_voices_are_not_ours() {
    for seed in 0..6 {
        let (ours, theirs) = (speech(30.0, 100 + seed), speech(30.0, 200 + seed));
        let turn = |of: &[f32], mine: bool| -> Vec<f32> {
            let speaks = |n: usize| (n / 144_000).is_multiple_of(2) == mine;
            of.iter().enumerate().map(|(n, sample)| if speaks(n) { *sample } else { 0.0 }).collect()
        };
        let hum = hum(ours.len(), 1);
        // By turns, and both at once.
        for (sent, heard) in [(turn(&ours, true), turn(&theirs, false)), (ours.clone(), theirs.clone())] {
            let known = comes_back(&sent, &add(&heard, &hum));
            assert!(known.iter().all(Option::is_none), "seed {seed}: {known:?}");
        }
    }
}
