//! Any packets at any times: continuous sound, bounded answers, no panic.

#![no_main]

#[path = "../script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::Script::default().run(bytes));
