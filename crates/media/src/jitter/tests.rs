use super::*;

/// 0x08: SILK narrow-band, 20 ms, one frame; the rest is never decoded here.
const PAYLOAD: &[u8] = &[0x08, 1, 2, 3];

fn packet(sequence: u16, timestamp: u32, at_ms: u64) -> Arrival {
    let payload = Bytes::from_static(PAYLOAD);
    Arrival { at: Duration::from_millis(at_ms), ssrc: 1, form: Form::Opus, sequence, timestamp, payload }
}

/// The `i`th packet of a stream, on its way for so long; the numbers wrap around soon after the beginning.
fn nth(i: u64, delay_ms: u64) -> Arrival {
    packet(65_530u16.wrapping_add(i as u16), (u32::MAX - 1000).wrapping_add(960 * i as u32), 20 * i + delay_ms)
}

/// With copies of the packets so many before it.
fn with_copies(i: u64, delay_ms: u64, back: &[u64]) -> Arrival {
    let block = |back: &u64| red::Block { offset: 960 * *back as u32, payload: Bytes::from_static(PAYLOAD) };
    let blocks: Vec<red::Block> = back.iter().chain(&[0]).map(block).collect();
    Arrival { form: Form::Red, payload: red::write(111, &blocks), ..nth(i, delay_ms) }
}

/// What is done about 20 ms, each time.
fn play(buffer: &mut JitterBuffer, from_ms: u64, times: usize) -> String {
    let mut done = String::new();
    for i in 0..times as u64 {
        let mut made = 0;
        while made < 960 {
            let (name, samples) = match buffer.next(Duration::from_millis(from_ms + 20 * i), 0) {
                Next::Packet { way: Way::Itself, skip: 0, .. } => ('.', 960),
                Next::Packet { way: Way::Itself, skip, .. } => ('-', 960 - skip),
                Next::Packet { way: Way::Resent, skip, .. } => ('r', 960 - skip),
                Next::Packet { way: Way::Copy, skip, .. } => ('c', 960 - skip),
                Next::Fec { samples, skip, .. } => ('f', samples - skip),
                Next::Deep { samples, .. } => ('d', samples),
                Next::Conceal { samples } => ('x', samples),
                Next::Quiet => ('q', FRAME),
                Next::Wait => ('w', FRAME),
            };
            done.push(name);
            made += samples;
        }
    }
    done
}

#[test]
fn numbers_that_wrap_around_stay_in_order() {
    let mut buffer = JitterBuffer::default();
    for i in 0..12 {
        buffer.insert(Arrival { at: Duration::from_millis(20 * i), ..nth(i ^ 1, 0) });
    }
    assert_eq!(play(&mut buffer, 240, 12), "............");
    let counts = buffer.take_counts();
    assert_eq!((counts.received, counts.expected, counts.late, counts.duplicate), (12, 12, 0, 0));
}

#[test]
fn copies_fill_the_holes_that_there_are() {
    let mut buffer = JitterBuffer::default();
    for i in [0, 1, 2, 3, 6, 7, 10, 11] {
        buffer.insert(with_copies(i, 0, if i >= 2 { &[2, 1] } else { &[] }));
    }
    assert_eq!(play(&mut buffer, 240, 12), "....cc..cc..");
    assert!(buffer.missing(Duration::from_millis(240)).is_empty());
}

#[test]
fn what_comes_again_while_something_is_made_up_for_it_is_taken_from_there_on() {
    let mut buffer = JitterBuffer::default();
    buffer.set_round_trip(Some(10.0));
    for (i, delay) in [(0, 0), (1, 30), (3, 30), (4, 30)] {
        buffer.insert(nth(i, delay));
    }
    assert_eq!(play(&mut buffer, 40, 2), "..");
    assert!(matches!(buffer.next(Duration::from_millis(80), 0), Next::Conceal { samples: FRAME }));
    assert_eq!(buffer.missing(Duration::from_millis(90)), [65_532]);
    buffer.insert(nth(2, 60));
    assert!(matches!(
        buffer.next(Duration::from_millis(101), 0),
        Next::Packet { way: Way::Resent, skip: FRAME, leap: false, .. }
    ));
    assert_eq!(play(&mut buffer, 110, 2), "..");
}

#[test]
fn loss_is_counted_by_sequence_numbers_and_a_pause_is_no_loss() {
    let mut buffer = JitterBuffer::default();
    (0..50).filter(|i| i % 10 != 5).for_each(|i| {
        buffer.insert(nth(i, 0));
    });
    let counts = buffer.take_counts();
    assert_eq!((counts.expected, counts.received), (50, 45));
    play(&mut buffer, 1000, 50);
    let pause = nth(60, 0);
    buffer.insert(Arrival { sequence: nth(50, 0).sequence, ..pause });
    let counts = buffer.take_counts();
    assert_eq!((counts.expected, counts.received), (1, 1));
    assert!(matches!(buffer.next(Duration::from_millis(1200), 0), Next::Quiet));
    assert!(matches!(buffer.next(Duration::from_millis(1230), 0), Next::Packet { .. }));
}

#[test]
fn a_packet_that_is_late_is_played_late_and_one_that_is_lost_takes_its_time_only() {
    let mut buffer = JitterBuffer::default();
    (0..3).for_each(|i| {
        buffer.insert(nth(i, 0));
    });
    assert_eq!(play(&mut buffer, 60, 5), "...xxxx");
    buffer.insert(nth(3, 90));
    assert_eq!(play(&mut buffer, 160, 1), ".");
    assert_eq!(play(&mut buffer, 180, 1), "xx");
    buffer.insert(nth(5, 90));
    assert_eq!(play(&mut buffer, 200, 1), ".");
}

#[test]
fn another_source_starts_afresh_and_a_stray_packet_changes_nothing() {
    let mut buffer = JitterBuffer::default();
    buffer.insert(nth(0, 0));
    assert!(matches!(buffer.next(Duration::from_millis(30), 0), Next::Packet { .. }));
    buffer.insert(packet(30_000, 77, 31));
    buffer.insert(nth(1, 12));
    assert!(matches!(buffer.next(Duration::from_millis(50), 0), Next::Packet { .. }));
    buffer.insert(packet(30_000, 77, 51));
    buffer.insert(packet(30_001, 1037, 71));
    assert!(matches!(buffer.next(Duration::from_millis(91), 0), Next::Packet { .. }));
    buffer.insert(Arrival { ssrc: 2, ..packet(60_000, 5, 100) });
    assert!(matches!(buffer.next(Duration::from_millis(120), 0), Next::Packet { .. }));
}

#[test]
fn playout_that_is_off_its_target_is_told_by_how_much() {
    let mut buffer = JitterBuffer::default();
    (0..100).for_each(|i| {
        buffer.insert(nth(i, 0));
    });
    // All of it came in time, and is played 60 ms after the last came.
    assert!(buffer.target_ms() < 10.0);
    let Next::Packet { .. } = buffer.next(Duration::from_millis(2040), 0) else { panic!() };
    let surplus = buffer.surplus(0);
    assert!((190 * 48..=200 * 48).contains(&surplus), "{surplus}");
    buffer.stretched(-surplus);
    assert!((0..480).contains(&buffer.surplus(0)));
}
