package openai

import (
	stdcmp "cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
)

const keyVariable = "RAGMESH_TEST_OPENAI_KEY"

func open(t *testing.T, url string, cfg Config) *Provider {
	t.Helper()
	cfg.BaseURL, cfg.MaxConnections = url, 8
	p, err := New(cfg, providertest.Now)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestConformance(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	providertest.Run(t, openaitest.Format(), func(t *testing.T, url string) provider.Provider {
		t.Helper()
		return open(t, url+"/v1", Config{Key: config.Secret{Env: keyVariable}})
	})
}

func TestRequestOnTheWire(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	t.Setenv("OPENAI_API_KEY", "not-this-one")
	type object = map[string]any
	warm, cold := 0.7, 0.0
	base := object{
		"model": "m", "stream": true, "stream_options": object{"include_usage": true}, "max_completion_tokens": 100.0,
		"messages": []any{object{"role": "system", "content": "Answer."}, object{"role": "user", "content": "How long?"}},
	}
	weather := provider.Tool{Name: "weather", Description: "Tells it.", Parameters: json.RawMessage(`{"type":"object"}`)}
	tools := []any{object{"type": "function", "function": object{"name": "weather", "description": "Tells it.", "parameters": object{"type": "object"}}}}
	asked := func(choice string) func(*provider.Request) {
		return func(r *provider.Request) { r.Tools, r.Choice = []provider.Tool{weather}, choice }
	}
	key := config.Secret{Env: keyVariable}
	for name, tt := range map[string]struct {
		cfg    Config
		change func(*provider.Request)
		header http.Header
		path   string
		want   object // beside base, where nil takes away
	}{
		"no temperature was asked for": {},
		"a temperature":                {change: func(r *provider.Request) { r.Temperature, r.TopP = &warm, &warm }, want: object{"temperature": 0.7, "top_p": 0.7}},
		"temperature 0 is one":         {change: func(r *provider.Request) { r.Temperature = &cold }, want: object{"temperature": 0.0}},
		"an older server":              {cfg: Config{LegacyMaxTokens: true}, want: object{"max_completion_tokens": nil, "max_tokens": 100.0}},
		"a key":                        {cfg: Config{Key: key}, header: http.Header{"Authorization": {"Bearer " + providertest.Key}}},
		"Azure": {
			cfg: Config{Key: key, AzureVersion: "2024-10-21"}, path: "/v1/openai/deployments/m/chat/completions?api-version=2024-10-21",
			header: http.Header{"Api-Key": {providertest.Key}},
		},
		"stop texts, of which it takes four": {change: func(r *provider.Request) { r.Stop = []string{"a", "b", "c", "d", "e"} }, want: object{"stop": []any{"a", "b", "c", "d"}}},
		"tools":                              {change: asked(""), want: object{"tools": tools}},
		"no tool":                            {change: asked("none"), want: object{"tools": tools, "tool_choice": "none"}},
		"some tool":                          {change: asked("required"), want: object{"tools": tools, "tool_choice": "required"}},
		"a certain tool":                     {change: asked("weather"), want: object{"tools": tools, "tool_choice": object{"type": "function", "function": object{"name": "weather"}}}},
		"a schema": {
			change: func(r *provider.Request) {
				r.Schema = &provider.Schema{JSON: json.RawMessage(`{"type":"object"}`), Strict: true}
			},
			want: object{"response_format": object{"type": "json_schema", "json_schema": object{"name": "answer", "schema": object{"type": "object"}, "strict": true}}},
		},
		"calls and results in the history": {
			change: func(r *provider.Request) { r.Messages = providertest.History() },
			want: object{"messages": []any{
				object{"role": "user", "content": "Weather in Paris and Rome?"},
				object{"role": "assistant", "content": nil, "tool_calls": []any{
					object{"id": "call_a", "type": "function", "function": object{"name": "weather", "arguments": `{"city":"Paris"}`}},
					object{"id": "call_b", "type": "function", "function": object{"name": "weather", "arguments": `{"city":"Rome"}`}},
				}},
				object{"role": "tool", "content": "Rain", "tool_call_id": "call_a"},
				object{"role": "tool", "content": `{"sky":"clear"}`, "tool_call_id": "call_b"},
				object{"role": "user", "content": "And tomorrow?"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := wiretest.Serve(t, "", "text/event-stream", openaitest.Text("Five"), openaitest.Finish("stop"), openaitest.Done())
			r := providertest.Request()
			if tt.change != nil {
				tt.change(&r)
			}
			if _, err := open(t, s.URL+"/v1/", tt.cfg).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
				t.Fatalf("Generate: %v", err)
			}
			got := s.Requests()[0]
			want := maps.Clone(base)
			for k, v := range tt.want {
				if want[k] = v; v == nil {
					delete(want, k)
				}
			}
			if diff := cmp.Diff(want, got.Body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if path := stdcmp.Or(tt.path, "/v1/chat/completions"); got.Path != path {
				t.Errorf("path %q, want %q", got.Path, path)
			}
			for _, h := range []string{"Authorization", "Api-Key"} {
				if diff := cmp.Diff(tt.header.Values(h), got.Header.Values(h)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", h, diff)
				}
			}
		})
	}
}

// Servers disagree on how the parts of calls are told apart.
func TestCallsAsServersSendThem(t *testing.T) {
	t.Parallel()
	part := func(fields string) string { return openaitest.Delta(`"tool_calls":[{` + fields + `}]`) }
	for name, stream := range map[string]string{
		"OpenAI": part(`"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}`) + part(`"index":0,"function":{"arguments":"{\"x\":"}`) + part(`"index":0,"function":{"arguments":"1}"}`) +
			part(`"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}`),
		"counted from one":               part(`"index":1,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}`) + part(`"index":2,"id":"b","function":{"name":"g","arguments":"{}"}`),
		"all of them the first":          part(`"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}`) + part(`"index":0,"id":"b","function":{"name":"g","arguments":"{}"}`),
		"not counted":                    part(`"id":"a","function":{"name":"f","arguments":"{\"x\":"}`) + part(`"function":{"arguments":"1}"}`) + part(`"id":"b","function":{"name":"g","arguments":"{}"}`),
		"the id and the name every time": part(`"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}`) + part(`"index":0,"id":"a","function":{"name":"f","arguments":"1}"}`) + part(`"index":1,"id":"b","function":{"name":"g","arguments":"{}"}`),
		"interleaved":                    part(`"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}`) + part(`"index":1,"id":"b","function":{"name":"g","arguments":"{"}`) + part(`"index":0,"function":{"arguments":"1}"}`) + part(`"index":1,"function":{"arguments":"}"}`),
		"both in one event":              openaitest.Delta(`"content":null,"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}},{"index":1,"id":"b","function":{"name":"g"}}]`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openaitest.Serve(t, openaitest.Open(), openaitest.Raw(stream), openaitest.Finish("tool_calls"), openaitest.Done())
			var got [2]provider.CallPart
			out, err := open(t, s.URL, Config{}).Generate(t.Context(), providertest.Request(), func(p provider.Piece) error {
				if c := p.Call; c != nil {
					got[c.Index].ID += c.ID
					got[c.Index].Name += c.Name
					got[c.Index].Arguments += c.Arguments
				}
				return nil
			})
			want := [2]provider.CallPart{{ID: "a", Name: "f", Arguments: `{"x":1}`}, {ID: "b", Name: "g", Arguments: "{}"}}
			if diff := cmp.Diff(want, got); err != nil || out.Finish != provider.Called || diff != "" {
				t.Errorf("%+v, %v (-want +got):\n%s", out, err, diff)
			}
		})
	}
}

func TestCallsWithoutAnIDGetOne(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t, openaitest.Raw(openaitest.Delta(`"tool_calls":[{"function":{"name":"f","arguments":"{}"}},{"function":{"name":"f","arguments":"{}"}}]`)), openaitest.Finish("stop"), openaitest.Done())
	ids := map[string]bool{}
	_, err := open(t, s.URL, Config{}).Generate(t.Context(), providertest.Request(), func(p provider.Piece) error {
		if p.Call != nil {
			ids[p.Call.ID] = true
		}
		return nil
	})
	if err != nil || len(ids) != 2 || ids[""] {
		t.Errorf("ids %v, %v", ids, err)
	}
}

func TestWhatAServerCannotDoIsRefusedUnasked(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t)
	p := open(t, s.URL, Config{WithoutTools: true, WithoutSchema: true})
	for _, change := range []func(*provider.Request){
		func(r *provider.Request) { r.Tools = []provider.Tool{{Name: "f"}} },
		func(r *provider.Request) { r.Schema = &provider.Schema{JSON: json.RawMessage(`{}`)} },
	} {
		r := providertest.Request()
		change(&r)
		if _, err := p.Generate(t.Context(), r, func(provider.Piece) error { return nil }); fault.ReasonOf(err) != fault.ProviderRejected {
			t.Errorf("Generate error = %v", err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// A server without tools is told of earlier calls as text, and others as they were.
func TestEarlierCallsAreText(t *testing.T) {
	t.Parallel()
	for without, want := range map[bool]bool{true: false, false: true} {
		s := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five days."), openaitest.Finish("stop"), openaitest.Usage(12, 2), openaitest.Done())
		r := providertest.Request()
		r.Messages = providertest.History()
		if _, err := open(t, s.URL, Config{WithoutTools: without}).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprint(s.Requests()[0].Body)
		if got := strings.Contains(body, "tool_call"); got != want {
			t.Errorf("without tools %v: %s", without, body)
		}
	}
}

// What Azure's content filters add to a stream is no piece of it, and what they take away is said.
func TestAzuresContentFilters(t *testing.T) {
	t.Parallel()
	results := `"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}`
	s := wiretest.Serve(t, "", "text/event-stream",
		openaitest.Raw(`data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,`+results+`}]}`+"\n\n"),
		openaitest.Open(), openaitest.Text("Five "),
		openaitest.Raw(`data: {"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":44},`+results+`}]}`+"\n\n"),
		openaitest.Raw(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"content_filter",`+results+`}]}`+"\n\n"), openaitest.Usage(12, 7), openaitest.Done())
	text := ""
	out, err := open(t, s.URL, Config{AzureVersion: "2024-10-21"}).Generate(t.Context(), providertest.Request(), func(p provider.Piece) error {
		text += p.Text
		return nil
	})
	if err != nil || text != "Five " || out.Finish != provider.Filtered || out.Usage.Prompt != 12 {
		t.Errorf("Generate = %q, %+v, %v", text, out, err)
	}
	refuses := wiretest.Serve(t, "", "", wiretest.Status(400, nil, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`))
	_, err = open(t, refuses.URL, Config{AzureVersion: "2024-10-21"}).Generate(t.Context(), providertest.Request(), func(provider.Piece) error { return nil })
	if r, ok := errors.AsType[*provider.Refusal](err); !ok || r.Code != "content_filter" || !strings.Contains(fault.As(err).Message, "content filter") {
		t.Errorf("Generate error = %v, want a refusal by the content filter", err)
	}
}

func TestARefusalIsTextThatWasFiltered(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t, openaitest.Raw(openaitest.Delta(`"refusal":"I can't."`)), openaitest.Finish("stop"), openaitest.Done())
	text := ""
	out, err := open(t, s.URL, Config{}).Generate(t.Context(), providertest.Request(), func(p provider.Piece) error {
		text += p.Text
		return nil
	})
	if err != nil || text != "I can't." || out.Finish != provider.Filtered {
		t.Errorf("Generate = %q, %+v, %v", text, out, err)
	}
}

func TestMissingKey(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t)
	_, err := open(t, s.URL, Config{Key: config.Secret{Env: "RAGMESH_NO_SUCH_KEY"}}).
		Generate(t.Context(), providertest.Request(), func(provider.Piece) error { return nil })
	if f := fault.As(err); f == nil || f.Reason != fault.ProviderRejected || strings.Contains(f.Message, "RAGMESH_NO") {
		t.Errorf("Generate error = %v, want credentials not configured", err)
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests went out without a key", n)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "api.openai.com/v1", "ftp://x/", "https://user:pw@x/", "https://x/?a=b", "http://%"} {
		if _, err := New(Config{BaseURL: u}, time.Now); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("New(%q) error = %v", u, err)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(openaitest.Delta(`"content":"a"`) + openaitest.Delta(`"content":"b"`) + openaitest.Delta(`"content":"\\u0062"`) + "data: [DONE]"))
	f.Add([]byte("event: error\ndata: [DONE]\n\n: comment\r\n\r\ndata:{\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}\n"))
	providertest.FuzzStream(f, openaitest.Format(), (*exchange.Answer).Events, func(t *exchange.Teller, a *exchange.Answer) providertest.Stream {
		return &stream{Teller: t, answer: a}
	})
}
