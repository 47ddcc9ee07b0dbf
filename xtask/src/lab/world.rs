//! The small internet of one call: a server, a backbone, and two homes behind a router each.
//!
//! ```text
//!   home a -- router a --+
//!      \-- router a2 ----+-- backbone -- server
//!   home b -- router b --+
//! ```
//!
//! Addresses are those for documentation (RFC 5737, RFC 3849) outside and private ones (RFC 1918) at home. The second
//! way out of home a is there where it is asked for.

use super::emulator::{Emulator, End};
use super::nat::{self, Firewall, Nat};
use super::net::{Namespace, cable, prefix};
use anyhow::Result;

pub const SERVER_IP4: &str = "203.0.113.10";
pub const SERVER_IP6: &str = "2001:db8:ff::10";
/// Another outside, which is nobody's server: a stranger.
pub const STRANGER_IP4: &str = "203.0.113.20";

/// How one party is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub nat: Nat,
    pub firewall: Firewall,
}

impl Default for Access {
    /// What most homes have.
    fn default() -> Self {
        Self { nat: Nat::PortRestricted, firewall: Firewall::Open }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub a: Access,
    pub b: Access,
    pub ipv6: bool,
    /// Home a's way to its router is an emulated path, from home (a) to router (b), with this seed.
    pub emulated: Option<u64>,
    /// Home a has a second way out, which is not used yet.
    pub second_way: bool,
}

pub struct World {
    /// Before the namespaces that it joins.
    pub path: Option<Emulator>,
    pub server: Namespace,
    pub a: Namespace,
    pub b: Namespace,
    _routers: Vec<Namespace>,
    _backbone: Namespace,
    ipv6: bool,
}

/// One home's numbers.
struct Home<'a> {
    role: &'a str,
    device: &'a str,
    number: u8,
    access: Access,
    default: bool,
    emulated: Option<u64>,
}

impl World {
    pub fn build(plan: &Plan) -> Result<Self> {
        let prefix = prefix();
        let backbone = Namespace::new(&prefix, "wan")?;
        backbone.ip("link add br0 type bridge")?;
        backbone.ip("link set br0 up")?;
        let server = Namespace::new(&prefix, "srv")?;
        cable(&server, "eth0", &backbone, "srv")?;
        backbone.ip("link set srv master br0")?;
        if plan.ipv6 {
            backbone.forwards()?;
            backbone.ip("addr add 2001:db8:ff::1/64 dev br0")?;
            server.ip(&format!("addr add {SERVER_IP6}/64 dev eth0"))?;
            server.ip("route add default via 2001:db8:ff::1")?;
        } else {
            backbone.ip("addr add 203.0.113.1/24 dev br0")?;
            server.ip(&format!("addr add {SERVER_IP4}/24 dev eth0"))?;
            server.ip(&format!("addr add {STRANGER_IP4}/24 dev eth0"))?;
            // Packets to private addresses must have somewhere to vanish: a relay that cannot send at all gives up.
            server.ip("route add default via 203.0.113.1")?;
        }
        let (a, b) = (Namespace::new(&prefix, "a")?, Namespace::new(&prefix, "b")?);
        let mut routers = Vec::new();
        let mut path = None;
        let mut homes = vec![
            (
                &a,
                Home { role: "na", device: "eth0", number: 11, access: plan.a, default: true, emulated: plan.emulated },
            ),
            (&b, Home { role: "nb", device: "eth0", number: 12, access: plan.b, default: true, emulated: None }),
        ];
        if plan.second_way {
            let second =
                Home { role: "na2", device: "eth1", number: 13, access: plan.a, default: false, emulated: None };
            homes.push((&a, second));
        }
        for (namespace, home) in homes {
            let router = Namespace::new(&prefix, home.role)?;
            router.forwards()?;
            // Rules may count a connection's packets.
            router.setting("net.netfilter.nf_conntrack_acct=1")?;
            if let Some(seed) = home.emulated {
                let ends = [(namespace, home.device), (&router, "lan0")]
                    .map(|(namespace, device)| End { namespace: &namespace.name, device });
                path = Some(Emulator::start(ends[0], ends[1], seed)?);
                namespace.ip(&format!("link set {} up", home.device))?;
                router.ip("link set lan0 up")?;
            } else {
                cable(namespace, home.device, &router, "lan0")?;
            }
            cable(&router, "wan0", &backbone, home.role)?;
            backbone.ip(&format!("link set {} master br0", home.role))?;
            home.settle(namespace, &router, &backbone, plan.ipv6)?;
            routers.push(router);
        }
        Ok(Self { path, server, a, b, _routers: routers, _backbone: backbone, ipv6: plan.ipv6 })
    }

    /// HOST:PORT
    pub fn address(&self, port: u16) -> String {
        if self.ipv6 { format!("[{SERVER_IP6}]:{port}") } else { format!("{SERVER_IP4}:{port}") }
    }

    pub fn server_ip(&self) -> &'static str {
        if self.ipv6 { SERVER_IP6 } else { SERVER_IP4 }
    }

    /// Home a gets another address from its router.
    pub fn move_address(&self) -> Result<()> {
        self.a.ip("addr del 192.168.11.2/24 dev eth0")?;
        self.a.ip("addr add 192.168.11.7/24 dev eth0")?;
        self.a.ip("route replace default via 192.168.11.1 dev eth0")
    }

    /// Home a goes out by its second way.
    pub fn move_route(&self) -> Result<()> {
        self.a.ip("route replace default via 192.168.13.1 dev eth1")
    }
}

impl Home<'_> {
    fn settle(&self, namespace: &Namespace, router: &Namespace, backbone: &Namespace, ipv6: bool) -> Result<()> {
        let Self { device, number, access, .. } = self;
        if ipv6 {
            router.ip(&format!("addr add 2001:db8:{number}::1/64 dev lan0"))?;
            router.ip(&format!("addr add 2001:db8:ff::{number}/64 dev wan0"))?;
            router.ip("route add default via 2001:db8:ff::1")?;
            namespace.ip(&format!("addr add 2001:db8:{number}::2/64 dev {device}"))?;
            namespace.ip(&format!("route add default via 2001:db8:{number}::1"))?;
            backbone.ip(&format!("route add 2001:db8:{number}::/64 via 2001:db8:ff::{number}"))?;
            return router.rules(&nat::guarding(access.firewall));
        }
        // As routers of providers do: who sends from an address of elsewhere is not carried.
        router.setting("net.ipv4.conf.all.rp_filter=1")?;
        router.ip(&format!("addr add 192.168.{number}.1/24 dev lan0"))?;
        router.ip(&format!("addr add 203.0.113.{number}/24 dev wan0"))?;
        router.ip("route add default via 203.0.113.1")?;
        namespace.ip(&format!("addr add 192.168.{number}.2/24 dev {device}"))?;
        if self.default {
            namespace.ip(&format!("route add default via 192.168.{number}.1"))?;
        }
        router.rules(&nat::translating(access.nat, access.firewall, &format!("192.168.{number}.2")))
    }
}
