package turn

import (
	"context"
	"runtime"
	runtimemetrics "runtime/metrics"
	"sync"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/dialog/internal/fair"
)

const (
	// paceFor is how long a turn waits at most to compute. It goes on after that: pacing is there to help.
	paceFor = 2 * time.Second
	// searchFor is how long a turn counts as computing at most, from its beginning to asking the model. What takes longer waits for
	// others, and needs no processor. What a model says is not held up: somebody waits for its first word.
	searchFor = 100 * time.Millisecond
)

// pace bounds how many turns compute at once while there is more to compute than processors. Without it all turns that run share
// the processors evenly: whoever has fifty turns gets fifty times as much as who has one, searches miss their deadlines
// together, and what is to be stored waits behind whatever else wants to run. While processors are free it bounds nothing.
type pace struct {
	line *line.Line
	busy func() bool
}

func newPace(busy func() bool) *pace {
	return &pace{busy: busy, line: line.New(line.Bounds{Places: 1}, line.Observer{Waiting: func(int) {}, Refused: func(fault.Reason) {}})}
}

// use changes how many turns compute at once: 0 for twice the processors. Weights are those of turns that wait.
func (p *pace) use(places int, limits fair.Config) {
	if places == 0 {
		places = 2 * runtime.GOMAXPROCS(0)
	}
	p.line.Use(line.Bounds{Places: places, Weights: limits.Weights, Waiting: maxPaced, Patience: paceFor, What: "questions"})
}

// maxPaced is more than may run.
const maxPaced = 1 << 20

// enter returns when the party may compute, or need not wait for it any longer. Whoever called says with done that it is enough;
// after hold that is so by itself.
func (p *pace) enter(ctx context.Context, party line.Party, hold time.Duration) (done func()) {
	if computing, _, waiting := p.line.Load(); computing == 0 && waiting == 0 && !p.busy() {
		return func() {}
	}
	leave, err := p.line.Enter(ctx, party, nil, nil)
	if err != nil { // it has waited for long enough, or is over
		return func() {}
	}
	timer := time.AfterFunc(hold, leave)
	return func() { timer.Stop(); leave() }
}

// compute has the turn wait until it may compute, if it must, and count as computing for hold; rest ends that.
func (r *run) compute(ctx context.Context, hold time.Duration) {
	r.rest()
	done := sync.OnceFunc(r.a.pace.enter(ctx, line.Party{Workspace: r.q.Workspace, User: r.q.User}, hold))
	r.rest = done
}

// crowded says whether more goroutines want to run than there are processors for, by so many that it is no moment's chance.
func crowded() bool {
	runnable := []runtimemetrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	runtimemetrics.Read(runnable)
	return runnable[0].Value.Kind() == runtimemetrics.KindUint64 && runnable[0].Value.Uint64() > uint64(2*runtime.GOMAXPROCS(0))
}
