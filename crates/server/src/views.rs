//! What one person sees of a booking or a call.

use bellwire_call::{BookedCall, Booking, Sides};
use bellwire_signaling::{BookingView, CallQuality, CallRecord, Presence, Readiness, UserId};

/// The booking as `user` sees it; none for a stranger.
pub fn booking(
    booking: &Booking,
    user: &UserId,
    peer: impl FnOnce(&UserId) -> (Presence, Readiness),
) -> Option<BookingView> {
    let you = booking.role_of(user)?;
    let (presence, peer_readiness) = peer(&booking.person(you.other()).user);
    Some(BookingView {
        booking: booking.id.clone(),
        topic: booking.topic.clone(),
        starts_at: booking.starts_at,
        length_ms: booking.length_ms,
        opens_at: booking.opens_at(),
        closes_at: booking.closes_at(),
        state: booking.state,
        you,
        peer: booking.peer(you.other()),
        presence,
        peer_readiness,
    })
}

/// An ended call as `user` finds it in the history, with how it sounded to them alone; none for a stranger.
pub fn record(call: &BookedCall, user: &UserId, quality: Option<&Sides<Option<CallQuality>>>) -> Option<CallRecord> {
    let side = call.side_of(user)?;
    Some(CallRecord { quality: quality.and_then(|sides| *sides.of(side)), ..call.record_for(side)? })
}
