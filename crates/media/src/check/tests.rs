//! A way to a far side that stays deaf.

use super::*;
use crate::check::line::{Line, LineEvent};
use crate::{DeviceChoice, Processing, Reflector};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

const CAP: Duration = Duration::from_secs(60);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn check() -> SoundCheck {
    let file = |name: &str| DeviceChoice::Wav(PathBuf::from(name));
    SoundCheck::start(Config {
        ring: None,
        input: file("not-opened.wav"),
        output: file("not-opened-either.wav"),
        processing: Processing::default(),
        ice_servers: Vec::new(),
        bind: Some(HERE),
    })
    .expect("a check")
}

async fn next(check: &mut SoundCheck) -> CheckEvent {
    tokio::time::timeout(CAP, check.next()).await.expect("an event in time").expect("an event")
}

async fn offer(check: &mut SoundCheck) -> String {
    match next(check).await {
        CheckEvent::Offer { sdp, .. } => sdp,
        other => panic!("{other:?} instead of an offer"),
    }
}

/// Connects, and sends nothing back.
async fn answer_deaf(check: &SoundCheck, offer: &str) -> tokio::task::JoinHandle<()> {
    let mut line = Line::open(Vec::new(), Some(HERE), Route::Any);
    line.set_remote(DescriptionKind::Offer, offer);
    loop {
        if let LineEvent::Described(sdp) = line.next().await {
            check.command(CheckCommand::Answer { route: CheckRoute::Direct, sdp });
            break;
        }
    }
    tokio::spawn(async move { while !matches!(line.next().await, LineEvent::Failed(_)) {} })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_whose_far_side_is_deaf_is_opened_anew_and_works() {
    let mut check = check();
    check.command(CheckCommand::OpenPath { route: CheckRoute::Direct, servers: Vec::new() });
    let first = offer(&mut check).await;
    let deaf = answer_deaf(&check, &first).await;
    let second = offer(&mut check).await;
    assert_ne!(first, second);
    let mut reflector = Reflector::start(second, Vec::new(), Some(HERE), Route::Any, CAP);
    let sdp = reflector.answer().await.expect("an answer");
    check.command(CheckCommand::Answer { route: CheckRoute::Direct, sdp });
    let CheckEvent::Path { figures, .. } = next(&mut check).await else { panic!("no figures") };
    assert!(figures.connected && figures.setup_ms >= DEAF.as_millis() as u32, "{figures:?}");
    deaf.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_whose_far_side_stays_deaf_does_not_work() {
    let mut check = check();
    check.command(CheckCommand::OpenPath { route: CheckRoute::Direct, servers: Vec::new() });
    let mut far = Vec::new();
    let figures = loop {
        match next(&mut check).await {
            CheckEvent::Offer { sdp, .. } => far.push(answer_deaf(&check, &sdp).await),
            CheckEvent::Path { figures, .. } => break figures,
            other => panic!("{other:?} instead of an offer or figures"),
        }
    };
    assert!(!figures.connected && far.len() <= OPENINGS as usize && far.len() > 1, "{figures:?}, {}", far.len());
    far.iter().for_each(|far| far.abort());
}
