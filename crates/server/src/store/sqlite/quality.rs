//! How calls sounded.

use super::{Sqlite, text};
use crate::store::{Answer, CallQualities, Qualities, QualityKept, StoreError};
use bellwire_call::Sides;
use bellwire_signaling::{BookingId, CallId, CallQuality, Side, UserId};
use sqlx::Row;

impl Qualities for Sqlite {
    fn keep_quality<'a>(
        &'a self,
        call: &'a CallId,
        user: &'a UserId,
        booking: Option<&'a BookingId>,
        quality: &'a CallQuality,
    ) -> Answer<'a, QualityKept> {
        Box::pin(async move {
            let body = serde_json::to_string(quality).map_err(|e| StoreError::Failed(e.into()))?;
            let mut tx = self.write().await?;
            let found = sqlx::query(
                "SELECT caller = ?2 AS is_caller, ended_at IS NOT NULL AS ended FROM calls \
                 WHERE id = ?1 AND (caller = ?2 OR callee = ?2) AND (?3 IS NULL OR booking = ?3)",
            )
            .bind(call.as_str())
            .bind(user.as_str())
            .bind(booking.map(BookingId::as_str))
            .fetch_optional(&mut *tx)
            .await?;
            let Some(found) = found else { return Ok(QualityKept::NotFound) };
            if !found.try_get::<bool, _>("ended")? {
                return Ok(QualityKept::GoesOn);
            }
            let side = if found.try_get("is_caller")? { Side::Caller } else { Side::Callee };
            let kept =
                sqlx::query("INSERT INTO call_quality (call, side, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
                    .bind(call.as_str())
                    .bind(side_name(side))
                    .bind(body)
                    .execute(&mut *tx)
                    .await?;
            tx.commit().await?;
            Ok(if kept.rows_affected() == 0 { QualityKept::Already } else { QualityKept::Now })
        })
    }

    fn qualities<'a>(&'a self, calls: &'a [&'a CallId]) -> Answer<'a, CallQualities> {
        Box::pin(async move {
            let ids: Vec<&str> = calls.iter().map(|call| call.as_str()).collect();
            let ids = serde_json::to_string(&ids).map_err(|e| StoreError::Failed(e.into()))?;
            let rows = sqlx::query(
                "SELECT call, side, body FROM call_quality WHERE call IN (SELECT value FROM json_each(?1))",
            )
            .bind(ids)
            .fetch_all(&self.readers)
            .await?;
            let unreadable = || StoreError::Unreadable("call's quality");
            let mut all = CallQualities::new();
            for row in &rows {
                let call = CallId::new(text(row, "call")?).map_err(|_| unreadable())?;
                let side = side_of(text(row, "side")?).ok_or_else(unreadable)?;
                let quality: CallQuality = serde_json::from_str(text(row, "body")?).map_err(|_| unreadable())?;
                let sides: &mut Sides<Option<CallQuality>> = all.entry(call).or_default();
                *sides.of_mut(side) = Some(quality);
            }
            Ok(all)
        })
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Callee => "callee",
    }
}

fn side_of(name: &str) -> Option<Side> {
    [Side::Caller, Side::Callee].into_iter().find(|side| side_name(*side) == name)
}
