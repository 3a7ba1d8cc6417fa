package llmgateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1/llmv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	toolsv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/tools/v1"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
)

func serve(t *testing.T, cfg llmgateway.Config, dir string) llmv1connect.LLMServiceClient {
	t.Helper()
	client, _ := serveLive(t, cfg, dir)
	return client
}

// deps are those of a gateway whose NATS is away.
func deps(t *testing.T, dir string) llmgateway.Deps {
	t.Helper()
	away, err := bus.Connect(t.Context(), bus.Options{Name: "llm-gateway", URL: "nats://127.0.0.1:1", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(away.Close)
	return llmgateway.Deps{
		Telemetry: telemetry.Nop("llm-gateway"), Bus: away, DataDir: t.TempDir(), ConfigDir: dir, Revision: "abc", Clock: time.Now,
	}
}

func serveLive(t *testing.T, cfg llmgateway.Config, dir string) (llmv1connect.LLMServiceClient, *llmgateway.Service) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("Validate: %v", err)
	}
	s, err := llmgateway.New(t.Context(), cfg, deps(t, dir))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	conn := rpctest.Service(t, "llm-gateway", func(m *librpc.Mux) { s.Register(m) })
	return llmv1connect.NewLLMServiceClient(conn.HTTP, conn.URL, conn.Options...), s
}

// withProvider returns a configuration whose model default is a server at url, over the extractive model.
func withProvider(url string) llmgateway.Config {
	cfg := llmgateway.Defaults()
	cfg.Providers = map[string]llmgateway.Provider{"fake": {Type: "openai", BaseURL: url}}
	cfg.Models["default"] = llmgateway.Model{Targets: []llmgateway.Target{{Provider: "fake", Model: "m1"}}}
	return cfg
}

func refund() *llmv1.GenerateRequest {
	return &llmv1.GenerateRequest{
		Workspace: "w", Question: "How many business days does a refund take to arrive?",
		Sources: []*llmv1.Source{
			{Number: 4, Id: "c1", Kind: &llmv1.Source_Passage{Passage: &retrieverv1.Passage{
				ChunkId: "c1", Title: "Refunds", Text: "A refund takes five business days to arrive. Gift cards can't be refunded.", Score: 9,
			}}},
			{Number: 5, Id: "t1", Kind: &llmv1.Source_ToolResult{ToolResult: &toolsv1.ToolResult{
				CallId: "t1", Tool: "rates", Error: &toolsv1.ToolError{Message: "the service does not answer"},
			}}},
		},
	}
}

type answer struct {
	started   *llmv1.Started
	text      string
	completed *llmv1.Completed
	events    string
}

// generate asks on behalf of workspace w.
func generate(t *testing.T, client llmv1connect.LLMServiceClient, r *llmv1.GenerateRequest) (answer, error) {
	t.Helper()
	return generateAs(t, client, "w", r)
}

// generateAs reads a whole stream and checks its order: started first, completed last.
func generateAs(t *testing.T, client llmv1connect.LLMServiceClient, workspace string, r *llmv1.GenerateRequest) (answer, error) {
	t.Helper()
	var a answer
	stream, err := client.Generate(rpctest.As(t.Context(), workspace), r)
	if err != nil {
		return a, err
	}
	defer stream.Close()
	for stream.Receive() {
		switch e := stream.Msg().GetEvent().(type) {
		case *llmv1.GenerateResponse_Started:
			a.started, a.events = e.Started, a.events+"s"
		case *llmv1.GenerateResponse_Delta:
			a.text, a.events = a.text+e.Delta.GetText(), a.events+"d"
		case *llmv1.GenerateResponse_Completed:
			a.completed, a.events = e.Completed, a.events+"c"
		}
	}
	whole := strings.HasPrefix(a.events, "s") && strings.HasSuffix(a.events, "c") && strings.Count(a.events, "s") == 1
	if stream.Err() == nil && !whole {
		t.Errorf("events %q, want started first and completed last", a.events)
	}
	return a, stream.Err()
}

func TestGenerateWithoutAnyConfiguration(t *testing.T) {
	t.Parallel()
	client := serve(t, llmgateway.Defaults(), "")
	got, err := generate(t, client, refund())
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	if want := "A refund takes five business days to arrive. [4]"; got.text != want {
		t.Errorf("answer %q, want %q", got.text, want)
	}
	want := &llmv1.Started{
		PromptId: "default", SourceIds: []string{"c1", "t1"}, Model: "extractive", Provider: "extractive", ProviderModel: "extractive",
		ConfigRevision: "abc",
	}
	if diff := cmp.Diff(want, got.started, protocmp.Transform(),
		protocmp.IgnoreFields(&llmv1.Started{}, "prompt_hash", "prompt_revision")); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
	if len(got.started.GetPromptHash()) != 64 || got.started.GetPromptRevision() == "" {
		t.Errorf("prompt hash %q, revision %q", got.started.GetPromptHash(), got.started.GetPromptRevision())
	}
	if c := got.completed; c.GetFinishReason() != llmv1.FinishReason_FINISH_REASON_STOP || !c.GetUsage().GetEstimated() ||
		c.GetUsage().GetCompletionTokens() == 0 || c.GetDuration().AsDuration() <= 0 {
		t.Errorf("completed = %v", c)
	}
}

func TestGenerateAbstains(t *testing.T) {
	t.Parallel()
	r := refund()
	r.Question = "直升机驾照多少钱？"
	got, err := generate(t, serve(t, llmgateway.Defaults(), ""), r)
	if err != nil || got.completed.GetFinishReason() != llmv1.FinishReason_FINISH_REASON_ABSTAINED || !strings.Contains(got.text, "无法回答") {
		t.Errorf("Generate = %q %v, %v, want it to abstain in Chinese", got.text, got.completed, err)
	}
}

func TestGenerateFromProvider(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), openaitest.Text("days [4]."),
		openaitest.Finish("stop"), openaitest.Usage(120, 6), openaitest.Done())
	dir := t.TempDir()
	write(t, dir, "prompts/support.yaml", "description: Support\nsystem_prompt: Be brief in {{.Language}}.\ngeneration_params: {temperature: 0.1, max_tokens: 77}\n")
	r := refund()
	r.PromptId = "support"
	got, err := generate(t, serve(t, withProvider(fake.URL), dir), r)
	if err != nil || got.text != "Five days [4]." {
		t.Fatalf("Generate = %q, %v", got.text, err)
	}
	if u := got.completed.GetUsage(); u.GetPromptTokens() != 120 || u.GetCompletionTokens() != 6 || u.GetEstimated() {
		t.Errorf("usage = %v, want the provider's", u)
	}
	if s := got.started; s.GetProvider() != "fake" || s.GetProviderModel() != "m1" || s.GetModel() != "default" || s.GetRung() != 0 || s.GetConfigRevision() == "abc" {
		t.Errorf("started = %v, want rung 0 and a revision that covers the prompts", s)
	}
	body := fake.Requests()[0].Body
	if body["temperature"] != 0.1 || body["max_completion_tokens"] != 77.0 || body["model"] != "m1" {
		t.Errorf("the provider was asked %v", body)
	}
	messages, _ := body["messages"].([]any)
	first, _ := messages[0].(map[string]any)
	if first["content"] != "Be brief in English." {
		t.Errorf("instructions %v", first["content"])
	}
}

func TestGenerateFallsBackToExtractive(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Status(503, nil, "internal stack trace"))
	got, err := generate(t, serve(t, withProvider(fake.URL), ""), refund())
	if err != nil || !strings.Contains(got.text, "five business days to arrive. [4]") {
		t.Fatalf("Generate = %q, %v", got.text, err)
	}
	if s := got.started; s.GetProvider() != "extractive" || s.GetRung() != 1 {
		t.Errorf("started = %v, want rung 1, the extractive model", s)
	}
	want := []*retrieverv1.Degradation{{Stage: "llm-gateway", Reason: "provider_unavailable", Message: "fake: the model's provider fails (status 503)"}}
	if diff := cmp.Diff(want, got.started.GetDegradations(), protocmp.Transform()); diff != "" {
		t.Errorf("degradations (-want +got):\n%s", diff)
	}
}

func TestGenerateFailsAfterTheFirstText(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), openaitest.Cut())
	got, err := generate(t, serve(t, withProvider(fake.URL), ""), refund())
	if got.text != "Five " || fault.ReasonOf(err) != fault.ProviderStreamCut || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Generate = %q, %v, want the text so far and a typed error", got.text, err)
	}
}

func TestGenerateHeartbeats(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), openaitest.Stall())
	cfg := withProvider(fake.URL)
	cfg.Limits.Heartbeat, cfg.Limits.Idle = 20*time.Millisecond, 10*time.Minute
	stream, err := serve(t, cfg, "").Generate(rpctest.As(t.Context(), "w"), refund())
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	for heartbeats := 0; heartbeats < 5; {
		if !stream.Receive() {
			t.Fatalf("after %d heartbeats: %v", heartbeats, stream.Err())
		}
		if stream.Msg().GetHeartbeat() != nil {
			heartbeats++
		}
	}
	_ = stream.Close()
	<-fake.Ended()
}

func TestGenerateIdleLimit(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), openaitest.Stall())
	cfg := withProvider(fake.URL)
	cfg.Limits.Idle = 100 * time.Millisecond
	got, err := generate(t, serve(t, cfg, ""), refund())
	if got.text != "Five " || fault.ReasonOf(err) != fault.ProviderStreamCut {
		t.Errorf("%q, %v, want the text so far and a typed error", got.text, err)
	}
	<-fake.Ended()
}

func TestGenerateDisconnectEndsTheProvidersWork(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Open(), openaitest.Endless("on "))
	client := serve(t, withProvider(fake.URL), "")
	stream, err := client.Generate(rpctest.As(t.Context(), "w"), refund())
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	for range 20 {
		if !stream.Receive() {
			t.Fatalf("Receive: %v", stream.Err())
		}
	}
	_ = stream.Close()
	select {
	case <-fake.Ended():
	case <-time.After(time.Minute):
		t.Errorf("the provider still works for nobody, %d tokens so far", fake.Made())
	}
}

func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	client := serve(t, llmgateway.Defaults(), "")
	tests := []struct {
		name string
		edit func(*llmv1.GenerateRequest)
		want fault.Reason
	}{
		{"no question", func(r *llmv1.GenerateRequest) { r.Question = "" }, fault.InvalidRequest},
		{"another workspace", func(r *llmv1.GenerateRequest) { r.Workspace = "other" }, fault.WorkspaceNotFound},
		{"an unknown prompt", func(r *llmv1.GenerateRequest) { r.PromptId = "nope" }, fault.PromptNotFound},
		{"an unknown model", func(r *llmv1.GenerateRequest) { r.Model = "nope" }, fault.ModelNotFound},
		{"a number twice", func(r *llmv1.GenerateRequest) { r.Sources[1].Number = 4 }, fault.InvalidRequest},
		{"a source without number", func(r *llmv1.GenerateRequest) { r.Sources[0].Number = 0 }, fault.InvalidRequest},
		{"a source of no kind", func(r *llmv1.GenerateRequest) { r.Sources[0].Kind = nil }, fault.InvalidRequest},
		{"a question larger than any prompt", func(r *llmv1.GenerateRequest) { r.Question = strings.Repeat("问", 10_000); r.MaxTokens = 1 }, fault.Unspecified},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := refund()
			tt.edit(r)
			_, err := generate(t, client, r)
			if tt.want == fault.Unspecified {
				if err != nil {
					t.Errorf("Generate: %v", err)
				}
				return
			}
			if fault.ReasonOf(err) != tt.want {
				t.Errorf("Generate error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestRenderPromptShowsWhatGenerateAsks(t *testing.T) {
	t.Parallel()
	fake := openaitest.Serve(t, openaitest.Open(), openaitest.Text("x"), openaitest.Finish("stop"), openaitest.Done())
	client := serve(t, withProvider(fake.URL), "")
	ctx := rpctest.As(t.Context(), "w")
	preview, err := client.RenderPrompt(ctx, &llmv1.RenderPromptRequest{Generate: refund()})
	if err != nil {
		t.Fatalf("RenderPrompt: %v", err)
	}
	got, err := generate(t, client, refund())
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	if diff := cmp.Diff(got.started, preview.GetStarted(), protocmp.Transform()); diff != "" {
		t.Errorf("started (-generate +preview):\n%s", diff)
	}
	messages, _ := fake.Requests()[0].Body["messages"].([]any)
	for i, m := range messages {
		if sent, _ := m.(map[string]any); sent["content"] != preview.GetMessages()[i].GetContent() {
			t.Errorf("message %d: sent %q, shown %q", i, sent["content"], preview.GetMessages()[i].GetContent())
		}
	}
	if preview.GetPromptTokens() == 0 {
		t.Error("no estimate of the prompt's tokens")
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "prompts/support.yaml", "description: Support\nsystem_prompt: Be brief.\n")
	client := serve(t, withProvider("http://127.0.0.1:1/v1"), dir)
	ctx := rpctest.As(t.Context(), "w")
	models, err := client.ListModels(ctx, &llmv1.ListModelsRequest{})
	if err != nil {
		t.Fatalf("ListModels: %v", err)
	}
	builtin := &llmv1.Target{Provider: "extractive", ProviderModel: "extractive", State: llmv1.TargetState_TARGET_STATE_CLOSED}
	wantModels := &llmv1.ListModelsResponse{DefaultModel: "default", Models: []*llmv1.Model{
		{Name: "default", Provider: "fake", ProviderModel: "m1", Kind: llmv1.ModelKind_MODEL_KIND_CHAT, Targets: []*llmv1.Target{
			{Provider: "fake", ProviderModel: "m1", State: llmv1.TargetState_TARGET_STATE_CLOSED}, builtin,
		}},
		{Name: "extractive", Provider: "extractive", ProviderModel: "extractive", Kind: llmv1.ModelKind_MODEL_KIND_CHAT, Targets: []*llmv1.Target{builtin}},
	}}
	if diff := cmp.Diff(wantModels, models, protocmp.Transform()); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	prompts, err := client.ListPrompts(ctx, &llmv1.ListPromptsRequest{})
	if err != nil {
		t.Fatalf("ListPrompts: %v", err)
	}
	if p := prompts.GetPrompts(); len(p) != 3 || p[0].GetPromptId() != "default" || p[1].GetPromptId() != "rewrite" || p[2].GetDescription() != "Support" || p[2].GetRevision() == "" {
		t.Errorf("prompts = %v", prompts)
	}
}

func TestWithoutModelsForVectorsSaysWhichKey(t *testing.T) {
	t.Parallel()
	client := serve(t, llmgateway.Defaults(), "")
	ctx := rpctest.As(t.Context(), "w")
	_, err := client.Embed(ctx, &llmv1.EmbedRequest{Workspace: "w", Texts: []string{"a"}})
	if fault.KindOf(err) != fault.Precondition || !strings.Contains(err.Error(), "embeddings of llm-gateway.yaml") {
		t.Errorf("Embed error = %v", err)
	}
	_, err = client.Rerank(ctx, &llmv1.RerankRequest{Workspace: "w", Query: "q", Texts: []string{"a"}})
	if fault.KindOf(err) != fault.Precondition || !strings.Contains(err.Error(), "rerankers of llm-gateway.yaml") {
		t.Errorf("Rerank error = %v", err)
	}
}

func TestEmbedsAndReranks(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{"data":[{"index":0,"embedding":[3,4]}],"usage":{"prompt_tokens":5,"total_tokens":5}}`
		if r.URL.Path == "/v1/rerank" {
			answer = `{"results":[{"index":0,"relevance_score":0.5}],"usage":{"total_tokens":6}}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	cfg := llmgateway.Defaults()
	cfg.Providers = map[string]llmgateway.Provider{"oa": {Type: "openai", BaseURL: s.URL + "/v1"}, "j": {Type: "jina", BaseURL: s.URL + "/v1"}}
	cfg.Embeddings = map[string]llmgateway.Embedding{"small": {Provider: "oa", Model: "text-embedding-3-small", Price: 1e6}}
	cfg.Rerankers = map[string]llmgateway.Reranker{"best": {Provider: "j", Model: "jina-reranker"}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	client := serve(t, cfg, "")
	ctx := rpctest.As(t.Context(), "w")
	vectors, err := client.Embed(ctx, &llmv1.EmbedRequest{Workspace: "w", Texts: []string{"a"}, Purpose: llmv1.EmbedPurpose_EMBED_PURPOSE_QUERY})
	if err != nil {
		t.Fatal(err)
	}
	if v := vectors.GetVectors()[0].GetValues(); v[0] != .6 || v[1] != .8 || vectors.GetModel() != "small" || vectors.GetModelRevision() == "" || vectors.GetUsage().GetCostMicros() != 5e6 {
		t.Errorf("Embed = %v", vectors)
	}
	scores, err := client.Rerank(ctx, &llmv1.RerankRequest{Workspace: "w", Query: "q", Texts: []string{"a"}})
	if err != nil || scores.GetScores()[0] != .5 || scores.GetModel() != "best" || scores.GetUsage().GetPromptTokens() != 6 {
		t.Errorf("Rerank = %v, %v", scores, err)
	}
	models, err := client.ListModels(ctx, &llmv1.ListModelsRequest{})
	if err != nil || models.GetDefaultEmbeddingModel() != "small" || models.GetDefaultRerankModel() != "best" || len(models.GetModels()) != 3 {
		t.Errorf("ListModels = %v, %v", models, err)
	}
}

func TestConfigurationErrorsNameTheirPlace(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, text, want string }{
		{"a prompt with an unknown variable", "prompts/a.yaml", "description: x\nsystem_prompt: \"{{.Nope}}\"\n", "a.yaml:2: system_prompt"},
		{"a prompt with an unknown key", "prompts/a.yaml", "sytem_prompt: x\n", "a.yaml:1"},
		{"a prompt with a hot temperature", "prompts/a.yaml", "system_prompt: x\ngeneration_params:\n  temperature: 9\n", "a.yaml:3: generation_params.temperature"},
		{"a prompt whose model nobody has", "prompts/a.yaml", "system_prompt: x\ngeneration_params: {model: gpt}\n", "prompts/a.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, tt.file, tt.text)
			_, err := llmgateway.New(t.Context(), llmgateway.Defaults(), deps(t, dir))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"a provider", "providers:\n  oa: {type: openai, base_url: https://api.openai.com/v1, key: {env: K}}\nmodels:\n  default:\n    targets: [{provider: oa, model: gpt}]\n", ""},
		{"an undeclared provider", "models:\n  default:\n    targets: [{provider: oa, model: gpt}]\n", "models.default.targets"},
		{"a default nobody declared", "default_model: nope\n", "default_model"},
		{"a taken name", "providers:\n  extractive: {type: openai, base_url: http://x}\n", "providers.extractive"},
		{"a type nobody speaks", "providers:\n  oa: {type: telepathy, base_url: http://x}\n", "openai"},
		{"a budget", "budget: {answer: 0}\n", "budget.answer"},
		{"a limit", "limits: {first_token: 1h}\n", "limits.first_token"},
		{"a longer first token", "limits: {first_token: 30s, idle: 1m, concurrent: 8}\n", ""},
		{"too many retries", "limits: {retries: 9}\n", "limits.retries"},
		{"a target's own", "providers:\n  oa: {base_url: http://x}\nmodels:\n  default:\n    begin: 1m\n    targets: [{provider: oa, model: gpt, weight: 2, retries: 0, first_token: 30s, idle: 1m, timeout: 5m}]\n", ""},
		{"a weight", "providers:\n  oa: {base_url: http://x}\nmodels:\n  default:\n    targets: [{provider: oa, model: gpt, weight: -1}]\n", "models.default.targets"},
		{"a weight of the built-in model", "models:\n  default:\n    targets: [{provider: extractive, weight: 1}]\n", "models.default.targets"},
		{"a breaker that never opens", "breaker: {failures: 0, of: 0}\n", ""},
		{"accounts and a cache", "models:\n  default: {cache: on, targets: [{provider: extractive}]}\naccount: {shadow: true, workspace: {month: 1.5}, keys: {'user:a@b.c': {requests_per_minute: 1}}}\ncache: {age: 5m, bytes: 1KiB}\n", ""},
		{"a cache that can't be", "models:\n  default: {cache: always, targets: [{provider: extractive}]}\n", "cache"},
		{"an answer that is too old", "cache: {age: 48h}\n", "cache.age"},
		{"a budget below nothing", "account: {workspaces: {w: {day: -1}}}\n", "account.workspaces.w.day"},
		{"a breaker that can't open", "breaker: {failures: 20}\n", "breaker.of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "llm-gateway.yaml", tt.text)
			_, err := config.Load("llm-gateway", llmgateway.Defaults(), config.Source{Dir: dir})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Load: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Load error = %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
