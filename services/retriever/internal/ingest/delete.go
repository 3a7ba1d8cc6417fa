package ingest

import (
	"context"
	"errors"
	"slices"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
)

// removeReplaced removes originals that nobody may commit until their names are off the record.
func (in *Ingester) removeReplaced(ctx context.Context, d document.Document) error {
	if len(d.Removing) == 0 {
		return nil
	}
	for _, o := range d.Removing {
		if err := in.removeOriginal(ctx, d, o); err != nil {
			return err
		}
	}
	_, err := in.deps.Catalog.Change(ctx, d.Workspace, d.ID, func(current *document.Document) error {
		if current.ID == "" {
			return errSuperseded
		}
		current.Removing = slices.DeleteFunc(slices.Clone(current.Removing), func(o document.Original) bool { return slices.Contains(d.Removing, o) })
		return nil
	})
	if errors.Is(err, errSuperseded) {
		return nil
	}
	return err
}

// Delete makes a document unretrievable, then removes its bytes. It returns how many chunks those were. When removing fails
// the document is gone all the same, and the bytes are removed later.
func (in *Ingester) Delete(ctx context.Context, by document.Reader, workspace, id string) (int, error) {
	if _, err := in.deps.Catalog.Get(workspace, id, by); err != nil {
		return 0, err
	}
	d, err := in.condemn(ctx, workspace, id)
	if err != nil || d.ID == "" {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, maxErase)
	defer cancel()
	chunks, err := in.erase(bounded, d)
	if err != nil {
		in.deps.Observer.Warn(ctx, "erase document "+d.ID, err)
		return chunks, nil
	}
	return max(chunks, d.Live.Chunks), nil // some or all may have been removed by a sweep, or by a job that was told to stop
}

// erase removes a deleted document's bytes, and its record last.
func (in *Ingester) erase(ctx context.Context, d document.Document) (int, error) {
	ctx, leave, err := in.atDeskOf(ctx, d.Workspace, d.ID)
	if err != nil {
		return 0, err
	}
	defer leave()
	// As it is now: somebody may have erased it meanwhile, and another document stand in its place.
	d, err = in.deps.Catalog.Current(ctx, d.Workspace, d.ID, d.Newest.Sequence)
	if err == nil && !d.Deleting || fault.KindOf(err) == fault.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	chunks, err := in.deps.Store.Prune(ctx, d.Workspace, d.ID, "")
	if err != nil {
		return 0, err
	}
	for _, o := range slices.Concat(d.Replaced, d.Removing, []document.Original{d.Newest.Original(), d.Live.Original()}) {
		if err := in.removeOriginal(ctx, d, o); err != nil {
			return chunks, err
		}
	}
	if err := in.deps.Events.Deleted(ctx, d); err != nil {
		return chunks, err
	}
	return chunks, in.deps.Catalog.Remove(ctx, d.Workspace, d.ID)
}
