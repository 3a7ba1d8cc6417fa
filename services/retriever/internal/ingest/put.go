package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/google/uuid"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Put takes in a document of one part at once: as Create, PutPart and Commit, in one step. Hash of u may be empty; then it is that of
// the data.
func (in *Ingester) Put(ctx context.Context, by Caller, u Upload, data []byte) (document.Document, bool, error) {
	if len(data) > PartSize {
		return document.Document{}, false, fault.New(fault.Invalid, fault.RequestTooLarge, "the document has %d bytes; at most %d are taken with one call", len(data), PartSize).
			WithField("data", fmt.Sprintf("at most %d bytes; upload a larger document in parts", PartSize))
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	if u.Hash != "" && u.Hash != hash {
		return document.Document{}, false, fault.New(fault.Invalid, fault.ContentMismatch, "the data does not have the announced SHA-256").
			WithField("sha256", "the hash of data, or nothing")
	}
	u.Hash, u.Size = hash, int64(len(data))
	u, err := in.begin(by, u)
	if err != nil {
		return document.Document{}, false, err
	}
	d, err := in.deps.Catalog.Current(ctx, u.Workspace, u.DocumentID, 0)
	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return document.Document{}, false, err
	case err == nil && !d.ReadableBy(by):
		return document.Document{}, false, taken()
	}
	return in.commit(ctx, by, u, func() error {
		// The upload first: should the process end here, the sweep finds by it what to remove. On every try: what made another
		// one necessary may have been the removal of the part.
		if err := in.deps.Uploads.Put(ctx, u); err != nil {
			return fmt.Errorf("write upload: %w", err)
		}
		if len(data) == 0 {
			return nil
		}
		if err := in.deps.Blobs.Put(ctx, u.blob(1), data); err != nil {
			return fmt.Errorf("store part: %w", err)
		}
		return nil
	})
}

// begin checks what an upload may be, and fills in ID, DocumentID, ExpiresAt and By.
func (in *Ingester) begin(by Caller, u Upload) (Upload, error) {
	if err := mayName(by, u.Access); err != nil {
		return u, err
	}
	if u.Size > in.config.MaxDocument {
		return u, fault.New(fault.Invalid, fault.RequestTooLarge,
			"the document has %d bytes; at most %d are taken", u.Size, in.config.MaxDocument).
			WithField("size_bytes", fmt.Sprintf("at most %d", in.config.MaxDocument))
	}
	u.DocumentID = document.ID(u.Workspace, u.SourceURI)
	space, err := uuid.Parse(u.DocumentID)
	if err != nil {
		return u, fmt.Errorf("parse document id: %w", err)
	}
	u.By = by.Subject
	u.ID = uuid.NewSHA1(space, []byte(u.Hash+"\x00"+u.By)).String()
	u.ExpiresAt = in.deps.Clock().Add(in.config.UploadTTL)
	return u, nil
}
