package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// NATS is the name of the mesh's sixth part.
const NATS = "nats"

// Part is one of a system's processes, for tests that do something to it.
type Part struct {
	// Admin is its admin address; NATS has none.
	Admin string
	// Link is what dialog reaches it through, or for NATS everybody; nil for dialog, and without [WithLinks].
	Link *Link

	binary  string
	args    []string
	addr    string // NATS's, which has no probes
	running *process
}

// WithLinks puts a [Link] between dialog and each service it calls, and between everybody and NATS.
func WithLinks() Option { return func(o *options) { o.linked = true } }

// StartMesh runs `ragmesh nats` and the five services, each a process of its own with keys from `ragmesh keys init`, on free
// ports until the test ends.
func StartMesh(tb testing.TB, all ...Option) *System {
	tb.Helper()
	return startMesh(tb, nil, all...)
}

// startMesh starts as many processes of each service as replicas says, one where it says nothing.
func startMesh(tb testing.TB, replicas map[string]int, all ...Option) *System {
	tb.Helper()
	o, bin := collect(tb, all), Binaries(tb)
	s := &System{Binary: filepath.Join(bin, "ragmesh"), Data: o.data, parts: map[string]*Part{}}
	if _, err := os.Stat(filepath.Join(o.data, "keys")); errors.Is(err, os.ErrNotExist) {
		if out, err := exec.CommandContext(tb.Context(), s.Binary, "keys", "init", "--data", o.data).CombinedOutput(); err != nil { //nolint:gosec // our own binary
			tb.Fatalf("ragmesh keys init: %v\n%s", err, out)
		}
	}
	// reach returns the address at which others find a part.
	reach := func(p *Part, addr string) string {
		if !o.linked {
			return addr
		}
		p.Link = newLink(tb, addr)
		return p.Link.Addr
	}
	port := freePorts(tb, 1)[0]
	nats := &Part{binary: s.Binary, addr: port, args: []string{"nats", "--data", o.data, "--addr", port}}
	common := []string{"--nats-url", "nats://" + reach(nats, port), "--set", "log.level=warn"}
	if o.configDir != "" {
		common = append(common, "--config", o.configDir)
	}
	s.parts[NATS] = nats
	nats.launch(tb)
	nats.ready()
	var peers []string
	var balancers []*Balancer
	for _, name := range []string{"eval", "llm-gateway", "tools", "retriever", "dialog"} { // callers after those they call
		pair := map[string]*Part{}
		last := ""
		for i := range max(replicas[name], 1) {
			ports := freePorts(tb, 2)
			p := &Part{Admin: "http://" + ports[1], binary: filepath.Join(bin, "ragmesh-"+name)}
			p.args = append([]string{"--data", o.data, "--rpc-addr", ports[0], "--admin-addr", ports[1]}, common...)
			called := name
			if replicas[name] > 1 {
				called = name + "-" + strconv.Itoa(i)
				p.args[1] = filepath.Join(o.data, called)
				p.args = append(p.args, "--set", "identity.keys_dir="+filepath.Join(o.data, "keys"))
			}
			if name == "dialog" {
				p.args = append(p.args, peers...)
			}
			p.args = append(p.args, o.args...)
			s.parts[called], pair[ports[0]], last = p, p, ports[0]
			p.launch(tb)
			s.Admin = p.Admin // in the end, dialog's
		}
		addr := last
		switch {
		case len(pair) > 1:
			b := NewBalancer(tb, pair)
			balancers, addr = append(balancers, b), b.Addr
		case name != "dialog":
			addr = reach(pair[last], last)
		}
		if name == "dialog" {
			s.Server = "http://" + addr
		} else {
			peers = append(peers, "--set", "peers."+strings.ReplaceAll(name, "-", "_")+"=http://"+addr)
		}
	}
	for _, p := range s.parts {
		if p != nats {
			s.Startup = max(s.Startup, p.running.await(p.Admin+"/health/ready"))
		}
	}
	for _, b := range balancers {
		for addr := range b.parts {
			b.await(tb, addr)
		}
	}
	s.balancers = balancers
	return s
}

// Part returns the process of a service, [NATS], or "ragmesh" where everything is one.
func (s *System) Part(tb testing.TB, name string) *Part {
	tb.Helper()
	p := s.parts[name]
	if p == nil {
		tb.Fatalf("the system has no part %q", name)
	}
	return p
}

func (p *Part) launch(tb testing.TB) {
	tb.Helper()
	p.running = start(tb, p.binary, p.args, nil)
}

// RetrieverAdmin is the admin address of the process that the retriever runs in.
func (s *System) RetrieverAdmin() string {
	if p := s.parts["retriever"]; p != nil {
		return p.Admin
	}
	return s.Admin
}

// PID returns the process's id.
func (p *Part) PID() int { return p.running.cmd.Process.Pid }

// Kill ends the process as kill -9 does.
func (p *Part) Kill(tb testing.TB) {
	tb.Helper()
	p.running.over = true
	p.signal(tb, syscall.SIGKILL)
	<-p.running.ended
}

// Hang stops the process from running, but leaves it and its connections there.
func (p *Part) Hang(tb testing.TB) {
	tb.Helper()
	p.signal(tb, syscall.SIGSTOP)
	tb.Cleanup(func() { _ = p.running.cmd.Process.Signal(syscall.SIGCONT) }) // before its stop; it may have ended
	// The signal waits for one of its threads, and on a busy machine the others answer until that has had its turn.
	p.running.until(p.stopped, func() string { return p.running.name + " still runs after SIGSTOP" })
}

// stopped says whether all threads are, where the system tells.
func (p *Part) stopped() bool {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(p.PID()) + "/task/*/stat")
	return !slices.ContainsFunc(threads, func(file string) bool {
		stat, err := os.ReadFile(file)
		_, state, _ := strings.Cut(string(stat), ") ") // the name in brackets comes before
		return err == nil && !strings.HasPrefix(state, "T")
	})
}

// Resume undoes [Part.Hang].
func (p *Part) Resume(tb testing.TB) {
	tb.Helper()
	p.signal(tb, syscall.SIGCONT)
}

// Terminate asks the process to end, as an orchestrator does. [Part.Wait] says how it did.
func (p *Part) Terminate(tb testing.TB) {
	tb.Helper()
	p.running.over = true
	p.signal(tb, syscall.SIGTERM)
}

// Served waits until the [Balancer] before a replica has noticed that it is ready.
func (s *System) Served(tb testing.TB, name string) {
	tb.Helper()
	p := s.Part(tb, name)
	for _, b := range s.balancers {
		for addr, one := range b.parts {
			if one == p {
				b.await(tb, addr)
			}
		}
	}
}

// Wait waits until the process has ended, and returns what it ended with: nil for exit code 0.
func (p *Part) Wait() error {
	<-p.running.ended
	return p.running.err
}

// Restart runs the process again after [Part.Kill] or [Part.Terminate], and waits until it is ready.
func (p *Part) Restart(tb testing.TB) {
	tb.Helper()
	<-p.running.ended
	p.launch(tb)
	p.ready()
}

func (p *Part) ready() {
	if p.Admin == "" {
		p.running.awaitPort(p.addr)
		return
	}
	p.running.await(p.Admin + "/health/ready")
}

func (p *Part) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := p.running.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("send %v to %s: %v", s, p.running.name, err)
	}
}

// Addr is where others reach NATS, host:port, whatever is put between.
func (p *Part) Addr() string { return p.addr }

// StartNATS runs `ragmesh nats` on a folder, without any service.
func StartNATS(tb testing.TB, data string) *Part {
	tb.Helper()
	addr := freePorts(tb, 1)[0]
	p := &Part{binary: filepath.Join(Binaries(tb), "ragmesh"), addr: addr, args: []string{"nats", "--data", data, "--addr", addr}}
	p.launch(tb)
	p.ready()
	return p
}

// StartAlone starts one service of a mesh, without waiting until it is ready.
func StartAlone(tb testing.TB, service, data, nats string) *Part {
	tb.Helper()
	bin := Binaries(tb)
	if out, err := exec.CommandContext(tb.Context(), filepath.Join(bin, "ragmesh"), "keys", "init", "--data", data).CombinedOutput(); err != nil { //nolint:gosec // our own binary
		tb.Fatalf("ragmesh keys init: %v\n%s", err, out)
	}
	ports := freePorts(tb, 2)
	p := &Part{
		Admin: "http://" + ports[1], binary: filepath.Join(bin, "ragmesh-"+service),
		args: []string{"--data", data, "--rpc-addr", ports[0], "--admin-addr", ports[1], "--nats-url", nats, "--set", "log.level=warn"},
	}
	p.launch(tb)
	return p
}

// State waits until a process that does not become ready has said why, and returns that.
func (p *Part) State(tb testing.TB) string {
	tb.Helper()
	state := ""
	client := &http.Client{Timeout: time.Second}
	p.running.until(func() bool {
		resp, err := client.Get(p.Admin + "/health/ready") //nolint:noctx // bounded by the client's timeout
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxLog))
		state = resp.Status + " " + compact(body) + "\n" + p.running.log.String()
		return strings.Contains(state, "waiting for NATS")
	}, func() string { return p.Admin + " says " + state })
	return state
}
