package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

// dialogs answers the n-th request as the n-th of its steps says, and the last one ever after.
type dialogs struct {
	dialogv1connect.UnimplementedDialogServiceHandler
	steps []string
	ids   []string
}

func (d *dialogs) Chat(_ context.Context, req *dialogv1.ChatRequest, out *connect.ServerStream[dialogv1.ChatResponse]) error {
	step := d.steps[min(len(d.ids), len(d.steps)-1)]
	d.ids = append(d.ids, req.GetRequestId())
	if step == "draining" {
		return rpc.ToConnect(fault.New(fault.Unavailable, fault.Draining, "stopping"))
	}
	if step == "running" {
		return rpc.ToConnect(fault.New(fault.Conflict, fault.RequestInProgress, "it runs").WithRetryAfter(10 * time.Millisecond))
	}
	if step == "wrong" {
		return rpc.ToConnect(fault.New(fault.Invalid, fault.InvalidRequest, "no"))
	}
	send := func(e *dialogv1.ChatResponse) { _ = out.Send(e) }
	send(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Started{Started: &dialogv1.ChatStarted{}}})
	if step == "silent" {
		panic(http.ErrAbortHandler)
	}
	send(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Delta{Delta: &llmv1.Delta{Text: "x"}}})
	if step == "cut" {
		panic(http.ErrAbortHandler) // the connection breaks off
	}
	send(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Completed{Completed: &dialogv1.ChatCompleted{}}})
	return nil
}

func kind(m *dialogv1.ChatResponse) string {
	switch m.GetEvent().(type) {
	case *dialogv1.ChatResponse_Started:
		return "started"
	case *dialogv1.ChatResponse_Delta:
		return "delta"
	case *dialogv1.ChatResponse_Restarted:
		return "restarted"
	default:
		return "completed"
	}
}

func TestAskUntilItIsAnswered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps, events []string
		asked         int
		reason        fault.Reason
	}{
		"at once":        {[]string{"whole"}, []string{"started", "delta", "completed"}, 1, 0},
		"stopping":       {[]string{"draining", "whole"}, []string{"started", "delta", "completed"}, 2, 0},
		"cut":            {[]string{"cut", "running", "whole"}, []string{"started", "delta", "restarted", "started", "delta", "completed"}, 3, 0},
		"before text":    {[]string{"silent", "whole"}, []string{"started", "started", "delta", "completed"}, 2, 0},
		"wrong":          {[]string{"wrong", "whole"}, nil, 1, fault.InvalidRequest},
		"cut every time": {[]string{"silent"}, []string{"started", "started", "started", "started", "started"}, 5, fault.ServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &dialogs{steps: c.steps}
			mux := http.NewServeMux()
			mux.Handle(dialogv1connect.NewDialogServiceHandler(d))
			var events []string
			again := 0
			err := dial(t, client.Options{Server: serve(t, mux)}).Ask(t.Context(), &dialogv1.ChatRequest{Question: "?"},
				client.Asking{Again: func(error) { again++ }}, func(m *dialogv1.ChatResponse) error {
					events = append(events, kind(m))
					return nil
				})
			if fault.ReasonOf(err) != c.reason || (err == nil) != (c.reason == 0) {
				t.Errorf("error = %v", err)
			}
			if diff := cmp.Diff(c.events, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			slices.Sort(d.ids)
			if len(d.ids) != c.asked || again != c.asked-1 || d.ids[0] == "" || len(slices.Compact(d.ids)) != 1 {
				t.Errorf("asked with the request ids %v, %d of them called repeats", d.ids, again)
			}
		})
	}
}

// A server that dies resets its connections.
func TestAskAfterAReset(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	d := &dialogs{steps: []string{"whole"}}
	asked := 0
	path, handler := dialogv1connect.NewDialogServiceHandler(d)
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 2 {
			handler.ServeHTTP(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	err := dial(t, client.Options{Server: serve(t, mux)}).Ask(t.Context(), &dialogv1.ChatRequest{Question: "?"}, client.Asking{},
		func(*dialogv1.ChatResponse) error { return nil })
	if err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestAskStopsWithItsCaller(t *testing.T) {
	t.Parallel()
	c := dial(t, client.Options{Server: "http://127.0.0.1:1"})
	begin := time.Now()
	err := c.Ask(t.Context(), &dialogv1.ChatRequest{Question: "?"}, client.Asking{Patience: 300 * time.Millisecond}, nil)
	if fault.KindOf(err) != fault.Unavailable || time.Since(begin) > time.Minute {
		t.Errorf("nobody there: %v after %s", err, time.Since(begin))
	}
	mux := http.NewServeMux()
	mux.Handle(dialogv1connect.NewDialogServiceHandler(&dialogs{steps: []string{"whole"}}))
	mine := errors.New("mine")
	err = dial(t, client.Options{Server: serve(t, mux)}).Ask(t.Context(), &dialogv1.ChatRequest{Question: "?"}, client.Asking{}, func(*dialogv1.ChatResponse) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("the caller's own error came back as %v", err)
	}
}
