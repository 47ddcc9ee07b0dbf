//! What a check before a call needs of sound and network: devices opened for a moment, ways tried and measured, a sentence
//! sent to a reflector and back.
//!
//! A [`SoundCheck`] stands beside the [`Engine`](crate::Engine), for a person who is in no call. It decides nothing: whoever
//! owns it tells it one step after the other and reads what came of each. The far side is a
//! [`Reflector`](crate::Reflector). When it is dropped, devices and connections are closed and what was recorded is wiped.

mod ears;
pub(crate) mod line;
mod measure;
mod probe;
#[cfg(test)]
mod tests;

pub use measure::{EchoFigures, MicrophoneFigures, NO_ECHO};
pub use probe::PathFigures;

use crate::pipeline::{Arrival, ReceiveSide};
use crate::{Config, DescriptionKind, DeviceFault, FRAME, IceServer, RelayTransport, Route, Sound};
use ears::{Ears, EarsNote, EarsOrder};
use line::{Line, LineEvent};
use probe::Probes;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// A way to the reflector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckRoute {
    /// By no relay of ours.
    Direct,
    Relay(RelayTransport),
}

/// What a check can be told, one step after the other: a step that begins ends the one before.
#[derive(Clone, Debug)]
pub enum CheckCommand {
    /// Answered by [`CheckEvent::Devices`], with the devices closed again.
    OpenDevices,
    /// Answered by [`CheckEvent::Offer`], and in the end by [`CheckEvent::Path`]. The first way that works stays open until
    /// it is closed; no other has to be.
    OpenPath {
        route: CheckRoute,
        servers: Vec<IceServer>,
    },
    Answer {
        route: CheckRoute,
        sdp: String,
    },
    ClosePath {
        route: CheckRoute,
    },
    /// By this way, which must have worked. Answered by [`CheckEvent::Spoke`].
    Speak {
        route: CheckRoute,
    },
    /// Plays what came back of the sentence. Answered by [`CheckEvent::Listened`].
    Listen,
}

#[derive(Clone, Debug)]
pub enum CheckEvent {
    Devices {
        microphone: Result<MicrophoneFigures, DeviceFault>,
        speaker: Result<(), DeviceFault>,
    },
    Offer {
        route: CheckRoute,
        sdp: String,
    },
    Path {
        route: CheckRoute,
        figures: PathFigures,
    },
    /// Of the microphone, 0 to 1, ten times a second while the sentence is said; dropped when nobody reads it.
    Level(f32),
    Spoke(MicrophoneFigures),
    Listened(Option<EchoFigures>),
}

/// Commands that wait: the steps of one check are fewer.
const COMMANDS: usize = 32;
/// Events that wait for the caller; the check waits when it is full.
const EVENTS: usize = 32;

/// Until packets come back, from a way's opening. A round trip of a second takes 7 s of it.
const SETS_UP: Duration = Duration::from_secs(12);
/// A way that is connected here, and by which nothing comes back for so long, is opened anew: where the far side has not
/// got the last packets of the handshake, it stays deaf, because the library sends those but once.
const DEAF: Duration = Duration::from_millis(2_500);
/// How often a way is opened at most; the server takes a dozen offers for the four of them.
const OPENINGS: u32 = 3;
/// How long probes are counted, and waited for after the last.
const MEASURES: Duration = Duration::from_secs(4);
const LATE: Duration = Duration::from_millis(1_500);
/// Packets of one sentence, with what was said while the voice was waited for.
const PACKETS: usize = 1_000;
/// Milliseconds of the longest sentence that is played, with its delay.
const LONGEST: u64 = 6_000;

/// One check. Clones of nothing: it has one owner.
pub struct SoundCheck {
    commands: mpsc::Sender<CheckCommand>,
    events: mpsc::Receiver<CheckEvent>,
}

impl SoundCheck {
    /// To be called within a tokio runtime.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let (ears, notes) = Ears::start(&config)?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (outbox, events) = mpsc::channel(EVENTS);
        let work = Work { config, ears, notes, inbox, events: outbox, kept: None, packets: Vec::new(), from: None };
        tokio::spawn(work.run());
        Ok(Self { commands, events })
    }

    pub fn command(&self, command: CheckCommand) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("the check takes no more commands");
        }
    }

    /// The next event; `None` when the check broke. Safe to cancel.
    pub async fn next(&mut self) -> Option<CheckEvent> {
        self.events.recv().await
    }
}

struct Work {
    config: Config,
    ears: Ears,
    notes: mpsc::Receiver<EarsNote>,
    inbox: mpsc::Receiver<CheckCommand>,
    events: mpsc::Sender<CheckEvent>,
    /// A way that worked.
    kept: Option<(CheckRoute, Line)>,
    /// What came back of the sentence, and the timestamp at which it begins.
    packets: Vec<Arrival>,
    from: Option<u32>,
}

/// The step that was begun instead, or `None` when nobody listens any more.
type Interrupted = Option<CheckCommand>;

impl Work {
    async fn run(mut self) {
        let mut next = None;
        loop {
            let command = match next.take() {
                Some(command) => command,
                None => match self.idle().await {
                    Some(command) => command,
                    None => break,
                },
            };
            let done = match command {
                CheckCommand::OpenDevices => self.devices().await,
                CheckCommand::OpenPath { route, servers } => self.path(route, servers).await,
                CheckCommand::ClosePath { route } => {
                    self.close(route).await;
                    Ok(())
                }
                CheckCommand::Speak { route } => self.speak(route).await,
                CheckCommand::Listen => self.listen().await,
                // Of a way that is given up.
                CheckCommand::Answer { .. } => Ok(()),
            };
            match done {
                Ok(()) => {}
                Err(Some(command)) => next = Some(command),
                Err(None) => break,
            }
        }
        if let Some((_, line)) = self.kept.take() {
            line.close().await;
        }
    }

    /// Between two steps: the connection that is kept goes on.
    async fn idle(&mut self) -> Option<CheckCommand> {
        loop {
            let lost = tokio::select! {
                command = self.inbox.recv() => return command,
                event = line_event(&mut self.kept) => matches!(event, LineEvent::Failed(_)),
            };
            if lost && let Some((_, line)) = self.kept.take() {
                line.close().await;
            }
        }
    }

    async fn close(&mut self, route: CheckRoute) {
        if let Some((_, line)) = self.kept.take_if(|(kept, _)| *kept == route) {
            line.close().await;
        }
    }

    async fn devices(&mut self) -> Result<(), Interrupted> {
        self.ears.order(EarsOrder::Room);
        loop {
            tokio::select! {
                note = self.notes.recv() => match note {
                    Some(EarsNote::Room { microphone, speaker }) => {
                        return self.say(CheckEvent::Devices { microphone, speaker }).await;
                    }
                    Some(
                        EarsNote::Packet(_) | EarsNote::Level(_) | EarsNote::Spoke { .. } | EarsNote::Listened(_),
                    ) => {}
                    None => return Err(None),
                },
                command = self.inbox.recv() => return Err(command),
            }
        }
    }

    async fn path(&mut self, route: CheckRoute, servers: Vec<IceServer>) -> Result<(), Interrupted> {
        let policy = match route {
            CheckRoute::Direct => Route::Any,
            CheckRoute::Relay(_) => Route::RelayOnly,
        };
        let opened = Instant::now();
        let mut openings = 1;
        loop {
            let mut line = Line::open(servers.clone(), self.config.bind, policy);
            line.offer();
            let measured = self.measure(route, &mut line, opened).await;
            match measured {
                Ok(None) if openings < OPENINGS => {
                    tracing::debug!(?route, "connected, and nothing comes back: opened anew");
                    openings += 1;
                    line.close().await;
                }
                Ok(figures) => {
                    let figures = figures.unwrap_or_default();
                    if figures.connected && self.kept.is_none() {
                        self.kept = Some((route, line));
                    } else {
                        line.close().await;
                    }
                    return self.say(CheckEvent::Path { route, figures }).await;
                }
                Err(interrupted) => {
                    line.close().await;
                    return Err(interrupted);
                }
            }
        }
    }

    /// `None`: the far side is [`DEAF`].
    async fn measure(
        &mut self,
        route: CheckRoute,
        line: &mut Line,
        opened: Instant,
    ) -> Result<Option<PathFigures>, Interrupted> {
        let mut probes = Probes::default();
        let mut setup = Duration::ZERO;
        let mut connected: Option<Instant> = None;
        let mut until = opened + SETS_UP;
        // When the last probe is sent, once they flow.
        let mut last: Option<Instant> = None;
        let mut tick = interval(probe::EACH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sends = connected.is_some() && last.is_none_or(|last| Instant::now() < last);
            let deaf = connected.filter(|_| !probes.flow()).map_or(until, |connected| until.min(connected + DEAF));
            tokio::select! {
                event = line.next() => match event {
                    LineEvent::Described(sdp) => self.say(CheckEvent::Offer { route, sdp }).await?,
                    LineEvent::Connected => connected = connected.or_else(|| Some(Instant::now())),
                    LineEvent::Packet(packet) => {
                        probes.take(&packet);
                        if last.is_none() && probes.flow() {
                            setup = opened.elapsed();
                            last = Some(Instant::now() + MEASURES);
                            until = Instant::now() + MEASURES + LATE;
                        }
                        let (sent, came) = probes.counts();
                        if last.is_some_and(|last| Instant::now() >= last) && sent == came {
                            return Ok(Some(probes.figures(setup)));
                        }
                    }
                    LineEvent::Failed(why) => {
                        tracing::debug!(?route, why, "this way does not work");
                        return Ok(Some(probes.figures(setup)));
                    }
                },
                _ = tick.tick(), if sends => {
                    let probe = probes.next(line.epoch.elapsed());
                    line.send(&probe).await;
                }
                command = self.inbox.recv() => match command {
                    Some(CheckCommand::Answer { route: of, sdp }) if of == route => {
                        line.set_remote(DescriptionKind::Answer, &sdp);
                    }
                    Some(CheckCommand::ClosePath { route: of }) if of != route => self.close(of).await,
                    command => return Err(command),
                },
                () = sleep_until(deaf) => {
                    return Ok((deaf == until).then(|| probes.figures(setup)));
                }
            }
        }
    }

    async fn speak(&mut self, route: CheckRoute) -> Result<(), Interrupted> {
        self.forget();
        self.ears.order(EarsOrder::Speak);
        let mut spoke = None;
        // The rest of the sentence is on its way for a while.
        let mut until = Instant::now() + Duration::from_secs(60);
        loop {
            tokio::select! {
                note = self.notes.recv() => match note {
                    Some(EarsNote::Packet(packet)) => {
                        if let Some((kept, line)) = &mut self.kept && *kept == route {
                            line.send(&packet).await;
                        }
                    }
                    Some(EarsNote::Level(level)) => drop(self.events.try_send(CheckEvent::Level(level))),
                    Some(EarsNote::Spoke { microphone, from }) => {
                        self.from = from;
                        spoke = Some(microphone);
                        until = Instant::now() + LATE;
                    }
                    Some(EarsNote::Room { .. } | EarsNote::Listened(_)) => {}
                    None => return Err(None),
                },
                event = line_event(&mut self.kept) => match event {
                    LineEvent::Packet(packet) => {
                        if self.packets.len() < PACKETS {
                            self.packets.push(packet);
                        }
                    }
                    LineEvent::Failed(_) => self.close(route).await,
                    LineEvent::Described(_) | LineEvent::Connected => {}
                },
                command = self.inbox.recv() => return Err(command),
                () = sleep_until(until) => {
                    return self.say(CheckEvent::Spoke(spoke.unwrap_or_default())).await;
                }
            }
        }
    }

    async fn listen(&mut self) -> Result<(), Interrupted> {
        let sound = sentence(std::mem::take(&mut self.packets), self.from);
        self.ears.order(EarsOrder::Listen(sound));
        loop {
            tokio::select! {
                note = self.notes.recv() => match note {
                    Some(EarsNote::Listened(echo)) => return self.say(CheckEvent::Listened(echo)).await,
                    Some(
                        EarsNote::Room { .. } | EarsNote::Packet(_) | EarsNote::Level(_) | EarsNote::Spoke { .. },
                    ) => {}
                    None => return Err(None),
                },
                command = self.inbox.recv() => return Err(command),
            }
        }
    }

    fn forget(&mut self) {
        self.packets.clear();
        self.from = None;
    }

    async fn say(&self, event: CheckEvent) -> Result<(), Interrupted> {
        self.events.send(event).await.map_err(|_| None)
    }
}

async fn line_event(kept: &mut Option<(CheckRoute, Line)>) -> LineEvent {
    match kept {
        Some((_, line)) => line.next().await,
        None => std::future::pending().await,
    }
}

/// What is heard of the packets that came back: as in a call, only faster.
fn sentence(mut packets: Vec<Arrival>, from: Option<u32>) -> Vec<f32> {
    let Some(from) = from else { return Vec::new() };
    packets.retain(|packet| packet.timestamp >= from);
    let Some(first) = packets.first().map(|packet| packet.at) else { return Vec::new() };
    let Ok(mut receive) = ReceiveSide::new() else { return Vec::new() };
    let last = packets.last().map_or(first, |packet| packet.at);
    let length = ((last - first).as_millis() as u64 + 300).min(LONGEST);
    let mut packets = packets.into_iter().peekable();
    let (mut sound, mut played) = (Vec::with_capacity(length as usize / 10 * FRAME), Sound::SILENCE);
    for ms in (0..length).step_by(10) {
        let now = first + Duration::from_millis(ms);
        while let Some(packet) = packets.next_if(|packet| packet.at <= now) {
            receive.insert(packet);
        }
        receive.playout(now, &mut played);
        sound.extend_from_slice(&played.mid);
    }
    sound
}
