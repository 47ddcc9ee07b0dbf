//! Reading a client's frame, and saying what is wrong with one that cannot be read, without repeating any of it.

use bellwire_signaling::{Candidate, ClientFrame, Command, CommandId, ErrorCode, VERSION, WireError, limits};
use serde::Deserialize;

/// Why a frame was not taken, for its sender.
#[derive(Debug)]
pub struct Unread {
    pub id: Option<CommandId>,
    pub error: WireError,
}

pub fn read(text: &str) -> Result<ClientFrame, Unread> {
    let frame = serde_json::from_str(text).map_err(|e| unread(id_of(text), sentence(&e)))?;
    match &frame {
        ClientFrame::Command {
            id,
            command: Command::Candidates { candidates, .. } | Command::CandidatesTo { candidates, .. },
        } => match fault_of(candidates) {
            Some(fault) => Err(unread(Some(id.clone()), fault.into())),
            None => Ok(frame),
        },
        ClientFrame::Command { .. } | ClientFrame::Hello { .. } | ClientFrame::DevPeople {} => Ok(frame),
    }
}

fn unread(id: Option<CommandId>, message: String) -> Unread {
    Unread { id, error: WireError { code: ErrorCode::BadFrame, message, retry_after_ms: None } }
}

/// What the types of the candidates do not say.
fn fault_of(candidates: &[Candidate]) -> Option<&'static str> {
    let named = |mid: &str| mid.len() <= limits::ID && mid.bytes().all(|b| b.is_ascii_graphic());
    if candidates.len() > limits::CANDIDATES_A_MESSAGE {
        return Some("too many candidates in one message");
    }
    let good = candidates.iter().all(|candidate| candidate.sdp_mid.as_deref().is_none_or(named));
    (!good).then_some("a sdpMid is at most 128 printable letters")
}

/// Whether this is a hello of another version, whatever else it holds.
pub fn speaks_another_version(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Head {
        r#type: String,
        version: u64,
    }
    serde_json::from_str::<Head>(text).is_ok_and(|head| head.r#type == "hello" && head.version != u64::from(VERSION))
}

/// The command's id, if it can be found in what is no good frame.
pub fn id_of(text: &str) -> Option<CommandId> {
    #[derive(Deserialize)]
    struct Id {
        id: CommandId,
    }
    serde_json::from_str::<Id>(text).ok().map(|found| found.id)
}

/// The beginnings of serde's and our own messages that hold nothing of the input up to the end of the message.
const OURS: [&str; 7] = [
    "missing field",
    "duplicate field",
    "the description",
    "line ",
    "a candidate is",
    "an id has",
    "a token or session",
];
/// Those that would repeat the input, and what is said instead.
const REPLACED: [(&str, &str); 7] = [
    ("unknown field", "a field that this message does not have"),
    ("unknown variant", "a word that this version does not know"),
    ("invalid type", "a value of the wrong type"),
    ("invalid value", "a value out of its range"),
    ("invalid length", "a list of the wrong length"),
    ("number out of range", "a number out of its range"),
    ("expected", "not JSON"),
];

fn sentence(error: &serde_json::Error) -> String {
    if error.is_syntax() || error.is_eof() {
        return "not JSON, or nested too deeply".into();
    }
    let full = error.to_string();
    let fault = full.rsplit_once(" at line ").map_or(full.as_str(), |(fault, _)| fault);
    if OURS.iter().any(|begin| fault.starts_with(begin)) {
        return fault.to_owned();
    }
    let replaced = REPLACED.iter().find(|(begin, _)| fault.starts_with(begin));
    replaced.map_or("this is no message of this protocol", |(_, instead)| instead).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let unread = read(text).expect_err("a frame that cannot be read");
        assert_eq!(unread.error.message, expected, "{text}");
    }

    #[test]
    fn faults_are_named_and_nothing_is_repeated() {
        check("{", "not JSON, or nested too deeply");
        let deep = format!(r#"{{"type":"command","x":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
        check(&deep, "not JSON, or nested too deeply");
        check(r#"{"type":"gossip"}"#, "a word that this version does not know");
        check(r#"{"type":"dev_people","secret":1}"#, "a field that this message does not have");
        check(r#"{"type":"command","id":"c1"}"#, "missing field `command`");
        check(r#"{"type":"command","id":7,"command":{"type":"bookings"}}"#, "a value of the wrong type");
        let describe = |sdp: &str| {
            format!(
                r#"{{"type":"command","id":"c1","command":{{"type":"describe","call":"c","generation":1,"kind":"offer","sdp":"{sdp}"}}}}"#
            )
        };
        check(&describe("hello"), "the description does not begin with v=0");
        check(&describe(r"v=0\r\nsecret\r\n"), "line 2 of the description is not of the form x=text");
        let two = r"v=0\r\nm=audio 9 RTP 1\r\nm=audio 9 RTP 1\r\na=fingerprint:sha-256 00\r\n";
        check(&describe(two), "the description has 2 audio sections instead of one");
    }

    #[test]
    fn id_of_a_bad_command_is_found() {
        let unread = read(r#"{"type":"command","id":"c9","command":{"type":"dance"}}"#).expect_err("unread");
        assert_eq!(unread.id.as_ref().map(CommandId::as_str), Some("c9"));
    }

    #[test]
    fn hello_of_another_version_is_known_as_one() {
        assert!(speaks_another_version(r#"{"type":"hello","version":2,"token":"t","proof":"x"}"#));
        assert!(!speaks_another_version(r#"{"type":"hello","version":1}"#));
        assert!(!speaks_another_version(r#"{"type":"command","version":2}"#));
    }
}
