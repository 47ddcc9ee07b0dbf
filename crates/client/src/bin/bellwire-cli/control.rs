//! Lines on standard input, as the buttons of a window.

use bellwire_client::{Complaint, Handle};
use std::io::BufRead;
use std::str::FromStr;
use tokio::sync::mpsc;

/// Lines that wait to be acted on. Full: no more is read.
const LINES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Accept,
    Decline,
    Mute,
    Unmute,
    /// Also `leave`.
    HangUp,
    Stats,
    PlayAloud,
    Say(String),
    KeepChat(bool),
    Lock(bool),
    Remove(Handle),
    Skip,
    Block,
    Report(Complaint),
}

impl FromStr for Line {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (word, rest.trim()) {
            ("accept", "") => Ok(Self::Accept),
            ("decline", "") => Ok(Self::Decline),
            ("mute", "") => Ok(Self::Mute),
            ("unmute", "") => Ok(Self::Unmute),
            ("hangup" | "leave", "") => Ok(Self::HangUp),
            ("stats", "") => Ok(Self::Stats),
            ("play-aloud", "") => Ok(Self::PlayAloud),
            ("keep", "") => Ok(Self::KeepChat(true)),
            ("forget", "") => Ok(Self::KeepChat(false)),
            ("lock", "") => Ok(Self::Lock(true)),
            ("unlock", "") => Ok(Self::Lock(false)),
            ("skip", "") => Ok(Self::Skip),
            ("block", "") => Ok(Self::Block),
            ("report", "abusive") => Ok(Self::Report(Complaint::Abusive)),
            ("report", "unsafe") => Ok(Self::Report(Complaint::Unsafe)),
            ("report", "spam") => Ok(Self::Report(Complaint::Spam)),
            ("report", "other") => Ok(Self::Report(Complaint::Other)),
            ("say", text) if !text.is_empty() => Ok(Self::Say(text.into())),
            ("remove", member) if !member.is_empty() => {
                Handle::new(member).map(Self::Remove).map_err(|_| "a member is named as in member_joined".into())
            }
            _ => Err("a control line is accept, decline, mute, unmute, hangup, stats, play-aloud, say TEXT, keep or \
                      forget; in a room leave, lock, unlock or remove MEMBER; in a match skip, block or report abusive, unsafe, \
                      spam or other"
                .into()),
        }
    }
}

/// Reads in a thread of its own, which the end of the process ends: a read of standard input cannot be called off.
/// The channel ends with the input.
pub fn lines() -> mpsc::Receiver<Result<Line, String>> {
    let (sender, receiver) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let line = line.trim();
            if !line.is_empty() && sender.blocking_send(line.parse()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line; pending for ever where there are none.
pub async fn next(lines: &mut Option<mpsc::Receiver<Result<Line, String>>>) -> Option<Result<Line, String>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}
