-- Times are milliseconds since 1970 (UTC); lengths are milliseconds.

CREATE TABLE people (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    role    TEXT NOT NULL CHECK (role IN ('client', 'provider', 'operator')),
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bookings (
    id              TEXT PRIMARY KEY,
    client          TEXT NOT NULL REFERENCES people (id),
    client_handle   TEXT NOT NULL UNIQUE,
    client_name     TEXT NOT NULL,
    provider        TEXT NOT NULL REFERENCES people (id),
    provider_handle TEXT NOT NULL UNIQUE,
    provider_name   TEXT NOT NULL,
    starts_at       INTEGER NOT NULL,
    length_ms       INTEGER NOT NULL,
    topic           TEXT NOT NULL,
    state           TEXT NOT NULL
        CHECK (state IN ('scheduled', 'cancelled', 'done', 'no_show_client', 'no_show_provider')),
    opens_before_ms INTEGER NOT NULL,
    closes_after_ms INTEGER NOT NULL,
    closes_at       INTEGER NOT NULL,
    reschedulable   INTEGER NOT NULL,
    made_at         INTEGER NOT NULL,
    CHECK (client <> provider)
) STRICT;

CREATE INDEX bookings_of_client ON bookings (client, closes_at);
CREATE INDEX bookings_of_provider ON bookings (provider, closes_at);
CREATE INDEX bookings_by_start ON bookings (starts_at, id);

-- What an Idempotency-Key made, and from which request.
CREATE TABLE repeats (
    key     TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    booking TEXT NOT NULL REFERENCES bookings (id),
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX repeats_by_age ON repeats (made_at);

-- `body` is the whole call as JSON; the other columns repeat what is asked for.
CREATE TABLE calls (
    id           TEXT PRIMARY KEY,
    booking      TEXT NOT NULL REFERENCES bookings (id),
    attempt      TEXT NOT NULL,
    caller       TEXT NOT NULL,
    callee       TEXT NOT NULL,
    invited_at   INTEGER NOT NULL,
    connected_at INTEGER,
    ended_at     INTEGER,
    reason       TEXT,
    body         TEXT NOT NULL,
    UNIQUE (booking, attempt),
    CHECK ((ended_at IS NULL) = (reason IS NULL))
) STRICT;

CREATE INDEX calls_of_caller ON calls (caller, ended_at);
CREATE INDEX calls_of_callee ON calls (callee, ended_at);
CREATE INDEX calls_by_end ON calls (ended_at);

CREATE TRIGGER ended_calls_are_final BEFORE UPDATE ON calls WHEN OLD.ended_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'an ended call is final');
END;
