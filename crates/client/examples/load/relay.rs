//! Calls whose candidates travel.

use crate::bookings::pairs;
use crate::peer::Peer;
use crate::{CAP, next_line, say};
use anyhow::{Context, Result, bail, ensure};
use bellwire_signaling::{
    AttemptId, BookingId, CallId, Candidate, CandidateLine, Command, DescriptionKind, Event, Phase, Presence, Sdp,
    ServerFrame, Side,
};
use serde_json::json;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Commands that wait for their acks, as in an app that does not wait for each.
const WINDOW: u32 = 16;

pub async fn run(address: &str, key: &str, calls: usize, messages: u32) -> Result<()> {
    let pairs = pairs(address, key, calls).await?;
    say("booked")?;
    next_line().await?;
    let (up, mut came_up) = mpsc::channel(2 * calls);
    let (begin, begun) = watch::channel(false);
    let mut sides = JoinSet::new();
    for pair in pairs {
        for (token, calls_first) in [(pair.client, true), (pair.provider, false)] {
            let (address, booking, up, begun) = (address.to_owned(), pair.booking.clone(), up.clone(), begun.clone());
            sides.spawn(async move {
                let peer = Peer::sign_in(&address, &token).await?;
                peer.talk(booking, calls_first, up, begun, messages).await
            });
        }
    }
    for n in 0..2 * calls {
        tokio::select! {
            up = tokio::time::timeout(CAP, came_up.recv()) => { up.with_context(|| format!("only {n} sides came up"))?; }
            Some(ended) = sides.join_next() => { ended??; bail!("a side ended before it began"); }
        }
    }
    say("ready")?;
    next_line().await?;
    let started = Instant::now();
    begin.send(true)?;
    let mut relayed = 0;
    while let Some(side) = sides.join_next().await {
        relayed += side??;
    }
    say(&json!({ "relayed": relayed, "seconds": started.elapsed().as_secs_f64() }).to_string())?;
    next_line().await?;
    Ok(())
}

impl Peer {
    /// Brings a call up, says so, waits for the word, and sends and receives its messages: how many it received.
    async fn talk(
        mut self,
        booking: BookingId,
        calls_first: bool,
        up: mpsc::Sender<()>,
        mut begin: watch::Receiver<bool>,
        messages: u32,
    ) -> Result<u32> {
        let call = self.bring_up(&booking, calls_first).await?;
        up.send(()).await?;
        begin.wait_for(|begun| *begun).await?;
        let (mut sent, mut received, before) = (0, 0, self.acked);
        while received < messages || self.acked - before < messages {
            while sent < messages && sent - (self.acked - before) < WINDOW {
                self.command(candidate(&call, sent)?).await?;
                sent += 1;
            }
            match self.next().await? {
                ServerFrame::Ack { .. } => self.acked += 1,
                ServerFrame::Event { event: Event::Candidates { .. }, .. } => received += 1,
                ServerFrame::Event { event: Event::Call { view }, .. } => {
                    ensure!(!matches!(view.phase, Phase::Ended { .. }), "the call ended under way");
                }
                ServerFrame::Event { .. } => {}
                other => bail!("while messages travelled: {other:?}"),
            }
        }
        Ok(received)
    }

    /// As far as the descriptions: from here on candidates may travel.
    async fn bring_up(&mut self, booking: &BookingId, calls_first: bool) -> Result<CallId> {
        let (mut dialled, mut said_ready, mut offered) = (false, false, false);
        loop {
            let event = match self.next().await? {
                ServerFrame::Event { event, .. } => event,
                ServerFrame::Ack { .. } => {
                    self.acked += 1;
                    continue;
                }
                other => bail!("while the call came up: {other:?}"),
            };
            match event {
                Event::Bookings { bookings } => {
                    let there = bookings.iter().any(|b| b.booking == *booking && b.presence == Presence::Online {});
                    if calls_first && there && !dialled {
                        dialled = true;
                        self.invite(booking).await?;
                    }
                }
                Event::Presence { presence: Presence::Online {}, .. } if calls_first && !dialled => {
                    dialled = true;
                    self.invite(booking).await?;
                }
                Event::Presence { .. } | Event::Candidates { .. } => {}
                Event::Room { .. }
                | Event::RoomOver { .. }
                | Event::DescriptionFrom { .. }
                | Event::CandidatesFrom { .. }
                | Event::Search { .. }
                | Event::Readiness { .. }
                | Event::Health { .. }
                | Event::CheckAnswer { .. }
                | Event::CheckOffered { .. }
                | Event::CheckOver { .. } => bail!("a room in a run of calls"),
                Event::Call { view } => {
                    let (call, callee) = (view.call, view.you == Side::Callee);
                    match view.phase {
                        Phase::Inviting { .. } if callee => self.command(Command::Ringing { call }).await?,
                        Phase::Ringing { .. } if callee => self.command(Command::Accept { call }).await?,
                        Phase::Inviting { .. } | Phase::Ringing { .. } => {}
                        Phase::Connecting { connection } => {
                            let generation = connection.generation;
                            if !said_ready {
                                said_ready = true;
                                self.command(Command::Ready { call: call.clone(), generation }).await?;
                            }
                            if connection.go && connection.offers && !offered {
                                offered = true;
                                self.command(description(call, generation, DescriptionKind::Offer)?).await?;
                            }
                        }
                        Phase::Connected { .. }
                        | Phase::Reconnecting { .. }
                        | Phase::Elsewhere {}
                        | Phase::Ended { .. } => bail!("the call went astray: {:?}", view.phase),
                    }
                }
                Event::Description { call, generation, kind: DescriptionKind::Offer, .. } => {
                    self.command(description(call.clone(), generation, DescriptionKind::Answer)?).await?;
                    return Ok(call);
                }
                Event::Description { call, kind: DescriptionKind::Answer, .. } => return Ok(call),
            }
        }
    }

    async fn invite(&mut self, booking: &BookingId) -> Result<()> {
        self.command(Command::Invite { booking: booking.clone(), attempt: AttemptId::new("load")? }).await
    }
}

fn description(call: CallId, generation: u32, kind: DescriptionKind) -> Result<Command> {
    let fingerprint = vec!["AB"; 32].join(":");
    let sdp = Sdp::new(format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n"
    ))?;
    Ok(Command::Describe { call, generation, kind, sdp })
}

fn candidate(call: &CallId, n: u32) -> Result<Command> {
    let line = format!("candidate:{n} 1 udp 2130706431 192.0.2.7 {} typ host", 40_000 + n);
    let candidate =
        Candidate { candidate: CandidateLine::new(line)?, sdp_mid: Some("0".to_owned()), sdp_m_line_index: 0 };
    Ok(Command::Candidates { call: call.clone(), generation: 1, candidates: vec![candidate], done: false })
}
