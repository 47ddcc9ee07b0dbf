//! Two engines in one process, over real UDP on the loopback interface, with WAV files as microphones and speakers.

mod common;

use bellwire_media::{Command, Event};
use common::*;
use std::time::Duration;

const SPEECH_FOUND: f32 = 0.75;
const OTHER_SPEECH: f32 = 0.5;

#[tokio::test(flavor = "multi_thread")]
async fn speech_of_each_arrives_at_the_other_and_only_that() {
    let folder = Folder::new("speech");
    let (voice_a, voice_b) = (speech(6.0, 1), speech(6.0, 2));
    let (in_a, out_a, in_b, out_b) =
        (folder.file("a.wav"), folder.file("at-a.wav"), folder.file("b.wav"), folder.file("at-b.wav"));
    write_wav(&in_a, &voice_a);
    write_wav(&in_b, &voice_b);
    let mut a = Person::new(config(&in_a, &out_a));
    let mut b = Person::new(config(&in_b, &out_b));
    let begun = tokio::time::Instant::now();
    connect(&mut a, &mut b, 1).await;
    eprintln!("flowing both ways after {:?}", begun.elapsed());
    tokio::join!(a.listen(Duration::from_secs(6)), b.listen(Duration::from_secs(6)));
    for (_, event) in &a.said {
        if let Event::Stats(stats) = event {
            eprintln!("{stats:?}");
        }
    }
    a.engine.command(Command::Close);
    a.engine.shutdown().await;
    b.engine.shutdown().await;

    let (at_a, at_b) = (read_wav(&out_a), read_wav(&out_b));
    for (spoken, heard, other) in [(&voice_a, &at_b, &voice_b), (&voice_b, &at_a, &voice_a)] {
        let (right, delay) = likeness(spoken, heard, 1000);
        let (wrong, _) = likeness(other, heard, 1000);
        eprintln!("likeness {right:.3} at {delay} ms, of the other voice {wrong:.3}");
        assert!(right > SPEECH_FOUND, "likeness {right}");
        assert!(wrong < OTHER_SPEECH, "the control, another voice, has likeness {wrong}");
    }
}
