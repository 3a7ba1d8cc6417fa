package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// TestOfficialOpenAIClients holds a conversation with the whole system through OpenAI's own clients.
func TestOfficialOpenAIClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	t.Run("JavaScript", func(t *testing.T) { checkConversation(t, runClient(t, "openai.mjs")) })
	t.Run("Python", func(t *testing.T) { checkConversation(t, runClient(t, "openai_client.py")) })
}

// installed returns the folder of the clients. Those of other versions than wanted now do not count, as for make.
func installed(t *testing.T) string {
	t.Helper()
	root := e2e.Root(t)
	clients, wanted := filepath.Join(root, ".bin", "clients"), filepath.Join(root, ".tools", "clients")
	ready, err := os.Stat(filepath.Join(clients, "ready"))
	for _, name := range []string{"package-lock.json", "requirements.txt"} {
		var want os.FileInfo
		if err == nil {
			want, err = os.Stat(filepath.Join(wanted, name))
		}
		if err != nil || ready.ModTime().Before(want.ModTime()) {
			t.Skip("the clients are not installed: run `make clients`, which needs node, npm and python3")
		}
	}
	return clients
}

// runClient runs a script of testdata/clients against a system with documents, and returns what it prints.
func runClient(t *testing.T, script string) []byte {
	t.Helper()
	clients := installed(t)
	dir := documents(t)
	s := e2e.StartAllInOne(t)
	must(t, s, "ingest", "--base", dir, dir)
	return runScript(t, clients, script, s.Server)
}

// runScript has a client talk to a server.
func runScript(t *testing.T, clients, script, server string, args ...string) []byte {
	t.Helper()
	interpreter := map[string]string{
		".mjs": "node", ".py": filepath.Join(clients, "python", "bin", "python"), ".sh": "bash",
	}[filepath.Ext(script)]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if len(args) == 0 {
		args = []string{"What does a replacement card cost?", "And within how many working days does it arrive?"}
	}
	cmd := exec.CommandContext(ctx, interpreter, append([]string{filepath.Join("testdata", "clients", script), server}, args...)...)
	contract := filepath.Join(e2e.Root(t), "proto")
	cmd.Env = append(os.Environ(), "RAGMESH_CLIENTS="+clients, "RAGMESH_PROTO="+contract, "RAGMESH_DESCRIPTORS="+filepath.Join(clients, "contract.binpb"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return out
}

// seen is what a client saw of a conversation.
type seen struct {
	Turns   []seenTurn
	Refused string // the code of a call for a turn that is not there
}

type seenTurn struct {
	Text, Outcome, Session string
	Chunks                 int // pieces of text that came one by one
	Citations              []struct{ URI, Quote string }
}

// TestOfficialRPCClients holds the same conversation, streamed and cited, in each of the protocols of the procedures: gRPC with
// stubs that gRPC's own compiler generates, gRPC-Web as browsers speak it, and what curl can do.
func TestOfficialRPCClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	clients := installed(t)
	dir := documents(t)
	s := e2e.StartAllInOne(t)
	must(t, s, "ingest", "--base", dir, dir)
	for script, read := range map[string]func(*testing.T, []byte) seen{"grpc_client.py": readSeen, "grpcweb.mjs": readSeen, "curl.sh": readEvents} {
		t.Run(script, func(t *testing.T) {
			out := runScript(t, clients, script, s.Server)
			got := read(t, out)
			if len(got.Turns) != 2 || got.Refused != "not_found" {
				t.Fatalf("got %+v\n%s", got, out)
			}
			for i, want := range []string{"12 euros", "five working days"} {
				turn := got.Turns[i]
				if !strings.Contains(turn.Text, want) || turn.Outcome != "OUTCOME_ANSWERED" || turn.Chunks == 0 {
					t.Errorf("want %q in %+v", want, turn)
				}
				if len(turn.Citations) == 0 || turn.Citations[0].URI != "cards.md" || turn.Citations[0].Quote == "" {
					t.Errorf("citations %+v", turn.Citations)
				}
			}
			if first := got.Turns[0].Session; first == "" || got.Turns[1].Session != first {
				t.Errorf("the follow-up is in session %q, the question in %q", got.Turns[1].Session, first)
			}
		})
	}
}

func readSeen(t *testing.T, out []byte) (got seen) {
	t.Helper()
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return got
}

// readEvents reads a stream's messages as curl shows them.
func readEvents(t *testing.T, out []byte) (got seen) {
	t.Helper()
	turn := seenTurn{}
	for line := range strings.Lines(string(out)) {
		var e struct {
			Started   struct{ SessionID string }
			Delta     struct{ Text string }
			Citation  struct{ SourceURI, Quote string }
			Completed struct{ Turn struct{ Outcome string } }
			Next      bool
			Code      string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		turn.Session += e.Started.SessionID
		turn.Outcome += e.Completed.Turn.Outcome
		if e.Delta.Text != "" {
			turn.Text, turn.Chunks = turn.Text+e.Delta.Text, turn.Chunks+1
		}
		if c := e.Citation; c.Quote != "" {
			turn.Citations = append(turn.Citations, struct{ URI, Quote string }{c.SourceURI, c.Quote})
		}
		if e.Next {
			got.Turns, turn = append(got.Turns, turn), seenTurn{}
		}
		got.Refused += e.Code
	}
	return got
}

// TestOfficialMCPClient uses the documents through the Model Context Protocol's own client for JavaScript.
func TestOfficialMCPClient(t *testing.T) {
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	type answer struct {
		Answer, Outcome string
		SessionID       string `json:"session_id"`
		Citations       []struct{ Support, URI string }
	}
	var got struct {
		Tools, Resources []string
		First, Second    answer
		Found            struct{ Text, URI string }
		Read, Resource   string
	}
	out := runClient(t, "mcp.mjs")
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := []string{"ask", "read_document", "search"}; !slices.Equal(got.Tools, want) {
		t.Errorf("tools %v, want %v", got.Tools, want)
	}
	for want, a := range map[string]answer{"12 euros": got.First, "five working days": got.Second} {
		if !strings.Contains(a.Answer, want) || a.Outcome != "answered" || len(a.Citations) == 0 || a.Citations[0].URI != "cards.md" || a.Citations[0].Support != "supported" {
			t.Errorf("want %q in %+v", want, a)
		}
	}
	if got.First.SessionID == "" || got.First.SessionID != got.Second.SessionID {
		t.Errorf("the follow-up is in session %q, the question in %q", got.Second.SessionID, got.First.SessionID)
	}
	if got.Found.URI != "cards.md" || got.Read != got.Found.Text || !strings.Contains(got.Resource, got.Found.Text) {
		t.Errorf("found %+v, read %q, resource %q", got.Found, got.Read, got.Resource)
	}
	if want := []string{"cards.md", "卡费.md"}; !slices.Equal(got.Resources, want) {
		t.Errorf("resources %v, want %v", got.Resources, want)
	}
}

func checkConversation(t *testing.T, out []byte) {
	t.Helper()
	type answer struct {
		Text, Finish string
		Tokens       int
		Annotations  []struct {
			Citation struct{ URL, Title string } `json:"url_citation"`
		}
	}
	var got struct {
		Models          []string
		Whole, Streamed answer
		Chunks          int
		Refused         struct {
			Type        string
			Status      int
			Code, Param string
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !slices.Contains(got.Models, "default") {
		t.Errorf("models %v", got.Models)
	}
	for what, test := range map[string]struct {
		answer answer
		want   string
	}{"whole": {got.Whole, "12 euros"}, "streamed": {got.Streamed, "five working days"}} {
		a := test.answer
		if !strings.Contains(a.Text, test.want) || a.Finish != "stop" || a.Tokens == 0 {
			t.Errorf("%s: %+v", what, a)
		}
		if len(a.Annotations) == 0 || a.Annotations[0].Citation.URL != "cards.md" || a.Annotations[0].Citation.Title == "" {
			t.Errorf("%s: citations %+v", what, a.Annotations)
		}
	}
	if got.Chunks == 0 {
		t.Error("nothing was streamed")
	}
	if r := got.Refused; r.Type != "NotFoundError" || r.Status != 404 || r.Code != "model_not_found" || r.Param != "model" {
		t.Errorf("the refusal is %+v", r)
	}
}
