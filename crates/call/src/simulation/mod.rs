//! Whole calls in virtual time: scripted ones whose timeline is read as text, and thousands of random ones.
//!
//! A failing history prints its seed; `BELLWIRE_SEED=<seed> cargo test --profile sim -p bellwire-call --lib replay --
//! --nocapture` runs it again and prints every step. `BELLWIRE_HISTORIES` sets how many are run.
//! The queue ([`matching`]) and rooms ([`rooms`]) have worlds of their own.

mod ghost;
mod histories;
mod interruptions;
mod matching;
mod meeting;
mod rooms;
mod scripts;
mod server;
mod sound;
mod ways;
mod world;
