package cli_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/cli"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

func conversation(title string) *dialogv1.Session {
	return &dialogv1.Session{SessionId: "01JD00000000000000000000S1", Workspace: "bank", Title: title, User: "user:alice", UpdatedAt: timestamppb.New(noon), TurnCount: 2}
}

func (e *edge) ListSessions(_ context.Context, req *dialogv1.ListSessionsRequest) (*dialogv1.ListSessionsResponse, error) {
	switch {
	case req.GetPageToken() == "":
		return &dialogv1.ListSessionsResponse{Sessions: []*dialogv1.Session{conversation("What does a card cost?\x1b[31m")}, NextPageToken: "2"}, nil
	case req.GetAllUsers():
		return nil, rpc.ToConnect(fault.New(fault.Denied, fault.RoleTooLow, "for administrators"))
	default:
		other := conversation("补办银行卡要多少钱？")
		other.SessionId = "01JD00000000000000000000S0"
		return &dialogv1.ListSessionsResponse{Sessions: []*dialogv1.Session{other}}, nil
	}
}

func (e *edge) ListTurns(_ context.Context, req *dialogv1.ListTurnsRequest) (*dialogv1.ListTurnsResponse, error) {
	if req.GetSessionId() != conversation("").GetSessionId() {
		return nil, rpc.ToConnect(fault.New(fault.NotFound, fault.SessionNotFound, "there is no session %s in this workspace", req.GetSessionId()))
	}
	if req.GetPageToken() == "" {
		return &dialogv1.ListTurnsResponse{Turns: []*dialogv1.Turn{turn("fees?")}, NextPageToken: "2"}, nil
	}
	failed := turn("and then?")
	failed.TurnId, failed.Outcome, failed.Answer, failed.Citations = "01JD00000000000000000000T2", dialogv1.Outcome_OUTCOME_FAILED, "", nil
	failed.Failure = &dialogv1.TurnFailure{Reason: "X", Message: "no service answers"}
	return &dialogv1.ListTurnsResponse{Turns: []*dialogv1.Turn{failed}}, nil
}

func (e *edge) RenameSession(_ context.Context, req *dialogv1.RenameSessionRequest) (*dialogv1.RenameSessionResponse, error) {
	return &dialogv1.RenameSessionResponse{Session: conversation(req.GetTitle())}, nil
}

func (e *edge) DeleteSession(_ context.Context, req *dialogv1.DeleteSessionRequest) (*dialogv1.DeleteSessionResponse, error) {
	if req.GetSessionId() == "none" {
		return nil, rpc.ToConnect(fault.New(fault.NotFound, fault.SessionNotFound, "there is no session none in this workspace"))
	}
	return &dialogv1.DeleteSessionResponse{RemovedTurns: 2}, nil
}

func (e *edge) ExportSession(_ context.Context, req *dialogv1.ExportSessionRequest, out *connect.ServerStream[dialogv1.ExportSessionResponse]) error {
	name, text := "../../card fees.md", "# Fees\n"
	if req.GetFormat() == dialogv1.ExportFormat_EXPORT_FORMAT_JSON {
		name, text = "fees.json", "{}\n"
	}
	if err := out.Send(&dialogv1.ExportSessionResponse{FileName: name, ContentType: "text/markdown", Data: []byte(text)}); err != nil {
		return err
	}
	if req.GetSessionId() == "broken" {
		return rpc.ToConnect(fault.New(fault.Unavailable, fault.StoreUnavailable, "not now"))
	}
	return out.Send(&dialogv1.ExportSessionResponse{Data: []byte("the end\n")})
}

func (e *edge) SendFeedback(_ context.Context, req *dialogv1.SendFeedbackRequest) (*dialogv1.SendFeedbackResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.judged = append(e.judged, req)
	return &dialogv1.SendFeedbackResponse{}, nil
}

func (e *edge) StopTurn(_ context.Context, req *dialogv1.StopTurnRequest) (*dialogv1.StopTurnResponse, error) {
	e.mu.Lock()
	stop := e.stop
	e.mu.Unlock()
	if stop != nil {
		stop(req.GetTurnId())
	}
	return &dialogv1.StopTurnResponse{}, nil
}

func TestSessionCommands(t *testing.T) {
	t.Parallel()
	e := &edge{}
	server := serve(t, e)
	const id = "01JD00000000000000000000S1"
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		"list":           {[]string{"sessions", "list"}, 0, []string{"SESSION", id, "2026-11-20T12:00:00Z", "What does a card cost?[31m\n", "补办银行卡要多少钱？"}, ""},
		"list as JSON":   {[]string{"sessions", "list", "--json"}, 0, []string{`"sessionId":"` + id}, ""},
		"list all":       {[]string{"sessions", "list", "--all"}, 1, nil, "ROLE_TOO_LOW"},
		"show":           {[]string{"sessions", "show", "last"}, 0, []string{"> fees?", "A replacement card costs 5 EUR. [1]", "docs/fees.md", "> and then?", "no service answers"}, ""},
		"show none":      {[]string{"sessions", "show", "nope"}, 1, nil, "SESSION_NOT_FOUND"},
		"rename":         {[]string{"sessions", "rename", id, "Card", "fees"}, 0, []string{"renamed " + id + " to Card fees"}, ""},
		"rename to none": {[]string{"sessions", "rename", id}, 2, nil, "requires at least 2"},
		"remove":         {[]string{"sessions", "rm", id, "none"}, 1, []string{"removed " + id + " (2 turns)"}, "SESSION_NOT_FOUND"},
		"export":         {[]string{"sessions", "export", "last"}, 0, []string{"# Fees\nthe end\n"}, ""},
		"export JSON":    {[]string{"sessions", "export", "last", "--format", "json"}, 0, []string{"{}\nthe end\n"}, ""},
		"export badly":   {[]string{"sessions", "export", "last", "--format", "pdf"}, 2, nil, "markdown or json"},
		"feedback":       {[]string{"feedback", "last", "--down", "--reason", "wrong,outdated", "--comment", "no"}, 0, []string{"noted for 01JD00000000000000000000T2"}, ""},
		"no verdict":     {[]string{"feedback", "t"}, 2, nil, "--up or --down"},
		"both verdicts":  {[]string{"feedback", "t", "--up", "--down"}, 2, nil, "--up or --down"},
	} {
		got := run(t, t.Context(), "", append(c.args, "--server", server, "-w", "bank")...)
		if got.code != c.code || !strings.Contains(got.stderr, c.stderr) || c.stderr == "" && got.stderr != "" {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.stderr)
		}
		for _, want := range c.stdout {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got.stdout)
			}
		}
	}
	if len(e.judged) != 1 || e.judged[0].GetVerdict() != dialogv1.Verdict_VERDICT_DOWN || e.judged[0].GetComment() != "no" || len(e.judged[0].GetTags()) != 2 {
		t.Errorf("judged %v", e.judged)
	}
}

func TestExportToFiles(t *testing.T) {
	t.Parallel()
	server := serve(t, &edge{})
	dir := t.TempDir()
	export := func(code int, args ...string) result {
		t.Helper()
		got := run(t, t.Context(), "", append([]string{"sessions", "export", "--server", server, "-w", "bank"}, args...)...)
		if got.code != code {
			t.Errorf("%v: exit code %d, %s", args, got.code, got.stderr)
		}
		return got
	}
	export(0, "last", "-o", dir) // the server's name for it leads nowhere else
	export(0, "last", "-o", filepath.Join(dir, "talk.json"))
	if got := export(1, "last", "-o", filepath.Join(dir, "talk.json")); !strings.Contains(got.stderr, "exists already") {
		t.Errorf("over a file: %s", got.stderr)
	}
	export(0, "last", "--force", "-o", filepath.Join(dir, "talk.json"))
	export(1, "broken", "-o", filepath.Join(dir, "broken.md"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range entries {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name()] = string(text)
	}
	if diff := cmp.Diff(map[string]string{"card fees.md": "# Fees\nthe end\n", "talk.json": "{}\nthe end\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChatCommands(t *testing.T) {
	t.Parallel()
	e := &edge{}
	server := serve(t, e)
	file := filepath.Join(t.TempDir(), "talk.md")
	got := run(t, t.Context(), "/regenerate\n/edit x\n/export\n/export "+file+"\nfees?\n/regenerate\n/edit and fees?\n/edit\n/export "+file+"\n/new\n/regenerate\nmore?\n", "chat", "--server", server, "-w", "bank")
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	type asked struct{ question, replaces, session string }
	var all []asked
	for _, r := range e.asked {
		all = append(all, asked{r.GetQuestion(), r.GetReplacesTurnId(), r.GetSessionId()})
	}
	const turn, session = "01JD00000000000000000000T1", "01JD00000000000000000000S1"
	want := []asked{{"fees?", "", ""}, {"fees?", turn, session}, {"and fees?", turn, session}, {"more?", "", ""}}
	if diff := cmp.Diff(want, all, cmp.AllowUnexported(asked{})); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "# Fees\nthe end\n" {
		t.Errorf("exported %q, %v", text, err)
	}
	if strings.Count(got.stdout, "No question yet") != 3 || !strings.Contains(got.stdout, "Give the question as it should be") || !strings.Contains(got.stdout, "Nothing to export yet") {
		t.Errorf("said:\n%s", got.stdout)
	}
}

// Ctrl-C has the server stop the turn; what it said so far is shown and kept.
func TestChatStopsAnAnswer(t *testing.T) {
	t.Parallel()
	stopped := make(chan string, 1)
	interrupt := make(chan struct{})
	e := &edge{stop: func(turn string) { stopped <- turn }}
	e.chat = func(ctx context.Context, req *dialogv1.ChatRequest, stream *connect.ServerStream[dialogv1.ChatResponse]) error {
		interrupted := turn(req.GetQuestion())
		interrupted.Outcome, interrupted.Answer, interrupted.Citations = dialogv1.Outcome_OUTCOME_INTERRUPTED, "A repl", nil
		for _, event := range []*dialogv1.ChatResponse{
			{Event: &dialogv1.ChatResponse_Started{Started: &dialogv1.ChatStarted{TurnId: interrupted.GetTurnId(), SessionId: interrupted.GetSessionId()}}},
			{Event: &dialogv1.ChatResponse_Delta{Delta: &llmv1.Delta{Text: "A repl"}}},
		} {
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		select {
		case id := <-stopped:
			if id != interrupted.GetTurnId() {
				t.Errorf("stopped %s", id)
			}
		case <-ctx.Done():
			t.Error("the call was cut")
		}
		return stream.Send(&dialogv1.ChatResponse{Event: &dialogv1.ChatResponse_Completed{Completed: &dialogv1.ChatCompleted{Turn: interrupted}}})
	}
	server := serve(t, e)
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), cli.Environment{
		Args: []string{"chat", "--server", server, "-w", "bank"}, Stdin: strings.NewReader("fees?\n"), Stdout: &noticing{Writer: &stdout, text: "A repl", seen: interrupt}, Stderr: &stderr,
		Interruptible: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				select {
				case <-interrupt:
					cancel()
				case <-ctx.Done():
				}
			}()
			return ctx, cancel
		},
	})
	if code != 1 || !strings.Contains(stdout.String(), "A repl") {
		t.Errorf("exit code %d\n%s\n%s", code, &stdout, &stderr)
	}
}

// noticing closes seen when a text is written.
type noticing struct {
	io.Writer
	text string
	seen chan struct{}
}

func (n *noticing) Write(p []byte) (int, error) {
	written, err := n.Writer.Write(p)
	if strings.Contains(string(p), n.text) {
		close(n.seen)
	}
	return written, err
}
