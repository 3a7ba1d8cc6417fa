package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
)

func TestServesDrainsAndStops(t *testing.T) {
	t.Parallel()
	p, g := program()
	dir := data(t)
	r := run(t, p, "--data", dir, "--nats-url", nats(t, "127.0.0.1:0"), "--set", "greeting=hi", "--set", "shutdown.delay=50ms")
	line := r.out.line(t, "serving")
	for key, want := range map[string]any{"service": "retriever", "level": "info", "version": "dev", "data": filepath.Join(dir, "retriever")} {
		if line[key] != want {
			t.Errorf("%s = %v, want %v", key, line[key], want)
		}
	}
	if revision, _ := line["revision"].(string); len(revision) != 12 {
		t.Errorf("revision = %v", line["revision"])
	}

	if code, body := get(t, line["rpc"], "/hello"); code != 200 || body != "hi" {
		t.Errorf("call: %d %s", code, body)
	}
	if code, body := get(t, line["admin"], "/health/ready"); code != 200 {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, body := get(t, line["admin"], "/health/live"); code != 200 || !strings.Contains(body, fmt.Sprintf(`"pid":%d`, os.Getpid())) {
		t.Errorf("live: %d %s", code, body)
	}
	if _, body := get(t, line["admin"], "/metrics"); !strings.Contains(body, `ragmesh_retriever_rpc_in_flight_limit{ragmesh_service="retriever"} 512`) {
		t.Errorf("metrics: %s", body)
	}
	if g.env.DataDir != filepath.Join(dir, "retriever") || g.env.KeysDir != filepath.Join(dir, "keys") || g.env.Signer.Service() != "retriever" {
		t.Errorf("env: %+v", g.env)
	}

	held := make(chan string, 1)
	go func() {
		_, body := get(t, line["rpc"], "/hold")
		held <- body
	}()
	<-g.entered
	r.stop()
	r.out.line(t, "stopping")
	if code, body := get(t, line["admin"], "/health/ready"); code != 503 || !strings.Contains(body, `"status":"draining"`) {
		t.Errorf("ready while draining: %d %s", code, body)
	}
	select {
	case <-g.ended:
		t.Error("the service was stopped while a call was under way")
	default:
	}
	close(g.hold)
	if body := <-held; body != "held" {
		t.Errorf("the call under way got %q", body)
	}
	r.wantExit(t, 0)
	<-g.ended
	if lock, err := process.LockDir(g.env.DataDir); err != nil {
		t.Errorf("the folder is still locked: %v", err)
	} else if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestNoGoroutineIsLeft is not parallel, so that what it finds is its own.
func TestNoGoroutineIsLeft(t *testing.T) {
	p, _ := program()
	r := run(t, p, "--data", data(t), "--nats-url", nats(t, "127.0.0.1:0"))
	get(t, r.out.line(t, "serving")["rpc"], "/hello")
	r.stop()
	r.wantExit(t, 0)

	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() { // what was told to end may still be on its way
		n := runtime.Stack(stacks, true)
		var left []string
		for stack := range strings.SplitSeq(string(stacks[:n]), "\n\n") {
			for _, ours := range []string{"process", "lifecycle", "telemetry", "rpc", "health"} {
				if strings.Contains(stack, "ragmesh/libs/"+ours+".") {
					left = append(left, stack)
				}
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still there:\n%s", strings.Join(left, "\n\n"))
		}
	}
}

func TestWaitsForNATSAndSaysSo(t *testing.T) {
	t.Parallel()
	p, _ := program()
	addr := bustest.FreeAddr(t)
	r := run(t, p, "--data", data(t), "--nats-url", "nats://"+addr)
	line := r.out.line(t, "waiting for NATS")
	code, body := get(t, line["admin"], "/health/ready")
	if code != 503 || !strings.Contains(body, `"status":"starting"`) || !strings.Contains(body, "waiting for nats") {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, _ := get(t, line["admin"], "/health/live"); code != 200 {
		t.Errorf("live: %d", code)
	}
	nats(t, addr)
	if code, body := get(t, r.out.line(t, "serving")["admin"], "/health/ready"); code != 200 {
		t.Errorf("ready: %d %s", code, body)
	}
	r.stop()
	r.wantExit(t, 0)
}

func TestStopsWhileItWaitsForNATS(t *testing.T) {
	t.Parallel()
	p, _ := program()
	r := run(t, p, "--data", data(t), "--nats-url", "nats://"+bustest.FreeAddr(t))
	r.out.line(t, "waiting for NATS")
	r.stop()
	r.wantExit(t, 0)
}

func TestServesWithoutNATSWhereItMay(t *testing.T) {
	t.Parallel()
	p, g := program()
	p.WithoutNATS, p.Stateless = true, true
	dir := data(t)
	r := run(t, p, "--data", dir, "--nats-url", "nats://"+bustest.FreeAddr(t))
	line := r.out.line(t, "serving")
	if code, body := get(t, line["admin"], "/health/ready"); code != 200 || !strings.Contains(body, "waiting for nats") {
		t.Errorf("ready: %d %s", code, body)
	}
	r.stop()
	r.wantExit(t, 0)
	if _, err := os.Stat(filepath.Join(dir, "retriever")); !errors.Is(err, os.ErrNotExist) || g.env.DataDir != "" {
		t.Errorf("a stateless service has a data folder: %v", err)
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	url := nats(t, "127.0.0.1:0")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	locked := data(t)
	lock, err := process.LockDir(filepath.Join(locked, "retriever"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	good, empty := data(t), t.TempDir()
	configs := t.TempDir()
	if err := os.WriteFile(filepath.Join(configs, "retriever.yaml"), []byte("greting: hi\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
			t.Errorf("a start without keys left something behind: %v, %v", left, err)
		}
	})
	misnamed := t.TempDir()
	if err := os.WriteFile(filepath.Join(misnamed, "retreiver.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	tests := map[string]struct {
		args    []string
		environ []string
		exit    int
		want    []string // parts of the message
	}{
		"unknown flag":       {[]string{"--bogus"}, nil, 2, []string{"-bogus", "Try retriever --help"}},
		"argument":           {[]string{"start"}, nil, 2, []string{`"start" is no flag`}},
		"half a setting":     {[]string{"--set", "greeting"}, nil, 2, []string{"key=value"}},
		"unknown key":        {[]string{"--set", "greting=x"}, nil, 1, []string{`flag --set greting: key "greting" is not known here`, `did you mean "greeting"?`}},
		"bad address":        {[]string{"--rpc-addr", "8080"}, nil, 1, []string{`flag --rpc-addr: rpc.addr must be host:port`}},
		"password in a URL":  {[]string{"--nats-url", "nats://u:p4ssw0rd@h:1"}, nil, 1, []string{"nats.url must be", "without user or password"}},
		"file":               {[]string{"--config", configs}, nil, 1, []string{filepath.Join(configs, "retriever.yaml") + `:1: key "greting" is not known here`}},
		"misnamed file":      {[]string{"--config", misnamed}, nil, 1, []string{`retreiver.yaml`, `did you mean "retriever.yaml"?`}},
		"no such folder":     {[]string{"--config", filepath.Join(configs, "no")}, nil, 1, []string{"configuration folder"}},
		"environment":        {nil, []string{"RAGMESH_RETRIEVER__GRETING=x"}, 1, []string{"environment variable RAGMESH_RETRIEVER__GRETING"}},
		"misspelt service":   {nil, []string{"RAGMESH_RETREIVER__GREETING=x"}, 1, []string{"environment variable RAGMESH_RETREIVER__GREETING"}},
		"no keys":            {[]string{"--data", empty}, nil, 1, []string{"load signing key", "retriever.pem", "ragmesh keys init --data " + empty}},
		"folder in use":      {[]string{"--data", locked}, nil, 1, []string{"is in use by process " + fmt.Sprint(os.Getpid()), filepath.Join(locked, "retriever", "lock"), "--data"}},
		"RPC port in use":    {[]string{"--data", good, "--rpc-addr", taken.Addr().String(), "--admin-addr", "127.0.0.1:0"}, nil, 1, []string{"start rpc server", "in use", "--rpc-addr"}},
		"admin port in use":  {[]string{"--data", good, "--admin-addr", taken.Addr().String()}, nil, 1, []string{"start admin server", "in use", "--admin-addr"}},
		"service in trouble": {[]string{"--data", good, "--set", "greeting=broken"}, nil, 1, []string{"start retriever: the greeting is broken"}},
		"unresolved secret":  {[]string{"--data", good, "--set", "nats.token={env: RAGMESH_TEST_NOT_SET}"}, nil, 1, []string{"start bus", "RAGMESH_TEST_NOT_SET is not set"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { // one after the other: some share a folder
			p, _ := program()
			out := newOutput()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := append([]string{"--nats-url", url}, test.args...)
			if exit := p.Run(ctx, args, test.environ, io.Discard, out); exit != test.exit {
				t.Errorf("exit code %d, want %d", exit, test.exit)
			}
			for _, part := range test.want {
				if !strings.Contains(out.String(), part) {
					t.Errorf("no %q in:\n%s", part, out)
				}
			}
			if strings.Contains(out.String(), "p4ssw0rd") {
				t.Error("the message shows a password")
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	p, _ := program()
	var stdout, stderr bytes.Buffer
	if exit := p.Run(t.Context(), []string{"--version"}, nil, &stdout, &stderr); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	if want := "retriever dev (" + runtime.Version() + ")\n"; stdout.String() != want {
		t.Errorf("got %q, want %q", &stdout, want)
	}
	if exit := p.Run(t.Context(), []string{"--help"}, nil, &stdout, &stderr); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	for _, flag := range []string{"-config", "-data", "-rpc-addr", "-admin-addr", "-nats-url", "-set", "-version"} {
		if !strings.Contains(stderr.String(), flag) {
			t.Errorf("no %s in:\n%s", flag, &stderr)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:9080", ":8084": ":9084", "[::1]:8081": "[::1]:9081", "h:0": "h:0", "h:65000": "", "h": "", "h:http": "",
	} {
		if got, err := process.AdminAddr(addr); got != want || (err == nil) != (want != "") {
			t.Errorf("AdminAddr(%q) = %q, %v; want %q", addr, got, err, want)
		}
	}
	for addr, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":8080": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.org:1": false, "localhost.example.org:1": false, "x": false, "": false,
	} {
		if got := process.Loopback(addr); got != want {
			t.Errorf("Loopback(%q) = %v", addr, got)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*process.Config)
		key    string
	}{
		"defaults": {func(*process.Config) {}, ""},
		"cluster": {func(c *process.Config) {
			c.RPC.Addr, c.Admin.Addr, c.NATS.URL = ":8080", ":9090", "nats://a:1, tls://b:2"
		}, ""},
		"no folder":         {func(c *process.Config) { c.Data = "" }, "data"},
		"in flight":         {func(c *process.Config) { c.RPC.MaxInFlight = 0 }, "rpc.max_in_flight"},
		"admin":             {func(c *process.Config) { c.Admin.Addr = "9090" }, "admin.addr"},
		"no admin port":     {func(c *process.Config) { c.RPC.Addr = ":65000" }, "admin.addr"},
		"NATS scheme":       {func(c *process.Config) { c.NATS.URL = "http://a:1" }, "nats.url"},
		"NATS, none":        {func(c *process.Config) { c.NATS.URL = "" }, "nats.url"},
		"token twice":       {func(c *process.Config) { c.NATS.Token.Env, c.NATS.Credentials.Env = "A", "B" }, "nats.token"},
		"even replicas":     {func(c *process.Config) { c.NATS.Replicas = 2 }, "nats.replicas"},
		"ratio":             {func(c *process.Config) { c.Telemetry.SampleRatio = 2 }, "telemetry.sample_ratio"},
		"shutdown, timeout": {func(c *process.Config) { c.Shutdown.Timeout = 0 }, "shutdown.timeout"},
		"shutdown, delay":   {func(c *process.Config) { c.Shutdown.Delay = time.Hour }, "shutdown.delay"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := process.Defaults(8080)
			test.change(&c)
			key := ""
			if p, ok := errors.AsType[*config.Problem](c.Validate()); ok {
				key = p.Key
			}
			if diff := cmp.Diff(test.key, key); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	if err := config.Reference(io.Discard, "any", struct {
		process.Config `yaml:",inline"`
	}{process.Defaults(8080)}); err != nil {
		t.Error(err)
	}
}

func TestAFolderIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "retriever")
	first, err := process.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.AwaitDir(t.Context(), dir, 0, nil); err == nil {
		t.Error("two have the folder")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := process.AwaitDir(ctx, dir, time.Hour, func(error) { cancel() }); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("cancelled: %v", err)
	}
	second, err := process.AwaitDir(t.Context(), dir, time.Minute, func(error) {
		if err := first.Unlock(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
}
