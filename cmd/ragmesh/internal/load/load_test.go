package load_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/load"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/measure"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// asker is a server in a function.
type asker func(ctx context.Context, question string, o client.Asking, each func(*dialogv1.ChatResponse) error) error

func (a asker) Ask(ctx context.Context, req *dialogv1.ChatRequest, o client.Asking, each func(*dialogv1.ChatResponse) error) error {
	return a(ctx, req.GetQuestion(), o, each)
}

func options() load.Options {
	return load.Options{Rate: 100, Duration: 500 * time.Millisecond, Limit: 100, Timeout: time.Second, Questions: []string{"a", "b", "c", "d", "e"}}
}

func done(id string, degraded ...*retrieverv1.Degradation) *dialogv1.ChatResponse {
	return &dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Completed{Completed: &dialogv1.ChatCompleted{
		Turn: &dialogv1.Turn{TurnId: id, Outcome: dialogv1.Outcome_OUTCOME_ANSWERED, Degradations: degraded}, Stored: dialogv1.Stored_STORED_STREAM,
	}}}
}

func TestEveryFateIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		r := load.Run(t.Context(), asker(func(_ context.Context, question string, o client.Asking, each func(*dialogv1.ChatResponse) error) error {
			id := time.Duration(n.Add(1)).String()
			_ = each(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Delta{Delta: &llmv1.Delta{Text: "x"}}})
			switch question {
			case "a":
				return fault.New(fault.Exhausted, fault.Overloaded, "too much")
			case "b":
				o.Again(fault.New(fault.Unavailable, fault.Draining, "stopping"))
				_ = each(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Restarted{}})
				return each(done(id))
			case "c":
				return each(done(id, &retrieverv1.Degradation{Stage: "tools", Reason: "timeout"}))
			case "d":
				return each(done("the same"))
			default:
				return each(done(id))
			}
		}), options())
		if r.Planned != 50 || r.Sent != 50 || r.Answered != 40 || r.Failed != 10 || r.Degraded != 10 || r.Retried != 10 || r.Restarted != 10 || r.Duplicates != 9 || r.Share != .8 {
			t.Errorf("report = %+v", r)
		}
		for what, pair := range map[string][2][]measure.Count{
			"failures":     {r.Failures, {{Name: "exhausted OVERLOADED", Times: 10}}},
			"degradations": {r.Degradations, {{Name: "tools:timeout", Times: 10}}},
			"repeats":      {r.Repeats, {{Name: "unavailable DRAINING", Times: 10}}},
		} {
			if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		if r.FailedSeconds != 1 || r.DegradedSeconds != 1 || len(r.Seconds) != 1 || r.Seconds[0].Failed != 10 {
			t.Errorf("seconds = %+v", r.Seconds)
		}
	})
}

// A server that stands still for 400 ms delays everyone who was to ask meanwhile, not only whoever had asked.
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		o := options()
		o.Limit = 1
		r := load.Run(t.Context(), asker(func(_ context.Context, _ string, _ client.Asking, each func(*dialogv1.ChatResponse) error) error {
			time.Sleep(time.Until(begin.Add(400 * time.Millisecond)))
			return each(done(time.Since(begin).String()))
		}), o)
		if r.Answered != 50 || r.Latency.P50 < 100 || r.LongestGap < 350 {
			t.Errorf("report = %+v", r)
		}
	})
}

func TestWhatCannotBeAskedFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Limit, o.Timeout = 1, 100*time.Millisecond
		r := load.Run(t.Context(), asker(func(ctx context.Context, _ string, _ client.Asking, _ func(*dialogv1.ChatResponse) error) error {
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond)
			return ctx.Err()
		}), o)
		if r.Planned != 50 || r.Sent+r.Unsent != 50 || r.Unsent == 0 || r.Failed != 50 || r.Answered != 0 {
			t.Errorf("report = %+v", r)
		}
	})
}

func TestAnEndAheadOfTimeIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		var n atomic.Int64
		r := load.Run(ctx, asker(func(ctx context.Context, _ string, _ client.Asking, each func(*dialogv1.ChatResponse) error) error {
			if n.Add(1) > 1 {
				cancel(errors.New("enough"))
				<-ctx.Done()
				return ctx.Err()
			}
			return each(done("1"))
		}), options())
		if r.Planned != r.Sent || r.Failed != 0 || r.Answered == 0 {
			t.Errorf("report = %+v", r)
		}
	})
}
