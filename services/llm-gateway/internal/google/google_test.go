package google

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/ask"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

const keyVariable = "RAGMESH_TEST_GOOGLE_KEY"

func open(t *testing.T, url string) *Provider {
	t.Helper()
	p, err := New(Config{BaseURL: url + "/v1beta", Key: config.Secret{Env: keyVariable}, MaxConnections: 8}, providertest.Now)
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

func event(fields string) string {
	return "data: {" + fields + `,"modelVersion":"gemini-2.5-flash","responseId":"x"}` + "\r\n\r\n"
}

func parts(all ...string) string {
	return event(`"candidates":[{"content":{"parts":[` + strings.Join(all, ",") + `],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":12,"totalTokenCount":12,"cachedContentTokenCount":4}`)
}

func format() providertest.Format {
	failed := func(code int, status, words string) string {
		return fmt.Sprintf(`{"error":{"code":%d,"message":%s,"status":%s}}`, code, quote(words), quote(status))
	}
	return providertest.Format{
		ContentType: "text/event-stream",
		Open:        func(*provider.Usage) string { return "" },
		Text: func(s string) string {
			return event(`"candidates":[{"content":{"parts":[{"text":` + quote(s) + `}],"role":"model"},"index":0}]`)
		},
		Reasoning: func(s string) []string {
			return []string{parts(`{"text":` + quote(s) + `,"thought":true}`)}
		},
		Calls: func(calls []providertest.Call) []string {
			var out []string
			for _, c := range calls {
				arguments := ""
				if len(c.Parts) > 0 {
					arguments = `,"args":` + strings.Join(c.Parts, "")
				}
				out = append(out, fmt.Sprintf(`{"functionCall":{"id":%s,"name":%s%s},"thoughtSignature":"Eg=="}`, quote(c.ID), quote(c.Name), arguments))
			}
			return []string{parts(out...)} // parallel calls come in one event
		},
		End: func(f provider.Finish, u *provider.Usage) string {
			reason := map[provider.Finish]string{provider.Length: "MAX_TOKENS", provider.Filtered: "PROHIBITED_CONTENT"}[f]
			if reason == "" {
				reason = "STOP"
			}
			counts := ""
			if u != nil {
				counts = fmt.Sprintf(`,"usageMetadata":{"promptTokenCount":%d,"candidatesTokenCount":%d,"thoughtsTokenCount":2,"totalTokenCount":99,"cachedContentTokenCount":%d}`, u.Prompt, u.Completion-2, u.Cached)
			}
			return event(`"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"` + reason + `","index":0}]` + counts)
		},
		Error:      "data: " + failed(503, "UNAVAILABLE", "engine down") + "\r\n\r\n",
		RateLimit:  "data: " + failed(429, "RESOURCE_EXHAUSTED", "slow down") + "\r\n\r\n",
		PlainError: failed(500, "INTERNAL", "boom"),
		Malformed:  "data: {\"candidates\": [{\"con\r\n\r\n",
		HugeLine:   "data: " + strings.Repeat("x", 2<<20),
		Refusal:    func(words string) string { return failed(400, "INVALID_ARGUMENT", words) },
		TooLong:    failed(400, "INVALID_ARGUMENT", "The input token count (1200003) exceeds the maximum number of tokens allowed (1048576)."),
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
	cold := 0.0
	text := func(s string) object { return object{"text": s} }
	call := func(id, city, signature string) object {
		o := object{"functionCall": object{"id": id, "name": "weather", "args": object{"city": city}}}
		if signature != "" {
			o["thoughtSignature"] = signature
		}
		return o
	}
	tools := []any{object{"functionDeclarations": []any{object{"name": "f", "description": "F.", "parametersJsonSchema": object{"type": "object"}}}}}
	tool := provider.Tool{Name: "f", Description: "F.", Parameters: json.RawMessage(`{"type":"object"}`)}
	asked := func(choice string) func(*provider.Request) {
		return func(r *provider.Request) {
			r.Tools, r.Choice, r.Messages = []provider.Tool{tool}, choice, r.Messages[1:]
		}
	}
	contents := []any{object{"role": "user", "parts": []any{text("How long?")}}}
	limit := object{"maxOutputTokens": 100.0}
	history := func(signature string) []any {
		return []any{
			object{"role": "user", "parts": []any{text("Weather in Paris and Rome?")}},
			object{"role": "model", "parts": []any{call("call_a", "Paris", signature), call("call_b", "Rome", "")}},
			object{"role": "user", "parts": []any{
				object{"functionResponse": object{"id": "call_a", "name": "weather", "response": object{"result": "Rain"}}},
				object{"functionResponse": object{"id": "call_b", "name": "weather", "response": object{"sky": "clear"}}},
				text("And tomorrow?"),
			}},
		}
	}
	for name, test := range map[string]struct {
		change func(*provider.Request)
		want   object
	}{
		"plain": {func(*provider.Request) {}, object{"contents": contents, "systemInstruction": object{"parts": []any{text("Answer.")}}, "generationConfig": limit}},
		"parameters": {
			func(r *provider.Request) {
				r.Temperature, r.TopP, r.Stop = &cold, &cold, []string{"a", "b", "c", "d", "e", "f"}
				r.Messages = []ask.Message{{Role: ask.System, Content: "A"}, {Role: ask.User, Content: "1"}, {Role: ask.System, Content: "B"}, {Role: ask.User, Content: "2"}}
			},
			object{
				"contents": []any{object{"role": "user", "parts": []any{text("1"), text("2")}}}, "systemInstruction": object{"parts": []any{text("A"), text("B")}},
				"generationConfig": object{"maxOutputTokens": 100.0, "temperature": 0.0, "topP": 0.0, "stopSequences": []any{"a", "b", "c", "d", "e"}},
			},
		},
		"a schema": {
			func(r *provider.Request) {
				r.Schema, r.Messages = &provider.Schema{JSON: json.RawMessage(`{"type":"array"}`)}, r.Messages[1:]
			},
			object{"contents": contents, "generationConfig": object{"maxOutputTokens": 100.0, "responseMimeType": "application/json", "responseJsonSchema": object{"type": "array"}}},
		},
		"tools":     {asked(""), object{"contents": contents, "generationConfig": limit, "tools": tools}},
		"no tool":   {asked("none"), object{"contents": contents, "generationConfig": limit, "tools": tools, "toolConfig": object{"functionCallingConfig": object{"mode": "NONE"}}}},
		"some tool": {asked("required"), object{"contents": contents, "generationConfig": limit, "tools": tools, "toolConfig": object{"functionCallingConfig": object{"mode": "ANY"}}}},
		"one tool":  {asked("f"), object{"contents": contents, "generationConfig": limit, "tools": tools, "toolConfig": object{"functionCallingConfig": object{"mode": "ANY", "allowedFunctionNames": []any{"f"}}}}},
		"history":   {func(r *provider.Request) { r.Messages, r.Model = providertest.History(), "gemini-2.5-flash" }, object{"contents": history(""), "generationConfig": limit}},
		"history for models that want signatures": {
			func(r *provider.Request) { r.Messages, r.Model = providertest.History(), "models/gemini-3-pro" },
			object{"contents": history("skip_thought_signature_validator"), "generationConfig": limit},
		},
	} {
		s := wiretest.Serve(t, "", "text/event-stream", wiretest.Raw(format().End(provider.Stop, nil)))
		r := providertest.Request()
		test.change(&r)
		if _, err := open(t, s.URL).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := s.Requests()[0]
		if diff := cmp.Diff(test.want, got.Body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if want := "/v1beta/models/" + strings.TrimPrefix(r.Model, "models/") + ":streamGenerateContent?alt=sse"; got.Path != want || got.Header.Get("X-Goog-Api-Key") != providertest.Key {
			t.Errorf("%s: path %q, want %q; headers %v", name, got.Path, want, got.Header)
		}
	}
}

func TestAPromptThatIsBlocked(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	s := wiretest.Serve(t, "", "text/event-stream", wiretest.Raw(event(`"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9}`)))
	out, err := open(t, s.URL).Generate(t.Context(), providertest.Request(), func(provider.Piece) error { return nil })
	if err != nil || out.Finish != provider.Filtered || out.Usage.Prompt != 9 {
		t.Errorf("Generate = %+v, %v", out, err)
	}
}

func TestRefusalsOfGooglesOwn(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	for name, test := range map[string]struct {
		status int
		body   string
		reason fault.Reason
		after  string
	}{
		"how long to wait stands in the body": {429, `{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"17s"}]}}`, fault.ProviderRateLimited, "17s"},
		"a wrong key is a bad request":        {400, `{"error":{"code":400,"message":"API key not valid: ` + providertest.Key + `","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`, fault.ProviderRejected, "0s"},
	} {
		s := wiretest.Serve(t, "", "", wiretest.Status(test.status, nil, test.body))
		_, err := open(t, s.URL).Generate(t.Context(), providertest.Request(), func(provider.Piece) error { return nil })
		f := fault.As(err)
		if f == nil || f.Reason != test.reason || f.RetryAfter.String() != test.after || strings.Contains(err.Error(), providertest.Key) {
			t.Errorf("%s: %v, %+v", name, err, f)
		}
		if test.status == 400 && !strings.Contains(f.Message, "credentials") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmbed(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	answers := func(n int) string {
		return `{"embeddings":[` + strings.TrimSuffix(strings.Repeat(`{"values":[1,2]},`, n), ",") + `]}`
	}
	s := wiretest.Serve(t, "/v1beta/models/m:batchEmbedContents", "application/json", wiretest.PerRequest(wiretest.Raw(answers(100)), wiretest.Raw(answers(20)), wiretest.Raw(answers(1))))
	p := open(t, s.URL)
	texts := make([]string, 120)
	for i := range texts {
		texts[i] = fmt.Sprintf("text %d", i)
	}
	got, err := p.Embed(t.Context(), provider.EmbedRequest{Model: "m", Texts: texts, Dimensions: 2})
	if err != nil || len(got.Vectors) != 120 || got.Usage != provider.EstimateTexts(texts) {
		t.Fatalf("%d vectors, %+v, %v", len(got.Vectors), got.Usage, err)
	}
	all, _ := s.Requests()[1].Body["requests"].([]any)
	want := map[string]any{"model": "models/m", "outputDimensionality": 2.0, "content": map[string]any{"parts": []any{map[string]any{"text": "text 100"}}}}
	if diff := cmp.Diff(want, all[0]); len(all) != 20 || diff != "" {
		t.Errorf("%d texts in the second request (-want +got):\n%s", len(all), diff)
	}
	if _, err := p.Embed(t.Context(), provider.EmbedRequest{Model: "m", Texts: texts[:2]}); fault.ReasonOf(err) != fault.ProviderUnavailable {
		t.Errorf("one vector for two texts: %v", err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(event(`"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]`)))
	f.Add([]byte(event(`"candidates":[{"content":{"parts":[{"functionCall":{}}]}}],"promptFeedback":{"blockReason":"OTHER"}`)))
	providertest.FuzzStream(f, format(), (*exchange.Answer).Events, func(t *exchange.Teller, a *exchange.Answer) providertest.Stream {
		return &stream{Teller: t, answer: a}
	})
}
