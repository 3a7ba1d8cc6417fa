package ingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ragmesh/ragmesh/libs/fault"
	"github.com/ragmesh/ragmesh/services/retriever/internal/chunk"
	"github.com/ragmesh/ragmesh/services/retriever/internal/document"
	"github.com/ragmesh/ragmesh/services/retriever/internal/parse"
	"github.com/ragmesh/ragmesh/services/retriever/internal/store"
)

// showStages is the size in bytes from which every stage of a document is recorded. A smaller one is through them before
// anybody could look, and each record is a write to disk.
const showStages = 256 << 10

const (
	// suspected is the attempt from which a job runs without others like it: its worker died with it before, and with
	// whatever else was at work then. One of them may be the reason, and shall not take the others along for ever.
	suspected = 3
	// maxStarts is how often a document is begun, beyond the first attempts, until it counts as what its workers died of.
	maxStarts = 6
)

// errSuperseded ends a job that a newer version, or a deletion, has made needless.
var errSuperseded = errors.New("superseded")

// OutcomeFailed is the outcome of a job whose document could not be taken in, for good; OutcomeReady of one whose document is
// in the store, and live.
const (
	OutcomeFailed = "failed"
	OutcomeReady  = "ready"
)

// Outcomes of a job.
const (
	outcomeReady      = OutcomeReady
	outcomeFailed     = OutcomeFailed
	outcomeRetry      = "retry"
	outcomeSuperseded = "superseded"
)

// Outcomes returns every outcome a job can have.
func Outcomes() []string {
	return []string{outcomeReady, outcomeFailed, outcomeRetry, outcomeSuperseded}
}

// work takes a job through its stages. A nil error ends the job, whatever became of it; any other brings it again.
func (in *Ingester) work(ctx context.Context, j Job, attempt int) error {
	if attempt > maxDeaths { // an attempt that fails says so on the record: the others were their process's last
		d, err := in.deps.Catalog.Current(ctx, j.Workspace, j.DocumentID, j.Sequence)
		if err == nil && d.Newest.Sequence == j.Sequence && attempt-1-d.Errors > maxDeaths {
			in.dead(ctx, j, nil)
			return nil
		}
	}
	if attempt >= suspected {
		select {
		case in.alone <- struct{}{}:
			defer func() { <-in.alone }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	at := in.stages.begin()
	defer in.stages.end(at)
	began := in.deps.Clock()
	outcome, err := in.atDesk(ctx, j, attempt, at)
	if outcome == outcomeReady && err != nil {
		outcome = outcomeRetry
	}
	if outcome == outcomeRetry && attempt >= maxErrors && !passes(err) && ctx.Err() == nil {
		outcome = outcomeFailed
	}
	if outcome == outcomeFailed {
		if failed := in.fail(ctx, j, at.name(), attempt, err); failed != nil {
			outcome, err = outcomeRetry, failed
		}
	}
	if outcome == outcomeRetry && attempt < MaxAttempts() && ctx.Err() == nil {
		in.again(ctx, j, at.name(), attempt, err)
	}
	in.missing.done(j, outcome)
	in.deps.Observer.Ended(ctx, j, outcome, in.deps.Clock().Sub(began), err)
	if outcome == outcomeRetry {
		return &stageError{at.name(), err}
	}
	return nil
}

// stageError remembers in which stage a job failed.
type stageError struct {
	stage document.Stage
	err   error
}

func (e *stageError) Error() string { return string(e.stage) + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// atDesk takes a job through once the document is free. A job that is stopped because its version is not wanted any more
// leaves nothing behind.
func (in *Ingester) atDesk(ctx context.Context, j Job, attempt int, at *stage) (outcome string, err error) {
	work, leave, err := in.atDeskOf(ctx, j.Workspace, j.DocumentID)
	if err != nil {
		return outcomeRetry, err
	}
	defer leave()
	outcome, err = in.take(work, j, attempt, at)
	if stopped := context.Cause(work); errors.Is(stopped, errCanceled) || errors.Is(stopped, errDeleted) {
		return in.abandon(ctx, j)
	}
	return outcome, err
}

func (in *Ingester) take(ctx context.Context, j Job, attempt int, at *stage) (outcome string, err error) {
	d, err := in.deps.Catalog.Current(ctx, j.Workspace, j.DocumentID, j.Sequence)
	switch {
	case fault.KindOf(err) == fault.NotFound && err != nil || err == nil && d.Deleting:
		return in.abandon(ctx, j)
	case err != nil:
		return outcomeRetry, err
	case d.Live.Hash != "" && d.Live.Sequence == j.Sequence:
		return in.revive(ctx, d, attempt, at)
	case d.Newest.Sequence != j.Sequence || d.State == document.Failed:
		if attempt > 1 { // who began it may have put parts of it into the index, and died
			return in.abandon(ctx, j)
		}
		return outcomeSuperseded, nil
	}
	v, live, contentType, err := in.derive(ctx, d, d.Newest, attempt, at)
	if err != nil {
		if fault.KindOf(err) == fault.Invalid {
			return outcomeFailed, err
		}
		return outcomeRetry, err
	}
	if err := in.enter(ctx, d, at, document.Index, attempt); err != nil {
		return outcomeRetry, err
	}
	indexed := in.stages.work(at, d.Newest.Size)
	err = in.deps.Store.Put(ctx, d.Workspace, v)
	if indexed(); err != nil {
		return outcomeRetry, err
	}
	replaces := d.Live.Hash != ""
	d, err = in.deps.Catalog.Change(ctx, d.Workspace, d.ID, func(d *document.Document) error {
		if d.ID == "" || d.Deleting || d.Newest.Sequence != j.Sequence || d.State == document.Failed {
			return errSuperseded
		}
		for _, old := range append(slices.Clone(d.Replaced), d.Live.Original()) {
			if old.Hash != "" && old.Hash != live.Hash {
				d.Removing = appendOriginal(d.Removing, old)
			}
		}
		d.Replaced = nil
		d.Live, d.State, d.Stage, d.Failure = live, document.Ready, document.Index, nil
		d.LastError, d.RetryAt, d.Errors = nil, time.Time{}, 0
		if in.config.Embeds {
			d.Stage = document.Embed
		}
		d.Newest.ContentType = contentType
		d.Attempts, d.UpdatedAt = max(d.Attempts, attempt), in.deps.Clock().UTC()
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return in.abandon(ctx, j)
	case err != nil:
		return outcomeRetry, err
	}
	return outcomeReady, in.finish(ctx, d, replaces || attempt > 1)
}

// derive makes text and chunks of one of a document's versions.
func (in *Ingester) derive(
	ctx context.Context, d document.Document, from document.Version, attempt int, at *stage,
) (v store.Version, live document.Live, contentType string, err error) {
	resume := in.stages.wait(at)
	release, err := in.memory.acquire(ctx, from.Size)
	resume()
	if err != nil {
		return v, live, "", err
	}
	defer release()
	if err := in.enter(ctx, d, at, document.Parse, attempt); err != nil {
		return v, live, "", err
	}
	data, err := in.original(ctx, d, from)
	if err != nil {
		return v, live, "", err
	}
	parsed, err := in.parse(ctx, parse.Source{URI: d.SourceURI, ContentType: from.ContentType, Data: data}, at)
	if err != nil {
		return v, live, "", err
	}
	if from.Title != "" {
		parsed.Title = from.Title
	}
	if err := in.enter(ctx, d, at, document.Chunk, attempt); err != nil {
		return v, live, "", err
	}
	v = store.Version{
		DocumentID: d.ID, Hash: from.Hash, SourceURI: d.SourceURI, Title: parsed.Title, Text: parsed.Text, Revision: revision(),
	}
	done := in.stages.work(at, from.Size)
	for _, c := range chunk.Split(parsed) {
		v.Chunks = append(v.Chunks, store.Chunk{
			ID: chunk.ID(d.ID, v.Hash, c.Ordinal), Ordinal: c.Ordinal, Start: c.Start, End: c.End,
			HeadingPath: c.HeadingPath, Language: c.Language, Pages: c.Pages,
		})
	}
	done()
	live = document.Live{
		Hash: v.Hash, Sequence: from.Sequence, Parts: from.Parts, ContentType: parsed.ContentType,
		Title: v.Title, Chunks: len(v.Chunks), TextBytes: len(v.Text), Language: parsed.Language,
	}
	return v, live, parsed.ContentType, nil
}

// parse guards against a parser's bugs: a document that makes one panic is the document's failure, not the worker's. What is read
// in another process is no work of this one, and waits until there is a process free.
func (in *Ingester) parse(ctx context.Context, s parse.Source, at *stage) (doc parse.Document, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Wrap(fmt.Errorf("parser panicked: %v", p), fault.Invalid, fault.ParserFailed, "the document makes the parser fail; please report it")
		}
	}()
	if in.deps.Parser.Isolated(s) {
		defer in.stages.wait(at)()
	} else {
		defer in.stages.work(at, int64(len(s.Data)))()
	}
	return in.deps.Parser.Parse(ctx, s)
}

// original reads one of a document's versions.
func (in *Ingester) original(ctx context.Context, d document.Document, v document.Version) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(int(min(v.Size, in.config.MaxDocument)))
	for part := 1; part <= v.Parts; part++ {
		data, err := in.deps.Blobs.Get(ctx, blobName(d.Workspace, d.ID, v.Hash, part))
		if errors.Is(err, ErrNotFound) {
			return nil, fault.New(fault.Invalid, fault.UploadIncomplete, "the stored original is not whole; upload it again")
		}
		if err != nil {
			return nil, fmt.Errorf("read original: %w", err)
		}
		out.Write(data)
	}
	return out.Bytes(), nil
}

// enter moves a job to its next stage and records that where somebody may be waiting to see it.
func (in *Ingester) enter(ctx context.Context, d document.Document, at *stage, next document.Stage, attempt int) error {
	in.stages.enter(at, next)
	if at.quiet || d.Newest.Size < showStages && attempt == 1 {
		return nil
	}
	_, err := in.deps.Catalog.Change(ctx, d.Workspace, d.ID, func(current *document.Document) error {
		if current.ID == "" || current.Deleting || current.Newest.Sequence != d.Newest.Sequence || current.State == document.Failed {
			return errSuperseded
		}
		current.State, current.Stage, current.UpdatedAt = document.Processing, next, in.deps.Clock().UTC()
		if next == document.Parse {
			current.Attempts++
		}
		return nil
	})
	if errors.Is(err, errSuperseded) {
		return nil // found out again, and dealt with, when the manifest is to be switched
	}
	return err
}

// abandon removes what a needless job may have put into the index: everything but what is live.
func (in *Ingester) abandon(ctx context.Context, j Job) (string, error) {
	d, err := in.deps.Catalog.Current(ctx, j.Workspace, j.DocumentID, j.Sequence)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return outcomeRetry, err
	}
	live := d.Live.Hash
	if d.Deleting {
		live = ""
	}
	if _, err := in.deps.Store.Prune(ctx, j.Workspace, j.DocumentID, live); err != nil {
		return outcomeRetry, err
	}
	return outcomeSuperseded, nil
}

// finish removes what the live version has replaced, old chunks from the index when there may be some and old originals, and
// tells of the new one.
func (in *Ingester) finish(ctx context.Context, d document.Document, chunks bool) error {
	if chunks {
		if _, err := in.deps.Store.Prune(ctx, d.Workspace, d.ID, d.Live.Hash); err != nil {
			return err
		}
	}
	if err := in.removeReplaced(ctx, d); err != nil {
		return err
	}
	return in.deps.Events.Changed(ctx, d)
}

// fail records that a version could not be taken in.
func (in *Ingester) fail(ctx context.Context, j Job, at document.Stage, attempt int, cause error) error {
	d, err := in.deps.Catalog.Change(ctx, j.Workspace, j.DocumentID, func(d *document.Document) error {
		if d.ID == "" || d.Deleting || d.Newest.Sequence != j.Sequence || d.State == document.Ready || d.State == document.Failed {
			return errSuperseded
		}
		d.State, d.Stage, d.UpdatedAt = document.Failed, at, in.deps.Clock().UTC()
		d.Attempts = max(d.Attempts, attempt)
		d.Failure = failure(cause, at, d.UpdatedAt)
		d.LastError, d.RetryAt, d.Errors = nil, time.Time{}, 0
		return nil
	})
	switch {
	case errors.Is(err, errSuperseded):
		return nil
	case err != nil:
		return err
	}
	return in.deps.Events.Changed(ctx, d)
}

// dead records the end of a job that was tried too often. One whose workers died, but of others that were at work at the same
// time, is queued anew.
func (in *Ingester) dead(ctx context.Context, j Job, cause error) {
	at := document.Stored
	if e, ok := errors.AsType[*stageError](cause); ok {
		at = e.stage
	}
	if cause == nil {
		d, err := in.deps.Catalog.Current(ctx, j.Workspace, j.DocumentID, j.Sequence)
		if err == nil && d.Newest.Sequence == j.Sequence && d.Attempts < maxStarts {
			j.Again = strconv.FormatInt(in.deps.Clock().UnixNano(), 10)
			if err := in.deps.Queue.Add(ctx, j); err != nil { // the sweep does it later
				in.deps.Observer.Warn(ctx, "queue document "+j.DocumentID+" again", err)
			}
			return
		}
		at = cmp.Or(d.Stage, at)
		cause = fault.Wrap(errDied, fault.Internal, fault.ReasonInternal, "the worker died with this document in every attempt")
	}
	in.deps.Observer.Ended(ctx, j, outcomeFailed, 0, cause)
	if err := in.fail(ctx, j, at, 0, cause); err != nil {
		in.deps.Observer.Warn(ctx, "record failure of document "+j.DocumentID, err)
	}
}

// bounded cuts a message to what a record holds.
func bounded(s string) string {
	const limit = 500
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}

// maxErase is how long a deletion waits for the document's bytes to go: a job that can't be stopped may hold them.
const maxErase = 10 * time.Second
