package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/waterfall"
	"github.com/ragmesh/ragmesh/libs/fault"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

const (
	// maxQuestionBytes is the contract's bound.
	maxQuestionBytes = 32 << 10
	// silence is how long a stream may say nothing; the server sends a heartbeat every 15 s.
	silence = 45 * time.Second
)

// askFlags are what a question can carry, in ask and in chat.
type askFlags struct {
	session, prompt, strategy, model string
}

func (f *askFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.session, "session", "", "session to go on with (default: a new one)")
	c.Flags().StringVar(&f.prompt, "prompt", "", "prompt template (default: the configured one)")
	c.Flags().StringVar(&f.strategy, "strategy", "", "retrieval strategy (default: the configured one)")
	c.Flags().StringVar(&f.model, "model", "", "model (default: the configured one)")
}

func (f *askFlags) request(workspace, question string) *dialogv1.ChatRequest {
	return &dialogv1.ChatRequest{
		Workspace: workspace, SessionId: f.session, Question: question, PromptId: f.prompt, Strategy: f.strategy, Model: f.model,
	}
}

func (a *app) ask() *cobra.Command {
	var flags askFlags
	c := &cobra.Command{
		Use:   "ask QUESTION",
		Short: "Ask one question; the answer streams, its citations follow",
		Long: "Ask one question; the answer streams, its citations follow.\n\n" +
			"With - as question it is read from standard input. An answer that declines, because the documents do not hold it, is an answer: exit code 0.",
		Example: "  ragmesh ask \"What does a replacement card cost?\"\n  ragmesh ask 补办银行卡要多少钱？\n  echo \"What is a pod?\" | ragmesh ask -",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			question := strings.Join(args, " ")
			if question == "-" {
				text, err := io.ReadAll(io.LimitReader(a.Stdin, maxQuestionBytes+1))
				if err != nil {
					return fmt.Errorf("read question: %w", err)
				}
				question = string(text)
			}
			if question = strings.TrimSpace(question); question == "" {
				return usagef("the question is empty")
			}
			turn, err := a.turn(ctx, c, flags.request(a.workspace, question), nil)
			if err != nil || a.json {
				return err
			}
			a.showCitations(turn)
			a.showEnd(turn, true)
			return nil
		}),
	}
	flags.add(c)
	return c
}

// turn asks a question and shows the answer as it comes. It returns the whole record once it is complete. begun, when it is not
// nil, is told as soon as the turn has begun.
func (a *app) turn(ctx context.Context, c *client.Client, req *dialogv1.ChatRequest, begun func(*dialogv1.ChatStarted)) (*dialogv1.Turn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() {
		cancel(fault.New(fault.Timeout, fault.DeadlineExceeded, "the server has said nothing for %s; the turn may still be read with `ragmesh trace last`", silence))
	})
	defer watch.Stop()

	answer := &answer{app: a}
	err := c.Ask(ctx, req, client.Asking{}, func(event *dialogv1.ChatResponse) error {
		watch.Reset(silence)
		if a.json {
			if err := a.out.message(event); err != nil {
				return err
			}
		}
		if started := event.GetStarted(); started != nil && begun != nil {
			begun(started)
		}
		answer.event(event)
		return nil
	})
	if answer.done {
		return answer.turn, answer.err
	}
	answer.newline()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// answer is a turn as it comes.
type answer struct {
	app  *app
	open bool // text has been shown, and no line break after it
	done bool
	turn *dialogv1.Turn
	err  error
}

// event takes in one event.
func (r *answer) event(event *dialogv1.ChatResponse) {
	switch e := event.GetEvent().(type) {
	case *dialogv1.ChatResponse_Delta:
		if text := clean(e.Delta.GetText()); text != "" && !r.app.json {
			r.app.out.printf("%s", text)
			r.open = !strings.HasSuffix(text, "\n")
		}
	case *dialogv1.ChatResponse_Restarted:
		r.newline()
		if !r.app.json {
			r.app.out.printf("%s\n", r.app.out.style(yellow, "What was answering went away. The answer begins again:"))
		}
	case *dialogv1.ChatResponse_Completed:
		r.newline()
		r.done, r.turn = true, e.Completed.GetTurn()
		if e.Completed.GetStored() == dialogv1.Stored_STORED_SPOOLED && !r.app.json {
			r.app.out.printf("%s\n", r.app.out.style(yellow, "saved in the server's spool: its message store is away"))
		}
	case *dialogv1.ChatResponse_Failed:
		r.newline()
		r.done, r.turn = true, e.Failed.GetTurn()
		r.err = failed(e.Failed)
	}
}

func (r *answer) newline() {
	if r.open {
		r.app.out.printf("\n")
		r.open = false
	}
}

// failed turns the end of a turn into the error it is.
func failed(f *dialogv1.ChatFailed) error {
	return fault.New(fault.Internal, fault.ParseReason(f.GetReason()), "%s", f.GetMessage())
}

// showEnd says how a turn ended and where to look further.
func (a *app) showEnd(turn *dialogv1.Turn, hint bool) {
	degradations := turn.GetDegradations()
	if len(degradations) > 0 {
		a.out.printf("\n")
	}
	a.showDegradations(degradations)
	parts := []string{outcomes[turn.GetOutcome()], "in " + waterfall.Duration(turn.GetCompletedAt().AsTime().Sub(turn.GetStartedAt().AsTime()))}
	if g := turn.GetGeneration(); g.GetProvider() != "" {
		parts = append(parts, "by "+oneLine(g.GetProvider(), 0))
	}
	if hint {
		parts = append(parts, "more: ragmesh trace "+turn.GetTurnId())
	}
	a.out.printf("\n%s\n", a.out.style(dim, strings.Join(parts, ", ")))
}
