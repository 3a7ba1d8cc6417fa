package providertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

func check(ctx context.Context, t *testing.T, p provider.Provider, w want) {
	t.Helper()
	text, calls, alive := "", []ask.Call(nil), 0
	got, err := p.Generate(ctx, Request(), func(p provider.Piece) error {
		switch c := p.Call; {
		case c == nil && p.Text == "":
			alive++
		case c == nil:
			text += p.Text
		case c.Index == len(calls):
			calls = append(calls, ask.Call{ID: c.ID, Name: c.Name, Arguments: c.Arguments})
		case c.Index == len(calls)-1 || c.Index >= 0 && c.Index < len(calls):
			calls[c.Index].Arguments += c.Arguments
			if c.ID+c.Name != "" {
				t.Errorf("the name %q %q once more", c.ID, c.Name)
			}
		default:
			t.Errorf("a call out of order: %+v", c)
		}
		return nil
	})
	if w.hasty && w.kind != fault.Internal && strings.HasPrefix(w.text, text) {
		w.text = text
	}
	if text != w.text {
		t.Errorf("text of %d bytes %.80q, want %d bytes %.80q", len(text), text, len(w.text), w.text)
	}
	if diff := cmp.Diff(w.calls, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if alive < w.alive {
		t.Errorf("%d signs of life, want at least %d", alive, w.alive)
	}
	if w.kind == fault.Internal {
		checkEnd(t, got, err, w)
		return
	}
	checkFault(t, got, err, w)
}

func checkEnd(t *testing.T, got provider.Result, err error, w want) {
	t.Helper()
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	if w.usage.Estimated {
		w.usage = provider.Estimate(Request().Messages, w.text)
	}
	if got.Finish != w.finish || got.Usage != w.usage {
		t.Errorf("Generate = %+v, want finish %v and usage %+v", got, w.finish, w.usage)
	}
}

func checkFault(t *testing.T, got provider.Result, err error, w want) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != w.kind || w.reason != 0 && f.Reason != w.reason || f.RetryAfter != w.after {
		t.Fatalf("Generate error = %v, want %v %v and RetryAfter %s", err, w.kind, w.reason, w.after)
	}
	if w.cause != nil && !errors.Is(err, w.cause) {
		t.Errorf("Generate error = %v, want one that is %v", err, w.cause)
	}
	if words := fmt.Sprintf("%v %+v", f, f); strings.Contains(words, Key) || strings.Contains(words, Key[:8]) {
		t.Errorf("the error tells the key: %v", f)
	}
	if begun := got.Usage.Prompt > 0; begun != w.begun || (got.Usage.Completion > 0) != (w.text != "") {
		t.Errorf("usage so far %+v after %q, want a prompt: %v", got.Usage, w.text, w.begun)
	}
}

// cancelAfter cancels behind the nth piece of text and wants Generate back promptly. It returns the pieces that came.
func cancelAfter(t *testing.T, p provider.Provider, n int) int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var canceled time.Time
	pieces := 0
	got, err := p.Generate(ctx, Request(), func(p provider.Piece) error {
		if p.Text == "" {
			return nil
		}
		if pieces++; pieces == n {
			canceled = time.Now()
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Generate error = %v, want the context's", err)
	}
	if took := time.Since(canceled); took > 2*time.Second { // promptly; generous, for machines under load
		t.Errorf("Generate returned %s after the cancellation", took)
	}
	if got.Usage.Prompt == 0 || got.Usage.Completion == 0 {
		t.Errorf("usage %+v, want what was made so far", got.Usage)
	}
	return int64(pieces)
}

// stops waits until the server is done with the request it was answering without end.
func stops(t *testing.T, s *wiretest.Server) {
	t.Helper()
	select {
	case <-s.Ended():
	case <-time.After(10 * time.Second):
		t.Error("the server still makes tokens 10s after the client went away")
	}
}

// WithModel is p, asked for another model than the suite asks for.
func WithModel(p provider.Provider, model string) provider.Provider { return renamed{p, model} }

type renamed struct {
	provider.Provider
	model string
}

func (p renamed) Generate(ctx context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	r.Model = p.model
	return p.Provider.Generate(ctx, r, emit)
}
