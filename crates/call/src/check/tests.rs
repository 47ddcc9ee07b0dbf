use super::*;
use bellwire_signaling::Credential;

fn good_path(path: CheckPath) -> PathMeasured {
    PathMeasured {
        path,
        connected: true,
        setup_ms: 120,
        loss_up: 0.0,
        loss_down: 0.0,
        round_trip_ms: Some(30.0),
        jitter_ms: 2.0,
    }
}

fn good_microphone() -> MicrophoneMeasured {
    MicrophoneMeasured {
        state: DeviceState::Opened,
        zeros_only: false,
        speech_dbfs: Some(-26.0),
        clipped: 0.0,
        noise_dbfs: Some(-65.0),
    }
}

fn good() -> CheckMeasured {
    CheckMeasured {
        microphone: good_microphone(),
        speaker: SpeakerMeasured { state: DeviceState::Opened },
        asked_to_speak: true,
        echo: Some(EchoMeasured { return_loss_db: 20.0, cancelled_loss_db: 45.0 }),
        paths: vec![good_path(CheckPath::Direct), good_path(CheckPath::RelayUdp)],
        echo_peer: Presence::There,
    }
}

/// One fault planted in what is good otherwise: what the report names first, and how bad it is.
fn check(plant: impl FnOnce(&mut CheckMeasured), expected: &str) {
    let mut measured = good();
    plant(&mut measured);
    let report = report(&measured);
    let findings: Vec<String> = report.findings.iter().map(|f| format!("{:?} {:?}", f.severity, f.fault)).collect();
    assert_eq!(format!("{:?}: {}", report.verdict, findings.join(", ")), expected, "{measured:?}");
}

#[test]
fn each_planted_fault_is_named() {
    check(|_| {}, "Ready: ");
    check(|m| m.microphone.state = DeviceState::Missing, "Problems: Serious NoMicrophone");
    check(|m| m.microphone.state = DeviceState::Refused, "Problems: Serious MicrophoneRefused");
    check(|m| m.microphone.state = DeviceState::InUse, "Problems: Serious MicrophoneInUse");
    check(|m| m.microphone.zeros_only = true, "Problems: Serious MicrophoneSilent");
    check(|m| m.microphone.speech_dbfs = None, "Problems: Serious TooQuiet");
    check(|m| m.microphone.speech_dbfs = Some(-44.0), "Ready: Minor TooQuiet");
    check(|m| m.microphone.speech_dbfs = Some(-51.0), "Problems: Serious TooQuiet, Minor Noisy");
    check(|m| m.microphone.clipped = 0.004, "Ready: Minor Clipping");
    check(|m| m.microphone.clipped = 0.03, "Problems: Serious Clipping");
    check(|m| m.microphone.noise_dbfs = Some(-42.0), "Ready: Minor Noisy");
    check(|m| m.microphone.noise_dbfs = Some(-35.0), "Problems: Serious Noisy");
    check(|m| m.speaker.state = DeviceState::Missing, "Problems: Serious NoSpeaker");
    check(|m| m.echo = Some(EchoMeasured { return_loss_db: 0.5, cancelled_loss_db: 40.0 }), "Problems: Serious Echo");
    check(|m| m.echo = Some(EchoMeasured { return_loss_db: 12.0, cancelled_loss_db: 20.0 }), "Ready: Minor Echo");
    check(|m| m.echo = Some(EchoMeasured { return_loss_db: 12.0, cancelled_loss_db: 13.0 }), "Problems: Serious Echo");
    check(|m| m.paths[0].loss_up = 0.15, "Problems: Serious Loss");
    check(|m| m.paths[0].loss_down = 0.15, "Problems: Serious Loss");
    check(|m| m.paths[0].loss_down = 0.06, "Ready: Minor Loss");
    check(|m| m.paths[0].round_trip_ms = Some(500.0), "Problems: Serious Delay");
    check(|m| m.paths[0].round_trip_ms = Some(320.0), "Ready: Minor Delay");
    check(|m| m.paths[0].jitter_ms = 100.0, "Problems: Serious Jitter");
    check(|m| m.paths[0].jitter_ms = 40.0, "Ready: Minor Jitter");
    check(|m| m.paths[0].connected = false, "Ready: Minor OnlyRelay");
    check(|m| m.paths.iter_mut().for_each(|path| path.connected = false), "Problems: Serious NoNetwork");
    check(
        |m| {
            m.paths.iter_mut().for_each(|path| path.connected = false);
            m.paths.push(good_path(CheckPath::RelayTls));
        },
        "Problems: Serious UdpBlocked",
    );
    check(|m| (m.echo_peer, m.paths) = (Presence::Unreachable, vec![]), "Problems: Serious NoNetwork");
    check(|m| (m.echo_peer, m.paths) = (Presence::Missing, vec![]), "Ready: Minor NotTested");
}

#[test]
fn the_worst_is_told_first() {
    check(
        |m| {
            m.paths[0].loss_down = 0.07;
            m.paths[0].round_trip_ms = Some(700.0);
            m.microphone.clipped = 0.05;
        },
        "Problems: Serious Clipping, Serious Delay, Minor Loss",
    );
}

fn server(urls: &[&str]) -> IceServer {
    IceServer {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        username: Some("1:u".into()),
        credential: Credential::new("secret").ok(),
    }
}

#[test]
fn each_way_has_its_own_servers_alone() {
    let all = [
        server(&["stun:h:1"]),
        server(&["turn:h:1?transport=udp", "turn:h:1?transport=tcp", "turns:h:2?transport=tcp"]),
        server(&["turn:other:1"]),
    ];
    for (path, expected) in [
        (CheckPath::Direct, vec!["stun:h:1"]),
        (CheckPath::RelayUdp, vec!["turn:h:1?transport=udp", "turn:other:1"]),
        (CheckPath::RelayTcp, vec!["turn:h:1?transport=tcp"]),
        (CheckPath::RelayTls, vec!["turns:h:2?transport=tcp"]),
    ] {
        let urls: Vec<String> = servers_for(path, &all).into_iter().flat_map(|server| server.urls).collect();
        assert_eq!(urls, expected, "{path:?}");
    }
}

/// Drives a check whose world answers as it is told, in virtual time, and writes down what it did.
struct World {
    check: Check,
    now: Monotonic,
    did: Vec<String>,
    servers: Vec<IceServer>,
    works: fn(CheckPath) -> bool,
    answers: bool,
}

impl World {
    fn new(kind: Kind, works: fn(CheckPath) -> bool) -> Self {
        Self {
            check: Check::new(kind, Monotonic(1_000)),
            now: Monotonic(1_000),
            did: Vec::new(),
            servers: vec![server(&["turn:h:1?transport=udp", "turns:h:2?transport=tcp"])],
            works,
            answers: true,
        }
    }

    fn run(mut self) -> (Vec<String>, Option<CheckReport>) {
        loop {
            let mut inputs = Vec::new();
            while let Some(output) = self.check.poll_output() {
                match output {
                    CheckOutput::Report(report) => return (self.did, Some(*report)),
                    output => inputs.extend(self.carry_out(output)),
                }
            }
            if inputs.is_empty() {
                let Some(at) = self.check.poll_timeout() else { return (self.did, None) };
                self.now = at;
                inputs.push(CheckInput::Timeout);
            }
            for input in inputs {
                self.now.0 += 10;
                self.check.handle(input, self.now);
                let progress = self.check.progress(self.now);
                assert!((0.0..=1.0).contains(&progress), "{progress}");
            }
        }
    }

    fn carry_out(&mut self, output: CheckOutput) -> Option<CheckInput> {
        let id = CheckId::from_bits(1);
        match output {
            CheckOutput::Start => self.answers.then_some(CheckInput::Started(Some(id))),
            CheckOutput::AskServers { .. } => Some(CheckInput::Servers(self.servers.clone())),
            CheckOutput::Sound(CheckOrder::OpenDevices) => Some(CheckInput::Heard(CheckHeard::Devices {
                microphone: good_microphone(),
                speaker: SpeakerMeasured { state: DeviceState::Opened },
            })),
            CheckOutput::Sound(CheckOrder::OpenPath { path, .. }) => {
                self.did.push(format!("open {path:?}"));
                (self.works)(path).then(|| CheckInput::Heard(CheckHeard::Path(good_path(path))))
            }
            CheckOutput::Sound(CheckOrder::ClosePath { path }) => {
                self.did.push(format!("close {path:?}"));
                None
            }
            CheckOutput::Sound(CheckOrder::Speak { path }) => {
                self.did.push(format!("speak by {path:?}"));
                Some(CheckInput::Heard(CheckHeard::Spoke(good_microphone())))
            }
            CheckOutput::Sound(CheckOrder::Listen) => {
                self.did.push("listen".into());
                Some(CheckInput::Heard(CheckHeard::Listened(None)))
            }
            CheckOutput::Sound(CheckOrder::Close) => {
                self.did.push("close".into());
                None
            }
            CheckOutput::End { .. } => {
                self.did.push("end".into());
                None
            }
            CheckOutput::Sound(CheckOrder::Answer { .. }) | CheckOutput::Offer { .. } => None,
            CheckOutput::Report(_) => None,
        }
    }
}

#[test]
fn a_check_goes_each_way_then_lets_the_person_speak_and_listen() {
    let (did, report) = World::new(Kind::ByHand, |_| true).run();
    let expected = [
        "open Direct",
        "open RelayUdp",
        "close RelayUdp",
        "open RelayTls",
        "close RelayTls",
        "speak by Direct",
        "listen",
        "close",
        "end",
    ];
    assert_eq!(did, expected);
    assert_eq!(report.map(|report| report.verdict), Some(Verdict::Ready));
}

#[test]
fn by_itself_it_plays_nothing_and_asks_nobody() {
    let (did, report) = World::new(Kind::Automatic, |_| true).run();
    assert!(!did.iter().any(|step| step.starts_with("speak") || step == "listen"), "{did:?}");
    assert_eq!(report.map(|report| report.verdict), Some(Verdict::Ready));
}

#[test]
fn the_sentence_goes_by_the_first_way_that_works_and_blocked_udp_is_named() {
    let (did, report) = World::new(Kind::ByHand, |path| path == CheckPath::RelayTls).run();
    assert!(did.contains(&"speak by RelayTls".to_owned()), "{did:?}");
    let faults: Vec<_> = report.into_iter().flat_map(|report| report.findings).map(|finding| finding.fault).collect();
    assert_eq!(faults, [CheckFault::UdpBlocked]);
}

#[test]
fn a_server_that_never_answers_ends_the_check_with_no_network() {
    let mut world = World::new(Kind::ByHand, |_| true);
    world.answers = false;
    let (did, report) = world.run();
    assert_eq!(did, ["close"]);
    assert_eq!(
        report.and_then(|report| report.findings.first().map(|finding| finding.fault)),
        Some(CheckFault::NoNetwork)
    );
}

#[test]
fn a_check_that_is_stopped_closes_all_and_reports_nothing() {
    let mut check = Check::new(Kind::ByHand, Monotonic(0));
    check.handle(CheckInput::Started(Some(CheckId::from_bits(1))), Monotonic(10));
    check.handle(CheckInput::Stop, Monotonic(20));
    let outputs: Vec<_> = std::iter::from_fn(|| check.poll_output()).collect();
    assert!(outputs.contains(&CheckOutput::Sound(CheckOrder::Close)));
    assert!(outputs.iter().any(|output| matches!(output, CheckOutput::End { .. })));
    assert!(!outputs.iter().any(|output| matches!(output, CheckOutput::Report(_))));
    assert_eq!((check.poll_timeout(), check.stage()), (None, Stage::Done));
}
