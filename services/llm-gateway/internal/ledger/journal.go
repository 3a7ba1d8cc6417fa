package ledger

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ragmesh/ragmesh/libs/disk"
)

const (
	prefix         = "journal-"
	nodeFile       = "node"
	defaultSegment = 8 << 20
	// longestSegment bounds what is read at the start: a segment may grow beyond its size while no new one can be made.
	longestSegment = 1 << 30
)

// journal is the file that entries are appended to. Each segment begins with everything before it, so that only the last one
// counts; the one before stays until this one is synced.
type journal struct {
	dir    string
	file   *os.File
	number uint64
	size   int64
	limit  int64
	buf    []byte
	dirty  bool
	old    []string // files to remove once this one is synced
}

// Open reads the journal of a folder, or begins one. What was under way when the process before ended is unsettled now.
func Open(o Options) (*Ledger, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{clock: o.Clock, log: o.Log, journal: &journal{dir: o.Dir, limit: o.Segment}}
	if l.journal.limit <= 0 {
		l.journal.limit = defaultSegment
	}
	l.reset()
	found, err := l.recover()
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if l.node, err = nodeOf(o.Dir, found); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if n := l.settle(); n > 0 {
		l.log.Warn().Int("requests", n).Msg("requests were at a provider when the process ended before; the ledger has them as unsettled")
	}
	if err := l.rotate(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.Sync(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

func (l *Ledger) reset() {
	l.next, l.open, l.pages, l.lives = 0, map[uint64]intent{}, map[pageKey]*page{}, map[string]uint64{}
	l.totals.reset()
}

// recover takes in the newest whole segment and says whether there is one.
func (l *Ledger) recover() (bool, error) {
	names, err := filepath.Glob(filepath.Join(l.journal.dir, prefix+"*"))
	if err != nil {
		return false, err
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		l.journal.old = append(l.journal.old, name)
		var number uint64
		if _, err := fmt.Sscanf(filepath.Base(name), prefix+"%d", &number); err == nil {
			l.journal.number = max(l.journal.number, number)
		}
	}
	for _, name := range slices.Backward(names) {
		if info, err := os.Stat(name); err != nil || info.Size() > longestSegment {
			return false, errors.Join(err, fmt.Errorf("%s has more than %d bytes", name, longestSegment))
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return false, err
		}
		l.reset()
		good, begun := l.replay(data)
		if !begun {
			continue
		}
		if lost := int64(len(data)) - good; lost > 0 {
			l.log.Error().Str("file", name).Int64("bytes", lost).Msg("the ledger's journal is damaged at its end; what stood there is lost")
		}
		return true, nil
	}
	if len(names) > 0 {
		l.log.Error().Str("dir", l.journal.dir).Msg("the ledger's journal can't be read; it begins anew")
	}
	l.reset()
	return false, nil
}

// nodeOf returns the process's name. One whose journal is lost gets another: it must not take back what it has said.
func nodeOf(dir string, keep bool) (string, error) {
	path := filepath.Join(dir, nodeFile)
	if keep {
		name, err := os.ReadFile(path)
		if err == nil && len(strings.TrimSpace(string(name))) > 0 {
			return strings.TrimSpace(string(name)), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	name := hex.EncodeToString(random)
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(name), 0o600); err != nil {
		return "", err
	}
	return name, os.Rename(temporary, path)
}

// write appends a record. The caller holds mu. It reaches the system's cache, which outlives the process, not the machine: see
// Sync.
func (l *Ledger) write(fill func([]byte) []byte) {
	j := l.journal
	j.buf = appendRecord(j.buf[:0], fill)
	if _, err := j.file.WriteAt(j.buf, j.size); err != nil { // what was written of it is overwritten by the next
		if l.lost++; l.lost == 1 {
			l.log.Error().Err(err).Msg("the ledger's journal takes no entries; what is used now is lost if this process dies")
		}
		return
	}
	j.size += int64(len(j.buf))
	j.dirty = true
	if j.size >= j.limit {
		if err := l.rotate(); err != nil {
			j.limit *= 2 // the old one goes on
			l.log.Warn().Err(err).Msg("the ledger can't begin a new file")
		}
	}
}

// rotate begins a new segment with everything that counts. The caller holds mu.
func (l *Ledger) rotate() error {
	j := l.journal
	l.retire()
	number := j.number + 1
	path := filepath.Join(j.dir, fmt.Sprintf("%s%012d", prefix, number))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	first := l.everything(nil)
	if _, err := f.WriteAt(first, 0); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	if j.file != nil {
		j.old = append(j.old, j.file.Name())
		_ = j.file.Close()
	}
	j.file, j.number, j.size, j.dirty = f, number, int64(len(first)), true
	j.limit = max(j.limit, 2*j.size)
	return nil
}

// everything appends what a segment begins with.
func (l *Ledger) everything(b []byte) []byte {
	b = appendRecord(b, func(b []byte) []byte { return appendSegment(b, l.next) })
	for workspace, life := range l.lives {
		b = appendRecord(b, func(b []byte) []byte { return appendLife(b, workspace, life) })
	}
	for key, p := range l.pages {
		for row, n := range p.rows {
			b = appendRecord(b, func(b []byte) []byte { return appendRow(b, key, row, *n) })
		}
	}
	for id, in := range l.open {
		b = appendRecord(b, func(b []byte) []byte { return appendIntent(b, id, in) })
	}
	return appendRecord(b, func(b []byte) []byte { return append(b, kindBegun) })
}

// Sync has what was written down so far outlive the machine too, and removes files that are not needed any more.
func (l *Ledger) Sync() error {
	l.mu.Lock()
	j := l.journal
	f, dirty, old := j.file, j.dirty, j.old
	j.dirty, j.old = false, nil
	l.mu.Unlock()
	if !dirty && len(old) == 0 {
		return nil
	}
	if err := errors.Join(f.Sync(), disk.Sync(j.dir)); err != nil && !errors.Is(err, os.ErrClosed) { // closed: a newer one has it all
		l.mu.Lock()
		defer l.mu.Unlock()
		j.dirty, j.old = true, append(j.old, old...)
		return fmt.Errorf("sync ledger: %w", err)
	} else if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		j.old = append(j.old, old...)
		return nil
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync ledger: %w", err)
		}
	}
	return nil
}

// Tidy begins a new file when the present one has names in it that nobody needs any more: pages that were handed on, and whose
// day is over.
func (l *Ledger) Tidy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.retire() {
		return nil
	}
	return l.rotate()
}

// retire moves pages that will not change any more to those of others. The caller holds mu.
func (l *Ledger) retire() (some bool) {
	today := DayOf(l.clock())
	for key, p := range l.pages {
		if p.shipped != p.version || key.day >= today-1 {
			continue
		}
		l.totals.keep(Page{Workspace: key.workspace, Node: l.node, Day: key.day, Life: key.life, Rows: p.list()})
		delete(l.pages, key)
		some = true
	}
	return some
}

func (p *page) list() []Row {
	rows := make([]Row, 0, len(p.rows))
	for key, n := range p.rows {
		rows = append(rows, Row{Key: key.key, Target: key.Target, Numbers: *n})
	}
	return rows
}

// CloseFile syncs the journal and lets go of it. Nothing may be written afterwards.
func (l *Ledger) CloseFile() error {
	err := l.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(err, l.journal.file.Close())
}
