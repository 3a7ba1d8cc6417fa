-- Turns and spans as they were consumed. A turn's record stays in the form it came in (event.v1.TurnRecorded.turn,
-- protobuf); the columns beside it are what lists and retention need.
CREATE TABLE turns (
    workspace   TEXT    NOT NULL,
    turn_id     TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    trace_id    TEXT    NOT NULL,
    question    TEXT    NOT NULL,
    outcome     INTEGER NOT NULL,
    degraded    TEXT    NOT NULL, -- stage names as a JSON array
    started_ns  INTEGER NOT NULL, -- Unix time
    duration_ns INTEGER NOT NULL,
    record      BLOB    NOT NULL,
    PRIMARY KEY (workspace, turn_id)
) WITHOUT ROWID;

CREATE INDEX turns_latest ON turns (workspace, started_ns DESC, turn_id DESC);
CREATE INDEX turns_session ON turns (workspace, session_id);
CREATE INDEX turns_oldest ON turns (started_ns);
CREATE INDEX turns_trace ON turns (trace_id);

CREATE TABLE spans (
    trace_id    TEXT    NOT NULL,
    span_id     TEXT    NOT NULL,
    parent_id   TEXT    NOT NULL,
    workspace   TEXT    NOT NULL, -- empty when the span does not say
    service     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    started_ns  INTEGER NOT NULL, -- Unix time
    duration_ns INTEGER NOT NULL,
    status      TEXT    NOT NULL,
    error       TEXT    NOT NULL,
    attributes  TEXT    NOT NULL, -- a JSON object of strings
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;

CREATE INDEX spans_oldest ON spans (started_ns);

-- What was deleted on purpose. A turn can still be on its way here when its session is deleted: it must not come back.
CREATE TABLE deletions (
    workspace  TEXT    NOT NULL,
    session_id TEXT    NOT NULL, -- empty for the whole workspace
    deleted_ns INTEGER NOT NULL, -- turns that began before this stay away
    PRIMARY KEY (workspace, session_id)
) WITHOUT ROWID;
