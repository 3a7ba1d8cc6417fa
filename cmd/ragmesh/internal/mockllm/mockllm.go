// Package mockllm is a server that speaks OpenAI's chat completions as real ones do on the wire, for measurements: how it
// behaves rides in the model's name (mock-ttft50-itl5-len64-fail0.01), so one server plays many models and whoever calls it
// needs no second channel.
//
// An answer consists of words of the prompt, so that what checks citations has something to find, with a marker [1] or [2]
// at the end of every sentence. Chance is seeded: the n-th request meets the same fate in every run.
package mockllm

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/ragmesh/ragmesh/libs/text"
)

const (
	// maxBody bounds a request.
	maxBody = 8 << 20
	// sentence is how many tokens a sentence of an answer has, its marker included.
	sentence = 16
)

// Server is the mock. It answers POST /v1/chat/completions and GET /v1/models.
type Server struct {
	mux      *http.ServeMux
	seed     uint64
	requests atomic.Uint64
	failed   atomic.Uint64
	tokens   atomic.Uint64
	active   atomic.Int64
	prompts  atomic.Uint64
	answers  atomic.Uint64
}

// New returns a server whose chance begins at seed.
func New(seed uint64) *Server {
	s := &Server{mux: http.NewServeMux(), seed: seed}
	s.mux.HandleFunc("POST /v1/chat/completions", s.complete)
	s.mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]any{"id": prefix, "object": "model", "owned_by": "ragmesh"}}})
	})
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Counts is what a server has done so far.
type Counts struct {
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	Tokens   uint64 `json:"tokens"` // produced, whether or not they were read
	// Active is how many answers are being given now.
	Active int64 `json:"active"`
	// PromptTokens and CompletionTokens are those of answers that came to their end: what a bill would say.
	PromptTokens     uint64 `json:"prompt_tokens"`
	CompletionTokens uint64 `json:"completion_tokens"`
}

// Counts returns what the server has done so far.
func (s *Server) Counts() Counts {
	return Counts{
		Requests: s.requests.Load(), Failed: s.failed.Load(), Tokens: s.tokens.Load(), Active: s.active.Load(),
		PromptTokens: s.prompts.Load(), CompletionTokens: s.answers.Load(),
	}
}

// request is what we read of a request.
type request struct {
	Model    string `json:"model"`
	Messages []struct {
		Content content `json:"content"`
	} `json:"messages"`
	Stream        bool `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           int `json:"max_tokens"`
	MaxCompletionTokens int `json:"max_completion_tokens"`
}

// content is a message's text: a string, or parts of which the text ones count.
type content string

// UnmarshalJSON reads either form.
func (c *content) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*c = content(s)
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(p.Text)
	}
	*c = content(all.String())
	return nil
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request) {
	n := s.requests.Add(1)
	s.active.Add(1)
	defer s.active.Add(-1)
	begin := time.Now()
	var req request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
		s.refuse(w, http.StatusBadRequest, "invalid_request_error", "the body is not a chat completion request: "+err.Error())
		return
	}
	behaviour, err := Parse(req.Model)
	if err != nil {
		s.refuse(w, http.StatusNotFound, "model_not_found", err.Error())
		return
	}
	chance := rand.New(rand.NewPCG(s.seed, n)) //nolint:gosec // repeatable on purpose
	if chance.Float64() < behaviour.Failures {
		s.refuse(w, http.StatusServiceUnavailable, "server_error", "failing as the model's name asks")
		return
	}
	a := newAnswer(req, behaviour, chance)
	a.id, a.model, a.created = fmt.Sprintf("chatcmpl-%d", n), req.Model, begin.Unix()
	if req.Stream {
		s.stream(w, r, a, begin, req.StreamOptions.IncludeUsage)
		return
	}
	for i := range a.tokens {
		if !sleepUntil(r.Context(), begin.Add(behaviour.due(i))) {
			return
		}
		s.tokens.Add(1)
	}
	s.bill(a)
	writeJSON(w, http.StatusOK, a.whole())
}

// bill counts an answer that has come to its end.
func (s *Server) bill(a *answer) {
	s.prompts.Add(uint64(a.prompt))
	s.answers.Add(uint64(len(a.tokens)))
}

// due is when token i leaves, from the request on. Counted from the beginning, so that late tokens do not make later ones late.
func (b Behaviour) due(i int) time.Duration { return b.FirstToken + time.Duration(i)*b.Interval }

func (s *Server) refuse(w http.ResponseWriter, status int, kind, message string) {
	s.failed.Add(1)
	writeJSON(w, status, map[string]any{"error": map[string]any{"message": message, "type": kind, "code": kind, "param": nil}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// answer is what a request gets.
type answer struct {
	behaviour Behaviour
	id, model string
	created   int64
	prompt    int // tokens, estimated
	tokens    []string
	finish    string
}

func newAnswer(req request, b Behaviour, chance *rand.Rand) *answer {
	a := &answer{behaviour: b, finish: "stop"}
	longest := ""
	for _, m := range req.Messages {
		a.prompt += text.EstimateTokens(string(m.Content))
		if len(m.Content) > len(longest) {
			longest = string(m.Content)
		}
	}
	length := b.Length
	for _, most := range [2]int{req.MaxTokens, req.MaxCompletionTokens} {
		if most > 0 && most < length {
			length, a.finish = most, "length"
		}
	}
	a.tokens = compose(words(longest), length, chance)
	return a
}

// words are those of a prompt, without its markup.
func words(prompt string) []string {
	all := strings.FieldsFunc(prompt, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(all) == 0 {
		return []string{"nothing"}
	}
	return all
}

// compose makes an answer of n tokens: words that follow each other in the prompt, in sentences with a marker.
func compose(words []string, n int, chance *rand.Rand) []string {
	tokens := make([]string, 0, n)
	at := 0
	for i := range n {
		switch place := i % sentence; {
		case place == sentence-1 || i == n-1:
			tokens = append(tokens, fmt.Sprintf(" [%d].", 1+chance.IntN(2)))
			continue
		case place == 0:
			at = chance.IntN(len(words))
		}
		tokens = append(tokens, " "+words[at%len(words)])
		at++
	}
	tokens[0] = strings.TrimPrefix(tokens[0], " ")
	return tokens
}
