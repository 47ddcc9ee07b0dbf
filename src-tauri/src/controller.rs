//! The one loop that owns everything: the client, the settings, what is known. Commands, windows and links send it an
//! [`Ask`]; it tells the windows what to show. Nothing else in the shell keeps state.

mod sound;

use crate::arguments::Arguments;
use crate::known::{Door, Follow, Known, Now, server_fault};
use crate::platform;
use crate::scope::is_whole_person;
use crate::sentence::Sentence;
use crate::settings::SettingsFile;
use crate::show::show;
use crate::view_model::{Because, Complaint, Level, Pick, ProcessingChoice, Screen, View};
use crate::windows::Windows;
use bellwire_client::media;
use bellwire_client::{
    BadLink, BookingId, CallId, Client, Config, DevPerson, Handle, JoinLink, LinkFault, NoiseSuppression, Processing,
    Request, RoomId, Token, Update, Updates, Url, dev_people,
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Asks that wait for the loop. Full, whoever asks waits: nothing that a person pressed is lost.
const ASKS: usize = 64;
/// Answers about a development server's people; there is one question at a time.
const ANSWERS: usize = 1;
/// Clocks show whole seconds; looking twice as often skips none.
const TICK: Duration = Duration::from_millis(500);

/// What the windows, the system and other instances can ask for. Not printable: links hold tokens.
pub enum Ask {
    /// A window has loaded its page.
    PageReady,
    /// A link that was typed.
    SignIn(String),
    /// A link that was opened from outside.
    OpenLink(String),
    FindPeople(String),
    /// By their place in the list.
    SignInAs(usize),
    SignOut,
    Call(BookingId),
    Accept,
    Decline(Because),
    HangUp,
    ToggleMute,
    Unmute,
    /// Space is held to speak, or was let go.
    Talk(bool),
    Dismiss,
    Check(bool),
    TestSound,
    /// Of sound and network.
    StartCheck,
    StopCheck,
    /// At what the check that ran by itself found.
    LookAtCheck,
    SaveReport,
    RelayOnly(bool),
    SetInput(Pick),
    SetOutput(Pick),
    SetRing(Pick),
    /// Play on the loudspeaker, though the headset is gone.
    UseHeldOutput,
    SetProcessing(ProcessingChoice),
    MoreHistory,
    OpenMicrophoneSettings,
    Search,
    StopSearching,
    NextPerson,
    Block,
    Report(Complaint),
    /// Again, through the door of this sign-in.
    EnterRoom,
    /// Leaves the room or the match.
    Leave,
    LockRoom(bool),
    RemoveMember(Handle),
    OpenText(bool),
    Say(String),
    KeepText(bool),
    /// Another start of the app: come to the front.
    ComeForward,
    /// The ring window was closed by hand: the main window still shows the ring.
    RingWindowClosed,
    CloseMain,
    /// The system wants the app to end.
    Quit,
}

/// The way to the controller.
#[derive(Clone)]
pub struct Controls(mpsc::Sender<Ask>);

impl Controls {
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(ASKS);
        (Self(sender), receiver)
    }

    /// False when the app is ending.
    pub async fn ask(&self, ask: Ask) -> bool {
        self.0.send(ask).await.is_ok()
    }

    /// For where nothing can wait: the windows' own events.
    pub fn ask_from_outside(&self, ask: Ask) {
        let controls = self.clone();
        tauri::async_runtime::spawn(async move { controls.ask(ask).await });
    }
}

pub struct Controller {
    asks: mpsc::Receiver<Ask>,
    windows: Windows,
    settings: SettingsFile,
    media: media::Config,
    known: Known,
    running: Option<(Client, Updates)>,
    people: mpsc::Receiver<Result<Vec<DevPerson>, LinkFault>>,
    people_sender: mpsc::Sender<Result<Vec<DevPerson>, LinkFault>>,
    dev_server: Option<Url>,
    shown: Option<View>,
    /// The ring whose window was closed by hand.
    ring_put_aside: Option<(BookingId, Option<CallId>)>,
    close_warned: bool,
}

impl Controller {
    pub fn new(asks: mpsc::Receiver<Ask>, windows: Windows, settings: SettingsFile, arguments: &Arguments) -> Self {
        let kept = settings.get();
        let media = media::Config {
            input: arguments.input.clone().unwrap_or_else(|| kept.input.clone()),
            output: arguments.output.clone().unwrap_or_else(|| kept.output.clone()),
            processing: Processing {
                echo_cancellation: kept.processing.echo_cancellation && !arguments.no_aec,
                noise_suppression: if arguments.no_ns {
                    NoiseSuppression::Off
                } else {
                    kept.processing.noise_suppression
                },
                gain_control: kept.processing.gain_control && !arguments.no_agc,
                original_sound: kept.processing.original_sound,
            },
            ring: kept.ring.clone(),
            bind: arguments.bind,
            ..media::Config::default()
        };
        let server_field = arguments.server.as_ref().map(Url::to_string);
        let (people_sender, people) = mpsc::channel(ANSWERS);
        let known = Known {
            dev_server: server_field.or_else(|| cfg!(debug_assertions).then(String::new)),
            permission_page: platform::MICROPHONE_SETTINGS.is_some(),
            ..Known::default()
        };
        Self {
            asks,
            windows,
            settings,
            media,
            known,
            running: None,
            people,
            people_sender,
            dev_server: None,
            shown: None,
            ring_put_aside: None,
            close_warned: false,
        }
    }

    /// Runs until the app ends. `link` and `server` are those of the command line.
    pub async fn run(mut self, link: Option<String>, server: Option<Url>) {
        if let Some(link) = link {
            self.sign_in(&link).await;
        } else if let Some(server) = server {
            self.find_people(server.as_str());
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.show();
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(Ask::CloseMain) if self.keeps_open() => {}
                    Some(Ask::CloseMain | Ask::Quit) | None => break,
                    Some(ask) => self.handle(ask).await,
                },
                update = next(&mut self.running) => self.take(update).await,
                Some(people) = self.people.recv() => self.take_people(people),
                _ = tick.tick(), if self.running.is_some() => {}
            }
        }
        self.let_go().await;
        self.windows.end();
    }

    async fn handle(&mut self, ask: Ask) {
        let outside = matches!(ask, Ask::PageReady | Ask::ComeForward | Ask::RingWindowClosed);
        if !outside {
            self.known.remark = None;
            self.close_warned = false;
        }
        match ask {
            Ask::PageReady => self.shown = None,
            Ask::SignIn(link) => self.sign_in(&link).await,
            Ask::OpenLink(link) => self.open_link(&link).await,
            Ask::FindPeople(server) => self.find_people(&server),
            Ask::SignInAs(at) => self.sign_in_as(at).await,
            Ask::SignOut => {
                self.let_go().await;
                self.known.sign_out();
            }
            Ask::Call(booking) => self.request(Request::Call(booking)),
            Ask::Accept => self.request(Request::Accept),
            Ask::Decline(because) => self.request(Request::Decline(because.into())),
            Ask::HangUp => self.request(Request::HangUp),
            Ask::ToggleMute => self.toggle_mute(),
            Ask::Unmute => self.unmute(),
            Ask::Talk(held) => self.talk(held),
            Ask::Dismiss => self.request(Request::Dismiss),
            Ask::Search => self.search(),
            Ask::StopSearching => self.request(Request::StopSearching),
            Ask::NextPerson => self.skip(),
            Ask::Block => self.block(),
            Ask::Report(complaint) => self.report(complaint),
            Ask::EnterRoom => self.enter_room(),
            Ask::Leave => self.leave(),
            Ask::LockRoom(locked) => self.request(Request::LockRoom(locked)),
            Ask::RemoveMember(member) => self.request(Request::RemoveMember(member)),
            Ask::OpenText(open) => self.known.text.open(open),
            Ask::Say(text) => self.request(Request::Say(text)),
            Ask::KeepText(keep) => self.request(Request::KeepChat(keep)),
            Ask::Check(on) => self.check(on),
            Ask::TestSound => {
                self.known.sound_played = true;
                self.request(Request::TestSound);
            }
            Ask::StartCheck => self.start_check(),
            Ask::StopCheck => self.stop_check(),
            Ask::LookAtCheck => self.known.begin_trial(),
            Ask::SaveReport => self.save_report(),
            Ask::RelayOnly(only) => {
                self.settings.change(|settings| settings.relay_only = only);
                self.request(Request::RelayOnly(only));
            }
            Ask::SetInput(pick) => self.set_input(pick),
            Ask::SetOutput(pick) => self.set_output(pick),
            Ask::SetRing(pick) => self.set_ring(pick),
            Ask::UseHeldOutput => self.request(Request::UseHeldOutput),
            Ask::SetProcessing(choice) => self.set_processing(choice),
            Ask::MoreHistory => {
                let before = self.known.history.last().map(|call| call.ended_at);
                self.request(Request::History { before });
            }
            Ask::OpenMicrophoneSettings => self.windows.open_microphone_settings(),
            Ask::ComeForward => self.windows.come_forward(),
            Ask::RingWindowClosed => self.ring_put_aside = self.ring(),
            // Handled by `run`.
            Ask::CloseMain | Ask::Quit => {}
        }
    }

    async fn take(&mut self, update: Option<Update>) {
        let Some(update) = update else {
            self.let_go().await;
            self.known.sign_out();
            return;
        };
        if let Update::Level { input, output } = update {
            self.windows.level(Level { input, output });
        }
        let devices_changed = matches!(update, Update::Device(_));
        let was_checking = self.known.checking;
        let talked = self.known.talks();
        match self.known.take(update) {
            Follow::Nothing => {}
            Follow::FetchHistory => self.request(Request::History { before: None }),
            Follow::EnterRoom => self.enter_room(),
            Follow::LetGo => self.let_go().await,
        }
        if was_checking && !self.known.checking {
            self.request(Request::Check(false));
        }
        let talks = self.known.talks();
        if (talks && !talked) || devices_changed {
            self.request(Request::ListDevices);
        }
        if talked && !talks {
            self.close_warned = false;
        }
    }

    /// Emits the view if it is another one than was shown, and keeps the ring window to the ring.
    fn show(&mut self) {
        let view = show(&self.known, now());
        let ring = self.ring();
        let rings = matches!(view.screen, Screen::Incoming(_)) && ring != self.ring_put_aside;
        if ring.is_none() {
            self.ring_put_aside = None;
        }
        self.windows.ring(rings);
        if self.shown.as_ref() != Some(&view) {
            self.windows.view(&view);
            self.shown = Some(view);
        }
    }

    /// The call that there is.
    fn ring(&self) -> Option<(BookingId, Option<CallId>)> {
        let call = self.known.snapshot.as_ref()?.call.as_ref()?;
        Some((call.booking.clone(), call.call.clone()))
    }

    fn request(&self, request: Request) {
        if let Some((client, _)) = &self.running {
            client.request(request);
        }
    }

    // signing in

    async fn open_link(&mut self, link: &str) {
        self.windows.come_forward();
        if self.known.talks() {
            self.known.remark = Some(Sentence::LinkWaits {});
        } else {
            self.sign_in(link).await;
        }
    }

    async fn sign_in(&mut self, link: &str) {
        match JoinLink::parse(link) {
            Ok(JoinLink { server, token, room }) => self.start(server, token, room).await,
            // Whoever is signed in stays so.
            Err(bad) if self.known.client => self.known.remark = Some(bad_link(bad)),
            Err(bad) => self.known.problem = Some(bad_link(bad)),
        }
    }

    async fn sign_in_as(&mut self, at: usize) {
        let person = self.known.people.get(at).map(|person| person.token.clone());
        if let (Some(token), Some(server)) = (person, self.dev_server.clone()) {
            self.start(server, token, None).await;
        }
    }

    async fn start(&mut self, server: Url, token: Token, room: Option<RoomId>) {
        self.let_go().await;
        self.known.signing_in();
        self.known.whole_person = is_whole_person(&token);
        self.known.door = room.map(Door::to);
        let device = self.settings.get().device.clone();
        let relay_only = self.settings.get().relay_only;
        let config = Config {
            server,
            token,
            device,
            media: self.media.clone(),
            tones: true,
            relay_only,
            checks_by_itself: true,
        };
        self.running = Some(Client::start(config));
    }

    fn find_people(&mut self, server: &str) {
        if self.known.client || self.known.finding {
            return;
        }
        self.known.people.clear();
        self.known.problem = None;
        self.known.dev_server = Some(server.to_owned());
        let Ok(server) = Url::parse(server.trim()) else {
            self.known.problem = Some(Sentence::ServerAddressBad {});
            return;
        };
        self.known.finding = true;
        self.dev_server = Some(server.clone());
        let answer = self.people_sender.clone();
        tokio::spawn(async move {
            let people = dev_people(&server).await;
            // The controller is gone only when the app ends.
            let _ = answer.send(people).await;
        });
    }

    fn take_people(&mut self, people: Result<Vec<DevPerson>, LinkFault>) {
        self.known.finding = false;
        if self.known.client {
            return;
        }
        match people {
            Ok(people) if people.is_empty() => self.known.problem = Some(Sentence::NoPeople {}),
            Ok(people) => self.known.people = people,
            Err(why) => self.known.problem = Some(server_fault(why, None)),
        }
    }

    /// Ends the client, if there is one: it hangs up and says goodbye.
    async fn let_go(&mut self) {
        if let Some((client, _)) = self.running.take() {
            client.shutdown().await;
        }
    }

    // in a call or a room

    fn toggle_mute(&mut self) {
        if let Some(muted) = self.known.muted() {
            self.known.talking = false;
            self.request(Request::Mute(!muted));
        }
    }

    fn unmute(&mut self) {
        if self.known.muted() == Some(true) {
            self.toggle_mute();
        }
    }

    /// Holding Space while muted speaks; letting it go is muted again.
    fn talk(&mut self, held: bool) {
        let muted = self.known.muted() == Some(true);
        if held && muted && !self.known.talking {
            self.known.talking = true;
            self.request(Request::Mute(false));
        } else if !held && self.known.talking {
            self.known.talking = false;
            self.request(Request::Mute(true));
        }
    }

    /// What is over is put away first.
    fn search(&mut self) {
        if self.known.snapshot.as_ref().is_some_and(|snapshot| snapshot.room.is_some()) {
            self.request(Request::Dismiss);
        }
        self.request(Request::Search);
    }

    fn skip(&mut self) {
        if let Some(partner) = &mut self.known.partner {
            partner.skipped = true;
        }
        self.request(Request::Skip);
    }

    fn enter_room(&mut self) {
        if let Some(door) = &mut self.known.door {
            door.refused = None;
            let room = door.room.clone();
            self.request(Request::EnterRoom(room));
        }
    }

    fn leave(&self) {
        let matched = self.known.live_room().is_none_or(|room| room.matched);
        self.request(if matched { Request::StopSearching } else { Request::LeaveRoom });
    }

    fn block(&mut self) {
        if let Some(partner) = &mut self.known.partner {
            partner.blocked = true;
            let handle = partner.handle.clone();
            self.request(Request::Block(handle));
        }
    }

    fn report(&mut self, complaint: Complaint) {
        if let Some(partner) = &mut self.known.partner {
            partner.reported = true;
            let handle = partner.handle.clone();
            self.request(Request::Report(handle, complaint.into()));
        }
    }

    fn check(&mut self, on: bool) {
        if on && !self.known.talks() {
            self.known.begin_check();
            self.request(Request::ListDevices);
        } else {
            self.known.checking = false;
        }
        self.request(Request::Check(self.known.checking));
    }

    /// What is over is put away first; what it opened is closed.
    fn start_check(&mut self) {
        if self.known.talks() {
            return;
        }
        if self.known.checking {
            self.check(false);
        }
        if self.known.snapshot.as_ref().is_some_and(|snapshot| snapshot.call.is_some()) {
            self.request(Request::Dismiss);
        }
        self.known.begin_trial();
        self.request(Request::ListDevices);
        self.request(Request::StartCheck { automatic: false });
    }

    /// What a check that ran by itself found stays on its booking's card.
    fn stop_check(&mut self) {
        self.known.trial = false;
        if !self.known.has_own_report() {
            self.request(Request::StopCheck);
        }
    }

    fn save_report(&mut self) {
        self.known.report = None;
        match self.windows.report_path() {
            Ok(path) => self.request(Request::SaveReport(path)),
            Err(why) => self.known.report = Some(Err(why)),
        }
    }

    /// In a call the first wish to close the window is answered by saying what it would do.
    fn keeps_open(&mut self) -> bool {
        let keeps = self.known.talks() && !self.close_warned;
        if keeps {
            self.close_warned = true;
            let in_a_call = self.known.in_a_call();
            self.known.remark = Some(if in_a_call { Sentence::CloseEndsCall {} } else { Sentence::CloseLeavesRoom {} });
        }
        keeps
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { at: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}

/// The next update; never, while there is no client.
async fn next(running: &mut Option<(Client, Updates)>) -> Option<Update> {
    match running {
        Some((_, updates)) => updates.next().await,
        None => std::future::pending().await,
    }
}

fn bad_link(bad: BadLink) -> Sentence {
    match bad {
        BadLink::NotALink => Sentence::LinkNotALink {},
        BadLink::NotBellwire => Sentence::LinkNotBellwire {},
        BadLink::NoServer | BadLink::NoToken | BadLink::BadToken | BadLink::NoRoom => Sentence::LinkIncomplete {},
        BadLink::BadServer => Sentence::LinkBadServer {},
    }
}

impl From<Because> for bellwire_client::Because {
    fn from(because: Because) -> Self {
        match because {
            Because::NotNow => Self::NotNow,
            Because::InTwoMinutes => Self::InTwoMinutes,
            Because::WrongTime => Self::WrongTime,
            Because::Unwell => Self::Unwell,
        }
    }
}

impl From<Complaint> for bellwire_client::Complaint {
    fn from(complaint: Complaint) -> Self {
        match complaint {
            Complaint::Abusive => Self::Abusive,
            Complaint::Unsafe => Self::Unsafe,
            Complaint::Spam => Self::Spam,
            Complaint::Other => Self::Other,
        }
    }
}
