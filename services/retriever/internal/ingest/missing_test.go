package ingest

import (
	"testing"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// A document is missing until a version of it is in the store, whichever it is, or nobody wants it any more.
func TestMissing(t *testing.T) {
	t.Parallel()
	lacking := document.Document{ID: "d", Workspace: "w", Live: document.Live{Hash: "h", Sequence: 5}}
	job := func(workspace string, sequence uint64) Job {
		return Job{Workspace: workspace, DocumentID: "d", Sequence: sequence}
	}
	tests := map[string]struct {
		then func(*missing)
		want int
	}{
		"nothing":                       {func(*missing) {}, 1},
		"it is in the store":            {func(m *missing) { m.done(job("w", 5), outcomeReady) }, 0},
		"a newer version is":            {func(m *missing) { m.done(job("w", 6), outcomeReady) }, 0},
		"a newer version failed":        {func(m *missing) { m.done(job("w", 6), outcomeFailed) }, 1},
		"it is tried again":             {func(m *missing) { m.done(job("w", 5), outcomeRetry) }, 1},
		"it can't be had any more":      {func(m *missing) { m.done(job("w", 5), outcomeFailed) }, 0},
		"it is not the live one now":    {func(m *missing) { m.done(job("w", 5), outcomeSuperseded) }, 0},
		"an older job found that":       {func(m *missing) { m.done(job("w", 4), outcomeSuperseded) }, 1},
		"another workspace's":           {func(m *missing) { m.done(job("v", 5), outcomeReady) }, 1},
		"it was deleted":                {func(m *missing) { m.deleted("w", "d") }, 0},
		"it is in the store, told late": {func(m *missing) { m.done(job("w", 5), outcomeReady); m.done(job("w", 5), outcomeReady) }, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &missing{}
			m.done(job("w", 1), outcomeReady) // before the first check
			m.set([]document.Document{lacking})
			if tc.then(m); m.len() != tc.want {
				t.Errorf("%d are missing, want %d", m.len(), tc.want)
			}
		})
	}
}
