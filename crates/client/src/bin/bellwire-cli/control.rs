//! Lines on standard input, as the buttons of a window.

use std::io::BufRead;
use std::str::FromStr;
use tokio::sync::mpsc;

/// Lines that wait to be acted on. Full: no more is read.
const LINES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Accept,
    Decline,
    Mute,
    Unmute,
    HangUp,
    Stats,
}

impl FromStr for Line {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "accept" => Ok(Self::Accept),
            "decline" => Ok(Self::Decline),
            "mute" => Ok(Self::Mute),
            "unmute" => Ok(Self::Unmute),
            "hangup" => Ok(Self::HangUp),
            "stats" => Ok(Self::Stats),
            _ => Err("a control line is accept, decline, mute, unmute, hangup or stats".into()),
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
