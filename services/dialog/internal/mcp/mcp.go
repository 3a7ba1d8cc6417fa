// Package mcp serves the Model Context Protocol at the edge, so that agents and editors can use a team's documents: the tools
// ask, search and read_document, and the documents as resources. Each workspace is a server of its own, at /mcp/WORKSPACE, and
// the default one at /mcp too. Requests stand alone (the protocol's stateless mode): any replica answers any of them, and each
// is authorised like a call of the procedure behind it.
package mcp

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// Act is what a request does, for the edge's rules.
type Act uint8

// The acts.
const (
	Ask Act = iota
	Search
	List
	Read
)

// Asker answers questions; *turn.Answerer is one.
type Asker interface {
	Ask(ctx context.Context, q turn.Question, sink turn.Sink) error
}

// Document is what a list of documents says of one.
type Document struct {
	ID, Title, SourceURI string
	TextBytes            uint64
}

// Text is a part of a document's canonical text: the bytes from Start to End of Total.
type Text struct {
	Text              string
	Start, End, Total uint64
	Version           string
}

// Library is the documents of a workspace.
type Library interface {
	Search(ctx context.Context, s turn.Search) (turn.Found, error)
	// List returns a page of the documents that can be searched, and the token of the next.
	List(ctx context.Context, workspace, page string) ([]Document, string, error)
	// Read returns as much as one answer holds of the bytes from start to end, 0 for the document's.
	Read(ctx context.Context, workspace, document string, start, end uint64) (Text, error)
}

// Caller is who sent a request, once they were let in.
type Caller struct{ Workspace, User string }

// Gate lets requests in or refuses them.
type Gate interface {
	// Admit says who sends r and whether they may do that in workspace, by default their own or the default one.
	Admit(r *http.Request, act Act, workspace string) (context.Context, Caller, error)
}

// Deps are what a Handler works with.
type Deps struct {
	Asker   Asker
	Library Library
	Gate    Gate
	Version string
	// Report is told how each HTTP request ended.
	Report func(ctx context.Context, err error)
}

// maxBody bounds a request: a question and what is around it.
const maxBody = 256 << 10

// Handler serves the protocol. It is safe for concurrent use.
type Handler struct {
	deps Deps
	next http.Handler
}

// New returns a Handler.
func New(d Deps) *Handler {
	h := &Handler{deps: d}
	server := h.server()
	h.next = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{
		Stateless: true, MaxRequestBodyBytes: maxBody, PropagateRequestCancellation: true,
		// The edge has its own, which knows when there is authentication. Behind a proxy of the mesh every request comes from
		// this host, whatever its Host.
		DisableLocalhostProtection: true,
	})
	return h
}

// Routes are the handler's patterns, as [http.ServeMux] takes them.
func (h *Handler) Routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{"/mcp": h.serve, "/mcp/{workspace}": h.serve}
}

// visit is the HTTP request behind a message.
type visit struct {
	gate      Gate
	request   *http.Request
	workspace string
}

type visitKey struct{}

// serve lets a request in before any of it is read. What it does is authorised when that is known.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	workspace := r.PathValue("workspace")
	ctx, _, err := h.deps.Gate.Admit(r, List, workspace)
	if err != nil {
		refuse(w, err)
		h.deps.Report(r.Context(), err)
		return
	}
	v := &visit{gate: h.deps.Gate, request: r, workspace: workspace}
	h.next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, visitKey{}, v)))
	h.deps.Report(ctx, nil)
}

// refuse answers a request that is not let in.
func refuse(w http.ResponseWriter, err error) {
	f := fault.As(err)
	status := http.StatusInternalServerError
	switch f.Kind {
	case fault.Unauthenticated:
		w.Header().Set("WWW-Authenticate", "Bearer")
		status = http.StatusUnauthorized
	case fault.Denied:
		status = http.StatusForbidden
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Exhausted:
		status = http.StatusTooManyRequests
	case fault.Unavailable, fault.Timeout:
		status = http.StatusServiceUnavailable
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.Error(w, f.Message, status)
}

// admit returns the context for what a message does. It ends with the HTTP request: nobody pays for an answer that no one
// reads.
func admit(ctx context.Context, act Act) (context.Context, context.CancelFunc, Caller, error) {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return nil, nil, Caller{}, fault.New(fault.Internal, fault.ReasonInternal, "the message came with no request")
	}
	allowed, who, err := v.gate.Admit(v.request, act, v.workspace)
	if err != nil {
		return nil, nil, Caller{}, err
	}
	ctx, cancel := context.WithCancel(joined{ctx, allowed})
	stop := context.AfterFunc(v.request.Context(), cancel)
	return ctx, func() { stop(); cancel() }, who, nil
}

// joined ends with one context and has the values of another.
type joined struct {
	context.Context
	values context.Context //nolint:containedctx // it is one
}

// Value implements [context.Context].
func (j joined) Value(key any) any {
	if v := j.values.Value(key); v != nil {
		return v
	}
	return j.Context.Value(key)
}

const instructions = `Answers questions from a team's own documents, with citations that were checked. Use "ask" for a question, ` +
	`"search" for passages to read yourself, and "read_document" for the text around one. Cite documents by title and URI.`

// server declares tools and resources. It keeps nothing of any request.
func (h *Handler) server() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "ragmesh", Title: "ragmesh", Version: h.deps.Version}, &sdk.ServerOptions{
		Instructions: instructions, Capabilities: &sdk.ServerCapabilities{},
	})
	closed := false
	hints := &sdk.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &closed}
	sdk.AddTool(s, &sdk.Tool{
		Name: "ask", Title: "Ask the documents", Annotations: hints,
		Description: "Answers a question from the workspace's documents and tools, in English or Chinese. The answer cites its sources as [n]; " +
			"each citation says whether the source supports it. When the documents don't hold the answer, it says so.",
	}, h.ask)
	sdk.AddTool(s, &sdk.Tool{
		Name: "search", Title: "Search the documents", Annotations: hints,
		Description: "Finds the passages of the workspace's documents that fit a query best, with the document and the byte range they stand in.",
	}, h.search)
	sdk.AddTool(s, &sdk.Tool{
		Name: "read_document", Title: "Read a document", Annotations: hints,
		Description: "Returns a document's text, or the part of it from byte start to byte end, such as what is around a passage. Long documents come in parts: go on from the end of the last.",
	}, h.read)
	s.AddResourceTemplate(&sdk.ResourceTemplate{
		Name: "document", Title: "Document", URITemplate: scheme + "{document_id}", MIMEType: "text/plain",
		Description: "The text of a document of the workspace.",
	}, h.readResource)
	s.AddReceivingMiddleware(h.listing)
	return s
}

// scheme is before a document's id in its resource's URI.
const scheme = "ragmesh://documents/"

// failed is a tool's error: what may be shown of it.
func failed(err error) error { return fmt.Errorf("%s", fault.As(err).Message) }

func documentOf(uri string) (string, bool) { return strings.CutPrefix(uri, scheme) }
