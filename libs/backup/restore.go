package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ragmesh/ragmesh/libs/bus"
)

// Target is what is filled; a passive *[bus.Bus] is one.
type Target interface {
	BeginRestore(ctx context.Context) error
	Fill(ctx context.Context, stream string) (*bus.Filler, error)
	EndRestore(ctx context.Context) error
}

var _ Target = (*bus.Bus)(nil)

// Checked is an archive that was read through and is good.
type Checked struct {
	Header   Header
	Manifest Manifest

	from   io.ReadSeeker
	chunks map[string]bool
}

// Check reads an archive through. Nothing is changed before it was.
func Check(from io.ReadSeeker) (*Checked, error) {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	objects := objects{}
	header, manifest, err := Read(from, func(stream string, m bus.Archived) error {
		if stream == originals() {
			return objects.note(m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Checked{Header: header, Manifest: manifest, from: from, chunks: objects.chunks()}, nil
}

// Into fills a target that is empty, or that an earlier attempt has left half filled. When it ends early the target says so
// to whoever wants to work with it, until another attempt has been made.
func (c *Checked) Into(ctx context.Context, to Target, progress func(Part)) error {
	if err := to.BeginRestore(ctx); err != nil {
		return err
	}
	if _, err := c.from.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	f := &filling{ctx: ctx, to: to, told: progress, parts: map[string]Part{}, chunks: c.chunks}
	if _, manifest, err := Read(c.from, f.message); err != nil {
		return errors.Join(err, f.end())
	} else if manifest.SHA256 != c.Manifest.SHA256 {
		return errors.Join(errors.New("the archive was changed while it was restored"), f.end())
	}
	if err := f.end(); err != nil {
		return err
	}
	return to.EndRestore(ctx)
}

type filling struct {
	ctx    context.Context //nolint:containedctx // of the one call of Into
	to     Target
	told   func(Part)
	chunks map[string]bool

	stream string
	filler *bus.Filler
	added  uint64
	parts  map[string]Part
}

func (f *filling) message(stream string, m bus.Archived) error {
	if stream == originals() && isChunk(m.Subject) && !f.chunks[m.Subject] {
		return nil // of an object that was removed while the backup was taken
	}
	if stream != f.stream || f.filler == nil {
		if err := f.end(); err != nil {
			return err
		}
		filler, err := f.to.Fill(f.ctx, stream)
		if err != nil {
			return err
		}
		f.stream, f.filler, f.added = stream, filler, 0
	}
	if err := f.filler.Add(m); err != nil {
		return err
	}
	f.added++
	p := f.parts[stream]
	p.Stream, p.Messages, p.Bytes = stream, p.Messages+1, p.Bytes+uint64(len(m.Data))
	f.parts[stream] = p
	if f.told != nil && p.Messages%1024 == 0 {
		f.told(p)
	}
	return nil
}

// end waits until everything is stored.
func (f *filling) end() error {
	if f.filler == nil {
		return nil
	}
	stored, err := f.filler.Close()
	f.filler = nil
	if err != nil {
		return fmt.Errorf("restore %s: %w", f.stream, err)
	}
	if stored != f.added {
		return fmt.Errorf("restore %s: %d of %d messages are stored", f.stream, stored, f.added)
	}
	if f.told != nil {
		f.told(f.parts[f.stream])
	}
	return nil
}

// objects finds out which chunks of the object store belong to an object: its description comes last and names them. Chunks
// that none names are of an object that was removed, or replaced, between the reading of one chunk and the next. They would
// stay for ever.
type objects map[string]string // chunks' subject by description's subject

func chunkPrefix() string { return "$O." + bus.Originals + ".C." }

func isChunk(subject string) bool { return strings.HasPrefix(subject, chunkPrefix()) }

func (o objects) note(m bus.Archived) error {
	if !strings.HasPrefix(m.Subject, "$O."+bus.Originals+".M.") {
		return nil
	}
	var described struct {
		NUID    string `json:"nuid"`
		Deleted bool   `json:"deleted"`
	}
	if err := json.Unmarshal(m.Data, &described); err != nil {
		return fmt.Errorf("%w: %s", ErrAltered, m.Subject)
	}
	o[m.Subject] = chunkPrefix() + described.NUID
	if described.Deleted {
		delete(o, m.Subject)
	}
	return nil
}

func (o objects) chunks() map[string]bool {
	out := make(map[string]bool, len(o))
	for _, subject := range o {
		out[subject] = true
	}
	return out
}
