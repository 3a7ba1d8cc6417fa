package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/peterh/liner"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

const chatHelp = `Type a question. Follow-up questions may leave out what was said before.
  /sources  what the last answer could cite
  /new      start a new session
  /quit     leave (also Ctrl-D); Ctrl-C stops an answer
`

func (a *app) chat() *cobra.Command {
	var flags askFlags
	c := &cobra.Command{
		Use:   "chat",
		Short: "Ask question after question in one session",
		Long:  "Ask question after question in one session.\n\n" + chatHelp + "\nIn a pipe, every line is a question, and the exit code is 1 when one of them failed.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			input := newInput(a.Stdin, a.out.terminal)
			defer input.close()
			return (&conversation{app: a, client: c, flags: flags, input: input}).run(cmd.Context())
		},
	}
	flags.add(c)
	return c
}

// conversation is one chat.
type conversation struct {
	app     *app
	client  *client.Client
	flags   askFlags
	input   input
	sources []*llmv1.Source
	failed  bool
}

func (v *conversation) run(ctx context.Context) error {
	if v.input.interactive() {
		v.app.out.printf("%s", v.app.out.style(dim, chatHelp))
	}
	for {
		line, err := v.input.line("> ")
		switch {
		case errors.Is(err, io.EOF):
			return v.end()
		case errors.Is(err, liner.ErrPromptAborted):
			continue // Ctrl-C at the prompt drops the line
		case err != nil:
			return fmt.Errorf("read question: %w", err)
		}
		switch line = strings.TrimSpace(line); {
		case line == "":
		case line == "/quit" || line == "/exit":
			return v.end()
		case line == "/new":
			v.flags.session, v.sources = "", nil
			v.app.out.printf("%s\n", v.app.out.style(dim, "A new session."))
		case line == "/sources":
			v.showSources()
		case strings.HasPrefix(line, "/"):
			v.app.out.printf("%s", chatHelp)
		default:
			if err := v.ask(ctx, line); err != nil {
				return err
			}
		}
	}
}

// end makes a script notice when a question failed; a person has seen it.
func (v *conversation) end() error {
	if v.failed && !v.input.interactive() {
		return errReported
	}
	return nil
}

// ask asks one question. Ctrl-C stops its answer, not the conversation.
func (v *conversation) ask(ctx context.Context, question string) error {
	asking, stop := v.app.Interruptible(ctx)
	defer stop()
	turn, err := v.app.turn(asking, v.client, v.flags.request(v.app.workspace, question))
	if turn != nil {
		v.flags.session, v.sources = turn.GetSessionId(), turn.GetSources()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case asking.Err() != nil && v.input.interactive():
		v.app.out.printf("%s\n", v.app.out.style(dim, "Stopped."))
	case asking.Err() != nil:
		return asking.Err()
	case err != nil:
		v.app.reportError(err)
		v.failed = true
	case !v.app.json:
		v.show(turn)
	}
	return nil
}

func (v *conversation) show(turn *dialogv1.Turn) {
	v.app.showCitations(turn)
	v.app.showEnd(turn, false)
	v.app.out.printf("\n")
}

func (v *conversation) showSources() {
	if len(v.sources) == 0 {
		v.app.out.printf("No sources yet: ask something.\n")
		return
	}
	v.app.showSources(v.sources)
}

// input is where questions come from.
type input interface {
	line(prompt string) (string, error)
	interactive() bool
	close()
}

func newInput(r io.Reader, terminal bool) input {
	if f, ok := r.(*os.File); ok && terminal && term.IsTerminal(int(f.Fd())) {
		state := liner.NewLiner()
		state.SetCtrlCAborts(true)
		return &keyboard{state: state}
	}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 4096), maxQuestionBytes)
	return &pipe{scanner: scanner}
}

// keyboard is a person at a terminal, with line editing and history.
type keyboard struct{ state *liner.State }

func (k *keyboard) line(prompt string) (string, error) {
	line, err := k.state.Prompt(prompt)
	if err == nil && strings.TrimSpace(line) != "" {
		k.state.AppendHistory(line)
	}
	return line, err
}

func (k *keyboard) interactive() bool { return true }

func (k *keyboard) close() { _ = k.state.Close() } // the terminal is as it was, or gone

// pipe is a script.
type pipe struct{ scanner *bufio.Scanner }

func (p *pipe) line(string) (string, error) {
	if p.scanner.Scan() {
		return p.scanner.Text(), nil
	}
	if err := p.scanner.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

func (p *pipe) interactive() bool { return false }

func (p *pipe) close() {}
