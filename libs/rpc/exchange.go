package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// maxWaiting is how many bytes of an answer may wait for the client until the handler does.
const maxWaiting = 64 << 10

var (
	errAborted = errors.New("the handler gave up")
	errLeft    = errors.New("the answer was closed")
	// errUnheard is what handlers get, for whom the client's end is a context's.
	errUnheard = fmt.Errorf("nobody listens any more: %w", context.Canceled)
)

// exchange is a call without a connection: the handler's [http.ResponseWriter], and the body of the client's response. As over a
// network, the client is woken for what is flushed, for as much as may wait, and for the end.
type exchange struct {
	request *http.Request // the handler's
	end     context.CancelFunc
	header  http.Header   // the handler's
	head    http.Response // made of it when the handler begins to write

	begun chan struct{} // closed when there is an answer, or none will come

	mu       sync.Mutex
	changed  *sync.Cond
	response *http.Response // set when begun
	waiting  bytes.Buffer
	after    error // what the client gets after that: io.EOF, or why there is no more
}

var (
	_ http.Flusher  = (*exchange)(nil)
	_ io.ReadCloser = (*exchange)(nil)
)

// newExchange makes the request that a handler would get over a network: nothing of the client's context, and a copy of its headers.
func newExchange(r *http.Request) *exchange {
	ctx, end := context.WithCancel(context.Background())
	x := &exchange{end: end, header: http.Header{}, begun: make(chan struct{})}
	x.changed = sync.NewCond(&x.mu)
	x.request = (&http.Request{
		Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header.Clone(), Body: r.Body, ContentLength: r.ContentLength,
		Proto: "HTTP/2.0", ProtoMajor: 2, RemoteAddr: localAddr,
	}).WithContext(ctx)
	return x
}

// handle has a handler answer.
func (x *exchange) handle(handler http.HandlerFunc, log zerolog.Logger) {
	defer x.end()
	defer x.request.Body.Close() // what the client still sends is for nobody
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p != http.ErrAbortHandler { //nolint:errorlint,err113 // a panic value, compared as net/http does
			log.Error().Str("path", x.request.URL.Path).Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("handler panicked")
		}
		x.fail(errAborted)
	}()
	handler(x, x.request)
	x.finish()
}

// Header implements [http.ResponseWriter].
func (x *exchange) Header() http.Header { return x.header }

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	if x.head.StatusCode != 0 || status < http.StatusOK {
		return
	}
	x.head = http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: make(http.Header, len(x.header)), Body: x, ContentLength: -1, Trailer: http.Header{},
	}
	for name, values := range x.header {
		switch {
		case name == "Trailer":
			for _, list := range values {
				for name := range strings.SplitSeq(list, ",") {
					x.head.Trailer[http.CanonicalHeaderKey(strings.TrimSpace(name))] = nil // to come
				}
			}
		case !strings.HasPrefix(name, http.TrailerPrefix):
			x.head.Header[name] = slices.Clone(values)
		}
	}
}

// Write implements [http.ResponseWriter].
func (x *exchange) Write(p []byte) (n int, err error) {
	x.WriteHeader(http.StatusOK)
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(p) > 0 && x.after == nil {
		part := p[:min(len(p), maxWaiting-x.waiting.Len())]
		if len(part) == 0 {
			x.begin()
			x.changed.Wait()
			continue
		}
		_, _ = x.waiting.Write(part) // of a buffer, which takes everything
		n, p = n+len(part), p[len(part):]
	}
	if len(p) > 0 {
		return n, errUnheard
	}
	return n, nil
}

// Flush implements [http.Flusher].
func (x *exchange) Flush() {
	x.WriteHeader(http.StatusOK)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.after == nil {
		x.begin()
	}
}

// begin shows the client what there is.
func (x *exchange) begin() {
	if x.response == nil {
		x.response = &x.head
		close(x.begun)
	}
	x.changed.Broadcast()
}

// finish ends the answer.
func (x *exchange) finish() {
	x.WriteHeader(http.StatusOK)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.after != nil {
		return
	}
	for name, values := range x.header {
		bare, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if _, declared := x.head.Trailer[name]; declared || prefixed {
			x.head.Trailer[http.CanonicalHeaderKey(bare)] = values
		}
	}
	x.after = io.EOF
	x.begin()
}

// fail breaks the exchange off, for both sides. After the answer's end it does nothing.
func (x *exchange) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.after != nil {
		return
	}
	x.after = err
	x.waiting.Reset()
	if x.response == nil {
		close(x.begun)
	}
	x.changed.Broadcast()
	x.end()
	_ = x.request.Body.Close() // wakes a handler that reads
}

// result is what the client's call returns, once it has begun.
func (x *exchange) result() (*http.Response, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.response == nil {
		return nil, x.after
	}
	return x.response, nil
}

// Read implements [io.Reader] for the client.
func (x *exchange) Read(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.waiting.Len() == 0 && x.after == nil {
		x.changed.Wait()
	}
	if x.waiting.Len() == 0 {
		return 0, x.after
	}
	x.changed.Broadcast()
	return x.waiting.Read(p) //nolint:wrapcheck // none comes
}

// Close implements [io.Closer] for the client.
func (x *exchange) Close() error {
	x.fail(errLeft)
	return nil
}
