//! Sound engines and the network between them, as far as a call can notice.

use crate::endpoint::{MediaCommand, MediaEvent, Route};
use bellwire_signaling::{Candidate, CandidateLine, DescriptionKind, Sdp};
use std::collections::BTreeMap;

const TICK_MS: u64 = 200;
const STALL_MS: u64 = 2_000;
const FAIL_MS: u64 = 10_000;
const DEAD_MS: u64 = 25_000;

pub(super) struct Sound {
    engines: Vec<Engine>,
    ticked_at: u64,
    made: u64,
    /// Messages may have been lost with a session: candidates may have gaps, until the next generation.
    pub(super) lossy: bool,
    /// From when the two know each other's candidates to frames.
    pub(super) setup_ms: std::ops::Range<u64>,
}

#[derive(Default)]
struct Engine {
    connections: BTreeMap<u32, Connection>,
    /// Nothing gets in.
    closed_in: bool,
    /// Nothing goes directly.
    indirect: bool,
    /// Opened now, a connection fails at once.
    broken: bool,
    asleep: bool,
    /// Counts the addresses it has had. A connection is bound to that of its beginning.
    address: u64,
    /// A relay is granted.
    relay: bool,
    hears_since: Option<u64>,
}

#[derive(Default)]
struct Connection {
    tag: u64,
    address: u64,
    route: Route,
    relay: bool,
    broken: bool,
    /// Goes by a relay, once it goes.
    relayed: Option<bool>,
    offered: bool,
    remote: Option<Remote>,
    remote_at: u64,
    flows_at: Option<u64>,
    flowing: bool,
    silent_since: Option<u64>,
    drop_at: Option<u64>,
}

#[derive(Clone, Copy)]
struct Remote {
    device: usize,
    tag: u64,
    candidates: u64,
}

pub(super) struct SoundOutput {
    pub(super) device: usize,
    pub(super) event: MediaEvent,
    pub(super) after: u64,
}

impl Sound {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            engines: (0..devices).map(|_| Engine::default()).collect(),
            ticked_at: 0,
            made: 0,
            lossy: false,
            setup_ms: 0..300,
        }
    }

    pub(super) fn set_path(&mut self, device: usize, open: bool, _now: u64) {
        self.engines[device].closed_in = !open;
    }

    pub(super) fn set_direct(&mut self, device: usize, open: bool) {
        self.engines[device].indirect = !open;
    }

    pub(super) fn set_broken(&mut self, device: usize, broken: bool) {
        self.engines[device].broken = broken;
    }

    pub(super) fn set_asleep(&mut self, device: usize, asleep: bool) {
        self.engines[device].asleep = asleep;
    }

    pub(super) fn change_address(&mut self, device: usize) {
        self.engines[device].address += 1;
    }

    /// Whether what this device hears goes by a relay.
    pub(super) fn is_relayed(&self, device: usize) -> bool {
        let flowing = self.engines[device].connections.values().rfind(|connection| connection.flowing);
        flowing.is_some_and(|connection| connection.relayed == Some(true))
    }

    pub(super) fn close(&mut self, device: usize, _now: u64) {
        self.engines[device].connections.clear();
        self.engines[device].hears_since = None;
    }

    pub(super) fn hears_since(&self, device: usize) -> Option<u64> {
        self.engines[device].hears_since
    }

    pub(super) fn next_moment(&self) -> Option<u64> {
        self.engines.iter().any(|e| !e.connections.is_empty()).then_some(self.ticked_at + TICK_MS)
    }

    pub(super) fn knows(&self, device: usize, event: &MediaEvent) -> bool {
        let generation = match event {
            MediaEvent::Opened { generation }
            | MediaEvent::Description { generation, .. }
            | MediaEvent::Candidates { generation, .. }
            | MediaEvent::Flowing { generation }
            | MediaEvent::Path { generation, .. }
            | MediaEvent::Stalled { generation } => generation,
            MediaEvent::Failed { .. } => return true,
        };
        self.engines[device].connections.contains_key(generation)
    }

    pub(super) fn told(
        &mut self,
        device: usize,
        command: MediaCommand,
        now: u64,
        rng: &mut fastrand::Rng,
    ) -> Result<Vec<SoundOutput>, String> {
        let mut out = Vec::new();
        let mut say = |event, after| out.push(SoundOutput { device, event, after });
        match command {
            MediaCommand::Warm | MediaCommand::Mute(_) => {}
            MediaCommand::IceServers(servers) => self.engines[device].relay = !servers.is_empty(),
            MediaCommand::Close => self.close(device, now),
            MediaCommand::Open { generation, route } => {
                self.made += 1;
                let Engine { address, relay, broken, .. } = self.engines[device];
                let connection = Connection { tag: self.made, address, route, relay, broken, ..Connection::default() };
                if self.engines[device].connections.insert(generation, connection).is_some() {
                    return Err(format!("generation {generation} was opened twice"));
                }
                if broken {
                    say(MediaEvent::Failed { generation }, rng.u64(1..40));
                }
                say(MediaEvent::Opened { generation }, if rng.u8(0..20) == 0 { 800 } else { rng.u64(1..30) });
            }
            MediaCommand::Offer { generation } => {
                if let Some(connection) = self.engines[device].connections.get_mut(&generation) {
                    connection.offered = true;
                    let tag = connection.tag;
                    describe(DescriptionKind::Offer, device, generation, tag, rng, &mut say);
                }
            }
            MediaCommand::SetRemote { generation, kind, sdp } => {
                let (from, of, tag) = read_tag(sdp.as_str()).ok_or("an SDP without a tag")?;
                if of != u64::from(generation) {
                    return Err(format!("rule 3: a description of generation {of} was used for {generation}"));
                }
                let Some(connection) = self.engines[device].connections.get_mut(&generation) else { return Ok(out) };
                if connection.remote.is_some() {
                    return Err("rule 3: a second description for one generation".into());
                }
                if (kind == DescriptionKind::Offer) == connection.offered {
                    return Err("rule 1: two offers crossed".into());
                }
                connection.remote = Some(Remote { device: from as usize, tag, candidates: 0 });
                connection.remote_at = now;
                let tag = connection.tag;
                if kind == DescriptionKind::Offer {
                    describe(DescriptionKind::Answer, device, generation, tag, rng, &mut say);
                }
            }
            MediaCommand::AddCandidates { generation, candidates } => {
                let lossy = self.lossy;
                let Some(connection) = self.engines[device].connections.get_mut(&generation) else { return Ok(out) };
                let remote = connection.remote.as_mut().ok_or("rule 3: a candidate before the description")?;
                for candidate in candidates {
                    let (of, tag, n) = read_candidate(candidate.candidate.as_str()).ok_or("a foreign candidate")?;
                    if of != u64::from(generation) || tag != remote.tag {
                        return Err("rule 3: a candidate of another connection".into());
                    }
                    let next = remote.candidates + 1;
                    if n < next || (n > next && !lossy) {
                        return Err(format!("rule 3: candidate {n} where {next} was due"));
                    }
                    remote.candidates = n;
                }
            }
        }
        Ok(out)
    }

    pub(super) fn tick(&mut self, now: u64, rng: &mut fastrand::Rng) -> Vec<SoundOutput> {
        let mut out = Vec::new();
        if self.next_moment().is_none_or(|at| now < at) {
            if self.next_moment().is_none() {
                self.ticked_at = now;
            }
            return out;
        }
        self.ticked_at = now;
        let setup_ms = self.setup_ms.clone();
        for device in 0..self.engines.len() {
            if self.engines[device].asleep {
                continue;
            }
            let generations: Vec<u32> = self.engines[device].connections.keys().copied().collect();
            for generation in generations {
                let path = self.path(device, generation);
                let mut say = |event| out.push(SoundOutput { device, event, after: 0 });
                let engine = &mut self.engines[device];
                let Some(connection) = engine.connections.get_mut(&generation) else { continue };
                if let Some(relayed) = path {
                    if connection.relayed.is_none() {
                        connection.relayed = Some(relayed);
                        say(MediaEvent::Path { generation, relayed });
                    }
                    connection.silent_since = None;
                    let at = *connection.flows_at.get_or_insert_with(|| now + rng.u64(setup_ms.clone()));
                    if !connection.flowing && now >= at {
                        connection.flowing = true;
                        say(MediaEvent::Flowing { generation });
                        for (_, older) in engine.connections.range_mut(..generation) {
                            older.drop_at.get_or_insert(now + 1_000);
                        }
                    }
                } else if connection.flowing {
                    let since = *connection.silent_since.get_or_insert(now);
                    if now >= since + STALL_MS {
                        connection.flowing = false;
                        connection.flows_at = None;
                        say(MediaEvent::Stalled { generation });
                    }
                } else if connection.remote.is_some() {
                    let dead = match connection.silent_since {
                        Some(since) => now >= since + DEAD_MS,
                        None => now >= connection.remote_at + FAIL_MS,
                    };
                    if dead {
                        engine.connections.remove(&generation);
                        say(MediaEvent::Failed { generation });
                    }
                }
            }
            let engine = &mut self.engines[device];
            engine.connections.retain(|_, c| c.drop_at.is_none_or(|at| now < at));
            let hears = engine.connections.values().any(|c| c.flowing);
            engine.hears_since = if hears { engine.hears_since.or(Some(now)) } else { None };
        }
        out
    }

    /// Whether frames reach this device on this connection, and if so, whether by a relay.
    fn path(&self, device: usize, generation: u32) -> Option<bool> {
        let here = &self.engines[device];
        let connection = here.connections.get(&generation)?;
        let remote = connection.remote?;
        let far = &self.engines[remote.device];
        let there = far.connections.get(&generation)?;
        let back = there.remote?;
        let paired = there.tag == remote.tag && back.device == device && back.tag == connection.tag;
        let awake = !here.closed_in && !far.asleep && !connection.broken && !there.broken;
        let bound = connection.address == here.address && there.address == far.address;
        if !paired || !awake || !bound || remote.candidates + back.candidates == 0 {
            return None;
        }
        let both = [connection, there];
        let direct = !here.indirect && !far.indirect && both.iter().all(|c| c.route == Route::Any);
        let relay = both.iter().any(|c| c.relay) && both.iter().all(|c| c.relay || c.route == Route::Any);
        match connection.relayed.or(there.relayed) {
            Some(true) => relay.then_some(true),
            Some(false) => direct.then_some(false),
            None if direct => Some(false),
            None => relay.then_some(true),
        }
    }
}

fn describe(
    kind: DescriptionKind,
    device: usize,
    generation: u32,
    tag: u64,
    rng: &mut fastrand::Rng,
    say: &mut impl FnMut(MediaEvent, u64),
) {
    let text = format!("v=0\r\no={device} {generation} {tag}\r\nm=audio 9\r\na=fingerprint:sha-256 00\r\n");
    let mut after = rng.u64(1..20);
    if let Ok(sdp) = Sdp::new(text) {
        say(MediaEvent::Description { generation, kind, sdp }, after);
    }
    for n in 1..=3 {
        after += rng.u64(0..150);
        let line = format!("candidate:{generation}x{tag}x{n} 1 udp 1 10.0.0.{} 9 typ host", device + 1);
        if let Ok(candidate) = CandidateLine::new(line) {
            let candidates = vec![Candidate { candidate, sdp_mid: None, sdp_m_line_index: 0 }];
            say(MediaEvent::Candidates { generation, candidates, done: n == 3 }, after);
        }
    }
}

fn read_tag(sdp: &str) -> Option<(u64, u64, u64)> {
    numbers(sdp.lines().nth(1)?.strip_prefix("o=")?, ' ')
}

fn read_candidate(line: &str) -> Option<(u64, u64, u64)> {
    numbers(line.strip_prefix("candidate:")?.split(' ').next()?, 'x')
}

fn numbers(text: &str, between: char) -> Option<(u64, u64, u64)> {
    let mut parts = text.split(between).map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}
