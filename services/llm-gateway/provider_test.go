package llmgateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/libs/config"
	llmgateway "github.com/ragmesh/ragmesh/services/llm-gateway"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

// loadYAML reads a llm-gateway.yaml as the service does.
func loadYAML(t *testing.T, text string) (llmgateway.Config, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "llm-gateway.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load("llm-gateway", llmgateway.Defaults(), config.Source{Dir: dir})
	return loaded.Value, err
}

func TestTheExamplesOfTheGuideAreValid(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 7 {
		t.Errorf("%d examples", len(examples))
	}
	for _, e := range examples {
		if _, err := loadYAML(t, e[1]); err != nil {
			t.Errorf("%v in\n%s", err, e[1])
		}
	}
	for _, typ := range []string{"openai", "azure", "anthropic", "google", "ollama", "bedrock", "cohere", "jina", "tei"} {
		if !strings.Contains(string(page), "type: "+typ) {
			t.Errorf("no example of type %s", typ)
		}
	}
}

func TestProvidersThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]string{
		`type: opnai`:                        `providers.p.type`,
		`type: openai`:                       `providers.p.base_url must be given, e.g. https://api.openai.com/v1`,
		`base_url: api.openai.com`:           `providers.p.base_url must be an http(s) address`,
		`base_url: "https://u:pw@x/"`:        `providers.p.base_url must be an http(s) address`,
		`type: azure, base_url: "https://x"`: `providers.p.key must be given for azure`,
		`type: azure, base_url: "https://x/openai/v1", key: {env: K}`: `the type is openai`,
		`type: anthropic`: `providers.p.key must be given for https://api.anthropic.com/v1`,
		`type: google`:    `providers.p.key must be given`,
		`type: ollama`:    `providers.p.base_url must be given, e.g. http://ollama:11434`,
		`type: ollama, base_url: "http://x", context: -1`: `providers.p.context must be 0 to`,
		`type: bedrock`: `providers.p.region must be given for type bedrock`,
		`type: bedrock, region: eu-central-1, key: {env: K}`:  `providers.p.key is not for bedrock`,
		`type: google, key: {env: K}, region: x`:              `providers.p.region must be given for type bedrock, and for no other`,
		`base_url: "http://x", context: 9`:                    `providers.p.context is for type ollama only`,
		`base_url: "http://x", api_version: v`:                `providers.p.api_version is for type azure only`,
		`type: anthropic, key: {env: K}, without_tools: true`: `providers.p.without_tools is for types openai and azure only`,
		`base_url: "http://x", max_connections: 2000`:         `providers.p.max_connections must be 0 to 1024`,
	} {
		if _, err := loadYAML(t, "providers:\n  p: {"+fields+"}\n"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw@") {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
	for models, want := range map[string]string{
		"embeddings: {e: {provider: p, model: m}}":               `has no embedding models: "p" is of type anthropic`,
		"rerankers: {e: {provider: p, model: m}}":                `has no rerank models: "p" is of type anthropic`,
		"models: {m: {targets: [{provider: cohere, model: m}]}}": `"cohere" is of type cohere`,
	} {
		_, err := loadYAML(t, "providers:\n  p: {type: anthropic, key: {env: K}}\n  cohere: {type: cohere, base_url: 'http://x'}\n"+models+"\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", models, err, want)
		}
	}
}

// Each type asks its server at its own address, with the key where it belongs.
func TestProvidersOfEachType(t *testing.T) {
	t.Setenv("RAGMESH_TEST_PROVIDER_KEY", "sk-of-a-provider")
	for typ, want := range map[string][3]string{ // path, header, its value
		"openai":    {"/chat/completions", "Authorization", "Bearer sk-of-a-provider"},
		"azure":     {"/openai/deployments/m/chat/completions?api-version=2024-10-21", "Api-Key", "sk-of-a-provider"},
		"anthropic": {"/messages", "X-Api-Key", "sk-of-a-provider"},
		"google":    {"/models/m:streamGenerateContent?alt=sse", "X-Goog-Api-Key", "sk-of-a-provider"},
		"ollama":    {"/api/chat", "Authorization", "Bearer sk-of-a-provider"},
	} {
		s := wiretest.Serve(t, "", "", wiretest.Status(500, nil, ""))
		cfg, err := loadYAML(t, fmt.Sprintf("providers:\n  p: {type: %s, base_url: %q, key: {env: RAGMESH_TEST_PROVIDER_KEY}}\nmodels:\n  default: {targets: [{provider: p, model: m}]}\n", typ, s.URL))
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if got, err := generate(t, serve(t, cfg, ""), refund()); err != nil || got.started.GetProvider() != "extractive" {
			t.Errorf("%s: %v, %v, want the rung below", typ, got.started, err)
		}
		if asked := s.Requests(); len(asked) == 0 || asked[0].Path != want[0] || asked[0].Header.Get(want[1]) != want[2] {
			t.Errorf("%s: asked %+v, want %v", typ, asked, want)
		}
	}
}
