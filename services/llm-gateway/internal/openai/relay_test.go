package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/openai/openaitest"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider/providertest"
)

// relayed answers requests by relaying them, so that the conformance suite holds for what is handed on as for what is decoded.
type relayed struct {
	*Provider
	withUsage bool
}

func (r relayed) Generate(ctx context.Context, q provider.Request, emit func(provider.Piece) error) (provider.Result, error) {
	to := &reader{client: stream{Teller: exchange.NewTeller(q, emit)}}
	out, err := r.Relay(ctx, provider.RelayRequest{
		Model: q.Model, Stream: true, WithUsage: r.withUsage, Prompt: 9,
		Body: func(provider.Wire) []byte { return []byte(`{"model":"m","stream":true}`) },
	}, to)
	if err != nil {
		return out, err
	}
	if !to.last {
		err = errors.New("the answer has no last part")
	}
	if !strings.HasSuffix(to.raw.String(), "data: [DONE]\n\n") {
		err = fmt.Errorf("the answer ends with %q", to.raw.String())
	}
	if out.Usage.Estimated {
		out.Usage = provider.Usage{}
	}
	return to.client.Result(out.Finish, out.Usage, err)
}

// reader decodes what was handed on, as a client does.
type reader struct {
	client stream
	raw    strings.Builder
	seen   bool
	last   bool
	parts  int
}

func quiet() *reader {
	return &reader{client: stream{Teller: exchange.NewTeller(provider.Request{}, func(provider.Piece) error { return nil })}}
}

func (*reader) Alive() {}

func (r *reader) Data(p []byte, about provider.Part) error {
	r.raw.Write(p)
	r.parts++
	r.seen, r.last = r.seen || about.Seen, about.Last
	for line := range strings.Lines(string(p)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var c chunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return err
		}
		if len(c.Choices) > 0 && c.Choices[0].Delta.Content != "" && !about.Seen {
			return errors.New("text in a part without any")
		}
		if err := r.client.chunk(&c); err != nil {
			return err
		}
	}
	return r.client.Pause()
}

func TestRelayConformance(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	providertest.Run(t, openaitest.Format(), func(t *testing.T, url string) provider.Provider {
		t.Helper()
		return relayed{Provider: open(t, url+"/v1", Config{Key: config.Secret{Env: keyVariable}})}
	})
}

// What a provider sends goes to the caller as it is, but for the usage that nobody but us has asked for.
func TestRelayHandsOnBytes(t *testing.T) {
	t.Parallel()
	call := `{"id":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"error\":\"usage\"}"}}]},"finish_reason":null}],"usage":null}`
	kept := strings.Join([]string{
		`{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
		`{"id":"x","choices":[{"index":0,"delta":{"content":"one \"error\" of usage \\"},"finish_reason":null}]}`,
		`{"id":"x","choices":[{"index":0,"delta":{"content":"two"},"finish_reason":null}]}`,
		`{"id":"x","choices":[{"index":0,"delta":{"content":"finish_reason"},"finish_reason":null}], "new": [1, 2]}`,
		call,
		`{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
	}, "\n\ndata: ")
	usage := "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n"
	for name, newline := range map[string]string{"LF": "\n", "CRLF": "\r\n"} {
		for _, withUsage := range []bool{false, true} {
			want := "data: " + kept + "\n\n"
			if withUsage {
				want += usage
			}
			want += "data: [DONE]\n\n"
			sent := strings.ReplaceAll("data: "+kept+"\n\n"+usage+"data: [DONE]\n\n", "\n", newline)
			s := openaitest.Serve(t, openaitest.Raw(sent))
			to := quiet()
			out, err := open(t, s.URL, Config{}).Relay(t.Context(), provider.RelayRequest{
				Stream: true, WithUsage: withUsage, Body: func(provider.Wire) []byte { return []byte(`{}`) },
			}, to)
			if got := to.raw.String(); err != nil || got != strings.ReplaceAll(want, "\n", newline) {
				t.Errorf("%s, usage %t: %v\n%q, want\n%q", name, withUsage, err, got, want)
			}
			if want := (provider.Usage{Prompt: 12, Completion: 7, Cached: 5}); out.Usage != want || out.Finish != provider.Called {
				t.Errorf("%s, usage %t: %+v", name, withUsage, out)
			}
		}
	}
}

func TestRelayWholeAnswers(t *testing.T) {
	t.Parallel()
	whole := `{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Five days."},"finish_reason":"length"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`
	unmetered, _, _ := strings.Cut(whole, `,"usage"`)
	for name, test := range map[string]struct {
		body   string
		want   provider.Result
		reason fault.Reason
	}{
		"an answer":       {whole, provider.Result{Finish: provider.Length, Usage: provider.Usage{Prompt: 12, Completion: 3}}, 0},
		"a long one":      {strings.Replace(whole, "Five", strings.Repeat("Five", 50_000), 1), provider.Result{Finish: provider.Length, Usage: provider.Usage{Prompt: 12, Completion: 3}}, 0},
		"without usage":   {unmetered + "}", provider.Result{Finish: provider.Length, Usage: provider.Usage{Prompt: 9, Completion: 3, Estimated: true}}, 0},
		"an error":        {`{"error":{"message":"no","type":"rate_limit_error"}}`, provider.Result{}, fault.ProviderRateLimited},
		"no choices":      {`{"id":"x","choices":[]}`, provider.Result{}, fault.ProviderUnavailable},
		"half an answer":  {whole[:60], provider.Result{}, fault.ProviderUnavailable},
		"something else":  {`<html>`, provider.Result{}, fault.ProviderUnavailable},
		"nothing":         {``, provider.Result{}, fault.ProviderUnavailable},
		"null for choice": {`{"choices":[null]}`, provider.Result{}, fault.ProviderUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openaitest.Serve(t, openaitest.Status(200, nil, test.body))
			to := quiet()
			out, err := open(t, s.URL, Config{}).Relay(t.Context(), provider.RelayRequest{Prompt: 9, Body: func(provider.Wire) []byte { return []byte(`{}`) }}, to)
			if test.reason != 0 {
				if fault.ReasonOf(err) != test.reason || to.parts != 0 {
					t.Errorf("got %v after %d parts, want %v", err, to.parts, test.reason)
				}
				return
			}
			if err != nil || out != test.want || to.raw.String() != test.body || !to.seen || !to.last {
				t.Errorf("got %+v, %v, %q", out, err, to.raw.String())
			}
		})
	}
}

// A caller whose request a provider refuses is told why, and no more.
func TestRelayTellsWhatIsWrongWithARequest(t *testing.T) {
	t.Setenv(keyVariable, providertest.Key)
	s := openaitest.Serve(t, openaitest.Status(400, nil, `{"error":{"message":"Invalid tools[0], with `+providertest.Key+`"}}`))
	_, err := open(t, s.URL, Config{Key: config.Secret{Env: keyVariable}}).Relay(t.Context(), provider.RelayRequest{Body: func(provider.Wire) []byte { return []byte(`{}`) }}, quiet())
	if f := fault.As(err); f == nil || f.Reason != fault.ProviderRejected || !strings.HasSuffix(f.Message, "(status 400): Invalid tools[0], with [redacted]") {
		t.Errorf("got %v", err)
	}
}

// What a server is declared to ignore is never sent to it.
func TestRelayRefusesWhatWouldBeIgnored(t *testing.T) {
	t.Parallel()
	s := openaitest.Serve(t, openaitest.Status(500, nil, `{}`))
	p := open(t, s.URL, Config{WithoutTools: true, WithoutSchema: true})
	for says, r := range map[string]provider.RelayRequest{"without_tools": {Tools: true}, "without_schema": {Schema: true}} {
		r.Body = func(provider.Wire) []byte { return []byte(`{}`) }
		if _, err := p.Relay(t.Context(), r, quiet()); fault.ReasonOf(err) != fault.ProviderRejected || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

// FuzzRelay sends a relay what no provider should send. Whatever comes is handed on whole or refused, and never hangs.
func FuzzRelay(f *testing.F) {
	f.Add("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n", 3)
	f.Add("event: error\ndata: {\"message\":\"x\"}\r\n\r\n: hm\n\n", 100)
	f.Fuzz(func(t *testing.T, body string, step int) {
		to := quiet()
		s := &relay{answer: &exchange.Answer{}, to: to, buf: make([]byte, 32)}
		done := time.AfterFunc(10*time.Second, func() { panic("a relay hangs") })
		defer done.Stop()
		err := s.stream(&steps{rest: body, step: max(1, step)})
		if err == nil && !to.last {
			t.Errorf("%q ended without its last part", body)
		}
		_ = s.result()
	})
}

// steps reads a few bytes at a time.
type steps struct {
	rest string
	step int
}

func (s *steps) Read(p []byte) (int, error) {
	if s.rest == "" {
		return 0, errors.New("cut")
	}
	n := copy(p[:min(len(p), s.step)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func BenchmarkRelay(b *testing.B) {
	event := `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}` + "\n\n"
	body := strings.Repeat(event, 64) + "data: [DONE]\n\n"
	buf := make([]byte, relayBuffer)
	for b.Loop() {
		s := &relay{to: nowhere{}, buf: buf}
		if err := s.stream(strings.NewReader(body)); err != nil || s.events != 64 {
			b.Fatal(err, s.events)
		}
	}
}

type nowhere struct{}

func (nowhere) Alive()                           {}
func (nowhere) Data([]byte, provider.Part) error { return nil }
