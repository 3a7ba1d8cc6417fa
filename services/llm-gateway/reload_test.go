package llmgateway_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/process"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
)

var _ process.Reloader[llmgateway.Config] = (*llmgateway.Service)(nil)

func TestReloadLeavesRunningStreamsAlone(t *testing.T) {
	t.Parallel()
	before := openaitest.Serve(t, openaitest.Open(), openaitest.Endless("on "))
	after := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five days [4]."), openaitest.Finish("stop"), openaitest.Done())
	dir := t.TempDir()
	client, s := serveLive(t, withProvider(before.URL), dir)
	stream, err := client.Generate(rpctest.As(t.Context(), "w"), refund())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	old := stream.Msg().GetStarted().GetConfigRevision()

	write(t, dir, "prompts/default.yaml", "system_prompt: Be brief.\n")
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: withProvider(after.URL), Revision: "def"}); err != nil {
		t.Fatal(err)
	}
	got, err := generate(t, client, refund())
	if err != nil || got.text != "Five days [4]." {
		t.Errorf("Generate = %q, %v, want the new provider's answer", got.text, err)
	}
	if r := got.started.GetConfigRevision(); r == old || r != s.Revision() {
		t.Errorf("revision %q, was %q, service says %q", r, old, s.Revision())
	}
	messages, _ := after.Requests()[0].Body["messages"].([]any)
	if first, _ := messages[0].(map[string]any); first["content"] != "Be brief." {
		t.Errorf("asked %v, want the new prompt", messages)
	}
	for range 100 {
		if !stream.Receive() {
			t.Fatalf("the stream that was running ended: %v", stream.Err())
		}
	}
}

func TestReloadRefusesWhatIsNotGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client, s := serveLive(t, llmgateway.Defaults(), dir)
	bad := llmgateway.Defaults()
	bad.Providers = map[string]llmgateway.Provider{"p": {Type: "openai", BaseURL: "nonsense"}}
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: bad, Revision: "def"}); err == nil || !strings.Contains(err.Error(), "providers.p.base_url") {
		t.Errorf("Reload = %v", err)
	}
	write(t, dir, "prompts/default.yaml", "system_promt: x\n")
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: llmgateway.Defaults(), Revision: "def"}); err == nil || !strings.Contains(err.Error(), "default.yaml:1") {
		t.Errorf("Reload = %v", err)
	}
	if got, err := generate(t, client, refund()); err != nil || got.started.GetConfigRevision() != "abc" {
		t.Errorf("Generate = %v, %v; want it to go on as before", got.started, err)
	}
}

func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	client, s := serveLive(t, llmgateway.Defaults(), "")
	var done atomic.Bool
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for !done.Load() {
				got, err := generate(t, client, refund())
				if err != nil {
					t.Error(err)
					return
				}
				if r := got.started.GetConfigRevision(); r != "abc" && r != "even" && r != "odd" {
					t.Errorf("revision %q", r)
				}
			}
		})
	}
	for i := range 50 {
		cfg := llmgateway.Defaults()
		cfg.Budget.Answer = 500 + i
		if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: []string{"even", "odd"}[i%2]}); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	load.Wait()
}

// What is known of targets outlives changes of the configuration, and is told; it makes no replica unready.
func TestReloadKeepsWhatIsKnownOfTargets(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Status(503, nil, "{}"))
	cfg := withProvider(fake.URL)
	cfg.Limits.Retries, cfg.Breaker.Rest = 0, 10*time.Minute
	dir := t.TempDir()
	client, s := serveLive(t, cfg, dir)
	state := func() llmv1.TargetState {
		t.Helper()
		models, err := client.ListModels(rpctest.As(t.Context(), "w"), &llmv1.ListModelsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return models.GetModels()[0].GetTargets()[0].GetState()
	}
	for range 7 {
		if got, err := generate(t, client, refund()); err != nil || got.started.GetRung() != 1 {
			t.Fatalf("Generate = %v, %v", got.started, err)
		}
	}
	if n := len(fake.Requests()); n != 5 || state() != llmv1.TargetState_TARGET_STATE_OPEN {
		t.Errorf("asked %d times, then %s; want it left alone after five", n, state())
	}
	cfg.Budget.Answer, cfg.Limits.Concurrent = 500, 17
	reload := func() {
		t.Helper()
		if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: "def"}); err != nil {
			t.Fatal(err)
		}
	}
	reload()
	if state() != llmv1.TargetState_TARGET_STATE_OPEN {
		t.Errorf("after a reload it is %s", state())
	}
	rows := s.Ready(t.Context())
	if row := rows[1]; !rows[0].Ready || !row.Ready || row.Hard || !strings.Contains(row.Detail, "m1 at fake failed too often") {
		t.Errorf("readiness %+v", rows)
	}
	cfg.Providers = map[string]llmgateway.Provider{"fake": {Type: "openai", BaseURL: fake.URL, LegacyMaxTokens: true}}
	reload()
	if rows := s.Ready(t.Context()); state() != llmv1.TargetState_TARGET_STATE_CLOSED || rows[1].Detail != "" {
		t.Errorf("a provider that has changed: %s, %+v; want it asked again", state(), rows)
	}
}
