package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
)

// reply sends an answer to the caller.
type reply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stream  bool
	id      string
	begun   bool
}

// begin implements output.
func (r *reply) begin(about head, size int) error {
	r.begun = true
	h := r.w.Header()
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if r.id != "" {
		h["X-Request-Id"] = []string{r.id}
	}
	h["X-Ragmesh-Target"] = []string{about.Target}
	if about.Rung > 0 {
		h["X-Ragmesh-Rung"] = []string{strconv.Itoa(about.Rung)}
		h["X-Ragmesh-Degraded"] = []string{about.Skipped}
	}
	if about.cached {
		h["X-Ragmesh-Cached"] = []string{"true"}
	}
	if r.stream {
		h["Content-Type"] = []string{"text/event-stream; charset=utf-8"}
		h["Cache-Control"] = []string{"no-cache, no-store"}
		h["X-Accel-Buffering"] = []string{"no"} // nginx would hold the stream back
	} else {
		h["Content-Type"] = []string{"application/json"}
		if size >= 0 {
			h["Content-Length"] = []string{strconv.Itoa(size)}
		}
	}
	r.w.WriteHeader(http.StatusOK)
	r.control = http.NewResponseController(r.w)
	return nil
}

// data implements output. The last bytes leave with the end of the response.
func (r *reply) data(p []byte, last bool) error {
	if _, err := r.w.Write(p); err != nil {
		return gone(err)
	}
	if last || !r.stream {
		return nil
	}
	if err := r.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return gone(err)
	}
	return nil
}

// gone is the fault of a caller that does not listen any more.
func gone(err error) error {
	return fault.Wrap(err, fault.Canceled, fault.ReasonCanceled, "the client went away")
}

// fail tells the caller of a stream that has begun that it will not come to its end.
func (r *reply) fail(err error) {
	if !r.stream {
		panic(http.ErrAbortHandler) // a whole answer comes in one piece, of which only writing can fail
	}
	_, body := refusal.Of(err)
	if data, err := json.Marshal(body); err == nil {
		_ = r.data([]byte("data: "+string(data)+"\n\n"), true) // the caller may have gone
	}
}
