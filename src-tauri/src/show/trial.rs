//! The check of sound and network: how far it is, its verdict, a fix for each fault; and what it found for a booking.

use super::{Shown, bare, button};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::signaling::CheckPath;
use bellwire_client::{CheckFault, CheckNow, CheckReport, Finding, PathMeasured, Stage, Verdict};

impl Shown<'_> {
    pub(super) fn start_check(&self) -> Action {
        button(Press::StartCheck, Sentence::DoStartCheck {})
    }

    pub(super) fn trial(&self) -> View {
        let check = self.snapshot.check.as_ref();
        match check.and_then(|check| check.report.as_ref()) {
            Some(report) => View { sound: Some(self.sound()), ..over(report) },
            None => running(check),
        }
    }

    /// What the check that ran by itself found, for the card of the next booking.
    pub(super) fn own_check(&self) -> Option<OwnCheck> {
        let check = self.snapshot.check.as_ref().filter(|check| check.automatic)?;
        let report = check.report.as_ref()?;
        Some(match report.verdict {
            Verdict::Ready => OwnCheck { text: Sentence::YouReady {}, fault: None },
            Verdict::Problems => {
                OwnCheck { text: Sentence::YouHaveProblem {}, fault: report.findings.first().map(what) }
            }
        })
    }
}

fn running(check: Option<&CheckNow>) -> View {
    let line = check.map_or(Sentence::TrialBegins {}, |check| stage_line(check.stage));
    let at = check.map_or(0, |check| place(check.stage));
    let labels = [
        Sentence::StepDevices {},
        Sentence::StepDirect {},
        Sentence::StepRelay {},
        Sentence::StepSpeak {},
        Sentence::StepListen {},
    ];
    let steps = labels.into_iter().enumerate().map(|(number, label)| {
        let (state, said) = match number.cmp(&at) {
            std::cmp::Ordering::Less => (StepState::Done, Sentence::StepDone {}),
            std::cmp::Ordering::Equal => (StepState::Now, Sentence::StepNow {}),
            std::cmp::Ordering::Greater => (StepState::Waits, Sentence::StepWaits {}),
        };
        Step { label, state, said }
    });
    let speak = check.is_some_and(|check| check.stage == Stage::Speak);
    let trial = Trial {
        line: line.clone(),
        mood: Mood::Calm,
        speak,
        percent: Some(check.map_or(0, |check| whole(check.progress * 100.0))),
        steps: steps.collect(),
        faults: Vec::new(),
        paths: Vec::new(),
    };
    let stop = button(Press::StopCheck, Sentence::DoStopCheck {}).primary(Color::Plain);
    bare(Screen::Trial(trial), Some(line), vec![stop])
}

fn over(report: &CheckReport) -> View {
    let count = u32::try_from(report.findings.len()).unwrap_or(u32::MAX);
    let (line, mood) = match report.verdict {
        Verdict::Ready if count == 0 => (Sentence::TrialReady {}, Mood::Good),
        Verdict::Ready => (Sentence::TrialRemarks { count }, Mood::Good),
        Verdict::Problems => (Sentence::TrialProblems { count }, Mood::Warning),
    };
    let trial = Trial {
        line: line.clone(),
        mood,
        speak: false,
        percent: None,
        steps: Vec::new(),
        faults: report.findings.iter().map(|finding| Fault { what: what(finding), fix: fix(finding.fault) }).collect(),
        paths: report.paths.iter().map(path).collect(),
    };
    let again = button(Press::StartCheck, Sentence::DoCheckAgain {});
    let done = button(Press::StopCheck, Sentence::DoCheckOver {}).primary(Color::Accent);
    bare(Screen::Trial(trial), Some(line), vec![again, done])
}

/// Which of the steps that are shown a stage belongs to.
fn place(stage: Stage) -> usize {
    match stage {
        Stage::Devices => 0,
        Stage::Direct => 1,
        Stage::RelayUdp | Stage::RelayTcp | Stage::RelayTls => 2,
        Stage::Speak => 3,
        Stage::Listen => 4,
        Stage::Done => 5,
    }
}

fn stage_line(stage: Stage) -> Sentence {
    match stage {
        Stage::Devices => Sentence::TrialDevices {},
        Stage::Direct => Sentence::TrialDirect {},
        Stage::RelayUdp | Stage::RelayTcp | Stage::RelayTls => Sentence::TrialRelay {},
        Stage::Speak => Sentence::TrialSpeak {},
        Stage::Listen => Sentence::TrialListen {},
        Stage::Done => Sentence::TrialBegins {},
    }
}

fn path(path: &PathMeasured) -> PathTried {
    let label = match path.path {
        CheckPath::Direct => Sentence::PathDirect {},
        CheckPath::RelayUdp => Sentence::PathRelayUdp {},
        CheckPath::RelayTcp => Sentence::PathRelayTcp {},
        CheckPath::RelayTls => Sentence::PathRelayTls {},
    };
    let result = if path.connected {
        let percent = whole(path.loss_up.max(path.loss_down) * 100.0);
        Sentence::PathReached { ms: path.round_trip_ms.map(whole), percent }
    } else {
        Sentence::PathNotReached {}
    };
    PathTried { label, result }
}

fn what(finding: &Finding) -> Sentence {
    let measured = finding.measured.map(whole);
    match finding.fault {
        CheckFault::NoNetwork => Sentence::FaultNoNetwork {},
        CheckFault::NoMicrophone => Sentence::FaultNoMicrophone {},
        CheckFault::MicrophoneRefused => Sentence::FaultMicrophoneRefused {},
        CheckFault::MicrophoneInUse => Sentence::FaultMicrophoneInUse {},
        CheckFault::MicrophoneSilent => Sentence::FaultMicrophoneSilent {},
        CheckFault::NoSpeaker => Sentence::FaultNoSpeaker {},
        CheckFault::TooQuiet if finding.measured.is_none() => Sentence::FaultNoVoice {},
        CheckFault::TooQuiet => Sentence::FaultTooQuiet {},
        CheckFault::Clipping => Sentence::FaultClipping {},
        CheckFault::Echo => Sentence::FaultEcho {},
        CheckFault::Loss => Sentence::FaultLoss { percent: measured },
        CheckFault::Delay => Sentence::FaultDelay { ms: measured },
        CheckFault::Jitter => Sentence::FaultJitter {},
        CheckFault::UdpBlocked => Sentence::FaultUdpBlocked {},
        CheckFault::Noisy => Sentence::FaultNoisy {},
        CheckFault::OnlyRelay => Sentence::FaultOnlyRelay {},
        CheckFault::NotTested => Sentence::FaultNotTested {},
    }
}

fn fix(fault: CheckFault) -> Sentence {
    match fault {
        CheckFault::NoNetwork | CheckFault::Delay => Sentence::FixNetwork {},
        CheckFault::NoMicrophone => Sentence::FixNoMicrophone {},
        CheckFault::MicrophoneRefused => Sentence::FixMicrophoneRefused {},
        CheckFault::MicrophoneInUse => Sentence::FixMicrophoneInUse {},
        CheckFault::MicrophoneSilent => Sentence::FixMicrophoneSilent {},
        CheckFault::NoSpeaker => Sentence::FixNoSpeaker {},
        CheckFault::TooQuiet => Sentence::FixTooQuiet {},
        CheckFault::Clipping => Sentence::FixClipping {},
        CheckFault::Echo => Sentence::FixEcho {},
        CheckFault::Loss => Sentence::FixLoss {},
        CheckFault::Jitter => Sentence::FixJitter {},
        CheckFault::UdpBlocked => Sentence::FixUdpBlocked {},
        CheckFault::Noisy => Sentence::FixNoisy {},
        CheckFault::OnlyRelay => Sentence::FixOnlyRelay {},
        CheckFault::NotTested => Sentence::FixNotTested {},
    }
}

/// Measured values are small; what is none is shown as 0.
fn whole(value: f32) -> u32 {
    value.round().max(0.0) as u32
}
