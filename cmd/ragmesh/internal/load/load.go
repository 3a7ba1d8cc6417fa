// Package load puts a running ragmesh under constant load: an open loop, which asks at its rate whatever becomes of the
// questions before, as people do. Latency counts from the moment at which a question was to be asked, so that a server that
// stands still is charged for everyone who waits, not for one.
package load

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/client"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/repeat"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
)

// Asker asks one question; *client.Client is one.
type Asker interface {
	Ask(ctx context.Context, req *dialogv1.ChatRequest, o client.Asking, each func(*dialogv1.ChatResponse) error) error
}

// Options says how much load there is.
type Options struct {
	// Rate is how many questions are asked a second, Duration for how long.
	Rate     float64
	Duration time.Duration
	// Limit is how many questions may be under way at once. Those beyond wait, and their latency grows.
	Limit int
	// Timeout ends a question, counted from when it was to be asked. Retry is how long it is asked again while nobody takes it.
	Timeout, Retry time.Duration
	// Questions are asked in turn.
	Questions        []string
	Workspace, Model string
	// Progress is told how it goes every ProgressEvery, and at the end; nil for nobody.
	Progress      func(Progress)
	ProgressEvery time.Duration
}

// Progress is how a load goes.
type Progress struct {
	Elapsed                       time.Duration
	Sent, Ended, Failed, Degraded int
	Retried, Running              int
	MeanOfLast, SlowestOfLast     time.Duration
	sumOfLast                     time.Duration
	endedOfLast                   int
}

// result is what became of one question.
type result struct {
	due, sent, end time.Duration // since the load began
	firstToken     time.Duration // from due; 0 when no text came
	outcome        string        // of the turn; empty when it did not end
	failure        string        // why it counts as failed; empty when it does not
	degraded       []string
	repeats        []string // why it was asked again, each time
	restarts       int      // the server began the answer again by itself
	turn           string
}

// Run asks until the load's end, or ctx's, and waits for what is under way.
func Run(ctx context.Context, asker Asker, o Options) *Report {
	r := &runner{o: o, asker: asker, begin: time.Now()}
	places := make(chan struct{}, o.Limit)
	var group sync.WaitGroup
	stopProgress := r.progress()
	planned := int(o.Rate * o.Duration.Seconds())
	unsent := 0
	for i := range planned {
		due := time.Duration(float64(i) / o.Rate * float64(time.Second))
		if !r.wait(ctx, due) || !r.enter(ctx, places, due) {
			unsent++
			continue
		}
		group.Go(func() {
			defer func() { <-places }()
			r.ask(ctx, i, due)
		})
	}
	asked := time.Since(r.begin)
	group.Wait()
	stopProgress()
	if ctx.Err() != nil {
		planned, unsent = len(r.results), 0
	}
	return newReport(o, r.results, planned, unsent, asked)
}

// runner is one load.
type runner struct {
	o     Options
	asker Asker
	begin time.Time

	mu      sync.Mutex
	results []result
	now     Progress
}

// wait waits until d after the beginning.
func (r *runner) wait(ctx context.Context, d time.Duration) bool {
	return repeat.Pause(ctx, time.Until(r.begin.Add(d))) == nil
}

// enter waits for a place, until the question's time is over.
func (r *runner) enter(ctx context.Context, places chan struct{}, due time.Duration) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(time.Until(r.begin.Add(due + r.o.Timeout)))
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (r *runner) ask(ctx context.Context, n int, due time.Duration) {
	res := result{due: due, sent: time.Since(r.begin)}
	r.note(func(p *Progress) { p.Sent++; p.Running++ })
	load := ctx
	ctx, cancel := context.WithDeadline(ctx, r.begin.Add(due+r.o.Timeout))
	defer cancel()
	request := &dialogv1.ChatRequest{Workspace: r.o.Workspace, Model: r.o.Model, Question: r.o.Questions[n%len(r.o.Questions)]}
	err := r.asker.Ask(ctx, request, client.Asking{
		Patience: r.o.Retry,
		Again:    func(cause error) { res.repeats = append(res.repeats, name(cause)) },
	}, func(m *dialogv1.ChatResponse) error {
		r.take(&res, m)
		return nil
	})
	res.end = time.Since(r.begin)
	if err != nil && res.outcome == "" {
		res.failure = name(err)
	}
	r.note(func(p *Progress) {
		if res.failure != "" && load.Err() != nil { // cut short, which says nothing about the server
			p.Running--
			p.Sent--
			return
		}
		r.results = append(r.results, res)
		took := res.end - res.due
		p.Running--
		p.Ended++
		p.endedOfLast++
		p.sumOfLast += took
		p.SlowestOfLast = max(p.SlowestOfLast, took)
		if res.failure != "" {
			p.Failed++
		}
		if len(res.degraded) > 0 {
			p.Degraded++
		}
		if len(res.repeats) > 0 {
			p.Retried++
		}
	})
}

// take notes what an event says.
func (r *runner) take(res *result, m *dialogv1.ChatResponse) {
	switch e := m.GetEvent().(type) {
	case *dialogv1.ChatResponse_Delta:
		if res.firstToken == 0 && strings.TrimSpace(e.Delta.GetText()) != "" {
			res.firstToken = time.Since(r.begin) - res.due
		}
	case *dialogv1.ChatResponse_Restarted:
		res.restarts++
	case *dialogv1.ChatResponse_Completed:
		res.ended(e.Completed.GetTurn())
	case *dialogv1.ChatResponse_Failed:
		res.ended(e.Failed.GetTurn())
		res.failure = "turn " + e.Failed.GetReason()
	}
}

func (r *result) ended(t *dialogv1.Turn) {
	r.turn = t.GetTurnId()
	r.outcome = strings.ToLower(strings.TrimPrefix(t.GetOutcome().String(), "OUTCOME_"))
	for _, d := range t.GetDegradations() {
		r.degraded = append(r.degraded, d.GetStage()+":"+d.GetReason())
	}
	if r.outcome != answered && r.outcome != abstained {
		r.failure = "turn " + r.outcome
	}
}

// The outcomes of a turn that count as an answer.
const (
	answered  = "answered"
	abstained = "abstained"
)

// name is what errors are counted by: kind and reason.
func name(err error) string {
	f := fault.As(err)
	return f.Kind.String() + " " + fault.ReasonName(f.Reason)
}

func (r *runner) note(f func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.now)
}

// progress tells how it goes until the returned function is called.
func (r *runner) progress() (stop func()) {
	if r.o.Progress == nil || r.o.ProgressEvery <= 0 {
		return func() {}
	}
	tell := func() {
		r.mu.Lock()
		p := r.now
		r.now.sumOfLast, r.now.endedOfLast, r.now.SlowestOfLast = 0, 0, 0
		r.mu.Unlock()
		p.Elapsed = time.Since(r.begin)
		if p.endedOfLast > 0 {
			p.MeanOfLast = p.sumOfLast / time.Duration(p.endedOfLast)
		}
		r.o.Progress(p)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(r.o.ProgressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				tell()
			case <-end:
				tell()
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// String is one line about it.
func (p Progress) String() string {
	return fmt.Sprintf("%4.0f s: %d asked, %d ended, %d under way, %d failed, %d degraded, %d asked again; since the last line mean %s, slowest %s",
		p.Elapsed.Seconds(), p.Sent, p.Ended, p.Running, p.Failed, p.Degraded, p.Retried, p.MeanOfLast.Round(time.Millisecond), p.SlowestOfLast.Round(time.Millisecond))
}
