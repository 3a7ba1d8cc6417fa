package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/cli"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command as a script would: no terminal, and an environment of its own.
func run(t *testing.T, ctx context.Context, stdin string, args ...string) result { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	return runEnv(ctx, nil, stdin, args...)
}

func runEnv(ctx context.Context, environ []string, stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := cli.Run(ctx, cli.Environment{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Environ: environ, Interruptible: context.WithCancel,
	})
	return result{code, stdout.String(), stderr.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s; run with -update if that is meant (-want +got):\n%s", path, diff)
	}
}

// edge is a server that knows one workspace, "bank", one turn and a few documents.
type edge struct {
	dialogv1connect.UnimplementedDialogServiceHandler
	dialogv1connect.UnimplementedWorkspaceServiceHandler
	dialogv1connect.UnimplementedKeyServiceHandler
	retrieverv1connect.UnimplementedRetrieverServiceHandler
	evalv1connect.UnimplementedEvalServiceHandler

	mu        sync.Mutex
	key       string // asked for when not empty
	asked     []*dialogv1.ChatRequest
	documents []*retrieverv1.Document
	deleted   []string // source URIs
	uploads   map[string]*retrieverv1.CreateUploadRequest
	parts     map[string]string
	judged    []*dialogv1.SendFeedbackRequest
	// stop is told of turns to stop, chat answers instead of the edge; nil for neither.
	stop func(turn string)
	chat func(context.Context, *dialogv1.ChatRequest, *connect.ServerStream[dialogv1.ChatResponse]) error
}

// serve returns the edge's address.
func serve(t *testing.T, e *edge) string {
	t.Helper()
	e.uploads, e.parts = map[string]*retrieverv1.CreateUploadRequest{}, map[string]string{}
	mux := http.NewServeMux()
	check := connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if e.key != "" && req.Header().Get("Authorization") != "Bearer "+e.key {
				return nil, rpc.ToConnect(fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "give an API key"))
			}
			if r, ok := req.Any().(interface{ GetWorkspace() string }); ok && r.GetWorkspace() != "bank" && !strings.HasPrefix(r.GetWorkspace(), "eval-") {
				return nil, rpc.ToConnect(fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no such workspace"))
			}
			resp, err := next(ctx, req)
			if err != nil {
				return nil, rpc.ToConnect(err)
			}
			return resp, nil
		}
	}))
	mux.Handle(dialogv1connect.NewDialogServiceHandler(e, check))
	mux.Handle(dialogv1connect.NewWorkspaceServiceHandler(e, check))
	mux.Handle(dialogv1connect.NewKeyServiceHandler(e, check))
	mux.Handle(retrieverv1connect.NewRetrieverServiceHandler(retriever{e}, check))
	mux.Handle(evalv1connect.NewEvalServiceHandler(e, check))
	mux.Handle(llmv1connect.NewLLMServiceHandler(models{}, check))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func passage() *retrieverv1.Passage {
	return &retrieverv1.Passage{
		ChunkId: "c1", DocumentId: "d1", SourceUri: "docs/fees.md", Title: "Card fees", HeadingPath: []string{"Card fees", "Replacement"},
		Range: &retrieverv1.ByteRange{Start: 120, End: 190}, Text: "A replacement card costs 5 EUR.\nExpress delivery costs another 15 EUR. \x1b[31mred\x1b[0m", Score: 12.34567,
	}
}

func turn(question string) *dialogv1.Turn {
	stage := func(name, service string, offset, took time.Duration, status string) *dialogv1.StageRecord {
		return &dialogv1.StageRecord{Name: name, Service: service, Offset: durationpb.New(offset), Duration: durationpb.New(took), Status: status}
	}
	const ms = time.Millisecond
	t := &dialogv1.Turn{
		TurnId: "01JD00000000000000000000T1", SessionId: "01JD00000000000000000000S1", Workspace: "bank", Question: question,
		StandaloneQuestion: "What does a replacement card cost?", Outcome: dialogv1.Outcome_OUTCOME_ANSWERED,
		Sources: []*llmv1.Source{{Number: 1, Id: "c1", Kind: &llmv1.Source_Passage{Passage: passage()}}},
		Answer:  "A replacement card costs 5 EUR. [1]",
		Citations: []*dialogv1.Citation{{
			Number: 1, SourceId: "c1", Quote: "A replacement card costs 5 EUR.", SourceRange: &retrieverv1.ByteRange{Start: 120, End: 151},
			Support: dialogv1.Support_SUPPORT_SUPPORTED, Title: "Card fees", SourceUri: "docs/fees.md",
		}},
		Degradations: []*retrieverv1.Degradation{{Stage: "tools", Reason: "timeout", Message: "The tools did not answer in time."}},
		Stages: []*dialogv1.StageRecord{
			stage("rewrite", "dialog", 0, 1*ms, "ok"), stage("plan", "dialog", 1*ms, 2*ms, "ok"), stage("retrieve", "retriever", 3*ms, 40*ms, "ok"),
			stage("tool", "tools", 3*ms, 90*ms, "failed"), stage("generate", "llm-gateway", 95*ms, 30*ms, "ok"), stage("save", "dialog", 126*ms, 3*ms, "ok"),
		},
		Generation: &llmv1.Started{PromptId: "default", PromptRevision: "abc123", Model: "extractive", Provider: "extractive"},
		Usage:      &llmv1.Usage{PromptTokens: 300, CompletionTokens: 12},
		StartedAt:  timestamppb.New(noon), CompletedAt: timestamppb.New(noon.Add(130 * ms)), TimeToFirstToken: durationpb.New(101 * ms),
	}
	t.Stages[2].InputJson, t.Stages[2].OutputJson = `{"query":"What does a replacement card cost?","top_k":8}`, `{"passages":[{"id":"c1","score":12.3}]}`
	t.Stages[3].Error, t.Stages[3].OutputJson = "the tool did not answer in time", `{"cut":"in the mid`
	return t
}

func (e *edge) Chat(ctx context.Context, req *dialogv1.ChatRequest, stream *connect.ServerStream[dialogv1.ChatResponse]) error {
	e.mu.Lock()
	e.asked = append(e.asked, req)
	e.mu.Unlock()
	if e.chat != nil {
		return e.chat(ctx, req, stream)
	}
	send := func(events ...*dialogv1.ChatResponse) error {
		for i, event := range events {
			event.Seq = uint64(i + 1)
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		return nil
	}
	delta := func(text string) *dialogv1.ChatResponse {
		return &dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Delta{Delta: &llmv1.Delta{Text: text}}}
	}
	begin := &dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Started{Started: &dialogv1.ChatStarted{TurnId: "01JD00000000000000000000T1"}}}
	switch {
	case req.GetWorkspace() != "bank":
		return rpc.ToConnect(fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no such workspace"))
	case strings.Contains(req.GetQuestion(), "fail"):
		return send(begin, delta("A repl"), &dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Failed{Failed: &dialogv1.ChatFailed{
			Reason: "SERVICE_UNAVAILABLE", Message: "no service answers; try again",
		}}})
	case strings.Contains(req.GetQuestion(), "again"):
		return send(begin, delta("A repl"), &dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Restarted{Restarted: &dialogv1.ChatRestarted{Reason: "SERVICE_UNAVAILABLE"}}},
			delta("A replacement card costs 5 EUR."),
			&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Completed{Completed: &dialogv1.ChatCompleted{Turn: turn(req.GetQuestion()), Stored: dialogv1.Stored_STORED_STREAM}}})
	case strings.Contains(req.GetQuestion(), "cut"):
		return send(begin, delta("A repl")) // and no last event
	default:
		return send(begin, delta("A replacement card "), delta("costs 5 EUR.\x1b[2J [1]"), &dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Heartbeat{}},
			&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Completed{Completed: &dialogv1.ChatCompleted{Turn: turn(req.GetQuestion()), Stored: dialogv1.Stored_STORED_STREAM}}})
	}
}

func (e *edge) CreateWorkspace(_ context.Context, req *dialogv1.CreateWorkspaceRequest) (*dialogv1.CreateWorkspaceResponse, error) {
	return &dialogv1.CreateWorkspaceResponse{Workspace: &dialogv1.Workspace{Workspace: req.GetWorkspace()}}, nil
}

func (e *edge) CreateKey(_ context.Context, req *dialogv1.CreateKeyRequest) (*dialogv1.CreateKeyResponse, error) {
	return &dialogv1.CreateKeyResponse{Key: key(req.GetName(), req.GetRole()), Secret: "rmk_secret"}, nil
}

func key(name string, role dialogv1.AccessRole) *dialogv1.Key {
	return &dialogv1.Key{KeyId: "k1", Name: name, Role: role, CreatedAt: timestamppb.New(noon)}
}

func (e *edge) RotateKey(_ context.Context, req *dialogv1.RotateKeyRequest) (*dialogv1.RotateKeyResponse, error) {
	old, made := key("mine", dialogv1.AccessRole_ACCESS_ROLE_ADMIN), key("mine", dialogv1.AccessRole_ACCESS_ROLE_ADMIN)
	made.KeyId, old.ReplacedBy = "k3", "k3"
	old.ExpiresAt = timestamppb.New(old.GetCreatedAt().AsTime().Add(req.GetOverlap().AsDuration()))
	return &dialogv1.RotateKeyResponse{Key: made, Secret: "rmk_secret", Replaced: old}, nil
}

func (e *edge) ListKeys(context.Context, *dialogv1.ListKeysRequest) (*dialogv1.ListKeysResponse, error) {
	revoked := key("机器人", dialogv1.AccessRole_ACCESS_ROLE_VIEWER)
	revoked.KeyId, revoked.Workspaces, revoked.RevokedAt = "k2", []string{"bank", "shop"}, timestamppb.New(noon)
	return &dialogv1.ListKeysResponse{Keys: []*dialogv1.Key{key("mine", dialogv1.AccessRole_ACCESS_ROLE_ADMIN), revoked}}, nil
}

func (e *edge) RevokeKey(_ context.Context, req *dialogv1.RevokeKeyRequest) (*dialogv1.RevokeKeyResponse, error) {
	if req.GetKeyId() != "k1" {
		return nil, fault.New(fault.NotFound, fault.KeyNotFound, "there is no key %s", req.GetKeyId())
	}
	return &dialogv1.RevokeKeyResponse{Key: key("mine", dialogv1.AccessRole_ACCESS_ROLE_ADMIN)}, nil
}

func (e *edge) GetTrace(_ context.Context, req *evalv1.GetTraceRequest) (*evalv1.GetTraceResponse, error) {
	t := turn("And a replacement?")
	if req.GetTurnId() != t.GetTurnId() {
		return nil, fault.New(fault.NotFound, fault.TurnNotFound, "no such turn in this workspace")
	}
	span := func(id, parent, service, name string, offset, took time.Duration) *evalv1.Span {
		return &evalv1.Span{SpanId: id, ParentSpanId: parent, Service: service, Name: name, Offset: durationpb.New(offset), Duration: durationpb.New(took), Status: "ok"}
	}
	const ms = time.Millisecond
	lost := span("e", "z", "tools", "ragmesh.tools.v1.ToolsService/Call", 4*ms, 88*ms)
	lost.Status, lost.Error = "error", "the tool did not answer in time"
	return &evalv1.GetTraceResponse{Turn: t, Spans: []*evalv1.Span{
		span("a", "", "dialog", "ragmesh.dialog.v1.DialogService/Chat", 0, 130*ms), span("b", "a", "dialog", "ragmesh.retriever.v1.RetrieverService/Search", 3*ms, 40*ms),
		span("c", "b", "retriever", "ragmesh.retriever.v1.RetrieverService/Search", 4*ms, 38*ms), lost,
	}}, nil
}

func (e *edge) ListTraces(context.Context, *evalv1.ListTracesRequest) (*evalv1.ListTracesResponse, error) {
	return &evalv1.ListTracesResponse{Traces: []*evalv1.TraceSummary{{TurnId: turn("").GetTurnId()}}}, nil
}

// retriever is the edge's documents; DeleteWorkspace is in two of its services, so they can't be one type.
type retriever struct{ *edge }

func (r retriever) DeleteWorkspace(context.Context, *retrieverv1.DeleteWorkspaceRequest) (*retrieverv1.DeleteWorkspaceResponse, error) {
	return nil, fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "not here")
}

func (e *edge) DeleteWorkspace(context.Context, *dialogv1.DeleteWorkspaceRequest) (*dialogv1.DeleteWorkspaceResponse, error) {
	return &dialogv1.DeleteWorkspaceResponse{}, nil
}

func (e *edge) ListWorkspaces(context.Context, *dialogv1.ListWorkspacesRequest) (*dialogv1.ListWorkspacesResponse, error) {
	return &dialogv1.ListWorkspacesResponse{Workspaces: []*dialogv1.Workspace{
		{Workspace: "bank", DisplayName: "银行", CreatedAt: timestamppb.New(noon), SessionRetention: durationpb.New(720 * time.Hour)}, {Workspace: "default", DisplayName: "Default"},
	}}, nil
}

func (e *edge) UpdateWorkspace(_ context.Context, req *dialogv1.UpdateWorkspaceRequest) (*dialogv1.UpdateWorkspaceResponse, error) {
	ws := &dialogv1.Workspace{Workspace: req.GetWorkspace(), DisplayName: "The bank", SessionRetention: req.GetSessionRetention()}
	if req.DisplayName != nil {
		ws.DisplayName = req.GetDisplayName()
	}
	return &dialogv1.UpdateWorkspaceResponse{Workspace: ws}, nil
}

func (e *edge) ListMembers(context.Context, *dialogv1.ListMembersRequest) (*dialogv1.ListMembersResponse, error) {
	return &dialogv1.ListMembersResponse{Members: []*dialogv1.Member{
		{Member: "group:support", Role: dialogv1.AccessRole_ACCESS_ROLE_EDITOR, AddedAt: timestamppb.New(noon), AddedBy: "user:ann"},
		{Member: "service:importer", Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER, AddedAt: timestamppb.New(noon), AddedBy: "bootstrap"},
	}}, nil
}

func (e *edge) SetMember(_ context.Context, req *dialogv1.SetMemberRequest) (*dialogv1.SetMemberResponse, error) {
	return &dialogv1.SetMemberResponse{Member: &dialogv1.Member{Member: req.GetMember(), Role: req.GetRole()}}, nil
}

func (e *edge) RemoveMember(_ context.Context, req *dialogv1.RemoveMemberRequest) (*dialogv1.RemoveMemberResponse, error) {
	if req.GetMember() != "group:support" {
		return nil, fault.New(fault.NotFound, fault.MemberNotFound, "%s is not a member of this workspace", req.GetMember())
	}
	return &dialogv1.RemoveMemberResponse{}, nil
}

func (e *edge) SetDocumentAccess(_ context.Context, req *retrieverv1.SetDocumentAccessRequest) (*retrieverv1.SetDocumentAccessResponse, error) {
	for _, d := range e.documents {
		if d.GetDocumentId() == req.GetDocumentId() {
			return &retrieverv1.SetDocumentAccessResponse{Document: &retrieverv1.Document{DocumentId: d.GetDocumentId(), SourceUri: d.GetSourceUri(), Access: req.GetAccess()}}, nil
		}
	}
	return nil, fault.New(fault.NotFound, fault.DocumentNotFound, "there is no such document")
}

func (e *edge) Search(_ context.Context, req *retrieverv1.SearchRequest) (*retrieverv1.SearchResponse, error) {
	resp := &retrieverv1.SearchResponse{Strategy: "default", ConfigRevision: "rev"}
	if strings.HasPrefix(req.GetWorkspace(), "eval-") {
		for _, d := range e.documents {
			resp.Passages = append(resp.Passages, &retrieverv1.Passage{SourceUri: d.GetSourceUri(), Score: 1})
		}
		return resp, nil
	}
	if req.GetQuery() != "nothing" {
		resp.Passages = []*retrieverv1.Passage{passage()}
	}
	resp.Degradations = []*retrieverv1.Degradation{{Stage: "embed", Reason: "keyword_only", Message: "No embedding model is configured."}}
	return resp, nil
}

func (e *edge) CreateUpload(_ context.Context, req *retrieverv1.CreateUploadRequest) (*retrieverv1.CreateUploadResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uploads[req.GetSourceUri()] = req
	return &retrieverv1.CreateUploadResponse{UploadId: req.GetSourceUri(), PartSizeBytes: 1 << 20, PartCount: uint32(min(req.GetSizeBytes(), 1))}, nil
}

func (e *edge) PutPart(_ context.Context, req *retrieverv1.PutPartRequest) (*retrieverv1.PutPartResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parts[req.GetUploadId()] = string(req.GetData())
	return &retrieverv1.PutPartResponse{}, nil
}

func (e *edge) CommitUpload(_ context.Context, req *retrieverv1.CommitUploadRequest) (*retrieverv1.CommitUploadResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	up := e.uploads[req.GetUploadId()]
	d := &retrieverv1.Document{
		DocumentId: fmt.Sprintf("0198f000-0000-7000-8000-%012d", len(e.uploads)), SourceUri: up.GetSourceUri(), Title: up.GetTitle(),
		State: retrieverv1.DocumentState_DOCUMENT_STATE_READY, Version: up.GetSha256(), LiveVersion: up.GetSha256(), ChunkCount: 2,
	}
	if strings.Contains(e.parts[req.GetUploadId()], "poison") {
		d.State = retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
		d.Failure = &retrieverv1.Failure{Stage: retrieverv1.Stage_STAGE_PARSE, Reason: "MALFORMED_DOCUMENT", Message: "The document could not be read."}
	}
	e.documents = append(slices.DeleteFunc(slices.Clone(e.documents), func(old *retrieverv1.Document) bool { return old.GetSourceUri() == d.GetSourceUri() }), d)
	return &retrieverv1.CommitUploadResponse{Document: d}, nil
}

func (e *edge) PutDocument(ctx context.Context, req *retrieverv1.PutDocumentRequest) (*retrieverv1.PutDocumentResponse, error) {
	e.mu.Lock()
	e.uploads[req.GetSourceUri()] = &retrieverv1.CreateUploadRequest{
		SourceUri: req.GetSourceUri(), Title: req.GetTitle(), ContentType: req.GetContentType(), Sha256: req.GetSha256(), SizeBytes: uint64(len(req.GetData())), Access: req.GetAccess(),
	}
	e.parts[req.GetSourceUri()] = string(req.GetData())
	e.mu.Unlock()
	resp, err := e.CommitUpload(ctx, &retrieverv1.CommitUploadRequest{UploadId: req.GetSourceUri()})
	return &retrieverv1.PutDocumentResponse{Document: resp.GetDocument()}, err
}

func (e *edge) ListDocuments(_ context.Context, req *retrieverv1.ListDocumentsRequest) (*retrieverv1.ListDocumentsResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	resp := &retrieverv1.ListDocumentsResponse{Queue: &retrieverv1.Queue{Failed: 1}}
	if req.GetState() == 0 {
		resp.Queue = &retrieverv1.Queue{Documents: 1200, Bytes: 3 << 20, DocumentsPerSecond: 85.4321, EtaSeconds: 75, Retrying: 3}
	}
	for _, d := range e.documents {
		if strings.HasPrefix(d.GetSourceUri(), req.GetSourcePrefix()) && (req.GetState() == 0 || req.GetState() == d.GetState()) {
			resp.Documents = append(resp.Documents, d)
		}
	}
	return resp, nil
}

func (e *edge) GetDocument(_ context.Context, req *retrieverv1.GetDocumentRequest) (*retrieverv1.GetDocumentResponse, error) {
	for _, d := range e.documents {
		if d.GetDocumentId() == req.GetDocumentId() {
			return &retrieverv1.GetDocumentResponse{Document: d}, nil
		}
	}
	return nil, fault.New(fault.NotFound, fault.DocumentNotFound, "there is no such document")
}

func (e *edge) RetryDocuments(_ context.Context, req *retrieverv1.RetryDocumentsRequest) (*retrieverv1.RetryDocumentsResponse, error) {
	if len(req.GetDocumentIds()) > 0 {
		return &retrieverv1.RetryDocumentsResponse{Retried: uint32(len(req.GetDocumentIds()))}, nil
	}
	return &retrieverv1.RetryDocumentsResponse{Retried: 2, Permanent: 1}, nil
}

func (e *edge) ReadDocument(context.Context, *retrieverv1.ReadDocumentRequest) (*retrieverv1.ReadDocumentResponse, error) {
	return &retrieverv1.ReadDocumentResponse{Text: "the \x1b]0;title\x07text", Range: &retrieverv1.ByteRange{End: 8}, TotalBytes: 8}, nil
}

func (e *edge) DeleteDocument(_ context.Context, req *retrieverv1.DeleteDocumentRequest) (*retrieverv1.DeleteDocumentResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, d := range e.documents {
		if d.GetDocumentId() == req.GetDocumentId() {
			e.deleted = append(e.deleted, d.GetSourceUri())
			e.documents = slices.Delete(slices.Clone(e.documents), i, i+1)
			break
		}
	}
	return &retrieverv1.DeleteDocumentResponse{RemovedChunks: 3}, nil
}
