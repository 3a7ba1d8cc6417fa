package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/peterh/liner"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
)

const chatHelp = `Type a question. Follow-up questions may leave out what was said before.
  /regenerate    answer the last question again
  /edit TEXT     ask TEXT in place of the last question
  /sources       what the last answer could cite
  /export FILE   write the conversation to a file: Markdown, or JSON when it ends in .json
  /new           start a new session
  /help          show this
  /quit          leave (also Ctrl-D); Ctrl-C stops an answer, which is saved as far as it came
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
	// last is the turn that came last, and question what it was asked.
	last, question string
}

func (v *conversation) run(ctx context.Context) error {
	if v.input.interactive() {
		v.app.out.printf("%s", v.app.out.style(dim, chatHelp))
	}
	aborted := false
	for {
		line, err := v.input.line("> ")
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, liner.ErrPromptAborted) && aborted:
			return v.end()
		case errors.Is(err, liner.ErrPromptAborted): // Ctrl-C at the prompt drops the line
			aborted = true
			v.say("Ctrl-C again, or /quit, leaves.")
			continue
		case err != nil:
			return fmt.Errorf("read question: %w", err)
		}
		aborted = false
		if line = strings.TrimSpace(line); line == "/quit" || line == "/exit" {
			return v.end()
		}
		if err := v.do(ctx, line); err != nil {
			return err
		}
	}
}

// do does what a line says.
func (v *conversation) do(ctx context.Context, line string) error {
	command, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case line == "":
	case command == "/new":
		v.flags.session, v.sources, v.last = "", nil, ""
		v.say("A new session.")
	case command == "/sources":
		v.showSources()
	case command == "/regenerate" && v.last != "":
		return v.ask(ctx, v.question, v.last)
	case command == "/edit" && v.last != "" && rest != "":
		return v.ask(ctx, rest, v.last)
	case command == "/edit" && v.last != "":
		v.app.out.printf("Give the question as it should be: /edit TEXT\n")
	case command == "/regenerate", command == "/edit":
		v.app.out.printf("No question yet: ask something.\n")
	case command == "/export":
		v.export(ctx, rest)
	case strings.HasPrefix(line, "/"):
		v.app.out.printf("%s", chatHelp)
	default:
		return v.ask(ctx, line, "")
	}
	return nil
}

func (v *conversation) say(text string) { v.app.out.printf("%s\n", v.app.out.style(dim, text)) }

// export writes the conversation to a file. What goes wrong is said; the conversation goes on.
func (v *conversation) export(ctx context.Context, file string) {
	switch {
	case file == "":
		v.app.out.printf("Give the file's name: /export FILE\n")
		return
	case v.flags.session == "":
		v.app.out.printf("Nothing to export yet: ask something.\n")
		return
	}
	written, err := v.app.exportTo(ctx, v.client, v.flags.session, formatOf(file), file, false)
	if err != nil {
		v.app.reportError(err)
		v.failed = true
		return
	}
	v.say("Written to " + oneLine(written, 0) + ".")
}

// end makes a script notice when a question failed; a person has seen it.
func (v *conversation) end() error {
	if v.failed && !v.input.interactive() {
		return errReported
	}
	return nil
}

// ask asks one question, in place of the turn replaces when that is not empty. Ctrl-C stops its answer, not the conversation.
func (v *conversation) ask(ctx context.Context, question, replaces string) error {
	asking, stop := v.app.Interruptible(ctx)
	defer stop()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	request := v.flags.request(v.app.workspace, question)
	request.ReplacesTurnId = replaces
	begun, ended := make(chan *dialogv1.ChatStarted, 8), make(chan struct{})
	var stopper sync.WaitGroup
	stopper.Go(func() { v.stopOn(asking, ended, begun, cancel) })
	turn, err := v.app.turn(work, v.client, request, func(s *dialogv1.ChatStarted) {
		v.flags.session, v.last, v.question = s.GetSessionId(), s.GetTurnId(), question
		select {
		case begun <- s:
		default: // it began again so often that nobody waits for it
		}
	})
	close(ended)
	stopper.Wait()
	if turn != nil {
		v.flags.session, v.last, v.question, v.sources = turn.GetSessionId(), turn.GetTurnId(), question, turn.GetSources()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case asking.Err() != nil && v.input.interactive():
		v.say("Stopped. /regenerate answers again.")
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

// stopFor is how long the server may take to write a turn that is stopped.
const stopFor = 10 * time.Second

// stopOn has the server stop the turn once asking ends before the turn does. When it can't be told, the call is cut: that stops the
// turn too, but nobody hears of its end.
func (v *conversation) stopOn(asking context.Context, ended <-chan struct{}, begun <-chan *dialogv1.ChatStarted, cut func()) {
	select {
	case <-ended:
		return
	case <-asking.Done():
	}
	var turn string
	for len(begun) > 0 { // the one that counts is the last
		turn = (<-begun).GetTurnId()
	}
	if turn == "" {
		cut()
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(asking), stopFor)
	defer cancel()
	if _, err := v.client.Dialog.StopTurn(ctx, &dialogv1.StopTurnRequest{Workspace: v.app.workspace, TurnId: turn}); err != nil {
		cut()
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
		cut()
	}
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
