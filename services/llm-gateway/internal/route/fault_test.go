package route_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/breaker"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

var update = flag.Bool("update", false, "rewrite the fault table of docs/models.md")

// modelsPage has the table between two marks.
const (
	modelsPage = "../../../../docs/models.md"
	tableBegin = "<!-- The fault table: go test ./services/llm-gateway/internal/route -run TestFaultTable -update -->\n"
	tableEnd   = "<!-- The end of the fault table. -->\n"
)

// wire is what a provider's server does, request after request; the last one also with those that follow.
type wire []http.HandlerFunc

func status(code int, header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// says sends events, then waits for the client to go away when it stalls.
func says(stalls bool, events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			_, _ = w.Write([]byte(e))
			_ = http.NewResponseController(w).Flush()
		}
		if stalls {
			<-r.Context().Done()
		}
	}
}

// cuts sends events and breaks the connection.
func cuts(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		says(false, events...)(w, r)
		panic(http.ErrAbortHandler)
	}
}

func answers() http.HandlerFunc {
	f := openaitest.Format()
	return says(false, f.Open(nil), f.Text("Five "), f.Text("days [4]."), f.End(provider.Stop, &provider.Usage{Prompt: 120, Completion: 6}), f.Terminator)
}

// The faults of a provider.
var faults = []struct {
	name string
	wire wire // none for a server that refuses connections

}{
	{"429, Retry-After: 2, then it answers", wire{status(429, "Retry-After: 2", "{}"), answers()}},
	{"429, Retry-After: 60", wire{status(429, "Retry-After: 60", "{}")}},
	{"500 once, then it answers", wire{status(500, "", "{}"), answers()}},
	{"500s", wire{status(500, "", "{}")}},
	{"refused", nil},
	{"black hole", wire{says(true)}},
	{"stall after the first token", wire{says(true, openaitest.Format().Open(nil), openaitest.Format().Text("Five "))}},
	{"cut mid-stream", wire{cuts(openaitest.Format().Open(nil), openaitest.Format().Text("Five "))}},
	{"garbage", wire{says(false, "<html>Bad gateway</html>\n\n", "data: {\"choi\n\n")}},
	{"longer than the model's context", wire{status(400, "", openaitest.Format().TooLong)}},
	{"401", wire{status(401, "", "{}")}},
}

// serve serves handlers on a pipe and returns a provider for it. All of it lives in the bubble of the test's clock.
func (w wire) serve(t *testing.T, calls *atomic.Int64) provider.Provider {
	t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) {
		calls.Add(1)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if len(w) > 0 {
		l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
		var served atomic.Int64
		server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			_, _ = io.Copy(io.Discard, r.Body) // until then nothing notices that the client has gone
			w[min(int(served.Add(1)), len(w))-1](rw, r)
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close(); <-done })
		dial = l.dial
	}
	p, err := openai.New(openai.Config{BaseURL: "http://provider.test/v1", MaxConnections: 64, Dial: dial}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// listener has connections in memory, which a bubble's clock needs: nothing in it waits for a network.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// reader is what a caller sees.
type reader struct {
	started []route.Started
	text    strings.Builder
}

func (r *reader) Started(s route.Started) error { r.started = append(r.started, s); return nil }
func (r *reader) Text(s string) error           { r.text.WriteString(s); return nil }

// silent counts nothing.
type silent struct{}

func (silent) Tried(route.Rung, string, time.Duration) {}
func (silent) FirstText(route.Rung, time.Duration)     {}
func (silent) Tokens(route.Rung, provider.Usage)       {}
func (silent) Retried(route.Rung)                      {}
func (silent) Skipped(route.Rung, string)              {}
func (silent) Waited(string, time.Duration)            {}
func (silent) Answered(route.Tried, time.Duration)     {}

// defaults are llm-gateway's.
func defaults() route.Options {
	return route.Options{
		Default: "default", FirstText: 10 * time.Second, Idle: 20 * time.Second, Timeout: 10 * time.Minute, Retries: 1,
		Places: 256, Waiting: 256, Wait: 5 * time.Second, Breaker: breaker.Config{Failures: 5, Of: 10, Rest: 15 * time.Second},
	}
}

func routed(t testing.TB, o route.Options, targets ...route.Target) *route.Router {
	t.Helper()
	for i := range targets {
		targets[i].Retries = -1
	}
	r, err := route.New(map[string]route.Route{"default": {Targets: targets}}, o, route.Deps{
		Meter: silent{}, Tracer: noop.NewTracerProvider().Tracer(""), Report: func(context.Context, string, string, error) {}, Clock: time.Now,
		Random: func() float64 { return .5 }, Health: route.NewHealth(route.Watch{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Use()
	return r
}

var builtin = route.Target{Name: extractive.Name, Provider: extractive.Model{}, Model: extractive.Name, Local: true}

func question() provider.Request {
	return provider.Request{
		Ask: ask.Request{Question: "How many business days does a refund take to arrive?", Sources: []ask.Source{
			{Number: 4, ID: "c1", Title: "Refunds", Text: "A refund takes five business days to arrive.", Score: 9},
		}},
		Messages: []ask.Message{{Role: ask.User, Content: strings.Repeat("word ", 100)}}, MaxTokens: 100,
	}
}

// seconds are as a table shows them.
func seconds(d time.Duration) string {
	if d == 0 {
		return "0 s"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
}

// row asks a ladder once and tells what its caller saw.
func row(t *testing.T, name, ladder string, targets []route.Target, calls *atomic.Int64) (line string) {
	t.Helper()
	began := time.Now()
	var seen reader
	out, err := routed(t, defaults(), targets...).Generate(t.Context(), "", route.CallOptions{}, question(), &seen)
	took := time.Since(began)
	what := ""
	switch {
	case err != nil:
		f := fault.As(err)
		what = "`" + fault.ReasonName(f.Reason) + "`"
		if f.RetryAfter > 0 {
			what += ", come back in " + seconds(f.RetryAfter)
		}
		if seen.text.Len() > 0 {
			what = "the text so far, then " + what
		}
	case seen.started[0].Name == extractive.Name:
		what = "quotes of the sources"
	default:
		what = fmt.Sprintf("the answer of %s", seen.started[0].Name)
	}
	first := "–"
	rung := "–"
	if len(seen.started) > 0 {
		first, rung = seconds(out.FirstText), fmt.Sprint(seen.started[0].Rung)
	}
	var tries, paid []string
	answered := 0
	for _, try := range out.Tries {
		if try.Rung.Provider == extractive.Name {
			continue
		}
		tries = append(tries, fmt.Sprintf("%s %s", try.Rung.Provider, try.Outcome))
		if u := try.Usage; u.Prompt+u.Completion > 0 {
			about := ""
			if u.Estimated {
				about = "about "
			}
			paid = append(paid, fmt.Sprintf("%s %s%d+%d", try.Rung.Provider, about, u.Prompt, u.Completion))
			if u.Completion > 0 {
				answered++
			}
		}
	}
	// The promises of the table: nobody sees two answers or doubled text, nobody pays for two, nobody is lost.
	if len(seen.started) > 1 || strings.Count(seen.text.String(), "Five") > 1 || answered > 1 {
		t.Errorf("%s, %s: begun %d times, %q, tries %v", name, ladder, len(seen.started), seen.text.String(), out.Tries)
	}
	if err == nil && seen.text.Len() == 0 {
		t.Errorf("%s, %s: an empty answer", name, ladder)
	}
	if n := len(tries); int(calls.Load()) != n {
		t.Errorf("%s, %s: providers were asked %d times, %d tries are known", name, ladder, calls.Load(), n)
	}
	begins := took
	if len(seen.started) > 0 {
		begins = out.FirstText
	}
	if begins > 15*time.Second {
		t.Errorf("%s, %s: it took %s to begin, longer than dialog waits", name, ladder, begins)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, ladder, what, rung, first, seconds(took),
		cmp.Or(strings.Join(tries, ", "), "–"), cmp.Or(strings.Join(paid, ", "), "nothing"))
}

// TestFaultTable asks routes of one provider and of two, with their limits as they are by default, while the first provider
// fails in each way there is: over HTTP, on a clock of its own. It prints what came of it, and holds docs/models.md to it.
func TestFaultTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| The first provider, a | Targets | The caller sees | Rung | First token after | End after | Tries | Tokens paid: prompt+answer |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range faults {
		for _, ladder := range []string{"a", "a, extractive", "a, b"} {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				targets := []route.Target{{Name: "a", Model: "m", Provider: f.wire.serve(t, &calls)}}
				switch ladder {
				case "a, extractive":
					targets = append(targets, builtin)
				case "a, b":
					targets = append(targets, route.Target{Name: "b", Model: "m", Provider: wire{answers()}.serve(t, &calls)})
				}
				table.WriteString(row(t, f.name, ladder, targets, &calls))
			})
		}
	}
	t.Log("\n" + table.String())
	page, err := os.ReadFile(modelsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegin)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no place for the table", modelsPage)
	case *update:
		if err := os.WriteFile(modelsPage, []byte(before+tableBegin+"\n"+table.String()+"\n"+tableEnd+after), 0o600); err != nil {
			t.Fatal(err)
		}
	case strings.TrimSpace(old) != strings.TrimSpace(table.String()):
		t.Errorf("the table of %s is not what comes out; run this test with -update", modelsPage)
	}
}

// paid is a ledger that remembers.
type paid struct{ tries []route.Tried }

func (p *paid) Tried(r route.Rung, outcome string, u provider.Usage, took time.Duration) {
	p.tries = append(p.tries, route.Tried{Rung: r, Outcome: outcome, Usage: u, Took: took})
}

// leaver goes away after the first text.
type leaver struct {
	reader
	leave func()
}

func (l *leaver) Text(s string) error { time.AfterFunc(time.Second, l.leave); return l.reader.Text(s) }

// Who goes away in the middle of an answer ends the provider's work at that moment, and what it had cost by then is in the ledger.
func TestACallerWhoLeavesIsBilledForWhatThereWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		ended := make(chan time.Time, 1)
		f := openaitest.Format()
		server := wire{func(w http.ResponseWriter, r *http.Request) {
			says(true, f.Open(nil), f.Text("Five "))(w, r)
			ended <- time.Now()
		}}
		r := routed(t, defaults(), route.Target{Name: "a", Model: "m", Provider: server.serve(t, &calls), Price: route.Price{Prompt: 1, Completion: 10}},
			route.Target{Name: "b", Model: "m", Provider: wire{answers()}.serve(t, &calls)})
		ctx, leave := context.WithCancel(t.Context())
		began, ledger := time.Now(), &paid{}
		_, err := r.Generate(ctx, "", route.CallOptions{Ledger: ledger}, question(), &leaver{leave: leave})
		if took := time.Since(began); fault.KindOf(err) != fault.Canceled || took != time.Second || (<-ended).Sub(began) != time.Second {
			t.Errorf("%v after %s", err, took)
		}
		if s := r.Targets("default")[0]; len(ledger.tries) != 1 || calls.Load() != 1 || s.InFlight != 0 || s.State != breaker.Closed {
			t.Fatalf("tries %+v, target %+v", ledger.tries, s)
		}
		if u := ledger.tries[0].Usage; !u.Estimated || u.Prompt == 0 || u.Completion == 0 || u.CostMicros != uint64(u.Prompt+10*u.Completion) {
			t.Errorf("usage %+v", u)
		}
	})
}

// A session's target is known before it is asked, for previews.
func TestFirst(t *testing.T) {
	targets := named("a", "b")
	targets[0].Weight, targets[1].Weight = 1, 1
	r := routed(t, defaults(), targets...)
	seen := map[string]bool{}
	for i := range 20 {
		session := fmt.Sprint(i)
		want := r.First("default", session).Name
		seen[want] = true
		if who, _, err := call(t.Context(), r, "", route.CallOptions{Session: session}, plays{"a": works(0), "b": works(0)}); who != want {
			t.Errorf("session %s: %s, %v; want %s", session, who, err, want)
		}
	}
	if len(seen) != 2 || r.First("default", "").Name != "a" {
		t.Errorf("first targets %v", seen)
	}
}
