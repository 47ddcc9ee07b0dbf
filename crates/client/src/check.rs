//! The check before a call, as this device makes it: between the machine that decides, the socket, and the sound.
//!
//! One at a time. A check by hand shows its report until it is put away; one that a booking brought about shows it, too,
//! and tells the other party "ready" or "has a problem" and nothing more. Whoever owns this starts none in a call and
//! stops it for one.

mod words;

use crate::signaling::{BookingId, BookingState, BookingView, Readiness, UnixMs};
use bellwire_call::Monotonic;
use bellwire_call::check::{Check, CheckInput, CheckOrder, CheckOutput, CheckReport, Kind, Stage, Verdict};
use bellwire_media::Config;
use bellwire_media::check::{CheckEvent, SoundCheck};
use bellwire_signaling::{ClientFrame, Command, CommandId, Event, Purpose, Reply, WireError};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use words::{command_for_sound, heard_from_sound};

/// A check, for those who show it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckNow {
    pub stage: Stage,
    /// From 0 to 1.
    pub progress: f32,
    /// Once it is done.
    pub report: Option<CheckReport>,
    /// Nobody asked for it, and nobody takes part.
    pub automatic: bool,
}

/// How long before a booking's start it is checked for.
const BEFORE_MS: u64 = 10 * 60_000;
/// How often it is looked whether a booking is near.
const LOOKED_EACH: Duration = Duration::from_secs(5);
/// How often progress is shown.
const SHOWN_EACH: Duration = Duration::from_millis(400);

pub(crate) struct Checks {
    by_itself: bool,
    running: Option<Running>,
    /// Of the last that came to an end, and whether it was automatic.
    report: Option<(CheckReport, bool)>,
    /// Bookings that were checked for by itself.
    checked: BTreeSet<BookingId>,
    /// What the other party was told, or is to be told.
    told: Option<(BookingId, Readiness)>,
    frames: Vec<ClientFrame>,
}

struct Running {
    check: Check,
    sound: SoundCheck,
    /// Commands without an answer.
    asked: HashMap<CommandId, Asked>,
    /// Whose other party is told of it.
    booking: Option<BookingId>,
}

enum Asked {
    Start,
    Servers,
}

/// What a check was waiting for.
pub(crate) enum Happened {
    Sound(CheckEvent),
    /// The sound of the check broke.
    Broke,
    Time,
}

impl Checks {
    /// `by_itself`: bookings bring checks about.
    pub(crate) fn new(by_itself: bool) -> Self {
        Self { by_itself, running: None, report: None, checked: BTreeSet::new(), told: None, frames: Vec::new() }
    }

    /// Begins a check, in place of one that goes on.
    pub(crate) fn start(
        &mut self,
        kind: Kind,
        config: &Config,
        booking: Option<BookingId>,
        linked: bool,
        now: Monotonic,
    ) {
        self.stop(now);
        self.report = None;
        let sound = match SoundCheck::start(config.clone()) {
            Ok(sound) => sound,
            Err(error) => return tracing::warn!(%error, "no check can be made"),
        };
        tracing::info!(automatic = kind == Kind::Automatic, "checking");
        let check = Check::new(kind, now);
        self.running = Some(Running { check, sound, asked: HashMap::new(), booking });
        if !linked {
            self.feed(CheckInput::LinkDown, now);
        }
        self.carry_out(now);
    }

    /// Ends the check that goes on, without a report.
    pub(crate) fn stop(&mut self, now: Monotonic) {
        self.feed(CheckInput::Stop, now);
        self.running = None;
    }

    /// Nothing of a check is to be shown any more.
    pub(crate) fn put_away(&mut self, now: Monotonic) {
        self.stop(now);
        self.report = None;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn now(&self, now: Monotonic) -> Option<CheckNow> {
        match (&self.running, &self.report) {
            (Some(running), _) => Some(CheckNow {
                stage: running.check.stage(),
                progress: running.check.progress(now),
                report: None,
                automatic: running.check.kind() == Kind::Automatic,
            }),
            (None, Some((report, automatic))) => Some(CheckNow {
                stage: Stage::Done,
                progress: 1.0,
                report: Some(report.clone()),
                automatic: *automatic,
            }),
            (None, None) => None,
        }
    }

    /// What happens next to the check that goes on; pending while none does. Safe to cancel.
    pub(crate) async fn next(&mut self, started: Instant) -> Happened {
        let Some(running) = &mut self.running else {
            if !self.by_itself {
                return std::future::pending().await;
            }
            tokio::time::sleep(LOOKED_EACH).await;
            return Happened::Time;
        };
        let shown = Instant::now() + SHOWN_EACH;
        let due = running.check.poll_timeout().map(|at| started + Duration::from_millis(at.0));
        let until = due.map_or(shown, |due| due.min(shown));
        tokio::select! {
            event = running.sound.next() => event.map_or(Happened::Broke, Happened::Sound),
            () = tokio::time::sleep_until(until.into()) => Happened::Time,
        }
    }

    pub(crate) fn take(&mut self, happened: Happened, now: Monotonic) {
        match happened {
            Happened::Sound(event) => {
                if let Some(heard) = heard_from_sound(event) {
                    self.feed(CheckInput::Heard(heard), now);
                }
            }
            Happened::Broke => {
                tracing::warn!("the check's sound broke");
                self.stop(now);
            }
            Happened::Time => self.feed(CheckInput::Timeout, now),
        }
    }

    pub(crate) fn link_down(&mut self, now: Monotonic) {
        if let Some(running) = &mut self.running {
            running.asked.clear();
        }
        self.feed(CheckInput::LinkDown, now);
    }

    /// A server that was started again knows nothing of what it was told.
    pub(crate) fn link_up(&mut self, resumed: bool) {
        if !resumed && let Some((booking, readiness)) = self.told.clone() {
            self.send(Command::Readiness { booking, readiness });
        }
    }

    /// An event about checks.
    pub(crate) fn event(&mut self, event: Event, now: Monotonic) {
        let own = self.running.as_ref().and_then(|running| running.check.check().cloned());
        match event {
            Event::CheckAnswer { check, path, sdp } if Some(&check) == own.as_ref() => {
                self.feed(CheckInput::Answer { path, sdp }, now);
            }
            Event::CheckOver { check } if Some(&check) == own.as_ref() => self.feed(CheckInput::Over, now),
            Event::CheckAnswer { .. } | Event::CheckOver { .. } | Event::CheckOffered { .. } => {}
            // Not about checks.
            Event::Call { .. }
            | Event::Description { .. }
            | Event::Candidates { .. }
            | Event::Bookings { .. }
            | Event::Presence { .. }
            | Event::Readiness { .. }
            | Event::Health { .. }
            | Event::Room { .. }
            | Event::RoomOver { .. }
            | Event::DescriptionFrom { .. }
            | Event::CandidatesFrom { .. }
            | Event::Search { .. } => {}
        }
    }

    /// An answer, if it is to a command of a check.
    pub(crate) fn reply(&mut self, id: &CommandId, result: &Result<Reply, WireError>, now: Monotonic) {
        let Some(asked) = self.running.as_mut().and_then(|running| running.asked.remove(id)) else { return };
        let input = match (asked, result) {
            (Asked::Start, Ok(Reply::Check { check })) => CheckInput::Started(Some(check.clone())),
            (Asked::Start, Ok(_) | Err(_)) => CheckInput::Started(None),
            (Asked::Servers, Ok(Reply::IceServers { servers, .. })) => CheckInput::Servers(servers.clone()),
            (Asked::Servers, Ok(_) | Err(_)) => CheckInput::Servers(Vec::new()),
        };
        self.feed(input, now);
    }

    /// What is to be sent.
    pub(crate) fn take_frames(&mut self) -> Vec<ClientFrame> {
        std::mem::take(&mut self.frames)
    }

    /// A booking that is to be checked for now, by itself: once, from ten minutes before its start on.
    pub(crate) fn due(&mut self, bookings: &[BookingView], now: UnixMs) -> Option<BookingId> {
        let due = bookings.iter().filter(|_| self.by_itself).find(|view| {
            view.state == BookingState::Scheduled
                && view.starts_at.minus(BEFORE_MS) <= now
                && now < view.closes_at
                && !self.checked.contains(&view.booking)
        })?;
        self.checked.insert(due.booking.clone());
        Some(due.booking.clone())
    }

    fn feed(&mut self, input: CheckInput, now: Monotonic) {
        if let Some(running) = &mut self.running {
            running.check.handle(input, now);
            self.carry_out(now);
        }
    }

    fn carry_out(&mut self, _now: Monotonic) {
        while let Some(running) = &mut self.running {
            let Some(output) = running.check.poll_output() else { return };
            match output {
                CheckOutput::Start => {
                    let id = self.send(Command::StartCheck {});
                    self.ask(id, Asked::Start);
                }
                CheckOutput::AskServers { check } => {
                    let id = self.send(Command::IceServers { purpose: Purpose::Check { check } });
                    self.ask(id, Asked::Servers);
                }
                CheckOutput::Offer { check, path, sdp } => drop(self.send(Command::CheckOffer { check, path, sdp })),
                CheckOutput::End { check } => drop(self.send(Command::EndCheck { check })),
                CheckOutput::Sound(CheckOrder::Close) => {}
                CheckOutput::Sound(order) => {
                    if let Some(command) = command_for_sound(order) {
                        running.sound.command(command);
                    }
                }
                CheckOutput::Report(report) => self.end(*report),
            }
        }
    }

    /// The machine has come to its report. With the sound's end the devices close and all recordings are wiped.
    fn end(&mut self, report: CheckReport) {
        let Some(running) = self.running.take() else { return };
        let faults: Vec<_> = report.findings.iter().map(|finding| finding.fault).collect();
        tracing::info!(verdict = ?report.verdict, ?faults, "checked");
        if let Some(booking) = running.booking {
            let readiness = match report.verdict {
                Verdict::Ready => Readiness::Ready,
                Verdict::Problems => Readiness::HasProblem,
            };
            self.told = Some((booking.clone(), readiness));
            self.send(Command::Readiness { booking, readiness });
        }
        self.report = Some((report, running.check.kind() == Kind::Automatic));
    }

    fn ask(&mut self, id: CommandId, asked: Asked) {
        if let Some(running) = &mut self.running {
            running.asked.insert(id, asked);
        }
    }

    fn send(&mut self, command: Command) -> CommandId {
        let id = CommandId::from_bits(rand::random());
        self.frames.push(ClientFrame::Command { id: id.clone(), command });
        id
    }
}

/// The booking that a check by hand is good for: the next that is not over.
pub(crate) fn next_booking(bookings: &[BookingView], now: UnixMs) -> Option<BookingId> {
    let open = bookings.iter().filter(|view| view.state == BookingState::Scheduled && now < view.closes_at);
    open.min_by_key(|view| view.starts_at).map(|view| view.booking.clone())
}
