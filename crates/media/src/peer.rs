//! The peer connection: the only module that knows the WebRTC library.
//!
//! A [`Peer`] is a task that holds one connection of one generation and carries out one order after the other, so that
//! descriptions and candidates never overtake each other. It says what happens as [`PeerEvent`]s; sound goes straight to
//! the sound thread. A generation's connection is made anew when two offers cross and we yield, and when the far side
//! offers again from a new peer connection of its own.
//!
//! Reports of the library's own statistics are not used: round trip, loss and jitter come from RTCP itself.

mod codecs;
mod description;
mod nudge;
mod reports;
mod setup;
mod text;
mod track;
mod tunnel;
mod wire;

pub use setup::Identity;
pub use wire::Outgoing;

use crate::audio::{Audio, ConnectionId};
use crate::pipeline::Feedback;
use crate::{Candidate, CandidateKind, DescriptionKind, IceServer, PathInfo, Route};
use codecs::Codecs;
use description::Remote;
use nudge::Nudge;
use setup::{Local, Made};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use webrtc::data_channel::RTCDataChannel;
use webrtc::ice_transport::ice_candidate::RTCIceCandidateInit;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
use webrtc::peer_connection::signaling_state::RTCSignalingState;

/// What connections are made with.
#[derive(Clone)]
pub struct PeerSettings {
    pub ice_servers: Vec<IceServer>,
    pub bind: Option<IpAddr>,
    pub route: Route,
    pub identity: Identity,
    /// Opus and nothing else, for a far side that sends packets back as they come.
    pub plain: bool,
}

impl PeerSettings {
    fn codecs(&self) -> Codecs {
        if self.plain { Codecs::PLAIN } else { Codecs::OURS }
    }
}

pub enum PeerOrder {
    Offer,
    Remote {
        kind: DescriptionKind,
        sdp: String,
    },
    Candidates(Vec<Candidate>),
    /// Sent if the data channel is open, else lost.
    Text(String),
    Close,
}

pub struct PeerNote {
    pub id: ConnectionId,
    pub event: PeerEvent,
}

pub enum PeerEvent {
    Opened,
    Description {
        kind: DescriptionKind,
        sdp: String,
    },
    Candidates {
        candidates: Vec<Candidate>,
        done: bool,
    },
    /// Both descriptions are set.
    Described,
    /// Encrypted packets can pass. Said again when the far side can do more or less than before.
    Connected(Outgoing),
    /// Text can be sent.
    TextOpen,
    Text(String),
    /// What the far side says about our packets.
    Reported(Feedback),
    /// The way in use.
    Path(PathInfo),
    Failed(String),
}

/// Orders that wait for a connection; a caller that has so many outstanding loses the newest and hears of it.
const ORDERS: usize = 256;
/// What the library's callbacks have to say; they wait when it is full.
const LOCAL: usize = 64;
/// Candidates of the far side that wait for its description; more are dropped.
const PENDING_CANDIDATES: usize = 128;
/// Sessions that are remembered as left, so that an offer of one that comes late is known for what it is.
const MOST_LEFT: usize = 8;
const BATCH: Duration = Duration::from_millis(20);
/// A connection that does not close in this time is left to itself.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle to the task, which closes the connection and ends when this is dropped.
pub struct Peer {
    orders: mpsc::Sender<PeerOrder>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    pub fn start(id: ConnectionId, settings: PeerSettings, audio: Audio, notes: mpsc::Sender<PeerNote>) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let task = tokio::spawn(async move {
            let watched = notes.clone();
            let work = tokio::spawn(Connection::run(id, settings, audio, notes, inbox));
            if work.await.is_err() {
                let event = PeerEvent::Failed("the connection broke on what it was given".into());
                let _ = watched.send(PeerNote { id, event }).await;
            }
        });
        Self { orders, task }
    }

    /// Whether the order will be carried out.
    pub fn order(&self, order: PeerOrder) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// Closes, and waits until that is done.
    pub async fn close(self) {
        let _ = self.orders.send(PeerOrder::Close).await;
        drop(self.orders);
        let _ = self.task.await;
    }
}

struct Connection {
    id: ConnectionId,
    settings: PeerSettings,
    audio: Audio,
    notes: mpsc::Sender<PeerNote>,
    local: mpsc::Sender<Local>,
    made: Made,
    /// The far side's description, once it is set: as it came, and what it says.
    remote: Option<(DescriptionKind, String, Remote)>,
    /// An offer that begins ICE again, until our candidates are gathered: the library does not restart before.
    held: Option<String>,
    /// Whether packets can pass.
    connected: bool,
    /// Whether we wait for the handshake.
    passive: bool,
    /// Whether we lead ICE: we offered at first.
    controlling: bool,
    /// Sessions of the far side that it has left for a new one.
    left: VecDeque<String>,
    text: Option<Arc<RTCDataChannel>>,
    pending: VecDeque<Candidate>,
    ours: Vec<Candidate>,
    ours_done: bool,
    /// Whether there is any.
    reachable: bool,
    batch: Option<Instant>,
    nudge: Option<Nudge>,
    nudged: bool,
}

impl Connection {
    async fn run(
        id: ConnectionId,
        settings: PeerSettings,
        audio: Audio,
        notes: mpsc::Sender<PeerNote>,
        mut orders: mpsc::Receiver<PeerOrder>,
    ) {
        let (local, mut happened) = mpsc::channel(LOCAL);
        let made = match setup::make(&settings, id, 0, &audio, &local).await {
            Ok(made) => made,
            Err(error) => {
                let event = PeerEvent::Failed(format!("no connection can be made: {error}"));
                let _ = notes.send(PeerNote { id, event }).await;
                return;
            }
        };
        let mut connection = Self {
            id,
            settings,
            audio,
            notes,
            local,
            made,
            remote: None,
            held: None,
            connected: false,
            passive: false,
            controlling: false,
            left: VecDeque::new(),
            text: None,
            pending: VecDeque::new(),
            ours: Vec::new(),
            ours_done: false,
            reachable: false,
            batch: None,
            nudge: None,
            nudged: false,
        };
        connection.say(PeerEvent::Opened).await;
        loop {
            let batch = connection.batch;
            let nudge = connection.nudge.as_ref().map(|nudge| nudge.at);
            let result = tokio::select! {
                order = orders.recv() => match order {
                    Some(PeerOrder::Offer) => connection.offer().await,
                    Some(PeerOrder::Remote { kind, sdp }) => connection.set_remote(kind, sdp).await,
                    Some(PeerOrder::Candidates(candidates)) => {
                        connection.add_candidates(candidates).await;
                        Ok(())
                    }
                    Some(PeerOrder::Text(text)) => {
                        text::send(connection.text.as_ref(), text).await;
                        Ok(())
                    }
                    Some(PeerOrder::Close) | None => break,
                },
                Some(local) = happened.recv() => connection.happened(local).await,
                () = tokio::time::sleep_until(batch.unwrap_or_else(Instant::now)), if batch.is_some() => {
                    connection.send_candidates().await;
                    Ok(())
                }
                () = tokio::time::sleep_until(nudge.unwrap_or_else(Instant::now)), if nudge.is_some() => {
                    connection.nudge().await;
                    Ok(())
                }
            };
            if let Err(why) = result {
                connection.say(PeerEvent::Failed(why)).await;
            }
        }
        happened.close();
        connection.made.close().await;
    }

    async fn offer(&mut self) -> Result<(), String> {
        if self.made.connection.signaling_state() != RTCSignalingState::Stable || self.remote.is_some() {
            tracing::debug!(id = ?self.id, "offer asked for again");
            return Ok(());
        }
        self.made.add_sound(DescriptionKind::Offer, self.id, &self.audio, &self.local).await.map_err(refused)?;
        self.made.offer_text(&self.local).await.map_err(refused)?;
        let offer = self.made.connection.create_offer(None).await.map_err(refused)?;
        let sdp = description::with_codecs(&description::without_bases(&offer.sdp), &self.settings.codecs());
        self.made.connection.set_local_description(offer).await.map_err(refused)?;
        self.say(PeerEvent::Description { kind: DescriptionKind::Offer, sdp }).await;
        Ok(())
    }

    async fn set_remote(&mut self, kind: DescriptionKind, sdp: String) -> Result<(), String> {
        let known = self.remote.as_ref().map(|(_, _, remote)| remote.audio());
        let remote = match (&self.remote, Remote::read(&sdp, kind, known, self.settings.codecs())) {
            (None, read) => read?,
            (Some((known, text, _)), _) if (*known, text) == (kind, &sdp) => return Ok(()),
            (Some((_, _, before)), Ok(remote)) if self.is_news(kind, before, &remote) => {
                if remote.session != before.session {
                    self.left.truncate(MOST_LEFT - 1);
                    self.left.push_front(before.session.clone());
                    self.begin_anew().await.map_err(refused)?;
                } else if remote.ice != before.ice && self.controlling {
                    // A browser that begins ICE again takes the lead in it, and the library gives none away. Another
                    // certificate tells the far side to shake hands again.
                    self.settings.identity = Identity::default();
                    self.begin_anew().await.map_err(refused)?;
                } else if remote.ice != before.ice {
                    if !self.ours_done {
                        tracing::debug!(id = ?self.id, "ICE begins again when our candidates are gathered");
                        self.held = Some(sdp);
                        return Ok(());
                    }
                    self.ours_done = false;
                }
                remote
            }
            // What is refused later than the first changes nothing of what stands.
            (Some(_), read) => {
                tracing::debug!(id = ?self.id, why = read.err(), "further description of the far side ignored");
                return Ok(());
            }
        };
        match kind {
            DescriptionKind::Answer => self.take_answer(sdp, remote).await?,
            DescriptionKind::Offer => self.take_offer(sdp, remote).await?,
        }
        Ok(())
    }

    /// Whether a further description is to be applied: an offer, newer than the one before if it is of the same session,
    /// and not of a session that was left.
    fn is_news(&self, kind: DescriptionKind, before: &Remote, remote: &Remote) -> bool {
        let newer = if remote.session == before.session {
            remote.version >= before.version
        } else {
            !self.left.contains(&remote.session)
        };
        kind == DescriptionKind::Offer && newer
    }

    async fn take_answer(&mut self, sdp: String, remote: Remote) -> Result<(), String> {
        if self.made.connection.signaling_state() != RTCSignalingState::HaveLocalOffer {
            tracing::debug!(id = ?self.id, "answer without an offer ignored");
            return Ok(());
        }
        let answer = RTCSessionDescription::answer(remote.sdp.clone()).map_err(refused)?;
        self.made.connection.set_remote_description(answer).await.map_err(refused)?;
        self.passive = !description::is_passive(&sdp);
        self.controlling = true;
        self.described(DescriptionKind::Answer, sdp, remote).await;
        Ok(())
    }

    async fn take_offer(&mut self, sdp: String, remote: Remote) -> Result<(), String> {
        let offer = RTCSessionDescription::offer(remote.sdp.clone()).map_err(refused)?;
        if self.made.connection.signaling_state() == RTCSignalingState::HaveLocalOffer {
            tracing::debug!(id = ?self.id, "offers crossed, yielding");
            self.begin_anew().await.map_err(refused)?;
        }
        self.made.add_sound(DescriptionKind::Answer, self.id, &self.audio, &self.local).await.map_err(refused)?;
        self.made.connection.set_remote_description(offer).await.map_err(refused)?;
        let ours = self.made.connection.create_answer(None).await.map_err(refused)?;
        let mut answer = remote
            .answer(&description::with_codecs(&description::without_bases(&ours.sdp), &remote.codecs))
            .ok_or("the description was refused: a section has no answer")?;
        if self.passive {
            answer = description::as_passive(&answer);
        }
        self.made.connection.set_local_description(ours).await.map_err(refused)?;
        self.say(PeerEvent::Description { kind: DescriptionKind::Answer, sdp: answer }).await;
        self.described(DescriptionKind::Offer, sdp, remote).await;
        Ok(())
    }

    async fn described(&mut self, kind: DescriptionKind, sdp: String, remote: Remote) {
        let before = self.made.wire.abilities();
        self.made.wire.agree(remote.codecs, remote.ours);
        if self.connected && self.made.wire.abilities() != before {
            self.say_connected().await;
        }
        self.remote = Some((kind, sdp, remote));
        self.say(PeerEvent::Described).await;
        let waiting: Vec<Candidate> = self.pending.drain(..).collect();
        self.add_candidates(waiting).await;
    }

    /// Makes a fresh connection in place of ours: two offers crossed, or the far side did the same.
    async fn begin_anew(&mut self) -> Result<(), webrtc::Error> {
        tracing::debug!(id = ?self.id, "connection begins anew");
        let attempt = self.made.attempt + 1;
        let fresh = setup::make(&self.settings, self.id, attempt, &self.audio, &self.local).await?;
        std::mem::replace(&mut self.made, fresh).close().await;
        self.ours.clear();
        self.ours_done = false;
        self.reachable = false;
        self.batch = None;
        self.nudge = None;
        self.nudged = false;
        self.connected = false;
        self.passive = false;
        self.controlling = false;
        self.remote = None;
        self.held = None;
        self.text = None;
        Ok(())
    }

    async fn add_candidates(&mut self, candidates: Vec<Candidate>) {
        for candidate in candidates {
            let Some((kind, _, remote)) = self.remote.as_ref().filter(|_| self.held.is_none()) else {
                if self.pending.len() < PENDING_CANDIDATES {
                    self.pending.push_back(candidate);
                }
                continue;
            };
            if !remote.leads(&candidate) {
                tracing::debug!(id = ?self.id, "candidate of a section that is not used left out");
                continue;
            }
            if *kind == DescriptionKind::Answer {
                if !std::mem::replace(&mut self.nudged, true) {
                    self.nudge = Some(Nudge::begin());
                }
                if let Some(nudge) = &mut self.nudge {
                    nudge.add(&candidate.candidate);
                }
            }
            let init = RTCIceCandidateInit {
                candidate: candidate.candidate,
                sdp_mid: candidate.mid,
                sdp_mline_index: Some(candidate.index),
                username_fragment: None,
            };
            if let Err(error) = self.made.connection.add_ice_candidate(init).await {
                // One that cannot be used, a name of mDNS say; the others may do.
                tracing::debug!(%error, id = ?self.id, "candidate not taken");
            }
        }
    }

    async fn nudge(&mut self) {
        let Some(nudge) = self.nudge.take() else { return };
        for candidate in nudge.candidates() {
            let init = RTCIceCandidateInit { candidate, sdp_mline_index: Some(0), ..Default::default() };
            if let Err(error) = self.made.connection.add_ice_candidate(init).await {
                tracing::debug!(%error, id = ?self.id, "nudge not taken");
            }
        }
        self.nudge = nudge.next();
    }

    async fn happened(&mut self, local: Local) -> Result<(), String> {
        match local {
            Local::Candidate { attempt, .. }
            | Local::Connected { attempt }
            | Local::Failed { attempt, .. }
            | Local::RelayLost { attempt }
            | Local::TextOpen { attempt, .. }
            | Local::Text { attempt, .. }
                if attempt != self.made.attempt => {}
            Local::Candidate { candidate, .. } => {
                match candidate {
                    Some(candidate) => {
                        self.ours.push(candidate);
                        self.reachable = true;
                    }
                    None => self.ours_done = true,
                }
                if self.ours_done && !self.reachable && self.settings.route == Route::RelayOnly {
                    // Without one of ours the far side's are of no use, and whoever opened this can try something else.
                    return Err("there is no relay, or none that lets us in".into());
                }
                self.batch.get_or_insert_with(|| Instant::now() + BATCH);
                if self.ours_done {
                    self.send_candidates().await;
                    if let Some(sdp) = self.held.take() {
                        self.set_remote(DescriptionKind::Offer, sdp).await?;
                    }
                }
            }
            Local::Connected { .. } => {
                self.nudge = None;
                self.connected = true;
                self.say_connected().await;
                if let Some(path) = self.made.path().await {
                    self.say(PeerEvent::Path(path)).await;
                }
            }
            Local::TextOpen { channel, .. } => {
                // A far side that opens another means that one.
                self.text = Some(channel);
                self.say(PeerEvent::TextOpen).await;
            }
            Local::Text { text, .. } => self.say(PeerEvent::Text(text)).await,
            Local::Failed { why, .. } => self.say(PeerEvent::Failed(why)).await,
            Local::RelayLost { .. } => {
                // A path that goes another way needs no relay.
                let relayed = self.made.path().await.map(|path| path.local == CandidateKind::Relay);
                if relayed.unwrap_or(self.settings.route == Route::RelayOnly) {
                    self.say(PeerEvent::Failed("the connection to the relay was lost".into())).await;
                }
            }
            Local::Reported(report) => {
                self.say(PeerEvent::Reported(report)).await;
                // Once a second is often enough to learn of another pair.
                if let Some(path) = self.made.path().await {
                    self.say(PeerEvent::Path(path)).await;
                }
            }
        }
        Ok(())
    }

    async fn say_connected(&self) {
        if let Some(outgoing) = self.made.outgoing() {
            self.say(PeerEvent::Connected(outgoing)).await;
        }
    }

    async fn send_candidates(&mut self) {
        self.batch = None;
        let mut candidates = std::mem::take(&mut self.ours);
        if let Some((_, _, remote)) = &self.remote {
            candidates.iter_mut().for_each(|candidate| candidate.index = remote.carrier());
        }
        self.say(PeerEvent::Candidates { candidates, done: self.ours_done }).await;
    }

    async fn say(&self, event: PeerEvent) {
        let _ = self.notes.send(PeerNote { id: self.id, event }).await;
    }
}

fn refused(error: webrtc::Error) -> String {
    format!("the description was refused: {error}")
}
