//! The server's clock: the one that decides.

use bellwire_signaling::UnixMs;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
