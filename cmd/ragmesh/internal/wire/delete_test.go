package wire_test

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/ingest"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// holding returns the files below dir that hold a word.
func holding(t *testing.T, dir, word string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // files come and go
		}
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(word)) {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDeletedWorkspaceLeavesNothing looks for words of a deleted workspace in every file there is.
func TestDeletedWorkspaceLeavesNothing(t *testing.T) {
	t.Parallel()
	o := options(t)
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
	c, err := client.New(client.Options{Server: "http://" + awaited(t, started, done).String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: "zoo"}); err != nil {
		t.Fatal(err)
	}
	const inDocument, inQuestion, inFeedback, elsewhere = "canarydocument", "canaryquestion", "canaryfeedback", "canaryelsewhere"
	for workspace, word := range map[string]string{"zoo": inDocument, "default": elsewhere} {
		results, err := ingest.New(c.Retriever, ingest.Options{Workspace: workspace}).Run(ctx, []ingest.Item{
			ingest.Text("walrus.txt", "Walrus", "The walrus budget of "+word+" is 4711 euros."),
		})
		if err != nil || len(results) != 1 || results[0].Failed() {
			t.Fatalf("ingest: %+v, %v", results, err)
		}
	}
	stream, err := c.Dialog.Chat(ctx, &dialogv1.ChatRequest{Workspace: "zoo", Question: "What is the walrus budget, " + inQuestion + "?", RequestId: "once"})
	if err != nil {
		t.Fatal(err)
	}
	var turn *dialogv1.Turn
	for stream.Receive() {
		if m := stream.Msg(); m.GetCompleted() != nil {
			turn = m.GetCompleted().GetTurn()
		}
	}
	if err := stream.Err(); err != nil || turn == nil {
		t.Fatalf("turn %v, %v", turn, err)
	}
	if _, err := c.Dialog.SendFeedback(ctx, &dialogv1.SendFeedbackRequest{Workspace: "zoo", TurnId: turn.GetTurnId(), Verdict: dialogv1.Verdict_VERDICT_DOWN, Comment: inFeedback}); err != nil {
		t.Fatal(err)
	}
	// eval has it too: reading the trace waits for that.
	if _, err := c.Eval.GetTrace(ctx, &evalv1.GetTraceRequest{Workspace: "zoo", TurnId: turn.GetTurnId()}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{inDocument, inQuestion, inFeedback, elsewhere} {
		if len(holding(t, o.Data, word)) == 0 {
			t.Errorf("%s is nowhere before the deletion: the test looks in the wrong place", word)
		}
	}

	if _, err := c.Workspaces.DeleteWorkspace(ctx, &dialogv1.DeleteWorkspaceRequest{Workspace: "zoo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Retriever.Search(ctx, &retrieverv1.SearchRequest{Workspace: "zoo", Query: "walrus"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("a search afterwards: %v", err)
	}
	deadline := time.Now().Add(time.Minute) // eval hears of it, and the disk may be busy
	for _, word := range []string{inDocument, inQuestion, inFeedback} {
		for left := holding(t, o.Data, word); len(left) > 0; left = holding(t, o.Data, word) {
			if time.Now().After(deadline) {
				t.Errorf("%s is still in %v", word, left)
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	if len(holding(t, o.Data, elsewhere)) == 0 {
		t.Error("the document of another workspace is gone")
	}
	// The same id begins anew.
	if _, err := c.Workspaces.CreateWorkspace(ctx, &dialogv1.CreateWorkspaceRequest{Workspace: "zoo"}); err != nil {
		t.Fatal(err)
	}
	list, err := c.Retriever.ListDocuments(ctx, &retrieverv1.ListDocumentsRequest{Workspace: "zoo"})
	if err != nil || list.GetTotal() != 0 {
		t.Errorf("documents %v, %v", list, err)
	}
	if _, err := c.Dialog.GetTurn(ctx, &dialogv1.GetTurnRequest{Workspace: "zoo", TurnId: turn.GetTurnId()}); fault.ReasonOf(err) != fault.TurnNotFound {
		t.Errorf("a turn of the old one: %v", err)
	}
}
