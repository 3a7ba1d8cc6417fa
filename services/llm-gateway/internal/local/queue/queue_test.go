package queue_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/queue"
)

// layers is a model that runs each batch through some stages, and in which tests stand.
type layers struct {
	stages, parts int
	// enter is called at the beginning of each part with the batch's first id.
	enter func(id int32, stage int)

	mu      sync.Mutex
	batches [][]int32
	parting atomic.Int64 // parts that ran
}

func (l *layers) Run(crew bert.Crew, spaces []bert.Space, _ *bert.Scratch, sequences []*bert.Sequence) {
	var ids []int32
	for _, s := range sequences {
		ids = append(ids, s.IDs[0])
	}
	l.mu.Lock()
	l.batches = append(l.batches, ids)
	l.mu.Unlock()
	busy := make([]atomic.Bool, len(spaces))
	for stage := range l.stages {
		gone := 0
		for _, s := range sequences {
			if s.Gone() {
				s.Err = bert.ErrGone
				gone++
			}
		}
		if gone == len(sequences) {
			return
		}
		crew.Split(l.parts, func(part, thread int) {
			if busy[thread].Swap(true) {
				panic("a thread has two parts")
			}
			defer busy[thread].Store(false)
			l.parting.Add(1)
			if l.enter != nil {
				l.enter(ids[0], stage)
			}
		})
	}
	for _, s := range sequences {
		s.Out[0] = float32(s.IDs[0])
	}
}

func open(t testing.TB, m queue.Model, threads int) *queue.Queue {
	t.Helper()
	q, err := queue.New(m, queue.Options{Threads: threads, BatchTokens: 10, WaitingTokens: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// text is one of so many tokens.
func text(id int32, tokens int) *bert.Sequence {
	ids := make([]int32, tokens)
	ids[0] = id
	return &bert.Sequence{IDs: ids, Out: make([]float32, 1)}
}

func TestEveryTextGetsItsResult(t *testing.T) {
	t.Parallel()
	for _, threads := range []int{1, 2, 5} {
		m := &layers{stages: 3, parts: 4}
		q := open(t, m, threads)
		var callers sync.WaitGroup
		for caller := range 20 {
			callers.Go(func() {
				for call := range 20 {
					texts := []*bert.Sequence{text(int32(caller), 3), text(int32(call), 4), text(7, 12)}
					if err := q.Do(t.Context(), queue.Priority(call%3), texts); err != nil {
						if !errors.Is(err, queue.ErrFull) {
							t.Error(err)
						}
						continue
					}
					if texts[0].Out[0] != float32(caller) || texts[1].Out[0] != float32(call) || texts[2].Out[0] != 7 {
						t.Errorf("got %v %v %v", texts[0].Out, texts[1].Out, texts[2].Out)
					}
				}
			})
		}
		callers.Wait()
		q.Close()
	}
}

func TestBatchesAreBoundedByTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		m := &layers{stages: 1, parts: 1, enter: func(int32, int) { <-hold }}
		q := open(t, m, 1)
		go q.Do(t.Context(), queue.Ingestion, []*bert.Sequence{text(0, 1)})
		synctest.Wait()
		go q.Do(t.Context(), queue.Ingestion, []*bert.Sequence{text(1, 5), text(2, 5), text(3, 1), text(4, 20)})
		synctest.Wait()
		go q.Do(t.Context(), queue.Ingestion, []*bert.Sequence{text(5, 4), text(6, 6)})
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if diff := cmp.Diff([][]int32{{0}, {1, 2}, {3}, {4}, {5, 6}}, m.batches); diff != "" {
			t.Error(diff)
		}
		q.Close()
	})
}

// TestQueriesOvertakeIngestion holds ingestion in its first part, lets a query in, and sees that it is done before the second.
func TestQueriesOvertakeIngestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var order []int32
		var mu sync.Mutex
		begun, resume := make(chan struct{}), make(chan struct{})
		m := &layers{stages: 2, parts: 2}
		m.enter = func(id int32, stage int) {
			mu.Lock()
			order = append(order, id)
			n := len(order)
			mu.Unlock()
			if n == 1 {
				close(begun)
				<-resume
			}
		}
		q, err := queue.New(m, queue.Options{Threads: 1, BatchTokens: 10, WaitingTokens: 100})
		if err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		do := func(p queue.Priority, id int32) {
			callers.Go(func() {
				if err := q.Do(t.Context(), p, []*bert.Sequence{text(id, 5)}); err != nil {
					t.Error(err)
				}
			})
		}
		do(queue.Ingestion, 3)
		<-begun
		do(queue.Ingestion, 4)
		do(queue.Ranking, 2)
		do(queue.Query, 1)
		synctest.Wait()
		close(resume)
		callers.Wait()
		q.Close()
		if want := []int32{3, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4}; !slices.Equal(order, want) {
			t.Errorf("parts ran in the order %v, want %v", order, want)
		}
	})
}

func TestACallerThatGoesAwayStopsCosting(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	m := &layers{stages: 1000, parts: 1}
	m.enter = func(int32, int) { cancel() }
	q := open(t, m, 1)
	if err := q.Do(ctx, queue.Query, []*bert.Sequence{text(1, 5)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	q.Close()
	if n := m.parting.Load(); n != 1 {
		t.Errorf("%d parts ran after the caller went", n-1)
	}
}

func TestACallerThatGoesAwayLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		m := &layers{stages: 1, parts: 1, enter: func(int32, int) { <-hold }}
		q := open(t, m, 1)
		go q.Do(t.Context(), queue.Ranking, []*bert.Sequence{text(0, 1)})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { err = q.Do(ctx, queue.Ranking, []*bert.Sequence{text(1, 50)}) }()
		synctest.Wait()
		if err := q.Do(t.Context(), queue.Ranking, []*bert.Sequence{text(2, 51)}); !errors.Is(err, queue.ErrFull) {
			t.Errorf("got %v of a queue that is full", err)
		}
		cancel()
		synctest.Wait()
		if n := q.Waiting(queue.Ranking); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, and %d tokens still wait", err, n)
		}
		close(hold)
		q.Close()
		if n := len(m.batches); n != 1 {
			t.Errorf("%d batches ran", n)
		}
	})
}

func TestCloseFailsWhatWaitsAndWhatRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		m := &layers{stages: 3, parts: 1, enter: func(int32, int) { <-hold }}
		q := open(t, m, 1)
		errs := make([]error, 2)
		for i := range errs {
			go func() { errs[i] = q.Do(t.Context(), queue.Ingestion, []*bert.Sequence{text(int32(i), 10)}) }()
		}
		synctest.Wait()
		go q.Close()
		synctest.Wait()
		close(hold)
		synctest.Wait()
		for _, err := range append(errs, q.Do(t.Context(), queue.Query, []*bert.Sequence{text(0, 1)})) {
			if !errors.Is(err, queue.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		if n := m.parting.Load(); n != 1 {
			t.Errorf("%d parts ran after the end", n-1)
		}
	})
}

func TestAPanicFailsItsBatchOnly(t *testing.T) {
	t.Parallel()
	m := &layers{stages: 2, parts: 3, enter: func(id int32, _ int) {
		if id == 13 {
			panic("a bug")
		}
	}}
	q := open(t, m, 2)
	bad, good := text(13, 10), text(1, 10)
	if err := q.Do(t.Context(), queue.Query, []*bert.Sequence{bad, good}); err != nil {
		t.Fatal(err)
	}
	if bad.Err == nil || good.Err != nil || good.Out[0] != 1 {
		t.Errorf("got %v, %v %v", bad.Err, good.Err, good.Out)
	}
}
