// Package message puts documents into their wire form, the same in answers and in events.
package message

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Document returns a document as others see it.
func Document(d document.Document) *retrieverv1.Document {
	out := &retrieverv1.Document{
		DocumentId:  d.ID,
		Workspace:   d.Workspace,
		SourceUri:   d.SourceURI,
		Title:       d.Title(),
		ContentType: d.Newest.ContentType,
		SizeBytes:   uint64(d.Newest.Size),
		Version:     d.Newest.Hash,
		LiveVersion: d.Live.Hash,
		Sequence:    d.Newest.Sequence,
		State:       state(d.State),
		Stage:       stage(d.Stage),
		ChunkCount:  uint32(d.Live.Chunks),
		TextBytes:   uint64(d.Live.TextBytes),
		Language:    d.Live.Language,
		CreatedAt:   timestamppb.New(d.CreatedAt),
		UpdatedAt:   timestamppb.New(d.UpdatedAt),
		Attempts:    uint32(d.Attempts),

		EmbeddingModel: d.Live.Embedding,
	}
	if d.Access != nil {
		out.Access = &retrieverv1.AccessList{Readers: d.Access.Readers}
	}
	if d.Failure != nil {
		out.Failure = failure(*d.Failure)
	}
	if d.LastError != nil {
		out.LastError, out.RetryAt = failure(*d.LastError), timestamppb.New(d.RetryAt)
	}
	return out
}

func failure(f document.Failure) *retrieverv1.Failure {
	out := &retrieverv1.Failure{Stage: stage(f.Stage), Reason: f.Reason, Message: f.Message, Permanent: f.Permanent}
	if !f.At.IsZero() {
		out.FailedAt = timestamppb.New(f.At)
	}
	return out
}

// Bounds are what a workspace may have waiting; 0 for no bound.
type Bounds struct {
	Documents int
	Bytes     int64
}

// Queue returns what waits as others see it.
func Queue(q catalog.Queue, most Bounds) *retrieverv1.Queue {
	out := &retrieverv1.Queue{
		Documents: uint32(q.Documents), Bytes: uint64(q.Bytes), Processing: uint32(q.Processing), Retrying: uint32(q.Retrying), Failed: uint32(q.Failed),
		DocumentsPerSecond: q.DocumentsPerSecond, BytesPerSecond: q.BytesPerSecond, EtaSeconds: Seconds(q.Remaining),
		MaxDocuments: uint32(most.Documents), MaxBytes: uint64(most.Bytes),
	}
	if !q.Oldest.IsZero() {
		out.OldestAt = timestamppb.New(q.Oldest)
	}
	return out
}

// Seconds returns a time to wait as others see it: rounded up, 0 for one that is not known.
func Seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// Access returns what a wire list says; nil for none, which means everybody.
func Access(list *retrieverv1.AccessList) *document.Access {
	if list == nil {
		return nil
	}
	return document.NewAccess(list.GetReaders())
}

// State returns the state that a wire state names; empty for unspecified.
func State(s retrieverv1.DocumentState) document.State {
	switch s {
	case retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED:
		return document.Queued
	case retrieverv1.DocumentState_DOCUMENT_STATE_PROCESSING:
		return document.Processing
	case retrieverv1.DocumentState_DOCUMENT_STATE_READY:
		return document.Ready
	case retrieverv1.DocumentState_DOCUMENT_STATE_FAILED:
		return document.Failed
	}
	return ""
}

func state(s document.State) retrieverv1.DocumentState {
	switch s {
	case document.Queued:
		return retrieverv1.DocumentState_DOCUMENT_STATE_QUEUED
	case document.Processing:
		return retrieverv1.DocumentState_DOCUMENT_STATE_PROCESSING
	case document.Ready:
		return retrieverv1.DocumentState_DOCUMENT_STATE_READY
	case document.Failed:
		return retrieverv1.DocumentState_DOCUMENT_STATE_FAILED
	}
	return retrieverv1.DocumentState_DOCUMENT_STATE_UNSPECIFIED
}

func stage(s document.Stage) retrieverv1.Stage {
	switch s {
	case document.Stored:
		return retrieverv1.Stage_STAGE_STORED
	case document.Parse:
		return retrieverv1.Stage_STAGE_PARSE
	case document.Chunk:
		return retrieverv1.Stage_STAGE_CHUNK
	case document.Embed:
		return retrieverv1.Stage_STAGE_EMBED
	case document.Index:
		return retrieverv1.Stage_STAGE_INDEX
	}
	return retrieverv1.Stage_STAGE_UNSPECIFIED
}
