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
	// SessionRetention is how long a session is kept after its last turn; 0 means for ever.
	SessionRetention time.Duration `json:"session_retention,omitempty"`
	// DeletingAt is when the workspace was told to go; zero while it is there. From then on nobody reaches it.
	DeletingAt time.Time `json:"deleting_at,omitzero"`
	DeletedBy  string    `json:"deleted_by,omitempty"`
	// RemovedBy is the process that removes what is in it, until RemovedUntil.
	RemovedBy    string    `json:"removed_by,omitempty"`
	RemovedUntil time.Time `json:"removed_until,omitzero"`
	// EmptiedAt is when the default workspace, which stays, was emptied last.
	EmptiedAt time.Time `json:"emptied_at,omitzero"`
}

// Deleting says whether the workspace is on its way out.
func (ws Workspace) Deleting() bool { return !ws.DeletingAt.IsZero() }

// Workspaces knows the workspaces, from memory that a watch keeps up to date. The default one is there without being made.
// It is safe for concurrent use.
type Workspaces struct {
	table Table
	now   func() time.Time
	log   zerolog.Logger

	mu     sync.RWMutex
	known  map[string]Workspace
	newest map[string]uint64 // revisions of what was known last, so that older news does not count
	synced bool              // everything there is has been shown
	inside map[string]map[*visit]struct{}
}

// visit is a call about a workspace.
type visit struct{ end context.CancelCauseFunc }

// NewWorkspaces returns the workspaces of a table. Watch keeps them up to date.
func NewWorkspaces(table Table, now func() time.Time, log zerolog.Logger) *Workspaces {
	return &Workspaces{table: table, now: now, log: log, known: map[string]Workspace{}, newest: map[string]uint64{}, inside: map[string]map[*visit]struct{}{}}
}

// Watch keeps the workspaces up to date until ctx ends.
func (w *Workspaces) Watch(ctx context.Context) error {
	return w.table.Watch(ctx, "", func(e bus.Entry) {
		if e.Key == "" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.synced = true
			return
		}
		ws, err := decode(e)
		if err != nil {
			w.log.Error().Err(err).Msg("workspace can't be read")
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !e.Deleted {
			w.know(ws, e.Revision)
		} else if e.Revision >= w.newest[e.Key] {
			w.newest[e.Key] = e.Revision
			delete(w.known, e.Key)
			w.turnOut(e.Key)
		}
	})
}

// know puts a workspace into memory, unless newer news is there; w.mu is held. Calls about one that is being deleted end.
func (w *Workspaces) know(ws Workspace, revision uint64) {
	if revision < w.newest[ws.ID] {
		return
	}
	w.known[ws.ID], w.newest[ws.ID] = ws, revision
	if ws.Deleting() {
		w.turnOut(ws.ID)
	}
}

func (w *Workspaces) turnOut(id string) {
	for v := range w.inside[id] {
		v.end(noWorkspace(id))
	}
}

// Enter returns a context for a call about a workspace, which ends when the workspace is deleted.
func (w *Workspaces) Enter(ctx context.Context, id string) (context.Context, error) {
	ctx, end := context.WithCancelCause(ctx)
	v := &visit{end: end}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known[id].Deleting() {
		end(nil)
		return nil, gone(id)
	}
	if w.inside[id] == nil {
		w.inside[id] = map[*visit]struct{}{}
	}
	w.inside[id][v] = struct{}{}
	context.AfterFunc(ctx, func() { // the server ends a request's context with the request
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.inside[id], v); len(w.inside[id]) == 0 {
			delete(w.inside, id)
		}
	})
	return ctx, nil
}

// gone is the error for a workspace that is being deleted.
func gone(id string) error {
	if id == DefaultWorkspace {
		return fault.New(fault.Unavailable, fault.WorkspaceNotFound, "the default workspace is being emptied; try again shortly").WithRetryAfter(5 * time.Second)
	}
	return noWorkspace(id)
}

// slack is how far the clocks of replicas may be apart.
const slack = time.Minute

// Keeps says whether what began in a workspace at a time may still be written there: it may not once the workspace is being
// deleted, nor into another one that was made under the same id since. While it can't be told, it may.
func (w *Workspaces) Keeps(id string, began time.Time) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	ws, known := w.known[id]
	switch {
	case !known:
		return !w.synced || id == DefaultWorkspace
	case ws.Deleting():
		return false
	}
	since := ws.CreatedAt
	if ws.EmptiedAt.After(since) {
		since = ws.EmptiedAt
	}
	return !began.Add(slack).Before(since)
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

// ids returns the workspaces in memory, in order.
func (w *Workspaces) ids() []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	ids := []string{DefaultWorkspace}
	for id, ws := range w.known {
		if !ws.Deleting() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Check reports a workspace that does not exist, or not any more.
func (w *Workspaces) Check(ctx context.Context, id string) error {
	w.mu.RLock()
	ws, ok := w.known[id]
	w.mu.RUnlock()
	switch {
	case ok && ws.Deleting():
		return gone(id)
	case ok || id == DefaultWorkspace:
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
	if ws, err = decode(e); err != nil {
		return err
	}
	w.mu.Lock()
	w.know(ws, e.Revision)
	w.mu.Unlock()
	if ws.Deleting() {
		return gone(id)
	}
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
	revision, err := w.table.Create(ctx, id, value)
	made = err == nil
	if errors.Is(err, bus.ErrExists) {
		e, getErr := w.table.Get(ctx, id)
		if getErr != nil {
			return Workspace{}, false, getErr
		}
		revision = e.Revision
		ws, err = decode(e)
	}
	if err != nil {
		return Workspace{}, false, err
	}
	w.mu.Lock()
	w.know(ws, revision)
	w.mu.Unlock()
	if ws.Deleting() {
		return Workspace{}, false, fault.New(fault.Conflict, fault.ReasonConflict, "the workspace %s is still being deleted; try again shortly", id).WithRetryAfter(5 * time.Second)
	}
	return ws, made, nil
}

// change lets fn change a workspace, again when others did meanwhile. The default one is made when it is not written yet.
func (w *Workspaces) change(ctx context.Context, id string, fn func(*Workspace) error) (Workspace, error) {
	for range 5 {
		e, err := w.table.Get(ctx, id)
		missing := errors.Is(err, bus.ErrNotFound)
		ws := Workspace{ID: DefaultWorkspace, DisplayName: defaultName}
		switch {
		case missing && id != DefaultWorkspace:
			return Workspace{}, noWorkspace(id)
		case err != nil && !missing:
			return Workspace{}, err
		case !missing:
			if ws, err = decode(e); err != nil {
				return Workspace{}, err
			}
		}
		if err := fn(&ws); err != nil {
			return Workspace{}, err
		}
		value, err := json.Marshal(ws)
		if err != nil {
			return Workspace{}, fmt.Errorf("change workspace: %w", err)
		}
		var revision uint64
		if missing {
			revision, err = w.table.Create(ctx, id, value)
		} else {
			revision, err = w.table.Update(ctx, id, value, e.Revision)
		}
		if errors.Is(err, bus.ErrExists) || errors.Is(err, bus.ErrConflict) {
			continue
		}
		if err != nil {
			return Workspace{}, err
		}
		w.mu.Lock()
		w.know(ws, revision)
		w.mu.Unlock()
		return ws, nil
	}
	return Workspace{}, fault.New(fault.Conflict, fault.ReasonConflict, "the workspace is being changed by others; try again")
}

// Update is what to change of a workspace; nil leaves it as it is.
type Update struct {
	DisplayName      *string
	SessionRetention *time.Duration
}

// Update changes a workspace.
func (w *Workspaces) Update(ctx context.Context, id string, u Update) (Workspace, error) {
	return w.change(ctx, id, func(ws *Workspace) error {
		if ws.Deleting() {
			return gone(id)
		}
		if u.DisplayName != nil {
			ws.DisplayName = *u.DisplayName
		}
		if u.SessionRetention != nil {
			ws.SessionRetention = *u.SessionRetention
		}
		return nil
	})
}

// Condemn marks a workspace as being deleted: from now on nobody reaches it, and calls about it end. It may be repeated.
func (w *Workspaces) Condemn(ctx context.Context, id, by string) (Workspace, error) {
	return w.change(ctx, id, func(ws *Workspace) error {
		if !ws.Deleting() {
			ws.DeletingAt, ws.DeletedBy = w.now().UTC(), by
		}
		return nil
	})
}

// Bury removes a condemned workspace of which nothing is left. The default one is there again, empty.
func (w *Workspaces) Bury(ctx context.Context, id string) error {
	if id == DefaultWorkspace {
		_, err := w.change(ctx, id, func(ws *Workspace) error {
			*ws = Workspace{ID: id, DisplayName: defaultName, EmptiedAt: w.now().UTC()}
			return nil
		})
		return err
	}
	if err := w.table.Delete(ctx, id); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, id)
	return nil
}

// Condemned returns the workspaces that are being deleted.
func (w *Workspaces) Condemned(ctx context.Context) ([]Workspace, error) {
	entries, err := w.table.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []Workspace
	for _, e := range entries {
		if ws, err := decode(e); err == nil && ws.Deleting() {
			out = append(out, ws)
		}
	}
	return out, nil
}

// defaultName is what the default workspace is called until somebody calls it otherwise.
const defaultName = "Default"

// List returns the workspaces there are, ordered by id.
func (w *Workspaces) List(ctx context.Context) ([]Workspace, error) {
	entries, err := w.table.List(ctx, "")
	if err != nil {
		return nil, err
	}
	all := []Workspace{}
	written := false
	for _, e := range entries {
		if ws, err := decode(e); err == nil {
			written = written || ws.ID == DefaultWorkspace
			if !ws.Deleting() {
				all = append(all, ws)
			}
		}
	}
	if !written {
		all = append(all, Workspace{ID: DefaultWorkspace, DisplayName: defaultName})
	}
	slices.SortFunc(all, func(a, b Workspace) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
