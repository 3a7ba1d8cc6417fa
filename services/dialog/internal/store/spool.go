package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ragmesh/ragmesh/libs/disk"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

const (
	// maxSpooled bounds the turns that wait, and with turn.MaxRecord the disk they take.
	maxSpooled = 20_000
	// drainEvery is how often the spool is looked at.
	drainEvery = 2 * time.Second
	suffix     = ".turn"
	spoiled    = ".unreadable"
)

// spool holds turns on disk, a file each, until the stream takes them. A file appears by renaming, after its bytes are
// synced, so that it is whole or not there; its folder is synced before put returns.
type spool struct {
	dir   string
	depth prometheus.Gauge

	mu    sync.Mutex
	names map[string]bool // of the files there
}

// name is <workspace>.<session>.<turn>; the ids hold no dots.
func name(t turn.Turn) string {
	return strings.Join([]string{slug(t.Workspace), slug(t.Session), slug(t.ID)}, ".")
}

// slug keeps an id that is not what it should be from reaching another folder or another session's files.
func slug(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, id)
}

func openSpool(dir string, registry prometheus.Registerer) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &spool{dir: dir, names: map[string]bool{}, depth: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ragmesh_dialog_spooled_turns", Help: "Turns on disk that the turns stream has not taken yet.",
	})}
	if registry != nil {
		if err := registry.Register(s.depth); err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
	}
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), suffix); ok {
			s.names[n] = true
		} else if strings.HasPrefix(e.Name(), ".") {
			_ = os.Remove(filepath.Join(dir, e.Name())) // a write that was cut off
		}
	}
	s.depth.Set(float64(len(s.names)))
	return s, nil
}

// put stores a turn durably. Several may be put at once: their syncs share the disk's time.
func (s *spool) put(name string, payload []byte) error {
	s.mu.Lock()
	known, full := s.names[name], len(s.names) >= maxSpooled
	s.mu.Unlock()
	if known {
		return nil
	}
	if full {
		return fault.New(fault.Exhausted, fault.StoreUnavailable, "the spool is full: %d turns wait for NATS", maxSpooled)
	}
	if err := s.write(name, payload); err != nil {
		return fmt.Errorf("spool turn: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = true
	s.depth.Set(float64(len(s.names)))
	return nil
}

func (s *spool) write(name string, payload []byte) error {
	return replace(s.dir, s.path(name), payload)
}

// replace writes a file of a folder so that after a crash it is whole or not there, and there once replace has returned.
func replace(dir, path string, content []byte) error {
	temporary := filepath.Join(dir, "."+strings.TrimSuffix(filepath.Base(path), suffix))
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return disk.Sync(dir)
}

func (s *spool) path(name string) string { return filepath.Join(s.dir, name+suffix) }

// list returns the names that fn wants, in order.
func (s *spool) list(fn func(name string) bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for n := range s.names {
		if fn(n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func (s *spool) read(names []string) [][]byte {
	var out [][]byte
	for _, n := range names {
		if data, err := os.ReadFile(s.path(n)); err == nil {
			out = append(out, data)
		}
	}
	return out
}

// of returns the payloads of a session's turns that wait.
func (s *spool) of(workspace, session string) [][]byte {
	prefix := slug(workspace) + "." + slug(session) + "."
	return s.read(s.list(func(n string) bool { return strings.HasPrefix(n, prefix) }))
}

// turn returns the payload of one turn, when it waits.
func (s *spool) turn(workspace, id string) ([]byte, bool) {
	found := s.read(s.list(func(n string) bool {
		return strings.HasPrefix(n, slug(workspace)+".") && strings.HasSuffix(n, "."+slug(id))
	}))
	if len(found) == 0 {
		return nil, false
	}
	return found[0], true
}

// remove drops a session's turns that wait.
func (s *spool) remove(workspace, session string) (uint64, error) {
	prefix := slug(workspace) + "." + slug(session) + "."
	names := s.list(func(n string) bool { return strings.HasPrefix(n, prefix) })
	for _, n := range names {
		if err := s.drop(n); err != nil {
			return 0, err
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("remove spooled turns: %w", err)
	}
	for _, e := range entries { // what was set aside
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), spoiled) {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, fmt.Errorf("remove spooled turn: %w", err)
			}
		}
	}
	return uint64(len(names)), nil
}

func (s *spool) drop(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove spooled turn: %w", err)
	}
	delete(s.names, name)
	s.depth.Set(float64(len(s.names)))
	return nil
}

// Drain moves spooled turns to the stream whenever NATS is there, until ctx ends. Before the first it brings up to date the
// sessions that a crash has left behind. beat is called on every round.
func (s *Store) Drain(ctx context.Context, beat func()) error {
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	recovered := false
	for {
		beat()
		if ok, _ := s.bus.Healthy(); ok {
			if !recovered {
				err := s.recoverSessions(ctx, beat)
				if err != nil && ctx.Err() == nil {
					s.log.Warn().Err(err).Msg("sessions could not be brought up to date yet")
				}
				recovered = err == nil
			}
			s.drain(ctx, beat)
			s.catchUp(ctx, beat)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// drain moves what it can and stops at the first turn the stream does not take.
func (s *Store) drain(ctx context.Context, beat func()) {
	for _, n := range s.spool.list(func(string) bool { return true }) {
		beat()
		if err := s.move(ctx, n); err != nil {
			if ctx.Err() == nil {
				s.log.Warn().Err(err).Str("spooled", n).Msg("spooled turn could not be moved yet")
			}
			return
		}
	}
}

func (s *Store) move(ctx context.Context, name string) error {
	payload, err := os.ReadFile(s.spool.path(name))
	if errors.Is(err, fs.ErrNotExist) { // its session was deleted meanwhile
		return s.spool.drop(name)
	}
	if err != nil {
		return fmt.Errorf("read spooled turn: %w", err)
	}
	t, err := s.codec.Decode(payload)
	if err != nil {
		// Kept for a person to look at; it must not hold up the others.
		s.log.Error().Err(err).Str("spooled", name).Msg("spooled turn can't be read, it is set aside")
		if err := os.Rename(s.spool.path(name), filepath.Join(s.spool.dir, name+spoiled)); err != nil {
			return fmt.Errorf("set aside spooled turn: %w", err)
		}
		return s.spool.drop(name)
	}
	if !s.keeps(t.Workspace, t.StartedAt) {
		s.log.Info().Str("turn", t.ID).Msg("spooled turn is dropped: its workspace was deleted")
		return s.spool.drop(name)
	}
	if err := s.publish(ctx, t, payload); err != nil {
		return err
	}
	if err := s.noteSession(ctx, t, catchUpFor); err != nil {
		return err
	}
	s.log.Info().Str("turn", t.ID).Msg("spooled turn moved to the stream")
	return s.spool.drop(name)
}

// Spooled says how many turns wait.
func (s *Store) Spooled() int {
	return len(s.spool.list(func(string) bool { return true }))
}
