//! Timelines: so many seconds of this, and what is shown at the end of them.

use super::*;
use bellwire_signaling::{Access, MicrophoneHealth, SpeakerHealth};
use std::collections::BTreeSet;

/// A call in which all is well.
fn fine() -> Second {
    let works = Health {
        microphone: MicrophoneHealth::Works,
        speaker: SpeakerHealth::Works,
        receives: Receives::Sound,
        access: None,
        hears_itself: false,
    };
    Second {
        stage: Stage::Connected,
        link_up: true,
        packets_in: 0,
        round_trip_ms: Some(60.0),
        jitter_in_ms: Some(4.0),
        jitter_out_ms: Some(5.0),
        loss_in: Some(0.0),
        loss_out: Some(0.0),
        concealed: Some(0.0),
        buffer_ms: Some(50.0),
        bitrate_in: Some(32_000),
        bitrate_out: Some(32_000),
        own: works,
        peer: Some(works),
        late_ticks: Some(0),
        ..Second::default()
    }
}

/// `word` or `word=value`, as the timelines below have them.
fn change(second: &mut Second, word: &str) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let number = || value.trim_end_matches('%').parse::<f32>().expect("a number");
    let share = || Some(number() / 100.0);
    let access = || {
        let (loss, ms) = value.split_once('/').expect("loss/ms");
        Some(Access { loss_percent: loss.parse().expect("loss"), round_trip_ms: ms.parse().expect("ms") })
    };
    let microphone = || match value {
        "silent" => MicrophoneHealth::Silent,
        "missing" => MicrophoneHealth::Missing,
        other => panic!("{other} is no microphone"),
    };
    match name {
        "in" => second.loss_in = share(),
        "out" => second.loss_out = share(),
        "concealed" => second.concealed = share(),
        "rtt" => second.round_trip_ms = Some(number()),
        "buffer" => second.buffer_ms = Some(number()),
        "jitter" => second.jitter_in_ms = Some(number()),
        "their-jitter" => second.jitter_out_ms = Some(number()),
        "late" => second.late_ticks = Some(number() as u32),
        "unheard" => second.peer.get_or_insert_default().receives = Receives::Nothing,
        "no-word" => second.peer = None,
        "mic" => second.own.microphone = microphone(),
        "their-mic" => second.peer.get_or_insert_default().microphone = microphone(),
        "no-speaker" => second.own.speaker = SpeakerHealth::Missing,
        "their-no-speaker" => second.peer.get_or_insert_default().speaker = SpeakerHealth::Missing,
        "refused" => second.microphone_refused = true,
        "muted" => second.muted = true,
        "they-muted" => second.peer_muted = true,
        "access" => second.own.access = access(),
        "their-access" => second.peer.get_or_insert_default().access = access(),
        "no-link" => second.link_up = false,
        "copies" => second.sending_copies = true,
        "echo-here" => second.peer.get_or_insert_default().hears_itself = true,
        "echo-there" => second.hears_itself = true,
        "connecting" => second.stage = Stage::Connecting,
        "reconnecting" => second.stage = Stage::Reconnecting,
        "nothing" | "fine" => {}
        other => panic!("{other} is no word"),
    }
}

fn words(shown: Option<Explanation>) -> String {
    let Some(Explanation { cause, side, action, figure }) = shown else { return "-".into() };
    let figure = match figure {
        Some(Figure::Percent(n)) => format!(" {n}%"),
        Some(Figure::Milliseconds(n)) => format!(" {n}ms"),
        Some(Figure::Kilobits(n)) => format!(" {n}k"),
        None => String::new(),
    };
    format!("{cause:?} {side:?} {action:?}{figure}")
}

/// Each line: seconds, words, `:`, what is shown after the last of these seconds.
fn check(timeline: &str) {
    let mut explainer = Explainer::new();
    let (mut now, mut packets) = (Monotonic(70_000), 0);
    let (mut seen, mut expected) = (String::new(), String::new());
    for line in timeline.trim().lines() {
        let (what, shown) = line.split_once(':').expect("a colon");
        let mut parts = what.split_whitespace();
        let seconds: u32 = parts.next().and_then(|n| n.parse().ok()).expect("seconds");
        let mut second = fine();
        parts.clone().for_each(|word| change(&mut second, word));
        let comes = parts.all(|word| word != "nothing");
        for _ in 0..seconds {
            now = now.plus(1_000);
            packets += if comes { 50 } else { 0 };
            explainer.second(&Second { packets_in: packets, ..second.clone() }, now);
        }
        seen += &format!("{} : {}\n", what.trim(), words(explainer.shown()));
        expected += &format!("{} : {}\n", what.trim(), shown.trim());
    }
    assert_eq!(seen, expected, "\nseen:\n{seen}\nexpected:\n{expected}");
}

#[test]
fn nothing_is_said_while_all_is_well() {
    check(
        "3600 fine                                     : -
         30 in=2% out=2% jitter=25 rtt=380             : -
         30 they-muted                                 : -
         30 muted                                      : -",
    );
}

#[test]
fn a_side_that_gets_nothing_for_two_seconds_learns_why() {
    let after = |words: &str, shown: &str| {
        check(&format!(
            "10 fine : -
             1 nothing {words} : -
             1 nothing {words} : {shown}
             3 fine : {shown}
             1 fine : -"
        ));
    };
    after("", "NothingComes Between ChangeNetwork");
    after("unheard", "NothingComes Between Wait");
    after("no-word", "NothingComes Between Wait");
    after("no-link", "NothingComes Here MoveCloserToWifi");
    after("unheard access=100/0", "NothingComes Here MoveCloserToWifi");
    after("unheard access=0/30 their-access=80/900", "NothingComes There TellThemNetwork");
    after("unheard reconnecting", "NothingComes Between SwitchingPath");
    after("no-link reconnecting", "NothingComes Here SwitchingPath");
}

#[test]
fn that_nothing_comes_is_said_from_the_first_seconds_on() {
    check(
        "2 connecting nothing unheard                  : -
         1 connecting nothing unheard                  : NothingComes Between Wait
         3 connecting fine                             : NothingComes Between Wait
         1 fine                                        : -",
    );
}

#[test]
fn packets_without_sound_are_a_matter_of_devices() {
    check(
        "3 their-mic=silent                            : -
         1 their-mic=silent                            : MicrophoneSilent There TellThemMicrophone
         4 their-mic=missing                           : MicrophoneMissing There TellThemMicrophone
         4 their-mic=missing they-muted                : -
         4 no-speaker                                  : SpeakerMissing Here ChooseSpeaker
         4 their-no-speaker                            : SpeakerMissing There TellThemSpeaker",
    );
}

#[test]
fn a_microphone_that_sends_nothing_at_all_is_the_better_explanation() {
    check(
        "10 fine                                       : -
         4 nothing their-mic=missing                   : MicrophoneMissing There TellThemMicrophone",
    );
}

#[test]
fn ones_own_microphone_is_named_before_theirs_and_not_while_muted() {
    check(
        "4 mic=silent muted                            : -
         1 mic=silent their-mic=silent                 : MicrophoneSilent Here CheckMicrophoneSwitch
         4 mic=silent refused                          : MicrophoneSilent Here AllowMicrophone
         4 mic=missing unheard                         : MicrophoneMissing Here ChooseMicrophone
         4 mic=missing refused                         : MicrophoneMissing Here AllowMicrophone",
    );
}

#[test]
fn nothing_goes_when_they_say_so_twice() {
    let after = |words: &str, shown: &str| {
        check(&format!("10 fine : -\n1 unheard {words} : -\n1 unheard {words} : {shown}\n4 fine : -"));
    };
    after("", "NothingGoes Between ChangeNetwork");
    after("access=60/900", "NothingGoes Here MoveCloserToWifi");
    after("their-access=60/900", "NothingGoes There TellThemNetwork");
    after("reconnecting their-access=60/900", "-");
}

#[test]
fn loss_is_said_by_its_mean_and_cleared_at_one_percent() {
    check(
        "12 fine                                       : -
         5 in=4%                                       : -
         1 in=4%                                       : Loss Between Wait 3%
         30 in=3%                                      : Loss Between Wait 3%
         4 fine                                        : Loss Between Wait 3%
         1 fine                                        : -",
    );
}

#[test]
fn loss_is_laid_to_the_side_whose_own_way_to_the_server_loses() {
    let lossy = |words: &str, shown: &str| check(&format!("4 fine : -\n9 {words} : {shown}"));
    lossy("in=8%", "Loss Between Wait 6%");
    lossy("in=8% access=9/40 their-access=0/40", "Loss Here MoveCloserToWifi 6%");
    lossy("in=8% access=0/40 their-access=7/40", "Loss There TellThemNetwork 6%");
    lossy("in=8% access=0/40 their-access=1/40", "Loss Between Wait 6%");
    lossy("in=8% access=0/40", "Loss There TellThemNetwork 6%");
    lossy("in=8% access=9/40", "Loss Here MoveCloserToWifi 6%");
    lossy("out=8% their-access=0/40", "Loss Here MoveCloserToWifi 6%");
    lossy("out=8% their-access=9/40", "Loss There TellThemNetwork 6%");
    lossy("in=8% access=30/40 their-access=8/40", "Loss Here MoveCloserToWifi 6%");
    lossy("in=8% access=8/40 their-access=30/40", "Loss There TellThemNetwork 6%");
    lossy("in=8% access=8/40 their-access=9/40", "Loss Between Wait 6%");
}

#[test]
fn what_the_app_does_about_ones_own_loss_is_the_action() {
    check(
        "4 fine                                        : -
         8 out=20% in=4% copies access=9/40            : Loss Here SendingCopies 20%
         9 in=20% copies access=9/40                   : Loss Here MoveCloserToWifi 20%",
    );
}

#[test]
fn loss_with_a_queue_that_grew_is_a_link_that_is_too_narrow() {
    check(
        "10 fine                                       : -
         7 out=25% rtt=390                             : Narrow Between Wait 26k
         9 out=25% rtt=390 access=30/350               : Narrow Here PauseDownloads 24k
         9 fine                                        : -
         9 in=25% rtt=390 their-access=30/350          : Narrow There TellThemNetwork 32k",
    );
}

#[test]
fn jitter_is_three_of_five_or_packets_too_late_to_be_played() {
    check(
        "10 fine                                       : -
         2 jitter=45                                   : -
         1 jitter=45                                   : Jitter Between Wait 45ms
         4 fine                                        : Jitter Between Wait 45ms
         1 fine                                        : -
         4 their-jitter=60 access=0/300                : Jitter Here UseCable 60ms
         5 access=0/300                                : -
         5 fine                                        : -
         5 concealed=20% their-access=4/60             : Jitter There TellThemNetwork 6%
         20 fine                                       : -
         9 jitter=90 concealed=40% they-muted          : -",
    );
}

#[test]
fn a_long_way_is_the_least_of_the_causes() {
    check(
        "10 fine                                       : -
         2 rtt=500                                     : -
         1 rtt=500                                     : Delay Between ChangeNetwork 550ms
         4 rtt=500 access=0/350 their-access=0/40      : Delay Here UseCable 550ms
         4 rtt=500 access=0/40 their-access=0/400      : Delay There TellThemNetwork 550ms
         9 rtt=500 echo-here                           : Echo Here WearHeadset
         9 rtt=390 buffer=300                          : Delay Between ChangeNetwork 690ms",
    );
}

#[test]
fn echo_and_overload_have_a_side() {
    check(
        "9 echo-here                                   : Echo Here WearHeadset
         9 echo-there                                  : Echo There TheyAreTold
         9 echo-there no-word                          : Echo There AskThemToWearHeadset
         9 echo-there echo-here                        : Echo Here WearHeadset
         6 late=20 in=9%                               : Overload Here CloseOtherPrograms
         2 late=20 in=9% mic=silent                    : Overload Here CloseOtherPrograms
         2 late=20 in=9% mic=silent                    : MicrophoneSilent Here CheckMicrophoneSwitch",
    );
}

#[test]
fn what_was_measured_before_a_reconnect_is_forgotten_after_it() {
    check(
        "9 in=30%                                      : Loss Between Wait 30%
         2 nothing unheard reconnecting                : NothingComes Between SwitchingPath
         9 fine                                        : -",
    );
}

fn any<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// A random history of some minutes in which conditions last for some seconds each.
fn history(seed: u64, mut each: impl FnMut(&Second, Monotonic, Option<Explanation>)) {
    const WORDS: [&str; 27] = [
        "fine",
        "fine",
        "in=8%",
        "out=30%",
        "rtt=700",
        "jitter=80",
        "their-jitter=80",
        "concealed=30%",
        "late=30",
        "nothing",
        "unheard",
        "no-word",
        "mic=silent",
        "mic=missing",
        "their-mic=silent",
        "no-speaker",
        "their-no-speaker",
        "refused",
        "muted",
        "they-muted",
        "access=90/20",
        "their-access=9/300",
        "no-link",
        "copies",
        "echo-here",
        "echo-there",
        "reconnecting",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut explainer = Explainer::new();
    let (mut now, mut packets) = (Monotonic(random.u64(..100_000)), 0);
    for _ in 0..60 {
        let chosen: Vec<&str> = (0..random.usize(1..4)).map(|_| any(&mut random, &WORDS)).collect();
        let mut second = fine();
        chosen.iter().for_each(|word| change(&mut second, word));
        for _ in 0..random.usize(1..12) {
            now = now.plus(random.u64(900..1_100));
            packets += if chosen.contains(&"nothing") { 0 } else { 50 };
            second.packets_in = packets;
            let shown = explainer.second(&second, now);
            each(&second, now, shown);
        }
    }
}

#[test]
fn what_is_shown_changes_once_in_four_seconds_but_for_a_total_loss() {
    for seed in 0..500 {
        let (mut shown, mut changed_at) = (None, None::<Monotonic>);
        history(seed, |_, now, newly| {
            if newly == shown {
                return;
            }
            let early = changed_at.is_some_and(|at| now.since(at) < SHOWN_MS);
            let total = newly.is_some_and(is_total) && !shown.is_some_and(is_total);
            assert!(!early || total, "seed {seed}: {} -> {}", words(shown), words(newly));
            (shown, changed_at) = (newly, Some(now));
        });
    }
}

#[test]
fn good_statistics_of_any_kind_are_silent() {
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut explainer = Explainer::new();
        for n in 1..200 {
            let mut up_to = |most: f32| (random.u8(..4) > 0).then(|| random.f32() * most);
            let second = Second {
                packets_in: n * 50,
                round_trip_ms: up_to(200.0),
                jitter_in_ms: up_to(30.0),
                jitter_out_ms: up_to(30.0),
                loss_in: up_to(0.03),
                loss_out: up_to(0.03),
                concealed: up_to(0.03),
                buffer_ms: up_to(300.0),
                ..fine()
            };
            assert_eq!(explainer.second(&second, Monotonic(n * 1_000)), None, "seed {seed}: {second:?}");
        }
    }
}

#[test]
fn every_cause_and_every_action_is_reached() {
    let (mut causes, mut actions) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..2_000 {
        history(seed, |_, _, shown| {
            if let Some(Explanation { cause, action, .. }) = shown {
                causes.insert(cause);
                actions.insert(format!("{action:?}"));
            }
        });
    }
    assert_eq!(causes.len(), 11, "{causes:?}");
    assert_eq!(actions.len(), 18, "{actions:?}");
}
