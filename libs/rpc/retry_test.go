package rpc

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

func unavailable() error {
	return fault.New(fault.Unavailable, fault.ServiceUnavailable, "this replica is stopping")
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fails   int // this many times, then it works
		err     func() error
		timeout time.Duration
		retries int
		calls   int64
		orLess  bool // on a busy machine
		ok      bool
	}{
		"first call works":               {fails: 0, err: unavailable, calls: 1, ok: true},
		"unavailable once":               {fails: 1, err: unavailable, calls: 2, ok: true},
		"unavailable twice":              {fails: 2, err: unavailable, calls: 3, ok: true},
		"unavailable for long":           {fails: 99, err: unavailable, calls: 6},
		"unavailable, no time for all":   {fails: 99, err: unavailable, timeout: 1200 * time.Millisecond, calls: 5, orLess: true},
		"retries switched off":           {fails: 9, err: unavailable, retries: -1, calls: 1},
		"no time left":                   {fails: 9, err: func() error { return fault.As(unavailable()).WithRetryAfter(900 * time.Millisecond) }, timeout: time.Second, calls: 1},
		"another failure":                {fails: 9, err: func() error { return errors.New("bug") }, calls: 1},
		"overloaded":                     {fails: 9, err: func() error { return fault.New(fault.Exhausted, fault.Overloaded, "full") }, calls: 1},
		"the service says when, soon":    {fails: 1, err: func() error { return fault.As(unavailable()).WithRetryAfter(20 * time.Millisecond) }, calls: 2, ok: true},
		"the service says when, not now": {fails: 1, err: func() error { return fault.As(unavailable()).WithRetryAfter(time.Minute) }, calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				in := install(t, &gateway{embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
					if int(calls.Add(1)) <= test.fails {
						return nil, test.err()
					}
					return &llmv1.EmbedResponse{}, nil
				}}, MuxOptions{}, ServerOptions{})
				if test.timeout == 0 {
					test.timeout = 10 * time.Second
				}
				ctx, cancel := context.WithTimeout(asAlice(t.Context()), test.timeout)
				defer cancel()
				_, err := in.client(t, identity.Dialog, ClientOptions{Retries: test.retries}).Embed(ctx, embedOf("bank"))
				if (err == nil) != test.ok {
					t.Errorf("got %v", err)
				}
				if err != nil && fault.KindOf(err) != fault.KindOf(test.err()) {
					t.Errorf("the caller sees %s (%v), the service said %s", fault.KindOf(err), err, fault.KindOf(test.err()))
				}
				if n := calls.Load(); n != test.calls && !(test.orLess && n > 1 && n < test.calls) {
					t.Errorf("%d calls, want %d", n, test.calls)
				}
			})
		})
	}
}

// A stream is never repeated, and neither is what the contract does not call idempotent.
func TestNotRepeated(t *testing.T) {
	t.Parallel()
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		var calls atomic.Int64
		in := install(t, &gateway{generate: func(context.Context, *llmv1.GenerateRequest, *connect.ServerStream[llmv1.GenerateResponse]) error {
			calls.Add(1)
			return unavailable()
		}}, MuxOptions{}, ServerOptions{})
		_, err := drain(asAlice(t.Context()), in.client(t, identity.Dialog, ClientOptions{}), generateOf("bank"))
		wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
	t.Run("not idempotent", func(t *testing.T) {
		t.Parallel()
		h := &runs{}
		mux := NewMux(MuxOptions{Telemetry: telemetry.Nop("eval"), Edge: true})
		mux.Handle(evalv1connect.NewEvalServiceHandler(h, mux.HandlerOptions()...))
		local := NewLocal()
		server := NewServer(mux, ServerOptions{})
		go func() { _ = server.ServeLocal(local) }()
		defer func() { _ = server.Shutdown(context.Background()) }()
		c := Dial(local.Target("eval"), ClientOptions{Telemetry: telemetry.Nop("cli")})
		defer c.Close()
		_, err := evalv1connect.NewEvalServiceClient(c.HTTP, c.URL, c.Options...).CreateRun(t.Context(), &evalv1.CreateRunRequest{
			Workspace: "bank", Cases: []*evalv1.Case{{CaseId: "1", Question: "why?"}},
		})
		wantFault(t, err, fault.Unavailable, fault.ServiceUnavailable)
		if n := h.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

type runs struct {
	evalv1connect.UnimplementedEvalServiceHandler
	calls atomic.Int64
}

func (r *runs) CreateRun(context.Context, *evalv1.CreateRunRequest) (*evalv1.CreateRunResponse, error) {
	r.calls.Add(1)
	return nil, unavailable()
}

// Everything that was under way on a replica that died is repeated.
func TestABurstIsRepeated(t *testing.T) {
	t.Parallel()
	const callers = 128
	var calls atomic.Int64
	together := make(chan struct{})
	var first sync.WaitGroup
	first.Add(callers)
	in := install(t, &gateway{embed: func(context.Context, *llmv1.EmbedRequest) (*llmv1.EmbedResponse, error) {
		if calls.Add(1) <= callers {
			first.Done()
			<-together // all fail at the same moment
			return nil, unavailable()
		}
		return &llmv1.EmbedResponse{}, nil
	}}, MuxOptions{}, ServerOptions{})
	client := in.client(t, identity.Dialog, ClientOptions{})
	var ended sync.WaitGroup
	for range callers {
		ended.Go(func() {
			ctx, cancel := context.WithTimeout(asAlice(t.Context()), time.Minute)
			defer cancel()
			if _, err := client.Embed(ctx, embedOf("bank")); err != nil {
				t.Errorf("the caller sees %v", err)
			}
		})
	}
	first.Wait()
	close(together)
	ended.Wait()
}

// What the contract does not call idempotent is repeated when the caller says so, or when it was never sent.
func TestRepeatedAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRetry(telemetry.Nop(identity.Dialog), identity.Tools, 2)
	for name, test := range map[string]struct {
		ctx   context.Context //nolint:containedctx // of the table's call
		err   error
		calls int
	}{
		"sent":       {t.Context(), ToConnect(unavailable()), 1},
		"repeatable": {Repeatable(t.Context()), ToConnect(unavailable()), 3},
		"never sent": {t.Context(), connect.NewError(connect.CodeUnavailable, &net.OpError{Op: "dial", Err: errors.New("refused")}), 3},
	} {
		calls := 0
		_, _ = r.WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
			calls++
			return nil, test.err
		})(test.ctx, sideEffects{})
		if calls != test.calls {
			t.Errorf("%s: %d calls, want %d", name, calls, test.calls)
		}
	}
}

// sideEffects is a request that may not be repeated.
type sideEffects struct{ connect.AnyRequest }

func (sideEffects) Spec() connect.Spec { return connect.Spec{} }

func TestRetriesAreCounted(t *testing.T) {
	t.Parallel()
	tel := telemetry.Nop(identity.Dialog)
	r := newRetry(tel, identity.Gateway, 2)
	next := r.WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
		return nil, ToConnect(unavailable())
	})
	if _, err := next(t.Context(), idempotent{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(r.repeats); n != 2 {
		t.Errorf("%g retries counted", n)
	}
	if !strings.HasPrefix(tel.Metric("rpc_client_retries_total"), "ragmesh_dialog_") {
		t.Error("metric is not named after the service")
	}
}

// idempotent is a request that may be repeated.
type idempotent struct{ connect.AnyRequest }

func (idempotent) Spec() connect.Spec {
	return connect.Spec{IdempotencyLevel: connect.IdempotencyIdempotent}
}
