//! What happens: the pure state machines of both sides of a booked call.

pub mod booking;

pub use booking::*;
