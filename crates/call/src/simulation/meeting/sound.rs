//! Sound engines with a leg for each far side, as far as a meeting can notice.

use crate::endpoint::{MediaEvent, Route};
use crate::meeting::SoundCommand;
use bellwire_signaling::{Candidate, CandidateLine, DescriptionKind, Sdp};
use std::collections::{BTreeMap, BTreeSet};

const STALL_MS: u64 = 2_000;
const FAIL_MS: u64 = 10_000;
const OVERLAP_MS: u64 = 1_000;

pub(super) struct Sounds {
    /// The connections of each engine, by leg and generation.
    engines: Vec<BTreeMap<(u32, u32), Connection>>,
    shut: BTreeSet<(usize, usize)>,
    /// Nothing goes directly between these two.
    indirect: BTreeSet<(usize, usize)>,
    /// Counts the addresses of each device. A connection is bound to that of its beginning.
    addresses: Vec<u64>,
    /// To whom a relay is granted.
    relays: BTreeSet<usize>,
    made: u64,
}

#[derive(Default)]
struct Connection {
    tag: u64,
    address: u64,
    route: Route,
    relay: bool,
    offered: bool,
    /// The engine and connection of the far side, by its description.
    remote: Option<(usize, u64)>,
    remote_at: u64,
    candidates: BTreeSet<u64>,
    flows: bool,
    /// When it began, or ceased, to be possible.
    since: Option<u64>,
    drop_at: Option<u64>,
}

pub(super) struct Told {
    pub(super) device: usize,
    pub(super) leg: u32,
    pub(super) event: MediaEvent,
    pub(super) after: u64,
}

impl Sounds {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            engines: (0..devices).map(|_| BTreeMap::new()).collect(),
            shut: BTreeSet::new(),
            indirect: BTreeSet::new(),
            addresses: vec![0; devices],
            relays: BTreeSet::new(),
            made: 0,
        }
    }

    pub(super) fn set_path(&mut self, one: usize, other: usize, open: bool) {
        let path = (one.min(other), one.max(other));
        if open {
            self.shut.remove(&path);
        } else {
            self.shut.insert(path);
        }
    }

    pub(super) fn set_direct(&mut self, one: usize, other: usize, open: bool) {
        let path = (one.min(other), one.max(other));
        if open {
            self.indirect.remove(&path);
        } else {
            self.indirect.insert(path);
        }
    }

    pub(super) fn change_address(&mut self, device: usize) {
        self.addresses[device] += 1;
    }

    pub(super) fn legs(&self, device: usize) -> BTreeSet<u32> {
        self.engines[device].keys().map(|(leg, _)| *leg).collect()
    }

    pub(super) fn has(&self, device: usize, leg: u32) -> bool {
        self.engines[device].range((leg, 0)..=(leg, u32::MAX)).next().is_some()
    }

    /// What was said of a connection that is gone by now is not heard any more.
    pub(super) fn knows(&self, device: usize, leg: u32, event: &MediaEvent) -> bool {
        match event {
            MediaEvent::Opened { generation }
            | MediaEvent::Description { generation, .. }
            | MediaEvent::Candidates { generation, .. }
            | MediaEvent::Flowing { generation }
            | MediaEvent::Path { generation, .. }
            | MediaEvent::Stalled { generation } => self.engines[device].contains_key(&(leg, *generation)),
            MediaEvent::Failed { .. } => true,
        }
    }

    pub(super) fn told(
        &mut self,
        device: usize,
        command: SoundCommand,
        now: u64,
        rng: &mut fastrand::Rng,
    ) -> Result<Vec<Told>, String> {
        let mut told = Vec::new();
        match command {
            SoundCommand::Warm | SoundCommand::Mute(_) => {}
            SoundCommand::IceServers(servers) if servers.is_empty() => drop(self.relays.remove(&device)),
            SoundCommand::IceServers(_) => drop(self.relays.insert(device)),
            SoundCommand::Close => self.engines[device].clear(),
            SoundCommand::Drop { leg } => self.engines[device].retain(|(of, _), _| *of != leg),
            SoundCommand::Open { leg, generation, route } => {
                self.made += 1;
                let (address, relay) = (self.addresses[device], self.relays.contains(&device));
                let connection = Connection { tag: self.made, address, route, relay, ..Connection::default() };
                if self.engines[device].insert((leg, generation), connection).is_some() {
                    return Err(format!("generation {generation} of leg {leg} was opened twice"));
                }
            }
            SoundCommand::Offer { leg, generation } => {
                if let Some(connection) = self.engines[device].get_mut(&(leg, generation)) {
                    connection.offered = true;
                    let tag = connection.tag;
                    told = described(DescriptionKind::Offer, device, leg, generation, tag, rng);
                }
            }
            SoundCommand::SetRemote { leg, generation, kind, sdp } => {
                let (from, of, tag) =
                    numbers(sdp.as_str().lines().nth(1).and_then(|line| line.strip_prefix("o=")), ' ')
                        .ok_or("a description of another engine")?;
                if of != u64::from(generation) {
                    return Err(format!("a description of generation {of} was used for {generation}"));
                }
                self.made += 1;
                let fresh = self.made;
                let Some(connection) = self.engines[device].get_mut(&(leg, generation)) else { return Ok(told) };
                let remote = (from as usize, tag);
                if connection.remote == Some(remote) {
                    return Ok(told);
                }
                match kind {
                    DescriptionKind::Answer if connection.remote.is_some() || !connection.offered => {}
                    DescriptionKind::Answer => (connection.remote, connection.remote_at) = (Some(remote), now),
                    DescriptionKind::Offer => {
                        if connection.remote.is_some() {
                            // The far side has begun anew, and so do we.
                            let candidates = std::mem::take(&mut connection.candidates);
                            let Connection { route, relay, .. } = *connection;
                            let address = self.addresses[device];
                            *connection =
                                Connection { tag: fresh, address, route, relay, candidates, ..Connection::default() };
                        }
                        (connection.remote, connection.remote_at) = (Some(remote), now);
                        let tag = connection.tag;
                        told = described(DescriptionKind::Answer, device, leg, generation, tag, rng);
                    }
                }
            }
            SoundCommand::AddCandidates { leg, generation, candidates } => {
                let Some(connection) = self.engines[device].get_mut(&(leg, generation)) else { return Ok(told) };
                for candidate in candidates {
                    let text = candidate.candidate.as_str().strip_prefix("candidate:");
                    let (of, tag, _) = numbers(text.and_then(|text| text.split(' ').next()), 'x')
                        .ok_or("a candidate of another engine")?;
                    if of != u64::from(generation) {
                        return Err(format!("a candidate of generation {of} was used for {generation}"));
                    }
                    connection.candidates.insert(tag);
                }
            }
        }
        Ok(told)
    }

    pub(super) fn tick(&mut self, now: u64, rng: &mut fastrand::Rng) -> Vec<Told> {
        let mut told = Vec::new();
        for device in 0..self.engines.len() {
            let places: Vec<(u32, u32)> = self.engines[device].keys().copied().collect();
            for (leg, generation) in places {
                let path = self.path(device, (leg, generation));
                let open = path.is_some();
                let Some(connection) = self.engines[device].get_mut(&(leg, generation)) else { continue };
                let mut say = |event| told.push(Told { device, leg, event, after: 0 });
                if open == connection.flows {
                    connection.since = None;
                }
                let for_ms = now - *connection.since.get_or_insert(now);
                if connection.drop_at.is_some_and(|at| at <= now) {
                    self.engines[device].remove(&(leg, generation));
                } else if open && !connection.flows && for_ms > rng.u64(0..600) {
                    (connection.flows, connection.since) = (true, None);
                    if let Some(relayed) = path {
                        say(MediaEvent::Path { generation, relayed });
                    }
                    say(MediaEvent::Flowing { generation });
                    for (_, older) in self.engines[device].range_mut((leg, 0)..(leg, generation)) {
                        older.drop_at.get_or_insert(now + OVERLAP_MS);
                    }
                } else if !open && connection.flows && for_ms >= STALL_MS {
                    (connection.flows, connection.since) = (false, Some(now));
                    say(MediaEvent::Stalled { generation });
                } else if !open
                    && !connection.flows
                    && connection.remote.is_some()
                    && now > connection.remote_at + FAIL_MS
                {
                    // Stays as what it is, so that the leg is still seen: an engine that failed says nothing more.
                    connection.remote = None;
                    connection.offered = true;
                    say(MediaEvent::Failed { generation });
                }
            }
        }
        told
    }

    /// Whether both know each other, can reach each other, and do; and if so, whether by a relay.
    fn path(&self, device: usize, place: (u32, u32)) -> Option<bool> {
        let here = self.engines[device].get(&place)?;
        let (far, tag) = here.remote?;
        let there = self.engines[far].values().find(|there| there.tag == tag)?;
        let paired = there.remote == Some((device, here.tag))
            && (here.candidates.contains(&there.tag) || there.candidates.contains(&here.tag));
        let bound = here.address == self.addresses[device] && there.address == self.addresses[far];
        let pair = (device.min(far), device.max(far));
        if !paired || !bound || self.shut.contains(&pair) {
            return None;
        }
        let both = [here, there];
        let direct = !self.indirect.contains(&pair) && both.iter().all(|c| c.route == Route::Any);
        let relay = both.iter().any(|c| c.relay) && both.iter().all(|c| c.relay || c.route == Route::Any);
        if direct { Some(false) } else { relay.then_some(true) }
    }
}

fn described(
    kind: DescriptionKind,
    device: usize,
    leg: u32,
    generation: u32,
    tag: u64,
    rng: &mut fastrand::Rng,
) -> Vec<Told> {
    let text = format!("v=0\r\no={device} {generation} {tag}\r\nm=audio 9\r\na=fingerprint:sha-256 00\r\n");
    let mut after = rng.u64(1..20);
    let sdp = Sdp::new(text).expect("a description");
    let mut told = vec![Told { device, leg, event: MediaEvent::Description { generation, kind, sdp }, after }];
    for n in 1..=3 {
        after += rng.u64(0..150);
        let line = format!("candidate:{generation}x{tag}x{n} 1 udp 1 10.0.0.{} 9 typ host", device + 1);
        let candidate = CandidateLine::new(line).expect("a candidate");
        let candidates = vec![Candidate { candidate, sdp_mid: None, sdp_m_line_index: 0 }];
        told.push(Told { device, leg, event: MediaEvent::Candidates { generation, candidates, done: n == 3 }, after });
    }
    told
}

fn numbers(text: Option<&str>, between: char) -> Option<(u64, u64, u64)> {
    let mut parts = text?.split(between).map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}
