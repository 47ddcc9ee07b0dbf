//! The conditions of the live laboratory: the offline one's that have an aim, and both talking.

use xtask::lab::ways;

pub struct Condition {
    /// As after `--only`.
    pub name: &'static str,
    pub title: &'static str,
    /// For the path, in both directions (see [`xtask::lab::emulator::parse`]).
    pub path: Vec<&'static str>,
    pub talk: Talk,
    /// At most so many milliseconds, at least so much PESQ.
    pub aim: (f64, f64),
}

/// Who talks, and through what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// One speaks, the other is quiet; echo canceller, noise suppressor and gain control are off.
    OneOriginal,
    /// Both speak, and all of that is on. Microphone and speaker do not hear each other, as with a headset.
    BothProcessed,
}

/// Set by what libwebrtc was measured to do then: 127 ms, PESQ 1.77.
const BOTH_AIM: (f64, f64) = (90.0, 3.8);

pub fn all() -> Vec<Condition> {
    let with_aim = ways::WAYS.iter().filter_map(|way| {
        let path = way.changes.iter().map(|(_, line)| *line).collect();
        Some(Condition { name: way.name, title: way.title, path, talk: Talk::OneOriginal, aim: way.aim? })
    });
    let title = "clean, processing on, both talking";
    let both = Condition { name: "both", title, path: Vec::new(), talk: Talk::BothProcessed, aim: BOTH_AIM };
    with_aim.chain([both]).collect()
}
