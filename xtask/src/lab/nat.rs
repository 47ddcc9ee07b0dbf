//! Address translators of the classic kinds (RFC 3489, section 5) and firewalls, as rules of a router.
//!
//! The router's cable to the outside is `wan0`; the only one who lives behind it is told by address. All kinds but the
//! symmetric one keep the port, so that the port which one inside has opened is known by its number.

use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// One outer port for one inner; everybody may send to it.
    FullCone,
    /// Those may send to it whose address was sent to.
    Restricted,
    /// Those whose address and port were sent to.
    PortRestricted,
    /// As the last, and another outer port for each destination.
    Symmetric,
}

pub const NATS: [Nat; 4] = [Nat::FullCone, Nat::Restricted, Nat::PortRestricted, Nat::Symmetric];

impl Nat {
    pub fn word(self) -> &'static str {
        match self {
            Self::FullCone => "full cone",
            Self::Restricted => "restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
        }
    }

    /// What whoever lives behind it opens by sending, and how that is recognised from outside.
    fn opened(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::FullCone => Some(("inet_service", "udp sport", "udp dport")),
            Self::Restricted => Some(("ipv4_addr . inet_service", "ip daddr . udp sport", "ip saddr . udp dport")),
            Self::PortRestricted | Self::Symmetric => None,
        }
    }
}

/// What else a router keeps from getting out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firewall {
    #[default]
    Open,
    /// No UDP but DNS.
    NoUdp,
    /// TCP to port 443 alone, and there what begins as TLS does.
    TlsOnly,
}

impl Firewall {
    /// What is looked at before a connection counts as known.
    fn inspection(self) -> &'static str {
        match self {
            Self::Open | Self::NoUdp => "",
            // The third packet is the first with data; its first byte is that of a TLS handshake, or the connection is dead.
            Self::TlsOnly => {
                "iifname != wan0 tcp dport 443 ct original packets <= 3 @ih,0,8 != 0x16 ct mark set 1\nct mark 1 drop\n"
            }
        }
    }

    fn rules(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::NoUdp => "iifname != wan0 udp dport != 53 drop\n",
            Self::TlsOnly => "iifname != wan0 tcp dport 443 accept\niifname != wan0 drop\n",
        }
    }
}

/// IPv4: translation for the one at `inside`.
pub fn translating(nat: Nat, firewall: Firewall, inside: &str) -> String {
    let mut rules = String::from("table ip lab {\n");
    if let Some((key, sent, come)) = nat.opened() {
        let _ = write!(
            rules,
            "set opened {{ type {key}; flags dynamic,timeout; timeout 2m; size 65535; }}\n\
             chain opening {{ type filter hook forward priority 10; policy accept\n\
             iifname != wan0 meta l4proto udp update @opened {{ {sent} }}\n}}\n\
             chain incoming {{ type nat hook prerouting priority -100; policy accept\n\
             iifname wan0 {come} @opened dnat to {inside}\n}}\n"
        );
    }
    let how = if nat == Nat::Symmetric { "random,fully-random" } else { "" };
    let _ = write!(
        rules,
        "chain outgoing {{ type nat hook postrouting priority 100; policy accept\noifname wan0 masquerade {how}\n}}\n\
         {}}}\n",
        filters(firewall, "ct status dnat accept\n")
    );
    rules
}

/// IPv6: no translation, and from outside only answers come in.
pub fn guarding(firewall: Firewall) -> String {
    format!("table ip6 lab {{\n{}}}\n", filters(firewall, ""))
}

/// What comes in unasked must not reach the router itself: it would be noted, and the answer's port with it be taken.
fn filters(firewall: Firewall, welcome: &str) -> String {
    format!(
        "chain through {{ type filter hook forward priority 0; policy accept\n\
         {}ct state established,related accept\n{welcome}iifname wan0 drop\n{}}}\n\
         chain own {{ type filter hook input priority 0; policy accept\n\
         meta l4proto {{ icmp, ipv6-icmp }} accept\n\
         iifname wan0 ct state established,related accept\niifname wan0 drop\n}}\n",
        firewall.inspection(),
        firewall.rules()
    )
}
