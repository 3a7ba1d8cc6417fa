package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// revision names the code that derives text and chunks.
func revision() string { return parse.Revision + "." + chunk.Revision }

// recheckEvery is how long after a check that failed the next one is.
const recheckEvery = time.Minute

// Recheck has the store checked against the manifest soon: something may be missing from it.
func (in *Ingester) Recheck() {
	select {
	case in.recheck <- struct{}{}:
	default:
	}
}

// Missing is how many live versions the store lacked when it was checked last and are not restored yet.
func (in *Ingester) Missing() int { return in.missing.len() }

// Checked says whether the store was compared with the manifest since the start: before that nobody knows what is missing.
func (in *Ingester) Checked() bool {
	in.missing.mu.Lock()
	defer in.missing.mu.Unlock()
	return in.missing.documents != nil
}

// missing are the live versions that the store lacked when it was checked last, by workspace and document.
type missing struct {
	mu        sync.Mutex
	documents map[[2]string]uint64 // their sequences
}

func (m *missing) set(documents []document.Document) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.documents = make(map[[2]string]uint64, len(documents))
	for _, d := range documents {
		m.documents[[2]string{d.Workspace, d.ID}] = d.Live.Sequence
	}
}

// done forgets a document whose job has ended: a version of it is in the store now, perhaps a newer one than the one that was
// missing, or there is none any more that could be.
func (m *missing) done(j Job, outcome string) {
	key := [2]string{j.Workspace, j.DocumentID}
	m.mu.Lock()
	defer m.mu.Unlock()
	if outcome == outcomeReady || outcome != outcomeRetry && m.documents[key] == j.Sequence {
		delete(m.documents, key)
	}
}

func (m *missing) deleted(workspace, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.documents, [2]string{workspace, id})
}

func (m *missing) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.documents)
}

// restore keeps the store as the manifest says: what is live but not in it, because the index was lost, was damaged, or was made
// by another parser or chunker, is queued to be derived from its original again. It is told how the first check went, and
// ends with ctx.
func (in *Ingester) restore(ctx context.Context, checked error) {
	for {
		var again <-chan time.Time
		if checked != nil && ctx.Err() == nil {
			in.deps.Observer.Warn(ctx, "compare the index with the manifest", checked)
			again = time.After(recheckEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-in.recheck:
		}
		checked = in.check(ctx)
	}
}

// check queues what the store lacks.
func (in *Ingester) check(ctx context.Context) error {
	live := in.deps.Catalog.Select(func(d document.Document) bool { return !d.Deleting && d.Live.Hash != "" })
	slices.SortFunc(live, func(a, b document.Document) int { return cmp.Compare(a.Workspace, b.Workspace) })
	all := len(live)
	var errs []error
	var missing []document.Document
	for len(live) > 0 {
		n := slices.IndexFunc(live, func(d document.Document) bool { return d.Workspace != live[0].Workspace })
		if n < 0 {
			n = len(live)
		}
		lacking, err := in.lacking(ctx, live[:n])
		errs, missing, live = append(errs, err), append(missing, lacking...), live[n:]
	}
	in.missing.set(missing)
	if len(missing) == 0 {
		return errors.Join(errs...)
	}
	in.deps.Observer.Warn(ctx, "restore the index", fmt.Errorf("%d of %d documents are not in it as they should be; they are taken from their originals again", len(missing), all))
	for _, d := range missing {
		j := Job{
			Workspace: d.Workspace, DocumentID: d.ID, Hash: d.Live.Hash, Sequence: d.Live.Sequence,
			Again: strconv.FormatInt(in.deps.Clock().UnixNano(), 10),
		}
		if err := in.deps.Queue.Add(ctx, j); err != nil {
			return errors.Join(append(errs, fmt.Errorf("queue job: %w", err))...)
		}
	}
	return errors.Join(errs...)
}

// lacking returns those of the documents, all of one workspace, whose live version the store lacks.
func (in *Ingester) lacking(ctx context.Context, documents []document.Document) ([]document.Document, error) {
	workspace := documents[0].Workspace
	keys := make([]store.Key, 0, len(documents))
	byKey := make(map[store.Key]document.Document, len(documents))
	for _, d := range documents {
		key := store.Key{DocumentID: d.ID, Hash: d.Live.Hash}
		keys, byKey[key] = append(keys, key), d
	}
	lacks, err := in.deps.Store.Lacks(ctx, workspace, revision(), keys)
	if err != nil {
		return nil, fmt.Errorf("workspace %s: %w", workspace, err)
	}
	out := make([]document.Document, 0, len(lacks))
	for _, key := range lacks {
		out = append(out, byKey[key])
	}
	return out, nil
}

// revive sees to it that the store holds a live version, whose job comes again: because its worker died before it was done
// with it, or because the store has lost it.
func (in *Ingester) revive(ctx context.Context, d document.Document, attempt int, at *stage) (string, error) {
	lacking, err := in.lacking(ctx, []document.Document{d})
	if err != nil {
		return outcomeRetry, err
	}
	if len(lacking) == 0 {
		return outcomeReady, in.finish(ctx, d, true)
	}
	v := document.Version{
		Hash: d.Live.Hash, Sequence: d.Live.Sequence, Title: d.Live.Title, Parts: d.Live.Parts,
		Size: int64(d.Live.Parts) * PartSize, ContentType: cmp.Or(d.Live.ContentType, d.Newest.ContentType),
	}
	at.quiet = true // it is ready for everyone, and in its place already
	derived, live, _, err := in.derive(ctx, d, v, attempt, at)
	if fault.KindOf(err) == fault.Invalid && err != nil {
		return outcomeFailed, errors.Join(err, in.lost(ctx, d, at.name(), err))
	}
	if err != nil {
		return outcomeRetry, err
	}
	if err := in.enter(ctx, d, at, document.Index, attempt); err != nil {
		return outcomeRetry, err
	}
	if err := in.deps.Store.Put(ctx, d.Workspace, derived); err != nil {
		return outcomeRetry, err
	}
	d, err = in.deps.Catalog.Change(ctx, d.Workspace, d.ID, func(d *document.Document) error {
		if d.Deleting || d.Live.Sequence != live.Sequence {
			return errSuperseded
		}
		d.Live = live // other code may have found other chunks
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return in.abandon(ctx, Job{Workspace: d.Workspace, DocumentID: d.ID})
	case err != nil:
		return outcomeRetry, err
	}
	return outcomeReady, in.finish(ctx, d, true)
}

// lost records that a version that was live can't be had any more.
func (in *Ingester) lost(ctx context.Context, d document.Document, at document.Stage, cause error) error {
	d, err := in.deps.Catalog.Change(ctx, d.Workspace, d.ID, func(current *document.Document) error {
		if current.Deleting || current.Live.Sequence != d.Live.Sequence {
			return errSuperseded
		}
		if current.Newest.Sequence == current.Live.Sequence {
			current.State, current.Stage = document.Failed, at
			current.Failure = failure(cause, at, in.deps.Clock().UTC())
		}
		current.Live, current.UpdatedAt = document.Live{}, in.deps.Clock().UTC()
		return nil
	})
	if errors.Is(err, errSuperseded) {
		return nil
	}
	if err != nil {
		return err
	}
	return in.deps.Events.Changed(ctx, d)
}
