package openai

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/exchange"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/provider"
)

// serving answers every request with reply, after looking at what was asked.
func serving(t *testing.T, cfg Config, reply func(w http.ResponseWriter, path string, body map[string]any)) *Provider {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var body map[string]any
		if err != nil || json.Unmarshal(raw, &body) != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		reply(w, r.URL.Path, body)
	}))
	t.Cleanup(s.Close)
	cfg.BaseURL, cfg.MaxConnections = s.URL+"/v1", 4
	p, err := New(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func inBase64(v ...float32) string {
	var raw []byte
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func TestEmbedReadsWhatServersSend(t *testing.T) {
	t.Parallel()
	want := [][]float32{{1, 2}, {3, 4}}
	for name, test := range map[string]struct {
		answer string
		want   [][]float32
		usage  provider.Usage
	}{
		"numbers": {
			`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,2]},{"index":1,"embedding":[3,4]}],"usage":{"prompt_tokens":7,"total_tokens":7}}`,
			want, provider.Usage{Prompt: 7},
		},
		"base64, out of order": {
			fmt.Sprintf(`{"data":[{"index":1,"embedding":%q},{"index":0,"embedding":%q}],"usage":{"prompt_tokens":7}}`, inBase64(3, 4), inBase64(1, 2)),
			want, provider.Usage{Prompt: 7},
		},
		"no index, no usage":           {`{"data":[{"embedding":[1,2]},{"embedding":[3,4]}]}`, want, provider.Usage{Prompt: 2, Estimated: true}},
		"too few":                      {`{"data":[{"index":0,"embedding":[1,2]}]}`, nil, provider.Usage{}},
		"one place twice":              {`{"data":[{"index":0,"embedding":[1,2]},{"index":0,"embedding":[3,4]}]}`, nil, provider.Usage{}},
		"a place that is none":         {`{"data":[{"index":0,"embedding":[1,2]},{"index":2,"embedding":[3,4]}]}`, nil, provider.Usage{}},
		"different dimensions":         {`{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[3]}]}`, nil, provider.Usage{}},
		"a vector of length 0":         {`{"data":[{"index":0,"embedding":[0,0]},{"index":1,"embedding":[3,4]}]}`, nil, provider.Usage{}},
		"half a float":                 {`{"data":[{"index":0,"embedding":"AAAA"},{"index":1,"embedding":"AAAA"}]}`, nil, provider.Usage{}},
		"an error with status 200":     {`{"error":{"message":"no","type":"server_error"}}`, nil, provider.Usage{}},
		"no JSON":                      {`<html>`, nil, provider.Usage{}},
		"a number that is none at all": {fmt.Sprintf(`{"data":[{"embedding":%q},{"embedding":[1]}]}`, inBase64(float32(math.NaN()))), nil, provider.Usage{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serving(t, Config{}, func(w http.ResponseWriter, path string, body map[string]any) {
				wanted := map[string]any{"model": "m", "input": []any{"a", "b"}, "encoding_format": "base64", "dimensions": 2.0}
				if diff := cmp.Diff(wanted, body); diff != "" || path != "/v1/embeddings" {
					t.Errorf("%s is asked (-want +got):\n%s", path, diff)
				}
				_, _ = io.WriteString(w, test.answer)
			})
			got, err := p.Embed(t.Context(), provider.EmbedRequest{Model: "m", Texts: []string{"a", "b"}, Dimensions: 2})
			if test.want == nil {
				if fault.KindOf(err) != fault.Unavailable || err == nil {
					t.Errorf("%v, want a failure of the provider's", err)
				}
				return
			}
			if diff := cmp.Diff(provider.Embedded{Vectors: test.want, Usage: test.usage}, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRefusalsOfEmbeddingsAreTyped(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]fault.Kind{429: fault.Exhausted, 401: fault.Precondition, 400: fault.Precondition, 503: fault.Unavailable} {
		p := serving(t, Config{}, func(w http.ResponseWriter, _ string, _ map[string]any) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		})
		_, err := p.Embed(t.Context(), provider.EmbedRequest{Model: "m", Texts: []string{"a"}})
		if err == nil || fault.KindOf(err) != want {
			t.Errorf("status %d: %v", status, err)
		}
		if retry := fault.As(err).RetryAfter; want != fault.Precondition && retry != 7*time.Second {
			t.Errorf("status %d: to be retried after %v", status, retry)
		}
	}
}

func TestEndingACallReachesTheProvider(t *testing.T) {
	t.Parallel()
	asked, gone := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(asked)
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(s.Close)
	p, err := New(Config{BaseURL: s.URL}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := p.Embed(ctx, provider.EmbedRequest{Model: "m", Texts: []string{"a"}}); err == nil || fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v, want canceled", err)
	}
	<-gone
}

func TestRerankSpeaksThreeFormats(t *testing.T) {
	t.Parallel()
	documents := map[string]any{"model": "m", "query": "q", "documents": []any{"a", "b"}, "top_n": 2.0}
	for name, test := range map[string]struct {
		format RerankFormat
		asked  map[string]any
		answer string
		tokens int
	}{
		"cohere": {Cohere, documents, `{"id":"x","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}],"meta":{"tokens":{"input_tokens":12}}}`, 12},
		"jina":   {Jina, documents, `{"model":"m","usage":{"total_tokens":15},"results":[{"index":1,"relevance_score":0.9,"document":{"text":"b"}},{"index":0,"relevance_score":0.1}]}`, 15},
		"tei":    {TEI, map[string]any{"query": "q", "texts": []any{"a", "b"}, "truncate": true}, `[{"index":1,"score":0.9},{"index":0,"score":0.1}]`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serving(t, Config{Rerank: test.format}, func(w http.ResponseWriter, path string, body map[string]any) {
				if diff := cmp.Diff(test.asked, body); diff != "" || path != "/v1/rerank" {
					t.Errorf("%s is asked (-want +got):\n%s", path, diff)
				}
				_, _ = io.WriteString(w, test.answer)
			})
			got, err := p.Rerank(t.Context(), provider.RerankRequest{Model: "m", Query: "q", Texts: []string{"a", "b"}})
			if diff := cmp.Diff([]float64{.1, .9}, got.Scores); diff != "" || err != nil || got.Usage.Prompt != test.tokens {
				t.Errorf("%+v, %v (-want +got):\n%s", got, err, diff)
			}
		})
	}
}

func TestRerankRefusesBadScores(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		`{"results":[{"index":0,"relevance_score":1}]}`, `{"results":[{"index":0,"relevance_score":1},{"index":0,"relevance_score":1}]}`,
		`{"results":[{"index":0,"relevance_score":1},{"index":5,"relevance_score":1}]}`, `{"results":[{"index":0},{"index":1}]}`, `[]`,
	} {
		p := serving(t, Config{Rerank: Jina}, func(w http.ResponseWriter, _ string, _ map[string]any) { _, _ = io.WriteString(w, answer) })
		if got, err := p.Rerank(t.Context(), provider.RerankRequest{Model: "m", Query: "q", Texts: []string{"a", "b"}}); err == nil {
			t.Errorf("%s gives %v", answer, got)
		}
	}
}

func FuzzEmbedding(f *testing.F) {
	f.Add([]byte(`[1,2,3]`))
	f.Add([]byte(`"` + inBase64(1, 2) + `"`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a embedAnswer
		if json.Unmarshal(append(append([]byte(`{"data":[{"embedding":`), b...), `}]}`...), &a) == nil && len(a.Data) == 1 {
			vectors := [][]float32{a.Data[0].Embedding}
			if got, err := exchange.Vectors(provider.EmbedRequest{Texts: []string{"a"}}, vectors, 1); err == nil && len(got.Vectors[0]) == 0 {
				t.Error("an empty vector is sound")
			}
		}
	})
}
