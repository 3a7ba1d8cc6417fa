//go:build unix

// Command benchmark times the encoder beside ONNX Runtime: the same generated model, the same tokens, in turns, so that whatever
// else the machine does meets both. make bench-encoder runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/sample"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

// options is what is measured.
type options struct {
	python, script, model string
	threads               string
	rounds                int
	kernels               string
	turn, alongside       time.Duration
	chunks                int
	every                 time.Duration
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	flags.StringVar(&o.python, "python", "", "a Python that has onnxruntime, onnx and safetensors; empty measures ours only")
	flags.StringVar(&o.script, "script", "services/llm-gateway/internal/local/testdata/timing.py", "what it runs")
	flags.StringVar(&o.model, "model", "", "a model's folder; empty generates one of the size of all-MiniLM-L6-v2")
	flags.StringVar(&o.kernels, "kernels", "", "the kernels to use; empty for the best there are")
	flags.StringVar(&o.threads, "threads", "1,2", "numbers of threads to compare on")
	flags.IntVar(&o.rounds, "rounds", 5, "turns that each has")
	flags.DurationVar(&o.turn, "turn", 700*time.Millisecond, "how long a turn lasts about")
	flags.DurationVar(&o.alongside, "alongside", 10*time.Second, "how long queries run alone, and alongside ingestion")
	flags.IntVar(&o.chunks, "chunks", 0, "in place of everything else, time queries alongside the ingestion of so many passages (100000 take 20 minutes and more); -alongside says for how long they are timed alone")
	flags.DurationVar(&o.every, "every", 50*time.Millisecond, "with -chunks, how often a query is asked")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.every <= 0 {
		return fmt.Errorf("-every: %v is no time between queries", o.every)
	}
	if o.model == "" {
		dir, err := os.MkdirTemp("", "encoder")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := sample.Write(dir, sample.MiniLM()); err != nil {
			return err
		}
		o.model = dir
		debug.FreeOSMemory() // what generating took is not the encoder's
	}
	fmt.Fprintf(out, "%s/%s, %d processors, load %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load())
	if o.chunks > 0 {
		return ingest(ctx, o, out)
	}
	for text := range strings.SplitSeq(o.threads, ",") {
		threads, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-threads: %w", err)
		}
		if err := compare(ctx, o, threads, out); err != nil {
			return err
		}
	}
	if err := latency(ctx, o, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "load at the end %s\n", load())
	return nil
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// work is texts that are embedded together; ONNX Runtime gets them in batches.
type work struct {
	name    string
	batches [][]text
}

type text struct {
	IDs []int32 `json:"ids"`
}

func (w work) tokens() int {
	n := 0
	for _, t := range slices.Concat(w.batches...) {
		n += len(t.IDs)
	}
	return n
}

// works are one query, one passage, and batches of equal and of mixed lengths.
func works() []work {
	random := rand.New(rand.NewPCG(3, 5)) //nolint:gosec // the same texts every time
	texts := func(n int, length func() int) []text {
		all := make([]text, n)
		for i := range all {
			for range length() {
				all[i].IDs = append(all[i].IDs, random.Int32N(30522))
			}
		}
		return all
	}
	always := func(n int) func() int { return func() int { return n } }
	passages := texts(32, func() int { return 95 + random.IntN(162) })
	questions := texts(32, func() int { return 8 + random.IntN(23) })
	one := func(all []text) [][]text {
		batches := make([][]text, len(all))
		for i := range all {
			batches[i] = all[i : i+1]
		}
		return batches
	}
	return []work{
		{"1 × 12", [][]text{texts(1, always(12))}},
		{"1 × 32", [][]text{texts(1, always(32))}},
		{"1 × 256", [][]text{texts(1, always(256))}},
		{"32 × 128", [][]text{texts(32, always(128))}},
		{"32 passages of 95 to 256, padded", [][]text{passages}},
		{"the same, one by one", one(passages)},
		{"32 questions of 8 to 30, padded", [][]text{questions}},
		{"the same, one by one", one(questions)},
	}
}
