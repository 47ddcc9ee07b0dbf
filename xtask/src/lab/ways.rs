//! The ways over which the sound laboratory sends speech, with what is aimed at on each.
//!
//! One list for who simulates them (`sound_lab`, an example of `media`) and who prints the tables (`cargo xtask bench
//! offline`).

/// What both directions of a call go through.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// As it is named on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// Conditions of both directions in the words of [`crate::lab::emulator::parse`], from so many seconds before or
    /// after the scored speech begins. What is older than the call holds from its beginning.
    pub changes: &'static [(f64, &'static str)],
    /// How much faster the second party's clock runs than the first's, in millionths.
    pub drift_ppm: f64,
    /// How often the clip is spoken, to its last time, which is scored.
    pub passes: u32,
    /// What libwebrtc came to on it (Chromium 156 calling itself through virtual devices): delay in milliseconds, of
    /// which 21 were the rig's, and PESQ.
    pub chromium: Option<(f64, f64)>,
    /// What Bellwire aims at, measured the same way: at most so many milliseconds, at least so much PESQ.
    pub aim: Option<(f64, f64)>,
}

const BEFORE: f64 = -1e9;

const fn way(name: &'static str, title: &'static str, changes: &'static [(f64, &'static str)]) -> Way {
    Way { name, title, changes, drift_ppm: 0.0, passes: 1, chromium: None, aim: None }
}

const fn known(way: Way, chromium: (f64, f64), aim: (f64, f64)) -> Way {
    Way { chromium: Some(chromium), aim: Some(aim), ..way }
}

/// A millisecond of delay stands for a local network, over which libwebrtc's figures were taken.
pub const WAYS: &[Way] = &[
    known(way("clean", "clean", &[(BEFORE, "delay 1")]), (144.0, 4.41), (80.0, 4.4)),
    known(way("delay50", "50 ms", &[(BEFORE, "delay 50")]), (188.0, 4.41), (130.0, 4.4)),
    known(way("jitter20", "50 ± 20 ms jitter", &[(BEFORE, "delay 50 20 overtaking")]), (189.0, 4.36), (155.0, 4.35)),
    known(way("loss5", "5 % loss", &[(BEFORE, "delay 1"), (BEFORE, "loss 0.05")]), (129.0, 3.87), (100.0, 4.3)),
    known(way("loss10", "10 % loss", &[(BEFORE, "delay 1"), (BEFORE, "loss 0.1")]), (129.0, 3.22), (110.0, 4.1)),
    way("loss15", "15 % loss", &[(BEFORE, "delay 1"), (BEFORE, "loss 0.15")]),
    known(way("loss20", "20 % loss", &[(BEFORE, "delay 1"), (BEFORE, "loss 0.2")]), (127.0, 2.30), (125.0, 3.8)),
    known(way("loss30", "30 % loss", &[(BEFORE, "delay 1"), (BEFORE, "loss 0.3")]), (130.0, 1.85), (140.0, 3.4)),
    way("loss40", "40 % loss", &[(BEFORE, "delay 1"), (BEFORE, "loss 0.4")]),
    way("burst60", "10 % in runs of about 60 ms", &[(BEFORE, "delay 1"), (BEFORE, "gaps 540 60")]),
    known(
        way("burst120", "10 % in runs of about 120 ms", &[(BEFORE, "delay 1"), (BEFORE, "gaps 1080 120")]),
        (128.0, 2.48),
        (220.0, 3.5),
    ),
    way("burst200", "10 % in runs of about 200 ms", &[(BEFORE, "delay 1"), (BEFORE, "gaps 1800 200")]),
    way("loss10-far", "10 % loss, 150 ms there and back", &[(BEFORE, "delay 75"), (BEFORE, "loss 0.1")]),
    way("loss20-far", "20 % loss, 150 ms there and back", &[(BEFORE, "delay 75"), (BEFORE, "loss 0.2")]),
    way("burst120-far", "runs of 120 ms, 150 ms there and back", &[(BEFORE, "delay 75"), (BEFORE, "gaps 1080 120")]),
    way("stalls300", "stalls of 300 ms each 4 s", &[(BEFORE, "delay 20 5"), (BEFORE, "stalls 4000 300")]),
    Way { drift_ppm: 100.0, passes: 6, ..way("drift", "clocks 100 ppm apart", &[(BEFORE, "delay 20")]) },
    way("link24", "link of 24 kbit/s", &[(BEFORE, "delay 1"), (BEFORE, "rate 24000 1000")]),
    known(
        way("link40", "link of 40 kbit/s", &[(BEFORE, "delay 1"), (BEFORE, "rate 40000 1000")]),
        (848.0, 1.39),
        (220.0, 3.6),
    ),
    way("link64", "link of 64 kbit/s", &[(BEFORE, "delay 1"), (BEFORE, "rate 64000 1000")]),
    way(
        "drop",
        "200, then 40, then 200 kbit/s",
        &[(BEFORE, "delay 10"), (BEFORE, "rate 200000 1000"), (1.0, "rate 40000 1000"), (8.0, "rate 200000 1000")],
    ),
];

pub fn by_name(name: &str) -> Option<&'static Way> {
    WAYS.iter().find(|way| way.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::emulator::parse;

    #[test]
    fn every_way_can_be_read_and_has_a_name_of_its_own() {
        for way in WAYS {
            assert_eq!(by_name(way.name).map(|found| found.title), Some(way.title));
            for (_, change) in way.changes {
                parse(change).unwrap();
            }
            assert!(way.changes.is_sorted_by(|a, b| a.0 <= b.0));
        }
    }
}
