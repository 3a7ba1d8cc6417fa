package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// maxCheck bounds the size of a file that is read through at the start after a crash, which takes about a second for it.
const maxCheck = 512 << 20

// SQLite's result codes for a file that is not what SQLite wrote.
const (
	codeCorrupt = 11
	codeNotADB  = 26
)

// errDamaged marks a file that is not what was written.
var errDamaged = errors.New("the store is damaged")

func damaged(err error) bool {
	if errors.Is(err, errDamaged) {
		return true
	}
	coded, ok := errors.AsType[interface {
		error
		Code() int
	}](err)
	return ok && (coded.Code()&0xff == codeCorrupt || coded.Code()&0xff == codeNotADB)
}

// setAside moves a damaged file and what belongs to it out of the way, in the place of one that was before.
func setAside(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		err := os.Rename(path+suffix, path+".damaged"+suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// crashed reports whether the file was left open: SQLite removes its log when it is closed as it should be.
func crashed(path string) bool {
	log, err := os.Stat(path + "-wal")
	return err == nil && log.Size() > 0
}

// checkFile reads the file through, unless that takes too long.
func checkFile(ctx context.Context, db *sql.DB, path string) error {
	if info, err := os.Stat(path); err != nil || info.Size() > maxCheck {
		return err
	}
	var said string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&said); err != nil {
		return fmt.Errorf("check store: %w", err)
	}
	if said != "ok" {
		return fmt.Errorf("check store: %w: %s", errDamaged, said)
	}
	return nil
}

// Follows says whether the consumers of the streams have begun with this store. Until Follow says that they have, they must
// begin from the start, for the store holds nothing of what they have consumed.
func (s *Store) Follows(ctx context.Context) (bool, error) {
	var n int
	if err := s.write.QueryRowContext(ctx, "SELECT count(*) FROM follows").Scan(&n); err != nil {
		return false, fmt.Errorf("read store: %w", err)
	}
	return n > 0, nil
}

// Follow notes that the consumers begin with this store.
func (s *Store) Follow(ctx context.Context, at time.Time) error {
	if _, err := s.write.ExecContext(ctx, "INSERT INTO follows (since_ns) VALUES (?)", at.UnixNano()); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	return nil
}
