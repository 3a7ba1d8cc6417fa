package process_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ragmesh/ragmesh/libs/bus/bustest"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// Reload implements process.Reloader.
func (g *greeter) Reload(_ context.Context, cfg config.Loaded[settings]) error {
	if cfg.Value.Greeting == "broken" {
		return errors.New("the greeting is broken")
	}
	g.greeting.Store(&cfg.Value.Greeting)
	g.revision.Store(&cfg.Revision)
	return nil
}

func (g *greeter) Revision() string { return *g.revision.Load() }

// followed is a Live on a folder, with what a test looks at.
type followed struct {
	*process.Live[settings]
	dir      string
	log      bytes.Buffer
	registry *prometheus.Registry
	got      []settings // applied, in order
}

func follow(t *testing.T) *followed {
	t.Helper()
	f := &followed{dir: t.TempDir(), registry: prometheus.NewRegistry()}
	f.write(t, "greeting: hello\n")
	load := func() (config.Loaded[settings], error) {
		return config.Load("retriever", defaults(), config.Source{Dir: f.dir})
	}
	first, err := load()
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := process.Fingerprint(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	tel := telemetry.Nop("retriever")
	tel.Log, tel.Registry = telemetry.Logger(&f.log, "info", false), f.registry
	f.Live, err = process.NewLive(process.LiveOptions[settings]{
		Dir: f.dir, Fingerprint: fingerprint, Running: first, Revision: first.Revision, Load: load, Telemetry: tel,
		Apply: func(_ context.Context, cfg config.Loaded[settings]) (string, error) {
			if cfg.Value.Greeting == "broken" {
				return "", errors.New("the greeting is broken")
			}
			f.got = append(f.got, cfg.Value)
			return cfg.Revision, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *followed) write(t *testing.T, yaml string) {
	t.Helper()
	configure(t, f.dir, yaml)
}

// configure replaces the file at once, as git and mounted volumes do: at the pace of a test, the moment in which a file that is
// written in place is empty would count as a change that is still.
func configure(t *testing.T, dir, yaml string) {
	t.Helper()
	next := filepath.Join(dir, ".next")
	if err := os.WriteFile(next, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "retriever.yaml")); err != nil {
		t.Fatal(err)
	}
}

// settle is as many rounds as a change takes.
func (f *followed) settle(t *testing.T) {
	t.Helper()
	f.Check(t.Context())
	f.Check(t.Context())
}

func (f *followed) want(t *testing.T, greetings []string, ready bool, detail string, reloads, failures float64) {
	t.Helper()
	var got []string
	for _, s := range f.got {
		got = append(got, s.Greeting)
	}
	if diff := cmp.Diff(greetings, got); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	row := f.Ready(t.Context())[0]
	if row.Ready != ready || row.Hard || !strings.Contains(row.Detail, detail) || detail == "" && row.Detail != "" {
		t.Errorf("row %+v, want ready %t and %q", row, ready, detail)
	}
	for name, want := range map[string]float64{"ragmesh_retriever_config_reloads_total": reloads, "ragmesh_retriever_config_reload_failures_total": failures} {
		if got, err := testutil.GatherAndCount(f.registry, name); err != nil || got != 1 {
			t.Fatalf("%s: %d, %v", name, got, err)
		}
		families, _ := f.registry.Gather()
		for _, family := range families {
			if v := family.GetMetric()[0].GetCounter().GetValue(); family.GetName() == name && v != want {
				t.Errorf("%s is %v, want %v", name, v, want)
			}
		}
	}
}

func TestLiveTakesAChangeOnceItIsStill(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.settle(t)
	f.want(t, nil, true, "", 0, 0)
	f.write(t, "greeting: hi\n")
	f.Check(t.Context())
	f.write(t, "greeting: hi there\n") // still being written
	f.Check(t.Context())
	f.want(t, nil, true, "", 0, 0)
	f.Check(t.Context())
	f.settle(t)
	f.want(t, []string{"hi there"}, true, "", 1, 0)
}

func TestLiveKeepsTheLastGoodConfiguration(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]struct{ yaml, detail string }{
		"not valid":              {"greetings: hi\n", `retriever.yaml:1: key "greetings" is not known here`},
		"no YAML":                {"greeting: [\n", "retriever.yaml"},
		"refused by the service": {"greeting: broken\n", "the greeting is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := follow(t)
			f.write(t, bad.yaml)
			f.settle(t)
			f.settle(t)
			f.want(t, nil, false, bad.detail, 0, 1)
			if n := strings.Count(f.log.String(), "the last good one stays in use"); n != 1 {
				t.Errorf("said %d times: %s", n, &f.log)
			}
			f.write(t, "greeting: good\n")
			f.settle(t)
			f.want(t, []string{"good"}, true, "", 1, 1)
		})
	}
	t.Run("taken back", func(t *testing.T) {
		t.Parallel()
		f := follow(t)
		f.write(t, "nonsense: 1\n")
		f.settle(t)
		f.write(t, "greeting: hello\n")
		f.settle(t)
		f.want(t, nil, true, "", 0, 1)
	})
	t.Run("folder gone and back", func(t *testing.T) {
		t.Parallel()
		f := follow(t)
		if err := os.Rename(f.dir, f.dir+"x"); err != nil {
			t.Fatal(err)
		}
		f.settle(t)
		f.want(t, nil, false, "no such file", 0, 1)
		if err := os.Rename(f.dir+"x", f.dir); err != nil {
			t.Fatal(err)
		}
		f.settle(t)
		f.want(t, nil, true, "", 0, 1)
	})
}

func TestLiveSaysWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.write(t, "greeting: hi\nrpc: {max_in_flight: 9}\nshutdown: {delay: 1s}\n")
	f.settle(t)
	f.want(t, []string{"hi"}, true, "needs a restart: rpc.max_in_flight, shutdown.delay", 1, 0)
	if got := f.got[0].RPC.MaxInFlight; got != 512 {
		t.Errorf("max_in_flight %d took effect", got)
	}
	f.write(t, "greeting: hey\nrpc: {max_in_flight: 9}\nshutdown: {delay: 1s}\n")
	f.settle(t)
	if n := strings.Count(f.log.String(), "need a restart"); n != 1 {
		t.Errorf("said %d times: %s", n, &f.log)
	}
	f.write(t, "greeting: hey\n")
	f.settle(t)
	f.want(t, []string{"hi", "hey", "hey"}, true, "", 2, 0)
}

// A whole program: the change reaches calls, the log level and the probes, and a bad one is a row and no 503.
func TestProgramFollowsItsConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(yaml string) { configure(t, dir, yaml) }
	write("greeting: hello\n")
	p, _ := program()
	p.LookEvery = 10 * time.Millisecond
	r := run(t, p, "--config", dir, "--data", data(t), "--nats-url", nats(t, bustest.FreeAddr(t)), "--admin-addr", "127.0.0.1:0")
	started := r.out.line(t, "serving")
	if _, got := get(t, started["rpc"], "/hello"); got != "hello" {
		t.Fatalf("says %q", got)
	}
	write("greeting: hi\nlog: {level: debug}\n")
	changed := r.out.line(t, "configuration changed")
	if diff := cmp.Diff([]any{"log.level", "greeting"}, changed["keys"]); diff != "" || changed["revision"] == started["revision"] {
		t.Errorf("%v: %s", changed, diff)
	}
	if _, got := get(t, started["rpc"], "/hello"); got != "hi" {
		t.Errorf("says %q", got)
	}
	write("greeting: broken\nlog: {level: debug}\n")
	r.out.line(t, "the changed configuration is not good; the last good one stays in use")
	code, body := get(t, started["admin"], "/health/ready")
	if code != 200 || !strings.Contains(body, `"config","ready":false`) || !strings.Contains(body, "the greeting is broken") {
		t.Errorf("%d %s", code, body)
	}
	if _, metrics := get(t, started["admin"], "/metrics"); !strings.Contains(metrics, `ragmesh_retriever_config_reload_failures_total{ragmesh_service="retriever"} 1`) {
		t.Error("the failure is not counted")
	}
	if _, got := get(t, started["rpc"], "/hello"); got != "hi" {
		t.Errorf("says %q after a bad change", got)
	}
	r.stop()
	r.wantExit(t, 0)
	if !strings.Contains(r.out.String(), `{"level":"debug"`) {
		t.Error("no detail at level debug")
	}
}
