//! The check before a call, as this device makes it.

use bellwire_call::Monotonic;
use bellwire_call::check::{CheckReport, Stage};

/// A check, for those who show it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckNow {
    pub stage: Stage,
    /// From 0 to 1.
    pub progress: f32,
    /// Once it is done.
    pub report: Option<CheckReport>,
    /// Nobody asked for it, and nobody takes part.
    pub automatic: bool,
}

#[derive(Default)]
pub(crate) struct Checks {}

impl Checks {
    pub(crate) fn now(&self, _now: Monotonic) -> Option<CheckNow> {
        None
    }
}
