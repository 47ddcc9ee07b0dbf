//! Planned rooms, blocks and reports in SQLite.

use super::{Sqlite, number, text, to_sql};
use crate::store::company::{Company, KeptReport, KeptRoom, REPORTS_PAGE, complaint_name, complaint_of};
use crate::store::{Answer, StoreError};
use bellwire_signaling::{RoomId, UnixMs, UserId};
use sqlx::sqlite::SqliteRow;

impl Company for Sqlite {
    fn put_room<'a>(&'a self, room: &'a KeptRoom) -> Answer<'a, ()> {
        Box::pin(async move {
            let body = serde_json::to_string(room).map_err(|e| StoreError::Failed(e.into()))?;
            let mut tx = self.write().await?;
            sqlx::query(
                "INSERT INTO rooms (id, closes_at, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET closes_at = excluded.closes_at, body = excluded.body",
            )
            .bind(room.id.as_str())
            .bind(to_sql(room.closes_at.0))
            .bind(body)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
    }

    fn room<'a>(&'a self, id: &'a RoomId) -> Answer<'a, Option<KeptRoom>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT body FROM rooms WHERE id = ?1")
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(room_of).transpose()
        })
    }

    fn open_rooms(&self, now: UnixMs) -> Answer<'_, Vec<KeptRoom>> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            sqlx::query("DELETE FROM rooms WHERE closes_at <= ?1").bind(to_sql(now.0)).execute(&mut *tx).await?;
            let rows = sqlx::query("SELECT body FROM rooms ORDER BY closes_at, id").fetch_all(&mut *tx).await?;
            tx.commit().await?;
            rows.iter().map(room_of).collect()
        })
    }

    fn drop_room<'a>(&'a self, id: &'a RoomId) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            let gone = sqlx::query("DELETE FROM rooms WHERE id = ?1").bind(id.as_str()).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(gone.rows_affected() > 0)
        })
    }

    fn add_block<'a>(&'a self, person: &'a UserId, other: &'a UserId, now: UnixMs) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            sqlx::query("INSERT INTO blocks (person, other, made_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
                .bind(person.as_str())
                .bind(other.as_str())
                .bind(to_sql(now.0))
                .execute(&mut *tx)
                .await?;
            Ok(tx.commit().await?)
        })
    }

    fn blocks(&self) -> Answer<'_, Vec<(UserId, UserId)>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT person, other FROM blocks").fetch_all(&self.readers).await?;
            rows.iter().map(|row| Ok((user(row, "person")?, user(row, "other")?))).collect()
        })
    }

    fn add_report<'a>(&'a self, report: &'a KeptReport) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            sqlx::query("INSERT INTO reports (person, other, complaint, made_at) VALUES (?1, ?2, ?3, ?4)")
                .bind(report.person.as_str())
                .bind(report.other.as_str())
                .bind(complaint_name(report.complaint))
                .bind(to_sql(report.made_at.0))
                .execute(&mut *tx)
                .await?;
            Ok(tx.commit().await?)
        })
    }

    fn reports(&self, limit: u32) -> Answer<'_, Vec<KeptReport>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT person, other, complaint, made_at FROM reports ORDER BY id DESC LIMIT ?1")
                .bind(limit.min(REPORTS_PAGE))
                .fetch_all(&self.readers)
                .await?;
            let report = |row: &SqliteRow| {
                Ok(KeptReport {
                    person: user(row, "person")?,
                    other: user(row, "other")?,
                    complaint: complaint_of(text(row, "complaint")?).ok_or(StoreError::Unreadable("report"))?,
                    made_at: UnixMs(number(row, "made_at")?),
                })
            };
            rows.iter().map(report).collect()
        })
    }
}

fn room_of(row: &SqliteRow) -> Result<KeptRoom, StoreError> {
    serde_json::from_str(text(row, "body")?).map_err(|_| StoreError::Unreadable("room"))
}

fn user(row: &SqliteRow, column: &str) -> Result<UserId, StoreError> {
    UserId::new(text(row, column)?).map_err(|_| StoreError::Unreadable("person"))
}
