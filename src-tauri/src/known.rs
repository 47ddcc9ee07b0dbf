//! What the shell knows at one moment, and how each update of the client changes it. Pure: [`show`](crate::show::show)
//! makes the view from it, the controller keeps it.

mod devices;
mod refusals;
mod text;

pub use devices::DevicesSeen;
pub use refusals::server_fault;
pub use text::TextSeen;

use crate::quality::Quality;
use crate::sentence::Sentence;
use bellwire_client::{
    CallRecord, ChatNow, CurrentCall, DevPerson, DeviceFault, DeviceInfo, DeviceState, EndReason, Handle, Link,
    LinkFault, RoomId, RoomNow, SearchView, Side, Snapshot, State, Stats, Update,
};
use refusals::{Where, refused, stopped};
use std::path::PathBuf;
use std::time::Instant;

/// The moment for which a view is made.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub at: Instant,
    /// By this machine's clock, milliseconds since 1970.
    pub unix_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Nobody is signed in, and this is wrong.
    pub problem: Option<Sentence>,
    /// Development: who can be picked.
    pub people: Vec<DevPerson>,
    /// Development: the server whose people can be asked for; empty while none was named.
    pub dev_server: Option<String>,
    /// The people are being asked for.
    pub finding: bool,
    /// A client runs: signing in, or signed in.
    pub client: bool,
    pub snapshot: Option<Snapshot>,
    /// Why the link was lost last.
    pub lost: Option<LinkFault>,
    pub history: Vec<CallRecord>,
    pub more_history: bool,
    pub devices: Option<Result<Vec<DeviceInfo>, DeviceFault>>,
    /// The screen of the check is open.
    pub checking: bool,
    /// The screen of the check of sound and network is open.
    pub trial: bool,
    /// Where the report of the last call is, or why it is nowhere.
    pub report: Option<Result<PathBuf, String>>,
    pub heard: Heard,
    pub sound_played: bool,
    pub quality: Quality,
    /// The microphone was open at some time in this call.
    pub microphone_was_open: bool,
    /// Said once, until the next thing that this person does.
    pub remark: Option<Sentence>,
    /// Somebody spoke into the muted microphone.
    pub spoke_muted_at: Option<Instant>,
    /// Which devices the conversation had, and what became of them.
    pub devices_seen: DevicesSeen,
    /// Space is held to speak.
    pub talking: bool,
    /// The system has a page for the microphone's permission.
    pub permission_page: bool,
    /// The sign-in is good for all that this person may do: the queue for the next partner is offered.
    pub whole_person: bool,
    /// The room that the link of this sign-in leads to.
    pub door: Option<Door>,
    /// With whom the queue brought this person together last.
    pub partner: Option<Partner>,
    pub text: TextSeen,
    /// Who came into the room or left it last; read out.
    pub room_news: Option<RoomNews>,
}

/// A room that can be entered.
#[derive(Clone, Debug)]
pub struct Door {
    pub room: RoomId,
    /// Why it stays shut.
    pub refused: Option<Sentence>,
    /// This person was inside.
    pub left: bool,
}

impl Door {
    pub fn to(room: RoomId) -> Self {
        Self { room, refused: None, left: false }
    }
}

#[derive(Clone, Debug)]
pub struct Partner {
    pub handle: Handle,
    pub name: String,
    pub blocked: bool,
    pub reported: bool,
    /// This person went on to the next one.
    pub skipped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomNews {
    Came(String),
    Went(String),
}

/// Whether speech was heard since the check began.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    loud: u32,
}

/// A level of 0.35 is -39 dBFS: speech near a microphone is well above it, a quiet room well below.
const SPEECH: f32 = 0.35;
/// Tenths of a second.
const SPEECH_LASTS: u32 = 3;

impl Heard {
    pub fn speech(&self) -> bool {
        self.loud >= SPEECH_LASTS
    }

    fn take(&mut self, input: f32) {
        if input > SPEECH {
            self.loud += 1;
        }
    }
}

/// What the controller does about an update, beside showing what is known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    Nothing,
    /// Ask for the newest page of the history.
    FetchHistory,
    /// Ask to be let into the room behind the door.
    EnterRoom,
    /// The client has ended: let it go.
    LetGo,
}

impl Known {
    pub fn take(&mut self, update: Update) -> Follow {
        match update {
            Update::Snapshot(snapshot) => self.take_snapshot(*snapshot),
            Update::Level { input, output: _ } => {
                if self.checking {
                    self.heard.take(input);
                }
                Follow::Nothing
            }
            Update::Stats(stats) => self.take_stats(&stats),
            Update::SpeakingMuted { at } => {
                self.spoke_muted_at = Some(at);
                Follow::Nothing
            }
            Update::MemberStats { .. } | Update::Flowing { generation: _ } | Update::NetworkChanged => Follow::Nothing,
            Update::Refused { code, retry_after_ms } => {
                let place = self.place();
                let why = refused(code, retry_after_ms, place);
                match (&mut self.door, place) {
                    (Some(door), Where::Door) => door.refused = Some(why),
                    (_, Where::Door | Where::Room | Where::Elsewhere) => self.remark = Some(why),
                }
                Follow::Nothing
            }
            Update::History(calls) => {
                self.take_history(calls);
                Follow::Nothing
            }
            Update::Devices(devices) => {
                self.devices = Some(devices);
                Follow::Nothing
            }
            Update::ReportSaved(saved) => {
                self.report = Some(saved);
                Follow::Nothing
            }
            // The snapshot that comes with it says the same.
            Update::Device(_) => Follow::Nothing,
            Update::Stopped(stop) => {
                self.sign_out();
                self.problem = Some(stopped(stop));
                Follow::LetGo
            }
        }
    }

    /// A client was started.
    pub fn signing_in(&mut self) {
        self.sign_out();
        self.client = true;
    }

    /// The client is gone, and with it all that it said.
    pub fn sign_out(&mut self) {
        *self = Self {
            people: std::mem::take(&mut self.people),
            dev_server: self.dev_server.take(),
            permission_page: self.permission_page,
            ..Self::default()
        };
    }

    /// The other party is in a call with this person, or about to be.
    pub fn in_a_call(&self) -> bool {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.call.as_ref()).is_some_and(|call| is_live(&call.state))
    }

    pub fn live_room(&self) -> Option<&RoomNow> {
        self.snapshot.as_ref().and_then(live_room)
    }

    /// In a conversation of any kind, or about to be.
    pub fn talks(&self) -> bool {
        self.in_a_call() || self.live_room().is_some()
    }

    /// Whether this person's microphone is off in the call or the room.
    pub fn muted(&self) -> Option<bool> {
        let call = self.snapshot.as_ref().and_then(|snapshot| snapshot.call.as_ref());
        let call = call.filter(|call| is_live(&call.state)).map(|call| call.muted);
        call.or(self.live_room().map(|room| room.muted))
    }

    fn place(&self) -> Where {
        match (&self.door, self.live_room()) {
            (_, Some(_)) => Where::Room,
            (Some(_), None) => Where::Door,
            (None, None) => Where::Elsewhere,
        }
    }

    /// A check that is looked at: one that goes on, or the report of one.
    pub fn begin_trial(&mut self) {
        self.checking = false;
        self.trial = true;
    }

    /// A check that ran by itself is done.
    pub fn has_own_report(&self) -> bool {
        let check = self.snapshot.as_ref().and_then(|snapshot| snapshot.check.as_ref());
        check.is_some_and(|check| check.automatic && check.report.is_some())
    }

    pub fn begin_check(&mut self) {
        self.trial = false;
        self.checking = true;
        self.heard = Heard::default();
        self.sound_played = false;
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) -> Follow {
        match &snapshot.link {
            Link::Connecting => {}
            Link::Up => self.lost = None,
            Link::Down { why, .. } => self.lost = Some(*why),
        }
        let before = self.snapshot.take();
        let before = before.as_ref();
        let signed_in = before.is_none_or(|before| before.you.is_none()) && snapshot.you.is_some();
        let call = snapshot.call.as_ref();
        let call_before = before.and_then(|before| before.call.as_ref());
        let live = call.is_some_and(|call| is_live(&call.state));
        let was_live = call_before.is_some_and(|call| is_live(&call.state));
        let talk_before = before.and_then(talk);
        if let Some(now) = talk(&snapshot) {
            let before = talk_before.filter(|before| before.is(&now));
            if before.is_none() {
                self.begin_talk();
            }
            self.text.take(before.as_ref().map_or(&[], Talk::chat), now.chat());
        }
        if was_live && !live {
            self.talking = false;
            self.remark = None;
        }
        let checked = |snapshot: &Snapshot| snapshot.check.as_ref().is_some_and(|check| !check.automatic);
        if self.trial && before.is_some_and(checked) && snapshot.check.is_none() {
            (self.trial, self.remark) = (false, Some(Sentence::TrialBroke {}));
        }
        let gone = call_before.is_some() && call.is_none();
        let ended = was_live && !live;
        self.take_room(before, &snapshot);
        self.take_partner(&snapshot);
        if (live || live_room(&snapshot).is_some()) && matches!(snapshot.input, DeviceState::Open { .. }) {
            self.microphone_was_open = true;
        }
        self.devices_seen.take(&snapshot);
        self.snapshot = Some(snapshot);
        match (signed_in, &self.door) {
            (true, Some(_)) => Follow::EnterRoom,
            (true, None) => Follow::FetchHistory,
            (false, _) if gone || ended => Follow::FetchHistory,
            (false, _) => Follow::Nothing,
        }
    }

    fn begin_talk(&mut self) {
        self.quality = Quality::default();
        self.microphone_was_open = false;
        self.spoke_muted_at = None;
        self.devices_seen = DevicesSeen::default();
        self.checking = false;
        self.trial = false;
        self.report = None;
        self.remark = None;
        self.talking = false;
        self.text = TextSeen::default();
    }

    fn take_room(&mut self, before: Option<&Snapshot>, now: &Snapshot) {
        match (before.and_then(live_room), live_room(now)) {
            (Some(before), Some(now)) if before.room == now.room => {
                let came = now.members.iter().find(|member| before.members.iter().all(|b| b.member != member.member));
                let went = before.members.iter().find(|member| now.members.iter().all(|n| n.member != member.member));
                let news = came.map(|member| RoomNews::Came(member.name.clone()));
                let news = news.or(went.map(|member| RoomNews::Went(member.name.clone())));
                self.room_news = news.or(self.room_news.take());
            }
            (_, Some(_)) => {
                self.room_news = None;
                if let Some(door) = &mut self.door {
                    *door = Door { left: true, ..Door::to(door.room.clone()) };
                }
            }
            (Some(_), None) => (self.talking, self.remark) = (false, None),
            (None, None) => {}
        }
    }

    /// Who the other one is, remembered beyond the conversation: they can still be blocked and reported then.
    fn take_partner(&mut self, now: &Snapshot) {
        let (handle, name) = match &now.search {
            SearchView::Matched { partner, name, .. } => (partner, name),
            SearchView::Idle {} | SearchView::Waiting { .. } => return,
        };
        if self.partner.as_ref().is_none_or(|known| known.handle != *handle) {
            let (handle, name) = (handle.clone(), name.clone());
            self.partner = Some(Partner { handle, name, blocked: false, reported: false, skipped: false });
        }
    }

    fn take_stats(&mut self, stats: &Stats) -> Follow {
        self.quality.take(stats);
        Follow::Nothing
    }

    /// A page: older calls are added, newer ones replace what is known of them.
    fn take_history(&mut self, calls: Vec<CallRecord>) {
        // A full page is followed by another, perhaps an empty one; a page after it says so.
        let full = calls.len() >= usize::from(bellwire_client::signaling::limits::HISTORY_PAGE);
        let oldest_known = self.history.last().map(|call| call.ended_at);
        let reaches_further = match (calls.last(), oldest_known) {
            (Some(last), Some(oldest)) => last.ended_at < oldest,
            (Some(_), None) | (None, _) => true,
        };
        if reaches_further {
            self.more_history = full;
        }
        for call in calls {
            match self.history.iter_mut().find(|known| known.call == call.call) {
                Some(known) => *known = call,
                None => self.history.push(call),
            }
        }
        self.history.sort_by(|a, b| b.ended_at.cmp(&a.ended_at).then_with(|| a.call.cmp(&b.call)));
    }
}

/// A call that can still be ended.
pub fn is_live(state: &State) -> bool {
    match state {
        State::Inviting | State::Ringing | State::Connecting | State::Connected | State::Reconnecting { .. } => true,
        State::Elsewhere | State::Ended { .. } => false,
    }
}

/// The room that this person is in.
pub fn live_room(snapshot: &Snapshot) -> Option<&RoomNow> {
    snapshot.room.as_ref().filter(|room| room.over.is_none())
}

/// What this person talks in: one call or one room.
#[derive(Clone, Copy, Debug)]
enum Talk<'a> {
    Call(&'a CurrentCall),
    Room(&'a RoomNow),
}

/// The call or the room that goes on. One that rings is none yet while there is a room.
fn talk(snapshot: &Snapshot) -> Option<Talk<'_>> {
    let call = snapshot.call.as_ref().filter(|call| is_live(&call.state));
    match (call, live_room(snapshot)) {
        (Some(call), Some(room)) if call.state == State::Ringing && call.you == Side::Callee => Some(Talk::Room(room)),
        (Some(call), _) => Some(Talk::Call(call)),
        (None, room) => room.map(Talk::Room),
    }
}

impl Talk<'_> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Call(this), Self::Call(other)) => this.booking == other.booking,
            (Self::Room(this), Self::Room(other)) => this.room == other.room,
            (Self::Call(_), Self::Room(_)) | (Self::Room(_), Self::Call(_)) => false,
        }
    }

    fn chat(&self) -> &[ChatNow] {
        match self {
            Self::Call(call) => &call.chat,
            Self::Room(room) => &room.chat,
        }
    }
}

/// Whether this reason means for the callee that a call was missed.
pub fn is_missed(reason: EndReason) -> bool {
    match reason {
        EndReason::Cancelled | EndReason::NoAnswer | EndReason::Busy => true,
        EndReason::HungUp
        | EndReason::Declined
        | EndReason::MediaFailed
        | EndReason::MediaLost
        | EndReason::BookingCancelled => false,
    }
}

/// Whole seconds, the part of one counted as one.
pub fn seconds_up(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Whole seconds that have gone by.
pub fn seconds_down(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}
