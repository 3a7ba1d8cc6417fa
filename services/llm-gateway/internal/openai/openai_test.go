package openai

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
)

const keyVariable = "RAGMESH_TEST_OPENAI_KEY"

func open(t *testing.T, url string, cfg Config) *Provider {
	t.Helper()
	cfg.BaseURL, cfg.MaxConnections = url, 8
	p, err := New(cfg, time.Now)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

func answer(steps ...openaitest.Step) []openaitest.Step {
	return append([]openaitest.Step{openaitest.Open()}, steps...)
}

func whole() []openaitest.Step {
	return []openaitest.Step{
		openaitest.Text("Refunds "), openaitest.Raw(": keep-alive\n\n"), openaitest.Text(""), openaitest.Text("take 五 "), openaitest.Text("days."),
	}
}

func ending(reason string) []openaitest.Step {
	return []openaitest.Step{openaitest.Finish(reason), openaitest.Usage(12, 7), openaitest.Done()}
}

// behave returns the steps of a behaviour on OpenAI's wire.
func behave(b providertest.Behaviour) []openaitest.Step {
	first := openaitest.Text("Refunds ")
	join := func(parts ...[]openaitest.Step) []openaitest.Step {
		var out []openaitest.Step
		for _, p := range parts {
			out = append(out, p...)
		}
		return answer(out...)
	}
	switch b {
	case providertest.Answers:
		return join(whole(), ending("stop"))
	case providertest.SplitChunks:
		return join([]openaitest.Step{openaitest.Bytewise("Refunds take 五 days.")}, ending("stop"))
	case providertest.NoUsage:
		return join(whole(), []openaitest.Step{openaitest.Finish("stop"), openaitest.Done()})
	case providertest.NoTerminator:
		return join(whole(), []openaitest.Step{openaitest.Finish("stop")})
	case providertest.Reasons:
		return join([]openaitest.Step{openaitest.Reasoning("reasoning_content", "Hm"), openaitest.Reasoning("reasoning", "so")}, whole(), ending("stop"))
	case providertest.LongLine:
		return join([]openaitest.Step{openaitest.Text(strings.Repeat("é", 100_000))}, ending("stop"))
	case providertest.CutLength:
		return join(whole(), ending("length"))
	case providertest.Filtered:
		return join(whole(), ending("content_filter"))
	case providertest.ErrorMid:
		return answer(first, openaitest.Raw("data: {\"error\":{\"message\":\"engine down\",\"type\":\"server_error\",\"code\":null}}\n\n"), openaitest.Done())
	case providertest.RateLimitMid:
		return answer(first, openaitest.Raw("event: error\ndata: {\"message\":\"slow down\",\"type\":\"rate_limit_error\"}\n\n"))
	case providertest.CutMid:
		return answer(first, openaitest.Cut())
	case providertest.EndsMid:
		return answer(first)
	case providertest.EndsAtOnce:
		return nil
	case providertest.Malformed:
		return answer(first, openaitest.Raw("data: {\"choices\":[{\"delta\":{\"content\":\"ta\n\n"), openaitest.Done())
	case providertest.HugeLine:
		return answer(openaitest.Raw("data: " + strings.Repeat("x", 2<<20)))
	case providertest.PlainError:
		return []openaitest.Step{openaitest.Status(http.StatusOK, nil, `{"error":"model not loaded"}`)}
	case providertest.RateLimits:
		return []openaitest.Step{openaitest.Status(429, map[string]string{"Retry-After": "7"}, `{"error":{"message":"slow down"}}`)}
	case providertest.Unauthorized:
		return []openaitest.Step{openaitest.Status(401, nil, `{"error":{"message":"Incorrect API key provided: `+providertest.Key+`"}}`)}
	case providertest.Forbidden:
		return []openaitest.Step{openaitest.Status(403, nil, "")}
	case providertest.BadRequest:
		return []openaitest.Step{openaitest.Status(400, nil, `{"error":{"message":"bad `+providertest.Key+`"}}`)}
	case providertest.Redirects:
		return []openaitest.Step{openaitest.Status(302, map[string]string{"Location": "https://elsewhere.example.com/"}, "")}
	case providertest.Fails:
		return []openaitest.Step{openaitest.Status(503, nil, "<html>upstream")}
	case providertest.Stalls:
		return answer(first, openaitest.Stall())
	case providertest.Endless:
		return answer(openaitest.Endless("on and on "))
	default:
		return nil
	}
}

func TestConformance(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	t.Setenv("OPENAI_ORGANIZATION", "someone-elses")
	providertest.Run(t, func(t *testing.T, b providertest.Behaviour) providertest.Subject {
		t.Helper()
		s := openaitest.Serve(t, behave(b)...)
		url := s.URL
		if b == providertest.Refuses {
			url = "http://127.0.0.1:1/v1"
		}
		return providertest.Subject{Provider: open(t, url, Config{Key: config.Secret{Env: keyVariable}}), Ended: s.Ended()}
	})
}

func TestRequestOnTheWire(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	t.Setenv("OPENAI_API_KEY", "not-this-one")
	warm, cold := 0.7, 0.0
	messages := []any{
		map[string]any{"role": "system", "content": "Answer."},
		map[string]any{"role": "user", "content": "How long?"},
	}
	base := map[string]any{
		"model": "m", "messages": messages, "stream": true, "stream_options": map[string]any{"include_usage": true},
		"max_completion_tokens": 100.0,
	}
	with := func(change func(map[string]any)) map[string]any {
		out := make(map[string]any)
		for k, v := range base {
			out[k] = v
		}
		change(out)
		return out
	}
	tests := []struct {
		name        string
		cfg         Config
		temperature *float64
		key         string
		want        map[string]any
	}{
		{"no temperature was asked for", Config{}, nil, "", base},
		{"a temperature", Config{}, &warm, "", with(func(m map[string]any) { m["temperature"] = 0.7 })},
		{"temperature 0 is a temperature", Config{}, &cold, "", with(func(m map[string]any) { m["temperature"] = 0.0 })},
		{"an older server", Config{LegacyMaxTokens: true}, nil, "", with(func(m map[string]any) {
			delete(m, "max_completion_tokens")
			m["max_tokens"] = 100.0
		})},
		{"a key", Config{Key: config.Secret{Env: keyVariable}}, nil, "Bearer " + providertest.Key, base},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openaitest.Serve(t, behave(providertest.Answers)...)
			r := providertest.Request()
			r.Temperature = tt.temperature
			if _, err := open(t, s.URL+"/", tt.cfg).Generate(t.Context(), r, func(provider.Piece) error { return nil }); err != nil {
				t.Fatalf("Generate: %v", err)
			}
			got := s.Requests()
			if len(got) != 1 {
				t.Fatalf("%d requests, want 1", len(got))
			}
			if diff := cmp.Diff(tt.want, got[0].Body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if auth := got[0].Header.Get("Authorization"); auth != tt.key {
				t.Errorf("authorization %q, want %q", auth, tt.key)
			}
		})
	}
}

func TestReasoningCountsAsWork(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t, behave(providertest.Reasons)...)
	silent, text := 0, ""
	_, err := open(t, s.URL, Config{}).Generate(t.Context(), providertest.Request(), func(p provider.Piece) error {
		if text += p.Text; text == "" {
			silent++
		}
		return nil
	})
	if err != nil || silent != 2 || text != "Refunds take 五 days." {
		t.Errorf("%v, %d pieces without text, then %q; want 2 and the whole text", err, silent, text)
	}
}

func TestDisconnectEndsTheProvidersWork(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t, behave(providertest.Endless)...)
	ctx, cancel := context.WithCancel(t.Context())
	pieces := int64(0)
	_, err := open(t, s.URL, Config{}).Generate(ctx, providertest.Request(), func(provider.Piece) error {
		if pieces++; pieces == 100 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Generate error = %v, want the context's", err)
	}
	<-s.Ended()
	// What was under way in the buffers of two sockets is made; what would be made by a server nobody told is not.
	if made := s.Made(); made < pieces || made > 200_000 {
		t.Errorf("the provider made %d tokens for %d that were taken", made, pieces)
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

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name, header, value string
		want                time.Duration
	}{
		{"seconds", "Retry-After", "7", 7 * time.Second},
		{"a fraction", "Retry-After", "0.5", 500 * time.Millisecond},
		{"milliseconds", "Retry-After-Ms", "250", 250 * time.Millisecond},
		{"a date", "Retry-After", "Fri, 02 Jan 2026 03:04:35 GMT", 30 * time.Second},
		{"a date gone by", "Retry-After", "Fri, 02 Jan 2026 03:00:00 GMT", 0},
		{"a year", "Retry-After", "31536000", time.Hour},
		{"a negative number", "Retry-After", "-5", 0},
		{"nothing", "X", "7", 0},
	} {
		h := http.Header{}
		h.Set(tt.header, tt.value)
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
