package llmgateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/bus/natsserver"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/health"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
)

// priced is withProvider at a price: an answer of [answers] costs 29 millionths.
func priced(url string) llmgateway.Config {
	cfg := withProvider(url)
	m := cfg.Models["default"]
	m.Targets[0].Price = llmgateway.Price{Prompt: 2, CachedPrompt: 1, Completion: 3}
	cfg.Models["default"] = m
	return cfg
}

// answers is a provider that answers, and says that it used 10 tokens of prompt and 3 of completion.
func answers(t *testing.T) *openaitest.Server {
	t.Helper()
	return openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five days [4]."), openaitest.Finish("stop"), openaitest.Usage(10, 3), openaitest.Done())
}

func usageOf(t *testing.T, client llmv1connect.LLMServiceClient, by ...llmv1.UsageDimension) *llmv1.GetUsageResponse {
	t.Helper()
	got, err := client.GetUsage(rpctest.As(t.Context(), "w"), &llmv1.GetUsageRequest{Workspace: "w", By: by})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Every request is on somebody's account, and what it cost is there at once, NATS or no NATS.
func TestUsageIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	client := serve(t, priced(answers(t).URL), "")
	for range 2 {
		got, err := generate(t, client, refund())
		if err != nil || got.completed.GetUsage().GetCostMicros() != 29 {
			t.Fatalf("%v, %v", got.completed, err)
		}
	}
	got := usageOf(t, client, llmv1.UsageDimension_USAGE_DIMENSION_MODEL)
	want := []*llmv1.UsageRow{{Model: "default", Provider: "fake", ProviderModel: "m1", Requests: 2, PromptTokens: 20, CompletionTokens: 6, CostMicros: 58}}
	if diff := cmp.Diff(want, got.GetRows(), protocmp.Transform()); diff != "" || got.GetTotal().GetCostMicros() != 58 || got.GetKnownAt() != nil {
		t.Errorf("total %v, known at %v, rows (-want +got):\n%s", got.GetTotal(), got.GetKnownAt(), diff)
	}
	if got := usageOf(t, client, llmv1.UsageDimension_USAGE_DIMENSION_DAY, llmv1.UsageDimension_USAGE_DIMENSION_KEY); len(got.GetRows()) != 1 ||
		got.GetRows()[0].GetDay() != time.Now().UTC().Format(time.DateOnly) || got.GetRows()[0].GetKey() == "" || got.GetRows()[0].GetModel() != "" {
		t.Errorf("by day and key: %v", got)
	}
	for _, r := range []*llmv1.GetUsageRequest{{FirstDay: "2026-02-30"}, {FirstDay: "2026-11-02", LastDay: "2026-11-01"}, {FirstDay: "2020-01-01"}} {
		r.Workspace = "w"
		if _, err := client.GetUsage(rpctest.As(t.Context(), "w"), r); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, err := client.GetUsage(rpctest.As(t.Context(), "other"), &llmv1.GetUsageRequest{Workspace: "w"}); fault.ReasonOf(err) != fault.WorkspaceNotFound {
		t.Errorf("another workspace's: %v", err)
	}
}

// A budget refuses what would overrun it, says when it begins anew, and takes effect, as its shadow does, without a restart.
func TestBudgetRefuses(t *testing.T) {
	t.Parallel()
	cfg := priced(answers(t).URL)
	cfg.Account.Workspaces = map[string]llmgateway.Allowance{"w": {Day: 0.000_001}}
	client, s := serveLive(t, cfg, "")
	_, err := generate(t, client, refund())
	if f := fault.As(err); f.Reason != fault.BudgetExceeded || f.Kind != fault.Exhausted || f.RetryAfter <= 0 || f.RetryAfter > 24*time.Hour || !strings.Contains(f.Message, "workspace w") {
		t.Fatalf("Generate error = %v, after %v", err, f.RetryAfter)
	}
	cfg.Account.Shadow = true
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: "def"}); err != nil {
		t.Fatal(err)
	}
	if _, err := generate(t, client, refund()); err != nil {
		t.Fatalf("in shadow: %v", err)
	}
	got := usageOf(t, client)
	if len(got.GetBudgets()) != 1 || got.GetBudgets()[0].GetLimitMicros() != 1 || got.GetBudgets()[0].GetSpentMicros() != 29 || got.GetBudgets()[0].GetReservedMicros() != 0 || !got.GetShadow() {
		t.Errorf("budgets %v, shadow %v", got.GetBudgets(), got.GetShadow())
	}
	cfg.Account = llmgateway.Account{Key: llmgateway.Allowance{Requests: 1}}
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: "ghi"}); err != nil {
		t.Fatal(err)
	}
	if _, err := generate(t, client, refund()); err != nil {
		t.Fatal(err)
	}
	if _, err := generate(t, client, refund()); fault.ReasonOf(err) != fault.RateLimited {
		t.Errorf("the second request in a minute: %v", err)
	}
}

// A limit a minute is over all processes: what passes through one is missing at the other, once that has heard of it. Nobody says
// things twice: where the other did not listen yet, or was slow, the next workspace tells.
func TestLimitsAreShared(t *testing.T) {
	t.Parallel()
	const perMinute = 12
	cfg := priced(answers(t).URL)
	cfg.Account = llmgateway.Account{Workspace: llmgateway.Allowance{Requests: perMinute}}
	server := natsOf(t)
	one, _ := runningAt(t, cfg, server)
	other, _ := runningAt(t, cfg, server)
	pass := func(client llmv1connect.LLMServiceClient, workspace string, pause time.Duration) int {
		t.Helper()
		r := refund()
		r.Workspace = workspace
		for n := 0; ; n++ {
			_, err := generateAs(t, client, workspace, r)
			if fault.ReasonOf(err) == fault.RateLimited || n >= 3*perMinute {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for try := 0; ; try++ {
		workspace := fmt.Sprintf("w%d", try)
		if n := pass(one, workspace, 0); n < perMinute {
			t.Fatalf("%d requests passed", n)
		}
		n := pass(other, workspace, 200*time.Millisecond)
		if n < perMinute {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests passed through another process after that, as with every workspace before", n)
		}
	}
}

// running is a gateway with a NATS of its own, until the test ends.
func running(t *testing.T, cfg llmgateway.Config) (llmv1connect.LLMServiceClient, *llmgateway.Service) {
	t.Helper()
	return runningAt(t, cfg, natsOf(t))
}

// natsOf is a test's NATS.
func natsOf(t *testing.T) *natsserver.Server {
	t.Helper()
	server, err := natsserver.Start(t.Context(), natsserver.Options{Dir: t.TempDir(), NoSync: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server
}

// runningAt is a gateway at a NATS, until the test ends.
func runningAt(t *testing.T, cfg llmgateway.Config, server *natsserver.Server) (llmv1connect.LLMServiceClient, *llmgateway.Service) {
	t.Helper()
	var err error
	d := deps(t, "")
	if d.Bus, err = bus.Connect(t.Context(), bus.Options{Name: "llm-gateway", InProcess: server, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Bus.Close)
	if err := d.Bus.EnsureTopology(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := llmgateway.New(t.Context(), cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	conn := rpctest.Service(t, "llm-gateway", func(m *librpc.Mux) { s.Register(m) })
	return llmv1connect.NewLLMServiceClient(conn.HTTP, conn.URL, conn.Options...), s
}

// What is asked again is answered from the cache, word by word as it was, at no cost; another question, another configuration of
// the route and a request that wants none are not, and a deleted workspace leaves nothing in it.
func TestCachedAnswers(t *testing.T) {
	t.Parallel()
	provider := answers(t)
	cfg := priced(provider.URL)
	m := cfg.Models["default"]
	m.Cache = "on"
	cfg.Models["default"] = m
	client, s := running(t, cfg)
	ask := func(mode llmv1.CacheMode) bool {
		t.Helper()
		r := refund()
		r.Cache = mode
		got, err := generate(t, client, r)
		if err != nil || got.text != "Five days [4]." || got.completed.GetFinishReason() != llmv1.FinishReason_FINISH_REASON_STOP || got.started.GetProvider() != "fake" {
			t.Fatalf("%+v, %v", got, err)
		}
		u, cached := got.completed.GetUsage(), got.started.GetCached()
		if u.GetPromptTokens() != 10 || cached != (u.GetCostMicros() == 0) || cached != (len(got.completed.GetTries()) == 0) {
			t.Errorf("cached %v, usage %v, tries %v", cached, u, got.completed.GetTries())
		}
		return cached
	}
	const byDefault = llmv1.CacheMode_CACHE_MODE_UNSPECIFIED
	if ask(byDefault) {
		t.Error("the first answer comes from the cache")
	}
	deadline := time.Now().Add(time.Minute)
	for !ask(byDefault) { // it is kept once it has ended
		if time.Now().After(deadline) {
			t.Fatal("the answer is not kept")
		}
	}
	// Nobody waits for a store that is slow: on a busy machine it may be, and who only reads changes nothing about what is kept.
	kept := func(which string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ask(llmv1.CacheMode_CACHE_MODE_READ_ONLY); {
			if time.Now().After(deadline) {
				t.Fatalf("%s is not there any more", which)
			}
		}
	}
	if ask(llmv1.CacheMode_CACHE_MODE_OFF) || ask(llmv1.CacheMode_CACHE_MODE_REFRESH) {
		t.Error("a request's own mode does not count")
	}
	kept("the refreshed answer")
	m.Targets[0].Model = "m2"
	cfg.Models["default"] = m
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: "def"}); err != nil {
		t.Fatal(err)
	}
	if ask(byDefault) {
		t.Error("the answer of another model comes from the cache")
	}
	m.Targets[0].Model = "m1"
	cfg.Models["default"] = m
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: "ghi"}); err != nil {
		t.Fatal(err)
	}
	kept("the first model's answer")
	got := usageOf(t, client)
	if asked := uint64(len(provider.Requests())); got.GetTotal().GetCached() < 3 || got.GetTotal().GetRequests() != asked+got.GetTotal().GetCached() || got.GetTotal().GetCostMicros() != 29*asked {
		t.Errorf("the provider was asked %d times; usage %v", asked, got.GetTotal())
	}
	if _, err := client.DeleteWorkspace(rpctest.As(t.Context(), "w"), &llmv1.DeleteWorkspaceRequest{Workspace: "w"}); err != nil {
		t.Fatal(err)
	}
	if got := usageOf(t, client); got.GetTotal().GetRequests() != 0 {
		t.Errorf("usage of a deleted workspace: %v", got.GetTotal())
	}
	if ask(byDefault) {
		t.Error("an answer of the deleted workspace comes from the cache")
	}
}

// A stand-in's answer is not kept: the provider is asked again as soon as it is back.
func TestStandInsAreNotCached(t *testing.T) {
	t.Parallel()
	cfg := withProvider("http://127.0.0.1:1")
	m := cfg.Models["default"]
	m.Cache = "on"
	cfg.Models["default"] = m
	client, s := running(t, cfg)
	for range 3 {
		got, err := generate(t, client, refund())
		if err != nil || got.started.GetProvider() != "extractive" || got.started.GetCached() {
			t.Fatalf("%v, %v", got.started, err)
		}
	}
	total := usageOf(t, client).GetTotal()
	if total.GetRequests() != 3 || total.GetFailed() == 0 || total.GetUnpriced() != 0 || total.GetCostMicros() != 0 {
		t.Errorf("usage %v", total)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		var row health.Component
		for _, c := range s.Ready(t.Context()) {
			if c.Name == "usage" {
				row = c
			}
		}
		if row.Ready && !row.Hard {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", row)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
