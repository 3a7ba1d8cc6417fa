// Package store keeps turns and spans in SQLite: one file, one writer, many readers, and nothing kept beyond the
// configured bounds. What it has acknowledged survives a power cut. It knows neither protobuf nor NATS: a turn's record
// is bytes to it.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", no cgo
)

// ErrNotFound is returned for a turn that is not here, or not in the workspace asked for.
var ErrNotFound = errors.New("turn not found")

// readers is how many connections read at the same time. Reads are short; more would only hold memory.
const readers = 4

// Turn is one question and its answer.
type Turn struct {
	Workspace string
	ID        string
	Session   string
	// TraceID ties spans to the turn: 32 lower-case hex digits, or empty.
	TraceID string
	// User is who asked.
	User string
	// Question is the question for lists; already cut to the length lists show.
	Question string
	// Outcome is the number of the contract's outcome.
	Outcome int32
	// Degraded names the stages that did not do their whole work.
	Degraded []string
	Started  time.Time
	Duration time.Duration
	// Record is the whole turn as it was consumed. Summaries leave it nil.
	Record []byte
}

// Span is one operation of one service.
type Span struct {
	TraceID string
	ID      string
	Parent  string
	// Workspace is the one the span says it worked for; empty when it does not say.
	Workspace  string
	Service    string
	Name       string
	Started    time.Time
	Duration   time.Duration
	Status     string
	Error      string
	Attributes map[string]string
}

// Store is the SQL store. Its methods may be called concurrently.
type Store struct {
	write *sql.DB
	read  *sql.DB
	group *group

	mu      sync.Mutex
	changed chan struct{}
}

// Open opens the store in dir, which must exist, and brings its schema up to date. Close it when done. A file that is damaged
// is set aside and a new one begun; aside is then why. What was in it comes back from the streams: see [Store.Follows].
func Open(ctx context.Context, dir string) (s *Store, aside, err error) {
	path, err := filepath.Abs(filepath.Join(dir, "eval.db"))
	if err != nil {
		return nil, nil, fmt.Errorf("locate store: %w", err)
	}
	s, err = open(ctx, path)
	if damaged(err) {
		aside = fmt.Errorf("%w; it is at %s.damaged now", err, path)
		if err := setAside(path); err != nil {
			return nil, nil, errors.Join(aside, err)
		}
		s, err = open(ctx, path)
	}
	return s, aside, err
}

func open(ctx context.Context, path string) (*Store, error) {
	// Made first and by us: what people asked is nobody else's business on a shared machine, and SQLite gives the log
	// beside it the same mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create store: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("create store: %w", err)
	}
	check := crashed(path)
	s := &Store{changed: make(chan struct{})}
	// auto_vacuum has to come before anything is written. synchronous=FULL: a turn is acknowledged to the stream once it is
	// committed here, so the commit has to be on disk. secure_delete: what a person deletes is overwritten, not merely
	// unlinked. temp_store: what a statement of a transaction would undo is kept in memory, not in a file.
	s.write, err = connect(path, 1, "_pragma=auto_vacuum(INCREMENTAL)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=secure_delete(ON)", "_pragma=temp_store(MEMORY)", "_txlock=immediate")
	if err != nil {
		return nil, err
	}
	err = migrate(ctx, s.write)
	if err == nil && check {
		err = checkFile(ctx, s.write, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.write.Close())
	}
	if s.read, err = connect(path, readers, "_pragma=query_only(ON)"); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if s.group, err = newGroup(ctx, s.write, s.notify); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.read.Close(), s.write.Close())
	}
	return s, nil
}

func connect(path string, connections int, options ...string) (*sql.DB, error) {
	options = append([]string{"_pragma=busy_timeout(5000)"}, options...)
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: strings.Join(options, "&")}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close releases the store's files.
func (s *Store) Close() error {
	return errors.Join(s.group.close(), s.read.Close(), s.write.Close())
}

// Ping goes through the writer, so that it answers only when writes can go on.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.write.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ping store: %w", err)
	}
	return nil
}

// Changed returns a channel that is closed when turns or spans are added. Get it before looking, so that nothing added
// in between is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// update runs f in a transaction of its own of the one writer.
func (s *Store) update(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
