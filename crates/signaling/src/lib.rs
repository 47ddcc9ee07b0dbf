//! What travels between an app and the server: messages, ids, limits, versions.
//!
//! One file holds all messages ([`wire`], with the values of [`bookings`], [`rooms`], [`network`] and [`refusals`] in their own), one the
//! ids ([`ids`]), one the two texts that come from a WebRTC library and are checked before anyone relays them ([`sdp`]). `docs/protocol.md` is the reference for people; the golden files in
//! `golden/` show each message as it travels. Nothing here acts: no clock, no socket, no state.

pub mod bookings;
pub mod ids;
pub mod network;
pub mod refusals;
pub mod rooms;
pub mod sdp;
pub mod wire;

pub use bookings::*;
pub use ids::*;
pub use network::*;
pub use refusals::*;
pub use rooms::*;
pub use sdp::*;
pub use wire::*;

/// The WebSocket subprotocol, and the version a hello must name.
pub const SUBPROTOCOL: &str = "bellwire.v1";
pub const VERSION: u16 = 1;
/// Where the socket stands on the server.
pub const SOCKET_PATH: &str = "/v1/socket";
/// The label of the data channel that carries text.
pub const CHAT_CHANNEL: &str = "bellwire-chat";

/// Limits of the wire. A hello's answer repeats those a client acts on.
pub mod limits {
    /// Bytes of one frame, either way.
    pub const FRAME: usize = 64 * 1024;
    /// Bytes of one SDP.
    pub const SDP: usize = 16 * 1024;
    /// Bytes of one candidate line.
    pub const CANDIDATE: usize = 512;
    /// Candidates in one message, and of one generation of one side.
    pub const CANDIDATES_A_MESSAGE: usize = 32;
    pub const CANDIDATES_A_GENERATION: usize = 128;
    /// Bytes of an id of either kind.
    pub const ID: usize = 128;
    /// Bytes of a token.
    pub const TOKEN: usize = 4096;
    /// Calls in one page of the history.
    pub const HISTORY_PAGE: u16 = 50;
    /// People in one room.
    pub const ROOM_MEMBERS: usize = 8;
    /// Bytes of one line of text, and lines kept of one call.
    pub const CHAT_TEXT: usize = 4_000;
    pub const CHAT_LINES: usize = 500;
    /// Seconds from a socket's opening to its hello.
    pub const HELLO_SECONDS: u64 = 5;
    /// Seconds between pings, and without a pong until a socket counts as dead.
    pub const PING_SECONDS: u64 = 25;
    pub const DEAD_SECONDS: u64 = 60;
    /// Seconds for which a lost session can be resumed, and server messages kept for it.
    pub const RESUME_SECONDS: u64 = 120;
    pub const RESUME_MESSAGES: usize = 128;
}
