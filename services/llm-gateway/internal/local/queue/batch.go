package queue

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
)

// batch is texts that go through the model together.
type batch struct {
	queue   *Queue
	level   Priority
	leader  int // its thread
	jobs    []job
	stage   atomic.Pointer[stage] // what may be helped with now
	failure atomic.Pointer[error] // what a part panicked with
}

// stage is work in parts that don't need each other.
type stage struct {
	part  func(part, thread int)
	parts int32
	next  atomic.Int32  // the first that nobody has begun
	left  atomic.Int32  // those that have not ended
	done  chan struct{} // closed when all have
}

// patience is how often a thread looks again before it sleeps. A look lets other goroutines run, and takes some 100 ns
// when there are none.
const patience = 300

// work is what a thread does until the queue is closed.
func (q *Queue) work(thread int) {
	for {
		if q.turn(thread, Priority(levels)) {
			continue
		}
		q.mu.Lock()
		q.idle.Add(1) // before the last look: who opens a stage after it sees this and waits for the lock
		for !q.closed.Load() && !q.any() {
			q.wake.Wait()
		}
		q.idle.Add(-1)
		closed := q.closed.Load() && !q.any()
		q.mu.Unlock()
		if closed {
			return
		}
	}
}

// any says whether there is something to do. The lock is held.
func (q *Queue) any() bool {
	for p := range levels {
		if len(q.waiting[p]) > 0 || slices.ContainsFunc(q.batches[p], (*batch).open) {
			return true
		}
	}
	return false
}

// turn has a thread do something that is more urgent than below, and says whether there was anything.
func (q *Queue) turn(thread int, below Priority) bool {
	if q.urgent.Load()&(1<<below-1) == 0 {
		return false
	}
	q.mu.Lock()
	for p := range below {
		if len(q.waiting[p]) > 0 {
			b, scratch := q.take(p, thread)
			q.mu.Unlock()
			q.lead(b, scratch)
			return true
		}
		if i := slices.IndexFunc(q.batches[p], (*batch).open); i >= 0 {
			b := q.batches[p][i]
			q.mu.Unlock()
			b.help(thread)
			return true
		}
	}
	q.mu.Unlock()
	return false
}

// take makes a batch of what has waited longest. The lock is held.
func (q *Queue) take(p Priority, thread int) (*batch, *bert.Scratch) {
	n, tokens := 0, 0
	for _, j := range q.waiting[p] {
		if n > 0 && tokens+len(j.IDs) > q.options.BatchTokens {
			break
		}
		n, tokens = n+1, tokens+len(j.IDs)
	}
	b := &batch{queue: q, level: p, leader: thread, jobs: slices.Clone(q.waiting[p][:n])}
	q.waiting[p] = slices.Delete(q.waiting[p], 0, n)
	q.tokens[p] -= tokens
	q.batches[p] = append(q.batches[p], b)
	q.note(p)
	scratch := &bert.Scratch{}
	if last := len(q.scratch) - 1; last >= 0 {
		scratch, q.scratch = q.scratch[last], q.scratch[:last]
	}
	return b, scratch
}

// lead runs a batch.
func (q *Queue) lead(b *batch, scratch *bert.Scratch) {
	sequences := make([]*bert.Sequence, len(b.jobs))
	for i, j := range b.jobs {
		gone := j.Gone
		j.Gone = func() bool { return gone() || q.closed.Load() || b.failure.Load() != nil }
		sequences[i] = j.Sequence
	}
	b.guard(func() { q.model.Run(b, q.spaces[b.level], scratch, sequences) })
	q.mu.Lock()
	q.batches[b.level] = slices.DeleteFunc(q.batches[b.level], func(other *batch) bool { return other == b })
	q.note(b.level)
	q.scratch = append(q.scratch, scratch)
	q.mu.Unlock()
	var err error
	if failure := b.failure.Load(); failure != nil {
		err = *failure
	}
	for _, j := range b.jobs {
		if err == nil && errors.Is(j.Err, bert.ErrGone) && q.closed.Load() {
			j.finish(ErrClosed)
			continue
		}
		j.finish(err)
	}
}

// guard keeps a panic of the model from ending the process; the batch fails with it.
func (b *batch) guard(do func()) {
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("run model: %v", p)
			b.failure.CompareAndSwap(nil, &err)
		}
	}()
	do()
}

var _ bert.Crew = (*batch)(nil)

// Threads returns how many may help.
func (b *batch) Threads() int { return b.queue.options.Threads }

// Split runs a stage: the leader calls it, and whoever has nothing more urgent to do helps.
func (b *batch) Split(parts int, part func(part, thread int)) {
	s := &stage{part: part, parts: int32(parts)}
	s.left.Store(int32(parts))
	if parts < 2 || b.Threads() < 2 {
		b.some(s, b.leader)
		return
	}
	s.done = make(chan struct{})
	b.stage.Store(s)
	if b.queue.idle.Load() > 0 {
		b.queue.mu.Lock()
		b.queue.wake.Broadcast()
		b.queue.mu.Unlock()
	}
	b.some(s, b.leader)
	b.stage.Store(nil)
	for range patience {
		if s.left.Load() == 0 {
			return
		}
		runtime.Gosched()
	}
	<-s.done
}

// some does parts of a stage until all have been begun, and what is more urgent between them.
func (b *batch) some(s *stage, thread int) {
	for {
		i := s.next.Add(1) - 1
		if i >= s.parts {
			return
		}
		b.guard(func() { s.part(int(i), thread) })
		if s.left.Add(-1) == 0 && s.done != nil {
			close(s.done)
		}
		b.queue.pause(thread, b.level)
	}
}

// pause does everything that is more urgent than p, and lets other goroutines run: the kernels can't be interrupted.
func (q *Queue) pause(thread int, p Priority) {
	for q.turn(thread, p) {
	}
	if p == Ingestion {
		runtime.Gosched()
	}
}

// open says whether the batch has parts that nobody has begun.
func (b *batch) open() bool {
	s := b.stage.Load()
	return s != nil && s.next.Load() < s.parts
}

// help works on a batch's stages for as long as they follow each other closely.
func (b *batch) help(thread int) {
	for range patience {
		for s := b.stage.Load(); s != nil && s.next.Load() < s.parts; s = b.stage.Load() {
			b.some(s, thread)
		}
		runtime.Gosched()
	}
}
