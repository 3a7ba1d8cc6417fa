package ingest

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// eraseAtOnce is how many documents of a workspace are worked on at the same time.
const eraseAtOnce = 8

// DeleteWorkspace removes every document of a workspace, its uploads and its index, and returns how many documents those were.
// They are all gone for everyone before the first byte is removed. It may be repeated, and goes on where it was when it ended
// early.
func (in *Ingester) DeleteWorkspace(ctx context.Context, workspace string) (int, error) {
	there := in.deps.Catalog.Select(func(d document.Document) bool { return d.Workspace == workspace && !d.Deleting })
	if err := in.each(ctx, there, func(ctx context.Context, d document.Document) error {
		_, err := in.condemn(ctx, workspace, d.ID)
		return err
	}); err != nil {
		return 0, fmt.Errorf("mark documents: %w", err)
	}
	uploads, err := in.deps.Uploads.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list uploads: %w", err)
	}
	for _, u := range uploads {
		if u.Workspace == workspace {
			if err := in.expire(ctx, u); err != nil {
				return 0, fmt.Errorf("drop upload: %w", err)
			}
		}
	}
	// Also those that an earlier attempt, or somebody's deletion of just them, has left.
	leaving := in.deps.Catalog.Select(func(d document.Document) bool { return d.Workspace == workspace && d.Deleting })
	if err := in.each(ctx, leaving, func(ctx context.Context, d document.Document) error {
		_, err := in.erase(ctx, d)
		return err
	}); err != nil {
		return 0, fmt.Errorf("erase documents: %w", err)
	}
	if err := in.deps.Store.Drop(ctx, workspace); err != nil {
		return 0, err
	}
	return len(leaving), nil
}

func (in *Ingester) each(ctx context.Context, documents []document.Document, do func(context.Context, document.Document) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(eraseAtOnce)
	for _, d := range documents {
		group.Go(func() error { return do(ctx, d) })
	}
	return group.Wait()
}

// condemn makes a document unretrievable and ends whatever works on it. A document that is not there any more has no id.
func (in *Ingester) condemn(ctx context.Context, workspace, id string) (document.Document, error) {
	d, err := in.deps.Catalog.Change(ctx, workspace, id, func(d *document.Document) error {
		if d.ID == "" {
			return errSuperseded
		}
		d.Deleting, d.UpdatedAt = true, in.deps.Clock().UTC()
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return document.Document{}, nil
	case err != nil:
		return document.Document{}, err
	}
	in.missing.deleted(workspace, id)
	in.desk.stop(workspace, id, errDeleted)
	return d, nil
}
