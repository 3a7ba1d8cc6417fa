package dialog_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1/toolsv1connect"
	"github.com/ragmesh/ragmesh/services/dialog"
)

// bootstrap turns authentication on with this key.
const bootstrap = "rmb_0123456789012345678901234567890123456789012"

func authenticated(t *testing.T) func(*dialog.Config) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bootstrap.key")
	if err := os.WriteFile(file, []byte(bootstrap+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(cfg *dialog.Config) { cfg.Auth.BootstrapKey = config.Secret{File: file} }
}

func TestKeysAndWorkspaces(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := t.Context()
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("chat without a key: %v", err)
	}
	m.as(t, bootstrap)
	if _, err := m.workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: "team", DisplayName: "The team"}); err != nil {
		t.Fatal(err)
	}
	made, err := m.keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{
		Name: "ask", Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER, Workspaces: []string{"team"}, Lifetime: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{Name: "x", Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER, Workspaces: []string{"nope"}}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("a key for no workspace: %v", err)
	}

	m.as(t, made.GetSecret())
	// The one workspace of the key is meant where none is named.
	if h := m.ask(t, &dialogv1.ChatRequest{Question: "hello"}); h.turn.GetWorkspace() != "team" || h.turn.GetUser() != "key:"+made.GetKey().GetKeyId() {
		t.Errorf("turn in %s by %s", h.turn.GetWorkspace(), h.turn.GetUser())
	}
	for _, other := range []string{"default", "nope"} {
		if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello", Workspace: other}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
			t.Errorf("chat in %s: %v", other, err)
		}
	}
	if _, err := m.keys.ListKeys(ctx, &dialogv1.ListKeysRequest{}); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("list keys as viewer: %v", err)
	}
	mine, err := m.workspaces.ListWorkspaces(ctx, &dialogv1.ListWorkspacesRequest{})
	if err != nil || len(mine.GetWorkspaces()) != 1 || mine.GetWorkspaces()[0].GetWorkspace() != "team" {
		t.Errorf("workspaces %v %v", mine, err)
	}

	m.as(t, bootstrap)
	keys, err := m.keys.ListKeys(ctx, &dialogv1.ListKeysRequest{})
	if err != nil || len(keys.GetKeys()) != 1 || strings.Contains(keys.String(), made.GetSecret()[20:]) {
		t.Errorf("keys %v %v", keys, err)
	}
	if _, err := m.keys.RevokeKey(ctx, &dialogv1.RevokeKeyRequest{KeyId: made.GetKey().GetKeyId()}); err != nil {
		t.Fatal(err)
	}
	m.as(t, made.GetSecret())
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("chat with a revoked key: %v", err)
	}
	want := []string{"key.create", "key.revoke", "workspace.create"}
	eventually(t, "the audit trail", func() bool { return cmp.Equal(want, m.audited(t)) })
}

// audited returns what the audit trail says was changed.
func (m *mesh) audited(t *testing.T) []string {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	const audits = "ragmesh.event.v1.audit.>"
	newest, err := m.bus.Last(t.Context(), bus.Events, audits)
	if err != nil {
		return nil // none yet
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_ = m.bus.Consume(ctx, bus.Consumer{Stream: bus.Events, Durable: "test-" + time.Now().Format("150405.000000000")[7:], Subject: audits, AckWait: time.Minute, MaxInFlight: 1},
		func(_ context.Context, msg bus.Message) error {
			var e eventv1.Audited
			mu.Lock()
			defer mu.Unlock()
			if err := proto.Unmarshal(msg.Data, &e); err == nil && e.GetAllowed() {
				seen[e.GetAction()] = true
			}
			if msg.Sequence >= newest.Sequence {
				cancel()
			}
			return nil
		})
	mu.Lock()
	defer mu.Unlock()
	var out []string
	for _, action := range []string{"key.create", "key.revoke", "member.remove", "member.set", "workspace.create", "workspace.delete"} {
		if seen[action] {
			out = append(out, action)
		}
	}
	return out
}

func TestServiceTokens(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := identity.NewContext(t.Context(), identity.Background(identity.Eval, "default"))
	as := func(service string) rpc.Conn {
		signer, err := m.identity.Signer(service, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn := rpc.Dial(m.target, rpc.ClientOptions{Telemetry: telemetry.Nop(service), Signer: signer, Audience: identity.Dialog, Retries: -1})
		t.Cleanup(conn.Close)
		return conn
	}
	conn := as(identity.Eval)
	m.chat = dialogv1connect.NewDialogServiceClient(conn.HTTP, conn.URL, conn.Options...)
	h, err := m.try(ctx, &dialogv1.ChatRequest{Question: limitQuestion})
	if err != nil || h.turn.GetUser() != "eval" {
		t.Fatalf("eval asks: %v", err)
	}
	if _, err := m.chat.ListSessions(ctx, &dialogv1.ListSessionsRequest{}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("eval lists sessions: %v", err)
	}
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "x", Workspace: "other"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("eval asks in a workspace its token is not for: %v", err)
	}
	conn = as(identity.Retriever)
	m.chat = dialogv1connect.NewDialogServiceClient(conn.HTTP, conn.URL, conn.Options...)
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "x"}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("retriever asks: %v", err)
	}
}

func TestPassThrough(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx := t.Context()
	c := m.conn
	retriever := retrieverv1connect.NewRetrieverServiceClient(c.HTTP, c.URL, c.Options...)
	found, err := retriever.Search(ctx, &retrieverv1.SearchRequest{Query: "limit"})
	if err != nil || len(found.GetPassages()) != 2 {
		t.Errorf("search: %v %v", found, err)
	}
	if _, err := retriever.GetDocument(ctx, &retrieverv1.GetDocumentRequest{DocumentId: "0a0a0a0a-0000-5000-8000-000000000001"}); fault.KindOf(err) != fault.Unimplemented {
		t.Errorf("an error behind: %v", err)
	}
	if _, err := retriever.Search(ctx, &retrieverv1.SearchRequest{}); fault.ReasonOf(err) != fault.InvalidRequest {
		t.Errorf("an empty query: %v", err)
	}
	tools := toolsv1connect.NewToolsServiceClient(c.HTTP, c.URL, c.Options...)
	if list, err := tools.ListTools(ctx, &toolsv1.ListToolsRequest{}); err != nil || len(list.GetTools()) != 3 {
		t.Errorf("list tools: %v %v", list, err)
	}
	llm := llmv1connect.NewLLMServiceClient(c.HTTP, c.URL, c.Options...)
	if _, err := llm.RenderPrompt(ctx, &llmv1.RenderPromptRequest{Generate: &llmv1.GenerateRequest{Workspace: "nope", Question: "x"}}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("render a prompt in another workspace: %v", err)
	}
	if _, err := llm.RenderPrompt(ctx, &llmv1.RenderPromptRequest{Generate: &llmv1.GenerateRequest{Question: "x"}}); fault.KindOf(err) != fault.Unimplemented {
		t.Errorf("render a prompt: %v", err)
	}
	eval := evalv1connect.NewEvalServiceClient(c.HTTP, c.URL, c.Options...)
	if _, err := eval.GetTrace(ctx, &evalv1.GetTraceRequest{TurnId: "x"}); fault.KindOf(err) != fault.Unimplemented {
		t.Errorf("trace: %v", err)
	}

	_, callErr := tools.Call(ctx, &toolsv1.CallRequest{CallId: "1", Tool: "calculator"})
	_, embedErr := llm.Embed(ctx, &llmv1.EmbedRequest{Texts: []string{"x"}})
	stream, generateErr := llm.Generate(ctx, &llmv1.GenerateRequest{Question: "x"})
	if generateErr == nil {
		stream.Receive()
		generateErr = stream.Err()
		_ = stream.Close()
	}
	for name, err := range map[string]error{"call a tool": callErr, "embed": embedErr, "generate": generateErr} {
		if fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchPassesThroughAndEnds(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	retriever := retrieverv1connect.NewRetrieverServiceClient(m.conn.HTTP, m.conn.URL, m.conn.Options...)
	stream, err := retriever.Watch(ctx, &retrieverv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() || stream.Msg().GetDeleted() != "default" {
		t.Fatalf("got %v, %v", stream.Msg(), stream.Err())
	}
	cancel()
	_ = stream.Close()
	eventually(t, "the end of the watch behind", func() bool { return m.retriever.ended.Load() == 1 })
}

// TestPlainJSON asks as curl and as a browser would.
func TestPlainJSON(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(host, origin, body string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.addr+"/ragmesh.dialog.v1.DialogService/ListSessions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer sk-anything")
		if origin != "" {
			request.Header.Set("Origin", origin)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var b strings.Builder
		buffer := make([]byte, 4096)
		for {
			n, err := response.Body.Read(buffer)
			b.Write(buffer[:n])
			if err != nil {
				break
			}
		}
		return response.StatusCode, b.String()
	}
	tests := map[string]struct {
		host, origin, body string
		status             int
		says               string
	}{
		"local":             {"localhost:8080", "", "{}", http.StatusOK, "{}"},
		"same origin":       {"localhost:8080", "http://localhost:8080", "{}", http.StatusOK, "{}"},
		"DNS rebinding":     {"evil.example:8080", "", "{}", http.StatusForbidden, "CROSS_SITE"},
		"cross-site post":   {"localhost:8080", "http://evil.example", "{}", http.StatusForbidden, "CROSS_SITE"},
		"unknown workspace": {"localhost:8080", "", `{"workspace":"nope"}`, http.StatusNotFound, "WORKSPACE_NOT_FOUND"},
		"bad workspace":     {"localhost:8080", "", `{"workspace":"../x"}`, http.StatusNotFound, "WORKSPACE_NOT_FOUND"},
		"bad json":          {"localhost:8080", "", `{`, http.StatusBadRequest, "invalid_argument"},
	}
	for name, tc := range tests {
		status, body := post(tc.host, tc.origin, tc.body)
		if status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	load := func(yaml string) error {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "dialog.yaml"), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load("dialog", dialog.Defaults(), config.Source{Dir: dir})
		return err
	}
	good := `
rpc: {addr: "0.0.0.0:8080"}
auth: {bootstrap_key: {env: KEY}}
turn: {top_k: 5, budget: {retrieve: 1s}}
intents:
  - name: rate
    patterns: ['rate of (?P<currency>[a-z]{3})']
    keywords: [汇率]
    tool: rates
    arguments: {currency: $currency}
    retrieve: false
`
	if err := load(good); err != nil {
		t.Error(err)
	}
	for name, yaml := range map[string]string{
		"wide and open":   `rpc: {addr: "0.0.0.0:8080"}`,
		"unknown key":     `turns: {}`,
		"out of bounds":   `turn: {top_k: 500}`,
		"bad pattern":     `intents: [{name: a, patterns: ["("]}]`,
		"bad peer":        `peers: {retriever: "ftp://x"}`,
		"secret in clear": `auth: {bootstrap_key: "hunter2"}`,
	} {
		if err := load(yaml); err == nil || !strings.Contains(err.Error(), "dialog.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
