package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// tongue is a provider with a format of its own.
type tongue struct {
	asked  provider.Request
	pieces []provider.Piece
	finish provider.Finish
	err    error
}

func (p *tongue) Generate(_ context.Context, r provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	p.asked = r
	for _, piece := range p.pieces {
		if err := emit(piece); err != nil {
			return provider.Result{}, err
		}
	}
	return provider.Result{Finish: p.finish, Usage: provider.Usage{Prompt: 12, Completion: 7, Cached: 5}}, p.err
}

func calling() *tongue {
	return &tongue{finish: provider.Called, pieces: []provider.Piece{
		{}, {Text: "Let me "}, {Text: "see."}, {Call: &provider.CallPart{Index: 0, ID: "c1", Name: "look", Arguments: `{"a":`}},
		{Call: &provider.CallPart{Index: 0, Arguments: `1}`}}, {Call: &provider.CallPart{Index: 1, ID: "c2", Name: "find"}},
	}}
}

const spoken = `{"model":"gpt","max_tokens":9,"temperature":0.5,"stop":"END","tool_choice":{"type":"function","function":{"name":"look"}},
	"tools":[{"type":"function","function":{"name":"look","description":"d","parameters":{"type":"object"}}}],
	"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}},
	"messages":[{"role":"developer","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"How "},{"type":"text","text":"long?"}]},
	{"role":"assistant","content":null,"tool_calls":[{"id":"c0","type":"function","function":{"name":"look","arguments":"{}"}}]},
	{"role":"tool","tool_call_id":"c0","content":"nothing"}]`

func TestTranslatedAnswers(t *testing.T) {
	p := calling()
	w := open(t, map[string][]route.Target{"gpt": {target("a", p)}})
	got := text(t, w.send(t, secret, "POST", "/v1/chat/completions", spoken+"}"))
	got = strings.TrimSpace(got)
	created := got[strings.Index(got, `"created":`):strings.Index(got, `,"model"`)]
	want := `{"id":"chatcmpl-t1","object":"chat.completion",` + created + `,"model":"gpt","choices":[{"index":0,"message":{"role":"assistant","content":"Let me see.",` +
		`"tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"a\":1}"}},{"id":"c2","type":"function","function":{"name":"find","arguments":""}}]},` +
		`"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19,"prompt_tokens_details":{"cached_tokens":5}}}`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	r := p.asked
	raw, err := json.Marshal(map[string]any{"1": r.MaxTokens, "2": *r.Temperature, "3": r.Stop, "4": r.Choice, "5": r.Schema.Strict, "6": r.Tools, "7": r.Messages})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"1":9,"2":0.5,"3":["END"],"4":"look"`, `"5":true`, `"Name":"look","Description":"d"`,
		`{"Role":"system","Content":"Be brief."`, `{"Role":"user","Content":"How long?"`, `"Calls":[{"ID":"c0","Name":"look","Arguments":"{}"}]`, `{"Role":"tool","Content":"nothing","Calls":null,"CallID":"c0"}`,
	} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("no %s in what was asked: %s", part, raw)
		}
	}
}

func TestTranslatedStreams(t *testing.T) {
	w := open(t, map[string][]route.Target{"gpt": {target("a", calling())}})
	got := text(t, w.send(t, secret, "POST", "/v1/chat/completions", spoken+`,"stream":true,"stream_options":{"include_usage":true}}`))
	var deltas []string
	for event := range strings.SplitSeq(strings.TrimSpace(got), "\n\n") {
		_, choices, _ := strings.Cut(event, `"choices":`)
		deltas = append(deltas, choices)
	}
	want := []string{
		`[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"content":"Let me "},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"content":"see."},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":"{\"a\":"}}]},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":null}]}`,
		`[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c2","type":"function","function":{"name":"find","arguments":""}}]},"finish_reason":null}]}`,
		`[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
		`[],"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19,"prompt_tokens_details":{"cached_tokens":5}}}`,
		``,
	}
	if diff := cmp.Diff(want, deltas); diff != "" || !strings.HasSuffix(got, "data: [DONE]\n\n") {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a provider with a format of its own can't be told is refused, and handed on to one that can.
func TestWhatCanNotBeTranslated(t *testing.T) {
	s, p := answering(t)
	w := open(t, map[string][]route.Target{"own": {target("a", calling())}, "gpt": {target("b", p)}})
	for param, body := range map[string]string{
		"n":         `{"model":"gpt","n":2,"stream":true,"messages":[{"role":"user","content":"x"}]}`,
		"logprobs":  `{"model":"gpt","logprobs":true,"stream":true,"messages":[{"role":"user","content":"x"}]}`,
		"image_url": `{"model":"gpt","stream":true,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/"}}]}]}`,
	} {
		resp := w.send(t, secret, "POST", "/v1/chat/completions", strings.Replace(body, "gpt", "own", 1))
		if diff := cmp.Diff(refused{400, "invalid_request_error", param, ""}, refusal(t, resp.StatusCode, text(t, resp))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", param, diff)
		}
		if resp := w.send(t, secret, "POST", "/v1/chat/completions", body); resp.StatusCode != 200 {
			t.Errorf("%s is not handed on: %s", param, resp.Status)
		}
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests were handed on", n)
	}
}
