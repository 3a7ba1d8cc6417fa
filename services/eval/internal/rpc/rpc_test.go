package rpc_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/services/eval/internal/rpc"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
	"github.com/ragmesh/ragmesh/services/eval/internal/trace"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// finder has n turns, the latest first, in every workspace.
type finder struct {
	turns []store.Turn
	spans []store.Span

	listed []string // whose turns were asked for
}

// as returns a context with somebody in it.
func as(t *testing.T, role identity.Role, subject string) context.Context {
	t.Helper()
	return identity.NewContext(t.Context(), identity.Principal{Subject: subject, Workspace: "w", Role: role})
}

func newFinder(t *testing.T, n int) *finder {
	t.Helper()
	record, err := proto.Marshal(&dialogv1.Turn{Question: "why?"})
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{}
	for i := range n {
		f.turns = append(f.turns, store.Turn{
			ID: fmt.Sprintf("t%d", i), Session: "s", Question: "why?", Outcome: 2, Degraded: []string{"save"}, Record: record,
			Started: noon.Add(-time.Duration(i) * time.Second), Duration: time.Second,
		})
	}
	return f
}

func (f *finder) Get(_ context.Context, _, id string) (trace.Trace, error) {
	i := slices.IndexFunc(f.turns, func(t store.Turn) bool { return t.ID == id })
	if i < 0 {
		return trace.Trace{}, fault.New(fault.NotFound, fault.TurnNotFound, "no such turn")
	}
	return trace.Trace{Turn: f.turns[i], Spans: f.spans}, nil
}

func (f *finder) List(_ context.Context, _, user string, after store.Position, limit int) ([]store.Turn, error) {
	f.listed = append(f.listed, user)
	begin := 0
	if after.ID != "" {
		begin = 1 + slices.IndexFunc(f.turns, func(t store.Turn) bool { return t.ID == after.ID && t.Started.Equal(after.Started) })
	}
	return f.turns[begin:min(len(f.turns), begin+limit)], nil
}

func TestGetTraceSetsSpansAgainstTheTurnsStart(t *testing.T) {
	t.Parallel()
	f := newFinder(t, 1)
	f.spans = []store.Span{{ID: "a", Parent: "b", Service: "retriever", Name: "Search", Started: noon.Add(-time.Millisecond), Duration: time.Second, Status: "error", Error: "no", Attributes: map[string]string{"k": "v"}}}
	got, err := rpc.New(f).GetTrace(as(t, identity.Editor, "user:e"), &evalv1.GetTraceRequest{Workspace: "w", TurnId: "t0"})
	want := &evalv1.GetTraceResponse{Turn: &dialogv1.Turn{Question: "why?"}, Spans: []*evalv1.Span{{
		SpanId: "a", ParentSpanId: "b", Service: "retriever", Name: "Search", Offset: durationpb.New(-time.Millisecond), Duration: durationpb.New(time.Second),
		Status: "error", Error: "no", Attributes: map[string]string{"k": "v"},
	}}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := rpc.New(f).GetTrace(as(t, identity.Editor, "user:e"), &evalv1.GetTraceRequest{Workspace: "w", TurnId: "nope"}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("GetTrace of a missing turn = %v", err)
	}
}

func TestGetTraceOfADamagedRecordIsInternal(t *testing.T) {
	t.Parallel()
	f := newFinder(t, 1)
	f.turns[0].Record = []byte("\xff")
	if _, err := rpc.New(f).GetTrace(as(t, identity.Editor, "user:e"), &evalv1.GetTraceRequest{Workspace: "w", TurnId: "t0"}); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("GetTrace = %v; want internal", err)
	}
}

func TestListTracesPagesToTheEnd(t *testing.T) {
	t.Parallel()
	for _, total := range []int{0, 1, 3, 4, 7} {
		h := rpc.New(newFinder(t, total))
		var got []string
		req := &evalv1.ListTracesRequest{Workspace: "w", PageSize: 3}
		for {
			resp, err := h.ListTraces(as(t, identity.Editor, "user:e"), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range resp.GetTraces() {
				got = append(got, s.GetTurnId())
			}
			if resp.GetNextPageToken() == "" {
				break
			}
			req.PageToken = resp.GetNextPageToken()
		}
		var want []string
		for i := range total {
			want = append(want, fmt.Sprintf("t%d", i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d turns (-want +got):\n%s", total, diff)
		}
	}
}

func TestListTracesShowsTurnsInShort(t *testing.T) {
	t.Parallel()
	got, err := rpc.New(newFinder(t, 1)).ListTraces(as(t, identity.Editor, "user:e"), &evalv1.ListTracesRequest{Workspace: "w"})
	want := &evalv1.ListTracesResponse{Traces: []*evalv1.TraceSummary{{
		TurnId: "t0", SessionId: "s", Question: "why?", Outcome: dialogv1.Outcome_OUTCOME_ABSTAINED, DegradedStages: []string{"save"},
		StartedAt: timestamppb.New(noon), Duration: durationpb.New(time.Second),
	}}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestListTracesRefusesForeignTokens(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"%%%", "YWJj", "LnQx", "enp6enp6enp6enp6enp6eg"} {
		_, err := rpc.New(newFinder(t, 1)).ListTraces(as(t, identity.Editor, "user:e"), &evalv1.ListTracesRequest{Workspace: "w", PageToken: token})
		if got := fault.As(err); got == nil || got.Kind != fault.Invalid || len(got.Fields) != 1 || got.Fields[0].Path != "page_token" {
			t.Errorf("token %q: %v; want invalid page_token", token, err)
		}
	}
}

func TestWhatIsNotThereYetSaysSo(t *testing.T) {
	t.Parallel()
	h := rpc.New(newFinder(t, 0))
	calls := map[string]func() error{
		"CreateRun":   func() error { _, err := h.CreateRun(t.Context(), nil); return err },
		"GetRun":      func() error { _, err := h.GetRun(t.Context(), nil); return err },
		"CompareRuns": func() error { _, err := h.CompareRuns(t.Context(), nil); return err },
		"Replay":      func() error { _, err := h.Replay(t.Context(), nil); return err },
		"ListGaps":    func() error { _, err := h.ListGaps(t.Context(), nil); return err },
	}
	for name, call := range calls {
		if err := call(); fault.KindOf(err) != fault.Unimplemented {
			t.Errorf("%s = %v; want unimplemented", name, err)
		}
	}
}

// TestViewersSeeTheirOwn: what others asked is for editors.
func TestViewersSeeTheirOwn(t *testing.T) {
	t.Parallel()
	f := newFinder(t, 2)
	f.turns[0].User, f.turns[1].User = "user:alice", "user:bob"
	h := rpc.New(f)
	for name, c := range map[string]struct {
		ctx  context.Context
		id   string
		want bool
	}{
		"a viewer's own":     {as(t, identity.Viewer, "user:alice"), "t0", true},
		"another's":          {as(t, identity.Viewer, "user:alice"), "t1", false},
		"another's, editor":  {as(t, identity.Editor, "user:alice"), "t1", true},
		"for nobody at all":  {t.Context(), "t1", false},
		"for a name of none": {as(t, identity.Viewer, ""), "t1", false},
	} {
		_, err := h.GetTrace(c.ctx, &evalv1.GetTraceRequest{Workspace: "w", TurnId: c.id})
		if (err == nil) != c.want || err != nil && fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, role := range []identity.Role{identity.Viewer, identity.Editor} {
		list, err := h.ListTraces(as(t, role, "user:alice"), &evalv1.ListTracesRequest{Workspace: "w"})
		if err != nil || len(list.GetTraces()) != 2 || list.GetTraces()[0].GetUser() != "user:alice" {
			t.Errorf("%v: %v", list, err)
		}
	}
	if diff := cmp.Diff([]string{"user:alice", ""}, f.listed); diff != "" {
		t.Errorf("whose turns are listed (-want +got):\n%s", diff)
	}
}
