package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/waterfall"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
)

func (a *app) trace() *cobra.Command {
	var full bool
	c := &cobra.Command{
		Use:   "trace TURN|last",
		Short: "Show a turn's stages and spans as a waterfall",
		Long: "Show a turn's stages and spans as a waterfall. Without --full: what ran, when, for how long and how it ended;\n" +
			"with it, each stage's input and output too.",
		Example: "  ragmesh trace last\n  ragmesh trace last --full\n  ragmesh trace last --json | jq .turn.stages",
		Args:    cobra.ExactArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			id := args[0]
			if id == "last" {
				var err error
				if id, err = a.lastTurn(ctx, c); err != nil {
					return err
				}
			}
			resp, err := c.Eval.GetTrace(ctx, &evalv1.GetTraceRequest{Workspace: a.workspace, TurnId: id})
			if err != nil {
				return err
			}
			if a.json {
				return a.out.message(resp)
			}
			return a.showTrace(resp, full)
		}),
	}
	c.Flags().BoolVar(&full, "full", false, "show each stage's input and output, and the answer")
	return c
}

func (a *app) lastTurn(ctx context.Context, c *client.Client) (string, error) {
	resp, err := c.Eval.ListTraces(ctx, &evalv1.ListTracesRequest{Workspace: a.workspace, PageSize: 1})
	if err != nil {
		return "", err
	}
	if len(resp.GetTraces()) == 0 {
		return "", fault.New(fault.NotFound, fault.TurnNotFound, "workspace %s has no turns yet; ask something with `ragmesh ask`", a.workspace)
	}
	return resp.GetTraces()[0].GetTurnId(), nil
}

func (a *app) showTrace(trace *evalv1.GetTraceResponse, full bool) error {
	turn := trace.GetTurn()
	total := turn.GetCompletedAt().AsTime().Sub(turn.GetStartedAt().AsTime())
	a.showTurnHead(turn, total)
	a.out.printf("\n%s\n", a.out.style(bold, "Stages"))
	draw := waterfall.Options{Width: a.out.width, Paint: a.out.paint}
	if err := waterfall.Write(a.out.w, stageSteps(turn.GetStages()), total, draw); err != nil {
		return err
	}
	if spans := trace.GetSpans(); len(spans) > 0 {
		a.out.printf("\n%s\n", a.out.style(bold, "Spans"))
		if err := waterfall.Write(a.out.w, spanSteps(spans), total, draw); err != nil {
			return err
		}
	}
	if full {
		a.showStages(turn)
	}
	return nil
}

func (a *app) showTurnHead(turn *dialogv1.Turn, total time.Duration) {
	a.out.printf("%s\n", a.out.style(bold, oneLine(turn.GetQuestion(), 0)))
	if s := turn.GetStandaloneQuestion(); s != "" && s != turn.GetQuestion() {
		a.out.printf("understood as: %s\n", oneLine(s, 0))
	}
	parts := []string{
		"turn " + turn.GetTurnId(), "session " + turn.GetSessionId(), turn.GetStartedAt().AsTime().Format(time.RFC3339), outcomes[turn.GetOutcome()],
		waterfall.Duration(total),
	}
	if turn.GetTimeToFirstToken() != nil {
		parts = append(parts, "first words after "+waterfall.Duration(turn.GetTimeToFirstToken().AsDuration()))
	}
	a.out.printf("%s\n", a.out.style(dim, strings.Join(parts, "  ")))
	if g := turn.GetGeneration(); g.GetModel() != "" {
		a.out.printf("%s\n", a.out.style(dim, fmt.Sprintf("model %s (%s)  prompt %s@%s  tokens %d+%d", oneLine(g.GetModel(), 0), oneLine(g.GetProvider(), 0),
			oneLine(g.GetPromptId(), 0), oneLine(g.GetPromptRevision(), 0), turn.GetUsage().GetPromptTokens(), turn.GetUsage().GetCompletionTokens())))
	}
	if f := turn.GetFailure(); f != nil {
		a.out.printf("%s\n", a.out.style(red, fmt.Sprintf("failed: %s (%s)", oneLine(f.GetMessage(), 0), oneLine(f.GetReason(), 0))))
	}
	a.showDegradations(turn.GetDegradations())
}

func stageSteps(stages []*dialogv1.StageRecord) []waterfall.Step {
	steps := make([]waterfall.Step, len(stages))
	for i, s := range stages {
		steps[i] = waterfall.Step{
			Name: oneLine(s.GetName(), 0), Service: oneLine(s.GetService(), 0), Offset: s.GetOffset().AsDuration(), Duration: s.GetDuration().AsDuration(),
			Status: s.GetStatus(), Note: oneLine(s.GetError(), 0),
		}
	}
	return steps
}

func spanSteps(spans []*evalv1.Span) []waterfall.Step {
	nodes := make([]waterfall.Node, len(spans))
	for i, s := range spans {
		status := s.GetStatus()
		if status == "ok" {
			status = "" // the ordinary case needs no word on every line
		}
		name := oneLine(s.GetName(), 0)
		// Procedures carry their whole package name: the service and method say enough.
		if cut := strings.LastIndex(name, "."); strings.HasPrefix(name, "ragmesh.") && cut > 0 {
			name = name[cut+1:]
		}
		nodes[i] = waterfall.Node{ID: s.GetSpanId(), Parent: s.GetParentSpanId(), Step: waterfall.Step{
			Name: name, Service: oneLine(s.GetService(), 0), Offset: s.GetOffset().AsDuration(), Duration: s.GetDuration().AsDuration(),
			Status: status, Note: oneLine(s.GetError(), 0),
		}}
	}
	return waterfall.Tree(nodes)
}

// showStages prints what went into each stage and what came out of it.
func (a *app) showStages(turn *dialogv1.Turn) {
	for _, s := range turn.GetStages() {
		a.out.printf("\n%s  %s\n", a.out.style(bold, oneLine(s.GetName(), 0)), a.out.style(dim, fmt.Sprintf("%s, %s, %s",
			oneLine(s.GetService(), 0), waterfall.Duration(s.GetDuration().AsDuration()), oneLine(s.GetStatus(), 0))))
		if s.GetError() != "" {
			a.out.printf("  error: %s\n", oneLine(s.GetError(), 0))
		}
		a.showJSON("in", s.GetInputJson())
		a.showJSON("out", s.GetOutputJson())
	}
	if turn.GetAnswer() != "" {
		a.out.printf("\n%s\n%s\n", a.out.style(bold, "Answer"), clean(turn.GetAnswer()))
	}
	a.showCitations(turn)
}

func (a *app) showJSON(name, text string) {
	if text == "" {
		return
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(text), "  ", "  "); err != nil {
		pretty.Reset()
		pretty.WriteString(text) // cut to its bound, so no longer JSON
	}
	a.out.printf("  %s %s\n", a.out.style(dim, name+":"), clean(pretty.String()))
}
