package api_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
)

// shelf is a store of answers in memory.
type shelf struct{ sync.Map }

func (s *shelf) Get(_ context.Context, workspace, key string) ([]byte, error) {
	if b, ok := s.Load(workspace + key); ok {
		return b.([]byte), nil
	}
	return nil, nil
}

func (s *shelf) Put(_ context.Context, workspace, key string, value []byte) error {
	s.Store(workspace+key, value)
	return nil
}

func (s *shelf) Forget(context.Context, string) error { return nil }
func (w *world) CacheAsked(string)                    {}
func (w *world) CacheFailed(string)                   {}

// What was asked before is answered as it was then, byte by byte, and no provider hears of it.
func TestKeptAnswers(t *testing.T) {
	s, p := answering(t)
	w := open(t, map[string][]route.Target{"gpt": {target("a", p)}})
	w.serving.Cache = cache.New(cache.Options{Age: time.Hour, Bytes: 1 << 20}, cache.Deps{Store: &shelf{}, Meter: w, Clock: time.Now})
	w.handler.Use(w.serving)
	ask := func(body string, header ...string) (string, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+secret)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return text(t, resp), resp.Header.Get("X-Ragmesh-Cached")
	}
	first, cached := ask(streamed, "X-Ragmesh-Cache", "on")
	if cached != "" || !strings.Contains(first, "days.") {
		t.Errorf("the first answer: %q %s", cached, first)
	}
	for name, test := range map[string]struct {
		body, header, value, cached string
		asked                       int
	}{
		"the same":                 {streamed, "X-Ragmesh-Cache", "on", "true", 0},
		"the same, read only":      {streamed, "X-Ragmesh-Cache", "read-only", "true", 0},
		"without the cache":        {streamed, "X-Ragmesh-Cache", "off", "", 1},
		"by the route":             {streamed, "X-Other", "on", "", 1},
		"made again":               {streamed, "X-Ragmesh-Cache", "refresh", "", 1},
		"something else":           {strings.Replace(streamed, "long", "far", 1), "X-Ragmesh-Cache", "on", "", 1},
		"with usage, not the same": {strings.Replace(streamed, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1), "X-Ragmesh-Cache", "on", "", 1},
	} {
		before := len(s.Requests())
		got, cached := ask(test.body, test.header, test.value)
		if asked := len(s.Requests()) - before; cached != test.cached || asked != test.asked || test.cached != "" && got != first {
			t.Errorf("%s: cached %q after %d requests: %s", name, cached, asked, got)
		}
	}
	asked := len(s.Requests())
	if got, cached := ask(streamed, "X-Ragmesh-Cache", "on", "Cache-Control", "max-age=60, Only-If-Cached"); cached != "true" || got != first {
		t.Errorf("only if it is kept, and it is: cached %q: %s", cached, got)
	}
	other := strings.Replace(streamed, "long", "wide", 1)
	for name, test := range map[string][]string{
		"what nobody has asked": {other, "X-Ragmesh-Cache", "read-only", "Cache-Control", "only-if-cached"},
		"a route without it":    {streamed, "Cache-Control", "only-if-cached"},
		"made again":            {streamed, "X-Ragmesh-Cache", "refresh", "Cache-Control", "only-if-cached"},
		"not from there":        {streamed, "X-Ragmesh-Cache", "on", "Cache-Control", "no-cache, only-if-cached"},
		"neither read nor kept": {streamed, "X-Ragmesh-Cache", "on", "Cache-Control", "only-if-cached, no-store"},
	} {
		if got, cached := ask(test[0], test[1:]...); !strings.Contains(got, `"not_cached"`) || cached != "" {
			t.Errorf("only if it is kept: %s: %s", name, got)
		}
	}
	if n := len(s.Requests()) - asked; n != 0 {
		t.Errorf("the provider was asked %d times for what only the cache should say", n)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/embeddings", strings.NewReader(`{"model":"small","input":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + secret}, "Cache-Control": {"only-if-cached"}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("vectors, which are not kept: %s, X-Should-Retry %q", resp.Status, resp.Header.Get("X-Should-Retry"))
	}
	if got, _ := ask(streamed, "X-Ragmesh-Cache", "perhaps"); !strings.Contains(got, "X-Ragmesh-Cache") {
		t.Errorf("a mode that is none: %s", got)
	}
}
