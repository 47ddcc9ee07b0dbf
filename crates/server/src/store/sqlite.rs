//! The embedded store: one SQLite file, write-ahead log, one writer.
//!
//! Writes begin at once as writers (`BEGIN IMMEDIATE`), so that two processes (the server and `seed-demo`) wait for each
//! other instead of failing half-way, and are on disk when they are answered (`synchronous = FULL`).

mod company;
mod quality;

use super::{
    Answer, BOOKINGS_PAGE, BookingChange, BookingQuery, Bookings, CALLS_PAGE, CallQuery, CallStore, Changed, Created,
    KnownPerson, OPEN_BOOKINGS, People, PersonRole, REPEAT_MS, Repeatable, Store, StoreError,
};
use bellwire_call::{BookedCall, Booking, Person};
use bellwire_signaling::{AttemptId, BookingId, BookingState, CallId, EndReason, Handle, Side, UnixMs, UserId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite as Db, SqlitePool, Transaction};
use std::path::Path;
use std::time::Duration;

/// How long a write waits for another process's.
const BUSY: Duration = Duration::from_secs(2);
const READERS: u32 = 3;

pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file, makes it if it is missing, and brings its tables up to date.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer =
            SqlitePoolOptions::new().max_connections(1).acquire_timeout(2 * BUSY).connect_with(options.clone()).await?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(|e| StoreError::Failed(e.into()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(2 * BUSY)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Ends all connections; the log is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn write(&self) -> Result<Transaction<'_, Db>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        StoreError::Failed(Box::new(e))
    }
}

impl Store for Sqlite {
    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let mut tx = self.write().await?;
            sqlx::query("UPDATE people SET name = name WHERE id = ''").execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
    }
}

impl People for Sqlite {
    fn put_person<'a>(&'a self, person: &'a KnownPerson, now: UnixMs) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            put_person(&mut tx, person, now).await?;
            Ok(tx.commit().await?)
        })
    }

    fn person<'a>(&'a self, user: &'a UserId) -> Answer<'a, Option<KnownPerson>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT id, name, role FROM people WHERE id = ?1")
                .bind(user.as_str())
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(person_of).transpose()
        })
    }

    fn people(&self, limit: u32) -> Answer<'_, Vec<KnownPerson>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT id, name, role FROM people WHERE role <> 'operator' ORDER BY made_at DESC, id LIMIT ?1",
            )
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            rows.iter().map(person_of).collect()
        })
    }
}

impl Bookings for Sqlite {
    fn create_booking<'a>(
        &'a self,
        booking: &'a Booking,
        repeat: Option<&'a Repeatable>,
        now: UnixMs,
    ) -> Answer<'a, Created> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            if let Some(repeat) = repeat
                && let Some(earlier) = earlier_request(&mut tx, &repeat.key, now).await?
            {
                if earlier.0 != repeat.request {
                    return Ok(Created::KeyTaken);
                }
                let made = read_booking(&mut tx, &earlier.1).await?;
                return made.map(Created::Repeat).ok_or(StoreError::Unreadable("repeat"));
            }
            for (person, role) in [(&booking.client, PersonRole::Client), (&booking.provider, PersonRole::Provider)] {
                let known = KnownPerson { user: person.user.clone(), name: person.name.clone(), role };
                put_person(&mut tx, &known, now).await?;
            }
            insert_booking(&mut tx, booking, now).await?;
            if let Some(repeat) = repeat {
                sqlx::query("INSERT INTO repeats (key, request, booking, made_at) VALUES (?1, ?2, ?3, ?4)")
                    .bind(&repeat.key)
                    .bind(&repeat.request)
                    .bind(booking.id.as_str())
                    .bind(to_sql(now.0))
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            Ok(Created::New(booking.clone()))
        })
    }

    fn booking<'a>(&'a self, id: &'a BookingId) -> Answer<'a, Option<Booking>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM bookings WHERE id = ?1")
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(booking_of).transpose()
        })
    }

    fn bookings<'a>(&'a self, query: &'a BookingQuery) -> Answer<'a, Vec<Booking>> {
        Box::pin(async move {
            let sql = match query.person {
                Some(_) => {
                    "SELECT * FROM bookings WHERE (client = ?1 OR provider = ?1) AND starts_at >= ?2 AND starts_at < ?3 \
                     AND (starts_at, id) > (?4, ?5) ORDER BY starts_at, id LIMIT ?6"
                }
                None => {
                    "SELECT * FROM bookings WHERE ?1 IS NULL AND starts_at >= ?2 AND starts_at < ?3 \
                     AND (starts_at, id) > (?4, ?5) ORDER BY starts_at, id LIMIT ?6"
                }
            };
            let (after_start, after_id) = match &query.after {
                Some((at, id)) => (to_sql(at.0), id.as_str()),
                None => (-1, ""),
            };
            let rows = sqlx::query(sql)
                .bind(query.person.as_ref().map(UserId::as_str))
                .bind(to_sql(query.from.unwrap_or_default().0))
                .bind(query.to.map_or(i64::MAX, |to| to_sql(to.0)))
                .bind(after_start)
                .bind(after_id)
                .bind(query.limit.min(BOOKINGS_PAGE))
                .fetch_all(&self.readers)
                .await?;
            rows.iter().map(booking_of).collect()
        })
    }

    fn open_bookings<'a>(&'a self, user: &'a UserId, now: UnixMs) -> Answer<'a, Vec<Booking>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT * FROM bookings WHERE (client = ?1 OR provider = ?1) AND closes_at > ?2 \
                 ORDER BY starts_at, id LIMIT ?3",
            )
            .bind(user.as_str())
            .bind(to_sql(now.0))
            .bind(OPEN_BOOKINGS)
            .fetch_all(&self.readers)
            .await?;
            rows.iter().map(booking_of).collect()
        })
    }

    fn change_booking<'a>(&'a self, id: &'a BookingId, change: BookingChange) -> Answer<'a, Changed> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            let Some(mut booking) = read_booking(&mut tx, id.as_str()).await? else { return Ok(Changed::NotFound) };
            let before = booking.clone();
            match (booking.state, change) {
                (BookingState::Scheduled, BookingChange::Cancel) => booking.state = BookingState::Cancelled,
                (BookingState::Scheduled, BookingChange::Reschedule { starts_at, length_ms }) => {
                    if !booking.reschedulable {
                        return Ok(Changed::NotReschedulable);
                    }
                    booking.starts_at = starts_at.unwrap_or(booking.starts_at);
                    booking.length_ms = length_ms.unwrap_or(booking.length_ms);
                }
                (BookingState::Cancelled, BookingChange::Cancel) => {}
                (
                    state @ (BookingState::Cancelled
                    | BookingState::Done
                    | BookingState::NoShowClient
                    | BookingState::NoShowProvider),
                    BookingChange::Cancel | BookingChange::Reschedule { .. },
                ) => return Ok(Changed::Over(state)),
            }
            if booking == before {
                return Ok(Changed::Unchanged(booking));
            }
            sqlx::query("UPDATE bookings SET starts_at = ?2, length_ms = ?3, state = ?4, closes_at = ?5 WHERE id = ?1")
                .bind(id.as_str())
                .bind(to_sql(booking.starts_at.0))
                .bind(to_sql(booking.length_ms))
                .bind(state_name(booking.state))
                .bind(to_sql(booking.closes_at().0))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(Changed::Done(booking))
        })
    }
}

impl CallStore for Sqlite {
    fn save_calls<'a>(&'a self, calls: &'a [BookedCall]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut tx = self.write().await?;
            for call in calls {
                let body = serde_json::to_string(call).map_err(|e| StoreError::Failed(e.into()))?;
                let ended = call.ended();
                sqlx::query(
                    "INSERT INTO calls (id, booking, attempt, caller, callee, invited_at, connected_at, ended_at, reason, body) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO UPDATE SET \
                     connected_at = excluded.connected_at, ended_at = excluded.ended_at, reason = excluded.reason, \
                     body = excluded.body WHERE calls.ended_at IS NULL",
                )
                .bind(call.id().as_str())
                .bind(call.booking().as_str())
                .bind(call.attempt().as_str())
                .bind(call.party(Side::Caller).user.as_str())
                .bind(call.party(Side::Callee).user.as_str())
                .bind(to_sql(call.invited_at().0))
                .bind(call.connected_at().map(|at| to_sql(at.0)))
                .bind(ended.map(|(at, _)| to_sql(at.0)))
                .bind(ended.map(|(_, ending)| reason_name(ending.reason)))
                .bind(body)
                .execute(&mut *tx)
                .await?;
            }
            Ok(tx.commit().await?)
        })
    }

    fn call_of_attempt<'a>(&'a self, booking: &'a BookingId, attempt: &'a AttemptId) -> Answer<'a, Option<CallId>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT id FROM calls WHERE booking = ?1 AND attempt = ?2")
                .bind(booking.as_str())
                .bind(attempt.as_str())
                .fetch_optional(&self.readers)
                .await?;
            row.map(|row| CallId::new(text(&row, "id")?).map_err(|_| StoreError::Unreadable("call id"))).transpose()
        })
    }

    fn recent_calls(&self, ended_after: UnixMs) -> Answer<'_, Vec<BookedCall>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT body FROM calls WHERE ended_at IS NULL OR ended_at > ?1")
                .bind(to_sql(ended_after.0))
                .fetch_all(&self.readers)
                .await?;
            rows.iter().map(call_of).collect()
        })
    }

    fn ended_calls<'a>(
        &'a self,
        user: &'a UserId,
        booking: Option<&'a BookingId>,
        before: Option<UnixMs>,
        limit: u32,
    ) -> Answer<'a, Vec<BookedCall>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT body FROM calls WHERE (caller = ?1 OR callee = ?1) AND ended_at < ?2 \
                 AND (?3 IS NULL OR booking = ?3) ORDER BY ended_at DESC, id LIMIT ?4",
            )
            .bind(user.as_str())
            .bind(before.map_or(i64::MAX, |at| to_sql(at.0)))
            .bind(booking.map(BookingId::as_str))
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            rows.iter().map(call_of).collect()
        })
    }

    fn calls<'a>(&'a self, query: &'a CallQuery) -> Answer<'a, Vec<BookedCall>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT body FROM calls WHERE (?1 IS NULL OR caller = ?1 OR callee = ?1) \
                 AND (?2 IS NULL OR booking = ?2) ORDER BY invited_at DESC, id LIMIT ?3",
            )
            .bind(query.person.as_ref().map(UserId::as_str))
            .bind(query.booking.as_ref().map(BookingId::as_str))
            .bind(query.limit.min(CALLS_PAGE))
            .fetch_all(&self.readers)
            .await?;
            rows.iter().map(call_of).collect()
        })
    }
}

async fn put_person(tx: &mut Transaction<'_, Db>, person: &KnownPerson, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO people (id, name, role, made_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET \
         name = excluded.name, role = CASE WHEN people.role = 'operator' THEN people.role ELSE excluded.role END",
    )
    .bind(person.user.as_str())
    .bind(&person.name)
    .bind(role_name(person.role))
    .bind(to_sql(now.0))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The request that used this key, and the booking it made. Keys that are too old are forgotten here.
async fn earlier_request(
    tx: &mut Transaction<'_, Db>,
    key: &str,
    now: UnixMs,
) -> Result<Option<(String, String)>, StoreError> {
    sqlx::query("DELETE FROM repeats WHERE made_at < ?1")
        .bind(to_sql(now.minus(REPEAT_MS).0))
        .execute(&mut **tx)
        .await?;
    let row =
        sqlx::query("SELECT request, booking FROM repeats WHERE key = ?1").bind(key).fetch_optional(&mut **tx).await?;
    row.map(|row| Ok((text(&row, "request")?.to_owned(), text(&row, "booking")?.to_owned()))).transpose()
}

async fn read_booking(tx: &mut Transaction<'_, Db>, id: &str) -> Result<Option<Booking>, StoreError> {
    let row = sqlx::query("SELECT * FROM bookings WHERE id = ?1").bind(id).fetch_optional(&mut **tx).await?;
    row.as_ref().map(booking_of).transpose()
}

async fn insert_booking(tx: &mut Transaction<'_, Db>, booking: &Booking, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO bookings (id, client, client_handle, client_name, provider, provider_handle, provider_name, \
         starts_at, length_ms, topic, state, opens_before_ms, closes_after_ms, closes_at, reschedulable, made_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )
    .bind(booking.id.as_str())
    .bind(booking.client.user.as_str())
    .bind(booking.client.handle.as_str())
    .bind(&booking.client.name)
    .bind(booking.provider.user.as_str())
    .bind(booking.provider.handle.as_str())
    .bind(&booking.provider.name)
    .bind(to_sql(booking.starts_at.0))
    .bind(to_sql(booking.length_ms))
    .bind(&booking.topic)
    .bind(state_name(booking.state))
    .bind(to_sql(booking.opens_before_ms))
    .bind(to_sql(booking.closes_after_ms))
    .bind(to_sql(booking.closes_at().0))
    .bind(booking.reschedulable)
    .bind(to_sql(now.0))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn booking_of(row: &SqliteRow) -> Result<Booking, StoreError> {
    let unreadable = || StoreError::Unreadable("booking");
    let person = |user, handle, name| {
        Ok::<_, StoreError>(Person {
            user: UserId::new(text(row, user)?).map_err(|_| unreadable())?,
            handle: Handle::new(text(row, handle)?).map_err(|_| unreadable())?,
            name: text(row, name)?.to_owned(),
        })
    };
    Ok(Booking {
        id: BookingId::new(text(row, "id")?).map_err(|_| unreadable())?,
        client: person("client", "client_handle", "client_name")?,
        provider: person("provider", "provider_handle", "provider_name")?,
        starts_at: UnixMs(number(row, "starts_at")?),
        length_ms: number(row, "length_ms")?,
        topic: text(row, "topic")?.to_owned(),
        state: state_of(text(row, "state")?).ok_or_else(unreadable)?,
        opens_before_ms: number(row, "opens_before_ms")?,
        closes_after_ms: number(row, "closes_after_ms")?,
        reschedulable: row.try_get("reschedulable")?,
    })
}

fn call_of(row: &SqliteRow) -> Result<BookedCall, StoreError> {
    serde_json::from_str(text(row, "body")?).map_err(|_| StoreError::Unreadable("call"))
}

fn person_of(row: &SqliteRow) -> Result<KnownPerson, StoreError> {
    let unreadable = || StoreError::Unreadable("person");
    Ok(KnownPerson {
        user: UserId::new(text(row, "id")?).map_err(|_| unreadable())?,
        name: text(row, "name")?.to_owned(),
        role: match text(row, "role")? {
            "client" => PersonRole::Client,
            "provider" => PersonRole::Provider,
            "operator" => PersonRole::Operator,
            _ => return Err(unreadable()),
        },
    })
}

fn text<'r>(row: &'r SqliteRow, column: &str) -> Result<&'r str, StoreError> {
    Ok(row.try_get(column)?)
}

fn number(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| StoreError::Unreadable("number"))
}

/// SQLite's integers end at 2^63; so do all moments that matter.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn role_name(role: PersonRole) -> &'static str {
    match role {
        PersonRole::Client => "client",
        PersonRole::Provider => "provider",
        PersonRole::Operator => "operator",
    }
}

fn state_name(state: BookingState) -> &'static str {
    match state {
        BookingState::Scheduled => "scheduled",
        BookingState::Cancelled => "cancelled",
        BookingState::Done => "done",
        BookingState::NoShowClient => "no_show_client",
        BookingState::NoShowProvider => "no_show_provider",
    }
}

fn state_of(name: &str) -> Option<BookingState> {
    [
        BookingState::Scheduled,
        BookingState::Cancelled,
        BookingState::Done,
        BookingState::NoShowClient,
        BookingState::NoShowProvider,
    ]
    .into_iter()
    .find(|state| state_name(*state) == name)
}

/// The reason's name in the store and in the metrics.
pub fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::HungUp => "hung_up",
        EndReason::Cancelled => "cancelled",
        EndReason::Declined => "declined",
        EndReason::NoAnswer => "no_answer",
        EndReason::Busy => "busy",
        EndReason::MediaFailed => "media_failed",
        EndReason::MediaLost => "media_lost",
        EndReason::BookingCancelled => "booking_cancelled",
    }
}
