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

// table is what pruning has to know of a table. Its rows hold one item each, or several.
type table struct {
	name string
	// count counts its items. older removes at most ?2 of the oldest rows, those that began before ?1; beyond removes of the oldest at most
	// ?2 rows, and no more than it takes for ?1 items. Both return how many items each row held.
	count, older, beyond string
}

func turnTable() table {
	const doomed = "DELETE FROM turns WHERE (workspace, turn_id) IN (SELECT workspace, turn_id FROM turns "
	return table{
		name:   "turns",
		count:  "SELECT count(*) FROM turns",
		older:  doomed + "WHERE started_ns < ?1 ORDER BY started_ns LIMIT ?2) RETURNING 1",
		beyond: doomed + "ORDER BY started_ns LIMIT min(?1, ?2)) RETURNING 1",
	}
}

// spanTable goes by the order in which spans came, which is about that in which they began.
func spanTable() table {
	return table{
		name:  "spans",
		count: "SELECT coalesce(sum(spans_n), 0) FROM span_sets INDEXED BY span_sets_trace",
		older: `DELETE FROM span_sets WHERE started_ns < ?1 AND id IN (
			SELECT id FROM span_sets ORDER BY id LIMIT ?2) RETURNING spans_n`,
		beyond: `DELETE FROM span_sets WHERE id IN (
			SELECT id FROM (SELECT id, sum(spans_n) OVER (ORDER BY id) - spans_n AS before FROM (SELECT id, spans_n FROM span_sets ORDER BY id LIMIT ?2))
			WHERE before < ?1) RETURNING spans_n`,
	}
}

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
		rows, n, err := s.remove(ctx, t, t.older, before.UnixNano(), pruneBatch)
		*removed += n
		if err != nil || rows < pruneBatch {
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
		_, n, err := s.remove(ctx, t, t.beyond, int64(excess), pruneBatch)
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
		_, n, err := s.remove(ctx, spanTable(), spanTable().beyond, math.MaxInt64, pruneBatch/10)
		p.Spans += n
		if err == nil && n == 0 {
			_, n, err = s.remove(ctx, turnTable(), turnTable().beyond, math.MaxInt64, pruneBatch/10)
			p.Turns += n
		}
		if err != nil || n == 0 {
			return err
		}
	}
}

// remove runs a table's older or beyond with their ?1 and ?2, and returns how many rows it removed and what was in them.
func (s *Store) remove(ctx context.Context, t table, query string, bound int64, most int) (rows, items int, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		removed, err := tx.QueryContext(ctx, query, bound, most)
		if err != nil {
			return err
		}
		defer func() { _ = removed.Close() }()
		for removed.Next() {
			var n int
			if err := removed.Scan(&n); err != nil {
				return err
			}
			rows, items = rows+1, items+n
		}
		return removed.Err()
	})
	if err != nil {
		return 0, 0, fmt.Errorf("prune %s: %w", t.name, err)
	}
	return rows, items, nil
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
