package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ragmesh/ragmesh/libs/text"
	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/search"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

const (
	passageBytes  = 760 // of a passage: the size that was measured best
	perDocument   = 10
	searches      = 1000
	dimension     = 384
	vectorQueries = 200
)

// scale prints what many passages cost. Wall times mean little on a machine that does other things: processor time stands
// beside them.
func (o options) scale(ctx context.Context, engines []engine) error {
	sentences, questions, err := o.material()
	if err != nil {
		return err
	}
	rows := [][]string{{"passages", "store", "passages/s", "per CPU s", "search p50 ms", "p95 ms", "CPU ms", "disk MiB", "RSS MiB", "vectors p50 ms", "p95 ms"}}
	for _, size := range strings.Split(o.sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil {
			return fmt.Errorf("-sizes: %w", err)
		}
		for _, e := range engines {
			row, err := o.size(ctx, e, n, sentences, questions)
			if err != nil {
				return fmt.Errorf("%d passages, %s: %w", n, e.name, err)
			}
			rows = append(rows, row)
		}
	}
	return table(o.out, rows)
}

// material returns sentences to make passages of and questions to ask.
func (o options) material() (sentences, questions []string, err error) {
	dir := filepath.Join(o.datasets, "squad-v1.1-dev")
	documents, err := read[struct{ Text string }](filepath.Join(dir, "corpus.jsonl"))
	if err != nil {
		return nil, nil, err
	}
	for _, d := range documents {
		for _, s := range text.Sentences(d.Text) {
			sentences = append(sentences, d.Text[s.Start:s.End])
		}
	}
	asked, err := read[question](filepath.Join(dir, "queries.jsonl"))
	if err != nil {
		return nil, nil, err
	}
	for _, q := range asked {
		questions = append(questions, q.Text)
	}
	return sentences, questions, nil
}

func (o options) size(ctx context.Context, e engine, n int, sentences, questions []string) (row []string, err error) {
	temp, err := os.MkdirTemp("", "bench-retrieval-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	s, err := e.open(ctx, temp)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	random := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // the same passages every time
	profiled, err := o.profile(fmt.Sprintf("%s-index-%d", e.name, n))
	if err != nil {
		return nil, err
	}
	var wall, cpu time.Duration
	for at := 0; at < n/perDocument; {
		var group []store.Version
		for range 1000 {
			if at < n/perDocument {
				group = append(group, made(random, at, sentences))
				at++
			}
		}
		before, err := s.usage()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := put(ctx, s, group); err != nil {
			return nil, err
		}
		after, err := s.usage()
		if err != nil {
			return nil, err
		}
		wall, cpu = wall+time.Since(began), cpu+after.Processor-before.Processor
	}
	if err := profiled(); err != nil {
		return nil, err
	}
	searcher, err := search.New(search.Config{Strategies: map[string]search.Strategy{"s": search.Defaults()}, Default: "s"},
		search.Deps{Store: s, Manifest: live{}, Observer: silent{}})
	if err != nil {
		return nil, err
	}
	ask := func(n int) ([]time.Duration, error) {
		var took []time.Duration
		for i := range n {
			began := time.Now()
			if _, err := searcher.Search(ctx, search.Request{Workspace: workspace, Query: questions[i%len(questions)]}); err != nil {
				return nil, err
			}
			took = append(took, time.Since(began))
		}
		return took, nil
	}
	if _, err := ask(50); err != nil {
		return nil, err
	}
	if profiled, err = o.profile(fmt.Sprintf("%s-search-%d", e.name, n)); err != nil {
		return nil, err
	}
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	took, err := ask(searches)
	if err != nil {
		return nil, err
	}
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	if err := profiled(); err != nil {
		return nil, err
	}
	var near []time.Duration
	if !o.noVectors {
		if near, err = vectorTimes(ctx, s, n, random); err != nil {
			return nil, err
		}
	}
	return []string{
		strconv.Itoa(n), e.name, fmt.Sprintf("%.0f", float64(n)/wall.Seconds()), fmt.Sprintf("%.0f", float64(n)/cpu.Seconds()),
		millis(took, .5), millis(took, .95), fmt.Sprintf("%.2f", (after.Processor-before.Processor).Seconds()*1e3/searches),
		fmt.Sprintf("%.1f", float64(after.Disk)/(1<<20)), strconv.FormatInt(after.Resident>>20, 10), millis(near, .5), millis(near, .95),
	}, nil
}

// made makes a document of passages, each of sentences of the set.
func made(random *rand.Rand, n int, sentences []string) store.Version {
	uri := fmt.Sprintf("made/%d.txt", n)
	v := store.Version{DocumentID: document.ID(workspace, uri), Hash: "1", SourceURI: uri, Title: fmt.Sprintf("Document %d", n)}
	var b strings.Builder
	for i := range perDocument {
		start := b.Len()
		for b.Len()-start < passageBytes {
			b.WriteString(sentences[random.IntN(len(sentences))])
			b.WriteByte(' ')
		}
		v.Chunks = append(v.Chunks, store.Chunk{ID: chunk.ID(v.DocumentID, "1", i), Ordinal: i, Start: start, End: b.Len() - 1, Language: "en"})
	}
	v.Text = b.String()
	return v
}

// vectorTimes gives every passage a vector as embedders make them, a direction of a topic with noise, and searches by vectors.
func vectorTimes(ctx context.Context, s store.Store, n int, random *rand.Rand) ([]time.Duration, error) {
	topics := make([][]float32, 200)
	for i := range topics {
		topics[i] = direction(random, nil)
	}
	space := store.Space{Model: "made", Dimension: dimension}
	var all []store.Vectors
	for d := range n / perDocument {
		k := store.Key{DocumentID: document.ID(workspace, fmt.Sprintf("made/%d.txt", d)), Hash: "1"}
		chunks, err := s.Chunks(ctx, workspace, k)
		if err != nil {
			return nil, err
		}
		v := store.Vectors{Key: k, Chunks: chunks}
		for range chunks {
			v.Rows = append(v.Rows, direction(random, topics[random.IntN(len(topics))]))
		}
		if all = append(all, v); len(all) == 100 || d == n/perDocument-1 {
			if err := s.PutVectors(ctx, workspace, space, all); err != nil {
				return nil, err
			}
			all = nil
		}
	}
	var took []time.Duration
	for range vectorQueries {
		q := store.Query{Vector: direction(random, topics[random.IntN(len(topics))]), Space: space, Nearest: 50, Live: func(string) string { return "1" }}
		began := time.Now()
		if _, err := s.Candidates(ctx, workspace, q); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// direction is a vector of length 1 near another.
func direction(random *rand.Rand, near []float32) []float32 {
	out, sum := make([]float32, dimension), 0.0
	for i := range out {
		f := random.NormFloat64() / math.Sqrt(dimension)
		if near != nil {
			f += float64(near[i])
		}
		out[i] = float32(f)
		sum += f * f
	}
	for i := range out {
		out[i] /= float32(math.Sqrt(sum))
	}
	return out
}

// processor is how long this process has run on processors.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the process's memory, bytes, after what is not needed was let go.
func resident() int64 {
	runtime.GC()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// profile begins a profile of processor time in the folder for them, if there is one, and returns what ends it.
func (o options) profile(name string) (end func() error, err error) {
	if o.profiles == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(o.profiles, name+".pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
