package health

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"os"
	"slices"
	"time"
)

// Options configures Handler.
type Options struct {
	// State answers /health/ready.
	State *State
	// Live answers /health/live; nil is always alive.
	Live *Liveness
	// Metrics answers /metrics; nil for none.
	Metrics http.Handler
	// Pprof serves /debug/pprof. Off unless somebody asks for it: it shows memory.
	Pprof bool
	// Version stands in both answers.
	Version string
}

// checkTimeout bounds one readiness report.
const checkTimeout = 2 * time.Second

// Handler serves the admin port: /health/live (also /health, /healthz, /livez), /health/ready (also /ready, /readyz),
// /metrics and, when asked for, /debug/pprof.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/health/live", "/health", "/healthz", "/livez"} {
		mux.HandleFunc("GET "+path, o.live)
	}
	for _, path := range []string{"/health/ready", "/ready", "/readyz"} {
		mux.HandleFunc("GET "+path, o.ready)
	}
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	if o.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func (o Options) live(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Status  string   `json:"status"`
		PID     int      `json:"pid"`
		Version string   `json:"version,omitempty"`
		Silent  []Silent `json:"silent,omitempty"`
	}{Status: "alive", PID: os.Getpid(), Version: o.Version, Silent: o.Live.Silent()}
	slices.SortFunc(answer.Silent, func(a, b Silent) int { return cmp.Compare(a.Name, b.Name) })
	code := http.StatusOK
	if len(answer.Silent) > 0 {
		answer.Status, code = "wedged", http.StatusServiceUnavailable
	}
	write(w, code, answer)
}

func (o Options) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	report := o.State.Report(ctx)
	code := http.StatusOK
	if report.Phase != Ready {
		code = http.StatusServiceUnavailable
	}
	write(w, code, struct {
		Report
		PID     int    `json:"pid"`
		Version string `json:"version,omitempty"`
	}{report, os.Getpid(), o.Version})
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the prober went away: nobody is left to tell
}
