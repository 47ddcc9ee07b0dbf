//! A check before a call, from signing in to the exit status.

mod words;

use crate::args::CheckPlan;
use crate::events::{Event, Events, refusal_sentence};
use crate::interrupt::Interrupt;
use crate::{Exit, bad_usage};
use bellwire_client::{
    CheckFault, CheckReport, Client, Link, PathMeasured, Request, Severity, Stage, Stop, Update, Verdict,
};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long the server is waited for; then devices alone are checked, and that there is no way to the server is told.
const SIGN_IN: Duration = Duration::from_secs(12);
/// A check has deadlines of its own; this is beyond all of them.
const LONGEST: Duration = Duration::from_secs(180);

/// What a check came to, as it is printed.
#[derive(Debug, Serialize)]
pub struct Checked {
    verdict: Verdict,
    sentence: String,
    findings: Vec<Found>,
    paths: Vec<PathMeasured>,
}

#[derive(Debug, Serialize)]
struct Found {
    fault: CheckFault,
    severity: Severity,
    /// In the fault's unit; docs/cli.md lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<f32>,
    sentence: String,
    fix: &'static str,
}

pub async fn run(plan: CheckPlan) -> Exit {
    let mut interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return bad_usage(&format!("the system gives no signals: {error}")),
    };
    let events = Events::start(plan.device.format);
    let (client, mut updates) = Client::start(plan.device.config);
    let mut run = Run { quick: plan.quick, client, events, begun: false, stage: None };
    let (mut begins_at, ends_at) = (Some(Instant::now() + SIGN_IN), Instant::now() + LONGEST);
    let exit = loop {
        tokio::select! {
            update = updates.next() => match update {
                Some(update) => if let Some(exit) = run.update(update) {
                    break exit;
                },
                None => break Exit::Refused,
            },
            () = interrupt.next() => break Exit::NotAnswered,
            () = sleep_until(begins_at.unwrap_or(ends_at)) => match begins_at.take() {
                Some(_) => run.begin(),
                None => {
                    run.events.error("the check does not come to an end");
                    break Exit::MediaFailed;
                }
            },
        }
        if run.begun {
            begins_at = None;
        }
    };
    run.client.shutdown().await;
    exit
}

struct Run {
    quick: bool,
    client: Client,
    events: Events,
    begun: bool,
    stage: Option<Stage>,
}

impl Run {
    /// Says how this ends, once it does.
    fn update(&mut self, update: Update) -> Option<Exit> {
        match update {
            Update::Snapshot(snapshot) => {
                if snapshot.link == Link::Up && snapshot.bookings_known {
                    self.begin();
                }
                let check = snapshot.check.filter(|_| self.begun)?;
                if self.stage != Some(check.stage) {
                    self.stage = Some(check.stage);
                    self.events.say(&Event::CheckStage { stage: check.stage });
                }
                check.report.map(|report| self.end(&report))
            }
            Update::Device(event) => {
                self.events.say(&Event::Device(event));
                None
            }
            Update::Refused { code, retry_after_ms } => {
                self.events.say(&Event::Refused { code, retry_after_ms });
                Some(Exit::Refused)
            }
            Update::Stopped(stop) => Some(self.stopped(stop)),
            Update::Level { .. }
            | Update::Stats(_)
            | Update::MemberStats { .. }
            | Update::Flowing { .. }
            | Update::NetworkChanged
            | Update::SpeakingMuted { .. }
            | Update::History(_)
            | Update::Devices(_)
            | Update::ReportSaved(_) => None,
        }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.client.request(Request::StartCheck { automatic: self.quick });
        }
    }

    fn end(&self, report: &CheckReport) -> Exit {
        let found = |finding: &bellwire_client::Finding| Found {
            fault: finding.fault,
            severity: finding.severity,
            measured: finding.measured,
            sentence: words::sentence(finding),
            fix: words::fix(finding.fault),
        };
        let checked = Checked {
            verdict: report.verdict,
            sentence: words::verdict(report),
            findings: report.findings.iter().map(found).collect(),
            paths: report.paths.clone(),
        };
        self.events.say(&Event::Check(Box::new(checked)));
        match report.verdict {
            Verdict::Ready => Exit::Normal,
            Verdict::Problems => Exit::Problems,
        }
    }

    fn stopped(&self, stop: Stop) -> Exit {
        match stop {
            Stop::TokenRefused { code } => {
                self.events.error(refusal_sentence(code));
                Exit::Refused
            }
            Stop::Replaced | Stop::VersionUnsupported => {
                self.events.error(stop.to_string());
                Exit::Refused
            }
            Stop::BadAddress => bad_usage(&stop.to_string()),
        }
    }
}

/// What a person has to do in this stage, or what goes on in it.
pub fn stage_sentence(stage: Stage) -> &'static str {
    match stage {
        Stage::Devices => "opening microphone and speaker",
        Stage::Direct => "trying the direct way through the network",
        Stage::RelayUdp => "trying the relay over UDP",
        Stage::RelayTcp => "trying the relay over TCP",
        Stage::RelayTls => "trying the relay over TLS",
        Stage::Speak => "say a sentence now, as you would in a call",
        Stage::Listen => "this is how it arrives; please be quiet for a moment",
        Stage::Done => "done",
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        for found in &self.findings {
            write!(f, "\n           {}\n             {}", found.sentence, found.fix)?;
        }
        for path in &self.paths {
            write!(f, "\n           {}", words::path(path))?;
        }
        Ok(())
    }
}
