// Package rpc answers eval's procedures: it checks the request, asks the domain and maps the result. Generated types stop
// here.
package rpc

import (
	"cmp"
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/libs/identity"
	evalv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/eval/v1/evalv1connect"
	"github.com/ragmesh/ragmesh/services/eval/internal/store"
	"github.com/ragmesh/ragmesh/services/eval/internal/trace"
)

// defaultPageSize is what a page holds when the caller does not say.
const defaultPageSize = 50

// Finder reads traces.
type Finder interface {
	Get(ctx context.Context, workspace, id string) (trace.Trace, error)
	List(ctx context.Context, workspace, user string, after store.Position, limit int) ([]store.Turn, error)
}

// Handler implements EvalService.
type Handler struct {
	finder Finder
}

var _ evalv1connect.EvalServiceHandler = (*Handler)(nil)

// New returns the handler.
func New(f Finder) *Handler { return &Handler{finder: f} }

// GetTrace returns one turn with its spans.
func (h *Handler) GetTrace(ctx context.Context, req *evalv1.GetTraceRequest) (*evalv1.GetTraceResponse, error) {
	found, err := h.finder.Get(ctx, req.GetWorkspace(), req.GetTurnId())
	if err != nil {
		return nil, err
	}
	if user := ownOnly(ctx); user != "" && found.Turn.User != user {
		return nil, trace.NotFound()
	}
	return encodeTrace(found)
}

// ListTraces returns a page of turns, the latest first.
func (h *Handler) ListTraces(ctx context.Context, req *evalv1.ListTracesRequest) (*evalv1.ListTracesResponse, error) {
	after, err := decodeToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	turns, err := h.finder.List(ctx, req.GetWorkspace(), ownOnly(ctx), after, size+1) // one more says whether there is a next page
	if err != nil {
		return nil, err
	}
	resp := &evalv1.ListTracesResponse{}
	if len(turns) > size {
		turns = turns[:size]
		resp.NextPageToken = encodeToken(turns[size-1])
	}
	for _, t := range turns {
		resp.Traces = append(resp.Traces, encodeSummary(t))
	}
	return resp, nil
}

// ownOnly returns whose turns alone a caller gets to see; empty for everybody's, which are for editors.
func ownOnly(ctx context.Context) string {
	p, ok := identity.FromContext(ctx)
	if ok && p.Role >= identity.Editor {
		return ""
	}
	return cmp.Or(p.Subject, "-")
}

// CreateRun is not there yet.
func (h *Handler) CreateRun(context.Context, *evalv1.CreateRunRequest) (*evalv1.CreateRunResponse, error) {
	return nil, missing("batch tests are")
}

// GetRun is not there yet.
func (h *Handler) GetRun(context.Context, *evalv1.GetRunRequest) (*evalv1.GetRunResponse, error) {
	return nil, missing("batch tests are")
}

// CompareRuns is not there yet.
func (h *Handler) CompareRuns(context.Context, *evalv1.CompareRunsRequest) (*evalv1.CompareRunsResponse, error) {
	return nil, missing("comparing batch tests is")
}

// Replay is not there yet.
func (h *Handler) Replay(context.Context, *evalv1.ReplayRequest) (*evalv1.ReplayResponse, error) {
	return nil, missing("replaying turns is")
}

// ListGaps is not there yet.
func (h *Handler) ListGaps(context.Context, *evalv1.ListGapsRequest) (*evalv1.ListGapsResponse, error) {
	return nil, missing("coverage gaps are")
}

func missing(what string) error {
	return fault.New(fault.Unimplemented, fault.ReasonUnimplemented, "%s not there yet", what)
}

// A page token is the place of the page's last turn: its start and its id. It is opaque to callers and says nothing they
// have not seen.
func encodeToken(last store.Turn) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(last.Started.UnixNano(), 36) + "." + last.ID))
}

func decodeToken(token string) (store.Position, error) {
	if token == "" {
		return store.Position{}, nil
	}
	invalid := fault.New(fault.Invalid, fault.InvalidRequest, "the page token is not one of this server's; start again from the first page").
		WithField("page_token", "must come from next_page_token")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return store.Position{}, invalid
	}
	started, id, ok := strings.Cut(string(raw), ".")
	ns, err := strconv.ParseInt(started, 36, 64)
	if err != nil || !ok || id == "" {
		return store.Position{}, invalid
	}
	return store.Position{Started: time.Unix(0, ns), ID: id}, nil
}
