//! Far sides that are not like us: offers with video, offers that change a connection, and peer connections begun anew.

mod common;

use bellwire_media::{Command, Event, Leg, Route};
use common::*;
use std::time::Duration;
use tokio::time::Instant;

fn quiet(folder: &Folder, name: &str) -> Person {
    let input = folder.file(&format!("{name}-silence.wav"));
    write_wav(&input, &vec![0.0; RATE / 10]);
    Person::new(config(&input, &folder.file(&format!("at-{name}.wav"))))
}

const CALL: Leg = Leg::CALL;

async fn description(person: &mut Person) -> String {
    person.until(|e| if let Event::Description { sdp, .. } = e { Some(sdp.clone()) } else { None }).await
}

fn remote(person: &Person, kind: bellwire_media::DescriptionKind, sdp: &str) {
    person.engine.command(Command::SetRemote { leg: CALL, generation: 1, kind, sdp: sdp.to_owned() });
}

/// The kind, the port and the name of each section.
fn sections(sdp: &str) -> Vec<(String, String, String)> {
    let mut sections = Vec::new();
    for line in sdp.lines() {
        let mut words = line.split(' ');
        if let Some(kind) = words.next().and_then(|word| word.strip_prefix("m=")) {
            sections.push((kind.to_owned(), words.next().unwrap().to_owned(), String::new()));
        }
        if let (Some(mid), Some(section)) = (line.strip_prefix("a=mid:"), sections.last_mut()) {
            section.2 = mid.to_owned();
        }
    }
    sections
}

fn section(kind: &str, port: &str, mid: &str) -> (String, String, String) {
    (kind.to_owned(), port.to_owned(), mid.to_owned())
}

/// The next description of the same session.
fn next_version(sdp: &str) -> String {
    let origin = sdp.lines().find(|line| line.starts_with("o=")).unwrap();
    let mut words: Vec<String> = origin.split(' ').map(str::to_owned).collect();
    words[2] = (words[2].parse::<u64>().unwrap() + 1).to_string();
    sdp.replace(origin, &words.join(" "))
}

/// Nothing of what was said so far counts; then speech is still received and nothing failed.
async fn goes_on(a: &mut Person, b: &mut Person) {
    for person in [&mut *a, &mut *b] {
        person.said.clear();
    }
    let time = Duration::from_millis(3500);
    tokio::join!(a.listen(time), b.listen(time));
    for person in [a, b] {
        assert!(!person.said.iter().any(|(_, e)| matches!(e, Event::Failed { .. } | Event::Stalled { .. })));
        let loss = person.said.iter().rev().find_map(|(_, event)| match event {
            Event::Stats { stats, .. } => Some((stats.bitrate_in, stats.loss_in)),
            _ => None,
        });
        assert!(loss.is_some_and(|(bitrate, loss)| bitrate > 0 && loss < 0.5), "nothing is received: {loss:?}");
    }
}

const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=mid:cam\r\na=sendrecv\r\na=msid:- camera\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 900 901\r\na=ssrc:900 cname:x\r\na=ssrc:901 cname:x\r\n";

/// An offer of Chromium for sound and pictures, its keys and addresses made up.
const CHROMIUM: &str = include_str!("offers/chromium-audio-video.sdp");

#[tokio::test(flavor = "multi_thread")]
async fn a_browsers_offer_with_video_is_answered_with_sound_alone() {
    let folder = Folder::new("chromium");
    let mut a = quiet(&folder, "a");
    a.engine.command(Command::Open { leg: CALL, generation: 1, route: Route::Any });
    remote(&a, OFFER, &CHROMIUM.replace("\r\n", "\n").replace('\n', "\r\n"));
    let answer = description(&mut a).await;
    let expected = [section("audio", "9", "0"), section("video", "0", "1"), section("application", "9", "2")];
    assert_eq!(sections(&answer), expected);
    assert!(answer.contains("a=group:BUNDLE 0 2\r\n"), "{answer}");
    assert!(answer.contains("a=setup:active\r\n") && answer.contains("a=sendrecv\r\n"));
    let video = &answer[answer.find("m=video").unwrap()..answer.find("m=application").unwrap()];
    assert!(video.contains("a=inactive\r\n"));
    a.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_flows_though_video_and_a_second_sound_were_offered_and_later_more_is() {
    let folder = Folder::new("video");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    for person in [&a, &b] {
        person.engine.command(Command::Open { leg: CALL, generation: 1, route: Route::Any });
    }
    a.engine.command(Command::Offer { leg: CALL, generation: 1 });
    let offer = description(&mut a).await;
    let (audio, data) = (offer.find("m=audio").unwrap(), offer.find("m=application").unwrap());
    let second = offer[audio..data].replace("a=mid:0", "a=mid:second");
    let more = [&offer[..audio], VIDEO, &offer[audio..data], &second, &offer[data..]].concat();
    let more = more.replace("BUNDLE 0 1", "BUNDLE cam 0 second 1");
    remote(&b, OFFER, &more);
    let answer = description(&mut b).await;
    let expected = [
        // The first carries the others, so it is not refused but inactive.
        section("video", "9", "cam"),
        section("audio", "9", "0"),
        section("audio", "0", "second"),
        section("application", "9", "1"),
    ];
    assert_eq!(sections(&answer), expected);
    // What A offered itself is answered to A: it is only the offer that had more.
    let (first, last) = (answer.find("m=audio").unwrap(), answer.find("m=application").unwrap());
    let second = answer[first + 1..].find("m=audio").unwrap() + first + 1;
    let head = &answer[..answer.find("m=video").unwrap()].replace("BUNDLE cam ", "BUNDLE ");
    remote(&a, ANSWER, &[head, &answer[first..second], &answer[last..]].concat());
    join(&mut a, &mut b, |a, b| flows(a, 1) && flows(b, 1)).await;

    // As a browser does that adds a track: another offer on the same peer connection.
    for _ in 0..2 {
        remote(&b, OFFER, &more);
    }
    let again = next_version(&more).replace("a=mid:cam", "a=mid:screen").replace("cam", "screen");
    remote(&b, OFFER, &again);
    let second_answer = description(&mut b).await;
    assert_eq!(sections(&second_answer)[0], section("video", "9", "screen"));
    assert_eq!(sections(&second_answer)[1..], expected[1..]);
    // The one before comes late: it is not answered, or the next answer would be to it.
    remote(&b, OFFER, &more);
    remote(&b, OFFER, &next_version(&again));
    assert_eq!(sections(&description(&mut b).await)[0], section("video", "9", "screen"));

    // The side that offered at first may be offered to as well, and keeps its part in the handshake.
    assert!(answer.contains("a=setup:active"));
    let offer_of_b = next_version(&[head, &answer[first..second], &answer[last..]].concat());
    remote(&a, OFFER, &offer_of_b.replace("a=setup:active", "a=setup:actpass"));
    let answer_of_a = description(&mut a).await;
    assert!(answer_of_a.contains("a=setup:passive") && !answer_of_a.contains("a=setup:active"));
    // What cannot be used is no reason to end what works.
    remote(&b, OFFER, "nonsense");
    goes_on(&mut a, &mut b).await;
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_begins_anew_is_met_by_a_new_connection_of_the_same_generation() {
    let folder = Folder::new("anew");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    connect(&mut a, &mut b, 1).await;
    let offer = a.said.iter().find_map(|(_, e)| if let Event::Description { sdp, .. } = e { Some(sdp) } else { None });
    let first_offer = offer.unwrap().clone();
    // The page is loaded again, say: the old connection is gone without a word.
    a.engine.shutdown().await;
    let mut a = quiet(&folder, "a");
    b.said.clear();
    a.engine.command(Command::Open { leg: CALL, generation: 1, route: Route::Any });
    a.engine.command(Command::Offer { leg: CALL, generation: 1 });
    let answered = |said: &[(Instant, Event)]| said.iter().any(|(_, e)| matches!(e, Event::Description { .. }));
    let open = |said: &[(Instant, Event)]| said.iter().any(|(_, e)| matches!(e, Event::TextOpen { .. }));
    join(&mut a, &mut b, |a, b| flows(a, 1) && answered(b) && open(a) && open(b)).await;
    // The offer from before comes again, late.
    remote(&b, OFFER, &first_offer);
    b.engine.command(Command::SendText { leg: CALL, text: "still here".into() });
    a.until(|event| matches!(event, Event::Text { text, .. } if text == "still here").then_some(())).await;
    goes_on(&mut a, &mut b).await;
    assert!(!answered(&b.said), "an offer of a session that was left is answered");
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}
