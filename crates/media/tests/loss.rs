//! Two engines over a path that loses packets: what is seen of it on the wire, and what becomes of it.

mod common;

use bellwire_media::{Candidate, Command, Event, Leg, ProtectionReason, Route, Stats};
use common::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// One direction of the path, as whoever reads along can know it: packets are enciphered, their headers are not.
#[derive(Default)]
struct Seen {
    /// Of each sequence number the payload type, and how often it came by.
    packets: BTreeMap<u16, (u8, u32)>,
    reports: u32,
}

/// Stands in for each of the two towards the other.
struct Path {
    sockets: [Arc<UdpSocket>; 2],
    /// Where the two are, as they said.
    people: [watch::Sender<Option<SocketAddr>>; 2],
    seen: [Arc<Mutex<Seen>>; 2],
    /// Whether every fifth packet of sound is lost, and every fifth report.
    lossy: Arc<AtomicBool>,
}

const OPUS: u8 = 111;
const RED: u8 = 63;
/// Packets of RTP and RTCP by their first byte (RFC 7983, section 7), RTCP by its second (RFC 5761, section 4).
const SOUND: std::ops::RangeInclusive<u8> = 128..=191;
const REPORTS: std::ops::RangeInclusive<u8> = 192..=223;

impl Path {
    async fn open() -> Self {
        let socket = || async { Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()) };
        let path = Self {
            sockets: [socket().await, socket().await],
            people: [watch::channel(None).0, watch::channel(None).0],
            seen: Default::default(),
            lossy: Arc::default(),
        };
        for from in [0, 1] {
            // What the other sends comes in at the socket that stands in for this one, and leaves by the other's.
            let to = 1 - from;
            let (comes, leaves) = (Arc::clone(&path.sockets[to]), Arc::clone(&path.sockets[from]));
            let (person, seen) = (path.people[to].subscribe(), Arc::clone(&path.seen[from]));
            let (lossy, mut dice) = (Arc::clone(&path.lossy), Dice::new(from as u64 + 1));
            tokio::spawn(async move {
                let mut buffer = [0; 2048];
                while let Ok((length, _)) = comes.recv_from(&mut buffer).await {
                    let packet = &buffer[..length];
                    if length > 12 && SOUND.contains(&packet[0]) {
                        let mut seen = seen.lock().unwrap();
                        if REPORTS.contains(&packet[1]) {
                            seen.reports += 1;
                        } else {
                            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
                            let (kind, times) = seen.packets.entry(sequence).or_default();
                            (*kind, *times) = (packet[1] & 0x7F, *times + 1);
                        }
                        if lossy.load(Ordering::Relaxed) && dice.roll() < 0.2 {
                            continue;
                        }
                    }
                    let person = *person.borrow();
                    if let Some(person) = person {
                        let _ = leaves.send_to(packet, person).await;
                    }
                }
            });
        }
        path
    }

    /// The candidate that leads to this person by way of the path.
    fn redirect(&self, person: usize, candidate: &Candidate) -> Candidate {
        let mut words: Vec<String> = candidate.candidate.split(' ').map(str::to_owned).collect();
        let address = format!("{}:{}", words[4], words[5]).parse().unwrap();
        self.people[person].send_replace(Some(address));
        words[5] = self.sockets[person].local_addr().unwrap().port().to_string();
        Candidate { candidate: words.join(" "), ..candidate.clone() }
    }

    fn count(&self, from: usize, of: impl Fn(u8, u32) -> bool) -> usize {
        self.seen[from].lock().unwrap().packets.values().filter(|(kind, times)| of(*kind, *times)).count()
    }
}

/// What of a description an app says that knows Opus alone.
fn plain(sdp: &str) -> String {
    let about = ["a=rtcp-fb:", "a=rtcp-xr:", "a=rtpmap:63", "a=fmtp:63"];
    let lines = sdp.lines().filter(|line| !about.iter().any(|about| line.starts_with(about)));
    lines.map(|line| line.replace(" 111 63", " 111").replace(";x-dred=1", "") + "\r\n").collect()
}

/// Two who speak, joined by a path, until both hear each other.
async fn call(folder: &Folder, path: &Path, pass: impl Fn(usize, &str) -> String) -> Vec<Person> {
    let mut people = Vec::new();
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        let voice = folder.file(&format!("{name}.wav"));
        write_wav(&voice, &speech(60.0, at as u64 + 1));
        people.push(Person::new(config(&voice, &folder.file(&format!("at-{name}.wav")))));
    }
    let leg = Leg::CALL;
    people.iter().for_each(|p| p.engine.command(Command::Open { leg, generation: 1, route: Route::Any }));
    people[0].engine.command(Command::Offer { leg, generation: 1 });
    while !people.iter().all(|person| flows(&person.said, 1)) {
        let (from, event) = next_of(&mut people).await;
        match event {
            Event::Description { generation, kind, sdp, .. } => {
                let lines = sdp.lines().filter(|line| !line.starts_with("a=candidate:"));
                let sdp: String = lines.map(|line| format!("{line}\r\n")).collect();
                let sdp = pass(from, &sdp);
                people[1 - from].engine.command(Command::SetRemote { leg, generation, kind, sdp });
            }
            Event::Candidates { generation, candidates, .. } => {
                let candidates: Vec<_> = candidates.iter().map(|candidate| path.redirect(from, candidate)).collect();
                people[1 - from].engine.command(Command::AddCandidates { leg, generation, candidates });
            }
            _ => {}
        }
    }
    people
}

/// Both go on until somebody's figures fit.
async fn figures(people: &mut [Person], fits: impl Fn(usize, &Stats) -> bool) -> Stats {
    let end = tokio::time::Instant::now() + CAP;
    let mut last = [Stats::default(), Stats::default()];
    loop {
        assert!(tokio::time::Instant::now() < end, "what the test waits for was not said: {last:?}");
        if let (at, Event::Stats { stats, .. }) = next_of(people).await {
            if fits(at, &stats) {
                return *stats;
            }
            last[at] = *stats;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_asked_for_and_comes_again_and_copies_go_along() {
    let folder = Folder::new("lossy");
    let path = Path::open().await;
    let mut people = call(&folder, &path, |_, sdp| sdp.to_owned()).await;
    // Asking makes sense once the way there and back is known.
    figures(&mut people, |at, stats| at == 0 && stats.round_trip_ms.is_some()).await;
    assert_eq!(path.count(0, |_, times| times > 1), 0, "sent twice though nothing was lost");
    path.lossy.store(true, Ordering::Relaxed);
    let recovered = figures(&mut people, |at, stats| at == 1 && stats.recovered > 0.05 && stats.loss_in > 0.05).await;
    println!("b: {recovered:?}");
    let told = figures(&mut people, |at, stats| at == 0 && stats.loss_out.is_some_and(|loss| loss > 0.05)).await;
    println!("a: {told:?}");
    let lossy = |why| matches!(why, ProtectionReason::Loss | ProtectionReason::Bursts);
    let protects =
        |stats: &Stats| stats.protection.resending && stats.protection.copies > 0 && lossy(stats.protection.why);
    let protection = figures(&mut people, |at, stats| at == 0 && protects(stats)).await.protection;
    println!("{protection:?}");
    let both = |path: &Path| [0, 1].iter().all(|from| path.count(*from, |kind, _| kind == RED) > 0);
    figures(&mut people, |_, _| both(&path)).await;
    for from in [0, 1] {
        let (again, red) = (path.count(from, |_, times| times > 1), path.count(from, |kind, _| kind == RED));
        let all = path.count(from, |_, _| true);
        println!("{again} of {all} were sent again, {red} with copies");
        assert!(again > 0, "nothing was sent again");
        assert_eq!(path.count(from, |kind, _| kind != RED && kind != OPUS), 0);
    }
    for person in people {
        person.engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_knows_opus_alone_gets_opus_alone_and_says_what_is_lost() {
    let folder = Folder::new("plain");
    let path = Path::open().await;
    let mut people = call(&folder, &path, |_, sdp| plain(sdp)).await;
    path.lossy.store(true, Ordering::Relaxed);
    for side in [0, 1] {
        let told = figures(&mut people, |at, stats| {
            at == side && stats.round_trip_ms.is_some() && stats.loss_out.is_some_and(|loss| loss > 0.05)
        });
        println!("{:?}", told.await);
    }
    for from in [0, 1] {
        assert_eq!(path.count(from, |kind, times| kind != OPUS || times > 1), 0, "not plain");
        assert!(path.seen[from].lock().unwrap().reports > 0);
    }
    for person in people {
        person.engine.shutdown().await;
    }
}
