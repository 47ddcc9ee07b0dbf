//! The random chat gateway: namespace `/random-chat`, for signed-in people alone.
//!
//! Signals go to the partner of the match and are acknowledged; candidates are gathered, five or 50 ms of them at a time.
//! Heartbeats make a figure of each connection's quality, told when it changes.

use super::json::Object;
use super::match_relay::{complaint_of, parted_word};
use super::{departure, first, identify, is_for_all, is_same_person, refuse_binary, refused};
use crate::app::App;
use crate::auth::Identity;
use crate::clock;
use crate::lobby::{Body, Card, Person, QueueNews, Signal, Standing, System, Voice, What};
use crate::sio::{ConnectRefusal, Gone, Hello, Incoming, Namespace, Socket};
use bellwire_call::matching::{PartedWhy, QueueRefusal};
use bellwire_call::rooms::{Habit, LinkId, RoomEffect, RoomRefusal, Rooms};
use bellwire_signaling::{Complaint, DescriptionKind, ErrorCode, UnixMs};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

pub(super) const NAMESPACE: &str = "/random-chat";
/// Candidates of one batch, and how long the first of them waits for others.
const BATCH: usize = 5;
const BATCH_DELAY: Duration = Duration::from_millis(50);
/// Apps send a heartbeat each 10 s; one that did, and has not for 90 s, is gone.
const HEARTBEAT_MS: u64 = 10_000;
const STALE_MS: u64 = 90_000;
const STALE_LOOK: Duration = Duration::from_secs(30);

pub(super) struct RandomChat {
    app: Arc<App>,
}

struct ChatSocket {
    identity: Identity,
    link: LinkId,
    figures: Mutex<Figures>,
    voice: Arc<ChatVoice>,
}

/// What is counted of one connection.
struct Figures {
    connected_at: UnixMs,
    last_heartbeat: Option<UnixMs>,
    heartbeats: u64,
    messages: u64,
    quality: Quality,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Quality {
    Excellent,
    Good,
    Poor,
}

impl Figures {
    fn new(now: UnixMs) -> Self {
        Self { connected_at: now, last_heartbeat: None, heartbeats: 0, messages: 0, quality: Quality::Excellent }
    }

    /// Counts a heartbeat. The rule is the old gateway's: how many of the heartbeats that were due came, and whether the
    /// connection is used.
    fn heartbeat(&mut self, now: UnixMs) -> Quality {
        self.last_heartbeat = Some(now);
        self.heartbeats += 1;
        let due = now.since(self.connected_at) / HEARTBEAT_MS;
        let share = if due == 0 { 1.0 } else { self.heartbeats as f64 / due as f64 };
        if share >= 0.9 && self.messages > 0 {
            Quality::Excellent
        } else if share >= 0.6 || self.messages as f64 > due as f64 * 0.3 {
            Quality::Good
        } else {
            Quality::Poor
        }
    }

    fn is_stale(&self, now: UnixMs) -> bool {
        self.last_heartbeat.is_some_and(|at| now.since(at) > STALE_MS)
    }
}

#[derive(Deserialize)]
struct SignalIn<'a> {
    #[serde(borrow, default)]
    offer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidate: Option<&'a RawValue>,
}

impl RandomChat {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    fn find(&self, socket: &Socket, state: &ChatSocket) {
        match self.app.lobby.search(state.link) {
            Ok(()) => {}
            Err(refusal) => say_refusal(socket, refusal),
        }
    }

    fn relay(&self, socket: &Socket, state: &ChatSocket, what: What, message: &RawValue) {
        let Ok(sent) = serde_json::from_str::<SignalIn<'_>>(message.get()) else {
            return say_error(socket, "Invalid message");
        };
        let (value, ack) = match what {
            What::Offer => (sent.offer, Some("signal-offer-ack")),
            What::Answer => (sent.answer, Some("signal-answer-ack")),
            What::Candidate => (sent.candidate, None),
        };
        let Some(value) = value else { return say_error(socket, "Invalid message") };
        match self.app.lobby.signal_partner(state.link, Body::Raw { what, value, message, beside: &[] }) {
            Ok(_) => {
                state.figures().messages += 1;
                if let Some(ack) = ack {
                    socket.emit_raw(&format!("[\"{ack}\"]"));
                }
            }
            Err(RoomRefusal::RateLimited) => say_error(socket, "Too many candidates"),
            Err(_) => say_error(socket, "Not in a match"),
        }
    }

    fn heartbeat(&self, socket: &Socket, state: &ChatSocket) {
        let now = clock::now();
        let quality = state.figures().heartbeat(now);
        socket.emit("heartbeat-ack", &json!({ "quality": quality, "timestamp": now }));
        note_quality(socket, state, quality);
    }

    fn report_quality(&self, socket: &Socket, state: &ChatSocket, message: &RawValue) {
        #[derive(Deserialize)]
        struct Sent {
            quality: Quality,
        }
        let Ok(Sent { quality }) = serde_json::from_str(message.get()) else {
            return say_error(socket, "Invalid message");
        };
        note_quality(socket, state, quality);
        if quality == Quality::Poor {
            self.app.lobby.tell_partner_of_poor_quality(state.link);
        }
    }

    fn with_partner(&self, socket: &Socket, state: &ChatSocket, complaint: Option<Complaint>) {
        let done = match (self.app.lobby.standing(state.link), complaint) {
            (Standing::Matched { partner, .. }, None) => self.app.lobby.block(state.link, &partner),
            (Standing::Matched { partner, .. }, Some(complaint)) => {
                self.app.lobby.report(state.link, &partner, complaint)
            }
            (Standing::Idle | Standing::Waiting, _) => Err(RoomRefusal::NotFound),
        };
        if done.is_err() {
            say_error(socket, "Not in a match");
        }
    }
}

impl ChatSocket {
    fn figures(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note_quality(socket: &Socket, state: &ChatSocket, quality: Quality) {
    let was = std::mem::replace(&mut state.figures().quality, quality);
    if was != quality {
        socket.emit("connection-quality", &json!({ "quality": quality }));
    }
}

fn say_error(socket: &Socket, message: &str) {
    metrics::counter!("bellwire_signaling_errors_total", "gateway" => "random_chat", "code" => "refused").increment(1);
    socket.emit("error", &json!({ "message": message }));
}

fn say_refusal(socket: &Socket, refusal: QueueRefusal) {
    match refusal {
        QueueRefusal::RateLimited { retry_after_ms } => {
            let said = json!({ "message": "Please wait before searching again", "retryAfter": retry_after_ms });
            socket.emit("rate-limited", &said);
        }
        QueueRefusal::AlreadyMatched => say_error(socket, "Already in a match"),
        QueueRefusal::AlreadySearching => say_error(socket, "Already in queue"),
        QueueRefusal::NotMatched => say_error(socket, "Not in a match"),
    }
}

impl Namespace for RandomChat {
    fn connect(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> Result<(), ConnectRefusal> {
        let identity = identify(&self.app, hello.auth, hello.headers)?;
        let identity = identity.filter(is_for_all).ok_or_else(|| refused(ErrorCode::Unauthenticated))?;
        let voice = Arc::new(ChatVoice { socket: Arc::downgrade(socket), batch: Mutex::default() });
        let person = Person {
            user: identity.user.clone(),
            handle: socket.handle().clone(),
            card: Card { name: identity.name.clone(), ..Card::default() },
            habit: Habit::NewcomerOffers,
            guest: false,
        };
        let link = self.app.lobby.connect(voice.clone(), person);
        self.app.watch.add(socket, identity.expires_at);
        let figures = Mutex::new(Figures::new(clock::now()));
        socket.set_state(ChatSocket { identity, link, figures, voice });
        socket.emit("connection-quality", &json!({ "quality": Quality::Excellent }));
        tokio::spawn(watch_heartbeats(Arc::downgrade(socket)));
        Ok(())
    }

    fn may_recover(&self, socket: &Arc<Socket>, hello: &Hello<'_>) -> bool {
        let known = socket.state::<ChatSocket>().map(|state| &state.identity);
        known.is_some() && is_same_person(&self.app, known, hello)
    }

    fn event(&self, socket: &Arc<Socket>, event: Incoming<'_>) {
        if refuse_binary(socket, &event) {
            return;
        }
        let Some(state) = socket.state::<ChatSocket>() else { return };
        let message = first(&event);
        match event.name {
            "find-partner" => self.find(socket, state),
            "skip-partner" => {
                if let Err(refusal) = self.app.lobby.skip(state.link) {
                    say_refusal(socket, refusal);
                }
            }
            "leave-pool" => {
                self.app.lobby.stop_searching(state.link);
                socket.emit("left-pool", &json!({ "timestamp": clock::now() }));
            }
            "signal-offer" => self.relay(socket, state, What::Offer, message),
            "signal-answer" => self.relay(socket, state, What::Answer, message),
            "signal-ice-candidate" => self.relay(socket, state, What::Candidate, message),
            "heartbeat" => self.heartbeat(socket, state),
            "report-quality" => self.report_quality(socket, state, message),
            "block-partner" => self.with_partner(socket, state, None),
            "report-partner" => self.with_partner(socket, state, Some(complaint_of(message))),
            _ => say_error(socket, "Unknown event"),
        }
        if let Some(ack) = event.ack {
            socket.ack(ack, &json!({ "ok": true }));
        }
    }

    fn away(&self, socket: &Arc<Socket>) {
        if let Some(state) = socket.state::<ChatSocket>() {
            self.app.lobby.away(state.link);
        }
    }

    fn back(&self, socket: &Arc<Socket>) {
        if let Some(state) = socket.state::<ChatSocket>() {
            self.app.lobby.back(state.link);
        }
    }

    fn gone(&self, socket: &Arc<Socket>, why: Gone) {
        if let Some(state) = socket.state::<ChatSocket>() {
            state.voice.clear();
            self.app.lobby.disconnect(state.link, departure(why));
        }
    }
}

/// Closes a socket whose app has stopped to send heartbeats.
async fn watch_heartbeats(socket: Weak<Socket>) {
    loop {
        tokio::time::sleep(STALE_LOOK).await;
        let Some(socket) = socket.upgrade() else { return };
        if socket.state::<ChatSocket>().is_some_and(|state| state.figures().is_stale(clock::now())) {
            return socket.disconnect(true);
        }
    }
}

struct ChatVoice {
    socket: Weak<Socket>,
    /// Candidates that wait for their batch, as JSON.
    batch: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    candidates: Vec<String>,
    /// Counts the batches, so that a timer knows whether its own is still waiting.
    number: u64,
}

impl ChatVoice {
    fn batch(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        self.batch().candidates.clear();
    }

    fn gather(&self, candidate: String) {
        let mut batch = self.batch();
        batch.candidates.push(candidate);
        if batch.candidates.len() >= BATCH {
            self.flush(&mut batch);
        } else if batch.candidates.len() == 1 {
            let (number, socket) = (batch.number, self.socket.clone());
            tokio::spawn(async move {
                tokio::time::sleep(BATCH_DELAY).await;
                let Some(socket) = socket.upgrade() else { return };
                if let Some(state) = socket.state::<ChatSocket>() {
                    let mut batch = state.voice.batch();
                    if batch.number == number {
                        state.voice.flush(&mut batch);
                    }
                }
            });
        }
    }

    fn flush(&self, batch: &mut Batch) {
        batch.number += 1;
        let candidates = std::mem::take(&mut batch.candidates);
        if let Some(socket) = self.socket.upgrade()
            && !candidates.is_empty()
        {
            let said = format!("[\"signal-ice-candidates-batch\",{{\"candidates\":[{}]}}]", candidates.join(","));
            socket.emit_raw(&said);
        }
    }
}

impl Voice for ChatVoice {
    fn system(&self) -> System {
        System::RandomChat
    }

    fn room(&self, _: &Rooms, _: &RoomEffect) {
        // These apps know partners, not rooms.
    }

    fn signal(&self, signal: &Signal<'_>) {
        let Some(socket) = self.socket.upgrade() else { return };
        match signal.body {
            Body::Raw { what: What::Candidate, value, .. } => self.gather(value.get().to_owned()),
            Body::Raw { what, value, .. } => {
                // What waits was sent before.
                self.flush(&mut self.batch());
                let (name, field) = match what {
                    What::Offer => ("signal-offer", "offer"),
                    What::Answer | What::Candidate => ("signal-answer", "answer"),
                };
                socket.emit_raw(&Object::event(name).raw(field, value).done());
            }
            Body::Description { kind, sdp } => {
                self.flush(&mut self.batch());
                let (name, field) = match kind {
                    DescriptionKind::Offer => ("signal-offer", "offer"),
                    DescriptionKind::Answer => ("signal-answer", "answer"),
                };
                socket.emit_raw(&Object::event(name).put(field, &json!({ "type": kind, "sdp": sdp })).done());
            }
            Body::Candidates { candidates, .. } => {
                for candidate in candidates.iter().filter_map(|candidate| serde_json::to_string(candidate).ok()) {
                    self.gather(candidate);
                }
            }
        }
    }

    fn queue(&self, news: &QueueNews<'_>) {
        let Some(socket) = self.socket.upgrade() else { return };
        let now = clock::now();
        match news {
            QueueNews::Idle => {}
            QueueNews::Waiting { place, .. } => {
                socket.emit("waiting-for-partner", &json!({ "queuePosition": place, "timestamp": now }));
            }
            QueueNews::Matched { card, offers, .. } => {
                let role = if *offers { "initiator" } else { "receiver" };
                let name = card.name.as_deref().unwrap_or("Stranger");
                socket.emit("match-found", &json!({ "role": role, "partnerName": name, "timestamp": now }));
            }
            QueueNews::Parted { why, .. } => {
                self.clear();
                match why {
                    PartedWhy::Left | PartedWhy::Skipped | PartedWhy::Gone | PartedWhy::Blocked => {
                        socket.emit("match-ended", &json!({ "reason": parted_word(*why), "timestamp": now }));
                    }
                }
            }
        }
    }

    fn partner_is_poor(&self) {
        if let Some(socket) = self.socket.upgrade() {
            let said = json!({ "message": "Your partner is experiencing connection issues" });
            socket.emit("partner-quality-poor", &said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_follows_heartbeats_and_use() {
        let check = |seconds: u64, heartbeats: u64, messages: u64, expected: Quality| {
            let mut figures = Figures { heartbeats: heartbeats - 1, messages, ..Figures::new(UnixMs(0)) };
            assert_eq!(figures.heartbeat(UnixMs(seconds * 1_000)), expected, "{seconds} {heartbeats} {messages}");
        };
        check(5, 1, 0, Quality::Good);
        check(5, 1, 1, Quality::Excellent);
        check(100, 9, 1, Quality::Excellent);
        check(100, 6, 0, Quality::Good);
        check(100, 2, 4, Quality::Good);
        check(100, 2, 3, Quality::Poor);
    }

    #[test]
    fn only_an_app_that_sent_heartbeats_can_go_stale() {
        let mut figures = Figures::new(UnixMs(0));
        assert!(!figures.is_stale(UnixMs(STALE_MS * 10)));
        figures.heartbeat(UnixMs(1));
        assert!(!figures.is_stale(UnixMs(STALE_MS)));
        assert!(figures.is_stale(UnixMs(STALE_MS + 2)));
    }
}
