package llmgateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	librpc "github.com/ragmesh/ragmesh/libs/rpc"
	"github.com/ragmesh/ragmesh/libs/rpc/rpctest"
	"github.com/ragmesh/ragmesh/libs/telemetry"
	llmv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/llm/v1"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/local/sample"
)

// model writes a tiny model with a real tokenizer into a folder below dir.
func model(t *testing.T, dir, name string, change func(*sample.Shape)) string {
	t.Helper()
	shape := sample.Tiny()
	shape.Vocabulary = 600
	change(&shape)
	folder := filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := sample.Write(folder, shape); err != nil {
		t.Fatal(err)
	}
	tokenizer, err := os.ReadFile("internal/local/token/testdata/wordpiece.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "tokenizer.json"), tokenizer, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestLocalModels(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := model(t, dir, "small", func(*sample.Shape) {})
	model(t, dir, "ranker", func(s *sample.Shape) { s.Reranker = true })
	model(t, dir, "other", func(s *sample.Shape) { s.CLS = true })
	cfg := llmgateway.Defaults()
	cfg.Embeddings = map[string]llmgateway.Embedding{"mine": {Provider: "local", Model: "small", Dimensions: 64}}
	cfg.Rerankers = map[string]llmgateway.Reranker{"best": {Provider: "local", Model: filepath.Join(dir, "ranker")}}
	client, s := serveLive(t, cfg, dir)
	embed := func(texts ...string) (*llmv1.EmbedResponse, error) {
		return client.Embed(rpctest.As(t.Context(), "w"), &llmv1.EmbedRequest{Workspace: "w", Texts: texts, Purpose: llmv1.EmbedPurpose_EMBED_PURPOSE_PASSAGE})
	}
	got, err := embed("The refund takes five days.", "Which port?")
	if err != nil {
		t.Fatalf("Embed: %v", err)
	}
	if len(got.GetVectors()) != 2 || len(got.GetVectors()[0].GetValues()) != 64 || got.GetUsage().GetPromptTokens() == 0 || got.GetUsage().GetEstimated() {
		t.Errorf("Embed = %d vectors, usage %v", len(got.GetVectors()), got.GetUsage())
	}
	ranked, err := client.Rerank(rpctest.As(t.Context(), "w"), &llmv1.RerankRequest{Workspace: "w", Query: "refund", Texts: []string{"The refund.", "The port."}})
	if err != nil || len(ranked.GetScores()) != 2 {
		t.Errorf("Rerank = %v, %v", ranked, err)
	}
	models, err := client.ListModels(rpctest.As(t.Context(), "w"), &llmv1.ListModelsRequest{})
	if err != nil || models.GetDefaultEmbeddingModel() != "mine" || models.GetDefaultRerankModel() != "best" {
		t.Errorf("ListModels = %v, %v", models, err)
	}
	if _, err := embed(" "); fault.ReasonOf(librpc.FromConnect(err)) != fault.InvalidRequest {
		t.Errorf("a blank text: %v", err)
	}

	for range 60 { // more than enough tokens to judge by
		if _, err := embed(strings.Repeat("☃ ", 60), strings.Repeat("☂ ", 60)); err != nil {
			t.Fatal(err)
		}
	}
	rows := s.Ready(t.Context())
	if last := rows[len(rows)-1]; last.Name != "embeddings mine" || !last.Ready || !strings.Contains(last.Detail, "no token for") {
		t.Errorf("readiness of a model that reads nothing: %+v", rows)
	}

	cfg.Embeddings = map[string]llmgateway.Embedding{"mine": {Provider: "local", Model: "other"}}
	if err := s.Reload(t.Context(), config.Loaded[llmgateway.Config]{Value: cfg, Revision: "def"}); err != nil {
		t.Fatalf("Reload: %v", err)
	}
	again, err := embed("The refund takes five days.")
	if err != nil || again.GetModelRevision() == got.GetModelRevision() {
		t.Errorf("after another model: revision %q as before, %v", again.GetModelRevision(), err)
	}

	facts, err := llmgateway.OpenLocalModel(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer facts.Close()
	sum := facts.Facts.SHA256
	if facts.Facts.Dimensions != 64 || facts.Facts.Reranker || facts.Unknown("the refund") != 0 || facts.Unknown("☃") != 1 {
		t.Errorf("facts %+v", facts.Facts)
	}
	for name, change := range map[string]struct {
		embedding llmgateway.Embedding
		want      string
	}{
		"another sum":     {llmgateway.Embedding{Provider: "local", Model: folder, SHA256: strings.Repeat("0", 64)}, "embeddings.mine.sha256 is not that of the weights"},
		"the right sum":   {llmgateway.Embedding{Provider: "local", Model: folder, SHA256: strings.ToUpper(sum)}, ""},
		"a reranker":      {llmgateway.Embedding{Provider: "local", Model: "ranker"}, "of another kind: reranker, not embedder"},
		"other dimension": {llmgateway.Embedding{Provider: "local", Model: folder, Dimensions: 65}, "embeddings.mine.dimensions must be 64"},
		"no folder":       {llmgateway.Embedding{Provider: "local", Model: "nowhere"}, "the local model can't be used"},
	} {
		cfg := llmgateway.Defaults()
		cfg.Embeddings = map[string]llmgateway.Embedding{"mine": change.embedding}
		if err := cfg.Validate(); err != nil {
			t.Fatalf("%s: Validate: %v", name, err)
		}
		s, err := llmgateway.New(t.Context(), cfg, llmgateway.Deps{Telemetry: telemetry.Nop("llm-gateway"), DataDir: t.TempDir(), ConfigDir: dir, Revision: "r", Clock: time.Now})
		if (err == nil) != (change.want == "") || err != nil && !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v, want %q", name, err, change.want)
		}
		_ = s
	}
}

func TestLocalModelsAreValidated(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]llmgateway.Embedding{
		"sha256 must be 64 hexadecimal digits":    {Provider: "local", Model: "x", SHA256: "abc"},
		"request_dimensions is not for local":     {Provider: "local", Model: "x", Dimensions: 3, RequestDimensions: true},
		"model must be given":                     {Provider: "local"},
		"embeddings.mine.sha256 is for local":     {Provider: "oa", Model: "x", SHA256: strings.Repeat("0", 64)},
		`provider is not declared: "elsewhere"`:   {Provider: "elsewhere", Model: "x"},
		"dimensions must be 0 to 8192, not 10000": {Provider: "local", Model: "x", Dimensions: 10000},
	} {
		cfg := withProvider("http://127.0.0.1:1/v1")
		cfg.Providers["oa"] = cfg.Providers["fake"]
		cfg.Embeddings = map[string]llmgateway.Embedding{"mine": e}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %q", err, want)
		}
	}
}
