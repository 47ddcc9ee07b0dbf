//! Why devices are open.

use crate::Tone;

#[derive(Default)]
pub struct Wants {
    pub warm: bool,
    pub call: bool,
    pub check: bool,
    pub tone: Option<Tone>,
    pub melody: bool,
}

impl Wants {
    pub fn microphone(&self) -> bool {
        self.warm || self.call || self.check
    }

    /// `apart`: tones have a speaker of their own.
    pub fn speaker(&self, apart: bool) -> bool {
        self.warm || self.call || (self.tone.is_some() && !apart) || self.melody
    }
}
