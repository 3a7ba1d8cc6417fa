// Package durable keeps on the bus what must outlive the process: document records and uploads in key-value buckets,
// originals in the object store, jobs on the work queue; and it publishes what happened. It is the only package here that
// knows the bus.
package durable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ragmesh/ragmesh/libs/bus"
	"github.com/ragmesh/ragmesh/services/retriever/internal/catalog"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/ingest"
)

// key joins a workspace and an id. Neither holds a dot: workspaces are slugs, ids UUIDs.
func key(workspace, id string) string { return workspace + "." + id }

// Records keep documents in RAGMESH_DOCUMENTS, as JSON under <workspace>.<id>.
type Records struct{ kv *bus.KV }

var _ catalog.Records = Records{}

// NewRecords returns the records on a bus.
func NewRecords(ctx context.Context, b *bus.Bus) (Records, error) {
	kv, err := b.KV(ctx, bus.Documents)
	return Records{kv}, err
}

// Get reads a record.
func (r Records) Get(ctx context.Context, workspace, id string) (document.Document, catalog.Revision, error) {
	e, err := r.kv.Get(ctx, key(workspace, id))
	if errors.Is(err, bus.ErrNotFound) {
		return document.Document{}, 0, catalog.ErrNotFound
	}
	if err != nil {
		return document.Document{}, 0, err
	}
	d, err := decode(e)
	return d, catalog.Revision(e.Revision), err
}

func decode(e bus.Entry) (document.Document, error) {
	var d document.Document
	if err := json.Unmarshal(e.Value, &d); err != nil {
		return d, fmt.Errorf("decode document record %s: %w", e.Key, err)
	}
	if d.ID == "" || key(d.Workspace, d.ID) != e.Key {
		return d, fmt.Errorf("decode document record %s: it is of %s", e.Key, key(d.Workspace, d.ID))
	}
	return d, nil
}

// Put writes a record that is still at a revision.
func (r Records) Put(ctx context.Context, d document.Document, at catalog.Revision) (catalog.Revision, error) {
	value, err := json.Marshal(d)
	if err != nil {
		return 0, fmt.Errorf("encode document record: %w", err)
	}
	var revision uint64
	if at == 0 {
		revision, err = r.kv.Create(ctx, key(d.Workspace, d.ID), value)
	} else {
		revision, err = r.kv.Update(ctx, key(d.Workspace, d.ID), value, uint64(at))
	}
	if errors.Is(err, bus.ErrExists) || errors.Is(err, bus.ErrConflict) {
		return 0, catalog.ErrConflict
	}
	return catalog.Revision(revision), err
}

// Delete removes a record.
func (r Records) Delete(ctx context.Context, workspace, id string) error {
	return r.kv.Erase(ctx, key(workspace, id))
}

// Watch tells every record and every change. A record that can't be read is told as deleted: search must not serve what
// nobody can name.
func (r Records) Watch(ctx context.Context, tell func(catalog.Change)) error {
	return r.kv.Watch(ctx, "", func(e bus.Entry) {
		if e.Key == "" {
			tell(catalog.Change{})
			return
		}
		c := catalog.Change{Revision: catalog.Revision(e.Revision), Deleted: e.Deleted}
		if !e.Deleted {
			d, err := decode(e)
			c.Document, c.Deleted = d, err != nil
		}
		if c.Deleted {
			workspace, id, _ := strings.Cut(e.Key, ".")
			c.Document = document.Document{ID: id, Workspace: workspace}
		}
		tell(c)
	})
}

// Uploads keep uploads in RAGMESH_UPLOADS, as JSON under <workspace>.<id>.
type Uploads struct{ kv *bus.KV }

var _ ingest.Uploads = Uploads{}

// NewUploads returns the uploads on a bus.
func NewUploads(ctx context.Context, b *bus.Bus) (Uploads, error) {
	kv, err := b.KV(ctx, bus.Uploads)
	return Uploads{kv}, err
}

// Put writes an upload.
func (u Uploads) Put(ctx context.Context, up ingest.Upload) error {
	value, err := json.Marshal(up)
	if err != nil {
		return fmt.Errorf("encode upload: %w", err)
	}
	_, err = u.kv.Put(ctx, key(up.Workspace, up.ID), value)
	return err
}

// Get reads an upload.
func (u Uploads) Get(ctx context.Context, workspace, id string) (ingest.Upload, error) {
	if uuid.Validate(id) != nil { // a caller's string, which might not even be a key
		return ingest.Upload{}, ingest.ErrNotFound
	}
	e, err := u.kv.Get(ctx, key(workspace, id))
	if errors.Is(err, bus.ErrNotFound) {
		return ingest.Upload{}, ingest.ErrNotFound
	}
	if err != nil {
		return ingest.Upload{}, err
	}
	var up ingest.Upload
	if err := json.Unmarshal(e.Value, &up); err != nil {
		return up, fmt.Errorf("decode upload %s: %w", e.Key, err)
	}
	return up, nil
}

// Delete removes an upload.
func (u Uploads) Delete(ctx context.Context, workspace, id string) error {
	return u.kv.Erase(ctx, key(workspace, id))
}

// List returns all uploads. One that can't be read is left to expire.
func (u Uploads) List(ctx context.Context) ([]ingest.Upload, error) {
	entries, err := u.kv.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []ingest.Upload
	for _, e := range entries {
		var up ingest.Upload
		if json.Unmarshal(e.Value, &up) == nil {
			out = append(out, up)
		}
	}
	return out, nil
}

// Originals keep parts in RAGMESH_ORIGINALS.
type Originals struct {
	bus     *bus.Bus
	objects *bus.Objects
}

var _ ingest.Blobs = Originals{}

// NewOriginals returns the originals on a bus.
func NewOriginals(ctx context.Context, b *bus.Bus) (Originals, error) {
	objects, err := b.Objects(ctx, bus.Originals)
	return Originals{b, objects}, err
}

// Put stores a part.
func (o Originals) Put(ctx context.Context, name string, data []byte) error {
	return o.objects.Put(ctx, name, bytes.NewReader(data))
}

// Get reads a part.
func (o Originals) Get(ctx context.Context, name string) (data []byte, err error) {
	r, err := o.objects.Get(ctx, name)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, ingest.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err = io.ReadAll(io.LimitReader(r, ingest.PartSize+1))
	if err != nil {
		return nil, fmt.Errorf("read part: %w", err)
	}
	return data, nil
}

// Exists says whether a part is stored.
func (o Originals) Exists(ctx context.Context, name string) (bool, error) {
	return o.objects.Exists(ctx, name)
}

// holdPoll is how often is asked whether originals may go. A hold lasts as long as a backup needs to read all records.
const holdPoll = 200 * time.Millisecond

// Delete removes a part and its bytes, once no backup that has read the records needs it any more. The record that names it
// says already that it goes.
func (o Originals) Delete(ctx context.Context, name string) error {
	for {
		held, err := o.bus.Held(ctx)
		if err != nil {
			return err
		}
		if !held {
			return o.objects.Erase(ctx, name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(holdPoll):
		}
	}
}
