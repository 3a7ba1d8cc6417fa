// Package openaitest is a server that speaks OpenAI's streaming chat completions as real ones do on the wire, and fails as
// they fail. For tests only.
package openaitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Step is a part of what the server does with a request. It says false to end the response there.
type Step func(w *Writer) bool

// Writer is a response under way.
type Writer struct {
	http.ResponseWriter
	request *http.Request
	server  *Server
}

// Flush sends what was written.
func (w *Writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Request is what the server was asked.
type Request struct {
	Header http.Header
	Body   map[string]any
}

// Server answers every request with its steps.
type Server struct {
	// URL is the base address, with /v1.
	URL string

	made     atomic.Int64
	ended    chan struct{} // one for each request that ended
	mu       sync.Mutex
	requests []Request
}

// Made is how many tokens the server was made to produce.
func (s *Server) Made() int64 { return s.made.Load() }

// Ended returns a channel that gets one value for each request the server is done with.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Requests returns what the server was asked so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Serve starts a server that ends with the test.
func Serve(tb testing.TB, steps ...Step) *Server {
	tb.Helper()
	s := &Server{ended: make(chan struct{}, 64)}
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() { s.ended <- struct{}{} }()
		var body map[string]any
		raw, _ := io.ReadAll(io.LimitReader(r.Body, 8<<20))
		if err := json.Unmarshal(raw, &body); err != nil {
			http.Error(rw, `{"error":{"message":"not JSON"}}`, http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, Request{Header: r.Header.Clone(), Body: body})
		s.mu.Unlock()
		if r.URL.Path != "/v1/chat/completions" {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		w := &Writer{ResponseWriter: rw, request: r, server: s}
		for _, step := range steps {
			if !step(w) {
				return
			}
		}
	}))
	tb.Cleanup(h.Close)
	s.URL = h.URL + "/v1"
	return s
}

func event(fields string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",` + fields + "}\n\n"
}

// Delta is the event of one delta.
func Delta(fields string) string {
	return event(`"choices":[{"index":0,"delta":{` + fields + `},"logprobs":null,"finish_reason":null}],"usage":null`)
}

// Raw sends bytes as they are.
func Raw(s string) Step {
	return func(w *Writer) bool {
		_, err := io.WriteString(w, s)
		w.Flush()
		return err == nil
	}
}

// Open sends the event every stream begins with: a role and no text.
func Open() Step { return Raw(Delta(`"role":"assistant","content":"","refusal":null`)) }

// Text sends text as one token.
func Text(s string) Step {
	return func(w *Writer) bool {
		w.server.made.Add(1)
		return Raw(Delta(`"content":` + quote(s)))(w)
	}
}

// Reasoning sends a token of reasoning in the named field.
func Reasoning(field, s string) Step { return Raw(Delta(`"` + field + `":` + quote(s))) }

// Finish sends the event with the finish reason.
func Finish(reason string) Step {
	return Raw(event(`"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}],"usage":null`))
}

// Usage sends the event with the token counts.
func Usage(prompt, completion int) Step {
	return Raw(event(fmt.Sprintf(`"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`,
		prompt, completion, prompt+completion)))
}

// Done sends the end of the stream.
func Done() Step { return Raw("data: [DONE]\n\n") }

// Bytewise sends the events of text in writes of one byte, so that every token is split over reads.
func Bytewise(text string) Step {
	return func(w *Writer) bool {
		for _, b := range []byte(Delta(`"content":` + quote(text))) {
			if !Raw(string([]byte{b}))(w) {
				return false
			}
		}
		return true
	}
}

// Stall sends nothing more until the client goes away.
func Stall() Step {
	return func(w *Writer) bool {
		w.Flush()
		<-w.request.Context().Done()
		return false
	}
}

// Endless sends tokens, as fast as the client reads, until it goes away.
func Endless(s string) Step {
	return func(w *Writer) bool {
		token := Text(s)
		for w.request.Context().Err() == nil && token(w) {
		}
		return false
	}
}

// Cut breaks the connection.
func Cut() Step {
	return func(*Writer) bool { panic(http.ErrAbortHandler) }
}

// Status answers with a status and a body instead of a stream.
func Status(code int, header map[string]string, body string) Step {
	return func(w *Writer) bool {
		w.Header().Set("Content-Type", "application/json")
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		return false
	}
}

func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return strings.ToValidUTF8(s, "?")
	}
	return string(raw)
}
