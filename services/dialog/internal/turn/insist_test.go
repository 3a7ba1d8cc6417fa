package turn_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// broken is a stream that says some text and then breaks.
type broken struct {
	stream
	err    error
	closed *atomic.Int64
}

func (b *broken) Next() (turn.Part, error) {
	p, err := b.stream.Next()
	if p.Completed != nil || err == io.EOF { //nolint:errorlint // as the fake above returns it
		return turn.Part{}, b.err
	}
	return p, err
}

func (b *broken) Close() error {
	b.closed.Add(1)
	return nil
}

// said puts a turn's answer together as a client does.
func said(events []turn.Event) (text string, citations, restarts int) {
	for _, e := range events {
		switch {
		case e.Restarted != nil:
			text, citations = "", 0
			restarts++
		case e.Citation != nil:
			citations++
		default:
			text += e.Delta
		}
	}
	return text, citations, restarts
}

func TestTheGatewayGoesAway(t *testing.T) {
	t.Parallel()
	gone := fault.New(fault.Unavailable, fault.ServiceUnavailable, "gone")
	stopping := fault.New(fault.Unavailable, fault.Draining, "stopping")
	provider := fault.New(fault.Unavailable, fault.ProviderUnavailable, "no provider")
	const half = "The daily transfer limit is 50,000 dollars [1]. And half of"
	for name, test := range map[string]struct {
		breaks    []any // what the first attempts say before they break, or the error with which they do not even begin
		err       error
		committed bool
		asked     int
		restarts  int
		degraded  bool
		answer    string
	}{
		"before anything":                {breaks: []any{gone}, asked: 2},
		"while it stops":                 {breaks: []any{stopping, stopping}, asked: 3},
		"before any text":                {breaks: []any{"", ""}, err: gone, asked: 3},
		"after text":                     {breaks: []any{half}, err: gone, asked: 2, restarts: 1},
		"after text, and nobody there":   {breaks: []any{half, gone, gone, gone}, err: gone, asked: 5, restarts: 1},
		"after text, twice":              {breaks: []any{half, half}, err: gone, asked: 3, restarts: 2},
		"after text, every time":         {breaks: []any{half, half, half, half}, err: gone, asked: 3, restarts: 2, degraded: true, answer: half},
		"nobody there for long":          {breaks: []any{gone, gone, gone, gone, gone, gone, gone, gone}, asked: 6, degraded: true, answer: "limit is 50,000 dollars"},
		"what was sent can't be undone":  {breaks: []any{half}, err: gone, committed: true, asked: 1, degraded: true, answer: half},
		"it can before anything is sent": {breaks: []any{gone}, committed: true, asked: 2},
		"a provider's failure":           {breaks: []any{provider}, asked: 1, degraded: true, answer: "limit is 50,000 dollars"},
		"a provider's failure, in text":  {breaks: []any{half}, err: provider, asked: 1, degraded: true, answer: half},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, opened, closed atomic.Int64
			p := &peers{generate: func(_ context.Context, g turn.Generate) (turn.Stream, error) {
				n := int(asked.Add(1))
				if n > len(test.breaks) {
					return parts(g, fact+" [1]"), nil
				}
				if err, ok := test.breaks[n-1].(*fault.Error); ok {
					return nil, err
				}
				opened.Add(1)
				return &broken{stream: *parts(g, test.breaks[n-1].(string)), err: test.err, closed: &closed}, nil
			}}
			a := answerer(t, p)
			got, events := ask(t, a, turn.Question{Workspace: "w", Text: question, Committed: test.committed})
			text, citations, restarts := said(events)
			if got.Outcome != turn.Answered || (len(got.Degradations) > 0) != test.degraded {
				t.Errorf("%s, degraded: %s", got.Outcome, degraded(got))
			}
			if int(asked.Load()) != test.asked || restarts != test.restarts {
				t.Errorf("asked %d times, %d restarts; want %d and %d", asked.Load(), restarts, test.asked, test.restarts)
			}
			if text != got.Answer || citations != len(got.Citations) || citations == 0 {
				t.Errorf("the client has %q with %d citations, the record %q with %d", text, citations, got.Answer, len(got.Citations))
			}
			want := test.answer
			if want == "" {
				want = fact + " [1]"
			}
			if !strings.Contains(got.Answer, want) || test.answer == "" && got.Answer != want {
				t.Errorf("the answer is %q, want %q", got.Answer, want)
			}
			for end := time.Now().Add(time.Minute); closed.Load() < opened.Load() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if closed.Load() != opened.Load() {
				t.Errorf("%d streams were opened, %d closed", opened.Load(), closed.Load())
			}
		})
	}
}

// A gateway that is down is not asked for every turn six times.
func TestRepeatsHaveABound(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	p := &peers{generate: func(context.Context, turn.Generate) (turn.Stream, error) {
		asked.Add(1)
		return nil, fault.New(fault.Unavailable, fault.ServiceUnavailable, "gone")
	}}
	a := answerer(t, p, func(c *turn.Config) { c.Limit = 1000 })
	const turns = 400
	began := time.Now()
	done := make(chan struct{}, turns)
	for range turns {
		go func() {
			_ = a.Ask(t.Context(), turn.Question{Workspace: "w", Text: question}, func(turn.Event) error { return nil })
			done <- struct{}{}
		}()
	}
	for range turns {
		<-done
	}
	took := time.Since(began)
	if n := asked.Load(); n > turns+300+turns/5+10*int64(took/time.Second+1) {
		t.Errorf("%d turns asked the gateway %d times in %s", turns, n, took)
	}
}
