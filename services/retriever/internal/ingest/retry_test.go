package ingest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
)

func config() ingest.Config {
	return ingest.Config{MaxDocument: 4 << 20, MaxMemory: 8 << 20, UploadTTL: time.Hour, MaxStage: time.Hour}
}

// put takes a whole document in.
func (w *world) put(workspace, uri, content string) (document.Document, error) {
	d, _, err := w.ingester.Put(w.Context(), anybody, ingest.Upload{Workspace: workspace, SourceURI: uri}, []byte(content))
	return d, err
}

func (w *world) mustPut(uri, content string) document.Document {
	w.Helper()
	d, err := w.put("w", uri, content)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

func (w *world) states() map[string]string {
	w.Helper()
	all, err := w.catalog.Matching("w", catalog.Filter{Reader: anybody})
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range all {
		out[d.SourceURI] = string(d.State)
		if d.Failure != nil {
			out[d.SourceURI] += " " + d.Failure.Reason
		}
	}
	return out
}

func TestPutIsAnUploadInOneStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.mustPut("a.md", "One walrus.")
	if d.State != document.Queued || len(w.uploads) != 1 {
		t.Errorf("document %+v, %d uploads to tidy up by", d, len(w.uploads))
	}
	w.work()
	w.clean("One walrus.")
	if _, unchanged, err := w.ingester.Put(t.Context(), anybody, ingest.Upload{Workspace: "w", SourceURI: "a.md"}, []byte("One walrus.")); !unchanged || err != nil {
		t.Errorf("the same again: unchanged %t, %v", unchanged, err)
	}
	_, _, err := w.ingester.Put(t.Context(), anybody, ingest.Upload{Workspace: "w", SourceURI: "a.md", Hash: "00"}, []byte("x"))
	if fault.ReasonOf(err) != fault.ContentMismatch {
		t.Errorf("another hash: %v", err)
	}
	w.mustPut("a.md", "Two walruses.")
	w.work()
	w.clean("Two walruses.")
	w.mustPut("empty.md", "")
	w.work()
	if diff := cmp.Diff(map[string]string{"a.md": "ready", "empty.md": "failed EMPTY_DOCUMENT"}, w.states()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An attempt that fails of what may pass is recorded with what it failed of and when the next one is; the document itself being the
// reason is the end at once.
func TestAttemptsAreRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.mustPut("a.md", "One walrus.")
	w.fail = func(s string) error {
		if s == "put index" {
			return fault.New(fault.Unavailable, fault.StoreUnavailable, "the index does not answer")
		}
		return nil
	}
	j := w.jobs[0]
	for attempt := 1; attempt < ingest.MaxAttempts(); attempt++ {
		if err := w.handle(t.Context(), j, attempt); err == nil {
			t.Fatalf("attempt %d ended the job", attempt)
		}
		got, err := w.catalog.Get("w", d.ID, anybody)
		if err != nil {
			t.Fatal(err)
		}
		want := &document.Failure{Stage: document.Index, Reason: "STORE_UNAVAILABLE", Message: "the index does not answer", At: w.now.UTC()}
		if diff := cmp.Diff(want, got.LastError); diff != "" || got.State != document.Queued || got.Errors != attempt || got.Failure != nil {
			t.Fatalf("after attempt %d: %+v, last error (-want +got):\n%s", attempt, got, diff)
		}
		if wait := got.RetryAt.Sub(w.now); wait != ingest.Backoff()[attempt-1] {
			t.Errorf("after attempt %d the next is in %s", attempt, wait)
		}
	}
	q := w.catalog.Queue("w", nil, w.now)
	if q.Documents != 1 || q.Retrying != 1 {
		t.Errorf("queue %+v", q)
	}
	w.fail = nil
	if err := w.handle(t.Context(), j, ingest.MaxAttempts()); err != nil {
		t.Fatal(err)
	}
	if got := w.document(); got.LastError != nil || !got.RetryAt.IsZero() || got.State != document.Ready {
		t.Errorf("document %+v", got)
	}
}

// What nobody knows to pass is tried a few times only.
func TestUnknownErrorsEndSooner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPut("a.md", "One walrus.")
	w.fail = func(s string) error {
		if s == "put index" {
			return errDown
		}
		return nil
	}
	w.work()
	if diff := cmp.Diff([]string{"retry", "retry", "retry", "retry", "failed"}, w.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if d := w.document(); d.State != document.Failed || d.Failure.Permanent {
		t.Errorf("document %+v", d)
	}
}

// A job whose attempts neither failed nor ended well killed its workers: it is given up long before one that waits for a store.
func TestSilentAttemptsAreDeaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPut("a.md", "One walrus.")
	j := w.jobs[0]
	panics := func() {
		defer func() { _ = recover() }()
		w.fail = func(s string) error {
			if s == "get blob" {
				panic("stands for the end of the process")
			}
			return nil
		}
	}
	panics()
	for attempt := 1; attempt <= ingest.MaxDeaths+1; attempt++ {
		func() {
			defer func() { _ = recover() }()
			_ = w.handle(t.Context(), j, attempt)
		}()
	}
	w.fail = nil
	if err := w.handle(t.Context(), j, ingest.MaxDeaths+2); err != nil {
		t.Fatal(err)
	}
	if d := w.document(); d.State != document.Failed || !d.Failure.Permanent {
		t.Errorf("document %+v, failure %+v", d, d.Failure)
	}
}

func TestRetryAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	down := true
	w.fail = func(s string) error {
		if s == "put index" && down {
			return fault.New(fault.Unavailable, fault.StoreUnavailable, "the index does not answer")
		}
		return nil
	}
	w.mustPut("empty.md", "")
	w.mustPut("x/down.md", "One walrus.")
	w.mustPut("y/down.md", "Two walruses.")
	canceled := w.mustPut("canceled.md", "Three walruses.")
	if _, err := w.ingester.Cancel(t.Context(), anybody, "w", canceled.ID); err != nil {
		t.Fatal(err)
	}
	w.work()
	want := map[string]string{"canceled.md": "failed CANCELED", "empty.md": "failed EMPTY_DOCUMENT", "x/down.md": "failed STORE_UNAVAILABLE", "y/down.md": "failed STORE_UNAVAILABLE"}
	if diff := cmp.Diff(want, w.states()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	down = false
	for _, step := range []struct {
		name      string
		filter    catalog.Filter
		permanent bool
		want      ingest.Retried
		after     map[string]string // that changed
	}{
		{"a prefix", catalog.Filter{SourcePrefix: "x/"}, false, ingest.Retried{Retried: 1}, map[string]string{"x/down.md": "ready"}},
		{"all", catalog.Filter{}, false, ingest.Retried{Retried: 1, Permanent: 2}, map[string]string{"y/down.md": "ready"}},
		{"a reason", catalog.Filter{Reasons: []string{"CANCELED"}}, false, ingest.Retried{Retried: 1}, map[string]string{"canceled.md": "ready"}},
		{"named", catalog.Filter{IDs: []string{document.ID("w", "empty.md")}}, false, ingest.Retried{Retried: 1}, nil},
		{"permanent too", catalog.Filter{}, true, ingest.Retried{Retried: 1}, nil},
		{"somebody else's", catalog.Filter{Reader: named("nobody")}, false, ingest.Retried{Permanent: 1}, nil},
	} {
		f := step.filter
		if f.Reader == nil {
			f.Reader = anybody
		}
		got, err := w.ingester.RetryAll(t.Context(), "w", f, step.permanent)
		if diff := cmp.Diff(step.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", step.name, err, diff)
		}
		w.work()
		for uri, state := range step.after {
			want[uri] = state
		}
		if diff := cmp.Diff(want, w.states()); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestFullQueue(t *testing.T) {
	t.Parallel()
	c := config()
	c.MaxQueue, c.MaxQueued = 3, 1000
	w := newWorldWith(t, c)
	for i := range 3 {
		w.mustPut(fmt.Sprintf("%d.md", i), "One walrus.")
	}
	full := func(what string, err error) {
		t.Helper()
		f := fault.As(err)
		if err == nil || f.Kind != fault.Exhausted || f.Reason != fault.QueueFull || f.RetryAfter < time.Second || f.RetryAfter > time.Minute {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := w.put("w", "3.md", "One walrus.")
	full("a fourth", err)
	_, err = w.ingester.Create(t.Context(), anybody, ingest.Upload{Workspace: "w", SourceURI: "3.md", Size: 1, Hash: "00"})
	full("the upload of a fourth", err)
	w.mustPut("2.md", "Two walruses.") // it has its place
	if _, err := w.put("v", "3.md", "One walrus."); err != nil {
		t.Errorf("in another workspace: %v", err)
	}
	w.work()
	w.mustPut("3.md", string(make([]byte, 990)))
	_, err = w.put("w", "4.md", "One walrus.")
	full("too many bytes", err)
	w.work()
	w.mustPut("large.md", string(make([]byte, 2000))) // alone
}

// The order in which documents end, and how long each takes, is told by what ended before.
func TestHowLongItTakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tick := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now = w.now.Add(time.Second)
	}
	var all []document.Document
	for i := range 30 {
		all = append(all, w.mustPut(fmt.Sprintf("%02d.md", i), "One walrus."))
		w.mu.Lock()
		w.now = w.now.Add(time.Microsecond)
		w.mu.Unlock()
	}
	if q := w.catalog.Queue("w", nil, w.now); q.Documents != 30 || q.Bytes != 330 || q.Remaining != 0 {
		t.Errorf("before anything ended: %+v", q)
	}
	for range 20 {
		tick()
		j := w.jobs[0]
		w.jobs = w.jobs[1:]
		if err := w.handle(context.Background(), j, 1); err != nil {
			t.Fatal(err)
		}
	}
	q := w.catalog.Queue("w", nil, w.now)
	if q.Documents != 10 || q.DocumentsPerSecond < .99 || q.DocumentsPerSecond > 1.01 || q.Remaining != 10*time.Second || q.Oldest.IsZero() {
		t.Errorf("after 20 seconds: %+v", q)
	}
	for i, d := range all {
		now, err := w.catalog.Get("w", d.ID, anybody)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = now
	}
	left := w.catalog.Remaining("w", all, w.now)
	if left[0] != 0 || left[20] != time.Second || left[29] != 10*time.Second {
		t.Errorf("remaining %v", left)
	}
}

// A document that has waited for long is queued again when its job was lost, and not because the queue is long.
func TestSweepQueuesWhatWasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPut("a.md", "One walrus.")
	w.mustPut("b.md", "Two walruses.")
	w.mu.Lock()
	w.now = w.now.Add(time.Hour)
	w.mu.Unlock()
	w.ingester.Sweep(t.Context())
	if len(w.jobs) != 2 {
		t.Errorf("%d jobs in a long queue of 2", len(w.jobs))
	}
	w.jobs = w.jobs[:1]
	w.ingester.Sweep(t.Context())
	if len(w.jobs) != 3 {
		t.Errorf("%d jobs after one of two was lost", len(w.jobs))
	}
	w.work()
	if got := w.states(); got["a.md"] != "ready" || got["b.md"] != "ready" {
		t.Errorf("documents %v", got)
	}
}
