//! Wrong command lines of `bellwire-cli`: status 2, and one sentence that says what is wrong.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellwire-cli")).args(args).output().unwrap()
}

fn check(args: &[&str], expected: &str) {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(said.contains(expected), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}");
}

#[test]
fn a_wrong_command_line_is_told_in_one_sentence_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let token = file("token", "a.b.c\n");
    let (empty, spaced, no_json) = (file("empty", "\n"), file("spaced", "a b"), file("ice.json", "{}"));
    let with = |more: &[&'static str]| {
        let mut args = vec!["call", "--server", "ws://127.0.0.1:1", "--token-file"]
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>();
        args.push(token.clone());
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    };
    let check_with = |more: &[&'static str], expected: &str| {
        let args = with(more);
        check(&args.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    };
    check(&[], "devices, call or answer");
    check(&["ring"], "unrecognized subcommand 'ring'");
    check(&["call"], "--server");
    check(&["answer", "--server", "ws://h"], "--token-file");
    check(&["call", "--server", "http://h", "--token-file", &token], "ws:// or wss://");
    check(&["call", "--server", "nowhere", "--token-file", &token], "no address");
    check(&["call", "--server", "ws://h", "--token-file", "/no/such/file"], "/no/such/file cannot be read");
    check(&["call", "--server", "ws://h", "--token-file", &empty], "holds no token");
    check(&["call", "--server", "ws://h", "--token-file", &spaced], "holds no token");
    check(&["call", "--server", "ws://h", "--token-file", &token, "--ice-servers", &no_json], "no list of ICE servers");
    check_with(&["--duration", "soon"], "no number of seconds");
    check_with(&["--duration", "-1"], "between 0 and 86400");
    check_with(&["--events", "xml"], "xml");
    check_with(&["--bind", "here"], "--bind");
    check_with(&["--booking", "a b"], "--booking");
    check_with(&["--input", "wav:"], "name of a file");
    check_with(&["--input", "wav:/no/such.wav"], "/no/such.wav cannot be read");
    check_with(&["--output", "wav:/no/such/folder/out.wav"], "/no/such/folder does not exist");
    check_with(&["--ring", "wav:/no/such/folder/out.wav"], "/no/such/folder does not exist");
    check_with(&["--noise-suppression", "some"], "off, standard, strong");
    check_with(&["--noise-suppression", "strong", "--no-ns"], "cannot be used with");
    check_with(&["--loud"], "--loud");
    check_with(&["--link", "bellwire://join?server=ws://h&token=t"], "cannot be used with");
    check(&["call", "--link", "bellwire://room?server=ws://h&token=t&room=r"], "bellwire-cli room");
    check(&["room", "--link", "bellwire://join?server=ws://h&token=t"], "--room");
    check(&["room", "--server", "ws://h", "--token-file", &token], "--room");
    check(&["match", "--server", "ws://h", "--token-file", &token, "--matches", "0"], "at least 1");
    let link = "bellwire://room?token=secret-token";
    let said = String::from_utf8(run(&["room", "--link", link]).stderr).unwrap();
    assert!(said.contains("no server") && !said.contains("secret"), "{said}");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["call", "--help"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("bellwire-cli"));
    }
}

#[test]
fn devices_are_listed_as_json() {
    let output = run(&["devices", "--json"]);
    match output.status.code() {
        Some(0) => {
            let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            for device in list.as_array().unwrap() {
                assert!(device["name"].is_string() && device["kind"].is_string() && device["is_default"].is_boolean());
            }
        }
        other => {
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!((other, said.lines().count()), (Some(5), 1), "{said}");
        }
    }
}
