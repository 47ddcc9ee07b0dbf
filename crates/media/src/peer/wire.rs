//! What passes over a connection beside its descriptions: packets out, and RTCP both ways.

use super::codecs::{Codecs, Numbers};
use super::reports::{self, SenderTime};
use super::track::Track;
use crate::pipeline::{Abilities, Feedback, Form, Outbound};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use webrtc::dtls_transport::RTCDtlsTransport;
use webrtc::rtcp::packet::Packet;

/// What both directions of a connection know of each other.
pub struct Wire {
    known: Mutex<Known>,
}

struct Known {
    /// By which numbers the far side takes our packets, and what it can do.
    theirs: Codecs,
    /// By which number its redundant packets come.
    red: Option<u8>,
    /// The source that it sends as,
    source: Option<u32>,
    /// and when that sent its report that came last, by its clock and by ours.
    sent: Option<(SenderTime, Instant)>,
}

impl Default for Wire {
    fn default() -> Self {
        Self { known: Mutex::new(Known { theirs: Codecs::PLAIN, red: None, source: None, sent: None }) }
    }
}

impl Wire {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Both descriptions are known: `theirs` is what our packets are sent by, `ours` what theirs come by.
    pub fn agree(&self, theirs: Codecs, ours: Numbers) {
        let mut known = self.known();
        (known.theirs, known.red) = (theirs, ours.red);
    }

    pub fn abilities(&self) -> Abilities {
        self.known().theirs.abilities
    }

    /// A packet of this source came.
    pub fn came(&self, ssrc: u32, payload_type: u8) -> Form {
        let mut known = self.known();
        known.source = Some(ssrc);
        if Some(payload_type) == known.red { Form::Red } else { Form::Opus }
    }

    /// The far side sent a report of its own packets.
    pub fn reported(&self, time: SenderTime) {
        self.known().sent = Some((time, Instant::now()));
    }
}

/// Where our packets go, and what we have to say of those that come.
#[derive(Clone)]
pub struct Outgoing {
    track: Arc<Track>,
    transport: Arc<RTCDtlsTransport>,
    wire: Arc<Wire>,
}

impl Outgoing {
    pub fn new(track: Arc<Track>, transport: Arc<RTCDtlsTransport>, wire: Arc<Wire>) -> Self {
        Self { track, transport, wire }
    }

    /// What the far side can do with our packets.
    pub fn abilities(&self) -> Abilities {
        self.wire.abilities()
    }

    pub async fn send(&self, packet: &Outbound) {
        let numbers = self.wire.known().theirs.numbers;
        if let Err(error) = self.track.send(packet, numbers).await {
            tracing::debug!(%error, "packet not sent");
        }
    }

    /// Asks for these of the far side's packets again.
    pub async fn ask(&self, sequences: &[u16]) {
        let Some((ours, theirs)) = self.sources() else { return };
        self.write(&reports::asking(ours, theirs, sequences)).await;
    }

    /// Tells the far side how its packets come.
    pub async fn tell(&self, feedback: &Feedback) {
        let Some((ours, theirs)) = self.sources() else { return };
        let (sent, extended) = {
            let known = self.wire.known();
            let sent = known.sent.filter(|(time, _)| time.ssrc == theirs);
            (sent.map(|(time, came)| (time, came.elapsed())), known.theirs.abilities.reports)
        };
        self.write(&reports::telling(ours, theirs, feedback, sent, extended)).await;
    }

    fn sources(&self) -> Option<(u32, u32)> {
        Some((self.track.ssrc()?, self.wire.known().source?))
    }

    async fn write(&self, packets: &[Box<dyn Packet + Send + Sync>]) {
        if let Err(error) = self.transport.write_rtcp(packets).await {
            tracing::debug!(%error, "report not sent");
        }
    }
}
