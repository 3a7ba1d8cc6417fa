package eval_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/eval"
)

// start runs eval on b, and stops it when the test ends.
func start(t *testing.T, b *bus.Bus, dir string, change ...func(*eval.Config)) evalv1connect.EvalServiceClient {
	t.Helper()
	client, stop := startUntil(t, b, dir, change...)
	t.Cleanup(stop)
	return client
}

// patient makes it wait for what is on its way for as long as a busy machine may take.
func patient(cfg *eval.Config) { cfg.Trace.Wait = time.Minute }

func startUntil(t *testing.T, b *bus.Bus, dir string, change ...func(*eval.Config)) (evalv1connect.EvalServiceClient, func()) {
	t.Helper()
	cfg := eval.Defaults()
	for _, c := range change {
		c(&cfg)
	}
	s, err := eval.New(t.Context(), cfg, eval.Deps{Telemetry: telemetry.Nop("eval"), Bus: b, Live: nil, DataDir: dir, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for _, row := range s.Ready(t.Context()) {
		if !row.Ready {
			t.Errorf("not ready: %+v", row)
		}
	}
	conn := rpctest.Service(t, identity.Eval, s.Register)
	return evalv1connect.NewEvalServiceClient(conn.HTTP, conn.URL, conn.Options...), func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func publish(t *testing.T, b *bus.Bus, subject, id string, m proto.Message) {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), subject, id, data); err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, b *bus.Bus, workspace, question string) *dialogv1.Turn {
	t.Helper()
	now := time.Now()
	turn := &dialogv1.Turn{
		TurnId: ulid.Make().String(), SessionId: "s1", Workspace: workspace, Question: question, Outcome: dialogv1.Outcome_OUTCOME_ANSWERED,
		Stages:  []*dialogv1.StageRecord{{Name: "retrieve", Service: "retriever", InputJson: `{"query":"x"}`}},
		TraceId: strings.ToLower(strings.Repeat("0f", 16)), StartedAt: timestamppb.New(now), CompletedAt: timestamppb.New(now.Add(time.Millisecond)),
	}
	publish(t, b, bus.TurnSubject(workspace, "s1", turn.GetTurnId()), turn.GetTurnId(), &eventv1.TurnRecorded{Turn: turn})
	return turn
}

// arrives waits until eval has a turn.
func arrives(t *testing.T, client evalv1connect.EvalServiceClient, turn *dialogv1.Turn) {
	t.Helper()
	request := &evalv1.GetTraceRequest{Workspace: turn.GetWorkspace(), TurnId: turn.GetTurnId()}
	for end := time.Now().Add(time.Minute); ; {
		_, err := client.GetTrace(rpctest.As(t.Context(), turn.GetWorkspace()), request)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func spanBatch(at time.Time) *tracev1.TracesData {
	return &tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{ScopeSpans: []*tracev1.ScopeSpans{{Spans: []*tracev1.Span{{
		TraceId: []byte(strings.Repeat("\x0f", 16)), SpanId: []byte("12345678"), Name: "Chat",
		StartTimeUnixNano: uint64(at.UnixNano()), EndTimeUnixNano: uint64(at.Add(time.Millisecond).UnixNano()),
	}}}}}}}
}

func TestTurnsAndSpansBecomeATrace(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	client := start(t, b, t.TempDir(), patient)
	turn := record(t, b, "bank", "What does a card cost?")
	publish(t, b, bus.SpanSubject("dialog"), "", spanBatch(turn.GetStartedAt().AsTime()))

	var got *evalv1.GetTraceResponse
	for end := time.Now().Add(time.Minute); len(got.GetSpans()) == 0 && time.Now().Before(end); { // spans are waited for for a second
		var err error
		if got, err = client.GetTrace(rpctest.As(t.Context(), "bank"), &evalv1.GetTraceRequest{Workspace: "bank", TurnId: turn.GetTurnId()}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(turn, got.GetTurn(), protocmp.Transform()); diff != "" {
		t.Errorf("turn (-want +got):\n%s", diff)
	}
	if len(got.GetSpans()) != 1 || got.GetSpans()[0].GetName() != "Chat" || got.GetSpans()[0].GetOffset().AsDuration() != 0 {
		t.Errorf("spans = %v", got.GetSpans())
	}
	list, err := client.ListTraces(rpctest.As(t.Context(), "bank"), &evalv1.ListTracesRequest{Workspace: "bank"})
	if err != nil || len(list.GetTraces()) != 1 || list.GetTraces()[0].GetQuestion() != turn.GetQuestion() {
		t.Errorf("ListTraces = %v, %v", list, err)
	}
}

func TestListShowsWhatWasRecordedBefore(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	client := start(t, b, t.TempDir(), patient)
	for range 5 {
		want := record(t, b, "bank", "why?")
		got, err := client.ListTraces(rpctest.As(t.Context(), "bank"), &evalv1.ListTracesRequest{Workspace: "bank", PageSize: 1})
		if err != nil || len(got.GetTraces()) != 1 || got.GetTraces()[0].GetTurnId() != want.GetTurnId() {
			t.Fatalf("ListTraces = %v, %v; want %s", got, err, want.GetTurnId())
		}
	}
}

func TestAnotherWorkspacesTurnIsNotFound(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	client := start(t, b, t.TempDir())
	turn := record(t, b, "bank", "secret")
	arrives(t, client, turn)
	_, err := client.GetTrace(rpctest.As(t.Context(), "rival"), &evalv1.GetTraceRequest{Workspace: "rival", TurnId: turn.GetTurnId()})
	if fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("GetTrace = %v; want TURN_NOT_FOUND", err)
	}
	_, err = client.GetTrace(rpctest.As(t.Context(), "rival"), &evalv1.GetTraceRequest{Workspace: "bank", TurnId: turn.GetTurnId()})
	if fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("GetTrace in the other's workspace = %v; want WORKSPACE_NOT_FOUND", err)
	}
}

func TestPoisonHoldsUpNothingAndRestartLosesNothing(t *testing.T) {
	t.Parallel()
	b, dir := bustest.New(t), t.TempDir()
	if err := b.Publish(t.Context(), bus.TurnSubject("bank", "s1", "poison"), "poison", []byte("\xff\xff")); err != nil {
		t.Fatal(err)
	}
	first, stop := startUntil(t, b, dir, patient)
	before := record(t, b, "bank", "before")
	ctx := rpctest.As(t.Context(), "bank")
	if _, err := first.GetTrace(ctx, &evalv1.GetTraceRequest{Workspace: "bank", TurnId: before.GetTurnId()}); err != nil {
		t.Fatalf("the turn behind the poison: %v", err)
	}
	stop()
	meanwhile := record(t, b, "bank", "meanwhile")
	second := start(t, b, dir, patient)
	for _, turn := range []*dialogv1.Turn{before, meanwhile} {
		if _, err := second.GetTrace(ctx, &evalv1.GetTraceRequest{Workspace: "bank", TurnId: turn.GetTurnId()}); err != nil {
			t.Errorf("turn %q after the restart: %v", turn.GetQuestion(), err)
		}
	}
}

func TestDeletedSessionsTurnsGo(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	client := start(t, b, t.TempDir())
	turn := record(t, b, "bank", "private")
	ctx := rpctest.As(t.Context(), "bank")
	arrives(t, client, turn)
	publish(t, b, bus.EventSubject("audit", "bank"), "", &eventv1.Audited{
		Workspace: "bank", Action: "session.delete", Target: "s1", Allowed: true, At: timestamppb.Now(),
	})
	for end := time.Now().Add(time.Minute); ; {
		list, err := client.ListTraces(ctx, &evalv1.ListTracesRequest{Workspace: "bank"})
		if err == nil && len(list.GetTraces()) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the turn is still there: %v, %v", list, err)
		}
	}
}

func TestDefaultsAreValidAndBoundsAreChecked(t *testing.T) {
	t.Parallel()
	if err := eval.Defaults().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for key, value := range map[string]string{
		"trace.wait": "1h", "retention.turn_age": "1m", "retention.span_age": "-1h", "retention.turns": "-1", "retention.spans": "-1",
		"retention.bytes": "1KiB", "retention.every": "1ms",
	} {
		_, err := config.Load("eval", eval.Defaults(), config.Source{Flags: map[string]string{key: value}})
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%s: %v; want the key named", key, value, err)
		}
	}
}

func TestNewFailsWithoutItsFolder(t *testing.T) {
	t.Parallel()
	_, err := eval.New(t.Context(), eval.Defaults(), eval.Deps{
		Telemetry: telemetry.Nop("eval"), Bus: nil, Live: nil, DataDir: t.TempDir() + "/missing", Clock: time.Now,
	})
	if err == nil {
		t.Error("New succeeded")
	}
}
