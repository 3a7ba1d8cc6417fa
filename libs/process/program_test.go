package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/health"
	"github.com/ragmesh/ragmesh/libs/identity"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/rpc"
)

// settings is a service's configuration.
type settings struct {
	process.Config `yaml:",inline"`
	Greeting       string `yaml:"greeting" doc:"What is said." live:"true"`
}

func defaults() settings {
	s := settings{Config: process.Defaults(8081), Greeting: "hello"}
	s.RPC.Addr = "127.0.0.1:0"
	return s
}

// greeter is a service with one plain handler. While hold is open a request waits for it.
type greeter struct {
	env      *process.Env
	greeting atomic.Pointer[string]
	revision atomic.Pointer[string]
	hold     chan struct{}
	entered  chan struct{}
	ended    chan struct{} // closed when Run has ended
}

func (g *greeter) Register(mux *rpc.Mux) {
	mux.Handle("/hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, *g.greeting.Load())
	}))
	mux.Handle("/hold", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.entered <- struct{}{}
		<-g.hold
		fmt.Fprint(w, "held")
	}))
}

func (g *greeter) Run(ctx context.Context) error {
	defer close(g.ended)
	<-ctx.Done()
	return ctx.Err()
}

func (g *greeter) Ready(context.Context) []health.Component {
	return []health.Component{{Name: "greeter", Ready: true, Hard: true}}
}

func (g *greeter) ConfigureMux(o *rpc.MuxOptions) { o.Edge = true }

// program returns a retriever in name only, and where its service will be.
func program() (process.Program[settings], *greeter) {
	g := &greeter{hold: make(chan struct{}), entered: make(chan struct{}, 1), ended: make(chan struct{})}
	return process.Program[settings]{
		Service:  identity.Retriever,
		Defaults: defaults,
		Host:     func(s *settings) *process.Config { return &s.Config },
		Build: func(_ context.Context, env *process.Env, loaded config.Loaded[settings]) (process.Service, error) {
			if loaded.Value.Greeting == "broken" {
				return nil, errors.New("the greeting is broken")
			}
			g.env = env
			g.greeting.Store(&loaded.Value.Greeting)
			g.revision.Store(&loaded.Revision)
			return g, nil
		},
	}, g
}

// output collects a program's log and lets a test wait for a line.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// line returns the first log line with a message, once it is there.
func (o *output) line(t *testing.T, message string) map[string]any {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		for text := range strings.Lines(o.String()) {
			var line map[string]any
			if json.Unmarshal([]byte(text), &line) == nil && line["message"] == message {
				return line
			}
		}
		select {
		case <-o.changed:
		case <-timeout:
			t.Fatalf("no line %q in:\n%s", message, o)
		}
	}
}

// data returns a data folder with keys in it.
func data(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	keys, err := identity.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.WriteKeys(filepath.Join(dir, "keys"), keys); err != nil {
		t.Fatal(err)
	}
	return dir
}

// nats serves NATS on addr and returns its URL.
func nats(t *testing.T, addr string) string {
	t.Helper()
	s, err := natsserver.Start(t.Context(), natsserver.Options{Dir: t.TempDir(), Addr: addr, NoSync: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s.URL()
}

// running is a program under way.
type running struct {
	out  *output
	stop context.CancelFunc
	exit chan int
}

func run(t *testing.T, p process.Program[settings], args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{out: newOutput(), stop: cancel, exit: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.exit <- p.Run(ctx, args, nil, io.Discard, r.out)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

func (r *running) wantExit(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-r.exit:
		if got != want {
			t.Errorf("exit code %d, want %d:\n%s", got, want, r.out)
		}
	case <-time.After(time.Minute):
		t.Fatalf("it does not end:\n%s", r.out)
	}
}

func get(t *testing.T, addr any, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%v%s", addr, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
