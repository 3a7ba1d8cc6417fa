package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ragmesh/ragmesh/libs/fault"
)

func TestSubjects(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"ragmesh.turn.v1.w.s.t":             TurnSubject("w", "s", "t"),
		"ragmesh.turn.v1.w.*.*":             TurnSubject("w", "*", "*"),
		"ragmesh.event.v1.feedback.default": EventSubject("feedback", "default"),
		"ragmesh.event.v1.audit.-":          EventSubject("audit", "-"),
		"ragmesh.event.v1.document.w.d":     DocumentSubject("w", "d"),
		"ragmesh.span.v1.llm-gateway":       SpanSubject("llm-gateway"),
		"ragmesh.job.v1.ingest.w":           JobSubject("ingest", "w"),
		"ragmesh.job.v1.ingest._":           JobSubject("ingest", ""),
		"ragmesh.turn.v1.a_b.c_.d_":         TurnSubject("a.b", "c>", "d\n"),
		"ragmesh.turn.v1.w.s.a_":            TurnSubject("w", "s", "a*"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// No id, whatever is in it, reaches another workspace's subject or more than one.
func FuzzSubject(f *testing.F) {
	f.Add("w", "s", "t")
	f.Add("a.b", ">", " ")
	f.Fuzz(func(t *testing.T, workspace, session, turn string) {
		subject := TurnSubject(workspace, session, turn)
		tokens := strings.Split(subject, ".")
		if len(tokens) != 6 {
			t.Fatalf("%q has %d parts", subject, len(tokens))
		}
		for i, token := range tokens {
			if token == "" || token == ">" || strings.ContainsAny(token, " \r\n\t") {
				t.Errorf("part %d of %q", i, subject)
			}
			if token == "*" && i > 2 && []string{workspace, session, turn}[i-3] != "*" {
				t.Errorf("part %d of %q became a wildcard", i, subject)
			}
		}
	})
}

func TestWrap(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want error
		kind fault.Kind
	}{
		"key":               {t.Context(), jetstream.ErrKeyNotFound, ErrNotFound, fault.Internal},
		"deleted key":       {t.Context(), jetstream.ErrKeyDeleted, ErrNotFound, fault.Internal},
		"payload":           {t.Context(), nats.ErrMaxPayload, ErrTooLarge, fault.Internal},
		"known after end":   {ended, jetstream.ErrKeyNotFound, ErrNotFound, fault.Internal},
		"caller's end":      {ended, nats.ErrTimeout, context.Canceled, fault.Canceled},
		"our own limit":     {t.Context(), context.DeadlineExceeded, nil, fault.Unavailable},
		"no connection":     {t.Context(), nats.ErrConnectionReconnecting, nil, fault.Unavailable},
		"a stream's limits": {t.Context(), &jetstream.APIError{ErrorCode: streamStoreFailed, Description: "maximum messages exceeded"}, nil, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := wrap(test.ctx, test.err, "do it")
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if got := fault.KindOf(err); got != test.kind {
				t.Errorf("kind %s, want %s", got, test.kind)
			}
			if !strings.Contains(err.Error(), "do it") {
				t.Errorf("%q does not say what was tried", err)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, failures := range []int{1, 2, 10, 1000} {
		if d := backoff(failures); d < 100*time.Millisecond || d > 10*time.Second {
			t.Errorf("after %d failures %s", failures, d)
		}
	}
}
