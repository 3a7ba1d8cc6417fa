package ollama

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

const keyVariable = "RAGMESH_TEST_OLLAMA_KEY"

func open(t *testing.T, cfg Config) *Provider {
	t.Helper()
	cfg.MaxConnections = 8
	p, err := New(cfg, providertest.Now)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// said writes a line as Ollama does.
func said(fields string) string {
	return `{"model":"m","created_at":"2026-01-02T03:04:05.678Z","message":{"role":"assistant",` + fields + `},"done":false}` + "\n"
}

func format() providertest.Format {
	return providertest.Format{
		ContentType: "application/x-ndjson",
		Open:        func(*provider.Usage) string { return "" },
		Idle:        "\n",
		Text:        func(s string) string { return said(`"content":` + quote(s)) },
		Reasoning:   func(s string) []string { return []string{said(`"content":"","thinking":` + quote(s))} },
		Calls: func(calls []providertest.Call) []string {
			var out []string
			for _, c := range calls { // each with its arguments as an object
				arguments := strings.Join(c.Parts, "")
				if arguments == "" {
					arguments = "{}"
				}
				out = append(out, said(fmt.Sprintf(`"content":"","tool_calls":[{"id":%s,"function":{"name":%s,"arguments":%s}}]`, quote(c.ID), quote(c.Name), arguments)))
			}
			return out
		},
		End: func(f provider.Finish, u *provider.Usage) string {
			reason, counts := "stop", ""
			if f == provider.Length {
				reason = "length"
			}
			if u != nil {
				counts = fmt.Sprintf(`,"prompt_eval_count":%d,"prompt_eval_duration":1,"eval_count":%d`, u.Prompt, u.Completion)
			}
			return `{"model":"m","created_at":"2026-01-02T03:04:05.678Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"` + reason + `","total_duration":1` + counts + "}\n"
		},
		Error:      `{"error":"engine down"}` + "\n",
		PlainError: `{"error":"model runner has unexpectedly stopped"}`,
		Malformed:  `{"model":"m","message":{"con` + "\n",
		HugeLine:   `{"model":"` + strings.Repeat("x", 2<<20),
		Refusal:    func(words string) string { return `{"error":` + quote(words) + `}` },
		TooLong:    `{"error":"the input exceeds the context window"}`,
		NoCache:    true,
		NoFilter:   true,
	}
}

func TestConformance(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	providertest.Run(t, format(), func(t *testing.T, url string) provider.Provider {
		t.Helper()
		return open(t, Config{BaseURL: url, Key: config.Secret{Env: keyVariable}})
	})
}

func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	cold := 0.0
	tool := provider.Tool{Name: "f", Description: "F.", Parameters: json.RawMessage(`{"type":"object"}`)}
	plain := []any{object{"role": "system", "content": "Answer."}, object{"role": "user", "content": "How long?"}}
	for name, test := range map[string]struct {
		context int
		change  func(*provider.Request)
		want    object
	}{
		"plain": {0, func(*provider.Request) {}, object{"messages": plain, "options": object{"num_predict": 100.0}}},
		"parameters": {
			8192, func(r *provider.Request) { r.Temperature, r.TopP, r.Stop = &cold, &cold, []string{"END"} },
			object{"messages": plain, "options": object{"num_ctx": 8192.0, "num_predict": 100.0, "temperature": 0.0, "top_p": 0.0, "stop": []any{"END"}}},
		},
		"tools and a schema": {
			0, func(r *provider.Request) {
				r.Tools, r.Schema, r.Messages = []provider.Tool{tool}, &provider.Schema{JSON: json.RawMessage(`{"type":"array"}`)}, providertest.History()
			},
			object{
				"options": object{"num_predict": 100.0}, "format": object{"type": "array"},
				"tools": []any{object{"type": "function", "function": object{"name": "f", "description": "F.", "parameters": object{"type": "object"}}}},
				"messages": []any{
					object{"role": "user", "content": "Weather in Paris and Rome?"},
					object{"role": "assistant", "content": "", "tool_calls": []any{
						object{"id": "call_a", "function": object{"name": "weather", "arguments": object{"city": "Paris"}}},
						object{"id": "call_b", "function": object{"name": "weather", "arguments": object{"city": "Rome"}}},
					}},
					object{"role": "tool", "content": "Rain", "tool_name": "weather", "tool_call_id": "call_a"},
					object{"role": "tool", "content": `{"sky":"clear"}`, "tool_name": "weather", "tool_call_id": "call_b"},
					object{"role": "user", "content": "And tomorrow?"},
				},
			},
		},
		"no tool": {0, func(r *provider.Request) { r.Tools, r.Choice = []provider.Tool{tool}, provider.ChoiceNone }, object{"messages": plain, "options": object{"num_predict": 100.0}}},
	} {
		s := wiretest.Serve(t, "/api/chat", "application/x-ndjson", wiretest.Raw(format().End(provider.Stop, nil)))
		r := providertest.Request()
		test.change(&r)
		if _, err := open(t, Config{BaseURL: s.URL, Context: test.context}).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		test.want["model"], test.want["stream"] = "m", true
		if diff := cmp.Diff(test.want, s.Requests()[0].Body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAToolThatMustBeCalledIsRefusedUnasked(t *testing.T) {
	t.Parallel()
	s := wiretest.Serve(t, "", "")
	for _, choice := range []string{provider.ChoiceRequired, "f"} {
		r := providertest.Request()
		r.Tools, r.Choice = []provider.Tool{{Name: "f"}}, choice
		if _, err := open(t, Config{BaseURL: s.URL}).Generate(t.Context(), r, func(provider.Piece) error { return nil }); fault.ReasonOf(err) != fault.ProviderRejected {
			t.Errorf("Generate error = %v", err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	s := wiretest.Serve(t, "/api/embed", "application/json", wiretest.Raw(`{"model":"m","embeddings":[[1,2],[3,4]],"total_duration":1,"prompt_eval_count":8}`))
	p := open(t, Config{BaseURL: s.URL})
	got, err := p.Embed(t.Context(), provider.EmbedRequest{Model: "m", Texts: []string{"a", "b"}, Dimensions: 2})
	want := provider.Embedded{Vectors: [][]float32{{1, 2}, {3, 4}}, Usage: provider.Usage{Prompt: 8}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(map[string]any{"model": "m", "input": []any{"a", "b"}, "dimensions": 2.0}, s.Requests()[0].Body); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if _, err := p.Embed(t.Context(), provider.EmbedRequest{Model: "m", Texts: []string{"a", "b", "c"}}); fault.ReasonOf(err) != fault.ProviderUnavailable {
		t.Errorf("two vectors for three texts: %v", err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(said(`"tool_calls":[{"function":{"name":"f","arguments":null}},{"function":{"name":"f"}}]`)))
	providertest.FuzzStream(f, format(), (*exchange.Answer).Lines, func(t *exchange.Teller, a *exchange.Answer) providertest.Stream {
		return &stream{Teller: t, answer: a}
	})
}
