package dialog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
	"github.com/ragmesh/ragmesh/services/dialog"
)

const (
	viewer = dialogv1.AccessRole_ACCESS_ROLE_VIEWER
	editor = dialogv1.AccessRole_ACCESS_ROLE_EDITOR
	admin  = dialogv1.AccessRole_ACCESS_ROLE_ADMIN
)

func (m *mesh) makeKey(t *testing.T, r *dialogv1.CreateKeyRequest) *dialogv1.CreateKeyResponse {
	t.Helper()
	r.Name = t.Name()
	made, err := m.keys.CreateKey(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (m *mesh) makeWorkspaces(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := m.workspaces.CreateWorkspace(t.Context(), &dialogv1.CreateWorkspaceRequest{Workspace: name}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdministratorsOfAWorkspaceManageItsKeys(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := t.Context()
	m.as(t, bootstrap)
	m.makeWorkspaces(t, "a", "b")
	everywhere := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: viewer})
	ofB := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: viewer, Workspaces: []string{"b"}})
	ofBoth := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: viewer, Workspaces: []string{"a", "b"}})
	boss := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: admin, Workspaces: []string{"a"}})
	narrow := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: admin, Workspaces: []string{"a"}, Scopes: []string{"ask", "read"}})

	m.as(t, boss.GetSecret())
	mine := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: editor, Workspaces: []string{"a"}, Scopes: []string{"ask"}})
	for what, r := range map[string]*dialogv1.CreateKeyRequest{
		"all workspaces":    {Name: "x", Role: viewer},
		"another one":       {Name: "x", Role: viewer, Workspaces: []string{"b"}},
		"one of each":       {Name: "x", Role: viewer, Workspaces: []string{"a", "b"}},
		"one there is not":  {Name: "x", Role: viewer, Workspaces: []string{"nope"}},
		"a service account": {Name: "x", Role: viewer, Workspaces: []string{"a"}, ServiceAccount: "nobody"},
	} {
		if _, err := m.keys.CreateKey(ctx, r); fault.KindOf(err) != fault.Denied && fault.KindOf(err) != fault.NotFound {
			t.Errorf("a key for %s: %v", what, err)
		}
	}
	list, err := m.keys.ListKeys(ctx, &dialogv1.ListKeysRequest{})
	if err != nil || len(list.GetKeys()) != 3 { // boss, narrow, mine
		t.Errorf("%v %v", list, err)
	}
	for what, id := range map[string]string{"of all": everywhere.GetKey().GetKeyId(), "of another": ofB.GetKey().GetKeyId(), "of both": ofBoth.GetKey().GetKeyId()} {
		if _, err := m.keys.RevokeKey(ctx, &dialogv1.RevokeKeyRequest{KeyId: id}); fault.ReasonOf(err) != fault.KeyNotFound {
			t.Errorf("revoke a key %s: %v", what, err)
		}
		if _, err := m.keys.RotateKey(ctx, &dialogv1.RotateKeyRequest{KeyId: id}); fault.ReasonOf(err) != fault.KeyNotFound {
			t.Errorf("rotate a key %s: %v", what, err)
		}
	}
	rotated, err := m.keys.RotateKey(ctx, &dialogv1.RotateKeyRequest{KeyId: mine.GetKey().GetKeyId(), Overlap: durationpb.New(time.Hour)})
	if err != nil || rotated.GetReplaced().GetReplacedBy() != rotated.GetKey().GetKeyId() || fmt.Sprint(rotated.GetKey().GetScopes()) != "[ask]" || rotated.GetKey().GetRole() != editor {
		t.Fatalf("%v %v", rotated, err)
	}
	if _, err := m.keys.RevokeKey(ctx, &dialogv1.RevokeKeyRequest{KeyId: narrow.GetKey().GetKeyId()}); err != nil {
		t.Errorf("revoke an own key: %v", err)
	}

	// Both go on, within their scope alone.
	for _, secret := range []string{mine.GetSecret(), rotated.GetSecret()} {
		m.as(t, secret)
		m.ask(t, &dialogv1.ChatRequest{Question: "hello"})
		if _, err := m.keys.ListKeys(ctx, &dialogv1.ListKeysRequest{}); fault.ReasonOf(err) != fault.RoleTooLow {
			t.Errorf("list keys: %v", err)
		}
	}
	for action, target := range map[string]string{"key.rotate": mine.GetKey().GetKeyId(), "key.create": rotated.GetKey().GetKeyId(), "key.revoke": narrow.GetKey().GetKeyId()} {
		m.audits(t, action, func(e *eventv1.Audited) bool {
			return e.GetAction() == action && e.GetTarget() == target && e.GetAllowed() && e.GetActor() == "key:"+boss.GetKey().GetKeyId()
		})
	}
	m.audits(t, "a key that was not the caller's", func(e *eventv1.Audited) bool { return e.GetAction() == "key.revoke" && !e.GetAllowed() })
	for _, e := range m.events(t) {
		for _, secret := range []string{boss.GetSecret(), mine.GetSecret(), rotated.GetSecret(), bootstrap} {
			if strings.Contains(e.String(), secret[len(secret)-20:]) {
				t.Errorf("the audit trail has a secret: %v", e)
			}
		}
	}
}

func TestScopesHoldOnEveryRoute(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	m.as(t, bootstrap)
	m.makeWorkspaces(t, "a")
	ask := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: admin, Workspaces: []string{"a"}, Scopes: []string{"ask"}}).GetSecret()
	read := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: admin, Workspaces: []string{"a"}, Scopes: []string{"read"}}).GetSecret()
	b := newBrowser(t, m)
	post := func(key, path, body string) (int, string) {
		r := b.send(t, http.MethodPost, path, body, http.Header{
			"Authorization": {"Bearer " + key}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-06-18"},
		})
		return r.status, fmt.Sprint(r.body)
	}
	const chat = `{"model":"a","messages":[{"role":"user","content":"hello"}]}`
	if status, body := post(ask, "/v1/chat/completions", chat); status != http.StatusOK {
		t.Errorf("ask over OpenAI's API: %d %s", status, body)
	}
	if status, body := post(read, "/v1/chat/completions", chat); status != http.StatusForbidden {
		t.Errorf("ask with the scope read: %d %s", status, body)
	}
	const search = "/ragmesh.retriever.v1.RetrieverService/Search"
	if status, body := post(read, search, `{"query":"limit"}`); status != http.StatusOK {
		t.Errorf("search: %d %s", status, body)
	}
	if status, body := post(ask, search, `{"query":"limit"}`); status != http.StatusForbidden {
		t.Errorf("search with the scope ask: %d %s", status, body)
	}
	if r := b.send(t, http.MethodGet, "/v1/models", "", http.Header{"Authorization": {"Bearer " + ask}}); r.status != http.StatusOK {
		t.Errorf("models with the scope ask: %+v", r)
	}
}

// listen serves dialog over TCP too, where requests have an address, and returns where.
func (m *mesh) listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(m.mux, rpc.ServerOptions{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// Whoever guesses is refused on every route alike, and who has a key goes on.
func TestGuessesAreRefusedOnEveryRoute(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t), func(cfg *dialog.Config) {
		cfg.Auth.Failures.Burst, cfg.Auth.Failures.PerMinute = 3, 1
		cfg.Auth.TrustedProxies = []string{"127.0.0.0/8"}
	})
	b := newBrowser(t, m)
	address := m.listen(t)
	routes := []string{"/ragmesh.dialog.v1.DialogService/ListSessions", "/v1/chat/completions", "/auth/me", "/v1/models"}
	send := func(path, key string) reply {
		method, body := http.MethodPost, "{}"
		if path == "/auth/me" || path == "/v1/models" {
			method, body = http.MethodGet, ""
		}
		if path == "/v1/chat/completions" {
			body = `{"model":"default","messages":[{"role":"user","content":"hello"}]}`
		}
		return b.send(t, method, address+path, body, http.Header{"Authorization": {"Bearer " + key}, "X-Forwarded-For": {"203.0.113.9"}})
	}
	for i := range 3 {
		if r := send(routes[i], fmt.Sprintf("rmk_guess%d_x", i)); r.status != http.StatusUnauthorized {
			t.Errorf("guess %d: %+v", i, r)
		}
	}
	for _, path := range routes {
		if r := send(path, "rmk_guess_x"); r.status != http.StatusTooManyRequests {
			t.Errorf("guess too many at %s: %+v", path, r)
		}
		if r := send(path, bootstrap); r.status != http.StatusOK {
			t.Errorf("a good key at %s: %+v", path, r)
		}
	}
	m.audits(t, "guessing", func(e *eventv1.Audited) bool {
		return e.GetReason() == "RATE_LIMITED" && e.GetAddress() == "203.0.113.9"
	})
}

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	m := newMesh(t, authenticated(t))
	ctx := t.Context()
	m.as(t, bootstrap)
	m.makeWorkspaces(t, "a", "b")
	role := func(workspace string, r dialogv1.AccessRole) {
		t.Helper()
		if _, err := m.workspaces.SetMember(ctx, &dialogv1.SetMemberRequest{Workspace: workspace, Member: "service:bot", Role: r}); err != nil {
			t.Fatal(err)
		}
	}
	role("a", viewer)
	role("b", admin)
	for what, workspaces := range map[string][]string{"none": nil, "two": {"a", "b"}} {
		if _, err := m.keys.CreateKey(ctx, &dialogv1.CreateKeyRequest{Name: "x", Role: admin, ServiceAccount: "bot", Workspaces: workspaces}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("workspaces %s: %v", what, err)
		}
	}
	key := m.makeKey(t, &dialogv1.CreateKeyRequest{Role: admin, ServiceAccount: "bot", Workspaces: []string{"a"}})
	if key.GetKey().GetRole() != viewer || key.GetKey().GetServiceAccount() != "bot" {
		t.Errorf("key %v", key.GetKey())
	}
	m.as(t, key.GetSecret())
	if h := m.ask(t, &dialogv1.ChatRequest{Question: "hello"}); h.turn.GetUser() != "service:bot" || h.turn.GetWorkspace() != "a" {
		t.Errorf("asked by %s in %s", h.turn.GetUser(), h.turn.GetWorkspace())
	}
	// It is the account's key of one workspace, whatever the account may do in others.
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello", Workspace: "b"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("ask in the other workspace: %v", err)
	}
	if _, err := m.keys.ListKeys(ctx, &dialogv1.ListKeysRequest{}); fault.ReasonOf(err) != fault.RoleTooLow {
		t.Errorf("list keys as viewer: %v", err)
	}
	m.as(t, bootstrap)
	role("a", admin)
	m.as(t, key.GetSecret())
	if list, err := m.keys.ListKeys(ctx, &dialogv1.ListKeysRequest{}); err != nil || len(list.GetKeys()) != 1 {
		t.Errorf("list keys as administrator: %v %v", list, err)
	}
	m.as(t, bootstrap)
	if _, err := m.workspaces.RemoveMember(ctx, &dialogv1.RemoveMemberRequest{Workspace: "a", Member: "service:bot"}); err != nil {
		t.Fatal(err)
	}
	m.as(t, key.GetSecret())
	if _, err := m.try(ctx, &dialogv1.ChatRequest{Question: "hello"}); fault.KindOf(err) != fault.Unauthenticated && fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("after the account was removed: %v", err)
	}
}
