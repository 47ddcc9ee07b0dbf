//! Text between two engines, beside their sound.

mod common;

use bellwire_media::{Command, Event, LONGEST_TEXT, Leg, Route};
use common::*;
use std::time::Duration;
use tokio::time::Instant;

fn quiet(folder: &Folder, name: &str) -> Person {
    let input = folder.file(&format!("{name}-silence.wav"));
    write_wav(&input, &vec![0.0; RATE / 10]);
    Person::new(config(&input, &folder.file(&format!("at-{name}.wav"))))
}

fn opened(said: &[(Instant, Event)]) -> usize {
    said.iter().filter(|(_, event)| matches!(event, Event::TextOpen { leg: Leg::CALL })).count()
}

fn texts(person: &Person) -> Vec<&str> {
    person
        .said
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Text { leg: Leg::CALL, text } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn send(person: &Person, text: impl Into<String>) {
    person.engine.command(Command::SendText { leg: Leg::CALL, text: text.into() });
}

async fn until_text(person: &mut Person, wanted: &str) {
    person.until(|event| matches!(event, Event::Text { text, .. } if text == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_goes_both_ways_in_order_and_again_on_a_renewed_connection() {
    let folder = Folder::new("text");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    send(&a, "before there is anything: lost");
    connect(&mut a, &mut b, 1).await;
    join(&mut a, &mut b, |a, b| opened(a) == 1 && opened(b) == 1).await;
    let longest = "ü".repeat(LONGEST_TEXT / 2);
    for n in 0..50 {
        send(&a, format!("to b {n}"));
        send(&b, format!("to a {n}"));
    }
    send(&a, &longest);
    send(&a, format!("{longest}x"));
    send(&a, "the end");
    send(&b, "");
    send(&b, "the end");
    until_text(&mut a, "the end").await;
    until_text(&mut b, "the end").await;
    let numbered = |to: &str| (0..50).map(|n| format!("to {to} {n}")).collect::<Vec<_>>();
    assert_eq!(texts(&a)[..50], numbered("a"));
    assert_eq!(texts(&a)[50..], ["the end"]);
    assert_eq!(texts(&b)[..50], numbered("b"));
    // One too long is lost, as the empty one to A is, and only they.
    assert_eq!(texts(&b)[50..], [&longest, "the end"]);

    // The other side offers now, so the channel is of its making.
    connect(&mut b, &mut a, 2).await;
    join(&mut a, &mut b, |a, b| opened(a) == 2 && opened(b) == 2).await;
    send(&a, "to b, renewed");
    send(&b, "to a, renewed");
    until_text(&mut a, "to a, renewed").await;
    until_text(&mut b, "to b, renewed").await;
    // The old connection goes; text does not.
    let end = Duration::from_secs(2);
    tokio::join!(a.listen(end), b.listen(end));
    send(&a, "to b, the old one is gone");
    until_text(&mut b, "to b, the old one is gone").await;
    assert_eq!((opened(&a.said), opened(&b.said)), (2, 2));
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_without_data_channels_makes_a_call_without_text() {
    let folder = Folder::new("no-text");
    let (mut a, mut b) = (quiet(&folder, "a"), quiet(&folder, "b"));
    a.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    b.engine.command(Command::Open { leg: Leg::CALL, generation: 1, route: Route::Any });
    a.engine.command(Command::Offer { leg: Leg::CALL, generation: 1 });
    let offer = a.until(|e| if let Event::Description { sdp, .. } = e { Some(sdp.clone()) } else { None }).await;
    let data = offer.find("m=application").expect("what we offer has a section of data channels");
    b.engine.command(Command::SetRemote {
        leg: Leg::CALL,
        generation: 1,
        kind: OFFER,
        sdp: offer[..data].replace("BUNDLE 0 1", "BUNDLE 0"),
    });
    let answer = b.until(|e| if let Event::Description { sdp, .. } = e { Some(sdp.clone()) } else { None }).await;
    assert!(!answer.contains("m=application"), "the answer has a section that was not offered");
    a.engine.command(Command::SetRemote { leg: Leg::CALL, generation: 1, kind: ANSWER, sdp: answer });
    join(&mut a, &mut b, |a, b| flows(a, 1) && flows(b, 1)).await;
    send(&b, "lost");
    let end = Duration::from_secs(2);
    tokio::join!(a.listen(end), b.listen(end));
    assert_eq!((opened(&a.said), opened(&b.said)), (0, 0));
    assert_eq!(texts(&a), [""; 0]);
    assert!(!a.said.iter().chain(&b.said).any(|(_, event)| matches!(event, Event::Failed { .. })));
    a.engine.shutdown().await;
    b.engine.shutdown().await;
}
