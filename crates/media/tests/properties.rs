//! Whatever comes, in whatever order and at whatever times: sound goes on, delay and memory stay bounded, nothing panics.
//! The fuzz target `receive` (crates/media/fuzz) looks for more of it.

mod common;
#[path = "../fuzz/script.rs"]
mod script;

use common::Dice;
use script::Script;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn held(change: isize) -> isize {
    HELD.try_with(|held| {
        held.set(held.get() + change);
        held.get()
    })
    .unwrap_or(0)
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size() as isize);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(-(layout.size() as isize));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn wild(seed: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..bytes).map(|_| (dice.roll() * 256.0) as u8).collect()
}

/// Packets of one voice that are lost, come again, late, in copies; nothing that is not a network's doing.
fn rough(seed: u64, packets: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::new();
    for _ in 0..packets {
        let lot = dice.roll();
        let how = (dice.roll() * 256.0) as u8;
        bytes.extend(match lot {
            0.0..0.7 => [0, if dice.roll() < 0.9 { 0 } else { how }],
            0.7..0.8 => [5, how],
            0.8..0.9 => [7, how % 4],
            0.9..0.95 => [8, how],
            _ => [14, how],
        });
        if dice.roll() < 0.02 {
            bytes.extend([0x8a, how / 8]);
        }
    }
    bytes
}

#[test]
fn anything_may_come_and_a_calm_network_is_heard_whole_and_soon_again() {
    for seed in 1..=20 {
        let mut script = Script::default();
        script.run(&wild(seed, 3000));
        let received = script.calm(30_000);
        assert_eq!(received.made_up, 0, "seed {seed}: {received:?}");
        assert!(received.buffer_ms < 60.0, "seed {seed}: {received:?}");
    }
}

#[test]
fn what_is_heard_has_no_step_that_speech_has_not_whatever_becomes_of_its_packets() {
    // A click is a step that stands out from those around it; what the codec itself makes of a loss may be steep, but it
    // rings.
    for seed in 1..=20 {
        let mut script = Script::default();
        script.heard = Some(Vec::new());
        script.run(&rough(seed, 300));
        let heard = script.heard.take().unwrap();
        let steps: Vec<f32> = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        let click = steps.windows(9).position(|near| {
            let around = near[..4].iter().chain(&near[5..]).fold(0.0f32, |most, step| most.max(*step));
            near[4] > 0.02 && near[4] > 3.0 * around
        });
        assert_eq!(click.map(|at| (seed, at / 48, &steps[at..at + 9])), None, "a click, by seed and millisecond");
    }
}

#[test]
fn nothing_that_comes_is_kept_for_ever() {
    let mut script = Script::default();
    script.run(&wild(1, 10_000));
    let before = held(0);
    script.run(&wild(2, 40_000));
    let grown = held(0) - before;
    assert!(grown < 2_000_000, "{grown} bytes more");
}
