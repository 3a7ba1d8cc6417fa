package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const insertTurn = `
	INSERT INTO turns (workspace, turn_id, session_id, trace_id, question, outcome, degraded, started_ns, duration_ns, record, user)
	SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
	WHERE NOT EXISTS (
		SELECT 1 FROM deletions WHERE workspace = ?1 AND session_id IN ('', ?3) AND deleted_ns > ?8)
	ON CONFLICT DO UPDATE SET user = excluded.user WHERE user = '' AND excluded.user <> ''`

// AddTurn stores a turn, unless it is there already or its session or workspace was deleted meanwhile. It says whether
// it was stored. Turns and spans that are added at the same time share a transaction.
func (s *Store) AddTurn(ctx context.Context, t Turn) (bool, error) {
	degraded, err := json.Marshal(t.Degraded)
	if err != nil {
		return false, fmt.Errorf("encode degraded stages: %w", err)
	}
	added, err := s.group.add(ctx, func(ctx context.Context, tx statements) (int64, error) {
		result, err := tx.turn.ExecContext(ctx, t.Workspace, t.ID, t.Session, t.TraceID, t.Question, t.Outcome, string(degraded),
			t.Started.UnixNano(), int64(t.Duration), t.Record, t.User)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	})
	if err != nil {
		return false, fmt.Errorf("add turn %s: %w", t.ID, err)
	}
	return added > 0, nil
}

// Turn returns a turn with its record, or [ErrNotFound].
func (s *Store) Turn(ctx context.Context, workspace, id string) (Turn, error) {
	t := Turn{Workspace: workspace, ID: id}
	var started, duration int64
	var degraded string
	err := s.read.QueryRowContext(ctx, `
		SELECT session_id, trace_id, question, outcome, degraded, started_ns, duration_ns, record, user
		FROM turns WHERE workspace = ? AND turn_id = ?`, workspace, id).
		Scan(&t.Session, &t.TraceID, &t.Question, &t.Outcome, &degraded, &started, &duration, &t.Record, &t.User)
	if errors.Is(err, sql.ErrNoRows) {
		return Turn{}, ErrNotFound
	}
	if err != nil {
		return Turn{}, fmt.Errorf("read turn %s: %w", id, err)
	}
	return t.timed(started, duration, degraded)
}

// Position is a place in a workspace's list of turns: right after the turn that began then and has that id. The zero
// value is the list's start.
type Position struct {
	Started time.Time
	ID      string
}

// Turns returns at most limit turns of a workspace after a position, the latest first, without their records: those that user
// asked, or with an empty user everybody's.
func (s *Store) Turns(ctx context.Context, workspace, user string, after Position, limit int) ([]Turn, error) {
	query, args := `
		SELECT turn_id, session_id, trace_id, question, outcome, degraded, started_ns, duration_ns, user
		FROM turns WHERE workspace = ?`, []any{workspace}
	if user != "" {
		query += " AND user = ?"
		args = append(args, user)
	}
	if after.ID != "" {
		query += " AND (started_ns, turn_id) < (?, ?)"
		args = append(args, after.Started.UnixNano(), after.ID)
	}
	query += " ORDER BY started_ns DESC, turn_id DESC LIMIT ?"
	rows, err := s.read.QueryContext(ctx, query, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list turns: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var turns []Turn
	for rows.Next() {
		t := Turn{Workspace: workspace}
		var started, duration int64
		var degraded string
		if err := rows.Scan(&t.ID, &t.Session, &t.TraceID, &t.Question, &t.Outcome, &degraded, &started, &duration, &t.User); err != nil {
			return nil, fmt.Errorf("list turns: %w", err)
		}
		if t, err = t.timed(started, duration, degraded); err != nil {
			return nil, err
		}
		turns = append(turns, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list turns: %w", err)
	}
	return turns, nil
}

func (t Turn) timed(startedNS, durationNS int64, degraded string) (Turn, error) {
	t.Started, t.Duration = time.Unix(0, startedNS).UTC(), time.Duration(durationNS)
	if err := json.Unmarshal([]byte(degraded), &t.Degraded); err != nil {
		return Turn{}, fmt.Errorf("decode degraded stages of turn %s: %w", t.ID, err)
	}
	return t, nil
}

// Delete removes a session's turns with their spans, or with an empty session the whole workspace's, and keeps those
// away that began before at but are still on their way. It returns how many turns it removed. What is removed is
// overwritten on disk.
func (s *Store) Delete(ctx context.Context, workspace, session string, at time.Time) (int, error) {
	var removed int64
	err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO deletions (workspace, session_id, deleted_ns) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET deleted_ns = max(deleted_ns, excluded.deleted_ns)`, workspace, session, at.UnixNano())
		if err != nil {
			return err
		}
		const doomed = "FROM turns WHERE workspace = ?1 AND (?2 = '' OR session_id = ?2) AND started_ns < ?3"
		_, err = tx.ExecContext(ctx, "DELETE FROM span_sets WHERE trace_id IN (SELECT trace_id "+doomed+" AND trace_id <> '')",
			workspace, session, at.UnixNano())
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "DELETE "+doomed, workspace, session, at.UnixNano())
		if err != nil {
			return err
		}
		removed, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete turns: %w", err)
	}
	return int(removed), s.checkpoint(ctx)
}
