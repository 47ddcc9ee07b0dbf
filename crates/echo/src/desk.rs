//! One loop that owns the connections: offers come by the socket, answers go back, and what is over is ended.

use bellwire_client::{Stop, Url, Wire, WireEvent};
use bellwire_media::{IceServer, Reflector, ReflectorEnd, Route};
use bellwire_signaling::{self as signaling, CheckId, CheckPath, Command, DeviceId, Event, Sdp, Token};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A check's longest time, as the server has it.
const LONGEST: Duration = Duration::from_secs(3 * 60);
/// Connections at once; offers beyond are not answered.
const MOST: usize = 800;
/// Words of the connections' tasks, which wait when so many are unread.
const WORDS: usize = 256;

/// What a connection's task says.
enum Word {
    Answer { check: CheckId, path: CheckPath, sdp: String },
    Ended { check: CheckId, number: u64 },
}

/// Serves until the server will not have this peer any more; says why.
pub async fn serve(server: Url, token: Token, device: DeviceId, bind: Option<IpAddr>) -> Option<Stop> {
    let mut wire = Wire::start(server, token, device);
    let (words, mut inbox) = mpsc::channel(WORDS);
    let mut desk = Desk { bind, words, made: 0, checks: HashMap::new() };
    loop {
        tokio::select! {
            event = wire.next() => match event? {
                WireEvent::Up => {
                    tracing::info!("answering checks");
                    wire.send(Command::ServeChecks {});
                }
                WireEvent::Event(event) => desk.take(event),
                WireEvent::Refused(error) => tracing::debug!(code = ?error.code, "refused"),
                WireEvent::Stopped(stop) => return Some(stop),
            },
            Some(word) = inbox.recv() => if let Some(command) = desk.hear(word) {
                wire.send(command);
            },
        }
    }
}

struct Desk {
    bind: Option<IpAddr>,
    words: mpsc::Sender<Word>,
    made: u64,
    /// What ends the connections of each check.
    checks: HashMap<CheckId, HashMap<u64, CancellationToken>>,
}

impl Desk {
    fn take(&mut self, event: Event) {
        match event {
            Event::CheckOffered { check, path, sdp, servers } => self.answer(check, path, sdp, servers),
            Event::CheckOver { check } => {
                self.checks.remove(&check).into_iter().flatten().for_each(|(_, stop)| stop.cancel());
            }
            Event::Call { .. }
            | Event::Description { .. }
            | Event::Candidates { .. }
            | Event::Bookings { .. }
            | Event::Presence { .. }
            | Event::Readiness { .. }
            | Event::Health { .. }
            | Event::CheckAnswer { .. }
            | Event::Room { .. }
            | Event::RoomOver { .. }
            | Event::DescriptionFrom { .. }
            | Event::CandidatesFrom { .. }
            | Event::Search { .. } => {}
        }
    }

    fn answer(&mut self, check: CheckId, path: CheckPath, sdp: Sdp, servers: Vec<signaling::IceServer>) {
        if self.checks.values().map(HashMap::len).sum::<usize>() >= MOST {
            tracing::warn!("too many checks at once; an offer is not answered");
            return;
        }
        tracing::debug!(%check, ?path, "offered");
        self.made += 1;
        let number = self.made;
        let servers = servers.into_iter().map(for_media).collect();
        let route = match path {
            CheckPath::Direct => Route::Any,
            CheckPath::RelayUdp | CheckPath::RelayTcp | CheckPath::RelayTls => Route::RelayOnly,
        };
        let mut reflector = Reflector::start(String::from(sdp), servers, self.bind, route, LONGEST);
        self.checks.entry(check.clone()).or_default().insert(number, reflector.stopper());
        let words = self.words.clone();
        tokio::spawn(async move {
            if let Some(sdp) = reflector.answer().await {
                let _ = words.send(Word::Answer { check: check.clone(), path, sdp }).await;
            }
            let end = reflector.ended().await;
            match end {
                ReflectorEnd::Told => tracing::debug!(%check, ?path, "over"),
                ReflectorEnd::Failed => tracing::debug!(%check, ?path, "failed"),
            }
            let _ = words.send(Word::Ended { check, number }).await;
        });
    }

    fn hear(&mut self, word: Word) -> Option<Command> {
        match word {
            Word::Answer { check, path, sdp } => match Sdp::new(sdp) {
                Ok(sdp) => Some(Command::AnswerCheck { check, path, sdp }),
                Err(fault) => {
                    tracing::warn!(%fault, "our description is not fit to be sent");
                    None
                }
            },
            Word::Ended { check, number } => {
                if let Some(connections) = self.checks.get_mut(&check) {
                    connections.remove(&number);
                    if connections.is_empty() {
                        self.checks.remove(&check);
                    }
                }
                None
            }
        }
    }
}

fn for_media(server: signaling::IceServer) -> IceServer {
    IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.map(|credential| credential.reveal().to_owned()).unwrap_or_default(),
    }
}
