// Package peer reaches the services a turn needs over their generated clients, in the domain's terms. Calls are made for the
// principal in the context; their errors are faults.
package peer

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/rpc"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/plan"
	"github.com/ragmesh/ragmesh/services/dialog/internal/record"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

var (
	_ turn.Retriever = (*Retriever)(nil)
	_ turn.Tools     = (*Tools)(nil)
	_ turn.Model     = (*Model)(nil)
	_ turn.Models    = (*Model)(nil)
)

// Retriever searches documents.
type Retriever struct {
	client retrieverv1connect.RetrieverServiceClient
}

// NewRetriever returns a Retriever over a connection.
func NewRetriever(c rpc.Conn) *Retriever {
	return &Retriever{client: retrieverv1connect.NewRetrieverServiceClient(c.HTTP, c.URL, c.Options...)}
}

// Search implements [turn.Retriever].
func (r *Retriever) Search(ctx context.Context, s turn.Search) (turn.Found, error) {
	request := &retrieverv1.SearchRequest{Workspace: s.Workspace, Query: s.Query, Strategy: s.Strategy, TopK: uint32(s.TopK)} // validated: at most 20
	if f := s.Filter; len(f.DocumentIDs)+len(f.SourcePrefixes)+len(f.Languages) > 0 {
		request.Filter = &retrieverv1.Filter{DocumentIds: f.DocumentIDs, SourcePrefixes: f.SourcePrefixes, Languages: f.Languages}
	}
	answer, err := r.client.Search(ctx, request)
	if err != nil {
		return turn.Found{}, err
	}
	found := turn.Found{
		Strategy: answer.GetStrategy(), Revision: answer.GetConfigRevision(), Candidates: int(answer.GetCandidates()), Sequence: answer.GetIndexSequence(),
		Degradations: record.FromDegradations(answer.GetDegradations()), Passages: make([]turn.Passage, 0, len(answer.GetPassages())),
	}
	for _, p := range answer.GetPassages() {
		found.Passages = append(found.Passages, record.FromPassage(p))
	}
	return found, nil
}

// uuid is what the contract takes as a document's id.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// maxCheck is how many documents the contract lets be asked about at once.
const maxCheck = 1000

// Readable implements [turn.Library].
func (r *Retriever) Readable(ctx context.Context, workspace string, documents []string) ([]string, error) {
	documents = slices.DeleteFunc(slices.Clone(documents), func(id string) bool { return !uuid.MatchString(id) }) // there is none of that name
	var readable []string
	for some := range slices.Chunk(documents, maxCheck) {
		answer, err := r.client.CheckDocuments(ctx, &retrieverv1.CheckDocumentsRequest{Workspace: workspace, DocumentIds: some})
		if err != nil {
			return nil, err
		}
		readable = append(readable, answer.GetReadableDocumentIds()...)
	}
	return readable, nil
}

const (
	// toolsFor is how long a list of tools is good.
	toolsFor = time.Minute
	// toolsAway is how long a failure to list them is remembered, so that a tools service that hangs costs one turn its
	// time and not every one.
	toolsAway = 3 * time.Second
	// toolsStale is how long a list serves while no newer one can be had: which tools there are changes seldom, and a call
	// says for itself when nobody answers it.
	toolsStale = 10 * time.Minute
	// maxWorkspaces bounds the lists that are kept.
	maxWorkspaces = 1000
)

// Tools lists and calls tools.
type Tools struct {
	client toolsv1connect.ToolsServiceClient
	now    func() time.Time

	mu    sync.Mutex
	lists map[string]list
}

type list struct {
	names []string
	err   error
	until time.Time
	stale time.Time // from when on the names are not to be relied on any more
}

// NewTools returns Tools over a connection.
func NewTools(c rpc.Conn, now func() time.Time) *Tools {
	return &Tools{client: toolsv1connect.NewToolsServiceClient(c.HTTP, c.URL, c.Options...), now: now, lists: map[string]list{}}
}

// Enabled implements [turn.Tools]. It answers from memory for a minute. While the tools service is away the last list it
// gave stays in use, after ten minutes beside the error.
func (t *Tools) Enabled(ctx context.Context, workspace string) ([]string, error) {
	t.mu.Lock()
	known, ok := t.lists[workspace]
	t.mu.Unlock()
	if ok && t.now().Before(known.until) {
		return known.names, known.err
	}
	answer, err := t.client.ListTools(ctx, &toolsv1.ListToolsRequest{Workspace: workspace})
	fresh := list{names: known.names, err: err, until: t.now().Add(toolsAway), stale: known.stale}
	if t.now().Before(known.stale) {
		fresh.err = nil
	}
	if err == nil {
		fresh = list{until: t.now().Add(toolsFor), stale: t.now().Add(toolsStale)}
		for _, tool := range answer.GetTools() {
			if !tool.GetSideEffects() { // those need an approval, which rules can't give
				fresh.names = append(fresh.names, tool.GetName())
			}
		}
	} else if errors.Is(ctx.Err(), context.Canceled) {
		return known.names, fresh.err // the caller went away; says nothing about the service
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lists) >= maxWorkspaces {
		clear(t.lists)
	}
	t.lists[workspace] = fresh
	return fresh.names, fresh.err
}

// Call implements [turn.Tools]. It may be made twice: without an approval, no tool with side effects runs.
func (t *Tools) Call(ctx context.Context, workspace string, call plan.Call) (turn.ToolResult, string, error) {
	arguments := record.Struct(call.Arguments)
	answer, err := t.client.Call(rpc.Repeatable(ctx), &toolsv1.CallRequest{Workspace: workspace, CallId: call.ID, Tool: call.Tool, Arguments: arguments})
	if err != nil {
		return turn.ToolResult{}, "", err
	}
	return record.FromToolResult(answer.GetResult()), answer.GetConfigRevision(), nil
}

const (
	// modelsFor is how long a list of models is good: a gateway that is configured anew is noticed within that.
	modelsFor = 10 * time.Second
	// modelsAway is how long a failure to list them is remembered.
	modelsAway = 3 * time.Second
)

// Model generates answers through the llm-gateway.
type Model struct {
	client llmv1connect.LLMServiceClient
	now    func() time.Time

	mu     sync.Mutex
	routes map[string]string // provider by model
	asked  error
	until  time.Time
}

// NewModel returns a Model over a connection.
func NewModel(c rpc.Conn, now func() time.Time) *Model {
	return &Model{client: llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...), now: now}
}

// extractive is the provider that is built into the gateway.
const extractive = "extractive"

// Real implements [turn.Models]. A model the gateway doesn't have is none.
func (m *Model) Real(ctx context.Context, name string) (bool, error) {
	m.mu.Lock()
	routes, err, fresh := m.routes, m.asked, m.now().Before(m.until)
	m.mu.Unlock()
	if !fresh {
		if routes, err = m.list(ctx); err != nil && errors.Is(ctx.Err(), context.Canceled) {
			return false, err // the caller went away; says nothing about the gateway
		}
		keep := modelsFor
		if err != nil {
			keep = modelsAway
		}
		m.mu.Lock()
		m.routes, m.asked, m.until = routes, err, m.now().Add(keep)
		m.mu.Unlock()
	}
	provider, ok := routes[name]
	return ok && provider != extractive, err
}

// list returns the provider of every model, of the default one by the empty name.
func (m *Model) list(ctx context.Context) (map[string]string, error) {
	answer, err := m.client.ListModels(ctx, &llmv1.ListModelsRequest{})
	if err != nil {
		return nil, err
	}
	routes := map[string]string{}
	for _, model := range answer.GetModels() {
		if kind := model.GetKind(); kind == llmv1.ModelKind_MODEL_KIND_CHAT || kind == llmv1.ModelKind_MODEL_KIND_UNSPECIFIED {
			routes[model.GetName()] = model.GetProvider()
		}
	}
	routes[""] = routes[answer.GetDefaultModel()]
	return routes, nil
}

// maxTokens is the most that the contract lets an answer be asked for.
const maxTokens = 32768

// Generate implements [turn.Model].
func (m *Model) Generate(ctx context.Context, g turn.Generate) (turn.Stream, error) {
	request := &llmv1.GenerateRequest{
		Workspace: g.Workspace, Question: g.Question, PromptId: g.PromptID, Model: g.Model, Language: g.Language,
		Instructions: g.Form.Instructions, MaxTokens: uint32(min(max(g.Form.MaxTokens, 0), maxTokens)),
		Temperature: g.Form.Temperature, TopP: g.Form.TopP, Stop: g.Form.Stop, Session: g.Session, Variables: g.Variables,
	}
	for _, h := range g.History {
		role := llmv1.Role_ROLE_USER
		if h.Assistant {
			role = llmv1.Role_ROLE_ASSISTANT
		}
		request.History = append(request.History, &llmv1.Message{Role: role, Content: h.Text})
	}
	for _, s := range g.Sources {
		source := record.Source(s)
		if p := source.GetPassage(); p != nil { // no model is shown how it was found, and where on a page it stands
			p.ScoreParts, p.Pages = nil, nil
		}
		request.Sources = append(request.Sources, source)
	}
	s, err := m.client.Generate(ctx, request)
	if err != nil {
		return nil, err
	}
	return stream{s}, nil
}

type stream struct {
	from *connect.ServerStreamForClient[llmv1.GenerateResponse]
}

// Next implements [turn.Stream].
func (s stream) Next() (turn.Part, error) {
	if !s.from.Receive() {
		if err := s.from.Err(); err != nil {
			return turn.Part{}, rpc.FromConnect(err)
		}
		return turn.Part{}, io.EOF
	}
	switch event := s.from.Msg().GetEvent().(type) {
	case *llmv1.GenerateResponse_Started:
		return turn.Part{Started: record.FromStarted(event.Started)}, nil
	case *llmv1.GenerateResponse_Delta:
		return turn.Part{Text: event.Delta.GetText()}, nil
	case *llmv1.GenerateResponse_Completed:
		return turn.Part{Completed: record.FromCompleted(event.Completed)}, nil
	default:
		return turn.Part{}, nil
	}
}

// Close implements [turn.Stream].
func (s stream) Close() error { return s.from.Close() }
