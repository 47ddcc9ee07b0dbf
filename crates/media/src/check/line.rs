//! One connection whose descriptions hold all their candidates, for a check and for whom it is made with.
//!
//! A [`Line`] is a [`Peer`] without a sound thread: packets come to whoever reads [`Line::next`].

use crate::audio::{Audio, ConnectionId, Packet};
use crate::peer::{Identity, Outgoing, Peer, PeerEvent, PeerNote, PeerOrder, PeerSettings};
use crate::pipeline::{Arrival, Outbound};
use crate::{Candidate, DescriptionKind, IceServer, Leg, Route};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Notes of one connection; it waits when so many are unread.
const NOTES: usize = 64;
/// A STUN server that does not answer holds gathering up for 5 s: candidates that are not there by then are left out,
const GATHER: Duration = Duration::from_millis(2_000);
/// unless there are none at all.
const GATHER_ANY: Duration = Duration::from_secs(7);

pub struct Line {
    peer: Peer,
    notes: mpsc::Receiver<PeerNote>,
    packets: mpsc::Receiver<Packet>,
    /// When the times of arrival began to count.
    pub epoch: std::time::Instant,
    opened: Instant,
    description: Option<(DescriptionKind, String)>,
    candidates: Vec<String>,
    gathered: bool,
    outgoing: Option<Outgoing>,
    /// Of the last packet sent.
    sequence: u16,
}

pub enum LineEvent {
    /// Ours, whole.
    Described(String),
    Connected,
    Packet(Arrival),
    Failed(String),
}

impl Line {
    pub fn open(servers: Vec<IceServer>, bind: Option<IpAddr>, route: Route) -> Self {
        let (notes, inbox) = mpsc::channel(NOTES);
        let (audio, packets, epoch) = Audio::tap();
        let settings = PeerSettings { ice_servers: servers, bind, route, identity: Identity::default(), plain: true };
        let id = ConnectionId { leg: Leg::CALL, generation: 1, serial: 1 };
        Self {
            peer: Peer::start(id, settings, audio, notes),
            notes: inbox,
            packets,
            epoch,
            opened: Instant::now(),
            description: None,
            candidates: Vec::new(),
            gathered: false,
            outgoing: None,
            sequence: rand::random(),
        }
    }

    pub fn offer(&self) {
        self.peer.order(PeerOrder::Offer);
    }

    /// Takes the far side's whole description.
    pub fn set_remote(&self, kind: DescriptionKind, sdp: &str) {
        let (sdp, candidates) = apart(sdp);
        self.peer.order(PeerOrder::Remote { kind, sdp });
        self.peer.order(PeerOrder::Candidates(candidates));
    }

    /// Safe to cancel.
    pub async fn next(&mut self) -> LineEvent {
        loop {
            let due = self.describes_at();
            tokio::select! {
                Some(note) = self.notes.recv() => if let Some(event) = self.take(note.event) {
                    return event;
                },
                Some(packet) = self.packets.recv() => return LineEvent::Packet(packet.arrival),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some(event) = self.whole() {
                        return event;
                    }
                }
                else => return LineEvent::Failed("the connection has ended".into()),
            }
        }
    }

    /// Sends if connected. Packets are numbered here, whoever made them: a number that was used before would be taken for a
    /// replay (RFC 3711, section 3.3.2).
    pub async fn send(&mut self, packet: &Outbound) {
        if let Some(outgoing) = &self.outgoing {
            self.sequence = self.sequence.wrapping_add(1);
            outgoing.send(&Outbound { sequence: self.sequence, ..packet.clone() }).await;
        }
    }

    pub async fn close(self) {
        self.peer.close().await;
    }

    fn take(&mut self, event: PeerEvent) -> Option<LineEvent> {
        match event {
            PeerEvent::Description { kind, sdp } => {
                self.description = Some((kind, sdp));
                self.whole()
            }
            PeerEvent::Candidates { candidates, done } => {
                self.candidates.extend(candidates.into_iter().map(|candidate| candidate.candidate));
                self.gathered |= done;
                self.whole()
            }
            PeerEvent::Connected(outgoing) => {
                self.outgoing = Some(outgoing);
                Some(LineEvent::Connected)
            }
            PeerEvent::Failed(why) => Some(LineEvent::Failed(why)),
            PeerEvent::Opened
            | PeerEvent::Described
            | PeerEvent::TextOpen
            | PeerEvent::Text(_)
            | PeerEvent::Reported(_)
            | PeerEvent::Path(_) => None,
        }
    }

    /// When the description goes out though not all candidates are there.
    fn describes_at(&self) -> Option<Instant> {
        let wait = if self.candidates.is_empty() { GATHER_ANY } else { GATHER };
        self.description.is_some().then(|| self.opened + wait)
    }

    fn whole(&mut self) -> Option<LineEvent> {
        let due = self.gathered || self.describes_at().is_some_and(|at| Instant::now() >= at);
        let (_, sdp) = self.description.take_if(|_| due)?;
        if self.candidates.is_empty() {
            return Some(LineEvent::Failed("no candidates were found".into()));
        }
        Some(LineEvent::Described(together(&sdp, &self.candidates)))
    }
}

/// Puts candidates into the first section, which carries all others.
fn together(sdp: &str, candidates: &[String]) -> String {
    let first = sdp.find("\r\nm=").map_or(sdp.len(), |at| at + 2);
    let end = sdp[first..].find("\r\nm=").map_or(sdp.len(), |at| first + at + 2);
    let lines: String = candidates
        .iter()
        .map(|line| line.strip_prefix("a=").unwrap_or(line))
        .map(|line| format!("a={line}\r\n"))
        .chain(["a=end-of-candidates\r\n".to_owned()])
        .collect();
    format!("{}{lines}{}", &sdp[..end], &sdp[end..])
}

fn apart(sdp: &str) -> (String, Vec<Candidate>) {
    let (mut rest, mut candidates) = (String::with_capacity(sdp.len()), Vec::new());
    for line in sdp.split_inclusive('\n') {
        match line.trim_end().strip_prefix("a=candidate:") {
            Some(candidate) => {
                candidates.push(Candidate { candidate: format!("candidate:{candidate}"), mid: None, index: 0 });
            }
            None if line.trim_end() == "a=end-of-candidates" => {}
            None => rest.push_str(line),
        }
    }
    (rest, candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_go_into_the_first_section_and_come_out_again() {
        let sdp = "v=0\r\nm=audio 9 X\r\na=mid:0\r\nm=application 9 Y\r\na=mid:1\r\n";
        let candidates = ["candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned()];
        let whole = together(sdp, &candidates);
        let expected = "v=0\r\nm=audio 9 X\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n\
                        a=end-of-candidates\r\nm=application 9 Y\r\na=mid:1\r\n";
        assert_eq!(whole, expected);
        let (rest, found) = apart(&whole);
        assert_eq!(rest, sdp);
        let found: Vec<_> = found.into_iter().map(|candidate| candidate.candidate).collect();
        assert_eq!(found, candidates);
    }
}
