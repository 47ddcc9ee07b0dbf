-- A room made by the operator, until it closes. `body` is the whole of it as JSON.
CREATE TABLE rooms (
    id        TEXT PRIMARY KEY,
    closes_at INTEGER NOT NULL,
    body      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX rooms_by_close ON rooms (closes_at);

-- `person` is never matched with `other`, nor the other way round.
CREATE TABLE blocks (
    person  TEXT NOT NULL,
    other   TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    PRIMARY KEY (person, other)
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
    id        INTEGER PRIMARY KEY,
    person    TEXT NOT NULL,
    other     TEXT NOT NULL,
    complaint TEXT NOT NULL CHECK (complaint IN ('abusive', 'unsafe', 'spam', 'other')),
    made_at   INTEGER NOT NULL
) STRICT;
