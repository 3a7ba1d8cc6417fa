// Package wiretest is a provider's server that says, byte by byte, what a test has it say, and fails as real ones fail on the
// wire. What the bytes mean is the business of the packages for each format. For tests only.
package wiretest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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
	// Path is the address with its query.
	Path   string
	Header http.Header
	Body   map[string]any
}

// Server answers every request with its steps.
type Server struct {
	// URL is the address, without any path.
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

// Serve starts a server that ends with the test. Its path is the only one that it knows; empty for any.
func Serve(tb testing.TB, path, contentType string, steps ...Step) *Server {
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
		s.requests = append(s.requests, Request{Path: r.URL.RequestURI(), Header: r.Header.Clone(), Body: body})
		s.mu.Unlock()
		if path != "" && r.URL.Path != path {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", contentType)
		w := &Writer{ResponseWriter: rw, request: r, server: s}
		for _, step := range steps {
			if !step(w) {
				return
			}
		}
	}))
	tb.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// PerRequest does each step for one request, the last for all that follow.
func PerRequest(steps ...Step) Step {
	var asked atomic.Int64
	return func(w *Writer) bool {
		return steps[min(int(asked.Add(1)), len(steps))-1](w)
	}
}

// Raw sends bytes as they are.
func Raw(s string) Step {
	return func(w *Writer) bool {
		_, err := io.WriteString(w, s)
		w.Flush()
		return err == nil
	}
}

// Token sends bytes that cost the provider a token.
func Token(s string) Step {
	return func(w *Writer) bool {
		w.server.made.Add(1)
		return Raw(s)(w)
	}
}

// Bytewise sends bytes in writes of one each, so that everything is split over reads.
func Bytewise(s string) Step {
	return func(w *Writer) bool {
		for i := range len(s) {
			if !Raw(s[i : i+1])(w) {
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

// Wait sends nothing at all, not even headers, until the client goes away.
func Wait() Step {
	return func(w *Writer) bool {
		<-w.request.Context().Done()
		return false
	}
}

// Endless sends a token, as fast as the client reads, until it goes away.
func Endless(s string) Step {
	return func(w *Writer) bool {
		token := Token(s)
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
