// Package queue decides which texts go through a model when, and on which threads. There is one queue per model, and as
// many threads as Go may run at once. Texts wait by priority: what somebody waits for goes before what is ingested, also when
// that is already under way. A thread that works on something less urgent turns to it between two parts of a stage, which is a
// millisecond or two, and goes on with its own afterwards.
//
// Texts of the same priority go together, up to a number of tokens, whoever they are from. A batch is led by one thread; those that have
// nothing more urgent to do help it. Whoever stops waiting costs nothing from the next layer on. What may wait is bounded, and so is the
// memory: it is made for the largest batch once, and used again.
package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
)

// Priority is how urgent texts are.
type Priority int

// The priorities, the most urgent first.
const (
	// Query is for texts that a user waits for.
	Query Priority = iota
	// Ranking is for a query's candidates: as urgent, but much more work.
	Ranking
	// Ingestion is for everything else.
	Ingestion

	levels = int(Ingestion) + 1
)

// BatchTokens is a good size of batches: enough that a panel of weights is used on many rows, few enough that the threads
// share a call's texts. See bench/encoder.md.
const BatchTokens = 512

// The ways to be refused.
var (
	// ErrFull says that more waits than may.
	ErrFull = errors.New("too much is waiting for the model")
	// ErrClosed says that the queue has been closed.
	ErrClosed = errors.New("the model has been closed")
)

// Model is what runs batches.
type Model interface {
	Run(crew bert.Crew, spaces []bert.Space, scratch *bert.Scratch, sequences []*bert.Sequence)
}

// Options bounds a queue.
type Options struct {
	// Threads is how many work.
	Threads int
	// BatchTokens is how many tokens go together; a longer text goes by itself.
	BatchTokens int
	// WaitingTokens is how many may wait at each priority. When none wait, a call of any size is taken.
	WaitingTokens int
}

// Queue runs texts through a model. Safe for concurrent use.
type Queue struct {
	model   Model
	options Options
	// spaces are each priority's, one per thread: what interrupts works beside what it interrupts.
	spaces  [levels][]bert.Space
	threads sync.WaitGroup

	// urgent has a bit for each priority that has something to do. It is written with the lock held and read without it, between parts.
	urgent atomic.Uint32
	// idle counts the threads that sleep or are about to.
	idle atomic.Int32
	// closed is set with the lock held.
	closed atomic.Bool

	mu      sync.Mutex
	wake    sync.Cond // on mu: there is something to do
	waiting [levels][]job
	tokens  [levels]int
	batches [levels][]*batch
	scratch []*bert.Scratch
}

// job is one text of a call.
type job struct {
	*bert.Sequence
	call *call
}

// call is one caller's texts.
type call struct {
	left atomic.Int32
	done chan struct{}
}

// New returns a queue whose threads run. Close ends them.
func New(model Model, o Options) (*Queue, error) {
	if o.Threads < 1 || o.BatchTokens < 1 || o.WaitingTokens < 1 {
		return nil, fmt.Errorf("make queue: %+v: all must be at least 1", o)
	}
	q := &Queue{model: model, options: o}
	q.wake.L = &q.mu
	for level := range q.spaces {
		q.spaces[level] = make([]bert.Space, o.Threads)
	}
	for thread := range o.Threads {
		q.threads.Go(func() { q.work(thread) })
	}
	return q, nil
}

// Do runs sequences and returns when each has its result or its error. When ctx ends first it returns ctx's error at
// once, and the sequences must not be looked at any more.
func (q *Queue) Do(ctx context.Context, p Priority, sequences []*bert.Sequence) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(sequences) == 0 {
		return nil
	}
	c := &call{done: make(chan struct{})}
	c.left.Store(int32(len(sequences)))
	jobs, tokens := make([]job, len(sequences)), 0
	for i, s := range sequences {
		s.Gone = func() bool { return ctx.Err() != nil }
		jobs[i] = job{s, c}
		tokens += len(s.IDs)
	}
	if err := q.enter(p, jobs, tokens); err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		q.leave(p, c)
		return ctx.Err()
	}
	for _, s := range sequences {
		if errors.Is(s.Err, ErrClosed) {
			return ErrClosed
		}
	}
	return nil
}

func (q *Queue) enter(p Priority, jobs []job, tokens int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed.Load() {
		return ErrClosed
	}
	if q.tokens[p] > 0 && q.tokens[p]+tokens > q.options.WaitingTokens {
		return ErrFull
	}
	q.waiting[p] = append(q.waiting[p], jobs...)
	q.tokens[p] += tokens
	q.note(p)
	q.wake.Broadcast()
	return nil
}

// leave takes a caller's texts out of the queue. Those under way notice by themselves.
func (q *Queue) leave(p Priority, c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[p] = slices.DeleteFunc(q.waiting[p], func(j job) bool {
		if j.call == c {
			q.tokens[p] -= len(j.IDs)
		}
		return j.call == c
	})
	q.note(p)
}

// note keeps a priority's bit. The lock is held.
func (q *Queue) note(p Priority) {
	bit := uint32(1) << p
	if len(q.waiting[p]) > 0 || len(q.batches[p]) > 0 {
		q.urgent.Or(bit)
	} else {
		q.urgent.And(^bit)
	}
}

// Waiting returns how many tokens wait at a priority.
func (q *Queue) Waiting(p Priority) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tokens[p]
}

// Close ends the queue: what waits or is under way fails with ErrClosed, and the threads are gone when it returns.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed.Store(true)
	var waiting []job
	for p := range q.waiting {
		waiting = append(waiting, q.waiting[p]...)
		q.waiting[p], q.tokens[p] = nil, 0
		q.note(Priority(p))
	}
	q.wake.Broadcast()
	q.mu.Unlock()
	for _, j := range waiting {
		j.finish(ErrClosed)
	}
	q.threads.Wait()
}

// finish tells the caller that one text less is missing. An error replaces the result.
func (j job) finish(err error) {
	if err != nil {
		j.Err = err
	}
	if j.call.left.Add(-1) == 0 {
		close(j.call.done)
	}
}
