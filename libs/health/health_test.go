package health_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ragmesh/ragmesh/libs/health"
)

// clock is a clock that moves when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func rows(components ...health.Component) health.Checker {
	return func(context.Context) []health.Component { return components }
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	var (
		hardDown = health.Component{Name: "nats", Hard: true, Detail: "waiting for nats"}
		hardUp   = health.Component{Name: "nats", Hard: true, Ready: true}
		softDown = health.Component{Name: "config", Detail: "kept revision abc"}
	)
	tests := map[string]struct {
		before, now []health.Component // rows when the process started, and at the question
		prepare     func(*health.State)
		saturated   bool
		want        health.Phase
	}{
		"not started yet":                     {now: []health.Component{hardUp}, prepare: func(*health.State) {}, want: health.Starting},
		"started, nothing to wait for":        {want: health.Ready},
		"started, hard dependency up":         {now: []health.Component{hardUp}, want: health.Ready},
		"started, hard dependency down":       {before: []health.Component{hardDown}, now: []health.Component{hardDown}, want: health.Starting},
		"started, soft row down":              {now: []health.Component{softDown, hardUp}, want: health.Ready},
		"hard dependency lost after start":    {before: []health.Component{hardUp}, now: []health.Component{hardDown}, want: health.Ready},
		"saturated":                           {saturated: true, want: health.Saturated},
		"draining":                            {prepare: func(s *health.State) { s.Started(); s.Drain() }, want: health.Draining},
		"draining before it was ever started": {prepare: (*health.State).Drain, want: health.Draining},
		"draining beats saturated":            {prepare: (*health.State).Drain, saturated: true, want: health.Draining},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			current := test.before
			s := health.NewState(health.StateOptions{Saturated: func() (bool, string) { return test.saturated, "64 of 64 in flight" }},
				func(context.Context) []health.Component { return current })
			if test.prepare == nil {
				test.prepare = (*health.State).Started
			}
			test.prepare(s)
			if test.before != nil {
				s.Report(t.Context())
			}
			current = test.now

			server := httptest.NewRecorder()
			health.Handler(health.Options{State: s}).ServeHTTP(server, httptest.NewRequest(http.MethodGet, "/health/ready", nil))
			wantCode := http.StatusServiceUnavailable
			if test.want == health.Ready {
				wantCode = http.StatusOK
			}
			var got health.Report
			if err := json.Unmarshal(server.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if server.Code != wantCode || got.Phase != test.want {
				t.Errorf("got %d %s, want %d %s", server.Code, got.Phase, wantCode, test.want)
			}
			want := append([]health.Component{}, test.now...)
			if test.saturated {
				want = append(want, health.Component{Name: "load", Detail: "64 of 64 in flight"})
			}
			if diff := cmp.Diff(want, got.Components, cmpopts.IgnoreFields(health.Component{}, "Since")); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSinceIsWhenARowLastChanged(t *testing.T) {
	t.Parallel()
	c := newClock()
	row := health.Component{Name: "nats"}
	s := health.NewState(health.StateOptions{Clock: c.Now}, func(context.Context) []health.Component { return []health.Component{row} })
	since := func() time.Duration {
		return c.Now().Sub(s.Report(t.Context()).Components[0].Since)
	}
	if d := since(); d != 0 {
		t.Errorf("new row: changed %v ago", d)
	}
	c.Add(time.Minute)
	if d := since(); d != time.Minute {
		t.Errorf("same row: changed %v ago", d)
	}
	row.Ready = true
	c.Add(time.Minute)
	if d := since(); d != 0 {
		t.Errorf("changed row: changed %v ago", d)
	}
}

func TestCheckersAndLoadMayComeLate(t *testing.T) {
	t.Parallel()
	s := health.NewState(health.StateOptions{})
	s.Started()
	s.Watch(rows(health.Component{Name: "index", Hard: true}))
	if r := s.Report(t.Context()); r.Phase != health.Starting || len(r.Components) != 1 {
		t.Errorf("got %+v", r)
	}
	s = health.NewState(health.StateOptions{})
	s.Started()
	s.SaturatedBy(func() (bool, string) { return true, "full" })
	if r := s.Report(t.Context()); r.Phase != health.Saturated {
		t.Errorf("got %+v", r)
	}
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	c := newClock()
	live := health.NewLiveness(c.Now)
	handler := health.Handler(health.Options{State: health.NewState(health.StateOptions{}), Live: live, Version: "v1"})
	type answer struct {
		Status  string          `json:"status"`
		PID     int             `json:"pid"`
		Version string          `json:"version"`
		Silent  []health.Silent `json:"silent"`
	}
	ask := func() (int, answer) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health/live", nil))
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		return w.Code, a
	}
	check := func(why string, wantCode int, silent ...health.Silent) {
		t.Helper()
		code, got := ask()
		want := answer{Status: "alive", PID: os.Getpid(), Version: "v1", Silent: silent}
		if wantCode != http.StatusOK {
			want.Status = "wedged"
		}
		if diff := cmp.Diff(want, got); diff != "" || code != wantCode {
			t.Errorf("%s: %d, want %d (-want +got):\n%s", why, code, wantCode, diff)
		}
	}

	check("no loops", http.StatusOK)
	fast, slow := live.NewPulse("ingest", 30*time.Second), live.NewPulse("spool", time.Hour)
	check("new loops count as beating", http.StatusOK)
	c.Add(30 * time.Second)
	check("silent for exactly its bound", http.StatusOK)
	c.Add(time.Second)
	check("one is silent", http.StatusServiceUnavailable, health.Silent{Name: "ingest", Seconds: 31, MaxSeconds: 30})
	fast.Beat()
	check("it beats again", http.StatusOK)
	c.Add(2 * time.Hour)
	check("both, by name", http.StatusServiceUnavailable,
		health.Silent{Name: "ingest", Seconds: 7200, MaxSeconds: 30}, health.Silent{Name: "spool", Seconds: 7231, MaxSeconds: 3600})
	fast.Stop()
	fast.Stop()
	slow.Stop()
	check("ended loops are not watched", http.StatusOK)
	if fast.Interval() != 10*time.Second {
		t.Errorf("Interval = %v", fast.Interval())
	}
}

func TestNilLivenessIsUsable(t *testing.T) {
	t.Parallel()
	var live *health.Liveness
	p := live.NewPulse("loop", time.Second)
	p.Beat()
	p.Stop()
	if live.Silent() != nil {
		t.Error("nil is not alive")
	}
}

func TestPathsOfTheAdminPort(t *testing.T) {
	t.Parallel()
	s := health.NewState(health.StateOptions{})
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	all := health.Handler(health.Options{State: s, Metrics: metrics, Pprof: true})
	bare := health.Handler(health.Options{State: s})
	tests := []struct {
		method, path string
		all, bare    int
	}{
		{http.MethodGet, "/health/live", 200, 200},
		{http.MethodGet, "/health", 200, 200},
		{http.MethodGet, "/healthz", 200, 200},
		{http.MethodGet, "/livez", 200, 200},
		{http.MethodGet, "/health/ready", 503, 503},
		{http.MethodGet, "/ready", 503, 503},
		{http.MethodGet, "/readyz", 503, 503},
		{http.MethodHead, "/readyz", 503, 503},
		{http.MethodPost, "/readyz", 405, 405},
		{http.MethodGet, "/metrics", 202, 404},
		{http.MethodGet, "/debug/pprof/cmdline", 200, 404},
		{http.MethodGet, "/", 404, 404},
	}
	for _, test := range tests {
		for handler, want := range map[http.Handler]int{all: test.all, bare: test.bare} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			if w.Code != want {
				t.Errorf("%s %s = %d, want %d", test.method, test.path, w.Code, want)
			}
		}
	}
}

func TestReportsAndPulsesAtOnce(t *testing.T) {
	t.Parallel()
	s, live := health.NewState(health.StateOptions{}, rows(health.Component{Name: "a", Ready: true})), health.NewLiveness(nil)
	handler := health.Handler(health.Options{State: s, Live: live})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := live.NewPulse("loop", time.Minute)
			defer p.Stop()
			for range 50 {
				p.Beat()
				s.Started()
				s.Watch(rows())
				for _, path := range []string{"/livez", "/readyz"} {
					handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
				}
			}
		})
	}
	wg.Wait()
}
