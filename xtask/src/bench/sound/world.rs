//! Two homes with one bad path between them, and a server that both reach by cables of their own.
//!
//! ```text
//!   home a ==== emulated path ==== home b
//!      \---- cable -- server -- cable ----/
//! ```
//!
//! The server carries nothing from one cable to the other and relays no sound, so that all of it takes the path.

use anyhow::Result;
use xtask::lab::emulator::{Emulator, End};
use xtask::lab::net::{Namespace, cable, prefix};

/// Private addresses (RFC 1918) of the path's two ends, the same for each product.
pub const ENDS: [&str; 2] = ["10.71.0.1", "10.71.0.2"];
/// Of the server, towards either; for documentation (RFC 5737).
const SERVER: [&str; 2] = ["192.0.2.1", "192.0.2.5"];
const CABLES: [&str; 2] = ["192.0.2.2", "192.0.2.6"];
/// Both reach it there, each over its own cable.
pub const SERVER_IP: &str = "203.0.113.10";

pub struct World {
    /// Before the namespaces that it joins.
    pub path: Emulator,
    pub homes: [Namespace; 2],
    pub server: Namespace,
}

impl World {
    pub fn build(seed: u64) -> Result<Self> {
        let prefix = prefix();
        let server = Namespace::new(&prefix, "srv")?;
        server.ip(&format!("addr add {SERVER_IP}/32 dev lo"))?;
        let homes = [Namespace::new(&prefix, "a")?, Namespace::new(&prefix, "b")?];
        let end = |n: usize| End { namespace: &homes[n].name, device: "path0" };
        let path = Emulator::start(end(0), end(1), seed)?;
        for (n, home) in homes.iter().enumerate() {
            home.ip(&format!("addr add {}/32 peer {} dev path0", ENDS[n], ENDS[1 - n]))?;
            home.ip("link set path0 up")?;
            cable(home, "eth0", &server, ["home-a", "home-b"][n])?;
            home.ip(&format!("addr add {}/30 dev eth0", CABLES[n]))?;
            server.ip(&format!("addr add {}/30 dev {}", SERVER[n], ["home-a", "home-b"][n]))?;
            home.ip(&format!("route add {SERVER_IP}/32 via {}", SERVER[n]))?;
        }
        Ok(Self { path, homes, server })
    }
}
