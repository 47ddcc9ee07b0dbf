//! From what was measured to what is wrong.
//!
//! The thresholds are published ones where there are any. Network, before a call: loss under 5 % and a round trip under
//! 300 ms are good, from 10 % on bad (Daily's network test); a round trip over 400 ms and jitter over 30 ms are what
//! Twilio's voice SDK warns of.

use super::{CheckMeasured, DeviceState, EchoMeasured, MicrophoneMeasured, PathMeasured, Presence};
use bellwire_signaling::CheckPath;
use serde::Serialize;

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    pub verdict: Verdict,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// The ways that were tried, in order.
    pub paths: Vec<PathMeasured>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is seriously wrong; there may be remarks.
    Ready,
    Problems,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub fault: CheckFault,
    pub severity: Severity,
    /// In the unit that the fault names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A call would be heard well enough.
    Minor,
    Serious,
}

/// What can be wrong, the most fundamental first: of two that are alike in severity, that one is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckFault {
    /// Neither the server nor the echo peer can be reached.
    NoNetwork,
    NoMicrophone,
    MicrophoneRefused,
    MicrophoneInUse,
    /// Open, and nothing but zeros comes: a switch, or the system.
    MicrophoneSilent,
    NoSpeaker,
    /// dBFS of the voice; none where no voice was heard at all.
    TooQuiet,
    /// Per cent of the samples.
    Clipping,
    /// dB by which what is played comes back weaker. Small is bad.
    Echo,
    /// Per cent of the packets, of the worse direction.
    Loss,
    /// Round trip in ms.
    Delay,
    /// ms.
    Jitter,
    /// Nothing gets through by UDP; by TCP or TLS it does.
    UdpBlocked,
    /// dBFS.
    Noisy,
    /// No direct way; by a relay over UDP it works.
    OnlyRelay,
    /// The server has nobody to check the network with.
    NotTested,
}

/// Per cent of packets lost.
const LOSS_SOME: f32 = 5.0;
const LOSS_BAD: f32 = 10.0;
/// Milliseconds there and back.
const DELAY_SOME: f32 = 300.0;
const DELAY_BAD: f32 = 400.0;
/// Milliseconds. What our jitter buffer still covers without a delay that disturbs a conversation is ours: 80.
const JITTER_SOME: f32 = 30.0;
const JITTER_BAD: f32 = 80.0;
/// dBFS of active speech. ITU-T P.56 levels of well set up telephones are about -26; gain control adds some 20 dB.
const QUIET_SOME: f32 = -42.0;
const QUIET_BAD: f32 = -50.0;
/// Per cent of samples at the end of the scale: above the first it is heard, above the second everybody complains.
const CLIPPED_SOME: f32 = 0.1;
const CLIPPED_BAD: f32 = 1.0;
/// dBFS, and dB between voice and noise. Suppression takes some 15 dB away.
const NOISE_SOME: f32 = -44.0;
const NOISE_BAD: f32 = -36.0;
const OVER_NOISE_SOME: f32 = 20.0;
const OVER_NOISE_BAD: f32 = 12.0;
/// A microphone that takes what is played at nearly its own level is not in a room with the speaker but wired to it.
const RETURN_LOSS_BAD: f32 = 6.0;
/// Behind the canceller: below the first the other party hears themselves faintly, below the second clearly.
const CANCELLED_SOME: f32 = 25.0;
const CANCELLED_BAD: f32 = 15.0;

/// The verdict on what was measured.
pub fn report(measured: &CheckMeasured) -> CheckReport {
    let mut findings = Vec::new();
    judge_microphone(&measured.microphone, measured.asked_to_speak, &mut findings);
    match measured.speaker.state {
        DeviceState::Missing | DeviceState::Refused | DeviceState::InUse => {
            findings.push(serious(CheckFault::NoSpeaker, None));
        }
        DeviceState::Unknown | DeviceState::Opened => {}
    }
    judge_echo(measured.echo, &mut findings);
    judge_network(measured, &mut findings);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.fault));
    let serious = findings.iter().any(|finding| finding.severity == Severity::Serious);
    let verdict = if serious { Verdict::Problems } else { Verdict::Ready };
    CheckReport { verdict, findings, paths: measured.paths.clone() }
}

fn judge_microphone(microphone: &MicrophoneMeasured, asked: bool, findings: &mut Vec<Finding>) {
    match microphone.state {
        DeviceState::Unknown | DeviceState::Opened => {}
        DeviceState::Missing => return findings.push(serious(CheckFault::NoMicrophone, None)),
        DeviceState::Refused => return findings.push(serious(CheckFault::MicrophoneRefused, None)),
        DeviceState::InUse => return findings.push(serious(CheckFault::MicrophoneInUse, None)),
    }
    if microphone.zeros_only {
        return findings.push(serious(CheckFault::MicrophoneSilent, None));
    }
    match microphone.speech_dbfs {
        Some(level) => below(findings, CheckFault::TooQuiet, level, QUIET_SOME, QUIET_BAD),
        None if asked => findings.push(serious(CheckFault::TooQuiet, None)),
        None => {}
    }
    above(findings, CheckFault::Clipping, microphone.clipped * 100.0, CLIPPED_SOME, CLIPPED_BAD);
    if let Some(noise) = microphone.noise_dbfs {
        let over = microphone.speech_dbfs.map(|speech| speech - noise);
        let severity = if noise >= NOISE_BAD || over.is_some_and(|over| over < OVER_NOISE_BAD) {
            Some(Severity::Serious)
        } else if noise >= NOISE_SOME || over.is_some_and(|over| over < OVER_NOISE_SOME) {
            Some(Severity::Minor)
        } else {
            None
        };
        findings.extend(severity.map(|severity| Finding { fault: CheckFault::Noisy, severity, measured: Some(noise) }));
    }
}

fn judge_echo(echo: Option<EchoMeasured>, findings: &mut Vec<Finding>) {
    let Some(echo) = echo else { return };
    if echo.return_loss_db < RETURN_LOSS_BAD {
        findings.push(serious(CheckFault::Echo, Some(echo.return_loss_db)));
    } else {
        below(findings, CheckFault::Echo, echo.cancelled_loss_db, CANCELLED_SOME, CANCELLED_BAD);
    }
}

fn judge_network(measured: &CheckMeasured, findings: &mut Vec<Finding>) {
    match measured.echo_peer {
        Presence::Missing => return findings.push(minor(CheckFault::NotTested, None)),
        Presence::Unreachable => return findings.push(serious(CheckFault::NoNetwork, None)),
        Presence::Unknown if measured.paths.is_empty() => {
            return findings.push(minor(CheckFault::NotTested, None));
        }
        Presence::Unknown | Presence::There => {}
    }
    let Some(used) = measured.paths.iter().find(|path| path.connected) else {
        return findings.push(serious(CheckFault::NoNetwork, None));
    };
    match used.path {
        CheckPath::Direct => {}
        CheckPath::RelayUdp => findings.push(minor(CheckFault::OnlyRelay, None)),
        CheckPath::RelayTcp | CheckPath::RelayTls => findings.push(serious(CheckFault::UdpBlocked, None)),
    }
    above(findings, CheckFault::Loss, used.loss_up.max(used.loss_down) * 100.0, LOSS_SOME, LOSS_BAD);
    if let Some(round_trip) = used.round_trip_ms {
        above(findings, CheckFault::Delay, round_trip, DELAY_SOME, DELAY_BAD);
    }
    above(findings, CheckFault::Jitter, used.jitter_ms, JITTER_SOME, JITTER_BAD);
}

fn above(findings: &mut Vec<Finding>, fault: CheckFault, value: f32, some: f32, bad: f32) {
    if value >= bad {
        findings.push(serious(fault, Some(value)));
    } else if value >= some {
        findings.push(minor(fault, Some(value)));
    }
}

fn below(findings: &mut Vec<Finding>, fault: CheckFault, value: f32, some: f32, bad: f32) {
    if value < bad {
        findings.push(serious(fault, Some(value)));
    } else if value < some {
        findings.push(minor(fault, Some(value)));
    }
}

fn serious(fault: CheckFault, measured: Option<f32>) -> Finding {
    Finding { fault, severity: Severity::Serious, measured }
}

fn minor(fault: CheckFault, measured: Option<f32>) -> Finding {
    Finding { fault, severity: Severity::Minor, measured }
}
