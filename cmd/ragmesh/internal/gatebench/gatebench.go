// Package gatebench measures what the LLM gateway costs: it starts llm-gateway as a process of its own in front of a mock of a
// model (mockllm), loads it over OpenAI's API and over its procedures, and compares it with the floors under it, measured in
// turns in the same run: the mock alone, a bare reverse proxy, one that decodes and encodes each request, and the barest
// relay over Connect. Servers run on one processor, load and mock on another.
package gatebench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// MaxConcurrency is how many requests may be under way at the same time.
const MaxConcurrency = 512

// The kinds of work.
const (
	Plain  = "plain"  // whole answers, as fast as they come
	Stream = "stream" // streams, as fast as they come
	Paced  = "paced"  // streams at a model's pace
)

// The targets that are no floors of their own.
const (
	Direct   = "direct"
	Ours     = "gateway"
	OursOver = "gateway, Connect"
)

// The models, by how the mock behaves.
const (
	fast  = "mock-ttft0-itl0-len64"
	paced = "mock-ttft50-itl5-len64"
	slow  = "mock-ttft0-itl1-len20000"
)

// Options says what to measure.
type Options struct {
	// Binary is the ragmesh command; ragmesh-llm-gateway stands beside it.
	Binary  string
	Environ []string
	Set     []string // more configuration of the gateway, KEY=VALUE
	// Works and Concurrency say which rows there are.
	Works       []string
	Concurrency []int
	// Duration is how long each row's target is loaded in a round.
	Duration time.Duration
	Rounds   int
	// Requests is how many the endurance and the ledger's test make each; 0 for none of both.
	Requests int
	Kills    int
	// Anywhere leaves it to the system on which processors what runs.
	Anywhere bool
	// Profile names a file for a CPU profile of the gateway, taken after the rows; empty for none.
	Profile string
	// Say is told what goes on; nil for nobody.
	Say func(format string, args ...any)
}

// key is what the load comes with.
const key = "ragmesh-bench-0123456789abcdef"

// bench is a run.
type bench struct {
	Options
	dir       string
	mock      *mockllm.Server
	upstream  string
	client    *http.Client
	prompt    string
	serving   int // the processor of servers; -1 for any
	loading   int
	gateway   *gateway
	floors    map[Floor]*spawn.Program
	addresses map[Floor]string
	report    *Report
}

// Run measures. Everything it starts has ended when it returns, and everything it wrote is gone, apart from the profile.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	b := &bench{Options: o, serving: 0, loading: 1, mock: mockllm.New(1), floors: map[Floor]*spawn.Program{}, addresses: map[Floor]string{}}
	if o.Anywhere || runtime.NumCPU() < 2 {
		b.serving, b.loading = -1, -1
	}
	b.report = &Report{Version: telemetry.Version, CPUs: runtime.NumCPU(), Pinned: b.serving >= 0}
	b.prompt = strings.Repeat("What does the gateway add to a call of a model, and where does it go? ", 30)[:2048]
	if b.dir, err = os.MkdirTemp("", "ragmesh-bench-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	transport := &http.Transport{MaxIdleConnsPerHost: MaxConcurrency, DisableCompression: true}
	defer transport.CloseIdleConnections()
	b.client = &http.Client{Transport: transport}
	stop, err := b.serveMock(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if err := spawn.Stay(b.loading); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{b.rows, b.profile, b.disconnects, b.endure, b.settle} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	average, _ := os.ReadFile("/proc/loadavg")
	b.report.LoadAverage, _, _ = strings.Cut(string(average), "\n")
	return b.report, nil
}

func (b *bench) serveMock(ctx context.Context) (stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the mock: %w", err)
	}
	server := &http.Server{Handler: b.mock, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until it is closed
	}()
	b.upstream = "http://" + l.Addr().String()
	return func() {
		_ = server.Close()
		<-done
	}, nil
}

// start starts the floors and the gateway.
func (b *bench) start(ctx context.Context) error {
	for _, f := range Floors() {
		p, err := spawn.Start(b.Binary, b.options(), b.serving, "bench", "gateway", "--json", "--serve", string(f), "--upstream", b.upstream)
		if err != nil {
			return err
		}
		b.floors[f] = p
		var said struct{ Server string }
		if err := p.Says(ctx, &said); err != nil {
			return err
		}
		b.addresses[f] = said.Server
	}
	var err error
	b.gateway, err = b.startGateway(ctx)
	return err
}

func (b *bench) options() spawn.Options {
	return spawn.Options{Binary: b.Binary, Data: filepath.Join(b.dir, "data"), ConfigDir: filepath.Join(b.dir, "config"), Environ: append(b.Environ[:len(b.Environ):len(b.Environ)], "BENCH_KEY="+key)}
}

func (b *bench) stop() error {
	var errs []error
	if b.gateway != nil {
		errs = append(errs, b.gateway.stop())
	}
	for _, p := range b.floors {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}
