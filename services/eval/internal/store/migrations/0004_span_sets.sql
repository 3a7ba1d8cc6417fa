-- The spans of a trace that came together in one row: a row and two index entries for each span cost more than all else that is
-- done with it. Rows are in the order in which they came.
CREATE TABLE span_sets (
    id         INTEGER PRIMARY KEY,
    trace_id   TEXT    NOT NULL,
    digest     INTEGER NOT NULL, -- of what spans holds: what comes again is there already
    spans_n    INTEGER NOT NULL, -- how many these are
    started_ns INTEGER NOT NULL, -- Unix time; the first one's
    spans      TEXT    NOT NULL  -- a JSON array of objects, see savedSpan
);

CREATE UNIQUE INDEX span_sets_trace ON span_sets (trace_id, digest, spans_n);

INSERT INTO span_sets (trace_id, digest, spans_n, started_ns, spans)
SELECT trace_id, 0, count(*), min(started_ns), json_group_array(json_object(
    'id', span_id, 'parent', parent_id, 'workspace', workspace, 'service', service, 'name', name,
    'started', started_ns, 'duration', duration_ns, 'status', status, 'error', error, 'attributes', json(attributes)))
FROM spans GROUP BY trace_id ORDER BY min(started_ns);

DROP TABLE spans;
