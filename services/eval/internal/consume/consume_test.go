package consume

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
)

// recorder notes what reaches the store.
type recorder struct {
	turns   map[string]store.Turn
	spans   map[string]bool
	deleted []string
	follows bool
	err     error
}

func (r *recorder) AddTurn(_ context.Context, t store.Turn) (bool, error) {
	if r.err != nil {
		return false, r.err
	}
	_, have := r.turns[t.ID]
	r.turns[t.ID] = t
	return !have, nil
}

func (r *recorder) AddSpans(_ context.Context, spans []store.Span) (int, error) {
	n := len(r.spans)
	for _, s := range spans {
		r.spans[s.ID] = true
	}
	return len(r.spans) - n, r.err
}

func (r *recorder) Delete(_ context.Context, workspace, session string, at time.Time) (int, error) {
	r.deleted = append(r.deleted, workspace+"/"+session+"@"+at.Format(time.TimeOnly))
	return 1, r.err
}

func (r *recorder) Follows(context.Context) (bool, error) { return r.follows, r.err }

func (r *recorder) Follow(context.Context, time.Time) error {
	r.follows = true
	return r.err
}

// forgetter notes which consumers begin anew, the first time after a failure.
type forgetter struct {
	failures  int
	forgotten []string
}

func (f *forgetter) Consume(context.Context, bus.Consumer, bus.Handler) error { return nil }

func (f *forgetter) Forget(_ context.Context, stream, durable string) error {
	if f.failures > 0 {
		f.failures--
		return errors.New("away")
	}
	f.forgotten = append(f.forgotten, stream+"/"+durable)
	return nil
}

// A store that is new gets everything the streams hold; one that was followed before goes on.
func TestANewStoreBeginsFromTheStart(t *testing.T) {
	t.Parallel()
	c, r := consumer(t)
	stream := &forgetter{failures: 1}
	c.stream = stream
	want := []string{"RAGMESH_TURNS/eval-turns", "RAGMESH_SPANS/eval-spans", "RAGMESH_EVENTS/eval-deletions"}
	for range 2 {
		if err := c.Run(t.Context()); err != nil || !r.follows {
			t.Fatal(err, r.follows)
		}
		if diff := cmp.Diff(want, stream.forgotten); diff != "" {
			t.Errorf("forgotten (-want +got):\n%s", diff)
		}
	}
}

func consumer(t *testing.T) (*Consumer, *recorder) {
	t.Helper()
	r := &recorder{turns: map[string]store.Turn{}, spans: map[string]bool{}}
	c, err := New(nil, r, time.Now, nil, telemetry.Nop("eval"))
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

// given says what the bus does with a message after its handler returned err. The bus keeps the type that terminates to
// itself, so an error made here stands for it.
func given(err error) string {
	switch {
	case err == nil:
		return "acknowledged"
	case reflect.TypeOf(err) == reflect.TypeOf(bus.Terminate(errors.New("x"))):
		return "terminated"
	default:
		return "repeated"
	}
}

func TestTurnsAndSpansAreTakenOnceAndCounted(t *testing.T) {
	t.Parallel()
	c, r := consumer(t)
	turn := bus.Message{Subject: subject, Data: recorded(t, nil)}
	spans := bus.Message{Data: encode(t, batch(good()))}
	for range 2 {
		if err := errors.Join(c.turn(t.Context(), turn), c.spans(t.Context(), spans)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.turns) != 1 || len(r.spans) != 1 {
		t.Errorf("stored %d turns and %d spans", len(r.turns), len(r.spans))
	}
	for name, got := range map[string]float64{
		"stored turns":   testutil.ToFloat64(c.metrics.turns.WithLabelValues(stored)),
		"repeated turns": testutil.ToFloat64(c.metrics.turns.WithLabelValues(repeated)),
		"stored spans":   testutil.ToFloat64(c.metrics.spans.WithLabelValues(stored)),
		"repeated spans": testutil.ToFloat64(c.metrics.spans.WithLabelValues(repeated)),
	} {
		if got != 1 {
			t.Errorf("%s = %v, want 1", name, got)
		}
	}
}

func TestMalformedMessagesAreGivenUpAndCounted(t *testing.T) {
	t.Parallel()
	c, r := consumer(t)
	noise := bus.Message{Subject: subject, Data: []byte("\xff\xff")}
	for name, handle := range map[string]bus.Handler{"turn": c.turn, "spans": c.spans, "audit": c.audit} {
		if got := given(handle(t.Context(), noise)); got != "terminated" {
			t.Errorf("%s is %s, want terminated", name, got)
		}
	}
	if got := testutil.ToFloat64(c.metrics.turns.WithLabelValues(malformed)); got != 1 {
		t.Errorf("malformed turns = %v", got)
	}
	if got := testutil.ToFloat64(c.metrics.batches); got != 1 {
		t.Errorf("malformed batches = %v", got)
	}
	if len(r.turns)+len(r.spans)+len(r.deleted) != 0 {
		t.Errorf("something was stored: %+v", r)
	}
}

func TestFailingStoreBringsMessagesAgain(t *testing.T) {
	t.Parallel()
	c, r := consumer(t)
	r.err = errors.New("disk is full")
	for name, err := range map[string]error{
		"turn":  c.turn(t.Context(), bus.Message{Subject: subject, Data: recorded(t, nil)}),
		"spans": c.spans(t.Context(), bus.Message{Data: encode(t, batch(good()))}),
		"audit": c.audit(t.Context(), audited(t, &eventv1.Audited{Workspace: "bank", Action: "workspace.delete", Target: "bank", Allowed: true})),
	} {
		if got := given(err); got != "repeated" {
			t.Errorf("%s is %s, want repeated", name, got)
		}
	}
}

func audited(t *testing.T, e *eventv1.Audited) bus.Message {
	t.Helper()
	return bus.Message{Subject: bus.EventSubject("audit", e.GetWorkspace()), Data: encode(t, e), Time: noon}
}

func TestDeletionsAtTheEdgeDeleteHere(t *testing.T) {
	t.Parallel()
	earlier := timestamppb.New(noon.Add(-time.Second))
	tests := map[string]struct {
		event *eventv1.Audited
		want  []string
	}{
		"session":               {&eventv1.Audited{Workspace: "bank", Action: "session.delete", Target: "s1", Allowed: true, At: earlier}, []string{"bank/s1@11:59:59"}},
		"workspace":             {&eventv1.Audited{Workspace: "bank", Action: "workspace.delete", Target: "bank", Allowed: true}, []string{"bank/@12:00:00"}},
		"a clock that is ahead": {&eventv1.Audited{Workspace: "bank", Action: "workspace.delete", Allowed: true, At: timestamppb.New(noon.Add(time.Hour))}, []string{"bank/@12:00:00"}},
		"denied":                {&eventv1.Audited{Workspace: "bank", Action: "session.delete", Target: "s1"}, nil},
		"no session":            {&eventv1.Audited{Workspace: "bank", Action: "session.delete", Allowed: true}, nil},
		"something else":        {&eventv1.Audited{Workspace: "bank", Action: "key.create", Allowed: true}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, r := consumer(t)
			if err := c.audit(t.Context(), audited(t, tt.event)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r.deleted); diff != "" {
				t.Errorf("deleted (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("on another workspace's subject", func(t *testing.T) {
		t.Parallel()
		c, r := consumer(t)
		m := audited(t, &eventv1.Audited{Workspace: "bank", Action: "workspace.delete", Allowed: true})
		m.Subject = bus.EventSubject("audit", "other")
		if err := c.audit(t.Context(), m); err != nil || r.deleted != nil {
			t.Errorf("audit = %v, deleted %v", err, r.deleted)
		}
	})
}

func TestInterruptedTurnsAreKept(t *testing.T) {
	t.Parallel()
	c, r := consumer(t)
	data := recorded(t, func(t *dialogv1.Turn) { t.Outcome, t.CompletedAt = dialogv1.Outcome_OUTCOME_INTERRUPTED, nil })
	if err := c.turn(t.Context(), bus.Message{Subject: subject, Data: data}); err != nil {
		t.Fatal(err)
	}
	if got := r.turns["t1"]; got.Outcome != 3 || got.Duration != 0 {
		t.Errorf("turn = %+v", got)
	}
}
