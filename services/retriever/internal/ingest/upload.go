package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
)

// Upload is an upload under way.
type Upload struct {
	ID          string    `json:"id"`
	Workspace   string    `json:"workspace"`
	DocumentID  string    `json:"document_id"`
	SourceURI   string    `json:"source_uri"`
	Title       string    `json:"title,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Size        int64     `json:"size"`
	Hash        string    `json:"hash"`
	ExpiresAt   time.Time `json:"expires_at"`
	// Access is who may read the document from the commit on; nil leaves it as it is.
	Access *document.Access `json:"access,omitempty"`
	// By is whose upload it is. Those of others, of the same content too, are others.
	By string `json:"by,omitempty"`
}

// parts is how many parts the upload has.
func (u Upload) parts() int { return int((u.Size + PartSize - 1) / PartSize) }

// partSize is the size of a part, from 1.
func (u Upload) partSize(part int) int {
	if part == u.parts() {
		return int(u.Size - int64(part-1)*PartSize)
	}
	return PartSize
}

func (u Upload) blob(part int) string { return blobName(u.Workspace, u.DocumentID, u.Hash, part) }

// Created says what is left to send of an upload.
type Created struct {
	Upload Upload
	Parts  int   // to send; 0 when the content is stored already
	Stored []int // of them, those that an earlier attempt sent
}

// Create begins an upload. ID, DocumentID, ExpiresAt and By of u are filled in. The same document with the same content is a
// caller's same upload, however often it is created.
func (in *Ingester) Create(ctx context.Context, by Caller, u Upload) (Created, error) {
	u, err := in.begin(by, u)
	if err != nil {
		return Created{}, err
	}

	out := Created{Upload: u, Parts: u.parts()}
	switch d, err := in.deps.Catalog.Current(ctx, u.Workspace, u.DocumentID, 0); {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return Created{}, err
	case err == nil && !d.ReadableBy(by):
		return Created{}, taken()
	case err == nil && !d.Deleting && d.Newest.Hash == u.Hash && d.State != document.Failed:
		out.Parts = 0
	}
	if out.Parts > 0 {
		if err := in.room(u.Workspace, u.Size); err != nil { // before anybody sends what could not be committed
			return Created{}, err
		}
	}
	switch _, err := in.deps.Uploads.Get(ctx, u.Workspace, u.ID); {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return Created{}, fmt.Errorf("read upload: %w", err)
	default:
		if out.Stored, err = in.storedParts(ctx, u, out.Parts, 0); err != nil {
			return Created{}, err
		}
	}
	if err := in.deps.Uploads.Put(ctx, u); err != nil {
		return Created{}, fmt.Errorf("write upload: %w", err)
	}
	return out, nil
}

// storedParts returns which of the first parts are stored; one of them may be known to be.
func (in *Ingester) storedParts(ctx context.Context, u Upload, parts, known int) ([]int, error) {
	var stored []int
	for part := 1; part <= parts; part++ {
		there := part == known
		if !there {
			var err error
			if there, err = in.deps.Blobs.Exists(ctx, u.blob(part)); err != nil {
				return nil, fmt.Errorf("look up part: %w", err)
			}
		}
		if there {
			stored = append(stored, part)
		}
	}
	return stored, nil
}

// PutPart stores one part and returns how many are stored.
func (in *Ingester) PutPart(ctx context.Context, by Caller, workspace, uploadID string, part int, data []byte) (int, error) {
	u, err := in.upload(ctx, by, workspace, uploadID)
	if err != nil {
		return 0, err
	}
	if part < 1 || part > u.parts() {
		return 0, fault.New(fault.Invalid, fault.InvalidRequest, "the upload has no part %d", part).
			WithField("part_number", fmt.Sprintf("1 to %d", u.parts()))
	}
	if len(data) != u.partSize(part) {
		return 0, fault.New(fault.Invalid, fault.InvalidRequest, "part %d must have %d bytes, not %d", part, u.partSize(part), len(data)).
			WithField("data", fmt.Sprintf("%d bytes", u.partSize(part)))
	}
	if err := in.deps.Blobs.Put(ctx, u.blob(part), data); err != nil {
		return 0, fmt.Errorf("store part: %w", err)
	}
	stored, err := in.storedParts(ctx, u, u.parts(), part)
	return len(stored), err
}

func (in *Ingester) upload(ctx context.Context, by Caller, workspace, id string) (Upload, error) {
	u, err := in.deps.Uploads.Get(ctx, workspace, id)
	if errors.Is(err, ErrNotFound) || err == nil && (in.deps.Clock().After(u.ExpiresAt) || u.By != "" && u.By != by.Subject) {
		return Upload{}, fault.New(fault.NotFound, fault.UploadNotFound, "there is no such upload, or it has expired; create it again")
	}
	if err != nil {
		return Upload{}, fmt.Errorf("read upload: %w", err)
	}
	return u, nil
}

// What ends a commit without a new version.
var (
	errUnchanged = errors.New("content is live already")
	errQueued    = errors.New("content is on its way already")
)

// Commit checks an upload's content, records the document and queues its job. It reports true when the content was live
// already. Readers that come with the upload are on the record before anybody could read it, and count for the version that is
// live too. It may be repeated.
func (in *Ingester) Commit(ctx context.Context, by Caller, workspace, uploadID string) (document.Document, bool, error) {
	u, err := in.upload(ctx, by, workspace, uploadID)
	if err != nil {
		return document.Document{}, false, err
	}
	return in.commit(ctx, by, u, func() error { return in.verify(ctx, u) })
}

// commit records what an upload brings, once verify says that its bytes are there, and queues its job.
func (in *Ingester) commit(ctx context.Context, by Caller, u Upload, verify func() error) (document.Document, bool, error) {
	var known error // errUnchanged or errQueued when only the readers change
	d, err := in.deps.Catalog.Change(ctx, u.Workspace, u.DocumentID, func(d *document.Document) error {
		known = nil
		switch {
		case d.ID != "" && !d.ReadableBy(by):
			return taken()
		case d.Deleting:
			return errDeleting
		case d.Newest.Hash == u.Hash && d.Newest.Title == u.Title && d.State == document.Ready:
			known = errUnchanged
		case d.Newest.Hash == u.Hash && d.Newest.Title == u.Title && d.State != document.Failed && d.ID != "":
			known = errQueued
		case hasHash(d.Removing, u.Hash):
			return busy()
		}
		if known != nil {
			if u.Access == nil || u.Access.Equal(d.Access) {
				return known
			}
			d.Access, d.UpdatedAt = u.Access, in.deps.Clock().UTC()
			return nil
		}
		if d.ID == "" || d.State == document.Ready || d.State == document.Failed { // else it has its place in the queue already
			if err := in.room(u.Workspace, u.Size); err != nil {
				return err
			}
		}
		// Anew for every try: what made another try necessary may have been the removal of these parts.
		if err := verify(); err != nil {
			return err
		}
		in.record(d, u)
		return nil
	})
	if err == nil {
		err = known
	}
	switch {
	case errors.Is(err, errUnchanged):
		return d, true, nil
	case err != nil && !errors.Is(err, errQueued):
		return document.Document{}, false, err
	}
	// Also when it was queued before: the process may have died between record and queue.
	if err := in.enqueue(ctx, d); err != nil {
		return document.Document{}, false, err
	}
	return d, false, nil
}

// record makes an upload the document's newest version.
func (in *Ingester) record(d *document.Document, u Upload) {
	now := in.deps.Clock().UTC()
	if d.ID == "" {
		*d = document.Document{ID: u.DocumentID, Workspace: u.Workspace, SourceURI: u.SourceURI, CreatedAt: now}
	}
	if u.Access != nil {
		d.Access = u.Access
	}
	if old := d.Newest.Original(); old.Hash != "" && old.Hash != u.Hash && old.Hash != d.Live.Hash {
		d.Replaced = appendOriginal(d.Replaced, old)
	}
	d.Replaced = slices.DeleteFunc(slices.Clone(d.Replaced), func(o document.Original) bool { return o.Hash == u.Hash })
	d.Newest = document.Version{
		Hash: u.Hash, Sequence: in.sequence(*d), Title: u.Title, Size: u.Size, Parts: u.parts(),
		ContentType: u.ContentType,
	}
	if t := in.deps.Parser.ContentType(parse.Source{URI: u.SourceURI, ContentType: u.ContentType}); t != "" {
		d.Newest.ContentType = t
	}
	in.renew(d, now)
}

// renew makes a document one that no job was begun for.
func (in *Ingester) renew(d *document.Document, now time.Time) {
	d.State, d.Stage, d.Failure, d.Attempts, d.UpdatedAt = document.Queued, document.Stored, nil, 0, now
	d.LastError, d.RetryAt, d.Errors = nil, time.Time{}, 0
}

func hasHash(list []document.Original, hash string) bool {
	return slices.ContainsFunc(list, func(o document.Original) bool { return o.Hash == hash })
}

func appendOriginal(list []document.Original, o document.Original) []document.Original {
	if slices.Contains(list, o) {
		return list
	}
	return append(slices.Clip(list), o)
}

func (in *Ingester) enqueue(ctx context.Context, d document.Document) error {
	err := in.deps.Queue.Add(ctx, Job{Workspace: d.Workspace, DocumentID: d.ID, Hash: d.Newest.Hash, Sequence: d.Newest.Sequence})
	if err != nil {
		return fmt.Errorf("queue job: %w", err)
	}
	return nil
}

// verify checks that an upload's parts are there and are what was announced.
func (in *Ingester) verify(ctx context.Context, u Upload) error {
	sum := sha256.New()
	for part := 1; part <= u.parts(); part++ {
		data, err := in.deps.Blobs.Get(ctx, u.blob(part))
		if errors.Is(err, ErrNotFound) {
			return fault.New(fault.Precondition, fault.UploadIncomplete, "part %d of %d is missing; send it, then commit again", part, u.parts())
		}
		if err != nil {
			return fmt.Errorf("read part: %w", err)
		}
		sum.Write(data)
	}
	want, err := hex.DecodeString(u.Hash)
	if err != nil || !bytes.Equal(sum.Sum(nil), want) {
		return fault.New(fault.Invalid, fault.ContentMismatch,
			"the parts do not have the announced SHA-256; create the upload again with the right one").WithField("sha256", "the hash of what was sent")
	}
	return nil
}

// Cancel stops a document's job. The version it was about is given up, an earlier one stays live. A document that no job
// waits for is left as it is.
func (in *Ingester) Cancel(ctx context.Context, by document.Reader, workspace, id string) (document.Document, error) {
	if _, err := in.deps.Catalog.Get(workspace, id, by); err != nil {
		return document.Document{}, err
	}
	d, err := in.deps.Catalog.Change(ctx, workspace, id, func(d *document.Document) error {
		switch {
		case d.Deleting:
			return errDeleting
		case d.State != document.Queued && d.State != document.Processing:
			return errUnchanged
		}
		// The record decides: a worker that does not hear of it finds out when it wants to switch the manifest.
		d.Failure = &document.Failure{Stage: d.Stage, Reason: fault.ReasonName(fault.ReasonCanceled), Message: "Taking in this version was canceled.", At: in.deps.Clock().UTC()}
		d.State, d.UpdatedAt = document.Failed, in.deps.Clock().UTC()
		d.LastError, d.RetryAt, d.Errors = nil, time.Time{}, 0
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return d, nil
	}
	if err != nil {
		return document.Document{}, err
	}
	in.desk.stop(workspace, id, errCanceled)
	if err := in.deps.Events.Changed(ctx, d); err != nil {
		in.deps.Observer.Warn(ctx, "tell of canceled document "+d.ID, err)
	}
	return d, nil
}
