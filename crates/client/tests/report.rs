//! The report of a whole call, as both sides write it: that it tells the call, and nothing that it must not.

mod stand;

use bellwire_client::recording::{Voice, write_speech};
use stand::{Stand, alone, is};

#[test]
fn a_report_tells_the_call_and_nothing_of_people_addresses_and_secrets() {
    let _alone = alone();
    let stand = Stand::start();
    let speech = stand.path("speech-of-ana.wav");
    write_speech(&speech, Voice::Low, 10.0).unwrap();
    let reports = ["caller.txt", "callee.txt"].map(|name| stand.path(name));
    let paths = reports.each_ref().map(|path| path.to_str().unwrap());

    let text = "a line of chat that nobody else may read";
    let mut caller =
        stand.cli("call", "client", &["--duration", "5", "--report", paths[0], "--say", text], Some(&speech), None);
    caller.wait("waiting", |event| is(event, "waiting"));
    let callee = stand.cli("answer", "provider", &["--report", paths[1]], Some(&speech), None);
    let (caller, callee) = (caller.finish(), callee.finish());
    assert_eq!((caller.status, callee.status), (Some(0), Some(0)), "{} {}", caller.stderr, callee.stderr);

    let call = caller.events.iter().find_map(|event| event["call"].as_str()).expect("the call's id");
    let mut hidden = stand.secrets();
    hidden.extend([call, &stand.booking, &stand.address, text, "speech-of-ana", "127.0.0.1", "::1"].map(String::from));
    hidden.extend(["fingerprint", "sha-256", "ice-ufrag", "ice-pwd", "candidate:", "a=", "Bearer"].map(String::from));
    for (path, you) in reports.iter().zip(["caller", "callee"]) {
        let report = std::fs::read_to_string(path).expect("a report");
        for secret in &hidden {
            assert!(!report.contains(secret.as_str()), "{you}: {secret:?} is in\n{report}");
        }
        for part in [
            &format!("call         {}..., as the {you}", &call[..6]),
            "state        ended: hung_up by the caller after ",
            "state        connecting",
            "state        connected",
            "connection   1 begun, any way",
            "sound        comes on connection 1",
            "path         host to ",
            "candidates   ours for connection 1: ",
            "candidates   theirs for connection 1: ",
            "microphone   open, microphone number ",
            "echo cancellation on",
        ] {
            assert!(report.contains(part), "{you}: {part:?} is missing in\n{report}");
        }
        let table = report.split_once("mic echo_lowered voice_back late dry\n").expect("a table").1;
        assert!(table.lines().count() >= 3, "{report}");
        println!("{report}");
    }
}

#[test]
fn a_run_without_a_call_says_that_there_is_nothing_to_report() {
    let _alone = alone();
    let stand = Stand::start();
    let report = stand.path("none.txt");
    let mut answer = stand.cli("answer", "client", &["--control", "--report", report.to_str().unwrap()], None, None);
    answer.wait("bookings", |event| is(event, "bookings"));
    answer.say("hangup");
    let run = answer.finish();
    assert!(
        run.events
            .iter()
            .any(|event| event["message"] == "the report could not be written: there was no call to report")
    );
    assert!(!report.exists());
}
