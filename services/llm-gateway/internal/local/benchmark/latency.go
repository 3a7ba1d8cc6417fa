//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/queue"
)

// latency times queries of random lengths, one after the other, in turns alone and alongside ingestion that never lets up.
func latency(ctx context.Context, o options, out io.Writer) error {
	threads := runtime.GOMAXPROCS(0)
	encoder, err := openOurs(o, threads, out)
	if err != nil {
		return err
	}
	defer encoder.Close()
	questions, passages := works()[7].batches, works()[4].batches[0]
	const turns = 4
	var alone, beside []time.Duration
	var tokens atomic.Int64
	var ingesting time.Duration
	for range turns {
		some, err := encoder.queries(ctx, questions, o.alongside/turns)
		if err != nil {
			return err
		}
		alone = append(alone, some...)

		began := time.Now()
		ingest, stop := context.WithCancel(ctx)
		var ingestion sync.WaitGroup
		for caller := range 4 {
			some := passages[8*caller:][:8]
			size := int64(work{batches: [][]text{some}}.tokens())
			ingestion.Go(func() {
				for encoder.do(ingest, queue.Ingestion, some) == nil {
					tokens.Add(size)
				}
			})
		}
		some, err = encoder.queries(ctx, questions, o.alongside/turns)
		stop()
		ingestion.Wait()
		if err != nil {
			return err
		}
		beside = append(beside, some...)
		ingesting += time.Since(began)
	}
	fmt.Fprintf(out, "%d threads, queries of 8 to 30 tokens one after the other:\n", threads)
	for name, took := range map[string][]time.Duration{"alone": alone, "alongside ingestion": beside} {
		fmt.Fprintf(out, "%s: %d, p50 %.1f ms, p95 %.1f ms, p99 %.1f ms\n", name, len(took), percentile(took, 50), percentile(took, 95), percentile(took, 99))
	}
	fmt.Fprintf(out, "p95 alongside : alone %.2f; ingestion meanwhile %.0f tokens/s\n", percentile(beside, 95)/percentile(alone, 95), float64(tokens.Load())/ingesting.Seconds())
	return nil
}

// queries embeds one question after the other for a while.
func (o *ours) queries(ctx context.Context, questions [][]text, length time.Duration) ([]time.Duration, error) {
	var took []time.Duration
	for began := time.Now(); time.Since(began) < length; {
		asked := time.Now()
		if err := o.do(ctx, queue.Query, questions[len(took)%len(questions)]); err != nil {
			return nil, err
		}
		took = append(took, time.Since(asked))
	}
	return took, nil
}

// do embeds texts.
func (o *ours) do(ctx context.Context, p queue.Priority, texts []text) error {
	sequences := make([]*bert.Sequence, len(texts))
	for i, t := range texts {
		sequences[i] = &bert.Sequence{IDs: t.IDs, Out: make([]float32, o.width)}
	}
	if err := o.queue.Do(ctx, p, sequences); err != nil {
		return err
	}
	for _, s := range sequences {
		if s.Err != nil {
			return s.Err
		}
	}
	return nil
}

// percentile returns milliseconds.
func percentile(took []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(took))
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)*p/100, len(sorted)-1)].Microseconds()) / 1000
}
