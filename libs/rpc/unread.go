package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/telemetry"
)

// unread answers the requests that no interceptor sees, because Connect refuses them itself: those it can't decode, that are
// too large, for a procedure that is not there, or of a kind it doesn't know. They get our details like any other, a line
// in the log, and count.
type unread struct {
	next   http.Handler
	access *access
	errors *connect.ErrorWriter
	gather bool // messages of a stream that follow each other at once
}

// ServeHTTP implements [http.Handler].
func (u *unread) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	if u.gather {
		g := &gatherer{ResponseWriter: w}
		defer g.end()
		w = g
	}
	held := &heldWriter{ResponseWriter: w, header: slices.Sorted(headerNames(w.Header()))}
	r = r.WithContext(context.WithValue(r.Context(), heldKey{}, held))
	u.next.ServeHTTP(held, r)
	if held.entered {
		return
	}
	f, status := u.explain(held, r)
	if f == nil {
		held.release()
		return
	}
	held.forget()
	err := toConnect(f, telemetry.TraceID(r.Context()))
	procedure := r.URL.Path
	if f.Kind == fault.Unimplemented {
		procedure = "/unknown" // a caller's invention is no label
	}
	u.access.record(r.Context(), connect.Spec{Procedure: procedure}, connect.Peer{Protocol: protocolOf(r)}, &caller{}, time.Since(began), err)
	if protocolOf(r) == connect.ProtocolConnect && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/connect+") {
		w = &statusWriter{ResponseWriter: w, status: status} // these have it in HTTP's status
	}
	_ = u.errors.Write(w, r, err) // a client that has gone needs no answer
}

// explain says what was wrong with a request; nil when the answer is not an error of Connect's. status is HTTP's.
func (u *unread) explain(held *heldWriter, r *http.Request) (f *fault.Error, status int) {
	switch held.status {
	case http.StatusNotFound:
		return fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "there is no procedure %q; the contract names those there are", clip(r.URL.Path, 128)), held.status
	case http.StatusMethodNotAllowed:
		return fault.New(fault.Invalid, fault.InvalidRequest, "this procedure is not called with %s; use POST", clip(r.Method, 16)), held.status
	case http.StatusUnsupportedMediaType:
		return fault.New(fault.Invalid, fault.InvalidRequest,
			"the content type %q is not one that is read here; use application/json, application/proto, application/grpc or application/grpc-web", clip(r.Header.Get("Content-Type"), 64)), held.status
	}
	code, message, ok := held.failure()
	if !ok {
		return nil, 0
	}
	err := connect.NewError(code, errorText(message))
	if f = unreadable(err); f == nil {
		f = fromConnect(err)
	}
	return f, held.status
}

// unreadable returns the fault of a request that Connect could not take in; nil for any other error.
func unreadable(err error) *fault.Error {
	c, ok := errors.AsType[*connect.Error](err)
	if !ok || connect.IsWireError(c) {
		return nil
	}
	if _, ours := errors.AsType[*fault.Error](err); ours {
		return nil
	}
	if _, invalid := errors.AsType[*protovalidate.ValidationError](err); invalid {
		return nil
	}
	switch c.Code() {
	case connect.CodeResourceExhausted:
		return fault.Wrap(err, fault.Exhausted, fault.RequestTooLarge, "the request is too large (%s bytes); send less at once, and documents in parts", clip(c.Message(), maxMessage/2))
	case connect.CodeInvalidArgument:
		problem := strings.TrimPrefix(c.Message(), "unmarshal message: ")
		if what, rest, ok := strings.Cut(problem, ": "); ok && strings.HasPrefix(what, "unmarshal into ") { // a name of our code's
			problem = rest
		}
		return fault.Wrap(err, fault.Invalid, fault.InvalidRequest, "the request can't be read: %s", clip(problem, maxMessage/2))
	default:
		return nil
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }

func protocolOf(r *http.Request) string {
	switch contentType := r.Header.Get("Content-Type"); {
	case strings.HasPrefix(contentType, "application/grpc-web"):
		return connect.ProtocolGRPCWeb
	case strings.HasPrefix(contentType, "application/grpc"):
		return connect.ProtocolGRPC
	default:
		return connect.ProtocolConnect
	}
}

// statusWriter answers with a status of its own.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(int) { w.ResponseWriter.WriteHeader(w.status) }

// maxHeld bounds what is kept of an answer; Connect's own are short.
const maxHeld = 16 << 10

type heldKey struct{}

// enter says that an interceptor has the call, so that its answer goes out as it comes.
func enter(ctx context.Context) {
	if held, ok := ctx.Value(heldKey{}).(*heldWriter); ok {
		held.entered = true
	}
}

// heldWriter holds an answer back until an interceptor has the call. Handlers write from one goroutine.
type heldWriter struct {
	http.ResponseWriter
	header  []string // the names set before
	entered bool
	status  int
	body    bytes.Buffer
}

// WriteHeader implements [http.ResponseWriter].
func (w *heldWriter) WriteHeader(status int) {
	if w.entered {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status == 0 {
		w.status = status
	}
}

// Write implements [http.ResponseWriter].
func (w *heldWriter) Write(p []byte) (int, error) {
	if w.entered {
		return w.ResponseWriter.Write(p)
	}
	if w.body.Len()+len(p) > maxHeld {
		w.release() // not an error of Connect's
		return w.ResponseWriter.Write(p)
	}
	return w.body.Write(p)
}

// Flush implements [http.Flusher].
func (w *heldWriter) Flush() {
	if w.entered {
		_ = http.NewResponseController(w.ResponseWriter).Flush() // the connection may be gone
	}
}

// Unwrap is for [http.ResponseController].
func (w *heldWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// release lets go of what was held.
func (w *heldWriter) release() {
	w.entered = true
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if w.body.Len() > 0 {
		_, _ = w.ResponseWriter.Write(w.body.Bytes()) // the connection may be gone
	}
}

// forget drops the answer's headers, for another one. What a browser needs to be allowed to see it stays.
func (w *heldWriter) forget() {
	header := w.Header()
	for name := range header {
		if _, before := slices.BinarySearch(w.header, name); !before && name != "Allow" && name != "Accept-Post" {
			delete(header, name)
		}
	}
}

func headerNames(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

// failure reads Connect's answer: JSON in its own protocol, headers that become trailers in gRPC's.
func (w *heldWriter) failure() (code connect.Code, message string, ok bool) {
	for name, values := range w.Header() {
		switch name = strings.TrimPrefix(name, http.TrailerPrefix); {
		case len(values) == 0:
		case strings.EqualFold(name, "Grpc-Status"):
			n, err := strconv.ParseUint(values[0], 10, 8)
			code, ok = connect.Code(n), err == nil && n > 0
		case strings.EqualFold(name, "Grpc-Message"):
			message = unescape(values[0])
		}
	}
	if ok || w.status < http.StatusBadRequest {
		return code, message, ok
	}
	var wire struct {
		Code    connect.Code `json:"code"`
		Message string       `json:"message"`
	}
	if json.Unmarshal(w.body.Bytes(), &wire) != nil || wire.Code == 0 {
		return 0, "", false
	}
	return wire.Code, wire.Message, true
}

// unescape undoes gRPC's percent-encoding of messages. What isn't encoded right stays as it is.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(b))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
