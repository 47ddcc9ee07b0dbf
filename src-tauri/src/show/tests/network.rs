//! What the page shows of the way that sound takes: trouble, the check, readiness, quality, reports.

use super::*;
use bellwire_client::signaling::{CallQuality, Cause, CheckPath, Readiness};
use bellwire_client::{
    Action as Act, Blame, CandidateKind, CheckFault, CheckNow, CheckReport, Explanation, Figure as Measured, Finding,
    PathInfo, PathMeasured, RelayTransport, Severity, Stage, Verdict,
};

impl World {
    pub fn explained(self, cause: Cause, side: Blame, action: Act, figure: Option<Measured>) -> Self {
        self.call(|call| call.explanation = Some(Explanation { cause, side, action, figure }))
    }

    pub fn checks(self, stage: Stage, report: Option<CheckReport>) -> Self {
        let check = CheckNow { stage, progress: 0.42, report, automatic: false };
        self.then(Known::begin_trial).with(|snapshot| snapshot.check = Some(check))
    }
}

pub fn found(faults: &[(CheckFault, Option<f32>)]) -> CheckReport {
    let finding = |(fault, measured): &(CheckFault, Option<f32>)| Finding {
        fault: *fault,
        severity: Severity::Serious,
        measured: *measured,
    };
    let reached = |path, ms| PathMeasured {
        path,
        connected: true,
        setup_ms: 300,
        loss_up: 0.004,
        loss_down: 0.031,
        round_trip_ms: Some(ms),
        jitter_ms: 2.0,
    };
    CheckReport {
        verdict: if faults.is_empty() { Verdict::Ready } else { Verdict::Problems },
        findings: faults.iter().map(finding).collect(),
        paths: vec![
            PathMeasured::failed(CheckPath::Direct),
            reached(CheckPath::RelayUdp, 24.4),
            reached(CheckPath::RelayTcp, 30.0),
            PathMeasured { loss_down: 0.0, ..reached(CheckPath::RelayTls, 31.0) },
        ],
    }
}

const CAUSES: [Cause; 11] = [
    Cause::NothingComes,
    Cause::NothingGoes,
    Cause::MicrophoneSilent,
    Cause::MicrophoneMissing,
    Cause::SpeakerMissing,
    Cause::Loss,
    Cause::Delay,
    Cause::Jitter,
    Cause::Narrow,
    Cause::Echo,
    Cause::Overload,
];

#[test]
fn trouble_is_one_sentence_with_its_side_and_one_advice() {
    World::new()
        .in_call()
        .explained(Cause::Loss, Blame::There, Act::TellThemNetwork, Some(Measured::Percent(8)))
        .shows(
            "in-call: Anna Meier
         elapsed 61 s, remaining_time(seconds 3000)
         why_loss_there(percent 8): advice_tell_network
         announce why_loss_there
         [mute, text, *hang-up]",
        );
    let missing = World::new().in_call().explained(Cause::SpeakerMissing, Blame::Here, Act::ChooseSpeaker, None);
    assert!(outline(&missing.view_after(0)).contains("why_speaker_missing_here: advice_choose_speaker [Speaker]"));
}

#[test]
fn trouble_is_read_out_once_and_not_for_each_figure() {
    let announced = |percent| {
        let world = World::new().in_call();
        let world = world.explained(Cause::Loss, Blame::Here, Act::UseCable, Some(Measured::Percent(percent)));
        world.view_after(0).announce
    };
    assert_eq!(announced(8), announced(11));
    let other = World::new().in_call().explained(Cause::Loss, Blame::There, Act::TellThemNetwork, None);
    assert_ne!(announced(8), other.view_after(0).announce);
}

#[test]
fn each_cause_is_told_of_each_side_in_other_words() {
    let mut told = Vec::new();
    for cause in CAUSES {
        for side in [Blame::Here, Blame::There, Blame::Between] {
            let view = World::new().in_call().explained(cause, side, Act::Wait, None).view_after(0);
            let Screen::InCall(talk) = view.screen else { panic!("{cause:?} {side:?} leaves the call") };
            told.push(said(&talk.trouble.unwrap().text));
        }
    }
    let count = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count, "{told:?}");
}

#[test]
fn what_a_notice_says_of_a_device_is_not_said_twice() {
    let silent = DeviceState::Open { name: "M".into(), fallback: false, silent: true };
    let world = World::new().in_call().with(|snapshot| snapshot.input = silent);
    let world = world.explained(Cause::MicrophoneSilent, Blame::Here, Act::CheckMicrophoneSwitch, None);
    world.shows(
        "in-call: Anna Meier
         elapsed 61 s, remaining_time(seconds 3000)
         notice microphone_silent
         announce microphone_silent
         [mute, text, *hang-up]",
    );
    let theirs = world.explained(Cause::MicrophoneSilent, Blame::There, Act::TellThemMicrophone, None);
    assert!(outline(&theirs.view_after(0)).contains("why_microphone_silent_there: advice_tell_microphone"));
}

#[test]
fn a_call_that_does_not_connect_says_what_is_wrong() {
    let world = World::new().calling(State::Connecting, Side::Caller);
    world.explained(Cause::NothingComes, Blame::Here, Act::ChangeNetwork, None).shows(
        "connecting: Anna Meier
         call_connecting
         why_nothing_comes_here: advice_change_network
         announce why_nothing_comes_here
         [*hang-up]",
    );
}

#[test]
fn from_the_second_try_on_another_way_is_being_tried() {
    let trying = |trying| {
        let world = World::new().calling(State::Reconnecting { since: Monotonic(0) }, Side::Caller);
        let world = world.call(|call| call.trying = trying);
        let world = world.explained(Cause::NothingComes, Blame::Between, Act::SwitchingPath, None);
        outline(&world.view_after(1_000)).lines().nth(2).unwrap().to_owned()
    };
    assert_eq!(trying(0), "sound_lost 5 s");
    assert_eq!(trying(1), "sound_lost 5 s");
    assert_eq!(trying(2), "sound_lost_other_way 5 s");
}

#[test]
fn after_lost_sound_one_can_call_again_or_check() {
    World::new().ended(EndReason::MediaLost, Side::Caller, None, None).shows(
        "ended: Anna Meier
         ended_media_lost (media_lost)
         duration 183 s
         announce ended_media_lost
         [dismiss, start-check, *call-again]",
    );
    let never = World::new().ended(EndReason::MediaFailed, Side::Caller, None, None);
    assert!(outline(&never.view_after(0)).ends_with("[dismiss, start-check, *call-again]"));
    assert!(outline(&never.view_after(65 * MINUTE)).ends_with("[dismiss, *start-check]"), "the window is over");
}

#[test]
fn the_details_say_what_is_done_against_loss_and_why() {
    use bellwire_client::{Protection, ProtectionReason};
    let against = |protection: Protection| {
        let world = World::new().in_call().then(|known| {
            known.take(Update::Stats(Box::new(Stats { protection, ..second(4.3, 0.0) })));
        });
        let Screen::InCall(talk) = world.view_after(0).screen else { panic!("the call is not shown") };
        let label = Sentence::FigureProtection {};
        said(&talk.figures.iter().find(|figure| figure.label == label).unwrap().value)
    };
    let clean = against(Protection::default());
    assert_eq!(clean, "protection_clean(resending false, copies 0, fec false, dred_ms 0)");
    let bursts = Protection { why: ProtectionReason::Bursts, copies: 2, dred_ms: 400, ..Protection::default() };
    assert_eq!(against(bursts), "protection_bursts(resending false, copies 2, fec false, dred_ms 400)");
    let narrow = Protection { why: ProtectionReason::Narrow, resending: true, ..Protection::default() };
    assert_eq!(against(narrow), "protection_narrow(resending true, copies 0, fec false, dred_ms 0)");
}

#[test]
fn the_details_name_the_path() {
    let details = |local, remote, relay, ipv6| {
        let world = World::new().in_call().then(|known| {
            known.take(Update::Stats(Box::new(second(4.3, 0.0))));
        });
        let world = world.call(|call| call.path = Some(PathInfo { local, remote, relay, ipv6 }));
        let Screen::InCall(talk) = world.view_after(0).screen else { panic!("the call is not shown") };
        format!("{}, {}", said(&talk.figures[0].value), said(&talk.figures[1].value))
    };
    use CandidateKind::{Host, Relay, Srflx};
    assert_eq!(details(Host, Srflx, None, true), "path_direct, network_ipv6");
    assert_eq!(details(Relay, Host, Some(RelayTransport::Udp), false), "path_relay_udp, network_ipv4");
    assert_eq!(details(Relay, Relay, Some(RelayTransport::Tcp), false), "path_relay_tcp, network_ipv4");
    assert_eq!(details(Relay, Host, Some(RelayTransport::Tls), false), "path_relay_tls, network_ipv4");
    assert_eq!(details(Host, Relay, None, false), "path_relay_theirs, network_ipv4");
}

#[test]
fn a_report_says_where_it_is() {
    let saved = |world: World| {
        world.then(|known| {
            known.take(Update::ReportSaved(Ok("/home/anna/bellwire-report.txt".into())));
        })
    };
    let line = "report report_saved(path \"/home/anna/bellwire-report.txt\")";
    assert!(outline(&saved(World::new().in_call()).view_after(0)).contains(line));
    let ended = saved(World::new().ended(EndReason::HungUp, Side::Caller, None, None));
    assert!(outline(&ended.view_after(0)).contains(line));
    let failed = ended.then(|known| known.report = Some(Err("No space left".into())));
    assert!(outline(&failed.view_after(0)).contains("report report_failed(why \"No space left\")"));
    let next = failed.in_call();
    assert!(!outline(&next.view_after(0)).contains("report report"), "another call has no report yet");
}

#[test]
fn a_check_shows_what_it_does_and_asks_for_a_sentence() {
    World::new().then(Known::begin_trial).shows(
        "trial
         trial_begins 0 %
         step_devices step_now
         step_direct step_waits
         step_relay step_waits
         step_speak step_waits
         step_listen step_waits
         announce trial_begins
         [*stop-check]",
    );
    World::new().checks(Stage::Speak, None).shows(
        "trial
         trial_speak 42 % meter
         step_devices step_done
         step_direct step_done
         step_relay step_done
         step_speak step_now
         step_listen step_waits
         announce trial_speak
         [*stop-check]",
    );
    let line = |stage| outline(&World::new().checks(stage, None).view_after(0)).lines().nth(1).unwrap().to_owned();
    assert_eq!(line(Stage::RelayTls), "trial_relay 42 %");
    assert_eq!(line(Stage::Listen), "trial_listen 42 %");
}

#[test]
fn a_check_ends_in_one_verdict_and_a_fix_for_each_fault() {
    let faults = [(CheckFault::Loss, Some(15.2)), (CheckFault::TooQuiet, None)];
    World::new().checks(Stage::Done, Some(found(&faults))).shows(
        "trial
         trial_problems(count 2)
         fault_loss(percent 15): fix_loss
         fault_no_voice: fix_too_quiet
         path_direct: path_not_reached
         path_relay_udp: path_reached(ms 24, percent 3)
         path_relay_tcp: path_reached(ms 30, percent 3)
         path_relay_tls: path_reached(ms 31, percent 0)
         announce trial_problems(count 2)
         [start-check, *stop-check]",
    );
    let good = World::new().checks(Stage::Done, Some(found(&[])));
    assert!(outline(&good.view_after(0)).starts_with("trial\ntrial_ready\n"));
    let remark = CheckReport { verdict: Verdict::Ready, ..found(&[(CheckFault::OnlyRelay, None)]) };
    let remark = World::new().checks(Stage::Done, Some(remark));
    assert!(
        outline(&remark.view_after(0)).starts_with("trial\ntrial_remarks(count 1)\nfault_only_relay: fix_only_relay")
    );
}

#[test]
fn a_ring_takes_the_place_of_a_check_of_the_network() {
    let world = World::new().checks(Stage::Direct, None).calling(State::Ringing, Side::Callee);
    assert!(!world.known.trial);
    assert!(outline(&world.view_after(0)).starts_with("incoming"));
}

#[test]
fn the_card_says_what_the_other_ones_app_found_and_no_more() {
    let card = |readiness| {
        let world = World::new().with(|snapshot| snapshot.bookings[0].peer_readiness = readiness);
        outline(&world.view_after(0)).lines().nth(1).unwrap().to_owned()
    };
    let plain = "next Anna Meier window_open_until(at 1767272700000), peer_here";
    assert_eq!(card(Readiness::Unknown), plain);
    assert_eq!(card(Readiness::Ready), format!("{plain}, peer_ready"));
    assert_eq!(card(Readiness::HasProblem), format!("{plain}, peer_has_problem"));
}

#[test]
fn of_a_check_by_itself_only_the_result_is_shown_on_its_bookings_card() {
    let result = |minutes, report: Option<CheckReport>| {
        let check = CheckNow { stage: Stage::Done, progress: 1.0, report, automatic: true };
        let world = World::new().with(|snapshot| {
            snapshot.bookings = vec![booking("b1", "Anna Meier", minutes)];
            snapshot.check = Some(check);
        });
        let outline = outline(&world.view_after(0));
        outline.lines().nth(1).unwrap().split_once("peer_here").unwrap().1.to_owned()
    };
    assert_eq!(result(5, None), "", "it goes on");
    assert_eq!(result(5, Some(found(&[]))), ", you_ready");
    let faults = found(&[(CheckFault::NoMicrophone, None), (CheckFault::Loss, Some(12.0))]);
    assert_eq!(result(5, Some(faults.clone())), ", you_have_problem fault_no_microphone [look]");
    assert_eq!(result(11, Some(faults.clone())), "", "it was made for another booking");
    let looked = World::new().checks(Stage::Done, Some(faults));
    let looked = looked.with(|snapshot| snapshot.check.as_mut().unwrap().automatic = true);
    assert!(outline(&looked.view_after(0)).starts_with("trial\ntrial_problems(count 2)"));
    assert!(looked.known.has_own_report(), "it stays when it has been looked at");
}

#[test]
fn a_check_that_breaks_off_says_so() {
    let world = World::new().checks(Stage::Direct, None).with(|snapshot| snapshot.check = None);
    assert!(outline(&world.view_after(0)).contains("notice trial_broke"));
    let stopped = World::new().checks(Stage::Direct, None).then(|known| known.trial = false);
    let stopped = stopped.with(|snapshot| snapshot.check = None);
    assert!(!outline(&stopped.view_after(0)).contains("notice"));
}

#[test]
fn the_history_says_how_a_call_sounded() {
    let good = CallQuality {
        mos_x10: 43,
        loss_in_percent: 0,
        loss_out_percent: 0,
        round_trip_ms: 30,
        reconnects: 0,
        reconnecting_ms: 0,
        relayed: false,
        cause: None,
    };
    let line = |quality: CallQuality| {
        let world = World::new().then(|known| {
            let call = record("c1", "Anna Meier", Side::Caller, EndReason::HungUp, true);
            known.take(Update::History(vec![CallRecord { quality: Some(quality), ..call }]));
        });
        let outline = outline(&world.view_after(0));
        outline.lines().find_map(|line| line.strip_prefix("past Anna Meier past_you_called 60 s, ")).unwrap().to_owned()
    };
    let cause = |cause| Some(cause);
    assert_eq!(line(good), "past_sound_good");
    assert_eq!(line(CallQuality { mos_x10: 34, ..good }), "past_sound_fair");
    assert_eq!(line(CallQuality { mos_x10: 21, ..good }), "past_sound_poor");
    let lost = CallQuality { reconnects: 2, reconnecting_ms: 11_400, cause: cause(Cause::Loss), ..good };
    assert_eq!(line(lost), "past_sound_lost(times 2, seconds 12)");
    let lossy = CallQuality { mos_x10: 30, loss_in_percent: 9, cause: cause(Cause::Loss), ..good };
    assert_eq!(line(lossy), "past_loss_in");
    assert_eq!(line(CallQuality { loss_out_percent: 12, ..lossy }), "past_loss_out");
    assert_eq!(line(CallQuality { mos_x10: 42, ..lossy }), "past_sound_good", "it was a moment");
    assert_eq!(line(CallQuality { cause: cause(Cause::Echo), ..good }), "past_echo");
    let mut told: Vec<String> = CAUSES.map(|each| line(CallQuality { mos_x10: 20, cause: Some(each), ..good })).into();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), CAUSES.len());
}

#[test]
fn whether_the_address_is_hidden_stands_in_the_settings() {
    let world = World::new().then(Known::begin_check).with(|snapshot| snapshot.relay_only = true);
    assert!(outline(&world.view_after(0)).contains("\nrelay only\n"));
}
