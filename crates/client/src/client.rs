//! The loop that owns everything: link and sound send it values, it hands them to the machines of the call and of the
//! room, and it alone changes state.

mod checks;
mod measuring;
mod rooms;
mod snapshot;

use crate::check::Checks;
use crate::link::{Identity, Link, LinkEvent, Patience, Urgency};
use crate::network::{Attention, Network, News};
use crate::sound::{Heard, Sound};
use crate::texts::Texts;
use crate::updates::{self, Outbox};
use crate::{Config, LinkFault, Request, Snapshot, State, Stop, Update, Updates};
use bellwire_call::meeting::{self, MemberSound, Wish};
use bellwire_call::{Endpoint, Input, MediaEvent, Meeting, Monotonic, Notice, Output, UserCommand};
use bellwire_media::{DeviceFault, DeviceInfo, Tone};
use bellwire_signaling::{ClientFrame, ErrorCode, Event, Reply, Side, UnixMs, You};
use measuring::Measuring;
use rand::RngExt;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Requests that wait for the loop. Full, which takes a caller that asks faster than the loop runs: the newest is
/// thrown away with a warning.
const REQUESTS: usize = 64;
/// How long an ending client waits for the server to confirm the hang-up, for the socket to take its last frames, and
/// for the devices to close.
const LAST_WORDS: Duration = Duration::from_millis(1500);
const GOODBYE: Duration = Duration::from_millis(500);
const SOUND_CLOSES: Duration = Duration::from_secs(5);

/// One signed-in device. Clones are the same client; it ends when the last is dropped, or at [`Client::shutdown`].
#[derive(Clone)]
pub struct Client {
    requests: mpsc::Sender<Asked>,
    ended: CancellationToken,
}

enum Asked {
    Request(Request),
    Shutdown,
}

impl Client {
    /// Signs in and stays signed in. To be called within a tokio runtime.
    pub fn start(config: Config) -> (Client, Updates) {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (outbox, updates) = updates::channel();
        let ended = CancellationToken::new();
        let done = ended.clone().drop_guard();
        let actor = Loop::new(config, inbox, outbox);
        tokio::spawn(async move {
            actor.run().await;
            drop(done);
        });
        (Client { requests, ended }, updates)
    }

    /// Asks for something. What comes of it is told by the updates. Never waits.
    pub fn request(&self, request: Request) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.requests.try_send(Asked::Request(request)) {
            tracing::warn!("too many requests at once; one was dropped");
        }
    }

    /// Hangs up, says goodbye to the server, closes the devices and finishes recordings. Takes some seconds at most.
    pub async fn shutdown(self) {
        if self.requests.send(Asked::Shutdown).await.is_ok() {
            self.ended.cancelled().await;
        }
    }
}

struct Loop {
    started: Instant,
    inbox: mpsc::Receiver<Asked>,
    outbox: Outbox,
    endpoint: Endpoint,
    meeting: Meeting,
    texts: Texts,
    /// Far sides that speak, and this person as `None`.
    speaking: BTreeSet<Option<u32>>,
    sound: Sound,
    tones: bool,
    relay_only: bool,
    checks: Checks,
    measuring: Measuring,
    link: Link,
    network: Network,
    attention: Attention,
    link_state: crate::Link,
    /// Where frames go while the link is up.
    frames: Option<mpsc::Sender<ClientFrame>>,
    you: Option<You>,
    server_time_offset_ms: i64,
    bookings_known: bool,
    /// The server will not have this person back; the call that goes on without it is still to end.
    stopping: Option<Stop>,
    listing: Option<oneshot::Receiver<Result<Vec<DeviceInfo>, DeviceFault>>>,
    told: Option<Snapshot>,
}

/// Why the loop goes on or ends.
enum Next {
    Changed,
    /// Nothing that a snapshot shows.
    Same,
    End(Option<Stop>),
}

impl Loop {
    fn new(config: Config, inbox: mpsc::Receiver<Asked>, outbox: Outbox) -> Self {
        let Config { server, token, device, media, tones, relay_only, checks_by_itself } = config;
        Self {
            started: Instant::now(),
            inbox,
            outbox,
            endpoint: Endpoint::new(rand::rng().random()),
            meeting: Meeting::new(rand::rng().random()),
            texts: Texts::default(),
            speaking: BTreeSet::new(),
            sound: Sound::new(media),
            tones,
            relay_only,
            checks: Checks::new(checks_by_itself),
            measuring: Measuring::default(),
            network: Network::watch(),
            attention: Attention::default(),
            link: Link::start(Identity { server, token, device }, Patience::default()),
            link_state: crate::Link::Connecting,
            frames: None,
            you: None,
            server_time_offset_ms: 0,
            bookings_known: false,
            stopping: None,
            listing: None,
            told: None,
        }
    }

    async fn run(mut self) {
        self.relay_only(self.relay_only);
        self.settle();
        let stop = loop {
            match self.step().await {
                Next::Changed => self.settle(),
                Next::Same => {}
                Next::End(stop) => break stop,
            }
            if self.stopping.is_some() && !self.carries_sound() {
                break self.stopping;
            }
        };
        self.end(stop).await;
    }

    /// Waits for one value and takes it in.
    async fn step(&mut self) -> Next {
        let (call_due, room_due) = (self.endpoint.poll_timeout(), self.meeting.poll_timeout());
        let first = [call_due.map(|due| due.0), room_due.map(|due| due.0), self.measuring.due()];
        let first = first.into_iter().flatten().min();
        let due = first.map(|at| self.started + Duration::from_millis(at.0));
        let timeout = async {
            match due {
                Some(at) => {
                    tokio::time::sleep_until(at.into()).await;
                    tracing::trace!(?call_due, ?room_due, "timeout");
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            asked = self.inbox.recv() => match asked {
                Some(Asked::Request(request)) => self.handle_request(request),
                Some(Asked::Shutdown) | None => Next::End(None),
            },
            event = self.link.events.recv(), if self.stopping.is_none() => match event {
                Some(event) => self.handle_link(event),
                None => Next::End(None),
            },
            Some(news) = self.network.news.recv() => self.handle_news(news),
            heard = self.sound.next() => self.handle_sound(heard),
            happened = self.checks.next(self.started) => self.checked(happened),
            listed = listed(&mut self.listing) => {
                self.outbox.push(Update::Devices(listed));
                Next::Same
            }
            () = timeout => {
                self.feed_room(meeting::Input::Timeout);
                self.feed(Input::Timeout)
            }
        }
    }

    fn handle_request(&mut self, request: Request) -> Next {
        match request {
            Request::Call(booking) => {
                self.leave_rooms();
                return self.feed(Input::Command(UserCommand::Call(booking)));
            }
            Request::Accept => {
                if self.rings_here() {
                    self.leave_rooms();
                }
                return self.feed(Input::Command(UserCommand::Accept));
            }
            Request::Decline(because) => return self.feed(Input::Command(UserCommand::Decline(because))),
            Request::HangUp => return self.feed(Input::Command(UserCommand::HangUp)),
            Request::Mute(muted) if self.is_in_room() => return self.wish(Wish::Mute(muted)),
            Request::Mute(muted) => return self.feed(Input::Command(UserCommand::Mute(muted))),
            Request::Dismiss => {
                self.wish(Wish::Dismiss);
                return self.feed(Input::Command(UserCommand::Dismiss));
            }
            Request::RefreshBookings => return self.feed(Input::Command(UserCommand::RefreshBookings)),
            Request::History { before } => return self.feed(Input::Command(UserCommand::History { before })),
            Request::EnterRoom(_) | Request::Search if self.is_in_call() => {
                return self.refuse(ErrorCode::InAnotherCall);
            }
            Request::EnterRoom(room) => return self.wish(Wish::Enter(room)),
            Request::LeaveRoom => return self.wish(Wish::Leave),
            Request::LockRoom(locked) => return self.wish(Wish::Lock(locked)),
            Request::RemoveMember(member) => return self.wish(Wish::Remove(member)),
            Request::Search => return self.wish(Wish::Search),
            Request::StopSearching => return self.wish(Wish::StopSearching),
            Request::Skip => return self.wish(Wish::Skip),
            Request::Block(partner) => return self.wish(Wish::Block(partner)),
            Request::Report(partner, complaint) => return self.wish(Wish::Report(partner, complaint)),
            Request::Say(text) => return self.say(&text),
            Request::KeepChat(keep) => return self.feed(Input::Command(UserCommand::KeepChat(keep))),
            Request::SetInput(choice) => self.sound.set_input(choice),
            Request::SetOutput(choice) => self.sound.set_output(choice),
            Request::SetRing(choice) => self.sound.set_ring(choice),
            Request::UseHeldOutput => self.sound.use_held_output(),
            Request::SetProcessing(processing) => self.sound.set_processing(processing),
            Request::Check(on) => self.sound.check(on),
            Request::RelayOnly(only) => return self.relay_only(only),
            Request::Reconnect => return self.handle_news(News::Changed { to_server: true }),
            Request::TestSound => self.sound.test_sound(),
            Request::StartCheck { automatic } => return self.start_check(automatic),
            Request::StopCheck => {
                let now = self.now();
                self.checks.put_away(now);
            }
            Request::SaveReport(path) => self.outbox.save_report(path),
            Request::ListDevices => {
                let (sender, receiver) = oneshot::channel();
                tokio::task::spawn_blocking(move || sender.send(bellwire_media::devices()));
                self.listing = Some(receiver);
            }
        }
        Next::Changed
    }

    fn handle_link(&mut self, event: LinkEvent) -> Next {
        match event {
            LinkEvent::Connecting => {
                self.link_state = crate::Link::Connecting;
                Next::Changed
            }
            LinkEvent::Up { frames, resumed, you, server_time, server } => {
                if self.frames.take().is_some() {
                    // It takes over from one that was never down. What waited in that one is lost all the same.
                    self.link_is_down();
                }
                self.link_state = crate::Link::Up;
                self.attention.server = server;
                self.frames = Some(frames);
                self.you = Some(you);
                self.server_time_offset_ms = offset(server_time);
                self.checks.link_up(resumed);
                self.feed_room(meeting::Input::LinkUp { resumed });
                self.feed(Input::LinkUp { resumed })
            }
            LinkEvent::Event(event) => {
                self.bookings_known |= matches!(event, Event::Bookings { .. });
                match event {
                    Event::Room { .. }
                    | Event::RoomOver { .. }
                    | Event::DescriptionFrom { .. }
                    | Event::CandidatesFrom { .. }
                    | Event::Search { .. } => self.feed_room(meeting::Input::Server(event)),
                    Event::Call { .. }
                    | Event::Description { .. }
                    | Event::Candidates { .. }
                    | Event::Bookings { .. }
                    | Event::Presence { .. }
                    | Event::Readiness { .. }
                    | Event::Health { .. } => self.feed(Input::Server(event)),
                    Event::CheckAnswer { .. } | Event::CheckOffered { .. } | Event::CheckOver { .. } => {
                        let now = self.now();
                        self.checks.event(event, now);
                        Next::Changed
                    }
                }
            }
            LinkEvent::Reply { id, result } => {
                self.bookings_known |= matches!(result, Ok(Reply::Bookings { .. }));
                let now = self.now();
                self.checks.reply(&id, &result, now);
                self.feed_room(meeting::Input::Reply { id: id.clone(), result: result.clone() });
                self.feed(Input::Reply { id, result })
            }
            LinkEvent::Down { retry_in, why } => {
                let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
                self.link_state = crate::Link::Down { retry_in_ms, why };
                match self.frames.take() {
                    Some(_) => self.link_is_down(),
                    None => Next::Changed,
                }
            }
            LinkEvent::Stopped(stop) => self.handle_stop(stop),
        }
    }

    /// A token that ran out ends no call: its sound needs no server.
    fn handle_stop(&mut self, stop: Stop) -> Next {
        match stop {
            Stop::TokenRefused { code } if self.carries_sound() => {
                self.stopping = Some(stop);
                self.link_state = crate::Link::Down { retry_in_ms: u64::MAX, why: LinkFault::Refused(code) };
                self.frames = None;
                self.link_is_down()
            }
            Stop::TokenRefused { .. } | Stop::Replaced | Stop::VersionUnsupported | Stop::BadAddress => {
                Next::End(Some(stop))
            }
        }
    }

    fn handle_news(&mut self, news: News) -> Next {
        match news {
            News::NoNetwork => return Next::Same,
            News::Changed { to_server: true } => self.link.renew(),
            News::Changed { to_server: false } | News::Slept => self.link.doubt(),
        }
        self.measuring.network_changed();
        self.outbox.push(Update::NetworkChanged);
        self.feed_room(meeting::Input::NetworkChanged);
        self.feed(Input::NetworkChanged)
    }

    fn relay_only(&mut self, only: bool) -> Next {
        self.relay_only = only;
        self.wish(Wish::RelayOnly(only));
        self.feed(Input::Command(UserCommand::RelayOnly(only)))
    }

    fn handle_sound(&mut self, heard: Heard) -> Next {
        match heard {
            Heard::Call(event) => {
                self.outbox.note_event(&event);
                if let MediaEvent::Flowing { generation } = &event {
                    let now = self.now();
                    self.measuring.figures.iter_mut().for_each(|figures| figures.flows(now));
                    self.outbox.push(Update::Flowing { generation: *generation });
                }
                self.note_flow(bellwire_media::Leg::CALL.0, &event);
                self.feed(Input::Media(event))
            }
            Heard::Member { leg, event } => {
                self.note_flow(leg, &event);
                self.feed_room(meeting::Input::Media { leg, event })
            }
            Heard::TextOpen { leg } => {
                self.text_reaches(leg);
                Next::Changed
            }
            Heard::Text { leg, text } => {
                self.take_text(leg, &text);
                Next::Changed
            }
            Heard::Speaking { leg, speaking } => {
                if speaking {
                    self.speaking.insert(leg);
                } else {
                    self.speaking.remove(&leg);
                }
                Next::Changed
            }
            Heard::SpeakingMuted => {
                self.outbox.push(Update::SpeakingMuted { at: Instant::now() });
                Next::Same
            }
            Heard::Level { input, output } => {
                let now = self.now();
                self.measuring.figures.iter_mut().for_each(|figures| figures.take_level(output, now));
                self.outbox.push(Update::Level { input, output });
                Next::Same
            }
            Heard::Stats { leg, stats } => {
                if leg == bellwire_media::Leg::CALL.0 {
                    let now = self.now();
                    self.measuring.figures.iter_mut().for_each(|figures| figures.take_stats(&stats, now));
                }
                self.tell_stats(leg, stats);
                Next::Changed
            }
            Heard::Device(event) => {
                self.outbox.push(Update::Device(event));
                Next::Changed
            }
        }
    }

    fn feed(&mut self, input: Input) -> Next {
        self.endpoint.handle(input, self.now());
        Next::Changed
    }

    fn link_is_down(&mut self) -> Next {
        let now = self.now();
        self.checks.link_down(now);
        self.feed_room(meeting::Input::LinkDown);
        self.feed(Input::LinkDown)
    }

    /// Carries out what the machines want, then says how things stand.
    fn settle(&mut self) {
        self.settle_room();
        self.settle_figures();
        while let Some(output) = self.endpoint.poll_output() {
            self.carry_out(output);
        }
        self.settle_texts();
        if self.tones {
            let tone = self.endpoint.call().and_then(|call| tone_for(&call.state, call.you));
            self.sound.tone(tone);
        }
        self.settle_network();
        self.settle_checks();
        let snapshot = self.snapshot();
        if self.told.as_ref().is_none_or(|told| !snapshot.shows_the_same_as(told)) {
            self.told = Some(snapshot.clone());
            self.outbox.push(Update::Snapshot(Box::new(snapshot)));
        }
    }

    /// Tells link and watch how much hangs on them.
    fn settle_network(&mut self) {
        let urgency = self.endpoint.call().map_or(Urgency::Calm, |call| match call.state {
            State::Inviting | State::Ringing | State::Connecting | State::Connected => Urgency::Call,
            State::Reconnecting { .. } => Urgency::SoundLost,
            State::Elsewhere | State::Ended { .. } => Urgency::Calm,
        });
        self.attention.busy = urgency != Urgency::Calm || self.is_in_room();
        self.link.urgency(urgency.max(self.room_urgency()));
        self.network.attend(self.attention);
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send(frame) => self.send(frame),
            Output::Media(command) => {
                self.outbox.note_command(&command);
                self.sound.call(command);
            }
            Output::Notice(Notice::Refused { code, retry_after_ms }) => {
                self.outbox.push(Update::Refused { code, retry_after_ms });
            }
            Output::Notice(Notice::History(calls)) => self.outbox.push(Update::History(calls)),
        }
    }

    fn send(&mut self, frame: ClientFrame) {
        if let Some(frames) = &self.frames
            && let Err(mpsc::error::TrySendError::Full(_)) = frames.try_send(frame)
        {
            tracing::warn!("the socket takes nothing more; making a new one");
            self.frames = None;
            let now = self.now();
            self.endpoint.handle(Input::LinkDown, now);
            self.meeting.handle(meeting::Input::LinkDown, now);
        }
    }

    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Hangs up and closes everything. The server hears of the hang-up if it can be had now.
    async fn end(mut self, stop: Option<Stop>) {
        self.leave_rooms();
        self.settle();
        if self.call_is_open() {
            self.feed(Input::Command(UserCommand::HangUp));
            self.settle();
            let _ = tokio::time::timeout(LAST_WORDS, self.until_confirmed()).await;
        }
        self.link.close(self.frames.take(), GOODBYE).await;
        if tokio::time::timeout(SOUND_CLOSES, self.sound.shutdown()).await.is_err() {
            tracing::warn!("the devices did not close in time");
        }
        if let Some(stop) = stop {
            self.outbox.push(Update::Stopped(stop));
        }
    }

    async fn until_confirmed(&mut self) {
        while self.call_is_open() && self.frames.is_some() {
            match self.link.events.recv().await {
                Some(event) => drop(self.handle_link(event)),
                None => return,
            }
            self.settle();
        }
    }

    fn carries_sound(&self) -> bool {
        let heard = |room: meeting::RoomShown| room.members.iter().any(|member| member.sound == MemberSound::Heard);
        let in_room = self.is_in_room() && self.meeting.room().is_some_and(heard);
        in_room
            || self.endpoint.call().is_some_and(|call| match call.state {
                State::Connecting | State::Connected | State::Reconnecting { .. } => true,
                State::Inviting | State::Ringing | State::Elsewhere | State::Ended { .. } => false,
            })
    }

    /// Whether there is a call whose end the server has not told.
    fn call_is_open(&self) -> bool {
        self.endpoint.call().is_some_and(|call| match call.state {
            State::Inviting | State::Ringing | State::Connecting | State::Connected | State::Reconnecting { .. } => {
                true
            }
            State::Elsewhere => false,
            State::Ended { confirmed, .. } => !confirmed,
        })
    }
}

fn tone_for(state: &State, you: Side) -> Option<Tone> {
    match (state, you) {
        (State::Ringing, Side::Callee) => Some(Tone::Ring),
        (State::Ringing, Side::Caller) => Some(Tone::Ringback),
        (State::Reconnecting { .. }, Side::Caller | Side::Callee) => Some(Tone::Lost),
        (State::Inviting | State::Connecting | State::Connected | State::Elsewhere | State::Ended { .. }, _) => None,
    }
}

/// The list that was asked for. Safe to cancel; pending for ever while none was.
async fn listed(
    listing: &mut Option<oneshot::Receiver<Result<Vec<DeviceInfo>, DeviceFault>>>,
) -> Result<Vec<DeviceInfo>, DeviceFault> {
    let Some(receiver) = listing else {
        return std::future::pending().await;
    };
    let list = receiver.await.unwrap_or_else(|_| Err(DeviceFault::Other("the devices could not be listed".into())));
    *listing = None;
    list
}

fn offset(server_time: UnixMs) -> i64 {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let difference = i128::from(server_time.0) - i128::try_from(here).unwrap_or(i128::MAX);
    i64::try_from(difference).unwrap_or(0)
}
