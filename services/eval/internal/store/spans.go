package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const insertSpans = "INSERT INTO span_sets (trace_id, digest, spans_n, started_ns, spans) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"

// savedSpan is the form in which a span is saved. Its trace is the row's.
type savedSpan struct {
	ID         string            `json:"id"`
	Parent     string            `json:"parent,omitempty"`
	Workspace  string            `json:"workspace,omitempty"`
	Service    string            `json:"service,omitempty"`
	Name       string            `json:"name"`
	Started    int64             `json:"started"`  // Unix time, ns
	Duration   int64             `json:"duration"` // ns
	Status     string            `json:"status,omitempty"`
	Error      string            `json:"error,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// spanSet is the spans of a trace that came together.
type spanSet struct {
	trace   string
	spans   []savedSpan
	encoded []byte
}

// digest tells what is in the set from everything else.
func (s *spanSet) digest() int64 {
	sum := sha256.Sum256(s.encoded)
	return int64(binary.LittleEndian.Uint64(sum[:]))
}

// setsOf takes spans apart by trace.
func setsOf(spans []Span) ([]*spanSet, error) {
	var sets []*spanSet
	of := map[string]*spanSet{}
	for _, sp := range spans {
		set := of[sp.TraceID]
		if set == nil {
			set = &spanSet{trace: sp.TraceID}
			of[sp.TraceID] = set
			sets = append(sets, set)
		}
		set.spans = append(set.spans, savedSpan{
			ID: sp.ID, Parent: sp.Parent, Workspace: sp.Workspace, Service: sp.Service, Name: sp.Name,
			Started: sp.Started.UnixNano(), Duration: int64(sp.Duration), Status: sp.Status, Error: sp.Error, Attributes: sp.Attributes,
		})
	}
	for _, set := range sets {
		var err error
		if set.encoded, err = json.Marshal(set.spans); err != nil {
			return nil, fmt.Errorf("encode spans of trace %s: %w", set.trace, err)
		}
	}
	return sets, nil
}

// AddSpans stores spans, all or none. Those of a trace are stored together; when the same ones come again they are there
// already. It returns how many are new.
func (s *Store) AddSpans(ctx context.Context, spans []Span) (int, error) {
	sets, err := setsOf(spans)
	if err != nil || len(sets) == 0 {
		return 0, err
	}
	added, err := s.group.add(ctx, func(ctx context.Context, tx statements) (added int64, err error) {
		for _, set := range sets {
			first := slices.MinFunc(set.spans, func(a, b savedSpan) int { return cmp.Compare(a.Started, b.Started) })
			result, err := tx.spans.ExecContext(ctx, set.trace, set.digest(), len(set.spans), first.Started, set.encoded)
			if err != nil {
				return 0, err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return 0, err
			}
			added += n * int64(len(set.spans))
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
	// A set has a span at least, so that more sets than limit are never needed.
	rows, err := s.read.QueryContext(ctx, "SELECT spans FROM span_sets WHERE trace_id = ? ORDER BY id LIMIT ?", traceID, limit)
	if err != nil {
		return nil, fmt.Errorf("read spans: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var spans []Span
	seen := map[string]bool{} // a span that came in two sets is one
	for rows.Next() {
		var encoded []byte
		if err := rows.Scan(&encoded); err != nil {
			return nil, fmt.Errorf("read spans: %w", err)
		}
		var set []savedSpan
		if err := json.Unmarshal(encoded, &set); err != nil {
			return nil, fmt.Errorf("decode spans of trace %s: %w", traceID, err)
		}
		for _, sp := range set {
			if seen[sp.ID] || sp.Workspace != "" && sp.Workspace != workspace {
				continue
			}
			seen[sp.ID] = true
			spans = append(spans, Span{
				TraceID: traceID, ID: sp.ID, Parent: sp.Parent, Workspace: sp.Workspace, Service: sp.Service, Name: sp.Name,
				Started: time.Unix(0, sp.Started).UTC(), Duration: time.Duration(sp.Duration), Status: sp.Status, Error: sp.Error, Attributes: sp.Attributes,
			})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read spans: %w", err)
	}
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
	return spans[:min(limit, len(spans))], nil
}
