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
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/dialog"
)

// mesh is dialog with the other services played by functions, over the real protocol and a real bus.
type mesh struct {
	service    *dialog.Service
	conn       rpc.Conn
	chat       dialogv1connect.DialogServiceClient
	workspaces dialogv1connect.WorkspaceServiceClient
	keys       dialogv1connect.KeyServiceClient
	bus        *bus.Bus
	identity   *identity.Keys
	target     rpc.Target
	addr       string // for those who speak no RPC
	mux        *rpc.Mux

	retriever *fakeRetriever
	tools     *fakeTools
	llm       *fakeLLM
	eval      *fakeEval
}

// budgets give everything time, on a busy machine too. Tests of what is late shorten those that it exceeds.
func budgets(cfg *dialog.Config) {
	b := &cfg.Turn.Budget
	b.Turn, b.Plan, b.Retrieve, b.Tools = time.Minute, 20*time.Second, 20*time.Second, 20*time.Second
	b.FirstToken, b.Idle, b.Save, b.Heartbeat = 20*time.Second, 20*time.Second, 20*time.Second, 10*time.Second
}

func newMesh(t *testing.T, change ...func(*dialog.Config)) *mesh {
	t.Helper()
	return newMeshOn(t, bustest.New(t), change...)
}

// newMeshOn returns a dialog on a bus that others use too.
func newMeshOn(t *testing.T, b *bus.Bus, change ...func(*dialog.Config)) *mesh {
	t.Helper()
	m := &mesh{bus: b, retriever: &fakeRetriever{}, tools: &fakeTools{}, llm: &fakeLLM{}, eval: &fakeEval{}}
	cfg := dialog.Defaults()
	budgets(&cfg)
	for _, c := range change {
		c(&cfg)
	}
	keys, err := identity.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	m.identity = keys
	service, err := dialog.New(t.Context(), cfg, dialog.Deps{
		Telemetry: telemetry.Nop("dialog"), Bus: m.bus, Live: nil, Verifier: identity.NewVerifier(keys.Set(), nil), DataDir: t.TempDir(),
		Revision: "abc123", Clock: time.Now,
		Retriever: rpctest.Service(t, "retriever", func(mux *rpc.Mux) {
			mux.Handle(retrieverv1connect.NewRetrieverServiceHandler(m.retriever, mux.HandlerOptions()...))
		}),
		Tools: rpctest.Service(t, "tools", func(mux *rpc.Mux) {
			mux.Handle(toolsv1connect.NewToolsServiceHandler(m.tools, mux.HandlerOptions()...))
		}),
		LLM: rpctest.Service(t, "llm-gateway", func(mux *rpc.Mux) {
			mux.Handle(llmv1connect.NewLLMServiceHandler(m.llm, mux.HandlerOptions()...))
		}),
		Eval: rpctest.Service(t, "eval", func(mux *rpc.Mux) {
			mux.Handle(evalv1connect.NewEvalServiceHandler(m.eval, mux.HandlerOptions()...))
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.service = service
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	options := rpc.MuxOptions{Telemetry: telemetry.Nop("dialog")}
	service.ConfigureMux(&options)
	mux := rpc.NewMux(options)
	service.Register(mux)
	m.mux = mux
	m.target, m.addr = rpctest.Serve(t, mux), rpctest.Listen(t, mux)
	m.target.URL = "http://127.0.0.1:8080"
	m.as(t, "")
	if cfg.Auth.Configured() {
		m.settle(t)
	}
	return m
}

// as makes the clients send an API key.
func (m *mesh) as(t *testing.T, key string) {
	t.Helper()
	m.conn = rpc.Dial(m.target, rpc.ClientOptions{Telemetry: telemetry.Nop("test"), APIKey: key, Retries: -1})
	t.Cleanup(m.conn.Close)
	m.chat = dialogv1connect.NewDialogServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	m.workspaces = dialogv1connect.NewWorkspaceServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	m.keys = dialogv1connect.NewKeyServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
}

// heard is what a client saw of a turn.
type heard struct {
	events    []*dialogv1.ChatResponse
	started   *dialogv1.ChatStarted
	turn      *dialogv1.Turn
	failed    *dialogv1.ChatFailed
	stored    dialogv1.Stored
	text      string
	citations []*dialogv1.Citation
	sources   []*llmv1.Source
	kinds     []string
}

func (m *mesh) ask(t *testing.T, request *dialogv1.ChatRequest) heard {
	t.Helper()
	h, err := m.try(t.Context(), request)
	if err != nil {
		t.Fatalf("chat: %v", err)
	}
	return h
}

func (m *mesh) try(ctx context.Context, request *dialogv1.ChatRequest) (heard, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	stream, err := m.chat.Chat(ctx, request)
	if err != nil {
		return heard{}, err
	}
	defer stream.Close()
	var h heard
	for stream.Receive() {
		h.take(stream.Msg())
	}
	return h, stream.Err()
}

func (h *heard) take(e *dialogv1.ChatResponse) {
	h.events = append(h.events, e)
	kind := ""
	switch ev := e.GetEvent().(type) {
	case *dialogv1.ChatResponse_Started:
		kind, h.started = "started", ev.Started
	case *dialogv1.ChatResponse_Stage:
		kind = ev.Stage.GetName() + ":" + ev.Stage.GetStatus()
	case *dialogv1.ChatResponse_Plan:
		kind = "plan"
	case *dialogv1.ChatResponse_Source:
		kind = "source"
		h.sources = append(h.sources, ev.Source)
	case *dialogv1.ChatResponse_Delta:
		kind = "delta"
		h.text += ev.Delta.GetText()
	case *dialogv1.ChatResponse_Restarted:
		kind = "restarted"
		h.text, h.citations = "", nil
	case *dialogv1.ChatResponse_Citation:
		kind = "citation"
		h.citations = append(h.citations, ev.Citation)
	case *dialogv1.ChatResponse_Heartbeat:
		kind = "heartbeat"
	case *dialogv1.ChatResponse_Completed:
		kind, h.turn, h.stored = "completed", ev.Completed.GetTurn(), ev.Completed.GetStored()
	case *dialogv1.ChatResponse_Failed:
		kind, h.turn, h.stored, h.failed = "failed", ev.Failed.GetTurn(), ev.Failed.GetStored(), ev.Failed
	}
	if n := len(h.kinds); n == 0 || h.kinds[n-1] != kind {
		h.kinds = append(h.kinds, kind)
	}
}

// degraded returns the turn's degradations as stage/reason.
func (h heard) degraded() string {
	var out []string
	for _, d := range h.turn.GetDegradations() {
		out = append(out, d.GetStage()+"/"+d.GetReason())
	}
	return strings.Join(out, " ")
}

// limits is the document that the fakes know.
const limits = "Cards are sent by post. The daily transfer limit is 50,000 dollars. The limit resets at midnight. Offices close at five."

const limitsChinese = "银行卡由邮局寄送。每日转账限额为五万元。限额在午夜重置。"

func passages(texts ...string) []*retrieverv1.Passage {
	var out []*retrieverv1.Passage
	for i, text := range texts {
		out = append(out, &retrieverv1.Passage{
			ChunkId: fmt.Sprintf("chunk-%d", i+1), DocumentId: "0a0a0a0a-0000-5000-8000-000000000001", SourceUri: "transfers.md", Title: "Transfers",
			Range: &retrieverv1.ByteRange{Start: 1000, End: 1000 + uint64(len(text))}, Text: text, Language: "en", Score: 10,
		})
	}
	return out
}

type fakeRetriever struct {
	retrieverv1connect.UnimplementedRetrieverServiceHandler
	mu     sync.Mutex
	search func(context.Context, *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error)
	asked  []*retrieverv1.SearchRequest
	ended  atomic.Int32

	deleted []string // workspaces
	refuses error    // what deleting one answers

	check func(context.Context, *retrieverv1.CheckDocumentsRequest) ([]string, error)
}

func (f *fakeRetriever) CheckDocuments(ctx context.Context, r *retrieverv1.CheckDocumentsRequest) (*retrieverv1.CheckDocumentsResponse, error) {
	f.mu.Lock()
	check := f.check
	f.mu.Unlock()
	if check == nil {
		return &retrieverv1.CheckDocumentsResponse{ReadableDocumentIds: r.GetDocumentIds()}, nil
	}
	readable, err := check(ctx, r)
	return &retrieverv1.CheckDocumentsResponse{ReadableDocumentIds: readable}, err
}

func (f *fakeRetriever) DeleteWorkspace(_ context.Context, r *retrieverv1.DeleteWorkspaceRequest) (*retrieverv1.DeleteWorkspaceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, r.GetWorkspace())
	return &retrieverv1.DeleteWorkspaceResponse{}, f.refuses
}

// checks has documents checked by fn from now on; nil lets all be read.
func (f *fakeRetriever) checks(fn func(context.Context, *retrieverv1.CheckDocumentsRequest) ([]string, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.check = fn
}

func (f *fakeRetriever) Search(ctx context.Context, r *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	search := f.search
	f.mu.Unlock()
	defer f.ended.Add(1)
	if search != nil {
		return search(ctx, r)
	}
	return &retrieverv1.SearchResponse{Passages: passages(limits, limitsChinese), Strategy: "default", ConfigRevision: "r1", Candidates: 2}, nil
}

func (f *fakeRetriever) queries() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.asked {
		out = append(out, r.GetQuery())
	}
	return out
}

func (f *fakeRetriever) Watch(ctx context.Context, r *retrieverv1.WatchRequest, out *connect.ServerStream[retrieverv1.WatchResponse]) error {
	defer f.ended.Add(1)
	if err := out.Send(&retrieverv1.WatchResponse{Seq: 1, Event: &retrieverv1.WatchResponse_Deleted{Deleted: r.GetWorkspace()}}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

type fakeTools struct {
	toolsv1connect.UnimplementedToolsServiceHandler
	mu   sync.Mutex
	list func(context.Context) (*toolsv1.ListToolsResponse, error)
	call func(context.Context, *toolsv1.CallRequest) (*toolsv1.CallResponse, error)
}

func (f *fakeTools) ListTools(ctx context.Context, _ *toolsv1.ListToolsRequest) (*toolsv1.ListToolsResponse, error) {
	f.mu.Lock()
	list := f.list
	f.mu.Unlock()
	if list != nil {
		return list(ctx)
	}
	return &toolsv1.ListToolsResponse{Tools: []*toolsv1.Tool{{Name: "calculator"}, {Name: "current_time"}, {Name: "transfer", SideEffects: true}}, ConfigRevision: "t1"}, nil
}

func (f *fakeTools) Call(ctx context.Context, r *toolsv1.CallRequest) (*toolsv1.CallResponse, error) {
	f.mu.Lock()
	call := f.call
	f.mu.Unlock()
	if call != nil {
		return call(ctx, r)
	}
	data, err := structpb.NewValue(map[string]any{"value": "84"})
	if err != nil {
		return nil, err
	}
	return &toolsv1.CallResponse{ConfigRevision: "t1", Result: &toolsv1.ToolResult{
		CallId: r.GetCallId(), Tool: r.GetTool(), Arguments: r.GetArguments(), Text: "12 * 7 = 84", Data: data,
	}}, nil
}

type fakeLLM struct {
	llmv1connect.UnimplementedLLMServiceHandler
	mu       sync.Mutex
	generate func(context.Context, *llmv1.GenerateRequest, *connect.ServerStream[llmv1.GenerateResponse]) error
	asked    []*llmv1.GenerateRequest
	ended    atomic.Int32
	deleted  []string
}

func (f *fakeLLM) DeleteWorkspace(_ context.Context, r *llmv1.DeleteWorkspaceRequest) (*llmv1.DeleteWorkspaceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, r.GetWorkspace())
	return &llmv1.DeleteWorkspaceResponse{}, nil
}

func (f *fakeLLM) Generate(ctx context.Context, r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse]) error {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	generate := f.generate
	f.mu.Unlock()
	defer f.ended.Add(1)
	if generate != nil {
		return generate(ctx, r, out)
	}
	return say(r, out, "The daily transfer limit is 50,000 dollars ", "[", "1", "]", ".")
}

func (f *fakeLLM) last() *llmv1.GenerateRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return nil
	}
	return f.asked[len(f.asked)-1]
}

// say streams a whole answer.
func say(r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse], pieces ...string) error {
	if err := begin(r, out, pieces...); err != nil {
		return err
	}
	return out.Send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Completed{Completed: &llmv1.Completed{
		FinishReason: llmv1.FinishReason_FINISH_REASON_STOP, Usage: &llmv1.Usage{PromptTokens: 100, CompletionTokens: 10},
	}}})
}

// begin streams an answer without its end.
func begin(r *llmv1.GenerateRequest, out *connect.ServerStream[llmv1.GenerateResponse], pieces ...string) error {
	started := &llmv1.Started{PromptId: "default", PromptHash: "hash", Model: "fake", Provider: "fake", ProviderModel: "fake-1", ConfigRevision: "g1"}
	for _, s := range r.GetSources() {
		started.SourceIds = append(started.SourceIds, s.GetId())
	}
	if err := out.Send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Started{Started: started}}); err != nil {
		return err
	}
	for _, p := range pieces {
		if err := out.Send(&llmv1.GenerateResponse{Event: &llmv1.GenerateResponse_Delta{Delta: &llmv1.Delta{Text: p}}}); err != nil {
			return err
		}
	}
	return nil
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func unavailable() error {
	return fault.New(fault.Unavailable, fault.ServiceUnavailable, "not now")
}

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s has not come about", what)
		}
	}
}
