package ingest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

var errDown = errors.New("down")

// world is everything around an ingester, in memory, with failures on demand.
type world struct {
	testing.TB
	mu       sync.Mutex
	records  map[string]document.Document
	revision map[string]catalog.Revision
	last     catalog.Revision
	blobs    map[string][]byte
	uploads  map[string]ingest.Upload
	jobs     []ingest.Job
	index    map[string]string // document/hash -> text
	events   []string
	outcomes []string
	now      time.Time

	fail func(step string) error // nil: nothing fails

	handle func(context.Context, ingest.Job, int) error
	dead   func(context.Context, ingest.Job, error)
	tell   func(catalog.Change)

	catalog  *catalog.Catalog
	ingester *ingest.Ingester
}

// anybody is a caller who reads what everybody may.
var anybody = ingest.Caller{Reader: named("anybody"), Subject: "anybody"}

// named is a reader of one name.
type named string

func (n named) Reads(readers []string) bool { return slices.Contains(readers, string(n)) }

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, ingest.Config{MaxDocument: 4 << 20, MaxMemory: 8 << 20, UploadTTL: time.Hour, MaxStage: time.Hour})
}

func newWorldWith(t *testing.T, c ingest.Config) *world {
	t.Helper()
	w := &world{
		TB: t, records: map[string]document.Document{}, revision: map[string]catalog.Revision{}, blobs: map[string][]byte{},
		uploads: map[string]ingest.Upload{}, index: map[string]string{}, now: time.Unix(1_700_000_000, 0),
	}
	w.catalog = catalog.New(records{w})
	w.ingester = ingest.New(
		c,
		ingest.Deps{
			Catalog: w.catalog, Store: index{w}, Parser: parse.NewRegistry(), Blobs: blobs{w}, Uploads: uploads{w},
			Queue: queue{w}, Events: events{w}, Observer: observer{w}, Clock: w.clock,
		})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() { _ = w.catalog.Run(ctx) })
	<-w.catalog.Synced()
	consuming := make(chan struct{})
	w.fail = func(step string) error {
		if step == "consume" {
			close(consuming)
		}
		return nil
	}
	group.Go(func() { _ = w.ingester.Run(ctx, pulse{}) })
	<-consuming
	w.fail = nil
	t.Cleanup(func() { cancel(); group.Wait() })
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) step(name string) error {
	if w.fail == nil {
		return nil
	}
	return w.fail(name)
}

func (w *world) upload(content string) document.Document {
	w.Helper()
	sum := sha256.Sum256([]byte(content))
	created, err := w.ingester.Create(w.Context(), anybody, ingest.Upload{Workspace: "w", SourceURI: "a.md", Size: int64(len(content)), Hash: hex.EncodeToString(sum[:])})
	if err != nil {
		w.Fatal(err)
	}
	for part := 1; part <= created.Parts; part++ {
		if _, err := w.ingester.PutPart(w.Context(), anybody, "w", created.Upload.ID, part, []byte(content)); err != nil {
			w.Fatal(err)
		}
	}
	d, _, err := w.ingester.Commit(w.Context(), anybody, "w", created.Upload.ID)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// work runs the jobs that are queued, each until it is done or has failed as often as it may.
func (w *world) work() {
	w.Helper()
	jobs := w.jobs
	w.jobs = nil
	for _, j := range jobs {
		var err error
		for attempt := 1; attempt <= ingest.MaxAttempts(); attempt++ {
			if err = w.handle(w.Context(), j, attempt); err == nil {
				break
			}
		}
		if err != nil {
			w.dead(w.Context(), j, err)
		}
	}
}

func (w *world) there(id string) bool {
	_, err := w.catalog.Get("w", id, anybody)
	return err == nil
}

func (w *world) document() document.Document {
	w.Helper()
	d, err := w.catalog.Get("w", document.ID("w", "a.md"), anybody)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// clean checks that nothing is kept but the live version.
func (w *world) clean(text string) {
	w.Helper()
	d := w.document()
	if d.State != document.Ready || d.Failure != nil {
		w.Errorf("document = %+v", d)
	}
	if diff := cmp.Diff(map[string]string{d.ID + "/" + d.Live.Hash: text}, w.index); diff != "" {
		w.Errorf("index (-want +got):\n%s", diff)
	}
	if len(w.blobs) != 1 {
		w.Errorf("%d originals", len(w.blobs))
	}
}

// Whatever step fails, once or at every first attempt, the end is as after one clean run.
func TestEveryStepMayFail(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"put record", "get blob", "delete blob", "put index", "prune", "event"} {
		for _, times := range []int{1, 2} {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.upload("One walrus.")
				w.work()
				w.upload("Two walruses.")
				left := times
				w.fail = func(s string) error {
					if s == step && left > 0 {
						left--
						return errDown
					}
					return nil
				}
				w.work()
				w.clean("Two walruses.")
				if left > 0 {
					t.Errorf("step was not reached")
				}
			})
		}
	}
}

func TestOutageEndsFailedAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	w.fail = func(s string) error {
		if s == "put index" {
			return fault.Wrap(errDown, fault.Unavailable, fault.StoreUnavailable, "the index does not answer")
		}
		return nil
	}
	w.work()
	d := w.document()
	want := &document.Failure{Stage: document.Index, Reason: "STORE_UNAVAILABLE", Message: "the index does not answer", At: w.now.UTC()}
	if diff := cmp.Diff(want, d.Failure); diff != "" || d.State != document.Failed {
		t.Errorf("state %s, failure (-want +got):\n%s", d.State, diff)
	}
	w.fail = nil
	if _, err := w.ingester.Retry(t.Context(), anybody, "w", d.ID); err != nil {
		t.Fatal(err)
	}
	w.work()
	w.clean("One walrus.")
}

func TestOlderJobsDoNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	w.upload("Two walruses.")
	w.jobs[0], w.jobs[1] = w.jobs[1], w.jobs[0] // the newer first
	w.work()
	w.clean("Two walruses.")
	if diff := cmp.Diff([]string{"ready", "superseded"}, w.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestReplacedWhileWorking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	w.fail = func(s string) error {
		if s == "put index" {
			w.fail = nil
			w.upload("Two walruses.")
		}
		return nil
	}
	w.work() // the first finds out when it wants to switch the manifest
	if d := w.document(); d.Live.Hash != "" {
		t.Errorf("the older version went live: %+v", d)
	}
	w.work()
	w.clean("Two walruses.")
}

func TestDeletedWhileWorking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.upload("One walrus.")
	deleted := make(chan error, 1)
	w.fail = func(s string) error {
		if s == "put index" {
			w.fail = nil
			go func() { // it waits for the job it has stopped
				_, err := w.ingester.Delete(t.Context(), anybody, "w", d.ID)
				deleted <- err
			}()
			for w.there(d.ID) {
				runtime.Gosched()
			}
		}
		return nil
	}
	w.work()
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	if len(w.index)+len(w.blobs)+len(w.records) != 0 {
		t.Errorf("left: index %v, %d originals, records %v", w.index, len(w.blobs), w.records)
	}
}

// A version that is taken in at the same time as the one before must not lose its chunks to that one's tidying up, and every
// version's bytes go in the end.
func TestVersionsTakenInTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	w.work()
	w.upload("Two walruses.")
	second := make(chan error, 1)
	w.fail = func(s string) error {
		if s == "prune" {
			w.fail = nil
			w.upload("Three walruses.")
			j := w.jobs[len(w.jobs)-1]
			go func() { second <- w.handle(t.Context(), j, 1) }()
		}
		return nil
	}
	jobs := w.jobs
	w.jobs = nil
	if err := w.handle(t.Context(), jobs[0], 1); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	w.clean("Three walruses.")
	if d := w.document(); len(d.Replaced)+len(d.Removing) != 0 {
		t.Errorf("the record still names %v and %v", d.Replaced, d.Removing)
	}
}

// Content that comes back while its earlier copy is being removed is refused until that is done, and then is whole.
func TestContentThatComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	w.work()
	w.upload("Two walruses.")
	w.fail = func(s string) error {
		if s != "delete blob" {
			return nil
		}
		w.fail = nil
		sum := sha256.Sum256([]byte("One walrus."))
		created, err := w.ingester.Create(t.Context(), anybody, ingest.Upload{Workspace: "w", SourceURI: "a.md", Size: 11, Hash: hex.EncodeToString(sum[:])})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.ingester.Commit(t.Context(), anybody, "w", created.Upload.ID); fault.KindOf(err) != fault.Conflict {
			t.Errorf("commit while it is being removed: %v", err)
		}
		return nil
	}
	w.work()
	w.clean("Two walruses.")
	w.upload("One walrus.")
	w.work()
	w.clean("One walrus.")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	w.work()
	d := w.upload("Two walruses.")
	cancel := func(want document.State) {
		t.Helper()
		got, err := w.ingester.Cancel(t.Context(), anybody, "w", d.ID)
		if err != nil || got.State != want {
			t.Errorf("cancel = %+v, %v", got, err)
		}
	}
	for name, at := range map[string]string{"parse": "get blob", "index": "put index", "queue": ""} {
		w.outcomes = nil
		w.fail = func(s string) error {
			if s == at {
				w.fail = nil
				cancel(document.Failed)
			}
			return nil
		}
		if at == "" {
			cancel(document.Failed)
		}
		w.work()
		got := w.document()
		if got.State != document.Failed || got.Failure == nil || got.Failure.Reason != "CANCELED" || got.Live.Hash == got.Newest.Hash {
			t.Errorf("canceled in %s: %+v", name, got)
		}
		if diff := cmp.Diff(map[string]string{d.ID + "/" + got.Live.Hash: "One walrus."}, w.index); diff != "" {
			t.Errorf("canceled in %s: index (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]string{"superseded"}, w.outcomes); diff != "" {
			t.Errorf("canceled in %s: outcomes (-want +got):\n%s", name, diff)
		}
		if _, err := w.ingester.Retry(t.Context(), anybody, "w", d.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.work()
	w.clean("Two walruses.")
	cancel(document.Ready) // nothing to cancel
}

// What a worker dies of ends failed with the stage it died in. What was at work beside it, or waited, is taken in.
func TestWorkerThatDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upload("One walrus.")
	j := w.jobs[0]
	w.jobs = nil
	w.dead(t.Context(), j, nil)
	if d := w.document(); d.State != document.Queued || len(w.jobs) != 1 {
		t.Fatalf("never begun: %+v, %d jobs", d, len(w.jobs))
	}
	w.fail = func(s string) error {
		if s == "put index" {
			panic("stands for the end of the process: nothing more of this attempt happens")
		}
		return nil
	}
	for attempt := 2; attempt <= ingest.MaxStarts+1; attempt++ {
		func() {
			defer func() { _ = recover() }()
			_ = w.handle(t.Context(), j, attempt)
		}()
	}
	w.dead(t.Context(), j, nil)
	d := w.document()
	want := &document.Failure{Stage: document.Index, Reason: "INTERNAL", Message: "the worker died with this document in every attempt", At: w.now.UTC(), Permanent: true}
	if diff := cmp.Diff(want, d.Failure); d.State != document.Failed || diff != "" {
		t.Errorf("document = %+v, failure (-want +got):\n%s", d, diff)
	}
	w.fail = nil
	w.work() // the job that was queued in between finds nothing to do
	if d := w.document(); d.State != document.Failed {
		t.Errorf("document = %+v", d)
	}
}

func TestExpiredUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	created, err := w.ingester.Create(t.Context(), anybody, ingest.Upload{Workspace: "w", SourceURI: "a.md", Size: 1, Hash: "00"})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.now = w.now.Add(2 * time.Hour)
	w.mu.Unlock()
	if _, err := w.ingester.PutPart(t.Context(), anybody, "w", created.Upload.ID, 1, []byte("x")); fault.ReasonOf(err) != fault.UploadNotFound {
		t.Errorf("err = %v", err)
	}
}

type pulse struct{}

func (pulse) Beat()                   {}
func (pulse) Interval() time.Duration { return time.Minute }

type records struct{ *world }

func (r records) Get(_ context.Context, workspace, id string) (document.Document, catalog.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.records[workspace+id]
	if !ok {
		return d, 0, catalog.ErrNotFound
	}
	return d, r.revision[workspace+id], nil
}

func (r records) Put(_ context.Context, d document.Document, at catalog.Revision) (catalog.Revision, error) {
	if err := r.step("put record"); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := d.Workspace + d.ID
	if r.revision[key] != at {
		return 0, catalog.ErrConflict
	}
	r.last++
	r.records[key], r.revision[key] = d, r.last
	return r.last, nil
}

func (r records) Delete(_ context.Context, workspace, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.records, workspace+id)
	delete(r.revision, workspace+id)
	r.last++
	r.tell(catalog.Change{Document: document.Document{ID: id, Workspace: workspace}, Revision: r.last, Deleted: true})
	return nil
}

func (r records) Watch(ctx context.Context, tell func(catalog.Change)) error {
	r.tell = tell
	tell(catalog.Change{})
	<-ctx.Done()
	return nil
}

type blobs struct{ *world }

func (b blobs) Put(_ context.Context, name string, data []byte) error {
	b.blobs[name] = data
	return nil
}

func (b blobs) Get(_ context.Context, name string) ([]byte, error) {
	if err := b.step("get blob"); err != nil {
		return nil, err
	}
	data, ok := b.blobs[name]
	if !ok {
		return nil, ingest.ErrNotFound
	}
	return data, nil
}

func (b blobs) Exists(_ context.Context, name string) (bool, error) {
	_, ok := b.blobs[name]
	return ok, nil
}

func (b blobs) Delete(_ context.Context, name string) error {
	if err := b.step("delete blob"); err != nil {
		return err
	}
	delete(b.blobs, name)
	return nil
}

type uploads struct{ *world }

func (u uploads) Put(_ context.Context, up ingest.Upload) error {
	u.uploads[up.ID] = up
	return nil
}

func (u uploads) Get(_ context.Context, _, id string) (ingest.Upload, error) {
	up, ok := u.uploads[id]
	if !ok {
		return up, ingest.ErrNotFound
	}
	return up, nil
}

func (u uploads) Delete(_ context.Context, _, id string) error {
	delete(u.uploads, id)
	return nil
}

func (u uploads) List(context.Context) ([]ingest.Upload, error) { return nil, nil }

type queue struct{ *world }

func (q queue) Add(_ context.Context, j ingest.Job) error {
	q.jobs = append(q.jobs, j)
	return nil
}

func (q queue) Jobs(context.Context) (map[string]int, error) {
	out := map[string]int{}
	for _, j := range q.jobs {
		out[j.Workspace]++
	}
	return out, nil
}

func (q queue) Consume(ctx context.Context, handle func(context.Context, ingest.Job, int) error, dead func(context.Context, ingest.Job, error)) error {
	q.handle, q.dead = handle, dead
	_ = q.step("consume")
	<-ctx.Done()
	return nil
}

type index struct{ *world }

func (i index) Put(_ context.Context, _ string, v store.Version) error {
	if err := i.step("put index"); err != nil {
		return err
	}
	i.index[v.DocumentID+"/"+v.Hash] = v.Text
	return nil
}

func (i index) Prune(_ context.Context, _, documentID, keep string) (int, error) {
	if err := i.step("prune"); err != nil {
		return 0, err
	}
	n := 0
	for key := range i.index {
		if key != documentID+"/"+keep {
			delete(i.index, key)
			n++
		}
	}
	return n, nil
}

func (i index) Drop(context.Context, string) error {
	if err := i.step("drop"); err != nil {
		return err
	}
	clear(i.index)
	return nil
}

func (i index) Lacks(_ context.Context, _, _ string, versions []store.Key) ([]store.Key, error) {
	if err := i.step("lacks"); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(versions), func(v store.Key) bool { _, ok := i.index[v.DocumentID+"/"+v.Hash]; return ok }), nil
}

type events struct{ *world }

func (e events) Changed(_ context.Context, d document.Document) error {
	if err := e.step("event"); err != nil {
		return err
	}
	e.events = append(e.events, string(d.State))
	return nil
}

func (e events) Deleted(context.Context, document.Document) error {
	e.events = append(e.events, "deleted")
	return nil
}

type observer struct{ *world }

func (o observer) Ended(_ context.Context, _ ingest.Job, outcome string, _ time.Duration, _ error) {
	o.outcomes = append(o.outcomes, outcome)
}

func (o observer) Stage(document.Stage, time.Duration) {}

func (o observer) Warn(_ context.Context, what string, err error) { o.Logf("%s: %v", what, err) }
