package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/e2e"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/mockllm"
)

// leakTurns is the environment variable that says how many turns TestNothingLeaks takes; 300 without.
const leakTurns = "RAGMESH_LEAK_TURNS"

// provided starts everything in one process with providers behind the gateway, a model of the same name each, given as base
// addresses; and further lines for dialog.yaml.
func provided(t *testing.T, providers map[string]string, model, dialogYAML string) *e2e.System {
	t.Helper()
	if testing.Short() {
		t.Skip("starts whole systems")
	}
	config, dir := t.TempDir(), documents(t)
	var gateway strings.Builder
	gateway.WriteString("providers:\n")
	for name, base := range providers {
		fmt.Fprintf(&gateway, "  %s: {type: openai, base_url: %q, max_connections: 512}\n", name, base)
	}
	gateway.WriteString("models:\n  extractive: {targets: [{provider: extractive}]}\n")
	for name := range providers {
		fmt.Fprintf(&gateway, "  %s: {targets: [{provider: %s, model: %q}]}\n", name, name, model)
	}
	for name, content := range map[string]string{"llm-gateway.yaml": gateway.String(), "dialog.yaml": dialogYAML} {
		if err := os.WriteFile(filepath.Join(config, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := e2e.StartAllInOne(t, e2e.WithConfig(config))
	must(t, s, "ingest", "--base", dir, dir)
	return s
}

// mock serves a model that behaves as the name asked for says.
func mock(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(mockllm.New(1))
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}

// held serves a model that stops in the middle of each answer, until it is let go.
func held(t *testing.T) (base string, letGo func()) {
	t.Helper()
	gate, model := make(chan struct{}), mockllm.New(1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		model.ServeHTTP(&halting{ResponseWriter: w, ctx: r.Context(), gate: gate}, r)
	}))
	letGo = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(func() { letGo(); server.Close() })
	return server.URL + "/v1", letGo
}

// halting waits before the 25th piece.
type halting struct {
	http.ResponseWriter
	ctx    context.Context //nolint:containedctx // the request's, whose writer this is
	gate   <-chan struct{}
	pieces int
}

func (h *halting) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *halting) Write(p []byte) (int, error) {
	if h.pieces++; h.pieces == 25 {
		select {
		case <-h.gate:
		case <-h.ctx.Done():
		}
	}
	return h.ResponseWriter.Write(p)
}

// longBudgets let nothing of a turn be late on a busy machine.
const longBudgets = "budget: {turn: 5m, plan: 10s, retrieve: 1m, tools: 1m, first_token: 1m, idle: 1m, save: 10s}"

// streamed is a turn as its caller saw it come.
type streamed struct {
	answer
	first time.Duration // to the first text
	err   error
}

// stream asks a model, tells when the first text comes, and reads to the end.
func stream(ctx context.Context, client dialogv1connect.DialogServiceClient, model string, speaks func()) (out streamed) {
	began := time.Now()
	s, err := client.Chat(ctx, &dialogv1.ChatRequest{Workspace: "default", Question: wantsBoth, Model: model})
	if err != nil {
		return streamed{err: err}
	}
	defer s.Close()
	for s.Receive() {
		switch event := s.Msg().GetEvent().(type) {
		case *dialogv1.ChatResponse_Delta:
			if out.first == 0 {
				out.first = time.Since(began)
				speaks()
			}
		case *dialogv1.ChatResponse_Completed:
			out.answer = answer{event.Completed.GetTurn(), event.Completed.GetStored(), time.Since(began)}
			return out
		}
	}
	out.err = fmt.Errorf("the stream ended without completed: %w", s.Err())
	return out
}

func silent() {}

// ownConnections returns a client that shares no connection with others.
func ownConnections(t *testing.T, s *e2e.System) dialogv1connect.DialogServiceClient {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 512}
	t.Cleanup(transport.CloseIdleConnections)
	return dialogv1connect.NewDialogServiceClient(&http.Client{Transport: transport}, s.Server)
}

// SIGTERM while an answer streams: the answer is finished and saved, who comes meanwhile is told to come back, and the
// process ends with 0.
func TestDrainFinishesStreams(t *testing.T) {
	model, letGo := held(t)
	s := provided(t, map[string]string{"slow": model}, "mock-len48", "turn: {"+longBudgets+"}\n")
	p := s.Part(t, "ragmesh")
	speaks, done := make(chan struct{}), make(chan streamed, 1)
	go func() { done <- stream(t.Context(), ownConnections(t, s), "slow", func() { close(speaks) }) }()
	select {
	case <-speaks:
	case <-time.After(time.Minute):
		t.Fatal("the model says nothing")
	}
	p.Terminate(t)
	// A request that arrives in the very moment may find its connection closed, which is as retryable, but says less.
	cut := 0
	for polite := false; !polite; time.Sleep(10 * time.Millisecond) {
		got := stream(t.Context(), ownConnections(t, s), "extractive", silent)
		switch f := fault.As(rpc.FromConnect(got.err)); {
		case got.err == nil: // the signal is on its way
		case connect.CodeOf(got.err) == connect.CodeUnknown && strings.Contains(got.err.Error(), "stream ended"):
			f = fault.As(rpc.FromConnect(unwrap(got.err)))
			fallthrough
		default:
			if f.Kind == fault.Unavailable && f.Reason == fault.ServiceUnavailable && cut < 2 {
				cut++
				continue
			}
			if f.Kind != fault.Unavailable || f.Reason != fault.Draining || f.RetryAfter <= 0 {
				t.Fatalf("while it drains a caller is told %v (%s, again after %s)", got.err, fault.ReasonName(f.Reason), f.RetryAfter)
			}
			polite = true
		}
	}
	letGo()
	got := <-done
	if got.err != nil {
		t.Fatalf("the running answer was cut off: %v", got.err)
	}
	if got.outcome() != "answered" || len(got.degraded()) > 0 || got.stored != dialogv1.Stored_STORED_STREAM {
		t.Errorf("the running answer: %s, degraded %v, stored %s", got.outcome(), got.degraded(), got.stored)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the process ended with %v, want exit code 0", err)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}

// ready returns the status of /health/ready and what it says.
func ready(t *testing.T, s *e2e.System) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Admin+"/health/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
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

// waits says whether a turn waits for its place.
func waits(t *testing.T, s *e2e.System) bool {
	t.Helper()
	_, body := exchange(t, s.Admin, "", http.MethodGet, "/metrics", http.Header{}, nil)
	return strings.Contains(string(body), `ragmesh_dialog_turns_waiting{ragmesh_service="dialog"} 1`)
}

// Readiness goes before anybody is refused, and comes back.
func TestSaturation(t *testing.T) {
	model, letGo := held(t)
	s := provided(t, map[string]string{"slow": model}, "mock-len48", "turn: {max_running: 10, "+longBudgets+"}\nlimits: {waiting: {max: 1, timeout: 1m}}\n")
	client := ownConnections(t, s)
	var all sync.WaitGroup
	begin := func() {
		speaks := make(chan struct{})
		all.Go(func() {
			if got := stream(t.Context(), client, "slow", func() { close(speaks) }); got.err != nil {
				t.Errorf("an admitted turn: %v", got.err)
			}
		})
		<-speaks
	}
	for range 8 {
		begin()
	}
	if code, body := ready(t, s); code != http.StatusOK {
		t.Errorf("with 8 of 10 turns: %d %s", code, body)
	}
	begin()
	if code, body := ready(t, s); code != http.StatusServiceUnavailable || !strings.Contains(body, `"saturated"`) {
		t.Errorf("with 9 of 10 turns: %d %s", code, body)
	}
	begin() // still taken
	all.Go(func() {
		if got := stream(t.Context(), client, "slow", silent); got.err != nil || got.outcome() != "answered" {
			t.Errorf("the eleventh turn, which may wait: %v, %s", got.err, got.outcome())
		}
	})
	for deadline := time.Now().Add(time.Minute); !waits(t, s); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the eleventh turn does not wait")
		}
	}
	got := stream(t.Context(), client, "slow", silent)
	if got.err == nil {
		t.Error("the twelfth turn was taken")
	} else if f := fault.As(rpc.FromConnect(unwrap(got.err))); f.Kind != fault.Exhausted || f.Reason != fault.Overloaded || f.RetryAfter <= 0 {
		t.Errorf("the twelfth turn is told %v (%s, again after %s)", got.err, fault.ReasonName(f.Reason), f.RetryAfter)
	}
	letGo()
	all.Wait()
	within(t, "it is ready again without turns", func() bool {
		code, _ := ready(t, s)
		return code == http.StatusOK
	})
}

// A provider that is down, fails or hangs: the extractive model answers, and that is said.
func TestProviderDown(t *testing.T) {
	stop := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(stop); hung.Close() })
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error": {"message": "boom"}}`, http.StatusInternalServerError)
	}))
	t.Cleanup(failing.Close)
	down := httptest.NewServer(nil)
	down.Close()
	s := provided(t, map[string]string{"down": down.URL, "failing": failing.URL, "hung": hung.URL}, "any", "")
	for _, model := range []string{"down", "failing", "hung"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			got := stream(t.Context(), ownConnections(t, s), model, silent)
			if got.err != nil {
				t.Fatal(got.err)
			}
			g := got.turn.GetGeneration()
			t.Logf("%s: %s in %s by %s (rung %d), degraded %v", model, got.outcome(), got.took.Round(time.Millisecond), g.GetProvider(), g.GetRung(), got.degraded())
			if got.outcome() != "answered" || !strings.Contains(got.turn.GetAnswer(), "12 euros") || g.GetProvider() != "extractive" || !got.names("llm-gateway") {
				t.Errorf("%s by %s, degraded %v: %q", got.outcome(), g.GetProvider(), got.degraded(), got.turn.GetAnswer())
			}
		})
	}
}

// Two hundred answers stream at once from one process: none fails, and all have begun before one ends.
func TestManyStreams(t *testing.T) {
	const streams = 200
	model, letGo := held(t)
	s := provided(t, map[string]string{"slow": model}, "mock-len64", "turn: {"+longBudgets+"}\n")
	client := ownConnections(t, s)
	results := make([]streamed, streams)
	var all sync.WaitGroup
	began := make(chan struct{}, streams)
	for i := range results {
		all.Go(func() {
			speaks := sync.OnceFunc(func() { began <- struct{}{} })
			defer speaks() // one that fails need not be waited for
			results[i] = stream(t.Context(), client, "slow", speaks)
		})
	}
	for range streams {
		<-began
	}
	letGo()
	all.Wait()
	var first, whole []time.Duration
	for _, r := range results {
		if r.err != nil || r.outcome() != "answered" || len(r.degraded()) > 0 {
			t.Fatalf("a turn: %v, %v, degraded %v", r.err, r.turn.GetOutcome(), r.degraded())
		}
		first, whole = append(first, r.first), append(whole, r.took)
	}
	slices.Sort(first)
	slices.Sort(whole)
	t.Logf("%d streams at once: first text p50 %s p95 %s, whole p50 %s p95 %s", streams,
		first[streams/2], first[streams*95/100], whole[streams/2], whole[streams*95/100])
	healthy(t, s)
}

// usage is what a process holds.
type usage struct {
	goroutines, files, memory int // memory in MB
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %d MB", u.goroutines, u.files, u.memory)
}

func usageOf(t *testing.T, s *e2e.System) usage {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", s.Part(t, "ragmesh").PID())
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	u := usage{files: len(files)}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kilobytes, _ := strconv.Atoi(fields[1])
			u.memory = kilobytes >> 10
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			u.goroutines, _ = strconv.Atoi(n)
		}
	}
	if u.goroutines == 0 {
		t.Fatal("the metrics have no go_goroutines")
	}
	return u
}

// After as many turns as one likes a process holds what it held before.
func TestNothingLeaks(t *testing.T) {
	turns := 300
	if n, err := strconv.Atoi(os.Getenv(leakTurns)); err == nil {
		turns = n
	}
	s := provided(t, map[string]string{"quick": mock(t)}, "mock-ttft1-itl1-len16", "")
	run := func(n int) {
		transport := &http.Transport{MaxIdleConnsPerHost: 16}
		defer transport.CloseIdleConnections()
		client := dialogv1connect.NewDialogServiceClient(&http.Client{Transport: transport}, s.Server)
		work := make(chan int)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for i := range work {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					speaks := silent
					gone := i%10 == 9 // some callers leave in the middle
					if gone {
						speaks = cancel
					}
					if got := stream(ctx, client, []string{"quick", "extractive"}[i%2], speaks); got.err != nil && !gone {
						t.Errorf("turn %d: %v", i, got.err)
					}
					cancel()
				}
			})
		}
		for i := range n {
			work <- i
		}
		close(work)
		all.Wait()
	}
	run(100) // pools, caches and connections fill
	before := usageOf(t, s)
	began := time.Now()
	run(turns)
	// The embedded message store keeps every subject in memory, some hundred bytes for each turn and each session; the rest
	// is room that the collector and the stores' buffers take under load, and give back when it is calm.
	memory := before.memory + 60 + turns*4/1024
	var after usage
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if after = usageOf(t, s); after.goroutines <= before.goroutines+10 && after.files <= before.files+10 && after.memory <= memory {
			break
		}
	}
	t.Logf("%d turns in %s: before %s; after %s", turns, time.Since(began).Round(time.Millisecond), before, after)
	if after.goroutines > before.goroutines+10 || after.files > before.files+10 || after.memory > memory {
		t.Errorf("before %d turns: %s; after: %s", turns, before, after)
	}
}
