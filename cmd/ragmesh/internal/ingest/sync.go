package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ragmesh/ragmesh/libs/fault"
	retrieverv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/retriever/v1"
)

// removeAtOnce is how many documents are deleted at the same time.
const removeAtOnce = 8

// Folder is a folder whose documents a workspace is to have, no more and no less: those whose source URI starts with Prefix.
type Folder struct {
	Path   string
	Prefix string // ends with a slash
}

// NewFolder returns a folder with the prefix that its path gives it, or another one. The documents of a workspace that are not
// below the prefix are nobody's business here, so there must be one.
func NewFolder(dir, prefix string) (Folder, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return Folder{}, fmt.Errorf("sync: %w", err)
	case !info.IsDir():
		return Folder{}, fmt.Errorf("sync %s: it is not a folder", dir)
	}
	if prefix == "" {
		prefix = path.Clean(filepath.ToSlash(dir))
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" || prefix == "." || strings.HasPrefix(prefix, "..") {
		return Folder{}, fmt.Errorf("sync %s: name the source URIs of its documents with --prefix NAME, so that they can be told from the workspace's others", dir)
	}
	return Folder{dir, prefix + "/"}, nil
}

// Find returns the folder's files.
func (f Folder) Find() ([]File, error) {
	files, err := Find(f.Path, f.Path)
	if err != nil {
		return nil, err
	}
	for i := range files {
		files[i].URI = f.Prefix + files[i].URI
	}
	return files, nil
}

// there says whether a document's file is in the folder, also as one that is not taken in because of what it is.
func (f Folder) there(uri string) bool {
	relative := filepath.FromSlash(strings.TrimPrefix(uri, f.Prefix))
	if !filepath.IsLocal(relative) {
		return false
	}
	_, err := os.Lstat(filepath.Join(f.Path, relative))
	return !errors.Is(err, os.ErrNotExist)
}

// Plan is what makes a workspace as a folder is.
type Plan struct {
	Add, Change []File
	Delete      []*retrieverv1.Document
	Unchanged   int
	known       int
}

// Items returns what is to be taken in.
func (p Plan) Items() []Item {
	items := make([]Item, 0, len(p.Add)+len(p.Change))
	for _, f := range slices.Concat(p.Add, p.Change) {
		items = append(items, f.Item())
	}
	return items
}

// Check refuses a plan that deletes more than half of the folder's documents: it rather is the folder that is not there.
func (p Plan) Check() error {
	if 2*len(p.Delete) <= p.known {
		return nil
	}
	return fmt.Errorf("%d of %d documents would be deleted, since their files are gone; is the folder whole? --dry-run says which, --force deletes them", len(p.Delete), p.known)
}

// Plan compares a folder with the workspace.
func (in *Ingester) Plan(ctx context.Context, f Folder) (Plan, error) {
	files, err := f.Find()
	if err != nil {
		return Plan{}, err
	}
	known := map[string]*retrieverv1.Document{}
	if err := Each(ctx, in.workspace, f.Prefix, maxFiles*2, in.list, func(d *retrieverv1.Document) { known[d.GetSourceUri()] = d }); err != nil {
		return Plan{}, err
	}
	p := Plan{known: len(known)}
	for _, file := range files {
		d, ok := known[file.URI]
		delete(known, file.URI)
		if !ok {
			p.Add = append(p.Add, file)
			continue
		}
		c, err := read(file.Item())
		if err != nil {
			return Plan{}, fmt.Errorf("read %s: %w", file.Path, err)
		}
		if d.GetVersion() == c.sum && d.GetState() != retrieverv1.DocumentState_DOCUMENT_STATE_FAILED && in.readersAs(d) {
			p.Unchanged++
		} else {
			p.Change = append(p.Change, file)
		}
	}
	for uri, d := range known {
		if !f.there(uri) {
			p.Delete = append(p.Delete, d)
		}
	}
	slices.SortFunc(p.Delete, func(a, b *retrieverv1.Document) int { return strings.Compare(a.GetSourceUri(), b.GetSourceUri()) })
	return p, nil
}

// readersAs says whether a document has the readers that this run gives.
func (in *Ingester) readersAs(d *retrieverv1.Document) bool {
	if in.access == nil {
		return true
	}
	have, want := slices.Sorted(slices.Values(d.GetAccess().GetReaders())), slices.Sorted(slices.Values(in.access.GetReaders()))
	return d.GetAccess() != nil && slices.Equal(have, slices.Compact(want))
}

// Remover deletes documents.
type Remover interface {
	DeleteDocument(context.Context, *retrieverv1.DeleteDocumentRequest) (*retrieverv1.DeleteDocumentResponse, error)
}

// Remove deletes documents. One that is gone already is no error.
func (in *Ingester) Remove(ctx context.Context, r Remover, documents []*retrieverv1.Document) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(removeAtOnce)
	for _, d := range documents {
		group.Go(func() error {
			err := in.retry(ctx, func() error {
				_, err := r.DeleteDocument(ctx, &retrieverv1.DeleteDocumentRequest{Workspace: in.workspace, DocumentId: d.GetDocumentId()})
				return err
			})
			if err != nil && fault.ReasonOf(err) != fault.DocumentNotFound {
				return fmt.Errorf("delete %s: %w", d.GetSourceUri(), err)
			}
			return nil
		})
	}
	return group.Wait()
}
