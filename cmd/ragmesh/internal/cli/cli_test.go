package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/timestamppb"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

func documents() []*retrieverv1.Document {
	return []*retrieverv1.Document{
		{
			DocumentId: "0198f000-0000-7000-8000-000000000001", SourceUri: "docs/fees.md", Title: "Card fees", ContentType: "text/markdown",
			State: retrieverv1.DocumentState_DOCUMENT_STATE_READY, ChunkCount: 3, SizeBytes: 2048, TextBytes: 1900, Language: "en", Version: "aa", LiveVersion: "aa",
			CreatedAt: timestamppb.New(noon), UpdatedAt: timestamppb.New(noon),
		},
		{
			DocumentId: "0198f000-0000-7000-8000-000000000002", SourceUri: "docs/中文.md", Title: "银行卡费用", Language: "zh", SizeBytes: 5 << 20,
			State: retrieverv1.DocumentState_DOCUMENT_STATE_FAILED, Failure: &retrieverv1.Failure{Stage: retrieverv1.Stage_STAGE_PARSE, Reason: "EMPTY_DOCUMENT", Message: "The document\nholds no text."},
			Version: "bb", CreatedAt: timestamppb.New(noon), UpdatedAt: timestamppb.New(noon),
		},
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stdin string
		args  []string
		code  int
	}{
		"ask":                 {args: []string{"ask", "And", "a", "replacement?"}},
		"ask-stdin":           {stdin: "  And a replacement?\n", args: []string{"ask", "-"}},
		"ask-json":            {args: []string{"ask", "--json", "fees?"}},
		"ask-failed":          {args: []string{"ask", "fail"}, code: 1},
		"ask-again":           {args: []string{"ask", "again"}},
		"ask-again-json":      {args: []string{"ask", "again", "--json"}},
		"ask-cut":             {args: []string{"ask", "cut"}, code: 1},
		"chat":                {stdin: "fees?\n\n/sources\n/new\n/sources\n/help\nand then?\n/quit\nnot asked\n", args: []string{"chat"}},
		"chat-failed":         {stdin: "fail\nfees?\n", args: []string{"chat"}, code: 1},
		"search":              {args: []string{"search", "card", "fees"}},
		"search-nothing":      {args: []string{"search", "nothing"}},
		"search-json":         {args: []string{"search", "card", "--json"}},
		"trace":               {args: []string{"trace", "01JD00000000000000000000T1"}},
		"trace-full":          {args: []string{"trace", "last", "--full"}},
		"trace-json":          {args: []string{"trace", "last", "--json"}},
		"trace-missing":       {args: []string{"trace", "nope"}, code: 1},
		"docs-list":           {args: []string{"docs", "list"}},
		"docs-list-failed":    {args: []string{"docs", "list", "--state", "failed"}},
		"docs-retry":          {args: []string{"docs", "retry", "--failed"}},
		"docs-retry-named":    {args: []string{"docs", "retry", "docs/fees.md", "--json"}},
		"docs-retry-nothing":  {args: []string{"docs", "retry"}, code: 2},
		"docs-list-none":      {args: []string{"docs", "list", "--state", "queued"}},
		"docs-list-json":      {args: []string{"docs", "list", "--source", "docs/f", "--json"}},
		"docs-show":           {args: []string{"docs", "show", "docs/fees.md"}},
		"docs-show-id":        {args: []string{"docs", "show", "0198f000-0000-7000-8000-000000000002"}},
		"docs-show-text":      {args: []string{"docs", "show", "docs/fees.md", "--text"}},
		"docs-rm":             {args: []string{"docs", "rm", "docs/fees.md", "docs/missing.md"}, code: 1},
		"docs-access":         {args: []string{"docs", "access", "docs/fees.md"}},
		"docs-access-set":     {args: []string{"docs", "access", "docs/fees.md", "docs/missing.md", "--reader", "user:ann@example.com", "--reader", "group:hr, all of it"}, code: 1},
		"docs-access-open":    {args: []string{"docs", "access", "docs/fees.md", "--everyone"}},
		"docs-access-admins":  {args: []string{"docs", "access", "docs/fees.md", "--admins-only", "--json"}},
		"docs-access-both":    {args: []string{"docs", "access", "docs/fees.md", "--admins-only", "--everyone"}, code: 2},
		"workspaces-list":     {args: []string{"workspaces", "list"}},
		"workspaces-create":   {args: []string{"workspaces", "create", "bank", "--name", "The bank"}},
		"workspaces-rename":   {args: []string{"workspaces", "rename", "bank", "The first bank"}},
		"workspaces-retain":   {args: []string{"workspaces", "retain", "bank", "48h"}},
		"workspaces-retain-x": {args: []string{"workspaces", "retain", "bank", "soon"}, code: 2},
		"workspaces-delete":   {args: []string{"workspaces", "delete", "bank", "--yes"}},
		"workspaces-delete-x": {args: []string{"workspaces", "delete", "bank"}, code: 2},
		"members-list":        {args: []string{"members", "list"}},
		"members-list-json":   {args: []string{"members", "list", "--json"}},
		"members-set":         {args: []string{"members", "set", "user:ann", "service:importer", "--role", "editor"}},
		"members-set-role":    {args: []string{"members", "set", "user:ann", "--role", "king"}, code: 2},
		"members-rm":          {args: []string{"members", "rm", "user:nobody", "group:support"}, code: 1},
		"keys-create":         {args: []string{"keys", "create", "--name", "mine", "--role", "admin"}},
		"keys-rotate":         {args: []string{"keys", "rotate", "k1", "--overlap", "48h"}},
		"keys-list":           {args: []string{"keys", "list"}},
		"keys-revoke":         {args: []string{"keys", "revoke", "k1"}},
		"keys-revoke-no":      {args: []string{"keys", "revoke", "k9"}, code: 1},
		"other-workspace":     {args: []string{"ask", "fees?", "-w", "shop"}, code: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, &edge{documents: documents()})
			got := run(t, t.Context(), tt.stdin, append([]string{"--server", server, "-w", "bank"}, tt.args...)...)
			if got.code != tt.code {
				t.Errorf("exit code = %d, want %d", got.code, tt.code)
			}
			golden(t, name, strings.ReplaceAll(fmt.Sprintf("%s\n--- stderr\n%s", got.stdout, got.stderr), server, "SERVER"))
			if strings.ContainsRune(got.stdout+got.stderr, '\x1b') {
				t.Errorf("the terminal would be told what to do: %q", got.stdout+got.stderr)
			}
		})
	}
}

func TestChatGoesOnInOneSession(t *testing.T) {
	t.Parallel()
	e := &edge{}
	server := serve(t, e)
	got := run(t, t.Context(), "one\ntwo\n/new\nthree\n", "chat", "--server", server, "-w", "bank", "--model", "m")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	var sessions []string
	for _, r := range e.asked {
		sessions = append(sessions, r.GetQuestion()+" in "+r.GetSessionId()+" by "+r.GetModel())
	}
	want := []string{"one in  by m", "two in 01JD00000000000000000000S1 by m", "three in  by m"}
	if diff := cmp.Diff(want, sessions); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"unknown command":       {"frobnicate"},
		"unknown subcommand":    {"docs", "frobnicate"},
		"unknown flag":          {"ask", "--frobnicate", "x"},
		"missing argument":      {"search"},
		"too many arguments":    {"trace", "a", "b"},
		"missing flag":          {"keys", "create"},
		"missing dataset":       {"eval", "retrieval"},
		"unknown role":          {"keys", "create", "--name", "x", "--role", "king"},
		"unknown state":         {"docs", "list", "--state", "tired"},
		"empty question":        {"ask", "  "},
		"no address":            {"ask", "x", "--server", "nonsense"},
		"no documents there":    {"ingest", "testdata"},
		"malformed --set":       {"up", "--set", "top_k=3"},
		"NATS for the world":    {"nats", "--addr", "0.0.0.0:4222"},
		"no admin address":      {"health", "9080"},
		"keys from outside":     {"keys", "install"},
		"too much concurrency":  {"eval", "retrieval", "--dataset", "x", "--concurrency", "1000"},
		"unknown service shown": {"config", "show", "--service", "nobody"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, t.Context(), "", args...)
			if got.code != 2 || !strings.Contains(got.stderr, "--help` for usage") || got.stdout != "" {
				t.Errorf("%+v; want exit code 2 and a hint at --help", got)
			}
		})
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	got := run(t, t.Context(), "", "ask", "x", "--server", "http://127.0.0.1:1")
	want := "ragmesh: nothing answers at http://127.0.0.1:1: start it with `ragmesh up`, or set --server\n  reason: SERVICE_UNAVAILABLE\n"
	if got.code != 1 || got.stderr != want {
		t.Errorf("%+v; want %q", got, want)
	}
}

func TestServerAndKeyComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	server := serve(t, &edge{key: "secret"})
	environ := []string{"RAGMESH_SERVER=" + server, "RAGMESH_API_KEY=secret"}
	if got := runEnv(t.Context(), environ, "", "search", "x", "-w", "bank"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	got := runEnv(t.Context(), environ, "", "search", "x", "-w", "bank", "--api-key", "wrong")
	if got.code != 1 || !strings.Contains(got.stderr, "UNAUTHENTICATED") {
		t.Errorf("the flag must win: %+v", got)
	}
	if help := runEnv(t.Context(), environ, "", "search", "--help"); strings.Contains(help.stdout, "secret") {
		t.Error("--help shows the key")
	}
}

func TestIngest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.md": "fine", "b.md": "poison", "c.txt": "fine too", "d.bin": "skipped"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &edge{}
	got := run(t, t.Context(), "", "ingest", "--base", dir, dir, "--server", serve(t, e), "-w", "bank")
	if got.code != 1 || !strings.HasPrefix(got.stdout, "2 of 3 documents searchable in workspace bank") {
		t.Errorf("%+v", got)
	}
	if want := "failed b.md: parse: MALFORMED_DOCUMENT: The document could not be read.\n1 of 3 documents failed\n"; got.stderr != want {
		t.Errorf("stderr = %q, want %q", got.stderr, want)
	}
	if up := e.uploads["c.txt"]; up.GetContentType() != "text/plain" || e.parts["c.txt"] != "fine too" {
		t.Errorf("upload = %v, %q", up, e.parts["c.txt"])
	}
	asJSON := run(t, t.Context(), "", "ingest", "--json", filepath.Join(dir, "a.md"), "--server", serve(t, &edge{}), "-w", "bank")
	var line struct{ Document struct{ State string } }
	if err := json.Unmarshal([]byte(asJSON.stdout), &line); err != nil || line.Document.State != "DOCUMENT_STATE_READY" || asJSON.code != 0 {
		t.Errorf("%+v, %v", asJSON, err)
	}
}

func TestEvalRetrieval(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "My Data.v1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"corpus.jsonl":  `{"id":"d1","title":"One","text":"first"}` + "\n" + `{"id":"d2","title":"Two","text":"second"}`,
		"queries.jsonl": `{"id":"q1","text":"which?"}` + "\n" + `{"id":"q2","text":"what?"}`,
		"qrels.tsv":     "q1\td1\t1\nq2\td2\t1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &edge{}
	server := serve(t, e)
	runFile := filepath.Join(dir, "out.run")
	var first []byte
	for range 2 { // the second time nothing is left to take in
		got := run(t, t.Context(), "", "eval", "retrieval", "--dataset", dir, "--server", server, "--json", "--run", runFile)
		var report struct {
			Workspace string
			Documents int
			Scores    map[string]float64
		}
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		want := map[string]float64{"queries": 2, "hit@1": 0.5, "hit@5": 1, "recall@10": 1, "mrr@10": 0.75, "ndcg@10": (1 + 1/1.5849625007211562) / 2}
		if diff := cmp.Diff(want, report.Scores, cmpopts.EquateApprox(0, 1e-9)); diff != "" || report.Workspace != "eval-my-data-v1" || len(e.documents) != 2 {
			t.Errorf("workspace %s, %d documents; scores (-want +got):\n%s", report.Workspace, len(e.documents), diff)
		}
		lines, err := os.ReadFile(runFile)
		if err != nil || len(strings.Split(strings.TrimSpace(string(lines)), "\n")) != 4 || !strings.HasPrefix(string(lines), "q1 Q0 d") {
			t.Errorf("run file = %q, %v", lines, err)
		}
		if first != nil && string(first) != string(lines) {
			t.Errorf("the run changed: %q, then %q", first, lines)
		}
		first = lines
	}
	table := run(t, t.Context(), "", "eval", "retrieval", "--dataset", dir, "--server", server)
	if table.code != 0 || !strings.Contains(table.stdout, "HIT@1   HIT@5   RECALL@10  MRR@10  NDCG@10") {
		t.Errorf("%+v", table)
	}
	if broken := run(t, t.Context(), "", "eval", "retrieval", "--dataset", filepath.Dir(dir), "--server", server); broken.code != 1 || !strings.Contains(broken.stderr, "corpus.jsonl") {
		t.Errorf("%+v; want the missing file named", broken)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health/ready" {
			http.NotFound(w, r)
			return
		}
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":"starting","components":[{"name":"nats","ready":false,"detail":"waiting for nats"}]}`))
			return
		}
		_, _ = w.Write([]byte(`{"status":"ready","components":[{"name":"nats","ready":true}]}`))
	}))
	t.Cleanup(admin.Close)
	if got := run(t, t.Context(), "", "health", admin.URL); got.code != 1 || !strings.Contains(got.stdout, "starting") || !strings.Contains(got.stdout, "waiting for nats") {
		t.Errorf("while it starts: %+v", got)
	}
	asked.Store(0)
	if got := run(t, t.Context(), "", "health", admin.URL+"/", "--wait", "10s"); got.code != 0 || !strings.HasPrefix(got.stdout, "ready\n") {
		t.Errorf("waiting: %+v", got)
	}
	if got := run(t, t.Context(), "", "health", admin.URL, "--json"); got.code != 0 || !json.Valid([]byte(got.stdout)) {
		t.Errorf("--json: %+v", got)
	}
	if got := run(t, t.Context(), "", "health", admin.URL+"/nowhere"); got.code != 1 || !strings.Contains(got.stderr, "is it the admin port?") {
		t.Errorf("another port: %+v", got)
	}
}

func TestKeysManifest(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if got := run(t, t.Context(), "", "keys", "manifest", "--data", data); got.code != 1 || !strings.Contains(got.stderr, "ragmesh keys init") {
		t.Errorf("without keys: %+v", got)
	}
	if got := run(t, t.Context(), "", "keys", "init", "--data", data); got.code != 0 {
		t.Fatal(got)
	}
	got := run(t, t.Context(), "", "keys", "manifest", "--data", data, "-n", "team", "--instance", "rm")
	if got.code != 0 || strings.Count(got.stdout, "kind: Secret") != 8 || strings.Count(got.stdout, "namespace: team") != 8 || !strings.Contains(got.stdout, "name: rm-identity-jwks") {
		t.Errorf("%+v", got)
	}
	if got := run(t, t.Context(), "", "keys", "manifest", "--data", data, "--json"); got.code != 0 || !json.Valid([]byte(got.stdout)) {
		t.Errorf("--json: %+v", got)
	}
}

func TestKeysInitWritesOnce(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "d")
	got := run(t, t.Context(), "", "keys", "init", "--data", data)
	if got.code != 0 || !strings.Contains(got.stdout, "RAGMESH_API_KEY=$(cat "+filepath.Join(data, "keys", "bootstrap.key")+")") {
		t.Errorf("%+v", got)
	}
	before, err := os.ReadFile(filepath.Join(data, "keys", "bootstrap.key"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got.stdout, strings.TrimSpace(string(before))) {
		t.Error("the key itself was printed")
	}
	again := run(t, t.Context(), "", "keys", "init", "--data", data)
	if after, _ := os.ReadFile(filepath.Join(data, "keys", "bootstrap.key")); again.code != 1 || string(after) != string(before) || !strings.Contains(again.stderr, "stay as they are") {
		t.Errorf("%+v; want the keys kept", again)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := run(t, t.Context(), "", "version"); got.code != 0 || !strings.HasPrefix(got.stdout, "ragmesh ") {
		t.Errorf("%+v", got)
	}
	if got := run(t, t.Context(), "", "version", "--json"); got.code != 0 || !json.Valid([]byte(got.stdout)) {
		t.Errorf("%+v", got)
	}
}

func TestCompletionIsThere(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := run(t, t.Context(), "", "completion", shell); got.code != 0 || len(got.stdout) < 1000 {
			t.Errorf("%s: exit code %d, %d bytes", shell, got.code, len(got.stdout))
		}
	}
}
