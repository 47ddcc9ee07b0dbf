//! Planted faults: each breaks a rule on purpose, so that the simulation can show that it notices.
//!
//! Outside the tests of this crate [`planted`] is the constant `false`, and every use of it folds away.

/// One fault for each rule of a call in docs/architecture.md, in their order; then those of the queue, of rooms, of ways through the
/// network and of meetings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    ConnectionBeforeAccept,
    StrangerObeyed,
    GenerationsMixed,
    RingingAssumed,
    ConnectedOneWay,
    EndedTwice,
    LinkLossEnds,
    SecondAcceptWins,
    WindowIgnored,
    QueueTwice,
    QueueOneSided,
    QueueForgetsBlock,
    QueueForgetsSkip,
    QueueMatchesAway,
    QueueSleeps,
    QueueNewestFirst,
    RoomOutsiderHeard,
    RoomEcho,
    RoomBothOffer,
    RoomRenewedTwice,
    RoomVersionStays,
    RoomEmptyKept,
    RoomRemovedReturns,
    RoomRefusalTells,
    RoomOverTwice,
    GrantNotAwaited,
    WishForRelaysIgnored,
    NetworkChangeIgnored,
    ImpatientRenewals,
    RenewalsUnpaced,
    NeverUpgrades,
    MeetingNeverRenews,
    MeetingKeepsLegs,
    MeetingStaysOut,
    MeetingOffersAlways,
}

#[cfg(not(test))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(crate) use under_test::{plant, planted};

#[cfg(test)]
mod under_test {
    use super::Fault;
    use std::cell::Cell;

    thread_local!(static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) });

    pub(crate) fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    pub(crate) fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }
}
