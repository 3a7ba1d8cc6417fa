// Package e2e starts ragmesh as people do, from its binaries, for end-to-end tests: everything in one process, or five
// processes around `ragmesh nats`. Both give a test the same thing, so that one test holds for both. It is imported by tests
// only.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/spawn"
	"github.com/ragmesh/ragmesh/libs/port"
)

const (
	// readyTimeout bounds a start. The machine may be busy building and testing other things.
	readyTimeout = 60 * time.Second
	// stopTimeout is above what a process gives its own calls to end.
	stopTimeout = 30 * time.Second
	poll        = 20 * time.Millisecond
	// maxLog is how much of a process's output is kept, shownLog how much of it a failing test shows.
	maxLog   = 8 << 20
	shownLog = 64 << 10
)

// System is a running ragmesh.
type System struct {
	// Server is the edge's address, for clients and for --server.
	Server string
	// Admin is the edge's admin address.
	Admin string
	// APIKey is the key for it; empty where none is asked for.
	APIKey string
	// Binary is the ragmesh command.
	Binary string
	// Data is the folder that everything is kept in.
	Data string
	// Startup is how long the slowest process took to become ready.
	Startup time.Duration

	parts     map[string]*Part
	balancers []*Balancer
}

// Option changes how a system is started.
type Option func(*options)

type options struct {
	configDir string
	data      string
	args      []string
	linked    bool
}

// WithConfig starts it with a configuration folder.
func WithConfig(dir string) Option { return func(o *options) { o.configDir = dir } }

// WithData keeps its data in a folder of the caller's, so that another system can be started on it afterwards.
func WithData(dir string) Option { return func(o *options) { o.data = dir } }

// WithArgs gives every service, or `ragmesh up`, further arguments.
func WithArgs(args ...string) Option { return func(o *options) { o.args = append(o.args, args...) } }

func collect(tb testing.TB, all []Option) options {
	tb.Helper()
	o := options{data: filepath.Join(tb.TempDir(), "data")}
	for _, option := range all {
		option(&o)
	}
	return o
}

// StartAllInOne runs `ragmesh up` on free ports until the test ends.
func StartAllInOne(tb testing.TB, all ...Option) *System {
	tb.Helper()
	o, bin := collect(tb, all), Binaries(tb)
	ports := freePorts(tb, 2)
	s := &System{
		Server: "http://" + ports[0], Admin: "http://" + ports[1], Binary: filepath.Join(bin, "ragmesh"), Data: o.data,
	}
	args := []string{"up", "--data", o.data, "--addr", ports[0], "--admin-addr", ports[1]}
	if o.configDir != "" {
		args = append(args, "--config", o.configDir)
	}
	p := &Part{Admin: s.Admin, binary: s.Binary, args: append(args, o.args...)}
	p.launch(tb)
	s.parts = map[string]*Part{"ragmesh": p}
	s.Startup = p.running.await(s.Admin + "/health/ready")
	return s
}

// Run runs a ragmesh command against the system and returns its exit code and output.
func (s *System) Run(tb testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), s.Binary, args...) //nolint:gosec // our own binary
	cmd.Env = append(os.Environ(), "RAGMESH_SERVER="+s.Server, "RAGMESH_API_KEY="+s.APIKey)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader([]byte(stdin)), &out, &errOut
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errOut.String()
	}
	if err != nil {
		tb.Fatalf("run ragmesh %v: %v", args, err)
	}
	return 0, out.String(), errOut.String()
}

// Log returns what the system's processes have written so far, the last 8 MiB of each.
func (s *System) Log() string {
	var all strings.Builder
	for _, p := range s.parts {
		all.WriteString(p.running.log.String())
	}
	return all.String()
}

// process is one program of a system.
type process struct {
	tb    testing.TB
	name  string
	cmd   *exec.Cmd
	log   *spawn.Tail
	begun time.Time
	ended chan struct{} // closed when it has ended, err set
	err   error
	over  bool // it was ended on purpose, by the test
}

// start runs a program until the test ends; then it gets SIGTERM and must exit with 0. Its output is shown when the test
// fails.
func start(tb testing.TB, binary string, args, environ []string) *process {
	tb.Helper()
	p := &process{tb: tb, name: filepath.Base(binary), log: &spawn.Tail{Max: maxLog}, begun: time.Now(), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), binary, args...) //nolint:gosec // our own binary
	p.cmd.Env = append(os.Environ(), environ...)
	p.cmd.Dir = tb.TempDir() // whatever it writes outside --data lands where nobody misses it, and is looked for
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	tb.Cleanup(p.stop)
	return p
}

// stop asks the program to end and checks how it does.
func (p *process) stop() {
	if p.over {
		return
	}
	p.over = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("stop %s: %v", p.name, err)
	}
	select {
	case <-p.ended:
		if p.err != nil {
			p.tb.Errorf("%s ended with %v, want exit code 0", p.name, p.err)
		}
	case <-time.After(stopTimeout):
		p.tb.Errorf("%s has not ended %s after SIGTERM", p.name, stopTimeout)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if left, err := os.ReadDir(p.cmd.Dir); err != nil || len(left) > 0 {
		p.tb.Errorf("%s wrote into its working directory: %v %v", p.name, left, err)
	}
	if p.tb.Failed() {
		said := p.log.String()
		p.tb.Logf("output of %s:\n%s", p.name, said[max(0, len(said)-shownLog):])
	}
}

// await waits until the program says it is ready, and returns how long it took.
func (p *process) await(url string) time.Duration {
	p.tb.Helper()
	last := "no answer"
	client := &http.Client{Timeout: time.Second}
	p.until(func() bool {
		resp, err := client.Get(url) //nolint:noctx // bounded by the client's timeout
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxLog))
		last = resp.Status + " " + compact(body)
		return resp.StatusCode == http.StatusOK
	}, func() string { return url + " says: " + last })
	return time.Since(p.begun)
}

// awaitPort waits until the program takes connections.
func (p *process) awaitPort(addr string) {
	p.tb.Helper()
	p.until(func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(p.tb.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, func() string { return "nothing listens at " + addr })
}

func (p *process) until(ready func() bool, state func() string) {
	p.tb.Helper()
	end := time.After(readyTimeout)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-ticker.C:
		case <-p.ended:
			p.tb.Fatalf("%s ended while it started: %v", p.name, p.err)
		case <-end:
			p.tb.Fatalf("%s is not ready after %s: %s", p.name, readyTimeout, state())
		}
	}
}

func compact(body []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, body) != nil {
		return string(body)
	}
	return out.String()
}

// freePorts is [port.Free] for tests.
func freePorts(tb testing.TB, n int) []string {
	tb.Helper()
	addrs, err := port.Free(tb.Context(), n)
	if err != nil {
		tb.Fatal(err)
	}
	return addrs
}

// shared holds the binaries of this test process, made when the first test wants them.
var shared struct { //nolint:gochecknoglobals // building takes long, and every test wants the same
	once sync.Once
	dir  string
	err  error
}

// Binaries returns the folder with ragmesh and ragmesh-<service>, building them when that has not been done yet. [Main]
// removes it.
func Binaries(tb testing.TB) string {
	tb.Helper()
	shared.once.Do(func() { shared.dir, shared.err = build() })
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.dir
}

// Main runs a package's tests and removes the binaries afterwards; TestMain passes its result to os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir) // a temporary folder; whoever cleans those gets what is left
	}
	return code
}

func build() (string, error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "ragmesh-e2e-")
	if err != nil {
		return "", fmt.Errorf("build binaries: %w", err)
	}
	targets := map[string]string{"ragmesh": "cmd/ragmesh"}
	for _, service := range []string{"dialog", "retriever", "tools", "llm-gateway", "eval"} {
		targets["ragmesh-"+service] = filepath.Join("services", service)
	}
	for name, module := range targets {
		pkg := "."
		if name != "ragmesh" {
			pkg = "./cmd/" + filepath.Base(module)
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg) //nolint:gosec,noctx // the tool that built this test
		cmd.Dir = filepath.Join(root, module)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", errors.Join(fmt.Errorf("build %s: %w\n%s", name, err, out), os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// Root is the folder of the workspace.
func Root(tb testing.TB) string {
	tb.Helper()
	root, err := findRoot()
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// findRoot returns the folder that holds go.work.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the workspace: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the workspace: no go.work above the working directory")
		}
		dir = parent
	}
}
