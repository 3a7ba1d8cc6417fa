package rpc

import (
	"context"
	"math"
	"net/http"

	"google.golang.org/protobuf/proto"

	kit "github.com/ragmesh/ragmesh/libs/rpc"
	dialogv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/dialog/v1/dialogv1connect"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1/retrieverv1connect"
	"github.com/ragmesh/ragmesh/services/dialog/internal/mcp"
	"github.com/ragmesh/ragmesh/services/dialog/internal/turn"
)

// NewMCP returns the handler of the Model Context Protocol, let in by the edge's rules for the procedures that do the same.
func NewMCP(answerer *turn.Answerer, edge *Edge, search turn.Retriever, retriever kit.Conn, version string) *mcp.Handler {
	client := retrieverv1connect.NewRetrieverServiceClient(retriever.HTTP, retriever.URL, retriever.Options...)
	return mcp.New(mcp.Deps{
		Asker: asker{answerer}, Library: library{search, client}, Gate: mcpGate{edge}, Version: version, Report: kit.NoteFault,
	})
}

// library is the retriever in the protocol's terms.
type library struct {
	turn.Retriever
	client retrieverv1connect.RetrieverServiceClient
}

var _ mcp.Library = library{}

// List implements [mcp.Library].
func (l library) List(ctx context.Context, workspace, page string) ([]mcp.Document, string, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	list, err := l.client.ListDocuments(ctx, &retrieverv1.ListDocumentsRequest{
		Workspace: workspace, PageToken: page, State: retrieverv1.DocumentState_DOCUMENT_STATE_READY,
	})
	if err != nil {
		return nil, "", err
	}
	var out []mcp.Document
	for _, d := range list.GetDocuments() {
		out = append(out, mcp.Document{ID: d.GetDocumentId(), Title: d.GetTitle(), SourceURI: d.GetSourceUri(), TextBytes: d.GetTextBytes()})
	}
	return out, list.GetNextPageToken(), nil
}

// Read implements [mcp.Library].
func (l library) Read(ctx context.Context, workspace, document string, start, end uint64) (mcp.Text, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	request := &retrieverv1.ReadDocumentRequest{Workspace: workspace, DocumentId: document}
	if start != 0 || end != 0 {
		if end == 0 {
			end = math.MaxInt64
		}
		request.Range = &retrieverv1.ByteRange{Start: start, End: end}
	}
	t, err := l.client.ReadDocument(ctx, request)
	if err != nil {
		return mcp.Text{}, err
	}
	return mcp.Text{Text: t.GetText(), Start: t.GetRange().GetStart(), End: t.GetRange().GetEnd(), Total: t.GetTotalBytes(), Version: t.GetVersion()}, nil
}

// mcpGate is the edge for messages of the Model Context Protocol.
type mcpGate struct{ edge *Edge }

var _ mcp.Gate = mcpGate{}

// Admit implements [mcp.Gate].
func (g mcpGate) Admit(r *http.Request, act mcp.Act, workspace string) (context.Context, mcp.Caller, error) {
	var procedure string
	var request interface {
		proto.Message
		GetWorkspace() string
	}
	switch act {
	case mcp.Ask:
		procedure, request = dialogv1connect.DialogServiceChatProcedure, &dialogv1.ChatRequest{Workspace: workspace}
	case mcp.Search:
		procedure, request = retrieverv1connect.RetrieverServiceSearchProcedure, &retrieverv1.SearchRequest{Workspace: workspace}
	case mcp.List:
		procedure, request = retrieverv1connect.RetrieverServiceListDocumentsProcedure, &retrieverv1.ListDocumentsRequest{Workspace: workspace}
	default:
		procedure, request = retrieverv1connect.RetrieverServiceReadDocumentProcedure, &retrieverv1.ReadDocumentRequest{Workspace: workspace}
	}
	ctx, err := g.edge.admit(r.Context(), procedure, r.Header, request)
	if err != nil {
		return nil, mcp.Caller{}, err
	}
	return ctx, mcp.Caller{Workspace: request.GetWorkspace(), User: user(ctx)}, nil
}
