package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
	"github.com/ragmesh/ragmesh/services/retriever/internal/message"
)

// CreateUpload begins an upload.
func (h *Handler) CreateUpload(ctx context.Context, r *retrieverv1.CreateUploadRequest) (*retrieverv1.CreateUploadResponse, error) {
	created, err := h.Ingester.Create(ctx, caller(ctx), ingest.Upload{
		Workspace: r.GetWorkspace(), SourceURI: r.GetSourceUri(), Title: r.GetTitle(), ContentType: r.GetContentType(),
		Size: int64(min(r.GetSizeBytes(), 1<<62)), Hash: r.GetSha256(),
		Access: message.Access(r.GetAccess()),
	})
	if err != nil {
		return nil, err
	}
	out := &retrieverv1.CreateUploadResponse{
		UploadId:      created.Upload.ID,
		PartSizeBytes: ingest.PartSize,
		PartCount:     uint32(created.Parts),
		ExpiresAt:     timestamppb.New(created.Upload.ExpiresAt),
		DocumentId:    created.Upload.DocumentID,
	}
	for _, part := range created.Stored {
		out.StoredParts = append(out.StoredParts, uint32(part))
	}
	return out, nil
}

// PutPart stores a part.
func (h *Handler) PutPart(ctx context.Context, r *retrieverv1.PutPartRequest) (*retrieverv1.PutPartResponse, error) {
	stored, err := h.Ingester.PutPart(ctx, caller(ctx), r.GetWorkspace(), r.GetUploadId(), int(r.GetPartNumber()), r.GetData())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.PutPartResponse{StoredCount: uint32(stored)}, nil
}

// CommitUpload finishes an upload.
func (h *Handler) CommitUpload(ctx context.Context, r *retrieverv1.CommitUploadRequest) (*retrieverv1.CommitUploadResponse, error) {
	d, unchanged, err := h.Ingester.Commit(ctx, caller(ctx), r.GetWorkspace(), r.GetUploadId())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.CommitUploadResponse{Document: message.Document(d), Unchanged: unchanged}, nil
}

// PutDocument takes a whole small document in.
func (h *Handler) PutDocument(ctx context.Context, r *retrieverv1.PutDocumentRequest) (*retrieverv1.PutDocumentResponse, error) {
	d, unchanged, err := h.Ingester.Put(ctx, caller(ctx), ingest.Upload{
		Workspace: r.GetWorkspace(), SourceURI: r.GetSourceUri(), Title: r.GetTitle(), ContentType: r.GetContentType(), Hash: r.GetSha256(),
		Access: message.Access(r.GetAccess()),
	}, r.GetData())
	if err != nil {
		return nil, err
	}
	return &retrieverv1.PutDocumentResponse{Document: message.Document(d), Unchanged: unchanged}, nil
}
