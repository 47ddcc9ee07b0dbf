//! Which way to a TURN server gets through: all ways are tried with one request, one kind after the other and beside it.
//!
//! [`Race::run`] begins, or goes on with another copy of the request; [`Race::next`] goes through with it and, once a lane
//! has won, says what that lane does. The lane that answered is handed out; those that did not are closed.

use super::lane::{Lane, LaneEvent, LaneNote};
use super::message::{Header, TransactionId};
use super::url::TurnUrl;
use crate::RelayTransport;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// UDP and TCP have so long to answer before the next is tried beside them.
const UDP_LEAD: Duration = Duration::from_millis(250);
const TCP_LEAD: Duration = Duration::from_millis(500);
/// Of a name that stands for many addresses, so many of each family are tried.
const ADDRESSES: usize = 2;
/// What lanes have to say; they wait when it is full.
const LANE_NOTES: usize = 256;
/// What won is tried at once for so long.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Servers of which that is remembered; with more than these all are forgotten.
const MOST_REMEMBERED: usize = 64;

pub struct Race {
    urls: Vec<TurnUrl>,
    /// The request that is raced.
    request: Option<(Vec<u8>, TransactionId)>,
    /// Kinds that wait for their turn.
    stages: VecDeque<(Instant, RelayTransport)>,
    resolving: JoinSet<(TurnUrl, std::io::Result<Vec<SocketAddr>>)>,
    lanes: Vec<Runner>,
    started: usize,
    winner: Option<usize>,
    notes: (mpsc::Sender<LaneNote>, mpsc::Receiver<LaneNote>),
}

struct Runner {
    lane: Lane,
    ready: bool,
}

pub enum RaceEvent {
    /// This lane brought the first answer.
    Won(Lane, Vec<u8>),
    /// The lane that won says something more.
    Carried(LaneEvent),
}

impl Race {
    pub fn new(urls: Vec<TurnUrl>) -> Self {
        Self {
            urls,
            request: None,
            stages: VecDeque::new(),
            resolving: JoinSet::new(),
            lanes: Vec::new(),
            started: 0,
            winner: None,
            notes: mpsc::channel(LANE_NOTES),
        }
    }

    /// Sends a request along all lanes that there are, and begins the race if it is not on.
    pub fn run(&mut self, packet: Vec<u8>, transaction: TransactionId) {
        let repeated = self.request.as_ref().is_some_and(|(_, known)| *known == transaction);
        for runner in &self.lanes {
            // A stream loses nothing, and a repetition would be answered twice.
            if runner.ready && (!repeated || runner.lane.transport == RelayTransport::Udp) {
                runner.lane.send(packet.clone());
            }
        }
        self.request = Some((packet, transaction));
        if self.is_over() {
            let present: Vec<RelayTransport> = self.urls.iter().map(|url| url.transport).collect();
            let now = Instant::now();
            let plan = plan(&present, remembered(&self.urls));
            self.stages = plan.into_iter().map(|(after, transport)| (now + after, transport)).collect();
        }
    }

    /// Nothing is tried any more, or nothing yet.
    fn is_over(&self) -> bool {
        self.lanes.is_empty() && self.stages.is_empty() && self.resolving.is_empty()
    }

    /// The next thing that the tunnel has to know. Safe to cancel.
    pub async fn next(&mut self) -> RaceEvent {
        loop {
            let nothing_runs = self.lanes.is_empty() && self.resolving.is_empty();
            let due = self.stages.front().map(|(at, _)| if nothing_runs { Instant::now() } else { *at });
            tokio::select! {
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, transport)) = self.stages.pop_front() {
                        self.start(transport);
                    }
                }
                Some(resolved) = self.resolving.join_next(), if !self.resolving.is_empty() => match resolved {
                    Ok((url, Ok(addresses))) => self.start_lanes(&url, &addresses),
                    Ok((_, Err(error))) => tracing::debug!(%error, "a relay's name is not known"),
                    Err(error) => tracing::debug!(%error, "a relay's name was not looked up"),
                },
                Some(note) = self.notes.1.recv() => if let Some(event) = self.noted(note) {
                    return event;
                },
            }
        }
    }

    fn start(&mut self, transport: RelayTransport) {
        for url in self.urls.iter().filter(|url| url.transport == transport).cloned() {
            self.resolving.spawn(async move {
                let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
                let addresses = found.map(|addresses| some_of_each_family(addresses.collect()));
                (url, addresses)
            });
        }
    }

    fn start_lanes(&mut self, url: &TurnUrl, addresses: &[SocketAddr]) {
        for address in addresses {
            self.started += 1;
            let lane = Lane::start(self.started, url.transport, url.host.clone(), *address, self.notes.0.clone());
            self.lanes.push(Runner { lane, ready: false });
        }
    }

    fn noted(&mut self, LaneNote { lane: number, event }: LaneNote) -> Option<RaceEvent> {
        if let Some(winner) = self.winner {
            return (winner == number).then_some(RaceEvent::Carried(event));
        }
        let at = self.lanes.iter().position(|runner| runner.lane.number == number)?;
        match event {
            LaneEvent::Ready => {
                let runner = self.lanes.get_mut(at)?;
                runner.ready = true;
                if let Some((packet, _)) = &self.request {
                    runner.lane.send(packet.clone());
                }
                None
            }
            LaneEvent::Ended => {
                self.lanes.remove(at);
                None
            }
            LaneEvent::Packet(packet) => {
                let header = Header::read(&packet).filter(|header| header.is_response())?;
                let (_, asked) = self.request.as_ref()?;
                if header.transaction != *asked {
                    return None;
                }
                let winner = self.lanes.swap_remove(at).lane;
                self.winner = Some(number);
                self.lanes.clear();
                self.stages.clear();
                self.resolving.abort_all();
                remember(&self.urls, winner.transport);
                Some(RaceEvent::Won(winner, packet))
            }
        }
    }
}

/// When each kind begins. UDP always does at once: it is the best where it works, and one packet costs nothing.
fn plan(present: &[RelayTransport], remembered: Option<RelayTransport>) -> Vec<(Duration, RelayTransport)> {
    let mut after = Duration::ZERO;
    let mut plan = Vec::new();
    for (transport, lead) in
        [(RelayTransport::Udp, UDP_LEAD), (RelayTransport::Tcp, TCP_LEAD), (RelayTransport::Tls, Duration::ZERO)]
    {
        if present.contains(&transport) {
            plan.push((if remembered == Some(transport) { Duration::ZERO } else { after }, transport));
            after += lead;
        }
    }
    plan.sort_by_key(|(after, _)| *after);
    plan
}

fn some_of_each_family(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    v6.into_iter().take(ADDRESSES).chain(v4.into_iter().take(ADDRESSES)).collect()
}

type Memory = HashMap<Vec<TurnUrl>, (RelayTransport, Instant)>;

static MEMORY: Mutex<Option<Memory>> = Mutex::new(None);

fn remembered(urls: &[TurnUrl]) -> Option<RelayTransport> {
    let memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let (transport, since) = memory.as_ref()?.get(urls)?;
    (since.elapsed() < REMEMBERED_FOR).then_some(*transport)
}

fn remember(urls: &[TurnUrl], transport: RelayTransport) {
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = memory.get_or_insert_default();
    if memory.len() >= MOST_REMEMBERED {
        memory.clear();
    }
    memory.insert(urls.to_vec(), (transport, Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use RelayTransport::{Tcp, Tls, Udp};

    fn planned(present: &[RelayTransport], remembered: Option<RelayTransport>) -> Vec<(u128, RelayTransport)> {
        plan(present, remembered).into_iter().map(|(after, transport)| (after.as_millis(), transport)).collect()
    }

    #[test]
    fn udp_begins_and_the_others_follow_unless_one_of_them_won_before() {
        let all = [Tls, Udp, Tcp, Udp];
        assert_eq!(planned(&all, None), [(0, Udp), (250, Tcp), (750, Tls)]);
        assert_eq!(planned(&all, Some(Udp)), [(0, Udp), (250, Tcp), (750, Tls)]);
        assert_eq!(planned(&all, Some(Tcp)), [(0, Udp), (0, Tcp), (750, Tls)]);
        assert_eq!(planned(&all, Some(Tls)), [(0, Udp), (0, Tls), (250, Tcp)]);
        assert_eq!(planned(&[Tcp, Tls], None), [(0, Tcp), (500, Tls)]);
        assert_eq!(planned(&[Tls], None), [(0, Tls)]);
    }

    #[test]
    fn of_a_name_with_many_addresses_both_families_are_tried() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let many = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "[2001:db8::1]:1"].map(address);
        let some = ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"].map(address);
        assert_eq!(some_of_each_family(many.to_vec()), some);
    }
}
