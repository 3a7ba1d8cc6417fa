package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/fault"
)

// maxWorkspaces bounds the workspaces of an installation.
const maxWorkspaces = 10_000

// Workspace is a set of documents, tools and sessions.
type Workspace struct {
	ID          string    `json:"-"`
	DisplayName string    `json:"display_name"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
}

// Workspaces knows the workspaces, from memory that a watch keeps up to date. The default one is there without being made.
// It is safe for concurrent use.
type Workspaces struct {
	table Table
	now   func() time.Time
	log   zerolog.Logger

	mu    sync.RWMutex
	known map[string]Workspace
}

// NewWorkspaces returns the workspaces of a table. Watch keeps them up to date.
func NewWorkspaces(table Table, now func() time.Time, log zerolog.Logger) *Workspaces {
	return &Workspaces{table: table, now: now, log: log, known: map[string]Workspace{}}
}

// Watch keeps the workspaces up to date until ctx ends.
func (w *Workspaces) Watch(ctx context.Context) error {
	return w.table.Watch(ctx, "", func(e bus.Entry) {
		if e.Key == "" {
			return
		}
		ws, err := decode(e)
		if err != nil {
			w.log.Error().Err(err).Msg("workspace can't be read")
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if e.Deleted {
			delete(w.known, e.Key)
			return
		}
		w.known[e.Key] = ws
	})
}

func decode(e bus.Entry) (Workspace, error) {
	ws := Workspace{ID: e.Key}
	if e.Deleted {
		return ws, nil
	}
	if err := json.Unmarshal(e.Value, &ws); err != nil {
		return Workspace{}, fmt.Errorf("read workspace %s: %w", e.Key, err)
	}
	ws.ID = e.Key
	return ws, nil
}

// Check reports a workspace that does not exist.
func (w *Workspaces) Check(ctx context.Context, id string) error {
	if id == DefaultWorkspace {
		return nil
	}
	w.mu.RLock()
	_, ok := w.known[id]
	w.mu.RUnlock()
	if ok {
		return nil
	}
	if id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return noWorkspace(id)
	}
	// Perhaps another replica made it just now.
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	e, err := w.table.Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return noWorkspace(id)
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, fault.StoreUnavailable, "workspaces can't be looked up just now; try again shortly").WithRetryAfter(2 * time.Second)
	}
	ws, err := decode(e)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.known[id] = ws
	w.mu.Unlock()
	return nil
}

// Create makes a workspace, or returns the one that is there.
func (w *Workspaces) Create(ctx context.Context, id, displayName string) (ws Workspace, made bool, err error) {
	w.mu.RLock()
	full := len(w.known) >= maxWorkspaces
	w.mu.RUnlock()
	if full {
		return Workspace{}, false, fault.New(fault.Exhausted, fault.Overloaded, "there are %d workspaces, as many as can be", maxWorkspaces)
	}
	ws = Workspace{ID: id, DisplayName: displayName, CreatedAt: w.now()}
	if ws.DisplayName == "" {
		ws.DisplayName = id
	}
	value, err := json.Marshal(ws)
	if err != nil {
		return Workspace{}, false, fmt.Errorf("create workspace: %w", err)
	}
	_, err = w.table.Create(ctx, id, value)
	made = err == nil
	if errors.Is(err, bus.ErrExists) {
		e, getErr := w.table.Get(ctx, id)
		if getErr != nil {
			return Workspace{}, false, getErr
		}
		ws, err = decode(e)
	}
	if err != nil {
		return Workspace{}, false, err
	}
	w.mu.Lock()
	w.known[id] = ws
	w.mu.Unlock()
	return ws, made, nil
}

// List returns the workspaces that a caller reaches, ordered by id.
func (w *Workspaces) List(ctx context.Context, who Grant) ([]Workspace, error) {
	entries, err := w.table.List(ctx, "")
	if err != nil {
		return nil, err
	}
	all := []Workspace{}
	for _, e := range entries {
		if ws, err := decode(e); err == nil && who.reaches(ws.ID) {
			all = append(all, ws)
		}
	}
	if who.reaches(DefaultWorkspace) && !slices.ContainsFunc(all, func(ws Workspace) bool { return ws.ID == DefaultWorkspace }) {
		all = append(all, Workspace{ID: DefaultWorkspace, DisplayName: "Default"})
	}
	slices.SortFunc(all, func(a, b Workspace) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
