//! How an ended call sounded: what an app says of its side is checked here, kept with the call, and shown to that side
//! alone (and to the operator).

use crate::closing::refusal;
use crate::store::{CallQualities, QualityKept, Store, StoreError};
use crate::views;
use bellwire_call::BookedCall;
use bellwire_signaling::{BookingId, CallId, CallQuality, CallRecord, ErrorCode, Reply, UnixMs, UserId, WireError};
use tracing::warn;

/// Mean opinion scores of the E-model, times ten (ITU-T G.107, annex B).
const MOS_X10: std::ops::RangeInclusive<u8> = 10..=45;
/// No call reconnects for longer than a day.
const LONGEST_MS: u32 = 24 * 60 * 60_000;

/// What cannot be true of a call, if something cannot.
fn fault_of(quality: &CallQuality) -> Option<&'static str> {
    if !MOS_X10.contains(&quality.mos_x10) {
        return Some("mos_x10 is 10 to 45");
    }
    if quality.loss_in_percent > 100 || quality.loss_out_percent > 100 {
        return Some("a percentage is 0 to 100");
    }
    (quality.reconnecting_ms > LONGEST_MS).then_some("reconnecting_ms is a day at most")
}

/// Keeps what this person's app says of its side, of calls of booking `only` alone if given. The first word counts; a
/// repeat is answered alike.
pub async fn keep(
    store: &dyn Store,
    user: &UserId,
    only: Option<&BookingId>,
    call: &CallId,
    quality: &CallQuality,
) -> Result<Reply, WireError> {
    if let Some(fault) = fault_of(quality) {
        return Err(WireError { message: fault.into(), ..refusal(ErrorCode::BadFrame) });
    }
    match store.keep_quality(call, user, only, quality).await {
        Ok(QualityKept::Now | QualityKept::Already) => Ok(Reply::Done {}),
        Ok(QualityKept::GoesOn) => Err(refusal(ErrorCode::WrongState)),
        Ok(QualityKept::NotFound) => Err(refusal(ErrorCode::NotFound)),
        Err(e) => {
            warn!(error = %e, "a call's quality could not be kept");
            Err(refusal(ErrorCode::Unavailable))
        }
    }
}

/// A page of the history of `user`: each call with how it sounded on their side.
pub async fn history(
    store: &dyn Store,
    user: &UserId,
    only: Option<&BookingId>,
    before: Option<UnixMs>,
    limit: u32,
) -> Result<Vec<CallRecord>, StoreError> {
    let calls = store.ended_calls(user, only, before, limit).await?;
    let all = of_calls(store, &calls).await?;
    Ok(calls.iter().filter_map(|call| views::record(call, user, all.get(call.id()))).collect())
}

/// How these calls sounded, as far as anybody said.
pub async fn of_calls(store: &dyn Store, calls: &[BookedCall]) -> Result<CallQualities, StoreError> {
    let ids: Vec<&CallId> = calls.iter().map(BookedCall::id).collect();
    store.qualities(&ids).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_call_can_sound_like_is_named() {
        let good = CallQuality {
            mos_x10: 41,
            loss_in_percent: 2,
            loss_out_percent: 100,
            round_trip_ms: 38,
            reconnects: 1,
            reconnecting_ms: 2_400,
            relayed: true,
            cause: None,
        };
        let check = |quality: CallQuality, expected: Option<&str>| assert_eq!(fault_of(&quality), expected);
        check(good, None);
        check(CallQuality { mos_x10: 9, ..good }, Some("mos_x10 is 10 to 45"));
        check(CallQuality { mos_x10: 46, ..good }, Some("mos_x10 is 10 to 45"));
        check(CallQuality { loss_in_percent: 101, ..good }, Some("a percentage is 0 to 100"));
        check(CallQuality { loss_out_percent: 255, ..good }, Some("a percentage is 0 to 100"));
        check(CallQuality { reconnecting_ms: LONGEST_MS + 1, ..good }, Some("reconnecting_ms is a day at most"));
    }
}
