package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// duty is what a procedure asks of its caller, said here a second time, apart from the table that decides.
type duty struct {
	role string
	// of says what it is about: the workspace in its request, all workspaces, or that it is for the owner or nobody outside.
	of      about
	changes bool // what it is about, so that who may call it is not let to
	scope   string
}

type about int

const (
	itsWorkspace about = iota
	anyOne             // whoever is in a workspace
	theWhole           // all workspaces
	theOwner
	nobody
)

// duties are those of every procedure. One that is missing fails the test.
func duties() map[string]duty {
	all := map[string]duty{}
	add := func(service string, d duty, methods ...string) {
		for _, m := range methods {
			all["/ragmesh."+service+"/"+m] = d
		}
	}
	add("dialog.v1.DialogService", duty{role: "viewer", scope: "ask"}, "Chat", "GetTurn", "ListTurns", "ListSessions", "ExportSession")
	add("dialog.v1.DialogService", duty{role: "viewer", scope: "ask", changes: true}, "RenameSession", "DeleteSession", "StopTurn", "SendFeedback")
	add("dialog.v1.WorkspaceService", duty{role: "viewer", of: anyOne}, "ListWorkspaces")
	add("dialog.v1.WorkspaceService", duty{role: "admin", of: theWhole, changes: true, scope: "manage"}, "CreateWorkspace", "DeleteWorkspace")
	add("dialog.v1.WorkspaceService", duty{role: "admin", scope: "manage"}, "ListMembers")
	add("dialog.v1.WorkspaceService", duty{role: "admin", changes: true, scope: "manage"}, "UpdateWorkspace", "SetMember", "RemoveMember")
	add("dialog.v1.KeyService", duty{role: "admin", of: anyOne, scope: "manage"}, "ListKeys")
	add("dialog.v1.KeyService", duty{role: "admin", of: anyOne, changes: true, scope: "manage"}, "CreateKey", "RotateKey", "RevokeKey")
	add("dialog.v1.OperationsService", duty{of: theOwner}, "Backup")
	add("retriever.v1.RetrieverService", duty{role: "viewer", scope: "read"}, "Search", "GetDocument", "ListDocuments", "ReadDocument", "Watch", "CheckDocuments", "GetQueue")
	add("retriever.v1.RetrieverService", duty{role: "editor", changes: true, scope: "write"},
		"CreateUpload", "PutPart", "CommitUpload", "PutDocument", "DeleteDocument", "CancelIngestion", "RetryIngestion", "RetryDocuments", "SetDocumentAccess")
	add("retriever.v1.RetrieverService", duty{role: "admin", changes: true, scope: "manage"}, "DeleteWorkspace")
	add("tools.v1.ToolsService", duty{role: "viewer"}, "ListTools")
	add("tools.v1.ToolsService", duty{of: nobody}, "Call")
	add("llm.v1.LLMService", duty{role: "viewer", of: anyOne}, "ListModels", "ListPrompts")
	add("llm.v1.LLMService", duty{role: "viewer"}, "RenderPrompt")
	add("llm.v1.LLMService", duty{of: nobody}, "Generate", "Embed", "Rerank", "DeleteWorkspace")
	add("llm.v1.LLMService", duty{role: "admin", scope: "manage"}, "GetUsage")
	add("eval.v1.EvalService", duty{role: "viewer", scope: "eval"}, "GetTrace", "ListTraces", "GetRun", "CompareRuns", "ListGaps")
	add("eval.v1.EvalService", duty{role: "editor", changes: true, scope: "eval"}, "CreateRun", "Replay")
	return all
}

var ranks = []string{"", "viewer", "editor", "admin"}

// may says whether a person may call a procedure about a place at all. Whether what they ask for is theirs is another matter.
func (p person) may(d duty, at place) bool {
	switch {
	case p.role == "" && !p.everybody:
		return false
	case d.of == nobody:
		return false
	case p.everybody:
		return true
	case d.of == theOwner || slices.Index(ranks, p.role) < slices.Index(ranks, d.role):
		return false
	case d.scope != "" && p.scopes != "" && !slices.Contains(strings.Split(p.scopes, ","), d.scope):
		return false
	case d.of == theWhole:
		return p.workspace == ""
	case d.of == anyOne:
		return true
	}
	return at.values["workspace"] != "nowhere" && (p.workspace == "" || p.workspace == at.values["workspace"])
}

// refusals are what somebody hears who may not.
var refusals = []string{"unauthenticated", "permission_denied", "not_found", "resource_exhausted"}

// TestLeakMatrix calls every procedure and every HTTP route as everybody, about what is theirs, what is another's, and what is
// not there, and looks in everything that comes back for words that they must not see.
func TestLeakMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole system and calls it some thousand times")
	}
	w := leakWorld(t)
	covered(t)
	seen := map[string]map[string]bool{} // secret -> procedures that showed it to somebody
	tell := func(who person, what, where, all string) {
		for _, s := range w.secrets {
			switch {
			case !strings.Contains(all, s.word):
			case !who.sees(s) && !who.everybody:
				at := strings.Index(all, s.word)
				t.Errorf("%s about %s shows %s what is %s in %s: %s", what, where, who.name, s.kind, s.workspace, all[max(0, at-100):at+len(s.word)])
			default:
				if seen[s.word] == nil {
					seen[s.word] = map[string]bool{}
				}
				seen[s.word][what] = true
			}
		}
	}
	places := slices.Sorted(maps.Keys(w.places))
	people := slices.Sorted(maps.Keys(w.people))
	all := duties()
	calls, begun := 0, time.Now()
	for _, procedure := range slices.Sorted(maps.Keys(all)) {
		d := all[procedure]
		for _, where := range places {
			at := w.places[where]
			if strings.HasPrefix(procedure, keyService) != strings.HasPrefix(where, "keys") {
				continue // nothing there that it is about
			}
			for _, name := range people {
				who := w.people[name]
				may := who.may(d, at)
				if d.changes && may || procedure == keyService+"CreateKey" && may {
					continue // tried where it can do no harm; here it would take away what is looked for
				}
				r := call(t, w.Server, who.token, procedure, filled(procedures()[procedure].Input(), defaults(at.values)))
				calls++
				tell(who, procedure, where, r.all)
				if !may && !slices.Contains(refusals, r.code) {
					t.Errorf("%s may call %s about %s: %q %.160s", name, procedure, where, r.code, r.all)
				}
				if may && r.code == "invalid_argument" {
					t.Errorf("the request to %s says nothing: %s", procedure, r.all)
				}
			}
		}
	}
	called := map[string]bool{}
	for _, name := range people {
		for _, where := range places {
			if w.people[name].role == "" && where != "north, open" {
				continue // they hear the same everywhere
			}
			for route, answer := range w.routes(t, w.people[name], w.places[where]) {
				calls++
				called[route] = true
				tell(w.people[name], route, where, answer)
			}
		}
	}
	t.Logf("%d calls in %s", calls, time.Since(begun).Round(time.Millisecond))
	w.routed(t, called)
	w.cannotTellApart(t)

	// What nobody was shown was not looked for either.
	for _, s := range w.secrets {
		if len(seen[s.word]) == 0 && s.kind != told {
			t.Errorf("nobody was shown %s, which is %s in %s", s.word, s.kind, s.workspace)
		}
	}
	word := w.places["north, listed"].secret
	for _, procedure := range []string{
		dialogService + "Chat", dialogService + "GetTurn", dialogService + "ListTurns", dialogService + "ExportSession",
		retrieverService + "Search", retrieverService + "ReadDocument", "/ragmesh.eval.v1.EvalService/GetTrace", "POST /v1/chat/completions", "POST /mcp", "POST /mcp/{workspace}",
	} {
		if !seen[word][procedure] {
			t.Errorf("%s showed a listed document to nobody, not even its readers", procedure)
		}
	}
	for _, path := range []string{"/metrics", "/health/ready", "/health/live"} {
		_, body := exchange(t, w.Admin, "", http.MethodGet, path, http.Header{}, nil)
		if strings.Contains(string(body), canary) {
			t.Errorf("%s has a canary", path)
		}
	}
	if said := w.Log(); said == "" || strings.Contains(said, canary) {
		at := max(0, strings.Index(said, canary)-300)
		t.Errorf("the log of %d bytes has a canary: %.600s", len(said), said[at:])
	}
}

// routed wants every HTTP route that is no procedure among those that were called.
func (w *world) routed(t *testing.T, called map[string]bool) {
	t.Helper()
	_, body := exchange(t, w.Server, "", http.MethodGet, "/openapi.json", http.Header{}, nil)
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(body, &document); err != nil || len(document.Paths) == 0 {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	for path, methods := range document.Paths {
		if strings.HasPrefix(path, "/ragmesh.") {
			continue
		}
		for method := range methods {
			switch route := strings.ToUpper(method) + " " + path; {
			case route == "GET /auth/login", route == "GET /auth/callback", route == "POST /auth/logout": // there is no provider here; dialog's own tests have one
			case !called[route]:
				t.Errorf("what does %s show? Nobody looked", route)
			}
		}
	}
}

// leakWorld starts a system that asks everybody who they are, and fills it.
func leakWorld(t *testing.T) *world {
	t.Helper()
	owner := strings.Repeat("owner-", 8)
	config := t.TempDir()
	key := filepath.Join(config, "owner.key")
	if err := os.WriteFile(key, []byte(owner), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "dialog.yaml"), []byte("auth:\n  bootstrap_key: {file: "+key+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, e2e.StartAllInOne(t, e2e.WithConfig(config)), owner)
	w.people["owner"] = person{name: "owner", token: owner, everybody: true}
	return w
}

// covered wants every procedure in the list above, and none that is not there any more.
func covered(t *testing.T) {
	t.Helper()
	all := duties()
	for procedure := range procedures() {
		if _, ok := all[procedure]; !ok {
			t.Errorf("who may call %s? duties() does not say", procedure)
		}
	}
	for procedure := range all {
		if procedures()[procedure] == nil {
			t.Errorf("duties() speaks of %s, which there is not", procedure)
		}
	}
}

// defaults are values for the fields that have to be there and are about nothing.
func defaults(v values) values {
	all := values{
		"name": "x", "role": "ACCESS_ROLE_VIEWER", "title": "x", "verdict": "VERDICT_UP", "member": "user:x", "display_name": "x",
		"upload_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "part_number": 1, "data": "eA==", "sha256": strings.Repeat("0", 64), "size_bytes": 1, "source_uri": "x",
		"key_id": "aaaaaaaaaaaaa", "run_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "base_run_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "head_run_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"document_id": "00000000-0000-4000-8000-000000000000", "document_ids": []string{"00000000-0000-4000-8000-000000000000"}, "session_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"turn_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "query": "x", "question": "x", "prompt_id": "default", "all_users": true, "include_replaced": true,
		"cases": []map[string]any{{"caseId": "1", "question": "x"}}, "tool": "x", "arguments_json": "{}", "texts": []string{"x"}, "input": []string{"x"},
	}
	maps.Copy(all, v)
	return all
}

// routes calls the HTTP routes that are no procedures, and returns what each said.
func (w *world) routes(t *testing.T, who person, at place) map[string]string {
	t.Helper()
	said := map[string]string{}
	workspace, _ := at.values["workspace"].(string)
	question, _ := at.values["question"].(string)
	if question == "" {
		return said
	}
	document, _ := at.values["document_id"].(string)
	route := strings.NewReplacer("/mcp/"+workspace, "/mcp/{workspace}", "/v1/models/"+workspace, "/v1/models/{model}").Replace
	post := func(path string, body any, header http.Header) {
		payload, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		header.Set("Content-Type", "application/json")
		_, answer := exchange(t, w.Server, who.token, http.MethodPost, path, header, payload)
		said["POST "+route(path)] += string(answer)
	}
	get := func(path string) {
		_, answer := exchange(t, w.Server, who.token, http.MethodGet, path, http.Header{}, nil)
		said["GET "+route(path)] += string(answer)
	}
	get("/v1/models")
	get("/v1/models/" + workspace)
	get("/auth/me")
	get("/openapi.json")
	for _, stream := range []bool{false, true} {
		post("/v1/chat/completions", map[string]any{"model": workspace, "stream": stream, "messages": []map[string]string{{"role": "user", "content": question}}}, http.Header{})
	}
	for method, params := range map[string]map[string]any{
		"tools/list":     {},
		"resources/list": {},
		"resources/read": {"uri": "ragmesh://documents/" + document},
		"tools/call ask": {"name": "ask", "arguments": map[string]any{"question": question, "session_id": at.values["session_id"]}},
		"tools/call new": {"name": "ask", "arguments": map[string]any{"question": question}},
		"tools/call see": {"name": "search", "arguments": map[string]any{"query": question}},
		"tools/call doc": {"name": "read_document", "arguments": map[string]any{"document_id": document}},
	} {
		method, _, _ = strings.Cut(method, " ")
		for _, path := range []string{"/mcp/" + workspace, "/mcp"} {
			post(path, map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, http.Header{"Accept": {"application/json, text/event-stream"}})
		}
	}
	return said
}

// cannotTellApart wants a document, a session and a turn that somebody may not see to be like one that is not there, word for word.
func (w *world) cannotTellApart(t *testing.T) {
	t.Helper()
	hidden := w.places["north, listed"].values
	none := values{"document_id": "11111111-2222-5333-8444-555555555555", "session_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "turn_id": "01ARZ3NDEKTSV4RRFFQ69G5FAW"}
	for _, procedure := range []string{
		retrieverService + "GetDocument", retrieverService + "ReadDocument", retrieverService + "DeleteDocument", retrieverService + "CancelIngestion",
		retrieverService + "RetryIngestion", retrieverService + "RetryDocuments", retrieverService + "SetDocumentAccess", retrieverService + "CheckDocuments",
		dialogService + "GetTurn", dialogService + "ListTurns", dialogService + "ExportSession", dialogService + "RenameSession", dialogService + "DeleteSession",
		dialogService + "SendFeedback", dialogService + "StopTurn",
	} {
		for _, name := range []string{"north viewer", "north editor", "north robot", "south admin"} {
			var said []string
			for _, ids := range []values{hidden, none} {
				v := values{"workspace": "north", "document_ids": []any{ids["document_id"]}, "document_id": ids["document_id"], "session_id": ids["session_id"], "turn_id": ids["turn_id"]}
				r := call(t, w.Server, w.people[name].token, procedure, filled(procedures()[procedure].Input(), defaults(v)))
				var e wireError
				_ = json.Unmarshal([]byte(r.all), &e) // what is no error leaves it empty
				told := fmt.Sprintf("%s %+v %s", r.code, e.refusal(), r.messages)
				for field := range none {
					told = strings.ReplaceAll(told, fmt.Sprint(ids[field]), field)
				}
				said = append(said, told)
			}
			if said[0] != said[1] {
				t.Errorf("%s can tell by %s what is there:\n%s\n%s", name, procedure, said[0], said[1])
			}
		}
	}
}
