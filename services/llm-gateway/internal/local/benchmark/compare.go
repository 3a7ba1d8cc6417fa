//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/bert"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/kernel"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/manifest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/queue"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/weights"
)

// encoder is one of those that are compared.
type encoder interface {
	// time does work so many times.
	time(ctx context.Context, w work, repeat int) (turn, error)
	io.Closer
}

// turn is what some repetitions took.
type turn struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	RSS     int     `json:"rss"`
}

// compare times both on so many threads, and prints a table.
func compare(ctx context.Context, o options, threads int, out io.Writer) error {
	ours, err := openOurs(o, threads, out)
	if err != nil {
		return err
	}
	defer ours.Close()
	encoders := []encoder{ours}
	if o.python != "" {
		theirs, err := openTheirs(ctx, o, threads, out)
		if err != nil {
			return err
		}
		defer theirs.Close()
		encoders = append(encoders, theirs)
	}
	fmt.Fprintf(out, "\n%d thread(s), median of %d turns; ms each time, tokens/s, CPU ms\n", threads, o.rounds)
	fmt.Fprintf(out, "| work | tokens | ours ms | tokens/s | CPU | ONNX Runtime ms | tokens/s | CPU | tokens/s, ours : theirs | tokens per CPU second, ours : theirs |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, w := range works() {
		if err := row(ctx, o, w, encoders, out); err != nil {
			return err
		}
	}
	for i, e := range encoders {
		last, err := e.time(ctx, works()[0], 1)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: RSS %d MB at the end\n", [...]string{"ours", "ONNX Runtime in Python"}[i], last.RSS>>20)
	}
	return nil
}

// row has the encoders take turns at one work.
func row(ctx context.Context, o options, w work, encoders []encoder, out io.Writer) error {
	seconds, cpu := make([][]float64, len(encoders)), make([][]float64, len(encoders))
	repeat := make([]int, len(encoders))
	for i, e := range encoders {
		warm, err := e.time(ctx, w, 1)
		if err != nil {
			return err
		}
		repeat[i] = max(1, int(o.turn.Seconds()/warm.Seconds))
	}
	for range o.rounds {
		for i, e := range encoders {
			t, err := e.time(ctx, w, repeat[i])
			if err != nil {
				return err
			}
			seconds[i] = append(seconds[i], t.Seconds/float64(repeat[i]))
			cpu[i] = append(cpu[i], t.CPU/float64(repeat[i]))
		}
	}
	fmt.Fprintf(out, "| %s | %d |", w.name, w.tokens())
	for i := range encoders {
		s := median(seconds[i])
		fmt.Fprintf(out, " %.2f | %.0f | %.2f |", 1e3*s, float64(w.tokens())/s, 1e3*median(cpu[i]))
	}
	if len(encoders) > 1 {
		for _, took := range [][][]float64{seconds, cpu} {
			ratios := make([]float64, o.rounds)
			for i := range ratios {
				ratios[i] = took[1][i] / took[0][i]
			}
			fmt.Fprintf(out, " %.2f (%.2f-%.2f) |", median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
	}
	fmt.Fprintln(out)
	return nil
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

// ours is the encoder behind its queue.
type ours struct {
	queue *queue.Queue
	width int
}

func openOurs(o options, threads int, out io.Writer) (*ours, error) {
	began := time.Now()
	set, err := kernel.Named(o.kernels)
	if err != nil {
		return nil, err
	}
	spec, err := manifest.Read(o.model)
	if err != nil {
		return nil, err
	}
	file, err := weights.Open(spec.Weights)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, err := bert.Load(spec, file, set)
	if err != nil {
		return nil, err
	}
	q, err := queue.New(m, queue.Options{Threads: threads, BatchTokens: queue.BatchTokens, WaitingTokens: 1 << 20})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "\nours: kernels %s, loaded in %d ms, RSS %d MB\n", set.Name(), time.Since(began).Milliseconds(), rss()>>20)
	return &ours{q, m.Width()}, nil
}

func (o *ours) time(ctx context.Context, w work, repeat int) (turn, error) {
	began, used := time.Now(), cpu()
	for range repeat {
		for _, batch := range w.batches {
			if err := o.do(ctx, queue.Ingestion, batch); err != nil {
				return turn{}, err
			}
		}
	}
	return turn{time.Since(began).Seconds(), cpu() - used, rss()}, nil
}

// Close ends the queue.
func (o *ours) Close() error {
	o.queue.Close()
	return nil
}

func cpu() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

func rss() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize()
}

// theirs is ONNX Runtime in a process of its own.
type theirs struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func openTheirs(ctx context.Context, o options, threads int, out io.Writer) (*theirs, error) {
	command := exec.CommandContext(ctx, o.python, o.script, o.model, strconv.Itoa(threads)) //nolint:gosec // named by whoever runs the benchmark
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	t := &theirs{command, in, bufio.NewReader(answers)}
	loaded, err := t.read()
	if err != nil {
		t.Close()
		return nil, err
	}
	fmt.Fprintf(out, "ONNX Runtime in Python: loaded in %.0f ms, RSS %d MB\n", 1e3*loaded.Seconds, loaded.RSS>>20)
	return t, nil
}

func (t *theirs) read() (turn, error) {
	line, err := t.out.ReadBytes('\n')
	if err != nil {
		return turn{}, fmt.Errorf("run ONNX Runtime: %w", err)
	}
	var answer turn
	return answer, json.Unmarshal(line, &answer)
}

func (t *theirs) time(_ context.Context, w work, repeat int) (turn, error) {
	if err := json.NewEncoder(t.in).Encode(map[string]any{"batches": w.batches, "repeat": repeat}); err != nil {
		return turn{}, fmt.Errorf("ask ONNX Runtime: %w", err)
	}
	answer, err := t.read()
	return answer, err
}

// Close ends the process.
func (t *theirs) Close() error {
	t.in.Close()
	return t.command.Wait()
}
