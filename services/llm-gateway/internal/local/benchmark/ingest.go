//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/queue"
)

const (
	// parts is how often an ingestion stops for queries that are timed alone, so that whatever else the machine does in the
	// course of it meets both.
	parts = 20
	// callers embed passages at the same time, so many each time: what the retriever's workers do.
	callers, together = 4, 16
	// Passages have 60 to 140 tokens.
	leastTokens, mostTokens = 60, 140
)

// ingest embeds o.chunks passages without a pause while a query is asked every so often, and says how long queries took
// alone and alongside.
func ingest(ctx context.Context, o options, out io.Writer) error {
	encoder, err := openOurs(o, runtime.GOMAXPROCS(0), out)
	if err != nil {
		return err
	}
	defer encoder.Close()
	questions := works()[7].batches
	var alone, beside []time.Duration
	var tokens int64
	var chunks int
	var took time.Duration
	fmt.Fprintf(out, "%d passages of %d to %d tokens, a query of 8 to 30 every %v, %d threads\n\n", o.chunks, leastTokens, mostTokens, o.every, runtime.GOMAXPROCS(0))
	fmt.Fprintf(out, "| passages | minutes | tokens/s | queries alone, p50 / p95 ms | alongside, p50 / p95 ms | p95, alongside : alone | most RSS MB | load |\n|---|---|---|---|---|---|---|---|\n")
	for part := range parts {
		some, err := encoder.asked(ctx, questions, o.every, after(o.alongside/parts))
		if err != nil {
			return err
		}
		n := o.chunks*(part+1)/parts - chunks
		began := time.Now()
		meanwhile, embedded, err := encoder.part(ctx, questions, o.every, n, uint64(part))
		if err != nil {
			return err
		}
		tokens, chunks, took = tokens+embedded, chunks+n, took+time.Since(began)
		alone, beside = append(alone, some...), append(beside, meanwhile...)
		row := func(name string, minutes, rate float64, alone, beside []time.Duration) {
			fmt.Fprintf(out, "| %s | %.1f | %.0f | %.1f / %.1f | %.1f / %.1f | %.2f | %d | %s |\n", name, minutes, rate, percentile(alone, 50), percentile(alone, 95),
				percentile(beside, 50), percentile(beside, 95), percentile(beside, 95)/percentile(alone, 95), peak()>>20, load())
		}
		row(fmt.Sprint(chunks), took.Minutes(), float64(embedded)/time.Since(began).Seconds(), some, meanwhile)
		if part == parts-1 {
			row("all", took.Minutes(), float64(tokens)/took.Seconds(), alone, beside)
		}
	}
	fmt.Fprintf(out, "\n%d queries alone (p99 %.1f ms), %d alongside (p99 %.1f ms)\n", len(alone), percentile(alone, 99), len(beside), percentile(beside, 99))
	return nil
}

// part embeds n passages, and returns how long the queries meanwhile took and how many tokens were embedded.
func (o *ours) part(ctx context.Context, questions [][]text, every time.Duration, n int, seed uint64) ([]time.Duration, int64, error) {
	ingesting, stop := context.WithCancel(ctx)
	defer stop()
	var left, tokens atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, callers)
	var working sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(caller))) //nolint:gosec // the same texts every time
		working.Go(func() {
			for {
				some := min(together, left.Add(-together)+together)
				if some <= 0 {
					return
				}
				passages := make([]text, some)
				for i := range passages {
					for range leastTokens + random.IntN(mostTokens-leastTokens+1) {
						passages[i].IDs = append(passages[i].IDs, random.Int32N(30522))
					}
				}
				if err := o.do(ingesting, queue.Ingestion, passages); err != nil {
					errs <- err
					return
				}
				tokens.Add(int64(work{batches: [][]text{passages}}.tokens()))
			}
		})
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	took, err := o.asked(ctx, questions, every, done)
	stop() // where a query has failed
	<-done
	close(errs)
	if err == nil {
		err = <-errs
	}
	return took, tokens.Load(), err
}

// after is closed after a while.
func after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// asked embeds a question every so often, one after the other, until done is closed.
func (o *ours) asked(ctx context.Context, questions [][]text, every time.Duration, done <-chan struct{}) ([]time.Duration, error) {
	var took []time.Duration
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		began := time.Now()
		if err := o.do(ctx, queue.Query, questions[len(took)%len(questions)]); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		select {
		case <-done:
			return took, nil
		case <-tick.C:
		}
	}
}

// peak is the most memory that the process had, in bytes.
func peak() int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return used.Maxrss
	}
	return used.Maxrss << 10
}
