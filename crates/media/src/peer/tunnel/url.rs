//! The URLs of TURN servers (RFC 7065).

use crate::RelayTransport;

/// Where a TURN server is, and what carries the packets there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TurnUrl {
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    pub port: u16,
    pub transport: RelayTransport,
}

/// Ports of servers whose URL names none (RFC 7065, section 3.2).
const PLAIN_PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

impl TurnUrl {
    pub fn is_turn(url: &str) -> bool {
        url.starts_with("turn:") || url.starts_with("turns:")
    }

    /// Reads a `turn:` or `turns:` URL; `None` when it is none or names what we do not speak, DTLS say.
    pub fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = match (scheme, query) {
            ("turn", "" | "transport=udp") => RelayTransport::Udp,
            ("turn", "transport=tcp") => RelayTransport::Tcp,
            ("turns", "" | "transport=tcp") => RelayTransport::Tls,
            _ => return None,
        };
        let usual = if transport == RelayTransport::Tls { TLS_PORT } else { PLAIN_PORT };
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(usual), |port| port.parse().ok())?;
        (!host.is_empty() && port != 0).then(|| Self { host: host.to_owned(), port, transport })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RelayTransport::{Tcp, Tls, Udp};

    #[test]
    fn a_url_says_where_the_server_is_and_what_carries_the_packets() {
        for (url, host, port, transport) in [
            ("turn:relay.example:443?transport=tcp", "relay.example", 443, Tcp),
            ("turn:relay.example", "relay.example", 3478, Udp),
            ("turn:192.0.2.1:7?transport=udp", "192.0.2.1", 7, Udp),
            ("turns:relay.example", "relay.example", 5349, Tls),
            ("turns:[2001:db8::1]:443?transport=tcp", "2001:db8::1", 443, Tls),
            ("turn:[2001:db8::1]", "2001:db8::1", 3478, Udp),
        ] {
            assert_eq!(TurnUrl::read(url), Some(TurnUrl { host: host.into(), port, transport }), "{url}");
        }
    }

    #[test]
    fn what_we_do_not_speak_is_left_out() {
        for url in [
            "turns:relay.example?transport=udp",
            "turn:relay.example?transport=sctp",
            "stun:relay.example",
            "turn:",
            "turn::1",
            "turn:relay.example:0",
            "turn:relay.example:70000",
            "turn:[2001:db8::1]443",
            "turn:[2001:db8::1",
        ] {
            assert_eq!(TurnUrl::read(url), None, "{url}");
        }
    }
}
