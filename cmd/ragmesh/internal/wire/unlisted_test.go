package wire_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

// TestUnlistedCallers asks for a document that names its readers by every protocol of the edge, as one of them and as somebody
// else.
func TestUnlistedCallers(t *testing.T) {
	t.Parallel()
	const bootstrap, canary = "0123456789012345678901234567890123456789", "canary4711"
	file := filepath.Join(t.TempDir(), "bootstrap.key")
	if err := os.WriteFile(file, []byte(bootstrap), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Settings = load(t, settings.Source{Set: map[string]map[string]string{"dialog": {
		"rpc.addr": "127.0.0.1:0", "admin.addr": "127.0.0.1:0", "auth.bootstrap_key.file": file,
	}}})
	started := make(chan net.Addr, 1)
	o.Started = func(edge, _ net.Addr) { started <- edge }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- wire.Up(ctx, o) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Up = %v", err)
		}
	}()
	server := "http://" + awaited(t, started, done).String()
	c, err := client.New(client.Options{Server: server, APIKey: bootstrap})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	keys := map[string]string{}
	for _, name := range []string{"alice", "bob"} {
		if _, err := c.Workspaces.SetMember(ctx, &dialogv1.SetMemberRequest{Workspace: "default", Member: "service:" + name, Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER}); err != nil {
			t.Fatal(err)
		}
		made, err := c.Keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{
			Name: name, Role: dialogv1.AccessRole_ACCESS_ROLE_VIEWER, Workspaces: []string{"default"}, ServiceAccount: name,
		})
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = made.GetSecret()
	}
	results, err := ingest.New(c.Retriever, ingest.Options{Workspace: "default", Readers: []string{"service:alice"}}).Run(ctx, []ingest.Item{
		ingest.Text("secret.txt", "Walrus", "The walrus budget is "+canary+" euros."),
	})
	if err != nil || len(results) != 1 || results[0].Failed() {
		t.Fatalf("ingest: %+v, %v", results, err)
	}
	document := results[0].Document.GetDocumentId()
	mcp := func(method string, params map[string]any) string {
		params["_meta"] = map[string]any{}
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	tool := func(name string, arguments map[string]any) string {
		return mcp("tools/call", map[string]any{"name": name, "arguments": arguments})
	}
	const question = "What is the walrus budget?"
	for name, r := range map[string]struct{ path, body string }{
		"Search":            {"/ragmesh.retriever.v1.RetrieverService/Search", `{"query":"walrus budget"}`},
		"ReadDocument":      {"/ragmesh.retriever.v1.RetrieverService/ReadDocument", `{"documentId":"` + document + `"}`},
		"chat/completions":  {"/v1/chat/completions", `{"model":"default","messages":[{"role":"user","content":"` + question + `"}]}`},
		"streamed":          {"/v1/chat/completions", `{"model":"default","stream":true,"messages":[{"role":"user","content":"` + question + `"}]}`},
		"MCP ask":           {"/mcp", tool("ask", map[string]any{"question": question})},
		"MCP search":        {"/mcp", tool("search", map[string]any{"query": "walrus budget"})},
		"MCP read_document": {"/mcp", tool("read_document", map[string]any{"document_id": document})},
		"MCP resource":      {"/mcp", mcp("resources/read", map[string]any{"uri": "ragmesh://documents/" + document})},
		"MCP resources":     {"/mcp", mcp("resources/list", map[string]any{})},
	} {
		for who, key := range keys {
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, server+r.path, strings.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			for header, value := range map[string]string{
				"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18",
			} {
				request.Header.Set(header, value)
			}
			response, err := (&http.Client{Timeout: time.Minute}).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			said := string(body)
			if name != "MCP resources" { // which names documents only
				if found := strings.Contains(said, canary); found != (who == "alice") {
					t.Errorf("%s as %s: %s %.600s", name, who, response.Status, said)
				}
			}
			asked := name == "ReadDocument" || strings.HasPrefix(name, "MCP re") // the request names it
			if !asked && who == "bob" && (strings.Contains(said, document) || strings.Contains(said, "secret.txt")) {
				t.Errorf("%s tells bob of the document: %.600s", name, said)
			}
			if name == "MCP resources" && strings.Contains(said, "secret.txt") != (who == "alice") {
				t.Errorf("%s as %s: %.600s", name, who, said)
			}
		}
	}
}
