//! The pipeline in virtual time: a voice through encoder, a simulated network, jitter buffer and decoder.

mod common;

use bellwire_media::pipeline::{Arrival, Encoded, Form, Plan, ReceiveSide, Received, SendSide};
use bellwire_media::{FRAME, Processing, Sound};
use common::{Dice, likeness, speech};
use std::time::Duration;

const OFF: Processing = Processing::OFF;
const SECONDS: f32 = 20.0;

/// What happens to a packet on its way: `None` when it is lost, else its delay; and how often it arrives.
type Fate<'a> = &'a mut dyn FnMut(usize, &mut Dice) -> Option<(f32, usize)>;

struct Heard {
    sound: Vec<f32>,
    received: Received,
    packets: usize,
    /// Greatest time from arrival to playout of any second, in milliseconds.
    seconds: Vec<Received>,
}

impl Heard {
    fn made_up(&self) -> f32 {
        self.received.made_up as f32 / self.received.played as f32
    }
}

fn send(voice: &[f32], muted: impl Fn(usize) -> bool) -> Vec<(Duration, Encoded)> {
    send_with(Plan::default(), voice, muted)
}

fn send_with(plan: Plan, voice: &[f32], muted: impl Fn(usize) -> bool) -> Vec<(Duration, Encoded)> {
    let mut side = SendSide::new(OFF, 0xFFFF_F000).unwrap();
    side.follow(plan);
    let mut packets = Vec::new();
    let mut was = false;
    for (i, chunk) in voice.chunks_exact(FRAME).enumerate() {
        if muted(i) != was {
            was = !was;
            side.set_muted(was);
        }
        let mut sound = Sound::mono(chunk.try_into().unwrap());
        if let Some(packet) = side.captured(&mut sound) {
            packets.push((Duration::from_millis(10 * (i as u64 + 1)), packet));
        }
    }
    packets
}

fn receive(packets: &[(Duration, Encoded)], frames: usize, fate: Fate) -> Heard {
    let mut dice = Dice::new(7);
    let mut arrivals = Vec::new();
    for (i, (sent, packet)) in packets.iter().enumerate() {
        if let Some((delay_ms, copies)) = fate(i, &mut dice) {
            let at = *sent + Duration::from_secs_f32(delay_ms / 1000.0);
            let arrival = Arrival {
                at,
                ssrc: 9,
                form: Form::Opus,
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                payload: packet.payload.clone(),
            };
            arrivals.extend(std::iter::repeat_n(arrival, copies));
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    let mut side = ReceiveSide::new().unwrap();
    let mut coming = arrivals.into_iter().peekable();
    let (mut sound, mut seconds) = (Vec::new(), Vec::new());
    for i in 0..frames {
        let now = Duration::from_millis(10 * i as u64);
        while let Some(arrival) = coming.next_if(|arrival| arrival.at <= now) {
            side.insert(arrival);
        }
        let mut played = Sound::SILENCE;
        side.playout(now, &mut played);
        sound.extend_from_slice(&played.mid);
        if i % 100 == 99 {
            seconds.push(side.take_received());
        }
    }
    let mut received = Received::default();
    for second in &seconds {
        received.played += second.played;
        received.made_up += second.made_up;
        received.rebuilt += second.rebuilt;
        received.stretched += second.stretched;
        received.counts.received += second.counts.received;
        received.counts.expected += second.counts.expected;
        received.counts.late += second.counts.late;
        received.counts.duplicate += second.counts.duplicate;
    }
    received.buffer_ms = seconds.last().map_or(0.0, |second| second.buffer_ms);
    Heard { sound, received, packets: packets.len(), seconds }
}

fn through(fate: Fate) -> (Vec<f32>, Heard) {
    through_for(SECONDS, fate)
}

fn through_for(seconds: f32, fate: Fate) -> (Vec<f32>, Heard) {
    let voice = speech(seconds, 3);
    let packets = send(&voice, |_| false);
    let heard = receive(&packets, voice.len() / FRAME, fate);
    (voice, heard)
}

/// How much like the original it sounds in the middle, where nothing is settling any more.
fn likeness_in_the_middle(voice: &[f32], heard: &Heard) -> f32 {
    let (from, to) = (voice.len() / 4, voice.len() * 3 / 4);
    let other = speech(SECONDS, 4);
    let wrong = likeness(&other[from..to], &heard.sound[from..], 500).0;
    assert!(wrong < 0.4, "another voice is as like: {wrong}");
    likeness(&voice[from..to], &heard.sound[from..], 500).0
}

#[test]
fn a_clean_network_loses_nothing_and_adds_little_delay() {
    let (voice, heard) = through(&mut |_, _| Some((30.0, 1)));
    assert!(likeness_in_the_middle(&voice, &heard) > 0.97);
    // Until the first packet there is nothing to be made up; after it nothing must be.
    assert_eq!(heard.received.made_up, 0);
    // Two are still on their way at the end.
    assert_eq!(heard.received.counts.received as usize, heard.packets - 2);
    assert!(heard.received.buffer_ms <= 35.0, "{} ms", heard.received.buffer_ms);
    assert!(heard.received.counts.late == 0 && heard.received.rebuilt == 0);
}

#[test]
fn ten_percent_random_loss_is_mostly_rebuilt() {
    let voice = speech(SECONDS, 3);
    let packets = send_with(Plan { fec: true, expected_loss: 10, ..Plan::default() }, &voice, |_| false);
    let heard = receive(&packets, voice.len() / FRAME, &mut |_, dice| (dice.roll() >= 0.1).then_some((30.0, 1)));
    let lost = heard.received.counts.expected - heard.received.counts.received;
    assert!((0.07..0.13).contains(&(lost as f32 / heard.received.counts.expected as f32)));
    let rebuilt = heard.received.rebuilt as f32 / 960.0;
    assert!(rebuilt > 0.4 * lost as f32, "{rebuilt} of {lost} rebuilt");
    assert!(heard.made_up() < 0.06, "made up {}", heard.made_up());
    assert!(likeness_in_the_middle(&voice, &heard) > 0.9);
}

#[test]
fn half_a_second_of_loss_fades_to_silence_and_speech_goes_on_after_it() {
    let (voice, heard) = through(&mut |i, _| (!(250..275).contains(&i)).then_some((30.0, 1)));
    let gone = &heard.sound[5_350 * 48..5_480 * 48];
    assert!(gone.iter().all(|sample| sample.abs() < 1e-4), "a long loss is not silent");
    assert!(heard.made_up() > 0.02);
    let after = 6 * 48_000;
    assert!(likeness(&voice[after..], &heard.sound[after..], 500).0 > 0.95);
}

#[test]
fn during_a_long_loss_there_is_silence_and_the_first_packet_after_it_is_heard_at_once() {
    let voice: Vec<f32> = tone(30.0);
    let packets = send(&voice, |_| false);
    let away = 250..1250;
    let heard = receive(&packets, voice.len() / FRAME, &mut |i, _| (!away.contains(&i)).then_some((30.0, 1)));
    let at = |ms: usize| loudness(&heard.sound[ms * 48..(ms + 10) * 48]);
    let from = 5_000 + 30;
    assert!(at(from - 100) > 0.1);
    // It fades, never louder than before, and is gone after 260 ms, the buffer's delay included.
    (0..260).step_by(10).for_each(|ms| assert!(at(from + ms) < 1.2 * at(from - 100), "{ms} ms"));
    (260..19_900).step_by(10).for_each(|ms| assert_eq!(at(from + ms), 0.0, "{ms} ms"));
    let back = (0..1000).step_by(10).find(|ms| at(25_000 + ms) > 0.1).unwrap();
    // It is sent 20 ms after its sound began, and on its way for 30 ms.
    assert!(back <= 20 + 30 + 70, "the first packet is heard {} ms after it came", back - 50);
    let steps = |range: std::ops::Range<usize>| widest_step(&heard.sound[range.start * 48..range.end * 48]);
    assert!(steps(from..28_000) < 1.5 * steps(3_000..4_500), "there are clicks");
}

/// 300 Hz.
fn tone(seconds: f32) -> Vec<f32> {
    let samples = (seconds * common::RATE as f32) as usize;
    (0..samples).map(|i| 0.3 * (std::f32::consts::TAU * 300.0 * i as f32 / common::RATE as f32).sin()).collect()
}

fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32).sqrt()
}

fn widest_step(sound: &[f32]) -> f32 {
    sound.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn jitter_is_absorbed_by_delay_that_goes_away_again() {
    let (voice, heard) = through_for(40.0, &mut |i, dice| {
        let jitter = if (200..600).contains(&i) { 80.0 * dice.roll() } else { 0.0 };
        Some((30.0 + jitter, 1))
    });
    let buffer: Vec<f32> = heard.seconds.iter().map(|second| second.buffer_ms).collect();
    assert!(buffer[2] <= 35.0, "before: {} ms", buffer[2]);
    assert!((25.0..=130.0).contains(&buffer[10]), "within: {} ms", buffer[10]);
    assert!(buffer[39] <= 40.0, "after: {} ms", buffer[39]);
    // Once the buffer knows the jitter, nothing is missing.
    let later: u32 = heard.seconds[6..].iter().map(|second| second.made_up).sum();
    assert!(later as f32 / (34.0 * 48_000.0) < 0.005, "{later} samples made up");
    assert!(likeness(&voice[36 * 48_000..], &heard.sound[36 * 48_000..], 500).0 > 0.95);
}

#[test]
fn delay_that_is_needed_no_more_goes_in_the_pause_and_not_in_the_sentence() {
    // Six seconds of uneven packets, then one sentence of seventeen.
    let mut voice = speech(6.0, 3);
    let hum = |i: usize| (1..6).map(|k| (0.02 * (k * i) as f32).sin() * 0.1 / k as f32).sum();
    voice.extend((0..17 * 48_000).map(hum).collect::<Vec<f32>>());
    voice.extend(vec![0.0; 48_000]);
    voice.extend(speech(3.0, 4));
    let packets = send(&voice, |_| false);
    let heard = receive(&packets, voice.len() / FRAME, &mut |i, dice| {
        Some((if i < 300 { 30.0 + 50.0 * dice.roll() } else { 30.0 }, 1))
    });
    let stretched: Vec<u32> = heard.seconds.iter().map(|second| second.stretched).collect();
    let (within, after) = (heard.seconds[21].buffer_ms, heard.seconds[25].buffer_ms);
    println!("{stretched:?}, {within} ms in the sentence, {after} ms after it");
    assert!(heard.seconds[17].target_ms <= 20.0 && within >= 40.0, "{within} ms while it is spoken");
    assert!(stretched[9..22].iter().all(|samples| *samples == 0), "{stretched:?}");
    assert!(after <= 30.0, "{after} ms after the pause");
}

#[test]
fn a_way_that_becomes_longer_is_followed_within_seconds() {
    let (voice, heard) = through(&mut |i, _| Some((if i < 400 { 30.0 } else { 80.0 }, 1)));
    let target: Vec<f32> = heard.seconds.iter().map(|second| second.target_ms).collect();
    println!("{target:?}");
    assert!(target[7] <= 20.0 && target[9] >= 50.0, "{target:?}");
    // The fastest packets of before would count for ten seconds.
    assert!(target[13..].iter().all(|ms| *ms <= 30.0), "five seconds later: {target:?}");
    assert!(likeness(&voice[16 * 48_000..], &heard.sound[16 * 48_000..], 500).0 > 0.95);
}

#[test]
fn order_and_repetition_do_not_matter() {
    let (voice, heard) = through(&mut |i, dice| {
        let swapped = if i % 7 == 3 { 25.0 } else { 0.0 };
        Some((30.0 + swapped, 1 + usize::from(dice.roll() < 0.2)))
    });
    assert!(heard.received.counts.duplicate + heard.received.counts.late > 100);
    assert!(heard.made_up() < 0.01, "made up {}", heard.made_up());
    assert!(likeness_in_the_middle(&voice, &heard) > 0.95);
}

#[test]
fn a_muted_voice_sends_little_reveals_nothing_and_is_no_loss() {
    let voice = speech(SECONDS, 3);
    let muted = |i: usize| (500..1500).contains(&i);
    let packets = send(&voice, muted);
    let sent_muted = packets.iter().filter(|(at, _)| (5_300..15_000).contains(&(at.as_millis() as u64))).count();
    assert!((20..100).contains(&sent_muted), "{sent_muted} packets while muted");
    let widest = packets.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(widest <= Duration::from_millis(420), "{widest:?} without a packet");

    let heard = receive(&packets, voice.len() / FRAME, &mut |_, _| Some((30.0, 1)));
    let silence = &heard.sound[5_200 * 48..15_000 * 48];
    let loudest = silence.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!(loudest < 0.002, "something is heard: {loudest}");
    // The decoder rests: what it makes of silence is near to nothing, never nothing at all.
    let resting =
        silence[48_000..].chunks_exact(FRAME).filter(|frame| frame.iter().all(|sample| *sample == 0.0)).count();
    println!("{resting} of {} frames rest", silence[48_000..].len() / FRAME);
    assert!(resting > 500, "{resting} frames rest");
    assert_eq!(heard.received.made_up, 0, "a pause counts as loss");
    assert_eq!(heard.received.counts.expected, heard.received.counts.received);
    let after = 16 * 48_000;
    assert!(likeness(&voice[after..], &heard.sound[after..], 500).0 > 0.95);
}

#[test]
fn what_is_said_while_muted_does_not_change_a_single_packet() {
    // Two people who say the same until they mute, and then different things.
    let (mut one, other) = (speech(6.0, 3), speech(6.0, 4));
    let mute_at = 300;
    let first = send(&one, |i| i >= mute_at);
    one[mute_at * FRAME..].copy_from_slice(&other[mute_at * FRAME..]);
    let second = send(&one, |i| i >= mute_at);
    assert!(first.len() > 150);
    assert!(first.iter().zip(&second).all(|(a, b)| a.1.payload == b.1.payload) && first.len() == second.len());
    // The control: without mute they differ.
    let spoken = send(&one, |_| false);
    assert!(first.iter().zip(&spoken).any(|(a, b)| a.1.payload != b.1.payload));
}

#[test]
fn a_stall_of_a_second_is_caught_up_with() {
    let (voice, heard) = through(&mut |i, _| {
        // Everything sent within a second arrives at its end.
        let held = if (250..300).contains(&i) { (300 - i) as f32 * 20.0 } else { 0.0 };
        Some((30.0 + held, 1))
    });
    let last = heard.seconds.last().unwrap();
    assert!(last.buffer_ms < 60.0, "still {} ms behind", last.buffer_ms);
    assert!(likeness(&voice[14 * 48_000..], &heard.sound[14 * 48_000..], 500).0 > 0.9);
}

#[test]
fn clocks_that_drift_apart_do_not_pile_up_delay() {
    // The sender's clock runs 0.1 % fast: ten times what sound cards do.
    let (_, heard) = through(&mut |i, _| Some((60.0 - i as f32 * 0.02, 1)));
    assert!(heard.received.buffer_ms < 45.0, "{} ms", heard.received.buffer_ms);
    assert!(heard.made_up() < 0.005);
}
