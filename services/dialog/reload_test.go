package dialog_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/services/dialog"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
)

var _ process.Reloader[dialog.Config] = (*dialog.Service)(nil)

// reload applies a change to the mesh's configuration under a revision.
func (m *mesh) reload(t *testing.T, revision string, change func(*dialog.Config)) error {
	t.Helper()
	cfg := dialog.Defaults()
	budgets(&cfg)
	change(&cfg)
	return m.service.Reload(t.Context(), config.Loaded[dialog.Config]{Value: cfg, Revision: revision})
}

func TestReloadLeavesRunningTurnsAlone(t *testing.T) {
	t.Parallel()
	m := newMesh(t, func(cfg *dialog.Config) {
		cfg.Turn.Budget.FirstToken, cfg.Turn.Budget.Idle = 30*time.Second, 30*time.Second
	})
	asked, proceed := make(chan struct{}), make(chan struct{})
	m.llm.generate = func(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		close(asked)
		select {
		case <-proceed:
		case <-ctx.Done():
			return ctx.Err()
		}
		return say(r, out, "The daily transfer limit is 50,000 dollars [1].")
	}
	running := make(chan heard, 1)
	go func() {
		h, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: "What is the daily transfer limit?"})
		if err != nil {
			t.Errorf("the running turn: %v", err)
		}
		running <- h
	}()
	<-asked
	if err := m.reload(t, "def456", func(cfg *dialog.Config) {
		cfg.Turn.Budget.FirstToken, cfg.Turn.Budget.Idle = 10*time.Millisecond, 10*time.Millisecond
		cfg.Plan.Intents = []plan.Intent{{Name: "hours", Keywords: []string{"opening hours"}, Reply: map[string]string{"en": "Nine to five."}}}
	}); err != nil {
		t.Fatal(err)
	}
	next := m.ask(t, &dialogv1.ChatRequest{Question: "What are your opening hours?"})
	if next.text != "Nine to five." || next.turn.GetConfigRevisions()["dialog"] != "def456" || m.service.Revision() != "def456" {
		t.Errorf("the next turn says %q with %v", next.text, next.turn.GetConfigRevisions())
	}
	close(proceed)
	before := <-running
	if !strings.Contains(before.text, "50,000") || before.degraded() != "" || before.turn.GetConfigRevisions()["dialog"] != "abc123" {
		t.Errorf("the running turn says %q, degraded %q, with %v", before.text, before.degraded(), before.turn.GetConfigRevisions())
	}
}

func TestReloadRefusesWhatIsNotGood(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	if err := m.reload(t, "def456", func(cfg *dialog.Config) {
		cfg.Plan.Intents = []plan.Intent{{Name: "bad", Patterns: []string{"("}}}
	}); err == nil {
		t.Error("a pattern that is none was taken")
	}
	if h := m.ask(t, &dialogv1.ChatRequest{Question: "What is the daily transfer limit?"}); h.turn.GetConfigRevisions()["dialog"] != "abc123" {
		t.Errorf("revisions %v; want it to go on as before", h.turn.GetConfigRevisions())
	}
}

func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	var done atomic.Bool
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !done.Load() {
				h, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: "What is the daily transfer limit?"})
				if err != nil || !strings.Contains(h.text, "50,000") || h.degraded() != "" {
					t.Errorf("%v: says %q, degraded %q", err, h.text, h.degraded())
					return
				}
			}
		})
	}
	for i := range 30 {
		revision := fmt.Sprint("r", i)
		if err := m.reload(t, revision, func(cfg *dialog.Config) { cfg.Turn.TopK = 1 + i%20 }); err != nil {
			t.Error(err)
		}
		if h := m.ask(t, &dialogv1.ChatRequest{Question: "What is the daily transfer limit?"}); h.turn.GetConfigRevisions()["dialog"] != revision {
			t.Errorf("the next turn carries %v, want %s", h.turn.GetConfigRevisions(), revision)
		}
	}
	done.Store(true)
	load.Wait()
}
