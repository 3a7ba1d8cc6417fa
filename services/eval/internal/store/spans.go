package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const insertSpan = `
	INSERT INTO spans (trace_id, span_id, parent_id, workspace, service, name, started_ns, duration_ns, status, error, attributes)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

// AddSpans stores spans, all or none; those that are there already stay as they are. It returns how many are new.
func (s *Store) AddSpans(ctx context.Context, spans []Span) (int, error) {
	if len(spans) == 0 {
		return 0, nil
	}
	attributes := make([]string, len(spans))
	for i, sp := range spans {
		encoded, err := json.Marshal(sp.Attributes)
		if err != nil {
			return 0, fmt.Errorf("encode attributes of span %s: %w", sp.ID, err)
		}
		attributes[i] = string(encoded)
	}
	added, err := s.group.add(ctx, func(ctx context.Context, tx statements) (added int64, err error) {
		for i, sp := range spans {
			result, err := tx.span.ExecContext(ctx, sp.TraceID, sp.ID, sp.Parent, sp.Workspace, sp.Service, sp.Name,
				sp.Started.UnixNano(), int64(sp.Duration), sp.Status, sp.Error, attributes[i])
			if err != nil {
				return 0, err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return 0, err
			}
			added += n
		}
		return added, nil
	})
	if err != nil {
		return 0, fmt.Errorf("add spans: %w", err)
	}
	return int(added), nil
}

// Spans returns at most limit spans of a trace by start. Those that say they worked for another workspace are left out:
// a trace id can come from outside, and knowing one must not open someone else's trace.
func (s *Store) Spans(ctx context.Context, workspace, traceID string, limit int) ([]Span, error) {
	if traceID == "" {
		return nil, nil
	}
	rows, err := s.read.QueryContext(ctx, `
		SELECT span_id, parent_id, workspace, service, name, started_ns, duration_ns, status, error, attributes
		FROM spans WHERE trace_id = ? AND workspace IN ('', ?) ORDER BY started_ns, span_id LIMIT ?`, traceID, workspace, limit)
	if err != nil {
		return nil, fmt.Errorf("read spans: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var spans []Span
	for rows.Next() {
		sp := Span{TraceID: traceID}
		var started, duration int64
		var attributes string
		if err := rows.Scan(&sp.ID, &sp.Parent, &sp.Workspace, &sp.Service, &sp.Name, &started, &duration, &sp.Status, &sp.Error, &attributes); err != nil {
			return nil, fmt.Errorf("read spans: %w", err)
		}
		sp.Started, sp.Duration = time.Unix(0, started).UTC(), time.Duration(duration)
		if err := json.Unmarshal([]byte(attributes), &sp.Attributes); err != nil {
			return nil, fmt.Errorf("decode attributes of span %s: %w", sp.ID, err)
		}
		spans = append(spans, sp)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read spans: %w", err)
	}
	return spans, nil
}
