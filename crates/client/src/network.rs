//! Notices that the network is another one, without waiting for anything to time out.
//!
//! A task looks a few times a second at the addresses that the system would send from, to the server and to the world of
//! either family, which costs some microseconds and sends nothing. What counts is what would have to be connected anew: a
//! second address beside one that still stands, a bridge or a VPN that takes no route are no news. It also notices that
//! the machine, or this process, has slept: its own tick comes seconds late.
//!
//! It leaves out what is done about it: link, endpoint and meeting have that.

mod system;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// From look to look, while there is a call or a room and otherwise.
const BUSY: Duration = Duration::from_millis(250);
const IDLE: Duration = Duration::from_secs(1);
/// A tick that comes this much late was slept through.
const SLEPT: Duration = Duration::from_secs(3);
/// News that wait for the loop. Full: what is new now is found again at the next look.
const NEWS: usize = 4;

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// What was sent from is gone, or not the way any more. `to_server`: the link's way as well.
    Changed { to_server: bool },
    /// Seconds are missing.
    Slept,
    /// There is no way to anywhere.
    NoNetwork,
}

/// What the task has to know of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attention {
    /// There is a call or a room.
    pub busy: bool,
    /// Where the link leads.
    pub server: Option<SocketAddr>,
}

/// Ends when it is dropped.
pub(crate) struct Network {
    pub news: mpsc::Receiver<News>,
    attention: watch::Sender<Attention>,
}

impl Network {
    /// To be called within a tokio runtime.
    pub(crate) fn watch() -> Self {
        let (sender, news) = mpsc::channel(NEWS);
        let (attention, attends) = watch::channel(Attention::default());
        tokio::spawn(look_on(sender, attends));
        Self { news, attention }
    }

    /// To be told whenever it changes; the same again changes nothing.
    pub(crate) fn attend(&self, attention: Attention) {
        self.attention.send_if_modified(|known| std::mem::replace(known, attention) != attention);
    }
}

async fn look_on(sender: mpsc::Sender<News>, mut attends: watch::Receiver<Attention>) {
    let mut known = Known::default();
    let mut last = Moment::now();
    loop {
        let Attention { busy, server } = *attends.borrow_and_update();
        let between = if busy { BUSY } else { IDLE };
        tokio::select! {
            () = sleep(between) => {}
            changed = attends.changed() => if changed.is_err() {
                return;
            },
        }
        let now = Moment::now();
        let slept = now.was_slept_before(std::mem::replace(&mut last, now), between);
        let news = known.compare(server, &system::sources(server), system::addresses);
        let news = match (news, slept) {
            (Some(news), _) => Some(news),
            (None, true) => Some(News::Slept),
            (None, false) => None,
        };
        if let Some(news) = news {
            tracing::info!(?news, "the network");
            if sender.try_send(news).is_err() && sender.is_closed() {
                return;
            }
        }
    }
}

/// By both clocks: not all of them go on while the machine sleeps.
#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn was_slept_before(self, last: Self, expected: Duration) -> bool {
        let went_by = self.monotonic.saturating_duration_since(last.monotonic);
        let by_wall = self.wall.duration_since(last.wall).unwrap_or_default();
        went_by.max(by_wall) > expected + SLEPT
    }
}

/// The addresses that the system would send from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sources {
    /// To the server.
    server: Option<IpAddr>,
    /// To the world.
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Sources {
    fn is_none(&self) -> bool {
        self.server.is_none() && self.v4.is_none() && self.v6.is_none()
    }
}

/// Each address with the name of its interface.
type Addresses = BTreeSet<(String, IpAddr)>;

/// What is in use, as far as is known.
#[derive(Debug, Default)]
struct Known {
    begun: bool,
    server: Option<SocketAddr>,
    in_use: Sources,
}

/// What became of an address in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Came,
    Went,
    Moved,
}

impl Known {
    /// Takes in what is seen now. All addresses are asked for only if they decide something.
    fn compare(
        &mut self,
        server: Option<SocketAddr>,
        seen: &Sources,
        addresses: impl Fn() -> Addresses,
    ) -> Option<News> {
        if self.server != server {
            // Another question: its first answer is no news.
            (self.server, self.in_use.server) = (server, seen.server);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.in_use = *seen;
            return None;
        }
        if self.in_use == *seen {
            return None;
        }
        let had_none = self.in_use.is_none();
        let all = addresses();
        let [to_server, v4, v6] = [
            become_of(&mut self.in_use.server, seen.server, &all),
            become_of(&mut self.in_use.v4, seen.v4, &all),
            become_of(&mut self.in_use.v6, seen.v6, &all),
        ];
        let is_over = |fate: Fate| matches!(fate, Fate::Went | Fate::Moved);
        if self.in_use.is_none() {
            Some(News::NoNetwork)
        } else if had_none {
            Some(News::Changed { to_server: true })
        } else if [to_server, v4, v6].into_iter().any(is_over) {
            Some(News::Changed { to_server: is_over(to_server) })
        } else {
            None
        }
    }
}

/// An address whose interface has got a better one, as IPv6 does each day (RFC 8981), is in use until it goes.
fn become_of(in_use: &mut Option<IpAddr>, seen: Option<IpAddr>, all: &Addresses) -> Fate {
    let fate = match (*in_use, seen) {
        (Some(used), Some(seen)) if used == seen => Fate::Stays,
        (Some(used), Some(seen)) => {
            let beside = |interface: &str| all.iter().any(|(name, address)| name == interface && *address == seen);
            let stands = all.iter().any(|(interface, address)| *address == used && beside(interface));
            if stands { Fate::Stays } else { Fate::Moved }
        }
        (Some(_), None) => Fate::Went,
        (None, Some(_)) => Fate::Came,
        (None, None) => Fate::Stays,
    };
    match fate {
        Fate::Stays => {}
        Fate::Came | Fate::Went | Fate::Moved => *in_use = seen,
    }
    fate
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `server v4 v6`, a dash where there is none.
    fn sources(text: &str) -> Sources {
        let words: Vec<Option<IpAddr>> =
            text.split_whitespace().map(|word| (word != "-").then(|| word.parse().unwrap())).collect();
        Sources { server: words[0], v4: words[1], v6: words[2] }
    }

    /// `interface address`, each on a line.
    fn addresses(text: &str) -> Addresses {
        text.split(", ").filter_map(|line| line.split_once(' ')).map(|(i, a)| (i.into(), a.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_has_to_be_connected_anew_is_news() {
        let to = |to_server| Some(News::Changed { to_server });
        let cases = [
            ("nothing", "10.0.0.2 10.0.0.2 -", "10.0.0.2 10.0.0.2 -", "", None),
            (
                "a bridge or a VPN without a route",
                "10.0.0.2 10.0.0.2 -",
                "10.0.0.2 10.0.0.2 -",
                "docker0 172.17.0.1",
                None,
            ),
            ("another address", "10.0.0.2 10.0.0.2 -", "10.0.0.9 10.0.0.9 -", "eth0 10.0.0.9", to(true)),
            (
                "a second address, preferred",
                "10.0.0.2 10.0.0.2 -",
                "10.0.0.9 10.0.0.9 -",
                "eth0 10.0.0.9, eth0 10.0.0.2",
                None,
            ),
            (
                "the route moved, both stand",
                "10.0.0.2 10.0.0.2 -",
                "10.1.0.2 10.1.0.2 -",
                "eth0 10.0.0.2, wlan0 10.1.0.2",
                to(true),
            ),
            (
                "a VPN for all but the server",
                "10.0.0.2 10.0.0.2 -",
                "10.0.0.2 10.8.0.2 -",
                "eth0 10.0.0.2, tun0 10.8.0.2",
                to(false),
            ),
            (
                "a VPN to the server alone",
                "10.0.0.2 10.0.0.2 -",
                "10.8.0.2 10.0.0.2 -",
                "eth0 10.0.0.2, tun0 10.8.0.2",
                to(true),
            ),
            (
                "IPv6 came",
                "10.0.0.2 10.0.0.2 -",
                "10.0.0.2 10.0.0.2 2001:db8::2",
                "eth0 10.0.0.2, eth0 2001:db8::2",
                None,
            ),
            ("IPv6 went", "10.0.0.2 10.0.0.2 2001:db8::2", "10.0.0.2 10.0.0.2 -", "eth0 10.0.0.2", to(false)),
            (
                "another temporary address",
                "2001:db8::2 - 2001:db8::2",
                "2001:db8::7 - 2001:db8::7",
                "eth0 2001:db8::2, eth0 2001:db8::7",
                None,
            ),
            ("everything went", "10.0.0.2 10.0.0.2 2001:db8::2", "- - -", "", Some(News::NoNetwork)),
            ("nothing as before", "- - -", "- - -", "", None),
            ("a network came", "- - -", "10.0.0.2 10.0.0.2 -", "eth0 10.0.0.2", to(true)),
        ];
        let server = Some("192.0.2.1:443".parse().unwrap());
        for (what, before, after, all, expected) in cases {
            let mut known = Known::default();
            assert_eq!(known.compare(server, &sources(before), Addresses::new), None, "{what}: at first");
            assert_eq!(known.compare(server, &sources(after), || addresses(all)), expected, "{what}");
            let again = known.compare(server, &sources(after), || addresses(all));
            assert_eq!(again, None, "{what}: said twice");
        }
    }

    #[test]
    fn an_address_that_was_kept_beside_a_better_one_is_news_when_it_goes() {
        let mut known = Known::default();
        let server = Some("192.0.2.1:443".parse().unwrap());
        assert_eq!(known.compare(server, &sources("10.0.0.2 10.0.0.2 -"), Addresses::new), None);
        let better = sources("10.0.0.9 10.0.0.9 -");
        let both = || addresses("eth0 10.0.0.2, eth0 10.0.0.9");
        assert_eq!(known.compare(server, &better, both), None);
        let one = || addresses("eth0 10.0.0.9");
        assert_eq!(known.compare(server, &better, one), Some(News::Changed { to_server: true }));
        assert_eq!(known.compare(server, &better, one), None);
    }

    #[test]
    fn the_way_to_another_server_is_no_news() {
        let mut known = Known::default();
        assert_eq!(known.compare(None, &sources("- 10.0.0.2 -"), Addresses::new), None);
        let server = Some("127.0.0.1:443".parse().unwrap());
        assert_eq!(known.compare(server, &sources("127.0.0.1 10.0.0.2 -"), Addresses::new), None);
    }

    #[test]
    fn seconds_that_either_clock_misses_were_slept() {
        let last = Moment::now();
        let later = |monotonic_ms, wall_ms| Moment {
            monotonic: last.monotonic + Duration::from_millis(monotonic_ms),
            wall: last.wall + Duration::from_millis(wall_ms),
        };
        for (monotonic_ms, wall_ms, expected) in
            [(250, 250, false), (2_000, 2_000, false), (20_000, 20_000, true), (250, 3_600_000, true)]
        {
            let slept = later(monotonic_ms, wall_ms).was_slept_before(last, BUSY);
            assert_eq!(slept, expected, "{monotonic_ms} {wall_ms}");
        }
        let set_back = Moment { monotonic: last.monotonic + BUSY, wall: last.wall - Duration::from_secs(3_600) };
        assert!(!set_back.was_slept_before(last, BUSY));
    }

    #[tokio::test]
    async fn the_way_to_a_server_on_this_machine_is_found() {
        let server: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(system::sources(Some(server)).server, Some(server.ip()));
        assert!(system::addresses().iter().all(|(_, address)| !address.is_loopback()));
    }
}
