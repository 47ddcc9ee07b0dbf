//! What the system says of addresses and routes, the same way on all three.

use super::{Addresses, Sources};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are nobody's (RFC 5737, RFC 3849): which way they would be sought is the way to the world.
const WORLD_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const WORLD_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Nothing is sent to it.
const DISCARD: u16 = 9;

pub(super) fn sources(server: Option<SocketAddr>) -> Sources {
    Sources {
        server: server.and_then(|server| source(server).ok()),
        v4: source(SocketAddr::new(WORLD_V4, DISCARD)).ok().filter(is_worth_a_route),
        v6: source(SocketAddr::new(WORLD_V6, DISCARD)).ok().filter(is_worth_a_route),
    }
}

/// Connecting a UDP socket sends nothing; it asks for the route.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// An address that a machine gives itself because nobody gave it one leads nowhere.
fn is_worth_a_route(address: &IpAddr) -> bool {
    let by_itself = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !by_itself && !address.is_loopback() && !address.is_unspecified()
}

pub(super) fn addresses() -> Addresses {
    let all = match if_addrs::get_if_addrs() {
        Ok(all) => all,
        Err(error) => {
            tracing::debug!(%error, "the system does not say its addresses");
            Vec::new()
        }
    };
    let named = all.into_iter().map(|interface| (interface.ip(), interface.name));
    named.filter(|(address, _)| is_worth_a_route(address)).map(|(address, name)| (name, address)).collect()
}
