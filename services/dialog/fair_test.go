package dialog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	"github.com/ragmesh/ragmesh/services/dialog"
)

// crowded is a mesh in which one turn runs at a time, and release lets the one that runs go on.
func crowded(t *testing.T, change ...func(*dialog.Config)) (m *mesh, release func()) {
	t.Helper()
	m = newMesh(t, append([]func(*dialog.Config){func(cfg *dialog.Config) {
		cfg.Turn.Limit = 1
		cfg.Limits.Waiting.Patience = time.Minute
		cfg.Turn.Budget.FirstToken, cfg.Turn.Budget.Idle, cfg.Turn.Budget.Turn = time.Minute, time.Minute, time.Minute
	}}, change...)...)
	gate := make(chan struct{})
	m.llm.generate = func(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
		return say(r, out, "The daily transfer limit is 50,000 dollars [1].")
	}
	return m, func() { gate <- struct{}{} }
}

// Who waits for a place is told so, gets it, and finds it in the turn's record.
func TestWaitingIsTold(t *testing.T) {
	t.Parallel()
	m, release := crowded(t, func(cfg *dialog.Config) { cfg.Turn.Budget.Heartbeat = 10 * time.Millisecond })
	first := make(chan heard, 1)
	go func() {
		h, _ := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion})
		first <- h
	}()
	eventually(t, "the first turn", func() bool { return m.llm.last() != nil })
	stream, err := m.chat.Chat(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var second heard
	for range 3 { // the wait, and heartbeats
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		second.take(stream.Msg())
	}
	if got := strings.Join(second.kinds, " "); got != "wait:started heartbeat" {
		t.Errorf("while it waits it hears %s", got)
	}
	release()
	if h := <-first; h.turn.GetOutcome() != dialogv1.Outcome_OUTCOME_ANSWERED {
		t.Errorf("the first turn is %v", h.turn)
	}
	go release()
	for stream.Receive() {
		second.take(stream.Msg())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	for i, e := range second.events {
		if e.GetSeq() != uint64(i+1) {
			t.Fatalf("event %d has the number %d", i+1, e.GetSeq())
		}
	}
	if st := second.turn.GetStages(); len(st) == 0 || st[0].GetName() != "wait" || st[0].GetDuration().AsDuration() <= 0 {
		t.Errorf("the record's stages are %v", st)
	}
}

// Who goes away while waiting leaves the line, and who waits when the process ends is told.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	m, release := crowded(t, func(cfg *dialog.Config) { cfg.Limits.Waiting.All = 1 })
	first := make(chan error, 1)
	go func() {
		_, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion})
		first <- err
	}()
	eventually(t, "the first turn", func() bool { return m.llm.last() != nil })
	wait := func(ctx context.Context) *connect.ServerStreamForClient[dialogv1.ChatResponse] {
		stream, err := m.chat.Chat(ctx, &dialogv1.ChatRequest{Question: limitQuestion})
		if err != nil {
			t.Fatal(err)
		}
		if !stream.Receive() || stream.Msg().GetStage().GetName() != "wait" {
			t.Fatalf("got %v, %v", stream.Msg(), stream.Err())
		}
		return stream
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream := wait(ctx)
	_, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion})
	if f := fault.As(err); f.Reason != fault.Overloaded || f.RetryAfter <= 0 {
		t.Errorf("a question too many: %v", err)
	}
	cancel()
	_ = stream.Close()
	eventually(t, "the place of who went away", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		stream, err := m.chat.Chat(ctx, &dialogv1.ChatRequest{Question: limitQuestion})
		if err != nil {
			return false
		}
		defer stream.Close()
		return stream.Receive()
	})
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A burst of one caller is theirs alone, and every protocol says when to come back.
func TestRateOfQuestions(t *testing.T) {
	t.Parallel()
	m := newMesh(t, func(cfg *dialog.Config) { cfg.Limits.User.Rate, cfg.Limits.User.Burst = 1, 1 })
	if _, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion}); err != nil {
		t.Fatal(err)
	}
	_, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion})
	if f := fault.As(err); f.Kind != fault.Exhausted || f.Reason != fault.RateLimited || f.RetryAfter < 30*time.Second {
		t.Errorf("the second question: %v", err)
	}
	for _, stream := range []string{"true", "false"} {
		r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"default","stream":`+stream+`,"messages":[{"role":"user","content":"hello there"}]}`))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		w, all := m.answer(r)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(all, `"type":"rate_limit_error"`) || !strings.Contains(all, `"code":"rate_limited"`) {
			t.Errorf("OpenAI, stream %s: %s", stream, all)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{"question":"hello"}}}`))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if _, all := m.answer(r); !strings.Contains(all, "as many questions as allowed") || !strings.Contains(all, `"isError":true`) {
		t.Errorf("MCP: %s", all)
	}
}

// What else is called is bounded too, for each caller, and the bound can be changed while it runs.
func TestRateOfCalls(t *testing.T) {
	t.Parallel()
	cfg := dialog.Defaults()
	budgets(&cfg)
	cfg.Limits.Calls.Rate, cfg.Limits.Calls.Burst = 1, 2
	m := newMesh(t, func(c *dialog.Config) { *c = cfg })
	retriever := retrieverv1connect.NewRetrieverServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	limited := func() error {
		for range 10 {
			if _, err := retriever.Search(t.Context(), &retrieverv1.SearchRequest{Query: "limit"}); err != nil {
				return err
			}
		}
		return nil
	}
	if f := fault.As(limited()); f == nil || f.Reason != fault.RateLimited || f.RetryAfter <= 0 {
		t.Errorf("ten searches: %v", f)
	}
	r := httptest.NewRequest(http.MethodGet, "/v1/models", nil)
	r.Host = "localhost"
	if w, all := m.answer(r); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("models: %s", all)
	}
	r = httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(`{}`))
	r.Host = "localhost"
	if w, all := m.answer(r); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("MCP: %s", all)
	}
	cfg.Limits.Calls.Rate = 0
	if err := m.service.Reload(t.Context(), config.Loaded[dialog.Config]{Value: cfg, Revision: "later"}); err != nil {
		t.Fatal(err)
	}
	if err := limited(); err != nil {
		t.Errorf("without a bound: %v", err)
	}
}

// A stream that its caller leaves is not counted any more.
func TestCallsThatEnd(t *testing.T) {
	t.Parallel()
	m := newMesh(t, func(cfg *dialog.Config) { cfg.Limits.Calls.Running = 1 })
	retriever := retrieverv1connect.NewRetrieverServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := retriever.Watch(ctx, &retrieverv1.WatchRequest{})
	if err != nil || !stream.Receive() {
		t.Fatal(err)
	}
	if _, err := retriever.Search(t.Context(), &retrieverv1.SearchRequest{Query: "limit"}); fault.ReasonOf(err) != fault.RateLimited {
		t.Errorf("beside a stream: %v", err)
	}
	cancel()
	_ = stream.Close()
	eventually(t, "room for a call", func() bool {
		_, err := retriever.Search(t.Context(), &retrieverv1.SearchRequest{Query: "limit"})
		return err == nil
	})
}

// A request that is sent again leads to the same turn, whatever protocols the two are sent in.
func TestRequestIDsInEveryProtocol(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	protocols := map[string][]connect.ClientOption{
		"Connect": nil, "Connect with JSON": {connect.WithProtoJSON()}, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()},
		"gRPC-Web with JSON": {connect.WithGRPCWeb(), connect.WithProtoJSON()}, "packed": {connect.WithGRPC(), connect.WithSendGzip()},
	}
	seen := map[string]bool{}
	for range 2 {
		for name, options := range protocols {
			m.chat = dialogv1connect.NewDialogServiceClient(m.conn.HTTP, m.conn.URL, options...)
			h, err := m.try(t.Context(), &dialogv1.ChatRequest{Question: limitQuestion, RequestId: "the-same"})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if h.text == "" || len(h.citations) != 1 {
				t.Errorf("%s: %q, %v", name, h.text, h.citations)
			}
			seen[h.turn.GetTurnId()] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d turns came of one request", len(seen))
	}
}

// TestReflection calls a procedure as grpcurl does: with nothing but what the server says about itself.
func TestReflection(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for name, options := range map[string][]connect.ClientOption{"gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()}} {
		stream := grpcreflect.NewClient(m.conn.HTTP, m.conn.URL, options...).NewStream(t.Context())
		services, err := stream.ListServices()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(services) != 8 {
			t.Errorf("%s: services %v", name, services)
		}
		var set descriptorpb.FileDescriptorSet
		have := map[string]bool{}
		add := func(files []*descriptorpb.FileDescriptorProto, err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if !have[f.GetName()] {
					have[f.GetName()] = true
					set.File = append(set.File, f)
				}
			}
		}
		add(stream.FileContainingSymbol("ragmesh.dialog.v1.DialogService"))
		for i := 0; i < len(set.File); i++ {
			for _, dependency := range set.File[i].GetDependency() {
				if !have[dependency] {
					add(stream.FileByFilename(dependency))
				}
			}
		}
		if _, err := stream.Close(); err != nil {
			t.Error(err)
		}
		files, err := protodesc.NewFiles(&set)
		if err != nil {
			t.Fatal(err)
		}
		checkDynamicCall(t, m, files, options)
	}
}

func checkDynamicCall(t *testing.T, m *mesh, files *protoregistry.Files, options []connect.ClientOption) {
	t.Helper()
	found, err := files.FindDescriptorByName("ragmesh.dialog.v1.DialogService.Chat")
	if err != nil {
		t.Fatal(err)
	}
	method, ok := found.(protoreflect.MethodDescriptor)
	if !ok {
		t.Fatalf("it is a %T", found)
	}
	request := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal([]byte(`{"question": "`+limitQuestion+`"}`), request); err != nil {
		t.Fatal(err)
	}
	options = append(options, connect.WithSchema(method), connect.WithResponseInitializer(func(_ connect.Spec, message any) error {
		if dynamic, ok := message.(*dynamicpb.Message); ok {
			*dynamic = *dynamicpb.NewMessage(method.Output())
		}
		return nil
	}))
	client := connect.NewClient[dynamicpb.Message, dynamicpb.Message](m.conn.HTTP, m.conn.URL+dialogv1connect.DialogServiceChatProcedure, options...)
	stream, err := client.CallServerStream(t.Context(), connect.NewRequest(request))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var heard bytes.Buffer
	for stream.Receive() {
		data, err := protojson.Marshal(proto.Message(stream.Msg()))
		if err != nil || !json.Valid(data) {
			t.Fatal(err)
		}
		heard.Write(data)
	}
	if err := stream.Err(); err != nil || !strings.Contains(heard.String(), "50,000") || !strings.Contains(heard.String(), `"citation"`) {
		t.Errorf("%v: %s", err, heard.String())
	}
}
