package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/line"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
)

// Health is what is known of targets: which are left alone because they fail, who uses them and who waits for them. It outlives
// Routers, which a change of the configuration makes anew. Safe for concurrent use.
type Health struct {
	watch Watch
	all   *line.Line

	mu      sync.Mutex
	targets map[id]*health
	lines   map[string]*line.Line // by provider
	waiting int                   // how many may wait in the line of all requests
}

// Watch is told what happens. Its fields may be nil.
type Watch struct {
	// State is told of each new state of a target.
	State func(provider, model string, s breaker.State)
	// Refused is told of each request that a line had no room for; queue is a provider's name, empty for the line of all requests.
	Refused func(queue string, why fault.Reason)
}

// id is what a target is told apart by.
type id struct{ provider, model, revision string }

// health is that of a target.
type health struct {
	*breaker.Breaker
	inFlight atomic.Int64
}

// NewHealth returns one that knows of no target.
func NewHealth(w Watch) *Health {
	h := &Health{watch: w, targets: map[id]*health{}, lines: map[string]*line.Line{}}
	h.all = h.line("", 1)
	return h
}

func (h *Health) line(name string, places int) *line.Line {
	return line.New(line.Bounds{Places: places, Patience: time.Second, What: "answers"}, line.Observer{
		Waiting: func(int) {},
		Refused: func(why fault.Reason) {
			if h.watch.Refused != nil {
				h.watch.Refused(name, why)
			}
		},
	})
}

// of returns a target's health, and the line for its provider where there is one; both are made when they are new.
func (h *Health) of(t Target, cfg breaker.Config) (*health, *line.Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := id{t.Name, t.Model, t.Revision}
	its, ok := h.targets[key]
	if !ok {
		its = &health{Breaker: breaker.New(cfg, func(s breaker.State) {
			if h.watch.State != nil {
				h.watch.State(t.Name, t.Model, s)
			}
		})}
		h.targets[key] = its
	}
	if t.Local {
		return its, nil
	}
	queue, ok := h.lines[t.Name]
	if !ok {
		queue = h.line(t.Name, max(t.Places, 1))
		h.lines[t.Name] = queue
	}
	return its, queue
}

// use has o's bounds hold from now on, and forgets all other targets.
func (h *Health) use(routes map[string]*ladder, o Options) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bounds := line.Bounds{Places: o.Places, Waiting: o.Waiting, Patience: o.Wait, What: "answers"}
	h.all.Use(bounds)
	h.waiting = o.Waiting
	used := map[id]bool{}
	lines := map[string]bool{}
	for _, l := range routes {
		for _, r := range l.rungs {
			used[id{r.Name, r.Model, r.Revision}] = true
			r.health.Use(o.Breaker)
			if r.queue == nil {
				continue
			}
			lines[r.Name] = true
			bounds.Places = cmp.Or(r.Places, o.Places)
			r.queue.Use(bounds)
		}
	}
	maps.DeleteFunc(h.targets, func(k id, _ *health) bool { return !used[k] })
	maps.DeleteFunc(h.lines, func(name string, _ *line.Line) bool { return !lines[name] })
}

// Full says whether as many answers are under way as may be, and as many requests wait.
func (h *Health) Full() bool {
	h.mu.Lock()
	most := h.waiting
	h.mu.Unlock()
	taken, places, waiting := h.all.Load()
	return taken >= places && waiting >= most
}

// Status is how a target is.
type Status struct {
	Provider, Model string
	State           breaker.State
	// Limited says that it is Open because its provider has asked for a rest.
	Limited bool
	// Wait is how long it is Open.
	Wait     time.Duration
	InFlight int
}

// Targets says how the targets are, ordered by provider and model.
func (h *Health) Targets(now time.Time) []Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Status
	for k, its := range h.targets {
		out = append(out, its.status(k.provider, k.model, now))
	}
	slices.SortFunc(out, func(a, b Status) int {
		return strings.Compare(a.Provider+"\x00"+a.Model, b.Provider+"\x00"+b.Model)
	})
	return out
}

func (h *health) status(provider, model string, now time.Time) Status {
	r := h.Look(now)
	return Status{Provider: provider, Model: model, State: r.State, Limited: r.Limited, Wait: r.Wait, InFlight: int(h.inFlight.Load())}
}

// Queue is how a line is; Provider is empty for that of all requests.
type Queue struct {
	Provider               string
	Taken, Places, Waiting int
}

// Queues says how the lines are.
func (h *Health) Queues() []Queue {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []Queue{queueOf("", h.all)}
	for _, name := range slices.Sorted(maps.Keys(h.lines)) {
		out = append(out, queueOf(name, h.lines[name]))
	}
	return out
}

func queueOf(name string, l *line.Line) Queue {
	taken, places, waiting := l.Load()
	return Queue{Provider: name, Taken: taken, Places: places, Waiting: waiting}
}
