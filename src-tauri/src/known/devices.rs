//! What became of microphone and speaker while somebody talks: another one is in use, or the own one is back. Which is
//! missing or stood in for stands in the snapshot; this remembers what was before.

use bellwire_client::{DeviceChoice, DeviceKind, DeviceState, Snapshot};
use std::time::{Duration, Instant};

/// Long enough to be read by somebody who looks for the plug first.
const SHOWN: Duration = Duration::from_secs(8);

#[derive(Clone, Debug, Default)]
pub struct DevicesSeen {
    input: Seen,
    output: Seen,
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNews<'a> {
    pub kind: DeviceKind,
    /// In use from now on.
    pub device: &'a str,
    /// It was before, or it is the one that was chosen.
    pub back: bool,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    choice: Option<DeviceChoice>,
    /// The last that was in use as it was wished.
    used: Option<String>,
    away: Away,
    /// What was said last: the name, whether it is back, when.
    news: Option<(String, bool, Instant)>,
}

/// Whether the device that is wished for is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Away {
    #[default]
    No,
    /// There is none.
    Gone,
    /// Another one stands in.
    StoodIn,
}

impl DevicesSeen {
    pub fn take(&mut self, now: &Snapshot) {
        self.input.take(&now.input, &now.input_choice, now.at);
        self.output.take(&now.output, &now.output_choice, now.at);
    }

    /// What there is to say for some seconds.
    pub fn news(&self, now: Instant) -> impl Iterator<Item = DeviceNews<'_>> {
        let both = [(&self.input, DeviceKind::Input), (&self.output, DeviceKind::Output)];
        both.into_iter().filter_map(move |(seen, kind)| seen.news(kind, now))
    }
}

impl Seen {
    fn news(&self, kind: DeviceKind, now: Instant) -> Option<DeviceNews<'_>> {
        let (device, back, at) = self.news.as_ref()?;
        let fresh = now.saturating_duration_since(*at) < SHOWN;
        fresh.then_some(DeviceNews { kind, device, back: *back })
    }

    fn take(&mut self, state: &DeviceState, choice: &DeviceChoice, at: Instant) {
        if self.choice.as_ref() != Some(choice) {
            // What this person chose needs not be told to them.
            *self = Self { choice: Some(choice.clone()), ..Self::default() };
        }
        match state {
            DeviceState::Closed => *self = Self { choice: self.choice.take(), ..Self::default() },
            DeviceState::Open { name, fallback: false, .. } => {
                let same = self.used.as_ref() == Some(name);
                let back = match self.away {
                    Away::No => false,
                    Away::Gone => same,
                    Away::StoodIn => same || self.used.is_none(),
                };
                let other = self.used.is_some() && !same;
                let came = self.used.is_none() && self.away == Away::Gone;
                if back || other || came {
                    self.news = Some((name.clone(), back, at));
                }
                self.used = Some(name.clone());
                self.away = Away::No;
            }
            DeviceState::Open { fallback: true, .. } => (self.away, self.news) = (Away::StoodIn, None),
            DeviceState::Missing { .. } | DeviceState::Held { .. } => (self.away, self.news) = (Away::Gone, None),
        }
    }
}
