package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
)

// degradeAll makes the degrade matrix include pairs of faults, and the budgets that are the default: some minutes more.
const degradeAll = "RAGMESH_DEGRADE_ALL"

// The question goes to the documents and to a tool; the other one to the documents only.
const (
	wantsBoth      = "What does a replacement card cost?"
	wantsDocuments = "When does a new card arrive?"
)

const degradeIntents = `
intents:
  - name: both
    keywords: [replacement card]
    tool: calculator
    arguments: {expression: 12*7}
`

// smallBudgets bound a turn so that a table of faults takes seconds. They leave room for a machine that is busy.
const smallBudgets = `
turn:
  budget: {turn: 8s, plan: 500ms, retrieve: 1s, tools: 1500ms, first_token: 2s, idle: 2s, save: 500ms}
`

// budgets are how long a turn may take, and the delay that no stage has time for.
type budgets struct {
	config     string
	turn, slow time.Duration
}

// answer is what a turn came to, as its caller saw it.
type answer struct {
	turn   *dialogv1.Turn
	stored dialogv1.Stored
	took   time.Duration
}

func (a answer) outcome() string {
	return strings.ToLower(strings.TrimPrefix(a.turn.GetOutcome().String(), "OUTCOME_"))
}

// degraded returns the stages that were named, with the reasons.
func (a answer) degraded() []string {
	var out []string
	for _, d := range a.turn.GetDegradations() {
		out = append(out, d.GetStage()+":"+d.GetReason())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a answer) names(stage string) bool {
	return slices.ContainsFunc(a.turn.GetDegradations(), func(d *retrieverv1.Degradation) bool { return d.GetStage() == stage })
}

// uses says which sources the turn had.
func (a answer) uses() (documents, tools bool) {
	for _, s := range a.turn.GetSources() {
		documents = documents || s.GetPassage() != nil
		tools = tools || s.GetToolResult() != nil
	}
	return documents, tools
}

// put asks a question within a session, empty for a new one. It fails the test unless the turn ends with completed.
func put(t *testing.T, s *e2e.System, session, question string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	began := time.Now()
	stream, err := dialogv1connect.NewDialogServiceClient(http.DefaultClient, s.Server).
		Chat(ctx, &dialogv1.ChatRequest{Workspace: "default", SessionId: session, Question: question})
	if err != nil {
		t.Fatalf("%q: %v", question, err)
	}
	defer stream.Close()
	for stream.Receive() {
		switch event := stream.Msg().GetEvent().(type) {
		case *dialogv1.ChatResponse_Completed:
			return answer{event.Completed.GetTurn(), event.Completed.GetStored(), time.Since(began)}
		case *dialogv1.ChatResponse_Failed:
			return answer{event.Failed.GetTurn(), event.Failed.GetStored(), time.Since(began)}
		}
	}
	t.Fatalf("%q: the stream ended without completed after %s: %v", question, time.Since(began), stream.Err())
	return answer{}
}

// mishap is something that goes wrong with a part, and how it is put right.
type mishap struct {
	name         string
	inject, heal func(t *testing.T, p *e2e.Part)
}

func mishaps(b budgets) []mishap {
	pass := func(_ *testing.T, p *e2e.Part) { p.Link.Pass() }
	return []mishap{
		{"killed", func(t *testing.T, p *e2e.Part) { t.Helper(); p.Kill(t) }, func(t *testing.T, p *e2e.Part) { t.Helper(); p.Restart(t) }},
		{"hung", func(t *testing.T, p *e2e.Part) { t.Helper(); p.Hang(t) }, func(t *testing.T, p *e2e.Part) { t.Helper(); p.Resume(t) }},
		{"slow", func(_ *testing.T, p *e2e.Part) { p.Link.Slow(b.slow) }, pass},
		{"erroring", func(_ *testing.T, p *e2e.Part) { p.Link.Fail() }, pass},
		{"resetting", func(_ *testing.T, p *e2e.Part) { p.Link.Reset() }, pass},
	}
}

var parts = []string{"retriever", "tools", "llm-gateway", e2e.NATS, "eval"}

// matrix is a mesh under test and the table of what became of its turns.
type matrix struct {
	s       *e2e.System
	b       budgets
	session string
	turns   []answer
	table   bytes.Buffer
	rows    *tabwriter.Writer
}

func startMatrix(t *testing.T, b budgets) *matrix {
	t.Helper()
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	config, dir := t.TempDir(), documents(t)
	if err := os.WriteFile(filepath.Join(config, "dialog.yaml"), []byte(degradeIntents+b.config), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &matrix{s: e2e.StartMesh(t, e2e.WithLinks(), e2e.WithConfig(config)), b: b}
	must(t, m.s, "ingest", "--base", dir, dir)
	first := m.ask(t, "", wantsBoth)
	if docs, tools := first.uses(); len(first.degraded()) > 0 || !docs || !tools {
		t.Fatalf("before any fault the turn is degraded: %v, %v", first.degraded(), first.turn)
	}
	m.session = first.turn.GetSessionId()
	m.rows = tabwriter.NewWriter(&m.table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(m.rows, "stage\tfault\tquestion\toutcome\tlatency\tused\tdegradations\trecovered in")
	return m
}

func (m *matrix) ask(t *testing.T, session, question string) answer {
	t.Helper()
	a := put(t, m.s, session, question)
	m.turns = append(m.turns, a)
	return a
}

// check asks while parts are bad, and wants the answer in time, those parts named and the others' results used.
func (m *matrix) check(t *testing.T, fault string, bad ...string) {
	t.Helper()
	broken := func(part string) bool { return slices.Contains(bad, part) }
	for _, question := range []string{wantsBoth, wantsDocuments} {
		if question == wantsDocuments && !broken("retriever") {
			continue // says nothing new
		}
		session := ""
		if broken(e2e.NATS) {
			session = m.session // whose history can't be read now
		}
		a := m.ask(t, session, question)
		documents, tools := a.uses()
		used := []string{}
		for name, is := range map[string]bool{"documents": documents, "tools": tools} {
			if is {
				used = append(used, name)
			}
		}
		slices.Sort(used)
		kind := "documents"
		if question == wantsBoth {
			kind = "documents and a tool"
		}
		fmt.Fprintf(m.rows, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t", strings.Join(bad, " and "), fault, kind, a.outcome(),
			a.took.Round(10*time.Millisecond), strings.Join(used, "+"), strings.Join(a.degraded(), " "))

		if a.took > m.b.turn {
			t.Errorf("%v %s: the answer took %s, the turn's deadline is %s", bad, fault, a.took, m.b.turn)
		}
		called := question == wantsBoth
		if documents == broken("retriever") || tools != (called && !broken("tools")) {
			t.Errorf("%v %s: the answer uses documents %t and tools %t", bad, fault, documents, tools)
		}
		wanted := "OUTCOME_ANSWERED"
		if !documents && !tools {
			wanted = "OUTCOME_ABSTAINED"
		}
		if got := a.turn.GetOutcome().String(); got != wanted {
			t.Errorf("%v %s: the outcome is %s, want %s: %s", bad, fault, got, wanted, a.turn.GetFailure().GetMessage())
		}
		if documents && !strings.Contains(a.turn.GetAnswer(), "12 euros") {
			t.Errorf("%v %s: the documents' answer is not in %q", bad, fault, a.turn.GetAnswer())
		}
		if tools && !strings.Contains(a.turn.GetAnswer(), "84") {
			t.Errorf("%v %s: the tool's answer is not in %q", bad, fault, a.turn.GetAnswer())
		}
		for part, stage := range map[string]string{"retriever": "retriever", "tools": "tools", "llm-gateway": "llm-gateway", e2e.NATS: "save"} {
			concerned := broken(part)
			switch part {
			case "tools":
				concerned = concerned && called
			case "llm-gateway":
				concerned = concerned && (documents || tools) // an abstention needs no model
			}
			if a.names(stage) != concerned {
				t.Errorf("%v %s: the degradations are %v, and %s should be named: %t", bad, fault, a.degraded(), stage, concerned)
			}
		}
		if want := broken(e2e.NATS); want != (a.stored == dialogv1.Stored_STORED_SPOOLED) {
			t.Errorf("%v %s: the turn is stored in %s", bad, fault, a.stored)
		}
		if question == wantsBoth && broken("retriever") {
			fmt.Fprintln(m.rows)
		}
	}
}

// recovered waits until a turn has nothing to complain about. Nothing is restarted for it.
func (m *matrix) recovered(t *testing.T, fault string, bad ...string) {
	t.Helper()
	began := time.Now()
	for {
		a := m.ask(t, "", wantsBoth)
		if docs, tools := a.uses(); len(a.degraded()) == 0 && docs && tools {
			fmt.Fprintln(m.rows, time.Since(began).Round(10*time.Millisecond))
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%v %s: a minute after it was put right the turn is still degraded: %v", bad, fault, a.degraded())
		}
	}
}

// show prints the table, and checks that every turn that was answered on the way is there, once.
func (m *matrix) show(t *testing.T) {
	t.Helper()
	_ = m.rows.Flush() // into memory
	t.Logf("%s of turn budget\n%s", m.b.turn, m.table.String())
	client := dialogv1connect.NewDialogServiceClient(http.DefaultClient, m.s.Server)
	bySession := map[string][]string{}
	for _, a := range m.turns {
		bySession[a.turn.GetSessionId()] = append(bySession[a.turn.GetSessionId()], a.turn.GetTurnId())
	}
	for session, want := range bySession {
		var got []string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			got = nil
			for page := ""; ; {
				list, err := client.ListTurns(t.Context(), &dialogv1.ListTurnsRequest{Workspace: "default", SessionId: session, PageToken: page})
				if err != nil {
					t.Fatalf("list the turns of %s: %v", session, err)
				}
				for _, turn := range list.GetTurns() {
					got = append(got, turn.GetTurnId())
				}
				if page = list.GetNextPageToken(); page == "" {
					break
				}
			}
			if len(got) >= len(want) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the session's turns are %v, want %v", got, want)
		}
	}
}

// One part at a time goes bad in every way.
func TestDegrade(t *testing.T) {
	small := budgets{config: smallBudgets, turn: 8 * time.Second, slow: 4 * time.Second}
	m := startMatrix(t, small)
	defer m.show(t)
	for _, part := range parts {
		p := m.s.Part(t, part)
		for _, f := range mishaps(m.b) {
			if part == e2e.NATS && f.name == "erroring" {
				continue // it doesn't speak gRPC
			}
			f.inject(t, p)
			m.check(t, f.name, part)
			f.heal(t, p)
			m.recovered(t, f.name, part)
		}
	}
}

// The budgets people run with, and two parts bad at the same time.
func TestDegradeInPairs(t *testing.T) {
	if os.Getenv(degradeAll) == "" {
		t.Skip("takes some minutes; set " + degradeAll)
	}
	for name, b := range map[string]budgets{
		"small budgets":   {config: smallBudgets, turn: 8 * time.Second, slow: 4 * time.Second},
		"default budgets": {turn: time.Minute, slow: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMatrix(t, b)
			defer m.show(t)
			for i, one := range parts {
				for _, other := range append([]string{""}, parts[i+1:]...) {
					for _, f := range mishaps(b) {
						bad := []string{one, other}
						if other == "" {
							bad = bad[:1]
						}
						if slices.Contains(bad, e2e.NATS) && f.name == "erroring" {
							continue
						}
						for _, part := range bad {
							f.inject(t, m.s.Part(t, part))
						}
						m.check(t, f.name, bad...)
						if other == e2e.NATS { // without it the first would not start
							slices.Reverse(bad)
						}
						for _, part := range bad {
							f.heal(t, m.s.Part(t, part))
						}
						m.recovered(t, f.name, bad...)
					}
				}
			}
		})
	}
}
