// Package api serves OpenAI's HTTP API for other applications: POST /v1/chat/completions, POST /v1/embeddings and GET
// /v1/models, with keys from the configuration. A model is a route, with all that routes do: other targets when one fails,
// limits, budgets, the ledger. Where a target speaks OpenAI's format itself, request and answer are handed on as they are;
// for the others they are translated.
package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/refusal"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/account"
	answers "github.com/ragmesh/ragmesh/services/llm-gateway/internal/answer"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/cache"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/keys"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/route"
	"github.com/ragmesh/ragmesh/services/llm-gateway/internal/vector"
)

// Serving is what requests are answered with. It does not change; a configuration that does makes another one.
type Serving struct {
	Keys    *keys.Ring
	Routes  *route.Router
	Vectors *vector.Models
	// Book is who pays goes by; nil for nobody. Caching says how routes' answers are kept in Cache, which may be nil.
	Book    *account.Book
	Cache   *cache.Cache
	Caching map[string]answers.Caching
	// MaxTokens is what an answer is taken for at most whose request sets no bound.
	MaxTokens int
	// MaxBody bounds requests.
	MaxBody int64
}

// Meter measures requests.
type Meter interface {
	// Overhead is the time that a request spent here, without its provider's.
	Overhead(route string, took time.Duration)
}

// Deps are what a Handler works with. All fields are required.
type Deps struct {
	Meter Meter
	Clock func() time.Time
	// Caller is told who sends a request, Ended how it ended; both for the log.
	Caller func(ctx context.Context, workspace, key string)
	Ended  func(ctx context.Context, err error)
	// TraceID names a request.
	TraceID func(ctx context.Context) string
}

// Handler serves the API. A request ends with the Serving it began with. Safe for concurrent use.
type Handler struct {
	serving atomic.Pointer[Serving]
	deps    Deps
}

// New returns a Handler.
func New(s Serving, d Deps) *Handler {
	h := &Handler{deps: d}
	h.Use(s)
	return h
}

// Use answers from now on with s.
func (h *Handler) Use(s Serving) {
	if s.Book == nil {
		s.Book = account.Free()
	}
	h.serving.Store(&s)
}

// Routes are the handler's patterns, as [http.ServeMux] takes them.
func (h *Handler) Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /v1/chat/completions": h.admitted(h.chat),
		"POST /v1/embeddings":       h.admitted(h.embed),
		"GET /v1/models":            h.admitted(h.listModels),
		"GET /v1/models/{model...}": h.admitted(h.getModel),
		"/v1/":                      h.admitted(h.unknown),
	}
}

// request is a request that has been let in.
type request struct {
	*http.Request
	serving *Serving
	key     *keys.Key
	began   time.Time
}

// errAnswered is an error that the caller has been told of.
type errAnswered struct{ error }

func (e errAnswered) Unwrap() error { return e.error }

// admitted lets in who has a key.
func (h *Handler) admitted(next func(http.ResponseWriter, *request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := &request{Request: r, serving: h.serving.Load(), began: h.deps.Clock()}
		err := h.admit(in)
		if err == nil {
			err = next(w, in)
		}
		var told errAnswered
		switch {
		case err == nil:
		case errors.As(err, &told):
			err = told.error
		default:
			refusal.Write(w, err)
		}
		h.deps.Ended(r.Context(), err)
	}
}

// Knows says whether a request comes with a key.
func (h *Handler) Knows(r *http.Request) bool {
	_, err := h.serving.Load().Keys.Find(secretOf(r.Header))
	return err == nil
}

func (h *Handler) admit(r *request) (err error) {
	if r.key, err = r.serving.Keys.Find(secretOf(r.Header)); err == nil {
		h.deps.Caller(r.Context(), r.key.Workspace, r.key.Name)
	}
	return err
}

// secretOf returns the key that a request brings, in one of the ways in which clients send them.
func secretOf(h http.Header) string {
	for _, value := range h["Authorization"] {
		if scheme, secret, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "bearer") {
			return strings.TrimSpace(secret)
		}
	}
	return h.Get("Api-Key") // Azure's clients
}

// body reads a request's body.
func (r *request) body(w http.ResponseWriter) ([]byte, error) {
	limit := r.serving.MaxBody
	large := func() error {
		return fault.New(fault.Invalid, fault.RequestTooLarge, "The request is larger than the %d bytes that api.max_body of llm-gateway.yaml allows.", limit)
	}
	if r.ContentLength > limit {
		return nil, large()
	}
	size := r.ContentLength
	if size < 0 {
		size = 4 << 10
	}
	body, filled := make([]byte, size+1), 0
	reader := http.MaxBytesReader(w, r.Body, limit)
	for {
		if filled == len(body) {
			body = append(body, make([]byte, len(body))...)
		}
		n, err := reader.Read(body[filled:])
		filled += n
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return body[:filled], nil
		default:
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, large()
			}
			if r.Context().Err() != nil {
				return nil, r.Context().Err()
			}
			return nil, refusal.Invalid("", "The request's body did not come to its end.")
		}
	}
}

// model checks that the caller may ask a model, and that it is there.
func (r *request) model(name string) error {
	if _, first, err := r.serving.Routes.Resolve(name); err != nil || !r.key.May(name) || first.Local { // those need sources to quote
		return refusal.NoModel(name)
	}
	return nil
}

func (h *Handler) unknown(_ http.ResponseWriter, r *request) error {
	return fault.New(fault.Unimplemented, fault.ReasonUnimplemented,
		"Unknown request URL: %s %s. There are POST /v1/chat/completions, POST /v1/embeddings and GET /v1/models.", refusal.Clip(r.Method, 16), refusal.Clip(r.URL.Path, 128))
}
