//! Who reaches whom: HTTP, WebSocket, stores, metrics.
//!
//! [`serve::serve`] is the whole server; [`seed`] is what the program's other commands do. [`app`] wires the parts:
//! [`socket`]s bring commands to the [`switchboard`], which owns the calls, and to the [`lobby`], which owns rooms and
//! matches; [`gateways`] do so for apps of older systems, on [`sio`]; [`http`] is the operator's side; [`store`] keeps what
//! is kept. Sound never comes here.

pub mod app;
pub mod auth;
pub mod checks;
pub mod clock;
pub mod closing;
pub mod config;
pub mod crowd;
pub mod data_dir;
pub mod echo;
mod files;
pub mod gateways;
pub mod http;
pub mod inbound;
pub mod lobby;
pub mod metrics;
mod quality;
pub mod rate;
pub mod relay;
pub mod seed;
pub mod serve;
pub mod session;
pub mod sign_in;
pub mod signals;
pub mod sio;
pub mod socket;
mod stalling;
pub mod store;
pub mod switchboard;
mod tls;
mod views;
