package mcp

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/ragmesh/ragmesh/libs/fault"
)

// listing answers resources/list, page by page: documents come and go, and a server declares only what always is there.
func (h *Handler) listing(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, request sdk.Request) (sdk.Result, error) {
		params, ok := request.GetParams().(*sdk.ListResourcesParams)
		if method != "resources/list" || !ok {
			return next(ctx, method, request)
		}
		ctx, done, who, err := admit(ctx, List)
		if err != nil {
			return nil, failed(err)
		}
		defer done()
		cursor := ""
		if params != nil {
			cursor = params.Cursor
		}
		documents, following, err := h.deps.Library.List(ctx, who.Workspace, cursor)
		if err != nil {
			return nil, failed(err)
		}
		out := &sdk.ListResourcesResult{NextCursor: following, Resources: []*sdk.Resource{}}
		for _, d := range documents {
			out.Resources = append(out.Resources, &sdk.Resource{
				URI: scheme + d.ID, Name: d.SourceURI, Title: d.Title, MIMEType: "text/plain", Size: int64(min(d.TextBytes, 1<<62)),
			})
		}
		return out, nil
	}
}

// maxResource bounds a resource; a longer document is read in parts, with the tool.
const maxResource = 1 << 20

// readResource answers resources/read.
func (h *Handler) readResource(ctx context.Context, request *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	uri := request.Params.URI
	id, ok := documentOf(uri)
	if !ok {
		return nil, sdk.ResourceNotFoundError(uri)
	}
	ctx, done, who, err := admit(ctx, Read)
	if err != nil {
		return nil, failed(err)
	}
	defer done()
	var b strings.Builder
	for start := uint64(0); ; {
		part, err := h.deps.Library.Read(ctx, who.Workspace, id, start, 0)
		if kind := fault.KindOf(err); kind == fault.NotFound || kind == fault.Invalid {
			return nil, sdk.ResourceNotFoundError(uri)
		}
		if err != nil {
			return nil, failed(err)
		}
		if part.Total > maxResource {
			return nil, fmt.Errorf("the document has %d bytes of text, too much for one resource; read it in parts with the tool read_document", part.Total)
		}
		b.WriteString(part.Text)
		if part.End >= part.Total || part.End <= start {
			return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: uri, MIMEType: "text/plain", Text: b.String()}}}, nil
		}
		start = part.End
	}
}
