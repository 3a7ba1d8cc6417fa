package ingest

import (
	"context"
	"errors"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// Caller is who uploads documents.
type Caller struct {
	document.Reader
	// Subject tells callers apart: an upload is its caller's alone.
	Subject string
}

// mayName refuses an access that the caller is not in: they could not read, replace or delete the document afterwards, nor
// take the list back.
func mayName(by document.Reader, access *document.Access) error {
	if access == nil || by.Reads(access.Readers) {
		return nil
	}
	return fault.New(fault.Invalid, fault.InvalidRequest, "the readers do not include you, who could not change the document any more; name yourself too, or ask an administrator").
		WithField("access.readers", "must name the caller, unless an administrator sets them")
}

// taken is the error for a source URI whose document the caller may not read. It is not told that there is a document, nor may
// it take its place.
func taken() error {
	return fault.New(fault.Exists, fault.ReasonConflict, "you may not upload to this source_uri; take another one, or ask an administrator").
		WithField("source_uri", "must not be taken by a document that others keep for themselves")
}

// SetAccess says who may read a document, from the moment it returns; nil means everybody in the workspace.
func (in *Ingester) SetAccess(ctx context.Context, by document.Reader, workspace, id string, access *document.Access) (document.Document, error) {
	if _, err := in.deps.Catalog.Get(workspace, id, by); err != nil {
		return document.Document{}, err
	}
	if err := mayName(by, access); err != nil {
		return document.Document{}, err
	}
	d, err := in.deps.Catalog.Change(ctx, workspace, id, func(d *document.Document) error {
		switch {
		case d.ID == "" || d.Deleting || !d.ReadableBy(by):
			return catalog.NotFound()
		case d.Access.Equal(access):
			return errUnchanged
		}
		d.Access, d.UpdatedAt = access, in.deps.Clock().UTC()
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return d, nil
	}
	return d, err
}
