package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"
)

// pruneBatch is how many rows one transaction of [Store.Prune] removes, so that writes in between wait milliseconds.
const pruneBatch = 500

// Limits bound what is kept. Zero means no bound.
type Limits struct {
	// TurnAge and SpanAge are how long turns and spans stay.
	TurnAge, SpanAge time.Duration
	// Turns and Spans are how many stay.
	Turns, Spans int
	// Bytes is how large the file may be.
	Bytes int64
}

// Pruned is what a pass removed.
type Pruned struct {
	Turns, Spans int
}

// table is what pruning has to know of a table.
type table struct {
	name string
	// count counts its rows; oldest removes at most ?2 of the oldest that are before ?1.
	count, oldest string
}

func turnTable() table {
	return table{
		name:  "turns",
		count: "SELECT count(*) FROM turns",
		oldest: `DELETE FROM turns WHERE (workspace, turn_id) IN (
			SELECT workspace, turn_id FROM turns WHERE started_ns < ?1 ORDER BY started_ns LIMIT ?2)`,
	}
}

func spanTable() table {
	return table{
		name:  "spans",
		count: "SELECT count(*) FROM spans",
		oldest: `DELETE FROM spans WHERE (trace_id, span_id) IN (
			SELECT trace_id, span_id FROM spans WHERE started_ns < ?1 ORDER BY started_ns LIMIT ?2)`,
	}
}

// always is after every row.
const always = math.MaxInt64

// Prune removes the oldest turns and spans until the limits hold. It works in small transactions, so that it can be
// interrupted at any time and never holds the writer for long.
func (s *Store) Prune(ctx context.Context, l Limits, now time.Time) (Pruned, error) {
	var p Pruned
	for _, rule := range []struct {
		table   table
		age     time.Duration
		rows    int
		removed *int
	}{{spanTable(), l.SpanAge, l.Spans, &p.Spans}, {turnTable(), l.TurnAge, l.Turns, &p.Turns}} {
		if rule.age > 0 {
			if err := s.removeOlder(ctx, rule.table, now.Add(-rule.age), rule.removed); err != nil {
				return p, err
			}
		}
		if rule.rows > 0 {
			if err := s.removeBeyond(ctx, rule.table, rule.rows, rule.removed); err != nil {
				return p, err
			}
		}
	}
	if l.TurnAge > 0 {
		// Whatever such an entry still kept away would be too old to be kept anyway.
		if _, err := s.write.ExecContext(ctx, "DELETE FROM deletions WHERE deleted_ns < ?", now.Add(-l.TurnAge).UnixNano()); err != nil {
			return p, fmt.Errorf("prune deletions: %w", err)
		}
	}
	if l.Bytes > 0 {
		if err := s.shrink(ctx, l.Bytes, &p); err != nil {
			return p, err
		}
	}
	if p == (Pruned{}) {
		return p, nil
	}
	if _, err := s.write.ExecContext(ctx, "PRAGMA incremental_vacuum"); err != nil {
		return p, fmt.Errorf("give back disk space: %w", err)
	}
	return p, s.checkpoint(ctx)
}

func (s *Store) removeOlder(ctx context.Context, t table, before time.Time, removed *int) error {
	for {
		n, err := s.removeOldest(ctx, t, before.UnixNano(), pruneBatch)
		*removed += n
		if err != nil || n < pruneBatch {
			return err
		}
	}
}

func (s *Store) removeBeyond(ctx context.Context, t table, keep int, removed *int) error {
	var have int
	if err := s.read.QueryRowContext(ctx, t.count).Scan(&have); err != nil {
		return fmt.Errorf("count %s: %w", t.name, err)
	}
	for excess := have - keep; excess > 0; {
		n, err := s.removeOldest(ctx, t, always, min(excess, pruneBatch))
		*removed += n
		if err != nil || n == 0 {
			return err
		}
		excess -= n
	}
	return nil
}

// shrink removes the oldest rows, spans before turns, until the bytes in use are within limit.
func (s *Store) shrink(ctx context.Context, limit int64, p *Pruned) error {
	for {
		used, err := s.Used(ctx)
		if err != nil || used <= limit {
			return err
		}
		n, err := s.removeOldest(ctx, spanTable(), always, pruneBatch)
		p.Spans += n
		if err == nil && n == 0 {
			n, err = s.removeOldest(ctx, turnTable(), always, pruneBatch/10)
			p.Turns += n
		}
		if err != nil || n == 0 {
			return err
		}
	}
}

// removeOldest removes at most n of the oldest rows that began before a time in Unix nanoseconds.
func (s *Store) removeOldest(ctx context.Context, t table, before int64, n int) (int, error) {
	var removed int64
	err := s.update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, t.oldest, before, n)
		if err != nil {
			return err
		}
		removed, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune %s: %w", t.name, err)
	}
	return int(removed), nil
}

// Used returns the bytes that rows and indexes take; free pages inside the file don't count.
func (s *Store) Used(ctx context.Context) (int64, error) {
	var used int64
	err := s.write.QueryRowContext(ctx, `
		SELECT (c.page_count - f.freelist_count) * s.page_size
		FROM pragma_page_count() c, pragma_freelist_count() f, pragma_page_size() s`).Scan(&used)
	if err != nil {
		return 0, fmt.Errorf("measure store: %w", err)
	}
	return used, nil
}

// checkpoint folds the write-ahead log into the file and empties it, because removed rows live on in the log. A reader at
// work can keep it from finishing; the next pass does the rest.
func (s *Store) checkpoint(ctx context.Context) error {
	if _, err := s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("checkpoint store: %w", err)
	}
	return nil
}
