//! What is heard: devices, processing, codec, jitter buffer, peer connection.
//!
//! An [`Engine`] holds the sound of one device of one person. It knows no call, no booking and no server: it is told
//! to open a connection of a generation, hands out descriptions and candidates, and says when speech flows.
//! Its caller feeds it [`Command`]s and reads [`Event`]s; nothing else crosses the boundary.

mod interface;

pub use interface::*;
