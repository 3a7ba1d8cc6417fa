package anthropic

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

const keyVariable = "RAGMESH_TEST_ANTHROPIC_KEY"

func open(t *testing.T, url string) *Provider {
	t.Helper()
	p, err := New(Config{BaseURL: url + "/v1", Key: config.Secret{Env: keyVariable}, MaxConnections: 8}, providertest.Now)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// eventOf writes an event as the API does.
func eventOf(name, format string, a ...any) string {
	return fmt.Sprintf("event: "+name+"\ndata: {\"type\":\""+name+"\","+format+"}\n\n", a...)
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func start(u *provider.Usage) string {
	counts := `"input_tokens":0,"output_tokens":0`
	if u != nil {
		counts = fmt.Sprintf(`"input_tokens":%d,"cache_creation_input_tokens":3,"cache_read_input_tokens":%d,"output_tokens":1`, u.Prompt-u.Cached-3, u.Cached)
	}
	return eventOf("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"stop_sequence":null,"usage":{%s}}`, counts)
}

func delta(index int, kind, field, text string) string {
	return eventOf("content_block_delta", `"index":%d,"delta":{"type":"%s","%s":%s}`, index, kind, field, quote(text))
}

func begin(index int, block string) string {
	return eventOf("content_block_start", `"index":%d,"content_block":{%s}`, index, block)
}

func calls(all []providertest.Call) []string {
	var out []string
	for i, c := range all {
		out = append(out, begin(i+1, fmt.Sprintf(`"type":"tool_use","id":%s,"name":%s,"input":{}`, quote(c.ID), quote(c.Name))))
		out = append(out, delta(i+1, "input_json_delta", "partial_json", ""))
		for _, part := range c.Parts {
			out = append(out, delta(i+1, "input_json_delta", "partial_json", part))
		}
		out = append(out, eventOf("content_block_stop", `"index":%d`, i+1))
	}
	return out
}

func format() providertest.Format {
	const failed = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"}}\n\n"
	return providertest.Format{
		ContentType: "text/event-stream; charset=utf-8",
		Open:        func(u *provider.Usage) string { return start(u) + begin(0, `"type":"text","text":""`) },
		Idle:        eventOf("ping", `"x":1`) + eventOf("something_new", `"index":0`),
		Text:        func(s string) string { return delta(0, "text_delta", "text", s) },
		Reasoning: func(s string) []string {
			return []string{
				begin(0, `"type":"thinking","thinking":""`), delta(0, "thinking_delta", "thinking", s), delta(0, "signature_delta", "signature", "EqQB"),
				begin(1, `"type":"redacted_thinking","data":"Emw"`),
			}
		},
		Calls: calls,
		End: func(f provider.Finish, u *provider.Usage) string {
			reason := map[provider.Finish]string{
				provider.Stop: "end_turn", provider.Length: "max_tokens", provider.Filtered: "refusal", provider.Called: "tool_use",
			}[f]
			tokens := 0
			if u != nil {
				tokens = u.Completion
			}
			return eventOf("content_block_stop", `"index":0`) +
				eventOf("message_delta", `"delta":{"stop_reason":"%s","stop_sequence":null},"usage":{"output_tokens":%d}`, reason, tokens)
		},
		Terminator: "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		Error:      fmt.Sprintf(failed, "overloaded_error", "Engine down"),
		RateLimit:  fmt.Sprintf(failed, "rate_limit_error", "Slow down"),
		PlainError: `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`,
		Malformed:  "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"te\n\n",
		HugeLine:   "data: " + strings.Repeat("x", 2<<20),
		Refusal: func(words string) string {
			return `{"type":"error","error":{"type":"invalid_request_error","message":` + quote(words) + `},"request_id":"req_1"}`
		},
		TooLong: `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}`,
	}
}

func TestConformance(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	providertest.Run(t, format(), func(t *testing.T, url string) provider.Provider {
		t.Helper()
		return open(t, url)
	})
}

func TestRequestOnTheWire(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	type object = map[string]any
	warm := 0.0
	text := func(s string) []any { return []any{object{"type": "text", "text": s}} }
	s := wiretest.Serve(t, "/v1/messages", "text/event-stream", wiretest.Raw(start(nil)+format().End(provider.Stop, nil)))
	sent := func(change func(*provider.Request)) object {
		t.Helper()
		r := providertest.Request()
		change(&r)
		if _, err := open(t, s.URL).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
			t.Fatalf("Generate: %v", err)
		}
		all := s.Requests()
		return all[len(all)-1].Body
	}
	tools := []any{object{"name": "f", "description": "F.", "input_schema": object{"type": "object"}}}
	for name, test := range map[string]struct {
		change func(*provider.Request)
		want   object
	}{
		"plain": {func(*provider.Request) {}, object{
			"model": "m", "max_tokens": 100.0, "stream": true, "system": "Answer.", "messages": []any{object{"role": "user", "content": text("How long?")}},
		}},
		"parameters": {
			func(r *provider.Request) {
				r.MaxTokens, r.Temperature, r.TopP, r.Stop = 0, &warm, &warm, []string{"\n", "END"}
				r.Messages = []ask.Message{{Role: ask.System, Content: "A"}, {Role: ask.User, Content: "1"}, {Role: ask.System, Content: "B"}, {Role: ask.Assistant, Content: " "}, {Role: ask.User, Content: "2"}}
			},
			object{
				"model": "m", "max_tokens": 4096.0, "stream": true, "system": "A\n\nB", "temperature": 0.0, "top_p": 0.0, "stop_sequences": []any{"END"},
				"messages": []any{object{"role": "user", "content": append(text("1"), text("2")...)}},
			},
		},
		"tools, a choice and a schema": {
			func(r *provider.Request) {
				r.Tools = []provider.Tool{{Name: "f", Description: "F."}}
				r.Choice, r.Schema, r.Messages = "f", &provider.Schema{JSON: json.RawMessage(`{"type":"array"}`)}, r.Messages[1:]
			},
			object{
				"model": "m", "max_tokens": 100.0, "stream": true, "messages": []any{object{"role": "user", "content": text("How long?")}},
				"tools": tools, "tool_choice": object{"type": "tool", "name": "f"},
				"output_config": object{"format": object{"type": "json_schema", "schema": object{"type": "array"}}},
			},
		},
		"any tool": {
			func(r *provider.Request) {
				r.Tools, r.Choice, r.Messages = []provider.Tool{{Name: "f", Description: "F."}}, provider.ChoiceRequired, providertest.History()
			},
			object{
				"model": "m", "max_tokens": 100.0, "stream": true, "tools": tools, "tool_choice": object{"type": "any"},
				"messages": []any{
					object{"role": "user", "content": text("Weather in Paris and Rome?")},
					object{"role": "assistant", "content": []any{
						object{"type": "tool_use", "id": "call_a", "name": "weather", "input": object{"city": "Paris"}},
						object{"type": "tool_use", "id": "call_b", "name": "weather", "input": object{"city": "Rome"}},
					}},
					object{"role": "user", "content": []any{
						object{"type": "tool_result", "tool_use_id": "call_a", "content": "Rain"},
						object{"type": "tool_result", "tool_use_id": "call_b", "content": `{"sky":"clear"}`},
						object{"type": "text", "text": "And tomorrow?"},
					}},
				},
			},
		},
	} {
		if diff := cmp.Diff(test.want, sent(test.change)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	h := s.Requests()[0].Header
	if h.Get("X-Api-Key") != providertest.Key || h.Get("Anthropic-Version") != version || h.Get("Authorization") != "" {
		t.Errorf("headers %v", h)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(delta(7, "input_json_delta", "partial_json", "{")))
	f.Add([]byte("data: {\"type\":\"content_block_start\",\"index\":-1,\"content_block\":{\"type\":\"tool_use\"}}\n"))
	providertest.FuzzStream(f, format(), (*exchange.Answer).Events, func(t *exchange.Teller, a *exchange.Answer) providertest.Stream {
		return &stream{Teller: t, answer: a}
	})
}
