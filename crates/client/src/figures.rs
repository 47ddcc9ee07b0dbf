//! What is measured of the call that goes on: this device's health, why it sounds bad, and how it sounded in all.
//!
//! One of these lives from the accept to the end of a call. Its owner hands in what the sound engine says and asks for a
//! [`second`](Figures::second) when one is due: with each second's statistics, and by the clock while there are none.

use crate::DeviceState;
use crate::quality::Gathered;
use bellwire_call::explain::{Explainer, Explanation, Second, Stage};
use bellwire_call::{CallNow, Monotonic, State};
use bellwire_media::{DeviceFault, Stats};
use bellwire_signaling::{Access, CallId, CallQuality, Health, MicrophoneHealth, Receives, SpeakerHealth};

/// Without a packet for so long, nothing is received.
const NOTHING_MS: u64 = 2_000;
/// Nothing above the meter's floor, -60 dBFS, for so long is silence.
const SILENCE_MS: u64 = 5_000;
/// A voice that came back is said to for so long: nothing can be heard of it while nobody speaks.
const ECHO_MS: u64 = 10_000;
const SECOND_MS: u64 = 1_000;
/// Where the last second had statistics, those of this one are waited for a little.
const WAITED_MS: u64 = 1_500;
/// Statistics that follow sooner are no second of their own: two connections give them while one replaces the other.
const SHORTEST_MS: u64 = 500;

pub(crate) struct Figures {
    pub call: CallId,
    pub health: Health,
    pub explanation: Option<Explanation>,
    explainer: Explainer,
    gathered: Gathered,
    /// Of this second, until it is taken in.
    stats: Option<Box<Stats>>,
    packets: Packets,
    packet_at: Option<Monotonic>,
    sound_at: Option<Monotonic>,
    /// Our own voice came back last.
    echo_at: Option<Monotonic>,
    lost_since: Option<Monotonic>,
    last_at: Monotonic,
    next_at: Monotonic,
}

/// Packets of all connections of the call, of which each counts its own.
#[derive(Default)]
struct Packets {
    generation: u32,
    of_this: u64,
    of_earlier: u64,
}

impl Packets {
    /// Whether more have come.
    fn take(&mut self, stats: &Stats) -> bool {
        let before = self.all();
        if stats.generation != self.generation || stats.packets_in < self.of_this {
            self.of_earlier += self.of_this;
            self.of_this = 0;
            self.generation = stats.generation;
        }
        self.of_this = stats.packets_in;
        self.all() > before
    }

    fn all(&self) -> u64 {
        self.of_earlier + self.of_this
    }
}

/// What of this device goes into its health.
pub(crate) struct Here<'a> {
    pub input: &'a DeviceState,
    pub output: &'a DeviceState,
    pub access: Option<Access>,
    pub link_up: bool,
}

impl Figures {
    pub(crate) fn of(call: CallId, now: Monotonic) -> Self {
        Self {
            call,
            health: Health::default(),
            explanation: None,
            explainer: Explainer::new(),
            gathered: Gathered::default(),
            stats: None,
            packets: Packets::default(),
            packet_at: None,
            sound_at: None,
            echo_at: None,
            lost_since: None,
            last_at: now,
            next_at: now,
        }
    }

    pub(crate) fn take_stats(&mut self, stats: &Stats, now: Monotonic) {
        if self.packets.take(stats) {
            self.packet_at = Some(now);
        }
        if stats.own_voice_back_db.is_some() {
            self.echo_at = Some(now);
        }
        self.stats = Some(Box::new(stats.clone()));
        if now.since(self.last_at) >= SHORTEST_MS {
            self.next_at = now;
        }
    }

    /// Frames of the other party are being played.
    pub(crate) fn flows(&mut self, now: Monotonic) {
        self.packet_at = Some(now);
        self.packets.of_earlier += 1;
    }

    /// The meter of the speaker, 0 to 1.
    pub(crate) fn take_level(&mut self, output: f32, now: Monotonic) {
        if output > 0.0 {
            self.sound_at = Some(now);
        }
    }

    /// When [`second`](Self::second) wants to be asked next.
    pub(crate) fn due(&self) -> Monotonic {
        self.next_at
    }

    /// Follows the call between the seconds.
    pub(crate) fn follow(&mut self, call: &CallNow, now: Monotonic) {
        match (&call.state, self.lost_since) {
            (State::Reconnecting { since }, None) => {
                self.lost_since = Some(*since);
                self.gathered.sound_lost();
            }
            (State::Reconnecting { .. }, Some(_)) | (_, None) => {}
            (
                State::Inviting
                | State::Ringing
                | State::Connecting
                | State::Connected
                | State::Elsewhere
                | State::Ended { .. },
                Some(since),
            ) => {
                self.gathered.sound_was_lost_for(now.since(since));
                self.lost_since = None;
            }
        }
    }

    /// Takes a second in if one has gone by. Whether it did.
    pub(crate) fn second(&mut self, call: &CallNow, here: &Here<'_>, now: Monotonic) -> bool {
        if now < self.next_at {
            return false;
        }
        self.last_at = now;
        self.next_at = now.plus(if self.stats.is_some() { WAITED_MS } else { SECOND_MS });
        let stage = match call.state {
            State::Connected => Stage::Connected,
            State::Reconnecting { .. } => Stage::Reconnecting,
            State::Inviting | State::Ringing | State::Connecting | State::Elsewhere | State::Ended { .. } => {
                Stage::Connecting
            }
        };
        self.health = self.health_now(here, now);
        let stats = self.stats.take();
        let of = |value: fn(&Stats) -> f32| stats.as_deref().map(value);
        let second = Second {
            stage,
            link_up: here.link_up,
            packets_in: self.packets.all(),
            round_trip_ms: stats.as_ref().and_then(|stats| stats.round_trip_ms),
            jitter_in_ms: of(|stats| stats.jitter_in_ms),
            jitter_out_ms: stats.as_ref().and_then(|stats| stats.jitter_out_ms),
            loss_in: of(|stats| stats.loss_in),
            loss_out: stats.as_ref().and_then(|stats| stats.loss_out),
            concealed: of(|stats| stats.concealed),
            buffer_ms: of(|stats| stats.buffer_ms),
            bitrate_in: stats.as_ref().map(|stats| stats.bitrate_in),
            bitrate_out: stats.as_ref().map(|stats| stats.bitrate_out),
            muted: call.muted,
            peer_muted: call.peer_muted,
            own: self.health,
            peer: call.peer_health,
            microphone_refused: matches!(here.input, DeviceState::Missing { why: DeviceFault::PermissionRefused }),
            hears_itself: self.health.hears_itself,
            late_ticks: stats.as_ref().map(|stats| stats.late_ticks),
            sending_copies: stats.as_ref().is_some_and(|stats| stats.protection.copies > 0),
        };
        self.explanation = self.explainer.second(&second, now);
        self.explanation.iter().for_each(|explanation| self.gathered.explained(explanation.cause));
        if let (Stage::Connected, Some(stats)) = (stage, &stats) {
            self.gathered.second(stats);
        }
        true
    }

    /// How it sounded; nothing if it never did.
    pub(crate) fn summary(&self, relayed: bool) -> Option<CallQuality> {
        self.gathered.summary(relayed)
    }

    fn health_now(&self, here: &Here<'_>, now: Monotonic) -> Health {
        let within = |at: Option<Monotonic>, ms: u64| at.is_some_and(|at| now.since(at) < ms);
        let receives = match (within(self.packet_at, NOTHING_MS), within(self.sound_at, SILENCE_MS)) {
            (false, _) => Receives::Nothing,
            (true, false) => Receives::Silence,
            (true, true) => Receives::Sound,
        };
        Health {
            microphone: match here.input {
                DeviceState::Closed => MicrophoneHealth::Unknown,
                DeviceState::Open { silent: true, .. } => MicrophoneHealth::Silent,
                DeviceState::Open { silent: false, .. } => MicrophoneHealth::Works,
                DeviceState::Missing { .. } | DeviceState::Held { .. } => MicrophoneHealth::Missing,
            },
            speaker: match here.output {
                DeviceState::Closed => SpeakerHealth::Unknown,
                DeviceState::Open { .. } => SpeakerHealth::Works,
                DeviceState::Missing { .. } | DeviceState::Held { .. } => SpeakerHealth::Missing,
            },
            receives,
            access: here.access,
            hears_itself: within(self.echo_at, ECHO_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_call::{Action, Blame};
    use bellwire_media::Protection;
    use bellwire_signaling::{BookingId, Cause, KeepChat, Side};

    fn here<'a>(input: &'a DeviceState, output: &'a DeviceState) -> Here<'a> {
        Here { input, output, access: None, link_up: true }
    }

    fn stats(generation: u32, packets_in: u64) -> Stats {
        Stats { generation, packets_in, ..Stats::default() }
    }

    #[test]
    fn what_is_received_is_told_from_packets_and_from_the_meter() {
        let mut figures = Figures::of(CallId::new("c").unwrap(), Monotonic(0));
        let closed = DeviceState::Closed;
        let receives = |figures: &Figures, ms| figures.health_now(&here(&closed, &closed), Monotonic(ms)).receives;
        assert_eq!(receives(&figures, 0), Receives::Nothing);
        figures.take_stats(&stats(1, 0), Monotonic(100));
        assert_eq!(receives(&figures, 100), Receives::Nothing);
        figures.take_stats(&stats(1, 50), Monotonic(1_000));
        assert_eq!(receives(&figures, 1_000), Receives::Silence);
        figures.take_level(0.0, Monotonic(1_100));
        figures.take_level(0.3, Monotonic(1_200));
        assert_eq!(receives(&figures, 1_300), Receives::Sound);
        figures.take_stats(&stats(1, 50), Monotonic(2_900));
        assert_eq!(receives(&figures, 3_100), Receives::Nothing);
        // A new connection counts from the beginning.
        figures.take_stats(&stats(2, 10), Monotonic(4_000));
        assert_eq!(receives(&figures, 4_000), Receives::Sound);
        assert_eq!(figures.packets.all(), 60);
        figures.take_stats(&stats(2, 60), Monotonic(6_500));
        assert_eq!(receives(&figures, 6_500), Receives::Silence);
    }

    #[test]
    fn devices_are_told_as_they_are() {
        let figures = Figures::of(CallId::new("c").unwrap(), Monotonic(0));
        let open = |silent| DeviceState::Open { name: "x".into(), fallback: false, silent };
        let missing = DeviceState::Missing { why: DeviceFault::NoDevice };
        let cases = [
            (DeviceState::Closed, MicrophoneHealth::Unknown, SpeakerHealth::Unknown),
            (open(false), MicrophoneHealth::Works, SpeakerHealth::Works),
            (open(true), MicrophoneHealth::Silent, SpeakerHealth::Works),
            (missing, MicrophoneHealth::Missing, SpeakerHealth::Missing),
        ];
        for (device, microphone, speaker) in cases {
            let health = figures.health_now(&here(&device, &device), Monotonic(0));
            assert_eq!((health.microphone, health.speaker), (microphone, speaker), "{device:?}");
        }
    }

    /// The figures of a call that has been connected for long enough to be judged, a second each.
    fn explained(call: &CallNow, each: &Stats, seconds: u64) -> (Health, Option<Explanation>) {
        let open = DeviceState::Open { name: "x".into(), fallback: false, silent: false };
        let mut figures = Figures::of(CallId::new("c").unwrap(), Monotonic(0));
        for second in 1..=seconds {
            let now = Monotonic(second * 1_000);
            figures.take_level(0.3, now);
            figures.take_stats(&Stats { packets_in: second * 50, ..each.clone() }, now);
            assert!(figures.second(call, &here(&open, &open), now));
        }
        (figures.health, figures.explanation)
    }

    fn call(peer_health: Option<Health>) -> CallNow {
        CallNow {
            call: Some(CallId::new("c").unwrap()),
            booking: BookingId::new("b").unwrap(),
            peer: None,
            you: Side::Caller,
            state: State::Connected,
            muted: false,
            peer_muted: false,
            keep_chat: KeepChat::default(),
            connected_at: Some(Monotonic(0)),
            trying: 0,
            relayed: None,
            peer_health,
        }
    }

    #[test]
    fn a_voice_that_comes_back_is_told_to_the_side_that_causes_it() {
        let theirs = Health { microphone: MicrophoneHealth::Works, receives: Receives::Sound, ..Health::default() };
        let comes_back = Stats { own_voice_back_db: Some(18.0), ..Stats::default() };
        let (ours, explanation) = explained(&call(Some(theirs)), &comes_back, 6);
        assert!(ours.hears_itself);
        let expected = |side, action| Some(Explanation { cause: Cause::Echo, side, action, figure: None });
        assert_eq!(explanation, expected(Blame::There, Action::TheyAreTold));
        // What they are told makes this of it.
        let (theirs, explanation) = explained(&call(Some(ours)), &Stats::default(), 6);
        assert!(!theirs.hears_itself);
        assert_eq!(explanation, expected(Blame::Here, Action::WearHeadset));
    }

    #[test]
    fn that_a_voice_came_back_is_said_a_little_longer_than_it_is_measured() {
        let closed = DeviceState::Closed;
        let mut figures = Figures::of(CallId::new("c").unwrap(), Monotonic(0));
        let says = |figures: &Figures, ms| figures.health_now(&here(&closed, &closed), Monotonic(ms)).hears_itself;
        assert!(!says(&figures, 500));
        figures.take_stats(&Stats { own_voice_back_db: Some(20.0), ..stats(1, 50) }, Monotonic(1_000));
        figures.take_stats(&stats(1, 100), Monotonic(2_000));
        assert!(says(&figures, 10_900));
        assert!(!says(&figures, 11_000));
    }

    #[test]
    fn a_sound_thread_that_is_late_and_copies_that_are_sent_are_made_known() {
        let late = Stats { late_ticks: 12, ..Stats::default() };
        let cause = |each: &Stats| explained(&call(None), each, 9).1.map(|why| (why.cause, why.action));
        assert_eq!(cause(&late), Some((Cause::Overload, Action::CloseOtherPrograms)));
        let lossy = Stats { loss_out: Some(0.2), ..Stats::default() };
        assert_eq!(cause(&lossy), Some((Cause::Loss, Action::Wait)));
        let protection = Protection { copies: 1, ..Protection::default() };
        assert_eq!(cause(&Stats { protection, ..lossy }), Some((Cause::Loss, Action::SendingCopies)));
    }
}
