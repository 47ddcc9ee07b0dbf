-- How an ended call sounded on one side, as that side's app said. `body` is the whole of it as JSON.
CREATE TABLE call_quality (
    call TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    side TEXT NOT NULL CHECK (side IN ('caller', 'callee')),
    body TEXT NOT NULL,
    PRIMARY KEY (call, side)
) STRICT, WITHOUT ROWID;
