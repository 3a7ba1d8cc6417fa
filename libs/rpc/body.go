package rpc

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// limitBody bounds the time a request's body may take to come, so that a client that sends a byte now and then does not hold
// a place for ever. net/http's own ReadTimeout would go on while the answer streams.
func limitBody(w http.ResponseWriter, r *http.Request, limit time.Duration) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(limit)) != nil {
		return // a writer without deadlines, as in some tests
	}
	lift := sync.OnceFunc(func() { _ = control.SetReadDeadline(time.Time{}) }) // the connection may be gone
	r.Body = &timedBody{ReadCloser: r.Body, left: r.ContentLength, lift: lift}
}

// timedBody lifts the deadline when the body has come. One that fails stays failed, and its deadline past: whoever reads on, to
// throw away what is left, would wait for it without end.
type timedBody struct {
	io.ReadCloser
	left int64 // what is still to come; negative when unknown
	lift func()
	err  error
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	known := b.left >= 0
	b.left -= int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	case err != nil, known && b.left <= 0:
		b.lift()
		b.left = 0
	}
	return n, err
}
