package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/api"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/extractive"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/keys"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/wiretest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/vector"
)

const (
	secret  = "sk-test-of-everybody-0123456789"
	limited = "sk-test-of-somebody-0123456789"
)

// world is a gateway and what it was told to remember.
type world struct {
	url     string
	handler *api.Handler
	serving api.Serving

	mu    sync.Mutex
	ended []string
}

func (w *world) Overhead(string, time.Duration)                {}
func (w *world) Tried(route.Rung, string, time.Duration)       {}
func (w *world) FirstText(route.Rung, time.Duration)           {}
func (w *world) Tokens(route.Rung, provider.Usage)             {}
func (w *world) Retried(route.Rung)                            {}
func (w *world) Skipped(route.Rung, string)                    {}
func (w *world) Waited(string, time.Duration)                  {}
func (w *world) Answered(route.Tried, time.Duration)           {}
func (w *world) Called(string, route.Tried)                    {}
func (w *world) report(context.Context, string, string, error) {}
func (w *world) Embed(context.Context, provider.EmbedRequest) (provider.Embedded, error) {
	return provider.Embedded{Vectors: [][]float32{{3, 4}}, Usage: provider.Usage{Prompt: 2}}, nil
}

// outcomes are how requests ended, in order, once there are n.
func (w *world) outcomes(t *testing.T, n int) []string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		got := append([]string(nil), w.ended...)
		w.mu.Unlock()
		if len(got) >= n {
			return got
		}
	}
	t.Fatalf("fewer than %d requests have ended", n)
	return nil
}

func at(t *testing.T, url string) provider.Provider {
	t.Helper()
	p, err := openai.New(openai.Config{BaseURL: url, MaxConnections: 8}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// open serves routes to two keys, one of which may ask "gpt" only.
func open(t *testing.T, routes map[string][]route.Target) *world {
	t.Helper()
	w := &world{}
	t.Setenv("RAGMESH_TEST_EVERYBODY", secret)
	t.Setenv("RAGMESH_TEST_SOMEBODY", limited)
	ring, err := keys.New([]keys.Key{
		{Name: "everybody", Secret: config.Secret{Env: "RAGMESH_TEST_EVERYBODY"}, Workspace: "default"},
		{Name: "somebody", Secret: config.Secret{Env: "RAGMESH_TEST_SOMEBODY"}, Workspace: "default", Models: []string{"gpt"}},
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.serving = api.Serving{Keys: ring, Routes: w.routes(t, routes), MaxTokens: 1000, MaxBody: 64 << 10, Vectors: vector.New(vector.Config{
		Embeddings: map[string]vector.Embedding{"small": {Provider: "p", Embedder: w, Model: "e", BatchTexts: 8, BatchBytes: 1 << 20}}, Timeout: time.Second,
	}, vector.Deps{Meter: w, Tracer: noop.NewTracerProvider().Tracer(""), Clock: time.Now, Slots: route.NewSlots(2)})}
	w.handler = api.New(w.serving, api.Deps{
		Meter: w, Clock: time.Now, Caller: func(context.Context, string, string) {}, TraceID: func(context.Context) string { return "t1" },
		Ended: func(_ context.Context, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			outcome := "ok"
			if err != nil {
				outcome = fault.ReasonName(fault.ReasonOf(err))
			}
			w.ended = append(w.ended, outcome)
		},
	})
	mux := http.NewServeMux()
	for pattern, h := range w.handler.Routes() {
		mux.Handle(pattern, h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) routes(t *testing.T, routes map[string][]route.Target) *route.Router {
	t.Helper()
	name := ""
	for name = range routes {
		break
	}
	ladders := map[string]route.Route{}
	for name, targets := range routes {
		ladders[name] = route.Route{Targets: targets}
	}
	r, err := route.New(ladders, route.Options{Default: name, FirstText: 20 * time.Second, Idle: 20 * time.Second, Places: 64}, route.Deps{
		Meter: w, Tracer: noop.NewTracerProvider().Tracer(""), Report: w.report, Clock: time.Now,
		Random: func() float64 { return 0.5 }, Health: route.NewHealth(route.Watch{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Use()
	return r
}

// quoting is the built-in model, which answers from sources only.
func quoting() route.Target {
	return route.Target{Name: extractive.Name, Provider: extractive.Model{}, Model: extractive.Name, Local: true}
}

func target(name string, p provider.Provider) route.Target {
	return route.Target{Name: name, Provider: p, Model: "model-of-" + name}
}

// send sends a request with a key.
func (w *world) send(t *testing.T, key, method, path, body string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return w.sendIn(ctx, t, key, method, path, body)
}

func (w *world) sendIn(ctx context.Context, t *testing.T, key, method, path, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	whole    = `{"model":"gpt","messages":[{"role":"user","content":"How long?"}]}`
	streamed = `{"model":"gpt","messages":[{"role":"user","content":"How long?"}],"stream":true}`
)

func answering(t *testing.T) (*openaitest.Server, provider.Provider) {
	t.Helper()
	s := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), openaitest.Text("days."), openaitest.Finish("stop"), openaitest.Usage(12, 2), openaitest.Done())
	return s, at(t, s.URL)
}

func TestAStreamIsHandedOn(t *testing.T) {
	s, p := answering(t)
	w := open(t, map[string][]route.Target{"gpt": {target("a", p)}})
	resp := w.send(t, secret, "POST", "/v1/chat/completions", streamed)
	want := openaitest.Delta(`"role":"assistant","content":"","refusal":null`) + openaitest.Delta(`"content":"Five "`) + openaitest.Delta(`"content":"days."`)
	got := text(t, resp)
	if resp.StatusCode != 200 || !strings.HasPrefix(got, want) || strings.Contains(got, "prompt_tokens") || !strings.HasSuffix(got, "data: [DONE]\n\n") {
		t.Errorf("%s\n%s", resp.Status, got)
	}
	if h := resp.Header; h.Get("Content-Type") != "text/event-stream; charset=utf-8" || h.Get("X-Ragmesh-Target") != "a/model-of-a" || h.Get("X-Request-Id") != "t1" || h.Get("X-Ragmesh-Rung") != "" {
		t.Errorf("headers %v", h)
	}
	wantBody := map[string]any{
		"model": "model-of-a", "stream": true, "stream_options": map[string]any{"include_usage": true},
		"messages": []any{map[string]any{"role": "user", "content": "How long?"}},
	}
	if diff := cmp.Diff(wantBody, s.Requests()[0].Body); diff != "" {
		t.Errorf("the provider was asked (-want +got):\n%s", diff)
	}
	if auth := s.Requests()[0].Header.Get("Authorization"); auth != "" {
		t.Errorf("the provider got the caller's key: %q", auth)
	}
	if got := w.outcomes(t, 1); got[0] != "ok" {
		t.Errorf("it ended with %v", got)
	}
}

func TestAWholeAnswerIsHandedOn(t *testing.T) {
	const answer = `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Five days."},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`
	s := openaitest.Serve(t, openaitest.Status(200, nil, answer))
	w := open(t, map[string][]route.Target{"gpt": {target("a", at(t, s.URL))}})
	resp := w.send(t, limited, "POST", "/v1/chat/completions", whole)
	if got := text(t, resp); resp.StatusCode != 200 || got != answer || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v", resp.Status, got, resp.Header)
	}
}

// Until a target has said something its failure costs nothing but the time; the caller is told of it.
func TestAnotherTargetAnswers(t *testing.T) {
	broken := openaitest.Serve(t, openaitest.Open(), openaitest.Cut())
	_, p := answering(t)
	w := open(t, map[string][]route.Target{"gpt": {target("a", at(t, broken.URL)), target("b", p)}})
	resp := w.send(t, secret, "POST", "/v1/chat/completions", streamed)
	got := text(t, resp)
	if strings.Count(got, `"role":"assistant"`) != 1 || !strings.Contains(got, "days.") {
		t.Errorf("%s\n%s", resp.Status, got)
	}
	if h := resp.Header; h.Get("X-Ragmesh-Target") != "b/model-of-b" || h.Get("X-Ragmesh-Rung") != "1" || h.Get("X-Ragmesh-Degraded") != "a=provider_stream_cut" {
		t.Errorf("headers %v", h)
	}
}

// A target that has no tools, or keeps to no schema, does not see them: the next one does, or the caller is told.
func TestATargetThatCanNotIsPassedOver(t *testing.T) {
	plain, _ := answering(t)
	p, err := openai.New(openai.Config{BaseURL: plain.URL, MaxConnections: 8, WithoutTools: true, WithoutSchema: true}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	able, q := answering(t)
	w := open(t, map[string][]route.Target{"gpt": {target("a", p), target("b", q)}, "plain": {target("a", p)}})
	const (
		tools  = `,"tools":[{"type":"function","function":{"name":"f"}}]}`
		schema = `,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}}}`
	)
	for says, more := range map[string]string{"without_tools": tools, "without_schema": schema} {
		body := strings.TrimSuffix(streamed, "}") + more
		resp := w.send(t, secret, "POST", "/v1/chat/completions", body)
		if got := text(t, resp); !strings.Contains(got, "days.") || resp.Header.Get("X-Ragmesh-Target") != "b/model-of-b" || resp.Header.Get("X-Ragmesh-Degraded") != "a=provider_rejected" {
			t.Errorf("%s: %v %s", says, resp.Header, got)
		}
		resp = w.send(t, secret, "POST", "/v1/chat/completions", strings.Replace(body, `"gpt"`, `"plain"`, 1))
		if got := text(t, resp); refusal(t, resp.StatusCode, got).Code != "provider_rejected" || resp.StatusCode != http.StatusBadRequest || !strings.Contains(got, says) {
			t.Errorf("%s, and no other: %s %s", says, resp.Status, got)
		}
	}
	if n, m := len(plain.Requests()), len(able.Requests()); n != 0 || m != 2 {
		t.Errorf("the one was asked %d times, the other %d", n, m)
	}
	if got := text(t, w.send(t, secret, "POST", "/v1/chat/completions", strings.Replace(streamed, `"gpt"`, `"plain"`, 1))); !strings.Contains(got, "days.") {
		t.Errorf("without either: %s", got)
	}
}

// A target that has no tools is told of what was called earlier as text. Others get the conversation as it came.
func TestEarlierCallsAreTextForATargetWithoutTools(t *testing.T) {
	plain, _ := answering(t)
	p, err := openai.New(openai.Config{BaseURL: plain.URL, MaxConnections: 8, WithoutTools: true}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	able, q := answering(t)
	w := open(t, map[string][]route.Target{"plain": {target("a", p)}, "gpt": {target("b", q)}})
	const body = `{"model":"gpt","messages":[{"role":"user","content":"Weather?"},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Oslo\"}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"rain"},{"role":"user","content":"Say it shorter."}],"seed":7}`
	for _, ask := range []string{body, strings.Replace(body, `"gpt"`, `"plain"`, 1)} {
		if resp := w.send(t, secret, "POST", "/v1/chat/completions", strings.Replace(ask, `"seed"`, `"stream":true,"seed"`, 1)); !strings.Contains(text(t, resp), "days.") {
			t.Errorf("it answers %s", resp.Status)
		}
	}
	messages := func(s *openaitest.Server) []any {
		t.Helper()
		sent := s.Requests()[0].Body
		if sent["seed"] != 7.0 {
			t.Errorf("a parameter was changed: %v", sent)
		}
		out, _ := sent["messages"].([]any)
		return out
	}
	want := []any{
		map[string]any{"role": "user", "content": "Weather?"},
		map[string]any{"role": "assistant", "content": `[called weather (c1) with {"city":"Oslo"}]`},
		map[string]any{"role": "user", "content": "[weather (c1) returned]\nrain"},
		map[string]any{"role": "user", "content": "Say it shorter."},
	}
	if diff := cmp.Diff(want, messages(plain)); diff != "" {
		t.Errorf("without tools (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(messages(able)); !strings.Contains(got, "tool_call_id:c1") || !strings.Contains(got, "tool_calls:") {
		t.Errorf("with tools: %s", got)
	}
}

type refused struct {
	Status      int
	Type, Param string
	Code        string
}

func refusal(t *testing.T, status int, body string) refused {
	t.Helper()
	var said struct {
		Error struct{ Message, Type, Param, Code string }
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || said.Error.Message == "" {
		t.Fatalf("%d %q is no error of OpenAI's", status, body)
	}
	if strings.Contains(body, secret) || strings.Contains(body, limited) {
		t.Errorf("the key is in the answer: %s", body)
	}
	return refused{status, said.Error.Type, said.Error.Param, said.Error.Code}
}

func TestRefusals(t *testing.T) {
	_, p := answering(t)
	w := open(t, map[string][]route.Target{"gpt": {target("a", p)}, "other": {target("a", p)}, "quoting": {quoting()}})
	const (
		invalid = "invalid_request_error"
		chat    = "/v1/chat/completions"
	)
	for name, test := range map[string]struct {
		key, method, path, body string
		want                    refused
	}{
		"no key":                {"", "POST", chat, whole, refused{401, invalid, "", "invalid_api_key"}},
		"another key":           {secret + "x", "POST", chat, whole, refused{401, invalid, "", "invalid_api_key"}},
		"no key for models":     {"", "GET", "/v1/models", "", refused{401, invalid, "", "invalid_api_key"}},
		"no model":              {secret, "POST", chat, strings.Replace(whole, "gpt", "none", 1), refused{404, invalid, "model", "model_not_found"}},
		"not this key's model":  {limited, "POST", chat, strings.Replace(whole, "gpt", "other", 1), refused{404, invalid, "model", "model_not_found"}},
		"a model that quotes":   {secret, "POST", chat, strings.Replace(whole, "gpt", "quoting", 1), refused{404, invalid, "model", "model_not_found"}},
		"no JSON":               {secret, "POST", chat, "{", refused{400, invalid, "", ""}},
		"too large":             {secret, "POST", chat, strings.Repeat(" ", 65<<10) + whole, refused{413, invalid, "", "request_too_large"}},
		"another route":         {secret, "POST", "/v1/completions", whole, refused{404, invalid, "", "unimplemented"}},
		"GET":                   {secret, "GET", chat, "", refused{404, invalid, "", "unimplemented"}},
		"no such model":         {limited, "GET", "/v1/models/other", "", refused{404, invalid, "model", "model_not_found"}},
		"no embedding model":    {secret, "POST", "/v1/embeddings", `{"model":"gpt","input":"x"}`, refused{404, invalid, "model", "model_not_found"}},
		"not this key's vector": {limited, "POST", "/v1/embeddings", `{"model":"small","input":"x"}`, refused{404, invalid, "model", "model_not_found"}},
		"no input":              {secret, "POST", "/v1/embeddings", `{"model":"small","input":[]}`, refused{400, invalid, "input", ""}},
		"tokens":                {secret, "POST", "/v1/embeddings", `{"model":"small","input":[1,2]}`, refused{400, invalid, "", ""}},
	} {
		resp := w.send(t, test.key, test.method, test.path, test.body)
		if diff := cmp.Diff(test.want, refusal(t, resp.StatusCode, text(t, resp))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestModels(t *testing.T) {
	_, p := answering(t)
	w := open(t, map[string][]route.Target{"gpt": {target("a", p)}, "other": {target("a", p)}, "quoting": {quoting()}})
	for key, want := range map[string]string{secret: "gpt other small", limited: "gpt"} {
		var got struct {
			Object string
			Data   []struct{ ID, Object string }
		}
		if err := json.Unmarshal([]byte(text(t, w.send(t, key, "GET", "/v1/models", ""))), &got); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range got.Data {
			ids = append(ids, m.ID)
		}
		if strings.Join(ids, " ") != want {
			t.Errorf("models %v, want %s", ids, want)
		}
	}
	if resp := w.send(t, limited, "GET", "/v1/models/gpt", ""); resp.StatusCode != 200 {
		t.Errorf("gpt: %s", resp.Status)
	}
}

func TestEmbeddings(t *testing.T) {
	w := open(t, map[string][]route.Target{"gpt": {target("a", nil)}})
	got := text(t, w.send(t, secret, "POST", "/v1/embeddings", `{"model":"small","input":["x"]}`))
	want := `{"data":[{"object":"embedding","index":0,"embedding":[0.6,0.8]}],"model":"small","object":"list","usage":{"prompt_tokens":2,"total_tokens":2}}`
	if strings.TrimSpace(got) != want {
		t.Errorf("got %s", got)
	}
	if got := text(t, w.send(t, secret, "POST", "/v1/embeddings", `{"model":"small","input":"x","encoding_format":"base64"}`)); !strings.Contains(got, `"embedding":"mpkZP83MTD8="`) {
		t.Errorf("in base64: %s", got)
	}
}

// A stream that has begun and fails ends with an error as OpenAI's clients know it, and without its end.
func TestAnErrorAfterTheStart(t *testing.T) {
	s := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), openaitest.Raw("data: {\"error\":{\"message\":\"engine down: sk-secret\",\"type\":\"server_error\"}}\n\n"))
	w := open(t, map[string][]route.Target{"gpt": {target("a", at(t, s.URL))}})
	got := text(t, w.send(t, secret, "POST", "/v1/chat/completions", streamed))
	events := strings.Split(strings.TrimSpace(got), "\n\n")
	last := strings.TrimPrefix(events[len(events)-1], "data: ")
	want := refused{200, "server_error", "", "provider_unavailable"}
	if diff := cmp.Diff(want, refusal(t, 200, last)); diff != "" || !strings.Contains(got, "Five ") || strings.Contains(got, "[DONE]") || strings.Contains(got, "sk-secret") {
		t.Errorf("%s\n%s", diff, got)
	}
	if got := w.outcomes(t, 1); got[0] != "PROVIDER_UNAVAILABLE" {
		t.Errorf("it ended with %v", got)
	}
}

func TestADisconnectEndsTheProvidersWork(t *testing.T) {
	s := openaitest.Serve(t, openaitest.Open(), openaitest.Endless("on and on "))
	w := open(t, map[string][]route.Target{"gpt": {target("a", at(t, s.URL))}})
	ctx, leave := context.WithCancel(t.Context())
	resp := w.sendIn(ctx, t, secret, "POST", "/v1/chat/completions", streamed)
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	leave()
	select {
	case <-s.Ended():
	case <-time.After(time.Minute):
		t.Fatal("the provider still works for somebody who has left")
	}
	if got := w.outcomes(t, 1); got[0] != "CANCELED" {
		t.Errorf("it ended with %v", got)
	}
}

// Routes and keys change while a stream is under way: it ends with what it began with, and who comes later meets the new ones.
func TestAStreamOutlivesAReload(t *testing.T) {
	gate := make(chan struct{})
	s := openaitest.Serve(t, openaitest.Open(), openaitest.Text("Five "), func(*wiretest.Writer) bool { <-gate; return true },
		openaitest.Text("days."), openaitest.Finish("stop"), openaitest.Done())
	w := open(t, map[string][]route.Target{"gpt": {target("a", at(t, s.URL))}})
	resp := w.send(t, secret, "POST", "/v1/chat/completions", streamed)
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	next := w.serving
	var err error
	if next.Keys, err = keys.New(nil, time.Now); err != nil {
		t.Fatal(err)
	}
	next.Routes = w.routes(t, map[string][]route.Target{"new": {target("b", at(t, s.URL))}})
	w.handler.Use(next)
	if got := w.send(t, secret, "POST", "/v1/chat/completions", streamed); got.StatusCode != 401 {
		t.Errorf("a revoked key: %s", got.Status)
	}
	close(gate)
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "days.") || !strings.HasSuffix(string(rest), "[DONE]\n\n") {
		t.Errorf("the stream that was under way: %v\n%s", err, rest)
	}
}

// Without sources there is nothing that the built-in model could quote: what failed above it is said.
func TestNoQuotesWithoutSources(t *testing.T) {
	s := openaitest.Serve(t, openaitest.Status(429, map[string]string{"Retry-After": "7"}, `{}`))
	w := open(t, map[string][]route.Target{"gpt": {target("a", at(t, s.URL)), quoting()}})
	resp := w.send(t, secret, "POST", "/v1/chat/completions", whole)
	if diff := cmp.Diff(refused{429, "rate_limit_error", "", "provider_rate_limited"}, refusal(t, resp.StatusCode, text(t, resp))); diff != "" || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("after %q (-want +got):\n%s", resp.Header.Get("Retry-After"), diff)
	}
}

var errNothing = errors.New("nothing")

func TestAProviderThatFailsWithoutAWord(t *testing.T) {
	w := open(t, map[string][]route.Target{"gpt": {target("a", &tongue{err: errNothing})}})
	resp := w.send(t, secret, "POST", "/v1/chat/completions", streamed)
	if got := refusal(t, resp.StatusCode, text(t, resp)); got.Status != 500 {
		t.Errorf("got %+v", got)
	}
}
