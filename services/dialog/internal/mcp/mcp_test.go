package mcp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/ragmesh/ragmesh/libs/evidence"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/citing"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

const handbook = "0191a7c0-0000-5000-8000-000000000001"

// desk is everything behind the protocol, with one document in the workspace support.
type desk struct {
	asked    turn.Question
	searched turn.Search
	leave    func() // makes the caller go away; who asks waits for that
	ended    chan struct{}
}

func (d *desk) Ask(ctx context.Context, q turn.Question, sink turn.Sink) error {
	d.asked = q
	if d.leave != nil {
		d.leave()
		<-ctx.Done()
		close(d.ended)
		return ctx.Err()
	}
	if q.Text == "fail" {
		return sink(turn.Event{Failed: &turn.Ended{Turn: turn.Turn{Failure: &turn.Failure{Message: "No model answers."}}}})
	}
	return sink(turn.Event{Completed: &turn.Ended{Turn: turn.Turn{
		ID: "T1", Session: "S1", Outcome: turn.Answered, Answer: "Twelve euros [1].",
		Citations:    []turn.Citation{{Citation: citing.Citation{Marker: citing.Marker{Number: 1}, Quote: "12 euros", Support: evidence.Supported}, Title: "Fees", URI: "fees.md", DocumentID: handbook, SourceStart: 7, SourceEnd: 15}},
		Degradations: []turn.Degradation{{Stage: "tools", Message: "The tools did not answer."}},
	}}})
}

func (d *desk) Search(_ context.Context, s turn.Search) (turn.Found, error) {
	d.searched = s
	return turn.Found{Passages: []turn.Passage{{Text: "It costs 12 euros.", Title: "Fees", SourceURI: "fees.md", DocumentID: handbook, Start: 0, End: 18, Score: 2, Pages: []turn.PageRegion{{Page: 4}}}}}, nil
}

func (d *desk) List(_ context.Context, _, page string) ([]Document, string, error) {
	if page == "" {
		return []Document{{ID: handbook, Title: "Fees", SourceURI: "fees.md", TextBytes: 18}}, "2", nil
	}
	return []Document{{ID: "other", Title: "Other", SourceURI: "other.md"}}, "", nil
}

func (d *desk) Read(_ context.Context, _, document string, start, end uint64) (Text, error) {
	const whole = "It costs 12 euros."
	if document != handbook {
		return Text{}, fault.New(fault.NotFound, fault.DocumentNotFound, "there is no document %s", document)
	}
	if end == 0 || end > 10 {
		end = min(start+10, uint64(len(whole))) // a part at a time
	}
	return Text{Text: whole[start:end], Start: start, End: end, Total: uint64(len(whole)), Version: "v1"}, nil
}

// doors lets holders of the key in, and them into support alone.
type doors struct{}

func (doors) Admit(r *http.Request, _ Act, workspace string) (context.Context, Caller, error) {
	if r.Header.Get("Authorization") != "Bearer key" {
		return nil, Caller{}, fault.New(fault.Unauthenticated, fault.ReasonUnauthenticated, "this server wants an API key")
	}
	if workspace != "" && workspace != "support" {
		return nil, Caller{}, fault.New(fault.NotFound, fault.WorkspaceNotFound, "there is no workspace %q", workspace)
	}
	return r.Context(), Caller{Workspace: "support", User: "key:1"}, nil
}

func serve(t *testing.T, d *desk) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range New(Deps{Asker: d, Library: d, Gate: doors{}, Version: "test", Report: func(context.Context, error) {}}).Routes() {
		mux.HandleFunc(pattern, h)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

type withKey struct{ next http.RoundTripper }

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer key")
	return k.next.RoundTrip(r)
}

func connect(t *testing.T, s *httptest.Server, path string) *sdk.ClientSession {
	t.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{
		Endpoint: s.URL + path, HTTPClient: &http.Client{Transport: withKey{http.DefaultTransport}}, MaxRetries: -1,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func call(t *testing.T, s *sdk.ClientSession, tool string, arguments any) (string, bool, any) {
	t.Helper()
	result, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, c := range result.Content {
		if c, ok := c.(*sdk.TextContent); ok {
			text.WriteString(c.Text)
		}
	}
	return text.String(), result.IsError, result.StructuredContent
}

func TestTools(t *testing.T) {
	t.Parallel()
	d := &desk{}
	s := connect(t, serve(t, d), "/mcp/support")

	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		if tool.InputSchema == nil || tool.OutputSchema == nil || !tool.Annotations.ReadOnlyHint {
			t.Errorf("%s says too little of itself", tool.Name)
		}
	}
	if diff := cmp.Diff([]string{"ask", "read_document", "search"}, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}

	text, isError, structured := call(t, s, "ask", map[string]any{"question": "What does it cost?", "session_id": "S1"})
	if want := "Twelve euros [1].\n\nCitations:\n[1] Fees (fees.md), supported: \"12 euros\"\n\nNote: The tools did not answer."; text != want || isError {
		t.Errorf("ask says %q", text)
	}
	if diff := cmp.Diff(turn.Question{Workspace: "support", User: "key:1", Session: "S1", Text: "What does it cost?"}, d.asked); diff != "" {
		t.Errorf("question (-want +got):\n%s", diff)
	}
	data, err := json.Marshal(structured)
	if err != nil || !strings.Contains(string(data), `"document_id":"`+handbook+`"`) || !strings.Contains(string(data), `"session_id":"S1"`) {
		t.Errorf("structured content %s, %v", data, err)
	}

	if text, _, _ := call(t, s, "search", map[string]any{"query": "costs"}); !strings.Contains(text, "It costs 12 euros.") || d.searched.TopK != defaultTopK {
		t.Errorf("search %+v says %q", d.searched, text)
	}
	if text, _, _ := call(t, s, "read_document", map[string]any{"document_id": handbook, "start": 3, "end": 8}); text != "costs" {
		t.Errorf("read_document says %q", text)
	}
	for name, bad := range map[string]struct {
		tool      string
		arguments map[string]any
		says      string
	}{
		"no query":            {"search", map[string]any{"query": " "}, "say what to look for"},
		"too many":            {"search", map[string]any{"query": "x", "top_k": 1000}, "1 to 50"},
		"no such document":    {"read_document", map[string]any{"document_id": "x"}, "there is no document"},
		"end before start":    {"read_document", map[string]any{"document_id": handbook, "start": 5, "end": 5}, "end must be after start"},
		"a turn that failed":  {"ask", map[string]any{"question": "fail"}, "No model answers."},
		"unknown argument":    {"ask", map[string]any{"question": "x", "workspace": "other"}, "workspace"},
		"argument missing":    {"ask", map[string]any{}, "question"},
		"argument of no kind": {"search", map[string]any{"query": 1}, "query"},
	} {
		if text, isError, _ := call(t, s, bad.tool, bad.arguments); !isError || !strings.Contains(text, bad.says) {
			t.Errorf("%s: error %t, %q", name, isError, text)
		}
	}
}

func TestResources(t *testing.T) {
	t.Parallel()
	s := connect(t, serve(t, &desk{}), "/mcp")
	var listed []string
	for r, err := range s.Resources(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, r.URI+" "+r.Title)
	}
	if diff := cmp.Diff([]string{scheme + handbook + " Fees", scheme + "other Other"}, listed); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	got, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: scheme + handbook})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Contents) != 1 || got.Contents[0].Text != "It costs 12 euros." {
		t.Errorf("contents %+v", got.Contents)
	}
	for _, uri := range []string{scheme + "nothing", "file:///etc/passwd"} {
		if _, err := s.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s can be read", uri)
		}
	}
}

func TestNobodyComesInUnasked(t *testing.T) {
	t.Parallel()
	s := serve(t, &desk{})
	for name, test := range map[string]struct {
		path, key, body string
		status          int
	}{
		"no key":            {"/mcp", "", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, http.StatusUnauthorized},
		"wrong key":         {"/mcp", "Bearer other", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, http.StatusUnauthorized},
		"another workspace": {"/mcp/legal", "Bearer key", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, http.StatusNotFound},
		"too large":         {"/mcp", "Bearer key", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", maxBody) + `"}`, http.StatusRequestEntityTooLarge},
		"no JSON":           {"/mcp", "Bearer key", `{`, http.StatusBadRequest},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Authorization", test.key)
		response, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != test.status {
			t.Errorf("%s: status %d: %s", name, response.StatusCode, body)
		}
	}
}

func TestACallerThatGoesAwayEndsTheTurn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	d := &desk{leave: cancel, ended: make(chan struct{})}
	s := serve(t, d)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/mcp",
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{"question":"What?"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Authorization", "Bearer key")
	if response, err := s.Client().Do(r); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	select {
	case <-d.ended:
	case <-time.After(time.Minute):
		t.Fatal("the turn goes on for nobody")
	}
}
