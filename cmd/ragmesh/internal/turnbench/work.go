package turnbench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

const (
	workspace = "default"
	// patience bounds one piece of work, above a turn's own 60 s.
	patience = 90 * time.Second
)

// topK is how many passages a turn asks for by default.
const topK = 8

// worker does the three kinds of work that are compared.
type worker struct {
	edge      *client.Client
	http      *http.Client // to the mock
	mock      string       // its base address, with /v1
	questions []string
	workspace string // empty for the default one
	prompt    string // as long as a turn's, for calling the mock directly
}

func (w *worker) question(n uint64) string { return w.questions[n%uint64(len(w.questions))] }

// turnFacts is what a turn's record says about itself.
type turnFacts struct {
	outcome  string
	degraded []string
	stages   map[string]time.Duration
	slowest  time.Duration // of the stages that run in parallel
	closing  time.Duration // from the last piece of the answer, as the client saw it, to the turn's end
}

// turn asks a question as any client would, in a session of its own.
func (w *worker) turn(model string) func(context.Context, uint64) outcome {
	return func(ctx context.Context, n uint64) (o outcome) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		begin := time.Now()
		stream, err := w.edge.Dialog.Chat(ctx, &dialogv1.ChatRequest{Workspace: cmp.Or(w.workspace, workspace), Question: w.question(n), Model: model})
		if err != nil {
			o.err = err
			return o
		}
		defer func() { _ = stream.Close() }() // what matters has been received
		last := begin
		for stream.Receive() {
			switch e := stream.Msg().GetEvent().(type) {
			case *dialogv1.ChatResponse_Delta:
				last = time.Now()
				if o.firstToken == 0 && strings.TrimSpace(e.Delta.GetText()) != "" {
					o.firstToken = time.Since(begin)
				}
			case *dialogv1.ChatResponse_Completed:
				o.turn = factsOf(e.Completed.GetTurn())
				o.turn.closing = time.Since(last)
			case *dialogv1.ChatResponse_Failed:
				o.err = fmt.Errorf("the turn failed: %s (%s)", e.Failed.GetMessage(), e.Failed.GetReason())
			}
		}
		if o.err == nil {
			o.err = stream.Err()
		}
		if o.err == nil && o.turn == nil {
			o.err = errors.New("the stream ended without the turn's end")
		}
		return o
	}
}

func factsOf(t *dialogv1.Turn) *turnFacts {
	f := &turnFacts{
		outcome: strings.ToLower(strings.TrimPrefix(t.GetOutcome().String(), "OUTCOME_")),
		stages:  make(map[string]time.Duration, len(t.GetStages())),
	}
	for _, d := range t.GetDegradations() {
		f.degraded = append(f.degraded, d.GetStage()+": "+d.GetReason())
	}
	for _, s := range t.GetStages() {
		took := s.GetDuration().AsDuration()
		f.stages[s.GetName()] += took
		if s.GetName() == "retrieve" || strings.HasPrefix(s.GetName(), "tool:") {
			f.slowest = max(f.slowest, took)
		}
	}
	return f
}

// direct calls the mock and nothing else.
func (w *worker) direct(model string) func(context.Context, uint64) outcome {
	return func(ctx context.Context, n uint64) outcome {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		reply, err := mockllm.Ask(ctx, w.http, w.mock, model, w.question(n)+"\n\n"+w.prompt)
		return outcome{firstToken: reply.FirstToken, err: err}
	}
}

// sequence searches and then calls the mock with what was found: the least that any assistant has to do.
func (w *worker) sequence(model string) func(context.Context, uint64) outcome {
	return func(ctx context.Context, n uint64) outcome {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		begin := time.Now()
		prompt, err := w.search(ctx, w.question(n))
		if err != nil {
			return outcome{err: err}
		}
		searched := time.Since(begin)
		reply, err := mockllm.Ask(ctx, w.http, w.mock, model, prompt)
		return outcome{firstToken: searched + reply.FirstToken, err: err}
	}
}

// search returns a prompt of the question and the passages for it.
func (w *worker) search(ctx context.Context, question string) (string, error) {
	found, err := w.edge.Retriever.Search(ctx, &retrieverv1.SearchRequest{Workspace: workspace, Query: question, TopK: topK})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(question)
	for i, p := range found.GetPassages() {
		fmt.Fprintf(&b, "\n\n[%d] %s\n%s", i+1, p.GetTitle(), p.GetText())
	}
	return b.String(), nil
}
