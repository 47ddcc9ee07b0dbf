//! Rooms and matches of `bellwire-cli` processes, through the real server and real WebRTC on loopback, with speech from
//! files.

mod stand;

use bellwire_client::recording::{Voice, best_correlation, level_dbfs, write_speech};
use serde_json::Value;
use stand::{Cli, Run, Stand, alone, is};
use std::path::{Path, PathBuf};

/// From here on a recording holds a speech, and below the other it does not.
const HEARD: f32 = 0.5;
const NOT_HEARD: f32 = 0.4;

const PEOPLE: [(&str, Voice); 3] = [("ana", Voice::Low), ("ben", Voice::High), ("cleo", Voice::Third)];

/// How long each speaks, and the pause between them, where they speak one after the other.
const TURN_S: f32 = 5.0;
const PAUSE_S: f32 = 0.5;

/// A room of the three, each with a voice of their own.
struct Meeting {
    stand: Stand,
    room: String,
}

fn starts_at(turn: usize) -> f32 {
    1.0 + turn as f32 * (TURN_S + PAUSE_S)
}

/// Silence before a speech.
fn delay_speech(path: &Path, seconds: f32) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    let speech: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    let silence = (seconds * spec.sample_rate as f32) as usize * usize::from(spec.channels);
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in std::iter::repeat_n(0, silence).chain(speech) {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

impl Meeting {
    fn new(seconds: f32) -> Self {
        let stand = Stand::start();
        let room = stand.room(&PEOPLE.map(|(name, _)| name));
        for (name, voice) in PEOPLE {
            write_speech(&stand.path(&format!("{name}.wav")), voice, seconds).unwrap();
        }
        Self { stand, room }
    }

    /// One after the other: voices that are heard at once are hard to tell apart by correlation.
    fn take_turns(self) -> Self {
        for (n, (name, _)) in PEOPLE.iter().enumerate() {
            delay_speech(&self.stand.path(&format!("{name}.wav")), starts_at(n));
        }
        self
    }

    fn enter(&self, name: &str, more: &[&str]) -> Cli {
        let mut args = vec!["--room", &self.room, "--control"];
        args.extend(more);
        let input = self.stand.path(&format!("{name}.wav"));
        self.stand.cli("room", name, &args, Some(&input), Some(&format!("heard-by-{name}.wav")))
    }

    /// How well a voice can be found in what somebody heard during that voice's turn.
    fn correlation(&self, turn: usize, heard_by: &str) -> f32 {
        let from = starts_at(turn);
        let voice = self.part(&format!("{}.wav", PEOPLE[turn].0), from, from + TURN_S);
        let heard = self.part(&format!("heard-by-{heard_by}.wav"), from - PAUSE_S, from + TURN_S + PAUSE_S);
        let found = best_correlation(&voice, &heard).unwrap();
        println!("{} heard by {heard_by}: {found:?}", PEOPLE[turn].0);
        found.correlation
    }

    fn part(&self, name: &str, from: f32, to: f32) -> PathBuf {
        let path = self.stand.path(&format!("part-of-{name}"));
        let mut reader = hound::WavReader::open(self.stand.path(name)).unwrap();
        let spec = reader.spec();
        let at = |seconds: f32| (seconds * spec.sample_rate as f32) as usize * usize::from(spec.channels);
        let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for sample in samples.iter().take(at(to)).skip(at(from)) {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
        path
    }
}

fn handle(cli: &mut Cli) -> String {
    cli.met("in the room", |event| is(event, "room_entered"))["you"].as_str().unwrap().to_owned()
}

fn of(event: &Value, kind: &str, member: &str) -> bool {
    is(event, kind) && event["member"] == member
}

fn assert_clean(stand: &Stand, run: &Run) {
    assert!(!run.stderr.contains("ERROR") && !run.stderr.contains("panicked"), "{}", run.stderr);
    for secret in stand.secrets() {
        assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "a line holds a token or name");
    }
}

#[test]
fn three_in_a_room_hear_and_read_each_other() {
    let _alone = alone();
    let meeting = Meeting::new(TURN_S).take_turns();
    let more = ["--expect-members", "2", "--leave-after", "18", "--say", "hello all"];
    let mut all: Vec<Cli> = PEOPLE.iter().map(|(name, _)| meeting.enter(name, &more)).collect();
    for cli in &mut all {
        for _ in 0..2 {
            cli.wait("a text", |event| is(event, "text") && event["text"] == "hello all");
        }
    }
    for run in all.into_iter().map(Cli::finish) {
        assert_eq!(run.status, Some(0), "{}", run.stdout);
        assert_clean(&meeting.stand, &run);
        let count = |kind: &str| run.events.iter().filter(|event| is(event, kind)).count();
        assert_eq!((count("member_joined"), count("text_delivered"), count("room_over")), (2, 1, 0), "{}", run.stdout);
        assert_eq!((count("member_stats"), count("usage")), (2, 1), "{}", run.stdout);
        assert!(run.events.iter().any(|event| is(event, "speaking") && event["speaking"] == true));
        let usage = run.events.last().unwrap();
        assert!(usage["room_seconds"].as_f64() > Some(5.0), "{usage}");
        println!("{usage}");
    }
    for (turn, (voice, _)) in PEOPLE.iter().enumerate() {
        for (heard_by, _) in &PEOPLE {
            let found = meeting.correlation(turn, heard_by);
            if voice == heard_by {
                assert!(found < NOT_HEARD, "{heard_by} hears themselves: {found}");
            } else {
                assert!(found > HEARD, "{heard_by} does not hear {voice}: {found}");
            }
        }
    }
}

/// Waits until this one has gone on for so long after an event of its own: it is asked for its figures until
/// then, and answers with an error while there are none.
fn record_past(cli: &mut Cli, event: &Value, ms: u64) {
    let until = event["at_ms"].as_u64().unwrap() + ms;
    loop {
        cli.say("stats");
        let figures = cli.wait("its figures", |event| is(event, "member_stats") || is(event, "error"));
        if figures["at_ms"].as_u64() >= Some(until) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn who_is_muted_is_silent_and_who_is_removed_is_out() {
    let _alone = alone();
    let meeting = Meeting::new(60.0);
    let mut ana = meeting.enter("ana", &[]);
    let mut ben = meeting.enter("ben", &[]);
    let (host, bens) = (handle(&mut ana), handle(&mut ben));
    let opened = ana.met("the speaker", |event| event["device"] == "output_opened");
    ben.met("ana heard", |event| of(event, "member_heard", &host));
    let heard = ana.met("ben heard", |event| of(event, "member_heard", &bens));
    // Long enough to measure, by the clock of the one who records.
    let speaks = ana.wait("ben speaks", |event| of(event, "speaking", &bens) && event["speaking"] == true);
    record_past(&mut ana, &speaks, 4_000);
    ben.say("mute");
    let muted = ana.wait("ben muted", |event| of(event, "member_muted", &bens) && event["muted"] == true);
    record_past(&mut ana, &muted, 4_000);
    ben.say("unmute");
    let unmuted = ana.wait("ben unmuted", |event| of(event, "member_muted", &bens) && event["muted"] == false);
    record_past(&mut ana, &unmuted, 3_000);

    ben.say("lock");
    ben.wait("no host", |event| is(event, "refused") && event["code"] == "wrong_state");
    ana.say("lock");
    ben.wait("locked", |event| is(event, "locked") && event["locked"] == true);
    let cleo = meeting.enter("cleo", &[]).finish();
    assert_eq!(cleo.status, Some(3), "{}", cleo.stdout);
    ana.say(&format!("remove {bens}"));
    ana.wait("ben gone", |event| of(event, "member_left", &bens));
    let ben = ben.finish();
    assert_eq!(ben.status, Some(3), "{}", ben.stdout);
    assert!(ben.events.iter().any(|event| is(event, "room_over") && event["why"] == "removed"), "{}", ben.stdout);
    ana.say("leave");
    let ana = ana.finish();
    assert_eq!(ana.status, Some(0), "{}", ana.stdout);
    assert_clean(&meeting.stand, &ana);

    let at = |event: &Value| event["at_ms"].as_u64().unwrap().saturating_sub(opened["at_ms"].as_u64().unwrap());
    let level = |from: u64, to: u64| level_dbfs(&meeting.stand.path("heard-by-ana.wav"), from, to).unwrap();
    let before = level(at(&heard), at(&muted) - 500);
    let between = level(at(&muted) + 1_000, at(&unmuted) - 500);
    println!("level before {before:.1}, muted {between:.1} dBFS");
    assert!(before > -40.0 && between < -60.0, "{before} {between}");
}

#[cfg(unix)]
#[test]
fn a_lost_connection_is_renewed_and_when_one_dies_the_others_go_on() {
    let _alone = alone();
    let meeting = Meeting::new(60.0);
    let mut ana = meeting.enter("ana", &[]);
    let mut ben = meeting.enter("ben", &[]);
    let mut cleo = meeting.enter("cleo", &[]);
    let handles = [handle(&mut ana), handle(&mut ben), handle(&mut cleo)];
    for other in [&handles[1], &handles[2]] {
        ana.met("heard", |event| of(event, "member_heard", other));
    }
    ben.met("cleo heard", |event| of(event, "member_heard", &handles[2]));
    cleo.signal("-STOP");
    ana.wait("cleo lost", |event| of(event, "member_lost", &handles[2]));
    cleo.signal("-CONT");
    ana.wait("cleo heard again", |event| of(event, "member_heard", &handles[2]));

    cleo.signal("-KILL");
    for cli in [&mut ana, &mut ben] {
        cli.wait("cleo lost for good", |event| of(event, "member_lost", &handles[2]));
        // The seat is kept for as long as the session could come back.
        cli.met("cleo's link lost", |event| of(event, "member_linked", &handles[2]) && event["linked"] == false);
    }
    ana.say("say still here");
    ben.wait("the text", |event| is(event, "text") && event["text"] == "still here");
    for cli in [&mut ana, &mut ben] {
        cli.say("leave");
    }
    for run in [ana.finish(), ben.finish()] {
        assert_eq!(run.status, Some(0), "{}", run.stdout);
        let lost: Vec<_> = run.events.iter().filter(|event| is(event, "member_lost")).collect();
        assert!(lost.iter().all(|event| event["member"] == *handles[2]), "{lost:?}");
    }
}

#[test]
fn a_room_outlives_a_server_that_is_killed_and_started_again() {
    let _alone = alone();
    let mut meeting = Meeting::new(40.0);
    let mut ana = meeting.enter("ana", &[]);
    let mut ben = meeting.enter("ben", &[]);
    for cli in [&mut ana, &mut ben] {
        cli.wait("heard", |event| is(event, "member_heard"));
    }
    meeting.stand.kill_server();
    for cli in [&mut ana, &mut ben] {
        cli.wait("link down", |event| is(event, "link") && event["state"] == "down");
    }
    meeting.stand.restart_server();
    for cli in [&mut ana, &mut ben] {
        cli.wait("link up", |event| is(event, "link") && event["state"] == "up");
    }
    // The server knows nobody's connection: each is a new member to the other, with one of its own.
    for cli in [&mut ana, &mut ben] {
        cli.wait("a member", |event| is(event, "member_joined"));
        cli.wait("heard again", |event| is(event, "member_heard"));
    }
    ana.say("say still there");
    ben.wait("the text", |event| is(event, "text") && event["text"] == "still there");
    for mut cli in [ana, ben] {
        cli.say("leave");
        let run = cli.finish();
        assert_eq!(run.status, Some(0), "{}", run.stdout);
        assert_clean(&meeting.stand, &run);
    }
}

#[test]
fn two_who_search_are_matched_talk_write_skip_and_block() {
    let _alone = alone();
    let stand = Stand::start();
    for name in ["dora", "emil"] {
        stand.person(name);
    }
    let search = |name: &str| stand.cli("match", name, &["--control", "--matches", "2"], None, None);
    let mut dora = search("dora");
    let waiting = dora.wait("a place", |event| is(event, "waiting"));
    assert_eq!(waiting["place"], 1);
    let mut emil = search("emil");
    for (cli, text) in [(&mut dora, "say from dora"), (&mut emil, "say from emil")] {
        let entered = cli.wait("in a match", |event| is(event, "room_entered"));
        assert_eq!(entered["matched"], true);
        cli.wait("heard", |event| is(event, "member_heard"));
        cli.say(text);
    }
    for (cli, text) in [(&mut dora, "from emil"), (&mut emil, "from dora")] {
        cli.met("the text", |event| is(event, "text") && event["text"] == text);
        cli.met("delivered", |event| is(event, "text_delivered"));
    }
    dora.say("report spam");
    dora.say("block");
    // The match ends with the block; both search again and are not matched with each other.
    emil.wait("over", |event| is(event, "room_over"));
    dora.wait("over", |event| is(event, "room_over"));
    for cli in [&mut dora, &mut emil] {
        cli.wait("a place", |event| is(event, "waiting"));
    }
    stand.person("finn");
    let mut finn = search("finn");
    // Finn meets one of the two, goes on, and meets the other. A line that is delivered says that both hear.
    for (text, then) in [("say one", "skip"), ("say two", "leave")] {
        finn.wait("in a match", |event| is(event, "room_entered"));
        finn.wait("heard", |event| is(event, "member_heard"));
        finn.say(text);
        finn.wait("delivered", |event| is(event, "text_delivered"));
        finn.say(then);
    }
    let finn = finn.finish();
    assert_eq!(finn.status, Some(0), "{}", finn.stdout);
    for run in [dora.finish(), emil.finish()] {
        assert_eq!(run.status, Some(0), "{}", run.stdout);
        assert_clean(&stand, &run);
        let rooms = run.events.iter().filter(|event| is(event, "room_entered")).count();
        assert_eq!(rooms, 2, "{}", run.stdout);
    }
}
